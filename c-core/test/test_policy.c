/* policy.c: presets, snapshots that outlive what they were made from, and the
 * gate for URLs. */
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
  assert_null(mini.read_roots);
  assert_null(mini.write_roots);
  assert_int_equal(mini.mdns_scan_ms, 30000);
  assert_int_equal(open.mdns_scan_ms, 0);
  assert_int_equal(mini.max_services, 256);
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

static void snapshot_copies_texts(void** state) {
  char agent[] = "game/1";
  char file[] = "/etc/ca.pem";
  char store[] = "/var/store";
  nt_policy_t values;
  nt__policy_t* policy;

  (void) state;
  nt_policy_init(&values, NT_PRESET_OPEN);
  values.user_agent = agent;
  values.ca_file = file;
  values.store_file = store;
  policy = nt__policy_new(&values);
  assert_non_null(policy);
  memset(store, 'x', sizeof(store) - 1);
  memset(agent, 'x', sizeof(agent) - 1);
  memset(file, 'x', sizeof(file) - 1);
  assert_string_equal(policy->values.user_agent, "game/1");
  assert_string_equal(policy->values.ca_file, "/etc/ca.pem");
  assert_string_equal(policy->values.store_file, "/var/store");
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

static const struct {
  uint32_t flags;
  uint64_t url_max;
  const char* url;
  int result;
} gate[] = {
  { 0, 0, "http://a/", 0 },
  { 0, 0, "https://a:444/", 0 },
  { 0, 0, "HTTP://a/", 0 },
  { 0, 0, "ftp://a/", NT_E_SCHEME },
  { 0, 0, "ws://a/", NT_E_SCHEME },
  { 0, 0, "httpx://a/", NT_E_SCHEME },
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
};

static void url_gate(void** state) {
  nt_policy_t values;
  nt__url_t url;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(gate); i++) {
    nt__policy_t* policy;

    nt_policy_init(&values, NT_PRESET_OPEN);
    values.flags = gate[i].flags;
    values.url_max_bytes = gate[i].url_max;
    policy = nt__policy_new(&values);
    assert_int_equal(nt__url_parse(&url, NULL, gate[i].url), 0);
    assert_int_equal(nt__policy_check_url(policy, &url), gate[i].result);
    nt__url_free(&url);
    nt__policy_unref(policy);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(presets),
    cmocka_unit_test(snapshot_copies_texts),
    cmocka_unit_test(snapshot_copies_lists),
    cmocka_unit_test(references_keep_it),
    cmocka_unit_test(marks_have_a_floor),
    cmocka_unit_test(url_gate),
  };

  return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
