/* From Lua values to text, with libyaml as the emitter. */
#include "yaml.h"

#include "core/encode.h"
#include "core/mem.h"
#include "errors.h"
#include "json.h"
#include "secret.h"
#include "value.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define WRITER "moonport.yaml.writer"
#define YAML_BINARY "tag:yaml.org,2002:binary"

typedef struct {
  lua_State *L;
  yaml_emitter_t emitter;
  mp_buf out;
  int depth;
  const void *array_metatable;
} writer;

static int on_write(void *data, unsigned char *bytes, size_t len) {
  mp_buf_append(data, bytes, len);
  return 1;
}

static int writer_gc(lua_State *L) {
  writer *self = lua_touserdata(L, 1);
  yaml_emitter_delete(&self->emitter);
  memset(&self->emitter, 0, sizeof self->emitter);
  mp_buf_free(&self->out);
  return 0;
}

/* Takes over the event, also when it fails. */
static void emit(writer *self, yaml_event_t *event) {
  if (!yaml_emitter_emit(&self->emitter, event))
    mp_raise(self->L, "yaml", "emit", NULL, "could not write YAML: %s",
             self->emitter.problem ? self->emitter.problem : "unknown trouble");
}

static void emit_scalar(writer *self, const char *text, size_t len, yaml_scalar_style_t style) {
  yaml_event_t event;
  yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)len, 1, 1,
                               style);
  emit(self, &event);
}

/* A literal block shows lines as they are. The emitter can write it only where there is nothing
 * that would get lost; the rest goes in double quotes. */
static bool fits_literal(const char *text, size_t len) {
  if (memchr(text, '\n', len) == NULL || strchr(" \n\t", *text) != NULL)
    return false;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || c >= 0x80)
      return false;
    if (c == '\n' && i > 0 && (text[i - 1] == ' ' || text[i - 1] == '\t'))
      return false;
  }
  return text[len - 1] != ' ' && text[len - 1] != '\t';
}

static yaml_scalar_style_t style_of(const char *text, size_t len) {
  if (yaml_is_ambiguous(text, len))
    return YAML_DOUBLE_QUOTED_SCALAR_STYLE;
  if (memchr(text, '\n', len))
    return fits_literal(text, len) ? YAML_LITERAL_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE;
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] == 0x7f)
      return YAML_DOUBLE_QUOTED_SCALAR_STYLE;
  return YAML_PLAIN_SCALAR_STYLE; /* the emitter quotes what cannot be plain */
}

/* Bytes that are no text. */
static void put_binary(writer *self, const char *bytes, size_t len) {
  yaml_event_t event;
  mp_auto_buf mp_buf text = MP_BUF_INIT;
  mp_base64_encode(&text, bytes, len, false);
  yaml_scalar_event_initialize(&event, NULL, (const yaml_char_t *)YAML_BINARY,
                               (const yaml_char_t *)text.data, (int)text.len, 0, 0,
                               YAML_PLAIN_SCALAR_STYLE);
  emit(self, &event);
}

static void put_string(writer *self, const char *text, size_t len) {
  if (mp_utf8_valid(text, len, NULL))
    emit_scalar(self, text, len, style_of(text, len));
  else
    put_binary(self, text, len);
}

static void put_key(writer *self, const char *text, size_t len, const value_crumb *at) {
  if (!mp_utf8_valid(text, len, NULL))
    value_fail(self->L, "yaml", "utf8", at, "the key is not valid UTF-8");
  emit_scalar(self, text, len, style_of(text, len));
}

static void put_plain(writer *self, const char *text) {
  emit_scalar(self, text, strlen(text), YAML_PLAIN_SCALAR_STYLE);
}

static void put_number(writer *self) {
  lua_State *L = self->L;
  lua_Number value = lua_tonumber(L, -1);
  char space[32];
  if (lua_isinteger(L, -1)) {
    snprintf(space, sizeof space, "%lld", (long long)lua_tointeger(L, -1));
    put_plain(self, space);
  } else if (isnan(value)) {
    put_plain(self, ".nan");
  } else if (isinf(value)) {
    put_plain(self, value < 0 ? "-.inf" : ".inf");
  } else {
    mp_auto_buf mp_buf text = MP_BUF_INIT;
    json_append_float(&text, value);
    snprintf(space, sizeof space, "%s", text.data);
    put_plain(self, space);
  }
}

static void put_value(writer *self, const value_crumb *at);

static void enter(writer *self, const value_crumb *at) {
  if (self->depth == VALUE_DEPTH)
    value_fail(self->L, "yaml", MP_LIMIT, at, "nested deeper than %d (does it contain itself?)",
               VALUE_DEPTH);
  self->depth++;
  luaL_checkstack(self->L, 12, "the value is nested too deep");
}

static void put_array(writer *self, const value_crumb *up) {
  lua_State *L = self->L;
  yaml_event_t event;
  value_crumb at = {.up = up};
  lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
  if (!value_only_elements(L, count))
    value_fail_array(L, "yaml", up);
  enter(self, up);
  yaml_sequence_start_event_initialize(
      &event, NULL, NULL, 1, count ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE);
  emit(self, &event);
  for (lua_Integer i = 1; i <= count; i++) {
    at.index = i;
    if (lua_rawgeti(L, -1, i) == LUA_TNIL)
      value_fail_array(L, "yaml", up);
    put_value(self, &at);
    lua_pop(L, 1);
  }
  yaml_sequence_end_event_initialize(&event);
  emit(self, &event);
  self->depth--;
}

static void put_object(writer *self, bool marked, const value_crumb *up) {
  lua_State *L = self->L;
  yaml_event_t event;
  value_crumb at = {.up = up};
  enter(self, up);
  int table = lua_gettop(L);
  lua_Integer count = value_push_keys(L, "yaml", table, marked, up);
  yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                      count ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE);
  emit(self, &event);
  for (lua_Integer i = 1; i <= count; i++) {
    size_t len;
    lua_rawgeti(L, table + 2, i);
    at.key = lua_tolstring(L, -1, &len);
    put_key(self, at.key, len, &at);
    lua_pushvalue(L, -1);
    lua_rawget(L, table + 1);
    lua_rawget(L, table);
    put_value(self, &at);
    lua_pop(L, 2);
  }
  lua_settop(L, table);
  yaml_mapping_end_event_initialize(&event);
  emit(self, &event);
  self->depth--;
}

static void put_literal(writer *self, const value_crumb *at) {
  size_t len = 0;
  lua_rawgeti(self->L, -1, 1);
  const char *text = lua_type(self->L, -1) == LUA_TSTRING ? lua_tolstring(self->L, -1, &len) : NULL;
  if (text == NULL || !json_is_number(text, len)) {
    value_fail(self->L, "yaml", "number", at, "it is not a number by JSON's grammar");
    return;
  }
  emit_scalar(self, text, len, YAML_PLAIN_SCALAR_STYLE);
  lua_pop(self->L, 1);
}

static void put_table(writer *self, const value_crumb *at) {
  value_kind kind = value_kind_of(self->L, self->array_metatable);
  switch (kind) {
  case VALUE_IS_ARRAY:
    put_array(self, at);
    break;
  case VALUE_IS_NUMBER:
    put_literal(self, at);
    break;
  default:
    put_object(self, kind == VALUE_IS_MARKED_OBJECT, at);
  }
}

static void put_other(writer *self, const value_crumb *at) {
  if (lua_islightuserdata(self->L, -1) && lua_touserdata(self->L, -1) == NULL) {
    put_plain(self, "null");
    return;
  }
  if (mp_is_secret(self->L, -1))
    value_fail(self->L, "yaml", "secret", at, "it is a secret, which must not become plain text");
  value_fail(self->L, "yaml", "type", at, "YAML has no %s", luaL_typename(self->L, -1));
}

static void put_value(writer *self, const value_crumb *at) {
  lua_State *L = self->L;
  switch (lua_type(L, -1)) {
  case LUA_TSTRING: {
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    put_string(self, text, len);
    break;
  }
  case LUA_TNUMBER:
    put_number(self);
    break;
  case LUA_TBOOLEAN:
    put_plain(self, lua_toboolean(L, -1) ? "true" : "false");
    break;
  case LUA_TTABLE:
    put_table(self, at);
    break;
  default:
    put_other(self, at);
  }
}

/* Writes the value on top of the stack as a document. */
static void put_document(writer *self, bool marker, const value_crumb *at) {
  yaml_event_t event;
  yaml_document_start_event_initialize(&event, NULL, NULL, NULL, !marker);
  emit(self, &event);
  put_value(self, at);
  yaml_document_end_event_initialize(&event, 1);
  emit(self, &event);
}

static int indent_option(lua_State *L, int index) {
  lua_Integer indent = 2;
  if (lua_isnoneornil(L, index))
    return (int)indent;
  luaL_checktype(L, index, LUA_TTABLE);
  if (lua_getfield(L, index, "indent") != LUA_TNIL)
    indent = luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  luaL_argcheck(L, indent >= 2 && indent <= 9, index, "indent must be from 2 to 9");
  return (int)indent;
}

static writer *begin(lua_State *L) {
  yaml_event_t event;
  lua_settop(L, 2);
  int indent = indent_option(L, 2);
  /* A userdata, since an error jumps over us. */
  writer *self = lua_newuserdatauv(L, sizeof *self, 0);
  memset(self, 0, sizeof *self);
  self->L = L;
  if (luaL_newmetatable(L, WRITER)) {
    lua_pushcfunction(L, writer_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  luaL_getmetatable(L, VALUE_ARRAY);
  self->array_metatable = lua_topointer(L, -1);
  if (!yaml_emitter_initialize(&self->emitter))
    mp_raise(L, "yaml", "memory", NULL, "out of memory");
  yaml_emitter_set_output(&self->emitter, on_write, &self->out);
  yaml_emitter_set_indent(&self->emitter, indent);
  yaml_emitter_set_width(&self->emitter, -1); /* never breaks a line of text in two */
  yaml_emitter_set_unicode(&self->emitter, 1);
  yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
  emit(self, &event);
  return self;
}

static int end(writer *self) {
  yaml_event_t event;
  yaml_stream_end_event_initialize(&event);
  emit(self, &event);
  lua_pushlstring(self->L, self->out.data ? self->out.data : "", self->out.len);
  return 1;
}

int yaml_encode(lua_State *L) {
  luaL_checkany(L, 1);
  writer *self = begin(L);
  lua_pushvalue(L, 1);
  put_document(self, false, NULL);
  return end(self);
}

int yaml_encode_all(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  writer *self = begin(L);
  value_crumb at = {0};
  for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    at.index = i;
    put_document(self, true, &at);
    lua_pop(L, 1);
  }
  return end(self);
}
