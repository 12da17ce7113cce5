-- The queue of requests: ten run, the others wait in order, and what they wait
-- does not count against any limit.

local helper = require "helper"
local residue = require "support.residue"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local SHORT = 120 * helper.slow
local LONG = 300 * helper.slow

local count = 0

local function new_key()
  count = count + 1
  return ("queue-%.0f-%d"):format(helper.now() * 1000, count)
end

describe("the request queue", function()
  before_each(residue.before)
  after_each(residue.after)
  teardown(residue.defaults)

  -- A server in the way of nobody: the answer does not wait in our own queue.
  local function ask_beside(path)
    local result = helper.python([[
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode(), end="")]],
      fault.http .. path)
    assert.equal("", result.err)
    return result.out
  end

  local function states(records)
    local list = {}
    for i, record in ipairs(records) do list[i] = record.task.state end
    return table.concat(list, " ")
  end

  -- `number` requests that wait for a release; returns them and their key.
  local function start_waiting(number, options)
    local key = new_key()
    local records = {}
    for i = 1, number do
      local given = { url = ("%s/wait?key=%s&i=%d"):format(fault.http, key,
        i) }
      for name, value in pairs(options or {}) do given[name] = value end
      records[i] = helper.start(given)
    end
    return records, key
  end

  local function all_done(records)
    for _, record in ipairs(records) do
      if not record.done then return false end
    end
    return true
  end

  local function release(records, key)
    assert.equal("ok", ask_beside("/release?key=" .. key))
    helper.run_until(function() return all_done(records) end)
    residue.keep(#records)
  end

  it("runs ten at once, the others wait in order", function()
    local records, key = start_waiting(13)
    helper.run_until(function()
      return ask_beside("/waiting?key=" .. key) == "10"
        and records[13].task.state == "queued"
    end)
    local ten = ("connecting "):rep(10)
    assert.equal(ten .. "queued queued queued", states(records))
    assert.equal(3, net.stats().request.queued)
    release(records, key)
    for _, record in ipairs(records) do
      assert.equal("request:ok", record.complete.errMsg)
    end
    assert.equal(("done "):rep(13), states(records) .. " ")
  end)

  it("takes the next when one ends, and tells how long it waited", function()
    local records, key = start_waiting(12)
    helper.run_until(function()
      return records[11].task.state == "queued"
    end)
    helper.run_for(SHORT)
    records[3].task:abort()
    helper.run_until(function()
      return ask_beside("/waiting?key=" .. key) == "10"
        and records[11].task.state == "connecting"
    end)
    assert.equal("queued", records[12].task.state)
    release(records, key)
    local function waited(i)
      local profile = records[i].success.profile
      return profile.queueEnd - profile.queueStart
    end
    assert.is_true(waited(11) >= SHORT - 2)
    assert.is_true(waited(12) >= waited(11))
    assert.is_true(waited(1) < SHORT)
    helper.check_failure(records[3], "abort", 1, -3)
  end)

  it("aborts one that waits, and it never reaches the server", function()
    local records, key = start_waiting(12)
    helper.run_until(function()
      return records[12].task.state == "queued"
    end)
    records[11].task:abort()
    helper.run_until(function() return records[11].done end)
    helper.check_failure(records[11], "abort", 1, -3)
    release(records, key)
    assert.equal("request:ok", records[12].complete.errMsg)
    local seen = {}
    for _, request in ipairs(helper.fetch {
      url = fault.http .. "/requests?of=" .. key,
    }.success.data) do
      seen[#seen + 1] = request.target:match("i=(%d+)")
    end
    seen = " " .. table.concat(seen, " ") .. " "
    assert.is_nil(seen:find(" 11 ", 1, true))
    assert.is_truthy(seen:find(" 12 ", 1, true))
  end)

  it("a place that gets free is not for the one that comes then", function()
    net.configure { limits = { maxRequests = 1 } }
    local records, key = start_waiting(2)
    helper.run_until(function() return records[2].task.state == "queued" end)
    -- What a callback does reaches the other thread all at once.
    local bad = helper.start { url = "http://", fail = function()
      records[1].task:abort()
      records[3] = helper.start { url = ("%s/wait?key=%s&i=3"):format(
        fault.http, key) }
    end }
    helper.run_until(function()
      return bad.done and ask_beside("/waiting?key=" .. key) == "1"
        and records[3].task.state == "queued"
    end)
    assert.equal("connecting", records[2].task.state)
    release(records, key)
    helper.check_failure(records[1], "abort", 1, -3)
    assert.equal("request:ok", records[2].complete.errMsg)
    assert.equal("request:ok", records[3].complete.errMsg)
  end)

  it("takes them strictly in order", function()
    net.configure { limits = { maxRequests = 1 } }
    local key = new_key()
    local ended, records = {}, {}
    for i = 1, 20 do
      -- The first is the slowest.
      local path = i == 1 and "/delay?ms=100&" or "/raw?"
      records[i] = helper.start {
        url = ("%s%skey=%s&i=%d"):format(fault.http, path, key, i),
        method = i % 2 == 0 and "POST" or "GET",
        success = function() ended[#ended + 1] = i end,
      }
    end
    helper.run_until(function() return all_done(records) end)
    local before = 0
    for i = 1, 20 do
      assert.equal(i, ended[i])
      local profile = records[i].success.profile
      assert.is_true(profile.queueEnd >= before)
      before = profile.responseStart
    end
    local seen = helper.fetch { url = fault.http .. "/requests?of=" .. key }
    for i, request in ipairs(seen.success.data) do
      assert.equal(tostring(i), request.target:match("i=(%d+)$"))
    end
  end)

  it("the queue's time does not count, whatever the limit", function()
    net.configure { limits = { maxRequests = 1 } }
    local records, key = start_waiting(1)
    local second = helper.start { url = fault.http .. "/raw", timeout = SHORT,
      timeouts = { dns = SHORT, connect = SHORT, firstByte = SHORT } }
    local third = helper.start { url = fault.http .. "/never", timeout = SHORT }
    helper.run_for(LONG)
    release(records, key)
    helper.run_until(function() return third.done end)
    assert.equal("request:ok", records[1].complete.errMsg)
    assert.equal("request:ok", second.complete.errMsg)
    assert.is_true(second.success.profile.queueEnd
      - second.success.profile.queueStart >= LONG - 20)
    helper.check_failure(third, "timeout", 5, -7)
  end)

  it("a time-out makes place for the next", function()
    net.configure { limits = { maxRequests = 2 } }
    local hang = { url = fault.blackhole .. "/",
      timeouts = { connect = SHORT } }
    local records = {}
    for i = 1, 6 do records[i] = helper.start(hang) end
    records[7] = helper.start { url = fault.http .. "/" }
    helper.run_until(function() return all_done(records) end)
    for i = 1, 6 do
      helper.check_failure(records[i], "timeout", 5, -7)
    end
    assert.equal("request:ok", records[7].complete.errMsg)
  end)

  it("has no queue when the limit is 0, as in policy open", function()
    net.configure { policy = "open" }
    local records, key = start_waiting(25)
    helper.run_until(function()
      return ask_beside("/waiting?key=" .. key) == "25"
    end)
    assert.equal(0, net.stats().request.queued)
    release(records, key)
  end)

  it("a limit that is raised lets those go on that wait", function()
    net.configure { limits = { maxRequests = 1 } }
    local records, key = start_waiting(4)
    helper.run_until(function()
      return records[2].task.state == "queued"
    end)
    net.configure { limits = { maxRequests = 3 } }
    helper.run_until(function()
      return ask_beside("/waiting?key=" .. key) == "3"
    end)
    helper.run_until(function()
      return records[3].task.state == "connecting"
    end)
    assert.equal("queued", records[4].task.state)
    release(records, key)
  end)

  it("refuses a bad url at once, though the queue is full", function()
    net.configure { limits = { maxRequests = 1 } }
    local records, key = start_waiting(2)
    helper.run_until(function()
      return records[2].task.state == "queued"
    end)
    local record = helper.fetch { url = "http://" }
    helper.check_failure(record, 'invalid url "http://"', 600009, -300)
    release(records, key)
  end)
end)
