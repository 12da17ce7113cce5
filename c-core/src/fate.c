/* The fate of a download: the storage thread seals it right before the file
 * appears at its path, the host may abort it until then. It is memory of its
 * own because either of them may let go of the task first. */
#include "fate.h"

#include "alloc.h"

enum {
  OPEN,
  SEALED,
  ABORTED
};

nt__fate_t* nt__fate_new(void) {
  nt__fate_t* fate = nt__malloc(sizeof(*fate));

  if (fate == NULL)
    return NULL;
  atomic_init(&fate->refs, 1);
  atomic_init(&fate->state, OPEN);
  return fate;
}

nt__fate_t* nt__fate_ref(nt__fate_t* fate) {
  atomic_fetch_add_explicit(&fate->refs, 1, memory_order_relaxed);
  return fate;
}

void nt__fate_unref(nt__fate_t* fate) {
  if (fate == NULL)
    return;
  if (atomic_fetch_sub_explicit(&fate->refs, 1, memory_order_acq_rel) == 1)
    nt__free(fate);
}

static bool decide(nt__fate_t* fate, int state) {
  int now = OPEN;

  return atomic_compare_exchange_strong(&fate->state, &now, state) ||
         now == state;
}

bool nt__fate_seal(nt__fate_t* fate) {
  return decide(fate, SEALED);
}

bool nt__fate_abort(nt__fate_t* fate) {
  return decide(fate, ABORTED);
}
