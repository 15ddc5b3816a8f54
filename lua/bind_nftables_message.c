/* Messages of nftables as Lua tables, in both directions. */
#include "bind_nftables.h"

#include "core/nftables/reader.h"
#include "errors.h"

#include <lauxlib.h>

/* -- Writing ---------------------------------------------------------------------------------- */

static void check(lua_State *L, int rc, mp_error *err) {
  if (rc < 0)
    mp_throw(L, err);
}

/* Those attributes that the table on top of the stack has. */
static void write_fields(lua_State *L, mp_nft_writer *writer, const mp_nft_field *fields) {
  mp_error err = MP_ERROR_INIT;
  for (; fields->name; fields++) {
    int type = lua_getfield(L, -1, fields->name);
    size_t len;
    if (type == LUA_TNUMBER && lua_isinteger(L, -1)) {
      check(L, mp_nft_writer_number(writer, fields->name, lua_tointeger(L, -1), &err), &err);
    } else if (type == LUA_TSTRING) {
      const char *bytes = lua_tolstring(L, -1, &len);
      check(L, mp_nft_writer_bytes(writer, fields->name, bytes, len, &err), &err);
    } else if (type != LUA_TNIL) {
      mp_bad_argument(L, "nftables: `%s` is an integer or a string", fields->name);
    }
    lua_pop(L, 1);
  }
}

static void write_expression(lua_State *L, mp_nft_writer *writer) {
  mp_error err = MP_ERROR_INIT;
  luaL_checktype(L, -1, LUA_TTABLE);
  lua_rawgeti(L, -1, 1);
  const char *name = lua_tostring(L, -1); /* held by the table */
  if (!name)
    mp_bad_argument(L, "nftables: an expression begins with its name");
  lua_pop(L, 1);
  check(L, mp_nft_writer_enter(writer, name, &err), &err);
  write_fields(L, writer, mp_nft_expression_named(name)->fields);
  mp_nft_writer_leave(writer);
}

/* Each element of the list in the field `name` of the table on top of the stack. */
static void write_each(lua_State *L, mp_nft_writer *writer, const char *name,
                       void (*each)(lua_State *, mp_nft_writer *)) {
  if (lua_getfield(L, -1, name) == LUA_TTABLE) {
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
      each(L, writer);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void write_element(lua_State *L, mp_nft_writer *writer) {
  mp_error err = MP_ERROR_INIT;
  luaL_checktype(L, -1, LUA_TTABLE);
  check(L, mp_nft_writer_enter(writer, NULL, &err), &err);
  write_fields(L, writer, mp_nft_element_fields);
  write_each(L, writer, "exprs", write_expression);
  mp_nft_writer_leave(writer);
}

static const char *text_field(lua_State *L, const char *name) {
  lua_getfield(L, -1, name);
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  lua_pop(L, 1);
  return text;
}

static void write_message(lua_State *L, mp_nft_writer *writer) {
  mp_error err = MP_ERROR_INIT;
  luaL_checktype(L, -1, LUA_TTABLE);
  mp_nft_kind kind = mp_nft_kind_named(text_field(L, "kind"));
  mp_nft_action action = mp_nft_action_named(text_field(L, "action"));
  lua_getfield(L, -1, "family");
  unsigned family = (unsigned)lua_tointeger(L, -1);
  lua_pop(L, 1);
  check(L, mp_nft_writer_begin(writer, kind, action, family, &err), &err);
  write_fields(L, writer, mp_nft_fields_of(kind));
  write_each(L, writer, "exprs", write_expression);
  write_each(L, writer, "elements", write_element);
  check(L, mp_nft_writer_end(writer, &err), &err);
}

void mp_lua_nft_write(lua_State *L, int index, mp_nft_writer *writer) {
  luaL_checktype(L, index, LUA_TTABLE);
  luaL_checkstack(L, 20, "nftables");
  for (lua_Integer i = 1; lua_rawgeti(L, index, i) != LUA_TNIL; i++) {
    write_message(L, writer);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* -- Reading ---------------------------------------------------------------------------------- */

/* The stack holds the list, the message, and within it an element and an expression where these
 * have been entered. */

static void see_begin(void *data, mp_nft_kind kind, bool gone, unsigned family) {
  lua_State *L = data;
  lua_createtable(L, 0, 8);
  lua_pushstring(L, mp_nft_kind_names[kind]);
  lua_setfield(L, -2, "kind");
  lua_pushinteger(L, family);
  lua_setfield(L, -2, "family");
  if (gone) {
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "gone");
  }
}

static void see_number(void *data, const char *name, int64_t value) {
  lua_State *L = data;
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static void see_bytes(void *data, const char *name, const void *bytes, size_t len) {
  lua_State *L = data;
  lua_pushlstring(L, bytes, len);
  lua_setfield(L, -2, name);
}

/* Pushes the list in the field `name` of the table on top, which is made where there is none. */
static void push_list(lua_State *L, const char *name) {
  if (lua_getfield(L, -1, name) == LUA_TTABLE)
    return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, name);
}

static void append(lua_State *L, int list) {
  lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

static void see_enter(void *data, const char *expression) {
  lua_State *L = data;
  push_list(L, expression ? "exprs" : "elements");
  lua_createtable(L, 1, 4);
  if (expression) {
    lua_pushstring(L, expression);
    lua_rawseti(L, -2, 1);
  }
  lua_pushvalue(L, -1);
  append(L, lua_absindex(L, -3));
  lua_remove(L, -2);
}

static void see_leave(void *data) {
  lua_pop((lua_State *)data, 1);
}

static void see_end(void *data) {
  lua_State *L = data;
  append(L, lua_absindex(L, -2));
}

int mp_lua_nft_read(lua_State *L, const mp_buf *messages) {
  static const mp_nft_visitor visitor = {see_begin, see_number, see_bytes,
                                         see_enter, see_leave,  see_end};
  mp_error err = MP_ERROR_INIT;
  luaL_checkstack(L, 20, "nftables");
  lua_newtable(L);
  if (mp_nft_read(messages->data, messages->len, &visitor, L, &err) < 0)
    return mp_throw(L, &err);
  return 1;
}
