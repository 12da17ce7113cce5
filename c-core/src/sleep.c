/* A task that ends after a time: what a script waits for when it waits for
 * nothing else. Its time starts on the host thread, so that a busy I/O thread
 * does not make it longer. */
#include "internal.h"

typedef struct nt__sleep {
  nt__task_t task;
  nt__timer_t timer;
  uint64_t end; /* as uv_hrtime() */
} nt__sleep_t;

enum {
  NS_PER_MS = 1000000
};

static nt__sleep_t* of_task(nt__task_t* task) {
  return nt__container_of(task, nt__sleep_t, task);
}

/* ---- I/O thread ---------------------------------------------------------- */

static void on_due(nt__timer_t* timer) {
  nt__sleep_t* sleep = nt__container_of(timer, nt__sleep_t, timer);

  nt__task_end(&sleep->task, 0);
}

/* The clock of the loop is the same one in whole ms: rounded up it is never
 * early. */
static void sleep_start(nt__task_t* task) {
  nt__sleep_t* sleep = of_task(task);

  sleep->timer.on_due = on_due;
  nt__timer_set(&task->ctx->io.timers, &sleep->timer,
                (sleep->end + NS_PER_MS - 1) / NS_PER_MS);
}

static void sleep_abort(nt__task_t* task) {
  nt__timer_clear(&task->ctx->io.timers, &of_task(task)->timer);
  nt__task_end(task, 0);
}

/* It has no source to hold back. */
static void sleep_resume(nt__task_t* task) {
  (void) task;
}

/* ---- Host thread --------------------------------------------------------- */

/* Its last event says nothing but that it is over. */
static void sleep_show(nt__task_t* task, nt_event_t* event) {
  (void) task;
  (void) event;
}

static void sleep_release(nt__task_t* task) {
  nt__task_fini(task);
  nt__free(of_task(task));
}

static const nt__task_class_t sleep_class = { .start = sleep_start,
                                              .abort = sleep_abort,
                                              .resume = sleep_resume,
                                              .show = sleep_show,
                                              .release = sleep_release,
                                              .opens_at_once = true,
                                              .stays_in_background = true };

int nt_sleep_open(nt_context_t* ctx, nt_id_t* id) {
  return nt__task_open(ctx, id);
}

int nt_sleep_start(nt_context_t* ctx, nt_id_t id, uint32_t ms) {
  nt__sleep_t* sleep;
  int err = nt__task_check_idle(ctx, id);

  if (err)
    return err;
  sleep = nt__calloc(sizeof(*sleep));
  if (sleep == NULL)
    return NT_E_NOMEM;
  sleep->task.class_ = &sleep_class;
  sleep->end = uv_hrtime() + (uint64_t) ms * NS_PER_MS;
  nt__task_start(ctx, id, &sleep->task);
  return 0;
}
