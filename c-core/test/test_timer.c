/* timer.c on a real loop. What must hold is order, that nothing comes early,
 * and that the loop is never starved; how late a timer comes is the machine's
 * affair, so nothing here measures that. */
#include <string.h>
#include <uv.h>

#include "check.h"
#include "list.h"
#include "timer.h"

enum {
  MANY = 300,
  SPREAD_MS = 40
};

typedef struct fixture {
  uv_loop_t loop;
  nt__timers_t timers;
  unsigned fired;
  uint64_t last_due;
} fixture_t;

typedef struct alarm {
  nt__timer_t timer;
  fixture_t* fixture;
  unsigned fired;
  unsigned again;        /* how often it sets itself to "now" */
  struct alarm* victim;  /* cleared when this fires */
  struct alarm* delayed; /* moved when this fires */
} alarm_t;

static int set_up(void** state) {
  fixture_t* f = calloc(1, sizeof(*f));

  if (f == NULL || uv_loop_init(&f->loop) != 0)
    return -1;
  *state = f;
  return nt__timers_init(&f->timers, &f->loop);
}

static int tear_down(void** state) {
  fixture_t* f = *state;
  int err;

  nt__timers_close(&f->timers);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  err = uv_loop_close(&f->loop);
  free(f);
  return err;
}

static void on_due(nt__timer_t* timer) {
  alarm_t* alarm = nt__container_of(timer, alarm_t, timer);
  fixture_t* f = alarm->fixture;

  assert_true(uv_now(&f->loop) >= timer->due);
  assert_int_equal(timer->index, 0);
  alarm->fired++;
  f->fired++;
  f->last_due = timer->due;
  if (alarm->victim != NULL)
    nt__timer_clear(&f->timers, &alarm->victim->timer);
  if (alarm->delayed != NULL)
    nt__timer_set(&f->timers, &alarm->delayed->timer, uv_now(&f->loop) + 5);
  if (alarm->again > 0) {
    alarm->again--;
    nt__timer_set(&f->timers, timer, uv_now(&f->loop));
  }
}

static void on_due_in_order(nt__timer_t* timer) {
  alarm_t* alarm = nt__container_of(timer, alarm_t, timer);

  assert_true(timer->due >= alarm->fixture->last_due);
  on_due(timer);
}

static void prepare(fixture_t* f, alarm_t* alarm) {
  memset(alarm, 0, sizeof(*alarm));
  alarm->fixture = f;
  alarm->timer.on_due = on_due;
}

/* Every parent is due before its children, every timer knows its place. */
static void assert_heap(const nt__timers_t* timers) {
  size_t i;

  for (i = 0; i < timers->count; i++) {
    assert_int_equal(timers->heap[i]->index, i + 1);
    if (i > 0)
      assert_true(timers->heap[(i - 1) / 2]->due <= timers->heap[i]->due);
  }
}

static void fires_in_order_and_not_early(void** state) {
  static alarm_t alarms[MANY];
  fixture_t* f = *state;
  uint64_t random = 12345;
  uint64_t now = uv_now(&f->loop);
  size_t i;

  assert_int_equal(nt__timers_reserve(&f->timers, MANY), 0);
  for (i = 0; i < MANY; i++) {
    prepare(f, &alarms[i]);
    alarms[i].timer.on_due = on_due_in_order;
    nt__timer_set(&f->timers, &alarms[i].timer,
                  now + next_random(&random) % SPREAD_MS);
  }
  assert_heap(&f->timers);
  uv_run(&f->loop, UV_RUN_DEFAULT); /* returns, so the handle stopped too */
  assert_int_equal(f->fired, MANY);
  for (i = 0; i < MANY; i++)
    assert_int_equal(alarms[i].fired, 1);
}

/* Random sets, moves and clears; what is still set at the end fires. */
static void moves_and_clears(void** state) {
  static alarm_t alarms[MANY];
  fixture_t* f = *state;
  uint64_t random = 999;
  uint64_t now = uv_now(&f->loop);
  size_t i;
  int n;

  assert_int_equal(nt__timers_reserve(&f->timers, MANY), 0);
  for (i = 0; i < MANY; i++)
    prepare(f, &alarms[i]);
  for (n = 0; n < 20000; n++) {
    uint64_t r = next_random(&random);
    nt__timer_t* timer = &alarms[r % MANY].timer;

    if (r >> 60 < 4)
      nt__timer_clear(&f->timers, timer);
    else
      nt__timer_set(&f->timers, timer, now + (r >> 20) % SPREAD_MS);
    if (n % 500 == 0)
      assert_heap(&f->timers);
  }
  for (i = 0; i < MANY; i++)
    alarms[i].again = alarms[i].timer.index != 0; /* remembers: it is set */
  n = 0;
  for (i = 0; i < MANY; i++) {
    n += (int) alarms[i].again;
    alarms[i].again = 0;
  }
  assert_int_equal(f->timers.count, n);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(f->fired, n);
  for (i = 0; i < MANY; i++)
    assert_in_range(alarms[i].fired, 0, 1);
}

static void past_means_soon(void** state) {
  fixture_t* f = *state;
  alarm_t alarm;

  prepare(f, &alarm);
  assert_int_equal(nt__timers_reserve(&f->timers, 1), 0);
  nt__timer_set(&f->timers, &alarm.timer, 0);
  assert_int_equal(alarm.fired, 0); /* never inside the call */
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(alarm.fired, 1);
}

static void clearing_what_is_not_set_is_harmless(void** state) {
  fixture_t* f = *state;
  alarm_t alarm;

  prepare(f, &alarm);
  nt__timer_clear(&f->timers, &alarm.timer);
  assert_int_equal(nt__timers_reserve(&f->timers, 1), 0);
  nt__timer_set(&f->timers, &alarm.timer, uv_now(&f->loop) + 1);
  nt__timer_clear(&f->timers, &alarm.timer);
  nt__timer_clear(&f->timers, &alarm.timer);
  assert_int_equal(f->timers.count, 0);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(alarm.fired, 0);
}

/* A callback that clears and moves others of the same instant. */
static void callbacks_change_the_others(void** state) {
  fixture_t* f = *state;
  uint64_t due = uv_now(&f->loop) + 2;
  alarm_t first;
  alarm_t cleared;
  alarm_t moved;

  prepare(f, &first);
  prepare(f, &cleared);
  prepare(f, &moved);
  first.victim = &cleared;
  first.delayed = &moved;
  assert_int_equal(nt__timers_reserve(&f->timers, 3), 0);
  nt__timer_set(&f->timers, &first.timer, due);
  nt__timer_set(&f->timers, &cleared.timer, due + 1);
  nt__timer_set(&f->timers, &moved.timer, due + 1);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(first.fired, 1);
  assert_int_equal(cleared.fired, 0);
  assert_int_equal(moved.fired, 1);
  assert_true(f->last_due >= due + 5);
}

static void on_turn(uv_prepare_t* handle) {
  (*(unsigned*) handle->data)++;
}

/* libuv runs a 0 ms timer again in the same turn: one that sets itself from
 * its own callback must still let the loop turn. */
static void setting_itself_to_now_lets_the_loop_turn(void** state) {
  fixture_t* f = *state;
  unsigned turns = 0;
  uv_prepare_t prepare_handle;
  alarm_t alarm;

  prepare(f, &alarm);
  alarm.again = 50;
  uv_prepare_init(&f->loop, &prepare_handle);
  prepare_handle.data = &turns;
  uv_prepare_start(&prepare_handle, on_turn);
  uv_unref((uv_handle_t*) &prepare_handle);
  assert_int_equal(nt__timers_reserve(&f->timers, 1), 0);
  nt__timer_set(&f->timers, &alarm.timer, uv_now(&f->loop));
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(alarm.fired, 51);
  assert_true(turns >= 50);
  uv_close((uv_handle_t*) &prepare_handle, NULL);
  uv_run(&f->loop, UV_RUN_NOWAIT); /* the handle lies on the stack */
}

static void reserve_keeps_what_is_set(void** state) {
  static alarm_t alarms[MANY];
  fixture_t* f = *state;
  uint64_t now = uv_now(&f->loop);
  size_t i;

  for (i = 0; i < MANY; i++) {
    prepare(f, &alarms[i]);
    assert_int_equal(nt__timers_reserve(&f->timers, i + 1), 0);
    assert_true(f->timers.capacity >= i + 1);
    nt__timer_set(&f->timers, &alarms[i].timer, now + (MANY - i) % 7);
  }
  assert_heap(&f->timers);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(f->fired, MANY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
    TEST(fires_in_order_and_not_early),
    TEST(moves_and_clears),
    TEST(past_means_soon),
    TEST(clearing_what_is_not_set_is_harmless),
    TEST(callbacks_change_the_others),
    TEST(setting_itself_to_now_lets_the_loop_turn),
    TEST(reserve_keeps_what_is_set),
  };

  return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
