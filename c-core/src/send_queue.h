/* What a socket was given to send, as both threads see it: the host adds, the
 * I/O thread says what is settled, that is with the system or dropped. */
#ifndef NT_SEND_QUEUE_H
#define NT_SEND_QUEUE_H

#include "stream.h"

typedef struct nt__send_queue {
  uint64_t bytes, sends; /* host thread: given so far */
  atomic_uint_fast64_t settled_bytes, settled_sends;
  atomic_uint_fast64_t report_until; /* sends that the host wants to hear of */
  uint64_t reported;                 /* I/O thread: sends in the last SENT */
} nt__send_queue_t;

/* Host thread. `max` 0: no limit. */
bool nt__send_queue_has_room(const nt__send_queue_t* queue, uint64_t max,
                             size_t size);
void nt__send_queue_add(nt__send_queue_t* queue, size_t size);
/* Bytes that are not settled. */
uint64_t nt__send_queue_left(const nt__send_queue_t* queue);
/* A SENT event is wanted. True: the I/O thread has to be told to look. */
bool nt__send_queue_ask(nt__send_queue_t* queue);

/* I/O thread: what is settled so far. */
void nt__send_queue_set_settled(nt__send_queue_t* queue, uint64_t bytes,
                                uint64_t sends);
/* The same: takes over the stream's figures. */
void nt__send_queue_settle(nt__send_queue_t* queue, const nt__stream_t* stream);
/* Posts a SENT event if there is something new that the host wants to hear of.
 * NT_E_NOMEM. */
int nt__send_queue_report(nt__send_queue_t* queue, nt__task_t* task);

#endif
