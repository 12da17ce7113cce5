/* The cache with a folder, through requests: what outlives the context, what is
 * read piece by piece, ends while the disk is asked, and what is not written.
 * The store itself is tested in test_cache_store.c. */
#include "folder.h"
#include "site.h"

enum {
  LARGE = 3000000, /* read in many pieces */
  HUGE_SIZE = 30000001,
  RUNS = 150
};

#define FRESH "Cache-Control: max-age=1000\r\n"
#define STALE "Cache-Control: max-age=0\r\n"

typedef struct disk {
  fixture_t* f;
  folder_t folder;
} disk_t;

static void use(disk_t* d, const char* folder, const nt_secret_t* secret) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.cache_dir = folder;
  policy.cache_max_bytes = 64 << 20;
  policy.task_high_water = 64 << 10;
  policy.secrets = secret;
  policy.secret_count = secret != NULL;
  assert_int_equal(nt_policy_set(d->f->host->net, &policy), 0);
}

static void use_folder(disk_t* d, const nt_secret_t* secret) {
  use(d, in_folder(&d->folder, "cache"), secret);
}

static int disk_set_up(void** state) {
  disk_t* d = calloc(1, sizeof(*d));
  void* f;

  folder_make(&d->folder);
  if (site_set_up(&f) != 0)
    return -1;
  d->f = f;
  use_folder(d, NULL);
  *state = d;
  return 0;
}

static int disk_tear_down(void** state) {
  disk_t* d = *state;
  void* f = d->f;
  int err = site_tear_down(&f);

  folder_remove(&d->folder);
  free(d);
  return err;
}

#define DISK_TEST(name)                                                        \
  cmocka_unit_test_setup_teardown(name, disk_set_up, disk_tear_down)

/* Another run of the program: nothing is in memory. */
static void run_again(disk_t* d) {
  assert_int_equal(host_close(d->f->host->net), 0);
  assert_int_equal(nt_open(&d->f->host->net), 0);
  use_folder(d, NULL);
}

static nt_id_t start_stream(fixture_t* f, const char* path) {
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.flags = NT_REQUEST_STREAM;
  return site_start(f, path, NT_CACHE_DEFAULT, &options);
}

/* Takes chunks until the end, and compares them with the pattern. */
static const char* drain_size(fixture_t* f, nt_id_t id, uint64_t size) {
  static char verdict[32];
  uint64_t done = 0;
  nt_event_t ev;

  do {
    host_next(f->host, &ev);
    assert_true(ev.id == id);
    if (ev.type != NT_EV_CHUNK)
      continue;
    for (size_t i = 0; i < ev.size; i += SERVER_BLOCK)
      assert_memory_equal(
          (const char*) ev.data + i, server_bytes(done + i),
          ev.size - i < SERVER_BLOCK ? ev.size - i : SERVER_BLOCK);
    done += ev.size;
  } while (ev.type != NT_EV_END);
  assert_int_equal(ev.error, 0);
  assert_true(done == size);
  snprintf(verdict, sizeof(verdict), "%s", ev.profile->cache);
  return verdict;
}

static const char* drain(fixture_t* f, nt_id_t id) {
  return drain_size(f, id, LARGE);
}

/* ---- Another run --------------------------------------------------------- */

static void answers_outlive_the_context(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  site_put(f, (page_t){ .path = "/from",
                        .status = "301 Moved",
                        .fields = FRESH "Location: /a\r\n",
                        .body = "moved" });
  site_put(f, (page_t){ .path = "/v",
                        .fields = STALE "ETag: \"e\"\r\n",
                        .body = "same",
                        .etag = "\"e\"",
                        .renewed = FRESH });
  assert_string_equal(site_get(f, "/from", NT_CACHE_DEFAULT), "200 one ");
  assert_string_equal(site_get(f, "/v", NT_CACHE_DEFAULT), "200 same ");
  run_again(d);
  assert_string_equal(site_get(f, "/from", NT_CACHE_DEFAULT), "200 one hit");
  assert_string_equal(site_get(f, "/v", NT_CACHE_DEFAULT),
                      "200 same revalidated");
  run_again(d);
  assert_string_equal(site_get(f, "/v", NT_CACHE_DEFAULT), "200 same hit");
  assert_string_equal(site_get(f, "/none", NT_CACHE_ONLY), "CACHE_MISS");
  assert_int_equal(site_asked(f), 4);
}

static void a_post_forgets_what_an_earlier_run_stored(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;
  nt_request_options_t post;

  nt_request_options_init(&post);
  post.method = "POST";
  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  run_again(d);
  site_end(f, site_start(f, "/a", NT_CACHE_NONE, &post));
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
}

static void clearing_clears_the_disk(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  run_again(d);
  assert_int_equal(nt_cache_clear(f->host->net, NULL), 0);
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
  run_again(d);
  assert_string_equal(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS");
}

/* ---- Bodies -------------------------------------------------------------- */

static void large_bodies_are_streamed_from_disk(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;
  nt_event_t ev;

  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  assert_string_equal(drain(f, start_stream(f, "/s")), "");
  run_again(d);
  assert_string_equal(drain(f, start_stream(f, "/s")), "hit");
  run_again(d);
  host_end(f->host, site_start(f, "/s", NT_CACHE_DEFAULT, NULL), &ev);
  assert_int_equal(ev.size, LARGE);
  assert_memory_equal((const char*) ev.data + LARGE - 1000,
                      server_bytes(LARGE - 1000), 1000);
  assert_string_equal(ev.profile->cache, "hit");
  assert_int_equal(site_asked(f), 1);
}

/* More than what waits for the disk at once, from a host that is fast. */
static void a_stream_waits_for_the_disk(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.cache_dir = in_folder(&d->folder, "cache");
  policy.cache_max_bytes = 0;
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = HUGE_SIZE });
  assert_string_equal(drain_size(f, start_stream(f, "/s"), HUGE_SIZE), "");
  assert_string_equal(drain_size(f, start_stream(f, "/s"), HUGE_SIZE), "hit");
  assert_int_equal(site_asked(f), 1);
}

static void the_disk_does_not_stall(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;
  nt_request_options_t options;

  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  assert_string_equal(drain(f, start_stream(f, "/s")), "");
  run_again(d);
  nt_request_options_init(&options);
  options.flags = NT_REQUEST_STREAM;
  options.timeouts.stall = 1; /* of the network */
  assert_string_equal(drain(f, site_start(f, "/s", NT_CACHE_DEFAULT, &options)),
                      "hit");
}

/* ---- Meanwhile ----------------------------------------------------------- */

static void spin_us(int us) {
  uint64_t end = uv_hrtime() + (uint64_t) us * 1000;

  while (uv_hrtime() < end)
    sched_yield();
}

/* The answer that was found may be another user's by the time that the server
 * is asked about it. */
static void the_jar_may_change_before_it_is_asked(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;
  page_t page = { .path = "/v",
                  .fields = STALE "Vary: Cookie\r\nETag: \"e\"\r\n",
                  .body = "hers" };
  nt_request_options_t options;
  char url[64];
  int i;

  host_url(f->host, "/v", url, sizeof(url));
  nt_request_options_init(&options);
  options.flags = NT_REQUEST_COOKIES_SEND;
  page.etag = "\"e\"";
  for (i = 0; i < RUNS / 5; i++) {
    const char* came;
    nt_id_t id;

    assert_int_equal(nt_cache_clear(f->host->net, NULL), 0);
    page.body = "hers";
    site_put(f, page);
    site_end(f, site_start(f, "/v", NT_CACHE_RELOAD, &options));
    run_again(d);
    page.body = "his";
    site_put(f, page);
    id = site_start(f, "/v", NT_CACHE_DEFAULT, &options);
    spin_us(30 * i);
    assert_int_equal(nt_cookies_set(f->host->net, url, "user=he"), 0);
    came = site_end(f, id);
    if (site_saw(f, "user=he"))
      assert_string_equal(came, "200 his ");
    else
      assert_string_equal(came, "200 hers revalidated");
    assert_int_equal(nt_cookies_clear(f->host->net, NULL), 0);
  }
}

/* ---- Ends ---------------------------------------------------------------- */

static void put_pages(fixture_t* f) {
  site_put(f, (page_t){ .path = "/s", .fields = FRESH, .size = LARGE });
  site_put(f, (page_t){ .path = "/v",
                        .fields = STALE "ETag: \"e\"\r\n",
                        .body = "same",
                        .etag = "\"e\"" });
  site_get(f, "/v", NT_CACHE_DEFAULT);
  drain(f, start_stream(f, "/s"));
}

static nt_id_t start_any(fixture_t* f, uint64_t random) {
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.flags = random & 1 ? NT_REQUEST_STREAM : 0;
  return site_start(f, random & 2 ? "/v" : "/s", NT_CACHE_DEFAULT, &options);
}

/* While it is found, loaded, read and recorded, and while the folder is another
 * one. */
static void ends_at_any_moment(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;
  uint64_t random = 88172645463325252u;
  unsigned ended = 0;
  nt_event_t ev;
  unsigned i;

  put_pages(f);
  run_again(d);
  for (i = 0; i < RUNS; i++) {
    nt_id_t id = start_any(f, next_random(&random));
    uint64_t spins = next_random(&random) % 8000;

    if (i % 16 == 0)
      assert_int_equal(nt_cache_clear(f->host->net, NULL), 0);
    if (i % 8 == 4)
      use(d, i % 3 == 0 ? NULL : in_folder(&d->folder, i % 3 == 1 ? "a" : "b"),
          NULL);
    if (i % 8 == 7)
      use_folder(d, NULL);
    while (spins-- > 0)
      ended += nt_poll(f->host->net, &ev) && ev.type == NT_EV_END;
    nt_abort(f->host->net, id);
  }
  while (ended < RUNS) {
    host_next(f->host, &ev);
    assert_true(ev.error == 0 || ev.error == NT_E_ABORTED);
    ended += ev.type == NT_EV_END;
  }
  assert_string_equal(site_get(f, "/v", NT_CACHE_RELOAD), "200 same ");
}

static void the_context_closes_over_all(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;
  nt_event_t ev;
  unsigned i;

  put_pages(f);
  for (i = 0; i < 10; i++) {
    run_again(d);
    start_stream(f, "/s");
    site_start(f, "/s", NT_CACHE_DEFAULT, NULL);
    site_start(f, "/v", NT_CACHE_DEFAULT, NULL);
    if (i % 2)
      host_next(f->host, &ev);
  }
}

/* ---- Others -------------------------------------------------------------- */

static void two_contexts_share_a_folder(void** state) {
  disk_t* d = *state;
  fixture_t* f = d->f;
  nt_context_t* first = f->host->net;
  nt_context_t* second;

  site_put(f, (page_t){ .path = "/a", .fields = FRESH, .body = "one" });
  site_get(f, "/a", NT_CACHE_DEFAULT);
  assert_int_equal(nt_open(&second), 0);
  f->host->net = second;
  use_folder(d, NULL);
  site_get(f, "/b", NT_CACHE_ONLY); /* what the first has put is written */
  while (strcmp(site_get(f, "/a", NT_CACHE_ONLY), "CACHE_MISS") == 0)
    sched_yield();
  assert_string_equal(site_get(f, "/a", NT_CACHE_DEFAULT), "200 one hit");
  assert_int_equal(host_close(second), 0);
  f->host->net = first;
  assert_int_equal(site_asked(f), 1);
}

static bool file_has(const char* path, const char* text) {
  static char bytes[1 << 20];
  FILE* file = fopen(path, "rb");
  size_t size = file == NULL ? 0 : fread(bytes, 1, sizeof(bytes), file);

  if (file != NULL)
    fclose(file);
  return size > 0 && memmem(bytes, size, text, strlen(text)) != NULL;
}

/* Whether a file below it has these bytes. */
static bool folder_has(const char* path, const char* text) {
  DIR* folder = opendir(path);
  struct dirent* entry;
  char inner[PATH_MAX];
  bool found = false;

  assert_non_null(folder);
  while (!found && (entry = readdir(folder)) != NULL) {
    if (entry->d_name[0] == '.')
      continue;
    snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
    found = entry->d_type == DT_DIR ? folder_has(inner, text)
                                    : file_has(inner, text);
  }
  closedir(folder);
  return found;
}

static void nothing_secret_is_written(void** state) {
  nt_header_t fields[] = { { "X-Key", "{{key}}" },
                           { "Authorization", "Bearer shown-by-the-script" } };
  disk_t* d = *state;
  fixture_t* f = d->f;
  nt_request_options_t options;
  char host[64];
  const char* const hosts[] = { host_url(f->host, "", host, sizeof(host)) };
  nt_secret_t secret = { .name = "key",
                         .placeholder = "{{key}}",
                         .value = "hidden-by-the-host",
                         .hosts = { hosts, 1 } };
  int i;

  use_folder(d, &secret);
  nt_request_options_init(&options);
  options.headers = fields;
  options.header_count = COUNT(fields);
  site_put(f, (page_t){ .path = "/a",
                        .fields = FRESH "Vary: X-Key, Authorization\r\n",
                        .body = "found on the disk" });
  for (i = 0; i < 2; i++)
    assert_string_equal(
        site_end(f, site_start(f, "/a", NT_CACHE_DEFAULT, &options)),
        i == 0 ? "200 found on the disk " : "200 found on the disk hit");
  assert_true(site_saw(f, "X-Key: hidden-by-the-host"));
  assert_int_equal(host_close(f->host->net), 0);
  f->host->net = NULL;
  assert_true(folder_has(d->folder.path, "found on the disk"));
  assert_false(folder_has(d->folder.path, "hidden-by-the-host"));
  assert_false(folder_has(d->folder.path, "shown-by-the-script"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    DISK_TEST(answers_outlive_the_context),
    DISK_TEST(a_post_forgets_what_an_earlier_run_stored),
    DISK_TEST(clearing_clears_the_disk),
    DISK_TEST(large_bodies_are_streamed_from_disk),
    DISK_TEST(a_stream_waits_for_the_disk),
    DISK_TEST(the_disk_does_not_stall),
    DISK_TEST(the_jar_may_change_before_it_is_asked),
    DISK_TEST(ends_at_any_moment),
    DISK_TEST(the_context_closes_over_all),
    DISK_TEST(two_contexts_share_a_folder),
    DISK_TEST(nothing_secret_is_written),
  };

  return cmocka_run_group_tests_name("cache_disk", tests, NULL, NULL);
}
