/* Jobs for the cache on disk. Each lies in a block of its own, with all that it
 * needs, and may outlive the store. What the disk says of other processes and
 * of its size comes with every one of them.
 *
 * I/O thread, but for run(). */
#include "cache_job.h"

#include <string.h>

enum {
  BARRED_MAX = 64
};

/* ---- The block ----------------------------------------------------------- */

nt__cache_job_t* nt__cache_job_new(nt__cache_file_t* file,
                                   nt__cache_action_t action, const char* key) {
  size_t size = key == NULL ? 0 : strlen(key) + 1;
  nt__cache_job_t* job = nt__calloc(sizeof(*job) + size);

  if (job == NULL)
    return NULL;
  nt__list_init(&job->waits);
  nt__node_init(&job->node);
  if (file != NULL)
    job->file = nt__cache_file_ref(file);
  job->call.action = action;
  if (key != NULL)
    job->call.key = memcpy(job->key, key, size);
  return job;
}

void nt__cache_job_free(nt__cache_job_t* job) {
  nt__cache_call_t* call;

  if (job == NULL)
    return;
  call = &job->call;
  while (call->count > 0)
    nt__answer_unref(call->answers[--call->count]);
  nt__answer_unref(call->answer);
  nt__spot_unref(call->spot);
  nt__body_unref(call->body);
  nt__free(call->data);
  nt__cache_file_unref(job->file);
  nt__free(job);
}

/* ---- Storage thread ------------------------------------------------------ */

static void run(nt__job_t* base, nt__files_t* files) {
  nt__cache_job_t* job = nt__container_of(base, nt__cache_job_t, job);

  nt__cache_file_run(&files->caches, job->file, &job->call);
}

/* ---- I/O thread ---------------------------------------------------------- */

static void on_trimmed(nt__cache_job_t* job);

/* There is more on disk than there may be. */
static void trim(nt__cache_store_t* store) {
  nt__cache_job_t* job;

  if (store->trimming)
    return;
  job = nt__cache_job_new(store->file, NT__CACHE_TRIM, NULL);
  if (job == NULL)
    return;
  job->on_done = on_trimmed;
  job->job.patient = true;
  store->trimming = nt__cache_job_post(store->ctx, store, job) == 0;
}

static void on_trimmed(nt__cache_job_t* job) {
  job->store->trimming = false;
}

/* What every job tells of the file, if that is still the store's. */
static void learn(nt__cache_store_t* store, const nt__cache_job_t* job) {
  const nt__cache_call_t* call = &job->call;

  if (job->file == NULL || job->file != store->file)
    return;
  if (call->changed)
    nt__memory_clear(&store->memory);
  if (call->looked)
    store->checked = nt__now(store->ctx);
  if (call->clock > store->clock)
    store->clock = call->clock;
}

static void on_done(nt__job_t* base) {
  nt__cache_job_t* job = nt__container_of(base, nt__cache_job_t, job);
  nt__cache_store_t* store = job->store;

  if (store == NULL) {
    nt__cache_job_free(job);
    return;
  }
  store->writing -= job->weight;
  learn(store, job);
  if (job->on_done != NULL)
    job->on_done(job);
  if (job->store != NULL) { /* it may have been closed */
    nt__list_remove(&job->node);
    if (job->call.full && job->call.error == 0 && job->file == store->file)
      trim(store);
  }
  nt__cache_job_free(job);
}

int nt__cache_job_post(nt_context_t* ctx, nt__cache_store_t* store,
                       nt__cache_job_t* job) {
  int err = nt__storage_open(ctx);

  if (err) {
    nt__cache_job_free(job);
    return err;
  }
  job->store = store;
  job->job.run = run;
  job->job.done = on_done;
  if (store != NULL) {
    job->call.max = store->max;
    nt__list_append(&store->jobs, &job->node);
    store->writing += job->weight;
    store->used = true;
  }
  nt__storage_post(ctx, &job->job);
  return 0;
}

/* ---- URLs that the disk is not asked for --------------------------------- */

typedef struct bar {
  nt__node_t node;
  char key[];
} bar_t;

static bar_t* find_bar(const nt__cache_store_t* store, const char* key) {
  nt__node_t* node;

  for (node = store->bars.next; node != &store->bars; node = node->next) {
    bar_t* bar = nt__container_of(node, bar_t, node);

    if (strcmp(bar->key, key) == 0)
      return bar;
  }
  return NULL;
}

static void lift(nt__cache_store_t* store, bar_t* bar) {
  nt__list_remove(&bar->node);
  store->bar_count--;
  nt__free(bar);
}

void nt__cache_unbar_all(nt__cache_store_t* store) {
  while (!nt__list_empty(&store->bars))
    lift(store, nt__container_of(store->bars.next, bar_t, node));
  store->unsure = false;
}

void nt__cache_bar(nt__cache_store_t* store, const char* key) {
  size_t size = key == NULL ? 0 : strlen(key) + 1;
  bar_t* bar = NULL;

  if (key != NULL && find_bar(store, key) != NULL)
    return;
  if (key != NULL && store->bar_count < BARRED_MAX)
    bar = nt__malloc(sizeof(*bar) + size);
  if (bar == NULL) {
    store->unsure = true;
    return;
  }
  memcpy(bar->key, key, size);
  nt__list_append(&store->bars, &bar->node);
  store->bar_count++;
}

bool nt__cache_unbar(nt__cache_store_t* store, const char* key) {
  bar_t* bar = find_bar(store, key);

  if (bar != NULL)
    lift(store, bar);
  return bar != NULL;
}

bool nt__cache_has_disk(const nt__cache_store_t* store, const char* key) {
  return store->file != NULL && !store->unsure &&
         (store->bar_count == 0 || find_bar(store, key) == NULL);
}
