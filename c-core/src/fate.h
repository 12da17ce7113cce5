/* Who decides how a task ends when its result and an abort come at the same
 * time: whoever is first, on whatever thread. */
#ifndef NT_FATE_H
#define NT_FATE_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct nt__fate {
  atomic_uint refs;
  atomic_int state;
} nt__fate_t;

/* One reference, or NULL without memory. */
nt__fate_t* nt__fate_new(void);
nt__fate_t* nt__fate_ref(nt__fate_t* fate);
void nt__fate_unref(nt__fate_t* fate); /* NULL is ignored */

/* True: the result stands, an abort comes too late from now on. False: it was
 * aborted before. */
bool nt__fate_seal(nt__fate_t* fate);
/* True: aborted. False: it was sealed before. */
bool nt__fate_abort(nt__fate_t* fate);

#endif
