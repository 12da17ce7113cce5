/* What a policy lets a task reach. One gate for every kind: the first URL, each
 * redirect, the hosts of TCP and UDP, and the address that a connection goes
 * to. Pure logic, any thread. */
#ifndef NT_GATE_H
#define NT_GATE_H

#include "address.h"
#include "policy.h"
#include "url.h"

/* Each returns 0 or the error that names the rule. */

/* A URL: its length, scheme and port, the list of hosts; a host that is an
 * address, or "localhost", also as an address. NT_E_URL for a name that could
 * not be made ASCII and, while hosts are limited, for what is neither a clean
 * name nor an address. */
int nt__gate_url(const nt__policy_t* policy, nt_access_t access,
                 const nt__url_t* url);

/* A host of TCP or UDP, a name or an address without brackets. `secure`: with
 * TLS. NT_E_ADDRESS as NT_E_URL above. */
int nt__gate_host(const nt__policy_t* policy, nt_access_t access,
                  const char* host, int port, bool secure);

/* The proxy that a task brings: NULL, none; "", none instead of the policy's.
 * Its host is one that the task reaches. NT_E_INVALID if it is no URL of a
 * proxy. */
int nt__gate_proxy(const nt__policy_t* policy, nt_access_t access,
                   const char* proxy);

/* An address that is about to be connected or sent to, or that something came
 * from; `host` is the name that led to it, as text of a URL or of TCP or UDP,
 * NULL: none. */
int nt__gate_address(const nt__policy_t* policy, const char* host,
                     const struct sockaddr* address);

/* Whether nt__gate_address() can refuse anything at all. */
bool nt__gate_has_private(const nt__policy_t* policy);

/* May tasks of this kind reach only what is on a list? */
bool nt__gate_has_list(const nt__policy_t* policy, nt_access_t access);

/* Whom a secret may be sent to. */
bool nt__gate_secret(const nt_secret_t* secret, const nt__url_t* url);

/* Whether a host is the one of a pin or below it. */
bool nt__gate_pin(const nt_pin_t* pin, const nt__host_t* host);

/* "scheme://host:port" of a URL, for people, without anything that may be
 * private. */
void nt__gate_show(const nt__url_t* url, char* out, size_t size);
/* The same of a URL as text; "" if it is none. */
void nt__gate_show_text(const char* text, char* out, size_t size);

#endif
