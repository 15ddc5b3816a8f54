#include "namespace.h"

#include "core/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DOMAIN "netlink"
#define MODE 0755 /* of MP_NETNS_DIR, as `ip` makes it */

/* -- Running in one --------------------------------------------------------------------------- */

typedef struct {
  int netns;
  mp_netns_fn fn;
  void *data;
  mp_error *err;
  int rc;
} visit;

static void *visiting(void *data) {
  visit *self = data;
  if (setns(self->netns, CLONE_NEWNET) == 0) {
    self->rc = self->fn(self->data, self->err);
  } else {
    self->rc = mp_error_errno(self->err, DOMAIN, errno, "could not enter the network namespace");
    if (mp_error_is(self->err, "EPERM"))
      mp_error_hint(self->err, "entering a network namespace takes CAP_SYS_ADMIN");
  }
  return NULL;
}

/* A pool thread could not be trusted again if the way back failed; this one just ends. */
static int on_own_thread(void *(*body)(void *), void *data, mp_error *err) {
  pthread_t thread;
  int rc = pthread_create(&thread, NULL, body, data);
  if (rc != 0)
    return mp_error_errno(err, DOMAIN, rc, "could not start a thread");
  pthread_join(thread, NULL);
  return 0;
}

int mp_netns_run(int netns, mp_netns_fn fn, void *data, mp_error *err) {
  if (netns < 0)
    return fn(data, err);
  visit self = {.netns = netns, .fn = fn, .data = data, .err = err, .rc = -1};
  return on_own_thread(visiting, &self, err) < 0 ? -1 : self.rc;
}

/* -- Names ------------------------------------------------------------------------------------ */

static int check_name(const char *name, mp_error *err) {
  if (*name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
      strlen(name) <= NAME_MAX)
    return 0;
  return mp_error_set(err, DOMAIN, MP_INVALID, "`%s` cannot be the name of a network namespace",
                      name);
}

static char *path_of(const char *name) {
  return mp_sprintf("%s/%s", MP_NETNS_DIR, name);
}

static bool is_pid(const char *text) {
  return *text && text[strspn(text, "0123456789")] == '\0';
}

static char *path_for(const char *which) {
  if (strchr(which, '/'))
    return mp_strdup(which);
  char *path = path_of(which);
  if (is_pid(which) && access(path, F_OK) < 0) {
    free(path);
    path = mp_sprintf("/proc/%s/ns/net", which);
  }
  return path;
}

static bool is_namespace(int fd) {
  struct statfs fs;
  return fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == NSFS_MAGIC;
}

int mp_netns_open(const char *which, int *fd, mp_error *err) {
  mp_auto_free char *path = path_for(which);
  int opened = open(path, O_RDONLY | O_CLOEXEC);
  if (opened < 0)
    return mp_error_errno(err, DOMAIN, errno, "could not open the network namespace `%s`", which);
  if (!is_namespace(opened)) {
    close(opened);
    mp_error_set(err, DOMAIN, MP_INVALID, "`%s` is not a network namespace", path);
    return mp_error_hint(err, "a killed command or a reboot may have left it; remove the file");
  }
  *fd = opened;
  return 0;
}

/* -- Making ----------------------------------------------------------------------------------- */

static int no_directory(mp_error *err) {
  int errnum = errno;
  mp_error_errno(err, DOMAIN, errnum, "could not prepare `%s`", MP_NETNS_DIR);
  if (errnum == EPERM || errnum == EACCES)
    mp_error_hint(err, "making network namespaces takes CAP_SYS_ADMIN");
  return -1;
}

/* A mount of its own whose mounts spread to other mount namespaces, so that a namespace can be
 * taken away again though somebody was forked meanwhile. */
static int share_directory(mp_error *err) {
  if (mount("", MP_NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
    return 0;
  if (errno != EINVAL || mount(MP_NETNS_DIR, MP_NETNS_DIR, "none", MS_BIND | MS_REC, NULL) < 0 ||
      mount("", MP_NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) < 0)
    return no_directory(err);
  return 0;
}

/* The lock is the one that `ip netns add` takes. */
static int prepare_directory(mp_error *err) {
  if (mkdir(MP_NETNS_DIR, MODE) < 0 && errno != EEXIST)
    return no_directory(err);
  int lock = open(MP_NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock < 0 || flock(lock, LOCK_EX) < 0) {
    no_directory(err);
    if (lock >= 0)
      close(lock);
    return -1;
  }
  int rc = share_directory(err);
  close(lock);
  return rc;
}

typedef struct {
  const char *path;
  int errnum;
} making;

static void *making_one(void *data) {
  making *self = data;
  if (unshare(CLONE_NEWNET) < 0 ||
      mount("/proc/thread-self/ns/net", self->path, "none", MS_BIND, NULL) < 0)
    self->errnum = errno;
  return NULL;
}

static int could_not_create(const char *name, int errnum, mp_error *err) {
  mp_error_errno(err, DOMAIN, errnum, "could not create the network namespace `%s`", name);
  if (errnum == EPERM || errnum == EACCES)
    mp_error_hint(err, "making network namespaces takes CAP_SYS_ADMIN");
  return -1;
}

int mp_netns_create(const char *name, mp_error *err) {
  if (check_name(name, err) < 0 || prepare_directory(err) < 0)
    return -1;
  mp_auto_free char *path = path_of(name);
  int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
  if (fd < 0)
    return could_not_create(name, errno, err);
  close(fd);
  making self = {.path = path};
  int rc = on_own_thread(making_one, &self, err);
  if (rc == 0 && self.errnum)
    rc = could_not_create(name, self.errnum, err);
  if (rc < 0)
    unlink(path);
  return rc;
}

int mp_netns_delete(const char *name, mp_error *err) {
  if (check_name(name, err) < 0)
    return -1;
  mp_auto_free char *path = path_of(name);
  /* EINVAL: nothing is mounted on what a killed command left. */
  if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
    return mp_error_errno(err, DOMAIN, errno, "could not delete the network namespace `%s`", name);
  if (unlink(path) < 0)
    return mp_error_errno(err, DOMAIN, errno, "could not delete the network namespace `%s`", name);
  return 0;
}

/* -- Listing ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

int mp_netns_list(char ***names, size_t *count, mp_error *err) {
  char **list = NULL;
  size_t used = 0;
  DIR *dir = opendir(MP_NETNS_DIR);
  if (!dir && errno != ENOENT)
    return mp_error_errno(err, DOMAIN, errno, "could not list `%s`", MP_NETNS_DIR);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    list = mp_realloc(list, (used + 1) * sizeof *list);
    list[used++] = mp_strdup(entry->d_name);
  }
  if (dir)
    closedir(dir);
  if (used > 0)
    qsort(list, used, sizeof *list, compare);
  *names = list;
  *count = used;
  return 0;
}
