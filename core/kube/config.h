/* Which cluster, as whom, how: kubeconfigs, options and environment resolved as kubectl resolves
 * them, or the service account of the pod we run in.
 *
 *   the kubeconfig option (a file, which must exist, or a list as in $KUBECONFIG), else
 * $KUBECONFIG, else ~/.kube/config a context by option, else current-context; its cluster, user and
 * namespace, each by option where there is none of all this: the service account of the pod
 *
 * Reads the kubeconfigs and nothing else: CA, certificates, keys and token files are read when
 * requests are made. Error domain: "kube", code "config". */
#ifndef MP_CORE_KUBE_CONFIG_H
#define MP_CORE_KUBE_CONFIG_H

#include "kubeconfig.h"

#define MP_KUBE_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

typedef enum { MP_KUBE_UNSET, MP_KUBE_NO, MP_KUBE_YES } mp_kube_choice;

/* kubectl's flags. NULL and zero: not given. Borrowed during the call. */
typedef struct {
  const char *kubeconfig, *context, *cluster, *user, *name_space;
  const char *server, *ca, *tls_server_name, *proxy;
  const char *token, *as, *as_uid;
  const char *const *as_groups; /* NULL-terminated */
  mp_kube_choice insecure;
  bool in_cluster;                 /* the service account, whatever else there is */
  const char *service_account_dir; /* NULL: MP_KUBE_SERVICE_ACCOUNT; for tests */
} mp_kube_flags;

typedef enum {
  MP_KUBE_AUTH_NONE,
  MP_KUBE_AUTH_CERTIFICATE,
  MP_KUBE_AUTH_BASIC,
  MP_KUBE_AUTH_TOKEN,
  MP_KUBE_AUTH_TOKEN_FILE,
  MP_KUBE_AUTH_IN_CLUSTER,
  MP_KUBE_AUTH_EXEC,
} mp_kube_auth;

/* Read only once loaded; counted references, on the loop's thread. */
typedef struct {
  unsigned refs;
  mp_kubeconfig files; /* owns the names of files; entries that were chosen are gone from it */
  mp_kube_value context, cluster_name, user_name, name_space;
  mp_kube_cluster cluster; /* with the options applied */
  mp_kube_user user;
  char *base;  /* the server's URL without a slash at its end */
  bool secure; /* https; over plain http no credentials are sent */
  mp_kube_auth auth;
} mp_kube_config;

/* Blocks; callable from any thread. *config has one reference. */
int mp_kube_config_load(const mp_kube_flags *flags, mp_kube_config **config, mp_kube_fault *fault,
                        mp_error *err);

mp_kube_config *mp_kube_config_ref(mp_kube_config *config);
void mp_kube_config_unref(mp_kube_config *config);

/* "exec", "token", "token-file", "certificate", "basic", "in-cluster", "none". Static. */
const char *mp_kube_auth_name(mp_kube_auth auth);

/* One chosen value. `text` is fit to be shown: secrets are masked. */
typedef struct {
  const char *field; /* "cluster.server" */
  const char *text;
  const mp_kube_value *value; /* whence it is */
} mp_kube_row;

/* Calls on_row for each chosen value. */
void mp_kube_config_explain(const mp_kube_config *config,
                            void (*on_row)(void *, const mp_kube_row *), void *data);

#endif
