-- AbortController and its signal, which ends all tasks that were given it.

local error, getmetatable, setmetatable = error, getmetatable, setmetatable
local type, xpcall = type, xpcall
local traceback = debug and debug.traceback -- a sandbox may take it away

local crowd = require "nettask.crowd"

local MARK = {} -- see promise.lua
local Signal = { __name = "nettask.AbortSignal", __metatable = MARK }
local Controller = { __name = "nettask.AbortController", __metatable = false }
local signal_methods, controller_methods = {}, {}
Signal.__index = signal_methods
Controller.__index = controller_methods

local abort = {}

function abort.is(x)
  return type(x) == "table" and getmetatable(x) == MARK
end

-- The task ends when the signal is given.
function abort.join(signal, task)
  if signal.aborted then return task:abort() end
  crowd.add(signal.tasks, task)
end

-- ---- The signal -------------------------------------------------------------

local function check(self, f, name)
  if not abort.is(self) then
    error(("bad argument #1 to '%s' (a signal expected, got %s)"):format(name,
      type(self)), 3)
  elseif type(f) ~= "function" then
    error(("bad argument #1 to '%s' (function expected, got %s)"):format(name,
      type(f)), 3)
  end
end

-- Returns a copy without f: whoever walks the old one is safe.
local function without(list, f)
  local copy = {}
  for i = 1, #list do
    if list[i] ~= f then copy[#copy + 1] = list[i] end
  end
  return copy
end

function signal_methods.onabort(self, f)
  check(self, f, "onabort")
  local listeners = self.listeners
  for i = 1, #listeners do
    if listeners[i] == f then return end
  end
  listeners = without(listeners)
  listeners[#listeners + 1] = f
  self.listeners = listeners
end

function signal_methods.offabort(self, f)
  if f == nil and abort.is(self) then
    self.listeners = {}
    return
  end
  check(self, f, "offabort")
  self.listeners = without(self.listeners, f)
end

-- ---- The controller ---------------------------------------------------------

-- Listeners are called here and now; one that raises does not keep the others
-- from hearing.
local function tell(signal, reason, report)
  local listeners = signal.listeners
  for i = 1, #listeners do
    local trace = ""
    local ok, err = xpcall(function() listeners[i](reason) end,
      function(message)
        trace = traceback and traceback("", 2) or ""
        return message
      end)
    if not ok then report(err, trace, "AbortSignal onabort") end
  end
end

-- The constructor; `report` hears of errors in listeners.
function abort.new(report)
  function controller_methods.abort(self, reason)
    local signal = type(self) == "table" and self.signal
    if not abort.is(signal) then
      error("bad argument #1 to 'abort' (a controller expected)", 2)
    end
    if signal.aborted then return end
    signal.aborted, signal.reason = true, reason
    local tasks = signal.tasks
    signal.tasks = crowd.new(0)
    crowd.abort(tasks)
    tell(signal, reason, report)
  end

  return function()
    return setmetatable({ signal = setmetatable({ aborted = false,
      tasks = crowd.new(0), listeners = {} }, Signal) }, Controller)
  end
end

return abort
