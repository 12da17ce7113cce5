/* GET the same URL over and over, a fixed number in flight: the core's part of
 * the throughput rows.
 *
 *   core_get URL IN_FLIGHT SECONDS [h2|cache|plain] [CA_FILE|""] [BYTES]
 *
 * Each frame waits for events, takes all that have arrived and starts as many
 * requests anew, as a host would. Prints one line of JSON with what happened
 * after the warm-up. Any failed or short answer ends the program with 1, so a
 * figure can never come from errors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "nettask.h"

enum {
  BODY_SIZE = 1024,
  WAIT_MS = 5000
};

typedef struct bench {
  nt_context_t* ctx;
  nt_request_options_t options;
  size_t size; /* of the body */
  uint64_t done;
} bench_t;

static void start(bench_t* bench) {
  nt_id_t id;
  int err = nt_request_open(bench->ctx, &id);

  if (err == 0)
    err = nt_request_start(bench->ctx, id, &bench->options);
  if (err)
    die("start", nt_error_message(err));
}

static void on_event(bench_t* bench, const nt_event_t* event) {
  if (event->type != NT_EV_END)
    return;
  if (event->error)
    die("request", event->message);
  if (event->status != 200 || event->size != bench->size)
    die("request", "unexpected answer");
  bench->done++;
  start(bench);
}

static void frame(bench_t* bench) {
  nt_event_t event;
  size_t left;

  if (!nt_wait(bench->ctx, WAIT_MS))
    die("wait", "no answer for seconds");
  nt_cork(bench->ctx);
  for (left = nt_collect(bench->ctx); left > 0; left--)
    if (nt_poll(bench->ctx, &event))
      on_event(bench, &event);
  nt_uncork(bench->ctx);
}

static void run_for(bench_t* bench, double seconds) {
  double end = now_seconds() + seconds;

  do
    frame(bench);
  while (now_seconds() < end);
}

static void set_policy(bench_t* bench, const char* ca_file) {
  nt_policy_t policy;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  policy.max_requests = 0;
  policy.ca_file = *ca_file != '\0' ? ca_file : NULL;
  if (nt_policy_set(bench->ctx, &policy) != 0)
    die("policy", "refused");
}

static void measure(bench_t* bench, double seconds) {
  double start_time, start_cpu;

  run_for(bench, WARM_UP_SECONDS);
  bench->done = 0;
  start_time = now_seconds();
  start_cpu = cpu_seconds();
  run_for(bench, seconds);
  report(bench->done, now_seconds() - start_time, cpu_seconds() - start_cpu);
}

static void set_options(bench_t* bench, const char* url, const char* way) {
  nt_request_options_init(&bench->options);
  bench->options.url = url;
  if (strcmp(way, "h2") == 0)
    bench->options.http = NT_HTTP_2;
  if (strcmp(way, "cache") == 0)
    bench->options.cache = NT_CACHE_DEFAULT;
}

int main(int argc, char** argv) {
  bench_t bench;
  int in_flight, i;

  if (argc < 4)
    die("usage",
        "core_get URL IN_FLIGHT SECONDS [h2|cache|plain] [CA_FILE] [BYTES]");
  memset(&bench, 0, sizeof(bench));
  if (nt_open(&bench.ctx) != 0)
    die("open", "failed");
  set_policy(&bench, argc > 5 ? argv[5] : "");
  set_options(&bench, argv[1], argc > 4 ? argv[4] : "plain");
  bench.size = argc > 6 ? (size_t) atol(argv[6]) : BODY_SIZE;
  in_flight = atoi(argv[2]);
  nt_cork(bench.ctx);
  for (i = 0; i < in_flight; i++)
    start(&bench);
  nt_uncork(bench.ctx);
  measure(&bench, atof(argv[3]));
  nt_close(bench.ctx, 1000);
  return 0;
}
