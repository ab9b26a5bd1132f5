#!/usr/bin/env bash
# The first command on hosts of many kinds, which are made here: prints a table of host, what was found, and outcome.
#   usage: tests/hosts.sh [PATTERN]     as root; only the rows whose name has PATTERN in it
#   M      the program to try; else target/release/migbench, or target/debug/migbench
#   ROOTS  where chroots are kept for the next time; without, nothing is kept
# A row is a run of the scenario smoke or, where the interpreter is the point, a short one of tensorflow, by the program
# alone, without a checkout beside it. Fails where a row ends otherwise than it should. What this machine cannot make says
# why. Takes about half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "skipped: hosts are made by root" >&2; exit 0; }
# Everything is mounted in a namespace of its own, and gone with it.
[ -n "${HOSTS_INSIDE:-}" ] || exec env HOSTS_INSIDE=1 unshare --mount --propagation private -- "$0" "$@"
pattern=${1:-}
for program in "${M:-}" target/release/migbench target/debug/migbench; do [ ! -x "$program" ] || break; done
[ -x "$program" ] || { echo "no program: cargo build, or M=path" >&2; exit 2; }

# Not below /tmp, which some rows change.
work=$(mktemp -d -p /var/tmp migbench-hosts.XXXXXX)
chmod 755 "$work"
trap 'cd /; umount --recursive --lazy "$work" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
install -D -m 755 "$program" "$work/bin/migbench"
migbench=$work/bin/migbench
roots=${ROOTS:-$work/roots}
mirror=$work/mirror
mkdir -p "$roots" "$mirror"
failed=0

smoke=(run --scenario smoke)
# Two short legs of the real thing.
tensorflow=(run --scenario tensorflow --set phases.samples=8 --set phases.interval=500ms --set phases.settle=2s
  --set phases.horizon=10s)
user=54321
as_user=(setpriv "--reuid=$user" "--regid=$user" --clear-groups)

# What gets through to a row: how this machine reaches its registries, and nothing else.
through=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
for name in PIP_INDEX_URL PIP_CERT PIP_DEFAULT_TIMEOUT {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY; do
  [ -z "${!name:-}" ] || through+=("$name=${!name}")
done

say() { printf '| %s | %s | %s |\n' "$@"; }
wants() { [[ $1 == *"$pattern"* ]]; }
short() { sed "s#$work#…#g" | paste -sd ' ' | tr -s ' ' | sed 's/|/\\|/g'; }
# What the program said of the host: what it fetched, and how containers are kept apart, without the reasons.
found() {
  sed -nE -e 's/^ {8}(fetching .*)/\1;/p' -e 's/^cluster embedded \((.*)\), Kubernetes.*/\1/p' "$1" |
    sed -E -e ': again' -e 's/ \([^()]*\)//' -e 't again' | short
}
# row NAME EXPECTED COMMAND...: EXPECTED is `runs`, or a piece of the error that is right there.
row() {
  local name=$1 expected=$2 code=0 outcome log=$work/log
  shift 2
  wants "$name" || return 0
  mkdir -p "$work/cwd" "$work/home"
  mkdir -m 1777 "$work/tmp"
  chown "$user" "$work/cwd" "$work/home"
  (
    cd "$work/cwd"
    exec env -i "${through[@]}" HOME="$work/home" TMPDIR="$work/tmp" timeout 1200 "$@"
  ) >"$log" 2>&1 </dev/null || code=$?
  case $code in
    # On a busy machine a measurement is rightly called invalid.
    0 | 6) outcome="run, exit $code" ;;
    *) outcome="exit $code: $(sed -n '/^migbench: /,$p' "$log" | sed 's/^migbench: //' | short)" ;;
  esac
  case $expected:$code in
    runs:[06]) ;;
    runs:*) failed=1 outcome="WRONG, $outcome"; tail -n 20 "$log" >&2 ;;
    *:3) grep -qF -e "$expected" "$log" || failed=1 outcome="WRONG, $outcome" ;;
    *) failed=1 outcome="WRONG, $outcome" ;;
  esac
  say "$name" "$(found "$log")" "$outcome"
  rm -rf --one-file-system "$work/cwd" "$work/home" "$work/tmp"
}
# A command to put before another one: do this first, in a mount namespace of its own.
mounting() { prefix=(unshare --mount -- sh -ec "$1"'; exec "$@"' sh); }

say host 'what was found' outcome
say --- --- ---

# --- this machine, changed
row 'this machine, root' runs "$migbench" "${smoke[@]}"
row 'ordinary user' runs "${as_user[@]}" "$migbench" "${smoke[@]}"
row 'no unshare' runs "${as_user[@]}" unshare --user --map-root-user sh -ec \
  'for kind in user mnt pid; do echo 0 >/proc/sys/user/max_${kind}_namespaces; done; exec "$@"' sh "$migbench" "${smoke[@]}"
mounting 'for point in $(findmnt --noheadings --list --output TARGET --types cgroup,cgroup2); do
  mount --bind "$point" "$point"; mount -o remount,bind,ro "$point"; done'
row 'no cgroup write' runs "${prefix[@]}" "$migbench" "${smoke[@]}"
row 'PID 1 of a container with all privileges' runs unshare --pid --fork --mount-proc --cgroup --mount -- "$migbench" "${smoke[@]}"
mounting 'mount -t tmpfs -o size=64m,mode=1777 tmpfs /tmp'
row '/tmp of 64 MB in memory' runs "${prefix[@]}" env -u TMPDIR "$migbench" "${smoke[@]}"
row 'RLIMIT_NOFILE 256' runs prlimit --nofile=256:256 "$migbench" "${smoke[@]}"
row 'umask 077' runs sh -c 'umask 077; exec "$@"' sh "${as_user[@]}" "$migbench" "${smoke[@]}"
row 'HOME not writable, smoke' runs "${as_user[@]}" env HOME=/ "$migbench" "${smoke[@]}"
row 'HOME not writable, tensorflow' 'set XDG_CACHE_HOME' "${as_user[@]}" env HOME=/ "$migbench" "${tensorflow[@]}"
row 'time zone and locale' runs env TZ=Asia/Kathmandu LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8 "$migbench" "${smoke[@]}"
mounting 'mount --bind . .; mount -o remount,bind,ro .; cd "$PWD"'
row 'read-only checkout, --results elsewhere' runs "${prefix[@]}" sh -c 'exec "$@" --results "$TMPDIR/results"' sh "$migbench" "${smoke[@]}"
row 'read-only checkout' '--results' "${prefix[@]}" "$migbench" "${smoke[@]}"

odd="$work/home/mit Leerzeichen und Ümläuten"
spaced='mkdir -p "$1/tmp" && cp "$2" "$1/" && cd "$1" && export TMPDIR="$1/tmp" && shift && shift && exec ./migbench "$@"'
row 'path with spaces and umlauts' runs sh -c "$spaced" sh "$odd" "$migbench" "${smoke[@]}"
if wants 'a shell full of Pythons' && python=$(type -P python3.11 || type -P python3.10 || type -P python3.9); then
  mkdir -p "$work/poison"
  echo 'raise SystemExit("the PYTHONPATH of the caller")' | tee "$work/poison/tensorflow.py" >"$work/poison/pip.py"
  row 'a shell full of Pythons' runs env PYTHONPATH="$work/poison" PYTHONHOME=/nowhere PIP_USER=1 PIP_TARGET=/nowhere \
    VIRTUAL_ENV=/nowhere CONDA_PREFIX=/nowhere XDG_CACHE_HOME="$work/home/Ümlaut und Leerzeichen" \
    MIGBENCH_PYTHON="$python" "$migbench" "${tensorflow[@]}"
else
  wants 'a shell full of Pythons' && say 'a shell full of Pythons' - 'skipped: no python3.9 to 3.11 here'
fi
row '--python that is none' 'named by --python' "$migbench" "${tensorflow[@]}" --python /bin/true

# --- other distributions, in chroots
chroots=yes
command -v debootstrap >/dev/null || chroots='skipped: no debootstrap'
# root NAME PACKAGES: a chroot in $root, made once.
root() {
  root=$roots/$1
  [ "$chroots" = yes ] || return 1
  [ -e "$root/made" ] || {
    rm -rf "$root"
    debootstrap --variant=minbase --include="$2" "${1%%-*}" "$root" >"$work/log" 2>&1 && touch "$root/made"
  } || { say "$1" - "skipped: debootstrap: $(tail -n 1 "$work/log" | short)"; return 1; }
  # The machine may have a certificate of its own, as companies do.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
  install -D "$program" "$root/usr/local/bin/migbench"
  # Each row is the first one there.
  local kernel="rm -rf $root/root/.cache; mount --rbind /proc $root/proc; mount --rbind /sys $root/sys; mount --rbind /dev $root/dev"
  mkdir -p "$root/mirror"
  mounting "$kernel; mount --bind $mirror $root/mirror; mount -t tmpfs tmpfs $root/tmp; cd /; set -- chroot $root \"\$@\""
  prefix+=(env -u TMPDIR HOME=/root PIP_CACHE_DIR=/mirror/pip-cache)
}
# uv's Pythons are on GitHub. Where that is out of reach, a list of our own leads uv to a Python from Debian's archive.
python_mirror() {
  local archive=cpython-3.11-linux.tar.gz
  pbs=()
  if curl --silent --head --fail --max-time 20 https://github.com/astral-sh/python-build-standalone >/dev/null 2>&1; then
    return
  fi
  [ -e "$mirror/list.json" ] || {
    mkdir -p "$mirror/debs" "$mirror/tree/python/lib"
    chroot "$roots/bookworm" sh -ec 'apt-get update; cd /var/tmp; apt-get download python3.11-minimal libpython3.11-minimal \
      libpython3.11-stdlib' >"$work/log" 2>&1
    for deb in "$roots"/bookworm/var/tmp/*.deb; do dpkg-deb --extract "$deb" "$mirror/debs"; rm "$deb"; done
    mv "$mirror/debs/usr/bin" "$mirror/tree/python/bin"
    mv "$mirror/debs/usr/lib/python3.11" "$mirror/tree/python/lib/"
    find "$mirror/tree" -type l -lname '/*' -delete
    tar --directory "$mirror/tree" --create --gzip --file "$mirror/$archive" python
    rm -rf "$mirror/tree" "$mirror/debs"
    cat >"$mirror/list.json" <<LIST
{"cpython-3.11.2-linux-x86_64-gnu": {"name": "cpython", "arch": {"family": "$(uname -m)", "variant": null}, "os": "linux",
  "libc": "gnu", "major": 3, "minor": 11, "patch": 2, "prerelease": "", "url": "file:///mirror/$archive", "sha256": null,
  "variant": null, "build": "20250101"}}
LIST
  }
  pbs=(UV_PYTHON_DOWNLOADS_JSON_URL=/mirror/list.json)
}
# The libraries are those of Debian's Python in the mirror; uv's own brings them along.
libraries=ca-certificates,libexpat1,libffi8,libsqlite3-0
if [[ " bookworm trixie " == *"${pattern%%[ ,]*}"* ]] && root bookworm "$libraries"; then
  python_mirror
  row 'bookworm, without any Python' runs "${prefix[@]}" "${pbs[@]}" migbench "${tensorflow[@]}"
  row 'bookworm, without any Python, --offline' '--workload builtin' "${prefix[@]}" migbench "${tensorflow[@]}" --offline
  root bookworm-python "$libraries,python3" &&
    row 'bookworm, python3 without venv and pip' runs "${prefix[@]}" migbench "${tensorflow[@]}"
  root trixie "$libraries,python3" && {
    row 'trixie, Python 3.13 only' runs "${prefix[@]}" "${pbs[@]}" migbench "${tensorflow[@]}"
    row 'trixie, Python 3.13 only, no network' '--workload builtin' unshare --net sh -c 'ip link set lo up; exec "$@"' sh \
      "${prefix[@]}" migbench "${tensorflow[@]}"
    row 'trixie, Python 3.13 only, no network, --workload builtin' runs unshare --net sh -c 'ip link set lo up; exec "$@"' sh \
      "${prefix[@]}" migbench run --scenario tensorflow --workload builtin --set phases.samples=8 \
      --set phases.interval=500ms --set phases.settle=2s --set phases.horizon=10s
  }
elif [ "$chroots" != yes ]; then
  say 'bookworm, trixie' - "$chroots"
fi
wants arm64 && say 'arm64' - 'skipped: this machine runs no arm64 programs; its lock files are checked by the tests'
wants Ubuntu && say 'Ubuntu 24.04, Fedora' - 'skipped: their archives cannot be reached from here; the remedies are checked by the tests'
exit "$failed"
