-- The global functions, one socket at a time or several, the limit of them,
-- and what the dialects change.

local helper = require "helper"
local sockets = require "support.sockets"

local core = require "nettask.core"
local net, servers = helper.net, helper.servers
local demo = servers.demo_ws
local ECHO = demo .. "/ws/echo"

local KINDS = { "Open", "Message", "Error", "Close" }

-- Listens to all global events: a record of lists, and their order.
local function listen()
  local heard = { order = {} }
  for _, kind in ipairs(KINDS) do
    heard[kind] = {}
    net["onSocket" .. kind](function(res)
      heard[kind][#heard[kind] + 1] = res
      heard.order[#heard.order + 1] = kind
    end)
  end
  return heard
end

local function wait_heard(heard, kind, count)
  helper.run_until(function()
    return #heard[kind] >= count
  end, 5000, count .. " of " .. kind)
  return heard[kind][count]
end

local function call(f, options)
  return sockets.wait_call(sockets.call(f, nil, options))
end

describe("the global functions of sockets", function()
  local heard

  setup(sockets.defaults)
  before_each(function() heard = listen() end)
  after_each(sockets.verify)

  it("#138 #139 tell of the open, with the header", function()
    local socket = sockets.open { url = ECHO, protocols = { "chat" } }
    assert.equal(1, #heard.Open)
    local res = heard.Open[1]
    assert.equal("chat", res.header["sec-websocket-protocol"])
    assert.equal("chat", res.protocol)
    assert.same(socket.opens[1].profile, res.profile)
  end)

  it("#140 #145 send and hear text", function()
    sockets.open { url = ECHO }
    net.sendSocketMessage { data = "Grüße" }
    assert.equal("Grüße", wait_heard(heard, "Message", 1).data)
  end)

  it("#141 #146 send and hear bytes", function()
    sockets.open { url = ECHO }
    net.sendSocketMessage { data = net.buffer("\0\255") }
    local data = wait_heard(heard, "Message", 1).data
    assert.equal("userdata", type(data))
    assert.equal("\0\255", tostring(data))
  end)

  it("#148 send base64 with isBuffer", function()
    sockets.open { url = ECHO }
    net.sendSocketMessage { data = "AP8=", isBuffer = true }
    assert.equal("\0\255", tostring(wait_heard(heard, "Message", 1).data))
    local result = call(net.sendSocketMessage, { data = "A", isBuffer = true })
    assert.matches("^sendSocketMessage:fail .*base64", result.fail.errMsg)
  end)

  it("#142 tell of an error", function()
    local socket = sockets.whole {
      url = demo .. "/ws/refuse?status=403" }
    assert.same({ "Error" }, heard.order)
    local res = heard.Error[1]
    assert.equal("connectSocket:fail Invalid HTTP status 403", res.errMsg)
    assert.equal(403, res.statusCode)
    assert.equal(socket.errors[1].errMsg, res.errMsg)
  end)

  it("#143 #144 tell of the close, with code and reason", function()
    sockets.whole { url = demo .. "/ws/close?code=3210&reason=enough" }
    assert.same({ "Open", "Close" }, heard.order)
    assert.equal(3210, heard.Close[1].code)
    assert.equal("enough", heard.Close[1].reason)
  end)

  it("#149 call back", function()
    sockets.open { url = ECHO }
    local result = call(net.sendSocketMessage, { data = "x" })
    assert.same({ "success", "complete" }, result.order)
    assert.same({ errMsg = "sendSocketMessage:ok" }, result.success)
    result = call(net.closeSocket)
    assert.same({ "success", "complete" }, result.order)
    assert.same({ errMsg = "closeSocket:ok" }, result.success)
  end)

  it("#147 cannot send before the open", function()
    local socket = sockets.start { url = ECHO }
    local result = call(net.sendSocketMessage, { data = "x" })
    sockets.check_result(result.fail,
      "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
    sockets.wait_open(socket)
  end)

  it("#145 cannot send without a socket", function()
    local result = call(net.sendSocketMessage, { data = "x" })
    assert.same({ "fail", "complete" }, result.order)
    sockets.check_result(result.fail,
      "sendSocketMessage:fail WebSocket is not connected", 600004, -1)
  end)

  it("#145 cannot send what is no data", function()
    sockets.open { url = ECHO }
    for _, wrong in ipairs { 5, true, { "x" }, print } do
      local result = call(net.sendSocketMessage, { data = wrong })
      assert.matches("data must be string or ArrayBuffer", result.fail.errMsg)
    end
  end)

  it("#150 close with 1000 and need no options", function()
    local url, key = sockets.fault("echo")
    local socket = sockets.open { url = url }
    net.closeSocket()
    sockets.finish(socket)
    sockets.check_closed(socket, 1000, "normal closure")
    assert.equal(1000, heard.Close[1].code)
    local frames = sockets.frames(key)
    assert.equal("\3\232", frames[#frames].payload)
  end)

  it("#151 close with a code and a reason", function()
    for _, code in ipairs { 1000, 1001, 3000, 4999 } do
      local url, key = sockets.fault("echo")
      local socket = sockets.open { url = url }
      net.closeSocket { code = code, reason = "Gründe" }
      sockets.finish(socket)
      sockets.check_closed(socket, code, "Gründe")
      local frames = sockets.frames(key)
      assert.equal(string.char(math.floor(code / 256), code % 256)
        .. "Gründe", frames[#frames].payload)
    end
  end)

  it("#151 refuse other codes", function()
    local socket = sockets.open { url = ECHO }
    for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, -1,
      1000.5, 65536 } do
      local result = call(net.closeSocket, { code = code })
      assert.same({ "fail", "complete" }, result.order)
      assert.matches("^closeSocket:fail invalid code", result.fail.errMsg)
      assert.equal(socket.task.OPEN, socket.task.readyState)
    end
  end)

  it("#152 refuse a reason of more than 123 bytes", function()
    local socket = sockets.open { url = ECHO }
    for _, reason in ipairs { ("x"):rep(124), ("ü"):rep(62) } do
      local result = call(net.closeSocket, { reason = reason })
      assert.same({ "fail", "complete" }, result.order)
      assert.matches("^closeSocket:fail .*reason", result.fail.errMsg)
    end
    assert.equal(socket.task.OPEN, socket.task.readyState)
    local result = call(net.closeSocket, { reason = ("x"):rep(123) })
    assert.is_truthy(result.success)
    sockets.finish(socket)
    sockets.check_closed(socket, 1000, ("x"):rep(123))
  end)

  it("#153 cannot close before the open, which goes on", function()
    local socket = sockets.start { url = demo .. "/ws/slow?ms=50" }
    local result = call(net.closeSocket, { code = 3000 })
    assert.same({ "fail", "complete" }, result.order)
    sockets.check_result(result.fail,
      "closeSocket:fail WebSocket is not connected", 600004, -1)
    sockets.wait_open(socket)
    assert.equal(0, #socket.closes)
  end)

  it("#150 cannot close without a socket, nor twice", function()
    local result = call(net.closeSocket)
    sockets.check_result(result.fail,
      "closeSocket:fail WebSocket is not connected", 600004, -1)
    sockets.open { url = ECHO }
    local first, second = sockets.call(net.closeSocket),
      sockets.call(net.closeSocket)
    assert.is_truthy(sockets.wait_call(first).success)
    assert.is_truthy(sockets.wait_call(second).fail)
  end)

  it("want functions and tables", function()
    for _, kind in ipairs(KINDS) do
      for _, wrong in ipairs { "f", 1, {}, true } do
        assert.is_false(pcall(net["onSocket" .. kind], wrong))
      end
      assert.is_false(pcall(net["onSocket" .. kind]))
    end
    for _, wrong in ipairs { "x", 1, true } do
      assert.is_false(pcall(net.sendSocketMessage, wrong))
      assert.is_false(pcall(net.closeSocket, wrong))
    end
    assert.is_false(pcall(net.sendSocketMessage))
  end)

  -- ---- Listeners ------------------------------------------------------------

  it("#138 #140 #143 have listeners in order, each once", function()
    for _, kind in ipairs(KINDS) do net["offSocket" .. kind]() end
    local calls = {}
    local function listener(name)
      return function() calls[#calls + 1] = name end
    end
    local a, b, c = listener "a", listener "b", listener "c"
    for _, kind in ipairs(KINDS) do
      for _, f in ipairs { a, b, a, c } do net["onSocket" .. kind](f) end
      net["offSocket" .. kind](b)
      net["offSocket" .. kind](print)
    end
    local socket = sockets.open { url = ECHO }
    net.sendSocketMessage { data = "x" }
    sockets.wait_messages(socket, 1)
    sockets.close(socket)
    assert.same({ "a", "c", "a", "c", "a", "c" }, calls)
    assert.same({}, heard.order)
    for _, kind in ipairs(KINDS) do net["offSocket" .. kind]() end
    sockets.whole { url = demo .. "/ws/close?code=1000" }
    assert.equal(6, #calls)
  end)

  it("#138 survive their socket", function()
    for i = 1, 3 do
      local socket = sockets.open { url = ECHO }
      net.sendSocketMessage { data = tostring(i) }
      wait_heard(heard, "Message", i)
      sockets.close(socket)
      wait_heard(heard, "Close", i)
    end
    assert.same({ "Open", "Message", "Close", "Open", "Message", "Close",
      "Open", "Message", "Close" }, heard.order)
  end)

  it("#138 survive net.close()", function()
    sockets.open { url = ECHO }
    sockets.drop()
    net.update()
    assert.same({ "Open" }, heard.order)
    sockets.open { url = ECHO }
    assert.same({ "Open", "Open" }, heard.order)
  end)

  it("raise like other callbacks", function()
    local reports = {}
    net.onError(function(err, _, what)
      reports[#reports + 1] = what .. ": " .. tostring(err)
    end)
    net.onSocketOpen(function() error("in open", 0) end)
    net.onSocketOpen(function() net.closeSocket() end)
    sockets.whole { url = ECHO }
    helper.catch_errors()
    assert.equal(1, #reports)
    assert.matches("in open", reports[1])
    assert.same({ "Open", "Close" }, heard.order)
  end)

  -- ---- Several sockets ------------------------------------------------------

  it("#137 belong to the oldest live socket", function()
    local first = sockets.open { url = ECHO }
    local second = sockets.open { url = ECHO }
    assert.equal(1, #heard.Open)
    net.sendSocketMessage { data = "to the first" }
    sockets.wait_messages(first, 1)
    second.task:send { data = "to the second" }
    sockets.wait_messages(second, 1)
    assert.equal(1, #heard.Message)
    assert.equal("to the first", heard.Message[1].data)
    sockets.close(first)
    assert.equal(1, #heard.Close)
    net.sendSocketMessage { data = "now to the second" }
    sockets.wait_messages(second, 2)
    assert.equal("now to the second", heard.Message[2].data)
    net.closeSocket { code = 3001 }
    sockets.finish(second)
    assert.equal(3001, heard.Close[2].code)
  end)

  it("#137 belong to the oldest even before it is open", function()
    local first = sockets.start { url = demo .. "/ws/slow?ms=150" }
    local second = sockets.open { url = ECHO }
    assert.same({}, heard.order)
    local result = call(net.sendSocketMessage, { data = "x" })
    assert.is_truthy(result.fail)
    sockets.wait_open(first)
    assert.same({ "Open" }, heard.order)
    sockets.close(second)
    assert.same({ "Open" }, heard.order)
  end)

  it("#137 pass on when the oldest fails", function()
    sockets.whole { url = demo .. "/ws/refuse?status=500" }
    local socket = sockets.open { url = ECHO }
    assert.same({ "Error", "Open" }, heard.order)
    net.sendSocketMessage { data = "x" }
    sockets.wait_messages(socket, 1)
  end)

  it("#137 do not bind to what was refused", function()
    sockets.whole { url = "ws://127.0.0.1:0x/" }
    local socket = sockets.open { url = ECHO }
    assert.same({ "Open" }, heard.order)
    net.sendSocketMessage { data = "x" }
    sockets.wait_messages(socket, 1)
  end)

  it("#137 five sockets live at once, the sixth fails", function()
    local five = {}
    for i = 1, 5 do five[i] = sockets.start { url = ECHO } end
    local function sixth_fails()
      local sixth = sockets.whole { url = ECHO }
      sockets.check_refused(sixth, "reach max websocket connect count 5",
        600007)
    end
    sixth_fails()
    for i = 1, 5 do sockets.wait_open(five[i]) end
    sixth_fails()
    for i = 1, 5 do
      five[i].task:send { data = tostring(i) }
      sockets.wait_messages(five[i], 1)
      assert.equal(tostring(i), five[i].messages[1])
    end
    -- One that is gone makes room.
    sockets.close(five[3])
    local seventh = sockets.open { url = ECHO }
    assert.equal(1, #seventh.opens)
    sixth_fails()
  end)

  it("#137 the limit is configurable", function()
    net.configure { limits = { maxSockets = 2 } }
    local first = sockets.open { url = ECHO }
    sockets.open { url = ECHO }
    local third = sockets.whole { url = ECHO }
    sockets.check_refused(third, "reach max websocket connect count 2", 600007)
    sockets.close(first)
    sockets.open { url = ECHO }
    net.configure { policy = "open" }
    for _ = 1, 10 do sockets.open { url = ECHO } end
  end)

  -- ---- One at a time --------------------------------------------------------

  it("#136 a new socket replaces the old one", function()
    net.configure { socketMode = "single" }
    local url, key = sockets.fault("echo")
    local first = sockets.open { url = url }
    local second = sockets.start { url = ECHO }
    sockets.finish(first)
    sockets.check_closed(first, 1000, "replaced")
    assert.equal(1, #heard.Close)
    assert.equal(1000, heard.Close[1].code)
    assert.equal("replaced", heard.Close[1].reason)
    local frames = sockets.frames(key)
    assert.equal(1, #frames)
    assert.equal(8, frames[1].opcode)
    assert.equal("\3\232", frames[1].payload:sub(1, 2))
    sockets.wait_open(second)
    wait_heard(heard, "Open", 2)
    net.sendSocketMessage { data = "to the second" }
    assert.equal("to the second", wait_heard(heard, "Message", 1).data)
    net.closeSocket()
    sockets.finish(second)
    assert.equal("normal closure", heard.Close[2].reason)
  end)

  it("#136 replaces one that is not open yet", function()
    net.configure { socketMode = "single" }
    local first = sockets.start { url = demo .. "/ws/slow?ms=20000" }
    local second = sockets.open { url = ECHO }
    sockets.finish(first)
    sockets.check_closed(first, 1000, "replaced")
    assert.same({}, first.opens)
    net.sendSocketMessage { data = "x" }
    sockets.wait_messages(second, 1)
  end)

  it("#136 ten in a row leave the last", function()
    net.configure { socketMode = "single" }
    local all = {}
    for i = 1, 10 do all[i] = sockets.start { url = ECHO } end
    sockets.wait_open(all[10])
    for i = 1, 9 do
      sockets.finish(all[i])
      sockets.check_closed(all[i], 1000, "replaced")
    end
    net.sendSocketMessage { data = "x" }
    sockets.wait_messages(all[10], 1)
    assert.equal(1, #heard.Message)
  end)

  it("#136 a refused call replaces nothing", function()
    net.configure { socketMode = "single" }
    local first = sockets.open { url = ECHO }
    sockets.whole { url = "ws://127.0.0.1:0x/" }
    net.sendSocketMessage { data = "x" }
    sockets.wait_messages(first, 1)
    assert.equal(first.task.OPEN, first.task.readyState)
  end)

  it("#136 multiple=true lifts it for a call", function()
    net.configure { socketMode = "single" }
    local first = sockets.open { url = ECHO }
    local second = sockets.open { url = ECHO, multiple = true }
    for _, socket in ipairs { first, second } do
      socket.task:send { data = "x" }
      sockets.wait_messages(socket, 1)
    end
    net.sendSocketMessage { data = "to the first" }
    assert.equal("to the first", sockets.wait_messages(first, 2))
  end)

  it("#136 a replaced socket's handlers may open another", function()
    net.configure { socketMode = "single" }
    local first = sockets.open { url = ECHO }
    local third
    first.task:onClose(function()
      third = sockets.start { url = ECHO }
    end)
    local second = sockets.start { url = ECHO }
    sockets.finish(second)
    sockets.check_closed(second, 1000, "replaced")
    sockets.wait_open(third)
  end)

  -- ---- Dialects -------------------------------------------------------------

  for _, dialect in ipairs { "swan", "my" } do
    it("#136 one socket at a time is the rule of " .. dialect, function()
      net.configure { dialect = dialect }
      local first = sockets.open { url = ECHO }
      local second = sockets.open { url = ECHO }
      sockets.finish(first)
      sockets.check_closed(first, 1000, "replaced")
      net.sendSocketMessage { data = "x" }
      sockets.wait_messages(second, 1)
    end)

    it("#136 unless the mode is set beside " .. dialect, function()
      net.configure { dialect = dialect, socketMode = "multi" }
      local first = sockets.open { url = ECHO }
      local second = sockets.open { url = ECHO }
      for _, socket in ipairs { first, second } do
        socket.task:send { data = "x" }
        sockets.wait_messages(socket, 1)
      end
    end)
  end

  for _, dialect in ipairs { "wx", "taro", "ft" } do
    it("#137 several sockets are the rule of " .. dialect, function()
      net.configure { dialect = dialect }
      local first = sockets.open { url = ECHO }
      sockets.open { url = ECHO }
      first.task:send { data = "x" }
      sockets.wait_messages(first, 1)
    end)
  end

  it("#141 bytes come as base64 with isBuffer in dialect my", function()
    net.configure { dialect = "my" }
    local results = {}
    local socket = sockets.open { url = ECHO }
    socket.task:onMessage(function(res) results[#results + 1] = res end)
    socket.task:send { data = net.buffer("\0\255") }
    socket.task:send { data = "AP8=", isBuffer = true }
    socket.task:send { data = "text" }
    socket.task:send { data = net.buffer("") }
    sockets.wait_messages(socket, 4)
    for _, list in ipairs { results, heard.Message } do
      assert.equal(4, #list)
      for i = 1, 2 do
        assert.equal("AP8=", list[i].data)
        assert.is_true(list[i].isBuffer)
        assert.equal("\0\255", core.base64Decode(list[i].data))
      end
      assert.equal("text", list[3].data)
      assert.is_falsy(list[3].isBuffer)
      assert.equal("", list[4].data)
      assert.is_true(list[4].isBuffer)
    end
  end)

  it("socketMode is single or multi", function()
    for _, wrong in ipairs { "both", "", 1, true } do
      local ok, err = pcall(net.configure, { socketMode = wrong })
      assert.is_false(ok)
      assert.matches("socketMode", err)
    end
  end)
end)
