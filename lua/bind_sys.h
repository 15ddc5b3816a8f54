/* The module `moonport.core.sys`, which stdlib/moonport/sys.lua completes. */
#ifndef MP_LUA_BIND_SYS_H
#define MP_LUA_BIND_SYS_H

#include <lua.h>
#include <sys/types.h>

int luaopen_moonport_sys(lua_State *L);

/* A signal by name or number at `index`; raises for anything else. by_default: when there is none,
 * 0: there must be one. */
int mp_lua_check_signal(lua_State *L, int index, int by_default);

/* Pushes {pid, start, boot_id} of a process that runs now, or raises. Returns 1. */
int mp_lua_push_identity(lua_State *L, pid_t pid);

#endif
