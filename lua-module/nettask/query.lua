-- Query strings: percent-encoding, a table as key=value pairs, and appending
-- to a URL. Pure functions; the one thing borrowed from the core is JSON, for
-- numbers and nested tables. Keys are sorted by their bytes, not with `<`,
-- which would follow the locale of the host.

local char, format = string.char, string.format -- see init.lua
local concat, sort = table.concat, table.sort
local min, next, rawget, tostring, type =
  math.min, next, rawget, tostring, type

local core = require "nettask.core"

local query = {}

local escapes = {}
for byte = 0, 255 do
  escapes[char(byte)] = format("%%%02X", byte)
end

-- What encodeURIComponent does. Ranges instead of %w: that one follows the
-- locale too.
function query.escape(text)
  return (text:gsub("[^A-Za-z0-9%-_.!~*'()]", escapes))
end

local function bytes_less(a, b)
  for i = 1, min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- The text of a value, or nil and a message that names it: `name`, or the
-- field `key` of it.
local function value_text(value, name, key)
  if type(value) == "string" then return value end
  return core.jsonEncode(value, key and name .. "." .. key or name)
end

-- A list whose elements all are {key, value}: the caller's order and repeats.
local function is_pairs(data)
  local count = 0
  for _ in next, data do count = count + 1 end
  if count == 0 then return false end
  for i = 1, count do
    local pair = rawget(data, i)
    if type(pair) ~= "table" or #pair ~= 2 then return false end
    if next(pair, next(pair, next(pair))) ~= nil then return false end
    local key = type(pair[1])
    if key ~= "string" and key ~= "number" then return false end
  end
  return true
end

-- The entries of any other table, sorted.
local function sorted_entries(data, name)
  local entries, seen = {}, {}
  for key, value in next, data do
    local kind = type(key)
    if kind ~= "string" and kind ~= "number" then
      return nil, name .. ": a " .. kind .. " cannot be a key"
    end
    local text, message = value_text(key, name)
    if not text then return nil, message end
    if seen[text] then
      return nil, name .. ": a number and a string are the same key"
    end
    seen[text] = true
    entries[#entries + 1] = { text, value }
  end
  sort(entries, function(a, b) return bytes_less(a[1], b[1]) end)
  return entries
end

-- The fields of a table as a list of { key, value }, both texts: sorted, or as
-- given when it is a list of pairs. Returns nil and a message for what has no
-- text: functions, Buffers unless `binary`, NaN, cycles. `name` is what that
-- message calls the table.
function query.fields(data, name, binary)
  local entries = data
  if not is_pairs(data) then
    local sorted, fault = sorted_entries(data, name)
    if not sorted then return nil, fault end
    entries = sorted
  end
  local fields = {}
  for i = 1, #entries do
    local key, key_fault = value_text(entries[i][1], name)
    if not key then return nil, key_fault end
    local value, value_fault = entries[i][2], nil
    if binary and core.typeName(value) == "ArrayBuffer" then
      value = tostring(value)
    else
      value, value_fault = value_text(value, name, key)
    end
    if not value then return nil, value_fault end
    fields[i] = { key, value }
  end
  return fields
end

-- Make `k=v&k=v` of a table; returns as above on a fault.
function query.encode(data, name)
  local fields, fault = query.fields(data, name or "data")
  if not fields then return nil, fault end
  local parts = {}
  for i = 1, #fields do
    parts[i] = query.escape(fields[i][1]) .. "=" .. query.escape(fields[i][2])
  end
  return concat(parts, "&")
end

-- Add a query string to a URL, before its fragment. "" changes nothing.
function query.append(url, text)
  if text == "" then return url end
  local base, fragment = url:match("^([^#]*)(.*)$")
  local mark = "?"
  if base:find("?", 1, true) then
    mark = base:find("[?&]$") and "" or "&"
  end
  return base .. mark .. text .. fragment
end

return query
