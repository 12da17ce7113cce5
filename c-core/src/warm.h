/* Reads the trusted certificates before the first TLS connection needs them. */
#ifndef NT_WARM_H
#define NT_WARM_H

#include "internal.h"

/* Makes ctx->io.warm, which sets to work once the context is a little old. */
int nt__warm_open(nt_context_t* ctx);
/* Once more, after nt__driver_renew(). */
void nt__warm_again(nt__warm_t* warm);
/* Before the driver closes; the loop must run once more, then free. */
void nt__warm_close(nt__warm_t* warm);

#endif
