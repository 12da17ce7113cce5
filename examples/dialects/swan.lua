-- The sample code of the network API of Baidu's smart programs, in Lua. How it
-- is run, and what demo is: see demo.lua.

local demo = dofile((arg[0]:match("^(.*[/\\])") or "./") .. "demo.lua")
local console, sample = demo.console, demo.sample
local swan = demo.platform "swan"

sample("swan.request", function()
  swan.request {
    url = "/example/abc",
    method = "GET",
    dataType = "json",
    data = {
      key1 = "value1",
      key2 = {},
    },
    header = {
      ["content-type"] = "application/json", -- the default
    },
    success = function(res)
      console.log(res.data)
    end,
    fail = function(err)
      console.log("error code: " .. err.errCode)
      console.log("error message: " .. err.errMsg)
    end,
  }
end, '"query":"key1=value1&key2=')

sample("swan.request that fails", function()
  swan.request {
    url = "nowhere://example",
    success = function(res)
      console.log(res.data)
    end,
    fail = function(err)
      console.log("error code: " .. err.errCode)
      console.log("error message: " .. err.errMsg)
    end,
  }
end, "^error code: ", "^error message: request:fail ")

sample("swan.uploadFile", function()
  swan.chooseImage {
    success = function(res)
      swan.uploadFile {
        url = demo.base .. "/upload",
        filePath = res.tempFilePaths[1],
        name = "myfile",
        success = function(answer)
          console.log(answer.statusCode)
        end,
        fail = function(err)
          console.log("error code: " .. err.errCode)
          console.log("error message: " .. err.errMsg)
        end,
      }
    end,
  }
end, "^200$")

local function upload_with_progress(watch)
  swan.chooseImage {
    success = function(chosen)
      local uploadTask = swan.uploadFile {
        url = demo.base .. "/upload",
        filePath = chosen.tempFilePaths[1],
        name = "myfile",
        success = function(res)
          console.log(res.statusCode)
        end,
        fail = function(err)
          console.log("error code: " .. err.errCode)
          console.log("error message: " .. err.errMsg)
        end,
      }

      uploadTask:onProgressUpdate(function(res)
        console.log("progress", res.progress)
        console.log("bytes sent", res.totalBytesSent)
        console.log("bytes to send", res.totalBytesExpectedToSend)
      end)

      watch(uploadTask)
    end,
  }
end

sample("uploadTask", function()
  upload_with_progress(function() end)
end, "^progress 100$", "^bytes sent 20%d%d%d", "^bytes to send 20%d%d%d",
  "^200$")

sample("uploadTask.abort", function()
  upload_with_progress(function(uploadTask)
    uploadTask:abort()
  end)
end, "^error message: uploadFile:fail abort$")

sample("swan.downloadFile", function()
  swan.downloadFile {
    url = demo.base .. "/audio/123",
    success = function(res)
      -- It was downloaded.
      if res.statusCode == 200 then
        console.log("temporary file " .. res.tempFilePath)
      end
    end,
    fail = function(err)
      console.log("error code: " .. err.errCode)
      console.log("error message: " .. err.errMsg)
    end,
  }
end, "^temporary file .+%.mp3$")

local function download_with_progress()
  local downloadTask = swan.downloadFile {
    url = demo.base .. "/audio/123",
    success = function(res)
      console.log(res.tempFilePath)
    end,
    fail = function(err)
      console.log("error code: " .. err.errCode)
      console.log("error message: " .. err.errMsg)
    end,
  }

  downloadTask:onProgressUpdate(function(res)
    console.log("progress", res.progress)
    console.log("bytes written", res.totalBytesWritten)
    console.log("bytes to write", res.totalBytesExpectedToWrite)
  end)

  return downloadTask
end

sample("downloadTask", download_with_progress, "^progress 100$",
  "^bytes written 65536$", "^bytes to write 65536$", "%.mp3$")

sample("downloadTask.abort", function()
  download_with_progress():abort()
end, "^error message: downloadFile:fail abort$")

sample("swan.connectSocket and the global functions", function()
  swan.connectSocket {
    url = demo.ws .. "/",
  }

  swan.onSocketOpen(function()
    console.log("the WebSocket is open")
    swan.sendSocketMessage {
      data = "this is swan",
      complete = function()
        console.log(os.time() .. "    :i am complete")
      end,
    }
  end)

  swan.onSocketError(function()
    console.log("the WebSocket could not be opened")
  end)

  swan.onSocketMessage(function(res)
    console.log("from the server: " .. res.data)
    swan.closeSocket {
      code = 1001,
      reason = "somebody cut the cable",
      success = function()
        console.log("the WebSocket closes")
      end,
    }
  end)

  swan.onSocketClose(function()
    console.log("the WebSocket is closed")
  end)
end, "^the WebSocket is open$", ":i am complete$",
  "^from the server: this is swan$", "^the WebSocket closes$",
  "^the WebSocket is closed$")

swan.offSocketOpen()
swan.offSocketError()
swan.offSocketMessage()
swan.offSocketClose()

sample("swan.onSocketError", function()
  swan.connectSocket {
    url = demo.ws .. "/ws/refuse",
  }
  swan.onSocketOpen(function()
    console.log("the WebSocket is open")
  end)
  swan.onSocketError(function()
    console.log("the WebSocket could not be opened")
  end)
end, "^the WebSocket could not be opened$")

swan.offSocketOpen()
swan.offSocketError()

sample("SocketTask, and one connection at a time", function()
  local first = swan.connectSocket { url = demo.ws .. "/",
    protocolsArray = { "chat" } }

  first:onOpen(function()
    first:send { data = "hello" }
  end)
  first:onMessage(function(res)
    console.log("the first one got " .. res.data)
    -- The newest connection replaces the one that there is.
    local second = swan.connectSocket { url = demo.ws .. "/" }
    second:onOpen(function()
      console.log("the second one is open")
      second:close()
    end)
    second:onError(function(err)
      console.log("error message: " .. err.errMsg)
    end)
  end)
  first:onClose(function(res)
    console.log("the first one is closed", res.code, res.reason)
  end)
end, "^the first one got hello$", "^the first one is closed 1000 replaced$",
  "^the second one is open$")

demo.finish()
