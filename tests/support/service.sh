# Sourced by scripts that need a running service with clients and accounts: everything on loopback, in a directory of
# its own, ended when the script ends. Set `bin` to where the binaries are before.
#
#   start_service PORT      sets $issuer; the management listener is one port above
#   admin METHOD PATH JSON  calls the admin API
#   field NAME              reads a member of the JSON object on standard input

dir=$(mktemp -d)
pids=()
end_service() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap end_service EXIT

fail() { echo "FAILED: $*" >&2; tail -20 "$dir/log" >&2; exit 1; }

start_service() { # PORT
  issuer=http://127.0.0.1:$1
  local management=127.0.0.1:$(($1 + 1))
  (cd "$dir" && exec env SIGNET_LISTEN="127.0.0.1:$1" SIGNET_MANAGEMENT_LISTEN="$management" \
    SIGNET_LOG__FILTER=warn ${pinned:-} "$bin/signet" >"$dir/banner" 2>>"$dir/log") & pids+=($!)
  for _ in $(seq 1200); do
    curl -sf -o /dev/null "http://$management/health/ready" && return
    sleep 0.05
  done
  fail "the service is not ready"
}

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

shown() { grep -A1 "$1" "$dir/banner" | awk '{print $NF}' | sed -n "$2p"; }

admin() { # METHOD PATH JSON
  [ -n "${admin_token:-}" ] || admin_token=$(curl -sf -u "$(shown administrator 1):$(shown administrator 2)" \
    -d grant_type=client_credentials "$issuer/oauth2/token" | field access_token)
  curl -sf -X "$1" -H "Authorization: Bearer $admin_token" -H 'Content-Type: application/json' \
    "$issuer$2" -d "$3" || fail "$1 $2 $3"
}
