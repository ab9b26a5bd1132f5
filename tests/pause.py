#!/usr/bin/env python3
"""Measures for how long a migration stops the training, and prints a table: TensorFlow and checkpoints of three sizes, natively
and orchestrated without and with a standby, beside the limit: a write, a sync and a read of as many bytes on the same volume.

usage: [KUBECONFIG=FILE] tests/pause.py MIGBENCH [WORKLOAD…]        (WORKLOAD: tensorflow, 10M, 100M, 1G)

Without KUBECONFIG on the embedded cluster; with it on that one, where `migbench deploy` has been and
`default/tensorflow-checkpoint-pvc` is bound. Each number is one migration: a table of sizes, no result to certify.
"""

import datetime
import glob
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
NODES = {"source": "gpu-server-03", "target": "ai-storage-worker-01"}
PHASES = ["quiesce", "write", "sync", "command", "read", "claim", "first_step"]
CLUSTER = "KUBECONFIG" in os.environ
QUICK = {
    "tensorflow": {
        "processorDuration": "20s", "phases.interval": "250ms", "phases.settle": "5s", "phases.horizon": "25s",
    },
}  # fmt: skip
# The same bytes, as one file; the seconds of it. What is read was written by the other node, where there is one.
WRITE = """
import os, sys, time
part, size = os.urandom(1 << 20), int(sys.argv[2])
begun = time.monotonic()
file = open(sys.argv[1], "wb", buffering=0)
for _ in range(size >> 20): file.write(part)
file.write(part[: size & ((1 << 20) - 1)])
os.fsync(file.fileno())
print(time.monotonic() - begun)
"""
READ = """
import os, sys, time
begun = time.monotonic()
file, part = open(sys.argv[1], "rb", buffering=0), bytearray(1 << 20)
while file.readinto(part): pass
print(time.monotonic() - begun)
os.unlink(sys.argv[1])
"""


def output(*words, stdin=None):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, input=stdin).stdout


def scenario(workload, scratch):
    """A scenario whose trainer has checkpoints of that size. It writes one when it is asked to and no others, so that the
    native arm starts anew and reads nothing."""
    if workload == "tensorflow":
        return workload
    directory = os.path.join(scratch, workload)
    shutil.copytree(os.path.join(HERE, "..", "scenarios", "smoke"), directory)
    path = os.path.join(directory, "pod.yaml")
    with open(path) as file:
        text = file.read()
    for old, new in [
        ("        - --memory=48Mi\n", "        - --memory=48Mi\n        - --checkpoint-size={}\n        - --every=1h\n".format(workload)),
        ("memory: 64Mi", "memory: 3Gi"),
        ("memory: 256Mi", "memory: 3Gi"),
        ("trainer.timeout: 30s", "trainer.timeout: 150s"),
    ]:
        assert old in text, old
        text = text.replace(old, new, 1)
    text = text.replace('"/migration-checkpoint"]', '"/migration-checkpoint", "--timeout", "140s"]')
    with open(path, "w") as file:
        file.write(text)
    return directory


def run(program, named, workload, standby, results):
    words = [program, "run", "--scenario", named, "--rounds", "1", "--fit", "--results", results]
    for key, value in QUICK.get(workload, {}).items():
        words += ["--set", "{}={}".format(key, value)]
    if not standby:
        words += ["--set", "orchestrator.standby=false"]
    if CLUSTER:
        words += ["--kubeconfig", os.environ["KUBECONFIG"]]
    ended = subprocess.run(words, stdout=sys.stderr, check=False).returncode
    # 6: a doubt about the CPU's reduction, which this is not about.
    if ended not in (0, 6):
        sys.exit("{} {}: exit code {}".format(workload, "standby" if standby else "no standby", ended))
    newest = max(glob.glob(os.path.join(results, "*", "run.json")), key=os.path.getmtime)
    summary = json.loads(output(program, "report", newest, "--format", "json"))
    return {metric["name"]: metric for metric in summary["comparisons"][0]["metrics"]}


class Volume:
    """Where checkpoints lie, as seen by both nodes."""

    def __enter__(self):
        if CLUSTER:
            for end, node in NODES.items():
                mount = {"name": "v", "mountPath": "/v"}
                spec = {
                    "nodeName": node, "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "c", "image": "tensorflow/tensorflow:2.13.0", "imagePullPolicy": "IfNotPresent",
                                    "command": ["sleep", "infinity"], "volumeMounts": [mount]}],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "tensorflow-checkpoint-pvc"}}],
                }  # fmt: skip
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pause-" + end}, "spec": spec}
                output("kubectl", "apply", "-f", "-", stdin=json.dumps(pod))
            output("kubectl", "wait", "--for=condition=Ready", "--timeout=120s", "pod/pause-source", "pod/pause-target")
        return self

    def __exit__(self, *_):
        if CLUSTER:
            output("kubectl", "delete", "pod", "--wait=false", "pause-source", "pause-target")

    def limit(self, size):
        """Seconds that a write, a sync and a read take; the median of three."""
        path = "/v/limit" if CLUSTER else os.path.join(tempfile.gettempdir(), "limit-{}".format(os.getpid()))

        def at(end, program, *words):
            where = ["kubectl", "exec", "pause-" + end, "--"] if CLUSTER else []
            return float(output(*where, "python3", "-c", program, path, *words))

        return statistics.median(at("source", WRITE, str(size)) + at("target", READ) for _ in range(3))


def row(program, workload, scratch, volume):
    named = scenario(workload, scratch)
    without = run(program, named, workload, False, os.path.join(scratch, "results"))
    within = run(program, named, workload, True, os.path.join(scratch, "results"))
    size = within["checkpoint_size"]["candidate"]["value"]
    phases = [within["pause_" + phase]["candidate"]["value"] for phase in PHASES]
    native, standby = (within["downtime"][arm]["value"] for arm in ("baseline", "candidate"))
    limit = volume.limit(int(size))
    pause = sum(phases)
    return (
        [workload, "{:.1f} MB".format(size / 1e6)]
        + ["{:.2f}".format(value) for value in (native, without["downtime"]["candidate"]["value"], standby)]
        + ["{:.2f} ×".format(standby / native)]
        + ["{:.3f}".format(value) for value in [*phases, pause, limit]]
        + ["{:.1f} ×".format(pause / limit)]
    )


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # What was made goes all the same.
    program = os.path.abspath(sys.argv[1])
    heads = ["workload", "checkpoint", "native", "no standby", "standby", "÷ native", "quiesce", "write", "sync", "command"]
    heads += ["read and verify", "claim", "first step", "together", "limit", "÷ limit"]
    print("{}, {} cluster, seconds".format(datetime.date.today(), "real" if CLUSTER else "embedded"))
    print("| {} |\n|{}".format(" | ".join(heads), "---|" * len(heads)), flush=True)
    with tempfile.TemporaryDirectory() as scratch, Volume() as volume:
        for workload in sys.argv[2:] or ["tensorflow", "10M", "100M", "1G"]:
            print("| {} |".format(" | ".join(row(program, workload, scratch, volume))), flush=True)


main()
