-- Runs the script of a test in a network namespace of its own, where the DNS
-- server does what the test wants, with a few functions for it to use.
--
--   local inside = require "support.inside"
--   inside("silent", [[ check_timeout(fetch(...)) ]], 8000)

local helper = require "helper"

local BEGIN = [[
local helper = require "helper"
local residue = require "support.residue"
local net, fault = helper.net, helper.servers.fault
local S = 100 * helper.slow

local function fetch(url, options)
  local given = { url = url, dataType = "text" }
  for key, value in pairs(options or {}) do given[key] = value end
  return helper.fetch(given)
end

local function same(want, got)
  if want ~= got then
    error(("expected %s, got %s"):format(tostring(want), tostring(got)), 2)
  end
end

local check_failure = helper.check_failure

local function check_unresolved(record)
  check_failure(record, "-105:net::ERR_NAME_NOT_RESOLVED", 600001, -105)
end

local function check_timeout(record)
  check_failure(record, "timeout", 5, -7)
end

local function check_abort(record)
  check_failure(record, "abort", 1, -3)
end

local function done(record) return record.done end

-- Whether a test holds for all records.
local function all(records, test)
  for _, record in ipairs(records) do
    if not test(record) then return false end
  end
  return true
end

local function hang(number, options)
  local records = {}
  for i = 1, number do
    local given = { url = ("http://name%d.example/"):format(i) }
    for key, value in pairs(options or {}) do given[key] = value end
    records[i] = helper.start(given)
  end
  return records
end
]]

-- Runs the script in a namespace; it must end well, and within `ms` of real
-- time when that is given. `more` are further options of helper.netns(), or
-- the text of /etc/hosts. Returns what it printed.
return function(dns, script, ms, more)
  local started = helper.now()
  local options = { dns = dns }
  if type(more) == "string" then more = { hosts = more } end
  for name, value in pairs(more or {}) do options[name] = value end
  local result = helper.netns(BEGIN .. script, options)
  assert(result.err == "", result.err)
  assert(result.status == 0, "ended with " .. tostring(result.status))
  assert(not ms or helper.now() - started < ms * helper.slow, "too late")
  return result.out
end
