/* DNS messages as anybody on the link may send them. What was read of one is
 * written and read again, and must be the same; so must each name behind its
 * text. And it is read as the answer of a server for DNS over HTTPS. With the
 * highest bit of the first byte the rest is TXT data, with the next one a
 * name's text. */
#include <stdlib.h>
#include <string.h>

#include "dns_message.h"
#include "nettask.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

enum {
  ROOM = 1 << 21, /* what a message can become without all of its pointers */
  ENTRIES = 2000
};

static void require(int condition) {
  if (!condition)
    abort();
}

static void check_name(const nt__dns_name_t* name) {
  char text[NT__DNS_TEXT_SIZE];
  char label[NT__DNS_LABEL_MAX + 1];
  nt__dns_name_t back;
  nt__dns_name_t joined;
  size_t size = nt__dns_name_label(name, label);

  require(nt__dns_name_write(name, text) == strlen(text));
  require(strlen(text) < NT__DNS_TEXT_SIZE);
  require(nt__dns_name_parse(&back, text));
  require(back.size == name->size);
  require(memcmp(back.wire, name->wire, name->size) == 0);
  require(nt__dns_name_equal(&back, name));
  if (size == 0)
    return;
  memmove(back.wire, back.wire + 1 + size, back.size - 1 - size);
  back.size = (unsigned char) (back.size - 1 - size);
  require(nt__dns_name_is_child(name, &back));
  require(nt__dns_name_join(&joined, label, size, &back));
  require(nt__dns_name_equal(&joined, name));
}

static void check_txt(const uint8_t* data, size_t size) {
  nt__dns_txt_t txt;
  nt__dns_pair_t pair;
  size_t total = 0;
  unsigned count = 0;

  nt__dns_txt_init(&txt, data, size);
  while (nt__dns_txt_next(&txt, &pair)) {
    require(pair.key_size > 0);
    require(memchr(pair.key, '=', pair.key_size) == NULL);
    require(pair.has_value || pair.value_size == 0);
    total += pair.key_size + pair.value_size;
    count++;
  }
  require(count <= NT__DNS_TXT_STRINGS && total <= size);
}

static void check_record(const nt__dns_record_t* record) {
  check_name(&record->name);
  if (record->target.size > 0)
    check_name(&record->target);
  if (record->section != NT__DNS_QUESTION && record->type == NT__DNS_TXT)
    check_txt(record->data, record->data_size);
}

static bool same_name(const nt__dns_name_t* a, const nt__dns_name_t* b) {
  return a->size == b->size && memcmp(a->wire, b->wire, a->size) == 0;
}

static bool same_record(const nt__dns_record_t* a, const nt__dns_record_t* b) {
  return a->section == b->section && same_name(&a->name, &b->name) &&
         a->type == b->type && a->unicast == b->unicast &&
         a->flush == b->flush && a->ttl == b->ttl &&
         same_name(&a->target, &b->target) && a->priority == b->priority &&
         a->weight == b->weight && a->port == b->port &&
         a->data_size == b->data_size &&
         (a->data_size == 0 || memcmp(a->data, b->data, a->data_size) == 0);
}

static bool write_entry(nt__dns_writer_t* writer,
                        const nt__dns_record_t* record) {
  if (record->section == NT__DNS_QUESTION)
    return nt__dns_write_question(writer, &record->name, record->type,
                                  record->unicast);
  return nt__dns_write_record(writer, record);
}

/* All that can be read of it goes into the writer; how many did. */
static unsigned copy_message(const uint8_t* data, size_t size,
                             nt__dns_writer_t* writer) {
  nt__dns_reader_t reader;
  unsigned count = 0;

  if (!nt__dns_reader_init(&reader, data, size)) {
    require(nt__dns_reader_next(&reader) == NT__DNS_BAD);
    return 0;
  }
  while (count < ENTRIES && nt__dns_reader_next(&reader) == NT__DNS_ENTRY) {
    check_record(&reader.record);
    require(write_entry(writer, &reader.record));
    count++;
  }
  return count;
}

static void compare(const uint8_t* data, size_t size, const uint8_t* copy,
                    size_t copy_size, unsigned count) {
  nt__dns_reader_t original;
  nt__dns_reader_t again;

  if (!nt__dns_reader_init(&original, data, size))
    return;
  require(nt__dns_reader_init(&again, copy, copy_size));
  for (; count > 0; count--) {
    require(nt__dns_reader_next(&original) == NT__DNS_ENTRY);
    require(nt__dns_reader_next(&again) == NT__DNS_ENTRY);
    require(same_record(&original.record, &again.record));
  }
  require(nt__dns_reader_next(&again) == NT__DNS_END);
}

/* Into too little room: what is there stays a message. */
static void write_short(const uint8_t* data, size_t size, size_t room) {
  uint8_t* out = malloc(NT__DNS_HEADER_SIZE + room);
  nt__dns_writer_t writer;
  nt__dns_reader_t reader;
  unsigned count = 0;
  nt__dns_item_t item = NT__DNS_END;

  require(out != NULL);
  nt__dns_writer_init(&writer, out, NT__DNS_HEADER_SIZE + room, 0, 0);
  writer.plain_srv = (room & 1) != 0;
  if (nt__dns_reader_init(&reader, data, size))
    while (nt__dns_reader_next(&reader) == NT__DNS_ENTRY)
      count += write_entry(&writer, &reader.record);
  require(nt__dns_reader_init(&reader, out, writer.size));
  for (; (item = nt__dns_reader_next(&reader)) == NT__DNS_ENTRY; count--)
    require(count > 0);
  require(item == NT__DNS_END && count == 0);
  free(out);
}

static void check_message(const uint8_t* data, size_t size, size_t room) {
  static uint8_t out[ROOM];
  nt__dns_writer_t writer;
  unsigned count;

  nt__dns_writer_init(&writer, out, sizeof(out), 0, NT__DNS_RESPONSE);
  count = copy_message(data, size, &writer);
  compare(data, size, out, writer.size, count);
  write_short(data, size, room);
}

static void check_answer(const uint8_t* data, size_t size) {
  nt_dns_answer_t found;
  size_t i;
  int err = nt_dns_read(data, size, "game.example", NT_FAMILY_ANY, &found);

  require(err == 0 || err == NT_E_INVALID || err == NT_E_RESOLVE);
  require(found.count <= NT_DNS_ADDRESS_MAX && (err == 0 || !found.count));
  for (i = 0; i < found.count; i++)
    require(strlen(found.ips[i]) < sizeof(found.ips[i]));
}

static void check_text(const uint8_t* data, size_t size) {
  char* text = malloc(size + 1);
  nt__dns_name_t name;

  require(text != NULL);
  memcpy(text, data, size);
  text[size] = '\0';
  if (nt__dns_name_parse(&name, text))
    check_name(&name);
  free(text);
}

/* From memory of its own, so that a byte too far is seen. */
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint8_t* copy;

  if (size < 1)
    return 0;
  copy = malloc(size - 1);
  require(copy != NULL);
  memcpy(copy, data + 1, size - 1);
  if (data[0] & 0x80)
    check_txt(copy, size - 1);
  else if (data[0] & 0x40)
    check_text(copy, size - 1);
  else {
    check_message(copy, size - 1, (size_t) data[0] * 8);
    check_answer(copy, size - 1);
  }
  free(copy);
  return 0;
}
