/* Until when certificates and tokens are valid. Callable from any thread. */
#ifndef MP_CORE_KUBE_LIFETIME_H
#define MP_CORE_KUBE_LIFETIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seconds since 1970. */
typedef struct {
  int64_t from, until;
} mp_kube_lifetime;

/* Of the first certificate (X.509) in the PEM; false where none can be read. */
bool mp_kube_certificate_lifetime(const char *pem, size_t len, mp_kube_lifetime *lifetime);

/* Of a JSON Web Token, by its `nbf` and `exp`; false where it is no such token or has no `exp`. */
bool mp_kube_token_lifetime(const char *token, size_t len, mp_kube_lifetime *lifetime);

#endif
