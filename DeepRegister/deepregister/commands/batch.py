"""`deepregister batch`: a table of pairs in, a folder of results with a summary and an index page out."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from ..cohort.cluster import require_dask
from ..cohort.outcome import FAILED, OPEN, Outcome
from ..cohort.rows import COLUMNS, read_rows
from ..cohort.run import Cohort
from ..cohort.summary import on_screen, write_summary
from ..console import ProgressBar, interruption
from ..pointfiles import COORDINATES
from .register import add_settings, settings_from

DESCRIPTION = f"""\
Register every pair of a table. PAIRS is a .csv file whose first line names its columns, of which only fixed and moving
are needed; a cell may be empty:

  {", ".join(COLUMNS[:7])},
  {", ".join(COLUMNS[7:])}

Paths are relative to the table. `name` is the pair's folder in DIR; model and quality override the options below; the
masks, the regions, the initial transform and the landmarks do what they do in `deepregister register`; label maps are
carried along and their overlap (Dice) is measured. The whole table is checked first, and every problem in it is told
at once.

DIR receives one folder for each pair, as `deepregister register` writes it, and
  index.html      every pair with its verdict and a link to its report, the doubtful ones first
  summary.csv     the same figures as a table, in the order of PAIRS
  summary.json    the same with every reason by itself

The work is spread over processes by Dask: on this machine by default, one process for each GPU or else for each CPU
core; on a cluster with --scheduler. A pair that fails does not stop the others. The same command again goes on where it
was interrupted: what is done with the same files and settings is not done again.

Exit status: 0 all pairs are done, 1 some failed, 2 wrong input, 130 stopped.
"""
EXIT_SOME_FAILED = 1
EXIT_STOPPED = 130
SECONDS_BETWEEN_SUMMARIES = 30.0


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "batch",
        help="register every pair of a table",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pairs", type=Path, metavar="PAIRS", help="table of the pairs (.csv)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--workers", type=_count, metavar="N", help="processes on this machine; default: see above")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster that is there, like tcp://node:8786, or its scheduler file; DIR and the volumes must "
        "lie where its workers see them under the same paths",
    )
    add_settings(parser)
    parser.add_argument(
        "--csv-coordinates",
        choices=COORDINATES,
        help="of landmarks in .csv files whose columns are x,y,z; l,p,s and r,a,s say it themselves",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    rows = read_rows(options.pairs, options.output, settings, options.models_dir, options.csv_coordinates)
    require_dask()
    _quieten_dask()
    with interruption() as stop, ProgressBar() as bar:
        following = _Following(options.output, options.pairs.name)
        cohort = Cohort(
            rows,
            scheduler=options.scheduler,
            workers=options.workers,
            progress=bar,
            cancelled=stop,
            finished=following.note,
        )
        following.cohort = cohort
        try:
            cohort.run()
        finally:
            # Also after a second Ctrl-C, or a cluster that was lost: what is finished is finished.
            if any(outcome.status != OPEN for outcome in cohort.outcomes):
                following.write()
    print(on_screen(cohort.outcomes, options.output))
    left = sum(outcome.status == OPEN for outcome in cohort.outcomes)
    if left:
        print(
            f"Stopped with {left} of {len(rows)} pairs to go. What is finished stays; the same command goes on from "
            "there.",
            file=sys.stderr,
        )
        return EXIT_STOPPED
    return EXIT_SOME_FAILED if any(outcome.status == FAILED for outcome in cohort.outcomes) else 0


def _quieten_dask() -> None:
    """What Dask has to say of lost workers and schedulers is told in the summary or the error, in our words."""
    # Importing it sets these levels.
    import distributed  # noqa: F401

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class _Following:
    """Keeps the summary up to date while the cohort runs; where no terminal shows a bar, says each pair in a line."""

    def __init__(self, output: Path, title: str):
        self.cohort: Cohort | None = None
        self._output, self._title = output, title
        self._written = time.monotonic()
        self._count = 0

    def note(self, outcome: Outcome) -> None:
        self._count += 1
        if not sys.stderr.isatty():
            told = "done before" if outcome.reused else outcome.verdict
            error = f": {outcome.error}" if outcome.error else ""
            print(f"[{self._count}/{len(self.cohort.rows)}] {outcome.name}: {told}{error}", file=sys.stderr)
        if time.monotonic() - self._written > SECONDS_BETWEEN_SUMMARIES:
            self.write()

    def write(self) -> None:
        self._output.mkdir(parents=True, exist_ok=True)
        write_summary(self.cohort.outcomes, self._output, self._title)
        self._written = time.monotonic()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; give 1 or more")
    return int(text)
