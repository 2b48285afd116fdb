#!/usr/bin/env bash
# PostgreSQL servers for tests: `tests/support/postgres.sh VERB DIR …`. Each lives in its own directory DIR, listens on
# loopback only, and trusts whoever connects. As root it works as the user postgres, for servers refuse to run as root.
#
#   start_primary DIR PORT [SETTING=VALUE…]
#                                   a new server, fsync on, with these settings besides; prints its URL
#   start_standby DIR PORT PRIMARY  a copy of the primary in directory PRIMARY, which from then on waits for it;
#                                   between the two it goes by the primary's socket, whatever befalls its port
#   demand_tls DIR PASSWORD         lets in only who comes by TLS and knows the password; prints the CA's file; the
#                                   certificate is that of the name localhost
#   promote DIR                     makes a standby take writes
#   set DIR NAME [VALUE]            a setting that takes effect at once; without a value it is again as it was
#   freeze DIR | thaw DIR           stops all its processes where they are, and lets them go on
#   kill DIR                        kills all of them, as the loss of the machine would
#   restart DIR                     starts it again
#   check DIR                       looks for damage in its tables and indexes
#   stop DIR                        ends it and removes DIR
set -euo pipefail

fail() { echo "postgres.sh: $*" >&2; exit 1; }

verb=${1:?a verb} dir=${2:?a directory}
shift 2
binaries=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[ -z "$binaries" ] || PATH="$PATH:$binaries"
command -v initdb >/dev/null || fail "PostgreSQL's server is missing; on Debian: apt-get install -y postgresql"

as_server() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid postgres --regid postgres --init-groups env HOME="$dir" PATH="$PATH" "$@"
  else
    "$@"
  fi
}
sql() { as_server psql -X -q -v ON_ERROR_STOP=1 -h "$1" -p "$(port "$1")" -U signet -d postgres -Atc "$2"; }
port() { sed -n 's/^port = //p' "$1/postgresql.conf" | tail -n 1; }
launch() { as_server pg_ctl -D "$dir" -l "$dir/log" -w -t 120 start >/dev/null || { cat "$dir/log" >&2; fail "it did not start"; }; }
processes() {
  local head
  head=$(head -n 1 "$dir/postmaster.pid")
  echo "$head" $(ps -o pid= --ppid "$head")
}
own_dir() {
  [ ! -e "$dir/PG_VERSION" ] || fail "$dir holds a server already"
  mkdir -p "$dir"
  [ "$(id -u)" != 0 ] || chown postgres: "$dir"
  chmod 700 "$dir"
}

case "$verb" in
  start_primary)
    own_dir
    as_server initdb -D "$dir" -U signet -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
    as_server tee -a "$dir/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $1
unix_socket_directories = '$dir'
max_connections = 200
fsync = on
wal_keep_size = '256MB'
$(printf '%s\n' "${@:2}")
CONF
    launch
    as_server createdb -h "$dir" -p "$1" -U signet signet
    echo "postgres://signet@127.0.0.1:$1/signet"
    ;;
  start_standby)
    primary=$2
    own_dir
    as_server pg_basebackup -h "$primary" -p "$(port "$primary")" -U signet -D "$dir" -R -X stream -c fast
    as_server tee -a "$dir/postgresql.conf" >/dev/null <<CONF
port = $1
unix_socket_directories = '$dir'
primary_conninfo = 'host=$primary port=$(port "$primary") user=signet application_name=standby'
CONF
    as_server sed -i '/^primary_conninfo/d' "$dir/postgresql.auto.conf"
    launch
    sql "$primary" "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby)'"
    sql "$primary" "SELECT pg_reload_conf()" >/dev/null
    for _ in $(seq 600); do
      [ "$(sql "$primary" "SELECT sync_state FROM pg_stat_replication")" != sync ] || exit 0
      sleep 0.1
    done
    fail "the standby did not become synchronous"
    ;;
  demand_tls)
    # Set while whoever connects is still trusted.
    sql "$dir" "ALTER ROLE signet PASSWORD '$1'"
    quietly() { as_server openssl "$@" 2>/dev/null; }
    quietly req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=An authority for tests' \
      -addext basicConstraints=critical,CA:TRUE -keyout "$dir/ca.key" -out "$dir/ca.pem"
    quietly req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
      -keyout "$dir/server.key" -out "$dir/server.csr"
    as_server tee "$dir/server.ext" >/dev/null <<<'subjectAltName = DNS:localhost'
    quietly x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
      -extfile "$dir/server.ext" -out "$dir/server.crt"
    as_server tee -a "$dir/postgresql.conf" >/dev/null <<<'ssl = on'
    as_server tee "$dir/pg_hba.conf" >/dev/null <<<'hostssl all all 127.0.0.1/32 scram-sha-256'
    as_server pg_ctl -D "$dir" -l "$dir/log" -w -t 120 restart >/dev/null
    echo "$dir/ca.pem"
    ;;
  promote)
    as_server pg_ctl -D "$dir" -w -t 120 promote >/dev/null
    sql "$dir" "ALTER SYSTEM RESET synchronous_standby_names"
    sql "$dir" "SELECT pg_reload_conf()" >/dev/null
    ;;
  set)
    name=$1
    if [ $# -gt 1 ]; then sql "$dir" "ALTER SYSTEM SET $name = '$2'"; else sql "$dir" "ALTER SYSTEM RESET $name"; fi
    sql "$dir" "SELECT pg_reload_conf()" >/dev/null
    ;;
  freeze) kill -STOP $(processes) ;;
  thaw) kill -CONT $(processes) ;;
  kill)
    kill -KILL $(processes)
    # Nobody may take the number for that of a process that is alive.
    rm -f "$dir"/postmaster.pid "$dir"/.s.PGSQL.*
    ;;
  restart)
    launch
    ;;
  check)
    as_server pg_amcheck -h "$dir" -p "$(port "$dir")" -U signet -d signet --install-missing --heapallindexed
    ;;
  stop)
    [ -e "$dir/PG_VERSION" ] || exit 0
    if [ -e "$dir/postmaster.pid" ]; then
      kill -CONT $(processes) 2>/dev/null || true
      as_server pg_ctl -D "$dir" -m immediate -w stop >/dev/null || true
    fi
    rm -rf "$dir"
    ;;
  *) fail "there is no verb $verb" ;;
esac
