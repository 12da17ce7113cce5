/* cache_store.c, cache_memory.c and cache_answer.c: what was put is found, what
 * was used least recently goes. In memory. */
#include "cache_host.h"

enum {
  SMALL_CAP = 64 << 10
};

static void hit_and_miss(void** state) {
  cache_t* cache = *state;

  cache_open(cache, NULL, 0);
  expect_none(cache, "http://a/");
  cache_put(cache, "http://a/", "one", NULL, "first");
  assert_true(cache_find(cache, "http://a/") == 1 && cache->at_once);
  expect_one(cache, "http://a/", "one", "first");
  assert_int_equal(cache->answers[0]->stored.status, 200);
  assert_int_equal(cache->answers[0]->stored.asked, 1000);
  assert_int_equal(cache->answers[0]->stored.answered, 2000);
  expect_none(cache, "http://a/b");
  cache_put(cache, "http://a/", "two", NULL, "second");
  expect_one(cache, "http://a/", "two", "second");
  cache_put(cache, "http://b/", "empty", NULL, "");
  expect_one(cache, "http://b/", "empty", "");
  cache_remove(cache, "http://a/");
  cache_remove(cache, "http://never/");
  expect_none(cache, "http://a/");
  expect_one(cache, "http://b/", "empty", "");
  cache_remove(cache, NULL);
  expect_none(cache, "http://b/");
  cache_close(cache);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    CACHE_TEST(hit_and_miss),
  };

  return cmocka_run_group_tests_name("cache_store", tests, NULL, NULL);
}
