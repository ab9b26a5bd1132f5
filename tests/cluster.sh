#!/usr/bin/env bash
# Everything that wants a real cluster, by one command: installs migbench there, examines the cluster, runs both
# scenarios, reads the result again, hurts the cluster where that can be done, and removes everything.
#   usage: tests/cluster.sh
# KUBECONFIG names the cluster. Without it the rig of a neighbouring folder is started (three nodes on this machine, root).
# What the cluster cannot offer is told in the environment:
#   NFS_SERVER, NFS_PATH   an export for checkpoints, where no storage class provides ReadWriteMany
#   LOAD                   a command that brings an image archive (its argument) to the nodes, where they cannot pull
#   FAULT                  the rig's `fault` command; without it nothing is hurt
set -euo pipefail
cd "$(dirname "$0")/.."
rig=${RIG:-../shared/rig}

skip() { echo "skipped: $*"; exit 0; }
step() { printf '\n== %s\n' "$*"; "$@"; }
expect() { # code command...
  local wanted=$1 code=0
  shift
  printf '\n== %s (exit %s)\n' "$*" "$wanted"
  "$@" || code=$?
  [ "$code" = "$wanted" ] || { echo "exit $code instead of $wanted: $*" >&2; exit 1; }
}
ours() { # what of ours is in the cluster
  kubectl get namespaces,persistentvolumes,clusterroles,clusterrolebindings -l app.kubernetes.io/managed-by=migbench -o name
  kubectl get all,configmaps,persistentvolumeclaims,serviceaccounts -A -l app.kubernetes.io/managed-by=migbench -o name
}
nothing_but() { # what may be there
  local found
  found=$(ours | sort)
  [ "$found" = "$1" ] || { printf 'left behind:\n%s\nexpected:\n%s\n' "$found" "$1" >&2; exit 1; }
}

command -v kubectl >/dev/null || skip "no kubectl"
if [ -z "${KUBECONFIG:-}" ]; then
  [ -x "$rig/up" ] || skip "KUBECONFIG names no cluster, and $rig is not there"
  [ "$(id -u)" = 0 ] || skip "the rig's nodes need root"
  KUBECONFIG=$("$rig/up" --nodes | tail -n 1)
  NFS_SERVER=10.77.0.11 NFS_PATH=/ LOAD="$rig/load" FAULT=$rig/fault
  step "$rig/load" --workers "$("$rig/tensorflow-image")"
fi
export KUBECONFIG
context=$(kubectl config current-context)
nfs=()
[ -z "${NFS_SERVER:-}" ] || nfs=(--nfs-server "$NFS_SERVER" --nfs-path "${NFS_PATH:-/}")

if [ -n "${LOAD:-}" ]; then
  archive=$(mktemp -d)/migbench.tar
  step .ci/image "$archive"
  [ -f "$archive" ] || skip "the image could not be built here"
  step $LOAD "$archive"
fi
step cargo build --locked
migbench=$PWD/target/debug/migbench
results=$(mktemp -d)
export MIGBENCH_RESULTS=$results

nothing_but ""
step "$migbench" deploy --context "$context" "${nfs[@]}"
installed=$(ours | sort)
step "$migbench" doctor --context "$context"
nothing_but "$installed"
step "$migbench" run --context "$context" --scenario smoke
nothing_but "$installed"
step "$migbench" run --context "$context" --scenario tensorflow --rounds 2
nothing_but "$installed"
for format in table csv json; do
  "$migbench" report --format "$format" >"$results/report.$format"
  "$migbench" report --format "$format" | cmp - "$results/report.$format"
done

MIGBENCH_TEST_KUBECONFIG=$KUBECONFIG step cargo test --locked --test contract --test doctor --test known_answer
nothing_but "$installed"

if [ -n "${FAULT:-}" ]; then
  # The target is cut off while the source is being measured, and heals by itself once the run has given up.
  ("$migbench" run --context "$context" --scenario smoke >"$results/cut.log" 2>&1; echo $? >"$results/cut.code") &
  until grep -qs armed "$results/cut.log"; do sleep 0.2; done
  step "$FAULT" cut gpu-server-03
  sleep 30
  step "$FAULT" join gpu-server-03
  wait
  tail -n 3 "$results/cut.log"
  case $(cat "$results/cut.code") in 0 | 4 | 5 | 6) ;; *) echo "exit $(cat "$results/cut.code")" >&2; exit 1 ;; esac
  kubectl wait --for=condition=Ready node --all --timeout=180s
  step "$migbench" cleanup --context "$context" --all
  nothing_but "$installed"

  # The API server is away for 20 s in the middle of a migration.
  ("$migbench" run --context "$context" --scenario smoke --strategies orchestrator >"$results/away.log" 2>&1
   echo $? >"$results/away.code") &
  until grep -qs migrate "$results/away.log"; do sleep 0.1; done
  step "$FAULT" stop apiserver
  sleep 20
  step "$FAULT" cont apiserver
  wait
  tail -n 3 "$results/away.log"
  case $(cat "$results/away.code") in 0 | 4 | 5 | 6) ;; *) echo "exit $(cat "$results/away.code")" >&2; exit 1 ;; esac
  step "$migbench" cleanup --context "$context" --all
  nothing_but "$installed"
fi

step "$migbench" destroy --context "$context"
nothing_but ""
printf '\ncluster.sh: 1 passed, 0 failed\n'
