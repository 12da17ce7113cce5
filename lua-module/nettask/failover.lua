-- Requests that look elsewhere when they fail: jsonp, and failover=true for
-- ordinary ones. One outer task, see relay.lua; one attempt after the other:
--
--   store, if a check is given -> url, again after a time-out -> each backup
--     -> what the store has, however old -> the failure
--
-- An answer that comes is looked at by dataCheck, and is kept by useStore.

local core = require "nettask.core"
local errors = require "nettask.errors"
local jsonp = require "nettask.jsonp"
local query = require "nettask.query"

local max, pairs, setmetatable = math.max, pairs, setmetatable
local tostring, type, xpcall = tostring, type, xpcall
local traceback = debug and debug.traceback -- a sandbox may take it away

local failover = {}

local RETRIES = 2
local TIMEOUT = 5 -- errno

-- errno of what another server may do better: time-out, unknown, transport,
-- too many redirects, text that cannot be read.
local ELSEWHERE = { [TIMEOUT] = true, [600000] = true, [600001] = true,
  [600008] = true, [602302] = true }

-- Options that mean nothing to an attempt.
local OWN = { "jsonp", "jsonpCache", "failover", "retryTimes", "backup",
  "dataCheck", "useStore", "storeCheckKey", "storeSign", "storeCheck" }

local Run = {}
Run.__index = Run

-- ---- What is asked ----------------------------------------------------------

local function urls_of(given)
  local list, backup = { given.url }, given.backup
  if type(backup) == "string" then backup = { backup } end
  for i = 1, backup and #backup or 0 do list[i + 1] = backup[i] end
  return list
end

-- Data in the url, as request.lua puts it there. A Buffer is left to that,
-- which refuses it.
local function with_data(url, data)
  local text, message = data, nil
  if type(data) == "table" then text, message = query.encode(data) end
  if message then return nil, message end
  return type(text) == "string" and query.append(url, text) or url
end

local function method_of(given)
  return given.method and given.method:upper() or "GET"
end

-- What an answer is kept under; nil for what has no text.
local function key_of(given, base_url)
  local url, method, data = given.url, method_of(given), given.data
  local in_url = jsonp.is_wanted(given.jsonp) or method == "GET"
    or method == "HEAD"
  if in_url then url = with_data(url, data) end
  if not url then return nil end
  if jsonp.is_wanted(given.jsonp) then url = jsonp.identity(url) end
  if base_url and not url:find("^%a[%w+.-]*:") then
    url = base_url .. " " .. url
  end
  if in_url then return url end
  if type(data) == "table" then data = core.jsonEncode(data) end
  return ("%s %s\n%s"):format(method, url, tostring(data or ""))
end

function Run:params(url)
  local given, params = self.given, {}
  for name, value in pairs(given) do params[name] = value end
  for i = 1, #OWN do params[OWN[i]] = nil end
  params.url = url
  if not self.name then return params end
  local target, message = with_data(url, given.data)
  if not target then return nil, errors.data(message) end
  params.url, self.expected = jsonp.target(target, self.name, given.jsonpCache)
  if type(given.data) ~= "userdata" then params.data = nil end
  params.method, params.dataType = nil, "text"
  params.responseType, params.enableChunked = nil, nil
  return params
end

-- ---- The script's own functions ---------------------------------------------

-- What a function of the script returns; an error is reported, and is a no.
function Run:ask(name, ...)
  local f, trace, args = self.given[name], "", { ... }
  local ok, answer = xpcall(function() return f(args[1], args[2], args[3]) end,
    function(message)
      trace = traceback and traceback("", 2) or ""
      return message
    end)
  if ok then return answer end
  self.report(answer, trace, ("%s %s"):format(
    tostring(self.relay.task):match("%a+ #%d+"), name))
  return false
end

function Run:passes(data)
  return not self.given.dataCheck or self:ask("dataCheck", data)
end

-- Whether what is stored will do without asking anybody.
function Run:is_current(stored)
  local given = self.given
  local key, sign = given.storeCheckKey, given.storeSign
  local current
  if given.storeCheck then
    current = self:ask("storeCheck", stored, key, sign)
  else
    current = type(stored) == "table" and stored[key] == sign
  end
  return current and self:passes(stored)
end

-- ---- The outcome ------------------------------------------------------------

function Run:finish(ok, res)
  local exception = res.exception
  if exception then
    exception.retryCount = max(self.attempts - 1, 0)
    exception.reasons = self.reasons
  end
  self.relay:finish(ok, res)
end

function Run:answer_from_store(stored, stale)
  local res = {
    data = stored, statusCode = 200, header = {}, cookies = core.array {},
    errMsg = "request:ok", useHttpDNS = false, exception = {},
    fromStore = true, stale = stale,
  }
  if self.settings.dialect == "my" then
    res.status, res.headers = res.statusCode, res.header
  end
  self:finish(true, res)
end

-- A function of the script may have ended the task, or the context.
function Run:is_over()
  return self.relay.ended or self.relay.task.state == "done"
end

-- Nothing is left to ask: what there was once, or the failure.
function Run:last_resort(res)
  if not self.key then return self:finish(false, res) end
  self.store.get(self.key, self:later(function(found, stored)
    if found then return self:answer_from_store(stored, true) end
    self:finish(false, res)
  end))
end

-- ---- One attempt after the other --------------------------------------------

-- A function for later, which does nothing once it is over.
function Run:later(f)
  return function(...)
    if not self.relay.ended then self.relay:protect(f, ...) end
  end
end

-- What is wrong with an answer that came: a failure, or nothing. Its data is
-- taken out of the wrapping of jsonp.
function Run:fault_of(res)
  if self.name then
    if res.statusCode >= 400 then return errors.status(res.statusCode) end
    local ok, data = jsonp.unwrap(res.data, self.expected)
    if not ok then return errors.JSONP end
    res.data = data
  end
  if not self:passes(res.data) then return errors.DATA_CHECK end
end

-- The failure of an answer that came shows that answer too.
function Run:result_of(fault, answer)
  local res = self.relay.api.failure(fault)
  res.data, res.statusCode = answer.data, answer.statusCode
  res.header, res.cookies = answer.header, answer.cookies
  res.profile = answer.profile
  return res
end

-- What became of the retries of an attempt is told too.
function Run:note(exception)
  self.attempts = self.attempts + exception.retryCount
  for i = 1, #exception.reasons do
    self.reasons[#self.reasons + 1] = exception.reasons[i]
  end
end

function Run:on_failure(res)
  if self.heard or not ELSEWHERE[res.errno] then
    return self:finish(false, res)
  end
  self.reasons[#self.reasons + 1] = { errMsg = res.errMsg, errno = res.errno }
  if res.errno == TIMEOUT and self.at == 1 and self.retries > 0 then
    self.retries = self.retries - 1
  else
    self.at = self.at + 1
  end
  if self.urls[self.at] then self:attempt() else self:last_resort(res) end
end

function Run:on_answer(res)
  local fault = self:fault_of(res)
  if self:is_over() then return end
  if fault then return self:on_failure(self:result_of(fault, res)) end
  -- What was streamed is with the listeners.
  if self.key and not self.heard and res.statusCode < 400 then
    self.store.put(self.key, res.data)
  end
  self:finish(true, res)
end

-- The headers of an answer that is none for jsonp are not heard; nor is a
-- stream that has begun asked for again.
function Run:watch(task, record)
  task:onHeadersReceived(function(res)
    if self.name and res.statusCode >= 400 then
      record.outer = nil
    elseif self.given.enableChunked and not self.name then
      self.heard = true
    end
  end)
end

function Run:attempt()
  local params, fault = self:params(self.urls[self.at])
  if not params then return self.relay:fail(fault) end
  self.attempts = self.attempts + 1
  self:watch(self.relay:attempt(params, function(ok, res)
    self:note(res.exception)
    if ok then self:on_answer(res) else self:on_failure(res) end
  end))
end

-- The task of that relay does what `given` says. `tools` are settings, log,
-- report and store.
function failover.run(relay, given, tools)
  local self = setmetatable({
    relay = relay, given = given, settings = tools.settings,
    report = tools.report, store = tools.store,
    urls = urls_of(given), at = 1, attempts = 0, reasons = core.array {},
    retries = given.retryTimes or RETRIES,
    name = jsonp.is_wanted(given.jsonp) and jsonp.name(given.jsonp) or nil,
    key = given.useStore and key_of(given, tools.settings.baseUrl) or nil,
  }, Run)
  local checks = given.storeCheck
    or given.storeCheckKey ~= nil and given.storeSign ~= nil
  if not self.key or not checks then return self:attempt() end
  self.store.get(self.key, self:later(function(found, stored)
    local current = found and self:is_current(stored)
    if self:is_over() then return end
    if current then return self:answer_from_store(stored) end
    self:attempt()
  end))
end

return failover
