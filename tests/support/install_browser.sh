#!/bin/sh
# Pages and stock players are tested in a real Chromium; npm brings the players. Debian and Ubuntu have both.
set -eu
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
export DEBIAN_FRONTEND=noninteractive
wanted=
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || wanted=chromium
command -v npm >/dev/null || wanted="$wanted npm"
[ -z "$wanted" ] && exit 0
as_root apt-get -o DPkg::Lock::Timeout=600 update -qq
# shellcheck disable=SC2086
as_root apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $wanted
