/* policy.c and policy_check.c: presets, snapshots that outlive what they were
 * made from, and what is wrong with a policy. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "policy.h"

static void presets(void** state) {
  nt_policy_t mini;
  nt_policy_t open;

  (void) state;
  memset(&mini, 0xff, sizeof(mini));
  memset(&open, 0xff, sizeof(open));
  nt_policy_init(&mini, NT_PRESET_MINIPROGRAM);
  nt_policy_init(&open, NT_PRESET_OPEN);
  assert_int_equal(mini.max_requests, 10);
  assert_int_equal(open.max_requests, 0);
  assert_int_equal(mini.flags, 0);
  assert_int_equal(mini.max_lookups, 16);
  assert_int_equal(mini.max_redirects, 20);
  assert_int_equal(mini.url_max_bytes, 0);
  assert_int_equal(mini.header_max_bytes, 256 << 10);
  assert_int_equal(mini.response_max_bytes, 64 << 20);
  assert_int_equal(mini.task_high_water, 1 << 20);
  assert_int_equal(mini.context_high_water, 64 << 20);
  assert_int_equal(mini.spin_us, 0);
  assert_null(mini.user_agent);
  assert_null(mini.ca_file);
  assert_int_equal(mini.download_max_bytes, 50 << 20);
  assert_int_equal(open.download_max_bytes, 0);
  assert_int_equal(mini.max_sockets, 5);
  assert_int_equal(open.max_sockets, 0);
  assert_int_equal(open.tcp_forbidden_count, 0);
  assert_int_equal(mini.send_queue_bytes, 16 << 20);
  assert_int_equal(mini.message_max_bytes, 16 << 20);
  assert_int_equal(mini.upload_max_bytes, 0);
  assert_null(mini.temp_dir);
  assert_int_equal(mini.store_max_bytes, 16 << 20);
  assert_null(mini.store_file);
  assert_null(mini.cache_dir);
  assert_int_equal(mini.cache_max_bytes, 16 << 20);
  assert_null(mini.read_roots);
  assert_null(mini.write_roots);
  assert_int_equal(mini.mdns_scan_ms, 30000);
  assert_int_equal(open.mdns_scan_ms, 0);
  assert_int_equal(mini.max_services, 256);
  assert_int_equal(mini.background_grace_ms, 5000);
  assert_int_equal(mini.bytes_per_minute, 0);
  assert_int_equal(mini.requests_per_second, 0);
  assert_null(mini.domains[NT_ACCESS_REQUEST].items);
  assert_null(mini.proxy);
  /* The limits of the platforms are all that `open` lifts. */
  open.max_requests = 10;
  open.download_max_bytes = 50 << 20;
  open.max_sockets = 5;
  open.tcp_per_window = 20;
  open.tcp_window_ms = 300000;
  open.tcp_forbidden_ports = mini.tcp_forbidden_ports;
  open.tcp_forbidden_count = mini.tcp_forbidden_count;
  open.mdns_scan_ms = 30000;
  assert_memory_equal(&open, &mini, sizeof(mini));
}

static void strict_allows_nothing(void** state) {
  nt_policy_t mini;
  nt_policy_t strict;

  (void) state;
  memset(&strict, 0xff, sizeof(strict));
  nt_policy_init(&mini, NT_PRESET_MINIPROGRAM);
  nt_policy_init(&strict, NT_PRESET_STRICT);
  assert_int_equal(strict.flags,
                   NT_POLICY_REQUIRE_SECURE | NT_POLICY_REFUSE_PRIVATE |
                       NT_POLICY_REQUIRE_DOMAINS | NT_POLICY_REFUSE_PROXY);
  assert_non_null(strict.read_roots);
  assert_non_null(strict.write_roots);
  assert_int_equal(strict.read_root_count, 0);
  assert_int_equal(strict.write_root_count, 0);
  assert_int_equal(nt_policy_check(&strict, NULL, 0), 0);
  strict.flags = 0;
  strict.read_roots = strict.write_roots = NULL;
  assert_memory_equal(&strict, &mini, sizeof(mini));
}

static void snapshot_copies_texts(void** state) {
  char agent[] = "game/1";
  char file[] = "/etc/ca.pem";
  char store[] = "/var/store";
  char cookies[] = "/var/cookies";
  char cache[] = "/var/cache";
  nt_policy_t values;
  nt__policy_t* policy;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  values.user_agent = agent;
  values.ca_file = file;
  values.store_file = store;
  values.cookie_file = cookies;
  values.cache_dir = cache;
  policy = nt__policy_new(&values);
  assert_non_null(policy);
  memset(store, 'x', sizeof(store) - 1);
  memset(cookies, 'x', sizeof(cookies) - 1);
  memset(cache, 'x', sizeof(cache) - 1);
  memset(agent, 'x', sizeof(agent) - 1);
  memset(file, 'x', sizeof(file) - 1);
  assert_string_equal(policy->values.user_agent, "game/1");
  assert_string_equal(policy->values.ca_file, "/etc/ca.pem");
  assert_string_equal(policy->values.store_file, "/var/store");
  assert_string_equal(policy->values.cookie_file, "/var/cookies");
  assert_string_equal(policy->values.cache_dir, "/var/cache");
  nt__policy_unref(policy);

  values.user_agent = NULL;
  values.ca_file = "";
  policy = nt__policy_new(&values);
  assert_null(policy->values.user_agent);
  assert_string_equal(policy->values.ca_file, "");
  nt__policy_unref(policy);
}

static void snapshot_copies_lists(void** state) {
  char one[] = "/one";
  char two[] = "/two";
  const char* roots[] = { one, two };
  nt_policy_t values;
  nt__policy_t* policy;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  values.read_roots = roots;
  values.read_root_count = 2;
  values.write_roots = roots; /* empty: nowhere, which is not anywhere */
  values.write_root_count = 0;
  values.temp_dir = two;
  policy = nt__policy_new(&values);
  assert_non_null(policy);
  memset(one, 'x', sizeof(one) - 1);
  memset(two, 'x', sizeof(two) - 1);
  roots[0] = roots[1] = NULL;
  assert_int_equal(policy->values.read_root_count, 2);
  assert_string_equal(policy->values.read_roots[0], "/one");
  assert_string_equal(policy->values.read_roots[1], "/two");
  assert_non_null(policy->values.write_roots);
  assert_int_equal(policy->values.write_root_count, 0);
  assert_string_equal(policy->values.temp_dir, "/two");
  nt__policy_unref(policy);

  values.read_roots = NULL; /* then the count does not matter */
  policy = nt__policy_new(&values);
  assert_null(policy->values.read_roots);
  assert_int_equal(policy->values.read_root_count, 0);
  nt__policy_unref(policy);
}

static void references_keep_it(void** state) {
  nt_policy_t values;
  nt__policy_t* policy;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  policy = nt__policy_new(&values);
  assert_ptr_equal(nt__policy_ref(policy), policy);
  nt__policy_unref(policy);
  assert_int_equal(policy->values.max_lookups, 16); /* still there */
  nt__policy_unref(policy);
  nt__policy_unref(NULL);
}

/* { task mark, context mark } given -> kept */
static void marks_have_a_floor(void** state) {
  static const uint64_t cases[][4] = {
    { 0, 0, 64 << 10, 64 << 10 },
    { 1, 1 << 20, 64 << 10, 1 << 20 },
    { 1 << 20, 1, 1 << 20, 1 << 20 },
    { 1 << 20, 2 << 20, 1 << 20, 2 << 20 },
  };
  nt_policy_t values;
  size_t i;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  for (i = 0; i < COUNT(cases); i++) {
    nt__policy_t* policy;

    values.task_high_water = cases[i][0];
    values.context_high_water = cases[i][1];
    policy = nt__policy_new(&values);
    assert_int_equal(policy->values.task_high_water, cases[i][2]);
    assert_int_equal(policy->values.context_high_water, cases[i][3]);
    nt__policy_unref(policy);
  }
}

/* ---- Keeping ------------------------------------------------------------- */

/* All that a policy points to, in memory that is not there any more when the
 * snapshot is looked at. */
static nt__policy_t* keep_all(void) {
  const char* domains[] = { strdup("https://a.example"),
                            strdup("*.b.example") };
  const char* allowed[] = { strdup("10.0.0.0/8") };
  const char* keys[] = { strdup(
      "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=") };
  nt_pin_t pin = { strdup("a.example"), { keys, 1 } };
  const char* hosts[] = { strdup("c.example") };
  nt_secret_t secret = {
    strdup("key"), strdup("{{1}}"), strdup("value"), { hosts, 1 }
  };
  nt_policy_t values;
  nt__policy_t* policy;

  nt_policy_init(&values, NT_PRESET_OPEN);
  values.domains[NT_ACCESS_UPLOAD].items = domains;
  values.domains[NT_ACCESS_UPLOAD].count = 2;
  values.domains[NT_ACCESS_UDP].items = domains; /* there, and empty */
  values.allow_private.items = allowed;
  values.allow_private.count = 1;
  values.pins = &pin;
  values.pin_count = 1;
  values.secrets = &secret;
  values.secret_count = 1;
  values.ca_data = strdup("PEM");
  values.proxy = strdup("http://proxy.example:3128");
  values.temp_max_bytes = 7;
  policy = nt__policy_new(&values);
  free((char*) domains[0]);
  free((char*) domains[1]);
  free((char*) allowed[0]);
  free((char*) keys[0]);
  free((char*) pin.host);
  free((char*) hosts[0]);
  free((char*) secret.name);
  free((char*) secret.placeholder);
  free((char*) secret.value);
  free((char*) values.ca_data);
  free((char*) values.proxy);
  memset(domains, 0, sizeof(domains));
  memset(&pin, 0, sizeof(pin));
  memset(&secret, 0, sizeof(secret));
  return policy;
}

static void snapshot_copies_all(void** state) {
  nt__policy_t* policy = keep_all();
  const nt_policy_t* values = &policy->values;

  (void) state;
  assert_int_equal(values->domains[NT_ACCESS_UPLOAD].count, 2);
  assert_string_equal(values->domains[NT_ACCESS_UPLOAD].items[0],
                      "https://a.example");
  assert_string_equal(values->domains[NT_ACCESS_UPLOAD].items[1],
                      "*.b.example");
  assert_non_null(values->domains[NT_ACCESS_UDP].items);
  assert_int_equal(values->domains[NT_ACCESS_UDP].count, 0);
  assert_null(values->domains[NT_ACCESS_TCP].items);
  assert_string_equal(values->allow_private.items[0], "10.0.0.0/8");
  assert_int_equal(values->pin_count, 1);
  assert_string_equal(values->pins[0].host, "a.example");
  assert_string_equal(values->pins[0].keys.items[0],
                      "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
  assert_int_equal(values->secret_count, 1);
  assert_string_equal(values->secrets[0].name, "key");
  assert_string_equal(values->secrets[0].placeholder, "{{1}}");
  assert_string_equal(values->secrets[0].value, "value");
  assert_string_equal(values->secrets[0].hosts.items[0], "c.example");
  assert_string_equal(values->ca_data, "PEM");
  assert_string_equal(values->proxy, "http://proxy.example:3128");
  assert_int_equal(values->temp_max_bytes, 7);
  nt__policy_unref(policy);
}

/* For a host. What it is freed with may not change meanwhile. */
static void copies_are_the_hosts(void** state) {
  char agent[] = "Game/1";
  const char* referers[] = { "https://a.example/" };
  nt_policy_t values;
  nt_policy_t* copy;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  values.user_agent = agent;
  values.referers = (nt_list_t){ referers, 1 };
  copy = nt_policy_copy(&values);
  assert_non_null(copy);
  agent[0] = '\0';
  referers[0] = NULL;
  assert_string_equal(copy->user_agent, "Game/1");
  assert_string_equal(copy->referers.items[0], "https://a.example/");
  assert_int_equal(nt_set_allocator(malloc, realloc, free), NT_E_STATE);
  nt_policy_free(copy);
  nt_policy_free(NULL);
}

/* ---- Checking ------------------------------------------------------------ */

static const struct {
  nt_access_t access;
  const char* entry;
  bool good;
} domains[] = {
  { NT_ACCESS_REQUEST, "example.com", true },
  { NT_ACCESS_REQUEST, "EXAMPLE.com.", true },
  { NT_ACCESS_REQUEST, "localhost", true },
  { NT_ACCESS_REQUEST, "xn--bcher-kva.example", true },
  { NT_ACCESS_REQUEST, "under_score.example", true },
  { NT_ACCESS_REQUEST, "example.com:1", true },
  { NT_ACCESS_REQUEST, "example.com:65535", true },
  { NT_ACCESS_REQUEST, "*.example.com", true },
  { NT_ACCESS_REQUEST, "*.example.com:80", true },
  { NT_ACCESS_REQUEST, "https://*.example.com", true },
  { NT_ACCESS_REQUEST, "HTTPS://example.com", true },
  { NT_ACCESS_REQUEST, "ws://example.com:8080", true },
  { NT_ACCESS_SOCKET, "wss://example.com", true },
  { NT_ACCESS_SOCKET, "https://example.com", true },
  { NT_ACCESS_REQUEST, "1.2.3.4", true },
  { NT_ACCESS_REQUEST, "1.2.3.4:80", true },
  { NT_ACCESS_REQUEST, "[::1]", true },
  { NT_ACCESS_REQUEST, "http://[2606:4700::1111]:80", true },
  { NT_ACCESS_TCP, "tcp://example.com:7000", true },
  { NT_ACCESS_TCP, "tls://example.com", true },
  { NT_ACCESS_UDP, "udp://example.com:9", true },
  { NT_ACCESS_REQUEST, "", false },
  { NT_ACCESS_REQUEST, NULL, false },
  { NT_ACCESS_REQUEST, ".", false },
  { NT_ACCESS_REQUEST, "*", false },
  { NT_ACCESS_REQUEST, "*.", false },
  { NT_ACCESS_REQUEST, "*.*.example.com", false },
  { NT_ACCESS_REQUEST, "a.*.example.com", false },
  { NT_ACCESS_REQUEST, "*example.com", false },
  { NT_ACCESS_REQUEST, "*.1.2.3", false },
  { NT_ACCESS_REQUEST, "*.[::1]", false },
  { NT_ACCESS_REQUEST, ".example.com", false },
  { NT_ACCESS_REQUEST, "example..com", false },
  { NT_ACCESS_REQUEST, "http//x", false },
  { NT_ACCESS_REQUEST, "http:/x", false },
  { NT_ACCESS_REQUEST, "//x", false },
  { NT_ACCESS_REQUEST, "ftp://example.com", false },
  { NT_ACCESS_REQUEST, "http://", false },
  { NT_ACCESS_REQUEST, "://example.com", false },
  { NT_ACCESS_REQUEST, "http://http://example.com", false },
  { NT_ACCESS_REQUEST, "https://example.com/", false },
  { NT_ACCESS_REQUEST, "https://example.com?a", false },
  { NT_ACCESS_REQUEST, "https://u@example.com", false },
  { NT_ACCESS_REQUEST, "example.com:", false },
  { NT_ACCESS_REQUEST, "example.com:0", false },
  { NT_ACCESS_REQUEST, "example.com:080", false },
  { NT_ACCESS_REQUEST, "example.com:65536", false },
  { NT_ACCESS_REQUEST, "example.com:100000000080", false },
  { NT_ACCESS_REQUEST, "example.com:80a", false },
  { NT_ACCESS_REQUEST, "example.com:-1", false },
  { NT_ACCESS_REQUEST, "example .com", false },
  { NT_ACCESS_REQUEST, " example.com", false },
  { NT_ACCESS_REQUEST,
    "b\xc3\xbc"
    "cher.example",
    false },
  { NT_ACCESS_REQUEST, "127.1", false },
  { NT_ACCESS_REQUEST, "0x7f000001", false },
  { NT_ACCESS_REQUEST, "010.0.0.1", false },
  { NT_ACCESS_REQUEST, "1.2.3.4.5", false },
  { NT_ACCESS_REQUEST, "10.0.0.0/8", false },
  { NT_ACCESS_REQUEST, "::1", false },
  { NT_ACCESS_REQUEST, "[::1", false },
  { NT_ACCESS_REQUEST, "[::1]x", false },
  { NT_ACCESS_REQUEST, "[1.2.3.4]", false },
  { NT_ACCESS_REQUEST, "[fe80::1%lo]", false },
  { NT_ACCESS_REQUEST, "[]", false },
  { NT_ACCESS_REQUEST, "tcp://example.com", false },
  { NT_ACCESS_TCP, "https://example.com", false },
  { NT_ACCESS_UDP, "tcp://example.com", false },
};

static void checks_domains(void** state) {
  char why[256];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(domains); i++) {
    const char* items[] = { "good.example", domains[i].entry };
    nt_list_t list = { items, 2 };
    nt_policy_t values;
    int err;

    nt_policy_init(&values, NT_PRESET_OPEN);
    values.domains[domains[i].access] = list;
    err = nt_policy_check(&values, why, sizeof(why));
    if (err != (domains[i].good ? 0 : NT_E_INVALID))
      fail_msg("\"%s\": %d %s", domains[i].entry, err, why);
    assert_int_equal(err, nt_policy_check(&values, NULL, 0));
    if (domains[i].good)
      assert_string_equal(why, "");
    else
      assert_non_null(strstr(why, "][2] \""));
  }
}

static const struct {
  const char* entry;
  bool good;
} blocks[] = {
  { "localhost", true },
  { "game.lan", true },
  { "*.lan", true },
  { "10.0.0.1", true },
  { "10.0.0.0/8", true },
  { "0.0.0.0/0", true },
  { "10.0.0.1/32", true },
  { "::1", true },
  { "[::1]", true },
  { "fd00::/8", true },
  { "::/0", true },
  { "::1/128", true },
  { "::ffff:10.0.0.0/104", true },
  { "10.0.0.1/8", false },
  { "10.0.0.0/33", false },
  { "10.0.0.0/", false },
  { "10.0.0.0/08", false },
  { "10.0.0.0/-1", false },
  { "10.0.0.0/8/8", false },
  { "10.0.0/8", false },
  { "10/8", false },
  { "10.0.0.0:80", false },
  { "localhost:80", false },
  { "http://localhost", false },
  { "game.lan/8", false },
  { "*", false },
  { "", false },
  { "[fd00::]/8", false },
  { "[::1]:80", false },
  { "fd00::1/8", false },
  { "::/129", false },
  { "::ffff:10.0.0.0/8", false },
  { "fe80::1%lo", false },
  { "0x7f.1", false },
};

static void checks_private_blocks(void** state) {
  char why[256];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(blocks); i++) {
    nt_policy_t values;
    int err;

    nt_policy_init(&values, NT_PRESET_STRICT);
    values.allow_private.items = &blocks[i].entry;
    values.allow_private.count = 1;
    err = nt_policy_check(&values, why, sizeof(why));
    if (err != (blocks[i].good ? 0 : NT_E_INVALID))
      fail_msg("\"%s\": %d %s", blocks[i].entry, err, why);
    if (err)
      assert_memory_equal(why, "allow_private[1] \"", 18);
  }
}

#define KEY "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static const struct {
  const char* host;
  const char* key;
  const char* why; /* NULL: good */
} pins[] = {
  { "a.example", KEY, NULL },
  { "*.a.example", KEY, NULL },
  { "10.0.0.1", KEY, NULL },
  { NULL, KEY, "pins[1] \"\": expected a host" },
  { "https://a.example", KEY,
    "pins[1] \"https://a.example\": expected a host" },
  { "a.example:443", KEY, "pins[1] \"a.example:443\": expected a host" },
  { "a.example", "", "pins[1].keys[1] \"\": expected" },
  { "a.example", NULL, "pins[1].keys[1] \"\": expected" },
  { "a.example", "sha256/", "pins[1].keys[1] \"sha256/\"" },
  { "a.example", "sha1/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "pins[1].keys[1] \"sha1/" },
  { "a.example", "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", NULL },
  { "a.example", "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
    "pins[1].keys[1] \"sha256/" }, /* bits that are none of the 32 bytes */
  { "a.example", "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "pins[1].keys[1] \"sha256/" },
  { "a.example", KEY "=", "pins[1].keys[1] \"sha256/" },
  { "a.example", KEY ";" KEY, "pins[1].keys[1] \"sha256/" },
};

static void expect_why(const nt_policy_t* values, const char* expected) {
  char why[256] = "?";
  int err = nt_policy_check(values, why, sizeof(why));

  assert_int_equal(err, expected == NULL ? 0 : NT_E_INVALID);
  if (expected != NULL && strncmp(why, expected, strlen(expected)) != 0)
    fail_msg("%s, not %s", why, expected);
}

static void checks_referers(void** state) {
  const char* items[] = { "https://a.example/#x", "https://b.example/" };
  nt_policy_t values;
  nt__policy_t* policy;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  values.referers.items = items;
  values.referers.count = COUNT(items);
  expect_why(&values, NULL);
  policy = nt__policy_new(&values);
  assert_non_null(policy);
  assert_null(nt__policy_referer(&policy->values, 0));
  assert_string_equal(nt__policy_referer(&policy->values, 2), items[1]);
  assert_ptr_not_equal(nt__policy_referer(&policy->values, 2), items[1]);
  assert_null(nt__policy_referer(&policy->values, 3));
  assert_null(nt__policy_referer(&policy->values, UINT32_MAX));
  nt__policy_unref(policy);
  items[1] = "https://b.example/\r\nX: y";
  expect_why(&values, "referers[2]: ");
  items[1] = "";
  expect_why(&values, "referers[2]: ");
  items[1] = NULL;
  expect_why(&values, "referers[2]: ");
}

static void checks_pins(void** state) {
  nt_policy_t values;
  nt_pin_t pin = { 0 };
  size_t i;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  values.pins = &pin;
  values.pin_count = 1;
  for (i = 0; i < COUNT(pins); i++) {
    pin.host = pins[i].host;
    pin.keys.items = &pins[i].key;
    pin.keys.count = 1;
    expect_why(&values, pins[i].why);
  }
  pin.host = "a.example";
  pin.keys.count = 0;
  expect_why(&values, "pins[1] \"a.example\": expected at least one key");
}

static const struct {
  const char *name, *placeholder, *value, *host, *why;
} secrets[] = {
  { "key", "{k}", "v", "a.example", NULL },
  { "key", "{k}", "", "http://a.example:80", NULL },
  { NULL, "{k}", "v", "a.example", "secrets[1].name: " },
  { "", "{k}", "v", "a.example", "secrets[1].name: " },
  { "key", "", "v", "a.example", "secrets[1].placeholder of \"key\": " },
  { "key", NULL, "v", "a.example", "secrets[1].placeholder of \"key\": " },
  { "key", "\n", "v", "a.example", "secrets[1].placeholder of \"key\": " },
  { "key", "{k}", NULL, "a.example", "secrets[1].value of \"key\": " },
  { "key", "{k}", "hush\r\nx: y", "a.example",
    "secrets[1].value of \"key\": " },
  { "key", "{k}", "v", NULL, "secrets[1].hosts[1] \"\": expected host" },
  { "key", "{k}", "v", "ftp://a", "secrets[1].hosts[1] \"ftp://a\": " },
};

static void checks_secrets(void** state) {
  nt_policy_t values;
  nt_secret_t secret;
  size_t i;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  values.secrets = &secret;
  values.secret_count = 1;
  for (i = 0; i < COUNT(secrets); i++) {
    secret.name = secrets[i].name;
    secret.placeholder = secrets[i].placeholder;
    secret.value = secrets[i].value;
    secret.hosts.items = &secrets[i].host;
    secret.hosts.count = 1;
    expect_why(&values, secrets[i].why);
  }
  secret = (nt_secret_t){ "key", "{k}", "v", { NULL, 1 } };
  expect_why(&values, "secrets[1] \"key\": expected at least one host");
}

static const struct {
  const char* proxy;
  bool good;
} proxies[] = {
  { "http://proxy:3128", true },
  { "https://user:password@proxy", true },
  { "socks5://10.0.0.1:1080/", true },
  { "socks5h://[::1]", true },
  { "env", true },
  { "", false },
  { "ENV", false },
  { " http://proxy", false },
  { "proxy:3128", false },
  { "ftp://proxy", false },
  { "http://", false },
  { "socks5h://localhost/run/some.socket", false },
  { "http://proxy/?a", false },
  { "http://proxy/#a", false },
};

static void checks_texts(void** state) {
  nt_policy_t values;
  size_t i;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  for (i = 0; i < COUNT(proxies); i++) {
    values.proxy = proxies[i].proxy;
    expect_why(&values, proxies[i].good ? NULL : "proxy: expected a URL");
  }
  values.proxy = NULL;
  values.ca_data = "-----BEGIN PRIVATE KEY-----";
  expect_why(&values, "ca_data: expected certificates in PEM");
  values.ca_data = "# mine\n-----BEGIN CERTIFICATE-----\nMII";
  expect_why(&values, NULL);
  values.cache_dir = "";
  expect_why(&values, "cache_dir: expected the path of a folder");
  values.cache_dir = "cache";
  expect_why(&values, NULL);
  expect_why(NULL, "expected a policy");
}

/* A message is cut off, and never runs over. */
static void fits_messages(void** state) {
  const char* items[] = { "no good" };
  nt_policy_t values;
  char why[9];
  size_t size;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  values.domains[NT_ACCESS_TCP].items = items;
  values.domains[NT_ACCESS_TCP].count = 1;
  for (size = 0; size < sizeof(why); size++) {
    memset(why, '#', sizeof(why));
    assert_int_equal(nt_policy_check(&values, why, size), NT_E_INVALID);
    if (size > 0)
      assert_int_equal(strlen(why), size - 1);
    assert_int_equal(why[size], '#');
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(presets),
    cmocka_unit_test(snapshot_copies_texts),
    cmocka_unit_test(snapshot_copies_lists),
    cmocka_unit_test(references_keep_it),
    cmocka_unit_test(marks_have_a_floor),
    cmocka_unit_test(strict_allows_nothing),
    cmocka_unit_test(snapshot_copies_all),
    cmocka_unit_test(copies_are_the_hosts),
    cmocka_unit_test(checks_domains),
    cmocka_unit_test(checks_private_blocks),
    cmocka_unit_test(checks_referers),
    cmocka_unit_test(checks_pins),
    cmocka_unit_test(checks_secrets),
    cmocka_unit_test(checks_texts),
    cmocka_unit_test(fits_messages),
  };

  return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
