/* What the files of the binding share. Private.
 *
 * Everything here runs on the host thread. One ntl_state_t belongs to each
 * lua_State family; it is a userdata anchored in the registry, its __gc is the
 * sentinel that ends the context at lua_close(). Functions of the module carry
 * it as their first upvalue: a lookup costs nothing and no script can replace
 * it. The lua_State itself is never kept. */
#ifndef NTL_BINDING_H
#define NTL_BINDING_H

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>

#include "compat.h"
#include "nettask.h"

/* Functions of the Lua layer that C calls, given to core.bind(). */
typedef enum ntl_handler {
  NTL_ON_ERROR,   /* report(err, traceback, what) */
  NTL_ON_LOG,     /* log(level, text, once) */
  NTL_ON_FINISH,  /* finish(record, ...): see lexchange.h */
  NTL_ON_PROFILE, /* profile(...) -> table: see convert.c */
  NTL_ON_SEND,    /* send(socket, options, code): see lsocket.c */
  NTL_ON_CLOSE,   /* close(socket, options) */
  NTL_ON_FAULT,   /* fault(...) -> table: see lendpoint.c */
  NTL_ON_DATA,    /* data(...) -> table: see lendpoint.c */
  NTL_ON_TCP,     /* tcp(socket, method, options): see ltcp.c */
  NTL_ON_REMARK,  /* remark(method, options): see ludp.c */
  NTL_ON_AUDIT,   /* audit(kind, id, code, target) -> f, record */
  NTL_ON_LOOKUP,  /* lookup(...) -> f | nil: see llookup.c */
  NTL_ON_REASONS, /* reasons(list, fault): see httpdns.lua */
  NTL_HANDLERS
} ntl_handler_t;

typedef struct ntl_state {
  nt_context_t* context; /* NULL until the first use, and after close() */
  unsigned epoch;        /* counts contexts: a change tells of a close() */
  bool dead;             /* lua_close() has begun; for good */
  bool paused;
  bool sealed;
  bool embedded;       /* the policy is that of nettask_configure() */
  bool sealing;        /* inside nettask_seal() */
  bool background;     /* the game is in it; also for contexts to come */
  bool own_proxies;    /* the host has allowed them, whatever the seal says */
  bool updating;       /* inside the drain of update() */
  size_t live_count;   /* tasks before their last event */
  nt_id_t newest_page; /* of live.c, */
  nt_id_t frame_page;  /* and the one at NTL_FRAME_PAGE */
  size_t idle_count;   /* of them, those that nothing can happen to as yet */
  size_t lookup_count; /* of those, the ones of llookup.c */
  nt_policy_t policy;
  nt_policy_t* kept; /* holds what `policy` points to; NULL: a preset's */

  /* Registry references, made once. */
  int core;        /* what luaopen returned */
  int live;        /* records of live tasks: see live.c */
  int drain, redo; /* bodies of update() that run protected */
  int report, log; /* the same for messages */
  int message_handler;
  int array_meta;  /* metatable of core.array() tables */
  int header_meta; /* metatable of header tables */
  int sockets;     /* global listeners: see lsocket.c */
  int services;    /* those of lmdns.c */
  int providers;   /* urls of HttpDNS by number: see llookup.c */
  int repeats;     /* weak: header table -> lower-case name -> values */
  /* Slots, false while they are empty. */
  int traceback;    /* of the error that is being reported */
  int placeholders; /* name of a secret -> what stands for it */
  int host;         /* the capability that seal() gave out */
  int module;       /* the table that require "nettask" returns */
  int handlers[NTL_HANDLERS];
  int jobs, turn, settle; /* what core.promises() was given */
  int promise_classes; /* set of the metatables of tasks that have promises */

  /* The update() that runs. */
  nt_event_t event;
  bool holds_event; /* `event` is being handled, or waits for memory or
                     * for the next budget */
  bool handed;      /* a callback of `event` has been called */
  bool unfinished;  /* there are more, for the next budget */
  bool has_jobs;    /* promises have something to do: see lpromise.c */
  const struct ntl_task* task; /* whose it is */
  nt_id_t about;               /* what messages call it */
  unsigned event_epoch;        /* of the context that `event` came from */
  nt_context_t* doomed;        /* closed while we read from its event */
  size_t quota, delivered;
  unsigned job_quota;
  double clock_ms;    /* the newest reading */
  double deadline_ms; /* 0: none */

  /* Since the last stats(). */
  double longest_update_ms, longest_callback_ms;
  nt_id_t longest_id;
  const struct ntl_kind* longest_kind;
  const char* longest_what;

  /* Arguments of the protected bodies, which take none from the stack. */
  const struct ntl_kind* failed_kind;
  const char* failed_what;
  const char* log_level;
  const char* log_text;
  nt_id_t orphan; /* opened, but Lua had no memory to keep it */
  bool log_once;

  /* lsocket.c: of the sockets that are live. */
  bool global_listeners; /* there are some */
  struct ntl_socket* oldest;
  struct ntl_socket* newest;
  struct ntl_socket* bound; /* the one that the global functions mean */

  struct ntl_task* scan; /* for local services, that the script may stop */
} ntl_state_t;

typedef struct ntl_task ntl_task_t;

/* What makes one kind of task. Static, one a file. */
typedef struct ntl_kind {
  const char* type_name; /* metatable, and start of tostring() */
  const char* label;     /* in messages: "RequestTask" */
  const char* name;      /* in stats(), and for the Lua layer: "request" */
  /* The record is on top of the stack, which is left as found. Calls user
   * functions through ntl_call() alone. May raise before the first of those
   * and is then called again for the same event. */
  void (*dispatch)(lua_State* L, ntl_state_t* s, const nt_event_t* event);
  /* The task is no longer live. NULL: nothing to do. Does not raise. */
  void (*forget)(ntl_state_t* s, ntl_task_t* task);
  /* Push a field that only this kind has, and return 1; else 0. NULL: there is
   * none. */
  int (*field)(lua_State* L, const ntl_state_t* s, const ntl_task_t* task,
               const char* name);
} ntl_kind_t;

/* How the userdata of every kind of task begins: an id, no resource. */
struct ntl_task {
  nt_id_t id; /* 0 until there is one */
  const ntl_kind_t* kind;
  bool aborted;  /* by abort(): its listeners are not called any more */
  bool inner;    /* works for another one, see relay.lua */
  bool promised; /* its record has a promise */
  bool settled;  /* its result is its user value; `ok` and `told` say more */
  bool ok;
  bool told;  /* its callbacks know that it failed */
  bool boxed; /* the result is no table, and lies in one */
};

/* A record is a table with the task in this slot, its listeners in
 * those behind, and fields that the files of the kinds name. Those of every
 * kind:
 *   silent   abort{silent=true}: nothing more is called
 *   promise  of somebody who asked for it, see lpromise.c
 *   outer    the record of the task that this one works for, see relay.lua
 *   inner    of such a task: false, or the newest task that works for it
 *   cancel   of such a task: called by abort() */
enum {
  NTL_SELF = 1,
  NTL_LISTS
};

/* One of the lists of listeners. */
typedef struct ntl_list {
  int slot;         /* in the record, NTL_LISTS or more */
  const char* name; /* of the method, for messages */
} ntl_list_t;

/* ---- module.c ----------------------------------------------------------- */

/* The state of the running C function, whose first upvalue it is. Raises when
 * the Lua state is being closed. */
ntl_state_t* ntl_self(lua_State* L);
/* The same by way of the registry; NULL when the module was never loaded. */
ntl_state_t* ntl_find(lua_State* L);
/* The state, when the process has just one; else a stand-in without context. */
extern _Atomic(ntl_state_t*) ntl_sole_state;
static inline ntl_state_t* ntl_sole(void) {
  return atomic_load_explicit(&ntl_sole_state, memory_order_relaxed);
}
/* The context, made now if there is none. Raises when that fails. */
nt_context_t* ntl_context(lua_State* L, ntl_state_t* s);
/* Raise "nettask: <message of the code>". */
int ntl_raise(lua_State* L, int error);
/* Push the state's userdata, the first upvalue of everything. */
void ntl_push_state(lua_State* L);
/* Add `funcs` to the table on top, each with the state as upvalue. */
void ntl_register(lua_State* L, const luaL_Reg* funcs);
void ntl_push_ref(lua_State* L, int ref);
/* Pop a value into a slot. */
void ntl_set_ref(lua_State* L, int ref);
/* A fresh slot, holding the value that is popped. */
int ntl_new_ref(lua_State* L);
/* Monotonic, in ms. */
double ntl_now_ms(void);

/* ---- host.c ------------------------------------------------------------- */

/* For functions that belong to the host. Raises after seal() unless the first
 * argument is the capability. Takes that off the stack. */
void ntl_gate(lua_State* L, ntl_state_t* s, const char* name);
/* Adds seal, close and their like to the table on top. */
void ntl_host_open(lua_State* L);
/* Push what require "nettask.core" gives after the seal. */
void ntl_push_door(lua_State* L);

/* ---- lpolicy.c ---------------------------------------------------------- */

/* The policy of this state is a copy of this one from now on, for the context
 * that there is and for later ones. On an error the old one is. */
int ntl_policy_use(ntl_state_t* s, const nt_policy_t* policy);
/* Tasks bring no proxies of their own from now on, unless the host has said
 * that they may. */
int ntl_policy_seal(ntl_state_t* s);
/* Adds setPolicy to the table on top. */
void ntl_policy_open(lua_State* L);

/* ---- lsecret.c ---------------------------------------------------------- */

/* Adds secretSet, secretRemove, secretNames and secret to the table on top. */
void ntl_secret_open(lua_State* L, ntl_state_t* s);

/* ---- lcookies.c --------------------------------------------------------- */

/* Adds cookieList, cookieSet, cookieClear and cookieState to the table on
 * top. */
void ntl_cookies_open(lua_State* L);

/* ---- lcache.c ----------------------------------------------------------- */

/* Adds cacheClear to the table on top. */
void ntl_cache_open(lua_State* L);

/* ---- live.c ------------------------------------------------------------- */

/* Before an id is made that will be added; may raise and run finalisers. */
void ntl_live_prepare(lua_State* L, const ntl_state_t* s);
/* The record at `record` is that of the id. */
void ntl_live_add(lua_State* L, ntl_state_t* s, nt_id_t id, int record);
/* Of one that was added. Does not raise. */
void ntl_live_remove(lua_State* L, ntl_state_t* s, nt_id_t id);
void ntl_live_clear(lua_State* L, ntl_state_t* s);
/* A frame begins: push what lies at NTL_FRAME_PAGE. */
void ntl_live_frame(lua_State* L, ntl_state_t* s);
/* In a frame: push the record of an id, or nil. */
void ntl_live_push(lua_State* L, ntl_state_t* s, nt_id_t id);
/* Call `each` for every live task. */
void ntl_live_each(lua_State* L, const ntl_state_t* s,
                   void (*each)(const ntl_task_t* task, void* arg), void* arg);
/* Push the record of an id, if there is one; 1 or 0. */
int ntl_push_record(lua_State* L, const ntl_state_t* s, nt_id_t id);

/* ---- update.c ----------------------------------------------------------- */

/* What lies at the bottom of the stack while an event is dispatched: what every
 * one of them needs, found once a frame. */
typedef enum ntl_frame {
  NTL_FRAME_HANDLER = 1, /* of messages */
  NTL_FRAME_PAGE,        /* of records, that ntl_live_push() looked into last */
  NTL_FRAME_TOP = NTL_FRAME_PAGE
} ntl_frame_t;

/* Call the function below `nargs` arguments, protected; all of them are
 * popped. An error goes to the host's onError with `what`, a static word that
 * names the callback. Returns 0 when nothing more of this event may be
 * delivered, since a callback has closed the context. Inside dispatch. */
int ntl_call(lua_State* L, ntl_state_t* s, int nargs, const ntl_kind_t* kind,
             const char* what);
/* Call what a finish() has returned, from `base` on: ok, res, and up to three
 * functions that take res: success or fail, complete, and what waits for both.
 * Returns as ntl_call(). */
int ntl_call_results(lua_State* L, ntl_state_t* s, int base,
                     const ntl_kind_t* kind);
/* For an event that has callbacks of several calls: what was called so far
 * will not be called again if the event is dispatched once more. Returns false
 * when the budget is spent (or delivery paused): dispatch has to return, and
 * the next update() comes back to the event. */
bool ntl_may_go_on(ntl_state_t* s);
void ntl_update_open(lua_State* L, ntl_state_t* s);

/* Give a line to the logger; with `once` the same text is given only one time.
 * Never raises. */
void ntl_log(lua_State* L, ntl_state_t* s, const char* level, const char* text,
             int once);

/* ---- task.c ------------------------------------------------------------- */

void ntl_push_id(lua_State* L, nt_id_t id);
/* Push a task without id, of that many bytes, all zero, and with `values` user
 * values. */
ntl_task_t* ntl_task_push(lua_State* L, const ntl_kind_t* kind, size_t size,
                          int values);
/* Body of core.xOpen(record [, outer]): returns an idle task that is live, of
 * that many bytes. It works for the task whose record is `outer`. */
int ntl_task_open(lua_State* L, const ntl_kind_t* kind, size_t size,
                  int (*open)(nt_context_t*, nt_id_t*));
/* Give the id of the task at `task` to it, and make it live with the record at
 * `record`. Returns what `open` did; raises when there is no context. */
int ntl_task_try(lua_State* L, ntl_state_t* s, int task, int record,
                 int (*open)(nt_context_t*, nt_id_t*));
/* The same; raises whenever that cannot be. */
void ntl_task_begin(lua_State* L, ntl_state_t* s, int task, int record,
                    int (*open)(nt_context_t*, nt_id_t*));
/* Body of core.xRefuse(task): an idle task ends with NT_E_INVALID; what the
 * script is told lies in its record. */
int ntl_task_refuse(lua_State* L, const ntl_kind_t* kind);
/* The id has ended: its record is garbage. Does not raise. */
void ntl_untrack(lua_State* L, ntl_state_t* s, nt_id_t id);
/* As scripts see it: "queued". */
const char* ntl_state_name(nt_state_t state);
ntl_task_t* ntl_task_check(lua_State* L, int arg, const ntl_kind_t* kind);
/* Argument 1 of a method: a task of the class that the method is of. */
ntl_task_t* ntl_task_self(lua_State* L);
/* Make the metatable of the kind, with the members that all tasks have (state,
 * id, abort, tostring) and `methods`. */
void ntl_task_class(lua_State* L, const ntl_kind_t* kind,
                    const luaL_Reg* methods);

/* ---- lpromise.c --------------------------------------------------------- */

extern const ntl_kind_t ntl_promise_kind;

/* A finish() has returned what lies from `base` on, see ntl_call_results(): the
 * task at `task` keeps its result, for promises that are made later. Does not
 * raise. */
void ntl_result_keep(lua_State* L, int task, int base);
/* The promise in the record at `record`, if there is one, comes to that result.
 * Without one (`ok` is nil) it is dropped. */
void ntl_promise_settle(lua_State* L, const ntl_state_t* s, int record,
                        int base, const ntl_kind_t* kind);
/* Take one job out of the queue and run it. Returns as ntl_call(). */
int ntl_job_run(lua_State* L, ntl_state_t* s);
/* Empties the queue. */
void ntl_jobs_clear(lua_State* L, ntl_state_t* s);
/* Adds promises, promiseOf, isTask, accept and wantTurn to the table on top. */
void ntl_promise_open(lua_State* L, ntl_state_t* s);

/* ---- listener.c --------------------------------------------------------- */

/* Body of the methods onX(f) and offX([f]). */
int ntl_listener_on(lua_State* L, const ntl_list_t* list);
int ntl_listener_off(lua_State* L, const ntl_list_t* list);
/* The same for the lists in the table at `lists`, with f in argument `arg`. */
void ntl_listener_add(lua_State* L, int lists, int arg, const ntl_list_t* list);
void ntl_listener_remove(lua_State* L, int lists, int arg,
                         const ntl_list_t* list);
/* Whether there are any in the table at `lists`: a record, say. */
bool ntl_has_listeners(lua_State* L, int lists, const ntl_list_t* list);
/* The same for the task of the event that is being dispatched, whose record
 * that is, and for the tasks that it works for. */
bool ntl_is_heard(lua_State* L, const ntl_state_t* s, int record,
                  const ntl_list_t* list);
/* Call those in the record at `record`, in order, with the value on top, which
 * is popped; then those of the tasks that it works for. Those removed meanwhile
 * are not called, those added meanwhile not yet, and none once the task was
 * aborted. Returns as ntl_call(). Inside dispatch, for the task of the event.
 */
int ntl_fire(lua_State* L, ntl_state_t* s, int record, const ntl_kind_t* kind,
             const ntl_list_t* list);

/* ---- notice.c ----------------------------------------------------------- */

/* Adds notice to the table on top. */
void ntl_notice_open(lua_State* L);

/* ---- llookup.c ---------------------------------------------------------- */

/* Ask the host's provider what the core asks. Like a dispatch. */
void ntl_lookup_dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);
/* The question of that id finds no answer. Does not raise. */
void ntl_lookup_fail(const ntl_state_t* s, nt_id_t id);
/* Push the array of what went wrong with HttpDNS, with the core's numbers. */
void ntl_lookup_push_reasons(lua_State* L, ntl_state_t* s,
                             const nt_event_t* event);
/* Adds lookupOpen, lookupStart, dnsRead and provide to the table on top. */
void ntl_lookup_open(lua_State* L, ntl_state_t* s);

/* ---- convert.c ---------------------------------------------------------- */

/* How a body becomes `data`; the numbers are known to the Lua layer. */
typedef enum ntl_decode {
  NTL_DECODE_TEXT,
  NTL_DECODE_JSON,
  NTL_DECODE_BASE64,
  NTL_DECODE_BUFFER
} ntl_decode_t;

void ntl_convert_open(lua_State* L, ntl_state_t* s);
/* Header names, which have no case. */
bool ntl_same_name(const char* a, const char* b);
/* Push an empty array, marked as such for JSON. */
void ntl_push_array(lua_State* L, ntl_state_t* s);
/* Push the header table, then the array of Set-Cookie values. */
void ntl_push_headers(lua_State* L, ntl_state_t* s,
                      const nt_headers_t* headers);
/* Push `data` and what is wrong with it: nil, "json" (data is the text) or
 * "charset" (data is nil). */
void ntl_push_body(lua_State* L, ntl_decode_t decode, const char* bytes,
                   size_t size, const nt_headers_t* headers);
/* Push the profile table. */
void ntl_push_profile(lua_State* L, ntl_state_t* s, const nt_profile_t* profile,
                      int high_performance);

/* ---- One for each kind of task ------------------------------------------ */

void ntl_request_open(lua_State* L);
void ntl_download_open(lua_State* L);
void ntl_upload_open(lua_State* L);
void ntl_store_open(lua_State* L);
void ntl_socket_open(lua_State* L, ntl_state_t* s);
void ntl_endpoint_open(lua_State* L);
void ntl_tcp_open(lua_State* L);
void ntl_udp_open(lua_State* L);
void ntl_mdns_open(lua_State* L, ntl_state_t* s);
void ntl_sleep_open(lua_State* L);

#endif
