#include "objects.h"

#include "core/mem.h"

#include <stdint.h>

void *mp_nft_made(void *object) {
  return object ? object : mp_calloc(SIZE_MAX, 2);
}

void *mp_nft_object_new(const mp_nft_api *api, mp_nft_kind kind) {
  switch (kind) {
  case MP_NFT_TABLE:
    return mp_nft_made(api->table_alloc());
  case MP_NFT_CHAIN:
    return mp_nft_made(api->chain_alloc());
  case MP_NFT_RULE:
    return mp_nft_made(api->rule_alloc());
  case MP_NFT_OBJECT:
    return mp_nft_made(api->obj_alloc());
  default:
    return mp_nft_made(api->set_alloc());
  }
}

void mp_nft_object_free(const mp_nft_api *api, mp_nft_kind kind, void *object) {
  switch (kind) {
  case MP_NFT_TABLE:
    api->table_free(object);
    break;
  case MP_NFT_CHAIN:
    api->chain_free(object);
    break;
  case MP_NFT_RULE:
    api->rule_free(object);
    break;
  case MP_NFT_OBJECT:
    api->obj_free(object);
    break;
  default:
    api->set_free(object);
  }
}

int mp_nft_object_set(const mp_nft_api *api, mp_nft_kind kind, void *object, uint16_t attribute,
                      const void *data, uint32_t len) {
  switch (kind) {
  case MP_NFT_TABLE:
    return api->table_set_data(object, attribute, data, len);
  case MP_NFT_CHAIN:
    return api->chain_set_data(object, attribute, data, len);
  case MP_NFT_RULE:
    return api->rule_set_data(object, attribute, data, len);
  case MP_NFT_OBJECT:
    api->obj_set_data(object, attribute, data, len);
    return 0;
  default:
    return api->set_set_data(object, attribute, data, len);
  }
}

void mp_nft_object_build(const mp_nft_api *api, mp_nft_kind kind, void *object,
                         struct nlmsghdr *nlh) {
  switch (kind) {
  case MP_NFT_TABLE:
    api->table_nlmsg_build_payload(nlh, object);
    break;
  case MP_NFT_CHAIN:
    api->chain_nlmsg_build_payload(nlh, object);
    break;
  case MP_NFT_RULE:
    api->rule_nlmsg_build_payload(nlh, object);
    break;
  case MP_NFT_OBJECT:
    api->obj_nlmsg_build_payload(nlh, object);
    break;
  case MP_NFT_ELEMENTS:
    api->set_elems_nlmsg_build_payload(nlh, object);
    break;
  default:
    api->set_nlmsg_build_payload(nlh, object);
  }
}
