/* One hop of a transfer: one request and its answer, by libcurl. */
#ifndef NT_HOP_H
#define NT_HOP_H

#include "transfer.h"

/* Gives libcurl the request. 0, or an error with task->message: NT_E_NOMEM,
 * NT_E_TRUST, NT_E_PIN. Then easy.on_done() comes. */
int nt__hop_start(nt__transfer_t* transfer);
/* A hop begins, whoever answers: 0, NT_E_CROSS_ORIGIN, NT_E_SECRET,
 * NT_E_NOMEM. */
int nt__hop_enter(nt__transfer_t* transfer);
/* The headers of an answer are there: notes whether it is a redirect to be
 * followed, or else tells the owner. 0, an error, or NT__AGAIN. */
int nt__hop_answer(nt__transfer_t* transfer);
/* Gives everything back; `error` is 0 or why it was not to go on. Harmless
 * when nothing was started. */
void nt__hop_end(nt__transfer_t* transfer, int error);
/* After NT__HOLD: reads on. */
void nt__hop_resume(nt__transfer_t* transfer);

#endif
