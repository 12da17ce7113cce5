/* The store of the cache, used from a test: what has to be done on the I/O
 * thread is a task of our own, which the host starts and whose end it awaits.
 * There is no transfer, and no server. */
#ifndef NT_TEST_CACHE_HOST_H
#define NT_TEST_CACHE_HOST_H

#include "cache_job.h"
#include "cache_memory.h"
#include "cache_store.h"
#include "folder.h"
#include "host.h"
#include "transfer.h"

/* However slow the machine: only a test that wants it makes the store grow old.
 */
enum {
  KNOWN_MS = 3600 * 1000
};

typedef struct cache {
  host_t host;
  folder_t folder;
  nt__cache_store_t* store; /* I/O thread */
  /* What was found last. */
  nt__answer_t* answers[64];
  size_t count;
  bool at_once;
  int error;
} cache_t;

typedef struct step {
  nt__task_t task;
  nt__cache_wait_t wait;
  cache_t* cache;
  void (*run)(struct step* step);
  const char* key;
  nt__answer_t* answer;
  nt__answer_t* other;
  nt__body_t* body;
  uint64_t offset;
  size_t size;
  nt__cache_recorder_t* recorder;
  const char* data;
} step_t;

/* ---- Steps --------------------------------------------------------------- */

static inline step_t* step_of(nt__task_t* task) {
  return nt__container_of(task, step_t, task);
}

static inline void step_start(nt__task_t* task) {
  step_of(task)->run(step_of(task));
}

static inline void step_end(step_t* step) {
  nt__task_end(&step->task, 0);
}

static inline void step_abort(nt__task_t* task) {
  nt__task_end(task, 0);
}

static inline void step_resume(nt__task_t* task) {
  (void) task;
}

static inline void step_show(nt__task_t* task, nt_event_t* event) {
  (void) task;
  (void) event;
}

/* The step itself is its test's. */
static inline void step_release(nt__task_t* task) {
  nt__task_fini(task);
}

static const nt__task_class_t step_class = { .start = step_start,
                                             .abort = step_abort,
                                             .resume = step_resume,
                                             .show = step_show,
                                             .release = step_release };

/* Runs it on the I/O thread, until step_end(). */
static inline void cache_do(cache_t* cache, step_t* step,
                            void (*run)(step_t*)) {
  nt_event_t ev;
  nt_id_t id;

  memset(&step->task, 0, sizeof(step->task));
  memset(&step->wait, 0, sizeof(step->wait));
  step->task.class_ = &step_class;
  step->cache = cache;
  step->run = run;
  assert_int_equal(nt__task_open(cache->host.net, &id), 0);
  nt__task_start(cache->host.net, id, &step->task);
  host_end(&cache->host, id, &ev);
  assert_int_equal(nt_poll(cache->host.net, &ev), 0); /* gives the block back */
}

/* ---- A store ------------------------------------------------------------- */

static inline void run_open(step_t* step) {
  assert_int_equal(nt__cache_store_open(step->task.ctx, &step->cache->store),
                   0);
  step->cache->store->known_ms = KNOWN_MS;
  step_end(step);
}

static inline void run_configure(step_t* step) {
  nt__cache_store_configure(step->cache->store);
  step_end(step);
}

static inline void run_close(step_t* step) {
  nt__cache_store_close(step->cache->store);
  step->cache->store = NULL;
  step_end(step);
}

static inline void cache_let_go(cache_t* cache) {
  while (cache->count > 0)
    nt__answer_unref(cache->answers[--cache->count]);
}

static inline void cache_policy(cache_t* cache, const char* dir, uint64_t max) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  policy.cache_dir = dir;
  policy.cache_max_bytes = max;
  assert_int_equal(nt_policy_set(cache->host.net, &policy), 0);
}

static inline void cache_configure(cache_t* cache, const char* dir,
                                   uint64_t max) {
  step_t step = { 0 };

  cache_policy(cache, dir, max);
  cache_do(cache, &step, run_configure);
}

/* `dir` NULL: in memory. */
static inline void cache_open(cache_t* cache, const char* dir, uint64_t max) {
  step_t step = { 0 };

  assert_int_equal(nt_open(&cache->host.net), 0);
  cache_policy(cache, dir, max);
  cache_do(cache, &step, run_open);
}

static inline void cache_close(cache_t* cache) {
  step_t step = { 0 };

  cache_let_go(cache);
  if (cache->store != NULL)
    cache_do(cache, &step, run_close);
  assert_int_equal(host_close(cache->host.net), 0);
}

static inline int cache_set_up(void** state) {
  cache_t* cache = calloc(1, sizeof(*cache));

  if (cache == NULL)
    return -1;
  folder_make(&cache->folder);
  *state = cache;
  return 0;
}

static inline int cache_tear_down(void** state) {
  cache_t* cache = *state;

  folder_remove(&cache->folder);
  free(cache);
  return 0;
}

#define CACHE_TEST(name)                                                       \
  cmocka_unit_test_setup_teardown(name, cache_set_up, cache_tear_down)

/* ---- Answers ------------------------------------------------------------- */

/* With one header, and one field that it varies with, both may be NULL. */
static inline nt__stored_t stored_of(int status, const char* note,
                                     const char* vary) {
  static char headers[256];
  static char varying[256];
  nt__stored_t stored = { .status = status, .asked = 1000, .answered = 2000 };
  int size;

  if (note != NULL) {
    size = snprintf(headers, sizeof(headers), "note%c%s", 0, note) + 1;
    stored.headers = (nt_headers_t){ headers, (size_t) size, 1 };
  }
  if (vary != NULL) {
    size = snprintf(varying, sizeof(varying), "accept%c%s", 0, vary) + 1;
    stored.varying = (nt_headers_t){ varying, (size_t) size, 1 };
  }
  return stored;
}

/* Bytes that nobody would make up. */
static inline char* body_bytes(uint64_t seed, size_t size) {
  char* data = malloc(size + 1);
  size_t i;

  assert_non_null(data);
  for (i = 0; i < size; i++)
    data[i] = (char) (seed * 31 + i * 7 + (i >> 8) * 3);
  return data;
}

static inline nt__body_t* body_of(const void* data, size_t size) {
  nt__body_t* body;
  nt__buf_t buf;

  nt__buf_init(&buf, 0);
  assert_int_equal(nt__buf_append(&buf, data, size), 0);
  body = nt__body_take(&buf);
  assert_non_null(body);
  return body;
}

static inline nt__answer_t* answer_of(const char* key, const char* note,
                                      const char* vary, const void* data,
                                      size_t size) {
  nt__stored_t stored = stored_of(200, note, vary);
  nt__answer_t* answer = nt__answer_new(key, &stored);

  assert_non_null(answer);
  answer->body = body_of(data, size);
  answer->size = size;
  return answer;
}

static inline const char* note_of(const nt__answer_t* answer) {
  return answer->stored.headers.bytes + sizeof("note");
}

/* ---- What the store does ------------------------------------------------- */

static inline void run_put(step_t* step) {
  nt__cache_put(step->cache->store, step->answer);
  step_end(step);
}

static inline void cache_put_bytes(cache_t* cache, const char* key,
                                   const char* note, const char* vary,
                                   const void* data, size_t size) {
  step_t step = { .answer = answer_of(key, note, vary, data, size) };

  cache_do(cache, &step, run_put);
  nt__answer_unref(step.answer);
}

static inline void cache_put(cache_t* cache, const char* key, const char* note,
                             const char* vary, const char* text) {
  cache_put_bytes(cache, key, note, vary, text, strlen(text));
}

static inline void take_found(step_t* step) {
  cache_t* cache = step->cache;

  for (cache->count = 0; cache->count < step->wait.count; cache->count++)
    cache->answers[cache->count] = step->wait.answers[cache->count];
  step_end(step);
}

static inline void on_found(nt__cache_wait_t* wait, int error) {
  step_t* step = nt__container_of(wait, step_t, wait);

  step->cache->error = error;
  take_found(step);
}

static inline void run_find(step_t* step) {
  cache_t* cache = step->cache;

  step->wait.on_done = on_found;
  cache->error = 0;
  cache->at_once = nt__cache_find(cache->store, step->key, &step->wait);
  if (cache->at_once)
    take_found(step);
}

/* How many there are; they are in `answers`. */
static inline size_t cache_find(cache_t* cache, const char* key) {
  step_t step = { .key = key };

  cache_let_go(cache);
  cache_do(cache, &step, run_find);
  return cache->count;
}

static inline void on_bytes(nt__cache_wait_t* wait, int error) {
  step_t* step = nt__container_of(wait, step_t, wait);

  step->cache->error = error;
  step->body = wait->body;
  step_end(step);
}

static inline void run_load(step_t* step) {
  cache_t* cache = step->cache;

  step->wait.on_done = on_bytes;
  cache->error = 0;
  cache->at_once = nt__cache_load(cache->store, step->answer, &step->wait);
  if (cache->at_once)
    on_bytes(&step->wait, 0);
}

static inline void run_read(step_t* step) {
  cache_t* cache = step->cache;

  step->wait.on_done = on_bytes;
  cache->error = 0;
  cache->at_once = nt__cache_read(cache->store, step->answer, step->offset,
                                  step->size, &step->wait);
  if (cache->at_once)
    on_bytes(&step->wait, 0);
}

/* NULL, or a reference. */
static inline nt__body_t* cache_load(cache_t* cache, nt__answer_t* answer) {
  step_t step = { .answer = answer };

  cache_do(cache, &step, run_load);
  return step.body;
}

static inline nt__body_t* cache_read(cache_t* cache, nt__answer_t* answer,
                                     uint64_t offset, size_t size) {
  step_t step = { .answer = answer, .offset = offset, .size = size };

  cache_do(cache, &step, run_read);
  return step.body;
}

static inline void run_remove(step_t* step) {
  nt__cache_remove(step->cache->store, step->key);
  step_end(step);
}

static inline void cache_remove(cache_t* cache, const char* key) {
  step_t step = { .key = key };

  cache_do(cache, &step, run_remove);
}

static inline void run_touch(step_t* step) {
  nt__cache_touch(step->cache->store, step->answer);
  step_end(step);
}

static inline void cache_touch(cache_t* cache, nt__answer_t* answer) {
  step_t step = { .answer = answer };

  cache_do(cache, &step, run_touch);
}

static inline void run_replace(step_t* step) {
  nt__cache_replace(step->cache->store, step->answer, step->other);
  step_end(step);
}

/* With another note. */
static inline void cache_replace(cache_t* cache, nt__answer_t* old,
                                 const char* note) {
  nt__stored_t stored = stored_of(200, note, NULL);
  step_t step = { .answer = old };

  stored.varying = old->stored.varying;
  stored.answered = old->stored.answered + 1000;
  step.other = nt__answer_new(old->key, &stored);
  assert_non_null(step.other);
  cache_do(cache, &step, run_replace);
  nt__answer_unref(step.other);
}

/* ---- What is expected ---------------------------------------------------- */

static inline void expect_body(cache_t* cache, nt__answer_t* answer,
                               const void* data, size_t size) {
  nt__body_t* body = cache_load(cache, answer);

  assert_int_equal(cache->error, 0);
  assert_non_null(body);
  assert_int_equal(answer->size, size);
  assert_int_equal(body->size, size);
  if (size > 0) {
    assert_memory_equal(body->data, data, size);
    assert_int_equal(body->data[size], 0);
  }
  nt__body_unref(body);
}

/* One answer, with that note and that text. */
static inline void expect_one(cache_t* cache, const char* key, const char* note,
                              const char* text) {
  if (cache_find(cache, key) != 1)
    fail_msg("%s: %zu answers, not \"%s\"", key, cache->count, note);
  assert_string_equal(cache->answers[0]->key, key);
  assert_string_equal(note_of(cache->answers[0]), note);
  expect_body(cache, cache->answers[0], text, strlen(text));
}

static inline void expect_none(cache_t* cache, const char* key) {
  if (cache_find(cache, key) != 0)
    fail_msg("%s: %zu answers", key, cache->count);
}

#endif
