/* Reading ahead. The body is a list of segments; the storage thread fills
 * blocks of 512 KB with it, up to four of them ahead, and the I/O thread copies
 * out of them into libcurl's buffer. A rewind (a redirect that keeps the
 * method, a connection that died before it was used) starts a new generation:
 * blocks of an old one are thrown away when they come.
 *
 * Files are opened all at once, before the first byte is sent, since their
 * sizes make up the Content-Length; what is sent of them is what they were
 * then. A source belongs to itself, like a sink. */
#include "source.h"

#include <stdio.h>
#include <string.h>

#include "file.h"
#include "file_root.h"
#include "storage.h"
#include "transfer.h"

enum {
  BLOCK_SIZE = 512 * 1024,
  MAX_BLOCKS = 4
};

/* Of the text from `start` to the next segment's, and then of a file. */
typedef struct segment {
  nt__node_t node;
  size_t text_start;
  size_t text_size;
  uint64_t file_size;
  uv_file file;
  bool is_open;
  char path[]; /* "": none */
} segment_t;

typedef struct block {
  nt__job_t job;
  struct nt__source* source;
  unsigned generation;
  uint64_t offset; /* in the body */
  size_t size;
  size_t used; /* handed out */
  int error;
  char data[];
} block_t;

struct nt__source {
  nt_context_t* ctx;
  const nt__source_ops_t* ops;
  void* owner; /* NULL once it has gone */
  nt__policy_t* policy;
  nt__buf_t text;
  nt__node_t segments;
  uint64_t counted; /* bytes of files in memory */

  /* I/O thread. */
  uint64_t size;
  unsigned generation;
  unsigned blocks;    /* all that there are */
  unsigned under_way; /* to be filled */
  nt__fifo_t ready;   /* of this generation, in order */
  nt__fifo_t spare;
  uint64_t next;      /* offset of the byte to be handed out next */
  uint64_t requested; /* of the first one that nobody reads yet */
  int error;
  bool waiting;
  bool closing;
  nt__job_t open_job;
  nt__job_t close_job;

  /* Of the job that is done. */
  int result;
  char message[256];
};

/* ---- Host thread --------------------------------------------------------- */

nt__source_t* nt__source_new(void) {
  nt__source_t* source = nt__calloc(sizeof(*source));

  if (source == NULL)
    return NULL;
  nt__buf_init(&source->text, 0);
  nt__list_init(&source->segments);
  return source;
}

nt__buf_t* nt__source_text(nt__source_t* source) {
  return &source->text;
}

void nt__source_count(nt__source_t* source, uint64_t size) {
  source->counted += size;
}

static segment_t* last_segment(nt__source_t* source) {
  return nt__container_of(source->segments.prev, segment_t, node);
}

int nt__source_add_file(nt__source_t* source, const char* path) {
  size_t size = strlen(path) + 1;
  segment_t* segment = nt__calloc(sizeof(*segment) + size);

  if (segment == NULL)
    return NT_E_NOMEM;
  memcpy(segment->path, path, size);
  if (!nt__list_empty(&source->segments))
    segment->text_start =
        last_segment(source)->text_start + last_segment(source)->text_size;
  segment->text_size = source->text.size - segment->text_start;
  nt__list_append(&source->segments, &segment->node);
  return 0;
}

static void free_blocks(nt__fifo_t* blocks) {
  nt__link_t* link;

  while ((link = nt__fifo_shift(blocks)) != NULL)
    nt__free(nt__container_of(link, block_t, job.link));
}

void nt__source_free(nt__source_t* source) {
  nt__node_t* node;

  if (source == NULL)
    return;
  while ((node = nt__list_shift(&source->segments)) != NULL)
    nt__free(nt__container_of(node, segment_t, node));
  free_blocks(&source->ready);
  free_blocks(&source->spare);
  nt__buf_free(&source->text);
  nt__policy_unref(source->policy);
  nt__free(source);
}

/* ---- Storage thread: opening --------------------------------------------- */

static int refuse(nt__source_t* source, int error, const char* path) {
  snprintf(source->message, sizeof(source->message), "%s: %s",
           nt_error_message(error), path);
  return error;
}

/* A pipe or a device might never end, or never begin. */
static int open_regular(segment_t* segment, const char* path) {
  nt__file_info_t info;
  int err = nt__file_error(
      nt__file_open(path, UV_FS_O_RDONLY | UV_FS_O_NOFOLLOW, &segment->file),
      NT_E_NO_FILE);

  if (err)
    return err;
  segment->is_open = true;
  err = nt__file_error(nt__file_info(segment->file, &info), NT_E_NO_FILE);
  segment->file_size = info.size;
  return err == 0 && !info.regular ? NT_E_NOT_A_FILE : err;
}

static int open_segment(nt__source_t* source, segment_t* segment) {
  char* path;
  int err;

  if (segment->path[0] == '\0')
    return 0;
  err = nt__file_root_read(&source->policy->values, segment->path, &path);
  if (err == 0)
    err = open_regular(segment, path);
  nt__free(path);
  return err ? refuse(source, err, segment->path) : 0;
}

static void run_open(nt__job_t* job, nt__files_t* files) {
  nt__source_t* source = nt__container_of(job, nt__source_t, open_job);
  uint64_t max = source->policy->values.upload_max_bytes;
  uint64_t bytes = source->counted;
  nt__node_t* node;

  (void) files;
  source->result = 0;
  source->size = source->text.size;
  for (node = source->segments.next;
       node != &source->segments && source->result == 0; node = node->next) {
    segment_t* segment = nt__container_of(node, segment_t, node);

    source->result = open_segment(source, segment);
    bytes += segment->file_size;
    source->size += segment->file_size;
  }
  if (source->result == 0 && max != 0 && bytes > max)
    source->result = refuse(source, NT_E_FILE_SIZE, "all files together");
}

static void run_close(nt__job_t* job, nt__files_t* files) {
  nt__source_t* source = nt__container_of(job, nt__source_t, close_job);
  nt__node_t* node;

  (void) files;
  for (node = source->segments.next; node != &source->segments;
       node = node->next) {
    segment_t* segment = nt__container_of(node, segment_t, node);

    if (segment->is_open)
      nt__file_close(segment->file);
  }
}

/* ---- Storage thread: reading --------------------------------------------- */

static void put(block_t* block, const char* bytes, size_t size) {
  memcpy(block->data + block->used, bytes, size);
  block->used += size;
}

/* How much of `size` bytes that begin at `start` of the body the block still
 * wants, and from where in them. */
static size_t share(const block_t* block, uint64_t start, uint64_t size,
                    uint64_t* from) {
  uint64_t next = block->offset + block->used;
  uint64_t n;

  if (block->used == block->size || next < start || next - start >= size)
    return 0;
  *from = next - start;
  n = size - *from;
  return n < block->size - block->used ? (size_t) n : block->size - block->used;
}

static int fill_from_file(block_t* block, const segment_t* segment,
                          uint64_t start) {
  uint64_t from = 0;
  size_t wanted = share(block, start, segment->file_size, &from);
  size_t n = wanted;
  int err;

  if (wanted == 0)
    return 0;
  err = nt__file_read(segment->file, block->data + block->used, &n, from);
  block->used += n;
  if (err)
    return nt__file_error(err, NT_E_NO_FILE);
  return n < wanted ? NT_E_FILE_CHANGED : 0;
}

static int fill(block_t* block, const nt__source_t* source) {
  const nt__node_t* node;
  uint64_t start = 0; /* of the segment, in the body */
  uint64_t from = 0;
  size_t text = 0; /* the text so far */
  size_t n;
  int err = 0;

  for (node = source->segments.next; node != &source->segments && err == 0;
       node = node->next) {
    const segment_t* segment = nt__container_of(node, segment_t, node);

    n = share(block, start, segment->text_size, &from);
    put(block, source->text.data + segment->text_start + (n ? from : 0), n);
    start += segment->text_size;
    err = fill_from_file(block, segment, start);
    start += segment->file_size;
    text = segment->text_start + segment->text_size;
  }
  n = share(block, start, source->text.size - text, &from);
  put(block, source->text.data + text + (n ? from : 0), n);
  return err;
}

static void run_fill(nt__job_t* job, nt__files_t* files) {
  block_t* block = nt__container_of(job, block_t, job);

  (void) files;
  block->used = 0;
  block->error = fill(block, block->source);
  block->used = 0;
}

/* ---- I/O thread ---------------------------------------------------------- */

static void on_filled(nt__job_t* job);

/* Of a small body no block is larger than that. */
static size_t block_size(const nt__source_t* source) {
  return source->size < BLOCK_SIZE ? (size_t) source->size : BLOCK_SIZE;
}

static block_t* take_block(nt__source_t* source) {
  nt__link_t* link = nt__fifo_shift(&source->spare);
  block_t* block;

  if (link != NULL)
    return nt__container_of(link, block_t, job.link);
  if (source->blocks == MAX_BLOCKS)
    return NULL;
  block = nt__malloc(sizeof(*block) + block_size(source));
  if (block == NULL)
    return NULL;
  source->blocks++;
  block->source = source;
  block->job.run = run_fill;
  block->job.done = on_filled;
  block->job.patient = false;
  return block;
}

static void read_ahead(nt__source_t* source) {
  block_t* block;

  while (source->requested < source->size && !source->closing) {
    uint64_t left = source->size - source->requested;

    block = take_block(source);
    if (block == NULL)
      break;
    block->generation = source->generation;
    block->offset = source->requested;
    block->size = left < BLOCK_SIZE ? (size_t) left : BLOCK_SIZE;
    source->requested += block->size;
    source->under_way++;
    nt__storage_post(source->ctx, &block->job);
  }
  if (source->blocks == 0 && source->requested < source->size)
    source->error = NT_E_NOMEM;
}

static void wake(nt__source_t* source) {
  if (!source->waiting || source->closing)
    return;
  source->waiting = false;
  source->ops->on_ready(source->owner);
}

static void on_filled(nt__job_t* job) {
  block_t* block = nt__container_of(job, block_t, job);
  nt__source_t* source = block->source;

  source->under_way--;
  if (block->generation != source->generation) {
    nt__fifo_push(&source->spare, &job->link);
    if (!source->closing)
      read_ahead(source);
    return;
  }
  nt__fifo_push(&source->ready, &job->link);
  wake(source);
}

static void on_opened(nt__job_t* job) {
  nt__source_t* source = nt__container_of(job, nt__source_t, open_job);

  if (source->owner != NULL)
    source->ops->on_open(source->owner, source->result, source->message);
}

int nt__source_open(nt__source_t* source, nt__task_t* task,
                    const nt__source_ops_t* ops, void* owner) {
  int err = nt__storage_open(task->ctx);

  if (err)
    return err;
  source->ctx = task->ctx;
  source->policy = nt__policy_ref(task->policy);
  source->ops = ops;
  source->owner = owner;
  source->open_job.run = run_open;
  source->open_job.done = on_opened;
  nt__storage_post(source->ctx, &source->open_job);
  return 0;
}

uint64_t nt__source_size(const nt__source_t* source) {
  return source->size;
}

static block_t* first_ready(const nt__source_t* source) {
  return source->ready.first == NULL
             ? NULL
             : nt__container_of(source->ready.first, block_t, job.link);
}

int nt__source_read(nt__source_t* source, char* out, size_t* size) {
  block_t* block = first_ready(source);
  size_t n;

  if (source->next == source->size) {
    *size = 0;
    return 0;
  }
  if (block == NULL && source->error != 0)
    return source->error;
  source->waiting = block == NULL;
  if (source->waiting)
    return NT__WAIT;
  if (block->error)
    return block->error;
  n = block->size - block->used;
  n = n < *size ? n : *size;
  memcpy(out, block->data + block->used, n);
  block->used += n;
  source->next += n;
  *size = n;
  if (block->used == block->size) {
    nt__fifo_shift(&source->ready);
    nt__fifo_push(&source->spare, &block->job.link);
    read_ahead(source);
  }
  return 0;
}

void nt__source_rewind(nt__source_t* source, uint64_t offset) {
  nt__link_t* link;

  if (source->generation != 0 && offset == source->next)
    return;
  source->generation++;
  source->next = source->requested = offset;
  while ((link = nt__fifo_shift(&source->ready)) != NULL)
    nt__fifo_push(&source->spare, link);
  read_ahead(source);
}

/* ---- The end ------------------------------------------------------------- */

static void on_closed(nt__job_t* job) {
  nt__source_free(nt__container_of(job, nt__source_t, close_job));
}

void nt__source_close(nt__source_t* source) {
  source->owner = NULL;
  source->closing = true;
  source->generation++; /* blocks under way go with the rest */
  source->close_job.run = run_close;
  source->close_job.done = on_closed;
  nt__storage_post(source->ctx, &source->close_job);
}
