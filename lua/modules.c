#include "modules.h"

#include "bind_agent.h"
#include "bind_cgroup.h"
#include "bind_clock.h"
#include "bind_crypto.h"
#include "bind_failpoint.h"
#include "bind_fs.h"
#include "bind_http.h"
#include "bind_json.h"
#include "bind_kube.h"
#include "bind_net.h"
#include "bind_netlink.h"
#include "bind_nftables.h"
#include "bind_process.h"
#include "bind_readline.h"
#include "bind_store.h"
#include "bind_sys.h"
#include "bind_terminal.h"
#include "bind_user.h"
#include "bind_vm.h"
#include "bind_websocket.h"
#include "bind_yaml.h"
#include "errors.h"
#include "loader.h"
#include "secret.h"
#include "session.h"
#include "task.h"

/* clang-format off */
const luaL_Reg mp_c_modules[] = {
#ifdef MP_VM
    {"agent", luaopen_moonport_agent},
#endif
    {"cgroup", luaopen_moonport_cgroup},
    {"clock", luaopen_moonport_clock},
    {"crypto", luaopen_moonport_crypto},
    {"errors", luaopen_moonport_errors},
    {"fs", luaopen_moonport_fs},
    {"http", luaopen_moonport_http},
    {"json", luaopen_moonport_json},
#ifdef MP_FAILPOINTS
    {"failpoint", luaopen_moonport_failpoint},
#endif
#ifdef MP_KUBE
    {"kube", luaopen_moonport_kube},
#endif
    {"loader", luaopen_moonport_loader},
    {"net", luaopen_moonport_net},
#ifdef MP_VM
    {"netlink", luaopen_moonport_netlink},
    {"nftables", luaopen_moonport_nftables},
#endif
    {"process", luaopen_moonport_process},
    {"readline", luaopen_moonport_readline},
    {"secret", luaopen_moonport_secret},
    {"session", luaopen_moonport_session},
    {"store", luaopen_moonport_store},
    {"sys", luaopen_moonport_sys},
    {"task", luaopen_moonport_task},
    {"user", luaopen_moonport_user},
    {"terminal", luaopen_moonport_terminal},
#ifdef MP_VM
    {"vm", luaopen_moonport_vm},
#endif
    {"websocket", luaopen_moonport_websocket},
    {"yaml", luaopen_moonport_yaml},
    {NULL, NULL},
};
/* clang-format on */
