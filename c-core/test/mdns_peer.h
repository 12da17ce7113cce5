/* Scripted responders: plain sockets on port 5353 that say what a test wants,
 * in a network namespace of the program's own. */
#ifndef NT_TEST_MDNS_PEER_H
#define NT_TEST_MDNS_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"
#include "mdns_packet.h"

#define INSIDE "NETTASK_TEST_MDNS_INSIDE"

enum {
  MDNS_PORT = 5353,
  TTL = 4500
};

static inline void run(const char* command) {
  if (system(command) != 0)
    fail_msg("%s", command);
}

static inline int go_inside(const char* self) {
  setenv(INSIDE, "1", 1);
  execlp("unshare", "unshare", geteuid() == 0 ? "-mn" : "-rmn", self,
         (char*) NULL);
  perror("unshare");
  return 1;
}

typedef struct responder {
  int fd;
  nt__dns_record_t heard; /* of the message read last: the first question ... */
  unsigned questions;     /* ... and how many there were */
  struct sockaddr_in from; /* it came from there */
} responder_t;

static inline struct sockaddr_in mdns_address(const char* ip, int port) {
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t) port) };

  assert_int_equal(inet_pton(AF_INET, ip, &address.sin_addr), 1);
  return address;
}

static inline void set_number(int fd, int level, int name, int value) {
  assert_int_equal(setsockopt(fd, level, name, &value, sizeof(value)), 0);
}

/* Speaks and listens on the interface of that address. `source` is where it
 * speaks from, if it is not there. */
static inline responder_t responder_open_at(const char* interface, int port,
                                            const char* source) {
  struct sockaddr_in at = mdns_address(source, port);
  responder_t r = { .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
  struct ip_mreq group;

  assert_true(r.fd >= 0);
  set_number(r.fd, SOL_SOCKET, SO_REUSEADDR, 1);
  set_number(r.fd, IPPROTO_IP, IP_TRANSPARENT, 1); /* for any source */
  assert_int_equal(bind(r.fd, (void*) &at, sizeof(at)), 0);
  group.imr_multiaddr = mdns_address("224.0.0.251", 0).sin_addr;
  group.imr_interface = mdns_address(interface, 0).sin_addr;
  assert_int_equal(
      setsockopt(r.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)),
      0);
  assert_int_equal(
      setsockopt(r.fd, IPPROTO_IP, IP_MULTICAST_IF, &group.imr_interface,
                 sizeof(group.imr_interface)),
      0);
  set_number(r.fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  return r;
}

static inline responder_t responder_open(const char* interface) {
  return responder_open_at(interface, MDNS_PORT, "0.0.0.0");
}

static inline void responder_close(responder_t* r) {
  close(r->fd);
}

/* The next question within that time; what is no question is passed over. */
static inline bool responder_hears(responder_t* r, int timeout_ms) {
  static unsigned char bytes[NT__DNS_MESSAGE_MAX];
  struct pollfd poll_fd = { .fd = r->fd, .events = POLLIN };
  uint64_t end = uv_hrtime() / 1000000 + (uint64_t) timeout_ms;

  for (;;) {
    socklen_t size = sizeof(r->from);
    uint64_t now = uv_hrtime() / 1000000;
    nt__dns_reader_t reader;
    ssize_t n;

    if (now >= end || poll(&poll_fd, 1, (int) (end - now)) != 1)
      return false;
    n = recvfrom(r->fd, bytes, sizeof(bytes), 0, (void*) &r->from, &size);
    assert_true(n >= 0);
    if (!nt__dns_reader_init(&reader, bytes, (size_t) n) ||
        (reader.flags & NT__DNS_RESPONSE) ||
        nt__dns_reader_next(&reader) != NT__DNS_ENTRY)
      continue;
    r->heard = reader.record;
    r->questions = reader.counts[0];
    return true;
  }
}

static inline void responder_expect(responder_t* r, uint16_t type,
                                    bool unicast) {
  if (!responder_hears(r, PATIENCE_MS))
    fail_msg("no question came");
  assert_int_equal(r->heard.type, type);
  assert_int_equal(r->heard.unicast, unicast);
}

static inline void responder_send(responder_t* r, const packet_t* p,
                                  const struct sockaddr_in* to) {
  assert_int_equal(
      sendto(r->fd, p->bytes, p->writer.size, 0, (const void*) to, sizeof(*to)),
      p->writer.size);
}

static inline void responder_say(responder_t* r, const packet_t* p) {
  struct sockaddr_in to = mdns_address("224.0.0.251", MDNS_PORT);

  responder_send(r, p, &to);
}

/* All that there is of a service, to the group. TTL 0: goodbye. */
static inline void responder_announce(responder_t* r, const char* instance,
                                      int port, const char* ip, uint32_t ttl) {
  packet_t p;

  packet_begin(&p);
  packet_service(&p, instance, "box.local", port, ip, ttl);
  responder_say(r, &p);
}

#endif
