/* A small HTTP server inside the test: a thread that accepts, and one for each
 * connection, with blocking writes, so that it knows what it could send. All
 * that the test looks at is guarded by one mutex. */
#ifndef NT_TEST_SERVER_H
#define NT_TEST_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  SERVER_MAX_REQUEST = 64 * 1024,
  SERVER_MAX_ORDER = 256,
  SERVER_PERIOD = 65521,
  SERVER_BLOCK = 16384,
  SERVER_BLOCKED_MS = 300 /* unable to write for so long counts as blocked */
};

typedef struct connection connection_t;

typedef struct server {
  int listener;
  int port;
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  connection_t* connections; /* all that there were */
  unsigned requests;         /* heads that were read */
  unsigned holding;          /* responses that wait for server_release() */
  unsigned released;         /* changes with each release */
  unsigned blocked;          /* writes that could not go on for a while */
  uint64_t sent;             /* bytes of bodies */
  bool stopping;
  /* Instead of the routes below: reads and answers requests until the
   * connection is of no more use. Set under the mutex. */
  void (*serve)(connection_t* connection, void* arg);
  void* serve_arg;
  char order[SERVER_MAX_ORDER][64]; /* paths as they came */
} server_t;

struct connection {
  connection_t* next;
  server_t* server;
  pthread_t thread;
  int fd;
  size_t size; /* of what is in `request` */
  char request[SERVER_MAX_REQUEST + 1];
};

/* What the bodies of /stream and /chunked consist of, again and again. The
 * period is a prime, so no block of a power of two looks like the next; behind
 * it the table goes on, so that a block is always in one piece. */
static char server_pattern[SERVER_PERIOD + SERVER_BLOCK];

static inline void server_fill_pattern(void) {
  size_t i;

  for (i = 0; i < sizeof(server_pattern); i++) {
    size_t k = i % SERVER_PERIOD;

    server_pattern[i] = (char) (k ^ (k >> 8));
  }
}

/* At most SERVER_BLOCK bytes from there on. */
static inline const char* server_bytes(uint64_t offset) {
  return server_pattern + offset % SERVER_PERIOD;
}

/* ---- Connections -------------------------------------------------------- */

static inline bool server_is_stopping(server_t* server) {
  bool stopping;

  pthread_mutex_lock(&server->mutex);
  stopping = server->stopping;
  pthread_mutex_unlock(&server->mutex);
  return stopping;
}

static inline void server_count(server_t* server, size_t sent, bool blocked) {
  pthread_mutex_lock(&server->mutex);
  server->sent += sent;
  server->blocked += blocked;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->mutex);
}

/* False when the connection is of no more use. */
static inline bool connection_send(connection_t* c, const char* data,
                                   size_t size, bool is_body) {
  while (size > 0) {
    struct pollfd poll_fd = { c->fd, POLLOUT, 0 };
    int ready = poll(&poll_fd, 1, SERVER_BLOCKED_MS);
    ssize_t n;

    if (ready == 0) {
      server_count(c->server, 0, true);
      if (server_is_stopping(c->server))
        return false;
      continue;
    }
    n = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
      return false;
    if (n > 0 && is_body)
      server_count(c->server, (size_t) n, false);
    data += n > 0 ? n : 0;
    size -= n > 0 ? (size_t) n : 0;
  }
  return true;
}

static inline bool connection_send_text(connection_t* c, const char* text) {
  return connection_send(c, text, strlen(text), false);
}

static inline bool connection_answer(connection_t* c, const char* status,
                                     const char* fields, const char* body,
                                     size_t size) {
  char head[512];

  snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n",
           status, fields, size);
  return connection_send_text(c, head) && connection_send(c, body, size, true);
}

/* Waits for server_release(). */
static inline bool connection_hold(connection_t* c) {
  server_t* server = c->server;
  unsigned released;
  bool stopping;

  pthread_mutex_lock(&server->mutex);
  released = server->released;
  server->holding++;
  pthread_cond_broadcast(&server->changed);
  while (server->released == released && !server->stopping)
    pthread_cond_wait(&server->changed, &server->mutex);
  server->holding--;
  stopping = server->stopping;
  pthread_mutex_unlock(&server->mutex);
  return !stopping;
}

/* In blocks, each a chunk of its own if so wished. */
static inline bool connection_stream(connection_t* c, uint64_t size,
                                     bool chunked) {
  char line[128];
  uint64_t done;
  uint64_t n;

  snprintf(line, sizeof(line),
           chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   : "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
           (unsigned long long) size);
  if (!connection_send_text(c, line))
    return false;
  for (done = 0; done < size; done += n) {
    n = size - done < SERVER_BLOCK ? size - done : SERVER_BLOCK;
    snprintf(line, sizeof(line), "%llx\r\n", (unsigned long long) n);
    if ((chunked && !connection_send_text(c, line)) ||
        !connection_send(c, server_bytes(done), (size_t) n, true) ||
        (chunked && !connection_send_text(c, "\r\n")))
      return false;
  }
  return !chunked || connection_send_text(c, "0\r\n\r\n");
}

static inline bool connection_redirect(connection_t* c, const char* target,
                                       long left) {
  char fields[128];

  snprintf(fields, sizeof(fields), "Location: %s%ld\r\n", target, left);
  return connection_answer(c, "302 Found", fields, "moved", 5);
}

static inline bool connection_send_fields(connection_t* c, long bytes) {
  char line[1025] = "X-Filler: ";

  memset(line + 10, 'x', 1012);
  memcpy(line + 1022, "\r\n", 3);
  if (!connection_send_text(c, "HTTP/1.1 200 OK\r\n"))
    return false;
  for (; bytes > 0; bytes -= 1024)
    if (!connection_send_text(c, line))
      return false;
  return connection_send_text(c, "Content-Length: 5\r\n\r\nhello");
}

static const char server_start_of_ten[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";

/* The responses that end the connection before their end. */
static inline const char* server_broken_answer(const char* path) {
  if (strcmp(path, "/cut") == 0)
    return "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
  if (strcmp(path, "/cut-chunked") == 0)
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
           "chunked\r\n\r\n5\r\nhello\r\n";
  if (strcmp(path, "/cut-head") == 0)
    return "HTTP/1.1 200 OK\r\nContent-Le";
  if (strcmp(path, "/garbage") == 0)
    return "220 this is not HTTP\r\n\r\n";
  if (strcmp(path, "/bad-gzip") == 0)
    return "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nthis is no gzip";
  if (strcmp(path, "/close") == 0)
    return "";
  return NULL;
}

static inline bool connection_route(connection_t* c, const char* path) {
  const char* slash = strrchr(path, '/');
  long number = slash == NULL ? 0 : strtol(slash + 1, NULL, 10);
  const char* broken = server_broken_answer(path);

  if (broken != NULL) {
    connection_send_text(c, broken);
    return false;
  }
  if (strncmp(path, "/stream/", 8) == 0)
    return connection_stream(c, (uint64_t) number, false);
  if (strncmp(path, "/chunked/", 9) == 0)
    return connection_stream(c, (uint64_t) number, true);
  if (strncmp(path, "/fields/", 8) == 0)
    return connection_send_fields(c, number);
  if (strncmp(path, "/redirect/", 10) == 0 && number > 0)
    return connection_redirect(c, "/redirect/", number - 1);
  if (strncmp(path, "/loop/", 6) == 0)
    return connection_redirect(c, "/loop/", number);
  if (strncmp(path, "/hold", 5) == 0 && !connection_hold(c))
    return false;
  if (strcmp(path, "/head-then-hold") == 0)
    return connection_send_text(c, server_start_of_ten) && connection_hold(c) &&
           connection_send(c, "helloworld", 10, true);
  if (strcmp(path, "/part-then-hold") == 0)
    return connection_send_text(c, server_start_of_ten) &&
           connection_send(c, "hello", 5, true) && connection_hold(c) &&
           connection_send(c, "world", 5, true);
  if (strcmp(path, "/echo") == 0)
    return connection_answer(c, "200 OK", "", c->request, c->size);
  return connection_answer(c, "200 OK", "X-One: 1\r\nx-two:\r\nX-One: 3\r\n",
                           "hello", 5);
}

/* Reads until head and body are there, which is in `request` then. */
static inline bool connection_read(connection_t* c) {
  size_t wanted = SIZE_MAX;

  c->size = 0;
  while (c->size < wanted) {
    ssize_t n =
        recv(c->fd, c->request + c->size, SERVER_MAX_REQUEST - c->size, 0);
    char* end;
    char* length;

    if (n <= 0)
      return false;
    c->size += (size_t) n;
    c->request[c->size] = '\0';
    end = strstr(c->request, "\r\n\r\n");
    if (end == NULL)
      continue;
    length = strstr(c->request, "Content-Length: ");
    wanted = (size_t) (end + 4 - c->request);
    if (length != NULL && length < end)
      wanted += strtoul(length + 16, NULL, 10);
  }
  return true;
}

static inline void connection_note(connection_t* c, const char* path) {
  server_t* server = c->server;

  pthread_mutex_lock(&server->mutex);
  if (server->requests < SERVER_MAX_ORDER)
    snprintf(server->order[server->requests], sizeof(server->order[0]), "%s",
             path);
  server->requests++;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->mutex);
}

static inline bool connection_is_served(connection_t* c) {
  server_t* server = c->server;
  void (*serve)(connection_t*, void*);
  void* arg;

  pthread_mutex_lock(&server->mutex);
  serve = server->serve;
  arg = server->serve_arg;
  pthread_mutex_unlock(&server->mutex);
  if (serve != NULL)
    serve(c, arg);
  return serve != NULL;
}

static inline void* connection_main(void* arg) {
  connection_t* c = arg;
  char path[64];

  if (connection_is_served(c)) {
    shutdown(c->fd, SHUT_RDWR);
    return NULL;
  }
  while (connection_read(c)) {
    bool is_head = strncmp(c->request, "HEAD ", 5) == 0;

    if (sscanf(c->request, "%*s %63s", path) != 1)
      break;
    connection_note(c, path);
    if (is_head ? !connection_answer(c, "200 OK", "X-Head: 1\r\n", "", 0)
                : !connection_route(c, path))
      break;
  }
  shutdown(c->fd, SHUT_RDWR); /* closed by server_stop(), after the join */
  return NULL;
}

/* ---- The server --------------------------------------------------------- */

static inline void* server_main(void* arg) {
  server_t* server = arg;
  int fd;

  while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
    connection_t* c = calloc(1, sizeof(*c));
    int small = 64 * 1024; /* so that little hides in the kernel */
    int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->server = server;
    c->fd = fd;
    pthread_mutex_lock(&server->mutex);
    c->next = server->connections;
    server->connections = c;
    pthread_create(&c->thread, NULL, connection_main, c);
    pthread_mutex_unlock(&server->mutex);
  }
  return NULL;
}

/* A listener on a free port of 127.0.0.1. */
static inline int server_listen(int backlog, int* port) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof(address);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (struct sockaddr*) &address, size) != 0 ||
      listen(fd, backlog) != 0 ||
      getsockname(fd, (struct sockaddr*) &address, &size) != 0) {
    perror("listen");
    abort();
  }
  *port = ntohs(address.sin_port);
  return fd;
}

static inline server_t* server_start(void) {
  server_t* server = calloc(1, sizeof(*server));

  server_fill_pattern();
  pthread_mutex_init(&server->mutex, NULL);
  pthread_cond_init(&server->changed, NULL);
  server->listener = server_listen(128, &server->port);
  if (pthread_create(&server->thread, NULL, server_main, server) != 0)
    abort();
  return server;
}

static inline void server_stop(server_t* server) {
  connection_t* c;
  connection_t* next;

  shutdown(server->listener, SHUT_RDWR); /* ends accept() */
  pthread_join(server->thread, NULL);
  close(server->listener);
  pthread_mutex_lock(&server->mutex);
  server->stopping = true;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->mutex);
  for (c = server->connections; c != NULL; c = next) {
    next = c->next;
    shutdown(c->fd, SHUT_RDWR);
    pthread_join(c->thread, NULL);
    close(c->fd);
    free(c);
  }
  pthread_cond_destroy(&server->changed);
  pthread_mutex_destroy(&server->mutex);
  free(server);
}

/* Lets every response go on that is held. */
static inline void server_release(server_t* server) {
  pthread_mutex_lock(&server->mutex);
  server->released++;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->mutex);
}

/* Waits until one of the server's counters has reached `value`; false when it
 * does not within `timeout_ms`. */
static inline bool server_wait(server_t* server, const unsigned* counter,
                               unsigned value, int timeout_ms) {
  struct timespec until;
  int err = 0;
  bool reached;

  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += timeout_ms / 1000;
  pthread_mutex_lock(&server->mutex);
  while (*counter < value && err == 0)
    err = pthread_cond_timedwait(&server->changed, &server->mutex, &until);
  reached = *counter >= value;
  pthread_mutex_unlock(&server->mutex);
  return reached;
}

static inline unsigned server_requests(server_t* server) {
  unsigned requests;

  pthread_mutex_lock(&server->mutex);
  requests = server->requests;
  pthread_mutex_unlock(&server->mutex);
  return requests;
}

static inline uint64_t server_sent(server_t* server) {
  uint64_t sent;

  pthread_mutex_lock(&server->mutex);
  sent = server->sent;
  pthread_mutex_unlock(&server->mutex);
  return sent;
}

#endif
