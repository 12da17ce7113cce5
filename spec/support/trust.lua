-- A server with two keys, of which it shows the second from some moment on, and
-- the pins of both: see trust_server.py.
--
--   local trust = require "support.trust"
--   setup(trust.start); teardown(trust.stop)
--   trust.plain, trust.tls        urls of the server
--   trust.pins[1], trust.pins[2]  of its keys, as configure{pins=...} wants
--   trust.ca                      the text of the authority of both

local helper = require "helper"

local servers = helper.servers
local trust = { pins = {} }

local function run(...)
  local done = helper.run(...)
  assert(done.status == 0, done.err)
  return done.out
end

local function shell(text)
  return run("sh", "-c", text)
end

-- The pin of a key, as docs/security.md says to make it.
function trust.pin_of(key)
  return "sha256/" .. shell(("openssl pkey -in '%s' -pubout -outform der |"
    .. " openssl dgst -sha256 -binary | openssl base64 -A"):format(key))
end

-- A certificate of the specs' authority; its path without the extension.
local function certificate(name)
  local path = helper.temp_name() .. "-" .. name
  local tls = servers.tls_dir
  run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" .. name,
    "-keyout", path .. ".key", "-out", path .. ".csr")
  helper.write_file(path .. ".ext",
    "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
  run("openssl", "x509", "-req", "-in", path .. ".csr", "-CA",
    tls .. "/ca.pem", "-CAkey", tls .. "/ca.key", "-set_serial",
    tostring(math.random(1, 2 ^ 30)), "-days", "2", "-extfile", path .. ".ext",
    "-out", path .. ".pem")
  return path
end

local pipe
local paths

function trust.start()
  paths = { certificate("first"), certificate("second") }
  trust.pins = { trust.pin_of(paths[1] .. ".key"),
    trust.pin_of(paths[2] .. ".key") }
  trust.ca = helper.read_file(servers.ca)
  pipe = assert(io.popen(("/usr/bin/python3 spec/support/trust_server.py"
    .. " %s.pem %s.key %s.pem %s.key </dev/null"):format(paths[1], paths[1],
    paths[2], paths[2])))
  local plain, tls = pipe:read("*l"):match("^(%d+) (%d+)$")
  trust.plain = "http://127.0.0.1:" .. plain
  trust.tls = "https://127.0.0.1:" .. tls
  trust.port = tonumber(tls)
end

function trust.ask(path)
  return helper.ask(trust.plain .. path)
end

function trust.stop()
  trust.ask("/quit")
  pipe:close()
  for _, path in ipairs(paths) do
    for _, kind in ipairs { "key", "csr", "ext", "pem" } do
      os.remove(path .. "." .. kind)
    end
  end
end

return trust
