"""The data set on the volume: shards of spectra, each with its class. NumPy only."""

import os

import numpy as np

CLASSES = 10
FEATURES = 64
ROWS = 4096
SHARDS = 12
EVALUATION = 0  # This shard is the monitor's; the trainer learns from the others.


def shard_path(directory, number):
    return os.path.join(directory, "shard-{:04d}.npz".format(number))


def load(directory, numbers):
    """Features and labels of those of the shards that exist, or None when none does."""
    paths = [shard_path(directory, number) for number in numbers]
    shards = [np.load(path) for path in paths if os.path.exists(path)]
    if not shards:
        return None
    features = np.concatenate([shard["features"] for shard in shards])
    labels = np.concatenate([shard["labels"] for shard in shards])
    return features, labels.astype(np.int64)


def load_training(directory):
    return load(directory, [number for number in range(SHARDS) if number != EVALUATION])


def load_evaluation(directory):
    return load(directory, [EVALUATION])
