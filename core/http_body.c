/* Where a request body comes from: memory, a file read on the thread pool, or pieces that the
 * caller sends. libcurl asks for bytes; while there are none it is told to pause that direction. */
#include "http_internal.h"

#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_PIECE (256 * 1024)

/* Lives on its own, since a read on the pool may outlast the exchange. */
struct mp_http_file {
  mp_http *owner; /* borrowed; NULL once the exchange let go */
  uv_fs_t request;
  char *path;
  int fd;
  int64_t size, at;    /* `at`: where the next read begins */
  bool reading, stale; /* stale: what is being read is from before a rewind */
  char piece[FILE_PIECE];
};

static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static void file_free(mp_http_file *file) {
  close(file->fd);
  free(file->path);
  free(file);
}

static void file_read(mp_http_file *file);

static void file_was_read(uv_fs_t *request) {
  mp_http_file *file = request->data;
  ssize_t got = request->result;
  uv_fs_req_cleanup(request);
  file->reading = false;
  mp_http *http = file->owner;
  if (!http) {
    file_free(file);
    return;
  }
  if (file->stale) {
    file->stale = false;
    file_read(file);
    return;
  }
  if (got <= 0) {
    if (got < 0)
      mp_http_fail(http, mp_errno_name((int)got), "could not read `%s`: %s", file->path,
                   strerror((int)-got));
    else
      mp_http_fail(http, "EIO", "`%s` became shorter while it was sent", file->path);
    mp_http_done(http, CURLE_OK);
    return;
  }
  file->at += got;
  mp_buf_append(&http->sending, file->piece, (size_t)got);
  http->send_paused = false;
  mp_http_unpause(http);
}

static void file_read(mp_http_file *file) {
  size_t want = (size_t)smaller(FILE_PIECE, file->size - file->at);
  uv_buf_t buf = uv_buf_init(file->piece, (unsigned)want);
  file->reading = true;
  uv_fs_read(&file->owner->hub->loop->uv, &file->request, file->fd, &buf, 1, file->at,
             file_was_read);
}

static int file_open(mp_http *http, const char *path, mp_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return mp_error_errno(err, "http", errno, "could not open `%s`", path);
  struct stat info;
  if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return mp_error_set(err, "http", MP_INVALID, "`%s` is not a regular file", path);
  }
  mp_http_file *file = mp_alloc(sizeof *file);
  file->owner = http;
  file->path = mp_strdup(path);
  file->fd = fd;
  file->size = info.st_size;
  file->request.data = file;
  http->file = file;
  return 0;
}

int mp_http_body_open(mp_http *http, const mp_http_options *options, mp_error *err) {
  http->body_kind = options->body_kind;
  if (http->body_kind == MP_HTTP_BODY_FILE)
    return file_open(http, options->body_file, err);
  if (http->body_kind == MP_HTTP_BODY_MEMORY)
    mp_buf_append(&http->sending, options->body.data, options->body.len);
  http->sending_ended = http->body_kind != MP_HTTP_BODY_STREAM;
  return 0;
}

void mp_http_body_close(mp_http *http) {
  mp_buf_free(&http->sending);
  mp_http_file *file = mp_steal(http->file);
  if (!file)
    return;
  file->owner = NULL;
  if (file->reading)
    uv_cancel((uv_req_t *)&file->request); /* the callback frees it, soon or at once */
  else
    file_free(file);
}

int64_t mp_http_body_size(const mp_http *http, const mp_http_options *options) {
  switch (http->body_kind) {
  case MP_HTTP_BODY_NONE:
    return 0;
  case MP_HTTP_BODY_MEMORY:
    return (int64_t)http->sending.len;
  case MP_HTTP_BODY_FILE:
    return http->file->size;
  case MP_HTTP_BODY_STREAM:
    return options->body_size;
  }
  return -1;
}

static bool at_end(const mp_http *http) {
  if (http->file)
    return http->file->at >= http->file->size;
  return http->sending_ended;
}

static size_t hold(mp_http *http) {
  http->send_paused = true;
  if (http->file && !http->file->reading)
    file_read(http->file);
  return CURL_READFUNC_PAUSE;
}

size_t mp_http_on_send(char *into, size_t one, size_t room, void *data) {
  mp_http *http = data;
  size_t ready = http->sending.len - http->sent;
  http->active_at = uv_now(&http->hub->loop->uv);
  if (ready == 0)
    return at_end(http) ? 0 : hold(http);
  size_t count = ready < one * room ? ready : one * room;
  memcpy(into, http->sending.data + http->sent, count);
  http->sent += count;
  http->taken += (int64_t)count;
  /* A body in memory is kept for a rewind. */
  if (http->sent == http->sending.len && http->body_kind != MP_HTTP_BODY_MEMORY) {
    mp_buf_clear(&http->sending);
    http->sent = 0;
    if (http->out.cb)
      mp_http_queue(http);
  }
  return count;
}

/* Asked for when a kept connection turns out to be dead, or by a redirect that repeats the body. */
int mp_http_on_seek(void *data, curl_off_t offset, int origin) {
  mp_http *http = data;
  if (origin != SEEK_SET)
    return CURL_SEEKFUNC_CANTSEEK;
  if (http->body_kind == MP_HTTP_BODY_MEMORY) {
    http->sent = (size_t)smaller(offset, (int64_t)http->sending.len);
  } else if (http->file) {
    http->file->at = offset;
    http->file->stale = http->file->reading;
    mp_buf_clear(&http->sending);
    http->sent = 0;
  } else if (offset != http->taken) {
    return CURL_SEEKFUNC_FAIL;
  }
  http->taken = offset;
  return CURL_SEEKFUNC_OK;
}
