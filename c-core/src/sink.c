/* The file sink. libcurl hands out at most 16 KB at once, so bytes are gathered
 * into large blocks before they go to the storage thread: one is filled while
 * others are written. When all are full the source has to wait until all are
 * written: where the two threads share a core, with others too, each switch
 * between them costs more than the write, so there should be few. Of many tasks
 * each has smaller blocks, for the sake of memory.
 *
 * A sink belongs to itself: its jobs lie inside, and it is freed when the last
 * of them, the one that closes the file, is done. The owner may go before. */
#include "sink.h"

#include <string.h>

#include "media_type.h"
#include "storage.h"
#include "transfer.h"

enum {
  BLOCK_MAX = 1024 * 1024,
  BLOCK_MIN = 256 * 1024,
  SHARED_SIZE = 4 * 1024 * 1024, /* by the first blocks of all tasks */
  MAX_BLOCKS = 8,
  FLUSH_MS = 500 /* a slow source is written at this pace */
};

typedef struct block {
  nt__job_t job;
  struct nt__sink* sink;
  int error;
  size_t size;
  size_t capacity;
  char data[];
} block_t;

struct nt__sink {
  nt_context_t* ctx;
  const nt__sink_ops_t* ops;
  void* owner; /* NULL once it has gone */
  nt__policy_t* policy;
  nt__fate_t* fate;
  char* path;
  char* url;
  unsigned char digest[NT__SHA256_SIZE];
  atomic_bool cancelled;

  /* I/O thread. */
  block_t* filling; /* not posted yet */
  nt__fifo_t spare; /* blocks, by the link of their jobs */
  unsigned blocks;  /* all that there are */
  unsigned under_way;
  uint64_t posted_at;
  int error;
  bool waiting; /* the source was told to */
  bool closing;

  nt__job_t open_job;
  nt__job_t begin_job;
  nt__job_t close_job;
  /* For the jobs, and what they found. */
  uint64_t offset;
  nt__sidecar_t sidecar;
  bool has_sidecar;
  char extension[NT__EXTENSION_MAX];
  bool commit;
  bool remove;
  int open_result;
  int begin_result;
  int close_result;

  nt__part_file_t file; /* storage thread, while a job is under way */
};

/* ---- Life ---------------------------------------------------------------- */

static void free_blocks(nt__sink_t* sink) {
  nt__link_t* link;

  while ((link = nt__fifo_shift(&sink->spare)) != NULL)
    nt__free(nt__container_of(link, block_t, job.link));
  nt__free(sink->filling);
}

void nt__sink_free(nt__sink_t* sink) {
  if (sink == NULL)
    return;
  free_blocks(sink);
  nt__part_fini(&sink->file);
  nt__policy_unref(sink->policy);
  nt__fate_unref(sink->fate);
  nt__free(sink->path);
  nt__free(sink->url);
  nt__free(sink);
}

nt__sink_t* nt__sink_new(const nt__sink_options_t* options, nt__fate_t* fate) {
  nt__sink_t* sink = nt__calloc(sizeof(*sink));
  bool complete;

  if (sink == NULL)
    return NULL;
  sink->fate = nt__fate_ref(fate);
  sink->path = options->path == NULL ? NULL : nt__strdup(options->path);
  sink->url = nt__strdup(options->url);
  complete = sink->url != NULL && (sink->path != NULL || options->path == NULL);
  if (!complete) {
    nt__sink_free(sink);
    return NULL;
  }
  atomic_init(&sink->cancelled, false);
  if (options->digest != NULL) {
    memcpy(sink->digest, options->digest, sizeof(sink->digest));
    sink->file.digest = sink->digest;
  }
  sink->file.url = sink->url;
  sink->file.fate = fate;
  sink->file.cancelled = &sink->cancelled;
  sink->file.resume = options->resume;
  sink->file.durable = options->durable;
  return sink;
}

/* ---- Opening ------------------------------------------------------------- */

static void run_open(nt__job_t* job, nt__files_t* files) {
  nt__sink_t* sink = nt__container_of(job, nt__sink_t, open_job);

  sink->file.files = files;
  sink->file.policy = &sink->policy->values;
  sink->open_result = nt__part_open(&sink->file, sink->path);
}

static void on_opened(nt__job_t* job) {
  nt__sink_t* sink = nt__container_of(job, nt__sink_t, open_job);

  if (sink->owner != NULL && !sink->closing)
    sink->ops->on_open(sink->owner, sink->open_result, sink->file.message);
}

int nt__sink_open(nt__sink_t* sink, nt__task_t* task, const nt__sink_ops_t* ops,
                  void* owner) {
  int err = nt__storage_open(task->ctx);

  if (err)
    return err;
  sink->ctx = task->ctx;
  sink->policy = nt__policy_ref(task->policy);
  sink->ops = ops;
  sink->owner = owner;
  sink->open_job.run = run_open;
  sink->open_job.done = on_opened;
  nt__storage_post(sink->ctx, &sink->open_job);
  return 0;
}

uint64_t nt__sink_size(const nt__sink_t* sink) {
  return sink->file.size;
}

const nt__sidecar_t* nt__sink_sidecar(const nt__sink_t* sink) {
  return &sink->file.sidecar;
}

/* ---- Writing ------------------------------------------------------------- */

static void fail(nt__sink_t* sink, int error) {
  if (sink->error != 0)
    return;
  sink->error = error;
  if (sink->owner != NULL && !sink->closing)
    sink->ops->on_error(sink->owner, error, sink->file.message);
}

static void run_begin(nt__job_t* job, nt__files_t* files) {
  nt__sink_t* sink = nt__container_of(job, nt__sink_t, begin_job);

  (void) files;
  sink->begin_result = nt__part_begin(
      &sink->file, sink->offset, sink->has_sidecar ? &sink->sidecar : NULL);
}

static void on_begun(nt__job_t* job) {
  nt__sink_t* sink = nt__container_of(job, nt__sink_t, begin_job);

  if (sink->begin_result)
    fail(sink, sink->begin_result);
}

void nt__sink_begin(nt__sink_t* sink, uint64_t offset,
                    const nt__sidecar_t* sidecar, const char* extension) {
  sink->offset = offset;
  sink->has_sidecar = sidecar != NULL;
  if (sidecar != NULL)
    sink->sidecar = *sidecar;
  strncpy(sink->extension, extension, sizeof(sink->extension) - 1);
  sink->posted_at = nt__now(sink->ctx);
  sink->begin_job.run = run_begin;
  sink->begin_job.done = on_begun;
  nt__storage_post(sink->ctx, &sink->begin_job);
}

static void run_write(nt__job_t* job, nt__files_t* files) {
  block_t* block = nt__container_of(job, block_t, job);

  (void) files;
  block->error = nt__part_write(&block->sink->file, block->data, block->size);
}

static void on_written(nt__job_t* job) {
  block_t* block = nt__container_of(job, block_t, job);
  nt__sink_t* sink = block->sink;

  sink->under_way--;
  nt__fifo_push(&sink->spare, &job->link);
  if (block->error)
    fail(sink, block->error);
  if (!sink->waiting || sink->under_way > 0 || sink->error != 0 ||
      sink->closing)
    return;
  sink->waiting = false;
  sink->ops->on_room(sink->owner);
}

static void post_filling(nt__sink_t* sink) {
  block_t* block = sink->filling;

  sink->filling = NULL;
  sink->under_way++;
  sink->posted_at = nt__now(sink->ctx);
  nt__storage_post(sink->ctx, &block->job);
}

static block_t* new_block(nt__sink_t* sink) {
  size_t capacity = SHARED_SIZE / sink->ctx->io.tasks.count;
  block_t* block;

  if (capacity > BLOCK_MAX)
    capacity = BLOCK_MAX;
  if (capacity < BLOCK_MIN)
    capacity = BLOCK_MIN;
  block = nt__malloc(sizeof(*block) + capacity);
  if (block == NULL)
    return NULL;
  block->job.run = run_write;
  block->job.done = on_written;
  block->job.patient = true;
  block->sink = sink;
  block->capacity = capacity;
  sink->blocks++;
  return block;
}

static block_t* take_block(nt__sink_t* sink) {
  nt__link_t* link = nt__fifo_shift(&sink->spare);
  block_t* block = NULL;

  if (link != NULL)
    block = nt__container_of(link, block_t, job.link);
  else if (sink->blocks < MAX_BLOCKS)
    block = new_block(sink);
  if (block == NULL)
    return NULL;
  block->error = 0;
  block->size = 0;
  return block;
}

static void put(block_t* block, const char* data, size_t size) {
  memcpy(block->data + block->size, data, size);
  block->size += size;
}

int nt__sink_write(nt__sink_t* sink, const char* data, size_t size) {
  block_t* next;
  size_t room = 0;

  if (sink->error != 0 || size == 0)
    return sink->error;
  if (sink->filling != NULL)
    room = sink->filling->capacity - sink->filling->size;
  if (size > room) {
    next = take_block(sink);
    if (next == NULL) {
      sink->waiting = sink->under_way > 0;
      return sink->waiting ? NT__WAIT : NT_E_NOMEM;
    }
    if (sink->filling != NULL) {
      put(sink->filling, data, room);
      post_filling(sink);
      data += room;
      size -= room;
    }
    sink->filling = next;
  }
  put(sink->filling, data, size);
  if (sink->under_way == 0 && nt__now(sink->ctx) - sink->posted_at >= FLUSH_MS)
    post_filling(sink);
  return 0;
}

/* ---- The end ------------------------------------------------------------- */

static void run_close(nt__job_t* job, nt__files_t* files) {
  nt__sink_t* sink = nt__container_of(job, nt__sink_t, close_job);

  (void) files;
  sink->close_result = 0;
  if (sink->commit)
    sink->close_result = nt__part_commit(&sink->file, sink->extension);
  nt__part_close(&sink->file, sink->remove);
}

static void on_closed(nt__job_t* job) {
  nt__sink_t* sink = nt__container_of(job, nt__sink_t, close_job);
  char* path = NULL;

  if (sink->commit && sink->close_result == 0) {
    path = sink->file.target;
    sink->file.target = NULL;
  }
  if (sink->owner != NULL)
    sink->ops->on_close(sink->owner, sink->close_result, sink->file.message,
                        path);
  else
    nt__free(path);
  nt__sink_free(sink);
}

static void post_close(nt__sink_t* sink) {
  sink->closing = true;
  sink->close_job.run = run_close;
  sink->close_job.done = on_closed;
  nt__storage_post(sink->ctx, &sink->close_job);
}

void nt__sink_finish(nt__sink_t* sink) {
  if (sink->filling != NULL)
    post_filling(sink);
  sink->commit = true;
  post_close(sink);
}

void nt__sink_discard(nt__sink_t* sink, bool remove) {
  sink->remove = remove;
  if (remove || !sink->file.resume)
    atomic_store(&sink->cancelled, true);
  else if (sink->filling != NULL)
    post_filling(sink); /* as much as possible to go on with */
  post_close(sink);
}

void nt__sink_abandon(nt__sink_t* sink) {
  sink->owner = NULL;
  nt__fate_abort(sink->fate);
  if (!sink->closing)
    nt__sink_discard(sink, false);
}
