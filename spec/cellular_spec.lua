-- forceCellularNetwork: out by the interface that configure() names, with a
-- veth pair as the cellular network.

local helper = require "helper"
local inside = require "support.inside"
local sockets = require "support.sockets"

local net, servers = helper.net, helper.servers

local BEGIN = [[
  local sockets = require "support.sockets"
  local cell = helper.servers.cell
  local WIRED, CELLULAR = "10.78.0.1", "10.79.0.1"
  local NONE = "cellular network is not available"
  net.setLogger(function() end)
  local function peer(options)
    local record = fetch(cell, options)
    assert(record.success, record.complete.errMsg)
    return record.success.data
  end
  local FORCE = { forceCellularNetwork = true }
]]

describe("forceCellularNetwork", function()
  after_each(function()
    net.configure { cellularInterface = false }
    sockets.verify()
  end)

  it("#48 fails without an interface that is said to be cellular", function()
    local record = helper.fetch { url = servers.fault.http .. "/",
      forceCellularNetwork = true }
    helper.check_failure(record, "cellular network is not available", 602301,
      -1)
    assert(helper.fetch { url = servers.fault.http .. "/",
      forceCellularNetwork = false }.success)
  end)

  it("#48 fails when the interface is not there", function()
    local dead = "gone0"
    net.configure { cellularInterface = dead }
    local record = helper.fetch { url = servers.fault.http .. "/",
      forceCellularNetwork = true }
    helper.check_failure(record, "cellular network is not available", 602301,
      -1)
    local socket = sockets.start { url = servers.fault.ws .. "/ws/echo",
      forceCellularNetwork = true }
    helper.run_until(function() return socket.done end)
    assert.equal(602301, socket.errors[1].errno)
    assert.matches("cellular network is not available",
      socket.errors[1].errMsg, 1, true)
  end)

  it("#48 goes out by the interface, and nothing else does", function()
    inside("silent", BEGIN .. [[
      net.configure { cellularInterface = "cell0" }
      for _ = 1, 2 do
        -- Neither takes the connection of the other.
        same(WIRED, peer())
        same(CELLULAR, peer(FORCE))
        same(CELLULAR, peer(FORCE))
        same(WIRED, peer { forceCellularNetwork = false })
      end
      local both = {}
      for i = 1, 8 do
        both[i] = helper.start { url = cell, dataType = "text",
          forceCellularNetwork = i % 2 == 0 }
      end
      for i = 1, 8 do
        helper.finish(both[i])
        same(i % 2 == 0 and CELLULAR or WIRED, both[i].success.data)
      end]], nil, { cell = true })
  end)

  it("#48 holds for WebSockets", function()
    inside("silent", BEGIN .. [[
      net.configure { cellularInterface = "cell0" }
      for _, case in ipairs { { true, CELLULAR }, { false, WIRED } } do
        local socket = sockets.open { url = cell:gsub("^http", "ws"),
          forceCellularNetwork = case[1] }
        same(case[2], socket.opens[1].header["X-Peer"])
        socket.task:abort()
      end]], nil, { cell = true })
  end)

  it("#48 fails once the interface is down", function()
    inside("silent", BEGIN .. [[
      net.configure { cellularInterface = "cell0" }
      same(CELLULAR, peer(FORCE))
      assert(os.execute("ip link set cell0 down"))
      check_failure(fetch(cell, FORCE), NONE, 602301, -1)
      same(WIRED, peer())]], nil, { cell = true })
  end)
end)
