-- The profile of a result: all its fields, the order of its instants, what
-- was reused, what was counted; and the exception beside it.

local helper = require "helper"
local wire = require "support.wire"
local core = require "nettask.core"

local net, servers = helper.net, helper.servers
local fault, demo, nginx = servers.fault, servers.demo, servers.nginx

local INSTANTS = { "redirectStart", "redirectEnd", "fetchStart",
  "domainLookUpStart", "domainLookUpEnd", "connectStart", "connectEnd",
  "SSLconnectionStart", "SSLconnectionEnd", "requestStart", "requestEnd",
  "responseStart", "responseEnd", "invokeStart", "queueStart", "queueEnd",
  "httpDNSDomainLookUpStart", "httpDNSDomainLookUpEnd" }

local NUMBERS = { "rtt", "httpRttEstimate", "transportRttEstimate",
  "downstreamThroughputKbpsEstimate", "throughputKbps", "estimate_nettype",
  "port", "sendBytesCount", "receivedBytedCount" }

-- Each is not later than the next, on a connection of its own.
local ORDER = { "invokeStart", "queueStart", "queueEnd", "fetchStart",
  "domainLookUpStart", "domainLookUpEnd", "connectStart", "connectEnd",
  "requestStart", "requestEnd", "responseStart", "responseEnd" }

local function profile_of(options)
  return wire.get(options).profile
end

local function check_order(profile, names)
  for i = 2, #names do
    local before, after = profile[names[i - 1]], profile[names[i]]
    assert.is_true(before <= after, ("%s %.0f is after %s %.0f"):format(
      names[i - 1], before, names[i], after))
  end
end

local function set_up()
  net.configure { caFile = servers.ca }
end

describe("the fields of a profile", function()
  setup(set_up)
  after_each(helper.verify)

  it("are all there, and no others", function()
    local profile = profile_of(demo .. "/small")
    local left = {}
    for name in pairs(profile) do left[name] = true end
    for _, list in ipairs { INSTANTS, NUMBERS } do
      for _, name in ipairs(list) do
        assert.equal("number", type(profile[name]), name)
        assert.is_true(profile[name] >= 0, name)
        left[name] = nil
      end
    end
    for _, name in ipairs { "socketReused", "usingHighPerformanceMode" } do
      assert.equal("boolean", type(profile[name]), name)
      left[name] = nil
    end
    for _, name in ipairs { "protocol", "peerIP" } do
      assert.equal("string", type(profile[name]), name)
      left[name] = nil
    end
    assert.same({}, left)
  end)

  it("are whole milliseconds since 1970, if instants", function()
    local before = os.time() * 1000
    local profile = profile_of(demo .. "/small")
    -- time() may lag behind the finer clock by a tick, just at the second.
    local after = (os.time() + 2) * 1000
    for _, name in ipairs(INSTANTS) do
      local instant = profile[name]
      assert.equal(0, instant % 1, name)
      if instant ~= 0 then
        assert.is_true(instant >= before and instant <= after, name)
      end
    end
  end)

  it("are 0 where nothing measures them", function()
    local profile = profile_of(demo .. "/small")
    for _, name in ipairs { "estimate_nettype", "httpDNSDomainLookUpStart",
      "httpDNSDomainLookUpEnd", "redirectStart", "redirectEnd",
      "SSLconnectionStart", "SSLconnectionEnd" } do
      assert.equal(0, profile[name], name)
    end
  end)

  it("become JSON", function()
    local profile = profile_of(demo .. "/small")
    assert.same(profile, core.jsonDecode(core.jsonEncode(profile)))
  end)

  it("come with a failing status too", function()
    assert.equal("http/1.1",
      profile_of(demo .. "/status/500").protocol)
  end)

  it("are left out by enableProfile=false", function()
    assert.is_nil(profile_of { url = demo .. "/small",
      enableProfile = false })
    assert.is_table(profile_of { url = demo .. "/small",
      enableProfile = true })
  end)

  it("are left out of a failure", function()
    assert.is_nil(wire.fail { url = fault.refused }.profile)
    assert.is_nil(wire.fail { url = fault.http .. "/close" }.profile)
  end)
end)

describe("the instants of a profile", function()
  setup(set_up)
  after_each(function()
    net.configure { limits = { maxRequests = 10 } }
    helper.verify()
  end)

  it("are in order on a new connection", function()
    wire.get(fault.http .. "/closes")
    local profile = profile_of(fault.http .. "/closes")
    assert.is_false(profile.socketReused)
    check_order(profile, ORDER)
  end)

  it("are in order over TLS", function()
    local profile = profile_of(fault.https .. "/closes")
    assert.is_false(profile.socketReused)
    check_order(profile, ORDER)
    check_order(profile, { "connectStart", "SSLconnectionStart",
      "SSLconnectionEnd", "connectEnd", "requestStart" })
    assert.is_true(profile.SSLconnectionStart > 0)
  end)

  it("tell of no connecting on a reused connection", function()
    local url = fault.http .. "/raw"
    wire.get(url)
    local profile = profile_of(url)
    assert.is_true(profile.socketReused)
    check_order(profile, ORDER)
    for _, name in ipairs { "domainLookUpStart", "domainLookUpEnd",
      "connectStart", "connectEnd" } do
      assert.equal(profile.fetchStart, profile[name], name)
    end
    assert.equal(0, profile.rtt)
  end)

  it("tell of no handshake on a reused TLS connection", function()
    wire.get(fault.https .. "/raw")
    local profile = profile_of(fault.https .. "/raw")
    assert.is_true(profile.socketReused)
    assert.equal(0, profile.SSLconnectionStart)
    assert.equal(0, profile.SSLconnectionEnd)
  end)

  it("tell how long the server thought", function()
    local profile = profile_of(demo .. "/delay/120")
    local waited = profile.responseStart - profile.requestEnd
    assert.is_true(waited >= 110, waited .. " ms")
    assert.is_true(profile.httpRttEstimate >= 110)
  end)

  it("tell how long the body took", function()
    local profile = profile_of { url = demo .. "/drip/5?every=30",
      dataType = "text" }
    local took = profile.responseEnd - profile.responseStart
    assert.is_true(took >= 100, took .. " ms")
    assert.is_true(profile.responseStart - profile.requestEnd < took)
  end)

  it("tell how long the request waited for its turn", function()
    net.configure { limits = { maxRequests = 1 } }
    local first = helper.start { url = demo .. "/delay/120" }
    local second = helper.start { url = demo .. "/small" }
    helper.run_until(function() return second.done end)
    local profile = second.success.profile
    local waited = profile.queueEnd - profile.queueStart
    assert.is_true(waited >= 100, waited .. " ms")
    check_order(profile, ORDER)
    profile = first.success.profile
    assert.is_true(profile.queueEnd - profile.queueStart < 100)
  end)

  it("tell how long the redirects took", function()
    local url = wire.url("/redirect", { to = demo .. "/redirect-to?url=" ..
      demo .. "/delay/20" })
    local profile = profile_of(url)
    check_order(profile, { "queueEnd", "redirectStart", "redirectEnd",
      "fetchStart", "requestStart" })
    assert.is_true(profile.redirectStart > 0)
    assert.is_true(profile.responseStart - profile.requestEnd >= 15)
  end)

  it("tell how long a large body took to send", function()
    local profile = profile_of { url = fault.http .. "/raw", method = "POST",
      data = ("x"):rep(4000000), dataType = "text" }
    check_order(profile, ORDER)
  end)
end)

describe("the connection in a profile", function()
  setup(set_up)
  after_each(helper.verify)

  it("has the peer's address and port", function()
    for _, url in ipairs { fault.http, fault.https, demo } do
      local profile = profile_of { url = url .. "/", dataType = "text" }
      assert.equal("127.0.0.1", profile.peerIP)
      assert.equal(tonumber(url:match(":(%d+)$")), profile.port)
    end
    local profile = profile_of(fault.http6 .. "/")
    assert.equal("::1", profile.peerIP)
    assert.equal(tonumber(fault.http6:match(":(%d+)$")), profile.port)
  end)

  it("has the last peer after a redirect", function()
    local profile = profile_of(wire.url("/redirect",
      { to = demo .. "/small" }))
    assert.equal(tonumber(demo:match(":(%d+)$")), profile.port)
  end)

  it("has its protocol", function()
    assert.equal("http/1.1", profile_of(fault.http .. "/").protocol)
    assert.equal("http/1.1", profile_of { url = fault.http .. "/http10",
      dataType = "text" }.protocol)
    assert.equal("h2", profile_of { url = nginx.https .. "/small",
      enableHttp2 = true }.protocol)
    assert.equal("http/1.1", profile_of(nginx.https .. "/small").protocol)
  end)

  it("is reused when the server keeps it, and only then", function()
    wire.get(fault.http .. "/")
    assert.is_true(profile_of(fault.http .. "/").socketReused)
    wire.get(fault.http .. "/closes")
    assert.is_false(profile_of(fault.http .. "/").socketReused)
    assert.is_true(profile_of(fault.http .. "/").socketReused)
  end)

  it("has a round-trip time when it was made for this request", function()
    wire.get(fault.http .. "/closes")
    local profile = profile_of(fault.http .. "/closes")
    assert.is_true(profile.rtt > 0 and profile.rtt < 1000)
    assert.equal(profile.rtt, profile.transportRttEstimate)
  end)

  it("says whether it was in high performance mode", function()
    assert.is_false(profile_of(demo .. "/small").usingHighPerformanceMode)
    assert.is_true(profile_of { url = demo .. "/small",
      useHighPerformanceMode = true }.usingHighPerformanceMode)
    assert.is_false(profile_of { url = demo .. "/small",
      enableChunked = true,
      useHighPerformanceMode = true }.usingHighPerformanceMode)
  end)
end)

describe("the counts of a profile", function()
  setup(set_up)
  after_each(helper.verify)

  it("have every byte that was sent", function()
    for _, size in ipairs { 0, 5, 50000, 65535, 65536, 65537, 3000000 } do
      local res = wire.get { url = fault.http .. "/raw", method = "POST",
        data = ("x"):rep(size), dataType = "text" }
      assert.equal(#res.data, res.profile.sendBytesCount)
    end
    local res = wire.get { url = fault.http .. "/raw", dataType = "text" }
    assert.equal(#res.data, res.profile.sendBytesCount)
  end)

  it("have every byte that was received", function()
    for _, size in ipairs { 0, 5, 100000 } do
      local url = wire.url("/redirect", { status = 200, bytes = size })
      local res = wire.get { url = url, dataType = "text" }
      local head = ("HTTP/1.1 200 Fault\r\nContent-Type: text/plain\r\n"
        .. "Content-Length: %d\r\n\r\n"):format(#res.data)
      assert.equal(#head + #res.data, res.profile.receivedBytedCount)
    end
  end)

  it("are those of the wire, not of what was unpacked", function()
    local res = wire.get { url = nginx.http .. "/text.txt",
      dataType = "text" }
    assert.is_true(#res.data > 50000)
    assert.is_true(res.profile.receivedBytedCount < 5000)
  end)

  it("have all hops", function()
    local key = wire.key()
    local last = wire.get(wire.url("/raw", { key = key }))
    local res = wire.get(wire.url("/redirect",
      { key = key, to = wire.url("/raw", { key = key }) }))
    assert.equal(#wire.seen(key)[2].head + #wire.seen(key)[3].head,
      res.profile.sendBytesCount)
    assert.is_true(res.profile.receivedBytedCount
      > last.profile.receivedBytedCount)
  end)

  it("give a throughput for a body that takes a while", function()
    local profile = profile_of { dataType = "text",
      url = fault.http .. "/slow-body?bytes=20000&rate=100000" }
    -- 100 KB/s are 800 kbps; busy machines are slower.
    assert.is_true(profile.throughputKbps > 50)
    assert.is_true(profile.throughputKbps < 2000)
    assert.equal(profile.throughputKbps,
      profile.downstreamThroughputKbpsEstimate)
  end)
end)

describe("exception and useHttpDNS", function()
  after_each(helper.verify)

  it("are in every result", function()
    for _, res in ipairs { wire.get(demo .. "/small"),
      wire.get { url = demo .. "/small", enableProfile = false },
      wire.fail { url = fault.refused }, wire.fail { url = "no url" } } do
      assert.is_false(res.useHttpDNS)
      assert.equal('{"reasons":[],"retryCount":0}',
        core.jsonEncode(res.exception))
    end
  end)

  it("are not shared between results", function()
    local first = wire.get(demo .. "/small").exception
    first.retryCount = 5
    first.reasons[1] = "changed"
    assert.same({ retryCount = 0, reasons = {} },
      wire.get(demo .. "/small").exception)
  end)
end)
