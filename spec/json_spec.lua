-- JSON in the core: numbers, strings, arrays and objects both ways, what is
-- refused and what the refusal says.

require "helper" -- for its collector

local core = require "nettask.core"

local encode, decode = core.jsonEncode, core.jsonDecode
local array, null = core.array, core.null
local has_integers = math.type ~= nil

-- "[[[...]]]", `depth` of them.
local function nested_text(depth)
  return string.rep("[", depth) .. string.rep("]", depth)
end

local function nested_table(depth)
  local value = array()
  for _ = 2, depth do value = { value } end
  return value
end

describe("jsonEncode", function()
  local texts = {
    { "an empty table", {}, "{}" },
    { "an empty array", array {}, "[]" },
    { "an array", { 1, "two", true, null }, '[1,"two",true,null]' },
    { "sorted keys", { b = 1, a = 2, B = 3, ["\195\164"] = 4 },
      '{"B":3,"a":2,"b":1,"\195\164":4}' },
    { "number keys of an object", { [1] = "a", [3] = "b", x = "c" },
      '{"1":"a","3":"b","x":"c"}' },
    { "a hole makes an object", { [2] = "a" }, '{"2":"a"}' },
    { "fraction keys", { [1.5] = true }, '{"1.5":true}' },
    { "nesting", { list = { { id = 1 }, {} } }, '{"list":[{"id":1},{}]}' },
    { "a string", "text", '"text"' },
    { "escapes", 'a"b\\c\n\t\0\22', '"a\\"b\\\\c\\n\\t\\u0000\\u0016"' },
    { "UTF-8", "\228\184\173\240\159\152\128",
      '"\228\184\173\240\159\152\128"' },
    { "true", true, "true" },
    { "null", null, "null" },
    { "an integral float", 3.0, "3" },
    { "negative zero", -0.0, "0" },
    { "0.1", 0.1, "0.1" },
    { "0.1 + 0.2", 0.1 + 0.2, "0.30000000000000004" },
    { "1e300", 1e300, "1e300" },
    { "2^53 - 1", 2 ^ 53 - 1, "9007199254740991" },
    { "-(2^53 - 1)", -(2 ^ 53 - 1), "-9007199254740991" },
  }
  for _, case in ipairs(texts) do
    it("writes " .. case[1], function()
      assert.are.equal(case[3], encode(case[2]))
    end)
  end

  it("keeps every double", function()
    local values = { 0.1, 1 / 3, 0.1 + 0.2, 5e-324, 1.7976931348623157e308,
      2 ^ 53, 2 ^ 63, -1.5, 123456.789 }
    local result = decode(encode(values))
    for i, value in ipairs(values) do
      assert.are.equal(value, result[i])
      assert.are.equal(value, decode(encode(value)))
    end
  end)

  it("keeps 64-bit integers where Lua has them", function()
    if has_integers then
      assert.are.equal("9223372036854775807", encode(math.maxinteger))
      assert.are.equal("-9223372036854775808", encode(math.mininteger))
    else
      assert.are.equal("9.223372036854776e18", encode(2 ^ 63))
    end
  end)

  it("reads tables raw", function()
    local never = function() error("called") end
    local value = setmetatable({ a = 1 }, { __index = never, __pairs = never,
      __len = never, __tostring = never })
    assert.are.equal('{"a":1}', encode(value))
  end)

  it("writes the same table twice when it is no cycle", function()
    local shared = { 1 }
    assert.are.equal('{"a":[1],"b":[1]}', encode { a = shared, b = shared })
  end)

  local loop = { list = {} }
  loop.list[1] = { back = loop }
  local refused = {
    { "nil", nil, "data: a value of type nil has no JSON form" },
    { "a function", { list = { 1, print } },
      "data.list[2]: a value of type function has no JSON form" },
    { "a thread", { coroutine.create(function() end) },
      "data[1]: a value of type thread has no JSON form" },
    { "a file", { ["the file"] = io.stdout },
      'data["the file"]: a value of type ' },
    { "a Buffer", { core.buffer("x") },
      "data[1]: a value of type nettask.Buffer has no JSON form" },
    { "NaN", { a = 0 / 0 }, "data.a: NaN and Infinity are not JSON" },
    { "Infinity", { math.huge }, "data[1]: NaN and Infinity are not JSON" },
    { "an infinite key", { [math.huge] = 1 },
      "data: an infinite number cannot be a key" },
    { "a boolean key", { a = { [true] = 1 } },
      "data.a: a boolean cannot be a key" },
    { "a table as key", { [{}] = 1 }, "data: a table cannot be a key" },
    { "a key twice", { x = 1, [1] = 1, ["1"] = 2 },
      "data: a number and a string are the same key" },
    { "a cycle", loop, "data.list[1].back: a cycle" },
    { "bad UTF-8", { a = "ok\255" }, "data.a: invalid UTF-8 at byte 3" },
    { "a surrogate", "\237\160\128", "data: invalid UTF-8 at byte 1" },
    { "a bad key", { ["\255\n"] = 1 },
      'data["??"]: the key is not valid UTF-8' },
    { "a zero in a key", { ["a\0b"] = 1 },
      'data["a?b"]: a key with a zero byte' },
    { "a marked table with fields", array { 1, n = 1 },
      "data: marked as an array, but its keys are not 1 to n" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local text, message = encode(case[2])
      assert.is_nil(text)
      assert.are.equal(case[3], message:sub(1, #case[3]))
    end)
  end

  it("calls the value by the name given", function()
    local _, message = encode({ print }, "formData.x")
    assert.is_truthy(message:find("formData.x[1]: ", 1, true))
  end)

  it("nests 128 levels and no more", function()
    assert.are.equal(nested_text(128), encode(nested_table(128)))
    local text, message = encode(nested_table(129))
    assert.is_nil(text)
    assert.is_truthy(message:find("nested too deep", 1, true))
    assert.is_true(#message < 400)
  end)

  it("raises without an argument", function()
    assert.has_error(function() encode() end)
  end)
end)

describe("jsonDecode", function()
  it("reads objects, arrays and scalars", function()
    local value = decode ' {"a":[1,2.5,"x\\u4e2d\\u0000",true,false],"o":{}} '
    assert.are.same({ 1, 2.5, "x\228\184\173\0", true, false }, value.a)
    assert.are.same({}, value.o)
    assert.are.equal("x", decode '"x"')
    assert.are.equal(12, decode "12")
    assert.is_false(decode "false")
  end)

  it("reads a Buffer", function()
    assert.are.same({ 1 }, decode(core.buffer("[1]")))
  end)

  it("reads null as null, at every place", function()
    assert.are.equal(null, decode "null")
    local value = decode '[null,{"a":null}]'
    assert.are.equal(null, value[1])
    assert.are.equal(null, value[2].a)
    assert.are.equal("null", tostring(null))
  end)

  it("gives empty arrays and objects back as they were", function()
    local text = '{"a":[],"b":{},"c":[[],{}]}'
    assert.are.equal(text, encode(decode(text)))
  end)

  it("leaves an array that was emptied an array", function()
    local list = decode "[1]"
    list[1] = nil
    assert.are.equal("[]", encode(list))
  end)

  it("lets scripts copy the metatable of an array", function()
    local copy = setmetatable({}, getmetatable(decode "[]"))
    assert.are.equal("[]", encode(copy))
  end)

  it("keeps 64-bit integers where Lua has them", function()
    local value = decode "[9007199254740991,9223372036854775807,-1]"
    assert.are.equal(2 ^ 53 - 1, value[1])
    assert.are.equal(-1, value[3])
    if has_integers then
      assert.are.equal(math.maxinteger, value[2])
      assert.are.equal("integer", math.type(value[1]))
      assert.are.equal("float", math.type(decode "1.0"))
    else
      assert.are.equal(2 ^ 63, value[2])
    end
  end)

  it("reads larger integers as floats, and leaves the others", function()
    local value = decode('{"s":"18446744073709551616 \\"9","big":'
      .. '[18446744073709551616,-9223372036854775809,9223372036854775807],'
      .. '"one":1,"e":12345678901234567890e2}')
    assert.are.equal('18446744073709551616 "9', value.s)
    assert.are.equal(2 ^ 64, value.big[1])
    assert.are.equal(-2 ^ 63, value.big[2])
    assert.are.equal(12345678901234567890e2, value.e)
    if has_integers then
      assert.are.equal("float", math.type(value.big[1]))
      assert.are.equal(math.maxinteger, value.big[3])
      assert.are.equal("integer", math.type(value.one))
    end
  end)

  it("skips one byte-order mark", function()
    assert.are.same({ 1 }, decode "\239\187\191[1]")
    assert.is_nil((decode "\239\187\191\239\187\191[1]"))
  end)

  it("reads 128 levels and no more", function()
    assert.is_table(decode(nested_text(128)))
    local value, message = decode(nested_text(129))
    assert.is_nil(value)
    assert.are.equal("nested deeper than 128 levels", message)
    assert.is_nil((decode(nested_text(100000))))
    assert.is_nil((decode(string.rep('{"a":', 5000))))
  end)

  local broken = { "", " ", "{", "[1,]", "{'a':1}", "nul", "<html>", "[1] x",
    '"\255"', '"\237\160\128"', '"\192\128"', '"\\ud800"', "1e999", "01",
    "-", "NaN", '{"a\\u0000b":1}', '{"a" 1}', string.rep("9", 400) }
  for _, text in ipairs(broken) do
    it(("refuses %q"):format(text:sub(1, 20)), function()
      local value, message = decode(text)
      assert.is_nil(value)
      assert.are.equal("string", type(message))
    end)
  end

  it("refuses a text that is cut anywhere", function()
    local text = '{"a":[1,-2.5e3,"x\\n\228\184\173"],"b":{"c":null}}'
    assert.is_table(decode(text))
    for size = 0, #text - 1 do
      assert.is_nil((decode(text:sub(1, size))))
    end
  end)

  it("raises for anything but bytes", function()
    for _, value in ipairs { 12, {}, true, null } do
      assert.has_error(function() decode(value) end)
    end
  end)

  it("works inside a finaliser that runs in another decode", function()
    local inner = 0
    local function arm()
      local proxy = newproxy and newproxy(true) or setmetatable({}, {
        __gc = function() end })
      getmetatable(proxy).__gc = function()
        if decode('{"a":[1,2,3]}').a[3] == 3 then inner = inner + 1 end
        if encode { 1, 2 } == "[1,2]" then inner = inner + 1 end
      end
      if not newproxy then setmetatable(proxy, getmetatable(proxy)) end
    end
    local text = "[" .. string.rep('{"k":[1,2]},', 2000) .. "0]"
    for _ = 1, 50 do
      for _ = 1, 20 do arm() end
      assert.are.equal(2001, #decode(text))
      if inner > 0 then break end
    end
    collectgarbage()
    assert.is_true(inner > 0)
  end)
end)

describe("array", function()
  it("marks and returns its table", function()
    local list = {}
    assert.are.equal(list, array(list))
    assert.are.equal(list, array(list))
    assert.are.equal("[]", encode(list))
    assert.are.equal("[]", encode(array()))
  end)

  it("refuses other values and other metatables", function()
    assert.has_error(function() array(1) end)
    assert.has_error(function() array(setmetatable({}, {})) end)
  end)
end)

describe("null", function()
  it("is one locked value", function()
    assert.is_false(getmetatable(null))
    assert.has_error(function() null.x = 1 end)
    assert.are.equal("userdata", type(null))
  end)
end)
