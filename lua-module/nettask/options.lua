-- The options of request(): which there are, their types, and what is said
-- about those that this version does not know or does not honour.

local core = require "nettask.core"
local errors = require "nettask.errors"
local names = require "nettask.names"

local options = {}

-- Several types are allowed by a table; its text is for the error.
local function any_of(text, ...)
  local allowed = { text = text }
  for i = 1, select("#", ...) do allowed[select(i, ...)] = true end
  return allowed
end

local DATA = any_of("String, Object or ArrayBuffer", "String", "Object",
  "Array", "ArrayBuffer")
local TEXT_OR_FLAG = any_of("String or Boolean", "String", "Boolean")
local TEXT_OR_LIST = any_of("String or Array", "String", "Array")

local TYPES = {
  url = "string", data = DATA, header = "table", headers = "table",
  timeout = "number", timeouts = "table", method = "string",
  dataType = "string", responseType = "string", redirect = "string",
  enableHttp2 = "boolean", enableQuic = "boolean", enableChunked = "boolean",
  enableProfile = "boolean", useHighPerformanceMode = "boolean",
  forceCellularNetwork = "boolean", credentials = "string",
  success = "function", fail = "function", complete = "function",
  -- Known, for later versions.
  enableCache = "boolean", cache = "string", enableHttpDNS = "boolean",
  httpDNSServiceId = "string", httpDNSTimeout = "number",
  enableCookie = "boolean", mode = "string", referrerStrategy = "string",
  signal = any_of("Object", "Object"), jsonp = TEXT_OR_FLAG,
  jsonpCache = TEXT_OR_FLAG, retryTimes = "number", backup = TEXT_OR_LIST,
  dataCheck = "function", useStore = "boolean", storeCheckKey = "string",
  storeSign = "string", storeCheck = "function", failover = "boolean",
  retry = "table", proxy = "string", group = any_of("Object", "Object"),
}

local TIMEOUT_NAMES = { dns = true, connect = true, tls = true,
  firstByte = true, stall = true, total = true }

local TYPE_NAMES = { string = "String", number = "Number",
  boolean = "Boolean", table = "Object", ["function"] = "Function" }

-- Whether a value of an option of a later version would change anything.
local function when_true(value) return value == true end
local function always() return true end
local EFFECTS = {
  enableCache = when_true, enableHttpDNS = when_true, enableCookie = always,
  signal = always, retry = always, proxy = always, group = always,
  storeCheck = always, failover = when_true,
  jsonp = function(value) return value ~= false end,
  cache = function(value) return value ~= "no-store" end,
  credentials = function(value) return value ~= "omit" end,
}

local function fault_of(name, value)
  local want = TYPES[name]
  local got = core.typeName(value)
  if type(want) == "table" then
    return not want[got] and errors.parameter(name, want.text, got)
  end
  return type(value) ~= want and errors.parameter(name, TYPE_NAMES[want], got)
end

-- The first fault by name, so that the message does not depend on the order
-- of pairs().
local function first_fault(given)
  local wrong = {}
  for name, value in pairs(given) do
    if TYPES[name] and fault_of(name, value) then wrong[#wrong + 1] = name end
  end
  table.sort(wrong)
  return wrong[1] and fault_of(wrong[1], given[wrong[1]])
end

local function timeouts_fault(timeouts, log)
  for name, value in pairs(timeouts) do
    if not TIMEOUT_NAMES[name] then
      log.once("warn", "request: "
        .. names.unknown("option", name, TIMEOUT_NAMES, "timeouts."))
    elseif type(value) ~= "number" then
      return errors.parameter("timeouts." .. name, "Number",
        core.typeName(value))
    end
  end
end

local function remark(name, value, log)
  if not TYPES[name] then
    log.once("warn", "request: " .. names.unknown("option", name, TYPES))
  elseif EFFECTS[name](value) then
    log.once("warn", ("request: option %q is ignored by this version")
      :format(name))
  end
end

-- Look over what a script gave: returns the failure to report, or nothing.
-- One pass; what is rare is left to the functions above.
function options.check(given, log)
  if type(given.url) ~= "string" then
    return errors.parameter("url", "String", core.typeName(given.url))
  end
  for name, value in pairs(given) do
    local want = TYPES[name]
    if want ~= type(value) and want ~= nil and fault_of(name, value) then
      return first_fault(given)
    end
    if want == nil or EFFECTS[name] then remark(name, value, log) end
  end
  return given.timeouts and timeouts_fault(given.timeouts, log)
end

return options
