#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char config_usage[] =
    "Usage: incredible-squaring run [OPTIONS]\n"
    "\n"
    "Squares each new block number of an Ethereum node and appends it to DATA_DIR/squares.log.\n"
    "\n"
    "  --test-mode            for development nodes: poll ten times a second\n"
    "  --pretty               log lines for people rather than logfmt\n"
    "  -v, -vv                log more\n"
    "  --dry-run              square, but write nothing\n"
    "  --listen HOST:PORT     where /healthz, /readyz and /metrics are served (or METRICS_ADDR;\n"
    "                         default 127.0.0.1:9464; port 0 takes a free one)\n"
    "  --poll-interval-ms N   how often to ask for the block number (default 1000)\n"
    "\n"
    "Environment: HTTP_RPC_URL WS_RPC_URL KEYSTORE_URI DATA_DIR BLUEPRINT_ID SERVICE_ID PROTOCOL\n"
    "CHAIN BOOTNODES BRIDGE_SOCKET_PATH REGISTRATION_MODE_ON REGISTRATION_OUTPUT_PATH\n";

static const char *env(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

static int require(const char **out, const char *name, reason *why) {
  *out = env(name);
  return **out != '\0' ? 0 : because(why, "%s is not set", name);
}

static int parse_number(uint64_t *out, const char *text, const char *name, reason *why) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
    return because(why, "%s: `%s` is not a number", name, text);
  *out = value;
  return 0;
}

static int env_number(uint64_t *out, const char *name, reason *why) {
  const char *text = env(name);
  *out = 0;
  return *text == '\0' ? 0 : parse_number(out, text, name, why);
}

static int env_bool(bool *out, const char *name, reason *why) {
  const char *text = env(name);
  bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
  bool no = strcmp(text, "false") == 0 || strcmp(text, "0") == 0 || *text == '\0';
  if (!yes && !no)
    return because(why, "%s: `%s` is neither true nor false", name, text);
  *out = yes;
  return 0;
}

static int read_environment(config *c, reason *why) {
  c->ws_rpc_url = env("WS_RPC_URL");
  c->protocol = env("PROTOCOL");
  c->chain = env("CHAIN");
  c->bootnodes = env("BOOTNODES");
  c->bridge_socket_path = env("BRIDGE_SOCKET_PATH");
  c->registration_output_path = env("REGISTRATION_OUTPUT_PATH");
  c->listen = env("METRICS_ADDR");
  if (env_bool(&c->registration_mode, "REGISTRATION_MODE_ON", why) != 0 ||
      env_number(&c->blueprint_id, "BLUEPRINT_ID", why) != 0 ||
      env_number(&c->service_id, "SERVICE_ID", why) != 0 ||
      require(&c->keystore_uri, "KEYSTORE_URI", why) != 0 ||
      require(&c->data_dir, "DATA_DIR", why) != 0)
    return -1;

  if (c->registration_mode) {
    /* A service that registers has no chain to follow yet. */
    c->http_rpc_url = env("HTTP_RPC_URL");
    return require(&c->registration_output_path, "REGISTRATION_OUTPUT_PATH", why);
  }
  reason cause;
  if (require(&c->http_rpc_url, "HTTP_RPC_URL", why) != 0)
    return -1;
  if (url_parse(&c->rpc, c->http_rpc_url, &cause) != 0)
    return because(why, "HTTP_RPC_URL: %s", cause.text);
  return 0;
}

/* Counts the v's of -v, -vv, -vvv; 0: it is another option. */
static int verbosity(const char *option) {
  size_t count = option[0] == '-' ? strspn(option + 1, "v") : 0;
  return option[count + (count > 0)] == '\0' ? (int)count : 0;
}

static int read_option(config *c, const char *option, const char *value, reason *why) {
  uint64_t number = 0;
  if (value == NULL)
    return because(why, "`%s` is unknown or lacks its value", option);
  if (strcmp(option, "--listen") == 0) {
    c->listen = value;
    return 0;
  }
  if (strcmp(option, "--poll-interval-ms") == 0) {
    if (parse_number(&number, value, option, why) != 0)
      return -1;
    if (number < 10 || number > 3600000)
      return because(why, "%s: must lie between 10 and 3600000", option);
    c->poll_ms = (int64_t)number;
    return 0;
  }
  return because(why, "unknown option `%s`", option);
}

/* The flags of the contract stand alone; every other option is followed by its value. */
static int read_arguments(config *c, int argc, char **argv, reason *why) {
  for (int i = 2; i < argc; i++) {
    const char *option = argv[i];
    int more = verbosity(option);
    if (more > 0)
      c->verbose += more;
    else if (strcmp(option, "--test-mode") == 0)
      c->test_mode = true;
    else if (strcmp(option, "--pretty") == 0)
      c->pretty = true;
    else if (strcmp(option, "--dry-run") == 0)
      c->dry_run = true;
    else if (read_option(c, option, i + 1 < argc ? argv[i + 1] : NULL, why) != 0)
      return -1;
    else
      i++;
  }
  if (c->poll_ms == 0)
    c->poll_ms = c->test_mode ? 100 : 1000;
  if (*c->listen == '\0')
    c->listen = "127.0.0.1:9464";
  return 0;
}

int config_read(config *out, int argc, char **argv, reason *why) {
  config c = {0};
  const char *command = argc > 1 ? argv[1] : "";
  if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0)
    return CONFIG_HELP;
  if (strcmp(command, "--version") == 0)
    return CONFIG_VERSION;
  if (strcmp(command, "run") != 0)
    return because(why, "the first argument must be `run`; see --help");
  if (read_environment(&c, why) != 0 || read_arguments(&c, argc, argv, why) != 0)
    return -1;
  *out = c;
  return CONFIG_RUN;
}
