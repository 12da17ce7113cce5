/* SocketTask: a WebSocket. lsocket.c is the object that a script holds,
 * lsocket_calls.c what it asks for, lsocket_events.c what it is told.
 *
 * Two things are as the script has seen them, not as the network has them by
 * now: readyState, which changes with the event that is delivered, and with it
 * what may be sent.
 *
 * The record of a socket holds, beside its listeners:
 *   sends        sends that wait for their callbacks
 *   lostReason   why the connection that is being made again was lost
 *   closeReason  of our close()
 *   handled      somebody listens for errors
 * and what exchange.lua says. */
#ifndef NTL_LSOCKET_H
#define NTL_LSOCKET_H

#include "binding.h"

/* readyState; the numbers are API. */
typedef enum ready {
  READY_CONNECTING,
  READY_OPEN,
  READY_CLOSING,
  READY_CLOSED
} ready_t;

typedef struct ntl_socket {
  ntl_task_t task;
  struct ntl_socket* older; /* among the live ones that were started */
  struct ntl_socket* newer;
  ready_t ready;
  uint64_t sent;        /* messages that the core has taken */
  uint64_t drained;     /* of them, when onDrain was told last */
  uint64_t first, last; /* indices in record.sends; none when first > last */
  int close_code;       /* of our close() */
  int lost_code;
  bool linked;
  bool opened;
  bool refused;  /* never started: its record says why */
  bool multiple; /* does not give way to another */
  bool replaced; /* has given way: its close is global news all the same */
  bool base64;   /* binary messages are shown as base64 */
  bool drains;   /* somebody wants to know when all is sent */
} ntl_socket_t;

extern const ntl_kind_t ntl_socket_kind;

/* The global ones lie in the same slots of a table of their own. */
extern const ntl_list_t ntl_on_open, ntl_on_message, ntl_on_error, ntl_on_close,
    ntl_on_reconnect, ntl_on_drain;

/* Argument 1. */
ntl_socket_t* ntl_socket_check(lua_State* L);
/* The socket was started: it is the newest of those that live. */
void ntl_socket_link(ntl_state_t* s, ntl_socket_t* self);
/* Bytes that are not with the system yet. */
uint64_t ntl_socket_buffered(const ntl_state_t* s, const ntl_socket_t* self);

/* ---- lsocket_calls.c ----------------------------------------------------- */

/* Adds socketOpen, socketStart, socketRefuse, socketSend and socketClose to the
 * table on top. */
void ntl_socket_calls_open(lua_State* L);
int ntl_socket_close(lua_State* L, ntl_state_t* s, ntl_socket_t* self, int code,
                     const char* reason);
/* Methods. */
int ntl_socket_task_send(lua_State* L);
int ntl_socket_task_close(lua_State* L);

/* ---- lsocket_events.c ---------------------------------------------------- */

void ntl_socket_dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

#endif
