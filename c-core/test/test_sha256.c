/* sha256.c: the vectors of FIPS 180-2 and its examples, in any pieces, and the
 * hex form. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "nettask.h"
#include "sha256.h"

static const struct {
  const char* text;
  const char* digest;
} vectors[] = {
  { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
  { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
  { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
  { "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjk"
    "lmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
    "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
};

static void assert_digest(const unsigned char* digest, const char* expected) {
  char text[2 * NT__SHA256_SIZE + 1];
  size_t i;

  for (i = 0; i < NT__SHA256_SIZE; i++)
    snprintf(text + 2 * i, 3, "%02x", digest[i]);
  assert_string_equal(text, expected);
}

static void known_answers(void** state) {
  unsigned char digest[NT__SHA256_SIZE];
  nt__sha256_t hash;
  size_t i;
  size_t step;

  (void) state;
  for (i = 0; i < COUNT(vectors); i++) {
    size_t size = strlen(vectors[i].text);

    for (step = 1; step <= size + 1; step++) {
      size_t done;

      nt__sha256_init(&hash);
      for (done = 0; done < size; done += step)
        nt__sha256_update(&hash, vectors[i].text + done,
                          size - done < step ? size - done : step);
      nt__sha256_final(&hash, digest);
      assert_digest(digest, vectors[i].digest);
    }
  }
}

static void a_million_times_a(void** state) {
  static const size_t steps[] = { 1, 63, 64, 65, 1000, 100000 };
  unsigned char digest[NT__SHA256_SIZE];
  static char text[100000];
  nt__sha256_t hash;
  size_t i;

  (void) state;
  memset(text, 'a', sizeof(text));
  for (i = 0; i < COUNT(steps); i++) {
    size_t left = 1000000;

    nt__sha256_init(&hash);
    while (left > 0) {
      size_t n = left < steps[i] ? left : steps[i];

      nt__sha256_update(&hash, text, n);
      left -= n;
    }
    nt__sha256_final(&hash, digest);
    assert_digest(
        digest,
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

static void hex(void** state) {
  static const char good[] =
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200E046D39CCC7112CD0";
  unsigned char digest[NT__SHA256_SIZE];
  char bad[2 * NT__SHA256_SIZE + 2];
  size_t i;

  (void) state;
  assert_int_equal(nt__sha256_parse(good, digest), 0);
  assert_digest(
      digest,
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  for (i = 0; i < sizeof(good) - 1; i++) {
    strcpy(bad, good);
    bad[i] = '\0';
    assert_int_equal(nt__sha256_parse(bad, digest), NT_E_INVALID);
    bad[i] = 'g';
    assert_int_equal(nt__sha256_parse(bad, digest), NT_E_INVALID);
  }
  strcpy(bad, good);
  strcat(bad, "0");
  assert_int_equal(nt__sha256_parse(bad, digest), NT_E_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_answers),
    cmocka_unit_test(a_million_times_a),
    cmocka_unit_test(hex),
  };

  return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
