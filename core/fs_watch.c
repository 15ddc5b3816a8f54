#include "fs_watch.h"

#include "mem.h"

#include <errno.h>
#include <stdlib.h>

struct mp_watch {
  uv_fs_event_t event;
  char *path;
  mp_watch_cb on_change;
  void *data;
};

static void closed(uv_handle_t *handle) {
  mp_watch *self = handle->data;
  free(self->path);
  free(self);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
  mp_watch *self = event->data;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  if (status < 0)
    mp_error_errno(&err, "fs", status, "could not go on watching `%s`", self->path);
  self->on_change(self->data, name, events & UV_RENAME ? "rename" : "change",
                  status < 0 ? &err : NULL);
}

mp_watch *mp_watch_start(mp_loop *loop, const char *path, mp_watch_cb on_change, void *data,
                         mp_error *err) {
  mp_watch *self = mp_alloc(sizeof *self);
  uv_fs_event_init(&loop->uv, &self->event);
  self->event.data = self;
  self->path = mp_strdup(path);
  self->on_change = on_change;
  self->data = data;
  int rc = uv_fs_event_start(&self->event, on_event, path, 0);
  if (rc == 0)
    return self;
  mp_error_errno(err, "fs", rc, "could not watch `%s`", path);
  if (rc == UV_ENOSPC)
    mp_error_hint(err, "raise fs.inotify.max_user_watches with sysctl");
  uv_close((uv_handle_t *)&self->event, closed);
  return NULL;
}

void mp_watch_close(mp_watch *watch) {
  uv_close((uv_handle_t *)&watch->event, closed);
}
