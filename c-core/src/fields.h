/* The header fields that a hop sends. I/O thread. */
#ifndef NT_FIELDS_H
#define NT_FIELDS_H

#include "transfer.h"

/* Whether the field has the placeholder of a secret in its value. */
bool nt__field_has_secret(const nt__transfer_t* transfer,
                          const nt__field_t* field);

/* 0, or NT_E_SECRET with task->message when one of them has a secret that is
 * not for the host of this hop. */
int nt__fields_check(nt__transfer_t* transfer);
/* Appends what it sends, with what libcurl adds to it, for the rules of the
 * cache: of a value with a secret a hash. The user of the URL is among it as
 * Authorization, to be wiped as cookies are. NT_E_NOMEM. */
int nt__fields_list(nt__transfer_t* transfer, nt__headers_t* out);
/* Gives them to libcurl, to be wiped when it has let go of them. NT_E_NOMEM. */
int nt__fields_give(nt__transfer_t* transfer, CURL* curl);
void nt__fields_wipe(nt__transfer_t* transfer);

#endif
