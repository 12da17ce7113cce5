/* context.c and what the host thread does: taking in, turns, waiting, corks,
 * closing with tasks in every state, fork() and exit().
 *
 * A child of fork() reports through its exit status, since a failed assertion
 * there would go on as a second test run. */
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#include "host.h"

enum {
  CYCLES = 200,
  CHILD_SECONDS = 20,
  EXITED = 42
};

/* ---- Events ------------------------------------------------------------- */

static void small_mark(nt_policy_t* policy) {
  policy->task_high_water = 64 << 10;
}

/* Two streams with many chunks each: their events alternate, although all of
 * one came first. */
static void tasks_take_turns(void** state) {
  host_t* host = *state;
  nt_id_t first;
  nt_id_t second;
  nt_id_t last = 0;
  nt_event_t ev;
  unsigned counts[2] = { 0, 0 };

  host_policy(host, small_mark);
  first = host_stream(host, "/stream/33554432");
  assert_true(
      server_wait(host->server, &host->server->blocked, 1, PATIENCE_MS));
  nt_collect(host->net);
  second = host_stream(host, "/stream/33554432");
  assert_true(
      server_wait(host->server, &host->server->blocked, 4, PATIENCE_MS));
  nt_collect(host->net);
  assert_true(nt_waiting(host->net) >= 8);
  while (counts[0] < 4 || counts[1] < 4) {
    assert_int_equal(nt_poll(host->net, &ev), 1);
    assert_true(ev.id == first || ev.id == second);
    assert_true(ev.id != last);
    last = ev.id;
    counts[ev.id == second]++;
  }
}

static void collect_counts_what_waits(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_stats_t stats;
  nt_id_t id;

  assert_int_equal(nt_collect(host->net), 0);
  assert_int_equal(nt_waiting(host->net), 0);
  assert_int_equal(nt_poll(host->net, &ev), 0);
  id = host_get(host, "/hello");
  host_reach(host, id, NT_STATE_CLOSING);
  assert_int_equal(nt_waiting(host->net), 2);
  assert_int_equal(nt_collect(host->net), 2);
  nt_stats(host->net, &stats);
  assert_int_equal(stats.waiting_events, 2);
  assert_true(stats.waiting_bytes > 5);
  assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_int_equal(nt_waiting(host->net), 1);
  assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_int_equal(nt_waiting(host->net), 0);
  nt_stats(host->net, &stats);
  assert_int_equal(stats.waiting_events, 0);
  assert_int_equal(stats.waiting_bytes, 0);
}

/* A frame takes in once and polls that many: what ends meanwhile, even by its
 * own hand, belongs to the next frame. */
static void abort_belongs_to_the_next_frame(void** state) {
  host_t* host = *state;
  nt_id_t ids[3];
  nt_event_t ev;
  size_t i;

  for (i = 0; i < 3; i++)
    ids[i] = host_open(host);
  nt_abort(host->net, ids[0]);
  assert_int_equal(nt_waiting(host->net), 0);
  assert_int_equal(nt_collect(host->net), 1);
  nt_abort(host->net, ids[1]);
  nt_abort(host->net, ids[2]);
  assert_int_equal(nt_waiting(host->net), 1);
  assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_true(ev.id == ids[0]);
  assert_int_equal(nt_waiting(host->net), 0);
  assert_int_equal(nt_collect(host->net), 2);
  assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_true(ev.id == ids[1]);
  assert_int_equal(nt_poll(host->net, &ev), 1);
  assert_true(ev.id == ids[2]);
  assert_int_equal(nt_poll(host->net, &ev), 0);
}

/* What an event lends stays valid until the next poll. */
static void lends_until_the_next_poll(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_event_t other;

  host_end(host, host_get(host, "/stream/100000"), &ev);
  host_reach(host, host_get(host, "/hello"), NT_STATE_CLOSING);
  assert_int_equal(nt_collect(host->net), 2);
  assert_int_equal(ev.size, 100000);
  assert_int_equal(((const char*) ev.data)[99999], *server_bytes(99999));
  ((char*) (uintptr_t) ev.data)[0] = 'x'; /* and it is writable */
  assert_int_equal(nt_poll(host->net, &other), 1);
}

static void ids_are_never_used_twice(void** state) {
  host_t* host = *state;
  nt_context_t* other;
  nt_id_t id = host_open(host);
  nt_id_t foreign;

  assert_int_equal(nt_open(&other), 0);
  assert_int_equal(nt_request_open(other, &foreign), 0);
  assert_true(foreign > id);
  assert_int_equal(nt_state(host->net, foreign), NT_STATE_DONE);
  assert_int_equal(nt_state(other, foreign), NT_STATE_IDLE);
  nt_abort(host->net, foreign); /* means nothing here */
  assert_int_equal(nt_state(other, foreign), NT_STATE_IDLE);
  assert_int_equal(host_close(other), 0);
}

static void counts_tasks_by_state(void** state) {
  host_t* host = *state;
  nt_stats_t stats;
  nt_id_t ids[14];
  size_t i;

  for (i = 0; i < 14; i++)
    ids[i] = i < 2 ? host_open(host) : host_get(host, "/hold");
  host_reach(host, ids[13], NT_STATE_QUEUED);
  nt_stats(host->net, &stats);
  assert_int_equal(stats.idle, 2);
  assert_int_equal(stats.connecting, 10);
  assert_int_equal(stats.queued, 2);
  assert_int_equal(stats.open + stats.closing, 0);
  nt_abort(host->net, ids[0]);
  nt_stats(host->net, &stats);
  assert_int_equal(stats.idle, 1);
  assert_int_equal(stats.closing, 1);
}

/* ---- Waiting ------------------------------------------------------------ */

static void wait_returns_in_time(void** state) {
  host_t* host = *state;
  uint64_t start = uv_hrtime();
  nt_id_t id;

  assert_int_equal(nt_wait(host->net, 0), 0);
  assert_int_equal(nt_wait(host->net, 30), 0);
  assert_true(uv_hrtime() - start >= 30 * 1000000);
  id = host_open(host);
  nt_abort(host->net, id);
  assert_int_equal(nt_wait(host->net, 0), 1);
  assert_int_equal(nt_wait(host->net, -1), 1);
  host_expect(host, id, NT_E_ABORTED);
  host_get(host, "/hello");
  assert_int_equal(nt_wait(host->net, -1), 1);
}

/* When it says that an event is ready, one is: news of a state is none, nor is
 * what is left of a task that was aborted. */
static void wait_does_not_lie(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  unsigned i;
  unsigned ended = 0;

  for (i = 0; i < 60; i++) {
    nt_id_t id = host_get(host, "/stream/1000");

    if (i % 3 == 0)
      nt_abort(host->net, id);
  }
  while (ended < 60) {
    assert_int_equal(nt_wait(host->net, PATIENCE_MS), 1);
    assert_int_equal(nt_poll(host->net, &ev), 1);
    ended += ev.type == NT_EV_END;
  }
}

static void spinning(nt_policy_t* policy) {
  policy->spin_us = 2000;
}

static void wait_may_spin(void** state) {
  host_t* host = *state;
  uint64_t start;

  host_policy(host, spinning);
  host_still_works(host);
  start = uv_hrtime();
  assert_int_equal(nt_wait(host->net, 20), 0);
  assert_true(uv_hrtime() - start >= 20 * 1000000);
}

static void cork_holds_commands_back(void** state) {
  host_t* host = *state;
  nt_id_t kept;
  nt_id_t aborted;

  nt_uncork(host->net); /* without a cork: nothing */
  nt_cork(host->net);
  nt_cork(host->net);
  kept = host_get(host, "/kept");
  aborted = host_get(host, "/aborted");
  nt_abort(host->net, aborted);
  host_expect(host, aborted, NT_E_ABORTED);
  nt_uncork(host->net);
  assert_int_equal(nt_wait(host->net, 50), 0);
  assert_int_equal(server_requests(host->server), 0);
  nt_uncork(host->net);
  host_expect(host, kept, 0);
  host_still_works(host);
  assert_string_equal(host->server->order[0], "/kept");
  assert_string_equal(host->server->order[1], "/hello");
}

static void policy_is_checked(void** state) {
  host_t* host = *state;

  assert_int_equal(nt_policy_set(host->net, NULL), NT_E_INVALID);
  host_still_works(host);
}

/* ---- Closing ------------------------------------------------------------ */

static void close_ignores_null(void** state) {
  (void) state;
  nt_close(NULL, 0);
}

/* Brings a task into each state and leaves it there; tear-down closes. */
static void close_with_tasks_in_every_state(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  nt_id_t id;
  int i;

  host_open(host); /* idle */
  id = host_stream(host, "/part-then-hold");
  host_next(host, &ev); /* open, and its chunk may wait */
  assert_true(ev.id == id);
  host_reach(host, host_get(host, "/head-then-hold"), NT_STATE_OPEN);
  host_reach(host, host_get(host, "/hello"), NT_STATE_CLOSING);
  nt_abort(host->net, host_get(host, "/hold"));
  nt_abort(host->net, host_open(host));
  host_stream(host, "/stream/33554432"); /* held back, or will be */
  for (i = 0; i < 12; i++)
    id = host_get(host, "/hold");
  host_reach(host, id, NT_STATE_QUEUED);
  nt_cork(host->net);
  host_get(host, "/hello"); /* never leaves the cork */
  nt_abort(host->net, id);
}

/* Opens and closes, each time with a request that has come a little further. */
static void open_and_close_again(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  int i;
  int n;

  for (i = 0; i < CYCLES; i++) {
    host_t own = { NULL, host->server };

    assert_int_equal(nt_open(&own.net), 0);
    if (i % 4 > 0)
      host_get(&own, i % 4 == 1 ? "/hello" : "/stream/300000");
    for (n = 0; n < i; n++)
      nt_poll(own.net, &ev);
    if (i % 4 == 3)
      nt_wait(own.net, 1);
    assert_int_equal(host_close(own.net), 0);
  }
}

static void close_answers_within_its_deadline(void** state) {
  host_t* host = *state;
  host_t own = { NULL, host->server };
  uint64_t start;

  assert_int_equal(nt_open(&own.net), 0);
  host_get(&own, "/hold");
  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  start = uv_hrtime();
  assert_int_equal(host_close(own.net), 0);
  assert_true(uv_hrtime() - start < 1000 * (uint64_t) 1000000);
}

/* ---- Signals ------------------------------------------------------------ */

enum {
  MAX_THREADS = 64
};

static size_t list_threads(long* ids) {
  DIR* folder = opendir("/proc/self/task");
  const struct dirent* entry;
  size_t count = 0;

  assert_non_null(folder);
  while ((entry = readdir(folder)) != NULL && count < MAX_THREADS)
    if (entry->d_name[0] != '.')
      ids[count++] = strtol(entry->d_name, NULL, 10);
  closedir(folder);
  return count;
}

static unsigned long long blocked_signals(long thread) {
  unsigned long long mask = 0;
  char line[256];
  FILE* file;

  snprintf(line, sizeof(line), "/proc/self/task/%ld/status", thread);
  file = fopen(line, "r");
  assert_non_null(file);
  while (fgets(line, sizeof(line), file) != NULL)
    if (sscanf(line, "SigBlk: %llx", &mask) == 1)
      break;
  fclose(file);
  return mask;
}

static bool is_among(long id, const long* ids, size_t count) {
  size_t i;

  for (i = 0; i < count; i++)
    if (ids[i] == id)
      return true;
  return false;
}

/* The host's signals stay with the host: no thread that nt_open() makes takes
 * one. */
static void threads_block_all_signals(void** state) {
  static const int signals[] = { SIGINT,  SIGTERM, SIGPIPE, SIGCHLD,
                                 SIGALRM, SIGUSR1, SIGHUP,  SIGIO };
  long before[MAX_THREADS];
  long after[MAX_THREADS];
  size_t before_count = list_threads(before);
  unsigned long long mine = blocked_signals(getpid());
  host_t host = { NULL, NULL };
  nt_request_options_t options;
  size_t after_count;
  size_t i;
  size_t k;
  size_t made = 0;
  nt_id_t id;

  (void) state;
  assert_int_equal(nt_open(&host.net), 0);
  id = host_open(&host);
  nt_request_options_init(&options);
  options.url = "ftp://a/";
  assert_int_equal(nt_request_start(host.net, id, &options), 0);
  host_expect(&host, id, NT_E_SCHEME); /* so its thread is up and running */
  after_count = list_threads(after);
  for (i = 0; i < after_count; i++) {
    if (is_among(after[i], before, before_count))
      continue;
    made++;
    for (k = 0; k < COUNT(signals); k++)
      assert_true(blocked_signals(after[i]) >> (signals[k] - 1) & 1);
  }
  assert_int_equal(made, 1);
  assert_true(blocked_signals(getpid()) == mine);
  assert_int_equal(host_close(host.net), 0);
}

/* ---- fork() ------------------------------------------------------------ */

/* Runs `body` in a child: what it returns is the exit status. An alarm ends a
 * child that hangs. */
static int run_child(int (*body)(host_t*), host_t* host) {
  pid_t pid = fork();
  int status;

  if (pid == 0) {
    host_is_child = true;
    alarm(CHILD_SECONDS);
    exit(body(host));
  }
  assert_true(pid > 0);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (WIFSIGNALED(status))
    fail_msg("the child was ended by signal %d", WTERMSIG(status));
  return WEXITSTATUS(status);
}

/* The number of the first check that fails, or 0. */
#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition))                                                          \
      return __LINE__ % 200 + 1;                                               \
  } while (0)

static nt_id_t forked_idle;

static int use_dead_context(host_t* host) {
  nt_request_options_t options;
  nt_policy_t policy;
  nt_event_t ev;
  nt_id_t id;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  nt_request_options_init(&options);
  options.url = "http://127.0.0.1:1/";
  CHECK(nt_request_open(host->net, &id) == NT_E_FORKED);
  CHECK(nt_request_start(host->net, forked_idle, &options) == NT_E_FORKED);
  CHECK(nt_policy_set(host->net, &policy) == NT_E_FORKED);
  CHECK(nt_poll(host->net, &ev) == 0);
  CHECK(nt_wait(host->net, -1) == 0);
  nt_abort(host->net, forked_idle);
  nt_collect(host->net);
  CHECK(nt_poll(host->net, &ev) == 0);
  nt_cork(host->net);
  nt_uncork(host->net);
  nt_close(host->net, CLOSE_MS); /* returns at once */
  return 0;
}

static void child_cannot_use_the_context(void** state) {
  host_t* host = *state;
  nt_id_t held = host_get(host, "/hold");
  uint64_t start;

  forked_idle = host_open(host);
  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  start = uv_hrtime();
  assert_int_equal(run_child(use_dead_context, host), 0);
  assert_true(uv_hrtime() - start < (uint64_t) CLOSE_MS * 1000000);
  server_release(host->server);
  host_expect(host, held, 0); /* the parent did not notice */
  host_still_works(host);
}

/* A child may have a context of its own; the server is the parent's. Not under
 * ThreadSanitizer, which knows no threads made after such a fork. */
#ifndef __SANITIZE_THREAD__
static int use_own_context(host_t* host) {
  host_t own = { NULL, host->server };
  nt_event_t ev = { 0 };
  nt_request_options_t options;
  nt_id_t id;
  char url[64];
  int i;

  CHECK(nt_open(&own.net) == 0);
  CHECK(nt_request_open(own.net, &id) == 0);
  nt_request_options_init(&options);
  options.url = host_url(&own, "/hello", url, sizeof(url));
  CHECK(nt_request_start(own.net, id, &options) == 0);
  for (i = 0; i < 2; i++) {
    CHECK(nt_wait(own.net, PATIENCE_MS) == 1);
    CHECK(nt_poll(own.net, &ev) == 1);
  }
  CHECK(ev.type == NT_EV_END && ev.error == 0 && ev.status == 200);
  nt_close(own.net, CLOSE_MS);
  return 0;
}

static void child_can_open_its_own(void** state) {
  assert_int_equal(run_child(use_own_context, *state), 0);
  host_still_works(*state);
}
#endif

/* ---- exit() ------------------------------------------------------------- */

/* Starts this program anew, which then runs exit_with() and no test. */
static int run_program(const char* count, int port) {
  char text[16];
  pid_t pid;
  int status;

  snprintf(text, sizeof(text), "%d", port);
  pid = fork();
  if (pid == 0) {
    alarm(CHILD_SECONDS); /* outlives exec */
    execl("/proc/self/exe", "test_context", count, text, (char*) NULL);
    _exit(127);
  }
  assert_true(pid > 0);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (WIFSIGNALED(status))
    fail_msg("it was ended by signal %d", WTERMSIG(status));
  return WEXITSTATUS(status);
}

/* Ends, without nt_close(), with a stream held back and `count` requests that
 * are in flight, queued or, the last, corked. */
static int exit_with(int count, int port) {
  nt_request_options_t options;
  nt_context_t* net;
  nt_id_t id;
  char url[64];
  int i;

  host_is_child = true;
  CHECK(nt_open(&net) == 0);
  nt_request_options_init(&options);
  options.url = url;
  for (i = 0; i < count; i++) {
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port,
             i == 0 ? "/stream/33554432" : "/hold");
    options.flags = i == 0 ? NT_REQUEST_STREAM : 0;
    if (i == count - 1)
      nt_cork(net);
    CHECK(nt_request_open(net, &id) == 0);
    CHECK(nt_request_start(net, id, &options) == 0);
  }
  if (count > 0)
    CHECK(nt_wait(net, PATIENCE_MS) == 1); /* for the stream */
  return EXITED;
}

static void exit_with_requests_in_flight(void** state) {
  host_t* host = *state;
  int i;

  for (i = 0; i < 10; i++)
    assert_int_equal(run_program("13", host->server->port), EXITED);
  host_still_works(host);
}

static void exit_right_after_open(void** state) {
  int i;

  (void) state;
  for (i = 0; i < 10; i++)
    assert_int_equal(run_program("0", 0), EXITED);
}

/* Ends while the thread of an nt_close() that did not wait for it may be amid
 * certificates, since TLS is warmed up a moment after the start. */
static int exit_impatiently(int ms) {
  nt_context_t* net;

  host_is_child = true;
  CHECK(nt_open(&net) == 0);
  CHECK(nt_wait(net, (uint32_t) ms) == 0);
  nt_close(net, 0);
  return EXITED;
}

static void exit_after_an_impatient_close(void** state) {
  int ms;

  (void) state;
  for (ms = 96; ms < 116; ms += 2)
    assert_int_equal(run_program("-1", ms), EXITED);
}

int main(int argc, char** argv) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(tasks_take_turns),
    HOST_TEST(collect_counts_what_waits),
    HOST_TEST(abort_belongs_to_the_next_frame),
    HOST_TEST(lends_until_the_next_poll),
    HOST_TEST(ids_are_never_used_twice),
    HOST_TEST(counts_tasks_by_state),
    HOST_TEST(wait_returns_in_time),
    HOST_TEST(wait_does_not_lie),
    HOST_TEST(wait_may_spin),
    HOST_TEST(cork_holds_commands_back),
    HOST_TEST(policy_is_checked),
    cmocka_unit_test(close_ignores_null),
    HOST_TEST(close_with_tasks_in_every_state),
    HOST_TEST(open_and_close_again),
    HOST_TEST(close_answers_within_its_deadline),
    cmocka_unit_test(threads_block_all_signals),
    HOST_TEST(child_cannot_use_the_context),
#ifndef __SANITIZE_THREAD__
    HOST_TEST(child_can_open_its_own),
#endif
    HOST_TEST(exit_with_requests_in_flight),
    cmocka_unit_test(exit_right_after_open),
    cmocka_unit_test(exit_after_an_impatient_close),
  };

  if (argc == 3 && atoi(argv[1]) < 0)
    return exit_impatiently(atoi(argv[2]));
  if (argc == 3)
    return exit_with(atoi(argv[1]), atoi(argv[2]));
  return cmocka_run_group_tests_name("context", tests, NULL, NULL);
}
