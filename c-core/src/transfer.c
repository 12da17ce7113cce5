/* HTTP transfers. I/O thread only.
 *
 *   submit -> queue -> lookup in turn -> hop -> end
 *               ^           ^  |          |
 *               |           +--|-redirect-+
 *               +- ask a resolver of the host's
 *
 * Whoever waits for such an answer makes room for others: what the host does
 * to find one may be a request that stands in the same queue. With the answer
 * it is the next to go on.
 *
 * libcurl follows no redirect: each hop is a new start of the same transfer, so
 * that URL, policy and credentials are decided anew. */
#include "transfer.h"

#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "cache.h"
#include "cookies.h"
#include "failure.h"
#include "gate.h"
#include "hop.h"
#include "redirect.h"
#include "stage.h"

struct nt__transfers {
  nt_context_t* ctx;
  nt__node_t queue;     /* wait for others to end */
  nt__node_t returning; /* the same, and had begun before */
  nt__node_t starting;  /* start their hop in this turn */
  size_t running;
  nt__quota_t begun; /* in the last second */
  nt__timer_t timer; /* when more may begin */
};

enum {
  SECOND_MS = 1000,
  STARTS_A_TURN = 1024 /* stored redirects may lead round and round */
};

/* The turn that follows begins them. */
static void on_second_over(nt__timer_t* timer) {
  (void) timer;
}

int nt__transfers_open(nt_context_t* ctx) {
  nt__transfers_t* transfers = nt__calloc(sizeof(*transfers));

  ctx->io.transfers = transfers;
  if (transfers == NULL)
    return NT_E_NOMEM;
  transfers->ctx = ctx;
  transfers->timer.on_due = on_second_over;
  nt__list_init(&transfers->queue);
  nt__list_init(&transfers->returning);
  nt__list_init(&transfers->starting);
  return 0;
}

void nt__transfers_free(nt__transfers_t* transfers) {
  if (transfers == NULL)
    return;
  nt__timer_clear(&transfers->ctx->io.timers, &transfers->timer);
  nt__quota_free(&transfers->begun);
  nt__free(transfers);
}

void nt__transfer_fini(nt__transfer_t* t) {
  nt__ask_free(t);
  nt__url_free(&t->url);
  nt__headers_free(&t->headers);
}

void nt__transfer_post_headers(nt__transfer_t* t) {
  nt__task_t* task = t->task;

  task->head.type = NT_EV_HEADERS;
  task->head.id = task->id;
  task->head.task = task;
  nt__event_post(task->ctx, &task->head, t->headers.bytes.size);
}

void nt__transfer_show(const nt__transfer_t* t, nt_event_t* event) {
  event->status = t->status;
  event->headers = nt__headers_view(&t->headers);
  event->url = t->url.text;
  event->redirects = t->redirects;
  if (event->type == NT_EV_END && event->error == 0 &&
      (t->flags & NT_REQUEST_PROFILE))
    event->profile = &t->profile;
  if (event->type == NT_EV_END)
    nt__ask_show(t, event);
}

static nt__transfers_t* transfers_of(const nt__transfer_t* t) {
  return nt__transfer_context(t)->io.transfers;
}

bool nt__transfer_is_method(const nt__transfer_t* t, const char* method) {
  return strcmp(t->method, method) == 0;
}

/* ---- Ending -------------------------------------------------------------- */

static void leave_place(nt__transfer_t* t) {
  transfers_of(t)->running -= t->running;
  t->running = false;
}

/* Out of the queue, the clocks and libcurl. */
static void withdraw(nt__transfer_t* t, int error) {
  nt__timer_clear(&nt__transfer_context(t)->io.timers, &t->timer);
  if (nt__node_linked(&t->node))
    nt__list_remove(&t->node);
  nt__ask_leave(t);
  nt__hop_end(t, error);
  nt__visit_end(t);
  leave_place(t);
}

/* Where it was to lead, for the host's records. */
static void show(nt__transfer_t* t, const nt__url_t* url) {
  char* message = t->task->message;
  size_t size = sizeof(t->task->message);

  if (t->own_protocol)
    snprintf(message, size, "%s://%s", url->secure ? "tls" : "tcp",
             url->authority);
  else
    nt__gate_show(url, message, size);
}

/* `message` NULL keeps what was written into the task. */
static void finish(nt__transfer_t* t, int error, const char* message) {
  nt__task_t* task = t->task;

  withdraw(t, error);
  task->error = error;
  if (error == 0)
    message = "";
  if (message != NULL) {
    strncpy(task->message, message, sizeof(task->message) - 1);
    task->message[sizeof(task->message) - 1] = '\0';
  }
  if (task->message[0] == '\0' && nt_error_is_refusal(error))
    show(t, &t->url);
  t->ops->on_end(t);
}

void nt__transfer_fail(nt__transfer_t* t, int error, const char* message) {
  finish(t, error, message == NULL ? "" : message);
}

void nt__transfer_cancel(nt__transfer_t* t) {
  withdraw(t, NT_E_ABORTED);
}

void nt__transfer_resume(nt__transfer_t* t) {
  nt__hop_resume(t);
}

static void prepare_hop(nt__transfer_t* t);

/* True: the cache has something else in mind, and the hop begins again. */
static bool begin_anew(nt__transfer_t* t, int error) {
  if (!nt__visit_turns(t, error))
    return false;
  if (nt__node_linked(&t->node))
    nt__list_remove(&t->node);
  nt__hop_end(t, error);
  prepare_hop(t);
  return true;
}

static bool is_over(const nt__transfer_t* t) {
  return t->total_due != 0 && nt__transfer_now(t) >= t->total_due;
}

/* ---- Beginning a hop ----------------------------------------------------- */

static void on_lookup_turn(nt__lookup_turn_t* turn, int error) {
  nt__transfer_t* t = nt__container_of(turn, nt__transfer_t, lookup);

  if (error == 0)
    nt__list_append(&transfers_of(t)->starting, &t->node);
  else if (!begin_anew(t, error))
    finish(t, nt__ask_was_refused(t) ? NT_E_PRIVATE : error, "");
}

/* By the address that a resolver has given, if there is one. */
static void look_up(nt__transfer_t* t) {
  nt__lookups_t* lookups = nt__transfer_context(t)->io.lookups;

  nt__stage_enter(t, NT__STAGE_DNS);
  t->lookup.on_turn = on_lookup_turn;
  if (t->url.literal || nt__ask_line(t) != NULL ||
      nt__lookup_begin(lookups, &t->lookup, t->url.authority))
    nt__list_append(&transfers_of(t)->starting, &t->node);
}

static void on_answer(nt__transfer_t* t);

/* True: it goes on in on_answer(). */
static bool ask(nt__transfer_t* t) {
  if (!nt__ask_begin(t, on_answer))
    return false;
  leave_place(t);
  nt__stage_enter(t, NT__STAGE_ASKING);
  return true;
}

/* Its head counts before it is sent, about: else any number could begin before
 * the first has said what it took. */
static void meter_head(nt__transfer_t* t) {
  nt__meter_t* meter = &nt__transfer_context(t)->meter;
  size_t i;

  if (meter->max == 0 || t->connects)
    return;
  t->metered_out = strlen(t->method) + strlen(t->url.text);
  for (i = 0; i < t->field_count; i++)
    t->metered_out += strlen(t->fields[i].line.data);
  nt__meter_count(meter, t->metered_out);
}

/* What it has to wait for before anybody answers: the file of the cookies, and
 * the cache. 0, NT__WAIT or an error. */
static int prepare_answer(nt__transfer_t* t) {
  int result = nt__cookies_wait(t) ? NT__WAIT : nt__visit_begin(t);

  if (result == NT__WAIT)
    nt__stage_enter(t, NT__STAGE_WAITING); /* the total time runs */
  return result;
}

static void prepare_hop(nt__transfer_t* t) {
  int result;

  t->headers_done = false;
  result = prepare_answer(t);
  if (result < 0)
    finish(t, result, "");
  if (result != 0)
    return;
  if (nt__visit_plays(t)) {
    t->stage = NT__STAGE_WAITING; /* for its turn alone */
    nt__list_append(&transfers_of(t)->starting, &t->node);
    return;
  }
  meter_head(t);
  if (!ask(t))
    look_up(t);
}

/* The first hop waits for the owner. */
static void prepare_first(nt__transfer_t* t) {
  t->prepared = true;
  nt__stage_enter(t, NT__STAGE_WAITING); /* the total time runs */
  if (t->ops->prepare(t))
    prepare_hop(t);
}

/* After an answer. */
static void go_on(nt__transfer_t* t) {
  if (t->ops->prepare != NULL && !t->prepared)
    prepare_first(t);
  else
    look_up(t);
}

/* The same hop by the next address, or by the system's. */
static void go_another_way(nt__transfer_t* t, int error) {
  nt__ask_fail(t, t->address_refused ? NT_E_PRIVATE : error);
  nt__hop_end(t, 0);
  look_up(t);
}

/* What has lasted too long is no failure where there is another way. */
static bool evade(nt__transfer_t* t) {
  if (!nt__stage_lapsed(t))
    return false;
  if (t->stage == NT__STAGE_ASKING) {
    nt__ask_expire(t);
    on_answer(t);
    return true;
  }
  if (t->stage != NT__STAGE_CONNECT || nt__ask_line(t) == NULL)
    return false;
  go_another_way(t, NT_E_CONNECT_TIMEOUT);
  return true;
}

static void on_due(nt__timer_t* timer) {
  nt__transfer_t* t = nt__container_of(timer, nt__transfer_t, timer);
  bool refused = t->address_refused && t->stage == NT__STAGE_CONNECT;
  const char* over;

  if (evade(t))
    return;
  over = nt__stage_expired(t);
  if (over == NULL)
    return;
  if (refused)
    finish(t, NT_E_PRIVATE, ""); /* and no other address has answered */
  else if (is_over(t) || !begin_anew(t, NT_E_TIMEOUT))
    finish(t, NT_E_TIMEOUT, over);
}

/* ---- Redirects ----------------------------------------------------------- */

/* The host goes where it likes. */
static int check_url(const nt__transfer_t* t, const nt__url_t* url) {
  if ((t->flags & NT_REQUEST_OF_HOST) == 0)
    return nt__gate_url(t->task->policy, t->access, url);
  if (!url->http)
    return NT_E_SCHEME;
  return url->foreign ? NT_E_URL : 0;
}

/* Where the response points to: 0 and `next`, or why not. */
static int find_next(nt__transfer_t* t, nt__url_t* next) {
  const char* location = nt__headers_find(&t->headers, "location");
  int err;

  if (t->redirects >= nt__transfer_policy(t)->max_redirects)
    return NT_E_REDIRECTS;
  err = nt__url_parse(next, t->url.text, location);
  if (err)
    return err;
  err = check_url(t, next);
  if (err) {
    show(t, next);
    nt__url_free(next);
  }
  return err;
}

static void follow(nt__transfer_t* t) {
  nt__url_t next;
  int err = find_next(t, &next);

  if (err == NT_E_URL) {
    finish(t, err, nt__headers_find(&t->headers, "location"));
    return;
  }
  if (err) {
    finish(t, err, nt_error_is_refusal(err) ? NULL : "");
    return;
  }
  if (t->redirects++ == 0)
    t->profile.redirect_start = t->profile.fetch_start;
  t->profile.redirect_end = nt__unix_ms();
  nt__redirect_adapt(t, &next);
  nt__hop_end(t, 0);
  nt__ask_reset(t);
  nt__visit_end(t);
  nt__url_free(&t->url);
  t->url = next;
  prepare_hop(t);
}

void nt__transfer_played(nt__transfer_t* t) {
  if (t->following)
    follow(t);
  else
    finish(t, 0, "");
}

static void ask_again(nt__transfer_t* t) {
  nt__hop_end(t, 0);
  prepare_hop(t);
}

/* Also an address with a zone is looked up. */
static bool is_unreached(CURLcode code) {
  return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
}

/* With a proxy it is the proxy that could not be reached. Where an address was
 * refused and no other has answered, that is why. */
static int failure_of(const nt__transfer_t* t, CURLcode code) {
  int err = nt__failure(t->easy.curl, code, t->task->message);
  bool unreached = is_unreached(code) || code == CURLE_OPERATION_TIMEDOUT;

  if (unreached && (t->address_refused || nt__ask_was_refused(t)))
    err = NT_E_PRIVATE;
  if (nt_error_is_refusal(err)) {
    t->task->message[0] = '\0'; /* finish() has a better one */
    return err;
  }
  if (nt__transfer_proxy(t) != NULL && code == CURLE_COULDNT_CONNECT)
    return NT_E_PROXY;
  /* libcurl names a file that nobody knows. */
  if (err == NT_E_TRUST && nt__transfer_policy(t)->ca_data != NULL)
    snprintf(t->task->message, sizeof(t->task->message),
             "no certificate could be read from ca_data");
  return err;
}

/* What libcurl's result means: 0 when all that was wanted has come. */
static int error_of(const nt__transfer_t* t, CURLcode code) {
  if (t->failure)
    return t->failure;
  if (t->complete)
    return 0;
  /* Also what libcurl says of a header line above its own cap. */
  if (code == CURLE_OUT_OF_MEMORY && !t->headers_done &&
      t->stage >= NT__STAGE_FIRST_BYTE &&
      t->alloc_failures == nt__alloc_failures())
    return NT_E_HEADER_SIZE;
  if (code != CURLE_OK)
    return failure_of(t, code);
  if (t->connects)
    return 0;
  /* libcurl is content with a header that a close has cut off. */
  return t->headers_done ? 0 : NT_E_DROPPED;
}

static void on_done(nt__easy_t* easy, CURLcode code) {
  nt__transfer_t* t = nt__container_of(easy, nt__transfer_t, easy);
  int err = error_of(t, code);

  if (is_unreached(code) && nt__ask_line(t) != NULL) {
    go_another_way(t, err);
    return;
  }
  if (begin_anew(t, err))
    return;
  if (err) {
    finish(t, err, t->failure ? "" : NULL);
    return;
  }
  if (t->again) {
    ask_again(t);
    return;
  }
  nt__visit_commit(t);
  if (t->connects)
    t->ops->on_connected(t);
  else if (t->following)
    follow(t);
  else
    finish(t, 0, "");
}

/* ---- The queue ----------------------------------------------------------- */

static const nt_policy_t* policy_of(const nt__transfers_t* transfers) {
  return &transfers->ctx->io.policy->values;
}

static bool has_place(const nt__transfers_t* transfers) {
  uint32_t max = policy_of(transfers)->max_requests;

  return (max == 0 || transfers->running < max) &&
         !nt__meter_is_spent(&transfers->ctx->meter);
}

/* Whether this second lets one more begin; else the timer is set. Without the
 * memory to count them none begins, until there is some. */
static bool is_in_time(nt__transfers_t* transfers) {
  nt_context_t* ctx = transfers->ctx;
  nt__timer_t* timer = &transfers->timer;
  uint64_t now = nt__now(ctx);
  uint64_t due;

  if (nt__quota_due(&transfers->begun,
                    policy_of(transfers)->requests_per_second, SECOND_MS,
                    &due) != 0)
    due = now + SECOND_MS;
  if (due <= now)
    return true;
  if (timer->index == 0 || timer->due > due)
    nt__timer_set(&ctx->io.timers, timer, due);
  return false;
}

/* Takes the place of one that begins now, if there is one. */
static bool take_place(nt__transfers_t* transfers) {
  if (!has_place(transfers) || !is_in_time(transfers))
    return false;
  nt__quota_take(&transfers->begun, policy_of(transfers)->requests_per_second,
                 SECOND_MS, nt__now(transfers->ctx));
  return true;
}

static void start_clocks(nt__transfer_t* t) {
  t->profile.queue_end = nt__unix_ms();
  t->total_due =
      t->timeouts.total == 0 ? 0 : nt__transfer_now(t) + t->timeouts.total;
}

static void run(nt__transfers_t* transfers, nt__transfer_t* t) {
  t->running = true;
  transfers->running++;
}

/* One that has to be prepared asks before that: many may wait for an answer,
 * and none of them has a file open. */
static void begin(nt__transfers_t* transfers, nt__transfer_t* t) {
  run(transfers, t);
  start_clocks(t);
  if (t->ops->prepare == NULL)
    prepare_hop(t);
  else if (!ask(t))
    prepare_first(t);
}

/* What is left of its time does not run while it waits for a place again. */
static void return_to_queue(nt__transfers_t* transfers, nt__transfer_t* t) {
  uint64_t now = nt__transfer_now(t);

  t->total_left = t->total_due > now ? t->total_due - now : t->total_due != 0;
  t->total_due = 0;
  nt__stage_enter(t, NT__STAGE_WAITING);
  nt__list_append(&transfers->returning, &t->node);
  nt__event_post_state(transfers->ctx, t->task->id, NT_STATE_QUEUED);
}

static void come_back(nt__transfers_t* transfers, nt__transfer_t* t) {
  run(transfers, t);
  if (t->total_left != 0)
    t->total_due = nt__transfer_now(t) + t->total_left;
  t->total_left = 0;
  nt__event_post_state(transfers->ctx, t->task->id, NT_STATE_CONNECTING);
  go_on(t);
}

/* The host's own, and what only connects, need no place. */
static bool needs_place(const nt__transfer_t* t) {
  return !t->connects && (t->flags & NT_REQUEST_OF_HOST) == 0;
}

static void on_answer(nt__transfer_t* t) {
  nt__transfers_t* transfers = transfers_of(t);

  if (!needs_place(t)) {
    go_on(t);
  } else if (nt__list_empty(&transfers->returning) && has_place(transfers)) {
    run(transfers, t);
    go_on(t);
  } else {
    return_to_queue(transfers, t);
  }
}

void nt__transfer_proceed(nt__transfer_t* t) {
  prepare_hop(t);
}

/* Its password is nobody's business. */
static int check_proxy(nt__transfer_t* t) {
  int err = nt__gate_proxy(t->task->policy, t->access, t->proxy);

  if (err)
    nt__gate_show_text(t->proxy, t->task->message, sizeof(t->task->message));
  return err;
}

/* Where the first hop leads; the host of what has a protocol of its own was
 * checked by its owner. */
static int check(nt__transfer_t* t) {
  int err;

  if (t->own_protocol)
    err = t->url.foreign ? NT_E_ADDRESS : 0;
  else
    err = check_url(t, &t->url);
  return err ? err : check_proxy(t);
}

/* False: the policy refuses it, and it has ended. */
static bool prepare(nt__transfer_t* t) {
  int err;

  t->task->message[0] = '\0';
  err = check(t);
  if (err == 0 && nt__meter_is_spent(&nt__transfer_context(t)->meter))
    err = NT_E_QUOTA;
  nt__node_init(&t->node);
  nt__ask_reset(t);
  t->prepared = false;
  t->timer.on_due = on_due;
  t->easy.on_done = on_done;
  t->profile.queue_start = nt__unix_ms();
  t->profile.cache = "";
  if (err)
    finish(t, err, err == NT_E_URL ? t->url.text : NULL);
  return err == 0;
}

void nt__transfer_connect(nt__transfer_t* t) {
  t->connects = true;
  if (!prepare(t))
    return;
  start_clocks(t);
  prepare_hop(t);
}

void nt__transfer_submit(nt__transfer_t* t) {
  nt__transfers_t* transfers = transfers_of(t);

  if (!prepare(t))
    return;
  if (!needs_place(t)) {
    start_clocks(t);
    prepare_hop(t);
    return;
  }
  if (nt__list_empty(&transfers->returning) &&
      nt__list_empty(&transfers->queue) && take_place(transfers)) {
    begin(transfers, t);
    return;
  }
  nt__list_append(&transfers->queue, &t->node);
  nt__event_post_state(transfers->ctx, t->task->id, NT_STATE_QUEUED);
}

static void start(nt__transfer_t* t) {
  bool plays = nt__visit_plays(t);
  int err = nt__hop_enter(t);

  if (err == 0 && !plays)
    err = nt__hop_start(t);
  if (err)
    finish(t, err, NULL);
  else if (plays)
    nt__visit_play(t);
}

bool nt__transfers_pending(nt__transfers_t* transfers) {
  return !nt__list_empty(&transfers->starting) ||
         (!nt__list_empty(&transfers->returning) && has_place(transfers)) ||
         (!nt__list_empty(&transfers->queue) && has_place(transfers) &&
          is_in_time(transfers));
}

void nt__transfers_run(nt__transfers_t* transfers) {
  nt__node_t* node;
  int left = STARTS_A_TURN;

  while (left-- > 0) {
    while (!nt__list_empty(&transfers->returning) && has_place(transfers))
      come_back(transfers,
                nt__container_of(nt__list_shift(&transfers->returning),
                                 nt__transfer_t, node));
    while (!nt__list_empty(&transfers->queue) && take_place(transfers)) {
      nt__transfer_t* t = nt__container_of(nt__list_shift(&transfers->queue),
                                           nt__transfer_t, node);

      nt__event_post_state(transfers->ctx, t->task->id, NT_STATE_CONNECTING);
      begin(transfers, t);
    }
    node = nt__list_shift(&transfers->starting);
    if (node == NULL)
      return;
    start(nt__container_of(node, nt__transfer_t, node));
  }
}
