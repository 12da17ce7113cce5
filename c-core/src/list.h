/* Intrusive lists: the links live inside what they link, so that linking
 * cannot fail. Nothing here locks but the mailbox, which needs no lock. */
#ifndef NT_LIST_H
#define NT_LIST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define nt__container_of(pointer, type, member)                                \
  ((type*) (void*) ((char*) (pointer) -offsetof(type, member)))

/* ---- Doubly linked, with a head: members may leave from anywhere -------- */

typedef struct nt__node {
  struct nt__node* prev;
  struct nt__node* next;
} nt__node_t;

static inline void nt__list_init(nt__node_t* head) {
  head->prev = head->next = head;
}

static inline bool nt__list_empty(const nt__node_t* head) {
  return head->next == head;
}

/* Also the state of a node that is in no list. */
static inline void nt__node_init(nt__node_t* node) {
  node->prev = node->next = node;
}

static inline bool nt__node_linked(const nt__node_t* node) {
  return node->next != node;
}

static inline void nt__list_append(nt__node_t* head, nt__node_t* node) {
  node->prev = head->prev;
  node->next = head;
  head->prev->next = node;
  head->prev = node;
}

static inline void nt__list_remove(nt__node_t* node) {
  node->prev->next = node->next;
  node->next->prev = node->prev;
  nt__node_init(node);
}

static inline nt__node_t* nt__list_shift(nt__node_t* head) {
  nt__node_t* node = head->next;

  if (node == head)
    return NULL;
  nt__list_remove(node);
  return node;
}

/* ---- Singly linked, first in first out ---------------------------------- */

typedef struct nt__link {
  struct nt__link* next;
} nt__link_t;

typedef struct nt__fifo {
  nt__link_t* first;
  nt__link_t* last;
} nt__fifo_t;

static inline void nt__fifo_push(nt__fifo_t* fifo, nt__link_t* link) {
  link->next = NULL;
  if (fifo->last == NULL)
    fifo->first = link;
  else
    fifo->last->next = link;
  fifo->last = link;
}

static inline nt__link_t* nt__fifo_shift(nt__fifo_t* fifo) {
  nt__link_t* link = fifo->first;

  if (link == NULL)
    return NULL;
  fifo->first = link->next;
  if (fifo->first == NULL)
    fifo->last = NULL;
  return link;
}

/* Moves all of `from` behind what is in `fifo`. */
static inline void nt__fifo_join(nt__fifo_t* fifo, nt__fifo_t* from) {
  if (from->first == NULL)
    return;
  if (fifo->last == NULL)
    fifo->first = from->first;
  else
    fifo->last->next = from->first;
  fifo->last = from->last;
  from->first = from->last = NULL;
}

/* ---- Mailbox: between two threads --------------------------------------- */

/* A stack that producers push onto and the one consumer takes whole, which is
 * why it needs no lock and knows no ABA problem. Taking reverses it, so letters
 * come out in the order they went in. */
typedef struct nt__mailbox {
  _Atomic(nt__link_t*) top;
} nt__mailbox_t;

/* In order with the other atomics: who goes to sleep says so, and looks then.
 */
static inline bool nt__mailbox_empty(nt__mailbox_t* box) {
  return atomic_load(&box->top) == NULL;
}

/* Moves all of `letters` into the box. */
static inline void nt__mailbox_post(nt__mailbox_t* box, nt__fifo_t* letters) {
  nt__link_t* oldest = letters->first;
  nt__link_t* newest = NULL;
  nt__link_t* link;
  nt__link_t* top;

  while ((link = nt__fifo_shift(letters)) != NULL) {
    link->next = newest;
    newest = link;
  }
  if (newest == NULL)
    return;
  top = atomic_load(&box->top);
  do {
    oldest->next = top;
  } while (!atomic_compare_exchange_weak(&box->top, &top, newest));
}

/* Appends everything that is in the box to `out`, oldest first. */
static inline void nt__mailbox_take(nt__mailbox_t* box, nt__fifo_t* out) {
  nt__link_t* link = atomic_exchange(&box->top, NULL);
  nt__fifo_t all = { NULL, link };

  while (link != NULL) {
    nt__link_t* next = link->next;

    link->next = all.first;
    all.first = link;
    link = next;
  }
  nt__fifo_join(out, &all);
}

#endif
