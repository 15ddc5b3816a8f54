/* The supervisor's set-up, its records, and the reaping of processes. */
#include "supervise.h"

#include "cgroup.h"
#include "clock.h"
#include "shim.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  NOTES_MAX_SIZE = 64 * 1024,
  NOTES_MAX_FILES = 2,
  SAVE_WAIT_FIRST_MS = 250,
  SAVE_WAIT_MAX_MS = 30000,
  FLUSH_MS = 1000, /* for clients to take their last answer */
};

/* ---- The record. */

void mp_shim_refresh(mp_shim_supervisor *sup) {
  sup->state.log_dropped_bytes = sup->log.dropped_bytes;
  sup->state.log_dropped_lines = sup->log.dropped_lines;
  sup->state.has_copy = sup->copy.source.fd >= 0;
  sup->state.copy_dropped_bytes = sup->copy.dropped_bytes;
  sup->state.copy_dropped_lines = sup->copy.dropped_lines;
}

/* Where the directory was removed there is no record to keep, and nothing to wait for. */
static void save(mp_shim_supervisor *sup) {
  mp_shim_refresh(sup);
  if (mp_shim_state_save(&sup->state, sup->options.dir) == 0 || errno == ENOENT) {
    sup->unsaved = false;
    sup->save.at = 0;
    sup->save_wait_ms = SAVE_WAIT_FIRST_MS;
    return;
  }
  if (!sup->unsaved)
    mp_shim_log_note(&sup->notes, "could not write state.json: %s; trying again", strerror(errno));
  sup->unsaved = true;
  sup->save.at = mp_shim_now_ms() + sup->save_wait_ms;
  if (sup->save_wait_ms < SAVE_WAIT_MAX_MS)
    sup->save_wait_ms *= 2;
}

static void on_save(mp_shim_timer *timer) {
  mp_shim_supervisor *sup = timer->owner;
  if (sup->untold)
    mp_shim_publish(sup);
  else
    save(sup);
}

void mp_shim_publish(mp_shim_supervisor *sup) {
  sup->untold = false;
  sup->state.changed_at = mp_shim_wall_time();
  save(sup);
  mp_shim_announce(sup);
}

void mp_shim_set_status(mp_shim_supervisor *sup, mp_shim_status status) {
  sup->state.status = status;
  mp_shim_publish(sup);
}

/* ---- The file that the service keeps writing. */

static void bound(mp_shim_supervisor *sup) {
  if (mp_shim_bounded_look(&sup->bounded) == 0 || sup->unbounded)
    return;
  sup->unbounded = true;
  mp_shim_log_note(&sup->notes, "could not make `%.200s` smaller, which grows: %s",
                   sup->spec->bounded_file, strerror(errno));
}

/* ---- Leaving. */

/* Gives the directory and the socket free for another shim: not before the last record is written.
 */
static void let_go_of_directory(mp_shim_supervisor *sup) {
  mp_shim_readiness_close(sup);
  mp_shim_control_stop_listening(&sup->control);
  if (sup->options.lock_fd >= 0)
    close(sup->options.lock_fd);
  sup->options.lock_fd = -1;
}

void mp_shim_leave(mp_shim_supervisor *sup) {
  sup->leaving = true;
  bound(sup); /* what was written last */
  if (!sup->unsaved)
    let_go_of_directory(sup);
}

static void on_flush(mp_shim_timer *timer) {
  mp_shim_supervisor *sup = timer->owner;
  sup->flushed = true;
}

static bool may_go(mp_shim_supervisor *sup) {
  if (!sup->leaving || (sup->unsaved && !sup->force))
    return false;
  let_go_of_directory(sup);
  if (!mp_shim_control_pending(&sup->control) || sup->flushed)
    return true;
  if (sup->flush.at == 0)
    sup->flush.at = mp_shim_now_ms() + FLUSH_MS;
  return false;
}

/* ---- Signals to the shim. */

static void reap(mp_shim_supervisor *sup) {
  int status;
  struct rusage usage;
  pid_t pid;
  while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
    if (mp_shim_sessions_reaped(&sup->sessions, pid, status))
      continue;
    if (usage.ru_maxrss > sup->peak_rss_kib)
      sup->peak_rss_kib = usage.ru_maxrss;
    if (pid == sup->service.pid && sup->phase == MP_SHIM_UP)
      mp_shim_main_ended(sup, status);
  }
  if (sup->phase == MP_SHIM_CLEARING)
    mp_shim_clear(sup);
}

static void terminate(mp_shim_supervisor *sup, int signal) {
  bool again = sup->terminating;
  sup->terminating = true;
  mp_shim_log_note(&sup->notes, "the shim got SIG%s", signal == SIGINT ? "INT" : "TERM");
  if (sup->leaving)
    sup->force = true;
  else
    mp_shim_ask_to_end(sup, MP_SHIM_GOAL_TERMINATE, sup->spec->stop_signal,
                       again ? 0 : sup->spec->stop_grace_ms);
}

static void on_signal(mp_shim_source *source, uint32_t events) {
  mp_shim_supervisor *sup = source->owner;
  struct signalfd_siginfo info;
  (void)events;
  while (read(source->fd, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD)
      reap(sup);
    else if (info.ssi_signo == SIGIO)
      bound(sup);
    else
      terminate(sup, (int)info.ssi_signo);
  }
}

/* Blocks everything but what a fault raises: a write to a closed pipe or past a file size limit is
 * then an error like others, and the ones meant for us come through the signalfd. */
static int watch_signals(mp_shim_supervisor *sup, mp_shim_error *err) {
  sigset_t blocked, wanted;
  mp_shim_reset_signals();
  sigfillset(&blocked);
  const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    sigdelset(&blocked, faults[i]);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  sigaddset(&wanted, SIGTERM);
  sigaddset(&wanted, SIGINT);
  sigaddset(&wanted, SIGIO);
  int fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  sup->signals = (mp_shim_source){.fd = fd, .on_ready = on_signal, .owner = sup};
  if (fd < 0 || mp_shim_loop_add(&sup->loop, &sup->signals, EPOLLIN) < 0)
    return mp_shim_fail_errno(err, errno, "could not wait for signals");
  return 0;
}

/* ---- Set-up. */

/* The environment of the service is in this memory, and may be secret: no core dump. A limit of 1
 * byte also keeps it from a handler in core_pattern, which 0 does not. */
static void forbid_core_dump(mp_shim_supervisor *sup) {
  getrlimit(RLIMIT_CORE, &sup->core);
  struct rlimit none = {.rlim_cur = sup->core.rlim_max < 1 ? 0 : 1, .rlim_max = sup->core.rlim_max};
  setrlimit(RLIMIT_CORE, &none);
}

/* Killing goes by cgroup: one that holds others' processes, or the shim, is not the service's. */
static int check_cgroups(const mp_shim_spec *spec, mp_shim_error *err) {
  for (size_t i = 0; i < spec->cgroup_count; i++) {
    if (access(spec->cgroups[i], F_OK) < 0)
      return mp_shim_fail_errno(err, errno, "cgroup `%.200s`", spec->cgroups[i]);
    size_t members = mp_shim_cgroup_members(spec->cgroups[i]);
    if (members > 0)
      return mp_shim_fail(err, "EBUSY", "the cgroup `%.200s` holds %zu processes already",
                          spec->cgroups[i], members);
  }
  return 0;
}

static void identify(mp_shim_supervisor *sup) {
  mp_shim_state *state = &sup->state;
  state->name = sup->spec->name;
  state->id = sup->spec->id;
  state->wanted = true;
  state->shim_pid = getpid();
  state->shim_start_time = mp_shim_proc_start_time(getpid());
  mp_shim_boot_id(state->boot_id);
}

static void init_timers(mp_shim_supervisor *sup) {
  sup->save = (mp_shim_timer){.on_due = on_save, .owner = sup};
  sup->flush = (mp_shim_timer){.on_due = on_flush, .owner = sup};
  sup->save_wait_ms = SAVE_WAIT_FIRST_MS;
  mp_shim_loop_add_timer(&sup->loop, &sup->save);
  mp_shim_loop_add_timer(&sup->loop, &sup->flush);
}

static int open_logs(mp_shim_supervisor *sup, mp_shim_error *err) {
  const mp_shim_spec *spec = sup->spec;
  int dir = sup->options.dir;
  if (mp_shim_log_open(&sup->log, dir, "log", spec->log_max_size, spec->log_max_files, err) < 0 ||
      mp_shim_log_open(&sup->notes, dir, "shim.log", NOTES_MAX_SIZE, NOTES_MAX_FILES, err) < 0)
    return -1;
  sup->streams[0] = (mp_shim_stream){.name = "stdout", .held = sup->held[0]};
  sup->streams[1] = (mp_shim_stream){.name = "stderr", .held = sup->held[1]};
  return 0;
}

static int open_control(mp_shim_supervisor *sup, mp_shim_error *err) {
  sup->control.greeting = MP_SHIM_GREETING;
  sup->control.on_line = mp_shim_on_request;
  sup->control.on_gone = mp_shim_session_gone;
  sup->control.on_drained = mp_shim_session_drained;
  sup->control.owner = sup;
  if (sup->options.socket_path)
    return mp_shim_control_listen(&sup->control, sup->options.socket_path, err);
  if (sup->options.socket_fd >= 0)
    return mp_shim_control_adopt(&sup->control, sup->options.socket_fd, err);
  sup->control.listener.fd = -1;
  if (sup->options.agent) {
    sup->channels.control = &sup->control;
    sup->channels.output = &sup->copy;
    sup->copy.loop = &sup->loop;
    sup->log.copy = &sup->copy;
    sup->ready_told = true; /* nobody waits, and the policy applies from the first start on */
    mp_shim_channels_open(&sup->channels);
  }
  return 0;
}

static int open_bounded(mp_shim_supervisor *sup, mp_shim_error *err) {
  const char *path = sup->spec->bounded_file;
  return path ? mp_shim_bounded_open(&sup->bounded, path, err) : 0;
}

static int set_up(mp_shim_supervisor *sup, mp_shim_error *err) {
  forbid_core_dump(sup);
  identify(sup);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
    return mp_shim_fail_errno(err, errno, "could not become subreaper");
  if (mp_shim_loop_open(&sup->loop, err) < 0 || watch_signals(sup, err) < 0)
    return -1;
  init_timers(sup);
  mp_shim_life_init(sup);
  sup->sessions.loop = &sup->loop;
  sup->sessions.service = sup->spec;
  sup->sessions.core = &sup->core;
  mp_shim_sessions_init(&sup->sessions);
  sup->network.control = &sup->control;
  sup->network.waits_for = MP_SHIM_FOR_NETWORK;
  sup->control.loop = &sup->loop;
  mp_shim_network_init(&sup->network);
  if (check_cgroups(sup->spec, err) < 0 || open_logs(sup, err) < 0 || open_bounded(sup, err) < 0 ||
      mp_shim_readiness_open(sup, err) < 0 || open_control(sup, err) < 0)
    return -1;
  return 0;
}

static void tear_down(mp_shim_supervisor *sup) {
  let_go_of_directory(sup);
  mp_shim_bounded_close(&sup->bounded);
  mp_shim_output_flush(&sup->copy);
  mp_shim_output_close(&sup->copy);
  mp_shim_channels_close(&sup->channels);
  mp_shim_network_close(&sup->network);
  mp_shim_control_close(&sup->control);
  mp_shim_log_close(&sup->log);
  mp_shim_log_close(&sup->notes);
  if (sup->signals.fd >= 0)
    close(sup->signals.fd);
  mp_shim_loop_close(&sup->loop);
}

int mp_shim_supervise(const mp_shim_supervise_options *options) {
  static mp_shim_supervisor supervisor; /* zero, and mostly never touched: most of it is buffers */
  mp_shim_supervisor *sup = &supervisor;
  mp_shim_error err;
  sup->options = *options;
  sup->spec = options->spec;
  sup->loop.epoll = -1;
  sup->signals.fd = sup->control.listener.fd = sup->log.fd = sup->notes.fd = sup->notify.fd = -1;
  sup->copy.source.fd = sup->channels.uevents.fd = sup->network.changes.fd = -1;
  sup->bounded.fd = sup->bounded.dir = -1;
  sup->service = MP_SHIM_SERVICE_NONE;
  if (set_up(sup, &err) < 0) {
    options->on_ready(options->context, 0, &err);
    tear_down(sup);
    return -1;
  }
  mp_shim_begin(sup);
  for (;;) {
    mp_shim_deliver(sup);
    mp_shim_control_sweep(&sup->control);
    if (may_go(sup))
      break;
    mp_shim_loop_turn(&sup->loop);
  }
  tear_down(sup);
  return sup->never_ran ? -1 : 0;
}
