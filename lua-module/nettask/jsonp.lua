-- JSONP: the url that asks a server for a script, and what is in such a script.
-- No script is run: it has to be the call of one function with JSON. Pure
-- functions but for the counter of names.

local core = require "nettask.core"
local query = require "nettask.query"

local jsonp = {}

local MAX_ENDS = 64 -- places where the call may end that are tried

-- Values of jsonpCache for which an answer of a cache will not do.
local FRESH = { ["no-cache"] = true, ["no-store"] = true, reload = true }

local count = 0

-- What the option says: nothing without jsonp.
function jsonp.is_wanted(option)
  return option ~= nil and option ~= false and option ~= ""
end

-- The name of the function, unless the url has one.
function jsonp.name(option)
  if type(option) == "string" then return option end
  count = count + 1
  return ("__jsonp%d"):format(count)
end

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

-- The url to ask, and the name of the function that it asks for.
function jsonp.target(url, name, cache)
  local base = url:gsub("#.*", "")
  local own = base:match("[?&]callback=([^&]+)")
  if own then
    name = unescape(own)
  else
    url = query.append(url, "callback=" .. query.escape(name))
  end
  if not cache or FRESH[cache] then
    url = query.append(url, ("_=%.0f"):format(core.unixMs()))
  end
  return url, name
end

-- The url without what differs from call to call.
function jsonp.identity(url)
  local path, text = url:gsub("#.*", ""):match("^([^?]*)%??(.*)$")
  local kept = {}
  for field in text:gmatch("[^&]+") do
    local name = field:match("^[^=]*")
    if name ~= "_" and name ~= "callback" then kept[#kept + 1] = field end
  end
  return query.append(path, table.concat(kept, "&"))
end

-- ---- Unwrapping -------------------------------------------------------------

-- The first position from `at` on that is no white space, comment or, if
-- `semicolons` may be there too, one of these. nil: a comment has no end.
local function skip(text, at, semicolons)
  local blank = semicolons and "^[%s;]*" or "^%s*"
  while true do
    local _, last = text:find(blank, at)
    at = last + 1
    local mark = text:sub(at, at + 1)
    if mark == "/*" then
      local _, closing = text:find("*/", at + 2, true)
      if not closing then return nil end
      at = closing + 1
    elseif mark == "//" then
      at = (text:find("[\r\n]", at) or #text) + 1
    else
      return at
    end
  end
end

-- Behind `word`, if it is there.
local function take(text, at, word)
  if at and text:sub(at, at + #word - 1) == word then
    return skip(text, at + #word)
  end
end

-- Behind `typeof name === 'function' &&` or `name &&`; without such a guard
-- where it was.
local function skip_guard(text, at, name)
  local _, last = text:find("^typeof%s+", at)
  local behind = take(text, last and last + 1 or at, name)
  if last and behind then
    _, last = text:find("^===?%s*(['\"])function%1%s*", behind)
    behind = last and last + 1
  end
  return take(text, behind, "&&") or at
end

-- Where the JSON begins, or nil.
local function find_json(text, name)
  local at = skip(text, 1)
  return take(text, take(text, at and skip_guard(text, at, name), name), "(")
end

-- The value that the script calls the function of that name with: true and the
-- value, or false. JSON may have brackets in its texts, and comments behind the
-- call too: so its end is what leaves JSON before it and nothing behind.
function jsonp.unwrap(text, name)
  local first = find_json(text, name)
  if not first then return false end
  local stop = #text
  for _ = 1, MAX_ENDS do
    while stop >= first and text:byte(stop) ~= 41 do stop = stop - 1 end -- ")"
    if stop < first then return false end
    local behind = skip(text, stop + 1, true)
    if behind and behind > #text then
      local value, fault = core.jsonDecode(text:sub(first, stop - 1))
      if not fault then return true, value end
    end
    stop = stop - 1
  end
  return false
end

return jsonp
