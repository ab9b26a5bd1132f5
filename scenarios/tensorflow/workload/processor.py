"""data-processor: makes the data set that the trainer learns from, then completes.

Each row is a noisy signal of a class. The processor observes every signal again and again, averages the observations,
and writes the spectra of the averages: the longer it works, the cleaner the data. The result depends on the shard and
the number of its observations only.
"""

import argparse
import itertools
import os
import time

import numpy as np

from contract import exit_on_sigterm, report, sync, write_atomically
from dataset import CLASSES, FEATURES, ROWS, SHARDS, shard_path

SAMPLES = 1024
NOISE = 4.0
OBSERVATIONS = 4  # Of each signal, between two writes of its shard.


class Shard:
    """Signals of one shard and the sum of what was observed of them."""

    def __init__(self, number):
        self.random = np.random.default_rng(number)
        self.labels = self.random.integers(0, CLASSES, ROWS, dtype=np.uint8)
        self.phases = self.random.uniform(0, 2 * np.pi, (ROWS, 1)).astype(np.float32)
        self.sum = np.zeros((ROWS, SAMPLES), dtype=np.float32)
        self.observations = 0

    def observe(self):
        time_axis = np.arange(SAMPLES, dtype=np.float32) / SAMPLES
        frequencies = (20 + 35 * self.labels[:, None]).astype(np.float32)
        self.sum += np.sin(2 * np.pi * frequencies * time_axis + self.phases)
        self.sum += NOISE * self.random.standard_normal(self.sum.shape, dtype=np.float32)
        self.observations += 1

    def features(self):
        """Log power of the mean signal in FEATURES bands, standardised."""
        power = np.abs(np.fft.rfft(self.sum / self.observations))[:, 1:] ** 2
        bands = np.log(power.reshape(ROWS, FEATURES, -1).mean(axis=2))
        return ((bands - bands.mean()) / bands.std()).astype(np.float32)

    def write(self, path):
        features = self.features()
        write_atomically(path, lambda file: np.savez(file, features=features, labels=self.labels))


def produce(directory, seconds):
    """Write every shard once, then refine them in turn until the time is over; returns their paths."""
    end = time.monotonic() + seconds
    shards = [(shard_path(directory, number), Shard(number)) for number in range(SHARDS)]
    for turn in itertools.count():
        for path, shard in shards:
            if turn > 0 and time.monotonic() >= end:
                return [path for path, _ in shards]
            for _ in range(OBSERVATIONS if turn > 0 else 1):
                shard.observe()
            shard.write(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    exit_on_sigterm()
    os.makedirs(args.output, exist_ok=True)
    outputs = produce(args.output, args.seconds)
    for path in outputs:
        sync(path)
    report("done", outputs=outputs)


if __name__ == "__main__":
    main()
