#!/bin/sh
# Copies what the pages need out of the npm packages that package-lock.json names, with their licences. The result is
# committed, so that nobody needs npm to run Toprung.
set -eu
cd "$(dirname "$0")"
trap 'rm -rf node_modules' EXIT
npm ci --ignore-scripts --no-audit --no-fund --silent
cp node_modules/dashjs/dist/modern/esm/dash.mediaplayer.min.js .
cp node_modules/uplot/dist/uPlot.esm.js node_modules/uplot/dist/uPlot.min.css .
for package in node_modules/dashjs node_modules/uplot $(ls -d node_modules/@*/* node_modules/[!@]* | grep -v -e '/dashjs$' -e '/uplot$'); do
  printf '==== %s\n\n' "$(node -p "const p = require('./$package/package.json'); p.name + ' ' + p.version + ' (' + (p.license ?? 'see below') + ')'")"
  licence=$(find "$package" -maxdepth 1 -iname 'licen[cs]e*' | head -n 1)
  if [ -n "$licence" ]; then cat "$licence"; else echo "The package brings no text of its licence."; fi
  printf '\n'
done > LICENCES.txt
