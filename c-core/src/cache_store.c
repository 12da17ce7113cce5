/* What is stored, in memory. I/O thread. */
#include "cache_store.h"

#include <string.h>

#include "cache_memory.h"

enum {
  MEMORY_MAX = 16 << 20 /* of what the disk has as well */
};

struct nt__cache_store {
  nt_context_t* ctx;
  nt__memory_t memory;
  uint64_t max; /* 0: no limit */
};

struct nt__cache_recorder {
  nt__cache_store_t* store;
  nt__answer_t* answer;
  nt__buf_t bytes;
};

/* ---- Opening ------------------------------------------------------------- */

void nt__cache_store_configure(nt__cache_store_t* store) {
  const nt_policy_t* policy = &store->ctx->io.policy->values;

  store->max = policy->cache_max_bytes;
  store->memory.alone = true;
  nt__memory_limit(&store->memory, store->max);
}

int nt__cache_store_open(nt_context_t* ctx, nt__cache_store_t** out) {
  nt__cache_store_t* store = nt__calloc(sizeof(*store));

  if (store == NULL)
    return NT_E_NOMEM;
  store->ctx = ctx;
  nt__memory_init(&store->memory);
  nt__cache_store_configure(store);
  *out = store;
  return 0;
}

void nt__cache_store_close(nt__cache_store_t* store) {
  if (store == NULL)
    return;
  nt__memory_free(&store->memory);
  nt__free(store);
}

/* ---- Reading ------------------------------------------------------------- */

static void show(nt__cache_wait_t* wait, nt__shelf_t* shelf) {
  size_t i;

  for (i = 0; i < shelf->count; i++)
    nt__answer_ref(shelf->answers[i]);
  wait->answers = shelf->answers;
  wait->count = shelf->count;
}

bool nt__cache_find(nt__cache_store_t* store, const char* key,
                    nt__cache_wait_t* wait) {
  nt__shelf_t* shelf = nt__memory_find(&store->memory, key);

  if (shelf != NULL)
    show(wait, shelf);
  return true;
}

bool nt__cache_load(nt__cache_store_t* store, nt__answer_t* answer,
                    nt__cache_wait_t* wait) {
  (void) store;
  wait->body = nt__body_ref(answer->body);
  return true;
}

bool nt__cache_read(nt__cache_store_t* store, nt__answer_t* answer,
                    uint64_t offset, size_t size, nt__cache_wait_t* wait) {
  (void) offset;
  (void) size;
  return nt__cache_load(store, answer, wait);
}

void nt__cache_forget(nt__cache_wait_t* wait) {
  (void) wait;
}

/* ---- Writing ------------------------------------------------------------- */

uint64_t nt__cache_body_max(const nt__cache_store_t* store) {
  return store->max == 0 ? UINT64_MAX : store->max / 2;
}

void nt__cache_put(nt__cache_store_t* store, nt__answer_t* answer) {
  nt__shelf_t* shelf = nt__memory_find(&store->memory, answer->key);

  if (shelf == NULL)
    shelf = nt__memory_add(&store->memory, answer->key);
  if (shelf != NULL)
    nt__memory_put(&store->memory, shelf, answer);
}

void nt__cache_replace(nt__cache_store_t* store, nt__answer_t* old,
                       nt__answer_t* fresh) {
  nt__shelf_t* shelf = nt__memory_find(&store->memory, old->key);

  fresh->size = old->size;
  fresh->body = old->body == NULL ? NULL : nt__body_ref(old->body);
  if (shelf != NULL)
    nt__memory_swap(&store->memory, shelf, old, fresh);
}

void nt__cache_touch(nt__cache_store_t* store, nt__answer_t* answer) {
  nt__memory_find(&store->memory, answer->key);
}

void nt__cache_remove(nt__cache_store_t* store, const char* key) {
  nt__shelf_t* shelf;

  if (key == NULL) {
    nt__memory_clear(&store->memory);
    return;
  }
  shelf = nt__memory_find(&store->memory, key);
  if (shelf != NULL)
    nt__memory_drop(&store->memory, shelf);
}

/* ---- Recording ----------------------------------------------------------- */

nt__cache_recorder_t* nt__cache_record(nt__cache_store_t* store,
                                       const char* key,
                                       const nt__stored_t* stored) {
  nt__cache_recorder_t* recorder = nt__calloc(sizeof(*recorder));

  if (recorder == NULL)
    return NULL;
  recorder->store = store;
  nt__buf_init(&recorder->bytes, nt__cache_body_max(store));
  recorder->answer = nt__answer_new(key, stored);
  if (recorder->answer != NULL)
    return recorder;
  nt__free(recorder);
  return NULL;
}

int nt__cache_record_write(nt__cache_recorder_t* recorder, const void* data,
                           size_t size, void (*on_ready)(void* arg),
                           void* arg) {
  (void) on_ready;
  (void) arg;
  return nt__buf_append(&recorder->bytes, data, size);
}

void nt__cache_record_commit(nt__cache_recorder_t* recorder) {
  nt__answer_t* answer = recorder->answer;

  answer->size = recorder->bytes.size;
  answer->body = nt__body_take(&recorder->bytes);
  if (answer->body != NULL)
    nt__cache_put(recorder->store, answer);
  nt__cache_record_drop(recorder);
}

void nt__cache_record_drop(nt__cache_recorder_t* recorder) {
  if (recorder == NULL)
    return;
  nt__buf_free(&recorder->bytes);
  nt__answer_unref(recorder->answer);
  nt__free(recorder);
}
