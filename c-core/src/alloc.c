/* The allocator: three function pointers, set before the first context and
 * never changed again, which is why no thread needs a lock to read them. */
#include "alloc.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "nettask.h"

static void* (*malloc_fn)(size_t) = malloc;
static void* (*realloc_fn)(void*, size_t) = realloc;
static void (*free_fn)(void*) = free;
static bool replaced;
static atomic_bool frozen;
static atomic_uint failures;

int nt_set_allocator(void* (*new_malloc)(size_t),
                     void* (*new_realloc)(void*, size_t),
                     void (*new_free)(void*)) {
  if (new_malloc == NULL || new_realloc == NULL || new_free == NULL)
    return NT_E_INVALID;
  if (atomic_load(&frozen))
    return NT_E_STATE;
  malloc_fn = new_malloc;
  realloc_fn = new_realloc;
  free_fn = new_free;
  replaced = true;
  return 0;
}

void nt__alloc_freeze(void) {
  atomic_store(&frozen, true);
}

static void* count_failure(void* ptr) {
  if (ptr == NULL)
    atomic_fetch_add_explicit(&failures, 1, memory_order_relaxed);
  return ptr;
}

unsigned nt__alloc_failures(void) {
  return atomic_load_explicit(&failures, memory_order_relaxed);
}

void* nt__malloc(size_t size) {
  return count_failure(malloc_fn(size));
}

void* nt__calloc(size_t size) {
  void* ptr = nt__malloc(size);

  if (ptr != NULL)
    memset(ptr, 0, size);
  return ptr;
}

void* nt__realloc(void* ptr, size_t size) {
  return count_failure(realloc_fn(ptr, size));
}

void nt__free(void* ptr) {
  if (ptr != NULL)
    free_fn(ptr);
}

char* nt__strdup(const char* text) {
  size_t size = strlen(text) + 1;
  char* copy = nt__malloc(size);

  if (copy != NULL)
    memcpy(copy, text, size);
  return copy;
}

void nt__wipe(void* bytes, size_t size) {
  /* Of a memset() that they know compilers would leave it out. */
  static void* (*const volatile set)(void*, int, size_t) = memset;

  if (size > 0)
    set(bytes, 0, size);
}

static void* calloc_array(size_t count, size_t size) {
  if (size != 0 && count > (size_t) -1 / size)
    return NULL;
  return nt__calloc(count * size);
}

int nt__alloc_init_curl(void) {
  CURLcode code;

  nt__alloc_freeze();
  if (replaced)
    code = curl_global_init_mem(CURL_GLOBAL_ALL, nt__malloc, nt__free,
                                nt__realloc, nt__strdup, calloc_array);
  else
    code = curl_global_init(CURL_GLOBAL_ALL);
  return code == CURLE_OK ? 0 : NT_E_SYSTEM;
}
