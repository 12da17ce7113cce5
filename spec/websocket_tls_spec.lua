-- The ways to a server: TLS and whom it trusts, proxies, names, IPv6; and
-- servers that others wrote.

local helper = require "helper"
local inside = require "support.inside"
local sockets = require "support.sockets"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault, nginx, demo = servers.fault, servers.nginx, servers.demo_ws

local function secure(url)
  return (url:gsub("^%a+:", "wss:"))
end

local function echo(socket, data)
  local count = #socket.messages + 1
  socket.task:send { data = data }
  local back = sockets.wait_messages(socket, count, 10000)
  assert(type(back) == type(data), type(back))
  assert(tostring(back) == tostring(data), "another message came back")
end

local function check_works(options)
  local socket = sockets.open(options)
  echo(socket, "Grüße, 世界")
  echo(socket, net.buffer("\0\255"))
  sockets.close(socket)
  sockets.check_closed(socket, 1000, "normal closure")
  return socket
end

local function check_transport(options, code, name)
  local socket = sockets.whole(options)
  sockets.check_unopened(socket, ("%d:net::ERR_%s"):format(code, name), 600001,
    code)
  return socket
end

describe("wss", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("#128 opens with the authority of configure", function()
    for _, server in ipairs { fault.wss, nginx.wss } do
      local socket = check_works { url = server .. "/ws/echo" }
      assert.is_true(socket.opens[1].profile.rtt >= 0)
    end
    check_works { url = servers.pyws_tls }
    check_works { url = servers.pyws_tls:gsub("127%.0%.0%.1", "localhost") }
  end)

  it("#128 #142 trusts nobody else", function()
    net.configure { caFile = false }
    local url, key = sockets.fault("echo", nil, fault.wss)
    check_transport({ url = url }, -202, "CERT_AUTHORITY_INVALID")
    assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
    net.configure { caFile = servers.ca }
    check_works { url = url }
  end)

  for _, case in ipairs {
    { "has expired", nginx.expired, -201, "CERT_DATE_INVALID" },
    { "is not valid yet", nginx.future, -201, "CERT_DATE_INVALID" },
    { "is its own authority", nginx.selfsigned, -202,
      "CERT_AUTHORITY_INVALID" },
    { "is for another host", nginx.wronghost, -200,
      "CERT_COMMON_NAME_INVALID" },
  } do
    it("#128 #142 refuses a certificate that " .. case[1], function()
      local socket = check_transport({ url = secure(case[2]) .. "/ws/echo" },
        case[3], case[4])
      local res = helper.fetch { url = case[2] .. "/" }.fail
      -- In the words of https.
      assert.equal(res.errMsg:match("fail (.*)$"),
        socket.errors[1].errMsg:match("fail (.*)$"))
      assert.equal(res.detail, socket.errors[1].detail)
    end)
  end

  it("#128 cannot be told by a script to verify less", function()
    check_transport({ url = secure(nginx.selfsigned) .. "/",
      sslVerify = false, rejectUnauthorized = false },
      -202, "CERT_AUTHORITY_INVALID")
    net.configure { policy = "open" }
    check_transport({ url = secure(nginx.expired) .. "/" }, -201,
      "CERT_DATE_INVALID")
  end)

  it("#128 fails on a server that speaks no TLS", function()
    check_transport({ url = secure(servers.demo_ws) .. "/ws/echo" }, -107,
      "SSL_PROTOCOL_ERROR")
    check_transport({ url = secure(fault.closing) .. "/" }, -107,
      "SSL_PROTOCOL_ERROR")
  end)

  it("#128 and ws to a TLS server fails", function()
    local socket = sockets.whole { url = (fault.wss:gsub("^wss", "ws"))
      .. "/ws/echo" }
    assert.equal(1, #socket.errors)
    assert.equal(600001, socket.errors[1].errno)
  end)

  it("#128 is enough under requireSecure", function()
    net.configure { requireSecure = true }
    check_works { url = fault.wss .. "/ws/echo" }
    net.configure { requireSecure = false }
  end)

  it("#128 moves messages of every size in both directions", function()
    for _, url in ipairs { fault.wss .. "/ws/echo", nginx.wss .. "/ws/echo",
      servers.pyws_tls } do
      local socket = sockets.open { url = url }
      for _, size in ipairs { 0, 1, 125, 126, 16383, 16384, 65535, 65536,
        1000000 } do
        echo(socket, ("x"):rep(size))
        echo(socket, net.buffer(("\255"):rep(size)))
      end
      sockets.close(socket)
    end
  end)

  it("#128 holds a server back, too", function()
    net.configure { limits = { highWaterBytes = 65536 } }
    net.pause()
    local socket = sockets.start {
      url = nginx.wss .. "/ws/push?n=2000&size=4096" }
    helper.run_until(function()
      return net.stats().queuedBytes >= 65536
    end)
    helper.run_for(200)
    assert.is_true(net.stats().queuedBytes < 65536 + 512 * 1024)
    net.resume()
    sockets.wait_messages(socket, 2000, 10000)
    for i = 1, 2000 do
      assert(socket.messages[i]:match("^(%d+)") == tostring(i - 1), i)
    end
  end)

  it("#157 ends truthfully", function()
    for _, path in ipairs { "fin", "rst", "rst-in-message" } do
      local socket = sockets.whole { url = sockets.fault(path, nil,
        fault.wss) }
      sockets.check_closed(socket, 1006, "abnormal closure")
    end
    local socket = sockets.whole { url = sockets.fault("close",
      { code = 3000, reason = "r" }, fault.wss) }
    sockets.check_closed(socket, 3000, "r")
    socket = sockets.whole { url = sockets.fault("masked", nil, fault.wss) }
    sockets.check_violation(socket, 1002)
    socket = sockets.open { url = sockets.fault("flood", { n = 10000 },
      fault.wss) }
    sockets.wait_messages(socket, 10000)
  end)
end)

-- ---- Proxies ----------------------------------------------------------------

describe("a proxy", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  local function with_login(login)
    return (servers.proxy_auth:gsub("//", "//" .. login .. "@"))
  end

  it("is the way to ws and wss", function()
    for _, url in ipairs { demo .. "/ws/echo", fault.wss .. "/ws/echo",
      nginx.wss .. "/ws/echo", servers.pyws } do
      check_works { url = url, proxy = servers.proxy }
    end
  end)

  it("gets the login that its url has", function()
    local login = "user:pass%%20word"
    check_works { url = demo .. "/ws/echo", proxy = with_login(login) }
    check_works { url = fault.wss .. "/ws/echo", proxy = with_login(login) }
  end)

  it("that refuses the login is an error", function()
    for _, login in ipairs { "user:wrong", "other:pass%%20word" } do
      local url, key = sockets.fault("echo")
      local socket = sockets.whole { url = url, proxy = with_login(login) }
      assert.same({ "success", "complete", "error" }, socket.order)
      assert.equal(600001, socket.errors[1].errno)
      assert.equal(-130, socket.errors[1].errCode)
      assert.equal("0", helper.ask(fault.http .. "/count?of=" .. key))
    end
  end)

  it("that is not there is an error", function()
    check_transport({ url = demo .. "/ws/echo", proxy = fault.refused }, -130,
      "PROXY_CONNECTION_FAILED")
  end)

  it("sees none of our header fields", function()
    -- It gets them in the CONNECT; the fault server plays the proxy there.
    local key = wire.key()
    local socket = sockets.whole { url = "ws://target.example:81/",
      proxy = fault.http, header = { ["X-Secret"] = "s", ["X-Key"] = key } }
    assert.equal(1, #socket.errors)
    assert.same({}, wire.seen(key))
  end)

  it("that is no url is refused", function()
    for _, wrong in ipairs { "nonsense", "ftp://127.0.0.1/", "http://" } do
      local socket = sockets.whole { url = demo .. "/ws/echo", proxy = wrong }
      assert.is_truthy(socket.fail)
      assert.equal(0, #socket.errors)
    end
  end)

  it("is not taken from the environment", function()
    local result = helper.lua_under({ "env", "http_proxy=" .. fault.refused,
      "https_proxy=" .. fault.refused, "all_proxy=" .. fault.refused,
      "ALL_PROXY=" .. fault.refused }, [[
      local sockets = require "support.sockets"
      local socket = sockets.open { url = (...) }
      socket.task:send { data = "x" }
      print(sockets.wait_messages(socket, 1))]], demo .. "/ws/echo")
    assert.equal("", result.err)
    assert.equal("x\n", result.out)
  end)
end)

-- ---- Names and addresses ----------------------------------------------------

describe("a name", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("leads to the address that answers", function()
    -- ::1 comes first and is refused.
    check_works { url = demo:gsub("127%.0%.0%.1", "localhost")
      .. "/ws/echo" }
  end)

  it("may be an IPv6 address", function()
    assert.is_string(fault.ws6)
    local url, key = sockets.fault("echo", nil, fault.ws6)
    check_works { url = url }
    local host = fault.ws6:match("^ws://(.*)$")
    local request = wire.parse(wire.seen(key)[1].head)
    assert.same({ host }, wire.values(request, "Host"))
  end)

  local BEGIN = [[
    local sockets = require "support.sockets"
    local function error_of(url)
      local socket = sockets.whole { url = url }
      same("success complete error", table.concat(socket.order, " "))
      return socket.errors[1].errMsg
    end
  ]]

  it("that nobody knows is an error", function()
    inside("nxdomain", BEGIN .. [[
      for _, scheme in ipairs { "ws", "wss" } do
        same("connectSocket:fail -105:net::ERR_NAME_NOT_RESOLVED",
          error_of(scheme .. "://name.example/"))
      end]])
  end)

  it("that is not answered runs into the time-out", function()
    inside("silent", BEGIN .. [[
      local begun = helper.now()
      local socket = sockets.whole { url = "ws://name.example/",
        timeout = 200 }
      same("connectSocket:fail timeout", socket.errors[1].errMsg)
      assert(helper.now() - begun < 1500 * helper.slow)
      -- And holds nobody up meanwhile.
      socket = sockets.start { url = "ws://other.example/" }
      local good = sockets.open { url = fault.ws .. "/ws/echo" }
      good.task:send { data = "x" }
      sockets.wait_messages(good, 1, 2000)
      begun = helper.now()
      sockets.close(socket)
      assert(helper.now() - begun < 1000 * helper.slow)
      sockets.check_closed(socket, 1000, "normal closure")]])
  end)

  it("with several addresses leads to the one that answers", function()
    inside("closed", BEGIN .. [[
      local port = fault.http:match(":(%d+)$")
      local socket = sockets.open {
        url = "ws://two.example:" .. port .. "/ws/echo" }
      socket.task:send { data = "x" }
      same("x", sockets.wait_messages(socket, 1))]],
      nil, "127.0.0.2 two.example\n127.0.0.1 two.example")
  end)

  it("is what the certificate must be for", function()
    inside("answer", BEGIN .. [[
      net.configure { caFile = helper.servers.ca }
      local url = fault.wss .. "/ws/echo"
      same("connectSocket:fail -200:net::ERR_CERT_COMMON_NAME_INVALID",
        error_of((url:gsub("127.0.0.1", "name.example"))))
      sockets.open { url = (url:gsub("127.0.0.1", "localhost")) }]])
  end)

  it("without a port means 80, and Host has none", function()
    inside("closed", BEGIN .. [[
      local wire = require "support.wire"
      net.configure { allowUrlPort = false }
      local socket = sockets.open { url = "ws://127.0.0.1/ws/echo?key=port" }
      net.configure { allowUrlPort = true }
      local request = wire.parse(wire.seen("port")[1].head)
      same("127.0.0.1", wire.values(request, "Host")[1])
      sockets.close(socket)]])
  end)

  it("in a machine without a network is an error", function()
    inside("closed", BEGIN .. [[
      same("connectSocket:fail -106:net::ERR_INTERNET_DISCONNECTED",
        error_of("ws://192.0.2.1/"))]])
  end)
end)

-- ---- Others' servers --------------------------------------------------------

describe("python3-websockets and nginx", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  for name, url in pairs { websockets = servers.pyws,
    ["websockets with deflate"] = servers.pyws_deflate,
    ["websockets over TLS"] = servers.pyws_tls,
    nginx = nginx.wss .. "/ws/echo" } do
    it("#126 #140 #141 #154 agree with us: " .. name, function()
      local socket = sockets.open { url = url, protocols = { "superchat",
        "chat" }, perMessageDeflate = name:find "deflate" ~= nil }
      assert.is_true(socket.opens[1].protocol:find("chat", 1, true) ~= nil)
      local last
      for i = 1, 300 do
        last = ("%d Grüße 世界 "):format(i):rep(i)
        socket.task:send { data = i % 2 == 0 and net.buffer(last) or last }
      end
      sockets.wait_messages(socket, 300, 10000)
      for i = 1, 300 do
        local got = socket.messages[i]
        assert(type(got) == (i % 2 == 0 and "userdata" or "string"))
        assert(tostring(got) == ("%d Grüße 世界 "):format(i):rep(i), i)
      end
      local big = ("0123456789abcdef"):rep(65536 * 4)
      echo(socket, big)
      echo(socket, net.buffer(big))
      sockets.close(socket, { code = 3456, reason = "Gründe" })
      sockets.check_closed(socket, 3456, "Gründe")
    end)
  end

  it("#144 tell their own end through nginx", function()
    local socket = sockets.whole {
      url = nginx.wss .. "/ws/close?code=3210&reason=enough" }
    sockets.check_closed(socket, 3210, "enough")
    socket = sockets.whole { url = nginx.wss .. "/ws/refuse?status=403" }
    assert.equal("connectSocket:fail Invalid HTTP status 403",
      socket.errors[1].errMsg)
  end)
end)
