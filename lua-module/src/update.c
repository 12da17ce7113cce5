/* net.update() and its relatives: taking events out of the core and running
 * callbacks, on the lua_State that called and on no other.
 *
 * The whole drain runs in one protected call, each callback in one of its own.
 * What fails between callbacks is our own work (no memory, or a finaliser of
 * the script that raised while we allocated): the event is then dispatched
 * again, and if that goes on failing its task ends with "out of memory", as
 * soon as there is memory for that. So an event is never lost and never
 * delivered twice, and update() itself raises only for wrong use. */
#include <limits.h>
#include <stdio.h>

#include "binding.h"
#include "lnettask.h"

#ifdef __GNUC__
#  define NTL_NOINLINE __attribute__((noinline))
#else
#  define NTL_NOINLINE
#endif

enum {
  DRAIN_STACK = 80, /* slots: the profile alone takes 40 */
  REDO_TRIES = 4,   /* a finaliser may raise more than once */
  RETRY_MS = 10,    /* without memory, in run() */
  JOBS_A_FRAME = 20000,
  CLOSE_MS = 500
};

/* ---- Messages ----------------------------------------------------------- */

static int message_handler(lua_State* L) {
  ntl_state_t* s = lua_touserdata(L, lua_upvalueindex(1));

  ntl_traceback(L, L, NULL, 1);
  ntl_set_ref(L, s->traceback);
  lua_settop(L, 1);
  return 1;
}

static void push_what(lua_State* L, const ntl_state_t* s) {
  if (s->failed_kind == NULL) {
    lua_pushstring(L, s->failed_what);
    return;
  }
  ntl_push_id(L, s->about);
  lua_pushfstring(L, "%s #%s %s", s->failed_kind->label, lua_tostring(L, -1),
                  s->failed_what);
  lua_remove(L, -2);
}

/* Protected: report(err, traceback, what). Argument 1 is the error. */
static int report_body(lua_State* L) {
  ntl_state_t* s = lua_touserdata(L, lua_upvalueindex(1));

  lua_settop(L, 1);
  ntl_push_ref(L, s->handlers[NTL_ON_ERROR]);
  lua_insert(L, 1);
  ntl_push_ref(L, s->traceback);
  if (!lua_isstring(L, -1)) { /* no memory to make one */
    lua_pop(L, 1);
    lua_pushliteral(L, "");
  }
  lua_pushboolean(L, 0);
  ntl_set_ref(L, s->traceback);
  push_what(L, s);
  lua_call(L, 3, 0);
  return 0;
}

/* The error is on top and is popped. Never raises. */
static void report(lua_State* L, ntl_state_t* s, const ntl_kind_t* kind,
                   const char* what) {
  s->failed_kind = kind;
  s->failed_what = what;
  ntl_push_ref(L, s->report);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK)
    return;
  lua_pop(L, 1); /* onError raised, and so did the log of that */
}

static int log_body(lua_State* L) {
  ntl_state_t* s = lua_touserdata(L, lua_upvalueindex(1));

  ntl_push_ref(L, s->handlers[NTL_ON_LOG]);
  lua_pushstring(L, s->log_level);
  lua_pushstring(L, s->log_text);
  lua_pushboolean(L, s->log_once);
  lua_call(L, 3, 0);
  return 0;
}

void ntl_log(lua_State* L, ntl_state_t* s, const char* level, const char* text,
             int once) {
  s->log_level = level;
  s->log_text = text;
  s->log_once = once != 0;
  ntl_push_ref(L, s->log);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK)
    lua_pop(L, 1);
}

/* ---- Callbacks ---------------------------------------------------------- */

/* One reading of the clock a callback: the time since the last one. */
static void note_callback(ntl_state_t* s, const ntl_kind_t* kind,
                          const char* what) {
  double now_ms = ntl_now_ms();
  double took_ms = now_ms - s->clock_ms;

  s->clock_ms = now_ms;
  if (took_ms <= s->longest_callback_ms)
    return;
  s->longest_callback_ms = took_ms;
  s->longest_id = s->about;
  s->longest_kind = kind;
  s->longest_what = what;
}

int ntl_call(lua_State* L, ntl_state_t* s, int nargs, const ntl_kind_t* kind,
             const char* what) {
  int status;

  if (s->epoch != s->event_epoch) {
    lua_pop(L, nargs + 1);
    return 0;
  }
  s->handed = true;
  status = lua_pcall(L, nargs, 0, NTL_FRAME_HANDLER);
  note_callback(s, kind, what);
  if (status != LUA_OK)
    report(L, s, kind, what);
  return s->epoch == s->event_epoch;
}

int ntl_call_results(lua_State* L, ntl_state_t* s, int base,
                     const ntl_kind_t* kind) {
  const char* const names[] = { lua_toboolean(L, base) ? "success" : "fail",
                                "complete", "settle" };
  int goes_on = 1;

  for (int i = 0; i < 3 && goes_on; i++) {
    if (!lua_isfunction(L, base + 2 + i))
      continue;
    lua_pushvalue(L, base + 2 + i);
    lua_pushvalue(L, base + 1);
    goes_on = ntl_call(L, s, 1, kind, names[i]);
  }
  return goes_on;
}

static bool is_in_time(const ntl_state_t* s) {
  return s->deadline_ms == 0 || s->clock_ms < s->deadline_ms;
}

bool ntl_may_go_on(ntl_state_t* s) {
  s->handed = false;
  s->unfinished = s->paused || !is_in_time(s);
  return !s->unfinished;
}

/* ---- Refusals ----------------------------------------------------------- */

static const ntl_kind_t refusal_kind = {
  "nettask.Refusal", "Refusal", "refusal", NULL, NULL, NULL,
};

/* For the host's records: of tasks of C as well, and of calls that made none.
 * `task` is NULL then, and when it has ended. */
static void dispatch_refusal(lua_State* L, ntl_state_t* s,
                             const ntl_task_t* task) {
  const ntl_kind_t* kind = task != NULL ? task->kind : &refusal_kind;

  ntl_push_ref(L, s->handlers[NTL_ON_AUDIT]);
  if (!lua_isfunction(L, -1)) /* "nettask.core" alone was loaded */
    return;
  lua_pushstring(L, task != NULL ? kind->name : NULL);
  if (s->event.id != 0)
    ntl_push_id(L, s->event.id);
  else
    lua_pushnil(L);
  lua_pushinteger(L, s->event.error);
  lua_pushstring(L, s->event.message);
  lua_call(L, 4, 2);
  if (lua_isfunction(L, -2))
    ntl_call(L, s, 1, kind, "onAudit");
}

/* ---- The drain ---------------------------------------------------------- */

/* Of the event's id; NULL when there is none. Pushes its record, or nil. */
static const ntl_task_t* push_task(lua_State* L, ntl_state_t* s) {
  const ntl_task_t* task;

  ntl_live_push(L, s, s->event.id);
  if (!lua_istable(L, -1))
    return NULL;
  lua_rawgeti(L, -1, NTL_SELF);
  task = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return task;
}

/* Events of ids that have no record belong to tasks that C started. */
static void dispatch(lua_State* L, ntl_state_t* s) {
  s->unfinished = false;
  s->about = s->event.id;
  s->task = push_task(L, s);
  if (s->event.type == NT_EV_REFUSED)
    dispatch_refusal(L, s, s->task);
  else if (s->event.type == NT_EV_LOOKUP)
    ntl_lookup_dispatch(L, s, &s->event);
  else if (s->task != NULL)
    s->task->kind->dispatch(L, s, &s->event);
}

/* What the event that was delivered has set going in promises and in
 * coroutines; also what was left of that by the last update(). Jobs make jobs:
 * a script that goes round in circles shall not hold up the frame for ever. */
static void run_jobs(lua_State* L, ntl_state_t* s) {
  while (s->has_jobs && s->job_quota > 0 && !s->paused && is_in_time(s)) {
    s->job_quota--;
    if (!ntl_job_run(L, s)) /* it has closed the context */
      return;
  }
}

static void prepare_frame(lua_State* L, ntl_state_t* s) {
  lua_settop(L, 0);
  luaL_checkstack(L, DRAIN_STACK, "update");
  ntl_push_ref(L, s->message_handler);
  ntl_live_frame(L, s);
}

static bool may_deliver(const ntl_state_t* s) {
  if (s->delivered >= s->quota || s->epoch != s->event_epoch || s->paused ||
      s->has_jobs)
    return false;
  if (s->context == NULL || nt_waiting(s->context) == 0)
    return false;
  return is_in_time(s);
}

/* Protected. */
static int drain(lua_State* L) {
  ntl_state_t* s = lua_touserdata(L, lua_upvalueindex(1));

  prepare_frame(L, s);
  run_jobs(L, s);
  while (may_deliver(s) && nt_poll(s->context, &s->event)) {
    s->delivered++;
    s->handed = false;
    s->holds_event = true;
    dispatch(L, s);
    if (s->unfinished)
      break;
    s->holds_event = false;
    lua_settop(L, NTL_FRAME_TOP);
    if (s->deadline_ms != 0)
      s->clock_ms = ntl_now_ms();
    run_jobs(L, s);
  }
  return 0;
}

/* Protected: the same event again. */
static int redo(lua_State* L) {
  ntl_state_t* s = lua_touserdata(L, lua_upvalueindex(1));

  prepare_frame(L, s);
  dispatch(L, s);
  return 0;
}

static int run_protected(lua_State* L, ntl_state_t* s, int body) {
  int status;

  ntl_push_ref(L, body);
  status = lua_pcall(L, 0, 0, 0);
  if (status != LUA_OK)
    report(L, s, NULL, "update");
  return status;
}

static void forget_payload(nt_event_t* event) {
  if (event->error == 0)
    event->error = NT_E_NOMEM;
  event->message = "";
  event->headers.count = event->headers.size = 0;
  event->data = NULL;
  event->size = 0;
  event->profile = NULL;
}

/* Whether the event must not be dispatched again. */
static bool is_settled(const ntl_state_t* s) {
  return s->handed || s->epoch != s->event_epoch;
}

/* Dispatches the event that is held again, its dispatch having failed. Returns
 * false when there is no memory even to say that there is none: the event is
 * kept, and the next update() comes back to it. So is a refusal, whose task may
 * go on. */
static bool redo_event(lua_State* L, ntl_state_t* s) {
  int status = LUA_OK;

  for (int i = 0; i < REDO_TRIES; i++) {
    if (is_settled(s))
      return true;
    status = run_protected(L, s, s->redo);
    if (status == LUA_OK)
      return true;
  }
  if (s->event.type == NT_EV_REFUSED)
    return is_settled(s) || status != LUA_ERRMEM;
  if (s->event.type == NT_EV_LOOKUP) {
    ntl_lookup_fail(s, s->event.id);
    return true;
  }
  if (!is_settled(s) && s->event.type != NT_EV_END) {
    nt_fail(s->context, s->event.id, NT_E_NOMEM, NULL);
    return true;
  }
  forget_payload(&s->event);
  if (!is_settled(s))
    status = run_protected(L, s, s->redo);
  if (status == LUA_OK || is_settled(s))
    return true;
  if (status == LUA_ERRMEM)
    return false;
  ntl_untrack(L, s, s->event.id);
  return true;
}

/* Each round takes at least one event, or is the last. An event that is not
 * finished is held for the next update(). */
static void drain_all(lua_State* L, ntl_state_t* s) {
  do {
    if (s->holds_event &&
        (!is_in_time(s) || !redo_event(L, s) || s->unfinished))
      return;
    s->holds_event = false;
  } while (run_protected(L, s, s->drain) != LUA_OK && s->holds_event);
}

static void note_update(ntl_state_t* s, double start_ms) {
  double took_ms = ntl_now_ms() - start_ms;

  if (took_ms > s->longest_update_ms)
    s->longest_update_ms = took_ms;
}

/* Delivers what has arrived by now; a negative budget is none. */
static void deliver(lua_State* L, ntl_state_t* s, double budget_ms,
                    size_t max_events) {
  nt_context_t* context = s->context;
  size_t arrived = context == NULL ? 0 : nt_collect(context);
  double start_ms;

  s->delivered = 0;
  arrived += s->holds_event;
  if (arrived == 0 && !s->has_jobs)
    return;
  if (s->paused || !lua_checkstack(L, LUA_MINSTACK))
    return;
  s->quota = arrived < max_events ? arrived : max_events;
  s->job_quota = JOBS_A_FRAME;
  s->clock_ms = start_ms = ntl_now_ms();
  s->deadline_ms = budget_ms < 0 ? 0 : start_ms + budget_ms;
  s->event_epoch = s->epoch;
  s->updating = true;
  if (context != NULL)
    nt_cork(context);
  drain_all(L, s);
  if (context != NULL && s->epoch == s->event_epoch)
    nt_uncork(context);
  s->updating = false;
  if (s->doomed != NULL) {
    nt_close(s->doomed, CLOSE_MS);
    s->doomed = NULL;
  }
  note_update(s, start_ms);
}

static void check_alive(lua_State* L, const ntl_state_t* s) {
  if (s->dead)
    luaL_error(L, "nettask: the Lua state is closing");
}

static void check_outside(lua_State* L, const ntl_state_t* s,
                          const char* name) {
  if (s->updating)
    luaL_error(L, "nettask: %s() called inside a callback", name);
}

static size_t waiting(const ntl_state_t* s) {
  size_t events = s->context == NULL ? 0 : nt_waiting(s->context);

  return events + s->holds_event + s->has_jobs;
}

/* ---- Script functions --------------------------------------------------- */

static double check_budget(lua_State* L, int arg) {
  lua_Number budget_ms;

  if (lua_isnoneornil(L, arg))
    return -1;
  budget_ms = luaL_checknumber(L, arg);
  luaL_argcheck(L, budget_ms == budget_ms, arg, "a number of ms expected");
  return budget_ms < 0 ? 0 : budget_ms;
}

static size_t check_count(lua_State* L, int arg) {
  lua_Number count;

  if (lua_isnoneornil(L, arg))
    return SIZE_MAX;
  count = luaL_checknumber(L, arg);
  luaL_argcheck(L, count >= 0, arg, "a number of events expected");
  return count < 1e15 ? (size_t) count : SIZE_MAX;
}

static int push_counts(lua_State* L, const ntl_state_t* s) {
  ntl_pushunsigned64(L, s->delivered);
  ntl_pushunsigned64(L, waiting(s));
  return 2;
}

static NTL_NOINLINE int update_busy(lua_State* L) {
  ntl_state_t* s = ntl_find(L);
  double budget_ms;
  size_t max_events;

  check_alive(L, s);
  check_outside(L, s, "update");
  budget_ms = check_budget(L, 1);
  max_events = check_count(L, 2);
  deliver(L, s, budget_ms, max_events);
  return push_counts(L, s);
}

/* update([budgetMs [, maxEvents]]) -> delivered, waiting. The idle frame has a
 * function of its own, so that it pays for nothing that the other needs: not
 * even for an upvalue. */
static int update(lua_State* L) {
  const ntl_state_t* s = ntl_sole();

  if (s->context == NULL || s->holds_event || s->has_jobs ||
      nt_collect(s->context) != 0)
    return update_busy(L);
  lua_pushinteger(L, 0);
  lua_pushinteger(L, 0);
  return 2;
}

/* Milliseconds to a deadline for nt_wait(); -1 without one. */
static int time_left(double deadline_ms) {
  double left;

  if (deadline_ms < 0)
    return -1;
  left = deadline_ms - ntl_now_ms();
  if (left <= 0)
    return 0;
  return left >= INT_MAX - 1 ? INT_MAX - 1 : (int) left + 1;
}

static double check_deadline(lua_State* L, int arg) {
  double timeout_ms = check_budget(L, arg);

  return timeout_ms < 0 ? -1 : ntl_now_ms() + timeout_ms;
}

/* How long run() may sleep before it comes back to an event that is held. */
static int hold_ms(const ntl_state_t* s, int left_ms) {
  if (!s->holds_event)
    return left_ms;
  return s->unfinished ? 0 : RETRY_MS;
}

/* The end of an idle task shows itself as an event that waits. */
static bool has_event(const ntl_state_t* s) {
  return (s->context != NULL && nt_collect(s->context) > 0) ||
         (s->holds_event && !s->updating);
}

/* Whether anything can still happen by itself. */
static bool is_busy(const ntl_state_t* s) {
  return s->live_count > s->idle_count || s->has_jobs ||
         (s->idle_count > 0 && has_event(s));
}

/* run([timeoutMs]) -> bool: updates until no task is left. False when the time
 * is over, and while delivery is paused, since then nothing can end. */
static int run(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  double deadline_ms = check_deadline(L, 1);

  check_outside(L, s, "run");
  while (is_busy(s) && !s->paused) {
    int left = time_left(deadline_ms);

    if (left == 0)
      break;
    if (!s->has_jobs)
      nt_wait(s->context, hold_ms(s, left));
    deliver(L, s, -1, SIZE_MAX);
  }
  lua_pushboolean(L, !is_busy(s));
  return 1;
}

/* wait([timeoutMs]) -> bool: sleeps until an event is ready. Without a time
 * and with no task there is nothing to wait for. */
static int wait(lua_State* L) {
  ntl_state_t* s = ntl_self(L);
  double deadline_ms = check_deadline(L, 1);
  int ready = 0;

  if ((s->holds_event || s->has_jobs) && !s->updating)
    ready = 1;
  else if (deadline_ms >= 0 || is_busy(s))
    ready = nt_wait(ntl_context(L, s), time_left(deadline_ms));
  lua_pushboolean(L, ready);
  return 1;
}

size_t nettask_update(lua_State* L, double budget_ms) {
  ntl_state_t* s = ntl_find(L);

  if (s == NULL)
    return 0;
  check_alive(L, s);
  check_outside(L, s, "nettask_update");
  deliver(L, s, budget_ms, SIZE_MAX);
  return s->delivered;
}

static int make_body(lua_State* L, lua_CFunction body) {
  ntl_push_state(L);
  lua_pushcclosure(L, body, 1);
  return ntl_new_ref(L);
}

void ntl_update_open(lua_State* L, ntl_state_t* s) {
  static const luaL_Reg funcs[] = {
    { "run", run },
    { "wait", wait },
    { NULL, NULL },
  };

  s->message_handler = make_body(L, message_handler);
  s->report = make_body(L, report_body);
  s->log = make_body(L, log_body);
  s->drain = make_body(L, drain);
  s->redo = make_body(L, redo);
  ntl_register(L, funcs);
  lua_pushcfunction(L, update);
  lua_setfield(L, -2, "update");
}
