#include "shapes.h"

#include <linux/netfilter/nf_tables.h>
#include <string.h>

#define SHAPE(name) static const mp_nft_shape name[]
#define NUMBER(number, name)                                                                       \
  { number, MP_NFT_READ_NUMBER, name, NULL }
#define SIGNED(number, name)                                                                       \
  { number, MP_NFT_READ_SIGNED, name, NULL }
#define TEXT(number, name)                                                                         \
  { number, MP_NFT_READ_TEXT, name, NULL }
#define BYTES(number, name)                                                                        \
  { number, MP_NFT_READ_BYTES, name, NULL }
#define VALUE(number, name)                                                                        \
  { number, MP_NFT_READ_VALUE, name, NULL }
#define NEST(number, shape)                                                                        \
  { number, MP_NFT_READ_NEST, NULL, shape }
#define OTHER(number, reading, name)                                                               \
  { number, reading, name, NULL }
#define END                                                                                        \
  { 0, 0, NULL, NULL }

/* -- Objects ---------------------------------------------------------------------------------- */

SHAPE(table) = {TEXT(NFTA_TABLE_NAME, "name"),
                NUMBER(NFTA_TABLE_FLAGS, "flags"),
                NUMBER(NFTA_TABLE_USE, "use"),
                NUMBER(NFTA_TABLE_HANDLE, "handle"),
                BYTES(NFTA_TABLE_USERDATA, "userdata"),
                NUMBER(NFTA_TABLE_OWNER, "owner"),
                END};

SHAPE(hook) = {NUMBER(NFTA_HOOK_HOOKNUM, "hook"), SIGNED(NFTA_HOOK_PRIORITY, "priority"),
               TEXT(NFTA_HOOK_DEV, "device"), OTHER(NFTA_HOOK_DEVS, MP_NFT_READ_NAMES, "devices"),
               END};

const mp_nft_shape mp_nft_counter_shape[] = {NUMBER(NFTA_COUNTER_BYTES, "bytes"),
                                             NUMBER(NFTA_COUNTER_PACKETS, "packets"), END};

SHAPE(chain) = {TEXT(NFTA_CHAIN_TABLE, "table"),
                NUMBER(NFTA_CHAIN_HANDLE, "handle"),
                TEXT(NFTA_CHAIN_NAME, "name"),
                NEST(NFTA_CHAIN_HOOK, hook),
                NUMBER(NFTA_CHAIN_POLICY, "policy"),
                NUMBER(NFTA_CHAIN_USE, "use"),
                TEXT(NFTA_CHAIN_TYPE, "type"),
                NEST(NFTA_CHAIN_COUNTERS, mp_nft_counter_shape),
                NUMBER(NFTA_CHAIN_FLAGS, "flags"),
                BYTES(NFTA_CHAIN_USERDATA, "userdata"),
                END};

SHAPE(rule) = {TEXT(NFTA_RULE_TABLE, "table"),
               TEXT(NFTA_RULE_CHAIN, "chain"),
               NUMBER(NFTA_RULE_HANDLE, "handle"),
               OTHER(NFTA_RULE_EXPRESSIONS, MP_NFT_READ_EXPRESSIONS, "exprs"),
               NUMBER(NFTA_RULE_POSITION, "position"),
               BYTES(NFTA_RULE_USERDATA, "userdata"),
               END};

SHAPE(description) = {NUMBER(NFTA_SET_DESC_SIZE, "size"),
                      OTHER(NFTA_SET_DESC_CONCAT, MP_NFT_READ_PARTS, "parts"), END};

SHAPE(set) = {TEXT(NFTA_SET_TABLE, "table"),
              TEXT(NFTA_SET_NAME, "name"),
              NUMBER(NFTA_SET_FLAGS, "flags"),
              NUMBER(NFTA_SET_KEY_TYPE, "key_type"),
              NUMBER(NFTA_SET_KEY_LEN, "key_len"),
              NUMBER(NFTA_SET_DATA_TYPE, "data_type"),
              NUMBER(NFTA_SET_DATA_LEN, "data_len"),
              NUMBER(NFTA_SET_POLICY, "policy"),
              NEST(NFTA_SET_DESC, description),
              NUMBER(NFTA_SET_TIMEOUT, "timeout"),
              NUMBER(NFTA_SET_GC_INTERVAL, "gc_interval"),
              BYTES(NFTA_SET_USERDATA, "userdata"),
              NUMBER(NFTA_SET_OBJ_TYPE, "object_type"),
              NUMBER(NFTA_SET_HANDLE, "handle"),
              OTHER(NFTA_SET_EXPR, MP_NFT_READ_EXPRESSION, "exprs"),
              OTHER(NFTA_SET_EXPRESSIONS, MP_NFT_READ_EXPRESSIONS, "exprs"),
              END};

SHAPE(elements) = {TEXT(NFTA_SET_ELEM_LIST_TABLE, "table"), TEXT(NFTA_SET_ELEM_LIST_SET, "name"),
                   OTHER(NFTA_SET_ELEM_LIST_ELEMENTS, MP_NFT_READ_ELEMENTS, "elements"), END};

const mp_nft_shape mp_nft_element_shape[] = {
    VALUE(NFTA_SET_ELEM_KEY, "key"),
    VALUE(NFTA_SET_ELEM_KEY_END, "key_end"),
    VALUE(NFTA_SET_ELEM_DATA, "data"),
    NUMBER(NFTA_SET_ELEM_FLAGS, "flags"),
    NUMBER(NFTA_SET_ELEM_TIMEOUT, "timeout"),
    NUMBER(NFTA_SET_ELEM_EXPIRATION, "expiration"),
    BYTES(NFTA_SET_ELEM_USERDATA, "userdata"),
    TEXT(NFTA_SET_ELEM_OBJREF, "object"),
    OTHER(NFTA_SET_ELEM_EXPR, MP_NFT_READ_EXPRESSION, "exprs"),
    OTHER(NFTA_SET_ELEM_EXPRESSIONS, MP_NFT_READ_EXPRESSIONS, "exprs"),
    END};

/* What is in NFTA_OBJ_DATA depends on the type: the reader looks there for counters. */
SHAPE(object) = {TEXT(NFTA_OBJ_TABLE, "table"),
                 TEXT(NFTA_OBJ_NAME, "name"),
                 NUMBER(NFTA_OBJ_TYPE, "type"),
                 NUMBER(NFTA_OBJ_USE, "use"),
                 NUMBER(NFTA_OBJ_HANDLE, "handle"),
                 BYTES(NFTA_OBJ_USERDATA, "userdata"),
                 END};

SHAPE(generation) = {NUMBER(NFTA_GEN_ID, "generation"), NUMBER(NFTA_GEN_PROC_PID, "pid"),
                     TEXT(NFTA_GEN_PROC_NAME, "process"), END};

SHAPE(trace_verdict) = {SIGNED(NFTA_VERDICT_CODE, "verdict"), TEXT(NFTA_VERDICT_CHAIN, "target"),
                        END};

/* Headers are told as the packet has them, cut off where the kernel cuts them. */
SHAPE(trace) = {TEXT(NFTA_TRACE_TABLE, "table"),
                TEXT(NFTA_TRACE_CHAIN, "chain"),
                NUMBER(NFTA_TRACE_RULE_HANDLE, "handle"),
                NUMBER(NFTA_TRACE_TYPE, "type"),
                NEST(NFTA_TRACE_VERDICT, trace_verdict),
                NUMBER(NFTA_TRACE_ID, "id"),
                BYTES(NFTA_TRACE_LL_HEADER, "link"),
                BYTES(NFTA_TRACE_NETWORK_HEADER, "network"),
                BYTES(NFTA_TRACE_TRANSPORT_HEADER, "transport"),
                NUMBER(NFTA_TRACE_IIF, "iif"),
                NUMBER(NFTA_TRACE_OIF, "oif"),
                NUMBER(NFTA_TRACE_MARK, "mark"),
                NUMBER(NFTA_TRACE_NFPROTO, "nfproto"),
                SIGNED(NFTA_TRACE_POLICY, "policy"),
                END};

const mp_nft_shape *const mp_nft_shapes[MP_NFT_KINDS] = {table,    chain,  rule,       set,
                                                         elements, object, generation, trace};

/* -- Expressions ------------------------------------------------------------------------------ */

SHAPE(meta) = {NUMBER(NFTA_META_KEY, "key"), NUMBER(NFTA_META_DREG, "dreg"),
               NUMBER(NFTA_META_SREG, "sreg"), END};
SHAPE(payload) = {NUMBER(NFTA_PAYLOAD_DREG, "dreg"), NUMBER(NFTA_PAYLOAD_SREG, "sreg"),
                  NUMBER(NFTA_PAYLOAD_BASE, "base"), NUMBER(NFTA_PAYLOAD_OFFSET, "offset"),
                  NUMBER(NFTA_PAYLOAD_LEN, "len"),   END};
SHAPE(cmp) = {NUMBER(NFTA_CMP_SREG, "sreg"), NUMBER(NFTA_CMP_OP, "op"),
              VALUE(NFTA_CMP_DATA, "data"), END};
SHAPE(range) = {NUMBER(NFTA_RANGE_SREG, "sreg"), NUMBER(NFTA_RANGE_OP, "op"),
                VALUE(NFTA_RANGE_FROM_DATA, "from"), VALUE(NFTA_RANGE_TO_DATA, "to"), END};
SHAPE(bitwise) = {NUMBER(NFTA_BITWISE_SREG, "sreg"), NUMBER(NFTA_BITWISE_DREG, "dreg"),
                  NUMBER(NFTA_BITWISE_LEN, "len"),   NUMBER(NFTA_BITWISE_OP, "op"),
                  VALUE(NFTA_BITWISE_MASK, "mask"),  VALUE(NFTA_BITWISE_XOR, "xor"),
                  VALUE(NFTA_BITWISE_DATA, "data"),  END};
SHAPE(byteorder) = {NUMBER(NFTA_BYTEORDER_SREG, "sreg"), NUMBER(NFTA_BYTEORDER_DREG, "dreg"),
                    NUMBER(NFTA_BYTEORDER_OP, "op"),     NUMBER(NFTA_BYTEORDER_LEN, "len"),
                    NUMBER(NFTA_BYTEORDER_SIZE, "size"), END};
SHAPE(immediate) = {NUMBER(NFTA_IMMEDIATE_DREG, "dreg"), VALUE(NFTA_IMMEDIATE_DATA, "data"), END};
SHAPE(lookup) = {TEXT(NFTA_LOOKUP_SET, "set"), NUMBER(NFTA_LOOKUP_SREG, "sreg"),
                 NUMBER(NFTA_LOOKUP_DREG, "dreg"), NUMBER(NFTA_LOOKUP_FLAGS, "flags"), END};
SHAPE(ct) = {NUMBER(NFTA_CT_KEY, "key"), NUMBER(NFTA_CT_DREG, "dreg"), NUMBER(NFTA_CT_SREG, "sreg"),
             NUMBER(NFTA_CT_DIRECTION, "direction"), END};
SHAPE(fib) = {NUMBER(NFTA_FIB_DREG, "dreg"), NUMBER(NFTA_FIB_RESULT, "result"),
              NUMBER(NFTA_FIB_FLAGS, "flags"), END};
SHAPE(objref) = {NUMBER(NFTA_OBJREF_IMM_TYPE, "type"), TEXT(NFTA_OBJREF_IMM_NAME, "name"),
                 NUMBER(NFTA_OBJREF_SET_SREG, "sreg"), TEXT(NFTA_OBJREF_SET_NAME, "set"), END};
SHAPE(nat) = {NUMBER(NFTA_NAT_TYPE, "type"),
              NUMBER(NFTA_NAT_FAMILY, "family"),
              NUMBER(NFTA_NAT_REG_ADDR_MIN, "address"),
              NUMBER(NFTA_NAT_REG_ADDR_MAX, "address_end"),
              NUMBER(NFTA_NAT_REG_PROTO_MIN, "port"),
              NUMBER(NFTA_NAT_REG_PROTO_MAX, "port_end"),
              NUMBER(NFTA_NAT_FLAGS, "flags"),
              END};
SHAPE(masq) = {NUMBER(NFTA_MASQ_FLAGS, "flags"), NUMBER(NFTA_MASQ_REG_PROTO_MIN, "port"),
               NUMBER(NFTA_MASQ_REG_PROTO_MAX, "port_end"), END};
SHAPE(redir) = {NUMBER(NFTA_REDIR_REG_PROTO_MIN, "port"),
                NUMBER(NFTA_REDIR_REG_PROTO_MAX, "port_end"), NUMBER(NFTA_REDIR_FLAGS, "flags"),
                END};
SHAPE(reject) = {NUMBER(NFTA_REJECT_TYPE, "type"), NUMBER(NFTA_REJECT_ICMP_CODE, "code"), END};
SHAPE(limit) = {NUMBER(NFTA_LIMIT_RATE, "rate"),   NUMBER(NFTA_LIMIT_UNIT, "unit"),
                NUMBER(NFTA_LIMIT_BURST, "burst"), NUMBER(NFTA_LIMIT_TYPE, "type"),
                NUMBER(NFTA_LIMIT_FLAGS, "flags"), END};
SHAPE(log) = {NUMBER(NFTA_LOG_GROUP, "group"),
              TEXT(NFTA_LOG_PREFIX, "prefix"),
              NUMBER(NFTA_LOG_SNAPLEN, "snaplen"),
              NUMBER(NFTA_LOG_QTHRESHOLD, "threshold"),
              NUMBER(NFTA_LOG_LEVEL, "level"),
              NUMBER(NFTA_LOG_FLAGS, "flags"),
              END};
SHAPE(quota) = {NUMBER(NFTA_QUOTA_BYTES, "bytes"), NUMBER(NFTA_QUOTA_FLAGS, "flags"),
                NUMBER(NFTA_QUOTA_CONSUMED, "consumed"), END};
SHAPE(connlimit) = {NUMBER(NFTA_CONNLIMIT_COUNT, "count"), NUMBER(NFTA_CONNLIMIT_FLAGS, "flags"),
                    END};
/* Of iptables-nft (linux/netfilter/nf_tables_compat.h): what is in their data, only xtables knows.
 */
SHAPE(compat) = {TEXT(1, "name"), NUMBER(2, "revision"), END};
SHAPE(nothing) = {END};

const mp_nft_shape *mp_nft_expression_shape(const char *name) {
  static const struct {
    const char *name;
    const mp_nft_shape *shape;
  } all[] = {{"meta", meta},       {"payload", payload},
             {"cmp", cmp},         {"range", range},
             {"bitwise", bitwise}, {"byteorder", byteorder},
             {"lookup", lookup},   {"immediate", immediate},
             {"ct", ct},           {"fib", fib},
             {"objref", objref},   {"counter", mp_nft_counter_shape},
             {"nat", nat},         {"masq", masq},
             {"redir", redir},     {"reject", reject},
             {"limit", limit},     {"log", log},
             {"quota", quota},     {"match", compat},
             {"target", compat},   {"connlimit", connlimit}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (strcmp(all[i].name, name) == 0)
      return all[i].shape;
  }
  return nothing;
}
