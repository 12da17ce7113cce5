-- Proxies as they are: tinyproxy, also behind TLS, and dante; for each kind of
-- task, with and without a password. Who may bring one, and what is checked
-- behind it, is in policy_spec.lua.

local helper = require "helper"
local proxies = require "support.proxies"
local sockets = require "support.sockets"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local fault = servers.fault

local LOGIN = "user:pass-word@"

-- scheme, front, and the front that wants a password
local KINDS = {
  { "http", "http", "http_auth" },
  { "https", "https", "https_auth" },
  { "socks5", "socks", "socks_auth" },
  { "socks5h", "socks", "socks_auth" },
}

local function reset()
  net.configure { proxy = false }
  sockets.verify()
end

-- Runs f, which must make exactly so many connections to that front.
local function counted(name, wanted, f)
  local before = proxies.count(name)
  f()
  assert.equal(wanted, proxies.count(name) - before)
end

local function body(url, proxy)
  return wire.get { url = url .. "/respond?body=there", dataType = "text",
    proxy = proxy }.data
end

-- A message there and back.
local function echo(url, proxy)
  local socket = sockets.open { url = url .. "/ws/echo", proxy = proxy }
  socket.task:send { data = "hello" }
  sockets.wait_messages(socket, 1)
  assert.equal("hello", socket.messages[1])
  sockets.close(socket)
end

local function failure(url, proxy)
  return helper.fetch { url = url .. "/", proxy = proxy }
end

describe("a proxy of kind", function()
  setup(function()
    proxies.start()
    net.configure { caFile = servers.ca }
  end)
  after_each(reset)
  teardown(proxies.stop)

  for _, kind in ipairs(KINDS) do
    local scheme, open, auth = kind[1], kind[2], kind[3]

    for _, case in ipairs { { open, nil }, { auth, LOGIN } } do
      local front, login = case[1], case[2]
      local how = login and " with a password" or ""

      it(scheme .. " leads http and https" .. how, function()
        for _, url in ipairs { fault.http, fault.https } do
          counted(front, 1, function()
            assert.equal("there", body(url, proxies.url(scheme, front,
              login)))
          end)
        end
      end)

      it(scheme .. " leads ws and wss" .. how, function()
        for _, url in ipairs { fault.ws, fault.wss } do
          counted(front, 1, function()
            echo(url, proxies.url(scheme, front, login))
          end)
        end
      end)
    end

    it(scheme .. " may be the host's choice", function()
      net.configure { proxy = proxies.url(scheme, auth, LOGIN) }
      counted(auth, 3, function()
        assert.equal("there", body(fault.http))
        assert.equal("there", body(fault.https))
        echo(fault.wss)
      end)
      counted(auth, 0, function()
        assert.equal("there", body(fault.https, ""))
      end)
    end)

    it(scheme .. " refuses who has no password, or another", function()
      for _, login in ipairs { "", "user:wrong@", "nobody:pass-word@" } do
        local proxy = proxies.url(scheme, auth, login)
        local record = failure(fault.https, proxy)
        helper.check_failure(record, "-130:net::ERR_PROXY_CONNECTION_FAILED",
          600001, -130)
        local socket = sockets.start { url = fault.wss .. "/ws/echo",
          proxy = proxy }
        helper.run_until(function() return socket.done end)
        assert.equal(0, #socket.opens)
        assert.equal(-130, socket.errors[1].errCode)
      end
    end)
  end

  it("http tells of a refusal as the answer that it is", function()
    local proxy = proxies.url("http", "http_auth", "user:wrong@")
    assert.equal(401, failure(fault.http, proxy).success.statusCode)
  end)

  it("socks5h looks up names, and https verifies its own", function()
    local named = fault.https:gsub("127%.0%.0%.1", "localhost")
    assert.equal("there", body(named, proxies.url("socks5h", "socks")))
    net.configure { caFile = servers.tls_dir .. "/selfsigned.pem" }
    local record = failure(fault.http, proxies.url("https", "https"))
    net.configure { caFile = servers.ca }
    assert.equal(-202, record.fail.errCode)
  end)
end)
