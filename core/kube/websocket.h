/* WebSockets of the API server: exec, attach, port-forward. */
#ifndef MP_CORE_KUBE_WEBSOCKET_H
#define MP_CORE_KUBE_WEBSOCKET_H

#include "client.h"
#include "core/websocket.h"

/* As mp_websocket_connect to `path` ("/api/v1/...?container=x"), with the client's server, trust,
 * proxy and credentials; a refusal with 401 is answered once with new credentials, where there can
 * be any. Of options->http only the timeouts count. The client may be closed once it has called
 * back. Everything is copied. Errors as in client.h and core/websocket.h. */
int mp_kube_websocket(mp_kube *kube, const char *path, const mp_websocket_options *options,
                      mp_websocket_connect_cb cb, void *data, mp_op **op, mp_error *err);

#endif
