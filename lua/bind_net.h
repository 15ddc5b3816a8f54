/* The module `moonport.net`. */
#ifndef MP_LUA_BIND_NET_H
#define MP_LUA_BIND_NET_H

#include <lua.h>

int luaopen_moonport_net(lua_State *L);

#endif
