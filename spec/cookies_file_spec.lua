-- net.cookies, the host's view of the jar, and the file that it is kept in:
-- from one context to the next, and through whatever ends a process.

local helper = require "helper"
local files = require "support.files"
local wire = require "support.wire"

local net = helper.net

local cookies = net.cookies

local URL = "http://a.example.com/shop/cart?x=1"

local function pairs_of(list)
  local all = {}
  for i, cookie in ipairs(list) do
    all[i] = cookie.name .. "=" .. cookie.value
  end
  return table.concat(all, " ")
end

-- With all the time that a slow disk may want.
local function close()
  net.close(20000)
end

local function clean()
  net.configure { cookieFile = false }
  assert(cookies.clear())
  close()
  helper.verify()
end

describe("net.cookies", function()
  after_each(clean)

  it("sets what a Set-Cookie field says, and lists it", function()
    assert.is_true(cookies.set(URL, "a=1; Path=/; Domain=example.com; Secure"
      .. "; HttpOnly; Max-Age=60") == nil) -- not without TLS
    local now = os.time()
    assert.is_true(cookies.set(URL:gsub("http", "https"),
      "a=1; Path=/; Domain=.Example.com; Secure; HttpOnly; Max-Age=60"))
    assert.is_true(cookies.set(URL, "b=2"))
    local list = cookies.list()
    assert.is_true(list[1].expires >= now + 60 and list[1].expires < now + 90)
    list[1].expires = nil
    assert.same({
      { name = "a", value = "1", domain = "example.com", path = "/",
        hostOnly = false, secure = true, httpOnly = true },
      { name = "b", value = "2", domain = "a.example.com", path = "/shop",
        hostOnly = true, secure = false, httpOnly = false },
    }, list)
  end)

  it("sets what a table says", function()
    local now = os.time()
    assert.is_true(cookies.set("https://example.com/", { name = "t",
      value = "x y", domain = "example.com", path = "/p", expires = now + 100,
      secure = true, httpOnly = true }))
    assert.is_true(cookies.set(URL, { name = "s" }))
    local list = cookies.list()
    assert.is_true(math.abs(list[1].expires - now - 100) <= 2)
    list[1].expires = nil
    assert.same({ name = "t", value = "x y", domain = "example.com",
      path = "/p", hostOnly = false, secure = true, httpOnly = true }, list[1])
    assert.same({ name = "s", value = "", domain = "a.example.com",
      path = "/shop", hostOnly = true, secure = false, httpOnly = false },
      list[2])
    assert.is_true(cookies.set(URL, { name = "s", maxAge = 0 }))
    assert.is_true(cookies.set("https://example.com/", { name = "t",
      domain = "example.com", path = "/p", expires = now - 1 }))
    assert.same({}, cookies.list())
  end)

  it("lists for a url what it is sent, in that order", function()
    for _, line in ipairs { "root=1; Path=/", "deep=2; Path=/shop/cart",
      "other=3; Path=/other", "late=4; Path=/" } do
      cookies.set(URL, line)
    end
    cookies.set(URL:gsub("http", "https"), "tls=5; Path=/; Secure")
    cookies.set("http://b.example.com/", "far=6; Path=/")
    assert.equal("deep=2 root=1 late=4", pairs_of(cookies.list(URL)))
    assert.equal("deep=2 root=1 late=4 tls=5",
      pairs_of(cookies.list((URL:gsub("http", "https")))))
    assert.equal("root=1 deep=2 other=3 late=4 tls=5 far=6",
      pairs_of(cookies.list()))
    assert.same({}, cookies.list("http://example.com/"))
  end)

  it("clears a host, or all", function()
    cookies.set(URL, "a=1; Path=/x")
    cookies.set(URL, "b=2; Domain=example.com")
    cookies.set("http://b.example.com/", "c=3")
    cookies.set("http://example.org/", "d=4")
    assert.is_true(cookies.clear(URL))
    assert.equal("c=3 d=4", pairs_of(cookies.list()))
    assert.is_true(cookies.clear())
    assert.same({}, cookies.list())
  end)

  it("refuses what no server may set", function()
    local E = require "nettask.core".errors
    for _, case in ipairs {
      { URL, "no pair" }, { URL, "=1" }, { URL, "" },
      { URL, "a=1; Domain=com" }, { URL, "a=1; Domain=b.example.com" },
      { URL, "a=1; Domain=example.org" }, { URL, "a=1; Secure" },
      { "http://x.co.uk/", "a=1; Domain=co.uk" },
      { "http://me.github.io/", "a=1; Domain=github.io" },
      { "http://127.0.0.1/", "a=1; Domain=0.0.1" },
      { URL, "__Host-a=1" }, { URL, "a=" .. ("x"):rep(4096) },
      { URL, "a=1\r\nb=2" },
    } do
      local ok, message, code = cookies.set(case[1], case[2])
      assert.is_nil(ok, case[2])
      assert.equal("invalid argument", message)
      assert.equal(E.INVALID, code)
    end
    for _, url in ipairs { "", "example.com", "ftp://example.com/", "//x/" } do
      for _, f in pairs { cookies.set, cookies.list, cookies.clear } do
        local ok, message, code = f(url, "a=1")
        assert.is_nil(ok)
        assert.equal("invalid URL", message)
        assert.equal(E.URL, code)
      end
    end
    assert.same({}, cookies.list())
  end)

  it("raises for a wrong type, in the caller's line", function()
    for _, case in ipairs {
      { cookies.set, {}, "a=1" }, { cookies.set, nil, "a=1" },
      { cookies.set, URL, nil }, { cookies.set, URL, 5 },
      { cookies.set, URL, { nam = "a" } }, { cookies.set, URL, {} },
      { cookies.set, URL, { name = "a=b" } },
      { cookies.set, URL, { name = "a", value = "b; Domain=c" } },
      { cookies.set, URL, { name = "a", value = "b\nc" } },
      { cookies.set, URL, { name = "a", value = 1 } },
      { cookies.set, URL, { name = "a", maxAge = 0 / 0 } },
      { cookies.list, 5 }, { cookies.clear, {} },
    } do
      local ok, err = pcall(function()
        local result = case[1](case[2], case[3])
        return result
      end)
      assert.is_false(ok)
      assert.matches("cookies_file_spec%.lua:%d+: ", err)
    end
  end)

  it("ends with the context when there is no file", function()
    cookies.set(URL, "a=1; Max-Age=100")
    close()
    assert.same({}, cookies.list())
    assert.equal("ready", cookies.state())
  end)

  it("belongs to the host once it is sealed", function()
    local result = helper.lua([[
      local net = require "nettask"
      local host = net.seal()
      for name, f in pairs(net.cookies) do
        local ok, err = pcall(f, "http://a.example/", "a=1")
        assert(not ok and err:find("cookies." .. name .. ": the configuration"
          .. " is sealed", 1, true), err)
        assert(not pcall(f, host, "http://a.example/", "a=1"))
      end
      assert(host.cookies.set("http://a.example/", "a=1"))
      assert(#host.cookies.list() == 1)
      local ok, message, code = host.cookies.set("nonsense", "a=1")
      assert(ok == nil and message == "invalid URL" and code < 0)
      assert(host.cookies.clear("http://a.example/"))
      assert(#host.cookies.list() == 0)
      assert(host.cookies.state() == "ready")
      print "ok"]])
    assert.equal("", result.err)
    assert.equal("ok\n", result.out)
  end)
end)

describe("cookieFile", function()
  after_each(clean)

  local folder, path
  before_each(function()
    folder = files.folder()
    path = folder .. "/cookies.txt"
  end)

  local function set(line)
    return wire.get { url = wire.url("/respond", {
      { "h", "Set-Cookie:" .. line } }), credentials = "include" }
  end

  local function sent()
    local key = wire.key()
    wire.get { url = wire.url("/respond", { key = key }),
      credentials = "include" }
    return wire.values(wire.seen(key)[1], "cookie")[1]
  end

  local function ready()
    helper.run_until(function() return cookies.state() ~= "reading" end)
    return cookies.state()
  end

  it("keeps what has a date, from one context to the next", function()
    net.configure { cookieFile = path }
    set "a=1; Path=/; Max-Age=1000"
    set "b=2; Path=/"
    assert.equal("a=1; b=2", sent())
    close()
    assert.equal("a=1", sent())
    assert.equal("ready", cookies.state())
    set "a=; Path=/; Max-Age=0"
    close()
    assert.is_nil(sent())
    assert.same({ "cookies.txt" }, files.list(folder))
  end)

  it("saves a while after a change, for this user alone", function()
    net.configure { cookieFile = path }
    set "a=1; Path=/; Max-Age=1000"
    helper.run_until(function() return files.exists(path) end)
    local text = helper.read_file(path)
    assert.matches("^# Netscape HTTP Cookie File\n", text)
    assert.matches("\n127%.0%.0%.1\tFALSE\t/\tFALSE\t%d+\ta\t1\n$", text)
    assert.equal("600\n", files.shell("stat", "-c", "%a", path))
    assert.is_true(cookies.set(URL, "b=2; Max-Age=1000"))
    helper.run_until(function()
      return helper.read_file(path):find("\tb\t2\n", 1, true)
    end)
  end)

  it("reads the files of other programs", function()
    helper.write_file(path, table.concat({
      "# Netscape HTTP Cookie File", "",
      ".example.com\tTRUE\t/\tFALSE\t4102444800\tall\t1",
      "#HttpOnly_a.example.com\tFALSE\t/\tTRUE\t4102444800\town\t2\r",
      "a.example.com\tFALSE\t/\tFALSE\t1\told\t3",
      "a.example.com\tFALSE\t/\tFALSE\t0\tsession\t4",
      ".com\tTRUE\t/\tFALSE\t4102444800\tsuffix\t5",
      "nonsense", "\t\t\t\t\t\t", "# comment\ta\tb\tc\td\te\tf" }, "\n"))
    net.configure { cookieFile = path }
    assert.equal("ready", ready())
    local list = cookies.list()
    assert.equal("all=1 own=2", pairs_of(list))
    assert.same({ name = "own", value = "2", domain = "a.example.com",
      path = "/", hostOnly = true, secure = true, httpOnly = true,
      expires = 4102444800 }, list[2])
  end)

  it("takes what was set and cleared before it was read as newer", function()
    net.configure { cookieFile = path }
    for _, line in ipairs { "a=1", "b=1", "c=1" } do
      cookies.set(URL, line .. "; Max-Age=1000")
    end
    cookies.set("http://example.org/", "d=1; Max-Age=1000")
    close() -- before it was read
    cookies.clear("http://example.org/some/where")
    cookies.set(URL, "b=2; Max-Age=1000")
    close()
    assert.equal("ready", ready())
    local known = cookies.list()
    -- Those of the file are as old as its being read, which may come first.
    table.sort(known, function(one, other) return one.name < other.name end)
    assert.equal("a=1 b=2 c=1", pairs_of(known))
    close()
    cookies.clear()
    close()
    assert.equal("ready", ready())
    assert.same({}, cookies.list())
  end)

  it("is another jar when it is another file", function()
    cookies.set(URL, "early=1; Max-Age=1000")
    net.configure { cookieFile = path }
    cookies.set(URL, "first=1; Max-Age=1000")
    net.configure { cookieFile = folder .. "/second" }
    assert.same({}, cookies.list())
    cookies.set(URL, "second=1; Max-Age=1000")
    assert.equal("ready", ready())
    net.configure { cookieFile = path }
    assert.equal("ready", ready())
    assert.equal("early=1 first=1", pairs_of(cookies.list()))
    net.configure { userAgent = false }
    assert.equal("early=1 first=1", pairs_of(cookies.list()))
    net.configure { cookieFile = false }
    assert.same({}, cookies.list())
    close()
    assert.same({ "cookies.txt", "second" }, files.list(folder))
  end)

  it("that cannot be read is left alone", function()
    net.configure { cookieFile = folder }
    set "a=1; Path=/; Max-Age=1000"
    assert.equal("a=1", sent())
    assert.equal("unreadable", cookies.state())
    close()
    assert.same({}, files.list(folder))
  end)

  it("in a folder that is not there costs nothing but itself", function()
    net.configure { cookieFile = folder .. "/none/cookies.txt" }
    set "a=1; Path=/; Max-Age=1000"
    assert.equal("a=1", sent())
    close()
    assert.same({}, files.list(folder))
  end)

  it("holds back tasks with cookies alone, until it was read", function()
    helper.write_file(path, "127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tf\t1\n")
    net.configure { cookieFile = path }
    local key = wire.key()
    local url = wire.url("/respond", { key = key })
    local records = {}
    for i = 1, 5 do
      records[i] = helper.begin("request", { url = url,
        credentials = "include" })
    end
    records[6] = helper.begin("request", { url = url, credentials = "include" })
    records[6].task:abort()
    for i = 1, 5 do assert(helper.finish(records[i]).success) end
    helper.finish(records[6])
    for _, request in ipairs(wire.seen(key)) do
      assert.same({ "f=1" }, wire.values(request, "cookie"))
    end
  end)

  -- 2,500 cookies of 1 KB are some milliseconds of writing.
  local FILL = [[
    local net = require "nettask"
    local path, generation, kill = ...
    net.configure { cookieFile = path }
    while net.cookies.state() == "reading" do net.wait(10) net.update() end
    for d = 1, 50 do
      for n = 1, 50 do
        assert(net.cookies.set(("http://h%d.example/"):format(d),
          ("n%d=%s; Max-Age=1000"):format(n, generation:rep(1000))))
      end
    end
    if kill == "kill" then
      -- The shell's parent is this process.
      local pipe = io.popen("echo $PPID")
      local pid = pipe:read("*l")
      pipe:close()
      -- There is always something to be saved again.
      local file
      while not file do
        for n = 1, 50 do
          assert(net.cookies.set("http://h1.example/",
            ("n%d=%s; Max-Age=1000"):format(n, generation:rep(1000))))
        end
        file = io.open(path .. ".new")
      end
      os.execute("kill -9 " .. pid)
    end
    net.close(20000)]]

  it("is whole when the process is killed while it is saved", function()
    local result = helper.lua(FILL, path, "1")
    assert.equal("", result.err)
    local ones, twos = ("1"):rep(1000), ("2"):rep(1000)
    assert.equal(137, helper.lua(FILL, path, "2", "kill").status)
    net.configure { cookieFile = path }
    assert.equal("ready", ready())
    local list = cookies.list()
    assert.equal(2500, #list)
    for _, cookie in ipairs(list) do
      assert.is_true(cookie.value == ones or cookie.value == twos)
    end
    -- What was left of it does no harm.
    cookies.clear()
    cookies.set(URL, "last=1; Max-Age=1000")
    close()
    assert.same({ "cookies.txt" }, files.list(folder))
    assert.matches("\tlast\t1\n$", helper.read_file(path))
  end)

  it("is saved by a process that just ends", function()
    local result = helper.lua([[
      local net = require "nettask"
      net.configure { cookieFile = ... }
      assert(net.cookies.set("http://a.example/", "a=1; Max-Age=1000"))
      os.exit(0)]], path)
    assert.equal("", result.err)
    assert.matches("\ta\t1\n$", helper.read_file(path))
  end)
end)
