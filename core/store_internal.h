/* What the two halves of the store share: store.c (queue and delivery, both threads) and
 * store_sql.c (SQLite, the store's thread alone). */
#ifndef MP_CORE_STORE_INTERNAL_H
#define MP_CORE_STORE_INTERNAL_H

#include "buf.h"
#include "store.h"

#include <sqlite3.h>
#include <stdatomic.h>

#define STATEMENTS 48 /* how many prepared statements are kept */

typedef struct {
  sqlite3_stmt *statement;
  char *sql;
  uint64_t used; /* tick of its last use */
} cached_statement;

/* The connection; touched by the store's thread only, but for `stop`. */
typedef struct {
  sqlite3 *db;
  char *path;
  uint64_t busy_ms;
  uint64_t busy_since;
  atomic_bool stop; /* the job under way was cancelled */
  uv_mutex_t *mutex;
  uv_cond_t *wake; /* signalled when `stop` is set */
  cached_statement cache[STATEMENTS];
  uint64_t tick;
} store_db;

typedef struct {
  mp_store_result result; /* points into the members below */
  char **names;
  mp_store_value *values;
  size_t capacity; /* values that fit */
  mp_buf bytes;
} store_rows;

int store_db_open(store_db *db, const char *const *migrations, size_t count, mp_error *err);

/* Runs one statement; *rows must be zeroed and is filled. `in_tx`: a transaction is open and must
 * still be open afterwards. */
int store_db_run(store_db *db, const char *sql, const mp_store_value *params, size_t param_count,
                 bool in_tx, store_rows *rows, mp_error *err);

/* True for a statement that leaves the database as it is; false also where it is wrong. */
bool store_db_only_reads(store_db *db, const char *sql);

/* Runs a statement that takes and gives nothing (BEGIN, COMMIT, ROLLBACK). */
int store_db_exec(store_db *db, const char *sql, mp_error *err);

/* True while a transaction is open. */
bool store_db_in_tx(const store_db *db);

void store_db_close(store_db *db);
void store_rows_free(store_rows *rows);

#endif
