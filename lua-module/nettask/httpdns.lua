-- HttpDNS: the host's providers, and what their answers mean. The core asks,
-- remembers and connects; it knows a provider by a number, which is never used
-- twice, so that what an old one has said is not taken for the new one's.
--
-- A provider is the url of a DNS server (RFC 8484), a url with {host} in it, or
-- a function. All of them end in answer(ips, ttl) or answer(nil, errno, text),
-- a function that the core has made for that one question. Locals instead of
-- globals and fields: see init.lua.

local error, pairs, tostring, type = error, pairs, tostring, type
local pcall, xpcall = pcall, xpcall
local ceil = math.ceil
local insert = table.insert
local find, format, gmatch, lower, match = string.find, string.format,
  string.gmatch, string.lower, string.match
local traceback = debug and debug.traceback -- a sandbox may take it away

local core = require "nettask.core"
local of_code = require "nettask.errors".of_code

local E = core.errors
local dns_read, json_decode, provide = core.dnsRead, core.jsonDecode,
  core.provide
local lookup_open, lookup_start = core.lookupOpen, core.lookupStart
local type_name = core.typeName

local httpdns = {}

local DEFAULT_TTL = 60      -- s
local WAIT_MAX = 60000      -- ms, when nobody says how long
local HTTP_OK = 200

-- errno in exception.reasons.
local UNKNOWN, SYSTEM, HTTP = 602000, 602001, 602002
local EMPTY, TIMEOUT, INVALID, NO_ADDRESS, NO_SERVICE = 602104, 602105, 602106,
  602107, 602108

-- ---- Results ----------------------------------------------------------------

-- Of the core's own.
local ERRNOS = { [E.TIMEOUT] = TIMEOUT, [E.ADDRESS] = NO_ADDRESS,
  [E.NOMEM] = SYSTEM, [E.FULL] = SYSTEM, [E.RESOLVE] = UNKNOWN }

-- Makes what a script sees out of what the core tells: `reasons` is a list of
-- { errMsg, errno }, `unknown` the id of a provider that does not exist.
function httpdns.explain(reasons, unknown)
  for i = 1, #reasons do
    local reason = reasons[i]
    local code = reason.errno
    reason.errMsg = "httpDNS:fail " .. reason.errMsg
    reason.errno = code > 0 and code or ERRNOS[code] or of_code(code).errno
  end
  if unknown then
    insert(reasons, 1, { errno = NO_SERVICE,
      errMsg = format('httpDNS:fail unknown service id "%s"', unknown) })
  end
end

-- Whoever does not say how long to wait has the system's DNS asked while there
-- is time left for it.
local function default_wait(total)
  local is_short = total and total > 0 and total < 2 * WAIT_MAX
  return is_short and ceil(total / 2) or WAIT_MAX
end

-- What enableHttpDNS means for a task with that record, which has so many ms
-- in all.
function httpdns.apply(params, given, settings, record, total)
  local id = given.httpDNSServiceId
  local number = id and settings.httpDNS and settings.httpDNS[id]
  if not number then
    record.unknown = id or ""
    return
  end
  local wait = given.httpDNSTimeout
  params.resolver = number
  params.resolverTimeout = wait and wait > 0 and wait or default_wait(total)
end

-- ---- Answers ----------------------------------------------------------------

local function is_ttl(ttl)
  return type(ttl) == "number" and ttl >= 0
end

-- A list of a provider's, whatever is in it.
local function accept(answer, ips, ttl)
  if type(ips) ~= "table" then
    answer(nil, INVALID, "invalid answer: no list but " .. type_name(ips))
  elseif #ips == 0 then
    answer(nil, NO_ADDRESS, "no address for this name")
  elseif answer(ips, is_ttl(ttl) and ttl or DEFAULT_TTL) == E.ADDRESS then
    answer(nil, INVALID, "invalid answer: what is listed is no address")
  end
end

-- Addresses in lines, or with semicolons.
local function split(text)
  local ips = {}
  for ip in gmatch(text, "[^;%s]+") do ips[#ips + 1] = ip end
  return ips
end

local function read_text(answer, body)
  if not find(body, "^%s*[%[{]") then return accept(answer, split(body)) end
  local value = json_decode(body)
  if type(value) ~= "table" then
    return answer(nil, INVALID, "invalid answer: no JSON")
  end
  accept(answer, value.ips, value.ttl)
end

-- `again` asks for the other family, if that may be of use.
local function read_message(answer, body, host, family, again)
  local ips, ttl = dns_read(body, host, family)
  if not ips then
    local refused = ttl == E.RESOLVE
    answer(nil, refused and UNKNOWN or INVALID, refused
      and "the server could not find out" or "invalid answer: no DNS message")
  elseif #ips == 0 and again then
    again()
  else
    accept(answer, ips, ttl)
  end
end

-- ---- Providers with a url ---------------------------------------------------

local function ask_url(number, provider, host, family, timeout, answer)
  local ask

  -- The second question, of who is content with either family.
  local function ask_ipv6()
    family = "IPv6"
    ask()
  end

  local function read(code, message, status, body)
    if code == E.BODY_SIZE then
      answer(nil, INVALID, "invalid answer: too large")
    elseif code == E.FULL then
      answer(nil, SYSTEM, "too many questions at once")
    elseif code ~= 0 then
      local fault = of_code(code, message)
      answer(nil, code == E.TIMEOUT and TIMEOUT or SYSTEM,
        fault.detail or fault.text)
    elseif status ~= HTTP_OK then
      answer(nil, HTTP, format("http status %d of the provider", status))
    elseif body == "" then
      answer(nil, EMPTY, "empty answer")
    elseif provider.template then
      read_text(answer, body)
    else
      read_message(answer, body, host, family, not family and ask_ipv6)
    end
  end

  function ask()
    lookup_start(lookup_open { read = read }, number, host, family, timeout)
  end

  ask()
end

-- ---- Functions --------------------------------------------------------------

local function text_of(value)
  local ok, text = pcall(tostring, value)
  return ok and text or "an error that has no text"
end

-- Inside of a callback. The function may answer at once, by what it returns,
-- or later; only the first answer counts.
local function ask_function(f, host, family, answer, report)
  local answered = false

  local function done(ips, ttl)
    if answered then return end
    answered = true
    if ips == nil or ips == false then
      answer(nil, UNKNOWN, ttl == nil and "no answer" or text_of(ttl))
    else
      accept(answer, ips, ttl)
    end
  end

  local trace = ""
  local ok, result, ttl = xpcall(function()
    return f(host, done, family)
  end, function(err)
    trace = traceback and traceback("", 2) or ""
    return err
  end)
  if not ok then
    done(nil, text_of(result))
    report(result, trace, "registerHttpDNS provider")
  elseif result ~= nil or ttl ~= nil then
    done(result, ttl)
  end
end

-- ---- The functions ----------------------------------------------------------

local function bad_argument(n, wanted, value, level)
  error(format("bad argument #%d to 'registerHttpDNS' (%s expected, got %s)",
    n, wanted, type(value)), level + 1)
end

local function check_provider(provider)
  if provider == nil or provider == false or type(provider) == "function" then
    return
  end
  if type(provider) ~= "string" then
    bad_argument(2, "url or function", provider, 4)
  elseif not find(lower(provider), "^https?://[^/?#]")
    or find(provider, "[%c%s]") then
    error(format("bad argument #2 to 'registerHttpDNS' (an http or https url"
      .. " expected, got %q)", provider), 4)
  elseif find(match(provider, "^%a+://([^/?#]*)"), "{host}", 1, true) then
    error(format("bad argument #2 to 'registerHttpDNS' ({host} belongs into the"
      .. " path or the query of %q)", provider), 4)
  end
end

function httpdns.new(settings, report)
  local self = {}
  local providers = {} -- by number: a function, or { template }
  local last = 0

  -- registerHttpDNS(id, url | function | nil)
  function self.register(host, id, provider)
    if type(id) ~= "string" or id == "" then
      bad_argument(1, "a name", id, 3)
    end
    check_provider(provider)
    local ids = {}
    for name, number in pairs(settings.httpDNS or {}) do ids[name] = number end
    local url = type(provider) == "string" and provider or nil
    local number = provider and last + 1 or nil
    if url and host then
      provide(host, number, url)
    elseif url then
      provide(number, url)
    end
    last = number or last
    local old = ids[id]
    if old then
      providers[old] = nil
      if host then provide(host, old, nil) else provide(old, nil) end
    end
    ids[id] = number
    if url then
      providers[number] = { template = find(url, "{host}", 1, true) ~= nil }
    elseif number then
      providers[number] = provider
    end
    settings.httpDNS = ids
  end

  -- The core asks: see llookup.c. Returns what is to be run as a callback.
  function self.lookup(number, host, family, timeout, answer)
    local provider = providers[number]
    if type(provider) == "function" then
      return function()
        ask_function(provider, host, family, answer, report)
      end
    elseif provider then
      ask_url(number, provider, host, family, timeout, answer)
    else
      answer(nil, NO_SERVICE, "unknown service id")
    end
  end

  return self
end

return httpdns
