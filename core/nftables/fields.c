#include "fields.h"

#include <string.h>

#define END                                                                                        \
  { NULL, 0, 0 }

const char *const mp_nft_kind_names[MP_NFT_KINDS] = {"table",    "chain",  "rule",       "set",
                                                     "elements", "object", "generation", "trace"};

mp_nft_kind mp_nft_kind_named(const char *name) {
  mp_nft_kind kind = 0;
  while (kind < MP_NFT_KINDS && strcmp(mp_nft_kind_names[kind], name) != 0)
    kind++;
  return kind;
}

/* -- Objects ---------------------------------------------------------------------------------- */

static const mp_nft_field table_fields[] = {{"name", NFTNL_TABLE_NAME, MP_NFT_TEXT},
                                            {"flags", NFTNL_TABLE_FLAGS, MP_NFT_U32},
                                            {"use", NFTNL_TABLE_USE, MP_NFT_U32},
                                            {"handle", NFTNL_TABLE_HANDLE, MP_NFT_U64},
                                            {"userdata", NFTNL_TABLE_USERDATA, MP_NFT_BYTES},
                                            {"owner", NFTNL_TABLE_OWNER, MP_NFT_U32},
                                            END};

static const mp_nft_field chain_fields[] = {{"table", NFTNL_CHAIN_TABLE, MP_NFT_TEXT},
                                            {"name", NFTNL_CHAIN_NAME, MP_NFT_TEXT},
                                            {"hook", NFTNL_CHAIN_HOOKNUM, MP_NFT_U32},
                                            {"priority", NFTNL_CHAIN_PRIO, MP_NFT_S32},
                                            {"policy", NFTNL_CHAIN_POLICY, MP_NFT_U32},
                                            {"use", NFTNL_CHAIN_USE, MP_NFT_U32},
                                            {"bytes", NFTNL_CHAIN_BYTES, MP_NFT_U64},
                                            {"packets", NFTNL_CHAIN_PACKETS, MP_NFT_U64},
                                            {"handle", NFTNL_CHAIN_HANDLE, MP_NFT_U64},
                                            {"type", NFTNL_CHAIN_TYPE, MP_NFT_TEXT},
                                            {"device", NFTNL_CHAIN_DEV, MP_NFT_TEXT},
                                            {"devices", NFTNL_CHAIN_DEVICES, MP_NFT_NAMES},
                                            {"flags", NFTNL_CHAIN_FLAGS, MP_NFT_U32},
                                            {"userdata", NFTNL_CHAIN_USERDATA, MP_NFT_BYTES},
                                            END};

static const mp_nft_field rule_fields[] = {
    {"table", NFTNL_RULE_TABLE, MP_NFT_TEXT},        {"chain", NFTNL_RULE_CHAIN, MP_NFT_TEXT},
    {"handle", NFTNL_RULE_HANDLE, MP_NFT_U64},       {"position", NFTNL_RULE_POSITION, MP_NFT_U64},
    {"userdata", NFTNL_RULE_USERDATA, MP_NFT_BYTES}, END};

static const mp_nft_field set_fields[] = {{"table", NFTNL_SET_TABLE, MP_NFT_TEXT},
                                          {"name", NFTNL_SET_NAME, MP_NFT_TEXT},
                                          {"flags", NFTNL_SET_FLAGS, MP_NFT_U32},
                                          {"key_type", NFTNL_SET_KEY_TYPE, MP_NFT_U32},
                                          {"key_len", NFTNL_SET_KEY_LEN, MP_NFT_U32},
                                          {"data_type", NFTNL_SET_DATA_TYPE, MP_NFT_U32},
                                          {"data_len", NFTNL_SET_DATA_LEN, MP_NFT_U32},
                                          {"object_type", NFTNL_SET_OBJ_TYPE, MP_NFT_U32},
                                          {"id", NFTNL_SET_ID, MP_NFT_U32},
                                          {"policy", NFTNL_SET_POLICY, MP_NFT_U32},
                                          {"size", NFTNL_SET_DESC_SIZE, MP_NFT_U32},
                                          {"parts", NFTNL_SET_DESC_CONCAT, MP_NFT_DATA},
                                          {"timeout", NFTNL_SET_TIMEOUT, MP_NFT_U64},
                                          {"gc_interval", NFTNL_SET_GC_INTERVAL, MP_NFT_U32},
                                          {"userdata", NFTNL_SET_USERDATA, MP_NFT_BYTES},
                                          {"handle", NFTNL_SET_HANDLE, MP_NFT_U64},
                                          END};

static const mp_nft_field object_fields[] = {{"table", NFTNL_OBJ_TABLE, MP_NFT_TEXT},
                                             {"name", NFTNL_OBJ_NAME, MP_NFT_TEXT},
                                             {"type", NFTNL_OBJ_TYPE, MP_NFT_U32},
                                             {"use", NFTNL_OBJ_USE, MP_NFT_U32},
                                             {"handle", NFTNL_OBJ_HANDLE, MP_NFT_U64},
                                             {"userdata", NFTNL_OBJ_USERDATA, MP_NFT_BYTES},
                                             {"packets", NFTNL_OBJ_CTR_PKTS, MP_NFT_U64},
                                             {"bytes", NFTNL_OBJ_CTR_BYTES, MP_NFT_U64},
                                             END};

const mp_nft_field mp_nft_element_fields[] = {{"key", NFTNL_SET_ELEM_KEY, MP_NFT_DATA},
                                              {"key_end", NFTNL_SET_ELEM_KEY_END, MP_NFT_DATA},
                                              {"data", NFTNL_SET_ELEM_DATA, MP_NFT_DATA},
                                              {"verdict", NFTNL_SET_ELEM_VERDICT, MP_NFT_S32},
                                              {"chain", NFTNL_SET_ELEM_CHAIN, MP_NFT_TEXT},
                                              {"flags", NFTNL_SET_ELEM_FLAGS, MP_NFT_U32},
                                              {"timeout", NFTNL_SET_ELEM_TIMEOUT, MP_NFT_U64},
                                              {"expiration", NFTNL_SET_ELEM_EXPIRATION, MP_NFT_U64},
                                              {"userdata", NFTNL_SET_ELEM_USERDATA, MP_NFT_BYTES},
                                              {"object", NFTNL_SET_ELEM_OBJREF, MP_NFT_TEXT},
                                              END};

static const mp_nft_field no_fields[] = {END};

const mp_nft_field *mp_nft_fields_of(mp_nft_kind kind) {
  static const mp_nft_field *const all[MP_NFT_KINDS] = {table_fields, chain_fields, rule_fields,
                                                        set_fields,   set_fields,   object_fields,
                                                        no_fields,    no_fields};
  return all[kind];
}

/* -- Expressions ------------------------------------------------------------------------------ */

#define FIELDS(name) static const mp_nft_field name[]

FIELDS(meta) = {{"key", NFTNL_EXPR_META_KEY, MP_NFT_U32},
                {"dreg", NFTNL_EXPR_META_DREG, MP_NFT_U32},
                {"sreg", NFTNL_EXPR_META_SREG, MP_NFT_U32},
                END};
FIELDS(payload) = {{"dreg", NFTNL_EXPR_PAYLOAD_DREG, MP_NFT_U32},
                   {"sreg", NFTNL_EXPR_PAYLOAD_SREG, MP_NFT_U32},
                   {"base", NFTNL_EXPR_PAYLOAD_BASE, MP_NFT_U32},
                   {"offset", NFTNL_EXPR_PAYLOAD_OFFSET, MP_NFT_U32},
                   {"len", NFTNL_EXPR_PAYLOAD_LEN, MP_NFT_U32},
                   {"csum_type", NFTNL_EXPR_PAYLOAD_CSUM_TYPE, MP_NFT_U32},
                   {"csum_offset", NFTNL_EXPR_PAYLOAD_CSUM_OFFSET, MP_NFT_U32},
                   {"flags", NFTNL_EXPR_PAYLOAD_FLAGS, MP_NFT_U32},
                   END};
FIELDS(cmp) = {{"sreg", NFTNL_EXPR_CMP_SREG, MP_NFT_U32},
               {"op", NFTNL_EXPR_CMP_OP, MP_NFT_U32},
               {"data", NFTNL_EXPR_CMP_DATA, MP_NFT_DATA},
               END};
FIELDS(range) = {{"sreg", NFTNL_EXPR_RANGE_SREG, MP_NFT_U32},
                 {"op", NFTNL_EXPR_RANGE_OP, MP_NFT_U32},
                 {"from", NFTNL_EXPR_RANGE_FROM_DATA, MP_NFT_DATA},
                 {"to", NFTNL_EXPR_RANGE_TO_DATA, MP_NFT_DATA},
                 END};
FIELDS(bitwise) = {
    {"sreg", NFTNL_EXPR_BITWISE_SREG, MP_NFT_U32},  {"dreg", NFTNL_EXPR_BITWISE_DREG, MP_NFT_U32},
    {"len", NFTNL_EXPR_BITWISE_LEN, MP_NFT_U32},    {"op", NFTNL_EXPR_BITWISE_OP, MP_NFT_U32},
    {"mask", NFTNL_EXPR_BITWISE_MASK, MP_NFT_DATA}, {"xor", NFTNL_EXPR_BITWISE_XOR, MP_NFT_DATA},
    {"data", NFTNL_EXPR_BITWISE_DATA, MP_NFT_DATA}, END};
FIELDS(byteorder) = {{"sreg", NFTNL_EXPR_BYTEORDER_SREG, MP_NFT_U32},
                     {"dreg", NFTNL_EXPR_BYTEORDER_DREG, MP_NFT_U32},
                     {"op", NFTNL_EXPR_BYTEORDER_OP, MP_NFT_U32},
                     {"len", NFTNL_EXPR_BYTEORDER_LEN, MP_NFT_U32},
                     {"size", NFTNL_EXPR_BYTEORDER_SIZE, MP_NFT_U32},
                     END};
FIELDS(immediate) = {{"dreg", NFTNL_EXPR_IMM_DREG, MP_NFT_U32},
                     {"data", NFTNL_EXPR_IMM_DATA, MP_NFT_DATA},
                     {"verdict", NFTNL_EXPR_IMM_VERDICT, MP_NFT_S32},
                     {"chain", NFTNL_EXPR_IMM_CHAIN, MP_NFT_TEXT},
                     END};
FIELDS(lookup) = {
    {"set", NFTNL_EXPR_LOOKUP_SET, MP_NFT_TEXT},    {"id", NFTNL_EXPR_LOOKUP_SET_ID, MP_NFT_U32},
    {"sreg", NFTNL_EXPR_LOOKUP_SREG, MP_NFT_U32},   {"dreg", NFTNL_EXPR_LOOKUP_DREG, MP_NFT_U32},
    {"flags", NFTNL_EXPR_LOOKUP_FLAGS, MP_NFT_U32}, END};
FIELDS(ct) = {{"key", NFTNL_EXPR_CT_KEY, MP_NFT_U32},
              {"dreg", NFTNL_EXPR_CT_DREG, MP_NFT_U32},
              {"sreg", NFTNL_EXPR_CT_SREG, MP_NFT_U32},
              {"direction", NFTNL_EXPR_CT_DIR, MP_NFT_U8},
              END};
FIELDS(fib) = {{"dreg", NFTNL_EXPR_FIB_DREG, MP_NFT_U32},
               {"result", NFTNL_EXPR_FIB_RESULT, MP_NFT_U32},
               {"flags", NFTNL_EXPR_FIB_FLAGS, MP_NFT_U32},
               END};
FIELDS(counter) = {{"packets", NFTNL_EXPR_CTR_PACKETS, MP_NFT_U64},
                   {"bytes", NFTNL_EXPR_CTR_BYTES, MP_NFT_U64},
                   END};
FIELDS(objref) = {{"type", NFTNL_EXPR_OBJREF_IMM_TYPE, MP_NFT_U32},
                  {"name", NFTNL_EXPR_OBJREF_IMM_NAME, MP_NFT_TEXT},
                  {"sreg", NFTNL_EXPR_OBJREF_SET_SREG, MP_NFT_U32},
                  {"set", NFTNL_EXPR_OBJREF_SET_NAME, MP_NFT_TEXT},
                  {"id", NFTNL_EXPR_OBJREF_SET_ID, MP_NFT_U32},
                  END};
FIELDS(nat) = {{"type", NFTNL_EXPR_NAT_TYPE, MP_NFT_U32},
               {"family", NFTNL_EXPR_NAT_FAMILY, MP_NFT_U32},
               {"address", NFTNL_EXPR_NAT_REG_ADDR_MIN, MP_NFT_U32},
               {"address_end", NFTNL_EXPR_NAT_REG_ADDR_MAX, MP_NFT_U32},
               {"port", NFTNL_EXPR_NAT_REG_PROTO_MIN, MP_NFT_U32},
               {"port_end", NFTNL_EXPR_NAT_REG_PROTO_MAX, MP_NFT_U32},
               {"flags", NFTNL_EXPR_NAT_FLAGS, MP_NFT_U32},
               END};
FIELDS(masq) = {{"flags", NFTNL_EXPR_MASQ_FLAGS, MP_NFT_U32},
                {"port", NFTNL_EXPR_MASQ_REG_PROTO_MIN, MP_NFT_U32},
                {"port_end", NFTNL_EXPR_MASQ_REG_PROTO_MAX, MP_NFT_U32},
                END};
FIELDS(redir) = {{"port", NFTNL_EXPR_REDIR_REG_PROTO_MIN, MP_NFT_U32},
                 {"port_end", NFTNL_EXPR_REDIR_REG_PROTO_MAX, MP_NFT_U32},
                 {"flags", NFTNL_EXPR_REDIR_FLAGS, MP_NFT_U32},
                 END};
FIELDS(reject) = {
    {"type", NFTNL_EXPR_REJECT_TYPE, MP_NFT_U32}, {"code", NFTNL_EXPR_REJECT_CODE, MP_NFT_U8}, END};
FIELDS(limit) = {
    {"rate", NFTNL_EXPR_LIMIT_RATE, MP_NFT_U64},   {"unit", NFTNL_EXPR_LIMIT_UNIT, MP_NFT_U64},
    {"burst", NFTNL_EXPR_LIMIT_BURST, MP_NFT_U32}, {"type", NFTNL_EXPR_LIMIT_TYPE, MP_NFT_U32},
    {"flags", NFTNL_EXPR_LIMIT_FLAGS, MP_NFT_U32}, END};
FIELDS(log) = {{"prefix", NFTNL_EXPR_LOG_PREFIX, MP_NFT_TEXT},
               {"group", NFTNL_EXPR_LOG_GROUP, MP_NFT_U16},
               {"snaplen", NFTNL_EXPR_LOG_SNAPLEN, MP_NFT_U32},
               {"threshold", NFTNL_EXPR_LOG_QTHRESHOLD, MP_NFT_U16},
               {"level", NFTNL_EXPR_LOG_LEVEL, MP_NFT_U32},
               {"flags", NFTNL_EXPR_LOG_FLAGS, MP_NFT_U32},
               END};
FIELDS(quota) = {{"bytes", NFTNL_EXPR_QUOTA_BYTES, MP_NFT_U64},
                 {"consumed", NFTNL_EXPR_QUOTA_CONSUMED, MP_NFT_U64},
                 {"flags", NFTNL_EXPR_QUOTA_FLAGS, MP_NFT_U32},
                 END};
FIELDS(connlimit) = {{"count", NFTNL_EXPR_CONNLIMIT_COUNT, MP_NFT_U32},
                     {"flags", NFTNL_EXPR_CONNLIMIT_FLAGS, MP_NFT_U32},
                     END};
FIELDS(queue) = {{"number", NFTNL_EXPR_QUEUE_NUM, MP_NFT_U16},
                 {"total", NFTNL_EXPR_QUEUE_TOTAL, MP_NFT_U16},
                 {"flags", NFTNL_EXPR_QUEUE_FLAGS, MP_NFT_U16},
                 END};
/* Of iptables-nft: only their names are of use to others. */
FIELDS(match) = {
    {"name", NFTNL_EXPR_MT_NAME, MP_NFT_TEXT}, {"revision", NFTNL_EXPR_MT_REV, MP_NFT_U32}, END};
FIELDS(target) = {
    {"name", NFTNL_EXPR_TG_NAME, MP_NFT_TEXT}, {"revision", NFTNL_EXPR_TG_REV, MP_NFT_U32}, END};

static const mp_nft_expression expressions[] = {
    {"meta", meta},
    {"payload", payload},
    {"cmp", cmp},
    {"range", range},
    {"bitwise", bitwise},
    {"byteorder", byteorder},
    {"immediate", immediate},
    {"lookup", lookup},
    {"ct", ct},
    {"fib", fib},
    {"counter", counter},
    {"objref", objref},
    {"nat", nat},
    {"masq", masq},
    {"redir", redir},
    {"reject", reject},
    {"limit", limit},
    {"log", log},
    {"quota", quota},
    {"connlimit", connlimit},
    {"queue", queue},
    {"match", match},
    {"target", target},
    {"notrack", no_fields},
};

const mp_nft_expression *mp_nft_expression_named(const char *name) {
  for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
    if (strcmp(expressions[i].name, name) == 0)
      return &expressions[i];
  }
  return NULL;
}

const mp_nft_field *mp_nft_field_named(const mp_nft_field *fields, const char *name) {
  for (; fields->name; fields++) {
    if (strcmp(fields->name, name) == 0)
      return fields;
  }
  return NULL;
}

unsigned mp_nft_field_limit(const mp_nft_field *field) {
  static const unsigned limits[] = {
      [MP_NFT_U8] = 1,    [MP_NFT_U16] = 2,     [MP_NFT_U32] = 4,
      [MP_NFT_S32] = 4,   [MP_NFT_U64] = 8,     [MP_NFT_TEXT] = 255,
      [MP_NFT_DATA] = 64, [MP_NFT_BYTES] = 256, [MP_NFT_NAMES] = 1024};
  return limits[field->type];
}
