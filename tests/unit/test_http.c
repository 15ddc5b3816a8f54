/* Exchanges with a real nginx: methods, headers, bodies, TLS, sockets, proxies, redirects. */
#include "http_fixture.h"

#include "core/lines.h"

static mp_http_options get(const char *url) {
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  options.url = url;
  return options;
}

static mp_http_options get_tls(const char *url) {
  mp_http_options options = get(url);
  options.tls.ca_file = in_dir("ca.pem");
  return options;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void a_get_brings_status_fields_and_body(void **state) {
  mp_http_options options = get(plain("/small"));
  mp_http *http = fetch_ok(*state, &options, 200);
  const mp_http_response *response = mp_http_response_of(http);
  mp_http_field field;
  assert_int_equal(response->version, 11);
  assert_string_equal(response->reason, "OK");
  assert_string_equal(response->url, options.url);
  assert_int_equal(mp_http_peek(http).len, 1024);
  assert_true(mp_http_find_field(mp_http_fields(http), "content-LENGTH", &field));
  assert_int_equal(field.value_len, 4);
  assert_memory_equal(field.value, "1024", 4);
  assert_false(mp_http_find_field(mp_http_fields(http), "content", &field));
  assert_true(response->timings.total > 0);
  mp_http_free(http);
}

static void every_method_arrives_as_written(void **state) {
  static const char *const methods[] = {"GET",   "POST",    "PUT",  "DELETE",
                                        "PATCH", "OPTIONS", "PURGE"};
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    mp_http_options options = get(plain("/method"));
    options.method = methods[i];
    mp_http *http = fetch_ok(*state, &options, 200);
    assert_body(http, methods[i]);
    mp_http_free(http);
  }
}

static void a_head_has_fields_and_no_body(void **state) {
  mp_http_options options = get(plain("/big"));
  options.method = "HEAD";
  options.max_body = 10; /* of which there is none */
  mp_http *http = fetch_ok(*state, &options, 200);
  mp_http_field field;
  assert_true(mp_http_find_field(mp_http_fields(http), "Content-Length", &field));
  assert_int_equal(mp_http_peek(http).len, 0);
  mp_http_free(http);
}

static void headers_are_sent_and_repeated_ones_can_be_walked(void **state) {
  mp_http_options options = get(plain("/headers"));
  mp_http_header headers[] = {{"X-Test", "one two"}, {"Host", "moon.test"}, {"X-Empty", ""}};
  options.headers = headers;
  options.header_count = 3;
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_body(http, "one two|moonport|moon.test");
  char seen[8] = "";
  mp_http_field field;
  for (size_t at = 0; mp_http_next_field(mp_http_fields(http), &at, &field);) {
    if (field.name_len == 7 && strncmp(field.name, "X-Twice", 7) == 0)
      strncat(seen, field.value, field.value_len);
  }
  assert_string_equal(seen, "ab");
  mp_http_free(http);
}

static void an_error_status_is_no_error(void **state) {
  mp_http_options options = get(plain("/busy"));
  mp_http *http = fetch_ok(*state, &options, 503);
  assert_body(http, "come back later");
  mp_http_free(http);
}

/* The options of one exchange must not leak into the next on the same handle. */
static void a_kept_handle_and_connection_remember_nothing(void **state) {
  mp_http_options post = get(plain("/method"));
  mp_http_header secret = {"X-Test", "secret"};
  post.method = "POST";
  post.headers = &secret;
  post.header_count = 1;
  mp_http_free(fetch_ok(*state, &post, 200));
  mp_http_options options = get(plain("/headers"));
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_true(mp_http_response_of(http)->reused);
  mp_http_bytes body = mp_http_peek(http);
  assert_memory_equal(body.data, "|moonport|127.0.0.1", 19);
  mp_http_free(http);
}

static void options_that_cannot_be_meant_are_refused_by_name(void **state) {
  mp_http_header evil = {"X-Test", "a\r\nX-Admin: yes"}, unnamed = {"X Test", "a"};
  mp_http_options cases[10];
  for (size_t i = 0; i < 10; i++)
    cases[i] = get(plain("/"));
  cases[0].url = "ftp://host/";
  cases[1].url = "http://host/a b";
  cases[2].method = "GET /";
  cases[3].headers = &evil;
  cases[4].headers = &unnamed;
  cases[3].header_count = cases[4].header_count = 1;
  cases[5].tls.key_file = "key";
  cases[6].tls = (mp_http_tls){.ca_file = "x", .ca_pem = {"x", 1}};
  cases[7].unix_socket = in_dir("012345678901234567890123456789012345678901234567890123456789"
                                "012345678901234567890123456789012345678901234567890123456789");
  cases[8].method = "DELETE";
  cases[8].redirects = 1;
  cases[9].url = NULL;
  const char *words[] = {
      "scheme", "space",  "method", "`X-Test`", "header name", "certificate", "CA is given twice",
      "107",    "DELETE", "`url`"};
  for (size_t i = 0; i < 10; i++) {
    mp_error err = MP_ERROR_INIT;
    mp_http *http = NULL;
    assert_int_equal(mp_http_start(*state, &cases[i], &http, &err), -1);
    assert_string_equal(err.code, MP_INVALID);
    mp_auto_free char *all = mp_sprintf("%s %s", err.message, err.hint ? err.hint : "");
    assert_contains(all, words[i]);
    mp_error_reset(&err);
  }
}

/* ---- request bodies ------------------------------------------------------------------------- */

/* Answers with the request's body, un-chunked as it came. */
static void echo_body(int fd, const char *request, void *data) {
  char head[128];
  const char *body = strstr(request, "\r\n\r\n") + 4;
  if (data)
    *(char **)data = strdup(request);
  snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
           strlen(body));
  mp_raw_send(fd, head);
  mp_raw_send(fd, body);
}

static void a_body_from_memory_is_sent_with_its_length_and_no_type_of_curls(void **state) {
  static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE", "GET"};
  for (size_t i = 0; i < 5; i++) {
    mp_raw_server server;
    char *request = NULL;
    mp_raw_start(&server, echo_body, &request);
    mp_http_options options = get(server.url);
    options.method = methods[i];
    options.body_kind = MP_HTTP_BODY_MEMORY;
    options.body = (mp_http_bytes){"{\"a\":1}", 7};
    mp_http *http = fetch_ok(*state, &options, 200);
    assert_body(http, "{\"a\":1}");
    mp_http_free(http);
    mp_raw_stop(&server);
    assert_memory_equal(request, methods[i], strlen(methods[i]));
    assert_contains(request, "Content-Length: 7\r\n");
    assert_null(strcasestr(request, "content-type"));
    assert_null(strcasestr(request, "expect"));
    free(request);
  }
}

static void a_body_from_a_file_is_sent_whole(void **state) {
  static const char *const methods[] = {"POST", "PUT", "PATCH"};
  size_t len;
  char *text = NULL;
  FILE *file = fopen(in_dir("upload"), "we");
  for (int i = 0; i < 100000; i++)
    fprintf(file, "line %d\n", i);
  fclose(file);
  text = slurp(in_dir("upload"), &len);
  for (size_t i = 0; i < 3; i++) {
    mp_raw_server server;
    mp_raw_start(&server, echo_body, NULL);
    mp_http_options options = get(server.url);
    options.method = methods[i];
    options.body_kind = MP_HTTP_BODY_FILE;
    options.body_file = in_dir("upload");
    mp_http *http = fetch_ok(*state, &options, 200);
    assert_body(http, text);
    mp_http_free(http);
    mp_raw_stop(&server);
  }
  free(text);
}

static void a_file_that_cannot_be_sent_is_refused_before_anything_is(void **state) {
  mp_http_options options = get(plain("/"));
  mp_error err = MP_ERROR_INIT;
  mp_http *http;
  options.method = "PUT";
  options.body_kind = MP_HTTP_BODY_FILE;
  options.body_file = in_dir("no-such-file");
  assert_int_equal(mp_http_start(*state, &options, &http, &err), -1);
  assert_string_equal(err.code, "ENOENT");
  options.body_file = nginx.dir;
  assert_int_equal(mp_http_start(*state, &options, &http, &err), -1);
  assert_contains(err.message, "not a regular file");
  mp_error_reset(&err);
}

static void send_all(mp_loop *loop, mp_http *http, const char *const *pieces) {
  for (; *pieces; pieces++) {
    mp_error err = MP_ERROR_INIT;
    mp_op *op;
    outcome sent = {0};
    assert_int_equal(mp_http_send(http, *pieces, strlen(*pieces), note, &sent, &op, &err), 0);
    run_until(loop, &sent);
    assert_null(sent.err.domain);
  }
  mp_http_finish(http);
}

static void a_streamed_body_goes_out_in_chunks_or_with_the_length_told(void **state) {
  for (int known = 0; known <= 1; known++) {
    mp_raw_server server;
    mp_error err = MP_ERROR_INIT;
    char *request = NULL;
    mp_raw_start(&server, echo_body, &request);
    mp_http_options options = get(server.url);
    options.method = "POST";
    options.body_kind = MP_HTTP_BODY_STREAM;
    options.body_size = known ? 11 : -1;
    mp_http *http;
    mp_op *op;
    outcome done = {0};
    assert_int_equal(mp_http_start(*state, &options, &http, &err), 0);
    assert_int_equal(mp_http_wait(http, note, &done, &op, &err), 0);
    send_all(*state, http, (const char *[]){"hello ", "world", NULL});
    run_until(*state, &done);
    assert_null(done.err.domain);
    mp_http_free(http);
    mp_raw_stop(&server);
    assert_contains(request, known ? "Content-Length: 11\r\n" : "Transfer-Encoding: chunked\r\n");
    assert_contains(request,
                    known ? "\r\n\r\nhello world" : "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
    free(request);
  }
}

static void refuse_and_close(int fd, const char *request, void *data) {
  (void)request, (void)data;
  mp_raw_send(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void a_sender_learns_that_the_exchange_ended_before_its_body(void **state) {
  mp_raw_server server;
  mp_error err = MP_ERROR_INIT;
  mp_raw_start(&server, refuse_and_close, NULL);
  mp_http_options options = get(server.url);
  options.method = "POST";
  options.body_kind = MP_HTTP_BODY_STREAM;
  options.body_size = 5; /* the server reads 5 bytes, answers and closes; then we go on */
  mp_http *http;
  mp_op *op;
  outcome done = {0}, sent = {0};
  assert_int_equal(mp_http_start(*state, &options, &http, &err), 0);
  assert_int_equal(mp_http_wait(http, note, &done, &op, &err), 0);
  assert_int_equal(mp_http_send(http, "hello", 5, note, &sent, &op, &err), 0);
  run_until(*state, &sent);
  run_until(*state, &done);
  assert_int_equal(mp_http_response_of(http)->status, 413);
  sent = (outcome){0};
  assert_int_equal(mp_http_send(http, "more", 4, note, &sent, &op, &err), 0);
  run_until(*state, &sent);
  assert_string_equal(sent.err.code, "closed");
  mp_error_reset(&sent.err);
  mp_http_free(http);
  mp_raw_stop(&server);
}

/* ---- TLS ------------------------------------------------------------------------------------ */

static void tls_is_verified_against_the_ca_that_is_named(void **state) {
  mp_http_options options = get_tls(tls("/small"));
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_true(mp_http_response_of(http)->timings.secured > 0);
  mp_http_free(http);
}

static void an_unknown_ca_fails_and_says_what_was_trusted(void **state) {
  mp_error err = MP_ERROR_INIT;
  mp_http_options options = get(tls("/small"));
  fetch_fails(*state, &options, "tls", &err);
  assert_contains(err.message, "GET `https://127.0.0.1:");
  assert_contains(err.hint, "the system's CAs");
  options.tls.ca_file = in_dir("client.pem");
  fetch_fails(*state, &options, "tls", &err);
  assert_contains(err.hint, "client.pem");
  mp_error_reset(&err);
}

static void insecure_is_only_when_asked(void **state) {
  mp_http_options options = get(tls("/small"));
  options.tls.insecure = true;
  mp_http_free(fetch_ok(*state, &options, 200));
  options.tls.insecure = false;
  fetch_fails(*state, &options, "tls", NULL);
}

static void a_client_certificate_comes_from_files_or_from_memory(void **state) {
  mp_http_options options = get_tls(tls("/private"));
  mp_http_free(fetch_ok(*state, &options, 403));
  options.tls.cert_file = in_dir("client.pem");
  options.tls.key_file = in_dir("client.key");
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_body(http, "CN=alice");
  mp_http_free(http);

  size_t ca, cert, key;
  char *ca_pem = slurp(in_dir("ca.pem"), &ca);
  char *cert_pem = slurp(in_dir("client.pem"), &cert);
  char *key_pem = slurp(in_dir("client.key"), &key);
  options.tls = (mp_http_tls){
      .ca_pem = {ca_pem, ca}, .cert_pem = {cert_pem, cert}, .key_pem = {key_pem, key}};
  http = fetch_ok(*state, &options, 200);
  assert_body(http, "CN=alice");
  mp_http_free(http);
  free(ca_pem);
  free(cert_pem);
  free(key_pem);
}

/* OpenSSL would add the issuers that it finds among the CAs; nginx knows none but ca.pem. */
static void a_client_certificate_is_sent_with_the_issuers_in_its_pem_and_no_others(void **state) {
  size_t ca, middle, guest;
  mp_auto_free char *ca_pem = slurp(in_dir("ca.pem"), &ca);
  mp_auto_free char *middle_pem = slurp(in_dir("middle.pem"), &middle);
  mp_auto_free char *guest_pem = slurp(in_dir("guest.pem"), &guest);
  mp_auto_free char *cas = mp_sprintf("%s%s", ca_pem, middle_pem);
  mp_auto_free char *chain = mp_sprintf("%s%s", guest_pem, middle_pem);
  mp_http_options options = get(tls("/private"));
  options.tls = (mp_http_tls){.ca_pem = {cas, ca + middle},
                              .cert_pem = {guest_pem, guest},
                              .key_file = in_dir("guest.key")};
  mp_http_free(fetch_ok(*state, &options, 400)); /* of whom the server knows no issuer */
  options.tls.cert_pem = (mp_http_bytes){chain, guest + middle};
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_body(http, "CN=bob");
  mp_http_free(http);
}

/* A connection with a client's certificate must not serve an exchange without it. */
static void a_connection_is_not_shared_across_identities(void **state) {
  mp_http_options options = get_tls(tls("/private"));
  options.tls.cert_file = in_dir("client.pem");
  options.tls.key_file = in_dir("client.key");
  mp_http_free(fetch_ok(*state, &options, 200));
  options = get_tls(tls("/private"));
  mp_http_free(fetch_ok(*state, &options, 403));
}

static void a_server_name_is_asked_for_and_verified_instead_of_the_host(void **state) {
  char expected[64];
  mp_http_options options = get_tls(tls("/protocol"));
  options.version = MP_HTTP_1_1;
  options.tls.server_name = "moon.test";
  mp_http *http = fetch_ok(*state, &options, 200);
  snprintf(expected, sizeof expected, "HTTP/1.1|moon.test|127.0.0.1:%d", nginx.tls_port);
  assert_body(http, expected);
  assert_string_equal(mp_http_response_of(http)->url, options.url);
  mp_http_free(http);

  mp_error err = MP_ERROR_INIT;
  options.tls.server_name = "mars.test";
  fetch_fails(*state, &options, "tls", &err);
  assert_contains(err.hint, "server_name");
  mp_error_reset(&err);
}

static void plain_http_on_a_tls_port_explains_itself(void **state) {
  mp_error err = MP_ERROR_INIT;
  mp_http_options options = get(at("https", nginx.port, "/small"));
  fetch_fails(*state, &options, "tls", &err);
  assert_contains(err.hint, "http://");
  mp_error_reset(&err);
}

static void http2_is_used_by_offer_and_by_prior_knowledge(void **state) {
  mp_http_options options = get_tls(tls("/small"));
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_int_equal(mp_http_response_of(http)->version, 20);
  mp_http_free(http);
  options.version = MP_HTTP_1_1;
  http = fetch_ok(*state, &options, 200);
  assert_int_equal(mp_http_response_of(http)->version, 11);
  mp_http_free(http);
  options = get(at("http", nginx.h2c_port, "/protocol"));
  options.version = MP_HTTP_2;
  http = fetch_ok(*state, &options, 200);
  assert_body(http, "HTTP/2.0");
  mp_http_free(http);
}

/* ---- routes --------------------------------------------------------------------------------- */

static void a_unix_socket_stands_in_for_the_host(void **state) {
  mp_http_options options = get("http://docker/small");
  options.unix_socket = nginx.socket;
  mp_http_free(fetch_ok(*state, &options, 200));
  mp_error err = MP_ERROR_INIT;
  options.unix_socket = in_dir("nobody.sock");
  fetch_fails(*state, &options, "connect", &err);
  assert_contains(err.message, "nobody.sock");
  assert_string_equal(err.cause->code, "ENOENT");
  mp_error_reset(&err);
}

static void a_proxy_that_is_named_is_used_and_loopback_needs_none(void **state) {
  mp_raw_server proxy;
  char *request = NULL;
  mp_raw_start(&proxy, echo_body, &request);
  mp_http_options options = get(plain("/small"));
  setenv("http_proxy", proxy.url, 1);
  mp_http_free(fetch_ok(*state, &options, 200));
  assert_null(request);
  options.proxy = proxy.url;
  mp_http_free(fetch_ok(*state, &options, 200));
  unsetenv("http_proxy");
  mp_raw_stop(&proxy);
  assert_non_null(request);
  mp_auto_free char *line = mp_sprintf("GET %s HTTP/1.1\r\n", options.url);
  assert_contains(request, line);
  free(request);
}

static void redirects_are_followed_up_to_the_limit(void **state) {
  mp_http_options options = get(plain("/hop"));
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_string_equal(mp_http_response_of(http)->url, plain("/small"));
  assert_int_equal(mp_http_response_of(http)->redirects, 1);
  assert_int_equal(mp_http_peek(http).len, 1024);
  mp_http_free(http);
  options.redirects = 0;
  http = fetch_ok(*state, &options, 302);
  mp_http_free(http);
  options = get(plain("/loop"));
  fetch_fails(*state, &options, "redirects", NULL);
}

static void a_post_is_redirected_only_when_told_so_and_then_as_a_get(void **state) {
  mp_http_options options = get(plain("/see-other"));
  options.method = "POST";
  mp_http_free(fetch_ok(*state, &options, 303));
  options.redirects = 1;
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_body(http, "GET");
  mp_http_free(http);
  options.method = "PUT";
  http = fetch_ok(*state, &options, 200);
  assert_body(http, "GET");
  mp_http_free(http);
}

static void a_redirect_takes_no_credentials_to_another_server(void **state) {
  mp_raw_server other;
  char *request = NULL;
  mp_raw_start(&other, echo_body, &request);
  mp_auto_free char *path = mp_sprintf("/to?url=%s", other.url);
  mp_http_header headers[] = {{"Authorization", "Bearer abc"}, {"Cookie", "c=abc"}};
  mp_http_options options = get(plain(path));
  options.headers = headers;
  options.header_count = 2;
  mp_http_free(fetch_ok(*state, &options, 200));
  mp_raw_stop(&other);
  assert_null(strstr(request, "abc"));
  free(mp_steal(request));
  mp_raw_start(&other, echo_body, &request);
  mp_auto_free char *again =
      mp_sprintf("http://me:word@127.0.0.1:%d/to?url=%s", nginx.port, other.url);
  options = get(again);
  mp_http_free(fetch_ok(*state, &options, 200));
  mp_raw_stop(&other);
  assert_null(strcasestr(request, "authorization"));
  free(request);
}

static void a_redirect_takes_no_secret_header_to_another_server(void **state) {
  mp_raw_server other;
  char *request = NULL;
  mp_raw_start(&other, echo_body, &request);
  mp_auto_free char *away = mp_sprintf("/to?url=%s", other.url);
  mp_http_header headers[] = {
      {"X-Key", "abc", true}, {"X-Test", "shown"}, {"X-Other", "xyz", true}};
  mp_http_options options = get(plain(away));
  options.headers = headers;
  options.header_count = 3;
  mp_http_free(fetch_ok(*state, &options, 200));
  mp_raw_stop(&other);
  assert_null(strcasestr(request, "X-Key"));
  assert_null(strcasestr(request, "X-Other"));
  assert_contains(request, "X-Test: shown");
  free(request);
}

static void a_redirect_on_the_same_server_takes_secret_headers_along(void **state) {
  mp_http_header headers[] = {{"X-Test", "kept", true}};
  mp_auto_free char *path = mp_sprintf("/to?url=%s", plain("/headers"));
  mp_http_options options = get(plain(path));
  options.headers = headers;
  options.header_count = 1;
  mp_http *http = fetch_ok(*state, &options, 200);
  assert_memory_equal(mp_http_peek(http).data, "kept|", 5);
  mp_http_free(http);
}

static void what_was_asked_for_over_tls_does_not_come_without(void **state) {
  mp_error err = MP_ERROR_INIT;
  mp_auto_free char *down = mp_sprintf("/to?url=%s", plain("/small"));
  mp_http_options options = get_tls(tls(down));
  fetch_fails(*state, &options, "redirects", &err);
  assert_contains(err.message, "without TLS");
  mp_error_reset(&err);
  options = get(plain(down)); /* the handle that was kept has forgotten it */
  mp_http_free(fetch_ok(*state, &options, 200));
  mp_auto_free char *up = mp_sprintf("/to?url=%s", tls("/method"));
  options = get_tls(plain(up));
  mp_http_free(fetch_ok(*state, &options, 200));
}

/* ---- streams -------------------------------------------------------------------------------- */

static size_t read_piece(mp_loop *loop, mp_http *http, outcome *read) {
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  *read = (outcome){0};
  assert_int_equal(mp_http_read(http, note, read, &op, &err), 0);
  run_until(loop, read);
  return mp_http_peek(http).len;
}

static void a_streamed_body_arrives_whole_and_in_order(void **state) {
  mp_http_options options = get(plain("/big"));
  options.stream = true;
  options.buffer = 64 * 1024;
  mp_http *http = fetch_ok(*state, &options, 200);
  size_t len, got = 0;
  char *expected = slurp(in_dir("www/big"), &len);
  while (!mp_http_ended(http)) {
    outcome read;
    size_t count = read_piece(*state, http, &read);
    assert_null(read.err.domain);
    assert_true(count <= 64 * 1024 + 16 * 1024);
    assert_true(got + count <= len);
    assert_memory_equal(mp_http_peek(http).data, expected + got, count);
    mp_http_consume(http, count);
    got += count;
  }
  assert_int_equal(got, len);
  free(expected);
  mp_http_free(http);
}

static void lines_can_be_read_from_a_stream(void **state) {
  FILE *file = fopen(in_dir("www/lines"), "we");
  for (int i = 0; i < 50000; i++)
    fprintf(file, "line %d\n", i);
  fclose(file);
  mp_http_options options = get(plain("/lines"));
  options.stream = true;
  mp_http *http = fetch_ok(*state, &options, 200);
  mp_lines lines = MP_LINES_INIT;
  mp_buf piece = MP_BUF_INIT;
  int count = 0;
  while (!mp_http_ended(http)) {
    outcome read;
    const char *line;
    size_t len;
    read_piece(*state, http, &read);
    mp_http_take(http, &piece);
    mp_lines_feed(&lines, piece.data, piece.len);
    while (mp_lines_next(&lines, &line, &len)) {
      char expected[32];
      snprintf(expected, sizeof expected, "line %d", count++);
      assert_int_equal(len, strlen(expected));
      assert_memory_equal(line, expected, len);
    }
  }
  assert_int_equal(count, 50000);
  mp_buf_free(&piece);
  mp_lines_free(&lines);
  mp_http_free(http);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      http_test(a_get_brings_status_fields_and_body),
      http_test(every_method_arrives_as_written),
      http_test(a_head_has_fields_and_no_body),
      http_test(headers_are_sent_and_repeated_ones_can_be_walked),
      http_test(an_error_status_is_no_error),
      http_test(a_kept_handle_and_connection_remember_nothing),
      http_test(options_that_cannot_be_meant_are_refused_by_name),
      http_test(a_body_from_memory_is_sent_with_its_length_and_no_type_of_curls),
      http_test(a_body_from_a_file_is_sent_whole),
      http_test(a_file_that_cannot_be_sent_is_refused_before_anything_is),
      http_test(a_streamed_body_goes_out_in_chunks_or_with_the_length_told),
      http_test(a_sender_learns_that_the_exchange_ended_before_its_body),
      http_test(tls_is_verified_against_the_ca_that_is_named),
      http_test(an_unknown_ca_fails_and_says_what_was_trusted),
      http_test(insecure_is_only_when_asked),
      http_test(a_client_certificate_comes_from_files_or_from_memory),
      http_test(a_client_certificate_is_sent_with_the_issuers_in_its_pem_and_no_others),
      http_test(a_connection_is_not_shared_across_identities),
      http_test(a_server_name_is_asked_for_and_verified_instead_of_the_host),
      http_test(plain_http_on_a_tls_port_explains_itself),
      http_test(http2_is_used_by_offer_and_by_prior_knowledge),
      http_test(a_unix_socket_stands_in_for_the_host),
      http_test(a_proxy_that_is_named_is_used_and_loopback_needs_none),
      http_test(redirects_are_followed_up_to_the_limit),
      http_test(a_post_is_redirected_only_when_told_so_and_then_as_a_get),
      http_test(a_redirect_takes_no_credentials_to_another_server),
      http_test(a_redirect_takes_no_secret_header_to_another_server),
      http_test(a_redirect_on_the_same_server_takes_secret_headers_along),
      http_test(what_was_asked_for_over_tls_does_not_come_without),
      http_test(a_streamed_body_arrives_whole_and_in_order),
      http_test(lines_can_be_read_from_a_stream),
  };
  return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
