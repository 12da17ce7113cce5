/* request.c and transfer.c against a server in this process: what is sent, what
 * comes back and in which order, back-pressure, abort in every state, limits,
 * time-outs, and servers that misbehave. */
#include "host.h"

enum {
  STREAM_BYTES = 32 << 20,
  SMALL_MARK = 64 << 10,
  CHUNK_MAX = SERVER_BLOCK, /* libcurl hands out no more at once */
  /* What lies in libcurl and the kernel. The kernel's buffers grow only with
   * what is read out of them, so they stay far below their limit. */
  BUFFERS_MAX = 12 << 20
};

/* ---- Exchange ----------------------------------------------------------- */

static void assert_fields(const nt_headers_t* headers, const char* expected) {
  char text[256] = "";
  size_t cursor = 0;
  const char* name;
  const char* value;

  while (nt_headers_next(headers, &cursor, &name, &value)) {
    size_t used = strlen(text);

    snprintf(text + used, sizeof(text) - used, "%s=%s;", name, value);
  }
  assert_string_equal(text, expected);
}

static void headers_then_end(void** state) {
  static const char fields[] = "X-One=1;x-two=;X-One=3;Content-Length=5;";
  host_t* host = *state;
  nt_id_t id = host_get(host, "/hello");
  nt_event_t ev;
  char url[64];

  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  assert_true(ev.id == id);
  assert_int_equal(ev.status, 200);
  assert_fields(&ev.headers, fields);
  assert_string_equal(ev.url, host_url(host, "/hello", url, sizeof(url)));

  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_END);
  assert_true(ev.id == id);
  assert_int_equal(ev.error, 0);
  assert_string_equal(ev.message, "");
  assert_int_equal(ev.status, 200);
  assert_fields(&ev.headers, fields);
  assert_string_equal(ev.url, url);
  assert_int_equal(ev.redirects, 0);
  assert_int_equal(ev.size, 5);
  assert_string_equal(ev.data, "hello"); /* NUL-terminated */
  assert_null(ev.profile);
  assert_int_equal(nt_poll(host->net, &ev), 0);
}

static void sends_what_it_was_given(void** state) {
  static const nt_header_t headers[] = { { "X-First", "1" },
                                         { "x-empty", "" },
                                         { "X-Again", "a" },
                                         { "X-Again", "b" } };
  host_t* host = *state;
  nt_request_options_t options;
  nt_event_t ev;
  const char* text;

  nt_request_options_init(&options);
  options.method = "PUT";
  options.headers = headers;
  options.header_count = COUNT(headers);
  options.body = "a\0b";
  options.body_size = 3;
  host_end(host, host_start(host, "/echo", &options), &ev);
  assert_int_equal(ev.error, 0);
  text = ev.data;
  assert_memory_equal(text, "PUT /echo HTTP/1.1\r\n", 20);
  assert_non_null(strstr(
      text, "\r\nX-First: 1\r\nx-empty:\r\nX-Again: a\r\nX-Again: b\r\n"));
  assert_non_null(strstr(text, "\r\nUser-Agent: nettask/" NT_VERSION "\r\n"));
  assert_non_null(strstr(text, "\r\nContent-Length: 3\r\n"));
  assert_null(strstr(text, "Content-Type"));
  assert_null(strstr(text, "Expect"));
  assert_memory_equal(text + ev.size - 7, "\r\n\r\na\0b", 7);
}

/* Each method with a body and without: what the request line and the length
 * are. */
static const struct {
  const char* method;
  const char* body;
  const char* length; /* NULL: there is none */
} methods[] = {
  { "GET", "", NULL },    { "GET", "x", "1" },    { "POST", "", "0" },
  { "POST", "xy", "2" },  { "PUT", "", "0" },     { "PATCH", "", "0" },
  { "DELETE", "", NULL }, { "DELETE", "x", "1" }, { "OPTIONS", "", NULL },
  { "TRACE", "", NULL },  { "QUERY", "x", "1" },  { "x-y!", "", NULL },
};

static void methods_and_lengths(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_event_t ev;
  char line[64];
  size_t i;

  for (i = 0; i < COUNT(methods); i++) {
    nt_request_options_init(&options);
    options.method = methods[i].method;
    options.body = methods[i].body;
    options.body_size = strlen(methods[i].body);
    host_end(host, host_start(host, "/echo", &options), &ev);
    assert_int_equal(ev.error, 0);
    snprintf(line, sizeof(line), "%s /echo HTTP/1.1\r\n", methods[i].method);
    assert_memory_equal(ev.data, line, strlen(line));
    if (methods[i].length == NULL) {
      assert_null(strstr(ev.data, "Content-Length"));
    } else {
      snprintf(line, sizeof(line), "\r\nContent-Length: %s\r\n",
               methods[i].length);
      assert_non_null(strstr(ev.data, line));
    }
  }
}

static void head_has_no_body(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_event_t ev;

  nt_request_options_init(&options);
  options.method = "HEAD";
  host_end(host, host_start(host, "/hello", &options), &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.status, 200);
  assert_int_equal(ev.size, 0);
  assert_fields(&ev.headers, "X-Head=1;Content-Length=0;");
}

static void profile_tells_the_phases(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_event_t ev;
  int round;

  nt_request_options_init(&options);
  options.flags = NT_REQUEST_PROFILE;
  for (round = 0; round < 2; round++) {
    const nt_profile_t* p;

    host_end(host, host_start(host, "/redirect/1", &options), &ev);
    p = ev.profile;
    assert_non_null(p);
    assert_true(p->invoke_start > 1600000000000);
    assert_true(p->queue_start >= p->invoke_start);
    assert_true(p->queue_end >= p->queue_start);
    assert_true(p->redirect_end >= p->redirect_start);
    assert_true(p->fetch_start >= p->redirect_start);
    assert_true(p->request_start >= p->fetch_start);
    assert_true(p->request_end >= p->request_start);
    assert_true(p->response_start >= p->request_end);
    assert_true(p->response_end >= p->response_start);
    assert_int_equal(p->tls_start, 0);
    assert_int_equal(p->reused, 1); /* the second hop, in either round */
    assert_true(p->connect_start == p->fetch_start);
    assert_string_equal(p->protocol, "http/1.1");
    assert_string_equal(p->peer_ip, "127.0.0.1");
    assert_int_equal(p->peer_port, host->server->port);
    assert_true(p->bytes_sent > 2 * 30);
    assert_true(p->bytes_received > 2 * 30);
  }
}

/* What nt_request_start() refuses at once; the task stays idle. */
static void bad_options(void** state) {
  static const nt_header_t bad_name[] = { { "a b", "c" } };
  static const nt_header_t bad_value[] = { { "a", "b\r\nc: d" } };
  host_t* host = *state;
  nt_id_t id = host_open(host);
  nt_request_options_t o;
  char url[64];

  assert_int_equal(nt_request_start(host->net, id, NULL), NT_E_INVALID);
  nt_request_options_init(&o);
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_INVALID);
  o.url = "no url";
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_URL);
  o.url = host_url(host, "/hello", url, sizeof(url));
  o.method = "GET /x";
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_METHOD);
  o.method = NULL;
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_INVALID);
  o.method = "GET";
  o.header_count = 1;
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_INVALID);
  o.headers = bad_name;
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_HEADER);
  o.headers = bad_value;
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_HEADER);
  o.header_count = 0;
  o.body_size = 1;
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_INVALID);
  o.body_size = 0;
  assert_int_equal(nt_state(host->net, id), NT_STATE_IDLE);
  assert_int_equal(nt_request_start(host->net, id, &o), 0);
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_STATE);
  host_expect(host, id, 0);
  assert_int_equal(nt_request_start(host->net, id, &o), NT_E_CLOSED);
  assert_int_equal(server_requests(host->server), 1);
}

/* ---- Streams ------------------------------------------------------------ */

static void small_mark(nt_policy_t* policy) {
  policy->task_high_water = SMALL_MARK;
  policy->response_max_bytes = 1000; /* does not count for a stream */
}

/* Checks that the bytes go on where those before ended. */
static void check_bytes(const nt_event_t* ev, uint64_t* offset) {
  assert_in_range(ev->size, 1, CHUNK_MAX);
  assert_memory_equal(ev->data, server_bytes(*offset), ev->size);
  *offset += ev->size;
}

/* HEADERS, then chunks with `size` bytes in all, then END. */
static void receive_stream(host_t* host, nt_id_t id, uint64_t size) {
  uint64_t offset = 0;
  nt_event_t ev;

  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  for (;;) {
    host_next(host, &ev);
    assert_true(ev.id == id);
    if (ev.type == NT_EV_END)
      break;
    assert_int_equal(ev.type, NT_EV_CHUNK);
    assert_int_equal(((const char*) ev.data)[ev.size], '\0');
    check_bytes(&ev, &offset);
  }
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.size, 0);
  assert_true(offset == size);
}

static void streams_in_order(void** state) {
  host_t* host = *state;

  receive_stream(host, host_stream(host, "/stream/3000000"), 3000000);
  receive_stream(host, host_stream(host, "/chunked/3000000"), 3000000);
  receive_stream(host, host_stream(host, "/stream/0"), 0);
}

/* The host does not poll: the server can send no more than the mark and what
 * the buffers on the way hold. Then the host polls, and nothing is missing. */
static void stream_is_held_back(void** state) {
  host_t* host = *state;
  uint64_t bound = SMALL_MARK + BUFFERS_MAX;
  nt_stats_t stats;
  nt_id_t id;

  host_policy(host, small_mark);
  id = host_stream(host, "/stream/33554432");
  assert_true(
      server_wait(host->server, &host->server->blocked, 2, PATIENCE_MS));
  assert_true(server_sent(host->server) < bound);
  nt_collect(host->net);
  nt_stats(host->net, &stats);
  assert_in_range(stats.waiting_bytes, SMALL_MARK,
                  SMALL_MARK + CHUNK_MAX + 1024);
  receive_stream(host, id, STREAM_BYTES);
  assert_true(server_sent(host->server) == STREAM_BYTES);
}

static void context_mark(nt_policy_t* policy) {
  policy->task_high_water = SMALL_MARK;
  policy->context_high_water = 2 * SMALL_MARK;
}

/* Four streams share the mark of the context, which is that of two. */
static void context_mark_holds_all(void** state) {
  host_t* host = *state;
  nt_id_t ids[4];
  nt_stats_t stats;
  nt_event_t ev;
  uint64_t offsets[4] = { 0 };
  unsigned ended = 0;
  size_t i;

  host_policy(host, context_mark);
  for (i = 0; i < 4; i++)
    ids[i] = host_stream(host, "/stream/8388608");
  assert_true(
      server_wait(host->server, &host->server->blocked, 8, PATIENCE_MS));
  nt_collect(host->net);
  nt_stats(host->net, &stats);
  assert_in_range(stats.waiting_bytes, 2 * SMALL_MARK,
                  2 * SMALL_MARK + CHUNK_MAX + 1024);
  while (ended < 4) {
    host_next(host, &ev);
    i = (size_t) (ev.id - ids[0]);
    assert_in_range(i, 0, 3);
    if (ev.type == NT_EV_CHUNK)
      check_bytes(&ev, &offsets[i]);
    ended += ev.type == NT_EV_END;
  }
  for (i = 0; i < 4; i++)
    assert_true(offsets[i] == 8388608);
}

/* A held source has no time-outs: stall and total stand still. */
static void held_stream_does_not_time_out(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_id_t id;

  host_policy(host, small_mark);
  nt_request_options_init(&options);
  options.flags = NT_REQUEST_STREAM;
  options.timeouts.stall = 1500;
  options.timeouts.total = PATIENCE_MS;
  id = host_start(host, "/stream/33554432", &options);
  assert_true(
      server_wait(host->server, &host->server->blocked, 7, PATIENCE_MS));
  receive_stream(host, id, STREAM_BYTES);
}

/* ---- Abort in every state ----------------------------------------------- */

/* Aborts now: one END, then silence; and the context goes on. */
static void assert_abort(host_t* host, nt_id_t id) {
  nt_event_t ev;

  nt_abort(host->net, id);
  assert_int_equal(nt_state(host->net, id), NT_STATE_CLOSING);
  nt_abort(host->net, id); /* is ignored */
  host_next(host, &ev);
  assert_true(ev.id == id);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, NT_E_ABORTED);
  assert_string_equal(ev.message, nt_error_message(NT_E_ABORTED));
  assert_int_equal(ev.size, 0);
  assert_null(ev.profile);
  assert_int_equal(nt_state(host->net, id), NT_STATE_DONE);
  nt_abort(host->net, id); /* is harmless */
  host_still_works(host);
}

static void abort_idle(void** state) {
  host_t* host = *state;

  assert_abort(host, host_open(host));
}

static void one_request(nt_policy_t* policy) {
  policy->max_requests = 1;
}

static void abort_queued(void** state) {
  host_t* host = *state;
  nt_id_t first;
  nt_id_t second;

  host_policy(host, one_request);
  first = host_get(host, "/hold");
  second = host_get(host, "/never");
  host_reach(host, second, NT_STATE_QUEUED);
  nt_abort(host->net, second);
  host_expect(host, second, NT_E_ABORTED);
  server_release(host->server);
  assert_true(
      server_wait(host->server, &host->server->requests, 1, PATIENCE_MS));
  server_release(host->server); /* it may have held after the first release */
  nt_abort(host->net, first);
  host_expect(host, first, NT_E_ABORTED);
  host_still_works(host);
  assert_string_equal(host->server->order[1], "/hello");
}

/* A listener whose queue is full answers no more connections. */
typedef struct silent {
  int listener;
  int fillers[8];
  char url[64];
} silent_t;

static void silent_open(silent_t* silent) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  int port;
  size_t i;

  silent->listener = server_listen(0, &port);
  snprintf(silent->url, sizeof(silent->url), "http://127.0.0.1:%d/", port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons((uint16_t) port);
  for (i = 0; i < COUNT(silent->fillers); i++) {
    silent->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(silent->fillers[i], (struct sockaddr*) &address, sizeof(address));
  }
}

static void silent_close(silent_t* silent) {
  size_t i;

  for (i = 0; i < COUNT(silent->fillers); i++)
    close(silent->fillers[i]);
  close(silent->listener);
}

static nt_id_t silent_start(host_t* host, const silent_t* silent,
                            uint32_t connect_ms) {
  nt_id_t id = host_open(host);
  nt_request_options_t options;

  nt_request_options_init(&options);
  options.url = silent->url;
  options.timeouts.connect = connect_ms;
  assert_int_equal(nt_request_start(host->net, id, &options), 0);
  return id;
}

static void abort_before_connect(void** state) {
  host_t* host = *state;
  silent_t silent;
  nt_id_t id;

  silent_open(&silent);
  id = silent_start(host, &silent, PATIENCE_MS);
  host_still_works(host); /* it did not delay another */
  assert_int_equal(nt_state(host->net, id), NT_STATE_CONNECTING);
  assert_abort(host, id);
  silent_close(&silent);
}

static void connect_times_out(void** state) {
  host_t* host = *state;
  silent_t silent;
  nt_event_t ev;

  silent_open(&silent);
  host_end(host, silent_start(host, &silent, 50), &ev);
  assert_in_set(ev.error,
                ((unsigned long[]){ (unsigned long) NT_E_TIMEOUT,
                                    (unsigned long) NT_E_CONNECT_TIMEOUT }),
                2);
  silent_close(&silent);
}

/* The numbers of sockets that were given up come back at once, and those that
 * get them must not notice. */
static void connects_after_aborted_ones(void** state) {
  host_t* host = *state;
  silent_t silent;
  nt_event_t ev;
  nt_id_t ids[8];
  int round;
  size_t i;

  silent_open(&silent);
  for (round = 0; round < 3; round++) {
    for (i = 0; i < COUNT(ids); i++)
      ids[i] = silent_start(host, &silent, PATIENCE_MS);
    host_still_works(host);
    for (i = 0; i < COUNT(ids); i++)
      nt_abort(host->net, ids[i]);
    for (i = 0; i < COUNT(ids); i++)
      host_next(host, &ev);
    for (i = 0; i < COUNT(ids); i++)
      ids[i] = host_get(host, "/hold");
    assert_true(server_wait(host->server, &host->server->holding, COUNT(ids),
                            PATIENCE_MS));
    server_release(host->server);
    for (i = 0; i < 2 * COUNT(ids); i++) {
      host_next(host, &ev);
      assert_int_equal(ev.error, 0);
    }
  }
  silent_close(&silent);
}

static void abort_without_answer(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/hold");

  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  assert_int_equal(nt_state(host->net, id), NT_STATE_CONNECTING);
  assert_abort(host, id);
}

static void abort_with_headers_waiting(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/head-then-hold");

  host_reach(host, id, NT_STATE_OPEN);
  assert_int_equal(nt_waiting(host->net), 1);
  nt_abort(host->net, id);
  assert_int_equal(nt_waiting(host->net), 0);
  assert_abort(host, id);
}

static void abort_after_headers(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/head-then-hold");
  nt_event_t ev;

  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  assert_int_equal(nt_state(host->net, id), NT_STATE_OPEN);
  assert_abort(host, id);
}

static void abort_with_chunk_waiting(void** state) {
  host_t* host = *state;
  nt_id_t id = host_stream(host, "/part-then-hold");
  nt_event_t ev;

  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_HEADERS);
  assert_int_equal(nt_wait(host->net, PATIENCE_MS), 1);
  assert_int_equal(nt_collect(host->net), 1);
  assert_abort(host, id);
}

/* Its events have been delivered and those of the mark are on their way. */
static void abort_held_stream(void** state) {
  host_t* host = *state;
  nt_id_t id;
  nt_event_t ev;

  host_policy(host, small_mark);
  id = host_stream(host, "/stream/33554432");
  assert_true(
      server_wait(host->server, &host->server->blocked, 1, PATIENCE_MS));
  host_next(host, &ev);
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_CHUNK);
  assert_abort(host, id);
}

/* It has just succeeded, and that is dropped. */
static void abort_with_end_waiting(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/hello");

  host_reach(host, id, NT_STATE_CLOSING);
  assert_int_equal(nt_waiting(host->net), 2);
  assert_abort(host, id);
}

/* The END is on its way and has not been taken in. */
static void abort_with_end_in_the_mailbox(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/close");

  assert_int_equal(nt_wait(host->net, PATIENCE_MS), 1);
  assert_abort(host, id);
}

static void abort_after_end(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/hello");
  nt_event_t ev;

  host_end(host, id, &ev);
  nt_abort(host->net, id);
  assert_string_equal(ev.data, "hello"); /* still lent */
  assert_int_equal(nt_poll(host->net, &ev), 0);
  nt_abort(host->net, 0);
  nt_abort(host->net, id + 1000);
  assert_int_equal(nt_poll(host->net, &ev), 0);
}

/* At any moment: aborts as many requests as possible, each a little later. */
static void abort_at_any_moment(void** state) {
  host_t* host = *state;
  nt_event_t ev;
  unsigned ended = 0;
  unsigned i;

  for (i = 0; i < 200; i++) {
    nt_id_t id = host_get(host, i % 2 ? "/hello" : "/stream/100000");
    unsigned spins = i * 50;

    while (spins-- > 0)
      ended += nt_poll(host->net, &ev) && ev.type == NT_EV_END;
    nt_abort(host->net, id);
  }
  while (ended < 200) {
    host_next(host, &ev);
    assert_true(ev.error == 0 || ev.error == NT_E_ABORTED);
    ended += ev.type == NT_EV_END;
  }
  host_still_works(host);
}

static void fails_with_the_hosts_own_error(void** state) {
  host_t* host = *state;
  nt_id_t id = host_open(host);
  char message[] = "parameter error";
  nt_event_t ev;

  nt_fail(host->net, id, -1234, message);
  memset(message, 'x', sizeof(message) - 1); /* it was copied */
  nt_fail(host->net, id, -1, "too late");
  host_next(host, &ev);
  assert_int_equal(ev.type, NT_EV_END);
  assert_int_equal(ev.error, -1234);
  assert_string_equal(ev.message, "parameter error");
  assert_int_equal(nt_poll(host->net, &ev), 0);

  id = host_get(host, "/hello");
  nt_fail(host->net, id, NT_E_INVALID, NULL);
  host_next(host, &ev);
  assert_int_equal(ev.error, NT_E_INVALID);
  assert_string_equal(ev.message, nt_error_message(NT_E_INVALID));
  host_still_works(host);
}

/* ---- Limits ------------------------------------------------------------- */

static void three_requests(nt_policy_t* policy) {
  policy->max_requests = 3;
}

/* Three run, the others wait and start in the order in which they came. */
static void queue_keeps_order(void** state) {
  host_t* host = *state;
  nt_id_t ids[12];
  nt_event_t ev;
  char path[16];
  nt_stats_t stats;
  unsigned ended = 0;
  unsigned i;

  host_policy(host, three_requests);
  for (i = 0; i < 12; i++) {
    snprintf(path, sizeof(path), "/hold%u", i);
    ids[i] = host_get(host, path);
  }
  host_reach(host, ids[11], NT_STATE_QUEUED);
  for (i = 3; i <= 12; i += 3) {
    assert_true(
        server_wait(host->server, &host->server->holding, 3, PATIENCE_MS));
    nt_stats(host->net, &stats);
    assert_int_equal(server_requests(host->server), i);
    server_release(host->server);
    while (ended < i) {
      host_next(host, &ev);
      ended += ev.type == NT_EV_END;
      assert_int_equal(ev.error, 0);
    }
  }
  /* Within three that run at once the server may see any order. */
  for (i = 0; i < 12; i++)
    assert_int_equal(strtol(host->server->order[i] + 5, NULL, 10) / 3, i / 3);
}

static void redirects(void** state) {
  static const struct {
    const char* path;
    int error;
    unsigned followed;
  } cases[] = {
    { "/redirect/1", 0, 1 },
    { "/redirect/20", 0, 20 },
    { "/redirect/21", NT_E_REDIRECTS, 20 },
    { "/loop/0", NT_E_REDIRECTS, 20 },
  };
  host_t* host = *state;
  nt_event_t ev;
  char url[64];
  size_t i;

  for (i = 0; i < COUNT(cases); i++) {
    host_end(host, host_get(host, cases[i].path), &ev);
    assert_int_equal(ev.error, cases[i].error);
    assert_int_equal(ev.redirects, cases[i].followed);
    if (ev.error)
      continue;
    assert_int_equal(ev.status, 200);
    assert_string_equal(ev.url,
                        host_url(host, "/redirect/0", url, sizeof(url)));
  }
}

static void no_redirects(nt_policy_t* policy) {
  policy->max_redirects = 0;
}

static void redirects_can_be_refused_or_shown(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_event_t ev;

  nt_request_options_init(&options);
  options.redirect = NT_REDIRECT_MANUAL;
  host_end(host, host_start(host, "/redirect/3", &options), &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.status, 302);
  assert_string_equal(ev.data, "moved");
  host_policy(host, no_redirects);
  host_expect(host, host_get(host, "/redirect/1"), NT_E_REDIRECTS);
}

static void thousand_bytes(nt_policy_t* policy) {
  policy->response_max_bytes = 1000;
}

static void body_cap(void** state) {
  host_t* host = *state;
  nt_event_t ev;

  host_policy(host, thousand_bytes);
  host_end(host, host_get(host, "/stream/1000"), &ev);
  assert_int_equal(ev.error, 0);
  assert_int_equal(ev.size, 1000);
  host_expect(host, host_get(host, "/stream/1001"), NT_E_BODY_SIZE);
  host_end(host, host_get(host, "/chunked/1000"), &ev);
  assert_int_equal(ev.error, 0);
  host_expect(host, host_get(host, "/chunked/1001"), NT_E_BODY_SIZE);
  host_expect(host, host_get(host, "/chunked/10000000"), NT_E_BODY_SIZE);
  host_still_works(host);
}

static void small_header_cap(nt_policy_t* policy) {
  policy->header_max_bytes = 10 * 1024;
}

static void header_cap(void** state) {
  host_t* host = *state;

  host_policy(host, small_header_cap);
  host_expect(host, host_get(host, "/fields/9000"), 0);
  host_expect(host, host_get(host, "/fields/20000"), NT_E_HEADER_SIZE);
  host_expect(host, host_get(host, "/fields/10000000"), NT_E_HEADER_SIZE);
  host_still_works(host);
}

static void only_secure(nt_policy_t* policy) {
  policy->flags = NT_POLICY_REQUIRE_SECURE;
}

static void no_port(nt_policy_t* policy) {
  policy->flags = NT_POLICY_NO_URL_PORT;
}

static void short_urls(nt_policy_t* policy) {
  policy->url_max_bytes = 10;
}

/* What a policy refuses is an END, and nothing was sent. A task keeps the
 * policy under which it started. */
static void refusals(void** state) {
  host_t* host = *state;
  nt_id_t id = host_get(host, "/hold");

  assert_true(
      server_wait(host->server, &host->server->holding, 1, PATIENCE_MS));
  host_policy(host, only_secure);
  server_release(host->server);
  host_expect(host, id, 0);
  host_expect(host, host_get(host, "/hello"), NT_E_SCHEME);
  host_policy(host, no_port);
  host_expect(host, host_get(host, "/hello"), NT_E_PORT);
  host_policy(host, short_urls);
  host_expect(host, host_get(host, "/hello"), NT_E_URL_TOO_LONG);
  assert_int_equal(server_requests(host->server), 1);
}

/* ---- Bad servers and time-outs ------------------------------------------ */

static void broken_answers(void** state) {
  static const struct {
    const char* path;
    int error;
  } cases[] = {
    { "/close", NT_E_EMPTY_RESPONSE }, { "/cut", NT_E_LENGTH_MISMATCH },
    { "/cut-chunked", NT_E_CHUNKED },  { "/garbage", NT_E_HTTP },
    { "/bad-gzip", NT_E_DECODING },
  };
  host_t* host = *state;
  nt_event_t ev;
  size_t i;

  for (i = 0; i < COUNT(cases); i++) {
    host_end(host, host_get(host, cases[i].path), &ev);
    if (ev.error != cases[i].error)
      fail_msg("%s: %s", cases[i].path, nt_error_name(ev.error));
    assert_true(strlen(ev.message) > 0);
  }
  host_still_works(host);
}

/* A header that ends in the middle is no success. */
static void cut_head(void** state) {
  host_t* host = *state;
  nt_event_t ev;

  host_end(host, host_get(host, "/cut-head"), &ev);
  assert_true(ev.error < 0);
  host_still_works(host);
}

static void refused_connection(void** state) {
  host_t* host = *state;
  nt_request_options_t options;
  nt_id_t id = host_open(host);
  char url[64];
  int port;

  close(server_listen(1, &port)); /* nobody listens there now */
  nt_request_options_init(&options);
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
  options.url = url;
  assert_int_equal(nt_request_start(host->net, id, &options), 0);
  host_expect(host, id, NT_E_REFUSED);
}

static void time_outs(void** state) {
  static const struct {
    const char* path;
    nt_timeouts_t timeouts;
  } cases[] = {
    { "/hold", { .total = 50 } },
    { "/hold", { .first_byte = 50 } },
    { "/part-then-hold", { .total = 50 } },
    { "/part-then-hold", { .stall = 50 } },
  };
  host_t* host = *state;
  nt_request_options_t options;
  size_t i;

  for (i = 0; i < COUNT(cases); i++) {
    uint64_t start = uv_hrtime();

    nt_request_options_init(&options);
    options.timeouts = cases[i].timeouts;
    host_expect(host, host_start(host, cases[i].path, &options), NT_E_TIMEOUT);
    assert_true(uv_hrtime() - start >= 49 * 1000000); /* not early */
  }
  host_still_works(host);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(headers_then_end),
    HOST_TEST(sends_what_it_was_given),
    HOST_TEST(methods_and_lengths),
    HOST_TEST(head_has_no_body),
    HOST_TEST(profile_tells_the_phases),
    HOST_TEST(bad_options),
    HOST_TEST(streams_in_order),
    HOST_TEST(stream_is_held_back),
    HOST_TEST(context_mark_holds_all),
    HOST_TEST(held_stream_does_not_time_out),
    HOST_TEST(abort_idle),
    HOST_TEST(abort_queued),
    HOST_TEST(abort_before_connect),
    HOST_TEST(connect_times_out),
    HOST_TEST(connects_after_aborted_ones),
    HOST_TEST(abort_without_answer),
    HOST_TEST(abort_with_headers_waiting),
    HOST_TEST(abort_after_headers),
    HOST_TEST(abort_with_chunk_waiting),
    HOST_TEST(abort_held_stream),
    HOST_TEST(abort_with_end_waiting),
    HOST_TEST(abort_with_end_in_the_mailbox),
    HOST_TEST(abort_after_end),
    HOST_TEST(abort_at_any_moment),
    HOST_TEST(fails_with_the_hosts_own_error),
    HOST_TEST(queue_keeps_order),
    HOST_TEST(redirects),
    HOST_TEST(redirects_can_be_refused_or_shown),
    HOST_TEST(body_cap),
    HOST_TEST(header_cap),
    HOST_TEST(refusals),
    HOST_TEST(broken_answers),
    HOST_TEST(cut_head),
    HOST_TEST(refused_connection),
    HOST_TEST(time_outs),
  };

  return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
