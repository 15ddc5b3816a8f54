/* The commands of moonport-shim. Each returns the exit code. */
#ifndef MP_SHIM_RUN_H
#define MP_SHIM_RUN_H

int mp_shim_command_run(int argc, char **argv);
int mp_shim_command_agent(int argc, char **argv);
int mp_shim_command_exec(int argc, char **argv);
int mp_shim_command_probe(int argc, char **argv);

#endif
