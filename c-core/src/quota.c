/* The times of the newest `max` that were taken: one more may be when the
 * oldest of them is out of the window. */
#include "quota.h"

#include <string.h>

#include "alloc.h"
#include "nettask.h"

void nt__quota_free(nt__quota_t* quota) {
  nt__free(quota->times);
  memset(quota, 0, sizeof(*quota));
}

/* Of the old times the newest stay, in their order, the oldest first. */
static int resize(nt__quota_t* quota, uint32_t max) {
  uint64_t* times = nt__calloc(max * sizeof(*times));
  size_t kept = quota->capacity < max ? quota->capacity : max;
  size_t i;

  if (times == NULL)
    return NT_E_NOMEM;
  for (i = 0; i < kept; i++)
    times[max - kept + i] =
        quota->times[(quota->next + quota->capacity - kept + i) %
                     quota->capacity];
  nt__free(quota->times);
  quota->times = times;
  quota->capacity = max;
  quota->next = 0;
  return 0;
}

int nt__quota_due(nt__quota_t* quota, uint32_t max, uint32_t window_ms,
                  uint64_t* due_ms) {
  *due_ms = 0;
  if (max == 0 || window_ms == 0)
    return 0;
  if (quota->capacity != max && resize(quota, max) != 0)
    return NT_E_NOMEM;
  if (quota->times[quota->next] != 0)
    *due_ms = quota->times[quota->next] + window_ms;
  return 0;
}

int nt__quota_take(nt__quota_t* quota, uint32_t max, uint32_t window_ms,
                   uint64_t now_ms) {
  uint64_t* oldest;

  if (max == 0 || window_ms == 0)
    return 0;
  if (quota->capacity != max && resize(quota, max) != 0)
    return NT_E_NOMEM;
  oldest = &quota->times[quota->next];
  if (*oldest != 0 && now_ms - *oldest < window_ms)
    return NT_E_LIMIT;
  *oldest = now_ms == 0 ? 1 : now_ms;
  quota->next = (quota->next + 1) % quota->capacity;
  return 0;
}
