/* The course of a download: open the part, ask, then read and write in turn until it is whole.
 *
 * One step is under way at a time: either work on the pool or a wait on the exchange. While a piece
 * is being written, the exchange goes on receiving up to its buffer. */
#include "http_download.h"

#include "http_part.h"
#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct download download;

typedef int (*step_work)(download *self, mp_error *err); /* on the pool */
typedef void (*step_next)(download *self);               /* on the loop, when the step went well */

struct download {
  mp_op op; /* first: the operation is the download */
  mp_loop *loop;
  mp_http_options request; /* a copy */
  bool resume;
  uint64_t max_size;
  void (*on_progress)(void *data, uint64_t done, int64_t total);
  mp_http_download_cb cb;
  void *data;
  mp_http_part part;
  mp_http *http;
  mp_op *step; /* what is under way */
  step_work work;
  step_next next;
  mp_error error; /* of the step, or what the download failed with */
  mp_buf piece;   /* being written */
  int64_t total;  /* -1: unknown */
  uint64_t resumed;
  bool cancelled, failed, restart;
  bool committed;          /* the last step has begun: what it achieves stands, cancelled or not */
  char *range, *validator; /* header values; the latter also for the info file */
  char *url;               /* after redirects */
};

static void ask(download *self);

/* ---- steps ---------------------------------------------------------------------------------- */

static void fail(download *self);

static void step_over(download *self) {
  self->step = NULL;
  if (!self->error.domain && self->cancelled && !self->committed)
    mp_error_set(&self->error, "http", MP_CANCELLED, "the download of `%s` was cancelled",
                 self->part.path);
  if (self->error.domain && !self->failed)
    fail(self);
  else
    self->next(self);
}

static void run_work(void *data) {
  download *self = data;
  self->work(self, &self->error);
}

static void work_done(void *data, bool cancelled) {
  download *self = data;
  if (cancelled) {
    self->cancelled = true;
    self->committed = false;
  }
  step_over(self);
}

static void on_pool(download *self, step_work work, step_next next) {
  self->work = work;
  self->next = next;
  self->step = mp_work_start(self->loop, run_work, work_done, self);
}

static void exchange_done(void *data, const mp_error *err) {
  download *self = data;
  if (err)
    mp_error_copy(&self->error, err);
  step_over(self);
}

typedef int (*exchange_wait)(mp_http *, mp_http_cb, void *, mp_op **, mp_error *);

static void on_exchange(download *self, exchange_wait wait, step_next next) {
  self->next = next;
  wait(self->http, exchange_done, self, &self->step, &self->error); /* nobody else waits on it */
}

/* ---- the end -------------------------------------------------------------------------------- */

static void finish(download *self) {
  mp_http_download_result result = {self->part.size, self->resumed, self->url};
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_move(&err, &self->error);
  self->cb(self->data, self->failed ? NULL : &result, self->failed ? &err : NULL);
  mp_http_part_free(&self->part);
  mp_http_options_free(&self->request);
  mp_buf_free(&self->piece);
  free(self->range);
  free(self->validator);
  free(self->url);
  free(self);
}

static int clean_up(download *self, mp_error *err) {
  (void)err; /* the failure that led here is already in place */
  bool useless = mp_error_is(&self->error, "checksum") || mp_error_is(&self->error, MP_LIMIT);
  mp_http_part_close(&self->part, self->resume && !useless);
  return 0;
}

static void fail(download *self) {
  self->failed = true;
  mp_http_free(mp_steal(self->http));
  on_pool(self, clean_up, finish);
}

static void refuse(download *self, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(download *self, const char *code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  mp_auto_free char *what = mp_vsprintf(format, args);
  va_end(args);
  mp_auto_free char *url = mp_http_redact(self->request.url);
  mp_error_set(&self->error, "http", code, "GET `%s`: %s", url, what);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static int put_in_place(download *self, mp_error *err) {
  return mp_http_part_finish(&self->part, err);
}

static int write_piece(download *self, mp_error *err) {
  return mp_http_part_append(&self->part, self->piece.data, self->piece.len, err);
}

static void receive(download *self);

static void written(download *self) {
  if (self->on_progress)
    self->on_progress(self->data, self->part.size, self->total);
  receive(self);
}

static void whole(download *self) {
  mp_http_free(mp_steal(self->http));
  if (self->total >= 0 && self->part.size != (uint64_t)self->total) {
    refuse(self, "closed", "the file has %llu bytes instead of %lld",
           (unsigned long long)self->part.size, (long long)self->total);
    fail(self);
    return;
  }
  self->committed = true;
  on_pool(self, put_in_place, finish);
}

static bool over_limit(download *self, uint64_t size) {
  if (self->max_size == 0 || size <= self->max_size)
    return false;
  refuse(self, MP_LIMIT, "the file is larger than the limit of %llu bytes",
         (unsigned long long)self->max_size);
  return true;
}

static void received(download *self) {
  if (mp_http_ended(self->http)) {
    whole(self);
    return;
  }
  mp_http_take(self->http, &self->piece);
  if (over_limit(self, self->part.size + self->piece.len))
    fail(self);
  else
    on_pool(self, write_piece, written);
}

static void receive(download *self) {
  on_exchange(self, mp_http_read, received);
}

/* ---- the answer ----------------------------------------------------------------------------- */

static bool field_text(download *self, const char *name, char *text, size_t size) {
  mp_http_field field;
  if (!mp_http_find_field(mp_http_fields(self->http), name, &field) || field.value_len >= size)
    return false;
  memcpy(text, field.value, field.value_len);
  text[field.value_len] = '\0';
  return true;
}

/* A weak ETag ("W/...") says that the content means the same, not that its bytes are the same. */
static void note_validator(download *self) {
  char text[512];
  free(mp_steal(self->validator));
  if ((field_text(self, "ETag", text, sizeof text) && strncmp(text, "W/", 2) != 0) ||
      field_text(self, "Last-Modified", text, sizeof text))
    self->validator = mp_strdup(text);
}

static int note_source(download *self, mp_error *err) {
  if (self->restart && mp_http_part_restart(&self->part, err) < 0)
    return -1;
  self->restart = false;
  if (!self->resume)
    return 0;
  return mp_http_part_note(&self->part, self->request.url, self->validator, err);
}

static void take_all(download *self) {
  char text[32];
  self->restart = self->part.size > 0;
  self->resumed = 0;
  if (field_text(self, "Content-Length", text, sizeof text))
    self->total = strtoll(text, NULL, 10);
}

/* "bytes 100-199/200" or ".../\*" */
static bool take_rest(download *self) {
  char text[96];
  unsigned long long first, last, total;
  if (!field_text(self, "Content-Range", text, sizeof text))
    return false;
  int count = sscanf(text, "bytes %llu-%llu/%llu", &first, &last, &total);
  if (count < 2 || first != self->part.size || last < first)
    return false;
  self->resumed = first;
  self->total = (int64_t)(count == 3 ? total : last + 1);
  return true;
}

/* The part may be all there is: "bytes *\/200". */
static bool has_all(download *self) {
  char text[96];
  unsigned long long total;
  return field_text(self, "Content-Range", text, sizeof text) &&
         sscanf(text, "bytes */%llu", &total) == 1 && total == self->part.size;
}

static int empty_part(download *self, mp_error *err) {
  return mp_http_part_restart(&self->part, err);
}

static void answered(download *self) {
  const mp_http_response *response = mp_http_response_of(self->http);
  free(self->url);
  self->url = mp_strdup(response->url);
  bool asked_rest = self->range != NULL;
  if (response->status == 416 && asked_rest) {
    if (has_all(self)) {
      self->resumed = self->part.size;
      whole(self);
      return;
    }
    mp_http_free(mp_steal(self->http));
    on_pool(self, empty_part, ask); /* and so it is asked for without a range */
    return;
  }
  if (response->status == 200)
    take_all(self);
  else if (response->status != 206)
    refuse(self, "status", "the server answered %d%s%s", response->status,
           *response->reason ? " " : "", response->reason);
  else if (!asked_rest || !take_rest(self))
    refuse(self, MP_PROTOCOL, "the server sent another range than it was asked for");
  note_validator(self);
  if (self->error.domain || (self->total >= 0 && over_limit(self, (uint64_t)self->total)))
    fail(self);
  else
    on_pool(self, note_source, receive);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void ask(download *self) {
  mp_http_options request = self->request;
  mp_http_header *headers = mp_calloc(request.header_count + 2, sizeof *headers);
  size_t count = request.header_count;
  if (count > 0)
    memcpy(headers, request.headers, count * sizeof *headers);
  free(mp_steal(self->range));
  if (self->part.size > 0) {
    self->range = mp_sprintf("bytes=%llu-", (unsigned long long)self->part.size);
    headers[count++] = (mp_http_header){"Range", self->range};
    if (self->part.validator)
      headers[count++] = (mp_http_header){"If-Range", self->part.validator};
  }
  request.method = "GET";
  request.body_kind = MP_HTTP_BODY_NONE;
  request.stream = true;
  request.max_body = 0;
  request.compressed = false;
  if (request.idle_timeout_ms == MP_HTTP_DEFAULT)
    request.idle_timeout_ms = MP_HTTP_IDLE_TIMEOUT_MS;
  request.headers = headers;
  request.header_count = count;
  int rc = mp_http_start(self->loop, &request, &self->http, &self->error);
  free(headers);
  if (rc < 0)
    fail(self);
  else
    on_exchange(self, mp_http_wait, answered);
}

/* ---- starting ------------------------------------------------------------------------------- */

static int open_part(download *self, mp_error *err) {
  return mp_http_part_open(&self->part, self->request.url, self->resume, err);
}

static void cancel(mp_op *op) {
  download *self = (download *)op;
  self->cancelled = true;
  atomic_store(&self->part.stop, true);
  if (self->step && !self->failed)
    mp_op_cancel(self->step);
}

static int check_digest(const char *digest, mp_hash_kind kind, mp_error *err) {
  size_t len = 2 * mp_hash_size(kind);
  if (!digest || (strlen(digest) == len && strspn(digest, "0123456789abcdefABCDEF") == len))
    return 0;
  return mp_error_set(err, "http", MP_INVALID, "a %s has %zu hex digits; `%s` is none",
                      mp_hash_name(kind), len, digest);
}

int mp_http_download(mp_loop *loop, const mp_http_download_options *options, mp_http_download_cb cb,
                     void *data, mp_op **op, mp_error *err) {
  if (!options->path || !*options->path)
    return mp_error_set(err, "http", MP_INVALID, "a download needs a `path`");
  if (!options->request.url)
    return mp_error_set(err, "http", MP_INVALID, "a download needs a `url`");
  if (check_digest(options->sha256, MP_HASH_SHA256, err) < 0 ||
      check_digest(options->sha512, MP_HASH_SHA512, err) < 0)
    return -1;
  download *self = mp_alloc(sizeof *self);
  self->op.cancel = cancel;
  self->loop = loop;
  mp_http_options_copy(&self->request, &options->request);
  self->resume = options->resume;
  self->max_size = options->max_size;
  self->on_progress = options->on_progress;
  self->cb = cb;
  self->data = data;
  self->total = -1;
  mp_http_part_init(&self->part, options->path, options->sha256, options->sha512);
  on_pool(self, open_part, ask);
  *op = &self->op;
  return 0;
}
