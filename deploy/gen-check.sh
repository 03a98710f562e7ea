#!/usr/bin/env bash
# Fails when a generated, committed file is not what its source would generate now.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
stale=0
compare() {
  if ! diff -q "$1" "$2" >/dev/null 2>&1; then
    echo "$1 is stale: run 'make gen' and commit it."
    stale=1
  fi
}
.venv/bin/python -m heimdall.api.openapi > "$scratch/openapi.json"
compare openapi.json "$scratch/openapi.json"
.venv/bin/python -m heimdall.storage.snapshot > "$scratch/snapshot.sqlite.sql"
compare src/heimdall/storage/migrations/snapshot.sqlite.sql "$scratch/snapshot.sqlite.sql"
.venv/bin/python -m heimdall.cli.reference "$scratch/reference"
for page in "$scratch"/reference/*; do compare "docs/reference/$(basename "$page")" "$page"; done
# The page's generator writes in place: keep the committed files aside, compare, put them back.
cp -r frontend/src/api "$scratch/api"
(cd frontend && npm run --silent gen >/dev/null)
for file in schema.gen.ts limits.gen.json; do
  mv "frontend/src/api/$file" "$scratch/$file"
  cp "$scratch/api/$file" "frontend/src/api/$file"
  compare "frontend/src/api/$file" "$scratch/$file"
done
exit $stale
