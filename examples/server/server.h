/* The demo server's private types.
 *
 * One process, one libuv loop, one thread. libwebsockets serves HTTP and
 * WebSocket on that loop (web.c, door.c; exchange.c, request.c, routes.c,
 * files.c, upload.c; ws.c, ws_routes.c); libuv alone serves TCP and UDP
 * (echo.c), and tells the link that the server is there (announce.c). main.c
 * owns the loop and the order of starting and stopping. Everything binds to
 * 127.0.0.1 unless another address is given. */

#ifndef DEMO_SERVER_H
#define DEMO_SERVER_H

#include <jansson.h>
#include <libwebsockets.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define MAX_FIELDS 8
#define MAX_PATH_BYTES 1024
#define MAX_BODY_BYTES ((size_t) 64 << 20)

/* ---- Answers (exchange.c) ---------------------------------------------- */

enum reply_framing {
  REPLY_SIZED,
  REPLY_CHUNKED
};

/* What a route answers. Zeroed, it is an empty 200. */
typedef struct reply {
  int status;               /* 0 means 200 */
  const char* type;         /* content-type, static; NULL sends none */
  char* fields[MAX_FIELDS]; /* "Name: value", owned */
  size_t field_count;
  const void* fixed; /* a static body, or */
  char* owned;       /* a malloc'd one; with neither, the pattern */
  uint64_t length;   /* bytes of the body */
  uint64_t offset;   /* in the pattern, of its first byte */
  uint64_t step;     /* bytes a piece; 0: as they fit */
  uint32_t delay_ms; /* before the head */
  uint32_t every_ms; /* between pieces */
  enum reply_framing framing;
} reply_t;

enum exchange_state {
  EXCHANGE_IDLE,
  EXCHANGE_READING, /* the request's body is coming in */
  EXCHANGE_DELAY,   /* the reply's delay runs */
  EXCHANGE_HEAD,    /* the head goes out at the next chance */
  EXCHANGE_BODY,
  EXCHANGE_PAUSE /* the reply's pace runs */
};

typedef struct route route_t;
typedef struct upload upload_t;

/* One request and its answer. Lives in the connection's user space and is
 * reset between the requests of a kept-alive connection. */
typedef struct exchange {
  struct lws* wsi;
  enum exchange_state state;
  const route_t* route;
  const char* method; /* static */
  char path[MAX_PATH_BYTES];
  json_t* document; /* /echo: what is known before the body */
  upload_t* upload; /* /upload: takes the body, of any size */
  char* body;       /* only if the route wants it */
  size_t body_size, body_capacity;
  int too_large; /* the body; it is dropped */
  int hang_up;   /* after the answer */
  reply_t reply;
  uint64_t sent;
} exchange_t;

void exchange_reset(exchange_t* ex);

/* The three below return 0, or -1 when the connection must close. */
int exchange_begin(exchange_t* ex, struct lws* wsi, const char* path);
int exchange_body(exchange_t* ex, const void* data, size_t size);
int exchange_body_end(exchange_t* ex);
int exchange_writable(exchange_t* ex);
void exchange_timer(exchange_t* ex);

void reply_text(reply_t* reply, int status, const char* text);
void reply_json(reply_t* reply, int status, json_t* document); /* takes it */
void reply_error(reply_t* reply, int status, const char* message);
/* Adds "Name: value"; a value with control characters is refused: -1. */
int reply_field(reply_t* reply, const char* name, const char* value);

/* ---- Requests (request.c); all need the header table, so: in begin() ---- */

const char* request_method(struct lws* wsi);
/* Decoded value of a query argument, or NULL when there is none or it does not
 * fit. */
const char* request_arg(struct lws* wsi, const char* name, char* out,
                        size_t size);
uint64_t request_number(struct lws* wsi, const char* name, uint64_t fallback);
/* The query, percent-encoded anew; malloc'd. */
char* request_query(struct lws* wsi);
json_t* request_args(struct lws* wsi);
json_t* request_headers(struct lws* wsi);
json_t* request_cookies(struct lws* wsi);
/* A JSON string; bytes that are not UTF-8 are read as Latin-1. */
json_t* json_bytes(const char* bytes, size_t size);

/* ---- Routes (routes.c) ------------------------------------------------- */

struct route {
  const char* path; /* "/bytes/" takes what follows as its number */
  const char* help;
  void (*begin)(exchange_t* ex, uint64_t number); /* headers are there */
  void (*finish)(exchange_t* ex); /* the body too; NULL: it is dropped */
};

const route_t* route_find(const char* path, uint64_t* number);

/* ---- Files (files.c, upload.c) ----------------------------------------- */

void begin_file(exchange_t* ex, uint64_t size);

void begin_upload(exchange_t* ex, uint64_t number);
void finish_upload(exchange_t* ex);
void upload_read(upload_t* upload, const char* data, size_t size);
void upload_free(upload_t* upload); /* NULL is ignored */

/* ---- WebSocket (ws.c, ws_routes.c) ------------------------------------- */

typedef struct ws_route ws_route_t;
typedef struct ws_piece ws_piece_t;

/* One connection. Lives in its user space, like an exchange. */
typedef struct ws {
  struct lws* wsi;
  const ws_route_t* route;  /* NULL: this is no WebSocket */
  ws_piece_t *first, *last; /* what is to be sent */
  size_t queued;            /* bytes of that */
  int held;                 /* not read until the queue is short again */
  int echoing;              /* a message that has not all come yet */
  int closing;              /* a close frame was sent, or is queued */
  char* message;            /* gathered for route->message */
  size_t message_room;
  size_t message_size;    /* there is a NUL behind it */
  uint64_t n, size, done; /* the route's own */
  int binary;
} ws_t;

/* What a path does. All but the path may be missing; those that return an int
 * return -1 when the connection must close. */
struct ws_route {
  const char* path;
  const char* help;
  int (*refuse)(struct lws* wsi);       /* the handshake, with that status */
  int (*open)(ws_t* ws);                /* the request can still be read */
  int (*message)(ws_t* ws, int binary); /* NULL echoes */
  int (*fill)(ws_t* ws);                /* all has been sent */
  int (*tick)(ws_t* ws);
  void (*pong)(ws_t* ws);
};

const ws_route_t* ws_route_at(size_t index); /* NULL behind the last */
const ws_route_t* ws_route_find(struct lws* wsi);

/* What web.c hands on; each returns 0, or -1 when the connection must close. */
int ws_confirm(struct lws* wsi); /* 1: refused, and answered */
int ws_open(ws_t* ws);
int ws_receive(ws_t* ws, const void* data, size_t size);
int ws_writable(ws_t* ws);
void ws_free(ws_t* ws);

/* Queues a frame of one message; copies. */
int ws_send(ws_t* ws, const void* data, size_t size,
            enum lws_write_protocol flags);
int ws_send_text(ws_t* ws, const char* text);

/* ---- Servers ----------------------------------------------------------- */

/* door.c. Where connections wait for their first bytes. */
typedef struct door {
  uv_loop_t* loop;
  struct lws_vhost* vhost; /* set by web_start() */
  struct guest* guests;
} door_t;

/* Takes the descriptor; on -1 it is still the caller's. */
int door_enter(door_t* door, int fd);
/* Turns away those that wait, at the loop's next runs. */
void door_close(door_t* door);

/* web.c. Stopping takes two steps with a run of the loop between them. */
struct lws_context* web_start(door_t* door, const char* address, int port,
                              int* bound);

/* echo.c. 0 or a libuv error; the ports that the system gave. */
typedef struct echo_servers {
  uv_tcp_t tcp;
  uv_udp_t udp;
  int tcp_port, udp_port;
} echo_servers_t;

int echo_start(echo_servers_t* echo, uv_loop_t* loop, const char* address);
/* Closes the two and every connection, at the loop's next run. */
void echo_stop(uv_loop_t* loop);

/* announce.c. The server as a local service, over multicast DNS. */
typedef struct announcement {
  const char* address; /* IPv4; its interface is where it is announced */
  int http_port, tcp_port, udp_port;
} announcement_t;

typedef struct announcer announcer_t;

/* NULL when it cannot be, which standard error is told. */
announcer_t* announce_start(uv_loop_t* loop, const announcement_t* what);
/* Of the service; "" for NULL. */
const char* announce_name(const announcer_t* self);
/* Says goodbye; frees at the loop's next run. NULL is ignored. */
void announce_stop(announcer_t* self);

#endif
