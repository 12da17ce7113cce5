-- connectSocket and SocketTask: options, messages, listeners, life.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local wire = require "support.wire"

local core = require "nettask.core"
local net, servers = helper.net, helper.servers
local demo = servers.demo_ws
local ECHO = demo .. "/ws/echo"

local function echo(options)
  options = options or {}
  options.url = options.url or ECHO
  return sockets.open(options)
end

-- The text or the Buffer that comes back.
local function round_trip(socket, options)
  local count = #socket.messages + 1
  socket.task:send(options)
  return sockets.wait_messages(socket, count)
end

-- The header fields of a handshake, as the demo server saw them; `names` are
-- those that libwebsockets has no name for.
local function sent_fields(header, names)
  local socket = sockets.open { header = header,
    url = demo .. "/ws/headers?names=" .. (names or "x-none") }
  local text = sockets.wait_messages(socket, 1)
  return core.jsonDecode(text), text
end

describe("connectSocket", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  -- ---- The call -------------------------------------------------------------

  it("#126 #154 #156 #159 opens, sends and receives", function()
    local socket = echo()
    assert.equal("hello", round_trip(socket, { data = "hello" }))
    assert.same({ "success", "complete", "open", "message" }, socket.order)
  end)

  it("#126 accepts at once, in a later frame, and opens after that", function()
    local socket = sockets.start { url = ECHO }
    assert.same({}, socket.order)
    net.update()
    assert.same({ "success", "complete" }, socket.order)
    assert.equal(socket.success, socket.complete)
    assert.equal("connectSocket:ok", socket.success.errMsg)
    assert.equal(socket.task.socketTaskId, socket.success.socketTaskId)
    sockets.wait_open(socket)
    assert.same({ "success", "complete", "open" }, socket.order)
  end)

  it("#126 is a success even if nobody answers", function()
    local socket = sockets.whole { url = servers.fault.refused:gsub("^http",
      "ws") .. "/" }
    sockets.check_unopened(socket, "-102:net::ERR_CONNECTION_REFUSED", 600001,
      -102)
  end)

  it("#126 gives each socket an id of its own", function()
    local first, second = echo(), echo()
    assert.is_truthy(first.task.socketTaskId)
    assert.not_equal(first.task.socketTaskId, second.task.socketTaskId)
    assert.is_true(second.task.id > first.task.id)
  end)

  it("needs a table", function()
    for _, wrong in ipairs { "ws://127.0.0.1", 1, true, print } do
      assert.is_false(pcall(net.connectSocket, wrong))
    end
    assert.is_false(pcall(net.connectSocket))
  end)

  it("#127 fails without a url", function()
    for _, case in ipairs { { nil, "Undefined" }, { 5, "Number" },
      { {}, "Object" }, { true, "Boolean" } } do
      local socket = sockets.whole { url = case[1] }
      sockets.check_refused(socket, "parameter error: parameter.url should be"
        .. " String instead of " .. case[2] .. ";", 1001)
    end
  end)

  it("#127 fails for a bad url", function()
    for _, url in ipairs { "", "ws://", "ws://127.0.0.1:0x/", "ws://a b/",
      "//", "no-base" } do
      local socket = sockets.whole { url = url }
      sockets.check_refused(socket, ('invalid url "%s"'):format(url), 600009,
        -300)
    end
  end)

  it("#128 fails for other schemes", function()
    for _, url in ipairs { "http://127.0.0.1/", "https://127.0.0.1/",
      "ftp://127.0.0.1/", "file:///etc/passwd" } do
      local socket = sockets.whole { url = url }
      sockets.check_refused(socket, "url scheme is not allowed", 600011, -10)
    end
  end)

  it("#128 takes the scheme in any case", function()
    local socket = echo { url = ECHO:gsub("^ws:", "WS:") }
    assert.equal("x", round_trip(socket, { data = "x" }))
  end)

  it("#128 resolves a relative url against baseUrl", function()
    net.configure { baseUrl = servers.demo .. "/ws/" }
    for _, url in ipairs { "echo", "/ws/echo", "./echo?a=b" } do
      local socket = echo { url = url }
      assert.equal("x", round_trip(socket, { data = "x" }))
    end
  end)

  it("fails without wss under requireSecure", function()
    net.configure { requireSecure = true }
    local socket = sockets.whole { url = ECHO }
    net.configure { requireSecure = false }
    sockets.check_refused(socket, "url scheme is not allowed", 600011, -10)
    assert.matches("requireSecure", socket.fail.reason)
  end)

  it("fails with a port under allowUrlPort=false", function()
    net.configure { allowUrlPort = false }
    local socket = sockets.whole { url = ECHO }
    net.configure { allowUrlPort = true }
    sockets.check_refused(socket, "url port is not allowed", 600011, -10)
    assert.matches("allowUrlPort", socket.fail.reason)
  end)

  for _, case in ipairs {
    { "header", 5, "Object", "Number" },
    { "protocols", 5, false },
    { "tcpNoDelay", "yes", "Boolean", "String" },
    { "perMessageDeflate", 1, "Boolean", "Number" },
    { "timeout", "1", "Number", "String" },
    { "multiple", 1, "Boolean", "Number" },
    { "pingInterval", "1", "Number", "String" },
    { "pongTimeout", {}, "Number", "Object" },
    { "maxMessageBytes", "1", "Number", "String" },
    { "forceCellularNetwork", 1, "Boolean", "Number" },
  } do
    it(("fails for a %s that is %s"):format(case[1], tostring(case[2])),
      function()
        local socket = sockets.whole { url = ECHO, [case[1]] = case[2] }
        if case[3] then
          sockets.check_refused(socket, ("parameter error: parameter.%s should"
            .. " be %s instead of %s;"):format(case[1], case[3], case[4]), 1001)
        else
          assert.is_truthy(socket.fail)
        end
      end)
  end

  it("logs an unknown option, with the nearest known one", function()
    local lines, restore = residue.log()
    local socket = echo { protocolss = { "chat" } }
    restore()
    assert.equal("x", round_trip(socket, { data = "x" }))
    assert.equal(1, #lines)
    assert.matches('unknown option "protocolss"', lines[1])
    assert.matches('"protocols"', lines[1])
  end)

  it("logs a failure that nobody handles", function()
    local lines, restore = residue.log()
    net.connectSocket { url = "ws://127.0.0.1:0x/" }
    net.connectSocket { url = servers.fault.refused:gsub("^http", "ws") .. "/" }
    assert.is_true(net.run(5000))
    restore()
    assert.equal(2, #lines)
    for _, line in ipairs(lines) do assert.matches("^warn: ", line) end
  end)

  -- ---- The handshake --------------------------------------------------------

  it("#130 sends the header, under both names", function()
    for _, name in ipairs { "header", "headers" } do
      local request = sockets.handshake { [name] = { ["X-One"] = "1",
        ["X-Number"] = 5, ["X-List"] = { "a", "b" }, Cookie = "k=v",
        Authorization = "Bearer t" } }
      assert.same({ "1" }, wire.values(request, "X-One"))
      assert.same({ "5" }, wire.values(request, "X-Number"))
      assert.same({ "a", "b" }, wire.values(request, "X-List"))
      assert.same({ "k=v" }, wire.values(request, "Cookie"))
      assert.same({ "Bearer t" }, wire.values(request, "Authorization"))
    end
    local fields = sent_fields({ ["X-One"] = "1", Cookie = "k=v" }, "x-one")
    assert.equal("1", fields["x-one"])
    assert.equal("k=v", fields.cookie)
  end)

  it("#130 drops what the handshake makes itself, and the referer", function()
    local lines, restore = residue.log()
    local request = sockets.handshake { header = {
      Referer = "http://evil.example/", host = "evil.example",
      CONNECTION = "close, evil", Upgrade = "evil",
      ["Content-Length"] = "666", ["Sec-WebSocket-Key"] = "evil",
      ["sec-websocket-version"] = "666", ["Sec-WebSocket-Protocol"] = "evil",
      ["SEC-WEBSOCKET-EXTENSIONS"] = "evil", ["Sec-WebSocket-X"] = "evil",
    } }
    restore()
    assert.same({}, lines)
    assert.is_nil(request.bytes:find("evil", 1, true))
    assert.is_nil(request.bytes:find("666", 1, true))
    for _, name in ipairs { "Referer", "Content-Length",
      "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions" } do
      assert.same({}, wire.values(request, name), name)
    end
  end)

  it("#126 sends a handshake to the letter of RFC 6455", function()
    local request = sockets.handshake {}
    local host = servers.fault.http:match("^http://(.*)$")
    assert.equal("GET", request.method)
    for name, value in pairs { Host = host, Upgrade = "websocket",
      Connection = "Upgrade", ["Sec-WebSocket-Version"] = "13" } do
      assert.same({ value }, wire.values(request, name))
    end
    local keys = wire.values(request, "Sec-WebSocket-Key")
    assert.equal(1, #keys)
    assert.equal(16, #core.base64Decode(keys[1]))
    local other = sockets.handshake {}
    assert.not_same(keys, wire.values(other, "Sec-WebSocket-Key"))
    assert.equal("", request.body)
  end)

  it("#126 sends user and password of the url, never a fragment", function()
    local url = servers.fault.ws:gsub("//", "//us%%65r:p%%40ss@")
    local request = sockets.handshake { url = url .. "/ws/echo?a=b&key=KEY#f" }
    assert.same({ "Basic dXNlcjpwQHNz" },
      wire.values(request, "Authorization"))
    assert.matches("^/ws/echo%?a=b&key=[^#]*$", request.target)
  end)

  it("#130 refuses a header that could start another", function()
    for _, case in ipairs { { "X-A", "1\r\nX-B: 2" }, { "X-A", "1\n2" },
      { "X-A", "\r" }, { "X A", "1" }, { "X-A:", "1" }, { "", "1" },
      { "X-A", "\0" } } do
      local socket = sockets.whole { url = ECHO,
        header = { [case[1]] = case[2] } }
      sockets.check_refused(socket, ('invalid header "%s"'):format(case[1]),
        600005)
    end
  end)

  it("#131 offers its protocols, and says which was chosen", function()
    local socket = echo { protocols = { "unheard-of", "superchat" } }
    assert.equal("superchat", socket.opens[1].protocol)
    socket = echo { protocols = { "chat", "superchat" } }
    assert.equal("chat", socket.opens[1].protocol)
  end)

  it("#131 opens without a protocol when none was asked for", function()
    assert.equal("", echo().opens[1].protocol)
    assert.equal("", echo { protocols = {} }.opens[1].protocol)
  end)

  it("#132 takes protocolsArray too, and protocols before it", function()
    local socket = echo { protocolsArray = { "superchat" } }
    assert.equal("superchat", socket.opens[1].protocol)
    socket = echo { protocolsArray = { "superchat" }, protocols = { "chat" } }
    assert.equal("chat", socket.opens[1].protocol)
  end)

  it("#131 #132 refuses protocols that are no array", function()
    for _, name in ipairs { "protocols", "protocolsArray" } do
      for _, wrong in ipairs { "chat", { chat = true }, 5, true } do
        local socket = sockets.whole { url = ECHO, [name] = wrong }
        assert.matches("^connectSocket:fail protocols must be an array",
          socket.fail.errMsg)
        sockets.check_refused(socket, "protocols must be an array",
          socket.fail.errno)
      end
    end
  end)

  it("#131 refuses items that are no protocol", function()
    for _, wrong in ipairs { "", "a b", "a,b", "a\r\n", "ch\195\164t", 5 } do
      local socket = sockets.whole { url = ECHO,
        protocols = { "chat", wrong } }
      assert.matches("^connectSocket:fail invalid protocol",
        socket.fail.errMsg)
      assert.equal(0, #socket.errors)
    end
  end)

  it("#133 opens with tcpNoDelay", function()
    for _, flag in ipairs { true, false } do
      local socket = echo { tcpNoDelay = flag }
      assert.equal("x", round_trip(socket, { data = "x" }))
    end
  end)

  it("#135 fails when the handshake takes too long", function()
    local begun = helper.now()
    local socket = sockets.whole { url = demo .. "/ws/slow?ms=20000",
      timeout = 150 }
    local took = helper.now() - begun
    sockets.check_unopened(socket, "timeout", 5, -7)
    assert.is_true(took >= 140 and took < 1500 * helper.slow, took)
  end)

  it("#135 takes its default from timeouts.socket", function()
    net.configure { timeouts = { socket = 150 } }
    for _, timeout in ipairs { false, 0, -1 } do
      local socket = sockets.whole { url = demo .. "/ws/slow?ms=20000",
        timeout = timeout or nil }
      sockets.check_unopened(socket, "timeout", 5, -7)
    end
  end)

  it("#135 gives the answer as much time as it says", function()
    local socket = echo { url = demo .. "/ws/slow?ms=150", timeout = 10000 }
    assert.equal(1, #socket.opens)
  end)

  it("#135 no longer matters once it is open", function()
    local socket = echo { timeout = 200 }
    helper.run_for(400)
    assert.equal("x", round_trip(socket, { data = "x" }))
  end)

  it("#139 #156 tells the header of the answer and a profile", function()
    local before = os.time() * 1000 - 1000
    local res = echo { protocols = { "chat" } }.opens[1]
    assert.equal("chat", res.header["Sec-WebSocket-Protocol"])
    assert.equal("websocket", res.header.Upgrade:lower())
    local profile = res.profile
    local last = before
    for _, name in ipairs { "fetchStart", "domainLookUpStart",
      "domainLookUpEnd", "connectStart", "connectEnd" } do
      assert.equal("number", type(profile[name]), name)
      assert.is_true(profile[name] >= last, name)
      last = profile[name]
    end
    assert.is_true(last <= os.time() * 1000 + 2000)
    for _, name in ipairs { "rtt", "handshakeCost", "cost" } do
      assert.equal("number", type(profile[name]), name)
      assert.is_true(profile[name] >= 0 and profile[name] < 5000, name)
    end
    assert.is_true(profile.cost >= profile.handshakeCost)
  end)

  it("tells what the handshake cost", function()
    local profile = echo { url = demo .. "/ws/slow?ms=120" }.opens[1].profile
    assert.is_true(profile.handshakeCost >= 100, profile.handshakeCost)
    assert.is_true(profile.cost >= profile.handshakeCost)
    assert.is_true(profile.rtt < profile.handshakeCost)
  end)
end)

-- ---- SocketTask -------------------------------------------------------------

describe("SocketTask", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("shows its readyState", function()
    local socket = sockets.start { url = ECHO }
    local task = socket.task
    assert.same({ 0, 1, 2, 3 }, { task.CONNECTING, task.OPEN, task.CLOSING,
      task.CLOSED })
    assert.equal(task.CONNECTING, task.readyState)
    sockets.wait_open(socket)
    assert.equal(task.OPEN, task.readyState)
    task:close()
    assert.equal(task.CLOSING, task.readyState)
    sockets.finish(socket)
    assert.equal(task.CLOSED, task.readyState)
  end)

  it("is OPEN in onOpen and CLOSED in onClose", function()
    local task, seen = nil, {}
    local function look() seen[#seen + 1] = task.readyState end
    task = net.connectSocket { url = ECHO, success = look }
    task:onOpen(function()
      look()
      task:close()
    end)
    task:onClose(look)
    assert.is_true(net.run(5000))
    assert.same({ 0, 1, 3 }, seen)
  end)

  it("tells its kind, id and state as text", function()
    local socket = sockets.start { url = ECHO }
    local id = ("%d"):format(socket.task.id)
    local function text(state)
      return ("nettask.SocketTask #%s (%s)"):format(id, state)
    end
    assert.equal(text "connecting", tostring(socket.task))
    sockets.wait_open(socket)
    assert.equal(text "open", tostring(socket.task))
    assert.equal("open", socket.task.state)
    sockets.close(socket)
    assert.equal(text "done", tostring(socket.task))
  end)

  it("has no other members, and takes none", function()
    local task = echo().task
    assert.equal("userdata", type(task))
    assert.is_nil(task.url)
    assert.is_nil(task[1])
    assert.is_nil(task.__gc)
    assert.is_false(pcall(function() task.readyState = 3 end))
    assert.is_false(pcall(function() task.mine = 1 end))
    assert.is_false(getmetatable(task))
  end)

  it("has methods that want a task", function()
    local task = echo().task
    for _, name in ipairs { "send", "close", "onOpen", "offOpen", "onMessage",
      "offMessage", "onError", "offError", "onClose", "offClose",
      "onReconnect", "offReconnect", "onDrain", "offDrain" } do
      local method = task[name]
      assert.equal("function", type(method), name)
      for _, wrong in ipairs { {}, "task", 1, io.stdout, print } do
        local ok, err = pcall(method, wrong, print)
        assert.is_false(ok, name)
        assert.matches("nettask%.SocketTask expected", err)
      end
      assert.is_false(pcall(method), name)
    end
  end)

  it("counts among the sockets of net.stats", function()
    local before = net.stats()
    local socket = echo()
    local stats = net.stats()
    assert.equal(1, stats.socket.open)
    assert.equal(before.live + 1, stats.live)
    sockets.close(socket)
    assert.equal(0, net.stats().socket.open)
  end)

  -- ---- send -----------------------------------------------------------------

  it("#154 #159 sends text as text and a Buffer as binary", function()
    local socket = echo()
    local text = round_trip(socket, { data = "Grüße, 世界 \0 𝄞" })
    assert.equal("Grüße, 世界 \0 𝄞", text)
    local bytes = "\0\1\255\254 no text"
    local back = round_trip(socket, { data = net.buffer(bytes) })
    assert.equal("userdata", type(back))
    assert.equal(#bytes, back.byteLength)
    assert.equal(bytes, tostring(back))
  end)

  it("#154 sends empty messages of both kinds", function()
    local socket = echo()
    assert.equal("", round_trip(socket, { data = "" }))
    local back = round_trip(socket, { data = net.buffer("") })
    assert.equal("userdata", type(back))
    assert.equal(0, #back)
  end)

  it("#154 keeps the order of messages of every size", function()
    local socket = echo()
    local sizes = { 0, 1, 125, 126, 127, 65535, 65536, 65537, 3, 1000000, 5 }
    local sent = {}
    for i, size in ipairs(sizes) do
      sent[i] = string.char(96 + i):rep(size)
      socket.task:send { data = i % 2 == 0 and net.buffer(sent[i]) or sent[i] }
    end
    sockets.wait_messages(socket, #sizes, 10000)
    for i, text in ipairs(sent) do
      local got = socket.messages[i]
      assert.equal(i % 2 == 0 and "userdata" or "string", type(got))
      assert.is_true(tostring(got) == text, "message " .. i)
    end
  end)

  it("#154 #149 succeeds once the bytes are with the system", function()
    local socket = echo()
    local call = sockets.send(socket, { data = "hello" })
    assert.same({ "success", "complete" }, call.order)
    assert.same({ errMsg = "sendSocketMessage:ok" }, call.success)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  it("#149 succeeds in order", function()
    local socket = echo()
    local order = {}
    for i = 1, 50 do
      socket.task:send { data = ("x"):rep(i * 1000),
        success = function() order[#order + 1] = i end,
        complete = function() order[#order + 1] = -i end }
    end
    helper.run_until(function() return #order == 100 end)
    for i = 1, 50 do
      assert.equal(i, order[2 * i - 1])
      assert.equal(-i, order[2 * i])
    end
  end)

  it("#147 #154 fails before the open", function()
    local socket = sockets.start { url = ECHO }
    local call = sockets.send(socket, { data = "early" })
    assert.same({ "fail", "complete" }, call.order)
    sockets.check_result(call.fail,
      "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
    sockets.wait_open(socket)
    assert.equal("late", round_trip(socket, { data = "late" }))
  end)

  it("#154 fails while it closes and when it is closed", function()
    local socket = echo()
    socket.task:close()
    for _ = 1, 2 do
      local call = sockets.send(socket, { data = "late" })
      sockets.check_result(call.fail,
        "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
      sockets.finish(socket)
    end
    sockets.check_closed(socket, 1000, "normal closure")
  end)

  it("#154 fails on a socket that was refused", function()
    local socket = sockets.whole { url = "ws://127.0.0.1:0x/" }
    local call = sockets.send(socket, { data = "x" })
    sockets.check_result(call.fail,
      "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
  end)

  it("#154 fails for data of another type", function()
    local socket = echo()
    for _, wrong in ipairs { 5, true, { "x" }, print, net.null, false } do
      local call = sockets.send(socket, { data = wrong })
      assert.same({ "fail", "complete" }, call.order)
      sockets.check_result(call.fail, "sendSocketMessage:fail data must be"
        .. " string or ArrayBuffer", call.fail.errno, -1)
    end
    local call = sockets.send(socket, {})
    assert.matches("data must be string or ArrayBuffer", call.fail.errMsg)
    assert.equal("x", round_trip(socket, { data = "x" }))
  end)

  it("#154 fails for text that is not UTF-8", function()
    local socket = echo()
    for _, wrong in ipairs { "\255", "caf\233", "\192\128", "\237\160\128",
      "cut \226\130", "\244\144\128\128", ("x"):rep(100000) .. "\128" } do
      local call = sockets.send(socket, { data = wrong })
      assert.same({ "fail", "complete" }, call.order)
      assert.matches("^sendSocketMessage:fail .*UTF%-8", call.fail.errMsg)
      assert.equal(-1, call.fail.errCode)
    end
    -- As bytes it goes.
    local back = round_trip(socket, { data = net.buffer("\255") })
    assert.equal("\255", tostring(back))
  end)

  it("wants a table, and functions in it", function()
    local task = echo().task
    for _, wrong in ipairs { "text", 5, true, print } do
      assert.is_false(pcall(task.send, task, wrong))
      assert.is_false(pcall(task.close, task, wrong))
    end
    assert.is_false(pcall(task.send, task))
  end)

  it("#148 sends base64 text as bytes with isBuffer", function()
    local socket = echo()
    for _, case in ipairs { { "", "" }, { "AA==", "\0" }, { "AAE=", "\0\1" },
      { "AAEC", "\0\1\2" }, { "//79", "\255\254\253" } } do
      local back = round_trip(socket, { data = case[1], isBuffer = true })
      assert.equal("userdata", type(back))
      assert.equal(case[2], tostring(back))
    end
  end)

  it("#148 fails for what is not base64", function()
    local socket = echo()
    for _, wrong in ipairs { "A", "!!!!", "AA==AA==", "A===", "AAE\n" } do
      local call = sockets.send(socket, { data = wrong, isBuffer = true })
      assert.same({ "fail", "complete" }, call.order)
      assert.matches("^sendSocketMessage:fail .*base64", call.fail.errMsg)
    end
    assert.equal("x", round_trip(socket, { data = "x", isBuffer = false }))
  end)

  it("#148 sends a Buffer as it is, with isBuffer or without", function()
    local socket = echo()
    local back = round_trip(socket, { data = net.buffer("AAEC"),
      isBuffer = true })
    assert.equal("AAEC", tostring(back))
  end)

  -- ---- Listeners ------------------------------------------------------------

  it("#156 #157 #158 #159 has listeners in order, each once", function()
    local task = net.connectSocket { url = ECHO }
    local calls = {}
    local function listener(name)
      return function() calls[#calls + 1] = name end
    end
    local a, b, c = listener "a", listener "b", listener "c"
    for _, kind in ipairs { "Open", "Message", "Close" } do
      for _, f in ipairs { a, b, a, c } do task["on" .. kind](task, f) end
      task["off" .. kind](task, b)
      task["off" .. kind](task, print)
    end
    task:onOpen(function() task:send { data = "x" } end)
    task:onMessage(function() task:close() end)
    assert.is_true(net.run(5000))
    assert.same({ "a", "c", "a", "c", "a", "c" }, calls)
  end)

  it("#158 has listeners of errors in order, each once", function()
    local task = net.connectSocket { url = "ws://127.0.0.1:1/" }
    local calls = {}
    local function a() calls[#calls + 1] = "a" end
    local function b() calls[#calls + 1] = "b" end
    task:onError(b)
    task:onError(a)
    task:onError(a)
    task:offError(b)
    task:onError(b)
    assert.is_true(net.run(5000))
    assert.same({ "a", "b" }, calls)
  end)

  it("forgets all listeners of a kind by offX()", function()
    local socket = echo()
    local task = socket.task
    task:onMessage(helper.never "onMessage")
    task:onMessage(helper.never "another onMessage")
    task:offMessage()
    task:onMessage(helper.expect(1, function(res)
      assert(res.data == "x")
    end))
    task:send { data = "x" }
    helper.run_until_met()
    assert.equal(0, #socket.messages)
    sockets.close(socket)
  end)

  it("raises for a listener that is no function", function()
    local task = echo().task
    for _, name in ipairs { "onOpen", "onMessage", "onError", "onClose",
      "onReconnect", "onDrain" } do
      for _, wrong in ipairs { "f", 5, {}, true } do
        assert.is_false(pcall(task[name], task, wrong), name)
      end
      assert.is_false(pcall(task[name], task), name)
    end
  end)

  it("lets a listener remove itself and add another", function()
    local socket = echo()
    local task, calls = socket.task, {}
    local function second(res) calls[#calls + 1] = "second " .. res.data end
    local function first(res)
      calls[#calls + 1] = "first " .. res.data
      task:offMessage(first)
      task:onMessage(second)
    end
    task:onMessage(first)
    task:send { data = "1" }
    task:send { data = "2" }
    sockets.wait_messages(socket, 2)
    assert.equal("first 1", calls[1])
    assert.equal("second 2", calls[#calls])
    assert.equal(2, #calls)
  end)

  -- ---- Errors in callbacks --------------------------------------------------

  it("goes on after an error in any callback", function()
    local reports, messages = {}, 0
    net.onError(function(err, traceback, what)
      assert(type(traceback) == "string")
      reports[#reports + 1] = what:match("%a+$") .. " " .. tostring(err)
    end)
    local function raise(name)
      return function() error(name, 0) end
    end
    local task = net.connectSocket { url = ECHO, success = raise "1",
      complete = raise "2" }
    task:onOpen(raise "3")
    task:onOpen(function()
      task:send { data = "x", success = raise "4", complete = raise "5" }
      task:send { data = "y" }
    end)
    task:onMessage(raise "m")
    task:onMessage(function()
      messages = messages + 1
      if messages == 2 then
        task:close { success = raise "7", complete = raise "8" }
      end
    end)
    task:onClose(raise "9")
    task:onClose(helper.expect(1))
    assert.is_true(net.run(5000))
    helper.catch_errors()
    assert.equal(2, messages)
    table.sort(reports)
    assert.same({ "complete 2", "complete 5", "complete 8", "onClose 9",
      "onMessage m", "onMessage m", "onOpen 3", "success 1", "success 4",
      "success 7" }, reports)
  end)

  -- ---- Life -----------------------------------------------------------------

  it("may open, send, close and update nothing in its callbacks", function()
    local second
    local first = net.connectSocket { url = ECHO }
    first:onOpen(function()
      assert(not pcall(net.update), "update() inside a callback")
      second = net.connectSocket { url = ECHO }
      second:onOpen(function() second:send { data = "from second" } end)
      second:onMessage(helper.expect(1, function(res)
        assert(res.data == "from second")
        first:send { data = "from first" }
      end))
    end)
    first:onMessage(helper.expect(1, function(res)
      assert(res.data == "from first")
      first:close()
      second:close()
    end))
    assert.is_true(net.run(5000))
  end)

  it("keeps a socket alive that the script does not hold", function()
    local calls = 0
    do
      local task = net.connectSocket { url = ECHO }
      task:onOpen(function() task:send { data = ("x"):rep(100) } end)
      task:onMessage(function()
        calls = calls + 1
        collectgarbage()
        if calls == 20 then task:close() else task:send { data = "x" } end
      end)
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(net.run(10000))
    assert.equal(20, calls)
  end)

  it("is ordinary garbage when it has ended", function()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local socket = echo()
      weak[socket.task] = true
      sockets.close(socket)
    end
    sockets.verify()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("hears nothing after net.close()", function()
    local socket = echo()
    socket.task:send { data = "x", success = helper.never(),
      fail = helper.never(), complete = helper.never() }
    local count = #socket.order
    net.close()
    net.update()
    assert.equal(count, #socket.order)
    assert.equal(socket.task.CLOSED, socket.task.readyState)
    assert.equal("done", socket.task.state)
    assert.equal(0, socket.task.bufferedAmount)
    sockets.drop()
  end)

  it("is refused politely after net.close()", function()
    local socket = echo()
    sockets.drop()
    local call = sockets.send(socket, { data = "x" })
    sockets.check_result(call.fail,
      "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
    call = sockets.wait_call(sockets.call(socket.task.close, socket.task))
    sockets.check_result(call.fail,
      "closeSocket:fail WebSocket is not connected", 600004, -1)
  end)

  it("delivers one event an update if that is the limit", function()
    local socket = echo()
    for i = 1, 5 do socket.task:send { data = tostring(i) } end
    helper.run_until(function()
      return net.stats().queuedEvents >= 5
        or #socket.messages > 0
    end)
    local count = #socket.messages
    net.update(nil, 1)
    assert.is_true(#socket.messages <= count + 1)
    sockets.wait_messages(socket, 5)
    assert.same({ "1", "2", "3", "4", "5" }, socket.messages)
  end)
end)
