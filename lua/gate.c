#include "gate.h"

#include "core/mem.h"
#include "errors.h"
#include "task_internal.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

bool mp_gate_is_shut(lua_State *L) {
  mp_task *task = mp_task_current(L);
  return task && task->gate_shut;
}

static int refuse(lua_State *L, const char *call, const char *effect) {
  return mp_raise(L, "gate", "refused",
                  "plans, recipe loading and dry runs only read; move this to `apply`",
                  "`%s` is refused while nothing may be changed%s%s", call,
                  effect ? ": it would " : "", effect ? effect : "");
}

void mp_gate(lua_State *L, const char *call, const char *format, ...) {
  if (!mp_gate_is_shut(L))
    return;
  if (format == NULL) {
    refuse(L, call, NULL);
    return;
  }
  va_list args;
  va_start(args, format);
  char *text = mp_vsprintf(format, args);
  va_end(args);
  lua_pushstring(L, text);
  free(text);
  refuse(L, call, lua_tostring(L, -1));
}

/* Stock functions. Upvalues: the original, its name. */

static int call_original(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static int guarded_always(lua_State *L) {
  const char *name = lua_tostring(L, lua_upvalueindex(2));
  if (lua_type(L, 1) == LUA_TSTRING)
    mp_gate(L, name, "act on `%s`", lua_tostring(L, 1));
  else
    mp_gate(L, name, NULL);
  return call_original(L);
}

static int guarded_open(lua_State *L) {
  const char *mode = luaL_optstring(L, 2, "r");
  if (strpbrk(mode, "wa+"))
    mp_gate(L, "io.open", "open `%s` for writing", luaL_checkstring(L, 1));
  return call_original(L);
}

/* io.output(name) truncates the file; without a name, or with a handle, it only asks. */
static int guarded_output(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING)
    mp_gate(L, "io.output", "truncate `%s`", lua_tostring(L, 1));
  return call_original(L);
}

/* A handle opened before the gate was shut. The standard streams stay open: speaking to the person
 * at the terminal changes nothing. */
static int guarded_file_write(lua_State *L) {
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  if (stream->f != stdout && stream->f != stderr)
    mp_gate(L, "file:write", NULL);
  return call_original(L);
}

static int guarded_io_write(lua_State *L) {
  if (mp_gate_is_shut(L)) {
    lua_getglobal(L, "io");
    lua_getfield(L, -1, "output");
    lua_call(L, 0, 1);
    luaL_Stream *stream = luaL_checkudata(L, -1, LUA_FILEHANDLE);
    if (stream->f != stdout && stream->f != stderr)
      mp_gate(L, "io.write", NULL);
    lua_pop(L, 2);
  }
  return call_original(L);
}

static int guarded_c_searcher(lua_State *L) {
  if (mp_gate_is_shut(L)) {
    lua_pushliteral(L, "C modules are not loaded while nothing may be changed");
    return 1;
  }
  return call_original(L);
}

/* Wraps field `key` of the table on top of the stack. */
static void guard(lua_State *L, const char *key, const char *name, lua_CFunction wrapper) {
  lua_getfield(L, -1, key);
  lua_pushstring(L, name);
  lua_pushcclosure(L, wrapper, 2);
  lua_setfield(L, -2, key);
}

static void guard_searchers(lua_State *L) {
  lua_getfield(L, -1, "searchers");
  for (lua_Integer i = 3; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    lua_pushliteral(L, "require");
    lua_pushcclosure(L, guarded_c_searcher, 2);
    lua_rawseti(L, -2, i);
  }
  lua_pop(L, 2);
}

void mp_gate_stock_libraries(lua_State *L) {
  lua_getglobal(L, "io");
  guard(L, "open", "io.open", guarded_open);
  guard(L, "output", "io.output", guarded_output);
  guard(L, "popen", "io.popen", guarded_always);
  guard(L, "tmpfile", "io.tmpfile", guarded_always);
  guard(L, "write", "io.write", guarded_io_write);
  lua_getglobal(L, "os");
  guard(L, "execute", "os.execute", guarded_always);
  guard(L, "remove", "os.remove", guarded_always);
  guard(L, "rename", "os.rename", guarded_always);
  guard(L, "tmpname", "os.tmpname", guarded_always);
  lua_getglobal(L, "package");
  guard(L, "loadlib", "package.loadlib", guarded_always);
  guard_searchers(L);
  luaL_getmetatable(L, LUA_FILEHANDLE);
  lua_getfield(L, -1, "__index");
  guard(L, "write", "file:write", guarded_file_write);
  lua_pop(L, 5);
}
