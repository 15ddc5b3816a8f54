/* What exec plugins are told and answer, and until when certificates and tokens are valid. */
#include "unit.h"

#include "core/kube/client.h"
#include "core/kube/exec_credential.h"
#include "core/kube/lifetime.h"
#include "core/mem.h"

#define V1 "client.authentication.k8s.io/v1"

typedef struct {
  const char *text;
  const char *says; /* NULL: it is taken */
} answer;

static const answer answers[] = {
    {"{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"abc\"}}",
     NULL},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{\"token\":\"abc\"}}", NULL},
    {"{\"apiVersion\":\"" V1
     "\",\"status\":{\"clientCertificateData\":\"c\",\"clientKeyData\":\"k\"}}",
     NULL},
    {"{\"apiVersion\":\"" V1
     "\",\"x\":[{\"token\":1}],\"spec\":{\"token\":1,\"status\":{\"token\":2}},"
     "\"status\":{\"token\":\"abc\",\"y\":{\"token\":[]},\"clientKeyData\":null}}",
     NULL},
    {"", "is empty"},
    {"no", "is not JSON"},
    {"{", "is not JSON"},
    {"[]", "is not an object"},
    {"null", "is not an object"},
    {"\"x\"", "is not an object"},
    {"{}", "answered in ``"},
    {"{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"status\":{\"token\":\"a\"}}",
     "answered in `client.authentication.k8s.io/v1beta1`"},
    {"{\"apiVersion\":\"" V1 "\",\"kind\":\"Pod\",\"status\":{\"token\":\"a\"}}", "is a `Pod`"},
    {"{\"apiVersion\":\"" V1 "\"}", "has no `status`"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":null}", "has no `status`"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":1}", "`status` that is not an object"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":[]}", "`status` that is not an object"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{}}", "neither a token nor a certificate"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{\"token\":\"\"}}",
     "neither a token nor a certificate"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{\"token\":1}}", "`status.token` that is not a string"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{\"token\":{}}}",
     "`status.token` that is not a string"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{\"token\":\"a\\u0000b\"}}", "NUL"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{\"clientKeyData\":\"k\"}}", "only one of"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{\"token\":\"a\",\"clientCertificateData\":\"c\"}}",
     "only one of"},
    {"{\"apiVersion\":\"" V1 "\",\"status\":{\"token\":\"a\",\"expirationTimestamp\":\"soon\"}}",
     "not a time of RFC 3339"},
};

static void an_answer_is_taken_whole_or_refused_with_a_reason(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    mp_kube_exec_credential got = {0};
    mp_error err = MP_ERROR_INIT;
    int rc = mp_kube_exec_parse(V1, answers[i].text, strlen(answers[i].text), &got, &err);
    if (!answers[i].says && rc < 0)
      fail_msg("`%s`: %s", answers[i].text, err.message);
    if (answers[i].says && (rc == 0 || !strstr(err.message, answers[i].says)))
      fail_msg("`%s`: %s", answers[i].text, rc == 0 ? "taken" : err.message);
    mp_kube_exec_credential_free(&got);
    mp_error_reset(&err);
  }
}

static void a_refused_answer_is_not_quoted(void **state) {
  (void)state;
  static const char text[] = "{\"status\":{\"token\":\"sesame\"}}";
  mp_kube_exec_credential got = {0};
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_kube_exec_parse(V1, text, strlen(text), &got, &err), -1);
  assert_null(strstr(err.message, "sesame"));
  mp_error_reset(&err);
}

static void times_are_read_with_their_zone(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t seconds; /* -1: refused */
  } times[] = {
      {"2018-03-05T17:30:20Z", 1520271020},
      {"2018-03-05T17:30:20-08:00", 1520299820},
      {"2018-03-05T17:30:20.5+05:30", 1520251220},
      {"1970-01-01T00:00:00Z", 0},
      {"2018-03-05", -1},
      {"2018-03-05T17:30:20", -1},
      {"2018-03-05T17:30:20.Z", -1},
      {"2018-03-05T17:30:20Zx", -1},
      {"2018-03-05T17:30:20+8", -1},
      {"", -1},
  };
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    int64_t got = -1;
    mp_kube_parse_time(times[i].text, &got);
    if (got != times[i].seconds)
      fail_msg("%s: %lld", times[i].text, (long long)got);
  }
}

static mp_kube_config *config_of(const char *user, const char *cluster) {
  mp_kube_fault fault = {0};
  mp_error err = MP_ERROR_INIT;
  mp_kube_config *config = mp_alloc(sizeof *config);
  mp_auto_free char *text = mp_sprintf("clusters: [{name: x, cluster: {%s}}]\n"
                                       "users: [{name: x, user: {exec: {%s}}}]\n",
                                       cluster, user);
  config->refs = 1;
  assert_int_equal(mp_kubeconfig_add(&config->files, "/f", text, strlen(text), &fault, &err), 0);
  config->cluster = config->files.clusters[0];
  config->user = config->files.users[0];
  config->files.cluster_count = config->files.user_count = 0;
  config->base = mp_strdup("https://x:6443");
  return config;
}

static void a_plugin_is_told_of_the_cluster_only_where_it_asks(void **state) {
  (void)state;
  mp_kube_config *config = config_of("apiVersion: " V1 ", command: x", "server: 'https://x'");
  mp_auto_free char *plain = mp_kube_exec_info(config, true, "hel", 3);
  assert_string_equal(plain, "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1
                             "\",\"spec\":{\"interactive\":true}}");
  mp_kube_config_unref(config);

  config =
      config_of("apiVersion: " V1 ", command: x, provideClusterInfo: true",
                "server: 'https://x', tls-server-name: 'a\"b', proxy-url: 'http://p', "
                "extensions: [{name: client.authentication.k8s.io/exec, extension: {a: [1]}}]");
  mp_auto_free char *full = mp_kube_exec_info(config, false, "hel", 3);
  assert_string_equal(full, "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1
                            "\",\"spec\":{\"interactive\":false,\"cluster\":{\"server\":"
                            "\"https://x:6443\",\"tls-server-name\":\"a\\\"b\","
                            "\"certificate-authority-data\":\"aGVs\",\"proxy-url\":\"http://p\","
                            "\"config\":{\"a\":[1]}}}}");
  mp_kube_config_unref(config);
}

static void the_lifetime_of_tokens_is_read(void **state) {
  (void)state;
  mp_kube_lifetime life;
  /* {"exp":1700000000,"nbf":1600000000,"x":{"exp":1}} */
  static const char token[] = "Bearer e30.eyJleHAiOjE3MDAwMDAwMDAsIm5iZiI6MTYwMDAwMDAwMCwieCI6eyJl"
                              "eHAiOjF9fQ.sig";
  assert_true(mp_kube_token_lifetime(token, strlen(token), &life));
  assert_int_equal(life.until, 1700000000);
  assert_int_equal(life.from, 1600000000);
  static const char *const others[] = {"", "abc", "a.b", "a.b.c", "..", "a.e30.c", "a.!!.c"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    assert_false(mp_kube_token_lifetime(others[i], strlen(others[i]), &life));
}

/* Made with openssl-ca: from 2024-01-02T03:04:05Z (a UTCTime) until 2060-06-07T08:09:10Z (a
 * GeneralizedTime). */
static const char certificate[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBATCBqAIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAF4MCAXDTI0MDEwMjAz\n"
    "MDQwNVoYDzIwNjAwNjA3MDgwOTEwWjAMMQowCAYDVQQDDAF4MFkwEwYHKoZIzj0C\n"
    "AQYIKoZIzj0DAQcDQgAEpI0CVdZjfr2Ugyv1qBl1qSIvbZ3epZsL1uDAHGqgNrH2\n"
    "Hzk+dAVRo07i/a4a72wGzPOJOjKQGZCPhYMtSiYQeDAKBggqhkjOPQQDAgNIADBF\n"
    "AiB5xBQmMC5As6tVuzIPHYAj/zquJGzhJvOON9W2dzNVpgIhAKvj3upsyy/9YNYi\n"
    "YCVdZsUzkem6gePpI8UldoviYpfF\n"
    "-----END CERTIFICATE-----\n";

static void the_lifetime_of_certificates_is_read(void **state) {
  (void)state;
  mp_kube_lifetime life;
  size_t len = strlen(certificate);
  assert_true(mp_kube_certificate_lifetime(certificate, len, &life));
  assert_int_equal(life.from, 1704164645);
  assert_int_equal(life.until, 2853821350);
  for (size_t i = 0; i < len; i++) /* a part of one is refused, or its lifetime is in it whole */
    mp_kube_certificate_lifetime(certificate, i, &life);
  for (size_t i = 0; i < len; i++) { /* as is one with an error in it, wherever that is */
    mp_auto_free char *wrong = mp_memdup(certificate, len);
    wrong[i] = wrong[i] == 'A' ? '/' : 'A';
    mp_kube_certificate_lifetime(wrong, len, &life);
  }
  assert_false(mp_kube_certificate_lifetime(NULL, 0, &life));
  assert_false(mp_kube_certificate_lifetime("x", 1, &life));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_answer_is_taken_whole_or_refused_with_a_reason),
      cmocka_unit_test(a_refused_answer_is_not_quoted),
      cmocka_unit_test(times_are_read_with_their_zone),
      cmocka_unit_test(a_plugin_is_told_of_the_cluster_only_where_it_asks),
      cmocka_unit_test(the_lifetime_of_tokens_is_read),
      cmocka_unit_test(the_lifetime_of_certificates_is_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
