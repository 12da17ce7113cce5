-- nettask.Buffer: bytes apart from text.

require "helper" -- for its collector

local core = require "nettask.core"

local buffer = core.buffer

describe("Buffer", function()
  local bytes = "a\0b\255\r\n"

  it("holds the bytes of a string", function()
    local b = buffer(bytes)
    assert.are.equal("userdata", type(b))
    assert.are.equal(#bytes, #b)
    assert.are.equal(#bytes, b.byteLength)
    assert.are.equal(bytes, tostring(b))
    assert.is_nil(b.other)
    assert.is_nil(b[1])
  end)

  it("may be empty", function()
    local b = buffer("")
    assert.are.equal(0, #b)
    assert.are.equal("", tostring(b))
    assert.are.equal("", b:sub(1, -1))
    assert.are.equal(0, #b:slice())
  end)

  it("copies another Buffer", function()
    assert.are.equal(bytes, tostring(buffer(buffer(bytes))))
  end)

  it("cuts as string.sub does", function()
    local text = "abcdef"
    local b = buffer(text)
    for i = -8, 8 do
      for j = -8, 8 do
        assert.are.equal(text:sub(i, j), b:sub(i, j))
        assert.are.equal(text:sub(i, j), tostring(b:slice(i, j)))
      end
      assert.are.equal(text:sub(i), b:sub(i))
    end
    assert.are.equal(text, b:sub())
    local far = math.maxinteger or 2 ^ 31 - 1
    assert.are.equal(text, b:sub(-far, far))
    assert.are.equal("", b:sub(far, -far))
  end)

  it("slices into a Buffer that outlives its source", function()
    local b = buffer(string.rep("x", 1000) .. "end")
    local slice = b:slice(-3)
    b = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.are.equal("userdata", type(slice))
    assert.are.equal("end", tostring(slice))
  end)

  it("compares by its bytes", function()
    assert.is_true(buffer("ab") == buffer("ab"))
    assert.is_false(buffer("ab") == buffer("ac"))
    assert.is_false(buffer("ab") == buffer("abc"))
    assert.is_false(buffer("ab") == "ab")
    assert.is_false(buffer("null") == core.null)
  end)

  it("joins with strings into a string", function()
    local b = buffer("b")
    assert.are.equal("ab", "a" .. b)
    assert.are.equal("ba", b .. "a")
    assert.are.equal("bb", b .. b)
    assert.are.equal("b1", b .. 1)
    assert.has_error(function() return b .. {} end)
    assert.has_error(function() return b .. nil end)
  end)

  it("is made of strings and Buffers only", function()
    for _, value in ipairs { 12, true, {}, print, core.null } do
      local ok, message = pcall(buffer, value)
      assert.is_false(ok)
      assert.is_truthy(message:find("string or Buffer expected", 1, true))
    end
    assert.has_error(function() buffer() end)
  end)

  it("cannot be changed or taken apart", function()
    local b = buffer("x")
    assert.is_false(getmetatable(b))
    assert.has_error(function() b.x = 1 end)
    assert.has_error(function() b.sub("text", 1) end)
    assert.has_error(function() b.sub(core.null, 1) end)
    assert.has_error(function() b:sub("x") end)
  end)
end)
