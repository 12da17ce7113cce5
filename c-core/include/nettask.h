/* nettask: network tasks for programs that own a frame loop.
 *
 * One context is one background thread. The host starts tasks, and once a
 * frame takes what happened to them out of nt_poll(), the only way events
 * leave the library: it never runs host code.
 *
 *   nt_context_t* net;
 *   nt_event_t ev;
 *   nt_id_t id;
 *   nt_request_options_t options;
 *
 *   nt_open(&net);
 *   nt_request_options_init(&options);
 *   options.url = "https://example.com/";
 *   nt_request_open(net, &id);
 *   nt_request_start(net, id, &options);
 *   for (;;) {                                  // each frame
 *     while (nt_poll(net, &ev))
 *       if (ev.type == NT_EV_END) printf("%d\n", ev.status);
 *     draw();
 *   }
 *   nt_close(net, 500);
 *
 * Unless a comment says otherwise:
 *  - call from the host thread, the one that opened the context;
 *  - pointers passed in are copied before the call returns;
 *  - pointers inside an event stay valid until the next nt_poll() or
 *    nt_close();
 *  - sizes are bytes, times are milliseconds, zero in a limit or a time-out
 *    means that there is none;
 *  - functions return 0 or a negative NT_E_* code, and never block;
 *  - after fork() the contexts of the child are dead: calls return
 *    NT_E_FORKED, and nothing is joined or freed. */
#ifndef NETTASK_H
#define NETTASK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(NT_SHARED)
#  ifdef NT_BUILDING
#    define NT_API __declspec(dllexport)
#  else
#    define NT_API __declspec(dllimport)
#  endif
#elif defined(__GNUC__)
#  define NT_API __attribute__((visibility("default")))
#else
#  define NT_API
#endif

#define NT_VERSION "0.1.0"

typedef struct nt_context nt_context_t;

/* Names one task. Never used twice in a process, below 2^53, never 0: an id
 * whose task has ended is harmless everywhere. */
typedef uint64_t nt_id_t;

/* ---- Errors ------------------------------------------------------------ */

/* XX(name, value, text). The names and numbers are API. */
#define NT_ERROR_MAP(XX)                                                       \
  XX(NOMEM, -1, "out of memory")                                               \
  XX(SYSTEM, -2, "the operating system refused a resource")                    \
  XX(INVALID, -3, "invalid argument")                                          \
  XX(STATE, -4, "the task is not in a state for this call")                    \
  XX(CLOSED, -5, "no such task: it has ended, or the context is closed")       \
  XX(FORKED, -6, "the context belongs to the parent process")                  \
  XX(FULL, -7, "too many tasks")                                               \
  XX(ABORTED, -8, "aborted")                                                   \
  XX(TIMEOUT, -9, "timed out")                                                 \
  XX(LIMIT, -10, "the policy allows no more sockets at once")                  \
  XX(QUEUE_FULL, -11, "send queue is full")                                    \
  XX(NOT_OPEN, -12, "the socket is not open")                                  \
  XX(TOO_BIG, -13, "the datagram is too big")                                  \
  XX(URL, -20, "invalid URL")                                                  \
  XX(URL_TOO_LONG, -21, "URL longer than the policy allows")                   \
  XX(SCHEME, -22, "URL scheme is not allowed")                                 \
  XX(PORT, -23, "port is not allowed")                                         \
  XX(METHOD, -24, "invalid method")                                            \
  XX(HEADER, -25, "invalid header")                                            \
  XX(REDIRECTS, -26, "too many redirects")                                     \
  XX(BODY_SIZE, -27, "response body larger than its cap")                      \
  XX(HEADER_SIZE, -28, "response headers larger than their cap")               \
  XX(DOMAIN, -30, "the host is on no list of what is allowed")                 \
  XX(PRIVATE, -31, "private addresses are refused")                            \
  XX(SECRET, -32, "the secret is not for this host")                           \
  XX(QUOTA, -33, "the policy allows no more bytes for now")                    \
  XX(OWN_PROXY, -34, "only the host chooses the proxy")                        \
  XX(INTERRUPTED, -35, "interrupted: in the background")                       \
  XX(CROSS_ORIGIN, -36, "cross origin request is not allowed")                 \
  XX(CORS, -37, "response is not allowed by Access-Control-Allow-Origin")      \
  XX(RESOLVE, -40, "host name could not be resolved")                          \
  XX(REFUSED, -41, "connection refused")                                       \
  XX(RESET, -42, "connection reset")                                           \
  XX(DROPPED, -43, "connection closed")                                        \
  XX(CONNECT, -44, "connection failed")                                        \
  XX(CONNECT_TIMEOUT, -45, "connection timed out")                             \
  XX(UNREACHABLE, -46, "address unreachable")                                  \
  XX(ADDRESS, -47, "address invalid")                                          \
  XX(OFFLINE, -48, "no network")                                               \
  XX(PROXY, -49, "proxy connection failed")                                    \
  XX(IN_USE, -50, "the port is in use")                                        \
  XX(ACCESS, -51, "the operating system does not permit it")                   \
  XX(INTERFACE, -52, "the network interface is not available")                 \
  XX(TLS, -60, "TLS protocol error")                                           \
  XX(CERT_NAME, -61, "certificate is for another host")                        \
  XX(CERT_DATE, -62, "certificate has expired or is not valid yet")            \
  XX(CERT_AUTHORITY, -63, "certificate authority is not trusted")              \
  XX(TRUST, -64, "trusted certificates could not be read")                     \
  XX(PIN, -65, "the key of the server is none of those that are pinned")       \
  XX(EMPTY_RESPONSE, -80, "server closed without an answer")                   \
  XX(HTTP, -81, "answer is not HTTP")                                          \
  XX(HTTP2, -82, "HTTP/2 protocol error")                                      \
  XX(DECODING, -83, "content could not be decoded")                            \
  XX(LENGTH_MISMATCH, -84, "body shorter than its Content-Length")             \
  XX(CHUNKED, -85, "chunked body is incomplete")                               \
  XX(HANDSHAKE, -86, "WebSocket handshake failed")                             \
  XX(WS_STATUS, -87, "WebSocket handshake was refused")                        \
  XX(WS_PROTOCOL, -88, "WebSocket protocol error")                             \
  XX(WS_TEXT, -89, "WebSocket text is not UTF-8")                              \
  XX(WS_SIZE, -90, "WebSocket message larger than its cap")                    \
  XX(STATUS, -91, "the server answered with an error")                         \
  XX(CACHE_MISS, -92, "there is no stored answer")                             \
  XX(NETWORK, -99, "network error")                                            \
  XX(NO_FILE, -100, "file not found")                                          \
  XX(NO_FOLDER, -101, "the folder of the file does not exist")                 \
  XX(NOT_A_FILE, -102, "the path names a folder, a pipe, a link or a device")  \
  XX(OUTSIDE, -103, "the path is outside of the allowed folders")              \
  XX(PERMISSION, -104, "no permission for the file")                           \
  XX(DISK_FULL, -105, "no space left for the file")                            \
  XX(BUSY, -106, "another download writes to this file")                       \
  XX(FILE_SIZE, -107, "file larger than its cap")                              \
  XX(DIGEST, -108, "the file does not have the expected digest")               \
  XX(FILE_CHANGED, -109, "the file changed while it was sent")                 \
  XX(FILE, -110, "reading or writing the file failed")                         \
  XX(VALUE_SIZE, -111, "value larger than the store")                          \
  XX(NOT_A_STORE, -112, "the file holds something else than a store")          \
  XX(TEMP_SIZE, -113, "temporary files larger than their cap")

typedef enum nt_error {
  NT_OK = 0,
#define XX(name, value, text) NT_E_##name = (value),
  NT_ERROR_MAP(XX)
#undef XX
} nt_error_t;

/* "TIMEOUT" for NT_E_TIMEOUT, "OK" for 0, "UNKNOWN" otherwise. Any thread. */
NT_API const char* nt_error_name(int error);
/* One line of English for people. Any thread. */
NT_API const char* nt_error_message(int error);
/* 1 for what the policy refused, 0 otherwise. Any thread. */
NT_API int nt_error_is_refusal(int error);

/* ---- The library ------------------------------------------------------- */

typedef struct nt_features {
  const char* nettask; /* versions; static strings */
  const char* libuv;
  const char* libcurl;
  const char* tls;                     /* "OpenSSL/3.0.17", "" without TLS */
  int http2, http3, brotli, zstd, idn; /* 1 or 0 */
} nt_features_t;

/* Any thread. */
NT_API void nt_features(nt_features_t* features);

/* Replaces malloc, realloc and free for the library's own memory and that of
 * libcurl. Before the first nt_open() or nt_policy_copy() of the process, else
 * NT_E_STATE. The
 * functions are called on every thread. */
NT_API int nt_set_allocator(void* (*malloc_fn)(size_t),
                            void* (*realloc_fn)(void*, size_t),
                            void (*free_fn)(void*));

/* Fills `out` with bytes that nobody can guess. NT_E_SYSTEM. Any thread. */
NT_API int nt_random(void* out, size_t size);

/* ---- Policy ------------------------------------------------------------ */

typedef enum nt_preset {
  NT_PRESET_MINIPROGRAM, /* the limits of the mini-program platforms */
  NT_PRESET_OPEN,        /* without them; TLS is verified all the same */
  NT_PRESET_STRICT       /* MINIPROGRAM, and all that is not allowed expressly
                          * is refused: hosts, private addresses, files,
                          * connections without TLS, proxies of a task's own */
} nt_preset_t;

enum {
  NT_POLICY_REQUIRE_SECURE = 1 << 0,  /* of URLs only https and wss */
  NT_POLICY_NO_URL_PORT = 1 << 1,     /* no explicit port in a URL */
  NT_POLICY_REFUSE_PRIVATE = 1 << 2,  /* addresses that are not of the public
                                       * internet, but for `allow_private` */
  NT_POLICY_REQUIRE_DOMAINS = 1 << 3, /* what has no list of hosts may reach
                                       * none */
  NT_POLICY_REFUSE_PROXY = 1 << 4 /* tasks may bring no proxy of their own */
};

/* What a task reaches a host for. */
typedef enum nt_access {
  NT_ACCESS_REQUEST,
  NT_ACCESS_DOWNLOAD,
  NT_ACCESS_UPLOAD,
  NT_ACCESS_SOCKET, /* WebSocket */
  NT_ACCESS_TCP,
  NT_ACCESS_UDP,
  NT_ACCESS_COUNT
} nt_access_t;

/* `items` NULL: there is no list. One that is there may be empty. */
typedef struct nt_list {
  const char* const* items;
  size_t count;
} nt_list_t;

typedef struct nt_port_range {
  uint16_t first, last;
} nt_port_range_t;

/* Keys of a host, whatever connects to it with TLS; not those of a proxy. */
typedef struct nt_pin {
  const char* host; /* "api.example.com", or "*.example.com" for those below */
  nt_list_t keys;   /* "sha256/<base64>" of a SubjectPublicKeyInfo: one of them
                     * is to be in the server's certificate */
} nt_pin_t;

/* Something that tasks may send and not know. The value takes the place of the
 * placeholder when a request, or the handshake of a WebSocket, goes out;
 * NT_E_SECRET when it may not go there, when the task has a proxy of its own
 * and no TLS, or when the method is TRACE. A redirect to another origin drops
 * the header. */
typedef struct nt_secret {
  const char* name;        /* for messages */
  const char* placeholder; /* text that stands for it in the values of
                            * headers */
  const char* value;
  nt_list_t hosts; /* who may get it, as `domains`; a host without a scheme
                    * only over TLS */
} nt_secret_t;

/* What tasks may do and use. Enforced on the first URL, on every redirect, and
 * on the address that is connected to.
 *
 * `domains`: for each kind of access the hosts that it may reach, no list: all.
 * An entry is "host", "host:port", "scheme://host", "scheme://host:port", where
 * the host is a name, "*.name" for all below that name, or an address, IPv6 in
 * brackets. Without a scheme any will do, and with one and no port only the
 * scheme's own; ws and wss mean the same as http and https. The schemes of
 * TCP are tcp and tls, that of UDP is udp; they have no port of their own.
 *
 * Names are written in ASCII ("xn--..." for others).
 *
 * `allow_private`: names, "*.name", addresses, and blocks of them like
 * "10.0.0.0/8".
 *
 * Private are: 0/8, 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12, 192.0.0/24,
 * 192.168/16, 198.18/15, 224/4, 240/4; of IPv6 everything outside of 2000::/3;
 * and whatever IPv6 address carries one of those IPv4 addresses. ::ffff:0:0/96
 * and 64:ff9b::/96 are as the IPv4 address in them. */
typedef struct nt_policy {
  uint32_t flags;            /* NT_POLICY_* */
  uint32_t max_requests;     /* running at once, others wait in order; 10 */
  uint32_t max_lookups;      /* names being looked up at once; 16 */
  uint32_t max_redirects;    /* hops; here 0 means that none is followed; 20 */
  uint64_t url_max_bytes;    /* 0 */
  uint64_t header_max_bytes; /* response headers of one hop; 256 KiB */
  uint64_t response_max_bytes; /* body after decoding, not streamed; 64 MiB */
  uint64_t task_high_water;    /* undelivered bytes at which a task's source
                                * is no longer read; at least 64 KiB; 1 MiB */
  uint64_t context_high_water; /* the same for all tasks; 64 MiB */
  uint32_t spin_us;            /* how long both threads spin before they
                                * sleep; 0 */
  const char* user_agent;      /* NULL: "nettask/x.y.z" */
  const char* ca_file;         /* PEM bundle; NULL: the system's */
  const char* ca_data;         /* the same as text, before `ca_file` */
  uint32_t max_sockets;        /* WebSockets at once; 5 */
  uint32_t tcp_per_window;     /* TCP sockets opened in ... ; 20 */
  uint32_t tcp_window_ms;      /* ... the last so many ms; 300000 */
  const nt_port_range_t* tcp_forbidden_ports; /* NULL: none; the platforms' */
  size_t tcp_forbidden_count;
  uint64_t send_queue_bytes;     /* queued for sending, a socket; 16 MiB */
  uint64_t message_max_bytes;    /* of a WebSocket message; 16 MiB */
  uint64_t download_max_bytes;   /* of one file; 50 MiB */
  uint64_t upload_max_bytes;     /* of the files of one upload together; 0 */
  const char* temp_dir;          /* for temporary files; NULL: the system's */
  uint64_t temp_max_bytes;       /* of those of the context together; 0 */
  const char* const* read_roots; /* folders below which files may be read;
                                  * NULL: anywhere */
  size_t read_root_count;
  const char* const* write_roots; /* and written, but for temporary files */
  size_t write_root_count;
  uint32_t mdns_scan_ms;    /* how long a scan for services goes on; 30000 */
  uint32_t max_services;    /* that a scan knows at once; 256 */
  const char* store_file;   /* of nt_store_start(); NULL: in memory */
  uint64_t store_max_bytes; /* of keys and values in it; 16 MiB */
  const char* cookie_file;  /* of the cookie jar; NULL: in memory. Another file
                             * is another jar, but what an unnamed one has goes
                             * into the first */
  const char* cache_dir;    /* folder of the HTTP cache, made if need be; NULL:
                             * in memory */
  uint64_t cache_max_bytes; /* of what is stored there; at most as much, and
                             * 16 MiB, is in memory as well; 16 MiB */
  nt_list_t domains[NT_ACCESS_COUNT];
  nt_list_t allow_private;
  const char* proxy;    /* for requests, downloads, uploads, WebSockets
                         * and TCP: http://, https:// or socks5://, with
                         * "user:password@"; "env": what http_proxy and
                         * its like say in the environment; NULL: none.
                         * Not subject to the lists, and, but for "env",
                         * not to `allow_private`. What is behind a proxy
                         * is checked by name alone, also with socks5://,
                         * where the name is looked up here */
  const nt_pin_t* pins; /* all that match a host hold for it */
  size_t pin_count;
  const nt_secret_t* secrets;
  size_t secret_count;
  uint64_t bytes_per_minute;    /* in and out, of all tasks: above it nothing
                                 * is read until the minute is over, and sends
                                 * and what starts are NT_E_QUOTA. HTTP/1.1
                                 * alone while there is one; 0 */
  uint32_t requests_per_second; /* requests, downloads and uploads: others wait
                                 * in order; 0 */
  uint32_t background_grace_ms; /* see nt_background(), 0: at once; 5000 */
  nt_list_t referers;           /* what Referer may be: tasks name one by its
                                 * number, and send no other */
} nt_policy_t;

/* Fills in the preset. Any thread. */
NT_API void nt_policy_init(nt_policy_t* policy, nt_preset_t preset);

/* A copy with all that it points to, in one block; NULL without memory. Wiped
 * and freed by nt_policy_free(), which ignores NULL. Any thread. */
NT_API nt_policy_t* nt_policy_copy(const nt_policy_t* policy);
NT_API void nt_policy_free(nt_policy_t* policy);

/* 0, or NT_E_INVALID and in `why` one line that names the field, what is wrong
 * with it and what is expected; NT_E_NOMEM. Any thread. */
NT_API int nt_policy_check(const nt_policy_t* policy, char* why,
                           size_t why_size);

/* ---- The context ------------------------------------------------------- */

/* Starts the background thread, under NT_PRESET_MINIPROGRAM. The thread has
 * every signal blocked. */
NT_API int nt_open(nt_context_t** context);

/* Ends every task without an event and frees the context. Waits at most
 * `deadline_ms` for the background thread; one that is late frees the context
 * itself, later. NULL is ignored. */
NT_API void nt_close(nt_context_t* context, uint32_t deadline_ms);

/* Tasks started from now on run under a copy of `policy`; those that run keep
 * theirs. The queue, lookup, context mark, quota and spin settings hold at
 * once, and no connection that was made before is used again when what may be
 * reached or trusted has changed. NT_E_INVALID: see nt_policy_check(). */
NT_API int nt_policy_set(nt_context_t* context, const nt_policy_t* policy);

/* Whether the game is in the background. While it is, nothing new starts
 * (NT_E_INTERRUPTED), and the policy's background_grace_ms after it went there
 * whatever still runs ends with that error, open WebSockets with code 1006 and
 * the reason "interrupted". A download whose file is in place is a success, and
 * sleeps and stores are not concerned. NT_E_NOMEM, NT_E_FORKED. */
NT_API int nt_background(nt_context_t* context, int on);

/* ---- Events ------------------------------------------------------------ */

typedef enum nt_event_type {
  NT_EV_HEADERS = 1,  /* final status and headers of a response */
  NT_EV_CHUNK,        /* a piece of a streamed body */
  NT_EV_END,          /* the last event of an id, exactly once */
  NT_EV_PROGRESS,     /* of a download or upload: the newest figures. At most
                       * one waits, and at most one comes in 50 ms, but for the
                       * first and for the last, which is exact */
  NT_EV_OPEN,         /* a socket is open, or open again */
  NT_EV_MESSAGE,      /* a whole message */
  NT_EV_SENT,         /* how much has been handed to the system, if
                       * nt_websocket_report() asked for it */
  NT_EV_LOST,         /* a socket lost its connection and makes another */
  NT_EV_ERROR,        /* something failed, and the socket goes on */
  NT_EV_FOUND,        /* a service, or one that has moved to another address
                       * or port */
  NT_EV_SERVICE_LOST, /* it said goodbye, or was not heard of any more */
  NT_EV_RESOLVE_FAIL, /* there is one, but it does not say where */
  NT_EV_LOOKUP,       /* a resolver of the host's is asked for addresses: see
                       * nt_lookup_answer() */
  NT_EV_REFUSED       /* the policy refused something: for the host's records,
                       * beside what the task itself is told, and before its
                       * NT_EV_END. At most 256 wait, and nt_stats_t counts all
                       * of them */
} nt_event_type_t;

/* Response headers in the order they came, as received. */
typedef struct nt_headers {
  const char* bytes; /* name NUL value NUL ... */
  size_t size;
  size_t count;
} nt_headers_t;

/* Walks headers. `*cursor` starts at 0; returns 0 after the last one. */
NT_API int nt_headers_next(const nt_headers_t* headers, size_t* cursor,
                           const char** name, const char** value);

/* How a request went. Instants are Unix time in ms, 0 when the phase did not
 * happen; on a reused connection the connect instants equal fetch_start. */
typedef struct nt_profile {
  int64_t invoke_start;           /* nt_request_start() */
  int64_t queue_start, queue_end; /* waiting for its turn */
  int64_t redirect_start, redirect_end;
  int64_t fetch_start; /* of the last hop, as all that follow */
  int64_t lookup_start, lookup_end;
  int64_t asked_start, asked_end; /* the host's resolver, see `resolver` */
  int64_t connect_start, connect_end;
  int64_t tls_start, tls_end;
  int64_t request_start, request_end;
  int64_t response_start, response_end;
  double rtt_ms;                       /* TCP handshake; 0 when reused */
  double http_rtt_ms;                  /* request sent to first byte */
  double throughput_kbps;              /* of the body on the wire */
  uint64_t bytes_sent, bytes_received; /* on the wire, all hops */
  const char* protocol;                /* "http/1.1", "h2", "quic", "unknown" */
  const char* peer_ip;                 /* "" when unknown */
  int peer_port;
  int reused;        /* 1: on a connection that was open */
  const char* cache; /* "hit": stored, and nothing was sent; "stale": the same,
                      * and no longer fresh; "revalidated": stored, and the
                      * server says that it still holds; "": not stored */
} nt_profile_t;

typedef struct nt_address {
  const char* ip; /* "" when unknown */
  int port;
  int ipv6; /* 1 or 0 */
} nt_address_t;

/* One string of a TXT record, "key=value". */
typedef struct nt_txt {
  const char* key;   /* printable ASCII */
  const char* value; /* any bytes, and a NUL behind; NULL without a "=" */
  size_t size;       /* of the value */
} nt_txt_t;

typedef struct nt_service {
  const char* name; /* of the instance, for people: UTF-8, not escaped */
  const char* type; /* "_http._tcp" */

  /* FOUND; else "", 0 and NULL. */
  const char* host;       /* "printer.local" */
  int port;               /* 0: the name is taken, but nothing is there */
  const char* const* ips; /* IPv4 first; a link-local IPv6 one has its zone
                           * after '%'. At least one */
  size_t ip_count;
  const nt_txt_t* txt; /* of each key the first */
  size_t txt_count;
} nt_service_t;

typedef enum nt_family {
  NT_FAMILY_ANY,
  NT_FAMILY_IPV4,
  NT_FAMILY_IPV6
} nt_family_t;

/* Why an answer of a resolver was of no use. */
typedef struct nt_lookup_failure {
  int error;           /* NT_E_*, or the number of the nt_lookup_answer() */
  const char* message; /* "host: what", or "host: address: what" */
} nt_lookup_failure_t;

typedef struct nt_event {
  nt_event_type_t type;
  nt_id_t id;           /* REFUSED: 0 when no task was made; LOOKUP: of the
                         * question */
  int error;            /* END: 0, or why the task failed; ERROR,
                         * RESOLVE_FAIL, REFUSED */
  const char* message;  /* END, ERROR: detail for people; "" without error.
                         * REFUSED: what was to be reached, as
                         * "https://host:port", or a file's path; "" when there
                         * was nothing of the kind. Never a path of a URL, a
                         * query, a password or a secret */
  int status;           /* HTTP status; 0 when no response came */
  nt_headers_t headers; /* HEADERS and END */
  const char* url;      /* HEADERS and END of a response: after redirects */
  uint32_t redirects;   /* how many were followed */
  const void* data;     /* CHUNK; END: body unless streamed. NUL-terminated,
                         * writable but for that of a request with a cache
                         * mode, which others read as well; may be NULL when
                         * size is 0 */
  size_t size;
  const nt_profile_t* profile; /* END with NT_REQUEST_PROFILE, else NULL */
  uint64_t done;    /* PROGRESS: bytes written, or sent. END of a download:
                     * bytes in its file */
  uint64_t total;   /* PROGRESS: of `done`, in the end; 0: unknown */
  int percent;      /* PROGRESS: 0 to 100; 0 while `total` is unknown */
  const char* path; /* END of a download that succeeded: its file */

  /* Sockets. OPEN also has `status`, `headers` and `profile`; MESSAGE has
   * `data` and `size`; SENT has `done` and `total`: sends and bytes of them
   * that were handed to the system since the socket was started. */
  const char* protocol; /* OPEN: the chosen subprotocol, or "" */
  uint32_t attempt;     /* OPEN: 0, or how many tries this connection took */
  int binary;           /* MESSAGE: 1 binary, 0 text */
  int opened;           /* END: 1 if there was an OPEN */
  int flushed;         /* END of a TCP socket: 1 if all that was queued had been
                        * handed to the system */
  nt_address_t local;  /* OPEN of TCP, MESSAGE of UDP: our end, and the peer's.
                        * Of UDP it is the address that was bound */
  nt_address_t remote; /* ERROR: whom it is about, or "" */
  const char* operation; /* ERROR: what failed: "send", "connect", "join", ...
                          */
  int code;              /* LOST, END: the close code, 1006 without a close
                          * frame; 0 in an END that was not opened or aborted */
  const char* reason;    /* LOST, END: of the close; UTF-8 */

  /* FOUND, SERVICE_LOST, RESOLVE_FAIL, else NULL. */
  const nt_service_t* service;

  /* END of an exchange and OPEN of TCP that have a `resolver`. */
  int resolved;      /* 1: a connection was made to an address that it gave */
  uint32_t resolver; /* LOOKUP: that of the options */
  const nt_lookup_failure_t* lookup_failures; /* at most 8 */
  size_t lookup_failure_count;

  /* LOOKUP. */
  const char* host;    /* a name in ASCII and lower case */
  nt_family_t family;  /* of the addresses that are of use */
  uint32_t timeout_ms; /* who asks first waits so long; 0: without end */
} nt_event_t;

/* Takes in what the background thread has handed over and returns how many
 * events wait, at most: some may be of tasks that were aborted since. With
 * nothing new: one atomic load, no system call. */
NT_API size_t nt_collect(nt_context_t* context);

/* Events taken in and not delivered. */
NT_API size_t nt_waiting(const nt_context_t* context);

/* Delivers the next event: 1, or 0 when there is none. Each task's events come
 * in order, tasks take turns. Calls nt_collect() when nothing waits, so a
 * frame that wants to end calls nt_collect() and polls that many. */
NT_API int nt_poll(nt_context_t* context, nt_event_t* event);

/* Sleeps until an event is ready or `timeout_ms` is over (negative: no limit).
 * Returns 1 when one is ready, 0 otherwise. The one call that blocks. */
NT_API int nt_wait(nt_context_t* context, int timeout_ms);

/* Commands given between the two reach the background thread together, at
 * nt_uncork(): one wake-up a frame. They nest. */
NT_API void nt_cork(nt_context_t* context);
NT_API void nt_uncork(nt_context_t* context);

/* ---- Tasks ------------------------------------------------------------- */

typedef enum nt_state {
  NT_STATE_IDLE,       /* has an id, is not started */
  NT_STATE_QUEUED,     /* waits for its turn */
  NT_STATE_CONNECTING, /* on its way, no answer yet */
  NT_STATE_OPEN,       /* the answer is coming in */
  NT_STATE_CLOSING,    /* its last event waits to be delivered */
  NT_STATE_DONE        /* ended, or never was */
} nt_state_t;

/* As of the last nt_collect(). */
NT_API nt_state_t nt_state(const nt_context_t* context, nt_id_t id);

/* Ends a task: drops its undelivered events and delivers NT_EV_END with
 * NT_E_ABORTED, also when it had just succeeded. A download ends when nothing
 * is left of it on the disk, and with success if its file is in place already.
 * Ended tasks are ignored. */
NT_API void nt_abort(nt_context_t* context, nt_id_t id);

/* The same with the host's own error and message (a refused argument, say). */
NT_API void nt_fail(nt_context_t* context, nt_id_t id, int error,
                    const char* message);

typedef struct nt_stats {
  uint64_t idle, queued, connecting, open, closing; /* tasks by state */
  uint64_t waiting_events, waiting_bytes; /* taken in, not delivered */
  uint64_t bytes_in, bytes_out;           /* on the wire, since nt_open() */
  uint64_t dropped;          /* datagrams that came while a mark was reached,
                              * or from where the policy lets none come: these
                              * are not in `bytes_in` and in no quota */
  uint64_t services_refused; /* answers for services above max_services */
  uint64_t refusals;         /* NT_EV_REFUSED, also those that found no room */
} nt_stats_t;

NT_API void nt_stats(const nt_context_t* context, nt_stats_t* stats);

/* ---- HTTP requests ----------------------------------------------------- */

typedef struct nt_header {
  const char* name;
  const char* value;
} nt_header_t;

/* 0, or NT_E_HEADER when the field may not be sent: a name that is no RFC 9110
 * token, a value with control characters (that could start another field). Any
 * thread. */
NT_API int nt_header_check(const char* name, const char* value);

/* Stages of one hop. All stand still while the host holds the source back. */
typedef struct nt_timeouts {
  uint32_t dns;     /* name lookup */
  uint32_t connect; /* TCP, or QUIC, to the first address that answers */
  uint32_t tls;
  uint32_t first_byte; /* request sent to first byte of the answer */
  uint32_t stall;      /* longest silence in a body */
  uint32_t total;      /* from leaving the queue, all hops; 60000 */
} nt_timeouts_t;

typedef enum nt_redirect {
  NT_REDIRECT_FOLLOW,
  NT_REDIRECT_MANUAL
} nt_redirect_t;

/* Highest HTTP version that may be used; lower ones are a silent fallback. */
enum {
  NT_HTTP_1_1 = 0,
  NT_HTTP_2 = 1 << 0, /* over TLS, by ALPN */
  NT_HTTP_3 = 1 << 1  /* where libcurl has it */
};

enum {
  NT_REQUEST_STREAM = 1 << 0,    /* NT_EV_CHUNK instead of a body; HTTP/1.1 */
  NT_REQUEST_PROFILE = 1 << 1,   /* END carries the profile */
  NT_REQUEST_ANONYMOUS = 1 << 2, /* user:password of the URL is not sent */
  NT_REQUEST_COOKIES_SEND = 1 << 3,  /* what the jar has goes along, */
  NT_REQUEST_COOKIES_STORE = 1 << 4, /* what comes back goes into it; */
  NT_REQUEST_SAME_ORIGIN = 1 << 5,   /* both only where scheme, host and port
                                      * are those of `origin` */
  NT_REQUEST_OF_HOST = 1 << 6 /* the host's own: waits in no queue, and may go
                               * anywhere. Not for what a script has chosen.
                               * Its body has NT_DNS_BODY_MAX at most */
};

/* What a task that belongs to an origin may do elsewhere, at each hop. An
 * origin that another hop has left counts as left. */
typedef enum nt_mode {
  NT_MODE_ANY,         /* no rules */
  NT_MODE_SAME_ORIGIN, /* NT_E_CROSS_ORIGIN elsewhere */
  NT_MODE_CORS,   /* sends Origin; NT_E_CORS when the last answer, if it comes
                   * from elsewhere, has no Access-Control-Allow-Origin for it.
                   * There is no preflight */
  NT_MODE_NO_CORS /* of an answer from elsewhere nothing is told: status 0, no
                   * headers, no body */
} nt_mode_t;

/* What a GET may do with answers that are stored (RFC 9111; the names are those
 * of Fetch). Whatever the mode, an answer to an unsafe method makes those that
 * are stored for its URL invalid. A request with an If-* or Range field of its
 * own, or a body, is NT_CACHE_NONE. With stale-if-error NT_CACHE_DEFAULT puts
 * what is stored in place of a 500, 502, 503 or 504 and of a server that cannot
 * be reached, but not when the total time is over. NO_CACHE and RELOAD also say
 * in their Cache-Control what they want, for caches on the way. */
typedef enum nt_cache {
  NT_CACHE_NONE,     /* neither uses nor stores them */
  NT_CACHE_DEFAULT,  /* a fresh one is used, a stale one validated */
  NT_CACHE_NO_CACHE, /* is always validated, but for a fresh one that is
                      * immutable (RFC 8246) */
  NT_CACHE_RELOAD,   /* none is used; the answer is stored */
  NT_CACHE_FORCE,    /* is used, however old */
  NT_CACHE_ONLY      /* the same, and without one NT_E_CACHE_MISS */
} nt_cache_t;

typedef struct nt_request_options {
  const char* url;      /* http or https; required */
  const char* base_url; /* what a relative `url` is resolved against, or NULL */
  const char* method;   /* "GET"; any token. HEAD, CONNECT and TRACE mean
                         * what HTTP says; CONNECT asks for the URL's
                         * host:port and ends with its answer */
  const nt_header_t* headers; /* sent in this order; a content-type is sent
                               * only if it is among them */
  size_t header_count;
  const void* body;
  size_t body_size;
  nt_timeouts_t timeouts;
  nt_redirect_t redirect; /* 301 302 303 307 308 with a Location. A change of
                           * origin drops credential headers */
  uint32_t http;          /* NT_HTTP_* or'ed */
  uint32_t flags;         /* NT_REQUEST_* */
  const char* proxy;      /* like the policy's, but its host is one that the
                           * task reaches: on the list and, unless it may be,
                           * not private. "": none; NULL: the policy's */
  const char* origin;     /* URL of what the task belongs to, or NULL */
  nt_mode_t mode;         /* without effect unless there is an origin, but that
                           * an Origin of `headers` is not sent */
  uint32_t referer;       /* 1: the first of the policy's; 0, or a number that
                           * it has none for: none */
  const char* interface_name; /* to go out by, on a connection of its own:
                               * NT_E_INTERFACE if there is none; or NULL */
  nt_cache_t cache;           /* of requests alone */
  uint32_t resolver;          /* who is asked for the addresses of names: any
                               * number that means something to the host; 0:
                               * the system. See nt_lookup_answer() */
  uint32_t resolver_timeout;  /* for an answer, at each hop */
} nt_request_options_t;

/* Fills in the defaults named above. */
NT_API void nt_request_options_init(nt_request_options_t* options);

/* Makes an idle request. NT_E_NOMEM, NT_E_FULL. Its last event is reserved
 * here: from now on the id ends with exactly one NT_EV_END. */
NT_API int nt_request_open(nt_context_t* context, nt_id_t* id);

/* Starts an idle request. On NT_E_URL, NT_E_METHOD, NT_E_HEADER, NT_E_INVALID,
 * NT_E_NOMEM or NT_E_FULL it stays idle; NT_E_STATE if it was started before,
 * NT_E_CLOSED if it has ended. What the policy refuses is an NT_EV_END. */
NT_API int nt_request_start(nt_context_t* context, nt_id_t id,
                            const nt_request_options_t* options);

/* Forgets what is stored for the URL, NULL: all. What a request under way gets
 * is not stored. NT_E_URL, NT_E_NOMEM, NT_E_FORKED. */
NT_API int nt_cache_clear(nt_context_t* context, const char* url);

/* ---- Resolvers --------------------------------------------------------- */

/* HttpDNS: addresses of names that do not come from the system.
 *
 * A task with a `resolver` asks it at each hop to a name, unless there is a
 * proxy or the name means this host: NT_EV_LOOKUP goes to the host, one for
 * each resolver, name and family at a time, and whoever wants the same, and
 * waits no longer, waits for the same answer. Meanwhile a task counts in no
 * limit of running ones.
 *
 * Addresses are tried in turn, a few seconds each, and then those of the
 * system. Without an answer in time, or with a failure, it is the system's at
 * once: no resolver can make a task fail. What went wrong is in the END event.
 * Addresses have to pass the policy like any other, and TLS verifies the name.
 */

typedef struct nt_lookup_answer {
  const char* const* ips; /* tried in this order, IPv6 without brackets; those
                           * behind the eighth are not */
  size_t count;
  uint32_t ttl_ms; /* it is remembered so long, at most a day; 0: it is not */
  int error; /* without any `ips`: a number above 0 for what failed, ... */
  const char* message; /* ... and one line about it, or NULL */
} nt_lookup_answer_t;

/* Answers the NT_EV_LOOKUP of that id; nothing happens when nobody waits for it
 * any more. NT_E_ADDRESS, and it may be answered again, when one of the `ips`
 * is no address; NT_E_INVALID, NT_E_NOMEM, NT_E_FORKED. */
NT_API int nt_lookup_answer(nt_context_t* context, nt_id_t id,
                            const nt_lookup_answer_t* answer);

/* DNS messages for DNS over HTTPS (RFC 8484). */

enum {
  NT_DNS_QUERY_MAX = 288,
  NT_DNS_BODY_MAX = 64 * 1024, /* more is no answer */
  NT_DNS_ADDRESS_MAX = 8
};

/* Writes the question for the addresses of a name, IPv4 for NT_FAMILY_ANY.
 * Returns its size, or NT_E_ADDRESS if that is no name. Any thread. */
NT_API int nt_dns_query(const char* host, nt_family_t family,
                        unsigned char out[NT_DNS_QUERY_MAX]);

typedef struct nt_dns_answer {
  char ips[NT_DNS_ADDRESS_MAX][48];
  size_t count; /* 0: there is no such name, or it has no such address */
  uint32_t ttl; /* the smallest of all records, in seconds */
} nt_dns_answer_t;

/* Reads the answer to such a question. NT_E_INVALID if it is none; NT_E_RESOLVE
 * when it says that the server could not do it. Any thread. */
NT_API int nt_dns_read(const void* message, size_t size, const char* host,
                       nt_family_t family, nt_dns_answer_t* answer);

/* ---- Downloads --------------------------------------------------------- */

enum {
  NT_DOWNLOAD_RESUME = 1 << 0,   /* a part that is left is kept, with a sidecar,
                                  * and the next download goes on from there */
  NT_DOWNLOAD_DURABLE = 1 << 1,  /* on the disk, not just in its cache, when the
                                  * download ends */
  NT_DOWNLOAD_GOOD_ONLY = 1 << 2 /* a status of 400 or more is NT_E_STATUS, and
                                  * its body is not saved */
};

typedef struct nt_download_options {
  nt_request_options_t request; /* `method` and `body` do not matter, nor do
                                 * Accept-Encoding and, with
                                 * NT_DOWNLOAD_RESUME, Range fields */
  const char* path;   /* the file, replaced if it exists; NULL: a temporary
                       * one, removed by nt_close() */
  const char* sha256; /* 64 hex digits that the file must have, or NULL */
  uint32_t flags;     /* NT_DOWNLOAD_* */
} nt_download_options_t;

/* Fills in the defaults: those of a request, and a stall time-out of 30000. */
NT_API void nt_download_options_init(nt_download_options_t* options);

/* Like nt_request_open(). */
NT_API int nt_download_open(nt_context_t* context, nt_id_t* id);

/* Like nt_request_start(). The body of any response, whatever its status, is
 * written to "<path>.part" and appears at `path` whole or not at all; a file
 * is refused, before anything is sent, if it cannot be written. Once it is in
 * place the download ends with success, even if nt_abort() came before its
 * last event. NT_E_INVALID also for a `sha256` that is none. */
NT_API int nt_download_start(nt_context_t* context, nt_id_t id,
                             const nt_download_options_t* options);

/* ---- Uploads ----------------------------------------------------------- */

/* One part of multipart/form-data: a file, bytes, or a plain field. */
typedef struct nt_part {
  const char* name; /* required */
  const char* path; /* a file, sent as it is read; NULL: `data` */
  const void* data;
  size_t size;
  const char* file_name; /* NULL: the last part of `path`, or a plain field */
  const char* type;      /* NULL: by the extension of the file name, or else
                          * `fallback_type`; a plain field has none */
  const char* fallback_type; /* NULL: application/octet-stream */
} nt_part_t;

typedef struct nt_upload_options {
  nt_request_options_t request; /* `body` and Content-Type do not matter */
  const nt_part_t* parts;       /* sent in this order; files last, please: many
                                 * servers read fields only before them */
  size_t part_count;
} nt_upload_options_t;

/* Fills in the defaults: those of a request, and POST. */
NT_API void nt_upload_options_init(nt_upload_options_t* options);

/* Like nt_request_open(). */
NT_API int nt_upload_open(nt_context_t* context, nt_id_t* id);

/* Like nt_request_start(). Files are opened before anything is sent, and sent
 * as long as they were then. Ends like a request, with the body of the
 * response; one that comes before all is sent is an answer like any other. */
NT_API int nt_upload_start(nt_context_t* context, nt_id_t id,
                           const nt_upload_options_t* options);

/* ---- Cookies ----------------------------------------------------------- */

/* A context has one jar, RFC 6265 with the public suffix list: 4 KiB a cookie,
 * 50 of a domain and 3000 in all, of which those that were not used for longest
 * make room. Tasks use it if they are told to, at every hop: a Cookie header of
 * the caller's own goes to the first origin alone, and in front.
 *
 * With a cookie_file what has a date outlives the context: the file is read
 * once, before the first task that wants cookies, and replaced as a whole a
 * second after a change and at the end. It is in the format of Netscape and for
 * one context at a time: the last that saves it wins.
 *
 * These functions neither wait for the file nor for what tasks do. So until
 * nt_cookies_state() is 0 what the file has is not listed; what was set or
 * cleared before is so afterwards. URLs are absolute, http or https, else
 * NT_E_URL. */

typedef struct nt_cookie {
  const char* name;
  const char* value;
  const char* domain; /* in lower case, without a dot in front */
  const char* path;
  int64_t expires_ms; /* Unix time; 0: with the context */
  int host_only;      /* 1: not for what is below the domain */
  int secure;         /* 1: over TLS alone */
  int http_only;      /* 1: as the server said, which changes nothing here */
} nt_cookie_t;

typedef struct nt_cookies nt_cookies_t; /* a list; any thread */

/* Those that go to a URL, in the order in which they are sent, or all, by age,
 * with `url` NULL. To be freed. */
NT_API int nt_cookies_list(nt_context_t* context, const char* url,
                           nt_cookies_t** list);
NT_API const nt_cookie_t* nt_cookies_items(const nt_cookies_t* list,
                                           size_t* count);
NT_API void nt_cookies_free(nt_cookies_t* list);

/* As if an answer from `url` had this Set-Cookie field. NT_E_INVALID when it
 * sets none, or may not: for the domain of others, or one that must not be
 * without TLS. */
NT_API int nt_cookies_set(nt_context_t* context, const char* url,
                          const char* line);

/* Forgets all that the URL's host is ever sent, or everything with `url`
 * NULL. */
NT_API int nt_cookies_clear(nt_context_t* context, const char* url);

/* 0; NT_E_STATE until the cookie_file was read; NT_E_FILE when it could not be:
 * then it is left as it is, and nothing is saved. */
NT_API int nt_cookies_state(nt_context_t* context);

/* ---- Sleep ------------------------------------------------------------- */

/* Like nt_request_open(). */
NT_API int nt_sleep_open(nt_context_t* context, nt_id_t* id);

/* Like nt_request_start(). Ends without error after that time, never before; it
 * has no other event. */
NT_API int nt_sleep_start(nt_context_t* context, nt_id_t id, uint32_t ms);

/* ---- Store ------------------------------------------------------------- */

/* Values under keys, both any bytes: in an SQLite file that outlives the
 * process, or in memory, until nt_close(). When it is full what was used least
 * recently makes room. A file that is damaged is set aside as
 * "<store_file>.damaged", and a new one begun. */

typedef enum nt_store_action {
  NT_STORE_GET,
  NT_STORE_PUT,
  NT_STORE_REMOVE
} nt_store_action_t;

typedef struct nt_store_options {
  nt_store_action_t action;
  const void* key; /* at least one byte */
  size_t key_size;
  const void* value; /* of NT_STORE_PUT */
  size_t value_size;
} nt_store_options_t;

/* Like nt_request_open(). */
NT_API int nt_store_open(nt_context_t* context, nt_id_t* id);

/* Like nt_request_start(); NT_E_VALUE_SIZE for what would never fit. Actions
 * are done in the order in which they are started, and there is one event: END
 * of NT_STORE_GET has `data` and `size`, or NULL when nothing is stored there.
 * With `error` 0 a `message` that is not "" tells of a damaged file. */
NT_API int nt_store_start(nt_context_t* context, nt_id_t id,
                          const nt_store_options_t* options);

/* ---- WebSocket --------------------------------------------------------- */

/* RFC 6455 and, on request, RFC 7692.
 *
 *   nt_websocket_open -> nt_websocket_start -> OPEN, MESSAGE..., END
 *
 * END tells how it ended: `error` is 0 after a close, by either side, and after
 * a loss (`code` 1006); else what went wrong, before the OPEN or, as a
 * violation of the protocol, after it (`code` 1002, 1007, 1009). With
 * `reconnect` a loss is no end: LOST, later another OPEN, until the tries are
 * spent. */

enum {
  NT_WEBSOCKET_NO_DELAY = 1 << 0,   /* TCP_NODELAY */
  NT_WEBSOCKET_DEFLATE = 1 << 1,    /* offer permessage-deflate */
  NT_WEBSOCKET_PROFILE = 1 << 2,    /* OPEN carries the profile */
  NT_WEBSOCKET_COOKIES = 1 << 3,    /* the handshake uses the cookie jar; */
  NT_WEBSOCKET_SAME_ORIGIN = 1 << 4 /* only where scheme, host and port are
                                     * those of `origin`, ws as http */
};

/* The n-th try waits base * 2^(n-1), at most max, and less by up to the share
 * `jitter` of it, at random. */
typedef struct nt_reconnect {
  uint32_t tries; /* in a row without success; 0: no reconnect */
  uint32_t base_ms, max_ms;
  double jitter; /* 0 to 1 */
} nt_reconnect_t;

typedef struct nt_websocket_options {
  const char* url;            /* ws or wss; required */
  const char* base_url;       /* http and https count as ws and wss; or NULL */
  const nt_header_t* headers; /* those that the handshake makes itself are
                               * not sent */
  size_t header_count;
  const char* const* protocols; /* subprotocols, RFC 9110 tokens */
  size_t protocol_count;
  const char* proxy;          /* as of a request */
  const char* origin;         /* the same */
  uint32_t referer;           /* the same */
  const char* interface_name; /* the same */
  nt_timeouts_t timeouts;    /* `total`: until the handshake is answered, 60000;
                              * `stall` does not matter */
  uint32_t flags;            /* NT_WEBSOCKET_* */
  uint32_t ping_interval_ms; /* 0: no pings */
  uint32_t pong_timeout_ms;  /* no answer to a ping for so long: a loss; 0: as
                              * the interval */
  uint64_t message_max_bytes; /* 0: the policy's */
  nt_reconnect_t reconnect;
} nt_websocket_options_t;

/* Fills in the defaults named above. */
NT_API void nt_websocket_options_init(nt_websocket_options_t* options);

/* Like nt_request_open(). */
NT_API int nt_websocket_open(nt_context_t* context, nt_id_t* id);

/* Like nt_request_start(), but what the policy refuses is told here.
 * NT_E_LIMIT when it allows no more sockets (those that were told to close do
 * not count), NT_E_SCHEME unless the URL is ws or wss, NT_E_PORT,
 * NT_E_URL_TOO_LONG, NT_E_DOMAIN, NT_E_PRIVATE for what the URL alone shows,
 * NT_E_OWN_PROXY, NT_E_INVALID for a subprotocol that is no token or a proxy
 * that is no URL. */
NT_API int nt_websocket_start(nt_context_t* context, nt_id_t id,
                              const nt_websocket_options_t* options);

typedef enum nt_message_type {
  NT_MESSAGE_TEXT, /* has to be UTF-8 */
  NT_MESSAGE_BINARY
} nt_message_type_t;

/* Queues a message behind those before. NT_E_NOT_OPEN before the OPEN event,
 * after nt_websocket_close() and after a LOST until the next OPEN;
 * NT_E_QUEUE_FULL when the policy's send_queue_bytes would be exceeded, after
 * which a SENT comes once the queue is empty (none if it was so: the message is
 * larger than the queue); NT_E_WS_TEXT for text that is no UTF-8; NT_E_NOMEM.
 * Sends are numbered from 1. What a connection that is lost had not been given
 * is dropped. */
NT_API int nt_websocket_send(nt_context_t* context, nt_id_t id,
                             nt_message_type_t type, const void* data,
                             size_t size);

/* A SENT event is wanted once all that was sent up to now is with the system.
 * Nothing for an id that is not open. */
NT_API void nt_websocket_report(nt_context_t* context, nt_id_t id);

/* Bytes of messages that are not with the system yet. */
NT_API uint64_t nt_websocket_buffered(const nt_context_t* context, nt_id_t id);

/* Closes: behind what is queued if it is open, at once if not. END then has
 * `error` 0 and this code and reason, when the other side has answered or 5
 * seconds have passed. NT_E_NOT_OPEN when that was said before or it has ended,
 * NT_E_INVALID for a code that may not be sent (allowed are 1000 to 1003, 1007
 * to 1014, 3000 to 4999) or a reason of more than 123 bytes or not UTF-8. */
NT_API int nt_websocket_close(nt_context_t* context, nt_id_t id, int code,
                              const char* reason);

/* ---- TCP --------------------------------------------------------------- */

/* OPEN once it is connected, CHUNK for what comes, SENT for who asks, END. END
 * has `error` 0 after the peer's end or nt_tcp_close(), and `flushed`. */

enum {
  NT_TCP_TLS = 1 << 0,     /* verified like HTTPS */
  NT_TCP_NO_DELAY = 1 << 1 /* TCP_NODELAY */
};

typedef struct nt_tcp_options {
  const char* host; /* name or address, IPv6 without brackets; required */
  int port;         /* 1 to 65535 */
  nt_family_t family;
  uint32_t flags;             /* NT_TCP_* */
  uint32_t timeout_ms;        /* until it is connected; 2000 */
  uint32_t keep_alive_ms;     /* silence before the first probe; 0: off */
  const char* interface_name; /* to go out by, or NULL */
  const char* proxy;          /* as of a request */
  uint32_t resolver;          /* the same */
  uint32_t resolver_timeout;  /* the same */
} nt_tcp_options_t;

/* Fills in the defaults named above. */
NT_API void nt_tcp_options_init(nt_tcp_options_t* options);

/* Like nt_request_open(), and NT_E_LIMIT when the policy allows no more now. */
NT_API int nt_tcp_open(nt_context_t* context, nt_id_t* id);

/* Connects. NT_E_ADDRESS for a `host` that is none, or of another family,
 * NT_E_PORT for one that the policy forbids or that is out of range,
 * NT_E_DOMAIN and NT_E_PRIVATE for a host that it does not allow (when that
 * shows only in what a name leads to, END has it), NT_E_OWN_PROXY,
 * NT_E_INVALID for a bad proxy, NT_E_STATE if it was started before. On error
 * it stays idle. */
NT_API int nt_tcp_start(nt_context_t* context, nt_id_t id,
                        const nt_tcp_options_t* options);

/* Queues bytes, also while it connects. NT_E_NOT_OPEN before the start and
 * after nt_tcp_close(), NT_E_QUEUE_FULL like nt_websocket_send(). */
NT_API int nt_tcp_send(nt_context_t* context, nt_id_t id, const void* data,
                       size_t size);

/* Like those of WebSockets. */
NT_API void nt_tcp_report(nt_context_t* context, nt_id_t id);
NT_API uint64_t nt_tcp_buffered(const nt_context_t* context, nt_id_t id);

/* Sends what is queued, ends our side, drops what still comes, and ends when
 * the peer does or 5 seconds after it took the last bytes. Before the start it
 * ends at once. */
NT_API int nt_tcp_close(nt_context_t* context, nt_id_t id);

/* Of one that is started; NT_E_NOT_OPEN else. 0 ms turns keep-alive off. */
NT_API int nt_tcp_set_no_delay(nt_context_t* context, nt_id_t id, int on);
NT_API int nt_tcp_set_keep_alive(nt_context_t* context, nt_id_t id,
                                 uint32_t idle_ms);

/* ---- UDP --------------------------------------------------------------- */

/* MESSAGE for each datagram that comes; ERROR for what fails while the socket
 * goes on: a send, a lookup, an option, a peer that an ICMP message calls
 * unreachable. END comes after nt_udp_close() or nt_abort(), or, with an error,
 * when the system has no more resources. Above a high-water mark what comes is
 * dropped, and counted in nt_stats(). Functions with an id return NT_E_NOT_OPEN
 * if it is not a UDP socket that is open, and NT_E_NOMEM.
 *
 * The policy that it was opened under says whom it may send to: NT_E_DOMAIN and
 * NT_E_PRIVATE, from the call, or as an ERROR when a name leads where it may
 * not go (also after nt_udp_close()). It receives only from addresses that the
 * policy allows as such, and from those that it has sent to by a name; what
 * else comes is dropped and counted. Groups and 255.255.255.255 are private
 * addresses. */

/* Makes a socket, IPv4 for NT_FAMILY_ANY. One of IPv6 knows no IPv4 addresses.
 * NT_E_SYSTEM, NT_E_NOMEM, NT_E_FULL. */
NT_API int nt_udp_open(nt_context_t* context, nt_family_t family, nt_id_t* id);

/* Binds to all addresses of the host and to a port, 0 for any that is free.
 * `bound_port` may be NULL. NT_E_IN_USE, NT_E_ACCESS, NT_E_SYSTEM, and then it
 * may be tried again; NT_E_STATE if it is bound, NT_E_PORT above 65535. */
NT_API int nt_udp_bind(nt_context_t* context, nt_id_t id, int port,
                       int* bound_port);

/* Queues one datagram, and binds to a free port if nt_udp_bind() did not.
 * `host` is a name, an address of the socket's family (IPv6 without brackets,
 * with a zone after '%'), or NULL for the peer of nt_udp_connect(), and `port`
 * does not matter then. Datagrams for a name wait until it is known; those for
 * one address or name keep their order. 255.255.255.255 needs no
 * nt_udp_set_broadcast(). NT_E_ADDRESS, NT_E_PORT, NT_E_TOO_BIG above 65507
 * bytes, NT_E_QUEUE_FULL above the policy's send_queue_bytes, and the errors of
 * nt_udp_bind(). */
NT_API int nt_udp_send(nt_context_t* context, nt_id_t id, const char* host,
                       int port, const void* data, size_t size);

/* Where nt_udp_send() without a host sends to; datagrams of others are received
 * all the same. A name is looked up once, here. NT_E_ADDRESS, NT_E_PORT. */
NT_API int nt_udp_connect(nt_context_t* context, nt_id_t id, const char* host,
                          int port);

/* Bytes of datagrams that are not with the system yet. */
NT_API uint64_t nt_udp_buffered(const nt_context_t* context, nt_id_t id);

/* Hop limits, 1 to 255, and 0 to 255 to groups; NT_E_INVALID. Options may be
 * set before and after binding, and hold for what is sent from then on. */
NT_API int nt_udp_set_ttl(nt_context_t* context, nt_id_t id, int ttl);
NT_API int nt_udp_set_multicast_ttl(nt_context_t* context, nt_id_t id, int ttl);
NT_API int nt_udp_set_broadcast(nt_context_t* context, nt_id_t id, int on);

/* `group` is a multicast address. `interface_name` is a name or number, or an
 * IPv4 address of the host, and what the socket sends to groups goes out there,
 * too; NULL: the system chooses. NT_E_ADDRESS; NT_E_DOMAIN if a list does not
 * have the group with the port that the socket is bound to. */
NT_API int nt_udp_join(nt_context_t* context, nt_id_t id, const char* group,
                       const char* interface_name);
NT_API int nt_udp_leave(nt_context_t* context, nt_id_t id, const char* group,
                        const char* interface_name);

/* Receives no more, and ends with `error` 0 once what was sent is with the
 * system: at once, mostly, and after a second at most. */
NT_API int nt_udp_close(nt_context_t* context, nt_id_t id);

/* ---- Local services ---------------------------------------------------- */

/* DNS-SD over multicast DNS (RFC 6763, RFC 6762), on every interface that can
 * multicast, the loopback one as well. No daemon is needed, and one that runs
 * is not disturbed.
 *
 *   nt_mdns_open -> nt_mdns_start -> FOUND, SERVICE_LOST..., END
 *
 * A service is told once, however many interfaces it is seen on: FOUND when one
 * of its addresses is known, again when the first address or the port has
 * changed, SERVICE_LOST when it says goodbye or what it said has expired. One
 * without an address for 5 seconds is a RESOLVE_FAIL, once, and may be FOUND
 * later. END has `error` 0 after nt_mdns_stop() and once the policy's
 * mdns_scan_ms are over. While a mark is reached nothing is told; what has
 * changed meanwhile is told afterwards, the newest alone. */

typedef struct nt_mdns_options {
  /* "_http._tcp", or with a subtype, "_printer._sub._http._tcp"; a dot and
   * ".local" may follow. Required */
  const char* service_type;
} nt_mdns_options_t;

/* Clears all. */
NT_API void nt_mdns_options_init(nt_mdns_options_t* options);

/* Like nt_request_open(). Nothing is sent before the start. */
NT_API int nt_mdns_open(nt_context_t* context, nt_id_t* id);

/* Starts an idle scan. NT_E_INVALID for a `service_type` that is none,
 * NT_E_PRIVATE if the policy allows neither of the groups 224.0.0.251 and
 * ff02::fb (one alone: the scan goes over that family), and NT_E_NOMEM: it
 * stays idle; NT_E_STATE if it was started before, NT_E_CLOSED if it has ended.
 */
NT_API int nt_mdns_start(nt_context_t* context, nt_id_t id,
                         const nt_mdns_options_t* options);

/* Ends a scan, behind the events that are on their way. NT_E_NOT_OPEN if it was
 * not started, was stopped before, or has ended. */
NT_API int nt_mdns_stop(nt_context_t* context, nt_id_t id);

/* ---- URLs -------------------------------------------------------------- */

/* Writes `url`, resolved against `base` (or NULL) and normalised, into `out`
 * with a NUL. NT_E_URL, NT_E_INVALID when it does not fit. Any thread. */
NT_API int nt_url_resolve(const char* base, const char* url, char* out,
                          size_t out_size);

#ifdef __cplusplus
}
#endif
#endif
