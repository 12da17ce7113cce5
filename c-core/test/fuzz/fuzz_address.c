/* Hosts of TCP and UDP. An address that is read is written and read again; what
 * passes the gate is no private address, however the system would read it. */
#include "oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static void check_literal(const nt__sockaddr_t* address, int family) {
  nt__sockaddr_t again;
  char text[NT__IP_SIZE];

  nt__address_write(address, text);
  require(nt__address_parse(text, family, &again) == NT__HOST_LITERAL);
  require(nt__address_equal(address, &again));
  require(nt__gate_host(private_policy(), NT_ACCESS_UDP, text, 1, false) ==
          nt__gate_address(private_policy(), NULL, &address->sa));
}

static void check_parsed(const char* host, int family) {
  nt__sockaddr_t address;
  nt__sockaddr_t system;

  switch (nt__address_parse(host, family, &address)) {
    case NT__HOST_LITERAL:
      check_literal(&address, family);
      break;
    case NT__HOST_NAME: /* a resolver is asked for it */
      require(!is_numeric(host, &system));
      break;
    default:
      break;
  }
}

static void check_gate(const char* host) {
  nt__host_t form;

  if (nt__gate_host(private_policy(), NT_ACCESS_TCP, host, 1, false) != 0)
    return;
  require_public(host);
  require(nt__host_read(&form, host));
  require(form.literal || strlen(form.name) == form.size);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  char* host = malloc(size + 1);

  require(host != NULL);
  if (size > 0)
    memcpy(host, data, size);
  host[size] = '\0';
  check_parsed(host, AF_INET);
  check_parsed(host, AF_INET6);
  check_gate(host);
  free(host);
  return 0;
}
