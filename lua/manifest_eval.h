/* Evaluating a Lua manifest in a process of its own.
 *
 * A manifest is code that anybody may have written, and no hook inside one process stops a
 * `string.find` that backtracks for an hour. So moonport runs itself as a child with this as its
 * main function: limits are set by the kernel, the state has no io, os, require or loader, and all
 * that comes back is data.
 *
 *   moonport __manifest < TEXT
 *
 * Standard output gets one JSON object: {"ok": VALUE}, or
 * {"error": {"message": ..., "line": N, "path": ..., "hint": ...}} where all but the message may be
 * absent. VALUE keeps integers (1) and floats (1.0) apart; a table with the keys 1..n is an array,
 * every other one an object; an empty table is {}. Text must be UTF-8.
 *
 * Manifests see base (without load, dofile, loadfile, require, collectgarbage, print), string
 * (without dump), table, math, utf8, and `secret.file(PATH)`, `secret.env(NAME)`,
 * `secret.command(LIST)`, which give {["$secret"] = {...}}. */
#ifndef MP_LUA_MANIFEST_EVAL_H
#define MP_LUA_MANIFEST_EVAL_H

#include "core/buf.h"

#include <stddef.h>

#define MP_MANIFEST_EVAL_COMMAND "__manifest"
#define MP_MANIFEST_TEXT_MAX ((size_t)4 << 20) /* bytes of source */
#define MP_MANIFEST_HEAP_MAX ((size_t)64 << 20)
#define MP_MANIFEST_CPU_SECONDS 2

/* Evaluates `len` bytes of source and appends the JSON object above. Never fails: what is wrong is
 * in the object. Uses no limits but that of the Lua heap. */
void mp_manifest_eval(const char *text, size_t len, mp_buf *json);

/* The child's main: sets the limits, reads standard input, writes standard output. Returns the
 * process's exit status: 0 when an object was written. */
int mp_manifest_eval_main(void);

#endif
