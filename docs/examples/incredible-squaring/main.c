/* incredible-squaring: the example blueprint.
 *
 * One thread, one poll() loop: it asks an Ethereum node for its block number, squares every number
 * that is new and appends it to a file, and answers health probes meanwhile. */
#include "config.h"
#include "http_client.h"
#include "keystore.h"
#include "ledger.h"
#include "log.h"
#include "metrics.h"
#include "registration.h"
#include "rpc.h"
#include "server.h"
#include "square.h"
#include "stop.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 10000
/* After a longer pause than this many blocks the service goes on at the head of the chain. */
#define CATCH_UP_MAX 10000

typedef struct {
  config config;
  metrics metrics;
  ledger ledger;
  server server;
  http_client client;
  char request[RPC_REQUEST_MAX];
  uint32_t request_id;

  int64_t next_poll, poll_backoff; /* monotonic milliseconds; a backoff of 0: all is well */
  int64_t next_write, write_backoff;
  bool started;   /* `next_block` is known */
  bool behind;    /* next_block..metrics.head wait to be written */
  bool went_back; /* said once that the node's chain is shorter than the file */
  uint64_t next_block;
} service;

static int64_t clock_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t grow(int64_t backoff) {
  if (backoff == 0)
    return BACKOFF_MIN_MS;
  return backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
}

/* Decides which blocks are new when the node says that `head` is its newest. */
static void on_head(service *s, uint64_t head) {
  if (!s->started) {
    s->next_block = s->ledger.any ? s->ledger.last + 1 : head;
    s->started = true;
  }
  s->metrics.head = head;
  if (head < s->next_block) {
    if (s->next_block - head > 1 && !s->went_back)
      log_line(LOG_WARN,
               "the node is at block %" PRIu64 ", squares.log ends at %" PRIu64
               ": waiting for it to get there",
               head, s->next_block - 1);
    s->went_back = s->next_block - head > 1;
    return;
  }
  uint64_t gap = head - s->next_block;
  if (gap > CATCH_UP_MAX) {
    log_line(LOG_WARN, "skipping %" PRIu64 " blocks: more than %d behind", gap, CATCH_UP_MAX);
    s->metrics.skipped += gap;
    s->next_block = head;
  }
  s->behind = true;
}

static void on_poll_failed(service *s, int64_t now, const reason *why) {
  s->metrics.polls_failed++;
  s->metrics.up = false;
  s->poll_backoff = grow(s->poll_backoff);
  s->next_poll = now + s->poll_backoff;
  log_line(LOG_WARN, "%s; next try in %" PRId64 " ms", why->text, s->poll_backoff);
}

static void on_answer(service *s, int64_t now) {
  const http_response *r = &s->client.response;
  uint64_t head;
  reason why;
  /* JSON-RPC servers may tell of an error in the body of a 4xx or 5xx: the body says more. */
  int read = rpc_block_number_answer(&head, r->body, r->body_len, s->request_id, &why);
  if (read != 0 || r->status != 200) {
    if (read == 0 || r->body_len == 0 || r->body[0] != '{')
      because(&why, "the node answered with HTTP status %d", r->status);
    on_poll_failed(s, now, &why);
    return;
  }
  if (!s->metrics.ready)
    log_line(LOG_INFO, "ready: the node is at block %" PRIu64, head);
  else if (!s->metrics.up)
    log_line(LOG_INFO, "the node answers again");
  log_line(LOG_TRACE, "head is %" PRIu64, head);
  s->metrics.ready = s->metrics.up = true;
  s->metrics.polls_ok++;
  s->poll_backoff = 0;
  s->next_poll = now + s->config.poll_ms;
  on_head(s, head);
}

static void on_client(service *s, client_result result, int64_t now, const reason *why) {
  if (result == CLIENT_DONE)
    on_answer(s, now);
  else if (result == CLIENT_FAILED)
    on_poll_failed(s, now, why);
}

static void poll_node(service *s, int64_t now) {
  reason why;
  if (s->client.state != CLIENT_IDLE || now < s->next_poll)
    return;
  size_t len = rpc_block_number_request(s->request, &s->config.rpc, ++s->request_id);
  on_client(s, http_client_start(&s->client, s->request, len, now, &why), now, &why);
}

/* Writes one batch, so that a long way to catch up does not hold up probes and signals. */
static void write_squares(service *s, int64_t now) {
  if (!s->behind || now < s->next_write)
    return;
  uint64_t first = s->next_block, last = s->metrics.head;
  reason why;
  if (last - first >= LEDGER_BATCH)
    last = first + LEDGER_BATCH - 1;
  if (!s->config.dry_run && ledger_append(&s->ledger, first, last, &why) != 0) {
    s->metrics.write_failures++;
    s->write_backoff = grow(s->write_backoff);
    s->next_write = now + s->write_backoff;
    log_line(LOG_ERROR, "%s; next try in %" PRId64 " ms", why.text, s->write_backoff);
    return;
  }
  s->write_backoff = 0;
  s->metrics.squares += last - first + 1;
  s->metrics.last_squared = last;
  s->behind = last < s->metrics.head;
  s->next_block = last + 1;
  char squared[SQUARE_SIZE];
  square(squared, last);
  log_line(LOG_INFO, "%s%" PRIu64 " squared is %s", s->config.dry_run ? "dry run: " : "", last,
           squared);
}

static int64_t sooner(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t next_deadline(const service *s) {
  int64_t next = s->client.state == CLIENT_IDLE ? s->next_poll : s->client.deadline;
  if (s->behind)
    next = sooner(next, s->next_write);
  return sooner(next, server_deadline(&s->server));
}

static void run(service *s) {
  struct pollfd fds[SERVER_FDS + 1];
  struct pollfd *client = &fds[SERVER_FDS];
  while (!stop_requested()) {
    int64_t now = clock_ms();
    poll_node(s, now);
    write_squares(s, now);

    short events = http_client_events(&s->client);
    server_prepare(&s->server, fds);
    *client = (struct pollfd){events != 0 ? s->client.fd : -1, events, 0};
    int64_t wait = next_deadline(s) - clock_ms();
    if (stop_poll(fds, SERVER_FDS + 1, wait > 0 ? wait : 0) < 0)
      continue; /* a signal; what poll would have said is asked again */

    now = clock_ms();
    reason why;
    s->metrics.connections = s->client.connections;
    server_step(&s->server, fds, now, &s->metrics);
    on_client(s, http_client_step(&s->client, client->revents, now, &why), now, &why);
  }
}

static int check_keystore(const config *c, reason *why) {
  char path[PATH_MAX];
  bool shared;
  if (keystore_path(path, sizeof path, c->keystore_uri, why) != 0 ||
      keystore_check(path, &shared, why) != 0)
    return -1;
  if (shared)
    log_line(LOG_WARN, "keystore `%s` is open to others; its mode should be 0700", path);
  return 0;
}

static void log_contract(const config *c) {
  log_line(LOG_DEBUG, "blueprint %" PRIu64 " service %" PRIu64 " protocol `%s` chain `%s`",
           c->blueprint_id, c->service_id, c->protocol, c->chain);
  log_line(LOG_DEBUG, "node %s, WebSocket `%s`, bootnodes `%s`, bridge `%s`", c->http_rpc_url,
           c->ws_rpc_url, c->bootnodes, c->bridge_socket_path);
}

static int open_ledger(service *s, reason *why) {
  if (s->config.dry_run)
    return 0;
  if (ledger_open(&s->ledger, s->config.data_dir, why) != 0)
    return -1;
  if (s->ledger.cut > 0)
    log_line(LOG_WARN, "cut an unfinished line of %lld bytes off squares.log",
             (long long)s->ledger.cut);
  if (s->ledger.any)
    log_line(LOG_INFO, "going on after block %" PRIu64, s->ledger.last);
  s->metrics.last_squared = s->ledger.last;
  return 0;
}

static int register_once(const config *c, reason *why) {
  if (registration_write(c, why) != 0)
    return -1;
  log_line(LOG_INFO, "registration written to `%s`", c->registration_output_path);
  return 0;
}

static int serve(service *s, reason *why) {
  s->ledger.fd = -1;
  http_client_init(&s->client, &s->config.rpc);
  s->metrics.start_time = (int64_t)time(NULL);
  if (server_open(&s->server, s->config.listen, why) != 0)
    return -1;
  if (open_ledger(s, why) != 0) {
    server_close(&s->server);
    return -1;
  }
  log_line(LOG_INFO, "listening on %s, polling %s", s->server.address, s->config.http_rpc_url);
  run(s);
  log_line(LOG_INFO, "stopping");
  http_client_close(&s->client);
  server_close(&s->server);
  ledger_close(&s->ledger);
  return 0;
}

int main(int argc, char **argv) {
  static service s; /* its buffers are too large for a small stack */
  reason why;
  switch (config_read(&s.config, argc, argv, &why)) {
  case CONFIG_HELP:
    fputs(config_usage, stdout);
    return 0;
  case CONFIG_VERSION:
    puts("incredible-squaring " SQUARING_VERSION);
    return 0;
  case -1:
    fprintf(stderr, "incredible-squaring: %s\n", why.text);
    return 2;
  }
  log_setup(s.config.verbose, s.config.pretty);
  log_contract(&s.config);
  stop_catch();
  if (check_keystore(&s.config, &why) != 0 ||
      (s.config.registration_mode ? register_once(&s.config, &why) : serve(&s, &why)) != 0) {
    log_line(LOG_ERROR, "%s", why.text);
    return 1;
  }
  return 0;
}
