-- UDP sockets under a policy: whom they may send to, and whom they hear. In a
-- network namespace with a DNS server of its own.

local batch = require "support.batch"

local BEGIN = [[
local udp = require "support.udp"
local PORT = fault.udp

local function reset()
  net.configure { domains = { udp = false }, denyPrivateAddresses = false,
    allowPrivate = false }
  udp.defaults()
end

local function cleanup()
  net.configure { policy = "open" }
  reset()
  udp.verify()
end

reset()
net.setLogger(function() end)

local function echo(socket, address)
  local res = udp.ask(socket, PORT, "echo " .. address, { address = address })
  same("echo " .. address, tostring(res.message))
end

local function check(socket, count, method, rule)
  local res = udp.check_error(socket, count, -3, "UDPSocket." .. method
    .. ":fail ")
  same(600002, res.errno)
  assert(res.reason and res.reason:find(rule, 1, true), res.reason)
  return res
end

local function refused(socket, address, rule, port)
  local count = #socket.errors
  udp.send(socket, port or PORT, "note never x", { address = address })
  return check(socket, count + 1, "send", rule)
end

local function dropped() return net.stats().droppedDatagrams end

-- Datagrams of that socket to the other one are not heard.
local function is_deaf(socket, from)
  local before, count = dropped(), #socket.messages
  udp.send(from, socket.port, "psst")
  helper.run_until(function() return dropped() == before + 1 end, 5000,
    "the drop")
  same(count, #socket.messages)
end

local function hears(socket, from, text)
  local count = #socket.messages
  udp.send(from, socket.port, text)
  same(text, tostring(udp.wait_messages(socket, count + 1).message))
end
]]

local add, test = batch("by-name", { begin = BEGIN, lan = true })

add("sends to the peers of the list alone", [[
  net.configure { domains = { udp = { "127.0.0.1:" .. PORT,
    "*.game.example" } } }
  local socket = udp.create()
  echo(socket, "127.0.0.1")
  echo(socket, "eu.game.example")
  echo(socket, "EU.game.example")
  refused(socket, "127.0.0.1", "domains", PORT % 60000 + 1025)
  refused(socket, "127.0.0.2", "domains")
  refused(socket, "game.example", "domains")
  refused(socket, "eu.game.example.evil", "domains")
  refused(socket, "localhost", "domains")
  echo(socket, "127.0.0.1")]])

add("a private address is refused in all of its forms", [[
  net.configure { denyPrivateAddresses = true }
  local socket, six = udp.create(), udp.create("udp6")
  for _, address in ipairs { "127.0.0.1", "0.0.0.0", "10.77.0.1",
    "10.77.0.255", "169.254.169.254", "192.168.1.1", "224.0.0.251",
    "239.255.255.250", "255.255.255.255", "localhost", "LocalHost." } do
    refused(socket, address, "denyPrivateAddresses")
  end
  for _, address in ipairs { "::1", "::", "fe80::1%lo", "fd00::1", "ff02::fb",
    "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::" } do
    refused(six, address, "denyPrivateAddresses")
  end
  for i, address in ipairs { "127.1", "2130706433", "0x7f000001",
    "0177.0.0.1", "127.0.0.1." } do
    local other = udp.create()
    udp.send(other, PORT, "x", { address = address })
    same(1, udp.wait_errors(other, 1).errCode)
  end
  same(0, #socket.closes)]])

add("a broadcast needs leave, as option or as a setting", [[
  net.configure { denyPrivateAddresses = true }
  local socket = udp.create()
  udp.send(socket, PORT, "x", { address = "255.255.255.255",
    setBroadcast = true })
  check(socket, 1, "send", "denyPrivateAddresses")
  socket.task:setBroadcast(true)
  refused(socket, "10.77.0.255", "denyPrivateAddresses")
  net.configure { allowPrivate = { "10.77.0.0/24" } }
  refused(socket, "10.77.0.255", "denyPrivateAddresses") -- as it was made
  local other = udp.create()
  udp.send(other, PORT, "x", { address = "10.77.0.255", setBroadcast = true })
  helper.run_for(20)
  same(0, #other.errors)]])

add("a name that leads to a private address is refused each time", [[
  local open = udp.create()
  net.configure { denyPrivateAddresses = true }
  local socket = udp.create()
  for _ = 1, 3 do
    local res = refused(socket, "some.example", "denyPrivateAddresses")
    assert(not tostring(res.detail):find("127.0.0.1", 1, true), res.detail)
  end
  refused(socket, "lan.example", "denyPrivateAddresses")
  echo(open, "some.example")
  refused(socket, "some.example", "denyPrivateAddresses")
  same(0, socket.task.bufferedAmount)
  same("open", socket.task.state)
  net.configure { allowPrivate = { "some.example" } }
  local other = udp.create()
  echo(other, "some.example")
  refused(other, "other.example", "denyPrivateAddresses")
  refused(other, "127.0.0.1", "denyPrivateAddresses")]])

add("connect and write pass the same gate", [[
  net.configure { denyPrivateAddresses = true,
    allowPrivate = { "some.example" } }
  local socket = udp.create()
  socket.task:connect { address = "127.0.0.1", port = PORT }
  check(socket, 1, "connect", "denyPrivateAddresses")
  socket.task:connect { address = "other.example", port = PORT }
  check(socket, 2, "connect", "denyPrivateAddresses")
  socket.task:write { message = "echo x" }
  check(socket, 3, "send", "denyPrivateAddresses")
  socket.task:connect { address = "some.example", port = PORT }
  socket.task:write { message = "echo x" }
  udp.wait_messages(socket, 1)
  socket.task:connect { address = "none.example", port = PORT }
  local res = udp.check_error(socket, 4, 1, "UDPSocket.connect:fail ")
  assert(res.errMsg:find("NAME_NOT_RESOLVED", 1, true), res.errMsg)]])

add("hears nobody whom it may not reach, and counts what is dropped", [[
  local stranger = udp.bound()
  net.configure { denyPrivateAddresses = true }
  local socket = udp.bound()
  is_deaf(socket, stranger)
  net.configure { allowPrivate = { "127.0.0.0/8" } }
  local other = udp.bound()
  hears(other, stranger, "hello")
  net.configure { denyPrivateAddresses = false, allowPrivate = false,
    domains = { udp = { "127.0.0.1:" .. stranger.port } } }
  local listed = udp.bound()
  hears(listed, stranger, "hello")
  is_deaf(listed, other)
  net.configure { domains = { udp = {} } }
  is_deaf(udp.bound(), stranger)
  -- Those that were made before keep what held then.
  hears(other, stranger, "again")
  is_deaf(socket, stranger)]])

add("hears the answers of a name that it has asked, and nobody else", [[
  local stranger = udp.bound()
  net.configure { domains = { udp = { "some.example" } } }
  local socket = udp.bound()
  is_deaf(socket, stranger)
  echo(socket, "some.example")
  is_deaf(socket, stranger)
  udp.send(socket, stranger.port, "hello", { address = "some.example" })
  udp.wait_messages(stranger, 1)
  hears(socket, stranger, "yes?")]])

add("joins a group that is allowed, and no other", [[
  net.configure { denyPrivateAddresses = true }
  local socket = udp.create()
  socket.task:joinMulticast("239.1.2.3", "10.77.0.1")
  check(socket, 1, "joinMulticast", "denyPrivateAddresses")
  net.configure { allowPrivate = { "239.1.2.0/24" } }
  local other = udp.create()
  other.task:joinMulticast("239.1.2.3", "10.77.0.1")
  other.task:joinMulticast("239.1.3.3", "10.77.0.1")
  check(other, 1, "joinMulticast", "denyPrivateAddresses")
  other.task:leaveMulticast("239.1.2.3", "10.77.0.1")
  helper.run_for(20)
  same(1, #other.errors)]])

add("strict reaches nobody without a list", [[
  net.configure { policy = "strict" }
  local socket = udp.bound()
  refused(socket, "93.184.216.34", "domains")
  refused(socket, "some.example", "domains")
  refused(socket, "127.0.0.1", "domains")]])

add("many sends to one refused peer lose nothing of the others", [[
  net.configure { domains = { udp = { "127.0.0.1:" .. PORT } } }
  local socket = udp.bound()
  for i = 1, 200 do
    udp.send(socket, PORT, "note both " .. i)
    udp.send(socket, 9, "never")
  end
  local seen = udp.seen("both", 200)
  for i = 1, 200 do same("note both " .. i, seen[i].text) end
  udp.wait_errors(socket, 200)
  for _, res in ipairs(socket.errors) do same(-3, res.errCode) end]])

describe("a UDPSocket under a policy", function()
  test(it)
end)
