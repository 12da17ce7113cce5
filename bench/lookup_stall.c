/* Stalls of the core's loop while a name lookup hangs, is cancelled and times
 * out, and how long an abort and the end of the context take meanwhile. To be
 * run where the resolver never answers: see netns.py.
 *
 *   lookup_stall SECONDS */
#include "probe.h"

enum {
  SETTLE_MS = 400, /* a context may prepare itself in its first moments */
  DNS_TIMEOUT_MS = 300,
  AFTER_MS = 500 /* a joined thread would show within this time or never */
};

static nt_request_options_t stuck;

/* What the machine alone does to the probe. */
static double quiet(probe_t* probe, double seconds) {
  probe_worst(probe, SETTLE_MS / 1000.0);
  return probe_worst(probe, seconds);
}

static double hang(probe_t* probe, double seconds) {
  double worst;

  probe_watch(probe, &stuck);
  worst = probe_worst(probe, seconds);
  if (probe->watched_ended)
    die("lookup", "it did not hang: run this beside a silent resolver");
  return worst;
}

/* Abort to last event. The probe's events pass by. */
static double abort_watched(probe_t* probe) {
  double start = now_seconds();

  nt_abort(probe->ctx, probe->watched);
  while (!probe->watched_ended)
    probe_once(probe);
  if (probe->watched_error != NT_E_ABORTED)
    die("abort", nt_error_message(probe->watched_error));
  return now_seconds() - start;
}

static double time_out(probe_t* probe) {
  double worst, after;

  stuck.timeouts.dns = DNS_TIMEOUT_MS;
  probe_watch(probe, &stuck);
  worst = probe_worst(probe, PROBE_WAIT_MS / 1000.0);
  if (!probe->watched_ended || probe->watched_error != NT_E_TIMEOUT)
    die("lookup", "it did not time out");
  probe->watched_ended = 0;
  after = probe_worst(probe, AFTER_MS / 1000.0);
  stuck.timeouts.dns = 0;
  return worst > after ? worst : after;
}

static double close_context(probe_t* probe) {
  double start = now_seconds();

  nt_close(probe->ctx, PROBE_WAIT_MS);
  return now_seconds() - start;
}

int main(int argc, char** argv) {
  probe_t probe;
  double control, hanging, cancelled, timed_out, abort_took, close_took;

  if (argc != 2)
    die("usage", "lookup_stall SECONDS");
  probe_open(&probe, NULL);
  nt_request_options_init(&stuck);
  stuck.url = "https://stuck.example/";
  control = quiet(&probe, atof(argv[1]));
  hanging = hang(&probe, atof(argv[1]));
  abort_took = abort_watched(&probe);
  probe.watched_ended = 0;
  cancelled = probe_worst(&probe, AFTER_MS / 1000.0);
  timed_out = time_out(&probe);
  hang(&probe, AFTER_MS / 1000.0);
  close_took = close_context(&probe);
  printf("{\"hanging_ms\":%.4f,\"cancelled_ms\":%.4f,\"timed_out_ms\":%.4f,",
         hanging * 1e3, cancelled * 1e3, timed_out * 1e3);
  printf("\"abort_ms\":%.4f,\"close_ms\":%.4f,\"control_ms\":%.4f}\n",
         abort_took * 1e3, close_took * 1e3, control * 1e3);
  return 0;
}
