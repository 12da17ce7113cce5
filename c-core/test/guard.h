/* Memory whose last byte is followed by a page that nobody may touch: a parser
 * that looks one byte too far ends the test at once, with any build. */
#ifndef NT_TEST_GUARD_H
#define NT_TEST_GUARD_H

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct guard {
  char* map;
  size_t size; /* without the page behind */
} guard_t;

static inline guard_t guard_open(size_t size) {
  size_t page = (size_t) sysconf(_SC_PAGESIZE);
  guard_t guard;

  guard.size = (size + page - 1) / page * page;
  guard.map = mmap(NULL, guard.size + page, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(guard.map, MAP_FAILED);
  assert_int_equal(mprotect(guard.map + guard.size, page, PROT_NONE), 0);
  return guard;
}

static inline void guard_close(guard_t* guard) {
  munmap(guard->map, guard->size + (size_t) sysconf(_SC_PAGESIZE));
}

/* A copy of the bytes that ends where the page begins. */
static inline char* guard_put(guard_t* guard, const void* bytes, size_t size) {
  char* place = guard->map + guard->size - size;

  assert_true(size <= guard->size);
  if (size > 0)
    memcpy(place, bytes, size);
  return place;
}

/* The same with a NUL as the last byte. */
static inline char* guard_text(guard_t* guard, const char* text, size_t size) {
  char* place = guard_put(guard, text, size) - 1;

  assert_true(size < guard->size);
  memmove(place, place + 1, size);
  place[size] = '\0';
  return place;
}

#endif
