#include "unit.h"

#include "core/buf.h"
#include "core/mem.h"
#include "core/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
  mp_loop loop;
  char dir[32];
  char *path;
  mp_store *store;
  mp_error error;
  mp_buf log; /* what the callbacks saw, in order */
} fixture;

static const char *const schema[] = {
    "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE, data)",
    "ALTER TABLE item ADD COLUMN note TEXT; CREATE TABLE part(item REFERENCES item(id))"};

static int set_up(void **state) {
  fixture *f = mp_alloc(sizeof *f);
  strcpy(f->dir, "/tmp/mp-store-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  f->path = mp_sprintf("%s/state.db", f->dir);
  assert_int_equal(mp_loop_init(&f->loop, &f->error), 0);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  if (f->store)
    mp_store_close(f->store, NULL, NULL);
  mp_loop_run(&f->loop);
  mp_loop_close(&f->loop);
  static const char *const suffixes[] = {"", "-wal", "-shm"};
  for (size_t i = 0; i < 3; i++) {
    mp_auto_free char *path = mp_sprintf("%s%s", f->path, suffixes[i]);
    unlink(path);
  }
  assert_int_equal(rmdir(f->dir), 0);
  mp_error_reset(&f->error);
  mp_buf_free(&f->log);
  free(f->path);
  free(f);
  return 0;
}

static void opened(void *data, mp_store *store, mp_error *err) {
  fixture *f = data;
  f->store = store;
  if (err)
    mp_error_move(&f->error, err);
}

static void open_with(fixture *f, size_t migrations, uint64_t busy_ms) {
  mp_store_options options = {
      .path = f->path, .migrations = schema, .migration_count = migrations, .busy_ms = busy_ms};
  assert_non_null(mp_store_open(&f->loop, &options, opened, f, &f->error));
  mp_loop_run(&f->loop);
}

static void close_now(fixture *f) {
  mp_store_close(mp_steal(f->store), NULL, NULL);
  mp_loop_run(&f->loop);
}

/* Writes rows as `a|b;c|d` to the log, or `!code`. */
static void ran(void *data, const mp_store_result *result, mp_error *err) {
  fixture *f = data;
  if (err) {
    mp_buf_printf(&f->log, "!%s;", err->code);
    mp_error_move(&f->error, err);
    return;
  }
  for (size_t i = 0; i < result->rows * result->columns; i++) {
    const mp_store_value *value = &result->values[i];
    switch (value->type) {
    case MP_STORE_INTEGER:
      mp_buf_printf(&f->log, "%lld", (long long)value->integer);
      break;
    case MP_STORE_REAL:
      mp_buf_printf(&f->log, "%.1f", value->real);
      break;
    case MP_STORE_TEXT:
      mp_buf_printf(&f->log, "'%s'", value->bytes);
      break;
    case MP_STORE_BLOB:
      mp_buf_printf(&f->log, "blob%zu", value->len);
      break;
    default:
      mp_buf_puts(&f->log, "null");
    }
    mp_buf_puts(&f->log, (i + 1) % result->columns ? "|" : ";");
  }
  if (result->rows == 0)
    mp_buf_printf(&f->log, "%lld changed;", (long long)result->changes);
}

static mp_op *run(fixture *f, mp_store_tx *tx, const char *sql) {
  return mp_store_run(f->store, tx, sql, NULL, 0, ran, f);
}

static const char *run_now(fixture *f, const char *sql) {
  mp_buf_clear(&f->log);
  run(f, NULL, sql);
  mp_loop_run(&f->loop);
  return f->log.data;
}

static void values_of_every_type_come_back_as_they_went_in(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  const mp_store_value values[] = {
      {.type = MP_STORE_INTEGER, .integer = INT64_MIN},
      {.type = MP_STORE_REAL, .real = 1.0},
      {.type = MP_STORE_TEXT, .bytes = "text\0with", .len = 4},
      {.type = MP_STORE_BLOB, .bytes = "\0\1", .len = 2},
      {.type = MP_STORE_BLOB, .bytes = NULL, .len = 0},
      {.type = MP_STORE_NULL},
  };
  mp_store_run(f->store, NULL, "SELECT ?,?,?,?,?,?", values, 6, ran, f);
  mp_loop_run(&f->loop);
  assert_string_equal(f->log.data, "-9223372036854775808|1.0|'text'|blob2|blob0|null;");
}

static void a_new_database_is_private_and_migrated(void **state) {
  fixture *f = *state;
  struct stat st;
  open_with(f, 2, 0);
  assert_non_null(f->store);
  assert_int_equal(stat(f->path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_string_equal(run_now(f, "PRAGMA user_version"), "2;");
  assert_string_equal(run_now(f, "PRAGMA journal_mode"), "'wal';");
  assert_string_equal(run_now(f, "PRAGMA synchronous"), "2;");
}

static void an_older_database_is_brought_up_and_keeps_its_rows(void **state) {
  fixture *f = *state;
  open_with(f, 1, 0);
  assert_string_equal(run_now(f, "INSERT INTO item(name) VALUES('kept')"), "1 changed;");
  close_now(f);
  open_with(f, 2, 0);
  assert_string_equal(run_now(f, "SELECT name, note FROM item"), "'kept'|null;");
}

static void a_newer_database_is_refused(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  close_now(f);
  open_with(f, 1, 0);
  assert_null(f->store);
  assert_true(mp_error_is(&f->error, MP_STORE_NEWER));
  assert_non_null(f->error.hint);
}

static void overwrite(const char *path, off_t at, const char *bytes, size_t len) {
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, bytes, len, at), len);
  close(fd);
}

static void a_file_that_is_no_database_is_corrupt(void **state) {
  fixture *f = *state;
  char noise[8192];
  memset(noise, 'x', sizeof noise);
  overwrite(f->path, 0, noise, sizeof noise);
  open_with(f, 2, 0);
  assert_null(f->store);
  assert_true(mp_error_is(&f->error, MP_STORE_CORRUPT));
}

static void a_damaged_page_is_found_at_open(void **state) {
  fixture *f = *state;
  char noise[2048];
  memset(noise, 0xff, sizeof noise);
  open_with(f, 2, 0);
  close_now(f);
  overwrite(f->path, 4096, noise, sizeof noise);
  open_with(f, 2, 0);
  assert_null(f->store);
  assert_true(mp_error_is(&f->error, MP_STORE_CORRUPT));
}

static void a_missing_directory_is_named(void **state) {
  fixture *f = *state;
  mp_auto_free char *right = f->path;
  f->path = mp_sprintf("%s/none/state.db", f->dir);
  open_with(f, 2, 0);
  assert_null(f->store);
  assert_true(mp_error_is(&f->error, "ENOENT"));
  assert_non_null(strstr(f->error.message, f->path));
  free(f->path);
  f->path = mp_steal(right);
}

static void errors_have_codes_of_their_own(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  run_now(f, "INSERT INTO item(name) VALUES('one')");
  assert_string_equal(run_now(f, "INSERT INTO item(name) VALUES('one')"), "!unique;");
  assert_string_equal(run_now(f, "INSERT INTO part VALUES(77)"), "!foreign-key;");
  assert_string_equal(run_now(f, "SELEKT 1"), "!sql;");
  assert_string_equal(run_now(f, "SELECT ?"), "!invalid;");
  assert_string_equal(run_now(f, "SELECT 1; SELECT 2"), "!invalid;");
  assert_string_equal(run_now(f, "BEGIN"), "!invalid;");
  assert_string_equal(run_now(f, "SELECT 'still fine'"), "'still fine';");
}

static void ended(void *data, mp_error *err) {
  fixture *f = data;
  mp_buf_printf(&f->log, "%s;", err ? err->code : "ended");
}

/* What a callback does with the transaction it is given, by the fixture's wish. */
static void begun_commit(void *data, mp_store_tx *tx, mp_error *err) {
  fixture *f = data;
  assert_null(err);
  run(f, tx, "INSERT INTO item(name) VALUES('in tx')");
  run(f, NULL, "SELECT count(*), 'outside' FROM item");
  run(f, tx, "SELECT count(*) FROM item");
  mp_store_commit(tx, ended, f);
}

static void others_wait_until_a_transaction_has_ended(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  mp_store_begin(f->store, begun_commit, f);
  mp_loop_run(&f->loop);
  assert_string_equal(f->log.data, "1 changed;1;ended;1|'outside';");
}

static void begun_rollback(void *data, mp_store_tx *tx, mp_error *err) {
  fixture *f = data;
  assert_null(err);
  run(f, tx, "INSERT INTO item(name) VALUES('gone')");
  mp_store_rollback(tx, ended, f);
}

static void a_rollback_leaves_nothing(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  mp_store_begin(f->store, begun_rollback, f);
  run(f, NULL, "SELECT count(*) FROM item");
  mp_loop_run(&f->loop);
  assert_string_equal(f->log.data, "1 changed;ended;0;");
}

static void begun_broken(void *data, mp_store_tx *tx, mp_error *err) {
  fixture *f = data;
  assert_null(err);
  run(f, tx, "INSERT OR ROLLBACK INTO item(id, name) VALUES(1,'a'),(1,'b')");
  run(f, tx, "INSERT INTO item(name) VALUES('must not be written alone')");
  mp_store_commit(tx, ended, f);
}

static void a_transaction_that_sqlite_rolled_back_does_nothing_more(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  mp_store_begin(f->store, begun_broken, f);
  mp_loop_run(&f->loop);
  assert_string_equal(f->log.data, "!unique;!aborted;aborted;");
  assert_string_equal(run_now(f, "SELECT count(*) FROM item"), "0;");
}

static void begun_cancelled(void *data, mp_store_tx *tx, mp_error *err) {
  fixture *f = data;
  assert_null(tx);
  mp_buf_printf(&f->log, "begin %s;", err->code);
}

/* Returns once the store's thread holds the write lock. */
static void await_write_lock(const char *path) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  while (sqlite3_exec(db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL) == SQLITE_OK)
    continue;
  sqlite3_close(db);
}

static void a_cancelled_begin_leaves_no_transaction(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  /* Once while it waits or runs, and once when it has succeeded but could not be delivered, since
   * the loop does not turn in between. */
  mp_op_cancel(mp_store_begin(f->store, begun_cancelled, f));
  mp_loop_run(&f->loop);
  mp_op *op = mp_store_begin(f->store, begun_cancelled, f);
  await_write_lock(f->path);
  mp_op_cancel(op);
  mp_loop_run(&f->loop);
  assert_string_equal(f->log.data, "begin cancelled;begin cancelled;");
  assert_string_equal(run_now(f, "INSERT INTO item(name) VALUES('free')"), "1 changed;");
}

static void a_query_under_way_can_be_cancelled(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  mp_op *op = run(f, NULL,
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) "
                  "SELECT count(*) FROM n");
  mp_op *queued = run(f, NULL, "SELECT 1");
  mp_op_cancel(queued);
  mp_op_cancel(op);
  mp_op_cancel(op);
  mp_loop_run(&f->loop);
  assert_string_equal(f->log.data, "!cancelled;!cancelled;");
}

static void a_cancelled_open_hands_out_nothing(void **state) {
  fixture *f = *state;
  mp_store_options options = {.path = f->path, .migrations = schema, .migration_count = 2};
  mp_op_cancel(mp_store_open(&f->loop, &options, opened, f, &f->error));
  mp_loop_run(&f->loop);
  assert_null(f->store);
  assert_true(mp_error_is(&f->error, MP_CANCELLED));
}

static void close_runs_what_was_queued_and_refuses_the_rest(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  run(f, NULL, "INSERT INTO item(name) VALUES('queued')");
  mp_store_close(f->store, ended, f);
  run(f, NULL, "SELECT 1");
  f->store = NULL;
  mp_loop_run(&f->loop);
  assert_non_null(strstr(f->log.data, "1 changed;"));
  assert_non_null(strstr(f->log.data, "!closed;"));
  assert_string_equal(f->log.data + f->log.len - 6, "ended;");
}

static void begun_hold(void *data, mp_store_tx *tx, mp_error *err) {
  assert_null(err);
  *(mp_store_tx **)data = tx;
}

static void another_process_holding_the_lock_is_told_after_the_timeout(void **state) {
  fixture *f = *state;
  fixture other = {.loop = {{0}}};
  mp_store_tx *tx = NULL;
  open_with(f, 2, 0);
  mp_store_begin(f->store, begun_hold, &tx);
  mp_loop_run(&f->loop);
  assert_non_null(tx);

  assert_int_equal(mp_loop_init(&other.loop, &other.error), 0);
  other.path = f->path;
  open_with(&other, 2, 10);
  assert_string_equal(run_now(&other, "INSERT INTO item(name) VALUES('late')"), "!busy;");
  assert_non_null(strstr(other.error.hint, f->path));
  assert_string_equal(run_now(&other, "SELECT count(*) FROM item"), "0;");
  mp_store_rollback(tx, NULL, NULL);
  mp_loop_run(&f->loop);
  assert_string_equal(run_now(&other, "INSERT INTO item(name) VALUES('late')"), "1 changed;");
  close_now(&other);
  mp_loop_close(&other.loop);
  mp_error_reset(&other.error);
  mp_buf_free(&other.log);
}

/* Whether another process would find the database in use: what keeps it from taking the write-ahead
 * log away with it when it closes. */
static bool is_in_use(const fixture *f) {
  pid_t pid = fork();
  if (pid == 0) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    _exit(fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 ? 2 : lock.l_type == F_UNLCK);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
  return WEXITSTATUS(status) == 0;
}

/* POSIX drops a process's locks on a file when it closes any descriptor of that file. */
static void a_second_store_of_a_process_does_not_unlock_the_first(void **state) {
  fixture *f = *state;
  fixture other = {.loop = {{0}}};
  open_with(f, 2, 0);
  assert_true(is_in_use(f));
  assert_int_equal(mp_loop_init(&other.loop, &other.error), 0);
  other.path = f->path;
  open_with(&other, 2, 0);
  assert_non_null(other.store);
  assert_true(is_in_use(f));
  close_now(&other);
  assert_true(is_in_use(f));
  mp_loop_close(&other.loop);
}

static void ran_batch(void *data, const mp_store_result *results, mp_error *err) {
  for (size_t i = 0; err ? i < 1 : i < 2; i++)
    ran(data, err ? NULL : &results[i], err);
}

static const char *run_both(fixture *f, const char *one, const char *two) {
  const mp_store_statement statements[] = {{one, NULL, 0}, {two, NULL, 0}};
  mp_buf_clear(&f->log);
  mp_store_batch(f->store, statements, 2, ran_batch, f);
  mp_loop_run(&f->loop);
  return f->log.data;
}

static void a_batch_is_kept_whole_or_not_at_all(void **state) {
  fixture *f = *state;
  open_with(f, 2, 0);
  assert_string_equal(
      run_both(f, "INSERT INTO item(name) VALUES('a')", "SELECT count(*) FROM item"),
      "1 changed;1;");
  assert_string_equal(run_both(f, "INSERT INTO item(name) VALUES('b')", "no SQL"), "!sql;");
  assert_string_equal(run_both(f, "INSERT INTO item(name) VALUES('b')", "COMMIT"), "!aborted;");
  assert_string_equal(run_now(f, "SELECT name FROM item WHERE name != 'b'"), "'a';");
  close_now(f);
}

static void a_batch_that_only_reads_waits_for_no_writer(void **state) {
  fixture *f = *state;
  fixture other = {.loop = {{0}}};
  mp_store_tx *tx = NULL;
  open_with(f, 2, 0);
  mp_store_begin(f->store, begun_hold, &tx);
  mp_loop_run(&f->loop);
  assert_int_equal(mp_loop_init(&other.loop, &other.error), 0);
  other.path = f->path;
  open_with(&other, 2, 10);
  assert_string_equal(run_both(&other, "SELECT 1", "SELECT 2"), "1;2;");
  assert_string_equal(run_both(&other, "SELECT 1", "DELETE FROM item"), "!busy;");
  mp_store_rollback(tx, NULL, NULL);
  mp_loop_run(&f->loop);
  close_now(&other);
  mp_loop_close(&other.loop);
  mp_error_reset(&other.error);
  mp_buf_free(&other.log);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      STORE_TEST(values_of_every_type_come_back_as_they_went_in),
      STORE_TEST(a_new_database_is_private_and_migrated),
      STORE_TEST(an_older_database_is_brought_up_and_keeps_its_rows),
      STORE_TEST(a_newer_database_is_refused),
      STORE_TEST(a_file_that_is_no_database_is_corrupt),
      STORE_TEST(a_damaged_page_is_found_at_open),
      STORE_TEST(a_missing_directory_is_named),
      STORE_TEST(errors_have_codes_of_their_own),
      STORE_TEST(others_wait_until_a_transaction_has_ended),
      STORE_TEST(a_rollback_leaves_nothing),
      STORE_TEST(a_transaction_that_sqlite_rolled_back_does_nothing_more),
      STORE_TEST(a_cancelled_begin_leaves_no_transaction),
      STORE_TEST(a_query_under_way_can_be_cancelled),
      STORE_TEST(a_cancelled_open_hands_out_nothing),
      STORE_TEST(close_runs_what_was_queued_and_refuses_the_rest),
      STORE_TEST(another_process_holding_the_lock_is_told_after_the_timeout),
      STORE_TEST(a_second_store_of_a_process_does_not_unlock_the_first),
      STORE_TEST(a_batch_is_kept_whole_or_not_at_all),
      STORE_TEST(a_batch_that_only_reads_waits_for_no_writer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
