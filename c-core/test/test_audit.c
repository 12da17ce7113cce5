/* audit.c: a record of each refusal, before the end of its task, whatever the
 * host has done to the task meanwhile; few wait, and all are counted. */
#include "audit.h"

#include "host.h"
#include "internal.h"

enum {
  WAITING_MAX = 256
};

static void require_secure(nt_policy_t* policy) {
  policy->flags |= NT_POLICY_REQUIRE_SECURE;
}

static void allow_one_tcp(nt_policy_t* policy) {
  policy->tcp_per_window = 1;
}

static void allow_one_socket(nt_policy_t* policy) {
  policy->max_sockets = 1;
}

static uint64_t refusals(host_t* host) {
  nt_stats_t stats;

  nt_stats(host->net, &stats);
  return stats.refusals;
}

static void expect_record(host_t* host, nt_id_t id, int error) {
  nt_event_t ev;

  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
  assert_true(ev.id == id);
  assert_int_equal(ev.error, error);
}

/* ---- Tasks --------------------------------------------------------------- */

static void before_the_end(void** state) {
  host_t* host = *state;
  nt_id_t id;

  host_policy(host, require_secure);
  id = host_get(host, "/secret/path?query");
  expect_record(host, id, NT_E_SCHEME);
  host_expect(host, id, NT_E_SCHEME);
  assert_true(refusals(host) == 1);
}

static void nothing_without_a_refusal(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/cut");

  host_expect(host, id, NT_E_LENGTH_MISMATCH);
  nt_abort(host->net, host_get(host, "/hold"));
  host_next(host, &(nt_event_t){ 0 });
  host_still_works(host);
  assert_true(refusals(host) == 0);
}

/* The I/O thread has refused it, or will: who ends the task hides nothing. */
static void of_a_task_that_was_aborted(void** state) {
  host_t* host = *state;
  bool ended = false;
  bool told = false;
  nt_id_t id;

  host_policy(host, require_secure);
  id = host_get(host, "/");
  nt_abort(host->net, id);
  while (!ended || !told) {
    nt_event_t ev;

    host_next(host, &ev);
    assert_true(ev.id == id);
    if (ev.type == NT_EV_REFUSED) {
      assert_int_equal(ev.error, NT_E_SCHEME);
      told = true;
    } else {
      assert_int_equal(ev.type, NT_EV_END);
      assert_int_equal(ev.error, NT_E_ABORTED);
      ended = true;
    }
  }
}

/* It waits with its end: whoever collects knows of both. */
static void counts_as_one_that_waits(void** state) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;
  host_t* host = *state;
  nt_event_t ev;

  host_policy(host, require_secure);
  host_get(host, "/");
  while (nt_collect(host->net) == 0)
    assert_true(uv_hrtime() < end);
  assert_int_equal(nt_waiting(host->net), 2);
  assert_int_equal(nt_wait(host->net, 0), 1);
  assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_int_equal(ev.type, NT_EV_REFUSED);
  assert_int_equal(nt_waiting(host->net), 1);
  assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(nt_poll(host->net, &ev), 0);
}

/* However many come in at once, no more events wait than were announced. */
static void many_at_once(void** state) {
  enum {
    TASKS = 1000
  };
  host_t* host = *state;
  size_t ends = 0;
  size_t records = 0;
  nt_event_t ev;

  host_policy(host, require_secure);
  nt_cork(host->net);
  for (int i = 0; i < TASKS; i++)
    host_get(host, "/");
  nt_uncork(host->net);
  while (ends < TASKS) {
    size_t waiting;

    nt_wait(host->net, 1000);
    waiting = nt_collect(host->net);
    while (waiting-- > 0 && nt_poll(host->net, &ev)) {
      ends += ev.type == NT_EV_END;
      records += ev.type == NT_EV_REFUSED;
      assert_true(nt_waiting(host->net) <= 2 * TASKS);
    }
  }
  assert_int_equal(nt_poll(host->net, &ev), 0);
  assert_int_equal(nt_waiting(host->net), 0);
  assert_true(records >= WAITING_MAX && records <= TASKS);
  assert_true(refusals(host) == TASKS);
}

/* ---- Calls --------------------------------------------------------------- */

static void of_a_call_without_a_task(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_id_t id;

  host_policy(host, allow_one_tcp);
  assert_int_equal(nt_tcp_open(host->net, &id), 0);
  assert_int_equal(nt_tcp_open(host->net, &id), NT_E_LIMIT);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
  assert_true(ev.id == 0);
  assert_int_equal(ev.error, NT_E_LIMIT);
  assert_string_equal(ev.message, "");
}

static void of_a_start(void** state) {
  host_t* host = *state;
  nt_websocket_options_t options;
  nt_id_t first, second;
  char url[64];

  host_policy(host, allow_one_socket);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/hold", host->server->port);
  nt_websocket_options_init(&options);
  options.url = url;
  assert_int_equal(nt_websocket_open(host->net, &first), 0);
  assert_int_equal(nt_websocket_open(host->net, &second), 0);
  assert_int_equal(nt_websocket_start(host->net, first, &options), 0);
  assert_int_equal(nt_websocket_start(host->net, second, &options), NT_E_LIMIT);
  /* Who ends what did not start says nothing new. */
  nt_fail(host->net, second, NT_E_LIMIT, "no more");
  expect_record(host, second, NT_E_LIMIT);
  host_expect(host, second, NT_E_LIMIT);
  assert_true(refusals(host) == 1);
}

static void of_the_host_itself(void** state) {
  host_t* host = *state;
  nt_id_t id = host_open(host);

  nt_fail(host->net, id, NT_E_DOMAIN, "http://a/private");
  expect_record(host, id, NT_E_DOMAIN);
  host_expect(host, id, NT_E_DOMAIN);
}

/* A script can make as many as it likes. */
static void only_so_many_wait(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_id_t id;
  int i;

  host_policy(host, allow_one_tcp);
  assert_int_equal(nt_tcp_open(host->net, &id), 0);
  for (i = 0; i < 10 * WAITING_MAX; i++)
    assert_int_equal(nt_tcp_open(host->net, &id), NT_E_LIMIT);
  assert_int_equal(nt_collect(host->net), WAITING_MAX);
  for (i = 0; i < WAITING_MAX; i++)
    assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_int_equal(nt_poll(host->net, &ev), 0);
  assert_true(refusals(host) == 10 * WAITING_MAX);
  assert_int_equal(nt_tcp_open(host->net, &id), NT_E_LIMIT); /* room again */
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
}

static void not_in_the_frame_of_the_call(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_id_t id;

  host_policy(host, allow_one_tcp);
  assert_int_equal(nt_tcp_open(host->net, &id), 0);
  nt_abort(host->net, id);
  assert_int_equal(nt_collect(host->net), 1);
  assert_int_equal(nt_tcp_open(host->net, &id), NT_E_LIMIT);
  assert_int_equal(nt_waiting(host->net), 1);
  assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_int_equal(ev.type, NT_EV_END);
}

/* Undelivered ones go with the context. */
static void at_the_end(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_id_t id;

  host_policy(host, allow_one_tcp);
  nt_tcp_open(host->net, &id);
  nt_tcp_open(host->net, &id);
  nt_tcp_open(host->net, &id);
  host_next(host, &ev);
  nt_tcp_open(host->net, &id);
}

/* ---- What is told -------------------------------------------------------- */

static void targets(void** state) {
  static const struct {
    const char* given;
    const char* told;
  } rows[] = {
    { "", "" },
    { "https://a.example:8443", "https://a.example:8443" },
    { "https://a.example/path?query#fragment", "https://a.example" },
    { "https://a.example?query", "https://a.example" },
    { "https://a.example#fragment", "https://a.example" },
    { "https://a.example\\path", "https://a.example" },
    { "https://user:password@a.example/", "https://a.example" },
    { "https://a@b:c@a.example:1/@x", "https://a.example:1" },
    { "wss://[::1]:80/", "wss://[::1]:80" },
    { "udp://10.0.0.1:53", "udp://10.0.0.1:53" },
    { "/etc/pass:wd@x?y#z", "/etc/pass:wd@x?y#z" },
    { "://", "://" },
  };
  host_t* host = *state;
  char longest[8192];
  nt_event_t ev;
  size_t i;

  for (i = 0; i < COUNT(rows); i++) {
    assert_int_equal(nt__refuse(host->net, 7, NT_E_DOMAIN, rows[i].given),
                     NT_E_DOMAIN);
    host_next(host, &ev);
    assert_true(ev.id == 7);
    assert_string_equal(ev.message, rows[i].told);
  }
  assert_int_equal(nt__refuse(host->net, 0, NT_E_DOMAIN, NULL), NT_E_DOMAIN);
  host_next(host, &ev);
  assert_string_equal(ev.message, "");
  memset(longest, 'a', sizeof(longest) - 1);
  longest[sizeof(longest) - 1] = '\0';
  nt__refuse(host->net, 0, NT_E_DOMAIN, longest);
  host_next(host, &ev);
  assert_true(strlen(ev.message) > 0 && strlen(ev.message) <= 2048);
  assert_int_equal(nt__refuse(host->net, 0, NT_E_TIMEOUT, ""), NT_E_TIMEOUT);
  assert_int_equal(nt__refuse(host->net, 0, 0, ""), 0);
  assert_int_equal(nt_poll(host->net, &ev), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(before_the_end),
    HOST_TEST(nothing_without_a_refusal),
    HOST_TEST(of_a_task_that_was_aborted),
    HOST_TEST(counts_as_one_that_waits),
    HOST_TEST(many_at_once),
    HOST_TEST(of_a_call_without_a_task),
    HOST_TEST(of_a_start),
    HOST_TEST(of_the_host_itself),
    HOST_TEST(only_so_many_wait),
    HOST_TEST(not_in_the_frame_of_the_call),
    HOST_TEST(at_the_end),
    HOST_TEST(targets),
  };

  return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
