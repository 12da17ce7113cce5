-- startLocalServiceDiscovery() and stopLocalServiceDiscovery(). What a scan
-- finds is told by the core's lmdns.c; here is what the two are told that are
-- refused, and how failures are worded.

local error, setmetatable, type = error, setmetatable, type

local core = require "nettask.core"
local errors = require "nettask.errors"
local exchange = require "nettask.exchange"
local options = require "nettask.options"

local E = core.errors
-- What the settings and the logger are given to: see init.lua.
local check_scan, refuse = options.scan, exchange.refuse
local START, STOP = "startLocalServiceDiscovery", "stopLocalServiceDiscovery"
local NOTHING = {}

local mdns = {}

-- What listeners are told of failures, see exchange.finisher().
mdns.ended = { name = "onLocalServiceDiscoveryStop", method = true }
mdns.resolve = {
  name = "onLocalServiceResolveFail", method = true,
  codes = setmetatable({}, {
    __index = function(_, code) return errors.resolve(code) end,
  }),
}

local function check_table(given, name)
  if type(given) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(
      name, type(given)), 3)
  end
end

-- Begins a scan; returns a failure, or nothing.
local function begin(service_type)
  if type(service_type) ~= "string" or service_type == "" then
    return errors.PARAM
  end
  local code = core.mdnsStart(service_type)
  if code == E.INVALID then return errors.PARAM end
  if code == E.STATE then return errors.SCANNING end
  if code ~= 0 then return errors.of_code(code) end
end

-- The two functions over the settings and the logger of one module table.
function mdns.new(settings, log)
  local self = {}

  function self.startLocalServiceDiscovery(given)
    check_table(given, START)
    local fault = check_scan(START, given, log) or begin(given.serviceType)
    if fault then
      return refuse(START, given, fault, settings, log, "warn")
    end
    exchange.accept(START, given)
  end

  -- The last event of the scan calls success, so that it comes before the
  -- listeners hear of the stop.
  function self.stopLocalServiceDiscovery(given)
    if given == nil then given = NOTHING end
    check_table(given, STOP)
    local fault = check_scan(STOP, given, log)
    if not fault and not core.mdnsStop(given.success, given.complete) then
      fault = errors.NO_SCAN
    end
    if fault then
      refuse(STOP, given, fault, settings, log,
        fault == errors.NO_SCAN and "debug" or "warn")
    end
  end

  return self
end

return mdns
