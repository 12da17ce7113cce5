/* A response body gathered in memory, for requests and uploads. I/O thread. */
#include "gather.h"

#include <stdlib.h>

enum {
  TRUSTED_SIZE = 64 << 20 /* without a cap a lying server must not make us
                           * reserve the world */
};

/* The length that the server announced, when it is that of the decoded body:
 * room for all of it at once saves growing. */
static uint64_t announced_size(const nt__transfer_t* t) {
  const char* length = nt__headers_find(&t->headers, "content-length");

  if (length == NULL ||
      nt__headers_find(&t->headers, "content-encoding") != NULL)
    return 0;
  return strtoull(length, NULL, 10);
}

static uint64_t max_of(const nt__transfer_t* t) {
  uint64_t max = nt__transfer_policy(t)->response_max_bytes;

  if ((t->flags & NT_REQUEST_OF_HOST) == 0)
    return max;
  return max == 0 || max > NT_DNS_BODY_MAX ? NT_DNS_BODY_MAX : max;
}

static int begin(nt__transfer_t* t, nt__buf_t* body, size_t size) {
  uint64_t max = max_of(t);
  uint64_t announced = announced_size(t);

  body->max = max;
  if (max != 0 && announced > max)
    return NT_E_BODY_SIZE;
  if (announced > size && (max != 0 || announced < TRUSTED_SIZE) &&
      nt__buf_reserve(body, (size_t) announced) != 0)
    return NT_E_NOMEM;
  return 0;
}

int nt__gather(nt__transfer_t* t, nt__buf_t* body, const char* data,
               size_t size) {
  int err = 0;

  if (nt__is_over_mark(t->task->ctx, t->task))
    return NT__HOLD;
  if (body->size == 0)
    err = begin(t, body, size);
  if (err == 0)
    err = nt__buf_append(body, data, size);
  return err == NT_E_FULL ? NT_E_BODY_SIZE : err;
}
