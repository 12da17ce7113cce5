/* The figures of a send queue. The I/O thread looks at `report_until` after it
 * has counted what it sent, the host sets it and then looks at the count: so
 * one of them sees the other. */
#include "send_queue.h"

enum {
  SEND_OVERHEAD = 128 /* what a send takes beside its bytes */
};

uint64_t nt__send_queue_left(const nt__send_queue_t* queue) {
  return queue->bytes - atomic_load(&queue->settled_bytes);
}

bool nt__send_queue_has_room(const nt__send_queue_t* queue, uint64_t max,
                             size_t size) {
  uint64_t sends = queue->sends - atomic_load(&queue->settled_sends);

  return max == 0 ||
         nt__send_queue_left(queue) + sends * SEND_OVERHEAD + size <= max;
}

void nt__send_queue_add(nt__send_queue_t* queue, size_t size) {
  queue->bytes += size;
  queue->sends++;
}

bool nt__send_queue_ask(nt__send_queue_t* queue) {
  atomic_store(&queue->report_until, queue->sends);
  return atomic_load(&queue->settled_sends) == queue->sends;
}

void nt__send_queue_set_settled(nt__send_queue_t* queue, uint64_t bytes,
                                uint64_t sends) {
  atomic_store(&queue->settled_bytes, bytes);
  atomic_store(&queue->settled_sends, sends);
}

void nt__send_queue_settle(nt__send_queue_t* queue,
                           const nt__stream_t* stream) {
  nt__send_queue_set_settled(queue, stream->charge, stream->sends);
}

int nt__send_queue_report(nt__send_queue_t* queue, nt__task_t* task) {
  uint64_t sends = atomic_load(&queue->settled_sends);
  nt__parcel_t* parcel;

  if (sends == queue->reported ||
      queue->reported >= atomic_load(&queue->report_until))
    return 0;
  parcel = nt__parcel_new(task, NT_EV_SENT, 0);
  if (parcel == NULL)
    return NT_E_NOMEM;
  parcel->view.done = sends;
  parcel->view.total = atomic_load(&queue->settled_bytes);
  queue->reported = sends;
  nt__event_post(task->ctx, &parcel->event, 0);
  return 0;
}
