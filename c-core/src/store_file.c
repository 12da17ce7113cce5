/* The store: one table in an SQLite file that other processes may use too, or
 * in memory. When it is full, what was used least recently goes.
 *
 * A file that SQLite finds damaged is set aside and a new one begun, whenever
 * that shows: what is in the store can be had again. A file of somebody else is
 * left alone.
 *
 * A commit does not wait for the disk: what a kill leaves is right, a power cut
 * may cost the last values. Storage thread only. */
#include "store_file.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "file.h"

enum {
  ENTRY_BYTES = 64, /* what an entry costs beside key and value */
  BUSY_MS = 500     /* for another process to finish */
};

/* In the header of our files, "ntsk". 1: the table as it is below. */
#define MARK "1853125483" /* "ntsk" */
#define OUR_MARK 1853125483
#define OUR_VERSION 1

static const char* const texts[NT__STORE_STATEMENTS] = {
  "SELECT value FROM store WHERE key = ?1",
  "UPDATE store SET used = ?2 WHERE key = ?1",
  "REPLACE INTO store (key, used, size, value) VALUES (?1, ?2, ?3, ?4)",
  "DELETE FROM store WHERE key = ?1",
  "SELECT total(size), max(used) FROM store",
  "SELECT id, size FROM store ORDER BY used LIMIT 1",
  "DELETE FROM store WHERE id = ?1",
  "BEGIN IMMEDIATE",
  "COMMIT",
  "ROLLBACK",
};

static const char create[] =
    "CREATE TABLE store (id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL,"
    " used INTEGER NOT NULL, size INTEGER NOT NULL, value BLOB NOT NULL);"
    "CREATE INDEX store_used ON store (used, size);"
    "PRAGMA application_id = " MARK
    ";"
    "PRAGMA user_version = 1";

uint64_t nt__store_cost(size_t key_size, size_t value_size) {
  return (uint64_t) key_size + value_size + ENTRY_BYTES;
}

/* ---- Errors -------------------------------------------------------------- */

/* The call ends with the error; a file error of SQLite names the system's. */
static int fail(nt__store_call_t* call, int error, const char* path,
                const char* why) {
  call->error = error;
  snprintf(call->message, sizeof(call->message), "%s: %s",
           path == NULL ? "the store" : path, why);
  return error;
}

static int open_error(sqlite3* db) {
  int error = sqlite3_system_errno(db);

  if (error == 0)
    return NT_E_FILE;
  return nt__file_error(uv_translate_sys_error(error), NT_E_NO_FOLDER);
}

static int our_error(sqlite3* db, int code) {
  switch (code & 0xff) {
    case SQLITE_NOMEM:
      return NT_E_NOMEM;
    case SQLITE_FULL:
      return NT_E_DISK_FULL;
    case SQLITE_CANTOPEN:
      return open_error(db);
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return NT_E_PERMISSION;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return NT_E_BUSY;
    case SQLITE_TOOBIG:
      return NT_E_VALUE_SIZE;
    default:
      return NT_E_FILE;
  }
}

/* The result of SQLite if it is one that ends the call. */
static int check(nt__store_file_t* store, nt__store_call_t* call, int code) {
  if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE)
    fail(call, our_error(store->db, code), store->path,
         store->db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(store->db));
  return code;
}

static bool is_damage(int code) {
  code &= 0xff;
  return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

/* ---- Statements ---------------------------------------------------------- */

/* NULL: the call has failed, with the result in `code`. */
static sqlite3_stmt* prepare(nt__store_file_t* store, nt__store_call_t* call,
                             nt__store_statement_t which, int* code) {
  sqlite3_stmt** slot = &store->statements[which];

  *code = SQLITE_OK;
  if (*slot == NULL)
    *code = check(store, call,
                  sqlite3_prepare_v3(store->db, texts[which], -1,
                                     SQLITE_PREPARE_PERSISTENT, slot, NULL));
  return *slot;
}

static int bind_key(sqlite3_stmt* statement, const nt__store_call_t* call) {
  return sqlite3_bind_blob64(statement, 1, call->key, call->key_size,
                             SQLITE_STATIC);
}

/* Lets go of the key and of what was read. */
static void finish(sqlite3_stmt* statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
}

/* One without parameters and result. */
static int step(nt__store_file_t* store, nt__store_call_t* call,
                nt__store_statement_t which) {
  int code;
  sqlite3_stmt* statement = prepare(store, call, which, &code);

  if (statement == NULL)
    return code;
  code = check(store, call, sqlite3_step(statement));
  finish(statement);
  return code;
}

/* After an error inside of a transaction, which is told already. */
static void roll_back(nt__store_file_t* store) {
  nt__store_call_t ignored;

  if (sqlite3_get_autocommit(store->db))
    return; /* SQLite has done so */
  memset(&ignored, 0, sizeof(ignored));
  step(store, &ignored, NT__STORE_ROLLBACK);
}

/* ---- Opening ------------------------------------------------------------- */

static void close_db(nt__store_file_t* store) {
  int i;

  for (i = 0; i < NT__STORE_STATEMENTS; i++) {
    sqlite3_finalize(store->statements[i]);
    store->statements[i] = NULL;
  }
  sqlite3_close(store->db);
  store->db = NULL;
}

void nt__store_file_close(nt__store_file_t* store) {
  close_db(store);
  nt__free(store->path);
  store->path = NULL;
}

/* The first column of the first row. */
static int read_number(nt__store_file_t* store, nt__store_call_t* call,
                       const char* text, int64_t* number) {
  sqlite3_stmt* statement = NULL;
  int code = sqlite3_prepare_v2(store->db, text, -1, &statement, NULL);

  if (code == SQLITE_OK)
    code = sqlite3_step(statement);
  check(store, call, code);
  *number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
  sqlite3_finalize(statement);
  return code == SQLITE_ROW ? SQLITE_OK : code;
}

static int run_text(nt__store_file_t* store, nt__store_call_t* call,
                    const char* text) {
  return check(store, call, sqlite3_exec(store->db, text, NULL, NULL, NULL));
}

/* Whose file it is. SQLITE_ERROR if it is somebody else's. */
static int look(nt__store_file_t* store, nt__store_call_t* call,
                bool* is_empty) {
  int64_t mark, version, objects;
  int code = read_number(store, call, "PRAGMA application_id", &mark);

  if (code == SQLITE_OK)
    code = read_number(store, call, "PRAGMA user_version", &version);
  if (code == SQLITE_OK)
    code = read_number(store, call, "SELECT count(*) FROM sqlite_master",
                       &objects);
  if (code != SQLITE_OK)
    return code;
  *is_empty = objects == 0;
  if (*is_empty || (mark == OUR_MARK && version == OUR_VERSION))
    return SQLITE_OK;
  fail(call, NT_E_NOT_A_STORE, store->path, nt_error_message(NT_E_NOT_A_STORE));
  return SQLITE_ERROR;
}

/* What it holds, exactly. Other processes may have added to it. */
static int measure(nt__store_file_t* store, nt__store_call_t* call) {
  int code;
  sqlite3_stmt* statement = prepare(store, call, NT__STORE_MEASURE, &code);

  if (statement == NULL)
    return code;
  code = check(store, call, sqlite3_step(statement));
  if (code == SQLITE_ROW) {
    store->size = (uint64_t) sqlite3_column_double(statement, 0);
    store->clock = sqlite3_column_int64(statement, 1);
  }
  finish(statement);
  return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* In one transaction, since another process may be about to do the same. */
static int make_table(nt__store_file_t* store, nt__store_call_t* call) {
  bool is_empty = false;
  int code = step(store, call, NT__STORE_BEGIN);

  if (code != SQLITE_DONE)
    return code;
  code = look(store, call, &is_empty);
  if (code == SQLITE_OK && is_empty)
    code = run_text(store, call, create);
  if (code == SQLITE_OK)
    code = measure(store, call);
  if (code == SQLITE_OK)
    code = step(store, call, NT__STORE_COMMIT);
  if (code == SQLITE_DONE)
    return SQLITE_OK;
  roll_back(store);
  return code;
}

/* Nothing is written before it is known whose file it is. */
static int begin_use(nt__store_file_t* store, nt__store_call_t* call) {
  bool is_empty;
  int code = look(store, call, &is_empty);

  if (code == SQLITE_OK)
    code = run_text(store, call,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                    "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
                    "PRAGMA cell_size_check = ON");
  return code == SQLITE_OK ? make_table(store, call) : code;
}

/* Nothing that opening it could wait for. */
static bool is_plain(nt__store_file_t* store, nt__store_call_t* call) {
  nt__file_info_t info;
  int err = store->path == NULL ? UV_ENOENT : nt__file_look(store->path, &info);

  if (err != 0 || info.regular)
    return true;
  fail(call, NT_E_NOT_A_FILE, store->path, nt_error_message(NT_E_NOT_A_FILE));
  return false;
}

static int open_db(nt__store_file_t* store, nt__store_call_t* call) {
  const int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  int code;

  if (!is_plain(store, call))
    return SQLITE_ERROR;
  code = check(store, call,
               sqlite3_open_v2(store->path == NULL ? ":memory:" : store->path,
                               &store->db, flags, NULL));
  if (code == SQLITE_OK) {
    sqlite3_busy_timeout(store->db, BUSY_MS);
    code = begin_use(store, call);
  }
  if (code != SQLITE_OK)
    close_db(store);
  return code;
}

/* ---- Damage -------------------------------------------------------------- */

static char* with_suffix(const char* path, const char* suffix) {
  size_t size = strlen(path) + strlen(suffix) + 1;
  char* name = nt__malloc(size);

  if (name != NULL)
    snprintf(name, size, "%s%s", path, suffix);
  return name;
}

static void remove_beside(const char* path, const char* suffix) {
  char* name = with_suffix(path, suffix);

  if (name != NULL)
    nt__file_remove(name);
  nt__free(name);
}

/* The damaged file takes another name, and what belongs to it goes. */
static bool set_aside(nt__store_file_t* store, nt__store_call_t* call) {
  char* aside;
  int err;

  close_db(store);
  if (store->path == NULL)
    return true;
  aside = with_suffix(store->path, ".damaged");
  err = aside == NULL ? UV_ENOMEM : nt__file_rename(store->path, aside);
  nt__free(aside);
  if (err) {
    fail(call, nt__file_error(err, NT_E_NO_FILE), store->path,
         "damaged, and cannot be set aside");
    return false;
  }
  remove_beside(store->path, "-wal");
  remove_beside(store->path, "-shm");
  remove_beside(store->path, "-journal");
  return true;
}

/* ---- Actions ------------------------------------------------------------- */

static int copy_value(nt__store_call_t* call, sqlite3_stmt* statement) {
  const void* value = sqlite3_column_blob(statement, 0);
  size_t size = (size_t) sqlite3_column_bytes(statement, 0);
  char* copy = nt__malloc(size + 1);

  if (copy == NULL)
    return fail(call, NT_E_NOMEM, NULL, nt_error_message(NT_E_NOMEM));
  if (size > 0)
    memcpy(copy, value, size);
  copy[size] = '\0';
  call->data = copy;
  call->size = size;
  return 0;
}

/* Among those used last. That it cannot be said does not matter, except of a
 * file that is damaged. */
static int touch(nt__store_file_t* store, nt__store_call_t* call) {
  nt__store_call_t quiet = *call;
  int code;
  sqlite3_stmt* statement = prepare(store, &quiet, NT__STORE_TOUCH, &code);

  if (statement == NULL)
    return code;
  bind_key(statement, call);
  sqlite3_bind_int64(statement, 2, ++store->clock);
  code = sqlite3_step(statement);
  finish(statement);
  return code;
}

static int get(nt__store_file_t* store, nt__store_call_t* call) {
  int code;
  sqlite3_stmt* statement = prepare(store, call, NT__STORE_SELECT, &code);

  if (statement == NULL)
    return code;
  bind_key(statement, call);
  code = check(store, call, sqlite3_step(statement));
  if (code == SQLITE_ROW && copy_value(call, statement) != 0)
    code = SQLITE_NOMEM;
  finish(statement);
  return code == SQLITE_ROW ? touch(store, call) : code;
}

static int remove_entry(nt__store_file_t* store, nt__store_call_t* call) {
  int code;
  sqlite3_stmt* statement = prepare(store, call, NT__STORE_DELETE, &code);

  if (statement == NULL)
    return code;
  bind_key(statement, call);
  code = check(store, call, sqlite3_step(statement));
  finish(statement);
  return code;
}

static int insert(nt__store_file_t* store, nt__store_call_t* call) {
  uint64_t cost = nt__store_cost(call->key_size, call->value_size);
  int code;
  sqlite3_stmt* statement = prepare(store, call, NT__STORE_INSERT, &code);

  if (statement == NULL)
    return code;
  bind_key(statement, call);
  sqlite3_bind_int64(statement, 2, ++store->clock);
  sqlite3_bind_int64(statement, 3, (int64_t) cost);
  sqlite3_bind_blob64(statement, 4, call->value, call->value_size,
                      SQLITE_STATIC);
  code = check(store, call, sqlite3_step(statement));
  finish(statement);
  store->size += cost; /* less, if it took the place of another */
  return code;
}

/* What was used least recently: SQLITE_ROW, or SQLITE_DONE if there is none. */
static int find_oldest(nt__store_file_t* store, nt__store_call_t* call,
                       int64_t* id, uint64_t* size) {
  int code;
  sqlite3_stmt* statement = prepare(store, call, NT__STORE_OLDEST, &code);

  if (statement == NULL)
    return code;
  code = check(store, call, sqlite3_step(statement));
  if (code == SQLITE_ROW) {
    *id = sqlite3_column_int64(statement, 0);
    *size = (uint64_t) sqlite3_column_int64(statement, 1);
  }
  finish(statement);
  return code;
}

/* The oldest goes: SQLITE_DONE. */
static int evict(nt__store_file_t* store, nt__store_call_t* call) {
  int64_t id = 0;
  uint64_t size = 0;
  int code = find_oldest(store, call, &id, &size);
  sqlite3_stmt* statement;

  if (code != SQLITE_ROW)
    return code == SQLITE_DONE ? SQLITE_ERROR : code;
  statement = prepare(store, call, NT__STORE_EVICT, &code);
  if (statement == NULL)
    return code;
  sqlite3_bind_int64(statement, 1, id);
  code = check(store, call, sqlite3_step(statement));
  finish(statement);
  store->size -= size < store->size ? size : store->size;
  return code;
}

/* To an eighth below the cap, so that the next ones need not look. The newest
 * is the last that would go. */
static int make_room(nt__store_file_t* store, nt__store_call_t* call,
                     uint64_t max) {
  uint64_t cost = nt__store_cost(call->key_size, call->value_size);
  uint64_t target = max - max / 8;
  int code;

  if (max == 0 || store->size <= max)
    return SQLITE_DONE;
  code = measure(store, call);
  if (code != SQLITE_OK || store->size <= max)
    return code;
  if (target < cost)
    target = cost;
  do {
    code = evict(store, call);
  } while (code == SQLITE_DONE && store->size > target);
  return code;
}

static int put(nt__store_file_t* store, nt__store_call_t* call, uint64_t max) {
  int code = step(store, call, NT__STORE_BEGIN);

  if (code != SQLITE_DONE)
    return code;
  code = insert(store, call);
  if (code == SQLITE_DONE)
    code = make_room(store, call, max);
  if (call->error == 0)
    code = step(store, call, NT__STORE_COMMIT);
  if (call->error != 0)
    roll_back(store);
  return code;
}

static int act(nt__store_file_t* store, const nt_policy_t* policy,
               nt__store_call_t* call) {
  switch (call->action) {
    case NT_STORE_GET:
      return get(store, call);
    case NT_STORE_REMOVE:
      return remove_entry(store, call);
    default:
      return put(store, call, policy->store_max_bytes);
  }
}

static int open_and_act(nt__store_file_t* store, const nt_policy_t* policy,
                        nt__store_call_t* call) {
  int code = store->db == NULL ? open_db(store, call) : SQLITE_OK;

  return code == SQLITE_OK ? act(store, policy, call) : code;
}

/* SQLite takes some names for something else than a file. */
static char* file_name(const char* path) {
  if (path[0] == ':' || strncmp(path, "file:", 5) == 0)
    return nt__file_join(".", path, "");
  return nt__strdup(path);
}

/* The store is that of the policy from now on. */
static int choose(nt__store_file_t* store, const nt_policy_t* policy) {
  char* path = NULL;

  if (policy->store_file != NULL) {
    path = file_name(policy->store_file);
    if (path == NULL)
      return NT_E_NOMEM;
  }
  if ((path == NULL) == (store->path == NULL) &&
      (path == NULL || strcmp(path, store->path) == 0)) {
    nt__free(path);
    return 0;
  }
  nt__store_file_close(store);
  store->path = path;
  return 0;
}

static void forget_result(nt__store_call_t* call) {
  nt__free(call->data);
  call->data = NULL;
  call->size = 0;
  call->error = 0;
  call->message[0] = '\0';
}

void nt__store_file_run(nt__store_file_t* store, const nt_policy_t* policy,
                        nt__store_call_t* call) {
  int code;

  if (choose(store, policy) != 0) {
    fail(call, NT_E_NOMEM, NULL, nt_error_message(NT_E_NOMEM));
    return;
  }
  code = open_and_act(store, policy, call);
  if (!is_damage(code))
    return;
  forget_result(call);
  if (!set_aside(store, call))
    return;
  open_and_act(store, policy, call);
  if (call->error == 0)
    snprintf(call->message, sizeof(call->message),
             "%s: was damaged, and is begun anew; what is left of it is in"
             " %s.damaged",
             store->path == NULL ? "the store" : store->path,
             store->path == NULL ? "memory" : store->path);
}
