/* What tests without memory have in common: a whole life of a context, with the
 * nth allocation failing, for each n until none is left that could. */
#ifndef NT_TEST_FAILING_SWEEP_H
#define NT_TEST_FAILING_SWEEP_H

#include <curl/curl.h>
#include <limits.h>

#include "failing.h"
#include "folder.h"

enum {
  FAILING_MOST_RUNS = 3000,
  FAILING_PATIENCE_MS = 10000 /* longer: the run hangs */
};

/* libcurl fails in ways of its own, see test_alloc.c. It keeps the functions of
 * its first initialisation, and this comes before that of the first context. */
static inline void failing_keep_libcurl_out(void** state) {
  (void) state;
  assert_int_equal(curl_global_init(CURL_GLOBAL_ALL), CURLE_OK);
}

/* Until there is an event; when there is none for `lull_ms` memory comes back.
 */
static inline void failing_wait(nt_context_t* net, int lull_ms, long n) {
  if (nt_wait(net, lull_ms))
    return;
  failing_relent();
  if (!nt_wait(net, FAILING_PATIENCE_MS))
    fail_msg("n = %ld: it waits for ever", n);
}

/* As many blocks live as before, at once: after nt_close() nothing is ours. */
static inline long failing_expect_live(long before, long n) {
  long live = atomic_load(&failing_live);

  if (live != before)
    fail_msg("n = %ld: %ld blocks leaked", n, live - before);
  return live;
}

/* True when no allocation was left to fail. With LONG_MAX none does. */
typedef bool (*failing_run_t)(void* arg, failing_mode_t mode, long n);

/* Fails unless the blocks that live after the nth run are what they should be,
 * `before` being what there were before it; returns how many there are. */
typedef long (*failing_expect_t)(long before, long n);

static inline void failing_sweep_expecting(failing_run_t run, void* arg,
                                           failing_mode_t mode, long least,
                                           failing_expect_t expect) {
  bool complete = false;
  long live;
  long n;

  run(arg, mode, LONG_MAX); /* what is allocated once for all */
  live = atomic_load(&failing_live);
  for (n = 1; !complete; n++) {
    assert_true(n < FAILING_MOST_RUNS);
    complete = run(arg, mode, n);
    live = expect(live, n);
  }
  assert_true(n > least);
}

/* `least`: with fewer runs it cannot have done what it should. */
static inline void failing_sweep(failing_run_t run, void* arg,
                                 failing_mode_t mode, long least) {
  failing_sweep_expecting(run, arg, mode, least, failing_expect_live);
}

/* The same with a folder_t* that is made for it. */
static inline void failing_sweep_in_folder(failing_run_t run,
                                           failing_mode_t mode, long least) {
  folder_t folder;

  folder_make(&folder);
  failing_sweep(run, &folder, mode, least);
  folder_remove(&folder);
}

#endif
