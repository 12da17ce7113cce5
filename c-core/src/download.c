/* Downloads: a transfer whose body goes to a file.
 *
 *   queue -> file opened -> hops -> body -> file in place -> end
 *                            ^       |          |
 *                 starts over+-------+          +-> or discarded
 *
 * The file is opened when the download leaves the queue, so that those that
 * wait hold no descriptor. With resume the first hop asks for what is missing
 * and says of what (Range, If-Range); any answer but a fitting 206 or a plain
 * one starts over. It asks for the last byte that is there once more: so a
 * part that is complete is no special case, for which servers answer 416.
 *
 * I/O thread, but for the host's part at the end. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "media_type.h"
#include "outgoing.h"
#include "progress.h"
#include "sink.h"

enum {
  STALL_MS = 30000,
  DISCARD_MS = 2000 /* longer an end with an error does not wait for the disk */
};

typedef struct nt__download {
  nt__task_t task;
  nt__transfer_t transfer;
  nt__progress_t progress;
  nt__timer_t timer;
  nt__sink_t* sink; /* NULL when it is over */
  bool opened;
  bool closing; /* what ends the sink is under way */
  uint32_t flags;
  uint64_t offset; /* that was asked for; 0: all */
  uint64_t size;   /* of the file, so far */
  uint64_t total;  /* 0: unknown */
  char* path;      /* where the file is */
  char range[64];  /* fields that are added */
  char if_range[NT__VALIDATOR_MAX + 16];
  _Alignas(void*) char bytes[];
} nt__download_t;

static nt__download_t* of_task(const nt__task_t* task) {
  return nt__container_of(task, nt__download_t, task);
}

static nt__download_t* of_transfer(nt__transfer_t* transfer) {
  return nt__container_of(transfer, nt__download_t, transfer);
}

/* ---- The end ------------------------------------------------------------- */

static void set_error(nt__task_t* task, int error, const char* message) {
  task->error = error;
  snprintf(task->message, sizeof(task->message), "%s",
           error == 0 ? "" : message);
}

static void end(nt__download_t* download) {
  nt__task_t* task = &download->task;

  nt__timer_clear(&task->ctx->io.timers, &download->timer);
  if (download->opened && download->sink != NULL) {
    nt__sink_abandon(download->sink);
    download->sink = NULL;
  }
  if (task->error == 0)
    nt__progress_finish(task, &download->progress, download->size,
                        download->size);
  nt__task_end(task, 0);
}

static void on_due(nt__timer_t* timer) {
  end(nt__container_of(timer, nt__download_t, timer));
}

static void on_close(void* owner, int error, const char* message, char* path) {
  nt__download_t* download = owner;

  download->sink = NULL;
  download->path = path;
  if (download->task.error == 0)
    set_error(&download->task, error, message);
  end(download);
}

/* What is left would be as wrong, or as large, the next time. */
static bool is_hopeless(int error) {
  return error == NT_E_FILE_SIZE || error == NT_E_TEMP_SIZE ||
         error == NT_E_DIGEST;
}

/* The host hears of the end when nothing is left of it on the disk. */
static void discard(nt__download_t* download) {
  nt__task_t* task = &download->task;

  download->timer.on_due = on_due;
  nt__timer_set(&task->ctx->io.timers, &download->timer,
                nt__now(task->ctx) + DISCARD_MS);
  if (download->closing)
    return;
  download->closing = true;
  nt__sink_discard(download->sink, is_hopeless(task->error));
}

static void on_end(nt__transfer_t* t) {
  nt__download_t* download = of_transfer(t);
  nt__task_t* task = t->task;

  /* libcurl knows the length of an answer, but not what it is the rest of. */
  if (task->error == 0 && t->status == 206 && download->total != 0 &&
      download->offset != 0 && download->size != download->total)
    set_error(task, NT_E_LENGTH_MISMATCH, "");
  if (!download->opened) {
    end(download);
  } else if (task->error == 0) {
    download->closing = true;
    nt__sink_finish(download->sink);
  } else {
    discard(download);
  }
}

/* ---- The file ------------------------------------------------------------ */

static void ask_for_rest(nt__download_t* download) {
  nt__transfer_t* t = &download->transfer;
  uint64_t size = nt__sink_size(download->sink);

  if (size < 2)
    return;
  download->offset = size - 1;
  snprintf(download->range, sizeof(download->range),
           "Range: bytes=%" PRIu64 "-", download->offset);
  snprintf(download->if_range, sizeof(download->if_range), "If-Range: %s",
           nt__sink_sidecar(download->sink)->validator);
  nt__outgoing_add(t, "Range", download->range);
  nt__outgoing_add(t, "If-Range", download->if_range);
}

static void on_open(void* owner, int error, const char* message) {
  nt__download_t* download = owner;

  if (error) {
    nt__transfer_fail(&download->transfer, error, message);
    return;
  }
  if (download->flags & NT_DOWNLOAD_RESUME)
    ask_for_rest(download);
  nt__transfer_proceed(&download->transfer);
}

static void on_room(void* owner) {
  nt__transfer_resume(&((nt__download_t*) owner)->transfer);
}

static void on_error(void* owner, int error, const char* message) {
  nt__transfer_fail(&((nt__download_t*) owner)->transfer, error, message);
}

static const nt__sink_ops_t sink_ops = { on_open, on_room, on_error, on_close };

/* ---- The transfer -------------------------------------------------------- */

static bool prepare(nt__transfer_t* t) {
  nt__download_t* download = of_transfer(t);
  int err = nt__sink_open(download->sink, t->task, &sink_ops, download);

  download->opened = err == 0;
  if (err)
    nt__transfer_fail(t, err, "");
  return false;
}

static uint64_t content_length(const nt__transfer_t* t) {
  const char* length = nt__headers_find(&t->headers, "content-length");

  return length == NULL ? 0 : strtoull(length, NULL, 10);
}

/* Whether the body is what is missing of the file; if it is what was asked
 * for and is not, it is of no use. */
static bool fits(nt__download_t* download) {
  nt__transfer_t* t = &download->transfer;
  nt__content_range_t range;

  if (!nt__resume_matches(&t->headers, download->offset,
                          nt__sink_sidecar(download->sink), &range))
    return false;
  download->size = download->offset;
  download->total = range.total;
  if (download->total == 0 && content_length(t) != 0)
    download->total = download->offset + content_length(t);
  return true;
}

/* The same once more, for all of the file. */
static int start_over(nt__download_t* download) {
  download->offset = 0;
  nt__outgoing_drop(&download->transfer, "Range");
  nt__outgoing_drop(&download->transfer, "If-Range");
  return NT__AGAIN;
}

/* How to go on with this body one day; false if there is no way. */
static bool describe(const nt__download_t* download, nt__sidecar_t* sidecar) {
  const nt__transfer_t* t = &download->transfer;

  sidecar->length = download->total;
  return t->status == 200 &&
         nt__resume_validator(&t->headers, sidecar->validator);
}

static void begin_file(nt__download_t* download) {
  nt__transfer_t* t = &download->transfer;
  char extension[NT__EXTENSION_MAX];
  nt__sidecar_t sidecar;
  bool can_resume = describe(download, &sidecar);

  nt__media_extension(nt__headers_find(&t->headers, "content-type"),
                      t->url.text, extension);
  nt__sink_begin(download->sink, download->size, can_resume ? &sidecar : NULL,
                 extension);
}

static bool is_too_large(const nt__download_t* download, uint64_t size) {
  uint64_t max = download->task.policy->values.download_max_bytes;

  return max != 0 && size > max;
}

static int on_headers(nt__transfer_t* t) {
  nt__download_t* download = of_transfer(t);
  bool was_ranged = download->offset != 0;

  download->size = 0;
  download->total = 0;
  if (was_ranged && (t->status == 416 || (t->status == 206 && !fits(download))))
    return start_over(download);
  if ((!was_ranged || t->status != 206) && t->status != 304)
    download->total = content_length(t);
  nt__transfer_post_headers(t);
  if (t->status >= 400 && (download->flags & NT_DOWNLOAD_GOOD_ONLY))
    return NT_E_STATUS;
  if (is_too_large(download, download->total))
    return NT_E_FILE_SIZE;
  begin_file(download);
  return 0;
}

static int on_body(nt__transfer_t* t, const char* data, size_t size) {
  nt__download_t* download = of_transfer(t);
  int result;

  if (is_too_large(download, download->size + size))
    return NT_E_FILE_SIZE;
  result = nt__sink_write(download->sink, data, size);
  if (result != 0)
    return result;
  download->size += size;
  nt__progress_note(t->task, &download->progress, download->size,
                    download->total);
  return 0;
}

static const nt__transfer_ops_t transfer_ops = { .prepare = prepare,
                                                 .on_headers = on_headers,
                                                 .on_body = on_body,
                                                 .on_end = on_end };

/* ---- The task ------------------------------------------------------------ */

static void download_start(nt__task_t* task) {
  nt__transfer_submit(&of_task(task)->transfer);
}

static void download_abort(nt__task_t* task) {
  nt__download_t* download = of_task(task);

  nt__transfer_cancel(&download->transfer);
  if (download->opened && !task->ctx->io.stopping)
    discard(download);
  else
    end(download);
}

static void download_resume(nt__task_t* task) {
  nt__transfer_resume(&of_task(task)->transfer);
}

static void download_show(nt__task_t* task, nt_event_t* event) {
  nt__download_t* download = of_task(task);

  if (event->type == NT_EV_PROGRESS) {
    nt__progress_show(&download->progress, event);
    return;
  }
  nt__transfer_show(&download->transfer, event);
  if (event->type != NT_EV_END || event->error != 0)
    return;
  event->done = download->size;
  event->path = download->path;
}

static void download_release(nt__task_t* task) {
  nt__download_t* download = of_task(task);

  nt__sink_free(download->sink);
  nt__transfer_fini(&download->transfer);
  nt__free(download->path);
  nt__task_fini(task);
  nt__free(download);
}

static const nt__task_class_t download_class = { .start = download_start,
                                                 .abort = download_abort,
                                                 .resume = download_resume,
                                                 .show = download_show,
                                                 .release = download_release };

/* ---- Host thread --------------------------------------------------------- */

void nt_download_options_init(nt_download_options_t* options) {
  memset(options, 0, sizeof(*options));
  nt_request_options_init(&options->request);
  options->request.timeouts.stall = STALL_MS;
}

int nt_download_open(nt_context_t* ctx, nt_id_t* id) {
  return nt__task_open(ctx, id);
}

/* What a request would be asked for. */
static nt_request_options_t as_request(const nt_download_options_t* options) {
  nt_request_options_t request = options->request;

  request.method = "GET";
  request.body = NULL;
  request.body_size = 0;
  request.flags &= ~(uint32_t) NT_REQUEST_STREAM;
  return request;
}

static int check(const nt_download_options_t* options, unsigned char* digest) {
  nt_request_options_t request;

  if (options == NULL || (options->path != NULL && options->path[0] == '\0'))
    return NT_E_INVALID;
  if (options->sha256 != NULL && nt__sha256_parse(options->sha256, digest) != 0)
    return NT_E_INVALID;
  request = as_request(options);
  return nt__outgoing_check(&request);
}

/* The block with everything but the URL and the sink. */
static nt__download_t* new_download(const nt_download_options_t* options) {
  nt_request_options_t request = as_request(options);
  nt__download_t* download =
      nt__calloc(sizeof(*download) + nt__outgoing_size(&request));
  nt__transfer_t* t;

  if (download == NULL)
    return NULL;
  download->task.class_ = &download_class;
  download->flags = options->flags;
  t = &download->transfer;
  t->ops = &transfer_ops;
  t->task = &download->task;
  t->access = NT_ACCESS_DOWNLOAD;
  t->raw = true;
  nt__outgoing_put(t, &request, download->bytes);
  nt__outgoing_drop(t, "Accept-Encoding");
  if (options->flags & NT_DOWNLOAD_RESUME) {
    nt__outgoing_drop(t, "Range");
    nt__outgoing_drop(t, "If-Range");
  }
  return download;
}

static int add_sink(nt__download_t* download,
                    const nt_download_options_t* options,
                    const unsigned char* digest) {
  nt__sink_options_t sink = {
    .path = options->path,
    .url = download->transfer.url.text,
    .digest = options->sha256 == NULL ? NULL : digest,
    .resume = (options->flags & NT_DOWNLOAD_RESUME) != 0,
    .durable = (options->flags & NT_DOWNLOAD_DURABLE) != 0,
  };

  download->task.fate = nt__fate_new();
  if (download->task.fate != NULL)
    download->sink = nt__sink_new(&sink, download->task.fate);
  return download->sink == NULL ? NT_E_NOMEM : 0;
}

int nt_download_start(nt_context_t* ctx, nt_id_t id,
                      const nt_download_options_t* options) {
  unsigned char digest[NT__SHA256_SIZE];
  nt__download_t* download;
  int err = nt__task_check_start(ctx, id);

  if (err == 0)
    err = check(options, digest);
  if (err)
    return err;
  download = new_download(options);
  if (download == NULL)
    return NT_E_NOMEM;
  err = nt__outgoing_put_url(&download->transfer, &options->request);
  if (err == 0)
    err = add_sink(download, options, digest);
  if (err) {
    download_release(&download->task);
    return err;
  }
  nt__task_start(ctx, id, &download->task);
  return 0;
}
