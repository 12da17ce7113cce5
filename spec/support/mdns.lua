-- A scan for local services, and the publishers that mdns.py runs behind the
-- link v0, for scripts of batch.lua with the option `mdns`.
--
--   mdns.command("add", { name = "one", port = 80 })
--   local scan = mdns.start()                  -- of mdns.TYPE
--   mdns.wait_found(scan, "one")
--   mdns.stop(scan)
--   local cleanup = mdns.verify
--
-- A record fills while frames run:
--   found, lost, failed, stops (lists of results), order ("found one",
--   "lost one", "failed one", "stop"), start (what the start called, as of
--   mdns.call()), begun (when)

local helper = require "helper"
local residue = require "support.residue"

local net = helper.net
local url = os.getenv("NETTASK_TEST_MDNS")

local mdns = {}

mdns.TYPE = "_nettask._tcp"

-- A method of Control in mdns.py; returns what it says.
function mdns.command(name, fields)
  local record = helper.fetch({ url = url .. "/" .. name, method = "POST",
    header = { ["content-type"] = "application/json" },
    data = fields or {} }, 25000)
  local res = assert(record.success, record.complete.errMsg)
  if res.statusCode ~= 200 then
    error(tostring(res.data.error or res.statusCode), 2)
  end
  return res.data
end

-- ---- Scans ------------------------------------------------------------------

local KINDS = { Found = "found", Lost = "lost", ResolveFail = "failed",
  DiscoveryStop = "stops" }

local listeners = {}

function mdns.listen()
  local record = { order = {}, begun = helper.now() }
  for event, list in pairs(KINDS) do
    record[list] = {}
    local function listener(res)
      res.at = helper.now() - record.begun
      record[list][#record[list] + 1] = res
      record.order[#record.order + 1] = list == "stops" and "stop"
        or list .. " " .. res.serviceName
    end
    listeners[#listeners + 1] = { event, listener }
    net["onLocalService" .. event](listener)
  end
  return record
end

function mdns.deafen()
  for _, entry in ipairs(listeners) do
    net["offLocalService" .. entry[1]](entry[2])
  end
  listeners = {}
end

-- A record of what a call's functions were given: success, fail, complete,
-- order.
function mdns.call(f, options)
  local record, given = { order = {} }, {}
  for key, value in pairs(options or {}) do given[key] = value end
  for _, name in ipairs { "success", "fail", "complete" } do
    given[name] = function(res)
      assert(record[name] == nil, name .. " ran twice")
      record[name] = res
      record.order[#record.order + 1] = name
    end
  end
  f(given)
  return record
end

function mdns.wait_call(record)
  helper.run_until(function() return record.complete end, 5000, "complete")
  return record
end

-- A call that is refused.
function mdns.refused(f, options, text, errno, code)
  local record = mdns.wait_call(mdns.call(f, options))
  local res = record.fail
  assert(table.concat(record.order, " ") == "fail complete"
    and rawequal(res, record.complete))
  local got = ("%s %s"):format(res.errMsg, tostring(res.errno))
  local want = ("%s %d"):format(text, errno)
  if got ~= want then
    error(("expected %q, got %q"):format(want, got), 2)
  end
  assert(res.errCode == (code or -1), res.errCode)
  return res
end

-- A scan that has been accepted.
function mdns.start(type)
  local record = mdns.listen()
  record.start = mdns.call(net.startLocalServiceDiscovery,
    { serviceType = type or mdns.TYPE })
  mdns.wait_call(record.start)
  assert(record.start.success, record.start.complete.errMsg)
  return record
end

-- Stops the scan and waits for the end.
function mdns.stop(record)
  local stop = mdns.call(net.stopLocalServiceDiscovery)
  mdns.wait_stop(record)
  assert(stop.success, "the stop did not succeed")
  return stop
end

function mdns.wait_stop(record, ms)
  helper.run_until(function() return #record.stops > 0 end, ms, "the stop")
  return record.stops[1]
end

-- The results of that list that are about a service, or about all.
function mdns.of(record, list, name)
  local some = {}
  for _, res in ipairs(record[list]) do
    if not name or res.serviceName == name then some[#some + 1] = res end
  end
  return some
end

local function wait_of(record, list, name, count, ms)
  count = count or 1
  helper.run_until(function()
    return #mdns.of(record, list, name) >= count
  end, ms, ("%s %s of: %s"):format(list, name,
    table.concat(record.order, ", ")))
  return mdns.of(record, list, name)[count]
end

function mdns.wait_found(record, name, count, ms)
  return wait_of(record, "found", name, count, ms)
end

function mdns.wait_lost(record, name, count, ms)
  return wait_of(record, "lost", name, count, ms)
end

function mdns.wait_failed(record, name, count, ms)
  return wait_of(record, "failed", name, count, ms or 8000)
end

-- A service that is announced now is found: what came before has been dealt
-- with.
local marks = 0

function mdns.mark(record)
  marks = marks + 1
  local name = "mark " .. marks
  mdns.command("add", { name = name, host = "marker" })
  mdns.wait_found(record, name)
  mdns.command("remove", { name = name })
end

-- How many times a name was told, in that list.
function mdns.count(record, list, name)
  return #mdns.of(record, list, name)
end

-- ---- Between tests ----------------------------------------------------------

function mdns.defaults()
  residue.defaults()
  net.configure { limits = { maxServices = 256 } }
end

function mdns.verify()
  local ok, err = pcall(function()
    net.resume()
    net.stopLocalServiceDiscovery()
    mdns.deafen()
    helper.verify()
    residue.check_stats()
    mdns.command("clear")
  end)
  if not ok then net.close() end
  mdns.defaults()
  if not ok then error(err, 0) end
end

mdns.defaults()

return mdns
