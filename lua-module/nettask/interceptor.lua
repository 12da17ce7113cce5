-- Interceptors: functions that stand between request() and the network, like
-- the skins of an onion. The first one that was added is the first to see the
-- options and the last to see the result.
--
-- A call of request() with interceptors makes a task that others work for
-- (relay.lua), takes a copy of the list, and enters the first link. Each link
-- gets a chain of its own; its proceed() enters the next one, and the last link
-- is the request itself. What a link returns becomes a promise, what the first
-- one returns the outcome of the task. Every link runs in a coroutine, so it
-- may await().
--
-- A call of proceed() has a scope: the tasks that were started behind it, for
-- the abort() of what it returns.

local error, ipairs, pairs, pcall = error, ipairs, pairs, pcall
local rawequal, rawget, rawset = rawequal, rawget, rawset
local setmetatable, tostring, type = setmetatable, tostring, type

local core = require "nettask.core"
local errors = require "nettask.errors"
local options = require "nettask.options"
local promise = require "nettask.promise"

local NESTED_MAX = 16    -- links that run inside of each other
local LEVEL_MAX = 20     -- requests that links make inside of each other
local DEFAULT_MS = 60000 -- of timeoutInterceptor
local TEXT_MAX = 1000    -- of a body in a line of logInterceptor
local SILENT = { silent = true }

-- Of the task that the script has: no business of the links.
local OF_CALLER = { success = true, fail = true, complete = true,
  signal = true, group = true }

local interceptor = {}

-- ---- Scopes -----------------------------------------------------------------

local function is_aborted(scope)
  while scope do
    if scope.aborted then return true end
    scope = scope.outer
  end
  return false
end

local function note(scope, task)
  while scope do
    scope[#scope + 1] = task
    scope = scope.outer
  end
end

local function abort(scope)
  if scope.aborted then return end
  scope.aborted = true
  for i = 1, #scope do scope[i]:abort() end
end

-- ---- Chains -----------------------------------------------------------------

-- The documentation of Taro has the name both ways.
local Chain = { __name = "nettask.Chain" }

function Chain.__index(chain, name)
  if name == "requestParmas" then return rawget(chain, "requestParams") end
end

function Chain.__newindex(chain, name, value)
  if name == "requestParmas" then name = "requestParams" end
  rawset(chain, name, value)
end

local function check_params(given)
  if type(given) ~= "table" then
    error(("bad argument #1 to 'proceed' (table expected, got %s)"):format(
      type(given)), 3)
  end
end

-- `walk` is what all links of one call share: last, the request itself as a
-- link, start(params, scope), and level, how many calls it is made inside of.
local enter

-- A script may call proceed with a colon or, as it was written elsewhere, with
-- a dot.
local function make_chain(walk, links, index, params, scope)
  local chain = { requestParams = params, index = index, interceptors = links }
  function chain.proceed(a, b)
    local given = a
    if rawequal(a, chain) then given = b end
    if given == nil then given = chain.requestParams end
    check_params(given)
    chain.requestParams = given
    return enter(walk, chain.interceptors, chain.index + 1, given, scope)
  end
  return setmetatable(chain, Chain)
end

-- The walk whose link runs right now, and how many links do.
local running, nested = nil, 0

local function run_now(walk, link, chain)
  local before = running
  running, nested = walk, nested + 1
  local ok, p = pcall(promise.run, link, chain)
  running, nested = before, nested - 1
  if not ok then error(p, 0) end -- no memory
  return p
end

-- Coroutines inside of each other have a limit, by which LuaJIT even crashes.
-- So whoever has many interceptors gets some of them a little later, as a job.
local function run_link(walk, link, chain)
  if nested < NESTED_MAX then return run_now(walk, link, chain) end
  return promise.resolved():next(function()
    return run_now(walk, link, chain)
  end)
end

function enter(walk, links, index, params, outer)
  local link = links[index]
  if type(link) ~= "function" then
    error("nettask: chain:proceed: there is no link behind the last one", 3)
  end
  local scope = { outer = outer }
  if link == walk.last then return walk.start(params, scope) end
  local p = run_link(walk, link, make_chain(walk, links, index, params, scope))
  p.abort = function() abort(scope) end
  return p
end

-- ---- The outcome ------------------------------------------------------------

local function as_result(value)
  if value == nil then value = {} end
  if type(value) == "table" and value.errMsg == nil then
    value.errMsg = "request:ok"
  end
  return value
end

local function is_failure(value)
  return type(value) == "table" and type(value.errMsg) == "string"
end

-- What the first link came to is what the task comes to. Whatever it rejected
-- with, fail() gets a result. Without an outcome (`ok` is nil) a link waited
-- for a task that was aborted silently.
local function conclude(relay, ok, value)
  if ok == nil then
    return relay:fail(errors.of_code(core.errors.ABORTED))
  elseif ok then
    local fine, res = pcall(as_result, value)
    if fine then return relay:finish(true, res) end
    return relay:fail(errors.raised(res))
  end
  local fine, is_result = pcall(is_failure, value)
  if fine and is_result then return relay:finish(false, value) end
  relay:fail(errors.raised(value))
end

-- ---- Those that come with it ------------------------------------------------

local function text_of(data)
  local text
  if data == nil then return "" end
  if type(data) == "userdata" then
    return ("%d bytes"):format(data.byteLength or 0)
  elseif type(data) == "table" then
    text = core.jsonEncode(data, "data")
  end
  text = text or tostring(data)
  return #text > TEXT_MAX and text:sub(1, TEXT_MAX) .. "..." or text
end

local function result_text(res)
  if type(res) ~= "table" then return text_of(res) end
  if res.statusCode == nil then return tostring(res.errMsg) end
  return ("%s %s"):format(tostring(res.statusCode), text_of(res.data))
end

local function log_interceptor(log)
  return function(chain)
    local params = chain.requestParams
    local url = tostring(params.url)
    local function result(res)
      log.write("info", ("http <-- %s result: %s"):format(url,
        result_text(res)))
      return res
    end
    log.write("info", ("http %s --> %s data: %s"):format(
      tostring(params.method or "GET"), url, text_of(params.data)))
    return chain:proceed(params):next(result, function(err)
      error(result(err), 0)
    end)
  end
end

local function timeout_interceptor(failure, sleep)
  return function(chain)
    local params = chain.requestParams
    local ms = params.timeout
    local p, resolve, reject = promise.new()
    local work = chain:proceed(params)
    local clock = sleep(type(ms) == "number" and ms > 0 and ms or DEFAULT_MS)
    promise.count(promise.of(work), function(ok, value)
      clock:abort(SILENT)
      if ok then resolve(value) elseif ok == false then reject(value)
      else promise.drop(p, value) end
    end)
    clock:next(function()
      reject(failure(errors.of_code(core.errors.TIMEOUT)))
      work:abort()
    end)
    return p
  end
end

-- ---- The list ---------------------------------------------------------------

local function check_function(f)
  if type(f) ~= "function" then
    error(("bad argument #1 to 'addInterceptor' (function expected, got %s)")
      :format(type(f)), 3)
  end
end

-- The functions over one list. failure(fault) makes what fail() gets, sleep(ms)
-- a task that takes that long.
function interceptor.new(log, failure, sleep)
  local self = {
    links = {}, -- never changed once a call has seen it
    interceptors = {
      logInterceptor = log_interceptor(log),
      timeoutInterceptor = timeout_interceptor(failure, sleep),
    },
  }

  function self.add(f)
    check_function(f)
    local links = {}
    for i, link in ipairs(self.links) do links[i] = link end
    links[#links + 1] = f
    self.links = links
  end

  function self.clean()
    self.links = {}
  end

  local function aborted()
    return promise.rejected(failure(errors.of_code(core.errors.ABORTED)))
  end

  -- The request itself. One that was aborted meanwhile is not begun.
  local function start(relay, params, scope)
    if relay.aborted or is_aborted(scope) then return aborted() end
    local task = relay:attempt(params)
    note(scope, task)
    return task
  end

  -- For exchange.lua: begins what `relay` stands for.
  function self.run(relay, given)
    local fault = options.of_caller(given, OF_CALLER)
    if fault then return relay:fail(fault) end
    local walk = { level = (running and running.level or 0) + 1 }
    if walk.level > LEVEL_MAX then return relay:fail(errors.LEVEL) end
    local params, links = {}, {}
    for name, value in pairs(given) do
      if not OF_CALLER[name] then params[name] = value end
    end
    for i, link in ipairs(self.links) do links[i] = link end
    function walk.start(current, scope)
      return start(relay, current, scope)
    end
    function walk.last(chain)
      return walk.start(chain.requestParams)
    end
    links[#links + 1] = walk.last
    promise.count(promise.of(enter(walk, links, 1, params)),
      function(ok, value) conclude(relay, ok, value) end)
  end

  return self
end

return interceptor
