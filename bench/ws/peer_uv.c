/* Bare C: the same frames on uv_tcp, with nothing between. The measure of what
 * nettask's own layers cost, not a client that one could use: it believes the
 * server, checks no UTF-8, joins no fragments and answers no ping. What it does
 * do is what no client can leave out: a fresh mask a frame, and whole messages.
 */
#include <endian.h>
#include <sys/random.h>
#include <uv.h>

#include "load.h"

enum {
  READ_SIZE = 1 << 20,
  HEADER_MAX = 14,
  MASKS = 64, /* getrandom() gives 256 bytes at once */
  OP_TEXT = 1,
  OP_BINARY = 2
};

typedef struct client {
  load_t load;
  uv_loop_t loop;
  uv_tcp_t tcp;
  bool open;
  char* in; /* from here on: what was not a whole frame yet */
  size_t in_size;
} client_t;

/* What is sent for one read. */
typedef struct batch {
  uv_write_t request;
  size_t size;
  char bytes[];
} batch_t;

/* ---- Sending ------------------------------------------------------------- */

static uint32_t next_mask(void) {
  static uint32_t masks[MASKS];
  static size_t left;

  if (left == 0) {
    if (getrandom(masks, sizeof(masks), 0) != sizeof(masks))
      die("getrandom", "refused");
    left = MASKS;
  }
  return masks[--left];
}

static size_t put_header(unsigned char* out, int opcode, uint64_t size,
                         uint32_t mask) {
  size_t at = 2;

  out[0] = (unsigned char) (0x80 | opcode);
  if (size < 126) {
    out[1] = (unsigned char) (0x80 | size);
  } else if (size < 65536) {
    uint16_t length = htobe16((uint16_t) size);

    out[1] = 0x80 | 126;
    memcpy(out + at, &length, sizeof(length));
    at += sizeof(length);
  } else {
    uint64_t length = htobe64(size);

    out[1] = 0x80 | 127;
    memcpy(out + at, &length, sizeof(length));
    at += sizeof(length);
  }
  memcpy(out + at, &mask, sizeof(mask));
  return at + sizeof(mask);
}

static void put_masked(char* out, const char* data, size_t size,
                       uint32_t mask) {
  uint64_t twice = (uint64_t) mask << 32 | mask;
  size_t i = 0;

  for (; i + sizeof(twice) <= size; i += sizeof(twice)) {
    uint64_t word;

    memcpy(&word, data + i, sizeof(word));
    word ^= twice;
    memcpy(out + i, &word, sizeof(word));
  }
  for (; i < size; i++)
    out[i] = (char) (data[i] ^ ((const char*) &mask)[i % 4]);
}

static void on_written(uv_write_t* request, int status) {
  if (status != 0)
    die("write", uv_strerror(status));
  free(request->data);
}

static batch_t* make_batch(const load_t* load, size_t count) {
  batch_t* batch = malloc(sizeof(*batch) + count * (HEADER_MAX + load->size));

  if (batch == NULL)
    die("memory", "none");
  batch->size = 0;
  for (; count > 0; count--) {
    uint32_t mask = next_mask();
    char* out = batch->bytes + batch->size;
    size_t header =
        put_header((unsigned char*) out, load->binary ? OP_BINARY : OP_TEXT,
                   load->size, mask);

    put_masked(out + header, load->message, load->size, mask);
    batch->size += header + load->size;
  }
  return batch;
}

static void send_messages(client_t* client, size_t count) {
  batch_t* batch = make_batch(&client->load, count);
  uv_buf_t buf = uv_buf_init(batch->bytes, (unsigned) batch->size);
  int sent = uv_try_write((uv_stream_t*) &client->tcp, &buf, 1);

  if (sent == (int) batch->size) {
    free(batch);
    return;
  }
  if (sent > 0) {
    buf.base += sent;
    buf.len -= (size_t) sent;
  } else if (sent != UV_EAGAIN) {
    die("write", uv_strerror(sent));
  }
  batch->request.data = batch;
  uv_write(&batch->request, (uv_stream_t*) &client->tcp, &buf, 1, on_written);
}

/* ---- Receiving ----------------------------------------------------------- */

/* The size of the frame at `in`, or 0 if it is not whole. */
static size_t whole_frame(const unsigned char* in, size_t size,
                          size_t* payload) {
  size_t header = 2;

  if (size < 2)
    return 0;
  *payload = in[1];
  if (in[1] == 126)
    header = 4;
  else if (in[1] == 127)
    header = 10;
  if (size < header)
    return 0;
  if (header == 4) {
    *payload = (size_t) in[2] << 8 | in[3];
  } else if (header == 10) {
    uint64_t length;

    memcpy(&length, in + 2, sizeof(length));
    *payload = (size_t) be64toh(length);
  }
  return size - header < *payload ? 0 : header + *payload;
}

static void take_frames(client_t* client) {
  size_t at = 0, payload = 0, count = 0, frame;

  while ((frame = whole_frame((unsigned char*) client->in + at,
                              client->in_size - at, &payload)) != 0) {
    if (payload != client->load.size)
      die("echo", "not what was sent");
    at += frame;
    count++;
  }
  memmove(client->in, client->in + at, client->in_size - at);
  client->in_size -= at;
  client->load.done += count;
  if (!load_goes_on(&client->load))
    uv_stop(&client->loop);
  else if (count > 0)
    send_messages(client, count);
}

static void take_answer(client_t* client) {
  if (memmem(client->in, client->in_size, "\r\n\r\n", 4) == NULL)
    return;
  if (memcmp(client->in, "HTTP/1.1 101", 12) != 0)
    die("handshake", "refused");
  client->open = true;
  client->in_size = 0;
  send_messages(client, client->load.in_flight);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  client_t* client = handle->data;

  (void) suggested;
  *buf = uv_buf_init(client->in + client->in_size,
                     (unsigned) (READ_SIZE - client->in_size));
}

static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buf) {
  client_t* client = stream->data;

  (void) buf;
  if (size < 0)
    die("read", uv_strerror((int) size));
  client->in_size += (size_t) size;
  if (client->open)
    take_frames(client);
  else
    take_answer(client);
}

static void on_connect(uv_connect_t* request, int status) {
  static char text[] =
      "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
  uv_buf_t buf = uv_buf_init(text, sizeof(text) - 1);

  if (status != 0)
    die("connect", uv_strerror(status));
  uv_tcp_nodelay((uv_tcp_t*) request->handle, 1);
  uv_read_start(request->handle, on_alloc, on_read);
  if (uv_try_write(request->handle, &buf, 1) != (int) buf.len)
    die("handshake", "not sent");
}

int main(int argc, char** argv) {
  static client_t client;
  struct sockaddr_in address;
  uv_connect_t request;

  load_init(&client.load, argc, argv);
  client.in = malloc(READ_SIZE);
  if (client.in == NULL)
    die("memory", "none");
  uv_loop_init(&client.loop);
  uv_tcp_init(&client.loop, &client.tcp);
  client.tcp.data = &client;
  uv_ip4_addr(client.load.host, client.load.port, &address);
  uv_tcp_connect(&request, &client.tcp, (struct sockaddr*) &address,
                 on_connect);
  uv_run(&client.loop, UV_RUN_DEFAULT);
  return 0;
}
