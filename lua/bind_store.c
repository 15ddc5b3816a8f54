/* stdlib/moonport/store.lua adds `transaction`. */
#include "bind_store.h"

#include "class.h"
#include "core/mem.h"
#include "core/store.h"
#include "errors.h"
#include "gate.h"
#include "store_values.h"
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

/* Statements. */

typedef struct {
  mp_wait wait;
  mp_store_answer answer;
} run_wait;

static void run_release(mp_wait *wait) {
  mp_store_answer_free(&((run_wait *)wait)->answer);
}

static void run_done(void *data, const mp_store_result *result, mp_error *err) {
  run_wait *self = data;
  if (result)
    mp_store_answer_take(&self->answer, result);
  else
    mp_error_move(&self->wait.error, err);
  mp_wait_done(&self->wait);
}

static int run_finish(lua_State *L, mp_wait *wait) {
  mp_store_answer_push(L, &((run_wait *)wait)->answer);
  return 1;
}

/* stack: handle, sql, parameters */
static int run(lua_State *L, mp_store *store, mp_store_tx *tx, mp_store_wanted want) {
  const char *sql = luaL_checkstring(L, 2);
  int count = lua_gettop(L) - 2;
  mp_store_value *params = lua_newuserdatauv(L, (size_t)(count + 1) * sizeof *params, 0);
  for (int i = 0; i < count; i++)
    mp_store_read_param(L, i + 3, i + 1, &params[i]);
  run_wait *self = mp_wait_new(L, sizeof *self, "store.run", run_finish);
  self->wait.release = run_release;
  self->answer.want = want;
  self->wait.op = mp_store_run(store, tx, sql, params, (size_t)count, run_done, self);
  return mp_wait_yield(L, &self->wait);
}

static int store_run(lua_State *L) {
  return run(L, check_store(L, "store:run")->store, NULL, MP_STORE_WANT_COUNTS);
}

static int store_row(lua_State *L) {
  return run(L, check_store(L, "store:row")->store, NULL, MP_STORE_WANT_ROW);
}

static int store_rows(lua_State *L) {
  return run(L, check_store(L, "store:rows")->store, NULL, MP_STORE_WANT_ROWS);
}

/* Batches. */

typedef struct {
  mp_wait wait;
  size_t count;
  mp_store_answer *answers;
} batch_wait;

static void batch_release(mp_wait *wait) {
  batch_wait *self = (batch_wait *)wait;
  for (size_t i = 0; self->answers && i < self->count; i++)
    mp_store_answer_free(&self->answers[i]);
  free(self->answers);
}

static void batch_done(void *data, const mp_store_result *results, mp_error *err) {
  batch_wait *self = data;
  if (results == NULL)
    mp_error_move(&self->wait.error, err);
  for (size_t i = 0; results && i < self->count; i++)
    mp_store_answer_take(&self->answers[i], &results[i]);
  mp_wait_done(&self->wait);
}

static int batch_finish(lua_State *L, mp_wait *wait) {
  const batch_wait *self = (const batch_wait *)wait;
  lua_createtable(L, (int)self->count, 0);
  for (size_t i = 0; i < self->count; i++) {
    mp_store_answer_push(L, &self->answers[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* Reads the statement on top of the stack, {sql, parameters..., n = how many in all}; the table
 * keeps its strings. */
static void read_statement(lua_State *L, mp_store_statement *statement) {
  int table = lua_gettop(L);
  if (!lua_istable(L, table) || lua_rawgeti(L, table, 1) != LUA_TSTRING)
    mp_bad_argument(L, "a statement of a batch is a list of SQL and its parameters");
  statement->sql = lua_tostring(L, -1);
  lua_getfield(L, table, "n");
  lua_Integer count = luaL_optinteger(L, -1, (lua_Integer)lua_rawlen(L, table));
  if (count < 1 || count > 32767) /* what SQLite takes */
    mp_bad_argument(L, "a statement of a batch has too many parameters");
  mp_store_value *params = lua_newuserdatauv(L, (size_t)count * sizeof *params, 0);
  for (lua_Integer i = 1; i < count; i++) {
    lua_rawgeti(L, table, i + 1);
    mp_store_read_param(L, -1, (int)i, &params[i - 1]);
    lua_pop(L, 1);
  }
  statement->params = params;
  statement->param_count = (size_t)count - 1;
  lua_replace(L, table); /* the parameters stay on the stack in the table's place */
  lua_settop(L, table);
}

/* store:statements(list): runs them in one transaction; a list of their rows */
static int store_statements(lua_State *L) {
  mp_store *store = check_store(L, "store:statements")->store;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  size_t count = (size_t)luaL_len(L, 2);
  mp_store_statement *statements = lua_newuserdatauv(L, (count + 1) * sizeof *statements, 0);
  luaL_checkstack(L, (int)count + 8, "too many statements");
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 2, (lua_Integer)i + 1);
    read_statement(L, &statements[i]);
  }
  batch_wait *self = mp_wait_new(L, sizeof *self, "store.statements", batch_finish);
  self->wait.release = batch_release;
  self->count = count;
  self->answers = mp_calloc(count, sizeof *self->answers);
  for (size_t i = 0; i < count; i++)
    self->answers[i].want = MP_STORE_WANT_ALL;
  self->wait.op = mp_store_batch(store, statements, count, batch_done, self);
  return mp_wait_yield(L, &self->wait);
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
  return run(L, self->store, self->tx, MP_STORE_WANT_COUNTS);
}

static int tx_row(lua_State *L) {
  const tx_handle *self = check_tx(L);
  return run(L, self->store, self->tx, MP_STORE_WANT_ROW);
}

static int tx_rows(lua_State *L) {
  const tx_handle *self = check_tx(L);
  return run(L, self->store, self->tx, MP_STORE_WANT_ROWS);
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

int luaopen_moonport_store(lua_State *L) {
  static const luaL_Reg store_methods[] = {{"run", store_run},
                                           {"row", store_row},
                                           {"rows", store_rows},
                                           {"statements", store_statements},
                                           {"begin", store_begin},
                                           {"close", store_close},
                                           {"__close", store_close},
                                           {"__gc", store_gc},
                                           {NULL, NULL}};
  static const luaL_Reg tx_methods[] = {
      {"run", tx_run},           {"row", tx_row},          {"rows", tx_rows}, {"commit", tx_commit},
      {"rollback", tx_rollback}, {"__close", tx_rollback}, {"__gc", tx_gc},   {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
  mp_class(L, STORE_METATABLE, store_methods);
  mp_class(L, TX_METATABLE, tx_methods);
  luaL_getmetatable(L, STORE_METATABLE); /* stdlib/moonport/store.lua adds methods */
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "methods");
  return 1;
}
