/* PROGRESS events: at most one of a task waits, and shows the newest figures.
 * A part of the block of a task. */
#ifndef NT_PROGRESS_H
#define NT_PROGRESS_H

#include "internal.h"

typedef struct nt__progress {
  nt__event_t event;
  atomic_bool queued; /* `event` is on its way, or waits */
  atomic_bool finished;
  atomic_uint_fast64_t done, total;
  /* I/O thread. */
  bool began;
  uint64_t posted_at;
  uint64_t posted_done;
} nt__progress_t;

/* I/O thread: the figures are these now. `total` 0 is unknown. */
void nt__progress_note(nt__task_t* task, nt__progress_t* progress,
                       uint64_t done, uint64_t total);
/* The last ones; they get an event unless one with them was posted. */
void nt__progress_finish(nt__task_t* task, nt__progress_t* progress,
                         uint64_t done, uint64_t total);

/* Host thread: fills in the event. */
void nt__progress_show(nt__progress_t* progress, nt_event_t* event);

#endif
