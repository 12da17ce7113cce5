/* resolve.c: one lookup a name, few at once, remembered for a while, and none
 * that anybody has to wait for. The test is the I/O thread, and its clock. */
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "resolve.h"

enum {
  PATIENCE_MS = 20000,
  AT_ONCE = 4,
  PENDING = 256
};

/* ---- The system that is asked -------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned asked, inside, most_inside, outside;
static unsigned answers; /* how many lookups may end */
static bool failing;
static uint8_t last_byte;

static int ask(const char* name, int family, nt__sockaddr_t* out) {
  int code;

  pthread_mutex_lock(&mutex);
  asked++;
  inside++;
  if (inside > most_inside)
    most_inside = inside;
  pthread_cond_broadcast(&changed);
  while (answers == 0)
    pthread_cond_wait(&changed, &mutex);
  answers--;
  code = failing || strncmp(name, "no", 2) == 0 ? EAI_NONAME : 0;
  memset(out, 0, sizeof(*out));
  out->sa.sa_family = (sa_family_t) family;
  if (family == AF_INET)
    out->in.sin_addr.s_addr = htonl(0x7f000000u + last_byte);
  else
    out->in6.sin6_addr.s6_addr[15] = last_byte;
  inside--;
  outside++;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
  return code;
}

static void answer(unsigned count) {
  pthread_mutex_lock(&mutex);
  answers += count;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static unsigned read_counter(const unsigned* counter) {
  unsigned value;

  pthread_mutex_lock(&mutex);
  value = *counter;
  pthread_mutex_unlock(&mutex);
  return value;
}

/* Until so many lookups have begun. */
static void await(const unsigned* counter, unsigned value) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (read_counter(counter) < value) {
    if (uv_hrtime() > end)
      fail_msg("%u instead of %u", read_counter(counter), value);
    sched_yield();
  }
}

/* ---- Who waits ----------------------------------------------------------- */

typedef struct wait {
  nt__resolve_t wait;
  unsigned calls;
  int error;
  nt__sockaddr_t address;
  const char* why;
} wait_t;

static void on_done(nt__resolve_t* resolve, int error,
                    const nt__sockaddr_t* address, const char* why) {
  wait_t* wait = nt__container_of(resolve, wait_t, wait);

  wait->calls++;
  wait->error = error;
  wait->address = *address;
  wait->why = why;
}

static int set_up(void** state) {
  nt_context_t* ctx = calloc(1, sizeof(*ctx));

  *state = ctx;
  nt__resolve_ask = ask;
  asked = inside = most_inside = outside = answers = 0;
  failing = false;
  last_byte = 1;
  return uv_loop_init(&ctx->io.loop);
}

/* What still asks when the resolver goes has to end by itself. */
static int tear_down(void** state) {
  nt_context_t* ctx = *state;
  unsigned threads = read_counter(&asked);
  int err;

  nt__resolver_free(ctx->io.resolver);
  err = uv_loop_close(&ctx->io.loop);
  free(ctx);
  answer(1000);
  await(&outside, threads);
  return err;
}

#define RESOLVE_TEST(name)                                                     \
  cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static int start(nt_context_t* ctx, const char* name, wait_t* wait) {
  int err;

  memset(wait, 0, sizeof(*wait));
  wait->wait.on_done = on_done;
  err = nt__resolve_wait(ctx, name, AF_INET, &wait->wait);
  assert_int_equal(wait->calls, 0);
  if (err == 0)
    nt__resolver_run(ctx->io.resolver);
  return err;
}

static void finish(nt_context_t* ctx, const wait_t* wait, int error) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (wait->calls == 0) {
    if (uv_hrtime() > end)
      fail_msg("no answer");
    sched_yield();
    nt__resolver_run(ctx->io.resolver);
  }
  assert_int_equal(wait->calls, 1);
  assert_int_equal(wait->error, error);
}

/* What a lookup that nobody waits for has brought. */
static void take_in(nt_context_t* ctx) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;

  while (!nt__resolver_pending(ctx->io.resolver)) {
    assert_true(uv_hrtime() < end);
    sched_yield();
  }
  nt__resolver_run(ctx->io.resolver);
}

static void pass(nt_context_t* ctx, unsigned ms) {
  ctx->io.loop.time += ms;
}

static int known(nt_context_t* ctx, const char* name, int* byte) {
  nt__sockaddr_t address;
  const char* why;
  int err = nt__resolve_known(ctx, name, AF_INET, &address, &why);

  if (err == 0 && byte != NULL)
    *byte = (int) ntohl(address.in.sin_addr.s_addr) & 255;
  if (err < 0)
    assert_non_null(why);
  return err;
}

/* ---- Tests --------------------------------------------------------------- */

static void one_lookup_serves_all(void** state) {
  nt_context_t* ctx = *state;
  wait_t waits[5];
  int byte;
  size_t i;

  assert_int_equal(known(ctx, "a.test", NULL), NT__RESOLVE_UNKNOWN);
  for (i = 0; i < COUNT(waits); i++)
    assert_int_equal(start(ctx, i % 2 == 0 ? "a.test" : "A.Test", &waits[i]),
                     0);
  assert_int_equal(known(ctx, "a.test", NULL), NT__RESOLVE_UNKNOWN);
  answer(1);
  for (i = 0; i < COUNT(waits); i++) {
    finish(ctx, &waits[i], 0);
    assert_int_equal(waits[i].address.in.sin_addr.s_addr,
                     htonl(INADDR_LOOPBACK));
  }
  for (i = 0; i < 1000; i++)
    assert_int_equal(known(ctx, "a.TEST", &byte), 0);
  assert_int_equal(byte, 1);
  assert_int_equal(read_counter(&asked), 1);
}

static void families_are_apart(void** state) {
  nt_context_t* ctx = *state;
  nt__sockaddr_t address;
  const char* why;
  wait_t wait;

  assert_int_equal(start(ctx, "a.test", &wait), 0);
  answer(1);
  finish(ctx, &wait, 0);
  assert_int_equal(nt__resolve_known(ctx, "a.test", AF_INET6, &address, &why),
                   NT__RESOLVE_UNKNOWN);
}

static void a_failure_is_soon_forgotten(void** state) {
  nt_context_t* ctx = *state;
  wait_t wait;

  assert_int_equal(start(ctx, "no.test", &wait), 0);
  answer(1);
  finish(ctx, &wait, NT_E_RESOLVE);
  assert_string_equal(wait.why, gai_strerror(EAI_NONAME));
  pass(ctx, 999);
  assert_int_equal(known(ctx, "no.test", NULL), NT_E_RESOLVE);
  pass(ctx, 1);
  assert_int_equal(known(ctx, "no.test", NULL), NT__RESOLVE_UNKNOWN);
  assert_int_equal(start(ctx, "no.test", &wait), 0);
  answer(1);
  finish(ctx, &wait, NT_E_RESOLVE);
  assert_int_equal(read_counter(&asked), 2);
}

static void an_old_answer_serves_meanwhile(void** state) {
  nt_context_t* ctx = *state;
  wait_t wait;
  int byte;

  assert_int_equal(start(ctx, "a.test", &wait), 0);
  answer(1);
  finish(ctx, &wait, 0);
  pass(ctx, 29999);
  assert_int_equal(known(ctx, "a.test", &byte), 0);
  assert_false(nt__resolver_pending(ctx->io.resolver));
  last_byte = 2;
  pass(ctx, 1);
  assert_int_equal(known(ctx, "a.test", &byte), 0);
  assert_int_equal(byte, 1);
  assert_true(nt__resolver_pending(ctx->io.resolver));
  nt__resolver_run(ctx->io.resolver);
  assert_int_equal(known(ctx, "a.test", &byte), 0);
  answer(1);
  await(&outside, 2);
  take_in(ctx);
  assert_int_equal(known(ctx, "a.test", &byte), 0);
  assert_int_equal(byte, 2);
  assert_int_equal(read_counter(&asked), 2);
  pass(ctx, 60000); /* too old */
  assert_int_equal(known(ctx, "a.test", &byte), NT__RESOLVE_UNKNOWN);
}

static void a_failure_does_not_undo_an_answer(void** state) {
  nt_context_t* ctx = *state;
  wait_t wait;
  int byte;

  assert_int_equal(start(ctx, "a.test", &wait), 0);
  answer(1);
  finish(ctx, &wait, 0);
  pass(ctx, 30000);
  failing = true;
  assert_int_equal(known(ctx, "a.test", &byte), 0);
  nt__resolver_run(ctx->io.resolver);
  answer(1);
  await(&outside, 2);
  /* Once it is taken in, the next is for the second after. */
  take_in(ctx);
  assert_int_equal(known(ctx, "a.test", &byte), 0);
  assert_false(nt__resolver_pending(ctx->io.resolver));
  pass(ctx, 1000);
  assert_int_equal(known(ctx, "a.test", &byte), 0);
  assert_true(nt__resolver_pending(ctx->io.resolver));
  pass(ctx, 29000);
  assert_int_equal(start(ctx, "a.test", &wait), 0);
  answer(1);
  finish(ctx, &wait, NT_E_RESOLVE);
}

static void few_at_once(void** state) {
  nt_context_t* ctx = *state;
  wait_t waits[3 * AT_ONCE];
  char name[32];
  size_t i;

  for (i = 0; i < COUNT(waits); i++) {
    snprintf(name, sizeof(name), "host%zu.test", i);
    assert_int_equal(start(ctx, name, &waits[i]), 0);
  }
  await(&asked, AT_ONCE);
  answer(COUNT(waits));
  for (i = 0; i < COUNT(waits); i++)
    finish(ctx, &waits[i], 0);
  assert_int_equal(read_counter(&asked), COUNT(waits));
  assert_true(read_counter(&most_inside) <= AT_ONCE);
}

static void who_left_is_not_called(void** state) {
  nt_context_t* ctx = *state;
  wait_t waits[AT_ONCE + 2];
  char name[32];
  size_t i;

  for (i = 0; i < COUNT(waits); i++) {
    snprintf(name, sizeof(name), "host%zu.test", i);
    assert_int_equal(start(ctx, name, &waits[i]), 0);
  }
  await(&asked, AT_ONCE);
  nt__resolve_cancel(&waits[0].wait);
  nt__resolve_cancel(&waits[AT_ONCE].wait); /* has not begun, and will not */
  answer(COUNT(waits));
  finish(ctx, &waits[AT_ONCE + 1], 0);
  for (i = 1; i < AT_ONCE; i++)
    finish(ctx, &waits[i], 0);
  assert_int_equal(waits[0].calls, 0);
  assert_int_equal(waits[AT_ONCE].calls, 0);
  assert_int_equal(read_counter(&asked), AT_ONCE + 1);
}

static void many_names_are_refused(void** state) {
  nt_context_t* ctx = *state;
  wait_t* waits = calloc(PENDING + 1, sizeof(*waits));
  char name[32];
  size_t i;

  for (i = 0; i < PENDING; i++) {
    snprintf(name, sizeof(name), "host%zu.test", i);
    assert_int_equal(start(ctx, name, &waits[i]), 0);
  }
  assert_int_equal(start(ctx, "more.test", &waits[PENDING]), NT_E_FULL);
  assert_int_equal(start(ctx, "host0.test", &waits[PENDING]), 0);
  answer(PENDING);
  for (i = 0; i <= PENDING; i++)
    finish(ctx, &waits[i], 0);
  /* Not all are remembered, but the newest. */
  assert_int_equal(known(ctx, "host0.test", NULL), NT__RESOLVE_UNKNOWN);
  assert_int_equal(known(ctx, "host255.test", NULL), 0);
  assert_int_equal(start(ctx, "more.test", &waits[0]), 0);
  answer(1);
  finish(ctx, &waits[0], 0);
  free(waits);
}

static void stuck_ones_are_left_behind(void** state) {
  nt_context_t* ctx = *state;
  wait_t wait;

  assert_int_equal(start(ctx, "a.test", &wait), 0);
  await(&asked, 1);
  nt__resolve_cancel(&wait.wait);
  /* The end of the test frees the resolver first and answers then. */
}

/* ---- Addresses ----------------------------------------------------------- */

static const struct {
  const char* host;
  int family;
  nt__host_kind_t kind;
} hosts[] = {
  { "127.0.0.1", AF_INET, NT__HOST_LITERAL },
  { "127.0.0.1", AF_INET6, NT__HOST_BAD },
  { "255.255.255.255", AF_INET, NT__HOST_LITERAL },
  { "256.0.0.1", AF_INET, NT__HOST_BAD },
  { "1.2.3", AF_INET, NT__HOST_BAD },
  { "127.1", AF_INET6, NT__HOST_BAD },
  { "2130706433", AF_INET, NT__HOST_BAD },
  { "0x7f.1", AF_INET, NT__HOST_BAD },
  { "0x7f000001", AF_INET, NT__HOST_BAD },
  { "1.2.3.4.", AF_INET, NT__HOST_BAD },
  { "::1", AF_INET6, NT__HOST_LITERAL },
  { "::1", AF_INET, NT__HOST_BAD },
  { "::ffff:1.2.3.4", AF_INET6, NT__HOST_LITERAL },
  { "[::1]", AF_INET6, NT__HOST_BAD },
  { "fe80::1%lo", AF_INET6, NT__HOST_LITERAL },
  { "fe80::1%1", AF_INET6, NT__HOST_LITERAL },
  { "fe80::1%", AF_INET6, NT__HOST_BAD },
  { "fe80::1%no-such-one", AF_INET6, NT__HOST_BAD },
  { ":", AF_INET6, NT__HOST_BAD },
  { "localhost", AF_INET, NT__HOST_NAME },
  { "localhost", AF_INET6, NT__HOST_NAME },
  { "a.b-c_d.example.", AF_INET, NT__HOST_NAME },
  { "3d-printer", AF_INET, NT__HOST_NAME },
  { "0f1a2b3c", AF_INET, NT__HOST_NAME },
  { "1.example", AF_INET, NT__HOST_NAME },
  { "", AF_INET, NT__HOST_BAD },
  { ".", AF_INET, NT__HOST_BAD },
  { ".a", AF_INET, NT__HOST_BAD },
  { "a..b", AF_INET, NT__HOST_BAD },
  { "a b", AF_INET, NT__HOST_BAD },
  { "a\nb", AF_INET, NT__HOST_BAD },
  { "a/b", AF_INET, NT__HOST_BAD },
  { "http://a", AF_INET, NT__HOST_BAD },
};

static void hosts_are_told_apart(void** state) {
  nt__sockaddr_t address;
  char name[NT__NAME_MAX + 2];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(hosts); i++)
    if (nt__address_parse(hosts[i].host, hosts[i].family, &address) !=
        hosts[i].kind)
      fail_msg("%s", hosts[i].host);
  memset(name, 'a', sizeof(name));
  name[NT__NAME_MAX + 1] = '\0';
  assert_int_equal(nt__address_parse(name, AF_INET, &address), NT__HOST_BAD);
  name[NT__NAME_MAX] = '\0';
  assert_int_equal(nt__address_parse(name, AF_INET, &address), NT__HOST_NAME);
}

static void texts_come_back(void** state) {
  static const char* const texts[] = { "127.0.0.1", "255.255.255.255", "::1",
                                       "fe80::1%lo", "2001:db8::7" };
  nt__address_texts_t* cache = calloc(1, sizeof(*cache));
  nt__sockaddr_t address;
  nt_address_t shown;
  char ip[NT__IP_SIZE];
  size_t i, round;

  (void) state;
  for (round = 0; round < 3; round++)
    for (i = 0; i < COUNT(texts); i++) {
      int family = strchr(texts[i], ':') == NULL ? AF_INET : AF_INET6;

      assert_int_equal(nt__address_parse(texts[i], family, &address),
                       NT__HOST_LITERAL);
      nt__address_set_port(&address, 77 + (int) round);
      nt__address_write(&address, ip);
      assert_string_equal(ip, texts[i]);
      nt__address_show(cache, &address, &shown);
      assert_string_equal(shown.ip, texts[i]);
      assert_int_equal(shown.port, 77 + (int) round);
      assert_int_equal(shown.ipv6, family == AF_INET6);
    }
  free(cache);
}

static void kinds_of_addresses(void** state) {
  nt__sockaddr_t a;

  (void) state;
  nt__address_parse("239.1.2.3", AF_INET, &a);
  assert_true(nt__address_is_multicast(&a));
  assert_false(nt__address_is_broadcast(&a));
  nt__address_parse("240.0.0.1", AF_INET, &a);
  assert_false(nt__address_is_multicast(&a));
  nt__address_parse("255.255.255.255", AF_INET, &a);
  assert_true(nt__address_is_broadcast(&a));
  nt__address_parse("ff02::fb", AF_INET6, &a);
  assert_true(nt__address_is_multicast(&a));
  nt__address_parse("fe02::fb", AF_INET6, &a);
  assert_false(nt__address_is_multicast(&a));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    RESOLVE_TEST(one_lookup_serves_all),
    RESOLVE_TEST(families_are_apart),
    RESOLVE_TEST(a_failure_is_soon_forgotten),
    RESOLVE_TEST(an_old_answer_serves_meanwhile),
    RESOLVE_TEST(a_failure_does_not_undo_an_answer),
    RESOLVE_TEST(few_at_once),
    RESOLVE_TEST(who_left_is_not_called),
    RESOLVE_TEST(many_names_are_refused),
    RESOLVE_TEST(stuck_ones_are_left_behind),
    cmocka_unit_test(hosts_are_told_apart),
    cmocka_unit_test(texts_come_back),
    cmocka_unit_test(kinds_of_addresses),
  };

  return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
