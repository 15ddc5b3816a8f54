#include "fs_lock.h"

#include "fs_internal.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

struct mp_lock {
  int fd;
  char *path;
};

typedef struct {
  mp_op op;
  uv_async_t ended;
  uv_timer_t timer;
  pthread_t thread;
  int handles; /* still to be closed */
  char *path;
  int operation; /* LOCK_SH or LOCK_EX */
  int64_t wait_ms;
  bool cancelled, timed_out;
  int fd;       /* thread; the loop's once that has ended */
  bool taken;   /* likewise */
  mp_error err; /* likewise */
  mp_lock_cb cb;
  void *data;
} lock_op;

/* The pid that /proc/locks names for this file, or 0. */
static long find_holder(const char *path) {
  struct stat st;
  mp_auto_buf mp_buf table = MP_BUF_INIT;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  if (stat(path, &st) < 0 || mp_fs_read("/proc/locks", 8 << 20, &table, &err) < 0)
    return 0;
  mp_auto_free char *file = mp_sprintf(" %02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev),
                                       (unsigned long long)st.st_ino);
  const char *found = table.data ? strstr(table.data, file) : NULL;
  while (found && found > table.data && found[-1] >= '0' && found[-1] <= '9')
    found--;
  return found ? strtol(found, NULL, 10) : 0;
}

static int report_held(const char *path, mp_error *err) {
  long pid = find_holder(path);
  if (pid <= 0) /* e.g. in another pid namespace */
    return mp_error_set(err, "fs", MP_LOCK_HELD, "the lock `%s` is held by another process", path);
  mp_auto_buf mp_buf name = MP_BUF_INIT;
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  mp_auto_free char *comm = mp_sprintf("/proc/%ld/comm", pid);
  mp_fs_read(comm, 4096, &name, &ignored);
  int len = name.len > 0 ? (int)name.len - 1 : 0;
  return mp_error_set(err, "fs", MP_LOCK_HELD, "the lock `%s` is held by process %ld%s%.*s%s", path,
                      pid, len ? " (" : "", len, len ? name.data : "", len ? ")" : "");
}

/* Waits for the lock. Only here can the thread be cancelled, and at any instruction: nothing is
 * allocated or held meanwhile but the descriptor, which the caller of pthread_join closes. So a
 * cancel can get lost neither before nor within the system call, as a signal could. */
static int wait_for_lock(int fd, int operation) {
  int ignored;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &ignored);
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &ignored);
  int rc = flock(fd, operation);
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
  return rc;
}

/* True while the path still leads to the file that we hold: it may have been removed meanwhile. */
static bool still_there(const lock_op *self) {
  struct stat held, named;
  return fstat(self->fd, &held) == 0 && stat(self->path, &named) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static int take_once(lock_op *self) {
  self->fd = open(self->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (self->fd < 0)
    return mp_error_errno(&self->err, "fs", errno, "could not open the lock `%s`", self->path);
  int rc = flock(self->fd, self->operation | LOCK_NB);
  if (rc < 0 && errno == EWOULDBLOCK && self->wait_ms == 0)
    return report_held(self->path, &self->err);
  while (rc < 0 && (errno == EWOULDBLOCK || errno == EINTR))
    rc = wait_for_lock(self->fd, self->operation);
  return rc < 0 ? mp_error_errno(&self->err, "fs", errno, "could not lock `%s`", self->path) : 0;
}

static void *lock_main(void *data) {
  lock_op *self = data;
  while (take_once(self) == 0) {
    if (still_there(self)) {
      self->taken = true;
      break;
    }
    fs_close(&self->fd);
  }
  return NULL;
}

/* pthread_cleanup_push's macros want a function: told to the loop also when cancelled. */
static void tell_loop(void *data) {
  uv_async_send(&((lock_op *)data)->ended);
}

static void *thread_main(void *data) {
  int ignored;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
  pthread_cleanup_push(tell_loop, data);
  lock_main(data);
  pthread_cleanup_pop(1);
  return NULL;
}

static void conclude(lock_op *self) {
  mp_lock *lock = NULL;
  if (self->taken) {
    lock = mp_alloc(sizeof *lock);
    lock->fd = self->fd;
    lock->path = mp_steal(self->path);
  } else {
    fs_close(&self->fd);
    if (self->cancelled)
      mp_error_set(&self->err, "fs", MP_CANCELLED, "cancelled");
    else if (self->timed_out)
      report_held(self->path, &self->err);
  }
  self->cb(self->data, lock, lock ? NULL : &self->err);
  mp_error_reset(&self->err);
  free(self->path);
  free(self);
}

static void handle_closed(uv_handle_t *handle) {
  lock_op *self = handle->data;
  if (--self->handles == 0)
    conclude(self);
}

static void thread_ended(uv_async_t *async) {
  lock_op *self = async->data;
  pthread_join(self->thread, NULL);
  uv_close((uv_handle_t *)&self->timer, handle_closed);
  uv_close((uv_handle_t *)&self->ended, handle_closed);
}

static void wait_over(uv_timer_t *timer) {
  lock_op *self = timer->data;
  self->timed_out = true;
  pthread_cancel(self->thread);
}

static void lock_cancel(mp_op *op) {
  lock_op *self = (lock_op *)op;
  if (self->cancelled || uv_is_closing((uv_handle_t *)&self->ended))
    return; /* the thread is joined: its id means nothing any more */
  self->cancelled = true;
  pthread_cancel(self->thread);
}

static int start_thread(lock_op *self) {
  pthread_attr_t attr;
  sigset_t all, before;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 256 << 10);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's to see */
  int rc = pthread_create(&self->thread, &attr, thread_main, self);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return -rc;
}

static void abandon(uv_handle_t *handle) {
  lock_op *self = handle->data;
  if (--self->handles > 0)
    return;
  free(self->path);
  free(self);
}

mp_op *mp_lock_start(mp_loop *loop, const mp_lock_options *options, mp_lock_cb cb, void *data,
                     mp_error *err) {
  lock_op *self = mp_alloc(sizeof *self);
  self->op.cancel = lock_cancel;
  self->path = mp_strdup(options->path);
  self->operation = options->shared ? LOCK_SH : LOCK_EX;
  self->wait_ms = options->wait_ms;
  self->cb = cb;
  self->data = data;
  self->fd = -1;
  int rc = uv_async_init(&loop->uv, &self->ended, thread_ended);
  if (rc < 0) {
    free(self->path);
    free(self);
    mp_error_errno(err, "fs", rc, "could not wait for the lock `%s`", options->path);
    return NULL;
  }
  uv_timer_init(&loop->uv, &self->timer);
  self->timer.data = self->ended.data = self;
  self->handles = 2;
  rc = start_thread(self);
  if (rc < 0) {
    uv_close((uv_handle_t *)&self->timer, abandon);
    uv_close((uv_handle_t *)&self->ended, abandon);
    mp_error_errno(err, "fs", rc, "could not start a thread for the lock `%s`", options->path);
    return NULL;
  }
  if (options->wait_ms > 0)
    uv_timer_start(&self->timer, wait_over, (uint64_t)options->wait_ms, 0);
  return &self->op;
}

void mp_lock_release(mp_lock *lock) {
  close(lock->fd);
  free(lock->path);
  free(lock);
}

const char *mp_lock_path(const mp_lock *lock) {
  return lock->path;
}
