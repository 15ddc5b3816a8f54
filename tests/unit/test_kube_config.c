/* Which cluster, user and namespace are chosen from kubeconfigs, options and environment, and what
 * is refused. */
#include "unit.h"

#include "core/fs.h"
#include "core/kube/config.h"
#include "core/mem.h"

#include <stdio.h>
#include <unistd.h>

typedef struct {
  char *dir, *path; /* path: the kubeconfig */
  mp_kube_flags flags;
  mp_kube_config *config;
  mp_kube_fault fault;
  mp_error err;
} trial;

static int set_up(void **state) {
  mp_error err = MP_ERROR_INIT;
  trial *t = mp_alloc(sizeof *t);
  t->dir = mp_fs_temp_dir(NULL, "mp-kube-", &err);
  t->path = mp_sprintf("%s/config", t->dir);
  unsetenv("KUBECONFIG");
  unsetenv("POD_NAMESPACE");
  unsetenv("KUBERNETES_SERVICE_HOST");
  unsetenv("KUBERNETES_SERVICE_PORT");
  setenv("HOME", t->dir, 1);
  *state = t;
  return t->dir ? 0 : -1;
}

static void forget(trial *t) {
  mp_kube_config_unref(t->config);
  t->config = NULL;
  mp_kube_fault_free(&t->fault);
  mp_error_reset(&t->err);
}

static int tear_down(void **state) {
  trial *t = *state;
  mp_error err = MP_ERROR_INIT;
  forget(t);
  mp_fs_remove_tree(t->dir, false, NULL, &err);
  free(t->dir);
  free(t->path);
  free(t);
  return 0;
}

static void put(trial *t, const char *name, const char *text) {
  mp_auto_free char *path = mp_sprintf("%s/%s", t->dir, name);
  mp_auto_free char *dir = mp_sprintf("%s/.kube", t->dir);
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_fs_mkdirs(dir, 0700, &err), 0);
  assert_int_equal(mp_fs_write(path, text, strlen(text), NULL, &err), 0);
}

static int load(trial *t) {
  forget(t);
  return mp_kube_config_load(&t->flags, &t->config, &t->fault, &t->err);
}

static void must_load(trial *t) {
  if (load(t) < 0)
    fail_msg("%s", t->err.message);
}

/* The message must hold all of `says`. */
static void must_fail(trial *t, const char *says, const char *field) {
  if (load(t) == 0)
    fail_msg("`%s` was expected", says);
  assert_string_equal(t->err.domain, "kube");
  if (!strstr(t->err.message, says))
    fail_msg("`%s` is not in `%s`", says, t->err.message);
  if (field)
    assert_string_equal(t->fault.field, field);
}

static const char both[] =
    "current-context: a\n"
    "clusters:\n"
    "- {name: one, cluster: {server: 'https://one:6443', tls-server-name: one.example,\n"
    "    certificate-authority-data: aGVs}}\n"
    "- {name: two, cluster: {server: 'https://two/prefix/?x=1#y', insecure-skip-tls-verify: "
    "true}}\n"
    "- {name: bare, cluster: {server: 'bare:8443', certificate-authority: ca.pem}}\n"
    "- {name: plain, cluster: {server: 'plain:8080'}}\n"
    "users:\n"
    "- {name: alice, user: {token: first, tokenFile: token}}\n"
    "- {name: bob, user: {username: bob, password: secret}}\n"
    "- {name: carol, user: {client-certificate-data: aGVs, client-key-data: aGVs}}\n"
    "- {name: dave, user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: x}}}\n"
    "- {name: nobody, user: {}}\n"
    "contexts:\n"
    "- {name: a, context: {cluster: one, user: alice, namespace: moon}}\n"
    "- {name: b, context: {cluster: two, user: bob}}\n"
    "- {name: lost, context: {cluster: none, user: bob}}\n"
    "- {name: lost-user, context: {cluster: one, user: none}}\n"
    "- {name: empty, context: {user: bob}}\n";

static void the_current_context_chooses_cluster_user_and_namespace(void **state) {
  trial *t = *state;
  put(t, ".kube/config", both);
  must_load(t);
  assert_string_equal(t->config->base, "https://one:6443");
  assert_string_equal(t->config->context.text, "a");
  assert_string_equal(t->config->name_space.text, "moon");
  assert_string_equal(t->config->user_name.text, "alice");
  assert_int_equal(t->config->auth, MP_KUBE_AUTH_TOKEN_FILE);
}

static void options_stand_above_the_files(void **state) {
  trial *t = *state;
  put(t, ".kube/config", both);
  t->flags = (mp_kube_flags){.context = "b", .user = "carol", .name_space = "other"};
  must_load(t);
  assert_string_equal(t->config->base, "https://two/prefix");
  assert_string_equal(t->config->user_name.text, "carol");
  assert_string_equal(t->config->user_name.from, "option");
  assert_string_equal(t->config->name_space.text, "other");
  assert_int_equal(t->config->auth, MP_KUBE_AUTH_CERTIFICATE);

  t->flags = (mp_kube_flags){.server = "https://other", .token = "mine"};
  must_load(t);
  assert_string_equal(t->config->base, "https://other");
  assert_null(t->config->cluster.tls_server_name.text); /* it was the other server's */
  assert_string_equal(t->config->cluster.ca_data.text, "hel");
  assert_string_equal(t->config->user.token.text, "mine");
  assert_int_equal(t->config->auth, MP_KUBE_AUTH_TOKEN);
}

static void a_ca_by_option_undoes_insecure_and_the_other_way_round(void **state) {
  trial *t = *state;
  put(t, ".kube/config", both);
  t->flags = (mp_kube_flags){.context = "b", .ca = "/ca.pem"};
  must_load(t);
  assert_false(mp_kube_is_true(&t->config->cluster.insecure));
  assert_string_equal(t->config->cluster.ca_file.text, "/ca.pem");
  t->flags = (mp_kube_flags){.context = "a", .insecure = MP_KUBE_YES};
  must_load(t);
  assert_true(mp_kube_is_true(&t->config->cluster.insecure));
  assert_null(t->config->cluster.ca_data.text);
}

static void a_bare_address_means_plain_http_and_no_credentials(void **state) {
  trial *t = *state;
  put(t, ".kube/config", both);
  t->flags = (mp_kube_flags){.cluster = "bare"};
  must_load(t);
  assert_string_equal(t->config->base, "http://bare:8443");
  t->flags = (mp_kube_flags){.cluster = "plain"};
  must_load(t);
  assert_string_equal(t->config->base, "http://plain:8080");
  assert_int_equal(t->config->auth, MP_KUBE_AUTH_NONE); /* nothing secret goes over plain http */
}

static void what_is_named_and_missing_is_told(void **state) {
  trial *t = *state;
  put(t, ".kube/config", both);
  t->flags = (mp_kube_flags){.context = "c"};
  must_fail(t, "there is no context `c`", "current-context");
  assert_non_null(strstr(t->err.hint, "`a`, `b`"));
  t->flags = (mp_kube_flags){.cluster = "c"};
  must_fail(t, "there is no cluster `c`", NULL);
  t->flags = (mp_kube_flags){.user = "c"};
  must_fail(t, "there is no user `c`", NULL);
  t->flags = (mp_kube_flags){.context = "lost"};
  must_fail(t, "names the cluster `none`, which is not there", "context.cluster");
  assert_int_equal(t->fault.line, 17);
  t->flags = (mp_kube_flags){.context = "lost-user"};
  must_fail(t, "names the user `none`", "context.user");
  t->flags = (mp_kube_flags){.context = "empty"};
  must_fail(t, "the context `empty` names no cluster", NULL);
  t->flags = (mp_kube_flags){.kubeconfig = "/nonexistent/config"};
  must_fail(t, "could not read the kubeconfig `/nonexistent/config`", NULL);
  assert_string_equal(t->err.code, "ENOENT");
  assert_non_null(strstr(t->err.hint, "the option `kubeconfig` names it"));
}

static void without_any_configuration_the_places_looked_at_are_told(void **state) {
  trial *t = *state;
  must_fail(t, "no KUBECONFIG is set", NULL);
  setenv("KUBECONFIG", "/nonexistent/a:/nonexistent/b", 1);
  must_fail(t, "KUBECONFIG is /nonexistent/a:/nonexistent/b", NULL);
  t->flags.context = "x";
  must_fail(t, "there is no context `x`", NULL);
  assert_non_null(strstr(t->err.hint, "KUBECONFIG is /nonexistent/a:/nonexistent/b"));
  t->flags.context = NULL;
  put(t, "config", "contexts: [{name: x, context: {}}]");
  setenv("KUBECONFIG", t->path, 1);
  must_fail(t, "no context is chosen", NULL);
  assert_non_null(strstr(t->err.hint, "`x`"));
}

typedef struct {
  const char *cluster, *user; /* YAML flow maps' content */
  const char *says, *field;   /* NULL: it is taken */
} choice;

#define EXEC "apiVersion: client.authentication.k8s.io/v1beta1, command: x"
static const choice choices[] = {
    {"server: 'https://x'", "token: a, username: b", "and a token are both given", "user.username"},
    {"server: 'https://x'", "auth-provider: {name: gcp}", "`gcp` is not supported",
     "user.auth-provider"},
    {"server: 'https://x'", "client-certificate-data: aGVs", "must be given with the client",
     "user.client-key"},
    {"server: 'https://x'", "client-certificate-data: aGVs, client-certificate: /c", "both given",
     "user.client-certificate"},
    {"server: 'https://x'", "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}",
     "`client.authentication.k8s.io/v1alpha1` is not supported", "user.exec.apiVersion"},
    {"server: 'https://x'", "exec: {command: x}", "must be set", "user.exec.apiVersion"},
    {"server: 'https://x'", "exec: {apiVersion: client.authentication.k8s.io/v1}", "must be set",
     "user.exec.command"},
    {"server: 'https://x'", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x}",
     "must be set with", "user.exec.interactiveMode"},
    {"server: 'https://x'", "exec: {" EXEC ", interactiveMode: Some}", "must be `Never`",
     "user.exec.interactiveMode"},
    {"server: 'https://x'", "exec: {" EXEC ", interactiveMode: Never}", NULL, NULL},
    {"server: 'https://x'", "as-groups: [a]", "must name a user", "user.as"},
    {"server: 'https://x'", "as: a, as-groups: [b]", NULL, NULL},
    {"server: 'https://x', certificate-authority: /a, certificate-authority-data: aGVs", "",
     "both given", "cluster.certificate-authority"},
    {"server: 'https://x', certificate-authority: /a, insecure-skip-tls-verify: true", "",
     "a certificate authority is given", "cluster.insecure-skip-tls-verify"},
    {"server: 'ftp://x'", "", "must be an https:// or http:// URL", "cluster.server"},
    {"server: 'x/path'", "", "must be an https:// or http:// URL", "cluster.server"},
    {"server: 'https://'", "", "names no host", "cluster.server"},
    {"server: 'https://a b'", "", "contains a space", "cluster.server"},
    {"tls-server-name: x", "", "has no `server`", "cluster.server"},
    {"server: 'https://x', proxy-url: 'ftp://p'", "", "must be an http://", "cluster.proxy-url"},
    {"server: 'https://x', proxy-url: 'socks5://p:1'", "", NULL, NULL},
};

static void what_kubectl_refuses_is_refused_with_its_field(void **state) {
  trial *t = *state;
  for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
    mp_auto_free char *text = mp_sprintf("current-context: x\n"
                                         "contexts: [{name: x, context: {cluster: x, user: x}}]\n"
                                         "clusters: [{name: x, cluster: {%s}}]\n"
                                         "users: [{name: x, user: {%s}}]\n",
                                         choices[i].cluster, choices[i].user);
    put(t, ".kube/config", text);
    if (choices[i].says)
      must_fail(t, choices[i].says, choices[i].field);
    else
      must_load(t);
  }
}

static void a_pods_service_account_is_used_where_there_is_no_kubeconfig(void **state) {
  trial *t = *state;
  t->flags.service_account_dir = t->dir;
  put(t, "token", "abc\n");
  put(t, "ca.crt", "pem");
  put(t, "namespace", "moon\n");
  setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  must_load(t);
  assert_string_equal(t->config->base, "https://[fd00::1]:443");
  assert_string_equal(t->config->name_space.text, "moon");
  assert_int_equal(t->config->auth, MP_KUBE_AUTH_IN_CLUSTER);
  assert_string_equal(t->config->cluster.server.from, "in-cluster");
  mp_auto_free char *token = mp_sprintf("%s/token", t->dir);
  assert_string_equal(t->config->user.token_file.text, token);

  setenv("POD_NAMESPACE", "own", 1);
  must_load(t);
  assert_string_equal(t->config->name_space.text, "own");

  /* A kubeconfig is used all the same, and its `default` is the pod's namespace. */
  put(t, ".kube/config", both);
  t->flags.context = "b";
  must_load(t);
  assert_string_equal(t->config->base, "https://two/prefix");
  assert_string_equal(t->config->name_space.text, "own");
  t->flags.context = NULL;
  must_load(t);
  assert_string_equal(t->config->name_space.text, "moon");

  t->flags.in_cluster = true;
  must_load(t);
  assert_int_equal(t->config->auth, MP_KUBE_AUTH_IN_CLUSTER);
  unsetenv("KUBERNETES_SERVICE_HOST");
  must_fail(t, "this is not a pod", NULL);
}

static void count_row(void *data, const mp_kube_row *row) {
  mp_buf *out = data;
  mp_buf_printf(out, "%s=%s (%s:%u)\n", row->field, row->text, row->value->from, row->value->line);
}

static void what_was_chosen_is_explained_without_secrets(void **state) {
  trial *t = *state;
  put(t, ".kube/config", both);
  t->flags = (mp_kube_flags){.user = "bob"};
  must_load(t);
  mp_auto_buf mp_buf out = MP_BUF_INIT;
  mp_kube_config_explain(t->config, count_row, &out);
  assert_non_null(strstr(out.data, "context=a (kubeconfig:1)\n"));
  assert_non_null(strstr(out.data, "user=bob (option:0)\n"));
  assert_non_null(strstr(out.data, "cluster.server=https://one:6443 (kubeconfig:3)\n"));
  assert_non_null(
      strstr(out.data, "cluster.certificate-authority-data=(3 bytes) (kubeconfig:4)\n"));
  assert_non_null(strstr(out.data, "user.password=*** (kubeconfig:10)\n"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(the_current_context_chooses_cluster_user_and_namespace),
      TEST(options_stand_above_the_files),
      TEST(a_ca_by_option_undoes_insecure_and_the_other_way_round),
      TEST(a_bare_address_means_plain_http_and_no_credentials),
      TEST(what_is_named_and_missing_is_told),
      TEST(without_any_configuration_the_places_looked_at_are_told),
      TEST(what_kubectl_refuses_is_refused_with_its_field),
      TEST(a_pods_service_account_is_used_where_there_is_no_kubeconfig),
      TEST(what_was_chosen_is_explained_without_secrets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
