/* SQLite files: what all of ours have in common. A mark in the header tells
 * them from those of somebody else, which are left alone. They are in
 * write-ahead mode, and a commit does not wait for the disk: what a kill leaves
 * is right, a power cut may cost what came last.
 *
 * Storage thread only. */
#include "sqlite_file.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "file.h"
#include "nettask.h"

char* nt__sqlite_path(const char* path) {
  if (path[0] == ':' || strncmp(path, "file:", 5) == 0)
    return nt__file_join(".", path, "");
  return nt__strdup(path);
}

/* ---- Errors -------------------------------------------------------------- */

int nt__sqlite_fail(nt__sqlite_t* file, int error, const char* why) {
  file->error = error;
  snprintf(file->message, sizeof(file->message), "%s: %s",
           file->path == NULL ? file->kind->name : file->path, why);
  return error;
}

void nt__sqlite_forgive(nt__sqlite_t* file) {
  file->error = 0;
  file->message[0] = '\0';
}

/* A file error of SQLite names the system's. */
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

int nt__sqlite_check(nt__sqlite_t* file, int code) {
  if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE)
    nt__sqlite_fail(
        file, our_error(file->db, code),
        file->db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(file->db));
  return code;
}

bool nt__sqlite_is_damage(int code) {
  code &= 0xff;
  return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

/* ---- Statements ---------------------------------------------------------- */

sqlite3_stmt* nt__sqlite_prepare(nt__sqlite_t* file, int which, int* code) {
  sqlite3_stmt** slot = &file->statements[which];

  *code = SQLITE_OK;
  if (*slot == NULL)
    *code = nt__sqlite_check(
        file, sqlite3_prepare_v3(file->db, file->kind->texts[which], -1,
                                 SQLITE_PREPARE_PERSISTENT, slot, NULL));
  return *slot;
}

int nt__sqlite_step(nt__sqlite_t* file, sqlite3_stmt* statement) {
  return nt__sqlite_check(file, sqlite3_step(statement));
}

void nt__sqlite_finish(sqlite3_stmt* statement) {
  if (statement == NULL)
    return;
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
}

int nt__sqlite_run(nt__sqlite_t* file, int which) {
  int code;
  sqlite3_stmt* statement = nt__sqlite_prepare(file, which, &code);

  if (statement == NULL)
    return code;
  code = nt__sqlite_step(file, statement);
  nt__sqlite_finish(statement);
  return code;
}

int nt__sqlite_exec(nt__sqlite_t* file, const char* text) {
  return nt__sqlite_check(file, sqlite3_exec(file->db, text, NULL, NULL, NULL));
}

void nt__sqlite_roll_back(nt__sqlite_t* file) {
  sqlite3_stmt* statement;
  int code;

  if (file->db == NULL || sqlite3_get_autocommit(file->db))
    return; /* SQLite has done so */
  statement = nt__sqlite_prepare(file, NT__SQLITE_ROLLBACK, &code);
  if (statement != NULL)
    sqlite3_step(statement);
  nt__sqlite_finish(statement);
}

/* ---- Opening ------------------------------------------------------------- */

void nt__sqlite_close(nt__sqlite_t* file) {
  int i;

  for (i = 0; i < NT__SQLITE_STATEMENTS; i++) {
    sqlite3_finalize(file->statements[i]);
    file->statements[i] = NULL;
  }
  sqlite3_close(file->db);
  file->db = NULL;
}

/* The first column of the first row. */
static int read_number(nt__sqlite_t* file, const char* text, int64_t* number) {
  sqlite3_stmt* statement = NULL;
  int code = sqlite3_prepare_v2(file->db, text, -1, &statement, NULL);

  if (code == SQLITE_OK)
    code = sqlite3_step(statement);
  nt__sqlite_check(file, code);
  *number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
  sqlite3_finalize(statement);
  return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* Whose file it is. SQLITE_ERROR if it is somebody else's. */
static int look(nt__sqlite_t* file, bool* is_empty) {
  int64_t mark, version, objects;
  int code = read_number(file, "PRAGMA application_id", &mark);

  if (code == SQLITE_OK)
    code = read_number(file, "PRAGMA user_version", &version);
  if (code == SQLITE_OK)
    code = read_number(file, "SELECT count(*) FROM sqlite_master", &objects);
  if (code != SQLITE_OK)
    return code;
  *is_empty = objects == 0;
  if (*is_empty || (mark == file->kind->mark && version == file->kind->version))
    return SQLITE_OK;
  nt__sqlite_fail(file, NT_E_NOT_A_STORE, nt_error_message(NT_E_NOT_A_STORE));
  return SQLITE_ERROR;
}

/* In one transaction, since another process may be about to do the same. */
static int make_tables(nt__sqlite_t* file) {
  bool is_empty = false;
  int code = nt__sqlite_run(file, NT__SQLITE_BEGIN);

  if (code != SQLITE_DONE)
    return code;
  code = look(file, &is_empty);
  if (code == SQLITE_OK && is_empty)
    code = nt__sqlite_exec(file, file->kind->create);
  if (code == SQLITE_OK)
    code = nt__sqlite_run(file, NT__SQLITE_COMMIT);
  if (code != SQLITE_DONE) {
    nt__sqlite_roll_back(file);
    return code;
  }
  file->created = is_empty;
  return SQLITE_OK;
}

/* Nothing is written before it is known whose file it is. */
static int begin_use(nt__sqlite_t* file) {
  bool is_empty = false;
  int code = look(file, &is_empty);

  file->created = false;
  if (code == SQLITE_OK && file->kind->pragmas != NULL)
    code = nt__sqlite_exec(file, file->kind->pragmas);
  if (code == SQLITE_OK)
    code = nt__sqlite_exec(
        file,
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
        "PRAGMA cell_size_check = ON");
  return code == SQLITE_OK && is_empty ? make_tables(file) : code;
}

/* Nothing that opening it could wait for; or nothing at all, yet. */
static bool is_plain(nt__sqlite_t* file, bool* is_new) {
  nt__file_info_t info;
  int err = file->path == NULL ? UV_ENOENT : nt__file_look(file->path, &info);

  *is_new = err == UV_ENOENT;
  if (err != 0 || info.regular)
    return true;
  nt__sqlite_fail(file, NT_E_NOT_A_FILE, nt_error_message(NT_E_NOT_A_FILE));
  return false;
}

/* By its path: to close a descriptor of it would end the locks that SQLite has
 * for the whole process. What lies beside the file gets its mode. */
static void protect(const nt__sqlite_t* file) {
  if (file->kind->own && file->path != NULL)
    nt__file_protect_path(file->path);
}

int nt__sqlite_open(nt__sqlite_t* file) {
  const int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  bool is_new;
  int code;

  if (!is_plain(file, &is_new))
    return SQLITE_ERROR;
  code = nt__sqlite_check(
      file, sqlite3_open_v2(file->path == NULL ? ":memory:" : file->path,
                            &file->db, flags, NULL));
  if (code == SQLITE_OK) {
    if (is_new)
      protect(file);
    sqlite3_busy_timeout(file->db, file->kind->busy_ms);
    code = begin_use(file);
  }
  if (code != SQLITE_OK)
    nt__sqlite_close(file);
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

bool nt__sqlite_set_aside(nt__sqlite_t* file) {
  char* aside;
  int err;

  nt__sqlite_close(file);
  if (file->path == NULL)
    return true;
  aside = with_suffix(file->path, ".damaged");
  err = aside == NULL ? UV_ENOMEM : nt__file_rename(file->path, aside);
  nt__free(aside);
  if (err) {
    nt__sqlite_fail(file, nt__file_error(err, NT_E_NO_FILE),
                    "damaged, and cannot be set aside");
    return false;
  }
  remove_beside(file->path, "-wal");
  remove_beside(file->path, "-shm");
  remove_beside(file->path, "-journal");
  return true;
}
