-- Scans for local services under a policy: they speak to groups, which are
-- private addresses.

local batch = require "support.batch"

local BEGIN = [[
local mdns = require "support.mdns"
local START = net.startLocalServiceDiscovery

local function cleanup()
  net.configure { policy = "miniprogram", denyPrivateAddresses = false,
    allowPrivate = false }
  mdns.verify()
end

net.setLogger(function() end)

local function refused()
  local res = mdns.refused(START, { serviceType = mdns.TYPE },
    "startLocalServiceDiscovery:fail private address is not allowed", 600002,
    -10)
  assert(res.reason:find("denyPrivateAddresses", 1, true), res.reason)
  assert(res.reason:find("allowPrivate", 1, true), res.reason)
end

local function finds(name)
  local scan = mdns.start()
  local res = mdns.wait_found(scan, name)
  mdns.stop(scan)
  mdns.deafen()
  return res
end
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

add("is refused where private addresses are", [[
  mdns.command("add", { name = "one" })
  local out = net.stats().bytesOut
  net.configure { denyPrivateAddresses = true }
  refused()
  net.configure { allowPrivate = { "127.0.0.0/8", "10.0.0.0/8",
    "224.0.0.250" } }
  refused()
  net.configure { allowPrivate = false }
  net.configure { policy = "strict" }
  refused()
  same(out, net.stats().bytesOut)]])

add("works where the group is allowed, and tells private addresses", [[
  mdns.command("add", { name = "one" })
  net.configure { denyPrivateAddresses = true }
  for _, allowed in ipairs { "224.0.0.251", "224.0.0.0/4", "ff02::fb",
    "ff00::/8" } do
    net.configure { allowPrivate = { allowed } }
    local res = finds("one")
    assert(res.ip ~= "" and res.port > 0)
  end]])

add("what it finds is no leave to connect", [[
  mdns.command("add", { name = "one" })
  net.configure { denyPrivateAddresses = true,
    allowPrivate = { "224.0.0.251" } }
  local service = finds("one")
  local tcp = net.createTCPSocket()
  local err
  tcp:onError(function(res) err = res end)
  tcp:connect { address = service.ip, port = 40000 }
  helper.run_until(function() return err end)
  same(-3, err.errCode)
  same(600002, err.errno)]])

add("a refused scan is none: the next may begin at once", [[
  mdns.command("add", { name = "one" })
  net.configure { denyPrivateAddresses = true }
  refused()
  mdns.refused(net.stopLocalServiceDiscovery, nil,
    "stopLocalServiceDiscovery:fail task not found", 600004)
  net.configure { denyPrivateAddresses = false }
  finds("one")]])

describe("a scan under a policy", function()
  test(it)
end)
