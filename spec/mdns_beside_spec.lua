-- Local services that an avahi-daemon and a python3-zeroconf publish, both on
-- one host, while another avahi-daemon runs on our side.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command = mdns.command

  command("together", { commands = net.array {
    { "avahi", { services = { { name = "ava", port = 1 } } } },
    { "zeroconf", { services = { { name = "zero", port = 77 } } } },
    { "avahi", { name = "near", near = true, host = "nearhost",
      services = { { name = "here", port = 5 } } } },
  } })

  local function check_both(scan)
    same(1, mdns.wait_found(scan, "ava").port)
    same(77, mdns.wait_found(scan, "zero").port)
  end
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

add("#198 are found beside an avahi-daemon", [[
  local scan = mdns.start()
  check_both(scan)
  local res = mdns.wait_found(scan, "here")
  same("10.77.0.1", res.ip)
  same("nearhost.local", res.hostName)
  command("add", { name = "later" })
  mdns.wait_found(scan, "later")
  same(4, #scan.found)]])

add("#199 are lost beside an avahi-daemon", [[
  local scan = mdns.start()
  check_both(scan)
  command("end", { name = "zeroconf" })
  local begun = helper.now()
  mdns.wait_lost(scan, "zero")
  assert(helper.now() - begun < 1000 + 500 * helper.slow)
  -- Which says goodbye itself.
  mdns.wait_found(scan, "here")
  command("end", { name = "near" })
  begun = helper.now()
  mdns.wait_lost(scan, "here")
  assert(helper.now() - begun < 1000 + 500 * helper.slow)
  same(2, #scan.lost)]])

add("#198 are found beside one that wants port 5353 for itself", [[
  command("together", { commands = net.array {
    { "zeroconf", { services = { { name = "zero", port = 77 } } } },
    { "avahi", { name = "near", near = true, exclusive = true } },
  } })
  local scan = mdns.start()
  check_both(scan)
  -- What is announced is not heard, so it is asked for.
  command("add", { name = "later" })
  mdns.wait_found(scan, "later")
  same(3, #scan.found)
  local ours = 0
  for _, query in ipairs(command("queries").queries) do
    if query.port ~= 5353 then ours = ours + 1 end
  end
  assert(ours > 0)]])

describe("services beside other responders", function()
  test(it)
end)
