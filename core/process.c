#include "process_internal.h"

#include "mem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* More than a pipe holds, so that after an exit nothing stands between us and the end. */
#define READ_AHEAD ((size_t)1024 * 1024)

typedef enum {
  RUNNING,
  EXITED, /* a zombie of ours: its exit is known, its outputs may still be open */
  ENDED,  /* reaped, or given up */
} process_state;

typedef struct wait_op wait_op;
struct wait_op {
  mp_op op;
  mp_process *process;
  mp_process_wait_cb cb;
  void *data;
  bool cancelled;
  wait_op *next;
};

struct mp_process {
  uv_poll_t poll; /* first: a handle is its process. Watches the pidfd */
  mp_loop *loop;
  pid_t pid;
  int pidfd;
  process_state state;
  mp_process_exit exit;
  uint64_t started; /* uv_hrtime */
  mp_stream *in, *out, *err;
  bool pty;
  bool shared; /* in our own process group: never signal the group */
  bool detached;
  bool closed; /* by its owner */
  bool lost;   /* someone else reaped it: the pid may be anybody's */
  uint64_t drain;
  uint64_t give_up;
  mp_op *drain_timer;
  mp_op *stuck_timer;
  bool stuck;       /* given up: SIGKILL has not ended it */
  bool stopping;    /* mp_process_stop was called */
  uint64_t kill_at; /* mp_loop_now when the kill timer fires */
  mp_op *kill_timer;
  wait_op *waiters;
  bool delayed; /* answer_waiters will run */
  void (*on_ended)(void *data);
  void *on_ended_data;
  unsigned refs; /* the owner, the open handle, each timer and turn */
};

/* Not inlined, since GCC 12 then mistakes a reference that is left for a use after the last. */
__attribute__((noinline)) static void unref(mp_process *self) {
  if (--self->refs == 0)
    free(self);
}

static void poll_closed(uv_handle_t *handle) {
  mp_process *self = (mp_process *)handle;
  if (self->state == ENDED && !self->stuck)
    close(self->pidfd);
  else
    mp_process_let_go_(self->pidfd);
  unref(self);
}

/* -- The end of a process --------------------------------------------------------------------- */

int mp_process_explain_stuck_(const mp_process *process, mp_error *err) {
  if (!process->stuck)
    return 0;
  mp_error_set(err, MP_PROCESS, "stuck", "process %d does not end, not even by SIGKILL",
               (int)process->pid);
  return mp_error_hint(err,
                       "it waits in the kernel, often for a disk or a network file system "
                       "(/proc/%d/stack tells), or its cgroup is frozen",
                       (int)process->pid);
}

static void answer(wait_op *waiter) {
  mp_process *self = waiter->process;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  if (waiter->cancelled || self->closed)
    mp_error_set(&err, MP_PROCESS, MP_CANCELLED, "waiting for process %d was cancelled",
                 (int)self->pid);
  else if (self->stuck)
    mp_process_explain_stuck_(self, &err);
  waiter->cb(waiter->data, err.domain ? NULL : &self->exit, err.domain ? &err : NULL);
  free(waiter);
}

/* Callbacks may add and cancel waiters, so each round takes one from the list as it is then. */
static void answer_waiters(mp_process *self) {
  for (;;) {
    wait_op **link = &self->waiters;
    while (*link && !(*link)->cancelled && self->state != ENDED && !self->closed)
      link = &(*link)->next;
    wait_op *waiter = *link;
    if (waiter == NULL)
      return;
    *link = waiter->next;
    answer(waiter);
  }
}

static void waiters_turn(void *data, bool cancelled) {
  mp_process *self = data;
  (void)cancelled;
  self->delayed = false;
  answer_waiters(self);
  unref(self);
}

static void answer_later(mp_process *self) {
  if (self->delayed)
    return;
  self->delayed = true;
  self->refs++;
  mp_timer_start(self->loop, 0, waiters_turn, self);
}

/* glibc's waitid hides the resource usage that the system call gives. Its peak of memory is not
 * passed on: the kernel counts in what was there before execve, and that was our own. */
static int wait_for(mp_process *self, siginfo_t *info, int options, struct rusage *usage) {
  int rc;
  do
    rc = (int)syscall(SYS_waitid, P_PIDFD, self->pidfd, info, WEXITED | WNOHANG | options, usage);
  while (rc < 0 && errno == EINTR);
  return rc;
}

static uint64_t milliseconds(struct timeval time) {
  return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_usec / 1000;
}

static void record_exit(mp_process *self, const siginfo_t *info) {
  bool exited = info->si_code == CLD_EXITED;
  self->exit.code = exited ? info->si_status : -1;
  self->exit.signal = exited ? 0 : info->si_status;
  self->exit.core_dumped = info->si_code == CLD_DUMPED;
  self->exit.wall_ms = (uv_hrtime() - self->started) / 1000000;
}

/* The callback of a cancelled timer only drops its reference. */
static void stop_timer(mp_op **timer) {
  if (*timer)
    mp_op_cancel(*timer);
  *timer = NULL;
}

/* Safe while the process has not been reaped: a zombie keeps its pid and its group's id. */
static int send_signal(mp_process *self, int number) {
  if (self->lost) {
    errno = ESRCH;
    return -1;
  }
  return kill(self->shared ? self->pid : -self->pid, number);
}

/* No more will be heard of it from here on. */
static void leave(mp_process *self) {
  self->state = ENDED;
  stop_timer(&self->drain_timer);
  stop_timer(&self->kill_timer);
  stop_timer(&self->stuck_timer);
  uv_close((uv_handle_t *)&self->poll, poll_closed);
}

static void reap(mp_process *self) {
  siginfo_t info;
  struct rusage usage = {0};
  if (wait_for(self, &info, 0, &usage) == 0)
    self->exit.cpu_ms = milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime);
  leave(self);
}

static bool is_open(mp_stream *stream) {
  return stream && !mp_stream_hung_up(stream);
}

static void tell_end(mp_process *self) {
  self->refs++;
  if (self->on_ended)
    self->on_ended(self->on_ended_data);
  answer_waiters(self);
  unref(self);
}

static void end(mp_process *self) {
  /* A stop is for all of it: whoever of the group has outlived its leader goes now. */
  if (self->stopping)
    send_signal(self, SIGKILL);
  reap(self);
  if (!self->closed) /* else this may be within mp_process_close, which has seen to who waits */
    tell_end(self);
}

static void end_if_drained(mp_process *self) {
  if (self->state == EXITED && (self->closed || (!is_open(self->out) && !is_open(self->err))))
    end(self);
}

static void output_ended(void *data) {
  end_if_drained(data);
}

static void finish_outputs(mp_process *self) {
  if (self->out)
    mp_stream_finish(self->out);
  if (self->err)
    mp_stream_finish(self->err);
}

static void drain_over(void *data, bool cancelled) {
  mp_process *self = data;
  if (!cancelled) {
    self->drain_timer = NULL;
    finish_outputs(self);
    end(self);
  }
  unref(self);
}

/* Someone else holds an output. Where we have asked all of them to stop, they get the same grace as
 * their leader. */
static void wait_for_outputs(mp_process *self) {
  uint64_t delay = self->drain;
  uint64_t now = mp_loop_now(self->loop);
  if (self->stopping && self->kill_at > now + delay)
    delay = self->kill_at - now;
  if (self->out)
    mp_stream_read_ahead(self->out, READ_AHEAD);
  if (self->err)
    mp_stream_read_ahead(self->err, READ_AHEAD);
  self->refs++;
  self->drain_timer = mp_timer_start(self->loop, delay, drain_over, self);
}

static void on_exit_event(uv_poll_t *poll, int status, int events) {
  mp_process *self = (mp_process *)poll;
  siginfo_t info = {0};
  (void)status;
  (void)events;
  /* Leaves the zombie, and with it the pid and the group's id, until the process has ended. */
  self->lost = wait_for(self, &info, WNOWAIT, NULL) < 0;
  if (!self->lost && info.si_pid == 0)
    return;
  if (self->lost)
    info = (siginfo_t){.si_code = CLD_EXITED, .si_status = -1};
  record_exit(self, &info);
  self->state = EXITED;
  stop_timer(&self->stuck_timer);
  uv_poll_stop(poll);
  self->refs++;
  end_if_drained(self);
  if (self->state == EXITED)
    wait_for_outputs(self);
  unref(self);
}

/* -- Starting --------------------------------------------------------------------------------- */

/* With SIGCHLD ignored, which a parent may have left to us, the kernel throws exit codes away. */
static void heed_children(void) {
  static bool done;
  struct sigaction now;
  if (!done && sigaction(SIGCHLD, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
    signal(SIGCHLD, SIG_DFL);
  done = true;
}

static const char *path_of(const char *const *env) {
  for (; env && *env; env++) {
    if (strncmp(*env, "PATH=", 5) == 0)
      return *env + 5;
  }
  return NULL;
}

static int check_options(const mp_process_options *options, mp_error *err) {
  if (options->argv == NULL || options->argv[0] == NULL || options->argv[0][0] == '\0')
    return mp_error_set(err, MP_PROCESS, MP_INVALID, "no program was named");
  if (options->fd_count > MP_SPAWN_FDS_MAX - 3)
    return mp_error_set(err, MP_PROCESS, MP_INVALID, "more than %d descriptors to pass on",
                        MP_SPAWN_FDS_MAX - 3);
  if (options->pty && options->scope != MP_SPAWN_SESSION)
    return mp_error_set(err, MP_PROCESS, MP_INVALID,
                        "a child with a terminal of its own needs a session of its own");
  for (const char *const *entry = options->env; entry && *entry; entry++) {
    if (**entry == '=' || strchr(*entry, '=') == NULL)
      return mp_error_set(err, MP_PROCESS, MP_INVALID, "an environment variable has no name: `%s`",
                          *entry);
  }
  return 0;
}

static int start_child(const mp_process_options *options, const mp_process_fds *fds, pid_t *pid,
                       int *pidfd, mp_error *err) {
  extern char **environ;
  mp_auto_free char *path = NULL;
  const char *search = options->env ? path_of(options->env) : NULL;
  if (mp_spawn_which(options->argv[0], search, &path, err) < 0)
    return -1;
  int placed[MP_SPAWN_FDS_MAX];
  memcpy(placed, fds->child, sizeof fds->child);
  if (options->fd_count > 0)
    memcpy(placed + 3, options->fds, options->fd_count * sizeof *placed);
  const mp_spawn_plan plan = {
      .path = path,
      .argv = options->argv,
      .env = options->env ? options->env : (const char *const *)environ,
      .cwd = options->cwd,
      .user = options->user,
      .fds = placed,
      .fd_count = 3 + options->fd_count,
      .scope = options->scope,
      .terminal = options->pty,
      .death_signal = options->detached ? 0 : SIGKILL,
      .cgroups = options->cgroups,
      .cgroup_count = options->cgroup_count,
      .netns = options->netns,
      .rlimits = options->rlimits,
      .rlimit_count = options->rlimit_count,
  };
  return mp_spawn(&plan, pid, pidfd, err);
}

static int open_stream(mp_process *self, int *fd, mp_stream_kind kind, mp_stream **stream,
                       mp_error *err) {
  int given = *fd;
  if (given < 0)
    return 0;
  *fd = -1;
  if (mp_stream_open(self->loop, given, kind, stream, err) < 0)
    return -1;
  if (stream != &self->in)
    mp_stream_on_end(*stream, output_ended, self);
  return 0;
}

static int open_streams(mp_process *self, mp_process_fds *fds, mp_error *err) {
  mp_stream_kind kind = fds->pty ? MP_STREAM_TERMINAL : MP_STREAM_PIPE;
  self->pty = fds->pty;
  if (open_stream(self, &fds->ours[0], MP_STREAM_PIPE, &self->in, err) < 0 ||
      open_stream(self, &fds->ours[1], kind, &self->out, err) < 0)
    return -1;
  if (fds->pty)
    self->in = self->out;
  return open_stream(self, &fds->ours[2], MP_STREAM_PIPE, &self->err, err);
}

static void close_streams(mp_process *self) {
  if (!self->pty)
    mp_stream_close(self->in);
  mp_stream_close(self->out);
  mp_stream_close(self->err);
  self->in = self->out = self->err = NULL;
}

int mp_process_spawn(mp_loop *loop, const mp_process_options *options, mp_process **process,
                     mp_error *err) {
  mp_process_fds fds;
  heed_children();
  mp_process_reap_let_go_();
  if (check_options(options, err) < 0 || mp_process_fds_open_(options, &fds, err) < 0)
    return -1;
  mp_process *self = mp_alloc(sizeof *self);
  self->loop = loop;
  self->shared = options->scope == MP_SPAWN_SHARED;
  self->detached = options->detached;
  self->drain = options->drain ? options->drain : MP_PROCESS_DRAIN;
  self->give_up = options->give_up ? options->give_up : MP_PROCESS_GIVE_UP;
  self->started = uv_hrtime();
  int rc = start_child(options, &fds, &self->pid, &self->pidfd, err);
  mp_process_fds_close_(&fds, rc < 0);
  if (rc < 0) {
    free(self);
    return -1;
  }
  self->refs = 2;
  uv_poll_init(&loop->uv, &self->poll, self->pidfd);
  uv_poll_start(&self->poll, UV_READABLE, on_exit_event);
  if (open_streams(self, &fds, err) < 0) {
    mp_process_fds_close_(&fds, true);
    self->detached = false;
    mp_process_close(self);
    return -1;
  }
  *process = self;
  return 0;
}

/* -- The rest of the interface ---------------------------------------------------------------- */

pid_t mp_process_pid(const mp_process *process) {
  return process->pid;
}

mp_stream *mp_process_in(const mp_process *process) {
  return process->in;
}

mp_stream *mp_process_out(const mp_process *process) {
  return process->out;
}

mp_stream *mp_process_err(const mp_process *process) {
  return process->err;
}

const mp_process_exit *mp_process_exited(const mp_process *process) {
  return process->state == RUNNING ? NULL : &process->exit;
}

void mp_process_on_ended_(mp_process *process, void (*on_ended)(void *data), void *data) {
  process->on_ended = on_ended;
  process->on_ended_data = data;
}

static void cancel_wait(mp_op *op) {
  wait_op *waiter = (wait_op *)op;
  waiter->cancelled = true;
  answer_later(waiter->process);
}

int mp_process_wait(mp_process *process, size_t keep, mp_process_wait_cb cb, void *data, mp_op **op,
                    mp_error *err) {
  (void)err;
  wait_op *waiter = mp_alloc(sizeof *waiter);
  waiter->op.cancel = cancel_wait;
  waiter->process = process;
  waiter->cb = cb;
  waiter->data = data;
  waiter->next = process->waiters;
  process->waiters = waiter;
  if (process->out)
    mp_stream_absorb(process->out, keep ? keep : 1);
  if (process->err)
    mp_stream_absorb(process->err, keep ? keep : 1);
  if (process->state == ENDED)
    answer_later(process);
  *op = &waiter->op;
  return 0;
}

int mp_process_signal(mp_process *process, int number, mp_error *err) {
  if (process->state == ENDED || send_signal(process, number) < 0) {
    int errnum = process->state == ENDED ? ESRCH : errno;
    return mp_error_errno(err, MP_PROCESS, errnum, "could not signal process %d",
                          (int)process->pid);
  }
  return 0;
}

/* Whatever waits for it must not wait with it: a process can be beyond SIGKILL as long as a disk or
 * a file server does not answer, or its cgroup is frozen. */
static void stuck_for_long(void *data, bool cancelled) {
  mp_process *self = data;
  if (!cancelled && self->state == RUNNING) {
    self->stuck_timer = NULL;
    self->stuck = true;
    self->exit = (mp_process_exit){.code = -1, .wall_ms = (uv_hrtime() - self->started) / 1000000};
    finish_outputs(self);
    leave(self);
    tell_end(self);
  }
  unref(self);
}

static void kill_for_good(mp_process *self) {
  send_signal(self, SIGKILL);
  if (self->state != RUNNING || self->stuck_timer)
    return;
  self->refs++;
  self->stuck_timer = mp_timer_start(self->loop, self->give_up, stuck_for_long, self);
}

static void grace_over(void *data, bool cancelled) {
  mp_process *self = data;
  if (!cancelled) {
    self->kill_timer = NULL;
    kill_for_good(self);
  }
  unref(self);
}

void mp_process_stop(mp_process *process, uint64_t grace) {
  if (process->state == ENDED)
    return;
  uint64_t kill_at = mp_loop_now(process->loop) + grace;
  if (process->stopping && kill_at >= process->kill_at)
    return;
  if (!process->stopping) {
    send_signal(process, SIGTERM);
    send_signal(process, SIGCONT);
  }
  stop_timer(&process->kill_timer);
  process->stopping = true;
  process->kill_at = kill_at;
  process->refs++;
  process->kill_timer = mp_timer_start(process->loop, grace, grace_over, process);
}

int mp_process_resize(mp_process *process, unsigned short rows, unsigned short columns,
                      mp_error *err) {
  if (!process->pty || process->out == NULL)
    return mp_error_set(err, MP_PROCESS, MP_INVALID, "process %d has no terminal of ours",
                        (int)process->pid);
  if (mp_process_resize_fd_(mp_stream_fd(process->out), rows, columns) < 0)
    return mp_error_errno(err, MP_PROCESS, errno, "could not resize the terminal");
  return 0;
}

void mp_process_close(mp_process *process) {
  if (process == NULL)
    return;
  process->closed = true;
  process->on_ended = NULL;
  close_streams(process);
  if (process->waiters)
    answer_later(process);
  stop_timer(&process->kill_timer);
  if (process->state != ENDED && !process->detached)
    kill_for_good(process);
  if (process->state == EXITED)
    end(process);
  else if (process->state == RUNNING && process->detached)
    uv_close((uv_handle_t *)&process->poll, poll_closed);
  unref(process);
}
