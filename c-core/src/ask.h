/* Addresses of names from a resolver of the host's (HttpDNS): what a transfer
 * asks, and what is known. I/O thread, but where it says so. */
#ifndef NT_ASK_H
#define NT_ASK_H

#include "transfer.h"

/* For the hop that is about to begin. True: it has to wait, until on_answer()
 * in a turn, or nt__ask_leave(). False: it can go on, by the address of
 * nt__ask_line(), if there is one. */
bool nt__ask_begin(nt__transfer_t* transfer,
                   void (*on_answer)(nt__transfer_t* transfer));
/* Waits no longer; harmless when it does not. */
void nt__ask_leave(nt__transfer_t* transfer);
/* The same, because its time is over. */
void nt__ask_expire(nt__transfer_t* transfer);
/* Another hop comes, to ask anew. */
void nt__ask_reset(nt__transfer_t* transfer);
/* Any thread, at the end. */
void nt__ask_free(nt__transfer_t* transfer);

/* CURLOPT_CONNECT_TO for the address whose turn it is; NULL: the system looks
 * the name up. */
struct curl_slist* nt__ask_line(const nt__transfer_t* transfer);
/* That address is connected to; nothing without one. */
void nt__ask_succeed(nt__transfer_t* transfer);
/* That address is none that could be connected to: the next one's turn. */
void nt__ask_fail(nt__transfer_t* transfer, int error);
/* One of the addresses of this hop was refused by the policy. */
bool nt__ask_was_refused(const nt__transfer_t* transfer);
/* For how long that address may be tried; that of the time-outs without one. */
uint32_t nt__ask_connect_limit(const nt__transfer_t* transfer);

/* What an END or OPEN tells. Once nothing is asked any more: any thread. */
void nt__ask_show(const nt__transfer_t* transfer, nt_event_t* event);

/* NT__CMD_ANSWER. */
void nt__asks_take(nt_context_t* ctx, const nt__command_t* command);
/* At the end, when nobody waits any more; NULL is ignored. */
void nt__asks_free(nt__asks_t* asks);

#endif
