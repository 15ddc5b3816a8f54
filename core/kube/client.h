/* A Kubernetes API server as one configured client: where it is, how it is trusted, who we are.
 * Knows nothing of the API's objects; mp.kube does.
 *
 *   config -> mp_kube_open -> mp_kube_send (a whole exchange), or for other users of
 * mp_http_options (WebSockets): mp_kube_prepare -> mp_kube_fill -> mp_http_start or the like
 *
 * Credentials are had when a request needs them: files are looked at (at most once a second) and
 * read again when they have changed; an exec plugin runs before the first request, shortly before
 * its credentials expire, and once after a 401. Requests that need the same wait for one run.
 *
 * Error domain: "kube" with the codes
 *   config        the configuration says something unusable
 *   credentials   a plugin or a file did not give any; the message holds what the plugin said
 *   closed        the client was closed
 * and "http" for the transport, with hints that name the fields of the kubeconfig.
 *
 * Everything runs on the loop's thread. Operations follow core/op.h. */
#ifndef MP_CORE_KUBE_CLIENT_H
#define MP_CORE_KUBE_CLIENT_H

#include "config.h"
#include "core/http.h"
#include "core/loop.h"
#include "core/op.h"

#define MP_KUBE_CREDENTIALS "credentials" /* error code */

typedef struct mp_kube mp_kube;

/* No I/O yet. Takes a reference to the configuration. */
mp_kube *mp_kube_open(mp_loop *loop, mp_kube_config *config);

/* stdin_is_free: whether an exec plugin may have the terminal to ask a person; without it, whenever
 * there is one. */
void mp_kube_set_stdin(mp_kube *kube, bool (*stdin_is_free)(void));

/* What waits for credentials ends with MP_CANCELLED; exchanges under way go on. NULL is fine. */
void mp_kube_close(mp_kube *kube);

const mp_kube_config *mp_kube_config_of(const mp_kube *kube);

/* ---- one exchange --------------------------------------------------------------------------- */

/* http: the caller's, with its response there (headers, where it is streamed); NULL on error. The
 * client exists until the callback returns, also where it was closed meanwhile. */
typedef void (*mp_kube_send_cb)(void *data, mp_http *http, const mp_error *err);

/* Sends `request`, whose url is a path with its query ("/api/v1/pods?limit=500"). Server, trust,
 * proxy and credentials are the client's, as are User-Agent, Accept and whom to impersonate where
 * the request's headers do not say otherwise. After a 401 it gets new credentials once, where there
 * can be any, and sends again; a 401 after that is a response like any other, and so is a redirect:
 * none is followed. The body is in memory
 * or a file. Everything is copied. As many requests as one connection carries wait for their
 * answers at once, and further ones for their turn; their timeouts count from that. */
int mp_kube_send(mp_kube *kube, const mp_http_options *request, mp_kube_send_cb cb, void *data,
                 mp_op **op, mp_error *err);

/* ---- for other transports ------------------------------------------------------------------- */

/* True where credentials are at hand: mp_kube_fill may be called without preparing. */
bool mp_kube_is_ready(const mp_kube *kube);

typedef void (*mp_kube_cb)(void *data, const mp_error *err);

/* Gets what a request needs. In the callback without an error, mp_kube_fill works. */
int mp_kube_prepare(mp_kube *kube, mp_kube_cb cb, void *data, mp_op **op, mp_error *err);

/* Completes *options, which come from MP_HTTP_OPTIONS_INIT and may have headers, timeouts and the
 * rest set: url (from the path), TLS, proxy, and our headers added to the caller's. What it points
 * to is the client's and valid until the next call on it or the next turn of the loop;
 * mp_http_start copies it. Error: the path does not begin with a slash. */
int mp_kube_fill(mp_kube *kube, const char *path, mp_http_options *options, mp_error *err);

/* Which credentials mp_kube_fill gives out now: another number whenever they are others. */
unsigned mp_kube_round(const mp_kube *kube);

/* Tells that the server answered 401 to what was filled in `round`. True: call mp_kube_prepare, and
 * where mp_kube_round has changed then, fill and send once more. False: there can be no others. */
bool mp_kube_refused(mp_kube *kube, unsigned round);

/* Gives an error of the transport ("tls", "connect", "proxy", ...) a hint that names the field of
 * the kubeconfig with its file and line. Leaves other errors alone. */
void mp_kube_explain_error(const mp_kube *kube, mp_error *err);

/* What can be told here of why the server may have answered 401: which credentials they are, by
 * field, file and line, and whether they have expired. The caller frees it. */
char *mp_kube_explain_refusal(const mp_kube *kube);

#endif
