/* Scans for local services, as the turn of the loop sees them. */
#ifndef NT_MDNS_H
#define NT_MDNS_H

#include "internal.h"

/* I/O thread: the scans' part of a turn. */
void nt__scans_run(nt_context_t* ctx);

#endif
