/* TCP as plain as it gets. Its arguments are those of load.h; MODE is
 *   ping   SIZE bytes there and back on a blocking socket, one at a time;
 *          prints the median in microseconds
 *   in     receives as fast as it can, with epoll
 *   out    sends as fast as it can, with epoll */
#include "load.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

enum {
  PIECE = 256 * 1024,
  SAMPLES_MAX = 1 << 20
};

static int dial(const load_t* load) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

  check(fd, "socket");
  check(connect(fd, (const struct sockaddr*) &load->peers[0],
                sizeof(load->peers[0])),
        "connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  return fd;
}

static void read_all(int fd, char* bytes, size_t size) {
  size_t at = 0;

  while (at < size) {
    ssize_t n = read(fd, bytes + at, size - at);

    if (n <= 0)
      die("read", "closed");
    at += (size_t) n;
  }
}

static void ping(load_t* load, int fd) {
  static double samples[SAMPLES_MAX];
  size_t count = 0;

  while (load_goes_on(load)) {
    double began = now_seconds();

    check(write(fd, load->bytes, load->size), "write");
    read_all(fd, load->bytes, load->size);
    if (load->measuring && count < SAMPLES_MAX)
      samples[count++] = now_seconds() - began;
  }
  printf("{\"p50_us\":%.3f,\"p99_us\":%.3f,\"count\":%zu,\"cpu_us\":%.3f}\n",
         quantile(samples, count, 0.5) * 1e6,
         quantile(samples, count, 0.99) * 1e6, count,
         (cpu_seconds() - load->began_cpu) / (double) count * 1e6);
}

static void stream(load_t* load, int fd, bool out) {
  static char piece[PIECE];
  struct epoll_event event = { .events = out ? EPOLLOUT : EPOLLIN };
  int poller = epoll_create1(0);

  check(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
  check(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  while (load_goes_on(load)) {
    ssize_t n;

    check(epoll_wait(poller, &event, 1, 5000), "epoll_wait");
    n = out ? write(fd, piece, load->size) : read(fd, piece, load->size);
    if (n == 0 || (n < 0 && errno != EAGAIN))
      die("stream", "closed");
    if (n > 0)
      load->done += (uint64_t) n;
  }
  load_report(load);
}

int main(int argc, char** argv) {
  load_t load;
  int fd;

  load_init(&load, argc, argv);
  if (load.size > PIECE)
    die("size", "too large");
  fd = dial(&load);
  if (strcmp(load.mode, "ping") == 0)
    ping(&load, fd);
  else
    stream(&load, fd, strcmp(load.mode, "out") == 0);
  return 0;
}
