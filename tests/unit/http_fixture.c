#include "http_fixture.h"

mp_nginx nginx;
static mp_loop *running; /* the present test's */

int start_nginx(void **state) {
  (void)state;
  return mp_nginx_start(&nginx);
}

int stop_nginx(void **state) {
  (void)state;
  mp_nginx_stop(&nginx);
  return 0;
}

int open_loop(void **state) {
  mp_error err = MP_ERROR_INIT;
  mp_loop *loop = mp_alloc(sizeof *loop);
  *state = running = loop;
  return mp_loop_init(loop, &err);
}

int close_loop(void **state) {
  mp_loop *loop = *state;
  mp_loop_run(loop);
  mp_loop_close(loop);
  free(loop);
  return 0;
}

const char *at(const char *scheme, int port, const char *path) {
  static char ring[8][256];
  static unsigned next;
  char *url = ring[next++ % 8];
  snprintf(url, sizeof ring[0], "%s://127.0.0.1:%d%s", scheme, port, path);
  return url;
}

const char *plain(const char *path) {
  return at("http", nginx.port, path);
}

const char *tls(const char *path) {
  return at("https", nginx.tls_port, path);
}

const char *in_dir(const char *name) {
  static char ring[8][256];
  static unsigned next;
  char *path = ring[next++ % 8];
  snprintf(path, sizeof ring[0], "%s/%s", nginx.dir, name);
  return path;
}

void note(void *data, const mp_error *err) {
  outcome *outcome = data;
  outcome->calls++;
  if (err)
    mp_error_copy(&outcome->err, err);
  uv_stop(&running->uv);
}

void run_until(mp_loop *loop, outcome *outcome) {
  while (outcome->calls == 0 && uv_run(&loop->uv, UV_RUN_DEFAULT))
    ;
  assert_int_equal(outcome->calls, 1);
}

mp_http *fetch(mp_loop *loop, const mp_http_options *options, outcome *outcome) {
  mp_error err = MP_ERROR_INIT;
  mp_http *http = NULL;
  mp_op *op;
  if (mp_http_start(loop, options, &http, &err) < 0)
    fail_msg("%s", err.message);
  assert_int_equal(mp_http_wait(http, note, outcome, &op, &err), 0);
  run_until(loop, outcome);
  return http;
}

mp_http *fetch_ok(mp_loop *loop, const mp_http_options *options, int status) {
  outcome outcome = {0};
  mp_http *http = fetch(loop, options, &outcome);
  if (outcome.err.domain)
    fail_msg("%s: %s", outcome.err.code, outcome.err.message);
  assert_int_equal(mp_http_response_of(http)->status, status);
  return http;
}

void fetch_fails(mp_loop *loop, const mp_http_options *options, const char *code, mp_error *err) {
  outcome outcome = {0};
  mp_http *http = fetch(loop, options, &outcome);
  if (!outcome.err.domain)
    fail_msg("no error; wanted %s", code);
  if (strcmp(outcome.err.code, code) != 0)
    fail_msg("%s: %s; wanted %s", outcome.err.code, outcome.err.message, code);
  assert_string_equal(outcome.err.domain, "http");
  mp_http_free(http);
  if (err)
    mp_error_move(err, &outcome.err);
  mp_error_reset(&outcome.err);
}

void assert_body(const mp_http *http, const char *expected) {
  mp_http_bytes body = mp_http_peek(http);
  assert_int_equal(body.len, strlen(expected));
  assert_memory_equal(body.data, expected, body.len);
}

void assert_contains(const char *text, const char *part) {
  if (!text || !strstr(text, part))
    fail_msg("`%s` does not contain `%s`", text ? text : "(nothing)", part);
}

char *slurp(const char *path, size_t *len) {
  FILE *file = fopen(path, "re");
  if (!file)
    return NULL;
  fseek(file, 0, SEEK_END);
  *len = (size_t)ftell(file);
  rewind(file);
  char *bytes = malloc(*len + 1);
  assert_int_equal(fread(bytes, 1, *len, file), *len);
  bytes[*len] = '\0';
  fclose(file);
  return bytes;
}
