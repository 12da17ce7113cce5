/* Scans without memory: what is known of services with the first, second,
 * third, ... allocation failing, and then a whole scan in the same way. Less
 * may be found then, but each scan ends once, and all that was taken is given
 * back. */
#include "failing_sweep.h"
#include "mdns_peer.h"
#include "mdns_service.h"

enum {
  LULL_MS = 20 /* no event for so long: memory comes back */
};

/* ---- What is known ------------------------------------------------------- */

static nt__mdns_telling_t tell(void* owner, const nt__mdns_service_t* service,
                               nt__mdns_told_t what) {
  (void) service;
  *(unsigned*) owner += what == NT__MDNS_FOUND;
  return NT__MDNS_DONE;
}

static void take(nt__mdns_cache_t* cache, const char* instance,
                 const char* host, uint64_t now) {
  static const nt__mdns_origin_t from;
  packet_t p;

  packet_begin(&p);
  packet_service(&p, instance, host, 1, "10.0.0.1", TTL);
  nt__mdns_take(cache, p.bytes, p.writer.size, &from, now);
}

static unsigned run_cache(void) {
  nt__mdns_cache_t cache;
  char text[NT__MDNS_TYPE_SIZE];
  unsigned found = 0;

  assert_true(nt__mdns_parse_type(TYPE, &cache.question, &cache.type, text));
  nt__mdns_cache_init(&cache, 256, 1, 1);
  take(&cache, "Room", "box.local", 1);
  take(&cache, "Hall", "hall.local", 2);
  take(&cache, "Room", "hall.local", 3);
  nt__mdns_advance(&cache, 4, tell, &found);
  take(&cache, "Room", "box.local", 5);
  take(&cache, "Hall", "hall.local", 6);
  nt__mdns_advance(&cache, 1000, tell, &found);
  nt__mdns_cache_free(&cache);
  return found;
}

static void sweep_cache(failing_mode_t mode) {
  bool complete = false;
  long n;

  for (n = 1; !complete; n++) {
    unsigned found;

    failing_start(mode, n);
    found = run_cache();
    complete = failing_stop();
    assert_true(!complete || found == 2);
    assert_int_equal(atomic_load(&failing_live), 0);
  }
  assert_true(n > 5);
}

static void less_is_known(void** state) {
  (void) state;
  sweep_cache(FAILING_ONCE);
  sweep_cache(FAILING_ALWAYS);
}

/* ---- A whole scan -------------------------------------------------------- */

typedef struct session {
  nt_context_t* net;
  responder_t responder;
  nt_id_t id;
  unsigned ends;
} session_t;

/* True when the scan has ended; `ms` without an event are the end, too. */
static bool poll_until_end(session_t* s, int ms) {
  nt_event_t ev;

  while (s->ends == 0 && nt_wait(s->net, ms))
    while (nt_poll(s->net, &ev)) {
      assert_true(ev.id == s->id);
      s->ends += ev.type == NT_EV_END;
      if (ev.type == NT_EV_END && ev.error != 0)
        assert_true(ev.error == NT_E_NOMEM || ev.error == NT_E_SYSTEM);
    }
  return s->ends > 0;
}

static void use(session_t* s) {
  if (!responder_hears(&s->responder, LULL_MS))
    return;
  responder_announce(&s->responder, "Room", 1, "127.0.0.1", TTL);
  responder_announce(&s->responder, "Hall", 2, "127.0.0.1", TTL);
}

static void end_session(session_t* s, long n) {
  if (!poll_until_end(s, LULL_MS))
    assert_int_equal(nt_mdns_stop(s->net, s->id), 0);
  if (poll_until_end(s, LULL_MS))
    return;
  failing_relent();
  if (!poll_until_end(s, FAILING_PATIENCE_MS))
    fail_msg("n = %ld: the scan does not end", n);
}

static int start(session_t* s) {
  nt_mdns_options_t options;

  nt_mdns_options_init(&options);
  options.service_type = TYPE;
  return nt_mdns_start(s->net, s->id, &options);
}

static void run_scan(session_t* s, long n) {
  int err = start(s);

  if (err != 0) {
    assert_int_equal(err, NT_E_NOMEM);
    return; /* idle, it is closed with the context */
  }
  use(s);
  end_session(s, n);
}

/* A whole life; true when nothing was left to fail. */
static bool run_session(void* unused, failing_mode_t mode, long n) {
  session_t s = { NULL, responder_open("127.0.0.1"), 0, 0 };
  bool complete;

  (void) unused;
  failing_start(mode, n);
  if (nt_open(&s.net) == 0) {
    if (nt_mdns_open(s.net, &s.id) == 0)
      run_scan(&s, n);
    assert_int_equal(host_close(s.net), 0);
  }
  complete = failing_stop();
  responder_close(&s.responder);
  return complete;
}

static void one_failure(void** state) {
  (void) state;
  failing_sweep(run_session, NULL, FAILING_ONCE, 20);
}

static void no_memory_from_then_on(void** state) {
  (void) state;
  failing_sweep(run_session, NULL, FAILING_ALWAYS, 20);
}

static int set_up_network(void** state) {
  (void) state;
  run("ip link set lo up");
  return 0;
}

int main(int argc, char** argv) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(less_is_known),
    cmocka_unit_test(failing_keep_libcurl_out),
    cmocka_unit_test(one_failure),
    cmocka_unit_test(no_memory_from_then_on),
  };

  if (argc > 0 && getenv(INSIDE) == NULL)
    return go_inside(argv[0]);
  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("mdns_alloc", tests, set_up_network, NULL);
}
