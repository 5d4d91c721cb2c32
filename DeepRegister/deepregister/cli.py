"""The command line `deepregister`: its commands, and what an error or Ctrl-C turns into.

Exit status: 0 done, 2 wrong usage or input (the reason is on stderr, nothing was written), 130 stopped by the user.
torch is imported only by the commands that compute, after their inputs have been checked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__
from .commands import apply, demo, models, register
from .errors import Cancelled, DeepRegisterError

EXIT_BAD_INPUT = 2
EXIT_STOPPED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except (Cancelled, KeyboardInterrupt):
        print("Stopped: no result was written.", file=sys.stderr)
        return EXIT_STOPPED
    except DeepRegisterError as error:
        print(f"deepregister: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except MemoryError:
        print(
            "deepregister: The memory of this machine does not suffice. Close other programs, crop the volumes, or "
            "choose --quality fast.",
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run` to what carries it out."""
    parser = argparse.ArgumentParser(
        prog="deepregister",
        description="Register medical volumes: find the transform that carries a moving volume onto a fixed one.",
    )
    parser.add_argument("--version", action="version", version=f"deepregister {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (register, apply, models, demo):
        command.add_parser(commands)
    return parser
