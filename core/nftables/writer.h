/* Messages to nftables, written attribute by attribute.
 *
 *   mp_nft_writer_begin(w, MP_NFT_RULE, MP_NFT_ADD, NFPROTO_INET, &err);
 *   mp_nft_writer_bytes(w, "table", "moon", 4, &err);
 *   mp_nft_writer_bytes(w, "chain", "input", 5, &err);
 *   mp_nft_writer_enter(w, "immediate", &err);            // an expression
 *   mp_nft_writer_number(w, "verdict", NF_ACCEPT, &err);
 *   mp_nft_writer_leave(w);
 *   mp_nft_writer_end(w, &err);
 *
 * Attributes go to the innermost thing that was entered. Elements of a set are entered with NULL
 * for a name, their expressions within them. A message that failed is dropped and the writer is of
 * no more use; what it holds is released with it. Loop thread only. */
#ifndef MP_CORE_NFTABLES_WRITER_H
#define MP_CORE_NFTABLES_WRITER_H

#include "core/buf.h"
#include "fields.h"

typedef enum {
  MP_NFT_ADD,     /* there may be one already; rules go to the end */
  MP_NFT_CREATE,  /* there must be none */
  MP_NFT_INSERT,  /* rules: at the beginning */
  MP_NFT_REPLACE, /* rules: the one with this handle */
  MP_NFT_DELETE,  /* of rules without a handle: all of the chain, or of the table */
  MP_NFT_LIST,    /* a question: all that there is of the kind, narrowed by table, chain, name */
  MP_NFT_ACTIONS
} mp_nft_action;

/* "add", "create", "insert", "replace", "delete", "list". */
mp_nft_action mp_nft_action_named(const char *name);

typedef struct mp_nft_writer mp_nft_writer;

/* NULL and an error (domain "nft") where the libraries are missing. */
mp_nft_writer *mp_nft_writer_new(mp_error *err);
void mp_nft_writer_free(mp_nft_writer *writer);

int mp_nft_writer_begin(mp_nft_writer *writer, mp_nft_kind kind, mp_nft_action action,
                        unsigned family, mp_error *err);
int mp_nft_writer_number(mp_nft_writer *writer, const char *name, int64_t value, mp_error *err);
int mp_nft_writer_bytes(mp_nft_writer *writer, const char *name, const void *data, size_t len,
                        mp_error *err);
int mp_nft_writer_enter(mp_nft_writer *writer, const char *expression, mp_error *err);
void mp_nft_writer_leave(mp_nft_writer *writer);
int mp_nft_writer_end(mp_nft_writer *writer, mp_error *err);

/* How many messages (as begun and ended) it holds; they are numbered from 0. */
uint32_t mp_nft_writer_count(const mp_nft_writer *writer);

/* Moves what was written to *messages: netlink messages one after another, each with the number of
 * its message as sequence number (long lists of elements take several). The writer is empty then.
 */
void mp_nft_writer_take(mp_nft_writer *writer, mp_buf *messages);

#endif
