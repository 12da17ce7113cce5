/* Loaded into an interpreter: writes the path of each file and folder that is
 * written back to the disk, a line each, into $NETTASK_TEST_FSYNC_LOG. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(int fd) {
  const char* log = getenv("NETTASK_TEST_FSYNC_LOG");
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
  path[size] = '\n';
  if (write(out, path, (size_t) size + 1) != size + 1)
    abort();
  close(out);
}

__attribute__((visibility("default"))) int fsync(int fd) {
  note(fd);
  return (int) syscall(SYS_fsync, fd);
}
