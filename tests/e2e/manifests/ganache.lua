-- An Ethereum development node that makes a block each second. `prepare` sets these for a test.
local here = "/tmp/ganache"
local port = 18545
local user = nil -- a root operator must name one
local fixtures = "tests/fixtures"
local cache = "/tmp/moonport-tests"

return {
  name = "ganache",
  target = "native",
  user = user,
  command = {
    fixtures .. "/ganache/start",
    "--port", tostring(port),
    "--options", '{"miner":{"blockTime":1}}',
  },
  data_dir = here .. "/data",
  env = {
    HOME = here,
    PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    MP_TEST_CACHE = cache,
  },
  limits = { memory = "1GiB", cpus = 2, pids = 64 },
  ready = { tcp = "127.0.0.1:" .. port, log = "^http://127%.0%.0%.1:%d+$", timeout = "5m" },
}
