/* The other side of the rows of sockets, on epoll and one thread: a TCP echo, a
 * TCP sink and a TCP source, an HTTP server that takes uploads, two UDP sinks
 * and a UDP source.
 *
 *   server
 *
 * Prints its ports as a line of JSON and ends with its standard input. The
 * source floods who sent it a datagram for as long as that one goes on doing so
 * (FLOOD_SECONDS each time). Who connects to the port "count" is told how many
 * datagrams the sinks have got and the source has sent, and is hung up on. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../measure.h"

enum {
  BUFFER = 256 * 1024,
  UDP_BUFFER = 4 * 1024 * 1024,
  BATCH = 64,
  DATAGRAM = 64,
  BACKLOG = 64
};
#define FLOOD_SECONDS 0.2
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

typedef enum role {
  ECHO,
  SINK,
  SOURCE,
  UPLOAD,
  COUNT,
  UDP_SINK,
  UDP_SOURCE,
  INPUT
} role_t;

/* A socket. Those that listen make others of the same role. */
typedef struct peer {
  role_t role;
  int fd;
  int listens;
  size_t body; /* of the upload under way, still to come */
} peer_t;

static char buffer[BUFFER];
static int poller;
static uint64_t datagrams_in, datagrams_out;
static struct sockaddr_in flooded;
static double flood_until;

static void check(int result, const char* what) {
  if (result < 0)
    die(what, strerror(errno));
}

static peer_t* add_peer(role_t role, int fd, int listens, uint32_t events) {
  peer_t* peer = calloc(1, sizeof(*peer));
  struct epoll_event event = { .events = events, .data = { .ptr = peer } };

  if (peer == NULL)
    die("memory", "none");
  peer->role = role;
  peer->fd = fd;
  peer->listens = listens;
  check(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  return peer;
}

static void remove_peer(peer_t* peer) {
  close(peer->fd);
  free(peer);
}

static int bind_port(int fd) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof(address);

  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  check(bind(fd, (struct sockaddr*) &address, size), "bind");
  check(getsockname(fd, (struct sockaddr*) &address, &size), "getsockname");
  return ntohs(address.sin_port);
}

static void open_tcp(const char* name, role_t role) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

  check(fd, "socket");
  printf("\"net_%s\":%d,", name, bind_port(fd));
  check(listen(fd, BACKLOG), "listen");
  add_peer(role, fd, 1, EPOLLIN);
}

static void open_udp(const char* name, role_t role) {
  int size = UDP_BUFFER, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

  check(fd, "socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  printf("\"net_%s\":%d,", name, bind_port(fd));
  add_peer(role, fd, 0, EPOLLIN);
}

/* ---- TCP ----------------------------------------------------------------- */

static void tell_counts(int fd) {
  char text[64];
  int size = snprintf(text, sizeof(text), "%llu %llu\n",
                      (unsigned long long) datagrams_in,
                      (unsigned long long) datagrams_out);

  if (write(fd, text, (size_t) size) != size)
    die("count", "not taken");
  close(fd);
}

static void take_in(const peer_t* listener) {
  int one = 1, fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);

  if (fd < 0)
    return;
  if (listener->role == COUNT) {
    tell_counts(fd);
    return;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  add_peer(listener->role, fd, 0,
           listener->role == SOURCE ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int is_over(ssize_t n) {
  return n == 0 || (n < 0 && errno != EAGAIN);
}

/* A client that does not take its echoes is not what is measured. */
static int echo(const peer_t* peer) {
  ssize_t n = read(peer->fd, buffer, sizeof(buffer));

  if (n > 0 && write(peer->fd, buffer, (size_t) n) != n)
    return 0;
  return !is_over(n);
}

static int sink(const peer_t* peer) {
  ssize_t n = read(peer->fd, buffer, sizeof(buffer));

  return !is_over(n);
}

static int source(const peer_t* peer) {
  ssize_t n = write(peer->fd, buffer, sizeof(buffer));

  return n > 0 || errno == EAGAIN;
}

/* ---- Uploads ------------------------------------------------------------- */

static int say(const peer_t* peer, const char* text) {
  return write(peer->fd, text, strlen(text)) == (ssize_t) strlen(text);
}

/* Both clients send the header in one piece. */
static int begin_upload(peer_t* peer) {
  ssize_t n = read(peer->fd, buffer, sizeof(buffer) - 1);
  const char* length;
  const char* end;

  if (n <= 0)
    return !is_over(n);
  buffer[n] = '\0';
  end = strstr(buffer, "\r\n\r\n");
  length = strcasestr(buffer, "\ncontent-length:");
  if (end == NULL)
    return 0;
  if (length == NULL) /* the request that warms a connection up */
    return say(peer, OK);
  peer->body = strtoull(length + sizeof("\ncontent-length:") - 1, NULL, 10);
  peer->body -= (size_t) (buffer + n - (end + 4));
  if (strcasestr(buffer, "\nexpect: 100-continue") != NULL)
    return say(peer, "HTTP/1.1 100 Continue\r\n\r\n");
  return 1;
}

/* What comes is dropped where it lies, or this would be the slower side. */
static int take_upload(peer_t* peer) {
  ssize_t n;

  if (peer->body == 0)
    return begin_upload(peer);
  n = recv(peer->fd, NULL, peer->body, MSG_TRUNC);
  if (n <= 0)
    return !is_over(n);
  peer->body -= (size_t) n;
  return peer->body > 0 || say(peer, OK);
}

/* ---- UDP ----------------------------------------------------------------- */

static void take_datagrams(const peer_t* peer) {
  static struct mmsghdr messages[BATCH];
  static struct iovec pieces[BATCH];
  int i, n;

  for (i = 0; i < BATCH; i++) {
    pieces[i] = (struct iovec){ buffer + i * 2048, 2048 };
    messages[i].msg_hdr =
        (struct msghdr){ .msg_iov = &pieces[i], .msg_iovlen = 1 };
  }
  n = recvmmsg(peer->fd, messages, BATCH, 0, NULL);
  if (n > 0)
    datagrams_in += (uint64_t) n;
}

static void hear(const peer_t* peer) {
  socklen_t size = sizeof(flooded);

  if (recvfrom(peer->fd, buffer, sizeof(buffer), 0, (struct sockaddr*) &flooded,
               &size) >= 0)
    flood_until = now_seconds() + FLOOD_SECONDS;
}

/* BATCH datagrams in one call. */
static void flood(int fd) {
  union {
    char bytes[CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr align;
  } control = { { 0 } };
  struct iovec piece = { buffer, (size_t) BATCH * DATAGRAM };
  struct msghdr message = { .msg_name = &flooded,
                            .msg_namelen = sizeof(flooded),
                            .msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes) };
  struct cmsghdr* segment = CMSG_FIRSTHDR(&message);
  uint16_t size = DATAGRAM;

  segment->cmsg_level = SOL_UDP;
  segment->cmsg_type = UDP_SEGMENT;
  segment->cmsg_len = CMSG_LEN(sizeof(size));
  memcpy(CMSG_DATA(segment), &size, sizeof(size));
  if (sendmsg(fd, &message, 0) > 0)
    datagrams_out += BATCH;
}

/* ---- The loop ------------------------------------------------------------ */

static int serve(peer_t* peer, uint32_t events) {
  switch (peer->role) {
    case ECHO:
      return echo(peer);
    case SINK:
      return sink(peer);
    case SOURCE:
      if ((events & EPOLLIN) != 0)
        return sink(peer);
      return source(peer);
    case UPLOAD:
      return take_upload(peer);
    case UDP_SINK:
      take_datagrams(peer);
      return 1;
    case UDP_SOURCE:
      hear(peer);
      return 1;
    case INPUT:
      if (read(peer->fd, buffer, sizeof(buffer)) <= 0)
        exit(0);
      return 1;
    case COUNT:
      break;
  }
  return 1;
}

int main(void) {
  struct epoll_event events[BATCH];
  peer_t* udp_source;
  int i, n, flooding;

  poller = epoll_create1(0);
  check(poller, "epoll_create1");
  memset(buffer, 'a', sizeof(buffer));
  printf("{");
  open_tcp("echo", ECHO);
  open_tcp("sink", SINK);
  open_tcp("source", SOURCE);
  open_tcp("upload", UPLOAD);
  open_tcp("count", COUNT);
  open_udp("udp_sink", UDP_SINK);
  open_udp("udp_sink2", UDP_SINK);
  udp_source = add_peer(
      UDP_SOURCE, socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), 0, EPOLLIN);
  printf("\"net_udp_source\":%d}\n", bind_port(udp_source->fd));
  fflush(stdout);
  add_peer(INPUT, 0, 0, EPOLLIN);
  for (;;) {
    flooding = now_seconds() < flood_until;
    n = epoll_wait(poller, events, BATCH, flooding ? 0 : -1);
    for (i = 0; i < n; i++) {
      peer_t* peer = events[i].data.ptr;

      if (peer->listens)
        take_in(peer);
      else if (!serve(peer, events[i].events))
        remove_peer(peer);
    }
    for (i = 0; flooding && i < 16; i++)
      flood(udp_source->fd);
  }
}
