/* The host's side of a test: a context, a server, and waiting for events with a
 * deadline instead of sleeping. */
#ifndef NT_TEST_HOST_H
#define NT_TEST_HOST_H

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "check.h"
#include "nettask.h"
#include "server.h"

enum {
  PATIENCE_MS = 20000, /* nothing that a test waits for takes so long */
  CLOSE_MS = 5000
};

/* A child of fork() has none of the threads that its parent's memory belongs
 * to, and exit() frees no context: LeakSanitizer, which asks here, has nothing
 * to look for in it. */
static bool host_is_child;

__attribute__((visibility("default"))) int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void) {
  return host_is_child;
}

typedef struct host {
  nt_context_t* net;
  server_t* server;
} host_t;

static inline int host_set_up(void** state) {
  host_t* host = calloc(1, sizeof(*host));

  if (host == NULL)
    return -1;
  host->server = server_start();
  *state = host;
  return nt_open(&host->net);
}

/* A context that is abandoned because its thread is late fails the test. */
static inline int host_close(nt_context_t* net) {
  uint64_t start = uv_hrtime();

  nt_close(net, CLOSE_MS);
  return uv_hrtime() - start < (uint64_t) CLOSE_MS * 1000000 ? 0 : -1;
}

static inline int host_tear_down(void** state) {
  host_t* host = *state;
  int err = host_close(host->net);

  server_stop(host->server);
  free(host);
  return err;
}

#define HOST_TEST(name)                                                        \
  cmocka_unit_test_setup_teardown(name, host_set_up, host_tear_down)

/* The preset, with one or more values changed by `set`. */
static inline void host_policy(host_t* host, void (*set)(nt_policy_t*)) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  set(&policy);
  assert_int_equal(nt_policy_set(host->net, &policy), 0);
}

static inline const char* host_url(const host_t* host, const char* path,
                                   char* out, size_t size) {
  snprintf(out, size, "http://127.0.0.1:%d%s", host->server->port, path);
  return out;
}

static inline nt_id_t host_open(host_t* host) {
  nt_id_t id = 0;

  assert_int_equal(nt_request_open(host->net, &id), 0);
  assert_true(id != 0);
  assert_int_equal(nt_state(host->net, id), NT_STATE_IDLE);
  return id;
}

/* Starts a request for `path` with the options but for their URL. */
static inline nt_id_t host_start(host_t* host, const char* path,
                                 const nt_request_options_t* options) {
  nt_request_options_t own;
  nt_id_t id = host_open(host);
  char url[256];

  if (options != NULL)
    own = *options;
  else
    nt_request_options_init(&own);
  own.url = host_url(host, path, url, sizeof(url));
  assert_int_equal(nt_request_start(host->net, id, &own), 0);
  return id;
}

static inline nt_id_t host_get(host_t* host, const char* path) {
  return host_start(host, path, NULL);
}

static inline nt_id_t host_stream(host_t* host, const char* path) {
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.flags = NT_REQUEST_STREAM;
  return host_start(host, path, &options);
}

/* The next event of any task; fails the test when none comes. */
static inline void host_next(host_t* host, nt_event_t* ev) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (!nt_poll(host->net, ev)) {
    if (uv_hrtime() > end)
      fail_msg("no event came");
    nt_wait(host->net, 1000);
  }
}

/* The last event of `id`. Others of its events are passed over, those of other
 * tasks fail the test. */
static inline void host_end(host_t* host, nt_id_t id, nt_event_t* ev) {
  do {
    host_next(host, ev);
    assert_true(ev->id == id);
  } while (ev->type != NT_EV_END);
  assert_int_equal(nt_state(host->net, id), NT_STATE_DONE);
}

static inline void host_expect(host_t* host, nt_id_t id, int error) {
  nt_event_t ev;

  host_end(host, id, &ev);
  if (ev.error != error)
    fail_msg("%s (%s) instead of %s", nt_error_name(ev.error), ev.message,
             nt_error_name(error));
}

/* Takes in until the state is reached. */
static inline void host_reach(host_t* host, nt_id_t id, nt_state_t state) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (nt_state(host->net, id) != state) {
    if (uv_hrtime() > end)
      fail_msg("state %d instead of %d", nt_state(host->net, id), state);
    if (nt_collect(host->net) == 0)
      nt_wait(host->net, 10);
    else
      sched_yield(); /* what waits would end nt_wait() at once */
  }
}

/* That the context still works; `id`s that have ended stay silent. */
static inline void host_still_works(host_t* host) {
  nt_event_t ev;

  host_end(host, host_get(host, "/hello"), &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.status, 200);
  assert_int_equal(nt_poll(host->net, &ev), 0);
}

#endif
