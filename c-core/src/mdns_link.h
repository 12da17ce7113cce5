/* The sockets of one scan: for each interface one of IPv4 and one of IPv6. They
 * share port 5353 with whoever has it. I/O thread. */
#ifndef NT_MDNS_LINK_H
#define NT_MDNS_LINK_H

#include "internal.h"
#include "mdns_service.h"

typedef struct nt__mdns_links nt__mdns_links_t;
typedef struct nt__mdns_link nt__mdns_link_t;

/* What the scan is told, out of libuv's callbacks and nt__mdns_links_scan(). */
typedef struct nt__mdns_listener {
  /* A message from port 5353 of a neighbour. */
  void (*on_message)(void* owner, const void* data, size_t size,
                     const nt__mdns_origin_t* from);
  /* An interface has gone. */
  void (*on_gone)(void* owner, unsigned interface);
  /* A socket had too much to read: nt__mdns_links_resume() is due. */
  void (*on_paused)(void* owner);
  void* owner;
} nt__mdns_listener_t;

/* Over which families a scan goes. */
typedef struct nt__mdns_families {
  bool v4, v6;
} nt__mdns_families_t;

/* Host thread: those whose group the policy lets it speak to. */
nt__mdns_families_t nt__mdns_families(const nt__policy_t* policy);

/* NULL without memory. */
nt__mdns_links_t* nt__mdns_links_new(nt_context_t* ctx,
                                     nt__mdns_families_t families,
                                     const nt__mdns_listener_t* listener);
void nt__mdns_links_free(nt__mdns_links_t* links);

/* Looks which interfaces there are: opens and closes sockets. 0, or when there
 * is none because they could not be opened, a code of libuv. */
int nt__mdns_links_scan(nt__mdns_links_t* links);

/* Those that nothing was sent on yet, one after the other; NULL behind the
 * last.
 * `*cursor` starts at 0. */
nt__mdns_link_t* nt__mdns_links_next_new(nt__mdns_links_t* links,
                                         size_t* cursor);
/* All. */
nt__mdns_link_t* nt__mdns_links_next(nt__mdns_links_t* links, size_t* cursor);

unsigned nt__mdns_link_interface(const nt__mdns_link_t* link);
bool nt__mdns_link_is_new(const nt__mdns_link_t* link);
/* To the group. What the system does not take is lost, as on the network. */
void nt__mdns_link_send(nt__mdns_link_t* link, const void* data, size_t size);

/* Sockets that had too much to read go on, and when there are some again. */
uint64_t nt__mdns_links_resume(nt__mdns_links_t* links);

#endif
