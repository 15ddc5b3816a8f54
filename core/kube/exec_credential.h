/* What an exec plugin is told and what it answers: ExecCredential of client.authentication.k8s.io.
 * Callable from any thread. */
#ifndef MP_CORE_KUBE_EXEC_CREDENTIAL_H
#define MP_CORE_KUBE_EXEC_CREDENTIAL_H

#include "config.h"

#include <stdint.h>

/* Any of token and certificate may be missing, not both. Wiped when freed. */
typedef struct {
  mp_kube_value token;
  mp_kube_value cert, key; /* PEM */
  bool expires;
  int64_t expires_at; /* seconds since 1970 */
} mp_kube_exec_credential;

/* The value of KUBERNETES_EXEC_INFO. ca: the CA's PEM where the plugin is to be told of the cluster
 * (provideClusterInfo). The caller frees it. */
char *mp_kube_exec_info(const mp_kube_config *config, bool interactive, const char *ca,
                        size_t ca_len);

/* Reads a plugin's output. version: the apiVersion that was asked for; another one is an error.
 * Errors: domain "kube", code "credentials"; they quote nothing of the output. */
int mp_kube_exec_parse(const char *version, const char *text, size_t len,
                       mp_kube_exec_credential *credential, mp_error *err);

void mp_kube_exec_credential_free(mp_kube_exec_credential *credential);

/* Reads a time as RFC 3339 writes it, into seconds since 1970. */
int mp_kube_parse_time(const char *text, int64_t *seconds);

#endif
