/* From options and kubeconfigs to the one cluster and user. */
#include "config.h"

#include "core/fs.h"
#include "core/mem.h"
#include "core/path.h"
#include "validate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define OPTION "option"
#define IN_CLUSTER "in-cluster"
#define NAMES_MOST 12

typedef struct {
  const mp_kube_flags *flags;
  mp_kube_config *config;
  mp_kube_fault *fault;
  mp_error *err;
} resolver;

/* ---- which files ---------------------------------------------------------------------------- */

/* As $KUBECONFIG holds it: the setting of an earlier command that is to be resolved alike. */
static bool is_list(const char *text) {
  struct stat info;
  return strchr(text, ':') && stat(text, &info) < 0;
}

/* As kubectl has it: what is named by the option must be there. */
static int read_named(resolver *self, const char *path) {
  if (mp_kubeconfig_read(&self->config->files, path, true, self->fault, self->err) == 0)
    return 0;
  if (!self->err->hint && mp_error_is(self->err, "ENOENT"))
    mp_error_hint(self->err, "the option `kubeconfig` names it; without that option, KUBECONFIG "
                             "and ~/.kube/config are read, where they are there");
  return -1;
}

/* Where kubeconfigs were looked for, when there was none. */
static char *places(const resolver *self) {
  const char *list = self->flags->kubeconfig;
  if (list)
    return mp_sprintf("the option `kubeconfig` is %s", list);
  list = secure_getenv("KUBECONFIG");
  if (list && *list)
    return mp_sprintf("KUBECONFIG is %s", list);
  return mp_strdup("no KUBECONFIG is set, and no ~/.kube/config is there");
}

static int read_files(resolver *self) {
  const mp_kube_flags *flags = self->flags;
  mp_kubeconfig *files = &self->config->files;
  if (flags->kubeconfig && !is_list(flags->kubeconfig))
    return read_named(self, flags->kubeconfig);
  if (flags->kubeconfig)
    return mp_kubeconfig_read_list(files, flags->kubeconfig, self->fault, self->err);
  const char *list = secure_getenv("KUBECONFIG");
  if (list && *list)
    return mp_kubeconfig_read_list(files, list, self->fault, self->err);
  const char *home = secure_getenv("HOME");
  if (!home || !*home)
    return 0;
  mp_auto_free char *path = mp_path_join(home, ".kube/config");
  return mp_kubeconfig_read(files, path, false, self->fault, self->err);
}

/* ---- which names ---------------------------------------------------------------------------- */

static void add_name(mp_buf *names, size_t i, size_t count, const char *name) {
  if (i < NAMES_MOST)
    mp_buf_printf(names, "%s`%s`", i > 0 ? ", " : "", name);
  else if (i == NAMES_MOST)
    mp_buf_printf(names, " and %zu more", count - i);
}

/* "there are `a`, `b`" of any list of entries */
static int hint_names(resolver *self, const char *what, const void *entries, size_t size,
                      size_t count) {
  mp_auto_buf mp_buf names = MP_BUF_INIT;
  if (self->config->files.file_count == 0) {
    mp_auto_free char *where = places(self);
    return mp_error_hint(self->err, "no kubeconfig was found: %s", where);
  }
  for (size_t i = 0; i < count; i++)
    add_name(&names, i, count, ((const mp_kube_entry *)((const char *)entries + i * size))->name);
  if (count == 0)
    return mp_error_hint(self->err, "no %s is defined in the kubeconfig", what);
  return mp_error_hint(self->err, "the kubeconfig has: %s", names.data);
}

static int missing(resolver *self, const mp_kube_value *name, const char *field, const char *what) {
  if (name->file) {
    mp_kube_fault_set(self->fault, name->file, name->line, field);
    return mp_error_set(self->err, "kube", MP_KUBE_CONFIG,
                        "%s:%u: `%s` names the %s `%s`, which is not there", name->file, name->line,
                        field, what, name->text);
  }
  mp_kube_fault_set(self->fault, NULL, 0, field);
  return mp_error_set(self->err, "kube", MP_KUBE_CONFIG, "there is no %s `%s`", what, name->text);
}

static void copy_value(mp_kube_value *to, const mp_kube_value *from) {
  mp_kube_value_free(to);
  *to = *from;
  if (from->text)
    to->text = mp_memdup(from->text, from->len);
}

/* The option's value, else the one from the files. */
static void choose(mp_kube_value *to, const char *option, const mp_kube_value *other) {
  if (option && *option)
    mp_kube_value_set(to, option, OPTION);
  else if (other && other->text)
    copy_value(to, other);
}

static int choose_context(resolver *self, mp_kube_context **context) {
  mp_kube_config *config = self->config;
  choose(&config->context, self->flags->context, &config->files.current_context);
  if (!config->context.text)
    return 0;
  *context = mp_kubeconfig_context(&config->files, config->context.text);
  if (*context)
    return 0;
  missing(self, &config->context, "current-context", "context");
  return hint_names(self, "context", config->files.contexts, sizeof *config->files.contexts,
                    config->files.context_count);
}

static int choose_cluster(resolver *self, const mp_kube_context *context) {
  mp_kube_config *config = self->config;
  choose(&config->cluster_name, self->flags->cluster, context ? &context->cluster : NULL);
  if (!config->cluster_name.text)
    return 0;
  mp_kube_cluster *found = mp_kubeconfig_cluster(&config->files, config->cluster_name.text);
  if (!found) {
    missing(self, &config->cluster_name, "context.cluster", "cluster");
    return hint_names(self, "cluster", config->files.clusters, sizeof *config->files.clusters,
                      config->files.cluster_count);
  }
  config->cluster = *found;
  memset(found, 0, sizeof *found);
  found->entry.name = mp_strdup("");
  return 0;
}

static int choose_user(resolver *self, const mp_kube_context *context) {
  mp_kube_config *config = self->config;
  choose(&config->user_name, self->flags->user, context ? &context->user : NULL);
  if (!config->user_name.text)
    return 0;
  mp_kube_user *found = mp_kubeconfig_user(&config->files, config->user_name.text);
  if (!found && self->flags->token && !self->flags->user)
    return 0; /* all of the user that counts is given */
  if (!found) {
    missing(self, &config->user_name, "context.user", "user");
    return hint_names(self, "user", config->files.users, sizeof *config->files.users,
                      config->files.user_count);
  }
  config->user = *found;
  memset(found, 0, sizeof *found);
  found->entry.name = mp_strdup("");
  return 0;
}

/* ---- the pod's service account -------------------------------------------------------------- */

static const char *account_dir(const resolver *self) {
  const char *dir = self->flags->service_account_dir;
  return dir ? dir : MP_KUBE_SERVICE_ACCOUNT;
}

static bool is_file(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

static const char *from_environment(const char *name) {
  const char *value = secure_getenv(name);
  return value && *value ? value : NULL;
}

static bool in_a_pod(const resolver *self) {
  mp_auto_free char *token = mp_path_join(account_dir(self), "token");
  return from_environment("KUBERNETES_SERVICE_HOST") &&
         from_environment("KUBERNETES_SERVICE_PORT") && is_file(token);
}

static void set_path(mp_kube_value *to, const char *dir, const char *name) {
  mp_auto_free char *path = mp_path_join(dir, name);
  if (!is_file(path))
    return;
  mp_kube_value_set(to, path, IN_CLUSTER);
}

static int use_service_account(resolver *self) {
  mp_kube_config *config = self->config;
  if (!in_a_pod(self)) {
    mp_error_set(self->err, "kube", MP_KUBE_CONFIG,
                 "there is no service account to use: this is not a pod");
    return mp_error_hint(
        self->err,
        "in a pod, KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and `%s/token` "
        "are there",
        account_dir(self));
  }
  const char *host = from_environment("KUBERNETES_SERVICE_HOST");
  bool brackets = strchr(host, ':') && host[0] != '[';
  mp_auto_free char *server =
      mp_sprintf("https://%s%s%s:%s", brackets ? "[" : "", host, brackets ? "]" : "",
                 from_environment("KUBERNETES_SERVICE_PORT"));
  mp_kube_value_set(&config->cluster.server, server, IN_CLUSTER);
  set_path(&config->cluster.ca_file, account_dir(self), "ca.crt");
  set_path(&config->user.token_file, account_dir(self), "token");
  config->auth = MP_KUBE_AUTH_IN_CLUSTER;
  return 0;
}

/* ---- the namespace -------------------------------------------------------------------------- */

static void account_namespace(resolver *self, mp_kube_value *to) {
  const char *own = from_environment("POD_NAMESPACE");
  if (own) {
    mp_kube_value_set(to, own, "environment");
    return;
  }
  mp_auto_free char *path = mp_path_join(account_dir(self), "namespace");
  mp_buf text = MP_BUF_INIT;
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  if (mp_fs_read(path, 4096, &text, &ignored) == 0 && text.data) {
    text.data[strcspn(text.data, " \t\r\n")] = '\0';
    if (*text.data)
      mp_kube_value_set(to, text.data, IN_CLUSTER);
  }
  mp_buf_free(&text);
}

/* A pod's own namespace stands in for `default` also where a kubeconfig says all the rest. */
static void choose_namespace(resolver *self, const mp_kube_context *context) {
  mp_kube_value *to = &self->config->name_space;
  choose(to, self->flags->name_space, context ? &context->name_space : NULL);
  if (!to->text && in_a_pod(self))
    account_namespace(self, to);
  if (!to->text)
    mp_kube_value_set(to, "default", "default");
}

/* ---- options over what the files say -------------------------------------------------------- */

static int apply_ca_option(resolver *self) {
  const mp_kube_flags *flags = self->flags;
  mp_kube_cluster *cluster = &self->config->cluster;
  if (!flags->ca && flags->insecure != MP_KUBE_YES) {
    if (flags->insecure == MP_KUBE_NO)
      mp_kube_value_set(&cluster->insecure, "false", OPTION);
    return 0;
  }
  /* A CA by option undoes `insecure` of the file, and the other way round. */
  mp_kube_value_free(&cluster->ca_data);
  mp_kube_value_free(&cluster->ca_file);
  mp_kube_value_free(&cluster->insecure);
  if (flags->insecure == MP_KUBE_YES)
    mp_kube_value_set(&cluster->insecure, "true", OPTION);
  if (!flags->ca)
    return 0;
  mp_auto_free char *path = mp_path_absolute(flags->ca, self->err);
  if (!path)
    return -1;
  mp_kube_value_set(&cluster->ca_file, path, OPTION);
  return 0;
}

/* Another server has another name, unless that is given too. */
static int apply_cluster_options(resolver *self) {
  const mp_kube_flags *flags = self->flags;
  mp_kube_cluster *cluster = &self->config->cluster;
  choose(&cluster->server, flags->server, NULL);
  choose(&cluster->proxy_url, flags->proxy, NULL);
  if (flags->server || flags->tls_server_name)
    mp_kube_value_free(&cluster->tls_server_name);
  choose(&cluster->tls_server_name, flags->tls_server_name, NULL);
  return apply_ca_option(self);
}

static void apply_groups(mp_kube_user *user, const char *const *groups) {
  size_t count = 0;
  while (groups[count])
    count++;
  for (size_t i = 0; i < user->as_groups.count; i++)
    mp_kube_value_free(&user->as_groups.items[i]);
  free(user->as_groups.items);
  user->as_groups = (mp_kube_list){mp_calloc(count + 1, sizeof(mp_kube_value)), count};
  for (size_t i = 0; i < count; i++)
    mp_kube_value_set(&user->as_groups.items[i], groups[i], OPTION);
}

/* A token by option is the one to use, not the file beside it. */
static void apply_user_options(resolver *self) {
  const mp_kube_flags *flags = self->flags;
  mp_kube_user *user = &self->config->user;
  if (flags->token) {
    mp_kube_value_free(&user->token_file);
    choose(&user->token, flags->token, NULL);
  }
  choose(&user->as, flags->as, NULL);
  choose(&user->as_uid, flags->as_uid, NULL);
  if (flags->as_groups)
    apply_groups(user, flags->as_groups);
}

/* ---- how it is authenticated ---------------------------------------------------------------- */

static mp_kube_auth auth_of(const mp_kube_config *config) {
  const mp_kube_user *user = &config->user;
  if (!config->secure)
    return MP_KUBE_AUTH_NONE;
  if (user->token_file.text)
    return config->auth == MP_KUBE_AUTH_IN_CLUSTER ? config->auth : MP_KUBE_AUTH_TOKEN_FILE;
  if (user->token.text)
    return MP_KUBE_AUTH_TOKEN;
  if (user->username.text)
    return MP_KUBE_AUTH_BASIC;
  if (user->exec)
    return MP_KUBE_AUTH_EXEC;
  return user->cert_file.text || user->cert_data.text ? MP_KUBE_AUTH_CERTIFICATE
                                                      : MP_KUBE_AUTH_NONE;
}

const char *mp_kube_auth_name(mp_kube_auth auth) {
  static const char *const names[] = {[MP_KUBE_AUTH_NONE] = "none",
                                      [MP_KUBE_AUTH_CERTIFICATE] = "certificate",
                                      [MP_KUBE_AUTH_BASIC] = "basic",
                                      [MP_KUBE_AUTH_TOKEN] = "token",
                                      [MP_KUBE_AUTH_TOKEN_FILE] = "token-file",
                                      [MP_KUBE_AUTH_IN_CLUSTER] = "in-cluster",
                                      [MP_KUBE_AUTH_EXEC] = "exec"};
  return names[auth];
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int no_server(resolver *self) {
  const mp_kube_config *config = self->config;
  if (config->cluster.entry.file) {
    const mp_kube_entry *entry = &config->cluster.entry;
    mp_kube_fault_set(self->fault, entry->file, entry->line, "cluster.server");
    return mp_error_set(self->err, "kube", MP_KUBE_CONFIG,
                        "%s:%u: the cluster `%s` has no `server`", entry->file, entry->line,
                        entry->name);
  }
  if (config->context.text) {
    missing(self, &config->context, "context.cluster", "context");
    return mp_error_set(self->err, "kube", MP_KUBE_CONFIG, "the context `%s` names no cluster",
                        config->context.text);
  }
  if (config->files.context_count > 0) {
    mp_error_set(self->err, "kube", MP_KUBE_CONFIG,
                 "no context is chosen: `current-context` is not set in `%s`",
                 config->files.files[0]);
    return hint_names(self, "context", config->files.contexts, sizeof *config->files.contexts,
                      config->files.context_count);
  }
  mp_auto_free char *where = places(self);
  mp_error_set(self->err, "kube", MP_KUBE_CONFIG, "there is no Kubernetes configuration: %s",
               where);
  return mp_error_hint(self->err, "say which with KUBECONFIG or the option `kubeconfig`");
}

static int resolve(resolver *self) {
  mp_kube_config *config = self->config;
  mp_kube_context *context = NULL;
  if (!self->flags->in_cluster &&
      (read_files(self) < 0 || choose_context(self, &context) < 0 ||
       choose_cluster(self, context) < 0 || choose_user(self, context) < 0))
    return -1;
  bool nothing = !config->context.text && !config->cluster_name.text && !self->flags->server;
  if ((self->flags->in_cluster || (nothing && in_a_pod(self))) && use_service_account(self) < 0)
    return -1;
  if (apply_cluster_options(self) < 0)
    return -1;
  apply_user_options(self);
  choose_namespace(self, context);
  if (!config->cluster.server.text)
    return no_server(self);
  if (mp_kube_validate(config, self->fault, self->err) < 0)
    return -1;
  config->auth = auth_of(config);
  return 0;
}

int mp_kube_config_load(const mp_kube_flags *flags, mp_kube_config **out, mp_kube_fault *fault,
                        mp_error *err) {
  mp_kube_config *config = mp_alloc(sizeof *config);
  config->refs = 1;
  resolver self = {flags, config, fault, err};
  if (resolve(&self) < 0) {
    mp_kube_config_unref(config);
    return -1;
  }
  *out = config;
  return 0;
}

mp_kube_config *mp_kube_config_ref(mp_kube_config *config) {
  config->refs++;
  return config;
}

void mp_kube_config_unref(mp_kube_config *config) {
  if (!config || --config->refs > 0)
    return;
  mp_kube_value_free(&config->context);
  mp_kube_value_free(&config->cluster_name);
  mp_kube_value_free(&config->user_name);
  mp_kube_value_free(&config->name_space);
  mp_kube_cluster_free(&config->cluster);
  mp_kube_user_free(&config->user);
  mp_kubeconfig_free(&config->files);
  free(config->base);
  free(config);
}
