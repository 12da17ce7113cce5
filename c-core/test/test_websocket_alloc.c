/* WebSockets without memory: each run repeats itself with the first, second,
 * third, ... of our allocations failing until none is left to fail. A socket
 * ends once, well or with NT_E_NOMEM or by a loss, and all that was taken is
 * given back. */
#include "failing_sweep.h"
#include "peer.h"
#include "ws_deflate.h"

enum {
  SOCKETS = 2,
  LULL_MS = 100 /* no event for so long: memory comes back */
};

/* A long text, compressed; made before anything fails. */
static nt__buf_t packed;
static char long_text[20000];

static void pack_text(void) {
  nt__ws_deflate_params_t params = { false, false, 15, 15 };
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&params);

  memset(long_text, 'x', sizeof(long_text) - 1);
  nt__buf_init(&packed, 0);
  assert_int_equal(nt__ws_deflate_message(deflate, long_text,
                                          sizeof(long_text) - 1, &packed),
                   0);
  nt__ws_deflate_free(deflate);
}

/* The first connection is lost, the next one closes. Nothing here allocates
 * through the core. */
static void play_all(peer_t* peer) {
  static const char fields[] =
      "Sec-WebSocket-Protocol: b\r\nX-More: of this\r\n"
      "Sec-WebSocket-Extensions: permessage-deflate; "
      "server_no_context_takeover; client_no_context_takeover\r\n";
  bool first = strcmp(peer->path, "/lost") == 0 && peer->number % 2 == 1;

  if (!peer_accept_with(peer, fields))
    return;
  peer_frame(peer, NT__WS_TEXT, "frag", 4);
  peer_frame(peer, PEER_PING, "?", 1);
  peer_frame(peer, PEER_FIN | NT__WS_CONTINUATION, "ments", 5);
  peer_frame(peer, PEER_TEXT | PEER_RSV1, packed.data, packed.size);
  while (peer_read(peer))
    if (!(peer->first & 0x8) || peer->first == PEER_CLOSE)
      break; /* a message, or the end */
  if (peer->first == PEER_CLOSE) {
    peer_frame(peer, PEER_CLOSE, peer->data, peer->size);
    return;
  }
  if (first)
    return;
  peer_close(peer, 1000, "enough");
  peer_read(peer);
}

typedef struct ids {
  nt_id_t id[SOCKETS];
  unsigned open;
  unsigned ended;
} ids_t;

static void start_one(fixture_t* f, ids_t* ids, const char* path) {
  static const char* const protocols[] = { "a", "b" };
  static const nt_header_t header = { "X-Own", "1" };
  nt_websocket_options_t options;
  char url[256];
  nt_id_t id;
  int err;

  nt_websocket_options_init(&options);
  snprintf(url, sizeof(url), "ws://me:secret@127.0.0.1:%d%s",
           f->host->server->port, path);
  options.url = url;
  options.headers = &header;
  options.header_count = 1;
  options.protocols = protocols;
  options.protocol_count = 2;
  options.flags =
      NT_WEBSOCKET_DEFLATE | NT_WEBSOCKET_PROFILE | NT_WEBSOCKET_NO_DELAY;
  options.ping_interval_ms = 5;
  options.pong_timeout_ms = 10000;
  options.reconnect = (nt_reconnect_t){ 3, 1, 1, 0 };
  if (nt_websocket_open(f->net, &id) != 0)
    return;
  ids->id[ids->open++] = id;
  err = nt_websocket_start(f->net, id, &options);
  if (err == 0)
    return;
  assert_int_equal(err, NT_E_NOMEM);
  nt_fail(f->net, id, err, NULL);
}

static void tell(fixture_t* f, nt_id_t id, const void* data, size_t size) {
  int err = nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, data, size);

  nt_websocket_report(f->net, id);
  assert_true(err == 0 || err == NT_E_NOMEM || err == NT_E_NOT_OPEN);
  if (err == NT_E_NOMEM)
    nt_abort(f->net, id); /* else nobody would say anything any more */
}

static void take(fixture_t* f, const nt_event_t* ev, long n) {
  switch ((int) ev->type) {
    case NT_EV_OPEN:
      assert_string_equal(ev->protocol, "b");
      assert_int_equal(ev->headers.count, 6);
      break;
    case NT_EV_MESSAGE:
      if (ev->size == 9) {
        assert_string_equal(ev->data, "fragments");
        break;
      }
      assert_string_equal(ev->data, long_text);
      tell(f, ev->id, long_text, sizeof(long_text) - 1);
      break;
    case NT_EV_END:
      if (ev->error != 0 && ev->error != NT_E_NOMEM &&
          ev->error != NT_E_ABORTED)
        fail_msg("n = %ld: %s (%s)", n, nt_error_name(ev->error), ev->message);
      if (ev->error == 0)
        assert_true(ev->code == 1000 || ev->code == 1006);
      break;
    default:
      assert_true(ev->type == NT_EV_SENT || ev->type == NT_EV_LOST);
  }
}

static void wait_for_ends(fixture_t* f, ids_t* ids, long n) {
  nt_event_t ev;

  while (ids->ended < ids->open) {
    failing_wait(f->net, LULL_MS, n);
    while (nt_poll(f->net, &ev)) {
      take(f, &ev, n);
      ids->ended += ev.type == NT_EV_END;
    }
  }
}

/* A whole life; true when no allocation was left to fail. */
static bool run_session(void* arg, failing_mode_t mode, long n) {
  fixture_t* f = arg;
  ids_t ids = { { 0 }, 0, 0 };
  bool complete;

  failing_start(mode, n);
  if (nt_open(&f->net) == 0) {
    start_one(f, &ids, "/lost");
    start_one(f, &ids, "/kept");
    wait_for_ends(f, &ids, n);
    assert_int_equal(host_close(f->net), 0);
  }
  complete = failing_stop();
  f->net = NULL;
  return complete;
}

static void sweep(fixture_t* f, failing_mode_t mode) {
  peers_play(f, play_all);
  assert_int_equal(host_close(f->net), 0);
  f->host->net = NULL;
  failing_sweep(run_session, f, mode, 50);
  assert_int_equal(nt_open(&f->host->net), 0); /* for the end of the test */
}

static void one_failure(void** state) {
  sweep(*state, FAILING_ONCE);
}

static void no_memory_from_then_on(void** state) {
  sweep(*state, FAILING_ALWAYS);
}

static int set_up_all(void** state) {
  (void) state;
  pack_text();
  return 0;
}

static int tear_down_all(void** state) {
  (void) state;
  nt__buf_free(&packed);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_keep_libcurl_out),
    PEER_TEST(one_failure),
    PEER_TEST(no_memory_from_then_on),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("websocket_alloc", tests, set_up_all,
                                     tear_down_all);
}
