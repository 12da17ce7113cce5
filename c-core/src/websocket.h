/* A WebSocket. Its block is made on the host thread (websocket.c); on the I/O
 * thread the link (ws_link.c) finds and leaves connections, and the session
 * (ws_session.c) is what happens on an open one. */
#ifndef NT_WEBSOCKET_H
#define NT_WEBSOCKET_H

#include "send_queue.h"
#include "stream.h"
#include "utf8.h"
#include "ws_deflate.h"
#include "ws_frame.h"
#include "ws_handshake.h"

typedef enum nt__ws_state {
  NT__WS_CONNECTING, /* libcurl connects */
  NT__WS_HANDSHAKE,  /* our request is on its way */
  NT__WS_OPEN,
  NT__WS_CLOSING,  /* our close frame is out, theirs has not come */
  NT__WS_LEAVING,  /* how it ends is known: the last bytes go out, and the peer
                    * is to close the connection */
  NT__WS_RETRYING, /* waits before it connects anew */
  NT__WS_ENDED     /* the last event is posted */
} nt__ws_state_t;

enum {
  NT__WS_REASON_MAX = 123
};

/* What is asked of the other side, for every connection. */
typedef struct nt__ws_request {
  nt__buf_t text; /* the request, with a key to be filled in */
  char* key;      /* where, in `text` */
  bool deflate;
  const char** protocols; /* in the block */
  size_t protocol_count;
} nt__ws_request_t;

typedef struct nt__websocket {
  nt__task_t task;

  /* Set by the host before the start. */
  nt__stream_t stream;
  nt__ws_request_t request;
  uint32_t flags;
  uint32_t ping_interval, pong_timeout;
  uint64_t message_max;
  nt_timeouts_t timeouts;
  nt_reconnect_t reconnect;

  /* Host thread. */
  bool counted;       /* in ctx->socket_count */
  bool closing;       /* nt_websocket_close() was called */
  bool seen_open;     /* OPEN was delivered, and no LOST since */
  uint32_t seen_link; /* how many OPENs were */

  /* Both. */
  nt__send_queue_t queue;

  /* I/O thread. */
  nt__ws_state_t state;
  bool opened;   /* at least once */
  uint32_t link; /* how many connections were opened */
  bool told_off; /* the host closes it */
  int status;    /* of the last answer to a handshake; 0: none came */
  int code;      /* how it ends, or why the connection was lost */
  char reason[NT__WS_REASON_MAX + 1];
  uint32_t tries; /* in a row, to connect anew */
  nt__ws_answer_t answer;
  char key[NT__WS_KEY_SIZE + 1];

  /* The session. */
  nt__ws_reader_t reader;
  nt__ws_deflate_t* deflate; /* NULL unless agreed */
  nt__buf_t message;         /* begins with room for a chunk's header */
  bool text;                 /* the message is text, */
  bool compressed;           /* and compressed */
  size_t checked;            /* bytes of it that are UTF-8 */
  nt__utf8_t utf8;
  unsigned pongs_blocked; /* pongs since the system took no more */

  /* Instants of the loop, 0: none. */
  nt__timer_t timer;
  uint64_t ping_due, pong_due; /* stand still while the source is held */
  uint64_t held_since, held_pong_due;
  uint64_t leave_due; /* the end of patience in CLOSING and LEAVING */
  uint64_t retry_due;
} nt__websocket_t;

/* A message, or a wish. The payload has room for a frame's header in front. */
typedef struct nt__ws_order {
  nt__command_t command; /* NT__CMD_TELL */
  nt__piece_t piece;
  nt__ws_opcode_t opcode; /* of a message, NT__WS_CLOSE, or NT__WS_PING: only
                           * to be told what was sent */
  int code;               /* of a close */
  uint32_t link;          /* the connection that a message is meant for */
  size_t size;
  char header[NT__WS_HEADER_MAX];
  char data[]; /* payload, or the reason of a close */
} nt__ws_order_t;

static inline nt__websocket_t* nt__ws_of_task(const nt__task_t* task) {
  return nt__container_of(task, nt__websocket_t, task);
}

/* ---- ws_link.c ----------------------------------------------------------- */

/* The task's class. */
void nt__ws_start(nt__task_t* task);
void nt__ws_abort(nt__task_t* task);
void nt__ws_resume(nt__task_t* task);
void nt__ws_tell(nt__task_t* task, nt__command_t* command);

/* The timer is set to the nearest of the instants. */
void nt__ws_arm(nt__websocket_t* ws);
/* The connection is gone without a close frame, or with one that says "come
 * back": connects anew, or ends. `reason` may be NULL. */
void nt__ws_lose(nt__websocket_t* ws, int code, const char* reason);
/* Ends it once what is queued has gone out and the peer has closed, or after a
 * second. `error` 0, or what went wrong, with a message for people. */
void nt__ws_leave(nt__websocket_t* ws, int error, const char* message, int code,
                  const char* reason, size_t reason_size);
/* Ends it at once, with an error. */
void nt__ws_fail(nt__websocket_t* ws, int error, const char* message);
uint64_t nt__ws_now(const nt__websocket_t* ws);

/* ---- ws_session.c -------------------------------------------------------- */

/* The handshake was good. NT_E_NOMEM. */
int nt__ws_session_begin(nt__websocket_t* ws, const nt__ws_deal_t* deal);
/* Frees what the session holds. */
void nt__ws_session_end(nt__websocket_t* ws);
/* Takes bytes of frames; returns how many it used. */
size_t nt__ws_session_feed(nt__websocket_t* ws, const char* data, size_t size);
/* The host is behind, or the quota is spent: nothing is read. */
void nt__ws_session_hold(nt__websocket_t* ws);
/* The host has caught up. */
void nt__ws_session_resume(nt__websocket_t* ws);
/* An instant of the session may be over. */
void nt__ws_session_due(nt__websocket_t* ws);
/* Sends a message whose bytes have room for a header in front; takes the
 * piece. */
void nt__ws_session_send(nt__websocket_t* ws, nt__ws_opcode_t opcode,
                         nt__piece_t* piece);
/* NT_E_NOMEM. */
int nt__ws_session_send_close(nt__websocket_t* ws, int code, const char* reason,
                              size_t reason_size);

#endif
