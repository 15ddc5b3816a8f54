/* The module `moonport.core.fs`; stdlib/moonport/fs.lua completes and documents it. */
#ifndef MP_LUA_BIND_FS_H
#define MP_LUA_BIND_FS_H

#include <lua.h>

int luaopen_moonport_fs(lua_State *L);

/* Its parts: set their functions in the table on top of the stack. */
void fs_set_paths(lua_State *L);
void fs_set_locks(lua_State *L);

#endif
