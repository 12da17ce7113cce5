/* part_file.c when it is not alone: others that want the same file, in this
 * process and in others; and a system that says no. */
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "parts.h"

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
  assert_int_equal(mkdir(in_folder(&f->folder, "closed"), 0777),
                   0); /* nothing new in it */
  assert_int_equal(mkdir(in_folder(&f->folder, "locked"), 0777),
                   0); /* not even to look at */
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
  struct stat info;

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
  require(stat(in_folder(&f->folder, "a.part"), &info) == 0, "stat");
  require(part.size > 100000 && part.size == (uint64_t) info.st_size,
          "all that was written");
}

static void disk_full(void** state) {
  in_child(*state, on_a_full_disk);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    PART_TEST(one_at_a_time),   PART_TEST(another_context),
    PART_TEST(another_process), PART_TEST(a_fork_keeps_no_lock),
    PART_TEST(rivals),          PART_TEST(permission),
    PART_TEST(write_error),     PART_TEST(disk_full),
  };

  return cmocka_run_group_tests_name("part_file_rivals", tests, NULL, NULL);
}
