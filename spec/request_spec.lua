-- request(): callbacks and results, the methods on the wire, urls, the checks
-- of the options, the time-out.

local helper = require "helper"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault, demo = servers.fault, servers.demo
local authority = fault.http:match("//(.*)$")

-- What everything below it logs; each line as "level: text".
local function capture_log()
  local lines = {}
  net.setLogger(function(level, text)
    lines[#lines + 1] = level .. ": " .. text
  end)
  return lines
end

describe("the callbacks of request", function()
  after_each(helper.verify)

  it("#1 success runs, then complete, each once, never fail", function()
    local record = helper.fetch { url = demo .. "/json" }
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.is_nil(record.fail)
  end)

  it("#1 fail runs, then complete, each once, never success", function()
    local record = helper.fetch { url = fault.refused .. "/" }
    assert.same({ "fail", "complete" }, record.order)
    assert.is_nil(record.success)
  end)

  it("#1 each of them may be left out", function()
    local url = demo .. "/small"
    net.request { url = url, success = helper.expect(1) }
    net.request { url = url, complete = helper.expect(1) }
    net.request { url = url, fail = helper.never() }
    net.request { url = url }
    net.request { url = fault.refused, success = helper.never(),
      complete = helper.expect(1) }
    net.request { url = fault.refused, fail = helper.expect(1) }
    helper.run_until_met()
  end)

  it("#1 none runs inside of the call, not even for a bad argument", function()
    for _, options in ipairs { { url = demo .. "/small" }, {},
      { url = "no url" }, { url = demo, method = "FOO" } } do
      local record = helper.start(options)
      assert.same({}, record.order)
      helper.run_until(function() return record.done end)
    end
  end)

  it("#2 every result has an errMsg", function()
    local good = helper.fetch { url = demo .. "/small" }
    assert.equal("request:ok", good.success.errMsg)
    local bad = helper.fetch { url = fault.refused }
    assert.equal("request:fail -102:net::ERR_CONNECTION_REFUSED",
      bad.fail.errMsg)
  end)

  it("#3 a failure has errCode, errno and nothing of a response", function()
    local res = wire.fail { url = fault.refused }
    assert.equal(-102, res.errCode)
    assert.equal(600001, res.errno)
    assert.same({ retryCount = 0, reasons = {} }, res.exception)
    assert.is_false(res.useHttpDNS)
    for _, name in ipairs { "data", "statusCode", "header", "cookies",
      "profile", "reason" } do
      assert.is_nil(res[name], name)
    end
  end)

  it("#4 every status that arrives is a success", function()
    for _, status in ipairs { 200, 201, 202, 203, 205, 206, 226, 300, 400, 401,
      403, 404, 405, 407, 408, 410, 418, 429, 451, 500, 501, 503, 599 } do
      local record = helper.fetch { url = demo .. "/status/" .. status }
      assert.equal(status, record.success and record.success.statusCode)
      assert.equal(("status %d\n"):format(status), record.success.data)
      assert.equal("request:ok", record.success.errMsg)
    end
  end)

  it("#4 a status that no standard knows is one too", function()
    local res = wire.get(wire.url("/respond", { status = 799, body = "odd" }))
    assert.equal(799, res.statusCode)
    assert.equal("odd", res.data)
  end)

  it("#5 the call returns a task", function()
    local good = helper.fetch { url = demo .. "/small" }
    local bad = helper.fetch { url = 12 }
    for _, record in ipairs { good, bad } do
      assert.equal("userdata", type(record.task))
      assert.equal("function", type(record.task.abort))
      assert.matches("^nettask%.RequestTask #%d+ %(done%)$",
        tostring(record.task))
    end
    assert.not_equal(good.task.id, bad.task.id)
  end)

  it("#8 they and the task's listeners see the same answer", function()
    local record = helper.fetch { url = demo .. "/headers" }
    assert.equal(1, #record.headers)
    assert.equal(record.success.statusCode, record.headers[1].statusCode)
    assert.same(record.success.header, record.headers[1].header)
    assert.same(record.success.cookies, record.headers[1].cookies)
  end)

  it("#9 a GET brings status, data and header", function()
    local res = wire.get(demo .. "/json")
    assert.equal(200, res.statusCode)
    assert.equal("w\195\182rld", res.data.hello)
    assert.same({ 1, 2, 3 }, res.data.list)
    assert.equal(0.5, res.data.half)
    assert.is_true(res.data.yes)
    assert.equal(net.null, res.data.none)
    assert.same({ key = "value" }, res.data.object)
    assert.equal(2 ^ 53 - 1, res.data.big)
    assert.equal("application/json", res.header["Content-Type"])
  end)

  it("#9 nginx and httpbin agree", function()
    assert.equal(("0123456789abcdef"):rep(64),
      wire.get(servers.nginx.http .. "/small").data)
    assert.equal(servers.httpbin .. "/get?x=1",
      wire.get(servers.httpbin .. "/get?x=1").data.url)
  end)

  it("#42 complete gets the table of success or fail", function()
    local good = helper.fetch { url = demo .. "/small" }
    assert.is_true(rawequal(good.success, good.complete))
    assert.equal(200, good.complete.statusCode)
    local bad = helper.fetch { url = fault.refused }
    assert.is_true(rawequal(bad.fail, bad.complete))
  end)

  it("keeps no hold of the options table", function()
    local header = { ["X-A"] = "before" }
    local options = { url = fault.http .. "/raw", header = header,
      dataType = "text" }
    local record = helper.start(options)
    header["X-A"] = "after"
    options.url = fault.refused
    helper.run_until(function() return record.done end)
    assert.matches("\r\nX%-A: before\r\n", record.success.data)
    assert.same({ url = fault.refused, header = header, dataType = "text" },
      options)
  end)
end)

describe("the methods of request", function()
  after_each(helper.verify)

  local numbers = { OPTIONS = "#11", GET = "#12", HEAD = "#13", POST = "#14",
    PUT = "#15", DELETE = "#16", PATCH = "#17", TRACE = "#18",
    CONNECT = "#19" }
  local ordered = { "OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH",
    "TRACE" }

  for _, method in ipairs(ordered) do
    it(numbers[method] .. " " .. method .. " is sent", function()
      local request = wire.raw { method = method }
      assert.equal(method .. " /raw HTTP/1.1", request.line)
      assert.equal("", request.body)
      assert.same({ authority }, wire.values(request, "host"))
    end)

    it("#21 " .. method .. " may be written in lower case", function()
      assert.equal(method, wire.raw { method = method:lower() }.method)
    end)
  end

  it("other servers read them", function()
    for _, method in ipairs { "OPTIONS", "GET", "POST", "PUT", "DELETE",
      "PATCH" } do
      local res = wire.get { url = demo .. "/echo", method = method }
      assert.equal(method, res.data.method)
    end
    for _, method in ipairs { "GET", "POST", "PUT", "DELETE", "PATCH",
      "TRACE" } do
      assert.equal(method, wire.anything { method = method }.method)
    end
  end)

  it("#20 GET is the default", function()
    assert.equal("GET /raw HTTP/1.1", wire.raw().line)
  end)

  it("a method without data has a length only where one is due", function()
    for _, method in ipairs(ordered) do
      local due = method == "POST" or method == "PUT" or method == "PATCH"
      local request = wire.raw { method = method }
      assert.same(due and { "0" } or {},
        wire.values(request, "content-length"), method)
      assert.same({}, wire.values(request, "transfer-encoding"), method)
    end
  end)

  it("every method but GET, HEAD, TRACE and CONNECT takes a body", function()
    for _, method in ipairs { "OPTIONS", "POST", "PUT", "DELETE", "PATCH" } do
      local request = wire.raw { method = method, data = "the body" }
      assert.equal(method .. " /raw HTTP/1.1", request.line)
      assert.same({ "8" }, wire.values(request, "content-length"))
      assert.equal("the body", request.body)
    end
  end)

  it("#13 HEAD has a header that tells of a body, and no body", function()
    for _, data_type in ipairs { "json", "text", "base64" } do
      local res = wire.get { url = demo .. "/bytes/1000", method = "HEAD",
        dataType = data_type }
      assert.equal("1000", res.header["content-length"])
      assert.equal("", res.data)
    end
    assert.equal("1024", wire.get { url = servers.nginx.http .. "/small",
      method = "HEAD" }.header["content-length"])
  end)

  it("#13 HEAD leaves its connection in order", function()
    local url = fault.http .. "/connection"
    local first = wire.get(url).data
    wire.get { url = fault.http .. "/raw", method = "HEAD" }
    local second = wire.get(url).data
    assert.equal(first.connection, second.connection)
    assert.equal(first.requests + 2, second.requests)
  end)

  it("#18 TRACE sends its head and nothing else", function()
    local request = wire.raw { method = "TRACE", data = "ignored" }
    assert.equal("TRACE /raw HTTP/1.1", request.line)
    assert.equal("\r\n\r\n", request.bytes:sub(-4))
    assert.same({}, wire.values(request, "content-length"))
  end)

  it("#19 CONNECT names host and port, and ends with the answer", function()
    local request = wire.raw { method = "CONNECT", data = "ignored" }
    assert.equal(("CONNECT %s HTTP/1.1"):format(authority), request.line)
    assert.same({ authority }, wire.values(request, "host"))
    assert.same({}, wire.values(request, "content-length"))
    assert.equal("", request.body)
  end)

  it("#19 CONNECT that is refused brings the refusal's body", function()
    local res = wire.get { url = fault.http .. "/any/path?is=dropped",
      method = "connect", header = { ["X-Status"] = "403" } }
    assert.equal(403, res.statusCode)
    assert.equal(("CONNECT %s HTTP/1.1\r\n"):format(authority),
      res.data:match("^.-\r\n"))
  end)

  it("#19 what follows a CONNECT goes over another connection", function()
    net.close() -- so that no other one is kept
    local record = helper.fetch { url = fault.http, method = "CONNECT",
      header = { ["X-Status"] = "403" }, dataType = "text" }
    assert.equal(403, record.success.statusCode)
    assert.matches("^CONNECT ", record.success.data)
    local res = wire.get(fault.http .. "/connection")
    assert.equal(1, res.data.requests)
    res = wire.get(fault.http .. "/connection")
    assert.equal(2, res.data.requests)
  end)

  it("#19 no other request shares the connection of a CONNECT", function()
    local url = fault.http .. "/connection"
    local before = wire.get(url).data
    wire.get { url = fault.http, method = "CONNECT" }
    local after = wire.get(url).data
    assert.equal(before.connection, after.connection)
    assert.equal(before.requests + 1, after.requests)
  end)

  local unknown = { "FOO", "", "GE T", "GET\r\nX-Evil: 1", "GET ", "G\0T",
    "M\195\156LL", "getx" }
  for _, method in ipairs(unknown) do
    it(("%q is refused"):format(method), function()
      local key = wire.key()
      local res = wire.fail { url = wire.url("/raw", { key = key }),
        method = method }
      assert.equal('request:fail invalid method "' .. method .. '"',
        res.errMsg)
      assert.equal(600005, res.errno)
      assert.equal(-1, res.errCode)
      assert.same({}, wire.seen(key))
    end)
  end
end)

describe("the url of request", function()
  after_each(function()
    net.configure { baseUrl = false }
    helper.verify()
  end)

  local wrong = {
    { "Undefined", nil }, { "Number", 12 }, { "Boolean", true },
    { "Object", {} }, { "Array", { "x" } }, { "Array", net.array() },
    { "Function", print }, { "ArrayBuffer", net.buffer("http://x/") },
    { "Null", net.null },
  }
  for _, case in ipairs(wrong) do
    it("#10 must be a String, is not " .. case[1], function()
      local res = wire.fail { url = case[2] }
      assert.equal("request:fail parameter error: parameter.url should be "
        .. "String instead of " .. case[1] .. ";", res.errMsg)
      assert.equal(1001, res.errno)
      assert.equal(-1, res.errCode)
    end)
  end

  it("#10 without a table of options the call raises", function()
    for _, value in ipairs { "http://x/", 12, true, print } do
      local ok, message = pcall(net.request, value)
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'request' %(table expected", message)
    end
    assert.has_error(function() net.request() end)
  end)

  local invalid = { "", "http://", "://x", "/relative", "relative",
    "http://[::1", "http://127.0.0.1:99999/", "http://127.0.0.1:port/",
    "http://a b/", "http://a b/?c d", "ht tp://127.0.0.1/",
    "http://127.0.0.1/\r\nX-Evil: 1", "http://127.0.0.1\n/",
    "http://127.0.0.1/a\0b", "http://:80/" }
  for _, url in ipairs(invalid) do
    it(("%q is invalid"):format(url), function()
      local res = wire.fail { url = url }
      assert.equal('request:fail invalid url "' .. url .. '"', res.errMsg)
      assert.equal(600009, res.errno)
      assert.equal(-300, res.errCode)
    end)
  end

  for _, url in ipairs { "ftp://127.0.0.1/x", "ws://127.0.0.1/",
    "gopher://127.0.0.1/", "file:///etc/passwd", "foo://127.0.0.1/" } do
    it(("%q has a scheme that is refused"):format(url), function()
      local res = wire.fail { url = url }
      assert.equal("request:fail url scheme is not allowed", res.errMsg)
      assert.equal(600011, res.errno)
      assert.equal(-10, res.errCode)
    end)
  end

  local relative = {
    { "/raw?a=1", "/raw?a=1" },
    { "raw", "/dir/raw" },
    { "../raw", "/raw" },
    { "./raw?b=2", "/dir/raw?b=2" },
    { "?c=3", "/dir/page?c=3" },
    { "//" .. authority .. "/raw", "/raw" },
    { fault.http .. "/raw", "/raw" },
  }
  for _, case in ipairs(relative) do
    it(("#6 %q is resolved against baseUrl"):format(case[1]), function()
      net.configure { baseUrl = fault.http .. "/dir/page?old=1#top" }
      local key = wire.key()
      wire.get { url = case[1], header = { ["X-Key"] = key } }
      assert.equal(case[2], wire.seen(key)[1].target)
    end)
  end

  it("#6 data goes to the end of a relative url", function()
    net.configure { baseUrl = fault.http }
    local request = wire.raw { url = "/raw?a=1#top", data = { b = 2 } }
    assert.equal("/raw?a=1&b=2", request.target)
  end)

  it("#6 needs a baseUrl to be relative", function()
    net.configure { baseUrl = fault.http }
    assert.equal("/raw", wire.raw { url = "/raw" }.target)
    net.configure { baseUrl = false }
    assert.equal('request:fail invalid url "/raw"',
      wire.fail { url = "/raw" }.errMsg)
  end)

  local targets = {
    { "/raw#fragment", "/raw" },
    { "/raw?a=b c", "/raw?a=b%20c" },
    { "/raw?\195\188=\195\188", "/raw?%C3%BC=%C3%BC" },
    { "/raw?a=%41%2F%7E", "/raw?a=%41%2F%7E" },
    { "/raw?a=b?c=/d", "/raw?a=b?c=/d" },
    { "/x/../raw", "/raw" },
    { "/raw?", "/raw" },
  }
  for _, case in ipairs(targets) do
    it(("%q is asked for as %q"):format(case[1], case[2]), function()
      local request = wire.raw { url = fault.http .. case[1] }
      local target = request.target:gsub("%?$", ""):gsub("%%%x%x", string.upper)
      assert.equal(case[2], target)
    end)
  end

  it("may lack a path, and have an upper-case scheme", function()
    local key = wire.key()
    wire.get((fault.http .. "?key=" .. key):gsub("^http", "HTTP"))
    assert.equal("/?key=" .. key, wire.seen(key)[1].target)
  end)

  it("may have an IPv6 address", function()
    local request = wire.raw { url = fault.http6 .. "/raw" }
    assert.same({ fault.http6:match("//(.*)$") },
      wire.values(request, "host"))
  end)

  it("may have a host name", function()
    local request = wire.raw {
      url = "http://localhost:" .. authority:match(":(%d+)$") .. "/raw" }
    assert.matches("^localhost:", wire.values(request, "host")[1])
  end)
end)

describe("user and password in the url of request", function()
  after_each(helper.verify)

  local function url_with(credentials)
    return ("http://%s@%s/raw"):format(credentials, authority)
  end

  local cases = {
    { "user:pass", "dXNlcjpwYXNz" },
    { "user", "dXNlcjo=" },
    { "us%40er:p%3Aa%2Fs", "dXNAZXI6cDphL3M=" },
    { ":pass", "OnBhc3M=" },
  }
  for _, case in ipairs(cases) do
    it(("%q become basic authentication"):format(case[1]), function()
      local request = wire.raw { url = url_with(case[1]) }
      assert.same({ "Basic " .. case[2] },
        wire.values(request, "authorization"))
      assert.equal("/raw", request.target)
      assert.same({ authority }, wire.values(request, "host"))
    end)
  end

  it("satisfy httpbin", function()
    local url = servers.httpbin:gsub("//", "//joe:secret@")
    local res = wire.get(url .. "/basic-auth/joe/secret")
    assert.equal(200, res.statusCode)
    assert.equal("joe", res.data.user)
    res = wire.get(url .. "/basic-auth/joe/other")
    assert.equal(401, res.statusCode)
  end)

  it('are not sent with credentials="omit"', function()
    local request = wire.raw { url = url_with "user:pass",
      credentials = "omit" }
    assert.same({}, wire.values(request, "authorization"))
  end)

  it("yield to the caller's own field", function()
    local request = wire.raw { url = url_with "user:pass",
      header = { authorization = "Bearer x" } }
    assert.same({ "Bearer x" }, wire.values(request, "authorization"))
  end)

  it("do not show in what is logged", function()
    local lines = capture_log()
    net.request { url = (fault.refused:gsub("//", "//user:secret@")) }
    helper.run_until(function() return #lines > 0 end)
    net.setLogger(nil)
    assert.matches("nobody handles it", lines[1])
    assert.is_nil(lines[1]:find("secret", 1, true))
  end)
end)

describe("the options of request", function()
  after_each(function()
    net.setLogger(nil)
    helper.verify()
  end)

  local wrong = {
    { "data", 12, "String, Object or ArrayBuffer", "Number" },
    { "data", true, "String, Object or ArrayBuffer", "Boolean" },
    { "data", print, "String, Object or ArrayBuffer", "Function" },
    { "data", net.null, "String, Object or ArrayBuffer", "Null" },
    { "header", "x", "Object", "String" },
    { "headers", 1, "Object", "Number" },
    { "timeout", "100", "Number", "String" },
    { "timeouts", 100, "Object", "Number" },
    { "method", 1, "String", "Number" },
    { "dataType", {}, "String", "Object" },
    { "responseType", false, "String", "Boolean" },
    { "redirect", { 1 }, "String", "Array" },
    { "enableHttp2", "true", "Boolean", "String" },
    { "enableQuic", 1, "Boolean", "Number" },
    { "enableChunked", net.buffer("x"), "Boolean", "ArrayBuffer" },
    { "enableProfile", 0, "Boolean", "Number" },
    { "useHighPerformanceMode", "", "Boolean", "String" },
    { "forceCellularNetwork", 1, "Boolean", "Number" },
    { "credentials", 1, "String", "Number" },
    { "success", {}, "Function", "Object" },
  }
  for _, case in ipairs(wrong) do
    it(("refuse %s of type %s"):format(case[1], case[4]), function()
      local key = wire.key()
      local done
      local options = { url = wire.url("/raw", { key = key }),
        complete = function(res) done = res end }
      options[case[1]] = case[2]
      net.request(options)
      assert.is_nil(done)
      helper.run_until(function() return done end)
      assert.equal(("request:fail parameter error: parameter.%s should be %s"
        .. " instead of %s;"):format(case[1], case[3], case[4]), done.errMsg)
      assert.equal(1001, done.errno)
      assert.equal(-1, done.errCode)
      assert.same({}, wire.seen(key))
    end)
  end

  it("refuse a value of timeouts that is no number", function()
    local res = wire.fail { url = demo, timeouts = { connect = "1" } }
    assert.equal("request:fail parameter error: parameter.timeouts.connect "
      .. "should be Number instead of String;", res.errMsg)
    assert.equal(1001, res.errno)
  end)

  it("name the first of several that are wrong", function()
    for _ = 1, 5 do
      local res = wire.fail { url = demo, timeout = "x", dataType = 1,
        method = 2, header = "y" }
      assert.matches("parameter%.dataType should be String", res.errMsg)
    end
  end)

  it("that nobody knows are logged once, with the nearest name", function()
    local lines = capture_log()
    for _ = 1, 2 do
      wire.get { url = demo .. "/small", metod = "POST", zzzzzzzz = 1,
        timeouts = { conect = 5 } }
    end
    table.sort(lines)
    assert.same({
      'warn: request: unknown option "metod" (did you mean "method"?)',
      'warn: request: unknown option "timeouts.conect" (did you mean '
        .. '"timeouts.connect"?)',
      'warn: request: unknown option "zzzzzzzz"',
    }, lines)
  end)

  it("that are known and right are not logged", function()
    local lines = capture_log()
    wire.get { url = demo .. "/small", method = "GET", header = {},
      timeout = 5000, timeouts = { connect = 5000, stall = 5000 },
      dataType = "text", responseType = "text", enableHttp2 = true,
      enableQuic = true, enableProfile = true, redirect = "follow",
      credentials = "omit", enableCache = true, enableHttpDNS = false,
      cache = "no-store", jsonp = false, useHighPerformanceMode = false,
      forceCellularNetwork = false, retryTimes = 2 }
    assert.same({}, lines)
  end)

  it("forceCellularNetwork fails without a cellular interface", function()
    local res = wire.fail { url = demo, forceCellularNetwork = true }
    assert.equal(602301, res.errno)
    assert.matches("^request:fail ", res.errMsg)
  end)
end)

describe("the timeout of request", function()
  after_each(function()
    net.configure { timeouts = { request = 60000 } }
    helper.verify()
  end)

  local function times_out(options, least)
    local start = helper.now()
    local res = wire.fail(wire.with({ url = fault.http .. "/never" }, options))
    assert.equal("request:fail timeout", res.errMsg)
    assert.equal(5, res.errno)
    assert.equal(-7, res.errCode)
    assert.is_true(helper.now() - start >= least)
  end

  it("#32 is in milliseconds", function()
    times_out({ timeout = 150 }, 149)
    times_out({ timeout = 20.5 }, 20)
  end)

  it("#32 has a default that configure sets", function()
    net.configure { timeouts = { request = 120 } }
    times_out({}, 119)
    times_out({ timeout = 0 }, 119)
    times_out({ timeout = -1 }, 119)
    wire.get { url = fault.http .. "/delay?ms=200", timeout = 5000 }
  end)

  it("#32 is 60000 by default, and 0 means that", function()
    assert.equal(60000, require("nettask.config").new().requestTimeout)
    for _, timeout in ipairs { 0, -1, -1e300 } do
      wire.get { url = fault.http .. "/delay?ms=50", timeout = timeout }
    end
  end)

  it("#32 may be longer than any clock", function()
    for _, timeout in ipairs { 2 ^ 31, 2 ^ 32, 2 ^ 53, 1e300, 1 / 0 } do
      wire.get { url = demo .. "/small", timeout = timeout }
    end
  end)
end)
