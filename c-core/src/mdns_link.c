/* Sockets of a scan for local services.
 *
 * libuv tells where a datagram came from, but not where to. So each interface
 * has sockets of its own, which hear the group there alone. An answer by
 * unicast may come to any of them, and over IPv6 Linux hands to all of them
 * what came to the group on one interface: then the sender's address tells the
 * interface, and a message that is taken twice says nothing new. A sender that
 * is no neighbour is not heard: it could only have come through a router.
 *
 * A flood is read in portions, so that others on the loop have their turns. */
#include "mdns_link.h"

#include <string.h>

#include "gate.h"

#ifdef _WIN32
#  include <winsock2.h>
#  include <ws2tcpip.h>
#else
#  include <fcntl.h>
#  include <net/if.h>
#  include <netinet/in.h>
#  include <sys/ioctl.h>
#  include <sys/socket.h>
#  include <unistd.h>
#endif

enum {
  PORT = 5353,
  HOPS = 255, /* RFC 6762 11 */
  FAMILIES = 2,
  SUBNETS = 8, /* of one interface */
  ROOM = 9216, /* for a message; longer ones are none */
  RECEIVE_BUFFER = 1024 * 1024,
  PORTION_MS = 100, /* what one socket reads in so long: */
  PORTION_COUNT = 500,
  PORTION_BYTES = 256 * 1024,
  PORTION_NS = 10 * 1000 * 1000 /* of work: a message can be made to take
                                 * milliseconds */
};

#define GROUP_V4 "224.0.0.251"
#define GROUP_V6 "ff02::fb"

struct nt__mdns_link {
  uv_udp_t handle;
  nt__mdns_links_t* links; /* NULL: closed */
  nt__sockaddr_t group;
  unsigned interface;
  bool legacy; /* could not have port 5353 */
  bool asked;  /* something was sent */
  bool paused;
  uint64_t portion_at;
  size_t portion_count, portion_bytes;
  uint64_t portion_ns;
};

typedef struct subnet {
  nt__sockaddr_t address, mask;
} subnet_t;

typedef struct interface {
  char name[UV_IF_NAMESIZE]; /* "": free */
  unsigned zone;             /* of its link-local IPv6 addresses, or 0 */
  bool loopback;
  nt__sockaddr_t v4; /* its first IPv4 address, or AF_UNSPEC */
  subnet_t subnets[SUBNETS];
  size_t subnet_count;
  nt__mdns_link_t* links[FAMILIES]; /* IPv4, IPv6; NULL: none */
} interface_t;

struct nt__mdns_links {
  nt_context_t* ctx;
  nt__mdns_families_t families;
  nt__mdns_listener_t listener;
  interface_t interfaces[NT__MDNS_INTERFACES];
  char in[ROOM];
};

/* ---- Receiving ----------------------------------------------------------- */

static bool same_bits(const void* a, const void* b, const void* mask,
                      size_t size) {
  const unsigned char* x = a;
  const unsigned char* y = b;
  const unsigned char* m = mask;
  size_t i;

  for (i = 0; i < size; i++)
    if ((x[i] ^ y[i]) & m[i])
      return false;
  return true;
}

static bool is_in(const subnet_t* subnet, const nt__sockaddr_t* from) {
  if (subnet->address.sa.sa_family != from->sa.sa_family)
    return false;
  if (from->sa.sa_family == AF_INET)
    return same_bits(&subnet->address.in.sin_addr, &from->in.sin_addr,
                     &subnet->mask.in.sin_addr, 4);
  return same_bits(&subnet->address.in6.sin6_addr, &from->in6.sin6_addr,
                   &subnet->mask.in6.sin6_addr, 16);
}

static bool is_neighbour(const interface_t* interface,
                         const nt__sockaddr_t* from) {
  size_t i;

  if (interface->name[0] == '\0')
    return false;
  if (from->sa.sa_family == AF_INET6 && from->in6.sin6_scope_id != 0)
    return from->in6.sin6_scope_id == interface->zone;
  for (i = 0; i < interface->subnet_count; i++)
    if (is_in(&interface->subnets[i], from))
      return true;
  return false;
}

/* Whose neighbour it is: of the socket's interface, or else of any. */
static const interface_t* find_origin(const nt__mdns_link_t* link,
                                      const nt__sockaddr_t* from) {
  const nt__mdns_links_t* links = link->links;
  size_t i;

  if (is_neighbour(&links->interfaces[link->interface], from))
    return &links->interfaces[link->interface];
  for (i = 0; i < NT__MDNS_INTERFACES; i++)
    if (is_neighbour(&links->interfaces[i], from))
      return &links->interfaces[i];
  return NULL;
}

static void take_in(nt__mdns_link_t* link, const char* data, size_t size,
                    const struct sockaddr* address) {
  nt__mdns_links_t* links = link->links;
  nt__mdns_origin_t origin;
  const interface_t* interface;
  nt__sockaddr_t from;

  nt__address_copy(&from, address);
  if (nt__address_port(&from) != PORT)
    return;
  interface = find_origin(link, &from);
  if (interface == NULL)
    return;
  origin.interface = (unsigned) (interface - links->interfaces);
  origin.zone = interface->zone;
  origin.loopback = interface->loopback;
  origin.legacy = link->legacy;
  links->listener.on_message(links->listener.owner, data, size, &origin);
}

/* True when the socket has read its portion. */
static bool count_in(nt__mdns_link_t* link, size_t size, uint64_t took_ns) {
  nt_context_t* ctx = link->links->ctx;
  uint64_t now = nt__now(ctx);

  nt__count_in(ctx, size);
  if (now - link->portion_at >= PORTION_MS) {
    link->portion_at = now;
    link->portion_count = link->portion_bytes = 0;
    link->portion_ns = 0;
  }
  link->portion_count++;
  link->portion_bytes += size;
  link->portion_ns += took_ns;
  return link->portion_count >= PORTION_COUNT ||
         link->portion_bytes >= PORTION_BYTES || link->portion_ns >= PORTION_NS;
}

static nt__mdns_link_t* of_handle(void* handle) {
  return nt__container_of(handle, nt__mdns_link_t, handle);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  (void) suggested;
  buf->base = of_handle(handle)->links->in;
  buf->len = ROOM;
}

static void pause_link(nt__mdns_link_t* link) {
  const nt__mdns_listener_t* listener = &link->links->listener;

  link->paused = true;
  uv_udp_recv_stop(&link->handle);
  listener->on_paused(listener->owner);
}

/* What fails here was to be sent; it is asked again in time. */
static void on_received(uv_udp_t* handle, ssize_t size, const uv_buf_t* buf,
                        const struct sockaddr* from, unsigned flags) {
  nt__mdns_link_t* link = of_handle(handle);
  uint64_t start = uv_hrtime();

  if (from == NULL || size < 0)
    return;
  if (!(flags & UV_UDP_PARTIAL))
    take_in(link, buf->base, (size_t) size, from);
  if (count_in(link, (size_t) size, uv_hrtime() - start))
    pause_link(link);
}

static int listen_on(nt__mdns_link_t* link) {
  link->paused = false;
  return uv_udp_recv_start(&link->handle, on_alloc, on_received);
}

uint64_t nt__mdns_links_resume(nt__mdns_links_t* links) {
  uint64_t now = nt__now(links->ctx);
  uint64_t due = NT__MDNS_NEVER;
  nt__mdns_link_t* link;
  size_t cursor = 0;

  while ((link = nt__mdns_links_next(links, &cursor)) != NULL) {
    if (link->paused && now - link->portion_at >= PORTION_MS)
      listen_on(link);
    if (link->paused)
      due = nt__mdns_earlier(due, link->portion_at + PORTION_MS);
  }
  return due;
}

/* ---- Sending ------------------------------------------------------------- */

void nt__mdns_link_send(nt__mdns_link_t* link, const void* data, size_t size) {
  uv_buf_t buf = uv_buf_init((char*) data, (unsigned) size);

  if (nt__meter_is_spent(&link->links->ctx->meter) ||
      uv_udp_try_send(&link->handle, &buf, 1, &link->group.sa) < 0)
    return;
  link->asked = true;
  nt__count_out(link->links->ctx, size);
}

bool nt__mdns_link_is_new(const nt__mdns_link_t* link) {
  return !link->asked;
}

unsigned nt__mdns_link_interface(const nt__mdns_link_t* link) {
  return link->interface;
}

nt__mdns_link_t* nt__mdns_links_next(nt__mdns_links_t* links, size_t* cursor) {
  while (*cursor < (size_t) NT__MDNS_INTERFACES * FAMILIES) {
    const interface_t* interface = &links->interfaces[*cursor / FAMILIES];
    nt__mdns_link_t* link = interface->links[*cursor % FAMILIES];

    ++*cursor;
    if (link != NULL)
      return link;
  }
  return NULL;
}

nt__mdns_link_t* nt__mdns_links_next_new(nt__mdns_links_t* links,
                                         size_t* cursor) {
  nt__mdns_link_t* link;

  do {
    link = nt__mdns_links_next(links, cursor);
  } while (link != NULL && link->asked);
  return link;
}

/* ---- Opening ------------------------------------------------------------- */

static void on_closed(uv_handle_t* handle) {
  nt__free(of_handle(handle));
}

static void close_link(nt__mdns_link_t* link) {
  uv_udp_recv_stop(&link->handle);
  link->links = NULL;
  uv_close((uv_handle_t*) &link->handle, on_closed);
}

static void set_option(nt__mdns_link_t* link, int level, int name, int value) {
  uv_os_fd_t fd;

  if (uv_fileno((uv_handle_t*) &link->handle, &fd) == 0)
    setsockopt((uv_os_sock_t) fd, level, name, (const char*) &value,
               sizeof(value));
}

/* What comes to groups that others have joined is not for us. */
static void hear_own_group_alone(nt__mdns_link_t* link, bool v6) {
#ifdef IP_MULTICAST_ALL
  if (!v6)
    set_option(link, IPPROTO_IP, IP_MULTICAST_ALL, 0);
#endif
#ifdef IPV6_MULTICAST_ALL
  if (v6)
    set_option(link, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
#endif
  (void) link;
  (void) v6;
}

static int bind_to(nt__mdns_link_t* link, bool v6, int port) {
  unsigned flags = UV_UDP_REUSEADDR | (v6 ? (unsigned) UV_UDP_IPV6ONLY : 0u);
  nt__sockaddr_t any;

  memset(&any, 0, sizeof(any));
  any.sa.sa_family = v6 ? AF_INET6 : AF_INET;
  nt__address_set_port(&any, port);
  return uv_udp_bind(&link->handle, &any.sa, flags);
}

/* Those who have the port may share it in either way, or in none. */
static int bind_link(nt__mdns_link_t* link, bool v6) {
  int code = bind_to(link, v6, PORT);

#ifdef SO_REUSEPORT
  if (code == UV_EADDRINUSE) {
    set_option(link, SOL_SOCKET, SO_REUSEPORT, 1);
    code = bind_to(link, v6, PORT);
  }
#endif
  link->legacy = code == UV_EADDRINUSE;
  return link->legacy ? bind_to(link, v6, 0) : code;
}

/* How libuv wants an interface to be named. */
static void write_interface(const interface_t* interface, bool v6,
                            char out[NT__IP_SIZE]) {
  nt__sockaddr_t address = interface->v4;

  if (v6) {
    memset(&address, 0, sizeof(address));
    address.in6.sin6_family = AF_INET6;
    address.in6.sin6_scope_id = interface->zone;
  }
  nt__address_write(&address, out);
}

static int join(nt__mdns_link_t* link, const interface_t* interface, bool v6) {
  char name[NT__IP_SIZE];
  int code;

  write_interface(interface, v6, name);
  hear_own_group_alone(link, v6);
  code = uv_udp_set_membership(&link->handle, v6 ? GROUP_V6 : GROUP_V4, name,
                               UV_JOIN_GROUP);
  if (code == 0)
    code = uv_udp_set_multicast_interface(&link->handle, name);
  if (code == 0)
    code = uv_udp_set_multicast_loop(&link->handle, 1);
  if (code == 0)
    code = uv_udp_set_multicast_ttl(&link->handle, HOPS);
  return code;
}

static void read_group(bool v6, nt__sockaddr_t* out) {
  nt__address_parse(v6 ? GROUP_V6 : GROUP_V4, v6 ? AF_INET6 : AF_INET, out);
  nt__address_set_port(out, PORT);
}

static void set_group(nt__mdns_link_t* link, const interface_t* interface,
                      bool v6) {
  read_group(v6, &link->group);
  if (v6)
    link->group.in6.sin6_scope_id = interface->zone;
}

static int set_up(nt__mdns_link_t* link, const interface_t* interface,
                  bool v6) {
  int buffer = RECEIVE_BUFFER;
  int code = bind_link(link, v6);

  if (code == 0)
    code = join(link, interface, v6);
  if (code != 0)
    return code;
  set_group(link, interface, v6);
  uv_recv_buffer_size((uv_handle_t*) &link->handle, &buffer);
  return listen_on(link);
}

static int open_link(nt__mdns_links_t* links, interface_t* interface, bool v6) {
  nt__mdns_link_t* link = nt__calloc(sizeof(*link));
  int code;

  if (link == NULL)
    return UV_ENOMEM;
  code = uv_udp_init_ex(&links->ctx->io.loop, &link->handle,
                        v6 ? AF_INET6 : AF_INET);
  if (code != 0) {
    nt__free(link);
    return code;
  }
  link->links = links;
  link->interface = (unsigned) (interface - links->interfaces);
  code = set_up(link, interface, v6);
  if (code != 0) {
    close_link(link);
    return code;
  }
  interface->links[v6] = link;
  return 0;
}

/* ---- Interfaces ---------------------------------------------------------- */

#ifdef SIOCGIFFLAGS

static int open_for_questions(void) {
#  ifdef SOCK_CLOEXEC
  return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
#  else
  int fd = socket(AF_INET, SOCK_DGRAM, 0);

  if (fd >= 0)
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
#  endif
}

#endif

/* Loopback cannot multicast, it says, but it does. On lines between two ends,
 * as to a VPN, nobody looks for services. */
static bool can_multicast(const char* name, bool loopback) {
#ifdef SIOCGIFFLAGS
  struct ifreq request;
  int fd = -1;
  int err;

  if (!loopback)
    fd = open_for_questions();
  if (fd < 0)
    return true;
  memset(&request, 0, sizeof(request));
  memcpy(request.ifr_name, name, strnlen(name, sizeof(request.ifr_name) - 1));
  err = ioctl(fd, SIOCGIFFLAGS, &request);
  close(fd);
  return err != 0 || ((request.ifr_flags & IFF_MULTICAST) &&
                      !(request.ifr_flags & IFF_POINTOPOINT));
#else
  (void) name;
  (void) loopback;
  return true;
#endif
}

/* "eth0:1" is a second address of eth0. */
static void copy_name(char out[UV_IF_NAMESIZE], const char* name) {
  size_t size = strcspn(name, ":");

  if (size >= UV_IF_NAMESIZE)
    size = UV_IF_NAMESIZE - 1;
  memcpy(out, name, size);
  out[size] = '\0';
}

/* The entry of that name, a free one, or NULL. */
static interface_t* find_entry(interface_t* list, const char* name) {
  interface_t* free_entry = NULL;
  size_t i;

  for (i = 0; i < NT__MDNS_INTERFACES; i++) {
    if (strcmp(list[i].name, name) == 0)
      return &list[i];
    if (list[i].name[0] == '\0' && free_entry == NULL)
      free_entry = &list[i];
  }
  return free_entry;
}

static void add_address(interface_t* interface,
                        const uv_interface_address_t* given) {
  nt__sockaddr_t address;
  subnet_t* subnet;

  nt__address_copy(&address, (const struct sockaddr*) &given->address);
  if (address.sa.sa_family == AF_INET && interface->v4.sa.sa_family == 0)
    interface->v4 = address;
  if (address.sa.sa_family == AF_INET6 && address.in6.sin6_scope_id != 0)
    interface->zone = address.in6.sin6_scope_id;
  if (interface->subnet_count == SUBNETS)
    return;
  subnet = &interface->subnets[interface->subnet_count++];
  subnet->address = address;
  if (address.sa.sa_family == AF_INET6)
    subnet->mask.in6 = given->netmask.netmask6;
  else
    subnet->mask.in = given->netmask.netmask4;
}

static bool is_known(const nt__mdns_links_t* links, const char* name) {
  size_t i;

  for (i = 0; i < NT__MDNS_INTERFACES; i++)
    if (strcmp(links->interfaces[i].name, name) == 0)
      return true;
  return false;
}

/* One address more; of an interface that is not in the list yet only if it is
 * one for us. */
static void list_address(const nt__mdns_links_t* links, interface_t* out,
                         const uv_interface_address_t* given) {
  char name[UV_IF_NAMESIZE];
  interface_t* entry;

  copy_name(name, given->name);
  entry = find_entry(out, name);
  if (entry == NULL)
    return;
  if (entry->name[0] == '\0') {
    if (!is_known(links, name) && !can_multicast(name, given->is_internal))
      return;
    memcpy(entry->name, name, sizeof(name));
    entry->loopback = given->is_internal;
  }
  add_address(entry, given);
}

/* Which there are now, in a list of its own. */
static int list_interfaces(const nt__mdns_links_t* links, interface_t* out) {
  uv_interface_address_t* list;
  int count = 0;
  int i;
  int code = uv_interface_addresses(&list, &count);

  if (code != 0)
    return code;
  for (i = 0; i < count; i++)
    list_address(links, out, &list[i]);
  uv_free_interface_addresses(list, count);
  return 0;
}

static void drop_interface(nt__mdns_links_t* links, interface_t* interface) {
  size_t i;

  for (i = 0; i < FAMILIES; i++)
    if (interface->links[i] != NULL)
      close_link(interface->links[i]);
  memset(interface, 0, sizeof(*interface));
  links->listener.on_gone(links->listener.owner,
                          (unsigned) (interface - links->interfaces));
}

/* With another address it is in another network. One that had none of a kind
 * may get it. */
static bool is_still(const interface_t* old, const interface_t* now) {
  if (old->links[0] != NULL && !nt__address_equal(&old->v4, &now->v4))
    return false;
  return old->links[1] == NULL || old->zone == now->zone;
}

static void drop_gone(nt__mdns_links_t* links, interface_t* now) {
  size_t i;

  for (i = 0; i < NT__MDNS_INTERFACES; i++) {
    interface_t* old = &links->interfaces[i];
    const interface_t* entry;

    if (old->name[0] == '\0')
      continue;
    entry = find_entry(now, old->name);
    if (entry == NULL || entry->name[0] == '\0' || !is_still(old, entry))
      drop_interface(links, old);
  }
}

/* IPv6 on loopback has no route for groups. */
static int open_missing(nt__mdns_links_t* links, interface_t* interface) {
  int code = 0;
  int code6 = 0;

  if (interface->links[0] == NULL && links->families.v4 &&
      interface->v4.sa.sa_family == AF_INET)
    code = open_link(links, interface, false);
  if (interface->links[1] == NULL && links->families.v6 &&
      interface->zone != 0 && !interface->loopback)
    code6 = open_link(links, interface, true);
  return code != 0 ? code : code6;
}

static int take_interface(nt__mdns_links_t* links, const interface_t* now) {
  interface_t* entry = find_entry(links->interfaces, now->name);
  nt__mdns_link_t* open[FAMILIES];

  if (entry == NULL)
    return 0;
  memcpy(open, entry->links, sizeof(open));
  *entry = *now;
  memcpy(entry->links, open, sizeof(open));
  return open_missing(links, entry);
}

int nt__mdns_links_scan(nt__mdns_links_t* links) {
  interface_t* now = nt__calloc(NT__MDNS_INTERFACES * sizeof(*now));
  size_t cursor = 0;
  int first_code = 0;
  size_t i;

  if (now == NULL)
    return nt__mdns_links_next(links, &cursor) == NULL ? UV_ENOMEM : 0;
  first_code = list_interfaces(links, now);
  if (first_code == 0)
    drop_gone(links, now);
  for (i = 0; i < NT__MDNS_INTERFACES && now[i].name[0] != '\0'; i++) {
    int code = take_interface(links, &now[i]);

    if (first_code == 0)
      first_code = code;
  }
  nt__free(now);
  return nt__mdns_links_next(links, &cursor) == NULL ? first_code : 0;
}

/* ---- Life ---------------------------------------------------------------- */

static bool may_speak(const nt__policy_t* policy, bool v6) {
  nt__sockaddr_t group;

  read_group(v6, &group);
  return nt__gate_address(policy, NULL, &group.sa) == 0;
}

nt__mdns_families_t nt__mdns_families(const nt__policy_t* policy) {
  nt__mdns_families_t families = { may_speak(policy, false),
                                   may_speak(policy, true) };

  return families;
}

nt__mdns_links_t* nt__mdns_links_new(nt_context_t* ctx,
                                     nt__mdns_families_t families,
                                     const nt__mdns_listener_t* listener) {
  nt__mdns_links_t* links = nt__calloc(sizeof(*links));

  if (links == NULL)
    return NULL;
  links->ctx = ctx;
  links->families = families;
  links->listener = *listener;
  return links;
}

void nt__mdns_links_free(nt__mdns_links_t* links) {
  nt__mdns_link_t* link;
  size_t cursor = 0;

  if (links == NULL)
    return;
  while ((link = nt__mdns_links_next(links, &cursor)) != NULL)
    close_link(link);
  nt__free(links);
}
