#!/usr/bin/env bash
# A browser for the page's tests: Debian's chromium. On a user's machine without one those tests are skipped and say so.
set -euo pipefail
[ "${CI:-}" = true ] || exit 0
command -v chromium >/dev/null && exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
