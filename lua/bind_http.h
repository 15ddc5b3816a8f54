/* moonport.core.http: exchanges and downloads. stdlib/moonport/http.lua builds mp.http on it. */
#ifndef MP_LUA_BIND_HTTP_H
#define MP_LUA_BIND_HTTP_H

#include "core/http_download.h"

#include <lua.h>

int luaopen_moonport_http(lua_State *L);

/* What the files of the binding share. */

/* Reads the option table at `index`, and what only downloads take where `download` is not NULL.
 * Raises on unknown names and wrong types. What the options point to lives as long as the table is
 * unchanged and the values that this pushes stay on the stack. */
void mp_http_read_options(lua_State *L, int index, mp_http_options *options,
                          mp_http_download_options *download);

/* Asks the gate unless the request only reads. */
void mp_http_gate(lua_State *L, const mp_http_options *options);

/* Adds `download` to the module on top of the stack. */
void mp_http_open_download(lua_State *L);

#endif
