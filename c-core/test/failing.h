/* An allocator that fails when it is told to, and that counts what is live.
 * libcurl allocates through it too, on every thread. */
#ifndef NT_TEST_FAILING_H
#define NT_TEST_FAILING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "check.h"
#include "nettask.h"

typedef enum failing_mode {
  FAILING_NEVER,
  FAILING_ONCE,  /* the nth call alone */
  FAILING_ALWAYS /* the nth and all that follow */
} failing_mode_t;

static atomic_int failing_mode;
static atomic_long failing_at;
static atomic_long failing_calls;
static atomic_bool failing_relented;
static atomic_long failing_live; /* blocks */

static inline void failing_start(failing_mode_t mode, long n) {
  atomic_store(&failing_mode, FAILING_NEVER);
  atomic_store(&failing_calls, 0);
  atomic_store(&failing_at, n);
  atomic_store(&failing_relented, false);
  atomic_store(&failing_mode, mode);
}

/* Memory comes back, for what seems to wait for it: how many calls the run
 * would have needed is not known then. */
static inline void failing_relent(void) {
  atomic_store(&failing_mode, FAILING_NEVER);
  atomic_store(&failing_relented, true);
}

/* Nothing fails any more. True when no call failed: the run needs no more than
 * n - 1. */
static inline bool failing_stop(void) {
  atomic_store(&failing_mode, FAILING_NEVER);
  return !atomic_load(&failing_relented) &&
         atomic_load(&failing_calls) < atomic_load(&failing_at);
}

static inline bool failing_now(void) {
  int mode = atomic_load(&failing_mode);
  long call;

  if (mode == FAILING_NEVER)
    return false;
  call = atomic_fetch_add(&failing_calls, 1) + 1;
  return mode == FAILING_ONCE ? call == atomic_load(&failing_at)
                              : call >= atomic_load(&failing_at);
}

static inline void* failing_malloc(size_t size) {
  void* ptr = failing_now() ? NULL : malloc(size);

  if (ptr != NULL)
    atomic_fetch_add(&failing_live, 1);
  return ptr;
}

static inline void* failing_realloc(void* old, size_t size) {
  void* ptr = failing_now() ? NULL : realloc(old, size);

  if (ptr != NULL && old == NULL)
    atomic_fetch_add(&failing_live, 1);
  return ptr;
}

static inline void failing_free(void* ptr) {
  if (ptr != NULL)
    atomic_fetch_sub(&failing_live, 1);
  free(ptr);
}

static inline int failing_install(void) {
  return nt_set_allocator(failing_malloc, failing_realloc, failing_free);
}

#endif
