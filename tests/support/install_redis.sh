#!/bin/sh
# The session store is tested against a real Redis; Debian and Ubuntu have it as redis-server.
set -eu
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq
as_root apt-get install -y -qq --no-install-recommends redis-server
