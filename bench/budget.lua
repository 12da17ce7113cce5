-- By how much update(budget) overruns its budget, when more events wait than
-- it has time for: lua bench/budget.lua KIND URL COUNT SECONDS
-- KIND is how the body is taken: "text", "json", or "chunk" for a streamed one.
-- The events pile up first, so that no other thread is at work while frames
-- are measured; the callbacks do nothing.
--
-- Whoever makes a value may be the one who has to take a step of the collector,
-- and on Lua 5.4 one step can sweep all that the requests before have left. So
-- everything is done once more with the collector at rest during the frames:
-- what is left then is update()'s own. And on Lua 5.4 a third time, with steps
-- as docs/runtime.md advises.

local net = require "nettask"
local baseline = require "bench.baseline"
local measure = require "bench.measure"

local kind, url = arg[1], arg[2]
local count, seconds = tonumber(arg[3]), tonumber(arg[4])
local BUDGET_MS = 0.05
local DEADLINE = 20

-- Marks high enough that a whole pile is waiting before the first frame.
net.configure { policy = "open", highWaterBytes = 256 * 1024 * 1024,
  limits = { maxRequests = 16, highWaterBytes = 128 * 1024 * 1024 } }

local ended = 0

local function success(res)
  assert(res.statusCode == 200)
  ended = ended + 1
end

local function fail(res)
  error(res.errMsg)
end

local function ignore() end

local function start()
  local task = net.request { url = url, success = success, fail = fail,
    dataType = kind == "json" and "json" or "text",
    enableChunked = kind == "chunk" }
  if kind == "chunk" then
    task:onChunkReceived(ignore)
  end
end

-- Piles differ in size, or the collector's cycle would fall into step with them
-- and its longest step always into the same part of a round.
local pile, rounds = 0, 0

-- Until no more bytes come in.
local function pile_up()
  rounds = rounds + 1
  pile = math.floor(count * (1 - rounds * 3 % 8 / 32))
  for _ = 1, pile do
    start()
  end
  local deadline = measure.clock() + DEADLINE
  local bytes, quiet = -1, 0
  while quiet < 5 do
    assert(measure.clock() < deadline, "responses do not arrive")
    baseline.sleep(0.02)
    local now = net.stats().bytesIn
    quiet = now == bytes and quiet + 1 or 0
    bytes = now
  end
end

-- By the clock, and by the CPU that the thread had: they differ when other
-- processes take the core away.
local function new_samples()
  return { clock = {}, cpu = {} }
end

local collecting, resting, stepping = new_samples(), new_samples(),
  new_samples()

-- Frames that had more to do than time for.
local function drain(samples)
  local deadline = measure.clock() + DEADLINE
  ended = 0
  while ended < pile do
    assert(measure.clock() < deadline, "events are missing")
    local cpu, started = baseline.threadCpu(), measure.clock()
    local _, waiting = net.update(BUDGET_MS)
    local took = (measure.clock() - started) * 1000
    if waiting > 0 then
      local cpu_took = (baseline.threadCpu() - cpu) * 1000
      samples.clock[#samples.clock + 1] = took - BUDGET_MS
      samples.cpu[#samples.cpu + 1] = cpu_took - BUDGET_MS
    end
  end
end

local function run(samples, rests)
  local stop_at = measure.clock() + seconds
  repeat
    pile_up()
    if rests then
      collectgarbage()
      collectgarbage("stop")
    end
    drain(samples)
    if rests then collectgarbage("restart") end
  until measure.clock() > stop_at
end

run(collecting, false)
run(resting, true)
if _VERSION == "Lua 5.4" then
  collectgarbage("incremental", 150, 20, 8)
  run(stepping, false)
end

measure.print {
  p50_ms = measure.quantile(collecting.clock, 0.5),
  p999_ms = measure.quantile(collecting.clock, 0.999),
  max_ms = measure.quantile(collecting.clock, 1),
  cpu_p999_ms = measure.quantile(collecting.cpu, 0.999),
  rest_p999_ms = measure.quantile(resting.clock, 0.999),
  rest_cpu_p999_ms = measure.quantile(resting.cpu, 0.999),
  step_p999_ms = stepping.clock[1]
    and measure.quantile(stepping.clock, 0.999),
  step_cpu_p999_ms = stepping.cpu[1]
    and measure.quantile(stepping.cpu, 0.999),
  frames = #collecting.clock,
}
