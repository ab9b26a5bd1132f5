"""The checkpoint hook, and the trainer's end of its conversation: small files in `<checkpoints>/.hook/<pod>`.

    hook                                      trainer
    request-<id>  {expires, migration}   -->  stops stepping, writes the checkpoint, hold
    (prints the manifest)                <--  response-<id>  {written: manifest} or {failed: why}
                                              holds still until it is released or the time-out has passed
    release: released-<migration>, or
             removes request-* and hold  -->  goes on, if it wins the epoch after its own

The built-in workload of migbench speaks the same. A file left by a process that died has no effect. A release counts for
what its migration asks for later as well: a hook whose caller has gone away lives on, and may come to ask when nobody is
left to release.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import time
import uuid

from contract import exists, write_atomically
from epoch import holder

FOLDER = ".hook"
RELEASED = "released-"
HOLD = "hold"
LOOK = 0.05  # Seconds between two looks at the folder.


class Desk:
    """The trainer's end."""

    def __init__(self, directory):
        self.folder = folder_of(directory)
        self.hold_file = os.path.join(self.folder, HOLD)
        os.makedirs(self.folder, exist_ok=True)
        # The hold of an earlier trainer of the pod has ended with it; what was released stays so.
        for prefix in ("response-", HOLD):
            remove_all(self.folder, prefix)

    def request(self):
        """Id and migration of a request that somebody still waits for, or None.

        A hook withdraws its request before the response. Looked at in the other order, a request that is answered and
        just being withdrawn is never taken for a new one.
        """
        for name in entries(self.folder, "request-"):
            if os.path.exists(os.path.join(self.folder, name.replace("request-", "response-"))):
                continue
            request = read_json(os.path.join(self.folder, name))
            if not request or self.is_released(request.get("migration")):
                continue
            if request.get("expires", 0) > time.time():
                return name[len("request-") :], request.get("migration")
        return None

    def answer(self, request, response):
        """Answer a request. False when its hook has given up meanwhile."""
        if not exists(os.path.join(self.folder, "request-" + request)):
            return False
        write_json(os.path.join(self.folder, "response-" + request), response)
        return True

    def hold(self):
        write_atomically(self.hold_file, lambda file: None)

    def holds(self):
        """Whether nobody has released the hold. Where the volume does not answer nobody has."""
        try:
            return exists(self.hold_file)
        except OSError:
            return True

    def is_released(self, migration):
        return migration is not None and os.path.exists(os.path.join(self.folder, RELEASED + plain(migration)))

    def go_on(self):
        remove(self.hold_file)

    def released(self):
        """The migrations that were rolled back."""
        markers = []
        for name in entries(self.folder, RELEASED):
            with open(os.path.join(self.folder, name), encoding="utf-8") as file:
                markers.append(file.read())
        return markers

    def close(self):
        """The trainer ends, and with it the conversation. What was released must be known to whoever is started again."""
        with contextlib.suppress(OSError):
            for prefix in ("request-", "response-", HOLD):
                remove_all(self.folder, prefix)
            os.rmdir(self.folder)


def manifest(directory, name, step, epoch):
    """Manifest of the checkpoint `name` below `directory`, its paths relative to that."""
    files = []
    for file in sorted(os.listdir(os.path.join(directory, name))):
        path = os.path.join(directory, name, file)
        with open(path, "rb") as content:
            digest = hashlib.sha256(content.read()).hexdigest()
        files.append({"path": "{}/{}".format(name, file), "size": os.path.getsize(path), "sha256": digest})
    return {"step": step, "epoch": epoch, "directory": name, "files": files}


def ask(directory, mount, seconds, migration):
    """Have the trainer write a checkpoint; returns its manifest with paths relative to `mount`."""
    prefix = os.path.relpath(directory, mount)
    if prefix.startswith(".."):
        sys.exit("--dir {} is not below --mount {}: name the mount that holds it".format(directory, mount))
    response = converse(folder_of(directory), seconds, migration)
    if response is None:
        sys.exit("no checkpoint: no trainer answered below {} within {} s".format(directory, seconds))
    if "written" not in response:
        sys.exit("no checkpoint: {}".format(response.get("failed")))
    written = response["written"]

    def below(path):
        return os.path.normpath(os.path.join(prefix, path))

    files = [dict(file, path=below(file["path"])) for file in written["files"]]
    return dict(written, directory=below(written["directory"]), files=files)


def converse(folder, seconds, migration):
    """Post a request, wait for its response, and leave neither."""
    os.makedirs(folder, exist_ok=True)
    number = uuid.uuid4().hex
    request = os.path.join(folder, "request-" + number)
    response = os.path.join(folder, "response-" + number)
    end = time.monotonic() + seconds
    try:
        content = {"expires": time.time() + seconds}
        write_json(request, content if migration is None else dict(content, migration=migration))
        while time.monotonic() < end:
            answer = read_json(response)
            if answer is not None:
                return answer
            time.sleep(LOOK)
        return None
    finally:
        remove(request)
        remove(response)


def release(directory, migration):
    """Let the trainer, should it hold still, go on: from what this migration asked for or will ask for, or from everything
    where none is named. The migration's pod has ended by now.
    """
    folder = folder_of(directory)
    os.makedirs(folder, exist_ok=True)
    if migration is not None:
        write_atomically(os.path.join(folder, RELEASED + plain(migration)), lambda file: file.write(migration.encode()))
        return
    # Requests first: a trainer holds before it answers, and answers no request that is gone.
    for prefix in ("request-", HOLD):
        remove_all(folder, prefix)


def folder_of(directory):
    """Of this pod: another one's trainer on the same volume has its own, and so answers no request that is not for it."""
    return os.path.join(directory, FOLDER, holder())


def plain(migration):
    """A migration's id as part of a file's name."""
    return migration.replace("/", "_").replace(".", "_")


def entries(folder, prefix):
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [name for name in names if name.startswith(prefix) and "." not in name]


def remove_all(folder, prefix):
    for name in entries(folder, prefix):
        remove(os.path.join(folder, name))


def read_json(path):
    """The content, or None while the file is not there or makes no sense."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write_json(path, content):
    write_atomically(path, lambda file: file.write(json.dumps(content).encode()))


def remove(path):
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", required=True, help="directory of the trainer's checkpoints")
    parser.add_argument("--mount", help="mount that the manifest's paths are relative to")
    parser.add_argument("--seconds", type=float, default=50, help="how long to wait for the trainer")
    parser.add_argument("--release", action="store_true", help="let a trainer that holds still go on")
    parser.add_argument("migration", nargs="?", help="what it is for; the orchestrator adds it")
    args = parser.parse_args()
    if args.release:
        release(args.dir, args.migration)
    elif args.mount:
        print(json.dumps(ask(args.dir, args.mount, args.seconds, args.migration)))
    else:
        parser.error("--mount or --release is needed")


if __name__ == "__main__":
    main()
