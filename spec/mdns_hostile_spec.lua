-- A network that means no good: packets that cannot be read, that lie, that
-- come from where they must not, and far too many of them.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command = mdns.command

  -- Its packets change nothing: what is told is the mark alone. Some of them
  -- may name a service without an address.
  local function check_nothing(scan, kind, more)
    local given = { kind = kind }
    for name, value in pairs(more or {}) do given[name] = value end
    local sent = command("hostile", given).sent
    assert(sent > 0)
    mdns.mark(scan)
    same(1, #scan.found)
    same(0, #scan.lost)
  end

  -- Of the process, in ticks of 10 ms.
  local function ticks()
    local stat = helper.read_file("/proc/self/stat")
    local user, system = stat:match("^%d+ %b() " .. ("%S+ "):rep(11)
      .. "(%d+) (%d+)")
    return tonumber(user) + tonumber(system)
  end
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

for _, kind in ipairs { "looping", "lying", "strange" } do
  add(("#191 packets that are %s change nothing"):format(kind), ([[
    check_nothing(mdns.start(), "KIND")
    mdns.deafen()
    mdns.stop(mdns.listen())
    check_nothing(mdns.start(), "KIND", { family = 6 })]]):gsub("KIND", kind),
    nil)
end

add("#191 packets that are cut at any byte change nothing", [[
  check_nothing(mdns.start(), "truncated")]])

add("#191 packets beyond every limit do no harm", [[
  local scan = mdns.start()
  command("hostile", { kind = "oversized" })
  mdns.mark(scan)
  for _, res in ipairs(scan.found) do
    local name = res.serviceName
    assert(name == "mark" or name:find("^mark") or name == "big"
      or name == "huge", name)
  end]])

add("#191 random bytes change nothing", [[
  check_nothing(mdns.start(), "random_bytes")]])

add("#191 packets that were changed under way do no harm", [[
  local scan = mdns.start()
  command("hostile", { kind = "mutated" })
  mdns.mark(scan)
  for _, res in ipairs(scan.found) do
    same("string", type(res.ip))
    assert(#res.ip > 0 and res.port >= 0 and res.port <= 65535)
    assert(#res.serviceName <= 63)
  end]])

add("#198 an answer from another port is none", [[
  local scan = mdns.start()
  local packet = command("response", { name = "ephemeral" }).packet
  for _, port in ipairs { 0, 5354 } do
    command("send", { packets = { packet }, port = port })
    command("send", { packets = { packet }, port = port, to = "10.77.0.1" })
  end
  mdns.mark(scan)
  same(1, #scan.found)
  command("send", { packets = { packet } })
  mdns.wait_found(scan, "ephemeral")]])

add("#198 an answer from another network is none", [[
  local scan = mdns.start()
  local packet = command("response", { name = "spoofed" }).packet
  command("send", { packets = { packet }, source = "192.0.2.7" })
  command("send", { packets = { packet }, source = "192.0.2.7",
    to = "10.77.0.1" })
  mdns.mark(scan)
  same(1, #scan.found)
  command("send", { packets = { packet }, to = "10.77.0.1" })
  mdns.wait_found(scan, "spoofed")]])

add("#199 nobody can take a service away from another port", [[
  local scan = mdns.start()
  command("add", { name = "one" })
  mdns.wait_found(scan, "one")
  local goodbye = command("response", { name = "one", ttl = 0 }).packet
  command("send", { packets = { goodbye }, port = 0 })
  helper.run_for(800)
  same(0, #scan.lost)]])

add("a flood of services is capped, counted, and does not keep busy", [[
  local scan = mdns.start()
  command("hostile", { kind = "flood", count = 200 }) -- what is kept at all
  helper.run_for(50)
  local before = residue.allocated()
  for i = 1, 4 do
    command("hostile", { kind = "flood", start = i * 2000, count = 2000 })
  end
  helper.run_until(function() return net.stats().refusedServices > 100 end)
  helper.run_for(100)
  assert(#scan.found <= 256, #scan.found)
  assert(#scan.found >= 100, #scan.found)
  local grown = residue.allocated() - before
  assert(residue.SANITIZED or grown < 8192, grown)
  local begun = ticks()
  helper.run_for(500)
  local used = ticks() - begun
  assert(used < 15 * helper.slow, used)
  same(0, #scan.lost)
  -- And what is asked about them stays within bounds.
  local bytes = 0
  for _, query in ipairs(command("queries").queries) do
    bytes = bytes + query.bytes
  end
  assert(bytes < 1e6, bytes)]])

add("a flood while the host does not update is bounded too", [[
  local scan = mdns.start()
  for i = 1, 2 do
    command("hostile", { kind = "flood", start = i * 3000, count = 3000,
      after = 0.1 * i })
    command("hostile", { kind = "flapping", label = "p" .. i, count = 200,
      after = 0.1 * i })
  end
  net.pause()
  helper.run_until(function() return net.stats().refusedServices > 0 end)
  local deadline = helper.now() + 300
  repeat until helper.now() > deadline
  local stats = net.stats()
  assert(stats.queuedBytes < 2 * 1024 * 1024, stats.queuedBytes)
  net.resume()
  helper.run_until(function() return net.stats().queuedEvents == 0 end)
  mdns.stop(scan)]])

add("a service that comes and goes without end does no harm", [[
  local scan = mdns.start()
  command("hostile", { kind = "flapping", count = 500 })
  helper.run_for(800)
  mdns.mark(scan)
  local found = mdns.count(scan, "found", "flap")
  local lost = mdns.count(scan, "lost", "flap")
  assert(found >= 1 and found <= 500 and found - lost <= 1,
    found .. " " .. lost)]])

add("a scan goes on after all of that", [[
  local scan = mdns.start()
  for _, kind in ipairs { "truncated", "looping", "oversized", "lying",
    "strange", "random_bytes", "mutated" } do
    command("hostile", { kind = kind })
    command("hostile", { kind = kind, port = 0 })
  end
  command("add", { name = "good", port = 99 })
  same(99, mdns.wait_found(scan, "good").port)]])

describe("a hostile network:", function()
  test(it)
end)
