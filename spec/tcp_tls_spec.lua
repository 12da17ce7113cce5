-- TCPSocket with tls=true: verified like HTTPS, and then a byte stream like any
-- other; closes, resets and back-pressure under TLS.

local helper = require "helper"
local inside = require "support.inside"
local residue = require "support.residue"
local tcp = require "support.tcp"

local net, servers = helper.net, helper.servers
local fault, nginx = servers.fault, servers.nginx
local KIB, MIB = 1024, 1024 * 1024

local function port_of(url)
  return tonumber(url:match("(%d+)$"))
end

local function secure(options)
  options.tls = true
  options.timeout = options.timeout or 10
  options.port = options.port or fault.tcp_tls
  return options
end

local function scripted(line)
  local socket = tcp.connect(secure {})
  socket.task:write(line .. "\n")
  return socket
end

local function check_failed(options, text, code)
  local socket = tcp.whole(secure(options), nil, 12000)
  tcp.check_unconnected(socket, text, 600001)
  assert.equal(code, tonumber(socket.errors[1].errMsg:match("fail (-%d+):")))
  return socket
end

describe("tls", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#165 #166 #173 #174 carries bytes both ways", function()
    local socket = scripted("echo")
    local all = {}
    for i = 0, 255 do all[i + 1] = string.char(i) end
    all = table.concat(all)
    socket.task:write(all)
    socket.task:write(net.buffer(all))
    assert.equal(all .. all, tcp.wait_bytes(socket, 512))
    local res = socket.messages[1]
    assert.equal("127.0.0.1", res.remoteInfo.address)
    assert.equal("IPv4", res.remoteInfo.family)
    assert.equal(fault.tcp_tls, res.remoteInfo.port)
    assert.equal(#res.message, res.remoteInfo.size)
    assert.equal("127.0.0.1", res.localInfo.address)
    assert.is_true(res.localInfo.port > 0)
    tcp.close(socket)
    tcp.check_order(socket, "connect", "message", "close")
  end)

  it("is an HTTPS connection to nginx", function()
    local socket = tcp.connect(secure { port = port_of(nginx.https1) })
    socket.task:write("GET /small HTTP/1.1\r\nHost: x\r\n"
      .. "Connection: close\r\n\r\n")
    tcp.finish(socket)
    assert.matches("^HTTP/1%.1 200 OK\r\n", tcp.text(socket))
    assert.equal(("0123456789abcdef"):rep(64), tcp.text(socket):sub(-1024))
    tcp.check_order(socket, "connect", "message", "close")
  end)

  it("offers no protocol by ALPN that would not be a plain stream", function()
    -- The HTTP/2 port of nginx speaks HTTP/1.1 to who does not ask for more.
    local socket = tcp.connect(secure { port = port_of(nginx.https) })
    socket.task:write("GET /protocol HTTP/1.1\r\nHost: x\r\n"
      .. "Connection: close\r\n\r\n")
    tcp.finish(socket)
    assert.matches("HTTP/1%.1$", tcp.text(socket))
  end)

  it("takes a name, which the certificate must be for", function()
    local socket = tcp.connect(secure { address = "localhost" })
    socket.task:write("echo\nx")
    assert.equal("x", tcp.wait_bytes(socket, 1))
    inside("by-name", [[
      local tcp = require "support.tcp"
      tcp.defaults()
      local socket = tcp.whole { address = "name.example", tls = true,
        port = helper.servers.fault.tcp_tls, timeout = 10 }
      tcp.check_unconnected(socket,
        "-200:net::ERR_CERT_COMMON_NAME_INVALID", 600001)]])
  end)

  it("#171 trusts nobody but the authority of configure", function()
    net.configure { caFile = false }
    check_failed({}, "-202:net::ERR_CERT_AUTHORITY_INVALID", -202)
    net.configure { caFile = servers.ca }
    tcp.connect(secure {})
  end)

  for _, case in ipairs {
    { "has expired", nginx.expired, -201, "CERT_DATE_INVALID" },
    { "is not valid yet", nginx.future, -201, "CERT_DATE_INVALID" },
    { "is its own authority", nginx.selfsigned, -202,
      "CERT_AUTHORITY_INVALID" },
    { "is for another host", nginx.wronghost, -200,
      "CERT_COMMON_NAME_INVALID" },
  } do
    it("#171 refuses a certificate that " .. case[1], function()
      local text = ("%d:net::ERR_%s"):format(case[3], case[4])
      local socket = tcp.start(secure { port = port_of(case[2]) })
      socket.task:write("a secret")
      tcp.finish(socket)
      tcp.check_unconnected(socket, text, 600001)
      -- In the words of https.
      local res = helper.fetch { url = case[2] .. "/" }.fail
      assert.equal(res.errMsg:match("fail (.*)$"),
        socket.errors[1].errMsg:match("fail (.*)$"))
      assert.equal(res.detail, socket.errors[1].detail)
    end)
  end

  it("cannot be told by a script to verify less", function()
    local _, restore = residue.log()
    check_failed({ port = port_of(nginx.selfsigned), sslVerify = false,
      rejectUnauthorized = false }, "-202:net::ERR_CERT_AUTHORITY_INVALID",
      -202)
    restore()
    net.configure { policy = "open" }
    check_failed({ port = port_of(nginx.expired) },
      "-201:net::ERR_CERT_DATE_INVALID", -201)
  end)

  it("#171 fails on a server that speaks no TLS", function()
    check_failed({ port = servers.demo:match(":(%d+)$") + 0 },
      "-107:net::ERR_SSL_PROTOCOL_ERROR", -107)
    check_failed({ port = port_of(fault.closing) },
      "-107:net::ERR_SSL_PROTOCOL_ERROR", -107)
  end)

  it("#171 fails before the handshake like any connect", function()
    check_failed({ port = port_of(fault.refused) },
      "-102:net::ERR_CONNECTION_REFUSED", -102)
  end)

  it("#172 without it a TLS server's bytes are just bytes", function()
    local socket = tcp.connect { port = fault.tcp_tls }
    socket.task:write("this is no hello\r\n\r\n")
    tcp.finish(socket)
    assert.equal(1, #socket.closes)
  end)
end)

describe("a stream over tls", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#172 of several megabytes comes whole", function()
    local size = 8 * MIB
    local socket = scripted(("push n=%d size=65536"):format(size / 65536))
    assert.is_true(tcp.wait_bytes(socket, size, 15000) == tcp.pattern(size))
    tcp.finish(socket)
    tcp.check_order(socket, "connect", "message", "close")
  end)

  it("#166 of several megabytes goes out whole, and both ways", function()
    local socket = scripted("echo")
    local size = 4 * MIB
    local text = tcp.pattern(size)
    for at = 1, size, 100000 do
      socket.task:write(text:sub(at, math.min(at + 99999, size)))
    end
    assert.is_true(tcp.wait_bytes(socket, size, 15000) == text)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  it("#168 is flushed by close", function()
    local key = tcp.key()
    local socket = scripted("sink key=" .. key)
    local size = 10 * MIB
    for at = 0, size - 1, MIB do
      socket.task:write(tcp.pattern(MIB, at))
    end
    assert.is_true(tcp.close(socket, 15000).flushed)
    local seen = tcp.seen(key)
    assert.equal(size, seen.bytes)
    assert.is_true(seen.pattern)
    assert.equal("fin", seen["end"])
  end)

  it("#168 that was written before the connection goes out", function()
    local key = tcp.key()
    local socket = tcp.start(secure {})
    socket.task:write("sink key=" .. key .. "\n" .. tcp.pattern(300000))
    socket.task:close()
    assert.is_true(tcp.finish(socket).closes[1].flushed)
    assert.equal(300000, tcp.seen(key).bytes)
    assert.is_true(tcp.seen(key).pattern)
  end)

  it("#170 #171 that is reset is an error, then a close", function()
    local socket = tcp.finish(scripted("push n=10 size=1000 then=rst ms=200"))
    assert.is_true(tcp.text(socket) == tcp.pattern(10000))
    assert.equal(1, #socket.errors)
    assert.equal(-2, socket.errors[1].errCode)
    tcp.check_order(socket, "connect", "message", "error", "close")
  end)

  it("#170 may end without a close_notify", function()
    -- libcurl does not tell one from the other.
    local socket = tcp.finish(scripted("cut key=" .. tcp.key()))
    tcp.check_order(socket, "connect", "message", "close")
    assert.equal("partial", tcp.text(socket))
  end)

  it("#172 is held back by a host that lags, and loses nothing", function()
    net.configure { limits = { highWaterBytes = 64 * KIB } }
    local size = 6 * MIB
    net.pause()
    local socket = tcp.start(secure {})
    socket.task:write(("push n=%d size=65536\n"):format(size / 65536))
    helper.run_until(function()
      return net.stats().queuedBytes >= 64 * KIB
    end)
    helper.run_for(200)
    local bytes = net.stats().queuedBytes
    assert.is_true(bytes < 64 * KIB + 512 * KIB, bytes)
    net.resume()
    assert.is_true(tcp.wait_bytes(socket, size, 15000) == tcp.pattern(size))
  end)

  it("keeps its queue's bound, and drains", function()
    net.configure { limits = { sendQueueBytes = 256 * KIB } }
    local key = tcp.key()
    local socket = scripted("deaf key=" .. key)
    local sent = tcp.fill(socket, 251 * 100)
    assert.matches("send queue is full", socket.errors[1].errMsg)
    local drained = false
    socket.task:onDrain(function() drained = true end)
    tcp.release(key)
    helper.run_until(function() return drained end, 10000)
    tcp.close(socket, 10000)
    assert.equal(sent, tcp.seen(key).bytes)
    assert.is_true(tcp.seen(key).pattern)
  end)
end)
