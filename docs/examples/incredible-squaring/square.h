/* The computation this whole service exists for. */
#ifndef SQUARING_SQUARE_H
#define SQUARING_SQUARE_H

#include <stdint.h>

/* (2^64 - 1)^2 has 39 digits. */
#define SQUARE_SIZE 40

/* Writes the exact square of `number` in decimal. */
void square(char out[SQUARE_SIZE], uint64_t number);

#endif
