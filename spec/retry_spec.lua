-- retry={...}: what is asked again, how often, and when.

local core = require "nettask.core"
local helper = require "helper"
local retry = require "nettask.retry"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault, demo = servers.fault, servers.demo

local PATIENT = 500 * helper.slow
local QUICK = { base = 1, max = 5 } -- no waiting to speak of

local function turns(key, words, more)
  return wire.url("/turns", wire.with({ key = key, ["do"] = words,
    body = '{"n":1}' }, more or {}))
end

local function quick(more)
  return wire.with(QUICK, more or {})
end

local function capture_log()
  local lines = {}
  net.setLogger(function(level, text)
    lines[#lines + 1] = level .. ": " .. text
  end)
  return lines
end

local function count(key)
  return #wire.seen(key)
end

local function verify()
  net.setLogger(nil)
  net.configure { httpErrorFails = false }
  helper.verify()
end

-- What the call takes, with its result.
local function timed(f, ...)
  local start = core.now()
  local result = f(...)
  return core.now() - start, result
end

describe("retry", function()
  after_each(verify)

  it("asks again after 429, 502, 503 and 504", function()
    local key = wire.key()
    local record = helper.fetch { url = turns(key, "429,502,503,504,ok"),
      retry = quick { tries = 4 } }
    assert.equal(1, record.success.data.n)
    assert.equal(5, count(key))
    local exception = record.success.exception
    assert.equal(4, exception.retryCount)
    assert.same({ errMsg = "http status 429", errno = 0 },
      exception.reasons[1])
    -- What came in between is none of the script's.
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal(200, record.headers[1].statusCode)
  end)

  it("asks again after a time-out", function()
    local key = wire.key()
    local res = wire.get { url = turns(key, "hang,ok"), timeout = PATIENT,
      retry = quick() }
    assert.equal(1, res.data.n)
    assert.equal(2, count(key))
    assert.same({ errMsg = "request:fail timeout", errno = 5 },
      res.exception.reasons[1])
  end)

  it("asks again after a connection that broke", function()
    local key = wire.key()
    local res = wire.get { url = turns(key, "cut,cut,ok"), retry = quick() }
    assert.equal(1, res.data.n)
    assert.equal(3, count(key))
  end)

  it("asks again where nobody listens, three times by itself", function()
    local record = helper.fetch { url = fault.refused, retry = quick() }
    helper.check_failure(record, "-102:net::ERR_CONNECTION_REFUSED", 600001,
      -102)
    assert.equal(3, record.fail.exception.retryCount)
    assert.equal(3, #record.fail.exception.reasons)
  end)

  it("is content with any other answer", function()
    for _, status in ipairs { 200, 404, 500, 501 } do
      local key = wire.key()
      local res = wire.get { url = turns(key, tostring(status)),
        retry = quick() }
      assert.equal(status, res.statusCode)
      assert.equal(1, count(key))
      assert.equal(0, res.exception.retryCount)
    end
  end)

  it("hands out the last answer when no tries are left", function()
    local key = wire.key()
    local record = helper.fetch { url = turns(key, "503"),
      retry = quick { tries = 2 } }
    assert.equal(503, record.success.statusCode)
    assert.equal("turned down", record.success.data)
    assert.equal(3, count(key))
    assert.equal(2, record.success.exception.retryCount)
    assert.same({ "headers", "success", "complete" }, record.order)
  end)

  it("`tries` counts attempts after the first; 0 is none", function()
    for _, tries in ipairs { 0, 1 } do
      local key = wire.key()
      wire.get { url = turns(key, "503"), retry = quick { tries = tries } }
      assert.equal(tries + 1, count(key))
    end
  end)

  it("`on` says after what", function()
    local key = wire.key()
    local res = wire.get { url = turns(key, "418,503,ok"),
      retry = quick { on = { 418 } } }
    assert.equal(503, res.statusCode)
    assert.equal(2, count(key))
    local failed = wire.fail { url = fault.refused, retry = quick { on = {} } }
    assert.equal(0, failed.exception.retryCount)
    failed = wire.fail { url = fault.refused,
      retry = quick { on = { "connect" } } }
    assert.equal(3, failed.exception.retryCount)
    failed = wire.fail { url = fault.refused,
      retry = quick { on = { "reset", "timeout" } } }
    assert.equal(0, failed.exception.retryCount)
  end)

  it("works where such a status is a failure", function()
    net.configure { httpErrorFails = true }
    local key = wire.key()
    assert.equal(1, wire.get { url = turns(key, "503,ok"),
      retry = quick() }.data.n)
    assert.equal("request:fail http status 503", wire.fail {
      url = turns(wire.key(), "503"), retry = quick { tries = 1 } }.errMsg)
  end)

  it("sends the same again: method, header, body", function()
    local key = wire.key()
    wire.get { url = turns(key, "503,ok"), method = "PUT", retry = quick(),
      header = { ["X-Mine"] = "yes" }, data = { a = 1 } }
    local seen = wire.seen(key)
    for i = 1, 2 do
      assert.equal("PUT", seen[i].method)
      assert.equal('{"a":1}', seen[i].body)
      assert.same({ "yes" }, wire.values(seen[i], "X-Mine"))
    end
  end)

  it("is for what may be sent twice, unless it is said", function()
    local lines = capture_log()
    for _, method in ipairs { "POST", "patch" } do
      local key = wire.key()
      wire.get { url = turns(key, "503"), method = method, retry = quick() }
      assert.equal(1, count(key))
      key = wire.key()
      wire.get { url = turns(key, "503,ok"), method = method,
        retry = quick { unsafe = true } }
      assert.equal(2, count(key))
    end
    assert.same({
      "warn: request: retry has no effect on POST without retry.unsafe=true",
      "warn: request: retry has no effect on PATCH without retry.unsafe=true",
    }, lines)
  end)

  it("does not begin a stream twice that has begun", function()
    local key = wire.key()
    local record = helper.fetch { url = turns(key, "503,hang-body"),
      retry = quick(), enableChunked = true, timeout = PATIENT }
    helper.check_failure(record, "timeout", 5, -7)
    assert.equal(2, count(key))
    assert.same({ "headers", "fail", "complete" }, record.order)
  end)

  it("asks again within each place of a failover", function()
    local first, second = wire.key(), wire.key()
    local res = wire.get { url = turns(first, "cut"), failover = true,
      backup = turns(second, "503,ok"), retry = quick { tries = 1 } }
    assert.equal(1, res.data.n)
    assert.equal(2, count(first))
    assert.equal(2, count(second))
  end)

  it("refuses what is no option, and names it", function()
    for text, option in pairs {
      ["parameter error: parameter.retry should be Object instead of Boolean;"]
        = true,
      ["parameter error: parameter.retry.tries should be Number instead of"
        .. " String;"] = { tries = "3" },
      ["parameter error: parameter.retry.on should be Array instead of"
        .. " Number;"] = { on = 503 },
    } do
      local record = helper.fetch { url = demo .. "/small", retry = option }
      helper.check_failure(record, text, 1001, -1)
    end
    local record = helper.fetch { url = demo .. "/small",
      retry = { on = { 503, "often" } } }
    helper.check_failure(record, 'invalid retry.on "often"', 600005, -1)
    local lines = capture_log()
    wire.get { url = demo .. "/small", retry = { retries = 3 } }
    assert.same({ 'warn: request: unknown option "retry.retries" (did you'
      .. ' mean "retry.tries"?)' }, lines)
  end)
end)

describe("the options of retry", function()
  after_each(verify)

  it("are numbers one can count with", function()
    local nan = 0 / 0
    for name, value in pairs { tries = nan, base = nan, max = nan,
      on = { nan } } do
      local record = helper.fetch { url = fault.refused,
        retry = { [name] = value } }
      assert.matches(("^request:fail invalid retry%%.%s \".*nan"):format(name),
        record.fail.errMsg)
      assert.equal(600005, record.fail.errno)
    end
  end)

  it("may ask for no wait at all, and for many tries", function()
    assert.equal(0, retry.backoff(0, 5000, 30000))
  end)
end)

describe("the wait before a retry", function()
  after_each(verify)

  it("doubles, less up to a half of it, up to max", function()
    local key = wire.key()
    local took = timed(wire.get, { url = turns(key, "503,503,503,503,ok"),
      retry = { base = 40, max = 80, tries = 4 } })
    -- 40, 80, 80, 80, halved at the most
    assert.is_true(took >= 140, tostring(took))
  end)

  it("is queued, and abort() ends it at once", function()
    local key = wire.key()
    local record = helper.start { url = turns(key, "503"),
      retry = { base = 60000, max = 60000 } }
    helper.run_until(function() return count(key) == 1 end)
    helper.run_until(function() return record.task.state == "queued" end)
    local took = timed(function()
      record.task:abort()
      helper.check_failure(helper.finish(record), "abort", 1, -3)
      assert.is_true(net.run(5000))
    end)
    assert.is_true(took < 5000, tostring(took))
    assert.equal(1, count(key))
  end)

  it("is as long as Retry-After says", function()
    local key = wire.key()
    local took = timed(wire.get, { url = turns(key, "503,ok",
      { h = "Retry-After: 1" }), retry = quick { max = 2000 } })
    assert.is_true(took >= 1000, tostring(took))
    assert.equal(2, count(key))
  end)

  it("is not begun when Retry-After asks for more than max", function()
    local key = wire.key()
    local record = helper.fetch { url = turns(key, "503,ok",
      { h = "Retry-After: 120" }), retry = { base = 1, max = 1000 } }
    assert.equal(503, record.success.statusCode)
    assert.equal(1, count(key))
    assert.equal(0, record.success.exception.retryCount)
    assert.same({ "headers", "success", "complete" }, record.order)
  end)

  it("leaves the numbers of math.random to the script", function()
    math.randomseed(7)
    local want = math.random(1e6)
    math.randomseed(7)
    wire.get { url = turns(wire.key(), "503,ok"), retry = quick() }
    assert.equal(want, math.random(1e6))
  end)
end)

describe("Retry-After", function()
  local function after(text, date)
    return retry.after { ["Retry-After"] = text, Date = date }
  end

  it("is seconds", function()
    assert.equal(0, after "0")
    assert.equal(120000, after "120")
    assert.is_nil(after "-1")
    assert.is_nil(after "1.5")
    assert.is_nil(after "soon")
    assert.is_nil(after(nil))
    assert.is_nil(retry.after(nil))
  end)

  it("or a date, by the clock of the server", function()
    local now = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert.equal(60000, after("Sun, 06 Nov 1994 08:50:37 GMT", now))
    assert.equal(0, after("Sun, 06 Nov 1994 08:00:00 GMT", now))
    assert.equal(86400000, after("Mon, 07 Nov 1994 08:49:37 GMT", now))
    -- Over the ends of a month, a year, and in leap years.
    local day = 86400000
    assert.equal(day, after("Tue, 01 Mar 2022 00:00:00 GMT",
      "Mon, 28 Feb 2022 00:00:00 GMT"))
    assert.equal(2 * day, after("Fri, 01 Mar 2024 00:00:00 GMT",
      "Wed, 28 Feb 2024 00:00:00 GMT"))
    assert.equal(day, after("Sat, 01 Jan 2000 00:00:00 GMT",
      "Fri, 31 Dec 1999 00:00:00 GMT"))
    assert.equal(36525 * day, after("Sat, 01 Jan 2000 00:00:00 GMT",
      "Fri, 01 Jan 1900 00:00:00 GMT") + day)
    assert.is_nil(after("Sun, 06 Foo 1994 08:50:37 GMT", now))
    assert.is_nil(after("Sunday, 06-Nov-94 08:49:37 GMT", now))
  end)

  it("without a Date is by our own clock", function()
    assert.equal(0, after "Sun, 06 Nov 1994 08:49:37 GMT")
    local far = after "Fri, 01 Jan 2100 00:00:00 GMT"
    local want = 4102444800000 - core.unixMs()
    assert.is_true(math.abs(far - want) < 60000, tostring(far - want))
  end)
end)
