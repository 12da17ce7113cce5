/* What tasks may do: immutable snapshots. */
#ifndef NT_POLICY_H
#define NT_POLICY_H

#include <stdatomic.h>

#include "nettask.h"
#include "pattern.h"
#include "url.h"

typedef struct nt__patterns {
  nt__pattern_t* items;
  size_t count;
} nt__patterns_t;

/* Shared by the context and the tasks that started under it; freed with the
 * last reference, on whatever thread that goes. */
typedef struct nt__policy {
  atomic_uint refs;
  unsigned trust; /* changes with what may be reached and who is trusted; the
                   * same while connections may serve both */
  nt_policy_t values; /* its lists and strings lie in `bytes` */
  bool limits_hosts;  /* any host may be refused: else the gate is open */
  nt__patterns_t domains[NT_ACCESS_COUNT]; /* of `values` */
  nt__patterns_t allow_private;
  size_t size; /* of `bytes` */
  _Alignas(void*) char bytes[];
} nt__policy_t;

/* A copy with one reference, or NULL without memory. `values` are what
 * nt_policy_check() lets pass. */
nt__policy_t* nt__policy_new(const nt_policy_t* values);
nt__policy_t* nt__policy_ref(nt__policy_t* policy);
void nt__policy_unref(nt__policy_t* policy);

/* The Referer of that number, or NULL. */
const char* nt__policy_referer(const nt_policy_t* policy, uint32_t number);

/* 0, or NT_E_PORT for one that TCP sockets may not connect to. */
int nt__policy_check_tcp_port(const nt__policy_t* policy, int port);

#endif
