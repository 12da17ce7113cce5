/* The records of live tasks, by id. Ids grow for ever, and as many go as come:
 * a Lua table with such keys is built anew for every one of them once it is
 * full, and with 64 tasks it is full for good. So the records of neighbouring
 * ids share a page, an array that knows how many it has, and the table has the
 * pages. The newest one stays when it is empty, for those that come next.
 *
 * The next page is made before an id is: what is made may run finalisers, which
 * may close the context or start tasks. So the table always has a spare one.
 *
 * Events that follow one another are mostly of one page, so a frame keeps it.
 */
#include "binding.h"

enum {
  PAGE_IDS = 64,
  PAGE_COUNT, /* the slot behind them */
  SPARE = -1  /* in place of a page's number */
};

/* No page: ids are below 2^53. */
static const nt_id_t NOWHERE = UINT64_MAX;

static int slot_of(nt_id_t id) {
  return (int) (id % PAGE_IDS) + 1;
}

/* Push a page, or nothing. */
static bool push_page(lua_State* L, const ntl_state_t* s, nt_id_t page) {
  ntl_push_ref(L, s->live);
  ntl_push_id(L, page);
  lua_rawget(L, -2);
  lua_replace(L, -2);
  if (lua_istable(L, -1))
    return true;
  lua_pop(L, 1);
  return false;
}

/* Set a page to the value on top, which is popped. */
static void set_page(lua_State* L, const ntl_state_t* s, nt_id_t page) {
  ntl_push_ref(L, s->live);
  ntl_push_id(L, page);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

/* More or fewer records in the page on top: how many there are. */
static lua_Integer count(lua_State* L, int change) {
  lua_Integer number;

  lua_rawgeti(L, -1, PAGE_COUNT);
  number = lua_tointeger(L, -1) + change;
  lua_pop(L, 1);
  lua_pushinteger(L, number);
  lua_rawseti(L, -2, PAGE_COUNT);
  return number;
}

/* The page on top has no records: it is the spare one now. Pops it. */
static void spare_page(lua_State* L, ntl_state_t* s, nt_id_t page) {
  if (s->frame_page == page)
    s->frame_page = NOWHERE;
  ntl_push_ref(L, s->live);
  lua_insert(L, -2);
  lua_rawseti(L, -2, SPARE);
  lua_pop(L, 1);
  lua_pushnil(L);
  set_page(L, s, page);
}

void ntl_live_prepare(lua_State* L, const ntl_state_t* s) {
  ntl_push_ref(L, s->live);
  lua_rawgeti(L, -1, SPARE);
  if (!lua_istable(L, -1)) {
    lua_createtable(L, PAGE_COUNT, 0);
    lua_rawseti(L, -3, SPARE);
  }
  lua_pop(L, 2);
}

/* Push the spare page, the newest from now on. */
static void begin_page(lua_State* L, ntl_state_t* s, nt_id_t page) {
  ntl_push_ref(L, s->live);
  lua_rawgeti(L, -1, SPARE);
  lua_pushboolean(L, 0); /* the key stays: to set it never needs memory */
  lua_rawseti(L, -3, SPARE);
  lua_replace(L, -2);
  lua_pushvalue(L, -1);
  set_page(L, s, page);
  if (page != s->newest_page && push_page(L, s, s->newest_page)) {
    if (count(L, 0) == 0)
      spare_page(L, s, s->newest_page);
    else
      lua_pop(L, 1);
  }
  s->newest_page = page;
}

void ntl_live_add(lua_State* L, ntl_state_t* s, nt_id_t id, int record) {
  if (!push_page(L, s, id / PAGE_IDS))
    begin_page(L, s, id / PAGE_IDS);
  count(L, 1);
  lua_pushvalue(L, record);
  lua_rawseti(L, -2, slot_of(id));
  lua_pop(L, 1);
  s->live_count++;
}

void ntl_live_remove(lua_State* L, ntl_state_t* s, nt_id_t id) {
  nt_id_t page = id / PAGE_IDS;

  if (!push_page(L, s, page))
    return;
  lua_pushnil(L);
  lua_rawseti(L, -2, slot_of(id));
  if (count(L, -1) == 0 && page != s->newest_page)
    spare_page(L, s, page);
  else
    lua_pop(L, 1);
  s->live_count--;
}

int ntl_push_record(lua_State* L, const ntl_state_t* s, nt_id_t id) {
  if (!push_page(L, s, id / PAGE_IDS))
    return 0;
  lua_rawgeti(L, -1, slot_of(id));
  lua_replace(L, -2);
  if (lua_istable(L, -1))
    return 1;
  lua_pop(L, 1);
  return 0;
}

void ntl_live_each(lua_State* L, const ntl_state_t* s,
                   void (*each)(const ntl_task_t* task, void* arg), void* arg) {
  ntl_push_ref(L, s->live);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    for (int slot = 1; lua_istable(L, -1) && slot <= PAGE_IDS; slot++) {
      lua_rawgeti(L, -1, slot);
      if (lua_istable(L, -1)) {
        lua_rawgeti(L, -1, NTL_SELF);
        each(lua_touserdata(L, -1), arg);
        lua_pop(L, 1);
      }
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void ntl_live_clear(lua_State* L, ntl_state_t* s) {
  ntl_push_ref(L, s->live);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }
  lua_pop(L, 1);
  s->live_count = 0;
  s->frame_page = NOWHERE;
}

void ntl_live_frame(lua_State* L, ntl_state_t* s) {
  s->frame_page = NOWHERE;
  lua_pushnil(L);
}

void ntl_live_push(lua_State* L, ntl_state_t* s, nt_id_t id) {
  nt_id_t page = id / PAGE_IDS;

  if (page != s->frame_page) {
    if (!push_page(L, s, page)) {
      lua_pushnil(L);
      return;
    }
    lua_replace(L, NTL_FRAME_PAGE);
    s->frame_page = page;
  }
  lua_rawgeti(L, NTL_FRAME_PAGE, slot_of(id));
}
