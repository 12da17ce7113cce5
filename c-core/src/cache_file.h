/* The cache on disk. */
#ifndef NT_CACHE_FILE_H
#define NT_CACHE_FILE_H

#include <stdatomic.h>
#include <stdint.h>

/* Where an answer is on disk. */
typedef struct nt__spot {
  atomic_uint refs;
} nt__spot_t;

/* NULL is ignored. */
void nt__spot_unref(nt__spot_t* spot);

#endif
