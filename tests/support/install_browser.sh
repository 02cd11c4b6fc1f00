#!/bin/sh
# Pages and stock players are tested in a real Chromium; npm brings the players. Debian and Ubuntu have both.
set -eu
install() { sh "$(dirname "$0")/install_programs.sh" "$@"; }
has() { command -v "$1" >/dev/null; }
if ! has chromium-headless-shell && ! has chromium && ! has chromium-browser; then
    # Chromium without its windows takes a quarter less of a processor; older systems have the whole alone.
    install chromium-headless-shell || install chromium
fi
has npm || install npm
