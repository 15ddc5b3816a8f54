/*** Clients of the Kubernetes API server: where it is, how it is trusted, who we are. Requests are
by path; `mp.kube` knows the API's objects.
@module moonport.core.kube
*/
#include "bind_kube.h"

#include "bind_http.h"
#include "core/mem.h"
#include "errors.h"
#include "gate.h"
#include "http_reads.h"
#include "stdin_watch.h"
#include "task.h"

#include <stdlib.h>
#include <string.h>

#define UNAUTHORIZED 401
#define FORBIDDEN 403

typedef struct {
  mp_kube *kube; /* NULL once closed. The user value is the configuration */
} client;

mp_kube *mp_kube_check_client(lua_State *L, int index) {
  client *self = luaL_checkudata(L, index, MP_KUBE_CLIENT);
  if (!self->kube)
    mp_raise(L, "kube", "closed", NULL, "the client was closed");
  return self->kube;
}

/* The prompt reads standard input itself. */
static bool stdin_is_free(void) {
  return !mp_stdin_is_watched();
}

/*** A client of a configuration; makes no request.
@function open
@tparam userdata config
@treturn userdata with the field `config` and the methods `request`, `websocket` and `close`
*/
static int l_open(lua_State *L) {
  mp_kube_config *config = mp_kube_check_config(L, 1);
  client *self = lua_newuserdatauv(L, sizeof *self, 1);
  self->kube = NULL;
  luaL_setmetatable(L, MP_KUBE_CLIENT);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  self->kube = mp_kube_open(mp_loop_of(L), config);
  mp_kube_set_stdin(self->kube, stdin_is_free);
  return 1;
}

/* ---- requests ------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;  /* first */
  mp_kube *kube; /* there until `answered`; another task may close it */
  mp_http *http;
  bool streamed;
  char *hint; /* NULL: none */
} request_wait;

static void request_release(mp_wait *wait) {
  request_wait *self = (request_wait *)wait;
  mp_http_free(mp_steal(self->http));
  free(mp_steal(self->hint));
}

/* Where credentials are none, or of a kind that the server does not look at, it takes us for
 * anybody, and refuses what anybody may not do. */
static bool is_unknown(const mp_kube *kube, int status) {
  mp_kube_auth auth = mp_kube_config_of(kube)->auth;
  bool as_anybody = auth == MP_KUBE_AUTH_NONE || auth == MP_KUBE_AUTH_BASIC;
  return status == UNAUTHORIZED || (status == FORBIDDEN && as_anybody);
}

static void answered(void *data, mp_http *http, const mp_error *err) {
  request_wait *self = data;
  self->http = http;
  if (http && is_unknown(self->kube, mp_http_response_of(http)->status))
    self->hint = mp_kube_explain_refusal(self->kube);
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

/* response.hint: what is known here of why the server may not know who we are. */
static int request_finish(lua_State *L, mp_wait *wait) {
  request_wait *self = (request_wait *)wait;
  mp_http_push_response(L, &self->http, self->streamed);
  if (self->hint) {
    lua_pushstring(L, self->hint);
    lua_setfield(L, -2, "hint");
  }
  return 1;
}

/* The gate knows reads by their URL, where the API is not below a path of its own. */
static bool only_reads(lua_State *L, const mp_http_options *options) {
  mp_http_options bare = *options;
  lua_pushfstring(L, "https://server%s", options->url ? options->url : "");
  bare.url = lua_tostring(L, -1);
  bool reads = mp_kube_only_reads(&bare);
  lua_pop(L, 1);
  return reads;
}

static void ask_gate(lua_State *L, const mp_kube *kube, const mp_http_options *options) {
  if (!mp_gate_is_shut(L) || only_reads(L, options))
    return;
  char *server = mp_http_redact(mp_kube_config_of(kube)->base);
  lua_pushfstring(L, "%s%s", server, options->url ? options->url : "");
  free(server);
  mp_gate(L, "kube.request", "send %s to `%s`", options->method, lua_tostring(L, -1));
}

/* client:request(options): the response, as mp.http gives it */
static int client_request(lua_State *L) {
  mp_kube *kube = mp_kube_check_client(L, 1);
  mp_http_options options;
  mp_http_read_path_options(L, 2, &options);
  if (!options.method)
    options.method = "GET";
  ask_gate(L, kube, &options);
  request_wait *self = mp_wait_new(L, sizeof *self, "kube.request", request_finish);
  self->wait.release = request_release;
  self->kube = kube;
  self->streamed = options.stream;
  if (mp_kube_send(kube, &options, answered, self, &self->wait.op, &self->wait.error) < 0)
    return mp_throw(L, &self->wait.error);
  return mp_wait_yield(L, &self->wait);
}

/* ---- clients -------------------------------------------------------------------------------- */

static int client_close(lua_State *L) {
  client *self = luaL_checkudata(L, 1, MP_KUBE_CLIENT);
  mp_kube_close(mp_steal(self->kube));
  return 0;
}

/* Upvalue 1: the methods. */
static int client_index(lua_State *L) {
  luaL_checkudata(L, 1, MP_KUBE_CLIENT);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
    return 1;
  if (strcmp(luaL_checkstring(L, 2), "config") == 0)
    lua_getiuservalue(L, 1, 1);
  return 1;
}

static void make_client_class(lua_State *L) {
  static const luaL_Reg methods[] = {{"request", client_request},
                                     {"websocket", mp_lua_kube_websocket},
                                     {"close", client_close},
                                     {NULL, NULL}};
  luaL_newmetatable(L, MP_KUBE_CLIENT);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, client_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, client_close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, client_close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
}

int luaopen_moonport_kube(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
  lua_getglobal(L, "require"); /* gives responses their methods */
  lua_pushliteral(L, "moonport.http");
  lua_call(L, 1, 0);
  make_client_class(L);
  luaL_newlib(L, functions);
  mp_kube_open_config(L);
  return 1;
}
