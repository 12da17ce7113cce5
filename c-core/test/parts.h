/* A folder and what part_file.c needs to work in it. */
#ifndef NT_TEST_PARTS_H
#define NT_TEST_PARTS_H

#include "folder.h"
#include "part_file.h"

typedef struct fixture {
  folder_t folder;
  nt__files_t files;
  nt_policy_t policy;
  atomic_bool cancelled;
} fixture_t;

static inline int set_up(void** state) {
  fixture_t* f = calloc(1, sizeof(*f));

  folder_make(&f->folder);
  nt__list_init(&f->files.parts);
  nt__temp_dirs_init(&f->files.temp);
  nt_policy_init(&f->policy, NT_PRESET_OPEN);
  f->policy.temp_dir = f->folder.path;
  *state = f;
  return 0;
}

static inline int tear_down(void** state) {
  fixture_t* f = *state;

  nt__temp_dirs_free(&f->files.temp);
  folder_remove(&f->folder);
  free(f);
  return 0;
}

static const char url[] = "http://a/file";

static inline nt__part_file_t new_part(fixture_t* f, bool resume) {
  nt__part_file_t part = { .files = &f->files,
                           .policy = &f->policy,
                           .url = url,
                           .fate = nt__fate_new(),
                           .cancelled = &f->cancelled,
                           .resume = resume };

  return part;
}

static inline void free_part(nt__part_file_t* part) {
  nt__part_fini(part);
  nt__fate_unref(part->fate);
}

static const nt__sidecar_t sidecar = { .validator = "\"a\"", .length = 10 };

static inline void begin(nt__part_file_t* part, const char* path) {
  int err = nt__part_open(part, path);

  if (err)
    fail_msg("%s: %s", nt_error_name(err), part->message);
  assert_int_equal(nt__part_begin(part, 0, &sidecar), 0);
}

#define PART_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
