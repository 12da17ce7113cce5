-- What a page would be to a browser, for a game that has none: the Referer that
-- the platform sends, the origin that `mode` compares with, and the interface
-- that stands for the cellular network.
--
-- The texts that may be sent as Referer are part of the core's policy; a task
-- names one by its number, so that no script can send another.
--
-- Locals instead of globals and fields: see init.lua.

local byte, format, gsub = string.byte, string.format, string.gsub

local web = {}

-- Numbers of what referers() makes.
local DEFAULT = 1
local BY_STRATEGY = { index = 2, page = 3, querystring = 4 }
local STRATEGY = BY_STRATEGY.querystring

-- The core's names.
local MODES = { cors = "cors", ["no-cors"] = "noCors",
  ["same-origin"] = "stayHome" }

local function escape(text)
  return (gsub(text, "[^%w%-._~!$&'()*+,;=:@/?%%]", function(char)
    return format("%%%02X", byte(char))
  end))
end

-- The Referers for those settings: that of most dialects, then Alipay's three;
-- nil without an appid.
function web.referers(values)
  local appid = values.appid
  if not appid then return nil end
  local version = escape(values.version or "0")
  local index = format("https://%s.hybrid.alipay-eco.com/%s/%s/index.html",
    appid, appid, version)
  local page = index
  if values.page then page = page .. "#" .. escape(values.page) end
  local query = page
  if values.query then query = query .. "?" .. escape(values.query) end
  return { format("https://servicewechat.com/%s/%s/page-frame.html", appid,
    version), index, page, query }
end

function web.is_strategy(value) return BY_STRATEGY[value] ~= nil end

function web.is_mode(value) return MODES[value] ~= nil end

-- The number of the Referer that a call sends.
function web.referer(strategy, settings)
  if strategy == nil and settings.dialect ~= "my" then return DEFAULT end
  return BY_STRATEGY[strategy] or STRATEGY
end

-- Tells the core what a task with that mode may do in other origins.
function web.apply_mode(params, mode, settings)
  local name = MODES[mode]
  if not name then return end
  params[name] = true
  params.origin = settings.origin or settings.baseUrl
end

return web
