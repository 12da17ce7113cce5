/* Resolvers of the host's: what they are asked, what becomes of their answers,
 * and what of a task when there is none. The system knows no names here but
 * those of names.h, so a success shows who has led there. */
#include "host.h"
#include "names.h"

enum {
  RESOLVER = 7,
  LONG_MS = 60000
};

static const char* const here[] = { "127.0.0.1" };

static nt_id_t begin(host_t* host, const nt_request_options_t* options,
                     const char* name, const char* path) {
  nt_request_options_t own = *options;
  nt_id_t id = host_open(host);
  char url[256];

  snprintf(url, sizeof(url), "http://%s:%d%s", name, host->server->port, path);
  own.url = url;
  assert_int_equal(nt_request_start(host->net, id, &own), 0);
  return id;
}

static void options_init(nt_request_options_t* options, uint32_t timeout_ms) {
  nt_request_options_init(options);
  options->resolver = RESOLVER;
  options->resolver_timeout = timeout_ms;
}

static nt_id_t get(host_t* host, const char* name) {
  nt_request_options_t options;

  options_init(&options, LONG_MS);
  return begin(host, &options, name, "/hello");
}

/* The id of the question that comes next. */
static nt_id_t expect_question(host_t* host, const char* name) {
  nt_event_t ev;

  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_LOOKUP);
  assert_int_equal(ev.resolver, RESOLVER);
  assert_string_equal(ev.host, name);
  assert_string_equal(ev.message, "");
  assert_true(ev.id != 0);
  return ev.id;
}

static void answer(host_t* host, nt_id_t id, const char* const* ips,
                   size_t count, uint32_t ttl_ms) {
  nt_lookup_answer_t out = { ips, count, ttl_ms, 0, NULL };

  assert_int_equal(nt_lookup_answer(host->net, id, &out), 0);
}

static void expect_resolved(host_t* host, nt_id_t id) {
  nt_event_t ev;

  host_end(host, id, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.status, 200);
  assert_int_equal(ev.resolved, 1);
}

/* Its one failure; returns the error of the task. */
static int expect_failure(host_t* host, nt_id_t id, int error,
                          const char* message) {
  nt_event_t ev;

  host_end(host, id, &ev);
  assert_int_equal(ev.resolved, 0);
  assert_int_equal(ev.lookup_failure_count, 1);
  assert_int_equal(ev.lookup_failures[0].error, error);
  assert_string_equal(ev.lookup_failures[0].message, message);
  return ev.error;
}

/* ---- Questions ----------------------------------------------------------- */

static void asks_for_a_name(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_event_t ev;
  nt_id_t id;

  options_init(&options, 1234567);
  options.flags = NT_REQUEST_PROFILE;
  id = begin(host, &options, "Some.Example.", "/echo");
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_LOOKUP);
  assert_int_equal(ev.resolver, RESOLVER);
  assert_int_equal(ev.family, NT_FAMILY_ANY);
  assert_int_equal(ev.timeout_ms, 1234567);
  assert_string_equal(ev.host, "some.example");
  assert_int_equal(nt_state(host->net, id), NT_STATE_CONNECTING);
  assert_int_equal(nt_state(host->net, ev.id), NT_STATE_DONE);
  answer(host, ev.id, here, 1, 0);
  host_end(host, id, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.resolved, 1);
  assert_int_equal(ev.lookup_failure_count, 0);
  assert_non_null(strstr(ev.data, "\r\nHost: Some.Example"));
  assert_true(ev.profile->asked_start >= ev.profile->invoke_start);
  assert_true(ev.profile->asked_end >= ev.profile->asked_start);
  assert_string_equal(ev.profile->peer_ip, "127.0.0.1");
}

static void asks_once_for_many(void** state) {
  host_t* host = *state;
  nt_id_t ids[8];
  nt_id_t question;
  size_t ended = 0;
  nt_event_t ev;
  size_t i;

  for (i = 0; i < COUNT(ids); i++)
    ids[i] = get(host, "many.example");
  question = expect_question(host, "many.example");
  answer(host, question, here, 1, LONG_MS);
  while (ended < COUNT(ids)) {
    host_next(host, &ev);
    assert_int_not_equal(ev.type, NT_EV_LOOKUP);
    ended += ev.type == NT_EV_END && ev.error == 0 && ev.resolved;
  }
  expect_resolved(host, get(host, "many.example"));
}

static void asks_no_more_than_it_has_to(void** state) {
  static const char* const locals[] = { "127.0.0.1", "localhost", "LOCALHOST.",
                                        "a.localhost" };
  host_t* host = *state;
  nt_request_options_t options;
  nt_event_t ev;
  size_t i;

  options_init(&options, LONG_MS);
  for (i = 0; i < COUNT(locals); i++) {
    host_end(host, begin(host, &options, locals[i], "/hello"), &ev);
    assert_int_equal(ev.resolved, 0);
    assert_int_equal(ev.lookup_failure_count, 0);
  }
  options.proxy = "http://127.0.0.1:1";
  host_expect(host, begin(host, &options, "proxied.example", "/hello"),
              NT_E_PROXY);
}

static void forgets_what_nobody_waits_for(void** state) {
  host_t* host = *state;
  nt_id_t id = get(host, "left.example");
  nt_id_t question = expect_question(host, "left.example");

  nt_abort(host->net, id);
  host_expect(host, id, NT_E_ABORTED);
  id = get(host, "left.example");
  assert_true(expect_question(host, "left.example") != question);
  answer(host, question, here, 1, LONG_MS); /* too late, and for nobody */
  nt_abort(host->net, id);
  host_expect(host, id, NT_E_ABORTED);
  host_still_works(host);
}

static void ends_with_the_context(void** state) {
  host_t* host = *state;

  get(host, "one.example");
  expect_question(host, "one.example");
  get(host, "two.example"); /* whose question stays where it is */
  nt_wait(host->net, PATIENCE_MS);
}

/* ---- Answers ------------------------------------------------------------- */

static void remembers_for_a_time(void** state) {
  host_t* host = *state;
  uint64_t start;
  nt_id_t id = get(host, "short.example");
  nt_event_t ev;

  answer(host, expect_question(host, "short.example"), here, 1, 50);
  expect_resolved(host, id);
  start = uv_hrtime();
  do {
    id = get(host, "short.example");
    host_next(host, &ev);
    if (ev.type == NT_EV_LOOKUP)
      break;
    expect_resolved(host, id);
    assert_true(uv_hrtime() - start < (uint64_t) PATIENCE_MS * 1000000);
  } while (true);
  answer(host, ev.id, here, 1, 0);
  expect_resolved(host, id);
  id = get(host, "short.example");
  answer(host, expect_question(host, "short.example"), here, 1, 0);
  expect_resolved(host, id);
}

static void takes_addresses_alone(void** state) {
  static const char* const bad[] = { "127.0.0.1 ", "localhost", "",
                                     "127.1",      "[::1]",     "1.2.3.4:80" };
  host_t* host = *state;
  nt_lookup_answer_t out = { bad, 1, 0, 0, NULL };
  const char* const nothing = NULL;
  nt_id_t id = get(host, "strict.example");
  nt_id_t question = expect_question(host, "strict.example");

  for (; out.ips < bad + COUNT(bad); out.ips++)
    assert_int_equal(nt_lookup_answer(host->net, question, &out), NT_E_ADDRESS);
  out.ips = &nothing;
  assert_int_equal(nt_lookup_answer(host->net, question, &out), NT_E_ADDRESS);
  out.ips = NULL;
  assert_int_equal(nt_lookup_answer(host->net, question, &out), NT_E_INVALID);
  assert_int_equal(nt_lookup_answer(host->net, question, NULL), NT_E_INVALID);
  answer(host, question, here, 1, 0);
  answer(host, question, here, 1, 0); /* the second one is for nobody */
  expect_resolved(host, id);
}

static void tries_addresses_in_turn(void** state) {
  static const char* const ips[] = { "127.0.0.2", "127.0.0.3", "127.0.0.1" };
  host_t* host = *state;
  nt_id_t id = get(host, "turn.example");
  nt_event_t ev;

  answer(host, expect_question(host, "turn.example"), ips, COUNT(ips), 0);
  host_end(host, id, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.resolved, 1);
  assert_int_equal(ev.lookup_failure_count, 2);
  assert_int_equal(ev.lookup_failures[1].error, NT_E_REFUSED);
  assert_string_equal(ev.lookup_failures[1].message,
                      "turn.example: 127.0.0.3: connection refused");
}

/* A listener whose queue is full takes no connection. */
static int make_silent(int* port, int fds[4]) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  int listener = server_listen(0, port);
  int i;

  address.sin_port = htons((uint16_t) *port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (i = 0; i < 4; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(fds[i], (struct sockaddr*) &address, sizeof(address));
  }
  return listener;
}

static void does_not_wait_for_a_silent_address(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  char url[64];
  nt_id_t id = host_open(host);
  int fds[4];
  int port;
  int listener = make_silent(&port, fds);
  size_t i;

  options_init(&options, LONG_MS);
  options.timeouts.connect = 50;
  snprintf(url, sizeof(url), "http://silent.example:%d/", port);
  options.url = url;
  assert_int_equal(nt_request_start(host->net, id, &options), 0);
  answer(host, expect_question(host, "silent.example"), here, 1, 0);
  assert_int_equal(expect_failure(host, id, NT_E_CONNECT_TIMEOUT,
                                  "silent.example: 127.0.0.1: connection"
                                  " timed out"),
                   NT_E_RESOLVE);
  for (i = 0; i < COUNT(fds); i++)
    close(fds[i]);
  close(listener);
}

/* ---- Without an answer --------------------------------------------------- */

static void falls_back_on_the_system(void** state) {
  static const char* const dead[] = { "127.0.0.2" };
  static const char name[] = "fall" NAMES_KNOWN;
  nt_lookup_answer_t none = { NULL, 0, LONG_MS, 602107, "no such name" };
  host_t* host = *state;
  nt_request_options_t options;
  nt_id_t id;

  options_init(&options, 20);
  id = begin(host, &options, name, "/hello");
  expect_question(host, name);
  assert_int_equal(
      expect_failure(host, id, NT_E_TIMEOUT, "fall" NAMES_KNOWN ": timed out"),
      0);
  id = get(host, name);
  assert_int_equal(
      nt_lookup_answer(host->net, expect_question(host, name), &none), 0);
  assert_int_equal(
      expect_failure(host, id, 602107, "fall" NAMES_KNOWN ": no such name"), 0);
  id = get(host, name);
  answer(host, expect_question(host, name), dead, 1, 0);
  assert_int_equal(
      expect_failure(host, id, NT_E_REFUSED,
                     "fall" NAMES_KNOWN ": 127.0.0.2: connection refused"),
      0);
  none.error = 0;
  none.message = NULL;
  id = get(host, "nowhere.example");
  assert_int_equal(
      nt_lookup_answer(host->net, expect_question(host, "nowhere.example"),
                       &none),
      0);
  assert_int_equal(expect_failure(host, id, NT_E_RESOLVE,
                                  "nowhere.example: host name could not be"
                                  " resolved"),
                   NT_E_RESOLVE);
}

static void leaves_nothing_for_others(void** state) {
  host_t* host = *state;
  nt_request_options_t plain;
  nt_id_t id = get(host, "own.example");
  nt_event_t ev;
  int i;

  answer(host, expect_question(host, "own.example"), here, 1, LONG_MS);
  expect_resolved(host, id);
  nt_request_options_init(&plain);
  for (i = 0; i < 2; i++) {
    host_end(host, begin(host, &plain, "own.example", "/hello"), &ev);
    assert_int_equal(ev.error, NT_E_RESOLVE);
    assert_int_equal(ev.resolved, 0);
    expect_resolved(host, get(host, "own.example"));
  }
  assert_true(atomic_load(&names_asked) > 0);
}

/* ---- Rules --------------------------------------------------------------- */

static void refuse_private(nt_policy_t* policy) {
  policy->flags |= NT_POLICY_REFUSE_PRIVATE;
}

static void passes_the_gate(void** state) {
  static const char* const ips[] = { "127.0.0.1", "::1" };
  host_t* host = *state;
  nt_event_t ev;
  nt_id_t id;

  host_policy(host, refuse_private);
  id = get(host, "rebound.example");
  answer(host, expect_question(host, "rebound.example"), ips, 2, 0);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_REFUSED);
  assert_int_equal(ev.error, NT_E_PRIVATE);
  host_end(host, id, &ev);
  assert_int_equal(ev.error, NT_E_PRIVATE);
  assert_int_equal(ev.resolved, 0);
  assert_int_equal(ev.lookup_failure_count, 2);
  assert_int_equal(ev.lookup_failures[0].error, NT_E_PRIVATE);
}

static void one_at_a_time(nt_policy_t* policy) {
  static const char* const nobody[] = { "allowed.example" };

  policy->max_requests = 1;
  policy->domains[NT_ACCESS_REQUEST].items = nobody;
  policy->domains[NT_ACCESS_REQUEST].count = 1;
}

/* Who waits makes room, and what the host itself asks needs none. */
static void waits_in_nobodys_way(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_id_t waiting[3];
  nt_id_t question, other, own;
  nt_event_t ev;
  size_t i;

  host_policy(host, one_at_a_time);
  for (i = 0; i < COUNT(waiting); i++)
    waiting[i] = get(host, "allowed.example");
  question = expect_question(host, "allowed.example");
  nt_request_options_init(&options);
  other = begin(host, &options, "allowed.example", "/hello");
  host_expect(host, other, NT_E_RESOLVE); /* it had its turn */
  options.flags = NT_REQUEST_OF_HOST;
  own = begin(host, &options, "127.0.0.1", "/hello");
  host_end(host, own, &ev);
  assert_int_equal(ev.error, 0);
  options.flags = 0;
  own = begin(host, &options, "127.0.0.1", "/hello");
  do {
    host_next(host, &ev);
  } while (ev.type != NT_EV_END);
  assert_int_equal(ev.error, NT_E_DOMAIN);
  answer(host, question, here, 1, 0);
  for (i = 0; i < COUNT(waiting);) {
    host_next(host, &ev);
    if (ev.type != NT_EV_END)
      continue;
    assert_true(ev.id == waiting[i++]); /* one after the other */
    assert_int_equal(ev.resolved, 1);
  }
}

static void one_place(nt_policy_t* policy) {
  policy->max_requests = 1;
}

static void time_runs_while_it_asks(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_id_t id;

  options_init(&options, LONG_MS);
  options.timeouts.total = 20;
  id = begin(host, &options, "slow.example", "/hello");
  expect_question(host, "slow.example");
  host_expect(host, id, NT_E_TIMEOUT);
}

/* And stands still in the queue, also the second time. */
static void time_stands_still_in_the_queue(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_id_t id, question, holder, sleep;

  host_policy(host, one_place);
  options_init(&options, LONG_MS);
  options.timeouts.total = 1000;
  id = begin(host, &options, "queue.example", "/hello");
  question = expect_question(host, "queue.example");
  holder = host_get(host, "/hold");
  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  answer(host, question, here, 1, 0);
  host_reach(host, id, NT_STATE_QUEUED);
  assert_int_equal(nt_sleep_open(host->net, &sleep), 0);
  assert_int_equal(nt_sleep_start(host->net, sleep, 1100), 0);
  host_expect(host, sleep, 0);
  server_release(host->server);
  host_expect(host, holder, 0);
  expect_resolved(host, id);
}

/* ---- TCP ----------------------------------------------------------------- */

static void any_port(nt_policy_t* policy) {
  policy->tcp_forbidden_count = 0;
}

static void serves_tcp(void** state) {
  static const char* const ips[] = { "::1", "127.0.0.1" };
  host_t* host = *state;
  nt_tcp_options_t options;
  nt_event_t ev;
  nt_id_t id;

  nt_tcp_options_init(&options);
  options.host = "tcp.example";
  options.port = host->server->port;
  options.family = NT_FAMILY_IPV4;
  options.timeout_ms = LONG_MS;
  options.resolver = RESOLVER;
  options.resolver_timeout = LONG_MS;
  host_policy(host, any_port);
  assert_int_equal(nt_tcp_open(host->net, &id), 0);
  assert_int_equal(nt_tcp_start(host->net, id, &options), 0);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_LOOKUP);
  assert_int_equal(ev.family, NT_FAMILY_IPV4);
  answer(host, ev.id, ips, 2, 0);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_OPEN);
  assert_int_equal(ev.resolved, 1);
  assert_int_equal(ev.lookup_failure_count, 0);
  assert_string_equal(ev.remote.ip, "127.0.0.1");
  nt_abort(host->net, id);
  host_expect(host, id, NT_E_ABORTED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(asks_for_a_name),
    HOST_TEST(asks_once_for_many),
    HOST_TEST(asks_no_more_than_it_has_to),
    HOST_TEST(forgets_what_nobody_waits_for),
    HOST_TEST(ends_with_the_context),
    HOST_TEST(remembers_for_a_time),
    HOST_TEST(takes_addresses_alone),
    HOST_TEST(tries_addresses_in_turn),
    HOST_TEST(does_not_wait_for_a_silent_address),
    HOST_TEST(falls_back_on_the_system),
    HOST_TEST(leaves_nothing_for_others),
    HOST_TEST(passes_the_gate),
    HOST_TEST(waits_in_nobodys_way),
    HOST_TEST(time_runs_while_it_asks),
    HOST_TEST(time_stands_still_in_the_queue),
    HOST_TEST(serves_tcp),
  };

  return cmocka_run_group_tests_name("ask", tests, NULL, NULL);
}
