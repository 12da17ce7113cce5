-- The close handshake in both directions, as a script and as a server sees it.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"

local net, servers = helper.net, helper.servers
local demo = servers.demo_ws
local ECHO = demo .. "/ws/echo"

-- The payload of a close frame.
local function payload(code, reason)
  return string.char(math.floor(code / 256), code % 256) .. (reason or "")
end

-- A socket at an endpoint of the fault server, and its key.
local function open(path, parameters, options)
  local url, key = sockets.fault(path, parameters)
  local given = { url = url }
  for name, value in pairs(options or {}) do given[name] = value end
  return sockets.open(given), key
end

-- What the client ended with: one masked close frame, and nothing behind.
local function check_close_frame(key, want)
  local frames, how = sockets.frames(key)
  local last = frames[#frames]
  assert(last, "no frame came")
  assert.equal(8, last.opcode)
  assert.is_true(last.fin)
  assert.is_true(last.masked)
  assert.equal(0, last.rsv)
  assert.equal(want, last.payload)
  for i = 1, #frames - 1 do
    assert(frames[i].opcode ~= 8, "two close frames")
  end
  return frames, how
end

local function close_call(socket, options)
  return sockets.wait_call(sockets.call(socket.task.close, socket.task,
    options))
end

describe("closing a socket", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  -- ---- By the script --------------------------------------------------------

  it("#155 #157 sends 1000 and no reason, and tells of a normal closure",
    function()
      for _, options in ipairs { false, {} } do
        local socket, key = open("echo")
        sockets.close(socket, options or nil)
        sockets.check_closed(socket, 1000, "normal closure")
        check_close_frame(key, payload(1000))
      end
    end)

  it("#155 #157 sends and tells code and reason", function()
    for _, case in ipairs { { 1000, "done" }, { 1001, "" }, { 3000, "Gründe" },
      { 4999, ("x"):rep(123) }, { 1011, "世界" } } do
      local socket, key = open("echo")
      sockets.close(socket, { code = case[1], reason = case[2] })
      check_close_frame(key, payload(case[1], case[2]))
      assert.equal(0, #socket.errors)
      assert.equal(case[1], socket.closes[1].code)
      if case[2] ~= "" then
        assert.equal(case[2], socket.closes[1].reason)
      end
    end
  end)

  it("#155 takes a reason without a code", function()
    local socket, key = open("echo")
    sockets.close(socket, { reason = "only that" })
    sockets.check_closed(socket, 1000, "only that")
    check_close_frame(key, payload(1000, "only that"))
  end)

  it("#155 succeeds once the frame is queued", function()
    local socket = sockets.open { url = ECHO }
    local call = close_call(socket)
    assert.same({ "success", "complete" }, call.order)
    assert.same({ errMsg = "closeSocket:ok" }, call.success)
    sockets.finish(socket)
  end)

  it("#155 accepts every code that may be sent", function()
    net.configure { limits = { maxSockets = 100 } }
    local all = {}
    for _, range in ipairs { { 1000, 1003 }, { 1007, 1014 }, { 3000, 3000 },
      { 3999, 4000 }, { 4999, 4999 } } do
      for code = range[1], range[2] do
        all[#all + 1] = { code = code, socket = sockets.start { url = ECHO } }
      end
    end
    for _, one in ipairs(all) do
      sockets.wait_open(one.socket)
      one.socket.task:close { code = one.code, reason = "r" }
    end
    for _, one in ipairs(all) do
      sockets.finish(one.socket)
      sockets.check_closed(one.socket, one.code, "r")
    end
  end)

  it("#155 fails for every other code", function()
    local socket = sockets.open { url = ECHO }
    for _, code in ipairs { 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999,
      2000, 2999, 5000, 65535, 65536 + 1000, -1000, 1000.5, 0 / 0, 1 / 0 } do
      local call = close_call(socket, { code = code })
      assert.same({ "fail", "complete" }, call.order)
      sockets.check_result(call.fail, "closeSocket:fail invalid code", 600005,
        -1)
    end
    assert.equal(socket.task.OPEN, socket.task.readyState)
    socket.task:send { data = "still there" }
    assert.equal("still there", sockets.wait_messages(socket, 1))
  end)

  it("#155 fails for wrong types and reasons that cannot be sent", function()
    local socket = sockets.open { url = ECHO }
    local reason = "invalid reason: it must be UTF-8 and have at most 123 bytes"
    local parameter = "parameter error: parameter.%s should be %s instead of"
      .. " %s;"
    for _, case in ipairs {
      { { code = "1000" }, parameter:format("code", "Number", "String"), 1001 },
      { { code = {} }, parameter:format("code", "Number", "Object"), 1001 },
      { { reason = 5 }, parameter:format("reason", "String", "Number"), 1001 },
      { { reason = ("x"):rep(124) }, reason, 600005 },
      { { reason = ("ü"):rep(62) }, reason, 600005 },
      { { reason = "\255" }, reason, 600005 },
      { { code = 1000, reason = "cut \226\130" }, reason, 600005 },
    } do
      local call = close_call(socket, case[1])
      assert.same({ "fail", "complete" }, call.order)
      sockets.check_result(call.fail, "closeSocket:fail " .. case[2], case[3],
        -1)
    end
    assert.equal(socket.task.OPEN, socket.task.readyState)
  end)

  it("#155 fails the second time, and when it is closed", function()
    local socket = sockets.open { url = ECHO }
    socket.task:close { code = 3000 }
    local call = close_call(socket, { code = 3001 })
    sockets.check_result(call.fail,
      "closeSocket:fail WebSocket is not connected", 600004, -1)
    sockets.finish(socket)
    assert.equal(3000, socket.closes[1].code)
    call = close_call(socket)
    sockets.check_result(call.fail,
      "closeSocket:fail WebSocket is not connected", 600004, -1)
  end)

  it("#155 sends what was queued before", function()
    local socket, key = open("echo")
    local text = ("x"):rep(1024 * 1024)
    local sent = 0
    for _ = 1, 4 do
      socket.task:send { data = text, success = function() sent = sent + 1 end }
    end
    sockets.close(socket, { code = 3000 }, 10000)
    assert.equal(4, sent)
    local frames = check_close_frame(key, payload(3000))
    local total = 0
    for _, frame in ipairs(frames) do
      if frame.opcode <= 2 then total = total + frame.size end
    end
    assert.equal(4 * #text, total)
  end)

  it("#155 delivers no message after the call", function()
    local url = demo .. "/ws/push?n=1000&size=100"
    local socket = sockets.start { url = url }
    socket.task:onMessage(function()
      if #socket.messages == 10 then socket.task:close() end
    end)
    sockets.finish(socket)
    assert.equal(10, #socket.messages)
    sockets.check_closed(socket, 1000, "normal closure")
  end)

  it("#155 delivers no message that waited for its frame", function()
    local socket = sockets.open { url = demo .. "/ws/push?n=100&size=10" }
    helper.run_until(function() return #socket.messages > 0 end)
    net.pause()
    socket.task:send { data = "x" }
    helper.run_for(50)
    local count = #socket.messages
    socket.task:close()
    net.resume()
    sockets.finish(socket)
    assert.equal(count, #socket.messages)
  end)

  it("#155 in every callback", function()
    for _, kind in ipairs { "success", "complete", "Open", "Message" } do
      local task
      local function close() task:close { code = 3000, reason = kind } end
      local socket = sockets.start { url = demo .. "/ws/push?n=1&size=5",
        [kind] = close }
      task = socket.task
      if kind:find("^%u") then task["on" .. kind](task, close) end
      sockets.finish(socket)
      assert.equal(3000, socket.closes[1].code, kind)
      assert.equal(kind, socket.closes[1].reason)
    end
    -- Too late in these, and harmless.
    local failed = 0
    local function late(task)
      return function()
        task:close { fail = function() failed = failed + 1 end }
      end
    end
    local task = net.connectSocket { url = demo .. "/ws/close?code=1000" }
    task:onClose(late(task))
    task = net.connectSocket { url = "ws://127.0.0.1:1/" }
    task:onError(late(task))
    assert.is_true(net.run(5000))
    net.update()
    assert.equal(2, failed)
  end)

  -- ---- Before the open ------------------------------------------------------

  it("#155 cancels a connection in every state before the open", function()
    local function wait_for_request(key)
      helper.run_until(function()
        return helper.ask(servers.fault.http .. "/count?of=" .. key) == "1"
      end)
    end
    local blackhole = servers.fault.blackhole:gsub("^http", "ws") .. "/"
    local silent = servers.fault.silent:gsub("^http", "ws")
    local never, key = sockets.fault("handshake-never")
    local stall, stall_key = sockets.fault("handshake-stall")
    for _, case in ipairs {
      { ECHO },
      { blackhole, function() helper.run_for(20) end },
      { silent .. "/", function() helper.run_for(20) end },
      { silent:gsub("^ws", "wss") .. "/", function() helper.run_for(20) end },
      { never, function() wait_for_request(key) end },
      { stall, function() wait_for_request(stall_key) end },
      { demo:gsub("127%.0%.0%.1", "localhost") .. "/ws/slow?ms=9999" },
    } do
      local socket = sockets.start { url = case[1] }
      if case[2] then case[2]() end
      assert.equal(socket.task.CONNECTING, socket.task.readyState)
      local begun = helper.now()
      local call = close_call(socket, { code = 3000, reason = "changed" })
      assert.is_truthy(call.success)
      sockets.finish(socket)
      assert.is_true(helper.now() - begun < 1000 * helper.slow, case[1])
      assert.same({}, socket.opens)
      sockets.check_closed(socket, 3000, "changed")
    end
    -- The servers were told in no words at all.
    assert.same({}, (sockets.frames(key)))
    assert.same({}, (sockets.frames(stall_key)))
  end)

  it("#155 before the open is a normal closure by default", function()
    local socket = sockets.start { url = demo .. "/ws/slow?ms=9999" }
    sockets.close(socket)
    sockets.check_closed(socket, 1000, "normal closure")
    assert.same({ "success", "complete", "close" }, socket.order)
  end)

  it("#155 before the open fails twice, and for a bad code", function()
    local socket = sockets.start { url = demo .. "/ws/slow?ms=50" }
    local call = close_call(socket, { code = 1 })
    assert.matches("invalid code", call.fail.errMsg)
    sockets.wait_open(socket)
    socket = sockets.start { url = demo .. "/ws/slow?ms=9999" }
    socket.task:close()
    call = close_call(socket)
    sockets.check_result(call.fail,
      "closeSocket:fail WebSocket is not connected", 600004, -1)
  end)

  -- ---- By the server --------------------------------------------------------

  it("#157 tells the server's code and reason, and answers", function()
    for _, case in ipairs { { 1000, "" }, { 1001, "going" }, { 1002, "" },
      { 1003, "x" }, { 1007, "x" }, { 1011, "Gründe" }, { 1012, "restart" },
      { 1013, "later" }, { 1014, "bad" }, { 3000, "" }, { 4999, "last" } } do
      local url, key = sockets.fault("close", { code = case[1],
        reason = case[2] })
      local socket = sockets.whole { url = url }
      sockets.check_closed(socket, case[1], case[2])
      assert.same({ "success", "complete", "open", "close" }, socket.order)
      local frames = sockets.frames(key)
      assert.equal(1, #frames)
      assert.equal(8, frames[1].opcode)
      assert.is_true(frames[1].masked)
      assert.equal(payload(case[1]), frames[1].payload:sub(1, 2))
    end
  end)

  it("#157 tells 1005 when the server says no code", function()
    local url, key = sockets.fault("close")
    local socket = sockets.whole { url = url }
    sockets.check_closed(socket, 1005, "")
    -- 1005 is never sent.
    local frames = sockets.frames(key)
    assert.equal(8, frames[1].opcode)
    assert.is_true(frames[1].payload == "" or
      frames[1].payload == payload(1000))
    socket = sockets.whole { url = demo .. "/ws/close" }
    sockets.check_closed(socket, 1005, "")
  end)

  it("#157 tells what came before the server's close, in order", function()
    local url = sockets.fault("script", {
      hex = "8103616263" .. "8203646566" .. "88050fa0627965" })
    local socket = sockets.whole { url = url }
    assert.same({ "success", "complete", "open", "message", "message",
      "close" }, socket.order)
    assert.equal("abc", socket.messages[1])
    assert.equal("def", tostring(socket.messages[2]))
    sockets.check_closed(socket, 4000, "bye")
  end)

  it("#157 tells nothing of what comes after the server's close", function()
    local socket = sockets.whole { url = sockets.fault("close-then-data") }
    assert.same({}, socket.messages)
    sockets.check_closed(socket, 1000, "bye")
  end)

  it("#157 does not wait for the end of the connection", function()
    local begun = helper.now()
    local url, key = sockets.fault("close-stay")
    local socket = sockets.whole { url = url }
    sockets.check_closed(socket, 1000, "stay")
    assert.is_true(helper.now() - begun < 2000 * helper.slow)
    assert.equal(8, sockets.frames(key)[1].opcode)
  end)

  it("#157 tells of the server's close only after its frame", function()
    net.pause()
    local socket = sockets.start { url = demo .. "/ws/close?code=3001" }
    helper.run_until(function()
      return net.stats().queuedEvents >= 3
    end)
    assert.same({}, socket.order)
    net.resume()
    sockets.finish(socket)
    sockets.check_closed(socket, 3001, "")
  end)

  it("#155 fails sends that the server's close has overtaken", function()
    local socket = sockets.open { url = sockets.fault("deaf"),
      pingInterval = 50, pongTimeout = 100 }
    local calls = {}
    for i = 1, 8 do
      calls[i] = sockets.call(socket.task.send, socket.task,
        { data = ("x"):rep(1024 * 1024) })
    end
    sockets.finish(socket)
    sockets.check_closed(socket, 1006, "abnormal closure")
    local failed = 0
    for _, call in ipairs(calls) do
      sockets.wait_call(call)
      if call.fail then
        failed = failed + 1
        sockets.check_result(call.fail,
          "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
      else
        assert.equal(0, failed, "a success after a fail")
      end
    end
    assert.is_true(failed > 0)
  end)

  -- ---- Both, and neither ----------------------------------------------------

  it("#155 tells the script's own code, not that of the answer", function()
    local socket, key = open("script", { ["then"] = "differ" })
    sockets.close(socket, { code = 3333, reason = "mine" })
    sockets.check_closed(socket, 3333, "mine")
    check_close_frame(key, payload(3333, "mine"))
  end)

  it("#155 and by the server at once ends once", function()
    for _ = 1, 20 do
      local socket = sockets.open { url = demo .. "/ws/close?code=3001" }
      socket.task:close { code = 3002, fail = function() end }
      sockets.finish(socket)
      assert.equal(1, #socket.closes)
      assert.equal(0, #socket.errors)
      local code = socket.closes[1].code
      assert.is_true(code == 3001 or code == 3002, code)
    end
  end)

  it("#155 waits 5 seconds for an answer, and no longer", function()
    local begun = helper.now()
    local silent, key = sockets.fault("silent")
    local one = sockets.open { url = silent }
    local two = sockets.open { url = sockets.fault("deaf") }
    local three = sockets.open { url = sockets.fault("deaf") }
    local pending = {}
    for i = 1, 8 do
      pending[i] = sockets.call(three.task.send, three.task,
        { data = ("x"):rep(1024 * 1024) })
    end
    local closed = {}
    for i, socket in ipairs { one, two, three } do
      socket.task:onClose(function() closed[i] = helper.now() - begun end)
      socket.task:close { code = 3000 + i, reason = "r" }
    end
    for i, socket in ipairs { one, two, three } do
      sockets.finish(socket, 8000)
      sockets.check_closed(socket, 3000 + i, "r")
      assert.is_true(closed[i] >= 4800, closed[i])
      assert.is_true(closed[i] < 6500 * helper.slow, closed[i])
    end
    assert.is_truthy(sockets.wait_call(pending[8]).fail)
    check_close_frame(key, payload(3001, "r"))
  end)

  it("leaves no descriptor behind", function()
    sockets.close(sockets.open { url = ECHO })
    local mark = residue.mark()
    for _ = 1, 5 do
      sockets.close(sockets.open { url = ECHO })
      sockets.whole { url = demo .. "/ws/close?code=1000" }
      sockets.close(sockets.start { url = demo .. "/ws/slow?ms=9999" })
    end
    helper.run_until(function()
      return residue.descriptors() <= mark
    end, 5000, "descriptors to be closed")
  end)
end)
