#include "unit.h"

#include "core/shim/spec.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* A string literal with its inner NULs, as malloc'd bytes: what a spec is parsed from. */
#define parse_literal(spec, text, err) parse_copy(spec, text, sizeof(text) - 1, err)

static int parse_copy(mp_shim_spec *spec, const char *text, size_t len, mp_shim_error *err) {
  char *bytes = malloc(len ? len : 1);
  memcpy(bytes, text, len);
  return mp_shim_spec_parse(spec, bytes, len, err);
}

#define BEGIN "version=1\0arg=/bin/true\0"
#define END "end=1\0"

static void every_key_is_read(void **state) {
  (void)state;
  static const char text[] =
      "version=1\0name=n\0id=i\0exe=/bin/x\0arg=a b\0arg=\0env=A=1\0env=B==\0"
      "cwd=/d\0uid=1\0gid=2\0group=3\0group=4\0cgroup=/c1\0cgroup=/c2\0"
      "restart=always\0restart_max=5\0backoff_initial_ms=10\0"
      "backoff_max_ms=20\0backoff_reset_ms=30\0stop_signal=SIGINT\0"
      "stop_grace_ms=40\0drain_ms=50\0log_max_size=4096\0log_max_files=7\0"
      "umask=077\0nofile=10:20\0nice=-5\0oom_score_adj=-100\0"
      "no_new_privs=1\0notify=/run/n\0bounded_file=/run/e\0output_pipes=/run\0end=1\0";
  mp_shim_spec spec;
  mp_shim_error err;
  assert_int_equal(parse_literal(&spec, text, &err), 0);
  assert_string_equal(spec.name, "n");
  assert_string_equal(spec.id, "i");
  assert_string_equal(spec.exe, "/bin/x");
  assert_int_equal(spec.argc, 2);
  assert_string_equal(spec.argv[0], "a b");
  assert_string_equal(spec.argv[1], "");
  assert_null(spec.argv[2]);
  assert_string_equal(spec.envp[1], "B==");
  assert_string_equal(spec.notify, "/run/n");
  assert_string_equal(spec.bounded_file, "/run/e");
  assert_string_equal(spec.output_pipes, "/run");
  assert_string_equal(spec.envp[2], "NOTIFY_SOCKET=/run/n");
  assert_null(spec.envp[3]);
  assert_string_equal(spec.cwd, "/d");
  assert_true(spec.has_user && spec.uid == 1 && spec.gid == 2);
  assert_true(spec.group_count == 2 && spec.groups[1] == 4);
  assert_true(spec.cgroup_count == 2 && strcmp(spec.cgroups[1], "/c2") == 0);
  assert_int_equal(spec.restart, MP_SHIM_RESTART_ALWAYS);
  assert_int_equal(spec.restart_max, 5);
  assert_int_equal(spec.backoff_initial_ms, 10);
  assert_int_equal(spec.backoff_max_ms, 20);
  assert_int_equal(spec.backoff_reset_ms, 30);
  assert_int_equal(spec.stop_signal, SIGINT);
  assert_int_equal(spec.stop_grace_ms, 40);
  assert_int_equal(spec.drain_ms, 50);
  assert_int_equal(spec.log_max_size, 4096);
  assert_int_equal(spec.log_max_files, 7);
  assert_int_equal(spec.umask, 077);
  assert_true(spec.nofile.rlim_cur == 10 && spec.nofile.rlim_max == 20);
  assert_int_equal(spec.nice, -5);
  assert_int_equal(spec.oom_score_adj, -100);
  assert_true(spec.no_new_privs);
  mp_shim_spec_free(&spec);
}

static void defaults_are_those_of_the_contract(void **state) {
  (void)state;
  mp_shim_spec spec;
  mp_shim_error err;
  assert_int_equal(parse_literal(&spec, BEGIN END, &err), 0);
  assert_string_equal(spec.exe, "/bin/true");
  assert_int_equal(spec.envc, 0);
  assert_string_equal(spec.cwd, "/");
  assert_false(spec.has_user || spec.has_nice || spec.has_nofile || spec.has_oom_score_adj);
  assert_int_equal(spec.restart, MP_SHIM_RESTART_NO);
  assert_int_equal(spec.restart_max, -1);
  assert_int_equal(spec.stop_signal, SIGTERM);
  assert_int_equal(spec.stop_grace_ms, 10000);
  assert_int_equal(spec.umask, 022);
  mp_shim_spec_free(&spec);
}

static void a_bad_spec_is_refused_by_the_name_of_its_fault(void **state) {
  (void)state;
#define CASE(text, code, part)                                                                     \
  { text, sizeof(text) - 1, code, part }
  static const struct {
    const char *text;
    size_t len;
    const char *code;
    const char *part;
  } cases[] = {
      CASE("", "invalid", "cut short"),
      CASE("version=1\0arg=/x\0", "invalid", "end=1"),
      CASE("version=1\0arg=/x\0end=1", "invalid", "cut short"),
      CASE("version=1\0end=1\0", "invalid", "`arg`"),
      CASE("version=2\0" END, "version", "`2`"),
      CASE("arg=/x\0version=1\0" END, "version", "version=1"),
      CASE(BEGIN "\0" END, "invalid", "record 3"),
      CASE(BEGIN "bogus=1\0" END, "unknown-key", "`bogus`"),
      CASE(BEGIN "cwd=/\0cwd=/\0" END, "invalid", "`cwd` is given twice"),
      CASE(BEGIN "cwd=rel\0" END, "invalid", "`cwd=rel`"),
      CASE(BEGIN "uid=1\0" END, "invalid", "go together"),
      CASE(BEGIN "uid=-1\0gid=1\0" END, "invalid", "`uid=-1`"),
      CASE(BEGIN "uid=4294967295\0gid=1\0" END, "invalid", "`uid=4294967295`"),
      CASE(BEGIN "group=1\0" END, "invalid", "needs `uid`"),
      CASE(BEGIN "restart=maybe\0" END, "invalid", "on-failure"),
      CASE(BEGIN "restart_max=\0" END, "invalid", "`restart_max=`"),
      CASE(BEGIN "restart_max= 1\0" END, "invalid", "`restart_max= 1`"),
      CASE(BEGIN "restart_max=1x\0" END, "invalid", "`restart_max=1x`"),
      CASE(BEGIN "stop_grace_ms=99999999999999999999\0" END, "invalid", "stop_grace_ms"),
      CASE(BEGIN "backoff_max_ms=1\0" END, "invalid", "backoff_max_ms"),
      CASE(BEGIN "stop_signal=NO\0" END, "invalid", "`stop_signal=NO`"),
      CASE(BEGIN "umask=089\0" END, "invalid", "`umask=089`"),
      CASE(BEGIN "nofile=20:10\0" END, "invalid", "nofile"),
      CASE(BEGIN "log_max_size=1\0" END, "invalid", "log_max_size"),
      CASE(BEGIN "name=a\nb\0" END, "invalid", "`name`"),
      CASE(BEGIN "cgroup=rel\0" END, "invalid", "`cgroup=rel`"),
      CASE(BEGIN END "arg=x\0", "invalid", "after `end=1`"),
      CASE("version=1\0arg=true\0" END, "invalid", "does not search PATH"),
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_shim_spec spec;
    mp_shim_error err;
    if (parse_copy(&spec, cases[i].text, cases[i].len, &err) == 0)
      fail_msg("case %zu was accepted", i);
    assert_string_equal(err.code, cases[i].code);
    if (strstr(err.message, cases[i].part) == NULL)
      fail_msg("case %zu: `%s` is not in `%s`", i, cases[i].part, err.message);
  }
}

static void an_error_never_shows_what_may_be_secret(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t len;
  } cases[] = {
      {BEGIN "env=hunter2\0" END, sizeof(BEGIN "env=hunter2\0" END) - 1},
      {BEGIN "env==hunter2\0" END, sizeof(BEGIN "env==hunter2\0" END) - 1},
      {BEGIN "hunter2\0" END, sizeof(BEGIN "hunter2\0" END) - 1},
      {BEGIN "env=A=\0Hunter2:x=\0" END, sizeof(BEGIN "env=A=\0Hunter2:x=\0" END) - 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_shim_spec spec;
    mp_shim_error err;
    assert_int_equal(parse_copy(&spec, cases[i].text, cases[i].len, &err), -1);
    assert_null(strstr(err.message, "unter2"));
  }
}

static void a_spec_cut_anywhere_is_refused(void **state) {
  (void)state;
  static const char text[] = BEGIN "env=A=B\0cgroup=/x\0restart=always\0" END;
  for (size_t len = 0; len < sizeof text - 1; len++) {
    mp_shim_spec spec;
    mp_shim_error err;
    if (parse_copy(&spec, text, len, &err) == 0)
      fail_msg("a spec of %zu bytes was accepted", len);
    assert_null(spec.bytes);
  }
}

static void too_long_a_record_is_refused(void **state) {
  (void)state;
  size_t len = MP_SHIM_VALUE_MAX + 64;
  char *text = malloc(len);
  memset(text, 'x', len);
  memcpy(text, BEGIN "env=A=", sizeof BEGIN + 5);
  memcpy(text + len - 7, "\0end=1", 7);
  mp_shim_spec spec;
  mp_shim_error err;
  assert_int_equal(mp_shim_spec_parse(&spec, text, len, &err), -1);
  assert_string_equal(err.code, "limit");
}

static void a_memfd_is_read_from_its_beginning(void **state) {
  (void)state;
  int fd = memfd_create("spec", MFD_CLOEXEC);
  char *text, *large = calloc(1, 100000);
  size_t len;
  mp_shim_error err;
  assert_int_equal(write(fd, large, 100000), 100000);
  assert_int_equal(mp_shim_spec_read(fd, &text, &len, &err), 0);
  assert_int_equal(len, 100000);
  free(text);
  assert_int_equal(ftruncate(fd, MP_SHIM_SPEC_MAX + 1), 0);
  assert_int_equal(mp_shim_spec_read(fd, &text, &len, &err), -1);
  assert_string_equal(err.code, "limit");
  close(fd);
  free(large);
}

static int parse_exec(mp_shim_spec *spec, const mp_shim_spec *base, const char *text, size_t len,
                      mp_shim_error *err) {
  char *bytes = malloc(len);
  memcpy(bytes, text, len);
  return mp_shim_spec_parse_exec(spec, base, bytes, len, err);
}

static void a_command_has_of_the_service_what_it_is_not_given(void **state) {
  (void)state;
  static const char service[] =
      BEGIN "env=A=1\0env=AB=2\0env=C=3\0uid=5\0gid=6\0group=7\0cwd=/srv\0umask=077\0" END;
  static const char command[] = "version=1\0arg=ls\0env=A=new\0unset=C\0env=D=\0" END;
  static const char other[] = "version=1\0arg=ls\0uid=0\0gid=0\0cwd=/tmp\0umask=022\0" END;
  mp_shim_spec base, spec;
  mp_shim_error err;
  assert_int_equal(parse_literal(&base, service, &err), 0);
  assert_int_equal(parse_exec(&spec, &base, command, sizeof command - 1, &err), 0);
  assert_string_equal(spec.exe, "ls");
  assert_int_equal(spec.envc, 3);
  assert_string_equal(spec.envp[0], "AB=2");
  assert_string_equal(spec.envp[1], "A=new");
  assert_string_equal(spec.envp[2], "D=");
  assert_null(spec.envp[3]);
  assert_true(spec.has_user && spec.uid == 5 && spec.gid == 6);
  assert_true(spec.group_count == 1 && spec.groups[0] == 7);
  assert_string_equal(spec.cwd, "/srv");
  assert_int_equal(spec.umask, 077);
  mp_shim_spec_free(&spec);
  assert_int_equal(parse_exec(&spec, &base, other, sizeof other - 1, &err), 0);
  assert_true(spec.uid == 0 && spec.group_count == 0 && spec.umask == 022);
  assert_string_equal(spec.cwd, "/tmp");
  mp_shim_spec_free(&spec);
  mp_shim_spec_free(&base);
}

static void unset_is_for_commands_alone(void **state) {
  (void)state;
  mp_shim_spec spec, base = {0};
  mp_shim_error err;
  assert_int_equal(parse_literal(&spec, BEGIN "unset=A\0" END, &err), -1);
  assert_non_null(strstr(err.message, "`unset`"));
  static const char bad[] = BEGIN "unset=A=1\0" END;
  assert_int_equal(parse_exec(&spec, &base, bad, sizeof bad - 1, &err), -1);
  assert_string_equal(err.code, "invalid");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_key_is_read),
      cmocka_unit_test(defaults_are_those_of_the_contract),
      cmocka_unit_test(a_bad_spec_is_refused_by_the_name_of_its_fault),
      cmocka_unit_test(an_error_never_shows_what_may_be_secret),
      cmocka_unit_test(a_spec_cut_anywhere_is_refused),
      cmocka_unit_test(too_long_a_record_is_refused),
      cmocka_unit_test(a_memfd_is_read_from_its_beginning),
      cmocka_unit_test(a_command_has_of_the_service_what_it_is_not_given),
      cmocka_unit_test(unset_is_for_commands_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
