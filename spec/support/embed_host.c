/* embed_host SCRIPT...: a host in C, for specs. The module is linked in, as a
 * game would have it. The script finds a table `embed` with what only C can do:
 *   embed.configure(name)  nettask_configure() with one of the policies below,
 *                          made of memory that is overwritten and freed
 *                          afterwards; returns the name of the error or "OK"
 *   embed.seal()           nettask_seal(): the host's table, or nil and why
 * It runs on the thread that runs the script. */
#include <lauxlib.h>
#include <lnettask.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  PIECES_MAX = 64
};

/* Memory that does not outlive the call. */
static struct {
  void* pieces[PIECES_MAX];
  size_t sizes[PIECES_MAX];
  int count;
} heap;

static void* piece(const void* from, size_t size) {
  void* copy = malloc(size);

  if (copy == NULL || heap.count == PIECES_MAX)
    abort();
  memcpy(copy, from, size);
  heap.pieces[heap.count] = copy;
  heap.sizes[heap.count++] = size;
  return copy;
}

static const char* text(const char* from) {
  return piece(from, strlen(from) + 1);
}

static nt_list_t list(const char* first, const char* second) {
  const char* items[] = { text(first), text(second) };

  return (nt_list_t){ piece(items, sizeof(items)), 2 };
}

static void forget_heap(void) {
  while (heap.count > 0) {
    heap.count--;
    memset(heap.pieces[heap.count], 'X', heap.sizes[heap.count]);
    free(heap.pieces[heap.count]);
  }
}

/* All that a policy points to. */
static void fill(nt_policy_t* policy) {
  nt_list_t roots = list("/nowhere/a", "/nowhere/b");
  nt_port_range_t ports[] = { { 1, 2 }, { 7, 7 } };
  nt_pin_t pin = { text("pinned.example"),
                   list("sha256/"
                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                        "sha256/"
                        "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=") };
  nt_secret_t secret = { text("key"), text("nettask-secret:key"),
                         text("open sesame"),
                         list("https://a.example", "https://b.example") };

  policy->user_agent = text("Embedded/1");
  policy->cookie_file = text("/nowhere/cookies");
  policy->write_roots = roots.items;
  policy->write_root_count = roots.count;
  policy->read_roots = piece(roots.items, sizeof(*roots.items));
  policy->read_root_count = 0;
  policy->tcp_forbidden_ports = piece(ports, sizeof(ports));
  policy->tcp_forbidden_count = 2;
  policy->domains[NT_ACCESS_REQUEST] = list("127.0.0.1", "*.example");
  policy->domains[NT_ACCESS_UPLOAD] = (nt_list_t){ roots.items, 0 };
  policy->allow_private = list("127.0.0.0/8", "::1");
  policy->referers = list("https://first.example/", "https://second.example/");
  policy->pins = piece(&pin, sizeof(pin));
  policy->pin_count = 1;
  policy->secrets = piece(&secret, sizeof(secret));
  policy->secret_count = 1;
}

static void make_policy(nt_policy_t* policy, const char* name) {
  nt_policy_init(policy, NT_PRESET_MINIPROGRAM);
  if (strcmp(name, "full") == 0)
    fill(policy);
  else if (strcmp(name, "secure") == 0)
    policy->flags |= NT_POLICY_REQUIRE_SECURE;
  else if (strcmp(name, "wrong") == 0)
    policy->domains[NT_ACCESS_REQUEST] = list("no host", "*");
}

static int configure(lua_State* L) {
  nt_policy_t policy;
  int err;

  make_policy(&policy, luaL_checkstring(L, 1));
  err = nettask_configure(L, &policy);
  forget_heap();
  lua_pushstring(L, nt_error_name(err));
  return 1;
}

static int seal(lua_State* L) {
  int top = lua_gettop(L);

  if (nettask_seal(L) == 0)
    return lua_gettop(L) == top + 1 ? 1 : luaL_error(L, "another top");
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

static int run(lua_State* L, const char* path) {
  if (luaL_loadfile(L, path) == 0 && lua_pcall(L, 0, 0, 0) == 0)
    return 0;
  fprintf(stderr, "%s\n", lua_tostring(L, -1));
  return 1;
}

int main(int argc, char** argv) {
  static const luaL_Reg functions[] = {
    { "configure", configure },
    { "seal", seal },
    { NULL, NULL },
  };
  lua_State* L = luaL_newstate();
  int failed = argc < 2;

  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_nettask_core);
  lua_setfield(L, -2, "nettask.core");
  lua_newtable(L);
  for (const luaL_Reg* f = functions; f->name != NULL; f++) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
  lua_setglobal(L, "embed");
  lua_settop(L, 0);
  for (int i = 1; i < argc && !failed; i++)
    failed = run(L, argv[i]);
  lua_close(L);
  return failed;
}
