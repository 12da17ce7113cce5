/* UDP as plain as it gets. Its arguments are those of load.h; MODE is
 *   one    a sendto() for each datagram
 *   turn   the same to two peers in turn
 *   burst  64 of them in a sendmsg() with UDP_SEGMENT
 *   in     recvmmsg() of what a source floods it with */
#include "load.h"

#include <netinet/udp.h>

enum {
  BATCH = 64,
  ROOM = 2048,
  RECEIVE_BUFFER = 4 * 1024 * 1024
};

static void send_one(load_t* load, int fd, int peer) {
  ssize_t n = sendto(fd, load->bytes, load->size, 0,
                     (const struct sockaddr*) &load->peers[peer],
                     sizeof(load->peers[peer]));

  check(n, "sendto");
  load->done++;
  load->sent++;
}

static void send_burst(load_t* load, int fd) {
  union {
    char bytes[CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr align;
  } control = { { 0 } };
  struct iovec piece = { load->bytes, BATCH * load->size };
  struct msghdr message = { .msg_name = &load->peers[0],
                            .msg_namelen = sizeof(load->peers[0]),
                            .msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes) };
  struct cmsghdr* segment = CMSG_FIRSTHDR(&message);
  uint16_t size = (uint16_t) load->size;

  segment->cmsg_level = SOL_UDP;
  segment->cmsg_type = UDP_SEGMENT;
  segment->cmsg_len = CMSG_LEN(sizeof(size));
  memcpy(CMSG_DATA(segment), &size, sizeof(size));
  check(sendmsg(fd, &message, 0), "sendmsg");
  load->done += BATCH;
  load->sent += BATCH;
}

static void send_out(load_t* load, int fd) {
  bool burst = strcmp(load->mode, "burst") == 0;
  bool turn = strcmp(load->mode, "turn") == 0;
  int i;

  while (load_goes_on(load)) {
    if (burst) {
      send_burst(load, fd);
      continue;
    }
    for (i = 0; i < LOOK_EVERY; i++)
      send_one(load, fd, turn ? i % 2 : 0);
  }
}

static void take_in(load_t* load, int fd) {
  static char buffer[BATCH * ROOM];
  static struct mmsghdr messages[BATCH];
  static struct iovec pieces[BATCH];
  double asked = 0;
  int i, n, size = RECEIVE_BUFFER;

  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  for (i = 0; i < BATCH; i++) {
    pieces[i] = (struct iovec){ buffer + (size_t) i * ROOM, ROOM };
    messages[i].msg_hdr =
        (struct msghdr){ .msg_iov = &pieces[i], .msg_iovlen = 1 };
  }
  while (load_goes_on(load)) {
    if (now_seconds() - asked > 0.05) {
      asked = now_seconds();
      check(sendto(fd, "go", 2, 0, (const struct sockaddr*) &load->peers[0],
                   sizeof(load->peers[0])),
            "sendto");
    }
    n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    check(n, "recvmmsg");
    load->done += (uint64_t) n;
    load->sent += (uint64_t) n;
  }
}

int main(int argc, char** argv) {
  load_t load;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);

  check(fd, "socket");
  load_init(&load, argc, argv);
  if (load.size * BATCH > 65536)
    die("size", "too large");
  if (strcmp(load.mode, "in") == 0)
    take_in(&load, fd);
  else
    send_out(&load, fd);
  load_report(&load);
  return 0;
}
