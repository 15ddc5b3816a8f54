/* mp.store: SQLite for scripts and for moonport's own state. */
#ifndef MP_LUA_BIND_STORE_H
#define MP_LUA_BIND_STORE_H

#include <lua.h>

/* The module `moonport.core.store`. */
int luaopen_moonport_store(lua_State *L);

#endif
