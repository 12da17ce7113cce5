-- lua examples/arcade.lua BASE-URL [--tcp PORT] [--udp PORT]
--                         [--service NAME] [--frames N] [--plain]
--
-- A game loop at 60 frames a second that keeps up to ten requests, downloads,
-- uploads, chats, pings and the like in flight and draws what becomes of them.
-- TCP and UDP take part if the ports of the server's echoes are given, and the
-- local network is scanned if the name is given that the server announces.
-- Everything happens on this one Lua thread: a frame starts some, calls
-- net.update(), which runs the callbacks of what has arrived, draws, and waits
-- for the next frame. The figures below the rows say what that costs a frame.
--
-- Ends after N frames with a one-line summary, and with status 0 only if every
-- request ended as expected. Without a terminal, with NO_COLOR or --plain it
-- prints a line for each request instead of drawing.

local here = arg[0]:match("^(.*[/\\])") or "./"
local net = dofile(here .. "tree.lua")
local now = require("nettask.core").now

local FRAME_MS = 1000 / 60
local WAVE_FRAMES = 50
local MAX_RUNNING = 10
local DRAIN_FRAMES = 45 -- the last ones start nothing, so that all can end
local DRAIN_MS = 10000  -- but are waited for no longer than this
local CHAT_EVERY_MS = 50
local PING_EVERY_MS = 25
local PING_LOST_MS = 500 -- an answer that is later than this was lost
local SCAN_MS = 5000
local SAMPLES = 4096

-- Command line -----------------------------------------------------------

local function usage()
  io.stderr:write(
    "usage: lua examples/arcade.lua BASE-URL [--tcp PORT] [--udp PORT]\n",
    "                               [--service NAME] [--frames N] [--plain]\n",
    "       (build/demo-server prints what a server to play with has)\n")
  os.exit(2)
end

local NUMBERS = { ["--frames"] = "frames", ["--tcp"] = "tcp",
                  ["--udp"] = "udp" }

local function parse_arguments(args)
  local options, i = {}, 1
  while i <= #args do
    local name = NUMBERS[args[i]]
    if args[i] == "--plain" then
      options.plain = true
    elseif name then
      i = i + 1
      options[name] = tonumber(args[i])
      if not options[name] or options[name] < 1 then
        usage()
      end
    elseif args[i] == "--service" then
      i = i + 1
      options.service = args[i] or usage()
    elseif args[i]:sub(1, 1) == "-" or options.base then
      usage()
    else
      options.base = args[i]:gsub("/+$", "")
    end
    i = i + 1
  end
  if not options.base then
    usage()
  elseif options.service == "" then -- it is not announced
    options.service = nil
  end
  return options
end

local function has_terminal()
  -- Standard Lua cannot ask; a shell's `test` shares our standard output.
  local result = os.execute("test -t 1 2>/dev/null")
  return (result == true or result == 0) and os.getenv("TERM") ~= "dumb"
end

local function has_colour()
  local value = os.getenv("NO_COLOR")
  return not value or value == ""
end

local options = parse_arguments(arg)
local plain = options.plain or not has_colour() or not has_terminal()
options.host = options.base:match("^%a+://%[?([^%]/:]+)") or "127.0.0.1"

-- What is fired ----------------------------------------------------------

local REPLAY = ("up down left right "):rep(40000)

local function file_size(path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek("end")
  file:close()
  return size
end

-- Each entry describes one kind of request. `check(res, record)` returns true
-- when the answer is right; `aborts` is after how many ms it is aborted, which
-- must then be how it ends.
-- `api` is the function of the module, request without one; downloads and
-- uploads take what else they need from `more`. A chat says each of its lines,
-- text and binary, once the one before has come back; TCP knows no lines, only
-- bytes. A ping counts what comes back, since datagrams may be lost. A scan
-- looks for the server on the local network; there is one at a time.
local KINDS = {
  {
    starts = "scan", method = "SCAN", url = "_nettask-demo._tcp",
    left_out = not options.service, alone = true,
  },
  {
    starts = "ping", method = "PING", url = "udp echo", pings = 20,
    left_out = not options.udp,
  },
  {
    starts = "stream", method = "TCP", url = "tcp echo",
    left_out = not options.tcp,
    lines = {
      "hello", net.buffer("\0\1\254\255"), "gr\195\188\195\159 dich",
      ("all the same "):rep(5000), net.buffer(("\0\255"):rep(50000)),
    },
  },
  {
    starts = "chat", method = "CHAT", url = "/ws/echo",
    lines = {
      "hello", net.buffer("\0\1\254\255"), "gr\195\188\195\159 dich",
      net.buffer(("\0\255"):rep(5000)), ("all the same "):rep(1000), "",
      net.buffer(""), "good bye",
    },
  },
  {
    api = "downloadFile", method = "DOWN", url = "/file/400000?rate=800000",
    bar = true,
    check = function(res)
      return res.statusCode == 200 and res.dataLength == 400000
        and file_size(res.tempFilePath) == 400000
    end,
  },
  {
    api = "uploadFile", method = "UP", url = "/upload", bar = true,
    more = function()
      return {
        formData = { player = "ann", level = 3 },
        files = { { name = "replay", data = REPLAY, fileName = "a.replay" } },
      }
    end,
    check = function(res)
      return res.statusCode == 200
        and res.data:find('"bytes":' .. #REPLAY, 1, true)
    end,
  },
  {
    api = "downloadFile", method = "DOWN",
    url = "/file/9000000?rate=300000", aborts = 500, bar = true,
  },
  {
    url = "/json",
    check = function(res)
      return res.statusCode == 200 and res.data.list[3] == 3
    end,
  },
  {
    method = "POST", url = "/echo", data = { player = "ann", score = 9000 },
    check = function(res)
      return res.data.method == "POST" and res.data.body:find("9000", 1, true)
    end,
  },
  {
    method = "POST", url = "/echo", data = { name = "ann b", level = 3 },
    header = { ["content-type"] = "application/x-www-form-urlencoded" },
    check = function(res)
      return res.data.body == "level=3&name=ann%20b"
    end,
  },
  {
    url = "/bytes/1000000", responseType = "arraybuffer",
    check = function(res)
      return #res.data == 1000000 and res.data:sub(253, 254) == "\1\2"
    end,
  },
  {
    url = "/chunks/24?size=2048&every=20", enableChunked = true,
    check = function(_, record)
      return record.bytes == 24 * 2048
    end,
  },
  {
    url = "/redirect/3",
    check = function(res)
      return res.statusCode == 200 and res.data.path == "/echo"
    end,
  },
  {
    -- The server is asked every two seconds.
    url = "/cached/2", cache = "default",
    check = function(res, record)
      record.kind.note = res.profile.cache or "stored"
      return res.data.level == 1
    end,
  },
  {
    url = "/gzip",
    check = function(res)
      return res.data.compressed == true
    end,
  },
  {
    url = "/no-such-level", note = "as planned",
    check = function(res)
      return res.statusCode == 404 and res.data.error == "not found"
    end,
  },
  {
    url = "/drip/100?every=20", aborts = 350,
  },
  {
    url = "/delay/400", dataType = "text",
    check = function(res)
      return res.data == "400 ms later\n"
    end,
  },
  {
    method = "HEAD", url = "/bytes/123456",
    check = function(res)
      return res.header["content-length"] == "123456" and res.data == ""
    end,
  },
  {
    method = "PUT", url = "/echo", data = net.buffer("\255\0binary"),
    header = { ["content-type"] = "application/octet-stream" },
    check = function(res)
      return res.data.bodyBase64 == "/wBiaW5hcnk="
    end,
  },
  {
    url = "/text?charset=utf-8", dataType = "text",
    check = function(res)
      return #res.data > 0 and res.statusCode == 200
    end,
  },
  {
    url = "/status/503", dataType = "text", note = "as planned",
    check = function(res)
      return res.statusCode == 503
    end,
  },
}

-- Running requests -------------------------------------------------------

local records = {}  -- what the screen shows, oldest first
local pending = {}  -- kinds that wait for a free place
local running = 0
local totals = { started = 0, answered = 0, aborted = 0, failed = 0,
                 bytes = 0 }
local report        -- prints a finished record in plain mode

local function finish(record, ok, text)
  record.ms = now() - record.began
  record.ok = ok
  record.note = text
  record.state = "done"
  running = running - 1
  totals.bytes = totals.bytes + record.bytes
  if not ok then
    totals.failed = totals.failed + 1
  end
  if plain then
    report(record)
  end
end

local function on_success(record, res)
  record.status = res.statusCode
  if not record.kind.enableChunked and not record.kind.bar then
    record.bytes = res.profile and res.profile.receivedBytedCount or 0
  end
  if record.kind.aborts then
    finish(record, false, "ended before its abort")
    return
  end
  -- An answer of another shape than expected makes the check itself fail.
  local ran, right = pcall(record.kind.check, res, record)
  if ran and right then
    totals.answered = totals.answered + 1
    finish(record, true, record.kind.note or "")
  else
    finish(record, false, "not the expected answer")
  end
end

local function on_fail(record, res)
  if record.kind.aborts and record.aborting then
    totals.aborted = totals.aborted + 1
    finish(record, true, "as planned")
  else
    finish(record, false, res.errMsg)
  end
end

local function request_options(kind)
  if kind.api then
    local call = kind.more and kind.more() or {}
    call.url = options.base .. kind.url
    return call
  end
  return {
    url = options.base .. kind.url,
    method = kind.method or "GET",
    data = kind.data,
    header = kind.header,
    dataType = kind.dataType,
    responseType = kind.responseType,
    enableChunked = kind.enableChunked,
    cache = kind.cache,
  }
end

local function rtt_text(ms)
  return string.format(ms < 100 and "rtt %.2fms" or "rtt %.0fms", ms)
end

-- ---- Chats

-- Runs in a frame: what it sends comes back in a later one.
local function say_next(record)
  record.say_at = nil
  record.said_at = now()
  record.task:send{ data = record.kind.lines[record.echoes + 1] }
end

local function on_echo(record, data)
  local expected = record.kind.lines[record.echoes + 1]
  local time = now()
  if data ~= expected then
    finish(record, false, "not what was said")
    record.task:close()
    return
  end
  record.echoes = record.echoes + 1
  record.bytes = record.bytes + #data
  record.rtts[record.echoes] = time - record.said_at
  record.note = rtt_text(time - record.said_at)
  if record.echoes < #record.kind.lines then
    record.say_at = time + CHAT_EVERY_MS
  else
    record.task:close()
  end
end

local function on_chat_close(record, res)
  record.status = res.code
  if res.code == 1000 and record.echoes == #record.kind.lines then
    totals.answered = totals.answered + 1
    table.sort(record.rtts)
    finish(record, true, rtt_text(record.rtts[math.ceil(record.echoes / 2)]))
  else
    finish(record, false, "closed early")
  end
end

local function start_chat(record)
  record.echoes, record.rtts, record.say = 0, {}, say_next
  local function fail(res)
    if record.state ~= "done" then
      finish(record, false, res.errMsg)
    end
  end
  record.task = net.connectSocket{
    url = options.base:gsub("^http", "ws") .. record.kind.url,
    tcpNoDelay = true,
    fail = fail,
  }
  record.task:onError(fail)
  record.task:onOpen(function()
    say_next(record)
  end)
  record.task:onMessage(function(res)
    on_echo(record, res.data)
  end)
  record.task:onClose(function(res)
    if record.state ~= "done" then
      on_chat_close(record, res)
    end
  end)
end

-- ---- TCP

local function write_next(record)
  record.say_at = nil
  record.said_at = now()
  record.wanted = tostring(record.kind.lines[record.echoes + 1])
  record.got = {}
  record.task:write(record.kind.lines[record.echoes + 1])
end

-- A line comes back in as many pieces as it likes.
local function on_bytes(record, message)
  record.got[#record.got + 1] = tostring(message)
  record.bytes = record.bytes + #message
  local got = table.concat(record.got)
  if #got < #record.wanted then
    return
  elseif got ~= record.wanted then
    finish(record, false, "not what was said")
    record.task:close()
    return
  end
  record.echoes = record.echoes + 1
  record.note = rtt_text(now() - record.said_at)
  if record.echoes < #record.kind.lines then
    record.say_at = now() + CHAT_EVERY_MS
  else
    record.task:close()
  end
end

local function start_stream(record)
  record.echoes, record.say = 0, write_next
  local task = net.createTCPSocket()
  record.task = task
  task:onError(function(res)
    if record.state ~= "done" then
      finish(record, false, res.errMsg)
    end
  end)
  task:onConnect(function()
    write_next(record)
  end)
  task:onMessage(function(res)
    on_bytes(record, res.message)
  end)
  task:onClose(function(res)
    if record.state == "done" then
      return
    end
    local whole = record.echoes == #record.kind.lines
    record.status = whole and res.flushed and "echoed" or "closed"
    if whole then
      totals.answered = totals.answered + 1
    end
    finish(record, whole, whole and record.note or "closed early")
  end)
  task:connect{ address = options.host, port = options.tcp, noDelay = true }
end

-- ---- UDP

local function ping_text(record)
  if not record.best then
    return "no answer"
  end
  local lost = 100 * (1 - record.back / record.sent)
  if plain then
    return string.format("%s, %.0f %% lost", rtt_text(record.best), lost)
  end
  return string.format("%.2fms %.0f%%", record.best, lost)
end

local function end_pings(record)
  record.say_at = nil
  record.status = string.format("%d/%d", record.back, record.sent)
  if record.back > 0 then
    totals.answered = totals.answered + 1
  end
  finish(record, record.back > 0, ping_text(record))
  record.task:close()
end

-- Sends one, and after the last waits for those that may still come.
local function ping_next(record)
  if record.sent == record.kind.pings then
    return end_pings(record)
  end
  record.sent = record.sent + 1
  record.sent_at[record.sent] = now()
  record.task:write{ message = string.format("ping %d", record.sent) }
  record.say_at = now() + (record.sent < record.kind.pings and PING_EVERY_MS
    or PING_LOST_MS)
end

local function on_pong(record, message)
  local number = tonumber(tostring(message):match("^ping (%d+)$"))
  local sent_at = record.sent_at[number]
  if not sent_at or record.state == "done" then
    return
  end
  record.sent_at[number] = nil
  record.back = record.back + 1
  record.bytes = record.bytes + #message
  local ms = now() - sent_at
  record.best = math.min(record.best or ms, ms)
  record.note = rtt_text(ms)
  if record.back == record.kind.pings then
    end_pings(record)
  end
end

local function start_ping(record)
  record.sent, record.back, record.sent_at = 0, 0, {}
  record.say = ping_next
  local task = net.createUDPSocket()
  record.task = task
  task:onError(function(res)
    if record.state ~= "done" then
      finish(record, false, res.errMsg)
      record.say_at = nil
      task:close()
    end
  end)
  task:onMessage(function(res)
    on_pong(record, res.message)
  end)
  task:connect{ address = options.host, port = options.udp }
  ping_next(record)
end

-- ---- Scans

-- The server says its ports in three ways: all must agree.
local function is_server(res)
  return res.ip == options.host and
    res.port == tonumber(options.base:match(":(%d+)$")) and
    res.txt.tcp == tostring(options.tcp) and
    res.txt.udp == tostring(options.udp)
end

local function end_scan(record)
  record.say_at = nil
  net.stopLocalServiceDiscovery()
end

local function start_scan(record)
  local found, stopped
  local function over(right, text)
    net.offLocalServiceFound(found)
    net.offLocalServiceDiscoveryStop(stopped)
    record.kind.busy, record.say_at = false, nil
    finish(record, right, text)
  end
  function found(res)
    if res.serviceName == options.service and not record.found then
      record.found, record.took = res, now() - record.began
      end_scan(record)
    end
  end
  function stopped()
    if not record.found or not is_server(record.found) then
      return over(false, "not found")
    end
    record.status = "found"
    totals.answered = totals.answered + 1
    over(true, string.format("in %.1fms", record.took))
  end
  record.task, record.say = { state = "open" }, end_scan
  record.say_at = now() + SCAN_MS
  net.onLocalServiceFound(found)
  net.onLocalServiceDiscoveryStop(stopped)
  net.startLocalServiceDiscovery{
    serviceType = record.kind.url,
    fail = function(res)
      over(false, res.errMsg)
    end,
  }
end

-- ---- Requests and files

local function start_exchange(record)
  local kind = record.kind
  local call = request_options(kind)
  function call.success(res)
    on_success(record, res)
  end
  function call.fail(res)
    on_fail(record, res)
  end
  record.task = net[kind.api or "request"](call)
  if kind.bar then
    record.task:onProgressUpdate(function(res)
      record.progress = res.progress
      record.bytes = res.totalBytesWritten or res.totalBytesSent
    end)
  end
  if kind.enableChunked then
    record.task:onChunkReceived(function(res)
      record.bytes = record.bytes + #res.data
    end)
  end
end

local starters = { chat = start_chat, stream = start_stream,
                   ping = start_ping, scan = start_scan }

local function start(kind)
  totals.started = totals.started + 1
  running = running + 1
  local record = { number = totals.started, kind = kind, began = now(),
                   bytes = 0, method = kind.method or "GET", url = kind.url }
  records[#records + 1] = record
  local starter = starters[kind.starts] or start_exchange
  starter(record)
end

local function start_some(frame)
  if frame % WAVE_FRAMES == 1 then
    for _, kind in ipairs(KINDS) do
      if not kind.left_out and not kind.busy then
        kind.busy = kind.alone
        pending[#pending + 1] = kind
      end
    end
  end
  while running < MAX_RUNNING and #pending > 0 do
    start(table.remove(pending, 1))
  end
end

-- Says and aborts what is due, and lets go of the oldest rows that have ended.
local function tend(rows)
  local time = now()
  for _, record in ipairs(records) do
    local after = record.kind.aborts
    if after and not record.aborting and record.state ~= "done" and
        time - record.began >= after then
      record.aborting = true
      record.task:abort()
    end
    if record.say_at and time >= record.say_at then
      record.say(record)
    end
  end
  local i = 1
  while #records > rows and i <= #records do
    if records[i].state == "done" then
      table.remove(records, i)
    else
      i = i + 1
    end
  end
end

-- What a frame costs -----------------------------------------------------

local BUCKETS = { 16, 17, 18, 20, 25, 33, math.huge }
local histogram = {}
for i = 1, #BUCKETS do
  histogram[i] = { frames = 0, frame_ms = 0, update_ms = 0 }
end
local samples = {}  -- ring of the last SAMPLES frames' update() times
local cost = { frames = 0, frame_ms = 0, update_ms = 0, worst_ms = 0 }

local function add_cost(to, frame_ms, update_ms)
  to.frames = to.frames + 1
  to.frame_ms = to.frame_ms + frame_ms
  to.update_ms = to.update_ms + update_ms
end

local function count_frame(frame_ms, update_ms)
  local i = 1
  while frame_ms > BUCKETS[i] do
    i = i + 1
  end
  add_cost(histogram[i], frame_ms, update_ms)
  add_cost(cost, frame_ms, update_ms)
  cost.worst_ms = math.max(cost.worst_ms, update_ms)
  samples[(cost.frames - 1) % SAMPLES + 1] = update_ms
end

local function percentile(sorted, share)
  return sorted[math.max(1, math.ceil(#sorted * share))] or 0
end

local function update_percentiles()
  local sorted = {}
  for i = 1, #samples do
    sorted[i] = samples[i]
  end
  table.sort(sorted)
  return percentile(sorted, 0.5), percentile(sorted, 0.99)
end

local function update_share(of)
  return of.frame_ms > 0 and 100 * of.update_ms / of.frame_ms or 0
end

local function frames_per_second()
  return cost.frame_ms > 0 and 1000 * cost.frames / cost.frame_ms or 0
end

local function bucket_name(i)
  if BUCKETS[i] == math.huge then
    return string.format("over %d ms", BUCKETS[i - 1])
  elseif i == 1 then
    return string.format("up to %d ms", BUCKETS[1])
  end
  return string.format("%d to %d ms", BUCKETS[i - 1], BUCKETS[i])
end

-- Text -------------------------------------------------------------------

local function size_text(bytes)
  if bytes < 1000 then
    return string.format("%.0f B", bytes)
  elseif bytes < 1000000 then
    return string.format("%.1f kB", bytes / 1000)
  end
  return string.format("%.2f MB", bytes / 1000000)
end

-- Pads or cuts to exactly `width` columns; ASCII only.
local function cell(text, width)
  if #text > width then
    return text:sub(1, width - 2) .. ".."
  end
  return text .. string.rep(" ", width - #text)
end

local function result_text(record)
  if record.state ~= "done" then
    return record.aborting and "aborting" or record.task.state
  elseif record.aborting then
    return "aborted"
  end
  return record.status and tostring(record.status) or "failed"
end

local function summary_line()
  local p50, p99 = update_percentiles()
  return string.format("arcade: %d frames at %.1f fps, %d requests (%d answered"
    .. ", %d aborted as planned, %d failed), %s, update() p50 %.3f ms, p99 "
    .. "%.3f ms, %.2f %% of the frame time: %s",
    cost.frames, frames_per_second(), totals.started, totals.answered,
    totals.aborted, totals.failed, size_text(totals.bytes), p50, p99,
    update_share(cost), totals.failed == 0 and "ok" or "FAILED")
end

function report(record)
  print(string.format("%-4s %-5s %-30s %-8s %10s %5.0f ms  %s",
    record.ok and "ok" or "FAIL", record.method, record.url,
    result_text(record), size_text(record.bytes), record.ms, record.note))
end

local function print_histogram()
  for i, bucket in ipairs(histogram) do
    if bucket.frames > 0 then
      print(string.format("frames of %-12s %6d, update() took %5.2f %%",
        bucket_name(i), bucket.frames, update_share(bucket)))
    end
  end
end

-- Screen -----------------------------------------------------------------

local ESC = "\27["
local COLOURS = { dim = "2", bold = "1", red = "31", green = "32",
                  yellow = "33", blue = "34", magenta = "35", cyan = "36" }
local BAR = "\226\150\136"   -- U+2588, full block
local RULE = "\226\148\128"  -- U+2500
local WIDTH = 79
local BAR_WIDTH = 36

local function paint(colour, text)
  return ESC .. COLOURS[colour] .. "m" .. text .. ESC .. "0m"
end

local METHOD_COLOURS = { GET = "blue", HEAD = "cyan", POST = "magenta",
                         PUT = "yellow", DOWN = "green", UP = "green",
                         CHAT = "magenta", TCP = "cyan", PING = "yellow",
                         SCAN = "blue" }
local STATE_COLOURS = { queued = "dim", connecting = "yellow", open = "cyan",
                        closing = "cyan", idle = "dim" }

local function result_colour(record)
  if record.state ~= "done" then
    return STATE_COLOURS[record.task.state] or "dim"
  elseif not record.ok then
    return "red"
  end
  return record.aborting and "yellow" or "green"
end

-- What stands behind a row: a bar while a file is on its way, then a note.
local NOTE_WIDTH = 10

local function note_text(record)
  if record.progress and record.state ~= "done" then
    local filled = math.floor(record.progress * NOTE_WIDTH / 100)
    return paint("green", string.rep(BAR, filled)) ..
      paint("dim", string.rep(RULE, NOTE_WIDTH - filled))
  end
  return paint("dim", cell(record.note or "", NOTE_WIDTH))
end

local function row_line(record)
  local ms = record.ms or now() - record.began
  return table.concat{
    paint("dim", string.format("%5d ", record.number)),
    paint(METHOD_COLOURS[record.method] or "bold", cell(record.method, 5)),
    cell(record.url, 29), " ",
    paint(result_colour(record), cell(result_text(record), 10)),
    string.format("%9s %5.0f ms ", size_text(record.bytes), ms),
    note_text(record),
  }
end

local function histogram_lines(lines)
  local most = 1
  for _, bucket in ipairs(histogram) do
    most = math.max(most, bucket.frames)
  end
  for i, bucket in ipairs(histogram) do
    local length = math.ceil(BAR_WIDTH * bucket.frames / most)
    lines[#lines + 1] = table.concat{
      string.format(" %12s ", bucket_name(i)),
      paint(i <= 3 and "green" or i <= 5 and "yellow" or "red",
        string.rep(BAR, length)),
      string.rep(" ", BAR_WIDTH - length),
      string.format(" %7d", bucket.frames),
      paint("dim", bucket.frames > 0 and
        string.format("   update %5.2f %%", update_share(bucket)) or ""),
    }
  end
end

local shown = { p50 = 0, p99 = 0 }

local function totals_lines(lines, frame)
  if frame % 30 == 1 then
    shown.p50, shown.p99 = update_percentiles()
  end
  lines[#lines + 1] = table.concat{
    " update() ", paint("bold", string.format("%.2f %%", update_share(cost))),
    string.format(" of the frame time, p50 %.3f ms, p99 %.3f ms, worst %.3f ms",
      shown.p50, shown.p99, cost.worst_ms),
  }
  lines[#lines + 1] = table.concat{
    " requests ", paint("bold", tostring(totals.started)), ": ",
    paint("green", totals.answered .. " answered"), ", ",
    paint("yellow", totals.aborted .. " aborted as planned"), ", ",
    paint(totals.failed > 0 and "red" or "dim", totals.failed .. " failed"),
    ", ", tostring(running), " running, ", size_text(totals.bytes),
  }
end

local function screen_lines(frame, rows)
  local count = options.frames and "/" .. options.frames or ""
  local right = string.format("frame %d%s  %.1f fps", frame, count,
    frames_per_second())
  local lines = {
    paint("bold", " nettask arcade ") ..
      cell(" " .. options.base, WIDTH - 16 - #right) .. paint("bold", right),
    paint("dim", string.rep(RULE, WIDTH)),
  }
  for i = 1, rows do
    lines[#lines + 1] = records[i] and row_line(records[i]) or ""
  end
  lines[#lines + 1] = paint("dim", string.rep(RULE, WIDTH))
  histogram_lines(lines)
  totals_lines(lines, frame)
  return lines
end

-- As many rows as the terminal has room for.
local function count_rows()
  local pipe = io.popen("stty size 2>/dev/null </dev/tty")
  local height = pipe and tonumber((pipe:read("*l") or ""):match("^(%d+)"))
  if pipe then
    pipe:close()
  end
  return math.max(MAX_RUNNING, math.min(24, (height or 24) - 16))
end

local function draw(frame, rows)
  local text = table.concat(screen_lines(frame, rows), ESC .. "K\r\n")
  io.write(ESC, "H", text, ESC, "K", ESC, "J")
  io.flush()
end

local function open_screen()
  io.stdout:setvbuf("full", 16384)
  io.write(ESC, "?25l", ESC, "2J")
end

local function close_screen()
  io.write(ESC, "?25h\r\n")
  io.flush()
end

-- The loop ---------------------------------------------------------------

-- Runs the callbacks; returns how long that took.
local function update()
  local began = now()
  net.update()
  return now() - began
end

-- Sleeps until `time`. What arrives meanwhile is delivered at once: it then
-- need not wait for the next frame, and counts for the present one.
local function wait_until(time)
  local update_ms, left = 0, time - now()
  while left > 0.5 do
    if net.wait(math.max(1, math.floor(left))) then
      update_ms = update_ms + update()
    end
    left = time - now()
  end
  return update_ms
end

local function may_start(frame)
  return not options.frames or frame <= math.max(1, options.frames -
    DRAIN_FRAMES)
end

local function is_over(frame, last_start)
  if not options.frames or frame < options.frames then
    return false
  end
  return running == 0 or now() - last_start > DRAIN_MS
end

local function play(rows)
  local frame = 0
  local began, due, last_start = now(), now(), now()
  repeat
    frame = frame + 1
    if may_start(frame) then
      start_some(frame)
      last_start = now()
    end
    local update_ms = update()
    tend(rows)
    if not plain and frame % 2 == 1 then
      draw(frame, rows)
    end
    -- A frame that is late moves those behind it: nothing is made up for.
    due = math.max(due + FRAME_MS, now() - FRAME_MS)
    update_ms = update_ms + wait_until(due)
    count_frame(now() - began, update_ms)
    began = now()
  until is_over(frame, last_start)
  if not plain then
    draw(frame, rows)
  end
end

local function main()
  -- A demo may open as many as it likes.
  net.configure{ limits = { tcpPerWindow = 0 } }
  if plain then
    return pcall(play, MAX_RUNNING)
  end
  open_screen()
  local ok, message = pcall(play, count_rows())
  close_screen()
  return ok, message
end

local ok, message = main()
local interrupted = not ok and tostring(message):find("interrupted!", 1, true)
if not ok and not interrupted then
  io.stderr:write(tostring(message), "\n")
end
if running > 0 and not interrupted then
  totals.failed = totals.failed + running
end
if plain then
  print_histogram()
end
print(summary_line())
net.close()
os.exit((ok or interrupted) and totals.failed == 0 and 0 or 1)
