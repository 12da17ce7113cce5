/* The folder of the cache: who else uses it, and what may have become of it
 * since. What is found is right, or it is not found. */
#include <signal.h>
#include <sys/resource.h>

#include "cache_check.h"
#include "cache_host.h"
#include "cache_job.h"
#include "cache_rows.h"

enum {
  KIB = 1024,
  MIB = 1024 * 1024,
  CAP = 64 * MIB
};

static const char* folder_of(cache_t* cache) {
  return in_folder(&cache->folder, "cache");
}

static const char* inside(cache_t* cache, const char* name) {
  char path[400];

  snprintf(path, sizeof(path), "cache/%s", name);
  return in_folder(&cache->folder, path);
}

static void open_folder(cache_t* cache) {
  cache_open(cache, folder_of(cache), CAP);
}

static void reopen(cache_t* cache) {
  cache_close(cache);
  open_folder(cache);
}

/* All that was posted is done: a find of something new is behind it. */
static void settle(cache_t* cache) {
  static unsigned number;
  char key[64];

  snprintf(key, sizeof(key), "http://never/%u", ++number);
  assert_int_equal(cache_find(cache, key), 0);
  assert_false(cache->at_once);
}

/* Not what that took the place of. */
static void expect_nothing_but(cache_t* cache, const char* key,
                               const char* note) {
  if (cache_find(cache, key) == 0)
    return;
  assert_int_equal(cache->count, 1);
  assert_string_equal(note_of(cache->answers[0]), note);
}

/* ---- Contents ------------------------------------------------------------ */

enum {
  CONTENTS = 12
};

/* Small ones, and some that have a file. */
static size_t content_size(int number) {
  return number % 3 == 2 ? 300 * KIB + (size_t) number : 500 * (size_t) number;
}

static const char* content_key(int number) {
  static char key[64];

  snprintf(key, sizeof(key), "http://content/%d", number);
  return key;
}

static void put_contents(cache_t* cache) {
  int i;

  for (i = 0; i < CONTENTS; i++) {
    char* data = body_bytes((uint64_t) i, content_size(i));

    cache_put_bytes(cache, content_key(i), content_key(i), NULL, data,
                    content_size(i));
    free(data);
  }
}

/* How many are there. Those that are found are right; that of one a body cannot
 * be read any more is an error like any other. */
static int count_contents(cache_t* cache) {
  int count = 0;
  int i;

  for (i = 0; i < CONTENTS; i++) {
    char* data = body_bytes((uint64_t) i, content_size(i));
    nt__body_t* body;

    if (cache_find(cache, content_key(i)) > 0) {
      assert_string_equal(note_of(cache->answers[0]), content_key(i));
      assert_int_equal(cache->answers[0]->size, content_size(i));
      body = cache_load(cache, cache->answers[0]);
      if (body != NULL) {
        assert_int_equal(body->size, content_size(i));
        assert_true(body->size == 0 ||
                    memcmp(body->data, data, body->size) == 0);
        count++;
      }
      nt__body_unref(body);
    }
    free(data);
  }
  return count;
}

/* It can be used, whatever has happened to it. */
static void still_works(cache_t* cache) {
  put_contents(cache);
  assert_int_equal(count_contents(cache), CONTENTS);
  reopen(cache);
  assert_int_equal(count_contents(cache), CONTENTS);
}

/* ---- Files --------------------------------------------------------------- */

static void is_for_this_user_alone(void** state) {
  cache_t* cache = *state;
  mode_t mask = umask(0);
  struct stat info;
  char* data = body_bytes(1, 100 * KIB);
  DIR* dir;
  struct dirent* entry;

  open_folder(cache);
  cache_put(cache, "http://a/", "one", NULL, "first");
  cache_put_bytes(cache, "http://b/", "two", NULL, data, 100 * KIB);
  expect_one(cache, "http://a/", "one", "first");
  assert_int_equal(stat(folder_of(cache), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0700);
  assert_int_equal(stat(inside(cache, "cache.db"), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  assert_int_equal(stat(inside(cache, "cache.db-wal"), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  dir = opendir(inside(cache, "bodies"));
  while ((entry = readdir(dir)) != NULL) {
    char name[300];

    if (entry->d_name[0] == '.')
      continue;
    snprintf(name, sizeof(name), "bodies/%s", entry->d_name);
    assert_int_equal(stat(inside(cache, name), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
  }
  closedir(dir);
  umask(mask);
  free(data);
  cache_close(cache);
  check_folder(folder_of(cache), CAP);
}

/* What somebody else has there is left as it is, and the memory does. */
static void expect_refused(cache_t* cache, int error) {
  open_folder(cache);
  expect_none(cache, "http://a/");
  assert_int_equal(cache->error, error);
  cache_put(cache, "http://a/", "one", NULL, "first");
  expect_one(cache, "http://a/", "one", "first");
  cache_remove(cache, "http://a/");
  expect_none(cache, "http://a/");
  cache_close(cache);
}

static void of_somebody_else(void** state) {
  cache_t* cache = *state;
  size_t before, after;
  sqlite3* db;
  char* bytes;

  mkdir(folder_of(cache), 0700);
  assert_int_equal(sqlite3_open(inside(cache, "cache.db"), &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "CREATE TABLE theirs (a)", 0, 0, 0),
                   SQLITE_OK);
  sqlite3_close(db);
  bytes = file_get(inside(cache, "cache.db"), &before);
  expect_refused(cache, NT_E_NOT_A_STORE);
  free(bytes);
  bytes = file_get(inside(cache, "cache.db"), &after);
  assert_int_equal(before, after);
  free(bytes);
  assert_false(file_exists(inside(cache, "cache.db.damaged")));
}

static void no_folder(void** state) {
  cache_t* cache = *state;

  file_put(folder_of(cache), "file", 4);
  expect_refused(cache, NT_E_NO_FOLDER);
  assert_file(folder_of(cache), "file");
  remove(folder_of(cache));
  mkdir(folder_of(cache), 0700);
  mkdir(inside(cache, "cache.db"), 0700);
  expect_refused(cache, NT_E_NOT_A_FILE);
  remove(inside(cache, "cache.db"));
  assert_int_equal(mkfifo(inside(cache, "cache.db"), 0600), 0);
  expect_refused(cache, NT_E_NOT_A_FILE);
}

/* ---- Damage -------------------------------------------------------------- */

static void no_database(void** state) {
  cache_t* cache = *state;

  mkdir(folder_of(cache), 0700);
  file_put(inside(cache, "cache.db"), "no database, but a text of some length",
           38);
  open_folder(cache);
  expect_none(cache, "http://a/");
  assert_int_equal(cache->error, 0);
  still_works(cache);
  cache_close(cache);
  assert_file(inside(cache, "cache.db.damaged"),
              "no database, but a text of some length");
  check_folder(folder_of(cache), CAP);
}

/* All of them in a stress run. */
static int rounds(int all) {
  const char* scale = getenv("STRESS_SCALE");
  double some = all * (scale == NULL ? 0.05 : atof(scale));

  return some < 4 ? 4 : (int) some;
}

static unsigned dice(unsigned* seed, unsigned sides) {
  *seed = *seed * 1103515245u + 12345u;
  return (*seed >> 8) % sides;
}

static void flip(const char* path, unsigned* seed, unsigned bytes) {
  size_t size;
  char* data = file_get(path, &size);
  unsigned i;

  for (i = 0; i < bytes && size > 0; i++)
    data[dice(seed, (unsigned) size)] ^= (char) (1u << dice(seed, 8));
  file_put(path, data, size);
  free(data);
}

/* Any bytes of the database. */
static void flipped_bytes(void** state) {
  cache_t* cache = *state;
  unsigned seed = 4711;
  int lost = 0;
  int i;

  open_folder(cache);
  for (i = 0; i < rounds(40); i++) {
    put_contents(cache);
    cache_close(cache);
    flip(inside(cache, "cache.db"), &seed, 1 + dice(&seed, 60));
    open_folder(cache);
    lost += CONTENTS - count_contents(cache);
    put_contents(cache); /* also over what is damaged, and not found out yet */
    cache_remove(cache, content_key(1));
    reopen(cache);
    assert_in_range(count_contents(cache), 0, CONTENTS);
    /* What is wrong is so for good: begin anew. */
    cache_close(cache);
    remove(inside(cache, "cache.db"));
    remove(inside(cache, "cache.db-wal"));
    open_folder(cache);
  }
  assert_true(lost > 0);
  still_works(cache);
  cache_close(cache);
  check_folder(folder_of(cache), CAP);
}

static void each_body(cache_t* cache, void (*change)(const char* path)) {
  DIR* dir = opendir(inside(cache, "bodies"));
  struct dirent* entry;
  char name[300];

  assert_non_null(dir);
  while ((entry = readdir(dir)) != NULL) {
    snprintf(name, sizeof(name), "bodies/%s", entry->d_name);
    if (entry->d_name[0] != '.')
      change(inside(cache, name));
  }
  closedir(dir);
}

static void flip_body(const char* path) {
  static unsigned seed = 42;

  flip(path, &seed, 1);
}

static void cut_body(const char* path) {
  assert_int_equal(truncate(path, 200 * KIB), 0);
}

static void remove_body(const char* path) {
  assert_int_equal(remove(path), 0);
}

static void damaged_bodies(void** state) {
  static void (*const changes[])(const char*) = { flip_body, cut_body,
                                                  remove_body };
  cache_t* cache = *state;
  size_t i;

  for (i = 0; i < COUNT(changes); i++) {
    open_folder(cache);
    put_contents(cache);
    cache_close(cache);
    each_body(cache, changes[i]);
    open_folder(cache);
    cache_find(cache, content_key(2));
    assert_int_equal(cache->count, 1);
    assert_null(cache_load(cache, cache->answers[0]));
    assert_int_equal(cache->error, NT_E_CACHE_MISS);
    expect_none(cache, content_key(2)); /* it is found out once */
    assert_int_equal(count_contents(cache), CONTENTS - CONTENTS / 3);
    still_works(cache);
    cache_close(cache);
    check_folder(folder_of(cache), CAP);
  }
}

/* Rows with a right checksum that nobody of ours has written. */
static const struct {
  const char* headers;
  size_t headers_size;
  const char* varying;
  size_t varying_size;
  int status;
  int64_t size;
} lies[] = {
  { "note\0one", 8, "", 0, 200, 5 },    { "note\0one\0x", 10, "", 0, 200, 5 },
  { "note\0", 5, "", 0, 200, 5 },       { "note\0one\0x\0", 11, "", 0, 200, 5 },
  { "note\0one\0", 9, "a", 1, 200, 5 }, { "note\0one\0", 9, "a\0", 2, 200, 5 },
  { "note\0one\0", 9, "", 0, 0, 5 },    { "note\0one\0", 9, "", 0, 304, 5 },
  { "note\0one\0", 9, "", 0, 1000, 5 }, { "note\0one\0", 9, "", 0, 200, -1 },
  { "note\0one\0", 9, "", 0, 200, 0 },
};

static void tell_lie(cache_t* cache, size_t i, int64_t name) {
  nt__stored_t stored = { .status = lies[i].status,
                          .asked = 1000,
                          .answered = 2000 };
  sqlite3_stmt* statement;
  sqlite3* db;

  stored.headers = (nt_headers_t){ lies[i].headers, lies[i].headers_size, 0 };
  stored.varying = (nt_headers_t){ lies[i].varying, lies[i].varying_size, 0 };
  assert_int_equal(sqlite3_open(inside(cache, "cache.db"), &db), SQLITE_OK);
  assert_int_equal(
      sqlite3_prepare_v2(db,
                         "UPDATE answers SET headers = ?1, varying = ?2,"
                         " status = ?3, size = ?4, sum = ?5, name = ?6",
                         -1, &statement, NULL),
      SQLITE_OK);
  sqlite3_bind_blob(statement, 1, lies[i].headers, (int) lies[i].headers_size,
                    SQLITE_STATIC);
  sqlite3_bind_blob(statement, 2, lies[i].varying, (int) lies[i].varying_size,
                    SQLITE_STATIC);
  sqlite3_bind_int(statement, 3, lies[i].status);
  sqlite3_bind_int64(statement, 4, lies[i].size);
  sqlite3_bind_int64(statement, 5,
                     nt__rows_sum("http://a/", &stored, (uint64_t) name,
                                  (uint64_t) lies[i].size));
  sqlite3_bind_int64(statement, 6, name);
  assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
  sqlite3_finalize(statement);
  sqlite3_close(db);
}

static void lies_are_found_out(void** state) {
  cache_t* cache = *state;
  size_t i;

  for (i = 0; i < 2 * COUNT(lies); i++) {
    open_folder(cache);
    cache_put(cache, "http://a/", "one", NULL, "first");
    cache_close(cache);
    tell_lie(cache, i / 2, i % 2);
    open_folder(cache);
    if (cache_find(cache, "http://a/") != 0)
      fail_msg("lie %zu is believed", i);
    cache_close(cache);
  }
}

/* What is counted has no checksum. */
static void counts_are_put_right(void** state) {
  static const char* const changes[] = {
    "UPDATE state SET bytes = 1000000000000000",
    "UPDATE state SET bytes = -1000000000000000",
    "UPDATE state SET clock = 9223372036854775807",
    "UPDATE state SET clock = -9223372036854775807",
    "UPDATE answers SET used = -9223372036854775807",
    "UPDATE answers SET used = 9223372036854775807",
    "DELETE FROM state",
  };
  cache_t* cache = *state;
  sqlite3* db;
  size_t i;
  int k;

  for (i = 0; i < COUNT(changes); i++) {
    open_folder(cache);
    put_contents(cache);
    cache_close(cache);
    assert_int_equal(sqlite3_open(inside(cache, "cache.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, changes[i], 0, 0, 0), SQLITE_OK);
    sqlite3_close(db);
    open_folder(cache);
    for (k = 0; k < 3; k++) {
      put_contents(cache);
      count_contents(cache);
    }
    cache_find(cache, content_key(0));
    assert_int_equal(cache->count, 1);
    cache_touch(cache, cache->answers[0]);
    reopen(cache);
    if (count_contents(cache) != CONTENTS)
      fail_msg("%s: %d are left", changes[i], count_contents(cache));
    cache_close(cache);
    check_folder(folder_of(cache), CAP);
  }
}

/* Another process has stopped in the middle of a change: nobody waits for it
 * again and again. */
static void a_lock_is_waited_for_once(void** state) {
  cache_t* cache = *state;
  uint64_t start;
  sqlite3* db;
  int i;

  open_folder(cache);
  cache_put(cache, "http://a/", "one", NULL, "first");
  expect_one(cache, "http://a/", "one", "first");
  assert_int_equal(sqlite3_open(inside(cache, "cache.db"), &db), SQLITE_OK);
  sqlite3_busy_timeout(db, PATIENCE_MS);
  assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", 0, 0, 0), SQLITE_OK);
  start = uv_hrtime();
  for (i = 0; i < CONTENTS; i++)
    cache_put(cache, content_key(i), "n", NULL, "text");
  expect_none(cache, "http://b/"); /* behind all of them */
  assert_in_range((uv_hrtime() - start) / 1000000, 0, PATIENCE_MS);
  assert_int_equal(sqlite3_exec(db, "ROLLBACK", 0, 0, 0), SQLITE_OK);
  sqlite3_close(db);
  /* What could not be removed meanwhile is not put on disk before it is. */
  cache_remove(cache, NULL);
  settle(cache);
  settle(cache);
  still_works(cache);
  cache_close(cache);
  check_folder(folder_of(cache), CAP);
}

/* What a kill leaves: files without a row, and rows that nobody completes. */
static void leftovers(void** state) {
  cache_t* cache = *state;
  sqlite3* db;

  open_folder(cache);
  put_contents(cache);
  cache_close(cache);
  file_put(inside(cache, "bodies/0123456789abcdef"), "left", 4);
  file_put(inside(cache, "bodies/notes.txt"), "not ours", 8);
  assert_int_equal(sqlite3_open(inside(cache, "cache.db"), &db), SQLITE_OK);
  assert_int_equal(
      sqlite3_exec(db, "UPDATE answers SET writing = 1 WHERE name != 0", 0, 0,
                   0),
      SQLITE_OK);
  sqlite3_close(db);
  open_folder(cache);
  assert_int_equal(count_contents(cache), CONTENTS - CONTENTS / 3);
  cache_put(cache, "http://a/", "one", NULL, "first"); /* it goes with this */
  cache_close(cache);
  assert_false(file_exists(inside(cache, "bodies/0123456789abcdef")));
  assert_file(inside(cache, "bodies/notes.txt"), "not ours");
  remove(inside(cache, "bodies/notes.txt"));
  assert_int_equal(folder_count(inside(cache, "bodies")), 0);
  check_folder(folder_of(cache), CAP);
}

/* ---- A full disk --------------------------------------------------------- */

static void no_more_than(rlim_t bytes) {
  struct rlimit limit;

  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
}

static void full_disk(void** state) {
  cache_t* cache = *state;
  char* data = body_bytes(7, 1 * MIB);
  int i;

  signal(SIGXFSZ, SIG_IGN);
  open_folder(cache);
  put_contents(cache);
  cache_put(cache, "http://a/", "old", NULL, "old");
  assert_int_equal(count_contents(cache), CONTENTS);
  reopen(cache);
  assert_int_equal(count_contents(cache), CONTENTS);
  no_more_than(400 * KIB);
  cache_put_bytes(cache, "http://b/", "large", NULL, data, 1 * MIB);
  for (i = 0; i < 20; i++) /* the log of the database is full as well */
    cache_put_bytes(cache, "http://a/", "new", NULL, data, 60 * KIB);
  cache_put_bytes(cache, "http://a/", "newest", NULL, data, 60 * KIB);
  expect_nothing_but(cache, "http://a/", "newest");
  assert_int_equal(count_contents(cache), CONTENTS); /* that goes on */
  no_more_than(RLIM_INFINITY);
  cache_let_go(cache);
  still_works(cache);
  cache_close(cache);
  check_folder(folder_of(cache), CAP);
  free(data);
}

/* As if it had not heard of the disk for so long. */
static void run_age(step_t* step) {
  nt__cache_store_t* store = step->cache->store;

  store->checked = nt__now(step->task.ctx) - step->size;
  step_end(step);
}

static void grow_old(cache_t* cache, size_t ms) {
  step_t step = { .size = ms };

  cache_do(cache, &step, run_age);
}

/* Even what cannot be removed is not found any more. */
static void no_removal(void** state) {
  cache_t* cache = *state;

  signal(SIGXFSZ, SIG_IGN);
  open_folder(cache);
  put_contents(cache);
  cache_put(cache, "http://a/", "old", NULL, "old");
  reopen(cache);
  expect_none(cache, "http://b/");
  no_more_than(1);
  cache_remove(cache, "http://a/");
  expect_none(cache, "http://a/");
  settle(cache);
  settle(cache); /* the tries are over */
  expect_none(cache, "http://a/");
  assert_int_equal(count_contents(cache), CONTENTS);
  cache_put(cache, "http://a/", "new", NULL, "new");
  expect_one(cache, "http://a/", "new", "new");
  no_more_than(RLIM_INFINITY);
  settle(cache);
  /* It makes the removal be tried again, and may go with it. */
  cache_put(cache, "http://a/", "newer", NULL, "newer");
  expect_nothing_but(cache, "http://a/", "newer");
  settle(cache);
  expect_nothing_but(cache, "http://a/", "newer");
  cache_put(cache, "http://a/", "newest", NULL, "newest");
  reopen(cache);
  expect_one(cache, "http://a/", "newest", "newest");
  cache_remove(cache, NULL);
  expect_none(cache, "http://a/");
  still_works(cache);
  expect_none(cache, "http://a/");
  cache_close(cache);
}

/* ---- Others -------------------------------------------------------------- */

static void open_beside(cache_t* other, cache_t* cache, uint64_t max) {
  memset(other, 0, sizeof(*other));
  cache_open(other, folder_of(cache), max);
}

static void run_look(step_t* step) {
  step->size = step->cache->store->checking;
  step_end(step);
}

/* Nothing else may ask the disk meanwhile. */
static void wait_for_check(cache_t* cache) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;
  step_t step = { .size = 0 };

  do {
    assert_true(uv_hrtime() < end);
    cache_do(cache, &step, run_look);
  } while (step.size != 0);
}

static void two_contexts(void** state) {
  cache_t* cache = *state;
  cache_t other;

  open_folder(cache);
  open_beside(&other, cache, CAP);
  cache_put(cache, "http://a/", "one", NULL, "first");
  cache_put(cache, "http://c/", "one", NULL, "first");
  expect_one(cache, "http://c/", "one", "first");
  expect_one(&other, "http://a/", "one", "first");
  cache_put(&other, "http://b/", "two", NULL, "second");
  expect_one(&other, "http://b/", "two", "second");
  expect_one(cache, "http://b/", "two", "second");
  expect_one(cache, "http://a/", "one", "first");
  cache_put(&other, "http://a/", "newer", NULL, "third");
  cache_remove(&other, "http://c/");
  settle(&other);
  /* What is in memory is compared with the disk after a while, */
  grow_old(cache, KNOWN_MS);
  assert_int_equal(cache_find(cache, "http://a/"), 1);
  assert_false(cache->at_once);
  expect_one(cache, "http://a/", "newer", "third");
  expect_none(cache, "http://c/");
  /* and before that beside its use. */
  cache_put(&other, "http://a/", "newest", NULL, "fourth");
  settle(&other);
  grow_old(cache, KNOWN_MS / 2);
  assert_int_equal(cache_find(cache, "http://a/"), 1);
  assert_true(cache->at_once);
  wait_for_check(cache);
  expect_one(cache, "http://a/", "newest", "fourth");
  cache_close(&other);
  cache_close(cache);
  check_folder(folder_of(cache), CAP);
}

/* The cap is that of all of them together. */
static void two_share_a_cap(void** state) {
  enum {
    SMALL = 3 * MIB
  };
  cache_t* cache = *state;
  cache_t other;
  int i;

  cache_open(cache, folder_of(cache), SMALL);
  open_beside(&other, cache, SMALL);
  for (i = 0; i < 60; i++) {
    size_t size = i % 4 == 0 ? 300 * KIB : 30 * KIB;
    char* data = body_bytes((uint64_t) i, size);
    char key[64];

    snprintf(key, sizeof(key), "http://%d/", i);
    cache_put_bytes(i % 2 == 0 ? cache : &other, key, "n", NULL, data, size);
    free(data);
  }
  cache_close(&other);
  cache_close(cache);
  check_folder(folder_of(cache), SMALL);
}

/* What another one clears is not completed. */
static void run_begin(step_t* step) {
  nt__stored_t stored = stored_of(200, "recorded", NULL);

  step->recorder = nt__cache_record(step->cache->store, "http://a/", &stored);
  step->size = 0;
  while (step->size < 3 * 256 * KIB &&
         nt__cache_record_write(step->recorder, step->data, 64 * KIB, NULL,
                                NULL) == 0)
    step->size += 64 * KIB;
  step_end(step);
}

static void run_commit(step_t* step) {
  nt__cache_record_commit(step->recorder);
  step_end(step);
}

static void cleared_by_another(void** state) {
  cache_t* cache = *state;
  char* data = body_bytes(1, 64 * KIB);
  step_t step = { .data = data };
  cache_t other;

  open_folder(cache);
  open_beside(&other, cache, CAP);
  cache_put(cache, "http://a/", "before", NULL, "before");
  expect_one(cache, "http://a/", "before", "before");
  cache_do(cache, &step, run_begin);
  assert_int_equal(step.size, 3 * 256 * KIB);
  expect_one(cache, "http://a/", "before", "before");
  settle(cache);
  assert_int_equal(folder_count(inside(cache, "bodies")), 1);
  cache_remove(&other, "http://a/");
  cache_put(&other, "http://a/", "theirs", NULL, "theirs");
  settle(&other);
  cache_do(cache, &step, run_commit);
  expect_one(cache, "http://a/", "theirs", "theirs");
  settle(cache);
  expect_one(cache, "http://a/", "theirs", "theirs");
  cache_close(&other);
  cache_close(cache);
  assert_int_equal(folder_count(inside(cache, "bodies")), 0);
  check_folder(folder_of(cache), CAP);
  free(data);
}

/* The folder goes while it is in use; it comes back. */
static void removed_in_use(void** state) {
  cache_t* cache = *state;

  open_folder(cache);
  put_contents(cache);
  assert_int_equal(count_contents(cache), CONTENTS);
  each_body(cache, remove_body);
  remove(inside(cache, "cache.db"));
  remove(inside(cache, "cache.db-wal"));
  remove(inside(cache, "cache.db-shm"));
  grow_old(cache, KNOWN_MS / 2);
  count_contents(cache);
  wait_for_check(cache);
  assert_true(file_exists(inside(cache, "cache.db")));
  assert_int_equal(count_contents(cache), 0);
  still_works(cache);
  cache_close(cache);
  check_folder(folder_of(cache), CAP);
}

/* What was cleared goes from the disk, also if there was no time for it. */
static void cleared_for_good(void** state) {
  cache_t* cache = *state;
  uint64_t end = uv_hrtime() + 10000000000u;
  char* data = body_bytes(1, 60 * KIB);
  struct stat info;
  char key[64];
  int i;

  open_folder(cache);
  for (i = 0; i < 100; i++) {
    snprintf(key, sizeof(key), "http://%d/", i);
    cache_put_bytes(cache, key, "n", NULL, data, 60 * KIB);
  }
  put_contents(cache);
  cache_remove(cache, NULL);
  reopen(cache);
  do {
    expect_none(cache, "http://1/");
    assert_true(uv_hrtime() < end);
    reopen(cache);
    stat(inside(cache, "cache.db"), &info);
  } while (info.st_size > MIB || folder_count(inside(cache, "bodies")) > 0);
  cache_close(cache);
  check_folder(folder_of(cache), 1);
  free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    CACHE_TEST(is_for_this_user_alone),
    CACHE_TEST(of_somebody_else),
    CACHE_TEST(no_folder),
    CACHE_TEST(no_database),
    CACHE_TEST(flipped_bytes),
    CACHE_TEST(damaged_bodies),
    CACHE_TEST(lies_are_found_out),
    CACHE_TEST(counts_are_put_right),
    CACHE_TEST(a_lock_is_waited_for_once),
    CACHE_TEST(leftovers),
    CACHE_TEST(full_disk),
    CACHE_TEST(no_removal),
    CACHE_TEST(two_contexts),
    CACHE_TEST(two_share_a_cap),
    CACHE_TEST(cleared_by_another),
    CACHE_TEST(removed_in_use),
    CACHE_TEST(cleared_for_good),
  };

  return cmocka_run_group_tests_name("cache_file", tests, NULL, NULL);
}
