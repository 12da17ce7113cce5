-- The options of each API: which there are, their types, and what is said about
-- those that this version does not know or does not honour.

local pairs, select, type = pairs, select, type -- see init.lua
local sort = table.sort

local abort = require "nettask.abort"
local cache = require "nettask.cache"
local core = require "nettask.core"
local errors = require "nettask.errors"
local group = require "nettask.group"
local is_jsonp = require "nettask.jsonp".is_wanted
local names = require "nettask.names"
local retry_fault = require "nettask.retry".fault
local web = require "nettask.web"

local options = {}

-- Several types are allowed by a table; its text is for the error.
local function any_of(text, ...)
  local allowed = { text = text }
  for i = 1, select("#", ...) do allowed[select(i, ...)] = true end
  return allowed
end

local ANYTHING = any_of("anything", "String", "Number", "Boolean", "Object",
  "Array", "Function", "ArrayBuffer", "Null")
local DATA = any_of("String, Object or ArrayBuffer", "String", "Object",
  "Array", "ArrayBuffer")
local TEXT_OR_FLAG = any_of("String or Boolean", "String", "Boolean")
local TEXT_OR_LIST = any_of("String or Array", "String", "Array")

-- What all of them have.
local COMMON = {
  url = "string", header = "table", headers = "table",
  timeout = "number", timeouts = "table",
  enableHttp2 = "boolean", enableQuic = "boolean",
  enableProfile = "boolean", useHighPerformanceMode = "boolean",
  success = "function", fail = "function", complete = "function",
  enableHttpDNS = "boolean", httpDNSServiceId = "string",
  httpDNSTimeout = "number", signal = any_of("Object", "Object"),
  proxy = "string", group = any_of("Object", "Object"),
}

local function with_common(types)
  for name, want in pairs(COMMON) do types[name] = want end
  return types
end

local REQUEST = with_common {
  data = DATA, method = "string",
  dataType = "string", responseType = "string", redirect = "string",
  enableChunked = "boolean",
  forceCellularNetwork = "boolean", credentials = "string",
  jsonp = TEXT_OR_FLAG,
  jsonpCache = TEXT_OR_FLAG, retryTimes = "number", backup = TEXT_OR_LIST,
  dataCheck = "function", useStore = "boolean", storeCheckKey = "string",
  storeSign = "string", storeCheck = "function", failover = "boolean",
  retry = "table",
  enableCookie = "boolean", mode = "string", referrerStrategy = "string",
  enableCache = "boolean", cache = "string",
}

local DOWNLOAD = with_common {
  filePath = "string", withCredentials = "boolean", getRawResult = "function",
  resume = "boolean", sha256 = "string", durable = "boolean",
}

local UPLOAD = with_common {
  filePath = "string", name = "string", formData = "table",
  fileType = "string", fileName = "string", files = "table",
  credentials = "string",
  getRawResult = "function", hideLoading = "boolean",
}

local SOCKET = {
  url = "string", header = "table", headers = "table",
  protocols = ANYTHING, protocolsArray = ANYTHING, -- see socket.lua
  tcpNoDelay = "boolean", perMessageDeflate = "boolean",
  timeout = "number", timeouts = "table", multiple = "boolean",
  pingInterval = "number", pongTimeout = "number",
  reconnect = any_of("Boolean or Object", "Boolean", "Object"),
  maxMessageBytes = "number", proxy = "string",
  forceCellularNetwork = "boolean", enableProfile = "boolean",
  credentials = "string",
  success = "function", fail = "function", complete = "function",
  group = any_of("Object", "Object"),
}

local RECONNECT = { base = "number", max = "number", jitter = "number",
  tries = "number" }

local SEND = {
  data = ANYTHING, isBuffer = "boolean",
  success = "function", fail = "function", complete = "function",
}

local CLOSE = {
  code = "number", reason = "string",
  success = "function", fail = "function", complete = "function",
}

local SCAN = {
  startLocalServiceDiscovery = {
    serviceType = ANYTHING, -- see mdns.lua
    success = "function", fail = "function", complete = "function",
  },
  stopLocalServiceDiscovery = {
    success = "function", fail = "function", complete = "function",
  },
}

-- One element of `files`.
local FILE = { name = "string", filePath = "string",
  data = any_of("String or ArrayBuffer", "String", "ArrayBuffer"),
  fileName = "string", type = "string" }

local TIMEOUT_NAMES = { dns = true, connect = true, tls = true,
  firstByte = true, stall = true, total = true }

local TYPE_NAMES = { string = "String", number = "Number",
  boolean = "Boolean", table = "Object", ["function"] = "Function" }

-- What is to be said of an option that has no effect, by its value and by the
-- other options.
local DEFAULT_RETRIES = 2
local function without_failover(value, given)
  return value ~= false and value ~= DEFAULT_RETRIES and not given.failover
    and not is_jsonp(given.jsonp)
    and "has no effect without jsonp or failover=true"
end
local CREDENTIALS = { include = true, ["same-origin"] = true, omit = true }
local REMARKS = {
  cache = function(value)
    return not cache.is_mode(value)
      and 'is none of "default", "no-store", "no-cache", "reload",'
        .. ' "force-cache" and "only-if-cached", and has no effect'
  end,
  credentials = function(value)
    return not CREDENTIALS[value]
      and 'is none of "include", "same-origin" and "omit", which it means'
  end,
  mode = function(value)
    return not web.is_mode(value)
      and 'is none of "cors", "no-cors" and "same-origin", and has no effect'
  end,
  referrerStrategy = function(value)
    return not web.is_strategy(value)
      and 'is none of "index", "page" and "querystring", which it means'
  end,
}
for _, name in ipairs { "jsonpCache", "retryTimes", "backup", "dataCheck",
  "useStore", "storeCheckKey", "storeSign", "storeCheck" } do
  REMARKS[name] = without_failover
end

-- `label` is what a nested option is called.
local function fault_of(types, name, value, label)
  local want = types[name]
  local got = core.typeName(value)
  label = label or name
  if type(want) == "table" then
    return not want[got] and errors.parameter(label, want.text, got)
  end
  return type(value) ~= want and errors.parameter(label, TYPE_NAMES[want], got)
end

-- The first fault by name, so that the message does not depend on the order
-- of pairs(). `only` is a set of the names to look at.
local function first_fault(types, given, only)
  local wrong = {}
  for name, value in pairs(given) do
    if types[name] and (not only or only[name])
      and fault_of(types, name, value) then
      wrong[#wrong + 1] = name
    end
  end
  sort(wrong)
  return wrong[1] and fault_of(types, wrong[1], given[wrong[1]])
end

local function timeouts_fault(api, timeouts, log)
  for name, value in pairs(timeouts) do
    if not TIMEOUT_NAMES[name] then
      log.once("warn", api .. ": "
        .. names.unknown("option", name, TIMEOUT_NAMES, "timeouts."))
    elseif type(value) ~= "number" then
      return errors.parameter("timeouts." .. name, "Number",
        core.typeName(value))
    end
  end
end

local function remark(api, types, name, given, log)
  if not types[name] then
    return log.once("warn", api .. ": " .. names.unknown("option", name, types))
  end
  local text = REMARKS[name](given[name], given)
  if text then
    log.once("warn", ("%s: option %q %s"):format(api, name, text))
  end
end

-- One that was given already ends the task before it has begun.
local function signal_fault(signal)
  if not abort.is(signal) then
    return errors.parameter("signal", "AbortSignal", core.typeName(signal))
  end
  return signal.aborted and errors.of_code(core.errors.ABORTED)
end

-- Options that most calls do without.
local UNUSUAL = { timeouts = true, group = true, signal = true, retry = true,
  failover = true, jsonp = true }
for name in pairs(REMARKS) do UNUSUAL[name] = true end

local function bonds_fault(given)
  return given.group and not group.is(given.group)
      and errors.parameter("group", "Group", core.typeName(given.group))
    or given.signal and signal_fault(given.signal)
end

local function look_again(api, types, given, log)
  for name in pairs(given) do
    if not types[name] or REMARKS[name] then
      remark(api, types, name, given, log)
    end
  end
  return given.timeouts and timeouts_fault(api, given.timeouts, log)
    or bonds_fault(given)
end

-- Look over what a script gave: returns the failure to report, or nothing; and
-- whether there is anything unusual. One pass; what is rare is left to the
-- functions above.
local function check(api, types, given, log)
  local unusual = false
  if types.url and type(given.url) ~= "string" then
    return fault_of(types, "url", given.url)
  end
  for name, value in pairs(given) do
    local want = types[name]
    if want ~= type(value) and want ~= nil
      and fault_of(types, name, value) then
      return first_fault(types, given)
    end
    if want == nil or UNUSUAL[name] then unusual = true end
  end
  if not unusual then return nil, false end
  return look_again(api, types, given, log), true
end

local function backup_fault(backup)
  for i = 1, type(backup) == "table" and #backup or 0 do
    if type(backup[i]) ~= "string" then
      return errors.parameter(("backup[%d]"):format(i), "String",
        core.typeName(backup[i]))
    end
  end
end

function options.request(given, log)
  local fault, unusual = check("request", REQUEST, given, log)
  if unusual and not fault then
    fault = backup_fault(given.backup)
      or given.retry and retry_fault(given.retry, log)
  end
  return fault, unusual
end

-- The same for what interceptors do not see, a set of names.
function options.of_caller(given, unseen)
  return first_fault(REQUEST, given, unseen) or bonds_fault(given)
end

function options.download(given, log)
  local fault = check("downloadFile", DOWNLOAD, given, log)
  if not fault and given.resume and not given.filePath then
    log.once("warn", "downloadFile: resume has no effect without filePath")
  end
  return fault
end

-- ---- Sockets ----------------------------------------------------------------

local function reconnect_fault(reconnect, log)
  for name, value in pairs(reconnect) do
    if not RECONNECT[name] then
      log.once("warn", "connectSocket: "
        .. names.unknown("option", name, RECONNECT, "reconnect."))
    elseif fault_of(RECONNECT, name, value) then
      return fault_of(RECONNECT, name, value, "reconnect." .. name)
    end
  end
end

function options.socket(given, log)
  return check("connectSocket", SOCKET, given, log)
    or type(given.reconnect) == "table"
      and reconnect_fault(given.reconnect, log)
end

function options.send(given, log)
  return check("sendSocketMessage", SEND, given, log)
end

function options.close(given, log)
  return check("closeSocket", CLOSE, given, log)
end

-- ---- Local services ---------------------------------------------------------

function options.scan(api, given, log)
  return check(api, SCAN[api], given, log)
end

-- ---- Uploads ----------------------------------------------------------------

local function file_fault(file, label, log)
  if type(file) ~= "table" then
    return errors.parameter(label, "Object", core.typeName(file))
  end
  label = label .. "."
  for name, value in pairs(file) do
    if not FILE[name] then
      log.once("warn", "uploadFile: "
        .. names.unknown("option", name, FILE, label))
    elseif fault_of(FILE, name, value) then
      return fault_of(FILE, name, value, label .. name)
    end
  end
  return fault_of(FILE, "name", file.name, label .. "name")
    or file.data == nil
      and fault_of(FILE, "filePath", file.filePath, label .. "filePath")
end

local function files_fault(files, log)
  for i = 1, #files do
    local fault = file_fault(files[i], ("files[%d]"):format(i), log)
    if fault then return fault end
  end
end

-- filePath and name belong together, and with `files` neither is needed.
function options.upload(given, log, settings)
  local fault = check("uploadFile", UPLOAD, given, log)
  if fault then return fault end
  local files = given.files
  if given.filePath ~= nil or not files or #files == 0 then
    local name = given.name
    if name == nil and settings.dialect == "my" then name = given.fileName end
    fault = fault_of(UPLOAD, "filePath", given.filePath)
      or fault_of(UPLOAD, "name", name)
  end
  return fault or files and files_fault(files, log)
end

return options
