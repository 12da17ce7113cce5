-- Query strings from tables, and appending them to URLs.

require "helper" -- for its collector

local core = require "nettask.core"
local query = require "nettask.query"

describe("query.escape", function()
  it("leaves what encodeURIComponent leaves", function()
    local plain = "ABCXYZabcxyz0189-_.!~*'()"
    assert.are.equal(plain, query.escape(plain))
  end)

  it("escapes every other byte", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      if not char:find("[A-Za-z0-9%-_.!~*'()]") then
        local expected = ("%%%02X"):format(byte)
        assert.are.equal(expected, query.escape(char))
      end
    end
    assert.are.equal("a%20b%26%3D%2B%00", query.escape("a b&=+\0"))
    assert.are.equal("%E4%B8%AD", query.escape("\228\184\173"))
  end)
end)

describe("query.encode", function()
  local texts = {
    { "an empty table", {}, "" },
    { "sorted keys", { b = 1, a = 2, B = 3, ab = 4 }, "B=3&a=2&ab=4&b=1" },
    { "bytes beyond ASCII last", { ["\195\164"] = 1, z = 2 },
      "z=2&%C3%A4=1" },
    { "scalars", { f = 1.5, i = 3.0, s = "x y", t = true, u = false },
      "f=1.5&i=3&s=x%20y&t=true&u=false" },
    { "null", { a = core.null }, "a=null" },
    { "large numbers", { a = 2 ^ 53 - 1, b = 0.1 + 0.2 },
      "a=9007199254740991&b=0.30000000000000004" },
    { "nested tables as JSON", { o = { a = { 1, "x" } }, e = core.array() },
      "e=%5B%5D&o=%7B%22a%22%3A%5B1%2C%22x%22%5D%7D" },
    { "a list of pairs in order", { { "b", 1 }, { "a", "x" }, { "b", 2 } },
      "b=1&a=x&b=2" },
    { "a list that is none of pairs", { "x", "y" }, "1=x&2=y" },
    { "pairs with number keys", { { 1, 2 }, { 2, core.null } },
      "1=2&2=null" },
    { "lists of other tables", { { "a", 1, 2 } },
      "1=%5B%22a%22%2C1%2C2%5D" },
    { "pairs with other fields", { { "a", 1 }, x = 1 },
      "1=%5B%22a%22%2C1%5D&x=1" },
    { "empty keys and values", { [""] = "" }, "=" },
  }
  for _, case in ipairs(texts) do
    it("writes " .. case[1], function()
      assert.are.equal(case[3], query.encode(case[2]))
    end)
  end

  local loop = {}
  loop.loop = loop
  local refused = {
    { "a function", { f = print }, "data.f: " },
    { "a nested function", { o = { print } }, "data.o[1]: " },
    { "a Buffer", { b = core.buffer("x") }, "data.b: " },
    { "NaN", { n = 0 / 0 }, "data.n: NaN" },
    { "a cycle", loop, "data.loop.loop: a cycle" },
    { "a boolean key", { [true] = 1 }, "data: a boolean cannot be a key" },
    { "a key twice", { x = 1, [1] = 1, ["1"] = 1 },
      "data: a number and a string are the same key" },
    { "a pair with a function", { { "k", print } }, "data.k: " },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local text, message = query.encode(case[2])
      assert.is_nil(text)
      assert.are.equal(case[3], message:sub(1, #case[3]))
    end)
  end

  it("calls no metamethod", function()
    local never = function() error("called") end
    local data = setmetatable({ a = 1 }, { __index = never, __pairs = never,
      __len = never })
    assert.are.equal("a=1", query.encode(data))
  end)
end)

describe("query.append", function()
  local urls = {
    { "http://h/p", "http://h/p?a=1" },
    { "http://h/p?", "http://h/p?a=1" },
    { "http://h/p?x=2", "http://h/p?x=2&a=1" },
    { "http://h/p?x=2&", "http://h/p?x=2&a=1" },
    { "http://h/p#top", "http://h/p?a=1#top" },
    { "http://h/p?x#a?b#c", "http://h/p?x&a=1#a?b#c" },
    { "http://h/p#?x", "http://h/p?a=1#?x" },
    { "", "?a=1" },
  }
  for _, case in ipairs(urls) do
    it(("adds to %q"):format(case[1]), function()
      assert.are.equal(case[2], query.append(case[1], "a=1"))
      assert.are.equal(case[1], query.append(case[1], ""))
    end)
  end
end)
