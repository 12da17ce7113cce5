/* What a scan knows: records are taken in here, mdns_change.c decides what they
 * mean to the host. Pure logic.
 *
 * Additional records may lie in front of the answers that make sense of them,
 * so a message is read once for each kind. One that is broken anywhere says
 * nothing. */
#include "mdns_service.h"

#include <string.h>

#include "alloc.h"
#include "ascii.h"
#include "utf8.h"

enum {
  GOODBYE_MS = 500, /* half of what RFC 6762 10.1 gives others for saying that
                     * it is there still: gone is to be seen within a second */
  FLUSH_MS = 1000,  /* RFC 6762 10.2 */
  LEGACY_TTL = 10,  /* RFC 6762 6.7, for those that do not know it */
  TXT_MAX = 8192,
  PERCENT_FIRST = 80, /* of its life, then a record is asked for again ... */
  PERCENT_STEP = 5,   /* ... and again ... */
  PERCENT_JITTER = 2, /* ... a bit later than that */
  REFRESHES = 4,
  AGAIN_MS = 1000
};

/* ---- Types --------------------------------------------------------------- */

static bool same_text(const char* a, const char* b) {
  while (*a != '\0' && nt__lower(*a) == nt__lower(*b)) {
    a++;
    b++;
  }
  return *a == *b;
}

enum {
  LABELS = 5 /* of a type with everything: _sub._sub._http._tcp.local */
};

typedef struct labels {
  char text[LABELS][NT__DNS_LABEL_MAX + 1];
  size_t size[LABELS];
  size_t count;
} labels_t;

static bool split(const nt__dns_name_t* name, labels_t* out) {
  const unsigned char* label = name->wire;

  for (out->count = 0; *label != 0; out->count++) {
    if (out->count == LABELS)
      return false;
    out->size[out->count] = *label;
    memcpy(out->text[out->count], label + 1, *label);
    out->text[out->count][*label] = '\0';
    label += 1 + *label;
  }
  return true;
}

/* A label may have a NUL inside. */
static bool is_label(const labels_t* l, size_t i, const char* text) {
  return l->size[i] == strlen(text) && same_text(l->text[i], text);
}

static bool is_type(const labels_t* l) {
  size_t first = l->count - 2;

  if (l->count != 2 && l->count != 4)
    return false;
  if (l->count == 4 && !is_label(l, 1, "_sub"))
    return false;
  return l->text[first][0] == '_' && l->size[first] > 1 &&
         (is_label(l, first + 1, "_tcp") || is_label(l, first + 1, "_udp"));
}

/* The labels from the n-th on, and "local" if it is asked for. */
static bool join(nt__dns_name_t* out, const labels_t* l, size_t n, bool local) {
  size_t i = l->count;
  bool fits = true;

  out->size = 1;
  out->wire[0] = 0;
  if (local)
    fits = nt__dns_name_join(out, "local", 5, out);
  while (fits && i-- > n)
    fits = nt__dns_name_join(out, l->text[i], l->size[i], out);
  return fits;
}

bool nt__mdns_parse_type(const char* given, nt__dns_name_t* question,
                         nt__dns_name_t* type, char text[NT__MDNS_TYPE_SIZE]) {
  char whole[NT__DNS_TEXT_SIZE];
  nt__dns_name_t name;
  labels_t l;
  size_t size;

  if (!nt__dns_name_parse(&name, given) || !split(&name, &l))
    return false;
  if (l.count > 2 && is_label(&l, l.count - 1, "local"))
    l.count--;
  if (!is_type(&l) || !join(&name, &l, l.count - 2, false))
    return false;
  size = nt__dns_name_write(&name, whole);
  if (size >= NT__MDNS_TYPE_SIZE)
    return false;
  memcpy(text, whole, size + 1);
  return join(question, &l, 0, true) && join(type, &l, l.count - 2, true);
}

/* ---- Lives --------------------------------------------------------------- */

/* xorshift */
static uint64_t next_random(nt__mdns_cache_t* cache) {
  cache->random ^= cache->random << 13;
  cache->random ^= cache->random >> 7;
  cache->random ^= cache->random << 17;
  return cache->random;
}

void nt__mdns_set_refresh(nt__mdns_cache_t* cache, nt__mdns_life_t* life) {
  uint64_t length = life->until - life->since;
  uint64_t jitter = length * PERCENT_JITTER / 100;
  unsigned percent = PERCENT_FIRST + PERCENT_STEP * (unsigned) life->asked;

  life->refresh = NT__MDNS_NEVER;
  if (life->asked < REFRESHES && !life->dying)
    life->refresh = life->since + length * percent / 100 +
                    (jitter > 0 ? next_random(cache) % jitter : 0);
}

static void begin(nt__mdns_cache_t* cache, nt__mdns_life_t* life, uint32_t ttl,
                  const nt__mdns_origin_t* from, uint64_t now) {
  if (from->legacy && ttl > LEGACY_TTL)
    ttl = LEGACY_TTL;
  life->since = now;
  life->until = now + (uint64_t) ttl * 1000;
  life->asked = 0;
  life->dying = false;
  nt__mdns_set_refresh(cache, life);
}

static void die(nt__mdns_life_t* life, uint64_t when) {
  if (when < life->until)
    life->until = when;
  life->dying = true;
  life->refresh = NT__MDNS_NEVER;
}

/* ---- Hosts --------------------------------------------------------------- */

static nt__mdns_host_t* find_host(const nt__mdns_cache_t* cache,
                                  const nt__dns_name_t* name) {
  nt__node_t* node;

  for (node = cache->hosts.next; node != &cache->hosts; node = node->next) {
    nt__mdns_host_t* host = nt__mdns_host_of(node);

    if (nt__dns_name_equal(&host->name, name))
      return host;
  }
  return NULL;
}

/* That of the other family is mostly told without asking. */
static nt__mdns_host_t* add_host(nt__mdns_cache_t* cache,
                                 const nt__dns_name_t* name, uint64_t now) {
  nt__mdns_host_t* host = nt__calloc(sizeof(*host));

  if (host == NULL)
    return NULL;
  host->name = *name;
  host->ask_v4.next = now;
  host->ask_v6.next = now + AGAIN_MS;
  nt__list_append(&cache->hosts, &host->node);
  return host;
}

static void leave_host(nt__mdns_host_t* host) {
  if (host == NULL || --host->services > 0)
    return;
  nt__list_remove(&host->node);
  nt__free(host);
}

/* ---- Services ------------------------------------------------------------ */

static uint32_t hash_of(const nt__dns_name_t* name) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  size_t i;

  for (i = 0; i < name->size; i++)
    hash = (hash ^ (unsigned char) nt__lower((char) name->wire[i])) * 16777619u;
  return hash;
}

static nt__mdns_service_t* find_service(const nt__mdns_cache_t* cache,
                                        const nt__dns_name_t* name) {
  uint32_t hash = hash_of(name);
  nt__node_t* node;

  for (node = cache->services.next; node != &cache->services;
       node = node->next) {
    nt__mdns_service_t* s = nt__mdns_service_of(node);

    if (s->hash == hash && nt__dns_name_equal(&s->name, name))
      return s;
  }
  return NULL;
}

/* RFC 6763 4.1.1: for people to read. */
static bool is_readable(const nt__dns_name_t* name) {
  char label[NT__DNS_LABEL_MAX + 1];
  size_t size = nt__dns_name_label(name, label);
  size_t i;

  for (i = 0; i < size; i++)
    if ((unsigned char) label[i] < 0x20 || label[i] == 0x7f)
      return false;
  return size > 0 && nt__utf8_valid(label, size);
}

static nt__mdns_service_t* add_service(nt__mdns_cache_t* cache,
                                       const nt__dns_name_t* name,
                                       uint64_t now) {
  nt__mdns_service_t* service;

  if (cache->max != 0 && cache->count >= cache->max) {
    cache->refused++;
    return NULL;
  }
  service = nt__calloc(sizeof(*service));
  if (service == NULL)
    return NULL;
  service->name = *name;
  service->hash = hash_of(name);
  service->srv_from = NT__MDNS_INTERFACES;
  service->ask_srv.next = service->ask_txt.next = now;
  service->srv.refresh = service->txt.refresh = NT__MDNS_NEVER;
  service->heard_at = now;
  nt__list_append(&cache->services, &service->node);
  cache->count++;
  return service;
}

void nt__mdns_drop_srv(nt__mdns_service_t* service, uint64_t now) {
  leave_host(service->host);
  service->host = NULL;
  service->srv_from = NT__MDNS_INTERFACES;
  service->srv = (nt__mdns_life_t){ .refresh = NT__MDNS_NEVER };
  service->ask_srv = (nt__mdns_ask_t){ .next = now };
}

void nt__mdns_drop_txt(nt__mdns_service_t* service, uint64_t now) {
  nt__free(service->txt_data);
  service->txt_data = NULL;
  service->txt_size = 0;
  service->txt = (nt__mdns_life_t){ .refresh = NT__MDNS_NEVER };
  service->ask_txt = (nt__mdns_ask_t){ .next = now };
}

void nt__mdns_drop_service(nt__mdns_cache_t* cache,
                           nt__mdns_service_t* service) {
  leave_host(service->host);
  nt__list_remove(&service->node);
  cache->count--;
  nt__free(service->txt_data);
  nt__free(service);
}

/* ---- Records ------------------------------------------------------------- */

static uint32_t bit(const nt__mdns_origin_t* from) {
  return (uint32_t) 1 << from->interface;
}

static void take_ptr(nt__mdns_cache_t* cache, const nt__dns_record_t* record,
                     const nt__mdns_origin_t* from, uint64_t now) {
  nt__mdns_service_t* service;

  if (!nt__dns_name_equal(&record->name, &cache->question) ||
      !nt__dns_name_is_child(&record->target, &cache->type))
    return;
  service = find_service(cache, &record->target);
  if (record->ttl == 0) {
    if (service == NULL)
      return;
    die(&service->ptr, now + GOODBYE_MS);
    cache->rechecks = true; /* another interface or host may still have it */
    return;
  }
  if (service == NULL && is_readable(&record->target))
    service = add_service(cache, &record->target, now);
  if (service == NULL)
    return;
  service->seen |= bit(from);
  begin(cache, &service->ptr, record->ttl, from, now);
}

/* Whether what is known gives way. Of two hosts of one name on two networks the
 * first stays, of two that are alike the last one counts. */
static bool replaces(const nt__mdns_service_t* service,
                     const nt__dns_record_t* record,
                     const nt__mdns_origin_t* from, uint64_t now) {
  if (!nt__mdns_lives(&service->srv, now) || service->srv.dying)
    return true;
  if (service->srv_from != NT__MDNS_INTERFACES &&
      service->srv_from != from->interface)
    return false;
  return record->flush || record->priority <= service->priority;
}

static bool is_root(const nt__dns_name_t* name) {
  return name->size <= 1;
}

static bool is_same_srv(const nt__mdns_service_t* service,
                        const nt__dns_record_t* record) {
  return service->host != NULL && service->port == record->port &&
         nt__dns_name_equal(&service->host->name, &record->target);
}

static bool set_srv(nt__mdns_cache_t* cache, nt__mdns_service_t* service,
                    const nt__dns_record_t* record,
                    const nt__mdns_origin_t* from, uint64_t now) {
  nt__mdns_host_t* host = find_host(cache, &record->target);

  if (host == NULL)
    host = add_host(cache, &record->target, now);
  if (host == NULL)
    return false;
  host->services++;
  leave_host(service->host);
  service->host = host;
  service->port = record->port;
  service->priority = record->priority;
  service->srv_from = (uint8_t) from->interface;
  return true;
}

static void take_srv(nt__mdns_cache_t* cache, const nt__dns_record_t* record,
                     const nt__mdns_origin_t* from, uint64_t now) {
  nt__mdns_service_t* service = find_service(cache, &record->name);
  bool same = service != NULL && is_same_srv(service, record);

  if (service == NULL)
    return;
  if (record->ttl == 0 || is_root(&record->target)) {
    if (same)
      die(&service->srv, now + GOODBYE_MS);
    return;
  }
  if (!same && (!replaces(service, record, from, now) ||
                !set_srv(cache, service, record, from, now)))
    return;
  service->host->seen |= bit(from);
  begin(cache, &service->srv, record->ttl, from, now);
}

static void take_txt(nt__mdns_cache_t* cache, const nt__dns_record_t* record,
                     const nt__mdns_origin_t* from, uint64_t now) {
  nt__mdns_service_t* service = find_service(cache, &record->name);
  unsigned char* copy;

  if (service == NULL || record->data_size > TXT_MAX)
    return;
  if (record->ttl == 0) {
    if (nt__mdns_lives(&service->txt, now))
      die(&service->txt, now + GOODBYE_MS);
    return;
  }
  if (service->txt_data == NULL || service->txt_size != record->data_size ||
      memcmp(service->txt_data, record->data, record->data_size) != 0) {
    copy = nt__malloc(record->data_size + 1);
    if (copy == NULL)
      return;
    memcpy(copy, record->data, record->data_size);
    nt__free(service->txt_data);
    service->txt_data = copy;
    service->txt_size = record->data_size;
  }
  begin(cache, &service->txt, record->ttl, from, now);
}

/* ---- Addresses ----------------------------------------------------------- */

/* Nobody else says what this machine's own addresses lead to. */
static bool read_v4(const nt__dns_record_t* record,
                    const nt__mdns_origin_t* from, nt__sockaddr_t* out) {
  unsigned first = record->data[0];

  if (first == 0 || first >= 224 || (first == 127 && !from->loopback))
    return false;
  memset(out, 0, sizeof(*out));
  out->in.sin_family = AF_INET;
  memcpy(&out->in.sin_addr, record->data, 4);
  return true;
}

static bool read_v6(const nt__dns_record_t* record,
                    const nt__mdns_origin_t* from, nt__sockaddr_t* out) {
  static const unsigned char none[16];
  static const unsigned char mapped[12] = { 0, 0, 0, 0, 0,    0,
                                            0, 0, 0, 0, 0xff, 0xff };
  const unsigned char* a = record->data;
  bool link_local = a[0] == 0xfe && (a[1] & 0xc0) == 0x80;

  if (a[0] == 0xff || memcmp(a, mapped, sizeof(mapped)) == 0 ||
      (memcmp(a, none, 15) == 0 && !(a[15] == 1 && from->loopback)) ||
      (link_local && from->zone == 0))
    return false;
  memset(out, 0, sizeof(*out));
  out->in6.sin6_family = AF_INET6;
  memcpy(&out->in6.sin6_addr, a, 16);
  if (link_local)
    out->in6.sin6_scope_id = from->zone;
  return true;
}

static nt__mdns_address_t* find_address(nt__mdns_host_t* host,
                                        const nt__sockaddr_t* address,
                                        unsigned interface) {
  size_t i;

  for (i = 0; i < host->count; i++)
    if (host->addresses[i].interface == interface &&
        nt__address_equal(&host->addresses[i].address, address))
      return &host->addresses[i];
  return NULL;
}

static nt__mdns_address_t* add_address(nt__mdns_host_t* host,
                                       const nt__sockaddr_t* address,
                                       unsigned interface) {
  nt__mdns_address_t* entry;

  if (host->count == NT__MDNS_ADDRESSES)
    return NULL;
  entry = &host->addresses[host->count++];
  memset(entry, 0, sizeof(*entry));
  entry->address = *address;
  entry->interface = (uint8_t) interface;
  return entry;
}

/* Those that were not said again within a second are no more. */
static void flush_addresses(nt__mdns_host_t* host,
                            const nt__mdns_address_t* fresh, uint64_t now) {
  size_t i;

  for (i = 0; i < host->count; i++) {
    nt__mdns_address_t* entry = &host->addresses[i];

    if (entry->interface == fresh->interface &&
        entry->address.sa.sa_family == fresh->address.sa.sa_family &&
        entry->life.since + FLUSH_MS < now)
      die(&entry->life, now + FLUSH_MS);
  }
}

static void take_address(nt__mdns_cache_t* cache,
                         const nt__dns_record_t* record,
                         const nt__mdns_origin_t* from, uint64_t now) {
  nt__mdns_host_t* host = find_host(cache, &record->name);
  nt__mdns_address_t* entry;
  nt__sockaddr_t address;

  if (host == NULL ||
      !(record->type == NT__DNS_A ? read_v4(record, from, &address)
                                  : read_v6(record, from, &address)))
    return;
  entry = find_address(host, &address, from->interface);
  if (record->ttl == 0) {
    if (entry != NULL)
      die(&entry->life, now + GOODBYE_MS);
    return;
  }
  if (entry == NULL)
    entry = add_address(host, &address, from->interface);
  if (entry == NULL)
    return;
  begin(cache, &entry->life, record->ttl, from, now);
  if (record->flush)
    flush_addresses(host, entry, now);
}

/* ---- Messages ------------------------------------------------------------ */

enum { /* kinds of records, in the order in which they make sense */
  KIND_PTR = 1,
  KIND_SERVICE = 2,
  KIND_ADDRESS = 4
};

static unsigned kind_of(const nt__dns_record_t* record) {
  if (record->section != NT__DNS_ANSWER &&
      record->section != NT__DNS_ADDITIONAL)
    return 0;
  switch (record->type) {
    case NT__DNS_PTR:
      return KIND_PTR;
    case NT__DNS_SRV:
    case NT__DNS_TXT:
      return KIND_SERVICE;
    case NT__DNS_A:
    case NT__DNS_AAAA:
      return KIND_ADDRESS;
    default:
      return 0;
  }
}

static bool is_response(const nt__dns_reader_t* reader) {
  return (reader->flags & NT__DNS_RESPONSE) &&
         (reader->flags & (NT__DNS_OPCODE | NT__DNS_RCODE)) == 0;
}

/* The kinds that are in there; 0: nothing, or it is broken. */
static unsigned look(const void* data, size_t size) {
  nt__dns_reader_t reader;
  nt__dns_item_t item;
  unsigned kinds = 0;

  if (!nt__dns_reader_init(&reader, data, size) || !is_response(&reader))
    return 0;
  while ((item = nt__dns_reader_next(&reader)) == NT__DNS_ENTRY)
    kinds |= kind_of(&reader.record);
  return item == NT__DNS_END ? kinds : 0;
}

static void take_record(nt__mdns_cache_t* cache, const nt__dns_record_t* record,
                        const nt__mdns_origin_t* from, uint64_t now) {
  switch (record->type) {
    case NT__DNS_PTR:
      take_ptr(cache, record, from, now);
      break;
    case NT__DNS_SRV:
      take_srv(cache, record, from, now);
      break;
    case NT__DNS_TXT:
      take_txt(cache, record, from, now);
      break;
    default:
      take_address(cache, record, from, now);
  }
}

void nt__mdns_take(nt__mdns_cache_t* cache, const void* data, size_t size,
                   const nt__mdns_origin_t* from, uint64_t now) {
  unsigned kinds = look(data, size);
  nt__dns_reader_t reader;
  unsigned kind;

  for (kind = KIND_PTR; kind <= KIND_ADDRESS; kind *= 2) {
    if (!(kinds & kind) || (kind != KIND_PTR && cache->count == 0))
      continue;
    nt__dns_reader_init(&reader, data, size);
    while (nt__dns_reader_next(&reader) == NT__DNS_ENTRY)
      if (kind_of(&reader.record) == kind)
        take_record(cache, &reader.record, from, now);
  }
}

/* ---- Interfaces ---------------------------------------------------------- */

static void forget_addresses(nt__mdns_host_t* host, unsigned interface) {
  size_t i = host->count;

  host->seen &= ~((uint32_t) 1 << interface);
  while (i-- > 0)
    if (host->addresses[i].interface == interface)
      memmove(&host->addresses[i], &host->addresses[i + 1],
              (--host->count - i) * sizeof(host->addresses[0]));
}

void nt__mdns_forget(nt__mdns_cache_t* cache, unsigned interface,
                     uint64_t now) {
  nt__node_t* node;

  for (node = cache->hosts.next; node != &cache->hosts; node = node->next)
    forget_addresses(nt__mdns_host_of(node), interface);
  for (node = cache->services.next; node != &cache->services;
       node = node->next) {
    nt__mdns_service_t* s = nt__mdns_service_of(node);

    s->seen &= ~((uint32_t) 1 << interface);
    if (s->seen == 0)
      die(&s->ptr, now);
    if (s->srv_from == interface)
      s->srv_from = NT__MDNS_INTERFACES;
  }
}

/* ---- Life ---------------------------------------------------------------- */

void nt__mdns_restart(nt__mdns_cache_t* cache, uint64_t now) {
  cache->browse.next = now + AGAIN_MS;
  cache->browse.wait_ms = AGAIN_MS;
  cache->asked_at = now;
}

void nt__mdns_cache_init(nt__mdns_cache_t* cache, size_t max, uint64_t seed,
                         uint64_t now) {
  nt__list_init(&cache->services);
  nt__list_init(&cache->hosts);
  cache->count = 0;
  cache->max = max;
  cache->refused = 0;
  cache->rechecks = cache->browses = false;
  cache->random = seed != 0 ? seed : 1;
  nt__mdns_restart(cache, now);
}

/* The hosts go with the last service of each. */
void nt__mdns_cache_free(nt__mdns_cache_t* cache) {
  while (!nt__list_empty(&cache->services))
    nt__mdns_drop_service(cache, nt__mdns_service_of(cache->services.next));
}
