/* What must be true of a folder of the cache when nobody is using it. */
#ifndef NT_TEST_CACHE_CHECK_H
#define NT_TEST_CACHE_CHECK_H

#include <sqlite3.h>

#include "folder.h"

static inline int64_t check_number(sqlite3* db, const char* text) {
  sqlite3_stmt* statement;
  int64_t number;

  if (sqlite3_prepare_v2(db, text, -1, &statement, NULL) != SQLITE_OK ||
      sqlite3_step(statement) != SQLITE_ROW)
    fail_msg("%s: %s", text, sqlite3_errmsg(db));
  number = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  return number;
}

static inline void check_files(sqlite3* db, const char* bodies) {
  sqlite3_stmt* statement;
  char path[PATH_MAX];

  assert_int_equal(
      sqlite3_prepare_v2(db,
                         "SELECT printf('%016x', name), size FROM"
                         " answers WHERE name != 0 AND writing = 0",
                         -1, &statement, NULL),
      SQLITE_OK);
  while (sqlite3_step(statement) == SQLITE_ROW) {
    struct stat info;

    snprintf(path, sizeof(path), "%.4000s/%.16s", bodies,
             (const char*) sqlite3_column_text(statement, 0));
    if (stat(path, &info) != 0)
      fail_msg("%s is missing", path);
    assert_int_equal(info.st_size, sqlite3_column_int64(statement, 1));
  }
  sqlite3_finalize(statement);
}

/* The sum that the triggers keep is right, no more than `max` is there, all
 * bodies are, and no others. */
static inline void check_folder(const char* folder, uint64_t max) {
  char path[PATH_MAX];
  sqlite3* db;
  int64_t bytes;

  snprintf(path, sizeof(path), "%s/cache.db", folder);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(
      check_number(db,
                   "SELECT count(*) = 1 AND max(integrity_check) = 'ok'"
                   " FROM pragma_integrity_check"),
      1);
  bytes = check_number(db, "SELECT bytes FROM state");
  assert_int_equal(bytes, check_number(db,
                                       "SELECT coalesce(sum(cost), 0) FROM"
                                       " answers"));
  assert_true(max == 0 || (uint64_t) bytes <= max);
  snprintf(path, sizeof(path), "%s/bodies", folder);
  check_files(db, path);
  assert_in_range(folder_count(path), 0,
                  check_number(db,
                               "SELECT (SELECT count(*) FROM answers WHERE"
                               " name != 0) + (SELECT count(*) FROM gone)"));
  sqlite3_close(db);
}

#endif
