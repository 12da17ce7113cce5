/* DNS over HTTPS (RFC 8484) as far as it is a matter of bytes: the question for
 * the addresses of a name, and what an answer to it says. Pure logic, any
 * thread.
 *
 * A resolver follows aliases by itself and puts all that it found into one
 * answer, so every address there counts, whatever its record is called. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "dns_message.h"
#include "nettask.h"

enum {
  RECURSION_DESIRED = 0x0100,
  NAME_ERROR = 3,
  TTL_MAX = 0x7fffffff, /* RFC 2181 8: what is above means 0 */
  RECORDS_MAX = 256
};

static uint16_t type_of(nt_family_t family) {
  return family == NT_FAMILY_IPV6 ? NT__DNS_AAAA : NT__DNS_A;
}

int nt_dns_query(const char* host, nt_family_t family,
                 unsigned char out[NT_DNS_QUERY_MAX]) {
  nt__dns_writer_t writer;
  nt__dns_name_t name;

  if (host == NULL || !nt__dns_name_parse(&name, host) || name.size <= 1)
    return NT_E_ADDRESS;
  /* The id is 0, so that caches on the way know equal questions. */
  nt__dns_writer_init(&writer, out, NT_DNS_QUERY_MAX, 0, RECURSION_DESIRED);
  if (!nt__dns_write_question(&writer, &name, type_of(family), false))
    return NT_E_ADDRESS;
  return (int) writer.size;
}

/* False for the answer to another question. */
static bool fits(const nt__dns_record_t* question, const nt__dns_name_t* name,
                 uint16_t type) {
  return question->type == type && nt__dns_name_equal(&question->name, name);
}

static void add_address(nt_dns_answer_t* out, const nt__dns_record_t* record) {
  size_t wanted = record->type == NT__DNS_A ? 4 : 16;
  int family = record->type == NT__DNS_A ? AF_INET : AF_INET6;
  char* ip;

  if (record->data_size != wanted || out->count == NT_DNS_ADDRESS_MAX)
    return;
  ip = out->ips[out->count];
  if (uv_inet_ntop(family, record->data, ip, sizeof(out->ips[0])) == 0)
    out->count++;
}

static void add_record(nt_dns_answer_t* out, const nt__dns_record_t* record,
                       uint16_t type) {
  uint32_t ttl = record->ttl > TTL_MAX ? 0 : record->ttl;

  if (ttl < out->ttl)
    out->ttl = ttl;
  if (record->type == type)
    add_address(out, record);
}

static int read_records(nt__dns_reader_t* reader, const nt__dns_name_t* name,
                        uint16_t type, nt_dns_answer_t* out) {
  const nt__dns_record_t* record = &reader->record;
  bool asked = false;
  nt__dns_item_t item;
  int i;

  for (i = 0; i < RECORDS_MAX; i++) {
    item = nt__dns_reader_next(reader);
    if (item != NT__DNS_ENTRY)
      return item == NT__DNS_END && asked ? 0 : NT_E_INVALID;
    if (record->section == NT__DNS_QUESTION) {
      if (!fits(record, name, type))
        return NT_E_INVALID;
      asked = true;
    } else if (record->section == NT__DNS_ANSWER) {
      add_record(out, record, type);
    }
  }
  return asked ? 0 : NT_E_INVALID;
}

/* With all that was found, whatever it is worth. */
static int read_message(nt__dns_reader_t* reader, const char* host,
                        uint16_t type, nt_dns_answer_t* out) {
  uint16_t code = reader->flags & NT__DNS_RCODE;
  nt__dns_name_t name;
  int err;

  if ((reader->flags & (NT__DNS_RESPONSE | NT__DNS_OPCODE)) !=
          NT__DNS_RESPONSE ||
      host == NULL || !nt__dns_name_parse(&name, host))
    return NT_E_INVALID;
  if (code != 0 && code != NAME_ERROR)
    return NT_E_RESOLVE;
  err = read_records(reader, &name, type, out);
  if (code == NAME_ERROR)
    out->count = 0;
  return err;
}

int nt_dns_read(const void* message, size_t size, const char* host,
                nt_family_t family, nt_dns_answer_t* out) {
  nt__dns_reader_t reader;
  int err = NT_E_INVALID;

  memset(out, 0, sizeof(*out));
  out->ttl = TTL_MAX;
  if (nt__dns_reader_init(&reader, message, size))
    err = read_message(&reader, host, type_of(family), out);
  if (err)
    out->count = 0;
  if (out->count == 0)
    out->ttl = 0;
  return err;
}
