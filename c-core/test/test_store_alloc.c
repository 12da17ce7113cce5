/* The store without memory: a session repeats itself with the first, second,
 * third, ... of our allocations failing until none is left to fail. An action
 * ends once, well or with NT_E_NOMEM, and all that was taken is given back.
 * SQLite has memory of its own. */
#include "failing_sweep.h"
#include "host.h"

enum {
  LULL_MS = 30 /* no event for so long: memory comes back */
};

/* The action goes on, or is failed by its host. */
static unsigned start(nt_context_t* net, nt_store_action_t action) {
  nt_store_options_t options = { action, "key", 3, "value", 5 };
  nt_id_t id;
  int err;

  if (nt_store_open(net, &id) != 0)
    return 0;
  err = nt_store_start(net, id, &options);
  if (err != 0) {
    assert_int_equal(err, NT_E_NOMEM);
    nt_fail(net, id, err, NULL);
  }
  return 1;
}

static void take_end(const nt_event_t* ev, long n) {
  if (ev->type != NT_EV_END || (ev->error != 0 && ev->error != NT_E_NOMEM))
    fail_msg("n = %ld: %s (%s)", n, nt_error_name(ev->error), ev->message);
  if (ev->data != NULL)
    assert_string_equal(ev->data, "value");
}

static void wait_for_ends(nt_context_t* net, unsigned left, long n) {
  nt_event_t ev;

  while (left > 0) {
    failing_wait(net, LULL_MS, n);
    while (nt_poll(net, &ev)) {
      take_end(&ev, n);
      left--;
    }
  }
}

static void use_store(nt_context_t* net, const char* path, long n) {
  nt_policy_t policy;
  unsigned left = 0;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.store_file = path;
  if (nt_policy_set(net, &policy) != 0)
    return;
  left += start(net, NT_STORE_PUT);
  left += start(net, NT_STORE_GET);
  left += start(net, NT_STORE_REMOVE);
  wait_for_ends(net, left, n);
}

/* A whole life, with a file that is damaged; true when no allocation was left
 * to fail. */
static bool run_session(void* folder, failing_mode_t mode, long n) {
  const char* path = in_folder(folder, "store");
  nt_context_t* net;

  file_put(path, "no database, but a text of some length", 38);
  failing_start(mode, n);
  if (nt_open(&net) == 0) {
    use_store(net, path, n);
    assert_int_equal(host_close(net), 0);
  }
  return failing_stop();
}

static void one_failure(void** state) {
  (void) state;
  failing_sweep_in_folder(run_session, FAILING_ONCE, 20);
}

static void no_memory_from_then_on(void** state) {
  (void) state;
  failing_sweep_in_folder(run_session, FAILING_ALWAYS, 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_keep_libcurl_out),
    cmocka_unit_test(one_failure),
    cmocka_unit_test(no_memory_from_then_on),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("store_alloc", tests, NULL, NULL);
}
