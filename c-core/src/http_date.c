/* The three forms of a date that RFC 9110, section 5.6.7, has a recipient
 * accept. Nothing else is a date: for Expires it is what lies in the past, so a
 * reader that guesses keeps answers too long. Pure logic, no memory. */
#include "http_date.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "ascii.h"

typedef struct date {
  int year, month, day;
  int hour, minute, second;
} date_t;

/* Each of these moves over what it reads, and only if it is there. */
static bool take(const char** at, const char* text) {
  size_t i;

  for (i = 0; text[i] != '\0'; i++)
    if (nt__lower((*at)[i]) != text[i])
      return false;
  *at += i;
  return true;
}

static bool take_number(const char** at, int digits, int* out) {
  int value = 0;
  int i;

  for (i = 0; i < digits; i++) {
    char c = (*at)[i];

    if (c < '0' || c > '9')
      return false;
    value = value * 10 + (c - '0');
  }
  *at += digits;
  *out = value;
  return true;
}

/* The number of the name, from 1. */
static bool take_name(const char** at, const char* const* names, int count,
                      int* out) {
  int i;

  for (i = 0; i < count; i++)
    if (take(at, names[i])) {
      *out = i + 1;
      return true;
    }
  return false;
}

static bool take_month(const char** at, int* out) {
  static const char* const names[] = {
    "jan", "feb", "mar", "apr", "may", "jun",
    "jul", "aug", "sep", "oct", "nov", "dec"
  };

  return take_name(at, names, 12, out);
}

static bool take_time(const char** at, date_t* date) {
  return take_number(at, 2, &date->hour) && take(at, ":") &&
         take_number(at, 2, &date->minute) && take(at, ":") &&
         take_number(at, 2, &date->second);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool read_fixdate(const char* at, date_t* date) {
  return take(&at, ", ") && take_number(&at, 2, &date->day) && take(&at, " ") &&
         take_month(&at, &date->month) && take(&at, " ") &&
         take_number(&at, 4, &date->year) && take(&at, " ") &&
         take_time(&at, date) && take(&at, " gmt") && *at == '\0';
}

/* "Sun Nov  6 08:49:37 1994" */
static bool read_asctime(const char* at, date_t* date) {
  return take(&at, " ") && take_month(&at, &date->month) && take(&at, " ") &&
         (take(&at, " ") ? take_number(&at, 1, &date->day)
                         : take_number(&at, 2, &date->day)) &&
         take(&at, " ") && take_time(&at, date) && take(&at, " ") &&
         take_number(&at, 4, &date->year) && *at == '\0';
}

/* The last one that is not more than 50 years ahead. By years of the mean
 * length: a day at their edge does not matter half a century away. */
static int full_year(int digits, int64_t now) {
  int64_t last = 1970 + now / 1000 / 31556952 + 50;
  int64_t year = last - last % 100 + digits;

  return (int) (year > last ? year - 100 : year);
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static bool read_rfc850(const char* at, int64_t now, date_t* date) {
  if (!(take(&at, ", ") && take_number(&at, 2, &date->day) && take(&at, "-") &&
        take_month(&at, &date->month) && take(&at, "-") &&
        take_number(&at, 2, &date->year) && take(&at, " ") &&
        take_time(&at, date) && take(&at, " gmt") && *at == '\0'))
    return false;
  date->year = full_year(date->year, now);
  return true;
}

static bool read_date(const char* at, int64_t now, date_t* date) {
  static const char* const long_names[] = { "monday",   "tuesday", "wednesday",
                                            "thursday", "friday",  "saturday",
                                            "sunday" };
  static const char* const names[] = { "mon", "tue", "wed", "thu",
                                       "fri", "sat", "sun" };
  int weekday; /* what the rest says counts */

  if (take_name(&at, long_names, 7, &weekday))
    return read_rfc850(at, now, date);
  if (!take_name(&at, names, 7, &weekday))
    return false;
  return *at == ',' ? read_fixdate(at, date) : read_asctime(at, date);
}

static bool is_leap(int year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool exists(const date_t* date) {
  static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

  if (date->day < 1 || date->day > days[date->month - 1])
    return false;
  if (date->month == 2 && date->day == 29 && !is_leap(date->year))
    return false;
  /* 60: a leap second. */
  return date->hour <= 23 && date->minute <= 59 && date->second <= 60;
}

int64_t nt__http_date(const char* text, int64_t now) {
  date_t date = { 0, 0, 0, 0, 0, 0 };
  int64_t days;

  /* Of a clock that is nowhere no century can be said. */
  if (now < 0 || now > INT64_C(253402300799000))
    now = 0;
  if (!read_date(text, now, &date) || !exists(&date))
    return -1;
  days = nt__calendar_days(date.year, date.month, date.day);
  if (days < 0)
    return 0;
  return ((days * 24 + date.hour) * 60 + date.minute) * 60 + date.second;
}

/* By the calendar that has no beginning: years begin in March, so that the odd
 * day is the last one. */
int64_t nt__calendar_days(int year, int month, int day) {
  int64_t years = month <= 2 ? (int64_t) year - 1 : year;
  int64_t era = years / 400;
  int64_t in_era = years - era * 400;
  int64_t months = (month + 9) % 12;
  int64_t in_year = (153 * months + 2) / 5 + day - 1;

  return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year -
         719468;
}

/* The other way. */
static void find_day(int64_t days, date_t* date) {
  int64_t since = days + 719468;
  int64_t era = since / 146097;
  int64_t in_era = since - era * 146097;
  int64_t years =
      (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
  int64_t in_year = in_era - (365 * years + years / 4 - years / 100);
  int64_t months = (5 * in_year + 2) / 153;

  date->day = (int) (in_year - (153 * months + 2) / 5 + 1);
  date->month = (int) (months < 10 ? months + 3 : months - 9);
  date->year = (int) (years + era * 400) + (date->month <= 2);
}

void nt__http_date_write(int64_t seconds, char out[NT__HTTP_DATE_SIZE]) {
  static const char weekdays[] = "SunMonTueWedThuFriSat";
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const int64_t day = 24 * 3600;
  const int64_t last = INT64_C(253402300799);
  unsigned rest;
  date_t date;

  seconds = seconds < 0 ? 0 : seconds > last ? last : seconds;
  find_day(seconds / day, &date);
  rest = (unsigned) (seconds % day);
  snprintf(out, NT__HTTP_DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
           weekdays + 3 * ((seconds / day + 4) % 7), (unsigned) date.day % 100,
           months + (ptrdiff_t) 3 * (date.month - 1),
           (unsigned) date.year % 10000, rest / 3600 % 100, rest / 60 % 60,
           rest % 60);
}
