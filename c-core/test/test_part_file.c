/* part_file.c: a file appears whole or not at all, whoever dies, whoever else
 * wants it, and whatever stands in its place. */
#include "part_file.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "folder.h"

typedef struct fixture {
  folder_t folder;
  nt__files_t files;
  nt_policy_t policy;
  atomic_bool cancelled;
} fixture_t;

static int set_up(void** state) {
  fixture_t* f = calloc(1, sizeof(*f));

  folder_make(&f->folder);
  nt__list_init(&f->files.parts);
  nt__temp_dirs_init(&f->files.temp);
  nt_policy_init(&f->policy, NT_PRESET_OPEN);
  f->policy.temp_dir = f->folder.path;
  *state = f;
  return 0;
}

static int tear_down(void** state) {
  fixture_t* f = *state;

  nt__temp_dirs_free(&f->files.temp);
  folder_remove(&f->folder);
  free(f);
  return 0;
}

static const char url[] = "http://a/file";

static nt__part_file_t new_part(fixture_t* f, bool resume) {
  nt__part_file_t part = { .files = &f->files,
                           .policy = &f->policy,
                           .url = url,
                           .fate = nt__fate_new(),
                           .cancelled = &f->cancelled,
                           .resume = resume };

  return part;
}

static void free_part(nt__part_file_t* part) {
  nt__part_fini(part);
  nt__fate_unref(part->fate);
}

static const nt__sidecar_t sidecar = { .validator = "\"a\"", .length = 10 };

static void begin(nt__part_file_t* part, const char* path) {
  int err = nt__part_open(part, path);

  if (err)
    fail_msg("%s: %s", nt_error_name(err), part->message);
  assert_int_equal(nt__part_begin(part, 0, &sidecar), 0);
}

/* ---- One after the other ------------------------------------------------ */

static void appears_whole(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, false);
  const char* path = in_folder(&f->folder, "a");

  file_put(path, "old", 3);
  begin(&part, path);
  assert_int_equal(nt__part_write(&part, "hello ", 6), 0);
  ASSERT_ONLY(&f->folder, "a", "a.part");
  assert_file(path, "old");
  assert_int_equal(nt__part_write(&part, "world", 5), 0);
  assert_int_equal(nt__part_commit(&part, ".ext"), 0);
  assert_string_equal(part.target, path);
  assert_file(path, "hello world");
  ASSERT_ONLY(&f->folder, "a");
  nt__part_close(&part, false); /* harmless */
  ASSERT_ONLY(&f->folder, "a");
  free_part(&part);
}

static void closing_leaves_nothing(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, false);

  begin(&part, in_folder(&f->folder, "a"));
  assert_int_equal(nt__part_write(&part, "hello", 5), 0);
  nt__part_close(&part, false);
  assert_int_equal(folder_count(f->folder.path), 0);
  free_part(&part);
}

static void aborted_before_it_is_in_place(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, false);

  begin(&part, in_folder(&f->folder, "a"));
  assert_true(nt__fate_abort(part.fate));
  assert_int_equal(nt__part_commit(&part, ""), NT_E_ABORTED);
  nt__part_close(&part, false);
  assert_int_equal(folder_count(f->folder.path), 0);
  free_part(&part);
}

static void durable(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, false);

  part.durable = true;
  begin(&part, in_folder(&f->folder, "a"));
  assert_int_equal(nt__part_write(&part, "hello", 5), 0);
  assert_int_equal(nt__part_commit(&part, ""), 0);
  assert_false(nt__fate_abort(part.fate)); /* too late */
  ASSERT_ONLY(&f->folder, "a");
  free_part(&part);
}

static void temporary(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, true);

  begin(&part, NULL);
  assert_int_equal(nt__part_write(&part, "hello", 5), 0);
  assert_int_equal(nt__part_commit(&part, ".txt"), 0);
  assert_string_equal(part.target + strlen(part.target) - 4, ".txt");
  assert_file(part.target, "hello");
  free_part(&part);
}

static const unsigned char hello_digest[NT__SHA256_SIZE] = {
  0x2c, 0xf2, 0x4d, 0xba, 0x5f, 0xb0, 0xa3, 0x0e, 0x26, 0xe8, 0x3b,
  0x2a, 0xc5, 0xb9, 0xe2, 0x9e, 0x1b, 0x16, 0x1e, 0x5c, 0x1f, 0xa7,
  0x42, 0x5e, 0x73, 0x04, 0x33, 0x62, 0x93, 0x8b, 0x98, 0x24
};

static void digest(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, true);

  part.digest = hello_digest;
  begin(&part, in_folder(&f->folder, "a"));
  assert_int_equal(nt__part_write(&part, "hel", 3), 0);
  assert_int_equal(nt__part_write(&part, "lo", 2), 0);
  assert_int_equal(nt__part_commit(&part, ""), 0);
  ASSERT_ONLY(&f->folder, "a");
  free_part(&part);

  part = new_part(f, true); /* a wrong one keeps nothing, resume or not */
  part.digest = hello_digest;
  begin(&part, in_folder(&f->folder, "b"));
  assert_int_equal(nt__part_write(&part, "jello", 5), 0);
  assert_int_equal(nt__part_commit(&part, ""), NT_E_DIGEST);
  nt__part_close(&part, false);
  ASSERT_ONLY(&f->folder, "a");
  free_part(&part);
}

/* ---- Resume ------------------------------------------------------------- */

/* Leaves "hel" and its sidecar. */
static void leave_part(fixture_t* f, const char* path) {
  nt__part_file_t part = new_part(f, true);

  begin(&part, path);
  assert_int_equal(nt__part_write(&part, "hel", 3), 0);
  nt__part_close(&part, false);
  free_part(&part);
}

static void goes_on(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, true);
  const char* path = in_folder(&f->folder, "a");

  leave_part(f, path);
  ASSERT_ONLY(&f->folder, "a.part", "a.part.meta");
  part.digest = hello_digest;
  assert_int_equal(nt__part_open(&part, path), 0);
  assert_true(part.resumable);
  assert_int_equal(part.size, 3);
  assert_string_equal(part.sidecar.validator, "\"a\"");
  assert_int_equal(part.sidecar.length, 10);
  assert_int_equal(nt__part_begin(&part, 2, NULL), 0);
  assert_int_equal(nt__part_write(&part, "llo", 3), 0);
  assert_int_equal(nt__part_commit(&part, ""), 0);
  assert_file(path, "hello");
  ASSERT_ONLY(&f->folder, "a");
  free_part(&part);
}

static void kept_until_the_body_comes(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, true);
  const char* path = in_folder(&f->folder, "a");

  leave_part(f, path);
  assert_int_equal(nt__part_open(&part, path), 0);
  nt__part_close(&part, false); /* no answer, say */
  ASSERT_ONLY(&f->folder, "a.part", "a.part.meta");
  free_part(&part);

  part = new_part(f, true);
  assert_int_equal(nt__part_open(&part, path), 0);
  nt__part_close(&part, true);
  assert_int_equal(folder_count(f->folder.path), 0);
  free_part(&part);
}

static void starts_over(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, true);
  const char* path = in_folder(&f->folder, "a");

  leave_part(f, path);
  begin(&part, path); /* from 0, with a sidecar */
  assert_int_equal(part.size, 0);
  assert_int_equal(nt__part_write(&part, "x", 1), 0);
  nt__part_close(&part, false);
  ASSERT_ONLY(&f->folder, "a.part", "a.part.meta");
  assert_file(in_folder(&f->folder, "a.part"), "x");
  free_part(&part);

  part = new_part(f, true); /* nothing to go on with this time */
  assert_int_equal(nt__part_open(&part, path), 0);
  assert_int_equal(nt__part_begin(&part, 0, NULL), 0);
  ASSERT_ONLY(&f->folder, "a.part");
  assert_int_equal(nt__part_write(&part, "y", 1), 0);
  nt__part_close(&part, false);
  assert_int_equal(folder_count(f->folder.path), 0);
  free_part(&part);
}

/* What makes a part useless. */
static void useless_parts(void** state) {
  static const char* const metas[] = {
    "", "nettask download 1\nhttp://a/other\n\"a\"\n10\nend\n",
    "nettask download 1\nhttp://a/file\n\"a\"\n10\ne",
    "nettask download 1\nhttp://a/file\n\"a\"\n2\nend\n", /* too long */
  };
  fixture_t* f = *state;
  size_t i;

  for (i = 0; i < COUNT(metas); i++) {
    nt__part_file_t part = new_part(f, true);

    file_put(in_folder(&f->folder, "a.part"), "hel", 3);
    file_put(in_folder(&f->folder, "a.part.meta"), metas[i], strlen(metas[i]));
    assert_int_equal(nt__part_open(&part, in_folder(&f->folder, "a")), 0);
    assert_false(part.resumable);
    assert_int_equal(part.size, 0);
    nt__part_close(&part, false);
    assert_int_equal(folder_count(f->folder.path), 0);
    free_part(&part);
  }
}

static void sidecars_are_not_followed(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, true);

  file_put(in_folder(&f->folder, "precious"), "x", 1);
  file_put(in_folder(&f->folder, "a.part"), "hel", 3);
  assert_int_equal(symlink("precious", in_folder(&f->folder, "a.part.meta")),
                   0);
  begin(&part, in_folder(&f->folder, "a"));
  assert_int_equal(nt__part_write(&part, "hel", 3), 0);
  nt__part_close(&part, false);
  assert_file(in_folder(&f->folder, "precious"), "x");
  ASSERT_ONLY(&f->folder, "precious", "a.part", "a.part.meta");
  free_part(&part);
}

/* ---- What stands in the way --------------------------------------------- */

static void make_fifo(const char* path) {
  assert_int_equal(mkfifo(path, 0666), 0);
}

static void make_folder(const char* path) {
  assert_int_equal(mkdir(path, 0777), 0);
}

static void make_link(const char* path) {
  assert_int_equal(symlink("elsewhere", path), 0);
}

static void make_link_to_device(const char* path) {
  assert_int_equal(symlink("/dev/null", path), 0);
}

static void make_socket(const char* path) {
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  assert_int_equal(bind(fd, (struct sockaddr*) &address, sizeof(address)), 0);
  close(fd);
}

static void (*const obstacles[])(const char*) = {
  make_fifo, make_folder, make_link, make_link_to_device, make_socket
};

static void only_regular_files(void** state) {
  static const char* const names[] = { "a", "a.part" };
  fixture_t* f = *state;
  size_t i;
  size_t j;

  for (i = 0; i < COUNT(obstacles); i++)
    for (j = 0; j < COUNT(names); j++) {
      nt__part_file_t part = new_part(f, false);

      obstacles[i](in_folder(&f->folder, names[j]));
      assert_int_equal(nt__part_open(&part, in_folder(&f->folder, "a")),
                       NT_E_NOT_A_FILE);
      assert_true(part.message[0] != '\0');
      nt__part_close(&part, false); /* was not opened */
      ASSERT_ONLY(&f->folder, names[j]);
      assert_int_equal(remove(in_folder(&f->folder, names[j])), 0);
      free_part(&part);
    }
}

static const struct {
  const char* path;
  int error;
} places[] = {
  { "/dev/null", NT_E_NOT_A_FILE },  { "/dev", NT_E_NOT_A_FILE },
  { "/", NT_E_NOT_A_FILE },          { "/no/such/folder/a", NT_E_NO_FOLDER },
  { "/dev/null/a", NT_E_NO_FOLDER },
};

static void bad_places(void** state) {
  fixture_t* f = *state;
  size_t i;

  for (i = 0; i < COUNT(places); i++) {
    nt__part_file_t part = new_part(f, false);
    int err = nt__part_open(&part, places[i].path);

    if (err != places[i].error)
      fail_msg("%s: %s", places[i].path, nt_error_name(err));
    free_part(&part);
  }
}

static void names_that_are_too_long(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, false);
  char name[254];

  memset(name, 'a', sizeof(name) - 1);
  name[sizeof(name) - 1] = '\0'; /* fits, but not with its ending */
  assert_int_equal(nt__part_open(&part, in_folder(&f->folder, name)),
                   NT_E_FILE);
  assert_int_equal(folder_count(f->folder.path), 0);
  free_part(&part);
}

static void a_folder_takes_the_place(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, false);
  const char* path = in_folder(&f->folder, "a");

  begin(&part, path);
  make_folder(path);
  assert_int_equal(nt__part_commit(&part, ""), NT_E_NOT_A_FILE);
  nt__part_close(&part, false);
  ASSERT_ONLY(&f->folder, "a");
  free_part(&part);
}

/* ---- Two of them -------------------------------------------------------- */

static void one_at_a_time(void** state) {
  fixture_t* f = *state;
  nt__part_file_t one = new_part(f, false);
  nt__part_file_t two = new_part(f, true);
  const char* path = in_folder(&f->folder, "a");

  assert_int_equal(symlink(".", in_folder(&f->folder, "link")), 0);
  begin(&one, path);
  assert_int_equal(nt__part_write(&one, "one", 3), 0);
  assert_int_equal(nt__part_open(&two, path), NT_E_BUSY);
  nt__part_close(&two, true);
  free_part(&two);
  two = new_part(f, false); /* the same file by another path */
  assert_int_equal(nt__part_open(&two, in_folder(&f->folder, "link/a")),
                   NT_E_BUSY);
  free_part(&two);
  assert_int_equal(nt__part_commit(&one, ""), 0);
  assert_file(path, "one");
  free_part(&one);

  two = new_part(f, false);
  begin(&two, path);
  assert_int_equal(nt__part_write(&two, "two", 3), 0);
  assert_int_equal(nt__part_commit(&two, ""), 0);
  assert_file(path, "two");
  free_part(&two);
}

static void another_context(void** state) {
  fixture_t* f = *state;
  nt__files_t files;
  nt__part_file_t one = new_part(f, false);
  nt__part_file_t two = new_part(f, false);

  nt__list_init(&files.parts); /* knows nothing of the first */
  two.files = &files;
  begin(&one, in_folder(&f->folder, "a"));
  assert_int_equal(nt__part_open(&two, in_folder(&f->folder, "a")), NT_E_BUSY);
  nt__part_close(&one, false);
  assert_int_equal(folder_count(f->folder.path), 0);
  free_part(&one);
  free_part(&two);
}

/* Starts a child that runs `body`, which says through the pipe when it is
 * ready; then it waits to be killed. */
static pid_t start_child(fixture_t* f, void (*body)(fixture_t*)) {
  int ready[2];
  pid_t child;
  char byte;

  assert_int_equal(pipe(ready), 0);
  child = fork();
  if (child == 0) {
    body(f);
    if (write(ready[1], "x", 1) == 1)
      pause();
    _exit(1);
  }
  close(ready[1]);
  assert_int_equal(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  return child;
}

static void kill_child(pid_t child) {
  int status;

  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, &status, 0), child);
}

static void hold_part(fixture_t* f) {
  nt__part_file_t part = new_part(f, true);

  begin(&part, in_folder(&f->folder, "a"));
  assert_int_equal(nt__part_write(&part, "hel", 3), 0);
}

static void another_process(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, true);
  pid_t child = start_child(f, hold_part);

  assert_int_equal(nt__part_open(&part, in_folder(&f->folder, "a")), NT_E_BUSY);
  free_part(&part);
  kill_child(child);

  part = new_part(f, true); /* the lock died with it, its part did not */
  assert_int_equal(nt__part_open(&part, in_folder(&f->folder, "a")), 0);
  assert_int_equal(part.size, 3);
  nt__part_close(&part, true);
  free_part(&part);
}

static void do_nothing(fixture_t* f) {
  (void) f;
}

/* A child of fork() has a copy of the descriptor, and with it the lock. */
static void a_fork_keeps_no_lock(void** state) {
  fixture_t* f = *state;
  nt__part_file_t part = new_part(f, true);
  pid_t child;

  begin(&part, in_folder(&f->folder, "a"));
  assert_int_equal(nt__part_write(&part, "hel", 3), 0);
  child = start_child(f, do_nothing);
  nt__part_close(&part, false);
  free_part(&part);
  part = new_part(f, true);
  assert_int_equal(nt__part_open(&part, in_folder(&f->folder, "a")), 0);
  nt__part_close(&part, true);
  free_part(&part);
  kill_child(child);
}

/* Many processes, each for a while: there is never more than one, and what one
 * has put in place no other cuts. */
enum {
  RIVALS = 4,
  ROUNDS = 200
};

static void compete(fixture_t* f, char mark) {
  int round;

  for (round = 0; round < ROUNDS; round++) {
    nt__part_file_t part = new_part(f, false);
    char text[3] = { mark, mark, '\0' };

    if (nt__part_open(&part, in_folder(&f->folder, "a")) == 0 &&
        nt__part_begin(&part, 0, NULL) == 0 &&
        nt__part_write(&part, text, 1) == 0 &&
        nt__part_write(&part, text, 1) == 0)
      nt__part_commit(&part, "");
    if (part.error != 0 && part.error != NT_E_BUSY)
      _exit(1);
    nt__part_close(&part, false);
    free_part(&part);
  }
  _exit(0);
}

static void rivals(void** state) {
  fixture_t* f = *state;
  pid_t children[RIVALS];
  char* data;
  size_t size;
  int status;
  int i;

  for (i = 0; i < RIVALS; i++) {
    children[i] = fork();
    if (children[i] == 0)
      compete(f, (char) ('a' + i));
  }
  for (i = 0; i < RIVALS; i++) {
    assert_int_equal(waitpid(children[i], &status, 0), children[i]);
    assert_int_equal(status, 0);
  }
  ASSERT_ONLY(&f->folder, "a");
  data = file_get(in_folder(&f->folder, "a"), &size);
  assert_int_equal(size, 2);
  assert_int_equal(data[0], data[1]);
  free(data);
}

/* ---- A system that says no ---------------------------------------------- */

/* In a child, as it changes the process; its exit status is how many checks
 * failed, and what they saw is printed. */
static void in_child(fixture_t* f, void (*body)(fixture_t*)) {
  pid_t child = fork();
  int status;

  if (child == 0) {
    body(f);
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

static void require(bool condition, const char* what) {
  if (condition)
    return;
  fprintf(stderr, "child: %s\n", what);
  _exit(1);
}

static void without_permission(fixture_t* f) {
  static const char* const names[] = { "closed/a", "locked/a" };
  size_t i;

  if (geteuid() == 0)
    require(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0,
            "setuid");
  for (i = 0; i < COUNT(names); i++) {
    nt__part_file_t part = new_part(f, false);

    require(nt__part_open(&part, in_folder(&f->folder, names[i])) ==
                NT_E_PERMISSION,
            names[i]);
    require(part.message[0] != '\0', "a message");
    free_part(&part);
  }
}

static void permission(void** state) {
  fixture_t* f = *state;

  assert_int_equal(chmod(f->folder.path, 0755), 0);
  make_folder(in_folder(&f->folder, "closed")); /* nothing new in it */
  make_folder(in_folder(&f->folder, "locked")); /* not even to look at */
  assert_int_equal(chmod(in_folder(&f->folder, "closed"), 0555), 0);
  assert_int_equal(chmod(in_folder(&f->folder, "locked"), 0), 0);
  in_child(f, without_permission);
  assert_int_equal(chmod(in_folder(&f->folder, "locked"), 0755), 0);
}

static char megabyte[1 << 20];

static void over_the_file_limit(fixture_t* f) {
  struct rlimit limit = { 64 << 10, 64 << 10 };
  nt__part_file_t part = new_part(f, false);

  signal(SIGXFSZ, SIG_IGN);
  require(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
  require(nt__part_open(&part, in_folder(&f->folder, "a")) == 0, "open");
  require(nt__part_begin(&part, 0, NULL) == 0, "begin");
  require(nt__part_write(&part, megabyte, sizeof(megabyte)) == NT_E_FILE,
          "write");
  require(nt__part_write(&part, "x", 1) == NT_E_FILE, "write again");
  require(nt__part_commit(&part, "") == NT_E_FILE, "commit");
  nt__part_close(&part, false);
  require(folder_count(f->folder.path) == 0, "something is left");
}

static void write_error(void** state) {
  in_child(*state, over_the_file_limit);
}

/* Its own view of the file systems; a user becomes root of a namespace. */
static bool enter_namespace(void) {
  uid_t uid = getuid();
  char map[64];
  int fd;

  if (uid == 0)
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
    return false;
  snprintf(map, sizeof(map), "0 %d 1", (int) uid);
  fd = open("/proc/self/uid_map", O_WRONLY);
  if (fd < 0 || write(fd, map, strlen(map)) < 0)
    return false;
  close(fd);
  return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void on_a_full_disk(fixture_t* f) {
  nt__part_file_t part = new_part(f, true);
  const char* disk = f->folder.path;

  require(enter_namespace(), "namespace");
  require(mount("none", disk, "tmpfs", 0, "size=256k") == 0, "tmpfs");
  require(nt__part_open(&part, in_folder(&f->folder, "a")) == 0, "open");
  require(nt__part_begin(&part, 0, &sidecar) == 0, "begin");
  require(nt__part_write(&part, megabyte, 1000) == 0, "write");
  require(nt__part_write(&part, megabyte, sizeof(megabyte)) == NT_E_DISK_FULL,
          "full");
  require(strstr(part.message, "a.part") != NULL, "a message with the file");
  require(nt__part_commit(&part, "") == NT_E_DISK_FULL, "commit");
  nt__part_close(&part, false);
  require(folder_count(disk) == 2, "the part that can be gone on with");
  require(part.size == 1000, "what is known to be written");
}

static void disk_full(void** state) {
  in_child(*state, on_a_full_disk);
}

#define PART_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
    PART_TEST(appears_whole),
    PART_TEST(closing_leaves_nothing),
    PART_TEST(aborted_before_it_is_in_place),
    PART_TEST(durable),
    PART_TEST(temporary),
    PART_TEST(digest),
    PART_TEST(goes_on),
    PART_TEST(kept_until_the_body_comes),
    PART_TEST(starts_over),
    PART_TEST(useless_parts),
    PART_TEST(sidecars_are_not_followed),
    PART_TEST(only_regular_files),
    PART_TEST(bad_places),
    PART_TEST(names_that_are_too_long),
    PART_TEST(a_folder_takes_the_place),
    PART_TEST(one_at_a_time),
    PART_TEST(another_context),
    PART_TEST(another_process),
    PART_TEST(a_fork_keeps_no_lock),
    PART_TEST(rivals),
    PART_TEST(permission),
    PART_TEST(write_error),
    PART_TEST(disk_full),
  };

  return cmocka_run_group_tests_name("part_file", tests, NULL, NULL);
}
