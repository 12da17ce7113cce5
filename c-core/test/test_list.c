/* list.h: the two lists, and the mailbox between two threads. Under TSan the
 * mailbox tests also prove its memory order: letters carry plain fields. */
#include <pthread.h>

#include "check.h"
#include "list.h"

typedef struct item {
  nt__node_t node;
  nt__link_t link;
  unsigned sender;
  unsigned number;
} item_t;

static item_t* of_node(nt__node_t* node) {
  return nt__container_of(node, item_t, node);
}

static item_t* of_link(nt__link_t* link) {
  return nt__container_of(link, item_t, link);
}

/* ---- Doubly linked ------------------------------------------------------ */

/* Compares the members of `head`, both ways, with the digits of `expected`. */
static void assert_members(nt__node_t* head, const char* expected) {
  nt__node_t* node = head->next;
  const char* p;

  for (p = expected; *p != '\0'; p++, node = node->next) {
    assert_ptr_not_equal(node, head);
    assert_int_equal(of_node(node)->number, *p - '0');
    assert_ptr_equal(node->next->prev, node);
    assert_ptr_equal(node->prev->next, node);
  }
  assert_ptr_equal(node, head);
  assert_int_equal(nt__list_empty(head), expected[0] == '\0');
}

static void list_keeps_order(void** state) {
  item_t items[4];
  nt__node_t head;
  unsigned i;

  (void) state;
  nt__list_init(&head);
  assert_members(&head, "");
  assert_null(nt__list_shift(&head));
  for (i = 0; i < 4; i++) {
    items[i].number = i;
    nt__node_init(&items[i].node);
    assert_false(nt__node_linked(&items[i].node));
    nt__list_append(&head, &items[i].node);
    assert_true(nt__node_linked(&items[i].node));
  }
  assert_members(&head, "0123");
  nt__list_remove(&items[2].node);
  assert_false(nt__node_linked(&items[2].node));
  assert_members(&head, "013");
  assert_ptr_equal(nt__list_shift(&head), &items[0].node);
  assert_false(nt__node_linked(&items[0].node));
  nt__list_append(&head, &items[2].node);
  assert_members(&head, "132");
  nt__list_remove(&items[2].node);
  nt__list_remove(&items[1].node);
  nt__list_remove(&items[3].node);
  assert_members(&head, "");
}

/* ---- First in, first out ------------------------------------------------ */

static void fifo_keeps_order(void** state) {
  nt__fifo_t fifo = { NULL, NULL };
  item_t items[3];
  unsigned round;
  unsigned i;

  (void) state;
  assert_null(nt__fifo_shift(&fifo));
  for (round = 0; round < 2; round++) {
    for (i = 0; i < 3; i++)
      nt__fifo_push(&fifo, &items[i].link);
    for (i = 0; i < 3; i++)
      assert_ptr_equal(nt__fifo_shift(&fifo), &items[i].link);
    assert_null(nt__fifo_shift(&fifo));
    assert_null(fifo.first);
    assert_null(fifo.last);
  }
}

/* ---- Mailbox ------------------------------------------------------------ */

static void mailbox_takes_batches_in_order(void** state) {
  nt__mailbox_t box = { NULL };
  nt__fifo_t batch = { NULL, NULL };
  nt__fifo_t out = { NULL, NULL };
  item_t items[6];
  unsigned i;

  (void) state;
  nt__mailbox_post(&box, &batch); /* nothing */
  assert_true(nt__mailbox_empty(&box));
  nt__mailbox_take(&box, &out);
  assert_null(out.first);

  nt__fifo_push(&out, &items[0].link); /* take() appends */
  for (i = 1; i < 6; i++) {
    nt__fifo_push(&batch, &items[i].link);
    if (i % 2 == 1) { /* batches of 1, 2 and 2 */
      nt__mailbox_post(&box, &batch);
      assert_null(batch.first);
      assert_false(nt__mailbox_empty(&box));
    }
  }
  nt__mailbox_take(&box, &out);
  assert_true(nt__mailbox_empty(&box));
  for (i = 0; i < 6; i++)
    assert_ptr_equal(nt__fifo_shift(&out), &items[i].link);
  assert_null(nt__fifo_shift(&out));
}

enum {
  SENDERS = 3,
  LETTERS = 20000
};

typedef struct sender {
  pthread_t thread;
  nt__mailbox_t* box;
  unsigned index;
  item_t* items;
} sender_t;

/* Posts in batches of 1 to 7. */
static void* send_all(void* arg) {
  sender_t* sender = arg;
  nt__fifo_t batch = { NULL, NULL };
  unsigned i;

  for (i = 0; i < LETTERS; i++) {
    sender->items[i].sender = sender->index;
    sender->items[i].number = i;
    nt__fifo_push(&batch, &sender->items[i].link);
    if (i % 7 >= i % 5 || i == LETTERS - 1)
      nt__mailbox_post(sender->box, &batch);
  }
  return NULL;
}

/* Takes until all letters are there; each sender's come in order. */
static void receive(nt__mailbox_t* box, unsigned senders) {
  unsigned next[SENDERS] = { 0 };
  unsigned received = 0;

  while (received < senders * LETTERS) {
    nt__fifo_t letters = { NULL, NULL };
    nt__link_t* link;

    nt__mailbox_take(box, &letters);
    while ((link = nt__fifo_shift(&letters)) != NULL) {
      item_t* item = of_link(link);

      assert_in_range(item->sender, 0, senders - 1);
      assert_int_equal(item->number, next[item->sender]++);
      received++;
    }
  }
  assert_true(nt__mailbox_empty(box));
}

static void exchange(unsigned senders) {
  nt__mailbox_t box = { NULL };
  sender_t all[SENDERS];
  unsigned i;

  for (i = 0; i < senders; i++) {
    all[i].box = &box;
    all[i].index = i;
    all[i].items = calloc(LETTERS, sizeof(item_t));
    assert_non_null(all[i].items);
    assert_int_equal(pthread_create(&all[i].thread, NULL, send_all, &all[i]),
                     0);
  }
  receive(&box, senders);
  for (i = 0; i < senders; i++) {
    pthread_join(all[i].thread, NULL);
    free(all[i].items);
  }
}

static void mailbox_loses_nothing_between_two_threads(void** state) {
  (void) state;
  exchange(1);
}

static void mailbox_takes_letters_of_many_threads(void** state) {
  (void) state;
  exchange(SENDERS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(list_keeps_order),
    cmocka_unit_test(fifo_keeps_order),
    cmocka_unit_test(mailbox_takes_batches_in_order),
    cmocka_unit_test(mailbox_loses_nothing_between_two_threads),
    cmocka_unit_test(mailbox_takes_letters_of_many_threads),
  };

  return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
