-- A token request, by the client and secret of the environment.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "grant_type=client_credentials&client_id=" .. (os.getenv("CLIENT_ID") or "x")
  .. "&client_secret=" .. (os.getenv("CLIENT_SECRET") or "x") .. "&scope=read"

done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.connect
  io.write(string.format("RESULT %.1f %.3f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(99) / 1000, failed))
end
