/* What the policy refused, as records for the host: NT_EV_REFUSED. Host
 * thread. */
#ifndef NT_AUDIT_H
#define NT_AUDIT_H

#include <stdbool.h>

#include "list.h"
#include "nettask.h"

typedef struct nt__refusal nt__refusal_t;

typedef struct nt__audit {
  nt__fifo_t fresh;   /* made since collecting */
  nt__fifo_t waiting; /* to be delivered, counted in ctx->waiting */
  size_t count;       /* of both */
  uint64_t total;     /* of all that there were */
  nt_id_t last_id;    /* of the newest */
  int last_error;
  nt__refusal_t* lent; /* what the last event points into */
} nt__audit_t;

struct nt__event;

/* For a call that ends with `error`: makes a record if that is a refusal, and
 * returns it. `id` 0: no task; `target` NULL or "": nothing was to be reached.
 * Of a URL no more than "scheme://host:port" is kept. */
int nt__refuse(nt_context_t* ctx, nt_id_t id, int error, const char* target);

/* The same, unless the newest record tells it already: for the end of a task
 * whose start was refused. */
void nt__audit_fail(nt_context_t* ctx, nt_id_t id, int error);

/* I/O thread: whether the event tells of a refusal. */
bool nt__audit_concerns(const struct nt__event* event);
/* Such an event has come in. */
void nt__audit_see(nt_context_t* ctx, const struct nt__event* event);

/* The fresh ones wait from now on. */
void nt__audit_collect(nt_context_t* ctx);
/* Delivers the first one, if there is any. */
bool nt__audit_show(nt_context_t* ctx, nt_event_t* out);
/* Frees what the last event pointed into. */
void nt__audit_take_back(nt_context_t* ctx);
void nt__audit_free(nt_context_t* ctx);

#endif
