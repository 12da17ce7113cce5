/* The quota of bytes a minute, over all tasks and both directions.
 *
 * Minutes follow one another from the moment the quota was set, and each begins
 * with nothing used: no history is needed, and what is held back waits a minute
 * at most. The host cannot see what the I/O thread is about to send, so what it
 * gives counts from the call on, until it is sent and counts as used; a peer
 * that does not read could keep that up for ever, so it is forgotten with the
 * minute. Hence more than the quota can go over the wire by one send, or by
 * what each source hands out in one piece. */
#include "meter.h"

#include "internal.h"

enum {
  MINUTE_MS = 60000
};

uint32_t nt__meter_minute_ms = MINUTE_MS;

/* ---- I/O thread ---------------------------------------------------------- */

static nt_context_t* context_of(nt__timer_t* timer) {
  nt__meter_t* meter = nt__container_of(timer, nt__meter_t, timer);

  return nt__container_of(meter, nt_context_t, meter);
}

static void set_timer(nt_context_t* ctx) {
  nt__timer_set(&ctx->io.timers, &ctx->meter.timer,
                nt__now(ctx) + nt__meter_minute_ms);
}

/* What waits for it goes on in the turn that follows. */
static void begin_minute(nt__timer_t* timer) {
  nt_context_t* ctx = context_of(timer);
  nt__meter_t* meter = &ctx->meter;

  /* What is given in between counts in the new one and is settled in none: too
   * much rather than too little. */
  atomic_store(&meter->given, 0);
  atomic_store(&meter->used, 0);
  atomic_fetch_add(&meter->minute, meter->minute == UINT32_MAX ? 2 : 1);
  set_timer(ctx);
}

void nt__meter_init(nt_context_t* ctx) {
  atomic_init(&ctx->meter.minute, 1);
  ctx->meter.timer.on_due = begin_minute;
}

void nt__meter_set(nt_context_t* ctx) {
  nt__meter_t* meter = &ctx->meter;
  bool was_on = meter->max != 0;

  meter->max = ctx->io.policy->values.bytes_per_minute;
  if (meter->max == 0)
    nt__timer_clear(&ctx->io.timers, &meter->timer);
  else if (!was_on) /* and the host has begun to count since */
    set_timer(ctx);
}

void nt__meter_settle(nt__meter_t* meter, unsigned minute, uint64_t bytes) {
  uint_fast64_t given;

  if (minute == 0 || minute != atomic_load(&meter->minute))
    return;
  given = atomic_load(&meter->given);
  /* The host may give more, or begin with nothing, meanwhile. */
  while (!atomic_compare_exchange_weak(&meter->given, &given,
                                       given - (bytes < given ? bytes : given)))
    continue;
}

/* ---- Host thread --------------------------------------------------------- */

/* A quota that is new begins with nothing used, for the host too, who does not
 * wait for the I/O thread to hear of it. */
void nt__meter_change(nt_context_t* ctx, const nt_policy_t* policy) {
  if (policy->bytes_per_minute != 0 &&
      ctx->policy->values.bytes_per_minute != 0)
    return;
  atomic_store(&ctx->meter.given, 0);
  atomic_store(&ctx->meter.used, 0);
}

int nt__meter_check(nt_context_t* ctx, nt_id_t id) {
  uint64_t max = ctx->policy->values.bytes_per_minute;

  if (max == 0 ||
      atomic_load(&ctx->meter.used) + atomic_load(&ctx->meter.given) < max)
    return 0;
  return nt__refuse(ctx, id, NT_E_QUOTA, NULL);
}

unsigned nt__meter_give(nt_context_t* ctx, size_t size) {
  unsigned minute;

  if (ctx->policy->values.bytes_per_minute == 0)
    return 0;
  minute = atomic_load(&ctx->meter.minute);
  atomic_fetch_add(&ctx->meter.given, size);
  return minute;
}
