/* The host's end: what is known of each id, and nt_poll().
 *
 * The host takes in whatever has arrived, sorts it into the entries of the ids,
 * and delivers one event an entry in turn. What the host itself ends (an abort,
 * a refused argument) becomes the last event of the same entry, so there is one
 * stream and one order. Host thread only. */
#include <string.h>

#include "internal.h"

enum {
  SORT_A_COLLECT = 64, /* events sorted at once: some 10 us */
  SORT_A_POLL = 8
};

/* What is known of an id until its last event is delivered. */
typedef struct nt__entry {
  nt_id_t id;
  nt__node_t ready;      /* in ctx->ready while it has something to deliver */
  nt__link_t ended_link; /* in ctx->ended */
  nt__fifo_t events;
  nt_state_t state;
  bool started; /* the I/O thread has the block */
  bool ended;   /* by the host, with `error` and `message` */
  bool muted;   /* the host wanted it to end: only its last event is still
                 * delivered, with `error` unless it is a success */
  int error;
  char* message;
  nt__command_t* abort_command; /* reserved */
  uint64_t uncredited;
  uint64_t mark;    /* that it started under */
  nt__task_t* task; /* once started; see credit(), mute() */
} nt__entry_t;

/* Ids are never reused in a process, so one from a context that was closed
 * means nothing to the next. */
static atomic_uint_fast64_t last_id;

nt_id_t nt__next_id(void) {
  return atomic_fetch_add(&last_id, 1) + 1;
}

/* ---- Entries ------------------------------------------------------------ */

void nt__host_init(nt_context_t* ctx) {
  nt__table_init(&ctx->entries);
  nt__list_init(&ctx->ready);
}

int nt__task_open(nt_context_t* ctx, nt_id_t* id) {
  nt__entry_t* entry;

  if (atomic_load_explicit(&ctx->forked, memory_order_relaxed))
    return NT_E_FORKED;
  if (ctx->entries.count >= NT__MAX_TASKS)
    return NT_E_FULL;
  entry = nt__calloc(sizeof(*entry));
  if (entry == NULL)
    return NT_E_NOMEM;
  entry->id = nt__next_id();
  entry->abort_command = nt__command_new(NT__CMD_ABORT, entry->id);
  if (entry->abort_command == NULL ||
      nt__table_add(&ctx->entries, entry->id, entry) != 0) {
    nt__free(entry->abort_command);
    nt__free(entry);
    return NT_E_NOMEM;
  }
  nt__node_init(&entry->ready);
  entry->state = NT_STATE_IDLE;
  *id = entry->id;
  return 0;
}

static void free_entry(nt__entry_t* entry) {
  nt__free(entry->abort_command);
  nt__free(entry->message);
  nt__free(entry);
}

void nt__task_forget(nt_context_t* ctx, nt_id_t id) {
  free_entry(nt__table_remove(&ctx->entries, id));
}

int nt__task_check_idle(nt_context_t* ctx, nt_id_t id) {
  const nt__entry_t* entry = nt__table_get(&ctx->entries, id);

  if (atomic_load_explicit(&ctx->forked, memory_order_relaxed))
    return NT_E_FORKED;
  if (entry == NULL || entry->ended)
    return NT_E_CLOSED;
  return entry->started ? NT_E_STATE : 0;
}

int nt__task_check_start(nt_context_t* ctx, nt_id_t id) {
  int err = nt__task_check_idle(ctx, id);

  return err == 0 && ctx->in_background ? NT_E_INTERRUPTED : err;
}

nt__task_t* nt__task_find(const nt_context_t* ctx, nt_id_t id,
                          const nt__task_class_t* class_) {
  const nt__entry_t* entry = nt__table_get(&ctx->entries, id);

  if (atomic_load_explicit(&ctx->forked, memory_order_relaxed))
    return NULL;
  if (entry == NULL || entry->ended || entry->muted || entry->task == NULL ||
      entry->task->class_ != class_)
    return NULL;
  return entry->task;
}

int nt__task_missing(const nt_context_t* ctx) {
  return atomic_load_explicit(&ctx->forked, memory_order_relaxed)
             ? NT_E_FORKED
             : NT_E_NOT_OPEN;
}

void nt__task_start(nt_context_t* ctx, nt_id_t id, nt__task_t* task) {
  nt__entry_t* entry = nt__table_get(&ctx->entries, id);

  task->ctx = ctx;
  task->id = id;
  task->policy = nt__policy_ref(ctx->policy);
  nt__node_init(&task->held);
  task->start.type = NT__CMD_START;
  task->start.id = id;
  task->start.task = task;
  entry->started = true;
  entry->task = task;
  entry->mark = ctx->policy->values.task_high_water;
  entry->state =
      task->class_->opens_at_once ? NT_STATE_OPEN : NT_STATE_CONNECTING;
  nt__command_post(ctx, &task->start);
}

void nt__task_fini(nt__task_t* task) {
  nt__fate_unref(task->fate);
  nt__policy_unref(task->policy);
}

nt_state_t nt_state(const nt_context_t* ctx, nt_id_t id) {
  const nt__entry_t* entry = nt__table_get(&ctx->entries, id);

  return entry == NULL ? NT_STATE_DONE : entry->state;
}

/* ---- Taking in ---------------------------------------------------------- */

static void give_credit(nt_context_t* ctx, atomic_uint_fast64_t* credited,
                        uint64_t* uncredited) {
  atomic_fetch_add(credited, *uncredited);
  *uncredited = 0;
  nt__io_wake(ctx);
}

void nt__credit_flush(nt_context_t* ctx) {
  give_credit(ctx, &ctx->credited, &ctx->uncredited);
}

/* Tells the I/O thread what was delivered, an eighth of a mark at a time. The
 * block is the I/O thread's, but stays until its last event is delivered. */
static void credit(nt_context_t* ctx, nt__entry_t* entry, size_t cost) {
  ctx->uncredited += cost;
  if (ctx->uncredited >= ctx->policy->values.context_high_water / 8)
    nt__credit_flush(ctx);
  if (entry == NULL)
    return;
  entry->uncredited += cost;
  if (entry->uncredited >= entry->mark / 8)
    give_credit(ctx, &entry->task->credited, &entry->uncredited);
}

/* One with memory of its own. */
static void free_event(nt_context_t* ctx, nt__event_t* event) {
  if (event->type == NT_EV_CHUNK || event->type == NT_EV_MESSAGE)
    nt__spare_give(&ctx->chunks,
                   &nt__container_of(event, nt__chunk_t, event)->block);
  else
    nt__free(event);
}

/* An event that nobody will see: the block of a task goes with its last. */
static void drop_event(nt_context_t* ctx, nt__event_t* event) {
  credit(ctx, NULL, event->cost);
  switch (event->type) {
    case NT_EV_END:
      event->task->class_->release(event->task);
      break;
    case NT_EV_HEADERS: /* lie in the block */
    case NT_EV_PROGRESS:
      break;
    default:
      free_event(ctx, event);
  }
}

/* What is known of a task once the event has come in. */
static nt_state_t state_after(const nt__entry_t* entry, int type) {
  switch (type) {
    case NT_EV_END:
      return NT_STATE_CLOSING;
    case NT_EV_LOST:
      return NT_STATE_CONNECTING;
    case NT_EV_PROGRESS: /* there is some in uploads before */
    case NT_EV_SENT:
    case NT_EV_ERROR:
      return entry->state;
    default:
      return NT_STATE_OPEN;
  }
}

static void make_ready(nt_context_t* ctx, nt__entry_t* entry) {
  if (!nt__node_linked(&entry->ready))
    nt__list_append(&ctx->ready, &entry->ready);
}

static void sort_in(nt_context_t* ctx, nt__event_t* event) {
  nt__entry_t* entry = nt__table_get(&ctx->entries, event->id);

  if (event->type == NT__EV_STATE) {
    if (entry != NULL && !entry->ended)
      entry->state = (nt_state_t) event->error;
    nt__free(event);
    return;
  }
  if (event->type == NT_EV_LOOKUP) {
    nt__fifo_push(&ctx->questions, &event->link);
    ctx->waiting++;
    ctx->waiting_bytes += event->cost;
    return;
  }
  if (event->refused) /* also when nobody hears of the task any more */
    nt__audit_see(ctx, event);
  if (entry == NULL || entry->ended ||
      (entry->muted && event->type != NT_EV_END)) {
    drop_event(ctx, event);
    return;
  }
  entry->state = state_after(entry, event->type);
  nt__fifo_push(&entry->events, &event->link);
  ctx->waiting++;
  ctx->waiting_bytes += event->cost;
  make_ready(ctx, entry);
}

static void take_in_ended(nt_context_t* ctx) {
  nt__link_t* link;

  while ((link = nt__fifo_shift(&ctx->ended)) != NULL) {
    nt__entry_t* entry = nt__container_of(link, nt__entry_t, ended_link);

    ctx->waiting++;
    make_ready(ctx, entry);
  }
}

/* Sorting touches memory that the other core has written: a share at a time, so
 * that no frame pays for all that came while the host was away. */
static void sort_some(nt_context_t* ctx, size_t count) {
  nt__link_t* link;

  while (count-- > 0 && (link = nt__fifo_shift(&ctx->incoming)) != NULL) {
    nt__event_t* event = nt__container_of(link, nt__event_t, link);

    ctx->incoming_count -= nt__event_count(event);
    ctx->incoming_cost -= event->cost;
    sort_in(ctx, event);
  }
}

static void take_in(nt_context_t* ctx) {
  nt__fifo_t batches = { NULL, NULL };
  nt__link_t* link;

  nt__mailbox_take(&ctx->events, &batches);
  while ((link = nt__fifo_shift(&batches)) != NULL) {
    nt__batch_t* batch = nt__container_of(link, nt__batch_t, link);

    ctx->incoming_count += batch->count;
    ctx->incoming_cost += batch->cost;
    nt__fifo_join(&ctx->incoming, &batch->events);
  }
}

size_t nt_collect(nt_context_t* ctx) {
  nt__audit_collect(ctx);
  if (ctx->ended.first != NULL)
    take_in_ended(ctx);
  if (!nt__mailbox_empty(&ctx->events) &&
      !atomic_load_explicit(&ctx->forked, memory_order_relaxed))
    take_in(ctx);
  if (ctx->incoming.first != NULL)
    sort_some(ctx, SORT_A_COLLECT);
  return nt_waiting(ctx);
}

/* True when an event can be delivered: what came in may be nothing of that. */
static bool has_event(nt_context_t* ctx) {
  while (ctx->waiting == 0 && ctx->incoming.first != NULL)
    sort_some(ctx, SORT_A_COLLECT);
  return ctx->waiting > 0;
}

size_t nt_waiting(const nt_context_t* ctx) {
  return ctx->waiting + ctx->incoming_count;
}

/* ---- Ending ------------------------------------------------------------- */

static void drop_first(nt_context_t* ctx, nt__entry_t* entry) {
  nt__link_t* link = nt__fifo_shift(&entry->events);
  nt__event_t* event = nt__container_of(link, nt__event_t, link);

  ctx->waiting--;
  ctx->waiting_bytes -= event->cost;
  drop_event(ctx, event);
}

static void drop_waiting(nt_context_t* ctx, nt__entry_t* entry) {
  while (entry->events.first != NULL)
    drop_first(ctx, entry);
  if (nt__node_linked(&entry->ready))
    nt__list_remove(&entry->ready);
}

static bool has_ended_on_io(const nt__entry_t* entry) {
  return entry->state == NT_STATE_CLOSING;
}

static void tell_io(nt_context_t* ctx, nt__entry_t* entry) {
  if (entry->started && !has_ended_on_io(entry)) {
    nt__command_post(ctx, entry->abort_command);
    entry->abort_command = NULL;
  }
}

static bool has_fate(const nt__entry_t* entry) {
  return entry->task != NULL && entry->task->fate != NULL;
}

/* It ends when the I/O thread says so: then nothing is left of it, or else what
 * was done cannot be undone, and the end is a success. */
static void mute(nt_context_t* ctx, nt__entry_t* entry) {
  if (nt__fate_abort(entry->task->fate))
    tell_io(ctx, entry);
  while (entry->events.first != NULL && entry->events.first->next != NULL)
    drop_first(ctx, entry);
  if (entry->events.first != NULL && !has_ended_on_io(entry))
    drop_waiting(ctx, entry);
  entry->muted = true;
  entry->state = NT_STATE_CLOSING;
}

void nt_fail(nt_context_t* ctx, nt_id_t id, int error, const char* message) {
  nt__entry_t* entry = nt__table_get(&ctx->entries, id);

  if (entry == NULL || entry->ended || entry->muted ||
      atomic_load_explicit(&ctx->forked, memory_order_relaxed))
    return;
  nt__audit_fail(ctx, id, error);
  entry->error = error;
  entry->message = message == NULL ? NULL : nt__strdup(message);
  if (has_fate(entry)) {
    mute(ctx, entry);
    return;
  }
  if (entry->task != NULL && entry->task->class_->disown != NULL)
    entry->task->class_->disown(entry->task);
  tell_io(ctx, entry);
  drop_waiting(ctx, entry);
  entry->ended = true;
  entry->state = NT_STATE_CLOSING;
  /* Seen from the next nt_collect() on: an abort inside a frame's events adds
   * nothing to that frame. */
  nt__fifo_push(&ctx->ended, &entry->ended_link);
}

void nt_abort(nt_context_t* ctx, nt_id_t id) {
  nt_fail(ctx, id, NT_E_ABORTED, NULL);
}

/* ---- Delivering --------------------------------------------------------- */

/* Frees what the last event pointed into. */
static void take_back(nt_context_t* ctx) {
  if (ctx->lent_task != NULL)
    ctx->lent_task->class_->release(ctx->lent_task);
  if (ctx->lent_entry != NULL)
    free_entry(ctx->lent_entry);
  if (ctx->lent_event != NULL)
    free_event(ctx, ctx->lent_event);
  nt__audit_take_back(ctx);
  ctx->lent_task = NULL;
  ctx->lent_entry = NULL;
  ctx->lent_event = NULL;
}

static void end_entry(nt_context_t* ctx, nt__entry_t* entry) {
  nt__table_remove(&ctx->entries, entry->id);
  ctx->lent_entry = entry;
}

static void show_own_end(const nt__entry_t* entry, nt_event_t* out) {
  out->error = entry->error;
  out->message =
      entry->message != NULL ? entry->message : nt_error_message(entry->error);
}

static void show_ended(nt_context_t* ctx, nt__entry_t* entry, nt_event_t* out) {
  out->type = NT_EV_END;
  show_own_end(entry, out);
  end_entry(ctx, entry);
}

static void show_end(nt_context_t* ctx, nt__entry_t* entry,
                     const nt__event_t* event, nt_event_t* out) {
  nt__task_t* task = event->task;

  out->error = task->error;
  out->message =
      task->message[0] != '\0' ? task->message : nt_error_message(task->error);
  if (entry->muted && task->error != 0)
    show_own_end(entry, out);
  task->class_->show(task, out);
  ctx->lent_task = task;
  end_entry(ctx, entry);
}

/* Sockets are bound to all addresses of their family. */
static void show_addresses(nt_context_t* ctx, const nt__chunk_t* chunk,
                           nt_event_t* out) {
  nt__address_show(&ctx->address_texts, &chunk->from, &out->remote);
  out->local.ip = out->remote.ipv6 ? "::" : "0.0.0.0";
  out->local.port = chunk->local_port;
  out->local.ipv6 = out->remote.ipv6;
}

static void show_chunk(nt_context_t* ctx, nt__event_t* event, nt_event_t* out) {
  nt__chunk_t* chunk = nt__container_of(event, nt__chunk_t, event);

  out->data = chunk->data;
  out->size = chunk->size;
  out->binary = chunk->binary;
  if (chunk->from.sa.sa_family != AF_UNSPEC)
    show_addresses(ctx, chunk, out);
  ctx->lent_event = event;
}

static void show_parcel(nt_context_t* ctx, nt__event_t* event,
                        nt_event_t* out) {
  const nt__parcel_t* parcel = nt__container_of(event, nt__parcel_t, event);

  *out = parcel->view;
  out->type = (nt_event_type_t) event->type;
  out->id = event->id;
  if (out->message == NULL)
    out->message = "";
  ctx->lent_event = event;
  event->task->class_->show(event->task, out);
}

/* Others wait for what is asked, so it comes before their events. */
static bool show_question(nt_context_t* ctx, nt_event_t* out) {
  nt__link_t* link = nt__fifo_shift(&ctx->questions);
  nt__event_t* event;

  if (link == NULL)
    return false;
  event = nt__container_of(link, nt__event_t, link);
  ctx->waiting--;
  ctx->waiting_bytes -= event->cost;
  credit(ctx, NULL, event->cost);
  *out = nt__container_of(event, nt__parcel_t, event)->view;
  out->type = NT_EV_LOOKUP;
  out->id = event->id;
  ctx->lent_event = event;
  return true;
}

static void show_event(nt_context_t* ctx, nt__entry_t* entry, nt_event_t* out) {
  nt__link_t* link = nt__fifo_shift(&entry->events);
  nt__event_t* event = nt__container_of(link, nt__event_t, link);

  out->type = (nt_event_type_t) event->type;
  ctx->waiting_bytes -= event->cost;
  credit(ctx, event->type == NT_EV_END ? NULL : entry, event->cost);
  switch (event->type) {
    case NT_EV_END:
      show_end(ctx, entry, event, out);
      return;
    case NT_EV_HEADERS:
    case NT_EV_PROGRESS: /* may be posted again as soon as it has been shown */
      event->task->class_->show(event->task, out);
      break;
    case NT_EV_OPEN:
    case NT_EV_SENT:
    case NT_EV_LOST:
    case NT_EV_ERROR:
    case NT_EV_FOUND:
    case NT_EV_SERVICE_LOST:
    case NT_EV_RESOLVE_FAIL:
      show_parcel(ctx, event, out);
      break;
    default:
      show_chunk(ctx, event, out);
  }
  if (entry->events.first != NULL)
    nt__list_append(&ctx->ready, &entry->ready);
}

/* One that does not know the size when it compiles calls memset(), which for
 * this much is faster than what compilers put in its place. */
static void clear(nt_event_t* out) {
  volatile size_t size = sizeof(*out);

  memset(out, 0, size);
}

int nt_poll(nt_context_t* ctx, nt_event_t* out) {
  nt__node_t* node;
  nt__entry_t* entry;

  if (atomic_load_explicit(&ctx->forked, memory_order_relaxed))
    return 0;
  take_back(ctx);
  sort_some(ctx, SORT_A_POLL);
  while (!has_event(ctx))
    if (nt_collect(ctx) == 0)
      return 0;

  if (nt__audit_show(ctx, out) || show_question(ctx, out))
    return 1;
  node = nt__list_shift(&ctx->ready);
  entry = nt__container_of(node, nt__entry_t, ready);
  clear(out);
  out->id = entry->id;
  out->message = "";
  ctx->waiting--;
  if (entry->ended)
    show_ended(ctx, entry, out);
  else
    show_event(ctx, entry, out);
  return 1;
}

static bool can_deliver(nt_context_t* ctx) {
  return nt_collect(ctx) > 0 && has_event(ctx);
}

/* Until something can be delivered, the time to spin is over, or `deadline`. */
static bool spin(nt_context_t* ctx, uint64_t deadline) {
  uint64_t spin_ns = (uint64_t) atomic_load(&ctx->spin_us) * 1000;
  uint64_t end;

  if (can_deliver(ctx))
    return true;
  if (spin_ns == 0)
    return false;
  end = uv_hrtime() + spin_ns;
  if (end > deadline)
    end = deadline;
  while (uv_hrtime() < end)
    if (can_deliver(ctx))
      return true;
  return false;
}

/* Sleeps until the mailbox has something or `deadline` is over; false then. */
static bool sleep_until(nt_context_t* ctx, uint64_t deadline) {
  bool in_time = true;

  uv_mutex_lock(&ctx->mutex);
  atomic_store(&ctx->host_sleeps, true);
  while (in_time && nt__mailbox_empty(&ctx->events)) {
    uint64_t now = uv_hrtime();

    in_time = now < deadline;
    if (in_time && deadline == UINT64_MAX)
      uv_cond_wait(&ctx->arrived, &ctx->mutex);
    else if (in_time)
      uv_cond_timedwait(&ctx->arrived, &ctx->mutex, deadline - now);
  }
  atomic_store(&ctx->host_sleeps, false);
  uv_mutex_unlock(&ctx->mutex);
  return in_time;
}

int nt_wait(nt_context_t* ctx, int timeout_ms) {
  uint64_t deadline = UINT64_MAX; /* as uv_hrtime() */

  if (atomic_load(&ctx->forked))
    return 0;
  if (timeout_ms >= 0)
    deadline = uv_hrtime() + (uint64_t) timeout_ms * 1000000;
  /* What arrives may be nothing to deliver: the end of an aborted task. */
  while (!spin(ctx, deadline))
    if (!sleep_until(ctx, deadline))
      return can_deliver(ctx);
  return 1;
}

void nt_stats(const nt_context_t* ctx, nt_stats_t* stats) {
  size_t cursor = 0;
  const nt__entry_t* entry;

  memset(stats, 0, sizeof(*stats));
  while ((entry = nt__table_next(&ctx->entries, &cursor)) != NULL) {
    stats->idle += entry->state == NT_STATE_IDLE;
    stats->queued += entry->state == NT_STATE_QUEUED;
    stats->connecting += entry->state == NT_STATE_CONNECTING;
    stats->open += entry->state == NT_STATE_OPEN;
    stats->closing += entry->state == NT_STATE_CLOSING;
  }
  stats->waiting_events = nt_waiting(ctx);
  stats->waiting_bytes = ctx->waiting_bytes + ctx->incoming_cost;
  stats->bytes_in = atomic_load(&ctx->bytes_in);
  stats->bytes_out = atomic_load(&ctx->bytes_out);
  stats->dropped = atomic_load(&ctx->dropped);
  stats->services_refused = atomic_load(&ctx->services_refused);
  stats->refusals = ctx->audit.total;
}

/* The I/O thread has ended, so both mailboxes are ours. */
void nt__host_free(nt_context_t* ctx) {
  nt__link_t* link;
  size_t cursor = 0;
  nt__entry_t* entry;

  take_back(ctx);
  nt_collect(ctx);
  sort_some(ctx, SIZE_MAX);
  while ((entry = nt__table_next(&ctx->entries, &cursor)) != NULL) {
    drop_waiting(ctx, entry);
    free_entry(entry);
  }
  while ((link = nt__fifo_shift(&ctx->questions)) != NULL)
    nt__free(nt__container_of(link, nt__event_t, link));
  nt__mailbox_take(&ctx->commands, &ctx->corked);
  while ((link = nt__fifo_shift(&ctx->corked)) != NULL)
    nt__command_discard(nt__container_of(link, nt__command_t, link));
  nt__requests_free(ctx);
  nt__quota_free(&ctx->tcp_opened);
  nt__audit_free(ctx);
  nt__spare_free(&ctx->chunks);
  nt__spare_free(&ctx->pieces);
  nt__table_free(&ctx->entries);
  nt__policy_unref(ctx->policy);
}
