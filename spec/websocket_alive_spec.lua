-- Pings in both directions, pongs that do not come, and connections that are
-- made again.

local helper = require "helper"
local sockets = require "support.sockets"

local core = require "nettask.core"
local net, servers = helper.net, helper.servers
local demo = servers.demo_ws
local ECHO = demo .. "/ws/echo"

local function open(path, parameters, options)
  local url, key = sockets.fault(path, parameters)
  local given = { url = url }
  for name, value in pairs(options or {}) do given[name] = value end
  return sockets.open(given), key
end

local function of_opcode(frames, opcode)
  local list = {}
  for _, frame in ipairs(frames) do
    if frame.opcode == opcode then list[#list + 1] = frame end
  end
  return list
end

describe("a ping", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("is answered with its payload, ten in a burst in order", function()
    local socket = open("pings", { n = 10 })
    local pongs = core.jsonDecode(sockets.wait_messages(socket, 1))
    assert.equal(10, #pongs)
    for i = 1, 10 do assert.equal("ping " .. i - 1, pongs[i]) end
  end)

  it("is answered whatever its payload is", function()
    -- None, one byte, all that fit.
    local long = ("70"):rep(125)
    local socket, key = open("script", {
      hex = "8900" .. "8901ff" .. "897d" .. long .. "8101" .. "61" })
    sockets.wait_messages(socket, 1)
    sockets.close(socket)
    local frames = sockets.frames(key)
    assert.equal(4, #frames)
    for i, want in ipairs { "", "\255", ("p"):rep(125) } do
      assert.equal(10, frames[i].opcode)
      assert.equal(want, frames[i].payload)
      assert.is_true(frames[i].masked)
      assert.is_true(frames[i].fin)
    end
  end)

  it("is answered while no frame runs", function()
    local socket = sockets.open { url = demo .. "/ws/ping?ms=10" }
    local begun = helper.now()
    while helper.now() - begun < 200 do end
    socket.task:send { data = "pongs" }
    assert.is_true(tonumber(sockets.wait_messages(socket, 1)) >= 5)
  end)

  it("is answered between fragments of our own echo", function()
    local socket = sockets.open { url = demo .. "/ws/fragment?n=5" }
    for i = 1, 20 do socket.task:send { data = ("%05d"):format(i) } end
    sockets.wait_messages(socket, 20)
    for i = 1, 20 do assert.equal(("%05d"):format(i), socket.messages[i]) end
  end)

  it("is not sent unless asked for", function()
    local socket, key = open("echo")
    helper.run_for(300)
    sockets.close(socket)
    assert.same({}, of_opcode(sockets.frames(key), 9))
  end)

  it("is sent every pingInterval", function()
    local socket, key = open("echo", nil, { pingInterval = 50,
      pongTimeout = 2000 * helper.slow })
    helper.run_for(400)
    assert.equal(socket.task.OPEN, socket.task.readyState)
    sockets.close(socket)
    local pings = of_opcode(sockets.frames(key), 9)
    assert.is_true(#pings >= 3, #pings)
    assert.is_true(#pings <= 9 * helper.slow, #pings)
    for _, frame in ipairs(pings) do assert.is_true(frame.masked) end
  end)

  it("keeps a link that answers", function()
    local socket = sockets.open { url = ECHO, pingInterval = 30,
      pongTimeout = 500 * helper.slow }
    helper.run_for(700)
    socket.task:send { data = "x" }
    sockets.wait_messages(socket, 1)
    assert.equal(0, #socket.closes)
  end)

  it("without a pong ends the link with 1006", function()
    for _, path in ipairs { "silent", "deaf" } do
      local begun = helper.now()
      local socket = sockets.finish((open(path, nil,
        { pingInterval = 100, pongTimeout = 150 })))
      local took = helper.now() - begun
      assert.is_true(took >= 240, took)
      assert.is_true(took < 1500 * helper.slow, took)
      assert.same({ "success", "complete", "open", "close" }, socket.order)
      sockets.check_closed(socket, 1006, "abnormal closure")
    end
  end)

  it("has its pong time-out for an interval by default", function()
    local begun = helper.now()
    local socket = sockets.finish((open("silent", nil,
      { pingInterval = 100 })))
    local took = helper.now() - begun
    assert.is_true(took >= 190 and took < 1500 * helper.slow, took)
    sockets.check_closed(socket, 1006, "abnormal closure")
  end)

  it("has a pong time-out that no frame has to run for", function()
    local socket = open("silent", nil, { pingInterval = 50 })
    local begun = helper.now()
    while helper.now() - begun < 300 do end
    helper.run_until(function()
      return socket.task.state == "closing" or socket.done
    end, 1000)
    sockets.finish(socket)
  end)

  it("is off when the interval is 0 or less", function()
    for _, interval in ipairs { 0, -1 } do
      local socket, key = open("silent", nil,
        { pingInterval = interval, pongTimeout = 20 })
      helper.run_for(150)
      assert.equal(0, #socket.closes)
      assert.equal(socket.task.OPEN, socket.task.readyState)
      sockets.drop()
      assert.same({}, (sockets.frames(key)))
    end
  end)
end)

describe("reconnect", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  local FAST = { base = 10, max = 50, jitter = 0, tries = 5 }

  local function count(key)
    return tonumber(helper.ask(servers.fault.http .. "/count?of=" .. key))
  end

  local function wait_reconnect(socket, n, ms)
    helper.run_until(function()
      assert(not socket.done, "it ended")
      return #socket.reconnects >= n
    end, ms, n .. " reconnects")
    return socket.reconnects[n]
  end

  for _, how in ipairs { "rst", "fin" } do
    it("makes the link again after " .. how, function()
      local socket, key = open("flaky", { on = 3, how = how },
        { reconnect = FAST })
      local res = wait_reconnect(socket, 2)
      assert.equal(1, res.attempt)
      assert.equal(1006, res.code)
      assert.equal("abnormal closure", res.reason)
      socket.task:send { data = "still there" }
      assert.equal("still there", sockets.wait_messages(socket, 1))
      assert.same({ "success", "complete", "open", "reconnect", "reconnect",
        "message" }, socket.order)
      assert.equal(3, count(key))
      sockets.close(socket, { code = 3000 })
      sockets.check_closed(socket, 3000, "normal closure")
    end)
  end

  it("tells what the new link is like", function()
    local socket = open("flaky", { on = 2, how = "fin" },
      { reconnect = FAST })
    local res, first = wait_reconnect(socket, 1), socket.opens[1]
    assert.equal(first.header.Upgrade, res.header.Upgrade)
    assert.equal("", res.protocol)
    assert.is_true(res.profile.connectStart >= first.profile.connectStart)
    assert.is_true(res.profile.cost >= 0)
  end)

  it("makes the link again after a restart of the server", function()
    local socket = open("flaky", { on = 2, how = "close" },
      { reconnect = FAST })
    local res = wait_reconnect(socket, 1)
    assert.equal(1, res.attempt)
    assert.equal(1012, res.code)
    assert.equal("restart", res.reason)
    assert.equal(0, #socket.closes)
  end)

  it("makes the link again after a pong that did not come", function()
    local socket, key = open("silent", nil, { reconnect = FAST,
      pingInterval = 50, pongTimeout = 50 })
    local res = wait_reconnect(socket, 2)
    assert.equal(1006, res.code)
    assert.is_true(count(key) >= 3)
    sockets.drop()
  end)

  it("does not after a close that was meant", function()
    for _, code in ipairs { 1000, 3000, 4999 } do
      local url, key = sockets.fault("close", { code = code })
      local socket = sockets.whole { url = url, reconnect = FAST }
      sockets.check_closed(socket, code, "")
      helper.run_for(60)
      assert.equal(1, count(key))
    end
  end)

  it("does not after a violation of the protocol", function()
    local url, key = sockets.fault("masked")
    local socket = sockets.whole { url = url, reconnect = FAST }
    sockets.check_violation(socket, 1002)
    helper.run_for(60)
    assert.equal(1, count(key))
  end)

  it("does not when the first handshake fails", function()
    local url, key = sockets.fault("refuse", { status = 503 })
    local socket = sockets.whole { url = url, reconnect = FAST }
    assert.equal("connectSocket:fail Invalid HTTP status 503",
      socket.errors[1].errMsg)
    assert.same({ "success", "complete", "error" }, socket.order)
    helper.run_for(60)
    assert.equal(1, count(key))
  end)

  it("counts the attempts that one took", function()
    local socket, key = open("flaky", { on = 4, how = "refuse" },
      { reconnect = FAST })
    local res = wait_reconnect(socket, 1)
    assert.equal(3, res.attempt)
    assert.equal(1006, res.code)
    assert.equal(4, count(key))
  end)

  it("gives up when the tries are spent", function()
    local socket, key = open("flaky", { on = 100, how = "refuse" },
      { reconnect = { base = 5, max = 5, jitter = 0, tries = 3 } })
    sockets.finish(socket)
    assert.same({ "success", "complete", "open", "close" }, socket.order)
    sockets.check_closed(socket, 1006, "abnormal closure")
    assert.equal(4, count(key))
  end)

  it("counts tries anew after each success", function()
    local socket, key = open("flaky", { on = 6, how = "rst" },
      { reconnect = { base = 5, max = 5, jitter = 0, tries = 1 } })
    wait_reconnect(socket, 5)
    for i = 1, 5 do assert.equal(1, socket.reconnects[i].attempt) end
    assert.equal(6, count(key))
  end)

  it("waits longer each time, up to a maximum", function()
    local begun
    local socket, key = open("flaky", { on = 100, how = "refuse" },
      { reconnect = { base = 40, max = 100, jitter = 0, tries = 4 } })
    begun = helper.now()
    sockets.finish(socket)
    -- 40, 80, 100 and 100 ms.
    local took = helper.now() - begun
    assert.is_true(took >= 280, took)
    assert.is_true(took < 1500 * helper.slow, took)
    assert.equal(5, count(key))
  end)

  it("waits less by chance, with jitter", function()
    -- Three waits of up to `most` each: that the sums of all three sockets come
    -- near 3 * most by chance will not be seen.
    local most = 400 * helper.slow
    local begun, least = helper.now(), math.huge
    local all = {}
    for i = 1, 3 do
      all[i] = open("flaky", { on = 100, how = "refuse" },
        { reconnect = { base = most, max = most, jitter = 1, tries = 3 } })
      all[i].task:onClose(function()
        least = math.min(least, helper.now() - begun)
      end)
    end
    for i = 1, 3 do sockets.finish(all[i]) end
    assert.is_true(least < 2.75 * most, least)
  end)

  it("takes true for the defaults", function()
    local socket = open("flaky", { on = 2, how = "fin" },
      { reconnect = true })
    local res = wait_reconnect(socket, 1)
    assert.equal(1, res.attempt)
  end)

  it("is off by default, and with false", function()
    for _, value in ipairs { 0, false } do
      local options = {}
      if value == false then options.reconnect = false end
      local url, key = sockets.fault("flaky", { on = 3, how = "fin" })
      options.url = url
      local socket = sockets.whole(options)
      sockets.check_closed(socket, 1006, "abnormal closure")
      helper.run_for(30)
      assert.equal(1, count(key))
    end
  end)

  it("wants a table or a flag, and numbers in it", function()
    for _, wrong in ipairs { 5, "yes", { base = "1" }, { tries = {} },
      { max = true }, { jitter = "x" } } do
      local socket = sockets.whole { url = ECHO, reconnect = wrong }
      assert.matches("^connectSocket:fail parameter error",
        socket.fail.errMsg)
      assert.equal(1001, socket.fail.errno)
    end
  end)

  it("keeps the listeners and the global ones", function()
    local opens, texts = 0, {}
    net.onSocketOpen(function() opens = opens + 1 end)
    net.onSocketMessage(function(res) texts[#texts + 1] = res.data end)
    local socket = open("flaky", { on = 2, how = "fin" },
      { reconnect = FAST })
    local calls = 0
    socket.task:onMessage(function() calls = calls + 1 end)
    wait_reconnect(socket, 1)
    net.sendSocketMessage { data = "x" }
    sockets.wait_messages(socket, 1)
    assert.equal(1, calls)
    assert.same({ "x" }, texts)
    assert.equal(1, opens)
  end)

  it("is CONNECTING meanwhile, and sends fail", function()
    local socket = open("flaky", { on = 2, how = "fin" },
      { reconnect = { base = 200, max = 200, jitter = 0, tries = 3 } })
    helper.run_until(function()
      return socket.task.readyState == socket.task.CONNECTING
    end)
    assert.equal(0, #socket.reconnects)
    local call = sockets.send(socket, { data = "x" })
    sockets.check_result(call.fail,
      "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
    wait_reconnect(socket, 1)
    assert.equal(socket.task.OPEN, socket.task.readyState)
    call = sockets.send(socket, { data = "x" })
    assert.is_truthy(call.success)
  end)

  it("fails sends that were queued when the link was lost", function()
    local socket = open("deaf", nil, { reconnect = { base = 5000, tries = 2 },
      pingInterval = 50, pongTimeout = 100 })
    local calls = {}
    for i = 1, 8 do
      calls[i] = sockets.call(socket.task.send, socket.task,
        { data = ("x"):rep(1024 * 1024) })
    end
    sockets.wait_call(calls[8])
    sockets.check_result(calls[8].fail,
      "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
    -- The last may have been on its way when the link was lost.
    helper.run_until(function() return socket.task.bufferedAmount == 0 end)
    assert.equal(0, #socket.closes)
    sockets.close(socket, { code = 3000 })
    sockets.check_closed(socket, 3000, "normal closure")
  end)

  it("ends at close() while it waits", function()
    local socket, key = open("flaky", { on = 2, how = "fin" },
      { reconnect = { base = 100, max = 100, jitter = 0, tries = 3 } })
    helper.run_until(function()
      return socket.task.readyState == socket.task.CONNECTING
    end)
    local begun = helper.now()
    sockets.close(socket, { code = 3000, reason = "enough" })
    assert.is_true(helper.now() - begun < 1000 * helper.slow)
    sockets.check_closed(socket, 3000, "enough")
    helper.run_for(150)
    assert.equal(1, count(key))
  end)

  it("ends at close() in onReconnect", function()
    local url, key = sockets.fault("flaky", { on = 3, how = "fin" })
    local socket = sockets.start { url = url, reconnect = FAST }
    socket.task:onReconnect(function()
      socket.task:close { code = 3001, fail = print }
    end)
    sockets.finish(socket)
    assert.equal(3001, socket.closes[1].code)
    assert.equal(2, count(key))
  end)

  it("ends at net.close()", function()
    local socket, key = open("flaky", { on = 2, how = "fin" },
      { reconnect = { base = 50, max = 50, jitter = 0, tries = 3 } })
    helper.run_until(function()
      return socket.task.readyState == socket.task.CONNECTING
    end)
    sockets.drop()
    helper.run_for(120)
    assert.equal(1, count(key))
    assert.same({}, socket.closes)
  end)

  it("is replaced in single mode like any other", function()
    net.configure { socketMode = "single" }
    local first = open("flaky", { on = 2, how = "fin" },
      { reconnect = { base = 2000, max = 2000, jitter = 0, tries = 3 } })
    helper.run_until(function()
      return first.task.readyState == first.task.CONNECTING
    end)
    local second = sockets.open { url = ECHO }
    sockets.finish(first)
    sockets.check_closed(first, 1000, "replaced")
    assert.equal(1, #second.opens)
  end)

  it("counts as a live socket meanwhile", function()
    net.configure { limits = { maxSockets = 1 } }
    local socket = open("flaky", { on = 2, how = "fin" },
      { reconnect = { base = 2000, max = 2000, jitter = 0, tries = 3 } })
    helper.run_until(function()
      return socket.task.readyState == socket.task.CONNECTING
    end)
    sockets.check_refused(sockets.whole { url = ECHO },
      "reach max websocket connect count 1", 600007)
    sockets.close(socket)
  end)
end)
