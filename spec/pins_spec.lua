-- Pins: keys that a host must have, whatever connects to it with TLS.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local tcp = require "support.tcp"
local trust = require "support.trust"

local fetch = helper.fetch_text
local net, servers = helper.net, helper.servers

-- A key that nobody has.
local NOBODY = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
local ERROR = "-150:net::ERR_SSL_PINNED_KEY_NOT_IN_CERT_CHAIN"

local function pin(host, ...)
  net.configure { pins = { [host] = { ... } } }
end

local function check_good(url, options)
  local record = fetch(url, options)
  assert(record.success, record.complete.errMsg)
  return record.success
end

local function check_bad(url, options)
  return helper.check_failure(fetch(url, options), ERROR, 600001, -150)
end

local function named(url)
  return (url:gsub("127%.0%.0%.1", "localhost"))
end

local function defaults()
  sockets.defaults()
  tcp.defaults()
  residue.defaults()
  net.configure { pins = false }
end

describe("pins", function()
  setup(function()
    trust.start()
    defaults()
  end)
  before_each(defaults)
  after_each(function()
    sockets.verify()
    tcp.verify()
    defaults()
  end)
  teardown(trust.stop)

  it("#129 let a host through that has the key", function()
    pin("localhost", trust.pins[1])
    check_good(named(trust.tls) .. "/head")
  end)

  it("#129 refuse one that has another, and send it nothing", function()
    pin("127.0.0.1", trust.pins[2])
    check_bad(trust.tls .. "/next") -- the server would change its key
    pin("127.0.0.1", trust.pins[1])
    check_good(trust.tls .. "/head")
  end)

  it("#129 take any of several", function()
    pin("127.0.0.1", NOBODY, trust.pins[1], trust.pins[2])
    check_good(trust.tls .. "/head")
    pin("127.0.0.1", trust.pins[1], NOBODY)
    check_good(trust.tls .. "/head")
    pin("127.0.0.1", NOBODY, trust.pins[2])
    check_bad(trust.tls .. "/head")
  end)

  it("are for their host alone", function()
    pin("other.example", NOBODY)
    check_good(trust.tls .. "/head")
    pin("localhost", NOBODY)
    check_good(trust.tls .. "/head")
    check_bad(named(trust.tls) .. "/head")
  end)

  it("are for a host in whatever way it is written", function()
    pin("LocalHost", NOBODY)
    for _, host in ipairs { "localhost", "LOCALHOST", "%6cocalhost",
        "user:pw@localhost" } do
      check_bad((trust.tls:gsub("127%.0%.0%.1", (host:gsub("%%", "%%%%"))))
        .. "/head")
    end
    pin("127.0.0.1", NOBODY)
    for _, host in ipairs { "127.0.0.1", "127.1", "0x7f.1", "2130706433",
        "017700000001" } do
      check_bad((trust.tls:gsub("127%.0%.0%.1", host)) .. "/head")
    end
  end)

  it("with a star are for all below, and not for the name itself", function()
    pin("*.localhost", NOBODY)
    check_good(named(trust.tls) .. "/head")
    -- The system looks up what is below localhost as localhost, or not at all;
    -- its certificate says "localhost" alone.
    local record = fetch((trust.tls:gsub("127%.0%.0%.1", "a.localhost"))
      .. "/head")
    assert.is_nil(record.success)
  end)

  it("say nothing about hosts without TLS", function()
    pin("127.0.0.1", NOBODY)
    check_good(trust.plain .. "/head")
  end)

  it("#129 hold for each hop of a redirect", function()
    local there = named(trust.tls) .. "/head"
    pin("localhost", trust.pins[1])
    check_good(trust.tls .. "/to?" .. there)
    pin("localhost", NOBODY)
    check_good(trust.tls .. "/to?" .. trust.tls .. "/head")
    check_bad(trust.tls .. "/to?" .. there)
    check_bad(trust.plain .. "/to?" .. there)
  end)

  it("#129 hold for HTTP/2", function()
    local url = servers.nginx.https .. "/small"
    pin("127.0.0.1", NOBODY)
    check_bad(url, { enableHttp2 = true })
    pin("127.0.0.1", NOBODY,
      trust.pin_of(servers.tls_dir .. "/valid.key"))
    check_good(url, { enableHttp2 = true })
  end)

  it("#129 hold for downloads and uploads", function()
    pin("127.0.0.1", NOBODY)
    local record = helper.finish(helper.begin("downloadFile",
      { url = trust.tls .. "/head" }))
    helper.check_failure(record, ERROR, 600001, -150)
    local path = helper.write_file(helper.temp_name(), "text")
    record = helper.finish(helper.begin("uploadFile",
      { url = trust.tls .. "/head", filePath = path, name = "file" }))
    helper.check_failure(record, ERROR, 600001, -150)
    os.remove(path)
  end)

  it("#129 hold for WebSockets, at every connection", function()
    local url = trust.tls:gsub("^https", "wss")
    pin("127.0.0.1", trust.pins[1])
    sockets.close(sockets.open { url = url .. "/" })
    pin("127.0.0.1", NOBODY)
    local socket = sockets.whole { url = url .. "/" }
    sockets.check_unopened(socket, ERROR, 600001, -150)
  end)

  it("#129 hold for TCP with TLS", function()
    pin("127.0.0.1", trust.pins[1])
    local socket = tcp.connect { port = trust.port, tls = true }
    tcp.close(socket)
    pin("127.0.0.1", NOBODY)
    socket = tcp.whole { port = trust.port, tls = true }
    assert.equal(0, #socket.connects)
    assert(socket.errors[1].errMsg:find(ERROR, 1, true),
      socket.errors[1].errMsg)
  end)

  it("through a proxy are those of the server", function()
    pin("127.0.0.1", trust.pins[1])
    for _, proxy in ipairs { servers.proxy, trust.plain } do
      check_good(trust.tls .. "/head", { proxy = proxy })
    end
    pin("127.0.0.1", NOBODY)
    for _, proxy in ipairs { servers.proxy, trust.plain } do
      check_bad(trust.tls .. "/head", { proxy = proxy })
    end
  end)

  -- libcurl 7.88 does not look at a proxy's own key.
  it("of the server alone count through an https proxy", function()
    local proxy = named(trust.tls)
    pin("127.0.0.1", trust.pins[1])
    check_good(trust.tls .. "/head", { proxy = proxy })
    check_good(trust.plain .. "/head", { proxy = proxy })
    pin("127.0.0.1", NOBODY)
    check_bad(trust.tls .. "/head", { proxy = proxy })
    check_good(trust.plain .. "/head", { proxy = proxy })
  end)

  -- The last one: the server keeps its second key.
  it("#129 with the next key work on when the server changes it", function()
    pin("127.0.0.1", trust.pins[1], trust.pins[2])
    check_good(trust.tls .. "/head")
    check_good(trust.plain .. "/next")
    local before = tonumber(trust.ask("/connections"))
    net.configure { pins = { ["127.0.0.1"] = { trust.pins[2] } } }
    check_good(trust.tls .. "/head")
    assert.equal(before + 1, tonumber(trust.ask("/connections")))
    pin("127.0.0.1", trust.pins[1])
    check_bad(trust.tls .. "/head")
  end)
end)
