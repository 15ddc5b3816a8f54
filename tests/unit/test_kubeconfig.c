/* Kubeconfigs: what is read from them with which line, how several become one, and what is told of
 * a broken one. */
#include "unit.h"

#include "core/kube/kubeconfig.h"

typedef struct {
  mp_kubeconfig config;
  mp_kube_fault fault;
  mp_error err;
} reading;

static int add(reading *r, const char *file, const char *text) {
  return mp_kubeconfig_add(&r->config, file, text, strlen(text), &r->fault, &r->err);
}

static void end(reading *r) {
  mp_kubeconfig_free(&r->config);
  mp_kube_fault_free(&r->fault);
  mp_error_reset(&r->err);
}

static const char one[] = "apiVersion: v1\n"
                          "kind: Config\n"
                          "current-context: here\n"
                          "clusters:\n"
                          "- name: red\n"
                          "  cluster:\n"
                          "    server: https://red.example:6443\n"
                          "    certificate-authority: pki/ca.pem\n"
                          "    insecure-skip-tls-verify: false\n"
                          "users:\n"
                          "- name: alice\n"
                          "  user:\n"
                          "    token: first\n"
                          "contexts:\n"
                          "- name: here\n"
                          "  context: {cluster: red, user: alice, namespace: moon}\n";

static const char other[] = "current-context: there\n"
                            "clusters:\n"
                            "- name: red\n"
                            "  cluster: {server: https://other.example, tls-server-name: x}\n"
                            "- name: blue\n"
                            "  cluster: {server: https://blue.example}\n"
                            "users:\n"
                            "- name: alice\n"
                            "  user: {token: second, username: alice}\n"
                            "contexts:\n"
                            "- name: there\n"
                            "  context: {cluster: blue, user: alice}\n";

static void values_keep_their_file_and_line(void **state) {
  (void)state;
  reading r = {0};
  assert_int_equal(add(&r, "/home/a/.kube/config", one), 0);
  const mp_kube_cluster *red = mp_kubeconfig_cluster(&r.config, "red");
  assert_non_null(red);
  assert_string_equal(red->server.text, "https://red.example:6443");
  assert_string_equal(red->server.file, "/home/a/.kube/config");
  assert_int_equal(red->server.line, 7);
  assert_int_equal(red->entry.line, 5);
  assert_false(mp_kube_is_true(&red->insecure));
  assert_int_equal(mp_kubeconfig_user(&r.config, "alice")->token.line, 13);
  assert_int_equal(r.config.current_context.line, 3);
  end(&r);
}

static void the_first_file_that_has_a_name_wins_with_the_whole_entry(void **state) {
  (void)state;
  reading r = {0};
  assert_int_equal(add(&r, "/one", one), 0);
  assert_int_equal(add(&r, "/other", other), 0);
  const mp_kube_cluster *red = mp_kubeconfig_cluster(&r.config, "red");
  assert_string_equal(red->server.text, "https://red.example:6443");
  assert_null(red->tls_server_name.text);
  assert_null(mp_kubeconfig_user(&r.config, "alice")->username.text);
  assert_string_equal(mp_kubeconfig_cluster(&r.config, "blue")->server.file, "/other");
  assert_non_null(mp_kubeconfig_context(&r.config, "there"));
  assert_string_equal(r.config.current_context.text, "here");
  end(&r);
}

static void current_context_is_that_of_the_first_file_that_sets_one(void **state) {
  (void)state;
  reading r = {0};
  assert_int_equal(add(&r, "/empty", "current-context: ''\n"), 0);
  assert_int_equal(add(&r, "/nothing", ""), 0);
  assert_int_equal(add(&r, "/other", other), 0);
  assert_string_equal(r.config.current_context.text, "there");
  end(&r);
}

static void relative_paths_are_resolved_against_their_own_file(void **state) {
  (void)state;
  reading r = {0};
  assert_int_equal(add(&r, "/home/a/.kube/config", one), 0);
  assert_int_equal(add(&r, "/etc/kube/b",
                       "users:\n"
                       "- {name: b, user: {client-certificate: ../c.pem, client-key: /k.pem,\n"
                       "    tokenFile: token, exec: {command: ./bin/plugin, apiVersion: x}}}\n"
                       "- {name: c, user: {exec: {command: plugin, apiVersion: x}}}\n"),
                   0);
  assert_string_equal(mp_kubeconfig_cluster(&r.config, "red")->ca_file.text,
                      "/home/a/.kube/pki/ca.pem");
  const mp_kube_user *b = mp_kubeconfig_user(&r.config, "b");
  assert_string_equal(b->cert_file.text, "/etc/c.pem");
  assert_string_equal(b->key_file.text, "/k.pem");
  assert_string_equal(b->token_file.text, "/etc/kube/token");
  assert_string_equal(b->exec->command.text, "/etc/kube/bin/plugin");
  assert_string_equal(mp_kubeconfig_user(&r.config, "c")->exec->command.text, "plugin");
  end(&r);
}

static void json_aliases_and_merge_keys_are_read(void **state) {
  (void)state;
  reading r = {0};
  assert_int_equal(
      add(&r, "/json", "{\"clusters\":[{\"name\":\"j\",\"cluster\":{\"server\":\"https://j\"}}]}"),
      0);
  assert_int_equal(add(&r, "/yaml",
                       "x: &base {server: https://base, tls-server-name: name}\n"
                       "clusters:\n"
                       "- {name: same, cluster: *base}\n"
                       "- {name: more, cluster: {<<: *base, server: https://more}}\n"),
                   0);
  assert_string_equal(mp_kubeconfig_cluster(&r.config, "j")->server.text, "https://j");
  assert_string_equal(mp_kubeconfig_cluster(&r.config, "same")->server.text, "https://base");
  const mp_kube_cluster *more = mp_kubeconfig_cluster(&r.config, "more");
  assert_string_equal(more->server.text, "https://more");
  assert_string_equal(more->tls_server_name.text, "name");
  end(&r);
}

static void data_is_decoded_and_extensions_for_plugins_become_json(void **state) {
  (void)state;
  reading r = {0};
  assert_int_equal(
      add(&r, "/f",
          "clusters:\n"
          "- name: c\n"
          "  cluster:\n"
          "    certificate-authority-data: aGVs\n"
          "    extensions:\n"
          "    - {name: other, extension: 1}\n"
          "    - name: client.authentication.k8s.io/exec\n"
          "      extension: {audience: 'a\"b', n: [1, 0x10, true, ~, .5, yes], e: {}}\n"),
      0);
  const mp_kube_cluster *c = mp_kubeconfig_cluster(&r.config, "c");
  assert_string_equal(c->ca_data.text, "hel");
  assert_int_equal(c->ca_data.len, 3);
  assert_string_equal(c->exec_config.text,
                      "{\"audience\":\"a\\\"b\",\"n\":[1,16,true,null,0.5,true],\"e\":{}}");
  end(&r);
}

static void plugins_and_impersonation_are_read(void **state) {
  (void)state;
  reading r = {0};
  assert_int_equal(add(&r, "/f",
                       "users:\n"
                       "- name: u\n"
                       "  user:\n"
                       "    as: jane\n"
                       "    as-groups: [a, b]\n"
                       "    as-user-extra: {scopes: [x, z]}\n"
                       "    exec:\n"
                       "      apiVersion: client.authentication.k8s.io/v1\n"
                       "      command: plugin\n"
                       "      args: [--one, '']\n"
                       "      env: [{name: A, value: b=c}, {name: EMPTY}]\n"
                       "      provideClusterInfo: true\n"),
                   0);
  const mp_kube_user *u = mp_kubeconfig_user(&r.config, "u");
  assert_int_equal(u->as_groups.count, 2);
  assert_string_equal(u->as_groups.items[1].text, "b");
  assert_string_equal(u->as_extra[0].name, "scopes");
  assert_string_equal(u->as_extra[0].values.items[1].text, "z");
  assert_int_equal(u->exec->args.count, 2);
  assert_string_equal(u->exec->args.items[1].text, "");
  assert_string_equal(u->exec->env.items[0].text, "A=b=c");
  assert_string_equal(u->exec->env.items[1].text, "EMPTY=");
  assert_true(mp_kube_is_true(&u->exec->provide_cluster_info));
  end(&r);
}

typedef struct {
  const char *text;
  unsigned line;
  const char *field;
  const char *says; /* NULL: it is not refused */
} broken;

static const broken table[] = {
    {"users:\n- name: x\n  user:\n    token: 12\n", 4, "users[0].user.token",
     "must be a string, and is a number"},
    {"users:\n- {name: x, user: {token: yes}}", 2, "users[0].user.token",
     "must be a string, and is a boolean"},
    {"users:\n- {name: x, user: {token: [a]}}", 2, "users[0].user.token",
     "must be a string, and is a list"},
    {"users: {a: b}", 1, "users", "must be a list, and is a map"},
    {"users: text", 1, "users", "must be a list, and is a string"},
    {"users: [a]", 1, "users[0]", "must be a map, and is a string"},
    {"users: [{name: 1}]", 1, "users[0].name", "must be a string, and is a number"},
    {"users: [{name: a, user: {as-groups: x}}]", 1, "users[0].user.as-groups",
     "must be a list, and is a string"},
    {"users: [{name: a, user: {as-groups: [x, 1]}}]", 1, "users[0].user.as-groups[1]",
     "must be a string"},
    {"users: [{name: a, user: {exec: {env: [{value: x}]}}}]", 1, "users[0].user.exec.env[0]",
     "needs a `name`"},
    {"users: [{name: a, user: {auth-provider: {config: {}}}}]", 1, "users[0].user.auth-provider",
     "has no `name`"},
    {"clusters: [{name: a, cluster: {certificate-authority-data: '!'}}]", 1,
     "clusters[0].cluster.certificate-authority-data", "is not base64"},
    {"clusters: [{name: a, cluster: {insecure-skip-tls-verify: 'true'}}]", 1,
     "clusters[0].cluster.insecure-skip-tls-verify", "must be a boolean, and is a string"},
    {"clusters:\n- {name: a}\n- {name: a}\n", 3, "clusters[1]", "has the name `a`"},
    {"kind: Pod", 1, "kind", "is `Pod`"},
    {"apiVersion: v2", 1, "apiVersion", "is `v2`"},
    {"[]", 1, "", "must be a map, and is a list"},
    {"a: b: c", 1, "", "not YAML"},
    {"a: \"x", 1, "", "not YAML"},
    {"a: *b", 1, "", "not YAML"},
    {"users: ~\nclusters: null\ncontexts:\n", 0, NULL, NULL},
    {"unknown: {a: 1}\nusers: [{name: a, user: {unknown: [1]}}]", 0, NULL, NULL},
    {"users: [{name: a, user: {token: '12'}}]", 0, NULL, NULL},
    {"users: [{name: a, user: }]", 0, NULL, NULL},
    {"users: [{name: a, user: {token: 1.2.3}}]", 0, NULL, NULL},
    {"# nothing\n", 0, NULL, NULL},
};

static void a_broken_file_is_told_with_line_and_field(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    reading r = {0};
    int rc = add(&r, "/f", table[i].text);
    if (!table[i].says) {
      if (rc != 0)
        fail_msg("`%s`: %s", table[i].text, r.err.message);
      end(&r);
      continue;
    }
    if (rc == 0)
      fail_msg("`%s` was taken", table[i].text);
    assert_true(mp_error_is(&r.err, MP_KUBE_CONFIG));
    if (!strstr(r.err.message, table[i].says) || r.fault.line != table[i].line ||
        strcmp(r.fault.field, table[i].field) != 0)
      fail_msg("`%s`: %s (line %u, field %s)", table[i].text, r.err.message, r.fault.line,
               r.fault.field);
    assert_string_equal(r.fault.file, "/f");
    end(&r);
  }
}

static void what_holds_itself_ends(void **state) {
  (void)state;
  static const char *const texts[] = {
      "clusters: &a\n- name: x\n  cluster: {extensions: [{name: client.authentication.k8s.io/exec, "
      "extension: &b {c: *b}}]}\n",
      "clusters: [{name: x, cluster: &c {<<: *c}}]\n",
      "x: &x {<<: *x}\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    reading r = {0};
    add(&r, "/f", texts[i]); /* taken or refused, but at once */
    end(&r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_keep_their_file_and_line),
      cmocka_unit_test(the_first_file_that_has_a_name_wins_with_the_whole_entry),
      cmocka_unit_test(current_context_is_that_of_the_first_file_that_sets_one),
      cmocka_unit_test(relative_paths_are_resolved_against_their_own_file),
      cmocka_unit_test(json_aliases_and_merge_keys_are_read),
      cmocka_unit_test(data_is_decoded_and_extensions_for_plugins_become_json),
      cmocka_unit_test(plugins_and_impersonation_are_read),
      cmocka_unit_test(a_broken_file_is_told_with_line_and_field),
      cmocka_unit_test(what_holds_itself_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
