/* The store's thread's half: one SQLite connection, its statements, its schema. */
#include "store_internal.h"

#include "mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRESS_STEPS 4096 /* virtual machine steps between two looks at `stop` */

static const char domain[] = "store";

static const char *code_of(int extended) {
  switch (extended) {
  case SQLITE_CONSTRAINT_UNIQUE:
  case SQLITE_CONSTRAINT_PRIMARYKEY:
    return "unique";
  case SQLITE_CONSTRAINT_FOREIGNKEY:
    return "foreign-key";
  }
  switch (extended & 0xff) {
  case SQLITE_CONSTRAINT:
    return "constraint";
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return MP_STORE_CORRUPT;
  case SQLITE_BUSY:
    return "busy";
  case SQLITE_FULL:
    return "ENOSPC";
  case SQLITE_READONLY:
    return "EROFS";
  case SQLITE_IOERR:
    return "EIO";
  case SQLITE_CANTOPEN:
  case SQLITE_PERM:
  case SQLITE_AUTH:
    return "EACCES";
  case SQLITE_INTERRUPT:
    return MP_CANCELLED;
  case SQLITE_TOOBIG:
    return MP_LIMIT;
  default:
    return "sql";
  }
}

/* Fills *err from the connection's last failure. `what` says what was tried. */
static int fail(store_db *db, const char *what, mp_error *err) {
  const char *code = code_of(sqlite3_extended_errcode(db->db));
  if (strcmp(code, MP_CANCELLED) == 0)
    return mp_error_set(err, domain, code, "cancelled");
  mp_error_set(err, domain, code, "%s: %s", what, sqlite3_errmsg(db->db));
  if (strcmp(code, "busy") == 0)
    mp_error_hint(err, "another process holds the write lock of `%s`: is a second command at work?",
                  db->path);
  else if (strcmp(code, MP_STORE_CORRUPT) == 0)
    mp_error_hint(err, "the database `%s` is damaged", db->path);
  return -1;
}

/* SQLite asks again and again whether to go on waiting for a lock of another process: there is
 * nothing that would tell us when it is free, so this waits a little longer each time, and ends at
 * once when the job is cancelled. */
static int on_busy(void *data, int count) {
  static const uint8_t delays[] = {1, 2, 5, 10, 15, 20, 25, 25, 50, 50, 100};
  store_db *db = data;
  uint64_t now = uv_hrtime() / 1000000;
  if (count == 0)
    db->busy_since = now;
  if (atomic_load(&db->stop) || now - db->busy_since >= db->busy_ms)
    return 0;
  size_t step = (size_t)count < sizeof delays ? (size_t)count : sizeof delays - 1;
  uv_mutex_lock(db->mutex);
  if (!atomic_load(&db->stop))
    uv_cond_timedwait(db->wake, db->mutex, delays[step] * UINT64_C(1000000));
  uv_mutex_unlock(db->mutex);
  return 1;
}

static int on_progress(void *data) {
  return atomic_load(&((store_db *)data)->stop);
}

/* Statements */

static void cache_drop(cached_statement *entry) {
  sqlite3_finalize(entry->statement);
  free(entry->sql);
  *entry = (cached_statement){0};
}

static bool blank(const char *sql) {
  while (isspace((unsigned char)*sql) || *sql == ';')
    sql++;
  return *sql == '\0';
}

static sqlite3_stmt *prepare(store_db *db, const char *sql, mp_error *err) {
  cached_statement *oldest = &db->cache[0];
  db->tick++;
  for (size_t i = 0; i < STATEMENTS; i++) {
    cached_statement *entry = &db->cache[i];
    if (entry->sql && strcmp(entry->sql, sql) == 0) {
      entry->used = db->tick;
      return entry->statement;
    }
    if (entry->used < oldest->used)
      oldest = entry;
  }
  sqlite3_stmt *statement = NULL;
  const char *tail = NULL;
  if (sqlite3_prepare_v3(db->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, &tail)) {
    mp_auto_free char *what = mp_sprintf("could not prepare `%s`", sql);
    fail(db, what, err);
    return NULL;
  }
  if (statement == NULL || !blank(tail)) {
    sqlite3_finalize(statement);
    mp_error_set(err, domain, MP_INVALID, "`%s` is not exactly one statement", sql);
    return NULL;
  }
  cache_drop(oldest);
  *oldest = (cached_statement){.statement = statement, .sql = mp_strdup(sql), .used = db->tick};
  return statement;
}

static int bind_one(sqlite3_stmt *statement, int index, const mp_store_value *value) {
  switch (value->type) {
  case MP_STORE_INTEGER:
    return sqlite3_bind_int64(statement, index, value->integer);
  case MP_STORE_REAL:
    return sqlite3_bind_double(statement, index, value->real);
  case MP_STORE_TEXT:
    return sqlite3_bind_text64(statement, index, value->bytes, value->len, SQLITE_STATIC,
                               SQLITE_UTF8);
  case MP_STORE_BLOB:
    /* A NULL pointer would bind NULL rather than an empty blob. */
    return sqlite3_bind_blob64(statement, index, value->len ? value->bytes : "", value->len,
                               SQLITE_STATIC);
  default:
    return sqlite3_bind_null(statement, index);
  }
}

static int bind_all(store_db *db, sqlite3_stmt *statement, const char *sql,
                    const mp_store_value *params, size_t count, mp_error *err) {
  size_t wanted = (size_t)sqlite3_bind_parameter_count(statement);
  if (wanted != count)
    return mp_error_set(err, domain, MP_INVALID, "`%s` takes %zu parameter%s, not %zu", sql, wanted,
                        wanted == 1 ? "" : "s", count);
  for (size_t i = 0; i < count; i++)
    if (bind_one(statement, (int)i + 1, &params[i]) != SQLITE_OK)
      return fail(db, "could not bind a parameter", err);
  return 0;
}

/* Rows */

static mp_store_value *next_values(store_rows *rows) {
  size_t used = rows->result.rows * rows->result.columns;
  if (used + rows->result.columns > rows->capacity) {
    rows->capacity = rows->capacity ? rows->capacity * 2 : 4 * rows->result.columns;
    rows->values = mp_realloc(rows->values, rows->capacity * sizeof *rows->values);
  }
  return rows->values + used;
}

/* Text and blobs gather in one buffer that may still move: `bytes` holds the offset until
 * settle_rows. */
static void take_bytes(store_rows *rows, mp_store_value *value, mp_store_type type,
                       const void *bytes, int len) {
  value->type = type;
  value->bytes = (const char *)(uintptr_t)rows->bytes.len;
  value->len = (size_t)len;
  mp_buf_append(&rows->bytes, bytes, (size_t)len);
  mp_buf_append(&rows->bytes, "", 1);
}

static void take_value(store_rows *rows, sqlite3_stmt *statement, int column,
                       mp_store_value *value) {
  switch (sqlite3_column_type(statement, column)) {
  case SQLITE_INTEGER:
    value->type = MP_STORE_INTEGER;
    value->integer = sqlite3_column_int64(statement, column);
    break;
  case SQLITE_FLOAT:
    value->type = MP_STORE_REAL;
    value->real = sqlite3_column_double(statement, column);
    break;
  case SQLITE_TEXT: {
    const void *text = sqlite3_column_text(statement, column);
    take_bytes(rows, value, MP_STORE_TEXT, text, sqlite3_column_bytes(statement, column));
    break;
  }
  case SQLITE_BLOB: {
    const void *blob = sqlite3_column_blob(statement, column);
    take_bytes(rows, value, MP_STORE_BLOB, blob, sqlite3_column_bytes(statement, column));
    break;
  }
  default:
    value->type = MP_STORE_NULL;
  }
}

static void take_names(store_rows *rows, sqlite3_stmt *statement) {
  rows->result.columns = (size_t)sqlite3_column_count(statement);
  rows->names = mp_calloc(rows->result.columns, sizeof *rows->names);
  for (size_t i = 0; i < rows->result.columns; i++)
    rows->names[i] = mp_strdup(sqlite3_column_name(statement, (int)i));
}

static int take_rows(store_db *db, sqlite3_stmt *statement, const char *sql, store_rows *rows,
                     mp_error *err) {
  int rc;
  while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
    if (rows->names == NULL)
      take_names(rows, statement);
    mp_store_value *values = next_values(rows);
    for (size_t i = 0; i < rows->result.columns; i++)
      take_value(rows, statement, (int)i, &values[i]);
    rows->result.rows++;
    if (rows->bytes.len + rows->capacity * sizeof *rows->values > MP_STORE_RESULT_MAX) {
      mp_error_set(err, domain, MP_LIMIT, "the result of `%s` is larger than %zu MiB", sql,
                   MP_STORE_RESULT_MAX >> 20);
      return mp_error_hint(err, "ask for less at once with LIMIT");
    }
  }
  if (rc == SQLITE_DONE) {
    if (rows->names == NULL)
      take_names(rows, statement);
    return 0;
  }
  mp_auto_free char *what = mp_sprintf("could not run `%s`", sql);
  return fail(db, what, err);
}

static void settle_rows(store_rows *rows) {
  size_t count = rows->result.rows * rows->result.columns;
  for (size_t i = 0; i < count; i++) {
    mp_store_value *value = &rows->values[i];
    if (value->type == MP_STORE_TEXT || value->type == MP_STORE_BLOB)
      value->bytes = rows->bytes.data + (uintptr_t)value->bytes;
  }
  rows->result.values = rows->values;
  rows->result.names = (const char *const *)rows->names;
}

void store_rows_free(store_rows *rows) {
  for (size_t i = 0; rows->names && i < rows->result.columns; i++)
    free(rows->names[i]);
  free(rows->names);
  free(rows->values);
  mp_buf_free(&rows->bytes);
  *rows = (store_rows){0};
}

bool store_db_in_tx(const store_db *db) {
  return !sqlite3_get_autocommit(db->db);
}

bool store_db_only_reads(store_db *db, const char *sql) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  sqlite3_stmt *statement = prepare(db, sql, &ignored);
  return statement && sqlite3_stmt_readonly(statement);
}

int store_db_exec(store_db *db, const char *sql, mp_error *err) {
  if (sqlite3_exec(db->db, sql, NULL, NULL, NULL) == SQLITE_OK)
    return 0;
  mp_auto_free char *what = mp_sprintf("could not run `%s`", sql);
  return fail(db, what, err);
}

int store_db_run(store_db *db, const char *sql, const mp_store_value *params, size_t param_count,
                 bool in_tx, store_rows *rows, mp_error *err) {
  if (in_tx && !store_db_in_tx(db))
    return mp_error_set(err, domain, "aborted", "an earlier error rolled the transaction back");
  sqlite3_stmt *statement = prepare(db, sql, err);
  if (statement == NULL)
    return -1;
  int64_t before = sqlite3_total_changes64(db->db);
  int rc = bind_all(db, statement, sql, params, param_count, err);
  if (rc == 0)
    rc = take_rows(db, statement, sql, rows, err);
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  if (!in_tx && store_db_in_tx(db)) {
    /* A stray BEGIN would take the queue along without an owner who gives it back. */
    sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
    return mp_error_set(err, domain, MP_INVALID, "`%s` begins a transaction: use begin", sql);
  }
  if (rc == 0) {
    rows->result.changes = sqlite3_total_changes64(db->db) - before;
    rows->result.last_id = sqlite3_last_insert_rowid(db->db);
    settle_rows(rows);
  }
  return rc;
}

/* Opening */

/* SQLite would make the file readable to all. Not with open(2): closing a descriptor of the
 * database would drop the locks of another connection that this process has to it. */
static int make_private(const char *path, mp_error *err) {
  if (mknod(path, S_IFREG | 0600, 0) == 0 ||
      (errno == EEXIST && faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0))
    return 0;
  return mp_error_errno(err, domain, errno, "could not open the database `%s`", path);
}

/* Runs a PRAGMA or query and copies the first column of its first row; NULL on failure. */
static char *ask(store_db *db, const char *sql, mp_error *err) {
  sqlite3_stmt *statement = NULL;
  char *answer = NULL;
  int rc = sqlite3_prepare_v2(db->db, sql, -1, &statement, NULL);
  if (rc == SQLITE_OK)
    rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW)
    answer = mp_strdup((const char *)sqlite3_column_text(statement, 0));
  if (answer == NULL) {
    mp_auto_free char *what = mp_sprintf("could not read the database `%s`", db->path);
    fail(db, what, err);
  }
  sqlite3_finalize(statement);
  return answer;
}

/* The change to WAL at a database's first opening fails at once, without asking on_busy, when two
 * processes are at it together. */
static int set_wal(store_db *db, mp_error *err) {
  for (int count = 0;; count++) {
    mp_auto_free char *mode = ask(db, "PRAGMA journal_mode=WAL", err);
    if (mode && strcmp(mode, "wal") == 0)
      return 0;
    if (mode) {
      mp_error_set(err, domain, "sql", "the database `%s` cannot use a write-ahead log", db->path);
      return mp_error_hint(err, "put the state on a local file system");
    }
    if (!mp_error_is(err, "busy") || !on_busy(db, count))
      return -1;
    mp_error_reset(err);
  }
}

static int check(store_db *db, mp_error *err) {
  mp_auto_free char *verdict = ask(db, "PRAGMA quick_check(1)", err);
  if (verdict == NULL)
    return -1;
  if (strcmp(verdict, "ok") == 0)
    return 0;
  return mp_error_set(err, domain, MP_STORE_CORRUPT, "the database `%s` is damaged: %s", db->path,
                      verdict);
}

static int read_version(store_db *db, size_t known, size_t *version, mp_error *err) {
  mp_auto_free char *text = ask(db, "PRAGMA user_version", err);
  if (text == NULL)
    return -1;
  long number = strtol(text, NULL, 10);
  if (number < 0 || (size_t)number > known) {
    mp_error_set(err, domain, MP_STORE_NEWER,
                 "the database `%s` has schema version %ld, and this program knows up to %zu",
                 db->path, number, known);
    return mp_error_hint(err, "use the newer version that wrote it, or another state directory");
  }
  *version = (size_t)number;
  return 0;
}

/* One step. Another process may be migrating too, so the version counts only as read inside of the
 * transaction; *done is set when nothing is left to do. */
static int migrate_step(store_db *db, const char *const *scripts, size_t count, bool *done,
                        mp_error *err) {
  size_t version = 0;
  if (store_db_exec(db, "BEGIN IMMEDIATE", err) < 0 || read_version(db, count, &version, err) < 0)
    return -1;
  *done = version == count;
  if (*done)
    return store_db_exec(db, "COMMIT", err);
  mp_auto_free char *stamp = mp_sprintf("PRAGMA user_version=%zu", version + 1);
  if (sqlite3_exec(db->db, scripts[version], NULL, NULL, NULL) != SQLITE_OK) {
    mp_auto_free char *what = mp_sprintf("could not bring the database `%s` to schema version %zu",
                                         db->path, version + 1);
    return fail(db, what, err);
  }
  if (!store_db_in_tx(db))
    return mp_error_set(err, domain, MP_INVALID, "migration %zu ends its own transaction",
                        version + 1);
  return store_db_exec(db, stamp, err) < 0 ? -1 : store_db_exec(db, "COMMIT", err);
}

static int migrate(store_db *db, const char *const *scripts, size_t count, mp_error *err) {
  size_t version = 0;
  if (read_version(db, count, &version, err) < 0)
    return -1;
  for (bool done = version == count; !done;)
    if (migrate_step(db, scripts, count, &done, err) < 0)
      return -1; /* closing the connection rolls back */
  return 0;
}

int store_db_open(store_db *db, const char *const *migrations, size_t count, mp_error *err) {
  static const char settings[] = "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                                 "PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY";
  if (make_private(db->path, err) < 0)
    return -1;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  int rc = sqlite3_open_v2(db->path, &db->db, flags, NULL);
  if (db->db == NULL)
    return mp_error_set(err, domain, "sql", "could not open the database `%s`: %s", db->path,
                        sqlite3_errstr(rc));
  sqlite3_busy_handler(db->db, on_busy, db);
  sqlite3_progress_handler(db->db, PROGRESS_STEPS, on_progress, db);
  if (rc != SQLITE_OK) {
    mp_auto_free char *what = mp_sprintf("could not open the database `%s`", db->path);
    return fail(db, what, err);
  }
  if (set_wal(db, err) < 0 || store_db_exec(db, settings, err) < 0 || check(db, err) < 0)
    return -1;
  return migrate(db, migrations, count, err);
}

void store_db_close(store_db *db) {
  for (size_t i = 0; i < STATEMENTS; i++)
    cache_drop(&db->cache[i]);
  sqlite3_close(db->db);
  db->db = NULL;
  free(db->path);
  db->path = NULL;
}
