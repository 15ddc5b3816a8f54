/* Kubeconfigs, and what exec plugins answer: whatever comes, it is taken or refused with a reason
 * that names a place. */
#include "core/kube/config.h"
#include "core/kube/exec_credential.h"
#include "core/kube/lifetime.h"
#include "core/kube/validate.h"
#include "core/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void promise(bool kept) {
  if (!kept)
    abort();
}

static void look_at_row(void *data, const mp_kube_row *row) {
  (void)data;
  promise(row->field && row->text && row->value->from);
}

/* Each cluster with each user, as if they had been chosen. */
static void choose(mp_kubeconfig *files, size_t cluster, size_t user) {
  mp_kube_config *config = mp_alloc(sizeof *config);
  mp_kube_fault fault = {0};
  mp_error err = MP_ERROR_INIT;
  config->refs = 1;
  config->cluster = files->clusters[cluster];
  config->user = files->users[user];
  if (config->cluster.server.text) {
    int rc = mp_kube_validate(config, &fault, &err);
    promise(rc == 0 ? config->base != NULL : err.message && fault.field);
    mp_kube_config_explain(config, look_at_row, NULL);
    if (rc == 0 && config->user.exec)
      free(mp_kube_exec_info(config, false, "x", 1));
  }
  mp_kube_fault_free(&fault);
  mp_error_reset(&err);
  free(config->base);
  free(config);
}

static void read_kubeconfig(const char *text, size_t len) {
  mp_kubeconfig files = {0};
  mp_kube_fault fault = {0};
  mp_error err = MP_ERROR_INIT;
  size_t half = len / 2;
  int rc = mp_kubeconfig_add(&files, "/a/one", text, half, &fault, &err);
  if (rc == 0)
    rc = mp_kubeconfig_add(&files, "/b/two", text + half, len - half, &fault, &err);
  promise(rc == 0 || (err.message && fault.file && fault.field));
  for (size_t i = 0; rc == 0 && i < files.cluster_count && i < 4; i++) {
    for (size_t j = 0; j < files.user_count && j < 4; j++)
      choose(&files, i, j);
  }
  mp_kube_fault_free(&fault);
  mp_error_reset(&err);
  mp_kubeconfig_free(&files);
}

static void read_answer(const char *text, size_t len) {
  mp_kube_exec_credential got = {0};
  mp_kube_lifetime life;
  mp_error err = MP_ERROR_INIT;
  int rc = mp_kube_exec_parse("client.authentication.k8s.io/v1", text, len, &got, &err);
  promise(rc == 0 ? got.token.text || (got.cert.text && got.key.text) : err.message != NULL);
  mp_kube_certificate_lifetime(text, len, &life);
  mp_kube_token_lifetime(text, len, &life);
  mp_kube_exec_credential_free(&got);
  mp_error_reset(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  if (size < 1)
    return 0;
  if (text[0] & 1)
    read_kubeconfig(text + 1, size - 1);
  else
    read_answer(text + 1, size - 1);
  return 0;
}
