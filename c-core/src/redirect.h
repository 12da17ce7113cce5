/* Redirects: see redirect.c. */
#ifndef NT_REDIRECT_H
#define NT_REDIRECT_H

#include "transfer.h"

/* After an answer that leads to `next`, which gets the credentials of the URL
 * if it may. */
void nt__redirect_adapt(nt__transfer_t* transfer, nt__url_t* next);

#endif
