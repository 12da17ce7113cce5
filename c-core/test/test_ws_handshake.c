/* ws_handshake.c: the request, what may come in as an answer, in any pieces and
 * cut at every byte, and which answers are agreed to. The expected texts are
 * those of Chromium. */
#include <stdio.h>
#include <string.h>

#include "failing.h"
#include "guard.h"
#include "ws_handshake.h"

/* RFC 6455, 1.3 */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void keys(void** state) {
  char accept[NT__WS_ACCEPT_SIZE + 1];
  char key[NT__WS_KEY_SIZE + 1];

  (void) state;
  nt__ws_make_key((const unsigned char*) "the sample nonce", key);
  assert_string_equal(key, KEY);
  nt__ws_accept_of(key, accept);
  assert_string_equal(accept, ACCEPT);
}

/* ---- The request -------------------------------------------------------- */

#define HEAD(target, host)                                                     \
  "GET " target " HTTP/1.1\r\nHost: " host                                     \
  "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                          \
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"
#define OFFER                                                                  \
  "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

static const char* const two_protocols[] = { "chat", "superchat.v2" };
static const nt_header_t own_headers[] = {
  { "Origin", "https://game.example" },
  { "Host", "evil" },
  { "CONNECTION", "close" },
  { "upgrade", "h2c" },
  { "Content-Length", "5" },
  { "Transfer-Encoding", "chunked" },
  { "Sec-WebSocket-Key", "x" },
  { "sec-websocket-protocol", "x" },
  { "Sec-WebSocket", "kept" },
  { "X-Empty", "" },
  { "X-Twice", "1" },
  { "X-Twice", "2" },
};
static const nt_header_t replacing[] = {
  { "user-agent", "mine" },
  { "AUTHORIZATION", "Bearer x" },
};

static const struct {
  nt__ws_ask_t ask;
  const char* request;
} asks[] = {
  { { "/", "h", NULL, NULL, KEY, NULL, NULL, false, NULL, 0, NULL, 0 },
    HEAD("/", "h") "\r\n" },
  { { "/a?b=c", "[::1]:8080", NULL, NULL, KEY, "nettask/1", NULL, true,
      two_protocols, 1, NULL, 0 },
    HEAD("/a?b=c", "[::1]:8080") "Sec-WebSocket-Protocol: chat\r\n" OFFER
                                 "User-Agent: nettask/1\r\n\r\n" },
  { { "/", "h", "Aladdin", "open sesame", KEY, "", NULL, false, two_protocols,
      2, NULL, 0 },
    HEAD("/", "h") "Sec-WebSocket-Protocol: chat, superchat.v2\r\n"
                   "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"
                   "\r\n" },
  { { "/", "h", "u", NULL, KEY, NULL, NULL, false, NULL, 0, NULL, 0 },
    HEAD("/", "h") "Authorization: Basic dTo=\r\n\r\n" },
  { { "/", "h", NULL, NULL, KEY, "ua", NULL, false, NULL, 0, own_headers,
      COUNT(own_headers) },
    HEAD("/", "h") "User-Agent: ua\r\nOrigin: https://game.example\r\n"
                   "Sec-WebSocket: kept\r\nX-Empty: \r\nX-Twice: 1\r\n"
                   "X-Twice: 2\r\n\r\n" },
  { { "/", "h", "u", "p", KEY, "ua", NULL, false, NULL, 0, replacing,
      COUNT(replacing) },
    HEAD("/", "h") "user-agent: mine\r\nAUTHORIZATION: Bearer x\r\n\r\n" },
  { { "/", "h", NULL, NULL, KEY, "ua", "https://a.example/", false, NULL, 0,
      replacing, COUNT(replacing) },
    HEAD("/", "h") "Referer: https://a.example/\r\nuser-agent: mine\r\n"
                   "AUTHORIZATION: Bearer x\r\n\r\n" },
};

static void requests(void** state) {
  nt__buf_t out;
  size_t i, at;
  size_t max;

  (void) state;
  for (i = 0; i < COUNT(asks); i++) {
    size_t size = strlen(asks[i].request);

    nt__buf_init(&out, 0);
    assert_int_equal(nt__ws_ask_write(&asks[i].ask, &out, &at), 0);
    assert_string_equal(out.data, asks[i].request);
    if (asks[i].ask.header_count == 0)
      assert_string_equal(out.data + at, "\r\n");
    else
      assert_true(at > 20 && out.data[at - 1] == '\n' &&
                  strchr("Ou", out.data[at]) != NULL);
    nt__buf_free(&out);
    for (max = 3; max <= size + 2; max++) { /* behind two bytes */
      nt__buf_init(&out, max);
      assert_int_equal(nt__buf_append(&out, "ab", 2), 0);
      assert_int_equal(nt__ws_ask_write(&asks[i].ask, &out, &at),
                       max < size + 2 ? NT_E_FULL : 0);
      assert_int_equal(out.size, max < size + 2 ? 2 : size + 2);
      assert_string_equal(out.data + 2, max < size + 2 ? "" : asks[i].request);
      nt__buf_free(&out);
    }
  }
}

/* ---- Reading ------------------------------------------------------------ */

enum {
  FIELDS_SIZE = 1024
};

typedef struct outcome {
  int err;
  int status;
  bool done;
  size_t used;
  char fields[FIELDS_SIZE]; /* name=value; for each */
} outcome_t;

static void print_fields(const nt__headers_t* headers, char* out) {
  nt_headers_t view = nt__headers_view(headers);
  size_t cursor = 0;
  const char* name;
  const char* value;

  *out = '\0';
  while (nt_headers_next(&view, &cursor, &name, &value)) {
    size_t used = strlen(out);

    snprintf(out + used, FIELDS_SIZE - used, "%s=%s;", name, value);
  }
}

/* Pieces of `step` bytes, of random sizes when that is 0, at the guard page. */
static outcome_t feed(guard_t* guard, const char* text, size_t size,
                      uint64_t max, size_t step, uint64_t* random) {
  outcome_t outcome = { 0, 0, false, 0, "" };
  nt__ws_answer_t answer;

  nt__ws_answer_init(&answer, max);
  while (outcome.err == 0 && !answer.done && outcome.used < size) {
    size_t n = step > 0 ? step : (size_t) (next_random(random) % 12);
    const char* data;

    n = n < size - outcome.used ? n : size - outcome.used;
    data = guard_put(guard, text + outcome.used, n);
    outcome.used += n;
    outcome.err = nt__ws_answer_feed(&answer, &data, &n);
    if (outcome.err == 0 && !answer.done)
      assert_int_equal(n, 0);
    outcome.used -= n;
  }
  outcome.status = answer.status;
  outcome.done = answer.done;
  print_fields(&answer.headers, outcome.fields);
  nt__ws_answer_free(&answer);
  return outcome;
}

static const struct {
  const char* text;
  const char* rest; /* of the text, behind the answer */
  int status;
  const char* fields;
} answers[] = {
  { "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n\x81\x02hi", "\x81\x02hi",
    101, "A=b;" },
  { "HTTP/1.1 101\r\n\r\n", "", 101, "" },
  { "HTTP/1.1 101 \n\n\n", "\n", 101, "" },
  { "HTTP/1.1 101 x\nA:b\nC: d \n\n", "", 101, "A=b;C=d;" },
  { "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!", "no!", 403,
    "Content-Length=3;" },
  { "HTTP/1.0 404 Not Found\r\n\r\n", "", 404, "" },
  { "HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nno colon\r\n\r\n", "", 200, "A=b c;" },
  /* others before it */
  { "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 x\r\nB: c\r\n\r\n"
    "HTTP/1.1 101 y\r\nC: d\r\n\r\nrest",
    "rest", 101, "C=d;" },
};

static void reads_answers(void** state) {
  guard_t guard = guard_open(512);
  uint64_t random = 1;
  size_t i;
  size_t k;

  (void) state;
  for (i = 0; i < COUNT(answers); i++) {
    size_t size = strlen(answers[i].text);
    size_t own = size - strlen(answers[i].rest);

    for (k = 0; k < 40; k++) {
      outcome_t o = feed(&guard, answers[i].text, size, 0, k, &random);

      assert_int_equal(o.err, 0);
      assert_true(o.done);
      assert_int_equal(o.status, answers[i].status);
      assert_int_equal(o.used, own);
      assert_string_equal(o.fields, answers[i].fields);
    }
    for (k = 0; k < own; k++) { /* cut: it is not done */
      outcome_t whole = feed(&guard, answers[i].text, k, 0, k + 1, NULL);
      outcome_t bytes = feed(&guard, answers[i].text, k, 0, 1, NULL);

      assert_int_equal(whole.err, 0);
      assert_false(whole.done || bytes.done);
      assert_int_equal(whole.used, k);
      assert_int_equal(bytes.err, 0);
      assert_int_equal(bytes.status, whole.status);
      assert_string_equal(bytes.fields, whole.fields);
    }
  }
  guard_close(&guard);
}

/* `at`: which byte shows that it is no answer, counted from 1. */
static const struct {
  const char* text;
  size_t at;
} no_answers[] = {
  { "SSH-2.0-OpenSSH\r\n", 1 },
  { "\r\nHTTP/1.1 101 x\r\n\r\n", 1 },
  { " HTTP/1.1 101 x\r\n\r\n", 1 },
  { "http/1.1 101 x\r\n\r\n", 1 },
  { "HTTP/2 101 x\r\n\r\n", 6 },
  { "HTTP/2.0 101 x\r\n\r\n", 6 },
  { "HTTP/1,1 101 x\r\n\r\n", 7 },
  { "HTTP/1.x 101 x\r\n\r\n", 8 },
  { "HTTP/1.10 101 x\r\n\r\n", 9 },
  { "HTTP/1.1\t101 x\r\n\r\n", 9 },
  { "HTTP/1.1  101 x\r\n\r\n", 10 },
  { "HTTP/1.1 1o1 x\r\n\r\n", 11 },
  { "HTTP/1.1 10\r\n\r\n", 12 },
  { "HTTP/1.1 1010 x\r\n\r\n", 13 },
  { "HTTP/1.1 101x\r\n\r\n", 13 },
  { "HTTP/1.1 \n", 10 },
  { "HTTP\n", 5 },
  { "\x81\x05Hello", 1 },
  /* only when the line is whole */
  { "HTTP/1.1 099 x\r\n\r\n", 16 },
  { "HTTP/1.0 101 x\r\n\r\n", 16 },
  { "HTTP/1.1 100 x\r\n\r\n\x81\x00", 19 },
};

static void reads_no_answers(void** state) {
  guard_t guard = guard_open(512);
  uint64_t random = 1;
  size_t i;
  size_t k;

  (void) state;
  for (i = 0; i < COUNT(no_answers); i++) {
    const char* text = no_answers[i].text;
    size_t size = strlen(text);

    if (i + 1 == COUNT(no_answers))
      size++; /* the NUL in a frame */
    assert_int_equal(feed(&guard, text, no_answers[i].at - 1, 0, 100, NULL).err,
                     0);
    assert_int_equal(feed(&guard, text, size, 0, 100, NULL).err, NT_E_HTTP);
    for (k = 0; k < 20; k++) {
      outcome_t o = feed(&guard, text, size, 0, k, &random);

      assert_int_equal(o.err, NT_E_HTTP);
      assert_false(o.done);
      if (k == 1)
        assert_int_equal(o.used, no_answers[i].at);
    }
  }
  guard_close(&guard);
}

/* Of every size that is too small; what is no answer is called that first. */
static void respects_its_maximum(void** state) {
  static const char text[] =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 x\r\nA: b\r\n\r\nmore";
  guard_t guard = guard_open(128);
  uint64_t random = 1;
  size_t size = strlen(text) - 4;
  uint64_t max;
  size_t step;

  (void) state;
  for (max = 1; max <= size + 1; max++)
    for (step = 0; step <= size; step++)
      assert_int_equal(feed(&guard, text, size, max, step, &random).err,
                       max < size ? NT_E_HEADER_SIZE : 0);
  assert_int_equal(feed(&guard, "HTTP/2 200", 10, 4, 10, NULL).err,
                   NT_E_HEADER_SIZE);
  assert_int_equal(feed(&guard, "HTTP/2 200", 10, 6, 10, NULL).err, NT_E_HTTP);
  guard_close(&guard);
}

/* ---- Judging ------------------------------------------------------------ */

#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define ACCEPTED "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define GOOD SWITCH UPGRADE CONNECTION ACCEPTED
#define PROTOCOL "Sec-WebSocket-Protocol: "
#define EXTENSIONS "Sec-WebSocket-Extensions: "
#define ONCE(name)                                                             \
  "'" name "' header must not appear more than once in a response"
#define END "\r\n"

static const nt__ws_ask_t bare = { "/",  "h",   NULL, NULL, KEY,  NULL,
                                   NULL, false, NULL, 0,    NULL, 0 };
static const nt__ws_ask_t rich = { "/",  "h",  NULL,          NULL, KEY,  NULL,
                                   NULL, true, two_protocols, 2,    NULL, 0 };

static const struct {
  const nt__ws_ask_t* ask;
  const char* answer;
  const char* protocol;
  bool deflate;
  int client_bits;
} deals[] = {
  { &bare, GOOD END, "", false, 0 },
  { &rich, GOOD END, "", false, 0 },
  { &bare,
    SWITCH
    "UPGRADE: WebSocket\r\nconnection: keep-alive, uPGRADE\r\n"
    "sec-websocket-accept:   " ACCEPT "  \r\nX: y\r\n" END,
    "", false, 0 },
  { &bare,
    SWITCH UPGRADE
    "Connection: keep-alive\r\nConnection: foo ,Upgrade ,\r\n" ACCEPTED END,
    "", false, 0 },
  { &bare, SWITCH UPGRADE "Connection:\r\n  Upgrade\r\n" ACCEPTED END, "",
    false, 0 },
  { &rich, GOOD PROTOCOL "chat\r\n" END, "chat", false, 0 },
  { &rich, GOOD PROTOCOL "superchat.v2\r\n" END, "superchat.v2", false, 0 },
  { &rich, GOOD EXTENSIONS "permessage-deflate\r\n" END, "", true, 15 },
  { &rich,
    GOOD PROTOCOL "chat\r\n" EXTENSIONS
                  "permessage-deflate; client_max_window_bits=10\r\n" END,
    "chat", true, 10 },
  { &rich, GOOD EXTENSIONS "\r\n" EXTENSIONS "permessage-deflate\r\n" END, "",
    true, 15 },
};

static const struct {
  const nt__ws_ask_t* ask;
  const char* answer;
  const char* message;
  int err;
} failures[] = {
  { &bare, "HTTP/1.1 403 Forbidden\r\n" END, "Invalid HTTP status 403",
    NT_E_WS_STATUS },
  { &bare, "HTTP/1.1 200 OK\r\n" UPGRADE CONNECTION ACCEPTED END,
    "Invalid HTTP status 200", NT_E_WS_STATUS },
  { &bare, "HTTP/1.1 301 Moved\r\nLocation: /\r\n" END,
    "Invalid HTTP status 301", NT_E_WS_STATUS },
  { &bare, SWITCH CONNECTION ACCEPTED END, "'Upgrade' header is missing",
    NT_E_HANDSHAKE },
  { &bare, SWITCH UPGRADE UPGRADE CONNECTION ACCEPTED END, ONCE("Upgrade"),
    NT_E_HANDSHAKE },
  { &bare, SWITCH "Upgrade: h2c\r\n" CONNECTION ACCEPTED END,
    "'Upgrade' header value is not 'WebSocket': h2c", NT_E_HANDSHAKE },
  { &bare, SWITCH "Upgrade: websocket, h2c\r\n" CONNECTION ACCEPTED END,
    "'Upgrade' header value is not 'WebSocket': websocket, h2c",
    NT_E_HANDSHAKE },
  { &bare, SWITCH UPGRADE ACCEPTED END, "'Connection' header is missing",
    NT_E_HANDSHAKE },
  { &bare, SWITCH UPGRADE "Connection: close, Upgraded\r\n" ACCEPTED END,
    "'Connection' header value must contain 'Upgrade'", NT_E_HANDSHAKE },
  { &bare, SWITCH UPGRADE "Connection: close Upgrade\r\n" ACCEPTED END,
    "'Connection' header value must contain 'Upgrade'", NT_E_HANDSHAKE },
  { &bare, SWITCH UPGRADE "Connection: Upgrade x, ,\r\n" ACCEPTED END,
    "'Connection' header value must contain 'Upgrade'", NT_E_HANDSHAKE },
  { &bare, SWITCH UPGRADE CONNECTION END,
    "'Sec-WebSocket-Accept' header is missing", NT_E_HANDSHAKE },
  { &bare, GOOD ACCEPTED END, ONCE("Sec-WebSocket-Accept"), NT_E_HANDSHAKE },
  { &bare, SWITCH UPGRADE CONNECTION "Sec-WebSocket-Accept: " KEY "\r\n" END,
    "Incorrect 'Sec-WebSocket-Accept' header value", NT_E_HANDSHAKE },
  { &bare,
    SWITCH UPGRADE CONNECTION
    "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=\r\n" END,
    "Incorrect 'Sec-WebSocket-Accept' header value", NT_E_HANDSHAKE },
  { &bare,
    SWITCH UPGRADE CONNECTION
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n" END,
    "Incorrect 'Sec-WebSocket-Accept' header value", NT_E_HANDSHAKE },
  { &bare,
    SWITCH UPGRADE CONNECTION "Sec-WebSocket-Accept: " ACCEPT "=\r\n" END,
    "Incorrect 'Sec-WebSocket-Accept' header value", NT_E_HANDSHAKE },
  { &bare, SWITCH UPGRADE CONNECTION "Sec-WebSocket-Accept:\r\n" END,
    "Incorrect 'Sec-WebSocket-Accept' header value", NT_E_HANDSHAKE },
  { &bare, GOOD PROTOCOL "chat\r\n" END,
    "Response must not include 'Sec-WebSocket-Protocol' header if not present "
    "in request: chat",
    NT_E_HANDSHAKE },
  { &rich, GOOD PROTOCOL "nope\r\n" END,
    "'Sec-WebSocket-Protocol' header value 'nope' in response does not match "
    "any of sent values",
    NT_E_HANDSHAKE },
  { &rich, GOOD PROTOCOL "Chat\r\n" END,
    "'Sec-WebSocket-Protocol' header value 'Chat' in response does not match "
    "any of sent values",
    NT_E_HANDSHAKE },
  { &rich, GOOD PROTOCOL "chat, superchat.v2\r\n" END,
    "'Sec-WebSocket-Protocol' header value 'chat, superchat.v2' in response "
    "does not match any of sent values",
    NT_E_HANDSHAKE },
  { &rich, GOOD PROTOCOL "chat\r\n" PROTOCOL "chat\r\n" END,
    ONCE("Sec-WebSocket-Protocol"), NT_E_HANDSHAKE },
  { &bare, GOOD EXTENSIONS "permessage-deflate; x\r\n" END,
    "Found an unsupported extension 'permessage-deflate' in "
    "'Sec-WebSocket-Extensions' header",
    NT_E_HANDSHAKE },
  { &rich, GOOD EXTENSIONS "x-foo\r\n" END,
    "Found an unsupported extension in 'Sec-WebSocket-Extensions' header: "
    "x-foo",
    NT_E_HANDSHAKE },
  { &rich, GOOD EXTENSIONS "\r\n" END,
    "'Sec-WebSocket-Extensions' header value is rejected by the parser: ",
    NT_E_HANDSHAKE },
  { &rich,
    GOOD EXTENSIONS "permessage-deflate\r\n" EXTENSIONS
                    "permessage-deflate\r\n" END,
    "Received duplicate permessage-deflate response: permessage-deflate, "
    "permessage-deflate",
    NT_E_HANDSHAKE },
  /* what a server says reaches people as plain text */
  { &rich, GOOD PROTOCOL "a\x01[31m\x1b\x7f b\xc3 \xa9\r\n" END,
    "'Sec-WebSocket-Protocol' header value 'a?[31m?? b? ?' in response does "
    "not "
    "match any of sent values",
    NT_E_HANDSHAKE },
};

static void read_answer(nt__ws_answer_t* answer, const char* text) {
  size_t size = strlen(text);

  nt__ws_answer_init(answer, 0);
  assert_int_equal(nt__ws_answer_feed(answer, &text, &size), 0);
  assert_true(answer->done);
  assert_int_equal(size, 0);
}

static void agrees(void** state) {
  nt__ws_answer_t answer;
  nt__ws_deal_t deal;
  char message[256];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(deals); i++) {
    read_answer(&answer, deals[i].answer);
    assert_int_equal(nt__ws_answer_check(&answer, deals[i].ask, &deal, message),
                     0);
    assert_string_equal(message, "");
    nt__ws_answer_free(&answer); /* the deal stays */
    assert_string_equal(deal.protocol, deals[i].protocol);
    assert_int_equal(deal.deflate, deals[i].deflate);
    if (deal.deflate)
      assert_int_equal(deal.params.client_max_window_bits,
                       deals[i].client_bits);
  }
}

static void refuses(void** state) {
  nt__ws_answer_t answer;
  nt__ws_deal_t deal;
  char message[256];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(failures); i++) {
    read_answer(&answer, failures[i].answer);
    assert_int_equal(
        nt__ws_answer_check(&answer, failures[i].ask, &deal, message),
        failures[i].err);
    assert_string_equal(message, failures[i].message);
    nt__ws_answer_free(&answer);
  }
}

/* Values longer than the message, and than any list of extensions. */
static void long_values(void** state) {
  static const char* const names[] = { "Upgrade", "Sec-WebSocket-Protocol",
                                       "Sec-WebSocket-Extensions" };
  guard_t guard = guard_open(256);
  char text[4096];
  char value[2000];
  size_t i;
  size_t size;

  (void) state;
  memset(value, 'x', sizeof(value));
  for (i = 0; i < COUNT(names); i++)
    for (size = 1; size < sizeof(value); size += size < 300 ? 1 : 41) {
      char* message = guard.map + guard.size - 256;
      nt__ws_answer_t answer;
      nt__ws_deal_t deal;

      snprintf(text, sizeof(text),
               SWITCH "%s" CONNECTION ACCEPTED "%s: %.*s\r\n" END,
               i == 0 ? "" : UPGRADE, names[i], (int) size, value);
      read_answer(&answer, text);
      assert_int_equal(nt__ws_answer_check(&answer, &rich, &deal, message),
                       NT_E_HANDSHAKE);
      assert_true(strlen(message) > 30 && strlen(message) < 256);
      nt__ws_answer_free(&answer);
    }
  guard_close(&guard);
}

/* Many fields make one list, which has an end, too. */
static void many_extensions(void** state) {
  static const char too_long[] =
      "'Sec-WebSocket-Extensions' header value is too long";
  char text[4096] = GOOD;
  char message[256];
  size_t i;

  (void) state;
  for (i = 1; i < 100; i++) {
    size_t used = strlen(text);
    nt__ws_answer_t answer;
    nt__ws_deal_t deal;

    snprintf(text + used, sizeof(text) - used, EXTENSIONS ",,,,,,,,,,\r\n");
    used = strlen(text);
    snprintf(text + used, sizeof(text) - used, END);
    read_answer(&answer, text);
    assert_int_equal(nt__ws_answer_check(&answer, &rich, &deal, message),
                     NT_E_HANDSHAKE);
    /* 10 commas a field, two bytes between two fields, and a NUL */
    assert_int_equal(strcmp(message, too_long) == 0, 12 * i - 2 + 1 > 1024);
    nt__ws_answer_free(&answer);
    text[used] = '\0';
  }
}

/* ---- Memory ------------------------------------------------------------- */

static int use_memory(void) {
  const char* text = GOOD "A: b\r\n" END;
  size_t at;
  nt__ws_answer_t answer;
  nt__buf_t out;
  int err;

  nt__buf_init(&out, 0);
  nt__ws_answer_init(&answer, 0);
  err = nt__ws_ask_write(&asks[2].ask, &out, &at);
  while (err == 0 && *text != '\0') { /* in pieces, so that lines are kept */
    size_t size = strlen(text) < 30 ? strlen(text) : 30;

    err = nt__ws_answer_feed(&answer, &text, &size);
  }
  if (err == 0)
    assert_true(answer.done);
  nt__ws_answer_free(&answer);
  nt__buf_free(&out);
  return err;
}

static void without_memory(void** state) {
  int mode;
  long n;

  (void) state;
  for (mode = FAILING_ONCE; mode <= FAILING_ALWAYS; mode++)
    for (n = 1; n < 100; n++) {
      int err;

      failing_start((failing_mode_t) mode, n);
      err = use_memory();
      assert_int_equal(atomic_load(&failing_live), 0);
      if (failing_stop()) {
        assert_int_equal(err, 0);
        assert_in_range(n, 5, 20);
        break;
      }
      assert_int_equal(err, NT_E_NOMEM);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(keys),
    cmocka_unit_test(requests),
    cmocka_unit_test(reads_answers),
    cmocka_unit_test(reads_no_answers),
    cmocka_unit_test(respects_its_maximum),
    cmocka_unit_test(agrees),
    cmocka_unit_test(refuses),
    cmocka_unit_test(long_values),
    cmocka_unit_test(many_extensions),
    cmocka_unit_test(without_memory),
  };

  if (failing_install() != 0)
    return 1;
  return cmocka_run_group_tests_name("ws_handshake", tests, NULL, NULL);
}
