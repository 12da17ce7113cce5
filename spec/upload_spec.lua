-- uploadFile(): the body, judged by other people's parsers (httpbin, the demo
-- server) and byte by byte; results, options, progress, failures, abort.

local files = require "support.files"
local helper = require "helper"
local residue = require "support.residue"
local states = require "support.states"
local wire = require "support.wire"

local core = require "nettask.core"
local net, servers = helper.net, helper.servers
local demo, fault, nginx = servers.demo, servers.fault, servers.nginx
local write_file = helper.write_file

local TIMEOUT = { "timeout", 5, -7 }
local NOT_FOUND = { "file not found", 1300002, -6 }
local NO_PERMISSION = { "permission denied", 1300013, -1 }
local TOO_BIG = { "exceed max file size", 603301, -8 }

local good, bad, start = files.of "uploadFile"

describe("uploadFile", function()
  local folder, text

  setup(function()
    residue.defaults()
    folder = files.folder()
    text = write_file(folder .. "/level.txt", "the level\n")
    net.setLogger(function() end)
  end)

  teardown(function() net.setLogger(nil) end)

  before_each(files.mark)

  after_each(function()
    net.resume()
    files.check_closed()
  end)

  -- What a parser makes of it.
  local function by_httpbin(options)
    return core.jsonDecode(good(wire.with({ url = servers.httpbin .. "/post",
      filePath = text, name = "file" }, options)).data)
  end

  local function by_demo(options)
    return core.jsonDecode(good(wire.with({ url = demo .. "/upload",
      filePath = text, name = "file" }, options)).data)
  end

  -- The request itself.
  local function raw(options)
    return wire.parse(good(wire.with({ url = fault.http .. "/raw",
      filePath = text, name = "file" }, options)).data)
  end

  -- ---- The body -------------------------------------------------------------

  it("#112 posts multipart/form-data that httpbin can read", function()
    local seen = by_httpbin {}
    assert.same({ file = "the level\n" }, seen.files)
    assert.matches("^multipart/form%-data; boundary=",
      seen.headers["Content-Type"])
    local request = raw {}
    assert.equal("POST /raw HTTP/1.1", request.line)
    assert.same({ tostring(#request.body) },
      wire.values(request, "content-length"))
    assert.same({}, wire.values(request, "transfer-encoding"))
  end)

  it("#112 byte by byte", function()
    local request = raw { formData = { b = "2", a = "1" } }
    local boundary = wire.values(request, "content-type")[1]
      :match("^multipart/form%-data; boundary=(.*)$")
    local mark_line = "--" .. boundary .. "\r\n"
    assert.equal(mark_line
      .. 'Content-Disposition: form-data; name="a"\r\n\r\n1\r\n' .. mark_line
      .. 'Content-Disposition: form-data; name="b"\r\n\r\n2\r\n' .. mark_line
      .. 'Content-Disposition: form-data; name="file";'
      .. ' filename="level.txt"\r\nContent-Type: text/plain\r\n\r\n'
      .. "the level\n\r\n--" .. boundary .. "--\r\n", request.body)
  end)

  it("#112 takes another boundary each time", function()
    assert.not_equal(wire.values(raw {}, "content-type")[1],
      wire.values(raw {}, "content-type")[1])
  end)

  it("#112 sends any bytes and any size, as they are", function()
    local path = folder .. "/bytes"
    for _, size in ipairs { 0, 1, 16383, 65536, 523288, 524288, 524289, 1048576,
      4500000 } do
      write_file(path, files.noise(size))
      local parts = by_demo { filePath = path }.parts
      assert.equal(1, #parts)
      assert.equal(size, parts[1].bytes)
      assert.equal(files.sha256(path), parts[1].sha256)
      assert.equal("bytes", parts[1].fileName)
      assert.equal("application/octet-stream", parts[1].type)
    end
  end)

  it("#112 goes through a proxy, TLS and HTTP/2 as well", function()
    local path = write_file(folder .. "/bytes", files.noise(700000))
    for _, enable in ipairs { false, true } do
      local res = good { url = nginx.https .. "/httpbin/post",
        filePath = path, name = "file", enableHttp2 = enable }
      assert.equal(enable and "h2" or "http/1.1", res.profile.protocol)
      assert.equal(200, res.statusCode)
      assert.is_true(#res.data > 700000)
    end
  end)

  it("#113 needs url, filePath and name", function()
    for _, case in ipairs {
      { { filePath = text, name = "f" }, "url", "String", "Undefined" },
      { { url = demo, name = "f" }, "filePath", "String", "Undefined" },
      { { url = demo, filePath = text }, "name", "String", "Undefined" },
      { { url = demo, filePath = 1, name = "f" }, "filePath", "String",
        "Number" },
      { { url = demo, filePath = text, name = true }, "name", "String",
        "Boolean" },
      { { url = demo, filePath = text, name = "f", formData = "x" },
        "formData", "Object", "String" },
      { { url = demo, filePath = text, name = "f", fileName = 1 }, "fileName",
        "String", "Number" },
      { { url = demo, filePath = text, name = "f", header = 1 }, "header",
        "Object", "Number" },
    } do
      bad(case[1], { ("parameter error: parameter.%s should be %s instead of"
        .. " %s;"):format(case[2], case[3], case[4]), 1001, -1 })
    end
    assert.has_error(function() net.uploadFile() end)
  end)

  it("#114 sends header, but no Referer and no other type", function()
    local request = raw { header = { ["X-Level"] = "7",
      Referer = "http://a.example/", ["content-type"] = "text/odd",
      ["Content-Length"] = "3" } }
    assert.same({ "7" }, wire.values(request, "x-level"))
    assert.same({}, wire.values(request, "referer"))
    local types = wire.values(request, "content-type")
    assert.equal(1, #types)
    assert.matches("^multipart/form%-data; boundary=", types[1])
    assert.same({ tostring(#request.body) },
      wire.values(request, "content-length"))
  end)

  it("#114 refuses a header that could smuggle another", function()
    bad({ url = demo .. "/upload", filePath = text, name = "f",
      header = { ["X-A"] = "1\r\nX-B: 2" } },
      { 'invalid header "X-A"', 600005, -1 })
  end)

  it("#115 sends formData as fields", function()
    local seen = by_httpbin { formData = { player = "ann", score = 9000,
      ratio = 0.5, whole = 3.0, yes = true, list = { 1, 2 },
      object = { a = { b = 1 } }, text = "two\r\nlines & =%",
      empty = "", world = "\228\184\150\231\149\140" } }
    assert.same({ player = "ann", score = "9000", ratio = "0.5", whole = "3",
      yes = "true", list = "[1,2]", object = '{"a":{"b":1}}',
      text = "two\r\nlines & =%", empty = "",
      world = "\228\184\150\231\149\140" }, seen.form)
    assert.same({ file = "the level\n" }, seen.files)
  end)

  it("#115 sorted, before the file", function()
    local names = {}
    for i, part in ipairs(by_demo { formData = { c = 1, a = 2, B = 3,
      b = 4 } }.parts) do
      names[i] = part.name
    end
    assert.same({ "B", "a", "b", "c", "file" }, names)
  end)

  it("#115 what cannot be written down is a failure", function()
    local cycle = {}
    cycle.cycle = cycle
    for _, value in ipairs { cycle, { 0 / 0 }, { print } } do
      local record = helper.finish(start { url = demo .. "/upload",
        filePath = text, name = "f", formData = { a = value } })
      assert.equal(600010, record.fail.errno)
    end
  end)

  it("#116 a part's type follows the file's name, then fileType", function()
    local odd = write_file(folder .. "/odd.xyz", "odd")
    write_file(folder .. "/photo.PNG", "png")
    for _, case in ipairs {
      { folder .. "/photo.PNG", nil, "image/png" },
      { folder .. "/photo.PNG", "video", "image/png" },
      { odd, "image", "image/jpeg" }, { odd, "video", "video/mp4" },
      { odd, "audio", "audio/mpeg" }, { odd, nil, "application/octet-stream" },
    } do
      local part = by_demo { filePath = case[1], fileType = case[2] }.parts[1]
      assert.equal(case[3], part.type)
    end
    bad({ url = demo .. "/upload", filePath = odd, name = "f",
      fileType = "x" }, { 'invalid fileType "x"', 600005, -1 })
  end)

  it("fileName replaces the name of the file", function()
    local part = by_demo { fileName = "other.json" }.parts[1]
    assert.equal("other.json", part.fileName)
    assert.equal("application/json", part.type)
  end)

  it("quotes and line ends in names do not break out", function()
    local name = 'a"b\r\nX-C: d\\e;f=g'
    local part = by_demo { name = name, fileName = name,
      formData = { ['k"\r\n'] = "v" } }.parts
    assert.equal("k%22%0D%0A", part[1].name)
    assert.equal("a%22b%0D%0AX-C: d\\e;f=g", part[2].name)
    assert.equal("a%22b%0D%0AX-C: d\\e;f=g", part[2].fileName)
    assert.equal(2, #part)
  end)

  it("names may be UTF-8", function()
    local path = write_file(folder .. "/gr\195\188n.txt", "green")
    local seen = by_httpbin { filePath = path, name = "\228\184\150" }
    assert.same({ ["\228\184\150"] = "green" }, seen.files)
    assert.equal("gr\195\188n.txt", by_demo { filePath = path }
      .parts[1].fileName)
  end)

  -- ---- Several files --------------------------------------------------------

  it("sends several files, from disk and from memory", function()
    local shot = files.noise(300000, 5)
    local seen = by_demo { filePath = text, name = "first",
      formData = { a = "1" }, files = {
        { name = "shot", data = net.buffer(shot), fileName = "shot.png" },
        { name = "log", filePath = text, fileName = "log.json" },
        { name = "replay", data = "replay", type = "application/x-replay",
          fileName = "r" },
      } }
    local told = {}
    for i, part in ipairs(seen.parts) do
      told[i] = ("%s %s %s %d"):format(part.name, tostring(part.fileName),
        tostring(part.type), part.bytes)
    end
    table.sort(told)
    assert.same({ "a nil nil 1", "first level.txt text/plain 10",
      "log log.json application/json 10",
      "replay r application/x-replay 6", "shot shot.png image/png 300000" },
      told)
    local path = write_file(folder .. "/shot", shot)
    for _, part in ipairs(seen.parts) do
      if part.name == "shot" then
        assert.equal(files.sha256(path), part.sha256)
      end
    end
  end)

  it("files alone are enough, also for httpbin", function()
    local res = good { url = servers.httpbin .. "/post", files = {
      { name = "a", filePath = text },
      { name = "b", data = "bytes", fileName = "b.txt" } } }
    assert.same({ a = "the level\n", b = "bytes" },
      core.jsonDecode(res.data).files)
  end)

  it("each needs a name and a source", function()
    for _, file in ipairs { { filePath = text }, { name = "a" },
      { name = 1, data = "x" }, { name = "a", data = 12 }, "text" } do
      local record = helper.finish(start { url = demo .. "/upload",
        files = { file } })
      assert.is_nil(record.success)
      assert.equal(1001, record.fail.errno)
    end
  end)

  -- ---- Results --------------------------------------------------------------

  it("#117 gives the task to getRawResult before it returns", function()
    local given
    local record = start { url = demo .. "/upload", filePath = text,
      name = "f", getRawResult = function(task) given = task end }
    assert.is_true(rawequal(given, record.task))
    assert.matches("^nettask%.UploadTask #%d+", tostring(given))
    helper.finish(record)
  end)

  it("#118 #119 data is the text of the answer, whatever it is", function()
    local res, record = good { url = demo .. "/upload", filePath = text,
      name = "f", dataType = "json", responseType = "arraybuffer" }
    assert.equal("string", type(res.data))
    assert.equal("POST", core.jsonDecode(res.data).method)
    assert.equal("uploadFile:ok", res.errMsg)
    assert.equal(200, res.statusCode)
    assert.equal("application/json", res.header["Content-Type"])
    assert.is_table(res.profile)
    assert.is_true(rawequal(res, record.complete))
    assert.equal("complete", record.order[#record.order])
    assert.is_nil(good { url = demo .. "/upload", filePath = text, name = "f",
      enableProfile = false }.profile)
  end)

  it("#119 every status is a success", function()
    for _, status in ipairs { 201, 400, 404, 500 } do
      local res = good { url = servers.httpbin .. "/status/" .. status,
        filePath = text, name = "f" }
      assert.equal(status, res.statusCode)
      assert.equal("string", type(res.data))
    end
  end)

  it("#120 has a cap of 25 MB in the dialect swan, else none", function()
    local path = folder .. "/large"
    files.shell("truncate", "-s", "26214401", path)
    local options = { url = nginx.http .. "/upload", filePath = path,
      name = "f" }
    good(options)
    net.configure { dialect = "swan" }
    local record = bad(options, TOO_BIG)
    assert.matches("uploadMaxBytes", record.fail.reason)
    files.shell("truncate", "-s", "26214400", path)
    good(options)
    os.remove(path)
  end)

  it("#120 counts files, of memory too, not the body", function()
    net.configure { limits = { uploadMaxBytes = 20 } }
    local options = { url = demo .. "/upload", filePath = text, name = "f",
      formData = { long = ("x"):rep(1000) },
      files = { { name = "m", data = "0123456789", fileName = "m" } } }
    good(options)
    options.files[1].data = "0123456789+"
    bad(options, TOO_BIG)
  end)

  -- ---- Progress -------------------------------------------------------------

  it("#122 #124 tells progress of the whole body", function()
    local path = write_file(folder .. "/progress", files.noise(3000000))
    local res, record = good { url = demo .. "/upload", filePath = path,
      name = "f", formData = { a = "1" } }
    local size = core.jsonDecode(res.data).bytes
    assert.is_true(size > 3000000)
    local last = 0
    for _, event in ipairs(record.progress) do
      assert.equal(size, event.totalBytesExpectedToSend)
      assert.is_true(event.totalBytesSent >= last)
      assert.equal(math.floor(event.totalBytesSent / size * 100),
        event.progress)
      last = event.totalBytesSent
    end
    assert.equal(size, last)
    assert.equal(100, record.progress[#record.progress].progress)
  end)

  it("#122 at most once in 50 ms, but for the first and last", function()
    local path = folder .. "/large"
    files.shell("truncate", "-s", "100000000", path)
    local started = helper.now()
    local _, record = good { url = nginx.http .. "/upload", filePath = path,
      name = "f" }
    local took = helper.now() - started
    assert.is_true(#record.progress <= took / 50 + 2, #record.progress)
    os.remove(path)
  end)

  it("#123 offProgressUpdate removes one listener, or all", function()
    local task = net.uploadFile { url = demo .. "/upload", filePath = text,
      name = "f", complete = helper.expect(1) }
    local never, seen = helper.never(), helper.expect(1)
    task:onProgressUpdate(never)
    task:onProgressUpdate(seen)
    task:offProgressUpdate(never)
    helper.run_until_met()
    task = net.uploadFile { url = demo .. "/upload", filePath = text,
      name = "f", complete = helper.expect(1) }
    task:onProgressUpdate(never)
    task:onProgressUpdate(helper.never())
    task:offProgressUpdate()
    helper.run_until_met()
  end)

  it("#125 onHeadersReceived comes before success; off removes", function()
    local _, record = good { url = demo .. "/upload", filePath = text,
      name = "f" }
    assert.equal(1, #record.headers)
    assert.equal(200, record.headers[1].statusCode)
    assert.equal("application/json",
      record.headers[1].header["content-type"])
    local task = net.uploadFile { url = demo .. "/upload", filePath = text,
      name = "f", complete = helper.expect(1) }
    local never = helper.never()
    task:onHeadersReceived(never)
    task:offHeadersReceived(never)
    helper.run_until_met()
  end)

  -- ---- Sources that are none ------------------------------------------------

  it("a file must be there, before anything is sent", function()
    local key = wire.key()
    local url = wire.url("/", { key = key })
    bad({ url = url, filePath = folder .. "/none", name = "f" }, NOT_FOUND)
    bad({ url = url, filePath = folder .. "/none/none", name = "f" },
      NOT_FOUND)
    bad({ url = url, files = { { name = "a", filePath = text },
      { name = "b", filePath = "/none" } } }, NOT_FOUND)
    assert.same({}, wire.seen(key))
  end)

  it("it must be readable", function()
    local path = write_file(folder .. "/secret", "x")
    files.shell("chmod", "000", path)
    local result = files.child(files.unprivileged, [[
      tell(helper.begin("uploadFile", { url = servers.demo .. "/upload",
        name = "f", filePath = (...) }))
    ]], path)
    files.check_told(result, "uploadFile", NO_PERMISSION[1], NO_PERMISSION[2],
      NO_PERMISSION[3])
  end)

  it("it is no folder, pipe or device, and none is waited for", function()
    files.shell("mkfifo", folder .. "/fifo")
    for _, path in ipairs { folder, folder .. "/fifo", "/dev/zero",
      "/dev/null" } do
      local record = helper.finish(start { url = demo .. "/upload",
        filePath = path, name = "f" })
      assert.is_nil(record.success)
      assert.equal("number", type(record.fail.errno))
      assert.not_equal(0, record.fail.errno)
    end
  end)

  -- An upload of a file of 30 MB, of which the server has read nothing yet when
  -- change(path) runs.
  local function change_meanwhile(change)
    local path, key = folder .. "/changes", wire.key()
    files.shell("truncate", "-s", "30000000", path)
    local record = start { url = wire.url("/read-later", { key = key }),
      filePath = path, name = "f" }
    helper.run_until(function() return #record.progress > 0 end)
    assert.is_false(record.done)
    change(path)
    helper.ask(wire.url("/release", { key = key }))
    helper.finish(record)
    os.remove(path)
    return record
  end

  it("one that shrinks while it is sent is a failure", function()
    for _, size in ipairs { 0, 1000000, 29999999 } do
      local record = change_meanwhile(function(path)
        files.shell("truncate", "-s", size, path)
      end)
      helper.check_failure(record, "the file changed while it was sent",
        600006, -1)
      assert.is_true(record.progress[#record.progress].progress < 100)
      good { url = demo .. "/upload", filePath = text, name = "f" }
    end
  end)

  it("one that grows, or goes, is sent as it was", function()
    for _, command in ipairs { "truncate -s 40000000", "rm" } do
      local record = change_meanwhile(function(path)
        files.shell("sh", "-c", command .. ' "$0"', path)
      end)
      assert.is_truthy(record.success, record.complete.errMsg)
      local sent = record.progress[#record.progress]
      assert.equal(tostring(sent.totalBytesExpectedToSend),
        record.success.data)
      assert.is_true(sent.totalBytesExpectedToSend > 30000000
        and sent.totalBytesExpectedToSend < 30001000)
    end
  end)

  it("its path has no NUL", function()
    for _, path in ipairs { text .. "\0.png", "" } do
      local record = helper.finish(start { url = demo .. "/upload",
        filePath = path, name = "f" })
      assert.is_nil(record.success)
    end
  end)

  it("it is below a root, if there are roots", function()
    local root, other = files.folder(), files.folder()
    write_file(root .. "/in", "in")
    local out = write_file(other .. "/out", "out")
    files.shell("ln", "-s", out, root .. "/link")
    net.configure { fileRoots = { read = { root } } }
    good { url = demo .. "/upload", filePath = root .. "/in", name = "f" }
    for _, path in ipairs { out, root .. "/link",
      root .. "/../" .. other:match("[^/]*$") .. "/out" } do
      local record = helper.finish(start { url = demo .. "/upload",
        filePath = path, name = "f" })
      assert.is_nil(record.success)
      assert.equal(1300013, record.fail.errno)
      assert.matches("fileRoots", record.fail.reason)
    end
    -- Memory is not a place.
    good { url = demo .. "/upload", files = { { name = "m", data = "x",
      fileName = "m" } } }
  end)

  -- ---- Servers --------------------------------------------------------------

  it("307 and 308 send the body again, from its start", function()
    local path = write_file(folder .. "/again", files.noise(2500000))
    for _, status in ipairs { 307, 308 } do
      local res = good { url = wire.url("/redirect",
        { to = demo .. "/upload", status = status }), filePath = path,
        name = "f", formData = { a = "1" } }
      local parts = core.jsonDecode(res.data).parts
      assert.equal(2, #parts)
      assert.equal(files.sha256(path), parts[2].sha256)
    end
  end)

  it("303 becomes a GET without the body", function()
    local res = good { url = wire.url("/redirect", { to = fault.http .. "/raw",
      status = 303 }), filePath = text, name = "f" }
    local request = wire.parse(res.data)
    assert.equal("GET", request.method)
    assert.equal("", request.body)
  end)

  it("an early 413 is an answer like any other", function()
    local path = folder .. "/large"
    files.shell("truncate", "-s", "30000000", path)
    for _ = 1, 3 do
      local res = good { url = fault.http .. "/early-response",
        filePath = path, name = "f" }
      assert.equal(413, res.statusCode)
      assert.equal("too big", res.data)
    end
    os.remove(path)
  end)

  it("a connection that died while idle is no failure", function()
    for _ = 1, 3 do
      helper.ask(fault.http .. "/last-time")
      assert.equal("the level\n", by_httpbin({}).files.file)
      good { url = fault.http .. "/raw", filePath = text, name = "f" }
    end
  end)

  it("servers that fail", function()
    local function fails(path, expected)
      bad({ url = fault.http .. path, filePath = text, name = "f" }, expected)
    end
    fails("/close", { "-324:net::ERR_EMPTY_RESPONSE", 600001, -324 })
    fails("/reset", { "-101:net::ERR_CONNECTION_RESET", 600001, -101 })
    fails("/close-in-body", { "-354:net::ERR_CONTENT_LENGTH_MISMATCH", 600001,
      -354 })
    bad({ url = fault.refused, filePath = text, name = "f" },
      { "-102:net::ERR_CONNECTION_REFUSED", 600001, -102 })
  end)

  it("timeout, also from configure, also while it is sent", function()
    bad({ url = fault.http .. "/never", filePath = text, name = "f",
      timeout = 150 }, TIMEOUT)
    net.configure { timeouts = { upload = 150 } }
    bad({ url = fault.http .. "/never", filePath = text, name = "f" },
      TIMEOUT)
    local path = folder .. "/large"
    files.shell("truncate", "-s", "30000000", path)
    bad({ url = fault.http .. "/read-nothing", filePath = path, name = "f",
      timeout = 5000, timeouts = { stall = 200 } }, TIMEOUT)
    os.remove(path)
  end)

  -- ---- Abort ----------------------------------------------------------------

  local enter = {}

  function enter.started()
    return start { url = demo .. "/upload", filePath = text, name = "f" }
  end

  function enter.connecting()
    local record = start { url = fault.blackhole, filePath = text, name = "f" }
    helper.ask(fault.http .. "/")
    return record
  end

  function enter.sending()
    local path = folder .. "/abort"
    files.shell("truncate", "-s", "30000000", path)
    local record = start { url = fault.http .. "/read-nothing",
      filePath = path, name = "f" }
    helper.run_until(function() return #record.progress > 0 end)
    return record
  end

  function enter.sent()
    local key = states.key "upload"
    local record = start { url = fault.http .. "/wait?key=" .. key,
      filePath = text, name = "f" }
    helper.run_until(function()
      return helper.ask(fault.http .. "/waiting?key=" .. key) == "1"
    end)
    return record
  end

  function enter.ended()
    net.pause()
    local record = enter.started()
    helper.run_until(function() return record.task.state == "closing" end)
    return record
  end

  for name, enter_state in pairs(enter) do
    it("#121 abort while it is " .. name, function()
      local record = enter_state()
      local seen = #record.order
      record.task:abort()
      net.resume()
      helper.finish(record)
      helper.check_failure(record, "abort", 1, -3)
      assert.equal(seen + 2, #record.order, "a callback after abort()")
    end)
  end

  it("#121 abort in a callback, and silently", function()
    local path = folder .. "/abort"
    files.shell("truncate", "-s", "30000000", path)
    local task = net.uploadFile { url = fault.http .. "/read-nothing",
      filePath = path, name = "f", fail = helper.expect(1),
      success = helper.never() }
    task:onProgressUpdate(helper.expect(1, function() task:abort() end))
    helper.run_until_met()
    task = net.uploadFile { url = fault.http .. "/read-nothing",
      filePath = path, name = "f", complete = helper.never() }
    task:abort { silent = true }
  end)
end)
