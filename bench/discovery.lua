-- Scans for one local service and prints a line of JSON when it is found.
--
--   lua bench/discovery.lua SERVICE-TYPE NAME

local net = require "nettask"
local now = require("nettask.core").now

local service_type, name = arg[1], arg[2]

local function give_up(text)
  io.stderr:write("bench: ", tostring(text), "\n")
  os.exit(1)
end

net.onError(function(err, trace) give_up(tostring(err) .. "\n" .. trace) end)

local began = now()
net.onLocalServiceFound(function(res)
  if res.serviceName ~= name then return end
  print(('{"scan_ms":%.3f,"ip":"%s","port":%d}'):format(now() - began, res.ip,
    res.port))
  io.stdout:flush()
  os.exit(0)
end)
net.startLocalServiceDiscovery {
  serviceType = service_type,
  fail = function(res) give_up(res.errMsg) end,
}
while now() - began < 10000 do
  net.wait(1000)
  net.update()
end
give_up("nothing was found")
