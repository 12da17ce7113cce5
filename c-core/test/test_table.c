/* table.c: random operations against an array, which is slow and simple. */
#include <string.h>

#include "check.h"
#include "nettask.h"
#include "table.h"

enum {
  KEYS = 512,
  STEPS = 200000
};

/* The value of key i in the model, or NULL. */
typedef struct model {
  char marks[KEYS]; /* what the values point to */
  void* values[KEYS];
  size_t count;
} model_t;

static void empty_table_has_nothing(void** state) {
  nt__table_t table;
  size_t cursor = 0;

  (void) state;
  nt__table_init(&table);
  assert_null(nt__table_get(&table, 0));
  assert_null(nt__table_remove(&table, 7));
  assert_null(nt__table_next(&table, &cursor));
  nt__table_free(&table);
}

static void compare(const nt__table_t* table, const model_t* model,
                    uint64_t (*key_of)(size_t)) {
  char seen[KEYS] = { 0 };
  size_t cursor = 0;
  size_t walked = 0;
  size_t i;
  char* value;

  assert_int_equal(table->count, model->count);
  for (i = 0; i < KEYS; i++)
    assert_ptr_equal(nt__table_get(table, key_of(i)), model->values[i]);
  while ((value = nt__table_next(table, &cursor)) != NULL) {
    i = (size_t) (value - model->marks);
    assert_in_range(i, 0, KEYS - 1);
    assert_false(seen[i]);
    seen[i] = 1;
    walked++;
  }
  assert_int_equal(walked, model->count);
}

static void step(nt__table_t* table, model_t* model, size_t i, uint64_t key) {
  if (model->values[i] == NULL) {
    assert_int_equal(nt__table_add(table, key, &model->marks[i]), 0);
    model->values[i] = &model->marks[i];
    model->count++;
    return;
  }
  assert_ptr_equal(nt__table_remove(table, key), model->values[i]);
  model->values[i] = NULL;
  model->count--;
  assert_null(nt__table_remove(table, key));
}

static void run(uint64_t (*key_of)(size_t)) {
  static model_t model;
  nt__table_t table;
  uint64_t random = 88172645463325252u;
  size_t n;

  memset(&model, 0, sizeof(model));
  nt__table_init(&table);
  for (n = 0; n < STEPS; n++) {
    /* The range shrinks and grows, so that the table empties and fills. */
    size_t range = (n / 10000) % 2 ? 16 : KEYS;
    size_t i = (size_t) (next_random(&random) % range);

    step(&table, &model, i, key_of(i));
    if (n % 1000 == 0)
      compare(&table, &model, key_of);
    assert_true(table.count * 2 <= table.capacity);
  }
  compare(&table, &model, key_of);
  nt__table_free(&table);
}

static uint64_t consecutive(size_t i) {
  return i;
}

static uint64_t far_apart(size_t i) {
  return UINT64_MAX - (uint64_t) i * 0x100000001u;
}

/* Keys of one hash: all in one run of slots, which wraps around the end. The
 * inverse of the hash's multiplier makes the upper half of the product equal.
 */
static uint64_t colliding(size_t i) {
  uint64_t product = ((uint64_t) 0xffffffff << 32) | i;

  return product * 0xf1de83e19937733du;
}

static void behaves_with_consecutive_keys(void** state) {
  (void) state;
  run(consecutive);
}

static void behaves_with_keys_far_apart(void** state) {
  (void) state;
  run(far_apart);
}

static void behaves_with_colliding_keys(void** state) {
  (void) state;
  assert_int_equal((colliding(0) * 0x9e3779b97f4a7c15u) >> 32,
                   (colliding(KEYS - 1) * 0x9e3779b97f4a7c15u) >> 32);
  run(colliding);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(empty_table_has_nothing),
    cmocka_unit_test(behaves_with_consecutive_keys),
    cmocka_unit_test(behaves_with_keys_far_apart),
    cmocka_unit_test(behaves_with_colliding_keys),
  };

  return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
