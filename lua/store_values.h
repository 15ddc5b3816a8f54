/* What goes into the store from Lua and comes out of it: parameters and rows. */
#ifndef MP_LUA_STORE_VALUES_H
#define MP_LUA_STORE_VALUES_H

#include "core/store.h"

#include <lua.h>

typedef enum {
  MP_STORE_WANT_COUNTS, /* {changes=, last_id=} */
  MP_STORE_WANT_ROW,    /* the first row, or nil */
  MP_STORE_WANT_ROWS,   /* a list of rows */
  MP_STORE_WANT_ALL,    /* a list of rows with the counts in it */
} mp_store_wanted;

/* A copy of a result, which lives no longer than its callback. Zeroed but for `want` at first. */
typedef struct {
  mp_store_wanted want;
  size_t columns, rows;
  char **names;           /* owned, with the strings */
  mp_store_value *values; /* owned; text points into `bytes` */
  char *bytes;
  int64_t changes, last_id;
} mp_store_answer;

/* Copies what `want` asks for. */
void mp_store_answer_take(mp_store_answer *self, const mp_store_result *result);
void mp_store_answer_push(lua_State *L, const mp_store_answer *self);
void mp_store_answer_free(mp_store_answer *self);

/* Reads the value at `index`, which stays referenced there. `number` names it where it cannot be a
 * parameter; then this raises. */
void mp_store_read_param(lua_State *L, int index, int number, mp_store_value *param);

#endif
