/* The longest stall of the core's loop that a new TLS connection causes.
 *
 *   tls_stall URL CA_FILE SECONDS
 *
 * The server closes after each answer, so each request connects. Stalls are
 * seen by the probe, which adds two wake-ups: an upper bound. One sample a
 * connection; the first is reported apart. */
#include "probe.h"

enum {
  MAX_SAMPLES = 10000,
  SETTLE_MS = 400 /* a context may prepare itself in its first moments */
};

static double connect_once(probe_t* probe, const nt_request_options_t* get) {
  double worst;

  probe_watch(probe, get);
  worst = probe_worst(probe, PROBE_WAIT_MS / 1000.0);
  if (!probe->watched_ended)
    die("request", "no end");
  if (probe->watched_error)
    die("request", nt_error_message(probe->watched_error));
  return worst;
}

static size_t connect_for(probe_t* probe, const nt_request_options_t* get,
                          double seconds, double* samples) {
  double end = now_seconds() + seconds;
  size_t count = 0;

  while (count < MAX_SAMPLES && now_seconds() < end)
    samples[count++] = connect_once(probe, get);
  return count;
}

int main(int argc, char** argv) {
  static double samples[MAX_SAMPLES];
  nt_request_options_t get;
  probe_t probe;
  double settling, first;
  size_t count;

  if (argc != 4)
    die("usage", "tls_stall URL CA_FILE SECONDS");
  probe_open(&probe, argv[2]);
  nt_request_options_init(&get);
  get.url = argv[1];
  settling = probe_worst(&probe, SETTLE_MS / 1000.0);
  first = connect_once(&probe, &get);
  count = connect_for(&probe, &get, atof(argv[3]), samples);
  printf("{\"settling_ms\":%.4f,\"first_ms\":%.4f,\"median_ms\":%.4f,",
         settling * 1e3, first * 1e3, quantile(samples, count, 0.5) * 1e3);
  printf("\"p90_ms\":%.4f,\"max_ms\":%.4f,\"connections\":%zu}\n",
         quantile(samples, count, 0.9) * 1e3, quantile(samples, count, 1) * 1e3,
         count);
  nt_close(probe.ctx, 1000);
  return 0;
}
