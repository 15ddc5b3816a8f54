-- Debian's nginx with two workers, which serves one page. `prepare` sets these for a test.
local here = "/tmp/nginx"
local port = 18080
local user = nil -- a root operator must name one

return {
  name = "nginx",
  target = "native",
  description = "one page, and a log line for each who reads it",
  user = user,
  command = {
    "/usr/sbin/nginx",
    "-p", here,
    "-c", here .. "/nginx.conf",
    "-e", "stderr",
    "-g", "daemon off;",
  },
  data_dir = here .. "/data",
  limits = { memory = "128MiB", cpus = 1, pids = 16 },
  restart = { policy = "always", max = 0, backoff = "100ms" },
  ready = {
    http = "http://127.0.0.1:" .. port .. "/healthz",
    file = "nginx.pid",
    timeout = "30s",
  },
  -- QUIT lets the workers finish what they are answering.
  stop = { signal = "QUIT", grace = "10s" },
  log = { max_size = "256KiB", max_files = 2 },
}
