-- retry={...}: the same request again, after a while. One outer task, see
-- relay.lua, whose attempts follow one another until one is as good as any: it
-- succeeds, fails for another reason than those of `on`, or no tries are left.
--
-- What was heard cannot be taken back: a streamed body that has begun is not
-- asked for again, and the headers of an answer that will be are not heard.

local core = require "nettask.core"
local errors = require "nettask.errors"
local names = require "nettask.names"

local ipairs, pairs, setmetatable = ipairs, pairs, setmetatable
local tonumber, tostring, type = tonumber, tostring, type
local floor, greater, less = math.floor, math.max, math.min

local retry = {}

local TRIES, BASE_MS, MAX_MS = 3, 500, 30000
local DOUBLINGS = 64 -- of the wait, at most: 0 times infinity is no number

local IDEMPOTENT = { GET = true, HEAD = true, OPTIONS = true, TRACE = true,
  PUT = true, DELETE = true }

local DEFAULT_ON = { "timeout", "connect", "reset", 429, 502, 503, 504 }

-- What a failure is called in `on`.
local BY_ERRCODE = { [-7] = "timeout" }
for _, code in ipairs { -102, -104, -105, -106, -109, -118, -130 } do
  BY_ERRCODE[code] = "connect"
end
for _, code in ipairs { -100, -101, -324, -354, -355 } do
  BY_ERRCODE[code] = "reset"
end

local TYPES = { tries = "number", base = "number", max = "number",
  on = "table", unsafe = "boolean" }
local TYPE_NAMES = { number = "Number", table = "Array", boolean = "Boolean" }

-- ---- The option -------------------------------------------------------------

local function is_reason(value)
  if type(value) == "number" then return value == value end
  return value == "timeout" or value == "connect" or value == "reset"
end

-- What is wrong with it: a failure, or nothing.
function retry.fault(option, log)
  for name, want in pairs(TYPES) do
    local value = option[name]
    if value ~= nil and type(value) ~= want then
      return errors.parameter("retry." .. name, TYPE_NAMES[want],
        core.typeName(value))
    elseif value ~= value then
      return errors.option("retry." .. name, "nan")
    end
  end
  for name in pairs(option) do
    if not TYPES[name] then
      log.once("warn", "request: "
        .. names.unknown("option", name, TYPES, "retry."))
    end
  end
  for i = 1, option.on and #option.on or 0 do
    local value = option.on[i]
    if not is_reason(value) then
      return errors.option("retry.on", tostring(value))
    end
  end
end

-- Whether the request may be sent again.
function retry.is_allowed(given, log)
  local method = given.method and given.method:upper() or "GET"
  if IDEMPOTENT[method] or given.retry.unsafe then return true end
  log.once("warn", ("request: retry has no effect on %s without"
    .. " retry.unsafe=true"):format(method))
  return false
end

-- ---- When -------------------------------------------------------------------

-- Not math.random: that belongs to the script, which may have seeded it to get
-- the same numbers again. The clock's last digits will do to spread players.
local function chance()
  return core.now() * 1000 % 1
end

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7,
  Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

-- Days since 1970 of a date of the Gregorian calendar.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  local centuries = floor(year / 100)
  return 365 * year + floor(year / 4) - centuries
    + floor(centuries / 4) + floor((153 * month - 457) / 5) + day
    - 719469
end

-- Unix time in seconds of an HTTP date (RFC 9110, the one form that may be
-- sent), or nil.
local function date_of(text)
  local day, name, year, hour, minute, second = (text or ""):match(
    "^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  local month = MONTHS[name]
  if not month then return nil end
  return days(tonumber(year), month, tonumber(day)) * 86400
    + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end

-- What Retry-After asks for, in ms, or nil. A date is measured by the clock of
-- the server, which it comes from.
function retry.after(header)
  local text = header and header["Retry-After"]
  if type(text) ~= "string" then return nil end
  if text:find("^%d+$") then return tonumber(text) * 1000 end
  local date = date_of(text)
  local now = date_of(header["Date"]) or core.unixMs() / 1000
  return date and greater(date - now, 0) * 1000
end

-- Ms to wait before the nth retry, as long as nobody asks for more.
function retry.backoff(base, n, max)
  local delay = less(base * 2 ^ less(n - 1, DOUBLINGS), max)
  return delay * (1 - chance() / 2)
end

-- ---- One attempt after the other --------------------------------------------

local Run = {}
Run.__index = Run

-- Ms to wait before the next one, or nil: there is none, for more is asked for
-- than the script will wait.
function Run:delay(header)
  local delay = retry.backoff(self.base, self.again, self.max)
  local asked = retry.after(header)
  if not asked then return delay end
  return asked <= self.max and greater(asked, delay) or nil
end

function Run:wants(ok, res)
  local reason = res.statusCode
  if not ok and not reason then reason = BY_ERRCODE[res.errCode] end
  return reason ~= nil and self.on[reason] == true
end

function Run:finish(ok, res)
  if res.exception then
    res.exception.retryCount = self.again
    for i = 1, #res.exception.reasons do
      self.reasons[#self.reasons + 1] = res.exception.reasons[i]
    end
    res.exception.reasons = self.reasons
  end
  self.relay:finish(ok, res)
end

function Run:on_end(ok, res)
  local delay
  if self.again < self.tries and not self.heard and self:wants(ok, res) then
    self.again = self.again + 1
    delay = self:delay(res.header)
    if not delay then self.again = self.again - 1 end
  end
  if not delay then return self:finish(ok, res) end
  self.reasons[#self.reasons + 1] = { errno = res.errno or 0,
    errMsg = ok and errors.status(res.statusCode).text or res.errMsg }
  self:wait(delay)
end

function Run:wait(delay)
  local relay = self.relay
  relay.on_abort = self.after(delay, function()
    relay.on_abort = nil
    if not relay.ended then relay:protect(self.attempt, self) end
  end)
end

-- An answer that is going to be asked for again is none of the script's.
function Run:watch(task, record)
  task:onHeadersReceived(function(res)
    if self.again < self.tries and self:wants(true, res)
      and (retry.after(res.header) or 0) <= self.max then
      record.outer = nil
    elseif self.given.enableChunked then
      self.heard = true
    end
  end)
end

function Run:attempt()
  local params = {}
  for name, value in pairs(self.given) do params[name] = value end
  params.retry = nil
  self:watch(self.relay:attempt(params, function(ok, res)
    self:on_end(ok, res)
  end))
end

-- The task of that relay does what `given` says. `tools.after(ms, f)` calls f
-- in a later update(), and returns what cancels that.
function retry.run(relay, given, tools)
  local option, on = given.retry, {}
  local list = option.on or DEFAULT_ON
  for i = 1, #list do on[list[i]] = true end
  setmetatable({
    relay = relay, given = given, on = on, after = tools.after,
    tries = option.tries or TRIES, base = option.base or BASE_MS,
    max = option.max or MAX_MS,
    again = 0, heard = false, reasons = core.array {},
  }, Run):attempt()
end

return retry
