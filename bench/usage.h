/* How much memory the process uses. The heap's figure is exact, of all threads'
 * arenas; that of resident pages has the allocator's slack in it. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <malloc.h>
#include <unistd.h>

#include "measure.h"

typedef struct usage {
  double heap, resident; /* bytes */
} usage_t;

static inline usage_t usage(void) {
  usage_t use;
  long pages = 0;
  FILE* file;

  malloc_trim(0);
  use.heap = (double) mallinfo2().uordblks + (double) mallinfo2().hblkhd;
  file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1)
    die("statm", "cannot be read");
  fclose(file);
  use.resident = (double) pages * (double) sysconf(_SC_PAGESIZE);
  return use;
}

#endif
