/* DownloadTask: a response that the core writes to a file. Lua sees its figures
 * and, in the end, its path; what both share with requests is in lexchange.c.
 */
#include "lexchange.h"

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

static const ntl_kind_t download_kind = {
  "nettask.DownloadTask", "DownloadTask", "download", dispatch, NULL, NULL,
};

/* ---- Events ------------------------------------------------------------- */

/* Neither data nor defect, but path and size. */
static int push_file(lua_State* L, int record, const nt_event_t* event) {
  (void) record;
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushstring(L, event->path);
  ntl_pushunsigned64(L, event->done);
  return 4;
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);

  switch (event->type) {
    case NT_EV_HEADERS:
      ntl_exchange_headers(L, s, record, event, &download_kind);
      break;
    case NT_EV_PROGRESS:
      ntl_exchange_progress(L, s, record, event, &download_kind,
                            "totalBytesWritten", "totalBytesExpectedToWrite");
      break;
    case NT_EV_END:
      ntl_exchange_end(L, s, record, event, &download_kind, push_file);
      break;
    default:
      break;
  }
}

/* ---- Script functions --------------------------------------------------- */

static int download_open(lua_State* L) {
  return ntl_task_open(L, &download_kind, sizeof(ntl_task_t), nt_download_open);
}

static int download_refuse(lua_State* L) {
  return ntl_task_refuse(L, &download_kind);
}

static int read_file(lua_State* L, nt_download_options_t* options) {
  if (ntl_get_flag(L, 2, "resume"))
    options->flags |= NT_DOWNLOAD_RESUME;
  if (ntl_get_flag(L, 2, "durable"))
    options->flags |= NT_DOWNLOAD_DURABLE;
  if (ntl_get_flag(L, 2, "goodOnly"))
    options->flags |= NT_DOWNLOAD_GOOD_ONLY;
  if (ntl_get_text(L, 2, "path", &options->path))
    return NT_E_INVALID;
  return ntl_get_text(L, 2, "sha256", &options->sha256);
}

/* core.downloadStart(task, params) -> as core.requestStart(). params: see
 * ntl_exchange_read(), and path, sha256 and the flags resume, durable and
 * goodOnly. */
static int download_start(lua_State* L) {
  const ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, &download_kind);
  nt_download_options_t options;
  int results, err;

  nt_download_options_init(&options);
  results = ntl_exchange_read(L, &options.request);
  if (results > 0)
    return results;
  err = read_file(L, &options);
  if (err == 0 && s->context == NULL)
    err = NT_E_CLOSED;
  if (err == 0)
    err = nt_download_start(s->context, task->id, &options);
  return ntl_exchange_code(L, err);
}

void ntl_download_open(lua_State* L) {
  static const luaL_Reg funcs[] = {
    { "downloadOpen", download_open },
    { "downloadStart", download_start },
    { "downloadRefuse", download_refuse },
    { NULL, NULL },
  };

  ntl_task_class(L, &download_kind, ntl_file_methods);
  ntl_register(L, funcs);
}
