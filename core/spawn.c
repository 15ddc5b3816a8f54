#include "spawn.h"

#include "fd_limit.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <paths.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DOMAIN "process"
#define STACK_SIZE (64 * 1024)

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* What the child was doing when it failed. */
typedef enum {
  STAGE_SESSION,
  STAGE_CGROUP,
  STAGE_NETNS,
  STAGE_FDS,
  STAGE_TERMINAL,
  STAGE_RLIMIT,
  STAGE_USER,
  STAGE_CWD,
  STAGE_PARENT,
  STAGE_EXEC,
} stage;

/* Lives at the low end of the child's stack, which is shared in both ways of starting. */
typedef struct {
  const mp_spawn_plan *plan;
  const struct rlimit *files; /* the limit on open files that we were started with, or NULL */
  pid_t parent;
  stage stage;
  int errnum;
} child;

/* The functions of the child run in our memory, on a stack that the sanitizers know nothing of. */
#define IN_CHILD __attribute__((no_sanitize("address", "undefined")))

/* A signal handler of ours must not run in the child: it would touch the loop's state. Ignored
 * signals would outlive execve, and few programs expect to find SIGPIPE ignored. */
IN_CHILD static void reset_signals(void) {
  struct sigaction deflt = {.sa_handler = SIG_DFL};
  for (int number = 1; number < NSIG; number++)
    sigaction(number, &deflt, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

IN_CHILD static int enter_scope(const mp_spawn_plan *plan) {
  if (plan->scope == MP_SPAWN_SESSION)
    return setsid() < 0 ? -1 : 0;
  return plan->scope == MP_SPAWN_GROUP ? setpgid(0, 0) : 0;
}

IN_CHILD static int enter_cgroups(const mp_spawn_plan *plan) {
  for (size_t i = 0; i < plan->cgroup_count; i++) {
    if (write(plan->cgroups[i], "0", 1) != 1)
      return -1;
  }
  return 0;
}

/* Puts each descriptor in its place. Sources that stand in another's place move out of the way
 * first. */
IN_CHILD static int place_fds(const mp_spawn_plan *plan) {
  int from[MP_SPAWN_FDS_MAX];
  int count = (int)plan->fd_count;
  for (int i = 0; i < count; i++) {
    from[i] = plan->fds[i];
    if (from[i] >= 0 && from[i] < count && from[i] != i) {
      from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, count);
      if (from[i] < 0)
        return -1;
    }
  }
  for (int i = 0; i < count; i++) {
    if (from[i] < 0)
      close(i);
    else if ((from[i] == i ? fcntl(i, F_SETFD, 0) : dup2(from[i], i)) < 0)
      return -1;
  }
  /* Ours are close-on-exec already; this is for what we inherited. Linux 5.9. */
  close_range((unsigned)count, ~0U, 0);
  return 0;
}

IN_CHILD static int set_rlimits(const mp_spawn_plan *plan, const struct rlimit *files) {
  if (files && setrlimit(RLIMIT_NOFILE, files) < 0)
    return -1;
  for (size_t i = 0; i < plan->rlimit_count; i++) {
    if (setrlimit(plan->rlimits[i].resource, &plan->rlimits[i].limit) < 0)
      return -1;
  }
  return 0;
}

/* System calls, not libc's functions: those would change every thread of the process, which in the
 * child's view is ours. */
IN_CHILD static int take_user(const mp_spawn_plan *plan) {
  const mp_user *user = plan->user;
  if (user == NULL)
    return 0;
  if (syscall(SYS_setgroups, user->group_count, user->groups) < 0 ||
      syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0)
    return -1;
  return (int)syscall(SYS_setresuid, user->uid, user->uid, user->uid);
}

/* After the credentials, since changing those clears the setting. */
IN_CHILD static int tie_to_parent(const child *self) {
  int number = self->plan->death_signal;
  if (number == 0)
    return 0;
  if (prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) < 0)
    return -1;
  if (getppid() == self->parent)
    return 0;
  errno = ESRCH;
  return -1;
}

IN_CHILD static int child_main(void *argument) {
  child *self = argument;
  const mp_spawn_plan *plan = self->plan;
#define STEP(which, call)                                                                          \
  self->stage = (which);                                                                           \
  if ((call) < 0)                                                                                  \
  goto failed
  STEP(STAGE_SESSION, enter_scope(plan));
  STEP(STAGE_CGROUP, enter_cgroups(plan));
  STEP(STAGE_NETNS, plan->netns > 0 ? setns(plan->netns, CLONE_NEWNET) : 0);
  STEP(STAGE_FDS, place_fds(plan));
  STEP(STAGE_TERMINAL, plan->terminal ? ioctl(0, TIOCSCTTY, 0) : 0);
  STEP(STAGE_RLIMIT, set_rlimits(plan, self->files));
  STEP(STAGE_USER, take_user(plan));
  STEP(STAGE_CWD, plan->cwd ? chdir(plan->cwd) : 0);
  STEP(STAGE_PARENT, tie_to_parent(self));
  reset_signals();
  STEP(STAGE_EXEC, execve(plan->path, (char *const *)plan->argv, (char *const *)plan->env));
#undef STEP
failed:
  self->errnum = errno;
  _exit(127);
}

static int explain_exec(const mp_spawn_plan *plan, int errnum, mp_error *err) {
  mp_error_errno(err, DOMAIN, errnum, "could not run `%s`", plan->path);
  if (errnum == ENOENT && access(plan->path, F_OK) == 0)
    return mp_error_hint(err, "the file is there, but the interpreter it names (first line, or "
                              "dynamic loader) is not");
  if (errnum == ENOEXEC)
    return mp_error_hint(err, "it is neither a program of this machine's kind nor a script with a "
                              "#! line; name its interpreter as the first argument");
  if (errnum == EACCES)
    return mp_error_hint(err, "check that it is an executable file, that the account may reach it, "
                              "and that its file system is not mounted noexec");
  if (errnum == E2BIG)
    return mp_error_hint(err, "one argument or variable may hold 128 KiB, all together about a "
                              "quarter of the stack limit; pass large values by file or stdin");
  return -1;
}

static int explain(const child *failed, mp_error *err) {
  const mp_spawn_plan *plan = failed->plan;
  int errnum = failed->errnum;
  switch (failed->stage) {
  case STAGE_SESSION:
    return mp_error_errno(err, DOMAIN, errnum, "could not give `%s` a session of its own",
                          plan->path);
  case STAGE_CGROUP:
    mp_error_errno(err, DOMAIN, errnum, "could not put `%s` into its cgroup", plan->path);
    return mp_error_hint(err, "the cgroup may be gone, or be one that processes cannot enter");
  case STAGE_NETNS:
    mp_error_errno(err, DOMAIN, errnum, "could not enter the network namespace of `%s`",
                   plan->path);
    return errnum == EPERM ? mp_error_hint(err, "this needs CAP_SYS_ADMIN") : -1;
  case STAGE_FDS:
    return mp_error_errno(err, DOMAIN, errnum, "could not pass its descriptors to `%s`",
                          plan->path);
  case STAGE_TERMINAL:
    return mp_error_errno(err, DOMAIN, errnum, "could not give `%s` a controlling terminal",
                          plan->path);
  case STAGE_RLIMIT:
    return mp_error_errno(err, DOMAIN, errnum, "could not limit `%s`", plan->path);
  case STAGE_USER:
    mp_error_errno(err, DOMAIN, errnum, "could not run `%s` as user %u, group %u", plan->path,
                   (unsigned)plan->user->uid, (unsigned)plan->user->gid);
    return errnum == EPERM ? mp_error_hint(err, "changing the user needs root, or CAP_SETUID and "
                                                "CAP_SETGID")
                           : -1;
  case STAGE_CWD:
    return mp_error_errno(err, DOMAIN, errnum, "could not enter `%s` to run `%s`", plan->cwd,
                          plan->path);
  case STAGE_PARENT:
    return mp_error_errno(err, DOMAIN, errnum, "could not tie `%s` to our life", plan->path);
  case STAGE_EXEC:
    break;
  }
  return explain_exec(plan, errnum, err);
}

static int explain_clone(const mp_spawn_plan *plan, int errnum, mp_error *err) {
  mp_error_errno(err, DOMAIN, errnum, "could not start a process for `%s`", plan->path);
  if (errnum == EAGAIN)
    return mp_error_hint(err, "the limit on processes is reached (`ulimit -u`, or pids.max of the "
                              "cgroup)");
  if (errnum == EINVAL)
    return mp_error_hint(err, "this needs Linux 5.4 or newer");
  return errnum == EMFILE ? mp_error_hint(err, "raise the limit on open files (`ulimit -n`)") : -1;
}

static int start(child *self, void *stack, bool share_memory, pid_t *pid, int *pidfd) {
  int flags = CLONE_VFORK | CLONE_PIDFD | SIGCHLD | (share_memory ? CLONE_VM : 0);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  *pid = clone(child_main, (char *)stack + STACK_SIZE, flags, self, pidfd);
  int errnum = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = errnum;
  return *pid < 0 ? -1 : 0;
}

int mp_spawn(const mp_spawn_plan *plan, pid_t *pid, int *pidfd, mp_error *err) {
  /* While a child that shares our memory has taken on another user, that user could trace it, and
   * through it us. Such a child gets a copy instead. */
  bool share_memory = plan->user == NULL;
  void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                     MAP_ANONYMOUS | (share_memory ? MAP_PRIVATE : MAP_SHARED), -1, 0);
  if (stack == MAP_FAILED)
    return mp_error_errno(err, DOMAIN, errno, "could not start a process for `%s`", plan->path);
  child *self = stack;
  *self = (child){.plan = plan, .files = mp_fd_limit_inherited(), .parent = getpid()};
  pid_t started;
  int fd = -1;
  int rc = 0;
  if (start(self, stack, share_memory, &started, &fd) < 0) {
    rc = explain_clone(plan, errno, err);
  } else if (self->errnum != 0) {
    siginfo_t info;
    while (waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED) < 0 && errno == EINTR)
      continue;
    close(fd);
    rc = explain(self, err);
  } else {
    *pid = started;
    *pidfd = fd;
  }
  munmap(stack, STACK_SIZE);
  return rc;
}

static bool is_executable(const char *path) {
  struct stat about;
  return stat(path, &about) == 0 && S_ISREG(about.st_mode) && access(path, X_OK) == 0;
}

int mp_spawn_which(const char *name, const char *path, char **found, mp_error *err) {
  if (strchr(name, '/') != NULL) {
    *found = mp_strdup(name);
    return 0;
  }
  if (path == NULL)
    path = getenv("PATH");
  if (path == NULL)
    path = _PATH_DEFPATH;
  for (const char *dir = path; *name != '\0' && *dir != '\0';) {
    size_t len = strcspn(dir, ":");
    if (*dir == '/') {
      mp_auto_free char *candidate = mp_sprintf("%.*s/%s", (int)len, dir, name);
      if (is_executable(candidate)) {
        *found = mp_steal(candidate);
        return 0;
      }
    }
    dir += len + (dir[len] == ':');
  }
  mp_error_set(err, DOMAIN, "ENOENT", "could not find a program `%s`", name);
  return mp_error_hint(err, "looked in %s", path);
}
