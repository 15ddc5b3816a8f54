/* The state database: SQLite on a thread of its own, one connection, one queue of jobs.
 *
 * Open in WAL mode with synchronous=FULL: a committed change survives a power cut. Jobs run in the
 * order they were handed in. A transaction (BEGIN IMMEDIATE) owns the queue from its begin to its
 * commit or rollback: meanwhile only its own jobs run and everybody else's wait, so whoever holds
 * one must not wait for anything but this store.
 *
 * Every function here is called on the loop's thread, and every callback runs there, exactly once,
 * never before the starting function has returned (op.h). In callbacks `err` is NULL on success; it
 * may be moved out of, else it is released after the callback. Errors have the domain "store" and
 * these codes:
 *   "corrupt"     the file is damaged or no database: move it aside and rebuild
 *   "newer"       the file was written by a newer version of the program
 *   "busy"        another process held the write lock for longer than the busy timeout
 *   "unique", "foreign-key", "constraint"
 *   "aborted"     the transaction was rolled back by an earlier error in it
 *   "closed"      mp_store_close was called before
 *   "sql"         the statement is wrong
 *   "ENOSPC", "EROFS", "EIO", "EACCES", MP_CANCELLED, MP_INVALID, MP_LIMIT
 *
 * An open store without jobs under way does not keep the loop alive, but it must be closed before
 * the loop is. */
#ifndef MP_CORE_STORE_H
#define MP_CORE_STORE_H

#include "loop.h"

#include <stddef.h>
#include <stdint.h>

#define MP_STORE_CORRUPT "corrupt"
#define MP_STORE_NEWER "newer"
#define MP_STORE_RESULT_MAX ((size_t)64 << 20) /* bytes of one result; more is MP_LIMIT */

typedef struct mp_store mp_store;
typedef struct mp_store_tx mp_store_tx;

typedef enum {
  MP_STORE_NULL,
  MP_STORE_INTEGER,
  MP_STORE_REAL,
  MP_STORE_TEXT,
  MP_STORE_BLOB
} mp_store_type;

typedef struct {
  mp_store_type type;
  union {
    int64_t integer;
    double real;
    struct {
      const char *bytes; /* in results followed by a NUL */
      size_t len;
    };
  };
} mp_store_value;

typedef struct {
  size_t columns;
  const char *const *names;
  size_t rows;
  const mp_store_value *values; /* rows * columns, row by row */
  int64_t changes;              /* rows that the statement inserted, updated or deleted */
  int64_t last_id;              /* rowid of the last insert of this connection */
} mp_store_result;

typedef struct {
  const char *path; /* made with mode 0600 where missing; its directory must exist */

  /* The schema as a list that only ever grows: script N (from 1) brings a database of version N-1
   * to N, each in a transaction of its own. PRAGMA user_version holds the version. */
  const char *const *migrations;
  size_t migration_count;

  uint64_t busy_ms; /* how long to wait for another process; 0: 10 seconds */
} mp_store_options;

/* `store` is NULL on failure. */
typedef void (*mp_store_open_cb)(void *data, mp_store *store, mp_error *err);

/* `result` and what it points to are valid during the callback only; NULL on failure. */
typedef void (*mp_store_cb)(void *data, const mp_store_result *result, mp_error *err);

typedef struct {
  const char *sql;
  const mp_store_value *params;
  size_t param_count;
} mp_store_statement;

/* `results`: one for each statement; as in mp_store_cb. */
typedef void (*mp_store_batch_cb)(void *data, const mp_store_result *results, mp_error *err);

/* `tx` is NULL on failure. */
typedef void (*mp_store_begin_cb)(void *data, mp_store_tx *tx, mp_error *err);
typedef void (*mp_store_done_cb)(void *data, mp_error *err);

/* Opens, checks (PRAGMA quick_check) and migrates. The options are copied. Returns NULL and an
 * error only where no thread could be had. A cancelled open leaves nothing behind. */
mp_op *mp_store_open(mp_loop *loop, const mp_store_options *options, mp_store_open_cb cb,
                     void *data, mp_error *err);

/* Runs one statement, within `tx` or, where that is NULL, on its own. SQL and parameters are
 * copied. Cancelling stops a statement under way and undoes what it did; within a transaction
 * SQLite may then roll back the whole ("aborted" from there on). */
mp_op *mp_store_run(mp_store *store, mp_store_tx *tx, const char *sql, const mp_store_value *params,
                    size_t param_count, mp_store_cb cb, void *data);

/* Runs statements in a transaction of their own, without coming back to the loop in between: all of
 * what they do is kept, or nothing. What only reads sees one state of the database, and takes no
 * write lock. Everything is copied. Cancelling undoes it all. */
mp_op *mp_store_batch(mp_store *store, const mp_store_statement *statements, size_t count,
                      mp_store_batch_cb cb, void *data);

/* Begins a transaction. Once handed out it must be ended with exactly one of the two calls below. A
 * begin whose callback reports MP_CANCELLED has left none open. */
mp_op *mp_store_begin(mp_store *store, mp_store_begin_cb cb, void *data);

/* Ends the transaction after the jobs handed in before; `tx` is invalid once this returns. A commit
 * that fails has rolled back. Cancelling these has no effect. `cb` may be NULL. */
mp_op *mp_store_commit(mp_store_tx *tx, mp_store_done_cb cb, void *data);
mp_op *mp_store_rollback(mp_store_tx *tx, mp_store_done_cb cb, void *data);

/* Closes after every job handed in before, open transactions included: their owners must still end
 * them. Later jobs outside of these fail with "closed". `store` is invalid once `cb` (may be NULL)
 * is called. */
void mp_store_close(mp_store *store, mp_store_done_cb cb, void *data);

/* The path as given. */
const char *mp_store_path(const mp_store *store);

#endif
