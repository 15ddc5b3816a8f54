/* Starts and ends: the state machine of a run. */
#include "supervise.h"

#include "cgroup.h"
#include "clock.h"
#include "signals.h"
#include "tree.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  LOOK_WAIT_FIRST_MS = 10,
  LOOK_WAIT_MAX_MS = 1000,
  KILL_PATIENCE_MS = 10000, /* after SIGKILL, for what the kernel does not let die */
  PUMPS_PER_EVENT = 8, /* so that a service that never stops talking leaves time for the rest */
  PUMPS_AT_END = 128,  /* more than the largest pipe of who may not raise its limit, 1 MiB */
};

/* ---- Memory: what the cgroup knew before the run, and knows after it. */

static void measure_from_here(mp_shim_supervisor *sup) {
  if (sup->peak_fd >= 0)
    close(sup->peak_fd);
  sup->peak_fd = -1;
  sup->knows_oom = false;
  sup->peak_rss_kib = 0;
  for (size_t i = 0; i < sup->spec->cgroup_count; i++) {
    if (!sup->knows_oom)
      sup->knows_oom = mp_shim_cgroup_oom_kills(sup->spec->cgroups[i], &sup->oom_before);
    if (sup->peak_fd < 0)
      sup->peak_fd = mp_shim_cgroup_peak_reset(sup->spec->cgroups[i]);
  }
}

static void measure(mp_shim_supervisor *sup) {
  mp_shim_exit *exit = &sup->state.exit;
  uint64_t oom_now;
  exit->oom = -1;
  exit->has_peak = false;
  for (size_t i = 0; i < sup->spec->cgroup_count; i++) {
    const char *path = sup->spec->cgroups[i];
    if (sup->knows_oom && exit->oom < 0 && mp_shim_cgroup_oom_kills(path, &oom_now))
      exit->oom = oom_now > sup->oom_before;
    if (!exit->has_peak)
      exit->has_peak = mp_shim_cgroup_peak(path, sup->peak_fd, &exit->peak_memory);
  }
  if (!exit->has_peak && sup->peak_rss_kib > 0) {
    exit->has_peak = true;
    exit->peak_memory = (uint64_t)sup->peak_rss_kib * 1024;
  }
}

/* ---- The end of a run, and of all runs. */

static void end_for_good(mp_shim_supervisor *sup, mp_shim_status status, const char *why) {
  sup->phase = MP_SHIM_IDLE;
  sup->start.at = 0;
  sup->state.end = why;
  sup->state.next_start_at = (struct timespec){0};
  mp_shim_log_note(&sup->notes, "%s: %s", mp_shim_status_name(status), why);
  bool leave = !sup->options.stay || sup->never_ran || sup->goal == MP_SHIM_GOAL_TERMINATE;
  mp_shim_set_status(sup, status);
  if (leave) /* before the answer: who gets it may start another shim in this directory at once */
    mp_shim_leave(sup);
  sup->due_ended = true;
}

static void ask_policy(mp_shim_supervisor *sup) {
  const mp_shim_exit *exit = &sup->state.exit;
  bool succeeded = !sup->start_failed && exit->code == 0;
  int64_t delay_ms = 0;
  switch (mp_shim_decide(&sup->backoff, sup->spec, succeeded, sup->ended_ms - sup->began_ms,
                         &delay_ms)) {
  case MP_SHIM_END:
    end_for_good(sup, succeeded ? MP_SHIM_EXITED : MP_SHIM_FAILED,
                 sup->start_failed ? "start-failed" : "exit");
    return;
  case MP_SHIM_GIVE_UP:
    end_for_good(sup, MP_SHIM_FAILED, "gave-up");
    return;
  case MP_SHIM_RESTART:
    break;
  }
  struct timespec next = mp_shim_wall_time();
  next.tv_nsec += (long)(delay_ms % 1000) * 1000000;
  next.tv_sec += delay_ms / 1000 + next.tv_nsec / 1000000000;
  next.tv_nsec %= 1000000000;
  sup->phase = MP_SHIM_IDLE;
  sup->state.next_start_at = next;
  sup->start.at = mp_shim_now_ms() + delay_ms;
  mp_shim_log_note(&sup->notes, "restart %d in a row, in %lld ms", sup->backoff.in_a_row,
                   (long long)delay_ms);
  mp_shim_set_status(sup, MP_SHIM_BACKOFF);
}

static void after_run(mp_shim_supervisor *sup) {
  bool never_ready = sup->start_failed && !sup->ready_told;
  sup->phase = MP_SHIM_IDLE;
  sup->state.pid = 0;
  sup->due_start_failed |= sup->start_failed;
  sup->never_ran = sup->force = never_ready;
  if (sup->goal == MP_SHIM_GOAL_STOP)
    end_for_good(sup, MP_SHIM_EXITED, "stopped");
  else if (sup->goal == MP_SHIM_GOAL_TERMINATE)
    end_for_good(sup, MP_SHIM_EXITED, "terminated");
  else if (never_ready) /* whoever started it is told, and can do what the policy cannot */
    end_for_good(sup, MP_SHIM_FAILED, "start-failed");
  else if (sup->goal == MP_SHIM_GOAL_RESTART && !sup->start_failed)
    mp_shim_begin(sup);
  else
    ask_policy(sup);
  if (never_ready) { /* now that the record can be read and the directory is free */
    sup->ready_told = true;
    sup->options.on_ready(sup->options.context, 0, &sup->state.error);
  }
}

static void close_output(mp_shim_supervisor *sup, int which) {
  mp_shim_source *source = &sup->output[which];
  if (source->fd < 0)
    return;
  mp_shim_loop_remove(&sup->loop, source);
  close(source->fd);
  source->fd = sup->service.output[which] = -1;
  mp_shim_log_end(&sup->log, &sup->streams[which]);
}

static void note_end(mp_shim_supervisor *sup) {
  const mp_shim_exit *exit = &sup->state.exit;
  const char *oom = exit->oom == 1 ? ", out of memory" : "";
  if (exit->signal)
    mp_shim_log_note(&sup->notes, "process %d was ended by SIG%s%s", (int)sup->service.pid,
                     mp_shim_signal_name(exit->signal), oom);
  else
    mp_shim_log_note(&sup->notes, "process %d exited with code %d%s", (int)sup->service.pid,
                     exit->code, oom);
}

static void finish_run(mp_shim_supervisor *sup) {
  sup->ladder.at = sup->look.at = sup->drain.at = 0;
  close_output(sup, 0);
  close_output(sup, 1);
  measure(sup); /* again, for what the rest did */
  note_end(sup);
  mp_shim_service_close(&sup->service);
  after_run(sup);
}

/* ---- Clearing away what the main process left: its other processes, then its output. */

/* At most `rounds` reads. False when the stream is at its end, or was already. */
static bool pump(mp_shim_supervisor *sup, int which, int rounds) {
  mp_shim_source *source = &sup->output[which];
  ssize_t got = 1;
  if (source->fd < 0)
    return false;
  while (rounds-- > 0 && got > 0)
    got = mp_shim_log_pump(&sup->log, &sup->streams[which], source->fd);
  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
    return true;
  close_output(sup, which);
  return false;
}

static void finish_output(mp_shim_supervisor *sup) {
  sup->ladder.at = sup->look.at = 0;
  /* A pipe holds what was written before its last writer ended: take it all now. Nobody of the
   * service is left to add to it. */
  bool open_out = pump(sup, 0, PUMPS_AT_END);
  bool open_err = pump(sup, 1, PUMPS_AT_END);
  if (!open_out && !open_err)
    finish_run(sup);
  else if (sup->drain.at == 0)
    sup->drain.at = mp_shim_now_ms() + sup->spec->drain_ms;
}

/* Children announce their end; members of the cgroup that are not ours do not, so look again, ever
 * less often, until `until`. */
static void look_again(mp_shim_supervisor *sup, int64_t until) {
  int64_t at = mp_shim_now_ms() + sup->look_wait_ms;
  sup->look.at = at < until ? at : until;
  if (sup->look_wait_ms < LOOK_WAIT_MAX_MS)
    sup->look_wait_ms *= 2;
}

static void kill_rest(mp_shim_supervisor *sup) {
  int64_t now = mp_shim_now_ms();
  sup->ladder.at = 0;
  if (!sup->killing || sup->kill_until == 0) {
    sup->killing = true;
    sup->look_wait_ms = LOOK_WAIT_FIRST_MS;
    sup->kill_until = now + KILL_PATIENCE_MS;
  }
  size_t left = mp_shim_tree_signal(sup->spec, SIGKILL);
  if (left > 0 && now < sup->kill_until) {
    look_again(sup, sup->kill_until);
    return;
  }
  if (left > 0)
    mp_shim_log_note(&sup->notes, "%zu processes do not die after SIGKILL; going on without them",
                     left);
  finish_output(sup);
}

static void ask_rest(mp_shim_supervisor *sup, size_t left) {
  int64_t now = mp_shim_now_ms();
  sup->asked_rest = true;
  if (sup->ladder.at == 0)
    sup->ladder.at = now + sup->spec->stop_grace_ms;
  if (sup->ladder.at <= now) {
    kill_rest(sup);
    return;
  }
  mp_shim_log_note(&sup->notes, "it left processes behind (%zu): SIG%s to them, SIGKILL in %lld ms",
                   left, mp_shim_signal_name(sup->spec->stop_signal),
                   (long long)(sup->ladder.at - now));
  mp_shim_tree_signal(sup->spec, sup->spec->stop_signal);
  mp_shim_tree_signal(sup->spec, SIGCONT); /* a stopped process cannot hear it */
  sup->look_wait_ms = LOOK_WAIT_FIRST_MS;
  look_again(sup, sup->ladder.at);
  mp_shim_set_status(sup, MP_SHIM_STOPPING);
}

void mp_shim_clear(mp_shim_supervisor *sup) {
  if (sup->killing) {
    kill_rest(sup);
    return;
  }
  size_t left = mp_shim_tree_count(sup->spec);
  if (left == 0)
    finish_output(sup);
  else if (!sup->asked_rest)
    ask_rest(sup, left);
}

static void on_look(mp_shim_timer *timer) {
  mp_shim_supervisor *sup = timer->owner;
  if (sup->phase != MP_SHIM_CLEARING)
    return;
  if (!sup->killing)
    look_again(sup, sup->ladder.at);
  mp_shim_clear(sup);
}

static void on_drain(mp_shim_timer *timer) {
  mp_shim_supervisor *sup = timer->owner;
  mp_shim_log_note(&sup->notes, "closing its output: a process that is not its own holds it open");
  finish_run(sup);
}

static void on_output(mp_shim_source *source, uint32_t events) {
  mp_shim_supervisor *sup = source->owner;
  int which = source == &sup->output[1];
  (void)events;
  bool open = pump(sup, which, PUMPS_PER_EVENT);
  if (sup->log.dropped_bytes != sup->state.log_dropped_bytes && sup->save.at == 0)
    sup->save.at = mp_shim_now_ms() + 1000; /* record the loss, without a write for each line */
  if (!open && sup->phase == MP_SHIM_CLEARING && sup->drain.at > 0)
    finish_output(sup);
}

/* ---- The ladder. */

static void kill_all(mp_shim_supervisor *sup) {
  sup->killing = true;
  mp_shim_log_note(&sup->notes, "SIGKILL to process %d and all that belong to it",
                   (int)sup->service.pid);
  mp_shim_tree_signal(sup->spec, SIGKILL);
  /* Not waited for, so the number is still that of its group. */
  kill(-sup->service.pid, SIGKILL);
  mp_shim_service_signal(&sup->service, SIGKILL);
  sup->ladder.at = mp_shim_now_ms() + KILL_PATIENCE_MS;
}

static void on_ladder(mp_shim_timer *timer) {
  mp_shim_supervisor *sup = timer->owner;
  if (sup->phase == MP_SHIM_CLEARING) {
    if (!sup->killing)
      mp_shim_log_note(&sup->notes, "the grace is over: SIGKILL to what it left");
    kill_rest(sup);
  } else if (sup->phase == MP_SHIM_UP && !sup->killing) {
    kill_all(sup);
  } else if (sup->phase == MP_SHIM_UP) {
    mp_shim_log_note(&sup->notes,
                     "process %d has not ended %d s after SIGKILL: it waits in the kernel "
                     "(a stuck disk or network file system?)",
                     (int)sup->service.pid, KILL_PATIENCE_MS / 1000);
  }
}

static void first_rung(mp_shim_supervisor *sup, int signal, int64_t grace_ms) {
  int64_t at = mp_shim_now_ms() + grace_ms;
  bool shorter = sup->ladder.at == 0 || at < sup->ladder.at;
  if (sup->killing)
    return;
  if (shorter)
    sup->ladder.at = at;
  if (grace_ms == 0) {
    sup->ladder.at = 0;
    kill_all(sup);
    return;
  }
  mp_shim_log_note(&sup->notes, "SIG%s to process %d, SIGKILL in %lld ms",
                   mp_shim_signal_name(signal), (int)sup->service.pid,
                   (long long)(sup->ladder.at - mp_shim_now_ms()));
  if (mp_shim_service_signal(&sup->service, signal) == 0)
    mp_shim_service_signal(&sup->service, SIGCONT); /* a stopped process cannot hear it */
}

void mp_shim_ask_to_end(mp_shim_supervisor *sup, mp_shim_goal goal, int signal, int64_t grace_ms) {
  sup->goal = goal;
  if (goal == MP_SHIM_GOAL_RESTART)
    sup->backoff.in_a_row = 0;
  if (sup->phase == MP_SHIM_IDLE) {
    if (goal == MP_SHIM_GOAL_RESTART)
      mp_shim_begin(sup);
    else if (!mp_shim_state_ended(&sup->state))
      end_for_good(sup, MP_SHIM_EXITED, goal == MP_SHIM_GOAL_STOP ? "stopped" : "terminated");
    else if (goal == MP_SHIM_GOAL_TERMINATE)
      mp_shim_leave(sup);
    return;
  }
  if (sup->phase == MP_SHIM_UP) {
    first_rung(sup, signal, grace_ms);
  } else if (sup->ladder.at > mp_shim_now_ms() + grace_ms && !sup->killing) {
    sup->ladder.at = mp_shim_now_ms() + grace_ms;
  }
  mp_shim_set_status(sup, MP_SHIM_STOPPING);
}

/* ---- The beginning of a run. */

static void started(mp_shim_supervisor *sup) {
  sup->state.has_error = false;
  mp_shim_log_note(&sup->notes, "process %d runs", (int)sup->service.pid);
  if (sup->state.status == MP_SHIM_STARTING)
    mp_shim_set_status(sup, MP_SHIM_RUNNING);
  sup->due_started = true;
  if (!sup->ready_told) {
    sup->ready_told = true;
    sup->options.on_ready(sup->options.context, sup->service.pid, NULL);
  }
}

static void could_not_start(mp_shim_supervisor *sup, const mp_shim_error *err) {
  sup->start_failed = true;
  sup->state.has_error = true;
  sup->state.error = *err;
  mp_shim_log_note(&sup->notes, "start failed: %s", err->message);
}

void mp_shim_look_at_exec(mp_shim_supervisor *sup) {
  mp_shim_error err;
  if (sup->exec.fd < 0)
    return;
  mp_shim_loop_remove(&sup->loop, &sup->exec);
  int known = mp_shim_service_executed(&sup->service, sup->spec, &err);
  if (known == 0) {
    mp_shim_loop_add(&sup->loop, &sup->exec, EPOLLIN);
    return;
  }
  sup->exec.fd = -1;
  if (known > 0)
    started(sup);
  else
    could_not_start(sup, &err);
}

static void on_exec(mp_shim_source *source, uint32_t events) {
  (void)events;
  mp_shim_look_at_exec(source->owner);
}

static void watch_run(mp_shim_supervisor *sup) {
  for (int i = 0; i < 2; i++) {
    sup->output[i] =
        (mp_shim_source){.fd = sup->service.output[i], .on_ready = on_output, .owner = sup};
    mp_shim_loop_add(&sup->loop, &sup->output[i], EPOLLIN);
  }
  sup->exec = (mp_shim_source){.fd = sup->service.exec_fd, .on_ready = on_exec, .owner = sup};
  mp_shim_loop_add(&sup->loop, &sup->exec, EPOLLIN);
}

void mp_shim_begin(mp_shim_supervisor *sup) {
  mp_shim_error err;
  sup->start.at = 0;
  sup->start_failed = sup->killing = sup->asked_rest = false;
  sup->kill_until = 0;
  sup->goal = MP_SHIM_GOAL_POLICY;
  sup->state.end = NULL;
  mp_shim_readiness_begin(sup);
  sup->state.started_at = mp_shim_wall_time();
  sup->state.next_start_at = (struct timespec){0};
  sup->began_ms = sup->ended_ms = mp_shim_now_ms();
  measure_from_here(sup);
  if (mp_shim_service_start(&sup->service, sup->spec, &sup->core, &err) < 0) {
    could_not_start(sup, &err);
    after_run(sup);
    return;
  }
  sup->phase = MP_SHIM_UP;
  sup->state.pid = sup->service.pid;
  sup->state.pid_start_time = sup->service.start_time;
  watch_run(sup);
  mp_shim_set_status(sup, MP_SHIM_STARTING);
}

void mp_shim_main_ended(mp_shim_supervisor *sup, int status) {
  mp_shim_look_at_exec(sup); /* the end of the process can be heard of before the end of its pipe */
  sup->ended_ms = mp_shim_now_ms();
  sup->state.has_exit = true;
  sup->state.exit = (mp_shim_exit){
      .code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
      .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
      .oom = -1,
      .started_at = sup->state.started_at,
      .at = mp_shim_wall_time(),
  };
  measure(sup);
  if (sup->killing)
    sup->kill_until = 0; /* the patience for the rest begins now */
  sup->state.pid = 0;
  sup->state.ready = false;
  sup->phase = MP_SHIM_CLEARING;
}

static void on_start(mp_shim_timer *timer) {
  mp_shim_supervisor *sup = timer->owner;
  sup->state.restarts++;
  mp_shim_begin(sup);
}

void mp_shim_life_init(mp_shim_supervisor *sup) {
  sup->ladder = (mp_shim_timer){.on_due = on_ladder, .owner = sup};
  sup->drain = (mp_shim_timer){.on_due = on_drain, .owner = sup};
  sup->start = (mp_shim_timer){.on_due = on_start, .owner = sup};
  sup->look = (mp_shim_timer){.on_due = on_look, .owner = sup};
  mp_shim_loop_add_timer(&sup->loop, &sup->look);
  mp_shim_loop_add_timer(&sup->loop, &sup->ladder);
  mp_shim_loop_add_timer(&sup->loop, &sup->drain);
  mp_shim_loop_add_timer(&sup->loop, &sup->start);
  sup->service = MP_SHIM_SERVICE_NONE;
  sup->output[0].fd = sup->output[1].fd = sup->exec.fd = -1;
  sup->peak_fd = -1;
}
