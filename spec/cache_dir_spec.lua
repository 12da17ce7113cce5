-- The folder of the HTTP cache: from one context to the next, between
-- processes, and through whatever ends one of them or spoils a file.

local helper = require "helper"
local cached = require "support.cached"
local files = require "support.files"
local wire = require "support.wire"

local net, servers = helper.net, helper.servers
local resource, same, fresh = cached.resource, cached.same, cached.fresh

local MIB = 1024 * 1024

-- With all the time that a slow disk may want.
local function close()
  net.close(20000)
end

-- What a script in another process begins with.
local CHILD = [[
  local net = require "nettask"
  local function get(options)
    local res
    options.dataType = options.dataType or "text"
    options.cache = options.cache or "default"
    options.complete = function(r) res = r end
    net.request(options)
    assert(net.run(20000))
    return res
  end
]]

local function child(script, ...)
  return helper.lua(CHILD .. script, ...)
end

local function output(script, ...)
  local result = child(script, ...)
  assert.equal("", result.err)
  return result.out
end

-- Paths of all files in the folder, those of folders in it too.
local function all_files(folder)
  local list = {}
  for path in files.shell("find", folder, "-type", "f"):gmatch("[^\n]+") do
    list[#list + 1] = path
  end
  return list
end

-- A page that is known by its number, of so many bytes.
local function noise(number, size)
  return wire.url("/noise", { { "h", "Cache-Control: max-age=3600" },
    { "bytes", size or 30000 }, { "seed", number } })
end

local function is_there(page)
  local record = helper.fetch(page:options { cache = "only-if-cached" })
  return record.success ~= nil
end

describe("cacheDir", function()
  local folder

  before_each(function()
    folder = files.folder() .. "/cache"
    net.configure { cacheDir = folder }
  end)

  after_each(function()
    cached.finish()
    close()
  end)

  it("keeps answers from one context to the next", function()
    local page = resource { fresh "one", fresh "two" }
    same(page:get(), "one", nil)
    same(page:get(), "one", "hit")
    close()
    same(page:get(), "one", "hit")
    assert.equal(1, page:asked())
  end)

  it("is for this user alone", function()
    resource({ fresh "one" }):get()
    close()
    assert.equal("700\n", files.shell("stat", "-c", "%a", folder))
    for _, path in ipairs(all_files(folder)) do
      assert.equal("600\n", files.shell("stat", "-c", "%a", path))
    end
  end)

  it("shows another process what the first has stored", function()
    local page = resource { fresh "one", fresh "two" }
    assert.equal("one nil\n", output([[
      local dir, url = ...
      net.configure { cacheDir = dir }
      local res = get { url = url }
      print(res.data .. " " .. tostring(res.profile.cache))
      os.exit(0)]], folder, page.url))
    same(page:get(), "one", "hit")
    -- And the other way round, while this one has it open.
    local other = resource { fresh "this", fresh "that" }
    other:get()
    helper.run_until(function()
      return output([[
        local dir, url = ...
        net.configure { cacheDir = dir }
        print(get({ url = url, cache = "only-if-cached" }).data)]],
        folder, other.url) == "this\n"
    end)
    assert.equal(1, page:asked())
    assert.equal(1, other:asked())
  end)

  it("is used by several processes at once", function()
    local WORK = CHILD .. [[
      local dir, base = ...
      net.configure { cacheDir = dir }
      for round = 1, 3 do
        for i = 1, 20 do
          local res = get { url = base .. "&seed=" .. i,
            cache = round == 2 and "reload" or "default" }
          assert(res.statusCode == 200 and #res.data == 20000, res.errMsg)
        end
      end
      print "done"]]
    local base = wire.url("/noise", { { "h", "Cache-Control: max-age=3600" },
      { "bytes", 20000 } })
    local script = helper.write_file(helper.temp_name(), WORK)
    local result = helper.run("sh", "-c", [[
      for i in 1 2 3; do env LD_PRELOAD="$4" "$1" "$2" "$3" "$5" & done
      wait]], "sh", os.getenv("NETTASK_TEST_LUA"), script, folder,
      os.getenv("NETTASK_TEST_PRELOAD") or "", base)
    assert.equal("", result.err)
    assert.equal("done\ndone\ndone\n", result.out)
    for i = 1, 20 do
      local res = wire.get { url = base .. "&seed=" .. i, dataType = "text",
        cache = "only-if-cached" }
      assert.is_true(res.data == helper.ask(wire.url("/noise",
        { bytes = 20000, seed = i })))
    end
  end)

  it("has the right bytes or none when the process was killed", function()
    local result = child([[
      local dir, base = ...
      net.configure { cacheDir = dir }
      local stored = 0
      for i = 1, 40 do
        net.request { url = base .. "&seed=" .. i, cache = "default",
          dataType = "arraybuffer",
          success = function() stored = stored + 1 end }
      end
      while stored < 20 do
        net.wait(100)
        net.update()
      end
      os.execute("kill -9 $PPID")
      while true do end]], folder, (noise(1):gsub("&seed=.*", "")))
    assert.equal(137, result.status, result.err)
    for i = 1, 40 do
      local options = { url = noise(i), cache = "only-if-cached",
        responseType = "arraybuffer" }
      local record = helper.fetch(options)
      if record.success then
        local right = wire.get { url = noise(i), responseType = "arraybuffer" }
        assert.is_true(record.success.data == right.data)
      end
    end
    -- What is there can be used, and what comes is stored.
    local page = resource { fresh "one" }
    page:get()
    close()
    same(page:get(), "one", "hit")
  end)

  it("that is damaged is begun anew", function()
    local page = resource { fresh "one", fresh "two", fresh "three" }
    page:get()
    close()
    for _, path in ipairs(all_files(folder)) do
      helper.write_file(path, ("no database "):rep(1000))
    end
    same(page:get(), "two", nil)
    close()
    same(page:get(), "two", "hit")
  end)

  -- Does that to one file at a time, each of those that there are then.
  local function spoil(how)
    local page = resource { fresh("", { bytes = 200000 }) }
    local text = page:get().data
    close()
    local paths = all_files(folder)
    assert.is_true(#paths > 1) -- a database, and the body beside it
    for i = 1, 4 do
      if not paths[i] then break end
      helper.write_file(paths[i], how(helper.read_file(paths[i])))
      assert.is_true(page:get().data == text)
      close()
      paths = all_files(folder)
    end
  end

  it("gives no wrong bytes when a file was cut off", function()
    for _, part in ipairs { 0.5, 0 } do
      spoil(function(whole)
        return whole:sub(1, math.floor(#whole * part))
      end)
    end
  end)

  it("gives no wrong bytes when a file was changed", function()
    for _, part in ipairs { 0.9, 0.1 } do
      spoil(function(whole)
        local at = math.floor(#whole * part)
        return whole:sub(1, at) .. ("?"):rep(1000) .. whole:sub(at + 1001)
      end)
    end
  end)

  it("is used no more when it has been removed", function()
    local page = resource { fresh "one", fresh "two" }
    page:get()
    close()
    files.shell("rm", "-r", folder)
    same(page:get(), "two", nil)
    same(page:get(), "two", "hit")
  end)

  it("that may only be read costs no request", function()
    net.configure { cacheDir = false } -- it is another process's
    assert(helper.run("mkdir", folder).status == 0)
    assert(helper.run("chmod", "500", folder).status == 0)
    local page = resource { fresh "one" }
    local result = files.child(files.unprivileged, [[
      local dir, url = ...
      net.configure { cacheDir = dir }
      -- It is in memory once the disk has said no.
      helper.run_until(function()
        local record = helper.fetch { url = url, cache = "default",
          dataType = "text" }
        assert(record.success.data == "one")
        return record.success.profile.cache == "hit"
      end)
      net.close(20000)
      print "ok"]], folder, page.url)
    assert.equal("", result.err)
    assert.equal("ok\n", result.out)
    assert.same({}, files.list(folder))
  end)

  it("that is no folder costs no request", function()
    helper.write_file(folder, "a file")
    local page = resource { fresh "one" }
    helper.run_until(function() return page:get().profile.cache == "hit" end)
    close()
    assert.equal("a file", helper.read_file(folder))
  end)

  it("that is full costs no request", function()
    local disk = files.folder()
    local result = files.child(files.small_disk(disk, "512k"), [[
      local dir, base = ...
      net.setLogger(function() end)
      net.configure { cacheDir = dir }
      for i = 1, 30 do
        local record = helper.fetch { url = base .. "&seed=" .. i,
          cache = "default", responseType = "arraybuffer" }
        assert(record.success and #record.success.data == 30000)
      end
      net.close(20000)
      print "ok"]], disk .. "/cache", (noise(1):gsub("&seed=.*", "")))
    assert.equal("", result.err)
    assert.equal("ok\n", result.out)
  end)

  it("is no larger than cacheMaxBytes, and what was used last stays", function()
    net.configure { cacheMaxBytes = MIB }
    local pages = {}
    for i = 1, 12 do
      pages[i] = resource { fresh("", { bytes = 150000 }) }
      pages[i]:get()
      same(pages[1]:get(), pages[1]:get().data, "hit")
    end
    close()
    local total = 0
    for _, path in ipairs(all_files(folder)) do
      total = total + files.size(path)
    end
    assert.is_true(total < 2 * MIB, ("%d bytes on disk"):format(total))
    assert.is_true(is_there(pages[1]))
    assert.is_false(is_there(pages[2]))
    assert.is_true(is_there(pages[12]))
  end)

  it("has what is too large for memory", function()
    net.configure { cacheMaxBytes = 100 * MIB }
    local size = 6 * MIB
    local page = resource { fresh("", { bytes = size }), fresh "two" }
    local options = { responseType = "arraybuffer" }
    local first = page:get(options)
    assert.equal(size, #first.data)
    close()
    local res = page:get(options)
    assert.equal("hit", res.profile.cache)
    assert.is_true(res.data == first.data)
    -- In pieces, with the host held back meanwhile.
    net.pause()
    local record = helper.start(page:options { enableChunked = true })
    helper.run_until(function()
      return net.stats().queuedBytes >= MIB
    end)
    assert.is_true(net.stats().queuedBytes < 4 * MIB)
    net.resume()
    helper.finish(record)
    local parts = {}
    for i, chunk in ipairs(record.chunks) do parts[i] = tostring(chunk) end
    assert.is_true(table.concat(parts) == tostring(first.data))
    assert.equal("hit", record.success.profile.cache)
    assert.equal(1, page:asked())
  end)

  it("that is another one is another cache", function()
    local page = resource { fresh "one", fresh "two" }
    page:get()
    net.configure { cacheDir = folder .. "-2" }
    same(page:get(), "two", nil)
    net.configure { cacheDir = folder }
    same(page:get(), "one", "hit")
    net.configure { userAgent = false }
    same(page:get(), "one", "hit")
  end)

  it("forgets for good what is cleared", function()
    local page = resource { fresh "one" }
    local other = resource { fresh "two" }
    page:get()
    other:get()
    close()
    assert.is_true(net.cache.clear(page.url))
    close()
    assert.is_false(is_there(page))
    assert.is_true(is_there(other))
    assert.is_true(net.cache.clear())
    close()
    assert.is_false(is_there(other))
  end)

  it("learns no secret of a request, and no password", function()
    local host = servers.fault.http
    net.secrets.set("key", { value = "k3y-oF_the.host", hosts = { host } })
    local page = resource { { body = "one", headers = {
      ["Cache-Control"] = cached.HOUR, Vary = "X-Token, Cookie" } },
      fresh "two" }
    local function get(key, cookie)
      return page:get { url = page.url:gsub("//", "//ann:pass-word@"),
        header = { ["X-Token"] = key, Cookie = cookie } }
    end
    same(get(net.secret "key", "id=s3ssion"), "one", nil)
    same(get(net.secret "key", "id=s3ssion"), "one", "hit")
    close()
    for _, path in ipairs(all_files(folder)) do
      local text = helper.read_file(path)
      for _, secret in ipairs { "k3y-oF_the.host", "pass-word", "s3ssion",
        "YW5uOnBhc3Mtd29yZA" } do
        assert.is_nil(text:find(secret, 1, true), secret .. " in " .. path)
      end
    end
    same(get(net.secret "key", "id=other"), "two", nil)
    net.secrets.remove "key"
  end)

  it("keeps what a POST has made invalid from every process", function()
    local page = resource { fresh "one", { status = 200 }, fresh "two" }
    page:get()
    page:get { method = "POST" }
    close()
    assert.is_false(is_there(page))
  end)

  it("is written by a process that just ends", function()
    local page = resource { fresh "one", fresh "two" }
    assert.equal("one\n", output([[
      local dir, url = ...
      net.configure { cacheDir = dir }
      io.write(get({ url = url }).data, "\n")
      os.exit(0)]], folder, page.url))
    same(page:get(), "one", "hit")
  end)

  it("needs no connection", function()
    local door = cached.door()
    local page = resource({ fresh "one" }, door.url)
    page:get()
    close()
    door:close()
    same(page:get(), "one", "hit")
    assert.equal(-102, page:fail { cache = "reload" }.errCode)
  end)
end)
