/* nftables: sockets to the kernel, batches that are taken whole or not at all, lists, and events.
 *
 * A socket acts in one network namespace for as long as it lives. Requests run on the thread pool,
 * one after another for each socket: a transaction may wait for another program's. They follow
 * core/op.h; one that has begun is finished even when it is cancelled meanwhile, and then reported
 * as it went. Error domain "nft"; codes are errno names, "library", "interrupted".
 *
 * Stands on libnftnl and libmnl and linux/netfilter/nf_tables.h. Loop thread only. */
#ifndef MP_CORE_NFTABLES_NFTABLES_H
#define MP_CORE_NFTABLES_NFTABLES_H

#include "core/buf.h"
#include "core/loop.h"
#include "writer.h"

#include <stdbool.h>

typedef struct mp_nft mp_nft;

/* Opens a socket in a network namespace: NULL for ours, else as mp_netns_open takes it. */
int mp_nft_open(const char *netns, mp_nft **nft, mp_error *err);

/* What is under way is still finished and reported. */
void mp_nft_close(mp_nft *nft);

/* What events name as the `port` of the transactions made by it. */
uint32_t mp_nft_port(const mp_nft *nft);

typedef struct {
  /* apply: what the kernel said of what was made, where `echo` was asked for. list: all answers. */
  mp_buf messages;     /* for mp_nft_read; its owner may take it */
  uint32_t generation; /* list: that of the rules that were listed */
  /* On failure: */
  int64_t
      refused; /* the number of the message that the kernel refused, -1: it was not one message */
  uint32_t others; /* how many more were refused */
} mp_nft_result;

/* result: valid during the call, also on failure. */
typedef void (*mp_nft_cb)(void *data, mp_nft_result *result, const mp_error *err);

typedef struct {
  bool echo;       /* tell what was made, with its handles */
  bool only_after; /* refuse with ERESTART where the rules are not of `generation` any more */
  uint32_t generation;
} mp_nft_apply_options;

/* Applies what was written, in one transaction. `writer` is emptied and stays the caller's. */
mp_op *mp_nft_apply(mp_nft *nft, mp_loop *loop, mp_nft_writer *writer,
                    const mp_nft_apply_options *options, mp_nft_cb cb, void *data);

/* Asks what was written (MP_NFT_LIST), all of it of one generation of the rules. The answers to
 * question N have the sequence number N. Code "interrupted" where the rules change too often. */
mp_op *mp_nft_list(mp_nft *nft, mp_loop *loop, mp_nft_writer *writer, mp_nft_cb cb, void *data);

/* -- Events ----------------------------------------------------------------------------------- */

typedef struct mp_nft_monitor mp_nft_monitor;

typedef enum {
  MP_NFT_CHANGES, /* of the rules */
  MP_NFT_TRACES   /* of packets for which a rule has set `nftrace` */
} mp_nft_events;

/* Called when there are events: messages for mp_nft_read, a transaction's ending with a generation.
 * lost: the kernel dropped some before these. On err nothing more comes. May close the monitor. */
typedef void (*mp_nft_events_cb)(void *data, const mp_buf *messages, bool lost,
                                 const mp_error *err);

/* Begins to listen, and to hold back what comes until it is asked for. */
int mp_nft_monitor_open(mp_loop *loop, const char *netns, mp_nft_events events,
                        mp_nft_events_cb on_events, void *data, mp_nft_monitor **monitor,
                        mp_error *err);

/* Asks for events: on_events is called once, when there are some. The kernel keeps them until then.
 */
void mp_nft_monitor_ask(mp_nft_monitor *monitor);

/* Takes the question back: no callback until it is asked again, and nothing is lost. */
void mp_nft_monitor_cease(mp_nft_monitor *monitor);

/* No callback after this. */
void mp_nft_monitor_close(mp_nft_monitor *monitor);

#endif
