/* Records of refusals. They are made on the host thread alone: where a call
 * says no, and where the end of a task comes in that the I/O thread has refused
 * something, even if the host has ended that task meanwhile. They are delivered
 * before all that waits, so the record of a task comes before its end.
 *
 * A script can have as much refused as it likes: only so many records wait, and
 * what finds no room, or no memory, is counted. */
#include "audit.h"

#include <string.h>

#include "internal.h"

enum {
  WAITING_MAX = 256,
  TARGET_MAX = 1024 /* a longer one is cut off */
};

struct nt__refusal {
  nt__link_t link;
  nt_id_t id;
  int error;
  char target[];
};

/* ---- Making -------------------------------------------------------------- */

static size_t at_most(size_t size) {
  return size < TARGET_MAX ? size : TARGET_MAX;
}

/* "scheme://host:port" of a URL: what follows, and what is in front of the
 * host, may be private. Anything else is kept as it is. */
static size_t copy_target(char* out, const char* target) {
  const char* host = strstr(target, "://");
  const char* end;
  const char* at;
  size_t scheme;

  host = host == NULL ? target : host + strlen("://");
  scheme = at_most((size_t) (host - target));
  end = host + (scheme == 0 ? strlen(host) : strcspn(host, "/\\?#"));
  for (at = end; scheme != 0 && at > host && at[-1] != '@'; at--)
    continue;
  if (scheme != 0)
    host = at;
  memcpy(out, target, scheme);
  memcpy(out + scheme, host, at_most((size_t) (end - host)));
  return scheme + at_most((size_t) (end - host));
}

static nt__refusal_t* new_refusal(nt_id_t id, int error, const char* target) {
  char copy[2 * TARGET_MAX];
  size_t size = target == NULL ? 0 : copy_target(copy, target);
  nt__refusal_t* refusal = nt__calloc(sizeof(*refusal) + size + 1);

  if (refusal == NULL)
    return NULL;
  refusal->id = id;
  refusal->error = error;
  memcpy(refusal->target, copy, size);
  return refusal;
}

/* Counts it; NULL when there is no room for a record. */
static nt__refusal_t* make(nt_context_t* ctx, nt_id_t id, int error,
                           const char* target) {
  nt__audit_t* audit = &ctx->audit;
  nt__refusal_t* refusal;

  audit->total++;
  audit->last_id = id;
  audit->last_error = error;
  if (audit->count >= WAITING_MAX)
    return NULL;
  refusal = new_refusal(id, error, target);
  audit->count += refusal != NULL;
  return refusal;
}

int nt__refuse(nt_context_t* ctx, nt_id_t id, int error, const char* target) {
  nt__refusal_t* refusal;

  if (!nt_error_is_refusal(error))
    return error;
  refusal = make(ctx, id, error, target);
  if (refusal != NULL)
    nt__fifo_push(&ctx->audit.fresh, &refusal->link);
  return error;
}

/* What the host says of it is for people: it is not what was to be reached. */
void nt__audit_fail(nt_context_t* ctx, nt_id_t id, int error) {
  if (ctx->audit.last_id != id || ctx->audit.last_error != error)
    nt__refuse(ctx, id, error, NULL);
}

/* ---- What comes from the I/O thread -------------------------------------- */

static const nt__parcel_t* parcel_of(const nt__event_t* event) {
  return nt__container_of(event, const nt__parcel_t, event);
}

static int error_of(const nt__event_t* event) {
  switch (event->type) {
    case NT_EV_END:
      return event->task->error;
    case NT_EV_ERROR:
      return parcel_of(event)->view.error;
    default:
      return 0;
  }
}

bool nt__audit_concerns(const nt__event_t* event) {
  int error = error_of(event);

  return error != 0 && nt_error_is_refusal(error);
}

static bool is_url(const char* message) {
  size_t scheme = strspn(message, "abcdefghijklmnopqrstuvwxyz0123456789+-.");

  return scheme > 0 && strncmp(message + scheme, "://", 3) == 0;
}

/* Of messages those are targets that are a URL, and what is behind "<what the
 * error means>: ", a file. Others are prose. */
static const char* target_of(const nt__event_t* event) {
  const char* message = event->type == NT_EV_END
                            ? event->task->message
                            : parcel_of(event)->view.message;
  const char* meaning = nt_error_message(error_of(event));
  size_t size = strlen(meaning);

  if (message == NULL || is_url(message))
    return message;
  if (strncmp(message, meaning, size) == 0 &&
      strncmp(message + size, ": ", 2) == 0)
    return message + size + 2;
  return NULL;
}

void nt__audit_see(nt_context_t* ctx, const nt__event_t* event) {
  nt__refusal_t* refusal =
      make(ctx, event->id, error_of(event), target_of(event));

  if (refusal == NULL)
    return;
  nt__fifo_push(&ctx->audit.waiting, &refusal->link);
  ctx->waiting++;
}

/* ---- Delivering ---------------------------------------------------------- */

void nt__audit_collect(nt_context_t* ctx) {
  nt__link_t* link;

  while ((link = nt__fifo_shift(&ctx->audit.fresh)) != NULL) {
    nt__fifo_push(&ctx->audit.waiting, link);
    ctx->waiting++;
  }
}

bool nt__audit_show(nt_context_t* ctx, nt_event_t* out) {
  nt__audit_t* audit = &ctx->audit;
  nt__link_t* link = nt__fifo_shift(&audit->waiting);

  if (link == NULL)
    return false;
  audit->count--;
  ctx->waiting--;
  audit->lent = nt__container_of(link, nt__refusal_t, link);
  memset(out, 0, sizeof(*out));
  out->type = NT_EV_REFUSED;
  out->id = audit->lent->id;
  out->error = audit->lent->error;
  out->message = audit->lent->target;
  return true;
}

void nt__audit_take_back(nt_context_t* ctx) {
  nt__free(ctx->audit.lent);
  ctx->audit.lent = NULL;
}

static void free_all(nt__fifo_t* refusals) {
  nt__link_t* link;

  while ((link = nt__fifo_shift(refusals)) != NULL)
    nt__free(nt__container_of(link, nt__refusal_t, link));
}

void nt__audit_free(nt_context_t* ctx) {
  free_all(&ctx->audit.fresh);
  free_all(&ctx->audit.waiting);
  nt__audit_take_back(ctx);
}
