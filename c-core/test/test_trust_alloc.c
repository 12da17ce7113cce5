/* Pins, authorities, secrets and new policies without memory: each run repeats
 * itself with the first, second, third, ... of our allocations failing until
 * none is left to fail. A request ends once, and what is sent has the value of
 * its secret or nothing has been sent. */
#include <pthread.h>

#include "failing_sweep.h"
#include "host.h"

enum {
  LULL_MS = 30 /* no event for so long: memory comes back */
};

/* The text that libcurl has no memory for, NULL: none. */
static _Atomic(const char*) too_much;

static char* curl_strdup(const char* text) {
  const char* refused = atomic_load(&too_much);

  return refused != NULL && strcmp(text, refused) == 0 ? NULL : strdup(text);
}

/* As test_alloc.c explains: libcurl fails in ways of its own, so here it does
 * only where a test says. */
static void keep_libcurl_out(void** state) {
  (void) state;
  assert_int_equal(curl_global_init_mem(CURL_GLOBAL_ALL, malloc, free, realloc,
                                        curl_strdup, calloc),
                   CURLE_OK);
}

typedef struct session {
  nt_context_t* net;
  int port;
  unsigned open;
  unsigned ended;
} session_t;

static const char* const keys[] = {
  "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
  "sha256/BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
};
static char own_host[64];
static const char* const hosts[] = { own_host, "127.0.0.1" };

/* False without memory. */
static bool set_policy(session_t* session, const char* authorities) {
  static const nt_pin_t pin = { "127.0.0.1", { keys, 2 } };
  static const nt_secret_t secret = { "key", "{key}", "VALUE", { hosts, 2 } };
  nt_policy_t policy;
  char why[256];
  int err;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.pins = &pin;
  policy.pin_count = 1;
  policy.secrets = &secret;
  policy.secret_count = 1;
  policy.ca_data = authorities;
  assert_int_equal(nt_policy_check(&policy, why, sizeof(why)), 0);
  err = nt_policy_set(session->net, &policy);
  assert_true(err == 0 || err == NT_E_NOMEM);
  return err == 0;
}

static void start(session_t* session, const char* scheme) {
  static const nt_header_t header = { "X-Key", "a {key} b" };
  nt_request_options_t options;
  char url[64];
  nt_id_t id;
  int err;

  nt_request_options_init(&options);
  snprintf(url, sizeof(url), "%s://127.0.0.1:%d/echo", scheme, session->port);
  options.url = url;
  options.headers = &header;
  options.header_count = 1;
  if (nt_request_open(session->net, &id) != 0)
    return;
  session->open++;
  err = nt_request_start(session->net, id, &options);
  if (err == 0)
    return;
  assert_int_equal(err, NT_E_NOMEM);
  nt_fail(session->net, id, err, NULL);
}

static void take(session_t* session, const nt_event_t* ev, long n) {
  if (ev->type != NT_EV_END)
    return;
  session->ended++;
  if (ev->error == 0)
    assert_non_null(strstr(ev->data, "\r\nX-Key: a VALUE b\r\n"));
  else if (ev->error != NT_E_NOMEM && ev->error != NT_E_TLS &&
           ev->error != NT_E_TRUST && ev->error != NT_E_DROPPED)
    fail_msg("n = %ld: %s (%s)", n, nt_error_name(ev->error), ev->message);
}

static void wait_for_ends(session_t* session, long n) {
  nt_event_t ev;

  while (session->ended < session->open) {
    failing_wait(session->net, LULL_MS, n);
    while (nt_poll(session->net, &ev))
      take(session, &ev, n);
  }
}

static void play(session_t* session) {
  static const char* const authorities[] = {
    "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n",
    "-----BEGIN CERTIFICATE-----\nQg==\n-----END CERTIFICATE-----\n"
  };
  size_t i;

  for (i = 0; i < COUNT(authorities); i++) {
    if (!set_policy(session, authorities[i]))
      continue;
    start(session, "http");
    start(session, "https");
  }
}

/* A whole life; true when no allocation was left to fail. */
static bool run(void* arg, failing_mode_t mode, long n) {
  const server_t* server = arg;
  session_t session = { NULL, server->port, 0, 0 };

  failing_start(mode, n);
  if (nt_open(&session.net) == 0) {
    play(&session);
    wait_for_ends(&session, n);
    assert_int_equal(host_close(session.net), 0);
  }
  return failing_stop();
}

static void sweep(server_t* server, failing_mode_t mode) {
  snprintf(own_host, sizeof(own_host), "http://127.0.0.1:%d", server->port);
  failing_sweep(run, server, mode, 20);
}

static void one_failure(void** state) {
  server_t* server = server_start();

  (void) state;
  sweep(server, FAILING_ONCE);
  server_stop(server);
}

static void no_memory_from_then_on(void** state) {
  server_t* server = server_start();

  (void) state;
  sweep(server, FAILING_ALWAYS);
  server_stop(server);
}

/* Without memory for its proxy nothing goes straight to the host, nor through
 * one that the environment has. */
static void no_memory_for_the_proxy(void** state) {
  static const char* const texts[] = { "http://127.0.0.1:1", "*" };
  host_t* host = *state;
  nt_policy_t policy;
  char proxy[64];
  size_t i;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.proxy = texts[0];
  host_url(host, "", proxy, sizeof(proxy));
  setenv("http_proxy", proxy, 1);
  for (i = 0; i < COUNT(texts); i++) {
    assert_int_equal(nt_policy_set(host->net, &policy), 0);
    atomic_store(&too_much, texts[i]);
    host_expect(host, host_get(host, "/"), NT_E_NOMEM);
    atomic_store(&too_much, NULL);
    policy.proxy = NULL;
  }
  unsetenv("http_proxy");
  assert_int_equal(server_requests(host->server), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(keep_libcurl_out),
    cmocka_unit_test(one_failure),
    cmocka_unit_test(no_memory_from_then_on),
    HOST_TEST(no_memory_for_the_proxy),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("trust_alloc", tests, NULL, NULL);
}
