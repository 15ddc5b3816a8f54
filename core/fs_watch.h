/* Watching a file or directory for changes (inotify). */
#ifndef MP_CORE_FS_WATCH_H
#define MP_CORE_FS_WATCH_H

#include "loop.h"

typedef struct mp_watch mp_watch;

/* Called for each change. `name`: of a watched directory the entry concerned, of a watched file its
 * own, or NULL where it is unknown; valid during the call. `kind` is "change" for content and
 * attributes, "rename" where a name came or went. Several changes may come as one; on `err` nothing
 * more comes. Must not close the watch's loop but may close the watch. */
typedef void (*mp_watch_cb)(void *data, const char *name, const char *kind, mp_error *err);

/* Starts to watch. A file is watched as the inode that it is: to follow a name through rotation,
 * watch its directory. Returns NULL and an error (domain "fs") where it cannot; too many watches is
 * ENOSPC. Keeps the loop alive until closed. */
mp_watch *mp_watch_start(mp_loop *loop, const char *path, mp_watch_cb on_change, void *data,
                         mp_error *err);

/* Ends it: no callback after this. */
void mp_watch_close(mp_watch *watch);

#endif
