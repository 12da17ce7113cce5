-- createUDPSocket and UDPSocket: binding, sending and receiving. Names are in
-- udp_names_spec.lua, other addresses in udp_reach_spec.lua.

local helper = require "helper"
local inside = require "support.inside"
local udp = require "support.udp"

local net, servers = helper.net, helper.servers
local fault, ECHO = servers.fault, servers.demo_udp

describe("createUDPSocket", function()
  setup(udp.defaults)
  after_each(udp.verify)

  it("#175 makes a UDPSocket", function()
    local task = net.createUDPSocket()
    assert.equal("userdata", type(task))
    assert.matches("^nettask%.UDPSocket #%d+ %(%a+%)$", tostring(task))
    assert.equal("number", type(task.id))
    task:close()
    helper.run_until(function() return task.state == "done" end)
    assert.matches("%(done%)$", tostring(task))
  end)

  it("#175 knows two types", function()
    for _, name in ipairs { "udp4", "udp6" } do
      udp.close(udp.create(name))
    end
    for _, wrong in ipairs { "udp5", "ipv4", "", 4, true, {} } do
      assert.has_error(function() net.createUDPSocket(wrong) end)
    end
  end)

  it("#176 means IPv4 by default", function()
    for _, socket in ipairs { udp.bound(), udp.bound("udp4") } do
      local res = udp.ask(socket, ECHO, "over IPv4")
      assert.equal("IPv4", res.remoteInfo.family)
      assert.equal("IPv4", res.localInfo.family)
    end
  end)

  it("#176 or IPv6 when it is asked to", function()
    assert.is_number(fault.udp6)
    local socket = udp.bound("udp6")
    local res = udp.ask(socket, fault.udp6, "echo over IPv6",
      { address = "::1" })
    assert.equal("echo over IPv6", tostring(res.message))
    assert.same({ address = "::1", family = "IPv6", port = fault.udp6,
      size = 14 }, res.remoteInfo)
    assert.equal("IPv6", res.localInfo.family)
    assert.equal(socket.port, res.localInfo.port)
  end)

  it("#176 #190 refuses an address of the other family", function()
    local socket = udp.bound()
    udp.send(socket, fault.udp6, "x", { address = "::1" })
    udp.check_error(socket, 1, 1)
    socket = udp.bound("udp6")
    udp.send(socket, ECHO, "x")
    udp.check_error(socket, 1, 1)
  end)

  it("#176 leaves IPv4 to others who bind the same port", function()
    local six = udp.bound("udp6")
    local four = udp.create("udp4")
    assert.equal(six.port, four.task:bind(six.port))
  end)

  it("has no limit of its own", function()
    local all = {}
    for i = 1, 100 do all[i] = udp.bound() end
    for i = 1, 100 do
      assert.equal(tostring(i), tostring(udp.ask(all[i], ECHO, tostring(i))
        .message))
    end
  end)
end)

-- ---- bind -------------------------------------------------------------------

describe("bind", function()
  setup(udp.defaults)
  after_each(udp.verify)

  it("#177 takes a free port and returns it at once", function()
    local a, b = udp.create(), udp.create()
    local port = a.task:bind()
    assert.equal("number", type(port))
    assert.is_true(port > 0 and port < 65536 and port % 1 == 0)
    assert.equal("integer", math.type and math.type(port) or "integer")
    assert.are_not.equal(port, b.task:bind())
    -- It is that port: others see it.
    local key = udp.key()
    udp.send(a, fault.udp, "note " .. key)
    assert.equal(port, udp.seen(key)[1].port)
  end)

  it("#177 of 0 is the same", function()
    assert.is_true(udp.create().task:bind(0) > 0)
    assert.is_true(udp.create().task:bind(nil) > 0)
  end)

  it("#178 takes the port that it is given", function()
    local first = udp.bound()
    local port = first.port
    udp.close(first)
    local socket = udp.create()
    assert.equal(port, socket.task:bind(port))
    local key = udp.key()
    udp.send(socket, fault.udp, "both " .. key)
    assert.equal(port, udp.seen(key)[1].port)
    udp.wait_messages(socket, 1)
    assert.equal(port, socket.messages[1].localInfo.port)
  end)

  it("#178 receives what others send there", function()
    local a, b = udp.bound(), udp.bound()
    udp.send(a, b.port, "from a")
    local res = udp.wait_messages(b, 1)
    assert.equal("from a", tostring(res.message))
    assert.equal(a.port, res.remoteInfo.port)
    udp.send(b, res.remoteInfo.port, "from b",
      { address = res.remoteInfo.address })
    assert.equal("from b", tostring(udp.wait_messages(a, 1).message))
  end)

  it("#178 #186 #189 of a port in use is nil and an error", function()
    local first = udp.bound()
    local socket = udp.create()
    assert.is_nil(socket.task:bind(first.port))
    assert.same({}, socket.order)
    local res = udp.check_error(socket, 1, -2)
    assert.matches("^UDPSocket%.bind:fail ", res.errMsg)
    assert.same({}, socket.listens)
    -- It may try another.
    local port = socket.task:bind()
    assert.equal("number", type(port))
    udp.ask(socket, ECHO, "x")
  end)

  it("#178 keeps the port to itself, once it is open", function()
    local socket = udp.bound()
    udp.ask(socket, ECHO, "x")
    local result = helper.python([[
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    s.bind(("127.0.0.1", int(sys.argv[1])))
    print("bound")
except OSError as error:
    print(error.strerror)
]], socket.port)
    assert.equal("Address already in use\n", result.out)
  end)

  it("#178 #189 of a port of root's is an error of permission", function()
    local is_root = helper.run("id", "-u").out == "0\n"
    local result = helper.lua_under(is_root and { "setpriv",
      "--bounding-set=-all", "--inh-caps=-all" } or {}, [[
      local net = require "nettask"
      local task = net.createUDPSocket()
      task:onError(function(res) print(res.errCode, res.errMsg) end)
      print(task:bind(80))
      task:close()
      net.run(5000)]])
    assert.equal("", result.err)
    assert.matches("^nil\n%-3\tUDPSocket%.bind:fail ", result.out)
  end)

  it("#178 #186 #189 a second time is nil and an error", function()
    local socket = udp.bound()
    assert.is_nil(socket.task:bind())
    assert.is_nil(socket.task:bind(socket.port))
    udp.check_error(socket, 2, -2)
    assert.equal(1, #socket.listens)
    udp.ask(socket, ECHO, "still here")
    -- Also behind the binding that a send does.
    socket = udp.create()
    udp.ask(socket, ECHO, "x")
    assert.is_nil(socket.task:bind())
    udp.check_error(socket, 1, -2)
  end)

  for _, port in ipairs { -1, 65536, 1.5, 1e300, 0 / 0 } do
    it("#190 of " .. tostring(port) .. " is an error", function()
      local socket = udp.create()
      assert.is_nil(socket.task:bind(port))
      udp.check_error(socket, 1, 2)
      assert.is_number(socket.task:bind())
    end)
  end

  it("#190 of what is no number is an error", function()
    for _, wrong in ipairs { "80", true, {} } do
      local socket = udp.create()
      assert.is_nil(socket.task:bind(wrong))
      udp.check_error(socket, 1, 2)
    end
  end)

  it("#187 fires onListening, in a later update", function()
    local socket = udp.create()
    socket.task:bind()
    assert.same({}, socket.order)
    helper.run_until(function() return #socket.listens == 1 end)
    assert.equal("table", type(socket.listens[1]))
    helper.run_for(20)
    assert.equal(1, #socket.listens)
  end)

  it("#187 is what a send does, onListening too", function()
    local socket = udp.create()
    udp.ask(socket, ECHO, "x")
    assert.equal(1, #socket.listens)
    assert.equal("listening", socket.order[1])
    assert.is_true(socket.messages[1].localInfo.port > 0)
  end)

  it("#187 can be heard with on and off", function()
    local socket = udp.create()
    local calls = {}
    local function a() calls[#calls + 1] = "a" end
    local function b() calls[#calls + 1] = "b" end
    socket.task:onListening(a)
    socket.task:onListening(b)
    socket.task:onListening(b)
    socket.task:offListening(a)
    socket.task:bind()
    helper.run_until(function() return #calls > 0 end)
    assert.same({ "b" }, calls)
  end)
end)

-- ---- send -------------------------------------------------------------------

describe("send", function()
  setup(udp.defaults)
  after_each(udp.verify)

  it("#180 #188 sends a string", function()
    local socket = udp.create()
    for _, text in ipairs { "x", "Grüße, 世界", "\0\255\r\n\0" } do
      local res = udp.ask(socket, ECHO, text)
      assert.equal(text, tostring(res.message))
    end
  end)

  it("#180 #188 sends a Buffer", function()
    local socket = udp.create()
    local all = {}
    for i = 0, 255 do all[i + 1] = string.char(i) end
    all = table.concat(all)
    local res = udp.ask(socket, ECHO, net.buffer(all))
    assert.equal("userdata", type(res.message))
    assert.equal(all, tostring(res.message))
  end)

  it("#180 #188 tells who and how much", function()
    local socket = udp.bound()
    local res = udp.ask(socket, ECHO, "hello")
    assert.same({ address = "127.0.0.1", family = "IPv4", port = ECHO,
      size = 5 }, res.remoteInfo)
    assert.equal(socket.port, res.localInfo.port)
    assert.equal("IPv4", res.localInfo.family)
    assert.equal("string", type(res.localInfo.address))
    -- Tables of their own: scripts keep and change them.
    res.remoteInfo.address = "changed"
    res.localInfo.port = -1
    res = udp.ask(socket, ECHO, "again")
    assert.equal("127.0.0.1", res.remoteInfo.address)
    assert.equal(socket.port, res.localInfo.port)
  end)

  it("#180 sends an empty datagram", function()
    local socket = udp.create()
    local res = udp.ask(socket, ECHO, "")
    assert.equal(0, #res.message)
    assert.equal(0, res.remoteInfo.size)
    res = udp.ask(socket, ECHO, net.buffer(""))
    assert.equal(0, #res.message)
  end)

  it("#180 keeps the borders of datagrams", function()
    local a, b = udp.create(), udp.bound()
    for i = 1, 200 do
      udp.send(a, b.port, ("%d:"):format(i) .. ("x"):rep(i))
    end
    udp.wait_messages(b, 200)
    for i = 1, 200 do
      assert.equal(("%d:"):format(i) .. ("x"):rep(i),
        tostring(b.messages[i].message))
    end
  end)

  it("#180 #188 of runs of the same size arrive each by itself", function()
    -- What may go out in one system call.
    local a, b = udp.create(), udp.bound()
    local function burst(count, size, last)
      local from = #b.messages
      for i = 1, count do
        udp.send(a, b.port, ("%05d"):format(i) .. ("x"):rep(size - 5))
      end
      udp.send(a, b.port, last)
      udp.wait_messages(b, from + count + 1)
      for i = 1, count do
        local text = tostring(b.messages[from + i].message)
        assert.equal(size, #text)
        assert.equal(i, tonumber(text:sub(1, 5)))
        assert.equal(size, b.messages[from + i].remoteInfo.size)
      end
      assert.equal(last, tostring(b.messages[from + count + 1].message))
    end
    -- Sizes that fall, and that change all the time.
    local function sizes(list)
      local from = #b.messages
      for _, size in ipairs(list) do udp.send(a, b.port, ("y"):rep(size)) end
      udp.wait_messages(b, from + #list)
      for i, size in ipairs(list) do
        assert.equal(size, #b.messages[from + i].message)
      end
    end
    local falling, changing = {}, {}
    for i = 1, 120 do
      falling[i] = 121 - i
      changing[i] = i % 3 == 0 and 30 or 64
    end
    sizes(falling)
    sizes(changing)
    burst(64, 64, "short")
    burst(65, 64, ("l"):rep(100))
    burst(200, 64, "")
    burst(63, 1200, "x")
    burst(30, 5000, "x")
    burst(3, 65507, "x")
  end)

  it("#180 in turn to several peers reaches each", function()
    local from, peers = udp.create(), {}
    for i = 1, 5 do peers[i] = udp.bound() end
    for n = 1, 100 do
      for i = 1, 5 do udp.send(from, peers[i].port, ("%d %d"):format(i, n)) end
    end
    for i = 1, 5 do
      udp.wait_messages(peers[i], 100)
      for n = 1, 100 do
        assert.equal(("%d %d"):format(i, n),
          tostring(peers[i].messages[n].message))
      end
    end
  end)

  it("#180 sends up to 65,507 bytes", function()
    local a, b = udp.create(), udp.bound()
    local text = ("0123456789"):rep(6550) .. "1234567"
    udp.send(a, b.port, text)
    assert.is_true(tostring(udp.wait_messages(b, 1).message) == text)
    assert.equal(65507, b.messages[1].remoteInfo.size)
    udp.send(a, b.port, net.buffer(text))
    assert.is_true(tostring(udp.wait_messages(b, 2).message) == text)
  end)

  it("#180 #186 of 65,508 bytes is an error", function()
    local a, b = udp.create(), udp.bound()
    udp.send(a, b.port, ("x"):rep(65508))
    local res = udp.wait_errors(a, 1)
    assert.matches("^UDPSocket%.send:fail ", res.errMsg)
    assert.equal("number", type(res.errCode))
    -- A part of more is as good as any.
    udp.send(a, b.port, net.buffer(("x"):rep(65508)), { length = 65507 })
    assert.equal(65507, #udp.wait_messages(b, 1).message)
    assert.equal(1, #a.errors)
  end)

  it("#180 takes offset and length of a Buffer", function()
    local socket = udp.create()
    local buffer = net.buffer("0123456789")
    for _, case in ipairs {
      { 0, nil, "0123456789" }, { 3, nil, "3456789" }, { nil, 4, "0123" },
      { 3, 4, "3456" }, { 0, 10, "0123456789" }, { 10, nil, "" },
      { 10, 0, "" }, { 0, 0, "" }, { 9, 1, "9" },
    } do
      local res = udp.ask(socket, ECHO, buffer,
        { offset = case[1], length = case[2] })
      assert.equal(case[3], tostring(res.message))
    end
    local res = udp.ask(socket, ECHO, buffer:slice(3, 8), { offset = 1,
      length = 2 })
    assert.equal("34", tostring(res.message))
  end)

  it("#180 #190 offset and length out of range are errors", function()
    local socket = udp.bound()
    local cases = { { 11, nil }, { 0, 11 }, { 5, 6 }, { -1, nil }, { 0, -1 },
      { 1.5, nil }, { 0, 1.5 }, { 1e300, nil }, { 0, 0 / 0 },
      { 2 ^ 53, 2 ^ 53 } }
    for i, case in ipairs(cases) do
      udp.send(socket, ECHO, net.buffer("0123456789"), { offset = case[1],
        length = case[2] })
      udp.check_error(socket, i, 1)
    end
    helper.run_for(20)
    assert.equal(0, #socket.messages)
  end)

  it("#180 takes offset and length of a Buffer alone", function()
    local socket = udp.create()
    local res = udp.ask(socket, ECHO, "0123456789", { offset = 3, length = 4 })
    assert.equal("0123456789", tostring(res.message))
  end)

  it("#180 raises for messages of another type", function()
    local socket = udp.create()
    for _, wrong in ipairs { 5, true, {}, print } do
      assert.has_error(function() udp.send(socket, ECHO, wrong) end)
    end
    assert.has_error(function() udp.send(socket, ECHO, nil) end)
    assert.has_error(function() socket.task:send() end)
    assert.has_error(function() socket.task:send("x") end)
    assert.has_error(function()
      udp.send(socket, ECHO, "x", { setBroadcast = "yes" })
    end)
    helper.run_for(20)
    assert.same({}, socket.errors)
    udp.ask(socket, ECHO, "x")
  end)

  for _, case in ipairs {
    { "nil", false }, { "empty", "" }, { "a number", 5 }, { "a table", {} },
    { "with a space", "a b" }, { "with a NUL", "127.0.0.1\0.example" },
    { "with a port", "127.0.0.1:80" }, { "too long", ("a"):rep(300) },
    { "a url", "udp://127.0.0.1/" },
  } do
    it("#190 #186 reports an address that is " .. case[1], function()
      local socket = udp.create()
      socket.task:send { address = case[2] or nil, port = ECHO, message = "x" }
      assert.same({}, socket.errors)
      local res = udp.check_error(socket, 1, 1)
      assert.matches("^UDPSocket%.send:fail ", res.errMsg)
      udp.ask(socket, ECHO, "goes on")
    end)
  end

  for _, port in ipairs { 0, -1, 65536, 1.5, 1e300, 0 / 0, "80", {} } do
    it("#190 #186 reports the port " .. type(port) .. " "
      .. (type(port) == "table" and "{}" or tostring(port)), function()
      local socket = udp.create()
      udp.send(socket, port, "x")
      udp.check_error(socket, 1, 2)
      udp.ask(socket, ECHO, "goes on")
    end)
  end

  it("#190 reports that there is no port", function()
    local socket = udp.create()
    socket.task:send { address = "127.0.0.1", message = "x" }
    udp.check_error(socket, 1, 2)
  end)

  it("#180 keeps nothing of the table that it was given", function()
    local socket = udp.create()
    local given = { address = "127.0.0.1", port = ECHO, message = "first" }
    socket.task:send(given)
    given.address, given.port, given.message = "", 0, "second"
    collectgarbage()
    assert.equal("first", tostring(udp.wait_messages(socket, 1).message))
    assert.same({}, socket.errors)
  end)

  it("#180 of many in a frame, to an echo, come back", function()
    local socket = udp.bound()
    local count = 0
    for round = 1, 50 do
      for i = 1, 20 do
        udp.send(socket, ECHO, ("%d.%d"):format(round, i))
      end
      count = count + 20
      udp.wait_messages(socket, count)
    end
    local seen = {}
    for _, res in ipairs(socket.messages) do
      seen[tostring(res.message)] = true
    end
    for round = 1, 50 do
      for i = 1, 20 do assert(seen[("%d.%d"):format(round, i)]) end
    end
  end)

  it("tells what is queued, and refuses more than fits", function()
    -- A name that is never known keeps what is for it.
    inside("by-name", [[
      local udp = require "support.udp"
      udp.defaults()
      net.configure { limits = { sendQueueBytes = 65536 } }
      local socket = udp.create()
      same(0, socket.task.bufferedAmount)
      for i = 1, 100 do
        udp.send(socket, 5555, ("x"):rep(1000), { address = "silent.example" })
      end
      local buffered = socket.task.bufferedAmount
      assert(buffered > 50000 and buffered <= 65536, buffered)
      local res = udp.wait_errors(socket, 1)
      same("UDPSocket.send:fail send queue is full", res.errMsg)
      same(600004, res.errno)
      -- Others need not wait.
      net.configure { limits = { sendQueueBytes = 16 * 1024 * 1024 } }
      udp.ask(socket, helper.servers.fault.udp, "echo x")
      udp.close(socket)]])
  end)
end)

-- ---- connect and write ------------------------------------------------------

describe("connect and write", function()
  setup(udp.defaults)
  after_each(udp.verify)

  it("#181 send to the peer of connect", function()
    local socket = udp.create()
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    socket.task:write { message = "to the peer" }
    assert.equal("to the peer", tostring(udp.wait_messages(socket, 1).message))
    socket.task:write { message = net.buffer("0123456789"), offset = 2,
      length = 3 }
    assert.equal("234", tostring(udp.wait_messages(socket, 2).message))
  end)

  it("#181 may name the peer all the same", function()
    local socket = udp.create()
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    socket.task:write { address = "127.0.0.1", port = ECHO, message = "x" }
    assert.equal("x", tostring(udp.wait_messages(socket, 1).message))
  end)

  it("#181 may name another peer", function()
    local socket, other = udp.create(), udp.bound()
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    socket.task:write { address = "127.0.0.1", port = other.port,
      message = "not to the echo" }
    assert.equal("not to the echo",
      tostring(udp.wait_messages(other, 1).message))
    udp.send(socket, other.port, "nor this")
    assert.equal("nor this", tostring(udp.wait_messages(other, 2).message))
  end)

  it("#181 may change the peer", function()
    local socket, a, b = udp.create(), udp.bound(), udp.bound()
    socket.task:connect { address = "127.0.0.1", port = a.port }
    socket.task:write { message = "a" }
    socket.task:connect { address = "127.0.0.1", port = b.port }
    socket.task:write { message = "b" }
    assert.equal("a", tostring(udp.wait_messages(a, 1).message))
    assert.equal("b", tostring(udp.wait_messages(b, 1).message))
  end)

  it("#182 without connect, write is send", function()
    local socket = udp.create()
    socket.task:write { address = "127.0.0.1", port = ECHO, message = "sent" }
    assert.equal("sent", tostring(udp.wait_messages(socket, 1).message))
    assert.equal(1, #socket.listens)
  end)

  it("#182 #190 without either there is no address, or no port", function()
    local socket = udp.create()
    socket.task:write { port = ECHO, message = "x" }
    udp.check_error(socket, 1, 1, "UDPSocket.write:fail ")
    socket.task:write { address = "127.0.0.1", message = "x" }
    udp.check_error(socket, 2, 2, "UDPSocket.write:fail ")
  end)

  it("#181 #190 bad peers are errors", function()
    local socket = udp.create()
    socket.task:connect { port = ECHO }
    udp.check_error(socket, 1, 1, "UDPSocket.connect:fail ")
    socket.task:connect { address = "127.0.0.1" }
    udp.check_error(socket, 2, 2, "UDPSocket.connect:fail ")
    socket.task:connect { address = "a b", port = ECHO }
    udp.check_error(socket, 3, 1)
    socket.task:connect { address = "127.0.0.1", port = 70000 }
    udp.check_error(socket, 4, 2)
    assert.has_error(function() socket.task:connect("127.0.0.1") end)
    assert.has_error(function() socket.task:connect() end)
  end)
end)

-- ---- Servers of others ------------------------------------------------------

describe("dnsmasq", function()
  setup(udp.defaults)
  after_each(udp.verify)

  local function query(id, name, kind)
    local labels = name:gsub("([^.]+)%.?", function(label)
      return string.char(#label) .. label
    end)
    return string.char(math.floor(id / 256), id % 256) .. "\1\0\0\1\0\0\0\0\0\0"
      .. labels .. "\0" .. string.char(0, kind, 0, 1)
  end

  it("#180 #188 answers a DNS query made by hand", function()
    local socket = udp.create()
    local res = udp.ask(socket, servers.dnsmasq,
      net.buffer(query(0x1234, "game.example", 1)))
    local text = tostring(res.message)
    assert.equal("\18\52", text:sub(1, 2))
    assert.equal(0, text:byte(4) % 16) -- no error
    assert.equal(1, text:byte(8))      -- one answer
    assert.equal(string.char(192, 0, 2, 7), text:sub(-4))
    assert.same({ "127.0.0.1", servers.dnsmasq },
      { res.remoteInfo.address, res.remoteInfo.port })
    res = udp.ask(socket, servers.dnsmasq, query(7, "game.example", 16))
    assert.equal("\5hello", tostring(res.message):sub(-6))
  end)

  it("#181 answers one on a connected socket", function()
    local socket = udp.create()
    socket.task:connect { address = "127.0.0.1", port = servers.dnsmasq }
    for id = 1, 50 do
      socket.task:write { message = query(id, "game.example", 1) }
    end
    udp.wait_messages(socket, 50)
    local seen = {}
    for _, res in ipairs(socket.messages) do
      local text = tostring(res.message)
      seen[text:byte(1) * 256 + text:byte(2)] = text:sub(-4)
    end
    for id = 1, 50 do
      assert.equal(string.char(192, 0, 2, 7), seen[id])
    end
  end)
end)
