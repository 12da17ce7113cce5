/* websocket.c, ws_link.c and ws_session.c on the way they should go: the
 * handshake, messages both ways, the queue of what is sent, and closing.
 * test_websocket_faults.c has bad peers, test_websocket_link.c lost ones. */
#include "peer.h"
#include "ws_deflate.h"

enum {
  KILOBYTE = 1024,
  MEGABYTE = 1 << 20,
  MANY = 10000,
  SOCKETS = 40
};

/* ---- The handshake ------------------------------------------------------ */

static void play_greeting(peer_t* peer) {
  if (peer_accept_with(peer,
                       "X-Greeting: hello\r\n"
                       "Sec-WebSocket-Protocol: chat\r\n"))
    peer_echo(peer);
}

static void opens(void** state) {
  static const nt_header_t headers[] = { { "X-One", "1" },
                                         { "Host", "elsewhere" },
                                         { "Sec-WebSocket-Key", "mine" },
                                         { "Content-Length", "5" } };
  static const char* const protocols[] = { "game", "chat" };
  fixture_t* f = *state;
  nt_websocket_options_t options;
  const char *name, *value;
  size_t cursor = 0;
  bool greeted = false;
  nt_event_t ev;
  nt_id_t id;

  peers_play(f, play_greeting);
  nt_websocket_options_init(&options);
  options.headers = headers;
  options.header_count = COUNT(headers);
  options.protocols = protocols;
  options.protocol_count = COUNT(protocols);
  options.flags = NT_WEBSOCKET_NO_DELAY | NT_WEBSOCKET_PROFILE;
  id = start_path(f, "/a/b?c=d", &options);
  assert_int_equal(nt_state(f->net, id), NT_STATE_CONNECTING);
  expect_event(f, id, NT_EV_OPEN, &ev);
  assert_int_equal(nt_state(f->net, id), NT_STATE_OPEN);
  assert_int_equal(ev.status, 101);
  assert_int_equal(ev.attempt, 0);
  assert_string_equal(ev.protocol, "chat");
  while (nt_headers_next(&ev.headers, &cursor, &name, &value))
    greeted = greeted ||
              (strcmp(name, "X-Greeting") == 0 && strcmp(value, "hello") == 0);
  assert_true(greeted);
  assert_non_null(ev.profile);
  assert_int_equal(ev.profile->peer_port, f->host->server->port);
  assert_true(ev.profile->invoke_start > 0);
  assert_true(ev.profile->connect_end >= ev.profile->connect_start);
  assert_true(ev.profile->response_end >= ev.profile->request_start);
  assert_true(peers_saw(f, "GET /a/b?c=d HTTP/1.1\r\n"));
  assert_true(peers_saw(f, "\r\nX-One: 1\r\n"));
  assert_true(peers_saw(f, "\r\nSec-WebSocket-Protocol: game, chat\r\n"));
  assert_true(peers_saw(f, "\r\nUser-Agent: nettask/"));
  assert_false(peers_saw(f, "elsewhere"));
  assert_false(peers_saw(f, "mine"));
  assert_false(peers_saw(f, "Content-Length"));
  assert_false(peers_saw(f, "Extensions"));
  close_and_end(f, id);
  expect_close_frame(f, 1000, "bye");
}

static void resolves_against_a_base(void** state) {
  static const char* const schemes[] = { "ws", "http", "WS" };
  fixture_t* f = *state;
  nt_websocket_options_t options;
  char base[64];
  size_t i;

  for (i = 0; i < COUNT(schemes); i++) {
    nt_id_t id;

    snprintf(base, sizeof(base), "%s://127.0.0.1:%d/a/b", schemes[i],
             f->host->server->port);
    nt_websocket_options_init(&options);
    options.url = "c";
    options.base_url = base;
    assert_int_equal(nt_websocket_open(f->net, &id), 0);
    assert_int_equal(nt_websocket_start(f->net, id, &options), 0);
    expect_open(f, id, 0);
    assert_true(peers_saw(f, "GET /a/c HTTP/1.1\r\n"));
    close_and_end(f, id);
  }
}

/* Frames that come together with the answer, or everything byte by byte. */
static void play_at_once(peer_t* peer) {
  bool slow = strcmp(peer->path, "/slow") == 0;
  char bytes[1200];
  size_t size, i;

  peer_answer(peer, "", bytes, 1024);
  size = strlen(bytes);
  memcpy(bytes + size, "\x81\x03one\x82\x02\x00\xff\x89\x00\x88\x02\x03\xe9",
         15);
  size += 15;
  for (i = 0; i < size; i += slow ? 1 : size)
    if (!peer_send(peer, bytes + i, slow ? 1 : size))
      return;
  peer_listen(peer);
}

static void frames_follow_the_answer(void** state) {
  static const char* const paths[] = { "/", "/slow" };
  fixture_t* f = *state;
  size_t i;

  peers_play(f, play_at_once);
  for (i = 0; i < COUNT(paths); i++) {
    nt_id_t id = start_path(f, paths[i], NULL);

    expect_open(f, id, 0);
    expect_text(f, id, "one");
    expect_message(f, id, "\x00\xff", 2, 1);
    expect_end(f, id, 0, 1001, "");
    peers_wait(f, &f->peers->ended, (unsigned) i + 1);
    assert_int_equal(peers_count(f, &f->peers->frames[NT__WS_PONG]), i + 1);
  }
}

/* ---- Messages ----------------------------------------------------------- */

static void echoes_any_size(void** state) {
  static const size_t sizes[] = { 0,     1,     125,    126,     127,
                                  65535, 65536, 200000, MEGABYTE };
  fixture_t* f = *state;
  nt_id_t id = start_open(f, NULL);
  char* data = malloc(MEGABYTE);
  size_t i, k;

  for (k = 0; k < MEGABYTE; k++)
    data[k] = (char) (' ' + k % 90);
  for (i = 0; i < COUNT(sizes); i++) {
    assert_int_equal(
        nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, data, sizes[i]), 0);
    expect_message(f, id, data, sizes[i], 0);
    assert_int_equal(
        nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, data, sizes[i]), 0);
    expect_message(f, id, data, sizes[i], 1);
  }
  assert_int_equal(nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, NULL, 0), 0);
  expect_text(f, id, "");
  assert_int_equal(nt_websocket_buffered(f->net, id), 0);
  close_and_end(f, id);
  free(data);
}

static void play_fragments(peer_t* peer) {
  if (!peer_accept(peer))
    return;
  peer_frame(peer, NT__WS_TEXT, "gr\xc3", 3);
  peer_frame(peer, PEER_PING, "are you there?", 14);
  peer_frame(peer, NT__WS_CONTINUATION, "", 0);
  peer_frame(peer, NT__WS_CONTINUATION, "\xbc\xc3", 2);
  peer_frame(peer, PEER_PONG, "unasked", 7);
  peer_frame(peer, PEER_FIN | NT__WS_CONTINUATION, "\x9f", 1);
  peer_frame(peer, NT__WS_BINARY, "", 0);
  peer_frame(peer, PEER_FIN | NT__WS_CONTINUATION, "", 0);
  peer_text(peer, "last");
  if (peer_read(peer)) /* the pong */
    peer_drain(peer);
}

static void joins_fragments(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_fragments);
  id = start_open(f, NULL);
  expect_text(f, id, "gr\xc3\xbc\xc3\x9f");
  expect_message(f, id, "", 0, 1);
  expect_text(f, id, "last");
  peers_wait(f, &f->peers->frames[NT__WS_PONG], 1);
  assert_string_equal(f->peers->text, "are you there?");
  nt_abort(f->net, id);
  expect_end(f, id, NT_E_ABORTED, 0, NULL);
}

/* All in one piece: one read has thousands of them. */
static void play_many(peer_t* peer) {
  char* bytes = malloc(MANY * 10);
  size_t size = 0;
  int i;

  for (i = 0; i < MANY; i++)
    size += (size_t) sprintf(bytes + size, "\x81\x06%06d", i);
  if (peer_accept(peer) && peer_send(peer, bytes, size))
    peer_listen(peer);
  free(bytes);
}

static void many_tiny_messages(void** state) {
  fixture_t* f = *state;
  char text[16];
  nt_id_t id;
  int i;

  peers_play(f, play_many);
  id = start_open(f, NULL);
  for (i = 0; i < MANY; i++) {
    snprintf(text, sizeof(text), "%06d", i);
    expect_text(f, id, text);
  }
  close_and_end(f, id);
}

static void sends_in_order(void** state) {
  fixture_t* f = *state;
  nt_id_t id = start_open(f, NULL);
  char text[16];
  int i;

  nt_cork(f->net);
  for (i = 0; i < MANY / 2; i++) {
    snprintf(text, sizeof(text), "%06d", i);
    send_text(f, id, text);
  }
  nt_uncork(f->net);
  for (; i < MANY; i++) {
    snprintf(text, sizeof(text), "%06d", i);
    send_text(f, id, text);
  }
  for (i = 0; i < MANY; i++) {
    snprintf(text, sizeof(text), "%06d", i);
    expect_text(f, id, text);
  }
  close_and_end(f, id);
}

/* A policy that sets no cap on messages: 0 is "none". */
static void uncap(nt_policy_t* policy) {
  policy->message_max_bytes = 0;
  policy->send_queue_bytes = 0;
}

static void without_caps(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  nt_id_t id;

  host_policy(f->host, uncap);
  id = start_open(f, NULL);
  send_text(f, id, "some");
  expect_text(f, id, "some");
  close_and_end(f, id);
  nt_websocket_options_init(&options);
  options.message_max_bytes = UINT64_MAX;
  id = start_open(f, &options);
  send_text(f, id, "more");
  expect_text(f, id, "more");
  close_and_end(f, id);
}

/* The codec has no sides: the server's is that of the core. */
static void play_deflate(peer_t* peer) {
  nt__ws_deflate_params_t params = { false, false, 15, 15 };
  nt__ws_deflate_t* deflate = nt__ws_deflate_new(&params);
  nt__buf_t plain, packed;

  nt__buf_init(&plain, 0);
  nt__buf_init(&packed, 0);
  peer_accept_with(peer, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
  while (peer_read(peer) && peer->first != PEER_CLOSE) {
    plain.size = packed.size = 0;
    if (!(peer->first & PEER_RSV1))
      peer_frame(peer, peer->first, peer->data, peer->size);
    else if (nt__ws_inflate(deflate, peer->data, peer->size, true, &plain) ==
                 0 &&
             nt__ws_deflate_message(deflate, plain.data, plain.size, &packed) ==
                 0)
      peer_frame(peer, peer->first, packed.data, packed.size);
  }
  peer_frame(peer, PEER_CLOSE, peer->data, peer->size);
  nt__buf_free(&plain);
  nt__buf_free(&packed);
  nt__ws_deflate_free(deflate);
}

static void deflates(void** state) {
  fixture_t* f = *state;
  char* data = malloc(MEGABYTE);
  nt_websocket_options_t options;
  nt_id_t id;
  int i;

  peers_play(f, play_deflate);
  nt_websocket_options_init(&options);
  options.flags = NT_WEBSOCKET_DEFLATE;
  id = start_open(f, &options);
  assert_true(peers_saw(f, "\r\nSec-WebSocket-Extensions: permessage-deflate"));
  for (i = 0; i < MEGABYTE; i++)
    data[i] = (char) ('a' + i / 7 % 20);
  for (i = 0; i < 3; i++) {
    assert_int_equal(
        nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, data, MEGABYTE), 0);
    send_text(f, id, "short");
    expect_message(f, id, data, MEGABYTE, 0);
    expect_text(f, id, "short");
  }
  pthread_mutex_lock(&f->host->server->mutex);
  i = f->peers->bytes < MEGABYTE / 10;
  pthread_mutex_unlock(&f->host->server->mutex);
  assert_true(i);
  assert_int_equal(nt_websocket_buffered(f->net, id), 0);
  close_and_end(f, id);
  free(data);
}

/* ---- The queue of what is sent ------------------------------------------ */

/* What comes is read after server_release(). */
static void play_late(peer_t* peer) {
  if (peer_accept(peer) && connection_hold(peer->connection))
    peer_echo(peer);
}

static void small_queue(nt_policy_t* policy) {
  policy->send_queue_bytes = 4 * MEGABYTE;
}

/* The SENT that says all of `sends`; those before say less, in order. */
static void expect_sent(fixture_t* f, nt_id_t id, uint64_t sends,
                        uint64_t bytes) {
  uint64_t done = 0;
  nt_event_t ev;

  do {
    expect_event(f, id, NT_EV_SENT, &ev);
    assert_true(ev.done > done && ev.done <= sends);
    done = ev.done;
  } while (done < sends);
  assert_int_equal(ev.total, bytes);
  assert_int_equal(nt_state(f->net, id), NT_STATE_OPEN);
}

static void says_when_the_queue_is_empty(void** state) {
  fixture_t* f = *state;
  char* data = calloc(1, MEGABYTE);
  uint64_t sends = 0;
  nt_event_t ev;
  nt_id_t id;
  int err;

  host_policy(f->host, small_queue);
  peers_play(f, play_late);
  id = start_open(f, NULL);
  do {
    assert_true(sends < 100);
    err = nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, data, MEGABYTE);
    sends += err == 0;
  } while (err == 0);
  assert_int_equal(err, NT_E_QUEUE_FULL);
  assert_true(nt_websocket_buffered(f->net, id) > 0);
  assert_true(nt_websocket_buffered(f->net, id) <= 4 * MEGABYTE);
  peers_release(f);
  /* What comes back may be first. */
  do {
    host_next(f->host, &ev);
    if (ev.type == NT_EV_MESSAGE)
      assert_int_equal(ev.size, MEGABYTE);
    else
      assert_int_equal(ev.type, NT_EV_SENT);
  } while (ev.type != NT_EV_SENT || ev.done < sends);
  assert_int_equal(ev.done, sends);
  assert_int_equal(ev.total, sends * MEGABYTE);
  assert_int_equal(nt_websocket_buffered(f->net, id), 0);
  nt_abort(f->net, id);
  expect_end(f, id, NT_E_ABORTED, 0, NULL);
  free(data);
}

/* Larger than the queue may ever be. */
static void refuses_what_never_fits(void** state) {
  fixture_t* f = *state;
  char* data = calloc(1, 5 * MEGABYTE);
  nt_id_t id;

  host_policy(f->host, small_queue);
  id = start_open(f, NULL);
  assert_int_equal(
      nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, data, 5 * MEGABYTE),
      NT_E_QUEUE_FULL);
  send_text(f, id, "fits");
  expect_text(f, id, "fits");
  close_and_end(f, id);
  free(data);
}

static void counts_what_was_sent(void** state) {
  fixture_t* f = *state;
  nt_id_t id;

  peers_play(f, play_listen);
  id = start_open(f, NULL);
  nt_websocket_report(f->net, id); /* nothing was: nothing to say */
  send_text(f, id, "12345");
  nt_websocket_report(f->net, id);
  expect_sent(f, id, 1, 5);
  send_text(f, id, "");
  nt_websocket_report(f->net, id);
  expect_sent(f, id, 2, 5);
  send_text(f, id, "678");
  send_text(f, id, "9");
  nt_websocket_report(f->net, id);
  expect_sent(f, id, 4, 9);
  send_text(f, id, "nobody asks");
  close_and_end(f, id);
  assert_int_equal(peers_count(f, &f->peers->frames[NT__WS_TEXT]), 5);
}

/* Asked for long after it was sent. */
static void reports_late(void** state) {
  fixture_t* f = *state;
  nt_id_t id = start_open(f, NULL);

  send_text(f, id, "a");
  expect_text(f, id, "a");
  nt_websocket_report(f->net, id);
  expect_sent(f, id, 1, 1);
  close_and_end(f, id);
}

/* ---- Closing ------------------------------------------------------------ */

static void close_comes_behind_messages(void** state) {
  fixture_t* f = *state;
  char* data = calloc(1, MEGABYTE);
  nt_id_t id;
  int i;

  peers_play(f, play_listen);
  id = start_open(f, NULL);
  for (i = 0; i < 8; i++)
    assert_int_equal(
        nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, data, MEGABYTE), 0);
  assert_int_equal(nt_websocket_close(f->net, id, 4999, NULL), 0);
  expect_end(f, id, 0, 4999, "");
  expect_close_frame(f, 4999, "");
  assert_int_equal(f->peers->bytes, 8 * MEGABYTE);
  free(data);
}

static const struct {
  const char* data;
  size_t size;
  int code; /* what the host learns */
  const char* reason;
  int answer; /* and the server */
} closes[] = {
  { "\x03\xe8", 2, 1000, "", 1000 },
  { "\x03\xe9going", 7, 1001, "going", 1001 },
  { "\x13\x87\xc3\xbc", 4, 4999, "\xc3\xbc", 4999 },
  { "", 0, 1005, "", 0 },
};

static void play_close(peer_t* peer) {
  int i = atoi(peer->path + 1);

  if (!peer_accept(peer) || !peer_text(peer, "before") ||
      !peer_frame(peer, PEER_CLOSE, closes[i].data, closes[i].size))
    return;
  peer_read(peer);
}

static void the_server_closes(void** state) {
  fixture_t* f = *state;
  char path[16];
  size_t i;

  peers_play(f, play_close);
  for (i = 0; i < COUNT(closes); i++) {
    nt_id_t id;

    snprintf(path, sizeof(path), "/%zu", i);
    id = start_path(f, path, NULL);
    expect_open(f, id, 0);
    expect_text(f, id, "before");
    expect_end(f, id, 0, closes[i].code, closes[i].reason);
    peers_wait(f, &f->peers->ended, (unsigned) i + 1);
    assert_int_equal(peers_count(f, &f->peers->frames[NT__WS_CLOSE]), i + 1);
    assert_int_equal(f->peers->code, closes[i].answer);
  }
}

static void checks_code_and_reason(void** state) {
  static const int bad[] = { -1,   0,    999,  1004, 1005,  1006,
                             1015, 1016, 2999, 5000, 70000, 66536 };
  fixture_t* f = *state;
  nt_id_t id = start_open(f, NULL);
  char reason[130];
  size_t i;

  for (i = 0; i < COUNT(bad); i++)
    assert_int_equal(nt_websocket_close(f->net, id, bad[i], ""), NT_E_INVALID);
  memset(reason, 'r', sizeof(reason));
  reason[124] = '\0';
  assert_int_equal(nt_websocket_close(f->net, id, 1000, reason), NT_E_INVALID);
  assert_int_equal(nt_websocket_close(f->net, id, 1000, "\xff"), NT_E_INVALID);
  reason[123] = '\0';
  assert_int_equal(nt_websocket_close(f->net, id, 1000, reason), 0);
  assert_int_equal(nt_websocket_close(f->net, id, 1000, ""), NT_E_NOT_OPEN);
  expect_end(f, id, 0, 1000, reason);
  expect_close_frame(f, 1000, reason);
  assert_int_equal(nt_websocket_close(f->net, id, 1000, ""), NT_E_NOT_OPEN);
}

static int try_send(fixture_t* f, nt_id_t id) {
  return nt_websocket_send(f->net, id, NT_MESSAGE_BINARY, "x", 1);
}

static void sends_only_while_open(void** state) {
  fixture_t* f = *state;
  nt_id_t id, request;

  assert_int_equal(nt_websocket_open(f->net, &id), 0);
  assert_int_equal(try_send(f, id), NT_E_NOT_OPEN);
  assert_int_equal(nt_websocket_close(f->net, id, 1000, ""), NT_E_NOT_OPEN);
  assert_int_equal(nt_websocket_buffered(f->net, id), 0);
  nt_abort(f->net, id);
  expect_end(f, id, NT_E_ABORTED, 0, NULL);
  id = start(f, NULL);
  assert_int_equal(try_send(f, id), NT_E_NOT_OPEN);
  expect_open(f, id, 0);
  assert_int_equal(nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, "\xc3", 1),
                   NT_E_WS_TEXT);
  send_text(f, id, "a");
  expect_text(f, id, "a");
  assert_int_equal(nt_websocket_close(f->net, id, 1000, ""), 0);
  assert_int_equal(try_send(f, id), NT_E_NOT_OPEN);
  expect_end(f, id, 0, 1000, "");
  assert_int_equal(try_send(f, id), NT_E_NOT_OPEN);
  nt_websocket_report(f->net, id);
  assert_int_equal(nt_websocket_buffered(f->net, id), 0);
  /* The id of another kind of task is that of no socket. */
  request = host_open(f->host);
  assert_int_equal(try_send(f, request), NT_E_NOT_OPEN);
  nt_abort(f->net, request);
  expect_end(f, request, NT_E_ABORTED, 0, NULL);
}

static void play_hold(peer_t* peer) {
  if (connection_hold(peer->connection))
    play_echo(peer);
}

static void closes_while_connecting(void** state) {
  fixture_t* f = *state;
  nt_event_t ev;
  nt_id_t id;

  peers_play(f, play_hold);
  id = start(f, NULL);
  peers_wait(f, &f->peers->asked, 1);
  assert_int_equal(nt_websocket_close(f->net, id, 3000, "enough"), 0);
  expect_event(f, id, NT_EV_END, &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.opened, 0);
  assert_int_equal(ev.code, 3000);
  assert_string_equal(ev.reason, "enough");
  /* Before anything was done. */
  id = start(f, NULL);
  assert_int_equal(nt_websocket_close(f->net, id, 1000, NULL), 0);
  expect_end(f, id, 0, 1000, "");
}

/* ---- Starting ----------------------------------------------------------- */

static const struct {
  const char* url;
  const char* base;
  const char* protocol;
  const char* second;
  const char* proxy;
  const char* header;
  const char* value;
  double jitter;
  int error;
} starts[] = {
  { NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_INVALID },
  { "http://a/", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_SCHEME },
  { "HTTPS://a/", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_SCHEME },
  { " http://a/", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_SCHEME },
  { "  https://a/", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_SCHEME },
  { "\thttp://a/", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_URL },
  { "http://a/", "ws://a/", NULL, NULL, NULL, NULL, NULL, 0, NT_E_SCHEME },
  { "ftp://a/", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_SCHEME },
  { "a", "ftp://a/", NULL, NULL, NULL, NULL, NULL, 0, NT_E_SCHEME },
  { "ws://", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_URL },
  { "", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_URL },
  { "a", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_URL },
  { "ws://a:99999/", NULL, NULL, NULL, NULL, NULL, NULL, 0, NT_E_URL },
  { "ws://a/", NULL, "", NULL, NULL, NULL, NULL, 0, NT_E_INVALID },
  { "ws://a/", NULL, "a b", NULL, NULL, NULL, NULL, 0, NT_E_INVALID },
  { "ws://a/", NULL, "a", "a", NULL, NULL, NULL, 0, NT_E_INVALID },
  { "ws://a/", NULL, NULL, NULL, "http://", NULL, NULL, 0, NT_E_INVALID },
  { "ws://a/", NULL, NULL, NULL, "a:1", NULL, NULL, 0, NT_E_INVALID },
  { "ws://a/", NULL, NULL, NULL, NULL, "a b", "c", 0, NT_E_HEADER },
  { "ws://a/", NULL, NULL, NULL, NULL, "a", "b\r\nc: d", 0, NT_E_HEADER },
  { "ws://a/", NULL, NULL, NULL, NULL, NULL, NULL, -0.1, NT_E_INVALID },
  { "ws://a/", NULL, NULL, NULL, NULL, NULL, NULL, 1.1, NT_E_INVALID },
};

static void refuses_to_start(void** state) {
  fixture_t* f = *state;
  nt_id_t id;
  size_t i;

  assert_int_equal(nt_websocket_open(f->net, &id), 0);
  for (i = 0; i < COUNT(starts); i++) {
    const char* protocols[2] = { starts[i].protocol, starts[i].second };
    nt_header_t header = { starts[i].header, starts[i].value };
    nt_websocket_options_t options;
    int err;

    nt_websocket_options_init(&options);
    options.url = starts[i].url;
    options.base_url = starts[i].base;
    options.protocols = protocols;
    options.protocol_count = (protocols[0] != NULL) + (protocols[1] != NULL);
    options.proxy = starts[i].proxy;
    options.headers = &header;
    options.header_count = header.name != NULL;
    options.reconnect.jitter = starts[i].jitter;
    err = nt_websocket_start(f->net, id, &options);
    if (err != starts[i].error)
      fail_msg("row %zu: %s", i, nt_error_name(err));
    assert_int_equal(nt_state(f->net, id), NT_STATE_IDLE);
  }
  assert_int_equal(nt_websocket_start(f->net, id, NULL), NT_E_INVALID);
  nt_abort(f->net, id);
  expect_end(f, id, NT_E_ABORTED, 0, NULL);
}

static void starts_once(void** state) {
  fixture_t* f = *state;
  nt_websocket_options_t options;
  nt_id_t id = start_open(f, NULL);

  nt_websocket_options_init(&options);
  options.url = "ws://127.0.0.1/";
  assert_int_equal(nt_websocket_start(f->net, id, &options), NT_E_STATE);
  close_and_end(f, id);
  assert_int_equal(nt_websocket_start(f->net, id, &options), NT_E_CLOSED);
}

static void strict(nt_policy_t* policy) {
  policy->flags = NT_POLICY_REQUIRE_SECURE | NT_POLICY_NO_URL_PORT;
  policy->url_max_bytes = 20;
}

static void obeys_the_policy(void** state) {
  static const struct {
    const char* url;
    int error;
  } urls[] = {
    { "ws://a/", NT_E_SCHEME },
    { "wss://a:444/", NT_E_PORT },
    { "wss://a/12345678901234567890", NT_E_URL_TOO_LONG },
  };
  fixture_t* f = *state;
  nt_websocket_options_t options;
  nt_id_t id;
  size_t i;

  host_policy(f->host, strict);
  nt_websocket_options_init(&options);
  assert_int_equal(nt_websocket_open(f->net, &id), 0);
  for (i = 0; i < COUNT(urls); i++) {
    options.url = urls[i].url;
    assert_int_equal(nt_websocket_start(f->net, id, &options), urls[i].error);
  }
  nt_abort(f->net, id);
  expect_end(f, id, NT_E_ABORTED, 0, NULL);
}

/* ---- Many --------------------------------------------------------------- */

static int start_error(fixture_t* f, nt_id_t* id) {
  nt_websocket_options_t options;
  char url[64];

  nt_websocket_options_init(&options);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", f->host->server->port);
  options.url = url;
  assert_int_equal(nt_websocket_open(f->net, id), 0);
  return nt_websocket_start(f->net, *id, &options);
}

/* Five at once; one that was told to end leaves its place to another. */
static void limits_sockets(void** state) {
  fixture_t* f = *state;
  nt_id_t ids[5], sixth;
  nt_event_t ev;
  int i;

  for (i = 0; i < 5; i++)
    ids[i] = start_open(f, NULL);
  assert_int_equal(start_error(f, &sixth), NT_E_LIMIT);
  nt_fail(f->net, sixth, NT_E_LIMIT, NULL);
  expect_end(f, sixth, NT_E_LIMIT, 0, NULL);

  assert_int_equal(nt_websocket_close(f->net, ids[0], 1000, ""), 0);
  nt_abort(f->net, ids[0]); /* gives its place up once */
  expect_end(f, ids[0], NT_E_ABORTED, 0, NULL);
  assert_int_equal(start_error(f, &ids[0]), 0);
  expect_open(f, ids[0], 0);
  assert_int_equal(start_error(f, &sixth), NT_E_LIMIT);
  nt_abort(f->net, sixth);
  expect_end(f, sixth, NT_E_ABORTED, 0, NULL);

  /* The same after an abort, at once. */
  for (i = 0; i < 50; i++) {
    nt_abort(f->net, ids[1]);
    expect_event(f, ids[1], NT_EV_END, &ev);
    assert_int_equal(ev.error, NT_E_ABORTED);
    assert_int_equal(start_error(f, &ids[1]), 0);
  }
  expect_open(f, ids[1], 0);
  assert_int_equal(start_error(f, &sixth), NT_E_LIMIT);
}

static void unlimited(nt_policy_t* policy) {
  policy->max_sockets = 0;
}

static void many_sockets(void** state) {
  fixture_t* f = *state;
  nt_id_t ids[SOCKETS];
  int texts[SOCKETS] = { 0 };
  int ended = 0, i;
  nt_event_t ev;

  host_policy(f->host, unlimited);
  for (i = 0; i < SOCKETS; i++)
    ids[i] = start(f, NULL);
  while (ended < SOCKETS) {
    host_next(f->host, &ev);
    i = (int) (ev.id - ids[0]);
    assert_true(i >= 0 && i < SOCKETS);
    if (ev.type == NT_EV_OPEN) {
      send_text(f, ev.id, "one");
    } else if (ev.type == NT_EV_MESSAGE && texts[i]++ == 0) {
      send_text(f, ev.id, "two");
    } else if (ev.type == NT_EV_MESSAGE) {
      assert_int_equal(nt_websocket_close(f->net, ev.id, 4000, "done"), 0);
    } else {
      assert_int_equal(ev.type, NT_EV_END);
      assert_int_equal(ev.code, 4000);
      assert_int_equal(texts[i], 2);
      ended++;
    }
  }
}

static void beside_requests(void** state) {
  fixture_t* f = *state;
  server_t* server = server_start();
  nt_request_options_t options;
  nt_id_t id = start_open(f, NULL), request;
  char url[64];
  nt_event_t ev;

  snprintf(url, sizeof(url), "http://127.0.0.1:%d/hello", server->port);
  nt_request_options_init(&options);
  options.url = url;
  assert_int_equal(nt_request_open(f->net, &request), 0);
  assert_int_equal(nt_request_start(f->net, request, &options), 0);
  host_end(f->host, request, &ev);
  assert_int_equal(ev.status, 200);
  send_text(f, id, "still here");
  expect_text(f, id, "still here");
  close_and_end(f, id);
  server_stop(server);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    PEER_TEST(opens),
    PEER_TEST(resolves_against_a_base),
    PEER_TEST(frames_follow_the_answer),
    PEER_TEST(echoes_any_size),
    PEER_TEST(joins_fragments),
    PEER_TEST(many_tiny_messages),
    PEER_TEST(sends_in_order),
    PEER_TEST(without_caps),
    PEER_TEST(deflates),
    PEER_TEST(says_when_the_queue_is_empty),
    PEER_TEST(refuses_what_never_fits),
    PEER_TEST(counts_what_was_sent),
    PEER_TEST(reports_late),
    PEER_TEST(close_comes_behind_messages),
    PEER_TEST(the_server_closes),
    PEER_TEST(checks_code_and_reason),
    PEER_TEST(sends_only_while_open),
    PEER_TEST(closes_while_connecting),
    PEER_TEST(refuses_to_start),
    PEER_TEST(starts_once),
    PEER_TEST(obeys_the_policy),
    PEER_TEST(limits_sockets),
    PEER_TEST(many_sockets),
    PEER_TEST(beside_requests),
  };

  return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
