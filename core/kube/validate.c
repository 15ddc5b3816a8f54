#include "validate.h"

#include "core/http.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EXEC_GROUP "client.authentication.k8s.io/"

typedef struct {
  mp_kube_config *config;
  mp_kube_fault *fault;
  mp_error *err;
} checker;

/* "FILE:LINE: `FIELD` <what>", or without file and line where the value has none. */
static int fail(checker *self, const mp_kube_value *at, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static int fail(checker *self, const mp_kube_value *at, const char *field, const char *format,
                ...) {
  va_list args;
  va_start(args, format);
  mp_auto_free char *what = mp_vsprintf(format, args);
  va_end(args);
  mp_kube_fault_set(self->fault, at->file, at->line, field);
  if (at->file)
    return mp_error_set(self->err, "kube", MP_KUBE_CONFIG, "%s:%u: `%s` %s", at->file, at->line,
                        field, what);
  return mp_error_set(self->err, "kube", MP_KUBE_CONFIG, "`%s` %s", field, what);
}

static int check_either(checker *self, const mp_kube_value *one, const mp_kube_value *other,
                        const char *field, const char *other_field) {
  if (!one->text || !other->text)
    return 0;
  return fail(self, other, other_field, "and `%s` are both given; keep one of them", field);
}

/* ---- the cluster ---------------------------------------------------------------------------- */

static bool has_scheme(const char *url, const char *scheme) {
  size_t len = strlen(scheme);
  return strncasecmp(url, scheme, len) == 0 && strncmp(url + len, "://", 3) == 0;
}

static int check_server(checker *self) {
  mp_kube_config *config = self->config;
  const mp_kube_value *server = &config->cluster.server;
  const char *text = server->text;
  mp_auto_free char *shown = mp_http_redact(text);
  for (const char *at = text; *at; at++) {
    if ((unsigned char)*at <= ' ' || *at == 0x7f)
      return fail(self, server, "cluster.server", "contains a space or control character");
  }
  bool has = has_scheme(text, "https") || has_scheme(text, "http");
  if (!has && (strstr(text, "://") || text[strcspn(text, "/?#")] != '\0'))
    return fail(self, server, "cluster.server", "must be an https:// or http:// URL, and is `%s`",
                shown);
  mp_auto_free char *url = mp_sprintf("%s%s", has ? "" : "http://", text); /* as kubectl */
  url[strcspn(url, "?#")] = '\0';
  const char *host = strstr(url, "://") + 3;
  if (*host == '\0' || *host == '/')
    return fail(self, server, "cluster.server", "names no host: `%s`", shown);
  for (size_t len = strlen(url); url[len - 1] == '/'; len--)
    url[len - 1] = '\0';
  config->secure = has_scheme(url, "https");
  config->base = mp_steal(url);
  return 0;
}

static int check_proxy(checker *self) {
  const mp_kube_value *proxy = &self->config->cluster.proxy_url;
  if (!proxy->text || has_scheme(proxy->text, "http") || has_scheme(proxy->text, "https") ||
      has_scheme(proxy->text, "socks5"))
    return 0;
  mp_auto_free char *shown = mp_http_redact(proxy->text);
  return fail(self, proxy, "cluster.proxy-url",
              "must be an http://, https:// or socks5:// URL, and is `%s`", shown);
}

static int check_cluster(checker *self) {
  const mp_kube_cluster *cluster = &self->config->cluster;
  if (check_either(self, &cluster->ca_data, &cluster->ca_file, "cluster.certificate-authority-data",
                   "cluster.certificate-authority") < 0)
    return -1;
  if (mp_kube_is_true(&cluster->insecure) && (cluster->ca_file.text || cluster->ca_data.text)) {
    fail(self, &cluster->insecure, "cluster.insecure-skip-tls-verify",
         "is true, and yet a certificate authority is given");
    return mp_error_hint(self->err, "keep one of them");
  }
  return check_server(self) < 0 || check_proxy(self) < 0 ? -1 : 0;
}

/* ---- the user ------------------------------------------------------------------------------- */

static int check_auth_provider(checker *self) {
  static const struct {
    const char *name, *instead;
  } known[] = {
      {"gcp", "the exec plugin `gke-gcloud-auth-plugin`; `gcloud container clusters "
              "get-credentials` writes it into the kubeconfig"},
      {"azure", "the exec plugin `kubelogin`; `kubelogin convert-kubeconfig` writes it into the "
                "kubeconfig"},
      {"oidc", "an exec plugin such as `kubectl oidc-login` (kubelogin), or a token file"},
      {"openstack", "the exec plugin `client-keystone-auth`"},
  };
  const mp_kube_value *provider = &self->config->user.auth_provider;
  if (!provider->text)
    return 0;
  fail(self, provider, "user.auth-provider",
       "`%s` is not supported; Kubernetes has given auth providers up", provider->text);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(provider->text, known[i].name) == 0)
      return mp_error_hint(self->err, "use %s", known[i].instead);
  }
  return mp_error_hint(self->err, "use an exec plugin (`user.exec`)");
}

static int check_interactive_mode(checker *self, const mp_kube_exec *exec,
                                  const mp_kube_value *at) {
  static const char *const modes[] = {"Never", "IfAvailable", "Always"};
  const mp_kube_value *mode = &exec->interactive_mode;
  for (size_t i = 0; mode->text && i < sizeof modes / sizeof *modes; i++) {
    if (strcmp(mode->text, modes[i]) == 0)
      return 0;
  }
  if (mode->text)
    return fail(self, mode, "user.exec.interactiveMode",
                "must be `Never`, `IfAvailable` or `Always`, and is `%s`", mode->text);
  if (strcmp(exec->api_version.text, EXEC_GROUP "v1") == 0)
    return fail(self, at, "user.exec.interactiveMode", "must be set with `%s`",
                exec->api_version.text);
  return 0;
}

static int check_exec(checker *self) {
  const mp_kube_exec *exec = self->config->user.exec;
  if (!exec)
    return 0;
  const mp_kube_entry *entry = &self->config->user.entry;
  const mp_kube_value at = {.file = entry->file, .line = exec->line};
  const mp_kube_value *version = &exec->api_version;
  if (!exec->command.text)
    return fail(self, &at, "user.exec.command", "must be set");
  if (!version->text)
    return fail(self, &at, "user.exec.apiVersion", "must be set");
  if (strcmp(version->text, EXEC_GROUP "v1") != 0 &&
      strcmp(version->text, EXEC_GROUP "v1beta1") != 0) {
    fail(self, version, "user.exec.apiVersion", "`%s` is not supported", version->text);
    return mp_error_hint(self->err, "`" EXEC_GROUP "v1` and `" EXEC_GROUP
                                    "v1beta1` are; a newer plugin speaks one of them");
  }
  return check_interactive_mode(self, exec, &at);
}

static int check_certificate(checker *self) {
  const mp_kube_user *user = &self->config->user;
  if (check_either(self, &user->cert_data, &user->cert_file, "user.client-certificate-data",
                   "user.client-certificate") < 0 ||
      check_either(self, &user->key_data, &user->key_file, "user.client-key-data",
                   "user.client-key") < 0)
    return -1;
  const mp_kube_value *cert = user->cert_file.text ? &user->cert_file : &user->cert_data;
  const mp_kube_value *key = user->key_file.text ? &user->key_file : &user->key_data;
  if (cert->text && !key->text)
    return fail(self, cert, "user.client-key", "must be given with the client certificate");
  return 0;
}

static int check_impersonation(checker *self) {
  const mp_kube_user *user = &self->config->user;
  const mp_kube_value at = {.file = user->entry.file, .line = user->entry.line};
  if (user->as.text ||
      (!user->as_uid.text && user->as_groups.count == 0 && user->as_extra_count == 0))
    return 0;
  return fail(self, user->as_uid.text ? &user->as_uid : &at, "user.as",
              "must name a user where its uid, groups or extra fields are given");
}

static int check_user(checker *self) {
  const mp_kube_user *user = &self->config->user;
  if (user->username.text && (user->token.text || user->token_file.text))
    return fail(self, &user->username, "user.username",
                "and a token are both given; keep one of them");
  if (check_auth_provider(self) < 0 || check_exec(self) < 0)
    return -1;
  return check_certificate(self) < 0 || check_impersonation(self) < 0 ? -1 : 0;
}

int mp_kube_validate(mp_kube_config *config, mp_kube_fault *fault, mp_error *err) {
  checker self = {config, fault, err};
  return check_cluster(&self) < 0 || check_user(&self) < 0 ? -1 : 0;
}
