/* The grammar of cookies: RFC 6265, section 5, which says what browsers do
 * rather than what servers should send. Of its revision (RFC 6265bis) come the
 * limits of sizes, the prefixes of names and the refusal of control
 * characters. SameSite says nothing where there are no sites: it is passed
 * over.
 *
 * Pure logic, no memory; which domains are public suffixes libpsl knows, whose
 * list is part of it. */
#include "cookie.h"

#include <libpsl.h>
#include <string.h>

#include "ascii.h"
#include "http_date.h"

static bool begins_with(nt__slice_t slice, const char* word) {
  nt__slice_t head = { slice.at, strlen(word) };

  return slice.size >= head.size && nt__slice_is_word(head, word);
}

/* Takes what is before `mark` off the front of `*rest`, and the mark. */
static nt__slice_t take_until(nt__slice_t* rest, char mark) {
  const char* end = rest->size == 0 ? NULL : memchr(rest->at, mark, rest->size);
  nt__slice_t head = *rest;

  if (end != NULL)
    head.size = (size_t) (end - rest->at);
  rest->at += head.size;
  rest->size -= head.size;
  if (end != NULL) {
    rest->at++;
    rest->size--;
  }
  return head;
}

/* ---- Places -------------------------------------------------------------- */

static bool put_host(nt__cookie_place_t* out, const char* host) {
  size_t size = strlen(host);
  size_t i;

  if (size > 0 && host[size - 1] == '.')
    size--;
  if (size == 0 || size >= sizeof(out->host))
    return false;
  for (i = 0; i < size; i++)
    out->host[i] = nt__lower(host[i]);
  out->host[size] = '\0';
  return true;
}

bool nt__cookie_place(nt__cookie_place_t* out, const char* text,
                      const char* host, bool literal, bool secure) {
  const char* path = strstr(text, "://");

  if (path == NULL || !put_host(out, host))
    return false;
  out->literal = literal;
  out->secure = secure;
  path += 3;
  path += strcspn(path, "/?#");
  out->path.at = path;
  out->path.size = strcspn(path, "?#");
  if (out->path.size == 0)
    out->path = nt__slice("/");
  return true;
}

nt__slice_t nt__cookie_default_path(nt__slice_t path) {
  if (path.size == 0 || path.at[0] != '/')
    return nt__slice("/");
  while (path.at[path.size - 1] != '/')
    path.size--;
  if (path.size > 1)
    path.size--;
  return path;
}

bool nt__cookie_path_matches(nt__slice_t cookie_path, nt__slice_t path) {
  if (cookie_path.size == 0 || cookie_path.size > path.size ||
      memcmp(cookie_path.at, path.at, cookie_path.size) != 0)
    return false;
  return cookie_path.size == path.size ||
         cookie_path.at[cookie_path.size - 1] == '/' ||
         path.at[cookie_path.size] == '/';
}

bool nt__cookie_domain_matches(nt__slice_t domain, const char* host,
                               bool literal) {
  size_t size = strlen(host);

  if (domain.size == 0 || domain.size > size ||
      memcmp(host + size - domain.size, domain.at, domain.size) != 0)
    return false;
  if (domain.size == size)
    return true;
  return !literal && host[size - domain.size - 1] == '.';
}

bool nt__cookie_is_suffix(const char* domain) {
  return psl_is_public_suffix(psl_builtin(), domain) != 0;
}

const char* nt__cookie_site(const char* host, bool literal) {
  const char* site = NULL;

  if (!literal)
    site = psl_registrable_domain(psl_builtin(), host);
  return site == NULL ? host : site;
}

/* ---- Dates --------------------------------------------------------------- */

typedef struct date {
  int year, month, day; /* -1: not found yet */
  int hour, minute, second;
} date_t;

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* RFC 6265 5.1.1: what is between the parts of a date. */
static bool is_delimiter(char c) {
  unsigned char u = (unsigned char) c;

  return u == 0x09 || (u >= 0x20 && u <= 0x2f) || (u >= 0x3b && u <= 0x40) ||
         (u >= 0x5b && u <= 0x60) || (u >= 0x7b && u <= 0x7e);
}

/* `min` to `max` digits in front, behind which is none; moves over them. */
static bool take_number(nt__slice_t* text, size_t min, size_t max, int* out) {
  int value = 0;
  size_t n = 0;

  while (n < text->size && n <= max && is_digit(text->at[n])) {
    value = value * 10 + (text->at[n] - '0');
    n++;
  }
  if (n < min || n > max)
    return false;
  text->at += n;
  text->size -= n;
  *out = value;
  return true;
}

static bool take_colon(nt__slice_t* text) {
  if (text->size == 0 || text->at[0] != ':')
    return false;
  text->at++;
  text->size--;
  return true;
}

static bool read_time(nt__slice_t token, date_t* date) {
  date_t found = *date;

  if (!take_number(&token, 1, 2, &found.hour) || !take_colon(&token) ||
      !take_number(&token, 1, 2, &found.minute) || !take_colon(&token) ||
      !take_number(&token, 1, 2, &found.second))
    return false;
  *date = found;
  return true;
}

static bool read_month(nt__slice_t token, date_t* date) {
  static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
  int i, k;

  if (token.size < 3)
    return false;
  for (i = 0; i < 12; i++) {
    for (k = 0; k < 3 && nt__lower(token.at[k]) == names[3 * i + k]; k++)
      continue;
    if (k == 3) {
      date->month = i + 1;
      return true;
    }
  }
  return false;
}

/* In the order of the RFC: a token is the first thing that it can be. */
static void read_token(nt__slice_t token, date_t* date) {
  if (date->hour < 0 && read_time(token, date))
    return;
  if (date->day < 0 && take_number(&token, 1, 2, &date->day))
    return;
  if (date->month < 0 && read_month(token, date))
    return;
  if (date->year < 0)
    take_number(&token, 2, 4, &date->year);
}

static bool is_date(date_t* date) {
  static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

  if (date->year >= 70 && date->year <= 99)
    date->year += 1900;
  else if (date->year >= 0 && date->year <= 69)
    date->year += 2000;
  return date->year >= 1601 && date->month > 0 && date->day >= 1 &&
         date->day <= days[date->month - 1] && date->hour >= 0 &&
         date->hour <= 23 && date->minute <= 59 && date->second <= 59;
}

bool nt__cookie_date(nt__slice_t text, int64_t* out) {
  date_t date = { -1, -1, -1, -1, -1, -1 };
  int64_t days;
  size_t i = 0;

  while (i < text.size) {
    size_t start;

    while (i < text.size && is_delimiter(text.at[i]))
      i++;
    start = i;
    while (i < text.size && !is_delimiter(text.at[i]))
      i++;
    if (i > start) {
      nt__slice_t token = { text.at + start, i - start };

      read_token(token, &date);
    }
  }
  if (!is_date(&date))
    return false;
  days = nt__calendar_days(date.year, date.month, date.day);
  *out =
      (((days * 24 + date.hour) * 60 + date.minute) * 60 + date.second) * 1000;
  return true;
}

/* ---- Set-Cookie ---------------------------------------------------------- */

/* What of the attributes needs a second thought. */
typedef struct attributes {
  bool has_age, has_date;
  int64_t age_ms; /* Unix time, as the next */
  int64_t date_ms;
} attributes_t;

/* RFC 6265 5.2.2. What is too large to be counted never ends. */
static bool read_age(nt__slice_t value, int64_t now_ms, int64_t* out) {
  static const int64_t max = INT64_C(1000) * 365 * 24 * 3600; /* a thousand
                                                               * years */
  bool negative = value.size > 0 && value.at[0] == '-';
  int64_t seconds = 0;
  size_t i = negative ? 1 : 0;

  if (i == value.size)
    return false;
  for (; i < value.size; i++) {
    if (!is_digit(value.at[i]))
      return false;
    if (seconds < max)
      seconds = seconds * 10 + (value.at[i] - '0');
  }
  if (seconds > max)
    seconds = max;
  *out = negative || seconds == 0 ? INT64_MIN : now_ms + seconds * 1000;
  return true;
}

static void read_domain(nt__slice_t value, nt__set_cookie_t* out) {
  if (value.size == 0)
    return;
  if (value.at[0] == '.') {
    value.at++;
    value.size--;
  }
  out->domain = value;
}

static void read_path(nt__slice_t value, nt__set_cookie_t* out) {
  out->path.size = 0;
  if (value.size > 0 && value.at[0] == '/')
    out->path = value;
}

static void read_attribute(nt__slice_t part, int64_t now_ms,
                           nt__set_cookie_t* out, attributes_t* found) {
  nt__slice_t name = nt__slice_trim(take_until(&part, '='));
  nt__slice_t value = nt__slice_trim(part);
  int64_t at;

  if (value.size > NT__COOKIE_ATTRIBUTE_MAX)
    return;
  if (nt__slice_is_word(name, "expires") && nt__cookie_date(value, &at)) {
    found->has_date = true;
    found->date_ms = at;
  } else if (nt__slice_is_word(name, "max-age") &&
             read_age(value, now_ms, &at)) {
    found->has_age = true;
    found->age_ms = at;
  } else if (nt__slice_is_word(name, "domain")) {
    read_domain(value, out);
  } else if (nt__slice_is_word(name, "path")) {
    read_path(value, out);
  } else if (nt__slice_is_word(name, "secure")) {
    out->secure = true;
  } else if (nt__slice_is_word(name, "httponly")) {
    out->http_only = true;
  }
}

static bool has_control(nt__slice_t slice, bool allow_tab) {
  size_t i;

  for (i = 0; i < slice.size; i++) {
    unsigned char c = (unsigned char) slice.at[i];

    if ((c < 0x20 && !(c == '\t' && allow_tab)) || c == 0x7f)
      return true;
  }
  return false;
}

bool nt__cookie_is_clean(nt__slice_t name, nt__slice_t value,
                         nt__slice_t path) {
  return name.size > 0 && name.size + value.size <= NT__COOKIE_MAX &&
         !has_control(name, false) && !has_control(value, true) &&
         !has_control(path, false) && memchr(name.at, '=', name.size) == NULL &&
         memchr(name.at, ';', name.size) == NULL &&
         (value.size == 0 || memchr(value.at, ';', value.size) == NULL);
}

bool nt__cookie_parse(nt__set_cookie_t* out, const char* line, size_t size,
                      int64_t now_ms) {
  nt__slice_t rest = { line, size };
  nt__slice_t pair = take_until(&rest, ';');
  attributes_t found = { false, false, 0, 0 };

  memset(out, 0, sizeof(*out));
  if (pair.size == 0 || memchr(pair.at, '=', pair.size) == NULL)
    return false;
  out->name = nt__slice_trim(take_until(&pair, '='));
  out->value = nt__slice_trim(pair);
  while (rest.size > 0)
    read_attribute(take_until(&rest, ';'), now_ms, out, &found);
  out->expires_ms = found.has_age    ? found.age_ms
                    : found.has_date ? found.date_ms
                                     : NT__COOKIE_SESSION;
  return nt__cookie_is_clean(out->name, out->value, out->path);
}

bool nt__cookie_keeps_prefix(const nt__set_cookie_t* cookie,
                             bool secure_place) {
  bool secure = cookie->secure && secure_place;

  if (begins_with(cookie->name, "__host-"))
    return secure && cookie->domain.size == 0 &&
           nt__slice_is(cookie->path, nt__slice("/"));
  if (begins_with(cookie->name, "__secure-"))
    return secure;
  return true;
}
