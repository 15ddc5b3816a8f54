/* Structured errors in Lua.
 *
 * Every primitive raises a table {kind, code, message, hint, cause, where} with the metatable
 * "moonport.error", whose __tostring gives the message and the hint. `kind` is the module that
 * failed (mp_error.domain), `code` what scripts match on, `where` the first line of a script or
 * recipe on the stack ("deploy.lua:12"). */
#ifndef MP_LUA_ERRORS_H
#define MP_LUA_ERRORS_H

#include "core/error.h"

#include <lauxlib.h>
#include <lua.h>

/* Pushes *err as an error table and empties *err. */
void mp_push_error(lua_State *L, mp_error *err);

/* Raises *err, emptying it. Never returns; written `return mp_throw(L, &err)`. */
int mp_throw(lua_State *L, mp_error *err);

/* Raises an error made on the spot. hint: may be NULL. Never returns. */
int mp_raise(lua_State *L, const char *kind, const char *code, const char *hint, const char *format,
             ...) __attribute__((format(printf, 5, 6)));

/* As mp_raise with kind "argument", code "invalid": a call with an unusable argument. */
int mp_bad_argument(lua_State *L, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time; this tells it what raises. */
int lua_error(lua_State *L) __attribute__((analyzer_noreturn));
int luaL_error(lua_State *L, const char *format, ...) __attribute__((analyzer_noreturn));
int mp_throw(lua_State *L, mp_error *err) __attribute__((analyzer_noreturn));
int mp_raise(lua_State *L, const char *kind, const char *code, const char *hint, const char *format,
             ...) __attribute__((analyzer_noreturn));
int mp_bad_argument(lua_State *L, const char *format, ...) __attribute__((analyzer_noreturn));
#endif

/* True when the value at `index` is an error table of ours. */
bool mp_is_error(lua_State *L, int index);

/* Pushes what people are told of the value at `index`. Unlike luaL_tolstring it never raises, even
 * where __tostring does. */
void mp_push_text(lua_State *L, int index);

/* Pushes a traceback of L above `message` (may be NULL) that leaves out the runtime's own frames.
 */
void mp_push_traceback(lua_State *L, lua_State *of, const char *message, int level);

/* The module `moonport.errors`. */
int luaopen_moonport_errors(lua_State *L);

#endif
