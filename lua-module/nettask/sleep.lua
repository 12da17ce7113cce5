-- sleep(): a task that takes a time, and does nothing else.

local ceil, error, type = math.ceil, error, type

local core = require "nettask.core"

local MAX_MS = 4294967295 -- of the core

local function check_time(ms)
  if type(ms) == "number" and ms == ms then return end
  error(("bad argument #1 to 'sleep' (a number of ms expected, got %s)")
    :format(type(ms) == "number" and "nan" or type(ms)), 3)
end

local function begin(ms)
  check_time(ms)
  local task = core.sleepOpen {}
  ms = ms < 0 and 0 or ms > MAX_MS and MAX_MS or ceil(ms)
  local code = core.sleepStart(task, ms)
  if code ~= 0 then
    task:abort { silent = true }
    error("nettask: sleep: " .. core.message(code), 2)
  end
  return task
end

return {
  name = "sleep",
  method = true, -- there is no url to speak of
  begin = begin,
}
