/* What a transfer sends, laid out in the block of its task. */
#ifndef NT_OUTGOING_H
#define NT_OUTGOING_H

#include "transfer.h"

/* A proxy of a task's own is a URL of one, "" or NULL. */
bool nt__outgoing_may_proxy(const char* proxy);

/* What the host may not ask for: 0, NT_E_INVALID, NT_E_METHOD, NT_E_HEADER. */
int nt__outgoing_check(const nt_request_options_t* options);

/* Bytes for nt__outgoing_put(), which fills in the part of the transfer that
 * says what to send, but for its URL. `bytes` is aligned for pointers. */
size_t nt__outgoing_size(const nt_request_options_t* options);
void nt__outgoing_put(nt__transfer_t* transfer,
                      const nt_request_options_t* options, char* bytes);

/* Parses the URL. 0, NT_E_URL, NT_E_NOMEM. */
int nt__outgoing_put_url(nt__transfer_t* transfer,
                         const nt_request_options_t* options);

enum {
  NT__OUTGOING_EXTRA = 2 /* fields that an owner may add */
};

/* Adds a field, or changes one that it returned. `line` is "Name: value" and
 * stays with the owner. */
nt__field_t* nt__outgoing_add(nt__transfer_t* transfer, const char* name,
                              char* line);
/* The fields of that name are not sent. True when there was one. */
bool nt__outgoing_drop(nt__transfer_t* transfer, const char* name);

#endif
