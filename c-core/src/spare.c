#include "spare.h"

#include "alloc.h"

enum {
  SMALL = 512,           /* a message of a game with all that goes with it */
  MIDDLE_MIN = 4 * 1024, /* malloc's own caches serve what is between */
  MIDDLE_MAX = 256 * 1024,
  SMALL_BYTES = 512 * 1024,
  MIDDLE_BYTES = 2 * 1024 * 1024,
  LOOKS = 4 /* blocks looked at before another is made */
};

static nt__spare_block_t* block_of(nt__link_t* link) {
  return nt__container_of(link, nt__spare_block_t, link);
}

/* ---- Pools --------------------------------------------------------------- */

static void give(nt__spare_pool_t* pool, nt__spare_block_t* block, size_t max) {
  nt__fifo_t one = { NULL, NULL };

  if (atomic_load_explicit(&pool->bytes, memory_order_relaxed) +
          block->capacity >
      max) {
    nt__free(block->memory);
    return;
  }
  atomic_fetch_add_explicit(&pool->bytes, block->capacity,
                            memory_order_relaxed);
  nt__fifo_push(&one, &block->link);
  nt__mailbox_post(&pool->returned, &one);
}

static nt__spare_block_t* shift(nt__spare_pool_t* pool) {
  nt__link_t* link;
  nt__spare_block_t* block;

  if (pool->own.first == NULL)
    nt__mailbox_take(&pool->returned, &pool->own);
  link = nt__fifo_shift(&pool->own);
  if (link == NULL)
    return NULL;
  block = block_of(link);
  atomic_fetch_sub_explicit(&pool->bytes, block->capacity,
                            memory_order_relaxed);
  return block;
}

static void free_all(nt__spare_pool_t* pool) {
  nt__spare_block_t* block;

  while ((block = shift(pool)) != NULL)
    nt__free(block->memory);
}

/* ---- Both ---------------------------------------------------------------- */

void nt__spare_give(nt__spare_t* spare, nt__spare_block_t* block) {
  size_t capacity = block->capacity;

  if (capacity == SMALL)
    give(&spare->small, block, SMALL_BYTES);
  else if (capacity >= MIDDLE_MIN && capacity <= MIDDLE_MAX)
    give(&spare->middle, block, MIDDLE_BYTES);
  else
    nt__free(block->memory);
}

/* Big enough, and not so much that memory is wasted. */
static bool fits(const nt__spare_block_t* block, size_t size) {
  return block->capacity >= size && block->capacity / 4 <= size;
}

static void* take_middle(nt__spare_t* spare, size_t size, size_t* capacity) {
  int looks = LOOKS;

  while (looks-- > 0) {
    nt__spare_block_t* block = shift(&spare->middle);

    if (block == NULL)
      break;
    if (fits(block, size)) {
      *capacity = block->capacity;
      return block->memory;
    }
    nt__free(block->memory);
  }
  return NULL;
}

static void* take_small(nt__spare_t* spare, size_t* capacity) {
  nt__spare_block_t* block = shift(&spare->small);

  *capacity = SMALL;
  return block != NULL ? block->memory : nt__malloc(SMALL);
}

void* nt__spare_take(nt__spare_t* spare, size_t size, size_t* capacity) {
  void* memory = NULL;

  if (size <= SMALL)
    return take_small(spare, capacity);
  if (size >= MIDDLE_MIN && size <= MIDDLE_MAX)
    memory = take_middle(spare, size, capacity);
  if (memory != NULL)
    return memory;
  *capacity = size;
  return nt__malloc(size);
}

void nt__spare_free(nt__spare_t* spare) {
  free_all(&spare->small);
  free_all(&spare->middle);
}
