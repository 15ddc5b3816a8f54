#include "protocol.h"

#include "signals.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct verb {
  const char *name;
  mp_shim_verb verb;
  bool takes_ladder; /* signal= and grace_ms= */
} verbs[] = {
    {"hello", MP_SHIM_HELLO, false},
    {"version", MP_SHIM_VERSION_REQUEST, false},
    {"status", MP_SHIM_STATUS, false},
    {"signal", MP_SHIM_SIGNAL, false},
    {"stop", MP_SHIM_STOP, true},
    {"start", MP_SHIM_START, false},
    {"restart", MP_SHIM_RESTART_REQUEST, true},
    {"wait", MP_SHIM_WAIT, false},
    {"events", MP_SHIM_EVENTS, false},
    {"shutdown", MP_SHIM_SHUTDOWN, true},
    {"network", MP_SHIM_NETWORK, false},
    {"probe", MP_SHIM_PROBE, false},
    {"exec", MP_SHIM_EXEC, false},
};

static const struct verb *find_verb(const char *name) {
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (strcmp(verbs[i].name, name) == 0)
      return &verbs[i];
  return NULL;
}

static int parse_signal(const char *name, int *signal, mp_shim_error *err) {
  *signal = mp_shim_signal_number(name);
  if (*signal == 0)
    return mp_shim_fail(err, "invalid", "`%.32s` is no signal", name);
  return 0;
}

static int parse_milliseconds(const char *text, int64_t *out, mp_shim_error *err) {
  char *end;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || errno != 0)
    return mp_shim_fail(err, "invalid", "`%.32s` is no number of milliseconds", text);
  int64_t year = INT64_C(1000) * 3600 * 24 * 365;
  *out = number < year ? number : year;
  return 0;
}

/* The size of a terminal, as the kernel keeps it. */
static int parse_size(const char *text, int *size, mp_shim_error *err) {
  char *end;
  long number = strtol(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || number < 1 || number > UINT16_MAX)
    return mp_shim_fail(err, "invalid", "`%.32s` is no number of rows or columns", text);
  *size = (int)number;
  return 0;
}

/* False: it is none of exec's. */
static bool parse_exec_option(const char *word, mp_shim_request *request, mp_shim_error *err,
                              int *result) {
  if (strncmp(word, "rows=", 5) == 0)
    *result = parse_size(word + 5, &request->rows, err);
  else if (strncmp(word, "columns=", 8) == 0)
    *result = parse_size(word + 8, &request->columns, err);
  else if (strcmp(word, "input=1") == 0)
    request->input = true;
  else
    return false;
  return true;
}

static int parse_from(const char *text, uint16_t *from, mp_shim_error *err) {
  int port;
  if (parse_size(text, &port, err) < 0)
    return mp_shim_fail(err, "invalid", "`%.32s` is no port", text);
  *from = (uint16_t)port;
  return 0;
}

/* False: it is none of probe's. */
static bool parse_probe_option(const char *word, mp_shim_probe *probe, mp_shim_error *err,
                               int *result) {
  bool is_udp = strncmp(word, "udp=", 4) == 0;
  if (probe->address == 0 && (is_udp || strncmp(word, "tcp=", 4) == 0)) {
    probe->udp = is_udp;
    *result = mp_shim_probe_parse(word + 4, probe, err);
  } else if (strncmp(word, "from=", 5) == 0) {
    *result = parse_from(word + 5, &probe->from, err);
  } else {
    return false;
  }
  return true;
}

static bool is_nonce(const char *word) {
  size_t len = strspn(word, "0123456789abcdefghijklmnopqrstuvwxyz");
  return len > 0 && len <= 32 && word[len] == '\0';
}

static int parse_option(const struct verb *verb, const char *word, mp_shim_request *request,
                        mp_shim_error *err) {
  if (verb->takes_ladder && strncmp(word, "signal=", 7) == 0)
    return parse_signal(word + 7, &request->signal, err);
  if (verb->takes_ladder && strncmp(word, "grace_ms=", 9) == 0)
    return parse_milliseconds(word + 9, &request->grace_ms, err);
  if (verb->verb == MP_SHIM_SIGNAL && request->signal == 0)
    return parse_signal(word, &request->signal, err);
  if (verb->verb == MP_SHIM_NETWORK && strncmp(word, "wait_ms=", 8) == 0)
    return parse_milliseconds(word + 8, &request->wait_ms, err);
  int result = 0;
  if (verb->verb == MP_SHIM_EXEC && parse_exec_option(word, request, err, &result))
    return result;
  if (verb->verb == MP_SHIM_PROBE && parse_probe_option(word, &request->probe, err, &result))
    return result;
  if (verb->verb == MP_SHIM_HELLO && request->nonce == NULL && is_nonce(word)) {
    request->nonce = word;
    return 0;
  }
  return mp_shim_fail(err, "invalid", "`%s` does not take `%.64s`", verb->name, word);
}

int mp_shim_request_parse(char *line, size_t len, mp_shim_request *request, mp_shim_error *err) {
  if (len > 0 && line[len - 1] == '\r')
    len--;
  if (memchr(line, '\0', len))
    return mp_shim_fail(err, "unknown-request", "a request holds a NUL byte");
  line[len] = '\0';
  char *rest;
  char *word = strtok_r(line, " ", &rest);
  const struct verb *verb = word ? find_verb(word) : NULL;
  if (verb == NULL)
    return mp_shim_fail(err, "unknown-request", "unknown request `%.64s`", word ? word : "");
  *request = (mp_shim_request){.verb = verb->verb, .grace_ms = -1};
  while ((word = strtok_r(NULL, " ", &rest)) != NULL)
    if (parse_option(verb, word, request, err) < 0)
      return -1;
  if (verb->verb == MP_SHIM_SIGNAL && request->signal == 0)
    return mp_shim_fail(err, "invalid", "`signal` needs a signal, for example `signal HUP`");
  if (verb->verb == MP_SHIM_PROBE && request->probe.address == 0)
    return mp_shim_fail(err, "invalid", "`probe` needs `tcp=ADDRESS:PORT` or `udp=ADDRESS:PORT`");
  if ((request->rows > 0) != (request->columns > 0))
    return mp_shim_fail(err, "invalid", "`rows` and `columns` go together");
  return 0;
}
