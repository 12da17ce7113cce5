-- Promises: every task is one. Handlers, chains, adoption, what nobody handles,
-- all() and race(), sleep(), and when it all runs.

local helper = require "helper"

local net, servers = helper.net, helper.servers
local never, run_until_met = helper.never, helper.run_until_met

local function expect(...)
  return (helper.expect(...))
end

describe("a promise", function()
  after_each(function()
    net.setLogger(nil)
    helper.verify()
  end)

  local function ok_url()
    return servers.fault.http .. "/"
  end

  local function refused_url()
    return servers.fault.refused .. "/"
  end

  -- Everything that is logged from now on, as "level: text".
  local function catch_log()
    local lines = {}
    net.setLogger(function(level, text)
      lines[#lines + 1] = level .. ": " .. text
    end)
    return lines
  end

  -- What goes to net.onError from now on: a list of { err, traceback, what }.
  local function catch_errors()
    local list = {}
    net.onError(function(...) list[#list + 1] = { ... } end)
    return list
  end

  -- A task that has ended well.
  local function ended()
    local task = net.sleep(0)
    assert.is_true(net.run(5000))
    assert.equal("done", task.state)
    return task
  end

  -- ---- Of each kind of task -------------------------------------------------

  describe("of a task", function()
    it("#7 resolves with what success gets", function()
      local task = net.request { url = ok_url() }
      local result = task:next(expect(1, function(res)
        assert.equal("request:ok", res.errMsg)
        assert.equal(200, res.statusCode)
        assert.equal("done", task.state)
        assert.is_false(pcall(net.update)) -- we are inside of it
      end), never())
      assert.equal("nettask.Promise (pending)", tostring(result))
      run_until_met()
      assert.equal("nettask.Promise (resolved)", tostring(result))
    end)

    it("#7 rejects with what fail gets", function()
      local result = net.request { url = refused_url() }:next(never())
      result:catch(expect(1, function(err)
        assert.equal(-102, err.errCode)
        assert.matches("^request:fail %-102:net::", err.errMsg)
      end))
      run_until_met()
      assert.equal("nettask.Promise (rejected)", tostring(result))
    end)

    it("#7 has `then` under its own name", function()
      local task = net.request { url = ok_url() }
      assert.equal(task.next, task["then"])
      task["then"](task, expect(1, function(res)
        assert.equal(200, res.statusCode)
      end))
      run_until_met()
    end)

    it("#8 settles after the callbacks, with the same table", function()
      local order, seen = {}, {}
      local function note(name)
        return expect(1, function(res)
          order[#order + 1] = name
          seen[#seen + 1] = res
        end)
      end
      net.request { url = ok_url(), success = note "success",
        complete = note "complete" }:next(note "next"):next(function(res)
          assert.is_nil(res)
        end)
      run_until_met()
      net.request { url = refused_url(), fail = note "fail",
        complete = note "complete" }:catch(note "catch")
      run_until_met()
      assert.same({ "success", "complete", "next", "fail", "complete",
        "catch" }, order)
      assert.is_true(rawequal(seen[1], seen[3]))
      assert.is_true(rawequal(seen[4], seen[6]))
    end)

    it("#111 is what a download is", function()
      local task = net.downloadFile { url = ok_url() }
      task:next(expect(1, function(res)
        assert.equal("downloadFile:ok", res.errMsg)
        assert.equal("string", type(res.tempFilePath))
      end))
      assert.equal("function", type(task.onProgressUpdate))
      run_until_met()
      local aborted = net.downloadFile { url = servers.fault.silent .. "/" }
      aborted:catch(expect(1, function(err)
        assert.equal("downloadFile:fail abort", err.errMsg)
      end))
      aborted:abort()
      run_until_met()
    end)

    it("#111 has Taro's names for the listeners of a file task", function()
      local function watch(task)
        local percent
        local same = task:headersReceive(expect(1, function(res)
          assert.equal("table", type(res.header))
        end)):progress(function(res) percent = res.progress end)
        assert.is_true(rawequal(task, same))
        task:next(expect(1, function() assert.equal(100, percent) end))
        for _, name in ipairs { "headersReceive", "progress" } do
          assert.is_false(pcall(task[name], task, 5))
        end
      end
      watch(net.downloadFile { url = servers.demo .. "/bytes/10" })
      watch(net.uploadFile { url = servers.demo .. "/upload", files = {
        { name = "file", data = "bytes" } } })
      run_until_met()
    end)

    it("is what an upload is", function()
      net.uploadFile { url = servers.demo .. "/upload", files = {
        { name = "file", data = "bytes", fileName = "a.txt" } } }
        :next(expect(1, function(res)
          assert.equal("uploadFile:ok", res.errMsg)
        end))
      net.uploadFile { url = ok_url() }:catch(expect(1, function(err)
        assert.equal(1001, err.errno)
      end))
      run_until_met()
    end)

    it("of a socket tells that it was accepted, or was not", function()
      local url = servers.demo_ws
      local bare = net.connectSocket { url = url }
      bare:next(expect(1, function(res)
        assert.equal("connectSocket:ok", res.errMsg)
        assert.equal(bare.socketTaskId, res.socketTaskId)
        bare:close()
      end))
      local order = {}
      local socket = net.connectSocket { url = url,
        success = function() order[#order + 1] = "success" end,
        complete = function() order[#order + 1] = "complete" end }
      socket:next(expect(1, function(res)
        order[#order + 1] = "next"
        assert.equal(socket.socketTaskId, res.socketTaskId)
        socket:close()
      end))
      net.connectSocket { url = "nonsense" }:next(never()):catch(
        expect(1, function(err)
          assert.matches("^connectSocket:fail", err.errMsg)
        end))
      run_until_met()
      assert.same({ "success", "complete", "next" }, order)
      socket:next(expect(1))
      run_until_met()
    end)

    it("is still there when the task has ended", function()
      local good = net.request { url = ok_url() }
      local bad = net.request { url = refused_url(), fail = function() end }
      assert.is_true(net.run(5000))
      good:next(expect(1, function(res)
        assert.equal(200, res.statusCode)
      end))
      good:next(function(res) return res end):next(expect(1, function(res)
        assert.equal(200, res.statusCode)
      end))
      bad:catch(expect(1, function(err)
        assert.equal(-102, err.errCode)
      end))
      good:next(function() good:next(expect(1)) end)
      run_until_met()
    end)

    it("of a refused call rejects in a later update", function()
      local seen
      net.request {}:catch(function(err) seen = err end)
      assert.is_nil(seen)
      net.update()
      assert.equal(1001, seen.errno)
    end)

    it("keeps it in flight without anybody holding it", function()
      net.request { url = ok_url() }:next(expect(1))
      collectgarbage()
      collectgarbage()
      run_until_met()
    end)
  end)

  -- ---- Handlers and chains --------------------------------------------------

  describe("chain", function()
    it("passes on what handlers return", function()
      net.sleep(0)
        :next(function(res) return res.errMsg end)
        :next(function(text) return #text, "dropped" end)
        :next(expect(1, function(...)
          assert.equal(1, select("#", ...))
          assert.equal(#"sleep:ok", (...))
        end))
        :next(expect(1, function(value) assert.is_nil(value) return false end))
        :next(expect(1, function(value) assert.is_false(value) end))
      run_until_met()
    end)

    it("passes by where there is no handler", function()
      net.sleep(0):catch(never()):next(nil, never()):next():next(
        expect(1, function(res) assert.equal("sleep:ok", res.errMsg) end))
      local sleep = net.sleep(1000)
      sleep:next(never()):next(never(), nil):next():catch(expect(1,
        function(err) assert.equal("sleep:fail abort", err.errMsg) end))
      sleep:abort()
      run_until_met()
    end)

    it("turns an error into a rejection, whatever was raised", function()
      local object = setmetatable({ code = 7 }, { __tostring = function()
        error "nobody asks for text"
      end })
      net.sleep(0):next(function() error(object) end):next(never())
        :catch(expect(1, function(err)
          assert.is_true(rawequal(object, err))
          error("second", 0)
        end))
        :next(never(), expect(1, function(err)
          assert.equal("second", err)
          error()
        end))
        :catch(expect(1, function(err)
          assert.equal("rejected without a reason", err)
          return "well"
        end))
        :next(expect(1, function(value) assert.equal("well", value) end))
      net.sleep(0):next(function() error(false) end):catch(
        expect(1, function(err) assert.is_false(err) end))
      run_until_met()
    end)

    it("branches, in the order of registration", function()
      local order = {}
      local task = net.sleep(0)
      for i = 1, 5 do
        task:next(function() order[#order + 1] = i end)
      end
      local p = task:next(function() return 1 end)
      p:next(function(value) order[#order + 1] = "a" .. value end)
      p:next(function(value) order[#order + 1] = "b" .. value end)
      assert.is_true(net.run(5000))
      assert.same({ 1, 2, 3, 4, 5, "a1", "b1" }, order)
    end)

    it("adopts the task that a handler returns", function()
      local inner
      net.sleep(0):next(function()
        inner = net.request { url = ok_url() }
        return inner
      end):next(expect(1, function(res)
        assert.equal("done", inner.state)
        assert.equal(200, res.statusCode)
        return net.request { url = refused_url() }
      end)):next(never(), expect(1, function(err)
        assert.equal(-102, err.errCode)
      end))
      run_until_met()
    end)

    it("adopts promises, pending and settled", function()
      local early = net.sleep(0):next(function() return "early" end)
      local failed = net.sleep(0):next(function() error("failed", 0) end)
      failed:catch(function() end)
      assert.is_true(net.run(5000))
      net.sleep(0):next(function() return early end):next(expect(1,
        function(value) assert.equal("early", value) end))
      net.sleep(0):next(function() return failed end):catch(expect(1,
        function(err) assert.equal("failed", err) end))
      net.sleep(0):next(function()
        return net.sleep(5):next(function() return "late" end)
      end):next(expect(1, function(value) assert.equal("late", value) end))
      run_until_met()
    end)

    it("does not wait for itself", function()
      local p
      p = net.sleep(0):next(function() return p end)
      p:catch(expect(1, function(err)
        assert.equal("a promise cannot wait for itself", err)
      end))
      run_until_met()
    end)

    it("goes a thousand deep in one update", function()
      local task, count = net.sleep(0), 0
      local p = task
      for _ = 1, 1000 do
        p = p:next(function() count = count + 1 end)
      end
      helper.run_until(function() return task.state == "done" end)
      assert.equal(1000, count)
      net.sleep(0):next(function() error("deep", 0) end):next(never())
      local first = net.sleep(0)
      p = first:next(function() error("deep", 0) end)
      for _ = 1, 1000 do p = p:next(never()) end
      p:catch(expect(1, function(err) assert.equal("deep", err) end))
      net.onError(function() end)
      run_until_met()
    end)

    it("adopts a thousand deep", function()
      local task = net.sleep(0)
      local p = task:next(function() return "bottom" end)
      for _ = 1, 1000 do
        local inner = p
        p = task:next(function() return inner end)
      end
      p:next(expect(1, function(value) assert.equal("bottom", value) end))
      run_until_met()
      local function descend(n)
        if n == 0 then return "leaf" end
        return task:next(function() return descend(n - 1) end)
      end
      descend(1000):next(expect(1, function(value)
        assert.equal("leaf", value)
      end))
      run_until_met()
    end)
  end)

  describe("finally", function()
    it("runs either way, without arguments, and changes nothing", function()
      net.sleep(0):next(function() return 5 end):finally(expect(1,
        function(value)
          assert.is_nil(value)
          return "ignored"
        end)):next(expect(1, function(value) assert.equal(5, value) end))
      net.sleep(0):next(function() error("why", 0) end):finally(expect(1,
        function(value)
          assert.is_nil(value)
          return "ignored"
        end)):next(never(), expect(1, function(err)
          assert.equal("why", err)
        end))
      run_until_met()
    end)

    it("rejects with its own error", function()
      net.sleep(0):next(function() error("why", 0) end)
        :finally(function() error("other", 0) end)
        :catch(expect(1, function(err) assert.equal("other", err) end))
      run_until_met()
    end)

    it("waits for the promise that it returns", function()
      local woke = false
      net.sleep(0):next(function() return 5 end):finally(function()
        return net.sleep(5):next(function() woke = true end)
      end):next(expect(1, function(value)
        assert.is_true(woke)
        assert.equal(5, value)
      end))
      net.sleep(0):finally(function()
        return net.sleep(0):next(function() error("inner", 0) end)
      end):next(never(), expect(1, function(err)
        assert.equal("inner", err)
      end))
      run_until_met()
    end)
  end)

  -- ---- When it runs ---------------------------------------------------------

  describe("handler", function()
    it("never runs inside the call", function()
      local task = ended()
      local ran = 0
      local function count() ran = ran + 1 end
      task:next(count)
      task:next(count):next(count)
      assert.equal(0, ran)
      local waiting = select(2, net.update(0))
      assert.equal(0, ran)
      assert.equal(1, waiting)
      assert.is_true(net.wait(0))
      net.update()
      assert.equal(3, ran)
      assert.equal(0, (select(2, net.update())))
    end)

    it("runs without a context, too", function()
      net.close()
      local ran = false
      net.all {}:next(function() ran = true end)
      assert.is_true(net.wait(0))
      assert.is_true(net.run(1000))
      assert.is_true(ran)
      ran = false
      net.all {}:next(function() ran = true end)
      net.update()
      assert.is_true(ran)
    end)

    it("may start the context", function()
      net.close()
      net.all {}:next(function() return net.sleep(1) end):next(expect(1))
      assert.is_true(net.run(1000))
    end)

    it("keeps to the budget, in order", function()
      local task = ended()
      local order, updates = {}, 0
      for i = 1, 4 do
        task:next(function()
          order[#order + 1] = i
          local stop_at = helper.now() + 3
          while helper.now() < stop_at do end -- uses up the budget
        end)
      end
      local left
      repeat
        updates = updates + 1
        left = select(2, net.update(1))
        assert.equal(updates, #order)
      until left == 0
      assert.same({ 1, 2, 3, 4 }, order)
    end)

    it("comes before the events that came later", function()
      local task = ended()
      local order = {}
      local function busy(name)
        return function()
          order[#order + 1] = name
          local stop_at = helper.now() + 3
          while helper.now() < stop_at do end
        end
      end
      net.pause()
      net.request { url = ok_url(), success = busy "success" }
      helper.run_until(function() return net.stats().queuedEvents > 0 end)
      task:next(busy "first")
      task:next(busy "second")
      net.resume()
      net.update(1)
      net.update(1)
      assert.same({ "first", "second" }, order)
      assert.is_true(net.run(5000))
      assert.equal("success", order[3])
    end)

    it("stops when it pauses the delivery", function()
      local task = ended()
      local order = {}
      task:next(function()
        order[#order + 1] = 1
        net.pause()
      end)
      task:next(function() order[#order + 1] = 2 end)
      net.update()
      net.update()
      assert.same({ 1 }, order)
      net.resume()
      net.update()
      assert.same({ 1, 2 }, order)
    end)

    it("may close the module, and then nothing more runs", function()
      local task = ended()
      task:next(expect(1, function()
        net.close()
        return "kept"
      end)):next(never())
      task:next(never())
      task:next(never())
      net.update()
      net.update()
      net.sleep(0):next(expect(1))
      run_until_met()
    end)

    it("does not run after close()", function()
      local task = ended()
      task:next(never())
      net.request { url = ok_url() }:next(never())
      net.close()
      net.update()
      assert.is_true(net.run(100))
    end)

    it("may abort the task of another", function()
      local other = net.request { url = servers.fault.silent .. "/" }
      other:next(never(), expect(1, function(err)
        assert.equal("request:fail abort", err.errMsg)
      end))
      net.sleep(0):next(function() other:abort() end)
      run_until_met()
    end)
  end)

  -- ---- What nobody handles --------------------------------------------------

  describe("rejection that nobody handles", function()
    it("goes to onError once, with its traceback", function()
      local list, lines = catch_errors(), catch_log()
      local function culprit() error { code = 1 } end
      local p = net.sleep(0):next(culprit)
      p:next(never()):next(never())
      assert.is_true(net.run(5000))
      assert.equal(1, #list)
      assert.equal(1, list[1][1].code)
      assert.equal("string", type(list[1][2]))
      assert.matches("promise_spec", list[1][2])
      assert.equal("unhandled rejection", list[1][3])
      assert.same({}, lines)
      net.update()
      assert.equal(1, #list)
    end)

    it("is a failure of a task, too, and then no line in the log", function()
      local list, lines = catch_errors(), catch_log()
      net.request { url = refused_url() }:next(never())
      assert.is_true(net.run(5000))
      assert.equal(1, #list)
      assert.equal(-102, list[1][1].errCode)
      assert.same({}, lines)
    end)

    it("is told by its text where there is no onError", function()
      net.onError(nil)
      local lines = catch_log()
      net.request { url = refused_url() }:next(never())
      net.sleep(0):next(function() error("plain", 0) end)
      assert.is_true(net.run(5000))
      table.sort(lines)
      assert.equal(2, #lines)
      assert.matches("^error: unhandled rejection: plain", lines[1])
      assert.matches("rejection: request:fail %-102:net", lines[2])
    end)

    it("is none when the callbacks know", function()
      local list = catch_errors()
      net.request { url = refused_url(), fail = expect(1) }:next(never())
      net.request { url = refused_url(), complete = expect(1) }:next(never())
        :next(never())
      local task = net.request { url = refused_url(), fail = expect(1) }
      assert.is_true(net.run(5000))
      task:next(never())
      net.update()
      assert.same({}, list)
    end)

    it("of an abort is only worth a debug line", function()
      local list, lines = catch_errors(), catch_log()
      local task = net.request { url = servers.fault.silent .. "/" }
      task:next(never())
      task:abort()
      assert.is_true(net.run(5000))
      assert.same({}, list)
      assert.same({ "debug: unhandled rejection: request:fail abort" }, lines)
    end)

    it("counts as handled by whoever comes before its turn", function()
      local list = catch_errors()
      local task = ended()
      local p = task:next(function() error("why", 0) end)
      task:next(function() p:catch(expect(1)) end)
      run_until_met()
      assert.same({}, list)
    end)
  end)

  -- ---- Silence --------------------------------------------------------------

  describe("of a task that is aborted silently", function()
    it("calls nobody", function()
      local task = net.request { url = servers.fault.silent .. "/" }
      task:next(never(), never()):finally(never())
      net.all { task }:next(never(), never())
      task:abort { silent = true }
      assert.is_true(net.run(5000))
    end)

    it("rejects for those who ask afterwards", function()
      local function was_aborted(err)
        assert.equal("request:fail abort", err.errMsg)
        assert.equal(1, err.errno)
      end
      local task = net.request { url = servers.fault.silent .. "/" }
      task:abort { silent = true }
      task:catch(expect(1, was_aborted))
      assert.is_true(net.run(5000))
      task:catch(expect(1, was_aborted))
      run_until_met()
    end)
  end)

  -- ---- all and race ---------------------------------------------------------

  describe("all()", function()
    it("still hears of a failure beside a silent abort", function()
      local quiet, failing = net.sleep(1000), net.sleep(1000)
      net.all { quiet, failing, net.sleep(0) }:next(never(), expect(1))
      net.race { quiet, net.sleep(5) }:next(expect(1), never())
      quiet:abort { silent = true }
      net.sleep(10):next(function() failing:abort() end)
      run_until_met()
    end)

    it("keeps the order", function()
      local slow = net.sleep(20):next(function() return "slow" end)
      net.all { slow, net.sleep(0), "plain", net.request { url = ok_url() },
        false }:next(expect(1, function(list)
          assert.equal("slow", list[1])
          assert.equal("sleep:ok", list[2].errMsg)
          assert.equal("plain", list[3])
          assert.equal(200, list[4].statusCode)
          assert.is_false(list[5])
          assert.equal(5, #list)
        end))
      run_until_met()
    end)

    it("keeps names, and takes the same task twice", function()
      local task = net.sleep(0)
      net.all { a = task, b = task, task }:next(expect(1, function(list)
        assert.equal("sleep:ok", list.a.errMsg)
        assert.is_true(rawequal(list.a, list.b))
        assert.is_true(rawequal(list.a, list[1]))
      end))
      run_until_met()
    end)

    it("of nothing resolves", function()
      net.all {}:next(expect(1, function(list) assert.same({}, list) end))
      run_until_met()
    end)

    it("rejects with the first failure, and the others go on", function()
      local slow = net.sleep(100000)
      local first, second = net.sleep(1000), net.sleep(1000)
      net.all { slow, second, first }:next(never(), expect(1, function(err)
        assert.equal("sleep:fail abort", err.errMsg)
        assert.equal("open", slow.state)
      end))
      first:abort()
      second:abort()
      run_until_met()
      slow:abort()
    end)

    it("wants a table", function()
      assert.has_error(function() net.all(5) end,
        "bad argument #1 to 'all' (table expected, got number)")
    end)
  end)

  describe("race()", function()
    it("is what its first one is", function()
      local slow = net.sleep(1000)
      net.race { slow, net.sleep(0) }:next(expect(1, function(res)
        assert.equal("sleep:ok", res.errMsg)
        slow:abort()
      end))
      local failing = net.sleep(1000)
      net.race { net.sleep(30), failing }:next(never(), expect(1))
      failing:abort()
      run_until_met()
    end)

    it("takes a value for one that is there already", function()
      net.race { net.sleep(0), "here" }:next(expect(1, function(value)
        assert.equal("here", value)
      end))
      run_until_met()
    end)

    it("wants somebody to take part", function()
      assert.has_error(function() net.race {} end,
        "bad argument #1 to 'race' (nobody takes part)")
    end)
  end)

  -- ---- sleep ----------------------------------------------------------------

  describe("sleep()", function()
    it("takes its time, and no less", function()
      for _, ms in ipairs { 0, 1, 2.5, 20 } do
        local began = helper.now()
        net.sleep(ms):next(expect(1, function()
          assert.is_true(helper.now() - began >= ms)
        end))
        run_until_met()
      end
    end)

    it("is a task", function()
      local task = net.sleep(1000)
      assert.matches("^nettask%.SleepTask #%d+ %(open%)$", tostring(task))
      assert.equal(1, net.stats().sleep.open)
      assert.is_false(net.run(0))
      task:next(never(), expect(1, function(err)
        assert.equal("sleep:fail abort", err.errMsg)
        assert.equal(1, err.errno)
        assert.equal(-3, err.errCode)
      end))
      task:abort()
      task:abort()
      run_until_met()
      assert.equal("done", task.state)
      task:abort()
    end)

    it("may be aborted by nobody's handler, without a word", function()
      local lines = catch_log()
      net.sleep(1000):abort()
      net.sleep(1000):abort { silent = true }
      assert.is_true(net.run(1000))
      for _, line in ipairs(lines) do assert.matches("^debug: ", line) end
    end)

    it("ends with the module", function()
      net.sleep(100000):next(never())
      net.close()
      assert.is_true(net.run(0))
    end)

    it("wants a number", function()
      assert.has_error(function() net.sleep("x") end,
        "bad argument #1 to 'sleep' (a number of ms expected, got string)")
      assert.has_error(function() net.sleep(0 / 0) end)
      net.sleep(-5):next(expect(1))
      net.sleep(1e300):abort()
      run_until_met()
    end)
  end)

  -- ---- Wrong use ------------------------------------------------------------

  describe("method", function()
    it("wants functions", function()
      local p = net.all {}
      for _, name in ipairs { "next", "then", "catch", "finally" } do
        assert.is_false(pcall(p[name], p, 5), name)
        assert.is_false(pcall(p[name], 5, print), name)
        assert.is_false(pcall(p[name], {}, print), name)
        assert.is_false(pcall(p[name], io.stdout, print), name)
      end
      assert.is_false(pcall(p.next, p, nil, 5))
      assert.is_false(pcall(p.catch, p))
      assert.has_error(function() p:next(5) end,
        "bad argument #1 to 'next' (function expected, got number)")
    end)

    it("is not for those without promises", function()
      local udp = net.createUDPSocket()
      assert.is_nil(udp.next)
      assert.is_false(pcall(net.all({}).next, udp, print))
      udp:close()
    end)

    it("cannot be replaced by a script", function()
      local p = net.all {}
      local meta = getmetatable(p)
      assert.is_false(pcall(setmetatable, p, {}))
      assert.is_nil(next(meta))
    end)
  end)

  it("that nobody needs is garbage", function()
    local weak = setmetatable({}, { __mode = "k" })
    local task = net.sleep(0)
    for _ = 1, 10 do
      weak[task:next(function() end):next(function() end)] = true
    end
    assert.is_true(net.run(1000))
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
    weak[task] = true
    task = nil -- luacheck: ignore
    net.update()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)
end)
