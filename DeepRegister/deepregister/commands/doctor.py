"""`deepregister doctor`: what is installed, which devices there are, and what to type where something is missing."""

from __future__ import annotations

import argparse
import json
import sys

from ..console import ProgressBar
from ..doctor.examination import examine

DESCRIPTION = """\
Look at this Python, its packages, the devices and how fast they are, the models and the worker process, and register a
small known pair. Takes some seconds. Exit status: 0 a registration can run here, 1 it cannot; the text says why, and
the commands that mend it: with a network, behind a proxy, and without a network.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "doctor", help="say whether registrations can run here, and what to type if not", description=DESCRIPTION
    )
    parser.add_argument("--json", action="store_true", help="for machines: one JSON object")
    parser.add_argument(
        "--offline", action="store_true", help="also show how to install everything from a folder, without a network"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    with ProgressBar() as bar:
        diagnosis = examine(bar)
    if options.json:
        print(json.dumps(diagnosis.to_dict(options.offline), indent=2))
    else:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        print(diagnosis.text(options.offline))
    return 0 if diagnosis.ready else 1
