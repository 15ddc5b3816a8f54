/* Plain values (what JSON and YAML can hold) as Lua tables: which is an array, which an object, in
 * what order its keys go, and where in a value something is. See bind_json.c for the rules. */
#ifndef MP_LUA_VALUE_H
#define MP_LUA_VALUE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define VALUE_ARRAY "json.array"   /* metatable of arrays */
#define VALUE_OBJECT "json.object" /* metatable of tables that are objects whatever their keys */
#define VALUE_NUMBER "json.number" /* metatable of numbers kept as their literal, in field 1 */
#define VALUE_ORDER "__order"      /* field of an object's metatable: its keys in their order */
#define VALUE_DEPTH 512            /* containers within each other, unless asked otherwise */

/* Where we are, for messages: one crumb per container. */
typedef struct value_crumb {
  const struct value_crumb *up;
  const char *key; /* NULL in an array */
  lua_Integer index;
} value_crumb;

/* Raises {kind, code} with "cannot encode `$.a.b[2]`: ...". Never returns. */
int value_fail(lua_State *L, const char *kind, const char *code, const value_crumb *at,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

typedef enum {
  VALUE_IS_ARRAY,
  VALUE_IS_OBJECT,
  VALUE_IS_MARKED_OBJECT, /* its integer keys become strings */
  VALUE_IS_NUMBER
} value_kind;

/* What the table on top of the stack is. array_metatable: lua_topointer of that of VALUE_ARRAY. */
value_kind value_kind_of(lua_State *L, const void *array_metatable);

/* True when the table on top of the stack has no other keys than 1..count. */
bool value_only_elements(lua_State *L, lua_Integer count);

/* Raises for an array with other keys or with a gap. */
int value_fail_array(lua_State *L, const char *kind, const value_crumb *at);

/* The key at `index` as text, pushed. Integers only where `marked`; raises for other kinds. */
const char *value_push_key(lua_State *L, const char *kind, int index, bool marked, size_t *len,
                           const value_crumb *at);

/* True when the table at `index` remembers an order of its keys. */
bool value_has_order(lua_State *L, int index);

/* Pushes a table from each key's text to the key as it is in the table at absolute index `table`,
 * and the list of these texts: those whose order is remembered first, the rest sorted by bytes.
 * Returns their number. */
lua_Integer value_push_keys(lua_State *L, const char *kind, int table, bool marked,
                            const value_crumb *at);

/* Gives the table on top of the stack a metatable that remembers the order of keys listed in the
 * table below it, which is removed. */
void value_set_order(lua_State *L);

#endif
