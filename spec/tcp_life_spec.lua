-- How a TCPSocket ends, how long it lives, and what it tells of itself.

local helper = require "helper"
local inside = require "support.inside"
local tcp = require "support.tcp"

local net, servers = helper.net, helper.servers
local fault, ECHO = servers.fault, servers.demo_tcp

local function echo(socket, text)
  local at = socket.count
  socket.task:write(text)
  local got = tcp.wait_bytes(socket, at + #text, 10000)
  assert.equal(tostring(text), got:sub(at + 1))
end

describe("close", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#168 #170 ends the connection, and onClose comes once", function()
    local key = tcp.key()
    local socket = tcp.scripted("sink key=" .. key)
    local res = tcp.close(socket)
    assert.is_true(res.flushed)
    assert.equal("fin", tcp.seen(key)["end"])
    assert.equal("done", socket.task.state)
    tcp.check_order(socket, "connect", "close")
    helper.run_for(30)
    assert.equal(1, #socket.closes)
  end)

  it("#168 sends what was written first", function()
    local key = tcp.key()
    local socket = tcp.scripted("sink key=" .. key)
    local size = 10 * 1024 * 1024
    for at = 0, size - 1, 1024 * 1024 do
      socket.task:write(tcp.pattern(1024 * 1024, at))
    end
    assert.is_true(tcp.close(socket, 15000).flushed)
    local seen = tcp.seen(key)
    assert.equal(size, seen.bytes)
    assert.is_true(seen.pattern)
    assert.equal("fin", seen["end"])
  end)

  it("#168 sends what was written to a slow reader", function()
    local key = tcp.key()
    local socket = tcp.scripted("slow-sink size=65536 every=2 key=" .. key)
    local size = 6 * 1024 * 1024
    socket.task:write(tcp.pattern(size))
    assert.is_true(tcp.close(socket, 15000).flushed)
    assert.equal(size, tcp.seen(key).bytes)
    assert.is_true(tcp.seen(key).pattern)
  end)

  it("#168 right after connect and write sends it all", function()
    local key = tcp.key()
    local socket = tcp.start { port = fault.tcp }
    socket.task:write("sink key=" .. key .. "\n" .. tcp.pattern(100000))
    socket.task:close()
    assert.is_true(tcp.finish(socket).closes[1].flushed)
    assert.equal(100000, tcp.seen(key).bytes)
    assert.is_true(tcp.seen(key).pattern)
    assert.equal(0, #socket.errors)
  end)

  it("#168 while it connects ends it", function()
    local port = tonumber(fault.blackhole:match("(%d+)$"))
    local socket = tcp.start { port = port, timeout = 60 }
    helper.run_for(30)
    local begun = helper.now()
    tcp.close(socket)
    assert.is_true(helper.now() - begun < 1000 * helper.slow)
    tcp.check_order(socket, "close")
  end)

  it("#168 before connect ends it", function()
    local socket = tcp.create()
    assert.same({}, socket.order)
    tcp.close(socket)
    tcp.check_order(socket, "close")
    socket = tcp.create()
    socket.task:close()
    socket.task:close()
    tcp.finish(socket)
    tcp.check_order(socket, "close")
  end)

  it("#168 #170 again does nothing", function()
    local socket = tcp.connect { port = ECHO }
    socket.task:close()
    socket.task:close()
    tcp.finish(socket)
    socket.task:close()
    helper.run_for(30)
    tcp.check_order(socket, "connect", "close")
  end)

  it("#168 means that nothing more is heard", function()
    local socket = tcp.scripted("push n=10000 size=4096")
    helper.run_until(function() return socket.count > 0 end)
    socket.task:close()
    local count = socket.count
    tcp.finish(socket)
    assert.equal(count, socket.count)
  end)

  it("#168 is possible in every callback", function()
    for _, event in ipairs { "Connect", "Message", "Error", "Close" } do
      local socket = tcp.create()
      local task = socket.task
      task["on" .. event](task, function() task:close() end)
      task:connect { address = "127.0.0.1", port = fault.tcp }
      if event == "Error" then task:connect { address = "", port = 1 } end
      task:write("push n=1 size=10\n")
      tcp.finish(socket)
      assert.equal(1, #socket.closes)
    end
  end)

  it("#168 #171 makes write and connect errors", function()
    local socket = tcp.connect { port = ECHO }
    local late = {}
    socket.task:onError(function(res) late[#late + 1] = res end)
    socket.task:close()
    socket.task:write("too late")
    assert.equal(0, #late)
    helper.run_until(function() return #late == 1 end)
    assert.equal("TCPSocket.write:fail TCPSocket is not connected",
      late[1].errMsg)
    assert.equal(600004, late[1].errno)
    assert.equal(-2, late[1].errCode)
    helper.run_until(function() return #socket.closes == 1 end)
    socket.done = false
    socket.task:write("later still")
    helper.run_until(function() return #late == 2 end)
    assert.equal(-2, late[2].errCode)
    socket.done = true
  end)

  it("#171 write before connect is an error", function()
    local socket = tcp.create()
    socket.task:write("too early")
    assert.same({}, socket.order)
    helper.run_until(function() return #socket.errors == 1 end)
    assert.equal("TCPSocket.write:fail TCPSocket is not connected",
      socket.errors[1].errMsg)
    assert.equal(600004, socket.errors[1].errno)
    assert.equal(-2, socket.errors[1].errCode)
    -- It lives on.
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    tcp.wait_open(socket)
    echo(socket, "now")
  end)

  it("#170 by the peer is heard behind all that it sent", function()
    local socket = tcp.scripted("push n=50 size=20000")
    tcp.finish(socket)
    tcp.check_order(socket, "connect", "message", "close")
    assert.is_true(tcp.text(socket) == tcp.pattern(1000000))
    assert.is_true(socket.closes[1].flushed)
  end)

  it("#170 by the peer at once is no error", function()
    local port = tonumber(fault.closing:match("(%d+)$"))
    local socket = tcp.whole { port = port }
    tcp.check_order(socket, "connect", "close")
  end)

  it("is what net.close does, without a callback", function()
    local key = tcp.key()
    local socket = tcp.scripted("sink key=" .. key)
    tcp.wait_open(socket)
    net.close()
    tcp.check_order(socket, "connect")
    assert.equal("done", socket.task.state)
    tcp.drop()
    helper.run_for(20)
    tcp.check_order(socket, "connect")
  end)
end)

-- ---- Life -------------------------------------------------------------------

describe("a TCP socket", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#172 lives until it is closed, though nobody holds it", function()
    local got, closed = {}, false
    do
      local task = net.createTCPSocket()
      task:onMessage(function(res) got[#got + 1] = tostring(res.message) end)
      task:onClose(function() closed = true end)
      task:connect { address = "127.0.0.1", port = fault.tcp }
      task:write("say hex=61,62,63 every=20\n")
    end
    for _ = 1, 5 do
      collectgarbage()
      helper.run_for(10)
    end
    helper.run_until(function() return table.concat(got) == "abc" end)
    assert.is_false(closed)
    assert.equal(1, net.stats().live)
    net.close()
    tcp.drop()
  end)

  it("#160 that was never connected lives until it is closed, too", function()
    local closed = false
    local weak = setmetatable({}, { __mode = "v" })
    do
      local task = net.createTCPSocket()
      task:onClose(function() closed = true end)
      weak[1] = task
    end
    collectgarbage()
    collectgarbage()
    assert.is_truthy(weak[1])
    weak[1]:close()
    helper.run_until(function() return closed end)
  end)

  it("#160 is garbage once it has ended", function()
    local weak = setmetatable({}, { __mode = "v" })
    do
      local socket = tcp.connect { port = ECHO }
      weak[1] = socket.task
      tcp.close(socket)
    end
    tcp.verify()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("is counted in stats", function()
    local function count(kind)
      local states, sum = net.stats()[kind], 0
      for _, number in pairs(states or {}) do sum = sum + number end
      return sum
    end
    local idle = tcp.create()
    assert.equal(1, count "tcp")
    local socket = tcp.connect { port = ECHO }
    assert.equal(2, count "tcp")
    local before = net.stats()
    echo(socket, ("x"):rep(10000))
    local after = net.stats()
    assert.is_true(after.bytesIn - before.bytesIn >= 10000)
    assert.is_true(after.bytesOut - before.bytesOut >= 10000)
    tcp.close(socket)
    tcp.close(idle)
    assert.equal(0, count "tcp")
  end)

  it("keeps net.run going until it is closed", function()
    local socket = tcp.connect { port = ECHO }
    assert.is_false(net.run(50))
    socket.task:close()
    assert.is_true(net.run(5000 * helper.slow))
    assert.is_true(socket.done)
  end)

  it("tells its state", function()
    local socket = tcp.create()
    assert.equal("idle", socket.task.state)
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    assert.equal("connecting", socket.task.state)
    tcp.wait_open(socket)
    assert.equal("open", socket.task.state)
    tcp.close(socket)
    assert.equal("done", socket.task.state)
    assert.matches("TCPSocket #%d+ %(done%)", tostring(socket.task))
  end)

  it("does not mind many beside it", function()
    local all, size = {}, 20000
    for i = 1, 50 do
      all[i] = tcp.start { port = ECHO }
      all[i].task:write(tcp.pattern(size, i))
    end
    for i = 1, 50 do
      assert.is_true(tcp.wait_bytes(all[i], size) == tcp.pattern(size, i))
    end
  end)

  it("has bindWifi, which needs an interface", function()
    local socket = tcp.create()
    local bound = helper.never "onBindWifi"
    socket.task:onBindWifi(bound)
    socket.task:bindWifi { BSSID = "00:11:22:33:44:55" }
    helper.run_until(function() return #socket.errors == 1 end)
    assert.equal(-1, socket.errors[1].errCode)
    assert.matches("^TCPSocket%.bindWifi:fail ", socket.errors[1].errMsg)
    socket.task:offBindWifi(bound)
    -- It is connected as ever.
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    tcp.wait_open(socket)
    echo(socket, "x")
  end)

  it("has bindWifi, which goes out by that interface", function()
    inside("closed", [[
      local tcp = require "support.tcp"
      tcp.defaults()
      -- lo is one, and leads to itself.
      net.configure { wifiInterface = "lo" }
      local socket = tcp.create()
      local bound = 0
      socket.task:onBindWifi(function() bound = bound + 1 end)
      socket.task:bindWifi { BSSID = "00:11:22:33:44:55" }
      helper.run_until(function() return bound == 1 end)
      socket.task:connect { address = "127.0.0.1",
        port = helper.servers.fault.tcp }
      tcp.wait_open(socket)
      socket.task:write("echo\nx")
      same("x", tcp.wait_bytes(socket, 1))
      net.configure { wifiInterface = "v0" }
      socket = tcp.create()
      socket.task:bindWifi { BSSID = "" }
      socket.task:connect { address = "127.0.0.1", timeoutMs = 300,
        port = helper.servers.fault.tcp }
      tcp.finish(socket)
      same(-4, socket.errors[#socket.errors].errCode)]], nil, { lan = true })
  end)

  it("has bindWifi, which looks up no interface as a name", function()
    inside("silent", [[
      local tcp = require "support.tcp"
      tcp.defaults()
      net.configure { wifiInterface = "gone0" }
      local socket = tcp.create()
      socket.task:bindWifi { BSSID = "" }
      local begun = helper.now()
      socket.task:connect { address = "127.0.0.1",
        port = helper.servers.fault.tcp }
      tcp.finish(socket)
      assert(helper.now() - begun < 700 * helper.slow, helper.now() - begun)
      tcp.check_order(socket, "error", "close")
      same(-4, socket.errors[1].errCode)]])
  end)
end)
