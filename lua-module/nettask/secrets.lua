-- net.secrets: what the host lets scripts send without letting them know it.
-- The values are with the core; here is what may be said about them. Nothing
-- here keeps a value, and no message has one.
--
-- Locals instead of globals and fields: see init.lua.

local error, pairs, type = error, pairs, type
local find, format, gsub, sort = string.find, string.format, string.gsub,
  table.sort

local core = require "nettask.core"
local unknown = require "nettask.names".unknown

local set, remove = core.secretSet, core.secretRemove
local list, placeholder = core.secretNames, core.secret

local NAME_MAX = 64
local OPTIONS = { value = true, hosts = true }

local secrets = {}

local function check_name(name, method)
  if type(name) ~= "string" or #name > NAME_MAX
    or not find(name, "^[%w_.-]+$") then
    error(format("bad argument #1 to '%s' (a name of at most %d letters,"
      .. " digits, '_', '.' and '-' expected)", method, NAME_MAX), 4)
  end
end

-- A list of strings of our own, or nil.
local function copy_hosts(hosts)
  if type(hosts) ~= "table" then return nil end
  local count, copy = 0, {}
  for _ in pairs(hosts) do count = count + 1 end
  for i = 1, count do
    if type(hosts[i]) ~= "string" or find(hosts[i], "%z") then return nil end
    copy[i] = hosts[i]
  end
  return count > 0 and copy or nil
end

-- The value and the hosts, or nil and what is wrong.
local function read(given)
  for key in pairs(given) do
    if not OPTIONS[key] then return nil, unknown("key", key, OPTIONS) end
  end
  local value, hosts = given.value, copy_hosts(given.hosts)
  if type(value) ~= "string" or value == "" or find(value, "%c") then
    return nil, "value must be a string without control characters"
  end
  if not hosts then return nil, "hosts must be a list of hosts" end
  return value, hosts
end

-- The functions for who has that capability, nil before the seal.
local guarded = {}

function guarded.set(host, name, given)
  check_name(name, "set")
  if type(given) ~= "table" then
    error("bad argument #2 to 'set' (table expected, got " .. type(given)
      .. ")", 3)
  end
  local value, hosts = read(given)
  local why = not value and hosts
  if value then
    if host then
      why = set(host, name, value, hosts)
    else
      why = set(name, value, hosts)
    end
  end
  if why then
    error(format('nettask: secrets.set "%s": %s', name,
      (gsub(why, "^secrets%[%d+%]%.?", ""))), 3)
  end
end

function guarded.remove(host, name)
  check_name(name, "remove")
  if host then return remove(host, name) end
  return remove(name)
end

function guarded.list(host)
  local names
  if host then names = list(host) else names = list() end
  sort(names)
  return names
end

secrets.guarded = guarded

-- What a script puts into a header.
function secrets.secret(name)
  if type(name) ~= "string" then
    error("bad argument #1 to 'secret' (string expected, got " .. type(name)
      .. ")", 2)
  end
  local text = not find(name, "%z") and placeholder(name)
  if not text then
    error(format('nettask: secret: there is none with the name "%s"', name), 2)
  end
  return text
end

return secrets
