-- TCPSocket and peers that refuse, hang, reset, end early or never read.

local batch = require "support.batch"
local helper = require "helper"
local residue = require "support.residue"
local tcp = require "support.tcp"

local net, servers = helper.net, helper.servers
local fault, ECHO = servers.fault, servers.demo_tcp
local MIB = 1024 * 1024

local function port_of(url)
  return tonumber(url:match("(%d+)$"))
end

describe("a connect that fails", function()
  local mark

  setup(tcp.defaults)
  before_each(function() mark = residue.mark() end)
  after_each(function()
    tcp.verify()
    residue.check(mark)
    tcp.defaults()
  end)

  it("#170 #171 is refused", function()
    local socket = tcp.whole { port = port_of(fault.refused) }
    tcp.check_unconnected(socket, "-102:net::ERR_CONNECTION_REFUSED", 600001)
    assert.equal("done", socket.task.state)
  end)

  it("#170 #171 is refused with things to say", function()
    local socket = tcp.start { port = port_of(fault.refused) }
    socket.task:write(("x"):rep(100000))
    tcp.finish(socket)
    tcp.check_unconnected(socket, "-102:net::ERR_CONNECTION_REFUSED", 600001)
    assert.is_false(socket.closes[1].flushed)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  local function check_timeout(options, least, most)
    options.port = port_of(fault.blackhole)
    local begun = helper.now()
    local socket = tcp.whole(options, nil, 8000)
    local took = helper.now() - begun
    tcp.check_unconnected(socket, "timeout", 5)
    assert.is_true(took >= least and took <= most * helper.slow, took)
  end

  it("#171 times out after `timeout` seconds", function()
    check_timeout({ timeout = 0.2 }, 190, 1200)
  end)

  it("#171 times out after `timeoutMs` milliseconds", function()
    check_timeout({ timeoutMs = 200 }, 190, 1200)
    check_timeout({ timeoutMs = 200, timeout = 60 }, 190, 1200)
  end)

  it("#171 times out after 2 seconds by default", function()
    check_timeout({}, 1900, 3000)
  end)

  it("#171 times out as configured", function()
    net.configure { timeouts = { tcp = 150 } }
    check_timeout({}, 140, 1200)
    check_timeout({ timeout = 0 }, 140, 1200)
    check_timeout({ timeout = -1 }, 140, 1200)
  end)

  it("#171 leaves no timer behind when it succeeds", function()
    local socket = tcp.connect { port = ECHO, timeoutMs = 200 }
    helper.run_for(400)
    assert.same({ "connect" }, socket.order)
  end)

  it("#171 that waits for TLS times out as well", function()
    local begun = helper.now()
    local socket = tcp.whole { port = port_of(fault.silent), tls = true,
      timeoutMs = 200 }
    tcp.check_unconnected(socket, "timeout", 5)
    assert.is_true(helper.now() - begun < 1500 * helper.slow)
  end)
end)

-- ---- Names ------------------------------------------------------------------

local add, test = batch("by-name", { begin = [[
  local tcp = require "support.tcp"
  local cleanup = tcp.verify
  local port = helper.servers.fault.tcp
  tcp.defaults()
]] })

add("#171 that nobody knows is an error", [[
  local socket = tcp.whole { address = "none.example", port = port }
  tcp.check_unconnected(socket, "-105:net::ERR_NAME_NOT_RESOLVED", 600001)]])

add("#171 that is not answered times out, and holds nobody up", [[
  local stuck = tcp.start { address = "silent1.example", port = port,
    timeout = 60 }
  local begun = helper.now()
  local socket = tcp.whole { address = "silent2.example", port = port,
    timeoutMs = 200 }
  tcp.check_unconnected(socket, "timeout", 5)
  local good = tcp.connect { address = "some.example", port = port }
  good.task:write("echo\nx")
  tcp.wait_bytes(good, 1)
  assert(helper.now() - begun < 2000 * helper.slow)
  begun = helper.now()
  tcp.close(stuck)
  tcp.check_order(stuck, "close")
  net.close()
  tcp.drop()
  assert(helper.now() - begun < 1000 * helper.slow)]])

add("#171 is nothing without a network", [[
  local socket = tcp.whole { address = "192.0.2.1", port = port }
  tcp.check_unconnected(socket, "-106:net::ERR_INTERNET_DISCONNECTED",
    600001)]])

describe("a name", function()
  test(it)
end)

-- ---- Ends -------------------------------------------------------------------

describe("a peer", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  local function check_reset(socket)
    assert.equal(1, #socket.errors)
    tcp.check_result(socket.errors[1], "TCPSocket",
      "-101:net::ERR_CONNECTION_RESET", 600001, -2)
    assert.equal(1, #socket.closes)
    local count = #socket.order
    assert.equal("error", socket.order[count - 1])
    assert.equal("close", socket.order[count])
  end

  it("#170 #171 that resets is an error, then a close", function()
    local socket = tcp.scripted("rst")
    check_reset(tcp.finish(socket))
    tcp.check_order(socket, "connect", "error", "close")
  end)

  it("#170 #171 that resets after the connect is one, too", function()
    -- Whether the connect is seen to succeed before is a matter of luck.
    local socket = tcp.whole { port = port_of(fault.resetting) }
    assert.equal(1, #socket.errors)
    assert.is_true(socket.errors[1].errCode == -2
      or socket.errors[1].errCode == -4)
    assert.equal(1, #socket.closes)
  end)

  it("#170 #171 that resets behind data delivers the data", function()
    local socket = tcp.scripted("push n=10 size=1000 then=rst ms=200")
    check_reset(tcp.finish(socket))
    assert.is_true(tcp.text(socket) == tcp.pattern(10000))
    tcp.check_order(socket, "connect", "message", "error", "close")
  end)

  it("#170 #171 that resets while we send is one error", function()
    local socket = tcp.scripted("rst-on-data")
    helper.run_until(function()
      if not socket.done then socket.task:write(("x"):rep(10000)) end
      return socket.done
    end)
    -- Writes behind the end may have been refused.
    local resets = 0
    for _, res in ipairs(socket.errors) do
      if res.errMsg:find("ERR_CONNECTION_RESET", 1, true) then
        resets = resets + 1
        assert.equal(-2, res.errCode)
      end
    end
    assert.equal(1, resets)
    assert.equal(1, #socket.closes)
  end)

  it("#170 #171 that resets what is queued was not flushed to", function()
    local socket = tcp.scripted("deaf-rst ms=100")
    socket.task:write(("x"):rep(15 * MIB))
    check_reset(tcp.finish(socket))
    assert.is_false(socket.closes[1].flushed)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  it("#170 that closes is no error", function()
    local socket = tcp.finish(tcp.scripted("fin"))
    tcp.check_order(socket, "connect", "close")
    assert.is_true(socket.closes[1].flushed)
  end)

  it("#170 that ends its side still gets what is queued", function()
    local key = tcp.key()
    local size = 15 * MIB
    local socket = tcp.start { port = fault.tcp }
    -- In one piece, so that the end does not come between.
    socket.task:write("half-deaf key=" .. key .. "\n" .. tcp.pattern(size))
    tcp.wait_open(socket)
    -- It has ended, we are still sending.
    helper.run_for(100)
    local begun = helper.now()
    tcp.release(key)
    tcp.finish(socket, 15000)
    assert.is_true(socket.closes[1].flushed)
    assert.same({}, socket.errors)
    -- Behind the last byte there is nothing to wait for.
    assert.is_true(helper.now() - begun < 4000 * helper.slow)
    local seen = tcp.seen(key)
    assert.equal(size, seen.bytes)
    assert.is_true(seen.pattern)
    assert.equal("fin", seen["end"])
  end)

  it("#170 #171 that ends its side and resets then is an error", function()
    local socket = tcp.scripted("half-rst ms=100")
    local begun = helper.now()
    socket.task:write(("x"):rep(15 * MIB))
    check_reset(tcp.finish(socket))
    assert.is_true(helper.now() - begun < 3000 * helper.slow)
    assert.is_false(socket.closes[1].flushed)
    assert.equal(0, socket.task.bufferedAmount)
  end)

  it("#168 that still sends when we close is not reset", function()
    -- What it sends is read and dropped, or it would lose what we sent.
    local key = tcp.key()
    local socket = tcp.start { port = fault.tcp }
    socket.task:write("push n=200 size=50000 key=" .. key .. "\n")
    socket.task:write(tcp.pattern(2 * MIB))
    tcp.wait_open(socket)
    assert.is_true(tcp.close(socket, 15000).flushed)
    local seen = tcp.seen(key)
    assert.equal("fin", seen["end"])
    assert.equal(2 * MIB, seen.bytes)
  end)

  it("#172 in pieces of a byte is the same stream", function()
    local hex = {}
    for i = 1, 200 do hex[i] = ("%02x"):format(i) end
    local socket = tcp.scripted("say hex=" .. table.concat(hex, ","))
    assert.is_true(tcp.wait_bytes(socket, 200) == tcp.pattern(200, 1))
  end)
end)
