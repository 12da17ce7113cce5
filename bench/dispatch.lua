-- How fast update() hands out results that have piled up, against a loop in C
-- that makes the same table and calls the same function, protected:
--   lua bench/dispatch.lua URL COUNT SECONDS
-- The body has 1 KB and no header is read. "full" is the same result with all
-- that is in it (header, cookies, profile, exception), made the fastest way
-- that C has; "lean" has four fields and the body, for comparison. The
-- collector rests while one is timed: when it would run depends on what else is
-- in the heap, and there the requests have left more than the loop in C.

local net = require "nettask"
local profile = require "nettask.profile"
local baseline = require "bench.baseline"
local measure = require "bench.measure"

local url, count, seconds = arg[1], tonumber(arg[2]), tonumber(arg[3])
local DEADLINE = 20

net.configure { policy = "open", limits = { maxRequests = 64 } }

local seen = 0

local function callback(res)
  if res.statusCode == 200 and #res.data == 1024 then
    seen = seen + 1
  end
end

local function raise(res)
  error(res.errMsg)
end

local function handler(err)
  return err
end

local meta = { __index = function() end }

-- update() delivers what has arrived by then: all, once the bytes that came in
-- are those of all.
local bytes_each

local function wait_for_all(before)
  local deadline = measure.clock() + DEADLINE
  while net.stats().bytesIn - before < count * bytes_each do
    assert(measure.clock() < deadline, "responses do not arrive")
    baseline.sleep(0.002)
  end
  baseline.sleep(0.02) -- counted before it is posted
end

local function start(n)
  local before = net.stats().bytesIn
  for _ = 1, n do
    net.request { url = url, dataType = "text", success = callback,
      fail = raise }
  end
  return before
end

local function timed(fn, ...)
  collectgarbage()
  collectgarbage("stop")
  seen = 0
  local started = measure.clock()
  fn(...)
  local took = measure.clock() - started
  collectgarbage("restart")
  return seen / took / 1000 -- a ms
end

-- A single event is left over sometimes: not part of what is timed.
local function dispatched()
  wait_for_all(start(count))
  local rate = timed(net.update)
  assert(seen > count * 0.99, "not all had arrived")
  assert(net.run(DEADLINE * 1000))
  return rate
end

local function called(fn)
  return timed(fn, callback, handler, meta, meta, profile,
    baseline.responses(count), count)
end

local first = start(1)
assert(net.run(5000), "the first request does not end")
bytes_each = net.stats().bytesIn - first

local rates = { update = {}, full = {}, lean = {} }
local stop_at = measure.clock() + seconds
repeat
  table.insert(rates.update, dispatched())
  table.insert(rates.full, called(baseline.full))
  table.insert(rates.lean, called(baseline.lean))
until measure.clock() > stop_at

measure.print {
  update = measure.quantile(rates.update, 0.5),
  full = measure.quantile(rates.full, 0.5),
  lean = measure.quantile(rates.lean, 0.5),
}
