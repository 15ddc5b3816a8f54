/* Registration mode: the one-shot run in which a blueprint says what the operator registers with.
 * The payload is one JSON object; it appears at its path whole or not at all. */
#ifndef SQUARING_REGISTRATION_H
#define SQUARING_REGISTRATION_H

#include "config.h"
#include "reason.h"

int registration_write(const config *c, reason *why);

#endif
