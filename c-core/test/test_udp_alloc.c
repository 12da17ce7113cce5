/* UDP without memory: a session repeats itself with the first, second, third,
 * ... of our allocations failing until none is left to fail. Datagrams may be
 * lost then, as always, but each socket ends once, and all that was taken is
 * given back. */
#include <netdb.h>

#include "failing_sweep.h"
#include "resolve.h"
#include "udp_peer.h"

enum {
  LULL_MS = 20, /* no event for so long: memory comes back */
  SENDS = 20
};

static int ask(const char* name, int family, nt__sockaddr_t* out) {
  if (strncmp(name, "none", 4) == 0)
    return EAI_NONAME;
  nt__address_parse("127.0.0.1", family, out);
  return 0;
}

static void accept_memory(int err) {
  if (err != 0)
    assert_int_equal(err, NT_E_NOMEM);
}

static void use(nt_context_t* net, nt_id_t id, int port) {
  char data[5000] = "";
  int i;

  accept_memory(nt_udp_set_ttl(net, id, 9));
  accept_memory(nt_udp_bind(net, id, 0, NULL));
  accept_memory(nt_udp_connect(net, id, "peer.test", port));
  for (i = 0; i < SENDS; i++) {
    int err = nt_udp_send(net, id, i % 2 ? "127.0.0.1" : "a.test", port, data,
                          i % 3 == 0 ? sizeof(data) : 9);

    accept_memory(err);
    err = nt_udp_send(net, id, NULL, 0, data, 9);
    if (err != NT_E_ADDRESS) /* it could not connect */
      accept_memory(err);
  }
  accept_memory(nt_udp_send(net, id, "none.test", port, data, 9));
  accept_memory(nt_udp_join(net, id, "239.1.2.3", "lo"));
}

typedef struct session {
  nt_context_t* net;
  nt_id_t id;
  unsigned ends;
} session_t;

/* True when the socket has ended; `ms` without an event are the end, too. */
static bool poll_until_end(session_t* s, int ms) {
  nt_event_t ev;

  while (s->ends == 0 && nt_wait(s->net, ms))
    while (nt_poll(s->net, &ev)) {
      assert_true(ev.id == s->id);
      s->ends += ev.type == NT_EV_END;
      if (ev.type == NT_EV_ERROR || (ev.type == NT_EV_END && ev.error != 0))
        assert_true(ev.error == NT_E_NOMEM || ev.error == NT_E_RESOLVE ||
                    ev.error == NT_E_SYSTEM);
    }
  return s->ends > 0;
}

static void end_session(session_t* s, long n) {
  int err;

  if (!poll_until_end(s, LULL_MS)) {
    err = nt_udp_close(s->net, s->id);
    assert_true(err == 0 || err == NT_E_NOT_OPEN);
  }
  if (poll_until_end(s, LULL_MS))
    return;
  failing_relent();
  if (!poll_until_end(s, FAILING_PATIENCE_MS))
    fail_msg("n = %ld: the socket does not end", n);
}

/* Under which all that the socket does is allowed, but looked at. */
static void guard(nt_context_t* net) {
  static const char* const peers[] = { "127.0.0.1", "*.test", "239.1.2.3" };
  static const char* const allowed[] = { "127.0.0.0/8", "239.1.2.3" };
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_MINIPROGRAM);
  policy.flags |= NT_POLICY_REFUSE_PRIVATE;
  policy.domains[NT_ACCESS_UDP].items = peers;
  policy.domains[NT_ACCESS_UDP].count = COUNT(peers);
  policy.allow_private.items = allowed;
  policy.allow_private.count = COUNT(allowed);
  accept_memory(nt_policy_set(net, &policy));
}

/* A whole life, talking to itself; true when nothing was left to fail. */
static bool run_session(void* guarded, failing_mode_t mode, long n) {
  session_t s = { NULL, 0, 0 };
  peer_t peer = peer_open(AF_INET);
  bool complete;
  nt_event_t ev;

  failing_start(mode, n);
  if (nt_open(&s.net) == 0) {
    if (*(bool*) guarded)
      guard(s.net);
    if (nt_udp_open(s.net, NT_FAMILY_IPV4, &s.id) == 0) {
      use(s.net, s.id, peer.port);
      end_session(&s, n);
    }
    assert_int_equal(nt_poll(s.net, &ev), 0);
    assert_int_equal(host_close(s.net), 0);
  }
  complete = failing_stop();
  peer_close(&peer);
  return complete;
}

/* No more than before: a lookup that nobody waits for any more may still be on
 * its way out, also when those before were counted. */
static long expect_live(long before, long n) {
  uint64_t end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;
  long live;

  while ((live = atomic_load(&failing_live)) > before) {
    if (uv_hrtime() > end)
      fail_msg("n = %ld: %ld blocks leaked", n, live - before);
    sched_yield();
  }
  return live;
}

static void sweep(failing_mode_t mode, bool guarded) {
  failing_sweep_expecting(run_session, &guarded, mode, 50, expect_live);
}

static void one_failure(void** state) {
  (void) state;
  sweep(FAILING_ONCE, false);
}

static void no_memory_from_then_on(void** state) {
  (void) state;
  sweep(FAILING_ALWAYS, false);
}

static void one_failure_under_a_policy(void** state) {
  (void) state;
  sweep(FAILING_ONCE, true);
}

static void no_memory_under_a_policy(void** state) {
  (void) state;
  sweep(FAILING_ALWAYS, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_keep_libcurl_out),
    cmocka_unit_test(one_failure),
    cmocka_unit_test(no_memory_from_then_on),
    cmocka_unit_test(one_failure_under_a_policy),
    cmocka_unit_test(no_memory_under_a_policy),
  };

  nt__resolve_ask = ask;
  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("udp_alloc", tests, NULL, NULL);
}
