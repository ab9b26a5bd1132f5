"""A trainer that stands by: all is ready and nothing is written until it is told what to go on from. TensorFlow is not needed.

Then it reads each file once for its digest, restores from what is in memory by then, and claims only where every one is whole.
"""

import contextlib
import hashlib
import os
import time

from contract import digest, report
from hook import LOOK, TAKE_OVER

PATIENCE = 2  # Seconds in which a missing file is looked for again: a network volume may show it later to this node.
LAST_WORDS = 2  # Seconds in which who ends waits for its reason to be read: the command may end with it.


class NotWhole(Exception):
    """A checkpoint is not what its manifest says."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


class TakeOver:
    """What a trainer that stood by was told, and what it answers."""

    def __init__(self, trainer):
        self.trainer = trainer
        self.claimed = None  # When; none where a process of the pod did so that is no more.
        self.timings = {}
        self.first_step = None

    def wait(self):
        """Wait for a take-over, and do it. Raises where nothing was claimed; who asked was told."""
        report("standby")
        while True:
            asked = self.trainer.desk.take_over()
            if asked and self.is_for(*asked):
                try:
                    return self.begin(asked[1].get("manifest"))
                except Exception as error:
                    self.last_words(asked[0], error)
                    raise
            time.sleep(LOOK)

    def is_for(self, number, asked):
        """Whether the trainer may answer for that migration; else it says no."""
        made_by = os.environ.get("MIGRATION_ID")
        if made_by in (None, asked.get("migration")):
            return True
        self.tell(number, {"refused": {"message": "this pod was made by migration {}".format(made_by)}})
        return False

    def begin(self, manifest):
        trainer, begun = self.trainer, time.monotonic()
        if manifest is None:
            lineage = trainer.checkpoints.lineage(trainer.claims.list())
            trainer.floor = trainer.restore_first([place for _, _, place in lineage])
        else:
            trainer.floor = self.load(manifest)
            trainer.claims.after = manifest["epoch"]
        read = time.monotonic()
        trainer.claim()
        self.claimed = time.monotonic()
        self.timings = {"read_s": read - begun, "claim_s": self.claimed - read}
        if trainer.floor:
            trainer.say_restored()

    def load(self, manifest):
        """Restore what a manifest describes, after every file of it was found to be whole."""
        directory = self.trainer.args.checkpoints
        if manifest.get("epoch") is None:
            raise NotWhole(None, "the manifest names no epoch")
        for file in manifest["files"]:
            verify(os.path.join(directory, file["path"]), file)
        place = os.path.join(directory, manifest["directory"])
        if not self.trainer.restore_first([place]) or int(self.trainer.step) != manifest["step"]:
            raise NotWhole("CheckpointCorrupt", "checkpoint {} is not of step {}".format(place, manifest["step"]))
        return place

    def answer(self):
        """After the first step, and whenever it is asked again."""
        step = int(self.trainer.step)
        if self.first_step is None:
            self.first_step = step
            if self.claimed is not None:
                self.timings["first_step_s"] = time.monotonic() - self.claimed
        asked = self.trainer.desk.take_over()
        if asked and self.is_for(*asked):
            manifest = asked[1].get("manifest")
            # What was asked for was verified before this pod's claim.
            files = manifest and "".join(file["sha256"] for file in manifest["files"])
            answer = {
                "step": self.first_step,
                "epoch": self.trainer.epoch,
                "sha256": manifest and hashlib.sha256(files.encode()).hexdigest(),
                "timings": self.timings,
            }
            self.tell(asked[0], {"taken": answer})

    def last_words(self, number, error):
        reason = {"reason": error.reason} if isinstance(error, NotWhole) else {}
        self.tell(number, {"refused": dict(reason, message=str(error))})
        end = time.monotonic() + LAST_WORDS
        with contextlib.suppress(OSError):
            while self.trainer.desk.waits(TAKE_OVER, number) and time.monotonic() < end:
                time.sleep(LOOK)

    def tell(self, number, outcome):
        try:
            self.trainer.desk.answer(TAKE_OVER, number, outcome)
        except OSError as error:
            print("to be told again:", error, flush=True)


def verify(path, expected):
    """Read a file once, and compare it with what it should be."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            size, sha256 = os.path.getsize(path), digest(path)
            break
        except FileNotFoundError as error:
            if time.monotonic() >= end:
                raise NotWhole("CheckpointMissing", str(error)) from error
            time.sleep(LOOK)
    if (size, sha256) != (expected["size"], expected["sha256"]):
        message = "{} has {} bytes with SHA-256 {} instead of {size} with {sha256}"
        raise NotWhole("CheckpointCorrupt", message.format(path, size, sha256, **expected))
