/* A whole life of a context in a folder of its own, with the nth allocation
 * failing, for each n until none is left that could. */
#ifndef NT_TEST_FAILING_SWEEP_H
#define NT_TEST_FAILING_SWEEP_H

#include <limits.h>

#include "failing.h"
#include "folder.h"

enum {
  FAILING_MOST_RUNS = 3000
};

/* True when no allocation was left to fail. */
typedef bool (*failing_run_t)(const folder_t* folder, failing_mode_t mode,
                              long n);

static inline void failing_sweep(failing_run_t run, failing_mode_t mode) {
  bool complete = false;
  folder_t folder;
  long live;
  long n;

  folder_make(&folder);
  run(&folder, mode, LONG_MAX); /* what is allocated once for all */
  live = atomic_load(&failing_live);
  for (n = 1; !complete; n++) {
    assert_true(n < FAILING_MOST_RUNS);
    complete = run(&folder, mode, n);
    if (atomic_load(&failing_live) != live)
      fail_msg("n = %ld: %ld blocks leaked", n,
               atomic_load(&failing_live) - live);
  }
  assert_true(n > 20);
  folder_remove(&folder);
}

#endif
