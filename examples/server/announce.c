/* Tells the link that the server is there: a small responder for multicast DNS
 * (RFC 6762) and DNS-SD (RFC 6763), over IPv4, on the one interface whose
 * address the server listens at. Port 5353 is shared with whoever else answers
 * there.
 *
 * It does not probe for its names, since the process and its port make them
 * unique on a machine, and answers without the delay that keeps many responders
 * apart. Datagrams that the system does not take at once are dropped: whoever
 * wanted to know asks again. */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "dns_message.h"
#include "server.h"

#define GROUP "224.0.0.251"
#define MDNS_PORT 5353
#define TYPE_NAME "_nettask-demo._tcp.local"
#define ALL_TYPES "_services._dns-sd._udp.local" /* RFC 6763, 9 */
#define HOST_TTL 120 /* RFC 6762 10: of what holds a host's name */
#define SERVICE_TTL 4500
#define LEGACY_TTL 10 /* RFC 6762 6.7 */
#define AGAIN_MS 1000 /* the announcement is repeated once, 8.3 */
#define TXT_BYTES 64

struct announcer {
  uv_udp_t udp;
  uv_timer_t again;
  int open; /* handles that are not closed yet */
  struct sockaddr_in group;
  struct in_addr address, mask;
  uint16_t port;
  char name[64];
  nt__dns_name_t type, types, instance, host;
  unsigned char txt[TXT_BYTES];
  size_t txt_size;
};

/* What is to be said, as bits. */
enum {
  SAY_TYPE = 1, /* that there are services of our type */
  SAY_PTR = 2,
  SAY_SRV = 4,
  SAY_TXT = 8,
  SAY_A = 16,
  SAY_ALL = SAY_PTR | SAY_SRV | SAY_TXT | SAY_A
};

/* How it is said. */
typedef struct answer {
  nt__dns_writer_t writer;
  unsigned char bytes[NT__DNS_PACKET_MAX];
  uint32_t max_ttl;
  int legacy; /* to an ordinary resolver */
} answer_t;

/* ---- Records ------------------------------------------------------------ */

static void say(answer_t* answer, nt__dns_record_t* record,
                nt__dns_section_t section) {
  record->section = section;
  if (record->ttl > answer->max_ttl)
    record->ttl = answer->max_ttl;
  record->flush = record->flush && !answer->legacy;
  nt__dns_write_record(&answer->writer, record);
}

static void say_one(answer_t* answer, const announcer_t* self, int which,
                    nt__dns_section_t section) {
  nt__dns_record_t record;

  memset(&record, 0, sizeof(record));
  record.ttl = HOST_TTL;
  record.flush = which != SAY_PTR && which != SAY_TYPE; /* those are shared */
  switch (which) {
    case SAY_TYPE:
      record.name = self->types;
      record.type = NT__DNS_PTR;
      record.target = self->type;
      record.ttl = SERVICE_TTL;
      break;
    case SAY_PTR:
      record.name = self->type;
      record.type = NT__DNS_PTR;
      record.target = self->instance;
      record.ttl = SERVICE_TTL;
      break;
    case SAY_SRV:
      record.name = self->instance;
      record.type = NT__DNS_SRV;
      record.port = self->port;
      record.target = self->host;
      break;
    case SAY_TXT:
      record.name = self->instance;
      record.type = NT__DNS_TXT;
      record.data = self->txt;
      record.data_size = self->txt_size;
      record.ttl = SERVICE_TTL;
      break;
    default:
      record.name = self->host;
      record.type = NT__DNS_A;
      record.data = (const unsigned char*) &self->address;
      record.data_size = sizeof(self->address);
  }
  say(answer, &record, section);
}

static void say_some(answer_t* answer, const announcer_t* self, int which,
                     nt__dns_section_t section) {
  int bit;

  for (bit = SAY_TYPE; bit <= SAY_A; bit <<= 1)
    if (which & bit)
      say_one(answer, self, bit, section);
}

/* What whoever hears this will ask for next (RFC 6763, 12). */
static int extras_of(int which) {
  int extras = which & SAY_PTR   ? SAY_SRV | SAY_TXT | SAY_A
               : which & SAY_SRV ? SAY_A
                                 : 0;

  return extras & ~which;
}

static void begin_answer(answer_t* answer, uint16_t id) {
  nt__dns_writer_init(&answer->writer, answer->bytes, sizeof(answer->bytes), id,
                      NT__DNS_RESPONSE | NT__DNS_AUTHORITATIVE);
  answer->max_ttl = UINT32_MAX;
  answer->legacy = 0;
}

static void send_answer(announcer_t* self, answer_t* answer,
                        const struct sockaddr* to) {
  uv_buf_t out =
      uv_buf_init((char*) answer->bytes, (unsigned) answer->writer.size);

  uv_udp_try_send(&self->udp, &out, 1, to);
}

/* With a time to live of 0 it is the goodbye. */
static void announce(announcer_t* self, uint32_t max_ttl) {
  answer_t answer;

  begin_answer(&answer, 0);
  answer.max_ttl = max_ttl;
  say_some(&answer, self, SAY_ALL, NT__DNS_ANSWER);
  send_answer(self, &answer, (const struct sockaddr*) &self->group);
}

static void on_again(uv_timer_t* timer) {
  announce(timer->data, UINT32_MAX);
}

/* ---- Questions ---------------------------------------------------------- */

static int is_asked(const nt__dns_record_t* question, int type,
                    const nt__dns_name_t* name) {
  return (question->type == type || question->type == NT__DNS_ANY) &&
         nt__dns_name_equal(&question->name, name);
}

static int wanted(const announcer_t* self, const nt__dns_record_t* question) {
  int which = 0;

  if (is_asked(question, NT__DNS_PTR, &self->types))
    which |= SAY_TYPE;
  if (is_asked(question, NT__DNS_PTR, &self->type))
    which |= SAY_PTR;
  if (is_asked(question, NT__DNS_SRV, &self->instance))
    which |= SAY_SRV;
  if (is_asked(question, NT__DNS_TXT, &self->instance))
    which |= SAY_TXT;
  if (is_asked(question, NT__DNS_A, &self->host))
    which |= SAY_A;
  return which;
}

/* RFC 6762 7.1: what the asker knows for half of its life is not said. */
static int is_known(const announcer_t* self, const nt__dns_record_t* known) {
  return known->section == NT__DNS_ANSWER && known->type == NT__DNS_PTR &&
         known->ttl >= SERVICE_TTL / 2 &&
         nt__dns_name_equal(&known->name, &self->type) &&
         nt__dns_name_equal(&known->target, &self->instance);
}

/* What a message asks for; `*unicast` when all of it may come by unicast. */
static int read_questions(const announcer_t* self, nt__dns_reader_t* reader,
                          answer_t* answer, int* unicast) {
  int which = 0;

  *unicast = 1;
  while (nt__dns_reader_next(reader) == NT__DNS_ENTRY) {
    const nt__dns_record_t* record = &reader->record;
    int more = 0;

    if (record->section == NT__DNS_QUESTION)
      more = wanted(self, record);
    else if (is_known(self, record))
      which &= ~SAY_PTR;
    if (more == 0)
      continue;
    which |= more;
    *unicast = *unicast && record->unicast;
    if (answer->legacy)
      nt__dns_write_question(&answer->writer, &record->name, record->type, 0);
  }
  return which;
}

/* RFC 6762 6.7: who asks from another port knows no multicast DNS. */
static void become_legacy(answer_t* answer) {
  answer->legacy = 1;
  answer->max_ttl = LEGACY_TTL;
  answer->writer.plain_srv = true;
}

static void answer_query(announcer_t* self, nt__dns_reader_t* reader,
                         const struct sockaddr_in* from) {
  const struct sockaddr_in* to = &self->group;
  answer_t answer;
  int unicast;
  int which;

  if (from->sin_port == htons(MDNS_PORT)) {
    begin_answer(&answer, 0);
  } else {
    begin_answer(&answer, reader->id);
    become_legacy(&answer);
  }
  which = read_questions(self, reader, &answer, &unicast);
  if (which == 0)
    return;
  /* On this machine several sockets share the port, of which only one would
   * hear a unicast answer. */
  if (answer.legacy ||
      (unicast && from->sin_addr.s_addr != self->address.s_addr))
    to = from;
  say_some(&answer, self, which, NT__DNS_ANSWER);
  say_some(&answer, self, extras_of(which), NT__DNS_ADDITIONAL);
  send_answer(self, &answer, (const struct sockaddr*) to);
}

/* RFC 6762 11: nobody else needs to know. */
static int is_on_link(const announcer_t* self, const struct sockaddr* from) {
  const struct sockaddr_in* in = (const void*) from;

  return from->sa_family == AF_INET &&
         ((in->sin_addr.s_addr ^ self->address.s_addr) & self->mask.s_addr) ==
             0;
}

static void on_query_alloc(uv_handle_t* handle, size_t suggested,
                           uv_buf_t* buf) {
  static char bytes[NT__DNS_MESSAGE_MAX];

  (void) handle;
  (void) suggested;
  *buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_query(uv_udp_t* udp, ssize_t size, const uv_buf_t* buf,
                     const struct sockaddr* from, unsigned flags) {
  announcer_t* self = udp->data;
  nt__dns_reader_t reader;

  (void) flags;
  if (from == NULL || size < 0 || !is_on_link(self, from))
    return;
  if (nt__dns_reader_init(&reader, buf->base, (size_t) size) &&
      (reader.flags & (NT__DNS_RESPONSE | NT__DNS_OPCODE)) == 0)
    answer_query(self, &reader, (const struct sockaddr_in*) (const void*) from);
}

/* ---- Starting and stopping ---------------------------------------------- */

static void add_txt(announcer_t* self, const char* key, int value) {
  char* string = (char*) self->txt + self->txt_size + 1;
  int size = snprintf(string, sizeof(self->txt) - self->txt_size - 1, "%s=%d",
                      key, value);

  self->txt[self->txt_size] = (unsigned char) size;
  self->txt_size += 1 + (size_t) size;
}

static int set_names(announcer_t* self, const announcement_t* what) {
  nt__dns_name_t local;

  snprintf(self->name, sizeof(self->name), "nettask-demo-%d-%d",
           (int) uv_os_getpid(), what->http_port);
  self->port = (uint16_t) what->http_port;
  add_txt(self, "tcp", what->tcp_port);
  add_txt(self, "udp", what->udp_port);
  return nt__dns_name_parse(&local, "local") &&
                 nt__dns_name_parse(&self->type, TYPE_NAME) &&
                 nt__dns_name_parse(&self->types, ALL_TYPES) &&
                 nt__dns_name_join(&self->instance, self->name,
                                   strlen(self->name), &self->type) &&
                 nt__dns_name_join(&self->host, self->name, strlen(self->name),
                                   &local)
             ? 0
             : UV_EINVAL;
}

/* The interface's mask says who is on the link. */
static int find_link(announcer_t* self, const char* address) {
  uv_interface_address_t* all;
  int count;
  int err = uv_inet_pton(AF_INET, address, &self->address);
  int i;

  if (err == 0)
    err = uv_interface_addresses(&all, &count);
  if (err)
    return err;
  err = UV_EADDRNOTAVAIL;
  for (i = 0; i < count; i++)
    if (all[i].address.address4.sin_family == AF_INET &&
        all[i].address.address4.sin_addr.s_addr == self->address.s_addr) {
      self->mask = all[i].netmask.netmask4.sin_addr;
      err = 0;
    }
  uv_free_interface_addresses(all, count);
  return err;
}

/* Linux hands a socket datagrams for groups that others joined, on any
 * interface, unless it is told not to. */
static void hear_own_groups_alone(uv_udp_t* udp) {
#ifdef IP_MULTICAST_ALL
  uv_os_fd_t fd;
  int off = 0;

  if (uv_fileno((uv_handle_t*) udp, &fd) == 0)
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof(off));
#else
  (void) udp;
#endif
}

static int join(announcer_t* self, const char* address) {
  struct sockaddr_in any;
  int err;

  uv_ip4_addr("0.0.0.0", MDNS_PORT, &any);
  uv_ip4_addr(GROUP, MDNS_PORT, &self->group);
  err =
      uv_udp_bind(&self->udp, (const struct sockaddr*) &any, UV_UDP_REUSEADDR);
  if (err == 0) {
    hear_own_groups_alone(&self->udp);
    err = uv_udp_set_membership(&self->udp, GROUP, address, UV_JOIN_GROUP);
  }
  if (err == 0)
    err = uv_udp_set_multicast_interface(&self->udp, address);
  if (err == 0)
    err = uv_udp_set_multicast_ttl(&self->udp, 255); /* RFC 6762 11 */
  if (err == 0)
    err = uv_udp_set_ttl(&self->udp, 255);
  if (err == 0)
    err = uv_udp_recv_start(&self->udp, on_query_alloc, on_query);
  return err;
}

static void on_closed(uv_handle_t* handle) {
  announcer_t* self = handle->data;

  if (--self->open == 0)
    free(self);
}

static void close_handles(announcer_t* self) {
  uv_close((uv_handle_t*) &self->udp, on_closed);
  uv_close((uv_handle_t*) &self->again, on_closed);
}

announcer_t* announce_start(uv_loop_t* loop, const announcement_t* what) {
  announcer_t* self = calloc(1, sizeof(*self));
  int err;

  if (self == NULL)
    return NULL;
  uv_udp_init(loop, &self->udp);
  uv_timer_init(loop, &self->again);
  self->udp.data = self->again.data = self;
  self->open = 2;
  err = set_names(self, what);
  if (err == 0)
    err = find_link(self, what->address);
  if (err == 0)
    err = join(self, what->address);
  if (err) {
    fprintf(stderr, "demo-server: not announced: %s\n", uv_strerror(err));
    close_handles(self);
    return NULL;
  }
  announce(self, UINT32_MAX);
  uv_timer_start(&self->again, on_again, AGAIN_MS, 0);
  return self;
}

const char* announce_name(const announcer_t* self) {
  return self != NULL ? self->name : "";
}

void announce_stop(announcer_t* self) {
  if (self == NULL)
    return;
  announce(self, 0);
  close_handles(self);
}
