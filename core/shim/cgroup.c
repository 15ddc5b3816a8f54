#include "cgroup.h"

#include "files.h"
#include "proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  DEPTH_MAX = 16,
  PIDS_MAX = 1024, /* looked at per pass over one cgroup; who signals comes again */
  PATH_CAP = 1024,
};

static bool file_path(char out[PATH_CAP], const char *path, const char *file) {
  int len = snprintf(out, PATH_CAP, "%s/%s", path, file);
  if (len < PATH_CAP)
    return true;
  errno = ENAMETOOLONG;
  return false;
}

int mp_shim_cgroup_join(const char *path) {
  char file[PATH_CAP];
  return file_path(file, path, "cgroup.procs") ? mp_shim_file_write(file, "0") : -1;
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
