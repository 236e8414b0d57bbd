#!/usr/bin/env bash
# At the first start: a new cluster, the superuser's password, the scripts of /docker-entrypoint-initdb.d. Then,
# as at every later start, the server itself. Variables as in the official image.
set -Eeuo pipefail

if [ "${1:-}" != postgres ]; then exec "$@"; fi
if [ "$(id -u)" -eq 0 ]; then
  install -d -o postgres -g postgres -m 0700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups bash "$0" "$@"
fi

# The value of a variable, or the contents of the file that NAME_FILE names.
value() { # value NAME DEFAULT
  local file="$1_FILE"
  if [ -n "${!file:-}" ]; then cat "${!file}"; else printf '%s' "${!1:-$2}"; fi
}

make_cluster() {
  local user password method
  user=$(value POSTGRES_USER postgres)
  password=$(value POSTGRES_PASSWORD '')
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "$password" ] && [ "$method" != trust ]; then
    echo "postgres: POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE must name a password" >&2
    exit 1
  fi
  # initdb's arguments are words in one variable, by the official image's own rule.
  # shellcheck disable=SC2086
  initdb --username="$user" --pwfile=<(printf '%s\n' "$password") ${POSTGRES_INITDB_ARGS:-}
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

prepare() {
  # On the local socket alone: nobody from outside sees a half-prepared database.
  pg_ctl --wait --silent --options "-c listen_addresses=''" start
  local user name
  user=$(value POSTGRES_USER postgres)
  name=$(value POSTGRES_DB "$user")
  export PGUSER=$user
  if [ "$name" != postgres ]; then createdb --maintenance-db postgres "$name"; fi
  export PGDATABASE=$name
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
      *.sql) psql --no-psqlrc -v ON_ERROR_STOP=1 --file "$script" ;;
    esac
  done
  unset PGUSER PGDATABASE
  pg_ctl --wait --silent --mode fast stop
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  make_cluster
  prepare
fi
exec "$@"
