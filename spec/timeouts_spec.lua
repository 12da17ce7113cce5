-- Time-outs: each stage alone, the total over everything, and what does not
-- count: the time in which the host holds the source back. For the queue see
-- queue_spec.lua.
--
-- A limit is SHORT, what it is held against is LONG. The lower bounds show that
-- a limit was waited for; there are no upper ones but the deadlines, for the
-- machine may be busy.

local helper = require "helper"
local residue = require "support.residue"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local SHORT = 150 * helper.slow
local LONG = 320 * helper.slow

-- Takes LONG, and is never silent for SHORT: not even on a busy machine.
local slow_drip = ("%s/drip?every=%d&bytes=40"):format(fault.http, LONG / 40)

local count = 0

local function new_key(name)
  count = count + 1
  return ("%s-%.0f-%d"):format(name, helper.now() * 1000, count)
end

local function secure(url)
  return (url:gsub("^http:", "https:"))
end

-- Runs a request that must time out, and not before `ms`.
local function times_out(ms, options)
  local started = helper.now()
  local record = helper.fetch(options, 5000)
  helper.check_failure(record, "timeout", 5, -7)
  -- Both clocks count whole milliseconds somewhere.
  assert.is_true(helper.now() - started >= ms - 2, "too early")
  return record
end

local function succeeds(options)
  local record = helper.fetch(options, 5000)
  assert.equal("request:ok", record.complete.errMsg)
  return record
end

describe("time-outs", function()
  before_each(residue.before)
  after_each(residue.after)
  teardown(residue.defaults)

  -- ---- Each alone ---------------------------------------------------------

  local S = SHORT
  local alone = {
    { "connect", "a connect into a black hole", fault.blackhole .. "/" },
    { "connect", "the same for TLS", secure(fault.blackhole) .. "/" },
    { "tls", "a TLS handshake without an answer",
      secure(fault.silent) .. "/" },
    { "firstByte", "a server that takes the connection and no more",
      fault.silent .. "/" },
    { "firstByte", "a server that never answers", fault.http .. "/never" },
    { "firstByte", "the same over TLS", fault.https .. "/never" },
    { "stall", "a body that never comes", fault.http .. "/never-body" },
    { "stall", "a body that drips too slowly",
      fault.http .. "/drip?every=2000" },
    { "stall", "the same over TLS", fault.https .. "/drip?every=2000" },
    { "stall", "a header that stops", fault.http .. "/never-header" },
    { "total", "a connect into a black hole", fault.blackhole .. "/" },
    { "total", "a TLS handshake without an answer",
      secure(fault.silent) .. "/" },
    { "total", "a server that never answers", fault.http .. "/never" },
    { "total", "a body that never comes", fault.http .. "/never-body" },
    { "total", "a header that drips", fault.http .. "/drip-header?every=20" },
    { "total", "a body that drips", fault.http .. "/drip?every=20" },
    { "total", "redirects that never end",
      fault.http .. "/redirect-loop?ms=60" },
  }
  for _, case in ipairs(alone) do
    it(("%s ends %s"):format(case[1], case[2]), function()
      times_out(S, { url = case[3], timeouts = { [case[1]] = S } })
    end)
  end

  it("#32 timeout is the total", function()
    times_out(S, { url = fault.http .. "/never", timeout = S })
    times_out(S, { url = fault.http .. "/drip?every=20", timeout = S })
  end)

  it("delivers the header of a body that stalls", function()
    local record = times_out(S, { url = fault.http .. "/never-body",
      timeouts = { stall = S } })
    assert.same({ "headers", "fail", "complete" }, record.order)
  end)

  it("delivers the chunks of a body that stalls", function()
    local record = times_out(S, { url = fault.http .. "/drip?every=2000",
      enableChunked = true, timeouts = { stall = S } })
    assert.same({ "headers", "chunk", "fail", "complete" }, record.order)
    assert.equal(".", tostring(record.chunks[1]))
  end)

  it("takes the nearest of several limits", function()
    times_out(S, { url = fault.http .. "/never", timeout = 60000,
      timeouts = { connect = 50000, tls = 40000, stall = 30000,
        firstByte = S } })
    times_out(S, { url = fault.http .. "/never", timeout = S,
      timeouts = { firstByte = 60000 } })
  end)

  it("timeouts.total stands above timeout", function()
    times_out(S, { url = fault.http .. "/never", timeout = 60000,
      timeouts = { total = S } })
    succeeds { url = fault.http .. "/delay?ms=" .. LONG, timeout = S,
      timeouts = { total = 60000 } }
  end)

  -- ---- What does not count ------------------------------------------------

  it("a stage's limit counts no other stage", function()
    -- Slow to answer.
    succeeds { url = fault.http .. "/delay?ms=" .. LONG,
      timeouts = { dns = S, connect = S, tls = S, stall = S } }
    succeeds { url = fault.https .. "/delay?ms=" .. LONG,
      timeouts = { dns = S, connect = S, tls = S, stall = S } }
    residue.keep(1) -- the connection of TLS
    -- Slow in the body.
    succeeds { url = slow_drip,
      timeouts = { dns = S, connect = S, tls = S, firstByte = S } }
  end)

  it("connect does not count the TLS handshake", function()
    times_out(LONG, { url = secure(fault.silent) .. "/",
      timeouts = { connect = S, total = LONG } })
  end)

  it("stall counts silence, not time", function()
    succeeds { url = slow_drip,
      timeouts = { stall = S } }
  end)

  it("firstByte starts anew with each hop", function()
    -- Each of the four answers takes less than the limit, together they take
    -- more.
    local url = ("%s/redirect-loop?ms=%d"):format(fault.http, S / 3)
    net.configure { limits = { redirects = 3 } }
    local record = helper.fetch { url = url, timeouts = { firstByte = S } }
    assert.equal("request:fail exceed max redirect count",
      record.fail.errMsg)
  end)

  it("time on the way up does not count as silence", function()
    local started = helper.now()
    local record = times_out(S, { url = fault.http .. "/read-nothing",
      method = "POST", data = ("x"):rep(16 * 1024 * 1024),
      timeouts = { firstByte = S } })
    assert.is_true(helper.now() - started >= S)
    assert.same({ "fail", "complete" }, record.order)
  end)

  it("neither total nor stall run while the host holds back", function()
    local key = new_key "held"
    local record = helper.start {
      -- Slowly enough that the clocks run again when the host goes on.
      url = fault.http .. "/stream?chunks=128&size=16384&every=2&key=" .. key,
      enableChunked = true, timeouts = { stall = LONG, total = 6 * LONG },
    }
    net.pause()
    helper.run_until(function()
      return net.stats().queuedBytes >= 1024 * 1024
    end, 5000, "the mark")
    helper.run_for(7 * LONG)
    net.resume()
    helper.run_until(function() return record.done end)
    assert.equal("request:ok", record.complete.errMsg)
    local size = 0
    for _, chunk in ipairs(record.chunks) do size = size + #chunk end
    assert.equal(128 * 16384, size)
  end)

  -- ---- Defaults -----------------------------------------------------------

  for _, value in ipairs { 0, -1, -math.huge, 0 / 0 } do
    it(("#32 timeout = %s is the default"):format(value), function()
      net.configure { timeouts = { request = S } }
      times_out(S, { url = fault.http .. "/never", timeout = value })
      net.configure { timeouts = { request = 60000 } }
      succeeds { url = fault.http .. "/delay?ms=50", timeout = value }
    end)
  end

  it("#32 timeout comes from configure when the call names none", function()
    net.configure { timeouts = { request = S } }
    times_out(S, { url = fault.http .. "/never" })
    succeeds { url = fault.http .. "/delay?ms=" .. LONG, timeout = 60000 }
  end)

  it("timeouts.total = 0 lifts the total", function()
    net.configure { timeouts = { request = S } }
    succeeds { url = fault.http .. "/delay?ms=" .. LONG,
      timeouts = { total = 0 } }
    succeeds { url = fault.http .. "/delay?ms=" .. LONG, timeout = S,
      timeouts = { total = 0 } }
  end)

  it("a limit of 0 or less in timeouts is none, but for the total", function()
    for _, value in ipairs { 0, -1 } do
      succeeds { url = fault.http .. "/delay?ms=50", timeouts = { dns = value,
        connect = value, tls = value, firstByte = value, stall = value } }
    end
    net.configure { timeouts = { request = S } }
    times_out(S, { url = fault.http .. "/never",
      timeouts = { total = -1 } })
  end)

  it("takes any number", function()
    for _, value in ipairs { math.huge, 2 ^ 53, 2 ^ 31, 60000.5 } do
      succeeds { url = fault.http .. "/", timeout = value,
        timeouts = { stall = value, firstByte = value, connect = value } }
    end
    times_out(0, { url = fault.http .. "/never", timeout = 0.25 })
  end)
end)
