-- request(): what becomes of `data`, and which body is expected back. All else
-- is in exchange.lua.

local type = type -- see init.lua

local apply_cookies = require "nettask.cookies".apply
local cache_mode = require "nettask.cache".mode
local core = require "nettask.core"
local errors = require "nettask.errors"
local exchange = require "nettask.exchange"
local apply_dns = require "nettask.httpdns".apply
local options = require "nettask.options"
local query = require "nettask.query"
local web = require "nettask.web"

local apply_mode, referer = web.apply_mode, web.referer -- see init.lua

local DECODE, PLAN = core.decode, core.plan

local METHODS = { OPTIONS = true, GET = true, HEAD = true, POST = true,
  PUT = true, DELETE = true, TRACE = true, CONNECT = true, PATCH = true }
local WITHOUT_DATA = { TRACE = true, CONNECT = true }
local DECODE_BY_TYPE = { json = DECODE.json, base64 = DECODE.base64,
  arraybuffer = DECODE.arraybuffer }

local function encode(data, content_type)
  if content_type:find("application/x-www-form-urlencoded", 1, true) then
    return query.encode(data)
  end
  return core.jsonEncode(data, "data")
end

-- url and body for the data, or nil and a failure. GET and HEAD have a query
-- string, TRACE and CONNECT nothing, all others a body.
local function convert(url, method, data, content_type)
  local message
  if data == nil or WITHOUT_DATA[method] then return url end
  local kind = type(data)
  if method ~= "GET" and method ~= "HEAD" then
    if kind == "table" then data, message = encode(data, content_type) end
    if data == nil then return nil, errors.data(message) end
    return url, data
  end
  if kind == "userdata" then
    return nil, errors.data("an ArrayBuffer has no place in a " .. method)
  end
  if kind == "table" then data, message = query.encode(data) end
  if not data then return nil, errors.data(message) end
  return query.append(url, data)
end

-- ---- Options ----------------------------------------------------------------

local function decode_of(given)
  if given.responseType == "arraybuffer" then return DECODE.arraybuffer end
  local data_type = given.dataType
  if data_type == nil then return DECODE.json end
  return DECODE_BY_TYPE[data_type] or DECODE.text
end

-- Streamed bodies come over HTTP/1.1.
local function plan_of(given, method)
  local plan = decode_of(given)
  if method == "HEAD" then plan = plan + PLAN.head end
  if given.enableChunked then return plan + PLAN.chunked end
  if given.useHighPerformanceMode then plan = plan + PLAN.fast end
  return plan
end

-- ---- Starting ---------------------------------------------------------------

-- What the core wants to know, or nil and a failure.
local function prepare(record, given, settings)
  local method = given.method and given.method:upper() or "GET"
  if not METHODS[method] then return nil, errors.method(given.method) end
  local cellular = given.forceCellularNetwork
  if cellular and not settings.cellularInterface then
    return nil, errors.CELLULAR
  end
  local list, content_type = exchange.header(given.header or given.headers,
    settings.defaultContentType)
  if not list then return nil, content_type end
  local url, body = convert(given.url, method, given.data, content_type)
  if not url then return nil, body end
  local chunked = given.enableChunked
  local params = exchange.params(record, given, list, settings.baseUrl,
    settings.requestTimeout)
  record.method = method
  record[0] = plan_of(given, method)
  params.url, params.method, params.body = url, method, body
  params.stream = chunked
  params.anonymous = given.credentials == "omit"
  params.manual = given.redirect == "manual"
  apply_cookies(params, given.credentials, given.enableCookie, settings)
  params.referer = referer(given.referrerStrategy, settings)
  if given.enableHttpDNS then
    apply_dns(params, given, settings, record, params.total)
  end
  params.cache = cache_mode(given.cache, given.enableCache)
  if given.mode then apply_mode(params, given.mode, settings) end
  if cellular then params.interface = settings.cellularInterface end
  if chunked then params.http2, params.http3 = nil, nil end
  return params
end

return {
  name = "request", ok = "request:ok",
  open = core.requestOpen, start = core.requestStart,
  refuse = core.requestRefuse,
  check = options.request,
  codes = errors.request,
  prepare = prepare,
}
