/* c_host URL...
 *
 * A host without Lua: a loop of 60 frames a second, as a game has one, that
 * fetches the URLs and prints status, bytes and milliseconds of each as it
 * comes in. All of it runs on one thread of ours; nettask.h is the only header
 * of the library. The exit status is 1 if a request failed. */
#include <nettask.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_SECOND 1000000000LL
#define FRAME_NS (NS_PER_SECOND / 60)

typedef struct fetch {
  const char* url;
  nt_id_t id;
  long long started; /* ns */
} fetch_t;

static long long now_ns(void) {
  struct timespec now;

  timespec_get(&now, TIME_UTC);
  return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static int start(nt_context_t* net, fetch_t* fetch) {
  nt_request_options_t options;
  int err;

  nt_request_options_init(&options);
  options.url = fetch->url;
  options.http = NT_HTTP_2;
  fetch->started = now_ns();
  err = nt_request_open(net, &fetch->id);
  if (err)
    return err;
  err = nt_request_start(net, fetch->id, &options);
  if (err) /* this way, too, it ends with an event like all others */
    nt_fail(net, fetch->id, err, NULL);
  return 0;
}

static int report(const nt_event_t* ev, const fetch_t* fetch) {
  double ms = (double) (now_ns() - fetch->started) / 1e6;

  if (ev->error)
    printf("%-16s %12s %6.0f ms  %s\n", nt_error_name(ev->error), "", ms,
           fetch->url);
  else
    printf("%-16d %10zu B %6.0f ms  %s\n", ev->status, ev->size, ms,
           fetch->url);
  return ev->error != 0;
}

/* What arrived since the last frame, and no more: a frame has an end. */
static int deliver(nt_context_t* net, const fetch_t* fetches, int* left) {
  nt_event_t ev;
  int failed = 0;

  nt_collect(net);
  while (nt_waiting(net) > 0 && nt_poll(net, &ev)) {
    if (ev.type != NT_EV_END)
      continue;
    for (int i = 0; fetches[i].url != NULL; i++)
      if (fetches[i].id == ev.id)
        failed |= report(&ev, &fetches[i]);
    --*left;
  }
  return failed;
}

/* Where a game draws and waits for the display. */
static void draw(void) {
  long long left = FRAME_NS - now_ns() % FRAME_NS;

  nanosleep(&(struct timespec){ .tv_nsec = (long) left }, NULL);
}

int main(int argc, char** argv) {
  fetch_t* fetches = calloc((size_t) argc, sizeof(*fetches));
  nt_context_t* net = NULL;
  int err = fetches == NULL ? NT_E_NOMEM : nt_open(&net);
  int left = 0, failed = 0;

  while (err == 0 && left < argc - 1) {
    fetches[left].url = argv[left + 1];
    err = start(net, &fetches[left++]);
  }
  for (; err == 0 && left > 0; draw())
    failed |= deliver(net, fetches, &left);
  if (err)
    fprintf(stderr, "c_host: %s\n", nt_error_message(err));
  nt_close(net, 500);
  free(fetches);
  return err || failed;
}
