/* demo-server: what the examples, the specs and the benchmark talk to.
 *
 *   demo-server [--address IPV4] [--port N] [--no-announce] [--until-eof]
 *
 * Starts HTTP, WebSocket, TCP and UDP on free ports of 127.0.0.1 (or that
 * address), announces itself there as a local service, prints one line of JSON
 * that names them, and serves until SIGTERM, SIGINT or, with
 * --until-eof, the end of its standard input: a parent that holds the other
 * end of that pipe takes the server with it, however the parent dies. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

typedef struct server {
  uv_loop_t loop;
  uv_signal_t on_term, on_int;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tty_t tty;
  } input;
  int watches_input;
  echo_servers_t echo;
  door_t door;
  struct lws_context* web;
  announcer_t* announcer;
  int http_port;
} server_t;

typedef struct options {
  const char* address;
  int port;
  int no_announce;
  int until_eof;
} options_t;

static void stop(server_t* server) {
  uv_stop(&server->loop);
}

static void on_signal(uv_signal_t* handle, int number) {
  (void) number;
  stop(handle->data);
}

static void on_input_alloc(uv_handle_t* handle, size_t suggested,
                           uv_buf_t* buf) {
  static char ignored[256];

  (void) handle;
  (void) suggested;
  *buf = uv_buf_init(ignored, sizeof(ignored));
}

static void on_input(uv_stream_t* stream, ssize_t size, const uv_buf_t* buf) {
  (void) buf;
  if (size < 0)
    stop(stream->data);
}

static int open_input(server_t* server) {
  switch (uv_guess_handle(0)) {
    case UV_NAMED_PIPE:
      uv_pipe_init(&server->loop, &server->input.pipe, 0);
      server->watches_input = 1;
      return uv_pipe_open(&server->input.pipe, 0);
    case UV_TTY:
      server->watches_input = 1;
      return uv_tty_init(&server->loop, &server->input.tty, 0, 0);
    default:
      return UV_ENOTSUP;
  }
}

static int watch_input(server_t* server) {
  int err = open_input(server);

  if (err)
    return err;
  server->input.handle.data = server;
  return uv_read_start(&server->input.stream, on_input_alloc, on_input);
}

static void watch_signal(server_t* server, uv_signal_t* handle, int number) {
  uv_signal_init(&server->loop, handle);
  handle->data = server;
  uv_signal_start(handle, on_signal, number);
}

static int start(server_t* server, const options_t* options) {
  int err = echo_start(&server->echo, &server->loop, options->address);

  if (err) {
    fprintf(stderr, "demo-server: %s\n", uv_strerror(err));
    return -1;
  }
  server->door.loop = &server->loop;
  server->web = web_start(&server->door, options->address, options->port,
                          &server->http_port);
  if (server->web == NULL) {
    fprintf(stderr,
            "demo-server: HTTP does not start (port %d in use, or "
            "the libuv plugin of libwebsockets missing)\n",
            options->port);
    return -1;
  }
  if (options->until_eof && watch_input(server) != 0) {
    fprintf(stderr, "demo-server: --until-eof needs a pipe as its input\n");
    return -1;
  }
  return 0;
}

static announcer_t* start_announcer(server_t* server,
                                    const options_t* options) {
  announcement_t what = { options->address, server->http_port,
                          server->echo.tcp_port, server->echo.udp_port };

  return options->no_announce ? NULL : announce_start(&server->loop, &what);
}

static void print_ready(const server_t* server, const char* address) {
  printf(
      "{\"http\":\"http://%s:%d\",\"ws\":\"ws://%s:%d\","
      "\"tcp\":%d,\"udp\":%d,\"service\":\"%s\",\"pid\":%d}\n",
      address, server->http_port, address, server->http_port,
      server->echo.tcp_port, server->echo.udp_port,
      announce_name(server->announcer), (int) uv_os_getpid());
  fflush(stdout);
}

/* libwebsockets closes its handles in the loop's next runs and frees the rest
 * when it is destroyed for the second time. */
static void finish(server_t* server) {
  uv_close((uv_handle_t*) &server->on_term, NULL);
  uv_close((uv_handle_t*) &server->on_int, NULL);
  if (server->watches_input)
    uv_close(&server->input.handle, NULL);
  announce_stop(server->announcer);
  echo_stop(&server->loop);
  door_close(&server->door);
  if (server->web != NULL) {
    lws_context_destroy(server->web);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    lws_context_destroy(server->web);
  }
  uv_run(&server->loop, UV_RUN_DEFAULT);
}

static int parse_port(const char* text, int* port) {
  char* end;
  long number;

  errno = 0;
  number = strtol(text, &end, 10);
  if (errno || end == text || *end != '\0' || number < 0 || number > 65535)
    return -1;
  *port = (int) number;
  return 0;
}

static int parse_options(options_t* options, int argc, char** argv) {
  int i;

  for (i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--until-eof") == 0)
      options->until_eof = 1;
    else if (strcmp(argv[i], "--no-announce") == 0)
      options->no_announce = 1;
    else if (strcmp(argv[i], "--address") == 0 && i + 1 < argc)
      options->address = argv[++i];
    else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc &&
             parse_port(argv[i + 1], &options->port) == 0)
      i++;
    else
      return -1;
  }
  return 0;
}

int main(int argc, char** argv) {
  static server_t server;
  options_t options = { "127.0.0.1", 0, 0, 0 };
  int ok;

  if (parse_options(&options, argc, argv) < 0) {
    fprintf(stderr,
            "usage: demo-server [--address IPV4] [--port N] "
            "[--no-announce] [--until-eof]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  uv_loop_init(&server.loop);
  watch_signal(&server, &server.on_term, SIGTERM);
  watch_signal(&server, &server.on_int, SIGINT);

  ok = start(&server, &options) == 0;
  if (ok) {
    server.announcer = start_announcer(&server, &options);
    print_ready(&server, options.address);
    uv_run(&server.loop, UV_RUN_DEFAULT);
  }
  finish(&server);
  if (uv_loop_close(&server.loop) != 0) {
    fprintf(stderr, "demo-server: handles were left open\n");
    return 1;
  }
  return ok ? 0 : 1;
}
