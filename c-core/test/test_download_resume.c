/* Downloads that go on where one before was cut off: by the server, an abort, a
 * kill at a random point, a full disk. */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "downloads.h"

enum {
  KILL_ROUNDS = 20,
  KILLS_MAX = 8,
  KILL_SIZE = 6 << 20,
  DISK_SIZE = 3 << 20
};

/* ---- Going on ----------------------------------------------------------- */

/* A part of half the file. */
static void leave_half(fixture_t* f) {
  files_stop_at(f, 50000, 0);
  expect_error(f, start(f, "a", NT_DOWNLOAD_RESUME), NT_E_LENGTH_MISMATCH);
  ASSERT_ONLY(&f->folder, "a.part", "a.part.meta");
  assert_served(in_folder(&f->folder, "a.part"), 0, 50000);
  files_stop_at(f, 0, 0);
}

static void goes_on(void** state) {
  fixture_t* f = *state;
  nt_download_options_t options;
  char digest[2 * NT__SHA256_SIZE + 1];
  uint64_t first = 0;
  nt_event_t ev;
  nt_id_t id;

  leave_half(f);
  digest_of_served(0, 100000, digest);
  nt_download_options_init(&options);
  options.path = in_folder(&f->folder, "a");
  options.sha256 = digest;
  options.flags = NT_DOWNLOAD_RESUME;
  id = start_options(f, "/file", &options);
  do {
    host_next(f->host, &ev);
    if (ev.type == NT_EV_PROGRESS && first == 0)
      first = ev.done;
  } while (ev.type != NT_EV_END);
  assert_true(ev.id == id);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.status, 206);
  assert_int_equal(ev.done, 100000); /* all of it */
  assert_true(first >= 50000);
  assert_true(files_saw(f, "\r\nRange: bytes=49999-\r\n"));
  assert_true(files_saw(f, "\r\nIf-Range: \"v0\"\r\n"));
  assert_served(in_folder(&f->folder, "a"), 0, 100000);
  ASSERT_ONLY(&f->folder, "a");
}

/* What the server does the second time, and how that ends. */
static const struct {
  unsigned first_flags;
  unsigned flags;
  unsigned version;
  unsigned requests; /* of the second download */
  int status;
} second_times[] = {
  { 0, FILES_NO_RANGES, 0, 1, 200 },
  { 0, 0, 1, 1, 200 }, /* the file has changed */
  { 0, FILES_IGNORE_IF, 1, 2, 200 },
  { 0, FILES_ALWAYS_416, 0, 2, 200 },
  { 0, FILES_WRONG_RANGE, 0, 2, 200 },
  { 0, FILES_NO_LENGTH, 0, 1, 206 },
  { FILES_NO_ETAG | FILES_MODIFIED, FILES_NO_ETAG | FILES_MODIFIED, 0, 1, 206 },
};

static void second_time(fixture_t* f, size_t i) {
  nt_event_t ev;

  files_set(f, second_times[i].first_flags, 100000);
  leave_half(f);
  pthread_mutex_lock(&f->files->mutex);
  f->files->flags = second_times[i].flags;
  f->files->version = second_times[i].version;
  f->files->gets = 0;
  pthread_mutex_unlock(&f->files->mutex);
  expect(f, start(f, "a", NT_DOWNLOAD_RESUME), 0, &ev);
  assert_int_equal(ev.status, second_times[i].status);
  assert_int_equal(files_count(f, &f->files->gets), second_times[i].requests);
  assert_served(in_folder(&f->folder, "a"), second_times[i].version, 100000);
  ASSERT_ONLY(&f->folder, "a");
  unlink(in_folder(&f->folder, "a"));
  pthread_mutex_lock(&f->files->mutex);
  f->files->version = 0;
  pthread_mutex_unlock(&f->files->mutex);
}

static void second_times_differ(void** state) {
  size_t i;

  for (i = 0; i < COUNT(second_times); i++)
    second_time(*state, i);
}

/* Nothing says whether it is the same file the next time. */
static void nothing_to_go_on_with(void** state) {
  static const unsigned flags[] = { FILES_NO_ETAG, FILES_WEAK_ETAG,
                                    FILES_STATUS_503 };
  fixture_t* f = *state;
  size_t i;

  files_stop_at(f, 50000, 0);
  for (i = 0; i < COUNT(flags); i++) {
    files_set(f, flags[i], 100000);
    expect_error(f, start(f, "a", NT_DOWNLOAD_RESUME), NT_E_LENGTH_MISMATCH);
    assert_nothing_left(f);
  }
}

/* A death between the last byte and the rename. */
static void all_was_there(void** state) {
  fixture_t* f = *state;
  char* data = malloc(100000);
  nt_event_t ev;
  int i;

  leave_half(f);
  for (i = 0; i < 100000; i++)
    data[i] = files_byte(0, (uint64_t) i);
  file_put(in_folder(&f->folder, "a.part"), data, 100000);
  free(data);
  expect(f, start(f, "a", NT_DOWNLOAD_RESUME), 0, &ev);
  assert_int_equal(ev.status, 206);
  assert_true(files_saw(f, "\r\nRange: bytes=99999-\r\n"));
  assert_served(in_folder(&f->folder, "a"), 0, 100000);
}

static void goes_on_after_an_abort(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  files_stop_at(f, 0, 50000);
  id = start(f, "a", NT_DOWNLOAD_RESUME);
  do
    host_next(f->host, &ev);
  while (ev.type != NT_EV_PROGRESS || ev.done < 16384);
  nt_abort(f->host->net, id);
  expect_error(f, id, NT_E_ABORTED);
  files_stop_at(f, 0, 0);
  expect(f, start(f, "a", NT_DOWNLOAD_RESUME), 0, &ev);
  assert_int_equal(ev.status, 206);
  assert_served(in_folder(&f->folder, "a"), 0, 100000);
}

static void another_url_starts_over(void** state) {
  fixture_t* f = *state;
  nt_download_options_t options;
  nt_event_t ev;

  leave_half(f);
  nt_download_options_init(&options);
  options.path = in_folder(&f->folder, "a");
  options.flags = NT_DOWNLOAD_RESUME;
  expect(f, start_options(f, "/file2", &options), 0, &ev);
  assert_int_equal(ev.status, 200);
  assert_false(files_saw(f, "Range"));
}

/* ---- In another process ------------------------------------------------- */

static const char* self;

/* This program once more, which does one of the things below. */
static pid_t start_self(const char* what, const fixture_t* f,
                        const char* path) {
  char url[256];
  pid_t child;

  host_url(f->host, "/file", url, sizeof(url));
  child = fork();
  if (child == 0) {
    execl(self, self, what, url, path, f->folder.path, (char*) NULL);
    _exit(127);
  }
  assert_true(child > 0);
  return child;
}

static int child_download(const char* url, const char* path) {
  nt_download_options_t options;
  nt_context_t* net;
  nt_event_t ev;
  nt_id_t id;

  nt_download_options_init(&options);
  options.request.url = url;
  options.path = path;
  options.flags = NT_DOWNLOAD_RESUME;
  if (nt_open(&net) != 0 || nt_download_open(net, &id) != 0 ||
      nt_download_start(net, id, &options) != 0)
    return 1;
  do {
    nt_wait(net, PATIENCE_MS);
    if (!nt_poll(net, &ev))
      return 2;
  } while (ev.type != NT_EV_END);
  if (ev.error != 0)
    fprintf(stderr, "child: %s (%s)\n", nt_error_name(ev.error), ev.message);
  id = ev.error == 0 ? 0 : (nt_id_t) -ev.error;
  nt_close(net, CLOSE_MS);
  return (int) id;
}

/* Kills it once the part is that large, or lets it end. */
static bool kill_at(pid_t child, const char* part, off_t size) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;
  struct stat info;
  int status;

  while (waitpid(child, &status, WNOHANG) == 0) {
    if (uv_hrtime() > end)
      fail_msg("the child hangs");
    if (stat(part, &info) == 0 && info.st_size >= size) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      break;
    }
    sched_yield();
  }
  if (WIFSIGNALED(status))
    return false;
  assert_int_equal(WEXITSTATUS(status), 0);
  return true;
}

static void killed_at_random_points(void** state) {
  fixture_t* f = *state;
  char* path = strdup(in_folder(&f->folder, "a"));
  char* part = strdup(in_folder(&f->folder, "a.part"));
  uint64_t random = 362436069;
  int round;
  int kills = 0;

  files_set(f, 0, KILL_SIZE);
  for (round = 0; round < KILL_ROUNDS; round++) {
    int i;
    bool done = false;

    for (i = 0; i < KILLS_MAX && !done; i++) {
      off_t size = (off_t) (next_random(&random) % KILL_SIZE);

      done = kill_at(start_self("download", f, path), part, size);
      kills += !done;
    }
    if (!done)
      kill_at(start_self("download", f, path), part, KILL_SIZE + 1);
    assert_served(path, 0, KILL_SIZE);
    ASSERT_ONLY(&f->folder, "a");
    unlink(path);
  }
  assert_true(kills > KILL_ROUNDS); /* and most of them went on */
  assert_true(files_count(f, &f->files->partial) > KILL_ROUNDS / 2);
  free(path);
  free(part);
}

static bool enter_namespace(void) {
  uid_t uid = getuid();
  char map[64];
  int fd;

  if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0)
    return false;
  if (uid != 0) {
    snprintf(map, sizeof(map), "0 %d 1", (int) uid);
    fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, map, strlen(map)) < 0)
      return false;
    close(fd);
  }
  return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int child_full_disk(const char* url, const char* path,
                           const char* disk) {
  int status;

  if (!enter_namespace() || mount("none", disk, "tmpfs", 0, "size=1m") != 0) {
    perror("child: tmpfs");
    return 1;
  }
  status = child_download(url, path);
  /* What can be gone on with is left, and nothing else. */
  return status == -NT_E_DISK_FULL && folder_count(disk) == 2 ? 0 : 1;
}

static void disk_full(void** state) {
  fixture_t* f = *state;
  int status;
  pid_t child;

  files_set(f, 0, DISK_SIZE);
  child = start_self("full-disk", f, in_folder(&f->folder, "a"));
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_nothing_left(f); /* it was another file system */
}

int main(int argc, char** argv) {
  const struct CMUnitTest tests[] = {
    FILES_TEST(goes_on),
    FILES_TEST(second_times_differ),
    FILES_TEST(nothing_to_go_on_with),
    FILES_TEST(all_was_there),
    FILES_TEST(goes_on_after_an_abort),
    FILES_TEST(another_url_starts_over),
    FILES_TEST(killed_at_random_points),
    FILES_TEST(disk_full),
  };

  self = "/proc/self/exe";
  if (argc == 5 && strcmp(argv[1], "download") == 0)
    return child_download(argv[2], argv[3]);
  if (argc == 5 && strcmp(argv[1], "full-disk") == 0)
    return child_full_disk(argv[2], argv[3], argv[4]);
  return cmocka_run_group_tests_name("download_resume", tests, NULL, NULL);
}
