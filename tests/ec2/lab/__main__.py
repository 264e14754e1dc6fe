"""`python -m lab --ready-file PATH`: runs a lab until it is told to end."""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from .lab import Lab, Unfit


def options():
    parser = argparse.ArgumentParser(prog="lab", description="An EC2 test lab on loopback; see README.md")
    parser.add_argument("--ready-file", type=Path, required=True, help="written once everything answers")
    parser.add_argument("--port", type=int, default=0, help="of the AWS endpoint")
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--ssh-port", type=int, default=0, help="default 22, or 2222 where 22 is taken")
    parser.add_argument("--network", help="a /16 inside 127.0.0.0/8; default the first that is free")
    parser.add_argument("--watch-stdin", action="store_true", help="end when stdin closes")
    return parser.parse_args()


def watch_stdin():
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main():
    chosen = options()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        lab = Lab(chosen)
    except Unfit as reason:
        print(f"lab: {reason}", file=sys.stderr)
        return 1
    if chosen.watch_stdin:
        threading.Thread(target=watch_stdin, daemon=True).start()
    unfinished = chosen.ready_file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(lab.ready, indent=1))
    unfinished.rename(chosen.ready_file)
    over.wait()
    chosen.ready_file.unlink(missing_ok=True)
    lab.close()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads that still wait for clients end with it
