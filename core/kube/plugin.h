/* Running an exec credential plugin. */
#ifndef MP_CORE_KUBE_PLUGIN_H
#define MP_CORE_KUBE_PLUGIN_H

#include "core/loop.h"
#include "core/op.h"
#include "exec_credential.h"

/* credential: to be moved out (copied and zeroed) by the callback; NULL on error. */
typedef void (*mp_kube_plugin_cb)(void *data, mp_kube_exec_credential *credential,
                                  const mp_error *err);

/* Runs the plugin of the chosen user with our environment and what its entry adds. Where it may ask
 * the person at the terminal it gets that (its mode, `stdin_is_free` and whether standard input is
 * a terminal decide); else its standard input is empty, its standard error is kept for the error,
 * and it has a minute. ca: see mp_kube_exec_info.
 * Errors: domain "kube", code "credentials". */
int mp_kube_plugin_run(mp_loop *loop, const mp_kube_config *config, bool stdin_is_free,
                       const char *ca, size_t ca_len, mp_kube_plugin_cb cb, void *data, mp_op **op,
                       mp_error *err);

#endif
