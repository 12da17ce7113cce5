-- permessage-deflate: only on request, with every peer, and against bombs.

local files = require "support.files"
local helper = require "helper"
local residue = require "support.residue"
local sockets = require "support.sockets"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local MIB = 1024 * 1024

local TEXT = ("Grüße, 世界, the same line over and over\n"):rep(500)

local function open(options, path, parameters)
  local url, key = sockets.fault(path, parameters)
  options.url = url
  return sockets.open(options), key
end

-- The extension that the handshake offers, or nothing.
local function offer(options)
  local request = sockets.handshake(options)
  local values = wire.values(request, "Sec-WebSocket-Extensions")
  assert(#values <= 1)
  return values[1]
end

-- A server that agrees to deflate, and then says these bytes.
local function deflated(hex, options, deal)
  options = options or {}
  options.perMessageDeflate = true
  return open(options, "script", { hex = hex,
    deal = deal or "permessage-deflate" })
end

-- "Hello", compressed (RFC 7692, 7.2.3.1).
local HELLO = "f248cdc9c90700"

describe("perMessageDeflate", function()
  setup(sockets.defaults)
  after_each(sockets.verify)

  it("#134 is offered only on request", function()
    assert.is_nil(offer {})
    assert.is_nil(offer { perMessageDeflate = false })
    assert.matches("^permessage%-deflate", offer { perMessageDeflate = true })
  end)

  it("#134 is no must for the server", function()
    for _, url in ipairs { servers.pyws, servers.demo_ws .. "/ws/echo",
      (sockets.fault "echo") } do
      local socket = sockets.open { url = url, perMessageDeflate = true }
      socket.task:send { data = TEXT }
      assert.is_true(sockets.wait_messages(socket, 1) == TEXT)
    end
  end)

  for name, url in pairs { ["python3-websockets"] = servers.pyws_deflate,
    ["python3-websockets over TLS"] = servers.pyws_tls } do
    it("#134 agrees with " .. name, function()
      local socket = sockets.open { url = url, perMessageDeflate = true }
      assert.matches("^permessage%-deflate",
        socket.opens[1].header["Sec-WebSocket-Extensions"])
      local noise = files.noise(100000)
      local sent = { TEXT, net.buffer(TEXT), "", net.buffer(""), "x", TEXT,
        net.buffer(noise), net.buffer(noise), ("y"):rep(MIB), TEXT }
      for round = 1, 3 do
        for i, data in ipairs(sent) do
          socket.task:send { data = data }
          local number = (round - 1) * #sent + i
          local back = sockets.wait_messages(socket, number, 10000)
          assert(type(back) == type(data), i)
          assert(tostring(back) == tostring(data), i)
        end
      end
      sockets.close(socket)
      sockets.check_closed(socket, 1000, "normal closure")
    end)
  end

  it("#134 makes what is sent smaller", function()
    local before = net.stats()
    local socket = sockets.open { url = servers.pyws_deflate,
      perMessageDeflate = true }
    for _ = 1, 20 do socket.task:send { data = TEXT } end
    sockets.wait_messages(socket, 20)
    for i = 1, 20 do assert.is_true(socket.messages[i] == TEXT) end
    local after = net.stats()
    local sent = after.bytesOut - before.bytesOut
    local received = after.bytesIn - before.bytesIn
    assert.is_true(sent > 0 and sent < #TEXT, sent)
    assert.is_true(received > 0 and received < #TEXT, received)
  end)

  it("#134 marks compressed messages, and no control frame", function()
    local socket, key = deflated("", { pingInterval = 30 })
    socket.task:send { data = TEXT }
    socket.task:send { data = net.buffer(TEXT) }
    helper.run_for(100)
    sockets.close(socket)
    local marked = 0
    for _, frame in ipairs((sockets.frames(key))) do
      if frame.opcode < 8 then
        assert.equal(4, frame.rsv)
        assert.is_true(frame.size < #TEXT / 10)
        marked = marked + 1
      else
        assert.equal(0, frame.rsv)
      end
    end
    assert.equal(2, marked)
  end)

  -- Two messages of the same noise: the second refers to the first if it may.
  local function second_size(deal)
    local socket, key = deflated("", {}, deal)
    local noise = files.noise(100)
    socket.task:send { data = net.buffer(noise) }
    socket.task:send { data = net.buffer(noise) }
    sockets.close(socket)
    local frames = sockets.frames(key)
    assert.is_true(frames[1].size >= 100)
    return frames[2].size
  end

  it("#134 keeps its context, unless the server asks for none", function()
    assert.is_true(second_size("permessage-deflate") < 30)
    assert.is_true(second_size("permessage-deflate;"
      .. " client_no_context_takeover") >= 100)
    assert.is_true(second_size("permessage-deflate;"
      .. " client_max_window_bits=9") < 30)
  end)

  it("#134 reads what RFC 7692 shows", function()
    for _, hex in ipairs {
      "c107" .. HELLO, -- in one frame
      "4103f248cd" .. "8004c9c90700", -- in two
      "c10b" .. "000500faff48656c6c6f00", -- a block that is not compressed
      "c108" .. "f348cdc9c9070000", -- BFINAL is set
      "c10d" .. "f248050000" .. "00ffffcac9c90700", -- two blocks
      "8105" .. "48656c6c6f", -- a message that is not compressed
    } do
      local socket = deflated(hex)
      assert.equal("Hello", sockets.wait_messages(socket, 1), hex)
      sockets.close(socket)
    end
  end)

  it("#134 reads a second message that refers to the first", function()
    local socket = deflated("c107" .. HELLO .. "c105" .. "f200110000")
    sockets.wait_messages(socket, 2)
    assert.same({ "Hello", "Hello" }, socket.messages)
  end)

  it("#134 is asked for again by a reconnect, with a new context", function()
    local socket, key = open({ perMessageDeflate = true,
      reconnect = { base = 10, tries = 3 } }, "script", {
      hex = "c107" .. HELLO, deal = "permessage-deflate", ["then"] = "fin" })
    sockets.wait_messages(socket, 3)
    assert.same({ "Hello", "Hello", "Hello" },
      { socket.messages[1], socket.messages[2], socket.messages[3] })
    for _, request in ipairs(wire.seen(key)) do
      assert.matches("permessage%-deflate", wire.values(
        wire.parse(request.head), "Sec-WebSocket-Extensions")[1])
    end
  end)

  -- ---- Broken ---------------------------------------------------------------

  local function check_violation(hex, code, options)
    options = options or {}
    options.perMessageDeflate = true
    options.url = sockets.fault("script", { hex = hex,
      deal = "permessage-deflate" })
    local socket = sockets.whole(options)
    assert.same({}, socket.messages)
    sockets.check_violation(socket, code)
  end

  it("#134 #158 by a server that cannot is an error", function()
    check_violation("c104ffffffff", 1002) -- no such block
    check_violation("c907" .. HELLO, 1002) -- a compressed ping
    check_violation("0103616263" .. "c0026364", 1002) -- in the middle
    check_violation("e107" .. HELLO, 1002) -- another bit beside it
  end)

  it("#134 #158 checks the text that comes out", function()
    -- "\255", not compressed within its block.
    check_violation("c107" .. "000100feffff00", 1007)
    -- The first byte of a character, and no more.
    check_violation("c107" .. "000100feffe400", 1007)
  end)

  it("#134 #158 ends at a bomb, with 1009 and little memory", function()
    local before = residue.peak()
    local socket = sockets.whole({ perMessageDeflate = true,
      url = sockets.fault("bomb", { bytes = 1024 * MIB }) }, 10000)
    assert.same({}, socket.messages)
    sockets.check_violation(socket, 1009)
    -- The cap is 16 MiB.
    assert.is_true(residue.peak() - before < 64 * 1024)
  end)

  it("#134 #159 ends at the cap, not below", function()
    local socket = sockets.open({ perMessageDeflate = true,
      url = sockets.fault("bomb", { bytes = 16 * MIB }) })
    assert.equal(16 * MIB, #sockets.wait_messages(socket, 1, 10000))
    check_violation("c107" .. HELLO, 1009, { maxMessageBytes = 4 })
  end)
end)
