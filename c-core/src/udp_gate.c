/* Whom a UDP socket may send to and hear, by the policy that it was opened
 * under. The host thread asks at each call; the I/O thread asks again where a
 * name has led to, each time, since the resolver's answers belong to all
 * sockets, and of what comes in where it came from.
 *
 * What is asked about is the address that goes to the system, in its canonical
 * text, and never what a script wrote. */
#include <string.h>

#include "audit.h"
#include "gate.h"
#include "udp.h"

enum {
  ANSWERERS = 64 /* that are remembered at once */
};

/* Names have led to them, and something was sent there: they may answer. The
 * newest takes the place of the one that came first. */
struct nt__udp_answerers {
  nt__sockaddr_t list[ANSWERERS];
  size_t count, next;
};

bool nt__udp_is_guarded(const nt__policy_t* policy) {
  return nt__gate_has_private(policy) ||
         nt__gate_has_list(policy, NT_ACCESS_UDP);
}

static int check_address(const nt__policy_t* policy,
                         const nt__sockaddr_t* address) {
  char ip[NT__IP_SIZE];
  int err = 0;

  if (nt__gate_has_list(policy, NT_ACCESS_UDP)) {
    nt__address_write(address, ip);
    err = nt__gate_host(policy, NT_ACCESS_UDP, ip, nt__address_port(address),
                        false);
  }
  return err ? err : nt__gate_address(policy, NULL, &address->sa);
}

/* ---- Host thread --------------------------------------------------------- */

static int refuse(nt_context_t* ctx, const nt__udp_t* udp, int error,
                  const char* host, int port) {
  char text[NT__HOST_TEXT];

  nt__host_show("udp", host, port, text);
  return nt__refuse(ctx, udp->task.id, error, text);
}

int nt__udp_check_target(nt_context_t* ctx, const nt__udp_t* udp,
                         const char* host, int port,
                         const nt__sockaddr_t* address) {
  const nt__policy_t* policy = udp->task.policy;
  int err;

  if (!udp->guarded)
    return 0;
  if (address->sa.sa_family == AF_UNSPEC)
    err = nt__gate_host(policy, NT_ACCESS_UDP, host, port, false);
  else
    err = check_address(policy, address);
  return err ? refuse(ctx, udp, err, host, port) : 0;
}

/* ---- I/O thread ---------------------------------------------------------- */

int nt__udp_check_found(const nt__udp_t* udp, const char* name,
                        const nt__sockaddr_t* address) {
  if (!udp->guarded)
    return 0;
  return nt__gate_address(udp->task.policy, name, &address->sa);
}

static bool has_answerer(const nt__udp_t* udp, const nt__sockaddr_t* address) {
  const nt__udp_answerers_t* answerers = udp->answerers;
  size_t i;

  if (answerers == NULL)
    return false;
  for (i = 0; i < answerers->count; i++)
    if (nt__address_equal(&answerers->list[i], address))
      return true;
  return false;
}

/* Without memory its answers are dropped. */
void nt__udp_expect_from(nt__udp_t* udp, const nt__sockaddr_t* address) {
  nt__udp_answerers_t* answerers = udp->answerers;

  if (!udp->guarded || has_answerer(udp, address))
    return;
  if (answerers == NULL)
    answerers = udp->answerers = nt__calloc(sizeof(*answerers));
  if (answerers == NULL)
    return;
  answerers->list[answerers->next] = *address;
  answerers->next = (answerers->next + 1) % ANSWERERS;
  if (answerers->count < ANSWERERS)
    answerers->count++;
}

/* Most datagrams come from whom the one before came from. */
bool nt__udp_may_hear(nt__udp_t* udp, const struct sockaddr* from) {
  nt__sockaddr_t address;

  if (!udp->guarded)
    return true;
  nt__address_copy(&address, from);
  if (nt__address_equal(&address, &udp->heard))
    return true;
  if (!has_answerer(udp, &address) &&
      check_address(udp->task.policy, &address) != 0)
    return false;
  udp->heard = address;
  return true;
}
