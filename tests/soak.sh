#!/usr/bin/env bash
# Run the scenario smoke again and again, then kill it in each of its legs, and see that nothing of ours is left: no
# process (ports go with them), cgroup, mount or temporary directory.
#   usage: tests/soak.sh [RUNS]       20 unless told otherwise; a run takes most of a minute
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-20}

cargo build --locked --release
migbench=$PWD/target/release/migbench
temporary=${TMPDIR:-/tmp}/migbench-$(id -u)
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# The harness, its cluster and its orchestrator are this program; containers bear the mark of their cluster.
processes() {
  local process
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/exe")" = "$migbench" ] || grep -qsz '^MIGBENCH_CLUSTER=' "$process/environ"; then
      echo "process ${process#/proc/} $(tr '\0' ' ' <"$process/cmdline")"
    fi
  done 2>/dev/null
}
left() {
  processes
  find /sys/fs/cgroup -type d -name 'migbench*' -prune 2>/dev/null | sed 's/^/cgroup /'
  sed -n "\\#$temporary#s/^/mount /p" /proc/mounts
  [ ! -e "$temporary" ] || find "$temporary" -maxdepth 1 | sed 's/^/directory /'
}
before=$(left)
[ -z "$before" ] || { printf 'there before the first run:\n%s\n' "$before" >&2; exit 1; }
nothing_is_left() { # after what, seconds it may take
  local end=$((SECONDS + $2)) found
  while found=$(left); [ -n "$found" ]; do
    [ "$SECONDS" -lt "$end" ] || { printf '%s left:\n%s\n' "$1" "$found" >&2; exit 1; }
    sleep 0.2
  done
  echo "$1: nothing is left"
}

for run in $(seq "$runs"); do
  code=0
  "$migbench" run --scenario smoke --results "$results" >"$results/log" 2>&1 || code=$?
  # On a busy machine a measurement is rightly called invalid.
  case $code in 0 | 6) ;; *) tail -n 5 "$results/log" >&2; exit 1 ;; esac
  nothing_is_left "run $run (exit $code)" 0
done

for leg in 1 2; do
  for moment in deploy armed migrate 'migration completed'; do
    "$migbench" run --scenario smoke --results "$results" >"$results/log" 2>&1 &
    killed=$!
    until sed -n "/^TEST $leg/,\$p" "$results/log" | grep -q "$moment"; do
      kill -0 "$killed" || { tail -n 5 "$results/log" >&2; exit 1; }
      sleep 0.05
    done
    kill -KILL "$killed"
    wait "$killed" 2>/dev/null || true
    nothing_is_left "killed in leg $leg at '$moment'" 30
  done
done
