/* An operation under way.
 *
 * Contract of every asynchronous call in core/:
 *  - The starting function returns 0 and an operation, or -1 and an error; after -1 the callback is
 *    never called.
 *  - The callback runs exactly once, on the loop's thread, never before the starting function has
 *    returned. Handlers that may run several times are called `on_<event>`.
 *  - mp_op_cancel asks for an early end. The callback still runs (later, never from within the
 *    cancel) with an error whose code is MP_CANCELLED, or with the result if that came first.
 *  - The operation belongs to its module and is invalid once its callback has returned. */
#ifndef MP_CORE_OP_H
#define MP_CORE_OP_H

typedef struct mp_op mp_op;
struct mp_op {
  void (*cancel)(mp_op *op);
};

/* Asks `op` to end early. Harmless when repeated before the callback has run. */
static inline void mp_op_cancel(mp_op *op) {
  op->cancel(op);
}

#endif
