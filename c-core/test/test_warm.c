/* warm.c: the warm-up of TLS waits until nobody works with the context. It is
 * seen by the sockets that it opens. */
#include <dirent.h>

#include "host.h"

enum {
  NS_PER_MS = 1000000,
  WORK_MS = 600, /* what it must not begin in */
  PAUSE_MS = 90, /* a host that was late by more may have looked idle */
  ATTEMPTS = 100 /* on a machine that is busy with other things */
};

static unsigned open_files(void) {
  DIR* dir = opendir("/proc/self/fd");
  unsigned count = 0;

  assert_non_null(dir);
  while (readdir(dir) != NULL)
    count++;
  closedir(dir);
  return count;
}

static uint64_t now_ms(void) {
  return uv_hrtime() / NS_PER_MS;
}

static void sleep_once(host_t* host) {
  nt_id_t id = 0;

  assert_int_equal(nt_sleep_open(host->net, &id), 0);
  assert_int_equal(nt_sleep_start(host->net, id, 1), 0);
  host_expect(host, id, 0);
}

/* In a new context one task follows the other. False when the host was late
 * once; then it says nothing that more files than `files` were opened. */
static bool work(host_t* host, unsigned* files, bool* more) {
  uint64_t last, end;

  assert_int_equal(host_close(host->net), 0);
  last = now_ms();
  end = last + WORK_MS;
  assert_int_equal(nt_open(&host->net), 0);
  *files = open_files();
  *more = false;
  while (last < end) {
    uint64_t now;

    sleep_once(host);
    *more = *more || open_files() > *files;
    now = now_ms();
    if (now - last > PAUSE_MS)
      return false;
    last = now;
  }
  return true;
}

static void waits_until_there_is_nothing_to_do(void** state) {
  host_t* host = *state;
  uint64_t deadline;
  unsigned files = 0;
  bool more = false;
  int i;

  for (i = 0; i < ATTEMPTS && !work(host, &files, &more); i++)
    continue;
  assert_true(i < ATTEMPTS);
  assert_false(more);
  deadline = now_ms() + PATIENCE_MS;
  while (open_files() == files) { /* now it may */
    assert_true(now_ms() < deadline);
    sched_yield();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(waits_until_there_is_nothing_to_do),
  };

  return cmocka_run_group_tests_name("warm", tests, NULL, NULL);
}
