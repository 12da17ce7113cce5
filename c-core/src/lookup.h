/* Who may look up a name now. libcurl starts a thread for each lookup, also
 * for a hundred of the same name: so one goes first and the others use what it
 * leaves in libcurl's cache, and there are never many at once. */
#ifndef NT_LOOKUP_H
#define NT_LOOKUP_H

#include "internal.h"

/* Part of what wants to connect. Zeroed: not looking anything up. */
typedef struct nt__lookup_turn {
  nt__node_t node;
  struct nt__lookup* lookup;
  /* May start now (0), or the lookup that it waited for failed. May be called
   * inside a libcurl callback. */
  void (*on_turn)(struct nt__lookup_turn* turn, int error);
} nt__lookup_turn_t;

int nt__lookups_open(nt_context_t* ctx);
void nt__lookups_free(nt__lookups_t* lookups);

/* True: go ahead, and call end() when the name is known. False: on_turn() is
 * called later. Without memory there is no order, and the answer is true. */
bool nt__lookup_begin(nt__lookups_t* lookups, nt__lookup_turn_t* turn,
                      const char* authority);

/* The lookup of `turn` is over: 0, or NT_E_RESOLVE, which those that wait for
 * the same name get too; any other error says nothing about the name, and the
 * next one tries. Also leaves the queue. Harmless when there is no lookup. */
void nt__lookup_end(nt__lookups_t* lookups, nt__lookup_turn_t* turn, int error);

#endif
