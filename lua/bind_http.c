/* moonport.core.http: exchanges. A response that is held whole becomes plain Lua values at once, so
 * that the collector sees all of its memory; only a streamed one keeps its exchange. */
#include "bind_http.h"

#include "core/lines.h"
#include "core/mem.h"
#include "errors.h"
#include "gate.h"
#include "http_reads.h"
#include "task.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RESPONSE                                                                                   \
  "moonport.http.response" /* a table; its methods are in stdlib/moonport/http.lua                 \
                            */
#define HEADERS "moonport.http.headers"
#define EXCHANGE "moonport.http.exchange"
#define LINE_LIMIT (16u << 20) /* bytes of a line in a stream */

void mp_http_gate(lua_State *L, const mp_http_options *options) {
  if (!mp_gate_is_shut(L) || mp_http_only_reads(options))
    return;
  char *url = mp_http_redact(options->url ? options->url : "");
  lua_pushstring(L, url);
  free(url);
  mp_gate(L, "http.request", "send %s to `%s`", options->method, lua_tostring(L, -1));
}

/* ---- header fields -------------------------------------------------------------------------- */

typedef struct {
  mp_http_timings timings;
  size_t len;
  char text[];
} headers;

static void push_headers(lua_State *L, const mp_http *http) {
  mp_http_bytes fields = mp_http_fields(http);
  headers *self = lua_newuserdatauv(L, sizeof *self + fields.len, 0);
  self->timings = mp_http_response_of(http)->timings;
  self->len = fields.len;
  memcpy(self->text, fields.data, fields.len);
  luaL_setmetatable(L, HEADERS);
}

static headers *check_headers(lua_State *L, int index) {
  return luaL_checkudata(L, index, HEADERS);
}

static bool next_of(const headers *self, size_t *at, mp_http_field *field, const char *name,
                    size_t len) {
  while (mp_http_next_field((mp_http_bytes){self->text, self->len}, at, field)) {
    if (field->name_len == len && strncasecmp(field->name, name, len) == 0)
      return true;
  }
  return false;
}

/* Several fields of one name mean the same as one with their values in a list (RFC 9110, 5.3). */
static int headers_index(lua_State *L) {
  headers *self = check_headers(L, 1);
  size_t len, at = 0;
  const char *name = luaL_checklstring(L, 2, &len);
  mp_http_field field;
  if (!next_of(self, &at, &field, name, len))
    return 0;
  lua_pushlstring(L, field.value, field.value_len);
  while (next_of(self, &at, &field, name, len)) {
    lua_pushliteral(L, ", ");
    lua_pushlstring(L, field.value, field.value_len);
    lua_concat(L, 3);
  }
  return 1;
}

/* values(headers, name): each field of this name */
static int l_values(lua_State *L) {
  headers *self = check_headers(L, 1);
  size_t len, at = 0;
  const char *name = luaL_checklstring(L, 2, &len);
  mp_http_field field;
  lua_newtable(L);
  for (lua_Integer i = 1; next_of(self, &at, &field, name, len); i++) {
    lua_pushlstring(L, field.value, field.value_len);
    lua_rawseti(L, -2, i);
  }
  return 1;
}

/* Upvalue: where the next field begins. */
static int headers_next(lua_State *L) {
  headers *self = check_headers(L, 1);
  size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(1));
  mp_http_field field;
  if (!mp_http_next_field((mp_http_bytes){self->text, self->len}, &at, &field))
    return 0;
  lua_pushinteger(L, (lua_Integer)at);
  lua_replace(L, lua_upvalueindex(1));
  lua_pushlstring(L, field.name, field.name_len);
  lua_pushlstring(L, field.value, field.value_len);
  return 2;
}

static int headers_pairs(lua_State *L) {
  check_headers(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, headers_next, 1);
  lua_pushvalue(L, 1);
  return 2;
}

static int headers_tostring(lua_State *L) {
  headers *self = check_headers(L, 1);
  lua_pushlstring(L, self->text, self->len);
  return 1;
}

static void set_seconds(lua_State *L, const char *name, int64_t microseconds) {
  lua_pushnumber(L, (lua_Number)microseconds / 1e6);
  lua_setfield(L, -2, name);
}

static int push_timings(lua_State *L, const mp_http_timings *timings) {
  lua_createtable(L, 0, 5);
  set_seconds(L, "resolved", timings->resolved);
  set_seconds(L, "connected", timings->connected);
  set_seconds(L, "secured", timings->secured);
  set_seconds(L, "first_byte", timings->first_byte);
  set_seconds(L, "total", timings->total);
  return 1;
}

/* timings(headers): of a response that was held whole */
static int l_timings(lua_State *L) {
  return push_timings(L, &check_headers(L, 1)->timings);
}

/* ---- exchanges ------------------------------------------------------------------------------ */

typedef struct {
  mp_http *http; /* NULL once closed, or while the response is awaited */
  mp_lines lines;
} exchange;

static exchange *push_exchange(lua_State *L) {
  exchange *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (exchange){0};
  luaL_setmetatable(L, EXCHANGE);
  return self;
}

static int exchange_close(lua_State *L) {
  exchange *self = luaL_checkudata(L, 1, EXCHANGE);
  mp_http_free(mp_steal(self->http));
  mp_lines_free(&self->lines);
  return 0;
}

static exchange *check_open(lua_State *L) {
  exchange *self = luaL_checkudata(L, 1, EXCHANGE);
  if (!self->http)
    mp_raise(L, "http", "closed", NULL, "the response has been closed");
  return self;
}

/* ---- responses ------------------------------------------------------------------------------ */

static const char *version_text(int version) {
  switch (version) {
  case 10:
    return "1.0";
  case 11:
    return "1.1";
  case 20:
    return "2";
  default:
    return "3";
  }
}

static void set_text(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

/* Where it is streamed, *http moves into its field `stream`. */
int mp_http_push_response(lua_State *L, mp_http **http, bool streamed) {
  const mp_http_response *response = mp_http_response_of(*http);
  lua_createtable(L, 0, 6);
  lua_pushinteger(L, response->status);
  lua_setfield(L, -2, "status");
  set_text(L, "reason", response->reason);
  set_text(L, "url", response->url);
  set_text(L, "http_version", version_text(response->version));
  push_headers(L, *http);
  lua_setfield(L, -2, "headers");
  if (streamed) {
    push_exchange(L)->http = mp_steal(*http);
    lua_setfield(L, -2, "stream");
  } else {
    mp_http_bytes body = mp_http_peek(*http);
    lua_pushlstring(L, body.data, body.len);
    lua_setfield(L, -2, "body");
    mp_http_free(mp_steal(*http));
  }
  luaL_setmetatable(L, RESPONSE);
  return 1;
}

/* A wait that owns the exchange until it is over. */
typedef struct {
  mp_wait wait;
  mp_http *http;
  bool streamed;
} response_wait;

static void response_release(mp_wait *wait) {
  mp_http_free(mp_steal(((response_wait *)wait)->http));
}

/* A failed or cancelled wait ends the exchange at once, not when the collector comes by. */
static void response_came(void *data, const mp_error *err) {
  response_wait *self = data;
  mp_wait_fail(&self->wait, err);
  if (err)
    response_release(&self->wait);
  mp_wait_done(&self->wait);
}

static int response_finish(lua_State *L, mp_wait *wait) {
  response_wait *self = (response_wait *)wait;
  return mp_http_push_response(L, &self->http, self->streamed);
}

static response_wait *new_response_wait(lua_State *L) {
  response_wait *self = mp_wait_new(L, sizeof *self, "http.request", response_finish);
  self->wait.release = response_release;
  return self;
}

static int await_response(lua_State *L, response_wait *self) {
  mp_wait *wait = &self->wait;
  if (mp_http_wait(self->http, response_came, self, &wait->op, &wait->error) < 0)
    return mp_throw(L, &wait->error);
  return mp_wait_yield(L, wait);
}

/* request(options): the response */
static int l_request(lua_State *L) {
  mp_http_options options;
  mp_http_read_options(L, 1, &options, NULL);
  mp_http_gate(L, &options);
  response_wait *self = new_response_wait(L);
  self->streamed = options.stream;
  if (mp_http_start(mp_loop_of(L), &options, &self->http, &self->wait.error) < 0)
    return mp_throw(L, &self->wait.error);
  return await_response(L, self);
}

/* open(options): an exchange whose body is sent with :send and :finish, then :response */
static int l_open(lua_State *L) {
  mp_http_options options;
  mp_error err = MP_ERROR_INIT;
  mp_http_read_options(L, 1, &options, NULL);
  options.body_kind = MP_HTTP_BODY_STREAM;
  mp_http_gate(L, &options);
  exchange *self = push_exchange(L);
  if (mp_http_start(mp_loop_of(L), &options, &self->http, &err) < 0)
    return mp_throw(L, &err);
  return 1;
}

/* exchange:response(streamed); the exchange is of no use afterwards */
static int exchange_response(lua_State *L) {
  exchange *self = check_open(L);
  bool streamed = lua_toboolean(L, 2);
  response_wait *wait = new_response_wait(L);
  wait->http = mp_steal(self->http);
  wait->streamed = streamed;
  return await_response(L, wait);
}

/* ---- sending -------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;
  bool ended;
} send_wait;

static void sent(void *data, const mp_error *err) {
  send_wait *self = data;
  self->ended = err && mp_error_is(err, "closed");
  if (!self->ended)
    mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int send_finish(lua_State *L, mp_wait *wait) {
  lua_pushboolean(L, !((send_wait *)wait)->ended);
  return 1;
}

/* exchange:send(bytes): false when the exchange has ended without them */
static int exchange_send(lua_State *L) {
  exchange *self = check_open(L);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  mp_gate(L, "exchange:send", "send a body");
  send_wait *wait = mp_wait_new(L, sizeof *wait, "http.request", send_finish);
  mp_wait *base = &wait->wait;
  if (mp_http_send(self->http, bytes, len, sent, wait, &base->op, &base->error) < 0)
    return mp_throw(L, &base->error);
  return mp_wait_yield(L, base);
}

static int exchange_finish(lua_State *L) {
  exchange *self = check_open(L);
  mp_gate(L, "exchange:finish", "end a request's body");
  mp_http_finish(self->http);
  return 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

static void body_came(void *data, const mp_error *err) {
  mp_wait_fail(data, err);
  mp_wait_done(data);
}

static int wait_for_body(lua_State *L, exchange *self, const char *what, mp_wait_finish finish) {
  mp_wait *wait = mp_wait_new(L, sizeof *wait, what, finish);
  if (mp_http_read(self->http, body_came, wait, &wait->op, &wait->error) < 0)
    return mp_throw(L, &wait->error);
  return mp_wait_yield(L, wait);
}

/* What lines left over comes first. */
static bool push_chunk(lua_State *L, exchange *self) {
  mp_lines *lines = &self->lines;
  size_t left = lines->bytes.len - lines->start;
  if (left > 0) {
    lua_pushlstring(L, lines->bytes.data + lines->start, left);
    mp_lines_free(lines);
    return true;
  }
  mp_http_bytes bytes = mp_http_peek(self->http);
  if (bytes.len == 0)
    return false;
  lua_pushlstring(L, bytes.data, bytes.len);
  mp_http_consume(self->http, bytes.len);
  return true;
}

static int read_finish(lua_State *L, mp_wait *wait) {
  (void)wait;
  if (!push_chunk(L, check_open(L)))
    lua_pushnil(L);
  return 1;
}

/* exchange:read(): the next bytes, nil at the end */
static int exchange_read(lua_State *L) {
  exchange *self = check_open(L);
  lua_settop(L, 1);
  if (push_chunk(L, self))
    return 1;
  return wait_for_body(L, self, "response:read", read_finish);
}

static bool push_line(lua_State *L, exchange *self) {
  const char *line;
  size_t len;
  if (!mp_lines_next(&self->lines, &line, &len)) {
    mp_http_bytes bytes = mp_http_peek(self->http);
    mp_lines_feed(&self->lines, bytes.data, bytes.len);
    mp_http_consume(self->http, bytes.len);
    bool whole = mp_lines_next(&self->lines, &line, &len);
    if (!whole && mp_lines_pending(&self->lines) > LINE_LIMIT)
      mp_raise(L, "http", MP_LIMIT, "read it by chunk", "a line is longer than %u bytes",
               LINE_LIMIT);
    if (!whole && !(mp_http_ended(self->http) && mp_lines_rest(&self->lines, &line, &len)))
      return false;
  }
  lua_pushlstring(L, line, len);
  return true;
}

static int line_finish(lua_State *L, mp_wait *wait);

static int next_line(lua_State *L) {
  exchange *self = check_open(L);
  if (push_line(L, self))
    return 1;
  if (mp_http_ended(self->http)) {
    lua_pushnil(L);
    return 1;
  }
  return wait_for_body(L, self, "response:lines", line_finish);
}

/* More came, but perhaps no whole line yet. */
static int line_finish(lua_State *L, mp_wait *wait) {
  (void)wait;
  lua_settop(L, 1);
  return next_line(L);
}

/* exchange:line(): the next line without its end, nil at the end */
static int exchange_line(lua_State *L) {
  lua_settop(L, 1);
  return next_line(L);
}

/* exchange:timings(): nil before the end */
static int exchange_timings(lua_State *L) {
  exchange *self = check_open(L);
  const mp_http_timings *timings = &mp_http_response_of(self->http)->timings;
  return timings->total > 0 ? push_timings(L, timings) : 0;
}

/* ---- the module ----------------------------------------------------------------------------- */

/* redact(url): fit for messages */
static int l_redact(lua_State *L) {
  char *url = mp_http_redact(luaL_checkstring(L, 1));
  lua_pushstring(L, url);
  free(url);
  return 1;
}

/* version(): of libcurl, which this loads */
static int l_version(lua_State *L) {
  mp_error err = {0};
  const char *version = mp_http_libcurl(&err);
  if (!version)
    return mp_throw(L, &err);
  lua_pushstring(L, version);
  return 1;
}

static void make_class(lua_State *L, const char *name, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, methods, 0);
  if (lua_getfield(L, -1, "__index") == LUA_TNIL) {
    lua_pushvalue(L, -2);
    lua_setfield(L, -3, "__index");
  }
  lua_pop(L, 2);
}

int luaopen_moonport_http(lua_State *L) {
  static const luaL_Reg of_headers[] = {{"__index", headers_index},
                                        {"__pairs", headers_pairs},
                                        {"__tostring", headers_tostring},
                                        {NULL, NULL}};
  static const luaL_Reg of_exchange[] = {
      {"read", exchange_read},         {"line", exchange_line},
      {"send", exchange_send},         {"finish", exchange_finish},
      {"response", exchange_response}, {"timings", exchange_timings},
      {"close", exchange_close},       {"__close", exchange_close},
      {"__gc", exchange_close},        {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"request", l_request}, {"open", l_open},       {"values", l_values}, {"timings", l_timings},
      {"redact", l_redact},   {"version", l_version}, {NULL, NULL}};
  make_class(L, HEADERS, of_headers);
  make_class(L, EXCHANGE, of_exchange);
  luaL_newlib(L, functions);
  luaL_newmetatable(L, RESPONSE);
  lua_setfield(L, -2, "response");
  mp_http_open_download(L);
  return 1;
}
