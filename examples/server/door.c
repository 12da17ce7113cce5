/* The door: connections on their way into libwebsockets.
 *
 * libwebsockets answers a WebSocket handshake the moment it reads it, and has
 * no way to do so later. Hence /ws/slow: each new connection waits here until
 * its first bytes have come, which are looked at and left in the socket; the
 * one that asks for a slow handshake goes on waiting, all others go in. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

#define MAX_MS ((unsigned long) 10 * 60 * 1000)

/* One connection. It has one handle at a time: a poll, then maybe a timer. */
typedef struct guest {
  union {
    uv_handle_t handle;
    uv_poll_t poll;
    uv_timer_t timer;
  } wait;
  struct guest *next, **link;
  door_t* door;
  int fd;
  int gone;
  uint64_t delay_ms;
} guest_t;

static void enter_list(guest_t* guest) {
  guest->link = &guest->door->guests;
  guest->next = *guest->link;
  if (guest->next != NULL)
    guest->next->link = &guest->next;
  *guest->link = guest;
}

static void leave_list(guest_t* guest) {
  *guest->link = guest->next;
  if (guest->next != NULL)
    guest->next->link = guest->link;
}

static void go_in(guest_t* guest) {
  leave_list(guest);
  if (guest->gone)
    close(guest->fd);
  else
    lws_adopt_socket_vhost(guest->door->vhost, guest->fd);
  free(guest);
}

static void on_timer_closed(uv_handle_t* handle) {
  go_in(handle->data);
}

static void on_time(uv_timer_t* timer) {
  uv_close((uv_handle_t*) timer, on_timer_closed);
}

static void on_poll_closed(uv_handle_t* handle) {
  guest_t* guest = handle->data;

  if (guest->gone || guest->delay_ms == 0) {
    go_in(guest);
    return;
  }
  uv_timer_init(guest->door->loop, &guest->wait.timer);
  uv_timer_start(&guest->wait.timer, on_time, guest->delay_ms, 0);
}

static void stop_polling(guest_t* guest) {
  uv_close(&guest->wait.handle, on_poll_closed);
}

/* The milliseconds that the request asks for; 0 when it asks for none. */
static uint64_t asked_delay(const char* request) {
  static const char start[] = "GET /ws/slow?ms=";
  unsigned long ms;

  if (strncmp(request, start, sizeof(start) - 1) != 0)
    return 0;
  ms = strtoul(request + sizeof(start) - 1, NULL, 10);
  return ms < MAX_MS ? ms : MAX_MS;
}

static void on_readable(uv_poll_t* poll, int status, int events) {
  guest_t* guest = poll->data;
  char request[64];
  ssize_t size = recv(guest->fd, request, sizeof(request) - 1, MSG_PEEK);

  (void) events;
  if (status == 0 && size < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (status < 0 || size <= 0) {
    guest->gone = 1;
  } else {
    request[size] = '\0';
    guest->delay_ms = asked_delay(request);
  }
  stop_polling(guest);
}

int door_enter(door_t* door, int fd) {
  guest_t* guest = calloc(1, sizeof(*guest));

  if (guest == NULL)
    return -1;
  guest->door = door;
  guest->fd = fd;
  guest->wait.handle.data = guest;
  if (uv_poll_init(door->loop, &guest->wait.poll, fd) < 0) {
    free(guest);
    return -1;
  }
  enter_list(guest);
  uv_poll_start(&guest->wait.poll, UV_READABLE, on_readable);
  return 0;
}

void door_close(door_t* door) {
  guest_t* guest;

  for (guest = door->guests; guest != NULL; guest = guest->next) {
    guest->gone = 1;
    if (uv_is_closing(&guest->wait.handle))
      continue;
    if (guest->wait.handle.type == UV_POLL)
      stop_polling(guest);
    else
      on_time(&guest->wait.timer);
  }
}
