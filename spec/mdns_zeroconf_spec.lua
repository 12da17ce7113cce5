-- Local services that a python3-zeroconf publishes; and links of our own that
-- come and go during a scan.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command = mdns.command

  local NAME = "Bob's game: Über \\ all" -- no dots: it takes them for ends
  command("zeroconf", { name = "zeroconf", services = {
    { name = NAME, port = 4321, host = "box",
      txt = { players = "3", open = net.null } },
    { name = "two", port = 2, host = "other", ips = { "10.77.0.2",
      "10.77.0.22" } },
  } })
  command("zeroconf", { name = "zeroconf short", services = {
    { name = "short", ttl = 4, host = "short" } } })
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

add("#195 #198 are found by one scan after another", [[
  for _ = 1, 3 do
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

-- ---- Links ------------------------------------------------------------------

add("#198 on a link that comes during the scan are found", [[
  local scan = mdns.start()
  command("add", { name = "one", ips = { "10.78.0.2", "10.77.0.2" } })
  mdns.wait_found(scan, "one")
  command("link", { name = "w" })
  -- Only there: what is announced on v would be heard there.
  command("queries", { clear = true })
  helper.run_until(function()
    for _, query in ipairs(command("queries").queries) do
      if query.link == "w" then return true end
    end
  end, 5000, "a query on w")
  command("add", { name = "both", host = "both",
    ips = { "10.77.0.2", "10.78.0.2" } })
  mdns.wait_found(scan, "both")
  mdns.mark(scan)
  same(1, mdns.count(scan, "found", "both"))
  same(1, mdns.count(scan, "found", "one"))
  -- And it goes.
  command("link", { name = "w", up = false })
  command("add", { name = "still", host = "still" })
  mdns.wait_found(scan, "still")
  helper.run_for(1200)
  mdns.mark(scan)
  same(0, mdns.count(scan, "lost", "still"))]])

add("#198 on two links is one", [[
  command("link", { name = "w" })
  command("add", { name = "both", host = "both", quiet = true,
    ips = { "10.77.0.2", "10.78.0.2" } })
  local scan = mdns.start()
  mdns.wait_found(scan, "both")
  mdns.mark(scan)
  helper.run_for(300)
  same(1, mdns.count(scan, "found", "both"))
  command("link", { name = "w", up = false })]])

describe("services of a python3-zeroconf", function()
  test(it)
end)
