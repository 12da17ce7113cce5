/* The I/O thread's end of the events: those of one turn are gathered and posted
 * at once. */
#include <string.h>

#include "internal.h"

static void put(nt__io_t* io, nt__event_t* event) {
  nt__fifo_push(&io->outbox, &event->link);
  io->outbox_count += nt__event_count(event);
  io->outbox_cost += event->cost;
}

void nt__event_post(nt_context_t* ctx, nt__event_t* event, size_t payload) {
  event->cost = payload + NT__EVENT_COST;
  event->refused = nt__audit_concerns(event);
  ctx->io.posted += event->cost;
  if (event->task != NULL)
    event->task->posted += event->cost;
  put(&ctx->io, event);
}

nt__parcel_t* nt__parcel_new(nt__task_t* task, int type, size_t size) {
  nt__parcel_t* parcel = nt__calloc(sizeof(*parcel) + size);

  if (parcel == NULL)
    return NULL;
  parcel->event.type = type;
  parcel->event.id = task->id;
  parcel->event.task = task;
  return parcel;
}

void* nt__pack(char** cursor, const void* bytes, size_t size) {
  void* place = *cursor;

  if (size > 0)
    memcpy(place, bytes, size);
  *cursor += size;
  return place;
}

nt__chunk_t* nt__chunk_init(nt__task_t* task, int type, void* memory,
                            size_t capacity, size_t size) {
  nt__chunk_t* chunk = memory;

  /* Field by field, for there are many; the rest is set when it is posted. */
  chunk->event.type = type;
  chunk->event.id = task->id;
  chunk->event.error = 0;
  chunk->event.task = task;
  chunk->block = (nt__spare_block_t){ .memory = memory, .capacity = capacity };
  chunk->size = size;
  chunk->binary = false;
  chunk->local_port = 0;
  chunk->from.sa.sa_family = AF_UNSPEC;
  chunk->data[size] = '\0';
  return chunk;
}

nt__chunk_t* nt__chunk_new(nt__task_t* task, int type, size_t size) {
  size_t capacity;
  void* memory = nt__spare_take(
      &task->ctx->chunks, offsetof(nt__chunk_t, data) + size + 1, &capacity);

  return memory == NULL ? NULL
                        : nt__chunk_init(task, type, memory, capacity, size);
}

void nt__event_post_state(nt_context_t* ctx, nt_id_t id, nt_state_t state) {
  nt__event_t* event;

  if (id == 0) /* a renewal's, of which nobody hears */
    return;
  event = nt__calloc(sizeof(*event));
  if (event == NULL) /* for information alone: it may be missed */
    return;
  event->type = NT__EV_STATE;
  event->id = id;
  event->error = (int) state;
  put(&ctx->io, event);
}

/* Moves the outbox into the host's mailbox, as one batch. */
static void post_batch(nt_context_t* ctx) {
  nt__io_t* io = &ctx->io;
  nt__event_t* first = nt__container_of(io->outbox.first, nt__event_t, link);
  nt__fifo_t one = { NULL, NULL };

  first->batch.events = io->outbox;
  first->batch.count = io->outbox_count;
  first->batch.cost = io->outbox_cost;
  io->outbox.first = io->outbox.last = NULL;
  io->outbox_count = 0;
  io->outbox_cost = 0;
  nt__fifo_push(&one, &first->batch.link);
  nt__mailbox_post(&ctx->events, &one);
}

void nt__events_publish(nt_context_t* ctx) {
  if (ctx->io.outbox.first == NULL)
    return;
  nt__io_worked(ctx);
  post_batch(ctx);
  if (!atomic_exchange(&ctx->host_sleeps, false))
    return;
  /* Once we have had the lock the host waits, or has seen the mailbox. */
  uv_mutex_lock(&ctx->mutex);
  uv_mutex_unlock(&ctx->mutex);
  uv_cond_signal(&ctx->arrived);
}

bool nt__is_over_mark(nt_context_t* ctx, nt__task_t* task) {
  return nt__meter_is_spent(&ctx->meter) ||
         task->posted - atomic_load(&task->credited) >=
             task->policy->values.task_high_water ||
         ctx->io.posted - atomic_load(&ctx->credited) >=
             ctx->io.policy->values.context_high_water;
}
