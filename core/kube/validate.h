/* What kubectl refuses in a chosen cluster and user, refused with file and line. */
#ifndef MP_CORE_KUBE_VALIDATE_H
#define MP_CORE_KUBE_VALIDATE_H

#include "config.h"

/* Checks the configuration and sets its `base` and `secure`. */
int mp_kube_validate(mp_kube_config *config, mp_kube_fault *fault, mp_error *err);

#endif
