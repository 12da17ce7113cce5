-- Resources whose answers a test writes, for specs of the HTTP cache, and ports
-- that a test closes: see scripted.py.
--
--   local page = cached.resource { { headers = { ["Cache-Control"] =
--     "max-age=60" }, body = "one" }, { body = "two" } }
--   page:get()                          -- its result, with cache="default"
--   page:get { cache = "reload" }
--   page:asked()                        -- how often the server was
--   cached.same(page:get(), "one", "hit")

local helper = require "helper"
local residue = require "support.residue"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local cached = {}

-- Lists of pairs, which JSON keeps in order; a list as a value is a repeated
-- field.
local function pairs_of(headers)
  local list = net.array {}
  for name, value in pairs(headers or {}) do
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      list[#list + 1] = net.array { name, one }
    end
  end
  return list
end

local function script_of(answers)
  local list = net.array {}
  for i, answer in ipairs(answers) do
    list[i] = wire.with(answer, { headers = pairs_of(answer.headers) })
  end
  return list
end

local Resource = {}
Resource.__index = Resource

-- Another script for it, from the first answer on.
function Resource:play(answers)
  wire.get { url = wire.url("/script", { of = self.key }), method = "PUT",
    data = script_of(answers) }
end

-- A resource with those answers, at the server or at a door.
function cached.resource(answers, server)
  local key = wire.key()
  local resource = setmetatable({ key = key,
    url = wire.url("/scripted", { key = key }, server) }, Resource)
  resource:play(answers)
  return resource
end

function Resource:options(more)
  return wire.with({ url = self.url, cache = "default", dataType = "text" },
    more or {})
end

function Resource:get(more) return wire.get(self:options(more)) end

function Resource:fail(more) return wire.fail(self:options(more)) end

-- The requests that came, in order.
function Resource:seen() return wire.seen(self.key) end

function Resource:asked() return #self:seen() end

-- The values of that field in the nth request.
function Resource:sent(n, name) return wire.values(self:seen()[n], name) end

-- That a result has this body, and came from the cache in that way; nil: not.
function cached.same(res, body, how)
  local got = ("%s from %s"):format(tostring(res.data),
    tostring(res.profile.cache))
  local want = ("%s from %s"):format(body, tostring(how))
  if got ~= want then
    error(("expected %q, got %q"):format(want, got), 2)
  end
end

-- ---- Answers ----------------------------------------------------------------

cached.HOUR = "max-age=3600"

function cached.fresh(body, more)
  return wire.with({ body = body,
    headers = { ["Cache-Control"] = cached.HOUR } }, more or {})
end

-- Stale at once, unless it is said otherwise, and can be asked about.
function cached.stale(body, tag, control)
  return { body = body, headers = { ETag = ('"%s"'):format(tag),
    ["Cache-Control"] = control or "max-age=0" } }
end

function cached.unmodified(headers)
  return { status = 304, headers = headers or {} }
end

-- ---- Ports ------------------------------------------------------------------

local Door = {}
Door.__index = Door

local function ask(path, port)
  return helper.ask(wire.url(path, { port = port }))
end

-- A server of this test alone: `url`, door:accepted(), door:close().
function cached.door()
  local port = tonumber(helper.ask(servers.fault.http .. "/door"))
  return setmetatable({ port = port,
    url = ("http://127.0.0.1:%d"):format(port) }, Door)
end

function Door:accepted() return tonumber(ask("/door-count", self.port)) end

function Door:close() ask("/door-close", self.port) end

-- ---- Tests ------------------------------------------------------------------

-- For after_each.
function cached.finish()
  net.configure { cacheDir = false, cacheMaxBytes = 16 * 1024 * 1024 }
  helper.verify()
  residue.check_stats()
end

return cached
