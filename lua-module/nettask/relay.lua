-- A task that others work for. request() returns one when its outcome is not
-- that of one exchange: when interceptors stand before it, or when it may take
-- several attempts. It is a task like any other, open and never started, so
-- its id, its listeners, stats() and run() need no case of their own.
--
-- The tasks that work for it are its inner ones. What they hear reaches the
-- listeners of the outer one, see listener.c; abort() of the outer one ends
-- them at once, by way of record.cancel. An inner task may be an outer one
-- itself.
--
-- What an outer task needs of its API is a table, made by exchange.lua:
--   start    start(given, outer) -> task, record: an inner task; `outer` is
--            the record that it works for
--   join     join(task, signal, group): those may end it too
--   refuse   ends an open task in a later update()
--   failure  failure(fault) -> what fail() gets

local error, pairs, pcall, setmetatable = error, pairs, pcall, setmetatable

local errors = require "nettask.errors"

local relay = {}

local Relay = {}
Relay.__index = Relay

-- The open task with that record becomes an outer one.
function relay.new(task, record, api)
  local self = setmetatable({
    task = task,
    record = record,
    api = api,
    inner = {}, -- list of { task, record }
    ended = false,   -- by finish(), fail() or abort(): its outcome is certain
    aborted = false, -- by abort()
  }, Relay)
  record.inner = false -- no inner task yet
  record.cancel = function() self:cancel() end
  return self
end

-- Those that have ended need not be kept.
local function prune(list)
  local kept = 0
  for i = 1, #list do
    local item = list[i]
    list[i] = nil
    if item[1].state ~= "done" then
      kept = kept + 1
      list[kept] = item
    end
  end
end

-- What must not happen: nobody would end the outer task any more.
function Relay:protect(f, ...)
  local ok, err = pcall(f, ...)
  if ok then return end
  self:fail(errors.raised(err))
  error(err, 0)
end

-- Start an inner task with a copy of these options, and return it and its
-- record; without record.outer nobody hears it. settle(ok, res) is called in a
-- later update(), unless the outer task has ended by then; without it the task
-- is the caller's to watch. Not after abort().
function Relay:attempt(given, settle)
  local params = {}
  for name, value in pairs(given) do params[name] = value end
  if settle then
    local function settled(ok)
      return function(res)
        if not self.ended then self:protect(settle, ok, res) end
      end
    end
    params.success, params.fail = settled(true), settled(false)
    params.complete, params.signal, params.group = nil, nil, nil
  end
  prune(self.inner)
  local task, record = self.api.start(params, not self.ended and self.record
    or nil)
  record.handled = true -- a failure is no news for the log
  if params.signal or params.group then
    self.api.join(task, params.signal, params.group)
  end
  self.record.inner = task
  self.inner[#self.inner + 1] = { task, record }
  return task, record
end

-- The outcome: in a later update() the outer task ends with it. The first one
-- holds, and abort() comes before it until it was delivered. Inner tasks that
-- still run go on, unheard.
function Relay:finish(ok, res)
  if self.ended then return end
  self.ended = true
  for i = 1, #self.inner do self.inner[i][2].outer = nil end
  self.inner = {}
  self.record.outcome = { ok = ok, res = res }
  self.api.refuse(self.task)
end

-- The outcome is this failure, see errors.lua.
function Relay:fail(fault)
  self:finish(false, self.api.failure(fault))
end

-- The outer task is being aborted, by its own abort().
function Relay:cancel()
  if self.ended then return end
  self.ended, self.aborted = true, true
  local inner = self.inner
  self.inner = {}
  for i = 1, #inner do inner[i][1]:abort() end
  if self.on_abort then self.on_abort() end
end

return relay
