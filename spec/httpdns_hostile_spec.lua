-- HttpDNS between providers and scripts that mean harm, or do not know better.

local helper = require "helper"

local net, servers = helper.net, helper.servers
local fault = servers.fault
local PORT = fault.http:match(":(%d+)$")
local HERE = { "127.0.0.1" }

local function options_of(id, name, more)
  local given = { url = ("http://%s:%s/"):format(name or "game.example", PORT),
    dataType = "text", enableHttpDNS = true, httpDNSServiceId = id }
  for key, value in pairs(more or {}) do given[key] = value end
  return given
end

local function fetch(id, name, more)
  return helper.fetch(options_of(id, name, more))
end

local function restore()
  helper.verify()
  for _, id in ipairs { "f", "url" } do net.registerHttpDNS(id, nil) end
  net.configure { policy = "miniprogram", denyPrivateAddresses = false,
    allowPrivate = false }
end

describe("HttpDNS", function()
  setup(restore)
  after_each(restore)

  it("takes no url whose host a script would choose", function()
    for _, url in ipairs { "http://{host}/", "https://dns.{host}:1/x",
      "http://{host}@x/{host}", "http://dns.example\\{host}/" } do
      local ok, message = pcall(net.registerHttpDNS, "url", url)
      assert.is_false(ok, url)
      assert.truthy(message:find("#2 to 'registerHttpDNS'", 1, true), message)
    end
    net.registerHttpDNS("url", "http://dns.example/{host}")
    net.registerHttpDNS("url", "http://dns.example?{host}")
  end)

  it("reads no endless answer", function()
    net.registerHttpDNS("url", fault.http .. "/endless?of={host}")
    local before = net.stats().bytesIn
    assert.same({ { errno = 602106, errMsg =
      "httpDNS:fail game.example: invalid answer: too large" } },
      fetch("url").complete.exception.reasons)
    assert.is_true(net.stats().bytesIn - before < 4e6)
  end)

  it("lets nobody who is impatient speak for others", function()
    local key = "patience-" .. helper.now()
    net.registerHttpDNS("url", fault.http .. "/wait?of={host}&key=" .. key)
    local hasty = helper.start(options_of("url", nil, { httpDNSTimeout = 50 }))
    local calm = helper.start(options_of("url"))
    assert.equal(602105,
      helper.finish(hasty).complete.exception.reasons[1].errno)
    helper.ask(fault.http .. "/release?key=" .. key)
    -- "released" is no address, but an answer.
    assert.equal(602106,
      helper.finish(calm).complete.exception.reasons[1].errno)
  end)

  it("tells what is no address", function()
    for _, ip in ipairs { "127.0.0.1\0x", "[::1]", " 127.0.0.1", "0x7f.1",
      "2130706433", "127.0.0.1:80" } do
      net.registerHttpDNS("f", function() return { ip } end)
      assert.equal(602106, fetch("f").complete.exception.reasons[1].errno)
    end
  end)

  it("goes on where an address leads nowhere", function()
    -- libcurl looks a zone up, and knows none where none belongs.
    net.registerHttpDNS("f", function() return { "::1%lo", "127.0.0.1" } end)
    local res = fetch("f").complete
    assert.equal("request:ok", res.errMsg)
    assert.is_true(res.useHttpDNS)
    assert.equal(1, #res.exception.reasons)
  end)

  it("refuses private addresses in whatever form", function()
    net.setLogger(function() end)
    net.configure { denyPrivateAddresses = true }
    for _, ip in ipairs { "127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::",
      "64:ff9b::7f00:1", "::127.0.0.1" } do
      net.registerHttpDNS("f", function() return { ip } end)
      local record = fetch("f")
      helper.check_failure(record, "private address is not allowed", 600002,
        -10)
      assert.equal(600002, record.complete.exception.reasons[1].errno)
    end
    net.setLogger(nil)
  end)

  it("remembers for a minute what has no sensible time", function()
    for _, ttl in ipairs { 0 / 0, 1 / 0, -1, -1 / 0, 1e300, "5", {} } do
      local asked = 0
      net.registerHttpDNS("f", function()
        asked = asked + 1
        return HERE, ttl
      end)
      for _ = 1, 2 do assert.is_true(fetch("f").complete.useHttpDNS) end
      assert.equal(1, asked)
    end
  end)

  it("takes nil and a message for an answer", function()
    net.registerHttpDNS("f", function() return nil, "no idea" end)
    assert.same({ { errno = 602000,
      errMsg = "httpDNS:fail game.example: no idea" } },
      fetch("f").complete.exception.reasons)
  end)

  it("survives what a provider does in between", function()
    local heard = {}
    net.onError(function(err) heard[#heard + 1] = tostring(err) end)
    for _, f in ipairs {
      function() coroutine.yield() end,
      function() net.update() end,
      function() net.await(net.sleep(1)) end,
    } do
      net.registerHttpDNS("f", f)
      local reasons = fetch("f").complete.exception.reasons
      assert.equal(602000, reasons[1].errno)
    end
    assert.equal(3, #heard)
    helper.catch_errors()
    for _, f in ipairs {
      function(_, done) done(HERE) done { "x" } end,
      function() net.registerHttpDNS("f", nil) return HERE end,
      function() net.configure { policy = "miniprogram" } return HERE end,
    } do
      net.registerHttpDNS("f", f)
      assert.is_true(fetch("f").complete.useHttpDNS)
    end
  end)
end)
