-- What request(), downloadFile(), uploadFile() and connectSocket() have in
-- common: from a table of options to a task, and from its last event to success
-- or fail. The core starts, moves bytes and ends; what the options mean is
-- decided here and in the file of each API.
--
-- A call goes through three functions: begin() makes the idle task, launch()
-- starts it, finish() turns its end into callbacks. What wants to run before
-- the network (a chain of interceptors) lets the task stand for others, see
-- relay.lua, and calls begin() for these; what wants to know the outcome sets
-- record.settle, which is called last, but for promises (lpromise.c).
--
-- The settings and the logger go only to functions that were kept in locals:
-- see init.lua.
--
-- An API is a table:
--   name, ok as in errMsg
--   codes    its own failures for codes of the core, see errors.lua
--   open, start, refuse  functions of the core
--   check    check(given, log, settings) -> failure or nothing, and whether
--            there are options that most calls do without
--   raw      whether it has getRawResult
--   prepare  prepare(record, given, settings) -> params, or nil and a failure
--   fault    fault(code, given, settings): a failure that only this API has
--   started  started(task, record, given, settings), if it wants to know
--   method   whether it is no task of its own, but a method of one

local error, pairs, pcall, rawget = error, pairs, pcall, rawget
local tostring, type, xpcall = tostring, type, xpcall

local abort = require "nettask.abort"
local core = require "nettask.core"
local errors = require "nettask.errors"
local explain = require "nettask.httpdns".explain
local group = require "nettask.group"
local relay = require "nettask.relay"

local E = core.errors
local is_secure_only, notice = core.isSecureOnly, core.notice
local CHUNKED, FAST = core.plan.chunked, core.plan.fast
local NOTHING = {}
local SILENT = { silent = true }
local traceback = debug and debug.traceback -- a sandbox may take it away

local exchange = {}

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

-- The list for all who give no header, which is only read.
local bare_list = { "content-type", "" }

local function bare_header(content_type)
  if bare_list[2] ~= content_type then
    bare_list = { "content-type", content_type }
  end
  return bare_list, content_type:lower()
end

-- Flat list of names and values, and the content type that is among them.
-- `default_type` is for a caller who gives none; false: then none is sent; nil:
-- the caller's is ignored. Returns nil and a failure.
function exchange.header(given, default_type)
  if given == nil and default_type then return bare_header(default_type) end
  local list = {}
  local content_type
  for name, value in pairs(given or NOTHING) do
    if type(name) ~= "string" then
      return nil, errors.header(tostring(name))
    end
    local fault
    if #name == 12 and name:lower() == "content-type" then
      if content_type == nil and default_type ~= nil then
        content_type = value
        fault = add_fields(list, name, value)
      end
    else
      fault = add_fields(list, name, value)
    end
    if fault then return nil, fault end
  end
  if content_type == nil and default_type then
    content_type = default_type
    list[#list + 1] = "content-type"
    list[#list + 1] = default_type
  end
  if type(content_type) == "table" then content_type = content_type[1] end
  return list, tostring(content_type):lower()
end

-- The total time: timeouts.total may be 0 for none, timeout may not.
function exchange.total(given, default)
  local total = given.timeouts and given.timeouts.total
  if total and total >= 0 then return total end
  local timeout = given.timeout
  return timeout and timeout > 0 and timeout or default
end

-- The stages as the core reads them: a table of ours, because that one of the
-- script may have metamethods, which would run in the middle of its work.
function exchange.stages(given)
  local timeouts = given.timeouts
  return timeouts and { dns = timeouts.dns, connect = timeouts.connect,
    tls = timeouts.tls, firstByte = timeouts.firstByte,
    stall = timeouts.stall }
end

-- What the core wants to know of every exchange; `list` is the header,
-- `timeout` the default.
function exchange.params(record, given, list, base_url, timeout)
  local fast = given.useHighPerformanceMode
  if fast then record[0] = FAST end
  return {
    url = given.url,
    baseUrl = base_url,
    headers = list,
    total = exchange.total(given, timeout),
    timeouts = exchange.stages(given),
    http2 = fast or given.enableHttp2,
    http3 = fast or given.enableQuic,
    profile = given.enableProfile ~= false,
    proxy = given.proxy,
  }
end

-- The core found a proxy that is none.
local function proxy_fault(code, given)
  if code == E.INVALID and given.proxy then
    return errors.option("proxy", given.proxy)
  end
end

-- `own` is api.fault as it was in the beginning.
local function start_fault(code, header, given, api, own, settings)
  -- Without a name it is the media type of a part.
  if code == E.HEADER then return errors.header(header or "content-type") end
  if code == E.METHOD then return errors.method(given.method) end
  local fault = own and own(code, given, settings) or proxy_fault(code, given)
  return fault or errors.of_code(code, nil, given.url,
    is_secure_only(), api.codes)
end

-- ---- Results ----------------------------------------------------------------

-- For log lines: where to, without what may be secret.
local function describe(api, record)
  local url = record.url
  if api.method then return api.name end
  if type(url) ~= "string" then url = "no url" end
  url = url:gsub("[?#].*", ""):gsub("^(%a[%w+.-]*://)[^/]*@", "%1")
  return ("%s %s"):format(record.method or api.name, url)
end

-- Without `reasons` it is of no exchange.
local function fail_result(name, fault, reasons, alipay, resolved)
  local res = {
    errMsg = name .. ":fail " .. fault.text,
    errno = fault.errno,
    errCode = fault.errCode,
    exception = reasons and { retryCount = 0, reasons = reasons },
    reason = fault.reason,
    detail = fault.detail,
  }
  if reasons then res.useHttpDNS = resolved == true end
  if alipay then
    res.error = fault.error
    res.errorMessage = fault.text
  end
  return res
end

exchange.fail_result = fail_result

local function log_failure(api, record, fault, log)
  local handled = record.fail or record.complete or record.settle
    or record.promise or record.handled
  if fault.reason then
    log.write("warn", ("%s refused by %s"):format(describe(api, record),
      fault.reason))
  elseif not handled then
    local level = fault.errno == 1 and "debug" or "warn" -- 1: abort()
    log.write(level, ("%s failed, and nobody handles it: %s"):format(
      describe(api, record), fault.detail or fault.text))
  end
end

-- Why an answer that came is a failure all the same, or nil. What the core has
-- saved is a success.
local function answer_fault(code, status, defect, path, settings)
  if code ~= 0 or not path and status >= 400 and settings.httpErrorFails then
    return errors.status(status)
  end
  if defect == "charset" then return errors.CHARSET end
  -- Of an opaque answer nothing is told.
  if defect == "json" and status ~= 0 and settings.jsonErrorFails then
    return errors.JSON
  end
end

-- Where a download is: what the script named, or a temporary file.
local function add_file(res, record, path, size, alipay)
  res.dataLength = size
  if record.file_path then
    res.filePath = record.file_path
  else
    res.tempFilePath = path
  end
  if alipay then res.apFilePath = path end
end

local function callback(f)
  return type(f) == "function" and f or nil
end

-- ---- Calls without a task ---------------------------------------------------

-- Fail and complete hear of it, in a later update(); if there is neither, the
-- log, at that level.
function exchange.refuse(name, given, fault, settings, log, level)
  local fail, complete = callback(given.fail), callback(given.complete)
  if fail or complete then
    notice(name, false, fail_result(name, fault, nil,
      settings.dialect == "my"), fail, complete)
  else
    log.once(level, ("%s failed, and nobody handles it: %s"):format(name,
      fault.text))
  end
end

-- Success and complete hear of it.
function exchange.accept(name, given)
  local success, complete = given.success, given.complete
  if success or complete then
    notice(name, true, { errMsg = name .. ":ok" }, success, complete)
  end
end

-- ---- The API ----------------------------------------------------------------

-- The function of that API over the settings and the logger of one module
-- table. `report` hears of an error in getRawResult. `chain`, if there is one,
-- comes first as long as chain.links has any: see interceptor.lua. `detour`, if
-- there is one, names what is done instead of one exchange: see attempts.lua.
function exchange.new(api, settings, log, report, chain, detour)
  local check, prepare = api.check, api.prepare
  local open, send, end_task = api.open, api.start, api.refuse
  local started, own_fault = api.started, api.fault

  -- The task ends, in a later update(), with that failure.
  local function refuse(task, record, fault)
    record.fault = fault
    end_task(task)
  end

  local function launch(task, record, given)
    local params, fault = prepare(record, given, settings)
    if not params then return refuse(task, record, fault) end
    local code, header = send(task, params)
    if code ~= 0 then
      refuse(task, record, start_fault(code, header, given, api, own_fault,
        settings))
    elseif started then
      started(task, record, given, settings)
    end
  end

  -- Like other callbacks it cannot harm the call.
  local function give_raw_result(task, f)
    local trace = ""
    local ok, err = xpcall(function() f(task) end, function(message)
      trace = traceback and traceback("", 2) or ""
      return message
    end)
    if not ok then
      report(err, trace, tostring(task):match("%a+ #%d+") .. " getRawResult")
    end
  end

  -- f(task, ...), which must not leave an idle task behind.
  local function guard(f, task, ...)
    local ok, err = pcall(f, task, ...)
    if ok then return end
    task:abort(SILENT) -- no memory; or a finaliser raised
    error(err, 0)
  end

  local outer_api = { refuse = end_task,
    failure = function(fault)
      return fail_result(api.name, fault, {}, settings.dialect == "my")
    end }

  -- A task that stands for others, which run(relay, given) begins.
  local function begin_outer(given, outer, run)
    local record = {
      [0] = given.enableChunked and CHUNKED or 0,
      url = given.url,
      success = callback(given.success),
      fail = callback(given.fail),
      complete = callback(given.complete),
    }
    local task = open(record, outer)
    guard(function()
      run(relay.new(task, record, outer_api), given)
    end, task)
    return task, record
  end

  -- Returns task and record. `outer` is the record of the task that it works
  -- for, nil for one of the script's own.
  local function begin(given, outer)
    local fault, unusual = check(given, log, settings)
    local run = unusual and detour and not fault and detour(given)
    if run then return begin_outer(given, outer, run) end
    local record = {
      [0] = 0, -- the plan
      url = given.url,
      success = callback(given.success),
      fail = callback(given.fail),
      complete = callback(given.complete),
    }
    local task = open(record, outer)
    if fault then
      refuse(task, record, fault)
    else
      guard(launch, task, record, given)
    end
    return task, record
  end

  outer_api.start = begin

  -- Those who may end it beside the script.
  local function join(task, signal, of_group)
    if abort.is(signal) then abort.join(signal, task) end
    if group.is(of_group) then group.add(of_group, task) end
  end

  outer_api.join = join

  local function is_aborted(signal)
    return abort.is(signal) and signal.aborted
  end

  return function(given)
    if type(given) ~= "table" then
      error(("bad argument #1 to '%s' (table expected, got %s)"):format(
        api.name, type(given)), 2)
    end
    local task
    if chain and chain.links[1] and not is_aborted(given.signal) then
      -- The links may change what is given: it is checked when they have.
      task = begin_outer(given, nil, chain.run)
    else
      task = begin(given)
    end
    local signal, of_group = given.signal, given.group
    if signal or of_group then join(task, signal, of_group) end
    local raw = api.raw and callback(given.getRawResult)
    if raw then give_raw_result(task, raw) end
    return task
  end
end

-- finish(), which the core calls for the last event of every exchange: see
-- lexchange.h. `apis` are those by kind. May be called again for the same event
-- when memory ran out.
function exchange.finisher(settings, log, apis)
  local function failure(api, record, fault, reasons)
    log_failure(api, record, fault, log)
    return fail_result(api.name, fault, reasons, settings.dialect == "my",
      record.resolved)
  end

  -- An answer has come.
  local function answer(api, record, code, reasons, status, header, cookies,
      profile, data, defect, path, size)
    local fault = (defect or status >= 400)
      and answer_fault(code, status, defect, path, settings)
    local alipay = settings.dialect == "my"
    local res
    if fault then
      res = failure(api, record, fault, reasons)
      res.data, res.statusCode, res.header = data, status, header
      res.cookies, res.profile = cookies, profile
    else
      res = {
        data = data, statusCode = status, header = header, cookies = cookies,
        errMsg = api.ok, profile = profile,
        useHttpDNS = record.resolved == true,
        exception = { retryCount = 0, reasons = reasons },
      }
    end
    if path then add_file(res, record, path, size, alipay) end
    if alipay then res.status, res.headers = status, header end
    return not fault, res, fault and record.fail or record.success,
      record.complete, record.settle
  end

  -- Of a task that others have worked for. What a link raised has errMsg, but
  -- is the script's own: asked for another field it may raise.
  local function outcome_of(api, record)
    local ok, res = record.outcome.ok, record.outcome.res
    if not ok then
      log_failure(api, record, { text = res.errMsg,
        errno = rawget(res, "errno"), detail = rawget(res, "detail") }, log)
    end
    return ok, res, ok and record.success or not ok and record.fail or nil,
      record.complete, record.settle
  end

  -- Called for every result: a list of arguments that is fixed is cheaper.
  return function(record, kind, code, message, reasons, status, header, cookies,
      profile, data, defect, path, size)
    if record.silent then return end
    local api = apis[kind]
    if reasons and (reasons[1] or record.unknown) then
      explain(reasons, record.unknown)
    end
    if code == 0 or code == E.STATUS then
      return answer(api, record, code, reasons, status, header, cookies,
        profile, data, defect, path, size)
    end
    local aborted = code == E.ABORTED
    if record.outcome and not aborted then return outcome_of(api, record) end
    local fault = not aborted and record.fault or errors.of_code(code,
      message, record.url, is_secure_only(), api.codes)
    local res = failure(api, record, fault, reasons)
    res.statusCode = status -- only sockets are refused with one
    return false, res, record.fail, record.complete, record.settle
  end
end

return exchange
