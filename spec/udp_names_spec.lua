-- UDP to names: one lookup for many datagrams, order, lookups that fail, that
-- are slow and that hang. Each in a network namespace with its own DNS server.

local inside = require "support.inside"

local BEGIN = [[
local udp = require "support.udp"
udp.defaults()
local PORT = helper.servers.fault.udp

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
]]

describe("a name", function()
  it("#180 leads to its address", function()
    inside("by-name", BEGIN .. [[
      local socket = udp.create()
      local res = udp.ask(socket, PORT, "echo by name",
        { address = "some.example" })
      same("echo by name", tostring(res.message))
      same("127.0.0.1", res.remoteInfo.address)
      same(1, asked("some.example"))
      same(0, asked("some.example", "AAAA"))
      res = udp.ask(socket, PORT, "echo x", { address = "localhost" })
      same("127.0.0.1", res.remoteInfo.address)]])
  end)

  it("#180 that a thousand datagrams go to is looked up once", function()
    inside("by-name", BEGIN .. [[
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
  end)

  it("#180 that is slow keeps what is for it, in order", function()
    inside("by-name", BEGIN .. [[
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
  end)

  it("#180 that is slow holds up no other peer of the socket", function()
    inside("by-name", BEGIN .. [[
      local socket = udp.create()
      send(socket, "silent.example", "never")
      local begun = helper.now()
      for i = 1, 20 do
        udp.ask(socket, PORT, "echo " .. i)
        udp.ask(socket, PORT, "echo " .. i, { address = "some.example" })
      end
      assert(helper.now() - begun < 2000 * helper.slow)
      udp.close(socket)]])
  end)

  it("#181 of connect is looked up once", function()
    inside("by-name", BEGIN .. [[
      local socket = udp.create()
      socket.task:connect { address = "slow.example", port = PORT }
      for i = 1, 100 do socket.task:write { message = "both w " .. i } end
      udp.wait_messages(socket, 100)
      same(1, asked("slow.example"))
      local seen = udp.seen("w", 100)
      for i = 1, 100 do same("both w " .. i, seen[i].text) end]])
  end)

  it("#176 of a udp6 socket is asked for its IPv6 address", function()
    inside("by-name", BEGIN .. [[
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
  end)

  it("#186 that nobody knows is an error, and the socket lives on", function()
    inside("by-name", BEGIN .. [[
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
  end)

  it("#186 that is unknown is not asked for a thousand times", function()
    inside("by-name", BEGIN .. [[
      local socket = udp.create()
      for _ = 1, 1000 do send(socket, "none.example", "x") end
      udp.wait_errors(socket, 1)
      helper.run_for(200)
      assert(asked("none.example") <= 3, asked("none.example"))
      same(0, socket.task.bufferedAmount)]])
  end)

  it("#184 that is not known yet may lose its socket", function()
    inside("by-name", BEGIN .. [[
      for i = 1, 20 do
        local socket = udp.create()
        send(socket, "slow.example", "x")
        if i % 2 == 0 then net.update() net.wait(5) end
        udp.close(socket)
      end
      helper.run_for(500)
      same(true, net.run(1000))]])
  end)
end)

describe("lookups that hang", function()
  it("stop no other socket, and no other task", function()
    inside("by-name", BEGIN .. [[
      local stuck = {}
      for i = 1, 3 do
        stuck[i] = udp.create()
        send(stuck[i], "silent" .. i .. ".example", "x")
      end
      net.wait(20)
      local begun = helper.now()
      local socket = udp.create()
      udp.ask(socket, PORT, "echo x", { address = "some.example" })
      helper.ask(fault.http .. "/")
      local tcp = require "support.tcp"
      local other = tcp.connect { address = "127.0.0.1",
        port = helper.servers.fault.tcp }
      tcp.close(other)
      assert(helper.now() - begun < 2000 * helper.slow)
      begun = helper.now()
      for i = 1, 3 do udp.close(stuck[i]) end
      assert(helper.now() - begun < 500 * helper.slow)]])
  end)

  it("are bounded, and do not hold literals up", function()
    inside("silent", BEGIN .. [[
      local function threads()
        return require("support.residue").threads()
      end
      local socket = udp.create()
      udp.ask(socket, PORT, "echo x")
      local before = threads()
      for i = 1, 50 do send(socket, "name" .. i .. ".example", "x") end
      helper.run_for(100)
      assert(threads() - before <= 8, threads() - before)
      for i = 1, 10 do udp.ask(socket, PORT, "echo " .. i) end
      udp.close(socket)]])
  end)

  it("do not hold up an update, the end of a socket, or net.close", function()
    inside("silent", BEGIN .. [[
      local socket = udp.create()
      local begun = helper.now()
      for i = 1, 100 do
        send(socket, "name" .. i .. ".example", "x")
        net.update()
      end
      udp.close(socket)
      local last = udp.create()
      send(last, "name.example", "x")
      helper.run_for(20)
      net.close(2000)
      assert(helper.now() - begun < 1500 * helper.slow)
      same("done", last.task.state)
      udp.drop()
      socket = udp.create()
      udp.ask(socket, PORT, "echo again")]])
  end)

  it("do not hold up the end of the process", function()
    inside("silent", BEGIN .. [[
      local socket = udp.create()
      for i = 1, 10 do send(socket, "name" .. i .. ".example", "x") end
      helper.run_for(20)
      os.exit(0, true)]], 4000)
    inside("silent", BEGIN .. [[
      local socket = udp.create()
      for i = 1, 10 do send(socket, "name" .. i .. ".example", "x") end
      helper.run_for(20)]], 4000)
  end)

  it("#186 end in an error at last", function()
    -- The resolver's own patience, made short.
    inside("silent", [[
      os.execute("sed 's/timeout:5 attempts:2/timeout:1 attempts:1/'"
        .. " /etc/resolv.conf >/etc/resolv.new"
        .. " && cat /etc/resolv.new >/etc/resolv.conf"
        .. "; rm -f /etc/resolv.new")]] .. BEGIN .. [[
      local socket = udp.create()
      for _ = 1, 10 do send(socket, "name.example", "x") end
      local res = udp.wait_errors(socket, 1, 8000)
      assert(res.errMsg:find("-105:net::ERR_NAME_NOT_RESOLVED", 1, true),
        res.errMsg)
      same(0, socket.task.bufferedAmount)]])
  end)
end)
