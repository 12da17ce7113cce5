/* An SQLite file of ours, that other processes may use too, or a database in
 * memory: opened, known from somebody else's, set aside when it is damaged.
 * Storage thread only. */
#ifndef NT_SQLITE_FILE_H
#define NT_SQLITE_FILE_H

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;
struct sqlite3_stmt;

enum {
  NT__SQLITE_STATEMENTS = 28, /* at most, of one kind */

  /* The first ones of every kind, NT__SQLITE_TEXTS. */
  NT__SQLITE_BEGIN = 0,
  NT__SQLITE_COMMIT,
  NT__SQLITE_ROLLBACK,
  NT__SQLITE_OWN
};

#define NT__SQLITE_TEXTS "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"

/* What a file is for. */
typedef struct nt__sqlite_kind {
  const char* name;         /* of one in memory, in messages */
  int64_t mark;             /* application_id of ours, */
  int64_t version;          /* and user_version; `create` sets both */
  const char* pragmas;      /* before anything is written; or NULL */
  const char* create;       /* for an empty one */
  const char* const* texts; /* of its statements */
  int busy_ms;              /* for another process to finish */
  bool own;                 /* for this user alone, whatever the umask */
} nt__sqlite_kind_t;

/* Zeroed, but for kind and path, until it is opened. */
typedef struct nt__sqlite {
  const nt__sqlite_kind_t* kind;
  char* path;         /* NULL: in memory */
  struct sqlite3* db; /* NULL while it is closed */
  struct sqlite3_stmt* statements[NT__SQLITE_STATEMENTS]; /* NULL until used */
  bool created;      /* it was empty when it was opened */
  int error;         /* the last one, until it is taken back */
  char message[256]; /* about it */
} nt__sqlite_t;

/* The name under which SQLite opens a file with that path, to be freed: it
 * takes some names for something else. NULL without memory. */
char* nt__sqlite_path(const char* path);

/* What returns int returns a result of SQLite, and tells of one that is no
 * success in `error` and `message`. */
int nt__sqlite_open(nt__sqlite_t* file);
/* The path stays. Harmless when it is closed. */
void nt__sqlite_close(nt__sqlite_t* file);

int nt__sqlite_check(nt__sqlite_t* file, int code);
int nt__sqlite_fail(nt__sqlite_t* file, int error, const char* why);
/* There was no error. */
void nt__sqlite_forgive(nt__sqlite_t* file);

/* NULL: `code` says why. */
struct sqlite3_stmt* nt__sqlite_prepare(nt__sqlite_t* file, int which,
                                        int* code);
/* One step. */
int nt__sqlite_step(nt__sqlite_t* file, struct sqlite3_stmt* statement);
/* Lets go of what was bound and of what was read. NULL is ignored. */
void nt__sqlite_finish(struct sqlite3_stmt* statement);
/* One without parameters and result: SQLITE_DONE. */
int nt__sqlite_run(nt__sqlite_t* file, int which);
/* Other text: SQLITE_OK. */
int nt__sqlite_exec(nt__sqlite_t* file, const char* text);
/* After an error inside of a transaction, which is told already. */
void nt__sqlite_roll_back(nt__sqlite_t* file);

/* The result says that what is in the file is no good. */
bool nt__sqlite_is_damage(int code);
/* Closes it; the damaged file takes another name, and what belongs to it goes.
 * False, and an error, if that cannot be. */
bool nt__sqlite_set_aside(nt__sqlite_t* file);

#endif
