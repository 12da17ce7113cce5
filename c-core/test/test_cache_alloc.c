/* The cache without memory: each run repeats itself with the first, second,
 * third, ... of our allocations failing until none is left to fail. A request
 * ends once, with the body that it should have or with NT_E_NOMEM, and all that
 * was taken is given back. */
#include "failing_sweep.h"
#include "site.h"

enum {
  LARGE = 100000,
  LULL_MS = 50 /* no event for so long: memory comes back */
};

/* Takes events until the request has ended; how many bytes of a body came. */
static uint64_t take_end(fixture_t* f, nt_id_t id, nt_event_t* ev, long n) {
  uint64_t streamed = 0;

  for (;;) {
    failing_wait(f->host->net, LULL_MS, n);
    while (nt_poll(f->host->net, ev)) {
      assert_true(ev->id == id);
      if (ev->type == NT_EV_CHUNK)
        streamed += ev->size;
      if (ev->type == NT_EV_END)
        return streamed + ev->size;
    }
  }
}

static void ask(fixture_t* f, long n, const char* path, const char* method,
                uint32_t flags, uint64_t size) {
  nt_request_options_t options;
  nt_event_t ev;
  uint64_t came;
  char url[128];
  nt_id_t id;
  int err;

  nt_request_options_init(&options);
  options.url = host_url(f->host, path, url, sizeof(url));
  options.method = method;
  options.flags = flags;
  options.cache = NT_CACHE_DEFAULT;
  if (nt_request_open(f->host->net, &id) != 0)
    return;
  err = nt_request_start(f->host->net, id, &options);
  if (err) {
    assert_int_equal(err, NT_E_NOMEM);
    nt_fail(f->host->net, id, err, NULL);
  }
  came = take_end(f, id, &ev, n);
  if (ev.error != 0 && ev.error != NT_E_NOMEM)
    fail_msg("n = %ld: %s (%s)", n, nt_error_name(ev.error), ev.message);
  if (ev.error == 0 && (came != size || ev.status != 200))
    fail_msg("n = %ld: %s %d, %d bytes", n, path, ev.status, (int) came);
}

static void ask_all(fixture_t* f, long n) {
  ask(f, n, "/fresh", "GET", 0, 3);
  ask(f, n, "/from#part", "GET", 0, 3);
  ask(f, n, "/same", "GET", 0, 4);
  ask(f, n, "/large", "GET", NT_REQUEST_STREAM, LARGE);
  ask(f, n, "/large", "GET", 0, LARGE);
  ask(f, n, "/same", "HEAD", 0, 0);
  ask(f, n, "/covered", "GET", 0, 5);
}

/* Where the next context keeps answers; NULL: in memory. */
static const char* cache_dir;

static void use_folder(nt_context_t* net) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.cache_dir = cache_dir;
  nt_policy_set(net, &policy);
}

/* A whole life; true when no allocation was left to fail. */
static bool run_session(void* arg, failing_mode_t mode, long n) {
  fixture_t* f = arg;

  site_put(f, (page_t){ .path = "/covered",
                        .fields = "Cache-Control: max-age=0, "
                                  "stale-while-revalidate=1000\r\n",
                        .body = "cover" });
  failing_start(mode, n);
  if (nt_open(&f->host->net) == 0) {
    use_folder(f->host->net);
    ask_all(f, n); /* with a folder there may be something */
    ask(f, n, "/fresh", "POST", 0, 3);
    nt_cache_clear(f->host->net, NULL);
    ask_all(f, n);
    ask_all(f, n);
    assert_int_equal(host_close(f->host->net), 0);
    f->host->net = NULL;
  }
  return failing_stop();
}

static void put_pages(fixture_t* f) {
  site_put(f, (page_t){ .path = "/fresh",
                        .fields = "Cache-Control: max-age=1000\r\n"
                                  "Content-Location: /other\r\n",
                        .body = "one" });
  site_put(f, (page_t){ .path = "/from",
                        .status = "301 Moved",
                        .fields = "Cache-Control: max-age=1000\r\n"
                                  "Location: /fresh\r\n",
                        .body = "moved" });
  site_put(f, (page_t){ .path = "/same",
                        .fields = "Cache-Control: max-age=0\r\nETag: \"e\"\r\n",
                        .body = "same",
                        .etag = "\"e\"" });
  site_put(f, (page_t){ .path = "/large",
                        .fields = "Cache-Control: max-age=1000\r\n",
                        .size = LARGE });
}

static void sweep(fixture_t* f, failing_mode_t mode) {
  put_pages(f);
  nt_close(f->host->net, CLOSE_MS);
  failing_sweep(run_session, f, mode, 100);
}

static void any_one_allocation_may_fail(void** state) {
  sweep(*state, FAILING_ONCE);
}

static void from_any_allocation_on_all_may_fail(void** state) {
  sweep(*state, FAILING_ALWAYS);
}

/* What an earlier run has stored may be there. */
static void with_a_folder(void** state) {
  folder_t folder;

  folder_make(&folder);
  cache_dir = folder.path;
  sweep(*state, FAILING_ONCE);
  cache_dir = NULL;
  folder_remove(&folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_keep_libcurl_out),
    SITE_TEST(any_one_allocation_may_fail),
    SITE_TEST(from_any_allocation_on_all_may_fail),
    SITE_TEST(with_a_folder),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("cache_alloc", tests, NULL, NULL);
}
