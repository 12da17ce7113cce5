/* cookie_jar.c: who may set what, what goes where and in which order, what
 * makes room when the jar is full, and the lines of a file. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "cookie_jar.h"
#include "nettask.h"

#define NOW INT64_C(1700000000000)

static nt__cookie_place_t place_of(const char* url) {
  nt__cookie_place_t place;
  char host[NT__COOKIE_HOST_MAX];
  const char* at = strstr(url, "://") + 3;
  size_t size = strcspn(at, "/?#");
  bool literal = at[strspn(at, "0123456789./")] == '\0';

  assert_true(size < sizeof(host));
  memcpy(host, at, size);
  host[size] = '\0';
  assert_true(nt__cookie_place(&place, url, host, literal, url[4] == 's'));
  return place;
}

static int store_at(nt__jar_t* jar, const char* url, const char* line,
                    int64_t now) {
  nt__cookie_place_t place = place_of(url);

  return nt__jar_store(jar, &place, line, strlen(line), now);
}

static int store(nt__jar_t* jar, const char* url, const char* line) {
  return store_at(jar, url, line, NOW);
}

static void check_pick(nt__jar_t* jar, const char* url, const char* own,
                       int64_t now, const char* expected) {
  nt__cookie_place_t place = place_of(url);
  nt__buf_t out;

  nt__buf_init(&out, 0);
  assert_int_equal(nt__jar_pick(jar, &place, own, now, &out), 0);
  if (out.size == 0)
    assert_string_equal("", expected);
  else
    assert_string_equal(out.data, expected);
  nt__buf_free(&out);
}

static void check_sent(nt__jar_t* jar, const char* url, const char* expected) {
  check_pick(jar, url, NULL, NOW, expected);
}

/* ---- Who may set what ---------------------------------------------------- */

static const struct {
  const char* url;
  const char* line;
  const char* asked;
  const char* sent; /* to `asked` */
} rules[] = {
  { "http://a.test.com/x/y", "a=1", "http://a.test.com/x/z", "a=1" },
  { "http://a.test.com/x/y", "a=1", "http://a.test.com/", "" },
  { "http://a.test.com/x/y", "a=1; Path=/", "http://a.test.com/", "a=1" },
  { "http://a.test.com/", "a=1", "http://b.a.test.com/", "" },
  { "http://a.test.com/", "a=1", "https://a.test.com/", "a=1" },
  { "http://a.test.com/", "a=1; Domain=test.com", "http://b.test.com/", "a=1" },
  { "http://a.test.com/", "a=1; Domain=TEST.com", "http://test.com/", "a=1" },
  { "http://a.test.com/", "a=1; Domain=a.test.com", "http://b.a.test.com/",
    "a=1" },
  { "http://test.com/", "a=1; Domain=a.test.com", "http://a.test.com/", "" },
  { "http://a.test.com/", "a=1; Domain=com", "http://a.test.com/", "" },
  { "http://a.test.com/", "a=1; Domain=other.com", "http://other.com/", "" },
  { "http://a.test.com/", "a=1; Domain=est.com", "http://a.test.com/", "" },
  { "http://a.co.uk/", "a=1; Domain=co.uk", "http://a.co.uk/", "" },
  { "http://co.uk/", "a=1; Domain=co.uk", "http://co.uk/", "a=1" },
  { "http://co.uk/", "a=1; Domain=co.uk", "http://a.co.uk/", "" },
  { "http://localhost/", "a=1; Domain=localhost", "http://localhost/", "a=1" },
  { "http://1.2.3.4/", "a=1; Domain=1.2.3.4", "http://1.2.3.4/", "a=1" },
  { "http://1.2.3.4/", "a=1; Domain=3.4", "http://1.2.3.4/", "" },
  { "http://a.test.com/", "a=1; Secure", "https://a.test.com/", "" },
  { "https://a.test.com/", "a=1; Secure", "https://a.test.com/", "a=1" },
  { "https://a.test.com/", "a=1; Secure", "http://a.test.com/", "" },
  { "https://a.test.com/", "__Host-a=1; Secure", "https://a.test.com/", "" },
  { "https://a.test.com/", "__Host-a=1; Secure; Path=/", "https://a.test.com/",
    "__Host-a=1" },
  { "http://a.test.com/", "a=1; Max-Age=0", "http://a.test.com/", "" },
  { "http://a.test.com/", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "http://a.test.com/", "" },
};

static void has_rules(void** state) {
  nt__jar_t jar;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(rules); i++) {
    nt__jar_init(&jar);
    store(&jar, rules[i].url, rules[i].line);
    check_sent(&jar, rules[i].asked, rules[i].sent);
    nt__jar_free(&jar);
  }
}

static void replaces(void** state) {
  nt__jar_t jar;

  (void) state;
  nt__jar_init(&jar);
  store(&jar, "http://a.test.com/", "a=1");
  store(&jar, "http://a.test.com/", "b=2");
  store(&jar, "http://a.test.com/", "a=3"); /* keeps its place */
  check_sent(&jar, "http://a.test.com/", "a=3; b=2");
  store(&jar, "http://a.test.com/", "a=4; Path=/x");
  check_sent(&jar, "http://a.test.com/x", "a=4; a=3; b=2");
  store(&jar, "http://a.test.com/", "a=; Max-Age=0");
  check_sent(&jar, "http://a.test.com/x", "a=4; b=2");
  store(&jar, "http://a.test.com/", "b=5; Domain=a.test.com"); /* another */
  check_sent(&jar, "http://a.test.com/", "b=2; b=5");
  assert_int_equal(jar.count, 3);
  nt__jar_free(&jar);
}

/* What came over TLS nobody can change who could be anybody. */
static void leaves_secure_ones_alone(void** state) {
  nt__jar_t jar;

  (void) state;
  nt__jar_init(&jar);
  assert_int_equal(store(&jar, "https://a.test.com/",
                         "a=1; Secure; Domain=test.com; Path=/x"),
                   0);
  assert_int_equal(store(&jar, "http://a.test.com/", "a=2; Path=/x"),
                   NT_E_INVALID);
  assert_int_equal(store(&jar, "http://test.com/", "a=2; Path=/x/y"),
                   NT_E_INVALID);
  assert_int_equal(store(&jar, "http://a.test.com/", "a=; Max-Age=0; Path=/x"),
                   NT_E_INVALID);
  assert_int_equal(store(&jar, "http://a.test.com/", "a=2; Path=/"), 0);
  assert_int_equal(store(&jar, "http://a.test.com/", "b=2; Path=/x"), 0);
  assert_int_equal(store(&jar, "http://other.com/", "a=2; Path=/x"), 0);
  check_sent(&jar, "https://a.test.com/x", "a=1; b=2; a=2");
  assert_int_equal(store(&jar, "https://a.test.com/",
                         "a=3; Domain=test.com; "
                         "Path=/x"),
                   0);
  check_sent(&jar, "https://a.test.com/x", "a=3; b=2; a=2");
  nt__jar_free(&jar);
}

static void leaves_out_own_names(void** state) {
  nt__jar_t jar;

  (void) state;
  nt__jar_init(&jar);
  store(&jar, "http://a.test.com/", "a=1");
  store(&jar, "http://a.test.com/", "bb=2");
  check_pick(&jar, "http://a.test.com/", "", NOW, "a=1; bb=2");
  check_pick(&jar, "http://a.test.com/", "a=9", NOW, "bb=2");
  check_pick(&jar, "http://a.test.com/", "x; bb =9;a= 1", NOW, "");
  check_pick(&jar, "http://a.test.com/", "b=1; aa=1; x=a=1", NOW, "a=1; bb=2");
  check_pick(&jar, "http://a.test.com/", "c=1\r\nX: a=1", NOW, "a=1; bb=2");
  nt__jar_free(&jar);
}

static void forgets_in_time(void** state) {
  nt__jar_t jar;

  (void) state;
  nt__jar_init(&jar);
  store(&jar, "http://a.test.com/", "a=1; Max-Age=10");
  store(&jar, "http://a.test.com/", "b=2");
  check_pick(&jar, "http://a.test.com/", NULL, NOW + 9999, "a=1; b=2");
  check_pick(&jar, "http://a.test.com/", NULL, NOW + 10000, "b=2");
  assert_int_equal(jar.count, 1);
  nt__jar_free(&jar);
}

/* ---- Room ---------------------------------------------------------------- */

static void has_room_for_a_domain(void** state) {
  char line[64];
  nt__jar_t jar;
  int i;

  (void) state;
  nt__jar_init(&jar);
  store(&jar, "http://b.test.com/", "other=1");
  for (i = 0; i < NT__JAR_DOMAIN_MAX; i++) {
    snprintf(line, sizeof(line), "n%d=x; Path=/%d", i, i);
    assert_int_equal(store(&jar, "http://a.test.com/", line), 0);
  }
  check_sent(&jar, "http://a.test.com/0", "n0=x"); /* used now */
  store(&jar, "http://a.test.com/", "new=x; Path=/0");
  assert_int_equal(jar.count, NT__JAR_DOMAIN_MAX + 1);
  check_sent(&jar, "http://a.test.com/1", "");
  check_sent(&jar, "http://a.test.com/0", "n0=x; new=x");
  check_sent(&jar, "http://b.test.com/", "other=1");
  nt__jar_free(&jar);
}

static void has_room_in_all(void** state) {
  char url[64];
  nt__jar_t jar;
  int i;

  (void) state;
  nt__jar_init(&jar);
  for (i = 0; i < NT__JAR_MAX; i++) {
    snprintf(url, sizeof(url), "http://h%d.site%d.com/", i, i % 100);
    assert_int_equal(store(&jar, url, "a=1"), 0);
  }
  assert_int_equal(jar.count, NT__JAR_MAX);
  check_sent(&jar, "http://h0.site0.com/", "a=1");
  store(&jar, "http://new.com/", "a=1");
  assert_int_equal(jar.count, NT__JAR_MAX);
  check_sent(&jar, "http://h0.site0.com/", "a=1");
  check_sent(&jar, "http://h1.site1.com/", "");
  check_sent(&jar, "http://new.com/", "a=1");
  nt__jar_free(&jar);
}

/* What is over makes room before what is in use. */
static void drops_old_ones_first(void** state) {
  char line[64];
  nt__jar_t jar;
  int i;

  (void) state;
  nt__jar_init(&jar);
  store(&jar, "http://a.test.com/", "first=1; Path=/first");
  store(&jar, "http://a.test.com/", "old=1; Max-Age=1");
  for (i = 2; i < NT__JAR_DOMAIN_MAX; i++) {
    snprintf(line, sizeof(line), "n%d=x", i);
    store(&jar, "http://a.test.com/", line);
  }
  store_at(&jar, "http://a.test.com/", "new=1", NOW + 2000);
  check_pick(&jar, "http://a.test.com/first", "n", NOW + 2000,
             "first=1; n2=x; n3=x; n4=x; n5=x; n6=x; n7=x; n8=x; n9=x; n10=x; "
             "n11=x; n12=x; n13=x; n14=x; n15=x; n16=x; n17=x; n18=x; n19=x; "
             "n20=x; n21=x; n22=x; n23=x; n24=x; n25=x; n26=x; n27=x; n28=x; "
             "n29=x; n30=x; n31=x; n32=x; n33=x; n34=x; n35=x; n36=x; n37=x; "
             "n38=x; n39=x; n40=x; n41=x; n42=x; n43=x; n44=x; n45=x; n46=x; "
             "n47=x; n48=x; n49=x; new=1");
  nt__jar_free(&jar);
}

static void has_a_longest_line(void** state) {
  static char line[4000];
  nt__cookie_place_t place = place_of("http://a.test.com/");
  nt__buf_t out;
  nt__jar_t jar;
  int i;

  (void) state;
  nt__jar_init(&jar);
  for (i = 0; i < NT__JAR_DOMAIN_MAX; i++) {
    memset(line, 'x', sizeof(line));
    line[0] = (char) ('A' + i);
    line[1] = '=';
    assert_int_equal(nt__jar_store(&jar, &place, line, sizeof(line), NOW), 0);
  }
  nt__buf_init(&out, 0);
  assert_int_equal(nt__jar_pick(&jar, &place, NULL, NOW, &out), 0);
  assert_true(out.size <= NT__JAR_LINE_MAX);
  assert_true(out.size > NT__JAR_LINE_MAX - 2 * sizeof(line));
  nt__buf_free(&out);
  nt__jar_free(&jar);
}

/* ---- Clearing and files -------------------------------------------------- */

static void clears(void** state) {
  nt__cookie_place_t place = place_of("http://a.test.com/");
  nt__jar_t jar;

  (void) state;
  nt__jar_init(&jar);
  store(&jar, "http://a.test.com/", "a=1; Path=/x");
  store(&jar, "https://a.test.com/", "b=1; Secure");
  store(&jar, "http://a.test.com/", "c=1; Domain=test.com");
  store(&jar, "http://test.com/", "d=1");
  store(&jar, "http://b.test.com/", "e=1");
  assert_int_equal(nt__jar_clear(&jar, &place), 3);
  check_sent(&jar, "http://test.com/", "d=1");
  assert_int_equal(nt__jar_clear(&jar, NULL), 2);
  assert_int_equal(jar.count, 0);
}

static void write_jar(nt__jar_t* jar, nt__buf_t* out) {
  nt__buf_init(out, 0);
  assert_int_equal(nt__jar_write(jar, NOW, out), 0);
}

static void writes_what_it_reads(void** state) {
  nt__buf_t text, again;
  nt__jar_t jar, copy;

  (void) state;
  nt__jar_init(&jar);
  nt__jar_init(&copy);
  store(&jar, "https://a.test.com/",
        "a=1\t2; Domain=test.com; Secure; HttpOnly; Max-Age=9");
  store(&jar, "http://a.test.com/p/", "b=; Max-Age=9");
  store(&jar, "http://a.test.com/", "session=1");
  store(&jar, "http://10.0.0.1/", "c=3; Max-Age=9");
  assert_true(jar.changed);
  write_jar(&jar, &text);
  assert_non_null(strstr(text.data,
                         "\n#HttpOnly_.test.com\tTRUE\t/\tTRUE\t"
                         "1700000009\ta\t1\t2\n"
                         "a.test.com\tFALSE\t/p\tFALSE\t"
                         "1700000009\tb\t\n"
                         "10.0.0.1\tFALSE\t/\tFALSE\t"
                         "1700000009\tc\t3\n"));
  assert_null(strstr(text.data, "session"));
  assert_int_equal(nt__jar_read(&copy, text.data, text.size, NOW), 0);
  assert_int_equal(copy.count, 3);
  write_jar(&copy, &again);
  assert_string_equal(again.data, text.data);
  check_sent(&copy, "https://b.test.com/", "a=1\t2");
  check_sent(&copy, "http://10.0.0.1/", "c=3");
  nt__buf_free(&text);
  nt__buf_free(&again);
  nt__jar_free(&jar);
  nt__jar_free(&copy);
}

static void reads_what_is_cut_off(void** state) {
  static const char text[] =
      ".test.com\tTRUE\t/\tFALSE\t4102444800\ta\t1\r\n"
      "a.test.com\tFALSE\t/\tTRUE\t4102444800\tb\t2";
  nt__jar_t jar;
  size_t size;

  (void) state;
  for (size = 0; size < sizeof(text); size++) {
    char* copy = malloc(size + 1);

    assert_non_null(copy);
    memcpy(copy, text, size);
    nt__jar_init(&jar);
    assert_int_equal(nt__jar_read(&jar, copy, size, NOW), 0);
    assert_true(jar.count <= 2);
    nt__jar_free(&jar);
    free(copy);
  }
}

static const char* const bad_lines[] = {
  "",
  "#",
  "# a.test.com\tFALSE\t/\tFALSE\t4102444800\ta\t1",
  "#HttpOnly_",
  "a.test.com\tFALSE\t/\tFALSE\t4102444800\ta",
  "a.test.com FALSE / FALSE 4102444800 a 1",
  "\tFALSE\t/\tFALSE\t4102444800\ta\t1",
  ".\tTRUE\t/\tFALSE\t4102444800\ta\t1",
  "a.test.com\tFALSE\tx\tFALSE\t4102444800\ta\t1",
  "a.test.com\tFALSE\t\tFALSE\t4102444800\ta\t1",
  "a.test.com\tFALSE\t/\tFALSE\t\ta\t1",
  "a.test.com\tFALSE\t/\tFALSE\t-1\ta\t1",
  "a.test.com\tFALSE\t/\tFALSE\t0\ta\t1",
  "a.test.com\tFALSE\t/\tFALSE\t1\ta\t1",
  "a.test.com\tFALSE\t/\tFALSE\t999999999999999\ta\t1",
  "a.test.com\tFALSE\t/\tFALSE\t4102444800\t\t1",
  ".com\tTRUE\t/\tFALSE\t4102444800\ta\t1",
  ".1.2.3.4\tTRUE\t/\tFALSE\t4102444800\ta\t1",
  "a.test.com\tFALSE\t/\tFALSE\t4102444800\ta\t1\rX: y",
  "a.test.com\tFALSE\t/\tFALSE\t4102444800\ta\t1; b=2",
  "a.test.com\tFALSE\t/\tFALSE\t4102444800\ta=b\t1",
  "a.test.com\tFALSE\t/\x01\tFALSE\t4102444800\ta\t1",
  ".#test.com\tFALSE\t/\tFALSE\t4102444800\ta\t1",
  "..test.com\tTRUE\t/\tFALSE\t4102444800\ta\t1",
  "test.com.\tTRUE\t/\tFALSE\t4102444800\ta\t1",
  "t\x80st.com\tFALSE\t/\tFALSE\t4102444800\ta\t1",
  "A.test.com\tFALSE\t/\tFALSE\t4102444800\ta\t1",
};

static void passes_over_bad_lines(void** state) {
  nt__jar_t jar;
  size_t i;

  (void) state;
  nt__jar_init(&jar);
  for (i = 0; i < COUNT(bad_lines); i++) {
    assert_int_equal(
        nt__jar_read(&jar, bad_lines[i], strlen(bad_lines[i]), NOW), 0);
    assert_int_equal(jar.count, 0);
  }
  nt__jar_free(&jar);
}

static void keeps_what_it_has(void** state) {
  static const char text[] =
      "a.test.com\tFALSE\t/\tFALSE\t4102444800\ta\told\n"
      "a.test.com\tFALSE\t/\tFALSE\t4102444800\tb\told";
  nt__jar_t jar;

  (void) state;
  nt__jar_init(&jar);
  store(&jar, "http://a.test.com/", "a=new");
  assert_int_equal(nt__jar_read(&jar, text, sizeof(text) - 1, NOW), 0);
  check_sent(&jar, "http://a.test.com/", "a=new; b=old");
  nt__jar_free(&jar);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(has_rules),
    cmocka_unit_test(replaces),
    cmocka_unit_test(leaves_secure_ones_alone),
    cmocka_unit_test(leaves_out_own_names),
    cmocka_unit_test(forgets_in_time),
    cmocka_unit_test(has_room_for_a_domain),
    cmocka_unit_test(has_room_in_all),
    cmocka_unit_test(drops_old_ones_first),
    cmocka_unit_test(has_a_longest_line),
    cmocka_unit_test(clears),
    cmocka_unit_test(writes_what_it_reads),
    cmocka_unit_test(reads_what_is_cut_off),
    cmocka_unit_test(passes_over_bad_lines),
    cmocka_unit_test(keeps_what_it_has),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
