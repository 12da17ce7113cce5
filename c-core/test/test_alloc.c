/* alloc.c, and what everything does without memory: each run repeats itself
 * with the first, second, third, ... allocation failing until none is left to
 * fail. Every run ends with NT_E_NOMEM or a success, reports the end of each
 * task once, and gives back all that it took.
 *
 * The sessions fail our own allocations alone: libcurl 7.88 divides by zero
 * when it cannot grow the set of a socket's transfers, and takes other failures
 * for a bad URL. Opening a context is swept with libcurl's included. */
#include <sys/wait.h>

#include "alloc.h"
#include "buf.h"
#include "failing_sweep.h"
#include "gate.h"
#include "header.h"
#include "host.h"
#include "policy.h"
#include "table.h"
#include "timer.h"
#include "url.h"

enum {
  MOST_RUNS = 5000,
  ALL_DONE = 42, /* a child's exit status: nothing was left to fail */
  LULL_MS = 30   /* no event for so long: memory comes back */
};

/* ---- The functions ------------------------------------------------------ */

static void allocates(void** state) {
  char* bytes = nt__calloc(100);
  char* text;
  size_t i;

  (void) state;
  assert_non_null(bytes);
  for (i = 0; i < 100; i++)
    assert_int_equal(bytes[i], 0);
  bytes = nt__realloc(bytes, 200);
  assert_non_null(bytes);
  nt__free(bytes);
  nt__free(NULL);
  text = nt__strdup("text");
  assert_string_equal(text, "text");
  nt__free(text);
  assert_int_equal(atomic_load(&failing_live), 0); /* it is ours */
}

/* ---- Pure logic --------------------------------------------------------- */

static int run_buf(void) {
  nt__buf_t buf;
  int err = 0;
  size_t i;

  nt__buf_init(&buf, 0);
  for (i = 0; i < 100 && err == 0; i++) {
    size_t size = buf.size;

    err = nt__buf_append(&buf, "0123456789abcdef0123456789abcdef", 32);
    assert_int_equal(buf.size, err ? size : size + 32);
  }
  nt__buf_free(&buf);
  return err;
}

static int run_table(void) {
  nt__table_t table;
  int err = 0;
  size_t i;

  nt__table_init(&table);
  for (i = 0; i < 100 && err == 0; i++) {
    err = nt__table_add(&table, i, &table);
    assert_int_equal(table.count, err ? i : i + 1);
  }
  while (i-- > 1) /* what is in it stays in it */
    assert_ptr_equal(nt__table_get(&table, i - 1), &table);
  nt__table_free(&table);
  return err;
}

static int run_headers(void) {
  static const char* const lines[] = { "A: b\r\n", " c\r\n", "D: e\r\n" };
  char long_line[2000] = "L: ";
  nt__headers_t headers;
  int err = 0;
  size_t i;

  memset(long_line + 3, 'x', sizeof(long_line) - 3);
  nt__headers_init(&headers, 0);
  for (i = 0; i < COUNT(lines) && err == 0; i++)
    err = nt__headers_add_line(&headers, lines[i], strlen(lines[i]));
  if (err == 0) {
    err = nt__headers_add_line(&headers, long_line, sizeof(long_line));
    assert_int_equal(headers.count, err ? 2 : 3);
    assert_string_equal(nt__headers_find(&headers, "d"), "e");
  }
  nt__headers_free(&headers);
  return err;
}

static int run_url(void) {
  nt__url_t url;
  int err = nt__url_parse(&url, "http://u:p@a:444/b", "//u:p@a:81/c?d#e");

  if (err)
    return err;
  /* Whatever failed within, what came out is right. */
  assert_string_equal(url.text, "http://a:81/c?d#e");
  assert_string_equal(url.authority, "a:81");
  assert_true(url.explicit_port);
  nt__url_free(&url);
  return 0;
}

static int run_fragment(void) {
  char out[64];
  int err = nt_url_resolve("http://a/b?c", "#d", out, sizeof(out));

  if (err == 0)
    assert_string_equal(out, "http://a/b?c#d");
  return err;
}

/* An address that libcurl leaves as it is, and we do not. */
static int run_address(void) {
  nt__url_t url;
  int err = nt__url_parse(&url, NULL, "http://%31%32%37.1/");

  if (err)
    return err;
  assert_string_equal(url.host, "127.0.0.1");
  nt__url_free(&url);
  return 0;
}

/* What memory ran out for is refused, and never let through. */
static int run_policy(void) {
  static const char* const domains[] = { "*.example", "https://a:81" };
  nt_policy_t values;
  nt__policy_t* policy;
  int err;

  nt_policy_init(&values, NT_PRESET_OPEN);
  values.flags = NT_POLICY_REFUSE_PRIVATE;
  values.domains[NT_ACCESS_REQUEST].items = domains;
  values.domains[NT_ACCESS_REQUEST].count = COUNT(domains);
  values.proxy = "http://user:password@a:3128";
  err = nt_policy_check(&values, NULL, 0);
  policy = err ? NULL : nt__policy_new(&values);
  if (err == 0 && policy == NULL)
    err = NT_E_NOMEM;
  if (err)
    return err;
  err = nt__gate_proxy(policy, NT_ACCESS_UPLOAD, "http://127.0.0.1:1");
  assert_true(err == NT_E_PRIVATE || err == NT_E_NOMEM);
  if (err == NT_E_PRIVATE)
    err = nt__gate_proxy(policy, NT_ACCESS_UPLOAD, "http://b.test:1");
  nt__policy_unref(policy);
  return err;
}

static int run_timers(void) {
  uv_loop_t loop;
  nt__timers_t timers;
  int err;

  uv_loop_init(&loop);
  nt__timers_init(&timers, &loop);
  err = nt__timers_reserve(&timers, 10);
  if (err == 0)
    err = nt__timers_reserve(&timers, 1000);
  nt__timers_close(&timers);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  return err;
}

static void pure_logic_without_memory(void** state) {
  static int (*const runs[])(void) = { run_buf,    run_table,    run_headers,
                                       run_url,    run_fragment, run_policy,
                                       run_timers, run_address };
  size_t i;
  long n;

  (void) state;
  for (i = 0; i < COUNT(runs); i++) {
    bool complete = false;

    for (n = 1; !complete; n++) {
      int err;

      assert_true(n < MOST_RUNS);
      failing_start(FAILING_ONCE, n);
      err = runs[i]();
      complete = failing_stop();
      if (err != 0 && err != NT_E_NOMEM)
        fail_msg("run %zu, n = %ld: %s", i, n, nt_error_name(err));
      assert_false(complete && err != 0);
      assert_int_equal(atomic_load(&failing_live), 0);
    }
    assert_true(n > 2); /* it does allocate */
  }
}

/* ---- The first context of a process ------------------------------------- */

/* libcurl says no more than that its initialisation failed. */
static int open_first_in_child(long n) {
  nt_context_t* net;
  bool complete;
  int err;

  failing_start(FAILING_ONCE, n);
  err = nt_open(&net);
  complete = failing_stop();
  if (err == 0)
    nt_close(net, CLOSE_MS);
  if (err != 0 && err != NT_E_NOMEM && err != NT_E_SYSTEM)
    return 3;
  if (complete)
    return err == 0 ? ALL_DONE : 4;
  return err == 0 || net == NULL ? 0 : 5;
}

static void first_context_without_memory(void** state) {
  int status = 0;
  long n;

  (void) state;
  for (n = 1; status == 0; n++) {
    pid_t pid;

    assert_true(n < MOST_RUNS);
    pid = fork();
    if (pid == 0) {
      host_is_child = true;
      alarm(20);
      exit(open_first_in_child(n));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
  }
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), ALL_DONE);
  assert_true(n > 10);
}

/* libcurl keeps the functions of its first initialisation, and this comes
 * before that of the first context. */
static void keep_libcurl_out(void** state) {
  long live = atomic_load(&failing_live);

  (void) state;
  assert_int_equal(curl_global_init(CURL_GLOBAL_ALL), CURLE_OK);
  curl_easy_cleanup(curl_easy_init());
  assert_int_equal(atomic_load(&failing_live), live);
}

static void cannot_be_replaced_later(void** state) {
  nt_context_t* net;

  (void) state;
  assert_int_equal(nt_set_allocator(NULL, realloc, free), NT_E_INVALID);
  assert_int_equal(nt_set_allocator(malloc, NULL, free), NT_E_INVALID);
  assert_int_equal(nt_set_allocator(malloc, realloc, NULL), NT_E_INVALID);
  assert_int_equal(nt_open(&net), 0);
  assert_int_equal(nt_set_allocator(malloc, realloc, free), NT_E_STATE);
  assert_int_equal(host_close(net), 0);
  assert_int_equal(nt_set_allocator(malloc, realloc, free), NT_E_STATE);
}

/* ---- A session ---------------------------------------------------------- */

typedef struct job {
  const char* path;
  uint32_t flags;
  bool aborted;
  nt_id_t id; /* 0: it could not be started */
  unsigned ends;
  uint64_t bytes;
} job_t;

static const job_t all_jobs[] = {
  { .path = "/hello" },
  { .path = "/redirect/2", .flags = NT_REQUEST_PROFILE },
  { .path = "/stream/100000", .flags = NT_REQUEST_STREAM },
  { .path = "/chunked/50000" },
  { .path = "/hello", .aborted = true },
};

enum {
  JOBS = sizeof(all_jobs) / sizeof(all_jobs[0])
};

/* An id that could not be started is failed by its host, and ends all the same.
 */
static void start_job(host_t* host, job_t* job) {
  static const nt_header_t headers[] = { { "X-Test", "1" }, { "X-Empty", "" } };
  nt_request_options_t options;
  char url[128];
  int err = nt_request_open(host->net, &job->id);

  if (err) {
    assert_int_equal(err, NT_E_NOMEM);
    job->id = 0;
    return;
  }
  nt_request_options_init(&options);
  options.url = host_url(host, job->path, url, sizeof(url));
  options.headers = headers;
  options.header_count = COUNT(headers);
  options.flags = job->flags;
  err = nt_request_start(host->net, job->id, &options);
  if (err) {
    assert_int_equal(err, NT_E_NOMEM);
    assert_int_equal(nt_state(host->net, job->id), NT_STATE_IDLE);
    nt_fail(host->net, job->id, err, "could not start");
  } else if (job->aborted) {
    nt_abort(host->net, job->id);
  }
}

static job_t* find_job(job_t* jobs, nt_id_t id) {
  size_t i;

  for (i = 0; i < JOBS; i++)
    if (jobs[i].id == id)
      return &jobs[i];
  fail_msg("an event of nobody");
  return NULL;
}

static void take_event(job_t* jobs, const nt_event_t* ev, long n) {
  job_t* job = find_job(jobs, ev->id);

  assert_int_equal(job->ends, 0);
  if (ev->type == NT_EV_CHUNK)
    job->bytes += ev->size;
  if (ev->type != NT_EV_END)
    return;
  job->ends++;
  job->bytes += ev->size;
  if (job->aborted && (ev->error == NT_E_ABORTED || ev->error == NT_E_NOMEM))
    return;
  if (ev->error != 0 && ev->error != NT_E_NOMEM)
    fail_msg("n = %ld: %s: %s (%s)", n, job->path, nt_error_name(ev->error),
             ev->message);
  if (ev->error == 0 && strstr(job->path, "/100000") != NULL)
    assert_int_equal(job->bytes, 100000);
  if (ev->error == 0 && strstr(job->path, "/50000") != NULL)
    assert_int_equal(job->bytes, 50000);
}

static void run_jobs(host_t* host, long n) {
  job_t jobs[JOBS];
  unsigned expected = 0;
  unsigned ended = 0;
  nt_event_t ev;
  size_t i;

  memcpy(jobs, all_jobs, sizeof(jobs));
  for (i = 0; i < JOBS; i++) {
    start_job(host, &jobs[i]);
    expected += jobs[i].id != 0;
  }
  while (ended < expected) {
    failing_wait(host->net, LULL_MS, n);
    while (nt_poll(host->net, &ev)) {
      take_event(jobs, &ev, n);
      ended += ev.type == NT_EV_END;
    }
  }
  assert_int_equal(nt_poll(host->net, &ev), 0);
}

/* A whole life with the nth allocation failing; true when none was left to
 * fail. */
static bool run_session(void* server, failing_mode_t mode, long n) {
  host_t host = { NULL, server };
  nt_policy_t policy;
  bool complete;
  int err;

  failing_start(mode, n);
  err = nt_open(&host.net);
  if (err == 0) {
    nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
    policy.max_requests = 3;
    policy.task_high_water = 64 << 10;
    err = nt_policy_set(host.net, &policy);
    run_jobs(&host, n);
    assert_int_equal(host_close(host.net), 0);
  } else {
    assert_null(host.net);
  }
  complete = failing_stop();
  if (err != 0 && err != NT_E_NOMEM)
    fail_msg("n = %ld: %s", n, nt_error_name(err));
  assert_false(complete && err != 0);
  return complete;
}

static void sweep(failing_mode_t mode) {
  server_t* server = server_start();

  failing_sweep(run_session, server, mode, 50);
  server_stop(server);
}

static void session_with_one_failure(void** state) {
  (void) state;
  sweep(FAILING_ONCE);
}

static void session_without_memory_from_then_on(void** state) {
  (void) state;
  sweep(FAILING_ALWAYS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(allocates),
    cmocka_unit_test(pure_logic_without_memory),
    cmocka_unit_test(first_context_without_memory),
    cmocka_unit_test(keep_libcurl_out),
    cmocka_unit_test(cannot_be_replaced_later),
    cmocka_unit_test(session_with_one_failure),
    cmocka_unit_test(session_without_memory_from_then_on),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
