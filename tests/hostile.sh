#!/usr/bin/env bash
# Hostile pods on an embedded cluster, and what they did to its host: nothing, or this fails.
#
#     tests/hostile.sh MIGBENCH [root|user]    as whom the cluster runs
#
# Until it passes, this destroys what it finds. So the host is a throw-away one: a directory with copies of the programs
# that are needed, made the root of a mount and PID namespace of its own, in which nothing of this host is mounted but
# /sys. What is tried there and in /proc changes nothing when it succeeds: files are opened for writing, and not written.
# Exit code 77: cannot be tried here, and why.
set -euo pipefail

PROGRAMS="bash cat cmp cp diff du env find grep head id kubectl ln ls mkdir mkfifo mknod mount rm rmdir sed sha256sum sleep sort
  tail touch tr true umount wc"

skip() { echo "skipped: $*"; exit 77; }

# ---- outside: make the host ----

install_programs() { # TREE HOW: with the libraries that they load
  local one path
  for one in $PROGRAMS; do
    path=$(type -P "$one") || skip "no $one"
    cp -L "$path" "$1/usr/bin/$one"
  done
  ln -s bash "$1/usr/bin/sh"
  cp "$MIGBENCH" "$1/usr/bin/migbench"
  for one in "$1"/usr/bin/*; do ldd "$one" 2>/dev/null || true; done | grep -o '/[^ ]*[^ :]' | sort -u | while read -r path; do
    mkdir -p "$1/${path%/*}"; cp -L "$path" "$1/$path"
  done
}

make_tree() { # TREE HOW
  local one
  mkdir -p "$1"/usr/{bin,sbin,lib,lib64} "$1"/{etc,root,home/somebody,srv,opt,mnt/data,proc,sys,dev,run,tmp,test}
  mkdir -p "$1"/var/{log,tmp,lib/database}; chmod 1777 "$1"/{tmp,var/tmp}
  for one in bin sbin lib lib64; do ln -s "usr/$one" "$1/$one"; done
  ln -s /run "$1/var/run"; ln -s /home/somebody "$1/link"
  for one in etc/secret var/lib/database/rows srv/site opt/tool root/profile swapfile; do echo precious >"$1/$one"; done
  install_programs "$1"
  cp "$0" "$1/usr/bin/hostile"
  # All of it is the ordinary user's, and could be harmed by one.
  [ "$2" = root ] || [ "$(id -u)" != 0 ] || chown -hR 1000:1000 "$1"
}

enter() { # TREE HOW: make it the root of what this process sees, and go on inside
  local one owner=0
  [ "$2" = root ] || [ ! -e "$1/usr/bin/setpriv" ] || owner=1000
  mount --make-rprivate /
  mount --bind "$1" "$1"; cd "$1"
  mount --rbind /sys sys
  mount -t proc proc proc
  # File systems of their own, at the top and below it, as they are on many hosts.
  for one in dev run tmp home mnt/data var/log; do
    mount -t tmpfs -o "mode=755,uid=$owner,gid=$owner" tmpfs "$one"
    echo precious >"$one/thesis"
  done
  mkdir home/somebody dev/shm dev/pts; chmod 1777 tmp
  chown -R "$owner:$owner" home mnt/data var/log run/thesis tmp/thesis
  for one in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${one%:*}" c 1 "${one#*:}" 2>/dev/null && continue
    touch "dev/${one%:*}"; mount --bind "/dev/${one%:*}" "dev/${one%:*}"
  done
  pivot_root . test
  exec env -i PATH=/usr/bin HOME=/test /usr/bin/bash -c 'umount -l /test && exec bash /usr/bin/hostile inside "$0"' "$2"
}

outside() { # MIGBENCH [HOW]
  MIGBENCH=$(realpath "$1")
  local how=${2:-$([ "$(id -u)" = 0 ] && echo root || echo user)} ours="unshare --mount --pid --fork --kill-child"
  if [ "$(id -u)" != 0 ]; then
    [ "$how" = user ] || skip "this is not root"
    # Root in a user namespace for the host's sake, and an ordinary user in one below it for the cluster's.
    ours="$ours --user --map-root-user"; PROGRAMS="$PROGRAMS unshare"
  elif [ "$how" = user ]; then
    PROGRAMS="$PROGRAMS setpriv"
  fi
  $ours bash -c 'mount --make-rprivate / && mount -t tmpfs tmpfs /mnt' 2>/dev/null || skip "no namespaces for this user"
  tree=$(mktemp -d "${TMPDIR:-/tmp}/hostile.XXXXXX")
  trap 'rm -rf --one-file-system "$tree"' EXIT
  chmod 755 "$tree"
  make_tree "$tree" "$how"
  $ours bash "$0" enter "$tree" "$how"
}

# ---- inside: the cluster and its pods ----

become_user() { # COMMAND…
  if [ "$HOW" = root ]; then exec "$@"
  elif [ -e /usr/bin/setpriv ]; then exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"
  else exec unshare --user --map-user=1000 --map-group=1000 "$@"
  fi
}

k() { kubectl --kubeconfig "$K" "$@"; }

pod() { # NAME SCRIPT [MOUNTS VOLUMES]
  local quote="'"
  k apply -f - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  nodeSelector: {kubernetes.io/hostname: gpu-server-03}
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  volumes: [${4:-}]
  containers:
  - {name: main, image: migbench, volumeMounts: [${3:-}], command: [bash, -c, '${2//$quote/$quote$quote}']}
END
}

phase() { k get pod "$1" -o 'jsonpath={.status.phase}' 2>/dev/null || true; }

stopped_forking() { k logs processes 2>&1 | grep -E 'unavailable|unlimited'; }

till() { # CONDITION…: until it is true; two minutes end a hang
  local end=$((SECONDS + 120))
  while [ $SECONDS -lt $end ]; do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
  return 1
}

ended() { case $(phase "$1") in Succeeded | Failed) ;; *) return 1 ;; esac; }
events() { k get events -o 'jsonpath={.items[*].message}' --field-selector "involvedObject.name=$1"; }
refused() { events "$1" | grep -qE 'subPath|MountVolume|must not contain'; }

bad() { echo "BAD  $*"; BAD=1; }
ran() { till ended "$1" || bad "$1 does not end: $(k get pod "$1" | tail -n 1)"; }
says() { # POD WHAT: exactly this is what it prints
  ran "$1"
  local seen; seen=$(k logs "$1" 2>&1 | tr '\n' ' ') || seen="$seen$(events "$1")"
  if [ "$seen" = "$2" ]; then echo "ok   $1: ${2:-prints nothing}"; else bad "$1: prints '$seen', expected '$2'"; fi
}

snapshot() {
  local but='( -path /proc -o -path /sys -o -path /test -o -name migbench-[0-9]* ) -prune -o'
  set -f
  # The size of a directory is the file system's affair.
  find / $but -type d -printf '%p %m %U:%G\n' -o -printf '%p %y %m %U:%G %s %l\n'
  # Without root, devices are mounted over files, which find takes them for.
  find / $but -path /dev -prune -o -type f -exec sha256sum {} +
  set +f
}

writing_and_removing() {
  local everywhere='/*/ /var/log/ /var/tmp/ /mnt/data/ /home/somebody/ /var/lib/database/'
  pod plant "for d in $everywhere; do case \$d in /proc/ | /sys/) ;; *) echo x >\$d/planted; esac; done 2>/dev/null; \
    for f in /swapfile /etc/secret /*/thesis /mnt/data/thesis /var/log/thesis; do echo x >\$f; done 2>/dev/null; true"
  ran plant
  pod wreck "rm -rf --no-preserve-root \$(ls -d /* | grep -vE '^/(proc|sys)\$') 2>/dev/null; echo gone"
  ran wreck
}

mount_targets() {
  local path mounts=
  for path in /var/run/x /link/y /../../srv/x /tmp/deep/er /dev/shm/x /home/../etc/x; do
    mounts="${mounts:+$mounts, }{name: v, mountPath: $path}"
  done
  pod targets 'for d in /run/x /home/somebody/y /srv/x /tmp/deep/er /dev/shm/x /etc/x; do echo seen >$d/file; ls $d; done | sort -u' \
    "$mounts" '{name: v, emptyDir: {}}'
  says targets "file "
}

keys_and_sub_paths() {
  k apply -f - >/dev/null 2>&1 <<'END' || echo "ok   keys: refused by the API"
apiVersion: v1
kind: ConfigMap
metadata: {name: keys}
data: {"../../../../../../tmp/escaped": x, "/tmp/escaped": x, "../escaped": x}
END
  pod keys 'ls /conf' '{name: v, mountPath: /conf}' '{name: v, configMap: {name: keys}}'
  if till refused keys; then echo "ok   keys: refused"; else bad "keys: $(phase keys)"; fi
  k apply -f - >/dev/null <<'END'
apiVersion: v1
kind: ConfigMap
metadata: {name: plain}
data: {a: x}
END
  pod items 'ls /conf' '{name: v, mountPath: /conf}' \
    '{name: v, configMap: {name: plain, items: [{key: a, path: ../../../../../../tmp/escaped}]}}' &&
    { till refused items || bad "items: $(phase items)"; } || echo "ok   items: refused by the API"
  k apply -f - >/dev/null <<'END'
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
END
  local claim='{name: v, persistentVolumeClaim: {claimName: claim}}' link
  pod planter 'cd /v; ln -s /etc absolute; ln -s ../../../../../../../../etc relative; ln -s /proc/1/root/etc magic; mkdir inside;
    ln -s inside alias' \
    '{name: v, mountPath: /v}' "$claim"
  ran planter
  for link in absolute/x relative/x magic/x absolute relative ../x inside/../../x; do
    name=sub-${link//[^a-z]/-}x
    pod "$name" 'ls /v; echo x >/v/escaped' "{name: v, mountPath: /v, subPath: $link}" "$claim" ||
      { echo "ok   subPath $link: refused by the API"; continue; }
    if till refused "$name"; then echo "ok   subPath $link: refused"; else bad "subPath $link: $(phase "$name")"; fi
  done
  pod alias 'echo seen >/v/file' '{name: v, mountPath: /v, subPath: alias}' "$claim"
  pod found 'until [ -e /v/inside/file ]; do sleep 0.1; done; cat /v/inside/file' '{name: v, mountPath: /v}' "$claim"
  says found "seen "
}

kernel_and_devices() {
  # ":>>" opens for writing, and writes nothing.
  pod kernel 'for f in /proc/sysrq-trigger /proc/sys/kernel/panic /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness
    /sys/kernel/mm/ksm/run /sys/power/state /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/release_agent;
    do [ ! -e $f ] || { : >>$f; } 2>/dev/null && [ -e $f ] && echo "$f can be written"; done;
    for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/mbhostile 2>/dev/null && rmdir $d/mbhostile && echo "$d takes a cgroup"; done;
    mknod /tmp/disk b 254 0 2>/dev/null && echo "a device was made";
    mount -t tmpfs tmpfs /mnt 2>/dev/null && echo "mounted"; mount -o remount,rw,bind /proc/sys 2>/dev/null && echo "remounted";
    umount -l /proc/sysrq-trigger 2>/dev/null && echo "unmounted";
    ls -d /dev/* | tr "\n" " "'
  says kernel "/dev/fd /dev/full /dev/null /dev/ptmx /dev/pts /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/termination-log /dev/urandom /dev/zero "
  pod cluster "cat /tmp/migbench-*/*/kubeconfig /var/tmp/migbench-*/*/kubeconfig $K 2>/dev/null; true"
  says cluster ""
}

the_clusters_program() {
  # CVE-2019-5736: the program that starts a command in a container is taken hold of there, and written to once it has ended.
  pod victim 'for n in {1..300}; do for p in /proc/[0-9]*; do
      case $(ls -l $p/exe 2>/dev/null) in */migbench | */shim | *"-> /") exec 3<$p/exe && break 2; esac; done; sleep 0.1; done;
    [ -e /proc/self/fd/3 ] || echo "not taken";
    for n in {1..60}; do { : >>/proc/self/fd/3; } 2>/dev/null && echo writable; sleep 0.1; done; echo tried'
  till k exec victim -- true
  k exec victim -- /proc/self/exe verify-checkpoint --root /tmp --require nothing --patience 3s >/dev/null 2>&1 || true
  says victim "tried "
}

processes_and_log() {
  pod log 'head -c 120000000 /dev/zero | tr "\0" x; echo; echo last'
  ran log
  # Parts of 16 KiB, and then a line.
  [ "$(k logs log --tail=1)" = last ] && echo "ok   log: its last line is kept" || bad "log: $(k logs log --tail=1 | head -c 100)"
  local kept; kept=$(du -sk --apparent-size "${K%/*}/pods" | sed 's/\t.*//')
  [ "$kept" -lt 60000 ] && echo "ok   log: $((kept / 1024)) MiB are kept" || bad "log: $kept KiB are kept"
  if [ "$HOW" = root ] && grep -q "no cgroup" /test/up; then
    echo "skipped: root without cgroups has no limit of processes"
    return
  fi
  # Bounded where there is no limit.
  pod processes 'n=0; while [ $n -lt 6000 ]; do sleep 600 & n=$((n + 1)); done; echo unlimited'
  till stopped_forking
  local started; started=$(find /proc -maxdepth 1 -name '[0-9]*' | wc -l)
  if [ "$started" -gt 4000 ] && [ "$started" -lt 4200 ]; then echo "ok   processes: no more than 4096"; else bad "processes: $started"; fi
  k delete pod processes --force --grace-period=0 >/dev/null 2>&1
}

inside() { # HOW
  [ $$ = 1 ] && [ "$(cat /swapfile)" = precious ] && [ -z "$(ls -A /test)" ] || { echo "not on a host of one's own"; exit 2; }
  HOW=$1 BAD=0
  become_user migbench cluster up >/test/up 2>/test/err &
  cluster=$!
  trap 'kill "$cluster" 2>/dev/null; wait "$cluster" || true' EXIT
  till grep -q kubeconfig /test/up || { cat /test/up /test/err; exit 1; }
  sed -n 's/^ *isolation */isolation: /p' /test/up
  K=$(sed -n 's/^ *kubeconfig *//p' /test/up)
  grep -q "own mount namespaces" /test/up || skip "containers have no mount namespaces here: nothing keeps them from the host"
  snapshot >/test/before
  writing_and_removing
  mount_targets
  keys_and_sub_paths
  kernel_and_devices
  the_clusters_program
  processes_and_log
  snapshot >/test/after
  kill "$cluster"; wait "$cluster" || bad "the cluster ends with $?: $(cat /test/err)"
  if cmp -s /test/before /test/after; then echo "ok   the host is as it was"; else bad "the host:"; diff /test/before /test/after || true; fi
  find / -name 'migbench-[0-9]*' -not -path '/proc/*' -not -path '/sys/*' 2>/dev/null | grep . && bad "the cluster left this behind"
  trap - EXIT
  exit $BAD
}

case ${1:-} in
  enter) enter "$2" "$3" ;;
  inside) inside "$2" ;;
  "") echo "usage: $0 MIGBENCH [root|user]"; exit 2 ;;
  *) outside "$@" ;;
esac
