/* Loaded into an interpreter: writes a line into $NETTASK_TEST_DISK_LOG for
 * each file and folder that is written back to the disk, and for each file that
 * is truncated: the function and the path. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static void note(const char* what, int fd) {
  const char* log = getenv("NETTASK_TEST_DISK_LOG");
  char name[64];
  char path[4096];
  ssize_t size;
  int out;

  if (log == NULL)
    return;
  snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
  size = readlink(name, path, sizeof(path) - 1);
  out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (size < 0 || out < 0)
    abort();
  path[size] = '\0';
  if (dprintf(out, "%s %s\n", what, path) < 0)
    abort();
  close(out);
}

__attribute__((visibility("default"))) int fsync(int fd) {
  note("fsync", fd);
  return (int) syscall(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int ftruncate(int fd, off_t size) {
  note("ftruncate", fd);
  return (int) syscall(SYS_ftruncate, fd, size);
}

/* The name that programs for large files call it by. */
__attribute__((visibility("default"))) int ftruncate64(int fd, off64_t size) {
  note("ftruncate", fd);
  return (int) syscall(SYS_ftruncate, fd, size);
}
