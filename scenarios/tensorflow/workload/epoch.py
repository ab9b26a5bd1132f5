"""Who may write: claims of epochs, one file `<checkpoints>/.epochs/epoch-<n>` each. NumPy and TensorFlow are not needed.

The built-in workload of migbench claims the same way; docs/scenarios.md of migbench describes it.
"""

import json
import os
import socket
import time
import uuid

from contract import sync

FOLDER = ".epochs"
PREFIX = "epoch-"
SUPERSEDED = 76  # The exit code of a trainer that may write no more.


class Superseded(Exception):
    """Another one may write, and not this one."""

    def __init__(self, epoch, claim):
        super().__init__(
            "epoch {} is claimed by {}: this trainer may write no more. One that shall take over all the same needs to be "
            "a new pod without MIGRATION_EPOCH".format(epoch, claim.get("holder"))
        )


def holder():
    """The name under which this container's pod claims: its uid, else its host name, which is the pod's name."""
    name = os.environ.get("MIGRATION_POD_UID") or os.environ.get("HOSTNAME") or socket.gethostname()
    return name.replace("/", "_")


class Claims:
    """The claims of those whose checkpoints lie in a directory, and this process as one of them."""

    def __init__(self, directory):
        self.folder = os.path.join(directory, FOLDER)
        after = os.environ.get("MIGRATION_EPOCH")
        self.after = int(after) if after else None  # Epoch of the checkpoint that the pod was made to go on from.
        self.over = []  # Migrations that were rolled back from this pod. Theirs have ended, and so have the epochs of those.
        self.me = {"holder": holder(), "life": uuid.uuid4().hex}
        if os.environ.get("MIGRATION_ID"):
            self.me["migration"] = os.environ["MIGRATION_ID"]

    def list(self):
        """All claims by epoch."""
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        epochs = [name[len(PREFIX) :] for name in names if name.startswith(PREFIX)]
        return {int(epoch): self.read(epoch) for epoch in epochs if epoch.isdigit()}

    def due(self, claimed):
        """The epoch that may be claimed next where these are taken: the one after the last of its own, else after that of
        the checkpoint that it shall go on from, else after the newest. Where that is taken, another one may write.
        """
        own = [epoch for epoch, claim in claimed.items() if claim.get("holder") == self.me["holder"]]
        newest = max(claimed, default=0)
        due = max(own, default=newest if self.after is None else self.after) + 1
        while due in claimed and self.passes(claimed[due]):
            due += 1
        if newest >= due:
            raise Superseded(newest, claimed[newest])
        return due

    def first(self, claimed):
        """(epoch, step) of the first claim of this pod, of whichever of its processes; None where there is none."""
        own = [epoch for epoch, claim in claimed.items() if claim.get("holder") == self.me["holder"]]
        return (min(own), claimed[min(own)].get("step")) if own else None

    def claim_due(self, step):
        """Claim the epoch that is due to who goes on from `step`. Returns it."""
        claimed = self.list()
        while True:
            epoch = self.due(claimed)
            other = self.take(epoch, step)
            if other is None:
                return epoch
            claimed[epoch] = other

    def claim_after(self, epoch, step):
        """Claim the epoch after one's own. Returns it."""
        while True:
            epoch += 1
            other = self.take(epoch, step)
            if other is None:
                return epoch
            if not self.passes(other):
                raise Superseded(epoch, other)

    def passes(self, claim):
        """Whether a claim is of a migration that is over."""
        return claim.get("migration") in self.over

    def check(self, epoch):
        """Fail where the epoch after one's own is taken. A volume that does not answer is no reason to stop."""
        try:
            self.check_for_certain(epoch)
        except OSError:
            pass

    def check_for_certain(self, epoch):
        """Fail where the epoch after one's own is taken, or where the volume does not say."""
        try:
            taken = self.read(epoch + 1)
        except FileNotFoundError:
            return
        raise Superseded(epoch + 1, taken)

    def take(self, epoch, step):
        """Put a claim in its place, which fails where there is one. That, if it is not this process's."""
        os.makedirs(self.folder, exist_ok=True)
        partial, place = os.path.join(self.folder, "." + uuid.uuid4().hex), self.path(epoch)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())  # For people: nothing depends on it.
        try:
            with open(partial, "x", encoding="utf-8") as file:
                json.dump(dict(self.me, step=step, time=stamp), file)
                file.flush()
                os.fsync(file.fileno())
            os.link(partial, place)
        except FileExistsError:
            pass  # Whose it is, the content says: also where the answer to an earlier attempt was lost.
        finally:
            if os.path.exists(partial):
                os.remove(partial)
        sync(self.folder)
        there = self.read(epoch)
        return None if there.get("life") == self.me["life"] else there

    def read(self, epoch):
        """A claim. One that makes no sense is somebody's all the same."""
        with open(self.path(epoch), encoding="utf-8") as file:
            try:
                return json.load(file)
            except ValueError:
                return {"holder": "somebody unknown"}

    def path(self, epoch):
        return os.path.join(self.folder, PREFIX + str(epoch))


def given_up(step, epoch, claimed):
    """Whether a later epoch began at an earlier step than this one of `epoch`."""
    began = [claim.get("step") for later, claim in claimed.items() if later > epoch]
    return any(later is not None and later < step for later in began)
