/* The descriptor of a UDP socket on the loop: receiving, sending, and the
 * reports of what did not arrive. I/O thread.
 *
 * libuv reads in batches, into one buffer for all sockets. What is to be sent
 * goes out at the end of the turn: datagrams of one size to one peer in one
 * call, where the system can cut it up.
 *
 * The handle lives on after the task has ended, until libuv lets it go; so it
 * has memory of its own. */
#include "udp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifdef __linux__
#  include <linux/errqueue.h>
#  include <netinet/udp.h>
#endif

enum {
  DATAGRAM_ROOM = 64 * 1024, /* libuv cuts the buffer into pieces of it ... */
  BATCH = 20,                /* ... and reads so many at most */
  RUN_MAX = 64,              /* datagrams in one call, of the kernel's */
  RUN_BYTES = 65507,
  STRANGERS = 16,       /* for others, in a row, that a run is gathered past */
  CALLS_A_TURN = 256,   /* of one socket; then the others have their turn */
  REPORTS_AT_ONCE = 64, /* read; what is left wakes the loop again */
  LATE_REFUSALS = 256, /* while a mark is reached: what records have room for */
  TRIES = 3,
  TEXT_SIZE = 256
};

struct nt__udps {
  nt_context_t* ctx;
  nt__node_t active;
  char* in; /* made for the first socket */
};

struct nt__udp_socket {
  uv_udp_t handle;
  uv_udp_send_t request;
  nt_context_t* ctx;
  nt__udp_t* udp;          /* NULL: closed */
  nt__datagram_t* waiting; /* libuv sends it when the system takes more */
  bool received;           /* since libuv was told that there is no more */
};

int nt__udps_open(nt_context_t* ctx) {
  nt__udps_t* udps = nt__calloc(sizeof(*udps));

  ctx->io.udps = udps;
  if (udps == NULL)
    return NT_E_NOMEM;
  udps->ctx = ctx;
  nt__list_init(&udps->active);
  return 0;
}

void nt__udps_free(nt__udps_t* udps) {
  if (udps == NULL)
    return;
  nt__free(udps->in);
  nt__free(udps);
}

static void activate(nt__udp_t* udp) {
  if (!nt__node_linked(&udp->active))
    nt__list_append(&udp->task.ctx->io.udps->active, &udp->active);
}

/* ---- What fails ---------------------------------------------------------- */

int nt__udp_error(int code) {
  switch (code) {
    case UV_ECONNREFUSED:
    case UV_ECONNRESET: /* what Windows says */
      return NT_E_REFUSED;
    case UV_EHOSTUNREACH:
    case UV_ENETUNREACH:
      return NT_E_UNREACHABLE;
    case UV_ENETDOWN:
      return NT_E_OFFLINE;
    case UV_EACCES:
    case UV_EPERM:
      return NT_E_ACCESS;
    case UV_EADDRINUSE:
      return NT_E_IN_USE;
    case UV_EADDRNOTAVAIL:
    case UV_EAFNOSUPPORT:
    case UV_EINVAL: /* a link-local address without its zone */
      return NT_E_ADDRESS;
    case UV_EMSGSIZE:
      return NT_E_TOO_BIG;
    case UV_ENOMEM:
      return NT_E_NOMEM;
    default:
      return NT_E_SYSTEM;
  }
}

/* What the policy refused is for the host's records, too. */
static bool is_wanted(const nt__udp_t* udp, int error) {
  return !udp->ended && (!udp->lingers || nt_error_is_refusal(error));
}

/* A host that does not look hears of no more than it would of datagrams, but
 * refusals go into its records also while a mark is reached. */
static bool has_room(nt__udp_t* udp, int error) {
  if (!nt__is_over_mark(udp->task.ctx, &udp->task)) {
    udp->late_refusals = 0;
    return true;
  }
  return nt_error_is_refusal(error) && udp->late_refusals++ < LATE_REFUSALS;
}

void nt__udp_report(nt__udp_t* udp, int error, const char* operation,
                    const nt__sockaddr_t* remote, const char* message) {
  size_t size = strlen(message) + 1;
  nt__parcel_t* parcel;
  char* cursor;

  if (!is_wanted(udp, error) || !has_room(udp, error))
    return;
  parcel = nt__parcel_new(&udp->task, NT_EV_ERROR, size + NT__IP_SIZE);
  if (parcel == NULL)
    return;
  cursor = parcel->bytes;
  parcel->view.error = error;
  parcel->view.operation = operation;
  parcel->view.message = nt__pack(&cursor, message, size);
  parcel->view.remote.ip = "";
  parcel->view.local.ip = "";
  if (remote != NULL) {
    nt__address_write(remote, cursor);
    parcel->view.remote.ip = cursor;
    parcel->view.remote.port = nt__address_port(remote);
    parcel->view.remote.ipv6 = remote->sa.sa_family == AF_INET6;
  }
  nt__event_post(udp->task.ctx, &parcel->event, size + NT__IP_SIZE);
}

void nt__udp_report_code(nt__udp_t* udp, int code, const char* operation,
                         const nt__sockaddr_t* remote, const char* doing) {
  char text[TEXT_SIZE];
  char system[128];
  char name[32];

  snprintf(text, sizeof(text), "%s: %s (%s)", doing,
           uv_strerror_r(code, system, sizeof(system)),
           uv_err_name_r(code, name, sizeof(name)));
  nt__udp_report(udp, nt__udp_error(code), operation, remote, text);
}

#if defined(IP_RECVERR) && defined(IPV6_RECVERR) && defined(MSG_ERRQUEUE)

static const struct sock_extended_err* find_report(struct msghdr* message) {
  struct cmsghdr* c;

  for (c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c))
    if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
      return (const void*) CMSG_DATA(c);
  return NULL;
}

/* What is our own was the result of the call already. */
static void tell_report(nt__udp_t* udp, struct msghdr* message) {
  const struct sock_extended_err* report = find_report(message);
  nt__sockaddr_t to;

  if (report == NULL || report->ee_origin == SO_EE_ORIGIN_LOCAL)
    return;
  nt__address_copy(&to, message->msg_name);
  nt__udp_report_code(udp, uv_translate_sys_error((int) report->ee_errno),
                      "send", &to, "not delivered");
}

static bool read_report(nt__udp_t* udp) {
  nt__sockaddr_t to;
  _Alignas(struct cmsghdr) char control[512];
  struct msghdr message;

  memset(&message, 0, sizeof(message));
  memset(&to, 0, sizeof(to));
  message.msg_name = &to;
  message.msg_namelen = sizeof(to);
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(udp->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
    return false;
  tell_report(udp, &message);
  return true;
}

/* ICMP says that datagrams did not arrive. The socket counts as readable until
 * all of that is read, and the next call on it fails in their place. */
static bool read_reports(nt__udp_t* udp) {
  unsigned count = 0;

  while (count < REPORTS_AT_ONCE && read_report(udp))
    count++;
  return count > 0;
}

#  define HAS_REPORTS true
#else

static bool read_reports(nt__udp_t* udp) {
  (void) udp;
  return false;
}

#  define HAS_REPORTS false
#endif

/* ---- Receiving ----------------------------------------------------------- */

static nt__udp_socket_t* of_handle(void* handle) {
  return nt__container_of(handle, nt__udp_socket_t, handle);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  (void) suggested;
  buf->base = of_handle(handle)->ctx->io.udps->in;
  buf->len = BATCH * DATAGRAM_ROOM;
}

static bool post_message(nt__udp_t* udp, const char* data, size_t size,
                         const struct sockaddr* from) {
  nt__chunk_t* chunk;

  if (nt__is_over_mark(udp->task.ctx, &udp->task))
    return false;
  chunk = nt__chunk_new(&udp->task, NT_EV_MESSAGE, size);
  if (chunk == NULL)
    return false;
  memcpy(chunk->data, data, size);
  chunk->binary = true;
  chunk->local_port = (uint16_t) udp->port_shown;
  nt__address_copy(&chunk->from, from);
  nt__event_post(udp->task.ctx, &chunk->event, size);
  return true;
}

static void take_in(nt__udp_t* udp, const char* data, size_t size,
                    const struct sockaddr* from) {
  nt_context_t* ctx = udp->task.ctx;

  bool welcome = nt__udp_may_hear(udp, from);

  if (!welcome || !post_message(udp, data, size, from))
    atomic_fetch_add_explicit(&ctx->dropped, 1, memory_order_relaxed);
  /* The one that uses the quota up is heard; strangers cannot use it up. */
  if (welcome)
    nt__count_in(ctx, size);
}

/* There is no more to read now, or reading failed. A poll that brought nothing
 * at all is a report that no call has met. */
static void on_no_more(nt__udp_socket_t* socket, int code) {
  bool received = socket->received;

  socket->received = false;
  if (code == 0 && received)
    return;
  if (!read_reports(socket->udp) && code != 0 && !HAS_REPORTS)
    nt__udp_report_code(socket->udp, code, "receive", NULL, "receive");
}

static void on_received(uv_udp_t* handle, ssize_t size, const uv_buf_t* buf,
                        const struct sockaddr* from, unsigned flags) {
  nt__udp_socket_t* socket = of_handle(handle);

  if (socket->udp == NULL || (flags & UV_UDP_MMSG_FREE))
    return;
  if (from == NULL) {
    on_no_more(socket, (int) size);
    return;
  }
  socket->received = true;
  take_in(socket->udp, buf->base, (size_t) size, from);
}

/* ---- Sending ------------------------------------------------------------- */

static void give_back(nt_context_t* ctx, nt__datagram_t* datagram) {
  nt__spare_give(&ctx->pieces, &datagram->block);
}

void nt__udp_drop(nt__udp_t* udp, nt__datagram_t* datagram) {
  nt__meter_settle(&udp->task.ctx->meter, datagram->minute, datagram->size);
  udp->charge += datagram->size;
  udp->sends++;
  give_back(udp->task.ctx, datagram);
}

void nt__udp_settle(nt__udp_t* udp) {
  nt__send_queue_set_settled(&udp->queue, udp->charge, udp->sends);
}

static nt__datagram_t* of_link(nt__link_t* link) {
  return nt__container_of(link, nt__datagram_t, link);
}

static void drop_first(nt__udp_t* udp) {
  nt__udp_drop(udp, of_link(nt__fifo_shift(&udp->out)));
}

static int send_one(nt__udp_t* udp, nt__datagram_t* datagram) {
  uv_buf_t buf = uv_buf_init((char*) datagram->data, (unsigned) datagram->size);

  return uv_udp_try_send(&udp->socket->handle, &buf, 1, &datagram->to.sa);
}

#ifdef UDP_SEGMENT

/* Moves the one behind `before` up behind `last`. */
static void move_up(nt__fifo_t* fifo, nt__link_t* last, nt__link_t* before) {
  nt__link_t* link = before->next;

  if (before == last)
    return;
  before->next = link->next;
  if (fifo->last == link)
    fifo->last = before;
  link->next = last->next;
  last->next = link;
}

/* What is behind it in the run may not be larger. */
static bool fits_run(const nt__datagram_t* datagram, size_t size,
                     size_t bytes) {
  return datagram->size > 0 && datagram->size <= size &&
         bytes + datagram->size <= RUN_BYTES;
}

/* Puts what goes out in one call first, and returns how many they are: all to
 * one peer and of one size, but the last may be shorter. Those for others wait
 * for this one call longer; those for one peer keep their order. */
static size_t gather_run(nt__udp_t* udp, size_t* bytes) {
  const nt__datagram_t* first = of_link(udp->out.first);
  nt__link_t* last = udp->out.first;
  nt__link_t* before = last;
  unsigned strangers = 0;
  size_t count = 1;

  *bytes = first->size;
  if (first->size == 0 || first->size > udp->run_limit)
    return 1;
  while (before->next != NULL && count < RUN_MAX && strangers < STRANGERS) {
    nt__link_t* link = before->next;
    const nt__datagram_t* d = of_link(link);

    if (!nt__address_equal(&d->to, &first->to)) {
      strangers++;
      before = link;
      continue;
    }
    if (!fits_run(d, first->size, *bytes))
      break;
    move_up(&udp->out, last, before);
    before = before == last ? link : before;
    last = link;
    strangers = 0;
    count++;
    *bytes += d->size;
    if (d->size < first->size)
      break;
  }
  return count;
}

static void set_segment(struct msghdr* message, size_t size) {
  struct cmsghdr* c = CMSG_FIRSTHDR(message);
  uint16_t segment = (uint16_t) size;

  c->cmsg_level = IPPROTO_UDP;
  c->cmsg_type = UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN(sizeof(segment));
  memcpy(CMSG_DATA(c), &segment, sizeof(segment));
}

static int send_run(nt__udp_t* udp, size_t count) {
  nt__datagram_t* first = of_link(udp->out.first);
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = { 0 };
  struct iovec parts[RUN_MAX];
  struct msghdr message;
  nt__link_t* link = udp->out.first;
  ssize_t sent;
  size_t i;

  for (i = 0; i < count; i++, link = link->next) {
    parts[i].iov_base = (char*) of_link(link)->data;
    parts[i].iov_len = of_link(link)->size;
  }
  memset(&message, 0, sizeof(message));
  message.msg_name = &first->to;
  message.msg_namelen =
      udp->family == AF_INET6 ? sizeof(first->to.in6) : sizeof(first->to.in);
  message.msg_iov = parts;
  message.msg_iovlen = count;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  set_segment(&message, first->size);
  do {
    sent = sendmsg(udp->fd, &message, 0);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0)
    return (int) sent;
  return errno == ENOBUFS ? UV_EAGAIN : uv_translate_sys_error(errno);
}

#else

static size_t gather_run(nt__udp_t* udp, size_t* bytes) {
  (void) udp;
  *bytes = 0;
  return 1;
}

static int send_run(nt__udp_t* udp, size_t count) {
  (void) udp;
  (void) count;
  return UV_ENOTSUP;
}

#endif

/* A report of what was sent before takes the place of a call's result, once. */
static int try_send(nt__udp_t* udp, size_t count) {
  int tries = 0;
  int code;

  for (;;) {
    code = count > 1 ? send_run(udp, count)
                     : send_one(udp, of_link(udp->out.first));
    if (code >= 0 || code == UV_EAGAIN || ++tries == TRIES)
      return code;
    if (!read_reports(udp) && tries > 1)
      return code;
  }
}

static void on_sent(uv_udp_send_t* request, int status);

/* Gives the first one to libuv, which waits until the system takes it. */
static void wait_writable(nt__udp_t* udp) {
  nt__udp_socket_t* socket = udp->socket;
  nt__datagram_t* datagram = of_link(udp->out.first);
  uv_buf_t buf = uv_buf_init((char*) datagram->data, (unsigned) datagram->size);
  int code = uv_udp_send(&socket->request, &socket->handle, &buf, 1,
                         &datagram->to.sa, on_sent);

  if (code != 0) {
    nt__udp_report_code(udp, code, "send", &datagram->to, "send");
    drop_first(udp);
    return;
  }
  nt__fifo_shift(&udp->out);
  socket->waiting = datagram;
  udp->blocked = true;
}

static void count_out(nt__udp_t* udp, size_t bytes) {
  nt__count_out(udp->task.ctx, bytes);
}

static void send_first(nt__udp_t* udp, bool refused) {
  nt__datagram_t* first = of_link(udp->out.first);
  int code = try_send(udp, 1);

  if (code == UV_EAGAIN) {
    wait_writable(udp);
    return;
  }
  if (code < 0)
    nt__udp_report_code(udp, code, "send", &first->to, "send");
  else
    count_out(udp, first->size);
  /* Alone it goes: they are larger than what the path takes in one piece, or
   * the system cannot do it at all. */
  if (code >= 0 && refused)
    udp->run_limit = first->size - 1;
  drop_first(udp);
}

static void send_some(nt__udp_t* udp) {
  nt__datagram_t* first = of_link(udp->out.first);
  size_t bytes;
  size_t count;
  int code;

  if (!udp->broadcasts && nt__address_is_broadcast(&first->to))
    nt__udp_set_broadcast(udp, true);
  count = gather_run(udp, &bytes);
  code = count > 1 ? try_send(udp, count) : UV_EAGAIN;
  if (code < 0) {
    send_first(udp, code != UV_EAGAIN);
    return;
  }
  count_out(udp, bytes);
  while (count-- > 0)
    drop_first(udp);
}

void nt__udp_flush(nt__udp_t* udp) {
  unsigned calls = CALLS_A_TURN;

  if (udp->out.first == NULL || udp->socket == NULL)
    return;
  while (udp->out.first != NULL && !udp->blocked && calls-- > 0)
    send_some(udp);
  nt__udp_settle(udp);
}

void nt__udp_push(nt__udp_t* udp, nt__datagram_t* datagram) {
  nt__fifo_push(&udp->out, &datagram->link);
  if (!udp->blocked)
    activate(udp);
}

static void put_back(nt__udp_t* udp, nt__datagram_t* datagram) {
  nt__fifo_t rest = udp->out;

  udp->out.first = udp->out.last = NULL;
  nt__fifo_push(&udp->out, &datagram->link);
  nt__fifo_join(&udp->out, &rest);
}

static void on_sent(uv_udp_send_t* request, int status) {
  nt__udp_socket_t* socket =
      nt__container_of(request, nt__udp_socket_t, request);
  nt__datagram_t* datagram = socket->waiting;
  nt__udp_t* udp = socket->udp;

  socket->waiting = NULL;
  if (udp == NULL) {
    give_back(socket->ctx, datagram);
    return;
  }
  udp->blocked = false;
  activate(udp);
  if (status < 0 && read_reports(udp)) {
    put_back(udp, datagram);
    return;
  }
  if (status < 0)
    nt__udp_report_code(udp, status, "send", &datagram->to, "send");
  else
    count_out(udp, datagram->size);
  nt__udp_drop(udp, datagram);
  nt__udp_settle(udp);
}

/* ---- The turn ------------------------------------------------------------ */

bool nt__udps_run(nt__udps_t* udps) {
  nt__node_t now;
  nt__node_t* node;

  if (nt__list_empty(&udps->active))
    return false;
  now = udps->active;
  now.next->prev = now.prev->next = &now;
  nt__list_init(&udps->active);
  while ((node = nt__list_shift(&now)) != NULL) {
    nt__udp_t* udp = nt__container_of(node, nt__udp_t, active);

    nt__udp_flush(udp);
    if (udp->out.first != NULL && !udp->blocked)
      activate(udp);
    else
      nt__udp_sent_all(udp);
  }
  return !nt__list_empty(&udps->active);
}

/* ---- Life ---------------------------------------------------------------- */

static void on_closed(uv_handle_t* handle) {
  nt__free(of_handle(handle));
}

static bool make_input(nt__udps_t* udps) {
  if (udps->in == NULL)
    udps->in = nt__malloc(BATCH * DATAGRAM_ROOM);
  return udps->in != NULL;
}

static nt__udp_socket_t* new_socket(nt__udp_t* udp) {
  nt_context_t* ctx = udp->task.ctx;
  nt__udp_socket_t* socket = NULL;

  if (make_input(ctx->io.udps))
    socket = nt__calloc(sizeof(*socket));
  if (socket == NULL)
    return NULL;
  if (uv_udp_init_ex(&ctx->io.loop, &socket->handle,
                     AF_UNSPEC | UV_UDP_RECVMMSG) != 0) {
    nt__free(socket);
    return NULL;
  }
  socket->ctx = ctx;
  socket->udp = udp;
  return socket;
}

int nt__udp_socket_open(nt__udp_t* udp) {
  nt__udp_socket_t* socket = new_socket(udp);

  if (socket == NULL)
    return NT_E_NOMEM;
  if (uv_udp_open(&socket->handle, udp->fd) != 0) {
    uv_close((uv_handle_t*) &socket->handle, on_closed);
    return NT_E_SYSTEM;
  }
  udp->taken = true;
  udp->socket = socket;
  udp->run_limit = RUN_BYTES;
  nt__udp_set_defaults(udp);
  if (uv_udp_recv_start(&socket->handle, on_alloc, on_received) == 0)
    return 0;
  nt__udp_socket_close(udp);
  return NT_E_SYSTEM;
}

void nt__udp_socket_deafen(nt__udp_t* udp) {
  if (udp->socket != NULL)
    uv_udp_recv_stop(&udp->socket->handle);
}

void nt__udp_socket_close(nt__udp_t* udp) {
  if (nt__node_linked(&udp->active))
    nt__list_remove(&udp->active);
  while (udp->out.first != NULL)
    drop_first(udp);
  if (udp->socket != NULL) {
    udp->socket->udp = NULL;
    uv_close((uv_handle_t*) &udp->socket->handle, on_closed);
  }
  udp->socket = NULL;
  udp->blocked = false;
}
