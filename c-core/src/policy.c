/* Policy: presets and snapshots. Pure logic but for the reference count, which
 * both threads touch. What the lists mean is in gate.c. */
#include "policy.h"

#include <string.h>

#include "alloc.h"
#include "list.h"

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

static void limit_numbers(nt_policy_t* policy) {
  policy->tcp_per_window = 20;
  policy->tcp_window_ms = 300000;
  policy->mdns_scan_ms = 30000;
  policy->max_requests = 10;
  policy->max_sockets = 5;
  policy->download_max_bytes = 50 * MIB;
  forbid_ports(policy);
}

/* Nothing, until the host says what. */
static void limit_reach(nt_policy_t* policy) {
  static const char* const none[] = { NULL };

  policy->flags = NT_POLICY_REQUIRE_SECURE | NT_POLICY_REFUSE_PRIVATE |
                  NT_POLICY_REQUIRE_DOMAINS | NT_POLICY_REFUSE_PROXY;
  policy->read_roots = none;
  policy->write_roots = none;
}

void nt_policy_init(nt_policy_t* policy, nt_preset_t preset) {
  memset(policy, 0, sizeof(*policy));
  if (preset != NT_PRESET_OPEN)
    limit_numbers(policy);
  if (preset == NT_PRESET_STRICT)
    limit_reach(policy);
  policy->max_services = 256;
  policy->max_lookups = 16;
  policy->max_redirects = 20;
  policy->header_max_bytes = 256 * KIB;
  policy->response_max_bytes = 64 * MIB;
  policy->task_high_water = 1 * MIB;
  policy->context_high_water = 64 * MIB;
  policy->send_queue_bytes = 16 * MIB;
  policy->message_max_bytes = 16 * MIB;
  policy->store_max_bytes = 16 * MIB;
  policy->cache_max_bytes = 16 * MIB;
  policy->background_grace_ms = 5000;
}

/* ---- Keeping ------------------------------------------------------------- */

/* Walks over what is to be copied twice: without `bytes` it measures, and with
 * them it copies. */
typedef struct keeper {
  char* bytes;
  size_t size;
} keeper_t;

/* Room for `size` bytes; NULL while it measures. */
static void* keep_room(keeper_t* keeper, size_t size, size_t align) {
  size_t at = (keeper->size + align - 1) / align * align;

  keeper->size = at + size;
  return keeper->bytes == NULL ? NULL : keeper->bytes + at;
}

static void* keep_bytes(keeper_t* keeper, const void* bytes, size_t size,
                        size_t align) {
  void* room = keep_room(keeper, size, align);

  if (room != NULL && size > 0)
    memcpy(room, bytes, size);
  return room;
}

static void keep_text(keeper_t* keeper, const char** text) {
  const char* copy;

  if (*text == NULL)
    return;
  copy = keep_bytes(keeper, *text, strlen(*text) + 1, 1);
  if (copy != NULL)
    *text = copy;
}

/* An empty list that is there stays one, and the count of one that is not does
 * not matter. */
static void keep_list(keeper_t* keeper, nt_list_t* list) {
  const char** items;
  size_t i;

  if (list->items == NULL) {
    list->count = 0;
    return;
  }
  items = keep_bytes(keeper, list->items, list->count * sizeof(*items),
                     _Alignof(const char*));
  for (i = 0; i < list->count; i++) {
    const char* text = list->items[i];

    keep_text(keeper, &text);
    if (items != NULL)
      items[i] = text;
  }
  if (items != NULL)
    list->items = items;
}

static void keep_roots(keeper_t* keeper, const char* const** roots,
                       size_t* count) {
  nt_list_t list = { *roots, *count };

  keep_list(keeper, &list);
  *roots = list.items;
  *count = list.count;
}

static void keep_ports(keeper_t* keeper, nt_policy_t* values) {
  const nt_port_range_t* ports;

  if (values->tcp_forbidden_ports == NULL) {
    values->tcp_forbidden_count = 0;
    return;
  }
  ports = keep_bytes(keeper, values->tcp_forbidden_ports,
                     values->tcp_forbidden_count * sizeof(*ports),
                     _Alignof(nt_port_range_t));
  if (ports != NULL)
    values->tcp_forbidden_ports = ports;
}

static void keep_pins(keeper_t* keeper, nt_policy_t* values) {
  nt_pin_t* pins;
  size_t i;

  if (values->pins == NULL) {
    values->pin_count = 0;
    return;
  }
  pins = keep_bytes(keeper, values->pins, values->pin_count * sizeof(*pins),
                    _Alignof(nt_pin_t));
  for (i = 0; i < values->pin_count; i++) {
    nt_pin_t pin = values->pins[i];

    keep_text(keeper, &pin.host);
    keep_list(keeper, &pin.keys);
    if (pins != NULL)
      pins[i] = pin;
  }
  if (pins != NULL)
    values->pins = pins;
}

static void keep_secrets(keeper_t* keeper, nt_policy_t* values) {
  nt_secret_t* secrets;
  size_t i;

  if (values->secrets == NULL) {
    values->secret_count = 0;
    return;
  }
  secrets = keep_bytes(keeper, values->secrets,
                       values->secret_count * sizeof(*secrets),
                       _Alignof(nt_secret_t));
  for (i = 0; i < values->secret_count; i++) {
    nt_secret_t secret = values->secrets[i];

    keep_text(keeper, &secret.name);
    keep_text(keeper, &secret.placeholder);
    keep_text(keeper, &secret.value);
    keep_list(keeper, &secret.hosts);
    if (secrets != NULL)
      secrets[i] = secret;
  }
  if (secrets != NULL)
    values->secrets = secrets;
}

static void keep_texts(keeper_t* keeper, nt_policy_t* values) {
  keep_text(keeper, &values->user_agent);
  keep_text(keeper, &values->ca_file);
  keep_text(keeper, &values->ca_data);
  keep_text(keeper, &values->temp_dir);
  keep_text(keeper, &values->store_file);
  keep_text(keeper, &values->cookie_file);
  keep_text(keeper, &values->cache_dir);
  keep_text(keeper, &values->proxy);
}

/* Room for the patterns of a list, which are read once it is full. */
static void keep_patterns(keeper_t* keeper, nt__patterns_t* patterns,
                          const nt_list_t* list) {
  patterns->count = list->count;
  patterns->items = keep_room(keeper, list->count * sizeof(*patterns->items),
                              _Alignof(nt__pattern_t));
}

static void keep(keeper_t* keeper, nt__policy_t* policy) {
  nt_policy_t* values = &policy->values;
  int i;

  keep_ports(keeper, values);
  keep_roots(keeper, &values->read_roots, &values->read_root_count);
  keep_roots(keeper, &values->write_roots, &values->write_root_count);
  for (i = 0; i < NT_ACCESS_COUNT; i++) {
    keep_list(keeper, &values->domains[i]);
    keep_patterns(keeper, &policy->domains[i], &values->domains[i]);
  }
  keep_list(keeper, &values->allow_private);
  keep_patterns(keeper, &policy->allow_private, &values->allow_private);
  keep_list(keeper, &values->referers);
  keep_pins(keeper, values);
  keep_secrets(keeper, values);
  keep_texts(keeper, values);
}

/* ---- Snapshots ----------------------------------------------------------- */

/* One that cannot be read, which nt_policy_check() refuses, matches nothing. */
static void read_domains(nt__policy_t* policy, nt_access_t access) {
  const nt_list_t* list = &policy->values.domains[access];
  nt__pattern_t* items = policy->domains[access].items;
  size_t i;

  for (i = 0; i < list->count; i++)
    if (!nt__pattern_read(&items[i], list->items[i], access))
      memset(&items[i], 0, sizeof(items[i]));
}

static void read_allowed(nt__policy_t* policy) {
  const nt_list_t* list = &policy->values.allow_private;
  nt__pattern_t* items = policy->allow_private.items;
  size_t i;

  for (i = 0; i < list->count; i++)
    if (!nt__pattern_read_block(&items[i], list->items[i]))
      memset(&items[i], 0, sizeof(items[i]));
}

static void read_patterns(nt__policy_t* policy) {
  int i;

  for (i = 0; i < NT_ACCESS_COUNT; i++)
    read_domains(policy, (nt_access_t) i);
  read_allowed(policy);
}

static bool limits_hosts(const nt_policy_t* values) {
  int i;

  for (i = 0; i < NT_ACCESS_COUNT; i++)
    if (values->domains[i].items != NULL)
      return true;
  return (values->flags &
          (NT_POLICY_REFUSE_PRIVATE | NT_POLICY_REQUIRE_DOMAINS)) != 0;
}

static void raise_marks(nt_policy_t* values) {
  if (values->task_high_water < TASK_HIGH_WATER_MIN)
    values->task_high_water = TASK_HIGH_WATER_MIN;
  if (values->context_high_water < values->task_high_water)
    values->context_high_water = values->task_high_water;
}

nt__policy_t* nt__policy_new(const nt_policy_t* given) {
  nt__policy_t measured = { .values = *given };
  keeper_t keeper = { NULL, 0 };
  nt__policy_t* policy;

  keep(&keeper, &measured);
  policy = nt__malloc(sizeof(*policy) + keeper.size);
  if (policy == NULL)
    return NULL;
  *policy = measured;
  policy->size = keeper.size;
  keeper.bytes = policy->bytes;
  keeper.size = 0;
  keep(&keeper, policy);
  atomic_init(&policy->refs, 1);
  raise_marks(&policy->values);
  read_patterns(policy);
  policy->limits_hosts = limits_hosts(&policy->values);
  return policy;
}

nt__policy_t* nt__policy_ref(nt__policy_t* policy) {
  atomic_fetch_add_explicit(&policy->refs, 1, memory_order_relaxed);
  return policy;
}

void nt__policy_unref(nt__policy_t* policy) {
  if (policy == NULL)
    return;
  if (atomic_fetch_sub_explicit(&policy->refs, 1, memory_order_acq_rel) != 1)
    return;
  nt__wipe(policy->bytes, policy->size); /* secrets, and the proxy's password */
  nt__free(policy);
}

nt_policy_t* nt_policy_copy(const nt_policy_t* values) {
  nt__policy_t* policy;

  nt__alloc_freeze(); /* what it is freed with */
  policy = nt__policy_new(values);
  return policy == NULL ? NULL : &policy->values;
}

void nt_policy_free(nt_policy_t* values) {
  if (values != NULL)
    nt__policy_unref(nt__container_of(values, nt__policy_t, values));
}

const char* nt__policy_referer(const nt_policy_t* values, uint32_t number) {
  const nt_list_t* list = &values->referers;

  return number == 0 || number > list->count ? NULL : list->items[number - 1];
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
