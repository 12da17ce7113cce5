/* The answers in memory. A table leads from the hash of a URL to its shelf; a
 * list has the shelves in the order in which they were used. I/O thread. */
#include "cache_memory.h"

#include <string.h>

#include "alloc.h"

uint64_t nt__answer_cost(const nt__answer_t* answer, uint64_t body_size) {
  return NT__CACHE_ENTRY_BYTES + strlen(answer->key) +
         answer->stored.headers.size + answer->stored.varying.size + body_size;
}

static uint64_t own_cost(const nt__answer_t* answer) {
  return nt__answer_cost(answer, answer->body == NULL ? 0 : answer->body->size);
}

/* FNV-1a, from a seed that nobody outside knows. */
static uint64_t hash_of(const nt__memory_t* memory, const char* key) {
  uint64_t hash = memory->seed;

  for (; *key != '\0'; key++)
    hash = (hash ^ (unsigned char) *key) * 0x100000001b3u;
  return hash ^ hash >> 32;
}

void nt__memory_init(nt__memory_t* memory) {
  memset(memory, 0, sizeof(*memory));
  nt__table_init(&memory->shelves);
  nt__list_init(&memory->order);
  if (nt_random(&memory->seed, sizeof(memory->seed)) != 0)
    memory->seed = 0xcbf29ce484222325u;
}

/* ---- Shelves ------------------------------------------------------------- */

static nt__shelf_t* look(const nt__memory_t* memory, uint64_t hash,
                         const char* key) {
  nt__shelf_t* shelf = nt__table_get(&memory->shelves, hash);

  while (shelf != NULL && strcmp(shelf->key, key) != 0)
    shelf = shelf->next;
  return shelf;
}

nt__shelf_t* nt__memory_find(nt__memory_t* memory, const char* key) {
  nt__shelf_t* shelf = look(memory, hash_of(memory, key), key);

  if (shelf != NULL) {
    nt__list_remove(&shelf->node);
    nt__list_append(&memory->order, &shelf->node);
  }
  return shelf;
}

static void charge(nt__memory_t* memory, nt__shelf_t* shelf, uint64_t cost) {
  shelf->cost += cost;
  memory->size += cost;
}

static void credit(nt__memory_t* memory, nt__shelf_t* shelf, uint64_t cost) {
  shelf->cost -= cost;
  memory->size -= cost;
}

/* The first of a hash is the one in the table. */
static bool link_shelf(nt__memory_t* memory, nt__shelf_t* shelf) {
  nt__shelf_t* first = nt__table_get(&memory->shelves, shelf->hash);

  if (first == NULL)
    return nt__table_add(&memory->shelves, shelf->hash, shelf) == 0;
  shelf->next = first->next;
  first->next = shelf;
  return true;
}

/* The slot in which the hash was is free for the next one. */
static void unlink_shelf(nt__memory_t* memory, nt__shelf_t* shelf) {
  nt__shelf_t* first = nt__table_get(&memory->shelves, shelf->hash);

  if (first != shelf) {
    while (first->next != shelf)
      first = first->next;
    first->next = shelf->next;
    return;
  }
  nt__table_remove(&memory->shelves, shelf->hash);
  if (shelf->next != NULL)
    nt__table_add(&memory->shelves, shelf->hash, shelf->next);
}

nt__shelf_t* nt__memory_add(nt__memory_t* memory, const char* key) {
  size_t size = strlen(key) + 1;
  nt__shelf_t* shelf = nt__calloc(sizeof(*shelf) + size);

  if (shelf == NULL)
    return NULL;
  memcpy(shelf->key, key, size);
  shelf->hash = hash_of(memory, key);
  if (!link_shelf(memory, shelf)) {
    nt__free(shelf);
    return NULL;
  }
  nt__list_append(&memory->order, &shelf->node);
  charge(memory, shelf, sizeof(*shelf) + size);
  return shelf;
}

void nt__memory_drop(nt__memory_t* memory, nt__shelf_t* shelf) {
  size_t i;

  unlink_shelf(memory, shelf);
  nt__list_remove(&shelf->node);
  memory->size -= shelf->cost;
  for (i = 0; i < shelf->count; i++)
    nt__answer_unref(shelf->answers[i]);
  nt__free(shelf);
}

static nt__shelf_t* oldest(nt__memory_t* memory) {
  return nt__container_of(memory->order.next, nt__shelf_t, node);
}

void nt__memory_clear(nt__memory_t* memory) {
  while (!nt__list_empty(&memory->order))
    nt__memory_drop(memory, oldest(memory));
}

void nt__memory_free(nt__memory_t* memory) {
  nt__memory_clear(memory);
  nt__table_free(&memory->shelves);
}

void nt__memory_limit(nt__memory_t* memory, uint64_t max) {
  memory->max = max;
  while (max != 0 && memory->size > max && !nt__list_empty(&memory->order))
    nt__memory_drop(memory, oldest(memory));
}

/* ---- Answers ------------------------------------------------------------- */

static bool same_varying(const nt__answer_t* a, const nt__answer_t* b) {
  const nt_headers_t* one = &a->stored.varying;
  const nt_headers_t* other = &b->stored.varying;

  return one->size == other->size &&
         (one->size == 0 || memcmp(one->bytes, other->bytes, one->size) == 0);
}

static void take_out(nt__memory_t* memory, nt__shelf_t* shelf, size_t index) {
  nt__answer_t* answer = shelf->answers[index];

  credit(memory, shelf, own_cost(answer));
  shelf->count--;
  memmove(&shelf->answers[index], &shelf->answers[index + 1],
          (shelf->count - index) * sizeof(shelf->answers[0]));
  nt__answer_unref(answer);
}

static void take_equal_out(nt__memory_t* memory, nt__shelf_t* shelf,
                           const nt__answer_t* answer) {
  size_t i = shelf->count;

  while (i-- > 0)
    if (same_varying(shelf->answers[i], answer))
      take_out(memory, shelf, i);
}

/* With nothing behind the memory better some of a shelf than none of it. */
static void keep_within(nt__memory_t* memory, nt__shelf_t* shelf) {
  while (memory->alone && memory->max != 0 && shelf->cost > memory->max &&
         shelf->count > 1)
    take_out(memory, shelf, shelf->count - 1);
  nt__memory_limit(memory, memory->max);
}

void nt__memory_put(nt__memory_t* memory, nt__shelf_t* shelf,
                    nt__answer_t* answer) {
  nt__answer_ref(answer); /* it may be the one that goes */
  take_equal_out(memory, shelf, answer);
  if (shelf->count == NT__CACHE_VARIANTS)
    take_out(memory, shelf, shelf->count - 1);
  memmove(&shelf->answers[1], &shelf->answers[0],
          shelf->count * sizeof(shelf->answers[0]));
  shelf->answers[0] = answer;
  shelf->count++;
  charge(memory, shelf, own_cost(answer));
  keep_within(memory, shelf);
}

static size_t place_of(const nt__shelf_t* shelf, const nt__answer_t* answer) {
  size_t i = 0;

  while (i < shelf->count && shelf->answers[i] != answer)
    i++;
  return i;
}

bool nt__memory_swap(nt__memory_t* memory, nt__shelf_t* shelf,
                     const nt__answer_t* old, nt__answer_t* fresh) {
  size_t at = place_of(shelf, old);

  if (at == shelf->count)
    return false;
  take_out(memory, shelf, at);
  nt__memory_put(memory, shelf, fresh);
  return true;
}
