/* The chosen values, one to a row, fit to be shown. */
#include "config.h"

#include "core/http.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

typedef enum { SHOWN, MASKED, A_URL, BYTES } look;

static const struct {
  const char *field;
  look look;
  size_t offset;
} rows[] = {
#define ROW(field, look, member)                                                                   \
  { field, look, offsetof(mp_kube_config, member) }
    ROW("context", SHOWN, context),
    ROW("cluster", SHOWN, cluster_name),
    ROW("user", SHOWN, user_name),
    ROW("namespace", SHOWN, name_space),
    ROW("cluster.server", A_URL, cluster.server),
    ROW("cluster.tls-server-name", SHOWN, cluster.tls_server_name),
    ROW("cluster.insecure-skip-tls-verify", SHOWN, cluster.insecure),
    ROW("cluster.certificate-authority", SHOWN, cluster.ca_file),
    ROW("cluster.certificate-authority-data", BYTES, cluster.ca_data),
    ROW("cluster.proxy-url", A_URL, cluster.proxy_url),
    ROW("cluster.disable-compression", SHOWN, cluster.disable_compression),
    ROW("user.client-certificate", SHOWN, user.cert_file),
    ROW("user.client-certificate-data", BYTES, user.cert_data),
    ROW("user.client-key", SHOWN, user.key_file),
    ROW("user.client-key-data", MASKED, user.key_data),
    ROW("user.token", MASKED, user.token),
    ROW("user.tokenFile", SHOWN, user.token_file),
    ROW("user.username", SHOWN, user.username),
    ROW("user.password", MASKED, user.password),
    ROW("user.as", SHOWN, user.as),
    ROW("user.as-uid", SHOWN, user.as_uid),
#undef ROW
};

typedef struct {
  void (*on_row)(void *, const mp_kube_row *);
  void *data;
} sink;

static void tell(const sink *to, const char *field, look look, const mp_kube_value *value) {
  if (!value->text)
    return;
  mp_auto_free char *made = NULL;
  if (look == A_URL)
    made = mp_http_redact(value->text);
  else if (look == BYTES)
    made = mp_sprintf("(%zu bytes)", value->len);
  const char *text = made ? made : look == MASKED ? "***" : value->text;
  to->on_row(to->data, &(mp_kube_row){.field = field, .text = text, .value = value});
}

static void tell_list(const sink *to, const char *name, const mp_kube_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    mp_auto_free char *field = mp_sprintf("%s[%zu]", name, i);
    tell(to, field, SHOWN, &list->items[i]);
  }
}

/* Of a plugin's environment only the names; its values may be secrets. */
static void tell_env(const sink *to, const mp_kube_list *env) {
  for (size_t i = 0; i < env->count; i++) {
    mp_auto_free char *name = mp_memdup(env->items[i].text, strcspn(env->items[i].text, "="));
    mp_auto_free char *field = mp_sprintf("user.exec.env.%s", name);
    tell(to, field, MASKED, &env->items[i]);
  }
}

static void tell_exec(const sink *to, const mp_kube_exec *exec) {
  tell(to, "user.exec.apiVersion", SHOWN, &exec->api_version);
  tell(to, "user.exec.command", SHOWN, &exec->command);
  tell_list(to, "user.exec.args", &exec->args);
  tell_env(to, &exec->env);
  tell(to, "user.exec.interactiveMode", SHOWN, &exec->interactive_mode);
  tell(to, "user.exec.provideClusterInfo", SHOWN, &exec->provide_cluster_info);
}

void mp_kube_config_explain(const mp_kube_config *config,
                            void (*on_row)(void *, const mp_kube_row *), void *data) {
  sink to = {on_row, data};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    tell(&to, rows[i].field, rows[i].look,
         (const mp_kube_value *)((const char *)config + rows[i].offset));
  tell_list(&to, "user.as-groups", &config->user.as_groups);
  for (size_t i = 0; i < config->user.as_extra_count; i++) {
    const mp_kube_extra *extra = &config->user.as_extra[i];
    mp_auto_free char *field = mp_sprintf("user.as-user-extra.%s", extra->name);
    tell_list(&to, field, &extra->values);
  }
  if (config->user.exec)
    tell_exec(&to, config->user.exec);
}
