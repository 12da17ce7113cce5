/* The cookies of a context: its jar, between its two threads, and the file that
 * the jar is kept in. */
#ifndef NT_COOKIES_H
#define NT_COOKIES_H

#include "transfer.h"

typedef struct nt__cookies nt__cookies_t;

/* Host thread: makes ctx->cookies. NT_E_NOMEM, NT_E_SYSTEM. */
int nt__cookies_open(nt_context_t* ctx);
/* Host thread, last of all. NULL is ignored. */
void nt__cookies_free(nt__cookies_t* cookies);
/* Host thread: from now on the jar is that of the file, NULL: of none.
 * NT_E_NOMEM, and nothing has changed. */
int nt__cookies_use(nt__cookies_t* cookies, const char* path);

/* I/O thread. */

/* The part of a turn: reads and saves files. */
void nt__cookies_run(nt__cookies_t* cookies);
/* Something is to be done since. */
bool nt__cookies_pending(const nt__cookies_t* cookies);
/* At the end, before the storage stops: saves what has changed. There is no jar
 * any more. */
void nt__cookies_stop(nt__cookies_t* cookies);

/* True when the transfer has to wait for the file: then its node is linked, and
 * nt__transfer_proceed() comes. */
bool nt__cookies_wait(nt__transfer_t* t);
/* Appends to `out` what the jar has for the current hop, "a=1; b=2", beside the
 * caller's own field, `own` or NULL. 0, NT_E_NOMEM. */
int nt__cookies_pick(nt__transfer_t* t, const char* own, nt__buf_t* out);
/* Takes in what the answer of the current hop sets. */
void nt__cookies_store(nt__transfer_t* t, const nt__headers_t* headers);

#endif
