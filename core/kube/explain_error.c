/* What an operator can do about a failure of the transport, by the kubeconfig's own words. */
#include "internal.h"

#include "core/mem.h"
#include "lifetime.h"

#include <string.h>
#include <time.h>

/* "`FIELD` (FILE:LINE)", or how else it was set. */
static char *place(const char *field, const mp_kube_value *value) {
  if (value->file)
    return mp_sprintf("`%s` (%s:%u)", field, value->file, value->line);
  return mp_sprintf("`%s` (%s)", field, value->from ? value->from : "not set");
}

static bool says(const mp_error *err, const char *words) {
  return strcasestr(err->message, words) != NULL;
}

static char *place_of_ca(const mp_kube_cluster *cluster) {
  if (cluster->ca_file.text)
    return place("cluster.certificate-authority", &cluster->ca_file);
  return place("cluster.certificate-authority-data", &cluster->ca_data);
}

static char *place_of_cert(const mp_kube_user *user) {
  if (user->cert_file.text)
    return place("user.client-certificate", &user->cert_file);
  return place("user.client-certificate-data", &user->cert_data);
}

static void explain_unknown_issuer(const mp_kube_config *config, mp_error *err) {
  mp_auto_free char *ca = place_of_ca(&config->cluster);
  if (config->cluster.ca_file.text || config->cluster.ca_data.text)
    mp_error_hint(err,
                  "the server's certificate is not signed by the CA in %s; is this the cluster "
                  "that is meant, and its present CA?",
                  ca);
  else
    mp_error_hint(err, "the server's certificate was checked against the system's CAs; "
                       "`cluster.certificate-authority-data` names the cluster's own");
}

static void explain_name(const mp_kube_config *config, mp_error *err) {
  const mp_kube_value *name = &config->cluster.tls_server_name;
  mp_auto_free char *at = name->text ? place("cluster.tls-server-name", name)
                                     : place("cluster.server", &config->cluster.server);
  if (name->text)
    mp_error_hint(err, "the server's certificate is not for `%s`, which %s asks for", name->text,
                  at);
  else
    mp_error_hint(err,
                  "the server's certificate is not for the host in %s; "
                  "`cluster.tls-server-name` says which name to expect",
                  at);
}

static void explain_tls(const mp_kube_config *config, mp_error *err) {
  mp_auto_free char *cert = place_of_cert(&config->user);
  mp_auto_free char *ca = place_of_ca(&config->cluster);
  mp_auto_free char *server = place("cluster.server", &config->cluster.server);
  if (says(err, "alert"))
    mp_error_hint(err, "the server refused the handshake; the client certificate is %s", cert);
  else if (says(err, "subject name"))
    explain_name(config, err);
  else if (says(err, "has expired") || says(err, "not yet valid"))
    mp_error_hint(err,
                  "it is the server's certificate, by this machine's clock; renew it on the "
                  "server at %s",
                  server);
  else if (says(err, "client certificate") || says(err, "private key"))
    mp_error_hint(err, "the client certificate is %s", cert);
  else if (says(err, "CA") && says(err, "error"))
    mp_error_hint(err, "the CA is %s; it must be PEM", ca);
  else if (says(err, "issuer") || says(err, "self-signed") || says(err, "self signed") ||
           says(err, "unable to get"))
    explain_unknown_issuer(config, err);
  else if (says(err, "wrong version number"))
    mp_error_hint(err, "does the server at %s speak TLS on this port?", server);
}

static void explain_connect(const mp_kube_config *config, mp_error *err) {
  mp_auto_free char *server = place("cluster.server", &config->cluster.server);
  mp_auto_free char *proxy = place("cluster.proxy-url", &config->cluster.proxy_url);
  if (config->cluster.proxy_url.text)
    mp_error_hint(err, "the way there leads through the proxy in %s", proxy);
  else
    mp_error_hint(err, "the address is that of %s; is the API server running?", server);
}

void mp_kube_explain_error(const mp_kube *kube, mp_error *err) {
  if (!err->domain || strcmp(err->domain, "http") != 0)
    return;
  if (mp_error_is(err, "tls"))
    explain_tls(kube->config, err);
  else if (mp_error_is(err, "connect") || mp_error_is(err, "resolve") || mp_error_is(err, "proxy"))
    explain_connect(kube->config, err);
}

/* ---- a 401 ---------------------------------------------------------------------------------- */

static void put_time(char *to, size_t room, int64_t seconds) {
  time_t time = (time_t)seconds;
  struct tm tm;
  gmtime_r(&time, &tm);
  strftime(to, room, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* "has expired ..." or "is not valid before ..." where that is so. */
static void tell_lifetime(mp_buf *out, const mp_kube_lifetime *life) {
  int64_t now = (int64_t)time(NULL);
  char when[32];
  if (life->until != 0 && now >= life->until) {
    put_time(when, sizeof when, life->until);
    mp_buf_printf(out, " has expired: it was valid until %s", when);
  } else if (now < life->from) {
    put_time(when, sizeof when, life->from);
    mp_buf_printf(out, " is not valid before %s, and this machine's clock is behind that", when);
  } else {
    mp_buf_puts(out, " was not accepted");
  }
}

static void tell_certificate(const mp_kube *kube, mp_buf *out) {
  const mp_kube_user *user = &kube->config->user;
  const mp_kube_source *file = &kube->sources.of[MP_KUBE_CERT];
  mp_kube_lifetime life = {0};
  if (file->value)
    mp_kube_certificate_lifetime(file->bytes.data, file->bytes.len, &life);
  else
    mp_kube_certificate_lifetime(user->cert_data.text, user->cert_data.len, &life);
  mp_auto_free char *at = place_of_cert(user);
  mp_buf_printf(out, "the client certificate in %s", at);
  tell_lifetime(out, &life);
}

static void tell_token(const mp_kube *kube, mp_buf *out) {
  const mp_kube_user *user = &kube->config->user;
  bool of_file = kube->sources.of[MP_KUBE_TOKEN].bytes.data != NULL;
  mp_auto_free char *at =
      of_file ? place("user.tokenFile", &user->token_file) : place("user.token", &user->token);
  mp_kube_lifetime life = {0};
  mp_kube_token_lifetime(kube->authorization.text, kube->authorization.len, &life);
  mp_buf_printf(out, "the token of %s", at);
  tell_lifetime(out, &life);
}

static void tell_plugin(const mp_kube *kube, mp_buf *out) {
  const mp_kube_exec *exec = kube->config->user.exec;
  mp_auto_free char *at = place("user.exec.command", &exec->command);
  mp_kube_lifetime life = {.until = kube->issued.expires ? kube->issued.expires_at : 0};
  mp_buf_printf(out, "what the credential plugin `%s` of %s gave", exec->command.text, at);
  tell_lifetime(out, &life);
}

static void tell_nobody(const mp_kube_config *config, mp_buf *out) {
  mp_auto_free char *server = place("cluster.server", &config->cluster.server);
  if (!config->secure)
    mp_buf_printf(out, "over plain http, as in %s, no credentials are sent", server);
  else if (config->user_name.text)
    mp_buf_printf(out, "the user `%s` has no credentials in the kubeconfig",
                  config->user_name.text);
  else
    mp_buf_puts(out, "no user is chosen, so no credentials were sent");
}

char *mp_kube_explain_refusal(const mp_kube *kube) {
  mp_buf out = MP_BUF_INIT;
  mp_auto_free char *name = place("user.username", &kube->config->user.username);
  switch (kube->config->auth) {
  case MP_KUBE_AUTH_NONE:
    tell_nobody(kube->config, &out);
    break;
  case MP_KUBE_AUTH_CERTIFICATE:
    tell_certificate(kube, &out);
    break;
  case MP_KUBE_AUTH_BASIC:
    mp_buf_printf(&out, "API servers take no user names and passwords since Kubernetes 1.19; %s",
                  name);
    mp_buf_puts(&out, " sets one. Use a token, a client certificate or an exec plugin");
    break;
  case MP_KUBE_AUTH_TOKEN:
  case MP_KUBE_AUTH_TOKEN_FILE:
  case MP_KUBE_AUTH_IN_CLUSTER:
    tell_token(kube, &out);
    break;
  case MP_KUBE_AUTH_EXEC:
    tell_plugin(kube, &out);
    break;
  }
  return out.data;
}
