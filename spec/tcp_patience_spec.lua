-- TCPSocket that closes with something left to say, and how long it waits for
-- a peer.

local helper = require "helper"
local tcp = require "support.tcp"

local MIB = 1024 * 1024

describe("close() of a TCPSocket with a peer", function()
  setup(tcp.defaults)
  after_each(tcp.verify)

  -- All in the same five seconds.
  it("#168 #170 that never reads, ends, or stops has five seconds", function()
    local deaf_key, stay_key = tcp.key(), tcp.key()
    local deaf = tcp.scripted("deaf key=" .. deaf_key)
    deaf.task:write(("x"):rep(15 * MIB))
    local stays = tcp.scripted("stay key=" .. stay_key)
    stays.task:write("x")
    local talks = tcp.scripted("push n=1000000 size=1000 every=1")
    helper.run_until(function() return talks.count > 0 end)
    local begun = helper.now()
    for _, socket in ipairs { deaf, stays, talks } do socket.task:close() end
    for _, socket in ipairs { deaf, stays, talks } do
      tcp.finish(socket, 15000)
      assert.same({}, socket.errors)
      assert.equal(0, socket.task.bufferedAmount)
    end
    local took = helper.now() - begun
    assert.is_true(took > 4500 and took < 8000 * helper.slow, took)
    assert.is_false(deaf.closes[1].flushed)
    assert.is_true(stays.closes[1].flushed)
    assert.is_true(talks.closes[1].flushed)
    tcp.release(deaf_key)
    tcp.release(stay_key)
    assert.equal("x", tcp.seen(stay_key).text)
  end)

  it("#168 #170 that reads slowly has the time it needs", function()
    -- For one large piece, of which nothing is done before all of it is.
    local socket = tcp.scripted("slow-sink size=32768 every=20 room=65536")
    local begun = helper.now()
    socket.task:write(("x"):rep(15 * MIB))
    local res = tcp.close(socket, 40000)
    assert.is_true(helper.now() - begun > 5500)
    assert.is_true(res.flushed)
    assert.same({}, socket.errors)
  end)
end)
