-- Plays the tests of http-cache-tests with net.request, as a browser would with
-- fetch, and says how they went:
--
--   client.lua URL NAME HOW [FOLDER]
--
-- URL is of the suite's server, NAME is what this run is known by there, HOW is
-- "whole" or "chunked", FOLDER becomes cacheDir.
--
-- A test fails when the suite wants it ("required" of every cache, "optimal" in
-- a good one) and allowed.lua does not name it, or when it is named there and
-- passes. What the suite only asks ("check") is answered, and does not count.
-- Prints all that did not pass, a table, and "N passed, N failed".

local net = require "nettask"
local allowed = require "cache_suite.allowed"
local judge = require "cache_suite.judge"

local CHUNK = 100 -- at once, as the suite does
local PAUSE_MS = 3000
local DEADLINE_MS = 240000

local base, run, how, folder = arg[1], arg[2], arg[3], arg[4]

local function die(...)
  io.stderr:write(table.concat({ ... }, "\n"), "\n")
  os.exit(1)
end

net.onError(function(err, traceback)
  die(tostring(err), tostring(traceback))
end)
net.configure { limits = { maxRequests = 0 }, cacheDir = folder }

-- ---- One test --------------------------------------------------------------

-- The answer as text; or nil and a verdict.
local function fetch(options)
  options.dataType = options.dataType or "text"
  local task, pieces = net.request(options), {}
  if options.enableChunked then
    task:onChunkReceived(function(res)
      pieces[#pieces + 1] = tostring(res.data)
    end)
  end
  local res, err = task:await()
  if not res then return nil, { name = "Fetch", message = err.errMsg } end
  if options.enableChunked then res.data = table.concat(pieces) end
  return res
end

-- Fields of one name are one, as in the Headers of fetch.
local function headers_of(request, number)
  local header = { ["Test-ID"] = request.id, ["Req-Num"] = tostring(number) }
  for _, field in ipairs(request.request_headers or {}) do
    local before = header[field[1]]
    header[field[1]] = before and before .. ", " .. field[2] or field[2]
  end
  return header
end

local function send(request, number, id)
  return fetch {
    url = base .. "/test/" .. id
      .. (request.filename and "/" .. request.filename or "")
      .. (request.query_arg and "?" .. request.query_arg or ""),
    method = request.request_method,
    header = headers_of(request, number),
    data = request.request_body,
    redirect = request.redirect,
    cache = request.cache or "default",
    enableChunked = how == "chunked",
  }
end

-- pcall() cannot be yielded across in Lua 5.1: nothing in it waits.
local function verdict(ok, err)
  if ok or type(err) == "table" then return err end
  die(err)
end

-- In a coroutine; returns nothing when all is well, else a verdict. The server
-- knows the test by its id and the number of the round.
local function play(test, round)
  local id = ("%s-%d-%s"):format(run, round, test.id)
  local made, failed = fetch { url = base .. "/config/" .. id, method = "PUT",
    data = test.config }
  if not made then return failed end
  if made.statusCode ~= 201 then
    return { name = "Setup", message = made.data }
  end
  local answers = {}
  for number, request in ipairs(test.requests) do
    answers[number], failed = send(request, number, id)
    failed = failed or verdict(pcall(judge.answer, request, number,
      answers[number], id, net.null))
    if failed then return failed end
    if request.pause_after then net.sleep(PAUSE_MS):await() end
  end
  local state
  state, failed = fetch { url = base .. "/state/" .. id, dataType = "json" }
  return failed or verdict(pcall(judge.requests, test.requests, answers,
    state.statusCode == 200 and state.data or {}))
end

-- ---- All of them -----------------------------------------------------------

local results = {} -- id: true or a verdict

-- Plays these tests, so many at once; done() is called behind them.
local function play_all(tests, round, done)
  local function begin(first)
    local left = math.min(CHUNK, #tests - first + 1)
    if left <= 0 then return done() end
    for i = first, first + left - 1 do
      coroutine.wrap(function()
        results[tests[i].id] = play(tests[i], round) or true
        left = left - 1
        if left == 0 then begin(first + CHUNK) end
      end)()
    end
  end
  begin(1)
end

-- On a machine that is busy a test may take too long to be one: what was to be
-- fresh for two seconds no longer is. Those get another chance.
local function not_made(tests)
  local list = {}
  for _, test in ipairs(tests) do
    local result = results[test.id]
    if test.kind ~= "check" and not allowed.failures[test.id]
      and type(result) == "table" and result.name == "Setup" then
      list[#list + 1] = test
    end
  end
  return list
end

-- What the suite's page shows for a test: "pass", "fail", "setup" (it could not
-- be made), "depends" (on one that did not pass).
local function outcome(by_id, id)
  local result = results[id]
  if result == nil then return "not played" end
  for _, other in ipairs(by_id[id].depends_on or {}) do
    if outcome(by_id, other) ~= "pass" then return "depends" end
  end
  if result == true then return "pass" end
  return result.name == "Setup" and "setup" or "fail"
end

-- ---- The report ------------------------------------------------------------

local KINDS = { "required", "optimal", "check" }
local OUTCOMES = { "pass", "fail", "setup", "depends", "not played" }

local function tell(test, what, reason)
  local result = results[test.id]
  local told = type(result) == "table" and result.name .. ": "
    .. result.message or ""
  print(("%-8s %-8s %s %s"):format(test.kind, what, test.id, told))
  if reason then print("         allowed: " .. reason) end
end

local function count(tests, by_id)
  local counts, passed, failed = {}, 0, 0
  for _, kind in ipairs(KINDS) do counts[kind] = {} end
  for _, test in ipairs(tests) do
    local what, reason = outcome(by_id, test.id), allowed.failures[test.id]
    local row = counts[test.kind]
    row[what] = (row[what] or 0) + 1
    if what ~= "pass" or reason then tell(test, what, reason) end
    local right = (what == "pass") == (reason == nil)
    if test.kind ~= "check" and right then
      passed = passed + 1
    elseif test.kind ~= "check" then
      failed = failed + 1
    end
  end
  return counts, passed, failed
end

local function show(counts)
  print(("\n%-10s"):format("") .. ("%11s"):rep(#OUTCOMES):format(
    (table.unpack or unpack)(OUTCOMES)))
  for _, kind in ipairs(KINDS) do
    local line = { ("%-10s"):format(kind) }
    for _, what in ipairs(OUTCOMES) do
      line[#line + 1] = ("%11d"):format(counts[kind][what] or 0)
    end
    print(table.concat(line))
  end
end

-- ---- From the server to the report -----------------------------------------

local tests, by_id, excluded = {}, {}, 0

net.request { url = base .. "/tests.json", success = function(res)
  for _, test in ipairs(res.data) do
    by_id[test.id] = test
    if allowed.excluded[test.id] then
      excluded = excluded + 1
    else
      tests[#tests + 1] = test
    end
  end
  play_all(tests, 1, function()
    play_all(not_made(tests), 2, function() end)
  end)
end, fail = function(res)
  die("the tests cannot be had: " .. res.errMsg)
end }

if not net.run(DEADLINE_MS) then die("the tests do not end") end
local counts, passed, failed = count(tests, by_id)
show(counts)
print(("%d tests are not for this cache, see allowed.lua"):format(excluded))
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and passed > 0 and 0 or 1)
