/* Messages to and fro on one WebSocket, a fixed number under way: the core's
 * part of the WebSocket rows. Its arguments are those of ws/load.h.
 *
 * Each frame waits for events, takes all that have arrived and sends as many
 * messages anew, as a host would. An end, or an echo that is not what was sent,
 * ends the program with 1. */
#include "nettask.h"
#include "ws/load.h"

enum {
  WAIT_MS = 5000,
  URL_MAX = 128
};

typedef struct bench {
  load_t load;
  nt_context_t* ctx;
  nt_id_t id;
} bench_t;

static void send_message(bench_t* bench) {
  const load_t* load = &bench->load;
  int err = nt_websocket_send(
      bench->ctx, bench->id, load->binary ? NT_MESSAGE_BINARY : NT_MESSAGE_TEXT,
      load->message, load->size);

  if (err)
    die("send", nt_error_message(err));
}

static void on_event(bench_t* bench, const nt_event_t* event) {
  size_t i;

  switch (event->type) {
    case NT_EV_OPEN:
      for (i = 0; i < bench->load.in_flight; i++)
        send_message(bench);
      break;
    case NT_EV_MESSAGE:
      if (event->size != bench->load.size ||
          !event->binary != !bench->load.binary)
        die("echo", "not what was sent");
      bench->load.done++;
      send_message(bench);
      break;
    case NT_EV_END:
      die("connection", event->error ? event->message : "closed");
    default:
      break;
  }
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

static void start(bench_t* bench) {
  nt_websocket_options_t options;
  nt_policy_t policy;
  char url[URL_MAX];
  int err;

  nt_policy_init(&policy, NT_PRESET_OPEN);
  policy.ca_file = bench->load.ca_file;
  if (nt_policy_set(bench->ctx, &policy) != 0)
    die("policy", "refused");
  snprintf(url, sizeof(url), "%s://%s:%d/", policy.ca_file ? "wss" : "ws",
           bench->load.host, bench->load.port);
  nt_websocket_options_init(&options);
  options.url = url;
  options.flags = NT_WEBSOCKET_NO_DELAY;
  err = nt_websocket_open(bench->ctx, &bench->id);
  if (err == 0)
    err = nt_websocket_start(bench->ctx, bench->id, &options);
  if (err)
    die("start", nt_error_message(err));
}

int main(int argc, char** argv) {
  bench_t bench;

  load_init(&bench.load, argc, argv);
  if (nt_open(&bench.ctx) != 0)
    die("open", "failed");
  start(&bench);
  do
    frame(&bench);
  while (load_goes_on(&bench.load));
  nt_close(bench.ctx, 1000);
  return 0;
}
