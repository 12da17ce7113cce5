-- The sample code of the network API of Taro, in Lua. A promise's `then` is
-- called next(), as `then` is a word of Lua's own; what Taro awaits in an async
-- function is awaited in a coroutine. How it is run, and what demo is: see
-- demo.lua.

local demo = dofile((arg[0]:match("^(.*[/\\])") or "./") .. "demo.lua")
local console, sample = demo.console, demo.sample
local Taro = demo.platform "taro"

-- An async function.
local function async(f)
  return coroutine.wrap(f)
end

-- ---- Requests ---------------------------------------------------------------

sample("Taro.request", function()
  Taro.request {
    url = "test.php",
    data = {
      x = "",
      y = "",
    },
    header = {
      ["content-type"] = "application/json", -- the default
    },
    success = function(res)
      console.log(res.data)
    end,
  }
end, '"query":"x=&y="')

sample("await Taro.request", async(function()
  local params = { url = "test.php", data = { awaited = true } }
  local res = Taro.request(params):await()
  console.log(res.data)
end), '"query":"awaited=true"')

local function begin_request()
  return Taro.request {
    url = "test.php",
    data = {
      x = "",
      y = "",
    },
    header = {
      ["content-type"] = "application/json", -- the default
    },
    success = function(res)
      console.log(res.data)
    end,
    fail = function(err)
      console.log(err.errMsg)
    end,
  }
end

sample("RequestTask.abort", function()
  local requestTask = begin_request()
  requestTask:abort()
end, "^request:fail abort$")

sample("RequestTask as a promise", function()
  local requestTask = begin_request()
  requestTask:next(function(res)
    console.log("next", res.data)
  end, function(err)
    console.log("next", err.errMsg)
  end)
  requestTask:abort()
end, "^request:fail abort$", "^next request:fail abort$")

sample("RequestTask awaited", async(function()
  local params = { url = "test.php" }
  local requestTask = Taro.request(params)
  local res = requestTask:await()
  requestTask:abort() -- too late to change anything
  console.log("status", res.statusCode)
end), "^status 200$")

sample("RequestTask.onHeadersReceived, onChunkReceived", function()
  local requestTask = Taro.request {
    url = "chunks/3?size=5",
    enableChunked = true,
    complete = function(res)
      console.log(res.errMsg)
    end,
  }
  local bytes = 0
  requestTask:onHeadersReceived(function(res)
    console.log("the type is", res.header["Content-Type"])
  end)
  requestTask:onChunkReceived(function(res)
    bytes = bytes + res.data.byteLength
    console.log("bytes so far", bytes)
  end)
end, "^the type is application/octet%-stream", "^bytes so far 15$",
  "^request:ok$")

-- ---- Interceptors -----------------------------------------------------------

sample("Taro.addInterceptor", function()
  local url = "json"

  local function interceptor(chain)
    local requestParams = chain.requestParams
    local method, data = requestParams.method, requestParams.data

    console.log(("http %s --> %s data: "):format(method or "GET",
      requestParams.url), data)

    return chain:proceed(requestParams)
      :next(function(res)
        console.log(("http <-- %s result:"):format(requestParams.url), res.data)
        return res
      end)
  end
  Taro.addInterceptor(interceptor)
  Taro.request { url = url }
end, "^http GET %-%-> json data: ", '^http <%-%- json result: .*"hello"')

Taro.cleanInterceptors()

sample("Taro.interceptors", function()
  Taro.addInterceptor(Taro.interceptors.logInterceptor)
  Taro.addInterceptor(Taro.interceptors.timeoutInterceptor)
  Taro.request { url = "json" }
  Taro.request { url = "delay/10000", timeout = 100 }
    :catch(function(err) console.log("the second:", err.errMsg) end)
end, "^info: http GET %-%-> json data:", "^info: http <%-%- json result: 200",
  "^the second: request:fail timeout$")

sample("Taro.cleanInterceptors", function()
  Taro.cleanInterceptors()
  Taro.request {
    url = "json",
    success = function()
      console.log("nobody stood in between")
    end,
  }
end, "^nobody stood in between$")

-- ---- Downloads --------------------------------------------------------------

sample("Taro.downloadFile", function()
  Taro.downloadFile {
    url = demo.base .. "/audio/123",
    success = function(res)
      -- Whatever the server answers is written to the file and is a success:
      -- whether it is what was wanted is for the script to see.
      if res.statusCode == 200 then
        Taro.playVoice {
          filePath = res.tempFilePath,
        }
      end
    end,
  }
end, "playing a voice of 65536 bytes")

local function begin_download()
  local downloadTask = Taro.downloadFile {
    url = demo.base .. "/audio/123",
    success = function(res)
      Taro.playVoice {
        filePath = res.tempFilePath,
      }
    end,
    fail = function(err)
      console.log(err.errMsg)
    end,
  }

  downloadTask:onProgressUpdate(function(res)
    console.log("progress", res.progress)
    console.log("bytes written", res.totalBytesWritten)
    console.log("bytes to write", res.totalBytesExpectedToWrite)
  end)

  return downloadTask
end

sample("DownloadTask", begin_download, "^progress 100$",
  "^bytes written 65536$", "^bytes to write 65536$",
  "playing a voice of 65536 bytes")

sample("DownloadTask.abort", function()
  local downloadTask = begin_download()
  downloadTask:abort() -- ends the download
end, "^downloadFile:fail abort$")

-- ---- TCP --------------------------------------------------------------------

sample("TCPSocket", function()
  local tcp = Taro.createTCPSocket()

  tcp:onConnect(function()
    console.log("connected")
    tcp:write("hello, how are you")
  end)
  tcp:onMessage(function(res)
    console.log(("%d bytes over %s: %s"):format(res.remoteInfo.size,
      res.remoteInfo.family, tostring(res.message)))
    tcp:close()
  end)
  tcp:onClose(function()
    console.log("closed")
  end)
  tcp:onError(function(err)
    console.log("error", err.errMsg)
  end)
  tcp:connect { address = demo.host, port = demo.tcp }
end, "^connected$", "^18 bytes over IPv4: hello, how are you$", "^closed$")

demo.finish()
