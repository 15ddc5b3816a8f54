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

/* As mp_http_read_options for a client that knows server, trust and proxy by itself: takes `path`,
 * which becomes options->url, and what is about one exchange. */
void mp_http_read_path_options(lua_State *L, int index, mp_http_options *options);

/* Pushes the response object of an exchange whose mp_http_wait has ended well. *http is moved into
 * it where the body is streamed, else freed. The object's methods are there once
 * stdlib/moonport/http.lua was loaded. */
int mp_http_push_response(lua_State *L, mp_http **http, bool streamed);

/* Adds `download` to the module on top of the stack. */
void mp_http_open_download(lua_State *L);

#endif
