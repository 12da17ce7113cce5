/* Answers whose body is written while it comes in: a row that says so, and a
 * file that grows. The row tells every few MB how much it counts by now. When
 * it has gone meanwhile, to make room or because the URL was cleared, the
 * answer is not stored. Storage thread only. */
#include "cache_tape.h"

#include <sqlite3.h>
#include <string.h>

#include "cache_rows.h"
#include "cache_table.h"
#include "internal.h"

enum {
  CHARGE_BYTES = 4 << 20 /* between two looks at the cap */
};

void nt__tape_lose(nt__tape_t* tape) {
  nt__body_file_close(&tape->body, false);
  memset(tape, 0, sizeof(*tape));
  tape->error = NT_E_FILE;
}

int nt__tape_drop(nt__cache_file_t* file, nt__cache_call_t* call) {
  nt__tape_t* tape = call->tape;

  if (tape->row != 0)
    nt__table_discard(file, tape->row);
  nt__tape_lose(tape);
  return SQLITE_OK;
}

/* ---- Changes ------------------------------------------------------------- */

static int begin(nt__cache_file_t* file, nt__cache_call_t* call) {
  static const nt__buf_t none;
  nt__tape_t* tape = call->tape;
  int code =
      nt__rows_insert(file, call->answer, tape->name, 0, &none, nt__unix_ms());

  if (code != SQLITE_DONE)
    return code;
  tape->row = sqlite3_last_insert_rowid(file->db.db);
  return nt__table_make_room(file, call, tape->row);
}

static int grow(nt__cache_file_t* file, nt__cache_call_t* call) {
  nt__tape_t* tape = call->tape;
  uint64_t cost = nt__answer_cost(call->answer, tape->body.size);
  int code;
  sqlite3_stmt* statement = nt__table_want(file, NT__ROWS_GROW, &code);

  if (statement == NULL)
    return code;
  sqlite3_bind_int64(statement, 1, tape->row);
  sqlite3_bind_int64(statement, 2, (int64_t) cost);
  sqlite3_bind_int64(statement, 3, nt__unix_ms());
  code = nt__table_do(file, statement);
  if (code != SQLITE_DONE)
    return code;
  if (nt__table_hit_nothing(file))
    call->error = NT_E_CACHE_MISS;
  tape->charged = tape->body.size;
  return nt__table_make_room(file, call, tape->row);
}

static int finish(nt__cache_file_t* file, nt__cache_call_t* call) {
  nt__tape_t* tape = call->tape;
  const nt__answer_t* answer = call->answer;
  uint64_t size = tape->body.size;
  int code;
  sqlite3_stmt* statement = nt__table_want(file, NT__ROWS_FINISH, &code);

  if (statement == NULL)
    return code;
  sqlite3_bind_int64(statement, 1, tape->row);
  sqlite3_bind_int64(statement, 2, (int64_t) nt__answer_cost(answer, size));
  sqlite3_bind_int64(statement, 3, (int64_t) size);
  sqlite3_bind_int64(
      statement, 4,
      nt__rows_sum(answer->key, &answer->stored, tape->name, size));
  nt__table_bind_bytes(statement, 5, tape->body.sums.data,
                       tape->body.sums.size);
  code = nt__table_do(file, statement);
  if (code != SQLITE_DONE)
    return code;
  if (nt__table_hit_nothing(file)) {
    call->error = NT_E_CACHE_MISS;
    return SQLITE_DONE;
  }
  code = nt__rows_purge(file, answer, tape->row);
  return code == SQLITE_DONE ? nt__table_make_room(file, call, tape->row)
                             : code;
}

/* ---- Calls --------------------------------------------------------------- */

static bool has_failed(const nt__cache_file_t* file,
                       const nt__cache_call_t* call) {
  return call->error != 0 || file->db.error != 0;
}

/* The row comes first: a file without one is swept. */
static int start(nt__cache_file_t* file, nt__cache_call_t* call) {
  nt__tape_t* tape = call->tape;
  int code;

  call->error = nt__rows_name(&tape->name);
  if (call->error != 0)
    return SQLITE_OK;
  code = nt__table_transact(file, call, begin);
  if (!has_failed(file, call))
    call->error = nt__body_file_create(&tape->body, file->bodies, tape->name);
  return code;
}

static int write_piece(nt__cache_file_t* file, nt__cache_call_t* call) {
  nt__tape_t* tape = call->tape;
  int code = SQLITE_OK;

  if (tape->error != 0) /* no piece may be missing */
    call->error = tape->error;
  else if (tape->row == 0)
    code = start(file, call);
  if (!has_failed(file, call))
    call->error = nt__body_file_append(&tape->body, call->data, call->size);
  if (!has_failed(file, call) &&
      tape->body.size - tape->charged >= CHARGE_BYTES)
    code = nt__table_transact(file, call, grow);
  return code;
}

int nt__tape_write(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code = write_piece(file, call);

  if (has_failed(file, call) && !nt__sqlite_is_damage(code))
    nt__tape_drop(file, call);
  return code;
}

int nt__tape_commit(nt__cache_file_t* file, nt__cache_call_t* call) {
  nt__tape_t* tape = call->tape;
  int code = write_piece(file, call);

  if (!has_failed(file, call))
    code = nt__table_transact(file, call, finish);
  if (!has_failed(file, call)) {
    nt__body_file_close(&tape->body, true);
    nt__tape_lose(tape);
  } else if (!nt__sqlite_is_damage(code)) {
    nt__tape_drop(file, call);
  }
  return code;
}
