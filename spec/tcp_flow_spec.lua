-- The send queue of a TCPSocket, its bound and onDrain; a host that lags.

local helper = require "helper"
local residue = require "support.residue"
local tcp = require "support.tcp"

local net, servers = helper.net, helper.servers
local fault, ECHO = servers.fault, servers.demo_tcp
local KIB, MIB = 1024, 1024 * 1024

-- What may be read beyond a mark: what one read brings.
local SLACK = 512 * KIB

local function port_of(url)
  return tonumber(url:match("(%d+)$"))
end

local function settled_bytes()
  local last, since = -1, helper.now()
  helper.run_until(function()
    local bytes = net.stats().queuedBytes
    if bytes ~= last then last, since = bytes, helper.now() end
    return bytes > 0 and helper.now() - since > 100 * helper.slow
  end, 8000, "the source to be held")
  return last
end

describe("the send queue", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#171 is bounded: a write beyond it is an error", function()
    net.configure { limits = { sendQueueBytes = 256 * KIB } }
    local key = tcp.key()
    local socket = tcp.scripted("deaf key=" .. key)
    local taken = tcp.fill(socket, 251 * 128)
    tcp.check_result(socket.errors[1], "TCPSocket.write",
      "send queue is full", 600004, -1)
    assert.is_true(taken < 20 * MIB, taken)
    local buffered = socket.task.bufferedAmount
    assert.is_true(buffered > 128 * KIB and buffered <= 256 * KIB, buffered)
    assert.equal("open", socket.task.state)
    -- What was taken goes out; what was refused does not.
    local drained = 0
    socket.task:onDrain(function() drained = drained + 1 end)
    tcp.release(key)
    helper.run_until(function() return drained > 0 end, 10000)
    assert.equal(0, socket.task.bufferedAmount)
    assert.is_true(tcp.close(socket, 10000).flushed)
    assert.equal(taken, tcp.seen(key).bytes)
    assert.is_true(tcp.seen(key).pattern)
    assert.equal(1, drained)
  end)

  it("is of 16 MiB by default", function()
    local socket = tcp.connect { port = ECHO }
    socket.task:write(("x"):rep(16 * MIB + 1))
    helper.run_until(function() return #socket.errors == 1 end)
    assert.matches("send queue is full", socket.errors[1].errMsg)
    socket.task:write(("x"):rep(16 * MIB))
    tcp.wait_bytes(socket, 16 * MIB, 15000)
    assert.equal(1, #socket.errors)
  end)

  it("calls onDrain once it is empty", function()
    local socket = tcp.connect { port = ECHO }
    local drains = 0
    local function on_drain()
      drains = drains + 1
      assert(socket.task.bufferedAmount == 0)
    end
    socket.task:onDrain(on_drain)
    socket.task:onDrain(on_drain)
    for i = 1, 3 do
      socket.task:write(("x"):rep(MIB))
      helper.run_until(function() return drains == i end, 10000)
    end
    helper.run_for(30)
    assert.equal(3, drains)
    socket.task:offDrain(on_drain)
    socket.task:write("x")
    tcp.wait_bytes(socket, 3 * MIB + 1, 10000)
    assert.equal(3, drains)
  end)

  it("can be kept full by onDrain until all is sent", function()
    net.configure { limits = { sendQueueBytes = 512 * KIB } }
    local key = tcp.key()
    local socket = tcp.scripted("sink key=" .. key)
    local size, at = 20 * MIB, 0
    local function send()
      while at < size and socket.task.bufferedAmount < 256 * KIB do
        socket.task:write(tcp.pattern(64 * KIB, at))
        at = at + 64 * KIB
      end
    end
    socket.task:onDrain(send)
    send()
    helper.run_until(function()
      return at >= size and socket.task.bufferedAmount == 0
    end, 15000)
    assert.is_true(tcp.close(socket).flushed)
    assert.same({}, socket.errors)
    assert.equal(size, tcp.seen(key).bytes)
    assert.is_true(tcp.seen(key).pattern)
  end)

  it("counts what waits for the connection", function()
    net.configure { limits = { sendQueueBytes = 64 * KIB } }
    local socket = tcp.start { port = port_of(fault.blackhole),
      timeoutMs = 500 }
    assert.equal(0, socket.task.bufferedAmount)
    socket.task:write(("x"):rep(60 * KIB))
    assert.equal(60 * KIB, socket.task.bufferedAmount)
    socket.task:write(("x"):rep(10 * KIB))
    helper.run_until(function() return #socket.errors == 1 end)
    assert.matches("send queue is full", socket.errors[1].errMsg)
    assert.equal(60 * KIB, socket.task.bufferedAmount)
    tcp.finish(socket)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  it("of a socket is its own", function()
    net.configure { limits = { sendQueueBytes = 256 * KIB } }
    local key = tcp.key()
    local deaf = tcp.scripted("deaf key=" .. key)
    tcp.fill(deaf, 32 * KIB)
    local other = tcp.connect { port = ECHO }
    other.task:write(("y"):rep(200 * KIB))
    assert.equal(("y"):rep(200 * KIB), tcp.wait_bytes(other, 200 * KIB))
    tcp.release(key)
  end)
end)

-- ---- A host that lags -------------------------------------------------------

describe("a host that lags", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  local COUNT, SIZE = 3000, 4096
  local ALL = COUNT * SIZE

  local function push(count)
    local socket = tcp.start { port = fault.tcp }
    socket.task:write(("push n=%d size=%d\n"):format(count or COUNT, SIZE))
    return socket
  end

  local function check_all(socket)
    assert.is_true(tcp.wait_bytes(socket, ALL, 15000) == tcp.pattern(ALL))
  end

  it("#172 holds a server back and loses nothing", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    net.pause()
    local socket = push()
    local bytes = settled_bytes()
    assert.is_true(bytes >= 64 * KIB, bytes)
    assert.is_true(bytes <= 64 * KIB + SLACK, bytes)
    assert.same({}, socket.order)
    assert.equal(bytes, settled_bytes())
    net.resume()
    check_all(socket)
    tcp.finish(socket)
    assert.equal(0, net.stats().queuedBytes)
  end)

  it("#172 and stops again and again loses nothing", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    local socket = push()
    for _ = 1, 10 do
      net.pause()
      settled_bytes()
      net.resume()
      net.update(nil, 3)
    end
    check_all(socket)
  end)

  it("#172 holds back each of several by itself", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    net.pause()
    local all = {}
    for i = 1, 4 do all[i] = push() end
    helper.run_until(function()
      return net.stats().queuedBytes >= 4 * 64 * KIB
    end)
    assert.is_true(settled_bytes() <= 4 * (64 * KIB + SLACK))
    net.resume()
    for i = 1, 4 do check_all(all[i]) end
  end)

  it("#172 holds all back at the mark of the context", function()
    net.configure { limits = { contextHighWaterBytes = 512 * KIB } }
    net.pause()
    local all = {}
    for i = 1, 4 do all[i] = push() end
    helper.run_until(function()
      return net.stats().queuedBytes >= 512 * KIB
    end)
    local bytes = settled_bytes()
    assert.is_true(bytes <= 512 * KIB + 4 * SLACK, bytes)
    net.resume()
    for i = 1, 4 do check_all(all[i]) end
    net.configure { limits = { contextHighWaterBytes = 64 * MIB } }
  end)

  it("#172 may take one event an update", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    local socket = push(200)
    local deadline = helper.now() + 15000 * helper.slow
    while socket.count < 200 * SIZE do
      assert(helper.now() < deadline, "too slow")
      local before = #socket.messages
      net.update(nil, 1)
      assert(#socket.messages - before <= 1)
      if #socket.messages == before then net.wait(20) end
    end
    assert.is_true(tcp.text(socket) == tcp.pattern(200 * SIZE))
  end)

  it("#170 hears of the end only behind all that came", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    net.pause()
    local socket = push(100)
    settled_bytes()
    net.resume()
    tcp.finish(socket)
    assert.equal(100 * SIZE, socket.count)
    tcp.check_order(socket, "connect", "message", "close")
  end)

  it("#168 may close what is held back", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    local socket = push()
    helper.run_until(function() return socket.count > 0 end)
    net.pause()
    settled_bytes()
    local count = socket.count
    local begun = helper.now()
    socket.task:close()
    net.resume()
    tcp.finish(socket)
    assert.equal(count, socket.count)
    assert.is_true(helper.now() - begun < 4000 * helper.slow)
  end)

  it("costs no memory however long it lags", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    local socket = push(20000)
    helper.run_until(function() return socket.count > 0 end)
    net.pause()
    settled_bytes()
    local before = residue.peak()
    helper.run_for(300)
    assert.is_true(residue.peak() - before < 4 * KIB)
    net.resume()
    tcp.drop()
  end)

  it("sends all the same", function()
    local key = tcp.key()
    local socket = tcp.scripted("sink key=" .. key)
    net.pause()
    socket.task:write(tcp.pattern(MIB))
    helper.run_until(function() return socket.task.bufferedAmount == 0 end)
    net.resume()
    assert.is_true(tcp.close(socket).flushed)
    assert.equal(MIB, tcp.seen(key).bytes)
  end)

  it("lets sockets take turns", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    net.pause()
    local busy = push()
    settled_bytes()
    local quiet = tcp.start { port = ECHO }
    helper.run_until(function() return quiet.task.state == "open" end)
    local settled
    helper.run_until(function()
      local before = settled
      settled = settled_bytes()
      return settled == before
    end)
    quiet.task:write("x")
    helper.run_until(function()
      return net.stats().queuedBytes > settled
    end)
    net.resume()
    net.update(nil, 6)
    assert.equal("x", tcp.text(quiet))
    assert.is_true(#busy.messages < 6)
  end)
end)
