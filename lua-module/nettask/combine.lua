-- all() and race(): one promise for many. Of one that is aborted silently they
-- hear nothing, and when there is nothing else to come, neither does anybody
-- who waits for them.

local error, pairs, type = error, pairs, type

local promise = require "nettask.promise"

local combine = {}

local function check_list(list, name)
  if type(list) == "table" then return end
  error(("bad argument #1 to '%s' (table expected, got %s)"):format(name,
    type(list)), 3)
end

-- What all of them have come to, under the same keys, or the first failure.
-- What is no task and no promise is its own result.
function combine.all(list)
  check_list(list, "all")
  local p, resolve, reject = promise.new()
  local results, left, gone = {}, 1, nil
  local function arrived()
    left = left - 1
    if left > 0 then return end
    if gone then promise.drop(p, gone) else resolve(results) end
  end
  for key, item in pairs(list) do
    local source = promise.of(item)
    if source then
      left = left + 1
      promise.count(source, function(ok, value)
        if ok == false then return reject(value) end
        if ok then results[key] = value else gone = value end
        arrived()
      end)
    else
      results[key] = item
    end
  end
  arrived()
  return p
end

-- What the first of them that is settled has come to. One that is no task and
-- no promise is settled already.
function combine.race(list)
  check_list(list, "race")
  local p, resolve, reject = promise.new()
  local has_any, left = false, 0
  for _, item in pairs(list) do
    local source = promise.of(item)
    has_any = true
    if source then
      left = left + 1
      promise.count(source, function(ok, value)
        left = left - 1
        if ok then resolve(value) elseif ok == false then reject(value)
        elseif left == 0 then promise.drop(p, value) end
      end)
    else
      resolve(item)
    end
  end
  if not has_any then
    error("bad argument #1 to 'race' (nobody takes part)", 2)
  end
  return p
end

return combine
