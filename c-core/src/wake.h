/* Ends the poll of the I/O thread, from any thread. */
#ifndef NT_WAKE_H
#define NT_WAKE_H

#include <uv.h>

typedef struct nt__wake {
#ifdef _WIN32
  uv_async_t handle;
#else
  uv_poll_t handle;
  int read_fd, write_fd; /* the same where there is eventfd */
#endif
} nt__wake_t;

/* NT_E_SYSTEM. */
int nt__wake_init(nt__wake_t* wake, uv_loop_t* loop);
/* Any thread, until nt__wake_free(). */
void nt__wake_send(nt__wake_t* wake);
/* The loop must run once more. */
void nt__wake_close(nt__wake_t* wake);
/* After the loop has ended, or after nt__wake_init() has failed. */
void nt__wake_free(nt__wake_t* wake);

#endif
