/* The effect gate.
 *
 * Every primitive that changes the world asks first. The gate belongs to a task and its children;
 * while it is shut (a step's `plan`, a recipe being loaded), the primitive raises an error that
 * names the call, and nothing happens. There is no way to open it again from inside. */
#ifndef MP_LUA_GATE_H
#define MP_LUA_GATE_H

#include <lua.h>
#include <stdbool.h>

/* Raises {kind="gate", code="refused"} when the running task's gate is shut.
 * call: the function as scripts call it ("fs.write"). format: what it would have done to what
 * ("write `%s`"), may be NULL. */
void mp_gate(lua_State *L, const char *call, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True while the running task's gate is shut. */
bool mp_gate_is_shut(lua_State *L);

/* Puts the stock writers of io and os behind the gate: io.open and io.output for writing, io.popen,
 * os.execute, os.remove, os.rename, os.tmpname, file:write, C module loading. */
void mp_gate_stock_libraries(lua_State *L);

#endif
