/* temp_dir.c: names in a folder of the run, which goes at the end; and folders
 * of the dead, which go with whoever comes next. */
#include "temp_dir.h"

#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "alloc.h"
#include "folder.h"
#include "nettask.h"

static int set_up(void** state) {
  folder_t* folder = calloc(1, sizeof(*folder));

  folder_make(folder);
  *state = folder;
  return 0;
}

static int tear_down(void** state) {
  folder_remove(*state);
  free(*state);
  return 0;
}

static void names_and_their_end(void** state) {
  folder_t* folder = *state;
  nt__temp_dirs_t dirs;
  char* one;
  char* two;
  char* slash;

  nt__temp_dirs_init(&dirs);
  assert_int_equal(nt__temp_dirs_name(&dirs, folder->path, &one), 0);
  assert_int_equal(nt__temp_dirs_name(&dirs, folder->path, &two), 0);
  assert_string_not_equal(one, two);
  assert_int_equal(folder_count(folder->path), 1); /* one folder a run */
  assert_memory_equal(one, folder->path, strlen(folder->path));
  file_put(one, "x", 1);
  file_put(two, "y", 1);

  nt__temp_dirs_sweep(folder->path); /* its owner lives */
  assert_file(one, "x");

  slash = strrchr(one, '/');
  *slash = '\0';
  assert_int_equal(folder_count(one), 3); /* and the lock */
  nt__temp_dirs_free(&dirs);
  assert_false(file_exists(one));
  assert_int_equal(folder_count(folder->path), 0);
  nt__free(one);
  nt__free(two);
}

static void no_such_place(void** state) {
  nt__temp_dirs_t dirs;
  char* name;

  nt__temp_dirs_init(&dirs);
  assert_int_equal(nt__temp_dirs_name(&dirs, in_folder(*state, "none"), &name),
                   NT_E_NO_FOLDER);
  assert_null(name);
  nt__temp_dirs_free(&dirs);
  nt__temp_dirs_sweep(in_folder(*state, "none")); /* harmless */
}

/* What is written is added up; what is gone makes room when that is needed. */
static void growing(void** state) {
  folder_t* folder = *state;
  nt__temp_dirs_t dirs;
  char* one;
  char* two;

  nt__temp_dirs_init(&dirs);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 11), NT_E_TEMP_SIZE);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, UINT64_MAX), NT_E_TEMP_SIZE);
  assert_int_equal(nt__temp_dirs_name(&dirs, folder->path, &one), 0);
  assert_int_equal(nt__temp_dirs_name(&dirs, folder->path, &two), 0);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 6), 0);
  file_put(one, "123456", 6);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 5), NT_E_TEMP_SIZE);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 4), 0);
  file_put(two, "1234", 4);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 1), NT_E_TEMP_SIZE);
  unlink(one);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 6), 0);
  file_put(one, "123456", 6);
  file_put(two, "1", 1); /* shorter than before */
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 4), NT_E_TEMP_SIZE);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 3), 0);
  /* Without a cap they count all the same, for one that comes. */
  assert_int_equal(nt__temp_dirs_grow(&dirs, 0, UINT64_MAX / 2), 0);
  file_put(two, "1234567", 7);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 1), NT_E_TEMP_SIZE);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 14, 1), 0);
  nt__temp_dirs_free(&dirs);
  nt__free(one);
  nt__free(two);
}

/* As when there are no descriptors left to look into the folder with. */
static void folder_that_cannot_be_read(void** state) {
  folder_t* folder = *state;
  nt__temp_dirs_t dirs;
  char* name;

  nt__temp_dirs_init(&dirs);
  assert_int_equal(nt__temp_dirs_name(&dirs, folder->path, &name), 0);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 10), 0);
  *strrchr(name, '/') = '\0';
  assert_int_equal(rename(name, in_folder(folder, "away")), 0);
  file_put(name, "x", 1);
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 1), NT_E_TEMP_SIZE);
  unlink(name); /* what is gone takes no room */
  assert_int_equal(nt__temp_dirs_grow(&dirs, 10, 1), 0);
  assert_int_equal(rename(in_folder(folder, "away"), name), 0);
  nt__temp_dirs_free(&dirs);
  nt__free(name);
}

/* A child makes a folder with a file and is killed. */
static void leave_folder(const folder_t* folder) {
  pid_t child = fork();
  int status;

  if (child == 0) {
    nt__temp_dirs_t dirs;
    char* name;

    nt__temp_dirs_init(&dirs);
    if (nt__temp_dirs_name(&dirs, folder->path, &name) == 0)
      file_put(name, "x", 1);
    raise(SIGKILL);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
}

static void the_dead_are_swept(void** state) {
  folder_t* folder = *state;

  leave_folder(folder);
  leave_folder(folder);
  assert_int_equal(folder_count(folder->path), 2);
  nt__temp_dirs_sweep(folder->path);
  assert_int_equal(folder_count(folder->path), 0);
}

/* Names that are not quite ours, and things that are no folders. */
static const char* const others[] = {
  "nettask-",
  "nettask-1",
  "nettask-1-",
  "nettask-1-0123456789abcde",
  "nettask-1-0123456789abcdef0",
  "nettask-1-0123456789abcdeF",
  "nettask--0123456789abcdef",
  "nettask-x1-0123456789abcdef",
  "nettask-1234567890-0123456789abcdef",
  "other-1-0123456789abcdef",
};

static void others_are_left_alone(void** state) {
  folder_t* folder = *state;
  char name[64];
  size_t i;

  for (i = 0; i < COUNT(others); i++)
    assert_int_equal(mkdir(in_folder(folder, others[i]), 0700), 0);
  file_put(in_folder(folder, "nettask-1-0123456789abcdef"), "x", 1);
  /* being made by somebody who lives */
  snprintf(name, sizeof(name), "nettask-%d-0123456789abcdef", (int) getpid());
  assert_int_equal(mkdir(in_folder(folder, name), 0700), 0);
  nt__temp_dirs_sweep(folder->path);
  assert_int_equal(folder_count(folder->path), COUNT(others) + 2);
}

/* A link in the folder of a dead one is removed, not followed. */
static void links_are_not_followed(void** state) {
  folder_t* folder = *state;

  mkdir(in_folder(folder, "precious"), 0700);
  file_put(in_folder(folder, "precious/file"), "x", 1);
  mkdir(in_folder(folder, "nettask-99-0123456789abcdef"), 0700);
  file_put(in_folder(folder, "nettask-99-0123456789abcdef/.lock"), "", 0);
  assert_int_equal(symlink("../precious/file",
                           in_folder(folder, "nettask-99-0123456789abcdef/1")),
                   0);
  assert_int_equal(
      symlink("precious", in_folder(folder, "nettask-98-0123456789abcdef")), 0);
  nt__temp_dirs_sweep(folder->path);
  ASSERT_ONLY(folder, "precious", "nettask-98-0123456789abcdef");
  assert_file(in_folder(folder, "precious/file"), "x");
}

#define FOLDER_TEST(name)                                                      \
  cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
    FOLDER_TEST(names_and_their_end),
    FOLDER_TEST(no_such_place),
    FOLDER_TEST(growing),
    FOLDER_TEST(folder_that_cannot_be_read),
    FOLDER_TEST(the_dead_are_swept),
    FOLDER_TEST(others_are_left_alone),
    FOLDER_TEST(links_are_not_followed),
  };

  return cmocka_run_group_tests_name("temp_dir", tests, NULL, NULL);
}
