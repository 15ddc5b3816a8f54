/* Kubeconfig files (client.config/v1, YAML or JSON), read and merged as kubectl does: of several
 * files the first that has a cluster, user or context of a name wins with the whole entry, and the
 * first that sets `current-context`. Files that do not exist are passed over. Unknown fields are
 * ignored; a known one of the wrong type is an error, as is a name that occurs twice in a list.
 *
 * Each value keeps the file and line that it comes from. Paths in a file that are relative are
 * resolved against its directory; so is an exec plugin's command that contains a slash.
 *
 * Blocks (it reads files); callable from any thread. Error domain: "kube", code "config", or for
 * a file that cannot be read an errno name. */
#ifndef MP_CORE_KUBE_KUBECONFIG_H
#define MP_CORE_KUBE_KUBECONFIG_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>

#define MP_KUBE_CONFIG "config" /* error code */

/* What is wrong where, for programs; the error's message says the same. Start from zero. */
typedef struct {
  char *file; /* owned; NULL: it is not about a file */
  unsigned line;
  char *field; /* owned; "users[0].user.token" */
} mp_kube_fault;

void mp_kube_fault_set(mp_kube_fault *fault, const char *file, unsigned line, const char *field);
void mp_kube_fault_free(mp_kube_fault *fault);

/* A value and where it comes from. `text` is NULL where it is not set; wiped when freed. */
typedef struct {
  char *text;
  size_t len;
  const char *from; /* static: "kubeconfig", "option", "environment", "in-cluster", "default" */
  const char *file; /* borrowed from the mp_kubeconfig; NULL where it is of no file */
  unsigned line;
} mp_kube_value;

typedef struct {
  mp_kube_value *items;
  size_t count;
} mp_kube_list;

typedef struct {
  char *name;
  mp_kube_list values;
} mp_kube_extra;

/* What clusters, users and contexts begin with. */
typedef struct {
  char *name;
  const char *file;
  unsigned line;
} mp_kube_entry;

/* Flags ("insecure") are "true" or "false". */
typedef struct {
  mp_kube_entry entry;
  mp_kube_value server, tls_server_name, insecure, ca_file, ca_data, proxy_url, disable_compression;
  mp_kube_value exec_config; /* JSON of the extension client.authentication.k8s.io/exec */
} mp_kube_cluster;

typedef struct {
  unsigned line;
  mp_kube_value api_version, command, install_hint, provide_cluster_info, interactive_mode;
  mp_kube_list args;
  mp_kube_list env; /* "NAME=value" */
} mp_kube_exec;

typedef struct {
  mp_kube_entry entry;
  mp_kube_value cert_file, cert_data, key_file, key_data; /* data: decoded */
  mp_kube_value token, token_file, username, password;
  mp_kube_value as, as_uid;
  mp_kube_list as_groups;
  mp_kube_extra *as_extra;
  size_t as_extra_count;
  mp_kube_value auth_provider; /* its name */
  mp_kube_exec *exec;          /* NULL: none */
} mp_kube_user;

typedef struct {
  mp_kube_entry entry;
  mp_kube_value cluster, user, name_space;
} mp_kube_context;

typedef struct {
  char **files; /* that were read */
  size_t file_count;
  mp_kube_value current_context;
  mp_kube_cluster *clusters;
  size_t cluster_count;
  mp_kube_user *users;
  size_t user_count;
  mp_kube_context *contexts;
  size_t context_count;
} mp_kubeconfig;

/* Adds what the text sets and the files before it did not. file: as messages name it, absolute.
 * On failure *config holds what it held before, and perhaps more; free it. */
int mp_kubeconfig_add(mp_kubeconfig *config, const char *file, const char *text, size_t len,
                      mp_kube_fault *fault, mp_error *err);

/* Reads a file and adds it. `must_exist` false: one that is not there is passed over. */
int mp_kubeconfig_read(mp_kubeconfig *config, const char *path, bool must_exist,
                       mp_kube_fault *fault, mp_error *err);

/* Reads the list of $KUBECONFIG (`paths`, separated by colons). */
int mp_kubeconfig_read_list(mp_kubeconfig *config, const char *paths, mp_kube_fault *fault,
                            mp_error *err);

void mp_kubeconfig_free(mp_kubeconfig *config);
void mp_kube_cluster_free(mp_kube_cluster *cluster); /* what it holds */
void mp_kube_user_free(mp_kube_user *user);

mp_kube_cluster *mp_kubeconfig_cluster(const mp_kubeconfig *config, const char *name);
mp_kube_user *mp_kubeconfig_user(const mp_kubeconfig *config, const char *name);
mp_kube_context *mp_kubeconfig_context(const mp_kubeconfig *config, const char *name);

/* For values made elsewhere. */
void mp_kube_value_set(mp_kube_value *value, const char *text, const char *from);
void mp_kube_value_free(mp_kube_value *value);
bool mp_kube_is_true(const mp_kube_value *value);

#endif
