/* An open WebSocket: messages in both directions, pings, and the frames that
 * end it. I/O thread only. */
#include <string.h>

#include "websocket.h"

enum {
  MESSAGE_START = offsetof(nt__chunk_t, data),
  PIECE_START = sizeof(nt__piece_t) + NT__WS_HEADER_MAX,
  RESERVE_MAX = 1024 * 1024, /* more is not reserved on the peer's word */
  DEFLATE_MIN = 64,          /* less is not worth it */
  PONGS_BLOCKED_MAX = 64,
  HELD_PONG_MS = 10000
};

static nt_context_t* context_of(const nt__websocket_t* ws) {
  return ws->task.ctx;
}

/* ---- Sending ------------------------------------------------------------- */

/* Puts the header in front of the payload, where there is room. */
static void frame(nt__websocket_t* ws, nt__piece_t* piece,
                  nt__ws_opcode_t opcode, bool compressed) {
  unsigned char header[NT__WS_HEADER_MAX];
  unsigned char mask[4];
  size_t size;

  nt__streams_random(context_of(ws)->io.streams, mask, sizeof(mask));
  size = nt__ws_write_header(header, opcode, compressed, piece->size, mask);
  nt__ws_mask(piece->data, piece->size, mask, 0);
  piece->data -= size;
  piece->size += size;
  memcpy(piece->data, header, size);
  nt__stream_write(&ws->stream, piece);
}

static int send_control(nt__websocket_t* ws, nt__ws_opcode_t opcode,
                        const char* data, size_t size) {
  nt__piece_t* piece = nt__calloc(PIECE_START + NT__WS_CONTROL_MAX);

  if (piece == NULL)
    return NT_E_NOMEM;
  piece->block.memory = piece;
  piece->data = (char*) piece + PIECE_START;
  piece->size = size;
  if (size > 0)
    memcpy(piece->data, data, size);
  frame(ws, piece, opcode, false);
  return 0;
}

int nt__ws_session_send_close(nt__websocket_t* ws, int code, const char* reason,
                              size_t reason_size) {
  char data[NT__WS_CONTROL_MAX];

  data[0] = (char) (code >> 8);
  data[1] = (char) code;
  if (reason_size > 0)
    memcpy(data + 2, reason, reason_size);
  return send_control(ws, NT__WS_CLOSE, data, 2 + reason_size);
}

/* A piece with the same payload, compressed, or NULL without memory. */
static nt__piece_t* compress(nt__websocket_t* ws, const nt__piece_t* piece) {
  static const char room[PIECE_START];
  nt__piece_t* packed;
  nt__buf_t out;

  nt__buf_init(&out, 0);
  if (nt__buf_append(&out, room, sizeof(room)) != 0 ||
      nt__ws_deflate_message(ws->deflate, piece->data, piece->size, &out) !=
          0) {
    nt__buf_free(&out);
    return NULL;
  }
  packed = (nt__piece_t*) (void*) out.data;
  packed->block.memory = out.data;
  packed->data = out.data + PIECE_START;
  packed->size = out.size - PIECE_START;
  packed->charge = piece->charge;
  packed->sends = piece->sends;
  packed->minute = piece->minute;
  return packed;
}

void nt__ws_session_send(nt__websocket_t* ws, nt__ws_opcode_t opcode,
                         nt__piece_t* piece) {
  nt__piece_t* packed;

  if (ws->deflate == NULL || piece->size < DEFLATE_MIN) {
    frame(ws, piece, opcode, false);
    return;
  }
  packed = compress(ws, piece);
  if (packed == NULL) {
    nt__stream_drop(&ws->stream, piece);
    nt__ws_fail(ws, NT_E_NOMEM, "");
    return;
  }
  nt__spare_give(&context_of(ws)->pieces, &piece->block);
  frame(ws, packed, opcode, true);
}

/* ---- The end ------------------------------------------------------------- */

/* It ends as the host has asked for, whatever the peer says now. */
static void leave_closed(nt__websocket_t* ws) {
  nt__ws_leave(ws, 0, "", ws->code, ws->reason, strlen(ws->reason));
}

/* We say why, so that the peer can mend it. */
static void refuse(nt__websocket_t* ws, int error, int code,
                   const char* problem) {
  size_t size = strlen(problem);

  if (ws->state == NT__WS_CLOSING) { /* one close frame is all there is */
    leave_closed(ws);
    return;
  }
  if (nt__ws_session_send_close(ws, code, problem, size) != 0)
    nt__ws_fail(ws, NT_E_NOMEM, "");
  else
    nt__ws_leave(ws, error, problem, code, problem, size);
}

static void refuse_text(nt__websocket_t* ws) {
  refuse(ws, NT_E_WS_TEXT, 1007, "Could not decode a text frame as UTF-8.");
}

static void refuse_size(nt__websocket_t* ws) {
  refuse(ws, NT_E_WS_SIZE, 1009, "Message too big");
}

static void on_close_frame(nt__websocket_t* ws, const char* data, size_t size) {
  bool bad_text = false;
  const char* reason;
  size_t reason_size;
  int code;
  const char* problem =
      nt__ws_read_close(data, size, &code, &reason, &reason_size, &bad_text);

  if (problem != NULL) {
    refuse(ws, bad_text ? NT_E_WS_TEXT : NT_E_WS_PROTOCOL,
           bad_text ? 1007 : 1002, problem);
    return;
  }
  if (ws->state == NT__WS_CLOSING) {
    leave_closed(ws);
    return;
  }
  /* The answer has the same code, or none. */
  if (send_control(ws, NT__WS_CLOSE, data, size >= 2 ? 2 : 0) != 0)
    nt__ws_fail(ws, NT_E_NOMEM, "");
  else
    nt__ws_leave(ws, 0, "", code, reason, reason_size);
}

/* ---- Messages ------------------------------------------------------------ */

/* A message is assembled where its event will lie, so it is copied once. */
static int make_room(nt__websocket_t* ws, size_t size) {
  nt__buf_t* buf = &ws->message;

  if (buf->data == NULL) {
    buf->data =
        nt__spare_take(&context_of(ws)->chunks, size + 1, &buf->capacity);
    if (buf->data == NULL)
      return NT_E_NOMEM;
    buf->capacity--; /* without the NUL */
  }
  buf->size = MESSAGE_START;
  return nt__buf_reserve(buf, size);
}

static int begin_message(nt__websocket_t* ws) {
  uint64_t hint = ws->reader.frame_left;

  ws->text = ws->reader.opcode == NT__WS_TEXT;
  ws->compressed = ws->reader.compressed;
  ws->checked = MESSAGE_START;
  memset(&ws->utf8, 0, sizeof(ws->utf8));
  if (!ws->compressed && hint > ws->message_max)
    return NT_E_FULL;
  if (ws->compressed || hint > RESERVE_MAX)
    hint = 0;
  return make_room(ws, MESSAGE_START + (size_t) hint);
}

static bool is_text(nt__websocket_t* ws) {
  const nt__buf_t* buf = &ws->message;
  bool ok = !ws->text || nt__utf8_feed(&ws->utf8, buf->data + ws->checked,
                                       buf->size - ws->checked);

  ws->checked = buf->size;
  return ok;
}

/* NT_E_FULL, NT_E_WS_TEXT, NT_E_DECODING, NT_E_NOMEM. */
static int add_data(nt__websocket_t* ws, const char* data, size_t size,
                    bool end) {
  int err;

  if (ws->compressed)
    err = nt__ws_inflate(ws->deflate, data, size, end, &ws->message);
  else if (ws->message.size + size + ws->reader.frame_left >
           MESSAGE_START + ws->message_max)
    err = NT_E_FULL; /* known before it has come */
  else
    err = nt__buf_append(&ws->message, data, size);
  if (err)
    return err;
  return is_text(ws) ? 0 : NT_E_WS_TEXT;
}

static void post_message(nt__websocket_t* ws) {
  nt__buf_t* buf = &ws->message;
  size_t size = buf->size - MESSAGE_START;
  nt__chunk_t* chunk = nt__chunk_init(&ws->task, NT_EV_MESSAGE, buf->data,
                                      buf->capacity + 1, size);

  chunk->binary = !ws->text;
  buf->data = NULL;
  buf->size = buf->capacity = 0;
  nt__event_post(context_of(ws), &chunk->event, size);
}

static int end_message(nt__websocket_t* ws) {
  int err = ws->compressed ? add_data(ws, "", 0, true) : 0;

  if (err == 0 && ws->text && !nt__utf8_done(&ws->utf8))
    err = NT_E_WS_TEXT;
  if (err == 0)
    post_message(ws);
  return err;
}

/* ---- Control frames ------------------------------------------------------ */

/* A peer that does not read gets no answer to each of its pings. */
static int answer_ping(nt__websocket_t* ws) {
  if (!ws->stream.blocked)
    ws->pongs_blocked = 0;
  else if (++ws->pongs_blocked > PONGS_BLOCKED_MAX)
    return 0;
  return send_control(ws, NT__WS_PONG, ws->reader.data, ws->reader.size);
}

static int on_control(nt__websocket_t* ws) {
  switch (ws->reader.opcode) {
    case NT__WS_PING:
      return answer_ping(ws);
    case NT__WS_PONG:
      ws->pong_due = 0;
      return 0;
    default:
      on_close_frame(ws, ws->reader.data, ws->reader.size);
      return 0;
  }
}

/* ---- Bytes that come in -------------------------------------------------- */

static int handle(nt__websocket_t* ws, nt__ws_item_t item) {
  if (item == NT__WS_CONTROL)
    return on_control(ws);
  if (ws->state != NT__WS_OPEN) /* nobody waits for messages any more */
    return 0;
  switch (item) {
    case NT__WS_BEGIN:
      return begin_message(ws);
    case NT__WS_DATA:
      return add_data(ws, ws->reader.data, ws->reader.size, false);
    case NT__WS_END:
      return end_message(ws);
    default:
      return 0;
  }
}

static void give_up(nt__websocket_t* ws, int error) {
  switch (error) {
    case NT_E_FULL:
      refuse_size(ws);
      return;
    case NT_E_WS_TEXT:
      refuse_text(ws);
      return;
    case NT_E_DECODING:
      refuse(ws, NT_E_WS_PROTOCOL, 1002, "Could not inflate a message");
      return;
    default:
      nt__ws_fail(ws, error, "");
  }
}

void nt__ws_session_hold(nt__websocket_t* ws) {
  nt__task_hold(&ws->task);
  if (ws->held_since != 0)
    return;
  nt__stream_hold(&ws->stream);
  ws->held_since = nt__ws_now(ws);
  ws->held_pong_due = ws->held_since + HELD_PONG_MS;
  nt__ws_arm(ws);
}

static bool reads_frames(const nt__websocket_t* ws) {
  return ws->state == NT__WS_OPEN || ws->state == NT__WS_CLOSING;
}

size_t nt__ws_session_feed(nt__websocket_t* ws, const char* data, size_t size) {
  size_t left = size;

  while (reads_frames(ws)) {
    nt__ws_item_t item = nt__ws_reader_next(&ws->reader, &data, &left);
    int err;

    if (item == NT__WS_MORE)
      return size;
    if (item == NT__WS_BAD) {
      refuse(ws, NT_E_WS_PROTOCOL, 1002, ws->reader.problem);
      break;
    }
    err = handle(ws, item);
    if (err)
      give_up(ws, err);
    else if (item == NT__WS_END && ws->state == NT__WS_OPEN &&
             nt__is_over_mark(context_of(ws), &ws->task)) {
      nt__ws_session_hold(ws);
      return size - left;
    }
  }
  return size; /* what follows the end does not matter */
}

void nt__ws_session_resume(nt__websocket_t* ws) {
  uint64_t pause;

  if (ws->held_since == 0)
    return;
  pause = nt__ws_now(ws) - ws->held_since;
  if (ws->ping_due != 0)
    ws->ping_due += pause;
  if (ws->pong_due != 0)
    ws->pong_due += pause;
  ws->held_since = ws->held_pong_due = 0;
  nt__ws_arm(ws);
  nt__stream_resume(&ws->stream);
}

/* ---- Pings --------------------------------------------------------------- */

static int ping(nt__websocket_t* ws) {
  uint64_t now = nt__ws_now(ws);

  ws->ping_due = now + ws->ping_interval;
  if (ws->pong_due == 0)
    ws->pong_due = now + ws->pong_timeout;
  return send_control(ws, NT__WS_PING, "", 0);
}

/* Nothing is read now, so a ping would not be answered: this tells the peer
 * that we are alive. */
static int pong(nt__websocket_t* ws) {
  ws->held_pong_due = nt__ws_now(ws) + HELD_PONG_MS;
  return ws->stream.blocked ? 0 : send_control(ws, NT__WS_PONG, "", 0);
}

void nt__ws_session_due(nt__websocket_t* ws) {
  uint64_t now = nt__ws_now(ws);
  int err = 0;

  if (ws->held_since != 0) {
    if (now >= ws->held_pong_due)
      err = pong(ws);
  } else if (ws->pong_due != 0 && now >= ws->pong_due) {
    nt__ws_lose(ws, 1006, NULL);
    return;
  } else if (ws->ping_due != 0 && now >= ws->ping_due) {
    err = ping(ws);
  }
  if (err)
    nt__ws_fail(ws, err, "");
}

/* ---- Begin and end ------------------------------------------------------- */

int nt__ws_session_begin(nt__websocket_t* ws, const nt__ws_deal_t* deal) {
  if (deal->deflate) {
    ws->deflate = nt__ws_deflate_new(&deal->params);
    if (ws->deflate == NULL)
      return NT_E_NOMEM;
  }
  nt__ws_reader_init(&ws->reader, deal->deflate);
  nt__buf_init(&ws->message, MESSAGE_START + ws->message_max);
  ws->pongs_blocked = 0;
  if (ws->ping_interval != 0)
    ws->ping_due = nt__ws_now(ws) + ws->ping_interval;
  return 0;
}

void nt__ws_session_end(nt__websocket_t* ws) {
  nt__ws_deflate_free(ws->deflate);
  ws->deflate = NULL;
  nt__buf_free(&ws->message);
  ws->ping_due = ws->pong_due = 0;
  ws->held_since = ws->held_pong_due = 0;
}
