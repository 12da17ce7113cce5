-- Looking elsewhere: retryTimes, backup, dataCheck and what they do together,
-- with jsonp and with failover=true. useStore is in store_spec.lua.

local helper = require "helper"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local PATIENT = 1000 * helper.slow -- for an attempt that is to succeed
local demo_url = servers.demo .. "/json"
local HASTY = 100 + 50 * helper.slow -- for one that will not

local function turns(key, words, more)
  return wire.url("/turns", wire.with({ key = key, ["do"] = words,
    body = '{"n":1}' }, more or {}))
end

local function capture_log()
  local lines = {}
  net.setLogger(function(level, text)
    lines[#lines + 1] = level .. ": " .. text
  end)
  return lines
end

-- How often the url with that key was asked for.
local function count(key)
  return #wire.seen(key)
end

local function verify()
  net.setLogger(nil)
  net.cleanInterceptors()
  net.configure { policy = "miniprogram", dialect = "wx" }
  helper.verify()
end

-- Both kinds; the second has the word for it in front.
local function each(name, f)
  it(name .. " (jsonp)", function() f({ jsonp = true }, true) end)
  it(name .. " (failover)", function() f({ failover = true }, false) end)
end

describe("retryTimes", function()
  after_each(verify)

  each("#67 is 2 unless it is said: three attempts in all", function(more)
    local key = wire.key()
    local record = helper.fetch(wire.with({ url = turns(key, "hang"),
      timeout = HASTY }, more))
    helper.check_failure(record, "timeout", 5, -7)
    assert.equal(3, count(key))
    local exception = record.fail.exception
    assert.equal(2, exception.retryCount)
    assert.equal(3, #exception.reasons)
    for i = 1, 3 do
      assert.same({ errMsg = "request:fail timeout", errno = 5 },
        exception.reasons[i])
    end
    assert.same({ "fail", "complete" }, record.order)
  end)

  it("#67 each attempt has a timeout of its own", function()
    local key = wire.key()
    local res = wire.get { url = turns(key, "hang,hang-body,ok"),
      jsonp = true, timeout = PATIENT }
    assert.equal(1, res.data.n)
    assert.equal(3, count(key))
    assert.equal(2, res.exception.retryCount)
    assert.equal(2, #res.exception.reasons)
  end)

  it("0 and below mean one attempt", function()
    for _, times in ipairs { 0, -1 } do
      local key = wire.key()
      wire.fail { url = turns(key, "hang"), jsonp = true, timeout = HASTY,
        retryTimes = times }
      assert.equal(1, count(key))
    end
  end)

  each("is for time-outs: another failure is final without backup",
    function(more)
      local key = wire.key()
      local res = wire.fail(wire.with({ url = turns(key, "cut"),
        retryTimes = 5 }, more))
      assert.equal(600001, res.errno)
      assert.equal(1, count(key))
      assert.equal(0, res.exception.retryCount)
    end)

  it("means nothing to an ordinary request, which is said once", function()
    local lines = capture_log()
    local key = wire.key()
    for _ = 1, 2 do
      wire.fail { url = turns(key, "hang"), timeout = HASTY, retryTimes = 3,
        backup = servers.demo .. "/json" }
    end
    assert.equal(2, count(key))
    table.sort(lines)
    assert.same({
      'warn: request: option "backup" has no effect without jsonp or'
        .. " failover=true",
      'warn: request: option "retryTimes" has no effect without jsonp or'
        .. " failover=true",
    }, lines)
  end)
end)

describe("backup", function()
  after_each(verify)

  each("#68 is asked when the url does not answer", function(more)
    local first, second = wire.key(), wire.key()
    local res = wire.get(wire.with({ url = turns(first, "cut"),
      backup = turns(second, "ok"), data = { x = 1 } }, more))
    assert.equal(1, res.data.n)
    assert.equal(1, count(first))
    local seen = wire.seen(second)
    assert.equal(1, #seen)
    assert.matches("[?&]x=1", seen[1].target) -- data goes there too
    assert.equal(1, res.exception.retryCount)
  end)

  each("#69 may be a list, which is asked in order, each once", function(more)
    local keys, backup = {}, {}
    for i, words in ipairs { "cut", "hang", "cut", "ok" } do
      keys[i] = wire.key()
      backup[i - 1] = turns(keys[i], words)
    end
    local url = backup[0]
    backup[0] = nil
    local res = wire.get(wire.with({ url = url, backup = backup,
      timeout = PATIENT }, more))
    assert.equal(1, res.data.n)
    for i = 1, 4 do assert.equal(1, count(keys[i])) end
    assert.equal(3, res.exception.retryCount)
    assert.equal(5, res.exception.reasons[2].errno)
  end)

  it("#69 comes after the retries of the url, not before", function()
    local first, second = wire.key(), wire.key()
    local res = wire.get { url = turns(first, "hang"), timeout = PATIENT,
      jsonp = true, retryTimes = 1, backup = { turns(second, "ok") } }
    assert.equal(2, count(first))
    assert.equal(1, count(second))
    assert.equal(2, res.exception.retryCount)
  end)

  it("is asked at once when nobody is there", function()
    local second = wire.key()
    local res = wire.get { url = fault.refused .. "/x", jsonp = true,
      backup = turns(second, "ok") }
    assert.equal(1, res.data.n)
    assert.same({ errno = 600001,
      errMsg = "request:fail -102:net::ERR_CONNECTION_REFUSED" },
      res.exception.reasons[1])
  end)

  it("of jsonp is asked for a bad status and for what is no script",
    function()
      for _, url in ipairs { turns(wire.key(), "500"),
        wire.url("/respond", { body = "{}" }) } do
        local second = wire.key()
        local record = helper.fetch { url = url, jsonp = true,
          backup = turns(second, "ok") }
        assert.equal(1, record.success.data.n)
        assert.equal(1, count(second))
      end
    end)

  it("of jsonp has its own callback in its own url", function()
    local second = wire.key()
    local res = wire.get { url = turns(wire.key(), "500"), jsonp = "first",
      backup = turns(second, "ok", { callback = "second" }) }
    assert.equal(1, res.data.n)
    assert.not_matches("first", wire.seen(second)[1].target)
  end)

  it("of an ordinary request is not asked for a bad status", function()
    local second = wire.key()
    local res = wire.get { url = turns(wire.key(), "500"), failover = true,
      backup = turns(second, "ok") }
    assert.equal(500, res.statusCode)
    assert.equal(0, count(second))
  end)

  it("of an ordinary request is, where that status fails", function()
    net.configure { httpErrorFails = true }
    local res = wire.get { url = turns(wire.key(), "500"), failover = true,
      backup = turns(wire.key(), "ok") }
    assert.equal(1, res.data.n)
  end)

  it("gets method, header and body of an ordinary request", function()
    local second = wire.key()
    wire.get { url = fault.refused, failover = true, method = "POST",
      data = { a = 1 }, header = { ["X-Mine"] = "yes" },
      backup = turns(second, "ok") }
    local request = wire.seen(second)[1]
    assert.equal("POST", request.method)
    assert.equal('{"a":1}', request.body)
    assert.same({ "yes" }, wire.values(request, "X-Mine"))
  end)

  it("is not asked when the arguments are wrong or forbidden", function()
    local second = wire.key()
    for _, more in ipairs { { url = "no url" }, { method = "FOO" },
      { header = { ["a b"] = "c" } } } do
      local res = wire.fail(wire.with({ url = fault.refused, failover = true,
        backup = turns(second, "ok") }, more))
      assert.is_true(res.errno >= 600005, res.errMsg)
    end
    assert.equal(0, count(second))
  end)

  it("must be urls", function()
    for _, more in ipairs { { jsonp = true }, { failover = true } } do
      local record = helper.fetch(wire.with({ url = fault.refused,
        backup = { demo_url, 5 } }, more))
      helper.check_failure(record, "parameter error: parameter.backup[2] should"
        .. " be String instead of Number;", 1001, -1)
    end
  end)

  it("the last failure is the outcome", function()
    local record = helper.fetch { url = turns(wire.key(), "cut"),
      jsonp = true, backup = { fault.refused, turns(wire.key(), "404") } }
    helper.check_failure(record, "http status 404", 600000, -1)
    assert.equal("turned down", record.fail.data)
    local reasons = record.fail.exception.reasons
    assert.equal(3, #reasons)
    assert.equal("request:fail http status 404", reasons[3].errMsg)
  end)
end)

describe("dataCheck", function()
  after_each(verify)

  each("#70 false: the next backup at once", function(more)
    local first, second = wire.key(), wire.key()
    local checked = {}
    local res = wire.get(wire.with({ url = turns(first, "ok"),
      backup = turns(second, "ok", { body = '{"n":2}' }),
      dataCheck = function(data)
        checked[#checked + 1] = data.n
        return data.n == 2
      end }, more))
    assert.same({ 1, 2 }, checked)
    assert.equal(2, res.data.n)
    assert.equal("request:fail data check error",
      res.exception.reasons[1].errMsg)
    assert.equal(1, count(first))
  end)

  each("#70 false and no backup: a failure", function(more)
    local record = helper.fetch(wire.with({ url = turns(wire.key(), "ok"),
      dataCheck = function() return false end }, more))
    helper.check_failure(record, "data check error", 600000, -1)
    assert.equal(200, record.fail.statusCode)
    assert.equal(1, record.fail.data.n)
  end)

  it("#70 false and nothing left: what the store has, unchecked", function()
    local good = true
    local url = turns(wire.key(), "ok")
    for i = 1, 2 do
      local res = wire.get { url = url, jsonp = true, useStore = true,
        dataCheck = function() return good end }
      assert.equal(i == 2, res.stale == true)
      assert.equal(1, res.data.n)
      good = false
    end
  end)

  it("an error in it is told, and is a no", function()
    local what, err
    net.onError(function(value, _, where) err, what = value, where end)
    local record = helper.fetch { url = turns(wire.key(), "ok"), jsonp = true,
      dataCheck = function() error { code = 7 } end }
    helper.check_failure(record, "data check error", 600000, -1)
    assert.same({ code = 7 }, err)
    assert.equal(("RequestTask #%.0f dataCheck"):format(record.task.id), what)
  end)

  it("may abort the task, and nobody else is asked", function()
    for _, answer in ipairs { true, false } do
      local second = wire.key()
      local record
      record = helper.start { url = turns(wire.key(), "ok"), jsonp = true,
        backup = turns(second, "ok"), dataCheck = function()
          record.task:abort()
          return answer
        end }
      helper.check_failure(helper.finish(record), "abort", 1, -3)
      assert.is_true(net.run(5000))
      assert.equal(0, count(second))
    end
  end)

  it("may close the context, and then nothing more happens", function()
    for _, answer in ipairs { true, false } do
      local second = wire.key()
      local closed
      net.request { url = turns(wire.key(), "ok"), jsonp = true,
        useStore = true, backup = turns(second, "ok"),
        dataCheck = function()
          net.close()
          closed = true
          return answer
        end, complete = helper.never("complete") }
      helper.run_until(function() return closed end)
      assert.equal(0, net.stats().live)
      assert.equal(0, count(second))
    end
  end)
end)

describe("a request with failover", function()
  after_each(verify)

  it("is an ordinary one when all goes well", function()
    local record = helper.fetch { url = servers.demo .. "/json",
      failover = true, dataType = "text" }
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal("string", type(record.success.data))
    assert.same({ retryCount = 0, reasons = {} }, record.success.exception)
    assert.equal("table", type(record.success.profile))
  end)

  it("aborted during an attempt asks nobody else", function()
    local first, second = wire.key(), wire.key()
    local record = helper.start { url = turns(first, "hang"), failover = true,
      backup = turns(second, "ok") }
    helper.run_until(function() return record.task.state == "connecting" end)
    record.task:abort()
    helper.check_failure(helper.finish(record), "abort", 1, -3)
    assert.equal("done", record.task.state)
    net.run(5000)
    assert.equal(0, count(second))
  end)

  it("keeps to what was given when the call was made", function()
    local second = wire.key()
    local given = { url = fault.refused, failover = true,
      backup = turns(second, "ok") }
    local res
    given.success = function(r) res = r end
    net.request(given)
    given.backup, given.failover, given.url = nil, nil, "other"
    helper.run_until(function() return res end)
    assert.equal(1, count(second))
  end)

  it("passes a stream on, and does not begin it twice", function()
    local first, second = wire.key(), wire.key()
    local record = helper.fetch { url = turns(first, "hang-body"),
      failover = true, enableChunked = true, timeout = HASTY,
      backup = turns(second, "ok") }
    helper.check_failure(record, "timeout", 5, -7)
    assert.equal(0, count(second))

    record = helper.fetch { url = fault.refused, failover = true,
      enableChunked = true, backup = turns(second, "ok") }
    assert.equal('{"n":1}', tostring(record.chunks[1]))
    assert.equal("", record.success.data)
  end)

  it("works without a frame in between: many at once", function()
    local left, url = 20, turns(wire.key(), "cut")
    for _ = 1, left do
      net.request { url = url, failover = true,
        backup = { fault.refused, servers.demo .. "/json" },
        success = function(res)
          assert(res.data.hello)
          left = left - 1
        end }
    end
    helper.run_until(function() return left == 0 end)
  end)

  it("and a retry too may stand behind interceptors", function()
    local key = wire.key()
    net.addInterceptor(function(chain)
      chain.requestParams.jsonp = "f"
      return chain:proceed(chain.requestParams):next(function(res)
        res.data.seen = true
        return res
      end)
    end)
    local record = helper.fetch { url = turns(wire.key(), "500"),
      backup = turns(key, "503,ok"), retry = { base = 1 } }
    net.cleanInterceptors() -- count() asks too
    assert.same({ n = 1, seen = true }, record.success.data)
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal(200, record.headers[1].statusCode)
    assert.equal(2, count(key))
    -- One for the status 500, one for the 503.
    assert.equal(2, record.success.exception.retryCount)
    assert.equal(2, #record.success.exception.reasons)
  end)

  it("ends with its signal, its group, and can be awaited", function()
    local controller, group = net.AbortController(), net.group()
    local url = turns(wire.key(), "hang")
    for _, more in ipairs { { signal = controller.signal },
      { group = group } } do
      local record = helper.start(wire.with({ url = url, failover = true,
        backup = demo_url }, more))
      helper.run_until(function() return record.task.state == "connecting" end)
      controller:abort()
      if more.group then group:abort() end
      helper.check_failure(helper.finish(record), "abort", 1, -3)
    end
    local got
    coroutine.wrap(function()
      got = net.await(net.request { url = fault.refused, failover = true,
        backup = demo_url })
    end)()
    helper.run_until(function() return got end)
    assert.equal(200, got.statusCode)
  end)

  it("is told apart in the dialect my, where results say more", function()
    net.configure { dialect = "my" }
    local url = turns(wire.key(), "ok,503")
    local good = wire.get { url = url, jsonp = true, useStore = true }
    assert.equal(200, good.status)
    local stale = wire.get { url = url, jsonp = true, useStore = true }
    assert.is_true(stale.stale)
    assert.equal(200, stale.status)
    local res = wire.fail { url = turns(wire.key(), "ok"), jsonp = true,
      dataCheck = function() return false end }
    assert.equal("data check error", res.errorMessage)
    assert.equal(12, res.error)
  end)
end)
