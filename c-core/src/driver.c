/* libcurl on libuv, I/O thread only.
 *
 * Sockets: the uv_poll of a connection stays registered while the connection
 * idles between two transfers, which saves two system calls a request. That is
 * only right once the connection stands: libcurl 7.88 closes a socket whose
 * connect or handshake is given up without telling us, as it does with those of
 * the resolver, and the number may come back at once.
 *
 * Pools: libcurl reuses a connection, a TLS session and the answer of a lookup
 * whatever the policy says by now. What is kept for later use lies in a pool,
 * and a policy that changes what may be reached or trusted begins a new one. A
 * transfer that runs goes on in the pool of its own policy, which keeps nothing
 * any more and goes with the last of them.
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
  MAX_IDLE_CONNECTIONS = 256,
  UPLOAD_BUFFER_DEFAULT = 64 * 1024 /* of libcurl */
};

typedef struct nt__multi {
  nt__pool_t* pool;
  CURLM* handle; /* NULL: a retired pool has no use for it */
  uv_timer_t timer;
  size_t easies; /* that have been acquired for it */
  bool due;      /* libcurl wants to be called in the next turn */
} nt__multi_t;

struct nt__pool {
  nt__driver_t* driver;
  nt__node_t node;   /* in the driver's list */
  nt__node_t easies; /* that run in it */
  unsigned trust;    /* of the policies that it is for */
  nt__multi_t multis[NT__MULTI_COUNT];
  CURLSH* share;
  nt__trust_t authorities;
  unsigned timers; /* that the loop still has */
};

struct nt__driver {
  nt_context_t* ctx;
  nt__node_t pools;
  unsigned trust;      /* of the newest policy; other pools are retired */
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
  nt__socket_t* socket = find_socket(multi->pool->driver, fd);
  int events = 0;

  if (socket == NULL)
    socket = add_socket(multi->pool->driver, fd);
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
    unwant(easy, find_socket(multi->pool->driver, fd));
  } else if (want(multi, fd, what) != 0 && easy != NULL) {
    if (!nt__node_linked(&easy->broken))
      nt__list_append(&multi->pool->driver->broken, &easy->broken);
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

/* ---- Pools --------------------------------------------------------------- */

static nt__pool_t* of_node(nt__node_t* node) {
  return nt__container_of(node, nt__pool_t, node);
}

static bool is_retired(const nt__driver_t* driver, const nt__pool_t* pool) {
  return pool->trust != driver->trust;
}

/* Name lookups and TLS sessions serve all multis. One thread: no locks. */
static int open_share(nt__pool_t* pool) {
  pool->share = curl_share_init();
  if (pool->share == NULL)
    return NT_E_NOMEM;
  curl_share_setopt(pool->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  curl_share_setopt(pool->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  return 0;
}

static void init_timers(nt__driver_t* driver, nt__pool_t* pool) {
  int i;

  for (i = 0; i < NT__MULTI_COUNT; i++) {
    pool->multis[i].pool = pool;
    uv_timer_init(&driver->ctx->io.loop, &pool->multis[i].timer);
  }
  pool->timers = NT__MULTI_COUNT;
}

static void on_timer_closed(uv_handle_t* handle) {
  nt__pool_t* pool = nt__container_of(handle, nt__multi_t, timer)->pool;

  if (--pool->timers == 0)
    nt__free(pool);
}

static void close_multi(nt__multi_t* multi) {
  curl_multi_cleanup(multi->handle); /* which calls back */
  multi->handle = NULL;
  multi->due = false;
  uv_timer_stop(&multi->timer);
}

/* Nothing runs in it, and no idle handle has its share. */
static void close_pool(nt__pool_t* pool) {
  int i;

  for (i = 0; i < NT__MULTI_COUNT; i++) {
    close_multi(&pool->multis[i]);
    uv_close((uv_handle_t*) &pool->multis[i].timer, on_timer_closed);
  }
  curl_share_cleanup(pool->share);
  nt__trust_close(&pool->authorities);
}

static int open_multi(nt__multi_t* multi, nt__multi_kind_t kind) {
  if (multi->handle != NULL)
    return 0;
  multi->handle = curl_multi_init();
  if (multi->handle == NULL)
    return NT_E_NOMEM;
  curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, on_want);
  curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi);
  curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, on_want_timer);
  curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi);
  /* A stream's connection is never idle, and there may be thousands. */
  if (kind != NT__MULTI_STREAMS)
    curl_multi_setopt(multi->handle, CURLMOPT_MAXCONNECTS,
                      (long) MAX_IDLE_CONNECTIONS);
  return 0;
}

static int open_pool(nt__pool_t* pool) {
  int err = open_share(pool);
  int i;

  for (i = 0; err == 0 && i < NT__MULTI_COUNT; i++)
    err = open_multi(&pool->multis[i], (nt__multi_kind_t) i);
  return err;
}

static nt__pool_t* new_pool(nt__driver_t* driver, const nt__policy_t* policy) {
  nt__pool_t* pool = nt__calloc(sizeof(*pool));

  if (pool == NULL)
    return NULL;
  pool->driver = driver;
  pool->trust = policy->trust;
  nt__node_init(&pool->node);
  nt__list_init(&pool->easies);
  init_timers(driver, pool);
  nt__trust_open(&pool->authorities, &policy->values);
  if (open_pool(pool) == 0)
    return pool;
  close_pool(pool);
  return NULL;
}

/* There is seldom more than one. */
static nt__pool_t* pool_of(nt__driver_t* driver, const nt__policy_t* policy) {
  nt__node_t* node;
  nt__pool_t* pool;

  for (node = driver->pools.next; node != &driver->pools; node = node->next)
    if (of_node(node)->trust == policy->trust)
      return of_node(node);
  pool = new_pool(driver, policy);
  if (pool != NULL)
    nt__list_append(&driver->pools, &pool->node);
  return pool;
}

static nt__multi_t* multi_of(const nt__easy_t* easy) {
  return &easy->pool->multis[easy->kind];
}

static void enter_pool(nt__pool_t* pool, nt__easy_t* easy) {
  easy->pool = pool;
  nt__list_append(&pool->easies, &easy->in_pool);
  multi_of(easy)->easies++;
}

static void leave_pool(nt__easy_t* easy) {
  nt__multi_t* multi = multi_of(easy);

  nt__list_remove(&easy->in_pool);
  if (--multi->easies == 0 && is_retired(easy->driver, easy->pool))
    uv_timer_start(&multi->timer, on_timer, 0, 0); /* sweep() comes by */
}

/* Closes what a retired pool does not need any more; true when that is all. */
static bool close_unused(nt__pool_t* pool) {
  bool used = false;
  int i;

  for (i = 0; i < NT__MULTI_COUNT; i++) {
    if (pool->multis[i].easies == 0)
      close_multi(&pool->multis[i]);
    else
      used = true;
  }
  return !used;
}

/* Not inside libcurl. */
static void sweep(nt__driver_t* driver) {
  nt__node_t* node = driver->pools.next;

  while (node != &driver->pools) {
    nt__pool_t* pool = of_node(node);

    node = node->next;
    if (!is_retired(driver, pool) || !close_unused(pool))
      continue;
    nt__list_remove(&pool->node);
    close_pool(pool);
  }
}

/* Its connection serves nobody after it. That of a stream never does, and with
 * this option libcurl would close it as soon as it stands. */
static void forbid_reuse(nt__easy_t* easy) {
  if (easy->kind != NT__MULTI_STREAMS)
    curl_easy_setopt(easy->curl, CURLOPT_FORBID_REUSE, 1L);
}

/* Those that run keep their connection to themselves from now on. */
static void retire(nt__node_t* easies) {
  nt__node_t* node;

  for (node = easies->next; node != easies; node = node->next)
    forbid_reuse(nt__container_of(node, nt__easy_t, in_pool));
}

void nt__driver_renew(nt__driver_t* driver, const nt__policy_t* policy) {
  nt__node_t* node;
  size_t i;

  if (policy->trust == driver->trust)
    return;
  driver->trust = policy->trust;
  for (i = 0; i < driver->idle_count; i++)
    curl_easy_setopt(driver->idle[i], CURLOPT_SHARE, NULL);
  for (node = driver->pools.next; node != &driver->pools; node = node->next)
    retire(&of_node(node)->easies);
  sweep(driver);
}

/* ---- Easy handles -------------------------------------------------------- */

/* Not even one from the environment, which is where libcurl looks if it has no
 * memory for this. */
static int forbid_proxies(CURL* curl) {
  return curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK ? 0
                                                                  : NT_E_NOMEM;
}

static int set_common(nt__easy_t* easy, const nt_policy_t* policy) {
  CURL* curl = easy->curl;
  int err = forbid_proxies(curl);

  curl_easy_setopt(curl, CURLOPT_PRIVATE, easy);
  curl_easy_setopt(curl, CURLOPT_SHARE, easy->pool->share);
  if (is_retired(easy->driver, easy->pool))
    forbid_reuse(easy);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  /* Or removing a transfer joins the thread of its stuck name lookup. */
  curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, easy);
  curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
  curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, easy->driver);
  return err ? err : nt__trust_set(&easy->pool->authorities, policy, curl);
}

static int take_handle(nt__driver_t* driver, nt__easy_t* easy) {
  if (driver->idle_count > 0)
    easy->curl = driver->idle[--driver->idle_count];
  else
    easy->curl = curl_easy_init();
  return easy->curl == NULL ? NT_E_NOMEM : 0;
}

int nt__driver_acquire(nt__driver_t* driver, nt__easy_t* easy,
                       const nt__policy_t* policy) {
  nt__pool_t* pool = pool_of(driver, policy);
  int err;

  if (pool == NULL || open_multi(&pool->multis[easy->kind], easy->kind) != 0 ||
      take_handle(driver, easy) != 0)
    return NT_E_NOMEM;
  easy->driver = driver;
  easy->connected = false;
  nt__node_init(&easy->broken);
  enter_pool(pool, easy);
  err = set_common(easy, &policy->values);
  if (err)
    nt__driver_release(easy);
  return err;
}

int nt__driver_trust_proxy(nt__easy_t* easy, const nt__policy_t* policy) {
  return nt__trust_set_proxy(&easy->pool->authorities, &policy->values,
                             easy->curl);
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
    curl_multi_remove_handle(multi_of(easy)->handle, easy->curl);
  easy->added = false;
  if (nt__node_linked(&easy->broken))
    nt__list_remove(&easy->broken);
}

static size_t drop(char* data, size_t one, size_t size, void* arg) {
  (void) data;
  (void) one;
  (void) arg;
  return size;
}

/* What has come since it was paused libcurl 7.88 keeps while other streams use
 * the connection, and gives it to the next transfer of the handle that is
 * paused: it is taken now, by nobody. */
static void drop_paused(nt__easy_t* easy) {
  if (!easy->added || easy->connects)
    return;
  curl_easy_setopt(easy->curl, CURLOPT_WRITEFUNCTION, drop);
  curl_easy_pause(easy->curl, CURLPAUSE_CONT);
}

void nt__driver_release(nt__easy_t* easy) {
  nt__driver_t* driver = easy->driver;
  CURL* curl = easy->curl;

  if (curl == NULL)
    return;
  drop_paused(easy);
  take_out(easy);
  easy->curl = NULL;
  leave_pool(easy);
  if (driver->idle_count == MAX_IDLE_EASIES) {
    curl_easy_cleanup(curl);
    return;
  }
  curl_easy_reset(curl); /* all but the share */
  /* And but for a buffer that a stream of HTTP/2 has left: it would be used
   * again, whatever its size. This frees it. */
  curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE,
                   (long) UPLOAD_BUFFER_DEFAULT);
  if (is_retired(driver, easy->pool))
    curl_easy_setopt(curl, CURLOPT_SHARE, NULL);
  driver->idle[driver->idle_count++] = curl;
}

void nt__driver_continue(nt__easy_t* easy) {
  curl_easy_pause(easy->curl, CURLPAUSE_CONT);
  /* Bytes that libcurl holds already raise no event of the socket. */
  multi_of(easy)->due = true;
}

int nt__driver_add(nt__easy_t* easy) {
  if (curl_multi_add_handle(multi_of(easy)->handle, easy->curl) != CURLM_OK)
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

static bool run_pool(nt__pool_t* pool) {
  bool more = false;
  int i;

  for (i = 0; i < NT__MULTI_COUNT; i++) {
    if (pool->multis[i].handle != NULL)
      run_multi(&pool->multis[i]);
    more = more || pool->multis[i].due;
  }
  return more;
}

bool nt__driver_run(nt__driver_t* driver) {
  bool more = false;
  nt__node_t* node;

  sweep(driver); /* not sooner: what waited for a place may just have come */
  for (node = driver->pools.next; node != &driver->pools; node = node->next)
    more = run_pool(of_node(node)) || more;
  finish_broken(driver);
  return more;
}

/* ---- Life ---------------------------------------------------------------- */

int nt__driver_open(nt_context_t* ctx) {
  nt__driver_t* driver = nt__calloc(sizeof(*driver));

  ctx->io.driver = driver;
  if (driver == NULL)
    return NT_E_NOMEM;
  driver->ctx = ctx;
  nt__table_init(&driver->sockets);
  nt__list_init(&driver->broken);
  nt__list_init(&driver->pools);
  return 0;
}

void nt__driver_close(nt__driver_t* driver) {
  nt__node_t* node;

  if (driver == NULL)
    return;
  while (driver->idle_count > 0)
    curl_easy_cleanup(driver->idle[--driver->idle_count]);
  while ((node = nt__list_shift(&driver->pools)) != NULL)
    close_pool(of_node(node));
}

void nt__driver_free(nt__driver_t* driver) {
  if (driver == NULL)
    return;
  nt__table_free(&driver->sockets);
  nt__free(driver);
}
