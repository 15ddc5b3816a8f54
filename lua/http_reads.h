/* Requests that look like writes and only read, so that a shut gate lets them pass. */
#ifndef MP_LUA_HTTP_READS_H
#define MP_LUA_HTTP_READS_H

#include "core/http.h"

/* True for GET, HEAD and OPTIONS; for JSON-RPC calls that all read (also in a batch); for what the
 * Kubernetes API only tries (dryRun=All) or answers (access reviews). */
bool mp_http_only_reads(const mp_http_options *options);

/* The same of a request to a Kubernetes API, to which JSON-RPC means nothing: it would take a call
 * that holds the fields of an object as well for that object. */
bool mp_kube_only_reads(const mp_http_options *options);

#endif
