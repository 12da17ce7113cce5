/* base64.c: the vectors of RFC 4648, all digits, and a guard page. */
#include <string.h>

#include "base64.h"
#include "check.h"
#include "guard.h"

static const struct {
  const char* bytes;
  size_t size;
  const char* text;
} vectors[] = {
  { "", 0, "" },
  { "f", 1, "Zg==" },
  { "fo", 2, "Zm8=" },
  { "foo", 3, "Zm9v" },
  { "foob", 4, "Zm9vYg==" },
  { "fooba", 5, "Zm9vYmE=" },
  { "foobar", 6, "Zm9vYmFy" },
  { "\0\0\0", 3, "AAAA" },
  { "\xff\xff\xff\xff", 4, "/////w==" },
  { "\xfb\xef\xbe", 3, "++++" },
  { "\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93\x51\x55\x97"
    "\x61\x96\x9b\x71\xd7\x9f\x82\x18\xa3\x92\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf"
    "\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf",
    48, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" },
};

static void known_answers(void** state) {
  guard_t in = guard_open(64);
  guard_t out = guard_open(128);
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(vectors); i++) {
    size_t size = strlen(vectors[i].text);
    char* text = guard_put(&out, "", 0) - size - 1;

    assert_int_equal(nt__base64_size(vectors[i].size), size);
    nt__base64_encode(guard_put(&in, vectors[i].bytes, vectors[i].size),
                      vectors[i].size, text);
    assert_string_equal(text, vectors[i].text);
  }
  guard_close(&out);
  guard_close(&in);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_answers),
  };

  return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
