-- What goes through a TCPSocket, whom messages say it is from, and listeners.

local helper = require "helper"
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

describe("data", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#166 #172 of a string come back", function()
    local socket = tcp.connect { port = ECHO }
    for _, text in ipairs { "x", "Grüße, 世界", "\0\255\r\n\0",
      ("0123456789"):rep(10000) } do
      echo(socket, text)
    end
  end)

  it("#167 #172 of a Buffer come back", function()
    local socket = tcp.connect { port = ECHO }
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    all = table.concat(all)
    echo(socket, net.buffer(all))
    echo(socket, net.buffer(all:rep(1000)))
    echo(socket, net.buffer(all):slice(10, 20))
  end)

  it("#166 #167 keep their order, whatever they are", function()
    local key = tcp.key()
    local socket = tcp.scripted("sink key=" .. key)
    local at = 0
    for i = 1, 2000 do
      local text = tcp.pattern(i % 77 + 1, at)
      at = at + #text
      socket.task:write(i % 2 == 0 and net.buffer(text) or text)
      if i % 100 == 0 then net.update() end
    end
    assert.is_true(tcp.close(socket).flushed)
    local seen = tcp.seen(key)
    assert.equal(at, seen.bytes)
    assert.is_true(seen.pattern)
    assert.equal("fin", seen["end"])
  end)

  it("#166 that are written before the connection go out behind it",
    function()
      local key = tcp.key()
      local socket = tcp.start { port = fault.tcp }
      socket.task:write("sink key=" .. key .. "\n")
      socket.task:write(tcp.pattern(1000))
      socket.task:write(net.buffer(tcp.pattern(500, 1000)))
      tcp.wait_open(socket)
      socket.task:write(tcp.pattern(10, 1500))
      tcp.close(socket)
      assert.same({ bytes = 1510, pattern = true },
        { bytes = tcp.seen(key).bytes, pattern = tcp.seen(key).pattern })
    end)

  it("#166 may be empty", function()
    local socket = tcp.connect { port = ECHO }
    socket.task:write("")
    socket.task:write(net.buffer(""))
    echo(socket, "x")
    assert.same({}, socket.errors)
  end)

  it("#166 of other types raise", function()
    local socket = tcp.connect { port = ECHO }
    for _, wrong in ipairs { 5, true, {}, print, 1.5 } do
      assert.has_error(function() socket.task:write(wrong) end)
    end
    assert.has_error(function() socket.task:write() end)
    assert.has_error(function() socket.task:write(nil) end)
    echo(socket, "x")
  end)

  it("#166 need not be kept by the script", function()
    local key = tcp.key()
    local socket = tcp.scripted("sink key=" .. key)
    for i = 0, 99 do
      socket.task:write(tcp.pattern(1000, i * 1000))
      socket.task:write(net.buffer("")) -- garbage
    end
    collectgarbage()
    collectgarbage()
    tcp.close(socket)
    assert.is_true(tcp.seen(key).pattern)
    assert.equal(100000, tcp.seen(key).bytes)
  end)

  it("#173 are Buffers, and tell whose they are", function()
    local socket = tcp.connect { port = ECHO }
    echo(socket, "hello")
    local res = socket.messages[1]
    assert.equal("userdata", type(res.message))
    assert.equal(5, res.message.byteLength)
    assert.equal("hello", tostring(res.message))
    assert.same({ address = "127.0.0.1", family = "IPv4", port = ECHO,
      size = 5 }, res.remoteInfo)
  end)

  it("#174 tell whose they are at our end", function()
    local socket = tcp.connect { port = ECHO }
    echo(socket, "hello")
    local info = socket.messages[1].localInfo
    assert.equal("127.0.0.1", info.address)
    assert.equal("IPv4", info.family)
    assert.is_true(info.port > 0 and info.port < 65536)
    assert.is_nil(info.size)
    -- As the other side sees it.
    socket = tcp.scripted("name")
    helper.run_until(function() return tcp.text(socket):find("\n") end)
    info = socket.messages[1].localInfo
    assert.equal(("%s %d\n"):format(info.address, info.port),
      tcp.text(socket))
  end)

  it("#173 #174 each have tables of their own", function()
    local socket = tcp.connect { port = ECHO }
    echo(socket, "a")
    socket.messages[1].remoteInfo.address = "changed"
    socket.messages[1].localInfo.port = -1
    echo(socket, "b")
    assert.equal("127.0.0.1", socket.messages[2].remoteInfo.address)
    assert.is_true(socket.messages[2].localInfo.port > 0)
  end)

  it("#172 come as they arrive", function()
    local socket = tcp.scripted("say hex=61,62,63,64 every=30")
    assert.equal("abcd", tcp.wait_bytes(socket, 4))
    assert.is_true(#socket.messages >= 2, #socket.messages)
    for _, res in ipairs(socket.messages) do
      assert.equal(#res.message, res.remoteInfo.size)
    end
  end)

  it("#172 of several megabytes come whole and in order", function()
    local size = 8 * 1024 * 1024
    local socket = tcp.scripted(("push n=%d size=65536"):format(size / 65536))
    local text = tcp.wait_bytes(socket, size, 10000)
    assert.is_true(text == tcp.pattern(size))
    tcp.finish(socket)
    assert.same({}, socket.errors)
  end)

  it("#172 go both ways at once", function()
    local socket = tcp.connect { port = ECHO }
    local size = 4 * 1024 * 1024
    local text = tcp.pattern(size)
    for at = 1, size, 100000 do
      socket.task:write(text:sub(at, math.min(at + 99999, size)))
    end
    assert.is_true(tcp.wait_bytes(socket, size, 10000) == text)
  end)

  it("#172 that nobody listens for are dropped", function()
    local task = net.createTCPSocket()
    local closed
    task:onClose(function() closed = true end)
    task:connect { address = "127.0.0.1", port = fault.tcp }
    task:write("push n=100 size=10000\n")
    helper.run_until(function() return closed end)
  end)
end)

-- ---- Listeners --------------------------------------------------------------

describe("listeners", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  -- What happens on a socket that fires all of its events.
  local function play(register)
    local _, restore = residue.log() -- of an error that nobody hears
    local task = assert(net.createTCPSocket())
    register(task)
    local over
    task:onClose(function() over = true end)
    task:connect { address = "127.0.0.1", port = fault.tcp }
    task:connect { address = "127.0.0.1", port = fault.tcp } -- an error
    task:write("say hex=61\n")
    task:onMessage(function() task:close() end)
    helper.run_until(function() return over end)
    restore()
  end

  for _, event in ipairs { "Connect", "Message", "Error", "Close" } do
    local row = ({ Connect = "#169", Message = "#172", Error = "#171",
      Close = "#170" })[event]

    it(row .. " on" .. event .. " appends, the same function once", function()
      local calls = {}
      local function a() calls[#calls + 1] = "a" end
      local function b() calls[#calls + 1] = "b" end
      play(function(task)
        task["on" .. event](task, a)
        task["on" .. event](task, b)
        task["on" .. event](task, a)
      end)
      assert.same({ "a", "b" }, calls)
    end)

    it(row .. " off" .. event .. " removes one, or all", function()
      local calls = {}
      local function a() calls[#calls + 1] = "a" end
      local function b() calls[#calls + 1] = "b" end
      play(function(task)
        local on, off = task["on" .. event], task["off" .. event]
        on(task, a)
        on(task, b)
        off(task, a)
        off(task, print) -- not there
      end)
      assert.same({ "b" }, calls)
      calls = {}
      play(function(task)
        local on, off = task["on" .. event], task["off" .. event]
        on(task, a)
        on(task, b)
        off(task)
      end)
      assert.same({}, calls)
    end)

    it(row .. " on" .. event .. " wants a function", function()
      local task = tcp.create().task
      for _, wrong in ipairs { 5, "f", {}, true } do
        assert.has_error(function() task["on" .. event](task, wrong) end)
      end
      assert.has_error(function() task["on" .. event](task) end)
    end)
  end

  it("#172 that raise do not stop the others, nor the socket", function()
    local errors = 0
    net.onError(function() errors = errors + 1 end)
    local socket = tcp.create()
    for _, event in ipairs { "Connect", "Message", "Close" } do
      socket.task["on" .. event](socket.task, function() error "oops" end)
    end
    socket.task:connect { address = "127.0.0.1", port = ECHO }
    tcp.wait_open(socket)
    echo(socket, "x")
    tcp.close(socket)
    assert.equal(3, errors)
  end)

  it("#171 an error that nobody hears is logged once", function()
    local lines, restore = residue.log()
    local task = net.createTCPSocket()
    task:connect { address = "127.0.0.1", port = 0 }
    assert.is_true(net.run(5000))
    restore()
    assert.equal(1, #lines, table.concat(lines, "\n"))
    assert.matches("^warn: .*TCPSocket", lines[1])
  end)
end)

-- ---- Servers of others ------------------------------------------------------

describe("nginx", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  it("#166 #172 answers a request written by hand", function()
    local port = tonumber(servers.nginx.http:match("(%d+)$"))
    local socket = tcp.connect { port = port }
    socket.task:write("GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
    local text = tcp.wait_bytes(socket, 1024)
    assert.matches("^HTTP/1%.1 200 OK\r\n", text)
    helper.run_until(function()
      return tcp.text(socket):sub(-1024) == ("0123456789abcdef"):rep(64)
    end)
    socket.task:write("GET /big HTTP/1.1\r\nHost: x\r\n"
      .. "Connection: close\r\n\r\n")
    tcp.finish(socket)
    local all = {}
    for i = 0, 255 do all[i + 1] = string.char(i) end
    assert.is_true(tcp.text(socket):sub(-1048576)
      == table.concat(all):rep(4096))
    tcp.check_order(socket, "connect", "message", "close")
  end)

  it("#167 takes an upload written by hand", function()
    local port = tonumber(servers.demo:match("(%d+)$"))
    local socket = tcp.connect { port = port }
    local body = tcp.pattern(300000)
    socket.task:write("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close"
      .. "\r\nContent-Type: text/plain\r\n"
      .. "Content-Length: 300000\r\n\r\n")
    for at = 1, #body, 7000 do
      socket.task:write(net.buffer(body:sub(at, at + 6999)))
    end
    tcp.finish(socket)
    assert.matches("^HTTP/1%.1 %d+ ", tcp.text(socket))
    assert.matches("300000", tcp.text(socket))
  end)

  it("#166 gets the very bytes, and nothing else", function()
    local socket = tcp.connect {
      port = tonumber(fault.http:match("(%d+)$")) }
    local head = "GET /raw HTTP/1.1\r\nA: b\r\nConnection: close\r\n\r\n"
    socket.task:write(head)
    tcp.finish(socket)
    assert.equal(head, tcp.text(socket):match("\r\n\r\n(.*)$"))
  end)
end)
