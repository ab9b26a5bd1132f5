"""The model, and how it is saved and restored. Importing this imports TensorFlow."""

import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402  (the level must be set before)

from contract import sync  # noqa: E402
from dataset import CLASSES, FEATURES  # noqa: E402

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
    """Checkpoints below a directory: each a directory `ckpt-<step>-<writer>` that is there whole or not at all."""

    def __init__(self, directory, **objects):
        self.directory = directory
        self.checkpoint = tf.train.Checkpoint(**objects)

    def write(self, step, writer, durable):
        """Write a checkpoint and return the name of its directory; on failure nothing is left."""
        name = "{}{}-{}".format(PREFIX, step, writer)
        place = os.path.join(self.directory, name)
        partial = os.path.join(self.directory, PARTIAL + name)
        try:
            if not os.path.isdir(place):
                os.makedirs(partial)
                self.checkpoint.write(os.path.join(partial, FILE))
                os.rename(partial, place)
            if durable:
                self.sync(place)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            self.remove(name)
            raise
        return name

    def sync(self, place):
        for file in os.listdir(place):
            sync(os.path.join(place, file))
        sync(self.directory)

    def remove(self, name):
        shutil.rmtree(os.path.join(self.directory, name), ignore_errors=True)

    def restore(self, directory):
        """Read a checkpoint into the objects, all of which it must have."""
        self.checkpoint.read(os.path.join(directory, FILE)).assert_existing_objects_matched()

    def newest(self):
        """Directory of the checkpoint with the highest step, or None."""
        names = [name for name in os.listdir(self.directory) if name.startswith(PREFIX)]
        newest = max(names, key=lambda name: int(name.split("-")[1]), default=None)
        return newest and os.path.join(self.directory, newest)

