/* Reads Cache-Control as RFC 9111, section 4.2.1, has a cache read it: what is
 * said twice counts as the stricter of the two, and what makes no sense as the
 * strictest. Pure logic, no memory; each input is read once from front to end,
 * whatever quotes are in it. */
#include "cache_control.h"

#include <stddef.h>
#include <string.h>

#include "ascii.h"
#include "header.h"

/* ---- Lists --------------------------------------------------------------- */

/* Where the text in quotes that begins at `i` ends, behind the mark; 0: never.
 */
static size_t quotes_end(nt__slice_t text, size_t i) {
  for (i++; i < text.size; i++) {
    if (text.at[i] == '"')
      return i + 1;
    if (text.at[i] == '\\')
      i++;
  }
  return 0;
}

/* The size of what is before the comma. */
static size_t member_size(nt__slice_t text, bool* open) {
  size_t i = 0;

  while (i < text.size && text.at[i] != ',') {
    if (text.at[i] != '"') {
      i++;
      continue;
    }
    i = quotes_end(text, i);
    if (i == 0) {
      *open = true;
      return text.size;
    }
  }
  return i;
}

bool nt__list_next(nt__slice_t* rest, nt__slice_t* member, bool* open) {
  bool ignored;

  if (open == NULL)
    open = &ignored;
  *open = false;
  while (rest->size > 0) {
    size_t size = member_size(*rest, open);
    nt__slice_t found = { rest->at, size };

    if (size < rest->size)
      size++;
    rest->at += size;
    rest->size -= size;
    *member = nt__slice_trim(found);
    if (member->size > 0)
      return true;
  }
  return false;
}

int64_t nt__delta_seconds(nt__slice_t text) {
  int64_t seconds = 0;
  size_t i;

  for (i = 0; i < text.size; i++) {
    if (text.at[i] < '0' || text.at[i] > '9')
      return -1;
    if (seconds < NT__DELTA_MAX)
      seconds = seconds * 10 + (text.at[i] - '0');
  }
  if (text.size == 0)
    return -1;
  return seconds > NT__DELTA_MAX ? NT__DELTA_MAX : seconds;
}

const char* nt__fields_find(const nt_headers_t* headers, const char* name) {
  size_t cursor = 0;
  const char* found;
  const char* value;

  while (nt_headers_next(headers, &cursor, &found, &value))
    if (nt__header_is(found, name))
      return value;
  return NULL;
}

/* ---- Names --------------------------------------------------------------- */

static bool is_name(nt__slice_t text) {
  char name[128]; /* no field that anybody means is longer */

  if (text.size >= sizeof(name))
    return false;
  memcpy(name, text.at, text.size);
  name[text.size] = '\0';
  return nt__header_is_token(name);
}

static bool is_same_name(nt__slice_t a, const char* name) {
  size_t i;

  for (i = 0; i < a.size && name[i] != '\0'; i++)
    if (nt__lower(a.at[i]) != nt__lower(name[i]))
      return false;
  return i == a.size && name[i] == '\0';
}

static void add_list(nt__names_t* names, nt__slice_t list) {
  nt__slice_t member;

  while (nt__list_next(&list, &member, NULL)) {
    if (!is_name(member)) {
      names->broken = true;
    } else if (names->count == NT__CACHE_NAMES_MAX) {
      names->full = true;
      return;
    } else {
      names->items[names->count++] = member;
    }
  }
}

void nt__names_add(nt__names_t* names, const nt_headers_t* headers,
                   const char* field) {
  size_t cursor = 0;
  const char* name;
  const char* value;

  while (nt_headers_next(headers, &cursor, &name, &value))
    if (nt__header_is(name, field))
      add_list(names, nt__slice(value));
}

bool nt__names_have(const nt__names_t* names, const char* name) {
  size_t i;

  for (i = 0; i < names->count; i++)
    if (is_same_name(names->items[i], name))
      return true;
  return false;
}

/* ---- Directives ---------------------------------------------------------- */

typedef struct directive {
  nt__slice_t name;
  nt__slice_t value; /* without quotes */
  bool has_value;
  bool broken; /* blanks around "=", or something behind the quotes */
} directive_t;

static void read_quoted(directive_t* out) {
  nt__slice_t quoted = out->value;

  if (quoted.size == 0 || quoted.at[0] != '"')
    return;
  if (quotes_end(quoted, 0) != quoted.size) {
    out->broken = true;
    return;
  }
  out->value.at++;
  out->value.size -= 2;
}

static void read_directive(directive_t* out, nt__slice_t member) {
  const char* mark = memchr(member.at, '=', member.size);

  memset(out, 0, sizeof(*out));
  out->name = member;
  if (mark == NULL)
    return;
  out->has_value = true;
  out->name.size = (size_t) (mark - member.at);
  out->value.at = mark + 1;
  out->value.size = member.size - out->name.size - 1;
  out->broken = nt__slice_trim(out->name).size != out->name.size ||
                nt__slice_trim(out->value).size != out->value.size;
  out->name = nt__slice_trim(out->name);
  out->value = nt__slice_trim(out->value);
  read_quoted(out);
}

typedef struct number_rule {
  const char* name;
  size_t offset;
  int64_t bare;   /* without a value */
  int64_t broken; /* with one that makes no sense */
  bool larger;    /* is the stricter one */
} number_rule_t;

static const number_rule_t numbers[] = {
  { "max-age", offsetof(nt__directives_t, max_age), 0, 0, false },
  { "max-stale", offsetof(nt__directives_t, max_stale), NT__DELTA_MAX, 0,
    false },
  { "min-fresh", offsetof(nt__directives_t, min_fresh), NT__DELTA_MAX,
    NT__DELTA_MAX, true },
  { "stale-while-revalidate",
    offsetof(nt__directives_t, stale_while_revalidate), 0, 0, false },
  { "stale-if-error", offsetof(nt__directives_t, stale_if_error), 0, 0, false },
};

static const struct {
  const char* name;
  size_t offset;
} flags[] = {
  { "no-store", offsetof(nt__directives_t, no_store) },
  { "must-revalidate", offsetof(nt__directives_t, must_revalidate) },
  { "must-understand", offsetof(nt__directives_t, must_understand) },
  { "public", offsetof(nt__directives_t, is_public) },
  { "private", offsetof(nt__directives_t, is_private) },
  { "immutable", offsetof(nt__directives_t, immutable) },
  { "only-if-cached", offsetof(nt__directives_t, only_if_cached) },
};

static int64_t number_of(const directive_t* directive,
                         const number_rule_t* rule) {
  int64_t seconds;

  if (!directive->has_value)
    return rule->bare;
  seconds = directive->broken ? -1 : nt__delta_seconds(directive->value);
  return seconds < 0 ? rule->broken : seconds;
}

static void take_number(nt__directives_t* out, const directive_t* directive) {
  size_t i;

  for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
    int64_t* place = (int64_t*) ((char*) out + numbers[i].offset);
    int64_t seconds;

    if (!nt__slice_is_word(directive->name, numbers[i].name))
      continue;
    seconds = number_of(directive, &numbers[i]);
    if (*place < 0 || (seconds > *place) == numbers[i].larger)
      *place = seconds;
  }
}

static void take_flag(nt__directives_t* out, const directive_t* directive) {
  size_t i;

  for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
    if (nt__slice_is_word(directive->name, flags[i].name))
      *(bool*) ((char*) out + flags[i].offset) = true;
}

/* Fields without which we could not say ourselves what the answer is. */
static bool is_needed(const nt__names_t* names) {
  static const char* const needed[] = {
    "Age", "Cache-Control", "Date", "ETag", "Expires", "Last-Modified", "Vary"
  };
  size_t i;

  for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
    if (nt__names_have(names, needed[i]))
      return true;
  return false;
}

static bool is_no_cache(const directive_t* directive) {
  return nt__slice_is_word(directive->name, "no-cache");
}

/* RFC 9111 5.2.2.4. */
static void take_no_cache(nt__directives_t* out, const directive_t* directive) {
  nt__names_t names = { 0 };

  if (!is_no_cache(directive))
    return;
  if (directive->has_value && !directive->broken)
    add_list(&names, directive->value);
  if (names.count == 0 || names.broken || names.full || is_needed(&names))
    out->no_cache = true;
  else
    out->no_cache_fields = true;
}

static void read_field(nt__directives_t* out, const char* value) {
  nt__slice_t rest = nt__slice(value);
  nt__slice_t member;
  directive_t directive;
  bool open;

  while (nt__list_next(&rest, &member, &open)) {
    read_directive(&directive, member);
    take_number(out, &directive);
    take_flag(out, &directive);
    take_no_cache(out, &directive);
    if (open) /* it might have gone on with anything */
      out->no_store = out->no_cache = true;
  }
}

void nt__directives_read(nt__directives_t* out, const nt_headers_t* headers) {
  size_t cursor = 0;
  const char* name;
  const char* value;
  size_t i;

  memset(out, 0, sizeof(*out));
  for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
    *(int64_t*) ((char*) out + numbers[i].offset) = -1;
  while (nt_headers_next(headers, &cursor, &name, &value)) {
    if (!nt__header_is(name, "cache-control"))
      continue;
    out->present = true;
    read_field(out, value);
  }
}

/* RFC 9111 5.4. */
static bool has_pragma(const nt_headers_t* request) {
  nt__names_t names = { 0 };

  nt__names_add(&names, request, "pragma");
  return nt__names_have(&names, "no-cache");
}

void nt__directives_read_request(nt__directives_t* out,
                                 const nt_headers_t* request) {
  nt__directives_read(out, request);
  /* Names mean nothing here. */
  if (out->no_cache_fields || (!out->present && has_pragma(request)))
    out->no_cache = true;
}

void nt__names_add_no_cache(nt__names_t* names, const nt_headers_t* headers) {
  size_t cursor = 0;
  const char* name;
  const char* value;
  nt__slice_t member;
  directive_t directive;

  while (nt_headers_next(headers, &cursor, &name, &value)) {
    nt__slice_t rest = nt__slice(value);

    if (!nt__header_is(name, "cache-control"))
      continue;
    while (nt__list_next(&rest, &member, NULL)) {
      read_directive(&directive, member);
      if (is_no_cache(&directive) && !directive.broken)
        add_list(names, directive.value);
    }
  }
}
