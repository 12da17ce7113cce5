/* ws_link.c: connections that are lost and made anew, and pings that find out.
 */
#include "peer.h"

enum {
  EARLY_MS = 10 /* the loop's clock may be so much behind */
};

/* The first connections end after their handshake, by the path: how many do,
 * and how. "/refuse" answers none but the first. */
static void play_again(peer_t* peer) {
  unsigned bad = (unsigned) atoi(peer->path + 1);

  if (strcmp(peer->path, "/refuse") == 0) {
    if (peer->number == 1)
      peer_accept(peer);
    else
      connection_send_text(peer->connection, "HTTP/1.1 503 Busy\r\n\r\n");
    return;
  }
  if (!peer_accept(peer) || peer->number <= bad)
    return;
  peer_echo(peer);
}

static nt_websocket_options_t reconnecting(uint32_t tries, uint32_t base_ms,
                                           uint32_t max_ms, double jitter) {
  nt_websocket_options_t options;

  nt_websocket_options_init(&options);
  options.reconnect.tries = tries;
  options.reconnect.base_ms = base_ms;
  options.reconnect.max_ms = max_ms;
  options.reconnect.jitter = jitter;
  return options;
}

static void expect_lost(fixture_t* f, nt_id_t id, int code,
                        const char* reason) {
  nt_event_t ev;

  expect_event(f, id, NT_EV_LOST, &ev);
  assert_int_equal(ev.code, code);
  assert_string_equal(ev.reason, reason);
}

/* ---- Connecting anew ---------------------------------------------------- */

static void comes_back(void** state) {
  nt_websocket_options_t options = reconnecting(3, 1, 1, 0);
  fixture_t* f = *state;
  nt_id_t id;
  int i;

  peers_play(f, play_again);
  id = start_path(f, "/5", &options);
  expect_open(f, id, 0);
  /* Each success has the tries begin anew. */
  for (i = 0; i < 5; i++) {
    expect_lost(f, id, 1006, "abnormal closure");
    expect_open(f, id, 1);
  }
  send_text(f, id, "here again");
  expect_text(f, id, "here again");
  close_and_end(f, id);
  assert_int_equal(peers_count(f, &f->peers->asked), 6);
}

static void gives_up(void** state) {
  nt_websocket_options_t options = reconnecting(4, 1, 1, 0);
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  peers_play(f, play_again);
  id = start_path(f, "/refuse", &options);
  expect_open(f, id, 0);
  expect_lost(f, id, 1006, "abnormal closure");
  expect_event(f, id, NT_EV_END, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.code, 1006);
  assert_int_equal(ev.opened, 1);
  assert_int_equal(ev.status, 503);
  assert_int_equal(peers_count(f, &f->peers->asked), 5);
  assert_int_equal(nt_poll(f->net, &ev), 0);
}

/* The third try is answered. */
static void play_third(peer_t* peer) {
  if (peer->number == 1)
    peer_accept(peer);
  else if (peer->number == 2)
    peer_reset(peer);
  else if (peer->number == 3)
    connection_send_text(peer->connection, "HTTP/1.1 101 Go\r\n\r\n");
  else
    play_echo(peer);
}

static void counts_the_tries(void** state) {
  nt_websocket_options_t options = reconnecting(3, 1, 1, 0.5);
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_third);
  id = start_open(f, &options);
  expect_lost(f, id, 1006, "abnormal closure");
  expect_open(f, id, 3);
  close_and_end(f, id);
}

/* Each handshake has its own key, and a try its own time. */
static void play_forgetful(peer_t* peer) {
  if (peer->number == 1)
    peer_accept(peer);
  else if (peer->number == 2)
    peer_drain(peer); /* never answers */
  else
    play_echo(peer);
}

static void a_try_times_out(void** state) {
  nt_websocket_options_t options = reconnecting(3, 1, 1, 0);
  fixture_t* f = *state;
  nt_id_t id;

  options.timeouts.total = 100;
  peers_play(f, play_forgetful);
  id = start_open(f, &options);
  expect_lost(f, id, 1006, "abnormal closure");
  expect_open(f, id, 2);
  close_and_end(f, id);
}

static const struct {
  int code;
  bool again;
} by_code[] = {
  { 1000, false }, { 1001, true },  { 1002, false }, { 1003, false },
  { 1007, false }, { 1008, false }, { 1009, false }, { 1011, true },
  { 1012, true },  { 1013, true },  { 1014, true },  { 4000, false },
};

static void play_code(peer_t* peer) {
  if (!peer_accept(peer))
    return;
  if (strcmp(peer->path, "/0") == 0) {
    peer_echo(peer);
    return;
  }
  peer_close(peer, atoi(peer->path + 1), "because");
  peer_read(peer);
}

static void obeys_the_code(void** state) {
  fixture_t* f = *state;
  char path[16];
  size_t i;

  peers_play(f, play_code);
  for (i = 0; i < COUNT(by_code); i++) {
    nt_websocket_options_t options = reconnecting(1, 60000, 60000, 0);
    nt_id_t id;

    snprintf(path, sizeof(path), "/%d", by_code[i].code);
    id = start_path(f, path, &options);
    expect_open(f, id, 0);
    if (by_code[i].again) {
      expect_lost(f, id, by_code[i].code, "because");
      nt_abort(f->net, id);
      expect_end(f, id, NT_E_ABORTED, 0, NULL);
    } else {
      expect_end(f, id, 0, by_code[i].code, "because");
    }
  }
}

/* ---- When --------------------------------------------------------------- */

static void measure(fixture_t* f, const nt_websocket_options_t* options,
                    uint64_t* gaps, unsigned count) {
  unsigned i;
  nt_id_t id = start_path(f, "/refuse", options);

  expect_open(f, id, 0);
  expect_lost(f, id, 1006, "abnormal closure");
  expect_end(f, id, 0, 1006, NULL);
  pthread_mutex_lock(&f->host->server->mutex);
  for (i = 0; i < count; i++)
    gaps[i] = (f->peers->at[i + 1] - f->peers->at[i]) / 1000000;
  pthread_mutex_unlock(&f->host->server->mutex);
}

static void backs_off(void** state) {
  static const uint64_t least[] = { 20, 40, 80, 100, 100 };
  nt_websocket_options_t options = reconnecting(5, 20, 100, 0);
  fixture_t* f = *state;
  uint64_t gaps[5];
  size_t i;

  peers_play(f, play_again);
  measure(f, &options, gaps, 5);
  for (i = 0; i < 5; i++)
    if (gaps[i] + EARLY_MS < least[i])
      fail_msg("try %zu came after %llu ms", i + 1,
               (unsigned long long) gaps[i]);
}

/* Up to half of the time less, at random: all eight in full is next to
 * impossible, less than half is. */
static void jitters(void** state) {
  nt_websocket_options_t options = reconnecting(8, 100, 100, 0.5);
  fixture_t* f = *state;
  uint64_t gaps[8], least = UINT64_MAX;
  size_t i;

  peers_play(f, play_again);
  measure(f, &options, gaps, 8);
  for (i = 0; i < 8; i++) {
    assert_true(gaps[i] + EARLY_MS >= 50);
    least = gaps[i] < least ? gaps[i] : least;
  }
  assert_true(least < 95);
}

/* ---- The host meanwhile ------------------------------------------------- */

static void is_not_open_while_lost(void** state) {
  nt_websocket_options_t options = reconnecting(1, 60000, 60000, 0);
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_again);
  id = start_path(f, "/1", &options);
  expect_open(f, id, 0);
  expect_lost(f, id, 1006, "abnormal closure");
  assert_int_equal(nt_state(f->net, id), NT_STATE_CONNECTING);
  assert_int_equal(nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, "x", 1),
                   NT_E_NOT_OPEN);
  nt_websocket_report(f->net, id);
  assert_int_equal(nt_wait(f->net, 20), 0);
  /* A close is the end at once. */
  close_and_end(f, id);
}

static void an_abort_while_lost(void** state) {
  nt_websocket_options_t options = reconnecting(1, 60000, 60000, 0);
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_again);
  id = start_path(f, "/1", &options);
  expect_open(f, id, 0);
  expect_lost(f, id, 1006, "abnormal closure");
  nt_abort(f->net, id);
  expect_end(f, id, NT_E_ABORTED, 0, NULL);
}

/* Reads nothing and goes: what was queued is lost with the connection, and the
 * numbers go on. */
static void play_unread(peer_t* peer) {
  if (peer->number > 1)
    play_echo(peer);
  else if (peer_accept(peer) && connection_hold(peer->connection))
    peer_reset(peer);
}

static void drops_what_was_queued(void** state) {
  nt_websocket_options_t options = reconnecting(1, 1, 1, 0);
  size_t size = 1 << 20;
  char* data = calloc(1, size);
  fixture_t* f = *state;
  uint64_t sends = 0;
  nt_event_t ev;
  nt_id_t id;

  peers_play(f, play_unread);
  id = start_open(f, &options);
  while (nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, data, size) == 0)
    sends++;
  peers_release(f);
  do /* of the first ones, maybe */
    host_next(f->host, &ev);
  while (ev.type == NT_EV_SENT);
  assert_int_equal(ev.type, NT_EV_LOST);
  assert_int_equal(nt_websocket_buffered(f->net, id), 0);
  expect_open(f, id, 1);
  assert_int_equal(nt_websocket_buffered(f->net, id), 0);
  nt_cork(f->net); /* so that it is asked for before it is sent */
  send_text(f, id, "new");
  nt_websocket_report(f->net, id);
  nt_uncork(f->net);
  expect_event(f, id, NT_EV_SENT, &ev);
  assert_int_equal(ev.done, sends + 1);
  expect_text(f, id, "new");
  close_and_end(f, id);
  free(data);
}

/* What is sent by a host that has not heard of the loss yet is not for the
 * connection that is there meanwhile. */
static void play_renewed(peer_t* peer) {
  if (!peer_accept(peer))
    return;
  if (peer->number == 1) {
    connection_hold(peer->connection);
    return;
  }
  peer_frame(peer, PEER_PING, "", 0);
  peer_echo(peer);
}

static void sends_to_the_connection_it_knows(void** state) {
  nt_websocket_options_t options = reconnecting(1, 1, 1, 0);
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_renewed);
  id = start_open(f, &options);
  peers_release(f);
  peers_wait(f, &f->peers->frames[NT__WS_PONG], 1); /* it is open again */
  send_text(f, id, "old");
  assert_true(nt_collect(f->net) > 0);
  send_text(f, id, "also old");
  expect_lost(f, id, 1006, "abnormal closure");
  assert_int_equal(nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, "x", 1),
                   NT_E_NOT_OPEN);
  expect_open(f, id, 1);
  send_text(f, id, "new");
  expect_text(f, id, "new");
  assert_int_equal(nt_websocket_buffered(f->net, id), 0);
  close_and_end(f, id);
  assert_int_equal(peers_count(f, &f->peers->frames[NT__WS_TEXT]), 1);
}

/* The peer has closed, and lets the connection end late; the host closes too,
 * and does not want to come back. */
static void play_polite(peer_t* peer) {
  if (!peer_accept(peer) || !peer_close(peer, 1012, "restart"))
    return;
  if (peer_read(peer))
    connection_hold(peer->connection);
}

static void a_close_meets_a_close(void** state) {
  nt_websocket_options_t options = reconnecting(9, 1, 1, 0);
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_polite);
  id = start_open(f, &options);
  peers_wait(f, &f->peers->frames[NT__WS_CLOSE], 1);
  assert_int_equal(nt_websocket_close(f->net, id, 4000, "mine"), 0);
  expect_end(f, id, 0, 1012, "restart");
}

/* Half of a message is no message, and none of the next connection's. */
static void play_half(peer_t* peer) {
  if (!peer_accept(peer))
    return;
  if (peer->number == 1) {
    peer_frame(peer, NT__WS_TEXT, "half\xc3", 5);
    peer_send(peer, "\x80\x7e", 2);
    return;
  }
  peer_text(peer, "whole");
  peer_listen(peer);
}

static void forgets_half_a_message(void** state) {
  nt_websocket_options_t options = reconnecting(1, 1, 1, 0);
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_half);
  id = start_open(f, &options);
  expect_lost(f, id, 1006, "abnormal closure");
  expect_open(f, id, 1);
  expect_text(f, id, "whole");
  close_and_end(f, id);
}

/* ---- Pings -------------------------------------------------------------- */

static void pings(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  nt_id_t id;

  nt_websocket_options_init(&options);
  options.ping_interval_ms = 20;
  options.pong_timeout_ms = 10000;
  id = start_open(f, &options);
  peers_wait(f, &f->peers->frames[NT__WS_PING], 5);
  send_text(f, id, "alive");
  expect_text(f, id, "alive");
  close_and_end(f, id);
}

static void does_not_ping_unasked(void** state) {
  fixture_t* f = *state;
  nt_id_t id = start_open(f, NULL);

  assert_int_equal(nt_wait(f->net, 100), 0);
  assert_int_equal(peers_count(f, &f->peers->frames[NT__WS_PING]), 0);
  close_and_end(f, id);
}

/* A server that has died without a word: pings get no answer. */
static void a_silent_peer(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  uint64_t start_ns;
  nt_event_t ev;
  nt_id_t id;

  peers_play(f, play_listen);
  nt_websocket_options_init(&options);
  options.ping_interval_ms = 50;
  options.pong_timeout_ms = 150;
  id = start_open(f, &options);
  start_ns = uv_hrtime();
  expect_event(f, id, NT_EV_END, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.code, 1006);
  assert_string_equal(ev.reason, "abnormal closure");
  assert_true(uv_hrtime() - start_ns > (uint64_t) (200 - EARLY_MS) * 1000000);
  assert_true(peers_count(f, &f->peers->frames[NT__WS_PING]) >= 2);
}

/* The time-out is the interval unless it is given; and a loss like any other.
 */
static void play_mute_first(peer_t* peer) {
  if (peer->number == 1)
    play_listen(peer);
  else
    play_echo(peer);
}

static void silence_is_a_loss(void** state) {
  nt_websocket_options_t options = reconnecting(1, 1, 1, 0);
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_mute_first);
  options.ping_interval_ms = 150;
  id = start_open(f, &options);
  expect_lost(f, id, 1006, "abnormal closure");
  expect_open(f, id, 1);
  peers_wait(f, &f->peers->frames[NT__WS_PING], 3);
  close_and_end(f, id);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    PEER_TEST(comes_back),
    PEER_TEST(gives_up),
    PEER_TEST(counts_the_tries),
    PEER_TEST(a_try_times_out),
    PEER_TEST(obeys_the_code),
    PEER_TEST(backs_off),
    PEER_TEST(jitters),
    PEER_TEST(is_not_open_while_lost),
    PEER_TEST(an_abort_while_lost),
    PEER_TEST(drops_what_was_queued),
    PEER_TEST(sends_to_the_connection_it_knows),
    PEER_TEST(a_close_meets_a_close),
    PEER_TEST(forgets_half_a_message),
    PEER_TEST(pings),
    PEER_TEST(does_not_ping_unasked),
    PEER_TEST(a_silent_peer),
    PEER_TEST(silence_is_a_loss),
  };

  return cmocka_run_group_tests_name("websocket_link", tests, NULL, NULL);
}
