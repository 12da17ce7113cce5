-- What takes time in a scan for local services: when it asks, what expires, and
-- what cannot be resolved. All of it happens in one scan of some seconds.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command = mdns.command
  local SLACK = 700 * helper.slow

  local scan, queries
  local unwanted = {} -- events that a listener was told after it had gone

  local function come_and_go(event)
    local function listener() unwanted[#unwanted + 1] = event end
    net["onLocalService" .. event](listener)
    net["offLocalService" .. event](listener)
  end

  -- "short" is gone without a goodbye, "kept" lives as short a time but is
  -- there to be asked, "mute" and "nowhere" never say where they are, "late"
  -- says it when it is too late.
  local function watch()
    command("queries", { clear = true })
    for name, fields in pairs {
      long = {}, short = { ttl = 4 }, kept = { ttl = 4 },
      mute = { mute = { "SRV" } }, nowhere = { mute = { "A" } },
      late = { mute = { "SRV" } },
    } do
      fields.name, fields.host = name, name
      command("add", fields)
    end
    for _, event in ipairs { "Found", "Lost", "ResolveFail",
      "DiscoveryStop" } do
      come_and_go(event)
    end
    scan = mdns.start()
    mdns.wait_found(scan, "long")
    mdns.wait_found(scan, "short")
    mdns.wait_found(scan, "kept")
    command("remove", { name = "short" })
    mdns.wait_failed(scan, "late")
    command("add", { name = "late", host = "late" })
    mdns.wait_found(scan, "late")
    mdns.wait_failed(scan, "mute")
    mdns.wait_failed(scan, "nowhere")
    mdns.wait_lost(scan, "short", 1, 7000)
    helper.run_until(function()
      return helper.now() - scan.begun > 6500
    end, 9000)
    mdns.stop(scan)
    queries = command("queries").queries
  end
  watch()

  local function asked(query, kind, name)
    for _, question in ipairs(query.questions) do
      if question.type == kind and question.name:find(name, 1, true) then
        return question
      end
    end
  end

  -- The queries for the type over one family.
  local function browsing()
    local list = {}
    for _, query in ipairs(queries) do
      if query.family == 4 and asked(query, "PTR", "_nettask._tcp.local")
        and not query.truncated then
        list[#list + 1] = query
      end
    end
    return list
  end
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

add("#199 a service that is silent is lost when its time is over", [[
  local found = mdns.of(scan, "found", "short")
  local lost = mdns.of(scan, "lost", "short")
  same(1, #found)
  same(1, #lost)
  local lived = lost[1].at - found[1].at
  -- It was announced a little before the scan began, and TTLs are whole.
  assert(lived > 3000 and lived < 4000 + SLACK, lived)]])

add("#199 a service with a short life that is there is asked, and kept", [[
  same(1, mdns.count(scan, "found", "kept"))
  same(0, mdns.count(scan, "lost", "kept"))
  local again = 0
  for _, query in ipairs(queries) do
    if asked(query, "SRV", "kept") or asked(query, "A", "kept")
      or asked(query, "PTR", "_nettask._tcp.local") then
      again = again + 1
    end
  end
  assert(again >= 2, again)]])

add("#199 a service with a long life is kept", [[
  same(1, mdns.count(scan, "found", "long"))
  same(0, mdns.count(scan, "lost", "long"))]])

add("#200 a service without an address is told after five seconds", [[
  for _, name in ipairs { "mute", "nowhere" } do
    local failed = mdns.of(scan, "failed", name)
    same(1, #failed)
    local res = failed[1]
    assert(res.at > 4800 and res.at < 5200 + SLACK, res.at)
    same(name, res.serviceName)
    same("_nettask._tcp", res.serviceType)
    same(606101, res.errno)
    same(-1, res.errCode)
    assert(res.errMsg:find("^onLocalServiceResolveFail:fail mdns resolve"
      .. " system error:%-?%d+$"), res.errMsg)
    same(0, mdns.count(scan, "found", name))
    same(0, mdns.count(scan, "lost", name))
  end]])

add("#200 and may be found later all the same", [[
  same(1, mdns.count(scan, "failed", "late"))
  same(1, mdns.count(scan, "found", "late"))]])

add("#198 the first query wants a unicast answer, the later ones do not", [[
  local list = browsing()
  assert(#list >= 3, #list)
  assert(asked(list[1], "PTR", "_nettask._tcp.local").unicast)
  for i = 2, #list do
    assert(not asked(list[i], "PTR", "_nettask._tcp.local").unicast, i)
  end
  for _, query in ipairs(queries) do same(5353, query.port) end]])

add("#198 queries become rarer", [[
  local list = browsing()
  assert(list[2].ms - list[1].ms > 900, list[2].ms - list[1].ms)
  assert(list[3].ms - list[2].ms > 1900, list[3].ms - list[2].ms)
  -- Then those that live for 4 s are asked for again, at most four times.
  assert(#list <= 12, #list)]])

add("#198 a query names what is known", [[
  local list = browsing()
  local known = {}
  for _, answer in ipairs(list[2].known) do known[answer.name] = answer.ttl end
  local ttl = known["long._nettask._tcp.local"]
  assert(ttl and ttl <= 120 and ttl >= 60, tostring(ttl))
  same(0, #list[1].known)]])

add("#198 asks over IPv6 as well", [[
  local six = 0
  for _, query in ipairs(queries) do
    if query.family == 6 then six = six + 1 end
  end
  assert(six >= 2, six)]])

add("#202 #203 #204 #205 a listener that has gone is told nothing", [[
  assert(#scan.found > 0 and #scan.lost > 0 and #scan.failed > 0
    and #scan.stops > 0)
  same("", table.concat(unwanted, " "))]])

describe("local services in time:", function()
  test(it)
end)
