/* What an operator can do about a failure of the transport, by the kubeconfig's own words. */
#include "internal.h"

#include "core/mem.h"

#include <string.h>

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

char *mp_kube_explain_refusal(const mp_kube *kube) {
  const mp_kube_config *config = kube->config;
  const mp_kube_value *server = &config->cluster.server;
  if (!config->secure)
    return mp_sprintf("no credentials are sent over plain http, as in `cluster.server` (%s)",
                      server->file ? server->file : server->from);
  return NULL;
}
