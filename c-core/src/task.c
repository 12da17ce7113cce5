/* Tasks on the I/O thread: how they begin, are held back, go on and end,
 * whatever their kind. */
#include <time.h>

#include "internal.h"

uint64_t nt__now(const nt_context_t* ctx) {
  return uv_now(&ctx->io.loop);
}

void nt__count_in(nt_context_t* ctx, uint64_t bytes) {
  atomic_fetch_add_explicit(&ctx->bytes_in, bytes, memory_order_relaxed);
  nt__meter_count(&ctx->meter, bytes);
}

void nt__count_out(nt_context_t* ctx, uint64_t bytes) {
  atomic_fetch_add_explicit(&ctx->bytes_out, bytes, memory_order_relaxed);
  nt__meter_count(&ctx->meter, bytes);
}

int64_t nt__unix_ms(void) {
  struct timespec now;

  timespec_get(&now, TIME_UTC);
  return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nt__task_begin(nt_context_t* ctx, nt__task_t* task) {
  nt__io_t* io = &ctx->io;

  io->begun++;
  /* Two timers for it and for each of the others. */
  if (nt__timers_reserve(&io->timers,
                         2 * io->tasks.count + 2 + NT__OWN_TIMERS) != 0 ||
      nt__table_add(&io->tasks, task->id, task) != 0) {
    task->error = NT_E_NOMEM;
    nt__task_end(task, 0);
    return;
  }
  task->class_->start(task);
}

void nt__task_end(nt__task_t* task, size_t payload) {
  nt_context_t* ctx = task->ctx;

  if (nt__node_linked(&task->held))
    nt__list_remove(&task->held);
  nt__table_remove(&ctx->io.tasks, task->id);
  task->last.type = NT_EV_END;
  task->last.id = task->id;
  task->last.task = task;
  nt__event_post(ctx, &task->last, payload);
}

void nt__tasks_abort(nt_context_t* ctx) {
  size_t cursor;
  nt__task_t* task;

  for (;;) {
    cursor = 0;
    task = nt__table_next(&ctx->io.tasks, &cursor);
    if (task == NULL)
      break;
    task->error = NT_E_ABORTED;
    task->class_->abort(task);
  }
}

void nt__tasks_resume(nt_context_t* ctx) {
  nt__node_t waiting;
  nt__node_t* node;

  /* A task that resumes may be held back again at once: only those that are
   * held now get their turn. */
  if (nt__list_empty(&ctx->io.held))
    return;
  waiting = ctx->io.held;
  waiting.next->prev = waiting.prev->next = &waiting;
  nt__list_init(&ctx->io.held);
  while ((node = nt__list_shift(&waiting)) != NULL) {
    nt__task_t* task = nt__container_of(node, nt__task_t, held);

    if (nt__is_over_mark(ctx, task))
      nt__list_append(&ctx->io.held, node);
    else
      task->class_->resume(task);
  }
}

bool nt__tasks_can_resume(nt_context_t* ctx) {
  nt__node_t* node;

  for (node = ctx->io.held.next; node != &ctx->io.held; node = node->next)
    if (!nt__is_over_mark(ctx, nt__container_of(node, nt__task_t, held)))
      return true;
  return false;
}

void nt__task_hold(nt__task_t* task) {
  if (!nt__node_linked(&task->held))
    nt__list_append(&task->ctx->io.held, &task->held);
}
