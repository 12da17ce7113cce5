/* store.c and store_file.c: values come back, in memory and from a file, the
 * cap holds, damage costs the content and nothing else. */
#include <sqlite3.h>

#include "folder.h"
#include "host.h"

enum {
  SMALL_CAP = 10000,
  ENTRY_BYTES = 64
};

typedef struct fixture {
  host_t* host;
  folder_t folder;
  const char* file;
} fixture_t;

static int set_up(void** state) {
  fixture_t* f = calloc(1, sizeof(*f));
  int err;

  if (f == NULL)
    return -1;
  err = host_set_up((void**) &f->host);
  folder_make(&f->folder);
  *state = f;
  return err;
}

static int tear_down(void** state) {
  fixture_t* f = *state;
  void* host = f->host;
  int err = host_tear_down(&host);

  folder_remove(&f->folder);
  free(f);
  return err;
}

#define STORE_TEST(name)                                                       \
  cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- Helpers ------------------------------------------------------------ */

static void use_file(fixture_t* f, const char* path, uint64_t max) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.store_file = path;
  if (max != 0)
    policy.store_max_bytes = max;
  assert_int_equal(nt_policy_set(f->host->net, &policy), 0);
}

static void use(fixture_t* f, const char* name) {
  use_file(f, in_folder(&f->folder, name), 0);
}

static void reopen(fixture_t* f) {
  assert_int_equal(host_close(f->host->net), 0);
  assert_int_equal(nt_open(&f->host->net), 0);
}

static nt_id_t open_id(fixture_t* f) {
  nt_id_t id = 0;

  assert_int_equal(nt_store_open(f->host->net, &id), 0);
  return id;
}

static nt_id_t start(fixture_t* f, nt_store_action_t action, const char* key,
                     const void* value, size_t size) {
  nt_store_options_t options = { action, key, strlen(key), value, size };
  nt_id_t id = open_id(f);

  assert_int_equal(nt_store_start(f->host->net, id, &options), 0);
  return id;
}

static void put(fixture_t* f, const char* key, const char* value) {
  nt_event_t ev;

  host_end(f->host, start(f, NT_STORE_PUT, key, value, strlen(value)), &ev);
  assert_string_equal(ev.message, "");
  assert_int_equal(ev.error, 0);
  assert_null(ev.data);
}

/* NULL: nothing is there. */
static void expect(fixture_t* f, const char* key, const char* value) {
  nt_event_t ev;

  host_end(f->host, start(f, NT_STORE_GET, key, NULL, 0), &ev);
  assert_string_equal(ev.message, "");
  assert_int_equal(ev.error, 0);
  if (value == NULL) {
    assert_null(ev.data);
    assert_int_equal(ev.size, 0);
    return;
  }
  assert_non_null(ev.data);
  assert_string_equal(ev.data, value);
  assert_int_equal(ev.size, strlen(value));
}

static void expect_error(fixture_t* f, int error) {
  host_expect(f->host, start(f, NT_STORE_GET, "key", NULL, 0), error);
  host_expect(f->host, start(f, NT_STORE_PUT, "key", "value", 5), error);
}

/* ---- Values ------------------------------------------------------------- */

static void check_values(fixture_t* f) {
  expect(f, "a", NULL);
  put(f, "a", "one");
  put(f, "b", "two");
  expect(f, "a", "one");
  put(f, "a", "one, but longer");
  expect(f, "a", "one, but longer");
  expect(f, "b", "two");
  host_expect(f->host, start(f, NT_STORE_REMOVE, "a", NULL, 0), 0);
  host_expect(f->host, start(f, NT_STORE_REMOVE, "never was", NULL, 0), 0);
  expect(f, "a", NULL);
  put(f, "empty", "");
  expect(f, "empty", "");
}

static void values_in_memory(void** state) {
  fixture_t* f = *state;

  check_values(f);
  reopen(f);
  expect(f, "b", NULL);
}

static void values_in_a_file(void** state) {
  fixture_t* f = *state;

  use(f, "store");
  check_values(f);
  reopen(f);
  use(f, "store");
  expect(f, "a", NULL);
  expect(f, "b", "two");
  expect(f, "empty", "");
  reopen(f); /* in memory now */
  ASSERT_ONLY(&f->folder, "store");
}

static void any_bytes(void** state) {
  static const char key[] = "k\0\xff", other[] = "k\0\xfe", value[] = "\0v\0";
  fixture_t* f = *state;
  nt_store_options_t options = { NT_STORE_PUT, key, 3, value, 3 };
  nt_id_t id = open_id(f);
  nt_event_t ev;

  assert_int_equal(nt_store_start(f->host->net, id, &options), 0);
  host_expect(f->host, id, 0);
  id = open_id(f);
  options.action = NT_STORE_GET;
  assert_int_equal(nt_store_start(f->host->net, id, &options), 0);
  host_end(f->host, id, &ev);
  assert_int_equal(ev.size, 3);
  assert_memory_equal(ev.data, value, 4);
  id = open_id(f);
  options.key = other;
  assert_int_equal(nt_store_start(f->host->net, id, &options), 0);
  host_end(f->host, id, &ev);
  assert_int_equal(ev.error, 0);
  assert_null(ev.data);
}

/* Names that SQLite takes for something else. */
static void strange_names(void** state) {
  static const char* const names[] = { ":memory:", "file:store?mode=memory" };
  fixture_t* f = *state;
  char before[PATH_MAX];

  assert_non_null(getcwd(before, sizeof(before)));
  assert_int_equal(chdir(f->folder.path), 0);
  for (size_t i = 0; i < COUNT(names); i++) {
    use_file(f, names[i], 0);
    put(f, "key", "value");
    reopen(f);
    use_file(f, names[i], 0);
    expect(f, "key", "value");
    assert_true(file_exists(in_folder(&f->folder, names[i])));
  }
  reopen(f);
  assert_int_equal(chdir(before), 0);
}

/* Actions are done in the order in which they were started. */
static void order(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id = 0;
  int i;

  use(f, "store");
  for (i = 0; i < 100; i++) {
    char value[8];

    snprintf(value, sizeof(value), "%d", i);
    start(f, NT_STORE_PUT, "key", value, strlen(value));
    id = start(f, NT_STORE_GET, "key", NULL, 0);
  }
  for (i = 0; i < 200; i++) {
    host_next(f->host, &ev);
    assert_int_equal(ev.error, 0);
    assert_int_equal(ev.data != NULL, i % 2);
    if (i % 2)
      assert_int_equal(atoi(ev.data), i / 2);
  }
  assert_true(ev.id == id);
}

/* ---- Refused ------------------------------------------------------------ */

static void bad_calls(void** state) {
  static const nt_store_options_t bad[] = {
    { NT_STORE_GET, NULL, 3, NULL, 0 },
    { NT_STORE_GET, "", 0, NULL, 0 },
    { NT_STORE_PUT, "key", 3, NULL, 1 },
    { (nt_store_action_t) 7, "key", 3, NULL, 0 },
  };
  fixture_t* f = *state;
  nt_id_t id = open_id(f);
  nt_id_t good;

  for (size_t i = 0; i < COUNT(bad); i++)
    assert_int_equal(nt_store_start(f->host->net, id, &bad[i]), NT_E_INVALID);
  assert_int_equal(nt_store_start(f->host->net, id, NULL), NT_E_INVALID);
  nt_abort(f->host->net, id);
  assert_int_equal(nt_store_start(f->host->net, id, &bad[0]), NT_E_CLOSED);
  host_expect(f->host, id, NT_E_ABORTED);
  good = start(f, NT_STORE_GET, "key", NULL, 0);
  assert_int_equal(nt_store_start(f->host->net, good, &bad[0]), NT_E_STATE);
  host_expect(f->host, good, 0);
}

static void places_that_are_none(void** state) {
  fixture_t* f = *state;

  use(f, "nowhere/store");
  expect_error(f, NT_E_NO_FOLDER);
  use_file(f, f->folder.path, 0);
  expect_error(f, NT_E_NOT_A_FILE);
  assert_int_equal(mkfifo(in_folder(&f->folder, "pipe"), 0600), 0);
  use(f, "pipe");
  expect_error(f, NT_E_NOT_A_FILE);
  assert_int_equal(symlink("/tmp", in_folder(&f->folder, "link")), 0);
  use(f, "link");
  expect_error(f, NT_E_NOT_A_FILE);
  use(f, "store");
  put(f, "key", "value");
}

/* ---- The cap ------------------------------------------------------------ */

static void put_size(fixture_t* f, const char* key, size_t size, int error) {
  char* value = calloc(1, size + 1);
  nt_store_options_t options = { NT_STORE_PUT, key, strlen(key), value, size };
  nt_id_t id = open_id(f);

  assert_non_null(value);
  memset(value, 'v', size);
  assert_int_equal(nt_store_start(f->host->net, id, &options), error);
  if (error)
    nt_fail(f->host->net, id, error, NULL);
  host_expect(f->host, id, error);
  free(value);
}

static bool is_there(fixture_t* f, const char* key) {
  nt_event_t ev;

  host_end(f->host, start(f, NT_STORE_GET, key, NULL, 0), &ev);
  assert_int_equal(ev.error, 0);
  return ev.data != NULL;
}

/* What was used least recently makes room. */
static void check_cap(fixture_t* f) {
  put_size(f, "one", 3000, 0);
  put_size(f, "two", 3000, 0);
  put_size(f, "three", 3000, 0);
  assert_true(is_there(f, "one"));
  put_size(f, "four", 3000, 0);
  assert_true(is_there(f, "one"));
  assert_false(is_there(f, "two"));
  assert_true(is_there(f, "four"));
  /* The largest that fits is alone then; one byte more is refused. */
  put_size(f, "large", SMALL_CAP - ENTRY_BYTES - 5, 0);
  assert_true(is_there(f, "large"));
  assert_false(is_there(f, "four"));
  put_size(f, "large", SMALL_CAP - ENTRY_BYTES - 4, NT_E_VALUE_SIZE);
  assert_true(is_there(f, "large"));
  /* The same again and again is one. */
  put_size(f, "three", 3000, 0);
  put_size(f, "four", 3000, 0);
  for (int i = 0; i < 10; i++)
    put_size(f, "four", 3000, 0);
  assert_true(is_there(f, "three"));
}

static void cap_in_memory(void** state) {
  use_file(*state, NULL, SMALL_CAP);
  check_cap(*state);
}

static void cap_of_a_file(void** state) {
  fixture_t* f = *state;

  use_file(f, in_folder(&f->folder, "store"), SMALL_CAP);
  check_cap(f);
  /* It is known again after a restart, and so is what is old. */
  put_size(f, "old", 4000, 0);
  put_size(f, "young", 4000, 0);
  reopen(f);
  use_file(f, in_folder(&f->folder, "store"), SMALL_CAP);
  put_size(f, "new", 4000, 0);
  assert_false(is_there(f, "old"));
  assert_true(is_there(f, "young"));
}

/* ---- Damage ------------------------------------------------------------- */

static void expect_set_aside(fixture_t* f) {
  nt_event_t ev;

  use(f, "store");
  host_end(f->host, start(f, NT_STORE_GET, "key 7", NULL, 0), &ev);
  assert_int_equal(ev.error, 0);
  assert_null(ev.data);
  assert_non_null(strstr(ev.message, "damaged"));
  put(f, "key", "value");
  reopen(f);
  ASSERT_ONLY(&f->folder, "store", "store.damaged");
  use(f, "store");
  expect(f, "key", "value");
}

static void garbage(void** state) {
  fixture_t* f = *state;
  char bytes[5000];

  memset(bytes, 'g', sizeof(bytes));
  file_put(in_folder(&f->folder, "store"), bytes, sizeof(bytes));
  file_put(in_folder(&f->folder, "store.damaged"), "older", 5);
  expect_set_aside(f);
  reopen(f);
  assert_int_equal(unlink(in_folder(&f->folder, "store")), 0);
  assert_int_equal(rename(in_folder(&f->folder, "store.damaged"),
                          in_folder(&f->folder, "store")),
                   0);
  expect_set_aside(f);
}

/* A header that is right, and nothing behind. */
static void damaged_pages(void** state) {
  fixture_t* f = *state;
  const char* path = in_folder(&f->folder, "store");
  char key[16];
  char* bytes;
  size_t size;

  use(f, "store");
  for (int i = 0; i < 300; i++) {
    snprintf(key, sizeof(key), "key %d", i);
    put(f, key, "a value of some length, so that there are a few pages");
  }
  reopen(f);
  path = in_folder(&f->folder, "store");
  bytes = file_get(path, &size);
  assert_true(size > 4 * 4096);
  memset(bytes + 4096, 0xee, size - 4096);
  file_put(path, bytes, size);
  free(bytes);
  expect_set_aside(f);
}

static void an_empty_file(void** state) {
  fixture_t* f = *state;

  file_put(in_folder(&f->folder, "store"), "", 0);
  use(f, "store");
  put(f, "key", "value");
  expect(f, "key", "value");
}

/* Somebody else's data is not touched. */
static void another_database(void** state) {
  fixture_t* f = *state;
  const char* path = in_folder(&f->folder, "saves");
  sqlite3* db;
  char* before;
  char* after;
  size_t size, size_after;

  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(
      sqlite3_exec(db, "CREATE TABLE saves (id)", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  before = file_get(path, &size);
  use_file(f, path, 0);
  expect_error(f, NT_E_NOT_A_STORE);
  reopen(f);
  after = file_get(in_folder(&f->folder, "saves"), &size_after);
  assert_int_equal(size, size_after);
  assert_memory_equal(before, after, size);
  free(before);
  free(after);
  ASSERT_ONLY(&f->folder, "saves");
}

/* ---- Life --------------------------------------------------------------- */

static void another_file(void** state) {
  fixture_t* f = *state;

  use(f, "one");
  put(f, "key", "of one");
  use(f, "two");
  expect(f, "key", NULL);
  put(f, "key", "of two");
  use(f, "one");
  expect(f, "key", "of one");
  use_file(f, NULL, 0);
  expect(f, "key", NULL);
}

/* Two games, or two contexts of one. */
static void two_users(void** state) {
  fixture_t* f = *state;
  host_t other = *f->host;
  fixture_t second = { &other, f->folder, NULL };

  assert_int_equal(nt_open(&other.net), 0);
  use(f, "store");
  use(&second, "store");
  put(f, "a", "by the first");
  expect(&second, "a", "by the first");
  put(&second, "a", "by the second");
  expect(f, "a", "by the second");
  for (int i = 0; i < 50; i++) {
    nt_id_t one = start(f, NT_STORE_PUT, "b", "1", 1);

    host_expect(&other, start(&second, NT_STORE_PUT, "b", "2", 1), 0);
    host_expect(f->host, one, 0);
  }
  assert_int_equal(host_close(other.net), 0);
}

static void aborted(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;

  use(f, "store");
  for (int i = 0; i < 50; i++) {
    nt_id_t id = start(f, NT_STORE_PUT, "key", "value", 5);

    if (i % 2)
      nt_collect(f->host->net);
    nt_abort(f->host->net, id);
    host_expect(f->host, id, NT_E_ABORTED);
    assert_int_equal(nt_poll(f->host->net, &ev), 0);
  }
  put(f, "key", "still works");
  expect(f, "key", "still works");
}

/* What was started before the end is done. */
static void closed_at_once(void** state) {
  fixture_t* f = *state;

  use(f, "store");
  put(f, "first", "value");
  for (int i = 0; i < 100; i++)
    start(f, NT_STORE_PUT, i == 99 ? "last" : "key", "value", 5);
  start(f, NT_STORE_GET, "key", NULL, 0);
  reopen(f);
  use(f, "store");
  expect(f, "first", "value");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    STORE_TEST(values_in_memory),
    STORE_TEST(values_in_a_file),
    STORE_TEST(any_bytes),
    STORE_TEST(strange_names),
    STORE_TEST(order),
    STORE_TEST(bad_calls),
    STORE_TEST(places_that_are_none),
    STORE_TEST(cap_in_memory),
    STORE_TEST(cap_of_a_file),
    STORE_TEST(garbage),
    STORE_TEST(damaged_pages),
    STORE_TEST(an_empty_file),
    STORE_TEST(another_database),
    STORE_TEST(another_file),
    STORE_TEST(two_users),
    STORE_TEST(aborted),
    STORE_TEST(closed_at_once),
  };

  return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
