-- net.configure: the keys, their values, presets, and what becomes of them.
-- Everything is checked before anything changes. A key that this version
-- cannot honour raises: a host must never believe that a rule holds which does
-- not. Locals instead of globals and fields: see init.lua.

local concat, pairs, type = table.concat, pairs, type

local set_policy = require "nettask.core".setPolicy
local unknown = require "nettask.names".unknown

local config = {}

local MARK_MIN = 65536
local COUNT_MAX = 9007199254740992 -- 2^53

-- ---- Values -----------------------------------------------------------------

-- Each check returns what is wrong with the value, or nothing.
local function a_boolean(value)
  if type(value) ~= "boolean" then return "must be true or false" end
end

local function a_function(value)
  if value ~= false and type(value) ~= "function" then
    return "must be a function, or false for the default"
  end
end

local function a_text(value)
  if value == false then return end
  if type(value) ~= "string" or value == "" or value:find("[%z\1-\31\127]") then
    return "must be a string without control characters, or false for the"
      .. " default"
  end
end

local function a_url(value)
  if value == false then return end
  if a_text(value) or not value:lower():find("^https?://[^/?#]") then
    return "must be an http or https url, or false for none"
  end
end

local function a_count(value)
  if type(value) ~= "number" or not (value >= 0 and value <= COUNT_MAX)
    or value % 1 ~= 0 then
    return "must be a whole number, 0 or more"
  end
end

local function a_mark(value)
  if a_count(value) or value < MARK_MIN then
    return ("must be a whole number, %d or more"):format(MARK_MIN)
  end
end

local function a_time(value)
  if type(value) ~= "number" or not (value > 0 and value <= COUNT_MAX) then
    return "must be a number of milliseconds above 0"
  end
end

local function one_of(...)
  local list = { ... }
  return function(value)
    for i = 1, #list do
      if value == list[i] then return end
    end
    return 'must be one of "' .. concat(list, '", "') .. '"'
  end
end

local function a_list_of_folders(value)
  if value == false then return end
  local fault = "must be a list of folders, or false for no restriction"
  if type(value) ~= "table" then return fault end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  for i = 1, count do
    if not value[i] or a_text(value[i]) then return fault end
  end
end

local function is_port(value)
  return type(value) == "number" and value >= 1 and value <= 65535
    and value % 1 == 0
end

local function is_range(value)
  if type(value) ~= "table" then return is_port(value) end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  return count == 2 and is_port(value[1]) and is_port(value[2])
    and value[1] <= value[2]
end

local function a_list_of_ports(value)
  if value == false then return end
  local fault = "must be a list of ports and { first, last } pairs of them, or"
    .. " false for none"
  if type(value) ~= "table" then return fault end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  for i = 1, count do
    if not is_range(value[i]) then return fault end
  end
end

local LATER = {} -- keys of later versions

local LIMITS = {
  maxRequests = a_count, maxLookups = a_count, redirects = a_count,
  responseMaxBytes = a_count, headerMaxBytes = a_count,
  highWaterBytes = a_mark, contextHighWaterBytes = a_mark,
  downloadMaxBytes = a_count, uploadMaxBytes = a_count, maxSockets = a_count,
  sendQueueBytes = a_count, maxMessageBytes = a_count,
  storeMaxBytes = a_count,
  tcpPerWindow = a_count, tcpForbiddenPorts = a_list_of_ports,
  mdnsScanMs = a_count, maxServices = a_count, backgroundGraceMs = LATER,
}

local TIMEOUTS = {
  request = a_time, download = a_time, upload = a_time, socket = a_time,
  tcp = a_time,
}

local FILE_ROOTS = { read = a_list_of_folders, write = a_list_of_folders }

local KEYS = {
  baseUrl = a_url, caFile = a_text, userAgent = a_text,
  defaultContentType = a_text,
  dialect = one_of("wx", "taro", "ft", "swan", "my"),
  policy = one_of("miniprogram", "open", "strict"),
  socketMode = one_of("multi", "single"),
  limits = LIMITS, timeouts = TIMEOUTS, fileRoots = FILE_ROOTS,
  tempDir = a_text,
  requireSecure = a_boolean, allowUrlPort = a_boolean,
  httpErrorFails = a_boolean, jsonErrorFails = a_boolean,
  urlMaxBytes = a_count, spinMicros = a_count,
  highWaterBytes = a_mark, contextHighWaterBytes = a_mark,
  logger = a_function,
  origin = LATER, domains = LATER, denyPrivateAddresses = LATER,
  allowPrivate = LATER, cacheDir = LATER,
  cacheMaxBytes = LATER, cookieFile = LATER, storeFile = a_text,
  caData = LATER, pins = LATER, proxy = LATER, appid = LATER,
  version = LATER, page = LATER, query = LATER, cellularInterface = LATER,
  wifiInterface = a_text,
}

-- Why the options cannot be applied, or nil.
local function find_fault(options, known, prefix)
  for key, value in pairs(options) do
    local check = known[key]
    if check == nil then
      return unknown("key", key, known, prefix)
    elseif check == LATER then
      return ("%s%s is not supported by this version"):format(prefix, key)
    elseif type(check) == "table" then
      if type(value) ~= "table" then return key .. " must be a table" end
      local fault = find_fault(value, check, key .. ".")
      if fault then return fault end
    else
      local fault = check(value)
      if fault then return ("%s%s %s"):format(prefix, key, fault) end
    end
  end
end

-- ---- Presets ----------------------------------------------------------------

local PRESETS = {
  miniprogram = { maxRequests = 10, downloadMaxBytes = 50 * 1024 * 1024,
    maxSockets = 5 },
  open = { maxRequests = 0, downloadMaxBytes = 0, maxSockets = 0 },
}
local SWAN_UPLOAD = 25 * 1024 * 1024

-- A cap of one dialect, which the preset `open` lifts.
local function apply_upload_cap(values)
  local capped = values.dialect == "swan" and values.policy ~= "open"
  values.uploadMaxBytes = capped and SWAN_UPLOAD or 0
end

local function apply_preset(values, name)
  values.policy = name
  values.maxRequests = PRESETS[name].maxRequests
  values.downloadMaxBytes = PRESETS[name].downloadMaxBytes
  values.maxSockets = PRESETS[name].maxSockets
  -- The core knows them.
  values.tcpPerWindow, values.tcpForbiddenPorts = nil, nil
  values.mdnsScanMs = nil
  values.requireSecure, values.allowUrlPort = false, true
  values.urlMaxBytes = 0
  apply_upload_cap(values)
end

local function apply_dialect(values, name)
  local alipay = name == "my"
  values.dialect = name
  values.defaultContentType = alipay and "application/x-www-form-urlencoded"
    or "application/json"
  local timeout = alipay and 30000 or 60000
  values.requestTimeout, values.downloadTimeout = timeout, timeout
  values.uploadTimeout = timeout
  values.socketTimeout, values.tcpTimeout = 60000, 2000
  values.socketMode = (alipay or name == "swan") and "single" or "multi"
  values.httpErrorFails, values.jsonErrorFails = alipay, alipay
  apply_upload_cap(values)
end

-- ---- Applying ---------------------------------------------------------------

-- The default of a key that was set to false.
local function unset(values, key)
  if key == "defaultContentType" then
    local fresh = {}
    apply_dialect(fresh, values.dialect)
    return fresh.defaultContentType
  end
  return nil
end

-- { first, last, first, last, ... }; of false an empty one.
local function flat_ranges(list)
  local flat = {}
  for i = 1, list and #list or 0 do
    local item = list[i]
    local pair = type(item) == "table"
    flat[2 * i - 1] = pair and item[1] or item
    flat[2 * i] = pair and item[2] or item
  end
  return flat
end

-- A list of the caller's own, which it may change later; nil for false.
local function copy_list(list)
  if not list then return nil end
  local copy = {}
  for i = 1, #list do copy[i] = list[i] end
  return copy
end

local function merge(values, options)
  if options.policy then apply_preset(values, options.policy) end
  if options.dialect then apply_dialect(values, options.dialect) end
  for key, value in pairs(options) do
    local check = KEYS[key]
    if value == false and (check == a_text or check == a_url) then
      values[key] = unset(values, key)
    elseif type(check) ~= "table" and key ~= "policy" and key ~= "dialect"
      and key ~= "logger" then
      values[key] = value
    end
  end
  for key, value in pairs(options.limits or {}) do
    if key == "tcpForbiddenPorts" then value = flat_ranges(value) end
    values[key] = value
  end
  for key, value in pairs(options.timeouts or {}) do
    values[key .. "Timeout"] = value
  end
  for key, value in pairs(options.fileRoots or {}) do
    values[key .. "Roots"] = copy_list(value)
  end
end

local function policy_of(values)
  return {
    open = values.policy == "open",
    requireSecure = values.requireSecure,
    refuseUrlPort = not values.allowUrlPort,
    maxRequests = values.maxRequests,
    maxLookups = values.maxLookups,
    redirects = values.redirects,
    urlMaxBytes = values.urlMaxBytes,
    headerMaxBytes = values.headerMaxBytes,
    responseMaxBytes = values.responseMaxBytes,
    highWaterBytes = values.highWaterBytes,
    contextHighWaterBytes = values.contextHighWaterBytes,
    spinMicros = values.spinMicros,
    userAgent = values.userAgent,
    caFile = values.caFile,
    downloadMaxBytes = values.downloadMaxBytes,
    uploadMaxBytes = values.uploadMaxBytes,
    maxSockets = values.maxSockets,
    tcpPerWindow = values.tcpPerWindow,
    tcpForbiddenPorts = values.tcpForbiddenPorts,
    sendQueueBytes = values.sendQueueBytes,
    maxMessageBytes = values.maxMessageBytes,
    mdnsScanMs = values.mdnsScanMs,
    maxServices = values.maxServices,
    tempDir = values.tempDir,
    storeFile = values.storeFile,
    storeMaxBytes = values.storeMaxBytes,
    readRoots = values.readRoots,
    writeRoots = values.writeRoots,
  }
end

-- The values in force when nothing was configured.
function config.new()
  local values = {}
  apply_preset(values, "miniprogram")
  apply_dialect(values, "wx")
  return values
end

-- Apply options to `values` and to the core. `host` is the capability after
-- seal(). Returns true, or nil and what is wrong; then nothing has changed.
function config.apply(values, options, host)
  local fault = find_fault(options, KEYS, "")
  if not fault and options.policy == "strict" then
    fault = 'policy "strict" is not supported by this version: it needs'
      .. " allow-lists"
  end
  if fault then return nil, fault end
  local changed = {}
  for key, value in pairs(values) do changed[key] = value end
  merge(changed, options)
  if host then
    set_policy(host, policy_of(changed))
  else
    set_policy(policy_of(changed))
  end
  for key in pairs(values) do values[key] = nil end
  for key, value in pairs(changed) do values[key] = value end
  return true
end

return config
