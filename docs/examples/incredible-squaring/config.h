/* The contract between a blueprint and what runs it: environment variables and arguments. */
#ifndef SQUARING_CONFIG_H
#define SQUARING_CONFIG_H

#include "reason.h"
#include "url.h"

#include <stdbool.h>
#include <stdint.h>

/* Strings are borrowed from the environment and argv, and are never NULL: "" where unset. */
typedef struct {
  /* From the environment. */
  const char *http_rpc_url;
  const char *ws_rpc_url;
  const char *keystore_uri;
  const char *data_dir;
  uint64_t blueprint_id;
  uint64_t service_id;
  const char *protocol;
  const char *chain;
  const char *bootnodes; /* comma-separated */
  const char *bridge_socket_path;
  bool registration_mode;
  const char *registration_output_path;

  /* From the arguments. */
  bool test_mode;
  bool pretty;
  bool dry_run;
  int verbose;
  const char *listen; /* host:port of the probes and metrics */
  int64_t poll_ms;

  url rpc; /* http_rpc_url, parsed; empty in registration mode */
} config;

enum { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION };

/* Reads the environment and argv.
 * Returns CONFIG_RUN, or CONFIG_HELP or CONFIG_VERSION when only that was asked; -1 with *why. */
int config_read(config *out, int argc, char **argv, reason *why);

extern const char config_usage[];

#endif
