/* permessage-deflate (RFC 7692) for a client, over zlib. Pure logic. Memory is
 * taken when the first message needs it. */
#ifndef NT_WS_DEFLATE_H
#define NT_WS_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

typedef struct nt__ws_deflate nt__ws_deflate_t;

/* What is offered in Sec-WebSocket-Extensions. */
extern const char nt__ws_deflate_offer[];

/* What was agreed. */
typedef struct nt__ws_deflate_params {
  bool client_no_context_takeover;
  bool server_no_context_takeover;
  int client_max_window_bits; /* 8 to 15 */
  int server_max_window_bits;
} nt__ws_deflate_params_t;

/* Reads the answer, the whole value of the field (several fields joined by a
 * comma). 0 and the parameters; or what is wrong, for people, static: another
 * extension, an unknown, repeated or malformed parameter, the extension twice.
 */
const char* nt__ws_deflate_parse(const char* value,
                                 nt__ws_deflate_params_t* params);

/* NULL without memory. */
nt__ws_deflate_t* nt__ws_deflate_new(const nt__ws_deflate_params_t* params);
void nt__ws_deflate_free(nt__ws_deflate_t* deflate);

/* Appends the compressed message to `out`, without the 00 00 ff ff at its end.
 * 0, NT_E_NOMEM, NT_E_FULL. */
int nt__ws_deflate_message(nt__ws_deflate_t* deflate, const void* data,
                           size_t size, nt__buf_t* out);

/* Inflates a piece of a message behind what is in `out`, whose maximum holds (a
 * bomb ends there, having taken no more memory): 0, NT_E_NOMEM, NT_E_FULL above
 * the maximum, NT_E_DECODING. `end`: it is the last piece (and may be empty).
 */
int nt__ws_inflate(nt__ws_deflate_t* deflate, const void* data, size_t size,
                   bool end, nt__buf_t* out);

#endif
