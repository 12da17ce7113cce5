-- Storms of TCP and UDP sockets: 10,000 connections made and closed, closes in
-- every state and from inside every callback, net.close() and the end of the
-- Lua state under them, and the collector at work meanwhile: nothing may stay
-- behind.

local collector = require "support.collector"
local helper = require "helper"
local residue = require "support.residue"
local states = require "support.states"
local tcp = require "support.tcp"
local udp = require "support.udp"

local measured = residue.measured
local net, servers = helper.net, helper.servers
local fault = servers.fault
local TCP_ECHO, UDP_ECHO = servers.demo_tcp, servers.demo_udp
local REFUSED = tonumber(fault.refused:match("(%d+)$"))
local CLOSING = tonumber(fault.closing:match("(%d+)$"))
local UNBOUND = 9

local BATCH = 10
local RELENTLESS_MS = helper.rounds(100000)

local defaults = tcp.defaults

local function verify()
  collector.restore()
  states.verify()
  defaults()
end

-- ---- TCP --------------------------------------------------------------------

-- What a socket does: its peer, and what is done to it. Each ends by itself.
local TCP_KINDS = {
  { TCP_ECHO, function(task)
    task:onConnect(function() task:close() end)
  end },
  { TCP_ECHO, function(task)
    task:write("x")
    task:write(net.buffer(("x"):rep(1000)))
    task:onMessage(function() task:close() end)
  end },
  { TCP_ECHO, function(task)
    task:write(("x"):rep(10000))
    task:close()
  end },
  { TCP_ECHO, function(task) task:close() end },
  { fault.tcp, function(task) task:write("push n=20 size=5000\n") end },
  { fault.tcp, function(task) task:write("fin\n") end },
  { fault.tcp, function(task) task:write("rst\n") end },
  { fault.tcp, function(task) task:write("rst-on-data\nx") end },
  { fault.tcp, function(task)
    task:write("push n=20 size=5000\n")
    local count = 0
    task:onMessage(function()
      count = count + 1
      if count == 2 then task:close() end
    end)
  end },
  { fault.tcp, function(task)
    -- Complaints on the way.
    task:connect { address = "127.0.0.1", port = 1 }
    task:write("half\n")
    task:onError(function() task:close() end)
  end },
  { REFUSED, function() end },
  { CLOSING, function(task) task:write("x") end },
  { 0, function() end },
}

local number, ends = 0, 0

local function start_tcp(kind, options)
  local task = assert(net.createTCPSocket())
  local ended = false
  task:onError(function() end)
  task:onClose(function()
    assert(not ended, "two closes")
    ended = true
    ends = ends + 1
  end)
  task:connect { address = "127.0.0.1", port = kind[1], timeout = 20,
    tls = options and options.tls, noDelay = number % 2 == 0 }
  kind[2](task)
  return task
end

describe("a storm of TCP sockets", function()
  setup(defaults)
  after_each(verify)

  it("that connect and close leaves nothing", function()
    local kind = TCP_KINDS[1]
    local function batch()
      local wanted = ends + BATCH
      for _ = 1, BATCH do start_tcp(kind) end
      assert(net.run(20000 * helper.slow))
      assert.equal(wanted, ends)
    end
    measured(math.max(50, helper.rounds(10000) / BATCH), batch)
    residue.check_stats()
  end)

  it("that do their work and end leaves nothing", function()
    local function batch()
      local wanted = ends + BATCH
      for _ = 1, BATCH do
        number = number + 1
        start_tcp(TCP_KINDS[number % #TCP_KINDS + 1])
      end
      assert(net.run(20000 * helper.slow))
      assert.equal(wanted, ends)
    end
    measured(math.max(50, helper.rounds(10000) / BATCH), batch)
    local descriptors = residue.mark()
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
        tasks[i] = start_tcp(TCP_KINDS[number % #TCP_KINDS + 1])
      end
      for _ = 1, number / BATCH % 5 do
        net.wait(1)
        net.update()
      end
      for i = 1, BATCH do tasks[i]:close() end
      assert(net.run(20000 * helper.slow))
      assert.equal(wanted, ends)
    end
    measured(math.max(50, helper.rounds(10000) / BATCH), batch)
    residue.check_stats()
  end)

  it("over TLS leaves nothing", function()
    local kind = { fault.tcp_tls, function(task)
      task:write("echo\nx")
      task:onMessage(function() task:close() end)
    end }
    local function batch()
      local wanted = ends + BATCH
      for _ = 1, BATCH do start_tcp(kind, { tls = true }) end
      assert(net.run(20000 * helper.slow))
      assert.equal(wanted, ends)
    end
    measured(math.max(10, helper.rounds(1000) / BATCH), batch)
  end)

  it("closed in every callback leaves nothing", function()
    local function batch()
      for _, event in ipairs { "Connect", "Message", "Error", "Close",
        "Drain" } do
        local wanted = ends + 1
        start_tcp { fault.tcp, function(task)
          task["on" .. event](task, function() task:close() end)
          if event == "Error" then task:connect {} end
          if event == "Close" then
            task:onConnect(function() task:close() end)
          end
          task:write("echo\nx")
        end }
        assert(net.run(20000 * helper.slow))
        assert.equal(wanted, ends)
      end
    end
    measured(math.max(20, helper.rounds(2000)), batch)
  end)
end)

-- ---- UDP --------------------------------------------------------------------

local UDP_KINDS = {
  function(task) task:close() end,
  function(task)
    task:bind()
    task:onListening(function() task:close() end)
  end,
  function(task)
    task:send { address = "127.0.0.1", port = UDP_ECHO, message = "x" }
    task:onMessage(function() task:close() end)
  end,
  function(task)
    task:connect { address = "127.0.0.1", port = UDP_ECHO }
    for i = 1, 20 do task:write { message = tostring(i) } end
    task:onMessage(function() task:close() end)
  end,
  function(task)
    task:send { address = "localhost", port = UDP_ECHO, message = "x" }
    task:close()
  end,
  function(task)
    task:send { address = "127.0.0.1", port = UNBOUND, message = "x" }
    task:onError(function() task:close() end)
  end,
  function(task)
    task:bind(-1)
    task:onError(function() task:close() end)
  end,
  function(task)
    task:send { address = "127.0.0.1", port = fault.udp,
      message = "push 50 1000" }
    local count = 0
    task:onMessage(function()
      count = count + 1
      if count == 10 then task:close() end
    end)
  end,
  function(task)
    task:bind()
    task:joinMulticast("239.1.2.3", "127.0.0.1")
    task:setTTL(5)
    task:close()
  end,
}

local function start_udp(kind)
  local task = assert(net.createUDPSocket())
  local ended = false
  task:onError(function() end)
  task:onClose(function()
    assert(not ended, "two closes")
    ended = true
    ends = ends + 1
  end)
  kind(task)
  return task
end

describe("a storm of UDP sockets", function()
  setup(defaults)
  after_each(verify)

  it("that do their work and end leaves nothing", function()
    local function batch()
      local wanted = ends + BATCH
      for _ = 1, BATCH do
        number = number + 1
        start_udp(UDP_KINDS[number % #UDP_KINDS + 1])
      end
      assert(net.run(20000 * helper.slow))
      assert.equal(wanted, ends)
    end
    measured(math.max(50, helper.rounds(20000) / BATCH), batch)
    local descriptors = residue.mark()
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
        tasks[i] = start_udp(UDP_KINDS[number % #UDP_KINDS + 1])
      end
      for _ = 1, number / BATCH % 4 do
        net.wait(1)
        net.update()
      end
      for i = 1, BATCH do tasks[i]:close() end
      assert(net.run(20000 * helper.slow))
      assert.equal(wanted, ends)
    end
    measured(math.max(50, helper.rounds(20000) / BATCH), batch)
    residue.check_stats()
  end)

  -- To ourselves: the echo server's room is for all specs.
  it("of datagrams loses none that there is room for", function()
    local from, to = udp.bound(), assert(net.createUDPSocket())
    local port = assert(to:bind())
    local count, total = 0, helper.rounds(200000)
    local window = 100
    local sent = 0
    to:onMessage(function(res)
      -- What other specs send to a port where nobody was a moment ago.
      if res.remoteInfo.port ~= from.port then return end
      count = count + 1
      assert.equal(("%016d"):format(count), tostring(res.message))
    end)
    helper.run_until(function()
      while sent < total and sent - count < window do
        sent = sent + 1
        udp.send(from, port, ("%016d"):format(sent))
      end
      return count >= total
    end, 20000)
    assert.equal(total, count)
    udp.close(from)
    to:close()
    helper.run_until(function() return to.state == "done" end)
  end)
end)

-- ---- Both -------------------------------------------------------------------

describe("under a collector that never rests", function()
  setup(defaults)
  after_each(verify)

  it("TCP and UDP sockets keep what they need", function()
    collector.relentless()
    local until_ms = helper.now() + RELENTLESS_MS
    for _ = 1, helper.rounds(200) do
      if helper.now() > until_ms then break end
      local wanted, texts = ends + #TCP_KINDS + #UDP_KINDS, 0
      for _, kind in ipairs(TCP_KINDS) do start_tcp(kind) end
      for _, kind in ipairs(UDP_KINDS) do start_udp(kind) end
      local task = net.createUDPSocket()
      for i = 1, 20 do
        task:send { address = "127.0.0.1", port = UDP_ECHO,
          message = ("text %d"):format(i) }
      end
      task:onMessage(function(res)
        texts = texts + 1
        assert(tostring(res.message) == ("text %d"):format(texts))
        assert(res.remoteInfo.port == UDP_ECHO)
        collectgarbage("step")
        if texts == 20 then task:close() end
      end)
      assert(net.run(20000 * helper.slow))
      assert.equal(wanted, ends)
      assert.equal(20, texts)
    end
  end)
end)

for kind, support in pairs { tcp = tcp, udp = udp } do
  describe("net.close() and all anew", function()
    setup(defaults)
    after_each(verify)

    for _, name in ipairs(states[kind .. "_names"]) do
      it("while a " .. kind .. " socket is " .. name, function()
        local function round()
          local record = states["enter_" .. kind](name)
          local calls = #record.order
          net.close(5000)
          net.update()
          assert(#record.order == calls, "a callback after close()")
          assert(record.task.state == "done")
          support.drop()
        end
        measured(math.max(10, helper.rounds(300)), round)
      end)
    end
  end)

  describe("lua_close", function()
    -- A sanitized child takes its time.
    local rounds = math.max(1, math.floor(helper.rounds(20) / helper.slow))

    for _, name in ipairs(states[kind .. "_names"]) do
      it("while a " .. kind .. " socket is " .. name, function()
        for i = 1, rounds do
          local begun = helper.now()
          local result = helper.lua([[
            local kind, name, status = ...
            local states = require "support.states"
            states["enter_" .. kind](name)
            os.exit(tonumber(status), true)]], kind, name, i % 100 + 1)
          assert.equal("", result.err)
          assert.equal("", result.out)
          assert.equal(i % 100 + 1, result.status)
          local took = helper.now() - begun
          assert.is_true(took < 3000 * helper.slow, took)
        end
      end)
    end
  end)
end
