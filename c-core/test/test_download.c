/* download.c, sink.c and progress.c against a server that serves a file, well
 * or badly: what appears where, what is told on the way, and what is left when
 * something goes wrong. */
#include "downloads.h"

enum {
  MEGABYTE = 1 << 20,
  MANY = 25
};

/* ---- A file comes ------------------------------------------------------- */

static void to_a_path(void** state) {
  fixture_t* f = *state;
  const char* path = in_folder(&f->folder, "a");
  nt_download_options_t options;
  nt_event_t ev;
  nt_id_t id;

  nt_download_options_init(&options);
  options.path = path;
  id = start_options(f, "/file", &options);
  host_next(f->host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  assert_int_equal(ev.status, 200);
  expect(f, id, 0, &ev);
  assert_string_equal(ev.path, path);
  assert_int_equal(ev.done, 100000);
  assert_int_equal(ev.status, 200);
  assert_int_equal(ev.size, 0);
  assert_served(path, 0, 100000);
  ASSERT_ONLY(&f->folder, "a");
  assert_true(files_saw(f, "\r\nAccept-Encoding: identity\r\n"));
  assert_false(files_saw(f, "Range"));
}

static const struct {
  const char* type;
  const char* path;
  const char* extension;
} temporary[] = {
  { "image/jpeg", "/file.png", ".jpg" },
  { "application/octet-stream", "/file.pak?a=b.c", ".pak" },
  { NULL, "/file", "" },
};

static void to_a_temporary_file(void** state) {
  fixture_t* f = *state;
  nt_download_options_t options;
  char* paths[COUNT(temporary)];
  nt_event_t ev;
  size_t i;

  for (i = 0; i < COUNT(temporary); i++) {
    const char* dot;

    pthread_mutex_lock(&f->files->mutex);
    f->files->type = temporary[i].type;
    pthread_mutex_unlock(&f->files->mutex);
    nt_download_options_init(&options);
    expect(f, start_options(f, temporary[i].path, &options), 0, &ev);
    dot = strchr(strrchr(ev.path, '/'), '.');
    assert_string_equal(dot == NULL ? "" : dot, temporary[i].extension);
    paths[i] = strdup(ev.path);
  }
  for (i = 0; i < COUNT(temporary); i++)
    assert_served(paths[i], 0, 100000);
  assert_int_equal(host_close(f->host->net), 0);
  assert_nothing_left(f);
  assert_int_equal(nt_open(&f->host->net), 0);
  for (i = 0; i < COUNT(temporary); i++)
    free(paths[i]);
}

static void replaces_a_file(void** state) {
  fixture_t* f = *state;

  file_put(in_folder(&f->folder, "a"), "old", 3);
  expect_error(f, start(f, "a", NT_DOWNLOAD_DURABLE), 0);
  assert_served(in_folder(&f->folder, "a"), 0, 100000);
  ASSERT_ONLY(&f->folder, "a");
}

static void any_status(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;

  files_set(f, FILES_STATUS_503, 10);
  expect(f, start(f, "a", 0), 0, &ev);
  assert_int_equal(ev.status, 503);
  assert_served(in_folder(&f->folder, "a"), 0, 10);
}

static void only_a_good_status(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  file_put(in_folder(&f->folder, "a"), "old", 3);
  files_set(f, FILES_STATUS_503, 10);
  id = start(f, "a", NT_DOWNLOAD_GOOD_ONLY);
  host_next(f->host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  assert_int_equal(ev.status, 503);
  expect(f, id, NT_E_STATUS, &ev);
  assert_int_equal(ev.status, 503);
  assert_file(in_folder(&f->folder, "a"), "old");
  ASSERT_ONLY(&f->folder, "a");
  files_set(f, 0, 10);
  expect_error(f, start(f, "a", NT_DOWNLOAD_GOOD_ONLY), 0);
  assert_served(in_folder(&f->folder, "a"), 0, 10);
}

static void as_it_is_on_the_wire(void** state) {
  fixture_t* f = *state;
  static const nt_header_t headers[] = { { "accept-encoding", "gzip" },
                                         { "Range", "bytes=5-" } };
  nt_download_options_t options;
  nt_event_t ev;

  files_set(f, FILES_GZIP, 1000);
  nt_download_options_init(&options);
  options.path = in_folder(&f->folder, "a");
  options.request.headers = headers;
  options.request.header_count = 2;
  expect(f, start_options(f, "/file", &options), 0, &ev);
  assert_false(files_saw(f, "gzip"));
  assert_int_equal(ev.status, 206); /* the script asked for it */
  assert_int_equal(ev.done, 995);
}

static void by_a_redirect(void** state) {
  fixture_t* f = *state;
  nt_download_options_t options;
  nt_event_t ev;

  nt_download_options_init(&options);
  options.path = in_folder(&f->folder, "a");
  expect(f, start_options(f, "/other", &options), 0, &ev);
  assert_int_equal(ev.redirects, 1);
  assert_served(in_folder(&f->folder, "a"), 0, 100000);
}

/* More than may run at once: each gets its own file. */
static void many_at_once(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  char name[16];
  int left = MANY;
  int i;

  files_set(f, 0, 3 * MEGABYTE / 2 + 1);
  for (i = 0; i < MANY; i++) {
    snprintf(name, sizeof(name), "%d", i);
    start(f, name, 0);
  }
  while (left > 0) {
    host_next(f->host, &ev);
    if (ev.type != NT_EV_END)
      continue;
    assert_int_equal(ev.error, 0);
    left--;
  }
  assert_int_equal(folder_count(f->folder.path), MANY);
  for (i = 0; i < MANY; i++) {
    snprintf(name, sizeof(name), "%d", i);
    assert_served(in_folder(&f->folder, name), 0, 3 * MEGABYTE / 2 + 1);
  }
}

/* ---- Progress ----------------------------------------------------------- */

/* Takes the events of a download; returns how many told of progress. */
static int watch(fixture_t* f, nt_id_t id, uint64_t size, bool is_known) {
  uint64_t done = 0;
  int percent = -1;
  int count = 0;
  nt_event_t ev;

  for (;;) {
    host_next(f->host, &ev);
    assert_true(ev.id == id);
    if (ev.type == NT_EV_HEADERS)
      continue;
    if (ev.type == NT_EV_END)
      break;
    assert_int_equal(ev.type, NT_EV_PROGRESS);
    assert_true(percent < 100); /* only the last says so */
    assert_true(ev.done >= done && ev.done <= size);
    if (is_known)
      assert_int_equal(ev.total, size);
    else
      assert_int_equal(ev.total, ev.percent == 100 ? size : 0);
    done = ev.done;
    percent = ev.percent;
    count++;
  }
  assert_int_equal(ev.error, 0);
  assert_int_equal(done, size);
  assert_int_equal(percent, 100);
  return count;
}

static void progress(void** state) {
  fixture_t* f = *state;
  uint64_t started = uv_hrtime();
  int count;

  files_set(f, 0, 20 * MEGABYTE);
  count = watch(f, start(f, "a", 0), 20 * MEGABYTE, true);
  assert_true((uint64_t) count <= 2 + (uv_hrtime() - started) / 50000000);

  files_set(f, FILES_NO_LENGTH, MEGABYTE);
  watch(f, start(f, "a", 0), MEGABYTE, false);

  files_set(f, 0, 0);
  assert_int_equal(watch(f, start(f, "a", 0), 0, false), 1);
}

/* While the host does not look, figures do not queue up. */
static void progress_coalesces(void** state) {
  fixture_t* f = *state;
  const char* path = in_folder(&f->folder, "a");
  nt_id_t id;

  files_set(f, 0, 30 * MEGABYTE);
  id = start(f, "a", 0);
  wait_file(path);
  host_reach(f->host, id, NT_STATE_CLOSING);
  assert_int_equal(nt_waiting(f->host->net), 3); /* headers, progress, end */
  assert_int_equal(watch(f, id, 30 * MEGABYTE, true), 1);
}

/* ---- Refusals ----------------------------------------------------------- */

static const struct {
  const char* file;
  int error;
} refused[] = {
  { "none/a", NT_E_NO_FOLDER },   { "fifo", NT_E_NOT_A_FILE },
  { "folder", NT_E_NOT_A_FILE },  { "link", NT_E_NOT_A_FILE },
  { "folder/", NT_E_NOT_A_FILE },
};

static void nothing_is_sent_for_a_bad_path(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  size_t i;

  assert_int_equal(mkfifo(in_folder(&f->folder, "fifo"), 0666), 0);
  assert_int_equal(mkdir(in_folder(&f->folder, "folder"), 0777), 0);
  assert_int_equal(symlink("/dev/null", in_folder(&f->folder, "link")), 0);
  for (i = 0; i < COUNT(refused); i++) {
    expect(f, start(f, refused[i].file, 0), refused[i].error, &ev);
    assert_true(strlen(ev.message) > strlen(nt_error_message(ev.error)));
  }
  assert_int_equal(server_requests(f->host->server), 0);
}

static void outside_of_the_roots(void** state) {
  fixture_t* f = *state;
  char* root = strdup(in_folder(&f->folder, "in"));
  const char* roots[] = { root };
  nt_policy_t policy;

  assert_int_equal(mkdir(root, 0777), 0);
  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.write_roots = roots;
  policy.write_root_count = 1;
  policy.temp_dir = f->folder.path; /* is not asked for */
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
  free(root);
  expect_error(f, start(f, "a", 0), NT_E_OUTSIDE);
  expect_error(f, start(f, "in/../a", 0), NT_E_OUTSIDE);
  assert_int_equal(server_requests(f->host->server), 0);
  expect_error(f, start(f, "in/a", 0), 0);
  expect_error(f, start(f, NULL, 0), 0);
}

static void options_that_are_none(void** state) {
  fixture_t* f = *state;
  nt_context_t* net = f->host->net;
  nt_download_options_t options;
  nt_id_t id;

  assert_int_equal(nt_download_open(net, &id), 0);
  nt_download_options_init(&options);
  assert_int_equal(nt_download_start(net, id, NULL), NT_E_INVALID);
  assert_int_equal(nt_download_start(net, id, &options), NT_E_INVALID);
  options.request.url = "http://127.0.0.1/";
  options.path = "";
  assert_int_equal(nt_download_start(net, id, &options), NT_E_INVALID);
  options.path = "/tmp/a";
  options.sha256 = "abc";
  assert_int_equal(nt_download_start(net, id, &options), NT_E_INVALID);
  options.sha256 = NULL;
  options.request.url = "http://[";
  assert_int_equal(nt_download_start(net, id, &options), NT_E_URL);
  assert_int_equal(nt_state(net, id), NT_STATE_IDLE);
  options.request.url = "ftp://127.0.0.1/"; /* refused later, never opened */
  assert_int_equal(nt_download_start(net, id, &options), 0);
  expect_error(f, id, NT_E_SCHEME);
}

static void set_cap(fixture_t* f, uint64_t max) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.download_max_bytes = max;
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
}

static void caps(void** state) {
  static const unsigned flags[] = { 0, FILES_NO_LENGTH };
  fixture_t* f = *state;
  size_t i;

  for (i = 0; i < COUNT(flags); i++) {
    files_set(f, flags[i], 1000000);
    set_cap(f, 999999);
    expect_error(f, start(f, "a", NT_DOWNLOAD_RESUME), NT_E_FILE_SIZE);
    assert_nothing_left(f); /* not even to go on with */
    set_cap(f, 1000000);
    expect_error(f, start(f, "a", 0), 0);
    assert_served(in_folder(&f->folder, "a"), 0, 1000000);
    unlink(in_folder(&f->folder, "a"));
  }
}

/* ---- Two of them -------------------------------------------------------- */

static void set_temp_cap(fixture_t* f, uint64_t max) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  policy.temp_dir = f->folder.path;
  policy.temp_max_bytes = max;
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
}

/* Files in the folder of the run, but for its lock. */
static unsigned count_temporary(const char* path) {
  char folder[PATH_MAX];

  snprintf(folder, sizeof(folder), "%s", path);
  *strrchr(folder, '/') = '\0';
  return folder_count(folder) - 1;
}

/* The record of what is refused comes first. */
static void expect_temp_size(fixture_t* f, nt_id_t id) {
  nt_event_t ev;

  for (;;) {
    host_next(f->host, &ev);
    assert_true(ev.id == id);
    if (ev.type == NT_EV_REFUSED)
      break;
    assert_int_not_equal(ev.type, NT_EV_END);
  }
  assert_int_equal(ev.error, NT_E_TEMP_SIZE);
  assert_memory_equal(ev.message, f->folder.path, strlen(f->folder.path));
  expect_error(f, id, NT_E_TEMP_SIZE);
}

/* All temporary files together: what is there, and what is on its way. */
static void the_cap_of_temporary_files(void** state) {
  fixture_t* f = *state;
  char first[PATH_MAX];
  nt_event_t ev;

  set_temp_cap(f, 250000);
  expect(f, start(f, NULL, 0), 0, &ev);
  snprintf(first, sizeof(first), "%s", ev.path);
  expect_error(f, start(f, NULL, NT_DOWNLOAD_RESUME), 0);
  assert_int_equal(count_temporary(first), 2);
  expect_temp_size(f, start(f, NULL, 0));
  expect_temp_size(f, start(f, NULL, NT_DOWNLOAD_RESUME));
  assert_int_equal(count_temporary(first), 2);   /* nothing is left */
  expect_error(f, start(f, "of-its-own", 0), 0); /* is no temporary one */

  unlink(first);
  expect_error(f, start(f, NULL, 0), 0);
  expect_temp_size(f, start(f, NULL, 0));
  set_temp_cap(f, 350000);
  expect_error(f, start(f, NULL, 0), 0);
  assert_int_equal(count_temporary(first), 3);
}

static void many_share_the_cap(void** state) {
  enum {
    TASKS = 8,
    FIT = 5
  };
  fixture_t* f = *state;
  int good = 0;
  int ends = 0;
  nt_event_t ev;
  char path[PATH_MAX] = "";

  files_set(f, 0, 3 * MEGABYTE);
  set_temp_cap(f, (3 * FIT + 1) * (uint64_t) MEGABYTE);
  for (int i = 0; i < TASKS; i++)
    start(f, NULL, 0);
  while (ends < TASKS) {
    host_next(f->host, &ev);
    if (ev.type != NT_EV_END)
      continue;
    ends++;
    if (ev.error != 0) {
      assert_int_equal(ev.error, NT_E_TEMP_SIZE);
      continue;
    }
    good++;
    assert_served(ev.path, 0, 3 * MEGABYTE);
    snprintf(path, sizeof(path), "%s", ev.path);
  }
  assert_true(good <= FIT);
  if (good > 0)
    assert_int_equal(count_temporary(path), good);
  /* Those that failed have given their room back. */
  files_set(f, 0, MEGABYTE);
  expect_error(f, start(f, NULL, 0), 0);
}

static void an_abort_gives_room_back(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  files_set(f, 0, 2 * MEGABYTE);
  set_temp_cap(f, 3 * MEGABYTE);
  files_stop_at(f, 0, 2 * MEGABYTE - 1);
  id = start(f, NULL, 0);
  assert_true(
      server_wait(f->host->server, &f->host->server->holding, 1, PATIENCE_MS));
  nt_abort(f->host->net, id);
  expect_error(f, id, NT_E_ABORTED);
  files_stop_at(f, 0, 0);
  expect_error(f, start(f, NULL, 0), 0);
}

static void the_second_fails_at_once(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t first;
  nt_id_t second;

  files_stop_at(f, 0, 50000);
  first = start(f, "a", 0);
  assert_true(
      server_wait(f->host->server, &f->host->server->holding, 1, PATIENCE_MS));
  second = start(f, "a", NT_DOWNLOAD_RESUME);
  do
    host_next(f->host, &ev);
  while (ev.id == first);
  assert_true(ev.id == second);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, NT_E_BUSY);
  server_release(f->host->server);
  expect_error(f, first, 0);
  assert_served(in_folder(&f->folder, "a"), 0, 100000);
  assert_int_equal(server_requests(f->host->server), 1);
}

/* ---- Abort -------------------------------------------------------------- */

static void abort_in_the_body(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  files_stop_at(f, 0, 50000);
  id = start(f, "a", 0);
  assert_true(
      server_wait(f->host->server, &f->host->server->holding, 1, PATIENCE_MS));
  nt_abort(f->host->net, id);
  host_next(f->host, &ev);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, NT_E_ABORTED);
  assert_nothing_left(f);
}

static void abort_before_it_begins(void** state) {
  fixture_t* f = *state;
  nt_id_t ids[MANY];
  nt_event_t ev;
  int i;

  files_stop_at(f, 0, 50000);
  for (i = 0; i < MANY; i++) { /* running and queued ones */
    char name[16];

    snprintf(name, sizeof(name), "%d", i);
    ids[i] = start(f, name, 0);
  }
  for (i = 0; i < MANY; i++)
    nt_abort(f->host->net, ids[i]);
  for (i = 0; i < MANY; i++) {
    host_next(f->host, &ev);
    assert_int_equal(ev.type, NT_EV_END);
    assert_int_equal(ev.error, NT_E_ABORTED);
  }
  assert_nothing_left(f);
}

/* What is in place cannot be taken back: the end is a success, and nothing
 * else comes after the abort. */
static void abort_comes_too_late(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id = start(f, "a", 0);

  wait_file(in_folder(&f->folder, "a"));
  nt_abort(f->host->net, id);
  nt_abort(f->host->net, id);
  host_next(f->host, &ev);
  assert_true(ev.id == id);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, 0);
  assert_string_equal(ev.path, in_folder(&f->folder, "a"));
  assert_int_equal(nt_poll(f->host->net, &ev), 0);
}

static void abort_of_an_end_that_waits(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id = start(f, "a", 0);

  host_reach(f->host, id, NT_STATE_CLOSING);
  assert_int_equal(nt_waiting(f->host->net), 3);
  nt_abort(f->host->net, id);
  assert_int_equal(nt_waiting(f->host->net), 1);
  expect(f, id, 0, &ev);

  files_stop_at(f, 50000, 0); /* one that failed is aborted */
  id = start(f, "b", 0);
  host_reach(f->host, id, NT_STATE_CLOSING);
  nt_abort(f->host->net, id);
  expect_error(f, id, NT_E_ABORTED);
  ASSERT_ONLY(&f->folder, "a");
}

/* At any moment: the end says what is on the disk. */
static void abort_at_any_moment(void** state) {
  fixture_t* f = *state;
  uint64_t random = 88172645463325252u;
  nt_event_t ev;
  int round;

  for (round = 0; round < 300; round++) {
    nt_id_t id = start(f, "a", 0);
    uint64_t end = uv_hrtime() + next_random(&random) % 2000000;

    while (uv_hrtime() < end)
      nt_collect(f->host->net);
    nt_abort(f->host->net, id);
    host_end(f->host, id, &ev);
    if (ev.error == 0) {
      assert_served(in_folder(&f->folder, "a"), 0, 100000);
      unlink(in_folder(&f->folder, "a"));
    } else {
      assert_int_equal(ev.error, NT_E_ABORTED);
    }
    assert_false(file_exists(in_folder(&f->folder, "a")));
    assert_false(file_exists(in_folder(&f->folder, "a.part")));
  }
}

static void closing_in_the_body(void** state) {
  fixture_t* f = *state;

  files_stop_at(f, 0, 50000);
  start(f, "a", 0);
  start(f, NULL, 0);
  assert_true(
      server_wait(f->host->server, &f->host->server->holding, 2, PATIENCE_MS));
  assert_int_equal(host_close(f->host->net), 0);
  assert_nothing_left(f);
  assert_int_equal(nt_open(&f->host->net), 0);
}

/* ---- Failures ----------------------------------------------------------- */

static void a_body_that_is_cut(void** state) {
  fixture_t* f = *state;

  files_stop_at(f, 50000, 0);
  expect_error(f, start(f, "a", 0), NT_E_LENGTH_MISMATCH);
  assert_nothing_left(f);
  files_set(f, FILES_NO_LENGTH, 100000);
  expect_error(f, start(f, "a", 0), NT_E_CHUNKED);
  assert_nothing_left(f);
}

static void a_body_that_stalls(void** state) {
  fixture_t* f = *state;
  nt_download_options_t options;
  nt_event_t ev;

  files_stop_at(f, 0, 50000);
  nt_download_options_init(&options);
  assert_int_equal(options.request.timeouts.stall, 30000);
  options.request.timeouts.stall = 100;
  options.path = in_folder(&f->folder, "a");
  expect(f, start_options(f, "/file", &options), NT_E_TIMEOUT, &ev);
  assert_nothing_left(f);
}

static void a_digest(void** state) {
  fixture_t* f = *state;
  nt_download_options_t options;
  char digest[2 * NT__SHA256_SIZE + 1];
  nt_event_t ev;

  digest_of_served(0, 100000, digest);
  nt_download_options_init(&options);
  options.path = in_folder(&f->folder, "a");
  options.sha256 = digest;
  options.flags = NT_DOWNLOAD_RESUME;
  expect(f, start_options(f, "/file", &options), 0, &ev);
  unlink(in_folder(&f->folder, "a"));
  digest[0] ^= 1;
  options.path = in_folder(&f->folder, "a");
  expect(f, start_options(f, "/file", &options), NT_E_DIGEST, &ev);
  assert_nothing_left(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    FILES_TEST(to_a_path),
    FILES_TEST(to_a_temporary_file),
    FILES_TEST(replaces_a_file),
    FILES_TEST(any_status),
    FILES_TEST(only_a_good_status),
    FILES_TEST(as_it_is_on_the_wire),
    FILES_TEST(by_a_redirect),
    FILES_TEST(many_at_once),
    FILES_TEST(progress),
    FILES_TEST(progress_coalesces),
    FILES_TEST(nothing_is_sent_for_a_bad_path),
    FILES_TEST(outside_of_the_roots),
    FILES_TEST(options_that_are_none),
    FILES_TEST(caps),
    FILES_TEST(the_cap_of_temporary_files),
    FILES_TEST(many_share_the_cap),
    FILES_TEST(an_abort_gives_room_back),
    FILES_TEST(the_second_fails_at_once),
    FILES_TEST(abort_in_the_body),
    FILES_TEST(abort_before_it_begins),
    FILES_TEST(abort_comes_too_late),
    FILES_TEST(abort_of_an_end_that_waits),
    FILES_TEST(abort_at_any_moment),
    FILES_TEST(closing_in_the_body),
    FILES_TEST(a_body_that_is_cut),
    FILES_TEST(a_body_that_stalls),
    FILES_TEST(a_digest),
  };

  return cmocka_run_group_tests_name("download", tests, NULL, NULL);
}
