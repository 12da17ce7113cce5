/* The cache on disk. */
#include "cache_file.h"

#include "alloc.h"

void nt__spot_unref(nt__spot_t* spot) {
  if (spot == NULL)
    return;
  if (atomic_fetch_sub_explicit(&spot->refs, 1, memory_order_acq_rel) == 1)
    nt__free(spot);
}
