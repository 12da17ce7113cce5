-- The send queue and its bound, back-pressure while the host lags, order and
-- fairness, large messages.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"

local net, servers = helper.net, helper.servers
local demo = servers.demo_ws
local ECHO = demo .. "/ws/echo"
local KIB, MIB = 1024, 1024 * 1024

-- What may be read beyond a mark: what one read brings.
local SLACK = 512 * KIB

local function as_socket(url)
  return (url:gsub("^http", "ws"))
end

-- That messages of /ws/push came whole and in order.
local function check_pushed(messages, count, size)
  assert.equal(count, #messages)
  for i = 1, count do
    local text = messages[i]
    assert(#text == size, #text)
    assert(text:match("^(%d+)") == tostring(i - 1),
      ("message %d is %s"):format(i, text:sub(1, 20)))
  end
end

-- Waits until nothing more comes in; returns the bytes that wait.
local function settled_bytes()
  local last, since = -1, helper.now()
  helper.run_until(function()
    local bytes = net.stats().queuedBytes
    if bytes ~= last then last, since = bytes, helper.now() end
    return bytes > 0 and helper.now() - since > 100
  end, 8000, "the source to be held")
  return last
end

describe("the send queue of a socket", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  -- Sends until it is refused for good, the system taking no more; returns the
  -- bytes that were taken, and why.
  local function fill(socket, piece)
    local task = socket.task
    local taken, refused, since = 0, nil, nil
    helper.run_until(function()
      local call
      repeat
        call = sockets.call(task.send, task, { data = piece })
        net.update()
        if not call.fail then taken, since = taken + #piece, nil end
      until call.fail
      refused = call.fail
      since = since or helper.now()
      return helper.now() - since > 100
    end, 10000, "the queue to be full")
    return taken, refused
  end

  it("#149 is bounded: sends fail when a server never reads", function()
    net.configure { limits = { sendQueueBytes = 256 * KIB } }
    local socket = sockets.open { url = sockets.fault("deaf") }
    local taken, refused = fill(socket, ("x"):rep(32 * KIB))
    sockets.check_result(refused, "sendSocketMessage:fail send queue is full",
      600004, -1)
    -- What the system's buffers hold is not in the queue.
    assert.is_true(taken < 20 * MIB, taken)
    local buffered = socket.task.bufferedAmount
    assert.is_true(buffered > 128 * KIB, buffered)
    assert.is_true(buffered <= 256 * KIB, buffered)
    assert.equal(socket.task.OPEN, socket.task.readyState)
    socket.task:onDrain(helper.never "onDrain")
    helper.run_for(50)
    assert.equal(buffered, socket.task.bufferedAmount)
    -- One of another size that fits is taken.
    socket.task:send { data = "", fail = helper.never("fail") }
    net.update()
    sockets.drop()
  end)

  it("#149 is of 16 MiB by default", function()
    local socket = sockets.open { url = sockets.fault("deaf") }
    local taken, refused = fill(socket, ("x"):rep(MIB))
    assert.matches("send queue is full", refused.errMsg)
    assert.is_true(taken >= 15 * MIB, taken)
    assert.is_true(taken <= 36 * MIB, taken)
    assert.is_true(socket.task.bufferedAmount <= 16 * MIB)
    sockets.drop()
  end)

  it("#149 takes a message of just its size, and none above", function()
    local socket = sockets.open { url = ECHO }
    local call = sockets.send(socket, { data = ("x"):rep(16 * MIB + 1) })
    sockets.check_result(call.fail, "sendSocketMessage:fail send queue is full",
      600004, -1)
    call = sockets.send(socket, { data = ("x"):rep(16 * MIB) })
    assert.is_truthy(call.success)
    assert.equal(16 * MIB, #sockets.wait_messages(socket, 1, 10000))
  end)

  -- An echo server that is not read stops reading. Returns a socket whose
  -- queue is full, and how many sends were refused.
  local function full_echo(limit)
    net.configure { limits = { sendQueueBytes = limit,
      highWaterBytes = 64 * KIB } }
    local socket = sockets.open { url = ECHO }
    local task, piece = socket.task, ("x"):rep(64 * KIB)
    local count, failed, since = 0, 0, nil
    local function fail(res)
      assert(res.errMsg == "sendSocketMessage:fail send queue is full",
        res.errMsg)
      failed = failed + 1
    end
    net.pause()
    helper.run_until(function()
      local amount
      repeat
        amount = task.bufferedAmount
        task:send { data = ("%08d"):format(count) .. piece, fail = fail }
        if task.bufferedAmount > amount then count, since = count + 1, nil end
      until task.bufferedAmount <= amount
      since = since or helper.now()
      return helper.now() - since > 100
    end, 10000, "the queue to be full")
    return socket, function() return failed end
  end

  it("#149 calls onDrain once it is empty again", function()
    local socket, failed = full_echo(MIB)
    local drains = 0
    local function on_drain()
      drains = drains + 1
      assert(socket.task.bufferedAmount == 0)
    end
    socket.task:onDrain(on_drain)
    socket.task:onDrain(on_drain)
    net.resume()
    helper.run_until(function() return drains > 0 end, 10000, "onDrain")
    assert.is_true(failed() > 0)
    assert.equal(1, drains)
    socket.task:offDrain(on_drain)
    local count = #socket.messages
    socket.task:send { data = "after the drain" }
    helper.run_until(function()
      return socket.messages[#socket.messages] == "after the drain"
    end, 10000)
    assert.is_true(#socket.messages > count)
    -- Nothing was lost of what had been taken, and nothing changed places.
    local last = -1
    for i = 1, #socket.messages - 1 do
      local number = tonumber(socket.messages[i]:sub(1, 8))
      assert(number >= last, "order")
      last = number
    end
    assert.equal(1, drains)
  end)

  it("#149 calls onDrain for what waits when it begins to listen", function()
    local socket = sockets.open { url = ECHO }
    socket.task:send { data = ("x"):rep(4 * MIB) }
    local drains = 0
    socket.task:onDrain(function() drains = drains + 1 end)
    helper.run_until(function() return drains == 1 end)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  it("counts down as the server reads", function()
    local socket = sockets.open { url = ECHO }
    assert.equal(0, socket.task.bufferedAmount)
    local text = ("x"):rep(4 * MIB)
    socket.task:send { data = text }
    assert.is_true(socket.task.bufferedAmount >= 4 * MIB)
    assert.is_true(socket.task.bufferedAmount < 4 * MIB + 64 * KIB)
    helper.run_until(function()
      return socket.task.bufferedAmount == 0
    end)
    sockets.wait_messages(socket, 1)
  end)

  it("of a socket is its own", function()
    net.configure { limits = { sendQueueBytes = 256 * KIB } }
    local deaf = sockets.open { url = sockets.fault("deaf") }
    fill(deaf, ("x"):rep(32 * KIB))
    local other = sockets.open { url = ECHO }
    other.task:send { data = ("y"):rep(200 * KIB) }
    assert.equal(200 * KIB, #sockets.wait_messages(other, 1))
    sockets.drop()
  end)

  it("#154 answers 20,000 small messages in order", function()
    local socket = sockets.open { url = ECHO }
    local sent = 0
    helper.run_until(function()
      while sent < 20000 and sent - #socket.messages < 1000 do
        sent = sent + 1
        socket.task:send { data = tostring(sent) }
      end
      return #socket.messages == 20000
    end, 20000)
    for i = 1, 20000 do
      assert(socket.messages[i] == tostring(i), i)
    end
  end)
end)

describe("a host that lags", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  local COUNT, SIZE = 3000, 4096

  it("#159 holds a server back and loses nothing", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    net.pause()
    local socket = sockets.start {
      url = demo .. ("/ws/push?n=%d&size=%d"):format(COUNT, SIZE) }
    local bytes = settled_bytes()
    assert.is_true(bytes >= 64 * KIB, bytes)
    assert.is_true(bytes <= 64 * KIB + SLACK, bytes)
    assert.same({}, socket.order)
    assert.equal(bytes, settled_bytes())
    net.resume()
    sockets.wait_messages(socket, COUNT, 10000)
    check_pushed(socket.messages, COUNT, SIZE)
    assert.equal(0, net.stats().queuedBytes)
  end)

  it("#159 holds back a source of many tiny messages", function()
    -- Their cost is not their size: all events count.
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    net.pause()
    local socket = sockets.start { url = sockets.fault("flood",
      { n = 100000 }) }
    helper.run_until(function()
      return net.stats().queuedEvents > 10
    end)
    local bytes = settled_bytes()
    assert.is_true(bytes <= 64 * KIB + SLACK, bytes)
    assert.is_true(net.stats().queuedEvents < 20000,
      net.stats().queuedEvents)
    net.resume()
    sockets.wait_messages(socket, 100000, 20000)
    for i = 1, 100000 do
      assert(socket.messages[i] == tostring(i - 1), i)
    end
  end)

  it("#159 holds back each of several sources by itself", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    net.pause()
    local all = {}
    for i = 1, 4 do
      all[i] = sockets.start {
        url = demo .. ("/ws/push?n=%d&size=%d"):format(COUNT, SIZE) }
    end
    helper.run_until(function()
      return net.stats().queuedBytes >= 4 * 64 * KIB
    end)
    assert.is_true(settled_bytes() <= 4 * (64 * KIB + SLACK))
    net.resume()
    for i = 1, 4 do
      sockets.wait_messages(all[i], COUNT, 10000)
      check_pushed(all[i].messages, COUNT, SIZE)
    end
  end)

  it("#159 holds all back at the mark of the context", function()
    net.configure { limits = { contextHighWaterBytes = 512 * KIB } }
    net.pause()
    local all = {}
    for i = 1, 4 do
      all[i] = sockets.start {
        url = demo .. ("/ws/push?n=%d&size=%d"):format(COUNT, SIZE) }
    end
    helper.run_until(function()
      return net.stats().queuedBytes >= 512 * KIB
    end)
    local bytes = settled_bytes()
    assert.is_true(bytes <= 512 * KIB + 4 * SLACK, bytes)
    net.resume()
    for i = 1, 4 do
      sockets.wait_messages(all[i], COUNT, 10000)
      check_pushed(all[i].messages, COUNT, SIZE)
    end
    net.configure { limits = { contextHighWaterBytes = 64 * MIB } }
  end)

  it("#159 may take them one an update", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    local socket = sockets.open {
      url = demo .. "/ws/push?n=300&size=4096" }
    local deadline = helper.now() + 10000 * helper.slow
    while #socket.messages < 300 do
      assert(helper.now() < deadline, "too slow")
      local before = #socket.messages
      net.update(nil, 1)
      assert(#socket.messages - before <= 1)
      if #socket.messages == before then net.wait(20) end
    end
    check_pushed(socket.messages, 300, 4096)
  end)

  it("#159 holds back a single message above the mark, whole", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    net.pause()
    local socket = sockets.start {
      url = demo .. "/ws/push?n=5&size=2000000" }
    local bytes = settled_bytes()
    assert.is_true(bytes >= 2000000 and bytes < 2000000 + SLACK, bytes)
    net.resume()
    sockets.wait_messages(socket, 5)
    check_pushed(socket.messages, 5, 2000000)
  end)

  it("answers pings while nothing waits", function()
    local socket = sockets.open { url = demo .. "/ws/ping?ms=20" }
    net.pause()
    helper.run_for(300)
    net.resume()
    socket.task:send { data = "pongs" }
    assert.is_true(tonumber(sockets.wait_messages(socket, 1)) >= 5)
  end)

  it("#157 hears of a close after all that came before", function()
    net.pause()
    -- Two messages and a close.
    local socket = sockets.start { url = sockets.fault("script", {
      hex = "8103616263" .. "8203646566" .. "88050fa0627965" }) }
    helper.run_until(function()
      return socket.task.state == "closing"
    end)
    assert.same({}, socket.order)
    net.resume()
    sockets.finish(socket)
    assert.same({ "success", "complete", "open", "message", "message",
      "close" }, socket.order)
    sockets.check_closed(socket, 4000, "bye")
  end)

  it("#157 hears of a loss only when it has read all", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    -- 200 messages of 1000 bytes, then the end of the connection.
    local hex = ("827e03e8" .. ("61"):rep(1000)):rep(20)
    net.pause()
    local socket = sockets.start { url = sockets.fault("script",
      { hex = hex, ["then"] = "fin" }) }
    helper.run_until(function()
      return net.stats().queuedBytes >= 20000
    end)
    net.resume()
    sockets.finish(socket)
    assert.equal(20, #socket.messages)
    sockets.check_closed(socket, 1006, "abnormal closure")
  end)

  it("may close a socket that is held back", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    local socket = sockets.open {
      url = demo .. ("/ws/push?n=%d&size=%d"):format(COUNT, SIZE) }
    helper.run_until(function() return #socket.messages > 0 end)
    net.pause()
    settled_bytes()
    local count = #socket.messages
    socket.task:close { code = 3000 }
    net.resume()
    sockets.finish(socket)
    assert.equal(count, #socket.messages)
    sockets.check_closed(socket, 3000, "normal closure")
  end)

  it("costs no memory however long it lags", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    local socket = sockets.open {
      url = demo .. "/ws/push?n=20000&size=4096" }
    helper.run_until(function() return #socket.messages > 0 end)
    net.pause()
    settled_bytes()
    local before = residue.peak()
    helper.run_for(300)
    assert.is_true(residue.peak() - before < 4 * KIB)
    net.resume()
    sockets.drop()
  end)
end)

describe("messages of several sockets", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("#159 take turns", function()
    net.pause()
    local busy = sockets.start { url = demo .. "/ws/push?n=5000&size=10" }
    helper.run_until(function()
      return net.stats().queuedEvents >= 1000
    end)
    local quiet = sockets.start { url = demo .. "/ws/push?n=1&size=10" }
    helper.run_until(function()
      return quiet.task.state == "open"
    end)
    helper.run_for(50)
    net.resume()
    -- success, open and message of the quiet one, in turn with the busy one.
    net.update(nil, 12)
    assert.equal(1, #quiet.messages)
    assert.is_true(#busy.messages < 12)
    sockets.wait_messages(busy, 5000)
    check_pushed(busy.messages, 5000, 10)
  end)

  it("keep to the budget of an update", function()
    local socket = sockets.start { url = demo .. "/ws/push?n=100&size=10" }
    net.pause()
    helper.run_until(function()
      return net.stats().queuedEvents >= 100
    end)
    net.resume()
    socket.task:onMessage(function()
      local until_then = helper.now() + 2
      while helper.now() < until_then do end
    end)
    local delivered, waiting = net.update(10)
    assert.is_true(delivered < 50, delivered)
    assert.is_true(waiting > 40, waiting)
    socket.task:offMessage()
    net.update()
  end)

  it("#142 are not disturbed by one that fails", function()
    local good = sockets.open { url = ECHO }
    local bad = sockets.start { url = as_socket(servers.fault.http)
      .. "/ws/rst-in-message" }
    for i = 1, 200 do good.task:send { data = tostring(i) } end
    sockets.finish(bad)
    sockets.wait_messages(good, 200)
    for i = 1, 200 do assert(good.messages[i] == tostring(i)) end
  end)
end)

describe("large messages", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("#154 #159 of 16 MiB go and come back", function()
    local socket = sockets.open { url = ECHO }
    local text = ("0123456789abcde\n"):rep(MIB)
    socket.task:send { data = text }
    assert.is_true(sockets.wait_messages(socket, 1, 10000) == text)
    socket.task:send { data = net.buffer(text) }
    local back = sockets.wait_messages(socket, 2, 10000)
    assert.equal("userdata", type(back))
    assert.is_true(tostring(back) == text)
  end)

  it("#159 in a thousand fragments are joined", function()
    local socket = sockets.open { url = demo .. "/ws/fragment?n=1000" }
    local text = ("Grüße, 世界 "):rep(20000)
    socket.task:send { data = text }
    assert.is_true(sockets.wait_messages(socket, 1, 10000) == text)
    socket.task:send { data = net.buffer(text) }
    assert.is_true(tostring(sockets.wait_messages(socket, 2, 10000)) == text)
  end)

  it("#154 have masks that differ, and all of them masked", function()
    local url, key = sockets.fault("echo")
    local socket = sockets.open { url = url }
    local payload = ("0123456789"):rep(30)
    for _ = 1, 50 do socket.task:send { data = payload } end
    sockets.wait_messages(socket, 50)
    sockets.close(socket)
    local seen, count = {}, 0
    for _, frame in ipairs((sockets.frames(key))) do
      assert.is_true(frame.masked)
      assert.is_true(frame.fin)
      assert.equal(0, frame.rsv)
      if not seen[frame.mask] then
        seen[frame.mask] = true
        count = count + 1
      end
      if frame.opcode == 1 then assert.equal(payload, frame.payload) end
    end
    assert.equal(51, count)
  end)

  it("#154 have lengths that are as short as can be", function()
    local url, key = sockets.fault("echo")
    local socket = sockets.open { url = url }
    local sizes = { 0, 1, 125, 126, 65535, 65536, 100000 }
    for _, size in ipairs(sizes) do
      socket.task:send { data = net.buffer(("x"):rep(size)) }
    end
    sockets.wait_messages(socket, #sizes)
    sockets.close(socket)
    for i, frame in ipairs((sockets.frames(key))) do
      local size = sizes[i] or 2
      assert.equal(size, frame.size)
      assert.equal(i <= #sizes and 2 or 8, frame.opcode)
      assert.equal(size > 65535 and 8 or size > 125 and 2 or 0,
        frame.length_bytes)
    end
  end)
end)
