-- A game's loop of 60 frames a second with 64 requests in flight:
--   lua bench/frames.lua URL SECONDS [STUCK_URL]
-- update() and each call of request() are timed apart; new requests are made
-- after update(), as a game would. With STUCK_URL one more request hangs in a
-- name lookup all the while; it is aborted at the end, another one takes its
-- place, and the context is closed.

local net = require "nettask"
local baseline = require "bench.baseline"
local measure = require "bench.measure"

local url, seconds, stuck_url = arg[1], tonumber(arg[2]), arg[3]
local FRAME_SECONDS = 1 / 60
local IN_FLIGHT = 64
local SETTLE_SECONDS = 0.5

net.configure { policy = "open" }

local clock = measure.clock
local running, done = 0, 0

local function success(res)
  assert(res.statusCode == 200 and #res.data == 1024)
  running = running - 1
  done = done + 1
end

local function fail(res)
  error(res.errMsg)
end

net.onError(function(err, traceback)
  io.stderr:write("bench: ", tostring(err), "\n", traceback, "\n")
  os.exit(1)
end)

local function timed(samples, fn, ...)
  local started = clock()
  fn(...)
  samples[#samples + 1] = (clock() - started) * 1000
end

-- Runs frames for that time; returns the samples of update() and request().
local function run_frames(time)
  local updates, requests = {}, {}
  local next_frame = clock()
  local stop_at = next_frame + time
  while next_frame < stop_at do
    timed(updates, net.update)
    while running < IN_FLIGHT do
      running = running + 1
      timed(requests, net.request, { url = url, dataType = "text",
        success = success, fail = fail })
    end
    next_frame = next_frame + FRAME_SECONDS
    baseline.sleep(next_frame - clock())
  end
  return updates, requests
end

local function add(values, name, samples)
  values[name .. "_p50"] = measure.quantile(samples, 0.5)
  values[name .. "_p99"] = measure.quantile(samples, 0.99)
  values[name .. "_max"] = measure.quantile(samples, 1)
end

local stuck_ended

local function start_stuck()
  stuck_ended = false
  return net.request { url = stuck_url, complete = function(res)
    stuck_ended = res.errMsg
  end, fail = function() end }
end

-- From the call to the last callback; the other requests go on.
local function time_abort(task)
  local started = clock()
  task:abort()
  while not stuck_ended do
    assert(clock() < started + 10, "the abort does not end")
    net.update()
    net.wait(1)
  end
  assert(stuck_ended:find("abort"), stuck_ended)
  return (clock() - started) * 1000
end

local function time_close()
  local started = clock()
  net.close()
  return (clock() - started) * 1000
end

local values = {}
run_frames(SETTLE_SECONDS)
done = 0
local task = stuck_url and start_stuck()
local updates, requests = run_frames(seconds)
assert(done > 0)
add(values, "update", updates)
add(values, "request", requests)
values.requests = done
if task then
  assert(not stuck_ended, "it did not hang: run this beside a silent resolver")
  values.abort_ms = time_abort(task)
  start_stuck()
  run_frames(SETTLE_SECONDS)
  assert(not stuck_ended, "it did not hang")
  values.close_ms = time_close()
end
measure.print(values)
