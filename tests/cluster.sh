#!/usr/bin/env bash
# Everything that wants a real cluster, by one command: installs migbench there, examines the cluster, runs both
# scenarios, reads the result again, hurts the cluster where that can be done, and removes everything.
#   usage: tests/cluster.sh
# KUBECONFIG names the cluster. Without it the rig of a neighbouring folder is started (three nodes on this machine, root),
# and stopped at the end, unless KEEP is set.
# What else there is to say is told in the environment:
#   SCENARIOS              those to run; "smoke tensorflow" unless told otherwise
#   NODES                  source and target, where they have other names than in the scenarios: "NAME NAME"
#   NFS_SERVER, NFS_PATH   an export for checkpoints, where no storage class provides ReadWriteMany
#   LOAD                   a command that brings an image archive (its argument) to the nodes
#   FAULT                  the rig's `fault` command; without it nothing but the orchestrator is hurt
set -euo pipefail
cd "$(dirname "$0")/.."
rig=${RIG:-../shared/rig}
scenarios=${SCENARIOS:-smoke tensorflow}

skip() { echo "skipped: $*"; exit 0; }
step() { printf '\n== %s\n' "$*"; "$@"; }
ours() { # what of ours is in the cluster; pods of the orchestrator and agents change their names as they are replaced
  kubectl get namespaces,persistentvolumes,clusterroles,clusterrolebindings,customresourcedefinitions -l app.kubernetes.io/managed-by=migbench -o name
  kubectl get all,configmaps,persistentvolumeclaims,serviceaccounts,roles,rolebindings,poddisruptionbudgets -A -l app.kubernetes.io/managed-by=migbench \
    -o name | sed -E 's/^(pod.ai-storage-orchestrator-[^-]*)-.*/\1/; s/^(pod.migbench-agent)-.*/\1/'
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
  [ -n "${KEEP:-}" ] || trap '"$rig/down"' EXIT
  KUBECONFIG=$(timeout 20m "$rig/up" --nodes | tail -n 1) || skip "the rig does not start here"
  export KUBECONFIG
  NFS_SERVER=10.77.0.11 NFS_PATH=/ LOAD=$rig/load FAULT=$rig/fault
  kubectl wait --for=condition=Ready node --all --timeout=600s
  if [[ $scenarios = *tensorflow* ]]; then
    images=$(kubectl get node gpu-server-03 ai-storage-worker-01 -o jsonpath='{range .items[*]}{.status.images[*].names}{"\n"}{end}')
    if [ "$(grep -c tensorflow:2.13.0 <<<"$images")" = 2 ]; then
      :
    elif image=$("$rig/tensorflow-image"); then
      step "$rig/load" --workers "$image"
    else
      echo "skipped: scenario tensorflow, since its image cannot be had here"
      scenarios=${scenarios//tensorflow/}
    fi
  fi
fi
context=$(kubectl config current-context)
nfs=()
site=(--context "$context")
[ -z "${NODES:-}" ] || site+=(--set "nodes.source=${NODES% *}" --set "nodes.target=${NODES#* }")
[ -z "${NFS_SERVER:-}" ] || nfs=(--nfs-server "$NFS_SERVER" --nfs-path "${NFS_PATH:-/}")

step cargo build --locked
migbench=$PWD/target/debug/migbench
results=$(mktemp -d)
if [ -n "${LOAD:-}" ]; then
  step "$migbench" image save "$results/migbench.tar"
  step $LOAD "$results/migbench.tar"
fi
export MIGBENCH_RESULTS=$results

nothing_but ""
# These install and remove.
MIGBENCH_TEST_KUBECONFIG=$KUBECONFIG step cargo test --locked --test records manifests
nothing_but ""
step "$migbench" deploy --context "$context" "${nfs[@]}"
installed=$(ours | sort)
for scenario in $scenarios; do
  step "$migbench" doctor "${site[@]}" --scenario "$scenario"
  nothing_but "$installed"
  code=0
  step "$migbench" run "${site[@]}" --scenario "$scenario" --rounds 2 || code=$?
  # On a busy machine a measurement is rightly called invalid; all else was done then, too.
  case $code in 0) ;; 6) echo "this machine was too busy to measure $scenario" ;; *) exit "$code" ;; esac
  nothing_but "$installed"
done
for format in table csv json; do
  "$migbench" report --format "$format" >"$results/report.$format"
  "$migbench" report --format "$format" | cmp - "$results/report.$format"
done

MIGBENCH_TEST_KUBECONFIG=$KUBECONFIG step cargo test --locked --test contract
nothing_but "$installed"

kill_leader() { # the orchestrator's replica that works
  local leader
  leader=$(kubectl -n kube-system get lease ai-storage-orchestrator -o jsonpath='{.spec.holderIdentity}')
  kubectl -n kube-system delete pod "${leader%%_*}" --force --grace-period=0
}
hurt() { # word in the log at which to strike, command, seconds, command that heals, options of the run...
  local when=$1 strike=$2 seconds=$3 heal=$4 log=$results/hurt.log code=0
  shift 4
  "$migbench" run "${site[@]}" --scenario smoke "$@" >"$log" 2>&1 &
  local run=$!
  until grep -q "$when" "$log"; do kill -0 "$run" 2>/dev/null || break; sleep 0.1; done
  step $strike
  sleep "$seconds"
  step $heal
  wait "$run" || code=$?
  tail -n 8 "$log"
  # A right result, or an error with a name.
  case $code in 0 | 4 | 5 | 6) ;; *) echo "exit $code after: $strike" >&2; exit 1 ;; esac
  kubectl wait --for=condition=Ready node --all --timeout=600s
  step "$migbench" cleanup --context "$context" --all
  nothing_but "$installed"
}
hurt migrate kill_leader 1 "kubectl -n kube-system rollout status deployment/ai-storage-orchestrator --timeout=300s" --strategies orchestrator
if [ -n "${FAULT:-}" ]; then
  hurt armed "$FAULT cut gpu-server-03" 30 "$FAULT join gpu-server-03"
  hurt migrate "$FAULT stop apiserver" 20 "$FAULT cont apiserver" --strategies orchestrator
else
  echo "skipped: FAULT names no command that hurts the cluster"
fi

step "$migbench" destroy --context "$context"
nothing_but ""
printf '\ncluster.sh: 1 passed, 0 failed\n'
