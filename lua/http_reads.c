#include "http_reads.h"

#include "core/buf.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- JSON-RPC ------------------------------------------------------------------------------- */

/* Methods of Ethereum and Substrate nodes that change nothing, neither on the chain nor in the
 * node. Sorted. */
static const char *const reading_calls[] = {
    "chain_getBlock",
    "chain_getBlockHash",
    "chain_getFinalizedHead",
    "chain_getHeader",
    "eth_accounts",
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_coinbase",
    "eth_createAccessList",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_gasPrice",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getBlockReceipts",
    "eth_getBlockTransactionCountByHash",
    "eth_getBlockTransactionCountByNumber",
    "eth_getCode",
    "eth_getLogs",
    "eth_getProof",
    "eth_getStorageAt",
    "eth_getTransactionByBlockHashAndIndex",
    "eth_getTransactionByBlockNumberAndIndex",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_getUncleByBlockHashAndIndex",
    "eth_getUncleByBlockNumberAndIndex",
    "eth_getUncleCountByBlockHash",
    "eth_getUncleCountByBlockNumber",
    "eth_hashrate",
    "eth_maxPriorityFeePerGas",
    "eth_mining",
    "eth_protocolVersion",
    "eth_syncing",
    "net_listening",
    "net_peerCount",
    "net_version",
    "rpc_methods",
    "rpc_modules",
    "state_call",
    "state_getKeysPaged",
    "state_getMetadata",
    "state_getRuntimeVersion",
    "state_getStorage",
    "system_chain",
    "system_health",
    "system_name",
    "system_properties",
    "system_syncState",
    "system_version",
    "txpool_content",
    "txpool_inspect",
    "txpool_status",
    "web3_clientVersion",
    "web3_sha3",
};

/* Follows the document down to the members of a call: the top-level object, or the objects of the
 * top-level array. */
typedef struct {
  unsigned depth;
  bool batch;      /* the top level is an array */
  bool at_method;  /* the next value is a call's `method` */
  unsigned calls;  /* objects at the level of calls */
  unsigned reads;  /* of which this many have said so far that they read */
  bool has_method; /* the present one has, and so may not say it again */
} rpc;

static bool in_call(const rpc *self) {
  return self->depth == (self->batch ? 2 : 1);
}

static int compare_text(const void *key, const void *entry) {
  return strcmp(key, *(const char *const *)entry);
}

static bool is_reading_call(const unsigned char *text, size_t len) {
  char name[64];
  if (len >= sizeof name)
    return false;
  memcpy(name, text, len);
  name[len] = '\0';
  return strlen(name) == len && bsearch(name, reading_calls, COUNT(reading_calls),
                                        sizeof *reading_calls, compare_text) != NULL;
}

static int on_key(void *data, const unsigned char *text, size_t len) {
  rpc *self = data;
  self->at_method = in_call(self) && len == 6 && memcmp(text, "method", 6) == 0;
  return 1;
}

/* Anything but one string in the list ends the parse, and with it the hope. */
static int on_string(void *data, const unsigned char *text, size_t len) {
  rpc *self = data;
  if (!self->at_method)
    return self->depth > 0;
  self->at_method = false;
  if (self->has_method || !is_reading_call(text, len))
    return 0;
  self->has_method = true;
  self->reads++;
  return 1;
}

static int on_scalar(rpc *self) {
  return self->depth > (self->batch ? 1 : 0) && !self->at_method;
}

static int on_null(void *data) {
  return on_scalar(data);
}

static int on_boolean(void *data, int value) {
  (void)value;
  return on_scalar(data);
}

static int on_number(void *data, const char *text, size_t len) {
  (void)text, (void)len;
  return on_scalar(data);
}

static int on_begin_map(void *data) {
  rpc *self = data;
  if (self->at_method)
    return 0;
  self->depth++;
  if (in_call(self)) {
    self->calls++;
    self->has_method = false;
  }
  return 1;
}

static int on_begin_array(void *data) {
  rpc *self = data;
  if (self->at_method || (self->batch && self->depth == 1))
    return 0;
  self->batch |= self->depth == 0;
  self->depth++;
  return 1;
}

static int on_end(void *data) {
  ((rpc *)data)->depth--;
  return 1;
}

static bool is_reading_rpc(mp_http_bytes body) {
  static const yajl_callbacks callbacks = {
      .yajl_null = on_null,
      .yajl_boolean = on_boolean,
      .yajl_number = on_number,
      .yajl_string = on_string,
      .yajl_start_map = on_begin_map,
      .yajl_map_key = on_key,
      .yajl_end_map = on_end,
      .yajl_start_array = on_begin_array,
      .yajl_end_array = on_end,
  };
  rpc self = {0};
  yajl_handle parser = yajl_alloc(&callbacks, NULL, &self);
  bool whole = yajl_parse(parser, (const unsigned char *)body.data, body.len) == yajl_status_ok &&
               yajl_complete_parse(parser) == yajl_status_ok;
  yajl_free(parser);
  return whole && self.calls > 0 && self.reads == self.calls;
}

/* ---- Kubernetes ----------------------------------------------------------------------------- */

typedef struct {
  const char *path, *query;
  size_t path_len;
} target;

static target target_of(const char *url) {
  const char *host = strstr(url, "://");
  const char *path = host ? host + 3 + strcspn(host + 3, "/?#") : url;
  size_t len = strcspn(path, "?#");
  return (target){path, path[len] == '?' ? path + len + 1 : "", len};
}

static bool starts(const target *at, const char *prefix) {
  size_t len = strlen(prefix);
  return at->path_len >= len && memcmp(at->path, prefix, len) == 0;
}

static bool ends(const target *at, const char *suffix) {
  size_t len = strlen(suffix);
  return at->path_len >= len && memcmp(at->path + at->path_len - len, suffix, len) == 0;
}

/* A dot segment or an escape could make the server see another path than we do. */
static bool is_plain(const target *at) {
  return !memchr(at->path, '%', at->path_len) && !memmem(at->path, at->path_len, "/.", 2);
}

static bool is_dry_run(const target *at) {
  unsigned all = 0;
  if (!starts(at, "/api/") && !starts(at, "/apis/"))
    return false;
  for (const char *query = at->query; *query && *query != '#';) {
    size_t len = strcspn(query, "&#");
    if (len >= 7 && memcmp(query, "dryRun=", 7) == 0) {
      if (len != 10 || memcmp(query + 7, "All", 3) != 0)
        return false;
      all++;
    }
    query += len + (query[len] == '&');
  }
  return all > 0;
}

/* Follows DeleteOptions: a single `dryRun` at the top, a list of nothing but "All". */
typedef struct {
  unsigned depth;
  bool at_dry_run; /* the next value is that of `dryRun` */
  bool in_list;    /* within its list */
  unsigned seen, all;
} delete_options;

static int options_key(void *data, const unsigned char *text, size_t len) {
  delete_options *self = data;
  self->at_dry_run = self->depth == 1 && len == 6 && memcmp(text, "dryRun", 6) == 0;
  self->seen += self->at_dry_run;
  return 1;
}

static int options_string(void *data, const unsigned char *text, size_t len) {
  delete_options *self = data;
  if (!self->in_list)
    return self->depth > 0 && !self->at_dry_run;
  self->all++;
  return len == 3 && memcmp(text, "All", 3) == 0;
}

static int options_other(const delete_options *self) {
  return self->depth > 0 && !self->at_dry_run && !self->in_list;
}

static int options_null(void *data) {
  return options_other(data);
}

static int options_boolean(void *data, int value) {
  (void)value;
  return options_other(data);
}

static int options_number(void *data, const char *text, size_t len) {
  (void)text, (void)len;
  return options_other(data);
}

static int options_map(void *data) {
  delete_options *self = data;
  self->depth++;
  return !self->at_dry_run && !self->in_list;
}

static int options_array(void *data) {
  delete_options *self = data;
  if (self->depth == 0 || self->in_list)
    return 0;
  self->in_list = self->at_dry_run;
  self->at_dry_run = false;
  self->depth++;
  return 1;
}

static int options_end(void *data) {
  delete_options *self = data;
  self->depth--;
  self->in_list = false;
  return 1;
}

static bool is_dry_run_body(mp_http_bytes body) {
  static const yajl_callbacks callbacks = {
      .yajl_null = options_null,
      .yajl_boolean = options_boolean,
      .yajl_number = options_number,
      .yajl_string = options_string,
      .yajl_start_map = options_map,
      .yajl_map_key = options_key,
      .yajl_end_map = options_end,
      .yajl_start_array = options_array,
      .yajl_end_array = options_end,
  };
  delete_options self = {0};
  yajl_handle parser = yajl_alloc(&callbacks, NULL, &self);
  bool whole = yajl_parse(parser, (const unsigned char *)body.data, body.len) == yajl_status_ok &&
               yajl_complete_parse(parser) == yajl_status_ok;
  yajl_free(parser);
  return whole && self.seen == 1 && self.all > 0;
}

/* The options of a DELETE may be in its body, and then the server does not look at the query. */
static bool is_dry_delete(const mp_http_options *options) {
  return options->body_kind == MP_HTTP_BODY_NONE ||
         (options->body_kind == MP_HTTP_BODY_MEMORY &&
          (options->body.len == 0 || is_dry_run_body(options->body)));
}

static bool is_review(const target *at) {
  static const char *const reviews[] = {"/selfsubjectaccessreviews", "/selfsubjectrulesreviews",
                                        "/subjectaccessreviews", "/localsubjectaccessreviews",
                                        "/selfsubjectreviews"};
  if (!starts(at, "/apis/authorization.k8s.io/") && !starts(at, "/apis/authentication.k8s.io/"))
    return false;
  for (size_t i = 0; i < COUNT(reviews); i++) {
    if (ends(at, reviews[i]))
      return true;
  }
  return false;
}

static bool is_hex(char c) {
  return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* The path as the server takes it: escapes undone, slashes at the end gone. The caller frees it. */
static char *decoded(const target *at) {
  mp_buf out = MP_BUF_INIT;
  mp_buf_puts(&out, "");
  for (size_t i = 0; i < at->path_len; i++) {
    char byte = at->path[i];
    if (byte == '%' && at->path_len - i > 2 && is_hex(at->path[i + 1]) && is_hex(at->path[i + 2])) {
      char digits[] = {at->path[i + 1], at->path[i + 2], '\0'};
      byte = (char)strtol(digits, NULL, 16);
      i += 2;
    }
    mp_buf_append(&out, byte ? &byte : "?", 1);
  }
  while (out.len > 0 && out.data[out.len - 1] == '/')
    out.data[--out.len] = '\0';
  return out.data;
}

static bool has_one(const char *path, const char *const *words) {
  for (; *words; words++) {
    if (strstr(path, *words))
      return true;
  }
  return false;
}

/* What Kubernetes does, whatever the method, without being known to read or to heed a dry run: its
 * streams, and what a pod, service or node behind its proxy makes of the request. Of a path that
 * holds dots nobody knows where it begins and ends. */
static bool is_acting(const target *at) {
  static const char *const owners[] = {"/namespaces/", "/nodes/", NULL};
  static const char *const acts[] = {"/exec", "/attach", "/portforward", "/proxy", NULL};
  mp_auto_free char *path = decoded(at);
  target all = {path, "", strlen(path)};
  if (strstr(path, "/."))
    return has_one(path, owners) && has_one(path, acts);
  if (!starts(&all, "/api/v1/namespaces/") && !starts(&all, "/api/v1/nodes/"))
    return false;
  return ends(&all, "/exec") || ends(&all, "/attach") || ends(&all, "/portforward") ||
         strstr(path, "/proxy") != NULL;
}

/* ---- all of it ------------------------------------------------------------------------------ */

bool mp_kube_only_reads(const mp_http_options *options) {
  const char *method = options->method ? options->method : "GET";
  target at = target_of(options->url ? options->url : "");
  if (is_acting(&at))
    return false;
  if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0)
    return true;
  if (!is_plain(&at))
    return false;
  bool dry = is_dry_run(&at) && (strcmp(method, "DELETE") != 0 || is_dry_delete(options));
  return dry || (strcmp(method, "POST") == 0 && is_review(&at));
}

bool mp_http_only_reads(const mp_http_options *options) {
  bool posts = options->method && strcmp(options->method, "POST") == 0;
  return mp_kube_only_reads(options) ||
         (posts && options->body_kind == MP_HTTP_BODY_MEMORY && is_reading_rpc(options->body));
}
