/* UDP in tests: sockets of the core under test, and plain ones of the system on
 * the other side. */
#ifndef NT_TEST_UDP_PEER_H
#define NT_TEST_UDP_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"

enum {
  DATAGRAM_MAX = 65507,
  PEER_BUFFER = 4 * 1024 * 1024
};

/* Until the condition holds, or patience is over. */
#define UNTIL(condition)                                                       \
  for (uint64_t until_end = uv_hrtime() + (uint64_t) PATIENCE_MS * 1000000;    \
       !(condition); sched_yield())                                            \
  assert_true(uv_hrtime() < until_end)

/* A plain socket, bound to the loopback address of its family. */
typedef struct peer {
  int fd;
  int port;
} peer_t;

static inline peer_t peer_open(int family) {
  struct sockaddr_in6 address = { .sin6_family = AF_INET6,
                                  .sin6_addr = in6addr_loopback };
  struct sockaddr_in in = { .sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  bool v6 = family == AF_INET6;
  socklen_t size = v6 ? sizeof(address) : sizeof(in);
  int buffer = PEER_BUFFER;
  peer_t peer;

  peer.fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_true(peer.fd >= 0);
  if (setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer,
                 sizeof(buffer)) != 0)
    setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
  assert_int_equal(bind(peer.fd, v6 ? (void*) &address : (void*) &in, size), 0);
  assert_int_equal(
      getsockname(peer.fd, v6 ? (void*) &address : (void*) &in, &size), 0);
  peer.port = ntohs(v6 ? address.sin6_port : in.sin_port);
  return peer;
}

static inline void peer_close(peer_t* peer) {
  close(peer->fd);
}

/* A port of the loopback address where nobody listens. */
static inline int closed_port(void) {
  peer_t peer = peer_open(AF_INET);

  peer_close(&peer);
  return peer.port;
}

static inline bool peer_readable(const peer_t* peer, int timeout_ms) {
  struct pollfd poll_fd = { .fd = peer->fd, .events = POLLIN };

  return poll(&poll_fd, 1, timeout_ms) == 1;
}

/* The next datagram; fails the test when none comes. Returns its sender's
 * port. */
static inline int peer_read(const peer_t* peer, void* data, size_t room,
                            size_t* size) {
  struct sockaddr_in6 from;
  socklen_t from_size = sizeof(from);
  ssize_t n;

  if (!peer_readable(peer, PATIENCE_MS))
    fail_msg("no datagram came");
  n = recvfrom(peer->fd, data, room, 0, (void*) &from, &from_size);
  assert_true(n >= 0);
  *size = (size_t) n;
  return ntohs(from.sin6_port); /* at the same place in both families */
}

static inline int peer_expect(const peer_t* peer, const void* data,
                              size_t size) {
  static char room[DATAGRAM_MAX + 1];
  size_t got;
  int port = peer_read(peer, room, sizeof(room), &got);

  assert_int_equal(got, size);
  if (size > 0)
    assert_memory_equal(room, data, size);
  return port;
}

static inline int peer_expect_text(const peer_t* peer, const char* text) {
  return peer_expect(peer, text, strlen(text));
}

static inline void peer_send(const peer_t* peer, int port, const void* data,
                             size_t size) {
  struct sockaddr_in to = { .sin_family = AF_INET,
                            .sin_port = htons((uint16_t) port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

  assert_int_equal(sendto(peer->fd, data, size, 0, (void*) &to, sizeof(to)),
                   size);
}

/* ---- Of the core --------------------------------------------------------- */

static inline nt_id_t udp_open(host_t* host, nt_family_t family) {
  nt_id_t id = 0;

  assert_int_equal(nt_udp_open(host->net, family, &id), 0);
  assert_int_equal(nt_state(host->net, id), NT_STATE_OPEN);
  return id;
}

static inline int udp_bind(host_t* host, nt_id_t id) {
  int port = 0;

  assert_int_equal(nt_udp_bind(host->net, id, 0, &port), 0);
  assert_true(port > 0);
  return port;
}

static inline nt_id_t udp_bound(host_t* host, int* port) {
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);

  *port = udp_bind(host, id);
  return id;
}

static inline void udp_send(host_t* host, nt_id_t id, const char* to, int port,
                            const char* text) {
  assert_int_equal(nt_udp_send(host->net, id, to, port, text, strlen(text)), 0);
}

static inline void udp_expect(host_t* host, nt_id_t id, const void* data,
                              size_t size, nt_event_t* ev) {
  host_next(host, ev);
  if (ev->type != NT_EV_MESSAGE)
    fail_msg("event %d: %s", ev->type, ev->message);
  assert_true(ev->id == id);
  assert_int_equal(ev->size, size);
  if (size > 0)
    assert_memory_equal(ev->data, data, size);
  assert_int_equal(((const char*) ev->data)[size], '\0');
}

static inline void udp_expect_text(host_t* host, nt_id_t id, const char* text) {
  nt_event_t ev;

  udp_expect(host, id, text, strlen(text), &ev);
}

static inline void udp_expect_error(host_t* host, nt_id_t id, int error,
                                    nt_event_t* ev) {
  host_next(host, ev);
  assert_true(ev->id == id);
  if (ev->type != NT_EV_ERROR || ev->error != error)
    fail_msg("event %d, %s (%s) instead of %s", ev->type,
             nt_error_name(ev->error), ev->message, nt_error_name(error));
  assert_true(ev->message[0] != '\0');
  assert_int_equal(nt_state(host->net, id), NT_STATE_OPEN);
}

static inline void udp_end(host_t* host, nt_id_t id, int error) {
  nt_event_t ev;

  host_next(host, &ev);
  assert_true(ev.id == id);
  if (ev.type != NT_EV_END || ev.error != error)
    fail_msg("event %d, %s (%s)", ev.type, nt_error_name(ev.error), ev.message);
  assert_int_equal(nt_state(host->net, id), NT_STATE_DONE);
}

static inline void udp_close(host_t* host, nt_id_t id) {
  assert_int_equal(nt_udp_close(host->net, id), 0);
  assert_int_equal(nt_udp_close(host->net, id), NT_E_NOT_OPEN);
  udp_end(host, id, 0);
  assert_int_equal(nt_udp_close(host->net, id), NT_E_NOT_OPEN);
}

/* Takes the events of aborted or closed sockets. */
static inline void udp_drain(host_t* host, unsigned ends) {
  nt_event_t ev;

  while (ends > 0) {
    host_next(host, &ev);
    ends -= ev.type == NT_EV_END;
  }
}

#endif
