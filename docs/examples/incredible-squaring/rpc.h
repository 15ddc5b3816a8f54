/* The one JSON-RPC call this service makes: eth_blockNumber. */
#ifndef SQUARING_RPC_H
#define SQUARING_RPC_H

#include "reason.h"
#include "url.h"

#include <stddef.h>
#include <stdint.h>

/* Writes the whole HTTP request. Returns its length. A buffer of RPC_REQUEST_MAX always does. */
#define RPC_REQUEST_MAX 1280
size_t rpc_block_number_request(char out[RPC_REQUEST_MAX], const url *to, uint32_t id);

/* Reads the body of the answer to request `id`. A JSON-RPC error, another id, a result that is not
 * a quantity of at most 64 bits: all give -1 with *why. */
int rpc_block_number_answer(uint64_t *block, const char *body, size_t len, uint32_t id,
                            reason *why);

#endif
