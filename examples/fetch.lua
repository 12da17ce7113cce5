-- lua examples/fetch.lua URL [METHOD] [DATA]
--
-- One request: prints its status, headers, timing and body; 1 is the exit
-- status when no answer came. DATA that starts with { or [ goes out as JSON,
-- other DATA as a form; with GET and HEAD it is added to the URL.

local here = arg[0]:match("^(.*[/\\])") or "./"
local net = dofile(here .. "tree.lua")

local url, method, data = arg[1], arg[2], arg[3]
if not url or url:sub(1, 2) == "--" then
  io.stderr:write("usage: lua examples/fetch.lua URL [METHOD] [DATA]\n")
  os.exit(2)
end

local function content_type()
  if not data then
    return false -- nothing is sent, so nothing is declared
  end
  return data:match("^%s*[%[{]") and "application/json"
    or "application/x-www-form-urlencoded"
end

-- Field names in alphabetical order.
local function sorted_names(header)
  local names = {}
  for name in pairs(header) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    return a:lower() < b:lower()
  end)
  return names
end

local function print_headers(header)
  for _, name in ipairs(sorted_names(header)) do
    local values = header.getAll and header:getAll(name) or { header[name] }
    for _, value in ipairs(values) do
      print(name .. ": " .. tostring(value))
    end
  end
end

local function span(label, from, to)
  if from and to and from > 0 and to >= from then
    print(string.format("  %-10s %6.0f ms", label, to - from))
  end
end

local function print_timing(profile)
  print("timing")
  span("queue", profile.queueStart, profile.queueEnd)
  span("redirects", profile.redirectStart, profile.redirectEnd)
  span("lookup", profile.domainLookUpStart, profile.domainLookUpEnd)
  span("connect", profile.connectStart, profile.connectEnd)
  span("tls", profile.SSLconnectionStart, profile.SSLconnectionEnd)
  span("request", profile.requestStart, profile.requestEnd)
  span("wait", profile.requestEnd, profile.responseStart)
  span("response", profile.responseStart, profile.responseEnd)
  span("total", profile.invokeStart, profile.responseEnd)
  print(string.format("  %s port %.0f%s, %.0f bytes out, %.0f bytes in",
    profile.peerIP, profile.port, profile.socketReused and " (reused)" or "",
    profile.sendBytesCount, profile.receivedBytedCount))
end

local status = 1

local function on_success(res)
  status = 0
  print((res.profile and res.profile.protocol or "HTTP") .. " " ..
    res.statusCode)
  print_headers(res.header)
  if res.profile then
    print("")
    print_timing(res.profile)
  end
  print("")
  io.write(tostring(res.data))
  io.flush()
end

local function on_fail(res)
  io.stderr:write(res.errMsg, " (errno ", tostring(res.errno), ")\n")
end

net.request{
  url = url,
  method = method,
  data = data,
  header = { ["content-type"] = content_type() },
  dataType = "text",
  enableHttp2 = true,
  success = on_success,
  fail = on_fail,
}
net.run()
net.close()
os.exit(status)
