/* What a scan asks, and when (RFC 6762 5.2): for services after 1, 2, 4, ...
 * seconds, for what is missing at once and then as rarely, and for what is
 * known when it has grown old. Pure logic.
 *
 * A question for services says what is known already, so that nobody says it
 * again (7.1), in several messages if it is long (7.2). */
#include "mdns_service.h"

enum {
  FIRST_MS = 1000,
  LONGEST_MS = 60 * 60 * 1000,
  AT_ONCE_MS = 10, /* what is due so soon is asked with the rest */
  TRIES_V4 = 3,    /* for the other family of a host that has addresses */
  TRIES_V6 = 1,
  ROOM = NT__DNS_PACKET_MAX
};

/* ---- When ---------------------------------------------------------------- */

static void asked(nt__mdns_ask_t* ask, uint64_t now) {
  ask->wait_ms = ask->wait_ms == 0 ? FIRST_MS : ask->wait_ms * 2;
  if (ask->wait_ms > LONGEST_MS)
    ask->wait_ms = LONGEST_MS;
  ask->next = now + ask->wait_ms;
}

static bool has_family(const nt__mdns_host_t* host, int family) {
  size_t i;

  for (i = 0; i < host->count; i++)
    if (host->addresses[i].address.sa.sa_family == family)
      return true;
  return false;
}

static uint64_t refresh_of(const nt__mdns_host_t* host, int family) {
  uint64_t due = NT__MDNS_NEVER;
  size_t i;

  for (i = 0; i < host->count; i++)
    if (host->addresses[i].address.sa.sa_family == family)
      due = nt__mdns_earlier(due, host->addresses[i].life.refresh);
  return due;
}

static uint64_t family_due(const nt__mdns_host_t* host, int family,
                           const nt__mdns_ask_t* ask, bool again) {
  if (has_family(host, family))
    return refresh_of(host, family);
  return host->count == 0 || again ? ask->next : NT__MDNS_NEVER;
}

static uint64_t v4_due(const nt__mdns_host_t* host) {
  return family_due(host, AF_INET, &host->ask_v4, host->tried_v4 < TRIES_V4);
}

/* While there is no address at all both are asked for. */
static uint64_t v6_due(const nt__mdns_host_t* host) {
  uint64_t due =
      family_due(host, AF_INET6, &host->ask_v6, host->tried_v6 < TRIES_V6);

  return host->count > 0 ? due : nt__mdns_earlier(due, host->ask_v4.next);
}

static uint64_t record_due(const nt__mdns_life_t* life,
                           const nt__mdns_ask_t* ask) {
  return life->until != 0 ? life->refresh : ask->next;
}

static uint64_t browse_due(const nt__mdns_cache_t* cache) {
  uint64_t due = cache->browse.next;
  const nt__node_t* node;

  if (cache->rechecks)
    due = nt__mdns_earlier(due, cache->asked_at + FIRST_MS);
  for (node = cache->services.next; node != &cache->services; node = node->next)
    due = nt__mdns_earlier(
        due, nt__mdns_service_of((nt__node_t*) node)->ptr.refresh);
  return due;
}

/* Nothing is asked for a service that is gone, but was not told so yet. */
static bool is_wanted(const nt__mdns_service_t* service) {
  return service->ptr.until != 0 && !service->ptr.dying;
}

uint64_t nt__mdns_question_due(const nt__mdns_cache_t* cache) {
  uint64_t due = browse_due(cache);
  const nt__node_t* node;

  for (node = cache->services.next; node != &cache->services;
       node = node->next) {
    const nt__mdns_service_t* s = nt__mdns_service_of((nt__node_t*) node);

    if (!is_wanted(s))
      continue;
    due = nt__mdns_earlier(due, record_due(&s->srv, &s->ask_srv));
    due = nt__mdns_earlier(due, record_due(&s->txt, &s->ask_txt));
  }
  for (node = cache->hosts.next; node != &cache->hosts; node = node->next) {
    const nt__mdns_host_t* host = nt__mdns_host_of((nt__node_t*) node);

    due = nt__mdns_earlier(due, nt__mdns_earlier(v4_due(host), v6_due(host)));
  }
  return due;
}

/* ---- What ---------------------------------------------------------------- */

/* Now, and what is asked with it. */
typedef struct instant {
  uint64_t now, soon;
} instant_t;

static void refreshed(nt__mdns_cache_t* cache, nt__mdns_life_t* life,
                      const instant_t* at) {
  if (life->refresh > at->soon)
    return;
  life->asked++;
  nt__mdns_set_refresh(cache, life);
}

static bool choose_record(nt__mdns_cache_t* cache, nt__mdns_life_t* life,
                          nt__mdns_ask_t* ask, const instant_t* at) {
  if (record_due(life, ask) > at->soon)
    return false;
  if (life->until == 0)
    asked(ask, at->now);
  else
    refreshed(cache, life, at);
  return true;
}

static bool choose_service(nt__mdns_cache_t* cache, nt__mdns_service_t* s,
                           const instant_t* at) {
  s->asks_srv = s->asks_txt = false;
  if (!is_wanted(s))
    return false;
  s->asks_srv = choose_record(cache, &s->srv, &s->ask_srv, at);
  s->asks_txt = choose_record(cache, &s->txt, &s->ask_txt, at);
  return s->asks_srv || s->asks_txt;
}

static void asked_family(nt__mdns_cache_t* cache, nt__mdns_host_t* host,
                         int family, nt__mdns_ask_t* ask, uint8_t* tried,
                         const instant_t* at) {
  size_t i;

  if (!has_family(host, family)) {
    asked(ask, at->now);
    if (*tried < TRIES_V4)
      ++*tried;
    return;
  }
  for (i = 0; i < host->count; i++)
    if (host->addresses[i].address.sa.sa_family == family)
      refreshed(cache, &host->addresses[i].life, at);
}

static bool choose_host(nt__mdns_cache_t* cache, nt__mdns_host_t* host,
                        const instant_t* at) {
  host->asks_v4 = v4_due(host) <= at->soon;
  host->asks_v6 = v6_due(host) <= at->soon;
  if (host->asks_v4)
    asked_family(cache, host, AF_INET, &host->ask_v4, &host->tried_v4, at);
  if (host->asks_v6)
    asked_family(cache, host, AF_INET6, &host->ask_v6, &host->tried_v6, at);
  return host->asks_v4 || host->asks_v6;
}

static bool choose_browse(nt__mdns_cache_t* cache, const instant_t* at) {
  nt__node_t* node;

  cache->browses = browse_due(cache) <= at->soon;
  if (!cache->browses)
    return false;
  cache->rechecks = false;
  cache->asked_at = at->now;
  if (cache->browse.next <= at->soon)
    asked(&cache->browse, at->now);
  for (node = cache->services.next; node != &cache->services; node = node->next)
    refreshed(cache, &nt__mdns_service_of(node)->ptr, at);
  return true;
}

bool nt__mdns_choose(nt__mdns_cache_t* cache, uint64_t now) {
  instant_t at = { now, now + AT_ONCE_MS };
  nt__node_t* node;
  bool any;

  if (nt__mdns_question_due(cache) > now)
    return false;
  any = choose_browse(cache, &at);
  for (node = cache->services.next; node != &cache->services; node = node->next)
    any = choose_service(cache, nt__mdns_service_of(node), &at) || any;
  for (node = cache->hosts.next; node != &cache->hosts; node = node->next)
    any = choose_host(cache, nt__mdns_host_of(node), &at) || any;
  return any;
}

/* ---- Messages ------------------------------------------------------------ */

typedef struct message {
  nt__dns_writer_t writer;
  unsigned char bytes[ROOM];
  nt__mdns_send_t send;
  void* owner;
} message_t;

static void begin(message_t* m) {
  nt__dns_writer_init(&m->writer, m->bytes, ROOM, 0, 0);
}

static void end(message_t* m) {
  if (m->writer.size > NT__DNS_HEADER_SIZE)
    m->send(m->owner, m->bytes, m->writer.size);
  begin(m);
}

static void write_question(message_t* m, const nt__dns_name_t* name,
                           uint16_t type) {
  if (nt__dns_write_question(&m->writer, name, type, false))
    return;
  end(m);
  nt__dns_write_question(&m->writer, name, type, false);
}

/* One that knows of no interface any more is asked for on all. */
static bool is_there(uint32_t seen, unsigned interface) {
  return seen == 0 || (seen & ((uint32_t) 1 << interface));
}

static void write_services(message_t* m, const nt__mdns_cache_t* cache,
                           unsigned interface) {
  const nt__node_t* node;

  for (node = cache->services.next; node != &cache->services;
       node = node->next) {
    const nt__mdns_service_t* s = nt__mdns_service_of((nt__node_t*) node);

    if (s->asks_srv && is_there(s->seen, interface))
      write_question(m, &s->name, NT__DNS_SRV);
    if (s->asks_txt && is_there(s->seen, interface))
      write_question(m, &s->name, NT__DNS_TXT);
  }
}

static void write_hosts(message_t* m, const nt__mdns_cache_t* cache,
                        unsigned interface) {
  const nt__node_t* node;

  for (node = cache->hosts.next; node != &cache->hosts; node = node->next) {
    const nt__mdns_host_t* host = nt__mdns_host_of((nt__node_t*) node);

    if (host->asks_v4 && is_there(host->seen, interface))
      write_question(m, &host->name, NT__DNS_A);
    if (host->asks_v6 && is_there(host->seen, interface))
      write_question(m, &host->name, NT__DNS_AAAA);
  }
}

/* What has lived less than half of its life. */
static bool is_known(const nt__mdns_service_t* service, unsigned interface,
                     uint64_t now) {
  const nt__mdns_life_t* life = &service->ptr;

  return (service->seen & ((uint32_t) 1 << interface)) && !life->dying &&
         life->until > now && life->until - now > (now - life->since);
}

static void write_known(message_t* m, const nt__mdns_cache_t* cache,
                        const nt__mdns_service_t* service, uint64_t now) {
  nt__dns_record_t record = { .section = NT__DNS_ANSWER,
                              .name = cache->question,
                              .type = NT__DNS_PTR };

  record.ttl = (uint32_t) ((service->ptr.until - now) / 1000);
  record.target = service->name;
  if (nt__dns_write_record(&m->writer, &record))
    return;
  nt__dns_writer_set_flags(&m->writer, NT__DNS_TRUNCATED);
  end(m);
  nt__dns_write_record(&m->writer, &record);
}

static void write_browse(message_t* m, const nt__mdns_cache_t* cache,
                         unsigned interface, uint64_t now) {
  const nt__node_t* node;

  write_question(m, &cache->question, NT__DNS_PTR);
  for (node = cache->services.next; node != &cache->services;
       node = node->next) {
    const nt__mdns_service_t* s = nt__mdns_service_of((nt__node_t*) node);

    if (is_known(s, interface, now))
      write_known(m, cache, s, now);
  }
}

void nt__mdns_write(const nt__mdns_cache_t* cache, unsigned interface,
                    uint64_t now, nt__mdns_send_t send, void* owner) {
  message_t m;

  m.send = send;
  m.owner = owner;
  begin(&m);
  write_services(&m, cache, interface);
  write_hosts(&m, cache, interface);
  if (cache->browses)
    write_browse(&m, cache, interface, now);
  end(&m);
}

void nt__mdns_write_first(const nt__mdns_cache_t* cache, nt__mdns_send_t send,
                          void* owner) {
  message_t m;

  m.send = send;
  m.owner = owner;
  begin(&m);
  nt__dns_write_question(&m.writer, &cache->question, NT__DNS_PTR, true);
  end(&m);
}
