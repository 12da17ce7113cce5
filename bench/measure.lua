-- Clocks and the line of JSON that every Lua program of the bench prints. The
-- clocks come from a C module of the bench, so that nettask and peers that
-- have none read the same.

local baseline = require "bench.baseline"

local measure = {
  warm_up = 0.3,
  clock = baseline.now, -- seconds, monotonic
  cpu = baseline.cpu,   -- of all threads
}

-- Starts measuring; the function that it returns prints what came of it. CPU is
-- that of all threads of the process. `sent` counts operations before it, too,
-- for who wants to know how many were lost.
function measure.window()
  local started, cpu = baseline.now(), baseline.cpu()
  return function(operations, sent)
    print(('{"ops":%d,"seconds":%.6f,"cpu":%.6f,"sent":%d}'):format(
      operations, baseline.now() - started, baseline.cpu() - cpu, sent or 0))
  end
end

-- A table of numbers and strings as one line of JSON.
function measure.print(values)
  local fields = {}
  for key, value in pairs(values) do
    local text = type(value) == "number" and ("%.9g"):format(value)
      or '"' .. tostring(value) .. '"'
    fields[#fields + 1] = ('"%s":%s'):format(key, text)
  end
  table.sort(fields)
  print("{" .. table.concat(fields, ",") .. "}")
end

-- The `share` quantile of a list of numbers, which is sorted.
function measure.quantile(samples, share)
  table.sort(samples)
  local index = math.floor(share * #samples) + 1
  return samples[math.min(index, #samples)] or 0
end

return measure
