/* Text conversions of the binding: base64, the UTF-8 check, and a response's
 * character set to UTF-8. Runs on the thread that owns the lua_State.
 *
 * Character sets come from a server, so only names of the table below ever
 * reach iconv. A name that is not there, or a build without iconv, passes the
 * bytes on. Scratch memory and the iconv handle belong to userdata: a Lua
 * error (no memory) in between leaks nothing. */
#include "ltext.h"

#include "compat.h"
#include "lbuffer.h"

/* Build with -DNTL_HAVE_ICONV=0 or 1 to decide it by hand. */
#ifndef NTL_HAVE_ICONV
#  ifdef _WIN32
#    define NTL_HAVE_ICONV 0
#  else
#    define NTL_HAVE_ICONV 1
#  endif
#endif

#define UTF8_BOM "\xEF\xBB\xBF"

/* Continuation bytes of a sequence by its first byte, -1 when none starts
 * so, and the range of the second byte (Unicode, table 3-7). */
static int sequence_tail(unsigned char first, unsigned char* low,
                         unsigned char* high) {
  *low = 0x80;
  *high = 0xBF;
  if (first < 0x80)
    return 0;
  if (first >= 0xC2 && first <= 0xDF)
    return 1;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0)
      *low = 0xA0;
    if (first == 0xED)
      *high = 0x9F;
    return 2;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0)
      *low = 0x90;
    if (first == 0xF4)
      *high = 0x8F;
    return 3;
  }
  return -1;
}

/* Bytes of the well-formed sequence at `p`, 0 when there is none. */
static size_t sequence_size(const unsigned char* p, size_t left) {
  unsigned char low, high;
  int tail = sequence_tail(*p, &low, &high);

  if (tail < 0 || (size_t) tail >= left)
    return 0;
  if (tail > 0 && (p[1] < low || p[1] > high))
    return 0;
  for (int i = 2; i <= tail; i++) {
    if ((p[i] & 0xC0) != 0x80)
      return 0;
  }
  return (size_t) tail + 1;
}

bool ntl_utf8_valid(const char* bytes, size_t size, size_t* bad_at) {
  const unsigned char* p = (const unsigned char*) bytes;
  size_t at = 0;

  while (at < size) {
    size_t step = p[at] < 0x80 ? 1 : sequence_size(p + at, size - at);

    if (step == 0) {
      if (bad_at)
        *bad_at = at;
      return false;
    }
    at += step;
  }
  return true;
}

/* core.isUtf8(string | Buffer) -> boolean */
int ntl_is_utf8(lua_State* L) {
  size_t size;
  const char* bytes = ntl_bytes_check(L, 1, &size);

  lua_pushboolean(L, ntl_utf8_valid(bytes, size, NULL));
  return 1;
}

#define BASE64_COMMON                                                          \
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
static const char base64_alphabet[] = BASE64_COMMON "+/";
static const char base64url_alphabet[] = BASE64_COMMON "-_";

/* Four characters for up to three bytes, padded. */
static void encode_group(const char* alphabet, const unsigned char* in,
                         size_t count, char* out) {
  unsigned bits = (unsigned) in[0] << 16;

  if (count > 1)
    bits |= (unsigned) in[1] << 8;
  if (count > 2)
    bits |= in[2];
  out[0] = alphabet[bits >> 18];
  out[1] = alphabet[bits >> 12 & 63];
  out[2] = count > 1 ? alphabet[bits >> 6 & 63] : '=';
  out[3] = count > 2 ? alphabet[bits & 63] : '=';
}

static void push_base64(lua_State* L, const char* alphabet, const char* bytes,
                        size_t size, bool padded) {
  const unsigned char* in = (const unsigned char*) bytes;
  char* text;
  char* out;

  if (size > SIZE_MAX / 4 * 3 - 3)
    luaL_error(L, "not enough memory");
  text = out = ntl_newuserdata(L, (size + 2) / 3 * 4, 0);
  for (; size >= 3; size -= 3, in += 3, out += 4)
    encode_group(alphabet, in, 3, out);
  if (size > 0) {
    encode_group(alphabet, in, size, out);
    out += padded ? 4 : size + 1;
  }
  lua_pushlstring(L, text, (size_t) (out - text));
  lua_remove(L, -2);
}

void ntl_base64_push(lua_State* L, const char* bytes, size_t size) {
  push_base64(L, base64_alphabet, bytes, size, true);
}

void ntl_base64url_push(lua_State* L, const char* bytes, size_t size) {
  push_base64(L, base64url_alphabet, bytes, size, false);
}

/* core.base64Encode(string | Buffer) -> string */
int ntl_base64_encode(lua_State* L) {
  size_t size;
  const char* bytes = ntl_bytes_check(L, 1, &size);

  ntl_base64_push(L, bytes, size);
  return 1;
}

/* The six bits of a character, -1 when it is not of the alphabet. */
static int base64_value(char c) {
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  if (c == '+')
    return 62;
  return c == '/' ? 63 : -1;
}

/* Decode four characters, of which the last `pads` are padding. Bits that the
 * padding leaves over are 0, so each text stands for bytes that encode to
 * it. */
static bool decode_group(const char* in, int pads, unsigned char* out) {
  unsigned bits = 0;

  for (int i = 0; i < 4; i++) {
    int value = i < 4 - pads ? base64_value(in[i]) : 0;

    if (value < 0)
      return false;
    bits = bits << 6 | (unsigned) value;
  }
  if (bits & ((1u << 8 * pads) - 1))
    return false;
  out[0] = (unsigned char) (bits >> 16);
  if (pads < 2)
    out[1] = (unsigned char) (bits >> 8);
  if (pads < 1)
    out[2] = (unsigned char) bits;
  return true;
}

static int base64_padding(const char* text, size_t size) {
  if (size == 0 || text[size - 1] != '=')
    return 0;
  return text[size - 2] == '=' ? 2 : 1;
}

/* core.base64Decode(string) -> string | nil, message. Strict: the standard
 * alphabet, padded, nothing in between. */
int ntl_base64_decode(lua_State* L) {
  size_t size, at;
  const char* text = luaL_checklstring(L, 1, &size);
  int pads;
  unsigned char* bytes;

  if (size % 4 != 0) {
    lua_pushnil(L);
    lua_pushliteral(L, "invalid base64: the length is no multiple of 4");
    return 2;
  }
  pads = base64_padding(text, size);
  bytes = ntl_newuserdata(L, size / 4 * 3, 0);
  for (at = 0; at < size; at += 4) {
    int here = at + 4 == size ? pads : 0;

    if (!decode_group(text + at, here, bytes + at / 4 * 3)) {
      lua_pushnil(L);
      lua_pushfstring(L, "invalid base64 after %d characters", (int) at);
      return 2;
    }
  }
  lua_pushlstring(L, (char*) bytes, size / 4 * 3 - (size_t) pads);
  return 1;
}

/* The argument itself when it is a string and nothing was cut off: a large
 * body is not copied. */
static void push_unchanged(lua_State* L, const char* bytes, size_t size) {
  if (lua_type(L, 1) == LUA_TSTRING && ntl_rawlen(L, 1) == size)
    lua_pushvalue(L, 1);
  else
    lua_pushlstring(L, bytes, size);
}

#if NTL_HAVE_ICONV

#  include <errno.h>
#  include <iconv.h>

#  define NTL_ICONV "nettask.iconv"

typedef struct {
  const char* name;      /* lower case, without '-' and '_' */
  const char* converter; /* what iconv calls it */
} charset_t;

/* GB18030 contains GBK, which contains GB 2312; servers mix up the names. */
static const charset_t charsets[] = {
  { "big5", "BIG5" },           { "cp1252", "CP1252" },
  { "cp936", "GB18030" },       { "eucjp", "EUC-JP" },
  { "euckr", "EUC-KR" },        { "gb18030", "GB18030" },
  { "gb2312", "GB18030" },      { "gbk", "GB18030" },
  { "iso88591", "ISO-8859-1" }, { "latin1", "ISO-8859-1" },
  { "shiftjis", "SHIFT_JIS" },  { "sjis", "SHIFT_JIS" },
  { "utf16", "UTF-16LE" },      { "utf16be", "UTF-16BE" },
  { "utf16le", "UTF-16LE" },    { "windows1252", "CP1252" },
};

/* The name without case, quotes, spaces, '-' and '_'. */
static void normalise_charset(const char* name, char* out, size_t capacity) {
  size_t used = 0;

  for (; *name && used + 1 < capacity; name++) {
    char c = *name;

    if (c >= 'A' && c <= 'Z')
      c = (char) (c - 'A' + 'a');
    if (!strchr("-_ \"'", c))
      out[used++] = c;
  }
  out[used] = '\0';
}

static const char* find_converter(const char* name) {
  char wanted[24];

  normalise_charset(name, wanted, sizeof(wanted));
  for (size_t i = 0; i < sizeof(charsets) / sizeof(*charsets); i++) {
    if (strcmp(charsets[i].name, wanted) == 0)
      return charsets[i].converter;
  }
  return NULL;
}

/* A byte-order mark outranks the label, and is no text. */
static const char* skip_utf16_bom(const char* converter, const char** bytes,
                                  size_t* size) {
  bool little;

  if (strncmp(converter, "UTF-16", 6) != 0 || *size < 2)
    return converter;
  little = memcmp(*bytes, "\xFF\xFE", 2) == 0;
  if (!little && memcmp(*bytes, "\xFE\xFF", 2) != 0)
    return converter;
  *bytes += 2;
  *size -= 2;
  return little ? "UTF-16LE" : "UTF-16BE";
}

typedef struct {
  iconv_t handle;
  bool open;
} converter_t;

static int converter_close(lua_State* L) {
  converter_t* self = ntl_checkudata(L, 1, NTL_ICONV);

  if (self->open)
    iconv_close(self->handle);
  self->open = false;
  return 0;
}

/* Push a converter. Its handle comes last: nothing raises while it has no
 * owner. */
static converter_t* push_converter(lua_State* L, const char* from) {
  converter_t* self = ntl_newuserdata(L, sizeof(*self), 0);

  self->open = false;
  ntl_setmetatable(L, NTL_ICONV);
  self->handle = iconv_open("UTF-8", from);
  self->open = self->handle != (iconv_t) -1;
  return self;
}

/* Convert piece by piece into a string on top. False, and `in` at the place,
 * when the text is not of that character set. */
static bool run_converter(lua_State* L, converter_t* self, const char** in,
                          size_t size) {
  luaL_Buffer text;
  char* from = (char*) (uintptr_t) *in; /* iconv only reads there */
  size_t result = 0;

  luaL_buffinit(L, &text);
  do {
    char* piece = luaL_prepbuffer(&text);
    char* out = piece;
    size_t room = LUAL_BUFFERSIZE;

    result = iconv(self->handle, size ? &from : NULL, &size, &out, &room);
    luaL_addsize(&text, (size_t) (out - piece));
  } while (size > 0 && (result != (size_t) -1 || errno == E2BIG));
  *in = from;
  luaL_pushresult(&text);
  return size == 0;
}

static int convert_charset(lua_State* L, const char* bytes, size_t size,
                           const char* charset) {
  const char* from = find_converter(charset);
  const char* at;
  converter_t* converter;
  bool ok;

  if (from)
    from = skip_utf16_bom(from, &bytes, &size);
  converter = from ? push_converter(L, from) : NULL;
  if (!converter || !converter->open) {
    push_unchanged(L, bytes, size);
    return 1;
  }
  at = bytes;
  ok = run_converter(L, converter, &at, size);
  iconv_close(converter->handle);
  converter->open = false;
  if (ok)
    return 1;
  lua_pushnil(L);
  lua_pushfstring(L, "not valid %s text at byte %d", from,
                  (int) (at - bytes) + 1);
  return 2;
}

static void open_converters(lua_State* L) {
  ntl_newmetatable(L, NTL_ICONV);
  lua_pushcfunction(L, converter_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

#else

static int convert_charset(lua_State* L, const char* bytes, size_t size,
                           const char* charset) {
  (void) charset;
  push_unchanged(L, bytes, size);
  return 1;
}

static void open_converters(lua_State* L) {
  (void) L;
}

#endif

/* core.toUtf8(string | Buffer [, charset]) -> string | nil, message. Bytes
 * that begin with the mark of UTF-8 are UTF-8, whatever the label says. */
int ntl_to_utf8(lua_State* L) {
  size_t size;
  const char* bytes = ntl_bytes_check(L, 1, &size);
  const char* charset = luaL_optstring(L, 2, "");

  if (size >= 3 && memcmp(bytes, UTF8_BOM, 3) == 0) {
    lua_pushlstring(L, bytes + 3, size - 3);
    return 1;
  }
  return convert_charset(L, bytes, size, charset);
}

int ntl_text_open(lua_State* L) {
  static const luaL_Reg functions[] = {
    { "base64Encode", ntl_base64_encode },
    { "base64Decode", ntl_base64_decode },
    { "toUtf8", ntl_to_utf8 },
    { "isUtf8", ntl_is_utf8 },
    { NULL, NULL },
  };

  open_converters(L);
  ntl_setfuncs(L, functions);
  return 0;
}
