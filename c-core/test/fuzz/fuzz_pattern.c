/* Entries of a policy's lists: the input is an entry and a host, with a NUL
 * between them. What matches really is the entry's host or below it; an entry
 * that is refused matches nothing. */
#include "oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

/* The entry without scheme, port and brackets, and a dot at its end. */
static char* host_of(const char* entry) {
  const char* host = strstr(entry, "://");
  char* copy;
  size_t size;

  host = host == NULL ? entry : host + 3;
  copy = strdup(host);
  require(copy != NULL);
  if (copy[0] == '[')
    copy[strcspn(copy, "]") + 1] = '\0';
  else
    copy[strcspn(copy, ":")] = '\0';
  size = strlen(copy);
  if (size > 0 && copy[size - 1] == '.')
    copy[size - 1] = '\0';
  return copy;
}

static bool is_same_address(const char* a, const char* b) {
  nt__sockaddr_t one;
  nt__sockaddr_t other;
  nt__ip_t ips[2];

  if (!is_numeric(a, &one) || !is_numeric(b, &other))
    return false;
  require(nt__ip_read(&ips[0], &one.sa) && nt__ip_read(&ips[1], &other.sa));
  return memcmp(&ips[0], &ips[1], sizeof(ips[0])) == 0;
}

/* An entry has no zone, and means the address in all of them. */
static bool is_same_host(const char* pattern, const char* host) {
  char* bare = bare_host(host);
  bool same;

  bare[strcspn(bare, "%")] = '\0';
  same = strcasecmp(pattern, bare) == 0 || is_same_address(pattern, bare);
  free(bare);
  return same;
}

/* `host` has no dot at its end. */
static bool is_meant(const char* pattern, const char* host) {
  size_t size = strlen(host);
  size_t tail = strlen(pattern);

  if (strncmp(pattern, "*.", 2) != 0)
    return is_same_host(pattern, host);
  return size > tail - 1 &&
         strcasecmp(host + size - tail + 1, pattern + 1) == 0;
}

static void check_match(const char* entry, const char* host) {
  char* pattern = host_of(entry);
  char* name = strdup(host);
  size_t size = strlen(name);

  require(size > 0);
  if (name[size - 1] == '.')
    name[size - 1] = '\0';
  require(is_meant(pattern, name));
  free(name);
  free(pattern);
}

static void check_list(const char* entry, const char* host) {
  nt__policy_t* policy = new_policy(0, &entry, 1);
  nt_policy_t values = policy->values;
  char why[64] = "";
  int i;

  for (i = 0; i < NT_ACCESS_COUNT; i++) {
    nt_access_t access = (nt_access_t) i;
    bool matches = nt__gate_host(policy, access, host, 443, true) == 0 ||
                   nt__gate_host(policy, access, host, 80, false) == 0;

    memset(values.domains, 0, sizeof(values.domains));
    values.domains[i] = policy->values.domains[i];
    if (matches) {
      check_match(entry, host);
      require(nt_policy_check(&values, why, sizeof(why)) == 0);
    }
  }
  nt__policy_unref(policy);
}

/* What is allowed expressly is all that passes. */
static void check_allowed(const char* entry, const char* host) {
  nt_policy_t values;
  nt__policy_t* policy;
  nt__sockaddr_t address;

  nt_policy_init(&values, NT_PRESET_OPEN);
  values.flags = NT_POLICY_REFUSE_PRIVATE;
  values.allow_private.items = &entry;
  values.allow_private.count = 1;
  policy = nt__policy_new(&values);
  require(policy != NULL);
  if (nt_policy_check(&values, NULL, 0) != 0 && is_numeric(host, &address))
    require(nt__gate_address(policy, NULL, &address.sa) ==
            nt__gate_address(private_policy(), NULL, &address.sa));
  nt__gate_host(policy, NT_ACCESS_UDP, host, 1, false);
  nt__policy_unref(policy);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  char* entry = malloc(size + 2);
  char* host;

  require(entry != NULL);
  if (size > 0)
    memcpy(entry, data, size);
  entry[size] = entry[size + 1] = '\0';
  host = entry + strlen(entry) + 1;
  if (host < entry + size) {
    check_list(entry, host);
    check_allowed(entry, host);
  } else {
    check_list(entry, entry);
    check_allowed(entry, entry);
  }
  free(entry);
  return 0;
}
