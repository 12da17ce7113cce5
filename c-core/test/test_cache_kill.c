/* Processes that share the folder of the cache and are killed at any moment:
 * what is found afterwards is whole and right, and nothing is left over. A
 * child is this program again. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cache_check.h"
#include "cache_host.h"

enum {
  KIB = 1024,
  MIB = 1024 * 1024,
  CAP = 6 * MIB,
  KEYS = 40,
  CHILDREN = 2,
  ROUNDS = 50,
  CHILD_SECONDS = 60
};

static unsigned dice(unsigned* seed, unsigned sides) {
  *seed = *seed * 1103515245u + 12345u;
  return (*seed >> 8) % sides;
}

static const char* key_of(unsigned number) {
  static char key[64];

  snprintf(key, sizeof(key), "http://shared/%u", number);
  return key;
}

/* The note of an answer says which body it has to have. */
static void expect_right(cache_t* cache, nt__answer_t* answer) {
  unsigned seed, size;
  nt__body_t* body;
  char* data;

  assert_int_equal(sscanf(note_of(answer), "%u %u", &seed, &size), 2);
  assert_int_equal(answer->size, size);
  body = cache_load(cache, answer);
  if (body == NULL)
    return; /* another process has removed it */
  data = body_bytes(seed, size);
  assert_int_equal(body->size, size);
  assert_true(size == 0 || memcmp(body->data, data, size) == 0);
  nt__body_unref(body);
  free(data);
}

/* ---- The child ----------------------------------------------------------- */

static void run_record(step_t* step) {
  nt__stored_t stored = stored_of(200, step->data, NULL);
  nt__cache_recorder_t* recorder =
      nt__cache_record(step->cache->store, step->key, &stored);
  const nt__body_t* body = step->body;
  int err = 0;
  size_t at;

  /* It may well fall behind: then it is not stored. */
  for (at = 0; err == 0 && at < body->size; at += 16 * KIB) {
    size_t left = body->size - at;

    err = nt__cache_record_write(recorder, body->data + at,
                                 left < 16 * KIB ? left : 16 * KIB, NULL, NULL);
  }
  if (err == 0)
    nt__cache_record_commit(recorder);
  else
    nt__cache_record_drop(recorder);
  step_end(step);
}

static void write_one(cache_t* cache, unsigned* seed) {
  static const unsigned sizes[] = { 100, 5000, 60000, 90000, 400000, 900000 };
  unsigned number = dice(seed, 1u << 20);
  unsigned size = sizes[dice(seed, COUNT(sizes))] + dice(seed, 100);
  char* data = body_bytes(number, size);
  char note[32];
  step_t step = { .key = key_of(dice(seed, KEYS)), .data = note };

  snprintf(note, sizeof(note), "%u %u", number, size);
  if (size > 80000 && dice(seed, 2) == 0) {
    step.body = body_of(data, size);
    cache_do(cache, &step, run_record);
    nt__body_unref(step.body);
  } else {
    cache_put_bytes(cache, step.key, note, NULL, data, size);
  }
  free(data);
}

static void do_one(cache_t* cache, unsigned* seed) {
  const char* key = key_of(dice(seed, KEYS));

  switch (dice(seed, 12)) {
    case 0:
      cache_remove(cache, key);
      break;
    case 1:
    case 2:
      if (cache_find(cache, key) > 0) {
        cache_touch(cache, cache->answers[0]);
        cache_replace(cache, cache->answers[0], note_of(cache->answers[0]));
      }
      break;
    case 3:
      if (dice(seed, 40) == 0)
        cache_remove(cache, NULL);
      break;
    case 4:
    case 5:
    case 6:
      write_one(cache, seed);
      break;
    default:
      if (cache_find(cache, key) > 0)
        expect_right(cache, cache->answers[0]);
  }
}

/* Until it is killed. */
_Noreturn static void be_child(const char* folder, unsigned seed) {
  cache_t* cache = calloc(1, sizeof(*cache));

  alarm(CHILD_SECONDS);
  cache_open(cache, folder, CAP);
  for (;;)
    do_one(cache, &seed);
}

/* ---- The parent ---------------------------------------------------------- */

static pid_t start_child(const char* folder, unsigned seed) {
  pid_t child = fork();

  assert_true(child >= 0);
  if (child == 0) {
    char text[16];

    snprintf(text, sizeof(text), "%u", seed);
    execl("/proc/self/exe", "test_cache_kill", folder, text, (char*) NULL);
    _exit(127);
  }
  return child;
}

/* Before it is, it has come to no other end. */
static void kill_child(pid_t child) {
  int status;

  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
    fail_msg("a child ended by itself: %#x", (unsigned) status);
}

static void wait_ms(unsigned ms) {
  struct timespec time = { 0, (long) ms * 1000000 };

  nanosleep(&time, NULL);
}

/* Others may be at it. */
static void look_at_all(cache_t* cache, const char* folder) {
  unsigned i;

  cache_open(cache, folder, CAP);
  for (i = 0; i < KEYS; i++)
    if (cache_find(cache, key_of(i)) > 0)
      expect_right(cache, cache->answers[0]);
  cache_close(cache);
}

static void still_works(cache_t* cache, const char* folder) {
  look_at_all(cache, folder); /* sweeps */
  check_folder(folder, CAP);
  cache_open(cache, folder, CAP);
  cache_put(cache, "http://mine/", "mine", NULL, "mine");
  expect_one(cache, "http://mine/", "mine", "mine");
  cache_close(cache);
}

static unsigned rounds(void) {
  const char* scale = getenv("STRESS_SCALE");
  double some = ROUNDS * (scale == NULL ? 0.05 : atof(scale));

  return some < 4 ? 4 : (unsigned) some;
}

/* Recordings that nobody goes on with are given up after ten minutes: they are
 * as old as that by now. */
static void grow_old(const char* folder) {
  char path[PATH_MAX];
  sqlite3* db;

  snprintf(path, sizeof(path), "%s/cache.db", folder);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db,
                                "UPDATE answers SET writing = 1 WHERE"
                                " writing != 0",
                                0, 0, 0),
                   SQLITE_OK);
  sqlite3_close(db);
}

static void killed_at_any_moment(void** state) {
  cache_t* cache = *state;
  const char* folder = in_folder(&cache->folder, "cache");
  unsigned seed = 1234567;
  pid_t children[CHILDREN];
  unsigned round;
  int i;

  look_at_all(cache, folder);
  for (i = 0; i < CHILDREN; i++)
    children[i] = start_child(folder, dice(&seed, 1u << 20));
  for (round = 0; round < rounds(); round++) {
    for (i = 0; i < CHILDREN; i++) {
      wait_ms(20 + dice(&seed, 120));
      kill_child(children[i]);
      children[i] = start_child(folder, dice(&seed, 1u << 20));
    }
    look_at_all(cache, folder);
  }
  for (i = 0; i < CHILDREN; i++)
    kill_child(children[i]);
  still_works(cache, folder);
  grow_old(folder);
  still_works(cache, folder);
  assert_false(
      file_exists(in_folder(&cache->folder, "cache/cache.db.damaged")));
}

int main(int argc, char** argv) {
  const struct CMUnitTest tests[] = {
    CACHE_TEST(killed_at_any_moment),
  };

  if (argc == 3)
    be_child(argv[1], (unsigned) strtoul(argv[2], NULL, 10));
  return cmocka_run_group_tests_name("cache_kill", tests, NULL, NULL);
}
