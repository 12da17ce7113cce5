/* Time-outs. libcurl's own run on while a transfer is held back, and know no
 * stages. I/O thread. */
#include "stage.h"

#include "ask.h"

static uint32_t stage_limit(const nt__transfer_t* t) {
  if (t->waiting)
    return 0;
  switch (t->stage) {
    case NT__STAGE_ASKING:
      return t->resolver_timeout;
    case NT__STAGE_DNS:
      return t->timeouts.dns;
    case NT__STAGE_CONNECT:
      return nt__ask_connect_limit(t);
    case NT__STAGE_TLS:
      return t->timeouts.tls;
    case NT__STAGE_FIRST_BYTE:
      return t->timeouts.first_byte;
    case NT__STAGE_BODY:
      return t->timeouts.stall;
    case NT__STAGE_WAITING:
      break;
  }
  return 0;
}

static const char* stage_message(nt__stage_t stage) {
  switch (stage) {
    case NT__STAGE_DNS:
      return "timed out while looking up the host name";
    case NT__STAGE_CONNECT:
      return "timed out while connecting";
    case NT__STAGE_TLS:
      return "timed out in the TLS handshake";
    case NT__STAGE_FIRST_BYTE:
      return "timed out waiting for the answer";
    case NT__STAGE_BODY:
      return "timed out: the transfer stalled";
    case NT__STAGE_ASKING: /* is no failure */
    case NT__STAGE_WAITING:
      break;
  }
  return "timed out";
}

void nt__stage_arm(nt__transfer_t* t) {
  nt__timers_t* timers = &nt__transfer_context(t)->io.timers;
  uint32_t limit = stage_limit(t);
  uint64_t due = t->total_due;

  if (t->held_since != 0) /* an answer has come while sending is held back */
    return;
  if (limit != 0 && (due == 0 || t->stage_since + limit < due))
    due = t->stage_since + limit;
  if (due == 0)
    nt__timer_clear(timers, &t->timer);
  else if (t->timer.index == 0 || t->timer.due != due)
    nt__timer_set(timers, &t->timer, due);
}

void nt__stage_enter(nt__transfer_t* t, nt__stage_t stage) {
  t->stage = stage;
  t->stage_since = nt__transfer_now(t);
  nt__stage_arm(t);
}

void nt__stage_rest(nt__transfer_t* t) {
  t->total_due = 0;
  nt__stage_enter(t, NT__STAGE_WAITING);
}

bool nt__stage_lapsed(const nt__transfer_t* t) {
  uint32_t limit = stage_limit(t);
  uint64_t now = nt__transfer_now(t);

  return limit != 0 && now >= t->stage_since + limit &&
         (t->total_due == 0 || now < t->total_due);
}

const char* nt__stage_expired(nt__transfer_t* t) {
  uint32_t limit = stage_limit(t);
  uint64_t now = nt__transfer_now(t);

  if (limit != 0 && now >= t->stage_since + limit)
    return stage_message(t->stage);
  if (t->total_due != 0 && now >= t->total_due)
    return "timed out: the total time is over";
  nt__stage_arm(t); /* bytes have come meanwhile */
  return NULL;
}

void nt__stage_touch(nt__transfer_t* t) {
  t->stage_since = nt__transfer_now(t);
}

void nt__stage_hold(nt__transfer_t* t) {
  if (t->held_since == 0)
    t->held_since = nt__transfer_now(t);
  nt__timer_clear(&nt__transfer_context(t)->io.timers, &t->timer);
}

void nt__stage_wait(nt__transfer_t* t) {
  t->waiting = true;
  if (t->held_since == 0)
    nt__stage_arm(t);
}

void nt__stage_go_on(nt__transfer_t* t) {
  if (t->total_due != 0 && t->held_since != 0)
    t->total_due += nt__transfer_now(t) - t->held_since;
  t->waiting = false;
  t->held_since = 0;
  nt__stage_touch(t);
  nt__stage_arm(t);
}
