"""The model, and how it is saved and restored. Importing this imports TensorFlow."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from contract import exists, exit_on_sigterm, sync  # noqa: E402

exit_on_sigterm()  # What follows takes long.
import tensorflow as tf  # noqa: E402  (the level must be set before)

from dataset import CLASSES, FEATURES  # noqa: E402
from epoch import Claims, given_up  # noqa: E402
from hook import manifest  # noqa: E402

PREFIX = "ckpt-"
PARTIAL = ".partial-"
FILE = "model"


def use_threads(threads):
    """No more than there are CPUs: what waits for a CPU in TensorFlow's pool spins."""
    threads = max(1, min(threads, os.cpu_count() or 1))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def build():
    return tf.keras.Sequential(
        [
            tf.keras.layers.Input((FEATURES,)),
            tf.keras.layers.Dense(1024, activation="relu"),
            tf.keras.layers.Dense(1024, activation="relu"),
            tf.keras.layers.Dense(CLASSES),
        ]
    )


def rows(arrays):
    """A tf.data set of the rows of arrays, without tf.data's autotuning, which there is nothing to tune for.

    When an iterator ends it waits for its tuning thread, which misses its wake-up call now and then, and then sleeps out
    the rest of its period: up to seconds without training. The call comes before the flag that the thread looks for
    (`CancellationManager::StartCancel` and `Model::OptimizeLoop` in TensorFlow's core/framework).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensor_slices(arrays).with_options(options)


class Checkpoints:
    """Checkpoints below a directory: each a directory `ckpt-<step>-<epoch>` that is there whole or not at all.

    An epoch has one writer, so no two ever write under one name.
    """

    def __init__(self, directory, **objects):
        self.directory = directory
        self.checkpoint = tf.train.Checkpoint(**objects)

    def write(self, step, epoch, durable):
        """Write a checkpoint, unless it is there, and return the name of its directory.

        On failure nothing is left that was not there before.
        """
        name = "{}{}-{}".format(PREFIX, step, epoch)
        place = os.path.join(self.directory, name)
        partial = os.path.join(self.directory, PARTIAL + name)
        new = not exists(place)
        try:
            if new:
                os.makedirs(partial)
                self.checkpoint.write(os.path.join(partial, FILE))
                os.rename(partial, place)
            if durable:
                self.sync(place)
        except BaseException:
            if new:
                shutil.rmtree(partial, ignore_errors=True)
                self.remove(name)
            raise
        return name

    def hand_over(self, step, epoch):
        """Write a checkpoint that another one may go on from. Returns its manifest; it is hashed while it is synced."""
        begun = time.monotonic()
        name = self.write(step, epoch, durable=False)
        written = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            described = pool.submit(manifest, self.directory, name, step, epoch)
            self.sync(os.path.join(self.directory, name))
            described = described.result()
        timings = {"write_s": written - begun, "sync_s": time.monotonic() - written}
        return dict(described, timings=timings)

    def sync(self, place):
        for file in os.listdir(place):
            sync(os.path.join(place, file))
        sync(place)
        sync(self.directory)

    def remove(self, name):
        shutil.rmtree(os.path.join(self.directory, name), ignore_errors=True)

    def restore(self, directory):
        """Read a checkpoint into the objects, all of which it must have."""
        self.checkpoint.read(os.path.join(directory, FILE)).assert_existing_objects_matched()

    def stored(self, prefix=PREFIX):
        """(step, epoch, name) of what is there, the oldest first."""
        there = os.listdir(self.directory) if os.path.isdir(self.directory) else []
        names = [name for name in there if name.startswith(prefix)]
        parts = [(name, name[len(prefix) :].split("-")) for name in names]
        return sorted((int(part[0]), int(part[1]), name) for name, part in parts if "".join(part).isdigit())

    def lineage(self, claimed):
        """(step, epoch, directory) of what training goes on from, the newest first.

        What an epoch made beyond the step that a later one began at is no part of it: that epoch was given up.
        """
        stored = [entry for entry in self.stored() if not given_up(entry[0], entry[1], claimed)]
        return [(step, epoch, os.path.join(self.directory, name)) for step, epoch, name in reversed(stored)]

    def newest(self):
        """Directory of the newest checkpoint, or None."""
        lineage = self.lineage(Claims(self.directory).list())
        return lineage[0][2] if lineage else None
