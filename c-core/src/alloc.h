/* Every allocation of the core passes here, so that a host can bring its own
 * allocator and a test can fail the nth call. Any thread. */
#ifndef NT_ALLOC_H
#define NT_ALLOC_H

#include <stddef.h>

void* nt__malloc(size_t size);
void* nt__calloc(size_t size);
void* nt__realloc(void* ptr, size_t size);
void nt__free(void* ptr);
char* nt__strdup(const char* text);
/* Zeros what nobody is to find, also right before it is freed. */
void nt__wipe(void* bytes, size_t size);

/* How many allocations have failed: a change tells that memory ran out. */
unsigned nt__alloc_failures(void);

/* From now on they stay as they are. */
void nt__alloc_freeze(void);

/* curl_global_init() over the same functions; freezes them. */
int nt__alloc_init_curl(void);

#endif
