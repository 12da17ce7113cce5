/* Progress. The I/O thread stores the figures and posts the event unless it is
 * queued already; the host takes it, says that it is queued no more, and only
 * then reads the figures. So figures that came too late for one event find that
 * it is not queued, and post the next. */
#include "progress.h"

enum {
  INTERVAL_MS = 50
};

static void post(nt__task_t* task, nt__progress_t* progress) {
  progress->began = true;
  progress->posted_at = nt__now(task->ctx);
  progress->posted_done = atomic_load(&progress->done);
  if (atomic_exchange(&progress->queued, true))
    return;
  progress->event.type = NT_EV_PROGRESS;
  progress->event.id = task->id;
  progress->event.task = task;
  nt__event_post(task->ctx, &progress->event, 0);
}

static void store(nt__progress_t* progress, uint64_t done, uint64_t total) {
  atomic_store(&progress->total, total);
  atomic_store(&progress->done, done);
}

void nt__progress_note(nt__task_t* task, nt__progress_t* progress,
                       uint64_t done, uint64_t total) {
  bool complete = total != 0 && done == total;

  store(progress, done, total);
  if (!progress->began || complete ||
      nt__now(task->ctx) - progress->posted_at >= INTERVAL_MS)
    post(task, progress);
}

void nt__progress_finish(nt__task_t* task, nt__progress_t* progress,
                         uint64_t done, uint64_t total) {
  bool is_told = progress->began && progress->posted_done == done &&
                 total == atomic_load(&progress->total);

  atomic_store(&progress->finished, true);
  store(progress, done, total);
  if (!is_told)
    post(task, progress);
}

void nt__progress_show(nt__progress_t* progress, nt_event_t* event) {
  bool finished;

  atomic_store(&progress->queued, false);
  event->done = atomic_load(&progress->done);
  event->total = atomic_load(&progress->total);
  finished = atomic_load(&progress->finished);
  if (event->total == 0)
    event->percent = finished ? 100 : 0;
  else if (event->done >= event->total)
    event->percent = 100;
  else
    event->percent = (int) ((double) event->done / (double) event->total * 100);
}
