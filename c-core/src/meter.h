/* The quota of bytes a minute. */
#ifndef NT_METER_H
#define NT_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nettask.h"
#include "timer.h"

struct nt_context;

typedef struct nt__meter {
  /* I/O thread. */
  uint64_t max; /* 0: no quota */
  nt__timer_t timer;

  /* Both. */
  atomic_uint_fast64_t used;  /* in and out, in this minute */
  atomic_uint_fast64_t given; /* in this minute to be sent, and not settled */
  atomic_uint minute;         /* which one it is; never 0 */
} nt__meter_t;

/* How long a minute is: tests have no time for a whole one. */
extern uint32_t nt__meter_minute_ms;

/* ---- I/O thread ---------------------------------------------------------- */

void nt__meter_init(struct nt_context* ctx);
/* The context has another policy. */
void nt__meter_set(struct nt_context* ctx);

/* Bytes that have gone over the wire. */
static inline void nt__meter_count(nt__meter_t* meter, uint64_t bytes) {
  if (meter->max != 0)
    atomic_fetch_add_explicit(&meter->used, bytes, memory_order_relaxed);
}

/* Nothing may be read until the minute is over. */
static inline bool nt__meter_is_spent(nt__meter_t* meter) {
  return meter->max != 0 &&
         atomic_load_explicit(&meter->used, memory_order_relaxed) +
                 atomic_load_explicit(&meter->given, memory_order_relaxed) >=
             meter->max;
}

/* What was given in that minute has been sent, or never will be. */
void nt__meter_settle(nt__meter_t* meter, unsigned minute, uint64_t bytes);

/* ---- Host thread --------------------------------------------------------- */

/* The context gets this policy in place of the one that it has. */
void nt__meter_change(struct nt_context* ctx, const nt_policy_t* policy);

/* Nothing may be sent: NT_E_QUOTA, of which there is a record; or 0. */
int nt__meter_check(struct nt_context* ctx, nt_id_t id);
/* The host gives bytes to be sent; returns what is needed to settle them, 0:
 * nothing is. */
unsigned nt__meter_give(struct nt_context* ctx, size_t size);

#endif
