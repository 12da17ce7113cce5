/* lookup.c: who may look up a name, and who waits. Nothing is looked up here;
 * the context is one of which nothing but the policy is used. */
#include <string.h>

#include "check.h"
#include "internal.h"
#include "lookup.h"

enum {
  NOT_CALLED = 1,
  MOST = 40
};

typedef struct seeker {
  nt__lookup_turn_t turn;
  int result; /* of on_turn() */
} seeker_t;

typedef struct fixture {
  nt_context_t ctx;
  seeker_t seekers[MOST];
} fixture_t;

static int set_up(void** state) {
  fixture_t* f = calloc(1, sizeof(*f));
  nt_policy_t values;

  if (f == NULL)
    return -1;
  nt_policy_init(&values, NT_PRESET_MINIPROGRAM);
  values.max_lookups = 2;
  f->ctx.io.policy = nt__policy_new(&values);
  *state = f;
  return f->ctx.io.policy == NULL ? -1 : nt__lookups_open(&f->ctx);
}

static int tear_down(void** state) {
  fixture_t* f = *state;

  nt__lookups_free(f->ctx.io.lookups);
  nt__policy_unref(f->ctx.io.policy);
  free(f);
  return 0;
}

static void on_turn(nt__lookup_turn_t* turn, int error) {
  seeker_t* seeker = nt__container_of(turn, seeker_t, turn);

  assert_int_equal(seeker->result, NOT_CALLED); /* once */
  seeker->result = error;
}

static bool begin(fixture_t* f, size_t i, const char* authority) {
  f->seekers[i].turn.on_turn = on_turn;
  f->seekers[i].result = NOT_CALLED;
  return nt__lookup_begin(f->ctx.io.lookups, &f->seekers[i].turn, authority);
}

static void end(fixture_t* f, size_t i, int error) {
  nt__lookup_end(f->ctx.io.lookups, &f->seekers[i].turn, error);
}

static void assert_result(const fixture_t* f, size_t i, int result) {
  assert_int_equal(f->seekers[i].result, result);
}

static void first_goes_ahead_others_follow(void** state) {
  fixture_t* f = *state;

  assert_true(begin(f, 0, "a:80"));
  assert_false(begin(f, 1, "a:80"));
  assert_false(begin(f, 2, "a:80"));
  assert_result(f, 1, NOT_CALLED);
  end(f, 0, 0);
  assert_result(f, 1, 0);
  assert_result(f, 2, 0);
  assert_true(begin(f, 3, "a:80")); /* a new lookup */
  end(f, 3, 0);
  end(f, 3, 0); /* harmless */
}

static void failure_reaches_those_that_wait(void** state) {
  fixture_t* f = *state;

  begin(f, 0, "a:80");
  begin(f, 1, "a:80");
  begin(f, 2, "a:80");
  end(f, 0, NT_E_RESOLVE);
  assert_result(f, 1, NT_E_RESOLVE);
  assert_result(f, 2, NT_E_RESOLVE);
}

/* An abort or a time-out says nothing about the name: the next one tries. */
static void next_one_tries(void** state) {
  fixture_t* f = *state;

  begin(f, 0, "a:80");
  begin(f, 1, "a:80");
  begin(f, 2, "a:80");
  end(f, 0, NT_E_ABORTED);
  assert_result(f, 1, 0);
  assert_result(f, 2, NOT_CALLED);
  end(f, 1, NT_E_TIMEOUT);
  assert_result(f, 2, 0);
  end(f, 2, 0);
}

static void few_at_once_in_order(void** state) {
  fixture_t* f = *state;

  assert_true(begin(f, 0, "a:80"));
  assert_true(begin(f, 1, "b:80"));
  assert_false(begin(f, 2, "c:80"));
  assert_false(begin(f, 3, "d:80"));
  assert_false(begin(f, 4, "c:80"));
  assert_false(begin(f, 5, "a:80")); /* waits for 0, needs no place */
  end(f, 0, 0);
  assert_result(f, 5, 0);
  assert_result(f, 2, 0);
  assert_result(f, 3, NOT_CALLED);
  assert_result(f, 4, NOT_CALLED);
  end(f, 1, NT_E_RESOLVE);
  assert_result(f, 3, 0);
  end(f, 2, 0);
  assert_result(f, 4, 0);
  end(f, 3, 0);
}

static void one_that_waits_may_leave(void** state) {
  fixture_t* f = *state;

  begin(f, 0, "a:80");
  begin(f, 1, "b:80");
  begin(f, 2, "c:80"); /* waits for a place */
  begin(f, 3, "a:80"); /* waits for 0 */
  end(f, 3, NT_E_ABORTED);
  end(f, 2, NT_E_ABORTED);
  end(f, 0, 0);
  assert_result(f, 2, NOT_CALLED);
  assert_result(f, 3, NOT_CALLED);
  assert_true(begin(f, 4, "c:80")); /* nothing is left of the old one */
  end(f, 4, 0);
  end(f, 1, 0);
}

static void another_port_is_another_name(void** state) {
  fixture_t* f = *state;

  assert_true(begin(f, 0, "a:80"));
  assert_true(begin(f, 1, "a:81"));
  end(f, 0, 0);
  end(f, 1, 0);
}

/* Random begins and ends of five names: never more than two lead, and in the
 * end everybody had a turn. */
static void never_too_many(void** state) {
  static const char* const names[] = { "a:1", "b:1", "c:1", "d:1", "e:1" };
  fixture_t* f = *state;
  bool leads[MOST] = { false };
  uint64_t random = 4711;
  size_t i;
  size_t round;
  size_t leading;

  for (i = 0; i < MOST; i++)
    leads[i] = begin(f, i, names[next_random(&random) % COUNT(names)]);
  for (round = 0; round < MOST; round++) {
    leading = 0;
    for (i = 0; i < MOST; i++)
      leading += f->seekers[i].turn.lookup != NULL && leads[i];
    assert_in_range(leading, 0, 2);
    for (i = 0; i < MOST; i++)
      if (f->seekers[i].turn.lookup != NULL && leads[i])
        break;
    if (i == MOST)
      break;
    end(f, i, round % 3 == 0 ? NT_E_ABORTED : 0);
    for (i = 0; i < MOST; i++)
      leads[i] = leads[i] || f->seekers[i].result == 0;
  }
  for (i = 0; i < MOST; i++) {
    assert_true(leads[i]);
    assert_null(f->seekers[i].turn.lookup);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
    TEST(first_goes_ahead_others_follow),
    TEST(failure_reaches_those_that_wait),
    TEST(next_one_tries),
    TEST(few_at_once_in_order),
    TEST(one_that_waits_may_leave),
    TEST(another_port_is_another_name),
    TEST(never_too_many),
  };

  return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
