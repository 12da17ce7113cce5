/* Loaded into an interpreter: a disk that takes $NETTASK_TEST_DISK_MS for each
 * write at an offset. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) ssize_t pwrite64(int fd,
                                                        const void* data,
                                                        size_t size,
                                                        off64_t offset) {
  const char* ms = getenv("NETTASK_TEST_DISK_MS");
  long taken = ms == NULL ? 0 : atol(ms);
  const struct timespec time = { taken / 1000, taken % 1000 * 1000000 };

  nanosleep(&time, NULL);
  return syscall(SYS_pwrite64, fd, data, size, offset);
}

/* The name that programs for small files call it by. */
__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void* data,
                                                      size_t size,
                                                      off_t offset) {
  return pwrite64(fd, data, size, offset);
}
