/* A binary heap of deadlines. I/O thread only. One uv_timer wakes the loop for
 * the earliest; it is left running when that one is cleared, since a wake-up
 * for nothing is cheaper than moving it for every request. */
#include "timer.h"

#include <string.h>

#include "alloc.h"
#include "list.h"
#include "nettask.h"

static void place(nt__timers_t* timers, size_t i, nt__timer_t* timer) {
  timers->heap[i] = timer;
  timer->index = i + 1;
}

static size_t sift_up(nt__timers_t* timers, size_t i) {
  nt__timer_t* timer = timers->heap[i];

  while (i > 0 && timers->heap[(i - 1) / 2]->due > timer->due) {
    place(timers, i, timers->heap[(i - 1) / 2]);
    i = (i - 1) / 2;
  }
  place(timers, i, timer);
  return i;
}

static void sift_down(nt__timers_t* timers, size_t i) {
  nt__timer_t* timer = timers->heap[i];

  for (;;) {
    size_t child = 2 * i + 1;

    if (child + 1 < timers->count &&
        timers->heap[child + 1]->due < timers->heap[child]->due)
      child++;
    if (child >= timers->count || timers->heap[child]->due >= timer->due)
      break;
    place(timers, i, timers->heap[child]);
    i = child;
  }
  place(timers, i, timer);
}

static void on_wake(uv_timer_t* handle);

static void wake_for_first(nt__timers_t* timers) {
  uint64_t now = uv_now(timers->handle.loop);
  uint64_t due;

  if (timers->count == 0)
    return;
  due = timers->heap[0]->due;
  /* Never 0 ms: libuv runs such a timer again in the same turn. */
  uv_timer_start(&timers->handle, on_wake, due > now ? due - now : 1, 0);
}

static void on_wake(uv_timer_t* handle) {
  nt__timers_t* timers = nt__container_of(handle, nt__timers_t, handle);
  uint64_t now = uv_now(handle->loop);
  size_t most = timers->count;

  /* Bounded, as a callback may set its timer to "now" again. */
  while (most-- > 0 && timers->count > 0 && timers->heap[0]->due <= now) {
    nt__timer_t* timer = timers->heap[0];

    nt__timer_clear(timers, timer);
    timer->on_due(timer);
  }
  wake_for_first(timers);
}

int nt__timers_init(nt__timers_t* timers, uv_loop_t* loop) {
  memset(timers, 0, sizeof(*timers));
  return uv_timer_init(loop, &timers->handle) == 0 ? 0 : NT_E_SYSTEM;
}

void nt__timers_close(nt__timers_t* timers) {
  uv_close((uv_handle_t*) &timers->handle, NULL);
  nt__free(timers->heap);
  timers->heap = NULL;
  timers->count = timers->capacity = 0;
}

int nt__timers_reserve(nt__timers_t* timers, size_t count) {
  size_t capacity = timers->capacity ? timers->capacity : 32;
  nt__timer_t** heap;

  if (count <= timers->capacity)
    return 0;
  while (capacity < count)
    capacity *= 2;
  heap = nt__realloc(timers->heap, capacity * sizeof(*heap));
  if (heap == NULL)
    return NT_E_NOMEM;
  timers->heap = heap;
  timers->capacity = capacity;
  return 0;
}

void nt__timer_set(nt__timers_t* timers, nt__timer_t* timer, uint64_t due) {
  timer->due = due;
  if (timer->index == 0) {
    timers->heap[timers->count++] = timer;
    timer->index = timers->count;
  }
  sift_down(timers, sift_up(timers, timer->index - 1));
  if (timers->heap[0] == timer)
    wake_for_first(timers);
}

void nt__timer_clear(nt__timers_t* timers, nt__timer_t* timer) {
  size_t i = timer->index;
  nt__timer_t* last;

  if (i-- == 0)
    return;
  timer->index = 0;
  last = timers->heap[--timers->count];
  if (last == timer)
    return;
  place(timers, i, last);
  sift_down(timers, sift_up(timers, i));
}
