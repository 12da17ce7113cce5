/* Uploads: a transfer whose body is multipart/form-data, read while it is
 * sent, and whose response is gathered like that of a request.
 *
 *   queue -> files opened -> hops -> end
 *
 * I/O thread, but for the host's part at the end. */
#include <stdio.h>
#include <string.h>

#include "gather.h"
#include "internal.h"
#include "multipart.h"
#include "outgoing.h"
#include "progress.h"
#include "source.h"

typedef struct nt__upload {
  nt__task_t task;
  nt__transfer_t transfer;
  nt__progress_t progress;
  nt__buf_t body; /* of the response */
  nt__source_t* source;
  bool opened;
  char content_type[sizeof("Content-Type: multipart/form-data; boundary=") +
                    NT__BOUNDARY_MAX];
  _Alignas(void*) char bytes[];
} nt__upload_t;

static nt__upload_t* of_task(const nt__task_t* task) {
  return nt__container_of(task, nt__upload_t, task);
}

static nt__upload_t* of_transfer(nt__transfer_t* transfer) {
  return nt__container_of(transfer, nt__upload_t, transfer);
}

/* ---- The end ------------------------------------------------------------- */

static void end(nt__upload_t* upload) {
  if (upload->opened) {
    nt__source_close(upload->source);
    upload->source = NULL;
    upload->opened = false;
  }
  nt__task_end(&upload->task, upload->body.size);
}

static void on_end(nt__transfer_t* t) {
  nt__upload_t* upload = of_transfer(t);

  if (t->task->error == 0 && t->body_size > 0)
    nt__progress_finish(t->task, &upload->progress, t->uploaded, t->body_size);
  end(upload);
}

/* ---- The files ----------------------------------------------------------- */

static void on_open(void* owner, int error, const char* message) {
  nt__upload_t* upload = owner;

  if (error) {
    nt__transfer_fail(&upload->transfer, error, message);
    return;
  }
  upload->transfer.body_size = nt__source_size(upload->source);
  nt__transfer_proceed(&upload->transfer);
}

static void on_ready(void* owner) {
  nt__transfer_resume(&((nt__upload_t*) owner)->transfer);
}

static const nt__source_ops_t source_ops = { on_open, on_ready };

/* ---- The transfer -------------------------------------------------------- */

static bool prepare(nt__transfer_t* t) {
  nt__upload_t* upload = of_transfer(t);
  int err = nt__source_open(upload->source, t->task, &source_ops, upload);

  upload->opened = err == 0;
  if (err)
    nt__transfer_fail(t, err, "");
  return false;
}

static int on_read(nt__transfer_t* t, char* out, size_t* size) {
  return nt__source_read(of_transfer(t)->source, out, size);
}

static void on_rewind(nt__transfer_t* t, uint64_t offset) {
  nt__source_rewind(of_transfer(t)->source, offset);
}

static void on_sent(nt__transfer_t* t) {
  nt__progress_note(t->task, &of_transfer(t)->progress, t->uploaded,
                    t->body_size);
}

static int on_headers(nt__transfer_t* t) {
  nt__transfer_post_headers(t);
  return 0;
}

static int on_body(nt__transfer_t* t, const char* data, size_t size) {
  return nt__gather(t, &of_transfer(t)->body, data, size);
}

static const nt__transfer_ops_t transfer_ops = { .prepare = prepare,
                                                 .on_headers = on_headers,
                                                 .on_body = on_body,
                                                 .on_read = on_read,
                                                 .on_rewind = on_rewind,
                                                 .on_sent = on_sent,
                                                 .on_end = on_end };

/* ---- The task ------------------------------------------------------------ */

static void upload_start(nt__task_t* task) {
  nt__transfer_submit(&of_task(task)->transfer);
}

static void upload_abort(nt__task_t* task) {
  nt__transfer_cancel(&of_task(task)->transfer);
  end(of_task(task));
}

static void upload_resume(nt__task_t* task) {
  nt__transfer_resume(&of_task(task)->transfer);
}

static void upload_show(nt__task_t* task, nt_event_t* event) {
  nt__upload_t* upload = of_task(task);

  if (event->type == NT_EV_PROGRESS) {
    nt__progress_show(&upload->progress, event);
    return;
  }
  nt__transfer_show(&upload->transfer, event);
  if (event->type != NT_EV_END)
    return;
  event->data = upload->body.data;
  event->size = upload->body.size;
}

static void upload_release(nt__task_t* task) {
  nt__upload_t* upload = of_task(task);

  nt__source_free(upload->source);
  nt__transfer_fini(&upload->transfer);
  nt__buf_free(&upload->body);
  nt__task_fini(task);
  nt__free(upload);
}

static const nt__task_class_t upload_class = { .start = upload_start,
                                               .abort = upload_abort,
                                               .resume = upload_resume,
                                               .show = upload_show,
                                               .release = upload_release };

/* ---- Host thread --------------------------------------------------------- */

void nt_upload_options_init(nt_upload_options_t* options) {
  memset(options, 0, sizeof(*options));
  nt_request_options_init(&options->request);
  options->request.method = "POST";
}

int nt_upload_open(nt_context_t* ctx, nt_id_t* id) {
  return nt__task_open(ctx, id);
}

static nt_request_options_t as_request(const nt_upload_options_t* options) {
  nt_request_options_t request = options->request;

  request.body = NULL;
  request.body_size = 0;
  request.flags &= ~(uint32_t) NT_REQUEST_STREAM;
  return request;
}

static int check(const nt_upload_options_t* options) {
  nt_request_options_t request;
  size_t i;
  int err;

  if (options == NULL || (options->parts == NULL && options->part_count > 0))
    return NT_E_INVALID;
  request = as_request(options);
  err = nt__outgoing_check(&request);
  for (i = 0; i < options->part_count && err == 0; i++)
    err = nt__multipart_check(&options->parts[i]);
  return err;
}

static int put_part(nt__source_t* source, const char* boundary,
                    const nt_part_t* part, bool is_first) {
  nt__buf_t* text = nt__source_text(source);
  int err = nt__multipart_head(text, boundary, part, is_first);

  if (err)
    return err;
  if (part->path != NULL)
    return nt__source_add_file(source, part->path);
  if (nt__multipart_is_file(part))
    nt__source_count(source, part->size);
  return nt__buf_append(text, part->data, part->size);
}

static int put_body(nt__upload_t* upload, const nt_upload_options_t* options) {
  unsigned char random[16];
  char boundary[NT__BOUNDARY_MAX];
  size_t i;
  int err = 0;

  if (uv_random(NULL, NULL, random, sizeof(random), 0, NULL) != 0)
    return NT_E_SYSTEM;
  nt__multipart_boundary(random, boundary);
  snprintf(upload->content_type, sizeof(upload->content_type),
           "Content-Type: multipart/form-data; boundary=%s", boundary);
  upload->source = nt__source_new();
  if (upload->source == NULL)
    return NT_E_NOMEM;
  for (i = 0; i < options->part_count && err == 0; i++)
    err = put_part(upload->source, boundary, &options->parts[i], i == 0);
  if (err == 0)
    err = nt__multipart_tail(nt__source_text(upload->source), boundary,
                             options->part_count == 0);
  return err;
}

/* The block with everything but the URL and the body. */
static nt__upload_t* new_upload(const nt_upload_options_t* options) {
  nt_request_options_t request = as_request(options);
  nt__upload_t* upload =
      nt__calloc(sizeof(*upload) + nt__outgoing_size(&request));
  nt__transfer_t* t;

  if (upload == NULL)
    return NULL;
  upload->task.class_ = &upload_class;
  nt__buf_init(&upload->body, 0);
  t = &upload->transfer;
  t->ops = &transfer_ops;
  t->task = &upload->task;
  t->access = NT_ACCESS_UPLOAD;
  nt__outgoing_put(t, &request, upload->bytes);
  nt__outgoing_drop(t, "Content-Type");
  nt__outgoing_add(t, "Content-Type", upload->content_type);
  return upload;
}

int nt_upload_start(nt_context_t* ctx, nt_id_t id,
                    const nt_upload_options_t* options) {
  nt__upload_t* upload;
  int err = nt__task_check_start(ctx, id);

  if (err == 0)
    err = check(options);
  if (err)
    return err;
  upload = new_upload(options);
  if (upload == NULL)
    return NT_E_NOMEM;
  err = nt__outgoing_put_url(&upload->transfer, &options->request);
  if (err == 0)
    err = put_body(upload, options);
  if (err) {
    upload_release(&upload->task);
    return err;
  }
  nt__task_start(ctx, id, &upload->task);
  return 0;
}
