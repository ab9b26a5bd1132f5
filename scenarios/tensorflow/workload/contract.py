"""What a container says to migbench: progress on stdout, and its exit codes."""

import hashlib
import json
import os
import signal
import sys
import time
import uuid

RESTORE_FROM = "MIGRATION_RESTORE_FROM"
STANDBY = "MIGRATION_STANDBY"


def report(event, **fields):
    """Print one line of progress."""
    print(json.dumps({"event": event, **fields}), flush=True)


class StepReporter:
    """Reports steps, at most ten lines a second."""

    INTERVAL = 0.1

    def __init__(self):
        self._last = float("-inf")

    def step(self, step, always=False):
        now = time.monotonic()
        if always or now - self._last >= self.INTERVAL:
            self._last = now
            report("step", step=step, t=time.time())


def exit_on_sigterm(cleanup=lambda: None):
    """Leave at once with 128 + 15: as PID 1 a process without a handler would ignore the signal."""

    def leave(_signal, _frame):
        cleanup()
        sys.stdout.flush()
        os._exit(128 + signal.SIGTERM)  # Python's own exit would wait for TensorFlow's threads.

    signal.signal(signal.SIGTERM, leave)


def write_atomically(path, write):
    """Call `write(file)` on a file of another name and then give it its place: no reader sees half of it.

    The process's id would not do for the name: in two pods that share a volume it is 1.
    """
    partial = "{}.partial-{}".format(path, uuid.uuid4().hex)
    try:
        with open(partial, "wb") as file:
            write(file)
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise


def digest(path):
    """SHA-256 of a file, in lower-case hex; read in pieces, so that it is nowhere in memory as a whole."""
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            hasher.update(piece)
    return hasher.hexdigest()


def exists(path):
    """Whether a file is there. OSError where the volume does not answer."""
    try:
        os.stat(path)
        return True
    except FileNotFoundError:
        return False


def sync(path):
    """Wait until a file or directory would survive the node: slow where others write, so only for what must."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
