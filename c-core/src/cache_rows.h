/* The rows of the cache's table. Storage thread, for cache_file.c and its
 * neighbours alone. What returns int returns a result of SQLite, SQLITE_DONE
 * for success; an error of another kind is in the call. */
#ifndef NT_CACHE_ROWS_H
#define NT_CACHE_ROWS_H

#include "cache_file.h"

/* What the calls of these names do. */
int nt__rows_select(nt__cache_file_t* file, nt__cache_call_t* call);
int nt__rows_put(nt__cache_file_t* file, nt__cache_call_t* call);
int nt__rows_update(nt__cache_file_t* file, nt__cache_call_t* call);
int nt__rows_touch(nt__cache_file_t* file, nt__cache_call_t* call);
int nt__rows_remove(nt__cache_file_t* file, nt__cache_call_t* call);

/* The checksum of a row but for its body, of `size` bytes in the file `name`,
 * or 0. */
uint32_t nt__rows_sum(const char* key, const nt__stored_t* stored,
                      uint64_t name, uint64_t size);
/* For a file that nobody has. 0, NT_E_SYSTEM. */
int nt__rows_name(uint64_t* name);
/* Inside of a change: the row of an answer; `writing` 0: it is whole. */
int nt__rows_insert(nt__cache_file_t* file, const nt__answer_t* answer,
                    uint64_t name, uint64_t size, const nt__buf_t* sums,
                    int64_t writing);
/* Inside of a change: those whose place the row takes go, and what is too much
 * for its URL. */
int nt__rows_purge(nt__cache_file_t* file, const nt__answer_t* answer,
                   int64_t row);

#endif
