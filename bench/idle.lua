-- update() with nothing to do, against an empty C function called the same way:
--   lua bench/idle.lua URL SECONDS
-- One request has been made, so there is a context and an open connection.
-- Slices of the three loops alternate; each figure is a median of its slices.

local net = require "nettask"
local baseline = require "bench.baseline"
local measure = require "bench.measure"

local url, seconds = arg[1], tonumber(arg[2])
local CALLS = 50000

net.configure { policy = "open" }
local ok = false
net.request { url = url, dataType = "text", success = function()
  ok = true
end }
assert(net.run(5000) and ok, "the first request failed")

-- One closure for all: the loop is the same code, whatever it calls.
local function slice(fn)
  local started = measure.clock()
  for _ = 1, CALLS do
    fn()
  end
  return (measure.clock() - started) / CALLS * 1e9
end

local cases = { update = net.update, empty = baseline.empty,
  empty_two = baseline.emptyTwo }
local samples = { update = {}, empty = {}, empty_two = {} }
local stop_at = measure.clock() + seconds
while measure.clock() < stop_at do
  for name, fn in pairs(cases) do
    samples[name][#samples[name] + 1] = slice(fn)
  end
end

measure.print {
  update_ns = measure.quantile(samples.update, 0.5),
  empty_ns = measure.quantile(samples.empty, 0.5),
  empty_two_ns = measure.quantile(samples.empty_two, 0.5),
}
