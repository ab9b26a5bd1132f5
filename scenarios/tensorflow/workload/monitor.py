"""model-monitor: evaluates the newest checkpoint again and again."""

import argparse
import os
import time

import dataset
import model
from model import Checkpoints, tf

IDLE = 0.5  # Seconds between two looks while there is nothing to evaluate.
BATCH = 256


class Monitor:
    def __init__(self, args):
        self.args = args
        self.model = model.build()
        self.step = tf.Variable(0, dtype=tf.int64)
        self.checkpoints = Checkpoints(args.checkpoints, model=self.model, step=self.step)

    @tf.function
    def correct(self, features, labels):
        best = tf.argmax(self.model(features), axis=1)
        return tf.reduce_sum(tf.cast(tf.equal(best, labels), tf.int64))

    def evaluate(self):
        """Accuracy of the newest checkpoint, or None while there is nothing to evaluate."""
        data, newest = dataset.load_evaluation(self.args.data), self.checkpoints.newest()
        if data is None or newest is None:
            return None
        try:
            self.checkpoints.restore(newest)
        except (OSError, ValueError, AssertionError, tf.errors.OpError):
            return None  # It was removed while it was read; the next one will do.
        batches = model.rows(data).batch(BATCH)
        return sum(int(self.correct(*batch)) for batch in batches) / len(data[1])

    def watch(self):
        while True:
            accuracy = self.evaluate()
            if accuracy is None:
                time.sleep(IDLE)
            else:
                print("step {}: accuracy {:.3f}".format(int(self.step), accuracy), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--checkpoints", required=True)
    args = parser.parse_args()
    os.makedirs(args.checkpoints, exist_ok=True)
    model.use_threads(1)
    Monitor(args).watch()


if __name__ == "__main__":
    main()
