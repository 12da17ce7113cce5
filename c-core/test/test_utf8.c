/* utf8.c against a plain reading of RFC 3629: which byte is the first that no
 * text can have there, in any pieces, behind any number of plain characters (so
 * that each of the fast paths sees it), up to a guard page. */
#include <string.h>

#include "check.h"
#include "guard.h"
#include "utf8.h"

typedef struct text {
  const char* bytes;
  size_t size;
} text_t;

#define TEXT(bytes)                                                            \
  { bytes, sizeof(bytes) - 1 }

static const text_t whole[] = {
  TEXT(""),
  TEXT("a"),
  TEXT("a\0b"),
  TEXT("\x7f"),
  TEXT("\xc2\x80"),
  TEXT("\xdf\xbf"),
  TEXT("\xe0\xa0\x80"),
  TEXT("\xe4\xb8\xad\xe6\x96\x87"),
  TEXT("\xed\x9f\xbf"),
  TEXT("\xee\x80\x80"),
  TEXT("\xef\xbf\xbf"),
  TEXT("\xf0\x90\x80\x80"),
  TEXT("\xf4\x8f\xbf\xbf"),
  TEXT("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"),
  TEXT("Gr\xc3\xbc\xc3\x9f"
       "e \xf0\x9f\x98\x80 0123456789abcdef0123456789abcdef!"),
  TEXT("0123456789abcdef0123456789abcdef\xe4\xb8\xad 0123456789abcdef"),
};

/* `good`: bytes before the first one that cannot be. */
static const struct {
  text_t text;
  size_t good;
} broken[] = {
  { TEXT("\x80"), 0 },
  { TEXT("\xbf"), 0 },
  { TEXT("\xc0\x80"), 0 },
  { TEXT("\xc1\xbf"), 0 },
  { TEXT("\xf5\x80\x80\x80"), 0 },
  { TEXT("\xfe"), 0 },
  { TEXT("\xff"), 0 },
  { TEXT("\xc3\x28"), 1 },
  { TEXT("\xc3\xc3"), 1 },
  { TEXT("\xe0\x80\x80"), 1 }, /* overlong */
  { TEXT("\xe0\x9f\xbf"), 1 },
  { TEXT("\xed\xa0\x80"), 1 }, /* surrogates */
  { TEXT("\xed\xbf\xbf"), 1 },
  { TEXT("\xe4\xb8\x2d"), 2 },
  { TEXT("\xe4\xb8\xe4"), 2 },
  { TEXT("\xf0\x80\x80\x80"), 1 },
  { TEXT("\xf0\x8f\xbf\xbf"), 1 },
  { TEXT("\xf4\x90\x80\x80"), 1 }, /* above U+10FFFF */
  { TEXT("\xf0\x9f\x98\x28"), 3 },
  { TEXT("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"), 12 },
  { TEXT("ab\x80"), 2 },
  { TEXT("0123456\xff"), 7 },
  { TEXT("01234567\xff"), 8 },
  { TEXT("0123456789abcdef0123456789abcde\xff"), 31 },
  { TEXT("0123456789abcdef0123456789abcdef0\xff"), 33 },
};

/* How many bytes one call after the other takes. */
static size_t feed_bytes(const char* data, size_t size, nt__utf8_t* utf8) {
  size_t n = 0;

  memset(utf8, 0, sizeof(*utf8));
  while (n < size && nt__utf8_feed(utf8, data + n, 1))
    n++;
  return n;
}

static bool feed_split(const char* data, size_t size, size_t cut,
                       nt__utf8_t* utf8) {
  memset(utf8, 0, sizeof(*utf8));
  return nt__utf8_feed(utf8, data, cut) &&
         nt__utf8_feed(utf8, data + cut, size - cut);
}

/* Every prefix: right as far as `good`; done where no character is cut. */
static void check_prefixes(guard_t* guard, const char* bytes, size_t size,
                           size_t good) {
  nt__utf8_t utf8;
  size_t n;
  size_t cut;

  for (n = 0; n <= size; n++) {
    const char* data = guard_put(guard, bytes, n);
    bool done;

    assert_int_equal(feed_bytes(data, n, &utf8), n < good ? n : good);
    done = nt__utf8_done(&utf8);
    assert_int_equal(nt__utf8_valid(data, n), n <= good && done);
    for (cut = 0; cut <= n; cut++) {
      assert_int_equal(feed_split(data, n, cut, &utf8), n <= good);
      if (n <= good)
        assert_int_equal(nt__utf8_done(&utf8), done);
    }
  }
}

static void check_behind_others(guard_t* guard, text_t text, size_t good) {
  static const char* const before[] = { "a", "\xc3\xbc", "\xe4\xb8\xad",
                                        "\xf0\x9f\x98\x80" };
  char bytes[256];
  size_t i;
  size_t k;

  check_prefixes(guard, text.bytes, text.size, good);
  for (i = 0; i < COUNT(before); i++)
    for (k = 1; k <= 40; k += k < 10 ? 1 : 7) {
      size_t unit = strlen(before[i]);
      size_t n;

      for (n = 0; n < k; n++)
        memcpy(bytes + n * unit, before[i], unit);
      memcpy(bytes + k * unit, text.bytes, text.size);
      check_prefixes(guard, bytes, k * unit + text.size, k * unit + good);
    }
}

static void whole_texts(void** state) {
  guard_t guard = guard_open(512);
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(whole); i++) {
    assert_true(nt__utf8_valid(whole[i].bytes, whole[i].size));
    check_behind_others(&guard, whole[i], whole[i].size);
  }
  guard_close(&guard);
}

static void broken_texts(void** state) {
  guard_t guard = guard_open(512);
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(broken); i++)
    check_behind_others(&guard, broken[i].text, broken[i].good);
  guard_close(&guard);
}

static size_t encode(uint32_t c, char* out) {
  if (c < 0x80) {
    out[0] = (char) c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char) (0xc0 | c >> 6);
    out[1] = (char) (0x80 | (c & 63));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = (char) (0xe0 | c >> 12);
    out[1] = (char) (0x80 | (c >> 6 & 63));
    out[2] = (char) (0x80 | (c & 63));
    return 3;
  }
  out[0] = (char) (0xf0 | c >> 18);
  out[1] = (char) (0x80 | (c >> 12 & 63));
  out[2] = (char) (0x80 | (c >> 6 & 63));
  out[3] = (char) (0x80 | (c & 63));
  return 4;
}

/* Each character, whole and cut before its last byte; what is none is wrong. */
static void all_characters(void** state) {
  char bytes[4];
  nt__utf8_t utf8;
  uint32_t c;

  (void) state;
  for (c = 0; c < 0x120000; c++) {
    size_t size = encode(c, bytes);
    bool right = (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;

    assert_int_equal(nt__utf8_valid(bytes, size), right);
    assert_int_equal(feed_bytes(bytes, size, &utf8) == size, right);
    assert_true(size == 1 || !nt__utf8_valid(bytes, size - 1));
  }
}

/* Of all that three bytes can be, as many are texts as characters of one, two
 * and three bytes can be put together. */
static void three_bytes(void** state) {
  const size_t one = 0x80;
  const size_t two = 0x800 - 0x80;
  const size_t three = 0x10000 - 0x800 - 0x800; /* without the surrogates */
  size_t found = 0;
  uint32_t n;

  (void) state;
  for (n = 0; n < 1 << 24; n++) {
    char bytes[3] = { (char) (n >> 16), (char) (n >> 8), (char) n };

    found += nt__utf8_valid(bytes, 3);
  }
  assert_int_equal(found, one * one * one + 2 * one * two + three);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(whole_texts),
    cmocka_unit_test(broken_texts),
    cmocka_unit_test(all_characters),
    cmocka_unit_test(three_bytes),
  };

  return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
