-- Cookies: what the options of a task mean for the jar, and net.cookies, which
-- belongs to the host. The jar itself is the core's.
--
-- Locals instead of globals and fields: see init.lua.

local error, pairs, type = error, pairs, type
local floor, huge = math.floor, math.huge
local concat = table.concat
local find, format = string.find, string.format

local core = require "nettask.core"
local unknown = require "nettask.names".unknown

local list, set, clear = core.cookieList, core.cookieSet, core.cookieClear
local state, unix_ms = core.cookieState, core.unixMs

local cookies = {}

-- ---- Of a task --------------------------------------------------------------

-- The list of names and values without the caller's own cookies.
local function without_own(headers)
  local kept
  for i = 1, #headers, 2 do
    local name = headers[i]
    if #name == 6 and name:lower() == "cookie" then
      if not kept then
        kept = {}
        for k = 1, i - 1 do kept[k] = headers[k] end
      end
    elseif kept then
      kept[#kept + 1], kept[#kept + 2] = name, headers[i + 1]
    end
  end
  return kept or headers
end

-- Tells the core how a task uses the jar. `credentials` is "include",
-- "same-origin", or nothing; an explicit "omit" is the end of it. `enable` is
-- the three-state option of Alipay.
function cookies.apply(params, credentials, enable, settings)
  if enable == false then params.headers = without_own(params.headers) end
  if credentials == nil then
    if enable == nil then return end
    params.storeCookies = true
    params.sendCookies = not enable
  elseif credentials == "include" or credentials == "same-origin" then
    params.storeCookies, params.sendCookies = true, true
  end
  if credentials == "same-origin" then
    params.sameOrigin = true
    params.origin = settings.origin or settings.baseUrl
  end
end

-- ---- net.cookies ------------------------------------------------------------

local FIELDS = { name = "string", value = "string", domain = "string",
  path = "string", expires = "number", maxAge = "number", secure = "boolean",
  httpOnly = "boolean" }

local function check_url(url, method, optional)
  if (url == nil and optional) or (type(url) == "string"
    and not find(url, "%z")) then
    return
  end
  error(format("bad argument #1 to '%s' (url expected, got %s)", method,
    type(url)), 4)
end

-- What is wrong with the table, or nil.
local function fault_of(cookie)
  for key, value in pairs(cookie) do
    local want = FIELDS[key]
    if not want then return unknown("key", key, FIELDS) end
    if type(value) ~= want then
      return format("%s must be a %s", key, want)
    end
    if want == "string" and find(value, "[%c;]") then
      return format("%s must have no ';' and no control characters", key)
    end
    if want == "number" and (value ~= value or value == huge
      or value == -huge) then
      return format("%s must be a number of seconds", key)
    end
  end
  if not cookie.name or cookie.name == "" or find(cookie.name, "=", 1, true)
  then
    return "name must be a text without '='"
  end
end

-- The Set-Cookie field for it.
local function line_of(cookie)
  local parts = { cookie.name .. "=" .. (cookie.value or "") }
  local age = cookie.maxAge
  if not age and cookie.expires then
    age = cookie.expires - unix_ms() / 1000
  end
  if age then
    if age < 0 then age = 0 elseif age > 3e10 then age = 3e10 end
    parts[#parts + 1] = format("Max-Age=%.0f", floor(age))
  end
  if cookie.domain then parts[#parts + 1] = "Domain=" .. cookie.domain end
  if cookie.path then parts[#parts + 1] = "Path=" .. cookie.path end
  if cookie.secure then parts[#parts + 1] = "Secure" end
  if cookie.httpOnly then parts[#parts + 1] = "HttpOnly" end
  return concat(parts, "; ")
end

-- The functions for who has that capability, nil before the seal.
local guarded = {}

function guarded.list(host, url)
  check_url(url, "list", true)
  if host then return list(host, url) end
  return list(url)
end

function guarded.set(host, url, cookie)
  check_url(url, "set")
  if type(cookie) == "table" then
    local fault = fault_of(cookie)
    if fault then error("nettask: cookies.set: " .. fault, 3) end
    cookie = line_of(cookie)
  elseif type(cookie) ~= "string" or find(cookie, "%z") then
    error("bad argument #2 to 'set' (string or table expected, got "
      .. type(cookie) .. ")", 3)
  end
  if host then return set(host, url, cookie) end
  return set(url, cookie)
end

function guarded.clear(host, url)
  check_url(url, "clear", true)
  if host then return clear(host, url) end
  return clear(url)
end

function guarded.state(host)
  if host then return state(host) end
  return state()
end

cookies.guarded = guarded

return cookies
