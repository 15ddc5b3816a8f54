/* The queue between the loop and the store's thread, and the delivery of what comes back. */
#include "store.h"

#include "mem.h"
#include "store_internal.h"

#include <stdlib.h>
#include <string.h>

#define BUSY_DEFAULT_MS 10000

typedef enum {
  JOB_OPEN,
  JOB_RUN,
  JOB_BATCH,
  JOB_BEGIN,
  JOB_COMMIT,
  JOB_ROLLBACK,
  JOB_CLOSE
} job_kind;

typedef struct {
  char *sql;
  mp_store_value *params;
  size_t param_count;
  mp_buf param_bytes;
  store_rows rows;
} statement;

typedef struct job {
  mp_op op;
  struct job *next;
  mp_store *store;
  mp_store_tx *tx;
  job_kind kind;
  bool cancelled; /* guarded by the store's mutex */
  bool failed;
  mp_error error;
  union {
    mp_store_open_cb open;
    mp_store_cb run;
    mp_store_batch_cb batch;
    mp_store_begin_cb begin;
    mp_store_done_cb done;
  } cb;
  void *data;
  size_t count;
  statement statements[]; /* one for a run, any number for a batch, else none */
} job;

typedef struct {
  job *first, **last;
} job_list;

struct mp_store_tx {
  mp_store *store;
};

struct mp_store {
  mp_loop *loop;
  uv_async_t async;
  uv_thread_t thread;
  char *path;
  size_t pending; /* jobs without a callback yet; loop thread */
  bool closing;   /* loop thread */
  char **migrations;
  size_t migration_count;

  uv_mutex_t mutex; /* guards what follows */
  uv_cond_t queued;
  uv_cond_t wake;
  job_list queue;     /* jobs outside of a transaction, begins and the close */
  job_list owned;     /* jobs of the transaction under way */
  job_list finished;  /* to be delivered */
  mp_store_tx *owner; /* the transaction under way */
  job *running;

  store_db db; /* store's thread */
};

/* Lists */

static void list_init(job_list *list) {
  list->first = NULL;
  list->last = &list->first;
}

static void list_push(job_list *list, job *item) {
  item->next = NULL;
  *list->last = item;
  list->last = &item->next;
}

static job *list_pop(job_list *list) {
  job *item = list->first;
  if (item) {
    list->first = item->next;
    if (list->first == NULL)
      list->last = &list->first;
  }
  return item;
}

static bool list_remove(job_list *list, job *item) {
  for (job **at = &list->first; *at; at = &(*at)->next) {
    if (*at != item)
      continue;
    *at = item->next;
    if (item->next == NULL)
      list->last = at;
    return true;
  }
  return false;
}

/* The store's thread */

static void begin(mp_store *store, job *item) {
  item->failed = store_db_exec(&store->db, "BEGIN IMMEDIATE", &item->error) < 0;
  if (item->failed)
    return;
  uv_mutex_lock(&store->mutex);
  store->owner = item->tx;
  uv_mutex_unlock(&store->mutex);
}

static void give_up(store_db *db) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  if (store_db_in_tx(db))
    store_db_exec(db, "ROLLBACK", &ignored);
}

static int commit(store_db *db, mp_error *err) {
  if (!store_db_in_tx(db))
    return mp_error_set(err, "store", "aborted", "an earlier error rolled the transaction back");
  if (store_db_exec(db, "COMMIT", err) == 0)
    return 0;
  give_up(db);
  return -1;
}

static void end(mp_store *store, job *item) {
  if (item->kind == JOB_COMMIT)
    item->failed = commit(&store->db, &item->error) < 0;
  else if (store_db_in_tx(&store->db))
    item->failed = store_db_exec(&store->db, "ROLLBACK", &item->error) < 0;
  uv_mutex_lock(&store->mutex);
  store->owner = NULL;
  uv_mutex_unlock(&store->mutex);
}

static int run(store_db *db, statement *one, bool in_tx, mp_error *err) {
  return store_db_run(db, one->sql, one->params, one->param_count, in_tx, &one->rows, err);
}

static bool only_reads(store_db *db, const job *item) {
  for (size_t i = 0; i < item->count; i++)
    if (!store_db_only_reads(db, item->statements[i].sql))
      return false;
  return true;
}

static int run_batch(store_db *db, job *item) {
  if (store_db_exec(db, only_reads(db, item) ? "BEGIN" : "BEGIN IMMEDIATE", &item->error) < 0)
    return -1;
  for (size_t i = 0; i < item->count; i++) {
    if (run(db, &item->statements[i], true, &item->error) < 0) {
      give_up(db);
      return -1;
    }
  }
  return commit(db, &item->error);
}

static void perform(mp_store *store, job *item) {
  store_db *db = &store->db;
  switch (item->kind) {
  case JOB_OPEN:
    item->failed = store_db_open(db, (const char *const *)store->migrations, store->migration_count,
                                 &item->error) < 0;
    break;
  case JOB_RUN:
    item->failed = run(db, item->statements, item->tx != NULL, &item->error) < 0;
    break;
  case JOB_BATCH:
    item->failed = run_batch(db, item) < 0;
    break;
  case JOB_BEGIN:
    begin(store, item);
    break;
  case JOB_COMMIT:
  case JOB_ROLLBACK:
    end(store, item);
    break;
  case JOB_CLOSE:
    break;
  }
  if (item->failed && atomic_load(&db->stop) && mp_error_is(&item->error, "busy")) {
    mp_error_reset(&item->error);
    mp_error_set(&item->error, "store", MP_CANCELLED, "cancelled");
  }
}

static job *take(mp_store *store) {
  uv_mutex_lock(&store->mutex);
  job_list *list;
  while (list = store->owner ? &store->owned : &store->queue, list->first == NULL)
    uv_cond_wait(&store->queued, &store->mutex);
  job *item = list_pop(list);
  store->running = item;
  atomic_store(&store->db.stop, item->cancelled);
  uv_mutex_unlock(&store->mutex);
  return item;
}

static void finish(mp_store *store, job *item) {
  uv_mutex_lock(&store->mutex);
  store->running = NULL;
  list_push(&store->finished, item);
  uv_mutex_unlock(&store->mutex);
  uv_async_send(&store->async);
}

static void store_main(void *data) {
  mp_store *store = data;
  for (bool more = true; more;) {
    job *item = take(store);
    perform(store, item);
    more = item->kind != JOB_CLOSE && !(item->kind == JOB_OPEN && item->failed);
    if (!more)
      store_db_close(&store->db);
    finish(store, item);
  }
}

/* The loop's thread */

static void free_job(job *item) {
  mp_error_reset(&item->error);
  for (size_t i = 0; i < item->count; i++) {
    statement *one = &item->statements[i];
    store_rows_free(&one->rows);
    mp_buf_free(&one->param_bytes);
    free(one->params);
    free(one->sql);
  }
  free(item);
}

/* An open stays in the queue: the thread needs it to learn that it shall end. */
static void cancel(mp_op *op) {
  job *item = (job *)op;
  mp_store *store = item->store;
  if (item->kind == JOB_COMMIT || item->kind == JOB_ROLLBACK)
    return;
  uv_mutex_lock(&store->mutex);
  item->cancelled = true;
  if (store->running == item) {
    atomic_store(&store->db.stop, true);
    uv_cond_broadcast(&store->wake);
  } else if (item->kind != JOB_OPEN &&
             (list_remove(&store->queue, item) || list_remove(&store->owned, item))) {
    mp_error_set(&item->error, "store", MP_CANCELLED, "cancelled");
    item->failed = true;
    list_push(&store->finished, item);
    uv_async_send(&store->async);
  }
  uv_mutex_unlock(&store->mutex);
}

static job *new_job(mp_store *store, job_kind kind, mp_store_tx *tx, size_t count, void *data) {
  job *item = mp_alloc(sizeof *item + count * sizeof *item->statements);
  item->count = count;
  item->op.cancel = cancel;
  item->store = store;
  item->kind = kind;
  item->tx = tx;
  item->data = data;
  return item;
}

static void submit(job *item) {
  mp_store *store = item->store;
  if (store->pending++ == 0)
    uv_ref((uv_handle_t *)&store->async);
  bool owned = item->tx && item->kind != JOB_BEGIN;
  uv_mutex_lock(&store->mutex);
  if (store->closing && !owned && item->kind != JOB_CLOSE) {
    mp_error_set(&item->error, "store", "closed", "the database is closed");
    item->failed = true;
    list_push(&store->finished, item);
    uv_async_send(&store->async);
  } else {
    list_push(owned ? &store->owned : &store->queue, item);
    uv_cond_signal(&store->queued);
  }
  uv_mutex_unlock(&store->mutex);
}

/* A begin that was cancelled after it had succeeded still reports `cancelled`, so that its caller
 * never holds a transaction that it has given up on. */
static void deliver_begin(job *item) {
  if (!item->failed && item->cancelled) {
    mp_store_rollback(mp_steal(item->tx), NULL, NULL);
    mp_error_set(&item->error, "store", MP_CANCELLED, "cancelled");
    item->failed = true;
  }
  if (item->failed)
    free(mp_steal(item->tx));
  item->cb.begin(item->data, item->tx, item->failed ? &item->error : NULL);
}

static void deliver_batch(job *item) {
  mp_auto_free mp_store_result *results = NULL;
  if (!item->failed) {
    results = mp_calloc(item->count, sizeof *results);
    for (size_t i = 0; i < item->count; i++)
      results[i] = item->statements[i].rows.result;
  }
  item->cb.batch(item->data, results, item->failed ? &item->error : NULL);
}

static void deliver(job *item) {
  mp_error *err = item->failed ? &item->error : NULL;
  switch (item->kind) {
  case JOB_OPEN:
    item->cb.open(item->data, item->store, NULL);
    break;
  case JOB_RUN:
    item->cb.run(item->data, err ? NULL : &item->statements->rows.result, err);
    break;
  case JOB_BATCH:
    deliver_batch(item);
    break;
  case JOB_BEGIN:
    deliver_begin(item);
    break;
  default:
    if (item->cb.done)
      item->cb.done(item->data, err);
    free(item->tx);
  }
}

static void drain(mp_store *store);

static void free_members(mp_store *store) {
  for (size_t i = 0; i < store->migration_count; i++)
    free(store->migrations[i]);
  free(store->migrations);
  uv_mutex_destroy(&store->mutex);
  uv_cond_destroy(&store->queued);
  uv_cond_destroy(&store->wake);
  free(store->path);
  free(store);
}

static void free_store(uv_handle_t *handle) {
  job *last = handle->data;
  mp_store *store = last->store;
  drain(store); /* calls that came while the handle was closing */
  free_members(store);
  if (last->kind == JOB_OPEN)
    last->cb.open(last->data, NULL, &last->error);
  else if (last->cb.done)
    last->cb.done(last->data, NULL);
  free_job(last);
}

/* `last` (a failed open, or the close) was the thread's last job; it is reported once everything is
 * gone. */
static void shut_down(mp_store *store, job *last) {
  uv_thread_join(&store->thread);
  store->async.data = last;
  uv_close((uv_handle_t *)&store->async, free_store);
}

static void report_cancelled_open(void *data, mp_error *err) {
  (void)err;
  job *item = data;
  item->cb.open(item->data, NULL, &item->error);
  free_job(item);
}

/* An open that was cancelled too late to stop is closed again, unseen. */
static bool close_unwanted(job *item) {
  if (item->kind != JOB_OPEN || item->failed || !item->cancelled)
    return false;
  mp_error_set(&item->error, "store", MP_CANCELLED, "cancelled");
  mp_store_close(item->store, report_cancelled_open, item);
  return true;
}

static job *next_finished(mp_store *store) {
  uv_mutex_lock(&store->mutex);
  job *item = list_pop(&store->finished);
  uv_mutex_unlock(&store->mutex);
  return item;
}

static void drain(mp_store *store) {
  job *item, *last = NULL;
  while ((item = next_finished(store)) != NULL) {
    if (--store->pending == 0)
      uv_unref((uv_handle_t *)&store->async);
    if (item->kind == JOB_CLOSE || (item->kind == JOB_OPEN && item->failed)) {
      last = item;
    } else if (!close_unwanted(item)) {
      deliver(item);
      free_job(item);
    }
  }
  if (last)
    shut_down(store, last);
}

static void on_async(uv_async_t *async) {
  drain(async->data);
}

static mp_store *new_store(mp_loop *loop, const mp_store_options *options) {
  mp_store *store = mp_alloc(sizeof *store);
  store->loop = loop;
  store->path = mp_strdup(options->path);
  store->migration_count = options->migration_count;
  store->migrations = mp_calloc(options->migration_count, sizeof *store->migrations);
  for (size_t i = 0; i < options->migration_count; i++)
    store->migrations[i] = mp_strdup(options->migrations[i]);
  uv_mutex_init(&store->mutex);
  uv_cond_init(&store->queued);
  uv_cond_init(&store->wake);
  list_init(&store->queue);
  list_init(&store->owned);
  list_init(&store->finished);
  store->db.path = mp_strdup(options->path);
  store->db.busy_ms = options->busy_ms ? options->busy_ms : BUSY_DEFAULT_MS;
  store->db.mutex = &store->mutex;
  store->db.wake = &store->wake;
  return store;
}

/* What a store without a thread owns beyond its members. */
static void abandon(uv_handle_t *handle) {
  mp_store *store = handle->data;
  free(store->db.path);
  free_members(store);
}

mp_op *mp_store_open(mp_loop *loop, const mp_store_options *options, mp_store_open_cb cb,
                     void *data, mp_error *err) {
  mp_store *store = new_store(loop, options);
  int rc = uv_async_init(&loop->uv, &store->async, on_async);
  if (rc < 0) {
    mp_error_errno(err, "store", rc, "could not open the database `%s`", options->path);
    store->async.data = store;
    abandon((uv_handle_t *)&store->async);
    return NULL;
  }
  store->async.data = store;
  uv_unref((uv_handle_t *)&store->async);
  uv_thread_options_t thread = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = 512 << 10};
  rc = uv_thread_create_ex(&store->thread, &thread, store_main, store);
  if (rc < 0) {
    mp_error_errno(err, "store", rc, "could not start the thread of the database `%s`",
                   options->path);
    uv_close((uv_handle_t *)&store->async, abandon);
    return NULL;
  }
  job *item = new_job(store, JOB_OPEN, NULL, 0, data);
  item->cb.open = cb;
  submit(item);
  return &item->op;
}

static void copy_statement(statement *one, const mp_store_statement *given) {
  size_t bytes = 0, count = given->param_count;
  const mp_store_value *params = given->params;
  for (size_t i = 0; i < count; i++)
    if (params[i].type == MP_STORE_TEXT || params[i].type == MP_STORE_BLOB)
      bytes += params[i].len;
  one->sql = mp_strdup(given->sql);
  mp_buf_reserve(&one->param_bytes, bytes);
  one->params = mp_calloc(count, sizeof *one->params);
  one->param_count = count;
  for (size_t i = 0; i < count; i++) {
    one->params[i] = params[i];
    if (params[i].type != MP_STORE_TEXT && params[i].type != MP_STORE_BLOB)
      continue;
    one->params[i].bytes = one->param_bytes.data + one->param_bytes.len;
    mp_buf_append(&one->param_bytes, params[i].bytes, params[i].len);
  }
}

mp_op *mp_store_run(mp_store *store, mp_store_tx *tx, const char *sql, const mp_store_value *params,
                    size_t param_count, mp_store_cb cb, void *data) {
  job *item = new_job(store, JOB_RUN, tx, 1, data);
  item->cb.run = cb;
  copy_statement(item->statements, &(mp_store_statement){sql, params, param_count});
  submit(item);
  return &item->op;
}

mp_op *mp_store_batch(mp_store *store, const mp_store_statement *statements, size_t count,
                      mp_store_batch_cb cb, void *data) {
  job *item = new_job(store, JOB_BATCH, NULL, count, data);
  item->cb.batch = cb;
  for (size_t i = 0; i < count; i++)
    copy_statement(&item->statements[i], &statements[i]);
  submit(item);
  return &item->op;
}

mp_op *mp_store_begin(mp_store *store, mp_store_begin_cb cb, void *data) {
  mp_store_tx *tx = mp_alloc(sizeof *tx);
  tx->store = store;
  job *item = new_job(store, JOB_BEGIN, tx, 0, data);
  item->cb.begin = cb;
  submit(item);
  return &item->op;
}

static mp_op *end_tx(mp_store_tx *tx, job_kind kind, mp_store_done_cb cb, void *data) {
  job *item = new_job(tx->store, kind, tx, 0, data);
  item->cb.done = cb;
  submit(item);
  return &item->op;
}

mp_op *mp_store_commit(mp_store_tx *tx, mp_store_done_cb cb, void *data) {
  return end_tx(tx, JOB_COMMIT, cb, data);
}

mp_op *mp_store_rollback(mp_store_tx *tx, mp_store_done_cb cb, void *data) {
  return end_tx(tx, JOB_ROLLBACK, cb, data);
}

void mp_store_close(mp_store *store, mp_store_done_cb cb, void *data) {
  job *item = new_job(store, JOB_CLOSE, NULL, 0, data);
  item->cb.done = cb;
  submit(item);
  store->closing = true;
}

const char *mp_store_path(const mp_store *store) {
  return store->path;
}
