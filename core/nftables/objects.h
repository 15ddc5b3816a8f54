/* libnftnl's objects behind one set of functions, whatever their kind. Elements are a set. */
#ifndef MP_CORE_NFTABLES_OBJECTS_H
#define MP_CORE_NFTABLES_OBJECTS_H

#include "fields.h"

#include <stdbool.h>

/* An empty object; aborts where there is no memory. Released with mp_nft_object_free. */
void *mp_nft_object_new(const mp_nft_api *api, mp_nft_kind kind);
void mp_nft_object_free(const mp_nft_api *api, mp_nft_kind kind, void *object);

/* -1 where libnftnl does not take it. */
int mp_nft_object_set(const mp_nft_api *api, mp_nft_kind kind, void *object, uint16_t attribute,
                      const void *data, uint32_t len);

/* Writes it behind the header of `nlh`; elements are not written by this. */
void mp_nft_object_build(const mp_nft_api *api, mp_nft_kind kind, void *object,
                         struct nlmsghdr *nlh);

/* Aborts, as mp_alloc does, where libnftnl had no memory. */
void *mp_nft_made(void *object);

#endif
