#!/bin/sh
# The container stack from the shell: start, end, clear. Needs Docker with Compose and nothing else on the host.
# `taxiway stack` does the same with a live view, and more.
#
#   sh images/stack.sh start     STACK_S3=seaweedfs (default), minio or external
#   sh images/stack.sh end
#   sh images/stack.sh clear     STACK_YES=1 does not ask
#   sh images/stack.sh compose …  any other word of Compose, with the same files and choices
#
# What was chosen at a start (the S3 server, the ports) is remembered in stack.env beside the secrets, and so is the
# project that these are of.
set -eu
cd "$(dirname "$0")/.."

STACK_SECRETS=${STACK_SECRETS:-$PWD/.secrets}
export STACK_SECRETS
choices="$STACK_SECRETS/stack.env"
options="STACK_JUPYTER_MEMORY STACK_WORKER_CORES STACK_WORKER_MEMORY STACK_WORKER_LIMIT STACK_SPARK STACK_TRIPS_SOURCE"
endpoint="STACK_S3_ENDPOINT STACK_S3_REGION STACK_S3_BUCKET STACK_TRIPS_BUCKET"

fail() { # fail CODE MESSAGE
  echo "stack: $2" >&2
  exit "$1"
}

remember() { # the choices of a former start hold unless the caller says otherwise
  owner=
  if [ -f "$choices" ]; then
    while IFS='=' read -r name value; do
      case $name in
        *[!A-Z0-9_]*) continue ;;
        COMPOSE_PROJECT_NAME) owner=$value ;;
        STACK_S3_* | STACK_TRIPS_BUCKET) [ "${STACK_S3:-}" = external ] || continue ;;
        STACK_*) ;;
        *) continue ;;
      esac
      eval "[ -n \"\${$name:-}\" ] || { $name=\$value; export $name; }"
    done <"$choices"
  fi
  COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-taxiway}
  export COMPOSE_PROJECT_NAME
  [ -z "$owner" ] || [ "$owner" = "$COMPOSE_PROJECT_NAME" ] ||
    fail 7 "the secrets in $STACK_SECRETS are of the stack $owner; name the folder of $COMPOSE_PROJECT_NAME's own with STACK_SECRETS"
}

choose_files() {
  COMPOSE_FILE=compose.yaml
  case ${STACK_S3:-seaweedfs} in
    seaweedfs) ;;
    minio) COMPOSE_FILE=$COMPOSE_FILE:compose.minio.yaml ;;
    external) COMPOSE_FILE=$COMPOSE_FILE:compose.external-s3.yaml ;;
    *) fail 2 "there is no S3 server '$STACK_S3'; choose seaweedfs, minio or external" ;;
  esac
  [ -z "${STACK_OVERRIDE:-}" ] || COMPOSE_FILE=$COMPOSE_FILE:$STACK_OVERRIDE
  export COMPOSE_FILE
}

find_docker() {
  command -v docker >/dev/null || fail 6 "there is no Docker on this machine; install it and run this again"
  docker info >/dev/null 2>&1 ||
    fail 6 "Docker does not answer; start it, or ask for permission to use it ($(docker info 2>&1 | tail -n 1))"
  if docker compose version >/dev/null 2>&1; then
    compose="docker compose"
  elif command -v docker-compose >/dev/null; then
    compose="docker-compose"
  else
    fail 6 "Docker has no Compose; install its plugin, docker-compose-plugin, and run this again"
  fi
}

start() {
  # A choice of this call alone would otherwise lose against a .env file that Compose reads by itself.
  STACK_S3=${STACK_S3:-seaweedfs}
  STACK_JUPYTER_PORT=${STACK_JUPYTER_PORT:-8888}
  STACK_MLFLOW_PORT=${STACK_MLFLOW_PORT:-5000}
  STACK_MINIO_CONSOLE_PORT=${STACK_MINIO_CONSOLE_PORT:-9001}
  export STACK_S3 STACK_JUPYTER_PORT STACK_MLFLOW_PORT STACK_MINIO_CONSOLE_PORT
  check_choices
  check_port STACK_JUPYTER_PORT "$STACK_JUPYTER_PORT"
  check_port STACK_MLFLOW_PORT "$STACK_MLFLOW_PORT"
  [ "$STACK_S3" != minio ] || check_port STACK_MINIO_CONSOLE_PORT "$STACK_MINIO_CONSOLE_PORT"
  # Nothing is remembered that Compose does not understand.
  refused=$($compose config --quiet 2>&1 >/dev/null) || fail 2 "Compose does not take this choice: $(echo "$refused" | tail -n 1)"
  sh images/secrets.sh "$STACK_SECRETS"
  names="COMPOSE_PROJECT_NAME STACK_S3 STACK_JUPYTER_PORT STACK_MLFLOW_PORT STACK_MINIO_CONSOLE_PORT $options"
  [ "$STACK_S3" != external ] || names="$names $endpoint"
  for name in $names; do
    eval "[ -z \"\${$name:-}\" ] || echo \"$name=\$$name\""
  done >"$choices.part"
  mv -f "$choices.part" "$choices"
  # A cluster that was started and stopped is part of the stack.
  label="label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
  if [ -n "$(docker ps --all --quiet --filter "$label" --filter label=com.docker.compose.service=spark_master)" ]; then
    COMPOSE_PROFILES=${COMPOSE_PROFILES:-cluster}
    export COMPOSE_PROFILES
  fi
  # Returns once every service that another one waits for is healthy.
  $compose up --detach --build --remove-orphans
  await_health jupyterlab_spark
  addresses
}

check_choices() {
  for new in "$STACK_SECRETS"/*.new; do
    [ ! -e "$new" ] || fail 7 "a change of passwords was broken off; finish it with: taxiway stack up"
  done
  if docker volume inspect "${COMPOSE_PROJECT_NAME}_db" >/dev/null 2>&1; then
    [ -f "$STACK_SECRETS/db_mlflow_password" ] ||
      fail 7 "the volumes of $COMPOSE_PROJECT_NAME are here, and their passwords are not in $STACK_SECRETS; name their folder with STACK_SECRETS, or another stack with COMPOSE_PROJECT_NAME"
    former=$([ ! -f "$choices" ] || sed -n 's/^STACK_S3=//p' "$choices")
    [ "${former:-$STACK_S3}" = "$STACK_S3" ] ||
      fail 7 "the models of this stack are on $former; move them to $STACK_S3 with: taxiway stack backup, clear, up --s3 $STACK_S3, restore"
  elif [ -f "$choices" ]; then
    # A first start that was broken off while its images were built looks the same.
    echo "stack: $STACK_SECRETS has secrets of $COMPOSE_PROJECT_NAME, which has no volumes: if it held anything, that is gone, and it starts empty" >&2
  fi
  [ "$STACK_S3" = external ] || return 0
  for key in s3_mlflow s3_trips; do
    [ -f "$STACK_SECRETS/$key" ] ||
      fail 3 "the key of the S3 endpoint is not in $STACK_SECRETS/$key; write it there, as AWS's shared credentials file has it"
  done
  # Older ones cannot take the service s3 away.
  case $($compose version --short) in
    1.* | v1.* | 2.?.* | v2.?.* | 2.1?.* | v2.1?.* | 2.2[0-3].* | v2.2[0-3].*) fail 6 "an S3 endpoint elsewhere needs Compose 2.24 or later" ;;
  esac
}

check_port() { # check_port VARIABLE PORT
  case $2 in *[!0-9]* | ??????*) fail 2 "$1: '$2' is not a port" ;; esac
  holder=$(docker ps --filter "publish=$2" --format '{{.Label "com.docker.compose.project"}} {{.Names}}' | head -n 1)
  case $holder in
    "$COMPOSE_PROJECT_NAME "*) return ;;
    ?*) fail 2 "port $2 is taken by the container ${holder#* }; stop that, or choose another port with $1" ;;
  esac
  # What listens, as Linux lists it: on this machine's loopback address, or on all addresses.
  listening=$(printf '\\(00000000\\|0100007F\\|0\\{32\\}\\):%04X [0-9A-F]*:0000 0A' "$2")
  ! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "$listening" ||
    fail 2 "port $2 is taken by another program; stop that, or choose another port with $1"
}

check_folder() { # a stack of the same name may have been started from another checkout
  [ ! -f "$STACK_SECRETS/db_mlflow_password" ] || return 0
  docker ps --all --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --format '{{.Label "com.docker.compose.project.working_dir"}}' | sort -u | while read -r folder; do
    [ ! -d "$folder" ] || [ "$(cd "$folder" && pwd -P)" = "$(pwd -P)" ] ||
      fail 7 "the stack $COMPOSE_PROJECT_NAME was started from $folder; go there for it, or name another one with COMPOSE_PROJECT_NAME"
  done
}

await_health() { # await_health SERVICE
  container=$($compose ps --quiet "$1")
  asked=0
  while [ "$(docker inspect --format '{{.State.Health.Status}}' "$container")" != healthy ]; do
    asked=$((asked + 1))
    [ "$asked" -le 240 ] || fail 5 "$1 is not healthy after two minutes; look at: sh images/stack.sh compose logs $1"
    sleep 0.5 # between two questions: Compose 1.29 cannot wait for the last service itself
  done
}

addresses() {
  # The token is what one has to have: whoever may read the file may see the link.
  cat <<TEXT

JupyterLab   http://127.0.0.1:${STACK_JUPYTER_PORT:-8888}/lab?token=$(cat "$STACK_SECRETS/jupyter_token")
MLflow       http://127.0.0.1:${STACK_MLFLOW_PORT:-5000}/#/experiments?workflowType=machine_learning   as admin, taxiway or reader
TEXT
  [ "${STACK_S3:-}" != minio ] || echo "MinIO        http://127.0.0.1:${STACK_MINIO_CONSOLE_PORT:-9001}   its key is in $STACK_SECRETS/s3_root"
  cat <<TEXT
Passwords    mlflow_admin_password, mlflow_taxiway_password and mlflow_reader_password in $STACK_SECRETS

Next: open the first link and run work/nyc_traffic_taxi_model.ipynb.   make end stops all of it; nothing is lost.
TEXT
}

clear() {
  if [ "${STACK_YES:-}" != 1 ]; then
    [ -t 0 ] || fail 7 "there is no terminal to ask on; STACK_YES=1 removes the project $COMPOSE_PROJECT_NAME without asking"
    printf 'Remove the containers, networks, volumes and secrets of the project %s, all models in it? [y/N] ' "$COMPOSE_PROJECT_NAME"
    read -r answer
    case $answer in y | Y | yes) ;; *) fail 130 "nothing was removed" ;; esac
  fi
  # By their label and not by today's compose files: what another choice of S3 server left goes too.
  label="label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
  # Compose labels the images it builds as well, and whatever anybody starts from one inherits that: only its own
  # containers have the second label.
  for container in $(docker ps --all --quiet --filter "$label" --filter label=com.docker.compose.oneoff); do docker rm --force --volumes "$container" >/dev/null; done
  for network in $(docker network ls --quiet --filter "$label"); do docker network rm "$network" >/dev/null; done
  for volume in $(docker volume ls --quiet --filter "$label"); do docker volume rm "$volume" >/dev/null; done
  sh images/secrets.sh "$STACK_SECRETS" --remove
  echo "Removed: containers, networks, volumes and secrets of the project $COMPOSE_PROJECT_NAME. Its images are kept."
}

word=${1:-}
[ $# -eq 0 ] || shift
remember
choose_files
find_docker
case $word in
  start) start ;;
  end)
    check_folder
    COMPOSE_PROFILES=cluster $compose stop
    ;;
  clear)
    check_folder
    clear
    ;;
  compose) exec $compose "$@" ;;
  *) fail 2 "say start, end, clear or compose" ;;
esac
