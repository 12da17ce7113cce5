-- Quotas: bytes a minute, requests a second, bytes of temporary files. What
-- happens once the minute is over is in c-core/test/test_quota.c, which has
-- shorter ones.

local files = require "support.files"
local helper = require "helper"
local sockets = require "support.sockets"
local tcp = require "support.tcp"
local udp = require "support.udp"

local net, servers = helper.net, helper.servers
local demo, fault = servers.demo, servers.fault

local function limit(limits)
  net.configure { limits = limits }
end

local function verify()
  limit { bytesPerMinute = 0, requestsPerSecond = 0, tempMaxBytes = 0 }
  tcp.verify()
  udp.verify()
  sockets.verify()
  tcp.defaults()
end

-- ---- Bytes a minute ---------------------------------------------------------

describe("limits.bytesPerMinute", function()
  local QUOTA = 100000
  local SPENT = { "exceed max bytes per minute", 600004, -10 }

  setup(tcp.defaults)
  before_each(function() limit { bytesPerMinute = QUOTA } end)
  after_each(verify)

  local function size_of(record)
    local size = 0
    for _, chunk in ipairs(record.chunks) do size = size + #chunk end
    return size
  end

  -- A stream that has used it up.
  local function spend()
    local record = helper.start { url = demo .. "/bytes/300000",
      enableChunked = true, responseType = "arraybuffer" }
    local probe = udp.bound()
    helper.run_until(function()
      udp.send(probe, servers.demo_udp, "x")
      return #probe.errors > 0
    end)
    udp.close(probe)
    return record
  end

  it("stops reading, and goes on when it is lifted", function()
    local record = spend()
    helper.run_for(50)
    assert.is_true(size_of(record) <= QUOTA + 16384, size_of(record))
    assert.is_false(record.done)
    limit { bytesPerMinute = 0 }
    helper.finish(record)
    assert.equal("request:ok", record.success.errMsg)
    assert.equal(300000, size_of(record))
  end)

  it("lets nothing new begin", function()
    local record = spend()
    for _, api in ipairs { "request", "downloadFile" } do
      local refused = helper.finish(helper.begin(api, { url = demo .. "/get" }))
      helper.check_failure(refused, SPENT[1], SPENT[2], SPENT[3])
      assert.matches("bytesPerMinute=0", refused.fail.reason, 1, true)
    end
    local socket = sockets.start { url = sockets.fault("echo") }
    helper.run_until(function() return socket.fail end)
    assert.equal("connectSocket:fail " .. SPENT[1], socket.fail.errMsg)
    limit { bytesPerMinute = 0 }
    helper.finish(record)
  end)

  it("refuses sends at the call", function()
    local socket = sockets.open { url = sockets.fault("echo") }
    local peer = tcp.connect { port = servers.demo_tcp }
    local box = udp.bound()
    socket.task:send { data = ("x"):rep(QUOTA) }
    local told = sockets.send(socket, { data = "y" })
    assert.equal(SPENT[2], told.complete.errno)
    peer.task:write("y")
    helper.run_until(function() return #peer.errors > 0 end)
    assert.equal(-3, peer.errors[1].errCode)
    assert.matches(SPENT[1], peer.errors[1].errMsg, 1, true)
    udp.send(box, servers.demo_udp, "y")
    udp.check_error(box, 1, -3, SPENT[1])
    limit { bytesPerMinute = 0 }
    sockets.wait_messages(socket, 1)
    peer.task:write("hello")
    tcp.wait_bytes(peer, 5)
    udp.send(box, servers.demo_udp, "hello")
    udp.wait_messages(box, 1)
    sockets.close(socket)
    tcp.close(peer)
    udp.close(box)
  end)

  it("drops and counts datagrams that come all the same", function()
    local box = udp.bound()
    limit { bytesPerMinute = 0 } -- another minute begins
    limit { bytesPerMinute = 1000 }
    local before = net.stats().droppedDatagrams
    udp.send(box, servers.demo_udp, ("x"):rep(1000))
    helper.run_until(function()
      return net.stats().droppedDatagrams == before + 1
    end)
    assert.same({}, box.messages)
    assert.same({}, box.errors)
    udp.close(box)
  end)
end)

-- ---- Requests a second ------------------------------------------------------

describe("limits.requestsPerSecond", function()
  setup(tcp.defaults)
  after_each(verify)

  it("lets others wait", function()
    limit { requestsPerSecond = 4 }
    local begun = helper.now()
    local records = {}
    for i = 1, 6 do records[i] = helper.start { url = fault.http .. "/" } end
    helper.run_until(function() return records[6].task.state == "queued" end)
    for i = 1, 6 do
      helper.finish(records[i])
      assert.equal("request:ok", records[i].complete.errMsg)
    end
    assert.is_true(helper.now() - begun >= 990)
  end)

  it("counts downloads and uploads, and no sockets", function()
    limit { requestsPerSecond = 1 }
    local begun = helper.now()
    helper.fetch { url = fault.http .. "/" }
    local download = helper.begin("downloadFile", { url = demo .. "/file/10" })
    local socket = sockets.open { url = sockets.fault("echo") }
    assert.equal(1, #socket.opens)
    helper.finish(download)
    assert.is_true(helper.now() - begun >= 990)
    assert.equal("downloadFile:ok", download.complete.errMsg)
    sockets.close(socket)
  end)
end)

-- ---- Temporary files --------------------------------------------------------

describe("limits.tempMaxBytes", function()
  local FULL = { "exceed max temporary files size", 603301, -8 }

  -- A run of its own, so that no file of others counts.
  setup(function()
    tcp.defaults()
    net.close()
  end)
  after_each(verify)

  local function get()
    return helper.finish(helper.begin("downloadFile",
      { url = demo .. "/file/100000" }))
  end

  it("caps them together, and takes in what is removed", function()
    limit { tempMaxBytes = 250000 }
    local first, second = get(), get()
    assert.equal("downloadFile:ok", first.complete.errMsg)
    assert.equal("downloadFile:ok", second.complete.errMsg)
    local third = get()
    helper.check_failure(third, FULL[1], FULL[2], FULL[3])
    assert.matches("tempMaxBytes=0", third.fail.reason, 1, true)
    local folder = first.success.tempFilePath:match("^(.*)/")
    assert.equal(3, #files.list(folder)) -- and the lock
    assert(os.remove(first.success.tempFilePath))
    assert.equal("downloadFile:ok", get().complete.errMsg)
    helper.check_failure(get(), FULL[1], FULL[2], FULL[3])
  end)

  it("does not count files with a path", function()
    limit { tempMaxBytes = 1000 }
    local record = helper.finish(helper.begin("downloadFile", {
      url = demo .. "/file/100000", filePath = files.folder() .. "/a" }))
    assert.equal("downloadFile:ok", record.complete.errMsg)
  end)
end)
