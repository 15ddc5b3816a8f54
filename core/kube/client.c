/* Filling in requests. */
#include "internal.h"

#include "core/encode.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define USER_AGENT "moonport/" MP_VERSION
#define OWN_HEADERS 5 /* User-Agent, Accept, Authorization, Impersonate-User, Impersonate-Uid */

/* ---- headers -------------------------------------------------------------------------------- */

typedef struct {
  mp_kube *kube;
  const mp_http_options *options; /* the caller's */
  size_t count;
} filler;

static bool callers_has(const mp_http_options *options, const char *name) {
  for (size_t i = 0; i < options->header_count; i++) {
    if (strcasecmp(options->headers[i].name, name) == 0)
      return true;
  }
  return false;
}

static void add(filler *self, const char *name, const char *value) {
  if (value && !callers_has(self->options, name))
    self->kube->headers[self->count++] = (mp_http_header){name, value};
}

static size_t room_needed(const mp_kube *kube, const mp_http_options *options) {
  const mp_kube_user *user = &kube->config->user;
  size_t room = OWN_HEADERS + options->header_count + user->as_groups.count;
  for (size_t i = 0; i < user->as_extra_count; i++)
    room += user->as_extra[i].values.count;
  return room;
}

/* The names of extra fields are made when the client is opened. */
static void add_impersonation(filler *self) {
  const mp_kube_user *user = &self->kube->config->user;
  if (!self->kube->config->secure)
    return;
  add(self, "Impersonate-User", user->as.text);
  add(self, "Impersonate-Uid", user->as_uid.text);
  for (size_t i = 0; i < user->as_groups.count; i++)
    add(self, "Impersonate-Group", user->as_groups.items[i].text);
  for (size_t i = 0; i < user->as_extra_count; i++) {
    const mp_kube_extra *extra = &user->as_extra[i];
    for (size_t j = 0; j < extra->values.count; j++)
      add(self, self->kube->extra_names[i], extra->values.items[j].text);
  }
}

static void fill_headers(mp_kube *kube, mp_http_options *options) {
  size_t room = room_needed(kube, options);
  filler self = {kube, options, 0};
  if (room > kube->header_room) {
    kube->headers = mp_realloc(kube->headers, room * sizeof *kube->headers);
    kube->header_room = room;
  }
  add(&self, "User-Agent", USER_AGENT);
  add(&self, "Accept", "application/json");
  add(&self, "Authorization", kube->authorization.text);
  add_impersonation(&self);
  for (size_t i = 0; i < options->header_count; i++)
    kube->headers[self.count++] = options->headers[i];
  options->headers = kube->headers;
  options->header_count = self.count;
}

/* RFC 9110 tokens stay; other bytes become %XX, which the server undoes. */
char *mp_kube_extra_header(const char *name) {
  static const char marks[] = "!#$&'*+-.^_`|~";
  mp_buf out = MP_BUF_INIT;
  mp_buf_puts(&out, "Impersonate-Extra-");
  for (; *name; name++) {
    bool plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
                 (*name >= '0' && *name <= '9') || strchr(marks, *name);
    if (plain)
      mp_buf_append(&out, name, 1);
    else
      mp_buf_printf(&out, "%%%02X", (unsigned char)*name);
  }
  return out.data;
}

/* ---- TLS ------------------------------------------------------------------------------------ */

static mp_http_bytes either(const mp_kube_source *file, const mp_kube_value *data) {
  if (file->value)
    return (mp_http_bytes){file->bytes.data, file->bytes.len};
  return (mp_http_bytes){data->text, data->len};
}

/* PEM in memory also where it is a file's: when the file changes, connections that were made with
 * the old one are not used again. */
static void fill_tls(mp_kube *kube, mp_http_tls *tls) {
  const mp_kube_cluster *cluster = &kube->config->cluster;
  const mp_kube_user *user = &kube->config->user;
  const mp_kube_source *files = kube->sources.of;
  tls->insecure = mp_kube_is_true(&cluster->insecure);
  tls->server_name = cluster->tls_server_name.text;
  tls->ca_pem = either(&files[MP_KUBE_CA], &cluster->ca_data);
  tls->cert_pem = either(&files[MP_KUBE_CERT], &user->cert_data);
  tls->key_pem = either(&files[MP_KUBE_KEY], &user->key_data);
  if (kube->has_issued && kube->issued.cert.text) {
    tls->cert_pem = (mp_http_bytes){kube->issued.cert.text, kube->issued.cert.len};
    tls->key_pem = (mp_http_bytes){kube->issued.key.text, kube->issued.key.len};
  }
  if (!tls->cert_pem.data)
    tls->key_pem = (mp_http_bytes){NULL, 0};
}

/* ---- all of it ------------------------------------------------------------------------------ */

int mp_kube_fill(mp_kube *kube, const char *path, mp_http_options *options, mp_error *err) {
  const mp_kube_config *config = kube->config;
  if (!path || *path != '/')
    return mp_error_set(err, "kube", MP_INVALID, "the path `%s` does not begin with a slash",
                        path ? path : "");
  mp_buf_clear(&kube->url);
  mp_buf_puts(&kube->url, config->base);
  mp_buf_puts(&kube->url, path);
  options->url = kube->url.data;
  fill_headers(kube, options);
  if (config->secure)
    fill_tls(kube, &options->tls);
  options->proxy = kube->proxy;
  options->multiplex = true;
  options->redirects = 0; /* elsewhere nobody is to see whom we impersonate, or our certificate */
  if (mp_kube_is_true(&config->cluster.disable_compression))
    options->compressed = false;
  return 0;
}
