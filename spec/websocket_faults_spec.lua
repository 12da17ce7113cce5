-- Servers that break the protocol. None may harm more than its own socket, and
-- the script is told the truth.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local function as_socket(url)
  return (url:gsub("^http", "ws"))
end

-- Runs a socket at an endpoint of the fault server to its end.
local function whole(path, parameters, options)
  local url, key = sockets.fault(path, parameters)
  local given = { url = url }
  for name, value in pairs(options or {}) do given[name] = value end
  return sockets.whole(given), key
end

local function open(path, parameters, options)
  local url, key = sockets.fault(path, parameters)
  local given = { url = url }
  for name, value in pairs(options or {}) do given[name] = value end
  return sockets.open(given), key
end

-- A client that has ended well, for a server that has ended badly.
local function check_alive()
  local socket = sockets.open { url = sockets.fault("echo") }
  socket.task:send { data = "alive" }
  assert.equal("alive", sockets.wait_messages(socket, 1))
  sockets.close(socket)
end

-- The violation of a server that is told so in a close frame.
local function check_violation(socket, key, code)
  sockets.check_violation(socket, code)
  local frames = sockets.frames(key)
  local last = frames[#frames]
  assert(last, "the server was told nothing")
  assert.equal(8, last.opcode)
  assert.is_true(last.masked)
  assert.equal(code, last.payload:byte(1) * 256 + last.payload:byte(2))
end

describe("a handshake that fails", function()
  local mark

  setup(function()
    sockets.defaults()
    mark = residue.mark()
  end)

  after_each(function()
    sockets.verify()
    helper.run_until(function()
      return residue.descriptors() <= mark
    end, 5000, "descriptors to be closed")
  end)

  -- ---- No connection --------------------------------------------------------

  for _, case in ipairs {
    { "refuses", as_socket(fault.refused), -102, "CONNECTION_REFUSED" },
    { "does not speak TLS", servers.nginx.http:gsub("^http:", "wss:"), -107,
      "SSL_PROTOCOL_ERROR" },
  } do
    it("#142 #158 at a host that " .. case[1], function()
      local socket = sockets.whole { url = case[2] .. "/" }
      sockets.check_unopened(socket, ("%d:net::ERR_%s"):format(case[3],
        case[4]), 600001, case[3])
      assert.is_string(socket.errors[1].detail)
    end)
  end

  it("#158 when the server closes before it answers", function()
    for _, url in ipairs { as_socket(fault.closing) .. "/",
      (sockets.fault "handshake-cut") } do
      local socket = sockets.whole { url = url }
      assert.equal(1, #socket.errors)
      assert.equal(600001, socket.errors[1].errno)
      assert.is_true(socket.errors[1].errCode == -324
        or socket.errors[1].errCode == -100, socket.errors[1].errMsg)
    end
  end)

  it("#158 when the server resets before it answers", function()
    for _, url in ipairs { as_socket(fault.resetting) .. "/",
      (sockets.fault "handshake-reset") } do
      local socket = sockets.whole { url = url }
      sockets.check_unopened(socket, "-101:net::ERR_CONNECTION_RESET", 600001,
        -101)
    end
  end)

  it("#135 when nobody answers in time", function()
    for _, url in ipairs { as_socket(fault.blackhole) .. "/",
      as_socket(fault.silent) .. "/",
      as_socket(fault.silent):gsub("^ws", "wss") .. "/",
      (sockets.fault "handshake-never"), (sockets.fault "handshake-stall") }
    do
      local socket = sockets.whole { url = url, timeout = 150 }
      sockets.check_unopened(socket, "timeout", 5, -7)
    end
  end)

  it("#135 by the time-out of a stage", function()
    local blackhole = as_socket(fault.blackhole) .. "/"
    local tls = as_socket(fault.silent):gsub("^ws", "wss") .. "/"
    for _, case in ipairs { { blackhole, { connect = 150 } },
      { tls, { tls = 150 } },
      { (sockets.fault "handshake-never"), { firstByte = 150 } } } do
      local socket = sockets.whole { url = case[1], timeouts = case[2] }
      assert.equal(1, #socket.errors)
      assert.equal("close", socket.order[4] or "close")
      assert.is_true(socket.errors[1].errno == 5
        or socket.errors[1].errCode == -118, socket.errors[1].errMsg)
    end
  end)

  -- ---- An answer that is none -----------------------------------------------

  it("#142 #158 tells the status of a refusal", function()
    for _, status in ipairs { 200, 204, 301, 400, 401, 403, 404, 429, 500,
      503 } do
      local socket, key = whole("refuse", { status = status,
        body = "because", h = "X-Why: so" })
      local text = "Invalid HTTP status " .. status
      assert.equal("connectSocket:fail " .. text, socket.errors[1].errMsg)
      sockets.check_unopened(socket, text, socket.errors[1].errno,
        socket.errors[1].errCode)
      assert.equal(status, socket.errors[1].statusCode)
      assert.same({}, (sockets.frames(key)))
    end
  end)

  it("#158 is not redirected", function()
    local target, key = sockets.fault("echo")
    local socket = whole("redirect", { to = target })
    assert.equal("connectSocket:fail Invalid HTTP status 302",
      socket.errors[1].errMsg)
    assert.equal(302, socket.errors[1].statusCode)
    assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
  end)

  for path, text in pairs {
    ["wrong-accept"] = "Sec%-WebSocket%-Accept",
    ["no-accept"] = "Sec%-WebSocket%-Accept",
    ["no-upgrade"] = "Upgrade",
    ["wrong-upgrade"] = "Upgrade",
    ["no-connection"] = "Connection",
    ["wrong-connection"] = "Connection",
    ["unknown-protocol"] = "Sec%-WebSocket%-Protocol",
    ["unknown-extension"] = "x%-never%-offered",
    ["deflate-unasked"] = "permessage%-deflate",
  } do
    it("#158 when the answer has " .. path, function()
      local socket, key = whole(path)
      local res = socket.errors[1]
      assert.matches("^connectSocket:fail .*" .. text, res.errMsg)
      sockets.check_unopened(socket, res.errMsg:match("fail (.*)$"), 600001,
        res.errCode)
      assert.same({}, (sockets.frames(key)))
    end)
  end

  it("#131 when the server chooses another protocol, or two", function()
    for _, path in ipairs { "unknown-protocol", "two-protocols" } do
      local socket = whole(path, nil, { protocols = { "chat", "superchat" } })
      local res = socket.errors[1]
      assert.matches("Sec%-WebSocket%-Protocol", res.errMsg)
      sockets.check_unopened(socket, res.errMsg:match("fail (.*)$"), 600001,
        res.errCode)
    end
  end)

  it("#134 when the server agrees to what was not offered", function()
    local socket = whole("deflate-bad", nil, { perMessageDeflate = true })
    local res = socket.errors[1]
    assert.matches("deflate", res.errMsg)
    sockets.check_unopened(socket, res.errMsg:match("fail (.*)$"), 600001,
      res.errCode)
  end)

  it("#158 when the answer is no HTTP/1.1", function()
    for _, path in ipairs { "handshake-garbage", "handshake-http10" } do
      local socket = whole(path)
      local res = socket.errors[1]
      sockets.check_unopened(socket, res.errMsg:match("fail (.*)$"), 600001,
        res.errCode)
    end
  end)

  it("#158 when the answer is endless", function()
    for _, path in ipairs { "handshake-big", "handshake-big-line" } do
      local socket = whole(path, { bytes = 1000000 })
      sockets.check_unopened(socket, "-325:net::ERR_RESPONSE_HEADERS_TOO_BIG",
        600001, -325)
    end
  end)

  it("#128 and is fine when the answer is odd, but right", function()
    for _, path in ipairs { "handshake-odd", "handshake-hints",
      "handshake-bytes" } do
      local socket = open(path)
      socket.task:send { data = "frames" }
      sockets.wait_messages(socket, 1)
      sockets.close(socket)
    end
    local socket = open("handshake-big", { bytes = 100000 })
    assert.equal(1, #socket.opens)
    sockets.close(socket)
  end)

  it("#159 and does not lose what came with the answer", function()
    local socket = open("at-once")
    assert.equal("first", sockets.wait_messages(socket, 1))
    sockets.close(socket)
    sockets.check_closed(socket, 1000, "normal closure")
  end)
end)

-- ---- After the open ---------------------------------------------------------

describe("a server that breaks the protocol", function()
  setup(sockets.defaults)

  after_each(function()
    local ok, err = pcall(check_alive)
    sockets.verify()
    if not ok then error(err, 0) end
  end)

  local broken = {
    garbage = 1002, masked = 1002, rsv1 = 1002, rsv2 = 1002, rsv3 = 1002,
    continuation = 1002, ["data-in-fragments"] = 1002,
    ["long-ping"] = 1002, ["long-close"] = 1002, ["fragmented-ping"] = 1002,
    ["length-16"] = 1002, ["length-64"] = 1002, ["length-top"] = 1002,
    ["close-1"] = 1002,
    ["utf8-bad"] = 1007, ["utf8-bad-split"] = 1007, ["utf8-cut"] = 1007,
    ["utf8-bad-early"] = 1007, ["utf8-surrogate"] = 1007,
    ["utf8-overlong"] = 1007, ["utf8-beyond"] = 1007,
    ["close-bad-reason"] = 1007,
  }
  for path, code in pairs(broken) do
    it(("#158 #157 by %s gets an error and %d"):format(path, code), function()
      local socket, key = whole(path)
      assert.same({}, socket.messages)
      assert.same({ "success", "complete", "open", "error", "close" },
        socket.order)
      check_violation(socket, key, code)
    end)
  end

  it("#158 #157 by reserved opcodes gets an error and 1002", function()
    for _, opcode in ipairs { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 } do
      local socket, key = whole("opcode", { n = opcode })
      assert.same({}, socket.messages)
      check_violation(socket, key, 1002)
    end
  end)

  it("#158 #157 by an invalid close code gets an error and 1002", function()
    for _, code in ipairs { 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000,
      2999, 5000, 65535 } do
      local socket, key = whole("close", { code = code })
      check_violation(socket, key, 1002)
    end
  end)

  it("#158 #157 after good messages loses none of them", function()
    -- "abc", then a text that is no UTF-8, then "def".
    local socket, key = whole("script", {
      hex = "8103616263" .. "810163" .. "8101ff" .. "8103646566" })
    assert.same({ "abc", "c" }, socket.messages)
    check_violation(socket, key, 1007)
  end)

  it("#157 by a wrong mask bit on an empty frame", function()
    local socket, key = whole("script", { hex = "818000000000" })
    check_violation(socket, key, 1002)
  end)

  it("#158 #157 by bytes one at a time", function()
    for hex, code in pairs { ["c103616263"] = 1002, ["8103e4b828"] = 1007,
      ["887e0100"] = 1002 } do
      local socket, key = whole("script", { hex = hex, each = 1 })
      check_violation(socket, key, code)
    end
  end)

  -- ---- Too big --------------------------------------------------------------

  it("#158 #157 by a message above the cap gets an error and 1009", function()
    -- By the header alone; what it announces never comes.
    local socket, key = whole("too-big", { bytes = 16 * 1024 * 1024 + 1 })
    assert.same({}, socket.messages)
    check_violation(socket, key, 1009)
    socket, key = whole("too-big", { bytes = 1001 },
      { maxMessageBytes = 1000 })
    check_violation(socket, key, 1009)
  end)

  it("#158 #157 by fragments above the cap gets an error and 1009", function()
    local socket = whole("too-big-fragments", { bytes = 4000000 },
      { maxMessageBytes = 1000000 })
    assert.same({}, socket.messages)
    sockets.check_violation(socket, 1009)
  end)

  it("#159 by none: a message of just the cap is fine", function()
    net.configure { limits = { maxMessageBytes = 5 } }
    local socket = open("script", { hex = "810568656c6c6f" })
    assert.equal("hello", sockets.wait_messages(socket, 1))
    sockets.close(socket)
    local key
    socket, key = whole("script", { hex = "810668656c6c6f6f" })
    check_violation(socket, key, 1009)
    -- The call may ask for less.
    socket, key = whole("script", { hex = "810568656c6c6f" },
      { maxMessageBytes = 4 })
    check_violation(socket, key, 1009)
  end)

  it("#159 is not confused by the cap of joined fragments", function()
    -- Two fragments of 3 bytes under a cap of 5, and of 6.
    local hex = "0103616263" .. "8003646566"
    local socket, key = whole("script", { hex = hex }, { maxMessageBytes = 5 })
    check_violation(socket, key, 1009)
    socket = open("script", { hex = hex }, { maxMessageBytes = 6 })
    assert.equal("abcdef", sockets.wait_messages(socket, 1))
  end)

  -- ---- Gone -----------------------------------------------------------------

  for _, path in ipairs { "fin", "rst", "fin-in-message", "rst-in-message",
    "fin-between-fragments" } do
    it("#157 by " .. path .. " ends with 1006 and no error", function()
      local socket = whole(path)
      assert.same({}, socket.messages)
      assert.same({ "success", "complete", "open", "close" }, socket.order)
      sockets.check_closed(socket, 1006, "abnormal closure")
    end)
  end

  it("#157 after messages loses none of them", function()
    for _, how in ipairs { "fin", "rst" } do
      local socket = whole("script", { ["then"] = how,
        hex = "8103616263" .. "8203646566" })
      assert.equal("abc", socket.messages[1])
      assert.equal("def", tostring(socket.messages[2]))
      sockets.check_closed(socket, 1006, "abnormal closure")
    end
  end)

  it("#157 by silence is noticed with pings alone", function()
    local socket, key = whole("silent", nil,
      { pingInterval = 50, pongTimeout = 100 })
    sockets.check_closed(socket, 1006, "abnormal closure")
    for _, frame in ipairs((sockets.frames(key))) do
      assert.equal(9, frame.opcode)
      assert.is_true(frame.masked)
    end
  end)

  -- ---- Strange, but right ---------------------------------------------------

  it("#159 is fine with fragments of a character", function()
    local socket = open("utf8-split")
    assert.equal("Grüße, 世界", sockets.wait_messages(socket, 1))
  end)

  it("#159 is fine with a ping between fragments", function()
    local socket, key = open("ping-between")
    assert.equal("one two", sockets.wait_messages(socket, 1))
    sockets.close(socket)
    local frames = sockets.frames(key)
    assert.equal(10, frames[1].opcode)
    assert.equal("between", frames[1].payload)
    assert.is_true(frames[1].masked)
  end)

  it("#159 is fine with empty fragments and an unasked pong", function()
    local socket = open("script", {
      hex = "8a00" .. "0100" .. "0001" .. "61" .. "8a03616263" .. "0000"
        .. "8000" .. "8200" .. "8100" })
    sockets.wait_messages(socket, 3)
    assert.equal("a", socket.messages[1])
    assert.equal("userdata", type(socket.messages[2]))
    assert.equal("", tostring(socket.messages[2]))
    assert.equal("", socket.messages[3])
  end)

  it("#159 is fine with a long text, one byte at a time", function()
    local socket = open("script", { each = 1,
      hex = "017e0080" .. ("61"):rep(128) .. "89017a"
        .. "807e0080" .. ("62"):rep(128) })
    assert.equal(("a"):rep(128) .. ("b"):rep(128),
      sockets.wait_messages(socket, 1))
  end)

  it("#159 is fine with 10,000 tiny messages in one packet", function()
    local socket = open("flood", { n = 10000 })
    sockets.wait_messages(socket, 10000)
    for i = 1, 10000 do
      assert(socket.messages[i] == tostring(i - 1), i)
    end
    sockets.close(socket)
    assert.equal(10000, #socket.messages)
  end)
end)
