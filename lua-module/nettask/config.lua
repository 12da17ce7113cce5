-- net.configure: the keys, their values, presets, and what becomes of them.
-- Everything is checked before anything changes, and an unknown key raises: a
-- host must never believe that a rule holds which does not. Locals instead of
-- globals and fields: see init.lua.

local getmetatable, pairs = getmetatable, pairs
local tonumber, type = tonumber, type
local concat, sort = table.concat, table.sort
local find, format, gsub = string.find, string.format, string.gsub
local lower, match, sub, upper = string.lower, string.match, string.sub,
  string.upper

local set_policy = require "nettask.core".setPolicy
local unknown = require "nettask.names".unknown
local referers = require "nettask.web".referers

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
  if type(value) ~= "string" or value == ""
    or find(value, "[%z\1-\31\127]") then
    return "must be a string without control characters, or false for the"
      .. " default"
  end
end

local function a_url(value)
  if value == false then return end
  if a_text(value) or not find(lower(value), "^https?://[^/?#]") then
    return "must be an http or https url, or false for none"
  end
end

local function an_appid(value)
  if value == false then return end
  if type(value) ~= "string" or not find(value, "^[%w_-]+$") then
    return "must be letters and digits, or false for none"
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

-- The same, of several lines.
local function a_pem(value)
  if value == false then return end
  if type(value) ~= "string" or not find(value, "-----BEGIN ", 1, true)
    or find(value, "[%z\1-\8\11\12\14-\31\127]") then
    return "must be the text of certificates in PEM, or false for the default"
  end
end

-- The core knows what it may be.
local function a_proxy(value)
  if value == false then return end
  if a_text(value) then
    return 'must be an http, https or socks5 url, "env", or false for none'
  end
end

-- A list of texts, which each are `what`, or false, which means `without`.
local function a_list_of(what, without)
  return function(value)
    if value == false then return end
    if type(value) ~= "table" then
      return "must be a list of " .. what .. ", or false for " .. without
    end
    local count = 0
    for _ in pairs(value) do count = count + 1 end
    for i = 1, count do
      if not value[i] or a_text(value[i]) then
        return "must be a list of " .. what .. ", or false for " .. without
          .. (value[i] and format("; [%d] is none", i) or "")
      end
    end
  end
end

local a_list_of_folders = a_list_of("folders", "no restriction")
local a_list_of_hosts = a_list_of("hosts", "no list")
local a_list_of_keys = a_list_of('"sha256/..." texts', "none")
local a_list_of_exceptions = a_list_of("hosts, addresses and blocks of them",
  "none")

local function a_table_of_pins(value)
  if value == false then return end
  local wanted = "must be a table of hosts and their lists of keys, or false"
    .. " for none"
  if type(value) ~= "table" then return wanted end
  for host, keys in pairs(value) do
    if type(host) ~= "string" or a_text(host) then return wanted end
    local fault = not keys and "must be a list of \"sha256/...\" texts"
      or a_list_of_keys(keys)
    if fault then return format('["%s"] %s', host, fault) end
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

local LIMITS = {
  maxRequests = a_count, maxLookups = a_count, redirects = a_count,
  responseMaxBytes = a_count, headerMaxBytes = a_count,
  highWaterBytes = a_mark, contextHighWaterBytes = a_mark,
  downloadMaxBytes = a_count, uploadMaxBytes = a_count, maxSockets = a_count,
  sendQueueBytes = a_count, maxMessageBytes = a_count,
  storeMaxBytes = a_count,
  tcpPerWindow = a_count, tcpForbiddenPorts = a_list_of_ports,
  mdnsScanMs = a_count, maxServices = a_count, backgroundGraceMs = a_count,
  bytesPerMinute = a_count, requestsPerSecond = a_count,
  tempMaxBytes = a_count,
}

local TIMEOUTS = {
  request = a_time, download = a_time, upload = a_time, socket = a_time,
  tcp = a_time,
}

local DOMAINS = {
  request = a_list_of_hosts, download = a_list_of_hosts,
  upload = a_list_of_hosts, socket = a_list_of_hosts, tcp = a_list_of_hosts,
  udp = a_list_of_hosts,
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
  domains = DOMAINS, denyPrivateAddresses = a_boolean,
  allowPrivate = a_list_of_exceptions, caData = a_pem, pins = a_table_of_pins,
  proxy = a_proxy, allowProxy = a_boolean,
  storeFile = a_text, cookieFile = a_text, wifiInterface = a_text,
  origin = a_url, cacheDir = a_text, cacheMaxBytes = a_count,
  appid = an_appid, version = a_text, page = a_text, query = a_text,
  cellularInterface = a_text,
}

-- Those that are none of the core's business.
local OF_LAYER = { baseUrl = true, origin = true, dialect = true,
  defaultContentType = true, timeouts = true, socketMode = true,
  httpErrorFails = true, jsonErrorFails = true, wifiInterface = true,
  cellularInterface = true, logger = true }

-- The first key, by name, of those that belong to the policy, or nil.
local function key_of_policy(options)
  local first
  for key in pairs(options) do
    if not OF_LAYER[key] and (not first or key < first) then first = key end
  end
  return first
end

-- Why the options cannot be applied, or nil. What a metatable adds to them
-- would not be checked, and most of it not be seen.
local function find_fault(options, known, prefix)
  if getmetatable(options) ~= nil then
    return (prefix == "" and "the table" or sub(prefix, 1, -2))
      .. " must have no metatable"
  end
  for key, value in pairs(options) do
    local check = known[key]
    if check == nil then
      return unknown("key", key, known, prefix)
    elseif type(check) == "table" then
      if type(value) ~= "table" then return key .. " must be a table" end
      local fault = find_fault(value, check, key .. ".")
      if fault then return fault end
    else
      local fault = check(value)
      if fault then
        local gap = sub(fault, 1, 1) == "[" and "" or " "
        return prefix .. key .. gap .. fault
      end
    end
  end
end

-- ---- Presets ----------------------------------------------------------------

local PRESETS = {
  miniprogram = { maxRequests = 10, downloadMaxBytes = 50 * 1024 * 1024,
    maxSockets = 5 },
  open = { maxRequests = 0, downloadMaxBytes = 0, maxSockets = 0 },
}
PRESETS.strict = PRESETS.miniprogram
local SWAN_UPLOAD = 25 * 1024 * 1024

-- The host's own, or else that of one dialect, which the preset `open` lifts.
local function upload_cap(values)
  local capped = values.dialect == "swan" and values.policy ~= "open"
  return values.uploadMaxBytes or capped and SWAN_UPLOAD or 0
end

-- Lists that the host has given stay, but that `open` lifts those of hosts.
local function apply_preset(values, name)
  local strict = name == "strict"
  values.policy = name
  values.maxRequests = PRESETS[name].maxRequests
  values.downloadMaxBytes = PRESETS[name].downloadMaxBytes
  values.maxSockets = PRESETS[name].maxSockets
  values.uploadMaxBytes = nil
  -- The core knows them.
  values.tcpPerWindow, values.tcpForbiddenPorts = nil, nil
  values.mdnsScanMs, values.allowProxy = nil, nil
  values.requireSecure, values.allowUrlPort = strict, true
  values.denyPrivateAddresses = strict
  values.urlMaxBytes = 0
  -- That there are none is no list.
  values.readRoots = values.readRoots or nil
  values.writeRoots = values.writeRoots or nil
  if name == "open" then
    for kind in pairs(DOMAINS) do values[kind .. "Domains"] = nil end
  end
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
  -- A cap of the host's stays; that there is none does not.
  if values.uploadMaxBytes == 0 then values.uploadMaxBytes = nil end
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

local function copy_pins(pins)
  if not pins then return nil end
  local copy = {}
  for host, keys in pairs(pins) do copy[host] = copy_list(keys) end
  return copy
end

-- What is copied of the caller's tables; false becomes nil.
local COPIES = { allowPrivate = copy_list, pins = copy_pins }

local function is_text(check)
  return check == a_text or check == a_url or check == a_pem
    or check == a_proxy or check == an_appid
end

local function merge(values, options)
  if options.policy then apply_preset(values, options.policy) end
  if options.dialect then apply_dialect(values, options.dialect) end
  for key, value in pairs(options) do
    local check = KEYS[key]
    if COPIES[key] then
      values[key] = COPIES[key](value)
    elseif value == false and is_text(check) then
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
  -- Of a preset that has roots, false lifts them.
  for key, value in pairs(options.fileRoots or {}) do
    values[key .. "Roots"] = copy_list(value) or false
  end
  for key, value in pairs(options.domains or {}) do
    values[key .. "Domains"] = copy_list(value)
  end
end

-- { host, { key, ... }, host, { key, ... } }, in the order of the hosts.
local function flat_pins(pins)
  local hosts, flat = {}, {}
  for host in pairs(pins or {}) do hosts[#hosts + 1] = host end
  sort(hosts)
  for i = 1, #hosts do
    flat[2 * i - 1], flat[2 * i] = hosts[i], pins[hosts[i]]
  end
  return flat
end

-- nil: as the preset and the seal say.
local function refuses_proxy(values)
  if values.allowProxy == nil then return nil end
  return not values.allowProxy
end

local function policy_of(values)
  return {
    preset = values.policy,
    requireSecure = values.requireSecure,
    refusePrivate = values.denyPrivateAddresses,
    refuseProxy = refuses_proxy(values),
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
    uploadMaxBytes = upload_cap(values),
    maxSockets = values.maxSockets,
    tcpPerWindow = values.tcpPerWindow,
    tcpForbiddenPorts = values.tcpForbiddenPorts,
    sendQueueBytes = values.sendQueueBytes,
    maxMessageBytes = values.maxMessageBytes,
    mdnsScanMs = values.mdnsScanMs,
    maxServices = values.maxServices,
    tempDir = values.tempDir,
    storeFile = values.storeFile,
    cookieFile = values.cookieFile,
    storeMaxBytes = values.storeMaxBytes,
    cacheDir = values.cacheDir,
    cacheMaxBytes = values.cacheMaxBytes,
    readRoots = values.readRoots,
    writeRoots = values.writeRoots,
    requestDomains = values.requestDomains,
    downloadDomains = values.downloadDomains,
    uploadDomains = values.uploadDomains,
    socketDomains = values.socketDomains,
    tcpDomains = values.tcpDomains,
    udpDomains = values.udpDomains,
    allowPrivate = values.allowPrivate,
    caData = values.caData,
    pins = flat_pins(values.pins),
    proxy = values.proxy,
    referers = referers(values),
    tempMaxBytes = values.tempMaxBytes,
    bytesPerMinute = values.bytesPerMinute,
    requestsPerSecond = values.requestsPerSecond,
    backgroundGraceMs = values.backgroundGraceMs,
  }
end

-- The core's words for what is wrong, `domains[request][2] "x": ...`, with the
-- names of our keys.
local function translate(why, policy)
  why = gsub(why, "^domains%[(%a+)%]", "domains.%1")
  local pin, after = match(why, "^pins%[(%d+)%](.*)$")
  if pin then
    after = gsub(gsub(after, "^%.keys", ""), '^ "[^"]*"', "")
    return format('pins["%s"]%s', policy.pins[2 * tonumber(pin) - 1], after)
  end
  local name, rest = match(why, "^([%a_]+)(.*)$")
  if not name then return why end
  return (gsub(name, "_(%a)", upper)) .. rest
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
  if fault then return nil, fault end
  local changed = {}
  for key, value in pairs(values) do changed[key] = value end
  merge(changed, options)
  local policy = policy_of(changed)
  local why
  if host then
    why = set_policy(host, policy, key_of_policy(options))
  else
    why = set_policy(policy, key_of_policy(options))
  end
  if why then return nil, translate(why, policy) end
  for key in pairs(values) do values[key] = nil end
  for key, value in pairs(changed) do values[key] = value end
  return true
end

return config
