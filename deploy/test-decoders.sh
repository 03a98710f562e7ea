#!/usr/bin/env bash
# Decoders that test our waveforms. On a user's machine nothing is installed: that test is skipped and says so. In CI it must run.
set -euo pipefail
[ "${CI:-}" = true ] || exit 0
command -v multimon-ng >/dev/null && exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq multimon-ng >/dev/null
