-- uploadFile(): fields and files as the parts of one body. All else is in
-- exchange.lua; the core builds the body and reads the files as it sends.

local apply_cookies = require "nettask.cookies".apply
local core = require "nettask.core"
local errors = require "nettask.errors"
local exchange = require "nettask.exchange"
local apply_dns = require "nettask.httpdns".apply
local options = require "nettask.options"
local query = require "nettask.query"
local referer = require "nettask.web".referer

-- What a file is sent as if its name does not tell.
local FALLBACK = { image = "image/jpeg", video = "video/mp4",
  audio = "audio/mpeg" }

-- The fields, sorted. Returns a failure.
local function add_fields(parts, form)
  local fields, message = query.fields(form, "formData", true)
  if not fields then return errors.data(message) end
  for i = 1, #fields do
    parts[i] = { name = fields[i][1], data = fields[i][2] }
  end
end

-- `file` is { name, filePath | data, fileName, type, fileType }, checked. Its
-- `type` is a media type, or a word like fileType. Returns a failure.
local function add_file(parts, file, label)
  local path, kind, media = file.filePath, file.fileType, file.type
  if path and path:find("\0", 1, true) then
    return errors.option(label .. "filePath", path)
  end
  if kind and not FALLBACK[kind] then
    return errors.option("fileType", kind)
  end
  if media and not media:find("/", 1, true) then kind, media = media, nil end
  if kind and not FALLBACK[kind] then
    return errors.option(label .. "type", kind)
  end
  parts[#parts + 1] = {
    name = file.name,
    path = path,
    data = not path and file.data or nil,
    fileName = file.fileName or not path and file.name or nil,
    type = media,
    fallbackType = FALLBACK[kind],
  }
end

-- The file of the call itself. On Alipay `fileName` is another name of `name`.
local function own_file(given, settings)
  local alias = settings.dialect == "my" and given.name == nil
  return {
    name = given.name or given.fileName,
    filePath = given.filePath,
    fileName = not alias and given.fileName or nil,
    fileType = given.fileType,
  }
end

local function collect_parts(given, settings)
  local parts = {}
  local fault = given.formData and add_fields(parts, given.formData)
  if not fault and given.filePath then
    fault = add_file(parts, own_file(given, settings), "")
  end
  local files = given.files or {}
  for i = 1, #files do
    if fault then break end
    fault = add_file(parts, files[i], ("files[%d]."):format(i))
  end
  if fault then return nil, fault end
  return parts
end

-- What the core wants to know, or nil and a failure.
local function prepare(record, given, settings)
  local parts, fault = collect_parts(given, settings)
  if not parts then return nil, fault end
  local list, header_fault = exchange.header(given.header or given.headers)
  if not list then return nil, header_fault end
  local params = exchange.params(record, given, list, settings.baseUrl,
    settings.uploadTimeout)
  params.parts = parts
  if given.enableHttpDNS then
    apply_dns(params, given, settings, record, params.total)
  end
  params.referer = referer(nil, settings)
  params.anonymous = given.credentials == "omit"
  apply_cookies(params, given.credentials, nil, settings)
  return params
end

return {
  name = "uploadFile", ok = "uploadFile:ok",
  open = core.uploadOpen, start = core.uploadStart, refuse = core.uploadRefuse,
  check = options.upload,
  codes = errors.upload,
  prepare = prepare,
  raw = true, -- has getRawResult
}
