/* What the http tests share: one nginx for the whole group, one loop for each test, and exchanges
 * that run to their end. */
#ifndef MP_TESTS_HTTP_FIXTURE_H
#define MP_TESTS_HTTP_FIXTURE_H

#include "unit.h"

#include "core/http.h"
#include "core/mem.h"
#include "tests/fixtures/nginx.h"
#include "tests/fixtures/raw_server.h"

#include <stdio.h>

extern mp_nginx nginx;

int start_nginx(void **state);
int stop_nginx(void **state);
int open_loop(void **state);
int close_loop(void **state); /* aborts where a handle was left open */

/* A URL at one of nginx's ports; from a ring of buffers. */
const char *at(const char *scheme, int port, const char *path);
const char *plain(const char *path);
const char *tls(const char *path);
const char *in_dir(const char *name);

/* The end of one operation. */
typedef struct {
  int calls;
  mp_error err;
} outcome;

void note(void *outcome, const mp_error *err);

/* Runs the loop until this operation has called back; it must do so once. */
void run_until(mp_loop *loop, outcome *outcome);

/* Starts, and waits for the response or its headers. The exchange is the caller's. */
mp_http *fetch(mp_loop *loop, const mp_http_options *options, outcome *outcome);

/* As fetch, and asserts that it went well with this status. */
mp_http *fetch_ok(mp_loop *loop, const mp_http_options *options, int status);

/* As fetch, asserts that it failed with this code, and releases the exchange. *err (may be NULL)
 * gets the error. */
void fetch_fails(mp_loop *loop, const mp_http_options *options, const char *code, mp_error *err);

void assert_body(const mp_http *http, const char *expected);
void assert_contains(const char *text, const char *part);

/* A whole file; the caller frees it. */
char *slurp(const char *path, size_t *len);

#define http_test(f) cmocka_unit_test_setup_teardown(f, open_loop, close_loop)

#endif
