#include "cgroup_wait.h"

#include "mem.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
  mp_op op;
  mp_loop *loop;
  const mp_cgroup *group;
  uv_poll_t poll; /* one member's pidfd; when that has ended, it is another's turn */
  int pidfd;
  pid_t pid;
  mp_op *deadline;
  mp_error err;
  mp_cgroup_wait_cb cb;
  void *data;
  bool ended;
  unsigned refs; /* the wait itself, its deadline, its handle */
} empty_wait;

static void unref(empty_wait *self) {
  if (--self->refs > 0)
    return;
  mp_error_reset(&self->err);
  free(self);
}

static void answer(void *data, bool cancelled) {
  empty_wait *self = data;
  (void)cancelled;
  self->cb(self->data, self->err.domain ? &self->err : NULL);
  unref(self);
}

static void poll_closed(uv_handle_t *handle) {
  empty_wait *self = handle->data;
  close(self->pidfd);
  self->pidfd = -1;
  unref(self);
}

static void end(empty_wait *self) {
  if (self->ended)
    return;
  self->ended = true;
  if (self->deadline)
    mp_op_cancel(self->deadline);
  if (self->pidfd >= 0 && !uv_is_closing((uv_handle_t *)&self->poll))
    uv_close((uv_handle_t *)&self->poll, poll_closed);
  mp_timer_start(self->loop, 0, answer, self);
}

/* A zombie may still be listed; its pidfd is readable at once. */
static bool has_ended(int pidfd) {
  struct pollfd polled = {.fd = pidfd, .events = POLLIN};
  return poll(&polled, 1, 0) == 1;
}

/* A pidfd of any member that lives; -1 when there is none, or with self->err when that cannot be
 * known. */
static int open_member(empty_wait *self) {
  pid_t *pids;
  size_t count;
  int found = -1;
  if (mp_cgroup_processes(self->group, &pids, &count, &self->err) < 0)
    return -1;
  for (size_t i = 0; i < count && found < 0; i++) {
    found = (int)syscall(SYS_pidfd_open, pids[i], 0);
    self->pid = pids[i];
    if (found < 0 && errno != ESRCH && errno != EINVAL && self->err.domain == NULL)
      mp_error_errno(&self->err, "cgroup", errno, "could not watch process %d", (int)pids[i]);
    if (found >= 0 && has_ended(found)) {
      close(found);
      found = -1;
    }
  }
  free(pids);
  if (found >= 0)
    mp_error_reset(&self->err);
  return found;
}

static void watch_one(empty_wait *self);

static void watched_closed(uv_handle_t *handle) {
  empty_wait *self = handle->data;
  close(self->pidfd);
  self->pidfd = -1;
  if (!self->ended)
    watch_one(self);
  unref(self);
}

static void member_ended(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  uv_close((uv_handle_t *)poll, watched_closed);
}

static void watch_one(empty_wait *self) {
  self->pidfd = open_member(self);
  if (self->pidfd < 0) {
    end(self);
    return;
  }
  self->refs++;
  uv_poll_init(&self->loop->uv, &self->poll, self->pidfd);
  self->poll.data = self;
  uv_poll_start(&self->poll, UV_READABLE, member_ended);
}

static void deadline_passed(void *data, bool cancelled) {
  empty_wait *self = data;
  self->deadline = NULL;
  if (!cancelled && !self->ended) {
    mp_error_set(&self->err, "cgroup", MP_TIMEOUT, "process %d is still in cgroup `%s`",
                 (int)self->pid, mp_cgroup_name(self->group));
    mp_error_hint(&self->err,
                  "a process that SIGKILL does not end waits in the kernel, often for a "
                  "disk or a network file system: see /proc/%d/stack",
                  (int)self->pid);
    end(self);
  }
  unref(self);
}

static void cancel_wait(mp_op *op) {
  empty_wait *self = (empty_wait *)op;
  if (self->ended)
    return;
  mp_error_set(&self->err, "cgroup", MP_CANCELLED, "waiting for cgroup `%s` was cancelled",
               mp_cgroup_name(self->group));
  end(self);
}

mp_op *mp_cgroup_wait_start(mp_loop *loop, const mp_cgroup *group, uint64_t timeout,
                            mp_cgroup_wait_cb cb, void *data) {
  empty_wait *self = mp_alloc(sizeof *self);
  self->op.cancel = cancel_wait;
  self->loop = loop;
  self->group = group;
  self->pidfd = -1;
  self->cb = cb;
  self->data = data;
  self->refs = 1;
  if (timeout > 0) {
    self->refs++;
    self->deadline = mp_timer_start(loop, timeout, deadline_passed, self);
  }
  watch_one(self);
  return &self->op;
}
