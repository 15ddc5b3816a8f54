#include "cgroup.h"

#include "files.h"
#include "proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  DEPTH_MAX = 16,
  PIDS_MAX = 1024, /* looked at per pass over one cgroup; who signals comes again */
  PATH_CAP = 1024,
  SIGN_MS = 1000,
};

static bool file_path(char out[PATH_CAP], const char *path, const char *file) {
  int len = snprintf(out, PATH_CAP, "%s/%s", path, file);
  if (len < PATH_CAP)
    return true;
  errno = ENAMETOOLONG;
  return false;
}

/* A process that moves holds up the forks of the whole machine, and waits until those under way
 * have ended: some milliseconds, or tens. A thread that moves itself does not, and has `tasks` for
 * that on v1. On v2 threads do not leave their process, but one may be born elsewhere. */
int mp_shim_cgroup_join(const char *path) {
  char file[PATH_CAP];
  if (!file_path(file, path, "tasks"))
    return -1;
  if (mp_shim_file_write(file, "0") == 0)
    return 0;
  return file_path(file, path, "cgroup.procs") ? mp_shim_file_write(file, "0") : -1;
}

int mp_shim_cgroup_join_others(const char *const *paths, size_t count, const char *born_in,
                               size_t *failed) {
  for (size_t i = 0; i < count; i++) {
    *failed = i;
    if (paths[i] != born_in && mp_shim_cgroup_join(paths[i]) < 0)
      return -1;
  }
  return 0;
}

static bool is_v2(const char *path) {
  char file[PATH_CAP];
  return file_path(file, path, "cgroup.controllers") && access(file, F_OK) == 0;
}

/* struct clone_args of linux/sched.h, which musl-gcc does not find. */
typedef struct {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
      set_tid_size, cgroup;
} clone_args;

static pid_t fork_into(const char *path) {
  const uint64_t clone_into_cgroup = 0x200000000;
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  clone_args args = {.flags = clone_into_cgroup, .exit_signal = SIGCHLD, .cgroup = (uint64_t)fd};
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  close(fd);
  return pid;
}

/* True once the child has given its sign; a group that is frozen holds it back, so this does not
 * wait for ever, and whoever is not known to be dead lives. */
static bool lives(int sign) {
  struct pollfd wait = {.fd = sign, .events = POLLIN};
  char byte;
  int ready;
  do {
    ready = poll(&wait, 1, SIGN_MS);
  } while (ready < 0 && errno == EINTR);
  return ready <= 0 || read(sign, &byte, 1) == 1;
}

/* Linux 6.14 to at least 6.18 kill at birth who is born into a group in which `cgroup.kill` was
 * ever written. Such a child has not executed one instruction of ours. */
static pid_t fork_alive_into(const char *path) {
  int sign[2];
  if (pipe2(sign, O_CLOEXEC) < 0)
    return -1;
  pid_t pid = fork_into(path);
  if (pid == 0) {
    ssize_t ignored = write(sign[1], "", 1);
    (void)ignored;
  }
  close(sign[1]);
  if (pid > 0 && !lives(sign[0])) {
    waitpid(pid, NULL, 0);
    pid = -1;
  }
  close(sign[0]);
  return pid;
}

pid_t mp_shim_cgroup_fork(const char *const *paths, size_t count, const char **born_in) {
  *born_in = NULL;
  for (size_t i = 0; i < count && *born_in == NULL; i++)
    if (is_v2(paths[i]))
      *born_in = paths[i];
  pid_t pid = *born_in ? fork_alive_into(*born_in) : -1;
  if (pid >= 0)
    return pid;
  /* An old kernel, a sandbox that forbids it, or a group that cannot be joined: joining tells. */
  *born_in = NULL;
  return fork();
}

static size_t read_pids(const char *path, pid_t *pids, size_t max) {
  char file[PATH_CAP], line[32];
  FILE *procs = file_path(file, path, "cgroup.procs") ? fopen(file, "re") : NULL;
  size_t count = 0;
  while (procs && count < max && fgets(line, sizeof line, procs)) {
    pid_t pid = (pid_t)strtol(line, NULL, 10);
    if (pid > 0) /* 0: a process of an outer pid namespace */
      pids[count++] = pid;
  }
  if (procs)
    fclose(procs);
  return count;
}

static bool contains(const pid_t *pids, size_t count, pid_t pid) {
  for (size_t i = 0; i < count; i++)
    if (pids[i] == pid)
      return true;
  return false;
}

/* A pid read from cgroup.procs may be somebody else's by the time it is used. A pidfd opened on it
 * is pinned; if the cgroup still lists the pid afterwards, the pidfd is a member's. */
static size_t signal_own(const char *path, int signal) {
  pid_t before[PIDS_MAX], after[PIDS_MAX];
  int pidfds[PIDS_MAX];
  size_t count = read_pids(path, before, PIDS_MAX);
  for (size_t i = 0; i < count; i++)
    pidfds[i] = mp_shim_pidfd_open(before[i]);
  bool no_pidfd = count > 0 && pidfds[0] < 0 && errno == ENOSYS;
  size_t still = read_pids(path, after, PIDS_MAX);
  for (size_t i = 0; i < count; i++) {
    bool member = contains(after, still, before[i]) && before[i] != getpid();
    if (member && pidfds[i] >= 0)
      mp_shim_pidfd_signal(pidfds[i], signal);
    else if (member && no_pidfd)
      kill(before[i], signal);
    if (pidfds[i] >= 0)
      close(pidfds[i]);
  }
  return count;
}

static size_t count_own(const char *path, int unused) {
  pid_t pids[PIDS_MAX];
  (void)unused;
  return read_pids(path, pids, PIDS_MAX);
}

/* Applies `visit` to the cgroup and all below it; adds up what it returns. */
static size_t walk(const char *path, int depth, size_t (*visit)(const char *, int), int argument) {
  size_t sum = visit(path, argument);
  DIR *dir = depth < DEPTH_MAX ? opendir(path) : NULL;
  struct dirent *entry;
  while (dir && (entry = readdir(dir)) != NULL) {
    char child[PATH_CAP];
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && file_path(child, path, entry->d_name))
      sum += walk(child, depth + 1, visit, argument);
  }
  if (dir)
    closedir(dir);
  return sum;
}

size_t mp_shim_cgroup_members(const char *path) {
  return walk(path, 0, count_own, 0);
}

size_t mp_shim_cgroup_signal(const char *path, int signal) {
  char file[PATH_CAP];
  if (signal == SIGKILL && file_path(file, path, "cgroup.kill")) {
    size_t members = mp_shim_cgroup_members(path);
    if (members == 0 || mp_shim_file_write(file, "1") == 0)
      return members;
  }
  return walk(path, 0, signal_own, signal);
}

bool mp_shim_cgroup_oom_kills(const char *path, uint64_t *count) {
  static const char *const files[] = {"memory.events", "memory.oom_control"};
  char file[PATH_CAP], text[512];
  for (size_t i = 0; i < 2; i++) {
    if (!file_path(file, path, files[i]) || mp_shim_file_read(file, text, sizeof text) < 0)
      continue;
    for (char *at = strstr(text, "oom_kill "); at; at = strstr(at + 1, "oom_kill ")) {
      if (at == text || at[-1] == '\n') {
        *count = strtoull(at + sizeof "oom_kill", NULL, 10);
        return true;
      }
    }
  }
  return false;
}

int mp_shim_cgroup_peak_reset(const char *path) {
  char file[PATH_CAP];
  if (file_path(file, path, "memory.max_usage_in_bytes") && mp_shim_file_write(file, "0") == 0)
    return -1;
  if (!file_path(file, path, "memory.peak"))
    return -1;
  /* Since Linux 6.12 a write makes this fd, and only it, read the peak since then. */
  int fd = open(file, O_RDWR | O_CLOEXEC);
  if (fd >= 0 && write(fd, "reset", 5) == 5)
    return fd;
  if (fd >= 0)
    close(fd);
  return -1;
}

static bool parse_bytes(char *text, ssize_t len, uint64_t *bytes) {
  if (len <= 0)
    return false;
  text[len] = '\0';
  *bytes = strtoull(text, NULL, 10);
  return true;
}

bool mp_shim_cgroup_peak(const char *path, int fd, uint64_t *bytes) {
  static const char *const files[] = {"memory.peak", "memory.max_usage_in_bytes"};
  char file[PATH_CAP], text[32];
  if (fd >= 0)
    return parse_bytes(text, pread(fd, text, sizeof text - 1, 0), bytes);
  for (size_t i = 0; i < 2; i++) {
    if (file_path(file, path, files[i]) &&
        parse_bytes(text, mp_shim_file_read(file, text, sizeof text), bytes))
      return true;
  }
  return false;
}
