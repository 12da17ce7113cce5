-- The persistent store of requests: answers as JSON under what was asked. Where
-- they are and how many is the core's; that it cannot be used is logged, and
-- is as if nothing were in it.

local core = require "nettask.core"

local store = {}

function store.new(log)
  local self = {}

  -- What the core says about an action.
  local function remark(code, message)
    if code ~= 0 then
      log.once("warn", "store: " .. message)
    elseif message ~= "" then
      log.write("warn", "store: " .. message)
    end
  end

  -- done(found, value) in a later update().
  function self.get(key, done)
    core.store(function(text, code, message)
      remark(code, message)
      local value, fault
      if text then value, fault = core.jsonDecode(text) end
      if text and not fault then done(true, value) else done(false) end
    end, "get", key)
  end

  function self.put(key, value)
    local text, fault = core.jsonEncode(value, "data")
    if not text then
      log.once("warn", "store: an answer is not kept: " .. fault)
      return
    end
    core.store(function(_, code, message) remark(code, message) end, "put",
      key, text)
  end

  return self
end

return store
