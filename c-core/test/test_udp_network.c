/* UDP where the machine's own network is none of a test's business: broadcasts,
 * groups over IPv6, a path that takes little, a slow one, and a DNS server that
 * never answers. The program starts itself anew through unshare(1), in a
 * network namespace of its own. */
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "udp_peer.h"

#define INSIDE "NETTASK_TEST_UDP_INSIDE"

enum {
  STUCK = 6,       /* more lookups than there are at once */
  CLOSE_SOON = 500 /* of a context in which they hang */
};

static void run(const char* command) {
  if (system(command) != 0)
    fail_msg("%s", command);
}

/* ---- Rights -------------------------------------------------------------- */

/* Of this thread: what it may do beyond others. */
static void set_rights(const struct __user_cap_data_struct rights[2]) {
  struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };

  assert_int_equal(syscall(SYS_capset, &head, rights), 0);
}

static void binding_without_permission(void** state) {
  struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
  struct __user_cap_data_struct all[2];
  struct __user_cap_data_struct few[2];
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);

  assert_int_equal(syscall(SYS_capget, &head, all), 0);
  memcpy(few, all, sizeof(few));
  few[0].effective &= ~(1u << CAP_NET_BIND_SERVICE);
  set_rights(few);
  assert_int_equal(nt_udp_bind(host->net, id, 1, NULL), NT_E_ACCESS);
  set_rights(all);
  assert_int_equal(nt_udp_bind(host->net, id, 1, NULL), 0);
  udp_close(host, id);
}

/* ---- Routes -------------------------------------------------------------- */

static void to_everybody(void** state) {
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  nt_event_t ev;
  nt_id_t all;
  int port;

  all = udp_bound(host, &port);
  udp_send(host, id, "255.255.255.255", port, "nobody");
  udp_expect_error(host, id, NT_E_UNREACHABLE, &ev);
  assert_string_equal(ev.remote.ip, "255.255.255.255");
  run("ip route add broadcast 255.255.255.255 dev lo table local");
  udp_send(host, id, "255.255.255.255", port, "everybody");
  udp_expect_text(host, all, "everybody");
  udp_close(host, id);
  udp_close(host, all);
}

static void groups_in_ipv6(void** state) {
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV6);
  nt_id_t other = udp_open(host, NT_FAMILY_IPV6);
  int port;

  /* Loopback does not do it. */
  run("ip link add pair0 type veth peer name pair1");
  run("ip link set pair0 up && ip link set pair1 up");
  run("ip addr add fd00::1/64 dev pair0 nodad");
  assert_int_equal(nt_udp_join(host->net, id, "ff15::7:7", "pair0"), 0);
  assert_int_equal(nt_udp_join(host->net, other, "ff12::8%pair1", NULL), 0);
  assert_int_equal(nt_udp_join(host->net, other, "ff15::8", "pair0"), 0);
  port = udp_bind(host, id);
  udp_send(host, other, "ff15::7:7", port, "six");
  udp_expect_text(host, id, "six");
  udp_close(host, id);
  udp_close(host, other);
}

/* The kernel cuts up no run of what is larger than the path takes. */
static void a_narrow_path(void** state) {
  enum {
    COUNT_OF_EACH = 200
  };
  static const size_t sizes[] = { 1472, 2000, 1473, 1400 };
  static char data[4000];
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  size_t i, j;

  run("ip link set lo mtu 1500");
  for (i = 0; i < COUNT(sizes); i++) {
    nt_cork(host->net);
    for (j = 0; j < COUNT_OF_EACH; j++) {
      memset(data, (int) j, sizes[i]);
      assert_int_equal(
          nt_udp_send(host->net, id, "127.0.0.1", peer.port, data, sizes[i]),
          0);
    }
    nt_uncork(host->net);
    for (j = 0; j < COUNT_OF_EACH; j++) {
      memset(data, (int) j, sizes[i]);
      peer_expect(&peer, data, sizes[i]);
    }
  }
  run("ip link set lo mtu 65536");
  udp_close(host, id);
  peer_close(&peer);
}

/* What the system does not take at once waits, in order. */
static void a_slow_path(void** state) {
  enum {
    SENDS = 800, /* the kernel's backlog of loopback has room for 1000 */
    SIZE = 1000
  };
  static char data[SIZE];
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  uint64_t most = 0;
  uint32_t i;

  run("tc qdisc add dev lo root tbf rate 50mbit burst 50kb limit 10mb");
  for (i = 0; i < SENDS; i++) {
    size_t size = i % 3 == 0 ? SIZE / 2 : SIZE;

    memset(data, (int) (i % 251), sizeof(data));
    assert_int_equal(
        nt_udp_send(host->net, id, "127.0.0.1", peer.port, data, size), 0);
    if (nt_udp_buffered(host->net, id) > most)
      most = nt_udp_buffered(host->net, id);
  }
  assert_true(most > 10 * SIZE);
  assert_int_equal(nt_udp_close(host->net, id), 0); /* which waits, too */
  for (i = 0; i < SENDS; i++) {
    memset(data, (int) (i % 251), sizeof(data));
    peer_expect(&peer, data, i % 3 == 0 ? SIZE / 2 : SIZE);
  }
  udp_end(host, id, 0);
  run("tc qdisc del dev lo root");
  peer_close(&peer);
}

/* One that ends while the system holds a datagram back. */
static void ends_while_blocked(void** state) {
  static char data[1000];
  host_t* host = *state;
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = 0;
  unsigned round, i;

  run("tc qdisc add dev lo root tbf rate 10mbit burst 10kb limit 10mb");
  for (round = 0; round < 4; round++) {
    id = udp_open(host, NT_FAMILY_IPV4);
    for (i = 0; i < 1000; i++)
      nt_udp_send(host->net, id, "127.0.0.1", peer.port, data, sizeof(data));
    UNTIL(nt_udp_buffered(host->net, id) <= 700 * sizeof(data));
    if (round % 2 == 0) {
      nt_abort(host->net, id);
      udp_end(host, id, NT_E_ABORTED);
    }
  }
  assert_int_equal(host_close(host->net), 0);
  assert_int_equal(nt_open(&host->net), 0);
  run("tc qdisc del dev lo root");
  peer_close(&peer);
}

/* ---- Names --------------------------------------------------------------- */

/* A DNS server that takes queries and says nothing. */
static int be_silent(void) {
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons(53),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  assert_int_equal(bind(fd, (void*) &address, sizeof(address)), 0);
  return fd;
}

static void closing_with_stuck_lookups(void** state) {
  host_t* host = *state;
  peer_t dns = { be_silent(), 53 };
  peer_t peer = peer_open(AF_INET);
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  uint64_t start;
  char name[32];
  int i;

  for (i = 0; i < STUCK; i++) {
    snprintf(name, sizeof(name), "stuck%d.test", i);
    udp_send(host, id, name, 9, "never");
  }
  assert_true(peer_readable(&dns, PATIENCE_MS));
  udp_send(host, id, "127.0.0.1", peer.port, "others go on");
  peer_expect_text(&peer, "others go on");
  nt_abort(host->net, id);
  udp_end(host, id, NT_E_ABORTED);
  id = udp_open(host, NT_FAMILY_IPV4);
  assert_int_equal(nt_udp_connect(host->net, id, "stuck0.test", 9), 0);
  udp_send(host, id, NULL, 0, "never");
  start = uv_hrtime();
  assert_int_equal(host_close(host->net), 0);
  assert_true(uv_hrtime() - start < (uint64_t) CLOSE_SOON * 1000000);
  assert_int_equal(nt_open(&host->net), 0);
  peer_close(&dns);
  peer_close(&peer);
}

static void without_a_dns_server(void** state) {
  host_t* host = *state;
  nt_id_t id = udp_open(host, NT_FAMILY_IPV4);
  nt_event_t ev;

  udp_send(host, id, "name.test", 9, "never");
  udp_expect_error(host, id, NT_E_RESOLVE, &ev);
  assert_non_null(strstr(ev.message, "name.test"));
  udp_close(host, id);
}

/* ---- Policy -------------------------------------------------------------- */

#define PUBLIC "203.0.113.7"

static void refuse_private(nt_policy_t* policy) {
  policy->flags |= NT_POLICY_REFUSE_PRIVATE;
}

static peer_t open_public(void) {
  struct sockaddr_in at = { .sin_family = AF_INET };
  socklen_t size = sizeof(at);
  peer_t peer = { .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };

  assert_int_equal(inet_pton(AF_INET, PUBLIC, &at.sin_addr), 1);
  assert_int_equal(bind(peer.fd, (void*) &at, size), 0);
  assert_int_equal(getsockname(peer.fd, (void*) &at, &size), 0);
  peer.port = ntohs(at.sin_port);
  return peer;
}

static void the_internet_alone(void** state) {
  host_t* host = *state;
  peer_t local = peer_open(AF_INET);
  nt_stats_t stats;
  peer_t peer;
  nt_event_t ev;
  nt_id_t id;
  int port;

  run("ip addr add " PUBLIC "/32 dev lo");
  peer = open_public();
  host_policy(host, refuse_private);
  id = udp_bound(host, &port);
  peer_send(&local, port, "psst", 4);
  peer_send(&peer, port, "hello", 5);
  udp_expect(host, id, "hello", 5, &ev);
  assert_string_equal(ev.remote.ip, PUBLIC);
  udp_send(host, id, PUBLIC, peer.port, "you too");
  peer_expect_text(&peer, "you too");
  nt_stats(host->net, &stats);
  assert_int_equal(stats.dropped, 1);
  assert_int_equal(stats.refusals, 0);
  udp_close(host, id);
  peer_close(&peer);
  peer_close(&local);
}

/* ---- The namespace ------------------------------------------------------- */

static void replace_file(const char* path, const char* text) {
  char copy[] = "/tmp/nettask-test-XXXXXX";
  int fd = mkstemp(copy);

  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
  if (mount(copy, path, NULL, MS_BIND, NULL) != 0)
    fail_msg("%s: %s", path, strerror(errno));
  unlink(copy);
}

static int set_up_network(void** state) {
  (void) state;
  run("ip link set lo up");
  replace_file("/etc/resolv.conf",
               "nameserver 127.0.0.1\noptions timeout:8 attempts:1\n");
  replace_file("/etc/nsswitch.conf", "hosts: files dns\n");
  return 0;
}

static int go_inside(const char* self) {
  setenv(INSIDE, "1", 1);
  execlp("unshare", "unshare", geteuid() == 0 ? "-mn" : "-rmn", self,
         (char*) NULL);
  perror("unshare");
  return 1;
}

int main(int argc, char** argv) {
  const struct CMUnitTest tests[] = {
    HOST_TEST(binding_without_permission),
    HOST_TEST(to_everybody),
    HOST_TEST(groups_in_ipv6),
    HOST_TEST(a_narrow_path),
    HOST_TEST(a_slow_path),
    HOST_TEST(ends_while_blocked),
    HOST_TEST(closing_with_stuck_lookups),
    HOST_TEST(without_a_dns_server),
    HOST_TEST(the_internet_alone),
  };

  if (argc > 0 && getenv(INSIDE) == NULL)
    return go_inside(argv[0]);
  return cmocka_run_group_tests_name("udp_network", tests, set_up_network,
                                     NULL);
}
