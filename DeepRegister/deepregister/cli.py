"""The command line `deepregister`: its commands, and what an error or Ctrl-C turns into.

Exit status: 0 done, 2 wrong usage or input (the reason is on stderr, nothing was written), 130 stopped by the user or
by SIGTERM. A command may have statuses of its own, which its help names. torch is imported only by the commands that
compute, after their inputs have been checked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from . import __version__
from .console import terminable
from .doctor.installing import remedy
from .errors import OUT_OF_MEMORY, Cancelled, DeepRegisterError, is_out_of_memory

# Modules of `commands`, in the order of the help.
COMMANDS = ("register", "batch", "apply", "evaluate", "rerun", "report", "models", "train", "demo", "doctor")
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # The doctor must speak where a package is missing, or ends the process that imports it: nothing else is loaded.
    names = ("doctor",) if list(arguments[:1]) == ["doctor"] else COMMANDS
    try:
        with terminable():
            options = build_parser(names).parse_args(arguments)
            status = options.run(options)
    except (MemoryError, ImportError, RuntimeError, OSError) as error:
        if is_out_of_memory(error):
            print(f"deepregister: {OUT_OF_MEMORY}", file=sys.stderr)
            return EXIT_BAD_INPUT
        if not isinstance(error, ImportError):
            raise
        print(f"deepregister: This installation is not complete: {error}.\n{remedy(error.name)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except (Cancelled, KeyboardInterrupt):
        print("Stopped: no result was written.", file=sys.stderr)
        return EXIT_STOPPED
    except DeepRegisterError as error:
        print(f"deepregister: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return status or 0


def build_parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the commands of these names; each sets `run` to what carries it out and may return a status."""
    parser = argparse.ArgumentParser(
        prog="deepregister",
        description="Register medical volumes: find the transform that carries a moving volume onto a fixed one.",
    )
    parser.add_argument("--version", action="version", version=f"deepregister {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in names:
        import_module(f".commands.{name}", __package__).add_parser(commands)
    return parser
