/* HTTP requests: a transfer whose body is gathered, or streamed in chunks.
 *
 * The block of a request is one piece of memory: the task, the transfer, and
 * behind them the strings, fields and bytes that are sent. */
#include <string.h>

#include "gather.h"
#include "internal.h"
#include "outgoing.h"

enum {
  DEFAULT_TOTAL_MS = 60000
};

typedef struct nt__request {
  nt__task_t task;
  nt__transfer_t transfer;
  nt__buf_t body; /* of the response, unless it is streamed */
  char bytes[];
} nt__request_t;

static nt__request_t* of_task(const nt__task_t* task) {
  return nt__container_of(task, nt__request_t, task);
}

static nt__request_t* of_transfer(nt__transfer_t* transfer) {
  return nt__container_of(transfer, nt__request_t, transfer);
}

/* ---- I/O thread ---------------------------------------------------------- */

static int on_headers(nt__transfer_t* t) {
  nt__transfer_post_headers(t);
  return 0;
}

static int stream(nt__task_t* task, const char* data, size_t size) {
  nt__chunk_t* chunk = nt__malloc(sizeof(*chunk) + size + 1);

  if (chunk == NULL)
    return NT_E_NOMEM;
  chunk->event.type = NT_EV_CHUNK;
  chunk->event.id = task->id;
  chunk->event.task = task;
  chunk->size = size;
  memcpy(chunk->data, data, size);
  chunk->data[size] = '\0';
  nt__event_post(task->ctx, &chunk->event, size);
  return 0;
}

static int on_body(nt__transfer_t* t, const char* data, size_t size) {
  if (!(t->flags & NT_REQUEST_STREAM))
    return nt__gather(t, &of_transfer(t)->body, data, size);
  if (nt__is_over_mark(t->task->ctx, t->task))
    return NT__HOLD;
  return stream(t->task, data, size);
}

static void on_end(nt__transfer_t* t) {
  nt__task_end(t->task, of_transfer(t)->body.size);
}

static const nt__transfer_ops_t transfer_ops = { .on_headers = on_headers,
                                                 .on_body = on_body,
                                                 .on_end = on_end };

static void request_start(nt__task_t* task) {
  nt__transfer_submit(&of_task(task)->transfer);
}

static void request_abort(nt__task_t* task) {
  nt__transfer_cancel(&of_task(task)->transfer);
  nt__task_end(task, 0);
}

static void request_resume(nt__task_t* task) {
  nt__transfer_resume(&of_task(task)->transfer);
}

/* ---- Host thread --------------------------------------------------------- */

static void request_show(nt__task_t* task, nt_event_t* event) {
  const nt__request_t* request = of_task(task);

  nt__transfer_show(&request->transfer, event);
  if (event->type != NT_EV_END)
    return;
  event->data = request->body.data;
  event->size = request->body.size;
}

static void request_release(nt__task_t* task) {
  nt__request_t* request = of_task(task);

  nt__transfer_fini(&request->transfer);
  nt__buf_free(&request->body);
  nt__task_fini(task);
  nt__free(request);
}

static const nt__task_class_t request_class = { request_start, request_abort,
                                                request_resume, request_show,
                                                request_release };

void nt_request_options_init(nt_request_options_t* options) {
  memset(options, 0, sizeof(*options));
  options->method = "GET";
  options->timeouts.total = DEFAULT_TOTAL_MS;
}

/* The block with everything but the URL. */
static nt__request_t* new_request(const nt_request_options_t* options) {
  nt__request_t* request =
      nt__malloc(sizeof(*request) + nt__outgoing_size(options));

  if (request == NULL)
    return NULL;
  memset(request, 0, sizeof(*request));
  request->task.class_ = &request_class;
  nt__buf_init(&request->body, 0);
  request->transfer.ops = &transfer_ops;
  request->transfer.task = &request->task;
  nt__outgoing_put(&request->transfer, options, request->bytes);
  return request;
}

int nt_request_open(nt_context_t* ctx, nt_id_t* id) {
  return nt__task_open(ctx, id);
}

int nt_request_start(nt_context_t* ctx, nt_id_t id,
                     const nt_request_options_t* options) {
  nt__request_t* request;
  int err = nt__task_check_idle(ctx, id);

  if (err == 0)
    err = options == NULL ? NT_E_INVALID : nt__outgoing_check(options);
  if (err)
    return err;
  request = new_request(options);
  if (request == NULL)
    return NT_E_NOMEM;
  err = nt__outgoing_put_url(&request->transfer, options);
  if (err) {
    nt__free(request);
    return err;
  }
  nt__task_start(ctx, id, &request->task);
  return 0;
}
