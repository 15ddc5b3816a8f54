#include "proc.h"

#include "files.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The number in field `field` (3 or later) of /proc/PID/stat. The command's name before it may hold
 * blanks and parentheses, so counting begins after the last ')'. */
static unsigned long long stat_field(pid_t pid, int field) {
  char path[40], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  if (mp_shim_file_read(path, text, sizeof text) < 0)
    return 0;
  char *at = strrchr(text, ')');
  for (int i = 2; at && i < field; i++)
    at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}

unsigned long long mp_shim_proc_start_time(pid_t pid) {
  return stat_field(pid, 22);
}

pid_t mp_shim_proc_parent(pid_t pid) {
  return (pid_t)stat_field(pid, 4);
}

void mp_shim_boot_id(char out[MP_SHIM_BOOT_ID_LEN + 1]) {
  if (mp_shim_file_read("/proc/sys/kernel/random/boot_id", out, MP_SHIM_BOOT_ID_LEN + 1) < 0)
    out[0] = '\0';
}

int mp_shim_pidfd_open(pid_t pid) {
  return (int)syscall(SYS_pidfd_open, pid, 0);
}

int mp_shim_pidfd_signal(int pidfd, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

/* Kernels without CONFIG_PROC_CHILDREN: ask every process for its parent. */
static size_t children_by_scan(pid_t *pids, size_t max) {
  DIR *proc = opendir("/proc");
  size_t count = 0;
  struct dirent *entry;
  while (proc && count < max && (entry = readdir(proc)) != NULL) {
    pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
    if (pid > 0 && mp_shim_proc_parent(pid) == getpid())
      pids[count++] = pid;
  }
  if (proc)
    closedir(proc);
  return count;
}

size_t mp_shim_children(pid_t *pids, size_t max) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  if (mp_shim_file_read(path, text, sizeof text) < 0)
    return children_by_scan(pids, max);
  size_t count = 0;
  char *at = text;
  /* Each number ends with a blank; one that the buffer cut does not, and is left for next time. */
  for (char *blank; count < max && (blank = strchr(at, ' ')) != NULL; at = blank + 1)
    pids[count++] = (pid_t)strtol(at, NULL, 10);
  return count;
}

static void close_range_(unsigned first, unsigned last) {
  if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
    return;
  /* Before Linux 5.9. The directory's own fd is closed by closedir, whatever happened to it. */
  DIR *fds = opendir("/proc/self/fd");
  struct dirent *entry;
  while (fds && (entry = readdir(fds)) != NULL) {
    unsigned long fd = strtoul(entry->d_name, NULL, 10);
    if (entry->d_name[0] != '.' && fd >= first && fd <= last && (int)fd != dirfd(fds))
      close((int)fd);
  }
  if (fds)
    closedir(fds);
}

void mp_shim_close_from(int first, const int *keep, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (keep[i] < first)
      continue;
    close_range_((unsigned)first, (unsigned)keep[i] - 1);
    first = keep[i] + 1;
  }
  close_range_((unsigned)first, ~0U);
}
