-- TCP sockets under a policy: whom they may reach, by which ports, and how
-- many there may be. In a network namespace with a DNS server of its own,
-- where all names lead to loopback.

local batch = require "support.batch"
local inside = require "support.inside"

local BEGIN = [[
local tcp = require "support.tcp"
local PORT = fault.tcp

local function reset()
  net.configure { domains = { tcp = false }, denyPrivateAddresses = false,
    allowPrivate = false }
  tcp.defaults()
end

local function cleanup()
  net.configure { policy = "open" } -- and what it does not lift:
  reset()
  tcp.verify()
end

reset()
net.setLogger(function() end)

-- Connected, with an echo.
local function talks(address, options)
  local given = { address = address, port = PORT }
  for key, value in pairs(options or {}) do given[key] = value end
  local socket = tcp.connect(given)
  socket.task:write("echo\nhello")
  same("hello", tcp.wait_bytes(socket, 5):sub(1, 5))
  tcp.close(socket)
end

-- onError -3, then onClose.
local function refused(address, rule, options)
  local given = { address = address, port = PORT }
  for key, value in pairs(options or {}) do given[key] = value end
  local socket = tcp.whole(given)
  tcp.check_order(socket, "error", "close")
  local res = socket.errors[1]
  if res.errCode ~= -3 or res.errno ~= 600002 then
    error(("%s: %s %s %s"):format(address, res.errCode, res.errno,
      res.errMsg), 2)
  end
  assert(res.errMsg:find("^TCPSocket%.connect:fail "), res.errMsg)
  assert(res.reason and res.reason:find(rule, 1, true), res.reason)
  return res
end
]]

local add, test = batch("by-name", { begin = BEGIN, also = "6379" })

add("#164 reaches the peers of the list alone", [[
  net.configure { domains = { tcp = { "127.0.0.1:" .. PORT,
    "*.game.example" } } }
  talks("127.0.0.1")
  talks("eu.game.example")
  talks("EU.Game.Example.")
  refused("127.0.0.1", "domains", { port = PORT % 60000 + 1025 })
  refused("127.0.0.2", "domains")
  refused("game.example", "domains")
  refused("eu.game.example.evil", "domains")
  refused("eugame.example", "domains")]])

add("#164 a list may say whether it has to be TLS", [[
  net.configure { domains = { tcp = { "tls://127.0.0.1" } } }
  refused("127.0.0.1", "domains")
  local socket = tcp.start { port = PORT, tls = true }
  tcp.finish(socket)
  same(-4, socket.errors[1].errCode) -- it tried; the server speaks none
  net.configure { domains = { tcp = { "tcp://127.0.0.1" } } }
  talks("127.0.0.1")
  refused("127.0.0.1", "domains", { tls = true })]])

add("#164 reaches LAN peers and configured ones, and not itself", [[
  net.configure {
    domains = { tcp = { "10.1.2.3", "127.0.0.1", "lan.example" } },
    denyPrivateAddresses = true,
    allowPrivate = { "10.0.0.0/8", "192.168.0.0/16" },
  }
  refused("127.0.0.1", "denyPrivateAddresses")
  refused("10.1.2.4", "domains")
  refused("192.168.0.1", "domains")
  -- Nobody is there, but it may try.
  local socket = tcp.whole { address = "10.1.2.3", port = PORT }
  same(-4, socket.errors[1].errCode)
  socket = tcp.whole { address = "lan.example", port = PORT }
  same(-4, socket.errors[1].errCode)]])

add("a private address is refused in all of its forms", [[
  net.configure { denyPrivateAddresses = true }
  for _, address in ipairs { "127.0.0.1", "0.0.0.0", "10.1.2.3",
    "169.254.169.254", "172.16.1.1", "192.168.1.1", "100.64.0.1",
    "localhost", "LOCALHOST.", "a.localhost" } do
    refused(address, "denyPrivateAddresses")
  end
  for _, address in ipairs { "::1", "::", "fd00::1", "fe80::1%lo",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1",
    "2002:7f00:1::" } do
    local socket = tcp.start({ address = address, port = PORT },
      { type = "ipv6" })
    tcp.finish(socket)
    same(-3, socket.errors[1].errCode)
  end
  for _, address in ipairs { "127.1", "2130706433", "0x7f000001",
    "0177.0.0.1", "127.0.0.1.", "[::1]" } do
    local socket = tcp.whole { address = address, port = PORT }
    same(1, socket.errors[1].errCode)
  end]])

add("a name that leads to a private address is refused", [[
  net.configure { denyPrivateAddresses = true }
  for _ = 1, 2 do -- the second time from the cache
    local res = refused("some.example", "denyPrivateAddresses")
    assert(not tostring(res.detail):find("127.0.0.1", 1, true), res.detail)
  end
  refused("two.example", "denyPrivateAddresses")
  refused("some.example", "denyPrivateAddresses", { tls = true })
  refused("some.example", "denyPrivateAddresses", { port = 6379 })
  -- It is another matter for a name that is allowed.
  net.configure { allowPrivate = { "some.example" } }
  talks("some.example")
  refused("other.example", "denyPrivateAddresses")
  refused("127.0.0.1", "denyPrivateAddresses")
  net.configure { allowPrivate = { "127.0.0.0/8" } }
  talks("other.example")
  talks("localhost")]])

add("what was connected under one policy is no way around the next", [[
  local early = tcp.connect { address = "some.example", port = PORT }
  net.configure { denyPrivateAddresses = true }
  refused("some.example", "denyPrivateAddresses")
  early.task:write("echo\nstill here")
  tcp.wait_bytes(early, 10)
  tcp.close(early)]])

add("#162 forbidden ports stay so, however they are written", [[
  net.configure { policy = "strict", limits = { tcpPerWindow = 0 },
    domains = { tcp = { "127.0.0.1" } }, allowPrivate = { "127.0.0.1" } }
  for _, port in ipairs { 6379, 6379.0, 80, 443, 1023, 3306, 8000, 27019,
    "6379", "80", 0, -1, 65536, 65536 + 6379, 6379.5, 0 / 0, 1 / 0, -1 / 0,
    true } do
    local socket = tcp.whole { port = port }
    tcp.check_order(socket, "error", "close")
    same(2, socket.errors[1].errCode)
  end
  net.configure { limits = { tcpForbiddenPorts = false } }
  tcp.close(tcp.connect { port = 6379 })]])

add("a preset without lists: strict reaches nobody, miniprogram all", [[
  net.configure { policy = "strict", limits = { tcpPerWindow = 0,
    tcpForbiddenPorts = false } }
  refused("127.0.0.1", "domains")
  refused("93.184.216.34", "domains")
  refused("some.example", "domains")
  net.configure { policy = "miniprogram", limits = { tcpPerWindow = 0,
    tcpForbiddenPorts = false } }
  talks("127.0.0.1")]])

add("what is refused is logged at warn, with its rule", [[
  net.configure { denyPrivateAddresses = true }
  local lines = residue.log()
  refused("127.0.0.1", "denyPrivateAddresses")
  net.setLogger(function() end)
  local text = table.concat(lines, "\n")
  assert(text:find("warn: .*denyPrivateAddresses"), text)]])

add("a policy that changes while it connects leaves it alone", [[
  net.configure { denyPrivateAddresses = true,
    allowPrivate = { "127.0.0.1" } }
  for i = 1, 5 do
    local plain = tcp.start { port = fault.tcp }
    local secure = tcp.start { port = fault.tcp_tls, tls = true }
    net.configure { allowPrivate = { "127.0.0.1", "10.0.0." .. i } }
    tcp.wait_open(plain)
    tcp.wait_open(secure)
    tcp.close(plain)
    tcp.close(secure)
  end]])

describe("a TCPSocket under a policy", function()
  test(it)

  it("#162 #163 keeps ports and the window when it is sealed", function()
    inside("by-name", [[
      local tcp = require "support.tcp"
      net.configure { policy = "strict", domains = { tcp = { "127.0.0.1" } },
        allowPrivate = { "127.0.0.1" } }
      net.setLogger(function() end)
      net.seal()
      local function loosen()
        for _, options in ipairs { { policy = "open" },
          { limits = { tcpPerWindow = 0 } },
          { limits = { tcpForbiddenPorts = false } },
          { domains = { tcp = false } }, { allowPrivate = { "0.0.0.0/0" } },
          { denyPrivateAddresses = false } } do
          assert(not pcall(net.configure, options))
        end
        assert(not pcall(net.close))
      end
      loosen()
      for i = 1, 20 do
        local socket = assert(net.createTCPSocket(), i)
        local err
        socket:onError(function(res) err = res end)
        socket:connect { address = "127.0.0.1", port = i % 2 == 0 and 80
          or 6379 }
        helper.run_until(function() return err end)
        same(2, err.errCode)
        socket:close()
      end
      loosen()
      for _ = 1, 3 do
        local socket, res = net.createTCPSocket()
        same(nil, socket)
        same(600007, res.errno)
        same("createTCPSocket:fail exceed max count", res.errMsg)
        assert(res.reason:find("tcpPerWindow", 1, true), res.reason)
      end]], nil, { also = "6379" })
  end)
end)
