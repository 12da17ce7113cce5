/* cache_key.c: URLs that are one to a server, and those that are not. */
#include <string.h>

#include "alloc.h"
#include "cache_key.h"
#include "failing.h"

static const struct {
  const char* url;
  const char* key; /* NULL: the URL itself */
} keys[] = {
  { "http://a/", NULL },
  { "https://a/b/c.d?e=/../f&g", NULL },
  { "http://a:8080/b", NULL },
  { "https://a:80/", NULL },
  { "http://a:443/", NULL },
  { "http://a/B?C", NULL },
  { "http://a/%7e%7E", NULL },
  { "http://127.0.0.1:1/", NULL },
  { "http://[::1]:1/", NULL },
  { "http://a/b?", NULL },
  { "http://a/b;c", NULL },
  { "http://a//b/", NULL },
  /* The scheme, the host, its port and its root are written in one way. */
  { "HTTP://a/", "http://a/" },
  { "hTTps://a/", "https://a/" },
  { "http://A.B/C", "http://a.b/C" },
  { "http://A:8080/C", "http://a:8080/C" },
  { "http://a:80/", "http://a/" },
  { "https://a:443/b", "https://a/b" },
  { "http://a:08080/", "http://a:8080/" },
  { "http://a:/", "http://a/" },
  { "http://a", "http://a/" },
  { "http://a?B", "http://a/?B" },
  { "http://a:80?b#c", "http://a/?b" },
  { "http://127.1/", "http://127.0.0.1/" },
  { "http://%61/b", "http://a/b" },
  /* What is not sent is not in it. */
  { "http://a/b#c", "http://a/b" },
  { "http://a/b?c#d?e", "http://a/b?c" },
  { "http://a/b?#", "http://a/b?" },
  { "http://me:secret@a/b", "http://a/b" },
  { "http://me:secret@A/b?c#d", "http://a/b?c" },
  /* Nor what libcurl takes away; but a query is sent as it is. */
  { "http://a/b/../c/./d", "http://a/c/d" },
  { "http://a/../../b", "http://a/b" },
  { "http://a/b/..?c/../d", "http://a/?c/../d" },
  { "http://a/.b", "http://a/.b" },
  { "http://a/b c", "http://a/b%20c" },
  { "http://a/\xc3\xbc?\xc3\xbc", "http://a/%c3%bc?%c3%bc" },
  /* An address may have a zone. */
  { "http://[::1]/b#c", "http://[::1]/b" },
  { "HTTP://[::1]:80?b", "http://[::1]/?b" },
  { "https://[FE80::A]:8/b/../c", "https://[fe80::a]:8/c" },
  { "https://[fe80::1%25Eth0]:8/b/../c", "https://[fe80::1%25Eth0]:8/c" },
  { "http://[fe80::1%25eth0]/#c", "http://[fe80::1%25eth0]/" },
};

static void writes_one_key(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(keys); i++) {
    const char* wanted = keys[i].key == NULL ? keys[i].url : keys[i].key;
    const char* key;
    nt__url_t url;
    char* own;

    assert_int_equal(nt__url_parse(&url, NULL, keys[i].url), 0);
    key = nt__cache_key(&url, &own);
    assert_string_equal(key, wanted);
    assert_true(own == NULL ? key == url.text : key == own);
    if (keys[i].key == NULL)
      assert_null(own);
    nt__free(own);
    nt__url_free(&url);
  }
}

/* As Location names it. */
static void is_the_same_for_a_reference(void** state) {
  static const struct {
    const char* base;
    const char* text;
    const char* key;
  } cases[] = {
    { "http://A:80/b/c", "d", "http://a/b/d" },
    { "http://a/b/c?d#e", "", "http://a/b/c?d" },
    { "http://me:secret@a/b", "../c?d#e", "http://a/c?d" },
    { "http://a/b", "//B:81/./c", "http://b:81/c" },
    { "https://a/b", "HTTP://C", "http://c/" },
  };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    nt__url_t url;
    char* own;

    assert_int_equal(nt__url_parse(&url, cases[i].base, cases[i].text), 0);
    assert_string_equal(nt__cache_key(&url, &own), cases[i].key);
    nt__free(own);
    nt__url_free(&url);
  }
}

static void needs_memory(void** state) {
  static const char* const urls[] = { "http://A/", "http://[::1]/#" };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(urls); i++) {
    nt__url_t url;
    char* own;

    assert_int_equal(nt__url_parse(&url, NULL, urls[i]), 0);
    failing_start(FAILING_ALWAYS, 1);
    assert_null(nt__cache_key(&url, &own));
    assert_null(own);
    failing_stop();
    nt__url_free(&url);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(writes_one_key),
    cmocka_unit_test(is_the_same_for_a_reference),
    cmocka_unit_test(needs_memory),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
