#include "errors.h"

#include "core/mem.h"

#include <string.h>

#define ERROR_METATABLE "moonport.error"

/* The standard library reports the line of its caller, not one of its own. */
static bool is_runtime_source(const char *source) {
  return strncmp(source, "@moonport/", 10) == 0 || strcmp(source, "@argparse.lua") == 0;
}

static void push_where(lua_State *L) {
  lua_Debug ar;
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline > 0 && !is_runtime_source(ar.source)) {
      lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
      return;
    }
  }
  lua_pushnil(L);
}

static void set_string(lua_State *L, const char *field, const char *value) {
  if (value == NULL)
    return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, field);
}

static void push_error_table(lua_State *L, const mp_error *err) {
  luaL_checkstack(L, 4, "error with too many causes");
  lua_createtable(L, 0, 6);
  set_string(L, "kind", err->domain);
  set_string(L, "code", err->code);
  set_string(L, "message", err->message);
  set_string(L, "hint", err->hint);
  if (err->cause) {
    push_error_table(L, err->cause);
    lua_setfield(L, -2, "cause");
  }
  luaL_setmetatable(L, ERROR_METATABLE);
}

void mp_push_error(lua_State *L, mp_error *err) {
  push_error_table(L, err);
  mp_error_reset(err);
  push_where(L);
  lua_setfield(L, -2, "where");
}

int mp_throw(lua_State *L, mp_error *err) {
  mp_push_error(L, err);
  return lua_error(L);
}

static void raise_message(lua_State *L, const char *kind, const char *code, const char *hint,
                          const char *format, va_list args) {
  char *message = mp_vsprintf(format, args);
  mp_error err = {.domain = kind, .code = code, .message = message, .hint = mp_strdup(hint)};
  mp_push_error(L, &err);
}

int mp_raise(lua_State *L, const char *kind, const char *code, const char *hint, const char *format,
             ...) {
  va_list args;
  va_start(args, format);
  raise_message(L, kind, code, hint, format, args);
  va_end(args);
  return lua_error(L);
}

int mp_bad_argument(lua_State *L, const char *format, ...) {
  va_list args;
  va_start(args, format);
  raise_message(L, "argument", MP_INVALID, NULL, format, args);
  va_end(args);
  return lua_error(L);
}

bool mp_is_error(lua_State *L, int index) {
  if (!lua_istable(L, index) || !lua_getmetatable(L, index))
    return false;
  luaL_getmetatable(L, ERROR_METATABLE);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

void mp_push_traceback(lua_State *L, lua_State *of, const char *message, int level) {
  lua_Debug ar;
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  if (message) {
    luaL_addstring(&text, message);
    luaL_addchar(&text, '\n');
  }
  luaL_addstring(&text, "stack traceback:");
  for (; lua_getstack(of, level, &ar); level++) {
    lua_getinfo(of, "Slnt", &ar);
    if (strcmp(ar.what, "C") == 0 && ar.name == NULL)
      continue;
    lua_pushfstring(L, "\n\t%s:", ar.short_src);
    luaL_addvalue(&text);
    if (ar.currentline > 0) {
      lua_pushfstring(L, "%d:", ar.currentline);
      luaL_addvalue(&text);
    }
    if (ar.name)
      lua_pushfstring(L, " in %s '%s'", *ar.namewhat ? ar.namewhat : "function", ar.name);
    else if (strcmp(ar.what, "main") == 0)
      lua_pushliteral(L, " in main chunk");
    else
      lua_pushfstring(L, " in function <%s:%d>", ar.short_src, ar.linedefined);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
}

/* Appends the string field `name` of the table at `index`, with `before` ahead of it. */
static void add_field(lua_State *L, luaL_Buffer *text, int index, const char *name,
                      const char *before) {
  lua_getfield(L, index, name);
  if (lua_isstring(L, -1)) {
    lua_pushfstring(L, "%s%s", before, lua_tostring(L, -1));
    lua_remove(L, -2);
    luaL_addvalue(text);
  } else {
    lua_pop(L, 1);
  }
}

/* A chain longer than this is a loop, or nothing that anybody would read to its end. */
#define CAUSES_SHOWN 16

static void push_error_text(lua_State *L, int index, int depth);

static int describe(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

void mp_push_text(lua_State *L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, NULL);
  lua_pushcfunction(L, describe);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_isstring(L, -1))
    return;
  lua_pop(L, 1);
  lua_pushfstring(L, "(an error value that cannot be shown: a %s)", luaL_typename(L, index));
}

/* The cause of the error at `index`, if it has one. */
static void add_cause(lua_State *L, luaL_Buffer *text, int index, int depth) {
  lua_getfield(L, index, "cause");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  if (depth == CAUSES_SHOWN)
    lua_pushliteral(L, "(and so on)");
  else if (mp_is_error(L, -1))
    push_error_text(L, lua_gettop(L), depth + 1);
  else
    mp_push_text(L, -1);
  lua_pushfstring(L, "\n  because: %s", lua_tostring(L, -1));
  lua_replace(L, -3);
  lua_pop(L, 1);
  luaL_addvalue(text);
}

static void push_error_text(lua_State *L, int index, int depth) {
  luaL_Buffer text;
  luaL_checkstack(L, 8, NULL);
  luaL_buffinit(L, &text);
  lua_getfield(L, index, "where");
  bool has_where = lua_isstring(L, -1) && lua_rawlen(L, -1) > 0;
  lua_pop(L, 1);
  if (has_where) {
    add_field(L, &text, index, "where", "");
    add_field(L, &text, index, "message", ": ");
  } else {
    add_field(L, &text, index, "message", "");
  }
  add_cause(L, &text, index, depth);
  add_field(L, &text, index, "hint", "\n  hint: ");
  luaL_pushresult(&text);
}

static int error_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  push_error_text(L, 1, 0);
  return 1;
}

/*** Errors as values: tables with `kind`, `code`, `message`, and where it helps `hint` and `cause`.
 *
 * Programs match on `kind` and `code`, people read `tostring(err)`. `where` is the script's line.
 * @module moonport.errors
 */

/*** Makes an error value without raising it.
 * @function new
 * @tparam table fields `kind`, `code`, `message` and, where they help, `hint`, `cause`; other
 * fields are kept. `where` is filled in with the calling script's line unless given; "" is for what
 * has no line, such as a word of the command line.
 * @treturn table the error
 */
static int errors_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (lua_getfield(L, 1, "where") == LUA_TNIL) {
    push_where(L);
    lua_setfield(L, 1, "where");
  }
  lua_settop(L, 1);
  luaL_setmetatable(L, ERROR_METATABLE);
  return 1;
}

/*** Makes an error value and raises it.
 * @function raise
 * @tparam table fields as for @{new}
 * @raise always
 */
static int errors_raise(lua_State *L) {
  errors_new(L);
  return lua_error(L);
}

static bool field_equals(lua_State *L, const char *field, int wanted) {
  lua_getfield(L, 1, field);
  bool same = lua_rawequal(L, -1, wanted);
  lua_pop(L, 1);
  return same;
}

/*** Tells whether a value is a structured error, of a given kind and code where these are given.
 * @function is
 * @param value any value
 * @tparam[opt] string kind
 * @tparam[opt] string code
 * @treturn boolean
 */
static int errors_is(lua_State *L) {
  lua_settop(L, 3);
  bool is = mp_is_error(L, 1) && (lua_isnil(L, 2) || field_equals(L, "kind", 2)) &&
            (lua_isnil(L, 3) || field_equals(L, "code", 3));
  lua_pushboolean(L, is);
  return 1;
}

int luaopen_moonport_errors(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"new", errors_new}, {"raise", errors_raise}, {"is", errors_is}, {NULL, NULL}};
  if (luaL_newmetatable(L, ERROR_METATABLE)) {
    lua_pushcfunction(L, error_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, ERROR_METATABLE);
    lua_setfield(L, -2, "__name");
  }
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
