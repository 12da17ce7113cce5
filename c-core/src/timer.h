/* Deadlines on the I/O thread: one heap over one uv_timer. */
#ifndef NT_TIMER_H
#define NT_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct nt__timer {
  uint64_t due; /* loop time in ms */
  size_t index; /* place in the heap plus one; 0: not set */
  void (*on_due)(struct nt__timer* timer);
} nt__timer_t;

typedef struct nt__timers {
  uv_timer_t handle;
  nt__timer_t** heap;
  size_t count;
  size_t capacity;
} nt__timers_t;

int nt__timers_init(nt__timers_t* timers, uv_loop_t* loop);
/* The loop must run once more before it is closed. */
void nt__timers_close(nt__timers_t* timers);

enum {
  NT__OWN_TIMERS = 5 + 8 /* of the context: the warm-up, the saving of cookies,
                          * and of its rules the grace, the minute and the
                          * second; and of the cache its renewals */
};

/* Room for `count` timers at once, so that setting one cannot fail. */
int nt__timers_reserve(nt__timers_t* timers, size_t count);

/* Sets or moves. `due` in the past means as soon as possible. */
void nt__timer_set(nt__timers_t* timers, nt__timer_t* timer, uint64_t due);
void nt__timer_clear(nt__timers_t* timers, nt__timer_t* timer);

#endif
