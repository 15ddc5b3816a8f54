/* libnftnl and libmnl, loaded on first use.
 *
 * Loading them costs a script that never touches nftables a tenth of its start, and libnl comes on
 * top; so nothing links them. The members of the table are libnftnl's functions without `nftnl_`,
 * and libmnl's with `mnl_`. */
#ifndef MP_CORE_NFTABLES_API_H
#define MP_CORE_NFTABLES_API_H

#include "core/error.h"

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>

#define MP_NFTNL_FUNCTIONS(X)                                                                      \
  X(batch_begin)                                                                                   \
  X(batch_end)                                                                                     \
  X(nlmsg_build_hdr)                                                                               \
  X(table_alloc)                                                                                   \
  X(table_free)                                                                                    \
  X(table_set_data)                                                                                \
  X(table_nlmsg_build_payload)                                                                     \
  X(chain_alloc)                                                                                   \
  X(chain_free)                                                                                    \
  X(chain_set_data)                                                                                \
  X(chain_set_array)                                                                               \
  X(chain_nlmsg_build_payload)                                                                     \
  X(rule_alloc)                                                                                    \
  X(rule_free)                                                                                     \
  X(rule_set_data)                                                                                 \
  X(rule_add_expr)                                                                                 \
  X(rule_nlmsg_build_payload)                                                                      \
  X(set_alloc)                                                                                     \
  X(set_free)                                                                                      \
  X(set_set_data)                                                                                  \
  X(set_add_expr)                                                                                  \
  X(set_nlmsg_build_payload)                                                                       \
  X(set_elem_alloc)                                                                                \
  X(set_elem_free)                                                                                 \
  X(set_elem_add)                                                                                  \
  X(set_elem_set)                                                                                  \
  X(set_elem_add_expr)                                                                             \
  X(set_elems_iter_create)                                                                         \
  X(set_elems_iter_destroy)                                                                        \
  X(set_elems_nlmsg_build_payload_iter)                                                            \
  X(set_elems_nlmsg_build_payload)                                                                 \
  X(obj_alloc)                                                                                     \
  X(obj_free)                                                                                      \
  X(obj_set_data)                                                                                  \
  X(obj_nlmsg_build_payload)                                                                       \
  X(expr_alloc)                                                                                    \
  X(expr_free)                                                                                     \
  X(expr_set)

#define MP_MNL_FUNCTIONS(X) X(attr_put_u32)

typedef struct {
#define MP_NFTNL_MEMBER(name) __typeof__(&nftnl_##name) name;
  MP_NFTNL_FUNCTIONS(MP_NFTNL_MEMBER)
#undef MP_NFTNL_MEMBER
#define MP_MNL_MEMBER(name) __typeof__(&mnl_##name) mnl_##name;
  MP_MNL_FUNCTIONS(MP_MNL_MEMBER)
#undef MP_MNL_MEMBER
} mp_nft_api;

/* The table, loaded once per process; NULL and an error (domain "nft", code "library") where a
 * library is missing. First called on the loop's thread; the table may be used on any. */
const mp_nft_api *mp_nft_load(mp_error *err);

#endif
