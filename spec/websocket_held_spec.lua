-- A host that stops for longer than ten seconds: all in that one time.

local helper = require "helper"
local sockets = require "support.sockets"

local net, servers = helper.net, helper.servers
local KIB = 1024

-- Messages of 4 KiB, more than any mark and buffer on the way.
local function push(server)
  return server .. "/ws/push?n=5000&size=4096"
end

local function check_pushed(socket)
  assert.equal(5000, #socket.messages)
  for i = 1, 5000 do
    assert(socket.messages[i]:match("^(%d+)") == tostring(i - 1), i)
    assert(#socket.messages[i] == 4096, i)
  end
end

describe("a host that stops for ten seconds", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("loses nothing, is not taken for dead, and takes nobody for it",
    function()
      net.configure { limits = { highWaterBytes = 64 * KIB } }
      -- Flooded, each of them; the second pings, too.
      local url, key = sockets.fault("flood", { n = 5000, size = 4096 })
      local told = sockets.open { url = url }
      local pinging = sockets.open { url = push(servers.demo_ws),
        pingInterval = 300, pongTimeout = 300 }
      local quiet = sockets.open { url = servers.demo_ws .. "/ws/ping?ms=50" }
      net.pause()
      local bytes
      for _ = 1, 100 do -- until they are held back
        local before = bytes
        helper.stop_for(100 * helper.slow)
        bytes = net.stats().queuedBytes
        if bytes == before then break end
      end
      helper.stop_for(10000 + 1000 * helper.slow)
      bytes = net.stats().queuedBytes
      assert.is_true(bytes < 3 * 1024 * KIB, bytes)
      -- The host has heard of no end.
      for _, socket in ipairs { told, pinging, quiet } do
        assert.equal("open", socket.task.state)
        assert.equal(0, #socket.closes)
      end
      net.resume()
      sockets.wait_messages(pinging, 5000, 10000)
      check_pushed(pinging)
      sockets.wait_messages(told, 5000, 10000)
      -- The clocks that stood still go on: it is alive.
      helper.run_for(400)
      assert.equal(pinging.task.OPEN, pinging.task.readyState)
      quiet.task:send { data = "pongs" }
      -- Nothing held this one back: all were answered.
      assert.is_true(tonumber(sockets.wait_messages(quiet, 1)) >= 100)
      sockets.close(told)
      local pongs = 0
      for _, frame in ipairs((sockets.frames(key))) do
        if frame.opcode == 10 then
          pongs = pongs + 1
          assert.equal("", frame.payload)
          assert.is_true(frame.masked)
        end
      end
      assert.equal(1, pongs)
    end)
end)
