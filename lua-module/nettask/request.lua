-- request(): from an options table to a RequestTask, and from the last event
-- to success or fail. The core starts, streams and ends; what the options mean
-- is decided here.
--
-- A request goes through three functions with nothing between them yet:
-- request() makes the idle task, launch() starts it, finish() turns its end
-- into callbacks. Whatever wants to run before the network (a chain of
-- interceptors) calls launch() later; whatever wants to know the outcome (a
-- promise) sets record.settle, which is called last.

local core = require "nettask.core"
local errors = require "nettask.errors"
local options = require "nettask.options"
local query = require "nettask.query"

local E = core.errors
local DECODE = core.decode
local request_open, request_start = core.requestOpen, core.requestStart
local check_options = options.check -- gets the logger: see init.lua

local METHODS = { OPTIONS = true, GET = true, HEAD = true, POST = true,
  PUT = true, DELETE = true, TRACE = true, CONNECT = true, PATCH = true }
local WITHOUT_DATA = { TRACE = true, CONNECT = true }
local NOTHING = {}
local SILENT = { silent = true }
local DECODE_BY_TYPE = { json = DECODE.json, base64 = DECODE.base64,
  arraybuffer = DECODE.arraybuffer }

-- ---- Outgoing ---------------------------------------------------------------

local function value_text(value)
  if type(value) ~= "number" then return tostring(value) end
  if value % 1 == 0 and value > -2^53 and value < 2^53 then
    return ("%.0f"):format(value)
  end
  return ("%.14g"):format(value)
end

local function add_field(list, name, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    return errors.parameter("header." .. name, "String", core.typeName(value))
  end
  list[#list + 1] = name
  list[#list + 1] = kind == "string" and value or value_text(value)
end

-- An array is a repeated field; false leaves the field out.
local function add_fields(list, name, value)
  if value == false then return end
  if type(value) ~= "table" then return add_field(list, name, value) end
  for i = 1, #value do
    local fault = value[i] ~= false and add_field(list, name, value[i])
    if fault then return fault end
  end
end

-- Flat list of names and values, and the content type that is among them.
-- Returns nil and a failure.
local function collect_header(given, default_type)
  local list = {}
  local content_type
  for name, value in pairs(given or NOTHING) do
    if type(name) ~= "string" then
      return nil, errors.header(tostring(name))
    end
    local fault
    if #name == 12 and name:lower() == "content-type" then
      if not content_type then
        content_type = value
        fault = add_fields(list, name, value)
      end
    else
      fault = add_fields(list, name, value)
    end
    if fault then return nil, fault end
  end
  if content_type == nil then
    content_type = default_type
    list[#list + 1] = "content-type"
    list[#list + 1] = default_type
  end
  if type(content_type) == "table" then content_type = content_type[1] end
  return list, tostring(content_type):lower()
end

local function encode(data, content_type)
  if content_type:find("application/x-www-form-urlencoded", 1, true) then
    return query.encode(data)
  end
  return core.jsonEncode(data, "data")
end

-- url and body for the data, or nil and a failure. GET and HEAD have a query
-- string, TRACE and CONNECT nothing, all others a body.
local function convert(url, method, data, content_type)
  local message
  if data == nil or WITHOUT_DATA[method] then return url end
  local kind = type(data)
  if method ~= "GET" and method ~= "HEAD" then
    if kind == "table" then data, message = encode(data, content_type) end
    if data == nil then return nil, errors.data(message) end
    return url, data
  end
  if kind == "userdata" then
    return nil, errors.data("an ArrayBuffer has no place in a " .. method)
  end
  if kind == "table" then data, message = query.encode(data) end
  if not data then return nil, errors.data(message) end
  return query.append(url, data)
end

-- ---- Options ----------------------------------------------------------------

local function decode_of(given)
  if given.responseType == "arraybuffer" then return DECODE.arraybuffer end
  local data_type = given.dataType
  if data_type == nil then return DECODE.json end
  return DECODE_BY_TYPE[data_type] or DECODE.text
end

-- The total time: timeouts.total may be 0 for none, timeout may not.
local function total_of(given, default)
  local total = given.timeouts and given.timeouts.total
  if total and total >= 0 then return total end
  local timeout = given.timeout
  return timeout and timeout > 0 and timeout or default
end

-- What the core wants to know, or nil and a failure.
local function prepare(record, given, settings)
  local method = given.method and given.method:upper() or "GET"
  if not METHODS[method] then return nil, errors.method(given.method) end
  if given.forceCellularNetwork then return nil, errors.CELLULAR end
  local list, content_type = collect_header(given.header or given.headers,
    settings.defaultContentType)
  if not list then return nil, content_type end
  local url, body = convert(given.url, method, given.data, content_type)
  if not url then return nil, body end
  local fast = given.useHighPerformanceMode and not given.enableChunked
  record.method = method
  record.chunked = given.enableChunked
  record.decode = decode_of(given)
  record.performance = fast
  return {
    url = url,
    baseUrl = settings.baseUrl,
    method = method,
    headers = list,
    body = body,
    total = total_of(given, settings.requestTimeout),
    timeouts = given.timeouts,
    http2 = (fast or given.enableHttp2) and not given.enableChunked,
    http3 = (fast or given.enableQuic) and not given.enableChunked,
    stream = given.enableChunked,
    profile = given.enableProfile ~= false,
    anonymous = given.credentials == "omit",
    manual = given.redirect == "manual",
  }
end

-- The task ends, in a later update(), with that failure.
local function refuse(task, record, fault)
  record.fault = fault
  core.requestRefuse(task)
end

local function start_fault(code, header, url, method)
  if code == E.HEADER then return errors.header(header or "?") end
  if code == E.METHOD then return errors.method(method) end
  return errors.of_code(code, "", url)
end

-- ---- Results ----------------------------------------------------------------

-- For log lines: where to, without what may be secret.
local function describe(record)
  local url = record.url
  if type(url) ~= "string" then url = "no url" end
  url = url:gsub("[?#].*", ""):gsub("^(%a[%w+.-]*://)[^/]*@", "%1")
  return ("%s %s"):format(record.method or "request", url)
end

local function fail_result(fault, reasons, alipay)
  local res = {
    errMsg = "request:fail " .. fault.text,
    errno = fault.errno,
    errCode = fault.errCode,
    exception = { retryCount = 0, reasons = reasons },
    useHttpDNS = false,
    reason = fault.reason,
    detail = fault.detail,
  }
  if alipay then
    res.error = fault.error
    res.errorMessage = fault.text
  end
  return res
end

local function log_failure(record, fault, log)
  local handled = record.fail or record.complete or record.settle
  if fault.reason then
    log.write("warn", ("%s refused by %s"):format(describe(record),
      fault.reason))
  elseif not handled then
    local level = fault.errno == 1 and "debug" or "warn" -- 1: abort()
    log.write(level, ("%s failed, and nobody handles it: %s"):format(
      describe(record), fault.detail or fault.text))
  end
end

-- Why an answer that came is a failure all the same, or nil.
local function answer_fault(status, defect, settings)
  if status >= 400 and settings.httpErrorFails then
    return errors.status(status)
  end
  if defect == "charset" then return errors.CHARSET end
  if defect == "json" and settings.jsonErrorFails then return errors.JSON end
end

-- ---- The API ----------------------------------------------------------------

local request = {}

-- request(options) and finish(...) over the settings and the logger of one
-- module table.
function request.new(settings, log)
  local function launch(task, record, given)
    local params, fault = prepare(record, given, settings)
    if not params then return refuse(task, record, fault) end
    local code, header = request_start(task, params)
    if code ~= 0 then
      refuse(task, record, start_fault(code, header, given.url, given.method))
    end
  end

  local function start(given)
    if type(given) ~= "table" then
      error("bad argument #1 to 'request' (table expected, got "
        .. type(given) .. ")", 2)
    end
    local fault = check_options(given, log)
    local success, fail, complete = given.success, given.fail, given.complete
    local record = {
      kind = "request",
      url = given.url,
      success = type(success) == "function" and success or nil,
      fail = type(fail) == "function" and fail or nil,
      complete = type(complete) == "function" and complete or nil,
    }
    local task = request_open(record)
    if fault then
      refuse(task, record, fault)
      return task
    end
    local ok, err = pcall(launch, task, record, given)
    if not ok then -- no memory; or a finaliser raised
      task:abort(SILENT)
      error(err, 0)
    end
    return task
  end

  local function failure(record, fault, reasons)
    log_failure(record, fault, log)
    return fail_result(fault, reasons, settings.dialect == "my")
  end

  -- An answer has come.
  local function answer(record, reasons, status, header, cookies, data, defect,
      profile)
    local fault = (defect or status >= 400)
      and answer_fault(status, defect, settings)
    local res
    if fault then
      res = failure(record, fault, reasons)
      res.data, res.statusCode, res.header = data, status, header
      res.cookies, res.profile = cookies, profile
    else
      res = {
        data = data, statusCode = status, header = header, cookies = cookies,
        errMsg = "request:ok", profile = profile, useHttpDNS = false,
        exception = { retryCount = 0, reasons = reasons },
      }
    end
    if settings.dialect == "my" then
      res.status, res.headers = status, header
    end
    return not fault, res, fault and record.fail or record.success,
      record.complete, record.settle
  end

  -- Called by the core for the last event; see lrequest.c. May be called again
  -- for the same event when memory ran out.
  local function finish(record, code, message, reasons, ...)
    if record.silent then return end
    if code == 0 then return answer(record, reasons, ...) end
    -- The core keeps the first reason; to the script abort() comes first.
    if record.aborted then code = E.ABORTED end
    local fault = code ~= E.ABORTED and record.fault
      or errors.of_code(code, message, record.url, settings.requireSecure)
    return false, failure(record, fault, reasons), record.fail,
      record.complete, record.settle
  end

  return start, finish
end

return request
