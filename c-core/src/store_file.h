/* Values under keys, in an SQLite file or in memory. Storage thread only. */
#ifndef NT_STORE_FILE_H
#define NT_STORE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "nettask.h"
#include "sqlite_file.h"

/* Zeroed until it is used. */
typedef struct nt__store_file {
  nt__sqlite_t file; /* its path is what the policy names */
  uint64_t size;     /* of what it holds: never less than that */
  int64_t clock;     /* the newest value of `used` */
} nt__store_file_t;

/* One action on it. */
typedef struct nt__store_call {
  nt_store_action_t action;
  const void* key;
  size_t key_size;
  const void* value;
  size_t value_size;

  /* Results. */
  int error;
  char message[256]; /* about the error, or of a file that was set aside */
  void* data;        /* of NT_STORE_GET, to be freed; NULL: there is none */
  size_t size;
} nt__store_call_t;

/* What an entry counts against the cap of the store. */
uint64_t nt__store_cost(size_t key_size, size_t value_size);

/* Opens the file of the policy, unless it is open, and does what the call
 * says. */
void nt__store_file_run(nt__store_file_t* store, const nt_policy_t* policy,
                        nt__store_call_t* call);

/* Harmless when it is closed. */
void nt__store_file_close(nt__store_file_t* store);

#endif
