---@meta nettask

-- Types of the whole public API, for lua-language-server and its like. Nothing
-- here runs.

---The module table. There is one for a Lua state.
---@class nettask
---@field _VERSION string `"nettask x.y.z"`
---@field features nettask.Features
---@field null nettask.Null JSON null: not nil, so that it can lie in a table
local nettask = {}

---Versions of what the module is built on, and what it can do.
---@class nettask.Features
---@field nettask string
---@field libuv string
---@field libcurl string
---@field tls string `""` without TLS
---@field libwebsockets false it serves the demo, and is not part of the module
---@field http2 boolean
---@field http3 boolean
---@field brotli boolean
---@field zstd boolean
---@field idn boolean international domain names
---@field mdns boolean
---@field cache boolean

-- ---- Values -----------------------------------------------------------------

---@class nettask.Null: userdata

---A block of bytes that never changes. `tostring(b)` gives the bytes, `#b`
---their number, `==` compares them, `..` with a string gives a string.
---@class nettask.Buffer: userdata
---@field byteLength integer
---@operator len: integer
---@operator concat(string|nettask.Buffer): string
local Buffer = {}

---The bytes from i to j, with the indices of string.sub.
---@param i? integer default 1
---@param j? integer default -1
---@return string
function Buffer:sub(i, j) end

---The same bytes as a Buffer of their own.
---@param i? integer default 1
---@param j? integer default -1
---@return nettask.Buffer
function Buffer:slice(i, j) end

---Makes a Buffer of the bytes.
---@param bytes string|nettask.Buffer
---@return nettask.Buffer
function nettask.buffer(bytes) end

---Marks a table as an array, so that JSON writes an empty one as `[]`.
---@generic T
---@param list? T[] default a new table
---@return T[] list the same table
function nettask.array(list) end

-- ---- Frames -----------------------------------------------------------------

---Runs the callbacks of what has happened, on the calling Lua thread. Once a
---frame. Without a budget it delivers all that had arrived when it was called.
---Raises inside a callback.
---@param budgetMs? number no new callback begins once this is spent
---@param maxEvents? integer
---@return integer delivered
---@return integer waiting events left for the next call
function nettask.update(budgetMs, maxEvents) end

---Sleeps and updates until no task is in flight: for scripts and tools.
---Raises inside a callback.
---@param timeoutMs? number
---@return boolean done false when the time is over, or delivery is paused
function nettask.run(timeoutMs) end

---Sleeps until an event is ready, and delivers nothing: for tools that have
---nothing to draw.
---@param timeoutMs? number
---@return boolean ready
function nettask.wait(timeoutMs) end

---@class nettask.KindStats
---@field idle integer
---@field queued integer
---@field connecting integer
---@field open integer
---@field closing integer

---@class nettask.Stats
---@field request nettask.KindStats by state
---@field download nettask.KindStats
---@field upload nettask.KindStats
---@field socket nettask.KindStats
---@field tcp nettask.KindStats
---@field udp nettask.KindStats
---@field mdns nettask.KindStats scans for local services
---@field sleep nettask.KindStats
---@field live integer tasks before their last event
---@field queuedEvents integer that wait for update()
---@field queuedBytes integer that they hold
---@field bytesIn integer on the wire
---@field bytesOut integer
---@field droppedDatagrams integer that came while a mark was reached, or from
---where the policy lets none come
---@field refusedServices integer answers for more than limits.maxServices
---@field refusals integer of the policy, see onAudit
---@field longestUpdateMs number since the last call of stats()
---@field longestCallbackMs number with the making of its arguments
---@field longestCallback? string whose that was: `"RequestTask #12 success"`

---@return nettask.Stats
function nettask.stats() end

-- ---- request ----------------------------------------------------------------

---@alias nettask.Method
---| "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS"
---| "TRACE" | "CONNECT"

---@alias nettask.Credentials "include"|"same-origin"|"omit"

---false leaves the field out, an array repeats it.
---@alias nettask.HeaderValue string|number|boolean|(string|number)[]

---Stages in milliseconds, 0 for no limit. All stand still while the host holds
---the transfer back.
---@class nettask.Timeouts
---@field dns? number
---@field connect? number
---@field tls? number
---@field firstByte? number request sent to first byte of the answer
---@field stall? number longest silence in a body
---@field total? number the same as `timeout`, and 0 lifts it

---Of stored answers `"default"` uses the fresh and validates the stale,
---`"no-cache"` validates always, `"reload"` uses none, `"force-cache"` any,
---`"only-if-cached"` too, but asks nobody; `"no-store"` neither uses nor
---stores.
---@alias nettask.CacheMode
---| "default" | "no-store" | "no-cache" | "reload" | "force-cache"
---| "only-if-cached"

---JSON that does not parse is given as text, with success.
---@class nettask.RequestOptions
---@field url string relative to configure{baseUrl}
---@field data? string|table|nettask.Buffer query string, or body
---@field header? table<string, nettask.HeaderValue>
---@field headers? table<string, nettask.HeaderValue> other name of `header`
---@field method? nettask.Method|string default `"GET"`, in any case
---@field timeout? number ms from leaving the queue to the end; 60000
---@field timeouts? nettask.Timeouts
---@field dataType? "json"|"text"|"base64"|"arraybuffer"|string "json"
---@field responseType? "text"|"arraybuffer" a Buffer whatever dataType says
---@field redirect? "follow"|"manual" default `"follow"`
---@field enableHttp2? boolean
---@field enableQuic? boolean HTTP/3 where the build has it, else silently not
---@field useHighPerformanceMode? boolean both of them, unless enableChunked
---@field enableChunked? boolean the body goes to onChunkReceived as it comes
---@field enableProfile? boolean default true
---@field forceCellularNetwork? boolean out by cellularInterface, or not at all
---@field mode? "same-origin"|"cors"|"no-cors" outside of its origin
---@field referrerStrategy? "index"|"page"|"querystring" the Referer
---@field enableHttpDNS? boolean ask a provider for the addresses of names
---@field httpDNSServiceId? string which one, see registerHttpDNS
---@field httpDNSTimeout? number ms for its answer; half of the time-out
---@field proxy? string http://, https:// or socks5://; "": none; "env"
---@field cache? nettask.CacheMode what may be done with stored answers
---@field enableCache? boolean true: the same as cache="default"
---@field credentials? nettask.Credentials whether the cookie jar is used;
---`"omit"` said outright: no user and password of the url either
---@field enableCookie? boolean false: the jar in place of a Cookie header;
---true: that header, and the jar stores
---@field retry? nettask.Retry ask again when that may help
---@field failover? boolean the options from here to storeCheck hold
---@field retryTimes? integer attempts after a time-out; 2
---@field backup? string|string[] asked in this order, once each
---@field dataCheck? fun(data: any): boolean false: ask the next backup
---@field useStore? boolean keep good answers, the last one as the last resort
---@field storeCheckKey? string stored[storeCheckKey] == storeSign: ask nobody
---@field storeSign? string
---@field storeCheck? fun(stored: any, key?: string, sign?: string): boolean
---@field jsonp? boolean|string a script for an answer; the function's name
---@field jsonpCache? boolean|string true, or what fetch calls a cache mode
---@field success? fun(res: nettask.RequestResult)
---@field signal? nettask.AbortSignal ends it with `fail abort`
---@field group? nettask.Group it is one of these
---@field fail? fun(res: nettask.Failure)
---@field complete? fun(res: nettask.RequestResult|nettask.Failure)

---Fields as received. Reading with a name in any case works; `pairs` shows
---every field once, repeated ones joined with ", " (Set-Cookie with ",").
---@class nettask.Header: { [string]: string }
local Header = {}

---The values of a field one by one.
---@param name string in any case
---@return string[]
function Header:getAll(name) end

---@class nettask.Exception
---@field retryCount integer
---@field reasons { errMsg: string, errno: integer }[]

---@class nettask.Retry
---@field tries? integer attempts after the first; 3
---@field base? number ms before the first of them, doubled each time; 500
---@field max? number ms; the longest wait; 30000
---@field on? ("timeout"|"connect"|"reset"|integer)[] and statuses; by default
---those three, 429, 502, 503 and 504
---@field unsafe? boolean POST and PATCH too

---@class nettask.RequestResult
---@field data any by dataType and responseType
---@field statusCode integer any status is a success
---@field header nettask.Header
---@field cookies string[] the Set-Cookie values
---@field errMsg string `"request:ok"`
---@field profile? nettask.Profile
---@field exception nettask.Exception
---@field useHttpDNS boolean
---@field fromStore? boolean
---@field stale? boolean from the store, since nobody else answered
---@field status? integer dialect "my"
---@field headers? nettask.Header dialect "my"

---@class nettask.Failure
---@field errMsg string `"request:fail <reason>"`, by the API
---@field errno integer
---@field errCode integer
---@field exception nettask.Exception
---@field useHttpDNS boolean
---@field reason? string the rule that refused it, and what lifts the rule
---@field detail? string more about a transport or file error, for people
---@field error? integer dialect "my"
---@field errorMessage? string dialect "my"
---@field data? any the answer, if httpErrorFails or jsonErrorFails
---@field statusCode? integer
---@field header? nettask.Header
---@field cookies? string[]
---@field profile? nettask.Profile

---Instants are Unix time in ms, 0 when the phase did not happen.
---@class nettask.Profile
---@field redirectStart integer
---@field redirectEnd integer
---@field fetchStart integer of the last hop, as all that follow
---@field domainLookUpStart integer
---@field domainLookUpEnd integer
---@field connectStart integer
---@field connectEnd integer
---@field SSLconnectionStart integer
---@field SSLconnectionEnd integer
---@field requestStart integer
---@field requestEnd integer
---@field responseStart integer
---@field responseEnd integer
---@field invokeStart integer
---@field queueStart integer
---@field queueEnd integer
---@field httpDNSDomainLookUpStart integer
---@field httpDNSDomainLookUpEnd integer
---@field rtt number ms
---@field httpRttEstimate number ms
---@field transportRttEstimate number ms
---@field downstreamThroughputKbpsEstimate number
---@field throughputKbps number
---@field estimate_nettype integer
---@field protocol "http/1.1"|"h2"|"quic"|"unknown"
---@field peerIP string
---@field port integer
---@field socketReused boolean
---@field sendBytesCount integer
---@field receivedBytedCount integer
---@field cache? "hit"|"stale"|"revalidated" how a stored answer was used
---@field usingHighPerformanceMode boolean

---@class nettask.HeadersResult
---@field header nettask.Header
---@field statusCode integer
---@field cookies string[]

---@class nettask.ChunkResult
---@field data nettask.Buffer

---@alias nettask.TaskState
---| "idle" | "queued" | "connecting" | "open" | "closing" | "done"

---A request that was started. Need not be kept: it goes on without.
---@class nettask.RequestTask: nettask.Promise
---@field id integer
---@field state nettask.TaskState
local RequestTask = {}

---Ends the task with `fail abort`; does nothing once it has ended.
---@param options? { silent?: boolean } silent: no callback at all
function RequestTask:abort(options) end

---Calls the function when status and header of the final response are there.
---The same function twice counts once.
---@param listener fun(res: nettask.HeadersResult)
function RequestTask:onHeadersReceived(listener) end

---@param listener? fun(res: nettask.HeadersResult) nil: all of them
function RequestTask:offHeadersReceived(listener) end

---Calls the function with each piece of the body; needs enableChunked.
---@param listener fun(res: nettask.ChunkResult)
function RequestTask:onChunkReceived(listener) end

---@param listener? fun(res: nettask.ChunkResult) nil: all of them
function RequestTask:offChunkReceived(listener) end

---Starts an HTTP request. One of success and fail runs, then complete, in a
---later update(). A wrong option is a failure too; the one thing that raises is
---an argument that is no table.
---@param options nettask.RequestOptions
---@return nettask.RequestTask
function nettask.request(options) end

-- ---- Promises ---------------------------------------------------------------

---What something will come to. Tasks are promises, too. Handlers run inside a
---later update().
---@class nettask.Promise
local Promise = {}

---Calls resolved(result) or rejected(reason). What that returns is what the new
---promise comes to, also by way of a task or a promise; what it raises is the
---reason of its rejection.
---@param resolved? fun(value: any): any
---@param rejected? fun(reason: any): any
---@return nettask.Promise
function Promise:next(resolved, rejected) end

Promise["then"] = Promise.next

---The same as next(nil, rejected).
---@param rejected fun(reason: any): any
---@return nettask.Promise
function Promise:catch(rejected) end

---Calls f() either way. The new promise comes to the same, unless f raises, or
---returns a promise that is rejected.
---@param f fun(): any
---@return nettask.Promise
function Promise:finally(f) end

---Waits, in a coroutine. Returns the result, or nil and the reason.
---@return any value
---@return any reason
function Promise:await() end

---@param promise nettask.Promise
---@return any value
---@return any reason
function nettask.await(promise) end

---A promise of a table with what each of them comes to, under the same keys;
---rejected with the first failure.
---@param list table<any, nettask.Promise|any>
---@return nettask.Promise
function nettask.all(list) end

---A promise of what the first of them comes to.
---@param list table<any, nettask.Promise|any>
---@return nettask.Promise
function nettask.race(list) end

---A task that takes a time and does nothing else.
---@class nettask.SleepTask: nettask.Promise
---@field id integer
---@field state nettask.TaskState
local SleepTask = {}

---Ends it with `sleep:fail abort`.
---@param options? { silent?: boolean }
function SleepTask:abort(options) end

---@param ms number
---@return nettask.SleepTask
function nettask.sleep(ms) end

---@alias nettask.Task
---| nettask.RequestTask | nettask.DownloadTask | nettask.UploadTask
---| nettask.SocketTask | nettask.SleepTask
---| nettask.TCPSocket | nettask.UDPSocket

---@class nettask.Outcome
---@field ok boolean
---@field res? any
---@field err? any

---Tasks that end together. It remembers the last thousand that have ended.
---@class nettask.Group
local Group = {}

---@generic T: nettask.Task
---@param task T
---@return T
function Group:add(task) end

---Ends all of its tasks.
---@param options? { silent?: boolean } silent: no callback at all
function Group:abort(options) end

---Waits, in a coroutine, for all of its tasks, those too that are added
---meanwhile. What it has told is forgotten.
---@return nettask.Outcome[] in the order of adding
function Group:await() end

---@return nettask.Group
function nettask.group() end

---For the option `signal`.
---@class nettask.AbortSignal
---@field aborted boolean
---@field reason any
local AbortSignal = {}

---Calls the function inside of abort().
---@param listener fun(reason: any)
function AbortSignal:onabort(listener) end

---@param listener? fun(reason: any) nil: all of them
function AbortSignal:offabort(listener) end

---@class nettask.AbortController
---@field signal nettask.AbortSignal
local AbortController = {}

---Ends all tasks that have its signal, once and for all.
---@param reason? any
function AbortController:abort(reason) end

---@return nettask.AbortController
function nettask.AbortController() end

-- ---- Interceptors -----------------------------------------------------------

---What one interceptor gets. Params are a copy of the caller's options without
---success, fail, complete, signal and group; interceptors may pass on others
---to each other.
---@class nettask.Chain
---@field requestParams nettask.RequestOptions|table
---@field requestParmas nettask.RequestOptions|table other name of the same
---@field index integer which link this is, 1 is the outermost
---@field interceptors function[] those of this call, the request itself last
local Chain = {}

---Goes on with these options. Raises behind the last link.
---@param params? table default: requestParams
---@return nettask.RequestTask|nettask.ChainPromise
function Chain:proceed(params) end

---@class nettask.ChainPromise: nettask.Promise
local ChainPromise = {}

---Ends what was started behind proceed().
function ChainPromise:abort() end

---What it returns is the outcome, or what that comes to: a task, a promise, a
---result. It runs in a coroutine and may await.
---@alias nettask.Interceptor fun(chain: nettask.Chain): any

---Puts a function before each request() from now on, inside of those that
---there are.
---@param interceptor nettask.Interceptor
function nettask.addInterceptor(interceptor) end

---Takes all interceptors away; requests that have begun keep theirs.
function nettask.cleanInterceptors() end

---@class nettask.Interceptors
---@field logInterceptor nettask.Interceptor one line out, one line back: info
---@field timeoutInterceptor nettask.Interceptor `timeout`, or 60000 ms
nettask.interceptors = {}

-- ---- downloadFile -----------------------------------------------------------

---What all three kinds of exchange take.
---@class nettask.FileOptions
---@field url string relative to configure{baseUrl}
---@field header? table<string, nettask.HeaderValue>
---@field headers? table<string, nettask.HeaderValue> other name of `header`
---@field timeout? number ms from leaving the queue to the end; 60000
---@field timeouts? nettask.Timeouts
---@field enableHttp2? boolean
---@field enableQuic? boolean
---@field useHighPerformanceMode? boolean both of them
---@field enableProfile? boolean default true
---@field proxy? string http://, https:// or socks5://; "": none; "env"
---@field signal? nettask.AbortSignal ends it with `fail abort`
---@field group? nettask.Group it is one of these
---@field fail? fun(res: nettask.Failure)

---The body of any answer is saved. `timeouts.stall` is 30000 by default.
---@class nettask.DownloadOptions: nettask.FileOptions
---@field filePath? string replaced if it exists; default a temporary file
---@field resume? boolean go on where the last try stopped
---@field sha256? string 64 hex digits that the file must have
---@field durable? boolean on the disk, not just in its cache, at success
---@field withCredentials? boolean default true: uses the cookie jar; false: it
---does not, and sends no user and password of the url
---@field getRawResult? fun(task: nettask.DownloadTask) before the return
---@field enableHttpDNS? boolean ask a provider for the addresses of names
---@field httpDNSServiceId? string which one, see registerHttpDNS
---@field httpDNSTimeout? number ms for its answer; half of the time-out
---@field success? fun(res: nettask.DownloadResult)
---@field complete? fun(res: nettask.DownloadResult|nettask.Failure)

---Has filePath or tempFilePath, never both.
---@class nettask.DownloadResult
---@field filePath? string as given
---@field tempFilePath? string lives until close()
---@field dataLength integer bytes in the file
---@field statusCode integer any status is a success
---@field header nettask.Header
---@field cookies string[]
---@field errMsg string `"downloadFile:ok"`
---@field profile? nettask.Profile
---@field exception nettask.Exception
---@field useHttpDNS boolean
---@field status? integer dialect "my"
---@field headers? nettask.Header dialect "my"
---@field apFilePath? string dialect "my"

---@class nettask.DownloadProgress
---@field progress integer 0 to 100; 0 while the length is unknown
---@field totalBytesWritten integer
---@field totalBytesExpectedToWrite integer 0 while it is unknown

---@class nettask.DownloadTask: nettask.Promise
---@field id integer
---@field state nettask.TaskState
local DownloadTask = {}

---Ends the task with `fail abort`, unless the file is in place already.
---@param options? { silent?: boolean } silent: no callback at all
function DownloadTask:abort(options) end

---@param listener fun(res: nettask.HeadersResult)
function DownloadTask:onHeadersReceived(listener) end

---@param listener? fun(res: nettask.HeadersResult) nil: all of them
function DownloadTask:offHeadersReceived(listener) end

---At most every 50 ms; the last one is exact.
---@param listener fun(res: nettask.DownloadProgress)
function DownloadTask:onProgressUpdate(listener) end

---@param listener? fun(res: nettask.DownloadProgress) nil: all of them
function DownloadTask:offProgressUpdate(listener) end

---onHeadersReceived(), as Taro's promises call it.
---@param listener fun(res: nettask.HeadersResult)
---@return nettask.DownloadTask
function DownloadTask:headersReceive(listener) end

---onProgressUpdate(), as Taro's promises call it.
---@param listener fun(res: nettask.DownloadProgress)
---@return nettask.DownloadTask
function DownloadTask:progress(listener) end

---Fetches a url into a file, which appears whole or not at all.
---@param options nettask.DownloadOptions
---@return nettask.DownloadTask
function nettask.downloadFile(options) end

-- ---- uploadFile -------------------------------------------------------------

---`data` instead of `filePath`: from memory.
---@class nettask.UploadFile
---@field name string the form field
---@field filePath? string
---@field data? string|nettask.Buffer
---@field fileName? string default: the last part of the path, or `name`
---@field type? string media type, or "image", "video", "audio"

---@class nettask.UploadOptions: nettask.FileOptions
---@field credentials? nettask.Credentials whether the cookie jar is used
---@field filePath? string needed without `files`
---@field name? string the form field; needed with filePath
---@field formData? table further fields, sent first
---@field fileName? string default: the last part of filePath
---@field fileType? "image"|"video"|"audio" for an extension that tells nothing
---@field files? nettask.UploadFile[]
---@field hideLoading? boolean ignored
---@field getRawResult? fun(task: nettask.UploadTask) before the return
---@field enableHttpDNS? boolean ask a provider for the addresses of names
---@field httpDNSServiceId? string which one, see registerHttpDNS
---@field httpDNSTimeout? number ms for its answer; half of the time-out
---@field success? fun(res: nettask.UploadResult)
---@field complete? fun(res: nettask.UploadResult|nettask.Failure)

---@class nettask.UploadResult
---@field data string the answer, always as text
---@field statusCode integer any status is a success
---@field header nettask.Header
---@field cookies string[]
---@field errMsg string `"uploadFile:ok"`
---@field profile? nettask.Profile
---@field exception nettask.Exception
---@field useHttpDNS boolean
---@field status? integer dialect "my"
---@field headers? nettask.Header dialect "my"

---Of the whole body.
---@class nettask.UploadProgress
---@field progress integer 0 to 100
---@field totalBytesSent integer
---@field totalBytesExpectedToSend integer

---@class nettask.UploadTask: nettask.Promise
---@field id integer
---@field state nettask.TaskState
local UploadTask = {}

---@param options? { silent?: boolean } silent: no callback at all
function UploadTask:abort(options) end

---@param listener fun(res: nettask.HeadersResult)
function UploadTask:onHeadersReceived(listener) end

---@param listener? fun(res: nettask.HeadersResult) nil: all of them
function UploadTask:offHeadersReceived(listener) end

---At most every 50 ms; the last one is exact.
---@param listener fun(res: nettask.UploadProgress)
function UploadTask:onProgressUpdate(listener) end

---@param listener? fun(res: nettask.UploadProgress) nil: all of them
function UploadTask:offProgressUpdate(listener) end

---onHeadersReceived(), as Taro's promises call it.
---@param listener fun(res: nettask.HeadersResult)
---@return nettask.UploadTask
function UploadTask:headersReceive(listener) end

---onProgressUpdate(), as Taro's promises call it.
---@param listener fun(res: nettask.UploadProgress)
---@return nettask.UploadTask
function UploadTask:progress(listener) end

---Sends files and fields as multipart/form-data.
---@param options nettask.UploadOptions
---@return nettask.UploadTask
function nettask.uploadFile(options) end

-- ---- WebSocket --------------------------------------------------------------

---A link that breaks is made again: the n-th try waits base * 2^(n-1) ms, at
---most max, and less by up to the share jitter of it.
---@class nettask.Reconnect
---@field base? number ms; 500
---@field max? number ms; 30000
---@field jitter? number 0 to 1; 0.5
---@field tries? integer in a row without success; 10

---@class nettask.SocketOptions
---@field credentials? nettask.Credentials whether the cookie jar is used
---@field url string ws or wss; relative to configure{baseUrl}
---@field header? table<string, nettask.HeaderValue>
---@field headers? table<string, nettask.HeaderValue> other name of `header`
---@field protocols? string[] subprotocols; the server picks one, or none
---@field protocolsArray? string[] other name of `protocols`
---@field tcpNoDelay? boolean small messages at once
---@field perMessageDeflate? boolean offer compression
---@field timeout? number ms until the handshake is answered; 60000
---@field timeouts? nettask.Timeouts without stall
---@field pingInterval? number ms between pings; none by default
---@field pongTimeout? number ms for the answer to a ping; as pingInterval
---@field reconnect? boolean|nettask.Reconnect true: with the defaults
---@field maxMessageBytes? integer of a message received; up to the limit
---@field proxy? string http://, https:// or socks5://; "": none; "env"
---@field multiple? boolean in single mode: replaces none, and is not replaced
---@field enableProfile? boolean default true
---@field forceCellularNetwork? boolean out by cellularInterface, or not at all
---@field success? fun(res: nettask.SocketAccepted) it was begun
---@field group? nettask.Group it is one of these
---@field fail? fun(res: nettask.CallFailure) an option is wrong, or a limit
---@field complete? fun(res: nettask.SocketAccepted|nettask.CallFailure)

---@class nettask.SocketAccepted
---@field errMsg string `"connectSocket:ok"`
---@field socketTaskId integer

---@class nettask.CallResult
---@field errMsg string `"sendSocketMessage:ok"`, `"closeSocket:ok"`

---@class nettask.CallFailure
---@field errMsg string `"sendSocketMessage:fail <reason>"`, by the API
---@field errno integer
---@field errCode integer
---@field reason? string the rule that refused it, and what lifts the rule
---@field detail? string more, for people
---@field error? integer dialect "my"
---@field errorMessage? string dialect "my"

---Before the open it is the end; after it onClose follows.
---@class nettask.SocketError: nettask.CallFailure
---@field statusCode? integer of the answer, if there was one

---Instants are Unix time in ms, 0 when the phase did not happen; spans are ms.
---@class nettask.SocketProfile
---@field fetchStart integer
---@field domainLookUpStart integer
---@field domainLookUpEnd integer
---@field connectStart integer
---@field connectEnd integer
---@field rtt integer connect, with TLS
---@field handshakeCost integer
---@field cost integer all of it

---@class nettask.SocketOpened
---@field header nettask.Header of the answer
---@field protocol string the subprotocol that was chosen, or `""`
---@field profile? nettask.SocketProfile

---@class nettask.SocketReopened: nettask.SocketOpened
---@field attempt integer how many tries it took
---@field code integer what the link was lost by
---@field reason string

---@class nettask.SocketMessage
---@field data string|nettask.Buffer text or bytes
---@field isBuffer? boolean dialect "my": data is the base64 of bytes

---@class nettask.SocketClosed
---@field code integer 1006: without a word of the server
---@field reason string

---@class nettask.SendOptions
---@field data string|nettask.Buffer UTF-8 text, or bytes
---@field isBuffer? boolean data is the base64 of bytes
---@field success? fun(res: nettask.CallResult) it is with the system
---@field fail? fun(res: nettask.CallFailure)
---@field complete? fun(res: nettask.CallResult|nettask.CallFailure)

---@class nettask.CloseOptions
---@field code? integer 1000 to 1003, 1007 to 1014, 3000 to 4999; 1000
---@field reason? string UTF-8, at most 123 bytes
---@field success? fun(res: nettask.CallResult) it is on its way
---@field fail? fun(res: nettask.CallFailure)
---@field complete? fun(res: nettask.CallResult|nettask.CallFailure)

---A WebSocket. Need not be kept: it goes on without.
---@class nettask.SocketTask: nettask.Promise
---@field id integer
---@field socketTaskId integer the same
---@field state nettask.TaskState
---@field readyState integer CONNECTING, OPEN, CLOSING or CLOSED
---@field bufferedAmount integer bytes sent that are not with the system yet
---@field CONNECTING 0
---@field OPEN 1
---@field CLOSING 2
---@field CLOSED 3
local SocketTask = {}

---Sends a message, behind those before it.
---@param options nettask.SendOptions
function SocketTask:send(options) end

---Closes, behind what was sent; one that is connecting at once.
---@param options? nettask.CloseOptions
function SocketTask:close(options) end

---Drops the link without a close frame.
---@param options? { silent?: boolean } silent: no callback at all
function SocketTask:abort(options) end

---@param listener fun(res: nettask.SocketOpened)
function SocketTask:onOpen(listener) end

---@param listener? fun(res: nettask.SocketOpened) nil: all of them
function SocketTask:offOpen(listener) end

---@param listener fun(res: nettask.SocketMessage)
function SocketTask:onMessage(listener) end

---@param listener? fun(res: nettask.SocketMessage) nil: all of them
function SocketTask:offMessage(listener) end

---@param listener fun(res: nettask.SocketError)
function SocketTask:onError(listener) end

---@param listener? fun(res: nettask.SocketError) nil: all of them
function SocketTask:offError(listener) end

---@param listener fun(res: nettask.SocketClosed)
function SocketTask:onClose(listener) end

---@param listener? fun(res: nettask.SocketClosed) nil: all of them
function SocketTask:offClose(listener) end

---The link is up again, with `reconnect`.
---@param listener fun(res: nettask.SocketReopened)
function SocketTask:onReconnect(listener) end

---@param listener? fun(res: nettask.SocketReopened) nil: all of them
function SocketTask:offReconnect(listener) end

---All that was sent is with the system: bufferedAmount is 0 again.
---@param listener fun(res: table)
function SocketTask:onDrain(listener) end

---@param listener? fun(res: table) nil: all of them
function SocketTask:offDrain(listener) end

---Opens a WebSocket.
---@param options nettask.SocketOptions
---@return nettask.SocketTask
function nettask.connectSocket(options) end

---Sends on the bound socket: the oldest that lives, in single mode the newest.
---@param options nettask.SendOptions
function nettask.sendSocketMessage(options) end

---Closes the bound socket, if it is open.
---@param options? nettask.CloseOptions
function nettask.closeSocket(options) end

---These hear of the bound socket, whichever it is then.
---@param listener fun(res: nettask.SocketOpened)
function nettask.onSocketOpen(listener) end

---@param listener? fun(res: nettask.SocketOpened) nil: all of them
function nettask.offSocketOpen(listener) end

---@param listener fun(res: nettask.SocketMessage)
function nettask.onSocketMessage(listener) end

---@param listener? fun(res: nettask.SocketMessage) nil: all of them
function nettask.offSocketMessage(listener) end

---@param listener fun(res: nettask.SocketError)
function nettask.onSocketError(listener) end

---@param listener? fun(res: nettask.SocketError) nil: all of them
function nettask.offSocketError(listener) end

---@param listener fun(res: nettask.SocketClosed)
function nettask.onSocketClose(listener) end

---@param listener? fun(res: nettask.SocketClosed) nil: all of them
function nettask.offSocketClose(listener) end

-- ---- TCP --------------------------------------------------------------------

---@class nettask.TCPOptions
---@field type? "ipv4"|"ipv6" default "ipv4"

---@class nettask.TCPConnectOptions
---@field address string name or address, IPv6 without brackets
---@field port integer 1 to 65535
---@field timeout? number seconds until it is connected; 2
---@field timeoutMs? number the same in ms; wins
---@field tls? boolean certificates are judged like those of https
---@field noDelay? boolean small writes at once
---@field enableHttpDNS? boolean ask a provider for the addresses of the name
---@field httpDNSServiceId? string which one, see registerHttpDNS
---@field httpDNSTimeout? number ms for its answer; half of the time-out

---@class nettask.CreationFailure
---@field errMsg string `"createTCPSocket:fail <reason>"`
---@field errno integer
---@field errCode integer
---@field reason? string the rule that refused it, and what lifts the rule

---errCode: -1 system, -2 socket or wrong state, -3 no permission, -4 not
---connected, 1 bad address, 2 bad port.
---@class nettask.EndpointError: nettask.CallFailure

---@class nettask.LocalInfo
---@field address string
---@field family "IPv4"|"IPv6"
---@field port integer

---@class nettask.RemoteInfo: nettask.LocalInfo
---@field size integer bytes of the message

---@class nettask.EndpointMessage
---@field message nettask.Buffer
---@field remoteInfo nettask.RemoteInfo
---@field localInfo nettask.LocalInfo

---@class nettask.TCPClosed
---@field flushed boolean all that was written has been sent

---A TCP connection. Need not be kept: it goes on until it is closed.
---@class nettask.TCPSocket: userdata
---@field id integer
---@field state nettask.TaskState
---@field bufferedAmount integer bytes written that are not with the system yet
local TCPSocket = {}

---Connects, once. What fails is told to onError, then onClose.
---@param options nettask.TCPConnectOptions
function TCPSocket:connect(options) end

---Sends bytes, behind those before; also while it connects.
---@param data string|nettask.Buffer
function TCPSocket:write(data) end

---Sends what was written and ends; in any state, and more than once.
function TCPSocket:close() end

---Drops the connection.
---@param options? { silent?: boolean } silent: no callback at all
function TCPSocket:abort(options) end

---@param on? boolean default true
function TCPSocket:setNoDelay(on) end

---@param ms number silence before the peer is asked for a sign of life; 0: off
function TCPSocket:setKeepAlive(ms) end

---Before connect: go out by configure{wifiInterface}.
---@param options? { BSSID?: string } which does not matter
function TCPSocket:bindWifi(options) end

---@param listener fun(res: table)
function TCPSocket:onConnect(listener) end

---@param listener? fun(res: table) nil: all of them
function TCPSocket:offConnect(listener) end

---@param listener fun(res: nettask.EndpointMessage)
function TCPSocket:onMessage(listener) end

---@param listener? fun(res: nettask.EndpointMessage) nil: all of them
function TCPSocket:offMessage(listener) end

---@param listener fun(res: nettask.EndpointError)
function TCPSocket:onError(listener) end

---@param listener? fun(res: nettask.EndpointError) nil: all of them
function TCPSocket:offError(listener) end

---Once, as the last.
---@param listener fun(res: nettask.TCPClosed)
function TCPSocket:onClose(listener) end

---@param listener? fun(res: nettask.TCPClosed) nil: all of them
function TCPSocket:offClose(listener) end

---@param listener fun(res: table)
function TCPSocket:onBindWifi(listener) end

---@param listener? fun(res: table) nil: all of them
function TCPSocket:offBindWifi(listener) end

---All that was written is with the system: bufferedAmount is 0 again.
---@param listener fun(res: table)
function TCPSocket:onDrain(listener) end

---@param listener? fun(res: table) nil: all of them
function TCPSocket:offDrain(listener) end

---Makes a socket, to be connected; nil when the policy allows no more now.
---@param options? nettask.TCPOptions
---@return nettask.TCPSocket?
---@return nettask.CreationFailure? failure
function nettask.createTCPSocket(options) end

-- ---- UDP --------------------------------------------------------------------

---@class nettask.UDPPeer
---@field address string name or address of the socket's type
---@field port integer 1 to 65535

---@class nettask.UDPSendOptions: nettask.UDPPeer
---@field message string|nettask.Buffer at most 65507 bytes
---@field offset? integer of a Buffer: the first byte, counted from 0
---@field length? integer of a Buffer: default all from offset on
---@field setBroadcast? boolean the address may be one of a broadcast

---@class nettask.UDPWriteOptions
---@field address? string needed without connect
---@field port? integer the same
---@field message string|nettask.Buffer
---@field offset? integer
---@field length? integer
---@field setBroadcast? boolean

---A socket for datagrams. Need not be kept: it hears until it is closed.
---@class nettask.UDPSocket: userdata
---@field id integer
---@field state nettask.TaskState
---@field bufferedAmount integer bytes sent that are not with the system yet
local UDPSocket = {}

---@param port? integer default any that is free
---@return integer? port nil: onError says why
function UDPSocket:bind(port) end

---Sends a datagram; binds if that was not done.
---@param options nettask.UDPSendOptions
function UDPSocket:send(options) end

---Names the peer of write(). Others are heard all the same.
---@param options nettask.UDPPeer
function UDPSocket:connect(options) end

---send() to the peer of connect().
---@param options nettask.UDPWriteOptions
function UDPSocket:write(options) end

---Sends what was sent and ends. Every later call but close() is an error.
function UDPSocket:close() end

---Drops it.
---@param options? { silent?: boolean } silent: no callback at all
function UDPSocket:abort(options) end

---@param ttl integer 1 to 255
function UDPSocket:setTTL(ttl) end

---@param on? boolean default true
function UDPSocket:setBroadcast(on) end

---@param ttl integer 0 to 255
function UDPSocket:setMulticastTTL(ttl) end

---@param group string address
---@param interface? string name or address; default the system's choice
function UDPSocket:joinMulticast(group, interface) end

---@param group string address
---@param interface? string as it was joined
function UDPSocket:leaveMulticast(group, interface) end

---@param listener fun(res: table)
function UDPSocket:onListening(listener) end

---@param listener? fun(res: table) nil: all of them
function UDPSocket:offListening(listener) end

---@param listener fun(res: nettask.EndpointMessage)
function UDPSocket:onMessage(listener) end

---@param listener? fun(res: nettask.EndpointMessage) nil: all of them
function UDPSocket:offMessage(listener) end

---The socket lives on.
---@param listener fun(res: nettask.EndpointError)
function UDPSocket:onError(listener) end

---@param listener? fun(res: nettask.EndpointError) nil: all of them
function UDPSocket:offError(listener) end

---Once.
---@param listener fun(res: table)
function UDPSocket:onClose(listener) end

---@param listener? fun(res: table) nil: all of them
function UDPSocket:offClose(listener) end

---Makes a socket; nil when the system has none.
---@param type? "udp4"|"udp6" default "udp4"
---@return nettask.UDPSocket?
---@return nettask.CreationFailure? failure
function nettask.createUDPSocket(type) end

-- ---- Local services ---------------------------------------------------------

---@class nettask.DiscoveryOptions
---@field serviceType string `"_http._tcp"`; a dot or ".local" may follow
---@field success? fun(res: nettask.CallResult) the scan has begun
---@field fail? fun(res: nettask.CallFailure)
---@field complete? fun(res: nettask.CallResult|nettask.CallFailure)

---@class nettask.DiscoveryStopOptions
---@field success? fun(res: nettask.CallResult) the scan has ended
---@field fail? fun(res: nettask.CallFailure) there was none
---@field complete? fun(res: nettask.CallResult|nettask.CallFailure)

---@class nettask.LocalService
---@field serviceName string of the instance, for people: UTF-8, not escaped
---@field serviceType string `"_http._tcp"`

---@class nettask.LocalServiceFound: nettask.LocalService
---@field ip string the first of `ips`
---@field port integer
---@field hostName string `"printer.local"`
---@field ips string[] all addresses, IPv4 first
---@field txt { [string]: string|true } a key without a value is true

---errno is 606101.
---@class nettask.LocalServiceUnresolved: nettask.CallFailure
---@field serviceName string
---@field serviceType string

---@class nettask.DiscoveryStopped
---@field errMsg string `"onLocalServiceDiscoveryStop:ok"`
---@field errno? integer only if the scan could not go on
---@field errCode? integer

---Looks for services in the local network, for limits.mdnsScanMs or until it is
---stopped. One scan at a time.
---@param options nettask.DiscoveryOptions
function nettask.startLocalServiceDiscovery(options) end

---Ends the scan: no service is told from the call on, and another scan may
---begin.
---@param options? nettask.DiscoveryStopOptions
function nettask.stopLocalServiceDiscovery(options) end

---Once a service, and again when its address or port has changed.
---@param listener fun(res: nettask.LocalServiceFound)
function nettask.onLocalServiceFound(listener) end

---@param listener? fun(res: nettask.LocalServiceFound) nil: all of them
function nettask.offLocalServiceFound(listener) end

---A service that was found said goodbye, or was not heard of any more.
---@param listener fun(res: nettask.LocalService)
function nettask.onLocalServiceLost(listener) end

---@param listener? fun(res: nettask.LocalService) nil: all of them
function nettask.offLocalServiceLost(listener) end

---There is a service, but for five seconds nobody says where.
---@param listener fun(res: nettask.LocalServiceUnresolved)
function nettask.onLocalServiceResolveFail(listener) end

---@param listener? fun(res: nettask.LocalServiceUnresolved) nil: all of them
function nettask.offLocalServiceResolveFail(listener) end

---The scan has ended: its time was over, or it was stopped.
---@param listener fun(res: nettask.DiscoveryStopped)
function nettask.onLocalServiceDiscoveryStop(listener) end

---@param listener? fun(res: nettask.DiscoveryStopped) nil: all of them
function nettask.offLocalServiceDiscoveryStop(listener) end

-- ---- The host ---------------------------------------------------------------

---Numbers, 0 for none. At a high-water mark the source is held back.
---@class nettask.Limits
---@field maxRequests? integer running at once, others wait; 10
---@field maxLookups? integer names looked up at once; 16
---@field redirects? integer 20
---@field responseMaxBytes? integer body after decoding; 64 MiB
---@field headerMaxBytes? integer 256 KiB
---@field downloadMaxBytes? integer of a file; 50 MiB
---@field uploadMaxBytes? integer of the files of an upload together; 0
---@field maxSockets? integer WebSockets at once; 5
---@field storeMaxBytes? integer of the store; 16 MiB, 0 for no cap
---@field sendQueueBytes? integer queued for sending, a socket; 16 MiB
---@field maxMessageBytes? integer of a WebSocket message; 16 MiB
---@field tcpPerWindow? integer TCP sockets made in any five minutes; 20
---@field tcpForbiddenPorts? (integer|integer[])[]|false and { first, last }
---@field mdnsScanMs? integer how long a scan for local services goes on; 30000
---@field maxServices? integer that one scan knows; 256
---@field bytesPerMinute? integer in and out, of all tasks; 0
---@field requestsPerSecond? integer others wait; 0
---@field tempMaxBytes? integer of the temporary files together; 0
---@field backgroundGraceMs? integer see setBackground; 5000
---@field highWaterBytes? integer undelivered bytes of a task; 1 MiB
---@field contextHighWaterBytes? integer the same for all tasks; 64 MiB

---In ms, 60000 each, and 2000 for tcp.
---@class nettask.DefaultTimeouts
---@field request? number
---@field download? number
---@field upload? number
---@field socket? number until the handshake is answered
---@field tcp? number until it is connected

---Folders below which uploads read and downloads write; false: anywhere.
---@class nettask.FileRoots
---@field read? string[]|false
---@field write? string[]|false

---What each kind of call may reach; false: no list. An entry is `"host"`,
---`"host:port"`, `"scheme://host"` or `"scheme://host:port"`, where the host is
---a name, `"*.name"` for all below it, or an address.
---@class nettask.Domains
---@field request? string[]|false
---@field download? string[]|false
---@field upload? string[]|false
---@field socket? string[]|false WebSockets
---@field tcp? string[]|false schemes tcp and tls
---@field udp? string[]|false scheme udp

---The presets are applied before the other keys of the same call.
---@class nettask.Configuration
---@field policy? "miniprogram"|"open"|"strict" preset
---@field dialect? "wx"|"taro"|"ft"|"swan"|"my" preset
---@field socketMode? "multi"|"single" single: a new socket replaces the old
---@field baseUrl? string|false what relative urls are resolved against
---@field limits? nettask.Limits
---@field timeouts? nettask.DefaultTimeouts
---@field tempDir? string|false where temporary files are made
---@field cookieFile? string|false of the cookie jar; false: in memory
---@field cacheDir? string|false folder of the cache; false: in memory
---@field cacheMaxBytes? integer of what the cache stores; 16 MiB
---@field origin? string|false url of what is "same-origin"; false: baseUrl
---@field appid? string|false letters and digits; false: no Referer is sent
---@field version? string|false of the game, in the Referer; false: 0
---@field page? string|false in the Referer
---@field query? string|false in the Referer
---@field cellularInterface? string|false what forceCellularNetwork means
---@field storeFile? string|false of useStore; false: in memory
---@field fileRoots? nettask.FileRoots
---@field domains? nettask.Domains
---@field denyPrivateAddresses? boolean but for allowPrivate
---@field allowPrivate? string[]|false names, addresses, blocks of addresses
---@field requireSecure? boolean https and wss only
---@field allowUrlPort? boolean default true
---@field proxy? string|false http://, https://, socks5:// or "env"; not of UDP
---@field allowProxy? boolean scripts may bring their own; not under strict
---and not after seal(), unless it says so
---@field urlMaxBytes? integer 0: none
---@field caFile? string|false PEM bundle instead of the system's
---@field caData? string|false the same as text
---@field pins? table<string, string[]>|false hosts and keys that they may have
---@field userAgent? string|false
---@field wifiInterface? string|false what bindWifi of a TCP socket means
---@field highWaterBytes? integer as in limits
---@field contextHighWaterBytes? integer as in limits
---@field spinMicros? integer how long both threads spin before they sleep; 0
---@field logger? fun(level: nettask.LogLevel, text: string)|false
---@field defaultContentType? string|false
---@field httpErrorFails? boolean a status of 400 or more is a failure
---@field jsonErrorFails? boolean so is a body that is no JSON

---Sets the rules. A call replaces the keys that it names; limits, timeouts,
---domains and fileRoots merge. Unknown keys and wrong values raise, and then
---nothing has changed.
---Holds for tasks started from now on, and survives close().
---@param configuration nettask.Configuration
function nettask.configure(configuration) end

---@alias nettask.LogLevel "debug"|"info"|"warn"|"error"

---Where diagnostics go; nil: info and above to stderr.
---@param logger? fun(level: nettask.LogLevel, text: string)
function nettask.setLogger(logger) end

---What is called when a callback raises; nil: it is logged.
---@param handler? fun(err: any, traceback: string, what: string)
function nettask.onError(handler) end

---What the policy refused.
---@class nettask.Refusal
---@field rule string `"domains.request"`
---@field setting? string what lifts it: `"configure{domains={request={...}}}"`
---@field text string as in errMsg: `"url not in domain list"`
---@field errno integer as the script is told
---@field errCode integer
---@field target? string what was to be reached: `"https://host:port"`, a path
---@field api? string of what: `"request"`, `"UDPSocket"`
---@field task? integer id of the task, if one was made

---What is called when the policy refuses something, beside what the task is
---told; nil: nothing.
---@param handler? fun(refusal: nettask.Refusal)
function nettask.onAudit(handler) end

---Says whether the game is in the background. While it is, nothing new starts
---(errno 600003), and what runs ends that way after limits.backgroundGraceMs.
---@param on boolean
function nettask.setBackground(on) end

---@class nettask.SecretOptions
---@field value string
---@field hosts string[] who may get it, as in configure{domains}; without a
---scheme only over TLS

---What scripts may send and not know.
---@class nettask.Secrets
nettask.secrets = {}

---@param name string letters, digits, "_", "." and "-"
---@param options nettask.SecretOptions
function nettask.secrets.set(name, options) end

---@param name string
---@return boolean found
function nettask.secrets.remove(name) end

---@return string[] names
function nettask.secrets.list() end

---@class nettask.Cookie
---@field name string
---@field value string
---@field domain string
---@field path string
---@field expires? number Unix time in seconds; nil: with the context
---@field hostOnly boolean not for what is below the domain
---@field secure boolean
---@field httpOnly boolean

---@class nettask.NewCookie
---@field name string
---@field value? string
---@field domain? string
---@field path? string
---@field expires? number Unix time in seconds
---@field maxAge? number seconds; wins over expires
---@field secure? boolean
---@field httpOnly? boolean

---The cookie jar.
---@class nettask.Cookies
nettask.cookies = {}

---All, oldest first, or what a request for the url is sent, in that order.
---@param url? string
---@return nettask.Cookie[]?
---@return string? message
---@return integer? code
function nettask.cookies.list(url) end

---As if an answer from the url had that Set-Cookie field.
---@param url string
---@param cookie string|nettask.NewCookie
---@return true?
---@return string? message
---@return integer? code
function nettask.cookies.set(url, cookie) end

---Forgets all, or all that the host of the url is ever sent.
---@param url? string
---@return true?
---@return string? message
---@return integer? code
function nettask.cookies.clear(url) end

---@return "ready"|"reading"|"unreadable" of configure{cookieFile}
function nettask.cookies.state() end

---A function that knows addresses: returns them and the seconds that they live,
---or nothing, and calls `done(ips, ttl)` or `done(nil, message)` later.
---@alias nettask.HttpDNS
---| fun(host: string, done: nettask.HttpDNSDone, family?: string): string[]?
---@alias nettask.HttpDNSDone fun(ips?: string[], ttl?: number|string)

---Who knows the addresses of names, for tasks with `enableHttpDNS`: the url of
---a DNS server (RFC 8484), a url with `{host}` in it, or a function.
---@param id string what tasks call it in `httpDNSServiceId`
---@param provider? string|nettask.HttpDNS nil: nobody
function nettask.registerHttpDNS(id, provider) end

---The HTTP cache.
---@class nettask.Cache
nettask.cache = {}

---Forgets what is stored for the url, or all.
---@param url? string
---@return true?
---@return string? message
---@return integer? code
function nettask.cache.clear(url) end

---The text that stands for a secret in the values of headers. Raises when there
---is none of that name.
---@param name string
---@return string
function nettask.secret(name) end

---Stops delivery; transfers go on up to their marks, then their sources wait.
function nettask.pause() end

---Goes on with delivery.
function nettask.resume() end

---Ends all tasks. No callback runs afterwards. A later call of the module
---starts afresh.
---@param deadlineMs? number how long to wait for the I/O thread; 500
function nettask.close(deadlineMs) end

---The functions that a script loses through seal().
---@class nettask.Host
---@field configure fun(configuration: nettask.Configuration)
---@field setLogger fun(logger?: fun(level: nettask.LogLevel, text: string))
---@field onError fun(handler?: fun(err: any, traceback: string, what: string))
---@field onAudit fun(handler?: fun(refusal: nettask.Refusal))
---@field registerHttpDNS fun(id: string, provider?: string|nettask.HttpDNS)
---@field setBackground fun(on: boolean)
---@field secrets nettask.Secrets
---@field cookies nettask.Cookies
---@field cache nettask.Cache
---@field pause fun()
---@field resume fun()
---@field close fun(deadlineMs?: number)

---Makes the configuration final for this Lua state: from now on the host's
---functions raise on the module table and work on the one returned.
---@return nettask.Host
function nettask.seal() end

---@return boolean
function nettask.sealed() end

return nettask
