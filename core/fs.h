/* File system work of several steps. Everything here blocks, so it runs on the pool
 * (mp_work_start), and is callable from any thread. Paths are used as given. Errors have the domain
 * "fs" and an errno name as their code, or one of the codes named below. Descriptors are
 * close-on-exec.
 *
 * Long work takes `stop` (may be NULL): once that is true it ends soon with MP_CANCELLED. */
#ifndef MP_CORE_FS_H
#define MP_CORE_FS_H

#include "buf.h"
#include "error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Appends the whole file to *out. More than `limit` bytes: MP_LIMIT. A FIFO or socket, which could
 * wait for ever, is refused with MP_INVALID. */
int mp_fs_read(const char *path, size_t limit, mp_buf *out, mp_error *err);

typedef struct {
  mode_t mode;    /* exactly this; 0: that of the file replaced, else 0666 less the umask */
  bool exclusive; /* fail with EEXIST where something is there */
  bool no_sync;   /* do not wait for the disk: for what can be made again */
} mp_fs_write_options;

/* Puts the bytes in a new file that takes the place of `path` in one step: a reader sees the old or
 * the new content whole, also after a power cut. A symbolic link at `path` is replaced, not
 * followed. On failure nothing is left (after SIGKILL perhaps a file `.mp-*.tmp` beside it).
 * options may be NULL. */
int mp_fs_write(const char *path, const void *bytes, size_t len, const mp_fs_write_options *options,
                mp_error *err);

/* Appends in one write(2) where the disk allows; made with `mode` where missing. */
int mp_fs_append(const char *path, const void *bytes, size_t len, mode_t mode, mp_error *err);

/* Makes a directory and those above it; the ones made get exactly `mode`. Fine if it is there. */
int mp_fs_mkdirs(const char *path, mode_t mode, mp_error *err);

/* Removes a file, symbolic link or empty directory. Error: ENOENT among others. */
int mp_fs_remove(const char *path, mp_error *err);

/* Removes whatever stands at `path`; nothing there is fine. Follows no symbolic link and, unless
 * `cross_mounts`, enters no other mount (EXDEV). Opens up directories in the
 * tree that are ours and lack permissions; the one around it stays as it is. Refuses "/"
 * (MP_INVALID). */
int mp_fs_remove_tree(const char *path, bool cross_mounts, const atomic_bool *stop, mp_error *err);

/* rename(2); with `exclusive` EEXIST where `to` is there. Does not cross file systems. */
int mp_fs_rename(const char *from, const char *to, bool exclusive, mp_error *err);

typedef struct {
  mode_t mode;    /* 0: that of the source */
  bool exclusive; /* fail with EEXIST where something is there */
  bool no_sync;
  bool reflink_only; /* fail (EOPNOTSUPP, EXDEV, ...) rather than copy what cannot be shared */
  uint64_t size;     /* the copy is made at least this large, by a hole at its end */
} mp_fs_copy_options;

typedef struct {
  const char *method; /* "reflink" (shares blocks) or "copy"; static */
  uint64_t bytes;     /* copied; holes are not */
} mp_fs_copied;

/* Copies a regular file, atomically as mp_fs_write does: by reflink where the file system can, else
 * by copy_file_range over the data, leaving holes as holes. options and result may be NULL. */
int mp_fs_copy(const char *from, const char *to, const mp_fs_copy_options *options,
               mp_fs_copied *result, const atomic_bool *stop, mp_error *err);

/* Makes a sparse file of `size` bytes with exactly `mode`, or grows the one that is there by a hole
 * and leaves its mode as it is. A file that is larger is not cut: MP_FS_LARGER. A symbolic link is
 * not followed (ELOOP). Waits for the disk unless `no_sync`. *before: its size until now, 0 where
 * it was made; may be NULL. */
#define MP_FS_LARGER "larger"
int mp_fs_sparse(const char *path, uint64_t size, mode_t mode, bool no_sync, uint64_t *before,
                 mp_error *err);

/* Appends `len` bytes from `offset` on to *out, fewer where the file ends. */
int mp_fs_read_at(const char *path, uint64_t offset, size_t len, mp_buf *out, mp_error *err);

/* Waits until what others wrote to a file is on the disk, and with `name` that it is there. */
int mp_fs_sync(const char *path, bool name, mp_error *err);

int mp_fs_stat(const char *path, bool follow, struct stat *st, mp_error *err);

/* "file", "directory", "link", "fifo", "socket", "character", "block" or "unknown". Static. */
const char *mp_fs_type(mode_t mode);

typedef struct {
  char *name;
  const char *type; /* as mp_fs_type, of the entry itself */
} mp_fs_entry;

typedef struct {
  mp_fs_entry *items; /* sorted by the bytes of their names, without "." and ".." */
  size_t count;
} mp_fs_entries;

int mp_fs_list(const char *path, mp_fs_entries *entries, mp_error *err);
void mp_fs_entries_free(mp_fs_entries *entries);

int mp_fs_chmod(const char *path, mode_t mode, mp_error *err);

/* (uid_t)-1 or (gid_t)-1 leave that one; `follow` false changes a symbolic link itself. */
int mp_fs_chown(const char *path, uid_t uid, gid_t gid, bool follow, mp_error *err);

/* With `replace` an existing symbolic link at `path` is replaced in one step; anything else there
 * is EEXIST. */
int mp_fs_symlink(const char *target, const char *path, bool replace, mp_error *err);

/* New strings, or NULL on failure. */
char *mp_fs_readlink(const char *path, mp_error *err);
char *mp_fs_realpath(const char *path, mp_error *err);

/* Makes an empty directory (0700) or file (0600) with an unused name in `parent` (NULL: $TMPDIR,
 * else /tmp) that begins with `prefix`. Returns its path. */
char *mp_fs_temp_dir(const char *parent, const char *prefix, mp_error *err);
char *mp_fs_temp_file(const char *parent, const char *prefix, mp_error *err);

/* Fails with MP_FS_UNTRUSTED where anyone but root and the present user could change `path` or put
 * another in its place: by owner or mode of itself, of any directory above it or of what symbolic
 * links on the way lead through. A sticky directory (/tmp) is no danger to what is in it. */
#define MP_FS_UNTRUSTED "untrusted"
int mp_fs_trusted(const char *path, mp_error *err);

#endif
