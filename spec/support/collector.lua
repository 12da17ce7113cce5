-- The garbage collector at its most aggressive: with a full collection at each
-- allocation whatever is not anchored goes at once.
--
-- With NETTASK_TEST_GC=1 (see helper.lua) it is so while a function of the
-- module runs, with the callbacks inside, and off in between: busted's own
-- garbage says nothing about the module, and takes most of the time.

local collector = {}

local jit = rawget(_G, "jit")

function collector.relentless()
  if _VERSION == "Lua 5.4" then
    -- A step of 2^30 bytes is a whole collection.
    collectgarbage("incremental", 0, 400, 30)
  else
    -- Compiled code of LuaJIT never leaves a collection without pause and end.
    collectgarbage("setstepmul", jit and jit.status() and 1000 or 10000000)
  end
  collectgarbage("setpause", 0)
end

-- As a fresh state has it.
local function usual()
  collectgarbage("restart")
  collectgarbage("setpause", 200)
  if _VERSION == "Lua 5.4" then
    collectgarbage("incremental", 200, 100, 13)
  else
    collectgarbage("setstepmul", 200)
  end
end

-- ---- While the module runs --------------------------------------------------

local watching = false
local inside = false

local function leave(...)
  inside = false
  collectgarbage("stop")
  return ...
end

-- A function that has raised is left with the next one, or at the end of the
-- test: nothing here may catch what it raised, or be on the way of a yield.
local function watched(f)
  return function(...)
    if inside then return f(...) end
    inside = true
    collectgarbage("restart")
    return leave(f(...))
  end
end

-- What __index returns may be a method.
local function watched_index(index)
  local methods = {}
  index = watched(index)
  return function(object, key)
    local value = index(object, key)
    if type(value) ~= "function" then return value end
    methods[value] = methods[value] or watched(value)
    return methods[value]
  end
end

local function watch_metatable(meta)
  for name, f in pairs(meta) do
    if name == "__index" then
      meta[name] = watched_index(f)
    elseif type(f) == "function" and name ~= "__gc" then
      meta[name] = watched(f)
    end
  end
end

-- For loading the module.
function collector.begin()
  if jit then jit.off() end
  collector.relentless()
end

-- From now on the functions in these tables, and the methods of all objects of
-- the module, run under a relentless collector, all else under none. But not
-- configure(), which names the line of its caller.
function collector.watch(...)
  for _, functions in ipairs { ... } do
    for name, f in pairs(functions) do
      if type(f) == "function" and name ~= "configure" then
        functions[name] = watched(f)
      end
    end
  end
  for name, value in pairs(debug.getregistry()) do
    if type(name) == "string" and name:find("^nettask%.")
      and type(value) == "table" then
      watch_metatable(value)
    end
  end
  watching = true
  collectgarbage("stop")
end

function collector.leave()
  if inside then leave() end
end

-- How it was before relentless(), "stop" or the like.
function collector.restore()
  collectgarbage("restart")
  if watching then
    collector.relentless()
    collectgarbage("stop")
  else
    usual()
  end
end

return collector
