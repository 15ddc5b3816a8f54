/* moonport.core.http: downloads. Progress is pulled like everything else: the task waits for news
 * and calls the script's function itself, so that this may wait too. */
#include "bind_http.h"

#include "class.h"
#include "core/mem.h"
#include "errors.h"
#include "gate.h"
#include "task.h"

#include <stdlib.h>

#define DOWNLOAD "moonport.http.download"

/* Outlives the Lua value when that is collected early: freed when both are gone. */
typedef struct {
  mp_op *op;       /* NULL once it has ended */
  mp_wait *waiter; /* who waits for news */
  bool wants_progress, collected, has_news;
  uint64_t done, size, resumed;
  int64_t total;
  char *url;
  mp_error error;
} download;

static void download_free(download *self) {
  free(self->url);
  mp_error_reset(&self->error);
  free(self);
}

static void wake(download *self) {
  mp_wait *wait = mp_steal(self->waiter);
  if (wait)
    mp_wait_done(wait);
}

static void on_progress(void *data, uint64_t done, int64_t total) {
  download *self = data;
  self->done = done;
  self->total = total;
  self->has_news = true;
  if (self->wants_progress)
    wake(self);
}

static void ended(void *data, const mp_http_download_result *result, const mp_error *err) {
  download *self = data;
  self->op = NULL;
  if (err)
    mp_error_copy(&self->error, err);
  if (result) {
    self->size = result->size;
    self->resumed = result->resumed;
    self->url = mp_strdup(result->url);
  }
  if (self->collected)
    download_free(self);
  else
    wake(self);
}

static download *check_download(lua_State *L) {
  return *(download **)luaL_checkudata(L, 1, DOWNLOAD);
}

/* download(options, wants_progress) */
static int l_download(lua_State *L) {
  mp_http_download_options options = {.on_progress = on_progress};
  mp_error err = MP_ERROR_INIT;
  bool wants_progress = lua_toboolean(L, 2);
  mp_http_read_options(L, 1, &options.request, &options);
  mp_gate(L, "http.download", "write `%s`", options.path ? options.path : "");
  download **slot = lua_newuserdatauv(L, sizeof *slot, 0);
  *slot = NULL;
  luaL_setmetatable(L, DOWNLOAD);
  download *self = *slot = mp_alloc(sizeof *self);
  self->wants_progress = wants_progress;
  if (mp_http_download(mp_loop_of(L), &options, ended, self, &self->op, &err) < 0)
    return mp_throw(L, &err);
  return 1;
}

static void stop_waiting(mp_wait *wait);

typedef struct {
  mp_wait wait;
  download *of;
} news_wait;

static void stop_waiting(mp_wait *wait) {
  ((news_wait *)wait)->of->waiter = NULL;
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static int wait_for_news(lua_State *L, download *self, const char *what, mp_wait_finish finish) {
  news_wait *wait = mp_wait_new(L, sizeof *wait, what, finish);
  wait->of = self;
  wait->wait.cancel = stop_waiting;
  self->waiter = &wait->wait;
  return mp_wait_yield(L, &wait->wait);
}

static int push_progress(lua_State *L, download *self) {
  self->has_news = false;
  lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)self->done);
  if (self->total < 0)
    return 2;
  lua_pushinteger(L, (lua_Integer)self->total);
  return 3;
}

static int push_result(lua_State *L, download *self) {
  if (self->error.domain) {
    mp_error err = MP_ERROR_INIT;
    mp_error_copy(&err, &self->error);
    return mp_throw(L, &err);
  }
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, (lua_Integer)self->size);
  lua_setfield(L, -2, "size");
  lua_pushinteger(L, (lua_Integer)self->resumed);
  lua_setfield(L, -2, "resumed");
  lua_pushstring(L, self->url);
  lua_setfield(L, -2, "url");
  return 1;
}

/* There is something to say: how far it is, then how it ended. */
static int tell(lua_State *L, mp_wait *wait) {
  (void)wait;
  download *self = check_download(L);
  if (self->has_news && self->wants_progress && !self->error.domain)
    return push_progress(L, self);
  return push_result(L, self);
}

/* download:wait(): nil, done, total (nil while unknown) on progress; the result at the end */
static int download_wait(lua_State *L) {
  download *self = check_download(L);
  lua_settop(L, 1);
  if (!self->op || (self->has_news && self->wants_progress))
    return tell(L, NULL);
  return wait_for_news(L, self, "http.download", tell);
}

static int ended_finish(lua_State *L, mp_wait *wait) {
  (void)L, (void)wait;
  return 0;
}

/* Cancels, and waits until the files are as they are to stay. */
static int download_close(lua_State *L) {
  download *self = check_download(L);
  if (!self->op)
    return 0;
  self->wants_progress = false;
  mp_op_cancel(self->op);
  return wait_for_news(L, self, "http.download", ended_finish);
}

static int download_gc(lua_State *L) {
  download **slot = luaL_checkudata(L, 1, DOWNLOAD);
  download *self = mp_steal(*slot);
  if (!self)
    return 0;
  if (!self->op) {
    download_free(self);
    return 0;
  }
  self->collected = true;
  mp_op_cancel(self->op);
  return 0;
}

void mp_http_open_download(lua_State *L) {
  static const luaL_Reg methods[] = {{"wait", download_wait},
                                     {"close", download_close},
                                     {"__close", download_close},
                                     {"__gc", download_gc},
                                     {NULL, NULL}};
  mp_class(L, DOWNLOAD, methods);
  lua_pushcfunction(L, l_download);
  lua_setfield(L, -2, "download");
}
