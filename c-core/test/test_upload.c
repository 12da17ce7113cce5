/* upload.c and source.c against a server that takes uploads: what is sent, in
 * which pieces, once more after a redirect, and what an answer means that comes
 * before all was sent. */
#include "files.h"

enum {
  MEGABYTE = 1 << 20,
  PATTERN = 5 * MEGABYTE + 12345,
  HASTY_ROUNDS = 20
};

/* ---- Helpers ------------------------------------------------------------ */

static nt_id_t start_options(fixture_t* f, const char* path,
                             nt_upload_options_t* options) {
  nt_id_t id = 0;
  char url[256];

  options->request.url = host_url(f->host, path, url, sizeof(url));
  assert_int_equal(nt_upload_open(f->host->net, &id), 0);
  assert_int_equal(nt_upload_start(f->host->net, id, options), 0);
  return id;
}

static nt_id_t start_to(fixture_t* f, const char* path, const nt_part_t* parts,
                        size_t count) {
  nt_upload_options_t options;

  nt_upload_options_init(&options);
  options.parts = parts;
  options.part_count = count;
  return start_options(f, path, &options);
}

static nt_id_t start(fixture_t* f, const nt_part_t* parts, size_t count) {
  return start_to(f, "/upload", parts, count);
}

static void expect(fixture_t* f, nt_id_t id, int error, int status) {
  nt_event_t ev;

  host_end(f->host, id, &ev);
  if (ev.error != error)
    fail_msg("%s (%s) instead of %s", nt_error_name(ev.error), ev.message,
             nt_error_name(error));
  assert_int_equal(ev.status, status);
  assert_null(ev.path);
}

/* A file of that many bytes of the server's pattern. */
static const char* make_file(fixture_t* f, const char* name, size_t size) {
  const char* path = in_folder(&f->folder, name);
  FILE* file = fopen(path, "wb");
  size_t done = 0;

  assert_non_null(file);
  while (done < size) {
    size_t n = size - done < SERVER_BLOCK ? size - done : SERVER_BLOCK;

    assert_int_equal(fwrite(files_bytes(0, done), 1, n, file), n);
    done += n;
  }
  fclose(file);
  return path;
}

/* The boundary of the last request. */
static const char* boundary_of(fixture_t* f, char* out, size_t size) {
  const char* at;

  pthread_mutex_lock(&f->files->mutex);
  at = strstr(f->files->head,
              "\r\nContent-Type: multipart/form-data; "
              "boundary=");
  assert_non_null(at);
  snprintf(out, size, "%s", strchr(at, '=') + 1);
  pthread_mutex_unlock(&f->files->mutex);
  out[strcspn(out, "\r")] = '\0';
  return out;
}

static uint64_t body_size(fixture_t* f) {
  uint64_t size;

  pthread_mutex_lock(&f->files->mutex);
  size = f->files->body_size;
  pthread_mutex_unlock(&f->files->mutex);
  return size;
}

/* ---- What is sent ------------------------------------------------------- */

static void parts_in_their_order(void** state) {
  fixture_t* f = *state;
  nt_part_t parts[] = {
    { .name = "field \"1\"", .data = "a value", .size = 7 },
    { .name = "empty" },
    { .name = "file", .path = in_folder(&f->folder, "x.json") },
    { .name = "again",
      .path = in_folder(&f->folder, "x.json"),
      .file_name = "shot.png" },
    { .name = "memory",
      .data = "a\0b",
      .size = 3,
      .file_name = "m",
      .fallback_type = "video/mp4" },
    { .name = "nothing", .path = in_folder(&f->folder, "empty") },
  };
  static const char expected[] =
      "--%s\r\nContent-Disposition: form-data; name=\"field %%221%%22\"\r\n\r\n"
      "a value\r\n"
      "--%s\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n"
      "\r\n"
      "--%s\r\nContent-Disposition: form-data; name=\"file\"; "
      "filename=\"x.json\"\r\nContent-Type: application/json\r\n\r\n"
      "{}\r\n"
      "--%s\r\nContent-Disposition: form-data; name=\"again\"; "
      "filename=\"shot.png\"\r\nContent-Type: image/png\r\n\r\n"
      "{}\r\n"
      "--%s\r\nContent-Disposition: form-data; name=\"memory\"; "
      "filename=\"m\"\r\nContent-Type: video/mp4\r\n\r\n"
      "a%cb\r\n"
      "--%s\r\nContent-Disposition: form-data; name=\"nothing\"; "
      "filename=\"empty\"\r\nContent-Type: application/octet-stream\r\n\r\n"
      "\r\n"
      "--%s--\r\n";
  static const nt_header_t headers[] = { { "content-type", "text/plain" },
                                         { "X-Mine", "1" } };
  nt_upload_options_t options;
  char boundary[128];
  char body[2048];
  nt_event_t ev;
  int size;

  file_put(in_folder(&f->folder, "x.json"), "{}", 2);
  file_put(in_folder(&f->folder, "empty"), "", 0);
  nt_upload_options_init(&options);
  options.parts = parts;
  options.part_count = COUNT(parts);
  options.request.headers = headers;
  options.request.header_count = 2;
  host_end(f->host, start_options(f, "/upload", &options), &ev);
  assert_int_equal(ev.error, 0);
  assert_string_equal(ev.data, "taken");
  boundary_of(f, boundary, sizeof(boundary));
  size = snprintf(body, sizeof(body), expected, boundary, boundary, boundary,
                  boundary, boundary, '\0', boundary, boundary);
  assert_int_equal(body_size(f), size);
  assert_memory_equal(f->files->body, body, (size_t) size);
  assert_true(files_saw(f, "POST /upload HTTP/1.1\r\n"));
  assert_true(files_saw(f, "\r\nX-Mine: 1\r\n"));
  assert_false(files_saw(f, "text/plain"));
  assert_false(files_saw(f, "Transfer-Encoding"));
}

static void no_parts_at_all(void** state) {
  fixture_t* f = *state;

  expect(f, start(f, NULL, 0), 0, 200);
  assert_memory_equal(f->files->body, "------nettask", 13);
}

/* Where each byte of a body of several large segments comes from. */
static void large_parts(void** state) {
  fixture_t* f = *state;
  static const size_t sizes[] = { MEGABYTE / 2, 1, 262144 };
  const char* names[] = { "a", "b", "c" };
  nt_part_t parts[COUNT(sizes)];
  const char* at;
  size_t i;

  memset(parts, 0, sizeof(parts));
  for (i = 0; i < COUNT(sizes); i++) {
    parts[i].name = names[i];
    parts[i].path = make_file(f, names[i], sizes[i]);
  }
  expect(f, start(f, parts, COUNT(parts)), 0, 200);
  at = f->files->body;
  for (i = 0; i < COUNT(sizes); i++) {
    size_t j;

    at = strstr(at, "octet-stream\r\n\r\n");
    assert_non_null(at);
    at += 16;
    for (j = 0; j < sizes[i]; j++)
      if (at[j] != files_byte(0, j))
        fail_msg("part %zu differs at %zu", i, j);
    at += sizes[i];
    assert_memory_equal(at, "\r\n------nettask", 15);
  }
}

/* ---- Progress ----------------------------------------------------------- */

static void progress(void** state) {
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .path = make_file(f, "a", PATTERN) };
  uint64_t last = 0;
  int percent = -1;
  int count = 0;
  nt_event_t ev;
  nt_id_t id = start(f, &part, 1);

  do {
    host_next(f->host, &ev);
    assert_true(ev.id == id);
    if (ev.type != NT_EV_PROGRESS)
      continue;
    assert_true(percent < 100);
    assert_true(ev.done >= last && ev.done <= ev.total);
    assert_true(ev.total > PATTERN && ev.total < PATTERN + 1000);
    last = ev.done;
    percent = ev.percent;
    count++;
  } while (ev.type != NT_EV_END);
  assert_int_equal(ev.error, 0);
  assert_true(count > 0);
  assert_int_equal(percent, 100);
  assert_int_equal(last, body_size(f)); /* of the whole body */
}

/* ---- Once more ---------------------------------------------------------- */

static void redirects_send_it_again(void** state) {
  static const unsigned flags[] = { 0, FILES_MOVED_EARLY };
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .path = make_file(f, "a", PATTERN) };
  size_t i;

  for (i = 0; i < COUNT(flags); i++) {
    files_set(f, flags[i], 0);
    expect(f, start_to(f, "/moved", &part, 1), 0, 200);
    assert_int_equal(files_count(f, &f->files->posts), 2 * (i + 1));
    assert_true(files_saw(f, "POST /upload "));
    assert_true(body_size(f) > PATTERN);
  }
}

static void redirect_to_get(void** state) {
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .data = "x", .size = 1 };

  files_set(f, 0, 10);
  expect(f, start_to(f, "/other", &part, 1), 0, 200);
  assert_true(files_saw(f, "GET /file "));
  assert_false(files_saw(f, "Content-Type"));
}

/* ---- Expect ------------------------------------------------------------- */

static void expectations(void** state) {
  static const unsigned flags[] = { 0, FILES_NO_CONTINUE, FILES_417 };
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .path = make_file(f, "a", PATTERN) };
  nt_event_t ev;
  size_t i;

  for (i = 0; i < COUNT(flags); i++) {
    unsigned headers = 0;
    nt_id_t id;

    files_set(f, flags[i], 0);
    id = start(f, &part, 1);
    do {
      host_next(f->host, &ev);
      headers += ev.type == NT_EV_HEADERS;
    } while (ev.type != NT_EV_END);
    assert_true(ev.id == id);
    assert_int_equal(ev.error, 0);
    assert_int_equal(ev.status, 200);
    assert_int_equal(headers, 1);
    assert_true(body_size(f) > PATTERN);
    assert_int_equal(files_saw(f, "Expect: 100-continue"),
                     flags[i] != FILES_417);
  }
  assert_int_equal(files_count(f, &f->files->posts), 4);
}

/* ---- Early answers ------------------------------------------------------ */

/* Without Expect some of the body is on its way when the answer comes. */
static void upload_for_answer(fixture_t* f, const nt_part_t* part,
                              bool has_expect, nt_event_t* ev) {
  static const nt_header_t no_expect = { "Expect", "" };
  nt_upload_options_t options;

  nt_upload_options_init(&options);
  options.parts = part;
  options.part_count = 1;
  options.request.headers = &no_expect;
  options.request.header_count = !has_expect;
  host_end(f->host, start_options(f, "/upload", &options), ev);
  assert_int_equal(files_saw(f, "Expect: 100-continue"), has_expect);
}

static void expect_early_answer(fixture_t* f, const nt_part_t* part,
                                bool has_expect) {
  nt_event_t ev;

  upload_for_answer(f, part, has_expect, &ev);
  if (ev.error != 0)
    fail_msg("%s (%s)", nt_error_name(ev.error), ev.message);
  assert_int_equal(ev.status, 413);
  assert_string_equal(ev.data, "too large");
}

static void an_early_answer(void** state) {
  static const unsigned flags[] = { FILES_EARLY_413, FILES_HALF_413 };
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .path = make_file(f, "a", PATTERN) };
  size_t i;

  for (i = 0; i < COUNT(flags); i++) {
    files_set(f, flags[i], 0);
    expect_early_answer(f, &part, true);
    expect_early_answer(f, &part, false);
  }
}

/* A server that closes at once, with bytes of ours unread: its system sends a
 * reset behind the answer. If it comes between two of our writes the answer is
 * lost with the connection, which is rare; where nothing was sent, it is not
 * lost. */
static void a_hasty_server(void** state) {
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .path = make_file(f, "a", PATTERN) };
  nt_event_t ev;
  int answers = 0;
  int round;

  files_set(f, FILES_EARLY_413 | FILES_EARLY_CLOSE, 0);
  expect_early_answer(f, &part, true);
  for (round = 0; round < HASTY_ROUNDS; round++) {
    upload_for_answer(f, &part, false, &ev);
    answers += ev.error == 0 && ev.status == 413;
    assert_true(ev.error == 0 || ev.error == NT_E_RESET);
  }
  assert_true(answers > HASTY_ROUNDS / 2);
}

/* ---- Refusals ----------------------------------------------------------- */

static const struct {
  const char* file;
  int error;
} refused[] = {
  { "none", NT_E_NO_FILE },      { "none/a", NT_E_NO_FILE },
  { "folder", NT_E_NOT_A_FILE }, { "fifo", NT_E_NOT_A_FILE },
  { "device", NT_E_NOT_A_FILE },
};

static void nothing_is_sent_for_a_bad_file(void** state) {
  fixture_t* f = *state;
  nt_part_t parts[2] = { { .name = "good" }, { .name = "bad" } };
  size_t i;

  parts[0].path = make_file(f, "good", 10);
  assert_int_equal(mkfifo(in_folder(&f->folder, "fifo"), 0666), 0);
  assert_int_equal(mkdir(in_folder(&f->folder, "folder"), 0777), 0);
  assert_int_equal(symlink("/dev/zero", in_folder(&f->folder, "device")), 0);
  for (i = 0; i < COUNT(refused); i++) {
    parts[0].path = in_folder(&f->folder, "good");
    parts[1].path = in_folder(&f->folder, refused[i].file);
    expect(f, start(f, parts, 2), refused[i].error, 0);
  }
  assert_int_equal(server_requests(f->host->server), 0);
}

static void read_roots(void** state) {
  fixture_t* f = *state;
  char* root = strdup(in_folder(&f->folder, "in"));
  const char* roots[] = { root };
  nt_part_t part = { .name = "a" };
  nt_policy_t policy;

  assert_int_equal(mkdir(root, 0777), 0);
  make_file(f, "in/a", 10);
  make_file(f, "a", 10);
  assert_int_equal(symlink("../a", in_folder(&f->folder, "in/link")), 0);
  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.read_roots = roots;
  policy.read_root_count = 1;
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
  free(root);
  part.path = in_folder(&f->folder, "a");
  expect(f, start(f, &part, 1), NT_E_OUTSIDE, 0);
  part.path = in_folder(&f->folder, "in/link");
  expect(f, start(f, &part, 1), NT_E_OUTSIDE, 0);
  part.path = in_folder(&f->folder, "in/a");
  expect(f, start(f, &part, 1), 0, 200);
}

static void caps(void** state) {
  fixture_t* f = *state;
  nt_part_t parts[] = {
    { .name = "a", .path = make_file(f, "a", 600) },
    { .name = "b", .data = f->files, .size = 400, .file_name = "b" },
    { .name = "c", .data = f->files, .size = 5000 }, /* is no file */
  };
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.upload_max_bytes = 1000;
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
  expect(f, start(f, parts, COUNT(parts)), 0, 200);
  policy.upload_max_bytes = 999;
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
  expect(f, start(f, parts, COUNT(parts)), NT_E_FILE_SIZE, 0);
  assert_int_equal(server_requests(f->host->server), 1);
}

static void options_that_are_none(void** state) {
  fixture_t* f = *state;
  nt_context_t* net = f->host->net;
  nt_part_t part = { .name = NULL };
  nt_upload_options_t options;
  nt_id_t id;

  assert_int_equal(nt_upload_open(net, &id), 0);
  nt_upload_options_init(&options);
  assert_int_equal(nt_upload_start(net, id, NULL), NT_E_INVALID);
  assert_int_equal(nt_upload_start(net, id, &options), NT_E_INVALID);
  options.request.url = "http://127.0.0.1/";
  options.part_count = 1;
  assert_int_equal(nt_upload_start(net, id, &options), NT_E_INVALID);
  options.parts = &part;
  assert_int_equal(nt_upload_start(net, id, &options), NT_E_INVALID);
  part.name = "a";
  part.type = "a\nb";
  assert_int_equal(nt_upload_start(net, id, &options), NT_E_HEADER);
  part.type = NULL;
  options.request.url = "http://[";
  assert_int_equal(nt_upload_start(net, id, &options), NT_E_URL);
  assert_int_equal(nt_state(net, id), NT_STATE_IDLE);
  options.request.url = "ftp://127.0.0.1/"; /* refused later, never opened */
  assert_int_equal(nt_upload_start(net, id, &options), 0);
  expect(f, id, NT_E_SCHEME, 0);
}

/* ---- While it is under way ---------------------------------------------- */

static nt_id_t start_held(fixture_t* f, const nt_part_t* part) {
  nt_id_t id;

  files_set(f, FILES_SLOW_READER, 0);
  id = start(f, part, 1);
  assert_true(
      server_wait(f->host->server, &f->host->server->holding, 1, PATIENCE_MS));
  return id;
}

static void a_file_that_shrinks(void** state) {
  fixture_t* f = *state;
  const char* path = make_file(f, "a", 8 * PATTERN);
  nt_part_t part = { .name = "a", .path = path };
  nt_id_t id = start_held(f, &part);

  assert_int_equal(truncate(path, 1000), 0);
  server_release(f->host->server);
  expect(f, id, NT_E_FILE_CHANGED, 0);
}

/* What is sent is what was there when it began. */
static void a_file_that_grows(void** state) {
  fixture_t* f = *state;
  const char* path = make_file(f, "a", PATTERN);
  nt_part_t part = { .name = "a", .path = path };
  nt_id_t id = start_held(f, &part);

  assert_int_equal(truncate(path, 2 * PATTERN), 0);
  server_release(f->host->server);
  expect(f, id, 0, 200);
  assert_true(body_size(f) < PATTERN + 1000);
}

static void abort_on_the_way(void** state) {
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .path = make_file(f, "a", 8 * PATTERN) };
  nt_event_t ev;
  nt_id_t id = start_held(f, &part);

  nt_abort(f->host->net, id);
  host_next(f->host, &ev);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, NT_E_ABORTED);
  files_set(f, 0, 0);
  server_release(f->host->server);
  expect(f, start(f, &part, 1), 0, 200);
}

static void abort_at_any_moment(void** state) {
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .path = make_file(f, "a", PATTERN) };
  uint64_t random = 88172645463325252u;
  nt_event_t ev;
  int round;

  for (round = 0; round < 100; round++) {
    nt_id_t id = start(f, &part, 1);
    uint64_t end = uv_hrtime() + next_random(&random) % 4000000;

    while (uv_hrtime() < end)
      nt_collect(f->host->net);
    nt_abort(f->host->net, id);
    host_end(f->host, id, &ev);
    assert_int_equal(ev.error, NT_E_ABORTED);
  }
  expect(f, start(f, &part, 1), 0, 200);
}

static void closing_on_the_way(void** state) {
  fixture_t* f = *state;
  nt_part_t part = { .name = "a", .path = make_file(f, "a", 8 * PATTERN) };

  start_held(f, &part);
  assert_int_equal(host_close(f->host->net), 0);
  assert_int_equal(nt_open(&f->host->net), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    FILES_TEST(parts_in_their_order),
    FILES_TEST(no_parts_at_all),
    FILES_TEST(large_parts),
    FILES_TEST(progress),
    FILES_TEST(redirects_send_it_again),
    FILES_TEST(redirect_to_get),
    FILES_TEST(expectations),
    FILES_TEST(an_early_answer),
    FILES_TEST(a_hasty_server),
    FILES_TEST(nothing_is_sent_for_a_bad_file),
    FILES_TEST(read_roots),
    FILES_TEST(caps),
    FILES_TEST(options_that_are_none),
    FILES_TEST(a_file_that_shrinks),
    FILES_TEST(a_file_that_grows),
    FILES_TEST(abort_on_the_way),
    FILES_TEST(abort_at_any_moment),
    FILES_TEST(closing_on_the_way),
  };

  return cmocka_run_group_tests_name("upload", tests, NULL, NULL);
}
