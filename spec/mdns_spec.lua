-- Scans for local services: starting, stopping, what is told, and who listens.
-- The publisher is a scripted one; see mdns_avahi_spec.lua for real ones.

local batch = require "support.batch"

local BEGIN = [[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command, TYPE = mdns.command, mdns.TYPE
  local START, STOP = net.startLocalServiceDiscovery,
    net.stopLocalServiceDiscovery

  local function sorted(list)
    table.sort(list)
    return table.concat(list, " ")
  end

  local function keys(res)
    local names = {}
    for name in pairs(res) do
      if name ~= "at" then names[#names + 1] = name end
    end
    return sorted(names)
  end
]]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

-- ---- Starting ---------------------------------------------------------------

add("#191 starts, and success comes in a later update", [[
  local ran = false
  START { serviceType = TYPE, success = function(res)
    ran = true
    same("startLocalServiceDiscovery:ok", res.errMsg)
  end }
  assert(not ran)
  net.run(0)
  helper.run_until(function() return ran end)]])

add("#191 success and complete get the same table", [[
  local scan = mdns.start()
  same("success complete", table.concat(scan.start.order, " "))
  assert(rawequal(scan.start.success, scan.start.complete))
  same("errMsg", keys(scan.start.success))]])

add("#191 needs none of the callbacks", [[
  local scan = mdns.listen()
  command("add", { name = "one" })
  START { serviceType = TYPE }
  mdns.wait_found(scan, "one")]])

add("#191 takes the type with a dot or .local, and in any case", [[
  command("add", { name = "one" })
  for _, name in ipairs { TYPE, TYPE .. ".", TYPE .. ".local",
    TYPE .. ".local.", "_NetTask._TCP" } do
    local scan = mdns.start(name)
    local res = mdns.wait_found(scan, "one")
    same(TYPE, res.serviceType:lower())
    mdns.stop(scan)
    mdns.deafen()
  end]])

add("#191 asks for nothing before it starts", [[
  command("queries", { clear = true })
  mdns.refused(START, { serviceType = "" },
    "startLocalServiceDiscovery:fail invalid param", 1001)
  helper.run_for(100)
  same(0, #command("queries").queries)
  mdns.start()
  helper.run_until(function() return #command("queries").queries > 0 end)]])

add("#192 what is no type is an invalid param", [[
  local long = "_" .. ("x"):rep(80) .. "._tcp"
  for _, wrong in ipairs { "", 5, true, {}, print, "http", "_http", "_tcp",
    "_http._", "_http._xyz", "http._tcp", "_http._tcp.example", "_._tcp",
    "_http.._tcp", ".", long, "_ht\0tp._tcp", "._http._tcp", net.null } do
    mdns.refused(START, { serviceType = wrong },
      "startLocalServiceDiscovery:fail invalid param", 1001)
  end
  mdns.refused(START, {}, "startLocalServiceDiscovery:fail invalid param",
    1001)]])

add("#192 what is no table raises", [[
  for _, f in ipairs { START, STOP } do
    for _, wrong in ipairs { 5, "x", true, print } do
      local ok, err = pcall(f, wrong)
      assert(not ok and err:find("table expected", 1, true), err)
    end
  end
  local ok, err = pcall(START)
  assert(not ok and err:find("table expected, got nil", 1, true), err)]])

add("#192 a callback of another type is a parameter error", [[
  for f, name in pairs { [START] = TYPE, [STOP] = false } do
    local res
    f { serviceType = name or nil, success = 5,
      fail = function(r) res = r end }
    helper.run_until(function() return res end)
    same(1001, res.errno)
    assert(res.errMsg:find("parameter error: parameter.success", 1, true))
  end
  mdns.refused(STOP, nil, "stopLocalServiceDiscovery:fail task not found",
    600004)]])

add("#192 options that are unknown are remarked", [[
  local lines, restore = residue.log()
  START { serviceTyp = "x", serviceType = TYPE }
  STOP { serviceNam = TYPE }
  restore()
  local text = table.concat(lines, "\n")
  assert(text:find('unknown option "serviceTyp".*"serviceType"'), text)
  assert(text:find('stopLocalServiceDiscovery: unknown', 1, true), text)]])

add("#192 a failure that nobody handles is logged", [[
  local lines, restore = residue.log()
  START { serviceType = "" }
  restore()
  same(1, #lines)
  assert(lines[1]:find("^warn: startLocalServiceDiscovery failed"), lines[1])
]])

add("#193 a second scan is refused, and the first goes on", [[
  local scan = mdns.start()
  for _ = 1, 2 do
    mdns.refused(START, { serviceType = "_other._tcp" },
      "startLocalServiceDiscovery:fail scan task already exist", 600004)
  end
  command("add", { name = "one" })
  mdns.wait_found(scan, "one")]])

add("#193 so it is before the first has begun", [[
  local first = mdns.call(START, { serviceType = TYPE })
  local second = mdns.call(START, { serviceType = TYPE })
  mdns.wait_call(first)
  mdns.wait_call(second)
  assert(first.success and second.fail)]])

-- ---- Stopping ---------------------------------------------------------------

add("#194 #201 stops by itself when its time is over", [[
  net.configure { limits = { mdnsScanMs = 300 } }
  local scan = mdns.start()
  local res = mdns.wait_stop(scan)
  same("onLocalServiceDiscoveryStop:ok", res.errMsg)
  same("errMsg", keys(res))
  assert(res.at >= 290 and res.at < 1500 * helper.slow, res.at)
  command("add", { name = "one" })
  helper.run_for(150)
  same("stop", table.concat(scan.order, " "))]])

add("#194 a scan keeps the time that it began with", [[
  local scan = mdns.start()
  net.configure { limits = { mdnsScanMs = 50 } }
  helper.run_for(200)
  same(0, #scan.stops)
  mdns.stop(scan)
  mdns.deafen()
  mdns.wait_stop(mdns.start())]])

add("#194 0 is no limit, which is what policy open has", [[
  net.configure { limits = { mdnsScanMs = 0 } }
  local scan = mdns.start()
  helper.run_for(100)
  same(0, #scan.stops)
  mdns.stop(scan)
  mdns.deafen()
  net.configure { policy = "open" }
  scan = mdns.start()
  helper.run_for(100)
  same(0, #scan.stops)]])

add("#195 may begin anew after the stop", [[
  command("add", { name = "one" })
  for i = 1, 3 do
    local scan = mdns.start()
    mdns.wait_found(scan, "one")
    if i == 1 then
      mdns.stop(scan)
    else
      STOP()
    end
    mdns.deafen()
  end]])

add("#195 may begin anew after its time, and inside of the stop", [[
  net.configure { limits = { mdnsScanMs = 100 } }
  mdns.wait_stop(mdns.start())
  mdns.deafen()
  local scan = mdns.listen()
  local again
  local function restart()
    if not again then
      again = mdns.call(START, { serviceType = TYPE })
    end
  end
  net.onLocalServiceDiscoveryStop(restart)
  START { serviceType = TYPE }
  helper.run_until(function() return #scan.stops == 2 end)
  net.offLocalServiceDiscoveryStop(restart)
  assert(again.success)]])

add("#196 #201 stops, and tells in order", [[
  local scan = mdns.start()
  local order = scan.order
  STOP {
    success = function(res)
      same("stopLocalServiceDiscovery:ok", res.errMsg)
      order[#order + 1] = "success"
    end,
    complete = function() order[#order + 1] = "complete" end,
    fail = function() order[#order + 1] = "fail" end,
  }
  same(0, #order)
  mdns.wait_stop(scan)
  helper.run_for(50)
  same("success complete stop", table.concat(order, " "))
  same("onLocalServiceDiscoveryStop:ok", scan.stops[1].errMsg)]])

add("#196 needs no options", [[
  local scan = mdns.start()
  STOP()
  mdns.wait_stop(scan)
  mdns.start()
  STOP {}]])

add("#196 nothing is found after the stop", [[
  local scan = mdns.listen()
  command("add", { name = "one" })
  net.pause()
  START { serviceType = TYPE }
  -- Success waits, and the service.
  helper.run_until(function() return net.stats().queuedEvents > 0 end)
  helper.run_for(200)
  STOP()
  net.resume()
  mdns.wait_stop(scan)
  same("stop", table.concat(scan.order, " "))]])

add("#197 there is nothing to stop", [[
  local function check()
    mdns.refused(STOP, nil, "stopLocalServiceDiscovery:fail task not found",
      600004)
  end
  check()
  local scan = mdns.start()
  mdns.stop(scan)
  check()
  STOP()
  STOP { complete = function() end }
  net.configure { limits = { mdnsScanMs = 50 } }
  mdns.deafen()
  mdns.wait_stop(mdns.start())
  check()
  START { serviceType = TYPE }
  STOP()
  check()]])

-- ---- Services ---------------------------------------------------------------

add("#198 a service has its fields", [[
  command("add", { name = "one", port = 4321, host = "box",
    txt = { "a=1", "flag", "empty=", "equals=b=c", "a=2", "=none", "" },
    ips = { "10.77.0.2" } })
  local res = mdns.wait_found(mdns.start(), "one")
  same("hostName ip ips port serviceName serviceType txt", keys(res))
  same("10.77.0.2", res.ip)
  same(4321, res.port)
  same("one", res.serviceName)
  same(TYPE, res.serviceType)
  same("box.local", res.hostName)
  same("10.77.0.2", table.concat(res.ips, " "))
  same("a empty equals flag", keys(res.txt))
  same("1", res.txt.a)
  same(true, res.txt.flag)
  same("", res.txt.empty)
  same("b=c", res.txt.equals)]])

add("#198 a service without text has an empty txt", [[
  command("add", { name = "one" })
  local res = mdns.wait_found(mdns.start(), "one")
  same("table", type(res.txt))
  same(nil, next(res.txt))]])

add("#198 names keep their spaces, dots and letters", [[
  local names = { "Ann's game", "v1.2 (beta)", "Grüße", "日本 🎮", "a\\b",
    ("x"):rep(63), "_nettask._tcp.local", "\\046", " " }
  local scan = mdns.listen()
  for i, name in ipairs(names) do
    command("add", { name = name, port = i })
  end
  START { serviceType = TYPE }
  for i, name in ipairs(names) do
    same(i, mdns.wait_found(scan, name).port)
  end
  same(#names, #scan.found)]])

add("#198 names are the same in any case", [[
  local scan = mdns.start()
  command("add", { name = "Game", host = "Box", port = 1 })
  mdns.wait_found(scan, "Game")
  command("add", { name = "GAME", host = "BOX", port = 1 })
  mdns.mark(scan)
  same(0, mdns.count(scan, "found", "GAME"))
  same(1, mdns.count(scan, "found", "Game"))]])

add("#198 addresses are all there, IPv4 first", [[
  command("add", { name = "many", ips = { "fd00:77::2", "10.77.0.2",
    "10.77.0.3" } })
  local scan = mdns.start()
  mdns.wait_found(scan, "many")
  -- They may come one by one.
  local res = scan.found[#scan.found]
  same("10.77.0.", res.ip:sub(1, 8))
  same(res.ip, res.ips[1])
  same("10.77.0.2 10.77.0.3 fd00:77::2", sorted(res.ips))
  mdns.mark(scan)
  same(1, mdns.count(scan, "found", "many"))]])

add("#198 one that has IPv6 alone is found", [[
  command("add", { name = "six", ips = { "fd00:77::2" } })
  local res = mdns.wait_found(mdns.start(), "six")
  same("fd00:77::2", res.ip)
  same("fd00:77::2", table.concat(res.ips, " "))]])

add("#198 a link-local address has its zone", [[
  command("add", { name = "near", ips = { "fe80::77" } })
  same("fe80::77%v0", mdns.wait_found(mdns.start(), "near").ip)]])

add("#198 is asked for what was not told", [[
  command("add", { name = "sparse", port = 7, txt = { "k=v" }, sparse = true })
  local res = mdns.wait_found(mdns.start(), "sparse")
  same(7, res.port)
  same("v", res.txt.k)
  same("10.77.0.2", res.ip)]])

add("#198 one that comes during the scan is found", [[
  local scan = mdns.start()
  helper.run_for(50)
  command("add", { name = "later" })
  mdns.wait_found(scan, "later", 1, 900)]])

add("#198 services of other types are not told", [[
  local scan = mdns.start()
  command("add", { name = "other", type = "_other._tcp" })
  command("add", { name = "udp", type = "_nettask._udp" })
  mdns.mark(scan)
  same(1, #scan.found)]])

-- ---- Listeners --------------------------------------------------------------

local EVENTS = { { 202, "Found" }, { 203, "Lost" }, { 204, "ResolveFail" },
  { 205, "DiscoveryStop" } }

for _, entry in ipairs(EVENTS) do
  add(("#%d listeners of %s come and go"):format(entry[1], entry[2]), ([[
    local on, off = net["onLocalServiceNAME"], net["offLocalServiceNAME"]
    for _, f in ipairs { on, off } do
      for _, wrong in ipairs { 5, "x", {}, true } do
        assert(not pcall(f, wrong))
      end
    end
    assert(not pcall(on))
    off()
    off(print)
    on(print)
    on(print)
    off(print)
    off(print)]]):gsub("NAME", entry[2]), nil)
end

add("#202 listeners are called in order, each once", [[
  local order = {}
  local function note(text)
    return function() order[#order + 1] = text end
  end
  local first, second, third = note "1", note "2", note "3"
  net.onLocalServiceFound(first)
  net.onLocalServiceFound(second)
  net.onLocalServiceFound(first)
  net.onLocalServiceFound(third)
  net.offLocalServiceFound(second)
  command("add", { name = "one" })
  START { serviceType = TYPE }
  helper.run_until(function() return #order > 0 end)
  same("1 3", table.concat(order, " "))
  net.offLocalServiceFound()
  STOP()
  local scan = mdns.start()
  mdns.wait_found(scan, "one")
  same("1 3", table.concat(order, " "))]])

add("#202 #205 one may take others away inside of a call", [[
  local order = {}
  local function never() order[#order + 1] = "never" end
  local function late() order[#order + 1] = "late" end
  local function first()
    order[#order + 1] = "first"
    net.offLocalServiceFound(never)
    net.onLocalServiceFound(late)
  end
  net.onLocalServiceFound(first)
  net.onLocalServiceFound(never)
  local scan = mdns.start()
  command("add", { name = "one" })
  mdns.wait_found(scan, "one")
  same("first", table.concat(order, " "))
  command("add", { name = "two" })
  mdns.wait_found(scan, "two")
  same("first first late", table.concat(order, " "))
  net.offLocalServiceFound()]])

add("#202 #203 #205 listeners outlive a scan and net.close()", [[
  command("add", { name = "one" })
  local scan = mdns.listen()
  START { serviceType = TYPE }
  mdns.wait_found(scan, "one", 1)
  STOP()
  START { serviceType = TYPE }
  mdns.wait_found(scan, "one", 2)
  net.close()
  START { serviceType = TYPE }
  mdns.wait_found(scan, "one", 3)]])

-- ---- Callbacks that do much -------------------------------------------------

add("#196 a stop inside of found is the last that is told", [[
  local scan = mdns.listen()
  local stop
  local function first()
    stop = stop or mdns.call(STOP)
  end
  mdns.deafen()
  net.onLocalServiceFound(first)
  scan = mdns.listen()
  for i = 1, 5 do command("add", { name = "s" .. i }) end
  START { serviceType = TYPE }
  mdns.wait_stop(scan)
  net.offLocalServiceFound(first)
  assert(stop.success)
  same("stop", table.concat(scan.order, " "))]])

add("#193 #195 stop and start inside of found", [[
  local seen, refused, again = 0, nil, nil
  local function listener()
    seen = seen + 1
    if seen > 1 then return end
    refused = mdns.call(START, { serviceType = TYPE })
    STOP()
    again = mdns.call(START, { serviceType = TYPE })
  end
  net.onLocalServiceFound(listener)
  local scan = mdns.listen()
  command("add", { name = "one" })
  START { serviceType = TYPE }
  helper.run_until(function() return seen == 2 end)
  net.offLocalServiceFound(listener)
  same("scan task already exist", refused.fail.errMsg:match("fail (.*)"))
  assert(again.success)
  same(1, #scan.stops)]])

add("net.close() inside of each callback is the end", [[
  command("add", { name = "one" })
  for _, event in ipairs { "Found", "DiscoveryStop" } do
    local closed = false
    local function close()
      closed = true
      net.close()
    end
    net["onLocalService" .. event](close)
    local scan = mdns.listen()
    net.configure { limits = { mdnsScanMs = 300 } }
    START { serviceType = TYPE }
    helper.run_until(function() return closed end)
    helper.run_for(30)
    same(0, #scan.stops)
    net["offLocalService" .. event](close)
    mdns.deafen()
  end
  for _, name in ipairs { "success", "complete" } do
    local closed = false
    local scan = mdns.start()
    STOP { [name] = function() closed = true net.close() end }
    helper.run_until(function() return closed end)
    helper.run_for(30)
    same(0, #scan.stops)
    mdns.deafen()
  end]])

add("an error in a callback goes to onError, and the scan goes on", [[
  local what
  net.onError(function(_, _, name) what = name end)
  local function raise() error("no") end
  net.onLocalServiceFound(raise)
  local scan = mdns.start()
  command("add", { name = "one" })
  mdns.wait_found(scan, "one")
  assert(what:find("^LocalServiceDiscovery #%d+ onLocalServiceFound$"), what)
  net.offLocalServiceFound(raise)
  helper.catch_errors()
  net.onLocalServiceDiscoveryStop(raise)
  net.onError(function(_, _, name) what = name end)
  mdns.stop(scan)
  net.offLocalServiceDiscoveryStop(raise)
  helper.catch_errors()
  assert(what:find("onLocalServiceDiscoveryStop$"), what)]])

add("callbacks may be called on a coroutine's update", [[
  command("add", { name = "one" })
  local scan = mdns.listen()
  coroutine.wrap(function() START { serviceType = TYPE } end)()
  local ended = false
  coroutine.wrap(function()
    mdns.wait_found(scan, "one")
    ended = true
  end)()
  assert(ended)]])

-- ---- The host ---------------------------------------------------------------

add("net.run waits for a scan, and net.stats counts it", [[
  net.configure { limits = { mdnsScanMs = 200 } }
  START { serviceType = TYPE }
  same(false, net.run(20))
  local stats = net.stats()
  same(1, stats.mdns.open + stats.mdns.connecting + stats.mdns.queued)
  same(1, stats.live)
  same(true, net.run(5000 * helper.slow))
  stats = net.stats()
  same(0, stats.live)
  for _, count in pairs(stats.mdns) do same(0, count) end
  same(true, net.features.mdns)]])

add("services are told within the budget, one by one", [[
  for i = 1, 6 do command("add", { name = "s" .. i }) end
  local scan = mdns.listen()
  net.pause()
  START { serviceType = TYPE }
  helper.run_until(function() return net.stats().queuedEvents >= 6 end)
  net.resume()
  local deadline = helper.now() + 5000 * helper.slow
  while #scan.found < 6 do
    local before = #scan.found
    net.update(nil, 1)
    assert(#scan.found - before <= 1 and helper.now() < deadline)
  end]])

add("limits are checked", [[
  for _, name in ipairs { "mdnsScanMs", "maxServices" } do
    for _, wrong in ipairs { -1, 1.5, "5", false } do
      local ok, err = pcall(net.configure, { limits = { [name] = wrong } })
      assert(not ok and err:find("limits." .. name, 1, true), err)
    end
  end]])

add("the seal does not stop scans", [[
  local result = helper.lua("local helper = require 'helper'\n"
    .. "local mdns = require 'support.mdns'\n"
    .. "local host = helper.net.seal()\n"
    .. "local scan = mdns.start()\n"
    .. "mdns.stop(scan)\n"
    .. "print(pcall(helper.net.configure, { limits = { mdnsScanMs = 1 } }))\n"
    .. "host.configure { limits = { mdnsScanMs = 1 } }\n"
    .. "mdns.deafen()\n"
    .. "mdns.wait_stop(mdns.start())")
  same("", result.err)
  assert(result.out:find("^false"), result.out)
  same(0, result.status)]])

add("in dialect my a failure has Alipay's fields", [[
  net.configure { dialect = "my" }
  local res = mdns.refused(START, { serviceType = "" },
    "startLocalServiceDiscovery:fail invalid param", 1001)
  same(2, res.error)
  same("invalid param", res.errorMessage)]])

describe("local services:", function()
  test(it)
end)
