-- Proxies that count who comes: see proxies.py.
--
--   local proxies = require "support.proxies"
--   setup(proxies.start); teardown(proxies.stop)
--   proxies.url("socks5h", "socks_auth", "user:pass-word@")
--   proxies.count("socks")  -- connections so far

local helper = require "helper"

local servers = helper.servers
local proxies = {}
local folder, pipe, ports

local function port_of(url)
  return url:match(":(%d+)$")
end

function proxies.start()
  folder = helper.temp_name() .. "-proxies"
  assert(helper.run("mkdir", folder).status == 0)
  pipe = assert(io.popen(
    ("exec /usr/bin/python3 spec/support/proxies.py '%s' %s %s '%s' '%s'")
      :format(folder, port_of(servers.proxy), port_of(servers.proxy_auth),
        servers.tls_dir .. "/valid.pem", servers.tls_dir .. "/valid.key"),
    "w"))
  helper.run_until(function()
    local file = io.open(folder .. "/ready")
    if file then file:close() end
    return file
  end, 20000, "the proxies")
  ports = {}
  for name, port in helper.read_file(folder .. "/ready"):gmatch(
    "(%S+) (%d+)\n") do
    ports[name] = port
  end
end

function proxies.stop()
  pipe:close()
  assert(helper.run("rm", "-r", folder).status == 0)
end

function proxies.url(scheme, name, login)
  return ("%s://%s127.0.0.1:%s"):format(scheme, login or "", ports[name])
end

function proxies.count(name)
  return #helper.read_file(folder .. "/" .. name)
end

return proxies
