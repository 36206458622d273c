#!/bin/sh
# Stops a provider on a plain host without losing a request.
#
#   stop.sh PID [OFFLINE_PORT]      the token, if there is one, in GRACEFUL_OFFLINE_TOKEN
#
# Time budget, in seconds:
#   0   /offline: tagged, deregistered; it answers when drained, or after 30
#   30  SIGTERM at the latest; the process has 25 (`drain_timeout`)
#   90  still there: this script gives up with exit code 1, and kills nothing
#
# Exit codes: 0 the process has ended, 1 it has not, 2 wrong usage.
set -eu

usage() { echo "usage: $0 PID [OFFLINE_PORT]" >&2; exit 2; }
case "${1:-}" in '' | *[!0-9]*) usage ;; *[!0]*) ;; *) usage ;; esac # 0 would be every process of this group.
case "${2:-54199}" in *[!0-9]*) usage ;; esac
pid=$1 port=${2:-54199}

kill -0 "$pid" 2>/dev/null || { echo "there is no process $pid that you may signal" >&2; exit 2; }

# Without an answer SIGTERM does the same, so a failure here is only told. The token goes through standard
# input, quoted for curl: arguments can be read by everyone on the host.
if [ -n "${GRACEFUL_OFFLINE_TOKEN:-}" ]; then
  printf 'header = "Authorization: Bearer %s"\n' "$(printf '%s' "$GRACEFUL_OFFLINE_TOKEN" | sed 's/[\\"]/\\&/g')"
fi | curl --silent --show-error --fail --max-time 40 --config - "http://127.0.0.1:$port/offline?wait=30s" ||
  echo "no answer from /offline on port $port: going on with SIGTERM" >&2
echo

kill -TERM "$pid" 2>/dev/null || exit 0 # It has ended meanwhile.
left=60
while kill -0 "$pid" 2>/dev/null; do
  [ "$left" -gt 0 ] || { echo "process $pid is still there after 60 s" >&2; exit 1; }
  left=$((left - 1))
  sleep 1
done
