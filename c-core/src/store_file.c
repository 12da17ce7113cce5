/* The store: one table in an SQLite file that other processes may use too, or
 * in memory. When it is full, what was used least recently goes.
 *
 * A file that SQLite finds damaged is set aside and a new one begun, whenever
 * that shows: what is in the store can be had again.
 *
 * Storage thread only. */
#include "store_file.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"

enum {
  ENTRY_BYTES = 64, /* what an entry costs beside key and value */
  BUSY_MS = 500     /* for another process to finish */
};

enum {
  SELECT = NT__SQLITE_OWN,
  TOUCH,
  INSERT,
  DELETE,
  MEASURE,
  OLDEST,
  EVICT
};

static const char* const texts[] = {
  NT__SQLITE_TEXTS,
  "SELECT value FROM store WHERE key = ?1",
  "UPDATE store SET used = ?2 WHERE key = ?1",
  "REPLACE INTO store (key, used, size, value) VALUES (?1, ?2, ?3, ?4)",
  "DELETE FROM store WHERE key = ?1",
  "SELECT total(size), max(used) FROM store",
  "SELECT id, size FROM store ORDER BY used LIMIT 1",
  "DELETE FROM store WHERE id = ?1",
};

/* In the header of our files, "ntsk". 1: the table as it is below. */
static const nt__sqlite_kind_t kind = {
  .name = "the store",
  .mark = 1853125483,
  .version = 1,
  .create =
      "CREATE TABLE store (id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL,"
      " used INTEGER NOT NULL, size INTEGER NOT NULL, value BLOB NOT NULL);"
      "CREATE INDEX store_used ON store (used, size);"
      "PRAGMA application_id = 1853125483;"
      "PRAGMA user_version = 1",
  .texts = texts,
  .busy_ms = BUSY_MS,
};

uint64_t nt__store_cost(size_t key_size, size_t value_size) {
  return (uint64_t) key_size + value_size + ENTRY_BYTES;
}

static void bind_key(sqlite3_stmt* statement, const nt__store_call_t* call) {
  sqlite3_bind_blob64(statement, 1, call->key, call->key_size, SQLITE_STATIC);
}

void nt__store_file_close(nt__store_file_t* store) {
  nt__sqlite_close(&store->file);
  nt__free(store->file.path);
  store->file.path = NULL;
}

/* What it holds, exactly. Other processes may have added to it. */
static int measure(nt__store_file_t* store) {
  int code;
  sqlite3_stmt* statement = nt__sqlite_prepare(&store->file, MEASURE, &code);

  if (statement == NULL)
    return code;
  code = nt__sqlite_step(&store->file, statement);
  if (code == SQLITE_ROW) {
    store->size = (uint64_t) sqlite3_column_double(statement, 0);
    store->clock = sqlite3_column_int64(statement, 1);
  }
  nt__sqlite_finish(statement);
  return code == SQLITE_ROW ? SQLITE_OK : code;
}

static int open_db(nt__store_file_t* store) {
  int code = nt__sqlite_open(&store->file);

  if (code != SQLITE_OK)
    return code;
  code = measure(store);
  if (code != SQLITE_OK)
    nt__sqlite_close(&store->file);
  return code;
}

/* ---- Actions ------------------------------------------------------------- */

static int copy_value(nt__store_call_t* call, sqlite3_stmt* statement) {
  const void* value = sqlite3_column_blob(statement, 0);
  size_t size = (size_t) sqlite3_column_bytes(statement, 0);
  char* copy = nt__malloc(size + 1);

  if (copy == NULL)
    return NT_E_NOMEM;
  if (size > 0)
    memcpy(copy, value, size);
  copy[size] = '\0';
  call->data = copy;
  call->size = size;
  return 0;
}

/* Among those used last. That it cannot be said does not matter, except of a
 * file that is damaged. */
static int touch(nt__store_file_t* store, const nt__store_call_t* call) {
  int code;
  sqlite3_stmt* statement = nt__sqlite_prepare(&store->file, TOUCH, &code);

  if (statement != NULL) {
    bind_key(statement, call);
    sqlite3_bind_int64(statement, 2, ++store->clock);
    code = nt__sqlite_step(&store->file, statement);
  }
  nt__sqlite_finish(statement);
  nt__sqlite_forgive(&store->file);
  return code;
}

static int get(nt__store_file_t* store, nt__store_call_t* call) {
  int code;
  sqlite3_stmt* statement = nt__sqlite_prepare(&store->file, SELECT, &code);

  if (statement == NULL)
    return code;
  bind_key(statement, call);
  code = nt__sqlite_step(&store->file, statement);
  if (code == SQLITE_ROW && copy_value(call, statement) != 0) {
    nt__sqlite_fail(&store->file, NT_E_NOMEM, nt_error_message(NT_E_NOMEM));
    code = SQLITE_NOMEM;
  }
  nt__sqlite_finish(statement);
  return code == SQLITE_ROW ? touch(store, call) : code;
}

static int remove_entry(nt__store_file_t* store, nt__store_call_t* call) {
  int code;
  sqlite3_stmt* statement = nt__sqlite_prepare(&store->file, DELETE, &code);

  if (statement == NULL)
    return code;
  bind_key(statement, call);
  code = nt__sqlite_step(&store->file, statement);
  nt__sqlite_finish(statement);
  return code;
}

static int insert(nt__store_file_t* store, nt__store_call_t* call) {
  uint64_t cost = nt__store_cost(call->key_size, call->value_size);
  int code;
  sqlite3_stmt* statement = nt__sqlite_prepare(&store->file, INSERT, &code);

  if (statement == NULL)
    return code;
  bind_key(statement, call);
  sqlite3_bind_int64(statement, 2, ++store->clock);
  sqlite3_bind_int64(statement, 3, (int64_t) cost);
  sqlite3_bind_blob64(statement, 4, call->value, call->value_size,
                      SQLITE_STATIC);
  code = nt__sqlite_step(&store->file, statement);
  nt__sqlite_finish(statement);
  store->size += cost; /* less, if it took the place of another */
  return code;
}

/* What was used least recently: SQLITE_ROW, or SQLITE_DONE if there is none. */
static int find_oldest(nt__store_file_t* store, int64_t* id, uint64_t* size) {
  int code;
  sqlite3_stmt* statement = nt__sqlite_prepare(&store->file, OLDEST, &code);

  if (statement == NULL)
    return code;
  code = nt__sqlite_step(&store->file, statement);
  if (code == SQLITE_ROW) {
    *id = sqlite3_column_int64(statement, 0);
    *size = (uint64_t) sqlite3_column_int64(statement, 1);
  }
  nt__sqlite_finish(statement);
  return code;
}

/* The oldest goes: SQLITE_DONE. */
static int evict(nt__store_file_t* store) {
  int64_t id = 0;
  uint64_t size = 0;
  int code = find_oldest(store, &id, &size);
  sqlite3_stmt* statement;

  if (code != SQLITE_ROW)
    return code == SQLITE_DONE ? SQLITE_ERROR : code;
  statement = nt__sqlite_prepare(&store->file, EVICT, &code);
  if (statement == NULL)
    return code;
  sqlite3_bind_int64(statement, 1, id);
  code = nt__sqlite_step(&store->file, statement);
  nt__sqlite_finish(statement);
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
  code = measure(store);
  if (code != SQLITE_OK || store->size <= max)
    return code;
  if (target < cost)
    target = cost;
  do {
    code = evict(store);
  } while (code == SQLITE_DONE && store->size > target);
  return code;
}

static int put(nt__store_file_t* store, nt__store_call_t* call, uint64_t max) {
  int code = nt__sqlite_run(&store->file, NT__SQLITE_BEGIN);

  if (code != SQLITE_DONE)
    return code;
  code = insert(store, call);
  if (code == SQLITE_DONE)
    code = make_room(store, call, max);
  if (store->file.error == 0)
    code = nt__sqlite_run(&store->file, NT__SQLITE_COMMIT);
  if (store->file.error != 0)
    nt__sqlite_roll_back(&store->file);
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
  int code = store->file.db == NULL ? open_db(store) : SQLITE_OK;

  return code == SQLITE_OK ? act(store, policy, call) : code;
}

/* The store is that of the policy from now on. */
static int choose(nt__store_file_t* store, const nt_policy_t* policy) {
  char* path = NULL;

  if (policy->store_file != NULL) {
    path = nt__sqlite_path(policy->store_file);
    if (path == NULL)
      return NT_E_NOMEM;
  }
  if ((path == NULL) == (store->file.path == NULL) &&
      (path == NULL || strcmp(path, store->file.path) == 0)) {
    nt__free(path);
    return 0;
  }
  nt__store_file_close(store);
  store->file.path = path;
  return 0;
}

static void forget_result(nt__store_call_t* call) {
  nt__free(call->data);
  call->data = NULL;
  call->size = 0;
}

/* It is begun anew, and the call is made once more. */
static void start_over(nt__store_file_t* store, const nt_policy_t* policy,
                       nt__store_call_t* call) {
  nt__sqlite_t* file = &store->file;

  forget_result(call);
  nt__sqlite_forgive(file);
  if (!nt__sqlite_set_aside(file))
    return;
  open_and_act(store, policy, call);
  if (file->error == 0)
    snprintf(file->message, sizeof(file->message),
             "%s: was damaged, and is begun anew; what is left of it is in"
             " %s.damaged",
             file->path == NULL ? kind.name : file->path,
             file->path == NULL ? "memory" : file->path);
}

void nt__store_file_run(nt__store_file_t* store, const nt_policy_t* policy,
                        nt__store_call_t* call) {
  nt__sqlite_t* file = &store->file;

  file->kind = &kind;
  nt__sqlite_forgive(file);
  if (choose(store, policy) != 0)
    nt__sqlite_fail(file, NT_E_NOMEM, nt_error_message(NT_E_NOMEM));
  else if (nt__sqlite_is_damage(open_and_act(store, policy, call)))
    start_over(store, policy, call);
  call->error = file->error;
  snprintf(call->message, sizeof(call->message), "%s", file->message);
}
