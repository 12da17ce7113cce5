#include "spare.h"

#include "alloc.h"

enum {
  TINY = 256, /* a message of a game with all that goes with it */
  SMALL = 512,
  MIDDLE_MIN = 4 * 1024, /* malloc's own caches serve what is between */
  MIDDLE_MAX = 256 * 1024,
  POOL_BYTES = 2 * 1024 * 1024,
  GIVE_BYTES = 4 * 1024, /* blocks go back by so much at once */
  LOOKS = 4              /* blocks looked at before another is made */
};

static nt__spare_block_t* block_of(nt__link_t* link) {
  return nt__container_of(link, nt__spare_block_t, link);
}

/* ---- Pools --------------------------------------------------------------- */

/* Each sum is written by one thread alone, so neither needs to be locked. That
 * of the other may be an old one: there is no more than this in the pool. */
static bool has_room(const nt__spare_pool_t* pool, size_t given) {
  return given - atomic_load_explicit(&pool->taken, memory_order_relaxed) <=
         POOL_BYTES;
}

static void give(nt__spare_pool_t* pool, nt__spare_block_t* block) {
  size_t given = atomic_load_explicit(&pool->given, memory_order_relaxed) +
                 block->capacity;

  if (!has_room(pool, given)) {
    nt__free(block->memory);
    return;
  }
  atomic_store_explicit(&pool->given, given, memory_order_relaxed);
  nt__fifo_push(&pool->giving, &block->link);
  pool->giving_bytes += block->capacity;
  if (pool->giving_bytes < GIVE_BYTES)
    return;
  nt__mailbox_post(&pool->returned, &pool->giving);
  pool->giving_bytes = 0;
}

static nt__spare_block_t* shift(nt__spare_pool_t* pool) {
  nt__link_t* link;
  nt__spare_block_t* block;
  size_t taken;

  if (pool->own.first == NULL)
    nt__mailbox_take(&pool->returned, &pool->own);
  link = nt__fifo_shift(&pool->own);
  if (link == NULL)
    return NULL;
  block = block_of(link);
  taken = atomic_load_explicit(&pool->taken, memory_order_relaxed);
  atomic_store_explicit(&pool->taken, taken + block->capacity,
                        memory_order_relaxed);
  return block;
}

static void free_all(nt__spare_pool_t* pool) {
  nt__spare_block_t* block;

  nt__fifo_join(&pool->own, &pool->giving);
  while ((block = shift(pool)) != NULL)
    nt__free(block->memory);
}

/* ---- Both ---------------------------------------------------------------- */

void nt__spare_give(nt__spare_t* spare, nt__spare_block_t* block) {
  size_t capacity = block->capacity;

  if (capacity == TINY)
    give(&spare->tiny, block);
  else if (capacity == SMALL)
    give(&spare->small, block);
  else if (capacity >= MIDDLE_MIN && capacity <= MIDDLE_MAX)
    give(&spare->middle, block);
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

static void* take_small(nt__spare_t* spare, size_t size, size_t* capacity) {
  bool tiny = size <= TINY;
  nt__spare_block_t* block = shift(tiny ? &spare->tiny : &spare->small);

  *capacity = tiny ? TINY : SMALL;
  return block != NULL ? block->memory : nt__malloc(*capacity);
}

void* nt__spare_take(nt__spare_t* spare, size_t size, size_t* capacity) {
  void* memory = NULL;

  if (size <= SMALL)
    return take_small(spare, size, capacity);
  if (size >= MIDDLE_MIN && size <= MIDDLE_MAX)
    memory = take_middle(spare, size, capacity);
  if (memory != NULL)
    return memory;
  *capacity = size;
  return nt__malloc(size);
}

void nt__spare_free(nt__spare_t* spare) {
  free_all(&spare->tiny);
  free_all(&spare->small);
  free_all(&spare->middle);
}
