/* Open addressing, linear probing, at most half full. A removal moves later
 * slots back instead of leaving a tombstone, so lookups never degrade. Pure
 * logic; the owner's thread. */
#include "table.h"

#include <string.h>

#include "alloc.h"
#include "nettask.h"

void nt__table_init(nt__table_t* table) {
  memset(table, 0, sizeof(*table));
}

void nt__table_free(nt__table_t* table) {
  nt__free(table->slots);
  nt__table_init(table);
}

/* Fibonacci hashing: keys are consecutive numbers, which it spreads well. */
static size_t home(const nt__table_t* table, uint64_t key) {
  return (size_t) ((key * 0x9e3779b97f4a7c15u) >> 32) & (table->capacity - 1);
}

static size_t after(const nt__table_t* table, size_t index) {
  return (index + 1) & (table->capacity - 1);
}

/* The slot that holds `key`, or the free one where it belongs. */
static nt__slot_t* find(const nt__table_t* table, uint64_t key) {
  size_t i = home(table, key);

  while (table->slots[i].value != NULL && table->slots[i].key != key)
    i = after(table, i);
  return &table->slots[i];
}

static int grow(nt__table_t* table) {
  nt__table_t bigger = { NULL, table->capacity ? table->capacity * 2 : 16, 0 };
  size_t i;

  bigger.slots = nt__calloc(bigger.capacity * sizeof(*bigger.slots));
  if (bigger.slots == NULL)
    return NT_E_NOMEM;
  for (i = 0; i < table->capacity; i++)
    if (table->slots[i].value != NULL)
      *find(&bigger, table->slots[i].key) = table->slots[i];
  bigger.count = table->count;
  nt__free(table->slots);
  *table = bigger;
  return 0;
}

int nt__table_add(nt__table_t* table, uint64_t key, void* value) {
  nt__slot_t* slot;

  if (table->count >= table->capacity / 2 && grow(table) != 0)
    return NT_E_NOMEM;
  slot = find(table, key);
  slot->key = key;
  slot->value = value;
  table->count++;
  return 0;
}

void* nt__table_get(const nt__table_t* table, uint64_t key) {
  return table->capacity == 0 ? NULL : find(table, key)->value;
}

void* nt__table_remove(nt__table_t* table, uint64_t key) {
  nt__slot_t* slot;
  void* value;
  size_t hole;
  size_t i;

  if (table->capacity == 0)
    return NULL;
  slot = find(table, key);
  value = slot->value;
  if (value == NULL)
    return NULL;

  hole = (size_t) (slot - table->slots);
  for (i = after(table, hole); table->slots[i].value; i = after(table, i)) {
    size_t distance = i - home(table, table->slots[i].key);

    /* It may fill the hole unless its home lies behind the hole. */
    if ((distance & (table->capacity - 1)) >=
        ((i - hole) & (table->capacity - 1))) {
      table->slots[hole] = table->slots[i];
      hole = i;
    }
  }
  table->slots[hole].value = NULL;
  table->count--;
  return value;
}

void* nt__table_next(const nt__table_t* table, size_t* cursor) {
  while (*cursor < table->capacity) {
    void* value = table->slots[(*cursor)++].value;

    if (value != NULL)
      return value;
  }
  return NULL;
}
