/* What tasks may do: immutable snapshots. */
#ifndef NT_POLICY_H
#define NT_POLICY_H

#include <stdatomic.h>

#include "nettask.h"
#include "url.h"

/* Shared by the context and the tasks that started under it; freed with the
 * last reference, on whatever thread that goes. */
typedef struct nt__policy {
  atomic_uint refs;
  unsigned trust;     /* changes with what may be reached and who is trusted; the
                       * same while connections may serve both */
  nt_policy_t values; /* its lists and strings lie in `bytes` */
  _Alignas(void*) char bytes[];
} nt__policy_t;

/* A copy with one reference, or NULL without memory. */
nt__policy_t* nt__policy_new(const nt_policy_t* values);
nt__policy_t* nt__policy_ref(nt__policy_t* policy);
void nt__policy_unref(nt__policy_t* policy);

/* The one gate for every URL, the first and each redirect: 0 or the error that
 * names the rule. */
int nt__policy_check_url(const nt__policy_t* policy, const nt__url_t* url);

/* 0, or NT_E_PORT for one that TCP sockets may not connect to. */
int nt__policy_check_tcp_port(const nt__policy_t* policy, int port);

#endif
