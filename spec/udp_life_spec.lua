-- A UDPSocket under a host that lags, its end, its life and its listeners.

local helper = require "helper"
local residue = require "support.residue"
local udp = require "support.udp"

local net, servers = helper.net, helper.servers
local fault, ECHO = servers.fault, servers.demo_udp

describe("a host that lags", function()
  setup(udp.defaults)
  after_each(udp.verify)

  local function dropped()
    return net.stats().dropped or net.stats().droppedDatagrams
  end

  it("#188 loses the newest above the mark, and counts them", function()
    net.configure { limits = { highWaterBytes = 65536 } }
    local socket = udp.bound()
    assert.equal(0, dropped())
    net.pause()
    udp.send(socket, fault.udp, "push 2000 1000")
    helper.run_until(function() return dropped() > 0 end)
    helper.run_for(200)
    local bytes = net.stats().queuedBytes
    assert.is_true(bytes <= 65536 + 65536, bytes)
    local lost = dropped()
    net.resume()
    -- All that were not dropped come: the first ones, in order. What the
    -- kernel had no room for never came.
    helper.run_until(function()
      return #socket.messages > 0 and net.stats().queuedEvents == 0
    end)
    local count = #socket.messages
    assert.is_true(count >= 20, count)
    assert.is_true(count + lost <= 2000, count + lost)
    for i = 1, count do
      assert.equal(i - 1, tonumber(tostring(socket.messages[i].message)
        :match("^(%d+) ")))
    end
    -- And it goes on.
    udp.ask(socket, ECHO, "after the flood")
    assert.equal("after the flood",
      tostring(socket.messages[#socket.messages].message))
    assert.equal(lost, dropped())
  end)

  it("#188 loses nothing below it", function()
    local socket = udp.bound()
    net.pause()
    udp.send(socket, fault.udp, "push 100 100")
    helper.run_until(function() return net.stats().queuedEvents >= 100 end)
    assert.equal(0, #socket.messages)
    net.resume()
    udp.wait_messages(socket, 100)
    for i = 1, 100 do
      assert.equal(100, #socket.messages[i].message)
      assert.matches("^" .. (i - 1) .. " ",
        tostring(socket.messages[i].message))
    end
  end)

  it("#188 may take them one an update", function()
    local socket = udp.bound()
    udp.send(socket, fault.udp, "push 50 100")
    local deadline = helper.now() + 5000 * helper.slow
    while #socket.messages < 50 do
      assert(helper.now() < deadline, "too slow")
      local before = #socket.messages
      net.update(nil, 1)
      assert(#socket.messages - before <= 1)
      if #socket.messages == before then net.wait(20) end
    end
  end)

  it("sends all the same", function()
    local socket, key = udp.bound(), udp.key()
    net.pause()
    for i = 1, 10 do udp.send(socket, fault.udp, "note " .. key .. i) end
    helper.run_until(function() return socket.task.bufferedAmount == 0 end)
    net.resume()
    for i = 1, 10 do assert.equal(1, #udp.seen(key .. i)) end
  end)
end)

-- ---- The end ----------------------------------------------------------------

describe("close", function()
  setup(udp.defaults)
  after_each(udp.verify)

  it("#183 #185 fires onClose once", function()
    local socket = udp.bound()
    udp.ask(socket, ECHO, "x")
    socket.task:close()
    assert.equal(0, #socket.closes)
    udp.finish(socket)
    assert.equal("table", type(socket.closes[1]))
    helper.run_for(20)
    assert.equal(1, #socket.closes)
    assert.equal("close", socket.order[#socket.order])
  end)

  it("#183 frees the port", function()
    local first = udp.bound()
    udp.close(first)
    local socket = udp.create()
    helper.run_until(function()
      return socket.task:bind(first.port) == first.port
    end)
  end)

  it("#183 before bind, and twice, is fine", function()
    local socket = udp.create()
    socket.task:close()
    socket.task:close()
    udp.finish(socket)
    socket.task:close()
    helper.run_for(20)
    assert.equal(1, #socket.closes)
    assert.same({ "close" }, socket.order)
  end)

  it("#183 #189 makes every method an error", function()
    local calls = {
      send = function(t)
        t:send { address = "127.0.0.1", port = ECHO, message = "x" }
      end,
      write = function(t)
        t:write { address = "127.0.0.1", port = ECHO, message = "x" }
      end,
      connect = function(t)
        t:connect { address = "127.0.0.1", port = ECHO }
      end,
      bind = function(t) assert.is_nil(t:bind()) end,
      setTTL = function(t) t:setTTL(5) end,
      setBroadcast = function(t) t:setBroadcast(true) end,
      setMulticastTTL = function(t) t:setMulticastTTL(5) end,
      joinMulticast = function(t) t:joinMulticast("239.1.2.3") end,
      leaveMulticast = function(t) t:leaveMulticast("239.1.2.3") end,
    }
    for name, call in pairs(calls) do
      for _, done in ipairs { false, true } do
        local socket = udp.bound()
        socket.task:close()
        if done then udp.finish(socket) end
        local errors = #socket.errors
        call(socket.task)
        assert.equal(errors, #socket.errors, name)
        helper.run_until(function() return #socket.errors > errors end)
        local res = socket.errors[#socket.errors]
        assert.equal(-1, res.errCode, name)
        assert.matches("^UDPSocket%." .. name .. ":fail ", res.errMsg)
        udp.finish(socket)
      end
    end
  end)

  it("#183 means that no message is heard any more", function()
    local socket = udp.bound()
    net.pause()
    udp.send(socket, fault.udp, "push 20 100")
    helper.run_until(function() return net.stats().queuedEvents >= 20 end)
    socket.task:close()
    net.resume()
    udp.finish(socket)
    assert.equal(0, #socket.messages)
  end)

  it("#183 in a callback is the last of its messages", function()
    local socket = udp.bound()
    socket.task:onMessage(function() socket.task:close() end)
    udp.send(socket, fault.udp, "push 20 100")
    udp.finish(socket)
    assert.equal(1, #socket.messages)
  end)

  it("#183 sends what was sent before", function()
    local key = udp.key()
    for i = 1, 20 do
      local socket = udp.create()
      udp.send(socket, fault.udp, "note " .. key .. " " .. i)
      socket.task:close()
    end
    assert.equal(20, #udp.seen(key, 20))
  end)

  it("#184 is what ends it: a socket that nobody holds lives on", function()
    local got, closed, port = 0, false
    do
      local task = net.createUDPSocket()
      port = task:bind()
      task:onMessage(function(res)
        got = got + 1
        if tostring(res.message) == "close" then task:close() end
      end)
      task:onClose(function() closed = true end)
    end
    local sender = udp.create()
    for i = 1, 10 do
      collectgarbage()
      collectgarbage()
      udp.send(sender, port, "x")
      helper.run_until(function() return got == i end)
    end
    udp.send(sender, port, "close")
    helper.run_until(function() return closed end)
    assert.equal(11, got)
  end)

  it("#184 one without listeners, or a port, lives as well", function()
    local weak = setmetatable({}, { __mode = "v" })
    weak[1] = net.createUDPSocket()
    collectgarbage()
    collectgarbage()
    assert.is_truthy(weak[1])
    assert.equal(1, net.stats().live)
    weak[1]:close()
    assert.is_true(net.run(5000))
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("is what net.close does, without a callback", function()
    local socket = udp.bound()
    udp.ask(socket, ECHO, "x")
    local count = #socket.order
    net.close()
    net.update()
    assert.equal(count, #socket.order)
    assert.equal("done", socket.task.state)
    udp.drop()
    -- The port is free again.
    assert.equal(socket.port, udp.create().task:bind(socket.port))
  end)
end)

-- ---- Listeners --------------------------------------------------------------

describe("listeners", function()
  setup(udp.defaults)
  after_each(udp.verify)

  local function play(register)
    local _, restore = residue.log() -- of an error that nobody hears
    local task = assert(net.createUDPSocket())
    register(task)
    local over, heard = false, false
    task:onClose(function() over = true end)
    task:onMessage(function() heard = true end)
    task:bind()
    task:send { address = "", port = 1, message = "x" } -- an error
    task:send { address = "127.0.0.1", port = ECHO, message = "x" }
    helper.run_until(function() return heard end)
    task:close()
    helper.run_until(function() return over end)
    restore()
  end

  for event, row in pairs { Message = "#188", Error = "#186", Close = "#185",
    Listening = "#187" } do
    it(row .. " on" .. event .. " appends, the same function once", function()
      local calls = {}
      local function a() calls[#calls + 1] = "a" end
      local function b() calls[#calls + 1] = "b" end
      play(function(task)
        task["on" .. event](task, a)
        task["on" .. event](task, b)
        task["on" .. event](task, a)
      end)
      assert.same({ "a", "b" }, calls)
    end)

    it(row .. " off" .. event .. " removes one, or all", function()
      local calls = {}
      local function a() calls[#calls + 1] = "a" end
      local function b() calls[#calls + 1] = "b" end
      play(function(task)
        task["on" .. event](task, a)
        task["on" .. event](task, b)
        task["off" .. event](task, a)
        task["off" .. event](task, print)
      end)
      assert.same({ "b" }, calls)
      calls = {}
      play(function(task)
        task["on" .. event](task, a)
        task["on" .. event](task, b)
        task["off" .. event](task)
      end)
      assert.same({}, calls)
    end)

    it(row .. " on" .. event .. " wants a function", function()
      local task = udp.create().task
      for _, wrong in ipairs { 5, "f", {}, true } do
        assert.has_error(function() task["on" .. event](task, wrong) end)
      end
    end)
  end

  it("#188 that raise do not stop the others, nor the socket", function()
    local errors = 0
    net.onError(function() errors = errors + 1 end)
    local socket = udp.create()
    socket.task:onMessage(function() error "oops" end)
    udp.ask(socket, ECHO, "x")
    udp.ask(socket, ECHO, "y")
    assert.equal(2, errors)
  end)

  it("are counted in stats", function()
    local function count()
      local sum = 0
      for _, number in pairs(net.stats().udp or {}) do sum = sum + number end
      return sum
    end
    local socket = udp.bound()
    assert.equal(1, count())
    local before = net.stats()
    udp.ask(socket, ECHO, ("x"):rep(10000))
    local after = net.stats()
    assert.is_true(after.bytesIn - before.bytesIn >= 10000)
    assert.is_true(after.bytesOut - before.bytesOut >= 10000)
    udp.close(socket)
    assert.equal(0, count())
  end)

  it("keep net.run going until the socket is closed", function()
    local socket = udp.bound()
    assert.is_false(net.run(50))
    socket.task:close()
    assert.is_true(net.run(5000 * helper.slow))
  end)
end)
