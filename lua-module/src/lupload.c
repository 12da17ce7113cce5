/* UploadTask: fields and files as multipart/form-data, which the core reads
 * from the disk as it sends. What it shares with requests is in lexchange.c.
 */
#include <string.h>

#include "lbuffer.h"
#include "lexchange.h"

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event);

static const ntl_kind_t upload_kind = {
  "nettask.UploadTask", "UploadTask", "upload", dispatch, NULL, NULL,
};

/* ---- Events ------------------------------------------------------------- */

/* There is no dataType: data is always text. */
static int push_data(lua_State* L, int record, const nt_event_t* event) {
  (void) record;
  ntl_push_body(L, NTL_DECODE_TEXT, event->data, event->size, &event->headers);
  return 2;
}

static void dispatch(lua_State* L, ntl_state_t* s, const nt_event_t* event) {
  int record = lua_gettop(L);

  switch (event->type) {
    case NT_EV_HEADERS:
      ntl_exchange_headers(L, s, record, event, &upload_kind);
      break;
    case NT_EV_PROGRESS:
      ntl_exchange_progress(L, s, record, event, &upload_kind, "totalBytesSent",
                            "totalBytesExpectedToSend");
      break;
    case NT_EV_END:
      ntl_exchange_end(L, s, record, event, &upload_kind, push_data);
      break;
    default:
      break;
  }
}

/* ---- Script functions --------------------------------------------------- */

static int upload_open(lua_State* L) {
  return ntl_task_open(L, &upload_kind, sizeof(ntl_task_t), nt_upload_open);
}

static int upload_refuse(lua_State* L) {
  return ntl_task_refuse(L, &upload_kind);
}

/* The table on top, { name, path | data, fileName, type, fallbackType }, which
 * anchors what the part borrows. */
static int read_part(lua_State* L, nt_part_t* part) {
  int table = lua_gettop(L);
  int bad;

  memset(part, 0, sizeof(*part));
  bad = ntl_get_text(L, table, "name", &part->name) |
        ntl_get_text(L, table, "path", &part->path) |
        ntl_get_text(L, table, "fileName", &part->file_name) |
        ntl_get_text(L, table, "type", &part->type) |
        ntl_get_text(L, table, "fallbackType", &part->fallback_type);
  lua_getfield(L, table, "data");
  part->data = ntl_bytes_test(L, lua_gettop(L), &part->size);
  lua_pop(L, 1);
  return bad ? NT_E_INVALID : 0;
}

/* Leaves two values on the stack. */
static int read_parts(lua_State* L, nt_upload_options_t* options) {
  nt_part_t* parts;
  size_t count;
  int list;

  lua_getfield(L, 2, "parts");
  luaL_checktype(L, -1, LUA_TTABLE);
  list = lua_gettop(L);
  count = ntl_rawlen(L, list);
  parts = ntl_newuserdata(L, (count + 1) * sizeof(*parts), 0);
  options->parts = parts;
  options->part_count = count;
  for (size_t i = 0; i < count; i++) {
    int err;

    lua_rawgeti(L, list, (int) i + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    err = read_part(L, &parts[i]);
    lua_pop(L, 1);
    if (err)
      return err;
  }
  return 0;
}

/* core.uploadStart(task, params) -> as core.requestStart(). params: see
 * ntl_exchange_read(), and parts, a list of what read_part() reads. */
static int upload_start(lua_State* L) {
  const ntl_state_t* s = ntl_self(L);
  const ntl_task_t* task = ntl_task_check(L, 1, &upload_kind);
  nt_upload_options_t options;
  int results, err;

  nt_upload_options_init(&options);
  results = ntl_exchange_read(L, &options.request);
  if (results > 0)
    return results;
  err = read_parts(L, &options);
  if (err == 0 && s->context == NULL)
    err = NT_E_CLOSED;
  if (err == 0)
    err = nt_upload_start(s->context, task->id, &options);
  return ntl_exchange_code(L, err);
}

void ntl_upload_open(lua_State* L) {
  static const luaL_Reg funcs[] = {
    { "uploadOpen", upload_open },
    { "uploadStart", upload_start },
    { "uploadRefuse", upload_refuse },
    { NULL, NULL },
  };

  ntl_task_class(L, &upload_kind, ntl_file_methods);
  ntl_register(L, funcs);
}
