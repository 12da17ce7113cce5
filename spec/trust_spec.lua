-- Trust from memory, and what a new policy leaves of old connections.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local tcp = require "support.tcp"
local trust = require "support.trust"

local fetch = helper.fetch_text
local net, servers = helper.net, helper.servers
local nginx, fault = servers.nginx, servers.fault

local UNTRUSTED = "-202:net::ERR_CERT_AUTHORITY_INVALID"

local function check_good(url, options)
  local record = fetch(url, options)
  assert(record.success, record.complete.errMsg)
  return record.success
end

local function check_bad(url, options)
  return helper.check_failure(fetch(url, options), UNTRUSTED, 600001, -202)
end

local function defaults()
  sockets.defaults()
  tcp.defaults()
  residue.defaults()
  net.configure { pins = false, caData = false, domains = { request = false },
    allowPrivate = false, denyPrivateAddresses = false }
end

-- Which connection of nginx answers, and how often it did.
local function connection(url, options)
  local text = check_good(url .. "/connection", options).data
  local id, requests = text:match("^(%d+) (%d+)$")
  return tonumber(id), tonumber(requests)
end

describe("caData", function()
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

  it("#128 is trusted by every kind of connection", function()
    net.configure { caFile = false, caData = trust.ca }
    for _, url in ipairs { nginx.https1, nginx.https, fault.https } do
      check_good(url .. "/small")
    end
    check_good(nginx.https .. "/small", { enableHttp2 = true })
    local record = helper.finish(helper.begin("downloadFile",
      { url = nginx.https1 .. "/small" }))
    assert(record.success, record.complete.errMsg)
    local path = helper.write_file(helper.temp_name(), "text")
    record = helper.finish(helper.begin("uploadFile",
      { url = nginx.https1 .. "/upload", filePath = path, name = "file" }))
    os.remove(path)
    assert(record.success, record.complete.errMsg)
    sockets.close(sockets.open { url = nginx.wss .. "/ws/echo" })
    tcp.close(tcp.connect { port = fault.tcp_tls, tls = true })
    check_good(trust.plain .. "/head", { proxy = trust.tls })
  end)

  it("#128 comes before caFile, and nothing else is trusted", function()
    net.configure { caFile = servers.tmp .. "/no-such-file.pem",
      caData = trust.ca }
    check_good(nginx.https1 .. "/small")
    check_bad(nginx.selfsigned .. "/")
    local other = helper.read_file(servers.tls_dir .. "/selfsigned.pem")
    net.configure { caFile = servers.ca, caData = other }
    check_good(nginx.selfsigned .. "/")
    check_bad(nginx.https1 .. "/small")
    net.configure { caData = false }
    check_good(nginx.https1 .. "/small")
    check_bad(nginx.selfsigned .. "/")
  end)

  it("may hold several authorities", function()
    local other = helper.read_file(servers.tls_dir .. "/selfsigned.pem")
    for _, text in ipairs { other .. trust.ca, trust.ca .. other,
        "a comment\n" .. trust.ca .. "\r\n\r\n" .. other } do
      net.configure { caFile = false, caData = text }
      check_good(nginx.https1 .. "/small")
      check_good(nginx.selfsigned .. "/")
    end
  end)

  it("that no certificate can be read from trusts nobody", function()
    local broken = trust.ca:gsub("\n[%w+/]+", "\nAAAA", 2)
    net.configure { caFile = servers.ca, caData = broken }
    local record = check_bad(nginx.https1 .. "/small")
    assert.equal("no certificate could be read from ca_data",
      record.fail.detail)
    check_good(nginx.http .. "/small")
  end)

  it("that is no certificate is refused by configure", function()
    for _, text in ipairs { "", "text", "-----BEGIN PRIVATE KEY-----\n" } do
      local ok, err = pcall(net.configure, { caData = text })
      assert.is_false(ok)
      assert(err:find("caData", 1, true), err)
    end
    check_good(nginx.https1 .. "/small")
  end)

  it("leaves no descriptor and no file", function()
    net.configure { caFile = false, caData = trust.ca }
    local mark = residue.mark()
    for _ = 1, 20 do
      net.configure { caData = trust.ca .. "\n# " .. helper.now() }
      check_good(nginx.https1 .. "/small")
      net.configure { caData = trust.ca }
      check_good(nginx.https1 .. "/small")
    end
    assert(residue.descriptors(mark + 1) <= mark + 1)
  end)
end)

describe("a new policy", function()
  setup(function()
    trust.start()
    defaults()
  end)
  before_each(defaults)
  after_each(function()
    helper.verify()
    defaults()
  end)
  teardown(trust.stop)

  local changes = {
    { "pins", { pins = { ["other.example"] = {
      "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" } } } },
    { "authorities", function() return { caData = trust.ca } end },
    { "domains", { domains = { request = { "127.0.0.1" } } } },
    { "allowPrivate", { allowPrivate = { "127.0.0.1" } } },
    { "denyPrivateAddresses", { denyPrivateAddresses = true,
      allowPrivate = { "127.0.0.0/8" } } },
    { "requireSecure", { requireSecure = true } },
  }
  for _, case in ipairs(changes) do
    for name, options in pairs { https1 = {},
        https = { enableHttp2 = true } } do
      it(("#129 with other %s uses no old connection of %s"):format(case[1],
        name), function()
        local first = connection(nginx[name], options)
        local id, requests = connection(nginx[name], options)
        assert.same({ first, 2 }, { id, requests })
        net.configure(type(case[2]) == "table" and case[2] or case[2]())
        id, requests = connection(nginx[name], options)
        assert.is_true(id > first)
        assert.equal(1, requests)
        local again
        again, requests = connection(nginx[name], options)
        assert.same({ id, 2 }, { again, requests })
        net.configure { requireSecure = false }
      end)
    end
  end

  it("that changes limits alone keeps connections", function()
    local first = connection(nginx.https1)
    net.configure { limits = { maxRequests = 7 }, userAgent = "other" }
    assert.equal(first, (connection(nginx.https1)))
  end)

  it("#129 closes an idle connection at once", function()
    local mark = residue.mark()
    check_good(nginx.https1 .. "/small")
    check_good(nginx.http .. "/small")
    net.configure { pins = { ["a.example"] = {
      "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" } } }
    helper.ask(fault.http .. "/")
    helper.run_until(function()
      return residue.descriptors() <= mark
    end, 5000, "idle connections to be closed")
  end)

  it("lets a download go on and end", function()
    local record = helper.begin("downloadFile", { url = trust.tls .. "/part" })
    helper.run_until(function() return #record.headers > 0 end)
    local before = connection(nginx.https1)
    for i = 1, 5 do
      net.configure { domains = { request = { "127.0.0.1",
        "a" .. i .. ".example" } } }
      local id = connection(nginx.https1)
      assert.is_true(id > before)
      before = id
    end
    assert.is_false(record.done)
    trust.ask("/go")
    helper.finish(record)
    assert(record.success, record.complete.errMsg)
    assert.equal("helloworld",
      helper.read_file(record.success.tempFilePath))
    assert.equal(before, (connection(nginx.https1)))
  end)

  it("lets a WebSocket go on, which comes back under its own", function()
    local socket = sockets.open { url = nginx.wss .. "/ws/echo" }
    net.configure { domains = { socket = {} } }
    socket.task:send { data = "hello" }
    assert.equal("hello", sockets.wait_messages(socket, 1))
    sockets.close(socket)
    net.configure { domains = { socket = false } }
  end)
end)
