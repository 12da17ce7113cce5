-- JSONP: the url that asks a server for a script, and what is in such a script.
-- No script is run: it has to be the call of one function with JSON. Pure
-- functions but for the counter of names.

local char, concat, tonumber = string.char, table.concat, tonumber
local type = type

local core = require "nettask.core"
local query = require "nettask.query"

local jsonp = {}

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
    return char(tonumber(digits, 16))
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
  return query.append(path, concat(kept, "&"))
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

-- Behind the text of JSON whose first character is at `at`, or nil.
local function skip_text(text, at)
  while true do
    at = text:find('["\\]', at)
    if not at then return nil end
    if text:sub(at, at) == '"' then return at + 1 end
    at = at + 2
  end
end

-- The bracket behind the JSON that begins at `at`, or nil: the first one
-- outside of its texts, since JSON has none elsewhere.
local function find_end(text, at)
  while at do
    at = text:find('[")]', at)
    if not at or text:sub(at, at) == ")" then return at end
    at = skip_text(text, at + 1)
  end
end

-- The value that the script calls the function of that name with: true and the
-- value, or false.
function jsonp.unwrap(text, name)
  local first = find_json(text, name)
  local last = first and find_end(text, first)
  local behind = last and skip(text, last + 1, true)
  if not behind or behind <= #text then return false end
  local value, fault = core.jsonDecode(text:sub(first, last - 1))
  if fault then return false end
  return true, value
end

return jsonp
