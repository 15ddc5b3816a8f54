/* Where `require` finds moonport's own modules.
 *
 * `moonport.NAME` is the Lua file moonport/NAME.lua where there is one, else the C module NAME; the
 * C half of a module that has both is `moonport.core.NAME`. Lua files are embedded in the binary,
 * compiled; $MOONPORT_LUA_DIR names a source tree whose files stand in for them, unless the process
 * runs with more privileges than its caller (AT_SECURE). */
#ifndef MP_LUA_LOADER_H
#define MP_LUA_LOADER_H

#include <lua.h>

/* Puts the searcher behind package.preload. */
void mp_install_loader(lua_State *L);

/* Loads the Lua file `name` ("moonport/cli.lua") and pushes its function.
 * Returns false with nothing pushed when there is none; raises when it does not compile. */
int mp_load_lua_file(lua_State *L, const char *name);

/* The module `moonport.core.loader`: files(prefix), source(name). */
int luaopen_moonport_loader(lua_State *L);

#endif
