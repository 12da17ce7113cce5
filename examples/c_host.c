/* c_host [--only HOST]... URL...
 *
 * A host without Lua: a loop of 60 frames a second, as a game has one, that
 * fetches the URLs and prints status, bytes and milliseconds of each as it
 * comes in. All of it runs on one thread of ours; nettask.h is the only header
 * of the library. The exit status is 1 if a request failed.
 *
 * With --only the policy is the strict one: https, to these hosts ("*.name" for
 * all below that name), wherever redirects and name servers lead; a line
 * tells what was refused. A host that runs scripts sets it in the same way,
 * with nettask_configure() and nettask_seal(): see docs/security.md. */
#include <nettask.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* The hosts after --only, and what is allowed then. Moves `args` behind them.
 */
static int restrict_to(nt_context_t* net, char*** args) {
  const char** hosts = (const char**) *args; /* the words that we have read */
  nt_policy_t policy;
  char why[256];
  size_t count = 0;
  int err;

  while ((*args)[0] != NULL && (*args)[1] != NULL &&
         strcmp((*args)[0], "--only") == 0) {
    hosts[count++] = (*args)[1];
    *args += 2;
  }
  if (count == 0)
    return 0;
  nt_policy_init(&policy, NT_PRESET_STRICT);
  policy.domains[NT_ACCESS_REQUEST].items = hosts;
  policy.domains[NT_ACCESS_REQUEST].count = count;
  err = nt_policy_check(&policy, why, sizeof(why));
  if (err)
    fprintf(stderr, "c_host: %s\n", why);
  return err ? err : nt_policy_set(net, &policy);
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
    if (ev.type == NT_EV_REFUSED)
      printf("refused: %s: %s\n", ev.message, nt_error_message(ev.error));
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
  char** args = argv + 1;
  int left = 0, failed = 0;

  if (err == 0)
    err = restrict_to(net, &args);
  for (; err == 0 && *args != NULL; args++) {
    fetches[left].url = *args;
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
