/* The parts of the yaml module. Values follow the same rules as JSON's (value.h). Loop thread. */
#ifndef MP_LUA_YAML_H
#define MP_LUA_YAML_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* decode(text [, options]), decode_all(text [, options]) */
int yaml_decode(lua_State *L);
int yaml_decode_all(lua_State *L);

/* encode(value [, options]), encode_all(list [, options]) */
int yaml_encode(lua_State *L);
int yaml_encode_all(lua_State *L);

/* Pushes what a plain scalar means. */
void yaml_push_plain(lua_State *L, const char *text, size_t len);

/* Pushes what a scalar with the core schema's tag for one type ("null", "bool", "int", "float")
 * means; false, with nothing pushed, where it is not of that type. */
bool yaml_push_typed(lua_State *L, const char *type, const char *text, size_t len);

/* True when this string, written plainly, could be read as something else, by us or by a reader of
 * YAML 1.1. */
bool yaml_is_ambiguous(const char *text, size_t len);

#endif
