/* The cache on disk: one folder. An answer is a row of a table; one with a
 * large body has a file as well. A file without a row is what a kill has left,
 * and so is a row that is not whole and does not grow: both are swept when the
 * folder is opened.
 *
 * What SQLite finds damaged is set aside, and a new file begun; what a checksum
 * finds damaged is removed. A file of somebody else is left alone.
 *
 * Storage thread, but for the counting of references. */
#include "cache_file.h"

#include <sqlite3.h>
#include <string.h>

#include "cache_rows.h"
#include "cache_table.h"
#include "cache_tape.h"
#include "file.h"
#include "internal.h"

enum {
  SWEEP_MAX = 100000 /* files that are looked at */
};

/* ---- References ---------------------------------------------------------- */

nt__cache_file_t* nt__cache_file_new(const char* folder) {
  nt__cache_file_t* file = nt__calloc(sizeof(*file));
  char* path;

  if (file == NULL)
    return NULL;
  atomic_init(&file->refs, 1);
  file->db.kind = &nt__cache_kind;
  file->folder = nt__strdup(folder);
  file->bodies = nt__file_join(folder, "bodies", "");
  path = nt__file_join(folder, "cache.db", "");
  if (path != NULL)
    file->db.path = nt__sqlite_path(path);
  nt__free(path);
  if (file->folder != NULL && file->bodies != NULL && file->db.path != NULL)
    return file;
  nt__cache_file_unref(file);
  return NULL;
}

nt__cache_file_t* nt__cache_file_ref(nt__cache_file_t* file) {
  atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
  return file;
}

/* The last one is never that of the storage thread while it is open. */
void nt__cache_file_unref(nt__cache_file_t* file) {
  if (file == NULL)
    return;
  if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
    return;
  nt__free(file->folder);
  nt__free(file->bodies);
  nt__free(file->db.path);
  nt__free(file);
}

nt__spot_t* nt__spot_new(nt__cache_file_t* file) {
  nt__spot_t* spot = nt__calloc(sizeof(*spot));

  if (spot == NULL)
    return NULL;
  atomic_init(&spot->refs, 1);
  nt__buf_init(&spot->sums, 0);
  spot->file = nt__cache_file_ref(file);
  return spot;
}

nt__spot_t* nt__spot_ref(nt__spot_t* spot) {
  atomic_fetch_add_explicit(&spot->refs, 1, memory_order_relaxed);
  return spot;
}

void nt__spot_unref(nt__spot_t* spot) {
  if (spot == NULL)
    return;
  if (atomic_fetch_sub_explicit(&spot->refs, 1, memory_order_acq_rel) != 1)
    return;
  nt__cache_file_unref(spot->file);
  nt__buf_free(&spot->sums);
  nt__free(spot);
}

/* ---- Opening and closing ------------------------------------------------- */

static void close_file(nt__cache_file_t* file) {
  nt__body_readers_close(&file->readers);
  nt__sqlite_close(&file->db);
  file->version = 0;
  file->hurried = false;
}

static void close_next(nt__cache_file_t** at) {
  nt__cache_file_t* file = *at;

  *at = file->next;
  close_file(file);
  file->listed = false;
  nt__cache_file_unref(file);
}

void nt__cache_files_close(nt__cache_file_t** open) {
  while (*open != NULL)
    close_next(open);
}

void nt__cache_files_tidy(nt__cache_file_t** open) {
  while (*open != NULL) {
    if (atomic_load_explicit(&(*open)->refs, memory_order_acquire) == 1)
      close_next(open);
    else
      open = &(*open)->next;
  }
}

/* With those above it. What is wrong with them shows when it is used. */
static void make_folder(const char* path) {
  char* copy = nt__strdup(path);
  char* at;

  if (copy == NULL)
    return;
  for (at = copy; *at != '\0'; at++) {
    if (*at != '/' || at == copy)
      continue;
    *at = '\0';
    nt__file_make_folder(copy);
    *at = '/';
  }
  nt__file_make_folder(copy);
  nt__free(copy);
}

static void sweep_one(void* arg, const char* entry) {
  nt__cache_file_t* file = arg;
  uint64_t name = nt__body_name(entry);

  if (name != 0 && file->db.error == 0 && !nt__table_has_body(file, name) &&
      file->db.error == 0)
    nt__body_remove(file->bodies, name);
}

static int sweep_all(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code = nt__table_drop_stale(file, nt__unix_ms());

  (void) call;
  if (code == SQLITE_DONE)
    nt__file_list(file->bodies, SWEEP_MAX, sweep_one, file);
  return code;
}

/* What those who died have left. While nobody writes, so that a file without a
 * row is nobody's. */
static int sweep(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code = nt__table_transact(file, call, sweep_all);

  nt__sqlite_forgive(&file->db); /* another time, then */
  return nt__sqlite_is_damage(code) ? code : SQLITE_OK;
}

/* Where it is opened first it stays, whatever the process's folder is later. */
static void settle_paths(nt__cache_file_t* file) {
  char* folder;
  char* bodies;
  char* path;

  if (file->settled || nt__file_resolve(file->folder, &folder) != 0)
    return;
  bodies = nt__file_join(folder, "bodies", "");
  path = nt__file_join(folder, "cache.db", "");
  nt__free(folder);
  if (bodies == NULL || path == NULL) {
    nt__free(bodies);
    nt__free(path);
    return;
  }
  nt__free(file->bodies);
  nt__free(file->db.path);
  file->bodies = bodies;
  file->db.path = path;
  file->settled = true;
}

static int open_file(nt__cache_file_t* file, nt__cache_call_t* call) {
  nt__file_info_t info;
  int code;

  make_folder(file->folder);
  settle_paths(file);
  nt__file_make_folder(file->bodies);
  code = nt__sqlite_open(&file->db);
  if (code != SQLITE_OK)
    return code;
  memset(&info, 0, sizeof(info));
  nt__file_look(file->db.path, &info);
  file->device = info.device;
  file->inode = info.inode;
  code = sweep(file, call);
  if (code != SQLITE_OK)
    close_file(file);
  return code;
}

/* Another process may have set it aside, or somebody removed it. */
static bool is_the_same(const nt__cache_file_t* file) {
  nt__file_info_t info;

  return nt__file_look(file->db.path, &info) == 0 &&
         info.device == file->device && info.inode == file->inode;
}

static void enlist(nt__cache_file_t** open, nt__cache_file_t* file) {
  if (file->listed)
    return;
  file->listed = true;
  file->next = *open;
  *open = nt__cache_file_ref(file);
}

/* ---- Calls --------------------------------------------------------------- */

static int ready(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code = SQLITE_OK;

  if (file->db.db != NULL && call->action == NT__CACHE_CHECK &&
      !is_the_same(file))
    close_file(file);
  if (file->db.db == NULL) {
    code = open_file(file, call);
    call->changed = code == SQLITE_OK;
    call->full = true; /* there may be something left to be trimmed */
  }
  return code == SQLITE_OK ? nt__table_look(file, call) : code;
}

static int act(nt__cache_file_t* file, nt__cache_call_t* call) {
  switch (call->action) {
    case NT__CACHE_CHECK:
      return SQLITE_OK;
    case NT__CACHE_FIND:
      return nt__rows_select(file, call);
    case NT__CACHE_PUT:
      return nt__rows_put(file, call);
    case NT__CACHE_REPLACE:
      return nt__rows_update(file, call);
    case NT__CACHE_TOUCH:
      return nt__rows_touch(file, call);
    case NT__CACHE_REMOVE:
      return nt__rows_remove(file, call);
    case NT__CACHE_TRIM:
      return nt__table_trim(file, call);
    case NT__TAPE_WRITE:
      return nt__tape_write(file, call);
    case NT__TAPE_COMMIT:
      return nt__tape_commit(file, call);
    default:
      return nt__tape_drop(file, call);
  }
}

static int ready_and_act(nt__cache_file_t* file, nt__cache_call_t* call) {
  int code = ready(file, call);

  if (code == SQLITE_OK)
    code = act(file, call);
  return code;
}

static void forget_result(nt__cache_call_t* call) {
  while (call->count > 0)
    nt__answer_unref(call->answers[--call->count]);
}

/* What was in it is gone. A tape is not whole any more. */
static void start_over(nt__cache_file_t* file, nt__cache_call_t* call) {
  forget_result(call);
  nt__sqlite_roll_back(&file->db);
  close_file(file);
  nt__sqlite_forgive(&file->db);
  if (!nt__sqlite_set_aside(&file->db))
    return;
  if (call->tape != NULL) {
    nt__tape_lose(call->tape);
    call->error = NT_E_FILE;
    return;
  }
  ready_and_act(file, call);
}

/* Needs no table. */
static void read_body(nt__cache_file_t* file, nt__cache_call_t* call) {
  const nt__spot_t* spot = call->spot;

  call->error =
      nt__body_read(&file->readers, file->bodies, spot->name, spot->size,
                    &spot->sums, call->offset, call->size, &call->body);
  if (call->error != NT_E_CACHE_MISS || spot->row == 0)
    return;
  /* Its row is of no use. */
  if (ready(file, call) == SQLITE_OK)
    nt__table_discard(file, spot->row);
}

void nt__cache_file_run(nt__cache_file_t** open, nt__cache_file_t* file,
                        nt__cache_call_t* call) {
  nt__cache_files_tidy(open);
  if (file == NULL)
    return;
  enlist(open, file);
  nt__sqlite_forgive(&file->db);
  if (call->action == NT__CACHE_READ) {
    read_body(file, call);
    return;
  }
  if (nt__sqlite_is_damage(ready_and_act(file, call)))
    start_over(file, call);
  if (call->error == 0)
    call->error = file->db.error;
  memcpy(call->message, file->db.message, sizeof(call->message));
}
