/* dns_query.c: the questions of RFC 8484, and answers as servers give them, cut
 * at every byte, to another question, and with what nobody should send. */
#include <string.h>

#include "check.h"
#include "dns_message.h"
#include "guard.h"
#include "nettask.h"

#define HEADER "\0\0\201\200"
#define QUESTION "\4game\7example\0\0\1\0\1"
#define QUESTION_6 "\4game\7example\0\0\34\0\1"
#define NAME "\300\14"

/* A text of bytes, without the NUL behind. */
#define BYTES(text) text, sizeof(text) - 1

static void asks_as_rfc_8484_has_it(void** state) {
  static const char wanted[] =
      "\0\0\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1";
  unsigned char out[NT_DNS_QUERY_MAX];
  int size = nt_dns_query("www.example.com", NT_FAMILY_ANY, out);

  (void) state;
  assert_int_equal(size, 33);
  assert_memory_equal(out, wanted, 33);
  assert_int_equal(nt_dns_query("www.example.com.", NT_FAMILY_IPV4, out), 33);
  assert_memory_equal(out, wanted, 33);
  assert_int_equal(nt_dns_query("www.example.com", NT_FAMILY_IPV6, out), 33);
  assert_int_equal(out[30], NT__DNS_AAAA);
}

static void asks_for_names_alone(void** state) {
  static const char* const bad[] = { "", ".", "..", "a..b", NULL };
  unsigned char out[NT_DNS_QUERY_MAX];
  char longest[256];
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(bad); i++)
    assert_int_equal(nt_dns_query(bad[i], NT_FAMILY_ANY, out), NT_E_ADDRESS);
  for (i = 0; i < 253; i++)
    longest[i] = i % 64 == 63 ? '.' : 'a';
  longest[253] = '\0';
  assert_int_equal(nt_dns_query(longest, NT_FAMILY_ANY, out), 12 + 255 + 4);
  strcpy(longest + 253, "a");
  assert_int_equal(nt_dns_query(longest, NT_FAMILY_ANY, out), NT_E_ADDRESS);
}

static const struct {
  const char* message;
  size_t size;
  nt_family_t family;
  int error;
  const char* ips; /* with spaces behind */
  uint32_t ttl;
} answers[] = {
  { BYTES(HEADER "\0\1\0\1\0\0\0\0" QUESTION NAME
                 "\0\1\0\1\0\0\1\54\0\4\300\0\2\7"),
    NT_FAMILY_ANY, 0, "192.0.2.7 ", 300 },
  { BYTES(HEADER "\0\1\0\1\0\0\0\0" QUESTION_6 NAME "\0\34\0\1\0\0\0\1\0\20"
                 "\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1"),
    NT_FAMILY_IPV6, 0, "2001:db8::1 ", 1 },
  /* An alias, whose life is shorter, and two addresses of what it stands for.
   */
  { BYTES(HEADER "\0\1\0\3\0\0\0\0" QUESTION NAME
                 "\0\5\0\1\0\0\0\36\0\4\1x" NAME "\1x" NAME
                 "\0\1\0\1\0\0\1\54\0\4\1\2\3\4"
                 "\1x" NAME "\0\1\0\1\0\0\1\54\0\4\5\6\7\10"),
    NT_FAMILY_IPV4, 0, "1.2.3.4 5.6.7.8 ", 30 },
  /* No such name; a name without such an address. */
  { BYTES("\0\0\201\203\0\1\0\0\0\0\0\0" QUESTION), NT_FAMILY_ANY, 0, "", 0 },
  { BYTES(HEADER "\0\1\0\0\0\0\0\0" QUESTION), NT_FAMILY_ANY, 0, "", 0 },
  /* Of other kinds, of the wrong size, elsewhere. */
  { BYTES(HEADER "\0\1\0\3\0\0\0\0" QUESTION NAME "\0\34\0\1\0\0\1\54\0\20"
                 "\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1" NAME
                 "\0\20\0\1\0\0\1\54\0\2\1x" NAME
                 "\0\1\0\1\0\0\1\54\0\3\1\2\3"),
    NT_FAMILY_ANY, 0, "", 0 },
  { BYTES(HEADER "\0\1\0\0\0\1\0\1" QUESTION NAME
                 "\0\1\0\1\0\0\1\54\0\4\1\2\3\4" NAME
                 "\0\1\0\1\0\0\1\54\0\4\1\2\3\4"),
    NT_FAMILY_ANY, 0, "", 0 },
  /* A life beyond 2^31 is none. */
  { BYTES(HEADER "\0\1\0\1\0\0\0\0" QUESTION NAME
                 "\0\1\0\1\200\0\0\0\0\4\1\2\3\4"),
    NT_FAMILY_ANY, 0, "1.2.3.4 ", 0 },
  /* The server failed, refused. */
  { BYTES("\0\0\201\202\0\1\0\0\0\0\0\0" QUESTION), NT_FAMILY_ANY, NT_E_RESOLVE,
    "", 0 },
  { BYTES("\0\0\201\205\0\0\0\0\0\0\0\0"), NT_FAMILY_ANY, NT_E_RESOLVE, "", 0 },
  /* A question; another opcode; to another question; without one. */
  { BYTES("\0\0\1\0\0\1\0\0\0\0\0\0" QUESTION), NT_FAMILY_ANY, NT_E_INVALID, "",
    0 },
  { BYTES("\0\0\210\0\0\1\0\0\0\0\0\0" QUESTION), NT_FAMILY_ANY, NT_E_INVALID,
    "", 0 },
  { BYTES(HEADER "\0\1\0\0\0\0\0\0\4gane\7example\0\0\1\0\1"), NT_FAMILY_ANY,
    NT_E_INVALID, "", 0 },
  { BYTES(HEADER "\0\1\0\0\0\0\0\0" QUESTION), NT_FAMILY_IPV6, NT_E_INVALID, "",
    0 },
  { BYTES(HEADER "\0\0\0\1\0\0\0\0\4game\7example\0"
                 "\0\1\0\1\0\0\1\54\0\4\1\2\3\4"),
    NT_FAMILY_ANY, NT_E_INVALID, "", 0 },
};

static void check(size_t i, const void* message) {
  char ips[512] = "";
  nt_dns_answer_t found;
  size_t k;

  assert_int_equal(nt_dns_read(message, answers[i].size, "Game.example",
                               answers[i].family, &found),
                   answers[i].error);
  for (k = 0; k < found.count; k++) {
    strcat(ips, found.ips[k]);
    strcat(ips, " ");
  }
  assert_string_equal(ips, answers[i].ips);
  assert_int_equal(found.ttl, answers[i].ttl);
}

/* All of a message, and as much of it as one likes. */
static void reads_answers(void** state) {
  guard_t guard = guard_open(512);
  nt_dns_answer_t found;
  size_t i, size;

  (void) state;
  for (i = 0; i < COUNT(answers); i++) {
    check(i, guard_put(&guard, answers[i].message, answers[i].size));
    for (size = 0; size < answers[i].size; size++) {
      const char* cut = guard_put(&guard, answers[i].message, size);

      assert_int_not_equal(
          nt_dns_read(cut, size, "game.example", answers[i].family, &found), 0);
      assert_int_equal(found.count, 0);
    }
  }
  guard_close(&guard);
}

static void reads_no_more_than_it_can_keep(void** state) {
  char message[8192] = HEADER "\0\1\1\377\0\0\0\0" QUESTION;
  size_t size = 12 + sizeof(QUESTION) - 1;
  nt_dns_answer_t found;
  size_t i;

  (void) state;
  for (i = 0; i < 511; i++, size += 16)
    if (size + 16 <= sizeof(message))
      memcpy(message + size, NAME "\0\1\0\1\0\0\1\54\0\4\1\2\3\4", 16);
  assert_int_equal(
      nt_dns_read(message, size < sizeof(message) ? size : sizeof(message),
                  "game.example", NT_FAMILY_ANY, &found),
      0);
  assert_int_equal(found.count, NT_DNS_ADDRESS_MAX);
  assert_int_equal(nt_dns_read(message, 200, NULL, NT_FAMILY_ANY, &found),
                   NT_E_INVALID);
  assert_int_equal(nt_dns_read(message, 200, "", NT_FAMILY_ANY, &found),
                   NT_E_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(asks_as_rfc_8484_has_it),
    cmocka_unit_test(asks_for_names_alone),
    cmocka_unit_test(reads_answers),
    cmocka_unit_test(reads_no_more_than_it_can_keep),
  };

  return cmocka_run_group_tests_name("dns_query", tests, NULL, NULL);
}
