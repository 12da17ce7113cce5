-- Links that come and go during a scan for local services.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command = mdns.command
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

add("#198 a service on one that comes is found", [[
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

add("#198 a service on two of them is one", [[
  command("link", { name = "w" })
  command("add", { name = "both", host = "both", quiet = true,
    ips = { "10.77.0.2", "10.78.0.2" } })
  local scan = mdns.start()
  mdns.wait_found(scan, "both")
  mdns.mark(scan)
  helper.run_for(300)
  same(1, mdns.count(scan, "found", "both"))
  command("link", { name = "w", up = false })]])

describe("links", function()
  test(it)
end)
