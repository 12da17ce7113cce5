/* What the records mean to the host: a service is there when it has been named,
 * has a place and its host an address. Pure logic.
 *
 * What was told of a service is compared with what there is, so a host that
 * does not listen for a while hears the newest alone. */
#include <string.h>

#include "mdns_service.h"

enum {
  RESOLVE_MS = 5000, /* without an address for so long */
  GRACE_MS = 150,    /* an IPv4 address or TXT may come behind one of IPv6, as
                      * responders take up to 120 ms for an answer */
  CHANGE_MS = 1000,  /* a service that moves may have no address for so long */
  AGAIN_MS = 100     /* after there was no memory for telling */
};

/* ---- Addresses ----------------------------------------------------------- */

enum {
  RANK_V4,
  RANK_V4_LINK_LOCAL,
  RANK_V6,
  RANK_V6_LINK_LOCAL,
  RANK_DYING = 8
};

static unsigned rank(const nt__mdns_address_t* entry) {
  const nt__sockaddr_t* a = &entry->address;
  unsigned dying = entry->life.dying ? RANK_DYING : 0;
  const unsigned char* v4 = (const unsigned char*) &a->in.sin_addr;

  if (a->sa.sa_family == AF_INET6)
    return dying + (a->in6.sin6_scope_id != 0 ? RANK_V6_LINK_LOCAL : RANK_V6);
  return dying + (v4[0] == 169 && v4[1] == 254 ? RANK_V4_LINK_LOCAL : RANK_V4);
}

/* Among equals the one that was told stays. */
static bool comes_before(const nt__mdns_service_t* service,
                         const nt__mdns_address_t* a,
                         const nt__mdns_address_t* b) {
  unsigned of_a = rank(a);
  unsigned of_b = rank(b);

  if (of_a != of_b)
    return of_a < of_b;
  return nt__address_equal(&a->address, &service->told_address) &&
         !nt__address_equal(&b->address, &service->told_address);
}

static void insert(const nt__mdns_service_t* service,
                   const nt__mdns_address_t** list, size_t count,
                   const nt__mdns_address_t* entry) {
  while (count > 0 && comes_before(service, entry, list[count - 1])) {
    list[count] = list[count - 1];
    count--;
  }
  list[count] = entry;
}

static bool contains(const nt__sockaddr_t* list, size_t count,
                     const nt__sockaddr_t* address) {
  while (count-- > 0)
    if (nt__address_equal(&list[count], address))
      return true;
  return false;
}

/* A host of that name may be in another network, too. */
static bool is_reached(const nt__mdns_service_t* service,
                       const nt__mdns_address_t* entry) {
  return (service->seen & ((uint32_t) 1 << entry->interface)) != 0;
}

size_t nt__mdns_addresses(const nt__mdns_service_t* service,
                          nt__sockaddr_t out[NT__MDNS_ADDRESSES]) {
  const nt__mdns_address_t* list[NT__MDNS_ADDRESSES];
  const nt__mdns_host_t* host = service->host;
  size_t listed = 0;
  size_t count = 0;
  size_t i;

  for (i = 0; host != NULL && i < host->count; i++)
    if (is_reached(service, &host->addresses[i]))
      insert(service, list, listed++, &host->addresses[i]);
  for (i = 0; i < listed; i++)
    if (!contains(out, count, &list[i]->address))
      out[count++] = list[i]->address;
  return count;
}

static const nt__mdns_address_t* best(const nt__mdns_service_t* service) {
  const nt__mdns_address_t* found = NULL;
  const nt__mdns_host_t* host = service->host;
  size_t i;

  for (i = 0; host != NULL && i < host->count; i++)
    if (is_reached(service, &host->addresses[i]) &&
        (found == NULL || comes_before(service, &host->addresses[i], found)))
      found = &host->addresses[i];
  return found;
}

/* ---- Expiry -------------------------------------------------------------- */

static bool is_over(const nt__mdns_life_t* life, uint64_t now) {
  return life->until != 0 && life->until <= now;
}

/* What is missing is asked for at once. */
static void drop_address(nt__mdns_host_t* host, size_t i, uint64_t now) {
  bool v6 = host->addresses[i].address.sa.sa_family == AF_INET6;

  host->count--;
  memmove(&host->addresses[i], &host->addresses[i + 1],
          (host->count - i) * sizeof(host->addresses[0]));
  *(v6 ? &host->ask_v6 : &host->ask_v4) = (nt__mdns_ask_t){ .next = now };
  *(v6 ? &host->tried_v6 : &host->tried_v4) = 0;
}

static uint64_t expire_host(nt__mdns_host_t* host, uint64_t now) {
  uint64_t next = NT__MDNS_NEVER;
  size_t i = host->count;

  while (i-- > 0)
    if (is_over(&host->addresses[i].life, now))
      drop_address(host, i, now);
    else
      next = nt__mdns_earlier(next, host->addresses[i].life.until);
  return next;
}

static uint64_t end_of(const nt__mdns_life_t* life) {
  return life->until != 0 ? life->until : NT__MDNS_NEVER;
}

static uint64_t expire_service(nt__mdns_service_t* service, uint64_t now) {
  if (is_over(&service->srv, now))
    nt__mdns_drop_srv(service, now);
  if (is_over(&service->txt, now))
    nt__mdns_drop_txt(service, now);
  if (is_over(&service->ptr, now))
    service->ptr = (nt__mdns_life_t){ .refresh = NT__MDNS_NEVER };
  return nt__mdns_earlier(
      end_of(&service->ptr),
      nt__mdns_earlier(end_of(&service->srv), end_of(&service->txt)));
}

/* ---- Changes ------------------------------------------------------------- */

static bool has_ptr(const nt__mdns_service_t* service) {
  return service->ptr.until != 0;
}

/* The answer: what is to be told now. `*when`: if it is nothing, until when. */
static nt__mdns_told_t look_complete(nt__mdns_service_t* s,
                                     const nt__mdns_address_t* first,
                                     uint64_t now, uint64_t* when) {
  bool is_all = rank(first) == RANK_V4 && s->txt_data != NULL;

  s->incomplete_at = 0;
  if (s->told == NT__MDNS_FOUND)
    return s->told_port != s->port ||
                   !nt__address_equal(&s->told_address, &first->address)
               ? NT__MDNS_FOUND
               : NT__MDNS_NOTHING;
  if (s->complete_at == 0)
    s->complete_at = now;
  *when = s->complete_at + GRACE_MS;
  return is_all || *when <= now ? NT__MDNS_FOUND : NT__MDNS_NOTHING;
}

static nt__mdns_told_t look_incomplete(nt__mdns_service_t* s, uint64_t now,
                                       uint64_t* when) {
  s->complete_at = 0;
  if (s->told == NT__MDNS_FOUND) {
    if (s->incomplete_at == 0)
      s->incomplete_at = now;
    *when = s->incomplete_at + CHANGE_MS;
    return !has_ptr(s) || *when <= now ? NT__MDNS_LOST : NT__MDNS_NOTHING;
  }
  if (s->told != NT__MDNS_NOTHING || !has_ptr(s))
    return NT__MDNS_NOTHING;
  *when = s->heard_at + RESOLVE_MS;
  return *when <= now ? NT__MDNS_FAILED : NT__MDNS_NOTHING;
}

static nt__mdns_told_t look(nt__mdns_service_t* service, uint64_t now,
                            uint64_t* when) {
  const nt__mdns_address_t* first = best(service);

  *when = NT__MDNS_NEVER;
  return has_ptr(service) && first != NULL
             ? look_complete(service, first, now, when)
             : look_incomplete(service, now, when);
}

static void note_told(nt__mdns_service_t* service, nt__mdns_told_t what) {
  const nt__mdns_address_t* first = best(service);

  service->told = what;
  if (what != NT__MDNS_FOUND)
    return;
  service->told_port = service->port;
  service->told_address = first->address;
}

static uint64_t tell_service(nt__mdns_service_t* service, uint64_t now,
                             nt__mdns_tell_t tell, void* owner) {
  uint64_t when;
  nt__mdns_told_t what = look(service, now, &when);

  if (what == NT__MDNS_NOTHING)
    return when;
  switch (tell(owner, service, what)) {
    case NT__MDNS_DONE:
      note_told(service, what);
      return NT__MDNS_NEVER;
    case NT__MDNS_AGAIN:
      return now + AGAIN_MS;
    default:
      return NT__MDNS_NEVER;
  }
}

uint64_t nt__mdns_advance(nt__mdns_cache_t* cache, uint64_t now,
                          nt__mdns_tell_t tell, void* owner) {
  uint64_t next = NT__MDNS_NEVER;
  nt__node_t* node;
  nt__node_t* after;

  for (node = cache->hosts.next; node != &cache->hosts; node = node->next)
    next = nt__mdns_earlier(next, expire_host(nt__mdns_host_of(node), now));
  for (node = cache->services.next; node != &cache->services; node = after) {
    nt__mdns_service_t* s = nt__mdns_service_of(node);

    after = node->next;
    next = nt__mdns_earlier(next, expire_service(s, now));
    next = nt__mdns_earlier(next, tell_service(s, now, tell, owner));
    if (!has_ptr(s) && s->told != NT__MDNS_FOUND)
      nt__mdns_drop_service(cache, s);
  }
  return next;
}
