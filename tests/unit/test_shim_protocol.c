#include "unit.h"

#include "core/shim/protocol.h"
#include "core/shim/signals.h"

#include <signal.h>

static int parse(const char *text, mp_shim_request *request, mp_shim_error *err) {
  char line[1024];
  size_t len = strlen(text);
  memcpy(line, text, len);
  return mp_shim_request_parse(line, len, request, err);
}

static void requests_are_read_with_their_options(void **state) {
  (void)state;
  mp_shim_request request;
  mp_shim_error err;
  assert_int_equal(parse("status", &request, &err), 0);
  assert_int_equal(request.verb, MP_SHIM_STATUS);
  assert_int_equal(parse("  stop   grace_ms=0 signal=SIGINT\r", &request, &err), 0);
  assert_int_equal(request.verb, MP_SHIM_STOP);
  assert_int_equal(request.signal, SIGINT);
  assert_int_equal(request.grace_ms, 0);
  assert_int_equal(parse("restart", &request, &err), 0);
  assert_int_equal(request.signal, 0);
  assert_int_equal(request.grace_ms, -1);
  assert_int_equal(parse("signal 12", &request, &err), 0);
  assert_int_equal(request.signal, 12);
}

static void what_is_not_a_request_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *line;
    const char *code;
  } cases[] = {
      {"", "unknown-request"},
      {"   ", "unknown-request"},
      {"STATUS", "unknown-request"},
      {"statusx", "unknown-request"},
      {"execute ls", "unknown-request"},
      {"status now", "invalid"},
      {"signal", "invalid"},
      {"signal NOPE", "invalid"},
      {"signal TERM HUP", "invalid"},
      {"stop grace_ms=", "invalid"},
      {"stop grace_ms=-1", "invalid"},
      {"stop grace_ms=1s", "invalid"},
      {"stop signal=", "invalid"},
      {"stop now", "invalid"},
      {"wait grace_ms=1", "invalid"},
      {"stop grace_ms=99999999999999999999", "invalid"},
      {"probe", "invalid"},
      {"probe from=1", "invalid"},
      {"probe tcp=127.0.0.1", "invalid"},
      {"probe tcp=127.0.0.1:", "invalid"},
      {"probe tcp=127.0.0.1:0", "invalid"},
      {"probe tcp=127.0.0.1:65536", "invalid"},
      {"probe tcp=127.0.0.1:80x", "invalid"},
      {"probe tcp=0.0.0.0:80", "invalid"},
      {"probe tcp=::1:80", "invalid"},
      {"probe tcp=example.org:80", "invalid"},
      {"probe tcp=1111111111111111111111111.0.0.1:80", "invalid"},
      {"probe tcp=127.0.0.1:80 udp=127.0.0.1:80", "invalid"},
      {"probe tcp=127.0.0.1:80 from=0", "invalid"},
      {"probe tcp=127.0.0.1:80 from=65536", "invalid"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_shim_request request;
    mp_shim_error err;
    if (parse(cases[i].line, &request, &err) == 0)
      fail_msg("`%s` was accepted", cases[i].line);
    assert_string_equal(err.code, cases[i].code);
  }
}

static void a_nul_byte_and_control_characters_do_not_come_back(void **state) {
  (void)state;
  char line[] = "sta\0tus", odd[] = "x\x1b[31m\ry";
  mp_shim_request request;
  mp_shim_error err;
  assert_int_equal(mp_shim_request_parse(line, 7, &request, &err), -1);
  assert_int_equal(mp_shim_request_parse(odd, sizeof odd - 1, &request, &err), -1);
  assert_null(strchr(err.message, '\x1b'));
  assert_null(strchr(err.message, '\r'));
}

static void signals_have_one_number_by_all_their_names(void **state) {
  (void)state;
  for (int number = 1; number < 32; number++) {
    char name[32] = "SIG";
    strcat(name, mp_shim_signal_name(number));
    assert_int_equal(mp_shim_signal_number(name + 3), number);
    assert_int_equal(mp_shim_signal_number(name), number);
  }
  assert_int_equal(mp_shim_signal_number("9"), SIGKILL);
  assert_int_equal(mp_shim_signal_number("0"), 0);
  assert_int_equal(mp_shim_signal_number("99999999999"), 0);
  assert_int_equal(mp_shim_signal_number("9x"), 0);
  assert_int_equal(mp_shim_signal_number(""), 0);
  assert_string_equal(mp_shim_signal_name(40), "40");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(requests_are_read_with_their_options),
      cmocka_unit_test(what_is_not_a_request_is_refused),
      cmocka_unit_test(a_nul_byte_and_control_characters_do_not_come_back),
      cmocka_unit_test(signals_have_one_number_by_all_their_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
