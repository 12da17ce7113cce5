-- downloadFile(): results, options, progress, caps, time-outs, abort. What may
-- be written where is in download_files_spec.lua.

local files = require "support.files"
local helper = require "helper"
local residue = require "support.residue"
local states = require "support.states"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local demo, fault, nginx = servers.demo, servers.fault, servers.nginx
local read_file = helper.read_file

local TOO_BIG = { "exceed max file size", 603301, -8 }
local TIMEOUT = { "timeout", 5, -7 }

local good, bad, start = files.of "downloadFile"

describe("downloadFile", function()
  local folder

  setup(function()
    residue.defaults()
    folder = files.folder()
    net.setLogger(function() end)
  end)

  teardown(function() net.setLogger(nil) end)

  before_each(files.mark)

  -- Whatever a test has done, it leaves neither descriptors nor part files.
  after_each(function()
    net.resume()
    files.check_closed()
    helper.run_until(function()
      return not table.concat(files.list(folder), "\n"):find("%.part")
    end, 2000, "part files to go")
  end)

  local function in_folder(name)
    return folder .. "/" .. name
  end

  -- ---- Results --------------------------------------------------------------

  it("#90 #93 #95 gets a file by GET and tells its temporary path", function()
    local res, record = good { url = demo .. "/file/300000" }
    assert.equal("downloadFile:ok", res.errMsg)
    assert.equal(200, res.statusCode)
    assert.is_nil(res.filePath)
    assert.is_nil(res.data)
    assert.is_true(read_file(res.tempFilePath) == files.pattern(300000))
    assert.is_true(rawequal(res, record.complete))
    assert.equal("complete", record.order[#record.order])
    assert.equal("success", record.order[#record.order - 1])
  end)

  it("#90 always uses GET, without a body", function()
    local res = good { url = fault.http .. "/raw", method = "POST",
      data = "the body" }
    local request = wire.parse(read_file(res.tempFilePath))
    assert.equal("GET /raw HTTP/1.1", request.line)
    assert.equal("", request.body)
    assert.same({}, wire.values(request, "content-length"))
  end)

  it("#90 counts bytes of the file: nothing is compressed", function()
    local res = good { url = nginx.http .. "/text.txt",
      header = { ["Accept-Encoding"] = "gzip" } }
    assert.equal(56000, res.dataLength)
    assert.is_nil(res.header["Content-Encoding"])
    assert.equal(("the same line over and over\n"):rep(2000),
      read_file(res.tempFilePath))
    local raw = wire.parse(read_file(good { url = fault.http .. "/raw" }
      .tempFilePath))
    for _, coding in ipairs(wire.values(raw, "accept-encoding")) do
      assert.equal("identity", coding)
    end
  end)

  it("#91 sends header, but no Referer", function()
    local request = wire.parse(read_file(good { url = fault.http .. "/raw",
      header = { ["X-Level"] = "7", Referer = "http://a.example/" } }
      .tempFilePath))
    assert.same({ "7" }, wire.values(request, "x-level"))
    assert.same({}, wire.values(request, "referer"))
  end)

  it("#91 refuses a header that could smuggle another", function()
    bad({ url = demo .. "/file/1", header = { ["X-A"] = "1\r\nX-B: 2" } },
      { 'invalid header "X-A"', 600005, -1 })
  end)

  it("#92 #94 writes to filePath and echoes it", function()
    for _, name in ipairs { "plain.bin", "with space", "gr\195\188n.png",
      "quote'\"$x" } do
      local path = in_folder(name)
      local res = good { url = demo .. "/file/70000", filePath = path }
      assert.equal(path, res.filePath)
      assert.is_nil(res.tempFilePath)
      assert.equal(70000, res.dataLength)
      assert.is_true(read_file(path) == files.pattern(70000))
    end
  end)

  it("#92 takes a path relative to the working folder, as given", function()
    local result = files.child({ "env", "-C", folder }, [[
      local record = helper.finish(helper.begin("downloadFile",
        { url = servers.demo .. "/file/10", filePath = "here.bin" }))
      io.write(record.complete.errMsg, " ", record.complete.filePath)
    ]])
    assert.equal("", result.err)
    assert.equal("downloadFile:ok here.bin", result.out)
    assert.equal(10, files.size(in_folder("here.bin")))
  end)

  it("#92 replaces a file that is there, only when whole", function()
    local path = helper.write_file(in_folder("old"), ("old"):rep(50000))
    bad({ url = fault.http .. "/close-in-body", filePath = path },
      { "-354:net::ERR_CONTENT_LENGTH_MISMATCH", 600001, -354 })
    assert.equal(("old"):rep(50000), read_file(path))
    good { url = demo .. "/file/100", filePath = path }
    assert.is_true(read_file(path) == files.pattern(100))
  end)

  it("#96 saves the body of a 404 and of a 500, as success", function()
    for _, status in ipairs { 404, 500 } do
      local res = good { url = demo .. "/status/" .. status,
        filePath = in_folder("error-" .. status) }
      assert.equal(status, res.statusCode)
      assert.equal("downloadFile:ok", res.errMsg)
      assert.equal(("status %d\n"):format(status), read_file(res.filePath))
    end
  end)

  it("makes an empty file of an empty body", function()
    for _, url in ipairs { demo .. "/file/0", fault.http .. "/no-content" } do
      local res, record = good { url = url }
      assert.equal(0, res.dataLength)
      assert.equal(0, files.size(res.tempFilePath))
      assert.equal(100, record.progress[#record.progress].progress)
    end
  end)

  it("follows redirects", function()
    local res, record = good { url = wire.url("/redirect",
      { to = demo .. "/file/5000", bytes = 20000 }) }
    assert.equal(200, res.statusCode)
    assert.is_true(read_file(res.tempFilePath) == files.pattern(5000))
    assert.equal(1, #record.headers)
  end)

  it("#99 tells header, dataLength and cookies", function()
    local res = good { url = fault.http .. "/headers-odd" }
    assert.equal("one, two, three", res.header["X-Repeat"])
    assert.equal(2, res.dataLength)
    assert.same({ "a=1; Path=/",
      "b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT" }, res.cookies)
    assert.same({}, good { url = demo .. "/file/1" }.cookies)
  end)

  it("#100 tells a profile unless enableProfile=false", function()
    local res = good { url = demo .. "/file/100000" }
    assert.is_true(res.profile.responseEnd >= res.profile.fetchStart)
    assert.is_true(res.profile.receivedBytedCount >= 100000)
    assert.equal("http/1.1", res.profile.protocol)
    assert.is_nil(good { url = demo .. "/file/1", enableProfile = false }
      .profile)
  end)

  it("runs over HTTPS, and over HTTP/2 with enableHttp2", function()
    for _, enable in ipairs { false, true } do
      local res = good { url = nginx.https .. "/big", enableHttp2 = enable }
      assert.equal(enable and "h2" or "http/1.1", res.profile.protocol)
      assert.is_true(read_file(res.tempFilePath)
        == read_file(servers.tmp .. "/www/big"))
    end
  end)

  it("runs eight at a time, each into its own file", function()
    local records = {}
    for i = 1, 8 do
      records[i] = start { url = demo .. "/file/" .. 200000 + i,
        filePath = in_folder("many-" .. i) }
    end
    for i, record in ipairs(records) do
      helper.finish(record)
      assert.is_true(read_file(record.success.filePath)
        == files.pattern(200000 + i))
    end
  end)

  -- ---- The call -------------------------------------------------------------

  it("checks the types of its options", function()
    local url = demo .. "/file/1"
    for _, case in ipairs {
      { { url = nil }, "url", "String", "Undefined" },
      { { url = 12 }, "url", "String", "Number" },
      { { url = url, filePath = 12 }, "filePath", "String", "Number" },
      { { url = url, header = "x" }, "header", "Object", "String" },
      { { url = url, timeout = "1" }, "timeout", "Number", "String" },
      { { url = url, withCredentials = 1 }, "withCredentials", "Boolean",
        "Number" },
      { { url = url, resume = 1 }, "resume", "Boolean", "Number" },
      { { url = url, durable = 1 }, "durable", "Boolean", "Number" },
      { { url = url, sha256 = true }, "sha256", "String", "Boolean" },
      { { url = url, getRawResult = 1 }, "getRawResult", "Function",
        "Number" },
    } do
      bad(case[1], { ("parameter error: parameter.%s should be %s instead of"
        .. " %s;"):format(case[2], case[3], case[4]), 1001, -1 })
    end
    assert.has_error(function() net.downloadFile("url") end)
    assert.has_error(function() net.downloadFile() end)
  end)

  it("refuses urls as request does", function()
    bad({ url = "http://127.0.0.1:0x/" },
      { 'invalid url "http://127.0.0.1:0x/"', 600009, -300 })
    bad({ url = fault.refused .. "/" },
      { "-102:net::ERR_CONNECTION_REFUSED", 600001, -102 })
  end)

  it("takes urls relative to baseUrl", function()
    net.configure { baseUrl = demo }
    assert.equal(7, good { url = "/file/7" }.dataLength)
  end)

  it("#98 takes withCredentials", function()
    for _, value in ipairs { true, false } do
      assert.equal(3, good { url = demo .. "/file/3", withCredentials = value }
        .dataLength)
    end
  end)

  it("#104 gives the task to getRawResult before it returns", function()
    local given
    local record = start { url = demo .. "/file/10",
      getRawResult = function(task) given = task end }
    assert.is_true(rawequal(given, record.task))
    assert.matches("^nettask%.DownloadTask #%d+", tostring(given))
    helper.finish(record)
    assert.matches("%(done%)$", tostring(given))
  end)

  -- ---- Time-outs ------------------------------------------------------------

  it("#97 ends with timeout", function()
    bad({ url = fault.http .. "/never", timeout = 150 }, TIMEOUT)
    bad({ url = fault.http .. "/drip?every=10", timeout = 150,
      filePath = in_folder("late") }, TIMEOUT)
    assert.is_false(files.exists(in_folder("late")))
  end)

  it("#97 takes its default from configure", function()
    net.configure { timeouts = { download = 150 } }
    bad({ url = fault.http .. "/never" }, TIMEOUT)
    assert.equal(4, good { url = fault.http .. "/respond?body=late",
      timeout = 5000 }.dataLength)
  end)

  it("takes each of timeouts", function()
    bad({ url = fault.http .. "/never-body", timeouts = { stall = 150 } },
      TIMEOUT)
    bad({ url = fault.http .. "/never", timeouts = { firstByte = 150 } },
      TIMEOUT)
    -- As long as bytes come, stall does not end it; total=0 lifts the rest.
    net.configure { timeouts = { download = 100 } }
    good { url = fault.http .. "/drip?every=20&bytes=15",
      timeouts = { stall = 2000, total = 0 } }
  end)

  -- ---- The cap --------------------------------------------------------------

  it("#101 takes 50 MB", function()
    local path = in_folder("large")
    local res = good { url = demo .. "/file/52428800", filePath = path }
    assert.equal(52428800, res.dataLength)
    assert.equal(52428800, files.size(path))
    os.remove(path)
  end)

  it("#101 refuses more by its Content-Length, at once", function()
    local record = bad({ url = demo .. "/file/52428801?rate=1000",
      filePath = in_folder("too-large") }, TOO_BIG)
    assert.is_false(files.exists(in_folder("too-large")))
    assert.matches("downloadMaxBytes", record.fail.reason)
  end)

  it("#101 refuses more while it comes in", function()
    net.configure { limits = { downloadMaxBytes = 1000000 } }
    for _, path in ipairs { "/endless", "/endless-close" } do
      bad({ url = fault.http .. path, filePath = in_folder("endless") },
        TOO_BIG)
      assert.is_false(files.exists(in_folder("endless")))
    end
    good { url = demo .. "/file/1000000" }
    bad({ url = demo .. "/file/1000001" }, TOO_BIG)
    good { url = demo .. "/chunks/1000?size=1000" }
    bad({ url = demo .. "/chunks/1001?size=1000" }, TOO_BIG)
  end)

  it("#101 has no cap under the policy open, or with 0", function()
    net.configure { limits = { downloadMaxBytes = 0 } }
    helper.finish(start { url = demo .. "/file/60000000",
      filePath = in_folder("huge"), success = helper.expect(1) })
    os.remove(in_folder("huge"))
    net.configure { limits = { downloadMaxBytes = 10 } }
    net.configure { policy = "open" }
    good { url = demo .. "/file/11" }
  end)

  -- ---- Extensions -----------------------------------------------------------

  it("#102 names a temporary file by its Content-Type", function()
    for _, case in ipairs { { "image/jpeg", "jpg" }, { "image/png", "png" },
      { "audio/mpeg", "mp3" }, { "video/mp4", "mp4" },
      { "text/plain; charset=utf-8", "txt" }, { "APPLICATION/JSON", "json" },
      { "application/zip", "zip" } } do
      local res = good { url = wire.url("/respond",
        { type = case[1], body = "x" }) }
      assert.equal(case[2], res.tempFilePath:match("%.(%w+)$"))
    end
  end)

  it("#102 or else by the path of the url, or else not", function()
    local function name(url)
      return good { url = url }.tempFilePath:match("[^/]*$")
    end
    local odd = "?type=application/x-odd"
    assert.matches("^[^.]+$", name(demo .. "/file/5" .. odd))
    assert.matches("^[^.]+$", name(demo .. "/file/5"))
    helper.write_file(servers.tmp .. "/www/level.v2.MAP1", "level")
    assert.matches("%.MAP1$", name(nginx.http .. "/level.v2.MAP1?x=.odd"))
  end)

  -- ---- Temporary files ------------------------------------------------------

  it("#103 keeps temporary files until the context is closed", function()
    local place = files.folder()
    net.configure { tempDir = place }
    local first = good { url = demo .. "/file/1000" }.tempFilePath
    local second = good { url = demo .. "/file/1000" }.tempFilePath
    assert.not_equal(first, second)
    assert.equal(place, first:sub(1, #place))
    assert.equal(1, #files.list(place))
    collectgarbage()
    helper.run_for(50)
    assert.is_true(files.exists(first) and files.exists(second))
    residue.close()
    assert.same({}, files.list(place))
  end)

  it("#103 removes what a killed process has left", function()
    local place = files.folder()
    local result = files.child({}, [[
      net.configure { tempDir = (...) }
      local record = helper.finish(helper.begin("downloadFile",
        { url = servers.demo .. "/file/1000" }))
      io.write(record.success.tempFilePath)
      io.flush()
      os.execute("kill -9 $PPID")
      helper.run_for(10000)
    ]], place)
    assert.equal(137, result.status)
    assert.is_true(files.exists(result.out))
    residue.close()
    net.configure { tempDir = place }
    local path = good { url = demo .. "/file/1000" }.tempFilePath
    helper.run_until(function()
      return not files.exists(result.out)
    end, 5000, "the sweep")
    assert.is_true(files.exists(path))
    assert.equal(1, #files.list(place))
    residue.close()
    assert.same({}, files.list(place))
  end)

  it("#103 leaves alone what a living process has", function()
    local place = files.folder()
    net.configure { tempDir = place }
    local path = good { url = demo .. "/file/1000" }.tempFilePath
    local result = files.child({}, [[
      net.configure { tempDir = (...) }
      local record = helper.finish(helper.begin("downloadFile",
        { url = servers.demo .. "/file/1000" }))
      io.write(record.complete.errMsg)
    ]], place)
    assert.equal("downloadFile:ok", result.out)
    assert.is_true(files.exists(path))
    assert.equal(1, #files.list(place))
  end)

  -- ---- Progress -------------------------------------------------------------

  local function check_progress(list, size)
    local last = 0
    for _, event in ipairs(list) do
      assert.equal(size, event.totalBytesExpectedToWrite)
      assert.is_true(event.totalBytesWritten >= last)
      assert.equal(math.floor(event.totalBytesWritten / size * 100),
        event.progress)
      last = event.totalBytesWritten
    end
    assert.equal(size, last)
    assert.equal(100, list[#list].progress)
  end

  it("#106 #108 #109 tells progress in bytes and percent", function()
    local _, record = good { url = demo .. "/file/600000?rate=1500000" }
    assert.is_true(#record.progress >= 3, #record.progress)
    check_progress(record.progress, 600000)
    for _, event in ipairs(record.progress) do
      assert.equal(event.progress, math.floor(event.progress))
    end
  end)

  it("#106 at most once in 50 ms, but for the first and last", function()
    local started = helper.now()
    local _, record = good { url = demo .. "/file/500000?rate=1250000" }
    local took = helper.now() - started
    assert.is_true(#record.progress <= took / 50 + 2, #record.progress)
    -- However fast it is.
    started = helper.now()
    _, record = good { url = demo .. "/file/20000000" }
    took = helper.now() - started
    assert.is_true(#record.progress <= took / 50 + 2, #record.progress)
    check_progress(record.progress, 20000000)
  end)

  it("#106 a frame that comes late sees one event, the newest", function()
    local record = start { url = demo .. "/file/200000?rate=1000000" }
    helper.run_until(function() return #record.progress > 0 end)
    net.pause()
    helper.run_until(function() return record.task.state == "closing" end)
    local seen = #record.progress
    net.resume()
    helper.finish(record)
    assert.equal(seen + 1, #record.progress)
    assert.equal(200000, record.progress[seen + 1].totalBytesWritten)
  end)

  it("#109 of an unknown length the last event tells it", function()
    local _, record = good { url = demo .. "/chunks/20?size=1000&every=10" }
    local last = table.remove(record.progress)
    assert.is_true(#record.progress >= 1)
    for _, event in ipairs(record.progress) do
      assert.equal(0, event.progress)
      assert.equal(0, event.totalBytesExpectedToWrite)
    end
    assert.same({ progress = 100, totalBytesWritten = 20000,
      totalBytesExpectedToWrite = 20000 }, last)
  end)

  it("comes between headers and success", function()
    local _, record = good { url = demo .. "/file/100000?rate=1000000" }
    assert.equal("headers", record.order[1])
    assert.equal("progress", record.order[2])
    assert.equal("progress", record.order[#record.order - 2])
  end)

  it("#107 offProgressUpdate removes one listener, or all", function()
    local url = demo .. "/file/100000?rate=500000"
    local other = 0
    local function count() other = other + 1 end
    local task = net.downloadFile { url = url, complete = helper.expect(1) }
    local never = helper.never("a removed listener")
    task:onProgressUpdate(never)
    task:onProgressUpdate(count)
    task:onProgressUpdate(count)
    task:offProgressUpdate(never)
    helper.run_until(function() return other > 1 end)
    task:offProgressUpdate()
    local seen = other
    helper.run_until_met()
    assert.equal(seen, other)
  end)

  -- ---- Headers --------------------------------------------------------------

  it("#110 onHeadersReceived comes first, once", function()
    local _, record = good { url = demo .. "/file/1000?type=image/png" }
    assert.equal(1, #record.headers)
    assert.equal("image/png", record.headers[1].header["content-type"])
    assert.equal(200, record.headers[1].statusCode)
    assert.equal("headers", record.order[1])
  end)

  it("#110 offHeadersReceived removes", function()
    local task = net.downloadFile { url = demo .. "/file/1000",
      complete = helper.expect(1) }
    local never = helper.never()
    task:onHeadersReceived(never)
    task:offHeadersReceived(never)
    helper.run_until_met()
  end)

  -- ---- Abort ----------------------------------------------------------------

  local function aborted(record)
    local seen = #record.order
    record.task:abort()
    helper.finish(record)
    helper.check_failure(record, "abort", 1, -3)
    assert.equal(seen + 2, #record.order, "a callback after abort()")
    assert.is_nil(record.success)
  end

  -- How to bring a download into each state. A file that is in place is beyond
  -- abort(), so none of them may end by itself, however long abort() takes.
  local ENDLESS = demo .. "/file/50000000?rate=1000000"
  local enter = {}

  function enter.started(path)
    return start { url = ENDLESS, filePath = path }
  end

  function enter.queued(path)
    local others = {}
    for i = 1, 10 do
      others[i] = net.request { url = fault.blackhole .. "/" }
    end
    local record = enter.started(path)
    record.others = others
    helper.run_until(function() return record.task.state == "queued" end)
    return record
  end

  function enter.connecting(path)
    local record = start { url = fault.blackhole .. "/", filePath = path }
    helper.ask(fault.http .. "/")
    return record
  end

  function enter.handshake(path)
    local url = fault.silent:gsub("^http:", "https:")
    local record = start { url = url .. "/", filePath = path }
    helper.ask(fault.http .. "/")
    return record
  end

  function enter.sent(path)
    local key = states.key "download"
    local record = start { url = fault.http .. "/wait?key=" .. key,
      filePath = path }
    helper.run_until(function()
      return helper.ask(fault.http .. "/waiting?key=" .. key) == "1"
    end)
    return record
  end

  function enter.headers(path)
    local record = start { url = fault.http .. "/never-body", filePath = path }
    helper.run_until(function() return #record.headers > 0 end)
    return record
  end

  function enter.body(path)
    local record = start { url = ENDLESS, filePath = path }
    files.run_until_written(record, 300000)
    return record
  end

  for _, name in ipairs { "started", "queued", "connecting", "handshake",
    "sent", "headers", "body" } do
    it("#105 abort while it is " .. name .. " leaves nothing", function()
      local empty = files.folder()
      local record = enter[name](empty .. "/file")
      aborted(record)
      for _, task in ipairs(record.others or {}) do
        task:abort { silent = true }
      end
      -- The end comes when nothing is left, not before.
      assert.same({}, files.list(empty))
    end)
  end

  it("#105 abort comes too late for a file that is in place", function()
    net.pause()
    local path = in_folder("in-place")
    local record = start { url = demo .. "/file/1000", filePath = path }
    helper.run_until(function() return record.task.state == "closing" end)
    record.task:abort()
    net.resume()
    helper.finish(record)
    assert.is_truthy(record.success)
    assert.equal(1000, files.size(path))
    assert.equal(0, #record.progress + #record.headers)
  end)

  it("#105 abort inside of each callback", function()
    for _, name in ipairs { "onHeadersReceived", "onProgressUpdate" } do
      local path = in_folder("callback")
      local task = net.downloadFile { url = ENDLESS,
        filePath = path, success = helper.never(name),
        fail = helper.expect(1), complete = helper.expect(1) }
      task[name](task, helper.expect(1, function() task:abort() end))
      helper.run_until_met()
      assert.is_false(files.exists(path))
      assert.is_false(files.exists(path .. ".part"))
    end
  end)

  it("#105 abort twice, after the end, and silently", function()
    local record = start { url = fault.http .. "/never" }
    record.task:abort()
    record.task:abort()
    helper.finish(record)
    record.task:abort()
    local task = net.downloadFile { url = fault.http .. "/never",
      fail = helper.never(), complete = helper.never() }
    task:abort { silent = true }
    net.run(5000)
    assert.equal("done", task.state)
  end)

  -- ---- Bad servers ----------------------------------------------------------

  it("a body that breaks off leaves nothing", function()
    for path, expected in pairs {
      ["/close-in-body"] = { "-354:net::ERR_CONTENT_LENGTH_MISMATCH", 600001,
        -354 },
      ["/close-in-chunk"] = { "-355:net::ERR_INCOMPLETE_CHUNKED_ENCODING",
        600001, -355 },
      ["/reset-in-body"] = { "-101:net::ERR_CONNECTION_RESET", 600001, -101 },
      ["/close"] = { "-324:net::ERR_EMPTY_RESPONSE", 600001, -324 },
    } do
      local empty = files.folder()
      bad({ url = fault.http .. path, filePath = empty .. "/file" }, expected)
      assert.same({}, files.list(empty))
    end
  end)

  it("an error in a callback goes to onError, the file is there", function()
    local caught = {}
    net.onError(function(err) caught[#caught + 1] = tostring(err) end)
    local path = in_folder("caught")
    local record = start { url = demo .. "/file/100", filePath = path,
      success = function() error("on purpose", 0) end }
    record.task:onProgressUpdate(function() error("progress", 0) end)
    helper.finish(record)
    assert.same({ "progress", "on purpose" }, caught)
    assert.equal(100, files.size(path))
  end)
end)
