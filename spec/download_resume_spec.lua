-- downloadFile{ resume, sha256, durable }: what is kept of a download that
-- broke off, and how the next one goes on from there. The fault server's
-- /broken-file breaks off the first answer to a key and keeps a record of what
-- it is asked afterwards; nginx and the demo server know ranges for real.

local files = require "support.files"
local helper = require "helper"
local residue = require "support.residue"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local demo, nginx = servers.demo, servers.nginx
local read_file, write_file = helper.read_file, helper.write_file

local SIZE, CUT = 100000, 60000
local SHORT = { "-354:net::ERR_CONTENT_LENGTH_MISMATCH", 600001, -354 }
local WRONG = { "save failed: the file does not have the expected sha256",
  603300, -1 }

local good, bad, start = files.of "downloadFile"

describe("downloadFile with resume", function()
  local folder, path
  local contents = {} -- of /broken-file, before and after it changes

  setup(function()
    residue.defaults()
    net.setLogger(function() end)
    for seed = 1, 2 do
      contents[seed] = read_file(good { url = wire.url("/noise",
        { bytes = SIZE, seed = seed }) }.tempFilePath)
      assert(#contents[seed] == SIZE)
    end
    assert(contents[1] ~= contents[2])
  end)

  teardown(function() net.setLogger(nil) end)

  before_each(function()
    files.mark()
    folder = files.folder()
    path = folder .. "/file"
  end)

  after_each(files.check_closed)

  -- A download that has broken off; returns its options and the key.
  local function break_off(more, options)
    local key = wire.key()
    local given = wire.with({ key = key, cut = CUT, bytes = SIZE }, more or {})
    options = wire.with({ url = wire.url("/broken-file", given),
      filePath = path, resume = true }, options or {})
    bad(options, SHORT)
    return options, key
  end

  local function sizes()
    local list = {}
    for i, name in ipairs(files.list(folder)) do
      list[i] = name:find("meta$") and name
        or ("%s %d"):format(name, files.size(folder .. "/" .. name))
    end
    return table.concat(list, ", ")
  end

  local KEPT = ("file.part %d, file.part.meta"):format(CUT)

  local function check_whole(seed)
    assert.is_true(read_file(path) == contents[seed], "not the right bytes")
    assert.same({ "file" }, files.list(folder))
  end

  -- The last request that the server got.
  local function last_request(key, count)
    local seen = wire.seen(key)
    assert.equal(count, #seen)
    return seen[count]
  end

  it("keeps a part and its sidecar, without it nothing", function()
    break_off()
    assert.equal(KEPT, sizes())
    bad({ url = wire.url("/broken-file", { key = wire.key(), cut = CUT,
      bytes = SIZE }), filePath = folder .. "/other" }, SHORT)
    assert.equal(KEPT, sizes())
  end)

  it("206: goes on, and asks for the same file", function()
    local options, key = break_off()
    local res, record = good(options)
    assert.equal(206, res.statusCode)
    assert.equal(SIZE, res.dataLength)
    check_whole(1)
    local request = last_request(key, 2)
    assert.same({ '"one"' }, wire.values(request, "if-range"))
    local from = tonumber(wire.values(request, "range")[1]
      :match("^bytes=(%d+)%-$"))
    assert.is_true(from > CUT - 10 and from <= CUT, from)
    for _, event in ipairs(record.progress) do
      assert.equal(SIZE, event.totalBytesExpectedToWrite)
      assert.is_true(event.totalBytesWritten >= from)
    end
    assert.equal(SIZE, record.progress[#record.progress].totalBytesWritten)
  end)

  it("200: a server without ranges sends all of it again", function()
    local options = break_off { ["then"] = "all" }
    local res = good(options)
    assert.equal(200, res.statusCode)
    assert.equal(SIZE, res.dataLength)
    check_whole(1)
  end)

  it("200: a file that has changed starts over", function()
    local options = break_off { ["then"] = "new" }
    assert.equal(200, good(options).statusCode)
    check_whole(2)
  end)

  it("416: starts over", function()
    local options, key = break_off { ["then"] = "416" }
    local res, record = good(options)
    assert.equal(200, res.statusCode)
    check_whole(1)
    assert.equal(1, #record.headers)
    assert.same({}, wire.values(last_request(key, 3), "range"))
  end)

  it("206 of another place or another file starts over", function()
    for _, answer in ipairs { "shifted", "other" } do
      local options, key = break_off { ["then"] = answer }
      assert.equal(200, good(options).statusCode)
      check_whole(1)
      assert.same({}, wire.values(last_request(key, 3), "range"))
      os.remove(path)
    end
  end)

  it("206 that is too short is no whole file", function()
    local options = break_off { ["then"] = "short" }
    local record = helper.finish(start(options))
    assert.is_nil(record.success and read_file(path) ~= contents[1] or nil)
    if record.fail then
      assert.is_false(files.exists(path))
    end
  end)

  it("another status is saved like any other answer", function()
    local options = break_off { ["then"] = "404" }
    assert.equal(404, good(options).statusCode)
    assert.equal("gone", read_file(path))
    assert.same({ "file" }, files.list(folder))
  end)

  it("goes on after several breaks", function()
    local url = demo .. "/file/3000000?rate=6000000"
    local seen = 0
    for _ = 1, 3 do
      local record = start { url = url, filePath = path, resume = true }
      files.run_until_written(record, seen + 300000)
      record.task:abort()
      helper.finish(record)
      local size = files.size(path .. ".part")
      assert.is_true(size > seen, size)
      seen = size
    end
    local res = good { url = url, filePath = path, resume = true }
    assert.equal(206, res.statusCode)
    assert.is_true(read_file(path) == files.pattern(3000000))
    assert.same({ "file" }, files.list(folder))
  end)

  it("goes on after a time-out and after a reset", function()
    local url = demo .. "/file/2000000?rate=4000000"
    bad({ url = url, filePath = path, resume = true, timeout = 200 },
      { "timeout", 5, -7 })
    assert.is_true(files.size(path .. ".part") > 0)
    assert.equal(206, good { url = url, filePath = path, resume = true }
      .statusCode)
    assert.is_true(read_file(path) == files.pattern(2000000))
  end)

  it("goes on after close()", function()
    local url = demo .. "/file/2000000?rate=4000000"
    local record = start { url = url, filePath = path, resume = true }
    files.run_until_written(record, 600000)
    net.close()
    assert.is_true(files.size(path .. ".part") > 0)
    assert.equal(206, good { url = url, filePath = path, resume = true }
      .statusCode)
    assert.is_true(read_file(path) == files.pattern(2000000))
  end)

  it("a part that is complete needs no more than its last byte", function()
    local options, key = break_off { cut = SIZE - 1 }
    assert.equal(206, good(options).statusCode)
    check_whole(1)
    local from = tonumber(wire.values(last_request(key, 2), "range")[1]
      :match("%d+"))
    assert.is_true(from >= SIZE - 3)
  end)

  it("what cannot be told apart is not kept", function()
    local options, key = break_off { etag = "" }
    assert.same({}, files.list(folder))
    good(options)
    check_whole(1)
    assert.same({}, wire.values(last_request(key, 2), "range"))
    -- A weak validator may be the same of other bytes.
    options = break_off { etag = 'W/"weak"' }
    good(options)
    check_whole(1)
  end)

  it("Last-Modified will do, if the answer is younger", function()
    local date = "Tue, 02 Jan 2024 03:04:05 GMT"
    local options, key = break_off { etag = "",
      h = "Last-Modified:" .. date .. "" }
    -- Without a Date nobody knows.
    good(options)
    check_whole(1)
    assert.same({}, wire.values(last_request(key, 2), "range"))
    local url = demo .. "/file/2000000?rate=4000000&etag="
    local record = start { url = url, filePath = path, resume = true }
    files.run_until_written(record, 600000)
    record.task:abort()
    helper.finish(record)
    assert.equal(206, good { url = url, filePath = path, resume = true }
      .statusCode)
    assert.is_true(read_file(path) == files.pattern(2000000))
  end)

  it("a part of another url is not taken", function()
    break_off()
    local key = wire.key()
    good { url = wire.url("/respond", { key = key, body = "other" }),
      filePath = path, resume = true }
    assert.equal("other", read_file(path))
    assert.same({ "file" }, files.list(folder))
    assert.same({}, wire.values(last_request(key, 1), "range"))
  end)

  it("a sidecar that is damaged is not trusted", function()
    for _, text in ipairs { "", "nonsense", ("x"):rep(100000), "\0\1\2" } do
      local options, key = break_off()
      write_file(path .. ".part.meta", text)
      assert.equal(200, good(options).statusCode)
      check_whole(1)
      assert.same({}, wire.values(last_request(key, 2), "range"))
    end
  end)

  it("a part that is larger than the file is not taken", function()
    local options, key = break_off()
    write_file(path .. ".part", ("z"):rep(SIZE + 5))
    assert.equal(200, good(options).statusCode)
    check_whole(1)
    assert.same({}, wire.values(last_request(key, 2), "range"))
  end)

  it("without resume a part is not looked at", function()
    local options, key = break_off()
    options.resume = nil
    assert.equal(200, good(options).statusCode)
    check_whole(1)
    assert.same({}, wire.values(last_request(key, 2), "range"))
  end)

  it("over the cap nothing is kept", function()
    net.configure { limits = { downloadMaxBytes = 50000 } }
    bad({ url = demo .. "/chunks/100?size=1000", filePath = path,
      resume = true }, { "exceed max file size", 603301, -8 })
    assert.same({}, files.list(folder))
  end)

  it("counts what is there for the cap", function()
    local options = break_off()
    net.configure { limits = { downloadMaxBytes = SIZE - 1 } }
    bad(options, { "exceed max file size", 603301, -8 })
    assert.same({}, files.list(folder))
  end)

  it("goes on with nginx, and starts over when its file changed", function()
    local name = folder:match("[^/]*$") .. ".bin"
    local www = servers.tmp .. "/www/" .. name
    local first, second = files.noise(400000, 3), files.noise(500000, 4)
    local url = nginx.http .. "/" .. name
    -- What breaks off here is written by hand, as if by an earlier download:
    -- nginx itself never breaks off.
    local function leave_part(bytes, etag)
      write_file(path .. ".part", bytes)
      write_file(path .. ".part.meta", ("nettask download 1\n%s\n%s\n%d\nend\n")
        :format(url, etag, 400000))
    end
    write_file(www, first)
    local etag = wire.get { url = url, method = "HEAD" }.header.ETag
    leave_part(first:sub(1, 123456), etag)
    assert.equal(206, good { url = url, filePath = path, resume = true }
      .statusCode)
    assert.is_true(read_file(path) == first)
    leave_part(first:sub(1, 123456), etag)
    write_file(www, second)
    assert.equal(200, good { url = url, filePath = path, resume = true }
      .statusCode)
    assert.is_true(read_file(path) == second)
    assert.same({ "file" }, files.list(folder))
  end)

  -- ---- sha256, durable ------------------------------------------------------

  describe("and sha256", function()
    local digest

    setup(function()
      local copy = write_file(files.folder() .. "/copy", contents[1])
      digest = files.sha256(copy)
    end)

    local function noise(seed)
      return wire.url("/noise", { bytes = SIZE, seed = seed })
    end

    it("the right digest is a success, in any case of letters", function()
      for _, text in ipairs { digest, digest:upper() } do
        good { url = noise(1), filePath = path, sha256 = text }
        check_whole(1)
      end
      good { url = noise(1), sha256 = digest }
    end)

    it("a wrong one keeps nothing, and leaves what was there", function()
      bad({ url = noise(2), filePath = path, sha256 = digest }, WRONG)
      bad({ url = noise(2), filePath = path, sha256 = digest, resume = true },
        WRONG)
      assert.same({}, files.list(folder))
      write_file(path, "old")
      bad({ url = noise(2), filePath = path, sha256 = digest }, WRONG)
      assert.equal("old", read_file(path))
      bad({ url = noise(2), sha256 = digest }, WRONG)
    end)

    it("covers what an earlier download has written", function()
      good((break_off(nil, { sha256 = digest })))
      check_whole(1)
      local options = break_off(nil, { sha256 = digest })
      local part = read_file(path .. ".part")
      write_file(path .. ".part", part:sub(1, 99) .. "!" .. part:sub(101))
      assert(part:sub(100, 100) ~= "!")
      bad(options, WRONG)
      assert.same({ "file" }, files.list(folder))
      os.remove(path)
      -- The next one starts over, with success.
      good(options)
      check_whole(1)
    end)

    it("what is no digest is refused at once", function()
      for _, text in ipairs { "", "12", digest .. "0", digest:sub(1, 63) .. "g",
        digest:sub(1, 63) .. "\0" } do
        local record = helper.finish(start { url = noise(1), sha256 = text })
        assert.equal(600005, record.fail.errno)
      end
    end)
  end)

  -- What a download has asked of the disk, in order: the calls of that name,
  -- as paths.
  local function asked(call, options)
    local log = write_file(folder .. "/log", "")
    local result = files.child({ preload = "disk_log.so", "env",
      "NETTASK_TEST_DISK_LOG=" .. log }, [[
      tell(helper.begin("downloadFile", { url = servers.demo .. "/file/1000",
        filePath = (...), ]] .. options .. [[ }))
    ]], path)
    assert.equal("", result.err)
    assert.matches("^downloadFile:ok\n", result.out)
    local paths = {}
    for name, of in read_file(log):gmatch("(%w+) ([^\n]+)") do
      if name == call then paths[#paths + 1] = of end
    end
    os.remove(log)
    return paths
  end

  it("durable=true writes the file back, then its folder", function()
    assert.same({ path .. ".part", folder }, asked("fsync", "durable = true"))
    assert.same({ path .. ".part", folder },
      asked("fsync", "durable = true, resume = true"))
    assert.same({}, asked("fsync", "durable = false"))
    assert.same({}, asked("fsync", "resume = true"))
  end)

  -- ext4 would write a file back at close() that was ever cut to nothing.
  it("cuts what another has left, and nothing that is new", function()
    assert.same({}, asked("ftruncate", ""))
    assert.same({}, asked("ftruncate", "resume = true"))
    write_file(path .. ".part", "left")
    assert.same({ path .. ".part" }, asked("ftruncate", ""))
  end)

  it("durable=true changes nothing of all that", function()
    local options = break_off(nil, { durable = true })
    good(options)
    check_whole(1)
    good { url = demo .. "/file/1000", durable = true }
  end)
end)
