# Run in a pod on each node; prints KEY=VALUE lines. What cannot be read is left out.
host=/host/sys
sys=$host
[ -d "$sys" ] || sys=/sys
cgroup=$sys/fs/cgroup
first() { head -n 1 "$1" 2>/dev/null; }

if [ -f "$cgroup/cgroup.controllers" ]; then
    echo "cgroup.mode=v2"
    echo "cgroup.controllers=$(first "$cgroup/cgroup.controllers")"
elif [ -f "$cgroup/unified/cgroup.controllers" ]; then
    echo "cgroup.mode=hybrid"
elif [ -d "$cgroup/memory" ]; then
    echo "cgroup.mode=v1"
fi
if [ -d "$host" ]; then
    for root in kubepods.slice kubelet.slice kubepods kubelet; do
        [ -d "$cgroup/$root" ] && echo "cgroup.root=$root" && break
    done
    # Interfaces with a device behind them: a bridge or a veth pair states a speed that no cable has.
    for link in "$host"/class/net/*; do
        [ -e "$link/device" ] && [ "$(first "$link/operstate")" != down ] &&
            echo "link.${link##*/}=$(first "$link/speed")"
    done
fi

model=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
# ARM has no name, only numbers.
[ -n "$model" ] || model=$(grep -E '^CPU (implementer|part)' /proc/cpuinfo | sort -u | sed 's/.*: //' | tr '\n' ' ')
echo "cpu.model=$model"

if command -v getent >/dev/null && command -v timeout >/dev/null; then
    if timeout 5 getent hosts kubernetes.default.svc >/dev/null; then echo dns=yes; else echo dns=no; fi
fi
if command -v python3 >/dev/null; then
    echo "tensorflow=$(python3 -c '
from importlib.metadata import version, PackageNotFoundError
for name in "tensorflow", "tensorflow-cpu":
    try:
        print(version(name))
        break
    except PackageNotFoundError:
        pass' 2>/dev/null)"
fi
exit 0
