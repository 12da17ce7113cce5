/* What idle WebSockets cost: memory each, and CPU of all together.
 *
 *   idle_sockets HOST PORT COUNT SECONDS [CA_FILE]
 *
 * One socket is opened and closed first, so that what belongs to the context
 * has been made. Then COUNT are opened, a few at a time, and left alone for
 * SECONDS; after that each has to echo a message, for one that was lost would
 * cost nothing. The difference holds all that is there for a socket: tables,
 * handles, what libcurl keeps; what the kernel keeps is not counted. */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "measure.h"
#include "nettask.h"
#include "usage.h"

enum {
  WAIT_MS = 20000,
  AT_ONCE = 128, /* sockets that are being opened */
  SETTLE_US = 200000,
  URL_MAX = 128
};

typedef struct bench {
  nt_context_t* ctx;
  nt_websocket_options_t options;
  nt_id_t* ids;
  int started, opened, echoed, ended;
} bench_t;

static void raise_limit(void) {
  struct rlimit limit;

  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static void start(bench_t* bench) {
  nt_id_t* id = &bench->ids[bench->started];
  int err = nt_websocket_open(bench->ctx, id);

  if (err == 0)
    err = nt_websocket_start(bench->ctx, *id, &bench->options);
  if (err)
    die("start", nt_error_message(err));
  bench->started++;
}

static void take_events(bench_t* bench) {
  nt_event_t event;

  if (!nt_wait(bench->ctx, WAIT_MS))
    die("wait", "no answer for seconds");
  while (nt_poll(bench->ctx, &event)) {
    bench->opened += event.type == NT_EV_OPEN;
    bench->echoed += event.type == NT_EV_MESSAGE;
    bench->ended += event.type == NT_EV_END;
    if (event.type == NT_EV_END && event.error)
      die("connection", event.message);
  }
}

static void open_all(bench_t* bench, int count) {
  bench->started = bench->opened = bench->ended = 0;
  while (bench->opened < count) {
    while (bench->started < count && bench->started - bench->opened < AT_ONCE)
      start(bench);
    take_events(bench);
    if (bench->ended > 0)
      die("connection", "closed");
  }
}

static void close_all(bench_t* bench, int count) {
  int i;

  for (i = 0; i < count; i++)
    if (nt_websocket_close(bench->ctx, bench->ids[i], 1000, "") != 0)
      die("close", "refused");
  while (bench->ended < count)
    take_events(bench);
}

static void echo_all(bench_t* bench, int count) {
  int i;

  for (i = 0; i < count; i++)
    if (nt_websocket_send(bench->ctx, bench->ids[i], NT_MESSAGE_TEXT, "x", 1))
      die("send", "refused");
  while (bench->echoed < count)
    take_events(bench);
}

/* CPU seconds of all threads while the host waits for nothing. */
static double idle_cpu(bench_t* bench, double seconds) {
  double cpu = cpu_seconds();

  if (nt_wait(bench->ctx, (int) (seconds * 1000)))
    die("idle", "something happened");
  return cpu_seconds() - cpu;
}

static void configure(bench_t* bench, int argc, char** argv) {
  static char url[URL_MAX];
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  policy.max_sockets = 0;
  policy.ca_file = argc > 5 ? argv[5] : NULL;
  if (nt_policy_set(bench->ctx, &policy) != 0)
    die("policy", "refused");
  snprintf(url, sizeof(url), "%s://%s:%s/", argc > 5 ? "wss" : "ws", argv[1],
           argv[2]);
  nt_websocket_options_init(&bench->options);
  bench->options.url = url;
}

static void measure(bench_t* bench, int count, double seconds) {
  usage_t before, after;
  double began, took, cpu;

  open_all(bench, 1);
  close_all(bench, 1);
  usleep(SETTLE_US); /* the other thread lets go of it */
  before = usage();
  began = now_seconds();
  open_all(bench, count);
  took = now_seconds() - began;
  usleep(SETTLE_US);
  after = usage();
  cpu = idle_cpu(bench, seconds);
  echo_all(bench, count);
  printf(
      "{\"connections\":%d,\"heap_kb\":%.3f,\"resident_kb\":%.3f,"
      "\"open_seconds\":%.3f,\"idle_cpu_percent\":%.4f}\n",
      count, (after.heap - before.heap) / count / 1024,
      (after.resident - before.resident) / count / 1024, took,
      cpu / seconds * 100);
}

int main(int argc, char** argv) {
  bench_t bench;
  int count;

  if (argc < 5)
    die("usage", "idle_sockets HOST PORT COUNT SECONDS [CA_FILE]");
  memset(&bench, 0, sizeof(bench));
  raise_limit();
  count = atoi(argv[3]);
  bench.ids = calloc((size_t) count, sizeof(*bench.ids));
  if (bench.ids == NULL || nt_open(&bench.ctx) != 0)
    die("open", "failed");
  configure(&bench, argc, argv);
  measure(&bench, count, atof(argv[4]));
  nt_close(bench.ctx, 5000);
  free(bench.ids);
  return 0;
}
