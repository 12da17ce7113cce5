-- Downloads and uploads in the dialects of the platforms: default time-outs,
-- statuses that are failures, names of fields and numbers of errors. What they
-- preset for requests is in configure_spec.lua.

local files = require "support.files"
local helper = require "helper"
local residue = require "support.residue"

local core = require "nettask.core"
local net, servers = helper.net, helper.servers
local demo, fault = servers.demo, servers.fault

local APIS = { "downloadFile", "uploadFile" }

describe("the dialect", function()
  local folder, text

  setup(function()
    residue.defaults()
    folder = files.folder()
    text = helper.write_file(folder .. "/text", "the level\n")
    net.setLogger(function() end)
  end)

  teardown(function() net.setLogger(nil) end)

  before_each(files.mark)
  after_each(files.check_closed)

  local function finish(api, options)
    if api == "uploadFile" then
      options.filePath, options.name = text, "f"
    end
    return helper.finish(helper.begin(api, options))
  end

  -- ---- Time-outs ------------------------------------------------------------

  -- What the core is told, by a child in which it is asked: nobody has half a
  -- minute to wait.
  local function totals(script)
    local result = helper.lua([[
      local core = require "nettask.core"
      for _, api in ipairs { "request", "download", "upload" } do
        local start = core[api .. "Start"]
        core[api .. "Start"] = function(task, params)
          io.write(api, " ", ("%d"):format(params.total), "\n")
          return start(task, params)
        end
      end
      local net = require "nettask"
      local url, path = ...
      ]] .. script .. [[
      net.request { url = url }
      net.downloadFile { url = url }
      net.uploadFile { url = url, filePath = path, name = "f" }
      net.close()]], demo .. "/", text)
    assert.equal("", result.err)
    return result.out
  end

  local function told(request, download, upload)
    return ("request %d\ndownload %d\nupload %d\n"):format(request, download,
      upload)
  end

  it("#32 #33 gives 60000 ms to each call, my 30000", function()
    for dialect, total in pairs { wx = 60000, swan = 60000, my = 30000 } do
      assert.equal(told(total, total, total),
        totals(("net.configure { dialect = %q }"):format(dialect)))
    end
  end)

  it("my leaves what is configured beside it or later", function()
    assert.equal(told(30000, 1000, 30000),
      totals "net.configure { dialect = 'my', timeouts = { download = 1000 } }")
    assert.equal(told(30000, 30000, 2000), totals [[
      net.configure { dialect = "my" }
      net.configure { timeouts = { upload = 2000 } }]])
    assert.equal(told(60000, 60000, 60000), totals [[
      net.configure { dialect = "my" }
      net.configure { dialect = "wx" }]])
  end)

  -- ---- Statuses -------------------------------------------------------------

  local function check_status(record, api, status)
    local res = record.fail
    assert.is_truthy(res, record.complete.errMsg)
    assert.equal(("%s:fail http status %d"):format(api, status), res.errMsg)
    assert.equal(600000, res.errno)
    assert.equal(status, res.statusCode)
    assert.is_truthy(res.header["Content-Type"])
    return res
  end

  it("my fails on a status of 400 and more", function()
    net.configure { dialect = "my" }
    for _, api in ipairs(APIS) do
      for _, status in ipairs { 400, 404, 500 } do
        local record = finish(api, { url = demo .. "/status/" .. status })
        local res = check_status(record, api, status)
        assert.equal(19, res.error)
        assert.equal("http status " .. status, res.errorMessage)
        assert.equal(1, #record.headers)
      end
      assert.is_truthy(finish(api, { url = demo .. "/status/201" }).success)
    end
  end)

  it("my gives the body to an upload, and no file to a download", function()
    net.configure { dialect = "my" }
    local res = finish("uploadFile", { url = demo .. "/status/404" }).fail
    assert.equal("status 404\n", res.data)
    local path = helper.write_file(folder .. "/saved", "the old one")
    local options = { url = demo .. "/status/404", filePath = path }
    res = check_status(finish("downloadFile", options), "downloadFile", 404)
    assert.is_nil(res.filePath)
    assert.is_nil(res.dataLength)
    assert.equal("the old one", helper.read_file(path))
    assert.same({ "saved", "text" }, files.list(folder))
    res = check_status(finish("downloadFile", { url = options.url }),
      "downloadFile", 404)
    assert.is_nil(res.tempFilePath)
  end)

  it("httpErrorFails alone does that, or not", function()
    net.configure { httpErrorFails = true }
    for _, api in ipairs(APIS) do
      local res = check_status(finish(api, { url = demo .. "/status/404" }),
        api, 404)
      assert.is_nil(res.error)
    end
    net.configure { dialect = "my", httpErrorFails = false }
    for _, api in ipairs(APIS) do
      local res = finish(api, { url = demo .. "/status/404" }).success
      assert.equal(404, res.statusCode)
    end
  end)

  it("a download is what it was when it began", function()
    for _, fails in ipairs { true, false } do
      net.configure { httpErrorFails = fails }
      local path = folder .. "/began-" .. tostring(fails)
      local record = helper.begin("downloadFile",
        { url = demo .. "/status/404", filePath = path })
      net.configure { httpErrorFails = not fails }
      helper.finish(record)
      assert.equal(not fails, record.success ~= nil)
      assert.equal(not fails, files.exists(path))
    end
  end)

  it("my keeps a part that a bad answer has nothing to do with", function()
    net.configure { dialect = "my" }
    local path = folder .. "/part"
    local url = demo .. "/file/3000000?rate=3000000"
    local options = { url = url, filePath = path, resume = true }
    local record = helper.begin("downloadFile", options)
    files.run_until_written(record, 2000000)
    record.task:abort()
    helper.finish(record)
    assert.is_true(files.size(path .. ".part") > 0)
    assert.equal(206, finish("downloadFile", options).success.statusCode)
    os.remove(path)
  end)

  -- ---- Fields and numbers ---------------------------------------------------

  it("my names fields twice, and a download's file too", function()
    net.configure { dialect = "my" }
    for _, api in ipairs(APIS) do
      local res = finish(api, { url = demo .. "/file/10" }).success
      assert.equal(200, res.status)
      assert.is_true(rawequal(res.header, res.headers))
      assert.equal(res.tempFilePath, res.apFilePath)
    end
    net.configure { dialect = "wx" }
    local res = finish("downloadFile", { url = demo .. "/file/10" }).success
    assert.is_nil(res.status or res.headers or res.apFilePath)
  end)

  it("my takes fileName for the name of the field", function()
    local function names(options)
      options.url, options.filePath = demo .. "/upload", text
      local record = helper.finish(helper.begin("uploadFile", options))
      if not record.success then return record.fail.errno end
      local part = core.jsonDecode(record.success.data).parts[1]
      return part.name .. " " .. part.fileName
    end
    assert.equal(1001, names { fileName = "pic" })
    net.configure { dialect = "my" }
    assert.equal("pic text", names { fileName = "pic" })
    assert.equal("f pic", names { name = "f", fileName = "pic" })
  end)

  it("my numbers what failed", function()
    net.configure { dialect = "my", fileRoots = { read = { folder },
      write = { folder } } }
    local url = demo .. "/file/10"
    for _, case in ipairs {
      { 2, "downloadFile", { url = "http://" } },
      { 12, "downloadFile", { url = fault.refused .. "/" } },
      { 12, "downloadFile", { url = url, filePath = folder .. "/no/no" } },
      { 13, "downloadFile", { url = url, filePath = "/outside" } },
      { 13, "downloadFile", { url = fault.http .. "/never", timeout = 50 } },
      { 11, "uploadFile", { url = url, filePath = folder .. "/no" } },
      { 13, "uploadFile", { url = url, filePath = "/etc/hostname" } },
      { 12, "uploadFile", { url = fault.refused .. "/", filePath = text } },
      { 20, "request", { url = fault.http .. "/" }, { requireSecure = true } },
      { 11, "request", { url = "ftp://x/" }, { requireSecure = false } },
      { 11, "request", { url = fault.http .. "/" },
        { domains = { request = {} } } },
    } do
      if case[4] then net.configure(case[4]) end
      case[3].name = "f"
      local record = helper.finish(helper.begin(case[2], case[3]))
      local res = record.fail
      assert.is_truthy(res, record.complete.errMsg)
      assert.equal(case[1], res.error)
      assert.equal(res.errMsg, case[2] .. ":fail " .. res.errorMessage)
    end
    local quota = require "nettask.errors".of_code(core.errors.QUOTA)
    assert.equal(20, quota.error)
  end)

  it("a dialect leaves the host's cap for uploads", function()
    local function upload()
      return helper.finish(helper.begin("uploadFile", { name = "f",
        url = demo .. "/upload", files = { { name = "f", data = "12345" } } }))
    end
    net.configure { limits = { uploadMaxBytes = 4 } }
    for _, name in ipairs { "swan", "my", "wx" } do
      net.configure { dialect = name }
      helper.check_failure(upload(), "exceed max file size", 603301, -8)
    end
    net.configure { limits = { uploadMaxBytes = 0 } }
    assert.is_truthy(upload().success)
  end)

  it("swan has a cap for uploads, which limits and open lift", function()
    local path = folder .. "/large"
    files.shell("truncate", "-s", "26214401", path)
    local function upload()
      return helper.finish(helper.begin("uploadFile",
        { url = servers.nginx.http .. "/upload", filePath = path,
          name = "f" }))
    end
    net.configure { dialect = "swan" }
    helper.check_failure(upload(), "exceed max file size", 603301, -8)
    -- Downloads have that of every dialect.
    assert.equal(26214401, finish("downloadFile",
      { url = demo .. "/file/26214401" }).success.dataLength)
    net.configure { limits = { uploadMaxBytes = 26214401 } }
    assert.is_truthy(upload().success)
    net.configure { dialect = "swan", policy = "open" }
    assert.is_truthy(upload().success)
    net.configure { policy = "miniprogram", dialect = "my" }
    assert.is_truthy(upload().success)
    os.remove(path)
  end)
end)
