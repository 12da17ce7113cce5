/* How long the I/O thread does not answer. The probe is a request that the
 * policy refuses: it crosses both queues and is dealt with on the I/O thread,
 * but touches no socket, so its round trip is two wake-ups and whatever the
 * loop was busy with. */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include <string.h>

#include "measure.h"
#include "nettask.h"

enum {
  PROBE_WAIT_MS = 5000
};

typedef struct probe {
  nt_context_t* ctx;
  nt_request_options_t refused; /* plain http, which the policy forbids */
  nt_id_t watched;              /* the request that the probe runs beside */
  int watched_ended;
  int watched_error;
} probe_t;

static inline void probe_open(probe_t* probe, const char* ca_file) {
  nt_policy_t policy;

  memset(probe, 0, sizeof(*probe));
  if (nt_open(&probe->ctx) != 0)
    die("open", "failed");
  nt_policy_init(&policy, NT_PRESET_OPEN);
  policy.flags |= NT_POLICY_REQUIRE_SECURE;
  policy.max_requests = 0;
  policy.ca_file = ca_file;
  if (nt_policy_set(probe->ctx, &policy) != 0)
    die("policy", "refused");
  nt_request_options_init(&probe->refused);
  probe->refused.url = "http://127.0.0.1:1/";
}

static inline nt_id_t probe_start(probe_t* probe,
                                  const nt_request_options_t* options) {
  nt_id_t id;
  int err = nt_request_open(probe->ctx, &id);

  if (err == 0)
    err = nt_request_start(probe->ctx, id, options);
  if (err)
    die("start", nt_error_message(err));
  return id;
}

static inline void probe_watch(probe_t* probe,
                               const nt_request_options_t* options) {
  probe->watched_ended = 0;
  probe->watched = probe_start(probe, options);
}

/* One round trip, in seconds. */
static inline double probe_once(probe_t* probe) {
  double start = now_seconds();
  nt_id_t id = probe_start(probe, &probe->refused);
  nt_event_t event;

  while (nt_wait(probe->ctx, PROBE_WAIT_MS)) {
    while (nt_poll(probe->ctx, &event)) {
      if (event.type != NT_EV_END)
        continue;
      if (event.id == id)
        return now_seconds() - start;
      if (event.id != probe->watched)
        continue;
      probe->watched_ended = 1;
      probe->watched_error = event.error;
    }
  }
  die("probe", "no answer for seconds");
}

/* The longest round trip until the watched request has ended or the time is
 * over. */
static inline double probe_worst(probe_t* probe, double seconds) {
  double end = now_seconds() + seconds;
  double worst = 0;

  do {
    double took = probe_once(probe);

    if (took > worst)
      worst = took;
  } while (!probe->watched_ended && now_seconds() < end);
  return worst;
}

#endif
