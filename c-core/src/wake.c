/* A descriptor under uv_poll, not a uv_async_t: libuv 1.44 spins, and then
 * yields, while the thread that has just woken it is still inside
 * uv_async_send(), which is always so when both share a core. That the I/O
 * thread sleeps is known, so nothing needs to be pending. */
#include "wake.h"

#include "nettask.h"

#ifdef _WIN32

static void on_wake(uv_async_t* handle) {
  (void) handle;
}

int nt__wake_init(nt__wake_t* wake, uv_loop_t* loop) {
  return uv_async_init(loop, &wake->handle, on_wake) == 0 ? 0 : NT_E_SYSTEM;
}

void nt__wake_send(nt__wake_t* wake) {
  uv_async_send(&wake->handle);
}

void nt__wake_free(nt__wake_t* wake) {
  (void) wake;
}

#else

#  include <fcntl.h>
#  include <stdint.h>
#  include <unistd.h>
#  ifdef __linux__
#    include <sys/eventfd.h>
#  endif

#  include "list.h"

static void on_wake(uv_poll_t* handle, int status, int events) {
  nt__wake_t* wake = nt__container_of(handle, nt__wake_t, handle);
  char bytes[64];

  (void) status;
  (void) events;
  while (read(wake->read_fd, bytes, sizeof(bytes)) == sizeof(bytes)) {}
}

#  ifdef __linux__

static int open_fds(nt__wake_t* wake) {
  wake->read_fd = wake->write_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return wake->read_fd < 0 ? NT_E_SYSTEM : 0;
}

#  else

static int open_fds(nt__wake_t* wake) {
  int fds[2];
  int i;

  if (pipe(fds) != 0)
    return NT_E_SYSTEM;
  for (i = 0; i < 2; i++) {
    fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    fcntl(fds[i], F_SETFL, O_NONBLOCK);
  }
  wake->read_fd = fds[0];
  wake->write_fd = fds[1];
  return 0;
}

#  endif

int nt__wake_init(nt__wake_t* wake, uv_loop_t* loop) {
  wake->read_fd = wake->write_fd = -1;
  if (open_fds(wake) != 0)
    return NT_E_SYSTEM;
  if (uv_poll_init(loop, &wake->handle, wake->read_fd) != 0)
    return NT_E_SYSTEM;
  uv_poll_start(&wake->handle, UV_READABLE, on_wake);
  return 0;
}

void nt__wake_send(nt__wake_t* wake) {
  uint64_t one = 1;
  /* Full means that it is awake already. */
  ssize_t written = write(wake->write_fd, &one, sizeof(one));

  (void) written;
}

void nt__wake_free(nt__wake_t* wake) {
  if (wake->write_fd != wake->read_fd)
    close(wake->write_fd);
  if (wake->read_fd >= 0)
    close(wake->read_fd);
}

#endif

void nt__wake_close(nt__wake_t* wake) {
  uv_close((uv_handle_t*) &wake->handle, NULL);
}
