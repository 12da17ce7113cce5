/* What the system itself would take for an address: what the gate lets pass is
 * held against it. */
#ifndef NT_FUZZ_ORACLE_H
#define NT_FUZZ_ORACLE_H

#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gate.h"

static inline void require(int condition) {
  if (!condition)
    abort();
}

static inline nt__policy_t* new_policy(uint32_t flags,
                                       const char* const* domains,
                                       size_t count) {
  nt_policy_t values;
  nt__policy_t* policy;
  int i;

  nt_policy_init(&values, NT_PRESET_OPEN);
  values.flags = flags;
  for (i = 0; domains != NULL && i < NT_ACCESS_COUNT; i++) {
    values.domains[i].items = domains;
    values.domains[i].count = count;
  }
  policy = nt__policy_new(&values);
  require(policy != NULL);
  return policy;
}

/* Refuses private addresses, and nothing else. */
static inline const nt__policy_t* private_policy(void) {
  static nt__policy_t* policy;

  if (policy == NULL)
    policy = new_policy(NT_POLICY_REFUSE_PRIVATE, NULL, 0);
  return policy;
}

/* Without brackets. For free(). */
static inline char* bare_host(const char* host) {
  size_t size = strlen(host);
  char* copy;

  if (size > 1 && host[0] == '[' && host[size - 1] == ']')
    copy = strndup(host + 1, size - 2);
  else
    copy = strdup(host);
  require(copy != NULL);
  return copy;
}

/* True: the system reads it as this address without asking anybody. */
static inline bool is_numeric(const char* host, nt__sockaddr_t* out) {
  struct addrinfo hints = { .ai_flags = AI_NUMERICHOST,
                            .ai_socktype = SOCK_STREAM };
  struct addrinfo* found = NULL;
  char* bare = bare_host(host);
  int code = getaddrinfo(bare, NULL, &hints, &found);

  free(bare);
  if (code != 0)
    return false;
  nt__address_copy(out, found->ai_addr);
  freeaddrinfo(found);
  return true;
}

/* A host that passes as it is written passes with the address that the system
 * reads in it. */
static inline void require_public(const char* host) {
  nt__sockaddr_t address;

  if (is_numeric(host, &address))
    require(nt__gate_address(private_policy(), NULL, &address.sa) == 0);
  require(strcasecmp(host, "localhost") != 0);
}

#endif
