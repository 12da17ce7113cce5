-- How a Lua state and a process end while requests are in any state. Each of
-- them is a process of its own.

local helper = require "helper"
local states = require "support.states"

-- A child says what it is about to do; whatever it writes after that came from
-- a callback or an error message.
local PRELUDE = [[
local helper = require "helper"
local states = require "support.states"
local net, fault = helper.net, helper.servers.fault
local ending = false
local function late() if ending then print "a late callback" end end
local options = { success = late, fail = late, complete = late }
local function enter(name)
  local record = states.enter(name, options)
  record.task:onHeadersReceived(late)
  io.stdout:write "ending\n"
  io.stdout:flush()
  ending = true
  return record
end
]]

-- Runs after everything that was made later has been finalised.
local FINALISER = [[
local function finaliser(f)
  if newproxy then
    local proxy = newproxy(true)
    getmetatable(proxy).__gc = f
    return proxy
  end
  return setmetatable({}, { __gc = f })
end
]]

describe("the end", function()
  local LIMIT = helper.slow == 1 and 2000 or 5000 * helper.slow

  -- Status, promptness, and not a word after "ending".
  local function child(status, script, ...)
    local start = helper.now()
    local result = helper.lua(script, ...)
    local took = helper.now() - start
    assert.equal("", result.err)
    assert.equal("ending\n", result.out)
    assert.equal(status, result.status)
    assert.is_true(took < LIMIT, took)
  end

  for _, name in ipairs(states.names) do
    describe("while a request is " .. name, function()
      it("of the script", function()
        child(0, PRELUDE .. "enter(...)", name)
      end)

      it("by os.exit", function()
        child(7, PRELUDE .. "enter(...) os.exit(7)", name)
      end)

      it("by os.exit that closes the state", function()
        child(8, PRELUDE .. "enter(...) os.exit(8, true)", name)
      end)

      it("of the script, after net.close", function()
        child(0, PRELUDE .. "enter(...) net.close() net.close()", name)
      end)

      it("in a coroutine that never ends", function()
        child(0, PRELUDE .. [[
          local name = ...
          KEPT = coroutine.wrap(function()
            enter(name)
            coroutine.yield()
          end)
          KEPT()]], name)
      end)

      it("by os.exit in a coroutine", function()
        child(9, PRELUDE .. [[
          local name = ...
          coroutine.wrap(function()
            enter(name)
            os.exit(9, true)
          end)()]], name)
      end)

      it("with a finaliser that was there before the module", function()
        local result = helper.lua(FINALISER .. [[
          KEPT = finaliser(function()
            local task = RECORD.task
            local net = require "nettask"
            local function refused(what, f, ...)
              local ok, err = pcall(f, ...)
              if ok or not tostring(err):find("is closing", 1, true) then
                print(what, ok, err)
              end
            end
            for _, member in ipairs { "update", "run", "wait", "stats",
              "close", "pause", "resume", "seal", "sealed", "onError",
              "setLogger" } do
              refused(member, net[member])
            end
            refused("request", net.request, { url = "http://127.0.0.1:1/" })
            refused("configure", net.configure, { policy = "open" })
            refused("abort", task.abort, task)
            refused("listener", task.onHeadersReceived, task, print)
            refused("core", package.loaded["nettask.core"].requestOpen, {})
            package.loaded["nettask.core"] = nil
            package.loaded.nettask = nil
            refused("require", require, "nettask")
            print(task.state, (tostring(task):gsub("%d+", "N")))
            local residue = package.loaded["support.residue"]
            local own = residue.OWN_THREADS
            print(residue.threads(own) - own)
          end)
          local name = ...
          local states = require "support.states"
          require "support.residue"
          RECORD = states.enter(name)
          print "ending"]], name)
        assert.equal("", result.err)
        assert.equal("ending\ndone\tnettask.RequestTask #N (done)\n0\n",
          result.out)
        assert.equal(0, result.status)
      end)
    end)
  end

  -- ---- Elsewhere ------------------------------------------------------------

  for _, event in ipairs { "headers", "chunk", "success", "complete", "fail" }
  do
    it("by os.exit in a callback: " .. event, function()
      for _, closes in ipairs { "false", "true" } do
        local result = helper.lua([[
          local event, closes = ...
          local helper = require "helper"
          local net, fault = helper.net, helper.servers.fault
          local function exit() os.exit(5, closes == "true") end
          local function nothing() end
          net.request { url = fault.silent .. "/" }
          local task = net.request {
            url = event == "fail" and fault.refused .. "/"
              or fault.http .. "/stream?chunks=3&key=exit",
            enableChunked = true,
            success = event == "success" and exit or nothing,
            fail = event == "fail" and exit or nothing,
            complete = event == "complete" and exit or nothing,
          }
          task:onHeadersReceived(event == "headers" and exit or nothing)
          task:onChunkReceived(event == "chunk" and exit or nothing)
          net.run(5000)
          print "went on"]], event, closes)
        assert.equal("", result.err)
        assert.equal("", result.out)
        assert.equal(5, result.status)
      end
    end)
  end

  it("by an error leaves the error's status", function()
    local result = helper.lua(PRELUDE .. "enter 'sent' error('stop', 0)")
    assert.equal(1, result.status)
    assert.matches("^[^\n]*stop\n", result.err)
    assert.equal("ending\n", result.out)
  end)

  it("of a module that was only loaded", function()
    child(0, "require 'nettask' print 'ending'")
    child(3, "require 'nettask' print 'ending' os.exit(3)")
    child(4, "require 'nettask' print 'ending' os.exit(4, true)")
    child(0, "require('nettask').close() print 'ending'")
  end)

  it("with a finaliser that starts a request", function()
    -- Made after the module, it runs before the module's own.
    child(0, FINALISER .. [[
      local helper = require "helper"
      KEPT = finaliser(function()
        local task = helper.net.request {
          url = helper.servers.fault.silent .. "/",
          complete = function() print "a late callback" end,
        }
        if task.state ~= "connecting" then print(task) end
      end)
      print "ending"]])
  end)

  it("with a finaliser that loads the module first", function()
    -- Nothing can finalise what is made that late; exit() ends its thread.
    local result = helper.lua(FINALISER .. [[
      KEPT = finaliser(function()
        local ok, net = pcall(require, "nettask")
        if ok then net.request { url = "http://127.0.0.1:1/" } end
      end)
      print "ending"]])
    assert.equal("ending\n", result.out)
    assert.equal("", result.err)
    assert.equal(0, result.status)
  end)

  it("with a finaliser that closes and opens again", function()
    child(0, FINALISER .. PRELUDE .. [[
      KEPT = finaliser(function()
        net.close()
        net.request { url = fault.silent .. "/" }
      end)
      enter "sent"]])
  end)

  it("in the middle of TLS", function()
    for i = 1, 12 do
      child(6, [[
        local helper = require "helper"
        local net, https = helper.net, helper.servers.nginx.https
        net.configure { caFile = helper.servers.ca, policy = "open" }
        for i = 1, 8 do
          net.request { url = https .. "/big", enableHttp2 = i % 2 == 0 }
        end
        net.wait(tonumber((...)))
        print "ending"
        os.exit(6)]], i * 4)
    end
  end)

  it("in the middle of name lookups", function()
    child(0, PRELUDE .. [[
      for i = 1, 5 do
        net.request { url = ("http://n%d.localhost:1/"):format(i) }
      end
      enter "started"]])
  end)

  it("beside a name lookup that never answers", function()
    local result = helper.netns [[
      local helper = require "helper"
      local start = [=[
        local net = require "nettask"
        for i = 1, 3 do
          net.request { url = ("http://n%d.example/"):format(i) }
        end
        net.wait(100)
      ]=]
      local function child(status, script)
        local from = helper.now()
        local result = helper.lua(start .. script)
        local took = helper.now() - from
        assert(result.status == status, result.status .. result.err)
        assert(result.out == "", result.out)
        assert(result.err == "", result.err)
        assert(took < 1500 * helper.slow, took)
      end
      child(0, "")
      child(3, "os.exit(3)")
      child(4, "os.exit(4, true)")
      child(0, "net.close()")
      child(0, "for _ = 1, 3 do net.close() " .. start .. " end")
      print "all"]]
    assert.equal("", result.err)
    assert.equal("all\n", result.out)
    assert.equal(0, result.status)
  end)

  it("of many states leaves no descriptor and no thread", function()
    local result = helper.lua [[
      local helper = require "helper"
      local states = require "support.states"
      local residue = require "support.residue"
      local net = helper.net
      local function round()
        for _, name in ipairs(states.names) do
          states.enter(name)
          net.close()
        end
      end
      -- The shell that counts may see both ends of its pipe.
      local function descriptors()
        local least = math.huge
        for _ = 1, 8 do
          least = math.min(least, residue.descriptors())
        end
        return least
      end
      local own = residue.OWN_THREADS
      round()
      local before = descriptors()
      for _ = 1, 3 do round() end
      print(descriptors() - before, residue.threads(own) - own)]]
    assert.equal("", result.err)
    assert.equal("0\t0\n", result.out)
  end)
end)
