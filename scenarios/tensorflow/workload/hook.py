"""The checkpoint hook, and the trainer's end of its conversation: small files in `<checkpoints>/.hook`.

    hook                                     trainer
    request-<id>  {expires}       ------->   stops stepping, writes the checkpoint, hold-<writer>
    (prints the manifest)         <-------   response-<id>  {written: manifest} or {failed: why}
                                             holds still, until its hold file is gone or the time-out has passed
    release: removes hold-*       ------->   goes on

The built-in workload of migbench speaks the same. A file left by a process that died has no effect.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import time
import uuid

from contract import write_atomically

FOLDER = ".hook"
LOOK = 0.05  # Seconds between two looks at the folder.


class Desk:
    """The trainer's end."""

    def __init__(self, directory, writer):
        self.folder = os.path.join(directory, FOLDER)
        self.hold_file = os.path.join(self.folder, "hold-" + writer)
        os.makedirs(self.folder, exist_ok=True)

    def request(self):
        """The id of a request that somebody still waits for, or None.

        A hook withdraws its request before the response. Looked at in the other order, a request that is answered and
        just being withdrawn is never taken for a new one.
        """
        for name in entries(self.folder, "request-"):
            if os.path.exists(os.path.join(self.folder, name.replace("request-", "response-"))):
                continue
            request = read_json(os.path.join(self.folder, name))
            if request and request.get("expires", 0) > time.time():
                return name[len("request-") :]
        return None

    def answer(self, request, response):
        """Answer a request. False when its hook has given up meanwhile."""
        if not os.path.exists(os.path.join(self.folder, "request-" + request)):
            return False
        write_json(os.path.join(self.folder, "response-" + request), response)
        return True

    def hold(self):
        write_atomically(self.hold_file, lambda file: None)

    def holds(self):
        return os.path.exists(self.hold_file)

    def go_on(self):
        remove(self.hold_file)


def manifest(directory, name, step):
    """Manifest of the checkpoint `name` below `directory`, its paths relative to that."""
    files = []
    for file in sorted(os.listdir(os.path.join(directory, name))):
        path = os.path.join(directory, name, file)
        with open(path, "rb") as content:
            digest = hashlib.sha256(content.read()).hexdigest()
        files.append({"path": "{}/{}".format(name, file), "size": os.path.getsize(path), "sha256": digest})
    return {"step": step, "directory": name, "files": files}


def ask(directory, mount, seconds):
    """Have the trainer write a checkpoint; returns its manifest with paths relative to `mount`."""
    prefix = os.path.relpath(directory, mount)
    if prefix.startswith(".."):
        sys.exit("--dir {} is not below --mount {}: name the mount that holds it".format(directory, mount))
    response = converse(os.path.join(directory, FOLDER), seconds)
    if response is None:
        sys.exit("no checkpoint: no trainer answered below {} within {} s".format(directory, seconds))
    if "written" not in response:
        sys.exit("no checkpoint: {}".format(response.get("failed")))
    written = response["written"]

    def below(path):
        return os.path.normpath(os.path.join(prefix, path))

    files = [dict(file, path=below(file["path"])) for file in written["files"]]
    return dict(written, directory=below(written["directory"]), files=files)


def converse(folder, seconds):
    """Post a request, wait for its response, and leave neither."""
    os.makedirs(folder, exist_ok=True)
    number = uuid.uuid4().hex
    request = os.path.join(folder, "request-" + number)
    response = os.path.join(folder, "response-" + number)
    end = time.monotonic() + seconds
    try:
        write_json(request, {"expires": time.time() + seconds})
        while time.monotonic() < end:
            answer = read_json(response)
            if answer is not None:
                return answer
            time.sleep(LOOK)
        return None
    finally:
        remove(request)
        remove(response)


def release(directory):
    """Let every trainer that holds still go on."""
    folder = os.path.join(directory, FOLDER)
    for name in entries(folder, "hold-"):
        remove(os.path.join(folder, name))


def entries(folder, prefix):
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [name for name in names if name.startswith(prefix) and "." not in name]


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
    args = parser.parse_args()
    if args.release:
        release(args.dir)
    elif args.mount:
        print(json.dumps(ask(args.dir, args.mount, args.seconds)))
    else:
        parser.error("--mount or --release is needed")


if __name__ == "__main__":
    main()
