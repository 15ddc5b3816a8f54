/* From text to Lua values, with libyaml as the parser. */
#include "yaml.h"

#include "core/encode.h"
#include "core/mem.h"
#include "errors.h"
#include "text_error.h"
#include "value.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define READER "moonport.yaml.reader"
#define TEXT_MOST ((size_t)64 << 20)
#define NODES_MOST 1000000 /* values of a text, what aliases copy included */

typedef struct {
  lua_State *L;
  yaml_parser_t parser;
  yaml_event_t event; /* the present one */
  bool has_event;
  const char *text;
  size_t len;
  mp_text_origin origin;
  bool order;
  int depth;
  lua_Integer nodes;
  int anchors;         /* stack index of the table from anchors to values */
  int array_metatable; /* stack index */
} reader;

/* Errors */

/* Where a line (from 0) and column (in characters, from 0) lie in the text. */
static size_t offset_of(const reader *self, yaml_mark_t mark) {
  const char *at = self->text, *end = at + self->len, *newline;
  for (; mark.line > 0 && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL; mark.line--)
    at = newline + 1;
  for (; mark.column > 0 && at < end; mark.column--)
    do
      at++;
    while (at < end && ((unsigned char)*at & 0xc0) == 0x80);
  return (size_t)(at - self->text);
}

static int fail(reader *self, const char *code, yaml_mark_t mark, const char *why) {
  return mp_text_raise(self->L, "yaml", code, &self->origin, self->text, self->len,
                       offset_of(self, mark), why);
}

/* At the present event. */
static int fail_here(reader *self, const char *code, const char *why) {
  return fail(self, code, self->event.start_mark, why);
}

static void fail_parser(reader *self) {
  char why[256];
  const yaml_parser_t *parser = &self->parser;
  snprintf(why, sizeof why, "%s%s%s", parser->problem ? parser->problem : "not YAML",
           parser->context ? " " : "", parser->context ? parser->context : "");
  if (parser->error == YAML_READER_ERROR) {
    mp_text_raise(self->L, "yaml", "syntax", &self->origin, self->text, self->len,
                  parser->problem_offset, why);
  }
  fail(self, "syntax", parser->problem_mark, why);
}

/* The parser */

static void drop_event(reader *self) {
  if (self->has_event)
    yaml_event_delete(&self->event);
  self->has_event = false;
}

static yaml_event_type_t next_event(reader *self) {
  drop_event(self);
  if (!yaml_parser_parse(&self->parser, &self->event))
    fail_parser(self);
  self->has_event = true;
  return self->event.type;
}

static void release(reader *self) {
  drop_event(self);
  yaml_parser_delete(&self->parser);
  memset(&self->parser, 0, sizeof self->parser);
}

static int reader_gc(lua_State *L) {
  release(lua_touserdata(L, 1));
  return 0;
}

/* A userdata, since an error jumps over us. */
static reader *new_reader(lua_State *L) {
  reader *self = lua_newuserdatauv(L, sizeof *self, 0);
  memset(self, 0, sizeof *self);
  self->L = L;
  self->origin = (mp_text_origin){.line = 1, .column = 1};
  if (luaL_newmetatable(L, READER)) {
    lua_pushcfunction(L, reader_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  lua_newtable(L);
  self->anchors = lua_gettop(L);
  luaL_getmetatable(L, VALUE_ARRAY);
  self->array_metatable = lua_gettop(L);
  return self;
}

/* Values: each of these pushes one. */

static void push_node(reader *self);

static void count_node(reader *self) {
  if (++self->nodes > NODES_MOST)
    fail_here(self, MP_LIMIT, "the text stands for too many values (aliases multiply)");
}

static void enter(reader *self) {
  if (self->depth == VALUE_DEPTH)
    fail_here(self, MP_LIMIT, "nested too deep");
  self->depth++;
  luaL_checkstack(self->L, 12, "the YAML text is nested too deep");
}

/* A copy of the table on top of the stack replaces it: what is read from one alias does not change
 * with another. */
static void copy_table(reader *self) {
  lua_State *L = self->L;
  enter(self);
  int from = lua_gettop(L);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, from);) {
    count_node(self);
    if (lua_istable(L, -1))
      copy_table(self);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, from + 1);
  }
  if (lua_getmetatable(L, from))
    lua_setmetatable(L, from + 1);
  lua_remove(L, from);
  self->depth--;
}

static void push_alias(reader *self) {
  lua_State *L = self->L;
  const char *anchor = (const char *)self->event.data.alias.anchor;
  int type = lua_getfield(L, self->anchors, anchor);
  if (type != LUA_TTABLE) {
    char why[160];
    snprintf(why, sizeof why,
             type == LUA_TNIL ? "there is no anchor `%.100s`"
                              : "the anchor `%.100s` contains itself",
             anchor);
    fail_here(self, "alias", why);
  }
  lua_rawgeti(L, -1, 1);
  lua_remove(L, -2);
  if (lua_istable(L, -1))
    copy_table(self);
}

static bool has_tag(const yaml_char_t *tag, const char *type) {
  static const char prefix[] = "tag:yaml.org,2002:";
  return tag && strncmp((const char *)tag, prefix, sizeof prefix - 1) == 0 &&
         strcmp((const char *)tag + sizeof prefix - 1, type) == 0;
}

static int fail_tag(reader *self, const yaml_char_t *tag) {
  char why[160];
  snprintf(why, sizeof why, "the tag `%.100s` is not known here, or not for such a value",
           (const char *)tag);
  return fail_here(self, "tag", why);
}

static void push_binary(reader *self, const char *text, size_t len) {
  mp_buf bytes = MP_BUF_INIT;
  mp_error err = MP_ERROR_INIT;
  if (mp_base64_decode(&bytes, text, len, &err) < 0) {
    char why[160];
    snprintf(why, sizeof why, "%s", err.message);
    mp_error_reset(&err);
    mp_buf_free(&bytes);
    fail_here(self, "tag", why);
  }
  lua_pushlstring(self->L, bytes.data ? bytes.data : "", bytes.len);
  mp_buf_free(&bytes);
}

static void push_tagged(reader *self, const yaml_char_t *tag, const char *text, size_t len) {
  static const char *const types[] = {"null", "bool", "int", "float"};
  if (strcmp((const char *)tag, "!") == 0 || has_tag(tag, "str") || has_tag(tag, "timestamp")) {
    lua_pushlstring(self->L, text, len);
    return;
  }
  if (has_tag(tag, "binary")) {
    push_binary(self, text, len);
    return;
  }
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (has_tag(tag, types[i]) && yaml_push_typed(self->L, types[i], text, len))
      return;
  fail_tag(self, tag);
}

static void push_scalar(reader *self) {
  const char *text = (const char *)self->event.data.scalar.value;
  size_t len = self->event.data.scalar.length;
  const yaml_char_t *tag = self->event.data.scalar.tag;
  if (tag)
    push_tagged(self, tag, text, len);
  else if (self->event.data.scalar.plain_implicit)
    yaml_push_plain(self->L, text, len);
  else
    lua_pushlstring(self->L, text, len);
}

static void push_sequence(reader *self) {
  lua_State *L = self->L;
  const yaml_char_t *tag = self->event.data.sequence_start.tag;
  if (tag && !has_tag(tag, "seq") && strcmp((const char *)tag, "!") != 0)
    fail_tag(self, tag);
  enter(self);
  lua_newtable(L);
  lua_pushvalue(L, self->array_metatable);
  lua_setmetatable(L, -2);
  for (lua_Integer i = 1; next_event(self) != YAML_SEQUENCE_END_EVENT; i++) {
    push_node(self);
    lua_rawseti(L, -2, i);
  }
  self->depth--;
}

/* Mappings. While one is read the stack holds: the list of its keys in their order, the list of
 * what is to be merged, the table. */

static void add_key(reader *self, int list, int key) {
  if (!self->order)
    return;
  lua_pushvalue(self->L, key);
  lua_rawseti(self->L, list, (lua_Integer)lua_rawlen(self->L, list) + 1);
}

static value_kind kind_on_top(const reader *self) {
  return value_kind_of(self->L, lua_topointer(self->L, self->array_metatable));
}

/* Moves the mapping on top of the stack to the list of what is to be merged. */
static void note_merge(reader *self, int merges, yaml_mark_t mark) {
  value_kind kind = lua_istable(self->L, -1) ? kind_on_top(self) : VALUE_IS_NUMBER;
  if (kind != VALUE_IS_OBJECT && kind != VALUE_IS_MARKED_OBJECT)
    fail(self, "merge", mark, "`<<` takes a mapping or a list of mappings");
  lua_rawseti(self->L, merges, (lua_Integer)lua_rawlen(self->L, merges) + 1);
}

/* The value of `<<`: a mapping or a sequence of mappings. */
static void read_merge(reader *self, int merges) {
  lua_State *L = self->L;
  next_event(self);
  yaml_mark_t mark = self->event.start_mark;
  push_node(self);
  if (!lua_istable(L, -1) || kind_on_top(self) != VALUE_IS_ARRAY) {
    note_merge(self, merges, mark);
    return;
  }
  for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++)
    note_merge(self, merges, mark);
  lua_pop(L, 2);
}

static bool is_merge_key(const reader *self) {
  return self->event.type == YAML_SCALAR_EVENT && self->event.data.scalar.plain_implicit &&
         self->event.data.scalar.tag == NULL && self->event.data.scalar.length == 2 &&
         memcmp(self->event.data.scalar.value, "<<", 2) == 0;
}

/* Keys are strings, as in JSON: a number or a word is taken as it is written. */
static void push_key(reader *self) {
  if (self->event.type == YAML_ALIAS_EVENT) {
    push_alias(self);
    if (lua_type(self->L, -1) != LUA_TSTRING)
      fail_here(self, "key", "a key must be a string");
    return;
  }
  if (self->event.type != YAML_SCALAR_EVENT)
    fail_here(self, "key", "a key must be a string, not a mapping or a sequence");
  lua_pushlstring(self->L, (const char *)self->event.data.scalar.value,
                  self->event.data.scalar.length);
  if (self->event.data.scalar.anchor) {
    lua_createtable(self->L, 1, 0);
    lua_pushvalue(self->L, -2);
    lua_rawseti(self->L, -2, 1);
    lua_setfield(self->L, self->anchors, (const char *)self->event.data.scalar.anchor);
  }
}

static void read_member(reader *self, int order, int table) {
  lua_State *L = self->L;
  push_key(self);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, table) != LUA_TNIL) {
    char why[160];
    snprintf(why, sizeof why, "the key `%.100s` appears twice in one mapping", lua_tostring(L, -2));
    fail_here(self, "duplicate", why);
  }
  lua_pop(L, 1);
  add_key(self, order, lua_gettop(L));
  next_event(self);
  push_node(self);
  lua_rawset(L, table);
}

/* Adds the keys of the mapping on top of the stack that are not there yet, in their order. */
static void merge_one(reader *self, int order, int table) {
  lua_State *L = self->L;
  int from = lua_gettop(L);
  lua_Integer count = value_push_keys(L, "yaml", from, true, NULL);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, from + 2, i);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, table) == LUA_TNIL) {
      lua_pop(L, 1);
      add_key(self, order, lua_gettop(L));
      lua_pushvalue(L, -1);
      lua_rawget(L, from);
      lua_rawset(L, table);
    } else {
      lua_pop(L, 2);
    }
  }
  lua_settop(L, from - 1);
}

static void push_mapping(reader *self) {
  lua_State *L = self->L;
  const yaml_char_t *tag = self->event.data.mapping_start.tag;
  if (tag && !has_tag(tag, "map") && strcmp((const char *)tag, "!") != 0)
    fail_tag(self, tag);
  enter(self);
  lua_newtable(L);
  lua_newtable(L);
  lua_newtable(L);
  int table = lua_gettop(L), merges = table - 1, order = table - 2;
  while (next_event(self) != YAML_MAPPING_END_EVENT) {
    if (is_merge_key(self))
      read_merge(self, merges);
    else
      read_member(self, order, table);
  }
  for (lua_Integer i = 1; lua_rawgeti(L, merges, i) != LUA_TNIL; i++)
    merge_one(self, order, table);
  lua_pop(L, 1);
  lua_remove(L, merges);
  if (self->order)
    value_set_order(L);
  else
    lua_remove(L, order);
  self->depth--;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event) {
  switch (event->type) {
  case YAML_SCALAR_EVENT:
    return event->data.scalar.anchor;
  case YAML_SEQUENCE_START_EVENT:
    return event->data.sequence_start.anchor;
  case YAML_MAPPING_START_EVENT:
    return event->data.mapping_start.anchor;
  default:
    return NULL;
  }
}

static void push_by_type(reader *self) {
  switch (self->event.type) {
  case YAML_ALIAS_EVENT:
    push_alias(self);
    break;
  case YAML_SCALAR_EVENT:
    push_scalar(self);
    break;
  case YAML_SEQUENCE_START_EVENT:
    push_sequence(self);
    break;
  case YAML_MAPPING_START_EVENT:
    push_mapping(self);
    break;
  default:
    fail_here(self, "syntax", "a value is missing");
  }
}

/* Pushes the value that the present event begins, and remembers it by its anchor. In the table of
 * anchors a value is boxed, and `false` stands for one that is still being read. */
static void push_node(reader *self) {
  lua_State *L = self->L;
  count_node(self);
  const char *anchor = (const char *)anchor_of(&self->event);
  if (anchor == NULL) {
    push_by_type(self);
    return;
  }
  luaL_checkstack(L, 8, "the YAML text is nested too deep");
  lua_pushstring(L, anchor);
  lua_pushvalue(L, -1);
  lua_pushboolean(L, false);
  lua_rawset(L, self->anchors);
  push_by_type(self);
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, -3);
  lua_insert(L, -2);
  lua_rawset(L, self->anchors);
  lua_remove(L, -2);
}

/* Documents */

/* A document of nothing but comments. */
static bool is_empty_document(const reader *self) {
  return self->event.type == YAML_SCALAR_EVENT && self->event.data.scalar.length == 0 &&
         self->event.data.scalar.plain_implicit && self->event.data.scalar.anchor == NULL &&
         self->event.data.scalar.tag == NULL;
}

/* Reads the document that the present event begins; pushes its value unless it is empty. */
static bool read_document(reader *self) {
  lua_newtable(self->L); /* anchors are a document's own */
  lua_replace(self->L, self->anchors);
  next_event(self);
  bool empty = is_empty_document(self);
  if (!empty)
    push_node(self);
  next_event(self);
  return !empty;
}

static void read_options(lua_State *L, int index, reader *self) {
  if (lua_isnoneornil(L, index))
    return;
  luaL_checktype(L, index, LUA_TTABLE);
  lua_getfield(L, index, "order");
  self->order = lua_toboolean(L, -1);
  if (lua_getfield(L, index, "source") != LUA_TNIL)
    self->origin.source = luaL_checkstring(L, -1);
  lua_pop(L, 2);
}

static reader *begin(lua_State *L) {
  size_t len, bad;
  const char *text = luaL_checklstring(L, 1, &len);
  lua_settop(L, 2);
  reader *self = new_reader(L);
  read_options(L, 2, self);
  self->text = text;
  self->len = len;
  if (len > TEXT_MOST)
    mp_raise(L, "yaml", MP_LIMIT, NULL, "the YAML text is larger than %zu MiB", TEXT_MOST >> 20);
  if (!mp_utf8_valid(text, len, &bad))
    mp_text_raise(L, "yaml", "utf8", &self->origin, text, len, bad, "not valid UTF-8");
  if (!yaml_parser_initialize(&self->parser))
    mp_raise(L, "yaml", "memory", NULL, "out of memory");
  yaml_parser_set_encoding(&self->parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&self->parser, (const unsigned char *)text, len);
  next_event(self); /* the stream's start */
  return self;
}

int yaml_decode_all(lua_State *L) {
  reader *self = begin(L);
  lua_newtable(L);
  for (lua_Integer count = 0; next_event(self) != YAML_STREAM_END_EVENT;)
    if (read_document(self))
      lua_rawseti(L, -2, ++count);
  release(self);
  return 1;
}

int yaml_decode(lua_State *L) {
  reader *self = begin(L);
  bool found = false;
  while (next_event(self) != YAML_STREAM_END_EVENT) {
    yaml_mark_t mark = self->event.start_mark;
    bool one = read_document(self);
    if (one && found)
      fail(self, "documents", mark, "more than one document: use decode_all");
    found |= one;
  }
  if (!found)
    lua_pushlightuserdata(L, NULL);
  release(self);
  return 1;
}
