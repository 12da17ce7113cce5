-- What net.onAudit() is told of each refusal: the rule, the setting that lifts
-- it, what was to be reached, and by what.
--
-- Locals instead of globals and fields: see init.lua.

local match = string.match

local core = require "nettask.core"
local errors = require "nettask.errors"

local E = core.errors
local is_secure_only, max_sockets = core.isSecureOnly, core.maxSockets
local of_code, of_endpoint, of_sockets = errors.of_code, errors.endpoint,
  errors.sockets

-- Of each kind of task: the function or the object.
local APIS = { request = "request", download = "downloadFile",
  upload = "uploadFile", socket = "connectSocket", tcp = "TCPSocket",
  udp = "UDPSocket", mdns = "startLocalServiceDiscovery" }

local CODES = { request = errors.request, download = errors.download,
  upload = errors.upload, socket = errors.socket, tcp = errors.tcp,
  udp = errors.udp }

local audit = {}

-- "rule; lifted by setting" -> rule, setting or nil
local function parts_of(reason)
  local rule, setting = match(reason, "^(.-); lifted by (.*)$")
  return rule or reason, setting
end

local function fault_of(kind, code, target)
  if kind == "tcp" or kind == "udp" then return of_endpoint(kind, code) end
  if code == E.LIMIT then
    -- Of TCP sockets: the one that was refused is none.
    if kind ~= "socket" then return of_endpoint("tcp", code) end
    return of_sockets(max_sockets())
  end
  return of_code(code, nil, target, is_secure_only(), CODES[kind])
end

-- The table that the host gets, for what NT_EV_REFUSED says. `kind` is that of
-- the task, nil when there is none any more.
function audit.record(kind, id, code, target)
  local fault = fault_of(kind, code, target)
  local rule, setting = parts_of(fault.reason or fault.text)
  if code == E.LIMIT and not kind then kind = "tcp" end
  return {
    rule = rule, setting = setting, text = fault.text,
    errno = fault.errno, errCode = fault.errCode,
    target = target ~= "" and target or nil,
    api = kind and APIS[kind], task = id,
  }
end

return audit
