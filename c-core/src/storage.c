/* The storage thread: a queue of jobs, run one after the other, so that those
 * of one file stay in order; and a queue of what was done, which the I/O thread
 * takes in its next turn.
 *
 * The number of jobs is bounded by those who post them: each has a few for each
 * of its files.
 *
 * At the end the thread is not waited for without limit, since a disk may hang
 * for ever. So what it touches belongs to it: the context has one reference to
 * the storage, the thread the other, and after stop it never looks at the
 * context again. */
#include "storage.h"

#include <string.h>

#include "cache_file.h"

#ifndef _WIN32
#  include <pthread.h>
#endif

struct nt__storage {
  uv_mutex_t mutex; /* guards what follows */
  uv_cond_t changed;
  nt__fifo_t jobs;
  nt__fifo_t results;
  nt_context_t* ctx; /* NULL after stop */
  bool ended;

  bool joined;             /* whoever waits for the end */
  atomic_bool has_results; /* the I/O thread looks without the mutex */
  atomic_uint refs;
  uv_thread_t thread;
  nt__policy_t* policy;
  nt__files_t files; /* storage thread */
};

static void unref(nt__storage_t* storage) {
  if (atomic_fetch_sub(&storage->refs, 1) != 1)
    return;
  uv_cond_destroy(&storage->changed);
  uv_mutex_destroy(&storage->mutex);
  nt__policy_unref(storage->policy);
  nt__free(storage);
}

/* ---- Storage thread ------------------------------------------------------ */

/* NULL when the context has ended and nothing is left to do. */
static nt__job_t* next_job(nt__storage_t* storage) {
  nt__link_t* link;

  uv_mutex_lock(&storage->mutex);
  while (storage->jobs.first == NULL && storage->ctx != NULL)
    uv_cond_wait(&storage->changed, &storage->mutex);
  link = nt__fifo_shift(&storage->jobs);
  uv_mutex_unlock(&storage->mutex);
  return link == NULL ? NULL : nt__container_of(link, nt__job_t, link);
}

/* As command.c does: either we see that the loop sleeps, or it sees the
 * result. Under the mutex, so that the loop is still there. */
static void report(nt__storage_t* storage, nt__job_t* job) {
  uv_mutex_lock(&storage->mutex);
  nt__fifo_push(&storage->results, &job->link);
  if (storage->ctx != NULL) {
    atomic_store(&storage->has_results, true);
    if (!job->patient || storage->jobs.first == NULL)
      nt__io_wake(storage->ctx);
  }
  uv_mutex_unlock(&storage->mutex);
}

static void tell_results(nt__storage_t* storage) {
  nt__fifo_t results;
  nt__link_t* link;

  uv_mutex_lock(&storage->mutex);
  results = storage->results;
  storage->results.first = storage->results.last = NULL;
  atomic_store(&storage->has_results, false);
  uv_mutex_unlock(&storage->mutex);
  while ((link = nt__fifo_shift(&results)) != NULL) {
    nt__job_t* job = nt__container_of(link, nt__job_t, link);

    job->done(job);
  }
}

static void storage_main(void* arg) {
  nt__storage_t* storage = arg;
  nt__job_t* job;

  nt__temp_dirs_sweep(storage->policy->values.temp_dir);
  while ((job = next_job(storage)) != NULL) {
    job->run(job, &storage->files);
    report(storage, job);
  }
  tell_results(storage);
  nt__temp_dirs_free(&storage->files.temp);
  nt__store_file_close(&storage->files.store);
  nt__cache_files_close(&storage->files.caches);
  uv_mutex_lock(&storage->mutex);
  storage->ended = true;
  uv_cond_broadcast(&storage->changed);
  uv_mutex_unlock(&storage->mutex);
  unref(storage);
}

/* ---- I/O thread ---------------------------------------------------------- */

static int init_sync(nt__storage_t* storage) {
  if (uv_mutex_init(&storage->mutex) != 0)
    return NT_E_SYSTEM;
  if (uv_cond_init(&storage->changed) == 0)
    return 0;
  uv_mutex_destroy(&storage->mutex);
  return NT_E_SYSTEM;
}

int nt__storage_open(nt_context_t* ctx) {
  nt__storage_t* storage;
  int err;

  if (ctx->io.storage != NULL)
    return 0;
  storage = nt__calloc(sizeof(*storage));
  if (storage == NULL)
    return NT_E_NOMEM;
  err = init_sync(storage);
  if (err) {
    nt__free(storage);
    return err;
  }
  storage->ctx = ctx;
  storage->policy = nt__policy_ref(ctx->io.policy);
  nt__list_init(&storage->files.parts);
  nt__temp_dirs_init(&storage->files.temp);
  atomic_init(&storage->refs, 2);
  /* It inherits the full signal mask of this thread. */
  if (uv_thread_create(&storage->thread, storage_main, storage) != 0) {
    atomic_store(&storage->refs, 1);
    unref(storage);
    return NT_E_SYSTEM;
  }
  ctx->io.storage = storage;
  return 0;
}

void nt__storage_post(nt_context_t* ctx, nt__job_t* job) {
  nt__storage_t* storage = ctx->io.storage;

  uv_mutex_lock(&storage->mutex);
  nt__fifo_push(&storage->jobs, &job->link);
  uv_mutex_unlock(&storage->mutex);
  /* Not before: who wakes up on this core would find the mutex taken. */
  uv_cond_broadcast(&storage->changed);
}

bool nt__storage_pending(const nt__storage_t* storage) {
  return storage != NULL && atomic_load(&storage->has_results);
}

void nt__storage_run(nt__storage_t* storage) {
  if (nt__storage_pending(storage))
    tell_results(storage);
}

void nt__storage_stop(nt__storage_t* storage) {
  if (storage == NULL)
    return;
  uv_mutex_lock(&storage->mutex);
  storage->ctx = NULL;
  uv_cond_broadcast(&storage->changed);
  uv_mutex_unlock(&storage->mutex);
}

/* ---- The end ------------------------------------------------------------- */

bool nt__storage_wait(nt__storage_t* storage, uint64_t deadline) {
  bool ended;

  if (storage == NULL)
    return true;
  uv_mutex_lock(&storage->mutex);
  while (!storage->ended) {
    uint64_t now = uv_hrtime();

    if (now >= deadline)
      break;
    uv_cond_timedwait(&storage->changed, &storage->mutex, deadline - now);
  }
  ended = storage->ended;
  uv_mutex_unlock(&storage->mutex);
  if (ended && !storage->joined)
    uv_thread_join(&storage->thread);
  storage->joined = ended;
  return ended;
}

void nt__storage_close(nt__storage_t* storage, uint64_t deadline) {
  if (storage == NULL)
    return;
#ifdef _WIN32
  nt__storage_wait(storage, deadline);
#else
  if (!nt__storage_wait(storage, deadline))
    pthread_detach(storage->thread);
#endif
  unref(storage);
}
