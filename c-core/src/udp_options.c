/* Options of UDP sockets, set on the descriptor itself: it may not be with the
 * loop yet. I/O thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#  include <winsock2.h>
#  include <ws2tcpip.h>
/* Needs those before. */
#  include <iphlpapi.h>
#else
#  include <net/if.h>
#  include <netinet/in.h>
#  include <sys/socket.h>
#endif

#include "udp.h"

static int system_error(void) {
#ifdef _WIN32
  return uv_translate_sys_error(WSAGetLastError());
#else
  return uv_translate_sys_error(errno);
#endif
}

static int set(nt__udp_t* udp, int level, int name, const void* value,
               size_t size) {
  if (setsockopt(udp->fd, level, name, value, (socklen_t) size) == 0)
    return 0;
  return system_error();
}

static int set_number(nt__udp_t* udp, int level, int name, int value) {
  return set(udp, level, name, &value, sizeof(value));
}

static bool is_v6(const nt__udp_t* udp) {
  return udp->family == AF_INET6;
}

int nt__udp_set_ttl(nt__udp_t* udp, int ttl) {
  return is_v6(udp) ? set_number(udp, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl)
                    : set_number(udp, IPPROTO_IP, IP_TTL, ttl);
}

int nt__udp_set_multicast_ttl(nt__udp_t* udp, int ttl) {
  return is_v6(udp) ? set_number(udp, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ttl)
                    : set_number(udp, IPPROTO_IP, IP_MULTICAST_TTL, ttl);
}

int nt__udp_set_broadcast(nt__udp_t* udp, bool on) {
  int code = set_number(udp, SOL_SOCKET, SO_BROADCAST, on);

  if (code == 0)
    udp->broadcasts = on;
  return code;
}

void nt__udp_set_defaults(nt__udp_t* udp) {
  bool v6 = is_v6(udp);

  /* libuv lets others share the port. */
  set_number(udp, SOL_SOCKET, SO_REUSEADDR, 0);
#if defined(SO_REUSEPORT) && !defined(__linux__)
  set_number(udp, SOL_SOCKET, SO_REUSEPORT, 0);
#endif
  /* Not what comes to groups that others have joined. */
#ifdef IP_MULTICAST_ALL
  if (!v6)
    set_number(udp, IPPROTO_IP, IP_MULTICAST_ALL, 0);
#endif
#ifdef IPV6_MULTICAST_ALL
  if (v6)
    set_number(udp, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
#endif
    /* Without it a socket that is not connected hears of no ICMP error. */
#ifdef IP_RECVERR
  if (!v6)
    set_number(udp, IPPROTO_IP, IP_RECVERR, 1);
#endif
#ifdef IPV6_RECVERR
  if (v6)
    set_number(udp, IPPROTO_IPV6, IPV6_RECVERR, 1);
#endif
}

/* ---- Groups -------------------------------------------------------------- */

/* 0: none of that name. "fe80::1%eth0" is also a way to write one. */
static unsigned interface_index(const char* name) {
  const char* zone = strchr(name, '%');
  unsigned index;

  if (zone != NULL)
    name = zone + 1;
  index = if_nametoindex(name);
  return index != 0 ? index : (unsigned) strtoul(name, NULL, 10);
}

/* What goes out to groups goes by the same interface. */
static int send_by_index(nt__udp_t* udp, unsigned index) {
#ifdef _WIN32
  DWORD number = is_v6(udp) ? index : htonl(index);

  return set(udp, is_v6(udp) ? IPPROTO_IPV6 : IPPROTO_IP,
             is_v6(udp) ? IPV6_MULTICAST_IF : IP_MULTICAST_IF, &number,
             sizeof(number));
#else
  struct ip_mreqn request;

  if (is_v6(udp))
    return set(udp, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index));
  memset(&request, 0, sizeof(request));
  request.imr_ifindex = (int) index;
  return set(udp, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request));
#endif
}

static int member_by_index(nt__udp_t* udp, const nt__sockaddr_t* group,
                           unsigned index, bool member) {
  struct group_req request;

  memset(&request, 0, sizeof(request));
  request.gr_interface = index;
  memcpy(&request.gr_group, group, sizeof(*group));
  return set(udp, is_v6(udp) ? IPPROTO_IPV6 : IPPROTO_IP,
             member ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &request,
             sizeof(request));
}

static int member_by_address(nt__udp_t* udp, const nt__sockaddr_t* group,
                             const nt__sockaddr_t* address, bool member) {
  struct ip_mreq request;
  int code;

  memset(&request, 0, sizeof(request));
  request.imr_multiaddr = group->in.sin_addr;
  request.imr_interface = address->in.sin_addr;
  code = set(udp, IPPROTO_IP, member ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP,
             &request, sizeof(request));
  if (code != 0 || !member)
    return code;
  return set(udp, IPPROTO_IP, IP_MULTICAST_IF, &address->in.sin_addr,
             sizeof(address->in.sin_addr));
}

int nt__udp_set_membership(nt__udp_t* udp, const nt__sockaddr_t* group,
                           const char* interface_name, bool member) {
  nt__sockaddr_t address;
  unsigned index =
      group->sa.sa_family == AF_INET6 ? group->in6.sin6_scope_id : 0;
  int code;

  if (interface_name == NULL)
    return member_by_index(udp, group, index, member);
  if (nt__address_parse(interface_name, AF_INET, &address) ==
          NT__HOST_LITERAL &&
      !is_v6(udp))
    return member_by_address(udp, group, &address, member);
  index = interface_index(interface_name);
  if (index == 0)
    return UV_ENODEV;
  code = member_by_index(udp, group, index, member);
  return code != 0 || !member ? code : send_by_index(udp, index);
}
