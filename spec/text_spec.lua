-- Text conversions: base64, the UTF-8 check, character sets.

require "helper" -- for its collector

local core = require "nettask.core"

describe("base64", function()
  -- RFC 4648, section 10, and bytes that need all of the alphabet.
  local pairs_of = {
    { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" }, { "\0\0\0", "AAAA" },
    { "\251\255\191", "+/+/" },
  }
  for _, case in ipairs(pairs_of) do
    it(("turns %q into %q and back"):format(case[1], case[2]), function()
      assert.are.equal(case[2], core.base64Encode(case[1]))
      assert.are.equal(case[1], core.base64Decode(case[2]))
    end)
  end

  it("keeps all bytes at all lengths", function()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local text = table.concat(bytes)
    for size = 250, 256 do
      local part = text:sub(1, size)
      assert.are.equal(part, core.base64Decode(core.base64Encode(part)))
    end
    assert.are.equal("AAECAw==", core.base64Encode(core.buffer("\0\1\2\3")))
  end)

  local broken = { "A", "Zg", "Zg=", "Zg===", "====", "Z===", "=AAA", "Z=g=",
    "Zg==Zg==", "Zm9v\n", "Zm 9", "Zm-_", "Zm9\255", "Zh==", "Zm9=", "AA\0A" }
  for _, text in ipairs(broken) do
    it(("refuses %q"):format(text), function()
      local bytes, message = core.base64Decode(text)
      assert.is_nil(bytes)
      assert.is_truthy(message:find("invalid base64", 1, true))
    end)
  end

  it("raises for other types", function()
    assert.has_error(function() core.base64Encode({}) end)
    assert.has_error(function() core.base64Decode({}) end)
  end)
end)

describe("isUtf8", function()
  -- The borders of the Unicode standard, table 3-7.
  local good = { "", "abc\0", "\194\128", "\223\191", "\224\160\128",
    "\237\159\191", "\238\128\128", "\239\191\191", "\240\144\128\128",
    "\244\143\191\191" }
  local bad = { "\128", "\191", "\192\128", "\193\191", "\224\159\191",
    "\237\160\128", "\237\191\191", "\240\143\191\191", "\244\144\128\128",
    "\245\128\128\128", "\255", "\194", "\194a", "\224\160", "\224\160a",
    "\240\144\128", "\240\144\128a", "a\128" }

  it("accepts the well-formed", function()
    for _, text in ipairs(good) do assert.is_true(core.isUtf8(text)) end
  end)

  it("refuses the rest", function()
    for _, text in ipairs(bad) do assert.is_false(core.isUtf8(text)) end
  end)
end)

describe("toUtf8", function()
  local chinese = "\228\184\173\230\150\135" -- two characters

  it("removes one byte-order mark, whatever the label", function()
    assert.are.equal("x", core.toUtf8("\239\187\191x"))
    assert.are.equal("x", core.toUtf8("\239\187\191x", "gbk"))
    assert.are.equal("\239\187\191x", core.toUtf8("\239\187\191\239\187\191x"))
    assert.are.equal("", core.toUtf8("\239\187\191"))
  end)

  it("passes on UTF-8, no label and labels that it does not know", function()
    for _, label in ipairs { "utf-8", "UTF8", "us-ascii", "", "x-none",
      "../../etc/passwd", "UTF-16//IGNORE", ("x"):rep(1000) } do
      assert.are.equal("\255\254" .. chinese,
        core.toUtf8("\255\254" .. chinese, label))
    end
    assert.are.equal(chinese, core.toUtf8(core.buffer(chinese)))
  end)

  -- A build without a converter passes these on.
  local converts = core.toUtf8("\233", "iso-8859-1") ~= "\233"
  local texts = {
    { "iso-8859-1", "caf\233\128", "caf\195\169\194\128" },
    { "ISO_8859-1", "\255", "\195\191" },
    { '"latin1"', "\233", "\195\169" },
    { "windows-1252", "\128", "\226\130\172" },
    { "gbk", "\214\208\206\196", chinese },
    { "GB2312", "\214\208\206\196", chinese },
    { "gb18030", "\214\208\206\196\0x", chinese .. "\0x" },
    { "big5", "\164\164\164\229", chinese },
    { "shift_jis", "\146\134\149\182", chinese },
    { "utf-16le", "-N\135e", chinese },
    { "utf-16be", "N-e\135", chinese },
    { "utf-16", "-N\135e", chinese },
    { "utf-16", "\255\254-N\135e", chinese },
    { "utf-16", "\254\255N-e\135", chinese },
    { "utf-16le", "\254\255N-e\135", chinese },
    { "utf-16", "=\216\0\222", "\240\159\152\128" },
    { "utf-16", "", "" },
  }
  for _, case in ipairs(texts) do
    it(("converts %s %q"):format(case[1], case[2]), function()
      local expected = converts and case[3] or case[2]
      assert.are.equal(expected, core.toUtf8(case[2], case[1]))
    end)
  end

  it("converts texts of any length", function()
    for _, size in ipairs { 511, 1023, 1024, 1025, 8192, 40000 } do
      local text = ("a"):rep(size) .. "\233"
      local expected = ("a"):rep(size) .. (converts and "\195\169" or "\233")
      assert.are.equal(expected, core.toUtf8(text, "latin1"))
    end
  end)

  it("says where a text is not of its character set", function()
    local broken = { { "utf-16le", "a\0b", 3 }, { "utf-16", "a\0\0\220", 3 },
      { "gbk", "a\255\255", 2 }, { "windows-1252", "ab\129", 3 } }
    for _, case in ipairs(broken) do
      local text, message = core.toUtf8(case[2], case[1])
      if converts then
        assert.is_nil(text)
        assert.is_truthy(message:find("at byte " .. case[3], 1, true))
      else
        assert.are.equal(case[2], text)
      end
    end
  end)
end)
