"""Writes the page of results that the README links: tables and pictures of runs of compare.py, and of sizes.py.

    python Testing/benchmarks/publish.py full

Takes results/NAME.json of each run, and results/sizes.json where it is there; registers nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from plots import write_plots  # noqa: E402
from sizes_page import plot as plot_sizes  # noqa: E402
from sizes_page import summary as sizes_summary  # noqa: E402
from summary import summary  # noqa: E402

PAGE = "summary.md"
CAPTIONS = {
    "accuracy-time": "Accuracy against time: up and left is better. Bars are 95 % intervals of the means; what is far "
    "behind stands at the lower edge with its figure; what ran on some of the pairs alone stands where its difference "
    "from the best of ours on these puts it.",
    "structures": "Boxes over structures or landmarks: quartiles, whiskers to 1.5 times their distance.",
    "folding": "Share of folded voxels, space turned inside out, and spread of the volume change.",
}
START = """\
# Benchmarks

How DeepRegister and other programs register the same pairs: raw files, one machine, the same threads, the same scoring
code. Every figure of every pair is in the JSON file of its run, and anyone can make it again: the commands stand with
each run, the data sets, the other programs' environments and the rules of evidence in
[Testing/benchmarks](../../Testing/benchmarks/README.md). Pairs that nothing may be tuned on are looked at as rarely as
the [ledger](../../Testing/benchmarks/ledger.md) says.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="names of the files under results/")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of these files")
    parser.add_argument("--output", type=Path, default=HERE.parents[1] / "Resources" / "Benchmarks")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    parts = [START]
    for name in options.runs:
        run = _read(options.results / f"{name}.json")
        parts += [f"# Run `{name}`", _pictures(write_plots(run, options.output / name), options.output), summary(run)]
    sizes = options.results / "sizes.json"
    if sizes.is_file():
        run = _read(sizes)
        path = plot_sizes(run, options.output / "sizes.png")
        parts += ["# Time and memory by size", _pictures([path], options.output), sizes_summary(run)]
    text = "\n\n".join(part.strip() for part in parts) + "\n"
    (options.output / PAGE).write_text(text, encoding="utf-8")
    print(options.output / PAGE)
    return 0


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{path} is not the result of a run: {error}. compare.py makes it.")


def _pictures(paths: list[Path], page: Path) -> str:
    told = []
    for path in paths:
        caption = CAPTIONS.get(path.stem, "Time and peak memory by the number of voxels, and what takes the time.")
        told += [f"![{caption}]({path.relative_to(page).as_posix()})", f"*{caption}*"]
    return "\n\n".join(told)


if __name__ == "__main__":
    sys.exit(main())
