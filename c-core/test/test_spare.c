/* spare.c: blocks that go from one thread to another and come back. Under TSan
 * the exchange also proves the memory order: blocks carry plain fields. */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "check.h"
#include "failing.h"
#include "spare.h"

enum {
  POOL_BYTES = 2 * 1024 * 1024,
  BATCH = 4096 / 256, /* as many tiny ones as go back at once */
  ROUNDS = 20000,
  IN_FLIGHT = 64
};

/* What lies at the start of each block. */
typedef struct item {
  nt__link_t link;
  nt__spare_block_t block;
  size_t size;
  size_t number;
} item_t;

static item_t* take(nt__spare_t* spare, size_t size) {
  size_t capacity = 0;
  item_t* item = nt__spare_take(spare, size, &capacity);

  assert_non_null(item);
  assert_true(capacity >= size);
  memset(item, 0x55, size); /* all of it is there */
  item->block.memory = item;
  item->block.capacity = capacity;
  item->size = size;
  return item;
}

static void blocks_have_the_size_of_their_pool(void** state) {
  static const size_t sizes[][2] = { { 64, 256 },   { 256, 256 },
                                     { 257, 512 },  { 512, 512 },
                                     { 513, 513 },  { 4095, 4095 },
                                     { 4096, 4096 } };
  nt__spare_t spare = { 0 };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(sizes); i++) {
    item_t* item = take(&spare, sizes[i][0]);

    assert_int_equal(item->block.capacity, sizes[i][1]);
    nt__spare_give(&spare, &item->block);
  }
  nt__spare_free(&spare);
}

static void what_was_given_comes_back(void** state) {
  static const size_t sizes[] = { 64, 300, 5000 };
  nt__spare_t spare = { 0 };
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(sizes); i++) {
    item_t* items[BATCH];
    size_t k;

    for (k = 0; k < BATCH; k++)
      items[k] = take(&spare, sizes[i]);
    for (k = 0; k < BATCH; k++)
      nt__spare_give(&spare, &items[k]->block);
    for (k = 0; k < BATCH; k++)
      assert_ptr_equal(take(&spare, sizes[i]), items[k]);
    for (k = 0; k < BATCH; k++)
      nt__spare_give(&spare, &items[k]->block);
  }
  nt__spare_free(&spare);
}

static void a_pool_is_bounded(void** state) {
  static const size_t sizes[] = { 256, 512, 64 * 1024 };
  long before = atomic_load(&failing_live);
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(sizes); i++) {
    nt__spare_t spare = { 0 };
    nt__fifo_t all = { NULL, NULL };
    nt__link_t* link;
    size_t bytes;

    for (bytes = 0; bytes <= POOL_BYTES + POOL_BYTES / 2; bytes += sizes[i])
      nt__fifo_push(&all, &take(&spare, sizes[i])->link);
    while ((link = nt__fifo_shift(&all)) != NULL)
      nt__spare_give(&spare, &nt__container_of(link, item_t, link)->block);
    assert_int_equal(atomic_load(&failing_live) - before,
                     POOL_BYTES / sizes[i]);
    nt__spare_free(&spare);
    assert_int_equal(atomic_load(&failing_live), before);
  }
}

/* ---- Two threads --------------------------------------------------------- */

typedef struct exchange {
  nt__spare_t spare;
  nt__mailbox_t sent;
  atomic_size_t received;
  bool in_order;
} exchange_t;

/* Gives back whatever comes. */
static void* receive(void* data) {
  exchange_t* exchange = data;
  size_t count = 0;

  exchange->in_order = true;
  while (count < ROUNDS) {
    nt__fifo_t letters = { NULL, NULL };
    nt__link_t* link;

    nt__mailbox_take(&exchange->sent, &letters);
    while ((link = nt__fifo_shift(&letters)) != NULL) {
      item_t* item = nt__container_of(link, item_t, link);

      exchange->in_order = exchange->in_order && item->number == count++;
      nt__spare_give(&exchange->spare, &item->block);
    }
    atomic_store(&exchange->received, count);
  }
  return NULL;
}

static void threads_exchange_blocks(void** state) {
  static const size_t sizes[] = { 100, 400, 8000 };
  long before = atomic_load(&failing_live);
  exchange_t exchange = { .in_order = false };
  pthread_t thread;
  size_t i;

  (void) state;
  assert_int_equal(pthread_create(&thread, NULL, receive, &exchange), 0);
  for (i = 0; i < ROUNDS; i++) {
    nt__fifo_t one = { NULL, NULL };
    item_t* item = take(&exchange.spare, sizes[i % COUNT(sizes)]);

    item->number = i;
    nt__fifo_push(&one, &item->link);
    nt__mailbox_post(&exchange.sent, &one);
    while (i + 1 - atomic_load(&exchange.received) > IN_FLIGHT)
      sched_yield();
  }
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(exchange.in_order);
  nt__spare_free(&exchange.spare);
  assert_int_equal(atomic_load(&failing_live), before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_have_the_size_of_their_pool),
    cmocka_unit_test(what_was_given_comes_back),
    cmocka_unit_test(a_pool_is_bounded),
    cmocka_unit_test(threads_exchange_blocks),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
