/* The module `moonport.core.netlink`. */
#ifndef MP_LUA_BIND_NETLINK_H
#define MP_LUA_BIND_NETLINK_H

#include <lua.h>

int luaopen_moonport_netlink(lua_State *L);

/* monitor(what, netns, buffer), in bind_netlink_monitor.c. */
int mp_lua_netlink_monitor(lua_State *L);

/* Makes the metatable of monitors. */
void mp_lua_netlink_monitor_open(lua_State *L);

#endif
