/* The answers that are in memory: a shelf for each URL, with all that is stored
 * for it. What was used least recently goes, a whole shelf at a time, so that a
 * shelf never lacks what the disk has. I/O thread. */
#ifndef NT_CACHE_MEMORY_H
#define NT_CACHE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "cache_answer.h"
#include "list.h"
#include "table.h"

enum {
  NT__CACHE_VARIANTS = 32,    /* of one URL; the oldest makes room */
  NT__CACHE_ENTRY_BYTES = 256 /* what an answer costs beside its bytes */
};

typedef struct nt__shelf {
  nt__node_t node;        /* in the order of use */
  struct nt__shelf* next; /* with the same hash */
  uint64_t hash;
  uint64_t cost;
  nt__answer_t* answers[NT__CACHE_VARIANTS]; /* newest first */
  size_t count;
  char key[];
} nt__shelf_t;

typedef struct nt__memory {
  nt__table_t shelves; /* hash to the first of its shelves */
  nt__node_t order;    /* what was used last is last */
  uint64_t seed;
  uint64_t size; /* of all shelves */
  uint64_t max;  /* 0: no limit */
  bool alone;    /* there is no disk behind it */
} nt__memory_t;

/* What an answer counts, with a body of that size. */
uint64_t nt__answer_cost(const nt__answer_t* answer, uint64_t body_size);

void nt__memory_init(nt__memory_t* memory);
/* All shelves go. */
void nt__memory_clear(nt__memory_t* memory);
void nt__memory_free(nt__memory_t* memory);
/* What is too much for the new cap goes. */
void nt__memory_limit(nt__memory_t* memory, uint64_t max);

/* The shelf is used now. NULL: there is none. */
nt__shelf_t* nt__memory_find(nt__memory_t* memory, const char* key);
/* An empty one, where there is none. NULL without memory. */
nt__shelf_t* nt__memory_add(nt__memory_t* memory, const char* key);
void nt__memory_drop(nt__memory_t* memory, nt__shelf_t* shelf);

/* Takes the place of those with equal `varying`, and keeps a reference. The
 * shelf may go with it, when it is too large. */
void nt__memory_put(nt__memory_t* memory, nt__shelf_t* shelf,
                    nt__answer_t* answer);
/* In the place of `old`; false: that is not there. */
bool nt__memory_swap(nt__memory_t* memory, nt__shelf_t* shelf,
                     const nt__answer_t* old, nt__answer_t* fresh);

#endif
