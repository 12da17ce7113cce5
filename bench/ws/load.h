/* What the C clients of the WebSocket rows share: their arguments, and when
 * what is measured begins and ends.
 *
 *   PROGRAM HOST PORT text|binary SIZE IN_FLIGHT SECONDS [CA_FILE]
 *
 * A client keeps IN_FLIGHT messages under way on one connection: each that
 * comes back sends another. */
#ifndef BENCH_WS_LOAD_H
#define BENCH_WS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../measure.h"

typedef struct load {
  const char* host;
  int port;
  bool binary;
  size_t size;
  size_t in_flight;
  double seconds;
  const char* ca_file; /* NULL: ws */
  char* message;

  uint64_t done;
  bool measuring;
  double began, began_cpu;
} load_t;

static inline void load_init(load_t* load, int argc, char** argv) {
  if (argc < 7)
    die("usage", "HOST PORT text|binary SIZE IN_FLIGHT SECONDS [CA_FILE]");
  memset(load, 0, sizeof(*load));
  load->host = argv[1];
  load->port = atoi(argv[2]);
  load->binary = strcmp(argv[3], "binary") == 0;
  load->size = (size_t) atol(argv[4]);
  load->in_flight = (size_t) atol(argv[5]);
  load->seconds = atof(argv[6]);
  load->ca_file = argc > 7 ? argv[7] : NULL;
  load->message = malloc(load->size);
  if (load->message == NULL)
    die("memory", "none");
  memset(load->message, 'a', load->size);
  load->began = now_seconds();
}

/* To be called now and then. After the warm-up it begins to count; when the
 * time is over it prints the result and returns false. */
static inline bool load_goes_on(load_t* load) {
  double now = now_seconds();

  if (!load->measuring && now - load->began >= WARM_UP_SECONDS) {
    load->measuring = true;
    load->done = 0;
    load->began = now;
    load->began_cpu = cpu_seconds();
  } else if (load->measuring && now - load->began >= load->seconds) {
    report(load->done, now - load->began, cpu_seconds() - load->began_cpu);
    return false;
  }
  return true;
}

#endif
