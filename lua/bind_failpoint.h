/* Dying at a chosen point, for the tests of recovery; only in builds with tests. */
#ifndef MP_LUA_BIND_FAILPOINT_H
#define MP_LUA_BIND_FAILPOINT_H

#include <lua.h>

/* The module `moonport.core.failpoint`. */
int luaopen_moonport_failpoint(lua_State *L);

#endif
