/* The parts of the json module: decoding (on yajl), encoding, streams and numbers. Loop thread. */
#ifndef MP_LUA_JSON_H
#define MP_LUA_JSON_H

#include "core/buf.h"
#include "text_error.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
  mp_text_origin origin;
  bool order;       /* remember the order of keys */
  bool unique_keys; /* refuse an object that has a key twice */
  int depth;
} json_decode_options;

/* Makes the metatables of value.h where they are missing. */
void json_make_metatables(lua_State *L);

/* Reads the options table at `index` (may be nil or none). */
void json_read_decode_options(lua_State *L, int index, json_decode_options *options);

/* Pushes the one value that `text` spells, or raises. `text` must not move meanwhile. */
void json_decode(lua_State *L, const char *text, size_t len, const json_decode_options *options);

/* Pushes the value of a number's literal: an integer, a float, or where neither holds it exactly
 * enough (beyond 64 bits, beyond a double's range) the literal itself. */
void json_push_number(lua_State *L, const char *text, size_t len);

/* Pushes a number object for the literal. */
void json_push_literal(lua_State *L, const char *text, size_t len);

/* True when the text is a number by JSON's grammar. */
bool json_is_number(const char *text, size_t len);

/* Appends the shortest text that reads back as this float, and as a float. `value` is finite. */
void json_append_float(mp_buf *out, double value);

/* encode(value [, options]) */
int json_encode(lua_State *L);

/* parser([options]) */
int json_parser(lua_State *L);

#endif
