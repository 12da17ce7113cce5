/* The rows of the cache's table: answers that are read, written and removed.
 * Each has a checksum, since SQLite has none. Storage thread only. */
#include "cache_rows.h"

#include <sqlite3.h>
#include <string.h>
#include <zlib.h>

#include "alloc.h"
#include "cache_table.h"

/* ---- Reading ------------------------------------------------------------- */

static uint32_t sum_number(uint32_t sum, int64_t number) {
  unsigned char bytes[8];
  int i;

  for (i = 0; i < 8; i++)
    bytes[i] = (unsigned char) ((uint64_t) number >> (8 * i));
  return (uint32_t) crc32(sum, bytes, sizeof(bytes));
}

static uint32_t sum_bytes(uint32_t sum, const void* bytes, size_t size) {
  sum = sum_number(sum, (int64_t) size);
  return size == 0 ? sum : (uint32_t) crc32(sum, bytes, (uInt) size);
}

uint32_t nt__rows_sum(const char* key, const nt__stored_t* stored,
                      uint64_t name, uint64_t size) {
  uint32_t sum = sum_bytes(0, key, strlen(key));

  sum = sum_number(sum, stored->status);
  sum = sum_number(sum, stored->asked);
  sum = sum_number(sum, stored->answered);
  sum = sum_number(sum, (int64_t) name);
  sum = sum_number(sum, (int64_t) size);
  sum = sum_bytes(sum, stored->varying.bytes, stored->varying.size);
  return sum_bytes(sum, stored->headers.bytes, stored->headers.size);
}

/* Names and values, each with a NUL: false if it is anything else. */
static bool read_fields(sqlite3_stmt* statement, int at, nt_headers_t* out) {
  size_t ends = 0;
  size_t i;

  out->bytes = sqlite3_column_blob(statement, at);
  out->size = (size_t) sqlite3_column_bytes(statement, at);
  if (out->bytes == NULL)
    out->bytes = "";
  for (i = 0; i < out->size; i++)
    ends += out->bytes[i] == '\0';
  out->count = ends / 2;
  return ends % 2 == 0 && (out->size == 0 || out->bytes[out->size - 1] == '\0');
}

/* False for what is no answer: a checksum keeps nobody from writing one. */
static bool read_stored(sqlite3_stmt* statement, nt__stored_t* stored) {
  stored->status = sqlite3_column_int(statement, 3);
  stored->asked = sqlite3_column_int64(statement, 4);
  stored->answered = sqlite3_column_int64(statement, 5);
  return read_fields(statement, 8, &stored->varying) &&
         read_fields(statement, 9, &stored->headers) && stored->status >= 200 &&
         stored->status <= 599 && stored->status != 304;
}

static int copy_blob(sqlite3_stmt* statement, int at, nt__buf_t* out) {
  return nt__buf_append(out, sqlite3_column_blob(statement, at),
                        (size_t) sqlite3_column_bytes(statement, at));
}

/* A body that lies in the row: 0, NT_E_NOMEM, NT_E_CACHE_MISS when it is not
 * what it was. */
static int read_inline(sqlite3_stmt* statement, nt__answer_t* answer) {
  nt__buf_t sums, bytes;
  int err;

  nt__buf_init(&sums, 0);
  nt__buf_init(&bytes, 0);
  err = copy_blob(statement, 11, &bytes);
  if (err == 0)
    err = nt__body_sums(bytes.data, bytes.size, &sums);
  if (err == 0 &&
      (bytes.size != answer->size || sums.size != answer->spot->sums.size ||
       (sums.size > 0 &&
        memcmp(sums.data, answer->spot->sums.data, sums.size) != 0)))
    err = NT_E_CACHE_MISS;
  if (err == 0) {
    answer->body = nt__body_take(&bytes);
    err = answer->body == NULL ? NT_E_NOMEM : 0;
  }
  nt__buf_free(&sums);
  nt__buf_free(&bytes);
  return err;
}

static int read_spot(nt__cache_file_t* file, sqlite3_stmt* statement,
                     nt__answer_t* answer) {
  nt__spot_t* spot = nt__spot_new(file);

  if (spot == NULL)
    return NT_E_NOMEM;
  answer->spot = spot;
  answer->size = (uint64_t) sqlite3_column_int64(statement, 6);
  spot->row = sqlite3_column_int64(statement, 0);
  spot->name = (uint64_t) sqlite3_column_int64(statement, 1);
  spot->used = sqlite3_column_int64(statement, 2);
  if (spot->used < 0)
    spot->used = 0;
  spot->size = answer->size;
  if (copy_blob(statement, 10, &spot->sums) != 0)
    return NT_E_NOMEM;
  if (spot->sums.size != nt__body_sums_size(spot->size))
    return NT_E_CACHE_MISS;
  return spot->name == 0 ? read_inline(statement, answer) : 0;
}

/* 0, NT_E_NOMEM, or NT_E_CACHE_MISS for a row that is damaged. */
static int read_row(nt__cache_file_t* file, sqlite3_stmt* statement,
                    const char* key, nt__answer_t** out) {
  nt__stored_t stored;
  uint32_t sum;
  int err;

  if (!read_stored(statement, &stored))
    return NT_E_CACHE_MISS;
  sum =
      nt__rows_sum(key, &stored, (uint64_t) sqlite3_column_int64(statement, 1),
                   (uint64_t) sqlite3_column_int64(statement, 6));
  if (sum != (uint32_t) sqlite3_column_int64(statement, 7))
    return NT_E_CACHE_MISS;
  *out = nt__answer_new(key, &stored);
  if (*out == NULL)
    return NT_E_NOMEM;
  err = read_spot(file, statement, *out);
  if (err)
    nt__answer_unref(*out);
  return err;
}

int nt__rows_select(nt__cache_file_t* file, nt__cache_call_t* call) {
  int64_t damaged = 0;
  int code;
  sqlite3_stmt* statement = nt__table_want(file, NT__ROWS_SELECT, &code);

  if (statement == NULL)
    return code;
  nt__table_bind_key(statement, call->key);
  while (call->error == 0 &&
         (code = nt__sqlite_step(&file->db, statement)) == SQLITE_ROW) {
    int err = read_row(file, statement, call->key, &call->answers[call->count]);

    if (err == 0)
      call->count++;
    else if (err == NT_E_CACHE_MISS)
      damaged = sqlite3_column_int64(statement, 0);
    else
      call->error = err;
  }
  nt__sqlite_finish(statement);
  if (damaged != 0)
    nt__table_discard(file, damaged);
  return code;
}

/* ---- Writing ------------------------------------------------------------- */

static void bind_stored(sqlite3_stmt* statement, const nt__stored_t* stored) {
  nt__table_bind_bytes(statement, 2, stored->varying.bytes,
                       stored->varying.size);
  sqlite3_bind_int(statement, 3, stored->status);
  sqlite3_bind_int64(statement, 4, stored->asked);
  sqlite3_bind_int64(statement, 5, stored->answered);
  nt__table_bind_bytes(statement, 6, stored->headers.bytes,
                       stored->headers.size);
}

int nt__rows_insert(nt__cache_file_t* file, const nt__answer_t* answer,
                    uint64_t name, uint64_t size, const nt__buf_t* sums,
                    int64_t writing) {
  int code;
  sqlite3_stmt* statement = nt__table_want(file, NT__ROWS_INSERT, &code);

  if (statement == NULL)
    return code;
  nt__table_bind_key(statement, answer->key);
  bind_stored(statement, &answer->stored);
  sqlite3_bind_int64(statement, 7,
                     nt__rows_sum(answer->key, &answer->stored, name, size));
  sqlite3_bind_int64(statement, 8, (int64_t) nt__answer_cost(answer, size));
  sqlite3_bind_int64(statement, 9, (int64_t) name);
  sqlite3_bind_int64(statement, 10, (int64_t) size);
  sqlite3_bind_int64(statement, 11, writing);
  nt__table_bind_bytes(statement, 12, sums->data, sums->size);
  if (name == 0)
    nt__table_bind_bytes(statement, 13, answer->body->data, answer->body->size);
  return nt__table_do(file, statement);
}

int nt__rows_purge(nt__cache_file_t* file, const nt__answer_t* answer,
                   int64_t row) {
  const nt_headers_t* varying = &answer->stored.varying;
  int code;
  sqlite3_stmt* statement = nt__table_want(file, NT__ROWS_PURGE, &code);

  if (statement == NULL)
    return code;
  nt__table_bind_key(statement, answer->key);
  nt__table_bind_bytes(statement, 2, varying->bytes, varying->size);
  sqlite3_bind_int64(statement, 3, row);
  code = nt__table_do(file, statement);
  if (code != SQLITE_DONE)
    return code;
  statement = nt__table_want(file, NT__ROWS_PRUNE, &code);
  if (statement == NULL)
    return code;
  nt__table_bind_key(statement, answer->key);
  return nt__table_do(file, statement);
}

int nt__rows_name(uint64_t* name) {
  int err = nt_random(name, sizeof(*name));

  *name = (*name >> 1) | 1; /* one that SQLite can have, and not 0 */
  return err;
}

static int write_body(nt__cache_file_t* file, const nt__answer_t* answer) {
  nt__spot_t* spot = answer->spot;
  nt__body_file_t body;
  int err = nt__rows_name(&spot->name);

  if (err == 0)
    err = nt__body_file_create(&body, file->bodies, spot->name);
  if (err)
    return err;
  err = nt__body_file_append(&body, answer->body->data, answer->body->size);
  nt__body_file_close(&body, err == 0);
  return err;
}

/* The file is written inside of the change: who sweeps sees none without its
 * row. */
static int put(nt__cache_file_t* file, nt__cache_call_t* call) {
  const nt__answer_t* answer = call->answer;
  nt__spot_t* spot = answer->spot;
  int code;

  if (answer->size > NT__INLINE_BYTES)
    call->error = write_body(file, answer);
  if (call->error != 0)
    return SQLITE_ABORT;
  code =
      nt__rows_insert(file, answer, spot->name, answer->size, &spot->sums, 0);
  if (code != SQLITE_DONE)
    return code;
  spot->row = sqlite3_last_insert_rowid(file->db.db);
  code = nt__rows_purge(file, answer, spot->row);
  return code == SQLITE_DONE ? nt__table_make_room(file, call, spot->row)
                             : code;
}

int nt__rows_put(nt__cache_file_t* file, nt__cache_call_t* call) {
  const nt__answer_t* answer = call->answer;
  nt__spot_t* spot = answer->spot;
  int code;

  spot->sums.size = 0;
  spot->size = answer->size;
  call->error =
      nt__body_sums(answer->body->data, answer->body->size, &spot->sums);
  if (call->error != 0)
    return SQLITE_OK;
  code = nt__table_transact(file, call, put);
  if (file->db.error == 0 && call->error == 0)
    return code;
  if (spot->name != 0)
    nt__body_remove(file->bodies, spot->name);
  spot->row = 0;
  spot->name = 0;
  return code;
}

static int update(nt__cache_file_t* file, nt__cache_call_t* call) {
  const nt__answer_t* answer = call->answer;
  const nt__spot_t* spot = answer->spot;
  int code;
  sqlite3_stmt* statement = nt__table_want(file, NT__ROWS_UPDATE, &code);

  if (statement == NULL)
    return code;
  bind_stored(statement, &answer->stored);
  sqlite3_bind_int64(
      statement, 7,
      nt__rows_sum(answer->key, &answer->stored, spot->name, spot->size));
  sqlite3_bind_int64(statement, 8,
                     (int64_t) nt__answer_cost(answer, spot->size));
  sqlite3_bind_int64(statement, 9, spot->row);
  code = nt__table_do(file, statement);
  if (code != SQLITE_DONE || nt__table_hit_nothing(file))
    return code;
  code = nt__rows_purge(file, answer, spot->row);
  return code == SQLITE_DONE ? nt__table_make_room(file, call, spot->row)
                             : code;
}

int nt__rows_update(nt__cache_file_t* file, nt__cache_call_t* call) {
  return nt__table_transact(file, call, update);
}

static int touch(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code = nt__table_do_with(file, NT__ROWS_TOUCH, call->spot->row);

  return code == SQLITE_DONE ? nt__sqlite_run(&file->db, NT__ROWS_TICK) : code;
}

int nt__rows_touch(nt__cache_file_t* file, nt__cache_call_t* call) {
  return nt__table_transact(file, call, touch);
}

/* ---- Removing ------------------------------------------------------------ */

static int delete_rows(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code;
  sqlite3_stmt* statement;

  if (call->key == NULL) {
    call->full = true;
    return nt__sqlite_run(&file->db, NT__ROWS_RAISE_FLOOR);
  }
  statement = nt__table_want(file, NT__ROWS_REMOVE, &code);
  if (statement == NULL)
    return code;
  nt__table_bind_key(statement, call->key);
  return nt__table_do(file, statement);
}

int nt__rows_remove(nt__cache_file_t* file, nt__cache_call_t* call) {
  return nt__table_transact(file, call, delete_rows);
}
