/* The cache on disk, in a folder that other processes may use too: a table in
 * SQLite, with small bodies in it and large ones in files beside it. */
#ifndef NT_CACHE_FILE_H
#define NT_CACHE_FILE_H

#include "cache_body.h"
#include "cache_memory.h"
#include "sqlite_file.h"

enum {
  NT__INLINE_BYTES = NT__BLOCK_BYTES /* of a body that lies in the table */
};

/* Any thread holds references; storage thread, but for that and the folder. */
typedef struct nt__cache_file {
  atomic_uint refs;            /* the storage thread has one while it is open */
  struct nt__cache_file* next; /* among those that are open */
  bool listed;
  bool settled; /* the paths are absolute */
  bool hurried; /* somebody has the lock for too long */
  char* folder; /* as the policy names it; any thread */
  char* bodies; /* the folder for them */
  nt__sqlite_t db;
  nt__body_readers_t readers;
  uint64_t device, inode; /* of the file when it was opened */
  int64_t version;        /* changes with what other processes write */
} nt__cache_file_t;

/* Where an answer is on disk. It stays the same when its headers change. */
typedef struct nt__spot {
  atomic_uint refs;
  nt__cache_file_t* file; /* one reference */
  int64_t used;           /* I/O thread: when it was, as the file counts */

  /* Storage thread. */
  int64_t row;    /* 0: it is not there yet, or any more */
  uint64_t name;  /* of the file that its body has; 0: it lies in the table */
  uint64_t size;  /* of the body */
  nt__buf_t sums; /* of its blocks */
} nt__spot_t;

/* An answer whose body is written while it comes in. Zeroed until the first
 * piece. Storage thread. */
typedef struct nt__tape {
  int64_t row; /* 0: nothing is there */
  uint64_t name;
  uint64_t charged; /* what it counts so far */
  nt__body_file_t body;
  int error; /* of a piece: then nothing will be there */
} nt__tape_t;

typedef enum nt__cache_action {
  NT__CACHE_CHECK,   /* opens the file, and sees to it that it is in order */
  NT__CACHE_FIND,    /* `key` -> `answers` */
  NT__CACHE_READ,    /* `spot`, `offset`, `size` -> `body` */
  NT__CACHE_PUT,     /* `answer`, whose spot is filled in */
  NT__CACHE_REPLACE, /* `answer` has new headers */
  NT__CACHE_TOUCH,   /* `spot` */
  NT__CACHE_REMOVE,  /* `key`, NULL: all */
  NT__CACHE_TRIM,    /* what is too much goes, a bit of it */
  NT__TAPE_WRITE,    /* `tape`, of `answer`: `data` of `size` bytes */
  NT__TAPE_COMMIT,   /* the same, and these are the last */
  NT__TAPE_DROP      /* `tape` */
} nt__cache_action_t;

typedef struct nt__cache_call {
  nt__cache_action_t action;
  bool looked;  /* result: `changed` says something */
  bool changed; /* result: another process has written */
  bool full;    /* result: there is more to be trimmed */
  int error;    /* result */
  uint64_t max; /* of the file; 0: no limit */
  const char* key;
  nt__answer_t* answer;
  nt__spot_t* spot;
  nt__tape_t* tape;
  char* data;
  uint64_t offset;
  size_t size;

  int64_t clock; /* result: what the file counts; 0: not known */
  nt__answer_t* answers[NT__CACHE_VARIANTS];
  size_t count;
  nt__body_t* body;
  char message[256];
} nt__cache_call_t;

/* One reference; NULL without memory. Nothing is opened yet. */
nt__cache_file_t* nt__cache_file_new(const char* folder);
nt__cache_file_t* nt__cache_file_ref(nt__cache_file_t* file);
void nt__cache_file_unref(nt__cache_file_t* file); /* NULL is ignored */

/* NULL without memory. */
nt__spot_t* nt__spot_new(nt__cache_file_t* file);
nt__spot_t* nt__spot_ref(nt__spot_t* spot);
void nt__spot_unref(nt__spot_t* spot); /* NULL is ignored */

/* Storage thread: opens the file, unless it is open, and puts it among `open`;
 * does what the call says. NULL: only tidies. */
void nt__cache_file_run(nt__cache_file_t** open, nt__cache_file_t* file,
                        nt__cache_call_t* call);
/* Closes those that nobody uses any more, or all. */
void nt__cache_files_tidy(nt__cache_file_t** open);
void nt__cache_files_close(nt__cache_file_t** open);

#endif
