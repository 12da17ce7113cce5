-- lua examples/ws-echo.lua URL [--deflate]
--
-- Sends every WebSocket message back as it came, text as text and binary as
-- binary, until the connection ends. The exit status is 0 then, however it
-- ended, and 1 when it never opened: this is what a server that examines
-- clients (RFC 6455, and RFC 7692 with --deflate) wants to talk to.

local here = arg[0]:match("^(.*[/\\])") or "./"
local net = dofile(here .. "tree.lua")

local MIB = 1024 * 1024
local MESSAGE_MAX = 64 * MIB
local QUEUE_MAX = 2 * MESSAGE_MAX

local function usage()
  io.stderr:write("usage: lua examples/ws-echo.lua URL [--deflate]\n")
  os.exit(2)
end

local function parse_arguments(args)
  local options = {}
  for _, word in ipairs(args) do
    if word == "--deflate" then
      options.deflate = true
    elseif word:sub(1, 1) == "-" or options.url then
      usage()
    else
      options.url = word
    end
  end
  if not options.url then
    usage()
  end
  return options
end

local options = parse_arguments(arg)
local status = 1

local function complain(text)
  io.stderr:write("ws-echo: ", tostring(text), "\n")
end

net.configure{
  policy = "open",
  limits = { sendQueueBytes = QUEUE_MAX, maxMessageBytes = MESSAGE_MAX },
}

net.onError(function(err, traceback)
  complain(tostring(err) .. "\n" .. traceback)
  os.exit(1)
end)

local task = net.connectSocket{
  url = options.url,
  perMessageDeflate = options.deflate,
  tcpNoDelay = true,
  maxMessageBytes = MESSAGE_MAX,
  fail = function(res)
    complain(res.errMsg)
  end,
}

-- Echoes that the send queue has no room for. It has room for any when it is
-- empty, so the oldest one always gets its turn.
local waiting = { first = 1, last = 0 }

local function has_room(data)
  local queued = task.bufferedAmount
  return queued == 0 or queued + #data <= QUEUE_MAX
end

local function send(data)
  task:send{
    data = data,
    fail = function(res)
      -- What the end of the connection cuts off is nobody's fault.
      if task.readyState == task.OPEN then
        complain(res.errMsg)
        os.exit(1)
      end
    end,
  }
end

local function send_waiting()
  while waiting.first <= waiting.last do
    local data = waiting[waiting.first]
    if not has_room(data) then
      return
    end
    waiting[waiting.first] = nil
    waiting.first = waiting.first + 1
    send(data)
  end
end

task:onOpen(function()
  status = 0
end)

task:onMessage(function(res)
  if waiting.first > waiting.last and has_room(res.data) then
    send(res.data)
  else
    waiting.last = waiting.last + 1
    waiting[waiting.last] = res.data
  end
end)

task:onDrain(send_waiting)

task:onError(function(res)
  complain(res.errMsg)
end)

net.run()
net.close()
os.exit(status)
