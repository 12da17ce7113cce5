-- How a Lua state and a process end while a WebSocket is in any state, and what
-- net.close() leaves of one. Children are processes of their own.

local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local states = require "support.states"

local net = helper.net

-- A child says what it is about to do; whatever it writes after that came from
-- a callback or an error message.
local PRELUDE = [[
local helper = require "helper"
local states = require "support.states"
local net = helper.net
local ending = false
local function late() if ending then print "a late callback" end end
local options = { success = late, fail = late, complete = late }
local function enter(name)
  local record = states.enter_socket(name, options)
  for _, event in ipairs { "Open", "Message", "Error", "Close", "Drain",
    "Reconnect" } do
    record.task["on" .. event](record.task, late)
  end
  io.stdout:write "ending\n"
  io.stdout:flush()
  ending = true
  return record
end
]]

describe("the end while a socket is", function()
  local LIMIT = 2000 * helper.slow

  local function child(status, script, ...)
    local begun = helper.now()
    local result = helper.lua(PRELUDE .. script, ...)
    local took = helper.now() - begun
    assert.equal("", result.err)
    assert.equal("ending\n", result.out)
    assert.equal(status, result.status)
    assert.is_true(took < LIMIT, took)
  end

  for _, name in ipairs(states.socket_names) do
    it(name .. ", of the script", function()
      child(0, "enter(...)", name)
    end)

    it(name .. ", by os.exit", function()
      child(7, "enter(...) os.exit(7)", name)
      child(8, "enter(...) os.exit(8, true)", name)
    end)

    it(name .. ", after net.close", function()
      child(0, "enter(...) net.close() net.close()", name)
    end)
  end

  it("any, by os.exit in a callback", function()
    for _, event in ipairs { "success", "complete", "Open", "Message",
      "Close" } do
      for _, closes in ipairs { "false", "true" } do
        local result = helper.lua([[
          local event, closes, url = ...
          local net = require "helper".net
          local function exit() os.exit(5, closes == "true") end
          local is_option = event:find "^%l"
          local task = net.connectSocket { url = url,
            success = event == "success" and exit or nil,
            complete = event == "complete" and exit or nil }
          if not is_option then task["on" .. event](task, exit) end
          net.run(5000)
          print "went on"]], event, closes,
          (sockets.fault("script", { hex = "810161" .. "880203e8" })))
        assert.equal("", result.err)
        assert.equal("", result.out)
        assert.equal(5, result.status)
      end
    end
  end)
end)

describe("net.close() while a socket is", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  for _, name in ipairs(states.socket_names) do
    it(name, function()
      local record = states.enter_socket(name)
      local calls = #record.order
      local begun = helper.now()
      net.close()
      assert.is_true(helper.now() - begun < 1000 * helper.slow)
      net.update()
      assert.equal(calls, #record.order)
      assert.equal("done", record.task.state)
      assert.equal(record.task.CLOSED, record.task.readyState)
      assert.equal(0, record.task.bufferedAmount)
      sockets.drop()
      residue.check_stats()
    end)
  end

  it("any leaves no descriptor and no thread", function()
    local function round()
      for _, name in ipairs(states.socket_names) do
        states.enter_socket(name)
        sockets.drop()
      end
    end
    round()
    local descriptors, threads = residue.descriptors(), residue.threads()
    round()
    helper.run_until(function()
      return residue.descriptors() <= descriptors
        and residue.threads() <= threads
    end)
  end)
end)
