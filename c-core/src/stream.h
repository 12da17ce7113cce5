/* A stream: a connection that libcurl made, as bytes in both directions. What
 * WebSocket and TCP share: the connection itself is a transfer that only
 * connects, so lookups, addresses, proxies, TLS, time-outs, policy and errors
 * are those of HTTP. */
#ifndef NT_STREAM_H
#define NT_STREAM_H

#include "transfer.h"

/* Bytes to send, in the order of the queue, which frees them. */
typedef struct nt__piece {
  nt__link_t link;
  char* data; /* what is left to send */
  size_t size;
  uint64_t charge;         /* what it counts in the send queue */
  unsigned minute;         /* of the quota that it counts in; 0: none */
  unsigned sends;          /* how many of the host's sends it completes */
  nt__spare_block_t block; /* its memory */
  size_t secret;           /* bytes behind the piece that are to be wiped */
} nt__piece_t;

typedef struct nt__stream nt__stream_t;

/* All in a turn, outside libcurl. Any of them may end the stream. */
typedef struct nt__stream_ops {
  void (*on_connected)(nt__stream_t* stream);
  /* Returns how many bytes it used. The rest it gets again, first, once
   * nt__stream_resume() lets the stream read on; until then nothing is read. */
  size_t (*on_data)(nt__stream_t* stream, const char* data, size_t size);
  /* The quota of the minute is spent: holds the stream until the task is
   * resumed, and returns true; or false, to read all the same. */
  bool (*on_spent)(nt__stream_t* stream);
  /* Some of the host's sends are with the system; `charge` and `sends` of all
   * so far are in the stream. */
  void (*on_sent)(nt__stream_t* stream);
  /* The peer will send no more. True: what is queued is still to go out, until
   * the owner closes; false, or no function: on_end(). */
  bool (*on_half_closed)(nt__stream_t* stream);
  /* No more will come: 0 after the end of the peer's bytes, or an error, with
   * task->message set before on_connected(). The stream is closed. */
  void (*on_end)(nt__stream_t* stream, int error);
} nt__stream_ops_t;

struct nt__stream {
  const nt__stream_ops_t* ops;
  nt__transfer_t transfer; /* the connection; the owner fills in what it
                            * connects to */

  /* I/O thread. */
  nt__socket_owner_t owner;
  nt__socket_t* socket; /* while open; ours alone without TLS */
  nt__node_t active;    /* in the list of those that have something to do */
  nt__fifo_t queue;     /* of nt__piece_t */
  uint64_t charge;      /* of what is with the system, since the start */
  uint64_t sends;
  uint64_t delivered; /* of `charge`: not dropped */
  uint64_t taken;     /* bytes, by the system */
  char local_ip[64];
  int local_port;
  nt__buf_t rest;   /* bytes that on_data() has left */
  int ready;        /* UV_READABLE | UV_WRITABLE, as the loop saw it */
  bool connecting;  /* what is written waits in the queue */
  bool open;        /* connected, not ended */
  bool plain;       /* no TLS: libcurl has no part in it any more */
  bool held;        /* does not read */
  bool half_closed; /* there is no more to read: on_half_closed() */
  bool blocked;     /* the system took no more */
  bool waits_input; /* TLS has to read before it can write */
  bool broken;      /* writing has failed; reading tells why */
  bool running;     /* in its part of the turn */
};

int nt__streams_open(nt_context_t* ctx);
void nt__streams_free(nt__streams_t* streams);
/* The streams' part of a turn; true when it wants another one at once. */
bool nt__streams_run(nt__streams_t* streams);

/* Random bytes, for masks and jitter: I/O thread. */
void nt__streams_random(nt__streams_t* streams, void* out, size_t size);

/* Connects. What is left of a connection before must have been closed. */
void nt__stream_connect(nt__stream_t* stream);
/* Appends to the queue, which goes out in this turn, or once it is connected.
 * Takes the piece, and drops it when the stream is neither. */
void nt__stream_write(nt__stream_t* stream, nt__piece_t* piece);
/* Frees a piece, which counts in `charge` and `sends` as if it had been sent.
 */
void nt__stream_drop(nt__stream_t* stream, nt__piece_t* piece);
/* Everything that was queued is with the system. */
bool nt__stream_is_flushed(const nt__stream_t* stream);
/* Our side sends no more; everything is flushed. TLS says no goodbye of its
 * own, as libcurl has none to give. False when the socket is broken. */
bool nt__stream_shutdown(nt__stream_t* stream);
/* Inside on_data(), for all the bytes it was given: they as a chunk, without a
 * copy, or NULL if they cannot be had so. It is large: for much data. */
nt__chunk_t* nt__stream_steal(nt__stream_t* stream, const char* data,
                              size_t size);
/* Does not read any more, until resumed. */
void nt__stream_hold(nt__stream_t* stream);
void nt__stream_resume(nt__stream_t* stream);
/* Closes at once, in whatever state, without on_end(). What was queued is
 * dropped. */
void nt__stream_close(nt__stream_t* stream);

#endif
