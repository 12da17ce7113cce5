-- group(): tasks that are ended together, a scene's, say, or waited for.

local error, getmetatable, setmetatable = error, getmetatable, setmetatable
local tostring, type = tostring, type

local core = require "nettask.core"
local crowd = require "nettask.crowd"
local promise = require "nettask.promise"

local is_task = core.isTask

-- Tasks that have ended and that nobody has waited for yet.
local KEEP = 1000

local MARK = {} -- see promise.lua
local Group = { __name = "nettask.Group", __metatable = MARK }
local methods = {}
Group.__index = methods

local group = {}

-- `collectors` are functions that want to know of tasks that are added.
function group.new()
  return setmetatable({ tasks = crowd.new(KEEP), collectors = {} }, Group)
end

function group.is(x)
  return type(x) == "table" and getmetatable(x) == MARK
end

local function check_group(self, name)
  if group.is(self) then return end
  error(("bad argument #1 to '%s' (a group expected, got %s)"):format(name,
    type(self)), 3)
end

local function add(self, task)
  crowd.add(self.tasks, task)
  local collectors = self.collectors
  for i = 1, #collectors do collectors[i](task) end
end

group.add = add

-- group:add(task) -> task
function methods.add(self, task)
  check_group(self, "add")
  if not is_task(task) then
    error(("bad argument #1 to 'add' (a task expected, got %s)"):format(
      type(task)), 2)
  end
  add(self, task)
  return task
end

function methods.abort(self, options)
  check_group(self, "abort")
  crowd.abort(self.tasks, options)
end

-- ---- Waiting ----------------------------------------------------------------

local function remove(list, value)
  local kept = 0
  for i = 1, #list do
    local item = list[i]
    list[i] = nil
    if item ~= value then
      kept = kept + 1
      list[kept] = item
    end
  end
end

-- A promise of the list of outcomes, in the order of adding; what is added
-- meanwhile takes part. What was told is forgotten.
local function collect(self)
  local p, resolve = promise.new()
  local outcomes, left = {}, 1
  local collector
  local function finish()
    left = left - 1
    if left > 0 then return end
    remove(self.collectors, collector)
    crowd.prune(self.tasks, 0)
    resolve(outcomes)
  end
  -- Other handlers of the last one may add more: they come first.
  local function arrived()
    left = left - 1
    if left > 0 then return end
    left = 1
    promise.observe(promise.resolved(), finish)
  end
  function collector(task)
    local source = promise.of(task)
    if not source then return end -- a TCP or UDP socket
    local outcome = {}
    outcomes[#outcomes + 1] = outcome
    left = left + 1
    promise.count(source, function(ok, value)
      outcome.ok = ok == true
      outcome[ok and "res" or "err"] = value
      arrived()
    end)
  end
  for i = 1, #self.tasks do collector(self.tasks[i]) end
  self.collectors[#self.collectors + 1] = collector
  arrived()
  return p
end

function methods.await(self)
  check_group(self, "await")
  return promise.await(collect(self))
end

function Group.__tostring(self)
  return ("nettask.Group (%s)"):format(tostring(#self.tasks))
end

return group
