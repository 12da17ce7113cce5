-- await(): in coroutines, on every Lua; what becomes of one that dies, is
-- collected, is resumed by somebody else or is never needed again.

local helper = require "helper"

local net, servers = helper.net, helper.servers
local run_until_met = helper.run_until_met

local function expect(...)
  return (helper.expect(...))
end

-- What this Lua can do. A coroutine of 5.1 cannot yield across pcall(), nor
-- say whether it can yield at all.
local yields_across_pcall = coroutine.wrap(function()
  return pcall(coroutine.yield, true)
end)() == true
local close = rawget(coroutine, "close")

describe("await()", function()
  after_each(helper.verify)

  local function ok_url()
    return servers.fault.http .. "/"
  end

  local function silent_task()
    return net.request { url = servers.fault.silent .. "/" }
  end

  -- Runs f in a coroutine; returns that. Its errors raise here, those after the
  -- first await() in onError.
  local function go(f, ...)
    local co = coroutine.create(f)
    assert(coroutine.resume(co, ...))
    return co
  end

  -- A coroutine that has come to its end.
  local function finished(f)
    local co = go(expect(1, f))
    helper.run_until(function()
      return coroutine.status(co) == "dead"
    end)
    return co
  end

  local function catch_errors()
    local list = {}
    net.onError(function(...) list[#list + 1] = { ... } end)
    return list
  end

  -- ---- What it returns ------------------------------------------------------

  describe("returns", function()
    it("#7 the result", function()
      finished(function()
        local task = net.request { url = ok_url() }
        local res, err = task:await()
        assert.equal(200, res.statusCode)
        assert.is_nil(err)
        assert.equal("done", task.state)
        assert.equal("sleep:ok", net.await(net.sleep(1)).errMsg)
      end)
    end)

    it("#7 nil and the failure", function()
      finished(function()
        local res, err = net.request { url = servers.fault.refused .. "/" }
          :await()
        assert.is_nil(res)
        assert.equal(-102, err.errCode)
      end)
    end)

    it("#8 after the callbacks", function()
      local order = {}
      finished(function()
        net.request { url = ok_url(),
          success = function() order[#order + 1] = "success" end,
          complete = function() order[#order + 1] = "complete" end }:await()
        order[#order + 1] = "await"
      end)
      assert.same({ "success", "complete", "await" }, order)
    end)

    it("what a chain came to", function()
      finished(function()
        local value = net.sleep(0):next(function() return 5 end):await()
        assert.equal(5, value)
        local res, err = net.sleep(0):next(function()
          error { code = 6 }
        end):await()
        assert.is_nil(res)
        assert.equal(6, err.code)
        local list = net.all { net.sleep(1), net.sleep(2) }:await()
        assert.equal(2, #list)
      end)
    end)

    it("for a task that has ended meanwhile", function()
      finished(function()
        local slow, quick = net.sleep(100000), net.sleep(0)
        quick:next(function() slow:abort() end)
        assert.equal("sleep:fail abort", select(2, slow:await()).errMsg)
        assert.equal("done", quick.state)
        assert.equal("sleep:ok", quick:await().errMsg)
        assert.equal("sleep:ok", quick:await().errMsg)
      end)
    end)

    it("for each kind of task", function()
      finished(function()
        assert.equal("downloadFile:ok",
          net.downloadFile { url = ok_url() }:await().errMsg)
        assert.equal(1001, select(2, net.uploadFile { url = ok_url() }
          :await()).errno)
        local socket = net.connectSocket { url = servers.demo_ws }
        assert.equal("connectSocket:ok", socket:await().errMsg)
        socket:close()
      end)
    end)
  end)

  -- ---- Where it goes on -----------------------------------------------------

  describe("goes on", function()
    it("inside of update() only, however early it asks", function()
      local ended = net.sleep(0)
      assert.is_true(net.run(5000))
      local steps = 0
      go(function()
        ended:await()
        steps = 1
        assert.is_false(pcall(net.update))
        ended:await()
        steps = 2
        net.sleep(0):await()
        steps = 3
        assert.is_false(pcall(net.update))
      end)
      assert.equal(0, steps)
      net.update()
      assert.is_true(steps >= 2)
      helper.run_until(function() return steps == 3 end)
    end)

    it("in the coroutine that asked, also in one inside of another", function()
      local outer
      local inner = {}
      outer = go(function()
        local co
        co = coroutine.wrap(function()
          inner.co = coroutine.running()
          net.sleep(1):await()
          assert.equal(inner.co, coroutine.running())
          inner.done = true
        end)
        co()
        inner.went_on = true
      end)
      assert.equal("dead", coroutine.status(outer))
      assert.is_true(inner.went_on)
      helper.run_until(function() return inner.done end)
    end)

    it("from a coroutine that a callback has made", function()
      net.sleep(0):next(function()
        go(expect(1, function()
          assert.equal(200, net.request { url = ok_url() }:await().statusCode)
        end))
      end)
      run_until_met()
    end)

    it("where update() is called in a coroutine, too", function()
      local done = false
      go(function()
        net.sleep(1):await()
        net.sleep(1):await()
        done = true
      end)
      local co = coroutine.wrap(function()
        helper.run_until(function() return done end)
        return true
      end)
      assert.is_true(co())
    end)

    it("for a thousand at once, in the order of their tasks", function()
      local count, last = 0, 0
      local task = net.sleep(1)
      for i = 1, 1000 do
        go(function()
          task:await()
          assert.equal(last + 1, i)
          count, last = count + 1, i
        end)
      end
      helper.run_until(function() return count == 1000 end)
    end)

    it("a thousand times in one coroutine", function()
      local ended = net.sleep(0)
      assert.is_true(net.run(5000))
      finished(function()
        for _ = 1, 1000 do ended:await() end
      end)
    end)

    it("round and round, and update() ends all the same", function()
      local ended = net.sleep(0)
      assert.is_true(net.run(5000))
      local rounds, stop = 0, false
      local co = go(function()
        repeat
          ended:await()
          rounds = rounds + 1
        until stop
      end)
      local left = select(2, net.update())
      assert.equal(1, left)
      assert.is_true(rounds > 1000)
      local came = false
      net.sleep(0):next(function() came = true end)
      stop = true
      helper.run_until(function() return came end)
      assert.equal("dead", coroutine.status(co))
    end)

    if yields_across_pcall then
      it("across pcall()", function()
        finished(function()
          local ok, res = pcall(function()
            return net.request { url = ok_url() }:await()
          end)
          assert.is_true(ok)
          assert.equal(200, res.statusCode)
          local fine, err = pcall(function()
            net.sleep(0):await()
            error { code = 5 }
          end)
          assert.is_false(fine)
          assert.equal(5, err.code)
        end)
      end)
    else
      it("not across pcall(), which leaves nothing behind", function()
        local woken = 0
        local task = net.sleep(1)
        local co = go(function()
          assert.is_false(pcall(function() task:await() end))
          coroutine.yield()
          woken = woken + 1
          task:await()
          woken = woken + 1
        end)
        helper.run_until(function() return task.state == "done" end)
        assert.equal(0, woken)
        assert(coroutine.resume(co))
        assert.equal(1, woken)
        helper.run_until(function() return woken == 2 end)
      end)
    end
  end)

  -- ---- Where it cannot ------------------------------------------------------

  describe("raises", function()
    it("on the main thread, and names what to do there", function()
      -- busted's own tests may run anywhere: another interpreter is asked.
      local result = helper.lua [[
        local net = require "nettask"
        local task = net.sleep(1)
        local ok, err = pcall(function() task:await() end)
        print("ok", ok, err)
        ok, err = pcall(net.await, task)
        print("again", ok, err)
        ok, err = pcall(function() net.group():await() end)
        print("group", ok, err)
        print("run", net.run(5000))
      ]]
      assert.equal(0, result.status, result.err)
      for _, name in ipairs { "ok", "again", "group" } do
        assert.matches(name .. "\tfalse\t[^\n]*await%(%) works in a coroutine"
          .. " only; on the main thread use callbacks, and net%.run%(%)",
          result.out)
      end
      assert.matches("run\ttrue", result.out)
    end)

    it("in a callback", function()
      local ok, err
      net.request { url = ok_url(), success = function()
        ok, err = pcall(function() net.sleep(0):await() end)
      end }
      assert.is_true(net.run(5000))
      assert.is_false(ok)
      assert.equal("string", type(err))
    end)

    it("in a callback of an update() that a coroutine has called", function()
      local seen
      local list = catch_errors()
      go(function()
        net.request { url = ok_url(), success = function()
          net.sleep(0):await()
          seen = true
        end }
        helper.run_until(function() return #list > 0 end)
      end)
      assert.is_nil(seen)
      assert.equal(1, #list)
      assert.is_true(net.run(5000))
    end)

    it("for what is neither task nor promise", function()
      go(function()
        for _, value in ipairs { 5, "x", true, {}, io.stdout, net.group() } do
          local ok, err = pcall(net.await, value)
          assert.is_false(ok)
          assert.matches("a task or a promise expected, got " .. type(value),
            err)
        end
        assert.is_false(pcall(net.await))
      end)
    end)
  end)

  -- ---- Coroutines that do not end well --------------------------------------

  describe("in a coroutine", function()
    it("that dies afterwards tells onError, with its own traceback", function()
      local list = catch_errors()
      local function culprit() error { code = 7 } end
      go(function()
        net.sleep(0):await()
        culprit()
        return 1
      end)
      local other = 0
      go(function()
        net.sleep(1):await()
        other = 1
      end)
      assert.is_true(net.run(5000))
      assert.equal(1, other)
      assert.equal(1, #list)
      assert.equal(7, list[1][1].code)
      assert.matches("culprit", list[1][2])
      assert.equal("coroutine", list[1][3])
    end)

    it("that wrap() has made, too", function()
      local list = catch_errors()
      coroutine.wrap(function()
        net.sleep(0):await()
        error("wrapped", 0)
      end)()
      assert.is_true(net.run(5000))
      assert.equal("wrapped", list[1][1])
      assert.equal(1, #list)
    end)

    it("that yields for itself is not resumed any more", function()
      local steps = 0
      local co = go(function()
        net.sleep(0):await()
        steps = 1
        coroutine.yield()
        steps = 2
      end)
      helper.run_until(function() return steps == 1 end)
      helper.run_for(5)
      assert.equal(1, steps)
      assert(coroutine.resume(co))
      assert.equal(2, steps)
    end)

    it("that a scheduler resumes each frame waits all the same", function()
      local co = go(expect(1, function()
        assert.equal("sleep:ok", net.sleep(20):await().errMsg)
        assert.equal(200, net.request { url = ok_url() }:await().statusCode)
      end))
      helper.run_until(function()
        if coroutine.status(co) == "suspended" then
          assert(coroutine.resume(co))
        end
        return coroutine.status(co) == "dead"
      end)
    end)

    it("is kept by its task alone", function()
      local done = false
      coroutine.wrap(function()
        net.sleep(5):await()
        done = true
      end)()
      collectgarbage()
      collectgarbage()
      helper.run_until(function() return done end)
    end)

    if close then
      it("that was closed while it waited, nothing happens", function()
        local task = net.sleep(5)
        local co = go(function()
          task:await()
          error("it goes on")
        end)
        assert.is_true(close(co))
        helper.run_until(function() return task.state == "done" end)
        assert.equal("dead", coroutine.status(co))
      end)
    end

    local function begin_waiting(weak, task)
      weak[go(function()
        task:await()
        error("it goes on")
      end)] = true
    end

    local function collect()
      collectgarbage()
      collectgarbage()
      collectgarbage()
    end

    it("that is aborted silently it never goes on, and is garbage", function()
      local weak = setmetatable({}, { __mode = "k" })
      local task = silent_task()
      begin_waiting(weak, task)
      task:abort { silent = true }
      assert.is_true(net.run(5000))
      collect()
      assert.is_nil(next(weak))
    end)

    it("that asks after a silent abort is told of the abort", function()
      local task = silent_task()
      task:abort { silent = true }
      finished(function()
        local res, err = task:await()
        assert.is_nil(res)
        assert.equal("request:fail abort", err.errMsg)
      end)
      finished(function()
        assert.equal(1, select(2, task:await()).errno)
      end)
    end)

    it("that waits when the module is closed is garbage", function()
      local weak = setmetatable({}, { __mode = "k" })
      begin_waiting(weak, silent_task())
      begin_waiting(weak, net.sleep(1000))
      net.close()
      net.update()
      collect()
      assert.is_nil(next(weak))
    end)

    it("may close the module, and goes on to its own end", function()
      local weak = setmetatable({}, { __mode = "k" })
      local ended = net.sleep(0)
      assert.is_true(net.run(5000))
      local done
      go(function()
        ended:await()
        net.close()
        ended:await()
        assert.equal("sleep:ok", net.sleep(0):await().errMsg)
        done = true
      end)
      begin_waiting(weak, ended)
      helper.run_until(function() return done end)
      collect()
      assert.is_nil(next(weak))
    end)

    it("does no harm when the program ends", function()
      local result = helper.lua [[
        local net = require "nettask"
        local servers = require("helper").servers
        for i = 1, 10 do
          coroutine.wrap(function()
            net.request { url = servers.fault.silent .. "/" }:await()
            print("went on")
          end)()
        end
        local task = net.sleep(0)
        net.run(5)
        coroutine.wrap(function() task:await() print("went on") end)()
        print("end")
      ]]
      assert.equal(0, result.status, result.err)
      assert.matches("end", result.out)
      assert.is_nil(result.out:find("went on", 1, true))
    end)
  end)
end)
