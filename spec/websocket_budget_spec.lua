-- Callbacks of many calls that one event settles, under a budget.

local helper = require "helper"
local sockets = require "support.sockets"

local net, servers = helper.net, helper.servers
local ECHO = servers.demo_ws .. "/ws/echo"
local COUNT = 20

-- Longer than any budget of this file.
local function think()
  local begun = helper.now()
  while helper.now() - begun < 3 do end
end

-- Sends COUNT messages whose callbacks take their time; the numbers of those
-- that were called are the result. Returns once all of them are due.
local function sends(socket, on_call)
  local called = {}
  for i = 1, COUNT do
    local function done(res)
      called[#called + 1] = res.errMsg:find(":ok$") and i or -i
      think()
      if on_call then on_call(i) end
    end
    socket.task:send { data = "x", success = done, fail = done }
  end
  return called
end

-- Frames of that budget, no more than 5 seconds of them, until all have been
-- called; returns how many it were at most in one.
local function frames(called, budget)
  local most, deadline = 0, helper.now() + 5000 * helper.slow
  while #called < COUNT and helper.now() < deadline do
    local before = #called
    net.wait(20)
    net.update(budget)
    most = math.max(most, #called - before)
  end
  assert.equal(COUNT, #called)
  return most
end

describe("the sends that one event settles", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("are called in the frames that have time for them", function()
    local socket = sockets.open { url = ECHO }
    local called = sends(socket)
    net.pause()
    helper.run_until(function()
      return socket.task.bufferedAmount == 0
    end)
    net.resume()
    assert.equal(1, frames(called, 1))
    for i = 1, COUNT do assert.equal(i, called[i]) end
  end)

  it("wait while delivery is paused by one of them", function()
    local socket = sockets.open { url = ECHO }
    local called = sends(socket, function(i)
      if i == 5 then net.pause() end
    end)
    helper.run_until(function() return #called == 5 end)
    for _ = 1, 5 do net.update() end
    assert.equal(5, #called)
    assert.is_false(net.run(20))
    net.resume()
    helper.run_until(function() return #called == COUNT end)
  end)

  it("fail one by one before the end of their socket", function()
    local socket = sockets.open { url = sockets.fault("deaf") }
    local closed_after
    socket.task:send { data = ("x"):rep(16 * 1024 * 1024 - 1024 * 1024) }
    local called = sends(socket)
    socket.task:onClose(function() closed_after = #called end)
    socket.task:abort()
    assert.equal(1, frames(called, 1))
    sockets.finish(socket)
    assert.equal(COUNT, closed_after)
    for i = 1, COUNT do assert.equal(-i, called[i]) end
    assert.equal(1006, socket.closes[1].code)
    assert.equal("abort", socket.closes[1].reason)
  end)

  it("are not called after a close() of the module", function()
    local socket = sockets.open { url = ECHO }
    local called = sends(socket, function(i)
      if i == 3 then net.close() end
    end)
    helper.run_until(function() return #called == 3 end)
    for _ = 1, 3 do net.update() end
    assert.is_true(net.run(1000))
    assert.equal(3, #called)
    sockets.drop()
  end)

  it("are none the worse for an update() without time", function()
    local socket = sockets.open { url = ECHO }
    local called = sends(socket)
    repeat
      net.wait(20)
      net.update(1)
    until #called > 0
    for _ = 1, 10 do net.update(0) end
    assert.equal(1, #called)
    frames(called, 1)
  end)
end)
