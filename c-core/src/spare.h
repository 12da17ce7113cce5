/* Blocks that one thread frees and the other allocates: what malloc is slowest
 * at, and what makes glibc give the top of the heap back to the system again
 * and again. Some of the small ones (of two sizes, so that each fits) and of
 * those of middle size go back to where they came from. */
#ifndef NT_SPARE_H
#define NT_SPARE_H

#include <stdatomic.h>
#include <stddef.h>

#include "list.h"

typedef struct nt__spare_pool {
  nt__fifo_t giving; /* links in the blocks; gathered by who frees them */
  size_t giving_bytes;
  nt__mailbox_t returned;
  nt__fifo_t own;             /* taken out of it by the thread that allocates */
  atomic_size_t given, taken; /* bytes so far */
} nt__spare_pool_t;

typedef struct nt__spare {
  nt__spare_pool_t tiny, small;
  nt__spare_pool_t middle;
} nt__spare_t;

/* What is known of a block that may be given back. */
typedef struct nt__spare_block {
  nt__link_t link;
  void* memory;
  size_t capacity; /* of `memory`, as nt__spare_take() told; 0: just freed */
} nt__spare_block_t;

/* The thread that frees. */
void nt__spare_give(nt__spare_t* spare, nt__spare_block_t* block);
/* The thread that allocates: at least `size` bytes and how many they are, or
 * NULL without memory. */
void* nt__spare_take(nt__spare_t* spare, size_t size, size_t* capacity);
/* When there is no other thread any more. */
void nt__spare_free(nt__spare_t* spare);

#endif
