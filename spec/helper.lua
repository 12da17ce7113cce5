-- What every spec needs: the module, the servers, frames with a deadline,
-- functions that must be called a given number of times, child processes.
--
--   local helper = require "helper"
--   local net, servers = helper.net, helper.servers
--   after_each(helper.verify)
--
-- spec/run.py starts the servers and says where they are:
--   NETTASK_TEST_DEMO, _DEMO_WS        urls of our demo server
--   NETTASK_TEST_DEMO_TCP, _DEMO_UDP   its echo ports
--   NETTASK_TEST_HTTPBIN               url of httpbin
--   NETTASK_TEST_NGINX_HTTP            url of nginx; further _HTTPS (HTTP/2),
--     _HTTPS1 (HTTP/1.1), and with bad certificates _EXPIRED, _FUTURE,
--     _SELFSIGNED, _WRONGHOST; _WSS proxies to the demo server's WebSocket
--   NETTASK_TEST_FAULT_HTTP, _HTTPS, _HTTP6 (::1)   urls of fault_server.py;
--     and of its special ports _CLOSING, _RESETTING, _SILENT, _REFUSED,
--     _BLACKHOLE; the ports of raw_faults.py, _TCP, _TCP_TLS, _TCP6, _UDP,
--     _UDP6
--   NETTASK_TEST_DNSMASQ               the UDP port of a DNS server that knows
--                                      game.example and no other name
--   NETTASK_TEST_DOH, _DOH_LOG         unbound: DNS over HTTPS for the names in
--                                      support/servers.py; what it was asked
--   NETTASK_TEST_DNS_LOG               in a namespace: what DNS was asked
--   NETTASK_TEST_CELL                  there: url of a server to which two ways
--                                      lead, see support/cellular.py
--   NETTASK_TEST_MDNS                  there: where support/mdns.lua sends its
--                                      commands to
--   NETTASK_TEST_PYWS, _PYWS_DEFLATE, _PYWS_TLS   urls of python3-websockets:
--     without compression, with it, over TLS with it
--   NETTASK_TEST_PROXY, _PROXY_AUTH    HTTP CONNECT proxies; the second wants
--                                      user "user", password "pass-word"
--   NETTASK_TEST_CA, _TLS_DIR          the authority of the good certificates;
--                                      the folder with all of them
--   NETTASK_TEST_TMP                   a folder that goes away afterwards
--   NETTASK_TEST_LUA, _BUILD           the interpreter; the build folder
--   NETTASK_TEST_PRELOAD               a sanitizer's library for children
--   NETTASK_TEST_SLOW                  factor for deadlines
-- and who calls it may set
--   NETTASK_TEST_GC=1                  the collector at its most aggressive
--                                      while the module runs
--   STRESS_SCALE                       share of a stress test's rounds

local helper = {}

local function env(name)
  return os.getenv("NETTASK_TEST_" .. name)
end

local collector = require "support.collector"
if env("GC") then collector.begin() end

local core = require "nettask.core"
local net = require "nettask"
if env("GC") then collector.watch(core, net, require "nettask.query") end

local slow = tonumber(env("SLOW")) or 1

helper.net = net
helper.slow = slow

local function urls(prefix, names)
  local list = {}
  for name in names:gmatch("%S+") do
    list[name] = env(prefix .. name:upper())
  end
  return list
end

local fault = urls("FAULT_",
  "http https http6 closing resetting silent refused blackhole")
for _, name in ipairs { "tcp", "tcp_tls", "tcp6", "udp", "udp6" } do
  fault[name] = tonumber(env("FAULT_" .. name:upper()))
end
-- The same server, asked for WebSockets.
for name, from in pairs { ws = "http", wss = "https", ws6 = "http6" } do
  fault[name] = fault[from] and fault[from]:gsub("^http", "ws")
end

helper.servers = {
  demo = env("DEMO"),
  demo_ws = env("DEMO_WS"),
  demo_tcp = tonumber(env("DEMO_TCP")),
  demo_udp = tonumber(env("DEMO_UDP")),
  httpbin = env("HTTPBIN"),
  nginx = urls("NGINX_",
    "http https https1 expired future selfsigned wronghost wss"),
  fault = fault,
  pyws = env("PYWS"),
  pyws_deflate = env("PYWS_DEFLATE"),
  pyws_tls = env("PYWS_TLS"),
  dnsmasq = tonumber(env("DNSMASQ")),
  dns_log = env("DNS_LOG"),
  doh = env("DOH"),
  doh_log = env("DOH_LOG"),
  cell = env("CELL"),
  proxy = env("PROXY"),
  proxy_auth = env("PROXY_AUTH"),
  ca = env("CA"),
  tls_dir = env("TLS_DIR"),
  tmp = env("TMP"),
}

-- The monotonic clock, in milliseconds.
helper.now = core.now

-- n rounds of a stress test, or the share of them that this run wants.
function helper.rounds(n)
  local scale = tonumber(os.getenv("STRESS_SCALE")) or 0.05
  return math.max(1, math.floor(n * scale))
end

-- ---- Errors in callbacks ---------------------------------------------------

-- They go to net.onError and no further, so an assertion in a callback would
-- be lost; here they wait for the next run_until() or verify().
local errors = {}

-- A spec that takes net.onError for itself gets this back through verify().
function helper.catch_errors()
  net.onError(function(err, traceback)
    errors[#errors + 1] = tostring(err) .. "\n" .. tostring(traceback)
  end)
end

local function raise_errors(level)
  if #errors > 0 then
    local text = table.concat(errors, "\n")
    errors = {}
    error("in a callback: " .. text, level + 1)
  end
end

helper.catch_errors()

-- ---- Frames ----------------------------------------------------------------

-- Runs frames until cond() is true; raises after `ms` (5000). The name is for
-- the message.
function helper.run_until(cond, ms, name)
  local deadline = core.now() + (ms or 5000) * slow
  while true do
    net.update()
    raise_errors(2)
    if cond() then
      return
    end
    local left = deadline - core.now()
    if left <= 0 then
      error(("deadline of %d ms passed%s"):format((ms or 5000) * slow,
        name and " while waiting for " .. name or ""), 2)
    end
    -- What cond() looks at may change without an event too.
    net.wait(math.min(left, 20))
  end
end

-- Runs frames for at least `ms`: to show that something does not happen.
function helper.run_for(ms)
  local deadline = core.now() + ms
  helper.run_until(function()
    return core.now() >= deadline
  end, ms + 5000, "the time to pass")
end

-- The host stops: no frame, and no time of a processor that others need.
function helper.stop_for(ms)
  os.execute(("sleep %.3f"):format(ms / 1000))
end

-- ---- Expectations ----------------------------------------------------------

local expectations = {}

-- A function to be called exactly n times before verify(); calls fn.
function helper.expect(n, fn, name)
  local entry = { wanted = n, calls = 0, name = name }
  entry.where = debug.traceback("", 2):match("[^%s]*_spec%.lua:%d+") or "?"
  expectations[#expectations + 1] = entry
  return function(...)
    entry.calls = entry.calls + 1
    if fn then
      return fn(...)
    end
  end, entry
end

-- A function that must not be called.
function helper.never(name)
  return (helper.expect(0, nil, name))
end

local function expectations_met()
  for _, entry in ipairs(expectations) do
    if entry.calls < entry.wanted then
      return false
    end
  end
  return true
end

-- For a test: runs frames until each expected function has had its calls.
function helper.run_until_met(ms)
  helper.run_until(expectations_met, ms, "expected calls")
end

local function check_expectations()
  local wrong = {}
  for _, entry in ipairs(expectations) do
    if entry.calls ~= entry.wanted then
      wrong[#wrong + 1] = ("%s%s: called %d times instead of %d"):format(
        entry.where, entry.name and " " .. entry.name or "", entry.calls,
        entry.wanted)
    end
  end
  expectations = {}
  if #wrong > 0 then
    error(table.concat(wrong, "\n"), 3)
  end
end

-- For after_each: every task has ended (in `ms`, 5000), every expectation is
-- met exactly, no callback raised.
function helper.verify(ms)
  collector.leave()
  local idle = net.run((tonumber(ms) or 5000) * slow)
  local late = errors
  errors = {}
  helper.catch_errors()
  check_expectations()
  errors = late
  raise_errors(2)
  assert(idle, "tasks are still in flight after the test")
end

-- ---- Requests --------------------------------------------------------------

-- Calls net[api] and returns the task's record, which fills while frames run:
--   api, task, success, fail, complete (the results), done,
--   headers (list of the results of onHeadersReceived),
--   progress (those of onProgressUpdate), chunks (the pieces of data),
--   order ("headers", "progress", "chunk", "success", ...)
-- Callbacks of the options run too. Listens for chunks with enableChunked.
function helper.begin(api, options)
  local record = { api = api, headers = {}, chunks = {}, progress = {},
    order = {}, done = false }
  local copy = {}
  for key, value in pairs(options) do
    copy[key] = value
  end
  for _, name in ipairs { "success", "fail", "complete" } do
    copy[name] = function(res)
      assert(record[name] == nil, name .. " ran twice")
      record[name] = res
      record.order[#record.order + 1] = name
      record.done = name == "complete"
      if options[name] then
        options[name](res)
      end
    end
  end
  record.task = net[api](copy)
  record.task:onHeadersReceived(function(res)
    record.headers[#record.headers + 1] = res
    record.order[#record.order + 1] = "headers"
  end)
  if api ~= "request" then
    record.task:onProgressUpdate(function(res)
      record.progress[#record.progress + 1] = res
      record.order[#record.order + 1] = "progress"
    end)
  end
  if options.enableChunked then
    record.task:onChunkReceived(function(res)
      record.chunks[#record.chunks + 1] = res.data
      record.order[#record.order + 1] = "chunk"
    end)
  end
  return record
end

-- Runs frames until the task of a record has ended; returns the record.
function helper.finish(record, ms)
  helper.run_until(function()
    return record.done
  end, ms or 10000, "the end of " .. tostring(record.task))
  return record
end

-- That the task of a record has failed just so; returns the record.
function helper.check_failure(record, text, errno, code)
  local want = ("%s:fail %s errno %d errCode %d"):format(record.api, text,
    errno, code)
  local res = record.complete
  local got = ("%s errno %s errCode %s"):format(res.errMsg,
    tostring(res.errno), tostring(res.errCode))
  if want ~= got then
    error(("expected %q, got %q"):format(want, got), 2)
  end
  assert(record.success == nil and rawequal(record.fail, res))
  assert(record.order[#record.order - 1] == "fail")
  return record
end

-- A request's record.
function helper.start(options)
  return helper.begin("request", options)
end

-- The same of a request that has run to its end.
function helper.fetch(options, ms)
  return helper.finish(helper.start(options), ms)
end

-- The same of a GET of a text, with these options beside the url.
function helper.fetch_text(url, options)
  local given = { url = url, dataType = "text" }
  for key, value in pairs(options or {}) do given[key] = value end
  return helper.fetch(given)
end

-- The body of a GET of a text, for the questions that a fault server answers.
function helper.ask(url)
  local record = helper.fetch { url = url, dataType = "text",
    responseType = "text" }
  assert(record.success, record.complete.errMsg)
  return record.success.data
end

-- ---- Files and child processes ---------------------------------------------

function helper.read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function helper.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

-- A new path for a file, in the folder that goes away after the run.
-- os.tmpname() would also close a descriptor, which ThreadSanitizer never saw
-- opened and so calls a race with the thread that closed its number before.
local prefix
local names = 0

function helper.temp_name()
  if not prefix then
    local stat = assert(io.open("/proc/self/stat", "rb"))
    prefix = ("%s/of-%d-"):format(helper.servers.tmp, stat:read("*n"))
    stat:close()
  end
  names = names + 1
  return prefix .. names
end

local function quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local function command_line(...)
  local words = { ... }
  for i, word in ipairs(words) do
    words[i] = quote(word)
  end
  return table.concat(words, " ")
end

-- Runs a program (a list of words) to its end, 30 seconds at most, and
-- returns { status, out, err }. A status above 128 is a signal; 124 means that
-- the time was over. Lua 5.1 does not tell the status of a popen, so the shell
-- prints it.
local function run(command)
  local out, err = helper.temp_name(), helper.temp_name()
  local line = ("timeout -k 5 %d %s >%s 2>%s </dev/null; echo $?"):format(
    30 * slow, command, quote(out), quote(err))
  local shell = assert(io.popen(line))
  local status = tonumber(shell:read("*a"))
  shell:close()
  local result = {
    status = status,
    out = helper.read_file(out),
    err = helper.read_file(err),
  }
  os.remove(out)
  os.remove(err)
  return result
end

-- A program by its words: helper.run("nm", "-D", path).
function helper.run(...)
  return run(command_line(...))
end

-- The text of a Python program and its arguments.
function helper.python(script, ...)
  return run(command_line("/usr/bin/python3", "-c", script, ...))
end

local function with_script(script, fn)
  local path = helper.write_file(helper.temp_name(), script)
  local result = fn(path)
  os.remove(path)
  return result
end

-- The text of a Lua program and its arguments, run by the interpreter of this
-- run with the module on its path.
function helper.lua(script, ...)
  return helper.lua_under({}, script, ...)
end

-- The same, started by another program: a list of words that wants a command
-- behind it. Only the interpreter gets a sanitizer's library, and the one that
-- `starter.preload` names in the build folder.
function helper.lua_under(starter, script, ...)
  local words = command_line(...)
  local preload = env("PRELOAD") or ""
  if starter.preload then
    preload = ("%s:%s/%s"):format(preload, env("BUILD"), starter.preload)
  end
  local before = command_line((table.unpack or unpack)(starter))
  return with_script(script, function(path)
    return run(before .. " " .. command_line("env", "LD_PRELOAD=" .. preload,
      env("LUA"), path) .. " " .. words)
  end)
end

-- The same inside of a network namespace of its own, where only 127.0.0.1
-- exists, with a DNS server that behaves as `options.dns` says: "silent" (the
-- default) never answers, "nxdomain", "answer" (every name is 127.0.0.1),
-- "closed" (no server). `options.hosts` becomes /etc/hosts. A fault server runs
-- there; the program finds it as usual through this helper. With `options.cell`
-- there are two ways to helper.servers.cell. With `options.mdns` there are
-- publishers of local services: see support/mdns.lua.
function helper.netns(script, options, ...)
  options = options or {}
  local words = command_line(...)
  return with_script(script, function(path)
    return run(command_line("/usr/bin/python3", "spec/support/netns.py",
      "--dns", options.dns or "silent", "--hosts", options.hosts or "",
      "--also", options.also or "", "--preload", env("PRELOAD") or "",
      options.lan and "--lan" or "--no-lan",
      options.cell and "--cell" or "--no-cell",
      options.mdns and "--mdns" or "--no-mdns", "--", env("LUA"), path) .. " "
      .. words)
  end)
end

return helper
