/* The opening handshake of RFC 6455, client side: the request, and a reader of
 * the answer. Pure logic. */
#ifndef NT_WS_HANDSHAKE_H
#define NT_WS_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "header.h"
#include "nettask.h"
#include "ws_deflate.h"

enum {
  NT__WS_KEY_SIZE = 24,   /* base64 of 16 bytes, without a NUL */
  NT__WS_ACCEPT_SIZE = 28 /* base64 of a SHA-1 */
};

/* Both are terminated. */
void nt__ws_make_key(const unsigned char random[16],
                     char key[NT__WS_KEY_SIZE + 1]);
void nt__ws_accept_of(const char* key, char accept[NT__WS_ACCEPT_SIZE + 1]);

typedef struct nt__ws_ask {
  const char* target; /* path and query */
  const char* host;   /* with the port unless it is the scheme's own */
  const char* user;   /* decoded, for Basic authentication; NULL: none */
  const char* password;
  const char* key;
  const char* user_agent;
  const char* referer; /* or NULL */
  bool deflate;
  const char* const* protocols;
  size_t protocol_count;
  const nt_header_t* headers; /* Host, Connection, Upgrade, Content-Length,
                               * Transfer-Encoding and Sec-WebSocket-* are left
                               * out; those that a script gave for User-Agent
                               * and Authorization replace ours */
  size_t header_count;
} nt__ws_ask_t;

/* Appends the request, and says where in `out` the fields of `ask->headers`
 * begin, which are its end. 0, NT_E_NOMEM, NT_E_FULL. */
int nt__ws_ask_write(const nt__ws_ask_t* ask, nt__buf_t* out,
                     size_t* headers_at);

/* The answer as it comes in. */
typedef struct nt__ws_answer {
  int status;            /* 0 until the status line was read */
  nt__headers_t headers; /* of the last answer: a 1xx but 101 is passed over */
  bool done;             /* the empty line has come */

  /* Private. */
  nt__buf_t line; /* one that has not come in whole */
  uint64_t left;  /* bytes that may still come */
} nt__ws_answer_t;

/* At most `max_bytes` of lines in all. */
void nt__ws_answer_init(nt__ws_answer_t* answer, uint64_t max_bytes);
void nt__ws_answer_free(nt__ws_answer_t* answer);

/* Takes lines out of `*data`, which it moves over what it has used: what is
 * left once `done` is the first frames. 0, NT_E_NOMEM, NT_E_HEADER_SIZE, or
 * NT_E_HTTP as soon as it cannot be an answer of HTTP/1.x (a 101 of 1.0 is
 * none). After an error it must not be called again. */
int nt__ws_answer_feed(nt__ws_answer_t* answer, const char** data,
                       size_t* size);

/* What was agreed. */
typedef struct nt__ws_deal {
  const char* protocol; /* one of those asked for, or "" */
  bool deflate;
  nt__ws_deflate_params_t params;
} nt__ws_deal_t;

/* Judges an answer that is done. 0 and the deal, whose texts are those of
 * `ask`; NT_E_WS_STATUS for a status that is not 101, else NT_E_HANDSHAKE; then
 * `message` (of 256 bytes, printable ASCII) says what was wrong: "Invalid HTTP
 * status 403", "Incorrect 'Sec-WebSocket-Accept' header value", ... in the
 * words of Chromium. */
int nt__ws_answer_check(const nt__ws_answer_t* answer, const nt__ws_ask_t* ask,
                        nt__ws_deal_t* deal, char* message);

#endif
