-- setBackground(): each kind of task ends in its own way once the grace is
-- over, and goes on as if nothing had been when the game is back before. What
-- the function itself takes is in policy_spec.lua.

local files = require "support.files"
local helper = require "helper"
local sockets = require "support.sockets"
local tcp = require "support.tcp"
local udp = require "support.udp"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local TEXT, ERRNO, ERRCODE = "interrupted", 600003, -21

local function grace(ms)
  net.configure { limits = { backgroundGraceMs = ms } }
end

local function check_interrupted(record)
  helper.finish(record)
  helper.check_failure(record, TEXT, ERRNO, ERRCODE)
  assert.is_nil(record.fail.reason) -- nobody has done anything wrong
end

describe("in the background", function()
  setup(tcp.defaults)

  before_each(function() grace(0) end)

  after_each(function()
    net.setBackground(false)
    tcp.verify()
    udp.verify()
    sockets.verify()
    tcp.defaults()
  end)

  it("requests end, those that wait for their turn as well", function()
    net.configure { limits = { maxRequests = 1 } }
    local running = helper.start { url = fault.http .. "/never" }
    local waiting = helper.start { url = fault.http .. "/" }
    local upload = helper.begin("uploadFile", { url = fault.http .. "/",
      name = "a",
      filePath = helper.write_file(helper.temp_name(), "x") })
    helper.run_until(function() return waiting.task.state == "queued" end)
    net.setBackground(true)
    check_interrupted(running)
    check_interrupted(waiting)
    check_interrupted(upload)
  end)

  it("downloads end, and nothing is left of them", function()
    local folder = files.folder()
    local record = helper.begin("downloadFile", {
      url = fault.http .. "/slow-body?bytes=1000000&rate=100000",
      filePath = folder .. "/a" })
    helper.run_until(function() return #files.list(folder) > 0 end)
    net.setBackground(true)
    check_interrupted(record)
    assert.same({}, files.list(folder))
  end)

  it("an open WebSocket is closed, and does not come back", function()
    local url, key = sockets.fault("echo")
    local socket = sockets.open { url = url, reconnect = { tries = 5 } }
    net.setBackground(true)
    sockets.finish(socket)
    assert.equal("connectSocket:fail " .. TEXT, socket.errors[1].errMsg)
    assert.equal(ERRNO, socket.errors[1].errno)
    assert.same({ code = 1006, reason = TEXT }, socket.closes[1])
    assert.same({}, socket.reconnects)
    net.setBackground(false)
    sockets.connections(key, 1)
  end)

  it("a WebSocket that connects fails", function()
    local socket = sockets.start {
      url = fault.silent:gsub("^http", "ws") .. "/" }
    helper.run_until(function() return socket.success end)
    net.setBackground(true)
    sockets.finish(socket)
    assert.equal("connectSocket:fail " .. TEXT, socket.errors[1].errMsg)
    assert.same({}, socket.closes)
  end)

  it("TCP and UDP sockets are closed", function()
    local one = tcp.connect { port = servers.demo_tcp }
    local two = udp.bound()
    net.setBackground(true)
    tcp.finish(one)
    udp.finish(two)
    tcp.check_order(one, "connect", "error", "close")
    for _, record in ipairs { one, two } do
      assert.equal(1, #record.errors)
      assert.equal(ERRNO, record.errors[1].errno)
      assert.matches(":fail interrupted", record.errors[1].errMsg)
      assert.equal(1, #record.closes)
    end
    assert.is_nil((net.createUDPSocket()))
  end)

  it("a TCP socket can be made, and cannot connect", function()
    net.setBackground(true)
    local record = tcp.whole { port = servers.demo_tcp }
    tcp.check_result(record.errors[1], "TCPSocket.connect", TEXT, ERRNO, -1)
    assert.equal(1, #record.closes)
  end)

  it("sleeps go on", function()
    local slept
    net.sleep(50):next(function() slept = true end)
    net.setBackground(true)
    helper.run_until(function() return slept end)
  end)

  it("a coroutine hears of it", function()
    local seen
    coroutine.wrap(function()
      local _, err = net.request { url = fault.http .. "/never" }:await()
      seen = err
    end)()
    net.setBackground(true)
    helper.run_until(function() return seen end)
    assert.equal(ERRNO, seen.errno)
  end)

  it("nothing ends before the grace is over", function()
    grace(200)
    local record = helper.start { url = fault.http .. "/never" }
    local begun = helper.now()
    net.setBackground(true)
    net.setBackground(true)
    check_interrupted(record)
    assert.is_true(helper.now() - begun >= 190)
  end)

  it("nothing ends when the game is back in time", function()
    grace(100)
    local record = helper.start { url = fault.http .. "/delay?ms=250" }
    net.setBackground(true)
    net.setBackground(false)
    helper.finish(record)
    assert.equal("ok", record.success.data)
    assert.equal("ok", helper.ask(fault.http .. "/"))
  end)

  it("the host that stops its frames finds all ended", function()
    grace(50)
    local socket = sockets.open { url = sockets.fault("echo") }
    local record = helper.start { url = fault.http .. "/never" }
    net.setBackground(true)
    net.update() -- the last frame for a while
    helper.stop_for(300)
    net.setBackground(false)
    check_interrupted(record)
    sockets.finish(socket)
    assert.equal(TEXT, socket.closes[1].reason)
  end)
end)
