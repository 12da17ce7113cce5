-- Loads nettask for the examples: the installed one, else the one that `make`
-- built in the source tree that this file is part of.

local here = (arg and arg[0] or ""):match("^(.*[/\\])") or "./"

local function lua_name()
  if rawget(_G, "jit") then
    return "jit"
  end
  return (_VERSION:match("%d+%.%d+"))
end

local function is_missing(message)
  return message:find("module 'nettask' not found", 1, true) ~= nil
end

local ok, net = pcall(require, "nettask")
if not ok and is_missing(tostring(net)) then
  local root = here:gsub("dialects[/\\]$", "") .. "../"
  package.path = root .. "lua-module/?.lua;" .. root ..
    "lua-module/?/init.lua;" .. package.path
  package.cpath = root .. "build/lua" .. lua_name() .. "/?.so;" ..
    package.cpath
  ok, net = pcall(require, "nettask")
end

if not ok then
  io.stderr:write("nettask does not load in ", _VERSION, ". Install the rock, ",
    "or build it here with: make LUA=", lua_name(), "\n\n", tostring(net), "\n")
  os.exit(2)
end

return net
