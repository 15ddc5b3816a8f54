/* The processes of a group: finding, signalling, freezing; and the removal of what they leave. */
#include "cgroup_internal.h"

#include "buf.h"
#include "mem.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Calls `visit` for `path` and all directories below, the deepest first. Returns 0, or the first
 * errno that kept it out of one; a directory that is gone is none. */
static int walk(const char *path, void (*visit)(const char *path, void *data), void *data) {
  DIR *dir = opendir(path);
  if (dir == NULL)
    return errno == ENOENT ? 0 : errno;
  int errnum = 0;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 ||
        strcmp(entry->d_name, "..") == 0)
      continue;
    mp_auto_free char *below = mp_sprintf("%s/%s", path, entry->d_name);
    int rc = walk(below, visit, data);
    errnum = errnum ? errnum : rc;
  }
  closedir(dir);
  visit(path, data);
  return errnum;
}

typedef struct {
  pid_t *items;
  size_t count;
  int errnum; /* of the first file that could not be read */
} pid_list;

/* The group went while we looked, or is a threaded one, whose processes its parent lists. */
static bool has_no_list(int errnum) {
  return errnum == ENOENT || errnum == ENODEV || errnum == EOPNOTSUPP;
}

static void collect_pids(const char *path, void *data) {
  pid_list *list = data;
  mp_auto_free char *text = mp_cgroup_read_(path, "cgroup.procs");
  if (text == NULL && list->errnum == 0 && !has_no_list(errno))
    list->errnum = errno;
  char *end;
  for (char *at = text; at && *at; at = end + (*end == '\n')) {
    long pid = strtol(at, &end, 10);
    if (end == at)
      return;
    /* 0 stands for a process of a pid namespace that we cannot see into. */
    if (pid <= 0)
      continue;
    list->items = mp_realloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = (pid_t)pid;
  }
}

static int by_value(const void *left, const void *right) {
  pid_t a = *(const pid_t *)left, b = *(const pid_t *)right;
  return (a > b) - (a < b);
}

/* Returns 0 or an errno: with a part of the list missing, nobody may be taken for gone. */
static int list_pids(const mp_cgroup *group, pid_list *list) {
  *list = (pid_list){0};
  for (size_t i = 0; i < group->dir_count; i++) {
    int errnum = walk(group->dirs[i].path, collect_pids, list);
    list->errnum = list->errnum ? list->errnum : errnum;
  }
  if (list->errnum) {
    free(mp_steal(list->items));
    return list->errnum;
  }
  if (list->count > 0)
    qsort(list->items, list->count, sizeof *list->items, by_value);
  size_t kept = 0;
  for (size_t i = 0; i < list->count; i++) {
    if (kept == 0 || list->items[kept - 1] != list->items[i])
      list->items[kept++] = list->items[i];
  }
  list->count = kept;
  return 0;
}

int mp_cgroup_processes(const mp_cgroup *group, pid_t **pids, size_t *count, mp_error *err) {
  pid_list list;
  int errnum = list_pids(group, &list);
  if (errnum)
    return mp_error_errno(err, MP_CGROUP, errnum, "could not read the processes of cgroup `%s`",
                          group->name);
  *pids = list.items;
  *count = list.count;
  return 0;
}

/* 1 or 0; -1 and errno when that cannot be known. */
static int still_there(const mp_cgroup *group, pid_t pid) {
  pid_list list;
  errno = list_pids(group, &list);
  if (errno)
    return -1;
  bool found =
      list.count > 0 && bsearch(&pid, list.items, list.count, sizeof pid, by_value) != NULL;
  free(list.items);
  return found;
}

/* The pid may have been recycled since it was read, so it is held by a pidfd and looked for again
 * before anything is sent. EINVAL: its process is gone, and others are of its group still. */
static int signal_one(const mp_cgroup *group, pid_t pid, int number) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0)
    return errno == ESRCH || errno == EINVAL ? 0 : -1;
  int rc = still_there(group, pid);
  if (rc > 0)
    rc = (int)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);
  int errnum = errno;
  close(fd);
  errno = errnum;
  return rc < 0 && errnum == ESRCH ? 0 : rc;
}

static int signal_all(const mp_cgroup *group, int number, mp_error *err) {
  pid_t *pids = NULL;
  size_t count = 0;
  int rc = 0;
  if (mp_cgroup_processes(group, &pids, &count, err) < 0)
    return -1;
  for (size_t i = 0; i < count; i++) {
    if (signal_one(group, pids[i], number) < 0 && rc == 0)
      rc = mp_error_errno(err, MP_CGROUP, errno, "could not signal process %d of `%s`",
                          (int)pids[i], group->name);
  }
  free(pids);
  return rc;
}

static const mp_cgroup_dir *dir_with_pids(const mp_cgroup *group) {
  for (size_t i = 0; i < group->dir_count; i++) {
    if (group->dirs[i].controllers & 1U << MP_CGROUP_PIDS)
      return &group->dirs[i];
  }
  return NULL;
}

/* Without cgroup.kill a fork could slip through between reading and killing: with no more processes
 * allowed none does. The limit stays; what is killed so is on its way out. */
static int kill_all(const mp_cgroup *group, mp_error *err) {
  const mp_cgroup_dir *pids = dir_with_pids(group);
  if (pids)
    mp_cgroup_write_(pids->path, "pids.max", "0");
  return signal_all(group, SIGKILL, err);
}

/* Nobody is there, so nobody forks. */
static bool is_empty(const mp_cgroup *group) {
  pid_list list;
  bool empty = list_pids(group, &list) == 0 && list.count == 0;
  free(list.items);
  return empty;
}

int mp_cgroup_signal(const mp_cgroup *group, int number, mp_error *err) {
  if (number != SIGKILL)
    return signal_all(group, number, err);
  /* Linux 6.14 to at least 6.18 kill at birth who is born into a group that was ever killed. */
  if (is_empty(group))
    return 0;
  for (size_t i = 0; i < group->dir_count; i++) {
    const mp_cgroup_dir *dir = &group->dirs[i];
    if (dir->version == 2 && mp_cgroup_write_(dir->path, "cgroup.kill", "1") == 0)
      return group->dir_count > 1 ? signal_all(group, SIGKILL, err) : 0;
  }
  return kill_all(group, err);
}

int mp_cgroup_freeze(const mp_cgroup *group, bool frozen, mp_error *err) {
  for (size_t i = 0; i < group->dir_count; i++) {
    const mp_cgroup_dir *dir = &group->dirs[i];
    int rc;
    if (dir->version == 2)
      rc = mp_cgroup_write_(dir->path, "cgroup.freeze", frozen ? "1" : "0");
    else if (dir->freezer)
      rc = mp_cgroup_write_(dir->path, "freezer.state", frozen ? "FROZEN" : "THAWED");
    else
      continue;
    if (rc == 0)
      return 0;
    if (errno != ENOENT)
      return mp_error_errno(err, MP_CGROUP, errno, "could not freeze or thaw `%s`", dir->path);
  }
  mp_error_set(err, MP_CGROUP, "unavailable", "`%s` cannot be frozen", group->name);
  return mp_error_hint(err, "this needs cgroup v2 (Linux 5.2), or the freezer of v1");
}

/* -- Removal ---------------------------------------------------------------------------------- */

static void remove_dir(const char *path, void *data) {
  int *errnum = data;
  if (rmdir(path) < 0 && errno != ENOENT && *errnum == 0)
    *errnum = errno;
}

static int explain_busy(const mp_cgroup *group, int errnum, mp_error *err) {
  pid_t *pids = NULL;
  size_t count = 0;
  mp_auto_buf mp_buf text = MP_BUF_INIT;
  if (mp_cgroup_processes(group, &pids, &count, err) < 0)
    return -1;
  for (size_t i = 0; i < count && i < 10; i++)
    mp_buf_printf(&text, "%s%d", i ? ", " : "", (int)pids[i]);
  free(pids);
  mp_error_errno(err, MP_CGROUP, errnum, "could not remove cgroup `%s`", group->name);
  if (count > 0)
    mp_error_hint(err, "%zu processes live in it: %s%s", count, text.data,
                  count > 10 ? ", ..." : "");
  return -1;
}

/* What is empty now goes too; what is in use by a sibling refuses by itself. */
static void remove_parents(const mp_cgroup_dir *dir) {
  mp_auto_free char *path = mp_strdup(dir->path);
  size_t base = strlen(dir->base);
  for (;;) {
    char *slash = strrchr(path, '/');
    if (slash == NULL || (size_t)(slash - path) <= base)
      return;
    *slash = '\0';
    if (rmdir(path) < 0 && errno != ENOENT)
      return;
  }
}

int mp_cgroup_remove(const mp_cgroup *group, mp_error *err) {
  int errnum = 0;
  for (size_t i = 0; i < group->dir_count; i++) {
    int hidden = walk(group->dirs[i].path, remove_dir, &errnum);
    errnum = errnum ? errnum : hidden;
  }
  if (errnum != 0)
    return explain_busy(group, errnum, err);
  for (size_t i = 0; i < group->dir_count; i++)
    remove_parents(&group->dirs[i]);
  return 0;
}
