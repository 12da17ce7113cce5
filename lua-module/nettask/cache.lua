-- The HTTP cache: what the options of a request mean for it, and net.cache,
-- which belongs to the host. The cache itself is the core's.
--
-- Locals instead of globals and fields: see init.lua.

local error, type = error, type
local find, format = string.find, string.format

local clear = require "nettask.core".cacheClear

local cache = {}

-- The core's numbers: nt_cache_t.
local NONE = 0
local MODES = { ["no-store"] = NONE, default = 1, ["no-cache"] = 2, reload = 3,
  ["force-cache"] = 4, ["only-if-cached"] = 5 }

function cache.is_mode(value) return MODES[value] ~= nil end

-- The number of what a request may do with stored answers. `enable` is the
-- platforms' option, `mode` that of browsers, which says more.
function cache.mode(mode, enable)
  return MODES[mode] or enable and MODES.default or NONE
end

-- For who has that capability, nil before the seal.
cache.guarded = {
  clear = function(host, url)
    if url ~= nil and (type(url) ~= "string" or find(url, "%z")) then
      error(format("bad argument #1 to 'clear' (url expected, got %s)",
        type(url)), 3)
    end
    if host then return clear(host, url) end
    return clear(url)
  end,
}

return cache
