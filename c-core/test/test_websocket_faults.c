/* WebSockets with bad peers and impatient hosts: handshakes that fail, frames
 * that break the protocol, connections that end, and aborts and nt_close() in
 * every state. */
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "peer.h"
#include "ws_deflate.h"

enum {
  MEGABYTE = 1 << 20,
  ROUNDS = 60,
  LEFT = 850, /* messages: more than a mark, and little in the kernel */
  SMALL_CAP = 1000
};

/* ---- Handshakes that fail ----------------------------------------------- */

static const struct {
  const char* answer; /* "%s" is the right accept key */
  int error;
  int status;
  const char* message;
} answers[] = {
  { "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", NT_E_WS_STATUS,
    403, "Invalid HTTP status 403" },
  { "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: %s\r\n\r\n",
    NT_E_WS_STATUS, 200, "Invalid HTTP status 200" },
  { "HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1/\r\n\r\n", NT_E_WS_STATUS,
    302, "Invalid HTTP status 302" },
  { "HTTP/1.0 404 Not Found\r\n\r\n", NT_E_WS_STATUS, 404,
    "Invalid HTTP status 404" },
  { "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    NT_E_HANDSHAKE, 101, "Incorrect 'Sec-WebSocket-Accept' header value" },
  { "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    NT_E_HANDSHAKE, 101, "'Sec-WebSocket-Accept' header is missing" },
  { "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: %s\r\n\r\n",
    NT_E_HANDSHAKE, 101, "'Upgrade' header is missing" },
  { "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: x\r\n\r\n",
    NT_E_HANDSHAKE, 101, NULL },
  { "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: %s\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    NT_E_HANDSHAKE, 101, NULL },
  { "SSH-2.0-OpenSSH_9.2\r\n", NT_E_HTTP, 0, NULL },
  { "HTTP/2 101\r\n\r\n", NT_E_HTTP, 0, NULL },
  { "\x81\x02hi", NT_E_HTTP, 0, NULL },
  { "", NT_E_EMPTY_RESPONSE, 0, NULL },
  { "HTTP/1.1 101 Switching Proto", NT_E_EMPTY_RESPONSE, 0, NULL },
  { "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n", NT_E_DROPPED, 0, NULL },
};

static void play_answer(peer_t* peer) {
  const char* format = answers[atoi(peer->path + 1)].answer;
  const char* gap = strstr(format, "%s");
  const char* field;
  char right[1024];

  if (gap == NULL) {
    connection_send_text(peer->connection, format);
    return;
  }
  peer_answer(peer, "", right, sizeof(right));
  field = strstr(right, "Accept: ") + 8;
  connection_send(peer->connection, format, (size_t) (gap - format), false);
  connection_send(peer->connection, field, NT__WS_ACCEPT_SIZE, false);
  connection_send_text(peer->connection, gap + 2);
}

static void bad_answers(void** state) {
  fixture_t* f = *state;
  char path[16];
  size_t i;

  peers_play(f, play_answer);
  for (i = 0; i < COUNT(answers); i++) {
    nt_event_t ev;
    nt_id_t id;

    snprintf(path, sizeof(path), "/%zu", i);
    id = start_path(f, path, NULL);
    expect_event(f, id, NT_EV_END, &ev);
    if (ev.error != answers[i].error || ev.status != answers[i].status)
      fail_msg("row %zu: %s (%s), status %d", i, nt_error_name(ev.error),
               ev.message, ev.status);
    assert_int_equal(ev.opened, 0);
    assert_int_equal(ev.code, 0);
    assert_string_equal(ev.reason, "");
    assert_true(ev.message[0] != '\0');
    if (answers[i].message != NULL)
      assert_string_equal(ev.message, answers[i].message);
    assert_int_equal(nt_poll(f->net, &ev), 0);
  }
}

static void play_reset_handshake(peer_t* peer) {
  peer_reset(peer);
}

static void a_reset_handshake(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  peers_play(f, play_reset_handshake);
  id = start(f, NULL);
  expect_event(f, id, NT_EV_END, &ev);
  assert_int_equal(ev.error, NT_E_RESET);
  assert_int_equal(ev.opened, 0);
}

static void nobody_listens(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  char url[64];
  nt_event_t ev;
  nt_id_t id;
  int port;
  int fd = server_listen(1, &port);

  close(fd);
  nt_websocket_options_init(&options);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", port);
  options.url = url;
  options.reconnect = (nt_reconnect_t){ 5, 1, 1, 0 };
  assert_int_equal(nt_websocket_open(f->net, &id), 0);
  assert_int_equal(nt_websocket_start(f->net, id, &options), 0);
  /* The first failure is the end, whatever the tries. */
  expect_event(f, id, NT_EV_END, &ev);
  assert_int_equal(ev.error, NT_E_REFUSED);
  assert_int_equal(ev.status, 0);
}

static void slow_handshakes(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  nt_event_t ev;
  nt_id_t id;
  int i;

  peers_play(f, play_silence);
  for (i = 0; i < 2; i++) {
    nt_websocket_options_init(&options);
    if (i == 0)
      options.timeouts.total = 100;
    else
      options.timeouts.first_byte = 100;
    id = start(f, &options);
    expect_event(f, id, NT_EV_END, &ev);
    assert_int_equal(ev.error, NT_E_TIMEOUT);
    assert_non_null(strstr(ev.message, "timed out"));
    assert_int_equal(ev.opened, 0);
  }
}

/* The time for the handshake is not that of the socket. */
static void lives_longer_than_its_handshake(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  nt_id_t id;

  nt_websocket_options_init(&options);
  options.timeouts.total = 300;
  options.timeouts.first_byte = 200;
  options.timeouts.stall = 100;
  id = start_open(f, &options);
  assert_int_equal(nt_wait(f->net, 500), 0);
  send_text(f, id, "alive");
  expect_text(f, id, "alive");
  close_and_end(f, id);
}

static void small_header(nt_policy_t* policy) {
  policy->header_max_bytes = 1000;
}

static void play_endless_header(peer_t* peer) {
  connection_send_text(peer->connection, "HTTP/1.1 101 Go\r\n");
  while (connection_send_text(peer->connection, "X-More: of this\r\n"))
    ;
}

static void an_endless_header(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  host_policy(f->host, small_header);
  peers_play(f, play_endless_header);
  id = start(f, NULL);
  expect_event(f, id, NT_EV_END, &ev);
  assert_int_equal(ev.error, NT_E_HEADER_SIZE);
}

/* ---- Violations --------------------------------------------------------- */

#define GIVEN(text) text, sizeof(text) - 1

static const struct {
  const char* bytes;
  size_t size;
  int error;
  int code;
} violations[] = {
  { GIVEN("\x81\x80\x01\x02\x03\x04"), NT_E_WS_PROTOCOL, 1002 }, /* masked */
  { GIVEN("\xc1\x01x"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\xa1\x01x"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x91\x01x"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x83\x01x"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x8b\x01x"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x80\x01x"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x01\x01x\x81\x01y"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x09\x01x"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x89\x7e"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x81\x7e\x00\x05"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x82\x7f\x80\x00"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x88\x01\x03"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x88\x02\x03\xed"), NT_E_WS_PROTOCOL, 1002 }, /* 1005 */
  { GIVEN("\x88\x02\x03\xee"), NT_E_WS_PROTOCOL, 1002 }, /* 1006 */
  { GIVEN("\x88\x02\x03\xe7"), NT_E_WS_PROTOCOL, 1002 }, /* 999 */
  { GIVEN("HTTP/1.1 200 OK\r\n"), NT_E_WS_PROTOCOL, 1002 },
  { GIVEN("\x88\x03\x03\xe8\xff"), NT_E_WS_TEXT, 1007 },
  { GIVEN("\x81\x01\xff"), NT_E_WS_TEXT, 1007 },
  { GIVEN("\x81\x02\xc3\x28"), NT_E_WS_TEXT, 1007 },
  { GIVEN("\x81\x01\xc3"), NT_E_WS_TEXT, 1007 },          /* cut off */
  { GIVEN("\x01\x01\xc3\x80\x01x"), NT_E_WS_TEXT, 1007 }, /* in fragments */
  { GIVEN("\x01\x03\xed\xa0\x80"), NT_E_WS_TEXT, 1007 },  /* fails fast */
  { GIVEN("\x81\x7e\x03\x00\xff"), NT_E_WS_TEXT, 1007 },
  { GIVEN("\x82\x7e\x03\xe9"), NT_E_WS_SIZE, 1009 }, /* before it comes */
  { GIVEN("\x82\x7f\x00\x00\x00\x40\x00\x00\x00\x00x"), NT_E_WS_SIZE, 1009 },
  { GIVEN("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffx"), NT_E_WS_SIZE, 1009 },
  { GIVEN("\x02\x01x\x80\x7e\x03\xe8y"), NT_E_WS_SIZE, 1009 },
};

static void play_violation(peer_t* peer) {
  int i = atoi(peer->path + 1);

  if (peer_accept(peer) && peer_text(peer, "before") &&
      peer_send(peer, violations[i].bytes, violations[i].size) &&
      peer_read(peer) && peer->first == PEER_CLOSE) {
    shutdown(peer->connection->fd, SHUT_WR);
    if (!peer_read(peer)) /* one close frame, then the end */
      connection_note(peer->connection, peer->path);
  }
}

static void violations_end_it(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  char path[16];
  size_t i;

  peers_play(f, play_violation);
  nt_websocket_options_init(&options);
  options.message_max_bytes = SMALL_CAP;
  options.reconnect = (nt_reconnect_t){ 5, 1, 1, 0 }; /* not for these */
  for (i = 0; i < COUNT(violations); i++) {
    nt_event_t ev;
    nt_id_t id;

    snprintf(path, sizeof(path), "/%zu", i);
    id = start_path(f, path, &options);
    expect_open(f, id, 0);
    expect_text(f, id, "before");
    peers_wait(f, &f->peers->frames[NT__WS_CLOSE], (unsigned) i + 1);
    assert_int_equal(f->peers->code, violations[i].code);
    expect_event(f, id, NT_EV_END, &ev);
    if (ev.error != violations[i].error || ev.code != violations[i].code)
      fail_msg("row %zu: %s (%s), %d", i, nt_error_name(ev.error), ev.message,
               ev.code);
    assert_int_equal(ev.opened, 1);
    assert_true(ev.message[0] != '\0');
    assert_true(ev.reason[0] != '\0');
    peers_wait(f, &f->host->server->requests, (unsigned) i + 1);
    assert_int_equal(nt_poll(f->net, &ev), 0);
  }
}

/* Just as large as it may be: whole, in fragments. */
static void play_just_fits(peer_t* peer) {
  char data[SMALL_CAP] = "";

  peer_accept(peer);
  peer_frame(peer, PEER_BINARY, data, SMALL_CAP);
  peer_frame(peer, NT__WS_BINARY, data, SMALL_CAP - 1);
  peer_frame(peer, NT__WS_CONTINUATION, "", 0);
  peer_frame(peer, PEER_FIN | NT__WS_CONTINUATION, data, 1);
  peer_listen(peer);
}

static void messages_up_to_the_cap(void** state) {
  char data[SMALL_CAP] = "";
  fixture_t* f = *state;
  nt_websocket_options_t options;
  nt_id_t id;

  peers_play(f, play_just_fits);
  nt_websocket_options_init(&options);
  options.message_max_bytes = SMALL_CAP;
  id = start_open(f, &options);
  expect_message(f, id, data, SMALL_CAP, 1);
  expect_message(f, id, data, SMALL_CAP, 1);
  close_and_end(f, id);
}

/* What a few bytes inflate to is capped as well. */
static void play_bomb(peer_t* peer) {
  nt__ws_deflate_params_t params = { false, false, 15, 15 };
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&params);
  char* zeros = calloc(1, 4 * MEGABYTE);
  nt__buf_t packed;

  nt__buf_init(&packed, 0);
  nt__ws_deflate_message(deflate, zeros, 4 * MEGABYTE, &packed);
  peer_accept_with(peer, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
  if (strcmp(peer->path, "/bomb") == 0)
    peer_frame(peer, PEER_BINARY | PEER_RSV1, packed.data, packed.size);
  else
    peer_frame(peer, PEER_BINARY | PEER_RSV1, "\xff\xff\xff\xff", 4);
  peer_drain(peer);
  nt__buf_free(&packed);
  nt__ws_deflate_free(deflate);
  free(zeros);
}

static void bombs(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  nt_id_t id;

  peers_play(f, play_bomb);
  nt_websocket_options_init(&options);
  options.message_max_bytes = MEGABYTE;
  options.flags = NT_WEBSOCKET_DEFLATE;
  id = start_path(f, "/bomb", &options);
  expect_open(f, id, 0);
  expect_end(f, id, NT_E_WS_SIZE, 1009, NULL);
  id = start_path(f, "/garbage", &options);
  expect_open(f, id, 0);
  expect_end(f, id, NT_E_WS_PROTOCOL, 1002, NULL);
}

/* Once the host has closed, its code stands, whatever the peer says; and one
 * close frame is enough. */
static void play_rude(peer_t* peer) {
  peer_accept(peer);
  while (peer_read(peer) && peer->first != PEER_CLOSE)
    ;
  peer_text(peer, "too late");
  peer_send(peer, peer->path + 1, 2);
  peer_drain(peer);
}

static void violations_after_a_close(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_rude);
  id = start(f, NULL);
  expect_open(f, id, 0);
  assert_int_equal(nt_websocket_close(f->net, id, 3001, "mine"), 0);
  expect_end(f, id, 0, 3001, "mine");
  expect_close_frame(f, 3001, "mine");
}

/* ---- Connections that end ----------------------------------------------- */

static void play_loss(peer_t* peer) {
  if (!peer_accept(peer) || !peer_text(peer, "before"))
    return;
  if (strcmp(peer->path, "/midway") == 0)
    peer_send(peer, "\x82\x7e\x01\x00half", 8);
  else if (strcmp(peer->path, "/header") == 0)
    peer_send(peer, "\x82", 1);
  if (strcmp(peer->path, "/reset") == 0) {
    if (peer_read(peer)) /* or what was sent would be lost with it */
      peer_reset(peer);
  }
}

static void losses(void** state) {
  static const char* const paths[] = { "/", "/midway", "/header", "/reset" };
  fixture_t* f = *state;
  size_t i;

  peers_play(f, play_loss);
  for (i = 0; i < COUNT(paths); i++) {
    nt_id_t id = start_path(f, paths[i], NULL);
    nt_event_t ev;

    expect_open(f, id, 0);
    expect_text(f, id, "before");
    if (i == 3)
      send_text(f, id, "now");
    expect_event(f, id, NT_EV_END, &ev);
    assert_int_equal(ev.error, 0);
    assert_int_equal(ev.code, 1006);
    assert_string_equal(ev.reason, "abnormal closure");
    assert_int_equal(ev.opened, 1);
  }
}

/* The peer says goodbye and goes; the host notices late, and what it sends
 * meanwhile has nowhere to go: all that had come is told all the same. */
static void play_leave(peer_t* peer) {
  char data[1000] = "";
  int i;

  peer_accept(peer);
  for (i = 0; i < LEFT; i++) {
    memcpy(data, &i, sizeof(i));
    if (!peer_frame(peer, PEER_BINARY, data, sizeof(data)))
      return;
  }
  peer_close(peer, 4001, "goodbye");
  while (ioctl(peer->connection->fd, SIOCOUTQ, &i) == 0 && i > 0)
    sched_yield(); /* all is with the other side */
  shutdown(peer->connection->fd, SHUT_RDWR);
  close(peer->connection->fd); /* so that the next segment is refused */
  peer->connection->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void sends_into_the_void(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;
  int i, k;

  peers_play(f, play_leave);
  id = start_open(f, NULL);
  peers_wait(f, &f->peers->ended, 1);
  for (i = 0; i < 20; i++) {
    int err = nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, "hello?", 6);

    assert_true(err == 0 || err == NT_E_NOT_OPEN);
    usleep(1000); /* each a segment of its own, without taking events in */
  }
  for (i = 0; i < LEFT; i++) {
    expect_event(f, id, NT_EV_MESSAGE, &ev);
    memcpy(&k, ev.data, sizeof(k));
    assert_int_equal(k, i);
  }
  expect_end(f, id, 0, 4001, "goodbye");
}

/* A peer that reads nothing: the queue is bounded, and an end is an end. */
static void play_deaf(peer_t* peer) {
  if (peer_accept(peer))
    connection_hold(peer->connection);
}

static void a_deaf_peer(void** state) {
  fixture_t* f = *state;
  char* data = calloc(1, MEGABYTE);
  nt_event_t ev;
  nt_id_t id;
  int err, sends = 0;

  peers_play(f, play_deaf);
  id = start_open(f, NULL);
  do {
    err = nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, data, MEGABYTE);
    if (err == 0)
      sends++;
    else if (nt_wait(f->net, 200) && nt_poll(f->net, &ev))
      assert_int_equal(ev.type, NT_EV_SENT);
  } while (err == 0 && sends < 100);
  assert_int_equal(err, NT_E_QUEUE_FULL);
  assert_true(sends >= 15);
  assert_true(nt_websocket_buffered(f->net, id) <= 16 * MEGABYTE);
  nt_abort(f->net, id);
  expect_end(f, id, NT_E_ABORTED, 0, NULL);
  free(data);
}

/* ---- Aborts and nt_close() in every state ------------------------------- */

typedef enum stage {
  STAGE_IDLE,
  STAGE_STARTED,
  STAGE_HANDSHAKE,
  STAGE_OPEN,
  STAGE_SENDING,
  STAGE_HELD,
  STAGE_CLOSING,
  STAGE_LEAVING,
  STAGE_LOST,
  STAGE_RETRYING,
  STAGE_COUNT
} stage_t;

static void play_stage(peer_t* peer) {
  int stage = atoi(peer->path + 1);
  static const char data[10000];

  if (stage == STAGE_HANDSHAKE || (stage == STAGE_RETRYING && peer->number > 1))
    peer_drain(peer); /* no answer */
  if (!peer_accept(peer) || stage == STAGE_RETRYING || stage == STAGE_LOST)
    return;
  if (stage == STAGE_LEAVING)
    peer_close(peer, 1000, "");
  while (stage == STAGE_HELD &&
         peer_frame(peer, PEER_BINARY, data, sizeof(data)))
    ;
  if (stage == STAGE_SENDING)
    connection_hold(peer->connection);
  else
    peer_drain(peer); /* answers no close */
}

/* A socket that is in that state, or on its way to it. */
static nt_id_t bring_to(fixture_t* f, stage_t stage) {
  nt_websocket_options_t options;
  unsigned blocked = peers_count(f, &f->host->server->blocked);
  char* data = calloc(1, MEGABYTE);
  char path[16];
  nt_event_t ev;
  nt_id_t id;

  snprintf(path, sizeof(path), "/%d", stage);
  nt_websocket_options_init(&options);
  options.ping_interval_ms = 5;
  options.pong_timeout_ms = 60000;
  if (stage == STAGE_LOST)
    options.reconnect = (nt_reconnect_t){ 5, 60000, 60000, 0 };
  if (stage == STAGE_RETRYING)
    options.reconnect = (nt_reconnect_t){ 5, 1, 1, 0 };
  if (stage == STAGE_IDLE) {
    assert_int_equal(nt_websocket_open(f->net, &id), 0);
    free(data);
    return id;
  }
  id = start_path(f, path, &options);
  if (stage == STAGE_HANDSHAKE)
    peers_wait(f, &f->peers->asked, 1);
  if (stage >= STAGE_OPEN)
    expect_open(f, id, 0);
  if (stage == STAGE_SENDING)
    while (nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, data, MEGABYTE) ==
           0)
      ;
  if (stage == STAGE_HELD)
    peers_wait(f, &f->host->server->blocked, blocked + 1);
  if (stage == STAGE_CLOSING)
    assert_int_equal(nt_websocket_close(f->net, id, 1000, ""), 0);
  if (stage == STAGE_LEAVING)
    peers_wait(f, &f->peers->frames[NT__WS_CLOSE], 1);
  if (stage >= STAGE_LOST)
    expect_event(f, id, NT_EV_LOST, &ev);
  if (stage == STAGE_RETRYING)
    peers_wait(f, &f->peers->asked, 2);
  free(data);
  return id;
}

/* The next socket is the first one. */
static void forget_peers(fixture_t* f) {
  pthread_mutex_lock(&f->host->server->mutex);
  memset(f->peers->frames, 0, sizeof(f->peers->frames));
  f->peers->asked = 0;
  pthread_mutex_unlock(&f->host->server->mutex);
}

static void aborts(void** state) {
  fixture_t* f = *state;
  int stage;

  peers_play(f, play_stage);
  for (stage = 0; stage < STAGE_COUNT; stage++, forget_peers(f)) {
    nt_id_t id = bring_to(f, (stage_t) stage);
    nt_event_t ev;

    nt_abort(f->net, id);
    assert_int_equal(nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, "", 0),
                     NT_E_NOT_OPEN);
    assert_int_equal(nt_websocket_close(f->net, id, 1000, ""), NT_E_NOT_OPEN);
    expect_event(f, id, NT_EV_END, &ev);
    assert_int_equal(ev.error, NT_E_ABORTED);
    assert_int_equal(ev.code, 0);
    assert_int_equal(ev.opened, 0);
    assert_int_equal(nt_poll(f->net, &ev), 0);
    nt_abort(f->net, id);
    assert_int_equal(nt_poll(f->net, &ev), 0);
  }
}

static void closes_the_context(void** state) {
  fixture_t* f = *state;
  int stage;

  peers_play(f, play_stage);
  for (stage = 0; stage < STAGE_COUNT; stage++, forget_peers(f)) {
    bring_to(f, (stage_t) stage);
    assert_int_equal(host_close(f->net), 0);
    assert_int_equal(nt_open(&f->host->net), 0);
    f->net = f->host->net;
  }
}

/* All of them at once, some after a random while. */
static void storms(void** state) {
  fixture_t* f = *state;
  uint64_t random = 88172645463325252u;
  int i, k;

  peers_play(f, play_echo);
  for (i = 0; i < ROUNDS; i++) {
    nt_id_t ids[5];
    nt_event_t ev;

    for (k = 0; k < 5; k++)
      ids[k] = start(f, NULL);
    for (k = (int) (next_random(&random) % 12); k > 0; k--)
      if (nt_wait(f->net, 1) && nt_poll(f->net, &ev)) {
        assert_int_not_equal(ev.type, NT_EV_END);
        send_text(f, ev.id, "x");
        if (next_random(&random) % 2)
          nt_websocket_report(f->net, ev.id);
      }
    if (i % 2) {
      assert_int_equal(host_close(f->net), 0);
      assert_int_equal(nt_open(&f->host->net), 0);
      f->net = f->host->net;
      continue;
    }
    for (k = 0; k < 5; k++)
      nt_abort(f->net, ids[k]);
    for (k = 0; k < 5; k++) {
      host_next(f->host, &ev);
      assert_int_equal(ev.type, NT_EV_END);
      assert_int_equal(ev.error, NT_E_ABORTED);
    }
    assert_int_equal(nt_poll(f->net, &ev), 0);
  }
}

/* ---- fork() ------------------------------------------------------------- */

/* In the child: the sockets are those of its parent. */
static int calls_in_child(fixture_t* f, nt_id_t id) {
  nt_id_t other;

  if (nt_websocket_open(f->net, &other) != NT_E_FORKED)
    return 1;
  if (nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, "x", 1) != NT_E_FORKED)
    return 2;
  if (nt_websocket_close(f->net, id, 1000, "") != NT_E_FORKED)
    return 3;
  nt_websocket_report(f->net, id);
  if (nt_websocket_buffered(f->net, id) != 0)
    return 4;
  nt_abort(f->net, id);
  nt_close(f->net, 1000);
  return 0;
}

static void forks(void** state) {
  fixture_t* f = *state;
  nt_id_t id = start_open(f, NULL);
  pid_t child = fork();
  int status;

  assert_true(child >= 0);
  if (child == 0) {
    host_is_child = true;
    _exit(calls_in_child(f, id));
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  send_text(f, id, "still here");
  expect_text(f, id, "still here");
  close_and_end(f, id);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    PEER_TEST(bad_answers),
    PEER_TEST(a_reset_handshake),
    PEER_TEST(nobody_listens),
    PEER_TEST(slow_handshakes),
    PEER_TEST(lives_longer_than_its_handshake),
    PEER_TEST(an_endless_header),
    PEER_TEST(violations_end_it),
    PEER_TEST(messages_up_to_the_cap),
    PEER_TEST(bombs),
    PEER_TEST(violations_after_a_close),
    PEER_TEST(losses),
    PEER_TEST(sends_into_the_void),
    PEER_TEST(a_deaf_peer),
    PEER_TEST(aborts),
    PEER_TEST(closes_the_context),
    PEER_TEST(storms),
    PEER_TEST(forks),
  };

  return cmocka_run_group_tests_name("websocket_faults", tests, NULL, NULL);
}
