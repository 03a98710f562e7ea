#!/usr/bin/env bash
# Servers for the tests of the scaled parts. On a user's machine nothing is installed: those tests are skipped and say so.
# In CI they must run: what a fresh machine lacks is installed from Debian's packages and started.
set -euo pipefail
[ "${CI:-}" = true ] || exit 0
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
need=()
listening 5432 || need+=(postgresql)
listening 5672 || need+=(rabbitmq-server)
listening 6379 || need+=(redis-server)
[ ${#need[@]} -eq 0 ] && exit 0
missing=()
for package in "${need[@]}"; do dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package"); done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
for package in "${need[@]}"; do
  case $package in
    postgresql)
      version=$(ls /etc/postgresql | sort -n | tail -1)
      sed -i 's/^\(host.*127\.0\.0\.1\/32\s*\)\S*$/\1trust/' "/etc/postgresql/$version/main/pg_hba.conf"
      pg_ctlcluster --skip-systemctl-redirect "$version" main restart || pg_ctlcluster --skip-systemctl-redirect "$version" main start
      ;;
    rabbitmq-server) rabbitmq-server -detached >/dev/null 2>&1 ;;
    redis-server) redis-server --daemonize yes --bind 127.0.0.1 --port 6379 --save "" --appendonly no >/dev/null ;;
  esac
done
for port in 5432 5672 6379; do
  for _ in $(seq 1 120); do listening $port && break; sleep 0.5; done
  listening $port || { echo "Nothing answers on port $port."; exit 1; }
done
if ! psql -h 127.0.0.1 -U postgres -tAc "select 1 from pg_database where datname='test'" | grep -q 1; then
  psql -h 127.0.0.1 -U postgres -qc 'create database test'
fi
