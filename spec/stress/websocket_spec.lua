-- Storms of opens and closes, net.close() in every state of a socket, 1,000
-- times each, and the collector at work meanwhile: nothing may stay behind.

local collector = require "support.collector"
local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local states = require "support.states"

local measured = residue.measured
local net, servers = helper.net, helper.servers
local fault, demo = servers.fault, servers.demo_ws
local ECHO = demo .. "/ws/echo"

local BATCH = 8
local RELENTLESS_MS = helper.rounds(100000)

describe("a storm of sockets", function()
  setup(function()
    sockets.defaults()
    net.configure { limits = { maxSockets = 1000 } }
  end)

  after_each(function()
    collector.restore()
    states.verify()
  end)

  local function as_socket(url)
    return (url:gsub("^http", "ws"))
  end

  local function nothing() end

  -- Each returns a url and what its socket is to do once it is open.
  local function close(task) task:close { code = 3000, fail = nothing } end
  local function send(task)
    task:send { data = "x", complete = nothing }
    task:send { data = net.buffer(("x"):rep(1000)) }
  end

  local kinds = {
    { ECHO, function(task)
      send(task)
      task:onMessage(function() close(task) end)
    end },
    { ECHO, close },
    { ECHO, function(task) send(task) close(task) end },
    { demo .. "/ws/close?code=3001", nothing },
    { demo .. "/ws/push?n=100&size=100", function(task)
      local count = 0
      task:onMessage(function()
        count = count + 1
        if count == 50 then close(task) end
      end)
    end },
    { demo .. "/ws/refuse?status=403", nothing },
    { as_socket(fault.refused) .. "/", nothing },
    { as_socket(fault.http) .. "/ws/fin", send },
    { as_socket(fault.http) .. "/ws/rst", send },
    { as_socket(fault.http) .. "/ws/masked", send },
    { as_socket(fault.http) .. "/ws/utf8-bad", send },
    { "ws://127.0.0.1:0x/", nothing },
  }

  local number, ends = 0, 0

  local function start(kind)
    local ended = false
    local function on_end()
      assert(not ended, "two ends of " .. kind[1])
      ended = true
      ends = ends + 1
    end
    local task = net.connectSocket { url = kind[1], fail = on_end,
      perMessageDeflate = number % 3 == 0, tcpNoDelay = number % 2 == 0 }
    task:onOpen(function() kind[2](task) end)
    task:onClose(on_end)
    local opened = false
    task:onOpen(function() opened = true end)
    task:onError(function()
      if not opened then on_end() end
    end)
    return task
  end

  it("that open, do their work and end leaves nothing", function()
    local function batch()
      local wanted = ends + BATCH
      for _ = 1, BATCH do
        number = number + 1
        start(kinds[number % #kinds + 1])
      end
      assert(net.run(10000 * helper.slow))
      assert.equal(wanted, ends)
    end
    local rounds = math.max(100, helper.rounds(20000) / BATCH)
    local descriptors = residue.mark()
    measured(rounds, batch)
    batch()
    helper.run_until(function()
      return residue.descriptors() <= descriptors
    end)
    residue.check_stats()
  end)

  it("that close at every moment leaves nothing", function()
    local function batch()
      local wanted, tasks = ends + BATCH, {}
      for i = 1, BATCH do
        number = number + 1
        tasks[i] = start(kinds[number % #kinds + 1])
      end
      for _ = 1, number / BATCH % 5 do
        net.wait(1)
        net.update()
      end
      for i = 1, BATCH do tasks[i]:close { fail = nothing } end
      assert(net.run(10000 * helper.slow))
      assert.equal(wanted, ends)
    end
    measured(math.max(100, helper.rounds(20000) / BATCH), batch)
    residue.check_stats()
  end)

  it("in single mode leaves the last alone", function()
    net.configure { socketMode = "single" }
    local closes, replaced = 0, 0
    local last
    for i = 1, helper.rounds(2000) do
      last = net.connectSocket { url = ECHO }
      last:onClose(function(res)
        closes = closes + 1
        if res.reason == "replaced" then replaced = replaced + 1 end
      end)
      if i % 3 == 0 then
        net.wait(2)
        net.update()
      end
    end
    helper.run_until(function() return last.readyState == last.OPEN end)
    last:close()
    assert.is_true(net.run(10000 * helper.slow))
    net.configure { socketMode = "multi" }
    assert.equal(helper.rounds(2000), closes)
    assert.equal(closes - 1, replaced)
  end)

  it("under a collector that never rests", function()
    collector.relentless()
    local until_ms = helper.now() + RELENTLESS_MS
    for _ = 1, helper.rounds(200) do
      if helper.now() > until_ms then break end
      local wanted, texts = ends + #kinds, 0
      for _, kind in ipairs(kinds) do
        number = number + 1
        start(kind)
      end
      local task = net.connectSocket { url = ECHO }
      task:onOpen(function()
        for i = 1, 20 do
          task:send { data = ("text %d"):format(i), success = nothing }
        end
      end)
      task:onMessage(function(res)
        texts = texts + 1
        assert(res.data == ("text %d"):format(texts))
        collectgarbage("step")
        if texts == 20 then task:close() end
      end)
      assert(net.run(10000 * helper.slow))
      assert.equal(wanted, ends)
      assert.equal(20, texts)
    end
  end)
end)

describe("close and open again", function()
  setup(sockets.defaults)
  after_each(states.verify)

  for _, name in ipairs(states.socket_names) do
    it("while a socket is " .. name, function()
      local function round()
        local record = states.enter_socket(name)
        local calls = #record.order
        net.close(5000)
        net.update()
        assert(#record.order == calls, "a callback after close()")
        assert(record.task.state == "done")
        sockets.drop()
      end
      measured(math.max(20, helper.rounds(1000)), round)
      local socket = sockets.open { url = ECHO }
      sockets.close(socket)
    end)
  end
end)
