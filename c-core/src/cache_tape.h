/* Answers whose body is written while it comes in. Storage thread, for
 * cache_file.c alone. What returns int returns a result of SQLite; an error of
 * another kind is in the call, and then nothing of the answer is left. */
#ifndef NT_CACHE_TAPE_H
#define NT_CACHE_TAPE_H

#include "cache_file.h"

int nt__tape_write(nt__cache_file_t* file, nt__cache_call_t* call);
int nt__tape_commit(nt__cache_file_t* file, nt__cache_call_t* call);
int nt__tape_drop(nt__cache_file_t* file, nt__cache_call_t* call);

/* The table has gone: only the file of the tape is left to be removed. */
void nt__tape_lose(nt__tape_t* tape);

#endif
