/* stdlib/moonport/store.lua adds `transaction`. */
#include "bind_store.h"

#include "core/mem.h"
#include "core/store.h"
#include "errors.h"
#include "gate.h"
#include "task.h"
#include "task_internal.h"

#include <stdlib.h>
#include <string.h>

#define STORE_METATABLE "moonport.store"
#define TX_METATABLE "moonport.store.tx"

typedef struct {
  mp_store *store;       /* NULL once closed */
  const mp_task *holder; /* the task that has a transaction under way; only to be compared */
} store_handle;

typedef struct {
  mp_store_tx *tx; /* NULL once ended */
  mp_store *store; /* lives until its transactions have ended, closed or not */
  mp_task *task;   /* the one that began it, which waits for nothing else meanwhile */
} tx_handle;

static store_handle *check_store(lua_State *L, const char *call) {
  store_handle *self = luaL_checkudata(L, 1, STORE_METATABLE);
  if (self->store == NULL)
    mp_raise(L, "store", "closed", NULL, "the store was closed");
  if (self->holder && self->holder == mp_task_current(L))
    mp_raise(L, "store", "busy", "call it on the transaction, or end that first",
             "`%s` would wait for ever for the transaction that this task has begun", call);
  return self;
}

static tx_handle *check_tx(lua_State *L) {
  tx_handle *self = luaL_checkudata(L, 1, TX_METATABLE);
  if (self->tx == NULL)
    mp_raise(L, "store", "closed", NULL, "the transaction has ended");
  return self;
}

/* Open. */

typedef struct {
  mp_wait wait;
  mp_store *store; /* owned until finish hands it to a handle */
} open_wait;

static void opened(void *data, mp_store *store, mp_error *err) {
  open_wait *self = data;
  self->store = store;
  if (err)
    mp_error_move(&self->wait.error, err);
  mp_wait_done(&self->wait);
}

static void open_release(mp_wait *wait) {
  open_wait *self = (open_wait *)wait;
  if (self->store)
    mp_store_close(self->store, NULL, NULL);
}

static int open_finish(lua_State *L, mp_wait *wait) {
  open_wait *self = (open_wait *)wait;
  store_handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
  *handle = (store_handle){.store = mp_steal(self->store)};
  luaL_setmetatable(L, STORE_METATABLE);
  return 1;
}

/* Pushes a userdata with the strings of the list at `index`, which stay referenced by the list. */
static const char **list_of_strings(lua_State *L, int index, size_t *count) {
  *count = (size_t)luaL_len(L, index);
  const char **strings = lua_newuserdatauv(L, (*count + 1) * sizeof *strings, 0);
  for (size_t i = 0; i < *count; i++) {
    if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TSTRING)
      mp_bad_argument(L, "store.open: migration %zu is no string", i + 1);
    strings[i] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return strings;
}

/* open{path=, migrations=, busy=} */
static int l_open(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  mp_store_options options = {0};
  lua_getfield(L, 1, "path");
  options.path = lua_tostring(L, 2);
  if (options.path == NULL)
    return mp_bad_argument(L, "store.open wants the field `path`");
  mp_gate(L, "store.open", "open the database `%s`", options.path);
  lua_getfield(L, 1, "busy");
  lua_Number busy = luaL_optnumber(L, 3, 0);
  if (!(busy >= 0 && busy < 1e10))
    return mp_bad_argument(L, "store.open: `busy` wants seconds");
  options.busy_ms = (uint64_t)(busy * 1000);
  if (lua_getfield(L, 1, "migrations") == LUA_TTABLE)
    options.migrations = list_of_strings(L, 4, &options.migration_count);
  open_wait *self = mp_wait_new(L, sizeof *self, "store.open", open_finish);
  self->wait.release = open_release;
  self->wait.op = mp_store_open(mp_loop_of(L), &options, opened, self, &self->wait.error);
  if (self->wait.op == NULL)
    return mp_throw(L, &self->wait.error);
  return mp_wait_yield(L, &self->wait);
}

/* Close. */

static void close_done(void *data, mp_error *err) {
  mp_wait *wait = data;
  if (err)
    mp_error_move(&wait->error, err);
  mp_wait_done(wait);
}

static int no_results(lua_State *L, mp_wait *wait) {
  (void)L;
  (void)wait;
  return 0;
}

static int store_close(lua_State *L) {
  store_handle *self = luaL_checkudata(L, 1, STORE_METATABLE);
  if (self->store == NULL)
    return 0;
  check_store(L, "store:close");
  mp_wait *wait = mp_wait_new(L, sizeof *wait, "store.close", no_results);
  wait->unbreakable = true;
  mp_store_close(mp_steal(self->store), close_done, wait);
  return mp_wait_yield(L, wait);
}

static int store_gc(lua_State *L) {
  store_handle *self = luaL_checkudata(L, 1, STORE_METATABLE);
  if (self->store)
    mp_store_close(mp_steal(self->store), NULL, NULL);
  return 0;
}

/* Statements. The result is copied in the callback, since it lives no longer. */

typedef enum { WANT_COUNTS, WANT_ROW, WANT_ROWS } wanted;

typedef struct {
  mp_wait wait;
  wanted want;
  size_t columns, rows;
  char **names;           /* owned, with the strings */
  mp_store_value *values; /* owned; text points into `bytes` */
  char *bytes;
  int64_t changes, last_id;
} run_wait;

static void run_release(mp_wait *wait) {
  run_wait *self = (run_wait *)wait;
  for (size_t i = 0; self->names && i < self->columns; i++)
    free(self->names[i]);
  free(self->names);
  free(self->values);
  free(self->bytes);
}

static bool has_bytes(const mp_store_value *value) {
  return value->type == MP_STORE_TEXT || value->type == MP_STORE_BLOB;
}

static void copy_values(run_wait *self, const mp_store_result *result) {
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

static void copy_result(run_wait *self, const mp_store_result *result) {
  self->changes = result->changes;
  self->last_id = result->last_id;
  if (self->want == WANT_COUNTS)
    return;
  self->names = mp_calloc(result->columns, sizeof *self->names);
  self->columns = result->columns;
  for (size_t i = 0; i < result->columns; i++)
    self->names[i] = mp_strdup(result->names[i]);
  self->rows = result->rows;
  copy_values(self, result);
}

static void run_done(void *data, const mp_store_result *result, mp_error *err) {
  run_wait *self = data;
  if (result)
    copy_result(self, result);
  else
    mp_error_move(&self->wait.error, err);
  mp_wait_done(&self->wait);
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

static void push_row(lua_State *L, const run_wait *self, size_t row) {
  lua_createtable(L, 0, (int)self->columns);
  for (size_t i = 0; i < self->columns; i++) {
    push_value(L, &self->values[row * self->columns + i]);
    lua_setfield(L, -2, self->names[i]);
  }
}

static int run_finish(lua_State *L, mp_wait *wait) {
  run_wait *self = (run_wait *)wait;
  if (self->want == WANT_ROW) {
    if (self->rows == 0)
      lua_pushnil(L);
    else
      push_row(L, self, 0);
    return 1;
  }
  lua_createtable(L, (int)self->rows, 2);
  for (size_t row = 0; row < self->rows; row++) {
    push_row(L, self, row);
    lua_rawseti(L, -2, (lua_Integer)row + 1);
  }
  if (self->want == WANT_COUNTS) {
    lua_pushinteger(L, self->changes);
    lua_setfield(L, -2, "changes");
    lua_pushinteger(L, self->last_id);
    lua_setfield(L, -2, "last_id");
  }
  return 1;
}

static void read_param(lua_State *L, int index, mp_store_value *param) {
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
    mp_bad_argument(L, "parameter %d of a statement is a %s", index - 2, luaL_typename(L, index));
  }
}

/* stack: handle, sql, parameters */
static int run(lua_State *L, mp_store *store, mp_store_tx *tx, wanted want) {
  const char *sql = luaL_checkstring(L, 2);
  int count = lua_gettop(L) - 2;
  mp_store_value *params = lua_newuserdatauv(L, (size_t)(count + 1) * sizeof *params, 0);
  for (int i = 0; i < count; i++)
    read_param(L, i + 3, &params[i]);
  run_wait *self = mp_wait_new(L, sizeof *self, "store.run", run_finish);
  self->wait.release = run_release;
  self->want = want;
  self->wait.op = mp_store_run(store, tx, sql, params, (size_t)count, run_done, self);
  return mp_wait_yield(L, &self->wait);
}

static int store_run(lua_State *L) {
  return run(L, check_store(L, "store:run")->store, NULL, WANT_COUNTS);
}

static int store_row(lua_State *L) {
  return run(L, check_store(L, "store:row")->store, NULL, WANT_ROW);
}

static int store_rows(lua_State *L) {
  return run(L, check_store(L, "store:rows")->store, NULL, WANT_ROWS);
}

/* Transactions. */

typedef struct {
  mp_wait wait;
  mp_store *store;
  mp_store_tx *tx; /* owned until finish hands it to a handle */
} begin_wait;

static void begun(void *data, mp_store_tx *tx, mp_error *err) {
  begin_wait *self = data;
  self->tx = tx;
  if (err)
    mp_error_move(&self->wait.error, err);
  mp_wait_done(&self->wait);
}

static void begin_release(mp_wait *wait) {
  begin_wait *self = (begin_wait *)wait;
  if (self->tx)
    mp_store_rollback(self->tx, NULL, NULL);
}

static int begin_finish(lua_State *L, mp_wait *wait) {
  begin_wait *self = (begin_wait *)wait;
  tx_handle *handle = lua_newuserdatauv(L, sizeof *handle, 1);
  store_handle *store = luaL_checkudata(L, 1, STORE_METATABLE);
  *handle = (tx_handle){.task = mp_task_current(L), .store = self->store};
  luaL_setmetatable(L, TX_METATABLE);
  lua_pushvalue(L, 1); /* keeps the store from being collected */
  lua_setiuservalue(L, -2, 1);
  handle->tx = mp_steal(self->tx);
  handle->task->waits_only_for = "store.";
  store->holder = handle->task;
  return 1;
}

static int store_begin(lua_State *L) {
  store_handle *handle = check_store(L, "store:begin");
  begin_wait *self = mp_wait_new(L, sizeof *self, "store.begin", begin_finish);
  self->wait.release = begin_release;
  self->store = handle->store;
  self->wait.op = mp_store_begin(handle->store, begun, self);
  return mp_wait_yield(L, &self->wait);
}

static int tx_run(lua_State *L) {
  const tx_handle *self = check_tx(L);
  return run(L, self->store, self->tx, WANT_COUNTS);
}

static int tx_row(lua_State *L) {
  const tx_handle *self = check_tx(L);
  return run(L, self->store, self->tx, WANT_ROW);
}

static int tx_rows(lua_State *L) {
  const tx_handle *self = check_tx(L);
  return run(L, self->store, self->tx, WANT_ROWS);
}

/* A task that left the transaction open may be gone by now, so only the running one is touched. The
 * transaction is at index 1. */
static mp_store_tx *end_tx(lua_State *L, tx_handle *self) {
  if (self->task == mp_task_current(L))
    self->task->waits_only_for = NULL;
  lua_getiuservalue(L, 1, 1);
  ((store_handle *)lua_touserdata(L, -1))->holder = NULL;
  lua_pop(L, 1);
  self->task = NULL;
  return mp_steal(self->tx);
}

static int tx_commit(lua_State *L) {
  tx_handle *handle = check_tx(L);
  mp_wait *wait = mp_wait_new(L, sizeof *wait, "store.commit", no_results);
  wait->unbreakable = true;
  mp_store_commit(end_tx(L, handle), close_done, wait);
  return mp_wait_yield(L, wait);
}

/* Does not wait, so that it works wherever a transaction is given up. */
static int tx_rollback(lua_State *L) {
  tx_handle *self = luaL_checkudata(L, 1, TX_METATABLE);
  if (self->tx)
    mp_store_rollback(end_tx(L, self), NULL, NULL);
  return 0;
}

static int tx_gc(lua_State *L) {
  tx_handle *self = luaL_checkudata(L, 1, TX_METATABLE);
  if (self->tx)
    mp_store_rollback(end_tx(L, self), NULL, NULL);
  return 0;
}

static void make_class(lua_State *L, const char *name, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

int luaopen_moonport_store(lua_State *L) {
  static const luaL_Reg store_methods[] = {{"run", store_run},     {"row", store_row},
                                           {"rows", store_rows},   {"begin", store_begin},
                                           {"close", store_close}, {"__close", store_close},
                                           {"__gc", store_gc},     {NULL, NULL}};
  static const luaL_Reg tx_methods[] = {
      {"run", tx_run},           {"row", tx_row},          {"rows", tx_rows}, {"commit", tx_commit},
      {"rollback", tx_rollback}, {"__close", tx_rollback}, {"__gc", tx_gc},   {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
  make_class(L, STORE_METATABLE, store_methods);
  make_class(L, TX_METATABLE, tx_methods);
  luaL_getmetatable(L, STORE_METATABLE); /* stdlib/moonport/store.lua adds methods */
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "methods");
  return 1;
}
