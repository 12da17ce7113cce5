-- The frame loop: update, run, wait, pause, close; errors in callbacks; the
-- logger; figures.

local helper = require "helper"
local states = require "support.states"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local BAD_URL = "http://127.0.0.1:0x/"

describe("the frame loop", function()
  after_each(function()
    net.resume()
    net.setLogger(nil)
    states.verify()
  end)

  -- n tasks whose last event, and nothing else, waits on the host side.
  local function refused(n, callback)
    local tasks = {}
    for i = 1, n do
      tasks[i] = net.request {
        url = BAD_URL, fail = callback and function(res)
          return callback(i, res)
        end,
      }
    end
    net.setLogger(function() end)
    return tasks
  end

  -- n streams of pieces that wait to be delivered, `count` of each at least.
  local function streams(n, count, callback)
    local tasks = {}
    net.pause()
    for i = 1, n do
      tasks[i] = net.request {
        enableChunked = true, fail = helper.never("fail"),
        url = ("%s/stream?chunks=%d&size=16384&key=%s"):format(fault.http,
          count, states.key()),
      }
      tasks[i]:onChunkReceived(function(res) callback(i, res.data) end)
    end
    helper.run_until(function()
      for i = 1, n do
        if tasks[i].state ~= "closing" then return false end
      end
      return true
    end)
    net.resume()
    return tasks
  end

  local function busy(ms)
    local deadline = helper.now() + ms
    while helper.now() < deadline do end
  end

  -- ---- update ---------------------------------------------------------------

  describe("update", function()
    it("of an idle module delivers nothing", function()
      net.close()
      assert.same({ 0, 0 }, { net.update() })
      helper.fetch { url = fault.http .. "/" }
      assert.same({ 0, 0 }, { net.update() })
      assert.same({ 0, 0 }, { net.update(1) })
      assert.same({ 0, 0 }, { net.update(nil, 1) })
    end)

    it("is where callbacks run, not the call that starts", function()
      local inside = true
      local function outside() assert.is_false(inside) end
      local refusals = net.stats().refusals
      for _, url in ipairs { BAD_URL, fault.http .. "/", "ftp://a/", "" } do
        local task = net.request {
          url = url, complete = helper.expect(1, outside),
        }
        task:onHeadersReceived(outside)
        task:abort()
        net.wait(5)
      end
      -- A wrong type is told in the same way.
      local task = net.request { complete = helper.expect(1, outside) }
      assert.equal("closing", task.state)
      inside = false
      helper.run_until_met()
      -- The record of what was refused comes in spite of the abort; then it
      -- does not count as one of the next test's events.
      helper.run_until(function() return net.stats().refusals > refusals end)
    end)

    it("counts what it delivered and what waits", function()
      refused(5)
      assert.same({ 0, 5 }, { net.update(nil, 0) })
      assert.same({ 2, 3 }, { net.update(nil, 2) })
      assert.same({ 3, 0 }, { net.update(nil, 100) })
      assert.same({ 0, 0 }, { net.update() })
    end)

    it("delivers in the order in which tasks ended", function()
      local order = {}
      refused(20, function(i) order[#order + 1] = i end)
      net.update(nil, 7)
      assert.equal(7, #order)
      net.update()
      for i = 1, 20 do
        assert.equal(i, order[i])
      end
    end)

    it("starts no callback once the budget is spent", function()
      local calls = 0
      refused(20, function()
        calls = calls + 1
        busy(5)
      end)
      local delivered, waiting = net.update(12)
      assert.equal(calls, delivered)
      assert.equal(20, delivered + waiting)
      assert.is_true(delivered >= 1 and delivered <= 3, delivered)
      local frames = 1
      while waiting > 0 and frames < 25 do
        delivered, waiting = net.update(12)
        assert.is_true(delivered >= 1 and delivered <= 3, delivered)
        frames = frames + 1
      end
      assert.equal(20, calls)
      assert.is_true(frames >= 7)
    end)

    it("with no time left delivers nothing and loses nothing", function()
      refused(3)
      assert.same({ 0, 3 }, { net.update(0) })
      assert.same({ 0, 3 }, { net.update(-1) })
      assert.same({ 0, 3 }, { net.update(0, 10) })
      assert.same({ 3, 0 }, { net.update() })
    end)

    it("takes both limits at once", function()
      refused(10)
      assert.same({ 4, 6 }, { net.update(10000, 4) })
      assert.same({ 6, 0 }, { net.update(10000) })
    end)

    it("delivers only what had arrived when it was called", function()
      local turns = 0
      local function again()
        turns = turns + 1
        if turns < 5 then
          net.request { url = BAD_URL, fail = again }
        end
      end
      again()
      for i = 2, 5 do
        local delivered, waiting = net.update()
        assert.equal(1, delivered)
        assert.equal(i, turns)
        assert.equal(0, waiting)
      end
      assert.same({ 0, 0 }, { net.update() })
    end)

    it("serves tasks in turn", function()
      local calls = { 0, 0, 0 }
      streams(3, 20, function(i) calls[i] = calls[i] + 1 end)
      local delivered, waiting
      repeat
        delivered, waiting = net.update(nil, 3)
        if waiting >= 20 then
          local least = math.min(calls[1], calls[2], calls[3])
          local most = math.max(calls[1], calls[2], calls[3])
          assert.is_true(most - least <= 1, most - least)
        end
      until delivered == 0
      assert.equal(0, waiting)
      for i = 1, 3 do
        assert.is_true(calls[i] >= 20)
      end
    end)

    it("lets a small task through beside a large one", function()
      local done = false
      local chunks = 0
      streams(1, 40, function()
        chunks = chunks + 1
      end)
      net.request { url = BAD_URL, fail = function() done = true end }
      for _ = 1, 3 do
        net.update(nil, 2)
      end
      assert.is_true(done)
      assert.is_true(chunks <= 6)
      assert.is_true(net.run(5000))
    end)

    it("raises inside a callback", function()
      local errors = {}
      local function try(_, res)
        assert.equal(600009, res.errno)
        for i, f in ipairs { net.update, net.run } do
          local ok, err = pcall(f)
          errors[i] = not ok and err
        end
      end
      refused(1, helper.expect(1, try))
      refused(1, helper.expect(1))
      assert.same({ 2, 0 }, { net.update() })
      assert.matches("update%(%) called inside a callback", errors[1])
      assert.matches("run%(%) called inside a callback", errors[2])
      -- And works again afterwards.
      refused(1)
      assert.same({ 1, 0 }, { net.update() })
    end)

    it("raises for wrong arguments", function()
      refused(1)
      for _, wrong in ipairs { "x", {}, true, print, 0 / 0 } do
        assert.is_false(pcall(net.update, wrong))
        assert.is_false(pcall(net.update, nil, wrong))
      end
      assert.is_false(pcall(net.update, nil, -1))
      assert.same({ 1, 0 }, { net.update() })
    end)

    it("takes huge numbers for no limit", function()
      refused(2)
      assert.same({ 1, 1 }, { net.update(math.huge, 1) })
      assert.same({ 1, 0 }, { net.update(1e300, math.huge) })
    end)
  end)

  -- ---- Coroutines -----------------------------------------------------------

  describe("callbacks", function()
    -- The main coroutine: nil on 5.1.
    local function running() return (coroutine.running()) or "main" end

    it("run on the coroutine that updates", function()
      local at
      local function note() at = running() end
      local record
      coroutine.wrap(function()
        record = helper.start { url = fault.http .. "/", success = note }
        record.task:onHeadersReceived(note)
      end)()
      collectgarbage()
      helper.run_until(function() return record.done end)
      assert.equal(running(), at)

      local updates = coroutine.create(function()
        refused(1, note)
        net.update()
        return running()
      end)
      local ok, self = coroutine.resume(updates)
      assert.is_true(ok, self)
      assert.equal(updates, self)
      assert.equal(updates, at)
    end)

    it("of one task may run on several coroutines", function()
      local seen = {}
      local task = streams(1, 6, function() seen[#seen + 1] = running() end)[1]
      for _ = 1, 20 do
        coroutine.wrap(function() net.update(nil, 1) end)()
      end
      net.run(5000)
      assert.equal("done", task.state)
      assert.is_true(#seen >= 6)
      for i = 2, 4 do
        assert.are_not.equal(seen[i - 1], seen[i])
      end
    end)

    it("cannot yield across update", function()
      local what
      net.onError(function(_, _, at) what = at end)
      local self = coroutine.create(function()
        refused(1, function() coroutine.yield() end)
        net.update()
        return "went on"
      end)
      local ok, result = coroutine.resume(self)
      assert.is_true(ok)
      assert.equal("went on", result)
      assert.matches("^RequestTask #%d+ fail$", what)
    end)

    it("may resume the coroutine that waits for them", function()
      local result
      local self = coroutine.create(function()
        local me = coroutine.running()
        net.request {
          url = fault.http .. "/",
          complete = function(res) assert(coroutine.resume(me, res)) end,
        }
        result = coroutine.yield()
      end)
      assert(coroutine.resume(self))
      helper.run_until(function() return result end)
      assert.equal(200, result.statusCode)
      assert.equal("dead", coroutine.status(self))
    end)

    it("survive the death of the coroutine that started", function()
      local record
      local co = coroutine.create(function()
        record = helper.start { url = fault.http .. "/delay?ms=20" }
        error("dies")
      end)
      assert.is_false(coroutine.resume(co))
      co = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      helper.run_until(function() return record.done end)
      assert.equal(200, record.complete.statusCode)
    end)

    it("may start tasks", function()
      local ends = 0
      local function chain(left)
        net.request {
          url = fault.http .. "/",
          success = helper.expect(1, function()
            if left > 0 then chain(left - 1) end
          end),
          complete = function() ends = ends + 1 end,
        }
      end
      chain(5)
      helper.run_until(function() return ends == 6 end)
    end)

    it("may collect garbage", function()
      local record = helper.start {
        url = fault.http .. "/headers-odd",
        success = function() collectgarbage() end,
      }
      record.task:onHeadersReceived(function() collectgarbage() end)
      helper.run_until(function() return record.done end)
      assert.equal("ok", record.complete.data)
    end)
  end)

  -- ---- Errors ---------------------------------------------------------------

  describe("an error in a callback", function()
    local reports

    before_each(function()
      reports = {}
      net.onError(function(...)
        reports[#reports + 1] = { n = select("#", ...), ... }
      end)
    end)

    it("goes to onError with a traceback and its place", function()
      local function explode_in_success() error("boom") end
      local record = helper.start { url = fault.http .. "/" }
      local task = net.request {
        url = fault.http .. "/", success = explode_in_success,
      }
      helper.run_until(function()
        return record.done and task.state == "done"
      end)
      assert.equal(1, #reports)
      assert.equal(3, reports[1].n)
      local err, traceback, what = (table.unpack or unpack)(reports[1])
      assert.matches("update_spec%.lua:%d+: boom$", err)
      assert.matches("^stack traceback:\n", traceback)
      assert.matches("update_spec%.lua:%d+: in ", traceback)
      assert.is_nil(traceback:find("boom", 1, true))
      assert.equal(("RequestTask #%d success"):format(task.id), what)
    end)

    it("names each kind of callback", function()
      local id
      local function whats(options, listen)
        reports = {}
        options.success, options.fail, options.complete = error, error, error
        local task = net.request(options)
        if listen then
          task:onHeadersReceived(error)
          task:onChunkReceived(error)
        end
        id = task.id
        assert.is_true(net.run(5000))
        local list = {}
        for i, report in ipairs(reports) do
          list[i] = report[3]:match("^RequestTask #" .. ("%d"):format(id)
            .. " (.*)$")
        end
        return list
      end
      assert.same({ "success", "complete" }, whats { url = fault.http .. "/" })
      assert.same({ "fail", "complete" }, whats { url = fault.refused .. "/" })
      assert.same({ "onHeadersReceived", "onChunkReceived", "success",
        "complete" }, whats({
          url = fault.http .. "/stream?chunks=1&size=1", enableChunked = true,
        }, true))
    end)

    it("keeps the error as it was thrown", function()
      local thrown = { {}, setmetatable({}, { __tostring = error }), print,
        true, 42, helper.start { url = BAD_URL }.task }
      net.run(5000)
      for i, value in ipairs(thrown) do
        refused(1, function() error(value, 0) end)
        net.update()
        assert.is_true(rawequal(value, reports[i][1]))
        assert.matches("^stack traceback:", reports[i][2])
      end
    end)

    it("may be nil", function()
      refused(1, function() error() end)
      refused(1, function() error(nil) end)
      net.update()
      assert.equal(2, #reports)
      for i = 1, 2 do
        assert.is_nil(reports[i][1])
        assert.equal("string", type(reports[i][2]))
        assert.matches("fail$", reports[i][3])
      end
    end)

    it("does not stop the frame", function()
      local ends = 0
      for i = 1, 6 do
        net.request {
          url = BAD_URL,
          fail = helper.expect(1, function()
            if i % 2 == 0 then error("one of them") end
          end),
          complete = helper.expect(1, function() ends = ends + 1 end),
        }
      end
      assert.same({ 6, 0 }, { net.update() })
      assert.equal(6, ends)
      assert.equal(3, #reports)
    end)

    it("of the stack is one like any other", function()
      local function deep() return 1 + deep() end
      refused(1, deep)
      refused(1, helper.expect(1))
      assert.equal(2, (net.update()))
      assert.equal(1, #reports)
      assert.matches("overflow", reports[1][1])
    end)

    it("in onError goes to the logger, and so does the first", function()
      local lines = {}
      net.onError(function(err) error("onError broke over " .. err, 0) end)
      refused(1, function() error("first", 0) end)
      net.setLogger(function(level, text)
        lines[#lines + 1] = level .. " " .. text
      end)
      assert.same({ 1, 0 }, { net.update() })
      assert.equal(2, #lines)
      assert.matches("^error .*onError broke over first", lines[1])
      assert.matches("^error RequestTask #%d+ fail: first\nstack traceback:",
        lines[2])
    end)

    it("without onError goes to the logger", function()
      for i = 1, 2 do
        local lines = {}
        net.onError(i == 1 and false or nil)
        refused(1, function() error({}) end)
        net.setLogger(function(level, text)
          lines[#lines + 1] = level .. " " .. text
        end)
        net.update()
        assert.equal(1, #lines)
        assert.matches("^error RequestTask #%d+ fail: table: 0x%x+\n"
          .. "stack traceback:", lines[1])
      end
    end)

    it("whose text cannot be made is logged all the same", function()
      local lines = {}
      net.onError(nil)
      local mute = setmetatable({}, { __tostring = function()
        error("no text")
      end })
      refused(1, function() error(mute) end)
      net.setLogger(function(_, text) lines[#lines + 1] = text end)
      net.update()
      assert.equal(1, #lines)
      assert.matches("fail: .*no text", lines[1])
    end)

    it("that onError and the logger refuse goes to stderr", function()
      local result = helper.lua [[
        local net = require "nettask"
        net.onError(error)
        net.setLogger(error)
        net.request { fail = function() error("lost?") end }
        print(net.update())]]
      assert.equal("1\t0\n", result.out)
      assert.matches("nettask: error: .*lost%?", result.err)
      assert.equal(0, result.status)
    end)

    it("finds update and onError usable", function()
      local inside
      net.onError(function()
        inside = { pcall(net.update) }
        net.request { url = BAD_URL, fail = helper.expect(1) }
      end)
      refused(1, error)
      net.update()
      assert.is_false(inside[1])
      assert.same({ 1, 0 }, { net.update() })
    end)
  end)

  it("onError and setLogger take functions alone", function()
    for _, name in ipairs { "onError", "setLogger" } do
      for _, wrong in ipairs { 1, "f", {}, true } do
        local ok, err = pcall(net[name], wrong)
        assert.is_false(ok)
        assert.matches(name, err)
        assert.matches("function expected", err)
      end
      net[name](false)
      net[name]()
    end
  end)

  -- ---- The logger -----------------------------------------------------------

  describe("the logger", function()
    local function logged(script)
      local result = helper.lua("local net = require 'nettask'\n" .. script)
      assert.equal(0, result.status, result.err)
      return result.err, result.out
    end

    it("writes to stderr from the start, debug excepted", function()
      local err, out = logged [[
        net.request { url = "http://127.0.0.1:0x/p?secret=1" }
        net.update()
        net.request { url = "http://127.0.0.1:1/" }:abort()
        net.update()]]
      assert.equal("", out)
      assert.matches("^nettask: warn: .*nobody handles it: [^\n]*\n$", err)
    end)

    it("gets what nobody handles, once and without secrets", function()
      local lines = {}
      net.setLogger(function(level, text)
        lines[#lines + 1] = level .. " " .. text
      end)
      net.request {
        url = fault.refused:gsub("//", "//user:password@") .. "/a?token=1",
      }
      assert.is_true(net.run(5000))
      assert.equal(1, #lines)
      assert.matches("^warn GET http://127%.0%.0%.1:%d+/a failed", lines[1])
      assert.is_nil(lines[1]:find("password", 1, true))
      assert.is_nil(lines[1]:find("token", 1, true))
      lines = {}
      net.request { url = fault.refused .. "/", fail = function() end }
      net.request { url = fault.refused .. "/", complete = function() end }
      assert.is_true(net.run(5000))
      assert.same({}, lines)
    end)

    it("that raises loses no line", function()
      local err = logged [[
        net.setLogger(function() error("logger") end)
        net.request {}
        net.update()]]
      assert.matches("^nettask: warn: .*nobody handles it", err)
    end)

    it("may be taken away again", function()
      local err, out = logged [[
        net.setLogger(function(level) print(level) end)
        net.request {}
        net.update()
        net.setLogger()
        net.request {}
        net.update()]]
      assert.equal("warn\n", out)
      assert.matches("^nettask: warn: ", err)
    end)

    it("is the same by configure", function()
      local lines = 0
      net.configure { logger = function() lines = lines + 1 end }
      net.request {}
      net.update()
      assert.equal(1, lines)
      net.configure { limits = {} }
      net.request {}
      net.update()
      assert.equal(2, lines)
    end)

    it("says an unknown option once", function()
      local lines = {}
      net.setLogger(function(level, text)
        lines[#lines + 1] = level .. " " .. text
      end)
      for _ = 1, 3 do
        net.request { url = BAD_URL, sucess = print, fail = function() end }
      end
      net.run(5000)
      assert.equal(1, #lines)
      assert.matches('^warn .*"sucess".*"success"', lines[1])
    end)
  end)

  -- ---- run and wait ---------------------------------------------------------

  describe("run", function()
    it("returns when no task is in flight", function()
      assert.is_true(net.run())
      assert.is_true(net.run(0))
      local ends = 0
      for _ = 1, 15 do
        net.request { url = fault.http .. "/",
          complete = function() ends = ends + 1 end }
      end
      assert.is_true(net.run())
      assert.equal(15, ends)
    end)

    it("waits for tasks that callbacks start", function()
      local ends = 0
      local function chain(left)
        net.request { url = fault.http .. "/", complete = function()
          ends = ends + 1
          if left > 1 then chain(left - 1) end
        end }
      end
      chain(4)
      assert.is_true(net.run(5000))
      assert.equal(4, ends)
    end)

    it("gives up when the time is over", function()
      local record = states.enter "sent"
      local start = helper.now()
      assert.is_false(net.run(60))
      local took = helper.now() - start
      assert.is_true(took >= 55, took)
      assert.is_true(took < 1000 * helper.slow, took)
      assert.is_false(net.run(0))
      assert.is_false(record.done)
      record.task:abort()
    end)

    it("sleeps rather than spins", function()
      local record = states.enter "sent"
      local clock = os.clock()
      assert.is_false(net.run(200))
      assert.is_true(os.clock() - clock < 0.1)
      record.task:abort()
    end)

    it("while paused returns false at once", function()
      local record = states.enter "sent"
      net.pause()
      local start = helper.now()
      assert.is_false(net.run(5000))
      assert.is_true(helper.now() - start < 1000)
      net.resume()
      record.task:abort()
    end)

    it("ends when a callback closes the net", function()
      states.enter "sent"
      refused(1, function() net.close() end)
      assert.is_true(net.run(5000))
    end)

    it("takes a number or nothing", function()
      for _, wrong in ipairs { "x", {}, true } do
        assert.is_false(pcall(net.run, wrong))
        assert.is_false(pcall(net.wait, wrong))
      end
    end)
  end)

  describe("wait", function()
    it("tells that an event is ready, and delivers none", function()
      local called = false
      refused(1, function() called = true end)
      assert.is_true(net.wait(0))
      assert.is_true(net.wait(1000))
      assert.is_true(net.wait())
      assert.is_false(called)
      net.update()
      assert.is_true(called)
    end)

    it("is woken by an answer", function()
      local record = helper.start { url = fault.http .. "/delay?ms=30" }
      local start = helper.now()
      assert.is_true(net.wait(5000))
      assert.is_true(helper.now() - start < 4000)
      assert.same({}, record.order)
    end)

    it("gives up when the time is over", function()
      assert.is_false(net.wait(0))
      local start = helper.now()
      assert.is_false(net.wait(30))
      assert.is_true(helper.now() - start >= 29)
    end)

    it("without a time and a task returns at once", function()
      local start = helper.now()
      assert.is_false(net.wait())
      assert.is_true(helper.now() - start < 1000)
    end)

    it("is allowed in a callback", function()
      local ready
      refused(1, function() ready = net.wait(0) end)
      refused(1)
      net.update()
      assert.is_true(ready)
    end)
  end)

  -- ---- pause ----------------------------------------------------------------

  describe("pause", function()
    it("stops delivery and not the work", function()
      local record = helper.start { url = fault.http .. "/" }
      net.pause()
      helper.run_until(function() return record.task.state == "closing" end)
      assert.same({ 0, 2 }, { net.update() })
      assert.same({ 0, 2 }, { net.update(100, 100) })
      assert.same({}, record.order)
      net.resume()
      assert.same({ 2, 0 }, { net.update() })
      assert.same({ "headers", "success", "complete" }, record.order)
    end)

    it("may be repeated, and so may resume", function()
      refused(2)
      net.pause()
      net.pause()
      assert.same({ 0, 2 }, { net.update() })
      net.resume()
      assert.same({ 2, 0 }, { net.update() })
      net.resume()
    end)

    it("in a callback holds back the rest", function()
      local calls = 0
      refused(3, function()
        calls = calls + 1
        if calls == 1 then net.pause() end
      end)
      assert.same({ 1, 2 }, { net.update() })
      assert.same({ 0, 2 }, { net.update() })
      net.resume()
      assert.same({ 1, 1 }, { net.update(nil, 1) })
      assert.same({ 1, 0 }, { net.update() })
    end)

    it("ends under the budget", function()
      net.pause()
      refused(10, function() busy(3) end)
      net.update()
      net.resume()
      local delivered, waiting = net.update(5)
      assert.is_true(delivered >= 1 and delivered <= 2)
      assert.equal(10, delivered + waiting)
    end)

    it("ends with close", function()
      net.pause()
      net.request { url = BAD_URL, fail = helper.never() }
      net.close()
      local record = helper.fetch { url = fault.http .. "/" }
      assert.equal("request:ok", record.complete.errMsg)
    end)

    it("before the first use holds as well", function()
      net.close()
      net.pause()
      refused(1)
      assert.same({ 0, 1 }, { net.update() })
      net.resume()
      assert.same({ 1, 0 }, { net.update() })
    end)
  end)

  -- ---- close ----------------------------------------------------------------

  describe("close", function()
    it("ends everything without a callback", function()
      for _, name in ipairs(states.names) do
        local record = states.enter(name)
        local before = #record.order
        net.close()
        net.update()
        assert.is_true(net.run(0))
        assert.equal(before, #record.order, name)
        assert.equal("done", record.task.state)
        assert.equal(0, net.stats().live)
      end
    end)

    it("takes no time in any state", function()
      for _, name in ipairs(states.names) do
        states.enter(name)
        local start = helper.now()
        net.close(5000)
        assert.is_true(helper.now() - start < 400 * helper.slow, name)
      end
    end)

    it("may be repeated, and what follows starts afresh", function()
      for _ = 1, 3 do
        net.close()
        net.close()
        assert.same({ 0, 0 }, { net.update() })
        local record = helper.fetch { url = fault.http .. "/" }
        assert.equal("request:ok", record.complete.errMsg)
      end
    end)

    it("takes a deadline", function()
      states.enter "sent"
      net.close(250.5)
      states.enter "sent"
      net.close(math.huge)
      states.enter "sent"
      assert.is_false(pcall(net.close, "soon"))
      assert.is_false(pcall(net.close, {}))
      net.close(nil)
    end)

    -- What a request and another one beside it call, when the callback `at`
    -- closes. All their events wait before the first is delivered.
    local function calls_until_close(options, at)
      local calls = {}
      local function note(name)
        return function()
          calls[#calls + 1] = name
          if name == at then net.close() end
        end
      end
      local function start(prefix, given)
        given.success = note(prefix .. "success")
        given.fail = note(prefix .. "fail")
        given.complete = note(prefix .. "complete")
        local task = net.request(given)
        task:onHeadersReceived(note(prefix .. "headers"))
        task:onHeadersReceived(note(prefix .. "more headers"))
        task:onChunkReceived(note(prefix .. "chunk"))
        task:onChunkReceived(note(prefix .. "more chunk"))
        helper.run_until(function() return task.state == "closing" end)
        return task
      end
      net.setLogger(function() end)
      net.pause()
      local task = start("", options)
      local other = start("other ", { url = fault.http .. "/" })
      net.resume()
      net.update()
      net.update()
      assert.equal("done", task.state)
      assert.equal("done", other.state)
      return calls
    end

    it("in onHeadersReceived", function()
      assert.same({ "headers" },
        calls_until_close({ url = fault.http .. "/" }, "headers"))
    end)

    it("in onChunkReceived", function()
      assert.same({ "headers", "more headers", "other headers",
        "other more headers", "chunk" }, calls_until_close({
          url = fault.http .. "/stream?chunks=3&key=" .. states.key(),
          enableChunked = true,
        }, "chunk"))
    end)

    it("in success", function()
      assert.same({ "headers", "more headers", "other headers",
        "other more headers", "success" },
        calls_until_close({ url = fault.http .. "/" }, "success"))
    end)

    it("in fail", function()
      assert.same({ "fail" },
        calls_until_close({ url = fault.refused .. "/" }, "fail"))
    end)

    it("in complete", function()
      assert.same({ "headers", "more headers", "other headers",
        "other more headers", "success", "complete" },
        calls_until_close({ url = fault.http .. "/" }, "complete"))
    end)

    it("in a callback lets that callback start anew", function()
      local done
      refused(1, function()
        net.close()
        net.request { url = fault.http .. "/",
          complete = function(res) done = res end }
      end)
      refused(1, helper.never("what the close has ended"))
      assert.equal(1, (net.update()))
      helper.run_until(function() return done end)
      assert.equal(200, done.statusCode)
    end)

    it("in a callback that raises afterwards reports the error", function()
      local reported
      net.onError(function(err) reported = err end)
      refused(1, function()
        net.close()
        error("after close", 0)
      end)
      net.update()
      assert.equal("after close", reported)
    end)

    it("in a finaliser while results are made harms nobody", function()
      -- A collector that runs a finaliser in the middle of update().
      local result = helper.lua [[
        local helper = require "helper"
        local net = helper.net
        local function armed()
          local object = newproxy and newproxy(true)
          local function gc() net.close() end
          if object then
            getmetatable(object).__gc = gc
          else
            setmetatable({}, { __gc = gc })
          end
        end
        collectgarbage("setpause", 0)
        collectgarbage("setstepmul", 1000)
        for i = 1, 30 do
          for j = 1, 3 do
            net.request {
              url = helper.servers.fault.http .. "/headers-odd",
              complete = function() end,
            }:onHeadersReceived(function() end)
          end
          armed()
          net.wait(20)
          net.update()
        end
        net.close()
        print("whole")]]
      assert.equal("", result.err)
      assert.equal("whole\n", result.out)
      assert.equal(0, result.status)
    end)
  end)

  -- ---- Figures --------------------------------------------------------------

  describe("stats", function()
    it("counts tasks by their state", function()
      local zero = { idle = 0, queued = 0, connecting = 0, open = 0,
        closing = 0 }
      assert.same(zero, net.stats().request)
      for _, name in ipairs { "connecting", "sent", "headers", "ended" } do
        local record = states.enter(name)
        local stats = net.stats()
        zero[states.shown[name]] = 1
        assert.same(zero, stats.request)
        zero[states.shown[name]] = 0
        assert.equal(1, stats.live)
        states.leave(record)
        assert.is_true(net.run(5000))
      end
      local queued = states.enter "queued"
      local stats = net.stats()
      assert.equal(1, stats.request.queued)
      assert.equal(10, stats.request.connecting)
      assert.equal(11, stats.live)
      states.leave(queued)
      assert.is_true(net.run(5000))
      assert.same(zero, net.stats().request)
      assert.equal(0, net.stats().live)
    end)

    it("counts what waits", function()
      assert.equal(0, net.stats().queuedEvents)
      assert.equal(0, net.stats().queuedBytes)
      local record = states.enter "chunk"
      local stats = net.stats()
      assert.is_true(stats.queuedEvents >= 3)
      assert.is_true(stats.queuedBytes >= 2 * 16384)
      states.leave(record)
      assert.is_true(net.run(5000))
      assert.equal(0, net.stats().queuedEvents)
      assert.equal(0, net.stats().queuedBytes)
    end)

    it("counts bytes in and out", function()
      net.close()
      assert.equal(0, net.stats().bytesIn)
      assert.equal(0, net.stats().bytesOut)
      helper.fetch { url = servers.nginx.http .. "/big" }
      local stats = net.stats()
      assert.is_true(stats.bytesIn > 1048576)
      assert.is_true(stats.bytesIn < 1048576 + 2000)
      assert.is_true(stats.bytesOut > 50 and stats.bytesOut < 1000)
      helper.fetch { url = fault.http .. "/raw", method = "POST",
        data = ("x"):rep(100000) }
      stats = net.stats()
      assert.is_true(stats.bytesIn > 1148576)
      assert.is_true(stats.bytesOut > 100000)
    end)

    it("has the longest callback and update since the last call", function()
      -- Any callback is the longest when the machine takes the core away in it.
      local stats, wanted
      local tries = 0
      repeat
        tries = tries + 1
        net.stats()
        net.request { url = BAD_URL, fail = function() end }
        local task = net.request { url = BAD_URL,
          fail = function() busy(20) end }
        net.request { url = BAD_URL, fail = function() end }
        net.update()
        stats = net.stats()
        assert.is_true(stats.longestCallbackMs >= 20)
        assert.is_true(stats.longestUpdateMs >= stats.longestCallbackMs)
        wanted = ("RequestTask #%d fail"):format(task.id)
      until stats.longestCallback == wanted or tries == 10
      assert.equal(wanted, stats.longestCallback)
      stats = net.stats()
      assert.equal(0, stats.longestCallbackMs)
      assert.equal(0, stats.longestUpdateMs)
      assert.is_nil(stats.longestCallback)
    end)

    it("is all zero when nothing was used", function()
      local result = helper.lua [[
        local stats = require("nettask").stats()
        for key, value in pairs(stats) do
          assert(type(value) == "table" or value == 0, key)
        end
        print(stats.droppedDatagrams)]]
      assert.equal("", result.err)
      assert.equal("0\n", result.out)
    end)
  end)

  it("features names the libraries and what they can do", function()
    local features = net.features
    for _, name in ipairs { "nettask", "libuv", "libcurl" } do
      assert.matches("^%d+%.%d+%.%d+", features[name], name)
    end
    assert.matches("^%w+SSL/%d", features.tls)
    for _, name in ipairs { "http2", "http3", "brotli", "zstd", "idn", "mdns",
      "cache" } do
      assert.equal("boolean", type(features[name]), name)
    end
    assert.equal("nettask " .. features.nettask, net._VERSION)
    assert.matches("^nettask %d+%.%d+%.%d+$", net._VERSION)
  end)
end)
