-- Folders and files of a test, and what a download or upload may leave there.
--
--   local folder = files.folder()      -- empty, of this test alone
--   files.list(folder)                 -- names in it, sorted
--   files.pattern(n)                   -- what the demo server's /file/n says

local helper = require "helper"
local residue = require "support.residue"

local net = helper.net
local files = {}

local function succeeded(...)
  local result = helper.run(...)
  assert(result.status == 0, result.err)
  return result.out
end

-- What the program prints.
files.shell = succeeded

function files.folder()
  local path = helper.temp_name()
  succeeded("mkdir", path)
  return path
end

-- The names in a folder, hidden ones too.
function files.list(folder)
  local names = {}
  for name in succeeded("ls", "-A", folder):gmatch("[^\n]+") do
    names[#names + 1] = name
  end
  return names
end

function files.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

function files.size(path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek("end")
  file:close()
  return size
end

function files.sha256(path)
  return succeeded("sha256sum", path):match("^%x+")
end

local PERIOD = {}
for i = 0, 250 do PERIOD[i + 1] = string.char(i) end
PERIOD = table.concat(PERIOD)

function files.pattern(size)
  return PERIOD:rep(math.ceil(size / #PERIOD)):sub(1, size)
end

-- Bytes that do not compress and have no period.
function files.noise(size, seed)
  local pieces, state = {}, seed or 1
  for i = 1, math.ceil(size / 3) do
    state = (state * 16807) % 2147483647
    pieces[i] = string.char(state % 256, math.floor(state / 256) % 256,
      math.floor(state / 65536) % 256)
  end
  return table.concat(pieces):sub(1, size)
end

-- The files that this process has open: paths, sorted. The lock of a folder for
-- temporary files is not among them: it stays until the context is closed.
function files.open()
  local paths = {}
  local shell = assert(io.popen("find /proc/$PPID/fd -type l -printf '%l\n'"))
  for path in shell:lines() do
    if path:find("^/") and not path:find("^/dev/")
      and not path:find("/%.lock$") then
      paths[#paths + 1] = path
    end
  end
  shell:close()
  table.sort(paths)
  return table.concat(paths, "\n")
end

-- For before_each and after_each: all has ended, and no file has been left open
-- of those that were not before the first test.
local opened

function files.mark()
  opened = opened or files.open()
end

function files.check_closed()
  helper.verify()
  residue.defaults()
  net.configure { fileRoots = { read = false, write = false },
    tempDir = false, timeouts = { download = 60000, upload = 60000 },
    limits = { downloadMaxBytes = 52428800, uploadMaxBytes = 0 } }
  residue.check_stats()
  helper.run_until(function() return files.open() == opened end, 2000,
    "files to be closed")
end

-- ---- Tasks ------------------------------------------------------------------

-- The result of a task that must succeed, and its record.
function files.good(api, options, ms)
  local record = helper.finish(helper.begin(api, options), ms)
  assert(record.success, record.complete.errMsg)
  return record.success, record
end

-- The record of one that must fail just so.
function files.bad(api, options, text, errno, code)
  local record = helper.finish(helper.begin(api, options))
  return helper.check_failure(record, text, errno, code)
end

-- What most specs of an API do: good(options, ms) -> res, record;
-- bad(options, { text, errno, errCode }) -> record; start(options) -> record.
function files.of(api)
  local function good(options, ms) return files.good(api, options, ms) end
  local function bad(options, expected)
    return files.bad(api, options, expected[1], expected[2], expected[3])
  end
  local function start(options) return helper.begin(api, options) end
  return good, bad, start
end

-- Runs frames until more bytes than that are told of a download.
function files.run_until_written(record, bytes)
  helper.run_until(function()
    local last = record.progress[#record.progress]
    return record.done or last and last.totalBytesWritten > bytes
  end)
  assert(not record.done, "it has ended already")
end

-- ---- Children ---------------------------------------------------------------

-- What a child begins with; it prints what its task came to.
local CHILD = [[
local helper = require "helper"
local files = require "support.files"
local net, servers = helper.net, helper.servers
local function tell(record)
  helper.finish(record)
  local res = record.complete
  io.write(res.errMsg, "\n", tostring(res.errno), "\n",
    tostring(res.errCode), "\n")
end
]]

-- Runs a script in a child, with starter words before the interpreter.
function files.child(starter, script, ...)
  return helper.lua_under(starter, CHILD .. script, ...)
end

-- That a child's tell() told just so.
function files.check_told(result, api, text, errno, code)
  assert(result.err == "", result.err)
  assert(result.status == 0, "ended with " .. tostring(result.status))
  local want = ("%s:fail %s\n%d\n%d\n"):format(api, text, errno, code)
  if want ~= result.out then
    error(("expected %q, got %q"):format(want, result.out), 2)
  end
end

-- Root without the right to pass by permissions; others have none anyway.
files.unprivileged = succeeded("id", "-u") == "0\n" and { "setpriv",
  "--inh-caps=-dac_override,-dac_read_search",
  "--bounding-set=-dac_override,-dac_read_search" } or {}

-- In a mount namespace of its own, where a small file system lies over the
-- folder.
function files.small_disk(folder, size)
  local flags = succeeded("id", "-u") == "0\n" and "-m" or "-rm"
  return { "unshare", flags, "sh", "-c",
    'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"', "sh",
    tostring(size), folder }
end

return files
