/* What messages from the kernel are made of: for each kind of object and each expression its
 * attributes, by the numbers of linux/netfilter/nf_tables.h.
 *
 * Reading is ours: libnftnl ends the process (`exit`) when an attribute is not as it expects. */
#ifndef MP_CORE_NFTABLES_SHAPES_H
#define MP_CORE_NFTABLES_SHAPES_H

#include "fields.h"

typedef enum {
  MP_NFT_READ_NUMBER, /* big-endian, of any length up to 8 */
  MP_NFT_READ_SIGNED, /* the same of 32 bits */
  MP_NFT_READ_TEXT,
  MP_NFT_READ_BYTES,
  MP_NFT_READ_VALUE,       /* nested: the bytes of a register, or a verdict */
  MP_NFT_READ_NEST,        /* its attributes are told as if they were here */
  MP_NFT_READ_EXPRESSION,  /* one */
  MP_NFT_READ_EXPRESSIONS, /* a list of such */
  MP_NFT_READ_ELEMENTS,    /* a list of elements */
  MP_NFT_READ_NAMES,       /* a list of texts, told with a NUL between them */
  MP_NFT_READ_PARTS        /* the lengths of a key's parts, told as one byte each */
} mp_nft_reading;

typedef struct mp_nft_shape mp_nft_shape;
struct mp_nft_shape {
  uint16_t number; /* 0 ends a list */
  uint8_t reading;
  const char *name;
  const mp_nft_shape *nest;
};

/* The attributes of a kind, and of an element. */
extern const mp_nft_shape *const mp_nft_shapes[MP_NFT_KINDS];
extern const mp_nft_shape mp_nft_element_shape[];

/* Those of an object that is a counter. */
extern const mp_nft_shape mp_nft_counter_shape[];

/* The attributes of an expression; an empty list where it is unknown. */
const mp_nft_shape *mp_nft_expression_shape(const char *name);

#endif
