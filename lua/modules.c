#include "modules.h"

#include "errors.h"
#include "loader.h"
#include "secret.h"
#include "task.h"

const luaL_Reg mp_c_modules[] = {
    {"errors", luaopen_moonport_errors},
    {"loader", luaopen_moonport_loader},
    {"secret", luaopen_moonport_secret},
    {"task", luaopen_moonport_task},
    {NULL, NULL},
};
