/* The server of the WebSocket rows: echoes every frame with its type.
 *
 *   server [CERTIFICATE KEY]
 *
 * Prints one line of JSON with its ports and serves until its standard input
 * ends. It is as fast as epoll allows, for a slow server would make all clients
 * alike: frames are turned round where they lie, payload by payload as it
 * comes, and nothing is checked that an echo does not need. While a client does
 * not take its echoes it is not read. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
  READ_SIZE = 256 << 10,
  /* Of a header that was split between two reads only the end lies in the
   * buffer, but the answer's header has to fit before its payload. */
  HEAD_ROOM = 32,
  HEADER_MAX = 14,
  REQUEST_MAX = 2048,
  MASK_SIZE = 4,
  BACKLOG = 4096,
  EVENTS = 64,
  OP_CLOSE = 0x8,
  OP_PING = 0x9,
  OP_PONG = 0xa
};

typedef struct peer {
  int fd;
  SSL* ssl;   /* NULL: plain */
  bool open;  /* the HTTP request was answered */
  bool ended; /* a close frame came: the connection ends once it went back */
  char* request;
  size_t request_size;

  /* The frame that is coming in. */
  unsigned char header[HEADER_MAX];
  size_t header_size;
  uint64_t left; /* bytes of its payload */
  unsigned char mask[MASK_SIZE];
  bool dropped; /* a pong */
  bool in_payload;

  /* What the socket did not take. */
  char* out;
  size_t out_size, out_sent;
} peer_t;

typedef struct listener {
  int fd;
  SSL_CTX* tls; /* NULL: plain */
} listener_t;

static int epoll_fd;
static char buffer[HEAD_ROOM + READ_SIZE];

static _Noreturn void die(const char* what) {
  perror(what);
  exit(1);
}

/* ---- Bytes --------------------------------------------------------------- */

/* Like read(): 0 at the end, -1 when there is nothing now. */
static ssize_t take(peer_t* peer, char* data, size_t size) {
  size_t done = 0;

  if (peer->ssl == NULL)
    return recv(peer->fd, data, size, 0);
  while (done < size) {
    int got = SSL_read(peer->ssl, data + done, (int) (size - done));

    if (got <= 0) {
      int why = SSL_get_error(peer->ssl, got);

      if (done > 0)
        break;
      errno = EAGAIN;
      return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -1 : 0;
    }
    done += (size_t) got;
  }
  return (ssize_t) done;
}

/* How much was taken, or -1 when the connection is broken. */
static ssize_t give(peer_t* peer, const char* data, size_t size) {
  ssize_t sent;

  if (peer->ssl != NULL) {
    int put = SSL_write(peer->ssl, data, (int) size);

    if (put > 0)
      return put;
    return SSL_get_error(peer->ssl, put) == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
  sent = send(peer->fd, data, size, MSG_NOSIGNAL);
  return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void watch(peer_t* peer, uint32_t what) {
  struct epoll_event event = { .events = what, .data.ptr = peer };

  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, peer->fd, &event);
}

static ssize_t give_all(peer_t* peer, const char* data, size_t size) {
  size_t done = 0;

  while (done < size) {
    ssize_t sent = give(peer, data + done, size - done);

    if (sent <= 0)
      return sent < 0 ? -1 : (ssize_t) done;
    done += (size_t) sent;
  }
  return (ssize_t) done;
}

/* Sends, and keeps what the socket does not take. */
static bool answer(peer_t* peer, const char* data, size_t size) {
  ssize_t sent = give_all(peer, data, size);

  if (sent < 0)
    return false;
  if ((size_t) sent == size)
    return true;
  peer->out_size = size - (size_t) sent;
  peer->out_sent = 0;
  peer->out = malloc(peer->out_size);
  if (peer->out == NULL)
    die("memory");
  memcpy(peer->out, data + sent, peer->out_size);
  watch(peer, EPOLLOUT);
  return true;
}

static bool flush(peer_t* peer) {
  ssize_t sent = give_all(peer, peer->out + peer->out_sent,
                          peer->out_size - peer->out_sent);

  if (sent < 0)
    return false;
  peer->out_sent += (size_t) sent;
  if (peer->out_sent == peer->out_size) {
    free(peer->out);
    peer->out = NULL;
    watch(peer, EPOLLIN);
  }
  return true;
}

/* ---- Frames -------------------------------------------------------------- */

/* Bytes of the header as far as is known: 2, then all. */
static size_t header_needed(const peer_t* peer) {
  unsigned length;

  if (peer->header_size < 2)
    return 2;
  length = peer->header[1] & 0x7f;
  return 2 + MASK_SIZE + (length == 127 ? 8 : length == 126 ? 2 : 0);
}

/* Writes the header of the answer, without a mask, and returns its size. */
static size_t begin_payload(peer_t* peer, char* to) {
  size_t size = peer->header_size - MASK_SIZE;
  unsigned length = peer->header[1] & 0x7f;
  unsigned opcode = peer->header[0] & 0xf;
  size_t i;

  memcpy(peer->mask, peer->header + size, MASK_SIZE);
  peer->left = size == 2 ? length : 0;
  for (i = 2; i < size; i++)
    peer->left = peer->left << 8 | peer->header[i];
  peer->header_size = 0;
  peer->in_payload = true;
  peer->dropped = opcode == OP_PONG;
  peer->ended = opcode == OP_CLOSE;
  if (peer->dropped)
    return 0;
  memcpy(to, peer->header, size);
  to[1] &= 0x7f;
  if (opcode == OP_PING)
    to[0] = (char) (0x80 | OP_PONG);
  return size;
}

/* Copies and unmasks; `to` lies before `from` in the same buffer. Each block is
 * read before it is written, so an overlap does no harm. */
static void unmask(char* to, const char* from, size_t size,
                   unsigned char mask[MASK_SIZE]) {
  typedef uint64_t block_t __attribute__((vector_size(32)));
  unsigned char turned[MASK_SIZE];
  uint32_t word;
  uint64_t twice;
  size_t i = 0;

  memcpy(&word, mask, MASK_SIZE);
  twice = (uint64_t) word << 32 | word;
  for (; i + sizeof(block_t) <= size; i += sizeof(block_t)) {
    block_t block;

    memcpy(&block, from + i, sizeof(block));
    block ^= (block_t){ twice, twice, twice, twice };
    memcpy(to + i, &block, sizeof(block));
  }
  for (; i < size; i++)
    to[i] = (char) (from[i] ^ mask[i % MASK_SIZE]);
  for (i = 0; i < MASK_SIZE; i++)
    turned[i] = mask[(i + size) % MASK_SIZE];
  memcpy(mask, turned, MASK_SIZE);
}

/* Turns what came into what goes back, and returns how much that is. */
static size_t turn(peer_t* peer, char* to, const char* from, size_t size) {
  char* begin = to;
  const char* end = from + size;

  while (!(peer->ended && !peer->in_payload)) {
    size_t piece = (size_t) (end - from);

    if (peer->in_payload) {
      if (piece > peer->left)
        piece = (size_t) peer->left;
      if (!peer->dropped) {
        unmask(to, from, piece, peer->mask);
        to += piece;
      }
      from += piece;
      peer->left -= piece;
      if (peer->left > 0)
        break;
      peer->in_payload = false;
      continue;
    }
    if (from == end)
      break;
    peer->header[peer->header_size++] = (unsigned char) *from++;
    if (peer->header_size > 2 && peer->header_size == header_needed(peer))
      to += begin_payload(peer, to);
  }
  return (size_t) (to - begin);
}

/* ---- The handshake ------------------------------------------------------- */

static bool accept_key(const char* request, char accept[32]) {
  static const char name[] = "Sec-WebSocket-Key: ";
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const char* key = strcasestr(request, name);
  unsigned char digest[SHA_DIGEST_LENGTH];
  char text[24 + sizeof(guid)];

  if (key == NULL || strlen(key) < sizeof(name) - 1 + 24)
    return false;
  memcpy(text, key + sizeof(name) - 1, 24);
  memcpy(text + 24, guid, sizeof(guid));
  SHA1((const unsigned char*) text, strlen(text), digest);
  EVP_EncodeBlock((unsigned char*) accept, digest, sizeof(digest));
  return true;
}

static bool open_peer(peer_t* peer) {
  char accept[32], text[256];
  int size;

  if (!accept_key(peer->request, accept))
    return false;
  free(peer->request);
  peer->request = NULL;
  peer->open = true;
  size = snprintf(text, sizeof(text),
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                  accept);
  return answer(peer, text, (size_t) size);
}

/* A client sends nothing behind its request before it is answered. */
static bool read_request(peer_t* peer) {
  ssize_t got = take(peer, peer->request + peer->request_size,
                     REQUEST_MAX - 1 - peer->request_size);

  if (got < 0)
    return errno == EAGAIN;
  if (got == 0)
    return false;
  peer->request_size += (size_t) got;
  peer->request[peer->request_size] = '\0';
  if (strstr(peer->request, "\r\n\r\n") == NULL)
    return peer->request_size < REQUEST_MAX - 1;
  return open_peer(peer);
}

/* ---- Connections --------------------------------------------------------- */

static void set_nonblocking(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void accept_peer(listener_t* listener) {
  int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  struct epoll_event event = { .events = EPOLLIN };
  peer_t* peer;
  int on = 1;

  if (fd < 0)
    return;
  peer = calloc(1, sizeof(*peer));
  if (peer == NULL)
    die("memory");
  peer->request = malloc(REQUEST_MAX);
  if (peer->request == NULL)
    die("memory");
  peer->fd = fd;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (listener->tls != NULL) {
    peer->ssl = SSL_new(listener->tls);
    SSL_set_fd(peer->ssl, fd);
    SSL_set_accept_state(peer->ssl);
  }
  event.data.ptr = peer;
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void close_peer(peer_t* peer) {
  if (peer->ssl != NULL) {
    SSL_shutdown(peer->ssl);
    SSL_free(peer->ssl);
  }
  close(peer->fd);
  free(peer->request);
  free(peer->out);
  free(peer);
}

/* False when the connection is over. */
static bool echo(peer_t* peer) {
  while (peer->out == NULL) {
    ssize_t got = take(peer, buffer + HEAD_ROOM, READ_SIZE);
    size_t size;

    if (got < 0)
      return errno == EAGAIN;
    if (got == 0)
      return false;
    size = turn(peer, buffer, buffer + HEAD_ROOM, (size_t) got);
    if (!answer(peer, buffer, size))
      return false;
    if (peer->ended && !peer->in_payload)
      return peer->out != NULL;
    /* A socket that has more is ready again; OpenSSL keeps it to itself. */
    if (got < READ_SIZE || peer->ssl == NULL)
      return true;
  }
  return true;
}

static bool serve(peer_t* peer) {
  if (peer->out != NULL) {
    if (!flush(peer))
      return false;
    if (peer->out != NULL)
      return true;
    if (peer->ended && !peer->in_payload)
      return false;
    if (peer->ssl == NULL)
      return true;
  }
  return peer->open ? echo(peer) : read_request(peer);
}

/* ---- Starting ------------------------------------------------------------ */

static int open_listener(listener_t* listener) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  struct epoll_event event = { .events = EPOLLIN, .data.ptr = listener };
  socklen_t size = sizeof(address);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (struct sockaddr*) &address, size) != 0 ||
      listen(fd, BACKLOG) != 0 ||
      getsockname(fd, (struct sockaddr*) &address, &size) != 0)
    die("listen");
  set_nonblocking(fd);
  listener->fd = fd;
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
  return ntohs(address.sin_port);
}

static SSL_CTX* open_tls(const char* certificate, const char* key) {
  SSL_CTX* tls = SSL_CTX_new(TLS_server_method());

  if (tls == NULL ||
      SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
    fprintf(stderr, "server: the certificate cannot be used\n");
    exit(1);
  }
  SSL_CTX_set_mode(
      tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return tls;
}

static void raise_limit(void) {
  struct rlimit limit;

  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static bool input_ended(void) {
  char ignored[64];

  return read(0, ignored, sizeof(ignored)) == 0;
}

static void run(listener_t* plain, listener_t* tls) {
  struct epoll_event events[EVENTS];

  for (;;) {
    int count = epoll_wait(epoll_fd, events, EVENTS, -1);
    int i;

    if (count < 0 && errno != EINTR)
      die("epoll_wait");
    for (i = 0; i < count; i++) {
      void* ptr = events[i].data.ptr;

      if (ptr == NULL) {
        if (input_ended())
          return;
      } else if (ptr == plain || ptr == tls) {
        accept_peer(ptr);
      } else if (!serve(ptr)) {
        close_peer(ptr);
      }
    }
  }
}

int main(int argc, char** argv) {
  listener_t plain = { 0 }, tls = { 0 };
  struct epoll_event input = { .events = EPOLLIN, .data.ptr = NULL };

  if (argc != 1 && argc != 3) {
    fprintf(stderr, "usage: server [CERTIFICATE KEY]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  raise_limit();
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input) != 0)
    die("standard input has to be a pipe");
  printf("{\"ws\":%d", open_listener(&plain));
  if (argc == 3) {
    tls.tls = open_tls(argv[1], argv[2]);
    printf(",\"wss\":%d", open_listener(&tls));
  }
  printf("}\n");
  fflush(stdout);
  run(&plain, &tls);
  return 0;
}
