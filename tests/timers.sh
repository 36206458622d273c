#!/usr/bin/env bash
# Measures the registry's timers for real: as a process, by the clock on the wall. The tests let time jump.
#
#   tests/timers.sh                        builds what it runs, for release
#   tests/timers.sh REGISTRY PROVIDER      runs these: `graceful`, and the example `greeter_server`
#
# Prints a line for each timer with the seconds that it took and those that are accepted; the exit code is 0
# when all are within. Takes about two minutes, for they run side by side. Needs curl.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $# -eq 2 ]]; then
  registry=$1 provider=$2
else
  cargo build --release --features full --bin graceful --example greeter_server
  registry=target/release/graceful provider=target/release/examples/greeter_server
fi

# All of it ends by itself, whatever happens to this script.
readonly SECONDS_MAX=180
directory=$(mktemp -d)
end() {
  while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$directory/pids"
  rm -rf "$directory"
}
trap end EXIT

timeout "$SECONDS_MAX" "$registry" registry --http-port 0 --data-dir "$directory/data" \
  >"$directory/stdout" 2>"$directory/stderr" &
echo $! >>"$directory/pids"
disown
until grep -q ready "$directory/stdout"; do sleep 0.05; done
address=$(grep -o '127\.0\.0\.1:[0-9]*' "$directory/stdout" | head -1)
api=http://$address/nacos/v1/ns

call() { curl --silent --show-error --fail --max-time 5 --request "$1" "$api$2"; }
hosts() { call GET "/catalog/instances?serviceName=$1&pageNo=1&pageSize=10"; }
services() { call GET "/service/list?pageNo=1&pageSize=100"; }
forgotten() { grep -c 'forgot what was set' "$directory/stderr" || true; }
now() { echo "${EPOCHREALTIME/./}"; }

# timed WHAT LEAST MOST SINCE CONDITION..: waits until the condition holds, and says how long after SINCE.
timed() {
  local what=$1 least=$2 most=$3 since=$4
  shift 4
  until "$@"; do
    if (($(now) - since > most * 1000000)); then break; fi
    sleep 0.05
  done
  awk -v what="$what" -v least="$least" -v most="$most" -v us=$(($(now) - since)) 'BEGIN {
    verdict = us / 1e6 >= least && us / 1e6 <= most ? "ok" : "WRONG"
    printf "%-66s %6.2f s   accepted %g to %g   %s\n", what, us / 1e6, least, most, verdict
  }'
}
sick() { hosts "$1" | grep -q '"healthy":false'; }
gone() { ! hosts "$1" | grep -q '"ip"'; }
unknown() { ! services | grep -q "\"$1\""; }
dropped() { [[ $(forgotten) -gt 0 ]]; }

silent_instance() {
  call POST "/instance?serviceName=silent&ip=10.0.0.1&port=80" >/dev/null
  local since; since=$(now)
  timed "without heartbeats: unhealthy after" 14.9 16 "$since" sick silent
  timed "without heartbeats: off the list after" 29.9 31 "$since" gone silent
  timed "a service whose last instance has gone: forgotten after" 59 66 "$(now)" unknown silent
}

asking_for_other_times() {
  local times="preserved.heart.beat.interval=1000,preserved.heart.beat.timeout=3000,preserved.ip.delete.timeout=6000"
  call POST "/instance?serviceName=hasty&ip=10.0.0.1&port=80&metadata=$times" >/dev/null
  local since; since=$(now)
  timed "without heartbeats, asking for 3 s and 6 s: unhealthy after" 2.9 4 "$since" sick hasty
  timed "without heartbeats, asking for 3 s and 6 s: off the list after" 5.9 7 "$since" gone hasty
}

beating_instance() {
  call POST "/instance?serviceName=beating&ip=10.0.0.1&port=80" >/dev/null
  local since interval=0; since=$(now)
  while (($(now) - since < 40000000)); do
    sleep 5
    interval=$(call PUT "/instance/beat?serviceName=beating&ip=10.0.0.1&port=80" | grep -o '"clientBeatInterval":[0-9]*')
    if sick beating || gone beating; then interval="lost"; break; fi
  done
  local verdict=WRONG
  if [[ $interval == '"clientBeatInterval":5000' ]]; then verdict=ok; fi
  printf '%-66s %s   %s\n' "with heartbeats: there and healthy after 40 s; asked for" "$interval" "$verdict"
}

start_provider() {
  timeout "$SECONDS_MAX" "$provider" --registry "$address" >"$directory/provider" 2>&1 &
  local parent=$!
  disown
  while gone greeter; do sleep 0.05; done
  child=$(pgrep --parent "$parent")
  echo "$child" >>"$directory/pids"
}

frozen_provider() {
  start_provider
  kill -STOP "$child"
  # It was heard at most 5 s before: that is how often it says something.
  timed "a provider that is frozen (SIGSTOP): off the list after" 19.9 26 "$(now)" gone greeter
  kill -KILL "$child"
  start_provider
  kill -KILL "$child"
  timed "a provider that is killed: off the list after" 0 1 "$(now)" gone greeter
}

operators_word() {
  call POST "/instance?serviceName=set&ip=10.0.0.1&port=80" >/dev/null
  call PUT "/instance?serviceName=set&ip=10.0.0.1&port=80&enabled=false" >/dev/null
  call DELETE "/instance?serviceName=set&ip=10.0.0.1&port=80" >/dev/null
  local since; since=$(now)
  sleep 50
  call POST "/instance?serviceName=set&ip=10.0.0.1&port=80" >/dev/null
  local verdict=WRONG
  if hosts set | grep -q '"enabled":false'; then verdict=ok; fi
  printf '%-66s %s\n' "what an operator has set on one that is back after 50 s: holds" "$verdict"
  call DELETE "/instance?serviceName=set&ip=10.0.0.1&port=80" >/dev/null
  timed "what an operator has set on one that has gone: forgotten after" 59 66 "$(now)" dropped
}

{
  for measure in silent_instance asking_for_other_times beating_instance frozen_provider operators_word; do
    "$measure" &
  done
  wait
} | tee "$directory/report"
! grep -q WRONG "$directory/report"
