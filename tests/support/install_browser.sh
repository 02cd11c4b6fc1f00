#!/bin/sh
# Pages and stock players are tested in a real Chromium; npm brings the players. Debian and Ubuntu have both.
set -eu
wanted=
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || wanted=chromium
command -v npm >/dev/null || wanted="$wanted npm"
[ -z "$wanted" ] && exit 0
# shellcheck disable=SC2086
exec sh "$(dirname "$0")/install_programs.sh" $wanted
