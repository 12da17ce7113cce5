-- UDP to names: one lookup for many datagrams, order, lookups that fail, that
-- are slow and that hang. In a network namespace with a DNS server of its own.

local batch = require "support.batch"
local inside = require "support.inside"

local BEGIN = [[
local tcp = require "support.tcp"
local udp = require "support.udp"
udp.defaults()
local cleanup = udp.verify
local PORT = helper.servers.fault.udp
local residue = require "support.residue"

-- How often that name was asked for an address of that kind.
local function asked(name, kind)
  local count = 0
  for line in io.lines(helper.servers.dns_log) do
    if line == (kind or "A") .. " " .. name then count = count + 1 end
  end
  return count
end

local function send(socket, name, text)
  udp.send(socket, PORT, text, { address = name })
end

-- The resolver loses its patience after one second, not ten.
local file = assert(io.open("/etc/resolv.conf", "w"))
file:write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
file:close()
]]

local add, test = batch("by-name", { begin = BEGIN })

-- First, while no lookup is under way.
add("a lookup that hangs stops no other socket, and no other task", [[
  local stuck = {}
  for i = 1, 3 do
    stuck[i] = udp.create()
    send(stuck[i], "silentstop" .. i .. ".example", "x")
  end
  helper.run_for(20)
  local begun = helper.now()
  local socket = udp.create()
  udp.ask(socket, PORT, "echo x", { address = "stop.example" })
  helper.ask(fault.http .. "/")
  tcp.close(tcp.connect { port = fault.tcp })
  assert(helper.now() - begun < 700 * helper.slow, helper.now() - begun)
  begun = helper.now()
  for i = 1, 3 do
    same(0, #stuck[i].errors)
    stuck[i].task:close()
  end
  -- It waits for the names a little.
  for i = 1, 3 do udp.finish(stuck[i]) end
  assert(helper.now() - begun < 2000 * helper.slow, helper.now() - begun)]])

add("#180 a name leads to its address", [[
  local socket = udp.create()
  local res = udp.ask(socket, PORT, "echo by name",
    { address = "some.example" })
  same("echo by name", tostring(res.message))
  same("127.0.0.1", res.remoteInfo.address)
  same(1, asked("some.example"))
  same(0, asked("some.example", "AAAA"))
  res = udp.ask(socket, PORT, "echo x", { address = "localhost" })
  same("127.0.0.1", res.remoteInfo.address)]])

add("#180 a name that a thousand datagrams go to is looked up once", [[
  local socket = udp.bound()
  for i = 1, 1000 do
    send(socket, "some.example", "note many " .. i)
    if i % 50 == 0 then net.wait(1) net.update() end
  end
  local seen = udp.seen("many", 1000)
  same(1000, #seen)
  for i = 1, 1000 do same("note many " .. i, seen[i].text) end
  same(1, asked("some.example"))
  -- Nor for another socket, or another way to write it.
  local other = udp.create()
  udp.ask(other, PORT, "echo x", { address = "some.example" })
  udp.ask(other, PORT, "echo x", { address = "SOME.example" })
  same(1, asked("some.example"))]])

add("#180 a name that is slow keeps what is for it, in order", [[
  local socket = udp.bound()
  for i = 1, 100 do send(socket, "slow.example", "note slow " .. i) end
  assert(socket.task.bufferedAmount > 0)
  local seen = udp.seen("slow", 100)
  for i = 1, 100 do
    same("note slow " .. i, seen[i].text)
    same(socket.port, seen[i].port)
  end
  same(1, asked("slow.example"))
  same(0, socket.task.bufferedAmount)]])

add("#180 a name that is slow holds up no other peer of the socket", [[
  local socket = udp.create()
  send(socket, "silent.example", "never")
  local begun = helper.now()
  for i = 1, 20 do
    udp.ask(socket, PORT, "echo " .. i)
    udp.ask(socket, PORT, "echo " .. i, { address = "some.example" })
  end
  assert(helper.now() - begun < 2000 * helper.slow)
  udp.close(socket)]])

add("#181 a name of connect is looked up once", [[
  local socket = udp.create()
  socket.task:connect { address = "slow.example", port = PORT }
  for i = 1, 100 do socket.task:write { message = "both w " .. i } end
  udp.wait_messages(socket, 100)
  same(1, asked("slow.example"))
  local seen = udp.seen("w", 100)
  for i = 1, 100 do same("both w " .. i, seen[i].text) end]])

add("#176 a name of a udp6 socket is asked for its IPv6 address", [[
  local socket = udp.create("udp6")
  local res = udp.ask(socket, helper.servers.fault.udp6, "echo six",
    { address = "both.example" })
  same("::1", res.remoteInfo.address)
  same(1, asked("both.example", "AAAA"))
  same(0, asked("both.example"))
  -- One that has none cannot be reached.
  udp.send(socket, PORT, "x", { address = "some.example" })
  local err = udp.wait_errors(socket, 1)
  assert(err.errMsg:find("ERR_NAME_NOT_RESOLVED", 1, true), err.errMsg)]])

add("#186 a name that nobody knows is an error, and the socket lives on", [[
  local socket = udp.create()
  send(socket, "none.example", "x")
  local res = udp.wait_errors(socket, 1)
  assert(res.errMsg:find("^UDPSocket"), res.errMsg)
  assert(res.errMsg:find("-105:net::ERR_NAME_NOT_RESOLVED", 1, true),
    res.errMsg)
  same(600001, res.errno)
  udp.ask(socket, PORT, "echo x")
  udp.ask(socket, PORT, "echo x", { address = "some.example" })
  same(0, socket.task.bufferedAmount)
  same(0, #socket.closes)]])

add("#186 a name that is unknown is not asked for a thousand times", [[
  local socket = udp.create()
  for _ = 1, 1000 do send(socket, "none.example", "x") end
  udp.wait_errors(socket, 1)
  helper.run_for(200)
  assert(asked("none.example") <= 3, asked("none.example"))
  same(0, socket.task.bufferedAmount)]])

add("#184 a name that is not known yet may lose its socket", [[
  for i = 1, 20 do
    local socket = udp.create()
    send(socket, "slow.example", "x")
    if i % 2 == 0 then net.update() net.wait(5) end
    udp.close(socket)
  end
  helper.run_for(500)
  same(true, net.run(1000))]])

add("#183 a name that is slow is waited for by close", [[
  local socket = udp.create()
  for i = 1, 10 do send(socket, "slowclose.example", "note close " .. i) end
  udp.close(socket)
  local seen = udp.seen("close", 10)
  for i = 1, 10 do same("note close " .. i, seen[i].text) end]])

-- ---- Lookups that hang ------------------------------------------------------

add("lookups that hang are few, and do not hold literals up", [[
  local socket = udp.create()
  udp.ask(socket, PORT, "echo x")
  local before = residue.threads()
  for i = 1, 50 do send(socket, "silentfew" .. i .. ".example", "x") end
  helper.run_for(100)
  local more = residue.threads() - before
  assert(more >= 1 and more <= 4, more)
  for i = 1, 10 do udp.ask(socket, PORT, "echo " .. i) end
  udp.close(socket)]])

add("#186 a lookup that hangs ends in an error at last", [[
  local socket = udp.create()
  for _ = 1, 10 do send(socket, "silentlast.example", "x") end
  local res = udp.wait_errors(socket, 1, 8000)
  assert(res.errMsg:find("-105:net::ERR_NAME_NOT_RESOLVED", 1, true),
    res.errMsg)
  same(0, socket.task.bufferedAmount)]])

add("lookups that hang do not hold up an update, nor net.close", [[
  local socket = udp.create()
  local begun = helper.now()
  for i = 1, 100 do
    send(socket, "silentclose" .. i .. ".example", "x")
    net.update()
  end
  assert(helper.now() - begun < 500 * helper.slow, helper.now() - begun)
  udp.close(socket)
  begun = helper.now()
  local last = udp.create()
  send(last, "silentclose.example", "x")
  helper.run_for(20)
  net.close(2000)
  assert(helper.now() - begun < 500 * helper.slow, helper.now() - begun)
  same("done", last.task.state)
  udp.drop()
  socket = udp.create()
  udp.ask(socket, PORT, "echo again")]])

describe("UDP:", function()
  test(it)
end)

describe("UDP: the end of the process", function()
  local STUCK = BEGIN:gsub("timeout:1 attempts:1", "timeout:5 attempts:2")
    .. [[
    local socket = udp.create()
    for i = 1, 10 do send(socket, "name" .. i .. ".example", "x") end
    helper.run_for(20)
  ]]

  it("is not held up by lookups that hang", function()
    inside("silent", STUCK, 5000)
  end)

  it("by os.exit is not, either", function()
    inside("silent", STUCK .. "os.exit(0, true)", 5000)
  end)
end)
