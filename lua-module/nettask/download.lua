-- downloadFile(): where the file goes. All else is in exchange.lua; the core
-- writes it, and what it gives in the end is the path.

local apply_cookies = require "nettask.cookies".apply
local core = require "nettask.core"
local errors = require "nettask.errors"
local exchange = require "nettask.exchange"
local apply_dns = require "nettask.httpdns".apply
local options = require "nettask.options"
local referer = require "nettask.web".referer

local function is_digest(text)
  return #text == 64 and not text:find("%X")
end

local function fault_of(given)
  local path, digest = given.filePath, given.sha256
  if path and (path == "" or path:find("\0", 1, true)) then
    return errors.option("filePath", path)
  end
  if digest and not is_digest(digest) then
    return errors.option("sha256", digest)
  end
end

-- What the core wants to know, or nil and a failure.
local function prepare(record, given, settings)
  local fault = fault_of(given)
  if fault then return nil, fault end
  local list, header_fault = exchange.header(given.header or given.headers,
    false)
  if not list then return nil, header_fault end
  local params = exchange.params(record, given, list, settings.baseUrl,
    settings.downloadTimeout)
  record.file_path = given.filePath
  params.anonymous = given.withCredentials == false
  params.path = given.filePath
  params.referer = referer(nil, settings)
  params.sha256 = given.sha256
  if given.enableHttpDNS then
    apply_dns(params, given, settings, record, params.total)
  end
  params.resume = given.resume
  params.durable = given.durable
  params.goodOnly = settings.httpErrorFails
  if given.withCredentials ~= false then
    apply_cookies(params, "include", nil, settings)
  end
  return params
end

return {
  name = "downloadFile", ok = "downloadFile:ok",
  open = core.downloadOpen, start = core.downloadStart,
  refuse = core.downloadRefuse,
  check = options.download,
  codes = errors.download,
  prepare = prepare,
  raw = true, -- has getRawResult
}
