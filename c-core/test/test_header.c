/* header.c: what may be sent, and what a server's lines become. Lines come from
 * the network, so each is also cut at every byte and ends at a guard page. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "guard.h"
#include "header.h"

/* ---- What may be sent --------------------------------------------------- */

static void tokens(void** state) {
  static const char* const good[] = { "a", "GET", "X-Api-Key",
                                      "!#$%&'*+-.^_`|~0Z" };
  static const char* const bad[] = {
    "",      " ",    "a b", "a:",   "a\n",   "a\r\nb", "\xc3\xa9",
    "a\x7f", "a\tb", "(a)", "a/b",  "\"a\"", "a,b",    "a=b",
    "a@b",   "[a]",  "{a}", "a\\b", "a;b",   "a?"
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(good); i++)
    assert_true(nt__header_is_token(good[i]));
  for (i = 0; i < COUNT(bad); i++)
    assert_false(nt__header_is_token(bad[i]));
}

/* All 255 characters, alone and behind a good one. */
static void token_and_value_characters(void** state) {
  static const char symbols[] = "!#$%&'*+-.^_`|~";
  int c;

  (void) state;
  for (c = 1; c < 256; c++) {
    char text[3] = { 'a', (char) c, '\0' };
    int token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                (c >= 'a' && c <= 'z') || strchr(symbols, c) != NULL;
    int value = c == '\t' || (c >= 0x20 && c != 0x7f);

    assert_int_equal(nt__header_is_token(text), token);
    assert_int_equal(nt__header_is_token(text + 1), token);
    assert_int_equal(nt_header_check("a", text), value ? 0 : NT_E_HEADER);
    assert_int_equal(nt_header_check("a", text + 1), value ? 0 : NT_E_HEADER);
    assert_int_equal(nt_header_check(text, ""), token ? 0 : NT_E_HEADER);
  }
  assert_int_equal(nt_header_check("a", ""), 0);
  assert_int_equal(nt_header_check("", "a"), NT_E_HEADER);
}

static void secrets(void** state) {
  static const char* const secret[] = {
    "Authorization", "authorization",  "PROXY-AUTHORIZATION",
    "Cookie",        "Cookie2",        "X-Api-Key",
    "x_api_key",     "ApiKey",         "X-Auth-Token",
    "X-CSRF-Token",  "X-Session-Id",   "Client-Secret",
    "X-Password",    "X-Credential-1", "xauth"
  };
  static const char* const open[] = { "",       "Accept", "Content-Type",
                                      "Host",   "X-Key",  "X-Aut",
                                      "Range",  "Cooki",  "X-Api-Ke",
                                      "Tok-en", "ETag",   "User-Agent" };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(secret); i++)
    assert_true(nt__header_is_secret(secret[i]));
  for (i = 0; i < COUNT(open); i++)
    assert_false(nt__header_is_secret(open[i]));
}

static void names_without_case(void** state) {
  (void) state;
  assert_true(nt__header_is("Content-Type", "content-type"));
  assert_true(nt__header_is("", ""));
  assert_false(nt__header_is("Content-Type", "content-typ"));
  assert_false(nt__header_is("Content-Typ", "content-type"));
  assert_false(nt__header_is("a", ""));
  assert_false(nt__header_is("", "a"));
  /* Letters alone have a case: '[' and '{' differ by the same bit. */
  assert_false(nt__header_is("[", "{"));
  assert_false(nt__header_is("@", "`"));
}

/* The checks read no byte behind the NUL. */
static void checks_stop_at_the_end(void** state) {
  static const char* const texts[] = { "X-Api-Key", "Content-Type", "X-Auth",
                                       "a: b\r\n",  "coo",          "api_" };
  guard_t guard = guard_open(64);
  size_t i;
  size_t size;

  (void) state;
  for (i = 0; i < COUNT(texts); i++)
    for (size = 0; size <= strlen(texts[i]); size++) {
      char* text = guard_text(&guard, texts[i], size);

      assert_int_equal(nt__header_is_token(text),
                       size > 0 && strcspn(text, ": \r\n") == size);
      assert_int_equal(nt_header_check("a", text) == 0,
                       strcspn(text, "\r\n") == size);
      assert_true(nt__header_is(text, text));
      assert_int_equal(
          nt__header_is_secret(text),
          strcmp(text, "X-Api-Key") == 0 || strcmp(text, "X-Auth") == 0);
    }
  guard_close(&guard);
}

/* ---- What was received -------------------------------------------------- */

/* Literals may hold NUL bytes: the size is the array's. */
#define LINE(text)                                                             \
  { text, sizeof(text) - 1 }

typedef struct line {
  const char* bytes;
  size_t size;
} line_t;

/* Up to three lines; `fields` is name=value; for each. */
static const struct {
  line_t lines[3];
  const char* fields;
} received[] = {
  { { LINE("A: b\r\n") }, "A=b;" },
  { { LINE("A:b\n") }, "A=b;" },
  { { LINE("A:b") }, "A=b;" },
  { { LINE("A:  \t b c \t \r\n") }, "A=b c;" },
  { { LINE("A:\r\n") }, "A=;" },
  { { LINE("A:   \r\n") }, "A=;" },
  { { LINE("A: b: c\r\n") }, "A=b: c;" },
  { { LINE("A : b\r\n") }, "A=b;" },
  { { LINE("A: 1\r\n"), LINE("a: 2\r\n"), LINE("A: 3\r\n") }, "A=1;a=2;A=3;" },
  /* neither a field nor a fold: passed over */
  { { LINE("\r\n") }, "" },
  { { LINE("") }, "" },
  { { LINE("no colon\r\n") }, "" },
  { { LINE(": no name\r\n") }, "" },
  { { LINE("\r: no name\r\n") }, "" },
  { { LINE("A: 1\r\n"), LINE("garbage\r\n"), LINE("B: 2\r\n") }, "A=1;B=2;" },
  /* folded lines */
  { { LINE("A: b\r\n"), LINE("  c\r\n") }, "A=b c;" },
  { { LINE("A: b\r\n"), LINE("\tc  d \r\n"), LINE(" e\r\n") }, "A=b c  d e;" },
  { { LINE("A: b\r\n"), LINE("   \r\n"), LINE("B: c\r\n") }, "A=b;B=c;" },
  { { LINE(" first of all\r\n"), LINE("A: b\r\n") }, "A=b;" },
  { { LINE("A: b\r\n"), LINE(" C: d\r\n") }, "A=b C: d;" },
  { { LINE("A:\r\n"), LINE(" b\r\n") }, "A=b;" },
  /* a NUL would end the text early and shift what follows */
  { { LINE("A: b\0c\r\n"), LINE("D: e\r\n") }, "A=b c;D=e;" },
  { { LINE("A\0B: c\r\n"), LINE("D: e\r\n") }, "A B=c;D=e;" },
  { { LINE("A: b\r\n"), LINE(" c\0d\r\n"), LINE("D: e\r\n") }, "A=b c d;D=e;" },
  { { LINE("A: \0\r\n"), LINE("D: e\r\n") }, "A= ;D=e;" },
  /* obs-text, UTF-8 and control characters are kept as they came */
  { { LINE("A: caf\xe9 \xc3\xa9\r\n") }, "A=caf\xe9 \xc3\xa9;" },
  { { LINE("A: b\rc\x01\r\n") }, "A=b\rc\x01;" },
};

static int add(nt__headers_t* headers, guard_t* guard, line_t line) {
  return nt__headers_add_line(headers, guard_put(guard, line.bytes, line.size),
                              line.size);
}

static void print_fields(const nt__headers_t* headers, char* out, size_t size) {
  nt_headers_t view = nt__headers_view(headers);
  size_t cursor = 0;
  size_t count = 0;
  const char* name;
  const char* value;

  *out = '\0';
  while (nt_headers_next(&view, &cursor, &name, &value)) {
    size_t used = strlen(out);

    snprintf(out + used, size - used, "%s=%s;", name, value);
    count++;
  }
  assert_int_equal(cursor, view.size);
  assert_int_equal(count, view.count);
}

static void lines_become_fields(void** state) {
  guard_t guard = guard_open(256);
  nt__headers_t headers;
  char fields[256];
  size_t i;
  size_t k;

  (void) state;
  nt__headers_init(&headers, 0);
  for (i = 0; i < COUNT(received); i++) {
    nt__headers_reset(&headers);
    for (k = 0; k < 3 && received[i].lines[k].bytes != NULL; k++)
      assert_int_equal(add(&headers, &guard, received[i].lines[k]), 0);
    print_fields(&headers, fields, sizeof(fields));
    assert_string_equal(fields, received[i].fields);
  }
  nt__headers_free(&headers);
  guard_close(&guard);
}

/* Each line cut at every byte, behind a whole field and before another: those
 * two come out unharmed whatever is between. */
static void cut_lines_harm_no_other(void** state) {
  static const line_t before = LINE("First: 1\r\n");
  static const line_t after = LINE("Last: 2\r\n");
  guard_t guard = guard_open(256);
  nt__headers_t headers;
  char fields[256];
  size_t i;
  size_t size;

  (void) state;
  nt__headers_init(&headers, 0);
  for (i = 0; i < COUNT(received); i++)
    for (size = 0; size <= received[i].lines[0].size; size++) {
      line_t cut = { received[i].lines[0].bytes, size };

      nt__headers_reset(&headers);
      assert_int_equal(add(&headers, &guard, before), 0);
      assert_int_equal(add(&headers, &guard, cut), 0);
      assert_int_equal(add(&headers, &guard, after), 0);
      print_fields(&headers, fields, sizeof(fields));
      assert_in_range(headers.count, 2, 3);
      assert_memory_equal(fields, "First=1", 7);
      assert_string_equal(nt__headers_find(&headers, "last"), "2");
      assert_string_equal(fields + strlen(fields) - 7, "Last=2;");
    }
  nt__headers_free(&headers);
  guard_close(&guard);
}

static void finds_the_first(void** state) {
  guard_t guard = guard_open(64);
  nt__headers_t headers;

  (void) state;
  nt__headers_init(&headers, 0);
  assert_null(nt__headers_find(&headers, "a"));
  assert_int_equal(nt__headers_view(&headers).count, 0);
  add(&headers, &guard, (line_t) LINE("B: x\r\n"));
  add(&headers, &guard, (line_t) LINE("A: 1\r\n"));
  add(&headers, &guard, (line_t) LINE("a: 2\r\n"));
  assert_string_equal(nt__headers_find(&headers, "a"), "1");
  assert_string_equal(nt__headers_find(&headers, "A"), "1");
  assert_null(nt__headers_find(&headers, "x")); /* a value is no name */
  nt__headers_reset(&headers);
  assert_null(nt__headers_find(&headers, "a"));
  nt__headers_free(&headers);
  guard_close(&guard);
}

/* "A" "b" take 4 bytes with their NULs. What does not fit leaves no trace. */
static void respects_its_maximum(void** state) {
  static const struct {
    uint64_t max;
    line_t second;
    int result;
    const char* fields;
  } cases[] = {
    { 8, LINE("C: d\r\n"), 0, "A=b;C=d;" },
    { 7, LINE("C: d\r\n"), NT_E_FULL, "A=b;" },
    { 6, LINE("C: d\r\n"), NT_E_FULL, "A=b;" },
    { 5, LINE("C: d\r\n"), NT_E_FULL, "A=b;" },
    { 4, LINE("C: d\r\n"), NT_E_FULL, "A=b;" },
    { 6, LINE(" c\r\n"), 0, "A=b c;" },
    { 5, LINE(" c\r\n"), NT_E_FULL, "A=b;" },
    { 4, LINE(" c\r\n"), NT_E_FULL, "A=b;" },
    { 4, LINE("ignored\r\n"), 0, "A=b;" },
  };
  guard_t guard = guard_open(64);
  nt__headers_t headers;
  char fields[64];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    nt__headers_init(&headers, cases[i].max);
    assert_int_equal(add(&headers, &guard, (line_t) LINE("A: b\r\n")), 0);
    assert_int_equal(add(&headers, &guard, cases[i].second), cases[i].result);
    print_fields(&headers, fields, sizeof(fields));
    assert_string_equal(fields, cases[i].fields);
    nt__headers_free(&headers);
  }
  guard_close(&guard);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(tokens),
    cmocka_unit_test(token_and_value_characters),
    cmocka_unit_test(secrets),
    cmocka_unit_test(names_without_case),
    cmocka_unit_test(checks_stop_at_the_end),
    cmocka_unit_test(lines_become_fields),
    cmocka_unit_test(cut_lines_harm_no_other),
    cmocka_unit_test(finds_the_first),
    cmocka_unit_test(respects_its_maximum),
  };

  return cmocka_run_group_tests_name("header", tests, NULL, NULL);
}
