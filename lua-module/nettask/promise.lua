-- Promises: what a task will come to, and functions that wait for it.
--
-- A promise is pending until it is settled, once: resolved with a value or
-- rejected with a reason. What waits for it is a chain of jobs; settling moves
-- the chain to the queue, and the core takes one job after the other from there
-- inside update(), after the event that is being delivered, within the budget.
-- So nothing ever runs inside the call that registers or settles, nothing
-- recurses however long the chains are, and settling needs no memory.
--
-- For the other files:
--   promise.new() -> p, resolve, reject   the first call of the two counts
--   promise.resolved(x), promise.rejected(reason) -> p
--   promise.of(x) -> p      of a task or a promise; nil for anything else. For
--                           observe() and count(): that of a task has no
--                           methods
--   promise.observe(p, f)   f(ok, value) once p is settled, as a job: f belongs
--                           to us and does not raise
--   promise.count(p, f)     the same, also when p is dropped: ok is nil then
--   promise.drop(p, value)  nobody will settle p; value is for count()
--   promise.await(x)        in a coroutine
-- resolve(x) adopts a task or a promise x: p becomes what x becomes.
--
-- A task has a promise only once somebody asks for one: see core.promiseOf().
-- One that is aborted silently calls nobody: its promise is dropped, and with
-- it the chains and the coroutines that wait for it, and what they would have
-- settled. Only who counts the ends still hears of it.

local error, getmetatable, setmetatable = error, getmetatable, setmetatable
local rawget, tostring, type, xpcall = rawget, tostring, type, xpcall
-- Not in every Lua.
local close_co = rawget(coroutine, "close")
local isyieldable = rawget(coroutine, "isyieldable")
local create, resume, running = coroutine.create, coroutine.resume,
  coroutine.running
local status, yield = coroutine.status, coroutine.yield
local getinfo = debug and debug.getinfo -- a sandbox may take them away
local traceback = debug and debug.traceback

local core = require "nettask.core"

local promise_of, want_turn = core.promiseOf, core.wantTurn

local RESOLVED, REJECTED, DROPPED = "resolved", "rejected", "dropped"

local promise = {}

-- ---- The queue --------------------------------------------------------------

-- Jobs are linked by their `link`, and promises that were rejected while
-- nobody waited for them too. The core reads the two firsts to know whether
-- there is more to do, takes TOLD back when there is not, and clears all when
-- the context is closed.
local FIRST, FIRST_REJECTED = 1, 3 -- behind each of them is the last
local TOLD = 5                     -- the core knows that there is something
local ERA = 6                      -- counts contexts
local queue = { false, false, false, false, false, 0 }

local function append(first_at, first, last)
  local before = queue[first_at + 1]
  if before then
    before.link = first
  else
    queue[first_at] = first
    if not queue[TOLD] then
      queue[TOLD] = true
      want_turn()
    end
  end
  queue[first_at + 1] = last
end

local function take(first_at)
  local item = queue[first_at]
  if not item then return end
  local link = item.link
  queue[first_at] = link
  if not link then queue[first_at + 1] = false end
  item.link = false
  return item
end

-- ---- States -----------------------------------------------------------------

-- What getmetatable() shows of a promise: so they are known, and no script
-- reaches the methods of all.
local MARK = {}
local Promise = { __name = "nettask.Promise", __metatable = MARK }

-- `first` is the job that waits first. `value` is the last one and later what
-- it has come to: a field less, and tables of four and of eight fields waste
-- nothing. `link` is among the rejected ones. Those may have also: `trace`,
-- where the reason was raised; `handled`, somebody has waited since; `quiet`,
-- callbacks of the task have been told already.
local function pending()
  return setmetatable({ state = false, first = false, value = false,
    link = false }, Promise)
end

-- What else is known of a rejection needs memory, and comes when those who wait
-- are sure to hear of it.
local function settle(p, state, value, trace, quiet)
  if p.state then return end
  local first, last = p.first, p.value
  p.state, p.value = state, value
  if first then
    p.first = false
    append(FIRST, first, last)
  elseif state == REJECTED then
    append(FIRST_REJECTED, p, p)
  end
  if trace then p.trace = trace end
  if quiet then p.quiet = quiet end
end

-- coroutine -> the promise of what runs in it, see promise.run(). The promise
-- lives as long as the coroutine, which has it; where a key that its own value
-- leads to is never garbage (Lua 5.1, LuaJIT), it must not keep it.
local outcomes = setmetatable({}, { __mode = "kv" })

-- What nobody will settle when the job is not going to run; or nothing.
local function dependent(job)
  if job.co then return outcomes[job.co] end
  return job.target or job.state == false and job or nil
end

-- Nobody will settle p any more, nor what depends on it. Those who count hear
-- of it.
local function drop(p, value)
  if p.state then return end
  local job, last = p.first, p.value
  p.state, p.value, p.first = DROPPED, value, false
  while job do
    local other = dependent(job)
    if other and not other.state then
      if other.first then last.link, last = other.first, other.value end
      other.state, other.value, other.first = DROPPED, value, false
    end
    local link = job.link
    job.link = false
    if job.counts then append(FIRST, job, job) end
    job = link
  end
end

promise.drop = drop

-- The job is in no queue yet.
local function subscribe(p, job)
  local state = p.state
  if not state then
    if p.first then p.value.link = job else p.first = job end
    p.value = job
  elseif state ~= DROPPED or job.counts then
    if state == REJECTED then p.handled = true end
    append(FIRST, job, job)
  else
    local other = dependent(job)
    if other then drop(other, p.value) end
  end
end

-- ---- Tasks ------------------------------------------------------------------

local abort_result -- what fail() gets, by the kind of the task

-- Of one that has ended. Without a result it was aborted silently, or its
-- context was closed.
local function ended(ok, value, told)
  local p = pending()
  if ok == nil then ok, value = false, abort_result(value) end
  p.state, p.value = ok and RESOLVED or REJECTED, value
  p.quiet = told
  return p
end

-- The promise of a task, which is `made` if it has none yet, or false.
local function of_task(x, made)
  local known, ok, value, told = promise_of(x, made)
  if known == nil then return ended(ok, value, told) end
  return known
end

-- The promise of a task, or of itself; else nothing.
local function of(x)
  if getmetatable(x) == MARK then return x end
  if type(x) ~= "userdata" then return nil end
  return of_task(x, { state = false, first = false, value = false,
    link = false }) or nil
end

promise.of = of

-- ---- Passing on -------------------------------------------------------------

-- `target` becomes what `source` has become.
local function pass_on(source, target)
  settle(target, source.state, source.value, source.trace, source.quiet)
end

local function adopt_later(job)
  pass_on(job.source, job.target)
end

local function resolve(p, value)
  local kind = type(value)
  local source = (kind == "table" or kind == "userdata") and of(value)
  if not source then
    settle(p, RESOLVED, value)
  elseif source == p then
    settle(p, REJECTED, "a promise cannot wait for itself")
  elseif source.state and source.state ~= DROPPED then
    if source.state == REJECTED then source.handled = true end
    pass_on(source, p)
  else
    subscribe(source, { run = adopt_later, source = source, link = false,
      target = p })
  end
end

local function reject(p, reason, trace, quiet)
  if reason == nil then reason = "rejected without a reason" end
  settle(p, REJECTED, reason, trace, quiet)
end

-- ---- Handlers ---------------------------------------------------------------

local call_trace

local function note_trace(err)
  call_trace = traceback and traceback("", 2) or ""
  return err
end

-- xpcall() with an argument for f, which it does not take in Lua 5.1.
local call = xpcall
if not xpcall(type, type, 1) then
  local call_f, call_value

  local function call_now()
    local f, value = call_f, call_value
    call_f, call_value = nil, nil
    return f(value)
  end

  function call(f, handler, value)
    call_f, call_value = f, value
    return xpcall(call_now, handler)
  end
end

-- What next() and catch() return is its own job: one table instead of two. Once
-- it has run it keeps nothing alive.
local function derive(run, source, on_resolved, on_rejected)
  local target = setmetatable({ state = false, first = false, value = false,
    link = false, run = run, source = source, on_resolved = on_resolved,
    on_rejected = on_rejected }, Promise)
  subscribe(source, target)
  return target
end

local function react(target)
  local source, f = target.source, target.on_rejected
  if source.state == RESOLVED then f = target.on_resolved end
  target.source, target.on_resolved, target.on_rejected = nil, nil, nil
  if not f then return pass_on(source, target) end
  local era = queue[ERA]
  local ok, value = call(f, note_trace, source.value)
  if queue[ERA] ~= era then return end -- it has called net.close()
  if ok then return resolve(target, value) end
  reject(target, value, call_trace)
end

-- The job of finally(), and a second one when f has returned a promise.
local function conclude_later(job)
  local waited = job.source
  pass_on(waited.state == REJECTED and waited or job.outcome, job.target)
end

local function conclude(target)
  local source, f = target.source, target.on_resolved
  target.source, target.on_resolved = nil, nil
  local era = queue[ERA]
  local ok, value = call(f, note_trace)
  if queue[ERA] ~= era then return end
  if not ok then return reject(target, value, call_trace) end
  local waited = of(value)
  if not waited then return pass_on(source, target) end
  subscribe(waited, { run = conclude_later, source = waited, link = false,
    target = target, outcome = source })
end

local function notify(job)
  local source = job.source
  local ok = source.state == RESOLVED
  if source.state == DROPPED then ok = nil end
  job.f(ok, source.value)
end

function promise.observe(p, f)
  subscribe(p, { run = notify, source = p, link = false, f = f })
end

function promise.count(p, f)
  subscribe(p, { run = notify, source = p, link = false, f = f,
    counts = true })
end

-- ---- Methods ----------------------------------------------------------------

local function self_of(x, name)
  local p = of(x)
  if p then return p end
  error(("bad argument #1 to '%s' (a task or a promise expected, got %s)")
    :format(name, type(x)), 3)
end

local function check_function(f, arg, name, optional)
  if type(f) == "function" or optional and f == nil then return end
  error(("bad argument #%d to '%s' (function expected, got %s)"):format(arg,
    name, type(f)), 3)
end

local methods = {}

function methods.next(self, on_resolved, on_rejected)
  local p = self_of(self, "next")
  check_function(on_resolved, 1, "next", true)
  check_function(on_rejected, 2, "next", true)
  return derive(react, p, on_resolved, on_rejected)
end

methods["then"] = methods.next

function methods.catch(self, f)
  local p = self_of(self, "catch")
  check_function(f, 1, "catch")
  return derive(react, p, nil, f)
end

methods["finally"] = function(self, f)
  local p = self_of(self, "finally")
  check_function(f, 1, "finally")
  return derive(conclude, p, f)
end

-- ---- Coroutines -------------------------------------------------------------

-- A job that resumes a coroutine has it in `co` until it does so, and is
-- `waiting` until the coroutine goes on. Whoever else resumes it meanwhile (a
-- scheduler that turns all of its coroutines every frame) only makes it yield
-- again.
local function suspend(job)
  repeat yield() until not job.co
  job.waiting = nil
end

-- Whether the coroutine is in suspend(). A yield that failed, since there was a
-- C function in the way, leaves a job behind: on Lua 5.1 and 5.2 nobody can say
-- beforehand whether it will. (One that has died since is found out by resuming
-- it.)
local function is_suspended(co)
  if isyieldable or not getinfo then return true end
  if status(co) ~= "suspended" then return false end
  local info = getinfo(co, 1, "f")
  return info ~= nil and info.func == suspend
end

-- The coroutine has stopped; its resume() returned ok and err. Returns false
-- when the error is nobody's. Only await() brings back what is one of ours.
local function note_stop(co, ok, err)
  local p = outcomes[co]
  if not p then return ok end
  if not ok then
    reject(p, err, traceback and traceback(co) or "")
  elseif status(co) == "suspended" and getinfo
    and getinfo(co, 1, "f").func ~= suspend then
    reject(p, "nettask: nothing but await() may yield here")
  end
  return true
end

-- Calls f(x), now, in a coroutine of its own, in which it may await. Returns a
-- promise of what it returns or raises.
function promise.run(f, x)
  local p = pending()
  local co = create(function() resolve(p, f(x)) end)
  outcomes[co] = p
  local ok, err = resume(co)
  note_stop(co, ok, err)
  if not ok and close_co then close_co(co) end
  return p
end

-- The coroutine that runs, if it can wait.
local function own_coroutine()
  local co, is_main = running()
  if not co or is_main then
    error("nettask: await() works in a coroutine only; on the main thread use"
      .. " callbacks, and net.run() to wait for them", 3)
  elseif isyieldable and not isyieldable() then
    error("nettask: await() cannot yield here: a callback of update(), a"
      .. " metamethod or another C function called it", 3)
  end
  return co
end

local wake -- see promise.open()

-- The job is what the task gets for a promise, if it has none: then its first
-- job is itself.
function methods.await(self)
  local job = { state = false, first = false, value = false, link = false,
    run = wake, co = own_coroutine(), waiting = true }
  local p = type(self) == "userdata" and of_task(self, job)
    or self_of(self, "await")
  if p == job then
    p.first, p.value = p, p
  else
    subscribe(p, job)
  end
  suspend(job)
  if p.state == RESOLVED then return p.value end
  return nil, p.value
end

promise.await = methods.await

-- ---- What the core calls ----------------------------------------------------

-- A failure that nobody handles. An abort is the script's own doing.
local function report_rejection(p, report, log)
  local reason = p.value
  if p.quiet then return end
  if type(reason) == "table" and rawget(reason, "errno") == 1 then
    log.write("debug", "unhandled rejection: "
      .. tostring(rawget(reason, "errMsg")))
    return
  end
  report(reason, p.trace or "", "unhandled rejection")
end

-- The last event of a task whose promise is p. `told`: its fail or complete
-- callback knows. When the task was aborted silently `ok` is nil and `value`
-- the kind of the task.
local function on_end(p, ok, value, told)
  if ok ~= nil then
    return settle(p, ok and RESOLVED or REJECTED, value, nil, told)
  end
  if not p.state then drop(p, abort_result(value)) end
end

-- Gives the core what it needs, once; `report` hears of errors, and
-- result_of_abort(kind) is what fail() of an aborted task gets.
function promise.open(report, log, result_of_abort)
  function wake(job)
    local co = job.co
    if not is_suspended(co) then return end
    job.co = false
    local ok, err = resume(co)
    if job.waiting then return end
    if not note_stop(co, ok, err) then
      report(err, traceback and traceback(co) or "", "coroutine")
    end
    if not ok and close_co then close_co(co) end
  end

  local function turn()
    local job = take(FIRST)
    if job then
      job.run(job)
      return
    end
    local p = take(FIRST_REJECTED)
    if p and not p.handled then report_rejection(p, report, log) end
  end

  abort_result = result_of_abort
  core.promises(queue, turn, on_end, methods)
  promise.open = nil
end

-- ---- Making some ------------------------------------------------------------

function promise.new()
  local p = pending()
  local decided = false
  local function resolve_once(value)
    if decided then return end
    decided = true
    resolve(p, value)
  end
  local function reject_once(reason)
    if decided then return end
    decided = true
    reject(p, reason)
  end
  return p, resolve_once, reject_once
end

function promise.resolved(value)
  local p = pending()
  resolve(p, value)
  return p
end

function promise.rejected(reason)
  local p = pending()
  reject(p, reason)
  return p
end

Promise.__index = methods

function Promise.__tostring(p)
  return ("nettask.Promise (%s)"):format(p.state or "pending")
end

return promise
