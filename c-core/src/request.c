/* HTTP requests: a transfer whose body is gathered, or streamed in chunks.
 *
 * The block of a request is one piece of memory: the task, the transfer, and
 * behind them the strings, fields and bytes that are sent. The host keeps some
 * blocks with their buffers and parsed URL for the next request: what one
 * thread allocates and the other frees is what malloc is slowest at. */
#include <string.h>

#include "ask.h"
#include "cache_store.h"
#include "gather.h"
#include "internal.h"
#include "outgoing.h"

enum {
  DEFAULT_TOTAL_MS = 60000,
  SPARE_MAX = 256,             /* blocks that a context keeps */
  SPARE_BYTES_MAX = 16 * 1024, /* each */
  BLOCK_UNIT = 512             /* so that they fit the next request, too */
};

typedef struct nt__request {
  nt__task_t task;
  nt__transfer_t transfer;
  nt__buf_t body;     /* of the response, unless it is streamed, */
  nt__body_t* shared; /* or with the cache */
  nt__link_t spare;   /* in ctx->spare_requests */
  size_t capacity;    /* of `bytes` */
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
  nt__chunk_t* chunk = nt__chunk_new(task, NT_EV_CHUNK, size);

  if (chunk == NULL)
    return NT_E_NOMEM;
  memcpy(chunk->data, data, size);
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

static int on_stored(nt__transfer_t* t, nt__body_t* body) {
  of_transfer(t)->shared = body;
  return 0;
}

static nt__body_t* on_keep(nt__transfer_t* t) {
  nt__request_t* request = of_transfer(t);

  request->shared = nt__body_take(&request->body);
  return request->shared == NULL ? NULL : nt__body_ref(request->shared);
}

static void on_end(nt__transfer_t* t) {
  nt__request_t* request = of_transfer(t);
  size_t shared = request->shared == NULL ? 0 : request->shared->size;

  nt__task_end(t->task, request->body.size + shared);
}

static const nt__transfer_ops_t transfer_ops = { .on_headers = on_headers,
                                                 .on_body = on_body,
                                                 .on_stored = on_stored,
                                                 .on_keep = on_keep,
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
  if (request->shared == NULL)
    return;
  event->data = request->shared->data;
  event->size = request->shared->size;
}

static void destroy(nt__request_t* request) {
  nt__transfer_fini(&request->transfer);
  nt__buf_free(&request->body);
  nt__free(request);
}

static bool is_worth_keeping(const nt__request_t* request) {
  return request->capacity + request->body.capacity +
             request->transfer.headers.bytes.capacity <=
         SPARE_BYTES_MAX;
}

static void request_release(nt__task_t* task) {
  nt__request_t* request = of_task(task);
  nt_context_t* ctx = task->ctx;

  nt__task_fini(task);
  nt__ask_free(&request->transfer);
  nt__body_unref(request->shared);
  request->shared = NULL;
  if (ctx->spare_count < SPARE_MAX && is_worth_keeping(request)) {
    ctx->spare_count++;
    nt__fifo_push(&ctx->spare_requests, &request->spare);
  } else {
    destroy(request);
  }
}

void nt__requests_free(nt_context_t* ctx) {
  nt__link_t* link;

  while ((link = nt__fifo_shift(&ctx->spare_requests)) != NULL)
    destroy(nt__container_of(link, nt__request_t, spare));
}

static const nt__task_class_t request_class = { .start = request_start,
                                                .abort = request_abort,
                                                .resume = request_resume,
                                                .show = request_show,
                                                .release = request_release };

void nt_request_options_init(nt_request_options_t* options) {
  memset(options, 0, sizeof(*options));
  options->method = "GET";
  options->timeouts.total = DEFAULT_TOTAL_MS;
}

static nt__request_t* new_block(size_t size) {
  size_t capacity = (size + BLOCK_UNIT - 1) / BLOCK_UNIT * BLOCK_UNIT;
  nt__request_t* request = nt__calloc(sizeof(*request) + capacity);

  if (request != NULL)
    request->capacity = capacity;
  return request;
}

/* Everything zero but the memory that a spare block brings along. */
static void clean(nt__request_t* request) {
  nt__request_t kept = *request;
  nt__transfer_t* t = &request->transfer;

  memset(request, 0, sizeof(*request));
  request->capacity = kept.capacity;
  request->body = kept.body;
  request->body.size = 0;
  t->headers = kept.transfer.headers;
  nt__headers_reset(&t->headers);
  t->url = kept.transfer.url;
}

static nt__request_t* take_block(nt_context_t* ctx, size_t size) {
  nt__link_t* link = nt__fifo_shift(&ctx->spare_requests);
  nt__request_t* request;

  if (link == NULL)
    return new_block(size);
  ctx->spare_count--;
  request = nt__container_of(link, nt__request_t, spare);
  if (request->capacity < size) {
    destroy(request);
    return new_block(size);
  }
  clean(request);
  return request;
}

/* Fills in everything but the URL. */
static void fill(nt__request_t* request, const nt_request_options_t* options) {
  request->task.class_ = &request_class;
  request->transfer.ops = &transfer_ops;
  request->transfer.task = &request->task;
  request->transfer.access = NT_ACCESS_REQUEST;
  nt__outgoing_put(&request->transfer, options, request->bytes);
}

static int set_url(nt__url_t* url, const nt_request_options_t* options) {
  if (url->plain && options->base_url == NULL &&
      strcmp(url->text, options->url) == 0)
    return 0; /* a spare block's, of the same request before */
  nt__url_free(url);
  return nt__url_parse(url, options->base_url, options->url);
}

int nt_request_open(nt_context_t* ctx, nt_id_t* id) {
  return nt__task_open(ctx, id);
}

int nt_request_start(nt_context_t* ctx, nt_id_t id,
                     const nt_request_options_t* options) {
  nt__request_t* request;
  int err = nt__task_check_start(ctx, id);

  if (err == 0)
    err = options == NULL ? NT_E_INVALID : nt__outgoing_check(options);
  if (err)
    return err;
  request = take_block(ctx, nt__outgoing_size(options));
  if (request == NULL)
    return NT_E_NOMEM;
  err = set_url(&request->transfer.url, options);
  if (err) {
    destroy(request);
    return err;
  }
  fill(request, options);
  if (options->flags & NT_REQUEST_ANONYMOUS)
    nt__url_drop_credentials(&request->transfer.url);
  nt__task_start(ctx, id, &request->task);
  return 0;
}
