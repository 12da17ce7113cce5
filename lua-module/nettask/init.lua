-- The module table: what require "nettask" returns.
--
-- There is one for a Lua state, kept by the core, however often package.loaded
-- is emptied. Settings, logger and error handler are locals of this file, so
-- that after net.seal() a script has no way to them; the functions that change
-- them ask the core first, which knows whether the caller is the host. What
-- they call is kept in locals too: a script can reach the tables of the parts
-- through package.loaded, and the globals, and put something else there.

local error, ipairs, pairs, pcall = error, ipairs, pairs, pcall
local tostring, type = tostring, type

local core = require "nettask.core"

local known = core.module()
if known then return known end

local abort = require "nettask.abort"
local attempts = require "nettask.attempts"
local audit_record = require "nettask.audit".record
local cache_functions = require "nettask.cache".guarded
local combine = require "nettask.combine"
local config = require "nettask.config"
local cookie_functions = require "nettask.cookies".guarded
local download_api = require "nettask.download"
local endpoint = require "nettask.endpoint"
local errors = require "nettask.errors"
local exchange = require "nettask.exchange"
local group = require "nettask.group"
local httpdns = require "nettask.httpdns"
local interceptor = require "nettask.interceptor"
local log = require "nettask.log".new()
local make_profile = require "nettask.profile"
local mdns = require "nettask.mdns"
local promise = require "nettask.promise"
local request_api = require "nettask.request"
local secrets = require "nettask.secrets"
local sleep = require "nettask.sleep"
local socket = require "nettask.socket"
local upload_api = require "nettask.upload"

local apply, gate = config.apply, core.gate
local secret_functions = secrets.guarded
local set_background = core.setBackground
local settings = config.new()
local on_error, on_audit

-- Of anything that was raised; results of tasks say what is wrong.
local function error_text(value)
  local text = type(value) == "table" and value.errMsg
  return tostring(text or value)
end

local function safe_text(value)
  local ok, text = pcall(error_text, value)
  return ok and text or "(an error that has no text)"
end

-- An error in a callback.
local function report(err, traceback, what)
  traceback = traceback:gsub("^\n", "")
  if on_error then
    local ok, second = pcall(on_error, err, traceback, what)
    if ok then return end
    log.write("error", "onError: " .. safe_text(second))
  end
  log.write("error", ("%s: %s\n%s"):format(what, safe_text(err), traceback))
end

local function write_log(level, text, once)
  if once then log.once(level, text) else log.write(level, text) end
end

-- The policy refused something: whom to tell, and what.
local function audit(kind, id, code, target)
  if not on_audit then return nil end
  return on_audit, audit_record(kind, id, code, target)
end

local apis = { request = request_api, download = download_api,
  upload = upload_api, socket = socket.connect, send = socket.send,
  mdns = mdns.ended, resolve = mdns.resolve, sleep = sleep }
local sockets = socket.new(settings, log)
local endpoints = endpoint.new(settings, log)
local scans = mdns.new(settings, log)
local providers = httpdns.new(settings, report)

local chains = interceptor.new(log, function(fault)
  return exchange.fail_result("request", fault, {}, settings.dialect == "my")
end, sleep.begin)

local function start_of(api, chain, detour)
  return exchange.new(api, settings, log, report, chain, detour)
end

core.bind {
  report = report,
  log = write_log,
  finish = exchange.finisher(settings, log, apis),
  profile = make_profile,
  send = sockets.send,
  close = sockets.close,
  fault = endpoints.fault,
  data = endpoint.data,
  tcp = endpoints.tcp,
  remark = endpoints.remark,
  audit = audit,
  lookup = providers.lookup,
  reasons = httpdns.explain,
}
promise.open(report, log, function(kind)
  return exchange.fail_result(apis[kind].name,
    errors.of_code(core.errors.ABORTED), nil, settings.dialect == "my")
end)

-- ---- What belongs to the host -----------------------------------------------

local function check_function(f, name)
  if f ~= nil and f ~= false and type(f) ~= "function" then
    error(("bad argument #1 to '%s' (function expected, got %s)"):format(name,
      type(f)), 4)
  end
  return f or nil
end

local function configure(host, given)
  if type(given) ~= "table" then
    error("bad argument #1 to 'configure' (table expected, got "
      .. type(given) .. ")", 3)
  end
  local ok, fault = apply(settings, given, host)
  if not ok then error("nettask: configure: " .. fault, 3) end
  if given.logger ~= nil then log.set(given.logger) end
end

local function background(host, on)
  if type(on) ~= "boolean" then
    error("bad argument #1 to 'setBackground' (boolean expected, got "
      .. type(on) .. ")", 3)
  end
  if host then set_background(host, on) else set_background(on) end
end

-- Functions of the host that live in this layer. `host` is the capability,
-- nil for a call through the module table.
local guarded = {
  configure = configure,
  onAudit = function(_, f) on_audit = check_function(f, "onAudit") end,
  onError = function(_, f) on_error = check_function(f, "onError") end,
  registerHttpDNS = providers.register,
  setBackground = background,
  setLogger = function(_, f) log.set(check_function(f, "setLogger")) end,
}

local guarded_by_core = { "close", "pause", "resume" }

-- ---- The module table -------------------------------------------------------

local net = {
  _VERSION = "nettask " .. core.features.nettask,
  features = core.features,
  request = start_of(request_api, chains,
    attempts.new(settings, log, report, sleep.begin)),
  downloadFile = start_of(download_api),
  uploadFile = start_of(upload_api),
  connectSocket = start_of(socket.connect),
  sendSocketMessage = sockets.sendSocketMessage,
  closeSocket = sockets.closeSocket,
  createTCPSocket = endpoints.createTCPSocket,
  createUDPSocket = endpoints.createUDPSocket,
  startLocalServiceDiscovery = scans.startLocalServiceDiscovery,
  stopLocalServiceDiscovery = scans.stopLocalServiceDiscovery,
  addInterceptor = chains.add,
  cleanInterceptors = chains.clean,
  interceptors = chains.interceptors,
  await = promise.await,
  all = combine.all,
  race = combine.race,
  sleep = sleep.begin,
  group = group.new,
  AbortController = abort.new(report),
  update = core.update,
  run = core.run,
  wait = core.wait,
  stats = core.stats,
  sealed = core.sealed,
  buffer = core.buffer,
  array = core.array,
  null = core.null,
  secret = secrets.secret,
  secrets = {},
  cookies = {},
  cache = {},
}

for _, event in ipairs { "Open", "Message", "Error", "Close" } do
  net["onSocket" .. event] = core["onSocket" .. event]
  net["offSocket" .. event] = core["offSocket" .. event]
end

for _, event in ipairs { "Found", "Lost", "ResolveFail", "DiscoveryStop" } do
  net["onLocalService" .. event] = core["onLocalService" .. event]
  net["offLocalService" .. event] = core["offLocalService" .. event]
end

-- For everybody, as long as nothing is sealed. No tail calls: errors are
-- raised for the line of the caller.
local function unsealed(functions, to, prefix)
  for name, f in pairs(functions) do
    to[name] = function(...)
      gate(prefix .. name)
      local result, message, code = f(nil, ...)
      return result, message, code
    end
  end
end

-- For whom that capability was given to.
local function of_host(functions, to, capability)
  for name, f in pairs(functions) do
    to[name] = function(...)
      local result, message, code = f(capability, ...)
      return result, message, code
    end
  end
end

unsealed(guarded, net, "")
unsealed(secret_functions, net.secrets, "secrets.")
unsealed(cookie_functions, net.cookies, "cookies.")
unsealed(cache_functions, net.cache, "cache.")

for _, name in ipairs(guarded_by_core) do
  net[name] = core[name]
end

-- net.seal() -> host: the one table whose functions go on working.
function net.seal()
  local capability = core.seal()
  local host = { secrets = {}, cookies = {}, cache = {} }
  of_host(guarded, host, capability)
  of_host(secret_functions, host.secrets, capability)
  of_host(cookie_functions, host.cookies, capability)
  of_host(cache_functions, host.cache, capability)
  for _, name in ipairs(guarded_by_core) do
    local f = core[name]
    host[name] = function(...) return f(capability, ...) end
  end
  return host
end

return core.module(net)
