/* Whole files and single calls. */
#include "fs.h"

#include "encode.h"
#include "fs_internal.h"
#include "mem.h"
#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char domain[] = "fs";

bool fs_stopped(const atomic_bool *stop, mp_error *err) {
  if (stop == NULL || !atomic_load(stop))
    return false;
  mp_error_set(err, domain, MP_CANCELLED, "cancelled");
  return true;
}

/* Reading */

static int read_rest(int fd, const char *path, size_t limit, mp_buf *out, mp_error *err) {
  size_t start = out->len;
  for (;;) {
    char *to = mp_buf_reserve(out, 65536);
    ssize_t got = read(fd, to, out->cap - out->len - 1);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return mp_error_errno(err, domain, errno, "could not read `%s`", path);
    out->len += (size_t)got;
    out->data[out->len] = '\0';
    if (out->len - start > limit)
      return mp_error_set(err, domain, MP_LIMIT, "`%s` is larger than the limit of %zu bytes", path,
                          limit);
    if (got == 0)
      return 0;
  }
}

int mp_fs_read(const char *path, size_t limit, mp_buf *out, mp_error *err) {
  struct stat st;
  /* Without O_NONBLOCK the open of a FIFO waits for a writer. */
  auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 || fstat(fd, &st) < 0)
    return mp_error_errno(err, domain, errno, "could not open `%s`", path);
  if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
    return mp_error_set(err, domain, MP_INVALID, "`%s` is a %s, not a file", path,
                        mp_fs_type(st.st_mode));
  size_t before = out->len;
  if (S_ISREG(st.st_mode) && st.st_size > 0 && (uint64_t)st.st_size <= limit)
    mp_buf_reserve(out, (size_t)st.st_size + 65536);
  int rc = read_rest(fd, path, limit, out, err);
  if (rc < 0 && out->data) {
    out->len = before;
    out->data[before] = '\0';
  }
  return rc;
}

/* Writing */

int fs_write_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t wrote = write(fd, bytes, len);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote < 0)
      return -1;
    bytes += wrote;
    len -= (size_t)wrote;
  }
  return 0;
}

static int open_temp(fs_pending *file, mode_t mode) {
  for (int attempt = 0; attempt < 100; attempt++) {
    uint64_t number;
    mp_random(&number, sizeof number);
    snprintf(file->temp, sizeof file->temp, ".mp-%016llx.tmp", (unsigned long long)number);
    int fd =
        openat(file->dir, file->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd >= 0 || errno != EEXIST)
      return fd;
  }
  return -1;
}

/* The new file gets the owner and mode of the one it replaces; the owner only where we may. */
static int take_after(fs_pending *file, const struct stat *old) {
  struct stat st;
  if (fstat(file->fd, &st) < 0)
    return -1;
  if ((old->st_uid != st.st_uid || old->st_gid != st.st_gid) &&
      fchown(file->fd, old->st_uid, old->st_gid) < 0 && errno != EPERM)
    return -1;
  return fchmod(file->fd, old->st_mode & 07777);
}

int fs_begin(fs_pending *file, const char *path, mode_t mode, mp_error *err) {
  mp_auto_free char *parent = mp_path_dirname(path);
  struct stat old;
  file->path = path;
  file->name = mp_path_basename(path);
  file->dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file->dir < 0)
    return mp_error_errno(err, domain, errno, "could not write `%s`: could not open `%s`", path,
                          parent);
  bool keep = mode == 0 && fstatat(file->dir, file->name, &old, AT_SYMLINK_NOFOLLOW) == 0 &&
              S_ISREG(old.st_mode);
  file->fd = open_temp(file, mode == 0 && !keep ? 0666 : 0600);
  if (file->fd < 0) {
    file->temp[0] = '\0';
    return mp_error_errno(err, domain, errno, "could not write `%s`", path);
  }
  int rc = keep ? take_after(file, &old) : mode ? fchmod(file->fd, mode & 07777) : 0;
  return rc < 0 ? mp_error_errno(err, domain, errno, "could not set the mode of `%s`", path) : 0;
}

/* Gives the file its name, where that is free if `exclusive`. */
static int put_in_place(fs_pending *file, bool exclusive) {
  if (!exclusive)
    return renameat(file->dir, file->temp, file->dir, file->name);
  int rc = renameat2(file->dir, file->temp, file->dir, file->name, RENAME_NOREPLACE);
  if (rc == 0 || (errno != EINVAL && errno != ENOSYS))
    return rc;
  rc = linkat(file->dir, file->temp, file->dir, file->name, 0);
  return rc < 0 ? rc : unlinkat(file->dir, file->temp, 0);
}

int fs_commit(fs_pending *file, bool exclusive, bool sync, mp_error *err) {
  if (sync && fsync(file->fd) < 0)
    return mp_error_errno(err, domain, errno, "could not write `%s` to the disk", file->path);
  if (put_in_place(file, exclusive) < 0)
    return mp_error_errno(err, domain, errno, "could not write `%s`", file->path);
  file->temp[0] = '\0';
  /* Some file systems cannot sync a directory and say EINVAL: then there is nothing to wait for. */
  if (sync && fsync(file->dir) < 0 && errno != EINVAL)
    return mp_error_errno(err, domain, errno, "could not write the directory of `%s` to the disk",
                          file->path);
  return 0;
}

void fs_abandon(fs_pending *file) {
  if (file->temp[0])
    unlinkat(file->dir, file->temp, 0);
  fs_close(&file->fd);
  fs_close(&file->dir);
  free(file->name);
  *file = FS_PENDING_INIT;
}

int mp_fs_write(const char *path, const void *bytes, size_t len, const mp_fs_write_options *options,
                mp_error *err) {
  static const mp_fs_write_options defaults;
  if (options == NULL)
    options = &defaults;
  auto_pending file = FS_PENDING_INIT;
  if (fs_begin(&file, path, options->mode, err) < 0)
    return -1;
  if (fs_write_all(file.fd, bytes, len) < 0)
    return mp_error_errno(err, domain, errno, "could not write `%s`", path);
  return fs_commit(&file, options->exclusive, !options->no_sync, err);
}

int mp_fs_append(const char *path, const void *bytes, size_t len, mode_t mode, mp_error *err) {
  auto_fd fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
  if (fd < 0)
    return mp_error_errno(err, domain, errno, "could not open `%s`", path);
  if (fs_write_all(fd, bytes, len) < 0)
    return mp_error_errno(err, domain, errno, "could not write `%s`", path);
  return 0;
}

/* Directories */

/* The umask took its share of the mode. By descriptor, and not through a link (which a final slash
 * would follow): whoever owns the directory around it may have put one in its place meanwhile. */
static int set_mode_of_new(const char *path, mode_t mode) {
  mp_auto_free char *parent = mp_path_dirname(path), *name = mp_path_basename(path);
  mp_auto_free char *plain = mp_path_join(parent, name);
  auto_fd fd = open(plain, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? -1 : fchmod(fd, mode & 07777);
}

/* Readable to us at first, so that it can be opened. */
static int make_one(const char *path, mode_t mode) {
  if (mkdir(path, (mode & 0777) | S_IRUSR) == 0)
    return set_mode_of_new(path, mode);
  struct stat st;
  int reason = errno;
  if (reason == EEXIST && stat(path, &st) == 0)
    reason = S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
  errno = reason;
  return reason ? -1 : 0;
}

int mp_fs_mkdirs(const char *path, mode_t mode, mp_error *err) {
  if (make_one(path, mode) == 0)
    return 0;
  if (errno != ENOENT)
    return mp_error_errno(err, domain, errno, "could not make the directory `%s`", path);
  mp_auto_free char *parent = mp_path_dirname(path);
  if (strcmp(parent, path) == 0 || strcmp(parent, ".") == 0)
    return mp_error_errno(err, domain, ENOENT, "could not make the directory `%s`", path);
  if (mp_fs_mkdirs(parent, mode, err) < 0)
    return -1;
  return make_one(path, mode) == 0
             ? 0
             : mp_error_errno(err, domain, errno, "could not make the directory `%s`", path);
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const mp_fs_entry *)a)->name, ((const mp_fs_entry *)b)->name);
}

/* Some file systems leave d_type unknown. */
static const char *entry_type(DIR *dir, const struct dirent *entry) {
  struct stat st;
  if (entry->d_type != DT_UNKNOWN)
    return mp_fs_type(DTTOIF(entry->d_type));
  if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return "unknown";
  return mp_fs_type(st.st_mode);
}

int mp_fs_list(const char *path, mp_fs_entries *entries, mp_error *err) {
  mp_fs_entries found = {0};
  size_t room = 0;
  DIR *dir = opendir(path);
  if (dir == NULL)
    return mp_error_errno(err, domain, errno, "could not list `%s`", path);
  struct dirent *entry;
  while (errno = 0, (entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    if (found.count == room) {
      room = room ? room * 2 : 16;
      found.items = mp_realloc(found.items, room * sizeof *found.items);
    }
    found.items[found.count++] =
        (mp_fs_entry){.name = mp_strdup(entry->d_name), .type = entry_type(dir, entry)};
  }
  int reason = errno;
  closedir(dir);
  if (reason) {
    mp_fs_entries_free(&found);
    return mp_error_errno(err, domain, reason, "could not list `%s`", path);
  }
  if (found.count > 1)
    qsort(found.items, found.count, sizeof *found.items, by_name);
  *entries = found;
  return 0;
}

void mp_fs_entries_free(mp_fs_entries *entries) {
  for (size_t i = 0; i < entries->count; i++)
    free(entries->items[i].name);
  free(entries->items);
  *entries = (mp_fs_entries){0};
}

/* Single calls */

const char *mp_fs_type(mode_t mode) {
  switch (mode & S_IFMT) {
  case S_IFREG:
    return "file";
  case S_IFDIR:
    return "directory";
  case S_IFLNK:
    return "link";
  case S_IFIFO:
    return "fifo";
  case S_IFSOCK:
    return "socket";
  case S_IFCHR:
    return "character";
  case S_IFBLK:
    return "block";
  default:
    return "unknown";
  }
}

int mp_fs_stat(const char *path, bool follow, struct stat *st, mp_error *err) {
  struct stat found;
  if (fstatat(AT_FDCWD, path, &found, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
    return mp_error_errno(err, domain, errno, "could not look at `%s`", path);
  *st = found;
  return 0;
}

int mp_fs_remove(const char *path, mp_error *err) {
  if (unlink(path) == 0 || (errno == EISDIR && rmdir(path) == 0))
    return 0;
  return mp_error_errno(err, domain, errno, "could not remove `%s`", path);
}

int mp_fs_rename(const char *from, const char *to, bool exclusive, mp_error *err) {
  int rc = exclusive ? renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) : rename(from, to);
  return rc == 0 ? 0
                 : mp_error_errno(err, domain, errno, "could not rename `%s` to `%s`", from, to);
}

int mp_fs_chmod(const char *path, mode_t mode, mp_error *err) {
  if (chmod(path, mode & 07777) == 0)
    return 0;
  return mp_error_errno(err, domain, errno, "could not set the mode of `%s`", path);
}

int mp_fs_chown(const char *path, uid_t uid, gid_t gid, bool follow, mp_error *err) {
  if (fchownat(AT_FDCWD, path, uid, gid, follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0)
    return 0;
  return mp_error_errno(err, domain, errno, "could not set the owner of `%s`", path);
}

static int replace_link(const char *target, const char *path) {
  struct stat st;
  if (lstat(path, &st) < 0)
    return -1;
  if (!S_ISLNK(st.st_mode)) {
    errno = EEXIST;
    return -1;
  }
  uint64_t number;
  mp_random(&number, sizeof number);
  mp_auto_free char *parent = mp_path_dirname(path);
  mp_auto_free char *temp = mp_sprintf("%s/.mp-%016llx.tmp", parent, (unsigned long long)number);
  if (symlink(target, temp) < 0)
    return -1;
  if (rename(temp, path) == 0)
    return 0;
  int reason = errno;
  unlink(temp);
  errno = reason;
  return -1;
}

int mp_fs_symlink(const char *target, const char *path, bool replace, mp_error *err) {
  if (symlink(target, path) == 0)
    return 0;
  if (errno == EEXIST && replace && replace_link(target, path) == 0)
    return 0;
  return mp_error_errno(err, domain, errno, "could not make the symbolic link `%s`", path);
}

char *mp_fs_readlink(const char *path, mp_error *err) {
  char target[PATH_MAX];
  ssize_t len = readlink(path, target, sizeof target);
  if (len < 0) {
    mp_error_errno(err, domain, errno, "could not read the symbolic link `%s`", path);
    return NULL;
  }
  return mp_memdup(target, (size_t)len);
}

char *mp_fs_realpath(const char *path, mp_error *err) {
  char *real = realpath(path, NULL);
  if (real == NULL)
    mp_error_errno(err, domain, errno, "could not resolve `%s`", path);
  return real;
}

static char *temp_template(const char *parent, const char *prefix) {
  if (parent == NULL) {
    const char *set = secure_getenv("TMPDIR");
    parent = set && *set ? set : "/tmp";
  }
  mp_auto_free char *name = mp_sprintf("%sXXXXXX", prefix);
  return mp_path_join(parent, name);
}

char *mp_fs_temp_dir(const char *parent, const char *prefix, mp_error *err) {
  char *path = temp_template(parent, prefix);
  if (mkdtemp(path))
    return path;
  mp_error_errno(err, domain, errno, "could not make a temporary directory `%s`", path);
  free(path);
  return NULL;
}

char *mp_fs_temp_file(const char *parent, const char *prefix, mp_error *err) {
  char *path = temp_template(parent, prefix);
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    return path;
  }
  mp_error_errno(err, domain, errno, "could not make a temporary file `%s`", path);
  free(path);
  return NULL;
}
