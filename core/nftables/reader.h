/* Messages from nftables, told attribute by attribute to a visitor. What comes is checked: a
 * message that is cut off or not of nftables is an error, and what this libnftnl cannot read is
 * told with its names alone and "unreadable" = 1. Any thread once mp_nft_load has succeeded. */
#ifndef MP_CORE_NFTABLES_READER_H
#define MP_CORE_NFTABLES_READER_H

#include "fields.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  /* A message begins: of this kind, about something new or, where `gone`, removed. Its first number
   * is "sequence", that of the request that it answers. */
  void (*begin)(void *data, mp_nft_kind kind, bool gone, unsigned family);
  void (*number)(void *data, const char *name, int64_t value);
  void (*bytes)(void *data, const char *name, const void *bytes, size_t len);
  /* An element (NULL) or an expression of this name begins, and ends with `leave`. */
  void (*enter)(void *data, const char *expression);
  void (*leave)(void *data);
  void (*end)(void *data);
} mp_nft_visitor;

/* Reads the messages in `bytes`. Those that say how a request went are passed over, and so are
 * messages of kinds that are not known here (flow tables). */
int mp_nft_read(const void *bytes, size_t len, const mp_nft_visitor *visitor, void *data,
                mp_error *err);

/* What a message says about a request. */
typedef enum { MP_NFT_OTHER, MP_NFT_ERROR, MP_NFT_DONE } mp_nft_said;

typedef struct {
  mp_nft_said said;
  bool interrupted;  /* the rules changed while they were listed */
  uint32_t sequence; /* of the request, for an error */
  int errnum;        /* 0: it was accepted */
  const char *text;  /* the kernel's own words, or NULL; valid as long as the message */
} mp_nft_answer;

/* Looks at the message at *bytes, which holds *len more bytes, and moves on to the next. False at
 * the end, also where what is left is no message. */
bool mp_nft_next_answer(const void **bytes, size_t *len, mp_nft_answer *answer);

#endif
