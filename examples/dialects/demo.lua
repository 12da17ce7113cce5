-- What the scripts of this folder share: they are the sample code of the
-- platforms' network documentation, in Lua, and run against the demo server.
--
--   lua examples/dialects/wx.lua BASE-URL [--tcp PORT] [--udp PORT]
--
-- A sample is a title, a function, and patterns: each of them has to match a
-- line that was printed before everything that the function started had ended.
-- demo.finish() ends the program, with 0 if all samples did.

local here = arg[0]:match("^(.*[/\\])") or "./"
local net = dofile(here .. "../tree.lua")
local core = require "nettask.core"

local SAMPLE_MS = 20000

local demo = { net = net }

-- ---- Command line -----------------------------------------------------------

local function usage()
  io.stderr:write("usage: lua ", arg[0],
    " BASE-URL [--tcp PORT] [--udp PORT]\n",
    "       (build/demo-server prints what a server to run against has)\n")
  os.exit(2)
end

local i = 1
while i <= #arg do
  local option = arg[i]:match("^%-%-(%l+)$")
  if option == "tcp" or option == "udp" then
    i = i + 1
    demo[option] = tonumber(arg[i]) or usage()
  elseif option == "service" then
    i = i + 1 -- no sample looks for services
  elseif demo.base then
    usage()
  else
    demo.base = arg[i]:gsub("/+$", "")
  end
  i = i + 1
end
if not demo.base then usage() end

-- Where the samples name a server of the platform's, the demo server stands in.
demo.ws = demo.base:gsub("^http", "ws")
demo.host = demo.base:match("^%a+://([^/:]+)")

-- ---- What was printed -------------------------------------------------------

local printed = {} -- in this sample
local failures = 0

local function text_of(value)
  if type(value) ~= "table" then return tostring(value) end
  return core.jsonEncode(value) or tostring(value)
end

-- Tables are written as JSON.
demo.console = {
  log = function(...)
    local words = {}
    for n = 1, select("#", ...) do words[n] = text_of((select(n, ...))) end
    local line = table.concat(words, " ")
    printed[#printed + 1] = line
    print(line)
  end,
}

local function complain(text)
  failures = failures + 1
  io.stderr:write(arg[0], ": ", text, "\n")
end

net.onError(function(err, traceback)
  complain(tostring(err) .. "\n" .. tostring(traceback))
end)

net.setLogger(function(level, text)
  if level ~= "debug" then demo.console.log(level .. ":", text) end
end)

-- ---- What the samples use of a platform beside its network ------------------

local picture

-- Whoever looks at the phone chooses this picture, at once.
local function choose_image(options)
  if not picture then
    picture = os.tmpname()
    local file = assert(io.open(picture, "wb"))
    file:write("\137PNG\r\n\26\n", ("."):rep(20000))
    file:close()
  end
  options.success { tempFilePaths = { picture } }
end

local function play_voice(options)
  local file = assert(io.open(options.filePath, "rb"))
  demo.console.log(("playing a voice of %d bytes"):format(file:seek("end")))
  file:close()
end

-- net in that dialect, with these functions of the platform beside it.
function demo.platform(dialect)
  net.configure { dialect = dialect, baseUrl = demo.base .. "/" }
  return setmetatable({ chooseImage = choose_image, playVoice = play_voice },
    { __index = net })
end

-- ---- Samples ----------------------------------------------------------------

local function was_printed(pattern)
  for n = 1, #printed do
    if printed[n]:find(pattern) then return true end
  end
  return false
end

function demo.sample(title, f, ...)
  printed = {}
  print("== " .. title)
  f()
  if not net.run(SAMPLE_MS) then complain(title .. ": does not end") end
  for n = 1, select("#", ...) do
    local pattern = select(n, ...)
    if not was_printed(pattern) then
      complain(("%s: no line matches %q"):format(title, pattern))
    end
  end
end

function demo.finish()
  net.close()
  if picture then os.remove(picture) end
  print(failures == 0 and "all samples did what they should"
    or failures .. " went wrong")
  os.exit(failures == 0 and 0 or 1)
end

return demo
