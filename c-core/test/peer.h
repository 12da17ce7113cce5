/* The other side of a WebSocket: what a connection of the test server does is a
 * function of the test, which speaks frames with these. All that came is noted,
 * for the test to look at. Server threads but for the last part. */
#ifndef NT_TEST_PEER_H
#define NT_TEST_PEER_H

#include "host.h"
#include "ws_frame.h"
#include "ws_handshake.h"

enum {
  PEER_FIN = 0x80,
  PEER_RSV1 = 0x40,
  PEER_TEXT = PEER_FIN | NT__WS_TEXT,
  PEER_BINARY = PEER_FIN | NT__WS_BINARY,
  PEER_CLOSE = PEER_FIN | NT__WS_CLOSE,
  PEER_PING = PEER_FIN | NT__WS_PING,
  PEER_PONG = PEER_FIN | NT__WS_PONG,
  PEER_NOTED = 64 /* connections whose time is noted */
};

typedef struct peers peers_t;

/* One connection. */
typedef struct peer {
  connection_t* connection;
  peers_t* peers;
  unsigned number; /* from 1, as they came */
  char path[64];
  size_t used; /* of the bytes in connection->request */

  unsigned first; /* of the frame that was read: its first byte, */
  char* data;     /* and its payload, with a NUL behind */
  size_t size;
} peer_t;

/* Guarded by the mutex of the server. */
struct peers {
  server_t* server;
  void (*play)(peer_t* peer);
  char head[8192];         /* of the last request */
  unsigned asked;          /* handshakes that came */
  uint64_t at[PEER_NOTED]; /* when, as uv_hrtime() */
  unsigned ended;          /* connections of which nothing came any more */
  unsigned frames[16];     /* that came, by opcode */
  unsigned unmasked;       /* of them */
  uint64_t bytes;          /* of messages */
  int code;                /* of the last close frame; 0: it had none */
  char text[128];          /* the payload of the last frame, or its reason */
};

/* ---- Bytes -------------------------------------------------------------- */

/* False at the end of the connection. */
static inline bool peer_take(peer_t* peer, void* out, size_t size) {
  connection_t* c = peer->connection;
  size_t had = c->size - peer->used;
  char* place = out;

  if (had > size)
    had = size;
  if (had > 0)
    memcpy(place, c->request + peer->used, had);
  peer->used += had;
  for (size -= had, place += had; size > 0;) {
    ssize_t n = recv(c->fd, place, size, 0);

    if (n <= 0)
      return false;
    place += n;
    size -= (size_t) n;
  }
  return true;
}

/* Reads the head of the request; what follows stays in connection->request. */
static inline bool peer_read_head(peer_t* peer) {
  connection_t* c = peer->connection;
  char* end = NULL;

  while (end == NULL) {
    ssize_t n =
        recv(c->fd, c->request + c->size, SERVER_MAX_REQUEST - c->size, 0);

    if (n <= 0)
      return false;
    c->size += (size_t) n;
    c->request[c->size] = '\0';
    end = strstr(c->request, "\r\n\r\n");
  }
  peer->used = (size_t) (end + 4 - c->request);
  return sscanf(c->request, "GET %63s", peer->path) == 1;
}

static inline bool peer_send(peer_t* peer, const void* data, size_t size) {
  return connection_send(peer->connection, data, size, true);
}

/* ---- The handshake ------------------------------------------------------ */

/* The right answer, with more fields, into `out`. */
static inline void peer_answer(const peer_t* peer, const char* fields,
                               char* out, size_t size) {
  static const char field[] = "\r\nSec-WebSocket-Key: ";
  const char* key = strstr(peer->connection->request, field);
  char accept[NT__WS_ACCEPT_SIZE + 1] = "";

  if (key != NULL)
    nt__ws_accept_of(key + sizeof(field) - 1, accept);
  snprintf(out, size,
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
           accept, fields);
}

static inline bool peer_accept_with(peer_t* peer, const char* fields) {
  char answer[1024];

  peer_answer(peer, fields, answer, sizeof(answer));
  return connection_send_text(peer->connection, answer);
}

static inline bool peer_accept(peer_t* peer) {
  return peer_accept_with(peer, "");
}

/* ---- Frames ------------------------------------------------------------- */

static inline size_t peer_header(unsigned char* out, unsigned first,
                                 uint64_t size) {
  size_t extended = size < 126 ? 0 : size < 65536 ? 2 : 8;
  size_t i;

  out[0] = (unsigned char) first;
  out[1] = (unsigned char) (extended == 0 ? size : extended == 2 ? 126 : 127);
  for (i = 0; i < extended; i++)
    out[2 + i] = (unsigned char) (size >> 8 * (extended - 1 - i));
  return 2 + extended;
}

static inline bool peer_frame(peer_t* peer, unsigned first, const void* data,
                              size_t size) {
  unsigned char header[10];
  size_t header_size = peer_header(header, first, size);

  return peer_send(peer, header, header_size) && peer_send(peer, data, size);
}

static inline bool peer_text(peer_t* peer, const char* text) {
  return peer_frame(peer, PEER_TEXT, text, strlen(text));
}

static inline bool peer_close(peer_t* peer, int code, const char* reason) {
  char data[128];
  int n = snprintf(data + 2, sizeof(data) - 2, "%s", reason);

  data[0] = (char) (code >> 8);
  data[1] = (char) code;
  return peer_frame(peer, PEER_CLOSE, data, 2 + (size_t) n);
}

static inline void peer_note(const peer_t* peer, bool masked) {
  peers_t* peers = peer->peers;
  bool is_close = peer->first == PEER_CLOSE;
  const unsigned char* data = (const unsigned char*) peer->data;

  pthread_mutex_lock(&peers->server->mutex);
  peers->frames[peer->first & 0xf]++;
  peers->unmasked += !masked;
  if (!(peer->first & 0x8))
    peers->bytes += peer->size;
  if (is_close)
    peers->code = peer->size < 2 ? 0 : data[0] << 8 | data[1];
  snprintf(peers->text, sizeof(peers->text), "%s",
           is_close && peer->size >= 2 ? peer->data + 2 : peer->data);
  pthread_cond_broadcast(&peers->server->changed);
  pthread_mutex_unlock(&peers->server->mutex);
}

/* The next frame; false when there is no more. */
static inline bool peer_read(peer_t* peer) {
  unsigned char header[2], mask[4] = { 0 }, more[8];
  bool masked;
  size_t i;

  if (!peer_take(peer, header, 2))
    return false;
  masked = (header[1] & 0x80) != 0;
  peer->first = header[0];
  peer->size = header[1] & 0x7f;
  if (peer->size >= 126) {
    size_t extended = peer->size == 126 ? 2 : 8;

    if (!peer_take(peer, more, extended))
      return false;
    for (peer->size = 0, i = 0; i < extended; i++)
      peer->size = peer->size << 8 | more[i];
  }
  if (masked && !peer_take(peer, mask, 4))
    return false;
  free(peer->data);
  peer->data = malloc(peer->size + 1);
  if (!peer_take(peer, peer->data, peer->size))
    return false;
  peer->data[peer->size] = '\0';
  nt__ws_mask(peer->data, peer->size, mask, 0);
  peer_note(peer, masked);
  return true;
}

/* Reads all that comes. */
static inline void peer_drain(peer_t* peer) {
  while (peer_read(peer))
    ;
}

/* ---- What a connection may do ------------------------------------------- */

/* Messages come back; a close is answered. */
static inline void peer_echo(peer_t* peer) {
  while (peer_read(peer)) {
    if ((peer->first & 0xf) == NT__WS_PING)
      peer_frame(peer, PEER_PONG, peer->data, peer->size);
    else if (peer->first != PEER_PONG &&
             !peer_frame(peer, peer->first, peer->data, peer->size))
      return;
    if (peer->first == PEER_CLOSE)
      return;
  }
}

static inline void play_echo(peer_t* peer) {
  if (peer_accept(peer))
    peer_echo(peer);
}

/* Reads until a close comes, and answers that alone. */
static inline void peer_listen(peer_t* peer) {
  while (peer_read(peer))
    if (peer->first == PEER_CLOSE) {
      peer_frame(peer, PEER_CLOSE, peer->data, peer->size);
      return;
    }
}

static inline void play_listen(peer_t* peer) {
  if (peer_accept(peer))
    peer_listen(peer);
}

/* The handshake is never answered. */
static inline void play_silence(peer_t* peer) {
  peer_drain(peer);
}

/* The connection ends without a close frame, as the kernel would if the process
 * had died: a reset. */
static inline void peer_reset(peer_t* peer) {
  struct sockaddr none = { .sa_family = AF_UNSPEC };

  connect(peer->connection->fd, &none, sizeof(none));
}

static inline void peer_begin(peer_t* peer) {
  peers_t* peers = peer->peers;

  pthread_mutex_lock(&peers->server->mutex);
  snprintf(peers->head, sizeof(peers->head), "%.*s", (int) peer->used,
           peer->connection->request);
  if (peers->asked < PEER_NOTED)
    peers->at[peers->asked] = uv_hrtime();
  peer->number = ++peers->asked;
  pthread_cond_broadcast(&peers->server->changed);
  pthread_mutex_unlock(&peers->server->mutex);
}

static inline void peer_serve(connection_t* c, void* arg) {
  peer_t peer = { .connection = c, .peers = arg };
  void (*play)(peer_t*);

  if (!peer_read_head(&peer))
    return;
  peer_begin(&peer);
  pthread_mutex_lock(&c->server->mutex);
  play = peer.peers->play;
  pthread_mutex_unlock(&c->server->mutex);
  play(&peer);
  free(peer.data);
  pthread_mutex_lock(&c->server->mutex);
  peer.peers->ended++;
  pthread_cond_broadcast(&c->server->changed);
  pthread_mutex_unlock(&c->server->mutex);
}

/* ---- The test's side ---------------------------------------------------- */

typedef struct fixture {
  host_t* host;
  peers_t* peers;
  nt_context_t* net; /* of the host */
} fixture_t;

static inline int peers_set_up(void** state) {
  fixture_t* f = calloc(1, sizeof(*f));
  void* host;

  if (host_set_up(&host) != 0)
    return -1;
  f->host = host;
  f->net = f->host->net;
  f->peers = calloc(1, sizeof(*f->peers));
  f->peers->server = f->host->server;
  f->peers->play = play_echo;
  pthread_mutex_lock(&f->host->server->mutex);
  f->host->server->serve = peer_serve;
  f->host->server->serve_arg = f->peers;
  pthread_mutex_unlock(&f->host->server->mutex);
  *state = f;
  return 0;
}

static inline int peers_tear_down(void** state) {
  fixture_t* f = *state;
  void* host = f->host;
  int err = host_tear_down(&host);

  if (f->peers->unmasked > 0)
    err = -1;
  free(f->peers);
  free(f);
  return err;
}

#define PEER_TEST(name)                                                        \
  cmocka_unit_test_setup_teardown(name, peers_set_up, peers_tear_down)

static inline void peers_play(fixture_t* f, void (*play)(peer_t*)) {
  pthread_mutex_lock(&f->host->server->mutex);
  f->peers->play = play;
  pthread_mutex_unlock(&f->host->server->mutex);
}

static inline void peers_wait(fixture_t* f, const unsigned* counter,
                              unsigned value) {
  assert_true(server_wait(f->host->server, counter, value, PATIENCE_MS));
}

/* Lets the peer go on that is held, once it is: a handshake is answered before
 * its connection is held. */
static inline void peers_release(fixture_t* f) {
  peers_wait(f, &f->host->server->holding, 1);
  server_release(f->host->server);
}

static inline unsigned peers_count(fixture_t* f, const unsigned* counter) {
  unsigned count;

  pthread_mutex_lock(&f->host->server->mutex);
  count = *counter;
  pthread_mutex_unlock(&f->host->server->mutex);
  return count;
}

/* The last request had these words in its head. */
static inline bool peers_saw(fixture_t* f, const char* words) {
  bool saw;

  pthread_mutex_lock(&f->host->server->mutex);
  saw = strstr(f->peers->head, words) != NULL;
  pthread_mutex_unlock(&f->host->server->mutex);
  return saw;
}

/* The server got one close frame, with this code and reason. */
static inline void expect_close_frame(fixture_t* f, int code,
                                      const char* reason) {
  peers_t seen;

  peers_wait(f, &f->peers->frames[NT__WS_CLOSE], 1);
  peers_wait(f, &f->peers->ended, 1);
  pthread_mutex_lock(&f->host->server->mutex);
  seen = *f->peers;
  pthread_mutex_unlock(&f->host->server->mutex);
  assert_int_equal(seen.frames[NT__WS_CLOSE], 1);
  assert_int_equal(seen.code, code);
  if (reason != NULL)
    assert_string_equal(seen.text, reason);
}

static inline nt_id_t start_path(fixture_t* f, const char* path,
                                 const nt_websocket_options_t* options) {
  nt_websocket_options_t own;
  nt_id_t id = 0;
  char url[256];

  if (options != NULL)
    own = *options;
  else
    nt_websocket_options_init(&own);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d%s", f->host->server->port,
           path);
  own.url = url;
  assert_int_equal(nt_websocket_open(f->net, &id), 0);
  assert_int_equal(nt_websocket_start(f->net, id, &own), 0);
  return id;
}

static inline nt_id_t start(fixture_t* f,
                            const nt_websocket_options_t* options) {
  return start_path(f, "/", options);
}

/* The next event but for records of refusals, which is this one. */
static inline void expect_event(fixture_t* f, nt_id_t id, int type,
                                nt_event_t* ev) {
  do
    host_next(f->host, ev);
  while (ev->type == NT_EV_REFUSED && type != NT_EV_REFUSED);
  assert_true(ev->id == id);
  if ((int) ev->type != type)
    fail_msg("event %d instead of %d (%s: %s, %d %s)", ev->type, type,
             nt_error_name(ev->error), ev->message, ev->code,
             ev->reason == NULL ? "" : ev->reason);
}

static inline void expect_open(fixture_t* f, nt_id_t id, uint32_t attempt) {
  nt_event_t ev;

  expect_event(f, id, NT_EV_OPEN, &ev);
  assert_int_equal(ev.attempt, attempt);
}

static inline nt_id_t start_open(fixture_t* f,
                                 const nt_websocket_options_t* options) {
  nt_id_t id = start(f, options);

  expect_open(f, id, 0);
  return id;
}

static inline void expect_message(fixture_t* f, nt_id_t id, const void* data,
                                  size_t size, int binary) {
  nt_event_t ev;

  expect_event(f, id, NT_EV_MESSAGE, &ev);
  assert_int_equal(ev.size, size);
  assert_int_equal(ev.binary, binary);
  if (memcmp(ev.data, data, size) != 0)
    fail_msg("a message of %zu bytes differs", size);
  assert_int_equal(((const char*) ev.data)[size], '\0');
}

static inline void expect_text(fixture_t* f, nt_id_t id, const char* text) {
  expect_message(f, id, text, strlen(text), 0);
}

/* The last event, and no other behind it. */
static inline void expect_end(fixture_t* f, nt_id_t id, int error, int code,
                              const char* reason) {
  nt_event_t ev;

  expect_event(f, id, NT_EV_END, &ev);
  if (ev.error != error || ev.code != code)
    fail_msg("%s (%s) %d instead of %s %d", nt_error_name(ev.error), ev.message,
             ev.code, nt_error_name(error), code);
  if (reason != NULL)
    assert_string_equal(ev.reason, reason);
  assert_int_equal(nt_state(f->net, id), NT_STATE_DONE);
  assert_int_equal(nt_poll(f->net, &ev), 0);
}

static inline void send_text(fixture_t* f, nt_id_t id, const char* text) {
  assert_int_equal(
      nt_websocket_send(f->net, id, NT_MESSAGE_TEXT, text, strlen(text)), 0);
}

static inline void close_and_end(fixture_t* f, nt_id_t id) {
  assert_int_equal(nt_websocket_close(f->net, id, 1000, "bye"), 0);
  expect_end(f, id, 0, 1000, "bye");
}

#endif
