/* http_date.c: the three forms, and all that is near them. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "guard.h"
#include "http_date.h"

#define NOW INT64_C(1700000000000) /* 14 Nov 2023 */

static const struct {
  const char* text;
  int64_t seconds;
} dates[] = {
  { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
  { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
  { "Sun Nov  6 08:49:37 1994", 784111777 },
  { "Sun Nov 06 08:49:37 1994", 784111777 },
  { "Wed Nov 16 08:49:37 1994", 784975777 },
  /* In any case; the weekday is not compared with the date. */
  { "sUN, 06 nOV 1994 08:49:37 gMT", 784111777 },
  { "SUNDAY, 06-NOV-94 08:49:37 gmt", 784111777 },
  { "Mon, 06 Nov 1994 08:49:37 GMT", 784111777 },
  /* The edges of what there is. */
  { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
  { "Wed, 31 Dec 1969 23:59:59 GMT", 0 },
  { "Sat, 01 Jan 0000 00:00:00 GMT", 0 },
  { "Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(2147483648) },
  { "Sun, 21 Nov 2286 04:46:39 GMT", INT64_C(10000039599) },
  { "Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799) },
  { "Thu, 29 Feb 2024 00:00:00 GMT", 1709164800 },
  { "Tue, 29 Feb 2000 00:00:00 GMT", 951782400 },
  { "Wed, 29 Feb 2023 00:00:00 GMT", -1 },
  { "Thu, 29 Feb 2100 00:00:00 GMT", -1 },
  { "Sat, 30 Feb 2024 00:00:00 GMT", -1 },
  { "Sun, 31 Nov 1994 08:49:37 GMT", -1 },
  { "Sun, 00 Nov 1994 08:49:37 GMT", -1 },
  { "Sun, 32 Jan 1994 08:49:37 GMT", -1 },
  { "Sun Nov  0 08:49:37 1994", -1 },
  { "Sat, 31 Dec 2016 23:59:60 GMT", 1483228800 },
  { "Sun, 06 Nov 1994 08:49:61 GMT", -1 },
  { "Sun, 06 Nov 1994 08:60:37 GMT", -1 },
  { "Sun, 06 Nov 1994 24:00:00 GMT", -1 },
  /* Two digits: 2073 is fifty years ahead, 2074 more. */
  { "Thursday, 18-Aug-50 02:01:18 GMT", INT64_C(2544400878) },
  { "Sunday, 01-Jan-73 00:00:00 GMT", INT64_C(3250454400) },
  { "Tuesday, 01-Jan-74 00:00:00 GMT", 126230400 },
  { "Saturday, 01-Jan-00 00:00:00 GMT", 946684800 },
  /* What is no date, however well it is meant. */
  { "", -1 },
  { "0", -1 },
  { "-1", -1 },
  { "1700000000", -1 },
  { "never", -1 },
  { "Sun", -1 },
  { "06 Nov 1994 08:49:37 GMT", -1 },
  { "Sun 06 Nov 1994 08:49:37 GMT", -1 },
  { "Sun, 06 Nov 1994 08:49:37", -1 },
  { "Sun, 06 Nov 1994 08:49:37 UTC", -1 },
  { "Sun, 06 Nov 1994 08:49:37 AEST", -1 },
  { "Sun, 06 Nov 1994 08:49:37 +0000", -1 },
  { "Sun, 06 Nov 1994 08:49:37 GMT+1", -1 },
  { "Sun, 06 Nov 1994 08:49:37 GMT ", -1 },
  { "Sun, 06 Nov 94 08:49:37 GMT", -1 },
  { "Sun, 06 Nov 11994 08:49:37 GMT", -1 },
  { "Sun, 06-Nov-1994 08:49:37 GMT", -1 },
  { "Sunday, 06 Nov 1994 08:49:37 GMT", -1 },
  { "Sun, 06-Nov-94 08:49:37 GMT", -1 },
  { "Sunday, 06-Nov-1994 08:49:37 GMT", -1 },
  { "Sun, 6 Nov 1994 08:49:37 GMT", -1 },
  { "Sun, 06  Nov  1994 08:49:37 GMT", -1 },
  { "Sun, 06 Nov 1994 8:49:37 GMT", -1 },
  { "Sun, 06 Nov 1994 08.49.37 GMT", -1 },
  { "Sun, 06 Nov 1994 08:49 GMT", -1 },
  { "Sun, 06 Nov 1994 -8:49:37 GMT", -1 },
  { "Sun, 06 November 1994 08:49:37 GMT", -1 },
  { "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", -1 },
  { "Sun Nov 6 08:49:37 1994", -1 },
  { "Sun Nov   6 08:49:37 1994", -1 },
  { "Sun Nov  6 08:49:37 1994 GMT", -1 },
  { "Sunday Nov  6 08:49:37 1994", -1 },
  { "Xyz, 06 Nov 1994 08:49:37 GMT", -1 },
  { "Sun, 06 Xyz 1994 08:49:37 GMT", -1 },
};

static void reads_dates(void** state) {
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(dates); i++) {
    int64_t found = nt__http_date(dates[i].text, NOW);

    if (found != dates[i].seconds)
      fail_msg("%s: %lld", dates[i].text, (long long) found);
  }
}

static void reads_no_further(void** state) {
  guard_t guard = guard_open(4096);
  size_t i, size;

  (void) state;
  for (i = 0; i < COUNT(dates); i++)
    for (size = 0; size < strlen(dates[i].text); size++) {
      char* text = guard_text(&guard, dates[i].text, size);

      if (dates[i].seconds >= 0)
        assert_true(nt__http_date(text, NOW) == -1);
      else
        nt__http_date(text, NOW);
    }
  guard_close(&guard);
}

static void knows_the_century(void** state) {
  static const char new_year_00[] = "Saturday, 01-Jan-00 00:00:00 GMT";
  static const char new_year_99[] = "Friday, 01-Jan-99 00:00:00 GMT";

  (void) state;
  /* In 1999, in 2090, and by clocks that say nothing. */
  assert_true(nt__http_date(new_year_99, INT64_C(925000000000)) == 915148800);
  assert_true(nt__http_date(new_year_00, INT64_C(925000000000)) == 946684800);
  assert_true(nt__http_date(new_year_99, INT64_C(3800000000000)) ==
              INT64_C(4070908800));
  assert_true(nt__http_date(new_year_00, INT64_C(3800000000000)) ==
              INT64_C(4102444800));
  assert_true(nt__http_date(new_year_00, 0) == 946684800);
  assert_true(nt__http_date(new_year_00, INT64_MIN) == 946684800);
  assert_true(nt__http_date(new_year_00, INT64_MAX) == 946684800);
}

static void writes_what_it_reads(void** state) {
  static const struct {
    int64_t seconds;
    const char* text;
  } cases[] = {
    { 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" },
    { 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
    { -1, "Thu, 01 Jan 1970 00:00:00 GMT" },
    { INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT" },
    { 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
    { 1709251199, "Thu, 29 Feb 2024 23:59:59 GMT" },
    { INT64_C(4107542400), "Mon, 01 Mar 2100 00:00:00 GMT" },
    { INT64_C(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT" },
    { INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT" },
  };
  char text[NT__HTTP_DATE_SIZE];
  int64_t seconds;
  size_t i;

  (void) state;
  for (i = 0; i < COUNT(cases); i++) {
    nt__http_date_write(cases[i].seconds, text);
    assert_string_equal(text, cases[i].text);
  }
  /* Each day of four centuries, at another time. */
  for (seconds = 0; seconds < INT64_C(12622780800); seconds += 86399) {
    nt__http_date_write(seconds, text);
    assert_true(nt__http_date(text, NOW) == seconds);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reads_dates),
    cmocka_unit_test(reads_no_further),
    cmocka_unit_test(knows_the_century),
    cmocka_unit_test(writes_what_it_reads),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
