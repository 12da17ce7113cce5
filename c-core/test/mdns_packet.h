/* Messages of responders, for tests: all that is said of one service, in any
 * order. */
#ifndef NT_TEST_MDNS_PACKET_H
#define NT_TEST_MDNS_PACKET_H

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "check.h"
#include "dns_message.h"

#define TYPE "_game._tcp"

typedef struct packet {
  unsigned char bytes[NT__DNS_MESSAGE_MAX];
  nt__dns_writer_t writer;
  nt__dns_record_t record; /* the one that is being written, and its data */
  unsigned char data[256];
} packet_t;

static inline void packet_begin(packet_t* p) {
  nt__dns_writer_init(&p->writer, p->bytes, sizeof(p->bytes), 0,
                      NT__DNS_RESPONSE | NT__DNS_AUTHORITATIVE);
}

/* "Room" of the type, or whatever has a dot in it. */
static inline nt__dns_name_t packet_name(const char* text) {
  char whole[NT__DNS_TEXT_SIZE];
  nt__dns_name_t name;

  snprintf(whole, sizeof(whole), "%s%s", text,
           strchr(text, '.') == NULL ? "." TYPE ".local" : "");
  if (!nt__dns_name_parse(&name, whole))
    fail_msg("%s is no name", whole);
  return name;
}

static inline nt__dns_record_t* packet_record(packet_t* p, const char* name,
                                              uint16_t type, uint32_t ttl) {
  memset(&p->record, 0, sizeof(p->record));
  p->record.section = NT__DNS_ANSWER;
  p->record.name = packet_name(name);
  p->record.type = type;
  p->record.ttl = ttl;
  p->record.flush = type != NT__DNS_PTR;
  return &p->record;
}

static inline void packet_add(packet_t* p) {
  assert_true(nt__dns_write_record(&p->writer, &p->record));
}

static inline void packet_ptr(packet_t* p, const char* instance, uint32_t ttl) {
  packet_record(p, TYPE ".local", NT__DNS_PTR, ttl)->target =
      packet_name(instance);
  packet_add(p);
}

static inline void packet_srv(packet_t* p, const char* instance,
                              const char* host, int port, uint32_t ttl) {
  nt__dns_record_t* record = packet_record(p, instance, NT__DNS_SRV, ttl);

  record->target = packet_name(host);
  record->port = (uint16_t) port;
  packet_add(p);
}

/* `text` is one string of it. */
static inline void packet_txt(packet_t* p, const char* instance,
                              const char* text, uint32_t ttl) {
  nt__dns_record_t* record = packet_record(p, instance, NT__DNS_TXT, ttl);

  p->data[0] = (unsigned char) strlen(text);
  memcpy(p->data + 1, text, p->data[0]);
  record->data = p->data;
  record->data_size = 1u + p->data[0];
  packet_add(p);
}

static inline void packet_address(packet_t* p, const char* host, const char* ip,
                                  uint32_t ttl) {
  bool v6 = strchr(ip, ':') != NULL;
  nt__dns_record_t* record =
      packet_record(p, host, v6 ? NT__DNS_AAAA : NT__DNS_A, ttl);

  assert_int_equal(uv_inet_pton(v6 ? AF_INET6 : AF_INET, ip, p->data), 0);
  record->data = p->data;
  record->data_size = v6 ? 16 : 4;
  packet_add(p);
}

/* All of it, as a responder says it. */
static inline void packet_service(packet_t* p, const char* instance,
                                  const char* host, int port, const char* ip,
                                  uint32_t ttl) {
  packet_ptr(p, instance, ttl);
  packet_srv(p, instance, host, port, ttl);
  packet_txt(p, instance, "map=desert", ttl);
  packet_address(p, host, ip, ttl);
}

#endif
