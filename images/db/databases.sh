#!/bin/sh
# Run once by PostgreSQL's image, when its data folder is new: MLflow's role and its two databases, one for
# experiments and models, one for the accounts that may see them. The password goes from its file into psql
# without passing an argument or an environment variable.
set -eu

# What is not made whole is not left behind: the image would take a folder that exists for a finished one.
undo() {
  pg_ctl --pgdata "$PGDATA" --mode immediate stop >/dev/null 2>&1 || true
  find "$PGDATA" -mindepth 1 -delete
}
trap undo EXIT

# Another major version keeps its data in a folder of its own, beside this one's. Starting empty next to it
# would look as if every model were gone.
for version in /var/lib/postgresql/*/docker/PG_VERSION; do
  if [ -s "$version" ] && [ "$version" != "$PGDATA/PG_VERSION" ]; then
    echo "db: this volume holds the data of PostgreSQL $(cat "$version"), and this is $(postgres --version)." >&2
    echo "db: with the former version: taxiway stack backup FILE; then taxiway stack clear, up, restore FILE." >&2
    exit 1
  fi
done

psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --dbname postgres <<'SQL'
\set password `cat /run/secrets/db_mlflow_password`
CREATE ROLE mlflow LOGIN PASSWORD :'password';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_auth OWNER mlflow;
REVOKE CONNECT ON DATABASE mlflow, mlflow_auth, postgres, template1 FROM PUBLIC;
SQL
trap - EXIT
