"""tensorflow-trainer: trains for ever on the processor's data, writes checkpoints, restores when told to, or stands by."""

import argparse
import itertools
import os
import sys
import time

import dataset
import model
import standby
from contract import RESTORE_FROM, STANDBY, StepReporter, exit_on_sigterm, report
from epoch import SUPERSEDED, Claims, Superseded
from hook import CHECKPOINT, Desk
from model import PARTIAL, PREFIX, Checkpoints, tf

BATCH = 512
KEEP = 2  # Own periodic checkpoints, for the monitor and for a restart in place.
DURABLE = 30  # Of that many periodic checkpoints one is made durable; it is kept until the next one that is.
IDLE = 0.05  # Seconds between two looks while nothing is to be done soon.
AGAIN = 1  # Seconds between two attempts to go on after a hold on a volume that does not answer.
RELOAD = 200  # Steps between two looks at the data, which gets cleaner while the processor works.


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = model.build()
        self.optimizer = tf.keras.optimizers.Adam(1e-4)
        self.optimizer.build(self.model.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.checkpoints = Checkpoints(
            args.checkpoints, model=self.model, optimizer=self.optimizer, step=self.step
        )
        self.claims = Claims(args.checkpoints)
        self.epoch = None  # The one that it writes in.
        self.durable = None  # Step of the newest durable checkpoint of this epoch, and how many came after it.
        self.desk = Desk(args.checkpoints)
        self.steps = StepReporter()
        self.saved = time.monotonic()
        self.floor = os.environ.get(RESTORE_FROM)  # What the pod was made to go on from.
        self.restored = None  # Where it was restored from.
        self.ahead = None  # Batches that were begun with before the claim.
        self.taken = None  # How a take-over went, where there was one.

    def begin(self):
        """Get everything ready, and at the last moment claim an epoch."""
        self.claims.over = self.desk.released()
        claimed = self.claims.list()
        first = self.claims.first(claimed)
        if os.environ.get(STANDBY) == "true":
            self.taken = standby.TakeOver(self)
            if first is None:
                self.wait_for_data()
                self.warm_up(claimed)
                return self.taken.wait()
        if first and not self.floor:
            self.floor = self.origin(claimed, *first)
        self.restore(claimed)
        if first and first[1] and not int(self.step):
            sys.exit("nothing is left that this pod has written or gone on from")
        self.wait_for_data()
        self.claim()

    def origin(self, claimed, first, step):
        """What the first epoch of this pod began with, another one's: to who took over, what RESTORE_FROM is to others."""
        lineage = self.checkpoints.lineage(claimed)
        return next((place for held, epoch, place in lineage if epoch < first and held == step), None)

    def restore(self, claimed):
        """Go on from the newest checkpoint of own epochs that can be read, else from the floor, else from nothing."""
        self.claims.due(claimed)
        own = [
            directory
            for _, epoch, directory in self.checkpoints.lineage(claimed)
            if epoch in claimed and claimed[epoch].get("holder") == self.claims.me["holder"]
        ]
        if self.restore_first(own + ([self.floor] if self.floor else [])):
            self.say_restored()

    def restore_first(self, directories):
        """Restore the first that can be read. Which it was; None where there is none to read."""
        unusable = None
        for directory in directories:
            try:
                self.checkpoints.restore(directory)
                self.restored = directory
                return directory
            except (OSError, ValueError, AssertionError, tf.errors.OpError) as error:
                print("checkpoint {} cannot be used: {}".format(directory, error), flush=True)
                unusable = error
        if unusable:
            raise unusable
        return None

    def say_restored(self):
        report("restored", step=int(self.step), **{"from": self.restored})

    def claim(self):
        self.epoch = self.claims.claim_due(int(self.step))

    def wait_for_data(self):
        while dataset.load_training(self.args.data) is None:
            time.sleep(IDLE)

    def warm_up(self, claimed):
        """Have all that is done later done once, the step on a batch of the data, and leave the state as it was."""
        variables = self.model.variables + list(self.optimizer.variables) + [self.step]
        before = [variable.numpy() for variable in variables]
        try:
            self.restore_first([place for _, _, place in self.checkpoints.lineage(claimed)])
        except (OSError, ValueError, AssertionError, tf.errors.OpError):
            pass  # It may be removed by its writer, which goes on.
        batches = iter(self.batches())
        first = next(batches)
        self.train_step(*first)
        self.ahead = itertools.chain([first], batches)
        for variable, value in zip(variables, before):
            variable.assign(value)

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
                self.claims.check(self.epoch)
                self.train_step(features, labels)
                self.steps.step(int(self.step))
                if self.taken:
                    self.taken.answer()
                request = self.desk.request()
                if request:
                    self.checkpoint_on_request(*request)
                if time.monotonic() - self.saved >= self.args.every:
                    self.checkpoint_periodically()

    def batches(self):
        """As many batches as are taken from the data before it is read again."""
        if self.ahead:
            ahead, self.ahead = self.ahead, None
            return ahead
        features, labels = dataset.load_training(self.args.data)
        return model.rows((features, labels)).shuffle(len(labels)).repeat().batch(BATCH).take(RELOAD)

    def checkpoint_periodically(self):
        self.saved = time.monotonic()
        durable = self.durable is None or self.durable[1] + 1 >= DURABLE
        step = int(self.step)
        try:
            self.checkpoints.write(step, self.epoch, durable)
            self.durable = (step, 0) if durable else (self.durable[0], self.durable[1] + 1)
            self.claims.check_for_certain(self.epoch)  # Else it may be void, and makes nothing superfluous.
            self.prune()
        except (OSError, tf.errors.OpError) as error:
            print("periodic checkpoint:", error, flush=True)

    def prune(self):
        """Remove what came before: own checkpoints except the newest and the durable one, and all of earlier epochs, made
        on request or by whoever was superseded. Not the one that the pod was made to go on from: should its migration be
        undone, that is the source's. This epoch has a durable one by now.
        """
        floor = os.path.basename((self.floor or "").rstrip("/"))
        unfinished = [entry for entry in self.checkpoints.stored(PARTIAL + PREFIX) if entry[1] <= self.epoch]
        stored = self.checkpoints.stored()
        earlier = [entry for entry in stored if entry[1] < self.epoch]
        own = [entry for entry in stored if entry[1] == self.epoch]
        superfluous = [entry for entry in own[:-KEEP] if entry[0] != self.durable[0]]
        for _, _, name in unfinished + earlier + superfluous:
            if name != floor:
                self.checkpoints.remove(name)

    def checkpoint_on_request(self, request, migration):
        """Stop, write, answer, and hold still. Where that fails, and nobody knows of a checkpoint, training just goes on."""
        seen, step = time.monotonic(), int(self.step)
        self.steps.step(step, always=True)
        response = self.write_and_hold(step, seen)
        heard = self.tell(request, response)
        if "written" in response and heard:
            self.hold_still(response, migration)
            self.go_on(step)
        self.desk.go_on()

    def write_and_hold(self, step, seen):
        try:
            quiesced = time.monotonic() - seen
            written = self.checkpoints.hand_over(step, self.epoch)
            # A claim of the next epoch may make this void, also where its migration is over by now.
            self.claims.check_for_certain(self.epoch)
            written["timings"]["quiesce_s"] = quiesced
            self.desk.hold()
            return {"written": written}
        except (OSError, tf.errors.OpError, Superseded) as error:
            return {"failed": str(error)}

    def tell(self, request, response):
        """Whether the hook may have heard: an answer that could not be given for certain may have been read."""
        try:
            return self.desk.answer(CHECKPOINT, request, response)
        except OSError:
            return True

    def hold_still(self, response, migration):
        """Until released or the time is up; another request meanwhile gets the same answer and extends the hold."""
        end = time.monotonic() + self.args.hold
        migrations = [migration]
        while self.desk.holds() and time.monotonic() < end:
            if all(self.desk.is_released(migration) for migration in migrations):
                break
            request = self.desk.request()
            if request and self.tell(request[0], response):
                end = time.monotonic() + self.args.hold
                migrations.append(request[1])
            time.sleep(IDLE)

    def go_on(self, step):
        """Claim the next epoch: whoever went on from the checkpoint that was handed over would have claimed that.

        While the volume does not answer no step is made.
        """
        while True:
            try:
                self.claims.over = self.desk.released()
                self.epoch = self.claims.claim_after(self.epoch, step)
                self.durable = None
                return
            except OSError as error:
                print("stopped until the next epoch can be claimed:", error, flush=True)
                time.sleep(AGAIN)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--checkpoints", required=True)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--every", type=float, default=10, help="seconds between periodic checkpoints")
    parser.add_argument("--hold", type=float, default=120, help="seconds to hold still after a checkpoint")
    args = parser.parse_args()
    model.use_threads(args.threads)
    trainer = Trainer(args)
    exit_on_sigterm(trainer.desk.close)
    try:
        trainer.begin()
        trainer.train()
    except (Superseded, standby.NotWhole) as error:
        print(error, file=sys.stderr, flush=True)
        trainer.desk.close()
        # Python's own exit would wait for TensorFlow's threads.
        os._exit(SUPERSEDED if isinstance(error, Superseded) else 1)


if __name__ == "__main__":
    main()
