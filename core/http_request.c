/* From options to an easy handle. */
#include "http_internal.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define CONNECTION_READ 65536 /* bytes that one read of a connection brings at most */

/* ---- checking ------------------------------------------------------------------------------- */

static int refuse(mp_error *err, const char *what) {
  return mp_error_set(err, "http", MP_INVALID, "%s", what);
}

static bool is_https(const char *url) {
  return strncasecmp(url, "https://", 8) == 0;
}

static bool is_http(const char *url) {
  return strncasecmp(url, "http://", 7) == 0 || is_https(url);
}

static int check_url(const char *url, mp_error *err) {
  if (!url || !*url)
    return refuse(err, "a request needs a `url`");
  for (const char *at = url; *at; at++) {
    if ((unsigned char)*at <= ' ' || *at == 0x7f)
      return refuse(err, "the url contains a space or control character; escape it as %XX");
  }
  if (is_http(url))
    return 0;
  mp_auto_free char *shown = mp_http_redact(url);
  mp_error_set(err, "http", MP_INVALID, "`%s` is not an http:// or https:// url", shown);
  return mp_error_hint(err, "write the scheme too, as in `http://127.0.0.1:8080/`");
}

/* RFC 9110, 5.6.2 */
static bool is_token(const char *text) {
  if (!*text)
    return false;
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
      return false;
  }
  return true;
}

/* A line break in a value would smuggle in a header of its own. */
static int check_header(const mp_http_header *header, mp_error *err) {
  if (!header->name || !is_token(header->name))
    return mp_error_set(err, "http", MP_INVALID, "`%s` is not a header name",
                        header->name ? header->name : "");
  if (!header->value)
    return mp_error_set(err, "http", MP_INVALID, "the header `%s` has no value", header->name);
  for (const char *at = header->value; *at; at++) {
    if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f)
      return mp_error_set(err, "http", MP_INVALID,
                          "the value of the header `%s` contains a control character",
                          header->name);
  }
  return 0;
}

static const char *method_of(const mp_http_options *options) {
  return options->method ? options->method : "GET";
}

static bool one_of(const char *method, const char *const *names) {
  for (; *names; names++) {
    if (strcmp(method, *names) == 0)
      return true;
  }
  return false;
}

/* Methods that read: redirects are followed unasked, and repeating is harmless. */
static bool is_reading(const char *method) {
  return one_of(method, (const char *const[]){"GET", "HEAD", "OPTIONS", NULL});
}

static int check_method(const mp_http_options *options, mp_error *err) {
  const char *method = method_of(options);
  if (!is_token(method))
    return mp_error_set(err, "http", MP_INVALID, "`%s` is not a method", method);
  /* libcurl would repeat such a method where a 303 asks for a GET. */
  if (options->redirects > 0 && !is_reading(method) &&
      !one_of(method, (const char *const[]){"POST", "PUT", NULL}))
    return mp_error_set(err, "http", MP_INVALID, "redirects are not followed for %s", method);
  if (options->body_kind != MP_HTTP_BODY_NONE && strcmp(method, "HEAD") == 0)
    return refuse(err, "a HEAD request has no body");
  return 0;
}

static int check_either(const char *file, mp_http_bytes pem, const char *what, mp_error *err) {
  if (file && pem.data)
    return mp_error_set(err, "http", MP_INVALID, "the %s is given twice, as file and as PEM", what);
  return 0;
}

static int check_tls(const mp_http_tls *tls, mp_error *err) {
  if (check_either(tls->ca_file, tls->ca_pem, "CA", err) < 0 ||
      check_either(tls->cert_file, tls->cert_pem, "client certificate", err) < 0 ||
      check_either(tls->key_file, tls->key_pem, "client key", err) < 0)
    return -1;
  if ((tls->key_file || tls->key_pem.data) && !tls->cert_file && !tls->cert_pem.data)
    return refuse(err, "a client key was given without its certificate");
  return 0;
}

static int check_socket_path(const char *path, mp_error *err) {
  size_t limit = sizeof((struct sockaddr_un *)0)->sun_path - 1;
  if (!path || (*path && strlen(path) <= limit))
    return 0;
  return mp_error_set(err, "http", MP_INVALID, "the socket path `%s` is %s", path,
                      *path ? "longer than 107 bytes" : "empty");
}

int mp_http_check(const mp_http_options *options, mp_error *err) {
  if (check_url(options->url, err) < 0 || check_method(options, err) < 0 ||
      check_socket_path(options->unix_socket, err) < 0 || check_tls(&options->tls, err) < 0)
    return -1;
  for (size_t i = 0; i < options->header_count; i++) {
    if (check_header(&options->headers[i], err) < 0)
      return -1;
  }
  return 0;
}

/* ---- setting up ----------------------------------------------------------------------------- */

/* Sets options with the types that libcurl reads from the variable arguments; remembers the first
 * failure, so the calls can stand in a row. */
typedef struct {
  const mp_curl_api *api;
  mp_http_easy *easy;
  CURLcode rc;
} setter;

#define SET(s, option, value)                                                                      \
  do {                                                                                             \
    CURLcode rc_ = (s)->api->easy_setopt((s)->easy->curl, (option), (value));                      \
    if ((s)->rc == CURLE_OK)                                                                       \
      (s)->rc = rc_;                                                                               \
  } while (0)

static void set_long(setter *s, CURLoption option, long value) {
  SET(s, option, value);
}

/* Sizes that do not fit a long's milliseconds mean: so long that it makes no difference. */
static void set_ms(setter *s, CURLoption option, uint64_t value) {
  SET(s, option, (long)(value > INT32_MAX ? INT32_MAX : value));
}

static void set_size(setter *s, CURLoption option, int64_t value) {
  SET(s, option, (curl_off_t)value);
}

static void set_text(setter *s, CURLoption option, const char *value) {
  SET(s, option, value);
}

/* The next exchange on this handle shall not inherit it. */
static void set_text_once(setter *s, CURLoption option, const char *value) {
  s->easy->dirty = true;
  SET(s, option, value);
}

static void set_long_once(setter *s, CURLoption option, long value) {
  s->easy->dirty = true;
  SET(s, option, value);
}

static bool has_header(const mp_http_options *options, const char *name) {
  for (size_t i = 0; i < options->header_count; i++) {
    if (strcasecmp(options->headers[i].name, name) == 0)
      return true;
  }
  return false;
}

/* Header lines of our own beside the caller's: with a colon and nothing after it, libcurl leaves
 * out what it would add by itself. */
static size_t own_headers(const mp_http *http, const mp_http_options *options, int64_t body_size,
                          const char **own) {
  size_t count = 0;
  if (http->body_kind == MP_HTTP_BODY_NONE)
    return 0;
  if (!has_header(options, "Expect"))
    own[count++] = "Expect:"; /* costs a second on servers that do not know it */
  if (!has_header(options, "Content-Type"))
    own[count++] = "Content-Type:";
  if (body_size < 0 && !has_header(options, "Transfer-Encoding"))
    own[count++] = "Transfer-Encoding: chunked";
  return count;
}

/* libcurl reads the list where it lies, so list and text are one block that lives as long as the
 * transfer, instead of two allocations for each header. */
static struct curl_slist *make_fields(mp_http *http, const mp_http_options *options,
                                      const char *const *own, size_t own_count) {
  size_t count = options->header_count + own_count;
  if (count == 0)
    return NULL;
  size_t size = count * sizeof *http->fields;
  for (size_t i = 0; i < options->header_count; i++)
    size += strlen(options->headers[i].name) + 2 + strlen(options->headers[i].value) + 1;
  http->fields = mp_alloc(size);
  http->fields_size = size;
  mp_http_line *list = http->fields;
  char *text = (char *)(list + count);
  for (size_t i = 0; i < count; i++) {
    list[i] = (mp_http_line){.node.next = i + 1 < count ? &list[i + 1].node : NULL};
    if (i >= options->header_count) {
      list[i].node.data = (char *)own[i - options->header_count];
      continue;
    }
    const mp_http_header *header = &options->headers[i];
    list[i].node.data = text;
    list[i].secret = header->secret;
    http->has_secret |= header->secret;
    text = stpcpy(text, header->name);
    /* "Name;" is libcurl's way to send a field with an empty value. */
    text = *header->value ? stpcpy(stpcpy(text, ": "), header->value) : stpcpy(text, ";");
    text++;
  }
  return &list->node;
}

/* A body in memory goes out in one write with the header; the rest is asked for in pieces. */
static void set_body_source(setter *s, mp_http *http, int64_t size) {
  set_long_once(s, CURLOPT_POST, 1);
  set_size(s, CURLOPT_POSTFIELDSIZE_LARGE, size);
  if (http->body_kind == MP_HTTP_BODY_MEMORY)
    SET(s, CURLOPT_POSTFIELDS, http->sending.data);
  s->api->easy_setopt(s->easy->curl, CURLOPT_READFUNCTION, mp_http_on_send);
  s->api->easy_setopt(s->easy->curl, CURLOPT_READDATA, http);
  s->api->easy_setopt(s->easy->curl, CURLOPT_SEEKFUNCTION, mp_http_on_seek);
  s->api->easy_setopt(s->easy->curl, CURLOPT_SEEKDATA, http);
}

/* PUT goes as an upload, so that a redirect with 303 makes it a GET; POST likewise by itself. */
static void set_method(setter *s, mp_http *http, int64_t body_size) {
  const char *method = http->method;
  bool has_body = http->body_kind != MP_HTTP_BODY_NONE;
  http->reads = is_reading(method);
  SET(s, CURLOPT_HTTPGET, 1L);
  if (has_body)
    set_body_source(s, http, body_size);
  if (strcmp(method, "PUT") == 0) {
    set_long_once(s, CURLOPT_UPLOAD, 1);
    set_size(s, CURLOPT_INFILESIZE_LARGE, body_size);
  } else if (strcmp(method, "HEAD") == 0) {
    set_long_once(s, CURLOPT_NOBODY, 1);
  } else if (strcmp(method, "POST") != 0 && (has_body || strcmp(method, "GET") != 0)) {
    set_text_once(s, CURLOPT_CUSTOMREQUEST, method);
  }
}

/* Takes a copy, since a handle may look at its PEM as late as at a redirect. */
static void set_pem(setter *s, CURLoption option, mp_http *http, int slot, mp_http_bytes pem) {
  http->pem[slot] = mp_memdup(pem.data, pem.len);
  http->pem_len[slot] = pem.len;
  struct curl_blob blob = {http->pem[slot], pem.len, CURL_BLOB_NOCOPY};
  SET(s, option, &blob);
}

static void set_client_cert(setter *s, mp_http *http, const mp_http_tls *tls) {
  if (tls->cert_file)
    set_text(s, CURLOPT_SSLCERT, tls->cert_file);
  if (tls->cert_pem.data)
    set_pem(s, CURLOPT_SSLCERT_BLOB, http, 1, tls->cert_pem);
  if (tls->key_file)
    set_text(s, CURLOPT_SSLKEY, tls->key_file);
  else if (tls->key_pem.data)
    set_pem(s, CURLOPT_SSLKEY_BLOB, http, 2, tls->key_pem);
  else if (tls->cert_pem.data) /* where files hold both, libcurl finds the key by itself */
    set_pem(s, CURLOPT_SSLKEY_BLOB, http, 2, tls->cert_pem);
  if (s->api->ssl_ctx_ctrl) {
    SET(s, CURLOPT_SSL_CTX_FUNCTION, mp_http_on_context);
    SET(s, CURLOPT_SSL_CTX_DATA, (void *)s->api);
  }
  /* Without a password OpenSSL would ask for one on the terminal. */
  set_text(s, CURLOPT_KEYPASSWD, tls->key_password ? tls->key_password : "");
}

static void set_tls(setter *s, mp_http *http, const mp_http_tls *tls) {
  if (tls->ca_file || tls->ca_pem.data) {
    set_text_once(s, CURLOPT_CAPATH, NULL); /* else the system's would be trusted beside it */
    set_text(s, CURLOPT_CAINFO, tls->ca_file);
    if (tls->ca_pem.data)
      set_pem(s, CURLOPT_CAINFO_BLOB, http, 0, tls->ca_pem);
    http->ca = mp_strdup(tls->ca_file ? tls->ca_file : "the PEM that was given");
  }
  if (tls->cert_file || tls->cert_pem.data) {
    s->easy->dirty = true;
    set_client_cert(s, http, tls);
  }
  if (tls->insecure) {
    set_long_once(s, CURLOPT_SSL_VERIFYPEER, 0);
    set_long(s, CURLOPT_SSL_VERIFYHOST, 0);
  }
}

/* Proxies get a tunnel for plain HTTP too: what will be spoken is not for them. */
static void set_connection(setter *s) {
  set_long_once(s, CURLOPT_CONNECT_ONLY, 1);
  set_long(s, CURLOPT_HTTPPROXYTUNNEL, 1);
  set_long(s, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1); /* what TLS will offer by ALPN */
  set_long(s, CURLOPT_BUFFERSIZE, CONNECTION_READ);
}

static void set_version(setter *s, const mp_http_options *options) {
  if (options->multiplex)
    set_long_once(s, CURLOPT_PIPEWAIT, 1);
  if (options->version == MP_HTTP_1_1)
    set_long_once(s, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  if (options->version == MP_HTTP_2)
    set_long_once(s, CURLOPT_HTTP_VERSION,
                  is_https(options->url) ? CURL_HTTP_VERSION_2TLS
                                         : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
}

static void set_route(setter *s, mp_http *http, const mp_http_options *options) {
  if (options->unix_socket) {
    set_text_once(s, CURLOPT_UNIX_SOCKET_PATH, options->unix_socket);
    set_text(s, CURLOPT_PROXY, "");
    http->unix_socket = mp_strdup(options->unix_socket);
  } else if (options->proxy) {
    set_text_once(s, CURLOPT_PROXY, options->proxy);
    set_text(s, CURLOPT_NOPROXY, ""); /* who names a proxy wants it */
  }
}

static void set_limits(setter *s, mp_http *http, const mp_http_options *options) {
  mp_http_limits limits = {.set = true,
                           .secure = is_https(options->url),
                           .redirects = options->redirects,
                           .timeout_ms = options->timeout_ms,
                           .connect_timeout_ms = options->connect_timeout_ms};
  if (limits.redirects < 0)
    limits.redirects = is_reading(http->method) ? MP_HTTP_REDIRECTS : 0;
  limits.follow = http->follow = limits.redirects > 0;
  if (options->compressed)
    set_text_once(s, CURLOPT_ACCEPT_ENCODING, "");
  mp_http_limits *last = &s->easy->limits;
  if (last->set && last->redirects == limits.redirects && last->secure == limits.secure &&
      last->timeout_ms == limits.timeout_ms &&
      last->connect_timeout_ms == limits.connect_timeout_ms)
    return;
  *last = limits;
  set_long(s, CURLOPT_FOLLOWLOCATION, limits.follow);
  set_long(s, CURLOPT_MAXREDIRS, limits.redirects);
  set_text(s, CURLOPT_REDIR_PROTOCOLS_STR, limits.secure ? "https" : "http,https");
  set_ms(s, CURLOPT_TIMEOUT_MS, limits.timeout_ms);
  /* For libcurl, 0 would be its own default of five minutes. */
  set_ms(s, CURLOPT_CONNECTTIMEOUT_MS,
         limits.connect_timeout_ms ? limits.connect_timeout_ms : INT32_MAX);
}

static void set_url(setter *s, const char *url) {
  mp_http_easy *easy = s->easy;
  if (easy->url && strcmp(easy->url, url) == 0)
    return;
  free(easy->url);
  easy->url = mp_strdup(url);
  SET(s, CURLOPT_URL, url);
}

/* ---- another server name -------------------------------------------------------------------- */

/* The parts of a URL that a name override needs; each to be released with api->free. */
typedef struct {
  char *host, *port, *rewritten;
} url_parts;

static int take_apart(const mp_curl_api *api, const char *url, const char *name, url_parts *parts) {
  CURLU *handle = api->url();
  CURLUcode rc = api->url_set(handle, CURLUPART_URL, url, 0);
  if (!rc)
    rc = api->url_get(handle, CURLUPART_HOST, &parts->host, 0);
  if (!rc)
    rc = api->url_get(handle, CURLUPART_PORT, &parts->port, CURLU_DEFAULT_PORT);
  if (!rc)
    rc = api->url_set(handle, CURLUPART_HOST, name, 0);
  if (!rc)
    rc = api->url_get(handle, CURLUPART_URL, &parts->rewritten, 0);
  api->url_cleanup(handle);
  return rc ? -1 : 0;
}

/* libcurl takes the name to ask for and to verify from the URL. So the URL gets the wished name,
 * the connection goes where it said before, and the Host header says what it said before. */
static int override_name(setter *s, mp_http *http, const char *name, char **host_header,
                         mp_error *err) {
  url_parts parts = {0};
  int rc = take_apart(s->api, http->url, name, &parts);
  if (rc == 0) {
    mp_auto_free char *route = mp_sprintf("%s:%s:%s:%s", name, parts.port, parts.host, parts.port);
    http->route.next = NULL;
    http->route.data = mp_steal(route);
    s->easy->dirty = true;
    SET(s, CURLOPT_CONNECT_TO, &http->route);
    set_url(s, parts.rewritten);
    bool usual = strcmp(parts.port, is_https(http->url) ? "443" : "80") == 0;
    *host_header =
        mp_sprintf("Host: %s%s%s", parts.host, usual ? "" : ":", usual ? "" : parts.port);
  } else {
    mp_error_set(err, "http", MP_INVALID, "the server name `%s` does not fit the url", name);
  }
  s->api->free(parts.host);
  s->api->free(parts.port);
  s->api->free(parts.rewritten);
  return rc;
}

/* ---- redirects ------------------------------------------------------------------------------ */

static bool same_part(const mp_curl_api *api, CURLU *one, CURLU *other, CURLUPart part) {
  char *left = NULL, *right = NULL;
  bool same = api->url_get(one, part, &left, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              api->url_get(other, part, &right, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              strcasecmp(left, right) == 0;
  api->free(left);
  api->free(right);
  return same;
}

/* By scheme, host and port; what cannot be read is another. */
static bool same_server(const mp_curl_api *api, const char *url, const char *other_url) {
  CURLU *one = api->url(), *other = api->url();
  bool same = api->url_set(one, CURLUPART_URL, url, 0) == CURLUE_OK &&
              api->url_set(other, CURLUPART_URL, other_url, 0) == CURLUE_OK &&
              same_part(api, one, other, CURLUPART_SCHEME) &&
              same_part(api, one, other, CURLUPART_HOST) &&
              same_part(api, one, other, CURLUPART_PORT);
  api->url_cleanup(one);
  api->url_cleanup(other);
  return same;
}

/* Of a line with a colon and nothing after it, libcurl sends nothing. */
static void empty_line(char *line) {
  char *value = strchr(line, ':');
  if (value)
    explicit_bzero(value + 1, strlen(value + 1));
}

void mp_http_drop_secrets(mp_http *http) {
  const mp_curl_api *api = http->hub->api;
  char *url = NULL; /* libcurl's */
  if (!http->has_secret)
    return;
  api->easy_getinfo(http->easy->curl, CURLINFO_EFFECTIVE_URL, &url);
  if (url && same_server(api, http->easy->url, url))
    return;
  for (mp_http_line *line = http->fields; line; line = (mp_http_line *)line->node.next) {
    if (line->secret)
      empty_line(line->node.data);
  }
  http->has_secret = false;
}

/* ---- all of it ------------------------------------------------------------------------------ */

int mp_http_set_up(mp_http *http, const mp_http_options *options, mp_error *err) {
  setter s = {.api = http->hub->api, .easy = http->easy};
  const char *own[4];
  int64_t body_size = mp_http_body_size(http, options);
  size_t own_count = own_headers(http, options, body_size, own);
  if (options->tls.server_name) {
    if (override_name(&s, http, options->tls.server_name, &http->host_header, err) < 0)
      return -1;
    if (!has_header(options, "Host"))
      own[own_count++] = http->host_header;
  } else {
    set_url(&s, http->url);
  }
  set_method(&s, http, body_size);
  SET(&s, CURLOPT_HTTPHEADER, make_fields(http, options, own, own_count));
  set_limits(&s, http, options);
  if (http->connection)
    set_connection(&s);
  else
    set_version(&s, options);
  set_route(&s, http, options);
  set_tls(&s, http, &options->tls);
  if (s.rc == CURLE_OK)
    return 0;
  http->easy->dirty = true;
  return mp_error_set(err, "http", MP_INVALID, "libcurl refused the options: %s",
                      s.api->easy_strerror(s.rc));
}
