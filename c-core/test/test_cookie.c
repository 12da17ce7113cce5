/* cookie.c: what a Set-Cookie field says, dates, domains and paths; each input
 * also cut off anywhere, in front of a page that nobody may read. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "cookie.h"
#include "guard.h"

#define NOW INT64_C(1700000000000)
#define NEVER INT64_MIN
#define SESSION NT__COOKIE_SESSION
#define AGE(seconds) (NOW + INT64_C(1000) * (seconds))

/* ---- Set-Cookie ---------------------------------------------------------- */

static const struct {
  const char* line;
  const char* name; /* NULL: none */
  const char* value;
  const char* domain;
  const char* path;
  int64_t expires;
  int flags; /* 1: Secure, 2: HttpOnly */
} fields[] = {
  { "a=b", "a", "b", "", "", SESSION, 0 },
  { "  a \t=  b c \t", "a", "b c", "", "", SESSION, 0 },
  { "a=", "a", "", "", "", SESSION, 0 },
  { "a=b=c==", "a", "b=c==", "", "", SESSION, 0 },
  { "a=\"b; c\"", "a", "\"b", "", "", SESSION, 0 },
  { "a=b\tc", "a", "b\tc", "", "", SESSION, 0 },
  { "a=\xc3\xa4", "a", "\xc3\xa4", "", "", SESSION, 0 },
  { "a=b;", "a", "b", "", "", SESSION, 0 },
  { "a=b;;; ;", "a", "b", "", "", SESSION, 0 },
  { "", NULL, "", "", "", 0, 0 },
  { "a", NULL, "", "", "", 0, 0 },
  { "=b", NULL, "", "", "", 0, 0 },
  { " =b", NULL, "", "", "", 0, 0 },
  { "a; b=c", NULL, "", "", "", 0, 0 },
  { ";a=b", NULL, "", "", "", 0, 0 },
  { "a\x01=b", NULL, "", "", "", 0, 0 },
  { "a=b\x7f", NULL, "", "", "", 0, 0 },
  { "a\tb=c", NULL, "", "", "", 0, 0 },
  { "a=b; Path=/x\ty", NULL, "", "", "", 0, 0 },
  { "a=b; Secure", "a", "b", "", "", SESSION, 1 },
  { "a=b;sEcUrE=no;HTTPONLY", "a", "b", "", "", SESSION, 3 },
  { "a=b; Secured", "a", "b", "", "", SESSION, 0 },
  { "a=b; SameSite=Strict; Partitioned; x", "a", "b", "", "", SESSION, 0 },
  { "a=b; Domain=Example.com", "a", "b", "Example.com", "", SESSION, 0 },
  { "a=b; domain = .example.com ", "a", "b", "example.com", "", SESSION, 0 },
  { "a=b; Domain=x; Domain=y", "a", "b", "y", "", SESSION, 0 },
  { "a=b; Domain=x; Domain=", "a", "b", "x", "", SESSION, 0 },
  { "a=b; Path=/x y/", "a", "b", "", "/x y/", SESSION, 0 },
  { "a=b; Path=x", "a", "b", "", "", SESSION, 0 },
  { "a=b; Path=/x; Path=y", "a", "b", "", "", SESSION, 0 },
  { "a=b; Path=\"/\"", "a", "b", "", "", SESSION, 0 },
  { "a=b; Max-Age=10", "a", "b", "", "", AGE(10), 0 },
  { "a=b; Max-Age=0", "a", "b", "", "", NEVER, 0 },
  { "a=b; Max-Age=-5", "a", "b", "", "", NEVER, 0 },
  { "a=b; Max-Age=", "a", "b", "", "", SESSION, 0 },
  { "a=b; Max-Age=-", "a", "b", "", "", SESSION, 0 },
  { "a=b; Max-Age=1.5", "a", "b", "", "", SESSION, 0 },
  { "a=b; Max-Age=+5", "a", "b", "", "", SESSION, 0 },
  { "a=b; Max-Age=10; Max-Age=x", "a", "b", "", "", AGE(10), 0 },
  { "a=b; Max-Age=99999999999999999999999999", "a", "b", "", "",
    AGE(INT64_C(31536000000)), 0 },
  { "a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT", "a", "b", "", "",
    INT64_C(784111777000), 0 },
  { "a=b; Expires=soon", "a", "b", "", "", SESSION, 0 },
  { "a=b; Max-Age=10; Expires=Sun, 06 Nov 1994 08:49:37 GMT", "a", "b", "", "",
    AGE(10), 0 },
};

static void check_slice(nt__slice_t slice, const char* text) {
  assert_int_equal(slice.size, strlen(text));
  assert_memory_equal(slice.at, text, slice.size);
}

static void reads_fields(void** state) {
  nt__set_cookie_t set;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(fields); i++) {
    bool found =
        nt__cookie_parse(&set, fields[i].line, strlen(fields[i].line), NOW);

    assert_int_equal(found, fields[i].name != NULL);
    if (!found)
      continue;
    check_slice(set.name, fields[i].name);
    check_slice(set.value, fields[i].value);
    check_slice(set.domain, fields[i].domain);
    check_slice(set.path, fields[i].path);
    assert_true(set.expires_ms == fields[i].expires);
    assert_int_equal(set.secure, fields[i].flags & 1);
    assert_int_equal(set.http_only, (fields[i].flags & 2) != 0);
  }
}

static void reads_no_further(void** state) {
  guard_t guard = guard_open(4096);
  nt__set_cookie_t set;
  size_t i, size;

  (void) state;
  for (i = 0; i < COUNT(fields); i++)
    for (size = 0; size <= strlen(fields[i].line); size++)
      nt__cookie_parse(&set, guard_put(&guard, fields[i].line, size), size,
                       NOW);
  guard_close(&guard);
}

static bool has_sizes(size_t name, size_t value, size_t path) {
  size_t size = name + value + path + 16;
  char* line = malloc(size);
  nt__set_cookie_t set;
  bool found;

  assert_non_null(line);
  memset(line, 'x', size);
  line[name] = '=';
  memcpy(line + name + 1 + value, "; path=/", 8);
  found = nt__cookie_parse(&set, line, name + 1 + value + 8 + path, NOW);
  assert_true(!found || path + 1 <= NT__COOKIE_ATTRIBUTE_MAX ||
              set.path.size == 0);
  free(line);
  return found;
}

static void has_limits(void** state) {
  (void) state;
  assert_true(has_sizes(1, 4095, 0));
  assert_true(has_sizes(4096, 0, 0));
  assert_false(has_sizes(1, 4096, 0));
  assert_false(has_sizes(4097, 0, 0));
  assert_true(has_sizes(1, 1, 1023));
  assert_true(has_sizes(1, 1, 1024)); /* that counts as none */
}

static void keeps_prefixes(void** state) {
  static const struct {
    const char* line;
    bool over_tls, not_over_tls;
  } cases[] = {
    { "a=b; Secure", true, true },
    { "__Secure-a=b; Secure", true, false },
    { "__SECURE-a=b", false, false },
    { "__Host-a=b; Secure; Path=/", true, false },
    { "__host-a=b; Secure", false, false },
    { "__Host-a=b; Secure; Path=/x", false, false },
    { "__Host-a=b; Secure; Path=/; Domain=x", false, false },
    { "__Host=b", true, true },
  };
  nt__set_cookie_t set;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    assert_true(
        nt__cookie_parse(&set, cases[i].line, strlen(cases[i].line), NOW));
    assert_int_equal(nt__cookie_keeps_prefix(&set, true), cases[i].over_tls);
    assert_int_equal(nt__cookie_keeps_prefix(&set, false),
                     cases[i].not_over_tls);
  }
}

/* ---- Dates --------------------------------------------------------------- */

static const struct {
  const char* text;
  int64_t seconds; /* -1: no date */
} dates[] = {
  { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
  { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
  { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
  { "Sun Nov  6 08:49:37 1994", 784111777 },
  { "06 nov 1994 8:49:37", 784111777 },
  { "08:49:37 november 1994 6", 784111777 },
  { "1994/Nov/06/08:49:37", 784111777 },
  { "Tue, 29 Feb 2000 23:59:59 GMT", 951868799 },
  { "Wed, 01 Mar 2000 00:00:00 GMT", 951868800 },
  { "Sat, 31 Dec 2037 23:59:59 GMT", 2145916799 },
  { "Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799) },
  { "01 Jan 69 00:00:00", INT64_C(3124224000) },
  { "01 Jan 70 00:00:00", 0 },
  { "01 Jan 1601 00:00:00", INT64_C(-11644473600) },
  { "01 Jan 1600 00:00:00", -1 },
  { "", -1 },
  { "soon", -1 },
  { "Nov 1994 08:49:37", -1 },
  { "06 1994 08:49:37", -1 },
  { "06 Nov 08:49:37", -1 },
  { "06 Nov 1994", -1 },
  { "06 Nov 1994 08:49", -1 },
  { "06 Nov 1994 24:00:00", -1 },
  { "06 Nov 1994 08:60:00", -1 },
  { "06 Nov 1994 08:49:60", -1 },
  { "00 Nov 1994 08:49:37", -1 },
  { "32 Dec 1994 08:49:37", -1 },
  { "31 Nov 1994 08:49:37", -1 },
  { "06 Nov 19945 08:49:37", -1 },
  { "06 Nov 1994 008:49:37", -1 },
};

static void reads_dates(void** state) {
  guard_t guard = guard_open(4096);
  nt__slice_t slice;
  int64_t at;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(dates); i++) {
    bool found = nt__cookie_date(nt__slice(dates[i].text), &at);

    assert_int_equal(found, dates[i].seconds != -1);
    if (found)
      assert_true(at == dates[i].seconds * 1000);
    for (slice.size = 0; slice.size < strlen(dates[i].text); slice.size++) {
      slice.at = guard_put(&guard, dates[i].text, slice.size);
      nt__cookie_date(slice, &at);
    }
  }
  guard_close(&guard);
}

/* ---- Places -------------------------------------------------------------- */

static void reads_places(void** state) {
  static const struct {
    const char* url;
    const char* given;
    const char* host;
    const char* path;
  } cases[] = {
    { "http://x:80/a/b?c#d", "Example.COM", "example.com", "/a/b" },
    { "https://x", "example.com.", "example.com", "/" },
    { "http://x?x/y", "x", "x", "/" },
    { "http://x#x/y", "x", "x", "/" },
    { "http://x//", "x", "x", "//" },
    { "http://[::1]/a", "[::1]", "[::1]", "/a" },
  };
  nt__cookie_place_t place;
  char host[NT__COOKIE_HOST_MAX + 1];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    assert_true(nt__cookie_place(&place, cases[i].url, cases[i].given, false,
                                 i % 2 == 1));
    assert_string_equal(place.host, cases[i].host);
    assert_int_equal(place.secure, i % 2);
    check_slice(place.path, cases[i].path);
  }
  memset(host, 'x', NT__COOKIE_HOST_MAX);
  host[NT__COOKIE_HOST_MAX] = '\0';
  assert_false(nt__cookie_place(&place, "http://x/", host, false, false));
  assert_true(nt__cookie_place(&place, "http://x/", host + 1, false, false));
  assert_false(nt__cookie_place(&place, "http://x/", ".", false, false));
  assert_false(nt__cookie_place(&place, "http://x/", "", false, false));
  assert_false(nt__cookie_place(&place, "nothing", "x", false, false));
}

static void has_default_paths(void** state) {
  static const char* const cases[][2] = {
    { "/", "/" },        { "/a", "/" }, { "/a/", "/a" }, { "/a/b", "/a" },
    { "/a/b/", "/a/b" }, { "//", "/" }, { "", "/" },     { "a/b", "/" },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++)
    check_slice(nt__cookie_default_path(nt__slice(cases[i][0])), cases[i][1]);
}

static void matches_paths(void** state) {
  static const struct {
    const char* cookie;
    const char* path;
    bool matches;
  } cases[] = {
    { "/", "/", true },      { "/", "/a", true },     { "/a", "/a", true },
    { "/a", "/a/", true },   { "/a", "/a/b", true },  { "/a", "/ab", false },
    { "/a/", "/a", false },  { "/a/", "/a/b", true }, { "/A", "/a", false },
    { "/a/b", "/a", false }, { "", "/", false },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++)
    assert_int_equal(nt__cookie_path_matches(nt__slice(cases[i].cookie),
                                             nt__slice(cases[i].path)),
                     cases[i].matches);
}

static void matches_domains(void** state) {
  static const struct {
    const char* domain;
    const char* host;
    bool literal, matches;
  } cases[] = {
    { "example.com", "example.com", false, true },
    { "example.com", "a.example.com", false, true },
    { "example.com", "a.b.example.com", false, true },
    { "example.com", "badexample.com", false, false },
    { "a.example.com", "example.com", false, false },
    { "", "example.com", false, false },
    { "1.2.3.4", "1.2.3.4", true, true },
    { "3.4", "1.2.3.4", true, false },
    { "[::1]", "[::1]", true, true },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++)
    assert_int_equal(nt__cookie_domain_matches(nt__slice(cases[i].domain),
                                               cases[i].host, cases[i].literal),
                     cases[i].matches);
}

static void knows_suffixes(void** state) {
  static const char* const suffixes[] = { "com",        "co.uk",   "github.io",
                                          "localhost",  "ck",      "x.ck",
                                          "unheard-of", "xn--p1ai" };
  static const char* const others[] = { "example.com", "example.co.uk",
                                        "me.github.io", "game.localhost",
                                        "www.ck" };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(suffixes); i++)
    assert_true(nt__cookie_is_suffix(suffixes[i]));
  for (i = 0; i < COUNT(others); i++)
    assert_false(nt__cookie_is_suffix(others[i]));
  assert_string_equal(nt__cookie_site("a.b.example.co.uk", false),
                      "example.co.uk");
  assert_string_equal(nt__cookie_site("co.uk", false), "co.uk");
  assert_string_equal(nt__cookie_site("localhost", false), "localhost");
  assert_string_equal(nt__cookie_site("10.1.2.3", true), "10.1.2.3");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reads_fields),      cmocka_unit_test(reads_no_further),
    cmocka_unit_test(has_limits),        cmocka_unit_test(keeps_prefixes),
    cmocka_unit_test(reads_dates),       cmocka_unit_test(reads_places),
    cmocka_unit_test(has_default_paths), cmocka_unit_test(matches_paths),
    cmocka_unit_test(matches_domains),   cmocka_unit_test(knows_suffixes),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
