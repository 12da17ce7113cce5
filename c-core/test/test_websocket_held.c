/* WebSockets whose host lags behind: the server can send no more, the clocks
 * stand still, the peer hears from time to time that we are alive, and nothing
 * is lost. And a peer that lets a close wait, since both take their time. */
#include "peer.h"

enum {
  MEGABYTE = 1 << 20,
  MESSAGES = 800,
  MESSAGE_SIZE = 10000,
  HELD_PONG_MS = 10000, /* as ws_session.c has it */
  CLOSE_WAIT_MS = 5000  /* and ws_link.c */
};

static void play_flood(peer_t* peer) {
  char* data = calloc(1, MESSAGE_SIZE);
  uint32_t i;

  peer_accept(peer);
  for (i = 0; i < MESSAGES; i++) {
    memcpy(data, &i, sizeof(i));
    if (!peer_frame(peer, PEER_BINARY, data, MESSAGE_SIZE))
      break;
  }
  free(data);
  peer_echo(peer);
}

static void expect_flood(fixture_t* f, nt_id_t id) {
  uint32_t i, number;
  nt_event_t ev;

  for (i = 0; i < MESSAGES; i++) {
    expect_event(f, id, NT_EV_MESSAGE, &ev);
    assert_int_equal(ev.size, MESSAGE_SIZE);
    memcpy(&number, ev.data, sizeof(number));
    assert_int_equal(number, i);
  }
}

static void low_mark(nt_policy_t* policy) {
  policy->task_high_water = 0; /* the least there is */
}

static void holds_the_server_back(void** state) {
  fixture_t* f = *state;
  nt_id_t id;
  int i;

  peers_play(f, play_flood);
  for (i = 0; i < 2; i++) {
    unsigned blocked = peers_count(f, &f->host->server->blocked);
    nt_stats_t stats;

    if (i == 1)
      host_policy(f->host, low_mark);
    id = start_open(f, NULL);
    peers_wait(f, &f->host->server->blocked, blocked + 2);
    nt_collect(f->net);
    nt_stats(f->net, &stats);
    assert_true(stats.waiting_bytes <
                (i == 0 ? MEGABYTE : 65536) + 2 * MESSAGE_SIZE);
    expect_flood(f, id);
    send_text(f, id, "and on");
    expect_text(f, id, "and on");
    close_and_end(f, id);
  }
}

/* A close does not wait for the host to take in what it no longer wants. */
static void a_close_while_held(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;
  int messages = 0;

  peers_play(f, play_flood);
  id = start_open(f, NULL);
  peers_wait(f, &f->host->server->blocked, 1);
  assert_int_equal(nt_websocket_close(f->net, id, 1000, "enough"), 0);
  expect_close_frame(f, 1000, "enough");
  do {
    host_next(f->host, &ev);
    messages += ev.type == NT_EV_MESSAGE;
  } while (ev.type == NT_EV_MESSAGE);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, 0);
  assert_string_equal(ev.reason, "enough");
  assert_true(messages > 50 && messages < MESSAGES);
}

static void an_abort_while_held(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_flood);
  id = start_open(f, NULL);
  peers_wait(f, &f->host->server->blocked, 1);
  nt_abort(f->net, id);
  expect_end(f, id, NT_E_ABORTED, 0, NULL);
  peers_wait(f, &f->peers->ended, 1); /* its connection is gone */
}

/* One that is held holds back no other. */
static void play_by_path(peer_t* peer) {
  if (strcmp(peer->path, "/flood") == 0)
    play_flood(peer);
  else
    play_echo(peer);
}

static void others_go_on(void** state) {
  fixture_t* f = *state;
  nt_id_t held, other;
  int texts = 0;
  nt_event_t ev;

  peers_play(f, play_by_path);
  other = start_open(f, NULL);
  held = start_path(f, "/flood", NULL);
  peers_wait(f, &f->host->server->blocked, 1);
  send_text(f, other, "0");
  while (texts < 20) {
    host_next(f->host, &ev);
    if (ev.id == other) {
      assert_int_equal(ev.type, NT_EV_MESSAGE);
      send_text(f, other, "x");
      texts++;
    }
  }
  nt_abort(f->net, held);
  nt_abort(f->net, other);
}

/* ---- Long waits --------------------------------------------------------- */

/* Answers no close. */
static void play_stubborn(peer_t* peer) {
  if (peer_accept(peer))
    peer_drain(peer);
}

static void play_patience(peer_t* peer) {
  if (strcmp(peer->path, "/flood") == 0)
    play_flood(peer);
  else
    play_stubborn(peer);
}

/* Pongs that would have been overdue for long: the clocks stand still. */
static nt_id_t start_held(fixture_t* f) {
  nt_websocket_options_t options;
  nt_id_t id;

  nt_websocket_options_init(&options);
  options.ping_interval_ms = 200;
  options.pong_timeout_ms = 4000;
  id = start_path(f, "/flood", &options);
  expect_open(f, id, 0);
  peers_wait(f, &f->host->server->blocked, 1);
  return id;
}

/* The time that the stubborn peer's connection lasted. */
static uint64_t close_stubborn(fixture_t* f, nt_id_t id) {
  uint64_t begin = uv_hrtime();

  assert_int_equal(nt_websocket_close(f->net, id, 4000, "now"), 0);
  peers_wait(f, &f->peers->ended, 1);
  return (uv_hrtime() - begin) / 1000000;
}

static void waits_for_long(void** state) {
  fixture_t* f = *state;
  uint64_t begin, waited;
  nt_id_t held, stubborn;
  int messages = 0, ends = 0;
  nt_event_t ev;

  peers_play(f, play_patience);
  stubborn = start_open(f, NULL);
  held = start_held(f);
  begin = uv_hrtime();
  waited = close_stubborn(f, stubborn);
  assert_true(waited > CLOSE_WAIT_MS - 100 && waited < HELD_PONG_MS - 1000);
  waited = (uv_hrtime() - begin) / 1000000;
  poll(NULL, 0, (int) (HELD_PONG_MS + 1000 - waited)); /* takes nothing in */
  while (messages < MESSAGES) {
    host_next(f->host, &ev);
    if (ev.id == held) {
      assert_int_equal(ev.type, NT_EV_MESSAGE);
      messages++;
    } else {
      assert_int_equal(ev.type, NT_EV_END);
      assert_int_equal(ev.error, 0);
      assert_int_equal(ev.code, 4000);
      ends++;
    }
  }
  assert_int_equal(ends, 1);
  /* The server reads now: the unasked pong, and pings again. */
  peers_wait(f, &f->peers->frames[NT__WS_PING], 3);
  assert_int_equal(peers_count(f, &f->peers->frames[NT__WS_PONG]), 1);
  close_and_end(f, held);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    PEER_TEST(holds_the_server_back), PEER_TEST(a_close_while_held),
    PEER_TEST(an_abort_while_held),   PEER_TEST(others_go_on),
    PEER_TEST(waits_for_long),
  };

  return cmocka_run_group_tests_name("websocket_held", tests, NULL, NULL);
}
