/* gate.c and pattern.c: which hosts and addresses a policy lets tasks reach, in
 * all the ways in which they can be written. */
#include <locale.h>
#include <string.h>

#include "alloc.h"
#include "check.h"
#include "gate.h"
#include "guard.h"

enum {
  REFUSE_PRIVATE = NT_POLICY_REFUSE_PRIVATE,
  REQUIRE_DOMAINS = NT_POLICY_REQUIRE_DOMAINS,
  MAX_ITEMS = 8
};

/* Words, separated by blanks, as a list; NULL: no list. */
static nt_list_t list_of(const char* words, char* copy, const char** items) {
  nt_list_t list = { NULL, 0 };
  char* word;

  if (words == NULL)
    return list;
  list.items = items;
  strcpy(copy, words);
  for (word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
    items[list.count++] = word;
  return list;
}

static nt__policy_t* new_policy(uint32_t flags, nt_access_t access,
                                const char* domains, const char* allowed) {
  const char* domain_items[MAX_ITEMS] = { NULL };
  const char* allowed_items[MAX_ITEMS] = { NULL };
  char domain_copy[512];
  char allowed_copy[512];
  nt_policy_t values;
  nt__policy_t* policy;
  char why[256];

  nt_policy_init(&values, NT_PRESET_OPEN);
  values.flags = flags;
  values.domains[access] = list_of(domains, domain_copy, domain_items);
  values.allow_private = list_of(allowed, allowed_copy, allowed_items);
  if (nt_policy_check(&values, why, sizeof(why)) != 0)
    fail_msg("%s", why);
  policy = nt__policy_new(&values);
  assert_non_null(policy);
  return policy;
}

static int check_url(const nt__policy_t* policy, nt_access_t access,
                     const char* text) {
  nt__url_t url;
  int err = nt__url_parse(&url, NULL, text);

  if (err)
    return err;
  err = nt__gate_url(policy, access, &url);
  nt__url_free(&url);
  return err;
}

/* ---- The form of URLs ---------------------------------------------------- */

static const struct {
  uint32_t flags;
  uint64_t url_max;
  const char* url;
  int result;
} forms[] = {
  { 0, 0, "http://a/", 0 },
  { 0, 0, "https://a:444/", 0 },
  { 0, 0, "HTTP://a/", 0 },
  { 0, 0, "ftp://a/", NT_E_SCHEME },
  { 0, 0, "ws://a/", NT_E_SCHEME },
  { 0, 0, "httpx://a/", NT_E_SCHEME },
  { 0, 0, "file:///etc/passwd", NT_E_SCHEME },
  { 0, 0, "gopher://a/", NT_E_SCHEME },
  { NT_POLICY_REQUIRE_SECURE, 0, "http://a/", NT_E_SCHEME },
  { NT_POLICY_REQUIRE_SECURE, 0, "https://a/", 0 },
  { NT_POLICY_REQUIRE_SECURE, 0, "ftp://a/", NT_E_SCHEME },
  { NT_POLICY_NO_URL_PORT, 0, "http://a/", 0 },
  { NT_POLICY_NO_URL_PORT, 0, "http://a:80/", NT_E_PORT },
  { NT_POLICY_NO_URL_PORT, 0, "https://a:443/", NT_E_PORT },
  { NT_POLICY_NO_URL_PORT, 0, "http://[::1]/", 0 },
  { NT_POLICY_NO_URL_PORT, 0, "http://[::1]:1/", NT_E_PORT },
  { NT_POLICY_NO_URL_PORT, 0, "http://a/:8080", 0 },
  { 0, 9, "http://a/", 0 },
  { 0, 9, "http://a/b", NT_E_URL_TOO_LONG },
  /* The first rule that is broken is the one that is named. */
  { NT_POLICY_REQUIRE_SECURE, 9, "http://a/b", NT_E_URL_TOO_LONG },
  { NT_POLICY_REQUIRE_SECURE | NT_POLICY_NO_URL_PORT, 0, "http://a:1/",
    NT_E_SCHEME },
  { NT_POLICY_NO_URL_PORT | REQUIRE_DOMAINS, 0, "http://a:1/", NT_E_PORT },
  { REFUSE_PRIVATE | REQUIRE_DOMAINS, 0, "http://10.0.0.1/", NT_E_DOMAIN },
  { REFUSE_PRIVATE, 0, "http://10.0.0.1/", NT_E_PRIVATE },
};

static void judges_the_form(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(forms); i++) {
    nt_policy_t values;
    nt__policy_t* policy;

    nt_policy_init(&values, NT_PRESET_OPEN);
    values.flags = forms[i].flags;
    values.url_max_bytes = forms[i].url_max;
    policy = nt__policy_new(&values);
    if (check_url(policy, NT_ACCESS_REQUEST, forms[i].url) != forms[i].result)
      fail_msg("%s", forms[i].url);
    nt__policy_unref(policy);
  }
}

/* ---- Lists --------------------------------------------------------------- */

static const struct {
  const char* list;
  const char* url;
  bool passes;
} listed[] = {
  { "example.com", "http://example.com/", true },
  { "example.com", "https://example.com:8443/a?b#c", true },
  { "example.com", "https://EXAMPLE.Com/", true },
  { "Example.COM", "https://example.com/", true },
  { "example.com", "https://example.com./", true },
  { "example.com.", "https://example.com/", true },
  { "example.com", "https://user:pass@example.com/", true },
  { "example.com", "https://ex%61mple.com/", true },
  { "other.com example.com", "https://example.com/", true },
  { "", "https://example.com/", false },
  { "example.com", "https://example.com../", false },
  { "example.com", "https://a.example.com/", false },
  { "example.com", "https://example.com.evil.com/", false },
  { "example.com", "https://evilexample.com/", false },
  { "example.com", "https://example.co/", false },
  { "example.com", "https://example.comm/", false },
  { "example.com", "https://example.com@evil.com/", false },
  { "example.com", "https://example.com:443@evil.com/", false },
  { "example.com", "https://example.com%40evil.com/", false },
  { "example.com", "https://evil.com/example.com", false },
  { "example.com", "https://evil.com?example.com", false },
  { "example.com", "https://evil.com#example.com", false },
  { "example.com", "https://evil.com#@example.com/", false },
  { "example.com", "https://evil.com/@example.com/", false },
  { "example.com", "https://example.com%2f.evil.com/", false },
  { "example.com", "https://example.com%00.evil.com/", false },
  { "example.com", "https://example.com%2eevil.com/", false },
  { "*.example.com", "https://a.example.com/", true },
  { "*.example.com", "https://a.b.EXAMPLE.com/", true },
  { "*.example.com", "https://a.example.com./", true },
  { "*.example.com", "https://example.com/", false },
  { "*.example.com", "https://.example.com/", false },
  { "*.example.com", "https://xexample.com/", false },
  { "*.example.com", "https://a.example.com.evil.com/", false },
  { "*.example.com", "https://evil.com/.example.com", false },
  { "*.example.com", "https://a..example.com/", false },
  { "example.com:8443", "https://example.com:8443/", true },
  { "example.com:8443", "http://example.com:8443/", true },
  { "example.com:8443", "https://example.com:08443/", true },
  { "example.com:443", "https://example.com/", true },
  { "example.com:443", "https://example.com:/", true },
  { "example.com:8443", "https://example.com/", false },
  { "example.com:443", "http://example.com/", false },
  { "example.com:8443", "https://example.com:84430@evil.com/", false },
  { "https://example.com", "https://example.com/", true },
  { "https://example.com", "https://example.com:443/", true },
  { "wss://example.com", "https://example.com/", true },
  { "ws://example.com", "http://example.com/", true },
  { "https://example.com", "http://example.com/", false },
  { "https://example.com", "http://example.com:443/", false },
  { "https://example.com", "https://example.com:8443/", false },
  { "http://example.com", "https://example.com/", false },
  { "https://example.com:8443", "https://example.com:8443/", true },
  { "https://example.com:8443", "http://example.com:8443/", false },
  { "https://*.example.com", "https://a.example.com/", true },
  { "https://*.example.com", "http://a.example.com/", false },
  { "1.2.3.4", "http://1.2.3.4/", true },
  { "1.2.3.4", "http://0x01020304/", true },
  { "1.2.3.4", "http://1.2.772/", true },
  { "1.2.3.4", "http://1.2.3.4./", true },
  { "1.2.3.4", "http://[::ffff:1.2.3.4]/", true },
  { "1.2.3.4", "http://1.2.3.40/", false },
  { "1.2.3.4", "http://1.2.3.4.5/", false },
  { "1.2.3.4", "http://1.2.3.4.example.com/", false },
  { "*.2.example", "http://1.2/", false },
  { "[2606::1]", "http://[2606:0:0::1]/", true },
  { "[2606::1]:8080", "http://[2606::1]:8080/", true },
  { "[2606::1]:8080", "http://[2606::1]/", false },
  { "[2606::1]", "http://[2606::2]/", false },
  { "localhost", "http://localhost/", true },
  { "xn--bcher-kva.example", "http://xn--bcher-kva.example/", true },
  { "example.com", "https://exa_mple.com/", false },
  { "example.com", "https://example.com\\.evil.com/", false },
  { "example.com", "https://evil.com\\@example.com/", true }, /* as it is */
  { "example.com", "https:example.com/", false },
  { "example.com", "https:/example.com/", true },
  { "example.com", "https:///example.com/", true },
};

static void judges_by_lists(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(listed); i++) {
    nt__policy_t* policy =
        new_policy(0, NT_ACCESS_SOCKET, listed[i].list, NULL);
    int err = check_url(policy, NT_ACCESS_SOCKET, listed[i].url);

    if ((err == 0) != listed[i].passes)
      fail_msg("%s: %s: %d", listed[i].list, listed[i].url, err);
    if (err && err != NT_E_URL)
      assert_int_equal(err, NT_E_DOMAIN);
    /* The other kinds have no list. */
    if (err == NT_E_DOMAIN)
      assert_int_equal(check_url(policy, NT_ACCESS_REQUEST, listed[i].url), 0);
    nt__policy_unref(policy);
  }
}

static void requires_lists(void** state) {
  nt__policy_t* policy = new_policy(REQUIRE_DOMAINS, NT_ACCESS_TCP, "a", NULL);

  (void) state;
  assert_int_equal(check_url(policy, NT_ACCESS_REQUEST, "http://a/"),
                   NT_E_DOMAIN);
  assert_int_equal(nt__gate_host(policy, NT_ACCESS_UDP, "a", 1, false),
                   NT_E_DOMAIN);
  assert_int_equal(nt__gate_host(policy, NT_ACCESS_TCP, "a", 1, false), 0);
  assert_true(nt__gate_has_list(policy, NT_ACCESS_UDP));
  assert_false(nt__gate_has_private(policy));
  nt__policy_unref(policy);
}

/* ---- Hosts of TCP and UDP ------------------------------------------------ */

static const struct {
  nt_access_t access;
  const char* list;
  const char* host;
  int port;
  bool secure;
  int result;
} hosts[] = {
  { NT_ACCESS_TCP, "a.example", "a.example", 7, false, 0 },
  { NT_ACCESS_TCP, "a.example", "A.example.", 7, true, 0 },
  { NT_ACCESS_TCP, "a.example:7", "a.example", 7, true, 0 },
  { NT_ACCESS_TCP, "a.example:7", "a.example", 8, true, NT_E_DOMAIN },
  { NT_ACCESS_TCP, "tls://a.example", "a.example", 7, true, 0 },
  { NT_ACCESS_TCP, "tls://a.example", "a.example", 7, false, NT_E_DOMAIN },
  { NT_ACCESS_TCP, "tcp://a.example", "a.example", 7, true, NT_E_DOMAIN },
  { NT_ACCESS_TCP, "tcp://a.example:7", "a.example", 7, false, 0 },
  { NT_ACCESS_TCP, "1.2.3.4", "1.2.3.4", 7, false, 0 },
  { NT_ACCESS_TCP, "1.2.3.4", "16909060", 7, false, 0 },
  { NT_ACCESS_TCP, "[2606::1]", "2606::1", 7, false, 0 },
  { NT_ACCESS_TCP, "[2606::1]", "2606::1%lo", 7, false, 0 },
  { NT_ACCESS_TCP, "a.example", "a.example:7", 7, false, NT_E_ADDRESS },
  { NT_ACCESS_TCP, "a.example", "a.example/", 7, false, NT_E_ADDRESS },
  { NT_ACCESS_TCP, "a.example", "x@a.example", 7, false, NT_E_ADDRESS },
  { NT_ACCESS_TCP, "a.example", "a.example ", 7, false, NT_E_ADDRESS },
  { NT_ACCESS_TCP, "a.example", "a%2eexample", 7, false, NT_E_ADDRESS },
  { NT_ACCESS_TCP, "a.example",
    "a\xe3\x80\x82"
    "example",
    7, false, NT_E_ADDRESS },
  { NT_ACCESS_TCP, "a.example", "", 7, false, NT_E_ADDRESS },
  { NT_ACCESS_TCP, "a.example", "[2606::1", 7, false, NT_E_ADDRESS },
  { NT_ACCESS_TCP, "[2606::1]", "2606::1%", 7, false, NT_E_ADDRESS },
  { NT_ACCESS_UDP, "udp://a.example:7", "a.example", 7, false, 0 },
  { NT_ACCESS_UDP, "udp://a.example:7", "b.example", 7, false, NT_E_DOMAIN },
};

static void judges_hosts(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(hosts); i++) {
    nt__policy_t* policy = new_policy(0, hosts[i].access, hosts[i].list, NULL);

    if (nt__gate_host(policy, hosts[i].access, hosts[i].host, hosts[i].port,
                      hosts[i].secure) != hosts[i].result)
      fail_msg("%s: %s", hosts[i].list, hosts[i].host);
    nt__policy_unref(policy);
  }
}

/* ---- Private addresses --------------------------------------------------- */

/* As hosts of a URL. */
static const struct {
  const char* host;
  bool is_private;
} literals[] = {
  { "127.0.0.1", true },
  { "127.255.255.254", true },
  { "127.0.0.1.", true },
  { "127.1", true },
  { "127.0.1", true },
  { "0x7f.0.0.1", true },
  { "0x7F000001", true },
  { "0x7f.1", true },
  { "0177.0.0.1", true },
  { "017700000001", true },
  { "2130706433", true },
  { "00000177.00000.1", true },
  { "%31%32%37.0.0.1", true },
  { "%31%32%37.1", true },
  { "127%2e0%2e0%2e1", true },
  { "0", true },
  { "0.0.0.0", true },
  { "0x0", true },
  { "10.0.0.1", true },
  { "10.255.255.255", true },
  { "012.1.2.3", true },
  { "100.64.0.1", true },
  { "100.127.255.255", true },
  { "169.254.169.254", true },
  { "0xa9fea9fe", true },
  { "2852039166", true },
  { "172.16.0.1", true },
  { "172.31.255.255", true },
  { "192.0.0.8", true },
  { "192.168.1.1", true },
  { "198.18.0.1", true },
  { "198.19.255.255", true },
  { "224.0.0.251", true },
  { "239.255.255.250", true },
  { "240.0.0.1", true },
  { "255.255.255.255", true },
  { "4294967295", true },
  { "localhost", true },
  { "LocalHost", true },
  { "localhost.", true },
  { "loc%61lhost", true },
  { "a.localhost", true },
  { "a.b.localhost.", true },
  { "[::]", true },
  { "[::1]", true },
  { "[0:0:0:0:0:0:0:1]", true },
  { "[0000:0000:0000:0000:0000:0000:0000:0001]", true },
  { "[::127.0.0.1]", true },
  { "[::ffff:127.0.0.1]", true },
  { "[::ffff:7f00:1]", true },
  { "[0:0:0:0:0:FFFF:7f00:0001]", true },
  { "[::ffff:0:127.0.0.1]", true },
  { "[::8.8.8.8]", true },
  { "[fe80::1]", true },
  { "[fe80::1%25lo]", true },
  { "[fe80::1%lo]", true },
  { "[::1%25lo]", true },
  { "[fec0::1]", true },
  { "[fc00::1]", true },
  { "[fd12:3456::1]", true },
  { "[ff02::fb]", true },
  { "[ff0e::1]", true },
  { "[64:ff9b::7f00:1]", true },
  { "[64:ff9b::192.168.0.1]", true },
  { "[64:ff9b:1::8.8.8.8]", true },
  { "[100::1]", true },
  { "[2002:7f00:1::]", true },
  { "[2002:a00:1::1]", true },
  { "[2002:c0a8:101::1]", true },
  { "[2001:0:7f00:1::1]", true },
  { "[2001:0:808:808::80ff:fffe]", true }, /* of 127.0.0.1 */
  { "[2001:0:808:808::3f57:fefe]", true }, /* of 192.168.1.1 */
  { "[2606:4700::5efe:10.0.0.1]", true },
  { "[2606:4700::200:5efe:192.168.0.1]", true },
  { "[4000::1]", true },
  { "[1fff::1]", true },
  { "1.1.1.1", false },
  { "8.8.8.8", false },
  { "134744072", false },
  { "010.8.8.8", false }, /* octal: it is 8.8.8.8 */
  { "9.255.255.255", false },
  { "11.0.0.0", false },
  { "100.63.255.255", false },
  { "100.128.0.0", false },
  { "126.255.255.255", false },
  { "128.0.0.1", false },
  { "169.253.255.255", false },
  { "169.255.0.0", false },
  { "172.15.255.255", false },
  { "172.32.0.0", false },
  { "192.0.1.1", false },
  { "192.167.255.255", false },
  { "192.169.0.0", false },
  { "198.17.255.255", false },
  { "198.20.0.0", false },
  { "203.0.113.1", false },
  { "223.255.255.255", false },
  { "[2606:4700:4700::1111]", false },
  { "[2001:db8::1]", false },
  { "[2001:4860:4860::8888]", false },
  { "[3fff:ffff::1]", false },
  { "[::ffff:8.8.8.8]", false },
  { "[64:ff9b::8.8.8.8]", false },
  { "[2002:808:808::1]", false },
  { "[2001:0:808:808::f7f7:f7f7]", false }, /* of 8.8.8.8 */
  { "[2606:4700::5efe:8.8.8.8]", false },
  { "example.com", false },
  { "localhost.example", false },
  { "notlocalhost", false },
  { "127.0.0.1.example", false },
  { "10.example.com", false },
  { "u@example.com", false },
  { "127.0.0.1@example.com", false },
  { "localhost:80@example.com", false },
  { "example.com@127.0.0.1", true },
  { "example.com:80@localhost", true },
};

static void refuses_private(void** state) {
  nt__policy_t* policy =
      new_policy(REFUSE_PRIVATE, NT_ACCESS_REQUEST, NULL, NULL);
  nt__policy_t* open = new_policy(0, NT_ACCESS_REQUEST, NULL, NULL);
  char url[128];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(literals); i++) {
    int err;

    snprintf(url, sizeof(url), "http://%s/", literals[i].host);
    err = check_url(policy, NT_ACCESS_REQUEST, url);
    if (err != (literals[i].is_private ? NT_E_PRIVATE : 0))
      fail_msg("%s: %d", url, err);
    assert_int_equal(check_url(open, NT_ACCESS_REQUEST, url), 0);
  }
  nt__policy_unref(open);
  nt__policy_unref(policy);
}

/* What some resolver might yet take for an address, and we do not know which
 * one, leads nowhere. */
static void refuses_what_is_unclear(void** state) {
  static const char* const unclear[] = {
    "256.0.0.1",
    "1.2.3.256",
    "1.2.3.4.5",
    "4294967296",
    "127.0.0.0x",
    "0x",
    "08.0.0.1",
    "127.0.0.09",
    "1.2.65536",
    "1.16777216",
    "a.1",
    "example.0x7f",
    "1..1",
    "127.0.0.1..",
    "example..com",
    "..",
    "a%25b",
    "a*b",
    "a~b",
    "99999999999999999999999999",
    "0x100000000000000000000007f000001",
  };
  nt__policy_t* policy =
      new_policy(REFUSE_PRIVATE, NT_ACCESS_REQUEST, NULL, NULL);
  char url[128];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(unclear); i++) {
    snprintf(url, sizeof(url), "http://%s/", unclear[i]);
    if (check_url(policy, NT_ACCESS_REQUEST, url) != NT_E_URL)
      fail_msg("%s", url);
  }
  nt__policy_unref(policy);
}

/* Names that are not ASCII are judged by what libcurl makes of them, or
 * refused where it can make nothing of them: that is a matter of the locale. */
static void judges_foreign_names(void** state) {
  static const struct {
    const char* host;
    int result;
  } names[] = {
    { "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", NT_E_PRIVATE },
    { "127\xe3\x80\x82"
      "0\xe3\x80\x82"
      "0\xe3\x80\x82"
      "1",
      NT_E_PRIVATE },
    { "\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.1", NT_E_PRIVATE },
    { "\xef\xbd\x8c"
      "ocalhost",
      NT_E_PRIVATE },
    { "%ef%bd%8clocalhost", 0 }, /* "llocalhost" */
    { "b\xc3\xbc"
      "cher.example",
      0 },
  };
  nt__policy_t* policy =
      new_policy(REFUSE_PRIVATE, NT_ACCESS_REQUEST, NULL, NULL);
  nt__policy_t* open = new_policy(0, NT_ACCESS_REQUEST, NULL, NULL);
  bool utf8 = setlocale(LC_ALL, "C.UTF-8") != NULL;
  char url[128];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(names); i++) {
    snprintf(url, sizeof(url), "http://%s/", names[i].host);
    if (utf8 && check_url(policy, NT_ACCESS_REQUEST, url) != names[i].result)
      fail_msg("%s", url);
  }
  setlocale(LC_ALL, "C");
  for (i = 0; i < COUNT(names); i++) {
    snprintf(url, sizeof(url), "http://%s/", names[i].host);
    assert_int_equal(check_url(policy, NT_ACCESS_REQUEST, url), NT_E_URL);
    assert_int_equal(check_url(open, NT_ACCESS_REQUEST, url), NT_E_URL);
  }
  nt__policy_unref(open);
  nt__policy_unref(policy);
}

/* No reader of numbers is left to chance. */
static void writes_addresses_one_way(void** state) {
  static const char* const cases[][2] = {
    { "http://%31%32%37.1/", "127.0.0.1" },
    { "http://%30x7f000001/", "127.0.0.1" },
    { "http://127.0.0.1./", "127.0.0.1" },
    { "http://0%31.2.3.4/", "1.2.3.4" },
    { "http://1.2.3.4/", "1.2.3.4" },
    { "http://1.2.3.4.5/", "1.2.3.4.5" },
    { "http://1.example/", "1.example" },
  };
  nt__url_t url;
  char* host;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    assert_int_equal(nt__url_parse(&url, NULL, cases[i][0]), 0);
    assert_string_equal(url.host, cases[i][1]);
    assert_int_equal(curl_url_get(url.handle, CURLUPART_HOST, &host, 0), 0);
    assert_string_equal(host, cases[i][1]);
    curl_free(host);
    nt__url_free(&url);
  }
  assert_int_equal(nt__url_parse(&url, NULL, "http://a%7fb/"), NT_E_URL);
  assert_int_equal(nt__url_parse(&url, NULL, "ftp://a%7fb/"), NT_E_URL);
}

/* A locale that changes in between changes nothing any more. */
static void keeps_what_was_checked(void** state) {
  nt__policy_t* policy =
      new_policy(0, NT_ACCESS_REQUEST, "xn--bcher-kva.example", NULL);
  nt__url_t url;
  char* host = NULL;

  (void) state;
  if (setlocale(LC_ALL, "C.UTF-8") == NULL)
    fail_msg("no locale C.UTF-8");
  assert_int_equal(nt__url_parse(&url, NULL,
                                 "http://u@B\xc3\x9c"
                                 "CHER.example:8/x"),
                   0);
  setlocale(LC_ALL, "C");
  assert_int_equal(nt__gate_url(policy, NT_ACCESS_REQUEST, &url), 0);
  assert_int_equal(curl_url_get(url.handle, CURLUPART_HOST, &host, 0), 0);
  assert_string_equal(host, "xn--bcher-kva.example");
  assert_string_equal(url.authority, "xn--bcher-kva.example:8");
  curl_free(host);
  nt__url_free(&url);
  nt__policy_unref(policy);
}

/* ---- Exceptions ---------------------------------------------------------- */

static const struct {
  const char* allowed;
  const char* host; /* of TCP */
  int result;
} exceptions[] = {
  { "127.0.0.1", "127.0.0.1", 0 },
  { "127.0.0.1", "127.1", 0 },
  { "127.0.0.1", "::ffff:127.0.0.1", 0 },
  { "127.0.0.1", "localhost", 0 }, /* its addresses are checked, too */
  { "127.0.0.1", "127.0.0.2", NT_E_PRIVATE },
  { "127.0.0.1", "::127.0.0.1", NT_E_PRIVATE },
  { "127.0.0.1", "64:ff9b::127.0.0.1", NT_E_PRIVATE },
  { "::1", "::1", 0 },
  { "::1", "localhost", 0 },
  { "::1", "127.0.0.1", NT_E_PRIVATE },
  { "localhost", "localhost", 0 },
  { "localhost", "LOCALHOST.", 0 },
  { "localhost", "a.localhost", NT_E_PRIVATE },
  { "localhost", "127.0.0.1", NT_E_PRIVATE },
  { "*.localhost", "a.localhost", 0 },
  { "*.localhost", "localhost", NT_E_PRIVATE },
  { "10.0.0.0/8", "10.255.0.1", 0 },
  { "10.0.0.0/8", "::ffff:a00:1", 0 },
  { "10.0.0.0/8", "11.0.0.1", 0 },
  { "10.0.0.0/8", "192.168.0.1", NT_E_PRIVATE },
  { "10.0.0.0/8", "localhost", NT_E_PRIVATE },
  { "10.128.0.0/9", "10.127.255.255", NT_E_PRIVATE },
  { "10.128.0.0/9", "10.128.0.0", 0 },
  { "::ffff:10.0.0.0/104", "10.1.1.1", 0 },
  { "0.0.0.0/0", "169.254.169.254", 0 },
  { "0.0.0.0/0", "fe80::1", NT_E_PRIVATE },
  { "::/0", "fe80::1", 0 },
  { "::/0", "127.0.0.1", NT_E_PRIVATE },
  { "::/0", "::ffff:127.0.0.1", NT_E_PRIVATE },
  { "fd00::/8", "fdff::1", 0 },
  { "fd00::/8", "fc00::1", NT_E_PRIVATE },
  { "192.168.0.0/16 ::1", "::1", 0 },
};

static void lets_exceptions_pass(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(exceptions); i++) {
    nt__policy_t* policy =
        new_policy(REFUSE_PRIVATE, NT_ACCESS_TCP, NULL, exceptions[i].allowed);

    if (nt__gate_host(policy, NT_ACCESS_TCP, exceptions[i].host, 1, false) !=
        exceptions[i].result)
      fail_msg("%s: %s", exceptions[i].allowed, exceptions[i].host);
    nt__policy_unref(policy);
  }
}

/* ---- Addresses ----------------------------------------------------------- */

static const struct {
  const char* allowed;
  const char* host;
  const char* ip;
  int result;
} addresses[] = {
  { NULL, "a.example", "8.8.8.8", 0 },
  { NULL, "a.example", "10.0.0.1", NT_E_PRIVATE },
  { NULL, "a.example", "::1", NT_E_PRIVATE },
  { NULL, "a.example", "::ffff:127.0.0.1", NT_E_PRIVATE },
  { NULL, "a.example", "2606::1", 0 },
  { NULL, NULL, "10.0.0.1", NT_E_PRIVATE },
  { "a.lan", "a.lan", "10.0.0.1", 0 },
  { "a.lan", "A.LAN.", "10.0.0.1", 0 },
  { "a.lan", "b.lan", "10.0.0.1", NT_E_PRIVATE },
  { "a.lan", NULL, "10.0.0.1", NT_E_PRIVATE },
  { "a.lan", "not a name", "10.0.0.1", NT_E_PRIVATE },
  { "*.lan", "b.lan", "fe80::1", 0 },
  { "10.0.0.0/8", "a.example", "10.0.0.1", 0 },
  { "10.0.0.0/8", "a.example", "192.168.0.1", NT_E_PRIVATE },
  { "10.0.0.0/8", NULL, "10.0.0.1", 0 },
  { "10.0.0.1", "10.0.0.1", "10.0.0.1", 0 },
  /* An address in a URL allows only itself. */
  { "10.0.0.1", "10.0.0.1", "127.0.0.1", NT_E_PRIVATE },
  { "localhost", "localhost", "127.0.0.1", 0 },
  { "127.0.0.1", "localhost", "::1", NT_E_PRIVATE },
};

static void judges_addresses(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(addresses); i++) {
    nt__policy_t* policy =
        new_policy(REFUSE_PRIVATE, NT_ACCESS_TCP, NULL, addresses[i].allowed);
    int family = strchr(addresses[i].ip, ':') == NULL ? AF_INET : AF_INET6;
    nt__sockaddr_t address;

    assert_int_equal(nt__address_parse(addresses[i].ip, family, &address),
                     NT__HOST_LITERAL);
    if (nt__gate_address(policy, addresses[i].host, &address.sa) !=
        addresses[i].result)
      fail_msg("%s: %s", addresses[i].host, addresses[i].ip);
    nt__policy_unref(policy);
  }
}

static void refuses_other_families(void** state) {
  nt__policy_t* policy =
      new_policy(REFUSE_PRIVATE, NT_ACCESS_REQUEST, NULL, "0.0.0.0/0 ::/0");
  nt__policy_t* open = new_policy(0, NT_ACCESS_REQUEST, NULL, NULL);
  struct sockaddr_storage address = { .ss_family = AF_UNIX };

  (void) state;
  assert_int_equal(
      nt__gate_address(policy, NULL, (const struct sockaddr*) &address),
      NT_E_PRIVATE);
  assert_int_equal(
      nt__gate_address(open, NULL, (const struct sockaddr*) &address), 0);
  nt__policy_unref(open);
  nt__policy_unref(policy);
}

/* ---- Proxies ------------------------------------------------------------- */

static const struct {
  uint32_t flags;
  const char* list;
  const char* allowed;
  const char* proxy;
  int result;
} proxies[] = {
  { 0, NULL, NULL, NULL, 0 },
  { 0, NULL, NULL, "", 0 },
  { 0, NULL, NULL, "http://127.0.0.1", 0 },
  { 0, NULL, NULL, "ftp://a", NT_E_INVALID },
  { 0, NULL, NULL, "socks5h://localhost/run/x", NT_E_INVALID },
  { 0, NULL, NULL, "http://127.0.0.1 ", NT_E_INVALID },
  { NT_POLICY_REFUSE_PROXY, NULL, NULL, NULL, 0 },
  { NT_POLICY_REFUSE_PROXY, NULL, NULL, "", NT_E_OWN_PROXY },
  { NT_POLICY_REFUSE_PROXY, NULL, NULL, "env", NT_E_OWN_PROXY },
  { NT_POLICY_REFUSE_PROXY, NULL, NULL, "http://a", NT_E_OWN_PROXY },
  { REFUSE_PRIVATE, NULL, NULL, "http://127.0.0.1:3128", NT_E_PRIVATE },
  { REFUSE_PRIVATE, NULL, NULL, "socks5://0x7f.1", NT_E_PRIVATE },
  { REFUSE_PRIVATE, NULL, NULL, "http://localhost", NT_E_PRIVATE },
  { REFUSE_PRIVATE, NULL, NULL, "http://u:p@[::1]:1", NT_E_PRIVATE },
  { REFUSE_PRIVATE, NULL, "localhost", "http://localhost", 0 },
  { 0, "a.example", NULL, "http://a.example", 0 },
  { 0, "a.example", NULL, "http://a.example@b.example", NT_E_DOMAIN },
  { 0, "a.example:1080", NULL, "socks5://a.example", 0 },
  { 0, "a.example:1080", NULL, "socks5://a.example:1081", NT_E_DOMAIN },
  { 0, "https://a.example", NULL, "https://a.example", 0 },
  { 0, "https://a.example", NULL, "http://a.example", NT_E_DOMAIN },
  { REQUIRE_DOMAINS, NULL, NULL, "http://a.example", NT_E_DOMAIN },
};

static void judges_proxies(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(proxies); i++) {
    nt__policy_t* policy = new_policy(proxies[i].flags, NT_ACCESS_DOWNLOAD,
                                      proxies[i].list, proxies[i].allowed);

    if (nt__gate_proxy(policy, NT_ACCESS_DOWNLOAD, proxies[i].proxy) !=
        proxies[i].result)
      fail_msg("%s", proxies[i].proxy);
    nt__policy_unref(policy);
  }
}

/* ---- Pins, secrets, texts ------------------------------------------------ */

static const struct {
  const char* hosts;
  const char* url;
  bool may;
} receivers[] = {
  { "a.example", "https://a.example/", true },
  { "a.example", "https://A.EXAMPLE.:8443/", true },
  { "a.example", "http://a.example/", false },
  { "a.example:443", "https://a.example/", true },
  { "a.example:443", "https://a.example:444/", false },
  { "http://a.example", "http://a.example/", true },
  { "http://a.example", "http://a.example:8080/", false },
  { "http://a.example:8080", "http://a.example:8080/", true },
  { "http://a.example", "https://a.example/", false },
  { "*.a.example", "https://b.a.example/", true },
  { "*.a.example", "https://a.example/", false },
  { "b.example a.example", "https://a.example/", true },
  { "a.example", "https://a.example.evil/", false },
  { "a.example", "https://a.example@evil/", false },
  { "a.example", "ftp://a.example/", false },
  { "", "https://a.example/", false },
  { NULL, "https://a.example/", false },
};

static void tells_who_gets_secrets(void** state) {
  const char* items[MAX_ITEMS];
  nt_secret_t secret = { "key", "{k}", "v", { NULL, 0 } };
  char copy[256];
  nt__url_t url;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(receivers); i++) {
    secret.hosts = list_of(receivers[i].hosts, copy, items);
    assert_int_equal(nt__url_parse(&url, NULL, receivers[i].url), 0);
    if (nt__gate_secret(&secret, &url) != receivers[i].may)
      fail_msg("%s: %s", receivers[i].hosts, receivers[i].url);
    nt__url_free(&url);
  }
}

static bool is_pinned(const nt_pin_t* pin, const char* text) {
  nt__host_t host;

  assert_true(nt__host_read(&host, text));
  return nt__gate_pin(pin, &host);
}

static void tells_whose_pins_they_are(void** state) {
  nt_pin_t one = { "a.example", { NULL, 0 } };
  nt_pin_t below = { "*.a.example", { NULL, 0 } };
  nt_pin_t address = { "1.2.3.4", { NULL, 0 } };

  (void) state;
  assert_true(is_pinned(&one, "A.example."));
  assert_false(is_pinned(&one, "b.a.example"));
  assert_true(is_pinned(&below, "b.a.example"));
  assert_false(is_pinned(&below, "a.example"));
  assert_true(is_pinned(&address, "1.2.3.4"));
  assert_false(is_pinned(&address, "1.2.3.5"));
}

static void shows_where_it_leads(void** state) {
  static const char* const cases[][2] = {
    { "http://u:secret@a.example/path?query#f", "http://a.example:80" },
    { "https://A.example:8443", "https://A.example:8443" },
    { "https://[::1]/", "https://[::1]:443" },
    { "ftp://u:secret@a.example:21/path", "ftp://a.example" },
    { "file:///etc/passwd", "file://" },
    { "http://b\xc3\xbc"
      "cher.example/",
      "http://b??cher.example:80" },
  };
  char out[256];
  nt__url_t url;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    assert_int_equal(nt__url_parse(&url, NULL, cases[i][0]), 0);
    nt__gate_show(&url, out, sizeof(out));
    assert_string_equal(out, cases[i][1]);
    memset(out, '#', sizeof(out));
    nt__gate_show(&url, out, 8);
    assert_int_equal(strlen(out), 7);
    assert_int_equal(out[8], '#');
    nt__url_free(&url);
  }
}

/* ---- Texts of any length ------------------------------------------------- */

static void stays_inside_its_texts(void** state) {
  static const char* const texts[] = {
    "a.example.com", "*.example.com:443", "https://[2606::1]:80", "10.0.0.0/8",
    "0x7f.0.0.1",    "[fe80::1%lo]",      "::ffff:10.0.0.0/104"
  };
  guard_t guard = guard_open(64);
  char long_name[300];
  nt__pattern_t pattern;
  nt__host_t host;
  size_t i;
  size_t size;

  (void) state;
  for (i = 0; i < COUNT(texts); i++)
    for (size = 0; size <= strlen(texts[i]); size++) {
      char* copy = guard_text(&guard, texts[i], size);

      nt__host_read(&host, copy);
      nt__pattern_read(&pattern, copy, NT_ACCESS_REQUEST);
      nt__pattern_read_host(&pattern, copy);
      nt__pattern_read_block(&pattern, copy);
    }
  guard_close(&guard);
  memset(long_name, 'a', sizeof(long_name));
  for (size = 250; size < sizeof(long_name); size++) {
    long_name[size] = '\0';
    assert_int_equal(nt__host_read(&host, long_name), size <= NT__NAME_MAX);
    assert_int_equal(nt__pattern_read(&pattern, long_name, NT_ACCESS_REQUEST),
                     size <= NT__NAME_MAX);
    long_name[size] = 'a';
  }
}

static void open_gate_lets_all_pass(void** state) {
  nt__policy_t* policy = new_policy(0, NT_ACCESS_REQUEST, NULL, NULL);

  (void) state;
  assert_false(policy->limits_hosts);
  assert_int_equal(nt__gate_host(policy, NT_ACCESS_TCP, "no host", 0, false),
                   0);
  assert_int_equal(check_url(policy, NT_ACCESS_REQUEST, "http://a~b/"), 0);
  nt__policy_unref(policy);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(judges_the_form),
    cmocka_unit_test(judges_by_lists),
    cmocka_unit_test(requires_lists),
    cmocka_unit_test(judges_hosts),
    cmocka_unit_test(refuses_private),
    cmocka_unit_test(refuses_what_is_unclear),
    cmocka_unit_test(judges_foreign_names),
    cmocka_unit_test(writes_addresses_one_way),
    cmocka_unit_test(keeps_what_was_checked),
    cmocka_unit_test(lets_exceptions_pass),
    cmocka_unit_test(judges_addresses),
    cmocka_unit_test(refuses_other_families),
    cmocka_unit_test(judges_proxies),
    cmocka_unit_test(tells_who_gets_secrets),
    cmocka_unit_test(tells_whose_pins_they_are),
    cmocka_unit_test(shows_where_it_leads),
    cmocka_unit_test(stays_inside_its_texts),
    cmocka_unit_test(open_gate_lets_all_pass),
  };

  return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
