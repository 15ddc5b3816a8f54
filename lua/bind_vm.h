/* moonport.core.vm: what virtual machine monitors need of C. stdlib/moonport/vm.lua is its user. */
#ifndef MP_LUA_BIND_VM_H
#define MP_LUA_BIND_VM_H

#include <lua.h>

int luaopen_moonport_vm(lua_State *L);

#endif
