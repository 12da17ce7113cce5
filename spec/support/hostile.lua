-- Tries what hostile_cases.lua lists in the network of hostile.py, all cases at
-- once: first without a policy, which shows where they lead, then with theirs.
--
--   local hostile = require "support.hostile"
--   for _, case in ipairs(hostile.list()) do ... case.title ... end
--   local said = hostile.run()   -- outside: by number, "ok" or what is wrong
--
-- In the namespace hostile.main() runs them, and prints a line for each.

local cases = require "support.hostile_cases"

local hostile = {}

local FIRST_TCP, FIRST_UDP = 20000, 30000 -- as in hostile.py
local LAST_PORT = 32767 -- that the system does not give away itself

-- ---- The list ---------------------------------------------------------------

local function shown(text)
  if #text > 70 then text = text:sub(1, 50) .. ".." .. text:sub(-18) end
  return (text:gsub("[%z\1-\31\127]", function(char)
    return ("\\x%02x"):format(char:byte())
  end))
end

local function title_of(group, kind, target, row)
  local address = row[3] == "ok" and " at " .. row[4] or ""
  local number = kind:find("tcp", 1, true) and "#164" or "#129"
  return ("%s %s: %s %s is %s%s"):format(number, group.name, kind,
    shown(target), row[3], address)
end

-- Every row once for each of its kinds; how many ports of TCP and of UDP.
function hostile.list()
  local list, tcp, udp = {}, 0, 0
  for _, group in ipairs(cases) do
    for _, row in ipairs(group.rows) do
      for kind in row[1]:gmatch("%S+") do
        local target = row[2]
        if kind:find("^socket$") then
          target = target:gsub("^([hH])[tT][tT][pP](s?:)", "ws%2")
        end
        local case = { number = #list + 1, group = group, kind = kind,
          target = target, want = row[3], address = row[4],
          title = title_of(group, kind, target, row) }
        list[#list + 1] = case
        if kind:find("udp", 1, true) then
          case.port, udp = FIRST_UDP + udp, udp + 1
        else
          case.port, tcp = FIRST_TCP + tcp, tcp + 1
        end
      end
    end
  end
  return list, tcp, udp
end

local PROGRAM = 'require("support.hostile").main()'

function hostile.run()
  local outside = require "helper"
  local _, tcp, udp = hostile.list()
  local result = outside.lua_under({ "/usr/bin/python3",
    "spec/support/hostile.py", tcp, udp, "--" }, PROGRAM)
  assert(result.err == "", result.err)
  assert(result.status == 0, "ended with " .. tostring(result.status))
  local said = {}
  for number, text in result.out:gmatch("(%w+) ([^\n]*)\n") do
    said[tonumber(number) or number] = text
  end
  return said
end

-- ---- Who was contacted ------------------------------------------------------

local Contacts = {}
Contacts.__index = Contacts

local function new_contacts()
  return setmetatable({ by_port = {}, all = {}, lost = 0 }, Contacts)
end

-- What the network saw since the last time.
function Contacts:update()
  local ask = assert(io.open(os.getenv("NETTASK_TEST_HOSTILE_ASK"), "w"))
  ask:write("contacts\n")
  ask:close()
  for line in io.lines(os.getenv("NETTASK_TEST_HOSTILE_ANSWER")) do
    local protocol, address, port = line:match("^(%l+) (%S+) (%d+)$")
    if protocol then
      local ports = self.by_port[tonumber(port)] or {}
      self.by_port[tonumber(port)] = ports
      ports[address] = protocol
      self.all[#self.all + 1] = { address = address, line = line }
    else
      self.lost = self.lost + tonumber(line:match("^lost (%d+)$"))
    end
  end
end

-- The addresses that were contacted on a port, as text.
function Contacts:of(port)
  local list = {}
  for address in pairs(self.by_port[port] or {}) do
    list[#list + 1] = address
  end
  table.sort(list)
  return table.concat(list, " ")
end

-- ---- One try ----------------------------------------------------------------

-- A try ends with `address`, whose server has answered, or with `failure`, the
-- result of a fail or an error. A datagram that was sent ends nothing: that it
-- came is seen on the wire.

local function on_fail(try)
  return function(res) try.failure = try.failure or res end
end

local helper, net
local policy -- that holds now

local OPEN = { policy = "open", limits = { maxRequests = 200 },
  baseUrl = false, allowUrlPort = true, denyPrivateAddresses = false,
  allowPrivate = false, domains = { request = false, download = false,
  upload = false, socket = false, tcp = false, udp = false } }

-- Nothing is left of the one before.
local function apply(new)
  policy = new
  net.configure(OPEN)
  net.configure(new)
end

local function start_http(api, try, options)
  options.dataType, options.responseType = "text", "text"
  options.success = function(res)
    local text = res.data
    if api == "downloadFile" then
      text = helper.read_file(res.tempFilePath)
      os.remove(res.tempFilePath)
    end
    if res.statusCode == 200 then try.address = text end
    try.failure = not try.address and res or nil
  end
  options.fail = on_fail(try)
  try.id = net[api](options).id
end

local start = {}

function start.request(try, url)
  start_http("request", try, { url = url })
end

function start.download(try, url)
  start_http("downloadFile", try, { url = url })
end

function start.upload(try, url)
  start_http("uploadFile", try, { url = url,
    files = { { name = "f", data = "content" } } })
end

-- With a first answer that is not to the script's liking.
function start.backup(try, url)
  start_http("request", try, { url = "http://good.test/", failover = true,
    dataCheck = function(data) return data == "203.0.113.20" end,
    backup = { url } })
end

local function good_of(try, path)
  return (try.case.group.via or "http://good.test") .. path
end

function start.proxy(try, proxy)
  start_http("request", try, { url = good_of(try, "/"), proxy = proxy })
end

function start.socket(try, url, _, proxy)
  local task = net.connectSocket { url = url, fail = on_fail(try),
    proxy = proxy }
  task:onError(function(res)
    try.late = true
    on_fail(try)(res)
  end)
  task:onMessage(function(res)
    try.address = res.data
    task:close()
  end)
  try.id = task.id
end

start["proxy-socket"] = function(try, proxy)
  start.socket(try, good_of(try, "/"):gsub("^http", "ws"), nil, proxy)
end

local function start_tcp(options, type)
  return function(try, host, port)
    local task = assert(net.createTCPSocket { type = type })
    local text = ""
    task:onError(on_fail(try))
    task:onConnect(function() task:write("tcp\r\n\r\n") end)
    task:onMessage(function(res) text = text .. tostring(res.message) end)
    task:onClose(function()
      if not try.failure then try.address = text end
    end)
    options.address, options.port = host, port
    try.id = task.id
    task:connect(options)
  end
end

start.tcp = start_tcp({}, "ipv4")
start.tcp6 = start_tcp({}, "ipv6")
start.tls = start_tcp({ tls = true }, "ipv4")

local function start_udp(type, act)
  return function(try, host, port)
    local task = assert(net.createUDPSocket(type))
    task:onError(on_fail(try))
    try.task, try.id, try.wire_tells = task, task.id, true
    act(task, host, port)
  end
end

local function send(task, host, port)
  task:send { address = host, port = port, message = "x" }
end

start.udp = start_udp("udp4", send)
start.udp6 = start_udp("udp6", send)
start["udp-cast"] = start_udp("udp4", function(task, host, port)
  task:send { address = host, port = port, message = "x", setBroadcast = true }
end)
start["udp-connect"] = start_udp("udp4", function(task, host, port)
  task:connect { address = host, port = port }
  task:write { message = "x" }
end)
start["udp-join"] = start_udp("udp4", function(task, host)
  task:bind()
  task:joinMulticast(host)
end)

function start.mdns(try, type)
  net.startLocalServiceDiscovery { serviceType = type, fail = on_fail(try),
    success = function()
      net.stopLocalServiceDiscovery()
      try.address = "started"
    end }
end

-- ---- Kinds that need more than one step -------------------------------------

local function encode(text)
  return (text:gsub("[^%w]", function(char)
    return ("%%%02X"):format(char:byte())
  end))
end

local function start_redirected(try, kind, status, url)
  local via = good_of(try, ("/redirect?status=%s&to=%s"):format(status,
    encode(url)))
  if kind == "socket" then via = via:gsub("^http", "ws") end
  start[kind](try, via)
end

local function start_at(try, kind, host, port)
  local name, status = kind:match("^(%l+)>(%d+)$")
  local scheme = (name or kind) == "socket" and "ws" or "http"
  if kind == "tcp" or kind == "udp" then
    start[kind](try, host, port)
  elseif name then
    start_redirected(try, name, status, ("%s://%s:%d/"):format(scheme, host,
      port))
  else
    start[kind](try, ("%s://%s:%d/"):format(scheme, host, port))
  end
end

-- Twice the same host: the second time on the port of the case.
local function start_again(try, kind, host)
  local first = { case = try.case }
  try.first = first
  start_at(first, kind == "udp" and "tcp" or kind, host, 8081)
  return function()
    if not (first.address or first.failure) then return end
    try.step = nil
    if first.failure then
      try.failure = { errMsg = "at first: " .. first.failure.errMsg }
    else
      -- By now another group's policy may hold, for whom it must go on.
      local now = policy
      apply(try.case.policy)
      start_at(try, kind, host, try.case.port)
      apply(now)
    end
  end
end

local function begin(case, phase)
  local try = { case = case }
  local target = case.target:gsub("{(%l)}", { p = ("%d"):format(case.port),
    n = phase .. case.number })
  local again = case.kind:match("^again%-(.*)$")
  local kind, status = case.kind:match("^(%l+)>(%d+)$")
  if again then
    try.step = start_again(try, again, target)
  elseif kind then
    start_redirected(try, kind, status, target)
  elseif case.kind == "socket=" then
    start.socket(try, target)
  else
    local host, port = target:match("^(%S+) (%d+)$")
    start[case.kind](try, host or target, tonumber(port) or case.port)
  end
  return try
end

-- ---- All at once ------------------------------------------------------------

local function is_done(try, contacts)
  if try.step then try.step() end
  return try.address or try.failure
    or try.wire_tells and contacts.by_port[try.case.port]
end

local function all_done(tries, contacts)
  local asked
  for _, try in ipairs(tries) do
    if try.wire_tells and not asked and not try.failure then
      contacts:update()
      asked = true
    end
    if not is_done(try, contacts) then return false end
  end
  return true
end


-- No more at once than there is room for records of refusals.
local AT_ONCE = 150

local function make_room(tries)
  helper.run_until(function()
    local under_way = 0
    for _, try in ipairs(tries) do
      if not (try.address or try.failure) then under_way = under_way + 1 end
    end
    return under_way < AT_ONCE
  end, 10000, "tries to end")
end

-- Begins the cases that `wants` chooses, each under the policy of its group,
-- and waits for the end of all.
local function run_phase(list, phase, policy_of, wants)
  local tries, contacts, group = {}, new_contacts(), nil
  for _, case in ipairs(list) do
    if wants(case) then
      if case.group ~= group then
        group = case.group
        apply(policy_of(group))
      end
      case.policy = policy_of(group)
      tries[#tries + 1] = begin(case, phase)
      if #tries % 50 == 0 then make_room(tries) end
    end
  end
  -- One that never ends is judged by that.
  pcall(helper.run_until, function() return all_done(tries, contacts) end,
    10000)
  contacts:update()
  for _, try in ipairs(tries) do
    if try.task then try.task:close() end
  end
  if not pcall(helper.run_until, function()
    return net.stats().live == 0
  end, 10000) then
    net.close()
  end
  contacts:update()
  return tries, contacts
end

-- ---- Judgement --------------------------------------------------------------

local DENY = "denyPrivateAddresses"

-- errMsg begins with that; errno; errCode of urls, and of TCP and UDP; the
-- beginning of `reason`.
local WANTED = {
  private = { "private address is not allowed", 600002, -10, -3, DENY },
  resolved = { "private address is not allowed", 600002, -10, -3, DENY },
  domain = { "url not in domain list", 600002, -10, -3, "domains." },
  scheme = { "url scheme is not allowed", 600011, -10 },
  port = { "url port is not allowed", 600011, -10, 0, "allowUrlPort" },
  invalid = { 'invalid url "', 600009, -300 },
  unresolved = { "-105:net::ERR_NAME_NOT_RESOLVED", 600001, -105, 1 },
  proxy = { "proxy is not allowed", 102, -10, 0, "allowProxy" },
  refused = { "-102:net::ERR_CONNECTION_REFUSED", 600001, -102 },
  status = { "Invalid HTTP status 30", 600001, -1 },
}

-- What TCP and UDP call otherwise.
local WANTED_ENDPOINT = {
  invalid = { 'invalid address "', 600005, 0, 1 },
  port = { "port is not allowed", 102, 0, 2, "limits.tcpForbiddenPorts" },
}

local WANTED_PROXY = {
  invalid = { 'invalid proxy "', 600005, -1 },
}

local REFUSALS = { private = true, resolved = true, domain = true,
  scheme = true, port = true, proxy = true }

local function is_endpoint(case)
  local kind = case.kind
  return kind:find("tcp", 1, true) or kind:find("udp", 1, true)
    or kind == "tls"
end

local function show(res)
  return ("%s errno %s errCode %s reason %s"):format(tostring(res.errMsg),
    tostring(res.errno), tostring(res.errCode), tostring(res.reason))
end

local function judge_failure(try)
  local case, res = try.case, try.failure
  local wanted = is_endpoint(case) and WANTED_ENDPOINT[case.want]
    or case.kind:find("^proxy") and WANTED_PROXY[case.want]
    or WANTED[case.want]
  local text, errno, code, endpoint_code, reason = (table.unpack or unpack)(
    wanted, 1, 5)
  local message = res.errMsg:match("^[%w.]+:fail (.*)$")
  if not message or message:sub(1, #text) ~= text or res.errno ~= errno
    or res.errCode ~= (is_endpoint(case) and endpoint_code or code) then
    return show(res)
  end
  if message == 'invalid url "invalid URL"' then return "which url?" end
  if reason and (res.reason or ""):sub(1, #reason) ~= reason then
    return "reason " .. tostring(res.reason)
  end
  -- What the url alone shows is a fail, and the rest comes later.
  local late = case.want == "resolved" or case.want == "unresolved"
    or case.want == "status" or case.want == "refused"
  if case.kind:find("^socket") and late ~= (try.late or false) then
    return "an error " .. (late and "at once" or "later")
  end
end

-- A refusal is told to the host, once, and nothing else is.
local function judge_records(try, records)
  local case, list = try.case, records[try.id] or {}
  -- Nobody is told which task that is.
  if case.kind == "mdns" then
    list = { table.remove(records.mdns, 1) }
  elseif case.kind == "backup" then
    list = records.by_port[case.port] or {}
  end
  local want = REFUSALS[case.want] and 1 or 0
  -- Of connect and of write.
  if case.kind == "udp-connect" and #list == 2 then want = 2 end
  if #list ~= want then
    return ("%d records of refusals, not %d"):format(#list, want)
  end
  local record = list[1]
  if not record then return end
  if type(record.rule) ~= "string" or record.rule == "" then
    return "a record without a rule"
  elseif not record.target or record.target:find("[@?]")
    or record.target:find("[^:/]/") then
    return "a record of " .. tostring(record.target)
  end
end

local function judge(try, contacts)
  local case, seen = try.case, contacts:of(try.case.port)
  if case.want == "ok" then
    if try.failure then return show(try.failure) end
    if try.wire_tells or try.address == case.address then
      local own = case.target:find("{p}", 1, true)
        or is_endpoint(case) and not case.target:find(" ", 1, true)
      if seen == case.address or seen == "" and not own then return "ok" end
    end
    return ("reached %s, contacted %s"):format(tostring(try.address), seen)
  end
  if try.address then return "reached " .. try.address end
  if seen ~= "" then return "contacted " .. seen end
  if not try.failure then return "nothing happened" end
  return judge_failure(try) or "ok"
end

-- Without a policy: the case leads where it says.
local function judge_free(try, contacts)
  local case = try.case
  local port = case.kind == "mdns" and 5353 or case.port
  if try.address == case.address
    or (contacts.by_port[port] or {})[case.address] then
    return "ok"
  end
  return ("without a policy: contacted %s, not %s (%s)"):format(
    contacts:of(port), case.address, try.failure and show(try.failure)
    or "no error")
end

-- A context warms TLS up over a connection to itself, on a port that the system
-- chose.
local function is_warm_up(contact)
  local port = tonumber(contact.line:match("^tcp 127%.0%.0%.1 (%d+)$"))
  return port and port > LAST_PORT
end

local function judge_strays(list, contacts)
  local allowed, strays = {}, {}
  for _, case in ipairs(list) do
    if case.want == "ok" then allowed[case.address] = true end
  end
  for _, contact in ipairs(contacts.all) do
    if not allowed[contact.address] and not is_warm_up(contact) then
      strays[#strays + 1] = contact.line
    end
  end
  if contacts.lost > 0 then
    strays[1] = contacts.lost .. " packets were not seen"
  end
  return #strays == 0 and "ok" or table.concat(strays, ", ")
end

-- ---- Inside -----------------------------------------------------------------

-- The records of refusals by task, from now on.
local function keep_records()
  local records = { mdns = {}, by_port = {} }
  local function keep(list, key, record)
    list[key] = list[key] or {}
    table.insert(list[key], record)
  end
  net.onAudit(function(record)
    local is_scan = record.api == "startLocalServiceDiscovery"
    keep(records, is_scan and "mdns" or record.task, record)
    local port = (record.target or ""):match(":(%d+)$")
    if port then keep(records.by_port, tonumber(port), record) end
  end)
  return records
end

local function say(number, text)
  print(number .. " " .. text:gsub("%c", " "))
end

function hostile.main()
  helper = require "helper"
  net = helper.net
  net.setLogger(function() end)
  -- In another locale libcurl knows no international names, which would be the
  -- easy case.
  assert(os.setlocale("C.UTF-8", "ctype"))
  net.configure { caFile = helper.servers.ca, timeouts = { tcp = 5000 },
    limits = { maxLookups = 64 } }
  local list, said = hostile.list(), {}
  local tries, contacts = run_phase(list, "f", function() return OPEN end,
    function(case) return case.address and case.want ~= "ok" end)
  for _, try in ipairs(tries) do
    said[try.case.number] = judge_free(try, contacts)
  end
  local records = keep_records()
  tries, contacts = run_phase(list, "p", function(group)
    return group.policy
  end, function() return true end)
  for _, try in ipairs(tries) do
    local number = try.case.number
    local text = said[number] or "ok"
    if text == "ok" then text = judge(try, contacts) end
    if text == "ok" then text = judge_records(try, records) or "ok" end
    say(number, text)
  end
  say("strays", judge_strays(list, contacts))
end

return hostile
