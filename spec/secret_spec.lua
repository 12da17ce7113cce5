-- Secrets: what a script sends and never learns.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local trust = require "support.trust"

local fetch = helper.fetch_text
local net, servers = helper.net, helper.servers

-- Such a text is nowhere else.
local VALUE = "k3y-oF_the.host=" .. ("0123456789"):rep(3)
local REFUSED = "secret is not for this host"

-- All that came back to the script or the host in this test.
local seen = {}

local function see(value, depth)
  if type(value) == "table" and (depth or 0) < 6 then
    for key, item in pairs(value) do
      see(key, (depth or 0) + 1)
      see(item, (depth or 0) + 1)
    end
  elseif value ~= nil then
    seen[#seen + 1] = tostring(value)
  end
end

-- Nothing of what was seen has the value in it, in whatever form.
local function check_hidden()
  local base64 = VALUE:sub(1, 12)
  for _, text in ipairs(seen) do
    assert(not text:find(VALUE, 1, true), "the value is in " .. text)
    assert(not text:find(base64, 1, true), "a part is in " .. text)
  end
end

local function set(name, hosts, value)
  net.secrets.set(name, { value = value or VALUE, hosts = hosts })
end

-- The head that the server got.
local function head_of(url, options)
  local record = fetch(url, options)
  assert(record.success, record.complete.errMsg)
  return record.success.data
end

local function check_refused(record, url, name)
  see(record.complete)
  helper.check_failure(record, REFUSED, 102, -10)
  local origin = url:match("^%a+://[^/]+")
  assert(record.fail.detail:find(origin, 1, true), record.fail.detail)
  assert(record.fail.detail:find('"' .. name .. '"', 1, true),
    record.fail.detail)
end

local function defaults()
  sockets.defaults()
  residue.defaults()
  net.configure { proxy = false }
  for _, name in ipairs(net.secrets.list()) do net.secrets.remove(name) end
end

describe("secrets", function()
  local restore
  local port

  setup(function()
    trust.start()
    defaults()
    port = trust.plain:match("%d+$")
  end)
  before_each(function()
    defaults()
    seen = {}
    local write = function(level, text) see(level .. ": " .. text) end
    net.setLogger(write)
    restore = function() net.setLogger(nil) end
    net.onAudit(see)
  end)
  after_each(function()
    sockets.verify()
    restore()
    net.onAudit(nil)
    check_hidden()
    defaults()
  end)
  teardown(trust.stop)

  it("take the place of what stands for them", function()
    set("key", { "127.0.0.1" })
    local stands = net.secret("key")
    see { stands, VALUE }
    assert.is_false(pcall(check_hidden))
    seen = { stands }
    local head = head_of(trust.tls .. "/head", { header = {
      Authorization = "Bearer " .. stands,
      ["X-Twice"] = stands .. "," .. stands,
      ["X-Middle"] = "<" .. stands .. ">",
      ["X-None"] = stands:sub(2),
    } })
    assert(head:find("Authorization: Bearer " .. VALUE .. "\r\n", 1, true))
    assert(head:find("X-Twice: " .. VALUE .. "," .. VALUE .. "\r\n", 1, true))
    assert(head:find("X-Middle: <" .. VALUE .. ">\r\n", 1, true))
    assert(head:find("X-None: " .. stands:sub(2) .. "\r\n", 1, true))
  end)

  it("stay as they are in URLs, bodies and names", function()
    set("key", { "127.0.0.1" })
    local stands = net.secret("key")
    local record = fetch(servers.httpbin .. "/anything?q=" .. stands,
      { method = "POST", data = stands, dataType = "json" })
    assert(record.success, record.complete.errMsg)
    see(record.success)
  end)

  it("go nowhere without TLS unless their entry says so", function()
    local url = trust.plain .. "/head"
    set("key", { "127.0.0.1" })
    check_refused(fetch(url, { header = { A = net.secret("key") } }), url,
      "key")
    set("key", { "http://127.0.0.1:" .. port })
    assert(head_of(url, { header = { A = net.secret("key") } })
      :find("A: " .. VALUE, 1, true))
  end)

  it("of one host are not sent to another", function()
    local before = tonumber(trust.ask("/connections"))
    local url = trust.tls .. "/head"
    set("key", { "api.example", "*.example", "127.0.0.1:1" })
    check_refused(fetch(url, { header = { A = net.secret("key") } }), url,
      "key")
    set("other", { "127.0.0.1" })
    check_refused(fetch(url, { header = { A = net.secret("other"),
      B = net.secret("key") } }), url, "key")
    assert.equal(before, tonumber(trust.ask("/connections")))
  end)

  it("of downloads and uploads are the same", function()
    local path = helper.write_file(helper.temp_name(), "text")
    for _, hosts in ipairs { { "127.0.0.1" }, { "api.example" } } do
      set("key", hosts)
      local header = { ["X-Key"] = net.secret("key") }
      local down = helper.finish(helper.begin("downloadFile",
        { url = trust.tls .. "/head", header = header }))
      local up = helper.finish(helper.begin("uploadFile",
        { url = trust.tls .. "/head", header = header, filePath = path,
          name = "file" }))
      if hosts[1] == "127.0.0.1" then
        assert(helper.read_file(down.success.tempFilePath)
          :find("X-Key: " .. VALUE, 1, true))
        assert(up.success.data:find("X-Key: " .. VALUE, 1, true))
      else
        check_refused(down, trust.tls, "key")
        check_refused(up, trust.tls, "key")
      end
    end
    os.remove(path)
  end)

  it("#91 are dropped when a redirect leaves the origin", function()
    set("key", { "127.0.0.1", "localhost", "http://127.0.0.1:" .. port })
    local header = { ["X-Plain"] = net.secret("key"), ["X-Other"] = "kept" }
    local near = head_of(trust.tls .. "/to?/head", { header = header })
    assert(near:find("X-Plain: " .. VALUE, 1, true))
    for _, target in ipairs { trust.plain,
        (trust.tls:gsub("127%.0%.0%.1", "localhost")) } do
      local far = head_of(trust.tls .. "/to?" .. target .. "/head",
        { header = header })
      assert(not far:find("X-Plain", 1, true), far)
      assert(far:find("X-Other: kept", 1, true), far)
    end
  end)

  it("are in the handshake of a WebSocket, also when it comes back",
    function()
    local url = trust.tls:gsub("^https", "wss")
    set("key", { "127.0.0.1" })
    local socket = sockets.start { url = url .. "/drop",
      header = { ["X-Key"] = "a " .. net.secret("key") },
      reconnect = { base = 10, max = 10, jitter = 0, tries = 5 } }
    helper.run_until(function() return #socket.reconnects > 0 end)
    for _, res in ipairs { socket.opens[1], socket.reconnects[1] } do
      local head = res.header["X-Head"]:gsub("%x%x", function(hex)
        return string.char(tonumber(hex, 16))
      end)
      assert(head:find("\r\nX-Key: a " .. VALUE .. "\r\n", 1, true), head)
    end
    socket.task:close()
    sockets.finish(socket)
  end)

  it("are not sent to a WebSocket that may not have them", function()
    for _, url in ipairs { (trust.plain:gsub("^http", "ws")),
        (trust.tls:gsub("^https", "wss")) } do
      set("key", { "api.example" })
      local before = trust.ask("/connections")
      local socket = sockets.whole { url = url .. "/",
        header = { ["X-Key"] = net.secret("key") } }
      see(socket)
      assert.equal(0, #socket.opens)
      local res = socket.errors[1] or socket.fail
      assert(res.errMsg:find(REFUSED, 1, true), res.errMsg)
      assert.equal(before, trust.ask("/connections"))
    end
  end)

  it("stay out of the subprotocols, which a server says back", function()
    set("key", { "127.0.0.1" })
    local socket = sockets.whole { url = (trust.tls:gsub("^https", "wss"))
      .. "/drop", protocols = { net.secret("key") } }
    see(socket)
  end)

  it("are not for a proxy of the script's own", function()
    local mine = { "http://127.0.0.1:" .. port, "127.0.0.1" }
    local url = trust.plain .. "/head"
    set("key", mine)
    local header = { A = net.secret("key") }
    check_refused(fetch(url, { header = header, proxy = servers.proxy }), url,
      "key")
    -- What it tunnels it cannot read, and the host's own may.
    assert(head_of(trust.tls .. "/head", { header = header,
      proxy = servers.proxy }):find("A: " .. VALUE, 1, true))
    net.configure { proxy = servers.proxy }
    assert(head_of(url, { header = header }):find("A: " .. VALUE, 1, true))
    local socket = sockets.whole { url = (url:gsub("^http", "ws")),
      header = header, proxy = servers.proxy_auth }
    see(socket)
    assert.equal(0, #socket.opens)
    assert((socket.errors[1] or socket.fail).errMsg:find(REFUSED, 1, true))
  end)

  it("are not for TRACE, whose answer is what was sent", function()
    set("key", { "127.0.0.1", "http://127.0.0.1:" .. port })
    for _, url in ipairs { trust.plain .. "/head", trust.tls .. "/head" } do
      check_refused(fetch(url, { method = "TRACE",
        header = { A = net.secret("key") } }), url, "key")
      assert(fetch(url, { method = "TRACE", header = { A = "none" } }).success)
    end
  end)

  it("that were changed or removed count from the next request on", function()
    set("key", { "127.0.0.1" })
    local header = { A = net.secret("key") }
    local waits = helper.begin("request", { url = trust.tls .. "/to?/head",
      dataType = "text", header = header })
    set("key", { "127.0.0.1" }, "another-value")
    assert(head_of(trust.tls .. "/head", { header = header })
      :find("A: another-value\r\n", 1, true))
    helper.finish(waits)
    assert(waits.success.data:find("A: " .. VALUE, 1, true))
    net.secrets.remove("key")
    assert(head_of(trust.tls .. "/head", { header = header })
      :find("A: " .. header.A .. "\r\n", 1, true))
  end)

  it("are in no error, event, line of log, profile or count", function()
    set("key", { "127.0.0.1", "http://127.0.0.1:" .. port })
    local header = { ["X-Key"] = net.secret("key") }
    for _, url in ipairs { servers.nginx.https1 .. "/small",
        servers.nginx.expired .. "/", (servers.fault.refused:gsub("^http:",
        "https:")), servers.fault.https .. "/close",
        servers.fault.https .. "/close-in-header",
        "https://no-such-host.invalid/", trust.tls .. "/to?ftp://x/",
        trust.tls .. "/to?" .. trust.tls .. "/to?" .. servers.nginx.expired } do
      local record = fetch(url, { header = header })
      see(record)
      see(tostring(record.task))
      see(record.task)
    end
    local gone = helper.begin("request", { url = trust.tls .. "/part",
      header = header, enableChunked = true })
    helper.run_until(function() return #gone.headers > 0 end)
    gone.task:abort()
    helper.finish(gone)
    trust.ask("/go")
    see(gone)
    see(net.stats())
    see(net.secrets.list())
  end)
end)
