/* From text to Lua values, with yajl as the parser. */
#include "json.h"

#include "core/encode.h"
#include "core/mem.h"
#include "errors.h"
#include "value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define DECODER "moonport.json.decoder"
#define FRAMES 32                   /* room for so many containers at first */
#define TEXT_MOST ((size_t)1 << 30) /* yajl counts buffers in 32 bits in places */

typedef struct {
  lua_Integer count; /* elements, or keys */
  bool array;
} frame;

/* How large the last containers of a depth were: the next ones are likely to be as large, and a
 * table made large enough need not grow. */
#define HINT_MOST 32
typedef struct {
  unsigned char array, object;
} size_hint;

/* On the Lua stack, for each open container: [list of keys, if ordered,] the table, and in an
 * object that waits for a value its key. */
typedef struct {
  lua_State *L;
  yajl_handle parser;
  const json_decode_options *options;
  frame *frames; /* frames[depth - 1] is the innermost; owned where it is not `first` */
  int depth, room;
  int array_metatable; /* stack index */
  const char *refused; /* why a callback stopped the parser */
  const char *code;
  frame first[FRAMES];
  size_hint hints[FRAMES];
} decoder;

static int refuse(decoder *self, const char *code, const char *why) {
  self->code = code;
  self->refused = why;
  return 0;
}

/* Puts the value on top of the stack where it belongs. */
static inline int store(decoder *self) {
  if (self->depth == 0)
    return 1;
  frame *top = &self->frames[self->depth - 1];
  if (top->array)
    lua_rawseti(self->L, -2, ++top->count);
  else
    lua_rawset(self->L, -3);
  return 1;
}

static int on_null(void *context) {
  decoder *self = context;
  lua_pushlightuserdata(self->L, NULL);
  return store(self);
}

static int on_boolean(void *context, int value) {
  decoder *self = context;
  lua_pushboolean(self->L, value);
  return store(self);
}

static int on_number(void *context, const char *text, size_t len) {
  decoder *self = context;
  json_push_number(self->L, text, len);
  return store(self);
}

static int on_string(void *context, const unsigned char *text, size_t len) {
  decoder *self = context;
  lua_pushlstring(self->L, (const char *)text, len);
  return store(self);
}

static int push_frame(decoder *self, bool array) {
  if (self->depth == self->options->depth)
    return refuse(self, MP_LIMIT, "nested too deep");
  if (self->depth == self->room) {
    frame *old = self->frames == self->first ? NULL : self->frames;
    frame *grown = mp_realloc(old, 2 * (size_t)self->room * sizeof *grown);
    if (old == NULL)
      memcpy(grown, self->first, sizeof self->first);
    self->frames = grown;
    self->room *= 2;
  }
  self->frames[self->depth++] = (frame){.array = array};
  luaL_checkstack(self->L, 6, "the JSON text is nested too deep");
  return 1;
}

/* Of the innermost container; the deepest share one. */
static size_hint *hint_of(decoder *self) {
  return &self->hints[self->depth <= FRAMES ? self->depth - 1 : FRAMES - 1];
}

static unsigned char as_hint(lua_Integer count) {
  return (unsigned char)(count < HINT_MOST ? count : HINT_MOST);
}

static int on_array_start(void *context) {
  decoder *self = context;
  if (!push_frame(self, true))
    return 0;
  lua_createtable(self->L, hint_of(self)->array, 0);
  lua_pushvalue(self->L, self->array_metatable);
  lua_setmetatable(self->L, -2);
  return 1;
}

static int on_array_end(void *context) {
  decoder *self = context;
  hint_of(self)->array = as_hint(self->frames[self->depth - 1].count);
  self->depth--;
  return store(self);
}

static int on_map_start(void *context) {
  decoder *self = context;
  if (!push_frame(self, false))
    return 0;
  if (self->options->order)
    lua_newtable(self->L);
  lua_createtable(self->L, 0, hint_of(self)->object);
  return 1;
}

static bool has_key(lua_State *L) {
  lua_pushvalue(L, -1);
  bool there = lua_rawget(L, -3) != LUA_TNIL;
  lua_pop(L, 1);
  return there;
}

static int on_map_key(void *context, const unsigned char *text, size_t len) {
  decoder *self = context;
  lua_State *L = self->L;
  lua_pushlstring(L, (const char *)text, len);
  frame *top = &self->frames[self->depth - 1];
  if (!self->options->order && !self->options->unique_keys) {
    top->count++;
    return 1;
  }
  bool again = has_key(L);
  if (again && self->options->unique_keys)
    return refuse(self, "duplicate", "the key appears twice in one object");
  if (self->options->order && !again) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, -4, ++top->count);
  }
  return 1;
}

static int on_map_end(void *context) {
  decoder *self = context;
  lua_State *L = self->L;
  hint_of(self)->object = as_hint(self->frames[self->depth - 1].count);
  self->depth--;
  if (self->options->order)
    value_set_order(L);
  return store(self);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_map_start,
    .yajl_map_key = on_map_key,
    .yajl_end_map = on_map_end,
    .yajl_start_array = on_array_start,
    .yajl_end_array = on_array_end,
};

static void release(decoder *self) {
  if (self->parser)
    yajl_free(self->parser);
  self->parser = NULL;
  if (self->frames != self->first)
    free(self->frames);
  self->frames = self->first;
}

static int decoder_gc(lua_State *L) {
  release(lua_touserdata(L, 1));
  return 0;
}

/* A userdata, since an error in a callback (out of memory) jumps over us. */
static decoder *new_decoder(lua_State *L, const json_decode_options *options) {
  decoder *self = lua_newuserdatauv(L, sizeof *self, 0);
  self->L = L;
  self->parser = NULL;
  self->options = options;
  self->frames = self->first;
  self->depth = 0;
  self->room = FRAMES;
  self->refused = self->code = NULL;
  memset(self->hints, 0, sizeof self->hints);
  if (luaL_newmetatable(L, DECODER)) {
    lua_pushcfunction(L, decoder_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  luaL_getmetatable(L, VALUE_ARRAY);
  self->array_metatable = lua_gettop(L);
  self->parser = yajl_alloc(&callbacks, NULL, self);
  yajl_config(self->parser, yajl_dont_validate_strings, 1); /* see check_utf8 */
  return self;
}

/* What yajl says, less its prefix and newline. */
static void copy_reason(decoder *self, char *out, size_t size) {
  unsigned char *text = yajl_get_error(self->parser, 0, NULL, 0);
  const char *colon = text ? strstr((char *)text, ": ") : NULL;
  const char *reason = colon ? colon + 2 : "not JSON";
  size_t len = strcspn(reason, "\n");
  if (len > 0 && reason[len - 1] == '.')
    len--;
  snprintf(out, size, "%.*s", (int)len, reason);
  if (text)
    yajl_free_error(self->parser, text);
}

static size_t last_word(const char *text, size_t len) {
  while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
    len--;
  while (len > 0 && strchr(" \t\r\n", text[len - 1]) == NULL)
    len--;
  return len;
}

/* at_end: the parser complained only when it was told that nothing follows. It has then lost count,
 * and it is about the end, or a number or word that ends there. */
static void raise_parse_error(lua_State *L, decoder *self, const char *text, size_t len,
                              bool at_end) {
  char reason[160];
  size_t offset = yajl_get_bytes_consumed(self->parser);
  const char *code = self->refused ? self->code : "syntax";
  if (self->refused)
    snprintf(reason, sizeof reason, "%s", self->refused);
  else
    copy_reason(self, reason, sizeof reason);
  if (strcmp(reason, "premature EOF") == 0) {
    snprintf(reason, sizeof reason, "the text ends too early");
    offset = len;
  } else {
    offset = at_end ? last_word(text, len) : offset > 0 ? offset - 1 : 0;
  }
  release(self);
  mp_text_raise(L, "json", code, &self->options->origin, text, len, offset, reason);
}

static bool read_hex4(const char *at, const char *end, unsigned *value) {
  *value = 0;
  if (end - at < 4)
    return false;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    unsigned digit = c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 32) - 'a' + 10);
    *value = *value << 4 | (digit & 15);
  }
  return true;
}

/* yajl turns half a surrogate pair into `?` or into wrong UTF-8. In a text that it accepts, every
 * backslash begins an escape, so they can be found without it. Returns NULL where all is well. */
static const char *lone_surrogate(const char *text, size_t len) {
  const char *end = text + len, *at = text;
  while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
    unsigned unit, low;
    if (at[1] != 'u' || !read_hex4(at + 2, end, &unit) || unit < 0xd800 || unit > 0xdfff) {
      at += 2;
      continue;
    }
    bool pair = unit < 0xdc00 && end - at >= 12 && at[6] == '\\' && at[7] == 'u' &&
                read_hex4(at + 8, end, &low) && low >= 0xdc00 && low <= 0xdfff;
    if (!pair)
      return at;
    at += 12;
  }
  return NULL;
}

void json_decode(lua_State *L, const char *text, size_t len, const json_decode_options *options) {
  size_t bad;
  if (len > TEXT_MOST)
    mp_raise(L, "json", MP_LIMIT, NULL, "the JSON text is larger than %zu MiB", TEXT_MOST >> 20);
  if (!mp_utf8_valid(text, len, &bad))
    mp_text_raise(L, "json", "utf8", &options->origin, text, len, bad, "not valid UTF-8");
  luaL_checkstack(L, 10, "JSON");
  decoder *self = new_decoder(L, options);
  int base = lua_gettop(L) - 1; /* the decoder; above it the array metatable */
  yajl_status status = yajl_parse(self->parser, (const unsigned char *)text, len);
  if (status != yajl_status_ok)
    raise_parse_error(L, self, text, len, false);
  if (yajl_complete_parse(self->parser) != yajl_status_ok)
    raise_parse_error(L, self, text, len, true);
  const char *lone = lone_surrogate(text, len);
  if (lone)
    mp_text_raise(L, "json", "utf8", &options->origin, text, len, (size_t)(lone - text),
                  "half of a surrogate pair");
  release(self);
  lua_replace(L, base);
  lua_settop(L, base);
}

static bool flag(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

/* The source's text is kept alive by the options table. */
void json_read_decode_options(lua_State *L, int index, json_decode_options *options) {
  *options = (json_decode_options){.origin = {.line = 1, .column = 1}, .depth = VALUE_DEPTH};
  if (lua_isnoneornil(L, index))
    return;
  luaL_checktype(L, index, LUA_TTABLE);
  options->order = flag(L, index, "order");
  options->unique_keys = flag(L, index, "unique_keys");
  if (lua_getfield(L, index, "source") != LUA_TNIL)
    options->origin.source = luaL_checkstring(L, -1);
  if (lua_getfield(L, index, "depth") != LUA_TNIL) {
    lua_Integer depth = luaL_checkinteger(L, -1);
    luaL_argcheck(L, depth >= 1 && depth <= 100000, index, "depth must be from 1 to 100000");
    options->depth = (int)depth;
  }
  lua_pop(L, 2);
}
