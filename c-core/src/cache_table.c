/* The table of the cache on disk. Each change is one transaction, with all that
 * goes to make room for it; what goes is done a bit at a time, so that nobody
 * waits long. Triggers count what is there in the same transaction, so that the
 * cap holds for all processes together; and they note the files of rows that
 * go, which are removed after the commit, whoever gets to it.
 *
 * The clock of the cache is how many bytes were ever put into it. What was used
 * least recently goes first. To clear the cache is to raise the floor, below
 * which no row is seen; they are trimmed by and by.
 *
 * Storage thread only. */
#include "cache_table.h"

#include <sqlite3.h>

enum {
  BUSY_MS = 2000,            /* for another process to finish; */
  HURRIED_MS = 20,           /* and after that was in vain, until it has */
  STALE_MS = 10 * 60 * 1000, /* without progress: its writer is dead */
  EVICT_MAX = 256,           /* rows that go in one transaction */
  GONE_MAX = 64,             /* files that go after one */
};

#define NEXT_TICK "(SELECT clock + 1 FROM state)"
#define ABOVE_FLOOR "id > (SELECT floor FROM state)"
#define VARIANTS "32"

_Static_assert(NT__CACHE_VARIANTS == 32, "as the statements have it");

static const char* const texts[] = {
  NT__SQLITE_TEXTS,
  "PRAGMA data_version",
  "SELECT bytes, clock FROM state",
  "UPDATE state SET clock = clock + 1",
  "UPDATE state SET floor = ifnull((SELECT max(id) FROM answers), floor)",
  "SELECT id, name, used, status, asked, answered, size, sum, varying, headers,"
  " sums, body FROM answers WHERE key = ?1 AND writing = 0 AND " ABOVE_FLOOR
  " ORDER BY answered DESC, id DESC LIMIT " VARIANTS,
  "INSERT INTO answers (key, varying, status, asked, answered, headers, sum,"
  " cost, name, size, writing, sums, body, used) VALUES (?1, ?2, ?3, ?4, ?5, "
  "?6,"
  " ?7, ?8, ?9, ?10, ?11, ?12, ?13, " NEXT_TICK ")",
  "UPDATE answers SET varying = ?2, status = ?3, asked = ?4, answered = ?5,"
  " headers = ?6, sum = ?7, cost = ?8, used = " NEXT_TICK
  " WHERE id = ?9 AND " ABOVE_FLOOR,
  "DELETE FROM answers WHERE key = ?1 AND varying = ?2 AND writing = 0"
  " AND id != ?3",
  "DELETE FROM answers WHERE key = ?1 AND id NOT IN (SELECT id FROM answers"
  " WHERE key = ?1 ORDER BY id DESC LIMIT " VARIANTS ")",
  "UPDATE answers SET used = " NEXT_TICK " WHERE id = ?1",
  "DELETE FROM answers WHERE key = ?1",
  "DELETE FROM answers WHERE id = ?1",
  "SELECT id FROM answers ORDER BY used LIMIT 1",
  "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE id <="
  " (SELECT floor FROM state) LIMIT ?1)",
  "UPDATE answers SET cost = ?2, writing = ?3 WHERE id = ?1 AND " ABOVE_FLOOR,
  "UPDATE answers SET cost = ?2, size = ?3, sum = ?4, sums = ?5, writing = 0,"
  " used = " NEXT_TICK " WHERE id = ?1 AND " ABOVE_FLOOR,
  "DELETE FROM answers WHERE writing != 0 AND writing < ?1",
  "SELECT 1 FROM answers WHERE name = ?1 AND name != 0",
  "SELECT id, name FROM gone ORDER BY id LIMIT ?1",
  "DELETE FROM gone WHERE id <= ?1",
  "SELECT freelist_count > 256 AND freelist_count > page_count / 2 FROM"
  " pragma_freelist_count, pragma_page_count",
  "PRAGMA incremental_vacuum(1024)",
};

_Static_assert(sizeof(texts) / sizeof(texts[0]) <= NT__SQLITE_STATEMENTS,
               "there is room for all statements");

/* "ntch". `writing` is 0, or when a row that is not whole yet grew last; `sum`
 * is of all but the body, `sums` are of its blocks. Numbers of rows are never
 * used again, also not after a file was set aside. */
const nt__sqlite_kind_t nt__cache_kind = {
  .name = "the cache",
  .mark = 1853121384,
  .version = 1,
  .pragmas =
      "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA secure_delete = OFF;"
      "PRAGMA journal_size_limit = 8388608;"
      "PRAGMA recursive_triggers = OFF",
  .create =
      "CREATE TABLE answers (id INTEGER PRIMARY KEY AUTOINCREMENT,"
      " key TEXT NOT NULL, varying BLOB NOT NULL, status INTEGER NOT NULL,"
      " asked INTEGER NOT NULL, answered INTEGER NOT NULL,"
      " used INTEGER NOT NULL, cost INTEGER NOT NULL, size INTEGER NOT NULL,"
      " writing INTEGER NOT NULL, name INTEGER NOT NULL, sum INTEGER NOT NULL,"
      " headers BLOB NOT NULL, sums BLOB NOT NULL, body BLOB);"
      "CREATE INDEX answers_key ON answers (key);"
      "CREATE INDEX answers_used ON answers (used);"
      "CREATE INDEX answers_name ON answers (name) WHERE name != 0;"
      "CREATE INDEX answers_writing ON answers (writing) WHERE writing != 0;"
      "CREATE TABLE gone (id INTEGER PRIMARY KEY AUTOINCREMENT,"
      " name INTEGER NOT NULL);"
      "CREATE TABLE state (bytes INTEGER NOT NULL, clock INTEGER NOT NULL,"
      " floor INTEGER NOT NULL);"
      "INSERT INTO state VALUES (0, 0, 0);"
      "INSERT INTO sqlite_sequence (name, seq) VALUES ('answers',"
      " abs(random() % 1000000000000000));"
      "CREATE TRIGGER answers_in AFTER INSERT ON answers BEGIN"
      " UPDATE state SET bytes = bytes + new.cost, clock = clock + new.cost;"
      " END;"
      "CREATE TRIGGER answers_change AFTER UPDATE OF cost ON answers BEGIN"
      " UPDATE state SET bytes = bytes + new.cost - old.cost,"
      " clock = clock + max(1, new.cost - old.cost); END;"
      "CREATE TRIGGER answers_out AFTER DELETE ON answers BEGIN"
      " UPDATE state SET bytes = bytes - old.cost;"
      " INSERT INTO gone (name) SELECT old.name WHERE old.name != 0; END;"
      "PRAGMA application_id = 1853121384;"
      "PRAGMA user_version = 1",
  .texts = texts,
  .busy_ms = BUSY_MS,
  .own = true,
};

/* ---- Statements ---------------------------------------------------------- */

sqlite3_stmt* nt__table_want(nt__cache_file_t* file, int which, int* code) {
  return nt__sqlite_prepare(&file->db, which, code);
}

/* SQLITE_DONE, as one without a result. */
int nt__table_do(nt__cache_file_t* file, sqlite3_stmt* statement) {
  int code = nt__sqlite_step(&file->db, statement);

  nt__sqlite_finish(statement);
  return code == SQLITE_ROW ? SQLITE_DONE : code;
}

/* One with a number. */
int nt__table_do_with(nt__cache_file_t* file, int which, int64_t number) {
  int code;
  sqlite3_stmt* statement = nt__table_want(file, which, &code);

  if (statement == NULL)
    return code;
  sqlite3_bind_int64(statement, 1, number);
  return nt__table_do(file, statement);
}

/* One that has no row of the caller's in it any more was not done. */
bool nt__table_hit_nothing(const nt__cache_file_t* file) {
  return sqlite3_changes(file->db.db) == 0;
}

void nt__table_bind_bytes(sqlite3_stmt* statement, int at, const void* bytes,
                          size_t size) {
  sqlite3_bind_blob64(statement, at, size == 0 ? "" : bytes, size,
                      SQLITE_STATIC);
}

void nt__table_bind_key(sqlite3_stmt* statement, const char* key) {
  sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
}

/* The first two columns of the first row, SQLITE_ROW, or SQLITE_DONE. */
static int read_pair(nt__cache_file_t* file, int which, int64_t* first,
                     int64_t* second) {
  int code;
  sqlite3_stmt* statement = nt__table_want(file, which, &code);

  if (statement == NULL)
    return code;
  code = nt__sqlite_step(&file->db, statement);
  if (code == SQLITE_ROW) {
    *first = sqlite3_column_int64(statement, 0);
    if (second != NULL)
      *second = sqlite3_column_int64(statement, 1);
  }
  nt__sqlite_finish(statement);
  return code;
}

/* No sum of it and of what is put can overflow. */
static bool is_count(int64_t number) {
  return number >= 0 && number <= INT64_MAX / 4;
}

int nt__table_look(nt__cache_file_t* file, nt__cache_call_t* call) {
  int64_t version = 0, bytes = 0;
  int code = read_pair(file, NT__ROWS_VERSION, &version, NULL);

  if (code == SQLITE_ROW)
    code = read_pair(file, NT__ROWS_STATE, &bytes, &call->clock);
  if (code == SQLITE_DONE || !is_count(bytes) || !is_count(call->clock)) {
    call->clock = 0;
    return SQLITE_CORRUPT;
  }
  if (code != SQLITE_ROW)
    return code;
  if (file->version != 0 && file->version != version)
    call->changed = true;
  file->version = version;
  call->looked = true;
  return SQLITE_OK;
}

/* ---- What has gone ------------------------------------------------------- */

static int read_gone(nt__cache_file_t* file, uint64_t* names, int* count,
                     int64_t* last) {
  int code;
  sqlite3_stmt* statement = nt__table_want(file, NT__ROWS_GONE, &code);

  *count = 0;
  if (statement == NULL)
    return code;
  sqlite3_bind_int(statement, 1, GONE_MAX);
  while ((code = nt__sqlite_step(&file->db, statement)) == SQLITE_ROW) {
    *last = sqlite3_column_int64(statement, 0);
    names[(*count)++] = (uint64_t) sqlite3_column_int64(statement, 1);
  }
  nt__sqlite_finish(statement);
  return code;
}

/* Their files go, some at a time. */
static int remove_gone(nt__cache_file_t* file, nt__cache_call_t* call) {
  uint64_t names[GONE_MAX];
  int64_t last = 0;
  int count;
  int code = read_gone(file, names, &count, &last);
  int i;

  if (code != SQLITE_DONE || count == 0)
    return code;
  for (i = 0; i < count; i++)
    nt__body_remove(file->bodies, names[i]);
  if (count == GONE_MAX)
    call->full = true;
  return nt__table_do_with(file, NT__ROWS_FORGET_GONE, last);
}

/* ---- Changes ------------------------------------------------------------- */

/* A process that has stopped in the middle of a change is not waited for again
 * and again, with all that is to be done behind. */
static void heed(nt__cache_file_t* file, int code) {
  bool busy = (code & 0xff) == SQLITE_BUSY;

  if (busy == file->hurried)
    return;
  file->hurried = busy;
  sqlite3_busy_timeout(file->db.db, busy ? HURRIED_MS : BUSY_MS);
}

/* SQLITE_DONE. The change ends with that too, or nothing is changed. */
int nt__table_transact(nt__cache_file_t* file, nt__cache_call_t* call,
                       int (*change)(nt__cache_file_t* file,
                                     nt__cache_call_t* call)) {
  int code = nt__sqlite_run(&file->db, NT__SQLITE_BEGIN);

  heed(file, code);
  if (code != SQLITE_DONE)
    return code;
  code = change(file, call);
  if (code == SQLITE_DONE)
    code = nt__sqlite_run(&file->db, NT__SQLITE_COMMIT);
  if (code != SQLITE_DONE) {
    nt__sqlite_roll_back(&file->db);
    return code;
  }
  return remove_gone(file, call);
}

/* The oldest row goes, but for one: SQLITE_ROW; SQLITE_DONE when there is none
 * that may go; SQLITE_CORRUPT when there is none at all, although some are
 * counted. */
static int evict(nt__cache_file_t* file, int64_t but) {
  int64_t id = 0;
  int code = read_pair(file, NT__ROWS_OLDEST, &id, NULL);

  if (code == SQLITE_DONE)
    return SQLITE_CORRUPT;
  if (code != SQLITE_ROW || id == but)
    return code == SQLITE_ROW ? SQLITE_DONE : code;
  code = nt__table_do_with(file, NT__ROWS_DISCARD, id);
  return code == SQLITE_DONE ? SQLITE_ROW : code;
}

/* To an eighth below the cap, so that the next ones find room. */
int nt__table_make_room(nt__cache_file_t* file, nt__cache_call_t* call,
                        int64_t but) {
  uint64_t target = call->max - call->max / 8;
  int64_t bytes = 0, clock;
  int code = read_pair(file, NT__ROWS_STATE, &bytes, &clock);
  int left = EVICT_MAX;

  if (call->max == 0 || code != SQLITE_ROW || bytes < 0 ||
      (uint64_t) bytes <= call->max)
    return code == SQLITE_ROW ? SQLITE_DONE : code;
  while (code == SQLITE_ROW && (uint64_t) bytes > target && left-- > 0) {
    code = evict(file, but);
    if (code == SQLITE_ROW)
      code = read_pair(file, NT__ROWS_STATE, &bytes, &clock);
  }
  if (code == SQLITE_ROW && bytes > 0 && (uint64_t) bytes > call->max)
    call->full = true;
  return code == SQLITE_ROW ? SQLITE_DONE : code;
}

/* ---- Trimming ------------------------------------------------------------ */
static int trim(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code = nt__table_do_with(file, NT__ROWS_BELOW_FLOOR, EVICT_MAX);

  if (code != SQLITE_DONE)
    return code;
  if (sqlite3_changes(file->db.db) == EVICT_MAX)
    call->full = true;
  return nt__table_make_room(file, call, 0);
}

/* The file gets smaller when most of it is free. */
static int shrink(nt__cache_file_t* file, nt__cache_call_t* call) {
  int64_t worth = 0;
  int code = read_pair(file, NT__ROWS_FREE_PAGES, &worth, NULL);
  sqlite3_stmt* statement;

  if (code != SQLITE_ROW || worth == 0)
    return code;
  statement = nt__table_want(file, NT__ROWS_SHRINK, &code);
  if (statement == NULL)
    return code;
  while ((code = nt__sqlite_step(&file->db, statement)) == SQLITE_ROW)
    call->full = true; /* a page was given back */
  nt__sqlite_finish(statement);
  return code;
}

int nt__table_trim(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code = nt__table_transact(file, call, trim);

  if (code == SQLITE_DONE && !call->full)
    code = shrink(file, call);
  return code;
}

void nt__table_discard(nt__cache_file_t* file, int64_t row) {
  nt__table_do_with(file, NT__ROWS_DISCARD, row);
  nt__sqlite_forgive(&file->db);
}

int nt__table_drop_stale(nt__cache_file_t* file, int64_t now) {
  return nt__table_do_with(file, NT__ROWS_STALE, now - STALE_MS);
}

bool nt__table_has_body(nt__cache_file_t* file, uint64_t name) {
  int code;
  sqlite3_stmt* statement = nt__table_want(file, NT__ROWS_OWNER, &code);

  if (statement == NULL)
    return true; /* better one too many */
  sqlite3_bind_int64(statement, 1, (int64_t) name);
  code = nt__sqlite_step(&file->db, statement);
  nt__sqlite_finish(statement);
  return code != SQLITE_DONE;
}
