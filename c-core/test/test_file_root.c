/* file_root.c: where paths lead, with links, and what the roots allow. */
#include "file_root.h"

#include <limits.h>

#include "alloc.h"
#include "folder.h"

typedef int (*resolve_fn)(const nt_policy_t*, const char*, char**);

static int set_up(void** state) {
  folder_t* folder = calloc(1, sizeof(*folder));

  folder_make(folder);
  mkdir(in_folder(folder, "in"), 0777);
  mkdir(in_folder(folder, "in/deep"), 0777);
  mkdir(in_folder(folder, "inside"), 0777); /* begins like a root */
  mkdir(in_folder(folder, "out"), 0777);
  file_put(in_folder(folder, "in/file"), "x", 1);
  file_put(in_folder(folder, "inside/file"), "x", 1);
  file_put(in_folder(folder, "out/file"), "x", 1);
  assert_int_equal(symlink("../out", in_folder(folder, "in/leave")), 0);
  assert_int_equal(symlink("../out/file", in_folder(folder, "in/loot")), 0);
  assert_int_equal(symlink("deep", in_folder(folder, "in/stay")), 0);
  assert_int_equal(symlink("in", in_folder(folder, "root")), 0);
  assert_int_equal(symlink("loop", in_folder(folder, "in/loop")), 0);
  *state = folder;
  return 0;
}

static int tear_down(void** state) {
  folder_remove(*state);
  free(*state);
  return 0;
}

/* `expected` is the path in the folder, or NULL when `error` says why. */
static void check(folder_t* folder, resolve_fn resolve,
                  const nt_policy_t* policy, const char* path, int error,
                  const char* expected) {
  char* out;
  int err = resolve(policy, in_folder(folder, path), &out);

  if (err != error)
    fail_msg("%s: %s instead of %s", path, nt_error_name(err),
             nt_error_name(error));
  if (error)
    assert_null(out);
  else
    assert_string_equal(out, in_folder(folder, expected));
  nt__free(out);
}

static const struct {
  const char* path;
  int error;
  const char* resolved;
} reads[] = {
  { "in/file", 0, "in/file" },
  { "in/./file", 0, "in/file" },
  { "root/file", 0, "in/file" },
  { "in/deep/../file", NT_E_OUTSIDE, NULL },
  { "in/../in/file", NT_E_OUTSIDE, NULL },
  { "out/file", NT_E_OUTSIDE, NULL },
  { "inside/file", NT_E_OUTSIDE, NULL },
  { "in/leave/file", NT_E_OUTSIDE, NULL },
  { "in/loot", NT_E_OUTSIDE, NULL },
  { "in/none", NT_E_NO_FILE, NULL },
  { "in/none/file", NT_E_NO_FILE, NULL },
  { "in/file/file", NT_E_NO_FILE, NULL },
  { "in/loop", NT_E_NOT_A_FILE, NULL },
  { "out/none", NT_E_OUTSIDE, NULL },
  { "out/none/file", NT_E_OUTSIDE, NULL },
  { "none", NT_E_OUTSIDE, NULL },
  { "in/leave/none", NT_E_OUTSIDE, NULL },
};

static void reading_below_a_root(void** state) {
  folder_t* folder = *state;
  char* root = strdup(in_folder(folder, "root"));
  const char* roots[] = { "/nowhere/at/all", root };
  nt_policy_t policy = { .read_roots = roots, .read_root_count = 2 };
  size_t i;

  for (i = 0; i < COUNT(reads); i++)
    check(folder, nt__file_root_read, &policy, reads[i].path, reads[i].error,
          reads[i].resolved);
  free(root);
}

static const struct {
  const char* path;
  int error;
  const char* resolved;
} writes[] = {
  { "in/new", 0, "in/new" },
  { "in/file", 0, "in/file" },
  { "in//deep/./new", 0, "in/deep/new" },
  { "in/stay/new", 0, "in/deep/new" },
  { "root/new", 0, "in/new" },
  { "in/loot", 0, "in/loot" }, /* the last part is not followed */
  { "in/..new", 0, "in/..new" },
  { "in/new..", 0, "in/new.." },
  { "in/deep/../new", NT_E_OUTSIDE, NULL },
  { "in/..", NT_E_OUTSIDE, NULL },
  { "out/new", NT_E_OUTSIDE, NULL },
  { "inside/new", NT_E_OUTSIDE, NULL },
  { "new", NT_E_OUTSIDE, NULL },
  { "in/leave/new", NT_E_OUTSIDE, NULL },
  { "in/", NT_E_NOT_A_FILE, NULL },
  { "in/.", NT_E_NOT_A_FILE, NULL },
  { "in/none/new", NT_E_NO_FOLDER, NULL },
  { "in/file/new", NT_E_NO_FOLDER, NULL },
  { "in/loop/new", NT_E_NOT_A_FILE, NULL },
  { "in/none/deep/new", NT_E_NO_FOLDER, NULL },
  { "out/none/new", NT_E_OUTSIDE, NULL },
  { "none/new", NT_E_OUTSIDE, NULL },
  { "in/leave/none/new", NT_E_OUTSIDE, NULL },
};

static void writing_below_a_root(void** state) {
  folder_t* folder = *state;
  char* root = strdup(in_folder(folder, "in/"));
  const char* roots[] = { root };
  nt_policy_t policy = { .write_roots = roots, .write_root_count = 1 };
  size_t i;

  for (i = 0; i < COUNT(writes); i++)
    check(folder, nt__file_root_write, &policy, writes[i].path, writes[i].error,
          writes[i].resolved);
  free(root);
}

static void without_roots(void** state) {
  folder_t* folder = *state;
  nt_policy_t policy = { .flags = 0 };

  check(folder, nt__file_root_read, &policy, "in/../out/file", 0, "out/file");
  check(folder, nt__file_root_read, &policy, "in/loot", 0, "out/file");
  check(folder, nt__file_root_write, &policy, "in/../out/new", 0, "out/new");
  check(folder, nt__file_root_write, &policy, "in/leave/new", 0, "out/new");
  check(folder, nt__file_root_write, &policy, "in/..", NT_E_NOT_A_FILE, NULL);
}

static void no_root_at_all(void** state) {
  folder_t* folder = *state;
  const char* roots[] = { "" };
  nt_policy_t policy = { .read_roots = roots, .write_roots = roots };

  check(folder, nt__file_root_read, &policy, "in/file", NT_E_OUTSIDE, NULL);
  check(folder, nt__file_root_write, &policy, "in/new", NT_E_OUTSIDE, NULL);
}

static void the_root_of_all(void** state) {
  const char* roots[] = { "/" };
  nt_policy_t policy = { .read_roots = roots, .read_root_count = 1 };

  check(*state, nt__file_root_read, &policy, "in/leave/file", 0, "out/file");
}

static void relative_paths(void** state) {
  folder_t* folder = *state;
  nt_policy_t policy = { .flags = 0 };
  char before[PATH_MAX];
  char* out;

  assert_non_null(getcwd(before, sizeof(before)));
  assert_int_equal(chdir(in_folder(folder, "in")), 0);
  assert_int_equal(nt__file_root_write(&policy, "new", &out), 0);
  assert_int_equal(chdir(before), 0);
  assert_string_equal(out, in_folder(folder, "in/new"));
  nt__free(out);
  assert_int_equal(nt__file_root_write(&policy, "", &out), NT_E_NOT_A_FILE);
}

static void relative_paths_below_a_root(void** state) {
  folder_t* folder = *state;
  char* root = strdup(in_folder(folder, "in"));
  const char* roots[] = { root };
  nt_policy_t policy = { .write_roots = roots, .write_root_count = 1 };
  char before[PATH_MAX];
  char* out;

  assert_non_null(getcwd(before, sizeof(before)));
  assert_int_equal(chdir(root), 0);
  assert_int_equal(nt__file_root_write(&policy, "none/a", &out),
                   NT_E_NO_FOLDER);
  assert_int_equal(chdir(".."), 0);
  assert_int_equal(nt__file_root_write(&policy, "none/a", &out), NT_E_OUTSIDE);
  assert_int_equal(chdir(before), 0);
  free(root);
}

#define FOLDER_TEST(name)                                                      \
  cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
    FOLDER_TEST(reading_below_a_root),
    FOLDER_TEST(writing_below_a_root),
    FOLDER_TEST(without_roots),
    FOLDER_TEST(no_root_at_all),
    FOLDER_TEST(the_root_of_all),
    FOLDER_TEST(relative_paths),
    FOLDER_TEST(relative_paths_below_a_root),
  };

  return cmocka_run_group_tests_name("file_root", tests, NULL, NULL);
}
