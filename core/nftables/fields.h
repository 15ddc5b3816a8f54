/* What nftables' objects and expressions are made of: for each the attributes by name, with their
 * number in libnftnl and their type. The writer knows no others. */
#ifndef MP_CORE_NFTABLES_FIELDS_H
#define MP_CORE_NFTABLES_FIELDS_H

#include "api.h"

#include <stdint.h>

typedef enum {
  MP_NFT_U8,
  MP_NFT_U16,
  MP_NFT_U32,
  MP_NFT_S32,
  MP_NFT_U64,
  MP_NFT_TEXT,  /* ends with a NUL in the kernel's form, not in ours */
  MP_NFT_DATA,  /* the bytes of a register: at most 64 */
  MP_NFT_BYTES, /* at most 256 */
  MP_NFT_NAMES  /* of network interfaces, with a NUL between them; chains only */
} mp_nft_type;

typedef struct {
  const char *name; /* NULL ends a list */
  uint16_t number;
  uint8_t type;
} mp_nft_field;

typedef struct {
  const char *name;
  const mp_nft_field *fields;
} mp_nft_expression;

typedef enum {
  MP_NFT_TABLE,
  MP_NFT_CHAIN,
  MP_NFT_RULE,
  MP_NFT_SET,
  MP_NFT_ELEMENTS,
  MP_NFT_OBJECT,
  MP_NFT_GENERATION, /* only read, like what follows */
  MP_NFT_TRACE,      /* what a rule, a policy or a chain's end did with one packet */
  MP_NFT_KINDS
} mp_nft_kind;

/* "table", "chain", "rule", "set", "elements", "object", "generation", "trace". */
extern const char *const mp_nft_kind_names[MP_NFT_KINDS];

/* The kind with this name, MP_NFT_KINDS where there is none. */
mp_nft_kind mp_nft_kind_named(const char *name);

/* The attributes of a kind (for elements: of the set that they are in), and of an element. */
const mp_nft_field *mp_nft_fields_of(mp_nft_kind kind);
extern const mp_nft_field mp_nft_element_fields[];

/* The expression with this name, NULL where it is unknown. */
const mp_nft_expression *mp_nft_expression_named(const char *name);

/* The attribute with this name, NULL where it is unknown. */
const mp_nft_field *mp_nft_field_named(const mp_nft_field *fields, const char *name);

/* The most bytes that an attribute may have. */
unsigned mp_nft_field_limit(const mp_nft_field *field);

#endif
