-- Where datagrams go: TTL, broadcasts, multicast; and what the network says
-- when they cannot go there.

local batch = require "support.batch"
local helper = require "helper"
local inside = require "support.inside"
local residue = require "support.residue"
local udp = require "support.udp"

local net, servers = helper.net, helper.servers
local fault, ECHO = servers.fault, servers.demo_udp

-- Nobody binds it who is not root, and no port is chosen below 1024.
local UNBOUND = 9

describe("setTTL", function()
  setup(udp.defaults)
  after_each(udp.verify)

  local function hops(socket)
    local key = udp.key()
    udp.send(socket, fault.udp, "note " .. key)
    return udp.seen(key)[1].hops
  end

  it("#179 sets the TTL of what is sent", function()
    local socket = udp.bound()
    for _, ttl in ipairs { 1, 64, 33, 255 } do
      socket.task:setTTL(ttl)
      assert.equal(ttl, hops(socket))
    end
    assert.same({}, socket.errors)
  end)

  it("#179 before bind is remembered", function()
    local socket = udp.create()
    socket.task:setTTL(77)
    socket.task:bind()
    assert.equal(77, hops(socket))
    socket = udp.create()
    socket.task:setTTL(78)
    assert.equal(78, hops(socket)) -- a send binds
  end)

  it("#179 #189 out of range is an error", function()
    local socket = udp.bound()
    socket.task:setTTL(55)
    for i, ttl in ipairs { 0, -1, 256, 1000, 1.5, 0 / 0, 1 / 0 } do
      socket.task:setTTL(ttl)
      udp.check_error(socket, i, -1, "UDPSocket.setTTL:fail ")
    end
    assert.equal(55, hops(socket))
  end)

  it("#179 of what is no number raises", function()
    local socket = udp.create()
    for _, wrong in ipairs { true, {}, "many" } do
      assert.has_error(function() socket.task:setTTL(wrong) end)
    end
    assert.has_error(function() socket.task:setTTL() end)
  end)

  it("#179 is that of IPv6, too", function()
    local socket = udp.create("udp6")
    socket.task:setTTL(44)
    local key = udp.key()
    udp.send(socket, fault.udp6, "note " .. key, { address = "::1" })
    assert.equal(44, udp.seen(key)[1].hops)
  end)
end)

local BEGIN = [[
  local udp = require "support.udp"
  udp.defaults()
  local cleanup = udp.verify
  local GROUP = "239.1.2.3"
  -- Says a port, and how many hops a datagram to the group had left there.
  local HOPS = "import socket, struct\n"
    .. "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    .. "s.bind((\"\", 0))\n"
    .. "s.setsockopt(0, socket.IP_ADD_MEMBERSHIP,"
    .. " socket.inet_aton(\"239.1.2.3\") + socket.inet_aton(\"10.77.0.1\"))\n"
    .. "s.setsockopt(0, 12, 1)\n" -- IP_RECVTTL
    .. "print(s.getsockname()[1], flush=True)\n"
    .. "print(struct.unpack(\"i\", s.recvmsg(10, 64)[1][0][2])[0])"
]]

local EACH = [[
  local receiver, socket = udp.bound(), udp.create()
  local function send(text, group)
    udp.send(socket, receiver.port, text, { address = group or GROUP })
  end
  local function check(count, text)
    same(text, tostring(udp.wait_messages(receiver, count).message))
  end
  -- Sent behind it, so it would have come.
  local function check_nothing(count)
    udp.send(socket, receiver.port, "mark")
    check(count + 1, "mark")
  end
]]

local add, test = batch("closed", { begin = BEGIN, each = EACH, lan = true })

add("#180 a broadcast goes out with setBroadcast", [[
  udp.send(socket, receiver.port, "to all", { address = "10.77.0.255",
    setBroadcast = true })
  check(1, "to all")
  same("10.77.0.1", receiver.messages[1].remoteInfo.address)
  udp.send(socket, receiver.port, "on lo", { address = "127.255.255.255",
    setBroadcast = true })
  check(2, "on lo")
  same(0, #socket.errors)]])

add("#180 a broadcast to 255.255.255.255 goes out without", [[
  udp.send(socket, receiver.port, "to all",
    { address = "255.255.255.255" })
  check(1, "to all")
  same(0, #socket.errors)]])

add("#180 a broadcast goes out after setBroadcast(true)", [[
  socket.task:setBroadcast(true)
  udp.send(socket, receiver.port, "to all", { address = "10.77.0.255" })
  check(1, "to all")
  socket.task:setBroadcast(false)
  udp.send(socket, receiver.port, "x", { address = "10.77.0.255" })
  udp.check_error(socket, 1, -3)]])

add("#189 a broadcast is refused else, and the socket lives on", [[
  udp.send(socket, receiver.port, "x", { address = "10.77.0.255" })
  udp.check_error(socket, 1, -3, "UDPSocket.send:fail ")
  udp.send(socket, receiver.port, "to one")
  check(1, "to one")]])

add("multicast reaches who has joined, until it leaves", [[
  send("nobody")
  check_nothing(0)
  receiver.task:joinMulticast(GROUP)
  send("joined")
  check(2, "joined")
  same("10.77.0.1", receiver.messages[2].remoteInfo.address)
  receiver.task:leaveMulticast(GROUP)
  send("left")
  check_nothing(2)
  same(0, #receiver.errors)
  same(0, #socket.errors)]])

add("multicast reaches who has joined before it bound", [[
  local port = receiver.port
  udp.close(receiver)
  receiver = udp.create()
  receiver.task:joinMulticast(GROUP)
  receiver.port = assert(receiver.task:bind(port))
  send("joined")
  check(1, "joined")]])

add("multicast takes an interface", [[
  receiver.task:joinMulticast(GROUP, "10.77.0.1")
  send("joined")
  check(1, "joined")
  receiver.task:leaveMulticast(GROUP, "10.77.0.1")
  send("left")
  check_nothing(1)
  receiver.task:joinMulticast(GROUP, "127.0.0.1")
  send("elsewhere")
  check_nothing(2)
  same(0, #receiver.errors)
  receiver.task:joinMulticast(GROUP, "10.99.99.99")
  local res = udp.wait_errors(receiver, 1)
  assert(res.errMsg:find("^UDPSocket.joinMulticast:fail "), res.errMsg)]])

add("multicast reaches only the groups that were joined", [[
  receiver.task:joinMulticast(GROUP)
  local other = udp.bound()
  other.task:joinMulticast("239.9.9.9")
  send("not ours", "239.9.9.9")
  check_nothing(0)
  send("ours")
  check(2, "ours")]])

add("multicast of no group is an error", [[
  for i, wrong in ipairs { "127.0.0.1", "nonsense", "", "ff02::1" } do
    receiver.task:joinMulticast(wrong)
    local res = udp.wait_errors(receiver, i)
    assert(res.errMsg:find("^UDPSocket.joinMulticast:fail "), res.errMsg)
  end
  receiver.task:leaveMulticast(GROUP) -- never joined
  local res = udp.wait_errors(receiver, 5)
  assert(res.errMsg:find("^UDPSocket.leaveMulticast:fail "), res.errMsg)
  assert(not pcall(receiver.task.joinMulticast, receiver.task))
  assert(not pcall(receiver.task.joinMulticast, receiver.task, {}))
  send("x", "239.1.1.1")
  check_nothing(0)]])

add("multicast has a TTL of its own", [[
  local python = assert(io.popen("/usr/bin/python3 -c '" .. HOPS .. "'"))
  local port = assert(python:read("*n"))
  socket.task:setTTL(99)
  socket.task:setMulticastTTL(5)
  udp.send(socket, port, "x", { address = GROUP })
  same(5, python:read("*n"))
  python:close()
  for i, wrong in ipairs { -1, 256, 1.5 } do
    socket.task:setMulticastTTL(wrong)
    udp.check_error(socket, i, -1, "UDPSocket.setMulticastTTL:fail ")
  end]])

add("multicast is there for IPv6", [[
  local six, from = udp.bound("udp6"), udp.create("udp6")
  for count, group in ipairs { "ff02::1234", "ff15::1234" } do
    six.task:joinMulticast(group, "v0")
    from.task:joinMulticast(group, "v0") -- also the way out
    udp.send(from, six.port, "six", { address = group })
    same("six", tostring(udp.wait_messages(six, count).message))
    six.task:leaveMulticast(group, "v0")
  end
  helper.run_for(20)
  same(0, #six.errors)
  same(0, #from.errors)]])

describe("in a LAN,", function()
  test(it)
end)

-- ---- Errors of the network --------------------------------------------------

describe("a port where nobody listens", function()
  setup(udp.defaults)
  after_each(udp.verify)

  it("#186 #189 is an error, and the socket lives on", function()
    local socket = udp.bound()
    udp.send(socket, UNBOUND, "anybody?")
    local res = udp.wait_errors(socket, 1)
    assert.equal(-2, res.errCode)
    assert.matches("REFUSED", res.errMsg)
    assert.equal("number", type(res.errno))
    udp.ask(socket, ECHO, "still here")
    assert.equal(0, #socket.closes)
    udp.send(socket, UNBOUND, "again")
    udp.wait_errors(socket, 2)
    udp.ask(socket, ECHO, "still here")
  end)

  it("#186 #189 is an error with connect, too", function()
    local socket = udp.create()
    socket.task:connect { address = "127.0.0.1", port = UNBOUND }
    socket.task:write { message = "anybody?" }
    assert.equal(-2, udp.wait_errors(socket, 1).errCode)
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    socket.task:write { message = "x" }
    udp.wait_messages(socket, 1)
  end)

  it("#186 #189 is an error over IPv6, too", function()
    local socket = udp.create("udp6")
    udp.send(socket, UNBOUND, "anybody?", { address = "::1" })
    assert.equal(-2, udp.wait_errors(socket, 1).errCode)
    udp.ask(socket, fault.udp6, "echo x", { address = "::1" })
  end)

  it("#186 in the middle of a burst loses nothing of the others", function()
    local socket, other = udp.create(), udp.bound()
    for i = 1, 50 do
      udp.send(socket, other.port, tostring(i))
      if i % 10 == 0 then udp.send(socket, UNBOUND, "x") end
    end
    udp.wait_messages(other, 50)
    for i = 1, 50 do
      assert.equal(tostring(i), tostring(other.messages[i].message))
    end
    assert.equal(-2, udp.wait_errors(socket, 1).errCode)
  end)

  it("costs no CPU once it was told", function()
    -- An error queue that is not emptied keeps a loop awake.
    local socket = udp.create()
    for _ = 1, 20 do udp.send(socket, UNBOUND, "x") end
    udp.wait_errors(socket, 1)
    helper.run_for(50)
    local before = os.clock()
    helper.run_for(500)
    assert.is_true(os.clock() - before < 0.25 * helper.slow,
      os.clock() - before)
  end)

  it("#186 is logged once when nobody listens for errors", function()
    local lines, restore = residue.log()
    local task = net.createUDPSocket()
    for _ = 1, 3 do
      task:send { address = "127.0.0.1", port = 0, message = "x" }
    end
    helper.run_for(20)
    restore()
    task:close()
    assert.equal(1, #lines, table.concat(lines, "\n"))
    assert.matches("^warn: .*UDPSocket%.send", lines[1])
  end)

  it("#189 an unreachable network is an error", function()
    inside("closed", [[
      local udp = require "support.udp"
      udp.defaults()
      local socket = udp.create()
      udp.send(socket, 5555, "x", { address = "192.0.2.1" })
      udp.check_error(socket, 1, -2, "UDPSocket.send:fail ")
      udp.ask(socket, helper.servers.fault.udp, "echo x")]])
  end)
end)
