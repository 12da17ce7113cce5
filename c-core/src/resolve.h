/* Name lookups for UDP, off the loop, so that a stuck one holds up nothing and
 * can be left behind. TCP and HTTP look up through libcurl: see lookup.h. */
#ifndef NT_RESOLVE_H
#define NT_RESOLVE_H

#include "address.h"
#include "internal.h"

/* Part of what waits for a name. */
typedef struct nt__resolve {
  nt__node_t node;
  /* In a turn. 0 and the address, with port 0; or an error and `why`, a static
   * string. */
  void (*on_done)(struct nt__resolve* wait, int error,
                  const nt__sockaddr_t* address, const char* why);
} nt__resolve_t;

typedef struct nt__resolver nt__resolver_t;

enum {
  NT__RESOLVE_UNKNOWN = 1
};

/* I/O thread. What is known of a name: 0 and its address in that family (AF_*),
 * with port 0; NT_E_RESOLVE, for a second after a failure; or
 * NT__RESOLVE_UNKNOWN. */
int nt__resolve_known(nt_context_t* ctx, const char* name, int family,
                      nt__sockaddr_t* out, const char** why);
/* on_done() will be called, not from in here. NT_E_NOMEM, NT_E_SYSTEM, or
 * NT_E_FULL when very many names are waited for. */
int nt__resolve_wait(nt_context_t* ctx, const char* name, int family,
                     nt__resolve_t* wait);
void nt__resolve_cancel(nt__resolve_t* wait);

/* The resolver's part of a turn. NULL is ignored by these. */
void nt__resolver_run(nt__resolver_t* resolver);
bool nt__resolver_pending(const nt__resolver_t* resolver);
/* At the end of the I/O thread. Nobody waits any more; lookups that are under
 * way end when they like. */
void nt__resolver_free(nt__resolver_t* resolver);

/* What asks the system, on a thread of its own: 0, or a code of getaddrinfo().
 * A test may put something else here. */
typedef int (*nt__resolve_ask_t)(const char* name, int family,
                                 nt__sockaddr_t* out);
extern nt__resolve_ask_t nt__resolve_ask;

#endif
