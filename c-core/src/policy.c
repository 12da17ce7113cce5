/* Policy: presets, snapshots, and the gate for URLs. Pure logic but for the
 * reference count, which both threads touch. */
#include "policy.h"

#include <string.h>

#include "alloc.h"

enum {
  KIB = 1024,
  MIB = 1024 * 1024,
  TASK_HIGH_WATER_MIN = 64 * KIB
};

/* The list of the mini-program platforms. */
static const nt_port_range_t forbidden_ports[] = {
  { 0, 1023 },      { 1099, 1099 },   { 1433, 1433 },   { 1521, 1521 },
  { 1719, 1720 },   { 1723, 1723 },   { 2049, 2049 },   { 2375, 2375 },
  { 3128, 3128 },   { 3306, 3306 },   { 3389, 3389 },   { 3659, 3659 },
  { 4045, 4045 },   { 5060, 5061 },   { 5432, 5432 },   { 5984, 5984 },
  { 6000, 6000 },   { 6379, 6379 },   { 6566, 6566 },   { 7001, 7002 },
  { 8000, 8100 },   { 8443, 8443 },   { 8888, 8888 },   { 9200, 9200 },
  { 9300, 9300 },   { 10051, 10051 }, { 10080, 10080 }, { 11211, 11211 },
  { 27017, 27019 },
};

static void forbid_ports(nt_policy_t* policy) {
  policy->tcp_forbidden_ports = forbidden_ports;
  policy->tcp_forbidden_count =
      sizeof(forbidden_ports) / sizeof(forbidden_ports[0]);
}

void nt_policy_init(nt_policy_t* policy, nt_preset_t preset) {
  memset(policy, 0, sizeof(*policy));
  if (preset == NT_PRESET_MINIPROGRAM) {
    policy->tcp_per_window = 20;
    policy->tcp_window_ms = 300000;
    forbid_ports(policy);
  }
  policy->mdns_scan_ms = preset == NT_PRESET_MINIPROGRAM ? 30000 : 0;
  policy->max_services = 256;
  policy->max_requests = preset == NT_PRESET_MINIPROGRAM ? 10 : 0;
  policy->max_lookups = 16;
  policy->max_redirects = 20;
  policy->header_max_bytes = 256 * KIB;
  policy->response_max_bytes = 64 * MIB;
  policy->task_high_water = 1 * MIB;
  policy->context_high_water = 64 * MIB;
  policy->max_sockets = preset == NT_PRESET_MINIPROGRAM ? 5 : 0;
  policy->send_queue_bytes = 16 * MIB;
  policy->message_max_bytes = 16 * MIB;
  policy->store_max_bytes = 16 * MIB;
  policy->download_max_bytes = preset == NT_PRESET_MINIPROGRAM ? 50 * MIB : 0;
}

static size_t text_size(const char* text) {
  return text == NULL ? 0 : strlen(text) + 1;
}

/* Copies `*text` to `*cursor`, points it there and moves on. */
static void keep_text(const char** text, char** cursor) {
  size_t size = text_size(*text);

  if (size == 0)
    return;
  memcpy(*cursor, *text, size);
  *text = *cursor;
  *cursor += size;
}

/* The count of a list that is not there does not matter. */
static size_t list_count(const char* const* list, size_t count) {
  return list == NULL ? 0 : count;
}

static size_t list_size(const char* const* list, size_t count) {
  size_t size = count * sizeof(*list);
  size_t i;

  for (i = 0; i < count; i++)
    size += text_size(list[i]);
  return size;
}

/* The same for a list. Its pointers need their alignment, so lists come first
 * and their texts behind. An empty list that is there stays one. */
static const char** keep_list(const char* const** list, size_t count,
                              char** cursor) {
  const char** copy = (const char**) (void*) *cursor;

  if (*list == NULL)
    return NULL;
  *cursor += count * sizeof(*copy);
  if (count > 0)
    memcpy(copy, *list, count * sizeof(*copy));
  *list = copy;
  return copy;
}

static void keep_texts(const char** list, size_t count, char** cursor) {
  size_t i;

  for (i = 0; i < count; i++)
    keep_text(&list[i], cursor);
}

static size_t bytes_of(const nt_policy_t* values) {
  return values->tcp_forbidden_count * sizeof(nt_port_range_t) +
         list_size(values->read_roots, values->read_root_count) +
         list_size(values->write_roots, values->write_root_count) +
         text_size(values->user_agent) + text_size(values->ca_file) +
         text_size(values->temp_dir) + text_size(values->store_file);
}

static void keep_ports(nt_policy_t* values, char** cursor) {
  size_t size = values->tcp_forbidden_count * sizeof(nt_port_range_t);

  if (size > 0)
    memcpy(*cursor, values->tcp_forbidden_ports, size);
  values->tcp_forbidden_ports = (const nt_port_range_t*) (void*) *cursor;
  *cursor += size;
}

static void keep(nt_policy_t* values, char* cursor) {
  size_t read_count = values->read_root_count;
  size_t write_count = values->write_root_count;
  const char** read = keep_list(&values->read_roots, read_count, &cursor);
  const char** write = keep_list(&values->write_roots, write_count, &cursor);

  keep_ports(values, &cursor); /* before text, for their alignment */
  keep_texts(read, read_count, &cursor);
  keep_texts(write, write_count, &cursor);
  keep_text(&values->user_agent, &cursor);
  keep_text(&values->ca_file, &cursor);
  keep_text(&values->temp_dir, &cursor);
  keep_text(&values->store_file, &cursor);
}

nt__policy_t* nt__policy_new(const nt_policy_t* given) {
  nt_policy_t values = *given;
  nt__policy_t* policy;

  values.read_root_count =
      list_count(values.read_roots, values.read_root_count);
  values.write_root_count =
      list_count(values.write_roots, values.write_root_count);
  if (values.tcp_forbidden_ports == NULL)
    values.tcp_forbidden_count = 0;
  policy = nt__malloc(sizeof(*policy) + bytes_of(&values));
  if (policy == NULL)
    return NULL;
  atomic_init(&policy->refs, 1);
  policy->trust = 0;
  policy->values = values;
  keep(&policy->values, policy->bytes);
  if (policy->values.task_high_water < TASK_HIGH_WATER_MIN)
    policy->values.task_high_water = TASK_HIGH_WATER_MIN;
  if (policy->values.context_high_water < policy->values.task_high_water)
    policy->values.context_high_water = policy->values.task_high_water;
  return policy;
}

nt__policy_t* nt__policy_ref(nt__policy_t* policy) {
  atomic_fetch_add_explicit(&policy->refs, 1, memory_order_relaxed);
  return policy;
}

void nt__policy_unref(nt__policy_t* policy) {
  if (policy == NULL)
    return;
  if (atomic_fetch_sub_explicit(&policy->refs, 1, memory_order_acq_rel) == 1)
    nt__free(policy);
}

int nt__policy_check_url(const nt__policy_t* policy, const nt__url_t* url) {
  const nt_policy_t* values = &policy->values;

  if (values->url_max_bytes != 0 && strlen(url->text) > values->url_max_bytes)
    return NT_E_URL_TOO_LONG;
  if (!url->http)
    return NT_E_SCHEME;
  if (!url->secure && (values->flags & NT_POLICY_REQUIRE_SECURE))
    return NT_E_SCHEME;
  if (url->explicit_port && (values->flags & NT_POLICY_NO_URL_PORT))
    return NT_E_PORT;
  return 0;
}

int nt__policy_check_tcp_port(const nt__policy_t* policy, int port) {
  const nt_policy_t* values = &policy->values;
  size_t i;

  for (i = 0; i < values->tcp_forbidden_count; i++)
    if (port >= values->tcp_forbidden_ports[i].first &&
        port <= values->tcp_forbidden_ports[i].last)
      return NT_E_PORT;
  return 0;
}
