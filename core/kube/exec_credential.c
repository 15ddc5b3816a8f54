#include "exec_credential.h"

#include "client.h"
#include "core/buf.h"
#include "core/encode.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yajl/yajl_parse.h>

/* ---- what it is told ------------------------------------------------------------------------ */

static void put_text(mp_buf *out, const char *name, const mp_kube_value *value) {
  if (!value->text)
    return;
  mp_buf_printf(out, ",\"%s\":\"", name);
  mp_json_escape(out, value->text, value->len);
  mp_buf_puts(out, "\"");
}

static void put_flag(mp_buf *out, const char *name, const mp_kube_value *value) {
  if (mp_kube_is_true(value))
    mp_buf_printf(out, ",\"%s\":true", name);
}

static void put_cluster(mp_buf *out, const mp_kube_config *config, const char *ca, size_t ca_len) {
  const mp_kube_cluster *cluster = &config->cluster;
  mp_buf_puts(out, ",\"cluster\":{\"server\":\"");
  mp_json_escape(out, config->base, strlen(config->base));
  mp_buf_puts(out, "\"");
  put_text(out, "tls-server-name", &cluster->tls_server_name);
  put_flag(out, "insecure-skip-tls-verify", &cluster->insecure);
  if (ca_len > 0) {
    mp_buf_puts(out, ",\"certificate-authority-data\":\"");
    mp_base64_encode(out, ca, ca_len, false);
    mp_buf_puts(out, "\"");
  }
  put_text(out, "proxy-url", &cluster->proxy_url);
  put_flag(out, "disable-compression", &cluster->disable_compression);
  if (cluster->exec_config.text)
    mp_buf_printf(out, ",\"config\":%s", cluster->exec_config.text);
  mp_buf_puts(out, "}");
}

char *mp_kube_exec_info(const mp_kube_config *config, bool interactive, const char *ca,
                        size_t ca_len) {
  const mp_kube_exec *exec = config->user.exec;
  mp_buf out = MP_BUF_INIT;
  mp_buf_printf(&out,
                "{\"kind\":\"ExecCredential\",\"apiVersion\":\"%s\",\"spec\":{\"interactive\":%s",
                exec->api_version.text, interactive ? "true" : "false");
  if (mp_kube_is_true(&exec->provide_cluster_info))
    put_cluster(&out, config, ca, ca_len);
  mp_buf_puts(&out, "}}");
  return out.data;
}

/* ---- times ---------------------------------------------------------------------------------- */

/* "Z", "+01:30" or "-08:00", as seconds to take away. */
static int parse_zone(const char *text, long *offset) {
  int hours, minutes, used = 0;
  if ((*text == 'Z' || *text == 'z') && text[1] == '\0') {
    *offset = 0;
    return 0;
  }
  if (*text != '+' && *text != '-')
    return -1;
  if (sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5 ||
      text[1 + used] != '\0' || hours > 23 || minutes > 59)
    return -1;
  *offset = (*text == '-' ? -1 : 1) * (hours * 3600L + minutes * 60L);
  return 0;
}

int mp_kube_parse_time(const char *text, int64_t *seconds) {
  struct tm tm = {0};
  long offset;
  const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
  if (!rest)
    return -1;
  if (*rest == '.') {
    size_t digits = strspn(rest + 1, "0123456789");
    if (digits == 0)
      return -1;
    rest += 1 + digits;
  }
  if (parse_zone(rest, &offset) < 0)
    return -1;
  *seconds = (int64_t)timegm(&tm) - offset;
  return 0;
}

/* ---- what it answers ------------------------------------------------------------------------ */

typedef enum { IGNORED, API_VERSION, KIND, STATUS, TOKEN, CERT, KEY, EXPIRES } member;

static const struct {
  const char *name;
  unsigned depth;
  member member;
} members[] = {
    {"apiVersion", 1, API_VERSION},
    {"kind", 1, KIND},
    {"status", 1, STATUS},
    {"token", 2, TOKEN},
    {"clientCertificateData", 2, CERT},
    {"clientKeyData", 2, KEY},
    {"expirationTimestamp", 2, EXPIRES},
};

static const char *const shown[] = {[API_VERSION] = "apiVersion",
                                    [KIND] = "kind",
                                    [STATUS] = "status",
                                    [TOKEN] = "status.token",
                                    [CERT] = "status.clientCertificateData",
                                    [KEY] = "status.clientKeyData",
                                    [EXPIRES] = "status.expirationTimestamp"};

typedef struct {
  const char *version;
  mp_kube_exec_credential *out;
  mp_error *err;
  unsigned depth;
  bool in_status, has_status;
  member next; /* what the next value is of */
  mp_kube_value seen_version, seen_kind;
} answer;

static int refuse(answer *self, const char *what) {
  mp_error_set(self->err, "kube", MP_KUBE_CREDENTIALS, "its answer %s", what);
  return 0;
}

static int wrong_type(answer *self) {
  member is = self->next;
  mp_auto_free char *what = is == STATUS ? mp_strdup("has a `status` that is not an object")
                            : is == IGNORED
                                ? mp_strdup("is not an object")
                                : mp_sprintf("has a `%s` that is not a string", shown[is]);
  return refuse(self, what);
}

/* A scalar that is no string: fine where nothing is wanted of it. */
static int on_other(answer *self) {
  if (self->depth == 0 || self->next != IGNORED)
    return wrong_type(self);
  return 1;
}

static int on_null(void *data) {
  answer *self = data;
  if (self->depth == 0)
    return wrong_type(self);
  self->next = IGNORED;
  return 1;
}

static int on_boolean(void *data, int value) {
  (void)value;
  return on_other(data);
}

static int on_number(void *data, const char *text, size_t len) {
  (void)text, (void)len;
  return on_other(data);
}

static int on_time(answer *self, const char *text) {
  if (mp_kube_parse_time(text, &self->out->expires_at) < 0)
    return refuse(self, "has a `status.expirationTimestamp` that is not a time of RFC 3339");
  self->out->expires = true;
  return 1;
}

static mp_kube_value *target_of(answer *self) {
  switch (self->next) {
  case API_VERSION:
    return &self->seen_version;
  case KIND:
    return &self->seen_kind;
  case TOKEN:
    return &self->out->token;
  case CERT:
    return &self->out->cert;
  case KEY:
    return &self->out->key;
  default:
    return NULL;
  }
}

static int on_string(void *data, const unsigned char *bytes, size_t len) {
  answer *self = data;
  if (self->depth == 0 || self->next == STATUS)
    return wrong_type(self);
  if (self->next == IGNORED)
    return 1;
  if (memchr(bytes, '\0', len))
    return refuse(self, "has a NUL in a string");
  mp_auto_free char *text = mp_memdup(bytes, len);
  int going = 1;
  if (self->next == EXPIRES)
    going = on_time(self, text);
  else if (len > 0)
    mp_kube_value_set(target_of(self), text, "plugin");
  explicit_bzero(text, len);
  return going;
}

static int on_key(void *data, const unsigned char *bytes, size_t len) {
  answer *self = data;
  self->next = IGNORED;
  if (self->depth == 2 && !self->in_status)
    return 1;
  for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
    if (members[i].depth == self->depth && strlen(members[i].name) == len &&
        memcmp(members[i].name, bytes, len) == 0)
      self->next = members[i].member;
  }
  return 1;
}

static int on_begin_map(void *data) {
  answer *self = data;
  if (self->depth > 0 && self->next != IGNORED && self->next != STATUS)
    return wrong_type(self);
  if (self->next == STATUS && self->depth == 1)
    self->in_status = self->has_status = true;
  self->next = IGNORED;
  self->depth++;
  return 1;
}

static int on_begin_list(void *data) {
  answer *self = data;
  if (self->depth == 0 || self->next != IGNORED)
    return wrong_type(self);
  self->depth += 1000; /* nothing in here is of interest */
  return 1;
}

static int on_end_map(void *data) {
  answer *self = data;
  self->depth--;
  if (self->depth == 1)
    self->in_status = false;
  self->next = IGNORED;
  return 1;
}

static int on_end_list(void *data) {
  answer *self = data;
  self->depth -= 1000;
  self->next = IGNORED;
  return 1;
}

static int parse(answer *self, const char *text, size_t len) {
  static const yajl_callbacks callbacks = {
      .yajl_null = on_null,
      .yajl_boolean = on_boolean,
      .yajl_number = on_number,
      .yajl_string = on_string,
      .yajl_start_map = on_begin_map,
      .yajl_map_key = on_key,
      .yajl_end_map = on_end_map,
      .yajl_start_array = on_begin_list,
      .yajl_end_array = on_end_list,
  };
  yajl_handle parser = yajl_alloc(&callbacks, NULL, self);
  bool whole = yajl_parse(parser, (const unsigned char *)text, len) == yajl_status_ok &&
               yajl_complete_parse(parser) == yajl_status_ok;
  yajl_free(parser);
  if (!whole && !self->err->domain)
    refuse(self, len == 0 ? "is empty" : "is not JSON");
  return whole ? 0 : -1;
}

static int check(answer *self) {
  const mp_kube_exec_credential *out = self->out;
  mp_kube_value *version = &self->seen_version, *kind = &self->seen_kind;
  if (kind->text && strcmp(kind->text, "ExecCredential") != 0)
    return mp_error_set(self->err, "kube", MP_KUBE_CREDENTIALS,
                        "its answer is a `%s`, not an `ExecCredential`", kind->text);
  if (!version->text || strcmp(version->text, self->version) != 0)
    return mp_error_set(self->err, "kube", MP_KUBE_CREDENTIALS,
                        "it was asked for `%s` and answered in `%s`", self->version,
                        version->text ? version->text : "");
  if (!self->has_status)
    refuse(self, "has no `status`");
  else if (!out->token.text && !out->cert.text && !out->key.text)
    refuse(self, "holds neither a token nor a certificate");
  else if (!out->cert.text != !out->key.text)
    refuse(self, "holds only one of certificate and key");
  return self->err->domain ? -1 : 0;
}

int mp_kube_exec_parse(const char *version, const char *text, size_t len,
                       mp_kube_exec_credential *credential, mp_error *err) {
  mp_kube_exec_credential out = {0};
  answer self = {.version = version, .out = &out, .err = err};
  int rc = parse(&self, text, len);
  if (rc == 0)
    rc = check(&self);
  mp_kube_value_free(&self.seen_version);
  mp_kube_value_free(&self.seen_kind);
  if (rc == 0)
    *credential = out;
  else
    mp_kube_exec_credential_free(&out);
  return rc;
}

void mp_kube_exec_credential_free(mp_kube_exec_credential *credential) {
  mp_kube_value_free(&credential->token);
  mp_kube_value_free(&credential->cert);
  mp_kube_value_free(&credential->key);
  *credential = (mp_kube_exec_credential){0};
}
