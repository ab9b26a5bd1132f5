"""The commands that are run beside the trainer, and its end of the conversation: small files in `<checkpoints>/.hook/<pod>`.

    hook                                      trainer
    request-<id>  {expires, migration}   -->  stops stepping, writes the checkpoint, hold
    (prints the manifest)                <--  response-<id>  {written: manifest} or {failed: why}
                                              holds still until it is released or the time-out has passed
    release: released-<migration>, or
             removes request-* and hold  -->  goes on, if it wins the epoch after its own

    take-over                                 trainer that stands by
    take-over-<id>  {expires, migration, manifest}  -->  reads, verifies, claims, makes a step
    (prints the answer)                  <--  taken-over-<id>  {taken: answer} or {refused: why}

The built-in workload of migbench speaks the same. A file left by a process that died has no effect. A release counts for
what its migration asks for later as well: a hook whose caller has gone away lives on, and may come to ask when nobody is
left to release.
"""

import argparse
import contextlib
import json
import os
import sys
import time
import uuid

from contract import digest, exists, write_atomically
from epoch import holder

FOLDER = ".hook"
RELEASED = "released-"
HOLD = "hold"
CHECKPOINT = ("request-", "response-")  # How names of a request and of its response begin; their id follows.
TAKE_OVER = ("take-over-", "taken-over-")
LOOK = 0.01  # Seconds between two looks of who waits for another one while nobody trains.


class Desk:
    """The trainer's end."""

    def __init__(self, directory):
        self.folder = folder_of(directory)
        self.hold_file = os.path.join(self.folder, HOLD)
        # The hold of an earlier trainer of the pod has ended with it; what was released stays so.
        for prefix in (CHECKPOINT[1], TAKE_OVER[1], HOLD):
            remove_all(self.folder, prefix)

    def request(self):
        """Id and migration of a request that somebody still waits for, or None."""
        for number, request in self.asked(CHECKPOINT):
            if not self.is_released(request.get("migration")):
                return number, request.get("migration")
        return None

    def take_over(self):
        """Id and content of what somebody waits for to be taken over, or None."""
        return next(self.asked(TAKE_OVER), None)

    def asked(self, subject):
        """What is asked that somebody still waits for.

        Who asks withdraws the request before the response. Looked at in the other order, a request that is answered and
        just being withdrawn is never taken for a new one.
        """
        for name in entries(self.folder, subject[0]):
            number = name[len(subject[0]) :]
            if os.path.exists(os.path.join(self.folder, subject[1] + number)):
                continue
            request = read_json(os.path.join(self.folder, name))
            if request and request.get("expires", 0) > time.time():
                yield number, request

    def waits(self, subject, number):
        """Whether somebody waits for an answer."""
        return exists(os.path.join(self.folder, subject[0] + number))

    def answer(self, subject, number, response):
        """Answer. False when nobody waits for it any more."""
        if not self.waits(subject, number):
            return False
        write_json(os.path.join(self.folder, subject[1] + number), response)
        return True

    def hold(self):
        os.makedirs(self.folder, exist_ok=True)
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
            for prefix in (*CHECKPOINT, TAKE_OVER[1], HOLD):
                remove_all(self.folder, prefix)
            os.rmdir(self.folder)


def manifest(directory, name, step, epoch):
    """Manifest of the checkpoint `name` below `directory`, its paths relative to that."""
    files = []
    for file in sorted(os.listdir(os.path.join(directory, name))):
        path = os.path.join(directory, name, file)
        files.append({"path": "{}/{}".format(name, file), "size": os.path.getsize(path), "sha256": digest(path)})
    return {"step": step, "epoch": epoch, "directory": name, "files": files}


def ask(directory, mount, seconds, migration):
    """Have the trainer write a checkpoint; returns its manifest with paths relative to `mount`."""
    prefix = place_in(mount, directory)
    asked = {} if migration is None else {"migration": migration}
    response = converse(directory, CHECKPOINT, seconds, asked)
    if response is None:
        sys.exit("no checkpoint: no trainer answered below {} within {} s".format(directory, seconds))
    if "written" not in response:
        sys.exit("no checkpoint: {}".format(response.get("failed")))
    return moved(response["written"], lambda path: os.path.normpath(os.path.join(prefix, path)))


def take_over(directory, mount, seconds, line):
    """Have the trainer take over what a line says, whose paths are relative to `mount`; returns its answer."""
    prefix = place_in(mount, directory)

    def below(path):
        relative = os.path.relpath(os.path.normpath(path), prefix)
        if os.path.isabs(path) or relative.split(os.sep)[0] in (os.curdir, os.pardir):
            sys.exit("the manifest's path {} is not below {}".format(path, prefix))
        return relative

    try:
        asked = json.loads(line)
        manifest = asked["manifest"] and moved(asked["manifest"], below)
        asked = {"migration": asked["migration"], "manifest": manifest}
    except (ValueError, KeyError, TypeError):
        sys.exit("standard input has no line with what to take over: {}".format(line.strip()))
    response = converse(directory, TAKE_OVER, seconds, asked)
    if response is None:
        sys.exit("not taken over: no trainer answered below {} within {} s".format(directory, seconds))
    if "taken" not in response:
        refusal = response.get("refused", {})
        sys.exit(json.dumps(refusal) if refusal.get("reason") else "not taken over: {}".format(refusal.get("message")))
    return response["taken"]


def place_in(mount, directory):
    """The directory of the checkpoints, relative to a mount at or above it."""
    prefix = os.path.relpath(directory, mount)
    if prefix.startswith(".."):
        sys.exit("--dir {} is not below --mount {}: name the mount that holds it".format(directory, mount))
    return prefix


def moved(manifest, move):
    """A manifest with other paths."""
    files = [dict(file, path=move(file["path"])) for file in manifest["files"]]
    return dict(manifest, directory=move(manifest["directory"]), files=files)


def converse(directory, subject, seconds, asked):
    """Post a request, wait for its response, and leave neither. None where there is none in time."""
    folder = folder_of(directory)
    os.makedirs(folder, exist_ok=True)
    number = uuid.uuid4().hex
    request, response = (os.path.join(folder, prefix + number) for prefix in subject)
    end = time.monotonic() + seconds
    try:
        write_json(request, dict(asked, expires=time.time() + seconds))
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
    for prefix in (CHECKPOINT[0], HOLD):
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
    parser.add_argument("what", nargs="?", help="take-over, as a line on standard input says; else for which migration")
    args = parser.parse_args()
    if args.what == "take-over" and args.mount:
        print(json.dumps(take_over(args.dir, args.mount, args.seconds, sys.stdin.readline())))
    elif args.release:
        release(args.dir, args.what)
    elif args.mount:
        print(json.dumps(ask(args.dir, args.mount, args.seconds, args.what)))
    else:
        parser.error("--mount or --release is needed")


if __name__ == "__main__":
    main()
