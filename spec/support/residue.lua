-- What a failed request may leave behind, and what it must not: tasks, events,
-- descriptors, threads, memory, settings.
--
--   local mark = residue.mark()
--   ... a request that fails ...
--   residue.check(mark)   -- all has ended, the module works, nothing is left
--
-- or, for every test of a file, with residue.keep(n) in those after which n
-- connections more are kept idle:
--
--   before_each(residue.before)
--   after_each(residue.after)
--   teardown(residue.defaults)
--
-- The shell counts, since Lua cannot: its parent is this process.

local helper = require "helper"

local net, servers = helper.net, helper.servers

local residue = {}

local function count(folder)
  local shell = assert(io.popen("ls /proc/$PPID/" .. folder .. " | wc -l"))
  local number = tonumber(shell:read("*l"))
  shell:close()
  return number
end

-- The pipe to the shell is among them: one end, and for a moment, on a busy
-- machine, both. So the least of some counts is right.
-- With `most` it counts until there are no more, or for some seconds: a context
-- that is closed late is freed by its thread.
function residue.descriptors(most)
  local last = os.time() + 5 * helper.slow
  local number
  repeat
    number = math.min(count("fd"), count("fd"), count("fd"))
  until number <= (most or number) or os.time() > last
  return number
end

-- Of a process without a context. ThreadSanitizer has one from the first of
-- ours on.
residue.OWN_THREADS = (os.getenv("NETTASK_TEST_PRELOAD") or ""):find("tsan", 1,
  true) and 2 or 1

-- A thread is counted for a moment after it has been joined, and that of a name
-- lookup until it has its answer: counts until there are at most `most`, or for
-- some seconds. Works without the module, in a state that closes, too.
function residue.threads(most)
  local last = os.time() + 5
  local number
  repeat
    number = tonumber(helper.read_file("/proc/self/status")
      :match("Threads:%s*(%d+)"))
  until number <= (most or number) or os.time() > last
  return number
end

-- The most memory that was ever resident, in KiB.
function residue.peak()
  local text = helper.read_file("/proc/self/status")
  return tonumber(text:match("VmHWM:%s*(%d+)"))
end

-- The fault server answers as ever.
local function ask()
  assert(helper.ask(servers.fault.http .. "/") == "ok")
end

-- A context that has just been opened has more to open: it warms TLS up, three
-- times in 800 ms, and libuv keeps a descriptor in reserve from then on.
function residue.warm_up()
  helper.run_for(1000 * helper.slow)
end

local settled = false

local function settle()
  ask()
  if not settled then
    residue.warm_up()
    settled = true
  end
end

-- With the connection that will be kept idle.
function residue.mark()
  settle()
  return residue.descriptors()
end

-- Ends the context, with the connections that it has kept.
function residue.close()
  net.close()
  settled = false
end

function residue.check_stats()
  local stats = net.stats()
  for kind, states in pairs(stats) do
    for state, number in pairs(type(states) == "table" and states or {}) do
      assert(number == 0, ("%d of kind %s are %s"):format(number, kind, state))
    end
  end
  for _, name in ipairs { "live", "queuedEvents", "queuedBytes" } do
    assert(stats[name] == 0, name .. " is " .. stats[name])
  end
end

-- For before_each and teardown: the settings of a fresh module, with trust in
-- the authority of the specs.
function residue.defaults()
  net.configure {
    policy = "miniprogram",
    dialect = "wx",
    baseUrl = false,
    userAgent = false,
    caFile = servers.ca,
    caData = false,
    pins = false,
    proxy = false,
    allowPrivate = false,
    fileRoots = { read = false, write = false },
    domains = { request = false, download = false, upload = false,
      socket = false, tcp = false, udp = false },
    limits = {
      bytesPerMinute = 0,
      requestsPerSecond = 0,
      tempMaxBytes = 0,
      backgroundGraceMs = 5000,
      maxLookups = 16,
      redirects = 20,
      responseMaxBytes = 64 * 1024 * 1024,
      headerMaxBytes = 256 * 1024,
      highWaterBytes = 1024 * 1024,
      contextHighWaterBytes = 64 * 1024 * 1024,
    },
  }
end

-- What the descriptors lead to.
local function list()
  local shell = assert(io.popen("ls -l /proc/$PPID/fd"))
  local text = shell:read("*a")
  shell:close()
  return text
end

local function wait_for_descriptors(mark)
  local ok, err = pcall(helper.run_until, function()
    ask() -- libcurl closes connections that have died when it looks for one
    return residue.descriptors() <= mark
  end, 5000, "descriptors to be closed")
  if not ok then
    error(("%s; open are:\n%s"):format(err, list()), 0)
  end
end

-- For after_each, with helper.verify(). A test that has left something does not
-- spoil the next.
function residue.check(mark)
  local ok, err = pcall(function()
    helper.verify()
    residue.defaults()
    residue.check_stats()
    wait_for_descriptors(mark)
  end)
  if not ok then
    residue.close()
    error(err, 0)
  end
end

local mark_of_test

function residue.before()
  residue.defaults()
  mark_of_test = residue.mark()
end

function residue.keep(connections)
  mark_of_test = mark_of_test + connections
end

function residue.after()
  residue.check(mark_of_test)
end

-- ---- Memory and log ---------------------------------------------------------

-- In KiB, of the process and of the Lua state.
function residue.allocated()
  local helper_so = os.getenv("NETTASK_TEST_BUILD") .. "/allocated.so"
  return assert(package.loadlib(helper_so, "allocated"))() / 1024
end

function residue.heap()
  collectgarbage()
  collectgarbage()
  return collectgarbage("count")
end

-- A sanitizer keeps what was freed.
residue.SANITIZED = (os.getenv("NETTASK_TEST_PRELOAD") or "") ~= ""

-- For after_each: closes the tasks of those records that are not done,
-- whereupon all must end. A test that leaves something does not spoil the next.
function residue.finish(records, defaults, close)
  local ok, err = pcall(function()
    net.resume()
    for _, record in ipairs(records) do
      if not record.done then
        if close then close(record.task) else record.task:close() end
      end
    end
    helper.verify()
    residue.check_stats()
  end)
  if not ok then net.close() end
  defaults()
  if not ok then error(err, 0) end
end

local MOST_GROWTH_KIB = 4096

-- Runs `round` n times, of which the first half shows how much memory is right.
-- Resident memory would not do: allocators keep what was freed, and how much
-- that is depends on how the threads took turns.
function residue.measured(n, round)
  local function run_half()
    for _ = 1, math.max(1, math.floor(n / 2)) do round() end
    return residue.heap(), residue.allocated()
  end
  local heap_before, allocated_before = run_half()
  local heap, allocated = run_half()
  assert(heap - heap_before < 64,
    ("the Lua heap grew by %.0f KiB"):format(heap - heap_before))
  local grown = allocated - allocated_before
  assert(residue.SANITIZED or grown < MOST_GROWTH_KIB,
    ("allocated memory grew by %.0f KiB"):format(grown))
end

-- Lines of the log from now on, as "level: text"; the second result puts the
-- default logger back.
function residue.log()
  local lines = {}
  net.setLogger(function(level, text)
    lines[#lines + 1] = level .. ": " .. text
  end)
  return lines, function()
    net.setLogger(nil)
  end
end

return residue
