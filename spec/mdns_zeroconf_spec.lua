-- Local services that a python3-zeroconf publishes.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command = mdns.command

  local NAME = "Bob's game: Über \\ all" -- no dots: it takes them for ends
  local long = { name = "zeroconf", services = {
    { name = NAME, port = 4321, host = "box",
      txt = { players = "3", open = net.null } },
    { name = "two", port = 2, host = "other", ips = { "10.77.0.2",
      "10.77.0.22" } },
  } }
  local short = { name = "zeroconf short", services = {
    { name = "short", ttl = 4, host = "short" } } }
  command("together", { commands = { { "zeroconf", long },
    { "zeroconf", short } } })
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

add("#198 are found, with all that is known of them", [[
  local scan = mdns.start()
  local res = mdns.wait_found(scan, NAME)
  same("10.77.0.2", res.ip)
  same(4321, res.port)
  same("_nettask._tcp", res.serviceType)
  same("box.local", res.hostName)
  same("3", res.txt.players)
  same(true, res.txt.open)
  mdns.wait_found(scan, "two")
  mdns.wait_found(scan, "short")
  helper.run_for(100)
  same(3, #scan.found)]])

-- It does not answer the same question twice in a second.
add("#195 #198 are found by one scan after another", [[
  for _ = 1, 2 do
    local scan = mdns.start()
    mdns.wait_found(scan, NAME)
    mdns.wait_found(scan, "two")
    mdns.stop(scan)
    mdns.deafen()
  end]])

add("#199 are lost when one with TTLs of 4 s is killed", [[
  local scan = mdns.start()
  mdns.wait_found(scan, "short")
  mdns.wait_found(scan, NAME)
  command("end", { name = "zeroconf short", kill = true })
  local begun = helper.now()
  mdns.wait_lost(scan, "short", 1, 8000)
  local took = helper.now() - begun
  assert(took > 2500 and took < 4500 + 700 * helper.slow, took)
  same(1, #scan.lost)]])

add("#199 are lost within a second when it ends", [[
  local scan = mdns.start()
  mdns.wait_found(scan, NAME)
  mdns.wait_found(scan, "two")
  command("end", { name = "zeroconf" })
  local begun = helper.now()
  mdns.wait_lost(scan, NAME)
  mdns.wait_lost(scan, "two")
  assert(helper.now() - begun < 1000 + 500 * helper.slow)]])

describe("services of a python3-zeroconf", function()
  test(it)
end)
