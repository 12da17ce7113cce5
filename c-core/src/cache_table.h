/* The table of the cache on disk: its statements, and what every change of it
 * goes through. Storage thread, for cache_file.c and its neighbours alone. What
 * returns int returns a result of SQLite; an error of another kind is in the
 * call. */
#ifndef NT_CACHE_TABLE_H
#define NT_CACHE_TABLE_H

#include "cache_file.h"

struct sqlite3_stmt;

extern const nt__sqlite_kind_t nt__cache_kind;

enum {
  NT__ROWS_VERSION = NT__SQLITE_OWN,
  NT__ROWS_STATE,
  NT__ROWS_TICK,
  NT__ROWS_RAISE_FLOOR,
  NT__ROWS_SELECT,
  NT__ROWS_INSERT,
  NT__ROWS_UPDATE,
  NT__ROWS_PURGE,
  NT__ROWS_PRUNE,
  NT__ROWS_TOUCH,
  NT__ROWS_REMOVE,
  NT__ROWS_DISCARD,
  NT__ROWS_OLDEST,
  NT__ROWS_BELOW_FLOOR,
  NT__ROWS_GROW,
  NT__ROWS_FINISH,
  NT__ROWS_STALE,
  NT__ROWS_OWNER,
  NT__ROWS_GONE,
  NT__ROWS_FORGET_GONE,
  NT__ROWS_FREE_PAGES,
  NT__ROWS_SHRINK
};

struct sqlite3_stmt* nt__table_want(nt__cache_file_t* file, int which,
                                    int* code);
/* SQLITE_DONE: one without a result is done, and let go of. */
int nt__table_do(nt__cache_file_t* file, struct sqlite3_stmt* statement);
/* The same with a number. */
int nt__table_do_with(nt__cache_file_t* file, int which, int64_t number);
/* What was done last has changed no row. */
bool nt__table_hit_nothing(const nt__cache_file_t* file);
void nt__table_bind_bytes(struct sqlite3_stmt* statement, int at,
                          const void* bytes, size_t size);
void nt__table_bind_key(struct sqlite3_stmt* statement, const char* key);

/* One change, whole or not at all: SQLITE_DONE. `change` ends with that too. */
int nt__table_transact(nt__cache_file_t* file, nt__cache_call_t* call,
                       int (*change)(nt__cache_file_t* file,
                                     nt__cache_call_t* call));
/* Inside of a change: what is too much goes, but for that row. SQLITE_DONE. */
int nt__table_make_room(nt__cache_file_t* file, nt__cache_call_t* call,
                        int64_t but);

/* Whether others have written since the last time: SQLITE_OK. */
int nt__table_look(nt__cache_file_t* file, nt__cache_call_t* call);
/* What is too much, or was cleared, goes, a bit of it. */
int nt__table_trim(nt__cache_file_t* file, nt__cache_call_t* call);
/* The row goes, whatever it is. */
void nt__table_discard(nt__cache_file_t* file, int64_t row);
/* Those that are not whole and were left by their writers: SQLITE_DONE. */
int nt__table_drop_stale(nt__cache_file_t* file, int64_t now);
bool nt__table_has_body(nt__cache_file_t* file, uint64_t name);

#endif
