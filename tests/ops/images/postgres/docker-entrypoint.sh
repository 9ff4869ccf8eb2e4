#!/usr/bin/env bash
# Makes a database of an empty volume, becomes the server. Only as another user than root: the
# official image may be started as root, and gives its rights away.
set -euo pipefail
[ "$(id -u)" != 0 ] || { echo "this stand-in is not started as root" >&2; exit 1; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "${POSTGRES_PASSWORD:-}" ] || { echo "POSTGRES_PASSWORD is not set" >&2; exit 1; }
  user=${POSTGRES_USER:-postgres}
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  initdb --pgdata="$PGDATA" --username="$user" --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  # On the socket only, until everything is there.
  pg_ctl --pgdata="$PGDATA" --wait --options="-c listen_addresses='' -k /var/run/postgresql" start
  if [ "${POSTGRES_DB:-$user}" != postgres ]; then
    psql --host=/var/run/postgresql --username="$user" --dbname=postgres --quiet \
      --set=name="${POSTGRES_DB:-$user}" <<<'CREATE DATABASE :"name"'
  fi
  pg_ctl --pgdata="$PGDATA" --wait --mode=fast stop
fi
[ "${1:0:1}" != - ] || set -- postgres "$@"
exec "$@" -k /var/run/postgresql -c listen_addresses='*'
