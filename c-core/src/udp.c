/* UDP sockets, as the host sees them.
 *
 * The host thread makes the descriptor and binds it, since a script wants to
 * know its port at once; from then on the I/O thread uses it. A socket is open
 * as soon as there is one, and ends when the host says so: what fails is an
 * ERROR event. One that is closed lingers for a moment if datagrams wait for a
 * name or for the system. */
#include "udp.h"

#include <errno.h>
#include <string.h>

#ifdef _WIN32
#  include <winsock2.h>
#  include <ws2tcpip.h>
#else
#  include <fcntl.h>
#  include <netinet/in.h>
#  include <sys/socket.h>
#  include <unistd.h>
#endif

enum {
  DATAGRAM_MAX = 65507,
  LINGER_MS = 1000,
  RECEIVE_BUFFER = 1024 * 1024, /* for what comes while the loop works */
  TTL_MAX = 255
};

typedef enum udp_wish {
  WISH_OPEN, /* it is bound */
  WISH_SEND,
  WISH_CONNECT,
  WISH_TTL,
  WISH_MULTICAST_TTL,
  WISH_BROADCAST,
  WISH_JOIN,
  WISH_LEAVE,
  WISH_CLOSE
} udp_wish_t;

typedef struct udp_order {
  nt__command_t command; /* NT__CMD_TELL */
  udp_wish_t wish;
  int value;
  bool to_peer;
  const char* name; /* a host, or an interface; NULL: none */
  nt__datagram_t datagram;
  char data[]; /* with the name behind */
} udp_order_t;

static nt__udp_t* of_task(const nt__task_t* task) {
  return nt__container_of(task, nt__udp_t, task);
}

/* ---- Ending, I/O thread -------------------------------------------------- */

static void finish(nt__udp_t* udp, int error) {
  if (udp->ended)
    return;
  udp->ended = true;
  nt__timer_clear(&udp->task.ctx->io.timers, &udp->timer);
  nt__udp_drop_names(udp);
  nt__udp_socket_close(udp);
  nt__udp_settle(udp);
  nt__free(udp->peer_name);
  udp->peer_name = NULL;
  nt__free(udp->answerers);
  udp->answerers = NULL;
  udp->task.error = error;
  nt__task_end(&udp->task, 0);
}

static void on_due(nt__timer_t* timer) {
  finish(nt__container_of(timer, nt__udp_t, timer), 0);
}

void nt__udp_sent_all(nt__udp_t* udp) {
  if (udp->lingers && udp->out.first == NULL && !udp->blocked &&
      nt__list_empty(&udp->names))
    finish(udp, 0);
}

static void close_udp(nt__udp_t* udp) {
  udp->lingers = true;
  nt__udp_socket_deafen(udp);
  nt__udp_flush(udp);
  nt__udp_sent_all(udp);
  if (!udp->ended)
    nt__timer_set(&udp->task.ctx->io.timers, &udp->timer,
                  nt__now(udp->task.ctx) + LINGER_MS);
}

/* ---- Orders, I/O thread -------------------------------------------------- */

static void send_datagram(nt__udp_t* udp, udp_order_t* order) {
  nt__datagram_t* datagram = &order->datagram;

  if (order->to_peer) {
    datagram->to = udp->peer;
    datagram->port = udp->peer_port;
    order->name = udp->peer_name;
  }
  if (datagram->to.sa.sa_family != AF_UNSPEC) {
    if (order->to_peer && udp->peer_name != NULL)
      nt__udp_expect_from(udp, &datagram->to);
    nt__udp_push(udp, datagram);
  } else if (order->name != NULL) {
    nt__udp_send_to_name(udp, order->name, datagram, order->to_peer);
  } else { /* connecting has failed, and was told */
    nt__udp_drop(udp, datagram);
    nt__udp_settle(udp);
  }
}

static void connect_to(nt__udp_t* udp, const udp_order_t* order) {
  nt__udp_forget_peer(udp);
  nt__free(udp->peer_name);
  udp->peer_name = NULL;
  udp->peer = order->datagram.to;
  udp->peer_port = order->datagram.port;
  if (order->name == NULL)
    return;
  udp->peer_name = nt__strdup(order->name);
  if (udp->peer_name == NULL)
    nt__udp_report(udp, NT_E_NOMEM, "connect", NULL,
                   nt_error_message(NT_E_NOMEM));
  else
    nt__udp_send_to_name(udp, udp->peer_name, NULL, true);
}

static void open_socket(nt__udp_t* udp, const udp_order_t* order) {
  int err;

  udp->port_shown = order->value;
  err = nt__udp_socket_open(udp);
  if (err)
    finish(udp, err);
}

/* What was sent before goes out under the old setting, if it can. */
static void set_option(nt__udp_t* udp, const udp_order_t* order) {
  const nt__sockaddr_t* group = &order->datagram.to;
  const char* doing = "set";
  int code = 0;

  nt__udp_flush(udp);
  switch (order->wish) {
    case WISH_TTL:
      doing = "set TTL";
      code = nt__udp_set_ttl(udp, order->value);
      break;
    case WISH_MULTICAST_TTL:
      doing = "set multicast TTL";
      code = nt__udp_set_multicast_ttl(udp, order->value);
      break;
    case WISH_BROADCAST:
      doing = "set broadcast";
      code = nt__udp_set_broadcast(udp, order->value != 0);
      break;
    case WISH_JOIN:
      doing = "join";
      code = nt__udp_set_membership(udp, group, order->name, true);
      break;
    case WISH_LEAVE:
      doing = "leave";
      code = nt__udp_set_membership(udp, group, order->name, false);
      break;
    default:
      break;
  }
  if (code != 0)
    nt__udp_report_code(udp, code, doing, group, doing);
}

static void udp_tell(nt__task_t* task, nt__command_t* command) {
  nt__udp_t* udp = of_task(task);
  udp_order_t* order = nt__container_of(command, udp_order_t, command);

  switch (order->wish) {
    case WISH_SEND: /* the datagram's memory is the order */
      send_datagram(udp, order);
      return;
    case WISH_OPEN:
      open_socket(udp, order);
      break;
    case WISH_CONNECT:
      connect_to(udp, order);
      break;
    case WISH_CLOSE:
      close_udp(udp);
      break;
    default:
      set_option(udp, order);
  }
  nt__free(order);
}

/* ---- The task ------------------------------------------------------------ */

static void udp_start(nt__task_t* task) {
  (void) task; /* there is nothing to do before it is bound */
}

static void udp_abort(nt__task_t* task) {
  finish(of_task(task), task->error);
}

static void udp_resume(nt__task_t* task) {
  (void) task; /* is never held back: what comes above a mark is dropped */
}

static void udp_show(nt__task_t* task, nt_event_t* event) {
  (void) task;
  (void) event;
}

static void close_fd(uv_os_sock_t fd) {
#ifdef _WIN32
  closesocket(fd);
#else
  close(fd);
#endif
}

static void udp_release(nt__task_t* task) {
  nt__udp_t* udp = of_task(task);

  nt__task_fini(task);
  if (!udp->taken)
    close_fd(udp->fd);
  nt__free(udp);
}

static const nt__task_class_t udp_class = { .start = udp_start,
                                            .abort = udp_abort,
                                            .resume = udp_resume,
                                            .tell = udp_tell,
                                            .show = udp_show,
                                            .release = udp_release,
                                            .opens_at_once = true };

/* ---- Opening, host thread ------------------------------------------------ */

static bool is_fd(uv_os_sock_t fd) {
#ifdef _WIN32
  return fd != INVALID_SOCKET;
#else
  return fd >= 0;
#endif
}

static uv_os_sock_t make_socket(int family) {
  const int buffer = RECEIVE_BUFFER;
  const int one = 1;
  int type = SOCK_DGRAM;
  uv_os_sock_t fd;

#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
  type |= SOCK_CLOEXEC | SOCK_NONBLOCK;
#endif
  fd = socket(family, type, 0);
  if (!is_fd(fd))
    return fd;
#if !defined(SOCK_CLOEXEC) && !defined(_WIN32)
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
#endif
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, (const char*) &buffer, sizeof(buffer));
  /* One family a socket, so that an address is what it looks like. */
  if (family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, (const char*) &one, sizeof(one));
  return fd;
}

static nt__udp_t* new_block(nt_family_t family) {
  nt__udp_t* udp = nt__calloc(sizeof(*udp));

  if (udp == NULL)
    return NULL;
  udp->task.class_ = &udp_class;
  udp->family = family == NT_FAMILY_IPV6 ? AF_INET6 : AF_INET;
  udp->timer.on_due = on_due;
  nt__node_init(&udp->active);
  nt__list_init(&udp->names);
  return udp;
}

static int open_block(nt_family_t family, nt__udp_t** out) {
  nt__udp_t* udp = new_block(family);

  if (udp == NULL)
    return NT_E_NOMEM;
  udp->fd = make_socket(udp->family);
  if (!is_fd(udp->fd)) {
    nt__free(udp);
    return NT_E_SYSTEM;
  }
  *out = udp;
  return 0;
}

int nt_udp_open(nt_context_t* ctx, nt_family_t family, nt_id_t* id) {
  nt__udp_t* udp;
  int err = nt__task_open(ctx, id);

  if (err)
    return err;
  err = nt__task_check_start(ctx, *id);
  if (err) {
    nt__task_forget(ctx, *id);
    return err;
  }
  err = open_block(family, &udp);
  if (err) {
    nt__task_forget(ctx, *id);
    return err;
  }
  udp->guarded = nt__udp_is_guarded(ctx->policy);
  nt__task_start(ctx, *id, &udp->task);
  return 0;
}

/* ---- What a host says to one that is open -------------------------------- */

/* NULL when there is none, or it is being closed. */
static nt__udp_t* find(const nt_context_t* ctx, nt_id_t id) {
  nt__task_t* task = nt__task_find(ctx, id, &udp_class);

  if (task == NULL || nt_state(ctx, id) == NT_STATE_CLOSING ||
      of_task(task)->closing)
    return NULL;
  return of_task(task);
}

/* With room for `size` bytes and, behind them, a name (or NULL). */
static udp_order_t* new_order(nt_context_t* ctx, const nt__udp_t* udp,
                              udp_wish_t wish, size_t size, const char* name) {
  size_t name_size = name == NULL ? 0 : strlen(name) + 1;
  size_t capacity;
  udp_order_t* order = nt__spare_take(
      &ctx->pieces, sizeof(*order) + size + name_size, &capacity);

  if (order == NULL)
    return NULL;
  order->command = (nt__command_t){ .type = NT__CMD_TELL, .id = udp->task.id };
  order->wish = wish;
  order->value = 0;
  order->to_peer = false;
  order->name = NULL;
  order->datagram.block =
      (nt__spare_block_t){ .memory = order, .capacity = capacity };
  order->datagram.to.sa.sa_family = AF_UNSPEC;
  order->datagram.port = 0;
  order->datagram.minute = 0;
  order->datagram.data = order->data;
  order->datagram.size = size;
  if (name != NULL)
    order->name = memcpy(order->data + size, name, name_size);
  return order;
}

static int tell(nt_context_t* ctx, nt_id_t id, udp_wish_t wish, int value) {
  nt__udp_t* udp = find(ctx, id);
  udp_order_t* order;

  if (udp == NULL)
    return nt__task_missing(ctx);
  order = new_order(ctx, udp, wish, 0, NULL);
  if (order == NULL)
    return NT_E_NOMEM;
  order->value = value;
  nt__command_post(ctx, &order->command);
  return 0;
}

/* ---- Binding ------------------------------------------------------------- */

static int bind_error(void) {
#ifdef _WIN32
  return nt__udp_error(uv_translate_sys_error(WSAGetLastError()));
#else
  return nt__udp_error(uv_translate_sys_error(errno));
#endif
}

static int bind_fd(nt__udp_t* udp, int port) {
  nt__sockaddr_t address;
  socklen_t size = sizeof(address);

  memset(&address, 0, sizeof(address));
  address.sa.sa_family = (sa_family_t) udp->family;
  nt__address_set_port(&address, port);
  if (bind(udp->fd, &address.sa,
           udp->family == AF_INET6 ? sizeof(address.in6)
                                   : sizeof(address.in)) != 0)
    return bind_error();
  if (getsockname(udp->fd, &address.sa, &size) != 0)
    return NT_E_SYSTEM;
  udp->port = nt__address_port(&address);
  return 0;
}

static int bind_udp(nt_context_t* ctx, nt__udp_t* udp, int port) {
  udp_order_t* order = new_order(ctx, udp, WISH_OPEN, 0, NULL);
  int err;

  if (order == NULL)
    return NT_E_NOMEM;
  err = bind_fd(udp, port);
  if (err) {
    nt__free(order);
    return err;
  }
  order->value = udp->port;
  nt__command_post(ctx, &order->command);
  return 0;
}

int nt_udp_bind(nt_context_t* ctx, nt_id_t id, int port, int* bound_port) {
  nt__udp_t* udp = find(ctx, id);
  int err;

  if (udp == NULL)
    return nt__task_missing(ctx);
  if (port < 0 || port > 65535)
    return NT_E_PORT;
  if (udp->port != 0)
    return NT_E_STATE;
  err = bind_udp(ctx, udp, port);
  if (err == 0 && bound_port != NULL)
    *bound_port = udp->port;
  return err;
}

/* ---- Sending ------------------------------------------------------------- */

/* Is it the literal that parse_host() read last? */
static bool is_remembered(const nt__udp_t* udp, const char* host) {
  return udp->sent_host[0] != '\0' && strcmp(host, udp->sent_host) == 0;
}

/* What `host` is; most datagrams go where the one before went. */
static nt__host_kind_t parse_host(nt__udp_t* udp, const char* host,
                                  nt__sockaddr_t* out) {
  nt__host_kind_t kind;

  if (is_remembered(udp, host)) {
    *out = udp->sent_to;
    return NT__HOST_LITERAL;
  }
  kind = nt__address_parse(host, udp->family, out);
  if (kind == NT__HOST_LITERAL && strlen(host) < sizeof(udp->sent_host)) {
    memcpy(udp->sent_host, host, strlen(host) + 1);
    udp->sent_to = *out;
    udp->sent_port = 0;
  }
  return kind;
}

static int check_policy(nt_context_t* ctx, nt__udp_t* udp, const char* host,
                        int port, const nt__sockaddr_t* to) {
  bool remembered = is_remembered(udp, host);
  int err;

  if (remembered && udp->sent_port == port)
    return 0;
  err = nt__udp_check_target(ctx, udp, host, port, to);
  if (err == 0 && remembered)
    udp->sent_port = port;
  return err;
}

/* Of a literal the address and `*name` NULL; of a name the name alone. */
static int find_target(nt_context_t* ctx, nt__udp_t* udp, const char* host,
                       int port, nt__sockaddr_t* to, const char** name) {
  nt__host_kind_t kind = parse_host(udp, host, to);

  if (kind == NT__HOST_BAD)
    return NT_E_ADDRESS;
  if (port < 1 || port > 65535)
    return NT_E_PORT;
  if (kind == NT__HOST_LITERAL)
    nt__address_set_port(to, port);
  else
    memset(to, 0, sizeof(*to));
  *name = kind == NT__HOST_NAME ? host : NULL;
  return udp->guarded ? check_policy(ctx, udp, host, port, to) : 0;
}

static int check_send(nt_context_t* ctx, nt__udp_t* udp, size_t size) {
  uint64_t max = ctx->policy->values.send_queue_bytes;
  int err;

  if (size > DATAGRAM_MAX)
    return NT_E_TOO_BIG;
  if (!nt__send_queue_has_room(&udp->queue, max, size))
    return NT_E_QUEUE_FULL;
  err = nt__meter_check(ctx, udp->task.id);
  if (err)
    return err;
  return udp->port == 0 ? bind_udp(ctx, udp, 0) : 0;
}

int nt_udp_send(nt_context_t* ctx, nt_id_t id, const char* host, int port,
                const void* data, size_t size) {
  nt__sockaddr_t to = { .sa.sa_family = AF_UNSPEC };
  const char* name = NULL;
  udp_order_t* order;
  nt__udp_t* udp = find(ctx, id);
  int err = 0;

  if (udp == NULL)
    return nt__task_missing(ctx);
  if (host != NULL)
    err = find_target(ctx, udp, host, port, &to, &name);
  else if (!udp->has_peer)
    err = NT_E_ADDRESS;
  if (err == 0)
    err = check_send(ctx, udp, size);
  if (err)
    return err;
  order = new_order(ctx, udp, WISH_SEND, size, name);
  if (order == NULL)
    return NT_E_NOMEM;
  if (size > 0)
    memcpy(order->data, data, size);
  order->to_peer = host == NULL;
  order->datagram.to = to;
  order->datagram.port = port;
  order->datagram.minute = nt__meter_give(ctx, size);
  nt__send_queue_add(&udp->queue, size);
  nt__command_post(ctx, &order->command);
  return 0;
}

int nt_udp_connect(nt_context_t* ctx, nt_id_t id, const char* host, int port) {
  nt__sockaddr_t to;
  const char* name;
  udp_order_t* order;
  nt__udp_t* udp = find(ctx, id);
  int err;

  if (udp == NULL)
    return nt__task_missing(ctx);
  err = host == NULL ? NT_E_ADDRESS
                     : find_target(ctx, udp, host, port, &to, &name);
  if (err)
    return err;
  order = new_order(ctx, udp, WISH_CONNECT, 0, name);
  if (order == NULL)
    return NT_E_NOMEM;
  order->datagram.to = to;
  order->datagram.port = port;
  udp->has_peer = true;
  nt__command_post(ctx, &order->command);
  return 0;
}

uint64_t nt_udp_buffered(const nt_context_t* ctx, nt_id_t id) {
  nt__udp_t* udp = find(ctx, id);

  return udp == NULL ? 0 : nt__send_queue_left(&udp->queue);
}

/* ---- Options ------------------------------------------------------------- */

int nt_udp_set_ttl(nt_context_t* ctx, nt_id_t id, int ttl) {
  if (ttl < 1 || ttl > TTL_MAX)
    return NT_E_INVALID;
  return tell(ctx, id, WISH_TTL, ttl);
}

int nt_udp_set_multicast_ttl(nt_context_t* ctx, nt_id_t id, int ttl) {
  if (ttl < 0 || ttl > TTL_MAX)
    return NT_E_INVALID;
  return tell(ctx, id, WISH_MULTICAST_TTL, ttl);
}

int nt_udp_set_broadcast(nt_context_t* ctx, nt_id_t id, int on) {
  return tell(ctx, id, WISH_BROADCAST, on != 0);
}

static bool is_group(const nt__udp_t* udp, const char* group,
                     nt__sockaddr_t* out) {
  return group != NULL &&
         nt__address_parse(group, udp->family, out) == NT__HOST_LITERAL &&
         nt__address_is_multicast(out);
}

/* What is heard of a group comes to the port that is bound. */
static int check_join(nt_context_t* ctx, const nt__udp_t* udp,
                      const char* group, const nt__sockaddr_t* address) {
  nt__sockaddr_t place = *address;

  nt__address_set_port(&place, udp->port);
  return nt__udp_check_target(ctx, udp, group, udp->port, &place);
}

static int set_member(nt_context_t* ctx, nt_id_t id, udp_wish_t wish,
                      const char* group, const char* interface_name) {
  nt__sockaddr_t address;
  udp_order_t* order;
  nt__udp_t* udp = find(ctx, id);
  int err;

  if (udp == NULL)
    return nt__task_missing(ctx);
  if (!is_group(udp, group, &address))
    return NT_E_ADDRESS;
  err = wish == WISH_JOIN ? check_join(ctx, udp, group, &address) : 0;
  if (err)
    return err;
  order = new_order(ctx, udp, wish, 0, interface_name);
  if (order == NULL)
    return NT_E_NOMEM;
  order->datagram.to = address;
  nt__command_post(ctx, &order->command);
  return 0;
}

int nt_udp_join(nt_context_t* ctx, nt_id_t id, const char* group,
                const char* interface_name) {
  return set_member(ctx, id, WISH_JOIN, group, interface_name);
}

int nt_udp_leave(nt_context_t* ctx, nt_id_t id, const char* group,
                 const char* interface_name) {
  return set_member(ctx, id, WISH_LEAVE, group, interface_name);
}

/* Without memory for the order the reserved one says it. */
int nt_udp_close(nt_context_t* ctx, nt_id_t id) {
  nt__udp_t* udp = find(ctx, id);

  if (udp == NULL)
    return nt__task_missing(ctx);
  if (tell(ctx, id, WISH_CLOSE, 0) != 0)
    nt_fail(ctx, id, 0, "");
  else
    udp->closing = true;
  return 0;
}
