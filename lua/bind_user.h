/* moonport.core.user: accounts of the host, for mp.sys. */
#ifndef MP_LUA_BIND_USER_H
#define MP_LUA_BIND_USER_H

#include <lua.h>

/* The module `moonport.core.user`. */
int luaopen_moonport_user(lua_State *L);

#endif
