-- Names and addresses of WebSocket servers: several, of IPv6, unknown ones.

local helper = require "helper"
local inside = require "support.inside"
local sockets = require "support.sockets"
local wire = require "support.wire"

local servers = helper.servers
local fault, demo = servers.fault, servers.demo_ws

local function check_works(url)
  local socket = sockets.open { url = url }
  socket.task:send { data = "Grüße" }
  assert.equal("Grüße", sockets.wait_messages(socket, 1))
  sockets.close(socket)
  sockets.check_closed(socket, 1000, "normal closure")
end

describe("the name of a server", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("leads to the address that answers", function()
    -- ::1 comes first and is refused.
    check_works(demo:gsub("127%.0%.0%.1", "localhost") .. "/ws/echo")
  end)

  it("may be an IPv6 address", function()
    assert.is_string(fault.ws6)
    local url, key = sockets.fault("echo", nil, fault.ws6)
    check_works(url)
    local host = fault.ws6:match("^ws://(.*)$")
    local request = wire.parse(wire.seen(key)[1].head)
    assert.same({ host }, wire.values(request, "Host"))
  end)

  local BEGIN = [[
    local sockets = require "support.sockets"
    local function error_of(url)
      local socket = sockets.whole { url = url }
      same("success complete error", table.concat(socket.order, " "))
      return socket.errors[1].errMsg
    end
  ]]

  it("that nobody knows is an error", function()
    inside("nxdomain", BEGIN .. [[
      for _, scheme in ipairs { "ws", "wss" } do
        same("connectSocket:fail -105:net::ERR_NAME_NOT_RESOLVED",
          error_of(scheme .. "://name.example/"))
      end]])
  end)

  it("that is not answered runs into the time-out", function()
    inside("silent", BEGIN .. [[
      local begun = helper.now()
      local socket = sockets.whole { url = "ws://name.example/",
        timeout = 200 }
      same("connectSocket:fail timeout", socket.errors[1].errMsg)
      assert(helper.now() - begun < 1500 * helper.slow)
      -- And holds nobody up meanwhile.
      socket = sockets.start { url = "ws://other.example/" }
      local good = sockets.open { url = fault.ws .. "/ws/echo" }
      good.task:send { data = "x" }
      sockets.wait_messages(good, 1, 2000)
      begun = helper.now()
      sockets.close(socket)
      assert(helper.now() - begun < 1000 * helper.slow)
      sockets.check_closed(socket, 1000, "normal closure")]])
  end)

  it("with several addresses leads to the one that answers", function()
    inside("closed", BEGIN .. [[
      local port = fault.http:match(":(%d+)$")
      local socket = sockets.open {
        url = "ws://two.example:" .. port .. "/ws/echo" }
      socket.task:send { data = "x" }
      same("x", sockets.wait_messages(socket, 1))]],
      nil, "127.0.0.2 two.example\n127.0.0.1 two.example")
  end)

  it("is what the certificate must be for", function()
    inside("answer", BEGIN .. [[
      net.configure { caFile = helper.servers.ca }
      local url = fault.wss .. "/ws/echo"
      same("connectSocket:fail -200:net::ERR_CERT_COMMON_NAME_INVALID",
        error_of((url:gsub("127.0.0.1", "name.example"))))
      sockets.open { url = (url:gsub("127.0.0.1", "localhost")) }]])
  end)

  it("without a port means 80, and Host has none", function()
    inside("closed", BEGIN .. [[
      local wire = require "support.wire"
      net.configure { allowUrlPort = false }
      local socket = sockets.open { url = "ws://127.0.0.1/ws/echo?key=port" }
      net.configure { allowUrlPort = true }
      local request = wire.parse(wire.seen("port")[1].head)
      same("127.0.0.1", wire.values(request, "Host")[1])
      sockets.close(socket)]])
  end)

  it("in a machine without a network is an error", function()
    inside("closed", BEGIN .. [[
      same("connectSocket:fail -106:net::ERR_INTERNET_DISCONNECTED",
        error_of("ws://192.0.2.1/"))]])
  end)
end)
