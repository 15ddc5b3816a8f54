/* Small reads and writes of whole files: /proc, cgroups, the state record. */
#ifndef MP_SHIM_FILES_H
#define MP_SHIM_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Reads a small file into `out`, NUL-terminated, cut at cap-1 bytes. Returns the length, or -1 with
 * errno. */
ssize_t mp_shim_file_read(const char *path, char *out, size_t cap);

/* Writes `text` to an existing file in one write. Returns 0, or -1 with errno. */
int mp_shim_file_write(const char *path, const char *text);

/* Puts `text` in place of the file `name` of a directory: written beside it, synced if `sync`,
 * renamed. Returns 0, or -1 with errno and the old file untouched. */
int mp_shim_file_replace(int dir, const char *name, const char *text, size_t len, bool sync);

#endif
