#!/usr/bin/env python3
"""Moves the TensorFlow trainer to and fro on a cluster that is hurt meanwhile, and prints what came of each migration.

usage: KUBECONFIG=FILE FAULT=COMMAND tests/faults.py MIGBENCH [NUMBER OF MIGRATIONS]

`migbench deploy` has installed the orchestrator and `default/tensorflow-checkpoint-pvc`; FAULT is a command like the rig's
(`cut|join NODE`, `stop|cont etcd|apiserver|NODE`, `fill|empty nfs`). Ends with 1 where a migration ended otherwise than
docs/orchestrator.md says, two trained at once, training went back behind a verified checkpoint, or nobody trains.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import threading
import time

NODES = ["gpu-server-03", "ai-storage-worker-01"]
NFS_SERVER = "ai-storage-master"
SELECTOR = "app.kubernetes.io/name=tensorflow-ai-workload"
TRAINER = "tensorflow-trainer"
# Struck when this step has ended; what; for how many seconds.
COURSES = [
    (None, None, 0),
    ("create", "source", 20), ("create", "target", 20), ("create", "apiserver", 15), ("create", "etcd", 15),
    ("standby", "source", 20), ("standby", "target", 20), ("standby", "apiserver", 15), ("standby", "etcd", 15),
    ("standby", "nfs", 20), ("standby", "full", 20),
    ("checkpoint", "source", 20), ("checkpoint", "target", 20), ("checkpoint", "apiserver", 15), ("checkpoint", "etcd", 15),
    ("checkpoint", "nfs", 20), ("handover", "source", 20), ("handover", "etcd", 15), ("create", "nfs", 20),
    (None, None, 0),
]  # fmt: skip


def strike(what, source, target):
    """What it is called, the words that hurt, and those that heal."""
    return {
        "source": ("source cut off", ["cut", source], ["join", source]),
        "target": ("target cut off", ["cut", target], ["join", target]),
        "apiserver": ("API server frozen", ["stop", "apiserver"], ["cont", "apiserver"]),
        "etcd": ("etcd frozen", ["stop", "etcd"], ["cont", "etcd"]),
        "nfs": ("NFS server frozen", ["stop", NFS_SERVER], ["cont", NFS_SERVER]),
        "full": ("export full", ["fill", "nfs"], ["empty", "nfs"]),
    }[what]


def kubectl(*words, check=True, timeout=60):
    made = subprocess.run(["kubectl", *words], capture_output=True, text=True, timeout=timeout)
    if check and made.returncode:
        raise RuntimeError("kubectl {}: {}".format(" ".join(words), made.stderr.strip()))
    return made.stdout


def until(what, seconds, found):
    """Wait for what `found` gives; errors of a cluster that is still getting well are passed over."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            if answer := found():
                return answer
        except (RuntimeError, subprocess.TimeoutExpired, ValueError) as error:
            last = error
        time.sleep(0.5)
    raise RuntimeError("waited {} s in vain: {} ({})".format(seconds, what, last))


class Steps:
    """What each trainer has said, by pod: (time, step) of its lines."""

    def __init__(self):
        self.said = {}

    def read(self, pod):
        lines = kubectl("logs", pod, "-c", TRAINER, check=False).splitlines()
        found = set()
        for line in lines:
            try:
                said = json.loads(line)
                if said.get("event") == "step":
                    found.add((said["t"], said["step"]))
            except (ValueError, TypeError, AttributeError):
                pass
        self.said.setdefault(pod, set()).update(found)

    def follow(self, pod):
        """Go on reading, so that the last lines of a pod that is deleted are known."""

        def loop():
            while True:
                try:
                    self.read(pod)
                except subprocess.TimeoutExpired:
                    pass
                time.sleep(0.3)
                if pod not in self.said:
                    return

        self.said.setdefault(pod, set())
        threading.Thread(target=loop, daemon=True).start()

    def last(self, pod):
        return max((step for _, step in self.said.get(pod, ())), default=None)


def trainers():
    """Pods whose trainer runs and that are not being deleted, with their nodes."""
    pods = json.loads(kubectl("get", "pods", "-l", SELECTOR, "-o", "json"))["items"]
    found = []
    for pod in pods:
        states = {status["name"]: status["state"] for status in pod.get("status", {}).get("containerStatuses", [])}
        if "running" in states.get(TRAINER, {}) and "deletionTimestamp" not in pod["metadata"]:
            found.append((pod["metadata"]["name"], pod["spec"]["nodeName"]))
    return found


def the_trainer(steps):
    """The one pod that trains: its steps grow."""
    pods = trainers()
    if len(pods) != 1:
        return None
    pod = pods[0][0]
    steps.read(pod)
    before = steps.last(pod)
    time.sleep(1.5)
    steps.read(pod)
    after = steps.last(pod)
    return pods[0] if after is not None and after != before else None


def claims(pod):
    """Epochs with who claimed them, at which step."""
    script = 'cd /migration-checkpoint/checkpoints/.epochs; for f in epoch-*; do echo "$f $(cat "$f")"; done'
    found = {}
    for line in kubectl("exec", pod, "-c", TRAINER, "--", "sh", "-c", script).splitlines():
        name, claim = line.split(" ", 1)
        found[int(name.removeprefix("epoch-"))] = json.loads(claim)
    return dict(sorted(found.items()))


def migration_of(pod):
    """The newest migration of a pod, once its end is known."""
    items = json.loads(kubectl("get", "migrations.migbench.io", "-o", "json"))["items"]
    own = [item for item in items if item["spec"]["podName"] == pod]
    newest = max(own, key=lambda item: item["metadata"]["creationTimestamp"], default=None)
    return newest if newest and newest.get("status", {}).get("phase") in ("Completed", "Failed", "Cancelled") else None


def deploy():
    """The scenario's pod, with requests and limits for nodes of one CPU."""
    text = kubectl("kustomize", "scenarios/tensorflow")
    text = re.sub(r"cpu: (\d+)m", lambda cpu: "cpu: {}m".format(int(cpu[1]) * 35 // 100), text)
    objects = text.split("\n---\n")
    objects = [item for item in objects if "kind: PersistentVolumeClaim" not in item]
    made = "\n---\n".join(objects).replace("\nspec:\n  containers:", "\nspec:\n  nodeName: {}\n  containers:".format(NODES[0]))
    subprocess.run(["kubectl", "apply", "-f", "-"], input=made, text=True, check=True, stdout=sys.stderr)


def move(program, steps, course):
    """One migration; a row of the table."""
    when, what, seconds = course
    pod, source = until("a pod that trains", 300, lambda: the_trainer(steps))
    target = next(node for node in NODES if node != source)
    steps.follow(pod)
    known = set(claims(pod))
    began = time.monotonic()
    command = [program, "migrate", pod, "--to", target, "--yes", "--context", context(), "--timeout", "4m"]
    operator = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    told = []
    struck = threading.Event()

    def listen():
        for line in operator.stdout:
            told.append(line.rstrip())
            if when and line.strip().startswith(when + " "):
                struck.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    name = "–"
    if what:
        while not struck.is_set() and operator.poll() is None:
            time.sleep(0.02)
        name, hurt, heal = strike(what, source, target)
        name = "{} for {} s after `{}`".format(name, seconds, when)
        subprocess.run([FAULT, *hurt], check=True)
        try:
            time.sleep(seconds)
        finally:
            subprocess.run([FAULT, *heal], check=True)
    operator.wait()
    listener.join()
    migration = until("the migration's end", 600, lambda: migration_of(pod))
    until("nodes", 600, lambda: "False" not in ready() and "Unknown" not in ready())
    new, node = until("a pod that trains", 300, lambda: the_trainer(steps))
    status = migration["status"]
    took = time.monotonic() - began
    made = {epoch: claim for epoch, claim in claims(new).items() if epoch not in known}
    reason = status.get("reason") if status["phase"] != "Completed" else None
    row = {
        "struck": name,
        "outcome": status["phase"] + (" ({})".format(reason) if reason else ""),
        "trains": "target" if new != pod else "source",
        "claimed": ", ".join("{}: {}".format(epoch, claim["step"]) for epoch, claim in made.items()),
        "pause": pause(status.get("pause")),
        "operator": operator.returncode,
        "seconds": round(took),
    }
    row["faults"] = "; ".join(judge(steps, pod, new, made, status))
    print(row, *told[-12:], sep="\n  ", file=sys.stderr, flush=True)
    if new != pod:
        steps.said.pop(pod, None)
    return row


def pause(parts):
    """Seconds of it, where the target stood by and took over."""
    found = [seconds for name, seconds in (parts or {}).items() if name != "standbySeconds" and seconds is not None]
    return "{:.1f}".format(sum(found)) if found else "–"


def judge(steps, pod, new, made, status):
    """What must not be."""
    faults = []
    if status["phase"] == "Completed" and new == pod:
        faults.append("completed, and the source trains")
    if status["phase"] != "Completed" and new != pod:
        faults.append("not completed, and another pod trains")
    source, target = steps.said.get(pod, set()), steps.said.get(new, set())
    if new != pod and source and target:
        last, first = max(source), min(target)
        if last[0] > first[0]:
            faults.append("two trained at once for {:.1f} s".format(last[0] - first[0]))
    verified = [one["step"] for one in (status.get("checkpoints") or {}).values()]
    for epoch, claim in made.items():
        if verified and claim["step"] < max(verified):
            faults.append("epoch {} began at {}, {} was verified".format(epoch, claim["step"], max(verified)))
    began = max((claim["step"] for claim in made.values()), default=None)
    if new != pod and began is not None and source and max(step for _, step in source) > began:
        faults.append("{} steps were made again".format(max(step for _, step in source) - began))
    return faults


def ready():
    return kubectl("get", "nodes", "-o", 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}')


def context():
    return kubectl("config", "current-context").strip()


def main():
    program, courses = os.path.abspath(sys.argv[1]), COURSES[: int(sys.argv[2]) if len(sys.argv) > 2 else None]
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    deploy()
    steps = Steps()
    rows = []
    try:
        for course in courses:
            rows.append(move(program, steps, course))
    finally:
        print("{}, {}".format(datetime.date.today(), program))
        print("| | struck | outcome | trains | epoch: step | pause, s | exit code | until steps were made, s | faults |")
        print("|---|---|---|---|---|---|---|---|---|")
        for number, row in enumerate(rows, 1):
            print("| {} | {} |".format(number, " | ".join(str(value) for value in row.values())))
    if any(row["faults"] for row in rows) or len(rows) < len(courses):
        sys.exit(1)


FAULT = os.environ.get("FAULT") or sys.exit("FAULT names no command that hurts the cluster")
main()
