/* cache_store.c and what is below it: what was put is found, in memory and on
 * disk, what was used least recently goes, and a body comes in pieces. */
#include "cache_host.h"

enum {
  KIB = 1024,
  MIB = 1024 * 1024
};

/* Each of these is run in memory and with a folder. */
static void open_either(cache_t* cache, bool disk, uint64_t max) {
  cache_open(cache, disk ? in_folder(&cache->folder, "a/b/cache") : NULL, max);
}

/* Closed and opened again, if that is to make no difference. */
static void reopen(cache_t* cache, bool disk, uint64_t max) {
  if (!disk)
    return;
  cache_close(cache);
  open_either(cache, true, max);
}

#define EITHER(name)                                                           \
  static void name##_in_memory(void** state) {                                 \
    check_##name(*state, false);                                               \
  }                                                                            \
  static void name##_on_disk(void** state) {                                   \
    check_##name(*state, true);                                                \
  }

#define EITHER_TEST(name)                                                      \
  CACHE_TEST(name##_in_memory), CACHE_TEST(name##_on_disk)

/* ---- What is put is found ------------------------------------------------ */

static void check_hits(cache_t* cache, bool disk) {
  open_either(cache, disk, 0);
  expect_none(cache, "http://a/");
  cache_put(cache, "http://a/", "one", NULL, "first");
  assert_int_equal(cache_find(cache, "http://a/"), 1);
  assert_true(cache->at_once); /* it is known that there was nothing else */
  expect_one(cache, "http://a/", "one", "first");
  reopen(cache, disk, 0);
  expect_one(cache, "http://a/", "one", "first");
  assert_int_equal(cache->answers[0]->stored.status, 200);
  assert_int_equal(cache->answers[0]->stored.asked, 1000);
  assert_int_equal(cache->answers[0]->stored.answered, 2000);
  assert_int_equal(cache->answers[0]->stored.headers.count, 1);
  expect_none(cache, "http://a/b");
  cache_put(cache, "http://a/", "two", NULL, "second");
  expect_one(cache, "http://a/", "two", "second");
  cache_put(cache, "http://b/", "empty", NULL, "");
  reopen(cache, disk, 0);
  expect_one(cache, "http://a/", "two", "second");
  expect_one(cache, "http://b/", "empty", "");
  cache_close(cache);
}

EITHER(hits)

static void check_removal(cache_t* cache, bool disk) {
  open_either(cache, disk, 0);
  cache_put(cache, "http://a/", "one", NULL, "first");
  cache_put(cache, "http://a/", "two", "text", "second");
  cache_put(cache, "http://b/", "three", NULL, "third");
  cache_put(cache, "http://c/", "four", NULL, "fourth");
  cache_remove(cache, "http://a/");
  cache_remove(cache, "http://never/");
  expect_none(cache, "http://a/");
  reopen(cache, disk, 0);
  expect_none(cache, "http://a/");
  expect_one(cache, "http://b/", "three", "third");
  cache_remove(cache, NULL);
  expect_none(cache, "http://b/");
  cache_put(cache, "http://b/", "new", NULL, "newer");
  expect_one(cache, "http://b/", "new", "newer");
  reopen(cache, disk, 0);
  expect_none(cache, "http://c/");
  expect_one(cache, "http://b/", "new", "newer");
  cache_close(cache);
}

EITHER(removal)

static void expect_notes(cache_t* cache, const char* key, const char* notes) {
  char found[256] = "";
  size_t i;

  cache_find(cache, key);
  for (i = 0; i < cache->count; i++) {
    strcat(found, note_of(cache->answers[i]));
    strcat(found, " ");
  }
  assert_string_equal(found, notes);
}

static void check_variants(cache_t* cache, bool disk) {
  char vary[16];
  int i;

  open_either(cache, disk, 0);
  cache_put(cache, "http://a/", "one", "text", "1");
  cache_put(cache, "http://a/", "two", "image", "2");
  cache_put(cache, "http://a/", "three", NULL, "3");
  expect_notes(cache, "http://a/", "three two one ");
  cache_put(cache, "http://a/", "four", "text", "4");
  expect_notes(cache, "http://a/", "four three two ");
  reopen(cache, disk, 0);
  expect_notes(cache, "http://a/", "four three two ");
  assert_memory_equal(cache->answers[0]->stored.varying.bytes, "accept\0text",
                      12);
  expect_body(cache, cache->answers[2], "2", 1);
  for (i = 0; i < 40; i++) {
    snprintf(vary, sizeof(vary), "%d", i);
    cache_put(cache, "http://a/", vary, vary, vary);
  }
  assert_int_equal(cache_find(cache, "http://a/"), NT__CACHE_VARIANTS);
  assert_string_equal(note_of(cache->answers[0]), "39");
  reopen(cache, disk, 0);
  assert_int_equal(cache_find(cache, "http://a/"), NT__CACHE_VARIANTS);
  assert_string_equal(note_of(cache->answers[NT__CACHE_VARIANTS - 1]), "8");
  cache_close(cache);
}

EITHER(variants)

static void check_replacement(cache_t* cache, bool disk) {
  char* data = body_bytes(1, 200 * KIB);
  nt__answer_t* old;

  open_either(cache, disk, 0);
  cache_put(cache, "http://a/", "one", "text", "same");
  cache_put(cache, "http://a/", "other", NULL, "other");
  cache_put_bytes(cache, "http://big/", "one", NULL, data, 200 * KIB);
  assert_int_equal(cache_find(cache, "http://a/"), 2);
  old = nt__answer_ref(cache->answers[1]);
  cache_replace(cache, old, "two");
  assert_string_equal(note_of(old), "one"); /* whoever has it keeps it */
  nt__answer_unref(old);
  expect_notes(cache, "http://a/", "two other ");
  expect_body(cache, cache->answers[0], "same", 4);
  reopen(cache, disk, 0);
  expect_notes(cache, "http://a/", "two other ");
  expect_body(cache, cache->answers[0], "same", 4);

  cache_find(cache, "http://big/");
  old = nt__answer_ref(cache->answers[0]);
  cache_replace(cache, old, "two");
  expect_notes(cache, "http://big/", "two ");
  expect_body(cache, cache->answers[0], data, 200 * KIB);
  expect_body(cache, old, data, 200 * KIB); /* somebody may be reading it */
  nt__answer_unref(old);
  reopen(cache, disk, 0);
  expect_notes(cache, "http://big/", "two ");
  expect_body(cache, cache->answers[0], data, 200 * KIB);
  cache_close(cache);
  free(data);
}

EITHER(replacement)

/* ---- Sizes --------------------------------------------------------------- */

static void put_size(cache_t* cache, int number, size_t size) {
  char key[64];
  char* data = body_bytes((uint64_t) number, size);

  snprintf(key, sizeof(key), "http://size/%d", number);
  cache_put_bytes(cache, key, "n", NULL, data, size);
  free(data);
}

static bool has_size(cache_t* cache, int number, size_t size) {
  char key[64];
  char* data;

  snprintf(key, sizeof(key), "http://size/%d", number);
  if (cache_find(cache, key) == 0)
    return false;
  data = body_bytes((uint64_t) number, size);
  expect_body(cache, cache->answers[0], data, size);
  free(data);
  return true;
}

static void check_bodies(cache_t* cache, bool disk) {
  static const size_t sizes[] = { 1,      65535,  65536,   65537,  131072,
                                  200000, 262144, 1000000, 3 * MIB };
  size_t i;

  open_either(cache, disk, 64 * MIB);
  for (i = 0; i < COUNT(sizes); i++)
    put_size(cache, (int) i, sizes[i]);
  for (i = 0; i < COUNT(sizes); i++)
    assert_true(has_size(cache, (int) i, sizes[i]));
  reopen(cache, disk, 64 * MIB);
  for (i = 0; i < COUNT(sizes); i++)
    assert_true(has_size(cache, (int) i, sizes[i]));
  for (i = 0; i < COUNT(sizes); i++)
    assert_true(has_size(cache, (int) i, sizes[i]));
  cache_close(cache);
}

EITHER(bodies)

/* Ten of them and no more have room; an eleventh makes more than enough. */
static void check_cap(cache_t* cache, bool disk) {
  enum {
    SIZE = 10 * KIB,
    CAP = 10 * (SIZE + 400)
  };
  int i;

  open_either(cache, disk, CAP);
  for (i = 0; i < 10; i++)
    put_size(cache, i, SIZE);
  reopen(cache, disk, CAP);
  for (i = disk ? 0 : 3; i < 10; i++)
    assert_true(has_size(cache, i, SIZE));
  for (i = 10; i < 20; i++)
    put_size(cache, i, SIZE);
  reopen(cache, disk, CAP);
  assert_true(has_size(cache, 19, SIZE));
  assert_true(has_size(cache, 15, SIZE));
  for (i = 0; i < 9; i++)
    assert_false(has_size(cache, i, SIZE));
  /* One that is too large is not stored, nor is what it would replace. */
  put_size(cache, 19, CAP / 2 + 1);
  assert_false(has_size(cache, 19, SIZE));
  reopen(cache, disk, CAP);
  assert_false(has_size(cache, 19, SIZE));
  assert_true(has_size(cache, 15, SIZE));
  cache_close(cache);
}

EITHER(cap)

static void check_use(cache_t* cache, bool disk) {
  enum {
    SIZE = 10 * KIB,
    CAP = 20 * (SIZE + 400)
  };
  int i;

  open_either(cache, disk, CAP);
  for (i = 0; i < 40; i++) {
    put_size(cache, i, SIZE);
    assert_true(has_size(cache, 0, SIZE));
    cache_touch(cache, cache->answers[0]);
  }
  reopen(cache, disk, CAP);
  assert_true(has_size(cache, 0, SIZE));
  assert_false(has_size(cache, 1, SIZE));
  cache_close(cache);
}

EITHER(use)

static void check_shrinking(cache_t* cache, bool disk) {
  const char* dir = disk ? in_folder(&cache->folder, "a/b/cache") : NULL;
  int i;

  open_either(cache, disk, 8 * MIB);
  for (i = 0; i < 60; i++)
    put_size(cache, i, 60 * KIB);
  assert_true(has_size(cache, 0, 60 * KIB));
  cache_configure(cache, dir, 1 * MIB);
  assert_true(has_size(cache, 59, 60 * KIB));
  assert_false(has_size(cache, 1, 60 * KIB));
  reopen(cache, disk, 1 * MIB);
  assert_true(has_size(cache, 59, 60 * KIB));
  assert_false(has_size(cache, 1, 60 * KIB));
  cache_close(cache);
}

EITHER(shrinking)

/* ---- Pieces -------------------------------------------------------------- */

static void pieces(void** state) {
  enum {
    SIZE = 700 * KIB + 123
  };
  cache_t* cache = *state;
  char* data = body_bytes(9, SIZE);
  nt__answer_t* answer;
  size_t at;

  open_either(cache, true, 64 * MIB);
  cache_put_bytes(cache, "http://a/", "a", NULL, data, SIZE);
  reopen(cache, true, 64 * MIB);
  assert_int_equal(cache_find(cache, "http://a/"), 1);
  answer = nt__answer_ref(cache->answers[0]);
  assert_null(answer->body);
  for (at = 0; at < SIZE;) {
    nt__body_t* body = cache_read(cache, answer, at, 100 * KIB);

    if (body == NULL)
      fail_msg("%s at %zu", nt_error_name(cache->error), at);
    assert_true(body->size > 0 && body->size <= 100 * KIB);
    assert_memory_equal(body->data, data + at, body->size);
    assert_int_equal(body->data[body->size], 0);
    at += body->size;
    nt__body_unref(body);
    /* Who is in the middle of it gets the rest. */
    cache_remove(cache, "http://a/");
    expect_none(cache, "http://a/");
  }
  assert_int_equal(at, SIZE);
  assert_null(cache_read(cache, answer, SIZE, 1));
  assert_int_equal(cache->error, NT_E_CACHE_MISS);
  assert_null(cache_load(cache, answer)); /* it is gone now */
  assert_int_equal(cache->error, NT_E_CACHE_MISS);
  nt__answer_unref(answer);
  cache_close(cache);
  free(data);
}

/* ---- Recorders ----------------------------------------------------------- */

typedef struct recording {
  step_t step;
  const char* key;
  char* data;
  size_t size;
  size_t at;
  size_t piece;
  unsigned waits;
  int error;
  enum {
    COMMIT,
    DROP,
    REMOVE_AND_COMMIT,
    LEAVE
  } end;
} recording_t;

static void end_recording(recording_t* r) {
  if (r->end == REMOVE_AND_COMMIT)
    nt__cache_remove(r->step.cache->store, r->key);
  if (r->end == DROP || r->error != 0)
    nt__cache_record_drop(r->step.recorder);
  else if (r->end != LEAVE)
    nt__cache_record_commit(r->step.recorder);
  step_end(&r->step);
}

static void go_on(void* arg) {
  recording_t* r = arg;

  while (r->at < r->size && r->error == 0) {
    size_t piece = r->size - r->at < r->piece ? r->size - r->at : r->piece;

    r->error = nt__cache_record_write(r->step.recorder, r->data + r->at, piece,
                                      go_on, r);
    if (r->error == NT__WAIT) {
      r->error = 0;
      r->waits++;
      return;
    }
    r->at += piece;
  }
  end_recording(r);
}

static void run_record(step_t* step) {
  recording_t* r = nt__container_of(step, recording_t, step);
  nt__stored_t stored = stored_of(200, "recorded", NULL);

  step->recorder = nt__cache_record(step->cache->store, r->key, &stored);
  assert_non_null(step->recorder);
  go_on(r);
}

static void record(cache_t* cache, recording_t* r) {
  r->data = body_bytes(5, r->size);
  r->at = 0;
  r->error = 0;
  cache_do(cache, &r->step, run_record);
  free(r->data);
}

static void expect_recorded(cache_t* cache, const char* key, size_t size) {
  char* data = body_bytes(5, size);

  assert_int_equal(cache_find(cache, key), 1);
  assert_string_equal(note_of(cache->answers[0]), "recorded");
  expect_body(cache, cache->answers[0], data, size);
  free(data);
}

static void check_recorders(cache_t* cache, bool disk) {
  static const size_t sizes[] = { 0,      1,      65536,   100000, 262143,
                                  262144, 262145, 1048576, 3000000 };
  recording_t r = { .key = "http://a/" };
  unsigned waits = 0;
  size_t i;

  open_either(cache, disk, 16 * MIB);
  for (i = 0; i < COUNT(sizes); i++) {
    r.size = sizes[i];
    r.piece = i % 2 == 0 ? 16384 : 10007;
    r.end = COMMIT;
    record(cache, &r);
    assert_int_equal(r.error, 0);
    expect_recorded(cache, "http://a/", sizes[i]);
    reopen(cache, disk, 16 * MIB);
    expect_recorded(cache, "http://a/", sizes[i]);
    waits += r.waits;
  }
  assert_true(disk == (waits > 0));
  r.end = DROP;
  record(cache, &r);
  expect_recorded(cache, "http://a/", 3000000); /* the one before */
  r.end = REMOVE_AND_COMMIT;
  record(cache, &r);
  expect_none(cache, "http://a/");
  reopen(cache, disk, 16 * MIB);
  expect_none(cache, "http://a/");
  r.size = 9 * MIB; /* more than may be */
  r.end = COMMIT;
  record(cache, &r);
  assert_int_equal(r.error, NT_E_FULL);
  expect_none(cache, "http://a/");
  cache_close(cache);
}

EITHER(recorders)

/* A store is closed in the middle of one. */
static void run_close_and_drop(step_t* step) {
  nt__cache_store_close(step->cache->store);
  step->cache->store = NULL;
  assert_int_equal(nt__cache_record_write(step->recorder, "x", 1, NULL, NULL),
                   NT_E_CLOSED);
  nt__cache_record_drop(step->recorder);
  step_end(step);
}

static void check_leaving(cache_t* cache, bool disk) {
  recording_t r = { .key = "http://a/", .size = 3 * MIB, .piece = 16384 };
  step_t step = { 0 };

  open_either(cache, disk, 64 * MIB);
  r.end = LEAVE;
  record(cache, &r);
  step.recorder = r.step.recorder;
  cache_do(cache, &step, run_close_and_drop);
  cache_close(cache);
  open_either(cache, disk, 64 * MIB);
  expect_none(cache, "http://a/");
  if (disk)
    assert_int_equal(
        folder_count(in_folder(&cache->folder, "a/b/cache/bodies")), 0);
  cache_close(cache);
}

EITHER(leaving)

/* ---- At once ------------------------------------------------------------- */

enum {
  CROWD = 50
};

typedef struct crowd {
  step_t step;
  nt__cache_wait_t waits[CROWD];
  unsigned told;
} crowd_t;

static crowd_t* crowd;

static void on_crowd(nt__cache_wait_t* wait, int error) {
  assert_int_equal(error, 0);
  assert_int_equal(wait->count, 1);
  assert_string_equal(note_of(wait->answers[0]), "one");
  nt__answer_unref(wait->answers[0]);
  crowd->told++;
  if (crowd->told == CROWD - 1)
    step_end(&crowd->step);
}

static void run_crowd(step_t* step) {
  int i;

  for (i = 0; i < CROWD; i++) {
    crowd->waits[i].on_done = on_crowd;
    assert_false(
        nt__cache_find(step->cache->store, "http://a/", &crowd->waits[i]));
  }
  nt__cache_forget(&crowd->waits[7]);
  nt__cache_forget(&crowd->waits[7]);
}

static void many_ask_once(void** state) {
  cache_t* cache = *state;

  crowd = calloc(1, sizeof(*crowd));
  open_either(cache, true, 0);
  cache_put(cache, "http://a/", "one", NULL, "first");
  reopen(cache, true, 0);
  cache_do(cache, &crowd->step, run_crowd);
  assert_int_equal(crowd->told, CROWD - 1);
  assert_int_equal(crowd->waits[7].count, 0);
  free(crowd);
  cache_close(cache);
}

/* What is found is not what was removed while it was looked for. */
static void run_find_and_remove(step_t* step) {
  run_find(step);
  assert_false(step->cache->at_once);
  nt__cache_remove(step->cache->store, "http://a/");
}

static void run_find_and_put(step_t* step) {
  run_find(step);
  assert_false(step->cache->at_once);
  nt__cache_put(step->cache->store, step->answer);
}

static void removed_meanwhile(void** state) {
  cache_t* cache = *state;
  step_t step = { .key = "http://a/" };

  open_either(cache, true, 0);
  cache_put(cache, "http://a/", "one", NULL, "first");
  reopen(cache, true, 0);
  step.answer = answer_of("http://a/", "two", NULL, "second", 6);
  cache_do(cache, &step, run_find_and_put);
  nt__answer_unref(step.answer);
  expect_one(cache, "http://a/", "two", "second");
  reopen(cache, true, 0);
  step.answer = NULL;
  cache_do(cache, &step, run_find_and_remove);
  assert_int_equal(cache->count, 0);
  expect_none(cache, "http://a/");
  cache_close(cache);
}

/* Closed with everything under way: nobody hears of it, and what was put is
 * there. */
static void on_nothing_more(nt__cache_wait_t* wait, int error) {
  (void) wait;
  (void) error;
  fail_msg("the store was closed");
}

static void run_put_and_close(step_t* step) {
  static nt__cache_wait_t waits[100];
  char key[32];
  int i;

  memset(waits, 0, sizeof(waits));
  for (i = 0; i < 100; i++) {
    snprintf(key, sizeof(key), "http://other/%d", i);
    waits[i].on_done = on_nothing_more;
    assert_false(nt__cache_find(step->cache->store, key, &waits[i]));
  }
  nt__cache_put(step->cache->store, step->answer);
  nt__cache_store_close(step->cache->store);
  step->cache->store = NULL;
  nt__cache_forget(&waits[0]);
  step_end(step);
}

static void closed_at_once(void** state) {
  cache_t* cache = *state;
  step_t step = { 0 };

  open_either(cache, true, 0);
  step.answer = answer_of("http://a/", "one", NULL, "first", 5);
  cache_do(cache, &step, run_put_and_close);
  nt__answer_unref(step.answer);
  cache_close(cache);
  open_either(cache, true, 0);
  expect_one(cache, "http://a/", "one", "first");
  cache_close(cache);
}

/* ---- Folders ------------------------------------------------------------- */

/* It stays where it was opened. */
static void relative_folder(void** state) {
  cache_t* cache = *state;
  char* data = body_bytes(4, 100 * KIB);
  char before[PATH_MAX];

  assert_non_null(getcwd(before, sizeof(before)));
  assert_int_equal(chdir(cache->folder.path), 0);
  cache_open(cache, "cache", 0);
  expect_none(cache, "http://a/");
  assert_int_equal(chdir(before), 0);
  cache_put_bytes(cache, "http://a/", "one", NULL, data, 100 * KIB);
  cache_close(cache);
  cache_open(cache, in_folder(&cache->folder, "cache"), 0);
  assert_int_equal(cache_find(cache, "http://a/"), 1);
  expect_body(cache, cache->answers[0], data, 100 * KIB);
  cache_close(cache);
  free(data);
}

static void another_folder(void** state) {
  cache_t* cache = *state;
  const char* one = in_folder(&cache->folder, "one");
  const char* two = in_folder(&cache->folder, "two");
  char* data = body_bytes(3, 3 * MIB);
  nt__answer_t* answer;

  cache_open(cache, one, 64 * MIB);
  cache_put_bytes(cache, "http://a/", "in one", NULL, data, 3 * MIB);
  expect_none(cache, "http://b/");
  cache_close(cache);
  cache_open(cache, one, 64 * MIB);
  cache_find(cache, "http://a/");
  answer = nt__answer_ref(cache->answers[0]);
  assert_null(answer->body);
  cache_configure(cache, two, 64 * MIB);
  expect_none(cache, "http://a/");
  expect_body(cache, answer, data, 3 * MIB); /* from where it was */
  cache_replace(cache, answer, "newer");
  expect_none(cache, "http://a/");
  cache_touch(cache, answer);
  cache_put(cache, "http://a/", "in two", NULL, "2");
  cache_configure(cache, NULL, 64 * MIB);
  expect_none(cache, "http://a/");
  cache_put(cache, "http://a/", "in none", NULL, "0");
  expect_one(cache, "http://a/", "in none", "0");
  cache_configure(cache, one, 64 * MIB);
  assert_int_equal(cache_find(cache, "http://a/"), 1);
  assert_string_equal(note_of(cache->answers[0]), "in one");
  cache_configure(cache, two, 64 * MIB);
  expect_one(cache, "http://a/", "in two", "2");
  nt__answer_unref(answer);
  cache_close(cache);
  free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    EITHER_TEST(hits),
    EITHER_TEST(removal),
    EITHER_TEST(variants),
    EITHER_TEST(replacement),
    EITHER_TEST(bodies),
    EITHER_TEST(cap),
    EITHER_TEST(use),
    EITHER_TEST(shrinking),
    CACHE_TEST(pieces),
    EITHER_TEST(recorders),
    EITHER_TEST(leaving),
    CACHE_TEST(many_ask_once),
    CACHE_TEST(removed_meanwhile),
    CACHE_TEST(closed_at_once),
    CACHE_TEST(another_folder),
    CACHE_TEST(relative_folder),
  };

  return cmocka_run_group_tests_name("cache_store", tests, NULL, NULL);
}
