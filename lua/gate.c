#include "gate.h"

#include "core/mem.h"
#include "errors.h"
#include "output.h"
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

/* The stock functions behind the gate. They are kept here rather than in upvalues, where the debug
 * library would give them out, and called as they are, so that their messages name the script's
 * call. */

enum {
  IO_OPEN,
  IO_OUTPUT,
  IO_WRITE,
  FILE_WRITE,
  IO_POPEN,
  IO_TMPFILE,
  OS_EXECUTE,
  OS_REMOVE,
  OS_RENAME,
  OS_TMPNAME,
  PACKAGE_LOADLIB,
  STOCK_COUNT
};
static lua_CFunction stock[STOCK_COUNT]; /* liblua's own, the same in every state */

static int guard_call(lua_State *L, int which, const char *name) {
  if (lua_type(L, 1) == LUA_TSTRING)
    mp_gate(L, name, "act on `%s`", lua_tostring(L, 1));
  else
    mp_gate(L, name, NULL);
  return stock[which](L);
}

static int guarded_popen(lua_State *L) {
  return guard_call(L, IO_POPEN, "io.popen");
}

static int guarded_tmpfile(lua_State *L) {
  return guard_call(L, IO_TMPFILE, "io.tmpfile");
}

static int guarded_execute(lua_State *L) {
  return guard_call(L, OS_EXECUTE, "os.execute");
}

static int guarded_remove(lua_State *L) {
  return guard_call(L, OS_REMOVE, "os.remove");
}

static int guarded_rename(lua_State *L) {
  return guard_call(L, OS_RENAME, "os.rename");
}

static int guarded_tmpname(lua_State *L) {
  return guard_call(L, OS_TMPNAME, "os.tmpname");
}

static int guarded_loadlib(lua_State *L) {
  return guard_call(L, PACKAGE_LOADLIB, "package.loadlib");
}

static int guarded_open(lua_State *L) {
  const char *mode = luaL_optstring(L, 2, "r");
  if (strpbrk(mode, "wa+"))
    mp_gate(L, "io.open", "open `%s` for writing", luaL_checkstring(L, 1));
  return stock[IO_OPEN](L);
}

/* io.output(name) truncates the file; without a name, or with a handle, it only asks. */
static int guarded_output(lua_State *L) {
  if (lua_isstring(L, 1)) /* a number names a file too */
    mp_gate(L, "io.output", "truncate `%s`", lua_tostring(L, 1));
  return stock[IO_OUTPUT](L);
}

/* What the stock writers give back when a write has failed: nil, message, errno. */
static int check_written(lua_State *L, const luaL_Stream *stream, int results) {
  if (stream->f == stdout && results == 3 && lua_isnil(L, -3))
    mp_output_failed(L, (int)lua_tointeger(L, -1));
  return results;
}

/* A handle opened before the gate was shut. The standard streams stay open: speaking to the person
 * at the terminal changes nothing. */
static int guarded_file_write(lua_State *L) {
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  if (stream->f != stdout && stream->f != stderr)
    mp_gate(L, "file:write", NULL);
  return check_written(L, stream, stock[FILE_WRITE](L));
}

static int guarded_io_write(lua_State *L) {
  lua_pushcfunction(L, stock[IO_OUTPUT]);
  lua_call(L, 0, 1);
  luaL_Stream *stream = luaL_checkudata(L, -1, LUA_FILEHANDLE);
  lua_pop(L, 1); /* the library holds it */
  if (stream->f != stdout && stream->f != stderr)
    mp_gate(L, "io.write", NULL);
  return check_written(L, stream, stock[IO_WRITE](L));
}

/* Upvalue 1: the stock searcher, which only finds and loads. */
static int guarded_c_searcher(lua_State *L) {
  if (mp_gate_is_shut(L)) {
    lua_pushliteral(L, "C modules are not loaded while nothing may be changed");
    return 1;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* Puts `wrapper` in the place of field `key` of the table on top of the stack. */
static void guard(lua_State *L, const char *key, int which, lua_CFunction wrapper) {
  lua_getfield(L, -1, key);
  stock[which] = lua_tocfunction(L, -1);
  lua_pop(L, 1);
  lua_pushcfunction(L, wrapper);
  lua_setfield(L, -2, key);
}

static void guard_searchers(lua_State *L) {
  lua_getfield(L, -1, "searchers");
  /* Before them: package.preload, moonport's own, Lua files. */
  for (lua_Integer i = 4; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    lua_pushcclosure(L, guarded_c_searcher, 1);
    lua_rawseti(L, -2, i);
  }
  lua_pop(L, 2);
}

void mp_gate_stock_libraries(lua_State *L) {
  lua_getglobal(L, "io");
  guard(L, "open", IO_OPEN, guarded_open);
  guard(L, "output", IO_OUTPUT, guarded_output);
  guard(L, "popen", IO_POPEN, guarded_popen);
  guard(L, "tmpfile", IO_TMPFILE, guarded_tmpfile);
  guard(L, "write", IO_WRITE, guarded_io_write);
  lua_getglobal(L, "os");
  guard(L, "execute", OS_EXECUTE, guarded_execute);
  guard(L, "remove", OS_REMOVE, guarded_remove);
  guard(L, "rename", OS_RENAME, guarded_rename);
  guard(L, "tmpname", OS_TMPNAME, guarded_tmpname);
  lua_getglobal(L, "package");
  guard(L, "loadlib", PACKAGE_LOADLIB, guarded_loadlib);
  guard_searchers(L);
  luaL_getmetatable(L, LUA_FILEHANDLE);
  lua_getfield(L, -1, "__index");
  guard(L, "write", FILE_WRITE, guarded_file_write);
  lua_pop(L, 5);
}
