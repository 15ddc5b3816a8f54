#include "unit.h"

#include "core/fs.h"
#include "core/fs_lock.h"
#include "core/fs_watch.h"
#include "core/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
  mp_loop loop;
  char dir[32];
  char *path;
  mp_lock *lock;
  mp_error error;
  int calls;
} fixture;

static int set_up(void **state) {
  fixture *f = mp_alloc(sizeof *f);
  strcpy(f->dir, "/tmp/mp-lock-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  f->path = mp_sprintf("%s/lock", f->dir);
  assert_int_equal(mp_loop_init(&f->loop, &f->error), 0);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  if (f->lock)
    mp_lock_release(f->lock);
  mp_loop_close(&f->loop);
  mp_error_reset(&f->error);
  assert_int_equal(mp_fs_remove_tree(f->dir, false, NULL, &f->error), 0);
  free(f->path);
  free(f);
  return 0;
}

static void locked(void *data, mp_lock *lock, mp_error *err) {
  fixture *f = data;
  f->calls++;
  f->lock = lock;
  if (err)
    mp_error_move(&f->error, err);
}

static mp_op *take(fixture *f, bool shared, int64_t wait_ms) {
  mp_lock_options options = {.path = f->path, .shared = shared, .wait_ms = wait_ms};
  mp_op *op = mp_lock_start(&f->loop, &options, locked, f, &f->error);
  assert_non_null(op);
  return op;
}

/* A process that holds the lock until it is killed. Returns once it does. */
static pid_t holder(const char *path) {
  int ready[2];
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    flock(fd, LOCK_EX);
    (void)!write(ready[1], "x", 1);
    for (;;)
      pause();
  }
  char byte;
  assert_int_equal(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  close(ready[1]);
  return pid;
}

static void end(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

static void a_held_lock_names_its_holder(void **state) {
  fixture *f = *state;
  pid_t pid = holder(f->path);
  take(f, false, 0);
  mp_loop_run(&f->loop);
  end(pid);
  assert_null(f->lock);
  assert_true(mp_error_is(&f->error, MP_LOCK_HELD));
  mp_auto_free char *named = mp_sprintf("process %d", pid);
  assert_non_null(strstr(f->error.message, named));
}

static void a_lock_of_a_dead_process_is_free(void **state) {
  fixture *f = *state;
  end(holder(f->path));
  take(f, false, 0);
  mp_loop_run(&f->loop);
  assert_non_null(f->lock);
}

static void kill_holder(void *data, bool cancelled) {
  (void)cancelled;
  end(*(pid_t *)data);
}

static void a_waiter_gets_the_lock_when_the_holder_dies(void **state) {
  fixture *f = *state;
  pid_t pid = holder(f->path);
  take(f, false, -1);
  mp_timer_start(&f->loop, 1, kill_holder, &pid);
  mp_loop_run(&f->loop);
  assert_non_null(f->lock);
  assert_int_equal(f->calls, 1);
}

static void waiting_ends_at_its_time(void **state) {
  fixture *f = *state;
  pid_t pid = holder(f->path);
  take(f, false, 5);
  mp_loop_run(&f->loop);
  end(pid);
  assert_null(f->lock);
  assert_true(mp_error_is(&f->error, MP_LOCK_HELD));
}

static void cancel_op(void *data, bool cancelled) {
  (void)cancelled;
  mp_op_cancel(data);
}

static void waiting_can_be_cancelled_at_any_moment(void **state) {
  fixture *f = *state;
  pid_t pid = holder(f->path);
  for (uint64_t delay = 0; delay < 8; delay++) {
    mp_error_reset(&f->error);
    mp_op *op = take(f, false, -1);
    if (delay == 0)
      mp_op_cancel(op);
    else
      mp_timer_start(&f->loop, delay / 3, cancel_op, op);
    mp_loop_run(&f->loop);
    assert_null(f->lock);
    assert_true(mp_error_is(&f->error, MP_CANCELLED));
  }
  assert_int_equal(f->calls, 8);
  end(pid);
}

static void shared_locks_go_together(void **state) {
  fixture *f = *state;
  take(f, true, 0);
  mp_loop_run(&f->loop);
  mp_lock *first = mp_steal(f->lock);
  assert_non_null(first);
  take(f, true, 0);
  mp_loop_run(&f->loop);
  mp_lock *second = mp_steal(f->lock);
  assert_non_null(second);
  take(f, false, 0);
  mp_loop_run(&f->loop);
  assert_null(f->lock);
  mp_lock_release(first);
  mp_lock_release(second);
}

typedef struct {
  fixture *f;
  mp_watch *watch;
  mp_buf seen;
} watcher;

static void changed(void *data, const char *name, const char *kind, mp_error *err) {
  watcher *w = data;
  assert_null(err);
  mp_buf_printf(&w->seen, "%s %s;", kind, name);
  if (strstr(w->seen.data, "rename log.1;")) {
    mp_watch_close(w->watch);
    return;
  }
  if (strcmp(w->seen.data, "rename log;") == 0)
    assert_int_equal(rename("log", "log.1"), 0);
}

static void a_watched_directory_tells_of_rotation(void **state) {
  fixture *f = *state;
  watcher w = {.f = f};
  assert_int_equal(chdir(f->dir), 0);
  w.watch = mp_watch_start(&f->loop, f->dir, changed, &w, &f->error);
  assert_non_null(w.watch);
  int fd = open("log", O_WRONLY | O_CREAT, 0600);
  mp_loop_run(&f->loop);
  close(fd);
  assert_int_equal(chdir("/"), 0);
  assert_non_null(strstr(w.seen.data, "rename log;"));
  mp_buf_free(&w.seen);
  assert_null(mp_watch_start(&f->loop, "/nowhere/at/all", changed, &w, &f->error));
  assert_true(mp_error_is(&f->error, "ENOENT"));
  mp_loop_run(&f->loop);
}

#define LOCK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      LOCK_TEST(a_held_lock_names_its_holder),
      LOCK_TEST(a_lock_of_a_dead_process_is_free),
      LOCK_TEST(a_waiter_gets_the_lock_when_the_holder_dies),
      LOCK_TEST(waiting_ends_at_its_time),
      LOCK_TEST(waiting_can_be_cancelled_at_any_moment),
      LOCK_TEST(shared_locks_go_together),
      LOCK_TEST(a_watched_directory_tells_of_rotation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
