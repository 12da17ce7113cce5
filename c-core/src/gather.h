/* A response body gathered in memory. */
#ifndef NT_GATHER_H
#define NT_GATHER_H

#include "transfer.h"

/* Takes in a piece, under the policy's cap: 0, NT__HOLD while the host is
 * behind, NT_E_BODY_SIZE, NT_E_NOMEM. */
int nt__gather(nt__transfer_t* transfer, nt__buf_t* body, const char* data,
               size_t size);

#endif
