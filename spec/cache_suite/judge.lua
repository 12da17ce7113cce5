-- How http-cache-tests judges one of its tests: client/test.mjs of the suite in
-- Lua, check by check and in its order. A verdict is raised as a table {
-- name, message }, where name is "Setup" (the test could not be made) or
-- "Assertion" (the cache did not pass it), as the suite's results say it.

local judge = {}

local NO_BODY = { [204] = true, [304] = true }
local DATES = { date = true, expires = true, ["last-modified"] = true,
  ["if-modified-since"] = true, ["if-unmodified-since"] = true }
local LOCATIONS = { location = true, ["content-location"] = true }
-- A browser hides these from its scripts.
local HIDDEN = { ["set-cookie"] = true, ["set-cookie2"] = true }
local DAYS = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday",
  "Friday", "Saturday" }

function judge.raise(name, message)
  error({ name = name, message = message }, 0)
end

local function check(is_setup, ok, message, ...)
  if not ok then
    judge.raise(is_setup and "Setup" or "Assertion",
      message:format(...))
  end
end

local function contains(list, value)
  for _, entry in ipairs(list or {}) do
    if entry == value then return true end
  end
  return false
end

-- Whether a failure of this check says nothing of the cache.
local function is_setup(request, check_name)
  return request.setup == true or contains(request.setup_tests, check_name)
end

-- ---- Values that are known only once the server has answered ---------------

local function http_date(now_ms, delta, format)
  local time = math.floor(now_ms / 1000 + delta)
  if format == "rfc850" then
    local day = DAYS[os.date("!*t", time).wday]
    return day .. os.date("!, %d-%b-%y %H:%M:%S GMT", time)
  end
  return os.date("!%a, %d %b %Y %H:%M:%S GMT", time)
end

-- A value of the suite in the light of an answer's headers: a date is given as
-- seconds from then, a location by its last segment.
function judge.resolve(field, header, request)
  local name, value = field[1]:lower(), field[2]
  if DATES[name] and type(value) == "number" then
    return http_date(tonumber(header["Server-Now"]), value,
      contains(request.rfc850date, name) and "rfc850" or nil)
  end
  if LOCATIONS[name] and request.magic_locations then
    local base = header["Server-Base-Url"]
    return value ~= "" and base .. "/" .. value or base
  end
  return value
end

-- ---- An answer -------------------------------------------------------------

local function check_retry(header)
  local seen = {}
  for number in (header["Request-Numbers"] or ""):gmatch("%S+") do
    check(true, not seen[number], "retry")
    seen[number] = true
  end
end

local function check_type(request, number, res)
  local setup = is_setup(request, "expected_type")
  local count = tonumber(res.header["Server-Request-Count"])
  if request.expected_type == "cached" then
    local own_304 = res.statusCode == 304 and not count
    check(setup, own_304 or count and count < number,
      "Response %d does not come from cache", number)
  elseif request.expected_type == "not_cached" then
    check(setup, count == number, "Response %d comes from cache", number)
  end
end

local function check_status(request, number, res)
  local status, wanted, setup = res.statusCode, 200, true
  if request.expected_status then
    wanted = request.expected_status
    setup = is_setup(request, "expected_status")
  elseif request.response_status then
    wanted = request.response_status[1]
  elseif status == 999 then
    check(is_setup(request, "expected_type"), false,
      "Request %d should have been conditional, but it was not", number)
  end
  check(setup, status == wanted, "Response %d status is %d, not %d", number,
    status, wanted)
end

local function check_header(field, request, number, res)
  local setup = is_setup(request, "expected_response_headers")
  local name = type(field) == "string" and field or field[1]
  local value = res.header[name]
  if type(field) == "string" or #field > 2 then
    check(setup, value, "Response %d has no header %s", number, name)
  end
  if type(field) == "string" then return end
  local operator = #field > 2 and field[2]
  if operator == ">" then
    check(setup, (tonumber(value) or -1) > field[3],
      "Response %d header %s is %s, should be above %d", number, name,
      tostring(value), field[3])
    return
  end
  local wanted = operator == "=" and res.header[field[3]]
    or not operator and judge.resolve(field, res.header, request)
  check(setup, value == wanted, "Response %d header %s is %q, not %q", number,
    name, tostring(value), tostring(wanted))
end

-- Where the suite looks for a part of a value its own client never finds it, by
-- a slip; here it does.
local function check_missing(field, request, number, res)
  local setup = is_setup(request, "expected_response_headers_missing")
  if type(field) == "string" then
    check(setup, not res.header[field], "Response %d has the header %s",
      number, field)
  else
    local value = res.header[field[1]] or ""
    check(setup, not value:find(field[2], 1, true),
      "Response %d header %s still has the value %q", number, field[1], value)
  end
end

-- `null` is JSON's; `id` is what the server says when nothing else is asked.
local function check_body(request, number, res, id, null)
  local wanted, setup = id, true
  if request.check_body == false then return end
  if request.expected_response_text ~= nil then
    if request.expected_response_text == null then return end
    wanted = request.expected_response_text
    setup = is_setup(request, "expected_response_text")
  elseif request.response_body ~= nil and request.response_body ~= null then
    wanted = request.response_body
  elseif NO_BODY[res.statusCode] or request.request_method == "HEAD" then
    return
  end
  check(setup, res.data == wanted, "Response %d body is %q, not %q", number,
    res.data, wanted)
end

function judge.answer(request, number, res, id, null)
  check_retry(res.header)
  check_type(request, number, res)
  check_status(request, number, res)
  for _, field in ipairs(request.expected_response_headers or {}) do
    check_header(field, request, number, res)
  end
  for _, field in ipairs(request.expected_response_headers_missing or {}) do
    check_missing(field, request, number, res)
  end
  check_body(request, number, res, id, null)
end

-- ---- What the server saw ---------------------------------------------------

local VALIDATORS = { etag_validated = "if-none-match",
  lm_validated = "if-modified-since" }

local function check_sent(request, number, seen)
  local setup = is_setup(request, "expected_type")
  if request.expected_type == "not_cached" then
    if not seen then judge.raise("Missing", "no such request arrived") end
    check(setup, seen.request_num == number, "Response %d comes from cache",
      number)
  end
  local validator = VALIDATORS[request.expected_type]
  if validator then
    check(setup, seen, "Request %d did not arrive", number)
    check(setup, seen.request_headers[validator],
      "Request %d has no header %s", number, validator)
  end
end

local function check_sent_headers(request, number, seen)
  local setup = is_setup(request, "expected_request_headers")
  for _, field in ipairs(request.expected_request_headers or {}) do
    if not seen then judge.raise("Missing", "no such request arrived") end
    local name = type(field) == "string" and field or field[1]
    local value = seen.request_headers[name:lower()]
    if type(field) == "string" then
      check(setup, value, "Request %d has no header %s", number, name)
    else
      check(setup, value == field[2], "Request %d header %s is %q, not %q",
        number, name, tostring(value), field[2])
    end
  end
end

-- What the server answered has to be what came.
local function check_received(number, seen, res)
  for _, field in ipairs(seen and seen.response_headers or {}) do
    local name, wanted = field[1], field[2]
    if type(wanted) == "table" then wanted = table.concat(wanted, ", ") end
    if not HIDDEN[name:lower()] and name:lower() ~= "date" then
      check(true, res.header[name] == tostring(wanted),
        "Response %d header %s is %q, not %q", number, name,
        tostring(res.header[name]), tostring(wanted))
    end
  end
end

-- `state` is the server's list of what arrived.
function judge.requests(requests, answers, state)
  local at = 1
  for number, request in ipairs(requests) do
    if request.expected_type ~= "cached" then
      local seen = state[at]
      at = at + 1
      check_sent(request, number, seen)
      check_sent_headers(request, number, seen)
      check_received(number, seen, answers[number])
      if request.expected_method then
        if not seen then judge.raise("Missing", "no such request arrived") end
        check(is_setup(request, "expected_method"),
          seen.request_method == request.expected_method,
          "Request %d had the method %s, not %s", number, seen.request_method,
          request.expected_method)
      end
    end
  end
end

return judge
