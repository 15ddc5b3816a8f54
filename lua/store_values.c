#include "store_values.h"

#include "core/mem.h"
#include "errors.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void mp_store_answer_free(mp_store_answer *self) {
  for (size_t i = 0; self->names && i < self->columns; i++)
    free(self->names[i]);
  free(self->names);
  free(self->values);
  free(self->bytes);
}

static bool has_bytes(const mp_store_value *value) {
  return value->type == MP_STORE_TEXT || value->type == MP_STORE_BLOB;
}

static void copy_values(mp_store_answer *self, const mp_store_result *result) {
  size_t count = result->rows * result->columns, total = 0;
  for (size_t i = 0; i < count; i++)
    total += has_bytes(&result->values[i]) ? result->values[i].len : 0;
  self->values = mp_calloc(count, sizeof *self->values);
  self->bytes = mp_alloc(total);
  char *end = self->bytes;
  for (size_t i = 0; i < count; i++) {
    self->values[i] = result->values[i];
    if (!has_bytes(&self->values[i]))
      continue;
    memcpy(end, self->values[i].bytes, self->values[i].len);
    self->values[i].bytes = end;
    end += self->values[i].len;
  }
}

void mp_store_answer_take(mp_store_answer *self, const mp_store_result *result) {
  self->changes = result->changes;
  self->last_id = result->last_id;
  if (self->want == MP_STORE_WANT_COUNTS)
    return;
  self->names = mp_calloc(result->columns, sizeof *self->names);
  self->columns = result->columns;
  for (size_t i = 0; i < result->columns; i++)
    self->names[i] = mp_strdup(result->names[i]);
  self->rows = result->rows;
  copy_values(self, result);
}

static void push_value(lua_State *L, const mp_store_value *value) {
  switch (value->type) {
  case MP_STORE_INTEGER:
    lua_pushinteger(L, value->integer);
    break;
  case MP_STORE_REAL:
    lua_pushnumber(L, value->real);
    break;
  case MP_STORE_TEXT:
  case MP_STORE_BLOB:
    lua_pushlstring(L, value->bytes, value->len);
    break;
  case MP_STORE_NULL:
    lua_pushnil(L);
    break;
  }
}

static void push_row(lua_State *L, const mp_store_answer *self, size_t row) {
  lua_createtable(L, 0, (int)self->columns);
  for (size_t i = 0; i < self->columns; i++) {
    push_value(L, &self->values[row * self->columns + i]);
    lua_setfield(L, -2, self->names[i]);
  }
}

void mp_store_answer_push(lua_State *L, const mp_store_answer *self) {
  if (self->want == MP_STORE_WANT_ROW) {
    if (self->rows == 0)
      lua_pushnil(L);
    else
      push_row(L, self, 0);
    return;
  }
  lua_createtable(L, (int)self->rows, 2);
  for (size_t row = 0; row < self->rows; row++) {
    push_row(L, self, row);
    lua_rawseti(L, -2, (lua_Integer)row + 1);
  }
  if (self->want == MP_STORE_WANT_ROWS)
    return;
  lua_pushinteger(L, self->changes);
  lua_setfield(L, -2, "changes");
  lua_pushinteger(L, self->last_id);
  lua_setfield(L, -2, "last_id");
}

void mp_store_read_param(lua_State *L, int index, int number, mp_store_value *param) {
  switch (lua_type(L, index)) {
  case LUA_TNIL:
    param->type = MP_STORE_NULL;
    return;
  case LUA_TBOOLEAN:
    param->type = MP_STORE_INTEGER;
    param->integer = lua_toboolean(L, index);
    return;
  case LUA_TNUMBER:
    param->type = lua_isinteger(L, index) ? MP_STORE_INTEGER : MP_STORE_REAL;
    if (param->type == MP_STORE_INTEGER)
      param->integer = lua_tointeger(L, index);
    else
      param->real = lua_tonumber(L, index);
    return;
  case LUA_TSTRING:
    param->type = MP_STORE_TEXT;
    param->bytes = lua_tolstring(L, index, &param->len);
    return;
  default:
    mp_bad_argument(L, "parameter %d of a statement is a %s", number, luaL_typename(L, index));
  }
}
