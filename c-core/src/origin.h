/* The origin that a transfer belongs to, and what it may do elsewhere. */
#ifndef NT_ORIGIN_H
#define NT_ORIGIN_H

#include "transfer.h"

/* A hop begins: notes whether it leads elsewhere. 0, NT_E_CROSS_ORIGIN when it
 * may not, NT_E_NOMEM. */
int nt__origin_enter(nt__transfer_t* transfer);

/* `*line`: "Origin: ...", to be freed, or NULL when there is none to send. 0,
 * NT_E_NOMEM. */
int nt__origin_write(const nt__transfer_t* transfer, char** line);

/* The headers of the last answer are here: 0, or NT_E_CORS. What must not be
 * told of it is forgotten. */
int nt__origin_judge(nt__transfer_t* transfer);

#endif
