-- How a Lua state and a process end while a scan for local services is in any
-- state, what net.close() leaves of one, and where multicast cannot go.

local batch = require "support.batch"
local inside = require "support.inside"

local BEGIN = [=[
  local mdns = require "support.mdns"
  local cleanup = mdns.verify
  local command = mdns.command
  local START, STOP = net.startLocalServiceDiscovery,
    net.stopLocalServiceDiscovery
  local OPTIONS = { serviceType = mdns.TYPE }

  -- Whatever a child writes after "ending" came from a callback or from an
  -- error message.
  local PRELUDE = [[
    local state = ...
    local helper = require "helper"
    local mdns = require "support.mdns"
    local net = helper.net
    local ending = false
    local function late() if ending then print "a late callback" end end
    local function enter()
      for _, event in ipairs { "Found", "Lost", "ResolveFail",
        "DiscoveryStop" } do
        net["onLocalService" .. event](late)
      end
      local options = { serviceType = mdns.TYPE, success = late,
        complete = late, fail = late }
      local stop = { success = late, complete = late, fail = late }
      if state == "started" then
        net.startLocalServiceDiscovery(options)
      elseif state == "held" then
        net.pause()
        net.startLocalServiceDiscovery(options)
        helper.run_until(function()
          return net.stats().queuedEvents >= 2
        end)
      elseif state == "stopped" then
        mdns.wait_found(mdns.start(), "one")
        net.stopLocalServiceDiscovery(stop)
        net.startLocalServiceDiscovery(options)
      end
      io.stdout:write "ending\n"
      io.stdout:flush()
      ending = true
    end
  ]]

  local function child(status, script, state)
    command("add", { name = "one" })
    local begun = helper.now()
    local result = helper.lua(PRELUDE .. script, state)
    local took = helper.now() - begun
    same("", result.err)
    same("ending\n", result.out)
    same(status, result.status)
    assert(took < 3000 * helper.slow, took)
  end
]=]

local add, test = batch("closed", { begin = BEGIN, mdns = true })

for _, state in ipairs { "started", "held", "stopped" } do
  add(("ends with the script while it is %s"):format(state),
    ([[child(0, "enter()", "%s")]]):format(state))
  add(("ends by os.exit while it is %s"):format(state),
    ([[child(7, "enter() os.exit(7)", "%s")]]):format(state))
  add(("ends by net.close while it is %s"):format(state), ([[
    child(0, "enter() net.close() net.close() net.run(30)", "%s")
  ]]):format(state))
end

add("leaves nothing after many", [[
  command("add", { name = "one" })
  local scan = mdns.start()
  mdns.wait_found(scan, "one")
  mdns.stop(scan)
  mdns.deafen()
  local mark = residue.mark()
  local threads = residue.threads()
  for i = 1, 60 do
    START(OPTIONS)
    if i % 3 == 0 then helper.run_for(5) end
    if i % 20 == 0 then net.close() else STOP() end
  end
  residue.warm_up() -- the last context, too
  residue.check(mark)
  assert(residue.threads(threads) <= threads)]])

add("keeps the descriptors of one scan while there is one", [[
  residue.close()
  local mark = residue.mark()
  local scan = mdns.start()
  helper.run_until(function() return residue.descriptors() > mark end)
  mdns.stop(scan)
  mdns.deafen()
  residue.check(mark)]])

add("ends with a failure where the system has no socket for it", [[
  local result = helper.lua("local helper = require 'helper'\n"
    .. "local mdns = require 'support.mdns'\n"
    .. "helper.ask(helper.servers.fault.http .. '/')\n"
    .. "require('support.residue').warm_up()\n"
    .. "os.execute('prlimit --nofile=5: --pid $PPID')\n"
    .. "local res = mdns.wait_stop(mdns.start())\n"
    .. "print(res.errMsg, res.errno, res.errCode)\n"
    .. "os.execute('prlimit --nofile=100: --pid $PPID')\n"
    .. "mdns.deafen()\n"
    .. "mdns.stop(mdns.start())")
  same("", result.err)
  local text = "^onLocalServiceDiscoveryStop:fail no socket.*600006\t%-1"
  assert(result.out:find(text), result.out)
  same(0, result.status)]])

add("is aborted at once, often, and in any order", [[
  command("add", { name = "one" })
  local ended = 0
  local function count() ended = ended + 1 end
  net.onLocalServiceDiscoveryStop(count)
  local stopped = 0
  for i = 1, 100 do
    START { serviceType = i % 2 == 0 and mdns.TYPE or "_other._udp" }
    STOP { success = function() stopped = stopped + 1 end }
    if i % 7 == 0 then net.update() end
  end
  helper.run_until(function() return ended == 100 end)
  same(100, stopped)
  net.offLocalServiceDiscoveryStop(count)]])

add("is the only one, whatever a finaliser starts", [[
  local collector = require "support.collector"
  local armed, garbage = false, nil
  local function heard() end
  local function begin()
    garbage() -- for the next collection
    if not armed then return end
    armed = false
    START { serviceType = mdns.TYPE, complete = heard }
  end
  function garbage()
    if not newproxy then return setmetatable({}, { __gc = begin }) end
    getmetatable(newproxy(true)).__gc = begin
  end
  -- The type is read right before the scan begins.
  local given = setmetatable({ complete = heard }, { __index = function(_, key)
    if key == "serviceType" then
      armed = true
      return mdns.TYPE
    end
  end })
  collector.relentless()
  garbage()
  for _ = 1, 150 do
    START(given)
    armed = false
    STOP { complete = heard }
    helper.run_until(function() return net.stats().live == 0 end)
  end
  function garbage() end
  collector.restore()]])

add("does not mind update, run and wait inside of a callback", [[
  command("add", { name = "one" })
  local errors = {}
  local function listener()
    errors[1] = select(2, pcall(net.update))
    errors[2] = select(2, pcall(net.run, 5))
    net.wait(0)
    collectgarbage()
  end
  net.onLocalServiceFound(listener)
  local scan = mdns.start()
  mdns.wait_found(scan, "one")
  net.offLocalServiceFound(listener)
  assert(errors[1]:find("update() called inside", 1, true), errors[1])
  assert(errors[2]:find("run() called inside", 1, true), errors[2])]])

add("goes beside requests and sockets", [[
  command("add", { name = "one" })
  local scan = mdns.listen()
  local records = {}
  for i = 1, 10 do records[i] = helper.start { url = fault.http .. "/" } end
  START(OPTIONS)
  local socket = assert(net.createUDPSocket())
  local heard = 0
  socket:onMessage(function() heard = heard + 1 end)
  socket:send { address = "127.0.0.1", port = fault.udp, message = "echo x" }
  mdns.wait_found(scan, "one")
  for _, record in ipairs(records) do
    assert(helper.finish(record).success)
  end
  helper.run_until(function() return heard == 1 end)
  socket:close()]])

describe("a scan for local services", function()
  test(it)

  it("where there is no network finds nothing, and ends as ever", function()
    inside("closed", [[
      local mdns = require "support.mdns"
      net.configure { limits = { mdnsScanMs = 300 } }
      local scan = mdns.start()
      same("onLocalServiceDiscoveryStop:ok", mdns.wait_stop(scan).errMsg)
      same("stop", table.concat(scan.order, " "))]])
  end)

  it("sees a link that was there later", function()
    inside("closed", [[
      local mdns = require "support.mdns"
      os.execute("ip link set v0 down")
      local scan = mdns.start()
      helper.run_for(100)
      os.execute("ip link set v0 up")
      mdns.command("add", { name = "one" })
      mdns.wait_found(scan, "one", 1, 6000)
      mdns.verify()]], nil, { mdns = true })
  end)
end)
