-- How a Lua state and a process end while a TCP or a UDP socket is in any
-- state, and what net.close() leaves of one. Children are processes of their
-- own.

local helper = require "helper"
local residue = require "support.residue"
local states = require "support.states"
local tcp = require "support.tcp"
local udp = require "support.udp"

local net = helper.net

local KINDS = {
  { name = "a TCP socket", names = states.tcp_names, enter = "enter_tcp",
    support = tcp, events = { "Connect", "Message", "Error", "Close", "Drain",
      "BindWifi" } },
  { name = "a UDP socket", names = states.udp_names, enter = "enter_udp",
    support = udp, events = { "Listening", "Message", "Error", "Close" } },
}

-- A child says what it is about to do; whatever it writes after that came from
-- a callback or an error message.
local PRELUDE = [[
local enter_kind, events, name = ...
local helper = require "helper"
local states = require "support.states"
local net = helper.net
local ending = false
local function late() if ending then print "a late callback" end end
local function enter()
  local record = states[enter_kind](name)
  for event in events:gmatch("%S+") do
    record.task["on" .. event](record.task, late)
  end
  io.stdout:write "ending\n"
  io.stdout:flush()
  ending = true
  return record
end
]]

for _, kind in ipairs(KINDS) do
  describe("the end while " .. kind.name .. " is", function()
    local LIMIT = 2500 * helper.slow

    local function child(status, script, name)
      local begun = helper.now()
      local result = helper.lua(PRELUDE .. script, kind.enter,
        table.concat(kind.events, " "), name)
      local took = helper.now() - begun
      assert.equal("", result.err)
      assert.equal("ending\n", result.out)
      assert.equal(status, result.status)
      assert.is_true(took < LIMIT, took)
    end

    for _, name in ipairs(kind.names) do
      it(name .. ", of the script", function()
        child(0, "enter()", name)
      end)

      it(name .. ", by os.exit", function()
        child(7, "enter() os.exit(7)", name) -- (7, true): see the storms
      end)

      it(name .. ", after net.close", function()
        child(0, "enter() net.close() net.close()", name)
      end)
    end
  end)

  describe("net.close() while " .. kind.name .. " is", function()
    setup(kind.support.defaults)
    after_each(kind.support.verify)

    for _, name in ipairs(kind.names) do
      it(name, function()
        local record = states[kind.enter](name)
        local calls = #record.order
        local begun = helper.now()
        net.close()
        assert.is_true(helper.now() - begun < 1000 * helper.slow)
        net.update()
        assert.equal(calls, #record.order)
        assert.equal("done", record.task.state)
        assert.equal(0, record.task.bufferedAmount)
        kind.support.drop()
        residue.check_stats()
      end)
    end

    it("any leaves no descriptor and no thread", function()
      local function round()
        for _, name in ipairs(kind.names) do
          states[kind.enter](name)
          kind.support.drop()
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

  -- What a script may still do, once, in each state.
  describe("close() while " .. kind.name .. " is", function()
    setup(kind.support.defaults)
    after_each(kind.support.verify)

    local SLOW = { sending = true, half = true, flushing = true,
      draining = true }

    for _, name in ipairs(kind.names) do
      if not (SLOW[name] and kind.enter == "enter_tcp") then
        it(name, function()
          local record = states[kind.enter](name)
          record.task:close()
          record.task:close()
          net.resume()
          kind.support.finish(record)
          assert.equal(1, #record.closes)
          assert.equal("done", record.task.state)
        end)
      end
    end
  end)
end

describe("os.exit in a callback", function()
  local SCRIPTS = {
    Connect = "", Message = "task:write('echo\\nx')",
    Error = "task:connect {}", Close = "task:close()",
    Drain = "task:write('echo\\n')",
  }

  for event, script in pairs(SCRIPTS) do
    it("of a TCP socket: " .. event, function()
      for _, closes in ipairs { "false", "true" } do
        local result = helper.lua(([[
          local event, closes = ...
          local helper = require "helper"
          local net = helper.net
          net.configure { limits = { tcpForbiddenPorts = false } }
          local task = net.createTCPSocket()
          task["on" .. event](task, function()
            os.exit(5, closes == "true")
          end)
          task:connect { address = "127.0.0.1",
            port = helper.servers.fault.tcp }
          %s
          net.run(5000)
          print "went on"]]):format(script), event, closes)
        assert.equal("", result.err)
        assert.equal("", result.out)
        assert.equal(5, result.status)
      end
    end)
  end

  for _, event in ipairs { "Listening", "Message", "Error", "Close" } do
    it("of a UDP socket: " .. event, function()
      for _, closes in ipairs { "false", "true" } do
        local result = helper.lua([[
          local event, closes = ...
          local helper = require "helper"
          local net = helper.net
          local task = net.createUDPSocket()
          task["on" .. event](task, function()
            os.exit(5, closes == "true")
          end)
          if event == "Error" then task:bind(-1) end
          task:send { address = "127.0.0.1", message = "echo x",
            port = helper.servers.fault.udp }
          if event == "Close" then task:close() end
          net.run(5000)
          print "went on"]], event, closes)
        assert.equal("", result.err)
        assert.equal("", result.out)
        assert.equal(5, result.status)
      end
    end)
  end
end)

describe("a program that a script starts", function()
  it("does not hold its sockets open", function()
    tcp.defaults()
    local key = tcp.key()
    local socket = tcp.scripted("sink key=" .. key)
    local bound = udp.bound()
    local cat = assert(io.popen("cat >/dev/null", "w"))
    tcp.close(socket)
    assert.equal("fin", tcp.seen(key)["end"])
    udp.close(bound)
    local other = udp.create()
    helper.run_until(function()
      return other.task:bind(bound.port) == bound.port
    end)
    cat:close()
    udp.verify()
    tcp.verify()
  end)
end)
