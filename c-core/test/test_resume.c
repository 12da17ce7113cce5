/* resume.c: what a sidecar says, cut off anywhere too; validators; ranges. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "guard.h"
#include "resume.h"

static nt__headers_t headers_of(const char* lines) {
  nt__headers_t headers;

  nt__headers_init(&headers, 0);
  while (*lines != '\0') {
    size_t size = strcspn(lines, "\n") + 1;

    assert_int_equal(nt__headers_add_line(&headers, lines, size), 0);
    lines += size;
  }
  return headers;
}

/* ---- Validators --------------------------------------------------------- */

#define MODIFIED "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\n"

static const struct {
  const char* lines;
  const char* validator; /* NULL: none */
} answers[] = {
  { "ETag: \"a\"\n", "\"a\"" },
  { "etag: \"a\"\n" MODIFIED, "\"a\"" },
  { "ETag: W/\"a\"\n", NULL },
  { "ETag: W/\"a\"\nDate: Sun, 06 Nov 1994 08:49:38 GMT\n" MODIFIED,
    "Sun, 06 Nov 1994 08:49:37 GMT" },
  { "Date: Sun, 06 Nov 1994 08:49:38 GMT\n" MODIFIED,
    "Sun, 06 Nov 1994 08:49:37 GMT" },
  { "Date: Sun, 06 Nov 1994 08:49:37 GMT\n" MODIFIED, NULL }, /* too fresh */
  { MODIFIED, NULL }, /* who knows how fresh */
  { "Date: Sun, 06 Nov 1994 08:49:38 GMT\nLast-Modified: soon\n", NULL },
  { "ETag:\n", NULL },
  { "", NULL },
};

static void validators(void** state) {
  char validator[NT__VALIDATOR_MAX];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(answers); i++) {
    nt__headers_t headers = headers_of(answers[i].lines);
    bool found = nt__resume_validator(&headers, validator);

    assert_int_equal(found, answers[i].validator != NULL);
    if (found)
      assert_string_equal(validator, answers[i].validator);
    nt__headers_free(&headers);
  }
}

static void validators_have_a_limit(void** state) {
  char validator[NT__VALIDATOR_MAX];
  char line[NT__VALIDATOR_MAX + 16];
  int size;

  (void) state;
  for (size = NT__VALIDATOR_MAX - 2; size <= NT__VALIDATOR_MAX; size++) {
    nt__headers_t headers;

    snprintf(line, sizeof(line), "ETag: \"%0*d\"\n", size - 2, 0);
    headers = headers_of(line);
    assert_int_equal(nt__resume_validator(&headers, validator),
                     size < NT__VALIDATOR_MAX);
    nt__headers_free(&headers);
  }
}

/* ---- The sidecar -------------------------------------------------------- */

static void sidecar_comes_back(void** state) {
  static const uint64_t lengths[] = { 0, 1, 1234567890123u, UINT64_MAX / 16 };
  nt__sidecar_t in = { .validator = "\"a b\"" };
  nt__sidecar_t out;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(lengths); i++) {
    nt__buf_t text;

    nt__buf_init(&text, 0);
    in.length = lengths[i];
    assert_int_equal(nt__sidecar_write(&text, "http://a/b?c", &in), 0);
    assert_true(nt__sidecar_read(text.data, text.size, "http://a/b?c", &out));
    assert_string_equal(out.validator, in.validator);
    assert_int_equal(out.length, in.length);
    assert_false(nt__sidecar_read(text.data, text.size, "http://a/b?", &out));
    assert_false(nt__sidecar_read(text.data, text.size, "http://a/b?cd", &out));
    nt__buf_free(&text);
  }
}

static void sidecar_cut_off_is_none(void** state) {
  static const nt__sidecar_t in = { .validator = "\"abc\"", .length = 4321 };
  guard_t guard = guard_open(256);
  nt__buf_t text;
  nt__sidecar_t out;
  size_t size;

  (void) state;
  nt__buf_init(&text, 0);
  assert_int_equal(nt__sidecar_write(&text, "http://a/", &in), 0);
  for (size = 0; size <= text.size; size++)
    assert_int_equal(nt__sidecar_read(guard_put(&guard, text.data, size), size,
                                      "http://a/", &out),
                     size == text.size);
  nt__buf_free(&text);
  guard_close(&guard);
}

static const char* const broken[] = {
  "nettask download 2\nu\n\"a\"\n1\nend\n",
  "nettask download 1\nu\n\n1\nend\n",
  "nettask download 1\nu\n\"a\"\n\nend\n",
  "nettask download 1\nu\n\"a\"\nx\nend\n",
  "nettask download 1\nu\n\"a\"\n-1\nend\n",
  "nettask download 1\nu\n\"a\"\n1 \nend\n",
  "nettask download 1\nu\n\"a\"\n999999999999999999999\nend\n",
  "nettask download 1\nu\n\"a\"\n1\nEND\n",
  "\n\n\n\n\n",
};

static void broken_sidecars(void** state) {
  nt__sidecar_t out;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(broken); i++)
    assert_false(nt__sidecar_read(broken[i], strlen(broken[i]), "u", &out));
  assert_false(nt__sidecar_read("nettask download 1\nu\n\"\0\"\n1\nend\n", 31,
                                "u", &out));
}

/* ---- Ranges ------------------------------------------------------------- */

static const struct {
  const char* text;
  uint64_t first, last, total;
} ranges[] = {
  { "bytes 0-0/1", 0, 0, 1 },
  { "bytes 5-9/10", 5, 9, 10 },
  { "bytes 5-9/*", 5, 9, 0 },
  { "bytes 1099511627776-1099511627777/2199023255552", 1099511627776u,
    1099511627777u, 2199023255552u },
};

static const char* const no_ranges[] = {
  "",
  "bytes",
  "bytes ",
  "bytes */10",
  "bytes 9-5/10",
  "bytes 5-10/10",
  "bytes 5-9/10 ",
  "bytes 5-9/",
  "bytes 5-9/**",
  "bytes 5-/10",
  "bytes -9/10",
  "bytes=5-9/10",
  "items 5-9/10",
  "bytes 5 - 9/10",
  "bytes 18446744073709551616-18446744073709551617/*",
};

static void content_ranges(void** state) {
  nt__content_range_t range;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(ranges); i++) {
    assert_true(nt__content_range_parse(ranges[i].text, &range));
    assert_int_equal(range.first, ranges[i].first);
    assert_int_equal(range.last, ranges[i].last);
    assert_int_equal(range.total, ranges[i].total);
  }
  for (i = 0; i < COUNT(no_ranges); i++)
    assert_false(nt__content_range_parse(no_ranges[i], &range));
}

/* To a part of 5 bytes of 10. */
static const struct {
  const char* lines;
  const char* validator;
  uint64_t length;
  bool matches;
} partial[] = {
  { "Content-Range: bytes 5-9/10\nETag: \"a\"\n", "\"a\"", 10, true },
  { "Content-Range: bytes 5-9/10\n", "\"a\"", 10, true },
  { "Content-Range: bytes 5-9/*\nETag: \"a\"\n", "\"a\"", 10, true },
  { "Content-Range: bytes 5-9/10\nETag: \"a\"\n", "\"a\"", 0, true },
  { "Content-Range: bytes 5-9/10\nETag: \"b\"\n", "\"a\"", 10, false },
  { "Content-Range: bytes 5-9/10\nETag: W/\"a\"\n", "\"a\"", 10, false },
  { "Content-Range: bytes 5-9/11\nETag: \"a\"\n", "\"a\"", 10, false },
  { "Content-Range: bytes 4-9/10\nETag: \"a\"\n", "\"a\"", 10, false },
  { "Content-Range: bytes 6-9/10\nETag: \"a\"\n", "\"a\"", 10, false },
  { "ETag: \"a\"\n", "\"a\"", 10, false },
  { "Content-Range: bytes 5-9/10\nLast-Modified: x\n", "x", 10, true },
  { "Content-Range: bytes 5-9/10\nLast-Modified: y\n", "x", 10, false },
  { "Content-Range: bytes 5-9/10\nETag: \"a\"\n", "x", 10, true },
};

static void partial_answers(void** state) {
  nt__content_range_t range;
  nt__sidecar_t sidecar;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(partial); i++) {
    nt__headers_t headers = headers_of(partial[i].lines);

    strcpy(sidecar.validator, partial[i].validator);
    sidecar.length = partial[i].length;
    assert_int_equal(nt__resume_matches(&headers, 5, &sidecar, &range),
                     partial[i].matches);
    nt__headers_free(&headers);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(validators),
    cmocka_unit_test(validators_have_a_limit),
    cmocka_unit_test(sidecar_comes_back),
    cmocka_unit_test(sidecar_cut_off_is_none),
    cmocka_unit_test(broken_sidecars),
    cmocka_unit_test(content_ranges),
    cmocka_unit_test(partial_answers),
  };

  return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
