/* Whom TLS trusts: the authorities and the pinned keys of a policy, as options
 * of libcurl's handles. */
#ifndef NT_TRUST_H
#define NT_TRUST_H

#include <curl/curl.h>
#include <stdbool.h>

#include "nettask.h"

enum {
  NT__TRUST_PATH_SIZE = 32
};

/* The authorities of the connections of one pool. */
typedef struct nt__trust {
  int fd;                         /* of those that came as text; -1: none */
  char path[NT__TRUST_PATH_SIZE]; /* where libcurl reads them; "": nowhere */
} nt__trust_t;

/* I/O thread. Where the system has no files in memory, libcurl is to get the
 * text itself, with each connection. */
void nt__trust_open(nt__trust_t* trust, const nt_policy_t* policy);
void nt__trust_close(nt__trust_t* trust);

/* 0, NT_E_NOMEM, or NT_E_TRUST when libcurl cannot do it. After an error the
 * handle must not be used. */
int nt__trust_set(const nt__trust_t* trust, const nt_policy_t* policy,
                  CURL* curl);
/* The same for the connection to an https proxy. */
int nt__trust_set_proxy(const nt__trust_t* trust, const nt_policy_t* policy,
                        CURL* curl);

/* The keys that a host may have, which is named as libcurl will look it up.
 * Nothing when none are pinned. 0, NT_E_NOMEM, or NT_E_PIN when they cannot be
 * looked at. */
int nt__trust_pin(const nt_policy_t* policy, const char* name, CURL* curl);

/* Whether connections that were made under one policy are as good under the
 * other. Any thread. */
bool nt__trust_is_same(const nt_policy_t* a, const nt_policy_t* b);

#endif
