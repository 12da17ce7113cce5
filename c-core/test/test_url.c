/* url.c: what is refused, where a URL leads (the authority is what is looked
 * up and what a policy judges), and references against a base. The parser is
 * libcurl's; the tables hold what the rest of the core relies on. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "guard.h"
#include "nettask.h"
#include "url.h"

enum {
  LONG_URL = 100 * 1024
};

/* h http, s secure, l literal address, p explicit port */
static const struct {
  const char* url;
  const char* resolved;  /* NULL: NT_E_URL */
  const char* authority; /* NULL: there is none */
  const char* flags;
} urls[] = {
  { "http://a/", "http://a/", "a:80", "h" },
  { "http://a", "http://a/", "a:80", "h" },
  { "https://a/", "https://a/", "a:443", "hs" },
  { "HTTPS://a/B", "https://a/B", "a:443", "hs" },
  { "http://a?x", "http://a/?x", "a:80", "h" },
  { "http://a/b?c?d#e#f", "http://a/b?c?d#e#f", "a:80", "h" },
  { "http://a_b/", "http://a_b/", "a_b:80", "h" },
  { "http://a./", "http://a./", "a.:80", "h" },
  /* other schemes parse, so that the policy can name what it refuses */
  { "ftp://a/x", "ftp://a/x", NULL, "" },
  { "ws://a/", "ws://a/", NULL, "" },
  { "http1://a/", "http1://a/", NULL, "" },
  { "file:///etc/passwd", "file:///etc/passwd", NULL, "" },
  /* ports */
  { "http://a:80/", "http://a:80/", "a:80", "hp" },
  { "http://a:080/", "http://a:80/", "a:80", "hp" },
  { "https://a:65535/", "https://a:65535/", "a:65535", "hsp" },
  { "http://a:/", "http://a/", "a:80", "h" },
  { "http://a:65536/", NULL, NULL, NULL },
  { "http://a:99999999999999999999/", NULL, NULL, NULL },
  { "http://a:-1/", NULL, NULL, NULL },
  { "http://a:+80/", NULL, NULL, NULL },
  { "http://a:8x/", NULL, NULL, NULL },
  { "http://a: 80/", NULL, NULL, NULL },
  { "http://a:1:2/", NULL, NULL, NULL },
  /* no host, no scheme */
  { "", NULL, NULL, NULL },
  { "http:", NULL, NULL, NULL },
  { "http://", NULL, NULL, NULL },
  { "http://?x", NULL, NULL, NULL },
  { "http://#x", NULL, NULL, NULL },
  { "http://:80/", NULL, NULL, NULL },
  { "http://u@/", NULL, NULL, NULL },
  { "//a/b", NULL, NULL, NULL },
  { "/a", NULL, NULL, NULL },
  { "a", NULL, NULL, NULL },
  { "a.example", NULL, NULL, NULL },
  { "a.example:80/x", NULL, NULL, NULL },
  { "localhost:8080", NULL, NULL, NULL },
  { ":", NULL, NULL, NULL },
  { "?", NULL, NULL, NULL },
  { "#", NULL, NULL, NULL },
  { "about:blank", NULL, NULL, NULL },
  { "data:text/plain,x", NULL, NULL, NULL },
  { "javascript:alert(1)", NULL, NULL, NULL },
  { "mailto:x@y", NULL, NULL, NULL },
  /* line ends and other control characters, in every part */
  { "http://a\r\nHost: b/", NULL, NULL, NULL },
  { "http://a/\r\nX: y", NULL, NULL, NULL },
  { "http://a/\nX: y", NULL, NULL, NULL },
  { "http://a/\rX: y", NULL, NULL, NULL },
  { "http://a/?\r\nX: y", NULL, NULL, NULL },
  { "http://a/#\r\nX: y", NULL, NULL, NULL },
  { "http://u\r\n@a/", NULL, NULL, NULL },
  { "http://u:p\r\n@a/", NULL, NULL, NULL },
  { "ht\ntp://a/", NULL, NULL, NULL },
  { "http://a/\t", NULL, NULL, NULL },
  { "http://a/\x01", NULL, NULL, NULL },
  { "http://a/\x7f", NULL, NULL, NULL },
  { "\nhttp://a/", NULL, NULL, NULL },
  /* encoded, they stay encoded in the path and are refused in the host */
  { "http://a/%0d%0aX:%20y", "http://a/%0d%0aX:%20y", "a:80", "h" },
  { "http://a/%00", "http://a/%00", "a:80", "h" },
  { "http://a%0d%0ab/", NULL, NULL, NULL },
  { "http://a%00b/", NULL, NULL, NULL },
  { "http://a%20b/", NULL, NULL, NULL },
  { "http://a%2fb/", NULL, NULL, NULL },
  { "http://a%23b/", NULL, NULL, NULL },
  { "http://a%3a80/", NULL, NULL, NULL },
  { "http://a%40b/", NULL, NULL, NULL },
  { "http://a%5cb/", NULL, NULL, NULL },
  { "http://%61%2eb/", "http://a.b/", "a.b:80", "h" },
  /* blanks and UTF-8 */
  { "http://a/b c?d e#f g", "http://a/b%20c?d%20e#f%20g", "a:80", "h" },
  { "  http://a/  ", "http://a/", "a:80", "h" },
  { " ", NULL, NULL, NULL },
  { "http://a/\xc3\xa9?\xc3\xa9", "http://a/%c3%a9?%c3%a9", "a:80", "h" },
  { "http://a/\xff", "http://a/%ff", "a:80", "h" },
  { "http://a b/", NULL, NULL, NULL },
  { "ht tp://a/", NULL, NULL, NULL },
  /* names beyond ASCII are libcurl's to encode, when it connects */
  { "http://b\xc3\xbc"
    "cher.example/",
    "http://b\xc3\xbc"
    "cher.example/",
    "b\xc3\xbc"
    "cher.example:80",
    "h" },
  { "http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/",
    "xn--bcher-kva.example:80", "h" },
  /* which host is it? */
  { "http://good.example@evil.example/", "http://good.example@evil.example/",
    "evil.example:80", "h" },
  { "http://good.example:80@evil.example/",
    "http://good.example:80@evil.example/", "evil.example:80", "h" },
  { "http://good.example%40evil.example/", NULL, NULL, NULL },
  { "http://a@b@c/", NULL, NULL, NULL },
  { "http://good.example#@evil.example/", "http://good.example/#@evil.example/",
    "good.example:80", "h" },
  { "http://good.example/@evil.example/", "http://good.example/@evil.example/",
    "good.example:80", "h" },
  { "http://good.example?@evil.example/", "http://good.example/?@evil.example/",
    "good.example:80", "h" },
  { "http://good.example\\evil.example/", NULL, NULL, NULL },
  { "http://u:pa%40ss@a/", "http://u:pa%40ss@a/", "a:80", "h" },
  /* IPv4 in all its spellings */
  { "http://127.0.0.1/", "http://127.0.0.1/", "127.0.0.1:80", "hl" },
  { "http://127.1/", "http://127.0.0.1/", "127.0.0.1:80", "hl" },
  { "http://2130706433/", "http://127.0.0.1/", "127.0.0.1:80", "hl" },
  { "http://0x7f000001/", "http://127.0.0.1/", "127.0.0.1:80", "hl" },
  { "http://0x7f.1/", "http://127.0.0.1/", "127.0.0.1:80", "hl" },
  { "http://0177.0.0.01/", "http://127.0.0.1/", "127.0.0.1:80", "hl" },
  { "http://0300.0250.1.1/", "http://192.168.1.1/", "192.168.1.1:80", "hl" },
  { "http://0/", "http://0.0.0.0/", "0.0.0.0:80", "hl" },
  /* IPv6 */
  { "http://[::1]/", "http://[::1]/", "[::1]:80", "hl" },
  { "http://[::1]:8080/", "http://[::1]:8080/", "[::1]:8080", "hlp" },
  { "http://[0:0:0:0:0:0:0:1]/", "http://[::1]/", "[::1]:80", "hl" },
  { "http://[::ffff:127.0.0.1]/", "http://[::ffff:127.0.0.1]/",
    "[::ffff:127.0.0.1]:80", "hl" },
  { "http://[fe80::1%25eth0]/", "http://[fe80::1%25eth0]/", "[fe80::1]:80",
    "hl" },
  { "http://[fe80::1%eth0]/", "http://[fe80::1%25eth0]/", "[fe80::1]:80",
    "hl" },
  { "http://[::1", NULL, NULL, NULL },
  { "http://[::1]x/", NULL, NULL, NULL },
  { "http://[::1]:65536/", NULL, NULL, NULL },
  { "http://[::g]/", NULL, NULL, NULL },
  { "http://[]/", NULL, NULL, NULL },
  { "http://[1:2:3:4:5:6:7:8:9]/", NULL, NULL, NULL },
  { "http://[127.0.0.1]/", NULL, NULL, NULL },
  { "http://[v1.a]/", NULL, NULL, NULL },
  { "http://::1/", NULL, NULL, NULL },
  /* characters that no host has */
  { "http://a;b/", NULL, NULL, NULL },
  { "http://a,b/", NULL, NULL, NULL },
  { "http://a\"b/", NULL, NULL, NULL },
  { "http://a<b>/", NULL, NULL, NULL },
  { "http://*.a/", NULL, NULL, NULL },
  /* dot segments */
  { "http://a/b/../c/./d", "http://a/c/d", "a:80", "h" },
  { "http://a/../../b", "http://a/b", "a:80", "h" },
  { "http://a/b?x/../y", "http://a/b?x/../y", "a:80", "h" },
};

static void assert_flags(const nt__url_t* url, const char* flags) {
  char text[8];

  snprintf(text, sizeof(text), "%s%s%s%s", url->http ? "h" : "",
           url->secure ? "s" : "", url->literal ? "l" : "",
           url->explicit_port ? "p" : "");
  assert_string_equal(text, flags);
}

static void parses(void** state) {
  nt__url_t url;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(urls); i++) {
    int err = nt__url_parse(&url, NULL, urls[i].url);

    if (err != (urls[i].resolved == NULL ? NT_E_URL : 0))
      fail_msg("%s: %s", urls[i].url, nt_error_name(err));
    if (err)
      continue;
    if (urls[i].authority == NULL)
      assert_null(url.authority);
    else
      assert_string_equal(url.authority, urls[i].authority);
    assert_flags(&url, urls[i].flags);
    assert_non_null(url.handle);
    nt__url_free(&url);
  }
}

static void resolves(void** state) {
  char out[256];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(urls); i++) {
    const char* expected = urls[i].resolved;
    int err = nt_url_resolve(NULL, urls[i].url, out, sizeof(out));

    if (err != (expected == NULL ? NT_E_URL : 0))
      fail_msg("%s: %s", urls[i].url, nt_error_name(err));
    if (err == 0)
      assert_string_equal(out, expected);
  }
}

/* Each URL cut at every byte, at a guard page: it parses or it is refused, and
 * what parses is a URL again. */
static void cut_urls(void** state) {
  guard_t guard = guard_open(256);
  char out[512];
  char again[512];
  size_t i;
  size_t size;

  (void) state;
  for (i = 0; i < COUNT(urls); i++)
    for (size = 0; size <= strlen(urls[i].url); size++) {
      char* cut = guard_text(&guard, urls[i].url, size);
      int err = nt_url_resolve(NULL, cut, out, sizeof(out));

      if (err) {
        assert_int_equal(err, NT_E_URL);
        continue;
      }
      assert_null(strpbrk(out, " \r\n\t"));
      assert_int_equal(nt_url_resolve(NULL, out, again, sizeof(again)), 0);
      assert_string_equal(again, out);
    }
  guard_close(&guard);
}

/* ---- References --------------------------------------------------------- */

/* RFC 3986 5.4, normal and abnormal; but "g:h" has no host, and "http:g" is
 * read strictly: neither is a URL for us. */
static const char* const references[][2] = {
  { "g:h", NULL },
  { "g", "http://a/b/c/g" },
  { "./g", "http://a/b/c/g" },
  { "g/", "http://a/b/c/g/" },
  { "/g", "http://a/g" },
  { "//g", "http://g/" },
  { "?y", "http://a/b/c/d;p?y" },
  { "g?y", "http://a/b/c/g?y" },
  { "#s", "http://a/b/c/d;p?q#s" },
  { "g#s", "http://a/b/c/g#s" },
  { "g?y#s", "http://a/b/c/g?y#s" },
  { ";x", "http://a/b/c/;x" },
  { "g;x", "http://a/b/c/g;x" },
  { "g;x?y#s", "http://a/b/c/g;x?y#s" },
  { "", "http://a/b/c/d;p?q" },
  { ".", "http://a/b/c/" },
  { "./", "http://a/b/c/" },
  { "..", "http://a/b/" },
  { "../", "http://a/b/" },
  { "../g", "http://a/b/g" },
  { "../..", "http://a/" },
  { "../../", "http://a/" },
  { "../../g", "http://a/g" },
  { "../../../g", "http://a/g" },
  { "../../../../g", "http://a/g" },
  { "/./g", "http://a/g" },
  { "/../g", "http://a/g" },
  { "g.", "http://a/b/c/g." },
  { ".g", "http://a/b/c/.g" },
  { "g..", "http://a/b/c/g.." },
  { "..g", "http://a/b/c/..g" },
  { "./../g", "http://a/b/g" },
  { "./g/.", "http://a/b/c/g/" },
  { "g/./h", "http://a/b/c/g/h" },
  { "g/../h", "http://a/b/c/h" },
  { "g;x=1/./y", "http://a/b/c/g;x=1/y" },
  { "g;x=1/../y", "http://a/b/c/y" },
  { "g?y/./x", "http://a/b/c/g?y/./x" },
  { "g?y/../x", "http://a/b/c/g?y/../x" },
  { "g#s/./x", "http://a/b/c/g#s/./x" },
  { "g#s/../x", "http://a/b/c/g#s/../x" },
  { "http:g", NULL },
  { "https://x/y", "https://x/y" },
  /* a Location header is no better than any other input */
  { "/x\r\nY: z", NULL },
  { "//x\r\nY: z/", NULL },
  { "/c d", "http://a/c%20d" },
  { "/\xc3\xa9", "http://a/%c3%a9" },
  { "//b@c/", "http://b@c/" },
  { "//a:99999/", NULL },
};

static void references_against_a_base(void** state) {
  static const char base[] = "http://a/b/c/d;p?q";
  char out[128];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(references); i++) {
    const char* expected = references[i][1];
    int err = nt_url_resolve(base, references[i][0], out, sizeof(out));

    if (err != (expected == NULL ? NT_E_URL : 0))
      fail_msg("%s: %s", references[i][0], nt_error_name(err));
    if (err == 0)
      assert_string_equal(out, expected);
  }
}

static void bad_bases(void** state) {
  static const char* const bases[] = { "", "x", "/x", "http://", "a\r\nb" };
  char out[64];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(bases); i++)
    assert_int_equal(nt_url_resolve(bases[i], "y", out, sizeof(out)), NT_E_URL);
}

static void bad_arguments(void** state) {
  char out[16];

  (void) state;
  assert_int_equal(nt_url_resolve(NULL, NULL, out, sizeof(out)), NT_E_INVALID);
  assert_int_equal(nt_url_resolve(NULL, "http://a/", NULL, 0), NT_E_INVALID);
}

/* Exactly fits, and is a byte too long. */
static void output_size(void** state) {
  guard_t guard = guard_open(16);
  char* out = guard_put(&guard, "0123456789", 10);

  (void) state;
  assert_int_equal(nt_url_resolve(NULL, "http://a/", out, 10), 0);
  assert_string_equal(out, "http://a/");
  assert_int_equal(nt_url_resolve(NULL, "http://ab/", out, 10), NT_E_INVALID);
  assert_int_equal(nt_url_resolve(NULL, "http://a/", out, 0), NT_E_INVALID);
  guard_close(&guard);
}

static void long_urls(void** state) {
  char* text = malloc(LONG_URL + 1);
  nt__url_t url;

  (void) state;
  assert_non_null(text);
  memset(text, 'x', LONG_URL);
  text[LONG_URL] = '\0';
  memcpy(text, "http://a/", 9);
  assert_int_equal(nt__url_parse(&url, NULL, text), 0);
  assert_string_equal(url.text, text);
  assert_string_equal(url.authority, "a:80");
  nt__url_free(&url);

  text[8] = 'x'; /* all host */
  assert_int_equal(nt__url_parse(&url, NULL, text), 0);
  assert_int_equal(strlen(url.authority), LONG_URL - 7 + 3);
  nt__url_free(&url);
  free(text);
}

/* ---- Credentials and origins -------------------------------------------- */

static char* user_of(const nt__url_t* url) {
  char* value = NULL;

  curl_url_get(url->handle, CURLUPART_USER, &value, 0);
  return value;
}

static void assert_user(const nt__url_t* url, const char* expected) {
  char* user = user_of(url);

  if (expected == NULL)
    assert_null(user);
  else
    assert_string_equal(user, expected);
  curl_free(user);
}

/* The text is shown to scripts and written to logs. */
static void text_has_no_credentials(void** state) {
  static const char* const cases[] = { "http://u:p@a/x", "http://u@a/x",
                                       "http://:p@a/x", "http://u:@a/x",
                                       "http://p%40p:p%3ap@a/x" };
  nt__url_t url;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    assert_int_equal(nt__url_parse(&url, NULL, cases[i]), 0);
    assert_string_equal(url.text, "http://a/x");
    nt__url_free(&url);
    assert_int_equal(nt__url_parse(&url, cases[i], "y"), 0);
    assert_string_equal(url.text, "http://a/y");
    nt__url_free(&url);
  }
}

static void credentials_can_be_dropped_and_inherited(void** state) {
  nt__url_t from;
  nt__url_t url;

  (void) state;
  assert_int_equal(nt__url_parse(&from, NULL, "http://u:p@a/"), 0);
  assert_user(&from, "u");
  assert_int_equal(nt__url_parse(&url, NULL, "http://a/y"), 0);
  nt__url_inherit_credentials(&url, &from);
  assert_user(&url, "u");
  assert_string_equal(url.text, "http://a/y");
  nt__url_drop_credentials(&url);
  assert_user(&url, NULL);
  nt__url_inherit_credentials(&from, &url); /* nothing to inherit */
  assert_user(&from, "u");
  nt__url_free(&url);

  assert_int_equal(nt__url_parse(&url, NULL, "http://own:q@a/"), 0);
  nt__url_inherit_credentials(&url, &from);
  assert_user(&url, "own");
  nt__url_free(&url);
  nt__url_free(&from);
}

static const struct {
  const char* a;
  const char* b;
  int same;
} origins[] = {
  { "http://a/", "http://a/b?c", 1 },
  { "http://a/", "http://A:80/", 1 },
  { "http://a/", "http://u:p@a/", 1 },
  { "https://a/", "https://a:443/", 1 },
  { "http://127.1/", "http://127.0.0.1/", 1 },
  { "http://a/", "https://a/", 0 },
  { "http://a:443/", "https://a/", 0 },
  { "http://a/", "http://a:81/", 0 },
  { "http://a/", "http://b/", 0 },
  { "http://a/", "http://a.b/", 0 },
  { "http://a/", "http://a@b/", 0 },
  { "ftp://a/", "ftp://a/", 0 },
  { "ftp://a/", "http://a/", 0 },
};

static void same_origin(void** state) {
  nt__url_t a;
  nt__url_t b;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(origins); i++) {
    assert_int_equal(nt__url_parse(&a, NULL, origins[i].a), 0);
    assert_int_equal(nt__url_parse(&b, NULL, origins[i].b), 0);
    assert_int_equal(nt__url_same_origin(&a, &b), origins[i].same);
    assert_int_equal(nt__url_same_origin(&b, &a), origins[i].same);
    nt__url_free(&a);
    nt__url_free(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(parses),
    cmocka_unit_test(resolves),
    cmocka_unit_test(cut_urls),
    cmocka_unit_test(references_against_a_base),
    cmocka_unit_test(bad_bases),
    cmocka_unit_test(bad_arguments),
    cmocka_unit_test(output_size),
    cmocka_unit_test(long_urls),
    cmocka_unit_test(text_has_no_credentials),
    cmocka_unit_test(credentials_can_be_dropped_and_inherited),
    cmocka_unit_test(same_origin),
  };

  return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
