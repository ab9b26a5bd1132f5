"""tensorflow-trainer: trains for ever on the processor's data, writes checkpoints, restores when told to."""

import argparse
import os
import time
import uuid

import dataset
import model
from contract import RESTORE_FROM, StepReporter, exit_on_sigterm, report
from hook import LOOK, Desk, manifest
from model import Checkpoints, tf

BATCH = 512
KEEP = 2  # Own periodic checkpoints, which are for the monitor; those made on request are never removed.
RELOAD = 200  # Steps between two looks at the data, which gets cleaner while the processor works.


class Trainer:
    def __init__(self, args):
        self.args = args
        self.writer = uuid.uuid4().hex[:8]  # Tells its files from those of another trainer on the volume.
        self.model = model.build()
        self.optimizer = tf.keras.optimizers.Adam(1e-4)
        self.optimizer.build(self.model.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.checkpoints = Checkpoints(
            args.checkpoints, model=self.model, optimizer=self.optimizer, step=self.step
        )
        self.desk = Desk(args.checkpoints, self.writer)
        self.steps = StepReporter()
        self.periodic = []
        self.saved = time.monotonic()

    def restore(self):
        directory = os.environ.get(RESTORE_FROM)
        if directory:
            self.checkpoints.restore(directory)
            report("restored", step=int(self.step), **{"from": directory})

    @tf.function
    def train_step(self, features, labels):
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(features, training=True))
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        self.step.assign_add(1)

    def train(self):
        while True:
            for features, labels in self.batches():
                self.train_step(features, labels)
                self.steps.step(int(self.step))
                request = self.desk.request()
                if request:
                    self.checkpoint_on_request(request)
                if time.monotonic() - self.saved >= self.args.every:
                    self.checkpoint_periodically()

    def batches(self):
        """As many batches as are taken from the data before it is read again."""
        features, labels = dataset.load_training(self.args.data)
        return model.rows((features, labels)).shuffle(len(labels)).repeat().batch(BATCH).take(RELOAD)

    def checkpoint_periodically(self):
        self.saved = time.monotonic()
        try:
            name = self.checkpoints.write(int(self.step), self.writer, durable=False)
        except (OSError, tf.errors.OpError) as error:
            print("periodic checkpoint:", error, flush=True)
            return
        self.periodic.append(name)
        while len(self.periodic) > KEEP:
            self.checkpoints.remove(self.periodic.pop(0))

    def checkpoint_on_request(self, request):
        """Write, answer, and hold still. Whatever fails, the training goes on."""
        step = int(self.step)
        self.steps.step(step, always=True)
        response = self.write_and_hold(step)
        heard = self.tell(request, response)
        if "written" in response:
            if heard:
                self.hold_still(response)
            else:  # Nobody knows of this checkpoint.
                self.checkpoints.remove(response["written"]["directory"])
        self.desk.go_on()

    def write_and_hold(self, step):
        name = None
        try:
            name = self.checkpoints.write(step, self.writer, durable=True)
            self.periodic = [periodic for periodic in self.periodic if periodic != name]
            written = manifest(self.args.checkpoints, name, step)
            self.desk.hold()
            return {"written": written}
        except (OSError, tf.errors.OpError) as error:
            if name:
                self.checkpoints.remove(name)
            return {"failed": str(error)}

    def tell(self, request, response):
        try:
            return self.desk.answer(request, response)
        except OSError:
            return False

    def hold_still(self, response):
        """Until released or the time is up; another request meanwhile gets the same answer and extends the hold."""
        end = time.monotonic() + self.args.hold
        while self.desk.holds() and time.monotonic() < end:
            request = self.desk.request()
            if request and self.tell(request, response):
                end = time.monotonic() + self.args.hold
            time.sleep(LOOK)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--checkpoints", required=True)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--every", type=float, default=10, help="seconds between periodic checkpoints")
    parser.add_argument("--hold", type=float, default=120, help="seconds to hold still after a checkpoint")
    args = parser.parse_args()
    exit_on_sigterm()
    model.use_threads(args.threads)
    trainer = Trainer(args)
    exit_on_sigterm(trainer.desk.go_on)
    trainer.restore()
    while dataset.load_training(args.data) is None:
        time.sleep(LOOK)
    trainer.train()


if __name__ == "__main__":
    main()
