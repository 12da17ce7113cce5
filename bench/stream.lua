-- One large body to a chunk listener, driven by net.run: lua stream.lua URL

local net = require "nettask"
local measure = require "bench.measure"

net.configure { policy = "open" }

local bytes = 0
local window = measure.window()

local task = net.request {
  url = arg[1],
  enableChunked = true,
  timeout = 100000,
  fail = function(res)
    io.stderr:write("bench: ", res.errMsg, "\n")
    os.exit(1)
  end,
  success = function()
    window(bytes)
  end,
}
task:onChunkReceived(function(res)
  bytes = bytes + #res.data
end)
assert(net.run(100000), "the body does not end")
