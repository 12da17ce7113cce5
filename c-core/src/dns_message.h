/* DNS messages as multicast DNS uses them (RFC 1035, 6762), names and TXT data
 * of DNS-SD (RFC 6763). Pure logic: any thread, no memory of its own.
 *
 * What comes from the network is read by nt__dns_reader_next(), an entry at a
 * time. Names are kept in wire form, labels raw and in the case that they came
 * in; what an entry points to lies in the message. */
#ifndef NT_DNS_MESSAGE_H
#define NT_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  NT__DNS_HEADER_SIZE = 12,
  NT__DNS_MESSAGE_MAX = 9000, /* RFC 6762 17, with the IP and UDP headers */
  NT__DNS_PACKET_MAX = 1452,  /* goes through Ethernet whole, over IPv6 too */
  NT__DNS_NAME_MAX = 255,     /* in wire form, with the root */
  NT__DNS_LABEL_MAX = 63,
  NT__DNS_TEXT_SIZE = 1004 /* of any name as a text, with the NUL */
};

enum { /* header flags */
  NT__DNS_RESPONSE = 0x8000,
  NT__DNS_OPCODE = 0x7800, /* must be 0, as NT__DNS_RCODE */
  NT__DNS_AUTHORITATIVE = 0x0400,
  NT__DNS_TRUNCATED = 0x0200,
  NT__DNS_RCODE = 0x000f
};

enum { /* types */
  NT__DNS_A = 1,
  NT__DNS_PTR = 12,
  NT__DNS_TXT = 16,
  NT__DNS_AAAA = 28,
  NT__DNS_SRV = 33,
  NT__DNS_ANY = 255 /* in questions */
};

/* ---- Names -------------------------------------------------------------- */

/* Zeroed, it is not a name: the root has the size 1. */
typedef struct nt__dns_name {
  unsigned char size;
  unsigned char wire[NT__DNS_NAME_MAX]; /* no pointers; ends with the root */
} nt__dns_name_t;

/* Reads a text as in zone files: "My\.Room._http._tcp.local.", where the last
 * dot may be missing, \. and \\ are a dot and a backslash, and \065 is a byte.
 * False for an empty label, one above 63 bytes, a name above 255. "." is the
 * root, "" is an error. */
bool nt__dns_name_parse(nt__dns_name_t* name, const char* text);
/* The way back, without the last dot (the root is "."). Bytes above 0x7f stay
 * as they are. Returns the length. */
size_t nt__dns_name_write(const nt__dns_name_t* name,
                          char out[NT__DNS_TEXT_SIZE]);
/* ASCII letters are equal in both cases, no others (RFC 6762 16). */
bool nt__dns_name_equal(const nt__dns_name_t* a, const nt__dns_name_t* b);
/* `name` is one label and then `parent`, as an instance and its service. */
bool nt__dns_name_is_child(const nt__dns_name_t* name,
                           const nt__dns_name_t* parent);
/* The first label, raw and with a NUL behind it; returns its size, 0 for the
 * root. An instance's is its name, unescaped; it may be any bytes. */
size_t nt__dns_name_label(const nt__dns_name_t* name,
                          char out[NT__DNS_LABEL_MAX + 1]);
/* `label`, raw, in front of `parent`, which may be `name` itself. False when
 * it is empty or does not fit; `name` is as it was then. */
bool nt__dns_name_join(nt__dns_name_t* name, const void* label, size_t size,
                       const nt__dns_name_t* parent);

/* ---- Entries ------------------------------------------------------------ */

typedef enum nt__dns_section {
  NT__DNS_QUESTION,
  NT__DNS_ANSWER,
  NT__DNS_AUTHORITY,
  NT__DNS_ADDITIONAL
} nt__dns_section_t;

/* A question or a record of the class IN. */
typedef struct nt__dns_record {
  nt__dns_section_t section;
  nt__dns_name_t name;
  uint16_t type;
  bool unicast; /* of a question: the answer may come by unicast */
  /* Of a record alone. */
  bool flush;                /* it replaces what is known (RFC 6762 10.2) */
  uint32_t ttl;              /* seconds; 0: goodbye */
  nt__dns_name_t target;     /* PTR, SRV */
  uint16_t priority, weight; /* SRV */
  uint16_t port;             /* SRV */
  const unsigned char* data; /* any other: TXT, A (4 bytes), AAAA (16) */
  size_t data_size;
} nt__dns_record_t;

/* ---- Reading ------------------------------------------------------------ */

typedef enum nt__dns_item {
  NT__DNS_ENTRY, /* `record` */
  NT__DNS_END,
  NT__DNS_BAD /* it says nothing else from now on */
} nt__dns_item_t;

typedef struct nt__dns_reader {
  uint16_t id;
  uint16_t flags;
  uint16_t counts[4]; /* of each section, as the header claims */
  nt__dns_record_t record;

  /* Private. */
  const unsigned char* data;
  size_t size;
  size_t at;
  unsigned section;
  unsigned left; /* of its entries */
  bool bad;
} nt__dns_reader_t;

/* The message must stay while it is read. False when it has no header. */
bool nt__dns_reader_init(nt__dns_reader_t* reader, const void* data,
                         size_t size);
/* The next entry. Passed over are other classes (EDNS's OPT, too) and records
 * whose data is not what their type demands. BAD when what follows cannot be
 * found; the entries before it were good. */
nt__dns_item_t nt__dns_reader_next(nt__dns_reader_t* reader);

/* ---- Writing ------------------------------------------------------------ */

enum {
  NT__DNS_SUFFIXES = 96 /* places that later names may point to */
};

/* `out[0]` to `out[size - 1]` is a whole message at any time. */
typedef struct nt__dns_writer {
  unsigned char* out;
  size_t size;
  /* Set by the owner: SRV targets are not compressed, as an answer to an
   * ordinary resolver demands (RFC 6762 18.14). */
  bool plain_srv;

  /* Private. */
  size_t capacity;
  unsigned suffix_count;
  uint16_t suffixes[NT__DNS_SUFFIXES];
} nt__dns_writer_t;

/* `capacity` is NT__DNS_HEADER_SIZE at least. */
void nt__dns_writer_init(nt__dns_writer_t* writer, void* out, size_t capacity,
                         uint16_t id, uint16_t flags);
void nt__dns_writer_set_flags(nt__dns_writer_t* writer, uint16_t flags);
/* Both return false when it does not fit, or behind a later section, and leave
 * the message as it was. */
bool nt__dns_write_question(nt__dns_writer_t* writer,
                            const nt__dns_name_t* name, uint16_t type,
                            bool unicast);
bool nt__dns_write_record(nt__dns_writer_t* writer,
                          const nt__dns_record_t* record);

/* ---- TXT data (RFC 6763 6) ---------------------------------------------- */

enum {
  NT__DNS_TXT_STRINGS = 256 /* those behind it are passed over */
};

typedef struct nt__dns_pair {
  const char* key; /* not empty, not terminated, raw */
  size_t key_size;
  const char* value; /* any bytes; "" for one without */
  size_t value_size;
  bool has_value; /* false for "key", true for "key=" */
} nt__dns_pair_t;

typedef struct nt__dns_txt {
  const unsigned char* data;
  size_t size;

  /* Private. */
  size_t at;
  unsigned strings;
} nt__dns_txt_t;

void nt__dns_txt_init(nt__dns_txt_t* txt, const void* data, size_t size);
/* False at the end, or where a string would go beyond it. Empty strings, those
 * without a key, and keys that came before (in any case) are passed over. */
bool nt__dns_txt_next(nt__dns_txt_t* txt, nt__dns_pair_t* pair);

#endif
