#include "spare.h"

#include "alloc.h"

enum {
  BLOCK_MIN = 4 * 1024, /* malloc's own caches serve what is smaller */
  BLOCK_MAX = 256 * 1024,
  BYTES_MAX = 2 * 1024 * 1024,
  LOOKS = 4 /* blocks looked at before another is made */
};

static nt__spare_block_t* block_of(nt__link_t* link) {
  return nt__container_of(link, nt__spare_block_t, link);
}

void nt__spare_give(nt__spare_t* spare, nt__spare_block_t* block) {
  nt__fifo_t one = { NULL, NULL };

  if (block->capacity < BLOCK_MIN || block->capacity > BLOCK_MAX ||
      atomic_load_explicit(&spare->bytes, memory_order_relaxed) +
              block->capacity >
          BYTES_MAX) {
    nt__free(block->memory);
    return;
  }
  atomic_fetch_add_explicit(&spare->bytes, block->capacity,
                            memory_order_relaxed);
  nt__fifo_push(&one, &block->link);
  nt__mailbox_post(&spare->returned, &one);
}

static nt__spare_block_t* shift(nt__spare_t* spare) {
  nt__link_t* link = nt__fifo_shift(&spare->own);
  nt__spare_block_t* block;

  if (link == NULL)
    return NULL;
  block = block_of(link);
  atomic_fetch_sub_explicit(&spare->bytes, block->capacity,
                            memory_order_relaxed);
  return block;
}

/* Big enough, and not so much that memory is wasted. */
static bool fits(const nt__spare_block_t* block, size_t size) {
  return block->capacity >= size && block->capacity / 4 <= size;
}

void* nt__spare_take(nt__spare_t* spare, size_t size, size_t* capacity) {
  int looks = size < BLOCK_MIN || size > BLOCK_MAX ? 0 : LOOKS;

  if (looks > 0 && spare->own.first == NULL)
    nt__mailbox_take(&spare->returned, &spare->own);
  while (looks-- > 0) {
    nt__spare_block_t* block = shift(spare);

    if (block == NULL)
      break;
    if (fits(block, size)) {
      *capacity = block->capacity;
      return block->memory;
    }
    nt__free(block->memory);
  }
  *capacity = size;
  return nt__malloc(size);
}

void nt__spare_free(nt__spare_t* spare) {
  nt__spare_block_t* block;

  nt__mailbox_take(&spare->returned, &spare->own);
  while ((block = shift(spare)) != NULL)
    nt__free(block->memory);
}
