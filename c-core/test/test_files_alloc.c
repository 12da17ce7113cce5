/* Downloads and uploads without memory: each run repeats itself with the first,
 * second, third, ... of our allocations failing until none is left to fail. A
 * task ends once, well or with NT_E_NOMEM; a file is whole or not there; and
 * all that was taken is given back. */
#include "failing_sweep.h"
#include "files.h"

enum {
  FILE_BYTES = 600000,
  LULL_MS = 30 /* no event for so long: memory comes back */
};

typedef struct ids {
  nt_id_t id[3];
  unsigned open;
  unsigned ended;
} ids_t;

/* What cannot be started is failed by its host. */
static void started(host_t* host, ids_t* ids, nt_id_t id, int err) {
  ids->id[ids->open++] = id;
  if (err == 0)
    return;
  assert_int_equal(err, NT_E_NOMEM);
  nt_fail(host->net, id, err, NULL);
}

static void start_download(fixture_t* f, ids_t* ids, const char* path) {
  nt_download_options_t options;
  char url[256];
  nt_id_t id;

  nt_download_options_init(&options);
  options.request.url = host_url(f->host, "/file", url, sizeof(url));
  options.path = path;
  options.flags = path == NULL ? 0 : NT_DOWNLOAD_RESUME;
  if (nt_download_open(f->host->net, &id) == 0)
    started(f->host, ids, id, nt_download_start(f->host->net, id, &options));
}

static void start_upload(fixture_t* f, ids_t* ids) {
  nt_part_t parts[] = {
    { .name = "a", .path = in_folder(&f->folder, "given") },
    { .name = "b", .data = "x", .size = 1, .file_name = "b" },
  };
  nt_upload_options_t options;
  char url[256];
  nt_id_t id;

  nt_upload_options_init(&options);
  options.request.url = host_url(f->host, "/upload", url, sizeof(url));
  options.parts = parts;
  options.part_count = COUNT(parts);
  if (nt_upload_open(f->host->net, &id) == 0)
    started(f->host, ids, id, nt_upload_start(f->host->net, id, &options));
}

static void take_end(fixture_t* f, const nt_event_t* ev, long n) {
  if (ev->error != 0 && ev->error != NT_E_NOMEM)
    fail_msg("n = %ld: %s (%s)", n, nt_error_name(ev->error), ev->message);
  if (ev->error != 0)
    return;
  if (ev->path == NULL)
    assert_int_equal(ev->size, 5); /* "taken" */
  else
    assert_int_equal(ev->done, FILE_BYTES);
  if (ev->path != NULL && strstr(ev->path, "/kept") != NULL)
    assert_true(file_exists(in_folder(&f->folder, "kept")));
}

static void wait_for_ends(fixture_t* f, ids_t* ids, long n) {
  nt_context_t* net = f->host->net;
  nt_event_t ev;

  while (ids->ended < ids->open) {
    failing_wait(net, LULL_MS, n);
    while (nt_poll(net, &ev)) {
      if (ev.type != NT_EV_END)
        continue;
      take_end(f, &ev, n);
      ids->ended++;
    }
  }
}

/* A whole life; true when no allocation was left to fail. */
static bool run_session(void* arg, failing_mode_t mode, long n) {
  fixture_t* f = arg;
  const char* kept = in_folder(&f->folder, "kept");
  char path[PATH_MAX];
  ids_t ids = { { 0 }, 0, 0 };
  nt_policy_t policy;
  bool complete;

  snprintf(path, sizeof(path), "%s", kept);
  failing_start(mode, n);
  if (nt_open(&f->host->net) == 0) {
    nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
    policy.temp_dir = f->folder.path;
    if (nt_policy_set(f->host->net, &policy) == 0) {
      start_download(f, &ids, path);
      start_download(f, &ids, NULL);
      start_upload(f, &ids);
    }
    wait_for_ends(f, &ids, n);
    assert_int_equal(host_close(f->host->net), 0);
  }
  complete = failing_stop();
  f->host->net = NULL;
  unlink(path);
  /* What was left to go on with; and nothing of the temporary one. */
  unlink(in_folder(&f->folder, "kept.part"));
  unlink(in_folder(&f->folder, "kept.part.meta"));
  if (folder_count(f->folder.path) != 1)
    fail_msg("n = %ld: something is left", n);
  return complete;
}

static void sweep(fixture_t* f, failing_mode_t mode) {
  char given[1000] = "";

  files_set(f, 0, FILE_BYTES);
  file_put(in_folder(&f->folder, "given"), given, sizeof(given));
  assert_int_equal(host_close(f->host->net), 0);
  failing_sweep(run_session, f, mode, 50);
  assert_int_equal(nt_open(&f->host->net), 0); /* for the end of the test */
}

static void one_failure(void** state) {
  sweep(*state, FAILING_ONCE);
}

static void no_memory_from_then_on(void** state) {
  sweep(*state, FAILING_ALWAYS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_keep_libcurl_out),
    FILES_TEST(one_failure),
    FILES_TEST(no_memory_from_then_on),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("files_alloc", tests, NULL, NULL);
}
