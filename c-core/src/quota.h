/* At most so many in any window of time. Pure logic, any one thread. */
#ifndef NT_QUOTA_H
#define NT_QUOTA_H

#include <stddef.h>
#include <stdint.h>

typedef struct nt__quota {
  uint64_t* times; /* of the newest ones, a ring; ms */
  size_t capacity;
  size_t next;
} nt__quota_t;

void nt__quota_free(nt__quota_t* quota);
/* Takes one: 0, NT_E_LIMIT, NT_E_NOMEM. `max` 0: no limit. */
int nt__quota_take(nt__quota_t* quota, uint32_t max, uint32_t window_ms,
                   uint64_t now_ms);
/* When one may be taken, in the past or in the future: 0, NT_E_NOMEM. */
int nt__quota_due(nt__quota_t* quota, uint32_t max, uint32_t window_ms,
                  uint64_t* due_ms);

#endif
