/* buf.c: growth up to the maximum, and that a refused append changes nothing.
 */
#include <string.h>

#include "buf.h"
#include "check.h"
#include "nettask.h"

static void starts_empty(void** state) {
  nt__buf_t buf;

  (void) state;
  nt__buf_init(&buf, 10);
  assert_null(buf.data);
  assert_int_equal(buf.size, 0);
  assert_int_equal(buf.max, 10);
  nt__buf_free(&buf);
}

/* Appends pieces of every size up to 100 and compares with a plain array. */
static void keeps_what_is_appended(void** state) {
  static char expected[100 * 101 / 2];
  nt__buf_t buf;
  size_t total = 0;
  size_t size;

  (void) state;
  for (size = 0; size < sizeof(expected); size++)
    expected[size] = (char) (size * 7);
  nt__buf_init(&buf, 0);
  for (size = 0; size <= 100; size++) {
    assert_int_equal(nt__buf_append(&buf, expected + total, size), 0);
    total += size;
    assert_int_equal(buf.size, total);
    assert_memory_equal(buf.data, expected, total);
    assert_int_equal(buf.data[total], '\0');
    assert_true(buf.capacity >= buf.size);
  }
  nt__buf_free(&buf);
  assert_null(buf.data);
  assert_int_equal(buf.size, 0);
}

static void nothing_can_be_appended(void** state) {
  nt__buf_t buf;

  (void) state;
  nt__buf_init(&buf, 0);
  assert_int_equal(nt__buf_append(&buf, NULL, 0), 0);
  assert_int_equal(buf.size, 0);
  assert_string_equal(buf.data, "");
  nt__buf_free(&buf);
}

/* { first append, second append, maximum } -> result of the second */
static const struct {
  size_t first, second;
  uint64_t max;
  int result;
} limits[] = {
  { 0, 1, 1, 0 },
  { 0, 2, 1, NT_E_FULL },
  { 1, 0, 1, 0 },
  { 1, 1, 1, NT_E_FULL },
  { 5, 5, 10, 0 },
  { 5, 6, 10, NT_E_FULL },
  { 10, 1, 10, NT_E_FULL },
  { 300, 300, 600, 0 },
  { 300, 301, 600, NT_E_FULL },
  { 1, SIZE_MAX, 10, NT_E_NOMEM }, /* the sum overflows */
  { 1, SIZE_MAX - 1, 0, NT_E_NOMEM },
  { 1, SIZE_MAX / 2, 0, NT_E_NOMEM },
};

static void respects_the_maximum(void** state) {
  static const char bytes[512];
  nt__buf_t buf;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(limits); i++) {
    size_t expected = limits[i].first;

    nt__buf_init(&buf, limits[i].max);
    assert_int_equal(nt__buf_append(&buf, bytes, limits[i].first), 0);
    assert_int_equal(nt__buf_append(&buf, bytes, limits[i].second),
                     limits[i].result);
    if (limits[i].result == 0)
      expected += limits[i].second;
    assert_int_equal(buf.size, expected);
    assert_int_equal(buf.data[expected], '\0');
    assert_true(limits[i].max == 0 || buf.capacity <= limits[i].max);
    nt__buf_free(&buf);
  }
}

static void reserves(void** state) {
  nt__buf_t buf;
  char* data;
  int i;

  (void) state;
  nt__buf_init(&buf, 1000);
  assert_int_equal(nt__buf_reserve(&buf, 1001), NT_E_FULL);
  assert_null(buf.data);
  assert_int_equal(nt__buf_reserve(&buf, 1000), 0);
  assert_int_equal(nt__buf_reserve(&buf, 10), 0);
  assert_int_equal(buf.capacity, 1000);
  assert_int_equal(buf.size, 0);
  assert_string_equal(buf.data, "");
  data = buf.data;
  for (i = 0; i < 1000; i++)
    assert_int_equal(nt__buf_append(&buf, "x", 1), 0);
  assert_ptr_equal(buf.data, data);
  nt__buf_free(&buf);
}

/* Doubling: a million appends of a byte move the bytes a few times only. */
static void grows_by_doubling(void** state) {
  nt__buf_t buf;
  size_t capacity = 0;
  int moves = 0;
  int i;

  (void) state;
  nt__buf_init(&buf, 0);
  for (i = 0; i < 1000000; i++) {
    assert_int_equal(nt__buf_append(&buf, "x", 1), 0);
    moves += buf.capacity != capacity;
    capacity = buf.capacity;
  }
  assert_in_range(moves, 1, 20);
  nt__buf_free(&buf);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(starts_empty),
    cmocka_unit_test(keeps_what_is_appended),
    cmocka_unit_test(nothing_can_be_appended),
    cmocka_unit_test(respects_the_maximum),
    cmocka_unit_test(reserves),
    cmocka_unit_test(grows_by_doubling),
  };

  return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
