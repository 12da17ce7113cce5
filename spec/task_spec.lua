-- RequestTask: what a script holds of a request. Abort in every state and in
-- every callback, listeners, names, life.

local helper = require "helper"
local states = require "support.states"

local core = require "nettask.core"
local net, servers = helper.net, helper.servers
local fault = servers.fault

describe("RequestTask", function()
  after_each(states.verify)

  local function copy(list)
    return { (table.unpack or unpack)(list) }
  end

  local function was_aborted(res)
    assert.equal("request:fail abort", res.errMsg)
    assert.equal(1, res.errno)
    assert.equal(-3, res.errCode)
    assert.is_nil(res.statusCode)
    assert.is_nil(res.data)
  end

  -- ---- What it is -----------------------------------------------------------

  describe("itself", function()
    it("has an id that no other task has had", function()
      local first = helper.fetch { url = fault.http .. "/" }
      local second = helper.fetch { url = fault.http .. "/" }
      assert.equal("number", type(first.task.id))
      assert.equal(first.task.id, first.task.id)
      assert.is_true(second.task.id > first.task.id)
      net.close()
      local third = helper.fetch { url = fault.http .. "/" }
      assert.is_true(third.task.id > second.task.id)
    end)

    it("tells its kind, id and state as text", function()
      local record = states.enter "sent"
      local id = ("%d"):format(record.task.id)
      assert.equal("nettask.RequestTask #" .. id .. " (connecting)",
        tostring(record.task))
      record.task:abort()
      assert.equal("nettask.RequestTask #" .. id .. " (closing)",
        tostring(record.task))
      helper.run_until(function() return record.done end)
      assert.equal("nettask.RequestTask #" .. id .. " (done)",
        tostring(record.task))
    end)

    it("shows each state", function()
      for _, name in ipairs(states.names) do
        local record = states.enter(name)
        assert.equal(states.shown[name], record.task.state, name)
        states.leave(record)
        helper.run_until(function() return record.done end)
        assert.equal("done", record.task.state, name)
      end
      local idle = core.requestOpen {}
      assert.equal("idle", idle.state)
      core.requestRefuse(idle)
      assert.equal("closing", idle.state)
      net.update()
      assert.equal("done", idle.state)
    end)

    it("has no other members, and takes none", function()
      local record = states.enter "refused"
      local task = record.task
      assert.equal("userdata", type(task))
      assert.is_nil(task.url)
      assert.is_nil(task[1])
      assert.is_nil(task.__gc)
      assert.is_nil(task.__index)
      assert.is_false(pcall(function() task.state = "done" end))
      assert.is_false(pcall(function() task.mine = 1 end))
      assert.is_false(pcall(function() return #task end))
      assert.equal("closing", task.state)
    end)

    it("keeps its metatable to itself", function()
      local record = states.enter "refused"
      assert.is_false(getmetatable(record.task))
      assert.is_false(pcall(setmetatable, record.task, {}))
    end)

    it("has methods that want a task", function()
      local task = states.enter("refused").task
      local other = helper.begin("downloadFile", { url = "x" })
      for _, name in ipairs { "abort", "onHeadersReceived",
        "offHeadersReceived", "onChunkReceived", "offChunkReceived" } do
        local method = task[name]
        assert.equal("function", type(method), name)
        for _, wrong in ipairs { {}, "task", 1, io.stdout, print,
          other.task } do
          local ok, err = pcall(method, wrong, print)
          assert.is_false(ok, name)
          assert.matches("nettask%.RequestTask expected", err)
        end
        local ok, err = pcall(method)
        assert.is_false(ok, name)
        assert.matches("nettask%.RequestTask expected, got no value", err)
      end
      helper.finish(other)
    end)
  end)

  -- ---- Abort ----------------------------------------------------------------

  describe("abort", function()
    -- What happened before stays; after it fail and complete, nothing else.
    local function abort_in(name)
      local record = states.enter(name)
      local before = copy(record.order)
      record.task:abort()
      assert.same(before, record.order)
      assert.equal("closing", record.task.state)
      net.resume()
      helper.run_until(function() return record.done end)
      before[#before + 1] = "fail"
      before[#before + 1] = "complete"
      assert.same(before, record.order)
      was_aborted(record.fail)
      assert.equal(record.fail, record.complete)
      assert.equal("done", record.task.state)
      return record
    end

    for _, name in ipairs(states.names) do
      if name ~= "done" then
        it("#77 fails a task that is " .. name, function()
          local record = abort_in(name)
          states.leave(record)
        end)
      end
    end

    it("#77 fails a task that is idle", function()
      local task = core.requestOpen {
        kind = "request", url = "idle", fail = helper.expect(1, was_aborted),
        complete = helper.expect(1, was_aborted),
      }
      task:abort()
      helper.run_until_met()
    end)

    it("#77 does nothing to a task that is done", function()
      local record = states.enter "done"
      local before = copy(record.order)
      record.task:abort()
      record.task:abort { silent = true }
      assert.equal("done", record.task.state)
      helper.run_for(20)
      assert.same(before, record.order)
    end)

    it("#77 once more changes nothing", function()
      local record = states.enter "sent"
      record.task:abort()
      record.task:abort()
      record.task:abort { silent = false }
      helper.run_until(function() return record.done end)
      assert.same({ "fail", "complete" }, record.order)
    end)

    it("gives its connection back to the system", function()
      local record = states.enter "sent"
      record.task:abort()
      helper.run_until(function()
        return helper.ask(fault.http .. "/waiting?key=" .. record.key) == "0"
      end)
    end)

    it("while connecting leaves the next request alone", function()
      for _ = 1, 5 do
        states.enter("connecting").task:abort()
        local record = helper.fetch { url = fault.http .. "/closes",
          timeout = 3000 }
        assert.equal("request:ok", record.complete.errMsg)
      end
    end)

    it("makes room for those that wait", function()
      local record = states.enter "queued"
      record.others[1]:abort { silent = true }
      helper.run_until(function() return record.done end)
      assert.equal(200, record.complete.statusCode)
      states.leave(record)
    end)

    it("wants a table or nothing", function()
      local record = states.enter "refused"
      for _, wrong in ipairs { true, 1, "silent", print } do
        assert.is_false(pcall(record.task.abort, record.task, wrong))
      end
      record.task:abort(nil)
      helper.run_until(function() return record.done end)
      was_aborted(record.fail)
    end)

    for _, name in ipairs(states.names) do
      if name ~= "done" then
        it("is silent on demand when " .. name, function()
          local record = states.enter(name)
          local before = copy(record.order)
          record.task:abort { silent = true }
          states.leave(record)
          assert.is_true(net.run(5000))
          assert.same(before, record.order)
          assert.equal("done", record.task.state)
        end)
      end
    end

    it("becomes silent when asked so later", function()
      local record = states.enter "sent"
      record.task:abort()
      record.task:abort { silent = true }
      assert.is_true(net.run(5000))
      assert.same({}, record.order)
    end)

    it("does not become loud again", function()
      local record = states.enter "sent"
      record.task:abort { silent = true }
      record.task:abort()
      assert.is_true(net.run(5000))
      assert.same({}, record.order)
    end)
  end)

  describe("abort in its own callback", function()
    it("onHeadersReceived ends it there", function()
      local record
      record = helper.start {
        url = fault.http .. "/stream?chunks=10&key=" .. states.key(),
        enableChunked = true,
      }
      local later = helper.never("a listener after abort()")
      record.task:onHeadersReceived(function() record.task:abort() end)
      record.task:onHeadersReceived(later)
      helper.run_until(function() return record.done end)
      assert.same({ "headers", "fail", "complete" }, record.order)
      was_aborted(record.fail)
    end)

    it("onChunkReceived ends it there", function()
      local record
      record = helper.start {
        url = fault.http .. "/stream?chunks=100&key=" .. states.key(),
        enableChunked = true,
      }
      record.task:onChunkReceived(function() record.task:abort() end)
      record.task:onChunkReceived(helper.never("a listener after abort()"))
      helper.run_until(function() return record.done end)
      assert.same({ "headers", "chunk", "fail", "complete" }, record.order)
      was_aborted(record.fail)
    end)

    it("success comes too late", function()
      local record
      record = helper.start {
        url = fault.http .. "/",
        success = function()
          assert.equal("done", record.task.state)
          record.task:abort()
        end,
      }
      helper.run_until(function() return record.done end)
      assert.same({ "headers", "success", "complete" }, record.order)
      assert.equal("request:ok", record.complete.errMsg)
    end)

    it("success comes too late for silence as well", function()
      local record
      record = helper.start {
        url = fault.http .. "/",
        success = function() record.task:abort { silent = true } end,
      }
      helper.run_until(function() return record.done end)
      assert.equal("request:ok", record.complete.errMsg)
    end)

    it("fail and complete comes too late", function()
      local record
      record = helper.start {
        url = fault.refused .. "/",
        fail = function() record.task:abort() end,
        complete = function() record.task:abort() end,
      }
      helper.run_until(function() return record.done end)
      helper.run_for(20)
      assert.same({ "fail", "complete" }, record.order)
      assert.equal(-102, record.complete.errCode)
    end)

    it("silently ends without another word", function()
      local record
      record = helper.start {
        url = fault.http .. "/stream?chunks=100&key=" .. states.key(),
        enableChunked = true,
      }
      record.task:onChunkReceived(function()
        record.task:abort { silent = true }
      end)
      assert.is_true(net.run(5000))
      assert.same({ "headers", "chunk" }, record.order)
    end)
  end)

  describe("abort in the callback of another", function()
    it("fails one whose success waits in the same frame", function()
      local first, second
      net.pause()
      local function abort_second() second.task:abort() end
      first = helper.start { url = fault.http .. "/", success = abort_second }
      helper.run_until(function() return first.task.state == "closing" end)
      second = helper.start { url = fault.http .. "/" }
      helper.run_until(function() return second.task.state == "closing" end)
      net.resume()
      helper.run_until(function() return second.done end)
      assert.equal("request:ok", first.complete.errMsg)
      was_aborted(second.fail)
      -- They take turns: its headers may have come first, and nothing more.
      assert.equal("complete", second.order[#second.order])
      assert.equal("fail", second.order[#second.order - 1])
      assert.is_true(#second.order <= 3)
    end)

    it("fails one that runs, and adds nothing to the frame", function()
      local runs = states.enter "sent"
      local delivered
      local other = helper.start {
        url = fault.http .. "/",
        complete = function() runs.task:abort() end,
      }
      helper.run_until(function()
        if not other.done then return false end
        delivered = delivered or #runs.order
        return runs.done
      end)
      assert.equal(0, delivered)
      was_aborted(runs.fail)
    end)
  end)

  -- ---- Listeners ------------------------------------------------------------

  -- Both kinds of listeners, and a request that fires them.
  local kinds = {
    { name = "HeadersReceived", row = "#78 #79", url = "/" },
    { name = "ChunkReceived", row = "#80 #81",
      url = "/stream?chunks=1&size=5", enableChunked = true },
  }

  for _, kind in ipairs(kinds) do
    local on, off = "on" .. kind.name, "off" .. kind.name

    local function start(options)
      options = options or {}
      options.url = fault.http .. kind.url
      options.enableChunked = kind.enableChunked
      return net.request(options)
    end

    describe(kind.row .. " " .. on, function()
      it("calls in the order of registration", function()
        local calls = {}
        local task = start()
        for i = 1, 5 do
          task[on](task, function() calls[#calls + 1] = i end)
        end
        assert.is_true(net.run(5000))
        assert.same({ 1, 2, 3, 4, 5 }, calls)
      end)

      it("gives every listener the same result", function()
        local seen = {}
        local task = start()
        for i = 1, 2 do
          task[on](task, function(...)
            assert.equal(1, select("#", ...))
            seen[i] = ...
          end)
        end
        assert.is_true(net.run(5000))
        assert.equal("table", type(seen[1]))
        assert.equal(seen[1], seen[2])
      end)

      it("twice with one function is once", function()
        local task = start()
        local listener = helper.expect(1)
        task[on](task, listener)
        task[on](task, listener)
        assert.is_true(net.run(5000))
      end)

      it("takes nothing but functions", function()
        local task = start()
        for _, wrong in ipairs { 1, "f", {}, true, task,
          setmetatable({}, { __call = print }) } do
          assert.is_false(pcall(task[on], task, wrong))
        end
        assert.is_false(pcall(task[on], task))
        assert.is_false(pcall(task[on], task, nil))
      end)

      it("returns nothing", function()
        local task = start()
        assert.equal(0, select("#", task[on](task, function() end)))
        assert.equal(0, select("#", task[off](task)))
      end)

      it("is without effect on a task that is done", function()
        local task = start()
        assert.is_true(net.run(5000))
        task[on](task, helper.never())
        task[off](task)
        task[off](task, print)
        helper.run_for(10)
      end)

      it("when called in a listener is for the next event", function()
        local task = start()
        task[on](task, helper.expect(1, function()
          task[on](task, helper.never("a listener added meanwhile"))
        end))
        assert.is_true(net.run(5000))
      end)

      it("does not stop at an error", function()
        local reported = {}
        net.onError(function(err, _, what)
          reported[#reported + 1] = { err, what }
        end)
        local task = start()
        local broken = { "broken" }
        task[on](task, function() error(broken) end)
        task[on](task, helper.expect(1))
        assert.is_true(net.run(5000))
        assert.equal(1, #reported)
        assert.equal(broken, reported[1][1])
        assert.equal(("RequestTask #%d %s"):format(task.id, on),
          reported[1][2])
      end)
    end)

    describe(kind.row .. " " .. off, function()
      it("removes that function and no other", function()
        local task = start()
        local removed = helper.never("removed")
        task[on](task, helper.expect(1))
        task[on](task, removed)
        task[on](task, helper.expect(1))
        task[off](task, removed)
        task[off](task, removed)
        assert.is_true(net.run(5000))
      end)

      it("of a stranger changes nothing", function()
        local task = start()
        task[off](task, print)
        task[on](task, helper.expect(1))
        task[off](task, print)
        assert.is_true(net.run(5000))
      end)

      it("without a function removes all", function()
        local task = start()
        for _ = 1, 3 do
          task[on](task, helper.never("removed"))
        end
        task[off](task)
        task[on](task, helper.expect(1))
        task[on](task, helper.expect(1))
        assert.is_true(net.run(5000))
      end)

      it("takes nothing but functions and nil", function()
        local task = start()
        task[on](task, helper.expect(1))
        for _, wrong in ipairs { 1, "f", {}, true } do
          assert.is_false(pcall(task[off], task, wrong))
        end
        assert.is_true(net.run(5000))
      end)

      it("and on again moves to the end", function()
        local calls = {}
        local task = start()
        local function first() calls[#calls + 1] = "first" end
        task[on](task, first)
        task[on](task, function() calls[#calls + 1] = "second" end)
        task[off](task, first)
        task[on](task, first)
        assert.is_true(net.run(5000))
        assert.same({ "second", "first" }, calls)
      end)

      it("in a listener removes those that would have come", function()
        local task = start()
        local removed = helper.never("removed by the first")
        local function before()
          task[off](task, removed)
        end
        task[on](task, helper.expect(1, before))
        task[on](task, removed)
        task[on](task, helper.expect(1))
        assert.is_true(net.run(5000))
      end)

      it("in a listener removes itself and disturbs nobody", function()
        local task = start()
        local self
        self = helper.expect(1, function() task[off](task, self) end)
        task[on](task, helper.expect(1))
        task[on](task, self)
        task[on](task, helper.expect(1))
        assert.is_true(net.run(5000))
      end)

      it("of all in a listener is the end of it", function()
        local task = start()
        task[on](task, helper.expect(1, function() task[off](task) end))
        task[on](task, helper.never("removed by the first"))
        assert.is_true(net.run(5000))
      end)
    end)
  end

  it("#78 onHeadersReceived comes once, before success", function()
    local record = helper.fetch {
      url = fault.http .. "/redirect-chain?n=3",
    }
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal(200, record.headers[1].statusCode)
    assert.equal("application/octet-stream",
      record.headers[1].header["content-type"])
    assert.same({}, record.headers[1].cookies)
    record = helper.fetch { url = fault.http .. "/early-hints" }
    assert.same({ "headers", "success", "complete" }, record.order)
    assert.equal("yes", record.headers[1].header["x-final"])
    assert.is_nil(record.headers[1].header["x-hint"])
  end)

  it("#78 onHeadersReceived comes before a failure in the body", function()
    local record = helper.fetch { url = fault.http .. "/close-in-body" }
    assert.same({ "headers", "fail", "complete" }, record.order)
    assert.equal("1000", record.headers[1].header["Content-Length"])
  end)

  it("#78 onHeadersReceived misses nothing in the turn of the call", function()
    -- The answer is there before the listener is.
    net.pause()
    local task = net.request { url = fault.http .. "/" }
    helper.run_until(function() return task.state == "closing" end)
    task:onHeadersReceived(helper.expect(1))
    net.resume()
    assert.is_true(net.run(5000))
  end)

  it("#80 onChunkReceived without enableChunked is said once", function()
    local lines = {}
    net.setLogger(function(level, text)
      lines[#lines + 1] = level .. " " .. text
    end)
    for _ = 1, 2 do
      local task = net.request { url = fault.http .. "/" }
      task:onChunkReceived(helper.never())
    end
    assert.is_true(net.run(5000))
    net.setLogger(nil)
    assert.same({ "warn request: onChunkReceived has no effect without"
      .. " enableChunked=true" }, lines)
  end)

  -- ---- Life -----------------------------------------------------------------

  local function collect()
    collectgarbage()
    collectgarbage()
  end

  it("in flight lives without anybody who holds it", function()
    local key = states.key()
    local seen = helper.expect(1)
    local function launch()
      local task = net.request {
        url = fault.http .. "/wait?key=" .. key,
        success = helper.expect(1), complete = helper.expect(1),
      }
      task:onHeadersReceived(seen)
      return setmetatable({ task }, { __mode = "v" })
    end
    local weak = launch()
    for _ = 1, 3 do
      collect()
      net.update()
    end
    assert.is_not_nil(weak[1])
    helper.ask(fault.http .. "/release?key=" .. key)
    assert.is_true(net.run(5000))
  end)

  it("when done is garbage, and so is what it called", function()
    local function launch()
      local function complete() return "upvalue", launch end
      local big = { complete }
      local task = net.request {
        url = fault.http .. "/", header = { ["x-a"] = "b" },
        complete = function() return big end,
      }
      local function listener() return big end
      task:onHeadersReceived(listener)
      return setmetatable({ task, big, listener }, { __mode = "v" })
    end
    local weak = launch()
    assert.is_true(net.run(5000))
    net.update()
    collect()
    assert.is_nil(weak[1])
    assert.is_nil(weak[2])
    assert.is_nil(weak[3])
  end)

  it("when aborted silently is garbage", function()
    local function launch()
      local task = net.request { url = fault.silent .. "/" }
      task:abort { silent = true }
      return setmetatable({ task }, { __mode = "v" })
    end
    local weak = launch()
    assert.is_true(net.run(5000))
    collect()
    assert.is_nil(weak[1])
  end)

  it("when its net was closed is garbage and dead", function()
    local function launch()
      local task = net.request { url = fault.silent .. "/",
        complete = helper.never() }
      return task, setmetatable({ task }, { __mode = "v" })
    end
    local task, weak = launch()
    net.close()
    assert.equal("done", task.state)
    assert.matches("%(done%)$", tostring(task))
    task:abort()
    task:onHeadersReceived(helper.never())
    task:offHeadersReceived()
    task = nil -- luacheck: ignore
    collect()
    assert.is_nil(weak[1])
  end)
end)
