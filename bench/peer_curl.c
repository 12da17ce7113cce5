/* GET the same URL over and over on libcurl and libuv alone, one thread: the
 * ceiling of what a library on libcurl can do, and what it costs before our own
 * work begins.
 *
 *   peer_curl URL IN_FLIGHT SECONDS [h2|least] [CA_FILE]
 *
 * With the options that no request of ours can do without. "least": without
 * them, with a URL and somewhere to put the body; and each handle does the same
 * for ever, so that nothing is set twice. Prints what core_get prints. */
#include <curl/curl.h>
#include <string.h>
#include <uv.h>

#include "measure.h"

enum {
  MAX_SOCKETS = 1024,
  BODY_SIZE = 1024
};

typedef struct watch {
  uv_poll_t poll;
  int events;
  int is_open;
} watch_t;

static CURLM* multi;
static uv_loop_t loop;
static uv_timer_t timer;
static int is_due;
static watch_t watches[MAX_SOCKETS];
static const char* url;
static const char* ca_file;
static int is_least;
static long http_version = CURL_HTTP_VERSION_1_1;
static struct curl_slist* header;
static uint64_t done;
static double started, start_cpu, seconds;

/* ---- The loop ------------------------------------------------------------ */

static void on_poll(uv_poll_t* poll, int status, int events) {
  watch_t* watch = (watch_t*) poll;
  int running, flags = 0;

  (void) status;
  if (events & UV_READABLE)
    flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE)
    flags |= CURL_CSELECT_OUT;
  if (watch->events == 0) /* libcurl rests: one poll a request less */
    uv_poll_stop(poll);
  else
    curl_multi_socket_action(multi, (int) (watch - watches), flags, &running);
}

static int on_socket(CURL* easy, curl_socket_t fd, int what, void* context,
                     void* socket) {
  watch_t* watch = &watches[fd];
  int before = watch->events;

  (void) easy;
  (void) context;
  (void) socket;
  if (fd >= MAX_SOCKETS)
    die("socket", "too many");
  if (!watch->is_open)
    uv_poll_init_socket(&loop, &watch->poll, fd);
  watch->is_open = 1;
  watch->events = 0;
  if (what == CURL_POLL_REMOVE)
    return 0;
  watch->events = (what & CURL_POLL_IN ? UV_READABLE : 0) |
                  (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  if (watch->events != before || !uv_is_active((uv_handle_t*) &watch->poll))
    uv_poll_start(&watch->poll, watch->events, on_poll);
  return 0;
}

static void on_due(uv_timer_t* handle) {
  (void) handle;
  is_due = 1;
}

static int on_timer(CURLM* handle, long ms, void* context) {
  (void) handle;
  (void) context;
  is_due = ms == 0;
  if (ms > 0)
    uv_timer_start(&timer, on_due, (uint64_t) ms, 0);
  else
    uv_timer_stop(&timer);
  return 0;
}

/* ---- Requests ------------------------------------------------------------ */

static size_t on_data(char* data, size_t size, size_t count, void* context) {
  (void) data;
  *(size_t*) context += size * count;
  return size * count;
}

static size_t on_header(char* data, size_t size, size_t count, void* context) {
  (void) data;
  (void) context;
  return size * count;
}

static void set_up(CURL* easy, size_t* received) {
  curl_easy_setopt(easy, CURLOPT_URL, url);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, http_version);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, received);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, received);
  if (is_least)
    return;
  curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, header);
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "bench");
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  if (ca_file != NULL)
    curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
}

static void start_again(const CURLMsg* message) {
  CURL* easy = message->easy_handle;
  size_t* received;
  long status = 0;

  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char**) &received);
  if (message->data.result != CURLE_OK)
    die("request", curl_easy_strerror(message->data.result));
  if (status != 200 || *received != BODY_SIZE)
    die("request", "unexpected answer");
  curl_multi_remove_handle(multi, easy);
  *received = 0;
  if (!is_least) {
    curl_easy_reset(easy);
    set_up(easy, received);
  }
  curl_multi_add_handle(multi, easy);
  done++;
}

/* Before each poll: nothing is begun inside of libcurl's callbacks. */
static void on_turn(uv_prepare_t* handle) {
  CURLMsg* message;
  int running, left;

  (void) handle;
  if (is_due) {
    is_due = 0;
    curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
  }
  while ((message = curl_multi_info_read(multi, &left)) != NULL)
    start_again(message);
  if (is_due)
    uv_timer_start(&timer, on_due, 0, 0);
}

/* ---- Measuring ----------------------------------------------------------- */

static void on_end(uv_timer_t* handle) {
  (void) handle;
  report(done, now_seconds() - started, cpu_seconds() - start_cpu);
  fflush(stdout);
  _Exit(0);
}

static void on_warm(uv_timer_t* handle) {
  done = 0;
  started = now_seconds();
  start_cpu = cpu_seconds();
  uv_timer_start(handle, on_end, (uint64_t) (seconds * 1000), 0);
}

static void open_loop(void) {
  static uv_prepare_t turn;
  static uv_timer_t clock;

  uv_loop_init(&loop);
  uv_timer_init(&loop, &timer);
  uv_prepare_init(&loop, &turn);
  uv_prepare_start(&turn, on_turn);
  uv_timer_init(&loop, &clock);
  uv_timer_start(&clock, on_warm, (uint64_t) (WARM_UP_SECONDS * 1000), 0);
}

static void open_multi(void) {
  curl_global_init(CURL_GLOBAL_ALL);
  header = curl_slist_append(NULL, "content-type: application/json");
  multi = curl_multi_init();
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 256L);
}

int main(int argc, char** argv) {
  static size_t received[MAX_SOCKETS];
  int in_flight, i;

  if (argc < 4)
    die("usage", "peer_curl URL IN_FLIGHT SECONDS [h2|least] [CA_FILE]");
  url = argv[1];
  in_flight = atoi(argv[2]);
  seconds = atof(argv[3]);
  if (argc > 4 && strcmp(argv[4], "h2") == 0)
    http_version = CURL_HTTP_VERSION_2TLS;
  is_least = argc > 4 && strcmp(argv[4], "least") == 0;
  ca_file = argc > 5 ? argv[5] : NULL;
  open_loop();
  open_multi();
  for (i = 0; i < in_flight && i < MAX_SOCKETS; i++) {
    CURL* easy = curl_easy_init();

    set_up(easy, &received[i]);
    curl_multi_add_handle(multi, easy);
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  return 1;
}
