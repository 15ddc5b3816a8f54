/* The module `moonport.core.cgroup`. */
#ifndef MP_LUA_BIND_CGROUP_H
#define MP_LUA_BIND_CGROUP_H

#include "core/cgroup.h"

#include <lua.h>

int luaopen_moonport_cgroup(lua_State *L);

/* The group of the object at `index`; raises where there is none. */
const mp_cgroup *mp_lua_check_cgroup(lua_State *L, int index);

#endif
