/* What the tasks of HTTP have in common: RequestTask, DownloadTask and
 * UploadTask differ in what they send and in what becomes of the body. */
#ifndef NTL_LEXCHANGE_H
#define NTL_LEXCHANGE_H

#include "params.h"

/* ---- Starting -------------------------------------------------------------
 */

/* Argument 1 is the task, argument 2 the table `params`; reads of that the
 * fields url, baseUrl, method, headers (a flat list), proxy, total, timeouts,
 * and the flags http2, http3, stream, profile, anonymous, manual. The options
 * borrow from the stack and from the table. Returns 0, or how many values were
 * pushed for the caller to return: an error and, of a bad header, its name. */
int ntl_exchange_read(lua_State* L, nt_request_options_t* options);
/* Body of the end of core.xStart(): pushes the code, returns 1. */
int ntl_exchange_code(lua_State* L, int code);

/* ---- Events -------------------------------------------------------------- */

/* record[0]: what the events need to know of the options, as one number that
 * the Lua layer makes of core.plan and core.decode. The decode is in the lowest
 * bits. */
enum {
  NTL_PLAN_DECODE = 3,
  NTL_PLAN_CHUNKED = 4, /* the body is streamed */
  NTL_PLAN_HEAD = 8,    /* there is no body */
  NTL_PLAN_FAST = 16    /* useHighPerformanceMode, for the profile */
};

int ntl_exchange_plan(lua_State* L, int record);
/* Adds plan to the table on top. */
void ntl_exchange_register(lua_State* L);

void ntl_exchange_headers(lua_State* L, ntl_state_t* s, int record,
                          const nt_event_t* event, const ntl_kind_t* kind);
/* { progress, <done> = bytes, <total> = bytes } to the listeners. */
void ntl_exchange_progress(lua_State* L, ntl_state_t* s, int record,
                           const nt_event_t* event, const ntl_kind_t* kind,
                           const char* done, const char* total);
/* Pushes what is left of an answer for finish(), from data on; returns how
 * many values that are. */
typedef int (*ntl_push_body_t)(lua_State* L, int record,
                               const nt_event_t* event);
/* finish(record, kind, code, message, reasons, status, header, cookies,
 * profile, data, defect, path, size) -> ok, res, f, g, h. `kind` is the name
 * of the kind; with a response there is no message, without one all from
 * status on is nil. Then calls f, g and h. */
void ntl_exchange_end(lua_State* L, ntl_state_t* s, int record,
                      const nt_event_t* event, const ntl_kind_t* kind,
                      ntl_push_body_t push);

/* ---- Listeners ----------------------------------------------------------- */

extern const ntl_list_t ntl_on_headers, ntl_on_progress;
enum {
  NTL_EXCHANGE_LISTS = NTL_LISTS + 2 /* the first slot for other lists */
};

/* Methods of all of them, and all those of DownloadTask and UploadTask. */
int ntl_on_headers_received(lua_State* L);
int ntl_off_headers_received(lua_State* L);
extern const luaL_Reg ntl_file_methods[];

#endif
