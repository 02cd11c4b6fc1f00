#!/bin/sh
# Real programs that tests are held against. Arguments: packages of Debian and Ubuntu, such as redis-server prometheus.
set -eu
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
exec 9>"${TMPDIR:-/tmp}/toprung-apt.lock"
flock 9  # make may want npm and Redis at the same time, and apt-get update waits for nobody
export DEBIAN_FRONTEND=noninteractive
as_root apt-get -o DPkg::Lock::Timeout=600 update -qq
as_root apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$@"
