/* Header fields, kept as they came and looked up on demand; and URLs fit for messages. */
#include "http_internal.h"

#include <string.h>
#include <strings.h>

/* ---- header fields -------------------------------------------------------------------------- */

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void trim(const char **text, size_t *len) {
  while (*len > 0 && is_blank(**text))
    (*text)++, (*len)--;
  while (*len > 0 && is_blank((*text)[*len - 1]))
    (*len)--;
}

static bool split(const char *line, size_t len, mp_http_field *field) {
  const char *colon = memchr(line, ':', len);
  if (!colon)
    return false;
  field->name = line;
  field->name_len = (size_t)(colon - line);
  field->value = colon + 1;
  field->value_len = len - field->name_len - 1;
  trim(&field->name, &field->name_len);
  trim(&field->value, &field->value_len);
  return field->name_len > 0;
}

mp_http_bytes mp_http_fields(const mp_http *http) {
  if (http->head.len == 0)
    return (mp_http_bytes){"", 0};
  size_t status_line = strlen(http->head.data) + 1;
  return (mp_http_bytes){http->head.data + status_line, http->head.len - status_line};
}

bool mp_http_next_field(mp_http_bytes fields, size_t *at, mp_http_field *field) {
  while (*at < fields.len) {
    const char *line = fields.data + *at;
    const char *end = memchr(line, '\n', fields.len - *at);
    size_t len = end ? (size_t)(end - line) + 1 : fields.len - *at;
    *at += len;
    if (split(line, len, field))
      return true;
  }
  return false;
}

bool mp_http_find_field(mp_http_bytes fields, const char *name, mp_http_field *field) {
  size_t at = 0, len = strlen(name);
  while (mp_http_next_field(fields, &at, field)) {
    if (field->name_len == len && strncasecmp(field->name, name, len) == 0)
      return true;
  }
  return false;
}

/* ---- redaction ------------------------------------------------------------------------------ */

static bool sounds_secret(const char *name, size_t len) {
  static const char *const words[] = {"token", "secret", "key", "pass", "sig", "auth", "cred"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t word = strlen(words[i]);
    for (size_t at = 0; at + word <= len; at++) {
      if (strncasecmp(name + at, words[i], word) == 0)
        return true;
    }
  }
  return false;
}

static void redact_query(mp_buf *out, const char *query) {
  while (*query) {
    size_t len = strcspn(query, "&#");
    const char *equals = memchr(query, '=', len);
    if (equals && sounds_secret(query, (size_t)(equals - query))) {
      mp_buf_append(out, query, (size_t)(equals - query) + 1);
      mp_buf_puts(out, "***");
    } else {
      mp_buf_append(out, query, len);
    }
    query += len;
    if (*query == '#') {
      mp_buf_puts(out, query);
      return;
    }
    if (*query)
      mp_buf_append(out, query++, 1);
  }
}

char *mp_http_redact(const char *url) {
  mp_buf out = MP_BUF_INIT;
  const char *host = strstr(url, "://");
  host = host ? host + 3 : url;
  size_t authority = strcspn(host, "/?#");
  const char *at = memrchr(host, '@', authority);
  mp_buf_append(&out, url, (size_t)(host - url));
  if (at) {
    mp_buf_puts(&out, "***");
    authority -= (size_t)(at - host);
    host = at;
  }
  size_t path = authority + strcspn(host + authority, "?#");
  mp_buf_append(&out, host, path);
  if (host[path] == '?') {
    mp_buf_append(&out, "?", 1);
    redact_query(&out, host + path + 1);
  } else
    mp_buf_puts(&out, host + path);
  return out.data;
}

const char *mp_http_libcurl(mp_error *err) {
  const mp_curl_api *curl = mp_curl_load(err);
  return curl ? curl->version_info(CURLVERSION_NOW)->version : NULL;
}
