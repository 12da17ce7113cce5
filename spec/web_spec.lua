-- What a game has instead of a page: the Referer that the platform sends, and
-- the origin that `mode` compares with.

local helper = require "helper"
local sockets = require "support.sockets"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local APP = { appid = "wx0123abc", version = "7", page = "pages/level",
  query = "n=3&who=a b" }
local WX = "https://servicewechat.com/wx0123abc/7/page-frame.html"
local INDEX = "https://wx0123abc.hybrid.alipay-eco.com/wx0123abc/7/index.html"
local PAGE = INDEX .. "#pages/level"
local QUERY = PAGE .. "?n=3&who=a%20b"

local named = fault.http:gsub("127%.0%.0%.1", "localhost")

local function reset()
  net.configure { dialect = "wx", appid = false, version = false, page = false,
    query = false, origin = false, baseUrl = false }
  sockets.verify()
end

local function set_up()
  net.configure { caFile = servers.ca }
end

local function url_of(key, fields, server)
  local parameters = { { "key", key }, { "body", "there" } }
  for _, field in ipairs(fields or {}) do
    parameters[#parameters + 1] = { "h", field }
  end
  return wire.url("/respond", parameters, server)
end

local function redirect(key, to, server)
  return wire.url("/redirect", { key = key, to = to }, server)
end

-- ---- Referer ----------------------------------------------------------------

local function referers(key)
  local list = {}
  for i, request in ipairs(wire.seen(key)) do
    local values = wire.values(request, "referer")
    assert(#values <= 1, "two Referer fields")
    list[i] = values[1] or false
  end
  return list
end

local function sends(options)
  local key = wire.key()
  wire.get(wire.with({ url = url_of(key), dataType = "text" }, options or {}))
  return referers(key)[1]
end

describe("the Referer", function()
  setup(set_up)
  after_each(reset)

  it("is not sent without an appid", function()
    net.configure { version = "7", page = "x", query = "y" }
    assert.is_false(sends())
    for _, strategy in ipairs { "index", "page", "querystring" } do
      assert.is_false(sends { referrerStrategy = strategy })
    end
    net.configure { dialect = "my" }
    assert.is_false(sends())
  end)

  it("is that of wx with an appid", function()
    for _, dialect in ipairs { "wx", "taro", "ft", "swan" } do
      net.configure(wire.with(APP, { dialect = dialect }))
      assert.equal(WX, sends())
    end
    net.configure { version = false }
    assert.equal("https://servicewechat.com/wx0123abc/0/page-frame.html",
      sends())
    net.configure { appid = false }
    assert.is_false(sends())
  end)

  it("#50 index names the application", function()
    net.configure(APP)
    assert.equal(INDEX, sends { referrerStrategy = "index" })
  end)

  it("#51 page names the page too", function()
    net.configure(APP)
    assert.equal(PAGE, sends { referrerStrategy = "page" })
    net.configure { page = false }
    assert.equal(INDEX, sends { referrerStrategy = "page" })
  end)

  it("#52 querystring names the query too, and is the default", function()
    net.configure(APP)
    assert.equal(QUERY, sends { referrerStrategy = "querystring" })
    net.configure { dialect = "my" }
    assert.equal(QUERY, sends())
    assert.equal(PAGE, sends { referrerStrategy = "page" })
    net.configure { query = false }
    assert.equal(PAGE, sends())
    net.configure { query = "n=3", page = false }
    assert.equal(INDEX .. "?n=3", sends())
  end)

  it("is querystring for a strategy that is none, and says so", function()
    local lines = {}
    net.setLogger(function(_, text) lines[#lines + 1] = text end)
    net.configure(APP)
    assert.equal(QUERY, sends { referrerStrategy = "origin" })
    net.setLogger(false)
    assert.equal('request: option "referrerStrategy" is none of "index",'
      .. ' "page" and "querystring", which it means', lines[1])
  end)

  it("cannot be set by a script, in whatever case", function()
    net.configure(APP)
    for _, name in ipairs { "Referer", "referer", "REFERER" } do
      assert.equal(WX, sends { header = { [name] = "https://evil.example/" } })
    end
    net.configure { appid = false }
    assert.is_false(sends { header = { Referer = "https://evil.example/" } })
  end)

  it("is one of the policy's for who calls the core itself", function()
    net.configure(APP)
    local core = require "nettask.core"
    local key = wire.key()
    for _, value in ipairs { 4, 5, 1e9, -1, "4", "https://evil.example/" } do
      local done = false
      local record = { [0] = 0, url = "x", complete = function()
        done = true
      end, success = function() end }
      local task = core.requestOpen(record)
      assert.equal(0, (core.requestStart(task, { url = url_of(key),
        headers = {}, referer = value })))
      helper.run_until(function() return done end)
    end
    assert.same({ QUERY, false, false, false, false, false }, referers(key))
  end)

  it("is the same at each hop", function()
    net.configure(APP)
    local key = wire.key()
    wire.get(redirect(key, redirect(key, url_of(key), named)))
    assert.same({ WX, WX, WX }, referers(key))
  end)

  it("is sent with downloads, uploads and handshakes", function()
    net.configure(APP)
    local key = wire.key()
    local path = helper.write_file(helper.temp_name(), "x")
    for api, more in pairs { downloadFile = {}, uploadFile =
      { filePath = path, name = "f" } } do
      local record = helper.finish(helper.begin(api, wire.with(more,
        { url = url_of(key) })))
      assert(record.success, record.complete.errMsg)
    end
    local socket = sockets.open { url = fault.ws .. "/ws/echo?key=" .. key,
      header = { referer = "https://evil.example/" } }
    sockets.close(socket)
    assert.same({ WX, WX, WX }, referers(key))
    os.remove(path)
  end)
end)

-- ---- Origins ----------------------------------------------------------------

local CROSS = "request:fail cross origin request is not allowed"
local CORS = "request:fail response is not allowed by"
  .. " Access-Control-Allow-Origin"

local function origins(key)
  local list = {}
  for i, request in ipairs(wire.seen(key)) do
    list[i] = table.concat(wire.values(request, "origin"), ",")
  end
  return list
end

local function refused(text, options)
  local res = wire.fail(options)
  assert.equal(text, res.errMsg)
  assert.equal(600011, res.errno)
  assert.equal(-10, res.errCode)
  assert.is_nil(res.data)
  assert.is_nil(res.header)
end

local MODES = { "no-cors", "cors", "same-origin" }

describe("mode", function()
  setup(set_up)
  after_each(reset)

  it("#56 #57 #58 has no effect without an origin", function()
    for _, mode in ipairs(MODES) do
      local key = wire.key()
      local res = wire.get { url = url_of(key), mode = mode }
      assert.equal("there", res.data)
      assert.same({ "" }, origins(key))
    end
  end)

  it("#56 #57 #58 lets all pass inside of the origin", function()
    for _, values in ipairs { { origin = fault.http .. "/any/path" },
      { baseUrl = fault.http .. "/api/" },
      { origin = fault.http, baseUrl = named } } do
      net.configure { origin = false, baseUrl = false }
      net.configure(values)
      for _, mode in ipairs(MODES) do
        local key = wire.key()
        local res = wire.get { url = redirect(key, url_of(key)), mode = mode }
        assert.equal("there", res.data)
        assert.equal(200, res.statusCode)
        local wanted = mode == "cors" and fault.http or ""
        assert.same({ wanted, wanted }, origins(key))
      end
    end
  end)

  it("#56 no-cors tells nothing of an answer from elsewhere", function()
    net.configure { origin = named }
    for _, dialect in ipairs { "wx", "my" } do
      net.configure { dialect = dialect }
      local key = wire.key()
      local record = helper.fetch { url = url_of(key, { "Set-Cookie: a=1",
        "Access-Control-Allow-Origin: *" }), mode = "no-cors" }
      local res = record.success
      assert(res, record.complete.errMsg)
      assert.equal("", res.data)
      assert.equal(0, res.statusCode)
      assert.is_nil(next(res.header))
      assert.same({}, res.cookies)
      assert.equal(1, #record.headers)
      assert.equal(0, record.headers[1].statusCode)
      assert.is_nil(next(record.headers[1].header))
      assert.same({ "" }, origins(key))
    end
  end)

  it("#56 no-cors sends, and does not keep a body of any size", function()
    net.configure { origin = named }
    local key = wire.key()
    local record = helper.fetch { url = wire.url("/respond", { key = key,
      body = ("x"):rep(5000) }), mode = "no-cors", method = "POST",
      data = "score", enableChunked = true }
    assert.equal("", record.success.data)
    assert.same({}, record.chunks)
    assert.equal("score", wire.seen(key)[1].body)
  end)

  it("#57 cors wants the permission of an answer from elsewhere", function()
    net.configure { origin = named }
    local field = "Access-Control-Allow-Origin: "
    for _, fields in ipairs { { field .. "*" }, { field .. named } } do
      local key = wire.key()
      local res = wire.get { url = url_of(key, fields), mode = "cors" }
      assert.equal("there", res.data)
      assert.equal(200, res.statusCode)
      assert.same({ named }, origins(key))
    end
    for _, fields in ipairs { {}, { field .. fault.http }, { field .. "null" },
      { field .. named .. "/" }, { field .. named .. ", *" },
      { field .. named, field .. named }, { field .. "**" }, { field } } do
      local key = wire.key()
      refused(CORS, { url = url_of(key, fields), mode = "cors" })
      assert.same({ named }, origins(key))
    end
  end)

  it("#57 cors with credentials wants more", function()
    net.configure { origin = named }
    local field = "Access-Control-Allow-Origin: "
    local too = "Access-Control-Allow-Credentials: "
    local options = { mode = "cors", credentials = "include" }
    local function with(...)
      return wire.with(options, { url = url_of(wire.key(), { ... }) })
    end
    assert.equal("there", wire.get(with(field .. named, too .. "true")).data)
    refused(CORS, with(field .. "*", too .. "true"))
    refused(CORS, with(field .. named))
    refused(CORS, with(field .. named, too .. "True"))
    options.credentials = "same-origin"
    assert.equal("there", wire.get(with(field .. "*")).data)
  end)

  it("#57 cors looks at the last answer alone, whatever its status", function()
    net.configure { origin = fault.http }
    local key = wire.key()
    refused(CORS, { url = redirect(key, url_of(key, {}, named)),
      mode = "cors" })
    local target = url_of(key, { "Access-Control-Allow-Origin: *" }, named)
    local res = wire.get { url = redirect(key, target), mode = "cors" }
    assert.equal("there", res.data)
    -- Back home it counts as one from elsewhere.
    refused(CORS, { url = redirect(key, redirect(key, url_of(key)), named),
      mode = "cors" })
    refused(CORS, { url = wire.url("/respond", { status = 404 }, named),
      mode = "cors" })
    for _, origin in ipairs(origins(key)) do
      assert.equal(fault.http, origin)
    end
  end)

  it("#57 cors has no port in Origin where it is the scheme's", function()
    for origin, wanted in pairs { ["http://game.example:80/x"] =
      "http://game.example", ["HTTPS://Game.Example:443"] =
      "https://game.example", ["https://game.example:8443"] =
      "https://game.example:8443", ["http://[::1]"] = "http://[::1]" } do
      net.configure { origin = origin }
      local key = wire.key()
      wire.get { mode = "cors", url = url_of(key,
        { "Access-Control-Allow-Origin: " .. wanted }) }
      assert.same({ wanted }, origins(key))
    end
  end)

  it("#58 same-origin refuses others before anything is sent", function()
    net.configure { origin = fault.http }
    for _, server in ipairs { named, fault.https, servers.demo,
      fault.http6 } do
      local key = wire.key()
      refused(CROSS, { url = url_of(key, {}, server), mode = "same-origin" })
      assert.same({}, wire.seen(key))
    end
  end)

  it("#58 same-origin refuses the hop to another", function()
    net.configure { origin = fault.http }
    local key = wire.key()
    refused(CROSS, { url = redirect(key, redirect(key, url_of(key, {},
      named))), mode = "same-origin" })
    assert.equal(2, #wire.seen(key))
    local res = wire.get { url = redirect(key, url_of(key, {}, named)),
      mode = "same-origin", redirect = "manual" }
    assert.equal(302, res.statusCode)
  end)

  it("given, never sends the script's own Origin", function()
    local header = { Origin = "https://evil.example", oRIGIN = "x" }
    for _, values in ipairs { { origin = false }, { origin = fault.http } } do
      net.configure(values)
      for _, mode in ipairs(MODES) do
        local key = wire.key()
        wire.get { url = url_of(key), mode = mode, header = header }
        assert.same({ mode == "cors" and values.origin or "" }, origins(key))
      end
    end
    local key = wire.key()
    wire.get { url = url_of(key), header = { Origin = "https://a.example" } }
    assert.same({ "https://a.example" }, origins(key))
  end)

  it("that is none has no effect, and says so", function()
    local lines = {}
    net.setLogger(function(_, text) lines[#lines + 1] = text end)
    net.configure { origin = named }
    assert.equal("there", wire.get { url = url_of(wire.key()),
      mode = "navigate" }.data)
    net.setLogger(false)
    assert.equal('request: option "mode" is none of "cors", "no-cors" and'
      .. ' "same-origin", and has no effect', lines[1])
  end)
end)
