/* Paths as text: nothing here looks at the file system, but for mp_path_absolute (the working
 * directory) and mp_path_expand (the home directory). Results are new strings that the caller
 * frees. Callable from any thread. */
#ifndef MP_CORE_PATH_H
#define MP_CORE_PATH_H

#include "error.h"

/* Joins with exactly one slash; an absolute `tail` stands alone, an empty one changes nothing. */
char *mp_path_join(const char *head, const char *tail);

/* As dirname(1) and basename(1): "/a/b/" gives "/a" and "b"; "a" gives "." and "a"; "/" both. */
char *mp_path_dirname(const char *path);
char *mp_path_basename(const char *path);

/* The last name's extension with its dot: "a.tar.gz" gives ".gz"; ".profile" and "a" give "". */
char *mp_path_extension(const char *path);

/* Removes ".", empty names and, as far as it can be known from the text, "..". Where a directory is
 * a symbolic link, the result may be another file: use realpath for that. "" gives ".". */
char *mp_path_normalize(const char *path);

/* Normalized and absolute. Error: the working directory is gone (domain "fs"). */
char *mp_path_absolute(const char *path, mp_error *err);

/* How to get from the directory `from` to `path`; both must be absolute. "." where they are one. */
char *mp_path_relative(const char *path, const char *from);

/* Replaces a leading "~" (by $HOME, else the account's home) or "~NAME".
 * Error: no such account (domain "fs", MP_INVALID). Reads the account database, which may block. */
char *mp_path_expand(const char *path, mp_error *err);

#endif
