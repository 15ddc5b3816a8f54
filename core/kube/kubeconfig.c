/* From files to clusters, users and contexts. */
#include "kubeconfig.h"

#include "core/fs.h"
#include "core/mem.h"
#include "core/path.h"
#include "node.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MOST (16u << 20) /* bytes */
#define EXEC_EXTENSION "client.authentication.k8s.io/exec"

/* ---- values --------------------------------------------------------------------------------- */

static void wipe(char *text, size_t len) {
  if (text)
    explicit_bzero(text, len);
  free(text);
}

void mp_kube_value_set(mp_kube_value *value, const char *text, const char *from) {
  char *copy = mp_strdup(text);
  mp_kube_value_free(value);
  *value = (mp_kube_value){.text = copy, .len = copy ? strlen(copy) : 0, .from = from};
}

void mp_kube_value_free(mp_kube_value *value) {
  wipe(value->text, value->len);
  *value = (mp_kube_value){0};
}

bool mp_kube_is_true(const mp_kube_value *value) {
  return value->text && strcmp(value->text, "true") == 0;
}

static void list_free(mp_kube_list *list) {
  for (size_t i = 0; i < list->count; i++)
    mp_kube_value_free(&list->items[i]);
  free(list->items);
  *list = (mp_kube_list){0};
}

void mp_kube_fault_set(mp_kube_fault *fault, const char *file, unsigned line, const char *field) {
  mp_kube_fault_free(fault);
  *fault = (mp_kube_fault){.file = mp_strdup(file), .line = line, .field = mp_strdup(field)};
}

void mp_kube_fault_free(mp_kube_fault *fault) {
  free(fault->file);
  free(fault->field);
  *fault = (mp_kube_fault){0};
}

/* ---- tables of fields ----------------------------------------------------------------------- */

/* PATH is a text that is resolved against the file's directory; COMMAND only where it has a slash.
 */
typedef enum { A_TEXT, A_FLAG, A_DATA, A_PATH, A_COMMAND, A_LIST } type;

typedef struct {
  const char *name;
  type type;
  size_t offset;
} field;

#define FIELD(of, name, type, member)                                                              \
  { name, type, offsetof(of, member) }

static const field cluster_fields[] = {
    FIELD(mp_kube_cluster, "server", A_TEXT, server),
    FIELD(mp_kube_cluster, "tls-server-name", A_TEXT, tls_server_name),
    FIELD(mp_kube_cluster, "insecure-skip-tls-verify", A_FLAG, insecure),
    FIELD(mp_kube_cluster, "certificate-authority", A_PATH, ca_file),
    FIELD(mp_kube_cluster, "certificate-authority-data", A_DATA, ca_data),
    FIELD(mp_kube_cluster, "proxy-url", A_TEXT, proxy_url),
    FIELD(mp_kube_cluster, "disable-compression", A_FLAG, disable_compression),
    {0},
};

static const field user_fields[] = {
    FIELD(mp_kube_user, "client-certificate", A_PATH, cert_file),
    FIELD(mp_kube_user, "client-certificate-data", A_DATA, cert_data),
    FIELD(mp_kube_user, "client-key", A_PATH, key_file),
    FIELD(mp_kube_user, "client-key-data", A_DATA, key_data),
    FIELD(mp_kube_user, "token", A_TEXT, token),
    FIELD(mp_kube_user, "tokenFile", A_PATH, token_file),
    FIELD(mp_kube_user, "username", A_TEXT, username),
    FIELD(mp_kube_user, "password", A_TEXT, password),
    FIELD(mp_kube_user, "as", A_TEXT, as),
    FIELD(mp_kube_user, "as-uid", A_TEXT, as_uid),
    FIELD(mp_kube_user, "as-groups", A_LIST, as_groups),
    {0},
};

static const field exec_fields[] = {
    FIELD(mp_kube_exec, "apiVersion", A_TEXT, api_version),
    FIELD(mp_kube_exec, "command", A_COMMAND, command),
    FIELD(mp_kube_exec, "args", A_LIST, args),
    FIELD(mp_kube_exec, "installHint", A_TEXT, install_hint),
    FIELD(mp_kube_exec, "provideClusterInfo", A_FLAG, provide_cluster_info),
    FIELD(mp_kube_exec, "interactiveMode", A_TEXT, interactive_mode),
    {0},
};

static const field context_fields[] = {
    FIELD(mp_kube_context, "cluster", A_TEXT, cluster),
    FIELD(mp_kube_context, "user", A_TEXT, user),
    FIELD(mp_kube_context, "namespace", A_TEXT, name_space),
    {0},
};

static void resolve(const mp_kube_reader *reader, mp_kube_value *value) {
  if (!value->text || value->text[0] == '/')
    return;
  mp_auto_free char *directory = mp_path_dirname(reader->file);
  mp_auto_free char *joined = mp_path_join(directory, value->text);
  char *path = mp_path_normalize(joined);
  free(value->text);
  value->text = path;
  value->len = strlen(path);
}

static int read_field(mp_kube_reader *reader, const field *field, yaml_node_t *node, void *into) {
  void *to = (char *)into + field->offset;
  switch (field->type) {
  case A_TEXT:
    return mp_kube_read_text(reader, node, to);
  case A_FLAG:
    return mp_kube_read_flag(reader, node, to);
  case A_DATA:
    return mp_kube_read_base64(reader, node, to);
  case A_LIST:
    return mp_kube_read_texts(reader, node, to);
  case A_PATH:
  case A_COMMAND:
    if (mp_kube_read_text(reader, node, to) < 0)
      return -1;
    if (field->type == A_PATH ||
        (((mp_kube_value *)to)->text && strchr(((mp_kube_value *)to)->text, '/')))
      resolve(reader, to);
    return 0;
  }
  return 0;
}

/* Reads the members that the table knows. */
static int read_fields(mp_kube_reader *reader, const field *fields, yaml_node_t *map, void *into) {
  for (const field *each = fields; each->name; each++) {
    size_t mark = mp_kube_enter(reader, each->name);
    if (read_field(reader, each, mp_kube_member(reader, map, each->name), into) < 0)
      return -1;
    mp_kube_leave(reader, mark);
  }
  return 0;
}

static void free_fields(const field *fields, void *of) {
  for (const field *each = fields; each->name; each++) {
    void *at = (char *)of + each->offset;
    if (each->type == A_LIST)
      list_free(at);
    else
      mp_kube_value_free(at);
  }
}

/* ---- clusters ------------------------------------------------------------------------------- */

/* extensions: [{name: ..., extension: ANY}] */
static int read_exec_config(mp_kube_reader *reader, yaml_node_t *map, mp_kube_cluster *cluster) {
  yaml_node_t *extensions = mp_kube_member(reader, map, "extensions");
  size_t mark = mp_kube_enter(reader, "extensions");
  if (mp_kube_expect_list(reader, &extensions) < 0)
    return -1;
  for (size_t i = 0; i < mp_kube_length(extensions); i++) {
    yaml_node_t *each = mp_kube_element(reader, extensions, i);
    size_t inner = mp_kube_enter_at(reader, i);
    mp_kube_value name = {0};
    int rc = mp_kube_expect_map(reader, &each);
    if (rc == 0)
      rc = mp_kube_read_text(reader, mp_kube_member(reader, each, "name"), &name);
    if (rc == 0 && name.text && strcmp(name.text, EXEC_EXTENSION) == 0)
      rc = mp_kube_read_json(reader, mp_kube_member(reader, each, "extension"),
                             &cluster->exec_config);
    mp_kube_value_free(&name);
    if (rc < 0)
      return -1;
    mp_kube_leave(reader, inner);
  }
  mp_kube_leave(reader, mark);
  return 0;
}

static int read_cluster(mp_kube_reader *reader, yaml_node_t *map, void *into) {
  if (read_fields(reader, cluster_fields, map, into) < 0)
    return -1;
  return read_exec_config(reader, map, into);
}

static void cluster_free(void *of) {
  mp_kube_cluster *cluster = of;
  free(cluster->entry.name);
  free_fields(cluster_fields, cluster);
  mp_kube_value_free(&cluster->exec_config);
}

/* ---- users ---------------------------------------------------------------------------------- */

/* env: [{name: N, value: V}] becomes "N=V" */
static int read_variable(mp_kube_reader *reader, yaml_node_t *each, mp_kube_value *to) {
  static const field fields[] = {
      {"name", A_TEXT, 0}, {"value", A_TEXT, sizeof(mp_kube_value)}, {0}};
  mp_kube_value parts[2] = {{0}, {0}};
  const yaml_node_t *at = each;
  int rc = mp_kube_expect_map(reader, &each);
  if (rc == 0)
    rc = read_fields(reader, fields, each, parts);
  if (rc == 0 && (!parts[0].text || strchr(parts[0].text, '=')))
    rc = mp_kube_reader_fail(reader, at, "needs a `name` without `=`");
  if (rc == 0) {
    *to = parts[0];
    to->text = mp_sprintf("%s=%s", parts[0].text, parts[1].text ? parts[1].text : "");
    to->len = strlen(to->text);
    wipe(parts[0].text, parts[0].len);
    parts[0].text = NULL;
  }
  mp_kube_value_free(&parts[0]);
  mp_kube_value_free(&parts[1]);
  return rc;
}

static int read_env(mp_kube_reader *reader, yaml_node_t *list, mp_kube_list *env) {
  size_t mark = mp_kube_enter(reader, "env");
  if (mp_kube_expect_list(reader, &list) < 0)
    return -1;
  env->items = mp_calloc(mp_kube_length(list) + 1, sizeof *env->items);
  for (size_t i = 0; i < mp_kube_length(list); i++) {
    size_t inner = mp_kube_enter_at(reader, i);
    if (read_variable(reader, mp_kube_element(reader, list, i), &env->items[env->count]) < 0)
      return -1;
    env->count++;
    mp_kube_leave(reader, inner);
  }
  mp_kube_leave(reader, mark);
  return 0;
}

static int read_exec(mp_kube_reader *reader, yaml_node_t *map, mp_kube_user *user) {
  size_t mark = mp_kube_enter(reader, "exec");
  if (mp_kube_expect_map(reader, &map) < 0)
    return -1;
  if (map) {
    user->exec = mp_alloc(sizeof *user->exec);
    user->exec->line = mp_kube_line(map);
    if (read_fields(reader, exec_fields, map, user->exec) < 0 ||
        read_env(reader, mp_kube_member(reader, map, "env"), &user->exec->env) < 0)
      return -1;
  }
  mp_kube_leave(reader, mark);
  return 0;
}

static int read_extra(mp_kube_reader *reader, yaml_node_t *map, mp_kube_user *user) {
  size_t mark = mp_kube_enter(reader, "as-user-extra");
  if (mp_kube_expect_map(reader, &map) < 0)
    return -1;
  const char *name;
  yaml_node_t *value;
  for (size_t at = 0; mp_kube_next(reader, map, &at, &name, &value);) {
    size_t inner = mp_kube_enter(reader, name);
    user->as_extra =
        mp_realloc(user->as_extra, (user->as_extra_count + 1) * sizeof *user->as_extra);
    mp_kube_extra *extra = &user->as_extra[user->as_extra_count++];
    *extra = (mp_kube_extra){.name = mp_strdup(name)};
    if (mp_kube_read_texts(reader, value, &extra->values) < 0)
      return -1;
    mp_kube_leave(reader, inner);
  }
  mp_kube_leave(reader, mark);
  return 0;
}

/* Only its name, to be refused by that when the user is chosen. */
static int read_auth_provider(mp_kube_reader *reader, yaml_node_t *map, mp_kube_user *user) {
  size_t mark = mp_kube_enter(reader, "auth-provider");
  const yaml_node_t *at = map;
  if (mp_kube_expect_map(reader, &map) < 0)
    return -1;
  size_t inner = mp_kube_enter(reader, "name");
  if (mp_kube_read_text(reader, mp_kube_member(reader, map, "name"), &user->auth_provider) < 0)
    return -1;
  mp_kube_leave(reader, inner);
  if (map && !user->auth_provider.text)
    return mp_kube_reader_fail(reader, at, "has no `name`");
  mp_kube_leave(reader, mark);
  return 0;
}

static int read_user(mp_kube_reader *reader, yaml_node_t *map, void *into) {
  if (read_fields(reader, user_fields, map, into) < 0)
    return -1;
  if (read_exec(reader, mp_kube_member(reader, map, "exec"), into) < 0 ||
      read_extra(reader, mp_kube_member(reader, map, "as-user-extra"), into) < 0)
    return -1;
  return read_auth_provider(reader, mp_kube_member(reader, map, "auth-provider"), into);
}

static void user_free(void *of) {
  mp_kube_user *user = of;
  free(user->entry.name);
  free_fields(user_fields, user);
  mp_kube_value_free(&user->auth_provider);
  for (size_t i = 0; i < user->as_extra_count; i++) {
    free(user->as_extra[i].name);
    list_free(&user->as_extra[i].values);
  }
  free(user->as_extra);
  if (user->exec) {
    free_fields(exec_fields, user->exec);
    list_free(&user->exec->env);
    free(user->exec);
  }
}

/* ---- contexts ------------------------------------------------------------------------------- */

static int read_context(mp_kube_reader *reader, yaml_node_t *map, void *into) {
  return read_fields(reader, context_fields, map, into);
}

static void context_free(void *of) {
  mp_kube_context *context = of;
  free(context->entry.name);
  free_fields(context_fields, context);
}

void mp_kube_cluster_free(mp_kube_cluster *cluster) {
  cluster_free(cluster);
}

void mp_kube_user_free(mp_kube_user *user) {
  user_free(user);
}

/* ---- lists of named entries ----------------------------------------------------------------- */

typedef struct {
  const char *list, *body; /* clusters: [{name: ..., cluster: {...}}] */
  size_t size;
  int (*read)(mp_kube_reader *reader, yaml_node_t *map, void *into);
  void (*free)(void *entry);
} section;

static const section the_clusters = {"clusters", "cluster", sizeof(mp_kube_cluster), read_cluster,
                                     cluster_free};
static const section the_users = {"users", "user", sizeof(mp_kube_user), read_user, user_free};
static const section the_contexts = {"contexts", "context", sizeof(mp_kube_context), read_context,
                                     context_free};

static mp_kube_entry *find(const section *section, void *entries, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++) {
    mp_kube_entry *entry = (mp_kube_entry *)((char *)entries + i * section->size);
    if (strcmp(entry->name, name) == 0)
      return entry;
  }
  return NULL;
}

/* Reads one element into `entry`, which is zeroed. */
static int read_entry(mp_kube_reader *reader, const section *section, yaml_node_t *node,
                      mp_kube_entry *entry) {
  mp_kube_value name = {0};
  entry->file = reader->file;
  entry->line = mp_kube_line(node);
  if (mp_kube_expect_map(reader, &node) < 0)
    return -1;
  size_t mark = mp_kube_enter(reader, "name");
  if (mp_kube_read_text(reader, mp_kube_member(reader, node, "name"), &name) < 0)
    return -1;
  mp_kube_leave(reader, mark);
  entry->name = name.text ? name.text : mp_strdup("");
  yaml_node_t *body = mp_kube_member(reader, node, section->body);
  mark = mp_kube_enter(reader, section->body);
  if (mp_kube_expect_map(reader, &body) < 0 || section->read(reader, body, entry) < 0)
    return -1;
  mp_kube_leave(reader, mark);
  return 0;
}

static int check_twice(mp_kube_reader *reader, const yaml_node_t *node, const mp_kube_entry *before,
                       const mp_kube_entry *entry) {
  if (!before || before->file != reader->file)
    return 0;
  return mp_kube_reader_fail(reader, node, "has the name `%s`, as the one in line %u has",
                             entry->name, before->line);
}

/* An entry that an earlier file has is read too, for its errors, and then dropped. */
static int read_section(mp_kube_reader *reader, const section *section, yaml_node_t *root,
                        void **entries, size_t *count) {
  yaml_node_t *list = mp_kube_member(reader, root, section->list);
  size_t mark = mp_kube_enter(reader, section->list), before = *count;
  if (mp_kube_expect_list(reader, &list) < 0)
    return -1;
  for (size_t i = 0; i < mp_kube_length(list); i++) {
    size_t inner = mp_kube_enter_at(reader, i);
    yaml_node_t *node = mp_kube_element(reader, list, i);
    *entries = mp_realloc(*entries, (*count + 1) * section->size);
    mp_kube_entry *entry = (mp_kube_entry *)((char *)*entries + *count * section->size);
    memset(entry, 0, section->size);
    int rc = read_entry(reader, section, node, entry);
    bool taken = rc == 0 && find(section, *entries, before, entry->name);
    if (rc == 0 && !taken)
      rc = check_twice(reader, node, find(section, *entries, *count, entry->name), entry);
    if (rc < 0 || taken)
      section->free(entry);
    else
      (*count)++;
    if (rc < 0)
      return -1;
    mp_kube_leave(reader, inner);
  }
  mp_kube_leave(reader, mark);
  return 0;
}

static void free_section(const section *section, void *entries, size_t count) {
  for (size_t i = 0; i < count; i++)
    section->free((char *)entries + i * section->size);
  free(entries);
}

/* ---- files ---------------------------------------------------------------------------------- */

static int check_member(mp_kube_reader *reader, yaml_node_t *root, const char *name,
                        const char *wanted) {
  mp_kube_value value = {0};
  const yaml_node_t *node = mp_kube_member(reader, root, name);
  size_t mark = mp_kube_enter(reader, name);
  int rc = mp_kube_read_text(reader, node, &value);
  if (rc == 0 && value.text && strcmp(value.text, wanted) != 0)
    rc = mp_kube_reader_fail(reader, node, "is `%s`; a kubeconfig's is `%s`", value.text, wanted);
  mp_kube_value_free(&value);
  if (rc == 0)
    mp_kube_leave(reader, mark);
  return rc;
}

static int read_root(mp_kube_reader *reader, yaml_node_t *root, mp_kubeconfig *config) {
  if (mp_kube_expect_map(reader, &root) < 0)
    return -1;
  if (check_member(reader, root, "kind", "Config") < 0 ||
      check_member(reader, root, "apiVersion", "v1") < 0)
    return -1;
  mp_kube_value current = {0};
  size_t mark = mp_kube_enter(reader, "current-context");
  if (mp_kube_read_text(reader, mp_kube_member(reader, root, "current-context"), &current) < 0)
    return -1;
  mp_kube_leave(reader, mark);
  if (config->current_context.text)
    mp_kube_value_free(&current);
  else
    config->current_context = current;
  if (read_section(reader, &the_clusters, root, (void **)&config->clusters,
                   &config->cluster_count) < 0 ||
      read_section(reader, &the_contexts, root, (void **)&config->contexts,
                   &config->context_count) < 0)
    return -1;
  return read_section(reader, &the_users, root, (void **)&config->users, &config->user_count);
}

int mp_kubeconfig_add(mp_kubeconfig *config, const char *file, const char *text, size_t len,
                      mp_kube_fault *fault, mp_error *err) {
  config->files = mp_realloc(config->files, (config->file_count + 1) * sizeof *config->files);
  char *name = config->files[config->file_count++] = mp_strdup(file);
  mp_kube_reader reader;
  yaml_node_t *root = NULL;
  int rc = mp_kube_reader_open(&reader, name, text, len, &root, fault, err);
  if (rc == 0)
    rc = read_root(&reader, root, config);
  mp_kube_reader_close(&reader);
  return rc;
}

static bool was_read(const mp_kubeconfig *config, const char *path) {
  for (size_t i = 0; i < config->file_count; i++) {
    if (strcmp(config->files[i], path) == 0)
      return true;
  }
  return false;
}

int mp_kubeconfig_read(mp_kubeconfig *config, const char *path, bool must_exist,
                       mp_kube_fault *fault, mp_error *err) {
  mp_auto_free char *file = mp_path_absolute(path, err);
  if (!file)
    return -1;
  if (was_read(config, file))
    return 0;
  mp_buf text = MP_BUF_INIT;
  mp_error why = MP_ERROR_INIT;
  if (mp_fs_read(file, FILE_MOST, &text, &why) < 0) {
    mp_buf_free(&text);
    if (!must_exist && mp_error_is(&why, "ENOENT")) {
      mp_error_reset(&why);
      return 0;
    }
    const char *code = why.code;
    mp_error_move(err, &why);
    return mp_error_wrap(err, "kube", code, "could not read the kubeconfig `%s`", file);
  }
  int rc = mp_kubeconfig_add(config, file, text.data ? text.data : "", text.len, fault, err);
  if (text.data)
    explicit_bzero(text.data, text.cap);
  mp_buf_free(&text);
  return rc;
}

int mp_kubeconfig_read_list(mp_kubeconfig *config, const char *paths, mp_kube_fault *fault,
                            mp_error *err) {
  while (*paths) {
    size_t len = strcspn(paths, ":");
    mp_auto_free char *path = mp_memdup(paths, len);
    if (len > 0 && mp_kubeconfig_read(config, path, false, fault, err) < 0)
      return -1;
    paths += len + (paths[len] == ':');
  }
  return 0;
}

void mp_kubeconfig_free(mp_kubeconfig *config) {
  mp_kube_value_free(&config->current_context);
  free_section(&the_clusters, config->clusters, config->cluster_count);
  free_section(&the_users, config->users, config->user_count);
  free_section(&the_contexts, config->contexts, config->context_count);
  for (size_t i = 0; i < config->file_count; i++)
    free(config->files[i]);
  free(config->files);
  *config = (mp_kubeconfig){0};
}

mp_kube_cluster *mp_kubeconfig_cluster(const mp_kubeconfig *config, const char *name) {
  return (mp_kube_cluster *)find(&the_clusters, config->clusters, config->cluster_count, name);
}

mp_kube_user *mp_kubeconfig_user(const mp_kubeconfig *config, const char *name) {
  return (mp_kube_user *)find(&the_users, config->users, config->user_count, name);
}

mp_kube_context *mp_kubeconfig_context(const mp_kubeconfig *config, const char *name) {
  return (mp_kube_context *)find(&the_contexts, config->contexts, config->context_count, name);
}
