/* Scans for local services, as the host sees them.
 *
 * On the I/O thread a scan is its sockets (mdns_link.c) and what it knows
 * (mdns_service.c). A message that comes in, a timer or a host that listens
 * again only put it in the list of those that have something to do; the turn
 * lets expire what has, tells, asks, and sets the timer. The first question
 * goes out at once: a person has asked for it, so that no two machines do it at
 * the same moment, which is what RFC 6762 5.2 would have a delay for. */
#include "mdns.h"

#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "mdns_link.h"
#include "mdns_service.h"

enum {
  LOOK_MS = 1000 /* for interfaces that have come or gone */
};

typedef struct scan {
  nt__task_t task;
  char type[NT__MDNS_TYPE_SIZE]; /* as results name it */
  nt__mdns_families_t families;

  /* Host thread. */
  nt__command_t* stop; /* reserved; NULL: it was given */

  /* I/O thread. */
  nt__mdns_cache_t cache;
  nt__mdns_links_t* links;
  nt__timer_t timer;
  nt__node_t active;
  uint64_t ends_at, looks_at;
  bool ended;
} scan_t;

static scan_t* of_task(const nt__task_t* task) {
  return nt__container_of(task, scan_t, task);
}

static void activate(scan_t* scan) {
  if (!nt__node_linked(&scan->active))
    nt__list_append(&scan->task.ctx->io.scans, &scan->active);
}

/* ---- Events -------------------------------------------------------------- */

/* What is told of a service. */
typedef struct news {
  const nt__mdns_service_t* service;
  char name[NT__DNS_LABEL_MAX + 1];
  char host[NT__DNS_TEXT_SIZE];
  nt__sockaddr_t addresses[NT__MDNS_ADDRESSES];
  size_t ip_count, txt_count;
} news_t;

static bool is_key(const nt__dns_pair_t* pair) {
  size_t i;

  for (i = 0; i < pair->key_size; i++)
    if (pair->key[i] < 0x20 || pair->key[i] > 0x7e)
      return false;
  return true;
}

static bool next_pair(nt__dns_txt_t* txt, nt__dns_pair_t* pair) {
  bool more;

  do {
    more = nt__dns_txt_next(txt, pair);
  } while (more && !is_key(pair));
  return more;
}

static void gather(news_t* news, const nt__mdns_service_t* service,
                   nt__mdns_told_t what) {
  nt__dns_txt_t txt;
  nt__dns_pair_t pair;

  news->service = service;
  nt__dns_name_label(&service->name, news->name);
  news->host[0] = '\0';
  news->ip_count = news->txt_count = 0;
  if (what != NT__MDNS_FOUND)
    return;
  nt__dns_name_write(&service->host->name, news->host);
  news->ip_count = nt__mdns_addresses(service, news->addresses);
  nt__dns_txt_init(&txt, service->txt_data, service->txt_size);
  while (next_pair(&txt, &pair))
    news->txt_count++;
}

static const char* pack_bytes(char** cursor, const void* bytes, size_t size) {
  const char* place = nt__pack(cursor, bytes, size);

  *(*cursor)++ = '\0';
  return place;
}

static const char* pack_text(char** cursor, const char* text) {
  return pack_bytes(cursor, text, strlen(text));
}

static void pack_pairs(nt_txt_t* out, char** cursor,
                       const nt__mdns_service_t* service) {
  nt__dns_txt_t txt;
  nt__dns_pair_t pair;

  nt__dns_txt_init(&txt, service->txt_data, service->txt_size);
  for (; next_pair(&txt, &pair); out++) {
    out->key = pack_bytes(cursor, pair.key, pair.key_size);
    out->size = pair.value_size;
    if (pair.has_value)
      out->value = pack_bytes(cursor, pair.value, pair.value_size);
  }
}

static void pack_addresses(const char** out, char** cursor,
                           const news_t* news) {
  size_t i;

  for (i = 0; i < news->ip_count; i++) {
    nt__address_write(&news->addresses[i], *cursor);
    out[i] = *cursor;
    *cursor += strlen(*cursor) + 1;
  }
}

/* The lists first, for their alignment. */
static char* pack_news(char* cursor, const news_t* news, const char* type) {
  nt_service_t* service = (void*) cursor;
  nt_txt_t* txt = (void*) (service + 1);
  const char** ips = (void*) (txt + news->txt_count);

  cursor = (char*) (ips + news->ip_count);
  service->name = pack_text(&cursor, news->name);
  service->type = pack_text(&cursor, type);
  service->host = pack_text(&cursor, news->host);
  if (news->ip_count == 0)
    return cursor;
  service->port = news->service->port;
  service->ips = ips;
  service->ip_count = news->ip_count;
  pack_addresses(ips, &cursor, news);
  service->txt = txt;
  service->txt_count = news->txt_count;
  if (news->txt_count > 0)
    pack_pairs(txt, &cursor, news->service);
  return cursor;
}

/* A TXT string is as long as its key, its value and the NULs behind them. */
static size_t room_for(const news_t* news, const char* type) {
  return sizeof(nt_service_t) + news->txt_count * sizeof(nt_txt_t) +
         news->ip_count * (sizeof(char*) + NT__IP_SIZE) + strlen(news->name) +
         strlen(news->host) + strlen(type) + 3 + news->service->txt_size;
}

static nt_event_type_t event_of(nt__mdns_told_t what) {
  switch (what) {
    case NT__MDNS_FOUND:
      return NT_EV_FOUND;
    case NT__MDNS_LOST:
      return NT_EV_SERVICE_LOST;
    default:
      return NT_EV_RESOLVE_FAIL;
  }
}

static nt__mdns_telling_t tell(void* owner, const nt__mdns_service_t* service,
                               nt__mdns_told_t what) {
  scan_t* scan = owner;
  nt__parcel_t* parcel;
  news_t news;
  char* end;

  if (nt__is_over_mark(scan->task.ctx, &scan->task)) {
    nt__task_hold(&scan->task);
    return NT__MDNS_HELD;
  }
  gather(&news, service, what);
  parcel =
      nt__parcel_new(&scan->task, event_of(what), room_for(&news, scan->type));
  if (parcel == NULL)
    return NT__MDNS_AGAIN;
  end = pack_news(parcel->bytes, &news, scan->type);
  parcel->view.service = (const void*) parcel->bytes;
  if (what == NT__MDNS_FAILED) {
    parcel->view.error = NT_E_TIMEOUT;
    parcel->view.message = nt_error_message(NT_E_TIMEOUT);
  }
  nt__event_post(scan->task.ctx, &parcel->event,
                 (size_t) (end - parcel->bytes));
  return NT__MDNS_DONE;
}

/* ---- Ending -------------------------------------------------------------- */

static void finish(scan_t* scan, int error) {
  if (scan->ended)
    return;
  scan->ended = true;
  nt__timer_clear(&scan->task.ctx->io.timers, &scan->timer);
  if (nt__node_linked(&scan->active))
    nt__list_remove(&scan->active);
  nt__mdns_links_free(scan->links);
  nt__mdns_cache_free(&scan->cache);
  scan->task.error = error;
  nt__task_end(&scan->task, 0);
}

static int error_of(int code) {
  switch (code) {
    case UV_EACCES:
    case UV_EPERM:
      return NT_E_ACCESS;
    case UV_ENOMEM:
      return NT_E_NOMEM;
    default:
      return NT_E_SYSTEM;
  }
}

static void fail(scan_t* scan, int code) {
  char system[128];

  snprintf(scan->task.message, sizeof(scan->task.message),
           "no socket for multicast: %s",
           uv_strerror_r(code, system, sizeof(system)));
  finish(scan, error_of(code));
}

/* ---- The turn ------------------------------------------------------------ */

static void on_message(void* owner, const void* data, size_t size,
                       const nt__mdns_origin_t* from) {
  scan_t* scan = owner;
  nt_context_t* ctx = scan->task.ctx;
  uint64_t refused = scan->cache.refused;

  nt__mdns_take(&scan->cache, data, size, from, nt__now(ctx));
  atomic_fetch_add_explicit(&ctx->services_refused,
                            scan->cache.refused - refused,
                            memory_order_relaxed);
  activate(scan);
}

static void on_gone(void* owner, unsigned interface) {
  scan_t* scan = owner;

  nt__mdns_forget(&scan->cache, interface, nt__now(scan->task.ctx));
}

/* Whatever it was that came, and be it nothing for us. */
static void on_paused(void* owner) {
  activate(owner);
}

static void send_to_link(void* owner, const void* data, size_t size) {
  nt__mdns_link_send(owner, data, size);
}

/* Sockets that are new hear the first question. */
static int look_for_links(scan_t* scan, uint64_t now) {
  int code = nt__mdns_links_scan(scan->links);
  nt__mdns_link_t* link;
  size_t cursor = 0;
  bool any = false;

  while ((link = nt__mdns_links_next_new(scan->links, &cursor)) != NULL) {
    nt__mdns_write_first(&scan->cache, send_to_link, link);
    any = any || !nt__mdns_link_is_new(link);
  }
  if (any)
    nt__mdns_restart(&scan->cache, now);
  scan->looks_at = now + LOOK_MS;
  return code;
}

static void ask(scan_t* scan, uint64_t now) {
  nt__mdns_link_t* link;
  size_t cursor = 0;

  if (!nt__mdns_choose(&scan->cache, now))
    return;
  while ((link = nt__mdns_links_next(scan->links, &cursor)) != NULL)
    nt__mdns_write(&scan->cache, nt__mdns_link_interface(link), now,
                   send_to_link, link);
}

static void run(scan_t* scan) {
  nt_context_t* ctx = scan->task.ctx;
  uint64_t now = nt__now(ctx);
  uint64_t due;

  if (now >= scan->looks_at)
    look_for_links(scan, now);
  due = nt__mdns_links_resume(scan->links);
  due = nt__mdns_earlier(due, nt__mdns_advance(&scan->cache, now, tell, scan));
  if (now >= scan->ends_at) {
    finish(scan, 0);
    return;
  }
  ask(scan, now);
  due = nt__mdns_earlier(due, nt__mdns_question_due(&scan->cache));
  due = nt__mdns_earlier(due, scan->looks_at);
  due = nt__mdns_earlier(due, scan->ends_at);
  nt__timer_set(&ctx->io.timers, &scan->timer, due);
}

void nt__scans_run(nt_context_t* ctx) {
  nt__node_t* node;

  while ((node = nt__list_shift(&ctx->io.scans)) != NULL)
    run(nt__container_of(node, scan_t, active));
}

static void on_due(nt__timer_t* timer) {
  activate(nt__container_of(timer, scan_t, timer));
}

/* ---- The task ------------------------------------------------------------ */

static void scan_start(nt__task_t* task) {
  scan_t* scan = of_task(task);
  const nt_policy_t* policy = &task->policy->values;
  nt__mdns_listener_t listener = { on_message, on_gone, on_paused, scan };
  uint64_t now = nt__now(task->ctx);
  int code;

  scan->ends_at =
      policy->mdns_scan_ms == 0 ? NT__MDNS_NEVER : now + policy->mdns_scan_ms;
  nt__mdns_cache_init(&scan->cache, policy->max_services, uv_hrtime(), now);
  scan->links = nt__mdns_links_new(task->ctx, scan->families, &listener);
  code = scan->links == NULL ? UV_ENOMEM : look_for_links(scan, now);
  if (code != 0)
    fail(scan, code);
  else
    activate(scan);
}

static void scan_abort(nt__task_t* task) {
  finish(of_task(task), task->error);
}

/* The host listens again. */
static void scan_resume(nt__task_t* task) {
  activate(of_task(task));
}

static void scan_tell(nt__task_t* task, nt__command_t* command) {
  nt__free(command);
  finish(of_task(task), 0);
}

static void scan_show(nt__task_t* task, nt_event_t* event) {
  (void) task;
  (void) event;
}

static void scan_release(nt__task_t* task) {
  nt__free(of_task(task)->stop);
  nt__task_fini(task);
  nt__free(of_task(task));
}

static const nt__task_class_t scan_class = { .start = scan_start,
                                             .abort = scan_abort,
                                             .resume = scan_resume,
                                             .tell = scan_tell,
                                             .show = scan_show,
                                             .release = scan_release,
                                             .opens_at_once = true };

/* ---- Host thread --------------------------------------------------------- */

void nt_mdns_options_init(nt_mdns_options_t* options) {
  memset(options, 0, sizeof(*options));
}

int nt_mdns_open(nt_context_t* ctx, nt_id_t* id) {
  return nt__task_open(ctx, id);
}

static int new_scan(nt_id_t id, const char* type, scan_t** out) {
  scan_t* scan = nt__calloc(sizeof(*scan));

  if (scan == NULL)
    return NT_E_NOMEM;
  scan->task.class_ = &scan_class;
  scan->timer.on_due = on_due;
  nt__node_init(&scan->active);
  if (!nt__mdns_parse_type(type, &scan->cache.question, &scan->cache.type,
                           scan->type)) {
    nt__free(scan);
    return NT_E_INVALID;
  }
  scan->stop = nt__command_new(NT__CMD_TELL, id);
  if (scan->stop == NULL) {
    nt__free(scan);
    return NT_E_NOMEM;
  }
  *out = scan;
  return 0;
}

static void free_scan(scan_t* scan) {
  nt__free(scan->stop);
  nt__free(scan);
}

int nt_mdns_start(nt_context_t* ctx, nt_id_t id,
                  const nt_mdns_options_t* options) {
  scan_t* scan;
  int err = nt__task_check_start(ctx, id);

  if (err)
    return err;
  if (options->service_type == NULL)
    return NT_E_INVALID;
  err = new_scan(id, options->service_type, &scan);
  if (err)
    return err;
  scan->families = nt__mdns_families(ctx->policy);
  if (!scan->families.v4 && !scan->families.v6) {
    free_scan(scan);
    return nt__refuse(ctx, id, NT_E_PRIVATE, "udp://224.0.0.251:5353");
  }
  nt__task_start(ctx, id, &scan->task);
  return 0;
}

int nt_mdns_stop(nt_context_t* ctx, nt_id_t id) {
  nt__task_t* task = nt__task_find(ctx, id, &scan_class);
  scan_t* scan;

  if (task == NULL)
    return nt__task_missing(ctx);
  if (nt_state(ctx, id) == NT_STATE_CLOSING)
    return NT_E_NOT_OPEN;
  scan = of_task(task);
  if (scan->stop == NULL)
    return NT_E_NOT_OPEN;
  nt__command_post(ctx, scan->stop);
  scan->stop = NULL;
  return 0;
}
