-- The sample code of the network API of FinClip, in Lua. How it is run, and
-- what demo is: see demo.lua.

local demo = dofile((arg[0]:match("^(.*[/\\])") or "./") .. "demo.lua")
local console, sample = demo.console, demo.sample
local ft = demo.platform "ft"

-- ---- Requests ---------------------------------------------------------------

sample("ft.request", function()
  ft.request {
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

sample("RequestTask.abort", function()
  local task = ft.request {
    url = "delay/10000",
    complete = function(res)
      console.log(res.errMsg)
    end,
  }
  -- ends the request
  task:abort()
end, "^request:fail abort$")

sample("RequestTask.onHeadersReceived, offHeadersReceived", function()
  local task = ft.request {
    url = "json",
    success = function(res)
      console.log("success", res.statusCode)
    end,
  }
  local function unwanted()
    error("this listener was taken off")
  end
  task:onHeadersReceived(function(res)
    console.log("the type is", res.header["Content-Type"])
  end)
  task:onHeadersReceived(unwanted)
  task:offHeadersReceived(unwanted)
end, "^the type is application/json", "^success 200$")

-- ---- Downloads --------------------------------------------------------------

sample("ft.downloadFile", function()
  ft.downloadFile {
    url = demo.base .. "/audio/123",
    success = function(res)
      -- Whatever the server answers is written to the file and is a success:
      -- whether it is what was wanted is for the script to see.
      if res.statusCode == 200 then
        ft.playVoice {
          filePath = res.tempFilePath,
        }
      end
    end,
  }
end, "playing a voice of 65536 bytes")

sample("DownloadTask.onProgressUpdate", function()
  local page = {
    setData = function(_, data)
      console.log("progress", data.progress)
    end,
  }
  local task = ft.downloadFile {
    url = demo.base .. "/audio/123",
  }
  -- watches it
  task:onProgressUpdate(function(res)
    page:setData {
      progress = res.progress,
    }
  end)
end, "^progress 100$")

-- ---- Uploads ----------------------------------------------------------------

sample("ft.uploadFile", function()
  ft.chooseImage {
    success = function(res)
      local tempFilePaths = res.tempFilePaths
      ft.uploadFile {
        url = demo.base .. "/upload",
        filePath = tempFilePaths[1],
        name = "file",
        formData = {
          user = "test",
        },
        success = function(answer)
          local data = answer.data
          -- do something
          console.log(data)
        end,
      }
    end,
  }
end, '"name":%s*"file"', '"name":%s*"user"')

sample("UploadTask.onProgressUpdate, onHeadersReceived", function()
  ft.chooseImage {
    success = function(res)
      local task = ft.uploadFile {
        url = demo.base .. "/upload",
        filePath = res.tempFilePaths[1],
        name = "file",
      }
      -- watches it
      task:onProgressUpdate(function(update)
        console.log("progress", update.progress)
      end)
      task:onHeadersReceived(function(answer)
        console.log("the type is", answer.header["Content-Type"])
      end)
    end,
  }
end, "^progress 100$", "^the type is application/json")

-- ---- WebSocket --------------------------------------------------------------

sample("ft.sendSocketMessage", function()
  local socketOpen = false
  local socketMsgQueue = {}
  ft.connectSocket {
    url = "test.php",
  }

  local function sendSocketMessage(msg)
    if socketOpen then
      ft.sendSocketMessage {
        data = msg,
      }
    else
      socketMsgQueue[#socketMsgQueue + 1] = msg
    end
  end

  ft.onSocketOpen(function()
    socketOpen = true
    for i = 1, #socketMsgQueue do
      sendSocketMessage(socketMsgQueue[i])
    end
    socketMsgQueue = {}
  end)

  ft.onSocketMessage(function(res)
    console.log("from the server:", res.data)
    if res.data == "last" then
      ft.closeSocket()
    end
  end)

  sendSocketMessage "first"
  sendSocketMessage "last"
end, "^from the server: first$", "^from the server: last$")

ft.offSocketOpen()
ft.offSocketMessage()

sample("ft.connectSocket", function()
  local task = ft.connectSocket {
    url = demo.ws .. "/",
    header = {
      ["content-type"] = "application/json",
    },
    protocols = { "echo" },
  }
  task:onOpen(function(res)
    console.log("open, with", res.header["Sec-WebSocket-Protocol"])
    task:close()
  end)
end, "^open, with echo$")

sample("ft.closeSocket", function()
  ft.connectSocket {
    url = "test.php",
  }

  -- Mind the order: closeSocket() before onSocketOpen closes nothing. It has to
  -- be called while the WebSocket is open.
  ft.closeSocket {
    fail = function(err)
      console.log(err.errMsg)
    end,
  }
  ft.onSocketOpen(function()
    ft.closeSocket()
  end)

  ft.onSocketClose(function(res)
    console.log("the WebSocket is closed,", res.code)
  end)
end, "^closeSocket:fail ", "^the WebSocket is closed, 1000$")

ft.offSocketOpen()
ft.offSocketClose()

-- ---- UDP --------------------------------------------------------------------

sample("ft.createUDPSocket", function()
  local udp = ft.createUDPSocket()

  udp:onListening(function()
    console.log("listening")
  end)
  udp:onMessage(function(res)
    console.log(("%d bytes from %s: %s"):format(res.remoteInfo.size,
      res.remoteInfo.family, tostring(res.message)))
    if tostring(res.message) == "by write" then
      udp:close()
    else
      udp:connect { address = demo.host, port = demo.udp }
      -- The address has to be there although the socket is connected.
      udp:write { address = demo.host, port = demo.udp, message = "by write" }
    end
  end)
  udp:onClose(function()
    console.log("closed")
    udp:send { address = demo.host, port = demo.udp, message = "too late" }
  end)
  udp:onError(function(err)
    console.log("error", err.errCode)
  end)

  local port = udp:bind()
  console.log("bound to a free port:", port > 0)
  udp:setTTL(64)
  udp:send { address = demo.host, port = demo.udp, message = "by send" }
end, "^bound to a free port: true$", "^listening$",
  "^7 bytes from IPv4: by send$", "^8 bytes from IPv4: by write$", "^closed$",
  "^error %-1$")

demo.finish()
