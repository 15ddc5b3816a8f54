#include "service.h"

#include "cgroup.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the child reports through its CLOEXEC pipe when a step fails. A successful exec closes it.
 */
typedef struct {
  char step[12];
  int number; /* errno */
  int index;  /* of the cgroup */
} failure;

void mp_shim_reset_signals(void) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int number = 1; number < _NSIG; number++)
    sigaction(number, &action, NULL); /* the few that cannot be set are at their default */
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

const char *mp_shim_set_user(uid_t uid, gid_t gid, const gid_t *groups, size_t count) {
  bool same = uid == getuid() && uid == geteuid() && gid == getgid() && gid == getegid();
  if (same && geteuid() != 0)
    return NULL; /* somebody else cannot set groups, and has what they may have */
  if (setgroups(count, groups) < 0)
    return "setgroups";
  if (setresgid(gid, gid, gid) < 0)
    return "setgid";
  if (setresuid(uid, uid, uid) < 0)
    return "setuid";
  return NULL;
}

static void child_fail(int report, const char *step, int index) {
  failure what = {.number = errno, .index = index};
  snprintf(what.step, sizeof what.step, "%s", step);
  ssize_t ignored = write(report, &what, sizeof what);
  (void)ignored;
  _exit(127);
}

static void child_join_cgroups(const mp_shim_spec *spec, const char *born_in, int report) {
  size_t failed;
  if (mp_shim_cgroup_join_others(spec->cgroups, spec->cgroup_count, born_in, &failed) < 0)
    child_fail(report, "cgroup", (int)failed);
}

static void write_oom_score_adj(int value, int report) {
  char text[16];
  int len = snprintf(text, sizeof text, "%d", value);
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, (size_t)len) < 0)
    child_fail(report, "oom", 0);
  close(fd);
}

static void child_set_limits(const mp_shim_spec *spec, const struct rlimit *core, int report) {
  setrlimit(RLIMIT_CORE, core);
  if (spec->has_nofile && setrlimit(RLIMIT_NOFILE, &spec->nofile) < 0)
    child_fail(report, "nofile", 0);
  if (spec->has_nice && setpriority(PRIO_PROCESS, 0, spec->nice) < 0)
    child_fail(report, "nice", 0);
  if (spec->has_oom_score_adj)
    write_oom_score_adj(spec->oom_score_adj, report);
}

static void child_set_user(const mp_shim_spec *spec, int report) {
  const char *failed = NULL;
  if (spec->has_user)
    failed = mp_shim_set_user(spec->uid, spec->gid, spec->groups, spec->group_count);
  if (failed)
    child_fail(report, failed, 0);
}

/* A change of user clears the death signal, so this comes after it. */
static void child_die_with(pid_t shim, int report) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
    child_fail(report, "pdeathsig", 0);
  if (getppid() != shim)
    _exit(127);
}

/* As execvp(3), but by the PATH of the environment that the program gets. */
static void child_search(const mp_shim_spec *spec) {
  const char *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  char file[PATH_MAX];
  bool denied = false;
  for (char **entry = spec->envp; *entry; entry++)
    if (strncmp(*entry, "PATH=", 5) == 0)
      path = *entry + 5;
  while (*path) {
    int len = (int)strcspn(path, ":");
    int need = snprintf(file, sizeof file, "%.*s/%s", len ? len : 1, len ? path : ".", spec->exe);
    if (need < (int)sizeof file)
      execve(file, spec->argv, spec->envp);
    denied |= errno == EACCES;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
      return;
    path += len + (path[len] == ':');
  }
  errno = denied ? EACCES : ENOENT;
}

static void child_run(const mp_shim_spec *spec, const struct rlimit *core,
                      const mp_shim_child *child, const char *born_in, int report, pid_t shim) {
  setsid();
  for (int fd = 0; fd < 3; fd++)
    if (dup2(child->stdio[fd], fd) < 0)
      child_fail(report, "stdio", 0);
  if (child->terminal && ioctl(0, TIOCSCTTY, 0) < 0)
    child_fail(report, "terminal", 0);
  mp_shim_close_from(3, &report, 1);
  child_join_cgroups(spec, born_in, report);
  child_set_limits(spec, core, report);
  umask(spec->umask);
  child_set_user(spec, report);
  child_die_with(shim, report);
  if (spec->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    child_fail(report, "privs", 0);
  if (chdir(spec->cwd) < 0)
    child_fail(report, "cwd", 0);
  mp_shim_reset_signals();
  if (child->search && strchr(spec->exe, '/') == NULL)
    child_search(spec);
  else
    execve(spec->exe, spec->argv, spec->envp);
  child_fail(report, "exec", 0);
}

int mp_shim_pipe(int ends[2], int mine, mp_shim_error *err) {
  if (pipe2(ends, O_CLOEXEC) < 0)
    return mp_shim_fail_errno(err, errno, "could not make a pipe");
  fcntl(ends[mine], F_SETFL, fcntl(ends[mine], F_GETFL) | O_NONBLOCK);
  return 0;
}

static void close_all(int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (fds[i] >= 0)
      close(fds[i]);
    fds[i] = -1;
  }
}

pid_t mp_shim_child_start(const mp_shim_spec *spec, const struct rlimit *core,
                          const mp_shim_child *child, int *exec_fd, mp_shim_error *err) {
  int report[2];
  if (mp_shim_pipe(report, 0, err) < 0)
    return -1;
  pid_t shim = getpid();
  const char *born_in;
  pid_t pid = mp_shim_cgroup_fork(spec->cgroups, spec->cgroup_count, &born_in);
  if (pid == 0)
    child_run(spec, core, child, born_in, report[1], shim);
  close(report[1]);
  *exec_fd = report[0];
  if (pid > 0)
    return pid;
  mp_shim_fail_errno(err, errno, "could not fork");
  close(report[0]);
  *exec_fd = -1;
  return -1;
}

/* Whoever may write to the directory may have put another one in its place. */
static bool are_ends_of_ours(const int ends[2]) {
  struct stat reader, writer;
  return fstat(ends[0], &reader) == 0 && fstat(ends[1], &writer) == 0 &&
         reader.st_dev == writer.st_dev && reader.st_ino == writer.st_ino &&
         S_ISFIFO(reader.st_mode) && reader.st_uid == geteuid() && reader.st_nlink == 1;
}

static int named_pipe(int ends[2], const char *dir, const char *name, mp_shim_error *err) {
  enum { FLAGS = O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC }; /* opening waits for nobody */
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
    return mp_shim_fail_errno(err, ENAMETOOLONG, "could not make a pipe in `%.200s`", dir);
  unlink(path); /* of an earlier run */
  if (mkfifo(path, 0600) == 0 && (ends[0] = open(path, O_RDONLY | FLAGS)) >= 0)
    ends[1] = open(path, O_WRONLY | FLAGS);
  if (ends[1] < 0)
    return mp_shim_fail_errno(err, errno, "could not make the pipe `%.200s`", path);
  if (!are_ends_of_ours(ends))
    return mp_shim_fail_errno(err, EEXIST, "could not make the pipe `%.200s`", path);
  fcntl(ends[1], F_SETFL, fcntl(ends[1], F_GETFL) & ~O_NONBLOCK);
  return 0;
}

static int open_output(int ends[2], const char *dir, const char *name, mp_shim_error *err) {
  return dir ? named_pipe(ends, dir, name, err) : mp_shim_pipe(ends, 0, err);
}

/* fds: of /dev/null, then both ends of the two outputs. */
static int open_all(int fds[5], const char *dir, mp_shim_error *err) {
  fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (fds[0] < 0)
    return mp_shim_fail_errno(err, errno, "could not open /dev/null");
  return open_output(fds + 1, dir, "stdout", err) < 0 ||
                 open_output(fds + 3, dir, "stderr", err) < 0
             ? -1
             : 0;
}

int mp_shim_service_start(mp_shim_service *service, const mp_shim_spec *spec,
                          const struct rlimit *core, mp_shim_error *err) {
  int fds[5] = {-1, -1, -1, -1, -1};
  *service = MP_SHIM_SERVICE_NONE;
  if (open_all(fds, spec->output_pipes, err) < 0) {
    close_all(fds, 5);
    return -1;
  }
  /* A service of another user opens /dev/stdout too, which asks for rights on the pipe. */
  for (int i = 2; spec->has_user && i < 5; i += 2)
    if (fchown(fds[i], spec->uid, spec->gid) < 0)
      continue;
  const mp_shim_child child = {.stdio = {fds[0], fds[2], fds[4]}};
  pid_t pid = mp_shim_child_start(spec, core, &child, &service->exec_fd, err);
  if (pid < 0) {
    close_all(fds, 5);
    return -1;
  }
  service->pid = pid;
  service->pidfd = mp_shim_pidfd_open(pid);
  service->start_time = mp_shim_proc_start_time(pid);
  service->output[0] = fds[1];
  service->output[1] = fds[3];
  close(fds[0]);
  close(fds[2]);
  close(fds[4]);
  return 0;
}

static int explain(const failure *what, const mp_shim_spec *spec, mp_shim_error *err) {
  if (strcmp(what->step, "exec") == 0 && what->number == ENOENT && access(spec->exe, F_OK) == 0)
    return mp_shim_fail(err, "ENOENT",
                        "could not execute `%.200s`: the file is there, but the interpreter it "
                        "names (`#!` line or dynamic loader) is not",
                        spec->exe);
  if (strcmp(what->step, "exec") == 0)
    return mp_shim_fail_errno(err, what->number, "could not execute `%.200s`", spec->exe);
  if (strcmp(what->step, "cwd") == 0)
    return mp_shim_fail_errno(err, what->number, "could not enter the directory `%.200s`",
                              spec->cwd);
  if (strcmp(what->step, "cgroup") == 0 && (size_t)what->index < spec->cgroup_count)
    return mp_shim_fail_errno(err, what->number, "could not join the cgroup `%.200s`",
                              spec->cgroups[what->index]);
  if (strncmp(what->step, "set", 3) == 0)
    return mp_shim_fail_errno(err, what->number, "could not become user %u:%u (%s)",
                              (unsigned)spec->uid, (unsigned)spec->gid, what->step);
  if (strcmp(what->step, "nofile") == 0)
    return mp_shim_fail_errno(err, what->number, "could not set the limit of open files");
  if (strcmp(what->step, "nice") == 0)
    return mp_shim_fail_errno(err, what->number, "could not set nice to %d", spec->nice);
  if (strcmp(what->step, "oom") == 0)
    return mp_shim_fail_errno(err, what->number, "could not set oom_score_adj to %d",
                              spec->oom_score_adj);
  return mp_shim_fail_errno(err, what->number, "could not set up the process (%s)", what->step);
}

int mp_shim_child_executed(int *exec_fd, const mp_shim_spec *spec, mp_shim_error *err) {
  failure what;
  if (*exec_fd < 0)
    return 1;
  ssize_t got = read(*exec_fd, &what, sizeof what);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return 0;
  close(*exec_fd);
  *exec_fd = -1;
  if (got != sizeof what)
    return 1;
  what.step[sizeof what.step - 1] = '\0';
  return explain(&what, spec, err);
}

int mp_shim_service_executed(mp_shim_service *service, const mp_shim_spec *spec,
                             mp_shim_error *err) {
  return mp_shim_child_executed(&service->exec_fd, spec, err);
}

int mp_shim_service_signal(const mp_shim_service *service, int signal) {
  if (service->pid == 0) {
    errno = ESRCH;
    return -1;
  }
  if (service->pidfd >= 0)
    return mp_shim_pidfd_signal(service->pidfd, signal);
  return kill(service->pid, signal); /* ours and not waited for: the number is still its own */
}

void mp_shim_service_close(mp_shim_service *service) {
  close_all(&service->pidfd, 1);
  close_all(service->output, 2);
  close_all(&service->exec_fd, 1);
  *service = MP_SHIM_SERVICE_NONE;
}
