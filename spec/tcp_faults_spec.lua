-- TCPSocket and peers that refuse, hang, reset, end early or never read; the
-- send queue and its bound; a host that lags.

local helper = require "helper"
local inside = require "support.inside"
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
    return bytes > 0 and helper.now() - since > 100
  end, 8000, "the source to be held")
  return last
end

describe("a connect that fails", function()
  local mark

  setup(tcp.defaults)
  before_each(function() mark = residue.mark() end)
  after_each(function()
    tcp.verify()
    residue.check(mark)
    tcp.defaults()
  end)

  it("#170 #171 is refused", function()
    local socket = tcp.whole { port = port_of(fault.refused) }
    tcp.check_unconnected(socket, "-102:net::ERR_CONNECTION_REFUSED", 600001)
    assert.equal("done", socket.task.state)
  end)

  it("#170 #171 is refused with things to say", function()
    local socket = tcp.start { port = port_of(fault.refused) }
    socket.task:write(("x"):rep(100000))
    tcp.finish(socket)
    tcp.check_unconnected(socket, "-102:net::ERR_CONNECTION_REFUSED", 600001)
    assert.is_false(socket.closes[1].flushed)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  local function check_timeout(options, least, most)
    options.port = port_of(fault.blackhole)
    local begun = helper.now()
    local socket = tcp.whole(options, nil, 8000)
    local took = helper.now() - begun
    tcp.check_unconnected(socket, "timeout", 5)
    assert.is_true(took >= least and took <= most * helper.slow, took)
  end

  it("#171 times out after `timeout` seconds", function()
    check_timeout({ timeout = 0.2 }, 190, 1200)
  end)

  it("#171 times out after `timeoutMs` milliseconds", function()
    check_timeout({ timeoutMs = 200 }, 190, 1200)
    check_timeout({ timeoutMs = 200, timeout = 60 }, 190, 1200)
  end)

  it("#171 times out after 2 seconds by default", function()
    check_timeout({}, 1900, 3000)
  end)

  it("#171 times out as configured", function()
    net.configure { timeouts = { tcp = 150 } }
    check_timeout({}, 140, 1200)
    check_timeout({ timeout = 0 }, 140, 1200)
    check_timeout({ timeout = -1 }, 140, 1200)
  end)

  it("#171 leaves no timer behind when it succeeds", function()
    local socket = tcp.connect { port = ECHO, timeoutMs = 200 }
    helper.run_for(400)
    assert.same({ "connect" }, socket.order)
  end)

  it("#171 that waits for TLS times out as well", function()
    local begun = helper.now()
    local socket = tcp.whole { port = port_of(fault.silent), tls = true,
      timeoutMs = 200 }
    tcp.check_unconnected(socket, "timeout", 5)
    assert.is_true(helper.now() - begun < 1500 * helper.slow)
  end)
end)

describe("a name", function()
  local BEGIN = [[
    local tcp = require "support.tcp"
    tcp.defaults()
    local port = helper.servers.fault.tcp
  ]]

  it("#171 that nobody knows is an error", function()
    inside("nxdomain", BEGIN .. [[
      local socket = tcp.whole { address = "name.example", port = port }
      tcp.check_unconnected(socket, "-105:net::ERR_NAME_NOT_RESOLVED",
        600001)]])
  end)

  it("#171 that is not answered times out, and holds nobody up", function()
    inside("silent", BEGIN .. [[
      local stuck = tcp.start { address = "other.example", port = port,
        timeout = 60 }
      local begun = helper.now()
      local socket = tcp.whole { address = "name.example", port = port,
        timeoutMs = 200 }
      tcp.check_unconnected(socket, "timeout", 5)
      local good = tcp.connect { port = port }
      good.task:write("echo\nx")
      tcp.wait_bytes(good, 1)
      assert(helper.now() - begun < 2000 * helper.slow)
      begun = helper.now()
      tcp.close(stuck)
      tcp.check_order(stuck, "close")
      net.close()
      assert(helper.now() - begun < 1000 * helper.slow)]])
  end)

  it("#171 in a machine without a network is an error", function()
    inside("closed", BEGIN .. [[
      local socket = tcp.whole { address = "192.0.2.1", port = port }
      tcp.check_unconnected(socket, "-106:net::ERR_INTERNET_DISCONNECTED",
        600001)]])
  end)
end)

-- ---- Ends -------------------------------------------------------------------

describe("a peer", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  local function check_reset(socket)
    assert.equal(1, #socket.errors)
    tcp.check_result(socket.errors[1], "TCPSocket",
      "-101:net::ERR_CONNECTION_RESET", 600001, -2)
    assert.equal(1, #socket.closes)
    local count = #socket.order
    assert.equal("error", socket.order[count - 1])
    assert.equal("close", socket.order[count])
  end

  it("#170 #171 that resets is an error, then a close", function()
    local socket = tcp.scripted("rst")
    check_reset(tcp.finish(socket))
    tcp.check_order(socket, "connect", "error", "close")
  end)

  it("#170 #171 that resets after the connect is one, too", function()
    -- Whether the connect is seen to succeed before is a matter of luck.
    local socket = tcp.whole { port = port_of(fault.resetting) }
    assert.equal(1, #socket.errors)
    assert.is_true(socket.errors[1].errCode == -2
      or socket.errors[1].errCode == -4)
    assert.equal(1, #socket.closes)
  end)

  it("#170 #171 that resets behind data delivers the data", function()
    local socket = tcp.scripted("push n=10 size=1000 then=rst ms=200")
    check_reset(tcp.finish(socket))
    assert.is_true(tcp.text(socket) == tcp.pattern(10000))
    tcp.check_order(socket, "connect", "message", "error", "close")
  end)

  it("#170 #171 that resets while we send is one error", function()
    local socket = tcp.scripted("rst-on-data")
    helper.run_until(function()
      if not socket.done then socket.task:write(("x"):rep(10000)) end
      return socket.done
    end)
    -- Writes behind the end may have been refused.
    local resets = 0
    for _, res in ipairs(socket.errors) do
      if res.errMsg:find("ERR_CONNECTION_RESET", 1, true) then
        resets = resets + 1
        assert.equal(-2, res.errCode)
      end
    end
    assert.equal(1, resets)
    assert.is_false(socket.closes[1].flushed)
  end)

  it("#170 #171 that resets what is queued was not flushed to", function()
    local socket = tcp.scripted("deaf-rst ms=100")
    socket.task:write(("x"):rep(15 * MIB))
    check_reset(tcp.finish(socket))
    assert.is_false(socket.closes[1].flushed)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  it("#170 that closes is no error", function()
    local socket = tcp.finish(tcp.scripted("fin"))
    tcp.check_order(socket, "connect", "close")
    assert.is_true(socket.closes[1].flushed)
  end)

  it("#170 that ends its side still gets what is queued", function()
    local key = tcp.key()
    local size = 15 * MIB
    local socket = tcp.start { port = fault.tcp }
    -- In one piece, so that the end does not come between.
    socket.task:write("half-deaf key=" .. key .. "\n" .. tcp.pattern(size))
    tcp.wait_open(socket)
    -- It has ended, we are still sending.
    helper.run_for(100)
    local begun = helper.now()
    tcp.release(key)
    tcp.finish(socket, 15000)
    assert.is_true(socket.closes[1].flushed)
    assert.same({}, socket.errors)
    -- Behind the last byte there is nothing to wait for.
    assert.is_true(helper.now() - begun < 4000 * helper.slow)
    local seen = tcp.seen(key)
    assert.equal(size, seen.bytes)
    assert.is_true(seen.pattern)
    assert.equal("fin", seen["end"])
  end)

  -- All in the same five seconds.
  it("#168 #170 that never reads, ends, or stops has five seconds", function()
    local deaf_key, stay_key = tcp.key(), tcp.key()
    local deaf = tcp.scripted("deaf key=" .. deaf_key)
    deaf.task:write(("x"):rep(15 * MIB))
    local stays = tcp.scripted("stay key=" .. stay_key)
    stays.task:write("x")
    local talks = tcp.scripted("push n=1000000 size=1000 every=1")
    helper.run_until(function() return talks.count > 0 end)
    local begun = helper.now()
    for _, socket in ipairs { deaf, stays, talks } do socket.task:close() end
    for _, socket in ipairs { deaf, stays, talks } do
      tcp.finish(socket, 15000)
      assert.same({}, socket.errors)
      assert.equal(0, socket.task.bufferedAmount)
    end
    local took = helper.now() - begun
    assert.is_true(took > 4500 and took < 8000 * helper.slow, took)
    assert.is_false(deaf.closes[1].flushed)
    assert.is_true(stays.closes[1].flushed)
    assert.is_true(talks.closes[1].flushed)
    tcp.release(deaf_key)
    tcp.release(stay_key)
    assert.equal("x", tcp.seen(stay_key).text)
  end)

  it("#168 that still sends when we close is not reset", function()
    -- What it sends is read and dropped, or it would lose what we sent.
    local key = tcp.key()
    local socket = tcp.start { port = fault.tcp }
    socket.task:write("push n=200 size=50000 key=" .. key .. "\n")
    socket.task:write(tcp.pattern(2 * MIB))
    tcp.wait_open(socket)
    assert.is_true(tcp.close(socket, 15000).flushed)
    local seen = tcp.seen(key)
    assert.equal("fin", seen["end"])
    assert.equal(2 * MIB, seen.bytes)
  end)

  it("#172 in pieces of a byte is the same stream", function()
    local hex = {}
    for i = 1, 200 do hex[i] = ("%02x"):format(i) end
    local socket = tcp.scripted("say hex=" .. table.concat(hex, ","))
    assert.is_true(tcp.wait_bytes(socket, 200) == tcp.pattern(200, 1))
  end)
end)

-- ---- The send queue ---------------------------------------------------------

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
    quiet.task:write("x")
    helper.run_until(function()
      return quiet.task.state == "open"
    end)
    helper.run_for(50)
    net.resume()
    net.update(nil, 6)
    assert.equal("x", tcp.text(quiet))
    assert.is_true(#busy.messages < 6)
  end)
end)
