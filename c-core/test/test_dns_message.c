/* dns_message.c: names and texts, messages made by hand and by the writer, cut
 * at every byte, and what nobody should send. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "dns_message.h"
#include "guard.h"

static nt__dns_name_t name_of(const char* text) {
  nt__dns_name_t name;

  assert_true(nt__dns_name_parse(&name, text));
  return name;
}

static const char* text_of(const nt__dns_name_t* name) {
  static char text[NT__DNS_TEXT_SIZE];
  size_t size = nt__dns_name_write(name, text);

  assert_int_equal(size, strlen(text));
  return text;
}

/* ---- Names -------------------------------------------------------------- */

#define TEN "0123456789"
#define LABEL_63 TEN TEN TEN TEN TEN TEN "012"
#define LABEL_61 TEN TEN TEN TEN TEN TEN "0"

static const struct {
  const char* text;
  const char* wire; /* NULL: refused */
  size_t size;
  const char* back; /* NULL: as `text` */
} names[] = {
  { "local", "\5local", 7, NULL },
  { "_http._tcp.local.", "\5_http\4_tcp\5local", 18, "_http._tcp.local" },
  { ".", "", 1, NULL },
  { "My Room\\.2.local", "\11My Room.2\5local", 17, NULL },
  { "a\\\\b", "\3a\\b", 5, NULL },
  { "\\065\\b\\255", "\3Ab\377", 5, "Ab\377" },
  { "a\\000b\\031\\127c", "\6a\0b\37\177c", 8, NULL },
  { "gr\303\274n", "\5gr\303\274n", 7, NULL },
  { LABEL_63, "\77" LABEL_63, 65, NULL },
  { LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_61,
    "\77" LABEL_63 "\77" LABEL_63 "\77" LABEL_63 "\75" LABEL_61, 255, NULL },
  { "", NULL, 0, NULL },
  { "..", NULL, 0, NULL },
  { ".a", NULL, 0, NULL },
  { "a..b", NULL, 0, NULL },
  { "a.b..", NULL, 0, NULL },
  { "a\\", NULL, 0, NULL },
  { "a\\1", NULL, 0, NULL },
  { "a\\12b", NULL, 0, NULL },
  { "a\\256", NULL, 0, NULL },
  { LABEL_63 "3", NULL, 0, NULL },
  { LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_61 "1", NULL, 0, NULL },
  { LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_61 ".a", NULL, 0, NULL },
};

static void names_as_texts(void** state) {
  nt__dns_name_t name;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(names); i++) {
    bool good = nt__dns_name_parse(&name, names[i].text);

    assert_int_equal(good, names[i].wire != NULL);
    if (!good)
      continue;
    assert_int_equal(name.size, names[i].size);
    assert_memory_equal(name.wire, names[i].wire, name.size);
    assert_string_equal(text_of(&name),
                        names[i].back != NULL ? names[i].back : names[i].text);
  }
}

/* Texts of random names, with any bytes in them, lead back to the names. */
static void texts_lead_back(void** state) {
  uint64_t random = 20;
  nt__dns_name_t name;
  nt__dns_name_t back;
  char label[NT__DNS_LABEL_MAX];
  int i;
  size_t k;

  (void) state;
  for (i = 0; i < 2000; i++) {
    name = name_of(".");
    do {
      size_t size = 1 + next_random(&random) % NT__DNS_LABEL_MAX;

      for (k = 0; k < size; k++)
        label[k] = (char) next_random(&random);
      if (!nt__dns_name_join(&name, label, size, &name))
        break;
    } while (next_random(&random) % 8 != 0);
    assert_true(nt__dns_name_parse(&back, text_of(&name)));
    assert_true(nt__dns_name_equal(&back, &name));
  }
}

static void longest_text(void** state) {
  nt__dns_name_t name = name_of(".");
  char label[NT__DNS_LABEL_MAX];

  (void) state;
  memset(label, 1, sizeof(label));
  assert_true(nt__dns_name_join(&name, label, 61, &name));
  assert_true(nt__dns_name_join(&name, label, 63, &name));
  assert_true(nt__dns_name_join(&name, label, 63, &name));
  assert_true(nt__dns_name_join(&name, label, 63, &name));
  assert_int_equal(name.size, NT__DNS_NAME_MAX);
  assert_int_equal(strlen(text_of(&name)), NT__DNS_TEXT_SIZE - 1);
}

static const struct {
  const char *a, *b;
  bool equal, child; /* b is the child of a */
} pairs[] = {
  { "_http._tcp.local", "_HTTP._tcp.LOCAL.", true, false },
  { "a[", "A{", false, false }, /* no letters */
  { "a@", "a`", false, false },
  { "gr\303\274n", "gr\303\234n", false, false },
  { "a.b", "a\\.b", false, false },
  { "a", "a.b", false, false },
  { ".", ".", true, false },
  { ".", "a", false, true },
  { "_http._tcp.local", "Room._Http._tcp.local", false, true },
  { "_http._tcp.local", "x.Room._http._tcp.local", false, false },
  { "_http._tcp.local", "x_http._tcp.local", false, false },
  { "_http._tcp.local", "\\005_http._tcp.local", false, false },
  { "a.local", "b.c.local", false, false },
};

static void comparing(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(pairs); i++) {
    nt__dns_name_t a = name_of(pairs[i].a);
    nt__dns_name_t b = name_of(pairs[i].b);

    assert_int_equal(nt__dns_name_equal(&a, &b), pairs[i].equal);
    assert_int_equal(nt__dns_name_equal(&b, &a), pairs[i].equal);
    assert_int_equal(nt__dns_name_is_child(&b, &a), pairs[i].child);
    assert_false(nt__dns_name_is_child(&a, &b));
  }
}

static void labels(void** state) {
  nt__dns_name_t type = name_of("_http._tcp.local");
  nt__dns_name_t root = name_of(".");
  nt__dns_name_t name = type;
  char label[NT__DNS_LABEL_MAX + 1];
  int i;

  (void) state;
  assert_true(nt__dns_name_join(&name, "My.R\0om", 7, &type));
  assert_string_equal(text_of(&name), "My\\.R\\000om._http._tcp.local");
  assert_true(nt__dns_name_is_child(&name, &type));
  assert_int_equal(nt__dns_name_label(&name, label), 7);
  assert_memory_equal(label, "My.R\0om", 8);
  assert_int_equal(nt__dns_name_label(&root, label), 0);
  assert_string_equal(label, "");

  assert_false(nt__dns_name_join(&name, "", 0, &type));
  assert_false(nt__dns_name_join(&name, LABEL_63 "3", 64, &type));
  assert_string_equal(text_of(&name), "My\\.R\\000om._http._tcp.local");
  for (i = 0; i < 127; i++)
    assert_true(nt__dns_name_join(&root, "x", 1, &root));
  assert_int_equal(root.size, NT__DNS_NAME_MAX);
  assert_false(nt__dns_name_join(&root, "x", 1, &root));
}

/* ---- Reading ------------------------------------------------------------ */

enum {
  SHOWN_SIZE = 8192
};

static void add(char* out, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(char* out, const char* format, ...) {
  size_t used = strlen(out);
  va_list args;

  va_start(args, format);
  vsnprintf(out + used, SHOWN_SIZE - used, format, args);
  va_end(args);
}

static void show_data(const nt__dns_record_t* record, char* out) {
  size_t i;

  switch (record->type) {
    case NT__DNS_SRV:
      add(out, "%u %u %u ", record->priority, record->weight, record->port);
      add(out, "%s", text_of(&record->target));
      break;
    case NT__DNS_PTR:
      add(out, "%s", text_of(&record->target));
      break;
    default:
      for (i = 0; i < record->data_size; i++)
        add(out, "%02x", record->data[i]);
  }
}

static void show_entry(const nt__dns_record_t* record, char* out) {
  add(out, "%c %s %u", "?=~+"[record->section], text_of(&record->name),
      record -> type);
  if (record->section == NT__DNS_QUESTION) {
    add(out, "%s\n", record->unicast ? " u" : "");
    return;
  }
  add(out, "%s %u ", record->flush ? " f" : "", (unsigned) record->ttl);
  show_data(record, out);
  add(out, "\n");
}

/* A line an entry; "bad" when it ended so. */
static void show_message(const void* data, size_t size, char* out) {
  nt__dns_reader_t reader;
  nt__dns_item_t item;

  *out = '\0';
  if (!nt__dns_reader_init(&reader, data, size)) {
    assert_int_equal(nt__dns_reader_next(&reader), NT__DNS_BAD);
    add(out, "no header");
    return;
  }
  for (;;) {
    item = nt__dns_reader_next(&reader);
    if (item != NT__DNS_ENTRY)
      break;
    show_entry(&reader.record, out);
  }
  if (item == NT__DNS_BAD)
    add(out, "bad");
  assert_int_equal(nt__dns_reader_next(&reader), item);
}

#define HEADER(questions, answers, authority, additional)                      \
  "\0\0\204\0\0" questions "\0" answers "\0" authority "\0" additional
#define TTL "\0\0\0\170"

#define MESSAGE(bytes, shown)                                                  \
  { bytes, sizeof(bytes) - 1, shown }

/* Offsets: the header ends at 12. */
static const struct {
  const char* bytes;
  size_t size;
  const char* shown;
} messages[] = {
  MESSAGE(HEADER("\0", "\0", "\0", "\0"), ""),
  MESSAGE(HEADER("\0", "\0", "\0", "\0") "garbage", ""),
  /* A question; with the unicast bit; of the class ANY; of CHAOS. */
  MESSAGE(HEADER("\4", "\0", "\0", "\0") "\5_http\4_tcp\5local\0\0\14\0\1"
                                         "\300\14\0\14\200\1"
                                         "\300\22\0\377\0\377"
                                         "\300\14\0\14\0\3",
          "? _http._tcp.local 12\n? _http._tcp.local 12 u\n"
          "? _tcp.local 255\n"),
  /* A whole answer, compressed. */
  MESSAGE(HEADER("\0", "\1", "\0",
                 "\4") "\5_http\4_tcp\5local\0"
                       "\0\14\0\1" TTL "\0\4\1a\300\14"
                       "\300\50\0\41\200\1" TTL "\0\12\0\1\0\2\37\220\1h\300\27"
                       "\300\50\0\20\200\1" TTL "\0\4\3a=b"
                       "\300\76\0\1\200\1" TTL "\0\4\177\0\0\1"
                       "\300\76\0\34\0\1" TTL "\0\20\376\200\0\0\0\0\0\0"
                       "\0\0\0\0\0\0\0\1",
          "= _http._tcp.local 12 120 a._http._tcp.local\n"
          "+ a._http._tcp.local 33 f 120 1 2 8080 h.local\n"
          "+ a._http._tcp.local 16 f 120 03613d62\n"
          "+ h.local 1 f 120 7f000001\n"
          "+ h.local 28 120 fe800000000000000000000000000001\n"),
  /* A type that we do not know, empty data, the authority's section. */
  MESSAGE(HEADER("\0", "\1", "\1", "\0") "\1a\0\1\0\0\1" TTL "\0\2xy"
                                         "\0\0\20\0\1" TTL "\0\0",
          "= a 256 120 7879\n~ . 16 120 \n"),
  /* Passed over: an A of 3 bytes, OPT, an AAAA of 4, a PTR with something
   * behind it, an SRV that ends too early, one whose target goes on in the
   * next record, an A of CHAOS. */
  MESSAGE(HEADER("\0", "\1", "\0", "\7") "\1a\0\0\1\0\1" TTL "\0\3abc"
                                         "\0\0\51\5\240" TTL "\0\0"
                                         "\0\0\34\0\1" TTL "\0\4abcd"
                                         "\0\0\14\0\1" TTL "\0\3\300\14x"
                                         "\0\0\41\0\1" TTL "\0\5\0\1\0\2\0"
                                         "\0\0\41\0\1" TTL "\0\7\0\1\0\2\0\3\1"
                                         "\0\0\1\0\3" TTL "\0\4abcd"
                                         "\0\0\1\0\1" TTL "\0\4abcd",
          "+ . 1 120 61626364\n"),
  /* A TTL with the highest bit is none (RFC 2181 8). */
  MESSAGE(HEADER("\0", "\2", "\0", "\0") "\0\0\1\0\1\200\0\0\1\0\4abcd"
                                         "\0\0\1\0\1\177\377\377\377\0\4abcd",
          "= . 1 0 61626364\n= . 1 2147483647 61626364\n"),
  /* Pointers: to themselves, forward, to each other, into the header, to a
   * name that is being read, cut off, beyond the end. */
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\300\14\0\14\0\1", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\300\22\0\14\0\1\1a\0", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\300\16\300\14\0\14\0\1", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\300\4\0\14\0\1", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\1a\300\14\0\14\0\1", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\1a\300", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\377\377\0\14\0\1", "bad"),
  MESSAGE(HEADER("\2", "\0", "\0", "\0") "\1a\1b\0\0\14\0\1"
                                         "\1c\300\25\0\14\0\1",
          "? a.b 12\nbad"),
  /* Pointers to pointers, always back. */
  MESSAGE(HEADER("\3", "\0", "\0", "\0") "\1a\0\0\14\0\1"
                                         "\300\14\0\14\0\1"
                                         "\1b\300\23\0\14\0\1",
          "? a 12\n? a 12\n? b.a 12\n"),
  /* Forward, though before the name that led there. */
  MESSAGE(HEADER("\0", "\2", "\0", "\0") "\0\0\20\0\1" TTL "\0\3\300\31\0"
                                         "\300\27\0\20\0\1" TTL "\0\0",
          "= . 16 120 c01900\nbad"),
  /* The longest name, and one that is too long. */
  MESSAGE(HEADER("\2", "\0", "\0", "\0") "\77" LABEL_63 "\77" LABEL_63
                                         "\77" LABEL_63 "\0\0\14\0\1"
                                         "\75" LABEL_61 "\300\14\0\14\0\1",
          "? " LABEL_63 "." LABEL_63 "." LABEL_63 " 12\n"
          "? " LABEL_61 "." LABEL_63 "." LABEL_63 "." LABEL_63 " 12\n"),
  MESSAGE(HEADER("\2", "\0", "\0", "\0") "\77" LABEL_63 "\77" LABEL_63
                                         "\77" LABEL_63 "\0\0\14\0\1"
                                         "\76" LABEL_61 "1\300\14\0\14\0\1",
          "? " LABEL_63 "." LABEL_63 "." LABEL_63 " 12\nbad"),
  /* Labels that are reserved, longer than the message. */
  MESSAGE(HEADER("\2", "\0", "\0", "\0") "\1a\0\0\14\0\1"
                                         "\200\14\0\14\0\1",
          "? a 12\nbad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\100" LABEL_63 "3\0\0\14\0\1", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\200" LABEL_63 LABEL_63
                                         "12\0\0\14\0\1",
          "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\100a\0\0\14\0\1", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\200a\0\0\14\0\1", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\77a\0\0\14\0\1", "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0"), "bad"),
  MESSAGE(HEADER("\1", "\0", "\0", "\0") "\1a", "bad"),
  MESSAGE(HEADER("\0", "\1", "\0", "\0") "\0\0\1\0\1" TTL "\377\377abcd",
          "bad"),
};

static void reading(void** state) {
  char shown[SHOWN_SIZE];
  guard_t guard = guard_open(SHOWN_SIZE);
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(messages); i++) {
    show_message(guard_put(&guard, messages[i].bytes, messages[i].size),
                 messages[i].size, shown);
    assert_string_equal(shown, messages[i].shown);
  }
  guard_close(&guard);
}

/* What is left of a message says the same at first, or ends as bad earlier. */
static void cut_at_every_byte(void** state) {
  char whole[SHOWN_SIZE];
  char shown[SHOWN_SIZE];
  guard_t guard = guard_open(SHOWN_SIZE);
  size_t i;
  size_t size;

  (void) state;
  for (i = 0; i < COUNT(messages); i++) {
    show_message(messages[i].bytes, messages[i].size, whole);
    for (size = 0; size < messages[i].size; size++) {
      size_t same;

      show_message(guard_put(&guard, messages[i].bytes, size), size, shown);
      if (size < NT__DNS_HEADER_SIZE) {
        assert_string_equal(shown, "no header");
        continue;
      }
      if (strcmp(shown, whole) == 0) /* what was cut off is not of it */
        continue;
      same = strlen(shown) - strlen("bad");
      assert_string_equal(shown + same, "bad");
      assert_memory_equal(shown, whole, same);
    }
  }
  guard_close(&guard);
}

static void header(void** state) {
  nt__dns_reader_t reader;

  (void) state;
  assert_true(nt__dns_reader_init(&reader, "\1\2\204\5\0\0\1\0\377\377\0\4",
                                  NT__DNS_HEADER_SIZE));
  assert_int_equal(reader.id, 0x0102);
  assert_int_equal(reader.flags, 0x8405);
  assert_int_equal(reader.flags & NT__DNS_RESPONSE, NT__DNS_RESPONSE);
  assert_int_equal(reader.flags & NT__DNS_RCODE, 5);
  assert_int_equal(reader.counts[0], 0);
  assert_int_equal(reader.counts[1], 256);
  assert_int_equal(reader.counts[2], 65535);
  assert_int_equal(reader.counts[3], 4);
}

/* A record whose name is a pointer, behind one whose data is a chain of them
 * that leads to the root. */
static nt__dns_item_t follow_chain(unsigned length) {
  static unsigned char message[20000];
  static const unsigned char rest[] = {
    0, NT__DNS_TXT, 0, 1, 0, 0, 0, 1, 0, 0
  };
  unsigned char* end = message + 23;
  nt__dns_reader_t reader;
  size_t to = 12;
  unsigned i;

  memcpy(message, HEADER("\0", "\2", "\0", "\0") "\0\1\0\0\1" TTL, 21);
  message[21] = (unsigned char) (2 * length >> 8);
  message[22] = (unsigned char) (2 * length);
  for (i = 0; i <= length; i++) {
    *end++ = (unsigned char) (0xc0 | to >> 8);
    *end++ = (unsigned char) to;
    to = (size_t) (end - message) - 2;
  }
  memcpy(end, rest, sizeof(rest));
  end += sizeof(rest);
  assert_true(nt__dns_reader_init(&reader, message, (size_t) (end - message)));
  assert_int_equal(nt__dns_reader_next(&reader), NT__DNS_ENTRY);
  return nt__dns_reader_next(&reader);
}

/* Each name follows a bounded number of them. */
static void chains_of_pointers(void** state) {
  (void) state;
  assert_int_equal(follow_chain(0), NT__DNS_ENTRY);
  assert_int_equal(follow_chain(126), NT__DNS_ENTRY);
  assert_int_equal(follow_chain(127), NT__DNS_BAD);
  assert_int_equal(follow_chain(8000), NT__DNS_BAD);
}

/* ---- Random damage ------------------------------------------------------ */

/* Bytes of good messages changed at random, read at the guard page. */
static void damaged(void** state) {
  char shown[SHOWN_SIZE];
  guard_t guard = guard_open(SHOWN_SIZE);
  uint64_t random = 1035;
  int round;

  (void) state;
  for (round = 0; round < 20000; round++) {
    size_t i = next_random(&random) % COUNT(messages);
    size_t size = messages[i].size;
    char* copy = guard_put(&guard, messages[i].bytes, size);
    size_t changes = 1 + next_random(&random) % 3;

    while (changes-- > 0)
      copy[next_random(&random) % size] = (char) next_random(&random);
    show_message(copy, size, shown);
  }
  guard_close(&guard);
}

/* ---- Writing ------------------------------------------------------------ */

static nt__dns_record_t record_of(nt__dns_section_t section, const char* name,
                                  uint16_t type, uint32_t ttl) {
  nt__dns_record_t record;

  memset(&record, 0, sizeof(record));
  record.section = section;
  record.name = name_of(name);
  record.type = type;
  record.ttl = ttl;
  return record;
}

static nt__dns_record_t ptr_of(nt__dns_section_t section, const char* name,
                               uint32_t ttl, const char* target) {
  nt__dns_record_t record = record_of(section, name, NT__DNS_PTR, ttl);

  record.target = name_of(target);
  return record;
}

static nt__dns_record_t srv_of(nt__dns_section_t section, const char* name,
                               uint16_t port, const char* target) {
  nt__dns_record_t record = record_of(section, name, NT__DNS_SRV, 120);

  record.target = name_of(target);
  record.port = port;
  record.weight = 2;
  record.flush = true;
  return record;
}

static nt__dns_record_t data_of(nt__dns_section_t section, const char* name,
                                uint16_t type, const void* data, size_t size) {
  nt__dns_record_t record = record_of(section, name, type, 120);

  record.data = data;
  record.data_size = size;
  record.flush = true;
  return record;
}

#define ROOM "My Room._http._tcp.local"

/* All that a responder says, and a question. How many went in. */
static size_t write_all(nt__dns_writer_t* writer) {
  nt__dns_record_t records[] = {
    ptr_of(NT__DNS_ANSWER, "_http._tcp.local", 4500, ROOM),
    ptr_of(NT__DNS_AUTHORITY, "_HTTP._tcp.local", 0, "b._http._tcp.local"),
    srv_of(NT__DNS_ADDITIONAL, ROOM, 8080, "host.local"),
    data_of(NT__DNS_ADDITIONAL, ROOM, NT__DNS_TXT, "\3a=b\0", 5),
    data_of(NT__DNS_ADDITIONAL, "host.local", NT__DNS_A, "\177\0\0\1", 4),
    data_of(NT__DNS_ADDITIONAL, "host.local", 4711, "", 0),
  };
  nt__dns_name_t name = name_of("_http._tcp.local");
  size_t written =
      nt__dns_write_question(writer, &name, NT__DNS_PTR, true) ? 1 : 0;
  size_t i;

  for (i = 0; i < COUNT(records); i++)
    written += nt__dns_write_record(writer, &records[i]) ? 1 : 0;
  return written;
}

static const char all_shown[] =
    "? _http._tcp.local 12 u\n"
    "= _http._tcp.local 12 4500 My Room._http._tcp.local\n"
    "~ _HTTP._tcp.local 12 0 b._http._tcp.local\n"
    "+ My Room._http._tcp.local 33 f 120 0 2 8080 host.local\n"
    "+ My Room._http._tcp.local 16 f 120 03613d6200\n"
    "+ host.local 1 f 120 7f000001\n"
    "+ host.local 4711 f 120 \n";

static void writing(void** state) {
  unsigned char out[1000];
  char shown[SHOWN_SIZE];
  nt__dns_writer_t writer;
  nt__dns_reader_t reader;

  (void) state;
  nt__dns_writer_init(&writer, out, sizeof(out), 0x1234, NT__DNS_RESPONSE);
  assert_int_equal(write_all(&writer), 7);
  show_message(out, writer.size, shown);
  assert_string_equal(shown, all_shown);
  nt__dns_writer_set_flags(&writer, NT__DNS_TRUNCATED);
  assert_true(nt__dns_reader_init(&reader, out, writer.size));
  assert_int_equal(reader.id, 0x1234);
  assert_int_equal(reader.flags, NT__DNS_TRUNCATED);
  assert_int_equal(reader.counts[0], 1);
  assert_int_equal(reader.counts[1], 1);
  assert_int_equal(reader.counts[2], 1);
  assert_int_equal(reader.counts[3], 4);
}

/* Every name once, as long as no letter is of another case. */
static void compressing(void** state) {
  static const char expected[] =
      HEADER("\1", "\1", "\1", "\4") "\5_http\4_tcp\5local\0\0\14\200\1"
                                     /* 34 */
                                     "\300\14\0\14\0\1\0\0\21\224\0\12"
                                     "\7My Room\300\14" /* 46 */
                                     /* 56 */
                                     "\5_HTTP\300\22\0\14\0\1\0\0\0\0\0\4"
                                     "\1b\300\14"
                                     /* 78 */
                                     "\300\56\0\41\200\1" TTL
                                     "\0\15\0\0\0\2\37\220\4host\300\27"
                                     /* 96 is host */
                                     "\300\56\0\20\200\1" TTL "\0\5\3a=b\0"
                                     "\300\140\0\1\200\1" TTL "\0\4\177\0\0\1"
                                     "\300\140\22\147\200\1" TTL "\0\0";
  unsigned char out[1000];
  nt__dns_writer_t writer;

  (void) state;
  nt__dns_writer_init(&writer, out, sizeof(out), 0, 0x8400);
  assert_int_equal(write_all(&writer), 7);
  assert_int_equal(writer.size, sizeof(expected) - 1);
  assert_memory_equal(out, expected, sizeof(expected) - 1);

  nt__dns_writer_init(&writer, out, sizeof(out), 0, 0x8400);
  writer.plain_srv = true; /* "local" whole: 7 bytes for a pointer's 2 */
  assert_int_equal(write_all(&writer), 7);
  assert_int_equal(writer.size, sizeof(expected) - 1 + 5);
}

/* What does not fit is left out; the others stay whole, at any size. */
static void overflowing(void** state) {
  char shown[SHOWN_SIZE];
  guard_t guard = guard_open(SHOWN_SIZE);
  char bytes[SHOWN_SIZE] = { 0 };
  nt__dns_writer_t writer;
  size_t whole = SHOWN_SIZE;
  size_t capacity;

  (void) state;
  for (capacity = NT__DNS_HEADER_SIZE; capacity <= whole; capacity++) {
    char* out = guard_put(&guard, bytes, capacity);
    size_t written;
    size_t lines = 0;
    char* line;

    nt__dns_writer_init(&writer, out, capacity, 0, 0);
    written = write_all(&writer);
    show_message(out, writer.size, shown);
    for (line = shown; *line != '\0'; line = strchr(line, '\n') + 1) {
      assert_memory_not_equal(line, "bad", 3);
      lines++;
    }
    assert_int_equal(lines, written);
    if (written == 7)
      whole = writer.size;
  }
  assert_string_equal(shown, all_shown);
  assert_int_equal(writer.size, whole);
  guard_close(&guard);
}

static void sections_in_order(void** state) {
  unsigned char out[1000];
  nt__dns_writer_t writer;
  nt__dns_name_t name = name_of("a");
  nt__dns_record_t answer = ptr_of(NT__DNS_ANSWER, "a", 1, "b");
  nt__dns_record_t more = ptr_of(NT__DNS_ADDITIONAL, "a", 1, "b");
  size_t size;

  (void) state;
  nt__dns_writer_init(&writer, out, sizeof(out), 0, 0);
  assert_true(nt__dns_write_record(&writer, &more));
  size = writer.size;
  assert_false(nt__dns_write_record(&writer, &answer));
  assert_false(nt__dns_write_question(&writer, &name, NT__DNS_A, false));
  assert_int_equal(writer.size, size);
  assert_true(nt__dns_write_record(&writer, &more));
}

/* More names than are remembered, and beyond what a pointer reaches: larger,
 * and as right as ever. */
static void many_names(void** state) {
  static unsigned char out[65536];
  char name[300];
  char shown[SHOWN_SIZE];
  nt__dns_writer_t writer;
  nt__dns_reader_t reader;
  unsigned count = 0;
  unsigned i;

  (void) state;
  nt__dns_writer_init(&writer, out, sizeof(out), 0, 0);
  for (;;) {
    nt__dns_record_t record;

    snprintf(name, sizeof(name), "%u." LABEL_63 ".%u.local", count, count % 7);
    record = ptr_of(NT__DNS_ANSWER, name, count, name);
    if (!nt__dns_write_record(&writer, &record))
      break;
    count++;
  }
  assert_true(count > 800);
  assert_true(nt__dns_reader_init(&reader, out, writer.size));
  for (i = 0; i < count; i++) {
    assert_int_equal(nt__dns_reader_next(&reader), NT__DNS_ENTRY);
    snprintf(name, sizeof(name), "= %u." LABEL_63 ".%u.local 12 %u %u.%s.%u", i,
             i % 7, i, i, LABEL_63, i % 7);
    shown[0] = '\0';
    show_entry(&reader.record, shown);
    assert_memory_equal(shown, name, strlen(name));
  }
  assert_int_equal(nt__dns_reader_next(&reader), NT__DNS_END);
}

/* Beyond what a pointer reaches: names are whole again. */
static void far_names(void** state) {
  static unsigned char out[20000];
  static unsigned char data[17000];
  static const char whole[] = "\4host\5local\0\0\14\0\1";
  nt__dns_writer_t writer;
  nt__dns_record_t record =
      data_of(NT__DNS_ANSWER, "a", NT__DNS_TXT, data, sizeof(data));
  nt__dns_record_t far = ptr_of(NT__DNS_ANSWER, "host.local", 1, "host.local");
  int i;

  (void) state;
  nt__dns_writer_init(&writer, out, sizeof(out), 0, 0);
  assert_true(nt__dns_write_record(&writer, &record));
  for (i = 0; i < 2; i++) {
    size_t from = writer.size;

    assert_true(nt__dns_write_record(&writer, &far));
    assert_memory_equal(out + from, whole, sizeof(whole) - 1);
    assert_int_equal(writer.size - from, 12 + 10 + 12);
  }
}

static void data_too_large(void** state) {
  static unsigned char out[70000];
  static unsigned char data[65536];
  nt__dns_writer_t writer;
  nt__dns_record_t record =
      data_of(NT__DNS_ANSWER, "a", NT__DNS_TXT, data, sizeof(data));

  (void) state;
  nt__dns_writer_init(&writer, out, sizeof(out), 0, 0);
  assert_false(nt__dns_write_record(&writer, &record));
  assert_int_equal(writer.size, NT__DNS_HEADER_SIZE);
  record.data_size--;
  assert_true(nt__dns_write_record(&writer, &record));
}

/* ---- TXT data ----------------------------------------------------------- */

#define TXT(bytes, shown)                                                      \
  { bytes, sizeof(bytes) - 1, shown }

/* key=value; key; for one without a value */
static const struct {
  const char* bytes;
  size_t size;
  const char* shown;
} txts[] = {
  TXT("", ""),
  TXT("\0", ""),
  TXT("\3a=b\3c=d", "a=b;c=d;"),
  TXT("\1a\2b=\5c=d=e", "a;b=;c=d=e;"),
  TXT("\0\3=ab\1=\3a=b", "a=b;"), /* no key: RFC 6763 6.4 */
  TXT("\3a=b\3A=c\1a\3b=d", "a=b;b=d;"),
  TXT("\1a\3a=b", "a;"),
  TXT("\6a b=\0\377\3a b", "a b=\0\377;"),
  TXT("\4gr=\374", "gr=\374;"),
  TXT("\3a=b\5c=d", "a=b;"), /* cut off */
  TXT("\377", ""),
};

static size_t show_txt(const void* data, size_t size, char* out) {
  nt__dns_txt_t txt;
  nt__dns_pair_t pair;
  char* end = out;

  nt__dns_txt_init(&txt, data, size);
  while (nt__dns_txt_next(&txt, &pair)) {
    assert_true(pair.key_size > 0);
    memcpy(end, pair.key, pair.key_size);
    end += pair.key_size;
    if (pair.has_value)
      *end++ = '=';
    memcpy(end, pair.value, pair.value_size);
    end += pair.value_size;
    *end++ = ';';
  }
  *end = '\0';
  return (size_t) (end - out);
}

static void txt_data(void** state) {
  char shown[SHOWN_SIZE];
  guard_t guard = guard_open(SHOWN_SIZE);
  size_t i;
  size_t size;

  (void) state;
  for (i = 0; i < COUNT(txts); i++)
    for (size = 0; size <= txts[i].size; size++) {
      size_t length =
          show_txt(guard_put(&guard, txts[i].bytes, size), size, shown);

      /* A cut one shows the beginning, up to the string that is cut. */
      assert_memory_equal(shown, txts[i].shown, length);
      if (size == txts[i].size)
        assert_int_equal(shown[length], txts[i].shown[length]);
    }
  guard_close(&guard);
}

/* As many strings as can be: those behind the maximum are passed over. */
static void txt_is_bounded(void** state) {
  static unsigned char data[NT__DNS_TXT_STRINGS * 3 + 30];
  nt__dns_txt_t txt;
  nt__dns_pair_t pair;
  size_t i;
  unsigned count = 0;

  (void) state;
  for (i = 0; i + 3 <= sizeof(data); i += 3) {
    data[i] = 2;
    data[i + 1] = (unsigned char) ('a' + i / 3 / 16);
    data[i + 2] = (unsigned char) ('a' + i / 3 % 16);
  }
  nt__dns_txt_init(&txt, data, sizeof(data));
  while (nt__dns_txt_next(&txt, &pair))
    count++;
  assert_int_equal(count, NT__DNS_TXT_STRINGS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(names_as_texts),
    cmocka_unit_test(texts_lead_back),
    cmocka_unit_test(longest_text),
    cmocka_unit_test(comparing),
    cmocka_unit_test(labels),
    cmocka_unit_test(header),
    cmocka_unit_test(reading),
    cmocka_unit_test(cut_at_every_byte),
    cmocka_unit_test(chains_of_pointers),
    cmocka_unit_test(damaged),
    cmocka_unit_test(writing),
    cmocka_unit_test(compressing),
    cmocka_unit_test(overflowing),
    cmocka_unit_test(sections_in_order),
    cmocka_unit_test(many_names),
    cmocka_unit_test(far_names),
    cmocka_unit_test(data_too_large),
    cmocka_unit_test(txt_data),
    cmocka_unit_test(txt_is_bounded),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
