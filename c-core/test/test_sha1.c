/* sha1.c: the examples of FIPS 180 and every length around a block. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "guard.h"
#include "sha1.h"

static const struct {
  const char* text;
  const char* digest;
} vectors[] = {
  { "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
  { "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
  { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
    "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
  { "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjk"
    "lmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
    "a49b2446a02c645bf419f995b67091253a04a259" },
};

static void print(const unsigned char* digest, char text[41]) {
  size_t i;

  for (i = 0; i < NT__SHA1_SIZE; i++)
    snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static void known_answers(void** state) {
  guard_t guard = guard_open(256);
  unsigned char digest[NT__SHA1_SIZE];
  char text[41];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(vectors); i++) {
    size_t size = strlen(vectors[i].text);

    nt__sha1(guard_put(&guard, vectors[i].text, size), size, digest);
    print(digest, text);
    assert_string_equal(text, vectors[i].digest);
  }
  guard_close(&guard);
}

static void a_million_times_a(void** state) {
  static char a[1000000];
  unsigned char digest[NT__SHA1_SIZE];
  char text[41];

  (void) state;
  memset(a, 'a', sizeof(a));
  nt__sha1(a, sizeof(a), digest);
  print(digest, text);
  assert_string_equal(text, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

/* 0 to 256 times 'x': the digest of all their digests in a row. The expected
 * value is Python's hashlib's. */
static void lengths_around_a_block(void** state) {
  static unsigned char digests[257 * NT__SHA1_SIZE];
  guard_t guard = guard_open(256);
  unsigned char digest[NT__SHA1_SIZE];
  char bytes[256];
  char text[41];
  size_t size;

  (void) state;
  memset(bytes, 'x', sizeof(bytes));
  for (size = 0; size <= 256; size++)
    nt__sha1(guard_put(&guard, bytes, size), size,
             digests + size * NT__SHA1_SIZE);
  nt__sha1(digests, sizeof(digests), digest);
  print(digest, text);
  assert_string_equal(text, "9304e7afc3624913d3fef45ace4b5b6aa2ab329d");
  guard_close(&guard);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_answers),
    cmocka_unit_test(a_million_times_a),
    cmocka_unit_test(lengths_around_a_block),
  };

  return cmocka_run_group_tests_name("sha1", tests, NULL, NULL);
}
