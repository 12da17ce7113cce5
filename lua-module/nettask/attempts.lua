-- Which requests may take several attempts, and what then happens instead of
-- one exchange.

local failover = require "nettask.failover"
local is_jsonp = require "nettask.jsonp".is_wanted
local retry = require "nettask.retry"
local store = require "nettask.store"

local pairs = pairs
local SILENT = { silent = true }
local run_failover, run_retry = failover.run, retry.run
local is_allowed = retry.is_allowed

local attempts = {}

-- The function for exchange.lua: of(given) -> run(relay, given), or nil for one
-- attempt. sleep(ms) is a task that takes that long.
function attempts.new(settings, log, report, sleep)
  local tools = { settings = settings, log = log, report = report,
    store = store.new(log) }

  -- Calls f in a later update(); returns what cancels that.
  function tools.after(ms, f)
    local task = sleep(ms)
    task:next(f)
    return function() task:abort(SILENT) end
  end

  -- What is given is read again for each attempt: it must not change.
  local function copy(given)
    local params = {}
    for name, value in pairs(given) do params[name] = value end
    return params
  end

  local function with_failover(relay, given)
    run_failover(relay, copy(given), tools)
  end

  local function with_retry(relay, given)
    run_retry(relay, copy(given), tools)
  end

  -- A request that looks elsewhere may try again at each place.
  return function(given)
    if given.failover or given.jsonp and is_jsonp(given.jsonp) then
      return with_failover
    end
    if given.retry and is_allowed(given, log) then return with_retry end
  end
end

return attempts
