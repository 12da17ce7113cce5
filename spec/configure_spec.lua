-- net.configure and net.seal: every key, its wrong values, what it changes,
-- and that a script has no way around the seal.

local helper = require "helper"
local states = require "support.states"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local MIB = 1024 * 1024
local DEFAULTS = {
  policy = "miniprogram", dialect = "wx", baseUrl = false, caFile = false,
  userAgent = false, defaultContentType = false, logger = false,
  spinMicros = 0,
  limits = { maxRequests = 10, maxLookups = 16, redirects = 20,
    responseMaxBytes = 64 * MIB, headerMaxBytes = 256 * 1024,
    highWaterBytes = MIB, contextHighWaterBytes = 64 * MIB,
    bytesPerMinute = 0, requestsPerSecond = 0, tempMaxBytes = 0,
    backgroundGraceMs = 5000 },
  caData = false, pins = false, proxy = false, allowPrivate = false,
  domains = { request = false, download = false, upload = false,
    socket = false, tcp = false, udp = false },
}

-- The url of a port without a server, as if it had none.
local function without_port(url)
  return (url:gsub(":%d+$", ""))
end

describe("configure", function()
  after_each(function()
    net.configure(DEFAULTS)
    net.setLogger(function() end)
    states.verify()
    net.setLogger(nil)
  end)

  local function fetch(options)
    if type(options) == "string" then
      options = { url = options }
    end
    options.dataType = options.dataType or "text"
    return helper.fetch(options).complete
  end

  -- The request's own bytes, as the server read them.
  local function sent(options)
    options = options or {}
    options.url = options.url or fault.http .. "/raw"
    local res = fetch(options)
    assert.equal("request:ok", res.errMsg)
    return res.data
  end

  local function refused(options, pattern)
    local ok, err = pcall(function() net.configure(options) end)
    assert.is_false(ok, "was accepted")
    assert.matches(pattern, err)
    return err
  end

  -- ---- Checks ---------------------------------------------------------------

  local NAN = 0 / 0
  local NO_TEXT = { 1, true, {}, print, "", "a\nb", "a\0b", "a\127" }
  local NO_URL = { 1, true, {}, print, "", "nonsense", "/path", "//host/",
    "http:", "http:///", "https://?", "ftp://host/", " http://host/",
    "http://host/\n" }
  local NO_FLAG = { 1, 0, "true", {}, print }
  local NO_COUNT = { "10", true, false, {}, print, -1, 1.5, NAN, math.huge,
    -math.huge, 2 ^ 60 }
  local NO_MARK = { "100000", true, false, {}, -1, 0, 65535, 65536.5, NAN,
    math.huge }
  local NO_TIME = { "10", true, false, {}, 0, -1, NAN, math.huge }

  local NO_LIST = { 1, true, "a.example", print, { 1 }, { "" }, { "a", true },
    { a = "b" }, { "a", nil, "c" }, { "a\nb" }, { "a\0b" } }
  local NO_PINS = { 1, true, "x", print, { "sha256/x" }, { [""] = { "x" } } }
  local NO_PEM = { 1, true, {}, print, "", "text",
    "-----BEGIN CERTIFICATE-----\0" }

  local wrong = {
    denyPrivateAddresses = NO_FLAG, allowProxy = NO_FLAG,
    allowPrivate = NO_LIST, pins = NO_PINS, caData = NO_PEM, proxy = NO_TEXT,
    domains = { 1, "x", true, false, print },
    ["domains.request"] = NO_LIST, ["domains.download"] = NO_LIST,
    ["domains.upload"] = NO_LIST, ["domains.socket"] = NO_LIST,
    ["domains.tcp"] = NO_LIST, ["domains.udp"] = NO_LIST,
    ["limits.backgroundGraceMs"] = NO_COUNT,
    ["limits.bytesPerMinute"] = NO_COUNT,
    ["limits.requestsPerSecond"] = NO_COUNT,
    ["limits.tempMaxBytes"] = NO_COUNT,
    baseUrl = NO_URL, caFile = NO_TEXT, userAgent = NO_TEXT,
    defaultContentType = NO_TEXT, version = NO_TEXT, page = NO_TEXT,
    query = NO_TEXT, cellularInterface = NO_TEXT,
    appid = { 1, true, {}, print, "", "a.b", "a/b", "a b", "a\n" },
    dialect = { "WX", "", 1, false, {} },
    policy = { "Open", "none", "", 1, false, {} },
    requireSecure = NO_FLAG, allowUrlPort = NO_FLAG,
    httpErrorFails = NO_FLAG, jsonErrorFails = NO_FLAG,
    urlMaxBytes = NO_COUNT, spinMicros = NO_COUNT,
    highWaterBytes = NO_MARK, contextHighWaterBytes = NO_MARK,
    logger = { 1, "print", {}, true },
    limits = { 1, "x", true, false, print },
    timeouts = { 1, "x", true, false, print },
    ["limits.maxRequests"] = NO_COUNT, ["limits.maxLookups"] = NO_COUNT,
    ["limits.redirects"] = NO_COUNT, ["limits.responseMaxBytes"] = NO_COUNT,
    ["limits.headerMaxBytes"] = NO_COUNT,
    ["limits.highWaterBytes"] = NO_MARK,
    ["limits.contextHighWaterBytes"] = NO_MARK,
    ["timeouts.request"] = NO_TIME,
  }

  -- { a = { b = value } } for "a.b".
  local function nested(key, value)
    local outer, inner = key:match("^(.-)%.(.*)$")
    if outer then
      return { [outer] = { [inner] = value } }
    end
    return { [key] = value }
  end

  for key, values in pairs(wrong) do
    it("names " .. key .. " when its value is wrong", function()
      for i = 1, #values do
        local err = refused(nested(key, values[i]),
          "nettask: configure: " .. key:gsub("%.", "%%.") .. " must be ")
        assert.matches("configure_spec%.lua:%d+: ", err)
      end
    end)
  end

  it("says which values a choice has", function()
    refused({ policy = "lax" },
      'policy must be .*"miniprogram", "open", "strict"')
    refused({ dialect = "qq" }, 'dialect must be .*"wx", "taro", "ft"')
  end)

  it("names an unknown key, and the nearest known one", function()
    refused({ baseURL = "http://a/" },
      'unknown key "baseURL" %(did you mean "baseUrl"%?%)')
    refused({ limits = { maxRequest = 1 } },
      'unknown key "limits.maxRequest" %(did you mean "limits.maxRequests"')
    refused({ timeouts = { requests = 1 } },
      'unknown key "timeouts.requests" %(did you mean "timeouts.request"')
    refused({ zzzzzzzz = 1 }, 'unknown key "zzzzzzzz"$')
    refused({ "policy" }, 'unknown key "1"$')
    refused({ [("x"):rep(1000)] = 1 }, 'unknown key "x+"$')
  end)

  it("names the entry of a list that the core finds wrong", function()
    local key = ("A"):rep(43) .. "="
    refused({ domains = { request = { "a.example", "http//x" } } },
      'domains%.request%[2%] "http//x": expected ')
    refused({ domains = { udp = { "udp://" } } },
      'domains%.udp%[1%] "udp://": expected ')
    refused({ allowPrivate = { "10.0.0.0/8", "10.0.0.0/33" } },
      'allowPrivate%[2%] "10%.0%.0%.0/33": expected ')
    refused({ pins = { ["b.example"] = { "sha256/" .. key },
      ["a.example"] = { "sha256/" .. key, "sha256/short" } } },
      'pins%["a%.example"%]%[2%] "sha256/short": expected ')
    refused({ pins = { ["http://a"] = { "sha256/" .. key } } },
      'pins%["http://a"%]: expected a host')
    -- A proxy may have a password.
    local err = refused({ proxy = "http://user:pass-word@/" },
      "configure: proxy: expected ")
    assert.is_nil(err:find("pass-word", 1, true))
    refused({ caData = "-----BEGIN CERTIFICATE\nnonsense\n" },
      "caData: expected ")
  end)

  it("takes nothing but a table", function()
    for _, value in ipairs { 1, "open", true, print } do
      refused(value, "table expected, got " .. type(value))
    end
    assert.matches("table expected, got nil",
      select(2, pcall(net.configure)))
    net.configure {}
  end)

  it("takes no table with a metatable, whose keys it would not see", function()
    local base = { __index = { requireSecure = true, maxRequests = 1 } }
    refused(setmetatable({}, base),
      "configure: the table must have no metatable")
    for _, key in ipairs { "limits", "timeouts", "domains", "fileRoots" } do
      refused({ [key] = setmetatable({}, base) },
        "configure: " .. key .. " must have no metatable")
    end
  end)

  it("blames the line that calls what is sealed", function()
    local result = helper.lua([[
      local net = require "helper".net
      net.seal()
      for _, name in ipairs { "configure", "onAudit", "pause" } do
        local _, err = pcall(function() net[name]({}) end)
        print((err:gsub("^.*/", "")))
      end]])
    assert.equal("", result.err)
    local count = 0
    for line in result.out:gmatch("[^\n]+") do
      assert.matches("^[^:]+:%d+: nettask: %a+: the configuration is sealed",
        line)
      assert.is_nil(line:find("init.lua", 1, true), line)
      count = count + 1
    end
    assert.equal(3, count)
  end)

  it("changes nothing when anything is wrong", function()
    local lines = 0
    refused({
      userAgent = "changed", defaultContentType = "text/changed",
      limits = { maxRequests = 1, redirects = -1 }, policy = "open",
      logger = function() lines = lines + 1 end,
    }, "limits%.redirects")
    local text = sent()
    assert.is_nil(text:find("changed", 1, true))
    assert.matches("\r\ncontent%-type: application/json\r\n", text)
    for _ = 1, 3 do
      net.request { url = fault.silent .. "/" }:abort()
    end
    net.update()
    assert.equal(0, lines)
  end)

  -- ---- Every key ------------------------------------------------------------

  it("#6 baseUrl resolves relative urls", function()
    assert.matches("invalid url", fetch("/raw").errMsg)
    net.configure { baseUrl = fault.http .. "/a/b?c=d#e" }
    assert.matches("^GET /raw HTTP", sent { url = "/raw" })
    local res = fetch("raw")
    assert.equal(404, res.statusCode)
    assert.matches("^GET /raw%?x HTTP", sent { url = "../raw?x" })
    assert.matches("^GET /raw HTTP",
      sent { url = servers.fault.http:gsub("^http:", "") .. "/raw" })
    net.configure { baseUrl = false }
    assert.matches("invalid url", fetch("/raw").errMsg)
  end)

  it("caFile is whom TLS trusts", function()
    local url = fault.https .. "/"
    assert.equal(-202, fetch(url).errCode)
    net.configure { caFile = servers.ca }
    assert.equal(200, fetch(url).statusCode)
    net.configure { caFile = servers.tls_dir .. "/selfsigned.pem" }
    net.close()
    assert.equal(-202, fetch(url).errCode)
    net.configure { caFile = false }
    assert.equal(-202, fetch(url).errCode)
  end)

  it("userAgent is sent", function()
    assert.matches("\r\nUser%-Agent: nettask/%d+%.%d+%.%d+\r\n", sent())
    net.configure { userAgent = "Game/1.0 (test)" }
    assert.matches("\r\nUser%-Agent: Game/1%.0 %(test%)\r\n", sent())
    net.configure { userAgent = false }
    assert.matches("\r\nUser%-Agent: nettask/", sent())
  end)

  it("defaultContentType is sent when the script names none", function()
    net.configure { defaultContentType = "text/x-mine" }
    assert.matches("\r\ncontent%-type: text/x%-mine\r\n", sent())
    local text = sent { header = { ["Content-Type"] = "text/other" } }
    assert.matches("\r\nContent%-Type: text/other\r\n", text)
    assert.is_nil(text:find("mine", 1, true))
    net.configure { defaultContentType = false }
    assert.matches("\r\ncontent%-type: application/json\r\n", sent())
  end)

  it("dialect my presets what Alipay does", function()
    local url = fault.http .. "/respond?status=404&body=gone"
    assert.equal(404, fetch(url).statusCode)
    net.configure { dialect = "my" }
    local form = "\r\ncontent%-type: application/x%-www%-form%-urlencoded\r\n"
    local res = fetch { url = fault.http .. "/raw", method = "POST",
      data = { a = "b c" } }
    assert.matches(form, res.data)
    assert.matches("\r\n\r\na=b%%20c$", res.data)
    assert.equal(200, res.status)
    assert.equal(res.header, res.headers)
    res = fetch(url)
    assert.matches("^request:fail", res.errMsg)
    assert.equal(19, res.error)
    assert.equal(404, res.statusCode)
    res = fetch { url = fault.http .. "/invalid-json", dataType = "json" }
    assert.matches("^request:fail", res.errMsg)
    assert.equal(14, res.error)
    -- Each of these can be set alone, in the same call and later.
    net.configure { dialect = "my", httpErrorFails = false,
      defaultContentType = "application/json" }
    assert.equal("request:ok", fetch(url).errMsg)
    assert.matches("\r\ncontent%-type: application/json\r\n", sent())
    net.configure { jsonErrorFails = false }
    assert.equal("request:ok", fetch { url = fault.http .. "/invalid-json",
      dataType = "json" }.errMsg)
    net.configure { dialect = "wx" }
    assert.is_nil(fetch(url).status)
  end)

  it("dialects wx, taro, ft and swan differ in nothing here", function()
    for _, name in ipairs { "taro", "ft", "swan", "wx" } do
      net.configure { dialect = name }
      assert.matches("\r\ncontent%-type: application/json\r\n", sent())
      assert.equal("request:ok", fetch(fault.http .. "/missing").errMsg)
    end
  end)

  it("httpErrorFails turns a status of 400 and more into fail", function()
    net.configure { httpErrorFails = true }
    for status, ok in pairs { [200] = true, [399] = true, [400] = false,
      [503] = false } do
      local res = fetch(fault.http .. "/respond?body=text&status=" .. status)
      assert.equal(ok, res.errMsg == "request:ok")
      assert.equal(status, res.statusCode)
      assert.equal("text", res.data)
    end
    net.configure { httpErrorFails = false }
    assert.equal("request:ok",
      fetch(fault.http .. "/respond?status=500").errMsg)
  end)

  it("jsonErrorFails turns bad JSON into fail", function()
    local options = { url = fault.http .. "/invalid-json", dataType = "json" }
    assert.equal("request:ok", fetch(options).errMsg)
    net.configure { jsonErrorFails = true }
    local res = fetch(options)
    assert.equal("request:fail response is not JSON", res.errMsg)
    assert.equal('{"open": [1, 2', res.data)
    assert.equal("request:ok", fetch { url = fault.http
      .. "/respond?body=[1]", dataType = "json" }.errMsg)
    options.dataType = "text"
    assert.equal("request:ok", fetch(options).errMsg)
  end)

  it("requireSecure refuses http", function()
    net.configure { requireSecure = true, caFile = servers.ca }
    local res = fetch(fault.http .. "/")
    assert.equal("request:fail url scheme is not allowed", res.errMsg)
    assert.equal(600011, res.errno)
    assert.equal(-10, res.errCode)
    assert.equal("requireSecure; lifted by configure{requireSecure=false}",
      res.reason)
    assert.equal(200, fetch(fault.https .. "/").statusCode)
    res = fetch(fault.https .. "/redirect?to=" .. fault.http .. "/")
    assert.equal("request:fail url scheme is not allowed", res.errMsg)
    net.configure { requireSecure = false }
    assert.equal(200, fetch(fault.http .. "/").statusCode)
  end)

  it("allowUrlPort=false refuses a port in the url", function()
    net.configure { allowUrlPort = false }
    local res = fetch(fault.http .. "/")
    assert.equal("request:fail url port is not allowed", res.errMsg)
    assert.equal(600011, res.errno)
    assert.equal(-10, res.errCode)
    assert.matches("^allowUrlPort; lifted by", res.reason)
    -- Port 80 may have a server or not: it is asked.
    res = fetch { url = without_port(fault.http) .. "/", timeout = 2000 }
    assert.is_nil(res.reason)
    assert.are_not.equal(600011, res.errno)
    net.configure { allowUrlPort = true }
    assert.equal(200, fetch(fault.http .. "/").statusCode)
  end)

  it("urlMaxBytes refuses longer urls", function()
    local url = fault.http .. "/raw?"
    net.configure { urlMaxBytes = #url + 10 }
    assert.equal(200, fetch(url .. ("x"):rep(10)).statusCode)
    local res = fetch(url .. ("x"):rep(11))
    assert.equal("request:fail url is too long", res.errMsg)
    assert.equal(600011, res.errno)
    assert.matches("^urlMaxBytes; lifted by", res.reason)
    res = fetch { url = url, data = { key = "0123456789" } }
    assert.equal("request:fail url is too long", res.errMsg)
    net.configure { urlMaxBytes = 0 }
    assert.equal(200, fetch(url .. ("x"):rep(5000)).statusCode)
  end)

  it("timeouts.request is the default of timeout", function()
    local url = fault.http .. "/never"
    net.configure { timeouts = { request = 60 } }
    for _, timeout in ipairs { 0, -1, false } do
      local start = helper.now()
      local res = fetch { url = url, timeout = timeout or nil }
      assert.equal("request:fail timeout", res.errMsg)
      local took = helper.now() - start
      assert.is_true(took >= 55 and took < 2000 * helper.slow, took)
    end
    local record = helper.start { url = url, timeout = 60000 }
    local lifted = helper.start { url = url, timeouts = { total = 0 } }
    helper.run_for(100)
    assert.is_false(record.done)
    assert.is_false(lifted.done)
    record.task:abort()
    lifted.task:abort()
  end)

  it("spinMicros changes nothing but the time", function()
    net.configure { spinMicros = 100 }
    for _ = 1, 5 do
      assert.equal(200, fetch(fault.http .. "/").statusCode)
    end
    local start = helper.now()
    assert.is_false(net.wait(20))
    assert.is_true(helper.now() - start >= 19)
  end)

  it("limits.redirects is the number of hops", function()
    net.configure { limits = { redirects = 2 } }
    assert.equal(200, fetch(fault.http .. "/redirect-chain?n=2").statusCode)
    local res = fetch(fault.http .. "/redirect-chain?n=3")
    assert.equal("request:fail exceed max redirect count", res.errMsg)
    assert.equal(600008, res.errno)
    net.configure { limits = { redirects = 0 } }
    res = fetch(fault.http .. "/redirect-chain?n=1")
    assert.equal(600008, res.errno)
    assert.equal(200, fetch(fault.http .. "/").statusCode)
  end)

  it("limits.responseMaxBytes caps a body", function()
    local url = fault.http .. "/respond?body=" .. ("x"):rep(1000)
    net.configure { limits = { responseMaxBytes = 1000 } }
    assert.equal(1000, #fetch(url).data)
    local res = fetch(url .. "y")
    assert.equal("request:fail exceed max body size", res.errMsg)
    assert.equal(600004, res.errno)
    assert.equal(-8, res.errCode)
    assert.matches("limits%.responseMaxBytes; lifted by", res.reason)
    -- It counts what is unpacked, and without a length as well.
    res = fetch(servers.demo .. "/gzip")
    assert.equal("request:fail exceed max body size", res.errMsg)
    res = fetch(fault.http .. "/stream?chunks=2&size=501&key=cap")
    assert.equal("request:fail exceed max body size", res.errMsg)
    net.configure { limits = { responseMaxBytes = 0 } }
    assert.equal("request:ok", fetch(url .. "y").errMsg)
  end)

  it("limits.headerMaxBytes caps a header", function()
    local url = fault.http .. "/big-headers?bytes="
    net.configure { limits = { headerMaxBytes = 8192 } }
    assert.equal(200, fetch(url .. 5000).statusCode)
    local res = fetch(url .. 20000)
    assert.equal("request:fail -325:net::ERR_RESPONSE_HEADERS_TOO_BIG",
      res.errMsg)
    net.configure { limits = { headerMaxBytes = 65536 } }
    assert.equal(200, fetch(url .. 20000).statusCode)
  end)

  -- n requests that the server does not answer, and how many of them wait in
  -- the queue.
  local function queued(n)
    local records = {}
    local key = states.key("queue")
    for i = 1, n do
      records[i] = helper.start { url = fault.http .. "/wait?key=" .. key }
    end
    local last, count
    -- Until the figure stands still: each of them gets its place at once.
    helper.run_until(function()
      last, count = count, net.stats().request.queued
      return count == last and count > 0 or n == 1
    end, 300, "a queue")
    return count, records
  end

  local function stop(records)
    for _, record in ipairs(records) do
      record.task:abort { silent = true }
    end
    assert.is_true(net.run(5000))
  end

  it("limits.maxRequests is how many run", function()
    local count, records = queued(12)
    assert.equal(2, count)
    stop(records)
    net.configure { limits = { maxRequests = 3 } }
    count, records = queued(12)
    assert.equal(9, count)
    -- More room is used at once.
    net.configure { limits = { maxRequests = 8 } }
    helper.run_until(function() return net.stats().request.queued == 4 end)
    net.configure { limits = { maxRequests = 0 } }
    helper.run_until(function() return net.stats().request.queued == 0 end)
    stop(records)
  end)

  it("policy open lifts the number of requests", function()
    net.configure { policy = "open" }
    local ok, err = pcall(queued, 30)
    assert.is_false(ok)
    assert.matches("waiting for a queue", err)
    assert.equal(30, net.stats().request.connecting)
    net.close()
    net.configure { policy = "miniprogram" }
    local count, records = queued(11)
    assert.equal(1, count)
    stop(records)
  end)

  it("policy takes back what the gates were set to", function()
    net.configure { requireSecure = true, allowUrlPort = false,
      urlMaxBytes = 10 }
    net.configure { policy = "miniprogram" }
    assert.equal(200, fetch(fault.http .. "/").statusCode)
  end)

  it("policy and dialect come before the other keys of a call", function()
    net.configure { policy = "open", limits = { maxRequests = 4 },
      requireSecure = true }
    assert.matches("scheme is not allowed", fetch(fault.http .. "/").errMsg)
    net.configure { requireSecure = false }
    local count, records = queued(6)
    assert.equal(2, count)
    stop(records)
  end)

  -- ---- Calls and contexts ---------------------------------------------------

  it("merges limits and timeouts key by key, and keeps the rest", function()
    net.configure { limits = { redirects = 1, responseMaxBytes = 100 },
      userAgent = "Kept/1", timeouts = { request = 5000 } }
    net.configure { limits = { responseMaxBytes = 1000 }, timeouts = {} }
    local url = fault.http .. "/redirect-chain?n=2"
    assert.equal(600008, fetch(url).errno)
    assert.equal(500, #fetch(fault.http .. "/respond?body="
      .. ("x"):rep(500)).data)
    assert.matches("Kept/1", sent())
    net.configure { limits = { redirects = 20 } }
    assert.equal(200, fetch(url).statusCode)
    assert.equal(-8, fetch(fault.http .. "/respond?body="
      .. ("x"):rep(1001)).errCode)
  end)

  it("takes the newer one of highWaterBytes and its limit", function()
    for _, options in ipairs {
      { highWaterBytes = 65536 }, { limits = { highWaterBytes = 65536 } },
    } do
      net.configure { highWaterBytes = MIB }
      net.configure(options)
      net.pause()
      local record = helper.start { enableChunked = true,
        url = fault.http .. "/endless" }
      helper.run_until(function() return net.stats().queuedBytes >= 65536 end)
      helper.run_for(20)
      assert.is_true(net.stats().queuedBytes < 2 * 65536)
      net.resume()
      record.task:abort { silent = true }
    end
  end)

  it("survives close", function()
    net.configure { userAgent = "Kept/2", requireSecure = true,
      caFile = servers.ca, dialect = "my" }
    net.close()
    assert.matches("scheme is not allowed", fetch(fault.http .. "/").errMsg)
    local res = fetch(fault.https .. "/raw")
    assert.equal(200, res.status)
    assert.matches("Kept/2", res.data)
    net.close()
    net.configure { requireSecure = false }
    assert.matches("Kept/2", sent())
  end)

  it("holds for tasks that start later", function()
    net.configure { userAgent = "Old/1" }
    local key = states.key("old")
    local record = helper.start { url = fault.http .. "/redirect?to=/wait%3F"
      .. "key=" .. key }
    helper.run_until(function()
      return helper.ask(fault.http .. "/waiting?key=" .. key) == "1"
    end)
    net.configure { userAgent = "New/1", limits = { responseMaxBytes = 2 } }
    helper.start { url = fault.http .. "/release?key=" .. key }
    helper.run_until(function() return record.done end)
    assert.equal("released", record.complete.data)
    net.configure { limits = { responseMaxBytes = MIB } }
    assert.matches("New/1", sent())
  end)

  it("works in a callback", function()
    net.request { url = "http://127.0.0.1:0x/", fail = helper.expect(1,
      function() net.configure { userAgent = "Callback/1" } end) }
    helper.run_until_met()
    assert.matches("Callback/1", sent())
  end)

  it("keeps no hold of the caller's tables", function()
    local limits = { redirects = 1 }
    local options = { limits = limits, userAgent = "Mine/1" }
    net.configure(options)
    limits.redirects, options.userAgent = 20, "Changed/1"
    net.configure {}
    assert.equal(600008, fetch(fault.http .. "/redirect-chain?n=2").errno)
    assert.matches("Mine/1", sent())
  end)
end)

-- ---- seal -------------------------------------------------------------------

-- A seal is for good, so each of these has a process of its own.
describe("seal", function()
  local PRELUDE = [[
    local helper = require "helper"
    local net, fault = helper.net, helper.servers.fault
    local function refused(f, ...)
      local ok, err = pcall(f, ...)
      assert(not ok, "was accepted")
      assert(tostring(err):find("sealed", 1, true), err)
    end
    local function fetch(url)
      local res
      net.request { url = url, dataType = "text",
        complete = function(r) res = r end }
      assert(net.run(5000))
      return res
    end
    local function is_secure()
      return fetch(fault.http .. "/").errMsg
        == "request:fail url scheme is not allowed"
    end
    net.setLogger(function() end)
  ]]

  local function child(script)
    local result = helper.lua(PRELUDE .. script .. "\nprint 'ok'")
    assert.equal("", result.err)
    assert.equal("ok\n", result.out)
    assert.equal(0, result.status)
  end

  it("leaves nothing of the host's on net", function()
    child [[
      assert(net.sealed() == false)
      local host = net.seal()
      assert(net.sealed() == true)
      refused(net.configure, { userAgent = "x" })
      refused(net.configure, {})
      refused(net.configure, 5)
      for _, name in ipairs { "setLogger", "onError", "onAudit", "pause",
        "resume", "close", "setBackground" } do
        refused(net[name], print)
        refused(net[name])
        refused(net[name], host)
      end
      refused(net.seal)
      for name, f in pairs(net.secrets) do
        local ok, err = pcall(f, "name", { value = "v", hosts = { "a" } })
        assert(not ok and err:find("secrets." .. name .. ": the configuration"
          .. " is sealed", 1, true), err)
        refused(f, host, "name", { value = "v", hosts = { "a" } })
      end
    ]]
  end)

  it("gives the host's functions to the caller alone", function()
    child [[
      local host = net.seal()
      local names = {}
      local parts = { secrets = true, cookies = true, cache = true }
      for name, f in pairs(host) do
        assert(type(f) == (parts[name] and "table" or "function"))
        names[#names + 1] = name
      end
      for part in pairs(parts) do
        for name, f in pairs(host[part]) do
          assert(type(f) == "function")
          assert(net[part][name] ~= f)
          names[#names + 1] = part .. "." .. name
        end
      end
      table.sort(names)
      assert(table.concat(names, " ")
        == "cache cache.clear close configure cookies cookies.clear"
        .. " cookies.list cookies.set cookies.state onAudit onError pause"
        .. " registerHttpDNS resume secrets secrets.list secrets.remove"
        .. " secrets.set setBackground setLogger")
      for name, f in pairs(host) do assert(net[name] ~= f) end
    ]]
  end)

  it("lets them go on working", function()
    child [[
      local host = net.seal()
      host.configure { requireSecure = true }
      assert(is_secure())
      host.configure { requireSecure = false }
      assert(not is_secure())
      local ok, err = pcall(host.configure, { requireSecure = 1 })
      assert(not ok and err:find("requireSecure must be", 1, true), err)
      ok, err = pcall(host.configure)
      assert(not ok and err:find("table expected", 1, true), err)

      local line, reported
      host.setLogger(function(_, text) line = text end)
      host.onError(function(e) reported = e end)
      net.request { complete = function() error("seen", 0) end }
      host.pause()
      assert(net.update() == 0)
      host.resume()
      assert(net.update() == 1)
      assert(reported == "seen")
      host.onError(nil)
      net.request { complete = function() error("logged", 0) end }
      net.update()
      assert(line:find("logged", 1, true))

      net.request { url = fault.silent .. "/" }
      host.close(500)
      assert(net.stats().live == 0)
      host.configure { userAgent = "Late/1" }
      assert(fetch(fault.http .. "/raw").data:find("Late/1", 1, true))
    ]]
  end)

  it("leaves the script's functions as they are", function()
    child [[
      net.configure { limits = { maxRequests = 2 } }
      net.seal()
      assert(fetch(fault.http .. "/").statusCode == 200)
      assert(net.wait(0) == false)
      assert(net.run(0) == true)
      assert(net.stats().live == 0)
      assert(tostring(net.buffer("x")) == "x")
      assert(net.features.nettask)
      net.request { url = fault.silent .. "/" }:abort()
      assert(net.update() == 1)
    ]]
  end)

  it("holds before the first use as after it", function()
    child [[
      net.configure { requireSecure = true }
      local host = net.seal()
      assert(is_secure())
      host.close()
      assert(is_secure())
    ]]
  end)

  it("is not undone by another require", function()
    child [[
      net.configure { requireSecure = true }
      net.seal()
      for _ = 1, 2 do
        for name in pairs(package.loaded) do
          if name:find("^nettask") then package.loaded[name] = nil end
        end
        local again = require "nettask"
        assert(again == net)
        assert(again.sealed())
        refused(again.configure, { requireSecure = false })
        refused(again.seal)
      end
      assert(is_secure())
    ]]
  end)

  it("takes the parts out of reach", function()
    child [[
      net.configure { requireSecure = true }
      net.seal()
      for name in pairs(package.loaded) do
        assert(not name:find("^nettask%."), name)
      end
      local core = require "nettask.core"
      refused(function() return core.setPolicy end)
      refused(function() return core.requestOpen end)
      refused(function() return core[1] end)
      assert(core.module() == net)
      assert(core.module {} == net)
      assert(getmetatable(core) == false)
      core.module = nil
      refused(require, "nettask.config")
      refused(require, "nettask.exchange")
      assert(is_secure())
    ]]
  end)

  it("is not undone through parts that were found before", function()
    child [[
      net.configure { requireSecure = true }
      local core = require "nettask.core"
      local config = require "nettask.config"
      local host = net.seal()
      local handlers = { report = print, log = print, finish = print,
        profile = print }
      refused(core.setPolicy, { open = true })
      refused(core.bind, handlers)
      refused(core.module, {})
      refused(core.promises, {}, print, print, {})
      refused(core.close)
      refused(core.pause)
      refused(core.resume)
      refused(core.seal)
      refused(core.gate, "configure")
      refused(config.apply, config.new(), { requireSecure = false })
      refused(config.apply, config.new(), { requireSecure = false }, host)
      assert(is_secure())
    ]]
  end)

  it("is not undone by what looks like a capability", function()
    child [[
      net.configure { requireSecure = true }
      local core = require "nettask.core"
      local host = net.seal()
      local fakes = { io.stdout, net.buffer("x"), net.null,
        net.request { url = fault.silent .. "/" }, host, {}, "host", 1, true,
        newproxy and newproxy() or print }
      for _, fake in ipairs(fakes) do
        refused(core.setPolicy, fake, { open = true })
        refused(core.close, fake)
        refused(core.pause, fake)
      end
      assert(is_secure())
    ]]
  end)

  it("is not undone by other functions in the parts", function()
    child [[
      net.configure { requireSecure = true }
      local core, parts = require "nettask.core", {}
      for name, part in pairs(package.loaded) do
        if name:find("^nettask.") and type(part) == "table" then
          parts[#parts + 1] = part
          for _, inner in pairs(part) do
            if type(inner) == "table" then parts[#parts + 1] = inner end
          end
        end
      end
      local host = net.seal()
      -- Everything that a script has found before becomes a spy that lets all
      -- pass.
      local stolen = {}
      assert(#parts > 20)
      local pause = core.pause
      for _, part in ipairs(parts) do
        part.fault = part.fault or function() end
        for key, value in pairs(part) do
          if type(value) == "function" then
            part[key] = function(...)
              for i = 1, select("#", ...) do
                stolen[#stolen + 1] = (select(i, ...))
              end
              return value(...)
            end
          end
        end
      end
      core.gate = function() end
      refused(net.configure, { userAgent = "x" })
      refused(net.setLogger, print)
      refused(net.onError, print)
      -- The host uses its functions while the spies are there.
      local logged = 0
      host.setLogger(function() logged = logged + 1 end)
      host.onError(function() end)
      host.configure { userAgent = "Host/1" }
      host.pause()
      host.resume()
      net.request { url = fault.http .. "/", unknown = 1,
        retry = { unknown = 1 }, success = function() error("x") end }
      net.request { url = fault.http .. "/" , failover = true }
      for _, f in ipairs { net.downloadFile, net.uploadFile,
        net.connectSocket } do
        f { url = "http://127.0.0.1:0x/" }
      end
      net.sendSocketMessage { data = "x" }
      net.closeSocket { unknown = 1 }
      net.startLocalServiceDiscovery { serviceType = 1 }
      net.stopLocalServiceDiscovery {}
      net.run(5000)
      local before = logged
      for _, value in ipairs(stolen) do
        if type(value) == "userdata" then refused(pause, value) end
        if type(value) == "table" then
          assert(value.requireSecure == nil, "the settings")
          assert(value.set == nil, "the logger")
        end
      end
      assert(before > 0)
      assert(is_secure())
    ]]
  end)

  it("is not undone by other globals", function()
    child [[
      net.configure { requireSecure = true }
      local host = net.seal()
      local original = {}
      local seen = {}
      for _, name in ipairs { "pairs", "ipairs", "next", "type", "pcall",
        "error", "tostring", "select", "rawget", "setmetatable" } do
        local f = _G[name]
        original[name] = f
        _G[name] = function(...)
          local n = original.select("#", ...)
          for i = 1, n do
            local value = original.select(i, ...)
            if original.type(value) == "table"
              and original.rawget(value, "requireSecure") ~= nil
              and original.rawget(value, "policy") ~= nil then
              seen[#seen + 1] = value
            end
          end
          if name == "error" then return end
          return f(...)
        end
      end
      host.configure { userAgent = "Host/1" }
      original.pcall(net.configure, { requireSecure = false })
      original.pcall(net.setLogger, print)
      for name, f in original.pairs(original) do _G[name] = f end
      for _, settings in ipairs(seen) do settings.requireSecure = false end
      host.configure { userAgent = "Host/2" }
      assert(#seen == 0)
      assert(is_secure())
    ]]
  end)
end)
