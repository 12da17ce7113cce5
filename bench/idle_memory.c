/* Memory of an idle keep-alive connection.
 *
 *   idle_memory URL CLOSING_URL COUNT
 *
 * COUNT requests at once, on as many connections. First to a URL whose server
 * closes, so that everything but the connections has its size: handles that
 * wait for the next request, tables, pools. Then to one that keeps them, and
 * the difference belongs to the connections. */
#include <string.h>
#include <unistd.h>

#include "measure.h"
#include "nettask.h"
#include "usage.h"

enum {
  WAIT_MS = 5000
};

static void start_all(nt_context_t* ctx, const char* url, int count) {
  nt_request_options_t options;
  nt_id_t id;
  int i;

  nt_request_options_init(&options);
  options.url = url;
  options.flags = NT_REQUEST_PROFILE;
  nt_cork(ctx);
  for (i = 0; i < count; i++)
    if (nt_request_open(ctx, &id) != 0 ||
        nt_request_start(ctx, id, &options) != 0)
      die("start", "failed");
  nt_uncork(ctx);
}

/* Returns how many connections were made. */
static int end_all(nt_context_t* ctx, int count) {
  nt_event_t event;
  int made = 0;

  while (count > 0) {
    if (!nt_wait(ctx, WAIT_MS))
      die("wait", "no answer");
    while (nt_poll(ctx, &event)) {
      if (event.type != NT_EV_END)
        continue;
      if (event.error)
        die("request", event.message);
      made += !event.profile->reused;
      count--;
    }
  }
  return made;
}

int main(int argc, char** argv) {
  nt_context_t* ctx;
  nt_policy_t policy;
  usage_t before, after;
  int count, made;

  if (argc != 4 || nt_open(&ctx) != 0)
    die("usage", "idle_memory URL CLOSING_URL COUNT");
  nt_policy_init(&policy, NT_PRESET_OPEN);
  policy.max_requests = 0;
  nt_policy_set(ctx, &policy);
  count = atoi(argv[3]);
  start_all(ctx, argv[2], count);
  end_all(ctx, count);
  usleep(200000); /* the last connections are closed on the other thread */
  before = usage();
  start_all(ctx, argv[1], count);
  made = end_all(ctx, count);
  usleep(200000);
  after = usage();
  if (made == 0)
    die("connections", "none were made");
  printf("{\"connections\":%d,\"heap_kb\":%.3f,\"resident_kb\":%.3f}\n", made,
         (after.heap - before.heap) / made / 1024,
         (after.resident - before.resident) / made / 1024);
  nt_close(ctx, 1000);
  return 0;
}
