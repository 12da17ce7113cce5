/* part_file.c: a file appears whole or not at all, goes on where it was left,
 * and takes no other's place. */
#include <sys/socket.h>
#include <sys/un.h>

#include "parts.h"

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
  };

  return cmocka_run_group_tests_name("part_file", tests, NULL, NULL);
}
