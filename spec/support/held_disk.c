/* Loaded into an interpreter: a disk on which a write at an offset waits as
 * long as somebody has the FIFO $NETTASK_TEST_DISK_GATE open for writing; each
 * byte that is written there lets one of them through. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int gate = -1;

__attribute__((constructor)) static void open_gate(void) {
  const char* path = getenv("NETTASK_TEST_DISK_GATE");

  if (path == NULL)
    return;
  /* Or it would wait for somebody who writes. */
  gate = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (gate < 0 || fcntl(gate, F_SETFL, 0) != 0)
    abort();
}

__attribute__((visibility("default"))) ssize_t pwrite64(int fd,
                                                        const void* data,
                                                        size_t size,
                                                        off64_t offset) {
  char pass;

  while (gate >= 0 && read(gate, &pass, 1) < 0 && errno == EINTR)
    continue;
  return syscall(SYS_pwrite64, fd, data, size, offset);
}

/* The name that programs for small files call it by. */
__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void* data,
                                                      size_t size,
                                                      off_t offset) {
  return pwrite64(fd, data, size, offset);
}
