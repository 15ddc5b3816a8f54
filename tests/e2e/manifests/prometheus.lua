-- Debian's prometheus, which watches itself. `prepare` sets these for a test.
local here = "/tmp/prometheus"
local port = 19090
local user = nil -- a root operator must name one

return {
  name = "prometheus",
  target = "native",
  description = "metrics of the machine's own services",
  user = user,
  command = {
    "/usr/bin/prometheus",
    "--config.file=" .. here .. "/prometheus.yml",
    "--storage.tsdb.path=" .. here .. "/data",
    "--web.listen-address=127.0.0.1:" .. port,
    "--log.format=logfmt",
  },
  data_dir = here .. "/data",
  -- A Go program starts a thread for each blocking call.
  limits = { memory = "512MiB", cpus = 1.5, pids = 256, nofile = 4096 },
  restart = { policy = "on-failure", max = 5, backoff = "200ms" },
  ready = {
    http = "http://127.0.0.1:" .. port .. "/-/ready",
    log = "Server is ready to receive web requests",
    timeout = "60s",
  },
  stop = { grace = "30s" },
  log = { max_size = "1MiB", max_files = 3 },
}
