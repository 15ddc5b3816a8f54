/* moonport.core.kube: configurations and clients of the Kubernetes API; stdlib/moonport/kube builds
 * mp.kube on it. */
#ifndef MP_LUA_BIND_KUBE_H
#define MP_LUA_BIND_KUBE_H

#include "core/kube/client.h"

#include <lauxlib.h>
#include <lua.h>

int luaopen_moonport_kube(lua_State *L);

/* What the files of the binding share. */

#define MP_KUBE_CLIENT "moonport.kube.client" /* metatables */
#define MP_KUBE_CONFIG_TYPE "moonport.kube.config"

/* The client at `index`; raises where it is none or was closed. It lives as long as the value does:
 * a wait that uses it keeps the value on its stack. */
mp_kube *mp_kube_check_client(lua_State *L, int index);

/* bind_kube_websocket.c: client:websocket(options) */
int mp_lua_kube_websocket(lua_State *L);

/* bind_kube_config.c: adds `config` to the module on top of the stack. */
void mp_kube_open_config(lua_State *L);

/* The configuration at `index`, borrowed. */
mp_kube_config *mp_kube_check_config(lua_State *L, int index);

#endif
