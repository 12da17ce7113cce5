-- Which known name somebody meant who wrote an unknown one.

local floor, min, pairs = math.floor, math.min, pairs -- see init.lua
local tostring, type = tostring, type

local names = {}

-- Levenshtein distance, without case.
local function distance(a, b)
  a, b = a:lower(), b:lower()
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

-- The nearest key of `known`, or nil when none is near.
function names.nearest(name, known)
  local found, least = nil, floor(#name / 3) + 1
  if #name > 64 then return nil end
  for candidate in pairs(known) do
    local d = distance(name, candidate)
    if d < least or (d == least and found and candidate < found) then
      found, least = candidate, d
    end
  end
  return found
end

-- `unknown <kind> "<prefix><name>"`, with a guess.
function names.unknown(kind, name, known, prefix)
  prefix = prefix or ""
  local text = ('unknown %s "%s%s"'):format(kind, prefix, tostring(name))
  local guess = type(name) == "string" and names.nearest(name, known)
  if not guess then return text end
  return ('%s (did you mean "%s%s"?)'):format(text, prefix, guess)
end

return names
