-- What promises cost beside callbacks:
--   lua bench/promise.lua SECONDS
-- A step is one link of a chain of next(), made and run. An await is compared
-- with the callback that it replaces: so many actors each begin a task whenever
-- the one before has ended, by way of `fail` or in a coroutine. The tasks are
-- refused at once, so there is no network in it; the collector runs, for what
-- it takes to clear up is part of the price. CPU time; rounds of the cases
-- alternate; each figure is a median.

local net = require "nettask"
local measure = require "bench.measure"

local seconds = tonumber(arg[1])
local STEPS, ACTORS, FRAMES = 1000, 100, 20

net.configure { policy = "open" }

local REFUSED = { url = 0 } -- no string
local count = 0

-- ---- Steps ------------------------------------------------------------------

local function step(value)
  count = count + 1
  return value
end

local ended = net.sleep(0)
assert(net.run(5000))

local function chain()
  local p = ended
  for _ = 1, STEPS do p = p:next(step) end
  net.update()
  return STEPS
end

-- ---- Actors -----------------------------------------------------------------

local stop

local function by_callback()
  local options = { url = 0 }
  local function fail()
    count = count + 1
    if not stop then net.request(options) end
  end
  options.fail = fail
  net.request(options)
end

local function by_await()
  coroutine.wrap(function()
    repeat
      net.request(REFUSED):await()
      count = count + 1
    until stop
  end)()
end

local function by_next()
  local function again()
    count = count + 1
    if not stop then net.request(REFUSED):next(nil, again) end
  end
  again()
end

-- Frames of a crowd of actors that is there already.
local function frames()
  for _ = 1, FRAMES do net.update() end
  return FRAMES * ACTORS
end

local function crowd(begin)
  return function()
    stop = false
    for _ = 1, ACTORS do begin() end
    net.update()
    count = 0
    local started = measure.cpu()
    local wanted = frames()
    local took = measure.cpu() - started
    stop = true
    net.update()
    assert(count == wanted + ACTORS, "an actor was left behind")
    return took / wanted * 1e6
  end
end

local function steps()
  count = 0
  local started = measure.cpu()
  local wanted = chain()
  local took = measure.cpu() - started
  assert(count == wanted, "a step was left out")
  return took / wanted * 1e6
end

local cases = { step = steps, callback = crowd(by_callback),
  await = crowd(by_await), next = crowd(by_next) }
local samples = { step = {}, callback = {}, await = {}, next = {} }
local stop_at = measure.clock() + seconds
repeat
  for name, run in pairs(cases) do
    samples[name][#samples[name] + 1] = run()
  end
until measure.clock() > stop_at

local function median(name)
  return measure.quantile(samples[name], 0.5)
end

local callback = median "callback"
measure.print {
  step_us = median "step",
  callback_us = callback,
  await_us = median "await" - callback,
  next_us = median "next" - callback,
}
