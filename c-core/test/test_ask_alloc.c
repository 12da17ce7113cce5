/* Questions and answers without memory: each run repeats itself with the first,
 * second, third, ... of our allocations failing until none is left to fail. A
 * request ends once, whatever becomes of its question. */
#include "failing_sweep.h"
#include "host.h"
#include "names.h"

enum {
  REQUESTS = 3,
  LULL_MS = 30 /* no event for so long: memory comes back */
};

typedef struct session {
  nt_context_t* net;
  unsigned open;
  unsigned ended;
} session_t;

static server_t* server;

static void start(session_t* session, const char* name) {
  nt_request_options_t options;
  char url[128];
  nt_id_t id;
  int err;

  nt_request_options_init(&options);
  snprintf(url, sizeof(url), "http://%s" NAMES_KNOWN ":%d/hello", name,
           server->port);
  options.url = url;
  options.resolver = 1;
  options.resolver_timeout = 50;
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
  static const char* const ips[] = { "127.0.0.2", "127.0.0.1" };
  nt_lookup_answer_t answer = { ips, 2, 1000, 0, NULL };

  if (ev->type == NT_EV_LOOKUP) {
    int err = nt_lookup_answer(session->net, ev->id, &answer);

    assert_true(err == 0 || err == NT_E_NOMEM);
    return;
  }
  if (ev->type != NT_EV_END)
    return;
  session->ended++;
  if (ev->error != 0 && ev->error != NT_E_NOMEM)
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

static bool run(void* unused, failing_mode_t mode, long n) {
  session_t session = { NULL, 0, 0 };
  int i;

  (void) unused;
  failing_start(mode, n);
  if (nt_open(&session.net) == 0) {
    for (i = 0; i < REQUESTS; i++)
      start(&session, i == 0 ? "one" : "two");
    wait_for_ends(&session, n);
    assert_int_equal(host_close(session.net), 0);
  }
  return failing_stop();
}

static void one_failure(void** state) {
  (void) state;
  failing_sweep(run, NULL, FAILING_ONCE, 20);
}

static void no_memory_from_then_on(void** state) {
  (void) state;
  failing_sweep(run, NULL, FAILING_ALWAYS, 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_keep_libcurl_out),
    cmocka_unit_test(one_failure),
    cmocka_unit_test(no_memory_from_then_on),
  };
  int failed;

  if (failing_install() != 0)
    return 1;
  server = server_start();
  failed = cmocka_run_group_tests_name("ask_alloc", tests, NULL, NULL);
  server_stop(server);
  return failed;
}
