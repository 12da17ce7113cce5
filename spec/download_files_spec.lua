-- Where downloadFile() may write, and what is left when it cannot: folders,
-- permissions, things that are no files, roots, full disks, two downloads to
-- one place.

local files = require "support.files"
local helper = require "helper"
local residue = require "support.residue"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local demo, fault = servers.demo, servers.fault
local read_file, write_file = helper.read_file, helper.write_file

local SMALL = demo .. "/file/1000"

local good, bad, start = files.of "downloadFile"

local NO_FOLDER = { "save failed: the folder of the file does not exist",
  603300, -1 }
local NOT_A_FILE = { "save failed: the path is no plain file", 603300, -1 }
local DISK_FULL = { "save failed: no space left", 603300, -1 }
local BUSY = { "save failed: another download writes to this file", 603300,
  -1 }
local PERMISSION = { "no permission for path", 603303, -1 }
local OUTSIDE = PERMISSION

describe("the file of a download", function()
  local folder

  setup(function()
    residue.defaults()
    net.setLogger(function() end)
  end)

  teardown(function() net.setLogger(nil) end)

  before_each(function()
    files.mark()
    folder = files.folder()
  end)

  after_each(files.check_closed)

  local function check_told(result, expected)
    files.check_told(result, "downloadFile", expected[1], expected[2],
      expected[3])
  end

  -- ---- Places ---------------------------------------------------------------

  it("needs its folder", function()
    bad({ url = SMALL, filePath = folder .. "/none/file" }, NO_FOLDER)
    write_file(folder .. "/plain", "x")
    bad({ url = SMALL, filePath = folder .. "/plain/file" }, NO_FOLDER)
    assert.same({ "plain" }, files.list(folder))
  end)

  it("is looked at before anything is sent", function()
    local key = wire.key()
    local url = wire.url("/", { key = key })
    bad({ url = "http://127.0.0.1:1/", filePath = folder .. "/none/file" },
      NO_FOLDER)
    bad({ url = url, filePath = folder }, NOT_A_FILE)
    assert.same({}, wire.seen(key))
  end)

  it("needs permission", function()
    local closed = folder .. "/closed"
    files.shell("mkdir", "-m", "555", closed)
    local result = files.child(files.unprivileged, [[
      tell(helper.begin("downloadFile", { url = servers.demo .. "/file/1",
        filePath = (...) .. "/file" }))
    ]], closed)
    check_told(result, PERMISSION)
    assert.same({}, files.list(closed))
  end)

  it("is no folder, pipe or device, and waits for none", function()
    files.shell("mkdir", folder .. "/folder")
    files.shell("mkfifo", folder .. "/fifo")
    for _, path in ipairs { folder .. "/folder", folder .. "/fifo",
      "/dev/null", "/dev/zero", folder, folder .. "/.", folder .. "/..",
      folder .. "/new/" } do
      bad({ url = SMALL, filePath = path }, NOT_A_FILE)
    end
    assert.same({ "fifo", "folder" }, files.list(folder))
  end)

  it("is none of them under the name of its part either", function()
    files.shell("mkfifo", folder .. "/file.part")
    bad({ url = SMALL, filePath = folder .. "/file" }, NOT_A_FILE)
    assert.same({ "file.part" }, files.list(folder))
  end)

  it("is no link: what it leads to stays as it is", function()
    local target = write_file(folder .. "/target", "precious")
    files.shell("ln", "-s", target, folder .. "/link")
    files.shell("ln", "-s", target, folder .. "/file.part")
    bad({ url = SMALL, filePath = folder .. "/link" }, NOT_A_FILE)
    bad({ url = SMALL, filePath = folder .. "/file" }, NOT_A_FILE)
    assert.equal("precious", read_file(target))
    assert.same({ "file.part", "link", "target" }, files.list(folder))
  end)

  it("has a name without NUL", function()
    for _, path in ipairs { folder .. "/a\0b", "", "\0" } do
      local record = helper.finish(start { url = SMALL, filePath = path })
      assert.is_nil(record.success)
      assert.equal(600005, record.fail.errno)
    end
    assert.same({}, files.list(folder))
  end)

  it("has a name that the system takes", function()
    local record = helper.finish(start { url = SMALL,
      filePath = folder .. "/" .. ("n"):rep(300) })
    assert.is_nil(record.success)
    assert.equal(603300, record.fail.errno)
    assert.same({}, files.list(folder))
  end)

  -- ---- Roots ----------------------------------------------------------------

  describe("with fileRoots.write", function()
    local root, other

    before_each(function()
      root, other = folder .. "/root", folder .. "/root2"
      files.shell("mkdir", "-p", root .. "/deep", other)
      net.configure { fileRoots = { write = { root } } }
    end)

    it("may be below a root", function()
      good { url = SMALL, filePath = root .. "/file" }
      good { url = SMALL, filePath = root .. "/deep/file" }
      good { url = SMALL, filePath = root .. "//deep/./file" }
    end)

    it("may be nowhere else", function()
      for _, path in ipairs { other .. "/file", folder .. "/file",
        root .. "/../file", root .. "/deep/../../file",
        root .. "/deep/../file", "relative", "/file" } do
        bad({ url = SMALL, filePath = path }, OUTSIDE)
      end
      assert.same({ "root", "root2" }, files.list(folder))
      assert.same({}, files.list(other))
    end)

    it("may not be behind a link that leads out", function()
      files.shell("ln", "-s", other, root .. "/out")
      files.shell("ln", "-s", root .. "/deep", root .. "/in")
      bad({ url = SMALL, filePath = root .. "/out/file" }, OUTSIDE)
      assert.same({}, files.list(other))
      good { url = SMALL, filePath = root .. "/in/file" }
      assert.same({ "file" }, files.list(root .. "/deep"))
    end)

    it("does not tell what is outside", function()
      local told = {}
      files.shell("mkdir", other .. "/there")
      for i, path in ipairs { other .. "/there/file", other .. "/none/file" } do
        local record = helper.finish(start { url = SMALL, filePath = path })
        told[i] = record.fail.errno
      end
      assert.same({ 603303, 603303 }, told)
    end)

    it("says so, and names the setting", function()
      local record = bad({ url = SMALL, filePath = other .. "/file" }, OUTSIDE)
      assert.matches("fileRoots", record.fail.reason)
    end)

    it("temporary files are free of it", function()
      good { url = SMALL }
    end)

    it("none at all forbids every path", function()
      net.configure { fileRoots = { write = {} } }
      bad({ url = SMALL, filePath = root .. "/file" }, OUTSIDE)
      good { url = SMALL }
    end)
  end)

  it("wrong roots and folders raise in configure", function()
    for _, wrong in ipairs { { fileRoots = true }, { tempDir = 12 },
      { fileRoots = { write = "x" } }, { fileRoots = { write = { 1 } } },
      { fileRoots = { else_where = {} } }, { tempDir = "" } } do
      assert.has_error(function() net.configure(wrong) end)
    end
  end)

  it("a temporary file needs its place", function()
    net.configure { tempDir = folder .. "/none" }
    local record = helper.finish(start { url = SMALL })
    assert.equal(603300, record.fail.errno)
    assert.same({}, files.list(folder))
  end)

  -- ---- Disks ----------------------------------------------------------------

  local FULL = [[
    local place, kind = ...
    local path = kind == "path" and place .. "/file" or nil
    net.configure { tempDir = place }
    tell(helper.begin("downloadFile", { filePath = path,
      url = servers.demo .. "/file/4000000" }))
    net.close()
    assert(#files.list(place) == 0, table.concat(files.list(place), " "))
    net.configure { tempDir = place }
    assert(helper.finish(helper.begin("downloadFile", { filePath = path,
      url = servers.demo .. "/file/400000" })).success, "there is room again")
  ]]

  for _, kind in ipairs { "path", "temporary" } do
    it("may not fit on the disk: " .. kind, function()
      local result = files.child(files.small_disk(folder, "1m"),
        FULL, folder, kind)
      check_told(result, DISK_FULL)
    end)
  end

  -- ---- Two at a time --------------------------------------------------------

  local function running(options)
    local record = start(options)
    helper.run_until(function() return #record.progress > 0 end)
    return record
  end

  it("is of one download at a time", function()
    local path = folder .. "/file"
    local first = running { url = demo .. "/file/200000?rate=1000000",
      filePath = path }
    bad({ url = SMALL, filePath = path }, BUSY)
    bad({ url = SMALL, filePath = folder .. "/./file", resume = true }, BUSY)
    helper.finish(first)
    assert.is_truthy(first.success)
    assert.is_true(read_file(path) == files.pattern(200000))
    good { url = SMALL, filePath = path }
    assert.same({ "file" }, files.list(folder))
  end)

  it("is so for other processes too", function()
    local path = folder .. "/file"
    local first = running { url = demo .. "/file/100000?rate=50000",
      filePath = path }
    local result = files.child({}, [[
      tell(helper.begin("downloadFile", { url = servers.demo .. "/file/1",
        filePath = (...) }))
    ]], path)
    check_told(result, BUSY)
    assert.is_false(first.done)
    first.task:abort()
    helper.finish(first)
    helper.run_until(function() return #files.list(folder) == 0 end)
  end)

  it("is free again after an abort and after a failure", function()
    local path = folder .. "/file"
    local first = running { url = demo .. "/file/2000000?rate=1000000",
      filePath = path }
    first.task:abort()
    helper.finish(first)
    good { url = SMALL, filePath = path }
    helper.finish(start { url = fault.http .. "/close-in-body",
      filePath = path })
    good { url = SMALL, filePath = path }
    assert.same({ "file" }, files.list(folder))
  end)

  it("is free again after its process was killed", function()
    local path = folder .. "/file"
    local result = files.child({}, [[
      local record = helper.begin("downloadFile", { filePath = (...),
        url = servers.demo .. "/file/9000000?rate=1000000" })
      helper.run_until(function() return #record.progress > 0 end)
      os.execute("kill -9 $PPID")
      helper.run_for(10000)
    ]], path)
    assert.equal(137, result.status)
    assert.same({ "file.part" }, files.list(folder))
    good { url = SMALL, filePath = path }
    assert.is_true(read_file(path) == files.pattern(1000))
    assert.same({ "file" }, files.list(folder))
  end)

  it("a part that somebody has left is not taken for a start", function()
    local path = folder .. "/file"
    write_file(path .. ".part", ("old"):rep(1000))
    good { url = SMALL, filePath = path, resume = true }
    assert.is_true(read_file(path) == files.pattern(1000))
    write_file(path .. ".part", ("old"):rep(1000))
    write_file(path .. ".part.meta", "nonsense")
    good { url = SMALL, filePath = path }
    assert.is_true(read_file(path) == files.pattern(1000))
    assert.same({ "file" }, files.list(folder))
  end)

  it("close() in the middle leaves nothing", function()
    running { url = demo .. "/file/2000000?rate=1000000",
      filePath = folder .. "/file" }
    running { url = demo .. "/file/2000000?rate=1000000" }
    residue.close()
    assert.same({}, files.list(folder))
  end)
end)
