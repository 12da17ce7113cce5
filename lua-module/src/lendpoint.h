/* What TCPSocket and UDPSocket have in common: how they are made, what they
 * tell of errors, and the tables that describe a peer. */
#ifndef NTL_LENDPOINT_H
#define NTL_LENDPOINT_H

#include "params.h"

/* The lists that both kinds have; those of one kind come behind. */
extern const ntl_list_t ntl_message_list;
extern const ntl_list_t ntl_error_list;
extern const ntl_list_t ntl_close_list;
extern const ntl_list_t ntl_listening_list;
extern const ntl_list_t ntl_wifi_list;

enum {
  NTL_ENDPOINT_LISTS = NTL_LISTS + 5
};

/* ---- The object ---------------------------------------------------------- */

/* Push a live socket of that kind and size, whose record it carries as its user
 * value: listeners stay when it has ended. Returns NULL and the error when
 * there can be none. */
void* ntl_endpoint_new(lua_State* L, ntl_state_t* s, const ntl_kind_t* kind,
                       size_t size, int (*open)(nt_context_t*, nt_id_t*),
                       int* error);
/* Bodies of onX(f) and offX([f]). */
int ntl_endpoint_on(lua_State* L, const ntl_kind_t* kind,
                    const ntl_list_t* list);
int ntl_endpoint_off(lua_State* L, const ntl_kind_t* kind,
                     const ntl_list_t* list);

#define NTL_ENDPOINT_LISTENERS(kind, name, list)                               \
  static int on_##name##_listener(lua_State* L) {                              \
    return ntl_endpoint_on(L, kind, list);                                     \
  }                                                                            \
  static int off_##name##_listener(lua_State* L) {                             \
    return ntl_endpoint_off(L, kind, list);                                    \
  }

/* Nothing but its end and what its methods have to say is told of it any more.
 */
void ntl_endpoint_mute(lua_State* L, int self);

/* ---- What a method has to tell ------------------------------------------- */

/* All of these come in a later update(), as if it were an event, also when the
 * socket has ended. The socket is at `self`; `method` is its method. */

/* onError for a code of the core. */
void ntl_endpoint_complain(lua_State* L, int self, const char* method,
                           int error);
/* onError since the argument `name` has the value on top, which is popped. */
void ntl_endpoint_complain_of(lua_State* L, int self, const char* method,
                              const char* name);
/* onError for the fault of the Lua layer that is on top and is popped. */
void ntl_endpoint_complain_with(lua_State* L, int self, const char* method);
typedef enum ntl_told {
  NTL_TOLD_LISTENING,
  NTL_TOLD_WIFI
} ntl_told_t;
/* Another listener than onError. */
void ntl_endpoint_tell(lua_State* L, int self, ntl_told_t told);
/* Calls a function of the Lua layer with self, the method's name and its
 * argument, which are the stack. */
void ntl_endpoint_leave(lua_State* L, const ntl_state_t* s,
                        ntl_handler_t handler, const char* method);

/* ---- Events -------------------------------------------------------------- */

/* When it failed; the numbers are known to the Lua layer. */
typedef enum ntl_phase {
  NTL_PHASE_CALL,    /* a method was refused */
  NTL_PHASE_CONNECT, /* never was connected */
  NTL_PHASE_OPEN
} ntl_phase_t;

/* Push the table for onError. `record` is that of the socket, and the current
 * event's error and message are told. `method` is the one that it comes of, or
 * NULL. */
void ntl_endpoint_push_error(lua_State* L, const ntl_state_t* s,
                             const ntl_kind_t* kind, int record,
                             const char* method, ntl_phase_t phase);
/* onMessage{message, remoteInfo, localInfo} with the event's data. */
void ntl_endpoint_message(lua_State* L, ntl_state_t* s, int record,
                          const nt_event_t* event, const nt_address_t* remote,
                          const nt_address_t* local, const ntl_kind_t* kind);
/* The last event, which is popped with all that stands on the stack above the
 * record: onError if it has an error, then onClose with the table on top. */
void ntl_endpoint_end(lua_State* L, ntl_state_t* s, int record,
                      const nt_event_t* event, const ntl_kind_t* kind,
                      const char* method, ntl_phase_t phase);

/* ---- Arguments ----------------------------------------------------------- */

/* A port in argument or field `idx`: 1 to 65535, or 0 if it is none. */
int ntl_endpoint_port(lua_State* L, int idx);
/* Text without NUL at `idx`, else NULL. */
const char* ntl_endpoint_text(lua_State* L, int idx);

#endif
