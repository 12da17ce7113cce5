-- Local services that an avahi-daemon publishes.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command = mdns.command

  local NAME = "Ann's game: v1.2 · Grüße \\o/"
  local SERVICES = {
    { name = NAME, port = 4321, txt = { "players=3", "open", "map=a=b" } },
    { name = "two", port = 2 },
    { name = "printer", port = 631, type = "_ipp._tcp",
      subtypes = { "_universal._sub._ipp._tcp" } },
  }
  command("avahi", { services = SERVICES })

  local function check_both(scan)
    mdns.wait_found(scan, NAME)
    mdns.wait_found(scan, "two")
  end
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

add("#198 are found, with all that is known of them", [[
  local scan = mdns.start()
  local res = mdns.wait_found(scan, NAME)
  same("10.77.0.2", res.ip)
  same(4321, res.port)
  same("_nettask._tcp", res.serviceType)
  same("avahipeer.local", res.hostName)
  same("3", res.txt.players)
  same(true, res.txt.open)
  same("a=b", res.txt.map)
  mdns.wait_found(scan, "two")
  helper.run_for(200)
  same(2, #scan.found)]])

add("#198 have their IPv6 addresses, too", [[
  local scan = mdns.start()
  mdns.wait_found(scan, "two")
  local res = scan.found[#scan.found]
  local six = 0
  for _, ip in ipairs(res.ips) do
    if ip:find(":", 1, true) then six = six + 1 end
  end
  assert(six > 0, table.concat(res.ips, " "))
  same("10.77.0.2", res.ips[1])]])

add("#195 #198 are found by one scan after another", [[
  for _ = 1, 3 do
    local scan = mdns.start()
    check_both(scan)
    mdns.stop(scan)
    mdns.deafen()
  end]])

add("#198 are found by another type", [[
  local scan = mdns.start("_ipp._tcp.local.")
  same(631, mdns.wait_found(scan, "printer").port)
  same(1, #scan.found)]])

add("#198 are found by a subtype", [[
  local scan = mdns.start("_universal._sub._ipp._tcp")
  same(631, mdns.wait_found(scan, "printer").port)]])

add("#199 are lost within a second when one is taken away", [[
  local scan = mdns.start()
  check_both(scan)
  command("reload", { services = { SERVICES[1], SERVICES[3] } })
  local begun = helper.now()
  mdns.wait_lost(scan, "two")
  assert(helper.now() - begun < 1000 + 500 * helper.slow)
  command("reload", { services = SERVICES })
  mdns.wait_found(scan, "two", 2)
  same(0, mdns.count(scan, "lost", NAME))]])

add("#199 are lost within a second when the daemon ends", [[
  local scan = mdns.start()
  check_both(scan)
  command("end", { name = "avahi" })
  local begun = helper.now()
  mdns.wait_lost(scan, NAME)
  mdns.wait_lost(scan, "two")
  assert(helper.now() - begun < 1000 + 500 * helper.slow)]])

describe("services of an avahi-daemon", function()
  test(it)
end)
