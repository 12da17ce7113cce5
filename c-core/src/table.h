/* A hash table from 64-bit keys to pointers: ids to tasks, sockets to polls. */
#ifndef NT_TABLE_H
#define NT_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct nt__slot {
  uint64_t key;
  void* value; /* NULL: free */
} nt__slot_t;

typedef struct nt__table {
  nt__slot_t* slots;
  size_t capacity; /* a power of two, or 0 */
  size_t count;
} nt__table_t;

void nt__table_init(nt__table_t* table);
void nt__table_free(nt__table_t* table);

/* Adds a key that is not in the table; `value` is not NULL. NT_E_NOMEM. */
int nt__table_add(nt__table_t* table, uint64_t key, void* value);

/* NULL when the key is not there. */
void* nt__table_get(const nt__table_t* table, uint64_t key);
void* nt__table_remove(nt__table_t* table, uint64_t key);

/* Walks the values: `*cursor` starts at 0, NULL ends. The table may not change
 * meanwhile. */
void* nt__table_next(const nt__table_t* table, size_t* cursor);

#endif
