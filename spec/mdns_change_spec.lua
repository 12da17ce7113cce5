-- Services that change during a scan for local services: they come, go, come
-- back, and say something else than before. The publisher is a scripted one.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command, TYPE = mdns.command, mdns.TYPE

  local function keys(res)
    local names = {}
    for name in pairs(res) do
      if name ~= "at" then names[#names + 1] = name end
    end
    table.sort(names)
    return table.concat(names, " ")
  end
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

add("#198 one that does not announce itself is found by asking again", [[
  local scan = mdns.start()
  helper.run_for(50)
  command("add", { name = "shy", quiet = true })
  mdns.wait_found(scan, "shy", 1, 4000)]])

add("#198 is told once, however often it is announced", [[
  command("add", { name = "one" })
  local scan = mdns.start()
  mdns.wait_found(scan, "one")
  for _ = 1, 10 do command("add", { name = "one" }) end
  command("add", { name = "one", txt = { "changed=1" } })
  mdns.mark(scan)
  same(1, mdns.count(scan, "found", "one"))]])

add("#198 is told again when its port or address has changed", [[
  local scan = mdns.start()
  command("add", { name = "one", port = 1 })
  same(1, mdns.wait_found(scan, "one", 1).port)
  command("add", { name = "one", port = 2 })
  same(2, mdns.wait_found(scan, "one", 2).port)
  -- Records are replaced a second after they came, not before.
  helper.run_for(1100)
  command("add", { name = "one", port = 2, ips = { "10.77.0.9" } })
  local deadline = 3000
  helper.run_until(function()
    local last = scan.found[#scan.found]
    return last.ip == "10.77.0.9" and #last.ips == 1
      or mdns.count(scan, "found", "one") > 2
  end, deadline)
  same(0, #scan.lost)]])

add("#199 a goodbye is a loss within a second", [[
  local scan = mdns.start()
  command("add", { name = "one" })
  command("add", { name = "two" })
  mdns.wait_found(scan, "one")
  mdns.wait_found(scan, "two")
  local begun = helper.now()
  command("remove", { name = "one", goodbye = true })
  local res = mdns.wait_lost(scan, "one")
  local took = helper.now() - begun
  assert(took < 1000 * helper.slow + 200, took)
  same("serviceName serviceType", keys(res))
  same("one", res.serviceName)
  same(TYPE, res.serviceType)
  mdns.mark(scan)
  same(1, #scan.lost)]])

add("#199 a service may come back", [[
  local scan = mdns.start()
  for i = 1, 2 do
    command("add", { name = "one", port = i })
    same(i, mdns.wait_found(scan, "one", i).port)
    command("remove", { name = "one", goodbye = true })
    mdns.wait_lost(scan, "one", i)
  end
  same("found one, lost one, found one, lost one",
    table.concat(scan.order, ", "))]])

add("#199 a goodbye that is taken back is none", [[
  local scan = mdns.start()
  command("add", { name = "one" })
  mdns.wait_found(scan, "one")
  command("remove", { name = "one", goodbye = true })
  command("add", { name = "one" })
  helper.run_for(800)
  mdns.mark(scan)
  same(0, #scan.lost)]])

add("#199 what was never found is not lost", [[
  local scan = mdns.start()
  command("add", { name = "one", mute = { "A" } })
  command("remove", { name = "one", goodbye = true })
  helper.run_for(800)
  mdns.mark(scan)
  same(0, #scan.lost)]])

add("limits.maxServices is a cap, and what is above it is counted", [[
  net.configure { limits = { maxServices = 3 } }
  same(0, net.stats().refusedServices)
  local scan = mdns.start()
  for i = 1, 3 do
    command("add", { name = "s" .. i })
    mdns.wait_found(scan, "s" .. i)
  end
  command("add", { name = "s4" })
  helper.run_until(function() return net.stats().refusedServices > 0 end)
  helper.run_for(50)
  same(3, #scan.found)
  -- Who goes makes room.
  command("remove", { name = "s1", goodbye = true })
  mdns.wait_lost(scan, "s1")
  command("add", { name = "s4" })
  mdns.wait_found(scan, "s4")]])

describe("local services that change:", function()
  test(it)
end)
