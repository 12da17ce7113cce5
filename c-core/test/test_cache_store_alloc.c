/* The store of the cache without memory: a session repeats itself with the
 * first, second, third, ... of our allocations failing until none is left to
 * fail. Everything ends, what is found is right, what was removed is not found,
 * and all that was taken is given back. SQLite has memory of its own. */
#include "cache_host.h"
#include "failing_sweep.h"

enum {
  LARGE = 600 * 1024
};

static char* large;

/* All that happens on the I/O thread: each step is begun by the one before, and
 * the last one ends the task. */
typedef struct session {
  step_t step;
  const char* data; /* of "http://a/", NULL: it is not to be found */
  size_t size;
  nt__answer_t* found;
} session_t;

static session_t* session_of(nt__cache_wait_t* wait) {
  return nt__container_of(nt__container_of(wait, step_t, wait), session_t,
                          step);
}

static void put(nt__cache_store_t* store, const char* key, const char* data,
                size_t size) {
  nt__stored_t stored = { .status = 200 };
  nt__answer_t* answer = nt__answer_new(key, &stored);
  nt__buf_t buf;

  if (answer == NULL)
    return;
  nt__buf_init(&buf, 0);
  if (nt__buf_append(&buf, data, size) == 0)
    answer->body = nt__body_take(&buf);
  answer->size = size;
  if (answer->body != NULL)
    nt__cache_put(store, answer);
  nt__buf_free(&buf);
  nt__answer_unref(answer);
}

static void record(nt__cache_store_t* store, const char* key) {
  nt__stored_t stored = { .status = 200 };
  nt__cache_recorder_t* recorder = nt__cache_record(store, key, &stored);

  if (recorder == NULL)
    return;
  if (nt__cache_record_write(recorder, large, LARGE, NULL, NULL) == 0)
    nt__cache_record_commit(recorder);
  else
    nt__cache_record_drop(recorder);
}

static void replace(nt__cache_store_t* store, nt__answer_t* old) {
  nt__stored_t stored = { .status = 203 };
  nt__answer_t* fresh = nt__answer_new(old->key, &stored);

  if (fresh != NULL)
    nt__cache_replace(store, old, fresh);
  nt__answer_unref(fresh);
}

static void take_body(session_t* s) {
  nt__body_t* body = s->step.wait.body;

  if (body != NULL) {
    assert_int_equal(body->size, LARGE);
    assert_memory_equal(body->data, large, LARGE);
  }
  nt__body_unref(body);
  nt__answer_unref(s->found);
  step_end(&s->step);
}

static void on_loaded(nt__cache_wait_t* wait, int error) {
  (void) error;
  take_body(session_of(wait));
}

/* The last one: that of which the body is loaded. */
static void take_large(session_t* s) {
  nt__cache_wait_t* wait = &s->step.wait;
  nt__cache_store_t* store = s->step.cache->store;

  if (wait->count == 0) {
    step_end(&s->step);
    return;
  }
  assert_int_equal(wait->count, 1);
  assert_int_equal(wait->answers[0]->size, LARGE);
  s->found = wait->answers[0];
  memset(wait, 0, sizeof(*wait));
  wait->on_done = on_loaded;
  if (nt__cache_load(store, s->found, wait))
    take_body(s);
}

static void on_large(nt__cache_wait_t* wait, int error) {
  (void) error;
  take_large(session_of(wait));
}

static void find_large(session_t* s) {
  nt__cache_wait_t* wait = &s->step.wait;

  memset(wait, 0, sizeof(*wait));
  wait->on_done = on_large;
  if (nt__cache_find(s->step.cache->store, "http://large/", wait))
    take_large(s);
}

/* What was removed is never found again. */
static void take_removed(session_t* s) {
  assert_int_equal(s->step.wait.count, 0);
  find_large(s);
}

static void on_removed(nt__cache_wait_t* wait, int error) {
  (void) error;
  take_removed(session_of(wait));
}

static void remove_small(session_t* s) {
  nt__cache_store_t* store = s->step.cache->store;
  nt__cache_wait_t* wait = &s->step.wait;

  record(store, "http://large/");
  nt__cache_remove(store, "http://small/");
  memset(wait, 0, sizeof(*wait));
  wait->on_done = on_removed;
  if (nt__cache_find(store, "http://small/", wait))
    take_removed(s);
}

static void take_small(session_t* s) {
  nt__cache_wait_t* wait = &s->step.wait;
  nt__answer_t* answer;

  if (wait->count > 0) {
    assert_int_equal(wait->count, 1);
    answer = wait->answers[0];
    assert_int_equal(answer->size, 5);
    assert_string_equal(answer->body->data, "value");
    replace(s->step.cache->store, answer);
    nt__cache_touch(s->step.cache->store, answer);
    nt__answer_unref(answer);
  }
  remove_small(s);
}

static void on_small(nt__cache_wait_t* wait, int error) {
  (void) error;
  take_small(session_of(wait));
}

static void run_session_step(step_t* step) {
  session_t* s = nt__container_of(step, session_t, step);
  nt__cache_store_t* store;

  if (nt__cache_store_open(step->task.ctx, &step->cache->store) != 0) {
    step_end(step);
    return;
  }
  store = step->cache->store;
  put(store, "http://small/", "value", 5);
  put(store, "http://medium/", large, 100 * 1024);
  step->wait.on_done = on_small;
  if (nt__cache_find(store, "http://small/", &step->wait))
    take_small(s);
}

static void run_close_step(step_t* step) {
  nt__cache_store_close(step->cache->store);
  step_end(step);
}

/* ---- The sweep ----------------------------------------------------------- */

/* False: the context has no room for it. */
static bool run_step(cache_t* cache, step_t* step, void (*run)(step_t*)) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;
  nt_event_t ev;
  nt_id_t id;

  step->task.class_ = &step_class;
  step->cache = cache;
  step->run = run;
  if (nt__task_open(cache->host.net, &id) != 0)
    return false;
  nt__task_start(cache->host.net, id, &step->task);
  while (!nt_poll(cache->host.net, &ev)) {
    if (uv_hrtime() > end)
      fail_msg("a step did not end");
    nt_wait(cache->host.net, 10);
  }
  nt_poll(cache->host.net, &ev);
  return true;
}

static void use_cache(cache_t* cache, const char* dir) {
  session_t session;
  step_t close_step;
  nt_policy_t policy;

  memset(&session, 0, sizeof(session));
  memset(&close_step, 0, sizeof(close_step));
  nt_policy_init(&policy, NT_PRESET_OPEN);
  policy.cache_dir = dir;
  if (nt_policy_set(cache->host.net, &policy) != 0)
    return;
  if (!run_step(cache, &session.step, run_session_step))
    return;
  failing_stop(); /* it has to be closed, in a step of its own */
  assert_true(run_step(cache, &close_step, run_close_step));
}

/* In a folder, or in memory. */
static bool run_session(void* folder, failing_mode_t mode, long n) {
  const char* dir = folder == NULL ? NULL : in_folder(folder, "cache");
  cache_t cache;
  bool complete;

  memset(&cache, 0, sizeof(cache));
  failing_start(mode, n);
  if (nt_open(&cache.host.net) == 0) {
    use_cache(&cache, dir);
    complete = failing_stop();
    assert_int_equal(host_close(cache.host.net), 0);
    return complete;
  }
  return failing_stop();
}

static void one_failure_in_memory(void** state) {
  (void) state;
  failing_sweep(run_session, NULL, FAILING_ONCE, 20);
}

static void none_from_then_on_in_memory(void** state) {
  (void) state;
  failing_sweep(run_session, NULL, FAILING_ALWAYS, 20);
}

static void one_failure(void** state) {
  (void) state;
  failing_sweep_in_folder(run_session, FAILING_ONCE, 20);
}

static void none_from_then_on(void** state) {
  (void) state;
  failing_sweep_in_folder(run_session, FAILING_ALWAYS, 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_keep_libcurl_out),
    cmocka_unit_test(one_failure_in_memory),
    cmocka_unit_test(none_from_then_on_in_memory),
    cmocka_unit_test(one_failure),
    cmocka_unit_test(none_from_then_on),
  };
  int failed;

  if (failing_install() != 0)
    return 1;
  large = body_bytes(77, LARGE);
  failed = cmocka_run_group_tests_name("cache_store_alloc", tests, NULL, NULL);
  free(large);
  return failed;
}
