/* What the C clients of the rows of sockets share: their arguments, and when
 * what is measured begins and ends.
 *
 *   PROGRAM MODE HOST PORT PORT2 SIZE SECONDS */
#ifndef BENCH_NET_LOAD_H
#define BENCH_NET_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../measure.h"

enum {
  LOOK_EVERY = 64 /* operations between two looks at the clock */
};

typedef struct load {
  const char* mode;
  struct sockaddr_in peers[2];
  size_t size;
  double seconds;
  char* bytes;

  uint64_t done;
  uint64_t sent; /* with the warm-up */
  bool measuring;
  double began, began_cpu;
} load_t;

static inline void check(long result, const char* what) {
  if (result < 0)
    die(what, strerror(errno));
}

static inline void load_init(load_t* load, int argc, char** argv) {
  int i;

  if (argc != 7)
    die("usage", "MODE HOST PORT PORT2 SIZE SECONDS");
  memset(load, 0, sizeof(*load));
  load->mode = argv[1];
  for (i = 0; i < 2; i++) {
    load->peers[i].sin_family = AF_INET;
    load->peers[i].sin_port = htons((uint16_t) atoi(argv[3 + i]));
    inet_pton(AF_INET, argv[2], &load->peers[i].sin_addr);
  }
  load->size = (size_t) atol(argv[5]);
  load->seconds = atof(argv[6]);
  load->bytes = calloc(1, 65536 > load->size ? 65536 : load->size);
  if (load->bytes == NULL)
    die("memory", "none");
  load->began = now_seconds();
}

/* To be called now and then. After the warm-up it begins to count; false when
 * the time is over. */
static inline bool load_goes_on(load_t* load) {
  double now = now_seconds();

  if (!load->measuring && now - load->began >= WARM_UP_SECONDS) {
    load->measuring = true;
    load->done = 0;
    load->began = now;
    load->began_cpu = cpu_seconds();
  }
  return !load->measuring || now - load->began < load->seconds;
}

static inline void load_report(const load_t* load) {
  printf("{\"ops\":%llu,\"seconds\":%.6f,\"cpu\":%.6f,\"sent\":%llu}\n",
         (unsigned long long) load->done, now_seconds() - load->began,
         cpu_seconds() - load->began_cpu, (unsigned long long) load->sent);
}

#endif
