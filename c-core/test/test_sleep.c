/* sleep.c: never early, in order of their times, and gone at once when they
 * are aborted or the context is closed. */
#include "host.h"

enum {
  NS_PER_MS = 1000000,
  LONG_MS = 3600000,
  CROWD = 1000
};

static nt_id_t begin(host_t* host, uint32_t ms) {
  nt_id_t id = 0;

  assert_int_equal(nt_sleep_open(host->net, &id), 0);
  assert_int_equal(nt_state(host->net, id), NT_STATE_IDLE);
  assert_int_equal(nt_sleep_start(host->net, id, ms), 0);
  assert_int_equal(nt_state(host->net, id), NT_STATE_OPEN);
  return id;
}

static void never_early(void** state) {
  static const uint32_t times_ms[] = { 0, 1, 2, 7, 30 };
  host_t* host = *state;

  for (size_t i = 0; i < sizeof(times_ms) / sizeof(*times_ms); i++) {
    uint64_t started = uv_hrtime();
    nt_id_t id = begin(host, times_ms[i]);

    host_expect(host, id, 0);
    assert_true(uv_hrtime() - started >= (uint64_t) times_ms[i] * NS_PER_MS);
  }
}

static void in_order_of_their_times(void** state) {
  host_t* host = *state;
  nt_id_t last = begin(host, LONG_MS);
  nt_id_t first = begin(host, 1);
  nt_id_t second = begin(host, 30);

  host_expect(host, first, 0);
  host_expect(host, second, 0);
  nt_abort(host->net, last);
  host_expect(host, last, NT_E_ABORTED);
}

static void many(void** state) {
  host_t* host = *state;
  nt_event_t ev;

  for (int i = 0; i < CROWD; i++)
    begin(host, (uint32_t) (i % 20));
  for (int i = 0; i < CROWD; i++) {
    host_next(host, &ev);
    assert_int_equal(ev.type, NT_EV_END);
    assert_int_equal(ev.error, 0);
    assert_string_equal(ev.message, "");
  }
  assert_int_equal(nt_poll(host->net, &ev), 0);
}

static void aborted(void** state) {
  host_t* host = *state;
  nt_id_t id = begin(host, LONG_MS);
  nt_id_t idle = 0;

  nt_abort(host->net, id);
  nt_abort(host->net, id);
  host_expect(host, id, NT_E_ABORTED);
  nt_abort(host->net, id);

  assert_int_equal(nt_sleep_open(host->net, &idle), 0);
  nt_abort(host->net, idle);
  host_expect(host, idle, NT_E_ABORTED);
  assert_int_equal(nt_sleep_start(host->net, idle, 1), NT_E_CLOSED);
}

/* When the time is over and the host ends it, the host was first. */
static void aborted_when_due(void** state) {
  host_t* host = *state;

  for (int i = 0; i < 100; i++) {
    nt_id_t id = begin(host, 0);

    if (i % 2 == 0)
      nt_wait(host->net, 5);
    nt_abort(host->net, id);
    host_expect(host, id, NT_E_ABORTED);
  }
}

static void bad_calls(void** state) {
  host_t* host = *state;
  nt_id_t id = begin(host, 1);

  assert_int_equal(nt_sleep_start(host->net, id, 1), NT_E_STATE);
  host_expect(host, id, 0);
  assert_int_equal(nt_sleep_start(host->net, id, 1), NT_E_CLOSED);
  assert_int_equal(nt_sleep_start(host->net, 0, 1), NT_E_CLOSED);
}

/* The context is closed around them, in tear down. */
static void closed_while_they_sleep(void** state) {
  host_t* host = *state;

  for (int i = 0; i < CROWD; i++)
    begin(host, UINT32_MAX);
  for (int i = 0; i < CROWD; i++)
    begin(host, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(never_early),
    HOST_TEST(in_order_of_their_times),
    HOST_TEST(many),
    HOST_TEST(aborted),
    HOST_TEST(aborted_when_due),
    HOST_TEST(bad_calls),
    HOST_TEST(closed_while_they_sleep),
  };

  return cmocka_run_group_tests_name("sleep", tests, NULL, NULL);
}
