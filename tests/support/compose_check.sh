#!/bin/sh
# Brings docker/compose.yaml up on this machine and asks every part of it, then takes it down. `make compose-check` runs it.
#
# It needs root, apt, and no image registry: Debian's Docker engine runs with a socket and folders of its own, and the
# images that ours are made from, or stand beside, are Debian's packages under the names that the composition asks for.
# Grafana is in no package, so its dashboards are asked of Prometheus. Argument: the Python that asks, with Toprung.
set -eu
PYTHON=$1
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
WORK=${COMPOSE_CHECK_DIR:-/var/tmp/toprung-compose-check} # kept, so that a second run is quick
REPORT=$WORK/report
MIRROR=http://deb.debian.org/debian
DOCKER=/usr/bin/docker # not another one that comes first in PATH
export DOCKER_HOST="unix://$WORK/docker.sock" DOCKER_BUILDKIT=1 TOPRUNG_REPORT_DIR="$REPORT"
export PATH="$PATH:/usr/sbin"

say() { echo "compose-check: $*"; }
compose() { docker-compose -p toprung --project-directory "$ROOT/docker" -f "$WORK/compose.yaml" "$@"; }
has_image() { "$DOCKER" image inspect "$1" >/dev/null 2>&1; }
stand_in() { # name, Dockerfile
    has_image "$1" || printf 'FROM toprung-check/debian\n%b' "$2" | "$DOCKER" build -q --network=host -t "$1" - >/dev/null
}

start_engine() {
    mkdir -p "$WORK"
    dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$WORK/data" --exec-root "$WORK/exec" \
        --pidfile "$WORK/dockerd.pid" -H "$DOCKER_HOST" >"$WORK/dockerd.log" 2>&1 &
    ENGINE=$!
    trap stop EXIT
    trap 'exit 130' INT TERM
    for _ in $(seq 60); do
        if "$DOCKER" version >/dev/null 2>&1; then return; fi
        sleep 1
    done
    tail -5 "$WORK/dockerd.log"
    exit 1
}

stop() {
    compose down -v --remove-orphans >/dev/null 2>&1 || true
    kill "$ENGINE" && wait "$ENGINE" || true
}

make_debian() {
    has_image toprung-check/debian && return
    say "a Debian with nginx, Redis and Prometheus, by debootstrap"
    rm -rf "$WORK/root"
    libraries=libssl3,libffi8,libsqlite3-0,zlib1g,libbz2-1.0,liblzma5,libreadline8,libncursesw6
    debootstrap --variant=minbase --include="ca-certificates,wget,nginx-light,redis-server,prometheus,$libraries" \
        bookworm "$WORK/root" "$MIRROR" >"$WORK/debootstrap.log"
    cp /etc/ssl/certs/ca-certificates.crt "$WORK/root/etc/ssl/certs/"
    tar -C "$WORK/root" -c . | "$DOCKER" import - toprung-check/debian >/dev/null
    rm -rf "$WORK/root"
}

make_python() { # this machine's, laid out as in the official image
    has_image python:3.11-slim && return
    prefix=$("$PYTHON" -c 'import sys; print(sys.base_prefix)')
    version=$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    [ "$version" = python3.11 ] && [ "$prefix" != /usr ] || {
        say "needs a Python 3.11 with a folder of its own (pyenv, uv), not $version in $prefix"
        exit 1
    }
    mkdir -p "$WORK/python"
    tar -C "$prefix" --exclude="lib/$version/test" --exclude="lib/$version/site-packages/*" --exclude='*.a' \
        --exclude=__pycache__ -cf "$WORK/python/python.tar" bin lib include
    printf '%b' "FROM toprung-check/debian\nADD python.tar /usr/local\n" \
        "ENV LANG=C.UTF-8 PIP_CERT=/etc/ssl/certs/ca-certificates.crt\n" \
        "RUN ln -sf $version /usr/local/bin/python && ldconfig && python -m ensurepip" \
        " && ln -sf pip3.11 /usr/local/bin/pip\n" >"$WORK/python/Dockerfile"
    "$DOCKER" build -q --network=host -t python:3.11-slim "$WORK/python" >/dev/null
}

for needed in dockerd docker-compose debootstrap; do
    command -v $needed >/dev/null || sh "$HERE/install_programs.sh" docker.io docker-compose debootstrap
done
start_engine
make_debian
make_python
stand_in nginxinc/nginx-unprivileged:1.29-alpine 'USER 101:101\nCMD ["nginx", "-g", "daemon off;"]\n'
stand_in redis:7-alpine 'CMD ["redis-server"]\n'
stand_in prom/prometheus:v3.5.0 \
    'RUN install -d -o 65534 /prometheus\nUSER 65534\nWORKDIR /prometheus\nENTRYPOINT ["prometheus"]\n'
say "building our images"
"$DOCKER" build -q --network=host -f "$ROOT/docker/server.Dockerfile" -t toprung_server "$ROOT" >/dev/null
"$DOCKER" build -q --network=host -f "$ROOT/docker/tools.Dockerfile" -t toprung_prepare -t toprung_viewer "$ROOT" >/dev/null

sed '/^name:/d' "$ROOT/docker/compose.yaml" >"$WORK/compose.yaml" # Debian's docker-compose 1.29 does not know it
rm -rf "$REPORT"
install -d -m 777 "$REPORT"
say "bringing it up"
compose up -d --no-build --scale server=2 redis prepare server nginx prometheus
say "a viewer"
compose run --rm -T viewer
"$DOCKER" ps -a --filter label=com.docker.compose.project=toprung --format '{{.Names}}: {{.Status}}' >"$WORK/services"
PYTHONPATH="$HERE/servers" "$PYTHON" "$HERE/compose_answers.py" "$WORK/services" "$REPORT"
