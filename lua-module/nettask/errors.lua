-- From the core's error codes to what a script sees: the text after "fail ",
-- errno of the mini-program platforms, errCode, and the number that Alipay's
-- dialect calls `error`.

local pairs, pcall = pairs, pcall
local tostring, type = tostring, type -- see init.lua

local core = require "nettask.core"

local errors = {}

local ALIPAY = { parameter = 2, refused = 11, network = 12, timeout = 13,
  decoding = 14, status = 19, stopped = 20, proxy = 23,
  missing = 11, permission = 13 }

local by_code = {}

-- What each API calls differently.
errors.request, errors.download, errors.upload = {}, {}, {}
errors.socket, errors.tcp, errors.udp = {}, {}, {}

local function define(name, fields)
  by_code[core.errors[name]] = fields
end

-- Transport errors carry Chromium's code and name.
local function transport(name, code, text, alipay, reason)
  define(name, { text = ("%d:net::ERR_%s"):format(code, text), errno = 600001,
    errCode = code, error = alipay or ALIPAY.network, detailed = true,
    reason = reason })
end

local function plain(name, text, errno, code, alipay)
  define(name, { text = text, errno = errno, errCode = code or -1,
    error = alipay or ALIPAY.network })
end

-- Refusals name the setting that lifts them.
local function refusal(name, text, errno, code, reason)
  define(name, { text = text, errno = errno, errCode = code, reason = reason,
    error = ALIPAY.refused })
end

plain("ABORTED", "abort", 1, -3, ALIPAY.stopped)
plain("TIMEOUT", "timeout", 5, -7, ALIPAY.timeout)
by_code[core.errors.TIMEOUT].detailed = true -- which of the time-outs
plain("URL", nil, 600009, -300, ALIPAY.parameter)
plain("METHOD", "invalid method", 600005, -1, ALIPAY.parameter)
plain("HEADER", "invalid header", 600005, -1, ALIPAY.parameter)
plain("REDIRECTS", "exceed max redirect count", 600008, -310)
plain("FULL", "exceed max task count", 600007)
plain("NOMEM", "out of memory", 600006)
plain("SYSTEM", nil, 600006)
plain("INVALID", nil, 600005, -1, ALIPAY.parameter)
plain("STATE", nil, 600004)
plain("CLOSED", nil, 600004)
plain("FORKED", nil, 600006)
plain("INTERRUPTED", "interrupted", 600003, -21, ALIPAY.stopped)

refusal("URL_TOO_LONG", "url is too long", 600011, -10,
  "urlMaxBytes; lifted by configure{urlMaxBytes=0}")
refusal("SCHEME", "url scheme is not allowed", 600011, -10)
refusal("PORT", "url port is not allowed", 600011, -10,
  "allowUrlPort; lifted by configure{allowUrlPort=true}")
refusal("BODY_SIZE", "exceed max body size", 600004, -8,
  "limits.responseMaxBytes; lifted by configure{limits={responseMaxBytes=0}}")

refusal("CROSS_ORIGIN", "cross origin request is not allowed", 600011, -10)
refusal("CORS", "response is not allowed by Access-Control-Allow-Origin",
  600011, -10)
refusal("PRIVATE", "private address is not allowed", 600002, -10,
  "denyPrivateAddresses; lifted by configure{allowPrivate={...}}")
refusal("OWN_PROXY", "proxy is not allowed", 102, -10,
  "allowProxy; lifted by configure{allowProxy=true}")
refusal("SECRET", "secret is not for this host", 102, -10,
  "secrets; lifted by secrets.set(name, {value=..., hosts={...}})")
refusal("QUOTA", "exceed max bytes per minute", 600004, -10,
  "limits.bytesPerMinute; lifted by configure{limits={bytesPerMinute=0}}")
by_code[core.errors.QUOTA].error = ALIPAY.stopped
-- The core's message says whom, or which secret.
for _, name in ipairs { "PRIVATE", "SECRET" } do
  by_code[core.errors[name]].detailed = true
end

local function not_in_list(rule, lifted)
  return { text = "url not in domain list", errno = 600002, errCode = -10,
    error = ALIPAY.refused, detailed = true,
    reason = rule .. "; lifted by configure{domains={" .. lifted .. "}}" }
end

by_code[core.errors.DOMAIN] = not_in_list("domains", "...")

for _, kind in ipairs { "request", "download", "upload", "socket", "tcp",
  "udp" } do
  errors[kind][core.errors.DOMAIN] = not_in_list("domains." .. kind,
    kind .. "={...}")
end

-- Of tasks that C has started, of which nobody knows the kind.
refusal("OUTSIDE", "no permission for path", 102, -1,
  "fileRoots; lifted by configure{fileRoots={...}}")
refusal("FILE_SIZE", "exceed max file size", 603301, -8,
  "limits; lifted by configure{limits={...}}")

-- Of one API alone. The core's message says more: which file, and why.
local function own(codes, name, text, errno, code, alipay, reason)
  codes[core.errors[name]] = { text = text, errno = errno,
    errCode = code or -1, error = alipay, reason = reason, detailed = true }
end

local function not_saved(name, why)
  own(errors.download, name, "save failed: " .. why, 603300, -1,
    ALIPAY.network)
end

not_saved("NO_FOLDER", "the folder of the file does not exist")
not_saved("NO_FILE", "the folder of the file does not exist")
not_saved("NOT_A_FILE", "the path is no plain file")
not_saved("DISK_FULL", "no space left")
not_saved("BUSY", "another download writes to this file")
not_saved("DIGEST", "the file does not have the expected sha256")
not_saved("FILE", "the file cannot be written")
own(errors.download, "PERMISSION", "no permission for path", 603303, -1,
  ALIPAY.permission)
own(errors.download, "OUTSIDE", "no permission for path", 603303, -1,
  ALIPAY.permission,
  "fileRoots.write; lifted by configure{fileRoots={write=false}}")
own(errors.download, "FILE_SIZE", "exceed max file size", 603301, -8,
  ALIPAY.refused, "limits.downloadMaxBytes; lifted by"
    .. " configure{limits={downloadMaxBytes=0}}")
own(by_code, "TEMP_SIZE", "exceed max temporary files size", 603301, -8,
  ALIPAY.refused,
  "limits.tempMaxBytes; lifted by configure{limits={tempMaxBytes=0}}")

own(errors.upload, "NO_FILE", "file not found", 1300002, -6, ALIPAY.missing)
own(errors.upload, "NO_FOLDER", "file not found", 1300002, -6, ALIPAY.missing)
own(errors.upload, "NOT_A_FILE", "not a plain file", 1300002, -6,
  ALIPAY.missing)
own(errors.upload, "PERMISSION", "permission denied", 1300013, -1,
  ALIPAY.permission)
own(errors.upload, "OUTSIDE", "permission denied", 1300013, -1,
  ALIPAY.permission,
  "fileRoots.read; lifted by configure{fileRoots={read=false}}")
own(errors.upload, "FILE_SIZE", "exceed max file size", 603301, -8,
  ALIPAY.refused, "limits.uploadMaxBytes; lifted by"
    .. " configure{limits={uploadMaxBytes=0}}")
own(errors.upload, "FILE_CHANGED", "the file changed while it was sent",
  600006, -1, ALIPAY.network)
own(errors.upload, "FILE", "the file cannot be read", 600006, -1,
  ALIPAY.network)

local function unconnected(name)
  errors.socket[core.errors[name]] = { text = "WebSocket is not connected",
    errno = 600004, errCode = -1, error = ALIPAY.network }
end

unconnected("NOT_OPEN")
unconnected("CLOSED")
unconnected("STATE")
-- What the core says is the text: which status, which header.
own(errors.socket, "WS_STATUS", nil, 600001, -1, ALIPAY.network)
own(errors.socket, "HANDSHAKE", nil, 600001, -1, ALIPAY.network)
own(errors.socket, "WS_PROTOCOL", "WebSocket protocol error", 600001, -1,
  ALIPAY.network)
own(errors.socket, "WS_TEXT", "WebSocket text is not UTF-8", 600001, -1,
  ALIPAY.decoding)
own(by_code, "WS_SIZE", "exceed max message size", 600004, -8,
  ALIPAY.refused, "maxMessageBytes; lifted by that option of connectSocket,"
    .. " or configure{limits={maxMessageBytes=0}}")
plain("QUEUE_FULL", "send queue is full", 600004)

-- Of TCP and UDP sockets; their errCode is another, see errors.endpoint().
local function of_endpoint(codes, name, text, errno, reason)
  codes[core.errors[name]] = { text = text, errno = errno, reason = reason,
    error = reason and ALIPAY.refused or ALIPAY.network }
end

for _, name in ipairs { "NOT_OPEN", "CLOSED" } do
  of_endpoint(errors.tcp, name, "TCPSocket is not connected", 600004)
  of_endpoint(errors.udp, name, "UDPSocket is closed", 600004)
end
of_endpoint(errors.udp, "STATE", "UDPSocket is bound already", 600004)
of_endpoint(errors.tcp, "STATE", "TCPSocket is connected already", 600004)
of_endpoint(errors.tcp, "PORT", "port is not allowed", 102,
  "limits.tcpForbiddenPorts; lifted by"
    .. " configure{limits={tcpForbiddenPorts=false}}")
of_endpoint(errors.tcp, "LIMIT", "exceed max count", 600007,
  "limits.tcpPerWindow; lifted by configure{limits={tcpPerWindow=0}}")

transport("RESOLVE", -105, "NAME_NOT_RESOLVED")
transport("REFUSED", -102, "CONNECTION_REFUSED")
transport("RESET", -101, "CONNECTION_RESET")
transport("DROPPED", -100, "CONNECTION_CLOSED")
transport("CONNECT", -104, "CONNECTION_FAILED")
transport("CONNECT_TIMEOUT", -118, "CONNECTION_TIMED_OUT", ALIPAY.timeout)
transport("UNREACHABLE", -109, "ADDRESS_UNREACHABLE")
transport("ADDRESS", -108, "ADDRESS_INVALID")
transport("OFFLINE", -106, "INTERNET_DISCONNECTED")
transport("PROXY", -130, "PROXY_CONNECTION_FAILED", ALIPAY.proxy)
transport("TLS", -107, "SSL_PROTOCOL_ERROR")
transport("CERT_NAME", -200, "CERT_COMMON_NAME_INVALID")
transport("CERT_DATE", -201, "CERT_DATE_INVALID")
transport("CERT_AUTHORITY", -202, "CERT_AUTHORITY_INVALID")
transport("TRUST", -202, "CERT_AUTHORITY_INVALID")
transport("PIN", -150, "SSL_PINNED_KEY_NOT_IN_CERT_CHAIN", ALIPAY.network,
  "pins; lifted by a key of the server in configure{pins={...}}")
transport("EMPTY_RESPONSE", -324, "EMPTY_RESPONSE")
transport("HEADER_SIZE", -325, "RESPONSE_HEADERS_TOO_BIG")
transport("DECODING", -330, "CONTENT_DECODING_FAILED", ALIPAY.decoding)
transport("HTTP2", -337, "HTTP2_PROTOCOL_ERROR")
transport("LENGTH_MISMATCH", -354, "CONTENT_LENGTH_MISMATCH")
transport("CHUNKED", -355, "INCOMPLETE_CHUNKED_ENCODING")
transport("HTTP", -370, "INVALID_HTTP_RESPONSE")
transport("CACHE_MISS", -400, "CACHE_MISS")
plain("STATUS", nil, 600000, -1, ALIPAY.status)
transport("IN_USE", -147, "ADDRESS_IN_USE")
transport("ACCESS", -10, "ACCESS_DENIED")
transport("TOO_BIG", -142, "MSG_TOO_BIG")
transport("NETWORK", -2, "FAILED")
by_code[core.errors.NETWORK].errno = 600000

-- What the Lua layer finds itself.
errors.CHARSET = { text = "response not convertible to UTF-8",
  errno = 602302, errCode = -1, error = ALIPAY.decoding }
errors.JSON = { text = "response is not JSON", errno = 600000, errCode = -1,
  error = ALIPAY.decoding }
errors.JSONP = { text = "jsonp callback mismatch", errno = 600001,
  errCode = -1, error = ALIPAY.network }
errors.DATA_CHECK = { text = "data check error", errno = 600000, errCode = -1,
  error = ALIPAY.network }
errors.CELLULAR = { text = "cellular network is not available",
  errno = 602301, errCode = -1, error = ALIPAY.network }

for _, codes in pairs { errors.request, errors.socket } do
  codes[core.errors.INTERFACE] = errors.CELLULAR
end

errors.CODE = { text = "invalid code", errno = 600005, errCode = -1,
  error = ALIPAY.parameter }
errors.REASON = { text = "invalid reason: it must be UTF-8 and have at most 123"
  .. " bytes", errno = 600005, errCode = -1, error = ALIPAY.parameter }
errors.PROTOCOL = { text = "invalid protocol", errno = 600005, errCode = -1,
  error = ALIPAY.parameter }
errors.NO_ARRAY = { text = "protocols must be an array", errno = 1001,
  errCode = -1, error = ALIPAY.parameter }
errors.NO_DATA = { text = "data must be string or ArrayBuffer", errno = 1001,
  errCode = -1, error = ALIPAY.parameter }
errors.NO_UTF8 = { text = "data is not UTF-8 text: send bytes as a Buffer",
  errno = 600005, errCode = -1, error = ALIPAY.parameter }

errors.LEVEL = { text = "interceptors make requests inside of each other"
  .. " without end", errno = 600004, errCode = -1, error = ALIPAY.network }

local function message_of(err)
  local message = type(err) == "table" and err.message
  return type(message) == "string" and message or tostring(err)
end

-- A function of the script raised `err`, whatever that is, and what it was
-- called for ends with it.
function errors.raised(err)
  local ok, text = pcall(message_of, err)
  return { text = ok and text or "an error that has no text", errno = 600004,
    errCode = -1, error = ALIPAY.network }
end

-- The limit of sockets is reached.
function errors.sockets(max)
  return { text = "reach max websocket connect count " .. ("%d"):format(max),
    errno = 600007, errCode = -1, error = ALIPAY.refused,
    reason = "limits.maxSockets; lifted by configure{limits={maxSockets=0}}" }
end

-- `message` says where.
function errors.base64(message)
  return { text = "data is not base64: " .. message:gsub("^invalid base64:? ?",
    ""), errno = 600005, errCode = -1, error = ALIPAY.parameter }
end

errors.PARAM = { text = "invalid param", errno = 1001, errCode = -1,
  error = ALIPAY.parameter }
errors.SCANNING = { text = "scan task already exist", errno = 600004,
  errCode = -1, error = ALIPAY.network }
errors.NO_SCAN = { text = "task not found", errno = 600004, errCode = -1,
  error = ALIPAY.network }

-- A service that does not say where it is.
function errors.resolve(code)
  return { text = ("mdns resolve system error:%d"):format(code),
    errno = 606101, errCode = -1, error = ALIPAY.network }
end

errors.WIFI = { text = "wifi network is not available", errno = 100,
  errCode = -1, error = ALIPAY.network }

errors.tcp[core.errors.INTERFACE] = errors.WIFI

function errors.status(status)
  return { text = ("http status %d"):format(status), errno = 600000,
    errCode = -1, error = ALIPAY.status }
end

function errors.parameter(name, wanted, got)
  return { text = ("parameter error: parameter.%s should be %s instead of %s;")
    :format(name, wanted, got), errno = 1001, errCode = -1,
    error = ALIPAY.parameter }
end

function errors.data(message)
  return { text = "data cannot be serialised: " .. message, errno = 600010,
    errCode = -1, error = ALIPAY.parameter }
end

-- A value that an option cannot have.
function errors.option(name, value, errno, code)
  return { text = "invalid " .. name .. ' "' .. value .. '"',
    errno = errno or 600005, errCode = code or -1, error = ALIPAY.parameter }
end

local function of_option(name, errno, code)
  return function(value) return errors.option(name, value, errno, code) end
end

errors.header = of_option "header"
errors.method = of_option "method"
errors.url = of_option("url", 600009, -300)

local INSECURE = { text = "url scheme is not allowed", errno = 600011,
  errCode = -10, error = ALIPAY.stopped,
  reason = "requireSecure; lifted by configure{requireSecure=false}" }

-- The failure for a code of the core. `message` is the core's, `url` the
-- script's; `secure` says that only https is allowed, `codes` what the API
-- calls differently.
function errors.of_code(code, message, url, secure, codes)
  local fields = codes and codes[code] or by_code[code]
    or by_code[core.errors.NETWORK]
  if secure and code == core.errors.SCHEME then fields = INSECURE end
  if message == "" then message = nil end
  -- A redirect may lead to another URL than the script's; then that is named.
  if code == core.errors.URL then return errors.url(message or url) end
  return {
    text = fields.text or message or core.message(code), errno = fields.errno,
    errCode = fields.errCode, error = fields.error,
    reason = fields.reason,
    detail = fields.detailed and message or nil,
  }
end

-- ---- TCP and UDP sockets ----------------------------------------------------

-- Their errCode: the system, the socket, no permission, no connection; a bad
-- address, a bad port.
local SYSTEM, SOCKET, DENIED, CONNECT, ADDRESS, PORT = -1, -2, -3, -4, 1, 2

local CODES = {}
for name, code in pairs { NOMEM = SYSTEM, SYSTEM = SYSTEM, FORKED = SYSTEM,
  FULL = SYSTEM, LIMIT = SYSTEM, QUEUE_FULL = SYSTEM, INTERRUPTED = SYSTEM,
  ADDRESS = ADDRESS, PORT = PORT, DOMAIN = DENIED, PRIVATE = DENIED,
  QUOTA = DENIED } do
  CODES[core.errors[name]] = code
end

-- In which phase it happened: NTL_PHASE_* of lendpoint.h.
local CALL, CONNECTING = 0, 1

local OF_KIND = {
  tcp = function(code, phase)
    if phase ~= CALL and CODES[code] ~= SYSTEM and CODES[code] ~= DENIED then
      return phase == CONNECTING and CONNECT or SOCKET
    end
    return CODES[code] or SOCKET
  end,
  udp = function(code)
    if code == core.errors.CLOSED or code == core.errors.NOT_OPEN then
      return SYSTEM
    elseif code == core.errors.RESOLVE then
      return ADDRESS
    elseif code == core.errors.ACCESS then
      return DENIED
    end
    return CODES[code] or SOCKET
  end,
}

-- What the system calls it; the core's message may end with that.
local SYSTEM_NAMES = {
  [core.errors.REFUSED] = "ECONNREFUSED", [core.errors.IN_USE] = "EADDRINUSE",
  [core.errors.TOO_BIG] = "EMSGSIZE",
}

-- The failure of a socket for a code of the core, with the core's message.
function errors.endpoint(kind, code, message, phase)
  local fault = errors.of_code(code, message, nil, nil, errors[kind])
  fault.errCode = OF_KIND[kind](code, phase or CALL)
  local name = kind == "udp" and fault.errCode == SOCKET
    and (message and message:match("%((E%u+)%)$") or SYSTEM_NAMES[code])
  if name then fault.text = ("%s (%s)"):format(fault.text, name) end
  return fault
end

-- An argument of a socket's method; `value` is text.
function errors.argument(name, value)
  local fault = errors.option(name, value)
  fault.errCode = name == "port" and PORT or name == "ttl" and SYSTEM
    or ADDRESS
  return fault
end

return errors
