/* HTTP requests: a transfer whose body is gathered, or streamed in chunks.
 *
 * The block of a request is one piece of memory: the task, the transfer, and
 * behind them the strings, fields and bytes that are sent. The host keeps some
 * blocks with their buffers and parsed URL for the next request: what one
 * thread allocates and the other frees is what malloc is slowest at. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "transfer.h"

enum {
  DEFAULT_TOTAL_MS = 60000,
  SPARE_MAX = 64,              /* blocks that a context keeps */
  SPARE_BYTES_MAX = 32 * 1024, /* each */
  BLOCK_UNIT = 512             /* so that they fit the next request, too */
};

typedef struct nt__request {
  nt__task_t task;
  nt__transfer_t transfer;
  nt__buf_t body;   /* of the response, unless it is streamed */
  nt__link_t spare; /* in ctx->spare_requests */
  size_t capacity;  /* of `bytes` */
  char bytes[];
} nt__request_t;

static nt__request_t* of_task(const nt__task_t* task) {
  return nt__container_of(task, nt__request_t, task);
}

static nt__request_t* of_transfer(nt__transfer_t* transfer) {
  return nt__container_of(transfer, nt__request_t, transfer);
}

/* ---- I/O thread ---------------------------------------------------------- */

static void on_headers(nt__transfer_t* t) {
  nt__task_t* task = t->task;

  task->head.type = NT_EV_HEADERS;
  task->head.id = task->id;
  task->head.task = task;
  nt__event_post(task->ctx, &task->head, t->headers.bytes.size);
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

/* The length that the server announced, when it is that of the decoded body:
 * room for all of it at once saves growing. */
static uint64_t announced_size(const nt__transfer_t* t) {
  const char* length = nt__headers_find(&t->headers, "content-length");

  if (length == NULL ||
      nt__headers_find(&t->headers, "content-encoding") != NULL)
    return 0;
  return strtoull(length, NULL, 10);
}

static int gather(nt__request_t* request, const char* data, size_t size) {
  uint64_t max = request->task.policy->values.response_max_bytes;
  uint64_t announced;

  if (request->body.size == 0) {
    request->body.max = max;
    announced = announced_size(&request->transfer);
    if (max != 0 && announced > max)
      return NT_E_BODY_SIZE;
    /* Without a cap a lying server must not make us reserve the world. */
    if (announced > size && (max != 0 || announced < (1u << 26)) &&
        nt__buf_reserve(&request->body, (size_t) announced) != 0)
      return NT_E_NOMEM;
  }
  switch (nt__buf_append(&request->body, data, size)) {
    case 0:
      return 0;
    case NT_E_FULL:
      return NT_E_BODY_SIZE;
    default:
      return NT_E_NOMEM;
  }
}

static int on_body(nt__transfer_t* t, const char* data, size_t size) {
  if (nt__is_over_mark(t->task->ctx, t->task))
    return NT__HOLD;
  if (t->flags & NT_REQUEST_STREAM)
    return stream(t->task, data, size);
  return gather(of_transfer(t), data, size);
}

static void on_end(nt__transfer_t* t) {
  nt__task_end(t->task, of_transfer(t)->body.size);
}

static const nt__transfer_ops_t transfer_ops = { on_headers, on_body, on_end };

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

static void request_show(const nt__task_t* task, nt_event_t* event) {
  const nt__request_t* request = of_task(task);
  const nt__transfer_t* t = &request->transfer;

  event->status = t->status;
  event->headers = nt__headers_view(&t->headers);
  event->url = t->url.text;
  event->redirects = t->redirects;
  if (event->type != NT_EV_END)
    return;
  event->data = request->body.data;
  event->size = request->body.size;
  if ((t->flags & NT_REQUEST_PROFILE) && event->error == 0)
    event->profile = &t->profile;
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

static const nt__task_class_t request_class = { request_start, request_abort,
                                                request_resume, request_show,
                                                request_release };

void nt_request_options_init(nt_request_options_t* options) {
  memset(options, 0, sizeof(*options));
  options->method = "GET";
  options->timeouts.total = DEFAULT_TOTAL_MS;
}

static int check(const nt_request_options_t* options) {
  size_t i;

  if (options == NULL || options->url == NULL || options->method == NULL ||
      (options->body == NULL && options->body_size > 0) ||
      (options->headers == NULL && options->header_count > 0))
    return NT_E_INVALID;
  if (!nt__header_is_token(options->method))
    return NT_E_METHOD;
  for (i = 0; i < options->header_count; i++)
    if (nt_header_check(options->headers[i].name, options->headers[i].value))
      return NT_E_HEADER;
  return 0;
}

static bool has_header(const nt_request_options_t* options, const char* name) {
  size_t i;

  for (i = 0; i < options->header_count; i++)
    if (nt__header_is(options->headers[i].name, name))
      return true;
  return false;
}

/* libcurl adds these to a request with a body unless it is told not to. */
static const char* const unwanted[] = { "Content-Type", "Expect" };

enum {
  UNWANTED_COUNT = sizeof(unwanted) / sizeof(unwanted[0])
};

/* Name NUL, then "Name: value" NUL. */
static size_t field_size(const nt_header_t* header) {
  return 2 * strlen(header->name) + strlen(header->value) + 4;
}

static size_t block_size(const nt_request_options_t* options) {
  nt_header_t none = { "", "" };
  size_t size = strlen(options->method) + 1 + options->body_size;
  size_t i;

  size += (options->header_count + UNWANTED_COUNT) * sizeof(nt__field_t);
  for (i = 0; i < options->header_count; i++)
    size += field_size(&options->headers[i]);
  for (i = 0; i < UNWANTED_COUNT; i++)
    size += field_size(&none) + 2 * strlen(unwanted[i]);
  return size;
}

static void* put(char** cursor, const void* bytes, size_t size) {
  void* place = *cursor;

  if (size > 0)
    memcpy(place, bytes, size);
  *cursor += size;
  return place;
}

/* The text is name, separator, value, as libcurl takes it: "Name: value",
 * "Name;" for an empty value, "Name:" for a field that is not to be sent. */
static void put_field(nt__transfer_t* t, char** cursor, const char* name,
                      const char* separator, const char* value) {
  nt__field_t* field = &t->fields[t->field_count++];
  size_t name_size = strlen(name);

  field->name = put(cursor, name, name_size + 1);
  field->dropped = false;
  field->line.next = NULL;
  field->line.data = put(cursor, name, name_size);
  put(cursor, separator, strlen(separator));
  put(cursor, value, strlen(value) + 1);
}

static void put_fields(nt__transfer_t* t, char** cursor,
                       const nt_request_options_t* options) {
  size_t i;

  for (i = 0; i < options->header_count; i++) {
    const nt_header_t* header = &options->headers[i];

    put_field(t, cursor, header->name, header->value[0] == '\0' ? ";" : ": ",
              header->value);
  }
  if (options->body_size == 0 && strcmp(options->method, "GET") == 0)
    return;
  for (i = 0; i < UNWANTED_COUNT; i++)
    if (!has_header(options, unwanted[i]))
      put_field(t, cursor, unwanted[i], ":", "");
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
  nt__transfer_t* t = &request->transfer;
  char* cursor = request->bytes;

  request->task.class_ = &request_class;
  t->ops = &transfer_ops;
  t->task = &request->task;
  t->timeouts = options->timeouts;
  t->redirect = options->redirect;
  t->http = options->http;
  t->flags = options->flags;
  t->profile.invoke_start = nt__unix_ms();

  t->fields = (nt__field_t*) (void*) cursor;
  cursor += (options->header_count + UNWANTED_COUNT) * sizeof(nt__field_t);
  put_fields(t, &cursor, options);
  t->method = put(&cursor, options->method, strlen(options->method) + 1);
  t->body = put(&cursor, options->body, options->body_size);
  t->body_size = options->body_size;
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
  int err = nt__task_check_idle(ctx, id);

  if (err == 0)
    err = check(options);
  if (err)
    return err;
  request = take_block(ctx, block_size(options));
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
