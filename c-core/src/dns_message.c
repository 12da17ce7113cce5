/* DNS messages: reading what anybody on the link may have sent, and writing
 * our own. Pure logic: any thread, no memory but the caller's.
 *
 * What surprises: length bytes of labels are below 64 and so never letters,
 * which lets names be compared as bytes without looking where labels begin; and
 * a name may be compressed with a pointer to anywhere before it, so that only
 * whoever walks along it knows what it costs. */
#include "dns_message.h"

#include <assert.h>
#include <string.h>

#include "ascii.h"

enum {
  POINTER = 0xc0,        /* both bits: the rest of the name is elsewhere */
  POINTER_MAX = 0x3fff,  /* as far as one can lead */
  POINTERS_MAX = 127,    /* in a name: more than it can have labels */
  CLASS_IN = 1,          /* the Internet */
  CLASS_ANY = 255,       /* in questions */
  CLASS_TOP_BIT = 0x8000 /* RFC 6762 5.4 and 10.2 give it a meaning */
};

/* ---- Names -------------------------------------------------------------- */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool equal_bytes(const void* a, const void* b, size_t size) {
  const unsigned char* x = a;
  const unsigned char* y = b;
  size_t i;

  for (i = 0; i < size; i++)
    if (x[i] != y[i] && nt__lower((char) x[i]) != nt__lower((char) y[i]))
      return false;
  return true;
}

/* The byte behind a backslash; -1 when there is none. */
static int parse_escape(const char** text) {
  const char* c = *text;
  int value;

  if (!is_digit(c[0])) {
    *text += c[0] != '\0';
    return c[0] == '\0' ? -1 : (unsigned char) c[0];
  }
  if (!is_digit(c[1]) || !is_digit(c[2]))
    return -1;
  value = (c[0] - '0') * 100 + (c[1] - '0') * 10 + (c[2] - '0');
  *text += 3;
  return value <= 255 ? value : -1;
}

/* Up to a dot, which is taken too, or the end. */
static bool parse_label(const char** text,
                        unsigned char out[1 + NT__DNS_LABEL_MAX]) {
  size_t size = 0;

  while (**text != '\0' && **text != '.') {
    int c = (unsigned char) *(*text)++;

    if (c == '\\')
      c = parse_escape(text);
    if (c < 0 || size == NT__DNS_LABEL_MAX)
      return false;
    out[1 + size++] = (unsigned char) c;
  }
  *text += **text == '.';
  out[0] = (unsigned char) size;
  return size > 0;
}

bool nt__dns_name_parse(nt__dns_name_t* name, const char* text) {
  unsigned char label[1 + NT__DNS_LABEL_MAX];
  size_t used = 0;

  if (strcmp(text, ".") == 0)
    text++;
  else if (*text == '\0')
    return false;
  while (*text != '\0') {
    if (!parse_label(&text, label) ||
        used + 1 + label[0] + 1 > NT__DNS_NAME_MAX)
      return false;
    memcpy(name->wire + used, label, 1u + label[0]);
    used += 1u + label[0];
  }
  name->wire[used++] = 0;
  name->size = (unsigned char) used;
  return true;
}

static char* write_char(char* out, unsigned char c) {
  if (c < ' ' || c == 0x7f) {
    *out++ = '\\';
    *out++ = (char) ('0' + c / 100);
    *out++ = (char) ('0' + c / 10 % 10);
    *out++ = (char) ('0' + c % 10);
    return out;
  }
  if (c == '.' || c == '\\')
    *out++ = '\\';
  *out++ = (char) c;
  return out;
}

size_t nt__dns_name_write(const nt__dns_name_t* name,
                          char out[NT__DNS_TEXT_SIZE]) {
  const unsigned char* label = name->wire;
  char* end = out;
  size_t i;

  if (*label == 0)
    *end++ = '.';
  for (; *label != 0; label += 1 + *label) {
    if (label != name->wire)
      *end++ = '.';
    for (i = 1; i <= *label; i++)
      end = write_char(end, label[i]);
  }
  *end = '\0';
  return (size_t) (end - out);
}

bool nt__dns_name_equal(const nt__dns_name_t* a, const nt__dns_name_t* b) {
  return a->size == b->size && equal_bytes(a->wire, b->wire, a->size);
}

bool nt__dns_name_is_child(const nt__dns_name_t* name,
                           const nt__dns_name_t* parent) {
  size_t first = 1u + name->wire[0];

  return name->size == first + parent->size &&
         equal_bytes(name->wire + first, parent->wire, parent->size);
}

size_t nt__dns_name_label(const nt__dns_name_t* name,
                          char out[NT__DNS_LABEL_MAX + 1]) {
  size_t size = name->wire[0];

  memcpy(out, name->wire + 1, size);
  out[size] = '\0';
  return size;
}

bool nt__dns_name_join(nt__dns_name_t* name, const void* label, size_t size,
                       const nt__dns_name_t* parent) {
  size_t whole = 1 + size + parent->size;

  if (size == 0 || size > NT__DNS_LABEL_MAX || whole > NT__DNS_NAME_MAX)
    return false;
  memmove(name->wire + 1 + size, parent->wire, parent->size);
  memcpy(name->wire + 1, label, size);
  name->wire[0] = (unsigned char) size;
  name->size = (unsigned char) whole;
  return true;
}

/* ---- Reading ------------------------------------------------------------ */

static uint16_t get_16(const unsigned char* p) {
  return (uint16_t) (p[0] << 8 | p[1]);
}

static uint32_t get_32(const unsigned char* p) {
  return (uint32_t) get_16(p) << 16 | get_16(p + 2);
}

/* Where the pointer at `from` leads, 0 when nowhere. It must be before what
 * has been read of the name (RFC 1035 4.1.4: "a prior occurrence"), so there is
 * no way round. */
static size_t follow(const nt__dns_reader_t* reader, size_t from,
                     size_t before) {
  size_t to;

  if (reader->size - from < 2)
    return 0;
  to = get_16(reader->data + from) & POINTER_MAX;
  return to >= NT__DNS_HEADER_SIZE && to < before ? to : 0;
}

/* The name at `*at`, which moves behind it. */
static bool read_name(const nt__dns_reader_t* reader, size_t* at,
                      nt__dns_name_t* name) {
  size_t run = *at; /* where the labels began that are being read */
  size_t from = *at;
  size_t used = 0;
  unsigned pointers = 0;
  unsigned n;

  do {
    if (from >= reader->size)
      return false;
    n = reader->data[from];
    if (n >= POINTER) {
      if (pointers++ == 0)
        *at = from + 2;
      from = run = follow(reader, from, run);
      if (from == 0 || pointers > POINTERS_MAX)
        return false;
      continue;
    }
    if (n > NT__DNS_LABEL_MAX || reader->size - from < 1 + n ||
        used + 1 + n > NT__DNS_NAME_MAX)
      return false;
    memcpy(name->wire + used, reader->data + from, 1 + n);
    used += 1 + n;
    from += 1 + n;
  } while (n != 0);
  if (pointers == 0)
    *at = from;
  name->size = (unsigned char) used;
  return true;
}

static bool read_target(nt__dns_reader_t* reader, size_t from, size_t end) {
  return read_name(reader, &from, &reader->record.target) && from == end;
}

static bool read_srv(nt__dns_reader_t* reader, size_t from, size_t end) {
  nt__dns_record_t* record = &reader->record;
  const unsigned char* data = reader->data + from;

  if (end - from < 6)
    return false;
  record->priority = get_16(data);
  record->weight = get_16(data + 2);
  record->port = get_16(data + 4);
  return read_target(reader, from + 6, end);
}

/* False when it is not what the type demands. */
static bool read_data(nt__dns_reader_t* reader, size_t from, size_t end) {
  nt__dns_record_t* record = &reader->record;

  switch (record->type) {
    case NT__DNS_PTR:
      return read_target(reader, from, end);
    case NT__DNS_SRV:
      return read_srv(reader, from, end);
    default:
      record->data = reader->data + from;
      record->data_size = end - from;
      return record->type == NT__DNS_A      ? end - from == 4
             : record->type == NT__DNS_AAAA ? end - from == 16
                                            : true;
  }
}

typedef enum found {
  FOUND_ENTRY,
  FOUND_OTHER, /* to be passed over */
  FOUND_NOTHING
} found_t;

static found_t read_question(nt__dns_reader_t* reader) {
  const unsigned char* data = reader->data + reader->at;
  unsigned class;

  if (reader->size - reader->at < 4)
    return FOUND_NOTHING;
  reader->at += 4;
  reader->record.type = get_16(data);
  class = get_16(data + 2);
  reader->record.unicast = (class & CLASS_TOP_BIT) != 0;
  class &= ~(unsigned) CLASS_TOP_BIT;
  return class == CLASS_IN || class == CLASS_ANY ? FOUND_ENTRY : FOUND_OTHER;
}

static found_t read_record(nt__dns_reader_t* reader) {
  const unsigned char* data = reader->data + reader->at;
  nt__dns_record_t* record = &reader->record;
  unsigned class;
  size_t from;

  if (reader->size - reader->at < 10)
    return FOUND_NOTHING;
  from = reader->at + 10;
  if (reader->size - from < get_16(data + 8))
    return FOUND_NOTHING;
  reader->at = from + get_16(data + 8);
  record->type = get_16(data);
  class = get_16(data + 2);
  record->flush = (class & CLASS_TOP_BIT) != 0;
  record->ttl = get_32(data + 4);
  if (record->ttl > INT32_MAX) /* RFC 2181 8 */
    record->ttl = 0;
  if ((class & ~(unsigned) CLASS_TOP_BIT) != CLASS_IN)
    return FOUND_OTHER;
  return read_data(reader, from, reader->at) ? FOUND_ENTRY : FOUND_OTHER;
}

static found_t read_entry(nt__dns_reader_t* reader) {
  nt__dns_record_t* record = &reader->record;

  record->section = (nt__dns_section_t) reader->section;
  record->unicast = record->flush = false;
  record->ttl = 0;
  record->target.size = 0;
  record->priority = record->weight = record->port = 0;
  record->data = NULL;
  record->data_size = 0;
  if (!read_name(reader, &reader->at, &record->name))
    return FOUND_NOTHING;
  return reader->section == NT__DNS_QUESTION ? read_question(reader)
                                             : read_record(reader);
}

bool nt__dns_reader_init(nt__dns_reader_t* reader, const void* data,
                         size_t size) {
  size_t i;

  memset(reader, 0, sizeof(*reader));
  reader->data = data;
  reader->size = size;
  reader->at = NT__DNS_HEADER_SIZE;
  reader->bad = size < NT__DNS_HEADER_SIZE;
  if (reader->bad)
    return false;
  reader->id = get_16(reader->data);
  reader->flags = get_16(reader->data + 2);
  for (i = 0; i < 4; i++)
    reader->counts[i] = get_16(reader->data + 4 + 2 * i);
  reader->left = reader->counts[0];
  return true;
}

nt__dns_item_t nt__dns_reader_next(nt__dns_reader_t* reader) {
  while (!reader->bad) {
    if (reader->left == 0 && reader->section == NT__DNS_ADDITIONAL)
      return NT__DNS_END;
    if (reader->left == 0) {
      reader->left = reader->counts[++reader->section];
      continue;
    }
    reader->left--;
    switch (read_entry(reader)) {
      case FOUND_ENTRY:
        return NT__DNS_ENTRY;
      case FOUND_OTHER:
        break;
      case FOUND_NOTHING:
        reader->bad = true;
        break;
    }
  }
  return NT__DNS_BAD;
}

/* ---- Writing ------------------------------------------------------------ */

static void set_16(unsigned char* p, unsigned value) {
  p[0] = (unsigned char) (value >> 8);
  p[1] = (unsigned char) value;
}

static bool put(nt__dns_writer_t* writer, const void* data, size_t size) {
  if (writer->capacity - writer->size < size)
    return false;
  if (size > 0)
    memcpy(writer->out + writer->size, data, size);
  writer->size += size;
  return true;
}

static bool put_16(nt__dns_writer_t* writer, unsigned value) {
  unsigned char bytes[2];

  set_16(bytes, value);
  return put(writer, bytes, sizeof(bytes));
}

static bool put_32(nt__dns_writer_t* writer, uint32_t value) {
  return put_16(writer, value >> 16) && put_16(writer, value & 0xffff);
}

/* The name at that place of what we have written. */
static bool is_at(const nt__dns_writer_t* writer, size_t at,
                  const unsigned char* wire) {
  for (;;) {
    unsigned n = writer->out[at];

    if (n >= POINTER) {
      at = get_16(writer->out + at) & POINTER_MAX;
      continue;
    }
    /* Letters in another case are other ones here: whoever shows the name
     * wants it as it is written. */
    if (n != *wire || memcmp(writer->out + at, wire, 1 + n) != 0)
      return false;
    if (n == 0)
      return true;
    at += 1 + n;
    wire += 1 + n;
  }
}

/* 0: it is none of the first `count`. */
static unsigned find_suffix(const nt__dns_writer_t* writer, unsigned count,
                            const unsigned char* wire) {
  unsigned i;

  for (i = 0; i < count; i++)
    if (is_at(writer, writer->suffixes[i], wire))
      return writer->suffixes[i];
  return 0;
}

static void remember_suffix(nt__dns_writer_t* writer) {
  if (writer->suffix_count < NT__DNS_SUFFIXES && writer->size <= POINTER_MAX)
    writer->suffixes[writer->suffix_count++] = (uint16_t) writer->size;
}

static bool put_name(nt__dns_writer_t* writer, const nt__dns_name_t* name,
                     bool compress) {
  /* Suffixes of the name itself are no goal before it is whole. */
  unsigned known = compress ? writer->suffix_count : 0;
  const unsigned char* rest;

  assert(name->size > 0);
  for (rest = name->wire; *rest != 0; rest += 1 + *rest) {
    unsigned to = find_suffix(writer, known, rest);

    if (to != 0)
      return put_16(writer, POINTER << 8 | to);
    remember_suffix(writer);
    if (!put(writer, rest, 1u + *rest))
      return false;
  }
  return put(writer, rest, 1);
}

static unsigned char* count_of(nt__dns_writer_t* writer, unsigned section) {
  return writer->out + 4 + (size_t) 2 * section;
}

/* An entry has to come before those of later sections, and be counted. */
static bool may_enter(nt__dns_writer_t* writer, unsigned section) {
  unsigned later;

  for (later = section + 1; later <= NT__DNS_ADDITIONAL; later++)
    if (get_16(count_of(writer, later)) != 0)
      return false;
  return get_16(count_of(writer, section)) < UINT16_MAX;
}

static void enter(nt__dns_writer_t* writer, unsigned section) {
  unsigned char* count = count_of(writer, section);

  set_16(count, get_16(count) + 1u);
}

static bool put_question(nt__dns_writer_t* writer, const nt__dns_name_t* name,
                         uint16_t type, bool unicast) {
  return put_name(writer, name, true) && put_16(writer, type) &&
         put_16(writer, CLASS_IN | (unicast ? CLASS_TOP_BIT : 0));
}

static bool put_data(nt__dns_writer_t* writer, const nt__dns_record_t* record) {
  switch (record->type) {
    case NT__DNS_PTR:
      return put_name(writer, &record->target, true);
    case NT__DNS_SRV:
      return put_16(writer, record->priority) &&
             put_16(writer, record->weight) && put_16(writer, record->port) &&
             put_name(writer, &record->target, !writer->plain_srv);
    default:
      return put(writer, record->data, record->data_size);
  }
}

static bool put_record(nt__dns_writer_t* writer,
                       const nt__dns_record_t* record) {
  size_t from;

  if (!put_name(writer, &record->name, true) || !put_16(writer, record->type) ||
      !put_16(writer, CLASS_IN | (record->flush ? CLASS_TOP_BIT : 0)) ||
      !put_32(writer, record->ttl) || !put_16(writer, 0))
    return false;
  from = writer->size;
  if (!put_data(writer, record) || writer->size - from > UINT16_MAX)
    return false;
  set_16(writer->out + from - 2, (unsigned) (writer->size - from));
  return true;
}

void nt__dns_writer_init(nt__dns_writer_t* writer, void* out, size_t capacity,
                         uint16_t id, uint16_t flags) {
  assert(capacity >= NT__DNS_HEADER_SIZE);
  writer->out = out;
  writer->capacity = capacity;
  writer->size = NT__DNS_HEADER_SIZE;
  writer->plain_srv = false;
  writer->suffix_count = 0;
  memset(out, 0, NT__DNS_HEADER_SIZE);
  set_16(writer->out, id);
  nt__dns_writer_set_flags(writer, flags);
}

void nt__dns_writer_set_flags(nt__dns_writer_t* writer, uint16_t flags) {
  set_16(writer->out + 2, flags);
}

bool nt__dns_write_question(nt__dns_writer_t* writer,
                            const nt__dns_name_t* name, uint16_t type,
                            bool unicast) {
  size_t size = writer->size;
  unsigned suffix_count = writer->suffix_count;

  if (may_enter(writer, NT__DNS_QUESTION) &&
      put_question(writer, name, type, unicast)) {
    enter(writer, NT__DNS_QUESTION);
    return true;
  }
  writer->size = size;
  writer->suffix_count = suffix_count;
  return false;
}

bool nt__dns_write_record(nt__dns_writer_t* writer,
                          const nt__dns_record_t* record) {
  size_t size = writer->size;
  unsigned suffix_count = writer->suffix_count;

  assert(record->section != NT__DNS_QUESTION);
  if (may_enter(writer, record->section) && put_record(writer, record)) {
    enter(writer, record->section);
    return true;
  }
  writer->size = size;
  writer->suffix_count = suffix_count;
  return false;
}

/* ---- TXT data ----------------------------------------------------------- */

/* The string at `*at`, which moves behind it. */
static bool next_string(const nt__dns_txt_t* txt, size_t* at,
                        const char** string, size_t* size) {
  if (*at >= txt->size || txt->size - *at - 1 < txt->data[*at])
    return false;
  *size = txt->data[*at];
  *string = (const char*) txt->data + *at + 1;
  *at += 1 + *size;
  return true;
}

/* False without a key. */
static bool split(const char* string, size_t size, nt__dns_pair_t* pair) {
  const char* sign = size > 0 ? memchr(string, '=', size) : NULL;

  pair->key = string;
  pair->key_size = sign != NULL ? (size_t) (sign - string) : size;
  pair->has_value = sign != NULL;
  pair->value = sign != NULL ? sign + 1 : "";
  pair->value_size = sign != NULL ? size - pair->key_size - 1 : 0;
  return pair->key_size > 0;
}

/* RFC 6763 6.4: of equal keys the first counts. */
static bool came_before(const nt__dns_txt_t* txt, const nt__dns_pair_t* pair) {
  nt__dns_pair_t other;
  const char* string;
  size_t at = 0;
  size_t size;

  while (next_string(txt, &at, &string, &size) && string < pair->key)
    if (split(string, size, &other) && other.key_size == pair->key_size &&
        equal_bytes(other.key, pair->key, pair->key_size))
      return true;
  return false;
}

void nt__dns_txt_init(nt__dns_txt_t* txt, const void* data, size_t size) {
  txt->data = data;
  txt->size = size;
  txt->at = 0;
  txt->strings = 0;
}

bool nt__dns_txt_next(nt__dns_txt_t* txt, nt__dns_pair_t* pair) {
  const char* string;
  size_t size;

  while (txt->strings < NT__DNS_TXT_STRINGS &&
         next_string(txt, &txt->at, &string, &size)) {
    txt->strings++;
    if (split(string, size, pair) && !came_before(txt, pair))
      return true;
  }
  return false;
}
