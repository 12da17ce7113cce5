/* libcurl on libuv, I/O thread only.
 *
 * Sockets: the uv_poll of a connection stays registered while the connection
 * idles between two transfers, which saves two system calls a request. That is
 * only right once the connection stands: libcurl 7.88 closes a socket whose
 * connect or handshake is given up without telling us, as it does with those of
 * the resolver, and the number may come back at once.
 *
 * Time: libcurl often asks to be called "now". A 0 ms timer of libuv that is
 * set from its own callback starves the loop, so "now" is the next turn. */
#include "driver.h"

#include <string.h>

#ifndef _WIN32
#  include <fcntl.h>
#  include <sys/socket.h>
#  include <unistd.h>
#endif

enum {
  MAX_IDLE_EASIES = 64,
  MAX_IDLE_CONNECTIONS = 256
};

typedef struct nt__multi {
  nt__driver_t* driver;
  CURLM* handle;
  uv_timer_t timer;
  bool due; /* libcurl wants to be called in the next turn */
} nt__multi_t;

struct nt__driver {
  nt_context_t* ctx;
  nt__multi_t multis[NT__MULTI_COUNT];
  CURLSH* share;
  nt__table_t sockets; /* descriptor to nt__socket_t */
  nt__node_t broken;   /* easies whose socket cannot be watched */
  CURL* idle[MAX_IDLE_EASIES];
  size_t idle_count;
};

struct nt__socket {
  uv_poll_t poll;
  nt__driver_t* driver;
  nt__multi_t* multi;
  nt__socket_owner_t* owner; /* uses it; NULL: libcurl does */
  curl_socket_t fd;
  bool polled;  /* `poll` is initialised */
  bool resting; /* libcurl does not want to hear of it now */
  bool taken;   /* libcurl must not close it */
  int events;   /* what `poll` watches */
};

/* ---- Sockets ------------------------------------------------------------- */

/* Key 0 is a descriptor like any other. */
static nt__socket_t* find_socket(nt__driver_t* driver, curl_socket_t fd) {
  return nt__table_get(&driver->sockets, (uint64_t) fd);
}

static nt__socket_t* add_socket(nt__driver_t* driver, curl_socket_t fd) {
  nt__socket_t* socket = nt__calloc(sizeof(*socket));

  if (socket == NULL)
    return NULL;
  socket->driver = driver;
  socket->fd = fd;
  if (nt__table_add(&driver->sockets, (uint64_t) fd, socket) != 0) {
    nt__free(socket);
    return NULL;
  }
  return socket;
}

static void on_poll_closed(uv_handle_t* handle) {
  nt__free(nt__container_of(handle, nt__socket_t, poll));
}

static void remove_socket(nt__socket_t* socket) {
  nt__table_remove(&socket->driver->sockets, (uint64_t) socket->fd);
  if (socket->polled)
    uv_close((uv_handle_t*) &socket->poll, on_poll_closed);
  else
    nt__free(socket);
}

static void act(nt__socket_t* socket, int status, int events) {
  int flags = 0;
  int running;

  /* After an error libcurl is to read: then it learns which one it was. */
  if (status < 0 || (events & UV_READABLE))
    flags |= CURL_CSELECT_IN;
  if (status < 0 || (events & UV_WRITABLE))
    flags |= CURL_CSELECT_OUT;
  /* This may close the socket. */
  curl_multi_socket_action(socket->multi->handle, socket->fd, flags, &running);
}

static void on_poll(uv_poll_t* poll, int status, int events) {
  nt__socket_t* socket = nt__container_of(poll, nt__socket_t, poll);

  if (status < 0 || socket->resting) {
    /* libuv has stopped after an error; and what ends the rest of an idle
     * connection is the server's close, most likely. */
    uv_poll_stop(poll);
    socket->events = 0;
  }
  if (socket->resting)
    return;
  if (socket->owner == NULL)
    act(socket, status, events);
  else
    socket->owner->on_ready(socket->owner,
                            status < 0 ? UV_READABLE | UV_WRITABLE : events);
}

static int watch(nt__socket_t* socket, int events) {
  uv_loop_t* loop = &socket->driver->ctx->io.loop;

  socket->resting = false;
  if (!socket->polled) {
    if (uv_poll_init_socket(loop, &socket->poll, socket->fd) != 0)
      return -1;
    socket->polled = true;
  }
  if (socket->events == events)
    return 0;
  socket->events = events;
  return uv_poll_start(&socket->poll, events, on_poll) == 0 ? 0 : -1;
}

/* NULL for a handle of libcurl's own. */
static nt__easy_t* easy_of(CURL* curl) {
  nt__easy_t* easy = NULL;

  curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char**) &easy);
  return easy;
}

static int want(nt__multi_t* multi, curl_socket_t fd, int what) {
  nt__socket_t* socket = find_socket(multi->driver, fd);
  int events = 0;

  if (socket == NULL)
    socket = add_socket(multi->driver, fd);
  if (socket == NULL)
    return -1;
  socket->multi = multi;
  if (what & CURL_POLL_IN)
    events |= UV_READABLE;
  if (what & CURL_POLL_OUT)
    events |= UV_WRITABLE;
  return watch(socket, events);
}

/* The poll stays if the connection stands: then on_close_socket() will come. */
static void unwant(const nt__easy_t* easy, nt__socket_t* socket) {
  if (socket == NULL || socket->owner != NULL)
    return;
  if (easy != NULL && easy->connected)
    socket->resting = true;
  else
    remove_socket(socket);
}

/* libcurl says what it waits for on a socket. An error returned from here would
 * be the end of the whole multi, so the one transfer fails in the next turn. */
static int on_want(CURL* curl, curl_socket_t fd, int what, void* arg,
                   void* unused) {
  nt__multi_t* multi = arg;
  nt__easy_t* easy = easy_of(curl);

  (void) unused;
  if (what == CURL_POLL_REMOVE) {
    unwant(easy, find_socket(multi->driver, fd));
  } else if (want(multi, fd, what) != 0 && easy != NULL) {
    if (!nt__node_linked(&easy->broken))
      nt__list_append(&multi->driver->broken, &easy->broken);
  }
  return 0;
}

static curl_socket_t on_open_socket(void* arg, curlsocktype purpose,
                                    struct curl_sockaddr* address) {
  nt__easy_t* easy = arg;
  curl_socket_t fd;
  int type = address->socktype;

  (void) purpose;
  if (!easy->on_socket(easy, &address->addr))
    return CURL_SOCKET_BAD;
#ifdef SOCK_CLOEXEC
  type |= SOCK_CLOEXEC;
#endif
  fd = socket(address->family, type, address->protocol);
#if !defined(SOCK_CLOEXEC) && !defined(_WIN32)
  if (fd != CURL_SOCKET_BAD)
    fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
  return fd;
}

static int close_fd(curl_socket_t fd) {
#ifdef _WIN32
  return closesocket(fd);
#else
  return close(fd);
#endif
}

/* The poll goes before the descriptor, whose number may come back at once. */
static int on_close_socket(void* arg, curl_socket_t fd) {
  nt__socket_t* socket = find_socket(arg, fd);

  if (socket != NULL && socket->taken)
    return 0;
  if (socket != NULL)
    remove_socket(socket);
  return close_fd(fd);
}

/* ---- Time ---------------------------------------------------------------- */

static void on_timer(uv_timer_t* timer) {
  nt__container_of(timer, nt__multi_t, timer)->due = true;
}

static int on_want_timer(CURLM* handle, long timeout_ms, void* arg) {
  nt__multi_t* multi = arg;

  (void) handle;
  if (timeout_ms < 0) {
    multi->due = false;
    uv_timer_stop(&multi->timer);
  } else if (timeout_ms == 0) {
    multi->due = true;
    uv_timer_stop(&multi->timer);
  } else {
    uv_timer_start(&multi->timer, on_timer, (uint64_t) timeout_ms, 0);
  }
  return 0;
}

/* ---- Easy handles -------------------------------------------------------- */

static void set_common(nt__easy_t* easy, const nt_policy_t* policy) {
  CURL* curl = easy->curl;

  curl_easy_setopt(curl, CURLOPT_PRIVATE, easy);
  curl_easy_setopt(curl, CURLOPT_SHARE, easy->driver->share);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  /* Or removing a transfer joins the thread of its stuck name lookup. */
  curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
  /* Not from the environment, nor what is to go without one. */
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
  /* A folder of certificates keeps libcurl from caching the parsed bundle. */
  curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
  if (policy->ca_file != NULL)
    curl_easy_setopt(curl, CURLOPT_CAINFO, policy->ca_file);
  curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, -1L);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, easy);
  curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
  curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, easy->driver);
}

int nt__driver_acquire(nt__driver_t* driver, nt__easy_t* easy,
                       const nt_policy_t* policy) {
  if (driver->idle_count > 0)
    easy->curl = driver->idle[--driver->idle_count];
  else
    easy->curl = curl_easy_init();
  if (easy->curl == NULL)
    return NT_E_NOMEM;
  easy->driver = driver;
  easy->connected = false;
  nt__node_init(&easy->broken);
  set_common(easy, policy);
  return 0;
}

nt__socket_t* nt__driver_socket(nt__easy_t* easy, nt__socket_owner_t* owner) {
  nt__driver_t* driver = easy->driver;
  nt__socket_t* socket;
  curl_socket_t fd = CURL_SOCKET_BAD;

  curl_easy_getinfo(easy->curl, CURLINFO_ACTIVESOCKET, &fd);
  if (fd == CURL_SOCKET_BAD)
    return NULL;
  socket = find_socket(driver, fd);
  if (socket == NULL)
    socket = add_socket(driver, fd);
  if (socket != NULL)
    socket->owner = owner;
  return socket;
}

nt__socket_t* nt__driver_take_socket(nt__easy_t* easy,
                                     nt__socket_owner_t* owner) {
  nt__socket_t* socket = nt__driver_socket(easy, owner);

  if (socket == NULL)
    return NULL;
  socket->taken = true;
  nt__driver_release(easy);
  return socket;
}

int nt__socket_watch(nt__socket_t* socket, int events) {
  if (events != 0)
    return watch(socket, events) == 0 ? 0 : NT_E_SYSTEM;
  if (socket->events != 0)
    uv_poll_stop(&socket->poll);
  socket->events = 0;
  return 0;
}

curl_socket_t nt__socket_fd(const nt__socket_t* socket) {
  return socket->fd;
}

void nt__socket_close(nt__socket_t* socket) {
  curl_socket_t fd = socket->fd;

  remove_socket(socket);
  close_fd(fd);
}

static void take_out(nt__easy_t* easy) {
  if (easy->added)
    curl_multi_remove_handle(easy->driver->multis[easy->kind].handle,
                             easy->curl);
  easy->added = false;
  if (nt__node_linked(&easy->broken))
    nt__list_remove(&easy->broken);
}

void nt__driver_release(nt__easy_t* easy) {
  nt__driver_t* driver = easy->driver;
  CURL* curl = easy->curl;

  if (curl == NULL)
    return;
  take_out(easy);
  easy->curl = NULL;
  if (driver->idle_count == MAX_IDLE_EASIES) {
    curl_easy_cleanup(curl);
    return;
  }
  curl_easy_reset(curl);
  driver->idle[driver->idle_count++] = curl;
}

void nt__driver_continue(nt__easy_t* easy) {
  curl_easy_pause(easy->curl, CURLPAUSE_CONT);
  /* Bytes that libcurl holds already raise no event of the socket. */
  easy->driver->multis[easy->kind].due = true;
}

int nt__driver_add(nt__easy_t* easy) {
  CURLM* multi = easy->driver->multis[easy->kind].handle;

  if (curl_multi_add_handle(multi, easy->curl) != CURLM_OK)
    return NT_E_NOMEM;
  easy->added = true;
  return 0;
}

/* ---- The turn ------------------------------------------------------------ */

static void finish(nt__easy_t* easy, CURLcode code) {
  if (!easy->connects || code != CURLE_OK)
    take_out(easy);
  easy->on_done(easy, code);
}

static void finish_done(nt__multi_t* multi) {
  CURLMsg* message;
  int left;

  /* Taking the handle out frees the message; one that stays in is told of
   * once. */
  while ((message = curl_multi_info_read(multi->handle, &left)) != NULL)
    finish(easy_of(message->easy_handle), message->data.result);
}

static void finish_broken(nt__driver_t* driver) {
  nt__node_t* node;

  while ((node = nt__list_shift(&driver->broken)) != NULL)
    finish(nt__container_of(node, nt__easy_t, broken), CURLE_OUT_OF_MEMORY);
}

static void run_multi(nt__multi_t* multi) {
  int running;

  if (multi->due) {
    multi->due = false;
    curl_multi_socket_action(multi->handle, CURL_SOCKET_TIMEOUT, 0, &running);
  }
  finish_done(multi);
}

bool nt__driver_run(nt__driver_t* driver) {
  bool more = false;
  int i;

  for (i = 0; i < NT__MULTI_COUNT; i++) {
    run_multi(&driver->multis[i]);
    more = more || driver->multis[i].due;
  }
  finish_broken(driver);
  return more;
}

/* ---- Life ---------------------------------------------------------------- */

static int init_multi(nt__driver_t* driver, nt__multi_t* multi) {
  multi->driver = driver;
  uv_timer_init(&driver->ctx->io.loop, &multi->timer);
  multi->handle = curl_multi_init();
  if (multi->handle == NULL)
    return NT_E_NOMEM;
  curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, on_want);
  curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi);
  curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, on_want_timer);
  curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi);
  /* A stream's connection is never idle, and there may be thousands. */
  if (multi != &driver->multis[NT__MULTI_STREAMS])
    curl_multi_setopt(multi->handle, CURLMOPT_MAXCONNECTS,
                      (long) MAX_IDLE_CONNECTIONS);
  return 0;
}

/* Name lookups and TLS sessions serve both multis. One thread: no locks. */
static CURLSH* new_share(void) {
  CURLSH* share = curl_share_init();

  if (share == NULL)
    return NULL;
  curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  return share;
}

int nt__driver_open(nt_context_t* ctx) {
  nt__driver_t* driver = nt__calloc(sizeof(*driver));
  int err = 0;
  int i;

  ctx->io.driver = driver;
  if (driver == NULL)
    return NT_E_NOMEM;
  driver->ctx = ctx;
  nt__table_init(&driver->sockets);
  nt__list_init(&driver->broken);
  driver->share = new_share();
  for (i = 0; i < NT__MULTI_COUNT; i++)
    if (init_multi(driver, &driver->multis[i]) != 0)
      err = NT_E_NOMEM;
  return driver->share == NULL ? NT_E_NOMEM : err;
}

void nt__driver_close(nt__driver_t* driver) {
  size_t i;

  if (driver == NULL)
    return;
  while (driver->idle_count > 0)
    curl_easy_cleanup(driver->idle[--driver->idle_count]);
  for (i = 0; i < NT__MULTI_COUNT; i++) {
    curl_multi_cleanup(driver->multis[i].handle);
    uv_close((uv_handle_t*) &driver->multis[i].timer, NULL);
  }
}

void nt__driver_free(nt__driver_t* driver) {
  if (driver == NULL)
    return;
  curl_share_cleanup(driver->share);
  nt__table_free(&driver->sockets);
  nt__free(driver);
}
