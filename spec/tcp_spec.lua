-- createTCPSocket and connect: families, the creation window, names, what the
-- script does wrong, and the ports that the platforms forbid.

local helper = require "helper"
local inside = require "support.inside"
local residue = require "support.residue"
local tcp = require "support.tcp"

local net, servers = helper.net, helper.servers
local fault, ECHO = servers.fault, servers.demo_tcp

local function echo(socket, text)
  local at = socket.count
  socket.task:write(text)
  local got = tcp.wait_bytes(socket, at + #text, 10000)
  assert.equal(tostring(text), got:sub(at + 1))
end

describe("createTCPSocket", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#160 makes a TCPSocket", function()
    local task = net.createTCPSocket()
    assert.equal("userdata", type(task))
    assert.matches("^nettask%.TCPSocket #%d+ %(%a+%)$", tostring(task))
    assert.equal("idle", task.state)
    assert.equal("number", type(task.id))
    task:close()
    helper.run_until(function() return task.state == "done" end)
  end)

  it("#160 needs no options, and knows two types", function()
    for _, options in ipairs { {}, { type = "ipv4" }, { type = "ipv6" } } do
      tcp.close(tcp.create(options))
    end
    for _, wrong in ipairs { "ipv5", "udp4", "", 4, true } do
      assert.has_error(function()
        net.createTCPSocket { type = wrong }
      end)
    end
    assert.has_error(function() net.createTCPSocket("ipv4") end)
    assert.has_error(function() net.createTCPSocket(4) end)
  end)

  it("#160 sockets differ, and take no fields of a script", function()
    local a, b = tcp.create().task, tcp.create().task
    assert.are_not.equal(a, b)
    assert.are_not.equal(a.id, b.id)
    assert.has_error(function() a.write = print end)
    assert.is_nil(a.nosuchthing)
  end)

  it("#161 #165 connects by IPv4 by default", function()
    for _, create in ipairs { false, { type = "ipv4" } } do
      local socket = tcp.connect({ port = ECHO }, create or nil)
      echo(socket, "over IPv4")
      local res = socket.messages[1]
      assert.equal("IPv4", res.remoteInfo.family)
      assert.equal("127.0.0.1", res.remoteInfo.address)
      assert.equal("IPv4", res.localInfo.family)
      tcp.close(socket)
    end
  end)

  it("#161 takes the IPv4 address of a name that has both", function()
    inside("by-name", [[
      local tcp = require "support.tcp"
      tcp.defaults()
      local socket = tcp.connect { address = "both.example",
        port = helper.servers.fault.tcp }
      socket.task:write("echo\nx")
      same("x", tcp.wait_bytes(socket, 1))
      same("127.0.0.1", socket.messages[1].remoteInfo.address)
      local file = io.open(helper.servers.dns_log)
      local asked = file:read("*a")
      file:close()
      same(nil, asked:find("AAAA", 1, true))
      socket = tcp.connect({ address = "both.example",
        port = helper.servers.fault.tcp6 }, { type = "ipv6" })
      socket.task:write("echo\nx")
      same("x", tcp.wait_bytes(socket, 1))
      same("::1", socket.messages[1].remoteInfo.address)]])
  end)

  it("#161 connects by IPv6 when it is asked to", function()
    assert.is_number(fault.tcp6)
    local socket = tcp.connect({ address = "::1", port = fault.tcp6 },
      { type = "ipv6" })
    socket.task:write("echo\n")
    echo(socket, "over IPv6")
    local res = socket.messages[1]
    assert.same({ address = "::1", family = "IPv6", port = fault.tcp6,
      size = 9 }, res.remoteInfo)
    assert.equal("IPv6", res.localInfo.family)
    assert.equal("::1", res.localInfo.address)
    tcp.close(socket)
  end)

  it("#161 does not connect to an address of the other family", function()
    tcp.check_unconnected(tcp.whole({ address = "::1", port = fault.tcp6 }),
      'invalid address "::1"', 600005, 1)
    tcp.check_unconnected(tcp.whole({ port = ECHO }, { type = "ipv6" }),
      'invalid address "127.0.0.1"', 600005, 1)
  end)
end)

describe("the creation window", function()
  setup(tcp.defaults)
  after_each(function()
    net.configure { limits = { tcpPerWindow = 0 } }
    net.close()
    tcp.verify()
  end)

  local function fill(count)
    net.close() -- a window of its own
    for _ = 1, count do
      local task, err = net.createTCPSocket()
      assert.is_truthy(task, err and err.errMsg)
      task:close()
    end
  end

  local function check_full()
    local task, err = net.createTCPSocket()
    assert.is_nil(task)
    assert.equal("createTCPSocket:fail exceed max count", err.errMsg)
    assert.equal(600007, err.errno)
    assert.equal(-1, err.errCode)
    assert.equal("limits.tcpPerWindow; lifted by"
      .. " configure{limits={tcpPerWindow=0}}", err.reason)
  end

  it("#163 is of 20 sockets in the preset miniprogram", function()
    net.configure { policy = "miniprogram" }
    fill(20)
    check_full()
  end)

  it("#163 counts the creations, not the living", function()
    net.configure { limits = { tcpPerWindow = 3 } }
    fill(3)
    check_full()
    -- Nor does time that a test can wait help.
    assert.is_true(net.run(5000 * helper.slow))
    helper.run_for(50)
    check_full()
    check_full()
  end)

  it("#163 may be widened, and lifted", function()
    net.configure { limits = { tcpPerWindow = 2 } }
    fill(2)
    check_full()
    net.configure { limits = { tcpPerWindow = 4 } }
    for _ = 1, 2 do assert(net.createTCPSocket()):close() end
    check_full()
    net.configure { limits = { tcpPerWindow = 0 } }
    for _ = 1, 50 do assert(net.createTCPSocket()):close() end
  end)

  it("#163 is lifted by the preset open", function()
    net.configure { policy = "open" }
    fill(60)
  end)

  it("#163 does not count what could not be made", function()
    net.configure { limits = { tcpPerWindow = 2 } }
    fill(0)
    for _ = 1, 5 do
      pcall(net.createTCPSocket, { type = "nonsense" })
    end
    for _ = 1, 2 do assert(net.createTCPSocket()):close() end
    check_full()
  end)
end)

describe("connect", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#165 #169 calls onConnect, in a later update", function()
    local socket = tcp.create()
    local seen
    socket.task:onConnect(function(res) seen = res end)
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    assert.same({}, socket.order)
    tcp.wait_open(socket)
    assert.equal("table", type(seen))
    assert.equal(1, #socket.connects)
    tcp.close(socket)
    tcp.check_order(socket, "connect", "close")
  end)

  it("#165 takes a name", function()
    local socket = tcp.connect { address = "localhost", port = ECHO }
    echo(socket, "by name")
    assert.equal("127.0.0.1", socket.messages[1].remoteInfo.address)
  end)

  it("#165 tries all addresses of a name", function()
    inside("by-name", [[
      local tcp = require "support.tcp"
      tcp.defaults()
      -- 127.0.0.2 refuses; whichever comes first.
      for i = 1, 4 do
        local socket = tcp.connect { address = "two" .. i .. ".example",
          port = helper.servers.fault.tcp }
        socket.task:write("echo\nx")
        same("x", tcp.wait_bytes(socket, 1))
        same("127.0.0.1", socket.messages[1].remoteInfo.address)
      end]])
  end)

  it("#165 takes a port as a number of any kind", function()
    local socket = tcp.connect { port = ECHO + 0.0 }
    echo(socket, "float")
  end)

  it("#165 keeps nothing of the table that it was given", function()
    local options = { address = "127.0.0.1", port = ECHO }
    local socket = tcp.create()
    socket.task:connect(options)
    options.address, options.port = "name.invalid", 1
    collectgarbage()
    tcp.wait_open(socket)
  end)

  for _, case in ipairs {
    { "nil", nil }, { "empty", "" }, { "a number", 5 }, { "a table", {} },
    { "with a space", "a b" }, { "with a NUL", "127.0.0.1\0.example" },
    { "with a line break", "a\r\nb" }, { "a url", "http://127.0.0.1/" },
    { "with a port", "127.0.0.1:80" }, { "half a literal", "[::1" },
    { "too long", ("a"):rep(300) }, { "percent-encoded", "local%68ost" },
    { "too short", "127.1" }, { "too large", "256.1.1.1" },
    { "one number", "2130706433" }, { "hexadecimal", "0x7f.0.0.1" },
  } do
    it("#190 #171 reports an address that is " .. case[1], function()
      local socket = tcp.create()
      socket.task:connect { address = case[2], port = ECHO }
      assert.same({}, socket.order)
      tcp.finish(socket)
      tcp.check_order(socket, "error", "close")
      assert.equal(1, socket.errors[1].errCode)
      assert.equal("number", type(socket.errors[1].errno))
      assert.matches("^TCPSocket%.connect:fail ", socket.errors[1].errMsg)
    end)
  end

  for _, port in ipairs { 0, -1, 65536, 1.5, 1e300, 0 / 0, "80", false } do
    it("#190 #171 reports the port " .. tostring(port), function()
      local socket = tcp.whole { port = port }
      tcp.check_order(socket, "error", "close")
      assert.equal(2, socket.errors[1].errCode)
      assert.matches("^TCPSocket%.connect:fail ", socket.errors[1].errMsg)
    end)
  end

  it("#190 #171 reports that there is no port", function()
    local socket = tcp.whole {}
    tcp.check_order(socket, "error", "close")
    assert.equal(2, socket.errors[1].errCode)
  end)

  it("raises for arguments of another type", function()
    local socket = tcp.create()
    for _, wrong in ipairs { "127.0.0.1", 5, true, print } do
      assert.has_error(function() socket.task:connect(wrong) end)
    end
    assert.has_error(function() socket.task:connect() end)
    assert.has_error(function()
      socket.task:connect { address = "127.0.0.1", port = ECHO,
        timeout = "soon" }
    end)
    assert.has_error(function()
      socket.task:connect { address = "127.0.0.1", port = ECHO, tls = "yes" }
    end)
    assert.has_error(function() socket.task.connect({}, {}) end)
    helper.run_for(30)
    assert.same({}, socket.order)
    -- It can still be used.
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    tcp.wait_open(socket)
  end)

  it("#171 a second time is an error, and changes nothing", function()
    local socket = tcp.start { port = ECHO }
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    tcp.wait_open(socket)
    helper.run_until(function() return #socket.errors == 1 end)
    assert.equal(-2, socket.errors[1].errCode)
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    helper.run_until(function() return #socket.errors == 2 end)
    assert.equal(-2, socket.errors[2].errCode)
    echo(socket, "still here")
    tcp.close(socket)
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    local late
    socket.task:onError(function(res) late = res end)
    socket.done = false -- errors may follow the close
    helper.run_until(function() return late end)
    assert.equal(-2, late.errCode)
    socket.done = true
    assert.equal(1, #socket.closes)
  end)

  it("accepts the options of HttpDNS, and goes without", function()
    local _, restore = residue.log()
    local socket = tcp.connect { port = ECHO, enableHttpDNS = true,
      httpDNSServiceId = "none" }
    restore()
    echo(socket, "x")
  end)

  it("has noDelay", function()
    local socket = tcp.connect { port = ECHO, noDelay = true }
    echo(socket, "x")
    socket.task:setNoDelay(false)
    socket.task:setNoDelay(true)
    socket.task:setKeepAlive(1000)
    socket.task:setKeepAlive(0)
    echo(socket, "y")
    tcp.close(socket)
  end)
end)

-- ---- Ports that the platforms forbid ----------------------------------------

describe("forbidden ports", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  local SINGLE = "1099,1433,1521,1719,1720,1723,2049,2375,3128,3306,3389,3659,"
    .. "4045,5060,5061,5432,5984,6000,6379,6566,7001,7002,8443,8888,9200,9300,"
    .. "10051,10080,11211"
  -- Somebody listens on each of them.
  local LISTENED = "1-79,81-1023,8000-8100,27017-27019," .. SINGLE
  local ALLOWED = "1024,7999,8101,27016,27020"

  it("#162 are refused, and nothing is sent", function()
    inside("closed", ([[
      local tcp = require "support.tcp"
      tcp.defaults()
      net.configure { policy = "miniprogram", limits = { tcpPerWindow = 0 } }
      local function connections()
        return tonumber(helper.ask(fault.http .. "/connections"))
      end
      residue.log() -- each is a warning
      helper.ask(fault.http .. "/")
      local before = connections()
      local ports = {}
      for port = 1, 1023 do ports[#ports + 1] = port end
      for port = 8000, 8100 do ports[#ports + 1] = port end
      for port = 27017, 27019 do ports[#ports + 1] = port end
      for port in ("%s"):gmatch("%%d+") do ports[#ports + 1] = port + 0 end
      same(1023 + 101 + 3 + 29, #ports)
      for _, port in ipairs(ports) do
        local socket = tcp.whole { port = port }
        tcp.check_order(socket, "error", "close")
        if socket.errors[1].errCode ~= 2 then
          error(port .. ": " .. socket.errors[1].errMsg)
        end
      end
      same(before, connections())
      -- They could have connected.
      net.configure { limits = { tcpForbiddenPorts = false } }
      for _, port in ipairs { 1, 22, 80, 443, 1023, 6379, 8000, 8100, 27019 } do
        tcp.close(tcp.connect { port = port })
      end
      assert(connections() >= before + 9)]]):format(SINGLE), 20000,
      { also = LISTENED })
  end)

  it("#162 are these and no others", function()
    inside("closed", ([[
      local tcp = require "support.tcp"
      tcp.defaults()
      net.configure { policy = "miniprogram", limits = { tcpPerWindow = 0 } }
      for port in ("%s"):gmatch("%%d+") do
        tcp.close(tcp.connect { port = port + 0 })
      end]]):format(ALLOWED), nil, { also = ALLOWED })
  end)

  it("#162 tell their rule", function()
    net.configure { policy = "miniprogram", limits = { tcpPerWindow = 0 } }
    local lines, restore = residue.log()
    local socket = tcp.whole { port = 6379 }
    restore()
    local res = socket.errors[1]
    assert.equal(2, res.errCode)
    assert.matches("^TCPSocket%.connect:fail ", res.errMsg)
    assert.equal("limits.tcpForbiddenPorts; lifted by"
      .. " configure{limits={tcpForbiddenPorts=false}}", res.reason)
    assert.matches("warn: .*tcpForbiddenPorts", table.concat(lines, "\n"))
  end)

  it("#162 may be others", function()
    local _, restore = residue.log()
    net.configure { limits = {
      tcpForbiddenPorts = { ECHO, { fault.tcp, fault.tcp + 2 } } } }
    for _, port in ipairs { ECHO, fault.tcp, fault.tcp + 1, fault.tcp + 2 } do
      local socket = tcp.whole { port = port }
      tcp.check_order(socket, "error", "close")
      assert.equal(2, socket.errors[1].errCode, port)
    end
    restore()
    net.configure { limits = { tcpForbiddenPorts = {} } }
    echo(tcp.connect { port = ECHO }, "x")
  end)

  it("#162 are none in the preset open", function()
    inside("closed", [[
      local tcp = require "support.tcp"
      tcp.defaults()
      net.configure { policy = "open" }
      tcp.close(tcp.connect { port = 80 })]])
  end)

  it("#162 lists that are none are refused", function()
    for _, wrong in ipairs { true, 80, "80", { 0 }, { 65536 }, { "80" },
      { { 5, 4 } }, { { 1 } }, { 1.5 }, { { 1, 2, 3 } } } do
      assert.has_error(function()
        net.configure { limits = { tcpForbiddenPorts = wrong } }
      end, nil, "accepted")
    end
  end)
end)
