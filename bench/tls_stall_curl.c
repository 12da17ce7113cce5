/* The same as tls_stall, by libcurl as it comes: one multi on a libuv loop,
 * trusted certificates set by CURLOPT_CAINFO, HTTP/1.1, all else at its
 * default.
 *
 *   tls_stall_curl URL CA_FILE SECONDS
 *
 * The loop never sleeps, so the time between two of its turns is how long it
 * was held up: the smallest figure that this program could show. */
#include <curl/curl.h>
#include <uv.h>

#include "measure.h"

enum {
  MAX_SAMPLES = 10000,
  TIMEOUT_SECONDS = 10
};

static uv_loop_t loop;
static uv_timer_t timer;
static CURLM* multi;
static int running;

static void on_poll(uv_poll_t* poll, int status, int events) {
  int flags = status < 0 ? CURL_CSELECT_ERR : 0;
  uv_os_fd_t fd;

  uv_fileno((uv_handle_t*) poll, &fd);
  if (events & UV_READABLE)
    flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE)
    flags |= CURL_CSELECT_OUT;
  curl_multi_socket_action(multi, fd, flags, &running);
}

static void on_closed(uv_handle_t* handle) {
  free(handle);
}

static int on_socket(CURL* curl, curl_socket_t fd, int what, void* arg,
                     void* known) {
  uv_poll_t* poll = known;
  int events = 0;

  (void) curl;
  (void) arg;
  if (what == CURL_POLL_REMOVE) {
    uv_close((uv_handle_t*) poll, on_closed);
    curl_multi_assign(multi, fd, NULL);
    return 0;
  }
  if (poll == NULL) {
    poll = malloc(sizeof(*poll));
    if (poll == NULL || uv_poll_init_socket(&loop, poll, fd) != 0)
      die("poll", "failed");
    curl_multi_assign(multi, fd, poll);
  }
  if (what & CURL_POLL_IN)
    events |= UV_READABLE;
  if (what & CURL_POLL_OUT)
    events |= UV_WRITABLE;
  return uv_poll_start(poll, events, on_poll);
}

static void on_timeout(uv_timer_t* handle) {
  (void) handle;
  curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static int on_timer(CURLM* handle, long timeout_ms, void* arg) {
  (void) handle;
  (void) arg;
  if (timeout_ms < 0)
    return uv_timer_stop(&timer);
  /* Not 0: set from its own callback that would starve the loop. */
  return uv_timer_start(&timer, on_timeout,
                        timeout_ms > 0 ? (uint64_t) timeout_ms : 1, 0);
}

static size_t on_body(char* data, size_t one, size_t size, void* arg) {
  (void) data;
  (void) arg;
  return one * size;
}

static CURL* new_easy(char** argv) {
  CURL* easy = curl_easy_init();

  curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
  curl_easy_setopt(easy, CURLOPT_CAINFO, argv[2]);
  /* As the core asks for: HTTP/2 connections would stay and be used again. */
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
  return easy;
}

/* True when the transfer has ended. */
static int is_done(void) {
  int left;
  CURLMsg* message = curl_multi_info_read(multi, &left);

  if (message == NULL)
    return 0;
  if (message->data.result != CURLE_OK)
    die("transfer", curl_easy_strerror(message->data.result));
  return 1;
}

/* The longest turn of the loop while one transfer connects and ends. */
static double connect_once(char** argv) {
  CURL* easy = new_easy(argv);
  double last = now_seconds();
  double end = last + TIMEOUT_SECONDS;
  double worst = 0;

  curl_multi_add_handle(multi, easy);
  do {
    double now;

    uv_run(&loop, UV_RUN_NOWAIT);
    now = now_seconds();
    if (now - last > worst)
      worst = now - last;
    last = now;
    if (now > end)
      die("transfer", "no end");
  } while (!is_done());
  curl_multi_remove_handle(multi, easy);
  curl_easy_cleanup(easy);
  return worst;
}

int main(int argc, char** argv) {
  static double samples[MAX_SAMPLES];
  size_t count = 0;
  double first, end;

  if (argc != 4)
    die("usage", "tls_stall_curl URL CA_FILE SECONDS");
  curl_global_init(CURL_GLOBAL_DEFAULT);
  uv_loop_init(&loop);
  uv_timer_init(&loop, &timer);
  multi = curl_multi_init();
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
  first = connect_once(argv);
  end = now_seconds() + atof(argv[3]);
  while (count < MAX_SAMPLES && now_seconds() < end)
    samples[count++] = connect_once(argv);
  printf("{\"first_ms\":%.4f,\"median_ms\":%.4f,\"p90_ms\":%.4f,", first * 1e3,
         quantile(samples, count, 0.5) * 1e3,
         quantile(samples, count, 0.9) * 1e3);
  printf("\"max_ms\":%.4f,\"connections\":%zu}\n",
         quantile(samples, count, 1) * 1e3, count);
  return 0; /* the process ends here: nothing is worth tearing down */
}
