-- The logger: lines of a level, to the host's function or to stderr. Writing
-- never raises. What would repeat itself every frame is said once.

local pcall = pcall -- see init.lua

local log = {}

local MAX_REMEMBERED = 1000

-- A sandbox may have taken `io` away by the time a line is written.
local stderr = io and io.stderr

local function write_stderr(level, text)
  if level ~= "debug" and stderr then
    stderr:write("nettask: ", level, ": ", text, "\n")
  end
end

-- A logger of its own for each module table, so that nothing a script can
-- require reaches the one that the host has set.
function log.new()
  local self = {}
  local sink
  local said, said_count = {}, 0

  function self.set(f)
    sink = f or nil
  end

  function self.write(level, text)
    if sink and pcall(sink, level, text) then return end
    write_stderr(level, text)
  end

  -- The texts may come from a script: remember a bounded number of them.
  function self.once(level, text)
    if said[text] or said_count >= MAX_REMEMBERED then return end
    said[text] = true
    said_count = said_count + 1
    self.write(level, text)
  end

  return self
end

return log
