/* WebSockets with the credentials of a client of a cluster. */
#include "bind_kube.h"
#include "bind_websocket.h"
#include "core/kube/websocket.h"
#include "errors.h"
#include "gate.h"

typedef struct {
  mp_kube *kube;
  const char *path;
  mp_websocket_options options;
} call;

static int start(void *how, mp_loop *loop, mp_websocket_connect_cb cb, void *data, mp_op **op,
                 mp_error *err) {
  const call *call = how;
  (void)loop;
  return mp_kube_websocket(call->kube, call->path, &call->options, cb, data, op, err);
}

/* client:websocket(options): `path`, and those of a WebSocket that mp_websocket_read_options reads.
 * What goes through is a program's run or a service's use, never known to change nothing, so the
 * gate is asked. */
int mp_lua_kube_websocket(lua_State *L) {
  call call = {.kube = mp_kube_check_client(L, 1)};
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  mp_websocket_read_options(L, 2, &call.options);
  lua_getfield(L, 2, "path");
  if (lua_type(L, -1) != LUA_TSTRING)
    return mp_bad_argument(L, "kube: `path` is a string, got a %s", luaL_typename(L, -1));
  call.path = lua_tostring(L, -1);
  mp_gate(L, "kube.websocket", "open `%s`", call.path);
  return mp_lua_websocket_wait(L, "kube.websocket", start, &call);
}
