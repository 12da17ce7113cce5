/* What one scan for local services knows, and what it has to ask. Pure logic:
 * the time is passed in, packets come and go as bytes.
 *
 * A service is an instance of the scan's type that a PTR record names. Its SRV
 * record names a host, whose addresses are A and AAAA records; hosts are kept
 * as long as a service is there. Each record has a life of its own. Interfaces
 * are numbers below NT__MDNS_INTERFACES, sets of them are bits: a service is
 * one, on however many it is seen, but an address is one of an interface. */
#ifndef NT_MDNS_SERVICE_H
#define NT_MDNS_SERVICE_H

#include "address.h"
#include "dns_message.h"
#include "list.h"

enum {
  NT__MDNS_INTERFACES = 32,
  NT__MDNS_ADDRESSES = 16, /* of one host, one for each interface */
  NT__MDNS_TYPE_SIZE = 520 /* of "_http._tcp", with its NUL, escaped */
};

#define NT__MDNS_NEVER UINT64_MAX

/* Of a record. */
typedef struct nt__mdns_life {
  uint64_t since, until; /* 0, 0: it is not there */
  uint64_t refresh;      /* when it is asked for again, or NEVER */
  uint8_t asked;         /* so often since it came */
  bool dying;            /* it said goodbye, or was replaced */
} nt__mdns_life_t;

/* When something is asked for that is not there. */
typedef struct nt__mdns_ask {
  uint64_t next;
  uint32_t wait_ms; /* until the one after that; 0: not asked yet */
} nt__mdns_ask_t;

typedef struct nt__mdns_address {
  nt__sockaddr_t address; /* with its zone, port 0 */
  uint8_t interface;
  nt__mdns_life_t life;
} nt__mdns_address_t;

typedef struct nt__mdns_host {
  nt__node_t node;
  nt__dns_name_t name;
  unsigned services; /* that lead here */
  uint32_t seen;     /* the interfaces that lead here */
  nt__mdns_address_t addresses[NT__MDNS_ADDRESSES];
  size_t count;
  nt__mdns_ask_t ask_v4, ask_v6;
  uint8_t tried_v4, tried_v6;
  bool asks_v4, asks_v6; /* now */
} nt__mdns_host_t;

typedef enum nt__mdns_told {
  NT__MDNS_NOTHING,
  NT__MDNS_FOUND,
  NT__MDNS_LOST,
  NT__MDNS_FAILED /* to resolve */
} nt__mdns_told_t;

typedef struct nt__mdns_service {
  nt__node_t node;
  uint32_t hash;
  nt__dns_name_t name;
  uint32_t seen; /* interfaces */
  nt__mdns_life_t ptr, srv, txt;
  nt__mdns_host_t* host; /* of SRV; NULL: there is none */
  uint16_t port, priority;
  uint8_t srv_from; /* interface, or NT__MDNS_INTERFACES */
  unsigned char* txt_data;
  size_t txt_size;
  nt__mdns_ask_t ask_srv, ask_txt;
  bool asks_srv, asks_txt; /* now */

  nt__mdns_told_t told;
  nt__sockaddr_t told_address;
  uint16_t told_port;
  uint64_t heard_at;      /* of first */
  uint64_t complete_at;   /* since when there is an address; 0: there is none */
  uint64_t incomplete_at; /* since when it is missing after a FOUND, or 0 */
} nt__mdns_service_t;

typedef struct nt__mdns_cache {
  nt__dns_name_t question; /* what PTR records are asked for */
  nt__dns_name_t type;     /* the parent of the instances */
  nt__node_t services, hosts;
  size_t count, max; /* services; 0: no limit */
  uint64_t refused;  /* answers for services above it */
  nt__mdns_ask_t browse;
  uint64_t asked_at; /* the last PTR question */
  bool rechecks;     /* a goodbye is to be checked */
  bool browses;      /* now */
  uint64_t random;
} nt__mdns_cache_t;

/* Reads "_http._tcp" and "_printer._sub._http._tcp", with or without a dot or
 * ".local" behind. `text` becomes the type without a subtype. */
bool nt__mdns_parse_type(const char* given, nt__dns_name_t* question,
                         nt__dns_name_t* type, char text[NT__MDNS_TYPE_SIZE]);

/* `question` and `type` are set. The first question is to be asked by the
 * caller, the second is due a second later. */
void nt__mdns_cache_init(nt__mdns_cache_t* cache, size_t max, uint64_t seed,
                         uint64_t now);
void nt__mdns_cache_free(nt__mdns_cache_t* cache);

/* Where a message came in. */
typedef struct nt__mdns_origin {
  unsigned interface;
  unsigned zone; /* of link-local addresses, or 0 */
  bool loopback;
  bool legacy; /* answers to a port that is not 5353: they live 10 s */
} nt__mdns_origin_t;

/* Anything that came from the network. Without memory less of it is known. */
void nt__mdns_take(nt__mdns_cache_t* cache, const void* data, size_t size,
                   const nt__mdns_origin_t* from, uint64_t now);

/* An interface is there no more. */
void nt__mdns_forget(nt__mdns_cache_t* cache, unsigned interface, uint64_t now);
/* One has come, and was asked: others ask from the start. */
void nt__mdns_restart(nt__mdns_cache_t* cache, uint64_t now);

/* ---- mdns_change.c --------------------------------------------------------
 */

typedef enum nt__mdns_telling {
  NT__MDNS_DONE,
  NT__MDNS_AGAIN, /* there was no memory: in a moment */
  NT__MDNS_HELD   /* nt__mdns_advance() is called when it is possible */
} nt__mdns_telling_t;

/* Tells `what` of a service. */
typedef nt__mdns_telling_t (*nt__mdns_tell_t)(void* owner,
                                              const nt__mdns_service_t* service,
                                              nt__mdns_told_t what);

/* Lets expire what has, tells what has changed, and returns when to call again,
 * without looking at the questions. */
uint64_t nt__mdns_advance(nt__mdns_cache_t* cache, uint64_t now,
                          nt__mdns_tell_t tell, void* owner);

/* The addresses of a service, the preferred first, no two the same. */
size_t nt__mdns_addresses(const nt__mdns_service_t* service,
                          nt__sockaddr_t out[NT__MDNS_ADDRESSES]);

/* ---- mdns_query.c -------------------------------------------------------- */

/* When there is something to ask. */
uint64_t nt__mdns_question_due(const nt__mdns_cache_t* cache);

/* Chooses what is asked now: all that is due. False: nothing. */
bool nt__mdns_choose(nt__mdns_cache_t* cache, uint64_t now);

typedef void (*nt__mdns_send_t)(void* owner, const void* data, size_t size);

/* What was chosen, as messages for one interface, with the answers known there.
 */
void nt__mdns_write(const nt__mdns_cache_t* cache, unsigned interface,
                    uint64_t now, nt__mdns_send_t send, void* owner);
/* The first question on an interface, of which nothing is known yet: answers
 * may come by unicast. */
void nt__mdns_write_first(const nt__mdns_cache_t* cache, nt__mdns_send_t send,
                          void* owner);

/* ---- Between them ---------------------------------------------------------
 */

/* When the record is asked for again, after it came or was asked for. */
void nt__mdns_set_refresh(nt__mdns_cache_t* cache, nt__mdns_life_t* life);
void nt__mdns_drop_srv(nt__mdns_service_t* service, uint64_t now);
void nt__mdns_drop_txt(nt__mdns_service_t* service, uint64_t now);
void nt__mdns_drop_service(nt__mdns_cache_t* cache,
                           nt__mdns_service_t* service);

static inline bool nt__mdns_lives(const nt__mdns_life_t* life, uint64_t now) {
  return life->until > now;
}

static inline nt__mdns_service_t* nt__mdns_service_of(nt__node_t* node) {
  return nt__container_of(node, nt__mdns_service_t, node);
}

static inline nt__mdns_host_t* nt__mdns_host_of(nt__node_t* node) {
  return nt__container_of(node, nt__mdns_host_t, node);
}

static inline uint64_t nt__mdns_earlier(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

#endif
